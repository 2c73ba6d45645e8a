"""New texts from a language model that is shown an elite."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from qdkit.llm import Ask
from qdkit.plain import to_json
from qdkit.shown import Shown
from qdkit.types import Context, Genome

from .writing import Writing


@dataclass(frozen=True)
class Rewrite(Writing):
    """Asks for a new text after showing an elite.

    ask: a model (`qdkit.LLM`), or a plain function `str -> str`.
    prompt: what it is asked; `{genome}`, `{objective}` and `{descriptor}` are filled in from the elite;
      `{target}` with the descriptor to aim for, `{others}` with the texts of other elites, a blank line
      between them, and `{lessons}` with what the search has learnt, each empty where there is none.
      Other braces stay as they are.
    shown: which other elites `{others}` are; one, the best, where left out and the prompt has them.
    name: "rewrite", or that of the model, where left out.

    The answer, without spaces around it, is the new genome. One that was refused, cut short or left
    empty is asked for once more; after that the candidate is `INVALID`, or `INFRASTRUCTURE` where
    the server gave none, with the reason. The model that answered and what it cost are in the notes.
    """

    ask: Ask
    prompt: str
    name: str = ""
    shown: Shown | None = None

    def __post_init__(self) -> None:
        if self.shown is None and "{others}" in self.prompt:
            object.__setattr__(self, "shown", Shown(best=1, near=0))
        if "{genome}" not in self.prompt:
            raise ValueError(
                f"the prompt shows no elite: it needs {{genome}} where its text goes, and reads {self.prompt!r:.80}"
            )
        object.__setattr__(self, "name", self.name or getattr(self.ask, "model", "rewrite"))

    def question(self, random: np.random.Generator, context: Context) -> str:
        return filled(self.prompt, context)


def filled(prompt: str, context: Context) -> str:
    """`prompt` with what is known of one elite and of what to make of it. What a genome says in braces stays so."""
    elite = context.parents[0]
    target = [] if context.target is None else context.target[0].tolist()
    known = {
        "genome": _text(elite.genome),
        "objective": f"{elite.objective:.9g}",
        "descriptor": ", ".join(f"{x:.9g}" for x in elite.descriptor),
        "target": ", ".join(f"{x:.9g}" for x in target if x == x),
        "others": "\n\n".join(_text(other.genome) for some in context.inspirations for other in some),
        "lessons": context.lessons,
    }
    return re.sub(rf"\{{({'|'.join(known)})\}}", lambda found: known[found[1]], prompt)


def _text(genome: Genome) -> str:
    return genome if isinstance(genome, str) else to_json(genome)

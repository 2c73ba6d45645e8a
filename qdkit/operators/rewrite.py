"""New texts from a language model whose prompt contains an elite."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from qdkit.core.jsonable import to_json
from qdkit.core.types import Context, Genome
from qdkit.llm import Ask
from qdkit.selection.inspirations import Inspirations

from .writing import Writing


@dataclass(frozen=True)
class Rewrite(Writing):
    """Asks a model for a new text, with a prompt that contains an elite.

    ask: a model (`qdkit.LLM`), or a plain function `str -> str`.
    prompt: the template of the prompt. `{genome}`, `{objective}` and `{descriptor}` are replaced
      by those of the elite, `{target}` by the descriptor to aim for, `{others}` by the texts of
      other elites with a blank line between them, and `{lessons}` by what the search has learnt.
      Those that are unknown are empty, and other braces stay as they are.
    shown: which other elites `{others}` are; by default the best one, if the prompt has
      `{others}`.
    name: that of the model if left out, or "rewrite" if it has none.

    The response without the spaces around it is the new genome. If it is refused, truncated or
    empty, the model is asked once more. If that fails too, the candidate is `INVALID`, or
    `INFRASTRUCTURE` if the server did not respond, with the reason in the notes. The notes have
    the name of the model and the cost.
    """

    ask: Ask
    prompt: str
    name: str = ""
    shown: Inspirations | None = None

    def __post_init__(self) -> None:
        if self.shown is None and "{others}" in self.prompt:
            object.__setattr__(self, "shown", Inspirations(best=1, near=0))
        if "{genome}" not in self.prompt:
            raise ValueError(
                f"the prompt shows no elite: it needs {{genome}} in the place of its text, and is "
                f"{self.prompt!r:.80}"
            )
        object.__setattr__(self, "name", self.name or getattr(self.ask, "model", "rewrite"))

    def question(self, random: np.random.Generator, context: Context) -> str:
        return fill_prompt(self.prompt, context)


def fill_prompt(prompt: str, context: Context) -> str:
    """Returns `prompt` with its fields replaced by those of the first elite and of the context.

    Braces within a genome stay as they are.
    """
    elite = context.parents[0]
    target = [] if context.target is None else context.target[0].tolist()
    fields = {
        "genome": _text(elite.genome),
        "objective": f"{elite.objective:.9g}",
        "descriptor": ", ".join(f"{x:.9g}" for x in elite.descriptor),
        "target": ", ".join(f"{x:.9g}" for x in target if x == x),
        "others": "\n\n".join(
            _text(other.genome) for some in context.inspirations for other in some
        ),
        "lessons": context.lessons,
    }
    return re.sub(rf"\{{({'|'.join(fields)})\}}", lambda match: fields[match[1]], prompt)


def _text(genome: Genome) -> str:
    return genome if isinstance(genome, str) else to_json(genome)

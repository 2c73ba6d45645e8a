"""New texts from a language model that is shown an elite."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from qdkit.llm import Answer, AnswerOutcome, Ask, answer_of
from qdkit.plain import to_json
from qdkit.shown import Shown
from qdkit.types import Batch, Context, Genome, Key, Operator, Outcome, Proposal

TRIES = 2  # an answer that cannot be used costs one more, not the candidate


@dataclass(frozen=True)
class Rewrite(Operator):
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

    @property
    def models(self) -> tuple[Ask]:
        """The one it asks."""
        return (self.ask,)

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        each = [context.part(slice(i, i + 1), 1, 1) for i in range(n)]
        return answered(self.ask, [filled(self.prompt, one) for one in each], self.name, context.parents)


class _Row(NamedTuple):
    text: str
    outcome: Outcome
    notes: Mapping[str, Any]


def answered(ask: Ask, questions: Sequence[str], name: str, parents: Batch) -> Proposal:
    """The answer to each question as a new text, from the operator `name`; see `Rewrite` for what cannot be used."""
    rows = [_row(ask, question) for question in questions]
    proposal = Proposal.of([row.text for row in rows], name, parents)
    return proposal._replace(outcome=[row.outcome for row in rows], notes=[row.notes for row in rows])


def _row(ask: Ask, question: str) -> _Row:
    dollars = 0.0
    for _ in range(TRIES):
        answer = answer_of(ask, question)
        dollars += answer.cost.dollars
        if answer.ok or answer.outcome == AnswerOutcome.INFRASTRUCTURE:
            break
    return _Row(answer.text.strip() if answer.ok else "", _outcome(answer), _notes(answer, dollars))


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


def _outcome(answer: Answer) -> Outcome:
    if answer.ok:
        return Outcome.OK
    return Outcome.INFRASTRUCTURE if answer.outcome == AnswerOutcome.INFRASTRUCTURE else Outcome.INVALID


def _notes(answer: Answer, dollars: float) -> dict[str, Any]:
    notes: dict[str, Any] = {"model": answer.model, "dollars": dollars if dollars == dollars else None}
    return notes if answer.ok else notes | {"error": f"{answer.outcome}: {answer.error}"}

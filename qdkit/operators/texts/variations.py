"""Prompts that vary elites: towards a kind, along an axis, two together, or several at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from qdkit.core.types import Context, Key, Proposal
from qdkit.llm import Answer, Ask, Question, answer_of, guarded
from qdkit.llm.templates import fence, fill_template
from qdkit.operators.writing import TRIES, Writing, notes_of, outcome_of

from .kinds import Scale, TextKind

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Guided(Writing):
    """Asks a model to rewrite an elite as another kind of text (the guided rewriting of QDAIF).

    ask: a model (`qdkit.LLM`), or a plain function `str -> str`.
    scales: the axes of the map, in words.
    rewrite: the template of the prompt. `{text}` is the elite, `{was}` its kind and `{aim}` the
      new kind; for a single axis, such as "tone", they are `{was_tone}` and `{tone}`.
    write: the template if the parent is a seed; `rewrite` if None.

    The new kind is that of the target if the search has one
    (`qdkit.selection.parents.Towards`), else it is drawn uniformly.
    """

    ask: Ask
    scales: Sequence[Scale]
    rewrite: Path = _HERE / "guided.md"
    write: Path | None = None
    name: str = "guided"

    def question(self, random: np.random.Generator, context: Context) -> str:
        parent, aim = context.parents[0], TextKind.random(self.scales, random)
        if context.target is not None and np.isfinite(context.target[0]).all():
            aim = TextKind.of(self.scales, context.target[0])
        if parent.origin == "seed" and self.write is not None:
            return fill_template(self.write, aim=str(aim), **aim.by_name())
        was = TextKind.of(self.scales, parent.descriptor)
        words = {"aim": str(aim), "was": str(was), **aim.by_name(), **was.by_name("was_")}
        return fill_template(self.rewrite, text=fence(parent.genome), **words)


@dataclass(frozen=True)
class Directional(Writing):
    """Asks a model to vary an elite along one axis (PLAN-QD, arXiv 2504.03991).

    ask: a model (`qdkit.LLM`), or a plain function `str -> str`.
    scales: the axes of the map, in words. The prompt asks for more of the last word of a scale, or
      of the first.

    If the search has a target, it is the axis along which the elite is furthest from the target,
    in the direction of the target. Otherwise axis and direction are random. Raises ValueError for
    labels, which have no direction.
    """

    ask: Ask
    scales: Sequence[Scale]
    name: str = "directional"

    def __post_init__(self) -> None:
        for scale in self.scales:
            if scale.bounds is None:
                raise ValueError(
                    f"{scale.name} has labels, and no more or less of them: use Guided"
                )

    def question(self, random: np.random.Generator, context: Context) -> str:
        axis, more = int(random.integers(len(self.scales))), bool(random.integers(2))
        if context.target is not None and np.isfinite(context.target[0]).all():
            low, high = np.array([scale.bounds for scale in self.scales]).T
            ahead = (context.target[0] - context.parents.descriptor[0]) / (high - low)
            axis = int(np.argmax(abs(ahead)))
            more = bool(ahead[axis] > 0)
        direction = f"more {self.scales[axis].words[-1 if more else 0]}"
        return fill_template(
            _HERE / "directional.md", text=fence(context.parents.genome[0]), direction=direction
        )


@dataclass(frozen=True)
class Crossover(Writing):
    """Asks a model to combine two elites.

    ask: a model (`qdkit.LLM`), or a plain function `str -> str`.
    """

    ask: Ask
    name: str = "crossover"

    arity = 2

    def question(self, random: np.random.Generator, context: Context) -> str:
        first, second = map(fence, context.parents.genome)
        return fill_template(_HERE / "crossover.md", first=first, second=second)


@dataclass(frozen=True)
class Several(Writing):
    """Asks a model to vary all parents of a batch in one call, with results that differ.

    ask: a model (`qdkit.LLM`), or a plain function `str -> str`.

    Texts from separate calls are often much the same; texts of one response differ more. A text
    that is missing or empty is `INVALID`. If all are, the model is asked once more. Batches of 4
    to 8 work best.
    """

    ask: Ask
    name: str = "several"

    def question(self, random: np.random.Generator, context: Context) -> Question:
        texts = [f"{i}.\n\n{fence(text)}" for i, text in enumerate(context.parents.genome, 1)]
        return Question(
            fill_template(_HERE / "several.md", texts="\n\n".join(texts), n=str(len(texts))),
            schema=_SCHEMA,
        )

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        question, dollars = self.question(np.random.default_rng(0), context), 0.0
        for _ in range(TRIES):
            answer = answer_of(self.ask, question)
            dollars += answer.cost.dollars
            if texts := guarded(partial(_texts, answer), lambda why: []):
                break
        texts = [*texts, *[""] * n][:n]
        received = sum(map(bool, texts))
        notes = [self._notes(answer, text, dollars / n, received, n) for text in texts]
        outcome = [outcome_of(answer, text) for text in texts]
        return Proposal(texts, context.parents.id.reshape(n, 1), [self.name] * n, outcome, notes)

    def _notes(
        self, answer: Answer, text: str, dollars: float, received: int, n: int
    ) -> dict[str, Any]:
        notes = notes_of(answer, text, dollars)
        if answer.ok and not text:
            notes["error"] = f"short: {received} of {n} texts came"
        return notes


_SCHEMA = {
    "type": "object",
    "properties": {"texts": {"type": "array", "items": {"type": "string"}}},
    "required": ["texts"],
    "additionalProperties": False,
}


def _texts(answer: Answer) -> list[str]:
    """Returns the texts of a response; an empty list if none can be used."""
    texts = [text.strip() for text in answer.data["texts"]] if answer.ok else []
    return texts if any(texts) else []

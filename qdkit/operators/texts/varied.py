"""New texts out of elites by a model: guided to a kind, along an axis, of two, and several at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qdkit.llm import Answer, Ask, Question, answer_of
from qdkit.operators.writing import TRIES, Writing, notes_of, outcome_of
from qdkit.prompts import fence, filled
from qdkit.types import Context, Key, Proposal

from .kinds import Kind, Scale

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Guided(Writing):
    """Asks for an elite rewritten as a text of another kind, which is named in words (the guided rewriting of QDAIF).

    ask: a model (`qdkit.LLM`), or a plain function `str -> str`.
    scales: the axes of the map, in words.
    rewrite: the prompt, in which `{text}` is where the elite goes, `{aim}` and `{was}` what it is to be and is; of
      a single axis, say "tone", they are `{tone}` and `{was_tone}`.
    write: what is asked instead where the parent is a seed; `rewrite` too, where None.

    The kind is that of the target, where the search chose one (`qdkit.parents.Towards`), and is drawn evenly where not.
    """

    ask: Ask
    scales: Sequence[Scale]
    rewrite: Path = HERE / "guided.md"
    write: Path | None = None
    name: str = "guided"

    def question(self, random: np.random.Generator, context: Context) -> str:
        parent, aim = context.parents[0], Kind.drawn(self.scales, random)
        if context.target is not None and np.isfinite(context.target[0]).all():
            aim = Kind.of(self.scales, context.target[0])
        if parent.origin == "seed" and self.write is not None:
            return filled(self.write, aim=str(aim), **aim.by_name())
        was = Kind.of(self.scales, parent.descriptor)
        words = {"aim": str(aim), "was": str(was), **aim.by_name(), **was.by_name("was_")}
        return filled(self.rewrite, text=fence(parent.genome), **words)


@dataclass(frozen=True)
class Directional(Writing):
    """Asks for a variation of an elite further along one axis, or back along it (PLAN-QD, arXiv 2504.03991).

    ask: a model (`qdkit.LLM`), or a plain function `str -> str`.
    scales: the axes of the map, in words: "more" is towards the last word of one, "less" towards the first.

    Towards the target along the axis that is furthest from it, where the search chose one; else the axis and the
    direction are drawn. Raises ValueError for labels, which have no direction.
    """

    ask: Ask
    scales: Sequence[Scale]
    name: str = "directional"

    def __post_init__(self) -> None:
        for scale in self.scales:
            if scale.bounds is None:
                raise ValueError(f"{scale.name} has labels, and no more or less of them: take Guided")

    def question(self, random: np.random.Generator, context: Context) -> str:
        axis, more = int(random.integers(len(self.scales))), bool(random.integers(2))
        if context.target is not None and np.isfinite(context.target[0]).all():
            low, high = np.array([scale.bounds for scale in self.scales]).T
            ahead = (context.target[0] - context.parents.descriptor[0]) / (high - low)
            axis = int(np.argmax(abs(ahead)))
            more = bool(ahead[axis] > 0)
        direction = f"more {self.scales[axis].words[-1 if more else 0]}"
        return filled(HERE / "directional.md", text=fence(context.parents.genome[0]), direction=direction)


@dataclass(frozen=True)
class Crossover(Writing):
    """Asks for a text that takes after two elites.

    ask: a model (`qdkit.LLM`), or a plain function `str -> str`.
    """

    ask: Ask
    name: str = "crossover"

    arity = 2

    def question(self, random: np.random.Generator, context: Context) -> str:
        first, second = map(fence, context.parents.genome)
        return filled(HERE / "crossover.md", first=first, second=second)


@dataclass(frozen=True)
class Several(Writing):
    """Asks for all texts of a batch in one call, which are to differ from one another: a variation of each parent.

    ask: a model (`qdkit.LLM`), or a plain function `str -> str`.

    Asked apart, a model gives much the same again and again; texts that it writes side by side differ more. One that is
    missing in the answer, or empty, is `INVALID`; where all are, they are asked for once more. A batch
    of 4 to 8 is what a model keeps apart.
    """

    ask: Ask
    name: str = "several"

    def question(self, random: np.random.Generator, context: Context) -> Question:
        texts = [f"{i}.\n\n{fence(text)}" for i, text in enumerate(context.parents.genome, 1)]
        return Question(filled(HERE / "several.md", texts="\n\n".join(texts), n=str(len(texts))), schema=SCHEMA)

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        question, dollars = self.question(np.random.default_rng(0), context), 0.0
        for _ in range(TRIES):
            answer = answer_of(self.ask, question)
            dollars += answer.cost.dollars
            if texts := _texts(answer):
                break
        texts = [*texts, *[""] * n][:n]
        notes = [self._notes(answer, text, dollars / n, sum(map(bool, texts)), n) for text in texts]
        outcome = [outcome_of(answer, text) for text in texts]
        return Proposal(texts, context.parents.id.reshape(n, 1), [self.name] * n, outcome, notes)

    def _notes(self, answer: Answer, text: str, dollars: float, came: int, n: int) -> dict[str, Any]:
        notes = notes_of(answer, text, dollars)
        return notes | {"error": f"short: {came} of {n} texts came"} if answer.ok and not text else notes


SCHEMA = {
    "type": "object",
    "properties": {"texts": {"type": "array", "items": {"type": "string"}}},
    "required": ["texts"],
    "additionalProperties": False,
}


def _texts(answer: Answer) -> list[str]:
    """The texts of an answer; none where there is none that can be used."""
    texts = [text.strip() for text in answer.data["texts"]] if answer.ok else []
    return texts if any(texts) else []

"""A judge that chooses one label from a list."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qdkit.core.types import Genome
from qdkit.feedback.pointwise import MAX_RATIONALE_CHARACTERS, PointwiseJudge, Reading
from qdkit.llm import Answer, Question

# Always among the answers, so that a candidate that fits no label is not forced into one.
NO_LABEL = "none of these"


@dataclass(frozen=True)
class Label(PointwiseJudge):
    """Which of `labels` fits, as its index, for an axis of labels: `Grid((5,), (judge.bounds,))`.

    labels: the labels to choose from. A candidate that fits none of them has no place on this
      axis: its value is nan, and its notes have the label `none of these`.
    """

    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "labels", tuple(self.labels))
        folded = {label.casefold() for label in (*self.labels, NO_LABEL)}
        if not self.labels or len(folded) <= len(self.labels):
            raise ValueError(
                f"the labels of {self.name} are different words other than {NO_LABEL!r}, at least "
                f"one, not {self.labels}"
            )

    @property
    def bounds(self) -> tuple[str, ...]:
        """The labels, as an axis of a `Grid` takes them."""
        return self.labels

    def question(self, genome: Genome) -> Question:
        """Returns the question, with the schema of its answer."""
        answers = [*self.labels, NO_LABEL]
        properties = {
            "rationale": {"type": "string"},
            "label": {"type": "string", "enum": answers},
        }
        schema = {
            "type": "object",
            "properties": properties,
            "required": [*properties],
            "additionalProperties": False,
        }
        return Question(
            self.full_prompt(genome, labels="\n".join(f"- {label}" for label in answers)),
            schema=schema,
        )

    def read(self, answer: Answer) -> Reading:
        """Returns the label, if the answer has the wanted form or names just one of them."""
        answers = (*self.labels, NO_LABEL)
        label = answer.data["label"] if answer.ok else label_in(answer.text, answers)
        if label is None:
            return Reading(np.nan, {"said": answer.text[:80]}, answer.error)
        notes = {"label": label}
        if answer.ok:
            notes["rationale"] = answer.data["rationale"][:MAX_RATIONALE_CHARACTERS]
        if label == NO_LABEL:
            return Reading(np.nan, {**notes, "why": "no label fits"})
        return Reading(float(self.labels.index(label)), notes)

    def example_answer(self, value: Any) -> str:
        """Returns a label as JSON; an example has no rationale."""
        return json.dumps({"label": value})


def label_in(text: str, labels: Sequence[str]) -> str | None:
    """Returns the label that a text names in another spelling or form; None for several or none.

    Of JSON only the value of "label" counts: a rationale may name others.
    """
    fields = re.findall(r'"label"\s*:\s*"([^"]*)"', text)
    where = fields[-1] if fields else text
    by_spelling = {label.casefold(): label for label in labels}
    longest_first = "|".join(map(re.escape, sorted(by_spelling, key=len, reverse=True)))
    matches = re.findall(rf"(?<!\w)(?:{longest_first})(?!\w)", where, re.I)
    named = {by_spelling[match.casefold()] for match in matches}
    return named.pop() if len(named) == 1 else None

"""A judge that chooses one label out of a list."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qdkit.feedback.asking import KEPT, Asking, Reading
from qdkit.llm import Answer, Question
from qdkit.types import Genome

NONE = "none of these"  # always among the answers, so that what fits no label is not forced into one


@dataclass(frozen=True)
class Label(Asking):
    """Which of `labels` fits, as its number, for an axis of labels: `Grid((5,), (judge.bounds,))`.

    labels: what there is to choose from. A candidate that fits none of them has no place on this axis:
      its value is nan, and the notes tell the label `none of these`.
    """

    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "labels", tuple(self.labels))
        folded = {label.casefold() for label in (*self.labels, NONE)}
        if not self.labels or len(folded) <= len(self.labels):
            raise ValueError(
                f"the labels of {self.name} are different words other than {NONE!r}, at least one, not {self.labels}"
            )

    @property
    def bounds(self) -> tuple[str, ...]:
        """The labels, as an axis of a `Grid` takes them."""
        return self.labels

    def question(self, genome: Genome) -> Question:
        """The question, with the schema of its answer."""
        answers = [*self.labels, NONE]
        properties = {"rationale": {"type": "string"}, "label": {"type": "string", "enum": answers}}
        schema = {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
        return Question(self.written(genome, labels="\n".join(f"- {label}" for label in answers)), schema=schema)

    def read(self, answer: Answer) -> Reading:
        """The label, where the answer has the form that was asked for or names just one of them."""
        said = answer.data["label"] if answer.ok else label_in(answer.text, (*self.labels, NONE))
        if said is None:
            return Reading(np.nan, {"said": answer.text[:80]}, answer.error)
        notes = {"label": said} | ({"rationale": answer.data["rationale"][:KEPT]} if answer.ok else {})
        if said == NONE:
            return Reading(np.nan, {**notes, "why": "no label fits"})
        return Reading(float(self.labels.index(said)), notes)

    def as_answered(self, value: Any) -> str:
        """A label as JSON; an example has no rationale."""
        return json.dumps({"label": value})


def label_in(text: str, labels: Sequence[str]) -> str | None:
    """The label that a text names in another spelling or form; None where it names several, or none.

    Of JSON only what stands under "label" counts: a rationale may name others.
    """
    under = re.findall(r'"label"\s*:\s*"([^"]*)"', text)
    where = under[-1] if under else text
    spelt = {label.casefold(): label for label in labels}
    longest_first = "|".join(map(re.escape, sorted(spelt, key=len, reverse=True)))
    named = {spelt[found.casefold()] for found in re.findall(rf"(?<!\w)(?:{longest_first})(?!\w)", where, re.I)}
    return named.pop() if len(named) == 1 else None

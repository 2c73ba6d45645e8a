"""Judges that give marks: one for the whole, or one for each of several aspects."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qdkit.feedback.asking import KEPT, Asking, Reading, Verdict, asked, by
from qdkit.llm import Answer, Question
from qdkit.types import Genome, Key, Outcome


@dataclass(frozen=True)
class Rating(Asking):
    """A mark from `low` to `high`, with the reasons given before it; the mean of `n` answers.

    low, high: whole numbers.
    anchors: what some of the marks mean, so that a mark means the same in every answer.
    n: how many times it is asked. One rating of a model is off by a point of ten, and an archive keeps
      the lucky ones: the mean of n has an error of 1 / √n of that.

    The notes tell every score and the first rationale.
    """

    low: int = 1
    high: int = 10
    anchors: Mapping[int, str] = field(default_factory=dict)
    n: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_marks(self.name, self.low, self.high, self.anchors)

    @property
    def bounds(self) -> tuple[float, float]:
        """Between which numbers the value lies."""
        return (float(self.low), float(self.high))

    def question(self, genome: Genome) -> Question:
        """The question, with the schema of its answer."""
        prompt = self.written(genome, low=str(self.low), high=str(self.high), anchors=_anchors(self.anchors))
        return Question(prompt, schema=_object(_mark(self.low, self.high)))

    def verdict(self, key: Key, genome: Genome) -> Verdict:
        """The mean of the answers that could be read."""
        said = []
        for _ in range(self.n):
            said.append(asked(self.ask, self.question(genome), self.read))
            if said[-1].outcome == Outcome.INFRASTRUCTURE:
                break  # a server that stays away is not waited for n times
        read = [verdict for verdict in said if verdict.answers]
        first = (read or said)[0]
        if not read:
            return first._replace(notes={"by": by(self), **first.notes})
        scores = [verdict.value for verdict in read]
        notes = {"by": by(self), **first.notes, "scores": scores}
        return Verdict(float(np.mean(scores)), len(read), notes)

    def read(self, answer: Answer) -> Reading:
        """The mark, where the answer has the form that was asked for or says it beyond doubt."""
        score = answer.data["score"] if answer.ok else score_in(answer.text, self.low, self.high)
        if score is None:
            return Reading(np.nan, {"said": answer.text[:80]}, answer.error)
        rationale = answer.data["rationale"][:KEPT] if answer.ok else ""
        return Reading(float(score), {"rationale": rationale} if rationale else {"said": answer.text[:80]})

    def as_answered(self, value: Any) -> str:
        """A mark as JSON; an example has no rationale."""
        return json.dumps({"score": value})


@dataclass(frozen=True)
class Rubric(Asking):
    """The mean of marks from `low` to `high` for several aspects, each with its reasons before it, in one answer.

    aspects: what is judged, and what that means. The notes tell the mark of each.
    low, high, anchors: as of `Rating`.
    """

    aspects: Mapping[str, str] = field(default_factory=dict)
    low: int = 1
    high: int = 5
    anchors: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_marks(self.name, self.low, self.high, self.anchors)
        if not self.aspects:
            raise ValueError(f'the rubric of {self.name} has no aspects: aspects={{"form": "what form means", ...}}')

    @property
    def bounds(self) -> tuple[float, float]:
        """Between which numbers the value lies."""
        return (float(self.low), float(self.high))

    def question(self, genome: Genome) -> Question:
        """The question, with the schema of its answer."""
        aspects = "\n".join(f"- {aspect}: {meaning}" for aspect, meaning in self.aspects.items())
        marks = {"low": str(self.low), "high": str(self.high), "anchors": _anchors(self.anchors)}
        schema = _object({aspect: _object(_mark(self.low, self.high)) for aspect in self.aspects})
        return Question(self.written(genome, aspects=aspects, **marks), schema=schema)

    def read(self, answer: Answer) -> Reading:
        """The mean of the marks; all of them or none."""
        if not answer.ok:
            return Reading(np.nan, {"said": answer.text[:80]}, answer.error)
        scores = {aspect: answer.data[aspect]["score"] for aspect in self.aspects}
        rationale = {aspect: answer.data[aspect]["rationale"][:KEPT] for aspect in self.aspects}
        return Reading(float(np.mean([*scores.values()])), {"scores": scores, "rationale": rationale})

    def as_answered(self, value: Any) -> str:
        """A mapping of aspects to marks as JSON."""
        return json.dumps({aspect: {"score": score} for aspect, score in value.items()})


def score_in(text: str, low: int, high: int) -> float | None:
    """The mark that a text gives beyond doubt, though not in the form that was asked for; else None.

    It is the whole text ("8"), or the last one said to be a score or out of the highest ("a 7 at first
    sight, but Score: 8/10"): other numbers on the way to it do not count. Outside of [low, high] it is none.
    """
    number = r"(-?\d+(?:\.\d+)?)"
    whole = re.fullmatch(rf"\W*{number}(?:\s*/\s*{high})?\W*", text)
    called = re.findall(
        rf"(?:score|rating)\W{{0,6}}?(?:is |of )?{number}|(?<![\d.]){number}\s*(?:/|out of)\s*{high}(?!\d)", text, re.I
    )
    last = whole[1] if whole else next(filter(None, called[-1])) if called else None
    return float(last) if last is not None and low <= float(last) <= high else None


def _mark(low: int, high: int) -> dict[str, Any]:
    """The rationale comes first, or the score would be given before any reason."""
    return {"rationale": {"type": "string"}, "score": {"type": "integer", "enum": [*range(low, high + 1)]}}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def _anchors(anchors: Mapping[int, str]) -> str:
    return "\n".join(f"{mark} means: {meaning}" for mark, meaning in sorted(anchors.items()))


def _check_marks(name: str, low: int, high: int, anchors: Mapping[int, str]) -> None:
    if low >= high:
        raise ValueError(f"the marks of {name} go from low={low} to high={high}: low must be less")
    if strange := [mark for mark in anchors if not low <= mark <= high]:
        raise ValueError(f"the anchors of {name} explain {strange}, and its marks go from {low} to {high}")

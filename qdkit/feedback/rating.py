"""Judges that give marks: one for the whole, or one for each of several aspects."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qdkit.core.types import Genome, Key, Outcome
from qdkit.feedback.pointwise import (
    MAX_RATIONALE_CHARACTERS,
    PointwiseJudge,
    Reading,
    Verdict,
    ask_judge,
    judge_kind,
)
from qdkit.llm import Answer, Question


@dataclass(frozen=True)
class Rating(PointwiseJudge):
    """A mark from `low` to `high`, given after its reasons; the mean of `n` answers.

    low, high: whole numbers.
    anchors: the meaning of some of the marks, so that a mark means the same in every answer.
    n: how many times the model is asked. One rating of a model is off by a point of ten, and an
      archive keeps the lucky ones: the mean of n has an error of 1 / √n of that.

    The notes have every score and the first rationale.
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
        """The least and the greatest value."""
        return (float(self.low), float(self.high))

    def question(self, genome: Genome) -> Question:
        """Returns the question, with the schema of its answer."""
        prompt = self.full_prompt(
            genome, low=str(self.low), high=str(self.high), anchors=_anchors(self.anchors)
        )
        return Question(prompt, schema=_object(_mark(self.low, self.high)))

    def verdict(self, key: Key, genome: Genome) -> Verdict:
        """Returns the mean of the answers that could be read."""
        verdicts: list[Verdict] = []
        for _ in range(self.n):
            verdicts.append(ask_judge(self.ask, self.question(genome), self.read))
            if verdicts[-1].outcome == Outcome.INFRASTRUCTURE:
                break  # the server is down: do not wait for it n times
        read = [verdict for verdict in verdicts if verdict.answers]
        first = (read or verdicts)[0]
        if not read:
            return first._replace(notes={"by": judge_kind(self), **first.notes})
        scores = [verdict.value for verdict in read]
        notes = {"by": judge_kind(self), **first.notes, "scores": scores}
        return Verdict(float(np.mean(scores)), len(read), notes)

    def read(self, answer: Answer) -> Reading:
        """Returns the mark, if the answer has the wanted form or is clear without it."""
        score = answer.data["score"] if answer.ok else score_in(answer.text, self.low, self.high)
        if score is None:
            return Reading(np.nan, {"said": answer.text[:80]}, answer.error)
        rationale = answer.data["rationale"][:MAX_RATIONALE_CHARACTERS] if answer.ok else ""
        notes = {"rationale": rationale} if rationale else {"said": answer.text[:80]}
        return Reading(float(score), notes)

    def example_answer(self, value: Any) -> str:
        """Returns a mark as JSON; an example has no rationale."""
        return json.dumps({"score": value})


@dataclass(frozen=True)
class Rubric(PointwiseJudge):
    """The mean of marks from `low` to `high` for several aspects, each after its reasons.

    All marks come in one answer.

    aspects: what is judged, and what that means. The notes have the mark of each.
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
            raise ValueError(
                f"the rubric of {self.name} has no aspects: "
                f'aspects={{"form": "what form means", ...}}'
            )

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest value."""
        return (float(self.low), float(self.high))

    def question(self, genome: Genome) -> Question:
        """Returns the question, with the schema of its answer."""
        aspects = "\n".join(f"- {aspect}: {meaning}" for aspect, meaning in self.aspects.items())
        marks = {"low": str(self.low), "high": str(self.high), "anchors": _anchors(self.anchors)}
        schema = _object({aspect: _object(_mark(self.low, self.high)) for aspect in self.aspects})
        return Question(self.full_prompt(genome, aspects=aspects, **marks), schema=schema)

    def read(self, answer: Answer) -> Reading:
        """Returns the mean of the marks; all of them or none."""
        if not answer.ok:
            return Reading(np.nan, {"said": answer.text[:80]}, answer.error)
        scores = {aspect: answer.data[aspect]["score"] for aspect in self.aspects}
        rationale = {
            aspect: answer.data[aspect]["rationale"][:MAX_RATIONALE_CHARACTERS]
            for aspect in self.aspects
        }
        notes = {"scores": scores, "rationale": rationale}
        return Reading(float(np.mean([*scores.values()])), notes)

    def example_answer(self, value: Any) -> str:
        """Returns a mapping of aspects to marks as JSON."""
        return json.dumps({aspect: {"score": score} for aspect, score in value.items()})


def score_in(text: str, low: int, high: int) -> float | None:
    """Returns the mark that a text gives beyond doubt, though not in the wanted form; else None.

    It is the whole text ("8"), or the last number that is called a score or is out of the highest
    mark ("a 7 at first sight, but Score: 8/10"); other numbers do not count. A mark outside
    [low, high] is none.
    """
    number = r"(-?\d+(?:\.\d+)?)"
    whole = re.fullmatch(rf"\W*{number}(?:\s*/\s*{high})?\W*", text)
    called_score = rf"(?:score|rating)\W{{0,6}}?(?:is |of )?{number}"
    out_of_highest = rf"(?<![\d.]){number}\s*(?:/|out of)\s*{high}(?!\d)"
    matches = re.findall(rf"{called_score}|{out_of_highest}", text, re.I)
    last = whole[1] if whole else next(filter(None, matches[-1])) if matches else None
    return float(last) if last is not None and low <= float(last) <= high else None


def _mark(low: int, high: int) -> dict[str, Any]:
    """Returns the schema of a mark: the rationale first, so that the reasons precede the score."""
    return {
        "rationale": {"type": "string"},
        "score": {"type": "integer", "enum": [*range(low, high + 1)]},
    }


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }


def _anchors(anchors: Mapping[int, str]) -> str:
    return "\n".join(f"{mark} means: {meaning}" for mark, meaning in sorted(anchors.items()))


def _check_marks(name: str, low: int, high: int, anchors: Mapping[int, str]) -> None:
    if low >= high:
        raise ValueError(f"the marks of {name} go from low={low} to high={high}: low must be less")
    if strange := [mark for mark in anchors if not low <= mark <= high]:
        raise ValueError(
            f"the anchors of {name} explain {strange}, and its marks go from {low} to {high}"
        )

"""A judge that looks at a picture of the candidate instead of its text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qdkit.core.types import Batch, Genome, Judgement, Key, Outcome
from qdkit.feedback.pointwise import PointwiseJudge, Verdict, judge_kind, to_judgement
from qdkit.llm import Answer, AnswerOutcome, Ask, Model, Question, data_url
from qdkit.llm.model import model_name

_PLACEHOLDER = "the picture that comes with this question"  # instead of the candidate's text


@dataclass(frozen=True)
class Pictured:
    """Any judge that asks a model, with the picture of each candidate instead of its text.

    judge: a `Rating`, `Label`, `Rubric` or `Probability`; `{genome}` in its prompt becomes a
      mention of the picture.
    picture: returns a candidate as the bytes of a PNG. It must draw hostile candidates safely, and
      the same every time: a run's record keeps the digest of a picture, and a picture that is
      drawn differently later is another question.

    A server that refuses pictures, or a plain function, gives no judgement: the value is nan and
    the outcome `INVALID`, with the reason. Put a judge after it that needs no picture:
    `Fallback((Pictured(rating, png), Measured(composition)))`.
    """

    judge: PointwiseJudge
    picture: Callable[[Genome], bytes]

    @property
    def name(self) -> str:
        """What is judged."""
        return self.judge.name

    @property
    def bounds(self) -> Any:
        """The bounds of the judge."""
        return getattr(self.judge, "bounds", None)

    @property
    def models(self) -> Sequence[Ask]:
        """The model that the judge asks."""
        return self.judge.models

    def __call__(self, key: Key, batch: Batch) -> Judgement:
        """Returns the judgement of each candidate."""
        return to_judgement(self.name, [self._verdict(key, genome) for genome in batch.genome])

    def _verdict(self, key: Key, genome: Genome) -> Verdict:
        ask = self.judge.ask
        if not isinstance(ask, Model):
            reason = f"{model_name(ask)} is a plain function, and sees no pictures"
            error = f"{AnswerOutcome.BLIND}: {reason}"
            notes = {"by": judge_kind(self.judge), "error": error}
            return Verdict(np.nan, 0, notes, Outcome.INVALID)
        with_picture = _WithPicture(ask, data_url(self.picture(genome)))
        verdict = replace(self.judge, ask=with_picture).verdict(key, _PLACEHOLDER)
        if not verdict.answers:
            return verdict
        return verdict._replace(notes={**verdict.notes, "saw": "picture"})


@dataclass(frozen=True)
class _WithPicture:
    """A model that gets a picture with every question."""

    base: Model
    url: str

    @property
    def model(self) -> str:
        """The name of the model."""
        return model_name(self.base)

    def ask(self, question: Question) -> Answer:
        """Returns the answer to the question with the picture."""
        return self.base.ask(replace(question, images=[self.url]))

"""A judge that looks at a picture of the candidate, where it has one, in the place of its text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qdkit.feedback.asking import Asking, Verdict, by, judgement
from qdkit.llm import Answer, AnswerOutcome, Ask, Model, Question, data_url
from qdkit.llm.model import named
from qdkit.types import Batch, Genome, Judgement, Key, Outcome

PLACE = "the picture that comes with this question"  # stands where the candidate's text would


@dataclass(frozen=True)
class Pictured:
    """Any judge that asks a model, shown the picture of each candidate and not its text.

    judge: a `Rating`, `Label`, `Rubric` or `Probability`; `{genome}` in its prompt becomes a mention of the picture.
    picture: a candidate as the bytes of a PNG. It must draw hostile candidates safely, and the same every time: a
      run's record keeps the digest of a picture, and one that is drawn otherwise later is another question.

    Whoever sees no pictures (a server that refuses them, a plain function) gives no judgement: nan, `INVALID`, with
    the reason. Put a judge after it that does without: `Fallback((Pictured(rating, png), Measured(composition)))`.
    """

    judge: Asking
    picture: Callable[[Genome], bytes]

    @property
    def name(self) -> str:
        """What is judged."""
        return self.judge.name

    @property
    def bounds(self) -> Any:
        """Those of the judge."""
        return getattr(self.judge, "bounds", None)

    @property
    def models(self) -> Sequence[Ask]:
        """Whom it asks."""
        return self.judge.models

    def __call__(self, key: Key, batch: Batch) -> Judgement:
        """The judgement of each candidate."""
        return judgement(self.name, [self._verdict(key, genome) for genome in batch.genome])

    def _verdict(self, key: Key, genome: Genome) -> Verdict:
        ask = self.judge.ask
        if not isinstance(ask, Model):
            why = f"{AnswerOutcome.BLIND}: {named(ask)} is a plain function, and sees no pictures"
            return Verdict(np.nan, 0, {"by": by(self.judge), "error": why}, Outcome.INVALID)
        said = replace(self.judge, ask=_Showing(ask, data_url(self.picture(genome)))).verdict(key, PLACE)
        return said._replace(notes={**said.notes, "saw": "picture"}) if said.answers else said


@dataclass(frozen=True)
class _Showing:
    """A model that is shown a picture with every question."""

    seeing: Model
    url: str

    @property
    def model(self) -> str:
        """The name of whom it asks."""
        return named(self.seeing)

    def ask(self, question: Question) -> Answer:
        """The answer to the question beside the picture."""
        return self.seeing.ask(replace(question, images=[self.url]))

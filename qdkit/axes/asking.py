"""Questions put to somebody who answers at once, a simulated person or a model, while a search goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from qdkit.record import Exhausted, Unanswered
from qdkit.types import Batch, Key

from . import questions
from .known import Known
from .triplets import among


class Answered(NamedTuple):
    """A row of judgements: the answer to the `number`-th question, about the candidates `ids`; None for a skip."""

    number: int
    question: str
    ids: tuple[int, ...]
    answer: Any
    rater: str = ""


@dataclass(frozen=True, eq=False)
class Asking:
    """Asks `n` triplets of elites after the commits `at`, those on which the axes are least sure.

    answer: (question, three candidates, number of the question) -> 1 or 2, which of the second and third is
      more like the first; None for a skip. One who asks a model is recorded, and a replay asks nobody.
    at: numbers of commits: QDHF asks after 1, and a tenth, a quarter and a half of the run.
    rounds: after how many commits from each of these a part of the questions is asked; the axes learn in between,
      so later parts are chosen better.
    """

    answer: Callable[[str, Batch, int], int | None]
    n: int = 25
    at: Sequence[int] = (1, 101, 251, 501)
    rounds: int = 1
    rater: str = "asked"

    def __post_init__(self) -> None:
        if self.n < 1 or not 1 <= self.rounds <= self.n:
            raise ValueError(f"n is 1 or more questions in 1 to n rounds, not {self.n} in {self.rounds}")

    def ask(
        self, key: Key, known: Known, axes: Any, replies: Sequence[Any], take: Callable[[np.ndarray], Batch]
    ) -> list[Answered]:
        """The answers that are due now; none at most commits. `take` gives the candidates of ids."""
        round = next((known.steps - first for first in self.at if 0 <= known.steps - first < self.rounds), None)
        if round is None:
            return []
        n = self.n // self.rounds + (round < self.n % self.rounds)
        elites = np.flatnonzero(known.elite)
        rows = elites if len(elites) >= 3 else np.arange(len(known.id))  # one elite is nobody to compare
        places = [among(np.array(row.ids), known.id[rows]) for row in replies if row.question == "triplet"]
        asked = [tuple(place.tolist()) for place in places if (place >= 0).all()]
        chosen = questions.triplets(key, known.features[rows], n, getattr(axes, "gaps", None), asked)
        answers: list[Answered] = []
        for ids in known.id[rows[chosen]].tolist():
            number = len(replies) + len(answers) + 1
            try:
                said = self.answer("triplet", take(np.array(ids)), number)
            except Unanswered:
                said = None
            except Exhausted:
                break
            answers.append(Answered(number, "triplet", tuple(ids), said, self.rater))
        return answers

"""Questions that a simulated person or a model answers at once, during a search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from qdkit.core.record import Exhausted, Unanswered
from qdkit.core.types import Batch, Key

from . import questions
from .ok_candidates import OkCandidates
from .triplets import rows_of


class Answered(NamedTuple):
    """A row of judgements: the answer to the `number`-th question, about the candidates `ids`.

    answer: None for a skip.
    """

    number: int
    question: str
    ids: tuple[int, ...]
    answer: Any
    rater: str = ""


@dataclass(frozen=True, eq=False)
class TripletQuestions:
    """Asks `n` triplets of elites after the commits `at`, those on which the axes are least sure.

    answer: (question, three candidates, number of the question) -> 1 or 2, which of the second and
      third is more like the first; None for a skip. An answer that asks a model is recorded, and a
      replay asks no model.
    at: numbers of commits: QDHF asks after 1, and a tenth, a quarter and a half of the run.
    rounds: over how many commits from each of `at` the questions are spread; the axes learn in
      between, so later questions are chosen better.
    """

    answer: Callable[[str, Batch, int], int | None]
    n: int = 25
    at: Sequence[int] = (1, 101, 251, 501)
    rounds: int = 1
    rater: str = "asked"

    def __post_init__(self) -> None:
        if self.n < 1 or not 1 <= self.rounds <= self.n:
            raise ValueError(
                f"n is 1 or more questions in 1 to n rounds, not {self.n} in {self.rounds}"
            )

    def ask(
        self,
        key: Key,
        known: OkCandidates,
        axes: Any,
        replies: Sequence[Any],
        take: Callable[[np.ndarray], Batch],
    ) -> list[Answered]:
        """Returns the answers that are due after this commit; none after most commits.

        take: returns the candidates of ids.
        """
        round = next(
            (known.steps - first for first in self.at if 0 <= known.steps - first < self.rounds),
            None,
        )
        if round is None:
            return []
        n = self.n // self.rounds + (round < self.n % self.rounds)
        elites = np.flatnonzero(known.elite)
        # A question needs three candidates.
        rows = elites if len(elites) >= 3 else np.arange(len(known.id))
        places = [
            rows_of(np.array(row.ids), known.id[rows])
            for row in replies
            if row.question == "triplet"
        ]
        earlier = [tuple(place.tolist()) for place in places if (place >= 0).all()]
        gaps = getattr(axes, "gaps", None)
        chosen = questions.choose_triplets(key, known.features[rows], n, gaps, earlier)
        answers: list[Answered] = []
        for ids in known.id[rows[chosen]].tolist():
            number = len(replies) + len(answers) + 1
            try:
                answer = self.answer("triplet", take(np.array(ids)), number)
            except Unanswered:
                answer = None
            except Exhausted:
                break
            answers.append(Answered(number, "triplet", tuple(ids), answer, self.rater))
        return answers

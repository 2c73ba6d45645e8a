"""A filter against texts with much the same words in the same order (ROUGE-L, Lin 2004)."""

from __future__ import annotations

import math
import re

from qdkit.core.types import Batch, Genome
from qdkit.novelty.candidates import as_it_is
from qdkit.novelty.edits import EditDistance


class Rouge(EditDistance):
    """Accepts a text if its ROUGE-L F with every text of a pool is below `limit`.

    ROUGE-L F is `2 P R / (P + R)`, where P and R are the length of the longest common subsequence
    of words as a share of the words of each text. It equals the edit-distance ratio of the words,
    without regard to case and punctuation.

    limit: 0.7 in QDAIF, which uses this filter as a baseline.
    least: the pool holds the texts with an objective above this; by default all that were tried.
      0.8 in QDAIF.
    last: the size of the pool, which holds the latest texts; None for all. 100 in QDAIF where
      there is a `least`.
    """

    def __init__(self, limit: float = 0.7, *, least: float = -math.inf, last: int | None = None):
        super().__init__(limit, _words)
        self.least, self.last = least, last

    def __repr__(self) -> str:
        return f"Rouge({self.ratio}, least={self.least}, last={self.last})"

    def known(self, before: int) -> slice:
        known = super().known(before)
        return known if self.last is None else slice(max(0, known.stop - self.last), known.stop)

    def learn(self, batch: Batch) -> None:
        if self.least != -math.inf:
            batch = batch.take(batch.ok & (batch.objective > self.least))
        super().learn(batch)


def _words(genome: Genome) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", as_it_is(genome).lower()))

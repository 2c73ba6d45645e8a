"""Texts that say much the same words in the same order (ROUGE-L, Lin 2004)."""

from __future__ import annotations

import math
import re

from qdkit.novelty.edits import EditDistance
from qdkit.novelty.known import as_it_is
from qdkit.types import Batch, Genome


class Rouge(EditDistance):
    """A text is new if its ROUGE-L F with every text of a pool is below `limit`.

    ROUGE-L F is `2 P R / (P + R)` with P and R the longest common subsequence of words as a share of the words of
    each text, which is the edit-distance ratio of words, whatever their case and the marks between them.

    limit: 0.7 in QDAIF, whose baseline this is.
    least: the pool are the texts with an objective above this; all that were tried, where left out. 0.8 in QDAIF.
    last: how many the pool holds, the latest; all where None. 100 in QDAIF where there is a `least`.
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
        super().learn(batch if self.least == -math.inf else batch.take(batch.ok & (batch.objective > self.least)))


def _words(genome: Genome) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", as_it_is(genome).lower()))

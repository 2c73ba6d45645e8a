"""Judges without a model: measures of a text, and a judge made of any function of one."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qdkit.feedback.asking import Verdict, judgement
from qdkit.feedback.sounds import syllables, words
from qdkit.types import Batch, Judgement, Key, Outcome


@dataclass(frozen=True)
class Measured:
    """A judge that measures: cheap, the same every time, and no better than its rule.

    measure: a number for a text, or one of the labels of `bounds`; None or nan where it has none.
    name: what is judged.
    bounds: between which numbers its values lie, or its labels.
    """

    measure: Callable[[Any], float | str | None]
    name: str = "quality"
    bounds: tuple[float, float] | tuple[str, ...] = (0.0, 1.0)

    def __call__(self, key: Key, batch: Batch) -> Judgement:
        """The measure of each candidate; of one that has none, `INVALID`."""
        return judgement(self.name, [self._verdict(genome) for genome in batch.genome])

    def _verdict(self, genome: Any) -> Verdict:
        said = self.measure(genome)
        notes = {"by": getattr(self.measure, "__name__", type(self.measure).__name__.lower())}
        if isinstance(said, str):
            return Verdict(float(self.bounds.index(said)), 1, {**notes, "label": said})
        if said is None or math.isnan(said):
            return Verdict(math.nan, 0, {**notes, "error": f"{notes['by']} says nothing of it"}, Outcome.INVALID)
        return Verdict(float(said), 1, notes)


def readability(text: str) -> float:
    """How easily a text is read: `206.835 - 1.015 words/sentences - 84.6 syllables/words` (Flesch 1948).

    About 100 for short words in short sentences, 30 for a learned paper, below 0 for worse; nan without words.
    """
    said = words(text)
    if not said:
        return math.nan
    sentences = max(1, len(re.findall(r"[.!?]+(?=\s|$)", text)))
    return 206.835 - 1.015 * len(said) / sentences - 84.6 * sum(map(syllables, said)) / len(said)


def repetition(text: str, n: int = 2) -> float:
    """The share of its runs of `n` words that a text has said before: 0 for none, near 1 for one run again and again.

    One less distinct-n (Li et al. 2016); 0 for a text of fewer words.
    """
    said = words(text)
    runs = [*zip(*(said[i:] for i in range(n)), strict=False)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0

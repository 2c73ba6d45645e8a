"""Judges without a model: measures of a text, and a judge made of any function of a candidate."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qdkit.core.types import Batch, Judgement, Key, Outcome
from qdkit.feedback.pointwise import Verdict, to_judgement
from qdkit.feedback.pronunciation import split_words, syllables


@dataclass(frozen=True)
class Measured:
    """A judge that calls a function: cheap, the same every time, and no better than its rule.

    measure: returns a number for a candidate, or one of the labels of `bounds`; None or nan if it
      has none.
    name: what is judged.
    bounds: the least and the greatest value, or the labels.
    """

    measure: Callable[[Any], float | str | None]
    name: str = "quality"
    bounds: tuple[float, float] | tuple[str, ...] = (0.0, 1.0)

    def __call__(self, key: Key, batch: Batch) -> Judgement:
        """Returns the measure of each candidate; the outcome is `INVALID` where it has none."""
        return to_judgement(self.name, [self._verdict(genome) for genome in batch.genome])

    def _verdict(self, genome: Any) -> Verdict:
        value = self.measure(genome)
        by = getattr(self.measure, "__name__", type(self.measure).__name__.lower())
        if isinstance(value, str):
            return Verdict(float(self.bounds.index(value)), 1, {"by": by, "label": value})
        if value is None or math.isnan(value):
            notes = {"by": by, "error": f"{by} says nothing of it"}
            return Verdict(math.nan, 0, notes, Outcome.INVALID)
        return Verdict(float(value), 1, {"by": by})


def readability(text: str) -> float:
    """Returns how easily a text is read (Flesch 1948).

    It is `206.835 - 1.015 words/sentences - 84.6 syllables/words`: about 100 for short words in
    short sentences, 30 for a learned paper, below 0 for worse; nan without words.
    """
    words = split_words(text)
    if not words:
        return math.nan
    sentences = max(1, len(re.findall(r"[.!?]+(?=\s|$)", text)))
    total = sum(map(syllables, words))
    return 206.835 - 1.015 * len(words) / sentences - 84.6 * total / len(words)


def repetition(text: str, n: int = 2) -> float:
    """Returns the share of a text's runs of `n` words that repeat an earlier run.

    It is 0 for none, and near 1 for one run again and again: 1 - distinct-n (Li et al. 2016).
    A text of fewer than `n` words has 0.
    """
    words = split_words(text)
    runs = [*zip(*(words[i:] for i in range(n)), strict=False)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0

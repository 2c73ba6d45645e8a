"""A judge that says to which of two described poles a text is closer, by vectors of texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qdkit.features import grams
from qdkit.feedback.asking import Verdict, judgement
from qdkit.plain import to_json
from qdkit.types import Batch, Judgement, Key, Outcome

Embed = Callable[[Sequence[str]], np.ndarray]  # n texts -> float [n, k]


@dataclass(frozen=True)
class Poles:
    """Where a text lies between two poles that are described by texts: 0 as the low ones, 1 as the high ones.

    embed: texts to vectors, such as `qdkit.Embedder`; runs of letters where left out, which know spelling and no
      meaning: describe the poles by the words that you expect.
    low, high: texts of each pole, several of each.

    `v = (x·d - a) / (b - a)` with d the mean unit vector of high less that of low, and a, b the means of x·d over
    the low and the high texts. What is like neither lies about ½ (the embedding feedback of QDAIF, calibrated).
    The poles are embedded with every batch, so that a task of a search asks for all that it needs.
    """

    low: tuple[str, ...]
    high: tuple[str, ...]
    embed: Embed = grams
    name: str = "quality"

    bounds = (0.0, 1.0)

    def __post_init__(self) -> None:
        for side in ("low", "high"):
            texts = getattr(self, side)
            if isinstance(texts, str) or not texts:
                raise ValueError(f"the {side} pole of {self.name} is described by a list of texts, not by {texts!r}")
            object.__setattr__(self, side, tuple(texts))

    def __call__(self, key: Key, batch: Batch) -> Judgement:
        """The place of each candidate between the poles."""
        texts = [genome if isinstance(genome, str) else to_json(genome) for genome in batch.genome]
        vectors = np.asarray(self.embed([*texts, *self.low, *self.high]), float)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        n, low = len(texts), slice(len(texts), len(texts) + len(self.low))
        towards = vectors[low.stop :].mean(0) - vectors[low].mean(0)
        along = vectors @ towards
        a, b = along[low].mean(), along[low.stop :].mean()
        if not b > a:
            raise ValueError(f"the poles of {self.name} are the same to its embedder: describe them by other texts")
        by = getattr(self.embed, "model", getattr(self.embed, "__name__", type(self.embed).__name__))
        told = {"by": f"poles of {by}"}
        blank = [not text.strip() or not vector.any() for text, vector in zip(texts, vectors[:n], strict=True)]
        verdicts = [Verdict(float(v), 1, told) for v in (along[:n] - a) / (b - a)]
        nothing = Verdict(np.nan, 0, {**told, "error": "it has no letters"}, Outcome.INVALID)
        return judgement(self.name, [nothing if no else v for no, v in zip(blank, verdicts, strict=True)])

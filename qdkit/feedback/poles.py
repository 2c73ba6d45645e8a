"""A judge that says to which of two described poles a text is closer, by vectors of texts."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qdkit.feedback.asking import Verdict, judgement
from qdkit.plain import to_json
from qdkit.types import Batch, Judgement, Key, Outcome

Embed = Callable[[Sequence[str]], np.ndarray]  # n texts -> float [n, k]


@dataclass(frozen=True)
class Hashed:
    """Texts as vectors of their runs of 3 to 5 letters, hashed: what is spelt alike lies close. No model, no download.

    dimensions: of a vector. Runs are counted with a sign of their hash, so that collisions cancel on average.
    """

    dimensions: int = 2048

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """float32 `[n, dimensions]` of length 1, or 0 for a text without letters."""
        vectors = np.zeros((len(texts), self.dimensions), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            padded = f" {' '.join(text.lower().split())} ".encode()
            digests = [zlib.crc32(padded[i : i + n]) for n in (3, 4, 5) for i in range(len(padded) - n + 1)]
            hashed = np.array(digests, np.uint32)
            np.add.at(row, hashed % self.dimensions, np.where(hashed >> 31, 1.0, -1.0).astype(np.float32))
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


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
    embed: Embed = Hashed()
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
        told = {"by": f"poles of {getattr(self.embed, 'model', type(self.embed).__name__.lower())}"}
        blank = [not vector.any() for vector in vectors[:n]]
        verdicts = [Verdict(float(v), 1, told) for v in (along[:n] - a) / (b - a)]
        nothing = Verdict(np.nan, 0, {**told, "error": "it has no letters"}, Outcome.INVALID)
        return judgement(self.name, [nothing if no else v for no, v in zip(blank, verdicts, strict=True)])

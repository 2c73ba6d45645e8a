"""Judges by vectors of texts: to which of two described poles, or of several described labels, a text is closer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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

    embed: texts to vectors, such as `qdkit.MiniLM` or `qdkit.Embedder`; runs of letters where left out, which know
      spelling and no meaning: describe the poles by the words that you expect.
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
        found, vectors = _vectors(self.embed, batch, [*self.low, *self.high])
        low, high = vectors[: len(self.low)], vectors[len(self.low) :]
        towards = high.mean(0) - low.mean(0)
        a, b = (low @ towards).mean(), (high @ towards).mean()
        if not b > a:
            raise ValueError(f"the poles of {self.name} are the same to its embedder: describe them by other texts")
        told = {"by": f"poles of {_whose(self.embed)}"}
        verdicts = [Verdict(float(v), 1, told) for v in (found @ towards - a) / (b - a)]
        return judgement(self.name, _said(batch, found, verdicts))


@dataclass(frozen=True)
class Closest:
    """The label whose description a text is closest to, as its number, for an axis of labels.

    described: the labels, each with one text or several that describe it.
    embed: as of `Poles`.

    `argmax_k x·d_k` with `d_k` the mean unit vector of the texts of label k, brought to length 1. One of them is
    always the closest, so it never says that none fits; a `Label` that asks a model does.
    """

    described: Mapping[str, Sequence[str]]
    embed: Embed = grams
    name: str = "kind"

    def __post_init__(self) -> None:
        for label, texts in self.described.items():
            if isinstance(texts, str) or not texts:
                raise ValueError(
                    f"the label {label!r} of {self.name} is described by a list of texts, not by {texts!r}"
                )
        if len(self.described) < 2:
            raise ValueError(f"{self.name} has {len(self.described)} labels: give it two or more to choose from")

    @property
    def bounds(self) -> tuple[str, ...]:
        """The labels, as an axis of a `Grid` takes them."""
        return tuple(self.described)

    def __call__(self, key: Key, batch: Batch) -> Judgement:
        """The label of each candidate; of one without letters, `INVALID`."""
        counts = [len(texts) for texts in self.described.values()]
        found, vectors = _vectors(self.embed, batch, [text for texts in self.described.values() for text in texts])
        means = np.array([part.mean(0) for part in np.split(vectors, np.cumsum(counts)[:-1])])
        likeness = found @ _unit(means).T
        by = f"closest of {_whose(self.embed)}"
        told = [
            {"by": by, "label": self.bounds[i], "cosine": round(float(c[i]), 6)}
            for i, c in zip(likeness.argmax(1), likeness, strict=True)
        ]
        verdicts = [Verdict(float(self.bounds.index(each["label"])), 1, each) for each in told]
        return judgement(self.name, _said(batch, found, verdicts))


def _vectors(embed: Embed, batch: Batch, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of the candidates and of the texts they are held against, of one call."""
    vectors = _unit(np.asarray(embed([*_texts(batch), *texts]), float))
    return vectors[: len(batch)], vectors[len(batch) :]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _texts(batch: Batch) -> list[str]:
    return [genome if isinstance(genome, str) else to_json(genome) for genome in batch.genome]


def _said(batch: Batch, vectors: np.ndarray, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts, but for what holds nothing to judge by."""
    blank = [not text.strip() or not vector.any() for text, vector in zip(_texts(batch), vectors, strict=True)]
    nothing = {"error": "it has no letters"}
    return [
        Verdict(np.nan, 0, {"by": said.notes["by"], **nothing}, Outcome.INVALID) if no else said
        for no, said in zip(blank, verdicts, strict=True)
    ]


def _whose(embed: Embed) -> str:
    """The model whose vectors they are, or the function: which one judged is in every record."""
    return str(getattr(embed, "model", getattr(embed, "__name__", type(embed).__name__)))

"""Judges by vectors of texts: which of two described poles, or of several labels, is closer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qdkit.core.jsonable import to_json
from qdkit.core.record import Unanswered
from qdkit.core.types import Batch, Judgement, Key, Outcome
from qdkit.feedback.pointwise import Verdict, to_judgement
from qdkit.llm import Embedder
from qdkit.metrics.features import grams

Embed = Callable[[Sequence[str]], np.ndarray]  # n texts -> float [n, k]


@dataclass(frozen=True)
class Poles:
    """Where a text lies between two poles that are described by texts: 0 is low, 1 is high.

    low, high: texts of each pole, several of each.
    embed: texts to vectors, such as `qdkit.MiniLM` or `qdkit.Embedder`. The default counts runs of
      letters, which knows spelling and no meaning: describe the poles by the words that you
      expect.

    `v = (x·d - a) / (b - a)`, where d is the mean unit vector of high less that of low, and a, b
    are the means of x·d over the low and the high texts. A text that is like neither lies about ½
    (the embedding feedback of QDAIF, calibrated). The poles are embedded with every batch, so that
    a task of a search asks for all that it needs.
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
                raise ValueError(
                    f"the {side} pole of {self.name} is described by a list of texts, not by "
                    f"{texts!r}"
                )
            object.__setattr__(self, side, tuple(texts))

    def __call__(self, key: Key, batch: Batch) -> Judgement:
        """Returns the place of each candidate between the poles."""
        candidates, poles = _vectors(self.embed, batch, [*self.low, *self.high])
        low, high = poles[: len(self.low)], poles[len(self.low) :]
        towards = high.mean(0) - low.mean(0)
        a, b = (low @ towards).mean(), (high @ towards).mean()
        if not b > a:
            reason = (
                f"the poles of {self.name} are the same to its embedder: describe them by other "
                f"texts"
            )
            # A server may have sent the same vector for all texts, which a retry can mend.
            raise Unanswered(reason) if isinstance(self.embed, Embedder) else ValueError(reason)
        notes = {"by": f"poles of {_embedder_name(self.embed)}"}
        values = (candidates @ towards - a) / (b - a)
        verdicts = [Verdict(float(v), 1, notes) for v in values]
        return to_judgement(self.name, _without_blank(batch, candidates, verdicts))


@dataclass(frozen=True)
class Closest:
    """The label whose description a text is closest to, as its index, for an axis of labels.

    described: the labels, each with one text or several that describe it.
    embed: as of `Poles`.

    It is `argmax_k x·d_k`, with `d_k` the mean unit vector of the texts of label k, scaled to
    length 1. One label is always the closest, so the judge never finds that none fits; a `Label`
    that asks a model can.
    """

    described: Mapping[str, Sequence[str]]
    embed: Embed = grams
    name: str = "kind"

    def __post_init__(self) -> None:
        for label, texts in self.described.items():
            if isinstance(texts, str) or not texts:
                raise ValueError(
                    f"the label {label!r} of {self.name} is described by a list of texts, not by "
                    f"{texts!r}"
                )
        if len(self.described) < 2:
            raise ValueError(
                f"{self.name} has {len(self.described)} labels: give it two or more to choose from"
            )

    @property
    def bounds(self) -> tuple[str, ...]:
        """The labels, as an axis of a `Grid` takes them."""
        return tuple(self.described)

    def __call__(self, key: Key, batch: Batch) -> Judgement:
        """Returns the label of each candidate; one without letters is `INVALID`."""
        counts = [len(texts) for texts in self.described.values()]
        candidates, vectors = _vectors(
            self.embed, batch, [text for texts in self.described.values() for text in texts]
        )
        means = np.array([part.mean(0) for part in np.split(vectors, np.cumsum(counts)[:-1])])
        cosines = candidates @ _unit(means).T
        by = f"closest of {_embedder_name(self.embed)}"
        verdicts = []
        for index, row in zip(cosines.argmax(1), cosines, strict=True):
            label, cosine = self.bounds[index], round(float(row[index]), 6)
            verdicts.append(Verdict(float(index), 1, {"by": by, "label": label, "cosine": cosine}))
        return to_judgement(self.name, _without_blank(batch, candidates, verdicts))


def _vectors(embed: Embed, batch: Batch, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns unit vectors of the candidates and of `texts`, from one call of `embed`."""
    vectors = _unit(np.asarray(embed([*_texts(batch), *texts]), float))
    return vectors[: len(batch)], vectors[len(batch) :]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _texts(batch: Batch) -> list[str]:
    return [genome if isinstance(genome, str) else to_json(genome) for genome in batch.genome]


def _without_blank(
    batch: Batch, vectors: np.ndarray, verdicts: Sequence[Verdict]
) -> list[Verdict]:
    """Returns the verdicts, with those of candidates without letters replaced by an error."""
    blank = [
        not text.strip() or not vector.any()
        for text, vector in zip(_texts(batch), vectors, strict=True)
    ]
    error = {"error": "it has no letters"}
    return [
        Verdict(np.nan, 0, {"by": verdict.notes["by"], **error}, Outcome.INVALID)
        if is_blank
        else verdict
        for is_blank, verdict in zip(blank, verdicts, strict=True)
    ]


def _embedder_name(embed: Embed) -> str:
    """Returns the name of the model or the function of the vectors, for the notes."""
    return str(getattr(embed, "model", getattr(embed, "__name__", type(embed).__name__)))

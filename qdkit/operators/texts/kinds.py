"""Kinds of texts in words: what an axis is called where a model is asked for a text of some kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Scale:
    """One axis of a map in words.

    name: what it measures, such as "sentiment".
    words: what its values are called, from low to high; or its labels, where it has labels.
    bounds: the lowest and the highest value, between which the words share the axis evenly; None for labels.

    Raises ValueError for fewer than two words.
    """

    name: str
    words: tuple[str, ...]
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if len(self.words) < 2:
            raise ValueError(f"{self.name} needs a word for low and another for high, and has {self.words}")

    def number(self, value: float) -> int:
        """Which of the words says `value`."""
        low, high = self.bounds or (-0.5, len(self.words) - 0.5)
        return int(np.clip((value - low) / (high - low) * len(self.words), 0, len(self.words) - 1))

    def word(self, value: float) -> str:
        """What `value` is called; "unknown" for nan."""
        return self.words[self.number(value)] if value == value else "unknown"


class Kind(NamedTuple):
    """A kind of text: a word for each of several scales."""

    scales: Sequence[Scale]
    words: Sequence[str]

    @classmethod
    def of(cls, scales: Sequence[Scale], values: Sequence[float]) -> Kind:
        """The kind at a place of a map."""
        return cls(scales, [scale.word(float(value)) for scale, value in zip(scales, values, strict=True)])

    @classmethod
    def drawn(cls, scales: Sequence[Scale], random: np.random.Generator) -> Kind:
        """A kind drawn evenly."""
        at = random.integers([len(scale.words) for scale in scales]).tolist()
        return cls(scales, [scale.words[i] for i, scale in zip(at, scales, strict=True)])

    def by_name(self, before: str = "") -> dict[str, str]:
        """The words by the names of the scales, with something before each name."""
        return {before + scale.name: word for scale, word in zip(self.scales, self.words, strict=True)}

    def __str__(self) -> str:
        return ", ".join(f"{name}: {word}" for name, word in self.by_name().items())

"""Kinds of texts in words, for prompts that ask for a text of some kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Scale:
    """One axis of a map in words.

    name: the name of the axis, such as "sentiment".
    words: the words for its values from low to high, or its labels.
    bounds: the lowest and the highest value, between which each word has an equal part of the
      axis; None for labels.

    Raises ValueError for fewer than two words.
    """

    name: str
    words: tuple[str, ...]
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if len(self.words) < 2:
            raise ValueError(
                f"{self.name} needs a word for low and another for high, and has {self.words}"
            )

    def number(self, value: float) -> int:
        """Returns the index of the word for `value`."""
        low, high = self.bounds or (-0.5, len(self.words) - 0.5)
        return int(np.clip((value - low) / (high - low) * len(self.words), 0, len(self.words) - 1))

    def word(self, value: float) -> str:
        """Returns the word for `value`, "unknown" for nan."""
        return self.words[self.number(value)] if value == value else "unknown"


class TextKind(NamedTuple):
    """A kind of text: one word of each scale."""

    scales: Sequence[Scale]
    words: Sequence[str]

    @classmethod
    def of(cls, scales: Sequence[Scale], values: Sequence[float]) -> TextKind:
        """Returns the kind at a descriptor."""
        pairs = zip(scales, values, strict=True)
        return cls(scales, [scale.word(float(value)) for scale, value in pairs])

    @classmethod
    def random(cls, scales: Sequence[Scale], random: np.random.Generator) -> TextKind:
        """Returns a random kind, with equal probability for each word of a scale."""
        numbers = random.integers([len(scale.words) for scale in scales]).tolist()
        return cls(scales, [scale.words[i] for i, scale in zip(numbers, scales, strict=True)])

    def by_name(self, prefix: str = "") -> dict[str, str]:
        """Returns the words by the names of their scales, with a prefix to each name."""
        pairs = zip(self.scales, self.words, strict=True)
        return {prefix + scale.name: word for scale, word in pairs}

    def __str__(self) -> str:
        return ", ".join(f"{name}: {word}" for name, word in self.by_name().items())

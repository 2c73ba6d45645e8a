"""A simulated person, for tests and benchmarks of all that learns from people.

Knows what people are known to do: answers wrongly now and then, most of all where two things are about
alike; drifts in taste, prefers what stands first, tires.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Seeing = Callable[[np.ndarray], Any]


@dataclass(frozen=True, eq=False)
class Person:
    """Somebody who sees candidates as places, and likes some more than others.

    place: features `[n, f]` -> `[n, k]`: candidates are alike where these are near each other.
    liking: features `[n, f]` -> `[n]`: how good they are; asked for pairs and ratings alone.
    flips: the share of answers given at random between the two that are possible is twice this: so many are wrong.
    doubt: how much of a difference goes unseen: right with the probability sigmoid(difference / doubt), where
      the difference is that of two distances over their mean, or of two likings over 1; 0 for never wrong.
    drift: after a hundred answers each axis of place counts exp(drift * s) times as much, s standard normal.
    bias: the share of answers that are the first, whatever the question.
    tires: what is added to `flips` in a hundred answers, up to a half.
    kinds: a label for each of some places, of which "label" answers the nearest.
    rater: their name.
    seed: of the mistakes. The n-th answer is the same whatever was asked before.
    """

    place: Seeing = np.asarray
    liking: Seeing = field(default=lambda features: np.asarray(features)[:, 0])
    flips: float = 0.0
    doubt: float = 0.0
    drift: float = 0.0
    bias: float = 0.0
    tires: float = 0.0
    kinds: Mapping[str, Sequence[float]] = field(default_factory=dict)
    rater: str = "simulated"
    seed: int = 0

    def triplet(self, features: np.ndarray, number: int = 0) -> int:
        """1 or 2: which of the second and third of `[3, f]` is more like the first; their `number`-th answer."""
        a, b, c = self._seen(features, number)
        near, far = float(np.linalg.norm(a - b)), float(np.linalg.norm(a - c))
        return 1 + self._chosen((far - near) / max((near + far) / 2, 1e-12), number)

    def odd(self, features: np.ndarray, number: int = 0) -> int:
        """0, 1 or 2: the odd one out of `[3, f]`, the farthest from the middle of the other two that are nearest."""
        seen = self._seen(features, number)
        apart = np.array([np.linalg.norm(seen[i - 1] - seen[i - 2]) for i in range(3)])  # of the two others
        first, second, _ = np.argsort(apart, kind="stable").tolist()
        right = self._chosen((apart[second] - apart[first]) / max(apart.mean(), 1e-12), number, biased=False) == 0
        return 0 if self._random(number, 1) < self.bias else first if right else second

    def pair(self, features: np.ndarray, number: int = 0) -> int:
        """0 or 1: which of `[2, f]` is better."""
        first, second = np.asarray(self.liking(features), float)
        return self._chosen(first - second, number)

    def rating(self, features: np.ndarray, number: int = 0, low: int = 1, high: int = 10) -> int:
        """A whole number from `low` to `high` for one candidate `[f]`: their liking, of which 0 is the middle.

        Two units of liking to either side make the whole scale. A flip is a number drawn evenly.
        """
        liking = float(np.asarray(self.liking(np.asarray(features)[None]))[0])
        if self._random(number, 0) < 2 * self._wrong(number):
            return int(low + np.floor(self._random(number, 2) * (high - low + 1)))
        blurred = liking + self.doubt * np.log(1 / max(self._random(number, 2), 1e-12) - 1)
        return int(np.clip(np.round((low + high) / 2 + blurred * (high - low) / 4), low, high))

    def label(self, features: np.ndarray, number: int = 0) -> str:
        """The kind `[f]` is nearest to; a flip is another kind, drawn evenly."""
        names = list(self.kinds)
        seen = self._seen(np.asarray(features)[None], number)[0]
        nearest = int(np.argmin([np.linalg.norm(seen - np.asarray(self.kinds[name])) for name in names]))
        if len(names) > 1 and self._random(number, 0) < self._wrong(number):
            nearest = (nearest + 1 + int(self._random(number, 2) * (len(names) - 1))) % len(names)
        return names[nearest]

    def __call__(self, question: str, features: np.ndarray, number: int = 0) -> Any:
        """Their answer to a question of any kind, as a judgement is kept."""
        return getattr(self, question)(features, number)

    def _seen(self, features: np.ndarray, number: int) -> np.ndarray:
        places = np.asarray(self.place(np.asarray(features)), float)
        if not self.drift:
            return places
        way = np.random.default_rng([self.seed, places.shape[1]]).normal(size=(1, places.shape[1]))
        return places * np.exp(self.drift * number / 100 * way)

    def _chosen(self, better: float, number: int, biased: bool = True) -> int:
        """0 for the first or 1 for the second, where the first is better by `better`."""
        if biased and self._random(number, 1) < self.bias:
            return 0
        wrong = self._random(number, 0) < self._wrong(number)
        if self.doubt:
            wrong ^= self._random(number, 2) > 1 / (1 + np.exp(-min(abs(better) / self.doubt, 30.0)))
        return int((better < 0) ^ wrong)

    def _wrong(self, number: int) -> float:
        """The probability of a flip."""
        return min(0.5, self.flips + self.tires * number / 100)

    def _random(self, number: int, purpose: int) -> float:
        """Uniform in 0 to 1; the same for the same answer."""
        return float(np.random.default_rng([self.seed, number, purpose, 7]).random())

"""A simulated person, for tests and benchmarks of parts that learn from people.

It simulates the known errors of people: wrong answers, above all where two candidates are nearly
equal, drifting taste, a bias to the first candidate, and fatigue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qdkit.core.seeds import numpy_seed, seed_number

_FeatureFunction = Callable[[np.ndarray], Any]


@dataclass(frozen=True, eq=False)
class Person:
    """A simulated person who perceives candidates as points, and likes some more than others.

    place: features `[n, f]` -> points `[n, k]`: candidates are alike where their points are close.
    liking: features `[n, f]` -> `[n]`: how good they are; used for pairs and ratings only.
    flips: the share of wrong answers; twice as many answers are drawn at random from the two that
      are possible.
    doubt: the insensitivity to differences: an answer is right with the probability
      sigmoid(difference / doubt), where the difference is that of two distances divided by their
      mean, or that of two likings; 0 for never wrong.
    drift: after a hundred answers each axis of the points counts exp(drift * s) times as much, s
      standard normal.
    bias: the share of answers that choose the first candidate, whatever the question.
    tires: what is added to `flips` in a hundred answers, up to a half.
    kinds: labels and their points; "label" answers the nearest.
    rater: the name of the person.
    seed: of the mistakes. The n-th answer does not depend on the questions before.
    """

    place: _FeatureFunction = np.asarray
    liking: _FeatureFunction = field(default=lambda features: np.asarray(features)[:, 0])
    flips: float = 0.0
    doubt: float = 0.0
    drift: float = 0.0
    bias: float = 0.0
    tires: float = 0.0
    kinds: Mapping[str, Sequence[float]] = field(default_factory=dict)
    rater: str = "simulated"
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", seed_number(self.seed))

    def triplet(self, features: np.ndarray, number: int = 0) -> int:
        """Returns 1 or 2: which of the second and third of `[3, f]` is more like the first.

        number: the index of the answer, for all kinds of questions.
        """
        a, b, c = self._points(features, number)
        near, far = float(np.linalg.norm(a - b)), float(np.linalg.norm(a - c))
        return 1 + self._choose((far - near) / max((near + far) / 2, 1e-12), number)

    def odd(self, features: np.ndarray, number: int = 0) -> int:
        """Returns 0, 1 or 2: the odd one out of `[3, f]`, which leaves the two closest."""
        points = self._points(features, number)
        # The distance between the two others, for each of the three.
        distances = np.array([np.linalg.norm(points[i - 1] - points[i - 2]) for i in range(3)])
        first, second, _ = np.argsort(distances, kind="stable").tolist()
        difference = (distances[second] - distances[first]) / max(distances.mean(), 1e-12)
        right = self._choose(difference, number, biased=False) == 0
        return 0 if self._random(number, 1) < self.bias else first if right else second

    def pair(self, features: np.ndarray, number: int = 0) -> int:
        """Returns 0 or 1: which of `[2, f]` is better."""
        first, second = np.asarray(self.liking(features), float)
        return self._choose(first - second, number)

    def rating(self, features: np.ndarray, number: int = 0, low: int = 1, high: int = 10) -> int:
        """Returns an integer from `low` to `high`: how much the person likes a candidate `[f]`.

        A liking of 0 is the middle of the scale, and -2 and 2 are its ends. A flip is drawn
        uniformly from the scale.
        """
        liking = float(np.asarray(self.liking(np.asarray(features)[None]))[0])
        if self._random(number, 0) < 2 * self._flip_probability(number):
            return int(low + np.floor(self._random(number, 2) * (high - low + 1)))
        noisy = liking + self.doubt * np.log(1 / max(self._random(number, 2), 1e-12) - 1)
        return int(np.clip(np.round((low + high) / 2 + noisy * (high - low) / 4), low, high))

    def label(self, features: np.ndarray, number: int = 0) -> str:
        """Returns the kind nearest to `[f]`; a flip is another kind, drawn uniformly."""
        names = list(self.kinds)
        point = self._points(np.asarray(features)[None], number)[0]
        distances = [np.linalg.norm(point - np.asarray(self.kinds[name])) for name in names]
        nearest = int(np.argmin(distances))
        if len(names) > 1 and self._random(number, 0) < self._flip_probability(number):
            nearest = (nearest + 1 + int(self._random(number, 2) * (len(names) - 1))) % len(names)
        return names[nearest]

    def __call__(self, question: str, features: np.ndarray, number: int = 0) -> Any:
        """Returns the answer to a question of any kind, in the form of a judgement."""
        return getattr(self, question)(features, number)

    def _points(self, features: np.ndarray, number: int) -> np.ndarray:
        points = np.asarray(self.place(np.asarray(features)), float)
        if not self.drift:
            return points
        random = np.random.default_rng([numpy_seed(self.seed), points.shape[1]])
        direction = random.normal(size=(1, points.shape[1]))
        return points * np.exp(self.drift * number / 100 * direction)

    def _choose(self, difference: float, number: int, biased: bool = True) -> int:
        """Returns 0 for the first or 1 for the second; the first is better by `difference`."""
        if biased and self._random(number, 1) < self.bias:
            return 0
        wrong = self._random(number, 0) < self._flip_probability(number)
        if self.doubt:
            ratio = min(abs(difference) / self.doubt, 30.0)
            wrong ^= self._random(number, 2) > 1 / (1 + np.exp(-ratio))
        return int((difference < 0) ^ wrong)

    def _flip_probability(self, number: int) -> float:
        return min(0.5, self.flips + self.tires * number / 100)

    def _random(self, number: int, purpose: int) -> float:
        """Returns a uniform number in [0, 1); it depends on the seed and the arguments alone."""
        return float(np.random.default_rng([numpy_seed(self.seed), number, purpose, 7]).random())

"""The toy: 10 numbers that land in a square in which two small discs pay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import numpy as np

from qdkit.core.types import Evaluation, Key

DIRECTIONS = np.random.default_rng(2021).normal(size=(10, 2)) / np.sqrt(10)
CENTRES = np.array([(0.75, 0.75), (-0.85, -0.6)])
RADIUS = 0.15


@dataclass(frozen=True)
class Discs:
    """Genomes are float `[10]`, the descriptor tanh of two of their combinations.

    1 is paid in the middle of a disc.
    """

    names: ClassVar[tuple[str, str]] = ("x", "y")
    bounds: ClassVar[tuple[tuple[float, float], ...]] = ((-1.0, 1.0), (-1.0, 1.0))
    limits: ClassVar[tuple[float, float]] = (-5.0, 5.0)

    def seeds(self, key: Key, n: int) -> np.ndarray:
        return 0.05 * np.asarray(jax.random.normal(key, (n, 10)), np.float64)

    def evaluate(self, genomes: np.ndarray) -> Evaluation:
        place = np.tanh(np.asarray(genomes) @ DIRECTIONS)
        return Evaluation(rewards(place).max(1), place)


def rewards(place: np.ndarray) -> np.ndarray:
    """Returns float `[n, 2]`: the reward of each disc at each place."""
    away = np.sqrt(((place[:, None] - CENTRES[None]) ** 2).sum(2))
    return np.maximum(0.0, 1 - away / RADIUS)

"""A maze that pays in one place, as where its robots end, and as pictures of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qdkit.core.types import Evaluation, Key
from qdkit.domains import Maze
from qdkit.domains.maze import picture_of_places

END, NEAR = np.array([(0.15, 0.9)]), 0.1  # where a robot that ends is paid, and how near


def paid(place: np.ndarray) -> np.ndarray:
    """Returns bool `[n]`: whether a place is within reach of the end."""
    return np.linalg.norm(place - END, axis=1) <= NEAR


@dataclass(frozen=True)
class PaidMaze:
    """The maze with its end as the descriptor, that pays in one place."""

    maze: ClassVar[Maze] = Maze(steps=250)
    bounds: ClassVar[Any] = Maze.bounds

    def seeds(self, key: Key, n: int) -> np.ndarray:
        return self.maze.seeds(key, n)

    def evaluate(self, genomes: Any) -> Evaluation:
        place = np.asarray(self.maze.evaluate(genomes).descriptor, np.float64)
        return Evaluation(paid(place).astype(float), place)


@dataclass(frozen=True)
class SeenMaze(PaidMaze):
    """The same with the pictures of `Maze(see="picture")` as features.

    The end is in the notes, for tables alone.
    """

    def evaluate(self, genomes: Any) -> Evaluation:
        found = super().evaluate(genomes)
        place = np.asarray(found.descriptor)
        notes = [{"end": end} for end in place.tolist()]
        return Evaluation(
            found.objective, features=picture_of_places(place.astype(np.float32)), notes=notes
        )

"""Inspirations: elites that a prompt shows to an operator beside the parents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_POOL = 256  # elites among which `diverse` ones are searched
_WIDTH = 0.25  # the standard deviation of the kernel, in units of the spread of an axis


@dataclass(frozen=True)
class Inspirations:
    """How many elites of each kind to show. No elite is shown twice, and no parent is shown.

    The kinds are chosen in this order:

    best: the elites with the highest objective.
    near: the elites whose descriptor is nearest to the target, or to the first parent if there is
      no target. Distances are measured in the spread of each axis over the elites.
    diverse: the elites that differ most from one another and from those chosen before. Each step
      adds the one that raises the determinant of their kernel most (fast greedy MAP inference of a
      DPP, Chen et al. 2018; kernel exp(-distance^2 / (2 / 16)), a quarter of the spread wide),
      among 256 elites drawn at random.
    random: any other elites.

    Raises ValueError for a negative number.
    """

    best: int = 1
    near: int = 1
    diverse: int = 0
    random: int = 0

    def __post_init__(self) -> None:
        if min(self.best, self.near, self.diverse, self.random) < 0:
            raise ValueError(f"each number of elites to show is 0 or more, not {self}")

    def cells(
        self,
        random: np.random.Generator,
        objective: np.ndarray,
        descriptor: np.ndarray,
        parents: np.ndarray,
        target: np.ndarray | None = None,
    ) -> np.ndarray:
        """Returns the cells of the elites to show, int `[k]`; fewer if there are no more elites.

        objective: float `[C]`, -inf in empty cells.
        descriptor: float `[C, d]`.
        parents: int `[a]`, the cells of the parents.
        target: float `[d]`, nan or None where there is none.
        """
        occupied = objective > -np.inf
        left = np.setdiff1d(np.flatnonzero(occupied), parents)
        chosen: list[int] = []

        def take(order: np.ndarray, most: int) -> None:
            nonlocal left
            chosen.extend(order[:most].tolist())
            left = left[~np.isin(left, order[:most])]

        take(left[np.argsort(-objective[left], kind="stable")], self.best)
        if self.near or self.diverse:
            place = _scaled(descriptor, occupied)
            if target is not None and np.isfinite(target).all():
                origin = _scaled(descriptor, occupied, target)
            else:
                origin = place[parents[0]] if len(parents) else place[occupied].mean(0)
            distance = ((place[left] - origin) ** 2).sum(1)
            take(left[np.argsort(distance, kind="stable")], self.near)
            pool = random.permutation(left)[:_POOL] if self.diverse else left[:0]
            before = [*parents[:1].tolist(), *chosen]
            take(most_diverse(place, pool, before, self.diverse), self.diverse)
        take(random.permutation(left) if self.random else left, self.random)
        return np.array(chosen, int)


def most_diverse(place: np.ndarray, pool: np.ndarray, before: list[int], k: int) -> np.ndarray:
    """Returns rows of `pool` that maximise, greedily, the determinant of the kernel, int `[<= k]`.

    The kernel is that of the returned rows together with those in `before`. The gain of a row is
    the part of it that the chosen rows do not explain (its diagonal in the Cholesky factor).

    place: float `[C, d]`, where each row lies.
    """
    if not len(pool) or not k:
        return pool[:0]
    rows = np.concatenate([np.array(before, int), pool])
    in_pool = np.arange(len(rows)) >= len(before)
    factor, gain = np.zeros((len(rows), 0)), np.ones(len(rows))
    chosen: list[int] = []
    for step in range(len(before) + min(k, len(pool))):
        if step < len(before):
            i = step
        else:
            i = int(np.argmax(np.where(in_pool, gain, -1)))
            chosen.append(i)
        distance = ((place[rows] - place[rows[i]]) ** 2).sum(-1)
        kernel = np.exp(-distance / (2 * _WIDTH**2))
        column = (kernel - factor @ factor[i]) / np.sqrt(max(gain[i], 1e-12))
        factor, gain = np.column_stack([factor, column]), gain - column**2
        gain[i] = -1.0  # already chosen
    return rows[chosen]


def _scaled(
    descriptor: np.ndarray, occupied: np.ndarray, at: np.ndarray | None = None
) -> np.ndarray:
    """Returns descriptors, or the point `at`, in units of each axis's spread over the elites."""
    spread = np.ptp(descriptor[occupied], axis=0)
    return (descriptor if at is None else at) / np.where(spread > 0, spread, 1.0)

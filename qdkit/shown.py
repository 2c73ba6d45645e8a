"""Which other elites an operator is shown beside the parents, as context for a prompt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

POOL = 256  # elites among which different ones are looked for
WIDTH = 0.25  # of the kernel, in the spread of an axis


@dataclass(frozen=True)
class Shown:
    """How many elites of each sort are shown, none twice and no parent: the best first, then in this order.

    best: those with the highest objective.
    near: those nearest in kind to the target, or to the first parent where there is none. Distances
      are measured in the spread of each axis over the elites.
    diverse: those that differ most from one another and from the others shown: greedily, each the one
      that raises the determinant of their kernel most (fast greedy MAP inference of a DPP, Chen et al.
      2018; kernel exp(-distance^2 / (2 / 16)), a quarter of the spread wide), among 256 drawn elites.
    random: any others.
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
        """int `[k]`: the cells of the elites to show, fewer than asked for where there are no more.

        objective: float `[C]`, -inf in empty cells; descriptor: float `[C, d]`; parents: their cells;
        target: float `[d]`, nan or None where there is none.
        """
        left = np.setdiff1d(np.flatnonzero(objective > -np.inf), parents)
        chosen: list[int] = []

        def take(order: np.ndarray, most: int) -> None:
            nonlocal left
            chosen.extend(order[:most].tolist())
            left = left[~np.isin(left, order[:most])]

        take(left[np.argsort(-objective[left], kind="stable")], self.best)
        if self.near or self.diverse:
            place = _scaled(descriptor, objective > -np.inf)
            aimed = target is not None and np.isfinite(target).all()
            from_here = place[parents[0]] if len(parents) else place[objective > -np.inf].mean(0)
            at = _scaled(descriptor, objective > -np.inf, target) if aimed else from_here
            take(left[np.argsort(((place[left] - at) ** 2).sum(1), kind="stable")], self.near)
            pool = random.permutation(left)[:POOL] if self.diverse else left[:0]
            take(unlike(place, pool, [*parents[:1].tolist(), *chosen], self.diverse), self.diverse)
        take(random.permutation(left) if self.random else left, self.random)
        return np.array(chosen, int)


def unlike(place: np.ndarray, pool: np.ndarray, held: list[int], k: int) -> np.ndarray:
    """int `[<= k]`: rows of `pool` that make the determinant of the kernel of `held` and themselves greatest, greedily.

    The gain of a row is what of it the chosen ones do not explain (its part of the Cholesky factor).
    """
    if not len(pool) or not k:
        return pool[:0]
    everyone = np.concatenate([np.array(held, int), pool])
    kernel = lambda rows: np.exp(-((place[everyone][:, None] - place[rows][None]) ** 2).sum(-1) / (2 * WIDTH**2))
    factor, gain = np.zeros((len(everyone), 0)), np.ones(len(everyone))
    chosen: list[int] = []
    for turn in range(len(held) + min(k, len(pool))):
        row = turn if turn < len(held) else int(np.argmax(np.where(np.arange(len(everyone)) < len(held), -1, gain)))
        if turn >= len(held):
            chosen.append(row)
        root = np.sqrt(max(gain[row], 1e-12))
        column = (kernel(everyone[row : row + 1])[:, 0] - factor @ factor[row]) / root
        factor, gain = np.column_stack([factor, column]), gain - column**2
        gain[row] = -1.0  # taken
    return everyone[chosen]


def _scaled(descriptor: np.ndarray, occupied: np.ndarray, at: np.ndarray | None = None) -> np.ndarray:
    """Descriptors (or `at`, a place) in the spread of each axis over the elites."""
    spread = np.ptp(descriptor[occupied], axis=0)
    return (descriptor if at is None else at) / np.where(spread > 0, spread, 1.0)

"""Archives without cells: what is kept lies where it fell, and distances decide who stays.

    Novelty(axes, threshold)     whoever is far enough from all that is kept
    Dominated(axes, capacity)    a fixed number, of which those go that are near to better ones
    Recent(axes, capacity)       the last that came in, if they were good and new enough

All have `capacity` places, so that arrays keep their shape. Coverage is the share of the places that
are taken, and the QD score counts every elite.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from qdkit.elites import NOWHERE, Archive

BLOCK = 64  # points that are left out together where the nearest of them is too far
TOGETHER = 1024  # rows that are measured at the same time


@dataclass(frozen=True)
class Unstructured(Archive):
    """`capacity` places for candidates of `dimensions` axes, anywhere.

    dimensions: how many axes a descriptor has. Distances are Euclidean, so the axes should be of one scale.
    names: what the axes measure, for plots and tables.
    """

    dimensions: int
    capacity: int
    neighbours: int
    names: tuple[str, ...] = field(default=(), kw_only=True)

    elitist = False

    def __post_init__(self) -> None:
        for name in ("dimensions", "capacity", "neighbours"):
            value = getattr(self, name)
            if value != int(value) or value < 1:
                raise ValueError(f"{name} is {value}: a whole number from 1 is needed")
        if self.neighbours > self.capacity:
            raise ValueError(f"neighbours is {self.neighbours}, of which {self.capacity} places cannot have as many")
        names = tuple(self.names) or tuple(f"axis {i}" for i in range(self.dimensions))
        if len(names) != self.dimensions:
            raise ValueError(f"names has {len(names)} entries for {self.dimensions} axes: name all of them or none")
        object.__setattr__(self, "names", names)

    @property
    def cells(self) -> int:
        """How many places there are."""
        return self.capacity

    @property
    def axes(self) -> int:
        """How many numbers make a descriptor."""
        return self.dimensions

    def cell(self, descriptor: Any) -> jax.Array:
        """int32 `[n]`: 0, as space is not divided; `NOWHERE` for what is not finite."""
        return jnp.where(jnp.isfinite(jnp.asarray(descriptor)).all(1), 0, NOWHERE).astype(jnp.int32)

    @abc.abstractmethod
    def insert(self, elites: Any, cell: Any, objective: Any, descriptor: Any, payload: Any) -> Any:
        """Who stays."""


def nearest(places: jax.Array, points: jax.Array, count: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """The `k` nearest of the first `count` of `points` `[p, d]` to each of `places` `[n, d]`, and how far.

    int32 and float `[n, k]`: the nearest first, of equals the first; at an infinite distance where there are fewer.

    The k nearest lie in those k blocks of points whose own nearest are nearest, so that distances are
    put in order for the points of a few blocks alone. Point i is in block i modulo the number of blocks.
    """
    blocks, axes = -(-len(points) // BLOCK), range(points.shape[1])
    points = jnp.pad(points, ((0, blocks * BLOCK - len(points)), (0, 0))).T.reshape(-1, BLOCK, blocks)
    ranks = jnp.arange(BLOCK, dtype=jnp.int32) * blocks  # of a block's points; block b has these + b
    own = jnp.arange(blocks, dtype=jnp.int32)

    def search(places: jax.Array) -> tuple[jax.Array, jax.Array]:
        def closer(i: jax.Array, least: jax.Array) -> jax.Array:
            away = sum((points[axis, i][None] - places[:, axis, None]) ** 2 for axis in axes)
            return jnp.minimum(least, jnp.where(ranks[i] + own[None] < count, away, jnp.inf))

        least = jnp.full((len(places), blocks), jnp.inf, points.dtype)
        least = jax.lax.fori_loop(0, -(-count // blocks), closer, least)
        block = jnp.sort(jax.lax.top_k(-least, min(k, blocks))[1], 1)
        index = ranks[None, :, None] + block[:, None]
        away = sum((points[axis][:, block].swapaxes(0, 1) - places[:, axis, None, None]) ** 2 for axis in axes)
        away = jnp.where(index < count, away, jnp.inf).reshape(len(places), -1)
        less, which = jax.lax.top_k(-away, k)
        return jnp.take_along_axis(index.reshape(away.shape), which, 1).astype(jnp.int32), jnp.sqrt(-less)

    if (n := len(places)) <= TOGETHER:
        return search(places)
    some = jnp.pad(places, ((0, -n % TOGETHER), (0, 0))).reshape(-1, TOGETHER, len(axes))
    index, away = jax.lax.map(search, some)
    return index.reshape(-1, k)[:n], away.reshape(-1, k)[:n]

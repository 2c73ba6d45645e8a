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

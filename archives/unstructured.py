"""Archives without cells, in which distances decide which candidates stay.

    Novelty(axes, threshold)            every candidate that is far enough from all elites
    DominatedNovelty(axes, capacity)    a fixed number of candidates, far from better ones
    Recent(axes, capacity)              the latest candidates that were good and novel enough

Each has `capacity` slots, so that arrays keep their shape. Coverage is the share of the slots that
are filled, and the QD score counts every elite.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from qdkit.core.elites import NOWHERE, Archive
from qdkit.core.shapes import check_descriptor

from .checks import checked_integer


@dataclass(frozen=True)
class Unstructured(Archive):
    """`capacity` slots for candidates anywhere in a space of `dimensions` axes.

    dimensions: the number of descriptor axes. Distances are Euclidean, so the axes should be of
      one scale.
    capacity: the number of slots.
    neighbours: the number of nearest candidates whose distances count.
    names: what the axes measure, for plots and tables.
    """

    dimensions: int
    capacity: int
    neighbours: int
    names: tuple[str, ...] = field(default=(), kw_only=True)

    elitist = False

    def __post_init__(self) -> None:
        for name in ("dimensions", "capacity", "neighbours"):
            object.__setattr__(self, name, checked_integer(name, getattr(self, name)))
        if self.neighbours > self.capacity:
            raise ValueError(
                f"neighbours is {self.neighbours}, more than the capacity, {self.capacity}: give "
                "fewer neighbours or a larger capacity"
            )
        names = tuple(self.names) or tuple(f"axis {i}" for i in range(self.dimensions))
        if len(names) != self.dimensions:
            raise ValueError(
                f"names has {len(names)} entries for {self.dimensions} axes: name all of them or "
                "none"
            )
        object.__setattr__(self, "names", names)

    @property
    def cells(self) -> int:
        """The number of slots."""
        return self.capacity

    @property
    def axes(self) -> int:
        """The number of descriptor axes."""
        return self.dimensions

    def cell(self, descriptor: Any) -> jax.Array:
        """Returns 0 for each finite descriptor and `NOWHERE` for the others, int32 `[n]`."""
        descriptor = jnp.asarray(descriptor)
        check_descriptor(descriptor, self.axes)
        return jnp.where(jnp.isfinite(descriptor).all(1), 0, NOWHERE).astype(jnp.int32)

    @abc.abstractmethod
    def insert(self, elites: Any, cell: Any, objective: Any, descriptor: Any, payload: Any) -> Any:
        """Inserts a batch; the subclass defines which candidates stay."""

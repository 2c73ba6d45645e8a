"""Noise along the line through two parents (Iso+LineDD, Vassiliades & Mouret 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from qdkit.elites import double
from qdkit.keys import quick
from qdkit.types import Context, Key, Operator, Proposal

from .limits import Limits, Outside, check, floats, walls, within


@dataclass(frozen=True, eq=False)
class Line(Operator):
    """Adds a little noise everywhere, and more along the line to a second elite.

    The child of x and y is x + iso N(0, I) + line N(0, 1) (y - x). Elites of good
    quality lie close together, so that the line between two of them leads to more.

    iso: standard deviation of the noise on every entry.
    line: that of the step along the line, in units of the distance between the parents.
    limits, outside: as of `Gaussian`.

    Rows 2i and 2i + 1 of the parents are x and y of child i. Raises ValueError for a negative iso
    or line, or low >= high.
    """

    iso: float = 0.01
    line: float = 0.2
    limits: Limits | None = None
    outside: Outside = "reflect"
    name: str = "line"
    arity: int = 2

    def __post_init__(self) -> None:
        check(self.limits, self.outside)
        if not (self.iso >= 0 and self.line >= 0):
            raise ValueError(f"iso and line are standard deviations, 0 or more, not {self.iso!r} and {self.line!r}")

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        parents = floats(context.parents.genome, self.name)
        with double():  # float64 genomes stay float64, and the others what they are
            return Proposal.of(np.asarray(self.vary(key, parents)), self.name, context.parents)

    def vary(self, key: Key, parents: Any) -> jax.Array:
        """The children `[n, ...]` of `parents` `[2n, ...]`; pure, and fit for `jax.jit` and `lax.scan`."""
        iso, line = (np.asarray(sigma, parents.dtype) for sigma in (self.iso, self.line))
        outside = None if self.limits is None else self.outside
        return _add_noise(key, parents, iso, line, *walls(self.limits, parents), outside=outside)


@partial(jax.jit, static_argnames="outside")
def _add_noise(key: Key, parents: Any, iso: Any, line: Any, low: Any, high: Any, outside: Outside | None) -> jax.Array:
    everywhere, along = jax.random.split(quick(key))
    x, y = parents[0::2], parents[1::2]
    noise = jax.random.normal(everywhere, x.shape, x.dtype)
    step = jax.random.normal(along, (len(x),) + (1,) * (x.ndim - 1), x.dtype)
    return within(x + iso * noise + line * step * (y - x), low, high, outside)

"""The best candidate of each cell, as arrays. Every archive made of cells shares this.

`Elites` is what is kept; an `Archive` says in which cell a descriptor belongs; `insert` says who
stays there. All of it is pure and fit for `jax.jit`, `vmap` and `lax.scan`.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

NOWHERE = -1  # the cell of a descriptor that belongs to none

REJECTED, IMPROVED, NEW = 0, 1, 2  # the values of `Added.status`, as in pyribs


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Elites:
    """`C` cells with at most one elite each; `d` is the number of axes.

    objective: float `[C]`, -inf where the cell is empty.
    descriptor: float `[C, d]`, nan where empty.
    payload: any pytree of arrays `[C, ...]` that ride along with an elite. A search keeps the
      candidate's id there, so that a poem is held by its number, and numeric genomes themselves.
    """

    objective: jax.Array
    descriptor: jax.Array
    payload: Any

    @property
    def occupied(self) -> jax.Array:
        """bool `[C]`."""
        return self.objective > -np.inf


class Added(NamedTuple):
    """What became of each candidate of a batch, against the elites before the batch (as in pyribs).

    status: int32 `[n]`: `REJECTED` 0, not better than the cell's elite; `IMPROVED` 1; `NEW` 2, the cell was empty.
    value: float `[n]`: the gain over the cell's elite; in an empty cell the objective itself; nan if it cannot enter.
    cell: int32 `[n]`, `NOWHERE` for a row that belongs to no cell.
    """

    status: jax.Array
    value: jax.Array
    cell: jax.Array


def empty(cells: int, axes: int, payload: Any) -> Elites:
    """No elites yet. `payload` is one example: a pytree of scalars or arrays, of which -1 is stored everywhere."""
    spread = lambda x: jnp.full((cells, *jnp.shape(x)), -1, jnp.asarray(x).dtype)
    objective, descriptor = jnp.full(cells, -jnp.inf, float), jnp.full((cells, axes), jnp.nan, float)
    return Elites(objective, descriptor, jax.tree.map(spread, payload))


@jax.jit
def insert(
    elites: Elites, cell: jax.Array, objective: jax.Array, descriptor: jax.Array, payload: Any
) -> tuple[Elites, Added]:
    """Keeps, in each cell, the best of its elite and the batch; the first row wins a tie.

    A row enters only if its objective and descriptor are finite and its cell is one, so a failed
    or padded row needs no special case.
    """
    cells, n = elites.objective.shape[0], objective.shape[0]
    objective = objective.astype(elites.objective.dtype)  # compared as kept, or rounding alone could improve
    valid = (cell >= 0) & jnp.isfinite(objective) & jnp.isfinite(descriptor).all(1)
    place = jnp.where(valid, cell, 0)
    before = elites.objective[place]
    better = valid & (objective > before)
    status = jnp.where(better, jnp.where(before == -jnp.inf, NEW, IMPROVED), REJECTED).astype(jnp.int32)
    value = jnp.where(valid, objective - jnp.where(before == -jnp.inf, 0.0, before), jnp.nan)

    best = jax.ops.segment_max(jnp.where(better, objective, -jnp.inf), place, cells)
    order = jnp.arange(n)
    tied = jnp.where(better & (objective == best[place]), order, n)
    first = jax.ops.segment_min(tied, place, cells)
    target = jnp.where(better & (first[place] == order), place, cells)  # out of range: dropped below
    put = lambda old, new: old.at[target].set(new.astype(old.dtype), mode="drop")
    after = Elites(
        put(elites.objective, objective), put(elites.descriptor, descriptor), jax.tree.map(put, elites.payload, payload)
    )
    return after, Added(status, value, jnp.where(valid, cell, NOWHERE).astype(jnp.int32))


@partial(jax.jit, static_argnames="n")
def sample(key: jax.Array, elites: Elites, n: int) -> jax.Array:
    """int32 `[n]`: cells of elites, drawn uniformly with replacement. Meaningless while there are none.

    Counts through all `C` cells: an array of the occupied ones alone would change its shape from
    step to step, and jax would compile anew each time.
    """
    upto = jnp.cumsum(elites.occupied)
    rank = jax.random.randint(key, (n,), 0, jnp.maximum(upto[-1], 1))
    return jnp.searchsorted(upto, rank, side="right").astype(jnp.int32)


class Archive(abc.ABC):
    """A geometry of cells. Who writes one gives `cells`, `axes` and `cell`; the rest follows.

    An archive holds nothing: `init` gives the elites of an empty one, and `add` gives new elites.

    islands: how many separate populations its cells are, of equally many cells each.
    """

    islands: ClassVar[int] = 1

    @property
    @abc.abstractmethod
    def cells(self) -> int:
        """How many cells there are."""

    @property
    @abc.abstractmethod
    def axes(self) -> int:
        """How many numbers make a descriptor."""

    @abc.abstractmethod
    def cell(self, descriptor: Any) -> jax.Array:
        """int32 `[n]`, the cell of each descriptor `[n, axes]`; `NOWHERE` if it belongs to none."""

    def inside(self, descriptor: Any) -> jax.Array:
        """bool `[n]`: within the bounds. What lies outside is clipped or refused by `cell`, and counted."""
        return jnp.ones(len(descriptor), bool)

    @property
    def centres(self) -> np.ndarray:
        """float64 `[C, axes]`: the middle of each cell, nan where it has none."""
        return np.full((self.cells, self.axes), np.nan)

    @property
    def map(self) -> Archive:
        """The geometry by which its elites, `united`, are drawn and compared."""
        return self

    def united(self, elites: Elites) -> Elites:
        """The elites as a map shows and metrics count them: one in each kind of cell."""
        return elites

    def encode(self, descriptor: Sequence[Sequence[Any]] | np.ndarray | Any) -> np.ndarray:
        """float64 `[n, axes]` from what a domain gave, which may be labels where the archive has labels.

        Raises ValueError if it has another number of axes or is not made of numbers.
        """
        return numbers(descriptor, self.axes)

    def init(self, payload: Any = 0) -> Elites:
        """An empty archive; `payload` is an example of what rides along with an elite."""
        return empty(self.cells, self.axes, payload)

    def add(self, elites: Elites, objective: Any, descriptor: Any, payload: Any) -> tuple[Elites, Added]:
        """`elites` and the batch, whoever is better in each cell. See `insert`."""
        objective, descriptor = _array(objective), _array(descriptor)
        return insert(elites, self.cell(descriptor), objective, descriptor, jax.tree.map(_array, payload))


def _array(values: Any) -> Any:
    """`values` as what a jitted function takes; it moves numpy's arrays itself, at a tenth of the cost."""
    return values if isinstance(values, jax.Array) else np.asarray(values)


def numbers(descriptor: Any, axes: int) -> np.ndarray:
    """`descriptor` as float64 `[n, axes]`, or an error that says what it was."""
    try:
        place = np.asarray(descriptor, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"a descriptor is {axes} numbers for each candidate, and this is not numbers: {error}. "
            "Labels need an archive whose axis has labels."
        ) from None
    if place.shape == (0,):
        return place.reshape(0, axes)  # a list of no rows does not show its axes
    if place.ndim != 2 or place.shape[1] != axes:
        raise ValueError(
            f"the archive has {axes} axes, so descriptors have shape (n, {axes}), and these have {place.shape}"
        )
    return place


def double() -> AbstractContextManager[Any]:
    """A scope in which jax computes in float64, as objectives of dear candidates need it.

    In float32 the best known circle packing and the one before it compare equal.
    """
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    from jax.experimental import enable_x64  # type: ignore[attr-defined]  # jax < 0.8

    return enable_x64()

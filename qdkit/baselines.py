"""Honest baselines: what a map of elites has to beat, each the same `Search` with one part changed.

    Search(domain, archive, Independent(operator))         best of N: every candidate is made from the seeds
    Search(domain, archive, Chain(operator), batch=1)      one chain: each is made from the one before
    Search(domain, Single(archive), operator)              hill climbing: each is made from the best so far
    Search(domain, archive, Multistart(operator, domain))  the operator alone, from fresh starts: say `Polish`

Domain, operator, budget and doors are those of the search that they are compared with. `qdkit compare`
puts the candidates of all into one map, so that a baseline has a coverage and a QD score too (equal
calls and equal time matter: simple baselines are competitive with evolution by language models,
arXiv 2602.16805).
"""

from __future__ import annotations

import abc
import copy
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.elites import Added, Archive, Wrapped
from qdkit.stages import seeded
from qdkit.types import Axes, Batch, Context, Domain, Key, Operator, Proposal


class Blind(Operator):
    """`operator`, shown nothing of the archive: a subclass says which parents it has instead."""

    def __init__(self, operator: Operator):
        self.operator, self.name = operator, operator.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.operator!r})"

    @property
    def arity(self) -> int:  # type: ignore[override]  # that of the operator at work
        """As the operator's."""
        return self.operator.arity

    @property
    def size(self) -> int | None:  # type: ignore[override]
        """As the operator's."""
        return self.operator.size

    @property
    def models(self) -> Sequence[Any]:
        """Whom the operator asks."""
        return self.operator.models

    @abc.abstractmethod
    def parents(self, key: Key, given: Batch) -> Batch:
        """As many as were `given`, and in their place."""

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        pick, make = jax.random.split(key)
        return self.operator.propose(make, Context(self.parents(pick, context.parents)), n)

    def turn(self, n: int) -> Self:
        turned = copy.copy(self)
        turned.operator = self.operator.turn(n)
        return turned

    def learn(self, batch: Batch, added: Added) -> None:
        self.operator.learn(batch, added)

    def remeasure(self, axes: Axes) -> None:
        self.operator.remeasure(axes)


class Independent(Blind):
    """Best of N: `operator` makes every candidate from the domain's seeds, drawn evenly, and nothing builds on another.

    Seeds that are not ok are left out. For a model this is the same question asked N times; where a
    search keeps texts distinct, an answer given before costs its call and no evaluation.
    """

    _seeds: Batch | None = None

    def parents(self, key: Key, given: Batch) -> Batch:
        """Seeds, drawn with replacement; what was given where it has heard of none, as outside a search."""
        if self._seeds is None:
            return given
        random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        return self._seeds.take(random.integers(len(self._seeds), size=len(given)))

    def learn(self, batch: Batch, added: Added) -> None:
        seeds = batch.take(batch.ok & (np.asarray(batch.origin) == "seed"))
        if len(seeds):
            self._seeds = seeds if self._seeds is None else _joined(self._seeds, seeds)
        super().learn(batch, added)


class Chain(Blind):
    """One chain of refinements: `operator` makes each candidate from the last that was ok, better or not.

    `batch=1, in_flight=1` is one chain, from the last of the seeds on. A batch of n is n chains side
    by side: each row is made from the same row of the batch before, and where that was not ok, from another's.
    """

    _last: Batch | None = None

    def parents(self, key: Key, given: Batch) -> Batch:
        """The last that were ok, each for all parents of a candidate; what was given where there are none."""
        if self._last is None:
            return given
        return self._last.take(np.arange(len(given)) // self.arity % len(self._last))

    def learn(self, batch: Batch, added: Added) -> None:
        self._last = batch.take(batch.ok) if batch.ok.any() else self._last
        super().learn(batch, added)


class Multistart(Blind):
    """`operator` from starts of its own: each candidate is made from fresh seeds of `domain`.

    The seeds are handed to it as they are, without an evaluation, so they have no objective and no
    id. For local optimisers and other operators that look at genomes alone; a domain that has the
    same few seeds each time has nothing fresh to give.
    """

    def __init__(self, operator: Operator, domain: Domain):
        super().__init__(operator)
        self.domain = domain

    def parents(self, key: Key, given: Batch) -> Batch:
        """Fresh seeds; from the first again where the domain gives fewer."""
        seeds = Batch.unevaluated(seeded(self.domain, key, len(given)))
        return seeds.take(np.arange(len(given)) % len(seeds))


@partial(jax.tree_util.register_dataclass, data_fields=("archive",), meta_fields=())
@dataclass(frozen=True, eq=False)
class Single(Wrapped):
    """One cell for all that belongs to a cell of `archive`: hill climbing, which builds on the best so far alone.

    Descriptors are measured as ever, so the map of what was visited can be drawn afterwards. All of a
    batch are made from the same best: batch=1 is the plain climber.
    """

    @property
    def cells(self) -> int:
        """One."""
        return 1

    @property
    def centres(self) -> np.ndarray:
        """float64 `[1, axes]`: nan, as all kinds share one cell."""
        return np.full((1, self.axes), np.nan)

    @property
    def map(self) -> Archive:
        """Its one cell."""
        return self

    def cell(self, descriptor: Any) -> jax.Array:
        """int32 `[n]`: 0, or `NOWHERE` where the archive has no cell."""
        return jnp.minimum(self.archive.cell(descriptor), 0)


def _joined(first: Batch, second: Batch) -> Batch:
    both: Any = lambda a, b: np.concatenate([a, b]) if isinstance(a, np.ndarray) else [*a, *b]
    return Batch(*(both(getattr(first, column.name), getattr(second, column.name)) for column in fields(Batch)))


__all__ = ["Chain", "Independent", "Multistart", "Single"]

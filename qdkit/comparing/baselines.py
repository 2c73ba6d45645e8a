"""Baselines for a quality-diversity search: the same `Search` with one part changed.

Best of N makes every candidate from the seeds:

    Search(domain, archive, Independent(operator))

One chain makes every candidate from the one before:

    Search(domain, archive, Chain(operator), batch=1)

Hill climbing makes every candidate from the best so far:

    Search(domain, Single(archive), operator)

The operator alone, such as `Polish`, makes every candidate from new seeds:

    Search(domain, archive, Multistart(operator, domain))

A baseline has the domain, the operator, the budget and the models of the search that it is
compared with. `qdkit compare` puts the candidates of all runs into one map, so that a baseline has
a coverage and a QD score too. Compare at equal calls and equal time: simple baselines are
competitive with evolution by language models (arXiv 2602.16805).
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

from qdkit.core.elites import Added, Archive, Wrapped
from qdkit.core.stages import seed_proposal
from qdkit.core.types import Axes, Batch, Context, Domain, Key, Operator, Proposal


class Blind(Operator):
    """`operator` without access to the archive; a subclass chooses its parents."""

    def __init__(self, operator: Operator):
        self.operator, self.name = operator, operator.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.operator!r})"

    @property
    def arity(self) -> int:  # type: ignore[override]
        """The arity of the operator."""
        return self.operator.arity

    @property
    def size(self) -> int | None:  # type: ignore[override]
        """The size of the operator."""
        return self.operator.size

    @property
    def models(self) -> Sequence[Any]:
        """The models that the operator asks."""
        return self.operator.models

    @abc.abstractmethod
    def parents(self, key: Key, selected: Batch) -> Batch:
        """Returns parents that replace the `selected` ones, as many as these."""

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        select_key, make_key = jax.random.split(key)
        parents = self.parents(select_key, context.parents)
        return self.operator.propose(make_key, Context(parents, task=context.task), n)

    def turn(self, n: int) -> Self:
        result = copy.copy(self)
        result.operator = self.operator.turn(n)
        return result

    def learn(self, batch: Batch, added: Added) -> None:
        self.operator.learn(batch, added)

    def remeasure(self, axes: Axes) -> None:
        self.operator.remeasure(axes)


class Independent(Blind):
    """Best of N: `operator` makes every candidate from the domain's seeds, drawn uniformly.

    Seeds that are not ok are left out. A model gets the same question N times. If the search keeps
    texts distinct, a repeated answer costs its call and no evaluation.
    """

    _seeds: Batch | None = None

    def parents(self, key: Key, selected: Batch) -> Batch:
        """Returns seeds, drawn with replacement.

        Returns the selected parents if it has received no seeds, as outside a search.
        """
        if self._seeds is None:
            return selected
        random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        return self._seeds.take(random.integers(len(self._seeds), size=len(selected)))

    def learn(self, batch: Batch, added: Added) -> None:
        seeds = batch.take(batch.ok & (np.asarray(batch.origin) == "seed"))
        if len(seeds):
            self._seeds = seeds if self._seeds is None else _concatenate(self._seeds, seeds)
        super().learn(batch, added)


class Chain(Blind):
    """One chain: `operator` makes each candidate from the last one that was ok, better or not.

    `batch=1, in_flight=1` is one chain, which starts from the last seed. A batch of n is n chains:
    each row is made from the same row of the batch before, and from another row if that was not
    ok.
    """

    _last: Batch | None = None

    def parents(self, key: Key, selected: Batch) -> Batch:
        """Returns the last candidates that were ok, each as all parents of a candidate.

        Returns the selected parents if there are none.
        """
        if self._last is None:
            return selected
        return self._last.take(np.arange(len(selected)) // self.arity % len(self._last))

    def learn(self, batch: Batch, added: Added) -> None:
        self._last = batch.take(batch.ok) if batch.ok.any() else self._last
        super().learn(batch, added)


class Multistart(Blind):
    """`operator` with restarts: each candidate is made from new seeds of `domain`.

    The seeds are not evaluated, so they have no objective and no id. This suits local optimisers
    and other operators that use genomes alone, and domains whose seeds differ from call to call.
    """

    def __init__(self, operator: Operator, domain: Domain):
        super().__init__(operator)
        self.domain = domain

    def parents(self, key: Key, selected: Batch) -> Batch:
        """Returns new seeds; repeats them if the domain has fewer."""
        seeds = Batch.unevaluated(seed_proposal(self.domain, key, len(selected)))
        return seeds.take(np.arange(len(selected)) % len(seeds))


@partial(jax.tree_util.register_dataclass, data_fields=("archive",), meta_fields=())
@dataclass(frozen=True, eq=False)
class Single(Wrapped):
    """One cell instead of the cells of `archive`: hill climbing, from the best candidate so far.

    Candidates keep their descriptors, so a map of them can be drawn afterwards. All candidates of
    a batch are made from the same elite; batch=1 is plain hill climbing.
    """

    @property
    def cells(self) -> int:
        """The number of cells: 1."""
        return 1

    @property
    def centres(self) -> np.ndarray:
        """float64 `[1, axes]`: nan, as there is only one cell."""
        return np.full((1, self.axes), np.nan)

    @property
    def map(self) -> Archive:
        """The archive itself, with its one cell."""
        return self

    def cell(self, descriptor: Any) -> jax.Array:
        """Returns int32 `[n]`: 0, or `NOWHERE` for a descriptor without a cell in `archive`."""
        return jnp.minimum(self.archive.cell(descriptor), 0)


def _concatenate(first: Batch, second: Batch) -> Batch:
    columns: list[Any] = []
    for field in fields(Batch):
        a, b = getattr(first, field.name), getattr(second, field.name)
        columns.append(np.concatenate([a, b]) if isinstance(a, np.ndarray) else [*a, *b])
    return Batch(*columns)


__all__ = ["Chain", "Independent", "Multistart", "Single"]

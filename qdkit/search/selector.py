"""The selection for the next candidates: parents, descriptors to aim for, and inspirations.

The rules are in `qdkit.selection.parents` and `qdkit.selection.inspirations`. This module keeps
the state that the rules read, which changes at starts and commits only, and makes the context of a
turn from their results.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from qdkit.core.elites import Added, Archive, Elites, double
from qdkit.core.types import NO_CANDIDATE, Batch, Context, Key, Operator, Outcome, SelectionRequest
from qdkit.runs.ledger import Ledger
from qdkit.selection.parents import Parents, Standing, choose, effective_parents

# what is drawn with a turn's key beside the parents: seeds, and inspirations
_SEEDS, _INSPIRATIONS = 0, 1


class TurnSelection(NamedTuple):
    """The selection for a turn, made at its start.

    cell: int `[n, a]`, the cells of the parents; -1 where a seed takes the place of an elite.
    island: int `[n]`, the islands of the archive that the new candidates belong to.
    effective: the effective number of parents to choose from, 1 / sum(p^2); nan for seeds.
    """

    cell: np.ndarray
    island: np.ndarray
    effective: float


class Selector:
    """Selects the parents of a search's candidates.

    rule: the rule for operators that have none of their own.
    numeric: whether genomes are arrays, which are kept beside the elites.
    slots: how many slots `Elites` has.
    """

    def __init__(self, archive: Archive, rule: Parents, ledger: Ledger, numeric: bool, slots: int):
        self.archive, self.rule = archive, rule
        self._ledger, self._numeric, self._slots = ledger, numeric, slots
        self._children, self._entered = np.zeros(slots), np.zeros(slots)
        self._seeds: list[Batch] = []
        self._centroids: np.ndarray | None = None

    def context(
        self,
        key: Key,
        elites: Elites,
        operator: Operator,
        n: int,
        number: int,
        progress: float,
        lessons: str,
    ) -> tuple[Context, TurnSelection]:
        """The context and the selection for the `number`-th turn of `n` candidates."""
        arrays = jax.tree.map(np.asarray, elites)
        requests, island = operator.requests(n), self._islands(arrays, n, number)
        cell, fresh, target, share = self._select(
            key, elites, requests, island, operator.arity, progress
        )
        cell = np.where(fresh[:, None] & (np.arange(operator.arity) == 0), NO_CANDIDATE, cell)
        np.add.at(self._children, cell[:, 0][cell[:, 0] >= 0], 1)
        parents = self._parents(key, arrays, cell.reshape(-1))
        inspirations = self._inspirations(key, arrays, requests, cell, target, island)
        aims = target if np.isfinite(target).any() else None
        selection = TurnSelection(cell, island, float(effective_parents(share)))
        return Context(parents, inspirations, aims, lessons), selection

    def for_seeds(self, n: int) -> TurnSelection:
        """The selection for `n` seeds, which have no parents and belong to every island."""
        everywhere = np.full(n, NO_CANDIDATE)
        return TurnSelection(everywhere[:, None], everywhere, np.nan)

    def learn(
        self,
        batch: Batch,
        added: Added | None,
        selection: TurnSelection,
        before: Elites,
        after: Elites,
    ) -> None:
        """Counts the children of a commit that entered, and begins anew for new elites.

        added: what became of the batch; None for a commit without candidates.
        """
        ids, now = np.asarray(before.payload["id"]), np.asarray(after.payload["id"])
        if added is not None:
            # the first parent alone counts, as at starts
            cell, parent = selection.cell[: len(batch), 0], batch.parents[:, 0]
            own = (cell >= 0) & (ids[cell] == parent) & (np.asarray(added.status) > 0)
            np.add.at(self._entered, cell[own], 1)
        changed = ids != now
        self._children[changed] = self._entered[changed] = 0
        seeds = batch.ok & (np.asarray(batch.origin) == "seed")
        if seeds.any():
            self._seeds.append(batch.take(seeds))

    def moved(self, before: Elites, after: Elites) -> None:
        """Moves the counts of children with elites that have changed their cells."""
        ids, now = np.asarray(before.payload["id"]), np.asarray(after.payload["id"])
        order = np.argsort(ids, kind="stable")
        former = order[np.minimum(np.searchsorted(ids, now, sorter=order), len(ids) - 1)]
        same = (now >= 0) & (ids[former] == now)
        self._children = np.where(same, self._children[former], 0.0)
        self._entered = np.where(same, self._entered[former], 0.0)

    def _islands(self, elites: Elites, n: int, number: int) -> np.ndarray:
        """int `[n]`: the islands of new candidates, in turn, of those that have an elite."""
        if self.archive.islands == 1:
            return np.zeros(n, int)
        occupied = np.asarray(elites.occupied).reshape(self.archive.islands, -1).any(1)
        islands = np.flatnonzero(occupied)
        return islands[(number * n + np.arange(n)) % len(islands)]

    def _select(
        self,
        key: Key,
        elites: Elites,
        requests: Sequence[SelectionRequest],
        island: np.ndarray,
        arity: int,
        progress: float,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Applies each rule on each island.

        Returns cell `[n, a]`, fresh `[n]` (whether a seed takes the place), target `[n, d]` and
        share `[C]` (the probability of each slot).
        """
        n = len(island)
        cell, fresh = np.zeros((n, arity), int), np.zeros(n, bool)
        target, share = np.full((n, self.archive.axes), np.nan), np.zeros(self._slots)
        groups = self._groups(requests, island)
        # every group draws as many, so that shapes stay the same
        most = -(-n // len(np.unique(island)))
        for number, ((rule, place), rows) in enumerate(groups.items()):
            with double():
                standing = self._standing(elites, place, progress)
                drawn = choose(rule, key, number, standing, most, arity)
            cell[rows] = np.asarray(drawn.cell)[: len(rows)]
            fresh[rows] = np.asarray(drawn.fresh)[: len(rows)]
            target[rows] = np.asarray(drawn.target)[: len(rows)]
            share += np.asarray(drawn.share) * (len(rows) / n)
        return cell, fresh, target, share

    def _groups(
        self, requests: Sequence[SelectionRequest], island: np.ndarray
    ) -> dict[tuple[Parents, int], np.ndarray]:
        """The rows of new candidates whose parents come by the same rule on the same island."""
        counts = [request.n for request in requests]
        rules = np.repeat(np.arange(len(requests)), counts)
        groups: dict[tuple[Parents, int], np.ndarray] = {}
        for number, place in sorted(set(zip(rules.tolist(), island.tolist(), strict=True))):
            group = (requests[number].parents or self.rule, place)
            rows = np.flatnonzero((rules == number) & (island == place))
            groups[group] = np.concatenate([groups[group], rows]) if group in groups else rows
        return groups

    def _standing(self, elites: Elites, island: int, progress: float) -> Standing:
        if self._centroids is None:
            centroids = np.asarray(self.archive.centres, np.float64)
            # of each slot; the slots of a cell follow each other, the best elite first
            self._centroids = np.repeat(centroids, self._slots // len(centroids), 0)
        return Standing(
            Elites(self._alone(elites, island), elites.descriptor, (), depth=elites.depth),
            self._centroids
            if self.archive.islands == 1
            else np.where(self._on(island)[:, None], self._centroids, np.nan),
            self._children.copy(),  # jax may read it later, and it changes
            self._entered.copy(),
            progress,
        )

    def _alone(self, elites: Elites, island: int) -> Any:
        """The objectives `[C]` of one island, -inf on others."""
        if self.archive.islands == 1:
            return elites.objective
        return np.where(self._on(island), np.asarray(elites.objective), -np.inf)

    def _on(self, island: int) -> np.ndarray:
        """bool `[C]`: the slots of one island."""
        return np.arange(self._slots) // (self._slots // self.archive.islands) == island

    def _parents(self, key: Key, elites: Elites, cell: np.ndarray) -> Batch:
        """The elites of these cells as candidates, and random seeds for -1.

        Genomes that are arrays are kept beside the elites; others are read from the ledger.
        """
        ids = np.asarray(elites.payload["id"])[cell]
        fresh = np.flatnonzero(cell < 0)
        seed = np.zeros(0, int)
        if len(fresh):
            seeds = np.concatenate([batch.id for batch in self._seeds])
            seed = _random(key, _SEEDS).integers(len(seeds), size=len(fresh))
            ids[fresh] = seeds[seed]
        if not self._numeric:
            batch, is_elite = self._ledger.take(ids), cell >= 0
            slot = np.where(is_elite, cell, 0)
            # axes that learn may have changed the descriptor since it was written
            now = elites.descriptor[slot]
            descriptor = np.where(is_elite[:, None], now, batch.descriptor)
            if "count" in elites.payload:  # the objective may be the mean of several judgements
                value = np.where(is_elite, elites.objective[slot], batch.objective)
                batch = batch.replace(objective=value)
            return batch.replace(descriptor=descriptor)
        columns = [elites.payload["genome"][cell], elites.objective[cell], elites.descriptor[cell]]
        if len(fresh):
            for column, name in zip(columns, ("genome", "objective", "descriptor"), strict=True):
                known = np.concatenate([getattr(batch, name) for batch in self._seeds])
                column[fresh] = known[seed]
        return elites_as_batch(ids, *columns)

    def _inspirations(
        self,
        key: Key,
        elites: Elites,
        requests: Sequence[SelectionRequest],
        cell: np.ndarray,
        target: np.ndarray,
        island: np.ndarray,
    ) -> Sequence[Batch]:
        """The inspirations for each new candidate, as its operator requests them."""
        if all(request.shown is None for request in requests):
            return ()
        rules = [request.shown for request in requests for _ in range(request.n)]
        random, descriptor = _random(key, _INSPIRATIONS), np.asarray(elites.descriptor)
        inspirations: list[Batch] = []
        for rule, parents, aim, place in zip(rules, cell, target, island, strict=True):
            own = parents[parents >= 0]
            cells = own[:0]
            if rule is not None:
                objective = self._alone(elites, place)
                cells = rule.cells(random, objective, descriptor, own, aim)
            inspirations.append(self._parents(key, elites, cells))
        return inspirations


def _random(key: Key, purpose: int) -> np.random.Generator:
    return np.random.default_rng([*np.asarray(jax.random.key_data(key)).tolist(), purpose])


def elites_as_batch(
    ids: np.ndarray, genome: Any, objective: np.ndarray, descriptor: np.ndarray
) -> Batch:
    """Elites whose genomes are arrays, as candidates without what only the ledger knows."""
    n = len(ids)
    return Batch(
        id=ids,
        genome=genome,
        parents=np.full((n, 1), NO_CANDIDATE, np.int32),
        origin=["elite"] * n,
        outcome=np.full(n, Outcome.OK, "<U14"),
        objective=objective,
        features=descriptor,
        descriptor=descriptor,
        notes=[{}] * n,
    )

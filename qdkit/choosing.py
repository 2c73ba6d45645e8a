"""Who is chosen for the next candidates: parents, kinds to aim for, and elites to be shown.

The rules are in `qdkit.parents` and `qdkit.shown`; here is what they read that changes during a
search, and how what they say becomes the context of a turn. Changes at starts and commits alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from qdkit.elites import Added, Archive, Elites, double
from qdkit.ledger import Ledger
from qdkit.parents import Parents, Standing, choose, effective
from qdkit.types import NOBODY, Batch, Context, Key, Operator, Outcome, Wish

FOUNDERS, OTHERS = 0, 1  # what is drawn with a turn's key beside the parents


class Choice(NamedTuple):
    """Whom a turn was given, as it stood at its start.

    cell: int `[n, a]`, of the parents; -1 for a seed that took the place of one.
    island: int `[n]`, of the archive, that the new candidates belong to.
    effective: how many parents were effectively chosen among, 1 / sum(p^2); nan for the seeds.
    """

    cell: np.ndarray
    island: np.ndarray
    effective: float


class Choosing:
    """The parents of a search's candidates, by `rule` where an operator has no rule of its own.

    places: for elites, as many as `Elites` has.
    """

    def __init__(self, archive: Archive, rule: Parents, ledger: Ledger, numeric: bool, places: int):
        self.archive, self.rule = archive, rule
        self._ledger, self._numeric, self._places = ledger, numeric, places
        self._children, self._entered = np.zeros(places), np.zeros(places)
        self._founders: list[Batch] = []
        self._centre: np.ndarray | None = None

    def context(
        self, key: Key, elites: Elites, operator: Operator, n: int, number: int, progress: float, lessons: str
    ) -> tuple[Context, Choice]:
        """What `operator` is given for the `number`-th turn of `n` candidates, and what of it has to be remembered."""
        held = jax.tree.map(np.asarray, elites)
        wishes, island = operator.wishes(n), self._islands(held, n, number)
        cell, fresh, target, share = self._chosen(key, elites, wishes, island, operator.arity, progress)
        cell = np.where(fresh[:, None] & (np.arange(operator.arity) == 0), NOBODY, cell)
        np.add.at(self._children, cell[:, 0][cell[:, 0] >= 0], 1)
        parents = self._parents(key, held, cell.reshape(-1))
        inspirations = self._inspirations(key, held, wishes, cell, target, island)
        aims = target if np.isfinite(target).any() else None
        return Context(parents, inspirations, aims, lessons), Choice(cell, island, float(effective(share)))

    def founded(self, n: int) -> Choice:
        """Of `n` seeds: made from nobody, and on every island."""
        everywhere = np.full(n, NOBODY)
        return Choice(everywhere[:, None], everywhere, np.nan)

    def learn(self, batch: Batch, added: Added | None, choice: Choice, before: Elites, after: Elites) -> None:
        """Hears of a commit: whose children have entered, and which elites are new; `added` is None for no children."""
        ids, now = np.asarray(before.payload["id"]), np.asarray(after.payload["id"])
        if added is not None:
            cell, parent = choice.cell[: len(batch), 0], batch.parents[:, 0]  # of the first alone, as at starts
            own = (cell >= 0) & (ids[cell] == parent) & (np.asarray(added.status) > 0)
            np.add.at(self._entered, cell[own], 1)
        changed = ids != now
        self._children[changed] = self._entered[changed] = 0
        seeds = batch.ok & (np.asarray(batch.origin) == "seed")
        if seeds.any():
            self._founders.append(batch.take(seeds))

    def moved(self, before: Elites, after: Elites) -> None:
        """Hears that elites lie in other cells than before: the counts of their children go with them."""
        ids, now = np.asarray(before.payload["id"]), np.asarray(after.payload["id"])
        order = np.argsort(ids, kind="stable")
        was = order[np.minimum(np.searchsorted(ids, now, sorter=order), len(ids) - 1)]
        kept = (now >= 0) & (ids[was] == now)
        self._children = np.where(kept, self._children[was], 0.0)
        self._entered = np.where(kept, self._entered[was], 0.0)

    def _islands(self, elites: Elites, n: int, number: int) -> np.ndarray:
        """int `[n]`: the islands in turn, those that have an elite."""
        if self.archive.islands == 1:
            return np.zeros(n, int)
        lived = np.flatnonzero(np.asarray(elites.occupied).reshape(self.archive.islands, -1).any(1))
        return lived[(number * n + np.arange(n)) % len(lived)]

    def _chosen(
        self, key: Key, elites: Elites, wishes: Sequence[Wish], island: np.ndarray, arity: int, progress: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(cell `[n, a]`, fresh `[n]`, target `[n, d]`, share `[C]`), by each rule on each island."""
        n = len(island)
        cell, fresh = np.zeros((n, arity), int), np.zeros(n, bool)
        target, share = np.full((n, self.archive.axes), np.nan), np.zeros(self._places)
        groups = self._groups(wishes, island)
        most = -(-n // len(np.unique(island)))  # asked of every group, so that shapes stay
        for number, ((rule, place), rows) in enumerate(groups.items()):
            with double():
                standing = self._standing(elites, place, progress)
                drawn = choose(rule, key, number, standing, most, arity)
            cell[rows], fresh[rows] = np.asarray(drawn.cell)[: len(rows)], np.asarray(drawn.fresh)[: len(rows)]
            target[rows] = np.asarray(drawn.target)[: len(rows)]
            share += np.asarray(drawn.share) * (len(rows) / n)
        return cell, fresh, target, share

    def _groups(self, wishes: Sequence[Wish], island: np.ndarray) -> dict[tuple[Parents, int], np.ndarray]:
        """Which new candidates have their parents by the same rule and on the same island."""
        rules = np.repeat(np.arange(len(wishes)), [wish.n for wish in wishes])
        groups: dict[tuple[Parents, int], np.ndarray] = {}
        for number, place in sorted(set(zip(rules.tolist(), island.tolist(), strict=True))):
            group = (wishes[number].parents or self.rule, place)
            rows = np.flatnonzero((rules == number) & (island == place))
            groups[group] = np.concatenate([groups[group], rows]) if group in groups else rows
        return groups

    def _standing(self, elites: Elites, island: int, progress: float) -> Standing:
        if self._centre is None:
            centres = np.asarray(self.archive.centres, np.float64)
            self._centre = np.repeat(centres, self._places // len(centres), 0)  # of each place, the best first
        return Standing(
            Elites(self._alone(elites, island), elites.descriptor, (), depth=elites.depth),
            self._centre if self.archive.islands == 1 else np.where(self._here(island)[:, None], self._centre, np.nan),
            self._children.copy(),  # jax may look at it later, and it changes
            self._entered.copy(),
            progress,
        )

    def _alone(self, elites: Elites, island: int) -> Any:
        """The objectives `[C]` of one island, -inf in the cells of others."""
        if self.archive.islands == 1:
            return elites.objective
        return np.where(self._here(island), np.asarray(elites.objective), -np.inf)

    def _here(self, island: int) -> np.ndarray:
        """bool `[C]`: the cells of one island."""
        return np.arange(self._places) // (self._places // self.archive.islands) == island

    def _parents(self, key: Key, elites: Elites, cell: np.ndarray) -> Batch:
        """The elites of these cells, founders for -1. Numbers ride with the elites, anything else is read."""
        ids = np.asarray(elites.payload["id"])[cell]
        fresh = np.flatnonzero(cell < 0)
        founder = np.zeros(0, int)
        if len(fresh):
            founders = np.concatenate([seeds.id for seeds in self._founders])
            founder = _random(key, FOUNDERS).integers(len(founders), size=len(fresh))
            ids[fresh] = founders[founder]
        if not self._numeric:
            found, here = self._ledger.take(ids), cell >= 0  # where axes learn, it was elsewhere when it was written
            place = np.where(here[:, None], elites.descriptor[np.where(here, cell, 0)], found.descriptor)
            if "count" in elites.payload:  # its objective may be the mean of several judgements
                value = np.where(here, elites.objective[np.where(here, cell, 0)], found.objective)
                found = found.replace(objective=value)
            return found.replace(descriptor=place)
        columns = [elites.payload["genome"][cell], elites.objective[cell], elites.descriptor[cell]]
        if len(fresh):
            for column, name in zip(columns, ("genome", "objective", "descriptor"), strict=True):
                column[fresh] = np.concatenate([getattr(seeds, name) for seeds in self._founders])[founder]
        return elites_as_batch(ids, *columns)

    def _inspirations(
        self, key: Key, elites: Elites, wishes: Sequence[Wish], cell: np.ndarray, target: np.ndarray, island: np.ndarray
    ) -> Sequence[Batch]:
        """For each new candidate the other elites that its operator likes to see."""
        if all(wish.shown is None for wish in wishes):
            return ()
        shown = [wish.shown for wish in wishes for _ in range(wish.n)]
        random, descriptor = _random(key, OTHERS), np.asarray(elites.descriptor)
        some: list[Batch] = []
        for rule, parents, aim, place in zip(shown, cell, target, island, strict=True):
            own = parents[parents >= 0]
            cells = own[:0] if rule is None else rule.cells(random, self._alone(elites, place), descriptor, own, aim)
            some.append(self._parents(key, elites, cells))
        return some


def _random(key: Key, purpose: int) -> np.random.Generator:
    return np.random.default_rng([*np.asarray(jax.random.key_data(key)).tolist(), purpose])


def elites_as_batch(ids: np.ndarray, genome: Any, objective: np.ndarray, descriptor: np.ndarray) -> Batch:
    """Elites of numbers as candidates, without what only the ledger knows of them."""
    n = len(ids)
    return Batch(
        id=ids,
        genome=genome,
        parents=np.full((n, 1), NOBODY, np.int32),
        origin=["elite"] * n,
        outcome=np.full(n, Outcome.OK, "<U14"),
        objective=objective,
        features=descriptor,
        descriptor=descriptor,
        notes=[{}] * n,
    )

"""Axes that learn during a search: when they change, the archive is filled anew with every candidate of the run.

After each commit the axes are shown what is known and what was answered, and give new axes or
themselves. New ones are an event of the ledger: what they learnt, and who is an elite then and where.
A replay reads the events, and fits nothing and asks nobody. Older versions stay in the ledger, and
which one a descriptor was made with follows from its commit (see `versions`).

Answers come from a store that is filled meanwhile (`since`), which is drained before a commit: an event
says how far, and is on disk before the commit is. Or from somebody who answers at once (`ask`), after
a commit: the event holds the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from qdkit.axes.asking import Answered
from qdkit.axes.known import Known
from qdkit.elites import Archive, Elites, double
from qdkit.judgements import standing
from qdkit.ledger import Ledger
from qdkit.types import Axes, Batch, Key, Outcome

ASKED = 1 << 20  # the number of the first call that is made after a commit, behind those of its task


@runtime_checkable
class Learner(Axes, Protocol):
    """Axes that learn. They read the features of a batch and nothing else of it."""

    @property
    def plain(self) -> Mapping[str, Any]:
        """What was learnt, as JSON holds it."""
        ...

    def with_plain(self, plain: Mapping[str, Any]) -> Learner:
        """These axes after having learnt what `plain` holds: the same places to the last bit."""
        ...

    def learn(self, key: Key, known: Known, replies: Sequence[Any]) -> Learner:
        """New axes, or `self` where there is nothing to learn yet; asked after every commit, so mostly cheap."""
        ...


class Table:
    """All candidates that are ok, as arrays that double when they are full: jax compiles for few lengths."""

    def __init__(self, example: Mapping[str, Any]):
        self.count = 0
        columns = {name: np.asarray(value) for name, value in example.items()}
        self._columns = {name: np.zeros((0, *value.shape), value.dtype) for name, value in columns.items()}
        self._objective, self._features = np.zeros(0), np.zeros((0, 0))

    def hear(self, batch: Batch) -> None:
        """One more batch, in the order of the commits."""
        rows = np.flatnonzero(batch.ok)
        if not len(rows):
            return
        end = self.count + len(rows)
        if end > len(self._objective):
            self._grow(max(1024, 1 << (end - 1).bit_length()), batch.features[rows[0]])
        place = slice(self.count, end)
        self._objective[place], self._features[place] = batch.objective[rows], batch.features[rows]
        for name, column in self._columns.items():
            column[place] = np.asarray(getattr(batch, name))[rows]
        self.count = end

    def known(self, elites: Elites, steps: int) -> Known:
        """What axes learn from."""
        id = self._columns["id"][: self.count]
        elite = np.isin(id, np.asarray(elites.payload["id"]))  # -1 where a cell is empty, which is nobody's
        return Known(id, self._features[: self.count], elite, steps)

    def placed(self, archive: Archive, axes: Axes, example: Mapping[str, Any]) -> Elites:
        """`archive` with all of them, by `axes`. The first of equals stays, as when they came one by one."""
        n = len(self._objective)
        nothing = np.zeros((n, 1))
        parents, ok = np.zeros((n, 1), np.int32), np.full(n, Outcome.OK, "<U14")
        genome: Any = self._columns.get("genome", [None] * n)
        batch = Batch(
            self._columns["id"], genome, parents, [""] * n, ok, self._objective, self._features, nothing, [{}] * n
        )
        with double():
            elites, _ = archive.update(archive.init(dict(example)), self._objective, axes(batch), dict(self._columns))
        return elites

    def _grow(self, length: int, features: np.ndarray) -> None:
        longer = lambda column, fill: np.concatenate(
            [column[: self.count], np.full((length - self.count, *column.shape[1:]), fill, column.dtype)]
        )
        # where nobody is there is somebody's: a CVT looks long for nan, and nobody enters without an objective
        self._features = longer(self._features if self.count else np.zeros((0, len(features))), features)
        self._objective = longer(self._objective, np.nan)
        self._columns = {name: longer(column, 0) for name, column in self._columns.items()}


class Learning:
    """The axes of a search as they are, and what they learn from.

    replies: a store, an object with `since(number)`, the rows of judgements with greater numbers, in order;
      or one with `ask` (see `qdkit.axes.Asking`); None where the axes need nobody.
    example: of the payload of the search's elites.

    Raises ValueError for an archive that cannot be filled anew.
    """

    def __init__(
        self, axes: Learner, archive: Archive, ledger: Ledger, replies: Any, example: Mapping[str, Any], recorded: int
    ):
        if not archive.elitist or archive.islands > 1:
            raise ValueError(
                f"axes that learn fill the archive anew, in which the best of a cell stays, and a "
                f"{type(archive).__name__} does otherwise: give a Grid or a CVT"
            )
        corners = np.repeat([[0.0], [1.0], [-1.0], [2.0]], archive.axes, 1)
        if np.asarray(archive.inside(corners)).tolist() != [True, True, False, False]:
            raise ValueError("axes that learn put candidates into the unit box: give the archive bounds of (0, 1)")
        self.axes, self.version = axes, 0
        self.replies: list[Any] = []
        self._archive, self._ledger, self._source, self._example = archive, ledger, replies, example
        self._table, self._recorded, self._last = Table(example), recorded, 0
        events = ledger.events()
        self._versions = {after: value for after, kind, value in events if kind == "axes"}
        self._heard = {after: value for after, kind, value in events if kind == "replies"}

    def drain(self, commit: int) -> None:
        """Takes what was answered by now, before the commit of this number; an event says how far."""
        if not hasattr(self._source, "since"):
            return
        after, new = commit + 1, []
        if after not in self._heard and commit >= self._recorded:
            new = list(self._source.since(self._last))
            if not new:
                return
            self._heard[after] = {"last": int(new[-1].number)}
            self._ledger.event(after, "replies", self._heard[after])
        upto = self._heard.get(after, {"last": 0})["last"]
        if upto > self._last:
            new = [row for row in new or self._source.since(self._last) if row.number <= upto]
            if not new or new[-1].number != upto:
                raise RuntimeError(
                    f"the run had taken answers up to number {upto} by its commit {commit}, and they are not there: "
                    "give back the judgements that belong to it"
                )
            self.replies += new
            self._last = upto

    def after(
        self, key: Key, batch: Batch, elites: Elites, steps: int, recording: Callable[[], AbstractContextManager[Any]]
    ) -> Elites:
        """The elites once the axes have learnt from the `steps`-th commit; the same ones where they learnt nothing."""
        self._table.hear(batch)
        anew = steps >= self._recorded and steps not in self._versions
        known = self._table.known(elites, steps) if anew else None
        if known is not None and hasattr(self._source, "ask"):
            self._ask(jax.random.fold_in(key, 0), known, recording)
        for number, question, ids, *rest in self._heard.get(steps, {}).get("rows", ()):
            self.replies.append(Answered(number, question, tuple(ids), *rest))
        if known is not None:
            learnt = self.axes.learn(jax.random.fold_in(key, 1), known, standing(self.replies))
        elif steps in self._versions:
            learnt = self.axes.with_plain(self._versions[steps]["axes"])
        else:
            return elites
        if learnt is self.axes:
            return elites
        self.axes, self.version = learnt, self.version + 1
        elites = self._table.placed(self._archive, learnt, self._example)
        if anew:
            self._ledger.event(steps, "axes", {"version": self.version, "axes": learnt.plain, **_held(elites)})
        return elites

    def _ask(self, key: Key, known: Known, recording: Callable[[], AbstractContextManager[Any]]) -> None:
        """Asks what is due, unless it was asked when this commit was made before."""
        if known.steps in self._heard:
            return
        with recording():
            rows = self._source.ask(key, known, self.axes, self.replies, self._ledger.take)
        if rows:
            self._heard[known.steps] = {"last": rows[-1].number, "rows": [list(row) for row in rows]}
            self._ledger.event(known.steps, "replies", self._heard[known.steps])


def versions(ledger: Ledger) -> np.ndarray:
    """int `[candidates]`: with which version of the axes each descriptor in the ledger was made, 0 the first."""
    changes = np.array([after for after, kind, _ in ledger.events() if kind == "axes"], int)
    rows = [commit.rows for commit in ledger.commits]
    return np.repeat(np.searchsorted(changes, np.arange(len(rows)), side="right"), rows)


def _held(elites: Elites) -> dict[str, Any]:
    """Who is an elite, and where, for readers of the ledger."""
    cell = np.flatnonzero(np.asarray(elites.objective) > -np.inf)
    id, descriptor = np.asarray(elites.payload["id"])[cell], np.asarray(elites.descriptor)[cell]
    return {"cell": cell.tolist(), "id": id.tolist(), "descriptor": descriptor.tolist()}

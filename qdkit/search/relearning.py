"""Axes that learn during a search: when they change, all candidates of the run are inserted anew.

After each commit the axes read the candidates and the replies so far, and return new axes or
themselves. New axes are recorded as an event of the ledger: what they learnt, and which candidates
are elites then, and where. A replay reads the events, and neither fits nor asks. Older versions of
the axes stay in the ledger; which one a descriptor was made with follows from its commit (see
`versions`).

Replies come from a store that is filled meanwhile (`since`), which is read before a commit; an
event records how far it was read, and is on disk before the commit is. Or they come from somebody
who answers at once (`ask`), after a commit; the event holds the replies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from qdkit.axes.ok_candidates import OkCandidates
from qdkit.axes.triplet_questions import Answered
from qdkit.core.elites import Archive, Elites, double
from qdkit.core.types import Axes, Batch, Key, Outcome
from qdkit.runs.judgements import without_withdrawn
from qdkit.runs.ledger import Ledger

# the number of the first call that is made after a commit, behind those of its task
FIRST_CALL = 1 << 20


@runtime_checkable
class Learner(Axes, Protocol):
    """Axes that learn. Of a batch they read the features only."""

    @property
    def plain(self) -> Mapping[str, Any]:
        """What was learnt, as values for JSON."""
        ...

    def with_plain(self, plain: Mapping[str, Any]) -> Learner:
        """These axes after learning what `plain` holds: equal to the last bit."""
        ...

    def learn(self, key: Key, known: OkCandidates, replies: Sequence[Any]) -> Learner:
        """Returns new axes, or `self` where there is nothing to learn yet.

        It is called after every commit, so it should be cheap mostly.
        """
        ...


class Table:
    """All candidates that are ok, as arrays.

    The arrays double when they are full, so that jax compiles for few lengths.
    """

    def __init__(self, example: Mapping[str, Any]):
        self.count = 0
        columns = {name: np.asarray(value) for name, value in example.items()}
        self._columns = {
            name: np.zeros((0, *value.shape), value.dtype) for name, value in columns.items()
        }
        self._objective, self._features = np.zeros(0), np.zeros((0, 0))

    def append(self, batch: Batch) -> None:
        """Appends a batch. Batches come in the order of their commits."""
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

    def known(self, elites: Elites, steps: int) -> OkCandidates:
        """The candidates as axes learn from them."""
        id = self._columns["id"][: self.count]
        # the id of an empty cell is -1, which no candidate has
        elite = np.isin(id, np.asarray(elites.payload["id"]))
        return OkCandidates(id, self._features[: self.count], elite, steps)

    def placed(self, archive: Archive, axes: Axes, example: Mapping[str, Any]) -> Elites:
        """The elites after all candidates are inserted by `axes`.

        Of equal objectives the first stays, as when candidates are inserted one by one.
        """
        n = len(self._objective)
        descriptor = np.zeros((n, 1))
        parents, ok = np.zeros((n, 1), np.int32), np.full(n, Outcome.OK, "<U14")
        genome: Any = self._columns.get("genome", [None] * n)
        batch = Batch(
            self._columns["id"],
            genome,
            parents,
            [""] * n,
            ok,
            self._objective,
            self._features,
            descriptor,
            [{}] * n,
        )
        with double():
            elites, _ = archive.update(
                archive.init(dict(example)), self._objective, axes(batch), dict(self._columns)
            )
        return elites

    def _grow(self, length: int, features: np.ndarray) -> None:
        longer = lambda column, fill: np.concatenate(
            [
                column[: self.count],
                np.full((length - self.count, *column.shape[1:]), fill, column.dtype),
            ]
        )
        # unused rows repeat known features, as a CVT is slow with nan; they have no objective, and
        # do not enter
        self._features = longer(
            self._features if self.count else np.zeros((0, len(features))), features
        )
        self._objective = longer(self._objective, np.nan)
        self._columns = {name: longer(column, 0) for name, column in self._columns.items()}


class Learning:
    """The axes of a search as they are now, and what they learn from.

    replies: a store, which has `since(number)` for the judgements with greater numbers, in order;
      or an object with `ask` (see `qdkit.axes.TripletQuestions`); None for axes that
      need no replies.
    example: the payload of one elite.
    recorded: how many commits are in the ledger already.

    Raises ValueError for an archive that cannot be filled anew.
    """

    def __init__(
        self,
        axes: Learner,
        archive: Archive,
        ledger: Ledger,
        replies: Any,
        example: Mapping[str, Any],
        recorded: int,
    ):
        if not archive.elitist or archive.islands > 1:
            raise ValueError(
                f"axes that learn fill the archive anew, in which the best of a cell stays, and a "
                f"{type(archive).__name__} does otherwise: give a Grid or a CVT"
            )
        corners = np.repeat([[0.0], [1.0], [-1.0], [2.0]], archive.axes, 1)
        with double():
            inside = np.asarray(archive.inside(corners)).tolist()
        if inside != [True, True, False, False]:
            raise ValueError(
                "axes that learn put candidates into the unit box: give the archive bounds of (0, "
                "1)"
            )
        self.axes, self.version = axes, 0
        self.replies: list[Any] = []
        self._archive, self._ledger, self._source, self._example = (
            archive,
            ledger,
            replies,
            example,
        )
        self._table, self._recorded, self._last = Table(example), recorded, 0
        events = ledger.events()
        self._versions = {after: value for after, kind, value in events if kind == "axes"}
        self._events = {after: value for after, kind, value in events if kind == "replies"}

    def drain(self, commit: int) -> None:
        """Reads the replies that are in the store by now, before the commit of this number.

        An event records how far it read. Raises RuntimeError where recorded replies are missing.
        """
        if not hasattr(self._source, "since"):
            return
        after, new = commit + 1, []
        if after not in self._events and commit >= self._recorded:
            new = list(self._source.since(self._last))
            if not new:
                return
            self._events[after] = {"last": int(new[-1].number)}
            self._ledger.event(after, "replies", self._events[after])
        upto = self._events.get(after, {"last": 0})["last"]
        if upto > self._last:
            new = [row for row in new or self._source.since(self._last) if row.number <= upto]
            if not new or new[-1].number != upto:
                raise RuntimeError(
                    f"the run had read judgements up to number {upto} by its commit {commit}, and "
                    "the store does not have them: hand in the judgements that belong to the run"
                )
            self.replies += new
            self._last = upto

    def after(
        self,
        key: Key,
        batch: Batch,
        elites: Elites,
        steps: int,
        recording: Callable[[], AbstractContextManager[Any]],
    ) -> Elites:
        """The elites after the axes have learnt from the `steps`-th commit.

        They are the same object where the axes learnt nothing.
        """
        self._table.append(batch)
        anew = steps >= self._recorded and steps not in self._versions
        known = self._table.known(elites, steps) if anew else None
        if known is not None and hasattr(self._source, "ask"):
            self._ask(jax.random.fold_in(key, 0), known, recording)
        for number, question, ids, *rest in self._events.get(steps, {}).get("rows", ()):
            self.replies.append(Answered(number, question, tuple(ids), *rest))
        if known is not None:
            learnt = self.axes.learn(
                jax.random.fold_in(key, 1), known, without_withdrawn(self.replies)
            )
        elif steps in self._versions:
            learnt = self.axes.with_plain(self._versions[steps]["axes"])
        else:
            return elites
        if learnt is self.axes:
            return elites
        self.axes, self.version = learnt, self.version + 1
        elites = self._table.placed(self._archive, learnt, self._example)
        if anew:
            self._ledger.event(
                steps,
                "axes",
                {"version": self.version, "axes": learnt.plain, **_elites_event(elites)},
            )
        return elites

    def _ask(
        self, key: Key, known: OkCandidates, recording: Callable[[], AbstractContextManager[Any]]
    ) -> None:
        """Asks the questions that are due, unless this commit's replies are recorded."""
        if known.steps in self._events:
            return
        with recording():
            rows = self._source.ask(key, known, self.axes, self.replies, self._ledger.take)
        if rows:
            self._events[known.steps] = {
                "last": rows[-1].number,
                "rows": [list(row) for row in rows],
            }
            self._ledger.event(known.steps, "replies", self._events[known.steps])


def versions(ledger: Ledger) -> np.ndarray:
    """int `[candidates]`: the version of the axes of each descriptor in the ledger, from 0."""
    changes = np.array([after for after, kind, _ in ledger.events() if kind == "axes"], int)
    rows = [commit.rows for commit in ledger.commits]
    return np.repeat(np.searchsorted(changes, np.arange(len(rows)), side="right"), rows)


def _elites_event(elites: Elites) -> dict[str, Any]:
    """The elites' ids, cells and descriptors, for readers of the ledger."""
    cell = np.flatnonzero(np.asarray(elites.objective) > -np.inf)
    id, descriptor = np.asarray(elites.payload["id"])[cell], np.asarray(elites.descriptor)[cell]
    return {"cell": cell.tolist(), "id": id.tolist(), "descriptor": descriptor.tolist()}

"""A search as one compiled loop, for a domain written in JAX and a pure operator.

Its run on disk is a folder like that of any search. The ledger has the commits, and no rows of
candidates. The state of the run, from which it is resumed, is in one file of arrays beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.core.casting import cast, numeric
from qdkit.core.describe import describe_part, stable_repr
from qdkit.core.elites import Archive, Elites
from qdkit.core.fresh_copies import copy_parts
from qdkit.core.jit_cache import keep_compilations
from qdkit.core.prng import fast_key, root_key, standard_key
from qdkit.core.record import NOTHING, Cost
from qdkit.core.run_files import PRIVATE, DamagedRun, atomic_write
from qdkit.core.seeds import Seed, seed_number
from qdkit.core.stages import domain_objective, features, floor_of
from qdkit.core.time_limits import Overdue, call_watched
from qdkit.core.types import Batch, Domain, Key, Operator
from qdkit.operators.evolution import check_traced, evaluate_traced
from qdkit.runs import sources
from qdkit.runs.alerts import Alerts, failures_by_outcome
from qdkit.runs.compiled_state import (
    INVALID,
    STATE_FILE,
    Columns,
    invalid_count,
    outcomes,
    with_ids,
)
from qdkit.runs.ledger import Ledger, check_free, recorded_seed, write_elites
from qdkit.runs.npz_file import read_arrays
from qdkit.runs.rows import Commit, genome_kind
from qdkit.runs.view import RunView, check_open
from qdkit.search.arguments import COMPILED, check_budget, check_parts, names_checked
from qdkit.search.budget import Budget, amount
from qdkit.search.compiled_step import CHUNK, CompiledLoop, CompiledState, StepProgress, pure
from qdkit.search.signals import Handling
from qdkit.search.stopping import Stop

_BATCH = 540  # where neither the operator nor the user gives another size
EVERY = 8.0  # seconds between two snapshots, where they are written fast
SHARE = 0.05  # the largest share of the time that is spent on writing snapshots
_CHECK = 1.0  # seconds of steps between two checks of signals, budget and snapshots
_LATE = 1.2  # seconds after those of the budget at which steps are given up


class CompiledSearch(RunView):
    """A search of a domain written in JAX, which runs as one compiled loop.

        domain = Sphere(100)
        grid = Grid((100, 100), domain.bounds)
        search = Search.compiled(domain, grid, IsoLine(0.5, 0.2), batch=540)
        search.run(10_000)
        search.summary(), search.history["qd_score"], search.pool.genome

    It is looked at, kept, loaded and resumed like any search.

    domain: its `evaluate` goes through jax alone and gives an objective and a descriptor.
    operator: `Gaussian`, `IsoLine` or another with `vary(key, parents)`; or one that is `Pure`, as
      evolution strategies are.
    batch: candidates a step; the operator's own number where it has one.
    budget: of evaluations and of seconds; both are checked between a few steps.
    folder: a new folder to keep the run in. It is written at the end of each `run(...)` and every
      8 seconds meanwhile, or less often where that would take more than 5 % of the time.
      `CompiledSearch.resume` goes on from there, bit for bit as if nothing had happened (with the
      same version of jax, on a machine of the same kind).

    Candidates have no rows: the elites alone are known, and the id of an elite is its place in the
    archive. The domain's seeds are tried first and count as a step. It computes in float32, within
    `qdkit.core.elites.double()` in float64, on jax's default device, a GPU where there is one. It
    compiles once, whatever the number of steps. Raises TypeError or ValueError for parts that
    cannot be compiled.
    """

    models: tuple[Any, ...] = ()
    in_flight = 0

    @names_checked("Search.compiled", COMPILED)
    def __init__(
        self,
        domain: Domain,
        archive: Archive,
        operator: Operator,
        *,
        batch: int | None = None,
        seed: Seed = 0,
        budget: Budget | None = None,
        folder: str | Path | None = None,
    ) -> None:
        place = None if folder is None else Path(folder)
        self._open(domain, archive, operator, batch, seed, budget, place, resumed=False)

    @classmethod
    @names_checked("CompiledSearch.resume", COMPILED)
    def resume(
        cls,
        folder: str | Path,
        domain: Domain,
        archive: Archive,
        operator: Operator,
        *,
        batch: int | None = None,
        seed: Seed = None,
        budget: Budget | None = None,
    ) -> CompiledSearch:
        """Goes on with the run in `folder`, with the same parts and settings.

        seed: that of the run where left out. Raises ValueError where it was begun with others.
        """
        search, place = cls.__new__(cls), Path(folder)
        seed = recorded_seed(place) if seed is None else seed
        search._open(domain, archive, operator, batch, seed, budget, place, resumed=True)
        return search

    def _open(
        self,
        domain: Domain,
        archive: Archive,
        operator: Operator,
        batch: int | None,
        seed: Seed,
        budget: Budget | None,
        folder: Path | None,
        resumed: bool,
    ) -> None:
        """Begins a search, or resumes the one in `folder`."""
        check_parts(domain, archive, operator)
        check_budget(budget)
        _check_archive(archive)
        if folder is not None and not resumed:
            check_free(folder)  # before the domain is asked for anything
        self.batch, self.seed = int(batch or operator.size or _BATCH), seed_number(seed)
        self.budget = budget or Budget()
        domain, operator = copy_parts(domain=domain, operator=operator)
        keep_compilations()
        self.domain, self.archive, self.operator = domain, archive, operator
        self.floor = floor_of(domain)
        self._invalid = 0  # candidates so far whose objective or descriptor was not finite
        self._alerts = Alerts(self.floor)
        self.stopped = ""  # why the last call ended before its goal
        self._each = 0.0  # seconds of a step; 0 before one was made by what is compiled
        self._signals, self._advice, self._stuck = Handling(), "", ""
        self._root = root_key(self.seed)
        loop = CompiledLoop(domain, archive, pure(operator, self.batch), self.floor)
        self._advance = jax.jit(loop.advance)

        beginning, seeding = _first(self._root)
        seeds = _seeds(domain, seeding, self.batch)
        self._founders, self._kind = len(seeds), genome_kind(np.asarray(seeds))
        self._state, progress = jax.jit(loop.begin)(
            loop.operator.begin(beginning, np.asarray(seeds)[0]), seeds
        )
        # an error of the compilation comes before there is a folder
        jax.eval_shape(self._advance, self._root, self._state, 1)
        self.commits: list[Commit] = []
        self._saved_commits = 0  # how many of them are in the ledger
        self._record(jax.tree.map(lambda x: np.asarray(x)[None], progress), 0.0, 0.0)
        if not self.elites.occupied.any():
            columns = [np.asarray(column) for column in evaluate_traced(domain, seeds)]
            reasons = filter(None, map(archive.refusal, *columns))
            reason = next(reasons, "the archive gives no reason")
            raise RuntimeError(
                f"no seed could enter the archive, so there is nothing to start from; the first: "
                f"{reason}{_not_finite(domain, *columns)}"
            )
        if resumed and folder is not None:
            self.ledger = Ledger.open(folder, write=True)
        else:
            self.ledger = Ledger.create(folder, self._about())
        with ExitStack() as failed:
            failed.callback(self.close if resumed else self._discard)
            if resumed and folder is not None:
                self._load(folder / STATE_FILE)
            self._save()
            failed.pop_all()

    def run(
        self, n: int | None = None, *, until: Stop | None = None, progress: bool = True
    ) -> CompiledSearch:
        """Makes `n` steps, or as many as the budget or `until` allow, with a progress bar.

        Ctrl-C raises KeyboardInterrupt, SIGTERM SystemExit(143) and SIGHUP SystemExit(129), once
        the run is on disk.
        """
        from qdkit.search.progress import bar

        with self._handling(), bar(self, n, shown=progress) as step:
            for _ in self.steps(n, until=until):
                step()
        return self

    def steps(self, n: int | None = None, *, until: Stop | None = None) -> Iterator[Batch]:
        """Makes `n` steps, or as many as the budget or `until` allow.

        It yields an empty batch every few steps.

        until: a rule of `qdkit.search.stopping`, which is called after every
          `qdkit.search.compiled_step.CHUNK` steps.

        The caller may stop or interrupt it at any of these points, as `Search.steps` describes; a
        later call goes on from there. Steps that do not end within the seconds of the budget are
        given up.
        """
        limits = self.budget.evaluations, self.budget.seconds
        if n is None and until is None and limits == (None, None):
            raise ValueError(
                "say how many steps to make or until when, or give the search a budget"
            )
        if n is not None and (n != int(n) or n < 1):
            raise ValueError(f"a search makes a whole number of steps from 1, not {n}")
        check_open(self.ledger, "made")
        if self._stuck:
            raise RuntimeError(
                f"this search cannot go on, since {self._stuck}: open its run again, with "
                "CompiledSearch.resume(...)"
            )
        begin = len(self.commits)
        end = None if n is None else begin + int(n)
        snapshots, more = Snapshots(), True
        self._warn()
        try:
            while more:
                before = len(self.commits)
                with self._handling() as self._signals:
                    more = self._chunk(begin, end, until, snapshots)
                if len(self.commits) > before:
                    yield self.ledger.take([])
        finally:
            self._save()
            if self.ledger.path is not None:
                write_elites(self.ledger.path, self.elites)

    def _chunk(
        self, begin: int, end: int | None, until: Stop | None, snapshots: Snapshots
    ) -> bool:
        """Makes steps up to the next multiple of `CHUNK` since `begin`.

        Returns whether there is more to do.
        """
        while few := self._few(begin, end, until):
            if not self._make(few):
                return False
            if snapshots.due:
                with snapshots:
                    self._save()
            if (len(self.commits) - begin) % CHUNK == 0:
                return True
            self._signals.check()
        return False

    def _handling(self) -> Handling:
        from qdkit.search.progress import how_to_go_on

        self._advice = self._advice or how_to_go_on(self.ledger)
        return Handling(self._advice)

    def _make(self, few: int) -> bool:
        """Makes a few steps.

        Returns whether they ended: with a budget of seconds they may be given up.
        """
        begun = self._compile()
        if self.budget.seconds is None:
            self._accept(few, begun, *self._advance_by(few))
            return True
        left = self.budget.seconds - self.commits[-1].seconds - begun[0]
        try:
            advanced = call_watched(
                lambda: self._advance_by(few), self._interrupted, max(0.0, left) + _LATE
            )
        except Overdue:
            self._stuck = "steps that did not end were given up"
            self.stopped = f"{amount('seconds', self.budget.seconds)} are used; {self._stuck}"
            return False
        self._accept(few, begun, *advanced)
        return True

    def _compile(self) -> tuple[float, float]:
        """Compiles the loop before the first step, by making no step.

        Returns the seconds that it took, of the clock and of the CPU.
        """
        wall, cpu = time.monotonic(), time.process_time()
        if not self._each:
            jax.block_until_ready(self._advance(self._root, self._state, 0))
        return time.monotonic() - wall, time.process_time() - cpu

    def _interrupted(self) -> str:
        if self._signals.overdue:
            self._stuck = "a signal stopped it in the middle of its steps"
            self._signals.check()
        return ""

    def close(self) -> None:
        """Closes the run's folder. `with Search.compiled(...) as search:` does it at the end.

        The results stay available: everything but `run` and `steps` works as before, for a run in
        a folder as long as that exists.
        """
        self.ledger.close()

    def _discard(self) -> None:
        """Closes a search that could not begin, and removes its folder."""
        self.close()
        if self.ledger.path is not None and not self.ledger.commits:
            (self.ledger.path / STATE_FILE).unlink(missing_ok=True)
        self.ledger.discard()

    def __enter__(self) -> CompiledSearch:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def spent(self) -> Cost:
        """What the run has cost so far, all sittings together: evaluations, and no calls."""
        return replace(NOTHING, evaluations=self._evaluations)

    @property
    def outcomes(self) -> dict[str, int]:
        """How many candidates were ok and how many invalid.

        Older runs did not count this; their candidates are ok.
        """
        return outcomes(self._evaluations, self._invalid)

    @property
    def failures(self) -> dict[str, int]:
        """How many candidates were not ok, by outcome."""
        return failures_by_outcome(self.outcomes)

    @property
    def elites(self) -> Elites:
        """The best candidate of each cell, as numpy arrays.

        `payload` has the genomes, and as ids their places in the archive.
        """
        return with_ids(jax.tree.map(np.asarray, self._state.elites))

    def _few(self, begin: int, end: int | None, until: Stop | None) -> int:
        """How many steps to make at once in a call that began after `begin`; 0 at its end."""
        now, limit, made = self.commits[-1], self.budget, len(self.commits) - begin
        few = CHUNK - made % CHUNK
        self.stopped = until.why(self.commits) if until and few == CHUNK else ""
        if limit.evaluations is not None and not self.stopped:
            few = min(few, (limit.evaluations - now.evaluations) // self.batch)
            if few < 1:
                self.stopped = f"{now.evaluations:,} of {limit.evaluations:,} evaluations are used"
        left = _CHECK
        if limit.seconds is not None:
            left = min(_CHECK, limit.seconds - now.seconds)
            if left <= 0:
                self.stopped = self._used()
        few = few if end is None else min(few, end - len(self.commits))
        few = min(few, max(1, int(left / self._each)) if self._each else 1)
        return 0 if self.stopped and few else few

    def _used(self) -> str:
        limit = self.budget.seconds or 0.0
        return (
            f"{amount('seconds', self.commits[-1].seconds)} of {amount('seconds', limit)} are used"
        )

    def _warn(self, invalid: Sequence[int] = ()) -> None:
        """Warns of elites below the floor, and of steps in which every candidate was invalid.

        invalid: the number of invalid candidates of each of the last steps.
        """
        self._alerts.floor(np.asarray(self._state.elites.objective, np.float64))
        steps = [
            i
            for i, count in enumerate(invalid, len(self.commits) - len(invalid))
            if count == self.batch
        ]
        if steps:
            self._alerts.invalid(steps[0], self.batch)

    def _advance_by(self, few: int) -> tuple[CompiledState, StepProgress, float, float]:
        """Computes a few steps.

        Returns the state after them, the progress after each, and their seconds of the clock and
        of the CPU. If it is interrupted, the state of the run is unchanged: no buffer is donated.
        """
        wall, cpu = time.monotonic(), time.process_time()
        state, progress = jax.block_until_ready(self._advance(self._root, self._state, few))
        return state, progress, time.monotonic() - wall, time.process_time() - cpu

    def _accept(
        self,
        few: int,
        before: tuple[float, float],
        state: CompiledState,
        progress: StepProgress,
        wall: float,
        cpu: float,
    ) -> None:
        """Makes the state after a few steps that of the run, and warns of invalid candidates.

        before: the seconds of both clocks before the steps began.
        """
        self._state, self._each = state, max(wall / few, 1e-9)
        rows = jax.tree.map(lambda column: np.asarray(column)[:few], progress)
        self._record(rows, before[0] + wall, before[1] + cpu)
        self._warn([int(count) for count in rows.invalid])

    def _record(self, progress: StepProgress, seconds: float, cpu: float) -> None:
        """Appends the commits of a few steps, which took so long together."""
        last, few = self.commits[-1] if self.commits else None, len(progress.best)
        for i, (coverage, qd_score, best, clipped, refused, invalid) in enumerate(
            zip(*(column.tolist() for column in progress), strict=True), 1
        ):
            self._invalid += invalid
            number, share = len(self.commits), i / few
            times = seconds, cpu
            if last:
                times = last.seconds + share * seconds, last.cpu + share * cpu
            evaluations = self._founders + number * self.batch
            counts = coverage, qd_score, best, clipped, refused
            self.commits.append(Commit(number, 0, 0, evaluations, *counts, np.nan, *times))

    def _about(self) -> dict[str, Any]:
        """What the ledger says of this search.

        A run can only be resumed by a search that says the same.
        """
        parts = {"domain": self.domain, "archive": self.archive, "operator": self.operator}
        return {
            **{name: describe_part(part) for name, part in parts.items()},
            "compiled": self.operator.name,
            "judge": stable_repr(domain_objective),
            "axes_from": stable_repr(features),
            "genome": self._kind,
            "cells": self.archive.cells,
            "axes": self.archive.axes,
            "floor": self.floor,
            "batch": self.batch,
            "seed": self.seed,
            **({"sources": digests} if (digests := sources.source_digests(self.domain)) else {}),
        }

    def _save(self) -> None:
        """Writes the state and the ledger.

        The state comes first, with the commits that the ledger does not have yet.
        """
        new = self.commits[self._saved_commits :]
        if self.ledger.path is not None and new:
            columns: dict[str, Any] = _columns(self._state)
            columns |= {f"commit.{name}": np.array(column) for name, column in _table(new).items()}
            columns[INVALID] = np.array(self._invalid)
            with atomic_write(self.ledger.path / STATE_FILE, PRIVATE) as opened:
                np.savez(opened, **columns)
        self.ledger.stood(new)
        self._saved_commits = len(self.commits)

    def _load(self, file: Path) -> None:
        """Takes over the recorded state. Raises ValueError where it is that of another search."""
        sources.check_unchanged(self.ledger, sources.source_digests(self.domain))
        self.ledger.same(self._about())
        columns = Columns(read_arrays(file), file)
        expected = {name: (x.shape, x.dtype) for name, x in _columns(self._state).items()}
        if any(
            (columns[name].shape, columns[name].dtype) != kind for name, kind in expected.items()
        ):
            raise ValueError(
                f"{file} was made with numbers of another precision: go on with the same"
            )
        self._state = jax.tree.unflatten(
            jax.tree.structure(self._state), [jnp.asarray(columns[name]) for name in expected]
        )
        self._invalid = invalid_count(columns)
        known = self.ledger.commits
        table = [columns[f"commit.{name}"] for name in Commit._fields]
        if any(column.shape != table[0].shape or column.ndim != 1 for column in table):
            raise DamagedRun(
                f"{file} cannot be read as the state of a search: its commits are damaged"
            )
        rows = zip(*(column.tolist() for column in table), strict=True)
        self.commits = known + [
            commit for row in rows if (commit := Commit(*row)).number >= len(known)
        ]
        self._saved_commits = len(known)
        if len(self.commits) != int(self._state.steps):
            raise DamagedRun(
                f"{file} and the ledger beside it have different steps: they are not from one run"
            )


class Snapshots:
    """Says when a run is written while it goes on.

        if snapshots.due:
            with snapshots:
                write()

    It is due every `EVERY` seconds, and less often where writing would take more than `SHARE` of
    the time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._last, self._wait = clock, clock(), EVERY

    @property
    def due(self) -> bool:
        """Whether it is time for the next."""
        return self._clock() - self._last >= self._wait

    def __enter__(self) -> None:
        self._begun = self._clock()

    def __exit__(self, *error: object) -> None:
        self._last = self._clock()
        self._wait = max(EVERY, (self._last - self._begun) * (1 / SHARE - 1))


def _not_finite(domain: Domain, objective: np.ndarray, descriptor: np.ndarray) -> str:
    """A sentence that says how many seeds have numbers that are not finite; "" for none."""
    n, where = len(objective), f"{type(domain).__module__}.{type(domain).__qualname__}.evaluate"
    unknown = {"objective": ~np.isfinite(objective), "descriptor": ~np.isfinite(descriptor).all(1)}
    return "".join(
        f"; {where} gave {rows.sum():,} of {n:,} an {name} that is not finite"
        for name, rows in unknown.items()
        if rows.any()
    )


def _table(commits: list[Commit]) -> dict[str, tuple[Any, ...]]:
    return dict(zip(Commit._fields, zip(*commits, strict=True), strict=True))


def _check_archive(archive: Archive) -> None:
    """Raises TypeError for an archive that a compiled loop cannot fill."""
    if archive.islands > 1:
        raise TypeError(
            f"a compiled loop fills one archive, not {archive.islands} islands: search with "
            "Search(...)"
        )


@jax.jit
def _first(root: Key) -> tuple[Key, Key]:
    """The keys for the operator's beginning and for the seeds; steps count from 1."""
    beginning, seeding = jax.random.split(jax.random.fold_in(fast_key(root), 0))
    return standard_key(beginning), standard_key(seeding)


def _seeds(domain: Domain, key: Key, batch: int) -> jax.Array:
    """The genomes to start from. Raises TypeError or ValueError where they cannot be compiled."""
    seeds = domain.seeds(key, batch)
    if not isinstance(seeds, np.ndarray | jax.Array):
        raise TypeError(
            f"a compiled loop searches arrays of numbers, and {domain!r} gave a "
            f"{type(seeds).__name__}"
        )
    maker = f"{type(domain).__name__}.seeds"
    given_seeds = numeric(np.asarray(seeds), maker)
    try:
        genomes = jnp.asarray(
            cast(given_seeds, jax.dtypes.canonicalize_dtype(given_seeds.dtype), maker)
        )
    except ValueError as error:
        raise ValueError(
            f"{error}. A compiled search has 64 bits within `with qdkit.core.elites.double():`"
        ) from None
    check_traced(domain, genomes)
    return genomes


def _columns(state: CompiledState) -> dict[str, np.ndarray]:
    """The arrays of the state by name."""
    return {
        jax.tree_util.keystr(path): np.asarray(x)
        for path, x in jax.tree_util.tree_leaves_with_path(state)
    }

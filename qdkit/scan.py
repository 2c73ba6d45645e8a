"""A search that runs as one compiled loop, for a domain written in JAX and an operator that is pure.

Its run on disk is the folder of any search: the ledger says how it stood after each step. No candidate
has a row in it; what a run is stands beside, in one file of arrays from which it goes on.
"""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.budget import Budget
from qdkit.compiled import keep_compilations
from qdkit.elites import Archive, Elites
from qdkit.keys import quick, usual
from qdkit.ledger import Ledger, write_elites
from qdkit.loop import CHUNK, Loop, State, Stood, pure
from qdkit.operators.evolution import measured
from qdkit.parts import described, said
from qdkit.record import NOTHING, Cost
from qdkit.rows import Commit, genome_kind
from qdkit.seen import Seen
from qdkit.stages import features, given
from qdkit.stopping import Stop
from qdkit.types import Batch, Domain, Key, Operator

BATCH = 540  # where neither the operator nor its user says otherwise
EVERY = 60.0  # seconds between two snapshots
FILE = "scan.npz"


class Scan(Seen):
    """A search of a domain written in JAX, `batch` candidates a step, which runs as one compiled loop.

        domain = Sphere(100)
        search = Search(domain, Grid((100, 100), domain.bounds), Line(0.5, 0.2), batch=540, compiled=True).run(10_000)
        search.summary(), search.history["qd_score"], search.pool.genome

    That call gives a `Scan`, which is looked at, kept, loaded and gone on with like any search.

    domain: its `evaluate` goes through jax alone and gives an objective and a descriptor.
    operator: `Gaussian`, `Line` or another with `vary(key, parents)`; or one that is `Pure`, as
      evolution strategies are.
    batch: candidates a step; the operator's own number where it has one.
    budget: of evaluations and of seconds; both are looked at between a few steps.
    run: a folder to keep the run in, at the end of each `run(...)` and every minute meanwhile;
      `resume=True` goes on from there, bit for bit as if nothing had happened (with the same version
      of jax, on a machine of the same kind).

    Candidates have no rows: the elites alone are known, and the id of one is its place in the archive. The
    domain's seeds are tried first and count as a step. It computes in float32, within
    `qdkit.elites.double()` in float64, on jax's default device, a GPU where there is one. It compiles
    once, whatever the number of steps. Raises TypeError or ValueError for parts that cannot be compiled.
    """

    models: tuple[Any, ...] = ()
    spent: Cost = NOTHING
    in_flight = 0

    def __init__(
        self,
        domain: Domain,
        archive: Archive,
        operator: Operator,
        *,
        batch: int | None = None,
        seed: int = 0,
        budget: Budget | None = None,
        run: str | Path | None = None,
        resume: bool = False,
        **others: Any,
    ):
        _refuse(archive, {name: value for name, value in others.items() if value is not None})
        keep_compilations()
        self.domain, self.archive, self.operator = domain, archive, operator
        self.batch, self.seed, self.budget = int(batch or operator.size or BATCH), int(seed), budget or Budget()
        self.floor = float(getattr(domain, "floor", 0.0))
        self.failures: dict[str, int] = {}
        self.stopped = ""  # why the last sitting ended before its goal
        self._root = jax.random.key(self.seed)
        loop = Loop(domain, archive, pure(operator, self.batch), self.floor)
        self._advance = jax.jit(loop.advance)

        beginning, seeding = _first(self._root)
        seeds = _seeds(domain, seeding, self.batch)
        self._founders, self._kind = len(seeds), genome_kind(np.asarray(seeds))
        self._state, stood = jax.jit(loop.begin)(loop.operator.begin(beginning, np.asarray(seeds)[0]), seeds)
        self.commits: list[Commit] = []
        self._kept = 0  # how many of them are in the ledger
        self._stood(jax.tree.map(lambda x: np.asarray(x)[None], stood), 0.0, 0.0)
        if not self.elites.occupied.any():
            raise RuntimeError("no seed could enter the archive, so there is nothing to start from")
        if resume and run is not None:
            self.ledger = Ledger.open(Path(run), write=True)
        else:
            self.ledger = Ledger.create(Path(run) if run is not None else None, self._about())
        with ExitStack() as refused:
            refused.callback(self.close)
            if resume and run is not None:
                self._load(Path(run) / FILE)
            self._save()
            refused.pop_all()

    def run(self, n: int | None = None, *, until: Stop | None = None, progress: bool = True) -> Scan:
        """Makes `n` steps, or as many as the budget or `until` allow, with a progress bar."""
        from qdkit.progress import bar

        with bar(self, n, shown=progress) as step:
            for _ in self.steps(n, until=until):
                step()
        return self

    def steps(self, n: int | None = None, *, until: Stop | None = None) -> Iterator[Batch]:
        """Makes `n` steps, or as many as the budget or `until` allow; yields every few of them, with a batch of nobody.

        until: a rule of `qdkit.stopping`, asked every few steps.

        The caller may stop at any of these points, or interrupt it; a later call goes on from there.
        """
        limits = self.budget.evaluations, self.budget.seconds
        if n is None and until is None and limits == (None, None):
            raise ValueError("say how many steps to make or until when, or give the search a budget")
        if n is not None and (n != int(n) or n < 1):
            raise ValueError(f"a search makes a whole number of steps from 1, not {n}")
        end = None if n is None else len(self.commits) + int(n)
        saved = time.monotonic()
        try:
            while few := self._few(end, until):
                self._go(few)
                if time.monotonic() - saved > EVERY:
                    self._save()
                    saved = time.monotonic()
                yield self.ledger.take([])
        finally:
            self._save()
            if self.ledger.path is not None:
                write_elites(self.ledger.path, self.elites)

    def close(self) -> None:
        """Gives back the run's folder. `with Search(...) as search:` does it at the end."""
        self.ledger.close()

    def __enter__(self) -> Scan:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def elites(self) -> Elites:
        """The best candidate of each cell, as numpy arrays; genomes in `payload["genome"]`, and its place as the id."""
        return _elites(jax.tree.map(np.asarray, self._state.elites))

    def _few(self, end: int | None, until: Stop | None) -> int:
        """How many steps to make before anybody looks again; 0 where it is enough."""
        now, limit, few = self.commits[-1], self.budget, CHUNK
        self.stopped = until.why(self.commits) if until else ""
        if limit.evaluations is not None and not self.stopped:
            few = min(few, (limit.evaluations - now.evaluations) // self.batch)
            if few < 1:
                self.stopped = f"{now.evaluations:,} of {limit.evaluations:,} evaluations are used"
        if limit.seconds is not None and now.seconds >= limit.seconds:
            self.stopped = f"{now.seconds:,.0f} of {limit.seconds:,.0f} seconds are used"
        few = few if end is None else min(few, end - len(self.commits))
        return 0 if self.stopped and few else few

    def _go(self, few: int) -> None:
        """A few steps. Interrupted meanwhile, it stands where it stood before: no buffer is given away."""
        wall, cpu = time.monotonic(), time.process_time()
        state, stood = jax.block_until_ready(self._advance(self._root, self._state, few))
        rows = jax.tree.map(lambda column: np.asarray(column)[:few], stood)
        self._state = state
        self._stood(rows, time.monotonic() - wall, time.process_time() - cpu)

    def _stood(self, stood: Stood, seconds: float, cpu: float) -> None:
        """Remembers how the run stood after each of a few steps, which took so long together."""
        was, few = self.commits[-1] if self.commits else None, len(stood.best)
        for i, (coverage, qd_score, best, clipped, refused) in enumerate(
            zip(*(column.tolist() for column in stood), strict=True), 1
        ):
            number, share = len(self.commits), i / few
            since = (was.seconds + share * seconds, was.cpu + share * cpu) if was else (seconds, cpu)
            evaluations = self._founders + number * self.batch
            counts = coverage, qd_score, best, clipped, refused
            self.commits.append(Commit(number, 0, 0, evaluations, *counts, np.nan, *since))

    def _about(self) -> dict[str, Any]:
        """What the ledger says of this search; a run can only be gone on with by one that says the same."""
        parts = {"domain": self.domain, "archive": self.archive, "operator": self.operator}
        return {
            **{name: described(part) for name, part in parts.items()},
            "compiled": self.operator.name,
            "judge": said(given),
            "axes_from": said(features),
            "genome": self._kind,
            "cells": self.archive.cells,
            "axes": self.archive.axes,
            "floor": self.floor,
            "batch": self.batch,
            "seed": self.seed,
        }

    def _save(self) -> None:
        """State and ledger as they are now. The state goes first, with what the ledger does not have yet."""
        new = self.commits[self._kept :]
        if self.ledger.path is not None and new:
            columns: dict[str, Any] = _columns(self._state)
            columns |= {f"commit.{name}": np.array(column) for name, column in _table(new).items()}
            file = self.ledger.path / FILE
            half = file.with_name(FILE + ".part")
            with half.open("wb") as opened:
                np.savez(opened, **columns)
                opened.flush()
                os.fsync(opened.fileno())
            half.replace(file)
        self.ledger.stood(new)
        self._kept = len(self.commits)

    def _load(self, file: Path) -> None:
        self.ledger.same(self._about())
        columns = _read(file)
        expected = {name: (x.shape, x.dtype) for name, x in _columns(self._state).items()}
        if any((columns[name].shape, columns[name].dtype) != kind for name, kind in expected.items()):
            raise ValueError(f"{file} was made with numbers of another precision: go on with the same")
        self._state = jax.tree.unflatten(
            jax.tree.structure(self._state), [jnp.asarray(columns[name]) for name in expected]
        )
        known = self.ledger.commits
        rows = zip(*(columns[f"commit.{name}"].tolist() for name in Commit._fields), strict=True)
        self.commits = known + [commit for row in rows if (commit := Commit(*row)).number >= len(known)]
        self._kept = len(known)
        if len(self.commits) != int(self._state.steps):
            raise RuntimeError(f"{file} and the ledger beside it tell of different steps: they are not from one run")


def held(path: Path, cells: int) -> Elites:
    """The elites of the compiled run in the folder `path`, as `Scan.elites` gives them; of an archive of `cells`."""
    columns = _read(path / FILE)
    objective, descriptor = columns[".elites.objective"], columns[".elites.descriptor"]
    payload = {"genome": columns[".elites.payload['genome']"]}
    return _elites(Elites(objective, descriptor, payload, depth=len(objective) // cells))  # type: ignore[arg-type]


def _elites(elites: Elites) -> Elites:
    """With the place of each as its id."""
    places = np.arange(len(elites.objective), dtype=np.int32)
    id = np.where(np.asarray(elites.occupied), places, -1).astype(np.int32)
    return Elites(elites.objective, elites.descriptor, {"id": id, **elites.payload}, elites.state, elites.depth)


def _read(file: Path) -> dict[str, np.ndarray]:
    if not file.is_file():
        raise FileNotFoundError(
            f"{file.parent} holds no compiled run, or one that was killed before its first step: there is no {FILE}"
        )
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as kept:
            columns = {name: kept[name] for name in kept.files}
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError) as error:
        why = "it holds objects, which are never loaded" if "allow_pickle" in str(error) else error
        raise RuntimeError(f"{file} cannot be read as the state of a search: {why}") from None
    return _Columns(columns, file)


class _Columns(dict[str, np.ndarray]):
    """The arrays of a file by name; one that is missing is a sentence for the user."""

    def __init__(self, columns: dict[str, np.ndarray], file: Path):
        super().__init__(columns)
        self._file = file

    def __missing__(self, name: str) -> np.ndarray:
        raise RuntimeError(f"{self._file} cannot be read as the state of a search: it has no {name}")


def _table(commits: list[Commit]) -> dict[str, tuple[Any, ...]]:
    return dict(zip(Commit._fields, zip(*commits, strict=True), strict=True))


def _refuse(archive: Archive, others: dict[str, Any]) -> None:
    """Raises TypeError for what a compiled loop cannot do."""
    allowed = {"in_flight": 1, "ahead": 1, "novelty": "distinct"}  # what a search of numbers has anyway
    if asked := [name for name, value in others.items() if name not in allowed or value != allowed[name]]:
        raise TypeError(
            f"a compiled loop calls nothing but the domain, the operator and the archive, and was given {asked[0]}: "
            "leave it out, or search without compiled=True"
        )
    if archive.islands > 1:
        raise TypeError(
            f"a compiled loop fills one archive, not {archive.islands} islands: search without compiled=True"
        )


@jax.jit
def _first(root: Key) -> tuple[Key, Key]:
    """The keys with which the operator begins and the seeds are made; steps count from 1."""
    beginning, seeding = jax.random.split(jax.random.fold_in(quick(root), 0))
    return usual(beginning), usual(seeding)


def _seeds(domain: Domain, key: Key, batch: int) -> jax.Array:
    """Genomes to start from, once it is sure that the domain can be compiled."""
    seeds = domain.seeds(key, batch)
    if not isinstance(seeds, np.ndarray | jax.Array):
        raise TypeError(f"a compiled loop searches arrays of numbers, and {domain!r} gave a {type(seeds).__name__}")
    genomes = jnp.asarray(seeds)
    try:
        jax.eval_shape(lambda x: measured(domain, x), genomes)
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError) as error:
        why = str(error).splitlines()[0]
        raise TypeError(
            f"{domain!r} cannot be compiled, since its evaluate leaves jax: {why}. "
            "Compute with jax.numpy alone, or search with qdkit.Search, which takes any domain"
        ) from error
    return genomes


def _columns(state: State) -> dict[str, np.ndarray]:
    """Its arrays by name."""
    return {jax.tree_util.keystr(path): np.asarray(x) for path, x in jax.tree_util.tree_leaves_with_path(state)}

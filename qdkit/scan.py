"""A search that runs as one compiled loop, for a domain written in JAX and an operator that is pure.

What a run is stands in one file of arrays; there is no ledger, since no candidate has a row.
"""

from __future__ import annotations

import json
import os
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qdkit import metrics
from qdkit.compiled import keep_compilations
from qdkit.elites import Archive, Elites
from qdkit.loop import CHUNK, Loop, State, Stood, pure
from qdkit.operators.evolution import measured
from qdkit.parts import described
from qdkit.plain import to_json
from qdkit.types import Domain, Key, Operator

BATCH = 540  # where neither the operator nor its user says otherwise
EVERY = 60.0  # seconds between two snapshots
FILE = "scan.npz"


class Scan:
    """A search of a domain written in JAX, `batch` candidates a step, which runs as one compiled loop.

        domain = Sphere(100)
        scan = Scan(domain, Grid((100, 100), domain.bounds), Line(0.5, 0.2), batch=540).run(10_000)
        scan.summary(), scan.history["qd_score"], scan.elites.payload["genome"]

    domain: its `evaluate` goes through jax alone and gives an objective and a descriptor.
    operator: `Gaussian`, `Line` or another with `vary(key, parents)`; or one that is `Pure`, as
      evolution strategies are.
    batch: candidates a step; the operator's own number where it has one.
    run: a folder in which the state is kept at the end of each `run(...)`, and every minute meanwhile;
      `resume=True` goes on from there, bit for bit as if nothing had happened (with the same version
      of jax, on a machine of the same kind).

    The domain's seeds are tried first and count as a step. It computes in float32, within
    `qdkit.elites.double()` in float64, on jax's default device, a GPU where there is one. It compiles
    once, whatever the number of steps. Raises TypeError or ValueError for parts that cannot be compiled.
    """

    def __init__(
        self,
        domain: Domain,
        archive: Archive,
        operator: Operator,
        *,
        batch: int | None = None,
        seed: int = 0,
        run: str | Path | None = None,
        resume: bool = False,
    ):
        if archive.islands > 1:
            raise TypeError(
                f"a compiled loop fills one archive, not {archive.islands} islands: search with qdkit.Search"
            )
        keep_compilations()
        self.domain, self.archive, self.operator = domain, archive, operator
        self.batch, self.seed = int(batch or operator.size or BATCH), int(seed)
        self.floor = float(getattr(domain, "floor", 0.0))
        self.seconds = self.cpu = 0.0  # of steps, all sittings together
        self._root = jax.random.key(self.seed)
        self._file = None if run is None else Path(run) / FILE
        loop = Loop(domain, archive, pure(operator, self.batch), self.floor)
        self._advance = jax.jit(loop.advance)

        beginning, seeding = jax.random.split(jax.random.fold_in(self._root, 0))  # steps count from 1
        seeds = _seeds(domain, seeding, self.batch)
        self._founders = len(seeds)
        self._state = loop.begin(beginning, seeds)
        self._stood = [jax.tree.map(lambda x: np.asarray(x)[None], loop.stood(self._state))]
        if not self.elites.occupied.any():
            raise RuntimeError("no seed could enter the archive, so there is nothing to start from")
        if self._file is not None and resume:
            self._load(self._file)
        elif self._file is not None:
            if self._file.exists():
                raise FileExistsError(f"{self._file.parent} holds a run: go on with it by resume=True, or name another")
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._save()

    def run(self, n: int, *, progress: bool = True) -> Scan:
        """Makes `n` steps, with a progress bar."""
        from tqdm.auto import tqdm

        with tqdm(total=n * self.batch, disable=not progress, unit=" evaluations", unit_scale=True) as bar:
            for made in self.steps(n):
                now = self._stood[-1]
                bar.set_postfix_str(f"coverage {now.coverage[-1]:.1%}, QD score {now.qd_score[-1]:.6g}", refresh=False)
                bar.update(made * self.batch)
        return self

    def steps(self, n: int) -> Iterator[int]:
        """Makes `n` steps, and yields after every few of them how many they were.

        The caller may stop at any of these points, or interrupt it; a later call goes on from there.
        """
        if n != int(n) or n < 1:
            raise ValueError(f"a search makes a whole number of steps from 1, not {n}")
        saved = time.monotonic()
        try:
            while n > 0:
                few = min(int(n), CHUNK)
                self._go(few)
                if self._file is not None and time.monotonic() - saved > EVERY:
                    self._save()
                    saved = time.monotonic()
                n -= few
                yield few
        finally:
            if self._file is not None:
                self._save()

    @property
    def elites(self) -> Elites:
        """The best candidate of each cell, as numpy arrays; their genomes in `payload["genome"]`."""
        return jax.tree.map(np.asarray, self._state.elites)

    @property
    def evaluations(self) -> int:
        """How many candidates were tried."""
        return self._founders + (int(self._state.steps) - 1) * self.batch

    @property
    def history(self) -> dict[str, np.ndarray]:
        """How the run stood after each step, as `Search.history` says it, but for the clocks."""
        columns = {name: np.concatenate([getattr(s, name) for s in self._stood]) for name in Stood._fields}
        return {"evaluations": self._founders + self.batch * np.arange(len(columns["best"]))} | columns

    def summary(self) -> dict[str, Any]:
        """How the run stands, in numbers of float64."""
        elites = self.elites
        return {
            "evaluations": self.evaluations,
            "steps": int(self._state.steps),
            "seconds": round(self.seconds, 3),
            "cpu_seconds": round(self.cpu, 3),
            "cells": len(elites.objective),
            "occupied": metrics.occupied(elites),
            "coverage": metrics.coverage(elites),
            "qd_score": metrics.qd_score(elites, self.floor),
            "floor": self.floor,
            "best_objective": metrics.best(elites),
            "mean_objective": metrics.mean_objective(elites),
            "clipped": int(self._state.clipped),
            "refused": int(self._state.refused),
        }

    def _go(self, few: int) -> None:
        """A few steps. Interrupted meanwhile, it stands where it stood before: no buffer is given away."""
        wall, cpu = time.monotonic(), time.process_time()
        state, stood = jax.block_until_ready(self._advance(self._root, self._state, few))
        rows = jax.tree.map(lambda column: np.asarray(column)[:few], stood)
        self._state, self._stood = state, [*self._stood, rows]
        self.seconds += time.monotonic() - wall
        self.cpu += time.process_time() - cpu

    def _about(self) -> dict[str, Any]:
        """What a snapshot says of this search; only one that says the same can go on with it."""
        parts = {"domain": self.domain, "archive": self.archive, "operator": self.operator}
        return {**{name: described(part) for name, part in parts.items()}, "batch": self.batch, "seed": self.seed}

    def _save(self) -> None:
        assert self._file is not None
        columns: dict[str, Any] = _columns(self._state) | {f"history.{name}": x for name, x in self.history.items()}
        columns |= {"about": to_json(self._about()), "clocks": np.array([self.seconds, self.cpu])}
        half = self._file.with_name(self._file.name + ".part")
        with half.open("wb") as file:
            np.savez(file, **columns)
            file.flush()
            os.fsync(file.fileno())
        half.replace(self._file)

    def _load(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"{path.parent} holds no run of a compiled search: there is no {path.name} in it")
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
                columns = {name: kept[name] for name in kept.files}
            was = json.loads(str(columns["about"]))
        except (zipfile.BadZipFile, ValueError, EOFError, KeyError) as error:
            raise RuntimeError(f"{path} cannot be read as the state of a search: {error}") from None
        now = json.loads(to_json(self._about()))
        if was != now:
            part = next(name for name in now if now[name] != was.get(name))
            raise ValueError(f"{path} has {part} = {was.get(part)}, and this search {now[part]}: go on with the same")
        expected = {name: (x.shape, x.dtype) for name, x in _columns(self._state).items()}
        if any((columns[name].shape, columns[name].dtype) != kind for name, kind in expected.items()):
            raise ValueError(f"{path} was made with numbers of another precision: go on with the same")
        self._state = jax.tree.unflatten(
            jax.tree.structure(self._state), [jnp.asarray(columns[name]) for name in expected]
        )
        self._stood = [Stood(*(columns[f"history.{name}"] for name in Stood._fields))]
        self.seconds, self.cpu = columns["clocks"].tolist()


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

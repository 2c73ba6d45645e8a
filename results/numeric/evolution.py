"""Measures the speed, quality and compilation of compiled loops on a sphere, beside pyribs.

    python results/numeric/evolution.py speed      each algorithm and that of pyribs in turns,
                                                   CPU-seconds; ten minutes
    python results/numeric/evolution.py quality    5.4 million evaluations of each algorithm and
                                                   seed that was not yet run; twenty minutes for
                                                   all of them
    python results/numeric/evolution.py compile    the first step, in processes without and with
                                                   a cache; two minutes
    python results/numeric/evolution.py page       writes evolution.md from the stored
                                                   measurements

The first three append a line of JSON for each measurement to `evolution.jsonl`. The task is that
of pyribs' `examples/sphere.py`: 540 candidates a step, 10,000 steps, 100 by 100 cells; strategies
are 15 of 36 candidates, begun at 0 with a sigma of 0.5 (10 for gradients). Published figures are
those of pyribs' page on that script, means and standard deviations of 20 runs. Time is that of the
process on all its cores. pyribs computes in float64 and compiles its arithmetic with numba, which
is done before the clock starts; qdkit computes in float32.
"""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.archives import Grid
from qdkit.core.elites import IMPROVED, NEW, REJECTED, Added, Archive, Elites, insert
from qdkit.core.types import Operator
from qdkit.domains import Sphere
from qdkit.operators import Evolution, GradientArborescence, IsoLine, cma_mae
from qdkit.operators.evolution import cma
from qdkit.search.compiled import CompiledSearch

HERE = Path(__file__).parent
ROWS = HERE / "evolution.jsonl"
SPHERE = Sphere(100)
GRID = Grid((100, 100), SPHERE.bounds)
BATCH, STEPS, SHORT, ROUNDS, SEEDS = 540, 10_000, 186, 5, 5


@dataclass(frozen=True)
class Thresholds(Archive):
    """The cells of `grid` with the thresholds of CMA-MAE and the best candidate of each cell.

    So one archive does what the soft archive and the result archive do in pyribs; restarts, of
    which there are few, begin at the best of a cell instead of the last that passed its threshold.
    """

    grid: Grid
    rate: float = 0.01
    minimum: float = 0.0

    @property
    def cells(self) -> int:
        return self.grid.cells

    @property
    def axes(self) -> int:
        return self.grid.axes

    def cell(self, descriptor: Any) -> jax.Array:
        return self.grid.cell(descriptor)

    def inside(self, descriptor: Any) -> jax.Array:
        return self.grid.inside(descriptor)

    def init(self, payload: Any = 0) -> Elites:
        elites = self.grid.init(payload)
        return replace(
            elites, payload=elites.payload | {"bar": jnp.full(self.cells, self.minimum)}
        )

    def add(
        self, elites: Elites, objective: Any, descriptor: Any, payload: Any
    ) -> tuple[Elites, Added]:
        bars, cells = elites.payload["bar"], self.cells
        riding = {name: column for name, column in elites.payload.items() if name != "bar"}
        after, added = insert(
            replace(elites, payload=riding), self.cell(descriptor), objective, descriptor, payload
        )
        known = added.cell >= 0
        place = jnp.where(known, added.cell, 0)
        passes, vacant = known & (objective > bars[place]), elites.objective[place] == -jnp.inf
        status = jnp.where(passes, jnp.where(vacant, NEW, IMPROVED), REJECTED).astype(jnp.int32)
        count = jax.ops.segment_sum(passes.astype(bars.dtype), place, cells)
        total = jax.ops.segment_sum(jnp.where(passes, objective, 0.0), place, cells)
        stays = (1 - self.rate) ** count  # the batch rule of Fontaine & Nikolaidis 2023
        risen = stays * bars + (1 - stays) * total / jnp.maximum(count, 1)
        after = replace(after, payload=after.payload | {"bar": jnp.where(count > 0, risen, bars)})
        return after, Added(status, jnp.where(known, objective - bars[place], jnp.nan), added.cell)


class Slipped(Evolution):
    """Evolution with two errors of pyribs 0.12 in the update of the covariance.

    There the evolution path is in units of the genome, where the tutorial has it in those of
    sigma, and the rank-one term is weighed by c1 twice.
    """

    def tell(self, state: Any, genomes: Any, objective: Any, descriptor: Any, added: Added) -> Any:
        with patch.object(cma, "learn", slipped):
            return super().tell(state, genomes, objective, descriptor, added)


def slipped(
    strategy: cma.Strategy, x: jax.Array, rank: jax.Array, parents: jax.Array
) -> cma.Strategy:
    """Computes `cma.learn` with the two errors."""
    after = learn(strategy, x, rank, parents)
    *_, cc, _, c1, _, _ = cma.rates(rank, parents, x.shape[1], separable=False)
    kept = (1 - cc) * strategy.pull
    pull = kept + strategy.sigma * (after.pull - kept)
    covariance = (
        after.covariance - c1 * jnp.outer(after.pull, after.pull) + c1**2 * jnp.outer(pull, pull)
    )
    moved = after._replace(pull=pull, covariance=covariance)
    return jax.tree.map(lambda new, old: jnp.where(parents > 0, new, old), moved, after)


learn = cma.learn
MU = {"x0": 0.0, "selection": "mu"}
# Algorithm: our operator and archive, the published QD score, its deviation, and coverage.
ALGORITHMS: dict[str, tuple[Callable[[], Operator], Archive, tuple[float, float, float]]] = {
    "line_map_elites": (lambda: IsoLine(0.5, 0.2), GRID, (491_013.92, 1_118.74, 0.6044)),
    "cma_me_imp": (lambda: Evolution(x0=0.0), GRID, (456_678, 2_882, 0.5584)),
    "cma_me_imp_mu": (lambda: Evolution(**MU), GRID, (498_464, np.nan, 0.6111)),
    "cma_me_basic": (lambda: Evolution(**MU, restart="basic"), GRID, (398_192, np.nan, 0.4704)),
    "cma_me_rd": (
        lambda: Evolution(x0=0.0, ranker="2rd", bounds=SPHERE.bounds),
        GRID,
        (458_404, np.nan, 0.5621),
    ),
    "cma_me_rd_mu": (
        lambda: Evolution(**MU, ranker="2rd", bounds=SPHERE.bounds),
        GRID,
        (512_693, np.nan, 0.6378),
    ),
    "cma_mae": (lambda: cma_mae(x0=0.0), Thresholds(GRID), (633_368.55, 1_504.43, 0.8102)),
    "cma_me_imp, with the slips": (lambda: Slipped(x0=0.0), GRID, (456_678, 2_882, 0.5584)),
    "cma_me_basic, with the slips": (
        lambda: Slipped(**MU, restart="basic"),
        GRID,
        (398_192, np.nan, 0.4704),
    ),
    "cma_mae, with the slips": (
        lambda: Slipped(**MU, ranker="imp", restart="basic"),
        Thresholds(GRID),
        (633_368.55, 1_504.43, 0.8102),
    ),
    "cma_mega": (lambda: GradientArborescence(SPHERE, **MU), GRID, (753_835, np.nan, 1.0)),
    "cma_maega": (
        lambda: GradientArborescence(SPHERE, x0=0.0, ranker="imp", restart="basic"),
        Thresholds(GRID),
        (753_835, np.nan, 1.0),
    ),
}


def scan(name: str, seed: int) -> CompiledSearch:
    """Returns one compiled search of ours, with its seeds evaluated."""
    make, archive, _ = ALGORITHMS[name]
    return CompiledSearch(SPHERE, archive, make(), batch=BATCH, seed=seed)


def theirs(name: str, seed: int) -> Callable[[int], float]:
    """Returns a search of pyribs: a function that makes so many steps and returns the QD score."""
    from ribs.archives import GridArchive
    from ribs.emitters import EvolutionStrategyEmitter, IsoLineEmitter
    from ribs.schedulers import Scheduler

    grid = lambda **more: GridArchive(
        solution_dim=100, dims=(100, 100), ranges=SPHERE.bounds, seed=seed, **more
    )
    soft = name == "cma_mae"
    archive, results = (
        grid(**{"threshold_min": 0, "learning_rate": 0.01} if soft else {}),
        grid() if soft else None,
    )
    if name == "line_map_elites":
        settings = {"x0": np.zeros(100), "iso_sigma": 0.5, "line_sigma": 0.2, "batch_size": BATCH}
        emitters = [
            IsoLineEmitter(archive, lower_bounds=None, upper_bounds=None, seed=seed, **settings)
        ]
    else:
        settings = {"x0": np.zeros(100), "sigma0": 0.5, "batch_size": 36}
        settings |= (
            {"ranker": "imp", "selection_rule": "mu", "restart_rule": "basic"}
            if soft
            else {"ranker": "2imp"}
        )
        emitters = [
            EvolutionStrategyEmitter(archive, seed=100 * seed + i, **settings) for i in range(15)
        ]
    scheduler = Scheduler(archive, emitters, result_archive=results)

    def run(steps: int) -> float:
        for _ in range(steps):
            scheduler.tell(*sphere(scheduler.ask()))
        return float(scheduler.result_archive.stats.qd_score)

    return run


def sphere(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes `Sphere.evaluate` in numpy, for pyribs, without a detour through jax."""
    shift, worst = 0.4 * 5.12, x.shape[1] * (5.12 + 0.4 * 5.12) ** 2
    inside = np.abs(x) <= 5.12
    clipped = np.where(inside, x, 5.12 / np.where(inside, 1.0, x))
    sums = np.stack(
        [clipped[:, : x.shape[1] // 2].sum(1), clipped[:, x.shape[1] // 2 :].sum(1)], 1
    )
    return 100 * (worst - ((x - shift) ** 2).sum(1)) / worst, sums


def write(**row: Any) -> None:
    """Appends a measurement, with the load it was made under, and prints it."""
    line = json.dumps({**row, "load": round(os.getloadavg()[0], 1)})
    with ROWS.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    print(line, flush=True)


def speed() -> None:
    """Measures 100,000 evaluations of each algorithm, ours and pyribs' in turns.

    They begin from an archive that ten steps have filled.
    """
    for name in ("line_map_elites", "cma_me_imp", "cma_mae"):
        for seed in range(ROUNDS):
            run = theirs(name, seed)
            run(10)
            start = time.process_time()
            score = run(SHORT)
            write(
                what="speed",
                algorithm=name,
                who="pyribs",
                seed=seed,
                steps=SHORT,
                qd_score=score,
                cpu=time.process_time() - start,
            )
            search = scan(name, seed).run(10, progress=False)
            before = search.commits[-1].cpu
            search.run(SHORT, progress=False)
            cpu = search.commits[-1].cpu - before
            write(what="speed", algorithm=name, who="qdkit", seed=seed, steps=SHORT, cpu=cpu,
                  qd_score=search.summary()["qd_score"])  # fmt: skip


def quality() -> None:
    """Runs the whole budget of ours, with the missing seeds."""
    for seed in range(SEEDS):
        for name in ALGORITHMS:
            if rows(what="quality", algorithm=name, seed=seed):
                continue
            search = scan(name, seed).run(
                STEPS - 1, progress=False
            )  # the seeds are the first step
            kept = ("evaluations", "qd_score", "coverage", "best_objective", "clipped")
            write(what="quality", algorithm=name, seed=seed, cpu=search.commits[-1].cpu,
                  **{key: search.summary()[key] for key in kept})  # fmt: skip


def first(name: str) -> None:
    """Times one search and its first step, and counts the programs compiled for them.

    For a process of its own.
    """
    jax.random.normal(jax.random.key(0)).block_until_ready()  # jax itself is awake
    compiled: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event)
    )
    start, cpu = time.perf_counter(), time.process_time()
    search = scan(name, 0)
    built = time.perf_counter() - start, time.process_time() - cpu
    search.run(1, progress=False)
    done = time.perf_counter() - start - built[0], time.process_time() - cpu - built[1]
    programs = sum(event.endswith("backend_compile_duration") for event in compiled)
    loop = search._advance.lower(search._root, search._state, 1).compile().as_text()
    print(
        json.dumps(
            {
                "built": built,
                "first": done,
                "programs": programs,
                "kernels": loop.count(" fusion("),
            }
        )
    )


def compile() -> None:
    """Times the first step, without and with the programs that another process compiled."""
    for seed in range(3):
        for name in ("line_map_elites", "cma_me_imp", "cma_mae"):
            with tempfile.TemporaryDirectory() as folder:
                for cached in (False, True):
                    command = [sys.executable, __file__, "first", name]
                    made = subprocess.run(
                        command,
                        check=True,
                        capture_output=True,
                        text=True,
                        env=os.environ | {"XDG_CACHE_HOME": folder},
                    )
                    write(
                        what="compile",
                        algorithm=name,
                        seed=seed,
                        cached=cached,
                        **json.loads(made.stdout),
                    )


def rows(**like: Any) -> list[dict[str, Any]]:
    """Returns the measurements with these keys."""
    every = [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]
    return [row for row in every if all(row.get(key) == value for key, value in like.items())]


def spread(values: list[float], form: str = ",.0f") -> str:
    """Returns the median, and the least and most."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def speeds() -> Iterator[str]:
    """Yields a line for each algorithm that was timed."""
    for name in ALGORITHMS:
        rate = lambda who, name=name: [
            BATCH * row["steps"] / row["cpu"] / 1e3
            for row in rows(what="speed", algorithm=name, who=who)
        ]
        score = lambda who, name=name: [
            row["qd_score"] for row in rows(what="speed", algorithm=name, who=who)
        ]
        if ours := rate("qdkit"):
            ratio = statistics.median(ours) / statistics.median(rate("pyribs"))
            yield (
                f"| {name} | {spread(rate('pyribs'))} | {spread(ours)} | {ratio:.1f} "
                f"| {spread(score('pyribs'))} | {spread(score('qdkit'))} |"
            )


def qualities() -> Iterator[str]:
    """Yields a line for each algorithm that was run to its end."""
    for name, (_, _, (score, deviation, coverage)) in ALGORITHMS.items():
        found = rows(what="quality", algorithm=name)
        if found:
            ours = [row["qd_score"] for row in found]
            mean, own, known = (
                statistics.mean(ours),
                statistics.stdev(ours),
                np.isfinite(deviation),
            )
            noise = 2 * math.hypot(own, deviation if known else own)
            yield (
                f"| {name} | {score:,.0f}{f' ± {deviation:,.0f}' if known else ''} | {mean:,.0f} "
                f"± {own:,.0f} "
                f"| {spread(ours)} | {mean / score - 1:+.2%} | "
                f"{'yes' if abs(mean - score) <= noise else 'no'} "
                f"| {coverage:.1%} | {statistics.median(row['coverage'] for row in found):.1%} | "
                f"{len(found)} |"
            )


def compilations() -> Iterator[str]:
    """Yields a line for each algorithm."""
    for name in ALGORITHMS:
        took = lambda key, clock, cached, name=name: spread(
            [row[key][clock] for row in rows(what="compile", algorithm=name, cached=cached)], ".1f"
        )
        if rows(what="compile", algorithm=name):
            cells = [
                took(key, clock, cached)
                for cached in (False, True)
                for key in ("built", "first")
                for clock in (1, 0)
            ]
            fresh = rows(what="compile", algorithm=name, cached=False)
            kernels = fresh[-1]["kernels"]
            each = 1000 * statistics.median(row["first"][1] for row in fresh) / kernels
            programs = fresh[-1]["programs"]
            yield f"| {name} | {' | '.join(cells)} | {programs} | {kernels} | {each:.0f} |"


PAGE = """# Compiled loops, beside pyribs

Written by `evolution.py` from `evolution.jsonl`; no figure here was typed by hand but an audit's
and the published ones, which are pyribs' own (its page on `examples/sphere.py`, 20 runs). The
sphere of 100 numbers, 540 candidates a step, 100 × 100 cells. Medians, with the least and the
most.

## Thousands of evaluations in a CPU-second

{short:,} evaluations after ten steps to warm up, {rounds} rounds of pyribs and qdkit in turns; and
the QD score then.

| algorithm | pyribs | qdkit | ratio | QD score, pyribs | QD score, qdkit |
|---|--:|--:|--:|--:|--:|
{speeds}

## QD score after 5.4 million evaluations

Means with the standard deviation over seeds, and the median with the least and the most. Within
noise is a mean no further from the published one than 2 √(s² + σ²), where s is the deviation of
our seeds and σ the published one, or s where none is published.

| algorithm | published | qdkit | median | difference | within noise | coverage, published | \
qdkit | seeds |
|---|--:|--:|--:|--:|--:|--:|--:|--:|
{qualities}

CMA-MAE keeps the best of each cell beside the thresholds here, in an archive of this script.
`Thresholds(Grid)` may lose it; an audit found its QD score 5 % less after 248,400 evaluations, and
0.6 % less after 5.4 million.

"With the slips" marks two errors of pyribs 0.12, which differs from the tutorial there (it takes
the evolution path in units of the genome, not of sigma, and weighs the rank-one term by c1 twice);
they were put into our strategies to measure their effect
([docs/pyribs_cma.md](../../docs/pyribs_cma.md)). All strategies here learn a full covariance.

## Seconds to the first step

In a process of its own, with jax loaded: to make the search and try its seeds, and to compile and
make one step; in CPU-seconds and by the clock. First without a cache on disk, then with one. Then
how many programs were compiled for it, how many kernels (fusions of XLA) the loop has, and the
step's CPU-milliseconds without a cache for each of these: each is compiled by itself, and a
strategy's step has more of them.

| algorithm | made, CPU | clock | step, CPU | clock | cached: made | clock | step | clock | \
programs | kernels | ms |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
{compilations}

{machine}
"""


def page() -> None:
    """Writes evolution.md."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("ribs", "jax", "numpy", "numba"))
    loads = [row["load"] for row in rows()]
    machine = (
        f"Python {platform.python_version()}, {versions}; {os.cpu_count()} cores of a "
        f"{platform.machine()} virtual "
        f"machine, shared with others (load {min(loads)} to {max(loads)}), no GPU."
    )
    text = PAGE.format(
        short=SHORT * BATCH,
        rounds=ROUNDS,
        speeds="\n".join(speeds()),
        qualities="\n".join(qualities()),
        compilations="\n".join(compilations()),
        machine=machine,
    )
    (HERE / "evolution.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    jobs: dict[str, Callable[..., None]] = {
        "speed": speed,
        "quality": quality,
        "compile": compile,
        "first": first,
        "page": page,
    }
    if len(sys.argv) < 2 or sys.argv[1] not in jobs:
        sys.exit(f"say what to do: {', '.join(jobs)}\n{__doc__}")
    jobs[sys.argv[1]](*sys.argv[2:])

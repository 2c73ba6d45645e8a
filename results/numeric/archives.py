"""How many candidates a CPU-second puts into an archive, beside pyribs in the same run: writes archives.md.

    python results/numeric/archives.py            about ten minutes, one process
    python results/numeric/archives.py --quick    two rounds of the grids and the smaller CVT, printed only

Every round gives both libraries the same batches, one library after the other, from an empty archive
(the novelty archives from a filled one). Time is that of the process on all its cores. qdkit counts
in float32, its default for compiled runs, and pyribs in float64, its own. qdkit is measured twice: as
a compiled search uses it, candidates on the device and `update`, and with numpy arrays and `add`,
which keeps the elites it was given and so copies all cells at every call.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from qdkit.archives import CVT, Grid
from qdkit.elites import Archive

HERE = Path(__file__).parent
BOX = ((0.0, 1.0), (0.0, 1.0))
BATCHES = {64: 300, 1_000: 80, 10_000: 15, 100_000: 4}  # rows of a batch: how many batches a round adds
Batches = list[tuple[np.ndarray, np.ndarray, np.ndarray]]  # objective, descriptor, solution


class Case(NamedTuple):
    """One line of the table: what is filled, by how many rows at a time, and what it should be, beside pyribs."""

    name: str
    dim: int
    batch: int
    target: float
    ours: Callable[[], Archive]
    theirs: Callable[[], Any]


class Rates(NamedTuple):
    """Candidates a CPU-second, one entry for each round."""

    theirs: list[float]
    update: list[float]
    add: list[float]


def grids() -> Iterator[Case]:
    """Grids of 1,024 and 10,000 cells."""
    from ribs.archives import GridArchive

    for side in (32, 100):
        for dim in (10, 100):
            for batch in BATCHES:
                ours = lambda side=side: Grid((side, side), BOX)
                theirs = lambda side=side, dim=dim: GridArchive(solution_dim=dim, dims=(side, side), ranges=BOX)
                yield Case(f"grid {side} × {side}", dim, batch, 3.0 if batch == 64 else 4.0, ours, theirs)


def cvts(quick: bool) -> Iterator[Case]:
    """Centroids spread by k-means."""
    from ribs.archives import CVTArchive

    spread = cache(lambda cells: CVT.spread(cells, BOX))
    for cells in (1_000,) if quick else (1_000, 10_000):
        for batch in BATCHES:
            ours = lambda cells=cells: spread(cells)
            theirs = lambda cells=cells: CVTArchive(solution_dim=10, centroids=spread(cells).centroids, ranges=BOX)
            yield Case(f"CVT {cells:,}", 10, batch, 4.0, ours, theirs)


def batches(case: Case) -> Batches:
    """Uniform descriptors and normal objectives, the same for each round."""
    random, n = np.random.default_rng(0), case.batch
    draw = lambda: (random.normal(size=n), random.random((n, 2)), random.normal(size=(n, case.dim)))
    return [draw() for _ in range(BATCHES[n])]


def timed(act: Callable[[], Any], rows: int) -> float:
    """Rows a CPU-second."""
    start = time.process_time()
    jax.block_until_ready(act())
    return rows / (time.process_time() - start)


def add(archive: Archive, how: str, elites: Any, rows: Any) -> Any:
    """Adds every batch, by `add` or by `update`."""
    for objective, descriptor, solution in rows:
        elites, added = getattr(archive, how)(elites, objective, descriptor, solution)
    return elites, added


def theirs(archive: Any, rows: Batches) -> None:
    """Adds every batch."""
    for objective, descriptor, solution in rows:
        archive.add(solution, objective, descriptor)


def measured(case: Case, rounds: int) -> tuple[Rates, float]:
    """The rates of each round, and the CPU-seconds of the first call, which compiles."""
    double = batches(case)
    single = [tuple(column.astype(np.float32) for column in batch) for batch in double]
    on_device = jax.block_until_ready(jax.device_put(single))
    archive, rows = case.ours(), case.batch * len(double)
    init = lambda: jax.block_until_ready(archive.init(np.zeros(case.dim, np.float32)))
    elites = init()
    compiling = case.batch / timed(lambda: archive.update(elites, *on_device[0]), case.batch)
    add(archive, "add", init(), single[:1])
    rates = Rates([], [], [])
    for _ in range(rounds):
        other, elites = case.theirs(), init()
        rates.theirs.append(timed(lambda other=other: theirs(other, double), rows))
        rates.update.append(timed(lambda elites=elites: add(archive, "update", elites, on_device), rows))
        elites = init()
        rates.add.append(timed(lambda elites=elites: add(archive, "add", elites, single), rows))
    return rates, compiling


def figure(rates: list[float]) -> str:
    """The median, and the least and most, in thousands a CPU-second."""
    return f"{statistics.median(rates) / 1e3:,.0f} ({min(rates) / 1e3:,.0f} to {max(rates) / 1e3:,.0f})"


def line(case: Case, rates: Rates, compiling: float) -> str:
    """One row of the table."""
    over = lambda mine: statistics.median(mine) / statistics.median(rates.theirs)
    met = "met" if over(rates.update) >= case.target else "missed"
    return (
        f"| {case.name} | {case.dim} | {case.batch:,} | {figure(rates.theirs)} | {figure(rates.update)} | {figure(rates.add)} "
        f"| {over(rates.update):.1f} | {over(rates.add):.1f} | {case.target:.0f}, {met} | {compiling:.2f} |"
    )


HEAD = """| archive | numbers | batch | pyribs | qdkit, `update` | qdkit, `add` | ratio | ratio of `add` | target | first call, CPU-s |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"""


def main() -> None:
    """Measures, prints each line as it comes, and writes the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    lines = []
    print(HEAD, flush=True)
    for case in [*grids(), *cvts(quick)]:
        lines.append(line(case, *measured(case, 2 if quick else 7)))
        print(lines[-1], flush=True)
    if not quick:
        versions = ", ".join(f"{name} {version(name)}" for name in ("ribs", "jax", "numpy", "scipy"))
        machine = (
            f"Python {platform.python_version()}, {versions}; a 2-core {platform.machine()} virtual machine, shared."
        )
        (HERE / "archives.md").write_text("\n".join([HEAD, *lines, "", machine, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()

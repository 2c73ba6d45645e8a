"""How many candidates a CPU-second puts into an archive, beside pyribs in the same run: writes archives.md.

python results/numeric/archives.py            about ten minutes, one process
python results/numeric/archives.py --quick    two rounds without the larger CVT, printed only
"""

from __future__ import annotations

import argparse
import copy
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.archives import CVT, Grid, Novelty
from qdkit.elites import Archive

HERE = Path(__file__).parent
ROUNDS = 7
WORDS = """# Adding to an archive, beside pyribs

Candidates a CPU-second in thousands: the median of {rounds} rounds, with the least and the most. Every round
gives both libraries the same batches, one library after the other, from an empty archive; the novelty
archives begin with about 25,000 candidates, and those of a round are nearly all refused. Time is that of
the process on all its cores. qdkit counts in float32, as in its compiled runs, and pyribs in float64,
each by its default. qdkit is measured twice: as a compiled loop uses it, with candidates on the device
and `update`; and with numpy arrays and `add`, which keeps the elites that it was given, and so copies
all cells at every call. The target is for the first of these. The last column is the first call, which
compiles and, for a CVT, builds its table. Descriptors are uniform in the unit square; CVT centroids
are spread by k-means.

{table}

{verdict}

{machine} `python results/numeric/archives.py` writes this page.
"""
WHY = {
    "grid": "where a grid misses it, a call is short, and what it costs whatever its size weighs most",
    "CVT": "where a CVT misses it, a call is short, and what it costs whatever its size weighs most",
    "novelty": "the novelty archives measure the distances to all that is stored, exactly and in arrays that "
    "keep their shape, where pyribs asks a tree",
}
BOX = ((0.0, 1.0), (0.0, 1.0))
BATCHES = {64: 300, 1_000: 80, 10_000: 15, 100_000: 4}  # rows of a batch: how many batches a round adds
FILLED = 60  # batches of a thousand that go into a novelty archive first
Batches = list[tuple[np.ndarray, np.ndarray, np.ndarray]]  # objective, descriptor, solution


class Case(NamedTuple):
    """One line of the table: what is filled, by how many rows at a time, and the multiple of pyribs' rate to reach."""

    name: str
    dim: int
    batch: int
    target: float
    ours: Callable[[], Archive]
    theirs: Callable[[], Any]
    first: int = 0  # batches that are added before, outside the count


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


def novelties() -> Iterator[Case]:
    """Archives without cells that hold about 25,000."""
    from ribs.archives import ProximityArchive

    for competition in (False, True):
        given = {"k_neighbors": 15, "novelty_threshold": 0.01, "local_competition": competition}
        ours = lambda competition=competition: Novelty(2, 2**15, 15, 0.01, competition)
        theirs = lambda given=given: ProximityArchive(solution_dim=10, measure_dim=2, **given)
        yield Case("novelty" + ", competition" * competition, 10, 1_000, 2.0, ours, theirs, FILLED)


def batches(case: Case) -> tuple[Batches, Batches]:
    """Uniform descriptors and normal objectives, the same for each round: those that go first, and those of a round."""
    random, n = np.random.default_rng(0), case.batch
    draw = lambda: (random.normal(size=n), random.random((n, 2)), random.normal(size=(n, case.dim)))
    return [draw() for _ in range(case.first)], [draw() for _ in range(5 if case.first else BATCHES[n])]


def timed(act: Callable[[], Any], rows: int) -> float:
    """Rows a CPU-second."""
    start = time.process_time()
    jax.block_until_ready(act())
    return rows / (time.process_time() - start)


def ours(archive: Archive, how: str, elites: Any, rows: Any) -> Any:
    """The elites after every batch, by `add` or by `update`."""
    for objective, descriptor, solution in rows:
        elites, _ = getattr(archive, how)(elites, objective, descriptor, solution)
    return elites


def theirs(archive: Any, rows: Batches) -> Any:
    """The archive after every batch."""
    for objective, descriptor, solution in rows:
        archive.add(solution, objective, descriptor)
    return archive


def measured(case: Case, rounds: int) -> tuple[Rates, float]:
    """The rates of each round, and the CPU-seconds of the first call, which compiles."""
    first, double = batches(case)
    narrow = lambda some: [tuple(column.astype(np.float32) for column in batch) for batch in some]
    single = narrow(double)
    on_device = jax.block_until_ready(jax.device_put(single))
    archive, rows = case.ours(), case.batch * len(double)
    empty = archive.init(np.zeros(case.dim, np.float32))
    fresh = lambda elites: jax.block_until_ready(jax.tree.map(jnp.copy, elites))
    compiling = case.batch / timed(lambda: archive.update(fresh(empty), *on_device[0]), case.batch)
    begun, other = ours(archive, "update", fresh(empty), narrow(first)), theirs(case.theirs(), first)
    ours(archive, "add", begun, single[:1])
    rates = Rates([], [], [])
    for _ in range(rounds):
        their_own, elites = copy.deepcopy(other), fresh(begun)
        rates.theirs.append(timed(lambda a=their_own: theirs(a, double), rows))
        rates.update.append(timed(lambda e=elites: ours(archive, "update", e, on_device), rows))
        rates.add.append(timed(lambda: ours(archive, "add", begun, single), rows))
    return rates, compiling


def figure(rates: list[float]) -> str:
    """The median, and the least and most, in thousands a CPU-second."""
    return f"{statistics.median(rates) / 1e3:,.0f} ({min(rates) / 1e3:,.0f} to {max(rates) / 1e3:,.0f})"


def over(rates: Rates, mine: list[float]) -> float:
    """How many times the rate of pyribs."""
    return statistics.median(mine) / statistics.median(rates.theirs)


def line(case: Case, rates: Rates, compiling: float) -> str:
    """One row of the table."""
    update, added = over(rates, rates.update), over(rates, rates.add)
    target = f"{case.target:.0f}, {'met' if update >= case.target else 'missed'}"
    cells = (case.name, case.dim, f"{case.batch:,}", *map(figure, rates), f"{update:.1f}", f"{added:.1f}", target)
    return f"| {' | '.join(map(str, cells))} | {compiling:.2f} |"


def verdict(met: list[tuple[str, bool]]) -> str:
    """How many targets were met, and why the others were not."""
    missed = [why for kind, why in WHY.items() if any(kind in name and not ok for name, ok in met)]
    return "; ".join([f"{sum(ok for _, ok in met)} of {len(met)} targets are met", *missed]) + "."


COLUMNS = "archive|numbers|batch|pyribs|qdkit, `update`|qdkit, `add`|ratio|ratio of `add`|target|first call, CPU-s"
HEAD = f"| {COLUMNS.replace('|', ' | ')} |\n|---{'|--:' * COLUMNS.count('|')}|"


def main() -> None:
    """Measures, prints each line as it comes, and writes the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    rounds, lines, met = 2 if quick else ROUNDS, [HEAD], []
    print(HEAD, flush=True)
    for case in [*grids(), *cvts(quick), *novelties()]:
        rates, compiling = measured(case, rounds)
        met.append((case.name, over(rates, rates.update) >= case.target))
        lines.append(line(case, rates, compiling))
        print(lines[-1], flush=True)
    if quick:
        return
    versions = ", ".join(f"{name} {version(name)}" for name in ("ribs", "jax", "numpy", "scipy"))
    machine = f"Python {platform.python_version()}, {versions}; a 2-core {platform.machine()} machine, shared."
    page = WORDS.format(rounds=rounds, table="\n".join(lines), verdict=verdict(met), machine=machine)
    (HERE / "archives.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()

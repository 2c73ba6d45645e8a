"""Measures how many candidates a CPU-second adds to an archive, beside pyribs: writes archives.md.

    python results/numeric/archives.py                all archives, in one process; half an hour
    python results/numeric/archives.py grid           those that begin so: grid, CVT or novelty
    python results/numeric/archives.py page           only the page, from the stored measurements
    python results/numeric/archives.py grid --quick   two rounds, printed only
    python results/numeric/archives.py --all-cores    short batches, in a process that may use
                                                      all cores

A measurement replaces the lines of the same archive in `archives.jsonl`, one for each round; the
page is made from all lines there.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rounds import Row, here, keep, kinds, on_one_core, places, ratio, read, spread

from qdkit.archives import CVT, Grid, Novelty
from qdkit.core.elites import Archive

HERE = Path(__file__).parent
ROWS = HERE / "archives.jsonl"
ROUNDS, PASSES = 7, 5
WORDS = """# Adding to an archive, beside pyribs

Candidates a CPU-second in thousands: the median of the rounds, with the least and the most. Every
round gives both libraries the same batches, one library after the other, from an empty archive,
qdkit {passes} times over, as its time would be too short to tell; the novelty archives begin with
about 25,000 candidates, and those of a round are nearly all refused. The process is bound to one
core. qdkit counts in float32, as in its compiled runs, and pyribs in float64, each by its default.
qdkit is measured twice: as a compiled loop uses it, with candidates on the device and `update`;
and with numpy arrays and `add`, which keeps the elites that it was given, and so copies all cells
at every call. The target is for the first of these. The last column is the first call, which
compiles and, for a CVT, builds its table. Descriptors are uniform in the unit square; CVT
centroids are spread by k-means.

{table}

{verdict}{cells}{free}

{machine} `python results/numeric/archives.py` measures all this and writes this page.
"""
FREE = """

## On all cores

Short batches again, in a process that is not bound: XLA hands parts of a call to other threads,
which wait for more by spinning. That takes up to twice the CPU, and no less time by the clock.

{table}"""
SHORT = 64  # rows of a batch that is measured on all cores too
CELLS = """

The cell of a CVT is the nearest centroid's, and brute force in float64 says the same of
{told}.{apart}"""
APART = """ Where the
two differ, the chosen centroid is farther than the nearest by {worst:.0e} of the distance at most:
they are ties in float32."""
WHY = {
    "grid": "a call is short, and what it costs whatever its size weighs most",
    "CVT": "a call is short, and what it costs whatever its size weighs most",
    "novelty": "the nearest are found in arrays that keep their shape, where pyribs asks a tree",
}
BOX = ((0.0, 1.0), (0.0, 1.0))
BATCHES = {
    64: 300,
    1_000: 80,
    10_000: 15,
    100_000: 4,
}  # rows of a batch: how many batches a round adds
FILLED = 60  # batches of a thousand that go into a novelty archive first
POINTS = 200_000  # descriptors of which brute force is asked for the cell
Batches = list[tuple[np.ndarray, np.ndarray, np.ndarray]]  # objective, descriptor, solution

spread_out = cache(lambda cells: CVT.spread(cells, BOX))


class Case(NamedTuple):
    """One line of the table: an archive, its batch size, and the aimed multiple of pyribs."""

    name: str
    dim: int
    batch: int
    target: float
    ours: Callable[[], Archive]
    theirs: Callable[[], Any]
    first: int = 0  # batches that are added before, outside the count


def cases() -> Iterator[Case]:
    """Returns all cases, in the order of the table."""
    yield from grids()
    yield from cvts()
    yield from novelties()


def grids() -> Iterator[Case]:
    """Grids of 1,024 and 10,000 cells."""
    from ribs.archives import GridArchive

    for side in (32, 100):
        for dim in (10, 100):
            for batch in BATCHES:
                ours = lambda side=side: Grid((side, side), BOX)
                theirs = lambda side=side, dim=dim: GridArchive(
                    solution_dim=dim, dims=(side, side), ranges=BOX
                )
                yield Case(
                    f"grid {side} × {side}", dim, batch, 3.0 if batch == 64 else 4.0, ours, theirs
                )


def cvts() -> Iterator[Case]:
    """Centroids spread by k-means."""
    from ribs.archives import CVTArchive

    for cells in (1_000, 10_000):
        for batch in BATCHES:
            ours = lambda cells=cells: spread_out(cells)
            theirs = lambda cells=cells: CVTArchive(
                solution_dim=10, centroids=spread_out(cells).centroids, ranges=BOX
            )
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
    """Returns uniform descriptors and normal objectives, the same for each round.

    They are those that go first, and those of a round.
    """
    random, n = np.random.default_rng(0), case.batch
    draw = lambda: (
        random.normal(size=n),
        random.random((n, 2)),
        random.normal(size=(n, case.dim)),
    )
    return [draw() for _ in range(case.first)], [
        draw() for _ in range(5 if case.first else BATCHES[n])
    ]


def timed(act: Callable[[], Any], rows: int) -> float:
    """Rows a CPU-second."""
    start = time.process_time()
    jax.block_until_ready(act())
    return rows / (time.process_time() - start)


def ours(archive: Archive, how: str, elites: Any, rows: Any) -> Any:
    """Returns the elites after every batch, by `add` or by `update`."""
    for objective, descriptor, solution in rows:
        elites, _ = getattr(archive, how)(elites, objective, descriptor, solution)
    return elites


def theirs(archive: Any, rows: Batches) -> Any:
    """Returns the archive after every batch."""
    for objective, descriptor, solution in rows:
        archive.add(solution, objective, descriptor)
    return archive


def measured(case: Case, rounds: int) -> list[Row]:
    """Yields a row for each round.

    `first` is the CPU-seconds of the first call, which compiles.
    """
    first, double = batches(case)
    narrow = lambda some: [tuple(column.astype(np.float32) for column in batch) for batch in some]
    single = narrow(double)
    on_device = jax.block_until_ready(jax.device_put(single))
    archive, rows = case.ours(), case.batch * len(double)
    empty = archive.init(np.zeros(case.dim, np.float32))
    fresh = lambda elites: jax.block_until_ready(jax.tree.map(jnp.copy, elites))
    compiling = case.batch / timed(lambda: archive.update(fresh(empty), *on_device[0]), case.batch)
    begun, other = (
        ours(archive, "update", fresh(empty), narrow(first)),
        theirs(case.theirs(), first),
    )
    (
        ours(archive, "add", begun, single[:1]),
        theirs(copy.deepcopy(other), double[:1]),
    )  # both are awake now
    about = {
        "what": "add",
        "archive": case.name,
        "numbers": case.dim,
        "batch": case.batch,
        "target": case.target,
    }
    found = []
    for number in range(rounds):
        their_own, many = copy.deepcopy(other), [fresh(begun) for _ in range(PASSES)]
        rates = {
            "pyribs": timed(lambda a=their_own: theirs(a, double), rows),
            "update": timed(
                lambda m=many: [ours(archive, "update", e, on_device) for e in m], PASSES * rows
            ),
            "add": timed(
                lambda: [ours(archive, "add", begun, single) for _ in range(PASSES)], PASSES * rows
            ),
        }
        found.append({**about, "round": number, **rates, "first": compiling, **place()})
    return found


def place() -> Row:
    """Returns the machine and the versions."""
    return here("ribs", "jax", "numpy", "scipy")


def compared(cells: int) -> Row:
    """Returns the cells of a CVT beside those of brute force in float64."""
    archive = spread_out(cells)
    descriptor = np.random.default_rng(1).random((POINTS, 2)).astype(np.float32)
    cell, centroids = (
        np.asarray(archive.cell(descriptor)),
        np.asarray(archive.centroids, np.float64),
    )
    equal, worst = 0, 0.0
    for some in np.split(np.arange(POINTS), 200):
        apart = np.sqrt(((descriptor[some, None].astype(np.float64) - centroids) ** 2).sum(-1))
        least, taken = apart.min(1), apart[np.arange(len(some)), cell[some]]
        equal += int((cell[some] == apart.argmin(1)).sum())
        worst = max(worst, float((taken / least - 1).max()))
    about = {"what": "cells", "archive": f"CVT {cells:,}"}
    return {**about, "points": POINTS, "equal": equal, "worst": worst, **place()}


def thousands(rates: list[float]) -> str:
    """Returns the median, and the least and most, in thousands a CPU-second."""
    return spread([rate / 1e3 for rate in rates])


def line(rows: list[Row]) -> str:
    """One row of the table, of the rounds of a case."""
    case, update, added = rows[0], ratio(rows, "update", "pyribs"), ratio(rows, "add", "pyribs")
    rates = [thousands([row[who] for row in rows]) for who in ("pyribs", "update", "add")]
    target = f"{case['target']:.0f}, {'met' if update >= case['target'] else 'missed'}"
    cells = (
        case["archive"],
        case["numbers"],
        f"{case['batch']:,}",
        *rates,
        f"{update:.1f}",
        f"{added:.1f}",
        target,
    )
    return f"| {' | '.join(map(str, cells))} | {case['first']:.2f} |"


def verdict(lines: list[list[Row]]) -> str:
    """Returns a sentence on how many targets were met, and why the others were not."""
    met = [
        (rows[0]["archive"], ratio(rows, "update", "pyribs") >= rows[0]["target"])
        for rows in lines
    ]
    kinds = [kind for kind in WHY if any(name.startswith(kind) and not ok for name, ok in met)]
    why = dict.fromkeys(WHY[kind] for kind in kinds)
    missed = [
        f"where {' or '.join(kind for kind in kinds if WHY[kind] == one)} misses it, {one}"
        for one in why
    ]
    return "; ".join([f"{sum(ok for _, ok in met)} of {len(met)} targets are met", *missed]) + "."


COLUMNS = (
    "archive|numbers|batch|pyribs|qdkit, `update`|qdkit, `add`|ratio|ratio of `add`|target|"
    "first call, CPU-s"
)
HEAD = f"| {COLUMNS.replace('|', ' | ')} |\n|---{'|--:' * COLUMNS.count('|')}|"


def page() -> str:
    """Returns the page, of every line in `archives.jsonl`."""
    lines, cells = (
        kinds(read(ROWS, what="add"), "archive", "numbers", "batch"),
        read(ROWS, what="cells"),
    )
    told = " and ".join(
        f"{row['equal']:,} of {row['points']:,} points ({row['archive']})" for row in cells
    )
    worst = max((row["worst"] for row in cells), default=0.0)
    exact = (
        CELLS.format(told=told, apart=APART.format(worst=worst) if worst else "") if cells else ""
    )
    table = lambda lines: "\n".join([HEAD, *map(line, lines)])
    unbound = kinds(read(ROWS, what="all cores"), "archive", "numbers", "batch")
    told = {
        "verdict": verdict(lines),
        "cells": exact,
        "free": FREE.format(table=table(unbound)) if unbound else "",
    }
    return WORDS.format(passes=PASSES, table=table(lines), machine=places(read(ROWS)), **told)


def main() -> None:
    """Measures, prints each line as it comes, keeps its rounds, and writes the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "names", nargs="*", default=[""], help="how the names of what is measured begin, or page"
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument(
        "--all-cores",
        action="store_true",
        help="short batches alone, in a process that is not bound",
    )
    asked = parser.parse_args()
    what = "all cores" if asked.all_cores else "add"
    if not asked.all_cores:
        on_one_core()
    chosen = lambda name: name.lower().startswith(tuple(start.lower() for start in asked.names))
    if not any(chosen(name) for name in ("page", *(case.name for case in cases()))):
        parser.error(
            f"nothing that is measured begins with {' or '.join(asked.names)}: name grid, CVT or "
            f"novelty"
        )
    for case in (
        case for case in cases() if chosen(case.name) and (what == "add" or case.batch == SHORT)
    ):
        rows = [row | {"what": what} for row in measured(case, 2 if asked.quick else ROUNDS)]
        print(line(rows), flush=True)
        if not asked.quick:
            keep(ROWS, rows, what=what, archive=case.name, numbers=case.dim, batch=case.batch)
    for cells in () if asked.quick or asked.all_cores else (1_000, 10_000):
        if chosen(name := f"CVT {cells:,}"):
            keep(ROWS, [compared(cells)], what="cells", archive=name)
    if not asked.quick:
        (HERE / "archives.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()

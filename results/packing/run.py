"""Measures how soon three searches reach the best known packings: writes README.md.

Run as `python results/packing/run.py`; about 15 CPU-minutes, one process, no accelerator.
"""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Iterator
from importlib.metadata import version
from itertools import product
from pathlib import Path

import jax
import numpy as np

from qdkit.archives.grid import Grid
from qdkit.core.elites import double, sample
from qdkit.domains.mathematics.circle_packing import CirclePacking, sides
from qdkit.domains.mathematics.circle_solver import (
    AFRESH,
    LANES,
    NEARBY,
    Best,
    Found,
    basin_hopping,
    multistart,
    relax,
    relocate,
)

HERE = Path(__file__).parent
TARGETS = {26: 2.63598, 32: 2.93957}
SEEDS = {"basin hopping": 10, "archive": 10, "multistart": 3}
LIMIT = 60.0  # CPU-seconds of a search


def archive(n: int, seed: int) -> Iterator[Found]:
    """Runs basin hopping from every elite of a 10 × 10 grid of radius spread × share on the sides.

    Objective and descriptor are those of the relaxed circles; only a record is tightened.
    """
    random, best = np.random.default_rng(seed), Best(n)
    grid = Grid((10, 10), ((0.0, 0.6), (0.2, 0.9)))
    with double():
        elites = grid.init(np.zeros((n, 2)))
    circles, key = relax(random.random((LANES, n, 2)), AFRESH), jax.random.key(seed)
    for turn in range(10**9):
        best.of(circles, best.value)
        yield best.found()
        r = circles[..., 2]
        on_side = [(sides(c[:, :2]) - c[:, 2] < 1e-3).mean() for c in circles]
        with double():
            elites, _ = grid.add(
                elites, r.sum(1), np.stack([r.std(1) / r.mean(1), on_side], 1), circles[..., :2]
            )
            cells = sample(jax.random.fold_in(key, turn), elites, LANES)
            parents = np.asarray(elites.payload[cells])
        moved = relocate(random, parents.reshape(LANES, -1)).reshape(LANES, n, 2)
        circles = relax(moved, NEARBY)


SEARCHES = {"basin hopping": basin_hopping, "archive": archive, "multistart": multistart}


def measure(search: str, n: int, seed: int) -> dict[str, object]:
    """Runs until the target is reached, or the limit.

    The value is the referee's, of the centres.
    """
    for found in SEARCHES[search](n, seed):
        if found.value > TARGETS[n] or found.seconds > LIMIT:
            break
    value = CirclePacking(n).score(found.centres).objective
    row = {
        "search": search,
        "n": n,
        "seed": seed,
        "seconds": found.seconds,
        "layouts": found.layouts,
        "value": value,
    }
    print(json.dumps(row), flush=True)
    return row


def table(rows: list[dict]) -> str:
    """Returns the table, in Markdown."""
    lines = [
        "| n | search | reached | CPU-s, median (least to most) | layouts, median | best | worst |"
    ]
    lines += ["|--:|---|--:|--:|--:|--:|--:|"]
    for n, search in product(TARGETS, SEARCHES):
        mine = [r for r in rows if (r["n"], r["search"]) == (n, search)]
        if not mine:
            continue
        seconds, values = [r["seconds"] for r in mine], [r["value"] for r in mine]
        reached = sum(v >= TARGETS[n] for v in values)
        layouts = statistics.median(r["layouts"] for r in mine)
        spread = f"{statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"
        lines.append(
            f"| {n} | {search} | {reached} of {len(mine)} | {spread} | {layouts:.0f} "
            f"| {max(values):.10f} | {min(values):.10f} |"
        )
    return "\n".join(lines)


def verdict(rows: list[dict]) -> str:
    """Returns what the archive contributed, one sentence for each number of circles."""
    said = []
    for n in TARGETS:
        mine = {
            s: [r["seconds"] for r in rows if (r["n"], r["search"]) == (n, s)]
            for s in ("archive", "basin hopping")
        }
        if all(mine.values()):
            ratio = statistics.median(mine["archive"]) / statistics.median(mine["basin hopping"])
            said.append(
                f"at {n} circles its median run took {ratio:.1f} times the CPU-seconds of basin "
                f"hopping"
            )
    told = (
        "What the archive contributed as a way to the single best packing: "
        f"{'; '.join(said) or 'not measured yet'}."
    )
    sure = [
        f"{search} at {n} circles"
        for n, search in product(TARGETS, SEARCHES)
        if (mine := [r for r in rows if (r["n"], r["search"]) == (n, search)])
        and all(r["value"] >= TARGETS[n] for r in mine)
    ]
    winners = " and by ".join(sure) or "none of them"
    return f"{told} On every seed the target was reached by {winners} alone."


def main() -> None:
    """Measures what `rows.jsonl` does not hold yet, and writes the table after each search."""
    path = HERE / "rows.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(r["search"], r["n"], r["seed"]) for r in rows}
    for n in TARGETS:
        next(multistart(n, 0))  # compiles, which is not counted
    for search, n in product(SEARCHES, TARGETS):
        for seed in range(SEEDS[search]):
            if (search, n, seed) not in done:
                rows.append(measure(search, n, seed))
                with path.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
                write(rows)
    write(rows)


def write(rows: list[dict]) -> None:
    """Writes README.md: the text of about.md, with the table and the machine."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("jax", "numpy", "scipy"))
    machine = (
        f"Python {platform.python_version()}, {versions}; "
        f"a 2-core {platform.machine()} virtual machine, shared."
    )
    text = (HERE / "about.md").read_text(encoding="utf-8")
    text = text.replace("{table}", table(rows)).replace("{verdict}", verdict(rows))
    (HERE / "README.md").write_text(text.replace("{machine}", machine), encoding="utf-8")


if __name__ == "__main__":
    main()

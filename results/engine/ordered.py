"""Measures what ordered commits cost on many workers: writes ordered.md.

    python3 results/engine/ordered.py

Three parts. `shares` plays the rule of `qdkit.search.concurrency` through in simulated time: a
step starts once it may (`ahead`) and a worker is free, and is committed when all before it are.
`own` measures what a step costs the search's own thread, with a domain that costs nothing. `stale`
searches the same evaluations with steps that start from older and older states.
"""

from __future__ import annotations

import heapq
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from qdkit import Search, Workers
from qdkit.archives import Grid
from qdkit.domains import Arm
from qdkit.operators import IsoLine

HERE = Path(__file__).parent
SEEDS = 5
EACH = 40  # evaluations a worker makes in a simulation
TIMES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "all alike": lambda random, n: np.ones(n),
    "0.3 + Exp(0.7)": lambda random, n: 0.3 + random.exponential(0.7, n),
    "lognormal, σ 1": lambda random, n: random.lognormal(-0.5, 1.0, n),
    "1 % take 20 times as long": lambda random, n: (
        np.where(random.random(n) < 0.01, 20.0, 1.0) / 1.19
    ),
}


def busy(times: np.ndarray, workers: int, ahead: float) -> float:
    """Returns the share of their time in which the workers work, until the last start.

    There is no order where `ahead` is infinite.

    times: `[n]`, of the evaluations in the order of their starts, whose mean is the unit of time.
    """
    free = [0.0] * workers  # when each worker is free
    heapq.heapify(free)
    committed = np.zeros(len(times))  # when each was committed
    now, begun = 0.0, np.zeros(len(times))
    for i, each in enumerate(times):
        may = committed[int(i - ahead)] if i >= ahead else 0.0
        begun[i] = now = max(now, heapq.heappop(free), may)
        heapq.heappush(free, now + each)
        committed[i] = max(committed[i - 1] if i else 0.0, now + each)
    end = begun[-1]
    return float(np.minimum(times, end - begun).sum() / (workers * end))


def shares() -> list[dict[str, object]]:
    """Returns the busy share by number of workers, kind of times, and `ahead`."""
    rows = []
    for name, draw in TIMES.items():
        for workers in (16, 100, 1000):
            row: dict[str, object] = {"times": name, "workers": workers}
            for ahead in (1, 2, 4, 8, np.inf):
                found = [
                    busy(draw(np.random.default_rng(s), EACH * workers), workers, ahead * workers)
                    for s in range(SEEDS)
                ]
                row["no order" if ahead == np.inf else f"{ahead} ×"] = found
            rows.append(row)
    return rows


def own() -> list[dict[str, object]]:
    """Returns CPU milliseconds of the search's thread for a candidate, by batch.

    The arm itself costs some microseconds.
    """
    rows = []
    for batch in (1, 4, 16, 64, 256):
        found = []
        for seed in range(3):
            arm = Arm(12)
            search = Search(
                arm, Grid((50, 50), arm.bounds), IsoLine(0.1, 0.2), batch=batch, seed=seed
            )
            search.run(60, progress=False)  # compiled by then
            start, made = time.process_time(), search.commits[-1].evaluations
            search.run(300, progress=False)
            found.append(
                1000 * (time.process_time() - start) / (search.commits[-1].evaluations - made)
            )
        rows.append({"batch": batch, "ms": found})
    return rows


def stale() -> list[dict[str, object]]:
    """Returns the QD score of 16,000 evaluations by 16 at a time.

    It is measured by how many steps a start may be ahead of the last commit.
    """
    rows = []
    for ahead in (1, 63, 125, 250, 500):
        found = []
        for seed in range(SEEDS):
            arm = Arm(12)
            search = Search(
                arm,
                Grid((50, 50), arm.bounds),
                IsoLine(0.1, 0.2),
                batch=16,
                seed=seed,
                workers=Workers(ahead=ahead),
            )
            found.append(search.run(1000, progress=False).summary()["qd_score"])
        rows.append({"ahead": ahead, "qd": found})
    return rows


def spread(values: list[float], form: str) -> str:
    """Returns the median before the least and the most."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def page(found: dict[str, list[dict[str, object]]]) -> str:
    """Returns the tables."""
    versions = ", ".join(f"{name} {__import__(name).__version__}" for name in ("jax", "numpy"))
    lines = [
        "# What the order of commits costs on many workers",
        "",
        f"Written by `ordered.py` on {time.strftime('%Y-%m-%d')}; no figure here was typed by "
        f"hand. The median stands "
        f"before (the least to the most): {SEEDS} seeds, 3 for CPU time.",
        "",
        "## Simulated: the share of the workers' time in which they work",
        "",
        f"{EACH} evaluations a worker, of mean 1, by how many of them may be started and not yet "
        f"committed, in "
        "multiples of the workers. The last column commits in any order, which no run could be "
        "repeated from.",
        "",
        "| times of evaluation | workers | 1 × | 2 × | 4 × (default) | 8 × | no order |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in found["shares"]:
        cells = [
            f"{100 * statistics.median(row[name]):.1f} %"
            for name in ("1 ×", "2 ×", "4 ×", "8 ×", "no order")
        ]
        lines.append(f"| {row['times']} | {row['workers']:,} | {' | '.join(cells)} |")
    lines += [
        "",
        "## Measured: the search's own thread",
        "",
        "CPU milliseconds for a candidate of an arm of 12 joints in 2,500 cells, in a ledger in "
        "memory. Its inverse is "
        "how many candidates a second one search can hand out and take back at the most.",
        "",
        "| batch | ms a candidate | candidates a second at the most | workers it keeps busy with "
        "evaluations of 10 s |",
        "|--:|--:|--:|--:|",
    ]
    for row in found["own"]:
        most = 1000 / statistics.median(row["ms"])
        lines.append(
            f"| {row['batch']} | {spread(row['ms'], '.3f')} | {most:,.0f} | {10 * most:,.0f} |"
        )
    lines += [
        "",
        "## Measured: what older states cost the search",
        "",
        "QD score of the arm after 16,000 evaluations, 16 a step. 63 steps at work are 1,000 "
        "workers; the default is "
        "to let starts go 4 times as far ahead.",
        "",
        "| steps ahead | QD score |",
        "|--:|--:|",
    ]
    lines += [f"| {row['ahead']} | {spread(row['qd'], ',.0f')} |" for row in found["stale"]]
    machine = f"{os.cpu_count()} cores of a {platform.machine()} virtual machine"
    python = f"Python {platform.python_version()}, {versions}"
    lines += ["", f"{python}; {machine}, shared with others.", ""]
    return "\n".join(lines)


def main() -> None:
    """Measures all of it, and writes the page."""
    found = {part.__name__: part() for part in (shares, own, stale)}
    (HERE / "ordered.json").write_text(json.dumps(found, indent=1) + "\n")
    (HERE / "ordered.md").write_text(page(found))
    print(page(found), file=sys.stderr)


if __name__ == "__main__":
    main()

"""Compares operators on four domains, with the same evaluations: writes operators.md.

    python3 results/numeric/operators.py            every row that operators.jsonl lacks, then
                                                    the page

Nothing is tuned: the noise is 0.5 for the projections, which range over ±5.12 and more, as in
pyribs' examples, and 0.1 radians for the arm; all else is the default of the toolkit.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from evolution import Thresholds

from qdkit import Search
from qdkit.archives import Grid
from qdkit.domains import Arm, Plateau, Rastrigin, Sphere
from qdkit.operators import Evolution, Gaussian, GradientArborescence, IsoLine, cma_mae

HERE = Path(__file__).parent
ROWS = HERE / "operators.jsonl"
SEEDS, BATCH, STEPS = 3, 540, (40, 460)  # 21,600 and 248,400 evaluations
DOMAINS = {
    "sphere, 100": Sphere(100),
    "rastrigin, 100": Rastrigin(100),
    "plateau, 100": Plateau(100),
    "arm, 12": Arm(12),
}
OPERATORS = (
    "Gaussian",
    "IsoLine",
    "Evolution (CMA-ME)",
    "cma_mae",
    "Arborescence (CMA-MEGA)",
    "Arborescence (CMA-MAEGA)",
)


def search(name: str, operator: str, seed: int) -> Any:
    """Runs one search, compiled."""
    domain = DOMAINS[name]
    grid, step = Grid((100, 100), domain.bounds), 0.1 if name.startswith("arm") else 0.5
    limits = {"limits": domain.limits} if hasattr(domain, "limits") else {}
    soft = Thresholds(grid, minimum=float(getattr(domain, "floor", 0.0)))
    made, archive = {
        "Gaussian": (lambda: Gaussian(step, **limits), grid),
        "IsoLine": (lambda: IsoLine(step, 0.2, **limits), grid),
        "Evolution (CMA-ME)": (lambda: Evolution(step, **limits), grid),
        "cma_mae": (lambda: cma_mae(step, **limits), soft),
        "Arborescence (CMA-MEGA)": (lambda: GradientArborescence(domain, sigma=step), grid),
        "Arborescence (CMA-MAEGA)": (
            lambda: GradientArborescence(domain, sigma=step, ranker="imp", restart="basic"),
            soft,
        ),
    }[operator]
    return Search.compiled(domain, archive, made(), batch=BATCH, seed=seed)


def measure() -> None:
    """Appends each row that is not there yet."""
    there = {(row["domain"], row["operator"], row["seed"]) for row in rows()}
    for seed in range(SEEDS):
        for name in DOMAINS:
            for operator in OPERATORS:
                if (name, operator, seed) in there:
                    continue
                start, found, done = time.process_time(), {}, 0
                here = search(name, operator, seed)
                for steps in STEPS:
                    here.run(steps - done, progress=False)
                    done = steps
                    found[str(steps * BATCH)] = {
                        k: here.summary()[k] for k in ("qd_score", "coverage", "best_objective")
                    }
                row = {
                    "domain": name,
                    "operator": operator,
                    "seed": seed,
                    "cpu": time.process_time() - start,
                    **found,
                }
                with ROWS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                print(row, flush=True)


def rows() -> list[dict[str, Any]]:
    """Returns the stored rows."""
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


def page() -> str:
    """Returns the tables."""
    lines = [
        "# Which operator for which problem",
        "",
        "Written by `operators.py` from `operators.jsonl`; no figure here was typed by hand. QD "
        "score over 100 × 100 "
        f"cells, {BATCH} candidates a step, {SEEDS} seeds: the median, with the least and the "
        f"most. CPU-seconds are of "
        "the longer search, compiling included. Nothing was tuned.",
    ]
    for name in DOMAINS:
        few, many = (str(steps * BATCH) for steps in STEPS)
        head = (
            f"| operator | QD score, {int(few):,} evaluations | {int(many):,} evaluations | "
            "coverage | best | CPU-s |"
        )
        lines += ["", f"## {name} numbers", "", head, "|---|--:|--:|--:|--:|--:|"]
        for operator in OPERATORS:
            mine = [row for row in rows() if (row["domain"], row["operator"]) == (name, operator)]
            column = lambda n, key, mine=mine: [row[n][key] for row in mine]
            cells = [
                spread(column(few, "qd_score"), ",.0f"),
                spread(column(many, "qd_score"), ",.0f"),
                f"{statistics.median(column(many, 'coverage')):.1%}",
                f"{statistics.median(column(many, 'best_objective')):.4g}",
                f"{statistics.median(row['cpu'] for row in mine):.0f}",
            ]
            lines.append(f"| {operator} | {' | '.join(cells)} |")
    versions = f"jax {jax.__version__}, numpy {np.__version__}"
    machine = (
        f"{os.cpu_count()} cores of a {platform.machine()} virtual machine, shared with others, "
        "no GPU"
    )
    return "\n".join(
        [*lines, "", f"Python {platform.python_version()}, {versions}; {machine}.", ""]
    )


def spread(values: list[float], form: str) -> str:
    """Returns the median before the least and the most."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


if __name__ == "__main__":
    measure()
    (HERE / "operators.md").write_text(page())

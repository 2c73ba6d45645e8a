"""What diversity costs, and how it grows with n.

    python results/diversity/measure.py

Writes `README.md` beside it: CPU seconds as the median and the quartiles, with one thread for
linear algebra; and the scores of ever larger samples of one and the same thing, whole and at equal
n.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # threads that wait for each other count as CPU time too

import platform
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np

from qdkit import Search, metrics
from qdkit.archives import Grid
from qdkit.domains.arm import Arm
from qdkit.metrics.features import genome_features, grams, program_outline
from qdkit.operators import Gaussian

TIMES, SEED = 15, 0
SIZES = (8, 16, 32, 64, 256, 1024)
EQUAL = 8


def spent(act: Callable[[], object]) -> str:
    """Returns the CPU seconds of one call."""
    act()
    found = []
    for _ in range(TIMES):
        begun = time.process_time()
        act()
        found.append(time.process_time() - begun)
    low, middle, high = statistics.quantiles(found, n=4)
    return f"{middle:.4f} [{low:.4f}, {high:.4f}]"


def costs() -> list[str]:
    """Returns a row for each call that is frequent, or that has much data."""
    random = np.random.default_rng(SEED)
    many, some = random.normal(size=(10_000, 384)), random.normal(size=(1000, 384))
    arm = Search(Arm(), Grid((55, 55), Arm().bounds), Gaussian(0.2), batch=256, seed=1).run(
        500, progress=False
    )
    words = [f"w{i}" for i in range(500)]
    texts = [" ".join(random.choice(words, 300)) for _ in range(100)]
    characters = np.mean([len(text) for text in texts])
    seed = Path(__file__).parents[2] / "domains/mathematics/heilbronn/seed.py"
    program = {"seed.py": seed.read_text(encoding="utf-8")}
    elites = metrics.occupied(arm.elites)
    done = {
        "order 2 of 10,000 × 384|< 0.1": lambda: metrics.vendi(many, 2),
        "order 1 of 10,000 × 384|< 3": lambda: metrics.vendi(many, 1),
        "order 0.5 of 10,000 × 384|< 3": lambda: metrics.vendi(many, 0.5),
        "order 0 of 10,000 × 384, weighted|< 3": lambda: metrics.vendi(
            many, 0, np.arange(1, 10_001)
        ),
        "order 1 of 1,000 × 384, an own kernel|": lambda: metrics.vendi(
            some, 1, kernel=metrics.rbf(20.0)
        ),
        "order 1 of 1,000 × 384, 20 × 100 of them|": lambda: metrics.rarefied(
            lambda rows: metrics.vendi(some[rows]), metrics.draws(1000, 100)
        ),
        "the 20 most different of 10,000 × 384|": lambda: metrics.subset(many, 20),
        f"a summary of an arm with {elites:,} elites|< 0.2": arm.summary,
        "of that, their diversity|": arm.diversity,
        f"grams of 100 texts of {characters:,.0f} characters|": lambda: grams(texts),
        f"features of a program of {len(program['seed.py'])} characters|": lambda: genome_features(
            [program]
        ),
        "its outline|": lambda: program_outline(program),
    }
    return [
        f"| {name.partition('|')[0]} | {name.partition('|')[2]} | {spent(act)} |"
        for name, act in done.items()
    ]


def growth() -> list[str]:
    """Returns a row for each size of a sample of the sphere in 16 dimensions."""
    random = np.random.default_rng(SEED)
    rows = []
    for n in SIZES:
        whole, equal = [], []
        for _ in range(20):
            sample = random.normal(size=(n, 16))
            drawn = metrics.draws(n, EQUAL)
            score = lambda q, rows=sample: lambda each: metrics.vendi(rows[each], q)
            whole.append([metrics.vendi(sample, q) for q in (1, 2)])
            equal.append([metrics.rarefied(score(q), drawn).mean for q in (1, 2)])
        told = [
            f"{np.mean(x):.2f} ± {np.std(x):.2f}"
            for x in (*zip(*whole, strict=True), *zip(*equal, strict=True))
        ]
        rows.append(f"| {n:,} | {' | '.join(told)} |")
    return rows


PAGE = """# What diversity costs, and why it is told at equal n

Written by `measure.py`; no figure here was typed by hand. CPU seconds, the median [lower quartile,
upper quartile] of {times} calls after one that is not counted, with one thread for linear algebra.

| measured | should be | CPU seconds |
|---|--:|--:|
{costs}

## Diversity grows with n

Samples of one and the same distribution, directions drawn evenly in 16 dimensions: the Vendi
scores of order 1 and 2 of the whole sample, and the mean over 20 subsamples of {equal}; each the
mean ± the standard deviation of 20 samples. The scores of the whole sample say little but how
large the sample is, until it is many times the number of dimensions; at equal n all are alike. So
a summary reports the diversity of 32 elites, and runs are compared at the n of the smallest.

| n | order 1, whole | order 2, whole | order 1 at {equal} | order 2 at {equal} |
|--:|--:|--:|--:|--:|
{growth}

The machine: {system}, {cores} cores, shared with others (load {load}); Python {python}, numpy
{numpy}. Seed {seed}, {date}.
"""


def main() -> None:
    """Measures, and writes the page."""
    page = PAGE.format(
        times=TIMES,
        costs="\n".join(costs()),
        growth="\n".join(growth()),
        equal=EQUAL,
        system=f"{platform.system()} {platform.machine()}",
        cores=os.cpu_count(),
        load=f"{os.getloadavg()[0]:.1f}",
        python=platform.python_version(),
        numpy=np.__version__,
        seed=SEED,
        date=date.today(),
    )
    Path(__file__).with_name("README.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()

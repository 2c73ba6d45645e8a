"""Measures how long it takes to fill an archive anew when axes have learned: writes remap.md.

python results/human_feedback/remap.py     a minute, one process
"""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import jax
import numpy as np

from qdkit.archives import CVT, Grid
from qdkit.axes import OkCandidates, PrincipalAxes
from qdkit.core.types import Batch, Proposal
from qdkit.search.relearning import Table

SIZES, FEATURES, ROUNDS = (1_000, 10_000, 100_000), 20, 9
UNIT = ((0.0, 1.0), (0.0, 1.0))
EXAMPLE = {"id": np.int32(0), "genome": np.zeros(10, np.float32)}
WORDS = """# Filling an archive anew

CPU milliseconds from new axes to the archive with all candidates ({features} features, genomes of
10 numbers, two axes, float64), after compiling: the median of {rounds} rounds, with the least and
the most. 10,000 candidates were to take less than 20.

{table}

{machine} `python results/human_feedback/remap.py` writes this page.
"""


def main() -> None:
    """Measures, and writes the page."""
    lines = ["| candidates | archive | CPU-ms | least | most |", "|--:|---|--:|--:|--:|"]
    for n in SIZES:
        random = np.random.default_rng(n)
        features = random.normal(size=(n, FEATURES))
        made = Batch.unevaluated(
            Proposal.of(random.normal(size=(n, 10)).astype(np.float32), "random")
        )
        batch = made.replace(
            id=np.arange(n, dtype=np.int32), objective=random.normal(size=n), features=features
        )
        table = Table(EXAMPLE)
        table.append(batch)
        axes = PrincipalAxes().learn(
            jax.random.key(0), OkCandidates(batch.id, features, np.ones(n, bool), 1)
        )
        for name, archive in {
            "Grid, 50 × 50": Grid((50, 50), UNIT),
            "CVT, 1,000": CVT.spread(1_000, UNIT),
        }.items():
            spent = []
            for _ in range(ROUNDS + 1):
                since = time.process_time()
                jax.block_until_ready(table.placed(archive, axes, EXAMPLE))
                spent.append(1_000 * (time.process_time() - since))
            spent = sorted(spent[1:])
            line = (
                f"| {n:,} | {name} | {spent[ROUNDS // 2]:.1f} | {spent[0]:.1f} | {spent[-1]:.1f} |"
            )
            print(line, flush=True)
            lines.append(line)
    machine = f"{platform.machine()}, {os.cpu_count()} shared cores, jax {jax.__version__}."
    page = WORDS.format(features=FEATURES, rounds=ROUNDS, table="\n".join(lines), machine=machine)
    (Path(__file__).parent / "remap.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()

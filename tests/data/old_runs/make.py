"""Makes one small run of each kind, each a zip of its folder, and what its summary says.

`python tests/data/old_runs/make.py FOLDER` writes them into FOLDER. Those beside this file were
written in version 2 of the format and are never made anew: a later version of the format gets
runs of its own, beside them. `tests/test_old_runs.py` opens and shows all of them.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

import qdkit
from qdkit.archives import CVT, Grid, Recent, Soft
from qdkit.axes import Fit, Taught
from qdkit.cli import main
from qdkit.domains.arm import Arm, PosedArm
from qdkit.domains.projection import Sphere
from qdkit.judgements import Judgements, Reply
from qdkit.operators import Gaussian, Line, Portfolio, Steered, cma_mae
from qdkit.parents import Fresh, Novel, Uniform
from qdkit.testing import ModelServer

UNIT = ((0.0, 1.0), (0.0, 1.0))
TOLD = ("evaluations", "steps", "occupied", "coverage", "qd_score", "best_objective", "calls")


def command(*words: str) -> None:
    """What the command line does with these words."""
    with suppress(SystemExit):
        main(words)


def grid(folder: Path) -> None:
    """Numbers in a grid, from the command line."""
    small = [
        "--evaluations",
        "60",
        "--batch",
        "20",
        "--joints",
        "3",
        "--shape",
        "4",
        "4",
        "--seed",
        "2",
    ]
    command("run", "arm", *small, "--out", str(folder))


def cvt(folder: Path) -> None:
    """Numbers in the cells of centroids, written in Python."""
    archive = CVT.spread(12, Arm(3).bounds, samples=100)
    qdkit.Search(Arm(3), archive, Gaussian(0.2), batch=16, seed=2, run=folder).run(
        3, progress=False
    ).close()


def texts(folder: Path) -> None:
    """Texts that a model wrote, with its answers."""
    with ModelServer() as server:
        os.environ["OPENAI_BASE_URL"] = server.url
        command(
            "run",
            "words",
            "--model",
            "m",
            "--evaluations",
            "8",
            "--in-flight",
            "2",
            "--out",
            str(folder),
        )
        del os.environ["OPENAI_BASE_URL"]


def programs(folder: Path) -> None:
    """Programs, from the command line: each was run in the sandbox."""
    command(
        "run",
        "circle_packing",
        "--evaluations",
        "4",
        "--batch",
        "2",
        "--workers",
        "1",
        "--out",
        str(folder),
    )


def islands(folder: Path) -> None:
    """Islands, between which elites migrate."""
    small = ["--evaluations", "80", "--batch", "20", "--joints", "3", "--shape", "3", "3"]
    command("run", "arm", *small, "--islands", "2", "--migrate", "1", "--out", str(folder))


def soft(folder: Path) -> None:
    """An archive in which the best of a cell may be lost."""
    archive = Soft(Grid((4, 4), Arm(3).bounds), minimum=-1.0)
    qdkit.Search(Arm(3), archive, Gaussian(0.2), batch=16, seed=2, run=folder).run(
        3, progress=False
    ).close()


def compiled(folder: Path) -> None:
    """A search that is one compiled program."""
    small = ["--evaluations", "60", "--batch", "20", "--joints", "3", "--shape", "4", "4"]
    command("run", "arm", *small, "--compiled", "--out", str(folder))


def challenge(folder: Path) -> None:
    """A search in which elites are challenged."""
    small = ["--evaluations", "80", "--batch", "10", "--joints", "3", "--shape", "3", "3"]
    command("run", "arm", *small, "--challenge", "1", "--out", str(folder))


def learnt(folder: Path) -> None:
    """Axes that learnt from judgements, which lie beside the run."""
    folder.mkdir()
    store = Judgements(folder)
    for first in range(6):
        store.add(
            Reply(0, "triplet", (first, first + 1, first + 2), 1 + first % 2, (0, 1, 2), "ann")
        )
    axes = Taught(each=5, fit=Fit(steps=5))
    with qdkit.Search(
        PosedArm(3),
        Grid((4, 4), UNIT),
        Gaussian(0.2),
        axes=axes,
        replies=store,
        batch=16,
        seed=2,
        run=folder,
    ) as search:
        search.run(3, progress=False)
    store.close()


def steered(folder: Path) -> None:
    """Several operators, one with a rule of its own for parents."""
    arm = Arm(3)
    line = Steered(Line(0.1, 0.2), Fresh(Uniform(), 0.5))
    operator = Portfolio([line, Gaussian(0.2)])
    settings = {"parents": Novel(), "batch": 16, "seed": 2, "run": folder}
    search = qdkit.Search(arm, Grid((4, 4), arm.bounds), operator, **settings)
    search.run(3, progress=False).close()


def compiled_in_python(folder: Path, archive: Any, operator: Any) -> None:
    """A compiled search of four numbers."""
    settings = {"batch": 16, "seed": 2, "run": folder, "compiled": True}
    search = qdkit.Search(Sphere(4), archive, operator, **settings)
    search.run(4, progress=False)
    search.close()


def pool(folder: Path) -> None:
    """A compiled search into a pool, whose state is in its file."""
    compiled_in_python(folder, Recent(2, 30), Gaussian(0.2))


def strategies(folder: Path) -> None:
    """A compiled search by strategies into thresholds, both with a state."""
    archive = Soft(Grid((4, 4), Sphere(4).bounds), minimum=0.0)
    compiled_in_python(folder, archive, cma_mae(0.5, batch=8, emitters=2))


KINDS = (grid, cvt, texts, programs, islands, soft, compiled, challenge, learnt, steered, pool)
KINDS = (*KINDS, strategies)


def make(out: Path) -> None:
    """Writes a zip for each kind, and `summaries.json`."""
    summaries = {}
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "run"
            kind(folder)
            run = qdkit.load(folder)
            summary = run.summary()
            numbers = {name: summary[name] for name in TOLD}
            summaries[kind.__name__] = {
                name: float(np.float64(value)) for name, value in numbers.items()
            }
            run.close()
            with zipfile.ZipFile(out / f"{kind.__name__}.zip", "w", zipfile.ZIP_DEFLATED) as file:
                for path in sorted(folder.iterdir()):
                    if path.suffix in (".db", ".npz"):
                        file.write(path, path.name)
    (out / "summaries.json").write_text(json.dumps(summaries, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]))

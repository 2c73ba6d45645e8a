"""Compares taught axes of a maze with the true place and principal components: writes maze.md.

    nice -n 10 python results/human_feedback/maze.py   the rows that maze.jsonl lacks, about 100
                                                       CPU-seconds each
    python results/human_feedback/maze.py --table      maze.md from the rows in maze.jsonl

QDHF's settings (1,000 steps of 200 candidates, Gaussian noise of 0.2, 50 × 50 cells, 200 labels, a
quarter after each of the steps 1, 101, 251, 501), in our maze, whose robot does not stick to walls
as that of Kheperax does. Axes are learned from the path, 500 numbers; the person is simulated and
goes by where the robot ends.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.archives import Grid
from qdkit.axes import Answered, Bounds, Fit, OkCandidates, PrincipalAxes, TripletAxes, questions
from qdkit.core.elites import Elites, sample
from qdkit.domains.maze import Maze, simulate
from qdkit.operators import Gaussian
from qdkit.testing import Person

HERE = Path(__file__).parent
ROWS = HERE / "maze.jsonl"
STEPS, BATCH, SEEDS, LABELS = 1000, 200, 3, 200
STAGES = (1, 101, 251, 501)
MAZE, GRID, NOISE = Maze(steps=250), Grid((50, 50), ((0.0, 1.0), (0.0, 1.0))), Gaussian(0.2)
METHODS = ("true place", "taught", "principal components")
ABOUT = f"""\
1,000 steps of 200 candidates, 50 × 50 cells, {LABELS} labels (chosen by disagreement, a quarter
after each of the steps 1, 101, 251, 501). QD is the sum of objectives over all cells; "all" is
every solution evaluated and "archive" the final archive, both in cells of the true place. 2AFC
is the accuracy on 2,000 fresh triplets from the final archive. Means, with the least and the
most of the seeds. Our robot may turn away from a wall, where that of Kheperax sticks to it: the
figures of one do not compare with those of the other (there, in one run: true place 44.0 and
54.8 % coverage, QDHF's archive 22.8 and 29.9 %, PCA's 20.2 and 24.2 %)."""


class State(NamedTuple):
    """The archive by the axes as they are, and that of all solutions by the true place."""

    elites: Elites
    truth: Elites


def features_of(path: jax.Array) -> jax.Array:
    """Returns float `[n, 500]`: all x, then all y."""
    return path.swapaxes(1, 2).reshape(len(path), -1)


@jax.jit
def placed(weights: jax.Array, shifts: jax.Array, genomes: jax.Array) -> tuple[Elites, jax.Array]:
    """Returns an archive with these genomes, without those that are nan, and their features."""
    objective, path = simulate(genomes, MAZE.steps)
    found = features_of(path)
    kept = {"genome": genomes}
    elites, _ = GRID.add(
        GRID.init({"genome": genomes[0]}), objective, found @ weights + shifts[None], kept
    )
    return elites, found


@jax.jit
def advanced(
    key: Any, weights: jax.Array, shifts: jax.Array, state: State, begin: Any, end: Any
) -> State:
    """Returns the steps from `begin` to `end`."""

    def step(t: Any, state: State) -> State:
        picking, making = jax.random.split(jax.random.fold_in(key, t))
        genomes = NOISE.vary(
            making, state.elites.payload["genome"][sample(picking, state.elites, BATCH)]
        )
        objective, path = simulate(genomes, MAZE.steps)
        kept = {"genome": genomes}
        elites, _ = GRID.add(
            state.elites, objective, features_of(path) @ weights + shifts[None], kept
        )
        return State(elites, GRID.add(state.truth, objective, path[:, -1], kept)[0])

    return jax.lax.fori_loop(begin, end, step, state)


def true_axes() -> tuple[np.ndarray, np.ndarray]:
    """Returns the place after the last step, as a linear map of the path."""
    weights = np.zeros((2 * MAZE.steps, 2))
    weights[MAZE.steps - 1, 0] = weights[-1, 1] = 1.0
    return weights, np.zeros(2)


def run(method: str, seed: int) -> dict[str, Any]:
    """Runs one search."""
    since, key = time.process_time(), jax.random.key(seed)
    single = lambda pair: tuple(jnp.asarray(part, jnp.float32) for part in pair)
    seeds = jnp.asarray(MAZE.seeds(jax.random.fold_in(key, 1), BATCH))
    first, _ = placed(*single(true_axes()), seeds)
    state, learner = State(first, first), Learner(method, seed)
    genomes = seeds
    for begin, end in zip(STAGES, [*STAGES[1:], STEPS], strict=True):
        axes = single(true_axes())
        if method != "true place":
            _, found = placed(*axes, genomes)
            known = ~np.isnan(np.asarray(genomes)[:, 0])
            making = jax.random.fold_in(jax.random.fold_in(key, 4), begin)
            axes = single(learner.after(making, np.asarray(found, float)[known], begin))
            state = state._replace(elites=placed(*axes, genomes)[0])
        state = advanced(jax.random.fold_in(key, 2), *axes, state, begin, end)
        genomes = jnp.where(
            state.elites.occupied[:, None], state.elites.payload["genome"], jnp.nan
        )
    final, found = placed(*single(true_axes()), genomes)
    there = ~np.isnan(np.asarray(genomes)[:, 0])
    return {
        "method": method,
        "seed": seed,
        **{f"all_{name}": value for name, value in score(state.truth).items()},
        **score(final),
        "accuracy": learner.accuracy(np.asarray(found, float)[there]),
        "cpu": time.process_time() - since,
    }


def score(elites: Elites) -> dict[str, float]:
    """Returns QDHF's QD score, the sum of objectives over all cells, and coverage in per cent."""
    objective = np.asarray(elites.objective)
    there = objective > -np.inf
    return {
        "qd": float(objective[there].sum() / len(there)),
        "coverage": float(100 * there.mean()),
    }


class Learner:
    """Learns the axes of one run."""

    def __init__(self, method: str, seed: int):
        self.person = Person(lambda x: np.asarray(x)[:, [MAZE.steps - 1, -1]], seed=seed)
        self.seed, self.replies = seed, []
        box = Bounds("elites")
        self.axes: Any = TripletAxes(fit=Fit(ridge=0.3, held=0.0), bounds=box, each=1)
        if method == "principal components":
            self.axes = PrincipalAxes(bounds=box, at=STAGES)

    def after(self, key: Any, x: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the map into the unit box, as weights and shifts."""
        ids = np.arange(len(x), dtype=np.int32)
        if isinstance(self.axes, PrincipalAxes):
            self.axes = self.axes.learn(key, OkCandidates(ids, x, np.ones(len(x), bool), step))
            at = self.axes.now
        else:
            rows = questions.choose_triplets(
                key, x, LABELS // len(STAGES), self.axes.gaps if self.axes.members else None
            )
            self.asked = [*getattr(self, "asked", []), *x[rows]]
            table = np.concatenate([x, np.concatenate(self.asked)])
            ids = np.arange(len(table), dtype=np.int32)
            ids_of = lambda i: tuple(int(len(x) + 3 * i + j) for j in range(3))
            said = [self.person.triplet(three, i) for i, three in enumerate(self.asked)]
            self.replies = [
                Answered(i + 1, "triplet", ids_of(i), one) for i, one in enumerate(said)
            ]
            elite = np.arange(len(table)) < len(x)
            self.axes = self.axes.learn(key, OkCandidates(ids, table, elite, step), self.replies)
            at = self.axes.at
        (weights, shifts), *_ = at.layers
        scale = at.high - at.low
        return np.asarray(weights) / scale, (np.asarray(shifts) - at.low) / scale

    def accuracy(self, x: np.ndarray) -> float:
        """Returns the share of 2,000 fresh triplets of the final archive that the axes predict."""
        at = (
            getattr(self.axes, "at", None)
            if isinstance(self.axes, TripletAxes)
            else getattr(self.axes, "now", None)
        )
        if at is None:
            return float("nan")
        random = np.random.default_rng(10_000 + self.seed)
        rows = np.array([random.choice(len(x), 3, replace=False) for _ in range(2000)])
        places, true = at.places(x), x[:, [MAZE.steps - 1, -1]]
        nearer = lambda where: np.less(
            *(np.linalg.norm(where[rows[:, 0]] - where[rows[:, i]], axis=1) for i in (1, 2))
        )
        return float((nearer(places) == nearer(true)).mean())


def rows() -> list[dict[str, Any]]:
    """Returns the stored rows."""
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


def page() -> str:
    """Returns the table."""
    lines = [
        "# The maze, with axes that people teach",
        "",
        ABOUT,
        "",
        "| axes | seeds | all: QD | all: coverage | archive: QD | archive: coverage | 2AFC | "
        "CPU-s |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for method in METHODS:
        mine = [row for row in rows() if row["method"] == method]
        if mine:
            names = ("all_qd", "all_coverage", "qd", "coverage", "accuracy", "cpu")
            cells = " | ".join(spread([row[name] for row in mine]) for name in names)
            lines.append(f"| {method} | {len(mine)} | {cells} |")
    machine = (
        f"{os.cpu_count()} cores of a {platform.machine()} virtual machine, shared with others"
    )
    lines += ["", f"Python {platform.python_version()}, jax {jax.__version__}; {machine}.",
              "`python results/human_feedback/maze.py` writes this page.", ""]  # fmt: skip
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Returns the mean, with the least and the most; a dash where there is none."""
    if np.isnan(values).any():
        return "–"
    digits = 3 if max(values) <= 1 else 1
    mean, least, most = statistics.mean(values), min(values), max(values)
    return f"{mean:.{digits}f} ({least:.{digits}f} to {most:.{digits}f})"


if __name__ == "__main__":
    done = {(row["method"], row["seed"]) for row in rows()}
    for seed in range(SEEDS) if "--table" not in sys.argv else ():
        for method in METHODS:
            if (method, seed) not in done:
                with ROWS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(run(method, seed)) + "\n")
    (HERE / "maze.md").write_text(page())

"""Measures on QDHF's arm how well taught axes replace the true ones, and from how few answers.

    python results/human_feedback/arm.py                   all rows, 20 seeds, about 20 minutes of
                                                           one core: arm.md
    python results/human_feedback/arm.py --only released   one group of rows, printed only
    python results/human_feedback/arm.py --rest            the missing rows, and arm.md
    python results/human_feedback/arm.py --table           arm.md from the rows in arm.jsonl

The loop is compiled, from the toolkit's parts; `through_search` makes one row with
`qdkit.Search`, to show that it is the same thing. Settings of "ours" were chosen on seeds 1000 to
1011, which no row uses.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.archives import Grid
from qdkit.axes import (
    Answered,
    AutoencoderAxes,
    Bounds,
    Fit,
    OkCandidates,
    PrincipalAxes,
    TripletAxes,
    TripletQuestions,
    agreement,
    questions,
)
from qdkit.core.elites import Elites, sample
from qdkit.domains.arm import PosedArm
from qdkit.operators import Gaussian
from qdkit.testing import Person

HERE = Path(__file__).parent
STEPS, BATCH, SEEDS = 1000, 100, 20
ARM, GRID, NOISE = PosedArm(10), Grid((50, 50), ((0.0, 1.0), (0.0, 1.0))), Gaussian(0.1)
STAGES = (
    1,
    101,
    251,
    501,
)  # commits after which QDHF asks and learns: 1, a tenth, a quarter, a half
FIT = Fit(ridge=0.3, held=0.0)
WARY = Fit(ridge=0.3, held=0.0, flips=0.2)
MODEST = Fit(
    ridge=0.3, held=0.0, flips=0.1
)  # flips by margin are less than this where the margin is clear
DOUBT = 0.3  # of flips by margin: about a fifth of the answers to random questions are wrong
COLLAPSE = 40.0  # archive QD below which a seed counts as collapsed


class Row(NamedTuple):
    """One line of the table.

    axes: "truth", "released" (QDHF's own fit), "taught" (ours), "principal", "encoded", "random".
    wide: whether the box is drawn around 10,000 random arms and the elites, else around those put
      in alone.
    rounds: in how many rounds a stage's questions are chosen by the ensemble's disagreement; 0 for
      random ones.
    again: whether every candidate so far is put in anew when the axes change, else the elites
      alone.
    """

    group: str
    name: str
    axes: str = "taught"
    labels: int = 1000
    stages: tuple[int, ...] = STAGES
    wide: bool = False
    rounds: int = 0
    same: bool = False
    again: bool = False
    flips: float = 0.0
    doubt: float = 0.0
    fit: Fit = FIT


class Found(NamedTuple):
    """The result of one seed: QD score and coverage in per cent, by the place of the tip.

    They are those of all solutions and of the archive.
    """

    all_qd: float
    all_coverage: float
    qd: float
    coverage: float
    accuracy: float
    clipped: float
    cpu: float


class State(NamedTuple):
    """Returns the archives by the learned and by the true axes, and all genomes `[t, b, j]`.

    The second holds all solutions.
    """

    elites: Elites
    truth: Elites
    history: jax.Array


class Affine(NamedTuple):
    """Axes inside the compiled loop: a linear map or a network, and its box."""

    layers: Any
    low: jax.Array
    high: jax.Array

    def __call__(self, features: jax.Array) -> jax.Array:
        for number, (weights, shifts) in enumerate(self.layers):
            features = (jnp.tanh(features) if number else features) @ weights + shifts[None]
        return (features - self.low[None]) / (self.high - self.low)[None]


TRUE = Affine(
    ((np.kron(np.eye(2), np.ones((10, 1))), np.zeros(2)),), np.full(2, -10.0), np.full(2, 10.0)
)


@jax.jit
def placed(axes: Affine, genomes: jax.Array, row: jax.Array) -> Elites:
    """Returns an archive with these genomes, of which those that are nan stay out.

    `row` is their place in the history.
    """
    empty = GRID.init({"row": row[0]})
    return GRID.add(
        empty, ARM.evaluate(genomes).objective, axes(ARM.posture(genomes)), {"row": row}
    )[0]


@jax.jit
def advanced(key: Any, axes: Affine, true: Affine, state: State, begin: Any, end: Any) -> State:
    """Runs the steps from `begin` to `end`.

    Elites carry the place of their genome in the history.
    """

    def step(t: Any, state: State) -> State:
        picking, making = jax.random.split(jax.random.fold_in(key, t))
        row = state.elites.payload["row"][sample(picking, state.elites, BATCH)]
        genomes = NOISE.vary(making, state.history[row // BATCH, row % BATCH])
        found, row = ARM.evaluate(genomes), t * BATCH + jnp.arange(BATCH)
        elites, _ = GRID.add(state.elites, found.objective, axes(found.features), {"row": row})
        truth, _ = GRID.add(state.truth, found.objective, true(found.features), {"row": row})
        return State(elites, truth, state.history.at[t].set(genomes))

    return jax.lax.fori_loop(begin, end, step, state)


def run(seed: int, row: Row) -> Found:
    """Runs one seed of one of our rows in the compiled loop."""
    since, key = time.process_time(), jax.random.key(seed)
    single = partial(jax.tree.map, jnp.float32)
    true = single(TRUE)
    seeds = jnp.asarray(ARM.seeds(jax.random.fold_in(key, 1), BATCH))
    first = placed(true, seeds, jnp.arange(BATCH))
    state = State(first, first, jnp.full((STEPS, BATCH, 10), jnp.nan).at[0].set(seeds))
    learner, learnt = Learner(seed, key, row), None
    for begin, end in zip(row.stages, [*row.stages[1:], STEPS], strict=True):
        if row.axes == "truth":
            axes = true
        else:
            learnt = learner.after(begin, state, learnt is None)
            axes = single(Affine(*learnt))
            alive = np.asarray(state.elites.payload["row"])[np.asarray(state.elites.occupied)]
            inside = (
                np.arange(BATCH)
                if begin == 1
                else np.arange(begin * BATCH)
                if row.again
                else np.sort(alive)
            )
            state = state._replace(elites=placed(axes, *padded(state.history, inside)))
        state = advanced(jax.random.fold_in(key, 2), axes, true, state, begin, end)
    rows = np.asarray(state.elites.payload["row"])[np.asarray(state.elites.occupied)]
    final = placed(true, *padded(state.history, np.sort(rows)))
    features = np.asarray(ARM.posture(state.history.reshape(-1, 10)[rows]), np.float64)
    accuracy, clipped = np.nan, np.nan
    if learnt is not None:
        accuracy = learner.accuracy(learnt, features)
        everybody = np.asarray(ARM.posture(state.history.reshape(-1, 10)), np.float64)
        places = learnt.places(everybody)
        clipped = float(((places < learnt.low) | (places > learnt.high)).any(1).mean())
    return Found(
        *score(state.truth), *score(final), accuracy, clipped, time.process_time() - since
    )


def padded(history: jax.Array, rows: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Returns the genomes of these rows, padded with nan to one of two lengths, and the rows."""
    length = 2500 if len(rows) <= 2500 else STEPS * BATCH
    genomes = np.full((length, 10), np.nan, np.float32)
    genomes[: len(rows)] = np.asarray(history).reshape(-1, 10)[rows]
    place = np.full(length, -1, np.int32)
    place[: len(rows)] = rows
    return jnp.asarray(genomes), jnp.asarray(place)


def score(elites: Elites) -> tuple[float, float]:
    """Returns QDHF's QD score, the sum of objectives over all cells, and coverage in per cent."""
    objective = np.asarray(elites.objective)
    there = objective > -np.inf
    return float(objective[there].sum() / len(there)), float(100 * there.mean())


class Learner:
    """Learns the axes of one run from a simulated person who goes by the place of the tip."""

    def __init__(self, seed: int, key: Any, row: Row):
        self.row, self.key, self.random = row, key, np.random.default_rng(seed)
        self.person = Person(ARM.tip, flips=row.flips, doubt=row.doubt, seed=seed)
        self.wide = np.asarray(
            ARM.posture(ARM.seeds(jax.random.fold_in(key, 3), 10_000)), np.float64
        )
        self.replies: list[Answered] = []
        self.taught = np.zeros((0, 3, 20))  # what QDHF's own fit has been told: anchor, near, far
        bounds = Bounds(self.wide) if row.wide else Bounds("elites")
        if row.axes == "taught":
            same = (ARM.quarter_turned, ARM.mirrored) if row.same else ()
            self.axes: Any = TripletAxes(fit=row.fit, bounds=bounds, each=1, same=same)
        elif row.axes in ("principal", "encoded"):
            kind = PrincipalAxes if row.axes == "principal" else AutoencoderAxes
            self.axes = kind(bounds=bounds, at=row.stages)

    def after(self, step: int, state: State, first: bool) -> Any:
        """Returns the projection after `step` commits."""
        count = step * BATCH
        features = np.asarray(ARM.posture(state.history.reshape(-1, 10)[:count]), np.float64)
        elite = np.zeros(count, bool)
        elite[:] = first  # QDHF draws its first box around all seeds
        if not first:
            elite[np.asarray(state.elites.payload["row"])[np.asarray(state.elites.occupied)]] = (
                True
            )
        known = OkCandidates(np.arange(count, dtype=np.int32), features, elite, step)
        key = jax.random.fold_in(jax.random.fold_in(self.key, 4), step)
        if self.row.axes == "taught":
            self._teach(key, known)
            return self.axes.at
        if self.row.axes in ("principal", "encoded"):
            self.axes = self.axes.learn(key, known)
            return self.axes.now
        return self._boxed(
            self._released(features[elite], first)
            if self.row.axes == "released"
            else self._random(),
            known,
        )

    def _teach(self, key: Any, known: OkCandidates) -> None:
        """Asks this stage's questions, in rounds between which the axes learn."""
        elites, due = np.flatnonzero(known.elite), self.row.labels // len(self.row.stages)
        for number in range(max(1, self.row.rounds)):
            n = due // max(1, self.row.rounds) + (number < due % max(1, self.row.rounds))
            gaps = self.axes.gaps if self.row.rounds else None
            asked = questions.choose_triplets(
                jax.random.fold_in(key, number), known.features[elites], n, gaps
            )
            for rows in elites[asked]:
                said = self.person.triplet(known.features[rows], len(self.replies) + 1)
                self.replies.append(
                    Answered(len(self.replies) + 1, "triplet", tuple(rows.tolist()), said)
                )
            self.axes = self.axes.learn(jax.random.fold_in(key, 100 + number), known, self.replies)

    def _boxed(self, weights: np.ndarray, known: OkCandidates) -> Any:
        """Returns a linear map with the row's box."""
        around = (
            np.concatenate([self.wide, known.features[known.elite]])
            if self.row.wide
            else known.features[known.elite]
        )
        places = around @ weights
        layers = ((weights, np.zeros(2)),)
        return (
            PrincipalAxes()
            .with_plain({"at": {"layers": layers, "low": places.min(0), "high": places.max(0)}})
            .now
        )

    def _random(self) -> np.ndarray:
        self.fixed = getattr(self, "fixed", None)
        self.fixed = self.random.normal(size=(20, 2)) if self.fixed is None else self.fixed
        return self.fixed

    def _released(self, features: np.ndarray, first: bool) -> np.ndarray:
        """Returns the linear map by QDHF's released rule.

        Its triplets are of random arms first, then of elites drawn with replacement.
        """
        n = self.row.labels // len(self.row.stages)
        if first:
            fresh = self.random.uniform(-np.pi, np.pi, (3 * n, 10)).astype(np.float32)
            x = np.asarray(ARM.posture(fresh), np.float64).reshape(n, 3, 20)
        else:
            x = features[self.random.integers(len(features), size=(n, 3))]
        answers = [self.person.triplet(three, len(self.taught) + i) for i, three in enumerate(x)]
        x = np.stack(
            [
                three[[0, 1, 2] if said == 1 else [0, 2, 1]]
                for three, said in zip(x, answers, strict=True)
            ]
        )
        self.taught = np.concatenate([self.taught, x])
        return released(self.random, self.taught)

    def accuracy(self, learnt: Any, features: np.ndarray) -> float:
        """Returns the accuracy on 2,000 fresh triplets, against the true place of the tip."""
        rows = np.random.default_rng(0).integers(len(features), size=(2000, 3))
        gap = lambda z: (
            ((z[rows[:, 0]] - z[rows[:, 2]]) ** 2).sum(1)
            - ((z[rows[:, 0]] - z[rows[:, 1]]) ** 2).sum(1)
        )
        told, true = gap(learnt.places(features)), gap(ARM.tip(features))
        differ = true != 0
        return agreement(np.where(true > 0, 0, told)[differ], np.where(true > 0, told, 0)[differ])


def released(random: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """Returns a linear map by QDHF's released rule.

    Triplets `[m, 3, f]` are anchor, near and far, in order of arrival.

    Hinge of margin 0.05 on squared distances; Adam at 0.001 on batches of 32 of the first three
    quarters; ends after the eleventh epoch when the mean accuracy of ten on the last quarter
    falls.
    """
    cut = int(0.75 * len(x))
    near, far = x[:, 0] - x[:, 1], x[:, 0] - x[:, 2]
    weights = random.uniform(-1, 1, (20, 2)) / np.sqrt(20)
    first, second, t, right = np.zeros_like(weights), np.zeros_like(weights), 0, []
    for epoch in range(1000):
        for _ in range(max(1, cut // 32)):
            rows = random.integers(cut, size=32)
            a, b = near[rows], far[rows]
            active = (0.05 + ((a @ weights) ** 2).sum(1) - ((b @ weights) ** 2).sum(1) > 0)[
                :, None
            ]
            slope = 2 * ((a * active).T @ (a @ weights) - (b * active).T @ (b @ weights)) / 32
            t += 1
            first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
            weights = weights - 1e-3 * (first / (1 - 0.9**t)) / (
                np.sqrt(second / (1 - 0.999**t)) + 1e-8
            )
        told = ((near[cut:] @ weights) ** 2).sum(1) <= ((far[cut:] @ weights) ** 2).sum(1)
        right.append(told.mean())
        if epoch > 10 and np.mean(right[-10:]) < np.mean(right[-11:-1]):
            break
    return weights


def through_search(seed: int, row: Row) -> Found:
    """Runs one seed of one of our rows by `qdkit.Search`.

    It equals the compiled loop, except for the random numbers.
    """
    from qdkit import Search

    since, wide = time.process_time(), ARM.seeds(jax.random.key(seed + 10_000), 10_000)
    person = Person(ARM.tip, flips=row.flips, doubt=row.doubt, seed=seed)
    asking = TripletQuestions(
        lambda question, batch, number: person(question, batch.features, number),
        n=row.labels // len(row.stages),
        at=row.stages,
        rounds=row.rounds,
    )
    bounds = Bounds(np.asarray(ARM.posture(wide), np.float64))
    same = (ARM.quarter_turned, ARM.mirrored) if row.same else ()
    axes = TripletAxes(fit=row.fit, bounds=bounds, each=1, same=same)
    search = Search(ARM, GRID, NOISE, batch=BATCH, seed=seed, axes=axes, replies=asking)
    features: list[np.ndarray] = []
    objectives: list[np.ndarray] = []
    for batch in search.steps(STEPS):
        features.append(batch.features)
        objectives.append(batch.objective)
    everybody, objective = np.concatenate(features), np.concatenate(objectives)
    ids = search.elites.payload["id"][search.elites.occupied]
    true = np.asarray(ARM.tip(everybody)) / 20 + 0.5
    by_truth = lambda rows: GRID.add(
        GRID.init(), objective[rows], true[rows], np.zeros(len(rows))
    )[0]
    learner = Learner(seed, jax.random.key(seed), row)
    accuracy = learner.accuracy(search.axes.at, everybody[ids])
    at = search.axes.at
    clipped = float(np.mean(((at(everybody) < 0) | (at(everybody) > 1)).any(1)))
    found = *score(by_truth(np.arange(len(true)))), *score(by_truth(np.sort(ids)))
    return Found(*found, accuracy, clipped, time.process_time() - since)


OURS = Row("ours", "", wide=True, rounds=5)
PASSIVE = OURS._replace(rounds=0)
ROWS = (
    Row("paper", "true measures", "truth", 0),
    Row("paper", "QDHF", "released"),
    OURS._replace(name="100 labels, chosen", labels=100),
    OURS._replace(group="invariances", name="100 labels, chosen", labels=100, same=True),
    OURS._replace(
        group="noise", name="400 labels, chosen, 20 % flipped", labels=400, flips=0.2, fit=WARY
    ),
    Row("paper", "QDHF offline", "released", stages=(1,)),
    Row("paper", "PCA, anew at each stage", "principal", 0),
    Row("paper", "random projection", "random", 0),
    OURS._replace(
        group="noise",
        name="400 labels, chosen, flips by margin",
        labels=400,
        doubt=DOUBT,
        fit=MODEST,
    ),
    Row("noise", "QDHF, 400 labels, 20 % flipped", "released", 400, flips=0.2),
    Row("noise", "QDHF, 1,000 labels, 20 % flipped", "released", flips=0.2),
    *(Row("labels", f"QDHF, {n} labels", "released", n) for n in (40, 100, 200, 400)),
    PASSIVE._replace(name="100 labels, drawn at random", labels=100),
    OURS._replace(name="200 labels, chosen", labels=200),
    OURS._replace(name="60 labels, chosen", labels=60),
    OURS._replace(name="400 labels, chosen", labels=400),
    PASSIVE._replace(name="1,000 labels, drawn at random", labels=1000),
    Row("paper", "PCA, once", "principal", 0, (1,)),
    Row("paper", "QDHF offline, wide box", "released", stages=(1,), wide=True),
    Row("paper", "QDHF, wide box", "released", wide=True),
    OURS._replace(
        group="noise",
        name="400 labels, chosen, 20 % flipped, floor 0.1",
        labels=400,
        flips=0.2,
        fit=MODEST,
    ),
    PASSIVE._replace(
        group="noise", name="400 labels, at random, 20 % flipped", labels=400, flips=0.2, fit=WARY
    ),
    PASSIVE._replace(
        group="noise",
        name="400 labels, at random, flips by margin",
        labels=400,
        doubt=DOUBT,
        fit=MODEST,
    ),
    OURS._replace(group="invariances", name="40 labels, chosen", labels=40, same=True),
    Row("paper", "autoencoder, anew at each stage", "encoded", 0),
    Row("paper", "autoencoder, once", "encoded", 0, (1,)),
    OURS._replace(name="100 labels, chosen, all candidates put in anew", labels=100, again=True),
)  # the rows that goals are about come first
THROUGH = OURS._replace(group="search", name="100 labels, chosen, by qdkit.Search", labels=100)
FEW = 2  # seeds of the row through Search


def main() -> None:
    """Makes the rows that were asked for, and the page of all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="a group of rows, printed and not kept")
    parser.add_argument("--rest", action="store_true", help="the rows that are not kept yet")
    parser.add_argument(
        "--table", action="store_true", help="the page alone, from the rows that are kept"
    )
    asked = parser.parse_args()
    kept = HERE / "arm.jsonl"
    if not asked.table:
        if not (asked.only or asked.rest):
            kept.write_text("")
        done = (
            [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
            if asked.rest
            else []
        )
        made = {(line["group"], line["name"]) for line in done}
        for row in (*ROWS[:12], THROUGH, *ROWS[12:]):
            if asked.only in (None, row.group) and (row.group, row.name) not in made:
                make, seeds = (through_search, FEW) if row.group == "search" else (run, SEEDS)
                found = [make(seed, row)._asdict() for seed in range(seeds)]
                line = {
                    "group": row.group,
                    "name": row.name,
                    "labels": row.labels,
                    "axes": row.axes,
                    "seeds": found,
                }
                print(told(line), flush=True)
                if not asked.only:
                    with kept.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(line) + "\n")
    if not asked.only:
        lines = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
        (HERE / "arm.md").write_text(page(lines), encoding="utf-8")


def column(line: dict[str, Any], name: str) -> np.ndarray:
    """Returns one number of each seed."""
    return np.array(
        [np.nan if seed[name] is None else seed[name] for seed in line["seeds"]], float
    )


def told(line: dict[str, Any]) -> str:
    """Returns a line of a table."""
    spread = lambda name, digits: (
        f"{column(line, name).mean():.{digits}f} ± {column(line, name).std(ddof=1):.{digits}f}"
    )
    qd, accuracy = column(line, "qd"), column(line, "accuracy").mean()
    told = "–" if np.isnan(accuracy) else f"{accuracy:.3f}"
    clipped = (
        "–"
        if np.isnan(column(line, "clipped")).any()
        else f"{100 * column(line, 'clipped').mean():.1f} %"
    )
    fallen = (
        [f"{seed} ({qd[seed]:.1f})" for seed in np.flatnonzero(qd < COLLAPSE)]
        if qd.mean() > COLLAPSE
        else []
    )
    return (
        f"| {line['name']} | {spread('all_qd', 1)} | {spread('all_coverage', 1)} | "
        f"{spread('qd', 1)} | "
        f"{spread('coverage', 1)} | {qd.min():.1f} | {', '.join(fallen) or '–'} | {told} | "
        f"{clipped} | "
        f"{np.median(column(line, 'cpu')):.1f} |"
    )


HEAD = (
    "| | all: QD | all: coverage | archive: QD | archive: coverage | worst seed | collapsed seeds "
    "| 2AFC | outside "
    "| CPU-s |\n"
    "|---|--:|--:|--:|--:|--:|---|--:|--:|--:|"
)
GROUPS = {
    "paper": "QDHF's settings and its rivals",
    "ours": "Ours: fewer labels",
    "invariances": "Ours, with declared invariances (turns around the base and a mirror)",
    "labels": "QDHF with fewer labels",
    "noise": "Wrong answers",
    "search": f"The same by `qdkit.Search`, {FEW} seeds",
}
WORDS = """# The arm of QDHF

10 joints, 1,000 iterations of 100 with Gaussian noise of 0.1, 50 × 50 cells; labels are triplets
answered by a simulated person who goes by the place of the tip, a quarter of them after each of
the iterations {stages}. Mean ± standard deviation over the seeds 0 to {last}. QD is the sum of
objectives over all cells; "all" is every solution evaluated and "archive" the final archive, both
in cells of the true place of the tip. 2AFC is the accuracy on 2,000 fresh triplets from the final
archive; "outside" the share of all candidates clipped into border cells. A seed whose archive QD
is below {collapse:.0f} in a row that is above it on average is a collapse. Settings of ours were
chosen on the seeds 1000 to 1011 among a few values of each; the floor for flipped answers was
chosen anew there after a first choice had missed its goal, which has a row too.

**What the rows of few labels do not say.** Their person never errs. With 100 labels, chosen, an
audit found an archive QD of 46.9 ± 10.4 (worst seed 20.8) where 10 % of the answers were flipped,
and 39.1 where 20 % were; the rows of wrong answers below have 400 labels. Each row also sees
10,000 random arms outside of any budget, from which the questions and the box come; without them
100 labels give 54.1 ± 3.5.

{tables}

## What was to be shown

{verdicts}

Archive QD against 2AFC accuracy over {runs} runs with learnt axes: Pearson r = {r:.3f}; over the
rows with QDHF's own fit and 40 to 1,000 labels r = {swept:.3f}.

{machine} `python results/human_feedback/arm.py` writes this page.
"""


def page(lines: list[dict[str, Any]]) -> str:
    """Returns arm.md."""
    tables = []
    for group, title in GROUPS.items():
        rows = [told(line) for line in lines if line["group"] == group]
        if rows:
            tables.append(f"## {title}\n\n{HEAD}\n" + "\n".join(rows))
    learnt = [
        line
        for line in lines
        if line["axes"] not in ("truth", "random") and line["group"] != "search"
    ]
    swept = [line for line in learnt if line["axes"] == "released" and line["name"] in SWEPT]
    return WORDS.format(
        stages=", ".join(map(str, STAGES)),
        last=SEEDS - 1,
        collapse=COLLAPSE,
        tables="\n\n".join(tables),
        verdicts="\n".join(verdicts(lines)),
        runs=sum(len(line["seeds"]) for line in learnt),
        r=correlation(learnt),
        swept=correlation(swept),
        machine=f"{platform.machine()}, {os.cpu_count()} shared cores, jax {jax.__version__}.",
    )


SWEPT = ("QDHF", *(f"QDHF, {n} labels" for n in (40, 100, 200, 400)))


def correlation(lines: list[dict[str, Any]]) -> float:
    """Returns Pearson's r of archive QD and accuracy over all seeds of these lines.

    Nan for fewer than two.
    """
    pairs = [
        np.concatenate([column(line, name) for line in lines] or [[]])
        for name in ("qd", "accuracy")
    ]
    return float(np.corrcoef(pairs)[0, 1]) if len(pairs[0]) > 1 else np.nan


GOALS = (  # group, row, number, at least, at most
    ("paper", "true measures", "qd", 73.9, 75.9),
    ("paper", "QDHF", "all_qd", 70.5, 74.5),
    ("paper", "QDHF", "qd", 54.5, 58.5),
    ("ours", "100 labels, chosen", "qd", 55.0, 100.0),
    ("invariances", "100 labels, chosen", "qd", 56.5, 100.0),
    ("noise", "400 labels, chosen, 20 % flipped", "qd", 55.0, 100.0),
    ("noise", "400 labels, chosen, flips by margin", "qd", 55.0, 100.0),
)


def verdicts(lines: list[dict[str, Any]]) -> list[str]:
    """Returns for each goal whether it was met."""
    made = {(line["group"], line["name"]): line for line in lines}
    words = []
    for group, name, number, least, most in GOALS:
        if (group, name) in made:
            mean = column(made[group, name], number).mean()
            wanted = f"{least:g} or more" if most == 100 else f"{least:g} to {most:g}"
            met = "met" if least <= mean <= most else "**missed**"
            of = "all" if number == "all_qd" else "archive"
            words.append(f"- {GROUPS[group]}, {name}: {of} QD {mean:.1f}, wanted {wanted}: {met}")
    return words


if __name__ == "__main__":
    main()

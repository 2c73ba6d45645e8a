"""Compares SERENE, STAX, TAXONS, novelty search and MAP-Elites where rewards are sparse.

    python results/sparse/sparse.py            half an hour; goes on where runs.jsonl ends
    python results/sparse/sparse.py --quick    one seed, a tenth of the evaluations, printed

The first writes README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from discs import CENTRES, RADIUS, Discs, rewards
from mazes import END, NEAR, PaidMaze, SeenMaze, paid

from qdkit import Search, Steering
from qdkit.archives import CVT, Grid
from qdkit.axes import PrincipalAxes, TaxonsAxes
from qdkit.core.types import Operator
from qdkit.operators import Gaussian, NoveltySearch, Rewarded, TwoPhase

HERE = Path(__file__).parent
EVALUATIONS, SIDE = 20_000, 50
BATCH = 12  # candidates a step, alike for all
SEEDS = {"discs": range(10), "maze": range(3), "pictures": range(5)}
SIGMA = {"discs": 0.05, "maze": 0.2, "pictures": 0.2}
LIMITS = (-5.0, 5.0)
CODE, CELLS = 10, 1000  # numbers in a code, as in TAXONS, and cells that they are kept in
CHUNK = -(-1000 // BATCH)  # steps between trainings
WORDS = """# Where rewards are sparse

SERENE explores by novelty and climbs from rewarded candidates (`TwoPhase(explore,
Rewarded(explore))`). It is compared with its exploring half alone (`NoveltySearch`) and with
MAP-Elites with the same noise (`Gaussian`). Each makes {evaluations:,} candidates at most, {batch}
a step, into a grid of {side} × {side} cells. Figures are means over seeds, with the least and the
most.

## Two discs

A genome is 10 numbers, that land in the square by tanh of two of their combinations; a disc pays 1
in its middle and 0 from its radius of {radius} on. The discs lie at {centres},
where they were put before anything was measured; seeds 100 and 101 showed that both are reachable,
and they were not moved. The noise is {noise[discs]}. {seeds[discs]}

{discs}

{verdict}

## A maze

`Maze(steps=250)`, paid 1 where the robot ends within {near} of {end}, and nothing elsewhere. A
genome is 66 weights of a network; the noise is {noise[maze]} for all, chosen beforehand. Reached
is how many of the cells with their middle in the paid place are filled, as a share; where nothing
was ever paid, {evaluations:,} stands for the first paid. {seeds[maze]}

{maze}

{maze_verdict}

## The same maze, as pictures

The same place pays, and none of the upper five rows knows where a robot ended: they see a picture
of it from above, 16 × 16 pixels (`Maze(see="picture")`). `TaxonsAxes` makes {code} numbers of it
and is trained after 1, 3, 6, 10 and 15 times {chunk:,} candidates, after which all are measured
anew. STAX is SERENE, and TAXONS novelty search, on these axes; in both, the most surprising
candidates survive in half of the generations (`NoveltySearch(surprise=0.5)`). They are compared
with novelty search without surprise, on the same codes, on {code} principal components computed at
the same times, and on codes of a network that is never trained; and with the two that know the
place, which bound from above what pictures can do. Codes are kept in {cells:,} cells (`CVT`),
which decide what is trained on. Reached and coverage are of the true places of all candidates, in
the grid above. Settings are those of the papers or of the maze above, except for the cells and the
layers, which are dense. Seed 100 was looked at before, with {code} numbers and with 2, which
reached less; after seed 0, training on all candidates and not on elites alone was tried on seed
100, which reached little more for twice the CPU, and was not adopted. The reward is the same
wherever in the place a robot ends, so there is nothing to climb once it was found.
{seeds[pictures]}

{pictures}

{pictures_verdict}

qdkit {qdkit}, jax {jax}, numpy {numpy}; {machine}. CPU-seconds are of the whole run.
`python results/sparse/sparse.py` writes this page.
"""


class Run(NamedTuple):
    """The result of one search."""

    best: list[float]  # the best reward in each disc; 0 in the maze
    coverage: float
    reached: float  # the share of the cells in the paid place
    first: float  # evaluations until the first reward
    cpu: float


class Method(NamedTuple):
    """A way to search."""

    make: Callable[[int, float], Operator]  # from seed and noise
    axes: Any = None  # of codes of pictures; None for what the domain says


def serene(seed: int, sigma: float, surprise: float = 0.0) -> Operator:
    """Returns both phases as one operator."""
    explore = novel(seed, sigma, surprise)
    return TwoPhase(explore, Rewarded(explore, seed=seed))


def novel(seed: int, sigma: float, surprise: float = 0.0) -> NoveltySearch:
    """Returns the exploring half alone."""
    return NoveltySearch(sigma=sigma, limits=LIMITS, seed=seed, surprise=surprise)


CODES = TaxonsAxes(CODE, chunk=CHUNK)
TRAINED = tuple(CHUNK * n * (n + 1) // 2 for n in range(1, 6))  # after which commits
PLAIN = {
    "SERENE": Method(serene),
    "novelty search": Method(novel),
    "MAP-Elites": Method(lambda seed, sigma: Gaussian(sigma, LIMITS, "clip")),
}
METHODS = {
    "discs": PLAIN,
    "maze": PLAIN,
    "pictures": {
        "STAX": Method(lambda seed, sigma: serene(seed, sigma, 0.5), CODES),
        "TAXONS": Method(lambda seed, sigma: novel(seed, sigma, 0.5), CODES),
        "novelty search on its codes": Method(novel, CODES),
        "novelty search on principal components": Method(
            novel, PrincipalAxes(CODE, at=(1, *TRAINED))
        ),
        "novelty search on codes never trained": Method(
            novel, TaxonsAxes(CODE, chunk=EVALUATIONS)
        ),
        "SERENE, told the place": Method(serene),
        "novelty search, told the place": Method(novel),
    },
}


@cache
def centroids() -> CVT:
    """Returns the cells for codes."""
    return CVT.spread(CELLS, ((0.0, 1.0),) * CODE)


def searched(world: str, method: str, seed: int, evaluations: int) -> Run:
    """Runs one search from beginning to end."""
    way = METHODS[world][method]
    domain: Any = Discs() if world == "discs" else SeenMaze() if way.axes else PaidMaze()
    grid = Grid((SIDE, SIDE), domain.bounds)
    settings = {"axes": way.axes} if way.axes else {}
    archive = centroids() if way.axes else grid
    began, operator = time.process_time(), way.make(seed, SIGMA[world])
    steering = Steering(novelty=None)
    search = Search(
        domain, archive, operator, batch=BATCH, seed=seed, steering=steering, **settings
    )
    best, first, places = np.zeros(2), float(evaluations), []
    for made, batch in enumerate(search.steps(evaluations // BATCH)):
        won = np.flatnonzero(batch.objective > 0)
        if len(won):
            first = min(first, made * BATCH + float(won[0]) + 1)
        places += [note["end"] for note in batch.notes] if way.axes else batch.descriptor.tolist()
        if world == "discs":
            best = np.maximum(best, rewards(batch.descriptor).max(0))
    filled = np.isin(np.arange(grid.cells), np.asarray(grid.cell(np.array(places))))
    reached = float(filled[paid(grid.centres)].mean())
    return Run(best.tolist(), float(filled.mean()), reached, first, time.process_time() - began)


def spread(values: Any, form: str = ".3f") -> str:
    """Returns mean, least and most."""
    numbers = np.asarray(values, float)
    return f"{numbers.mean():{form}} ({numbers.min():{form}} to {numbers.max():{form}})"


def table(world: str, runs: dict[str, list[Run]]) -> str:
    """Returns a row for each method."""
    heads = (
        ["best in disc A", "best in disc B"]
        if world == "discs"
        else ["reached", "first paid after"]
    )
    lines = [f"| | {' | '.join(heads)} | coverage | CPU-seconds |", "|---|---|---|---|---|"]
    for method, some in runs.items():
        best = np.array([run.best for run in some])
        columns = (
            [spread(best[:, 0]), spread(best[:, 1])]
            if world == "discs"
            else [
                spread([run.reached for run in some]),
                spread([run.first for run in some], ",.0f"),
            ]
        )
        columns += [
            spread([run.coverage for run in some]),
            spread([run.cpu for run in some], ".1f"),
        ]
        lines.append(f"| {method} | {' | '.join(columns)} |")
    return "\n".join(lines)


def verdict(runs: dict[str, list[Run]]) -> str:
    """Returns whether the targets were met on the discs."""
    ours, theirs = runs["SERENE"], runs["novelty search"]
    best, other = np.array([run.best for run in ours]), np.array([run.best for run in theirs])
    ratio = np.mean([run.coverage for run in ours]) / np.mean([run.coverage for run in theirs])
    more, spans = (best > other).sum(0), [_interval(gains) for gains in (best - other).T]
    told = "; ".join(
        f"in {disc} {'met' if low > 0 else 'not shown'}, {middle:+.3f} ({low:+.3f} to "
        f"{high:+.3f}, bootstrap over the "
        f"seeds, 95 %), better with {count} of {len(best)}"
        for disc, (middle, low, high), count in zip("AB", spans, more, strict=True)
    )
    why = (
        ""
        if ratio >= 0.9
        else " What climbs does not explore: "
        "it has half of the candidates once something was paid."
    )
    return (
        f"Target: more reward than novelty search in both discs, coverage within 10 %. Rewards: "
        f"{told}. "
        f"Coverage: {'met' if ratio >= 0.9 else 'missed'}, {ratio:.3f} of that of novelty "
        f"search.{why}"
    )


def _interval(gains: np.ndarray) -> tuple[float, float, float]:
    """Returns the mean of paired differences, and its bootstrap interval of 95 %."""
    means = np.random.default_rng(0).choice(gains, (10_000, len(gains))).mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(gains.mean()), float(low), float(high)


def maze_verdict(runs: dict[str, list[Run]]) -> str:
    """Returns which methods found the rewarded place."""
    said = [
        f"{name} in {sum(run.first < EVALUATIONS for run in some)}" for name, some in runs.items()
    ]
    few = len(next(iter(runs.values())))
    return (
        f"Of {few} seeds each, the paid place was found by {'; by '.join(said)}. "
        f"{few} seeds tell no small differences."
    )


PARTS = {
    "climbing from rewards": ("STAX", "TAXONS"),
    "surprise": ("TAXONS", "novelty search on its codes"),
    "training": ("novelty search on its codes", "novelty search on codes never trained"),
    "an autoencoder, not principal components": (
        "novelty search on its codes",
        "novelty search on principal components",
    ),
    "being told the place": ("novelty search, told the place", "novelty search on its codes"),
}


def pictures_verdict(runs: dict[str, list[Run]]) -> str:
    """Returns which methods found the place, and the effects of the parts, seed by seed."""
    lines = [
        "| worth of | is the row | less the row | reached | coverage |",
        "|---|---|---|---|---|",
    ]
    for part, (ours, theirs) in PARTS.items():
        pairs = list(zip(runs[ours], runs[theirs], strict=True))
        columns = []
        for what in ("reached", "coverage"):
            gain = np.array([getattr(a, what) - getattr(b, what) for a, b in pairs])
            columns.append(f"{spread(gain, '+.3f')}, more in {(gain > 0).sum()} of {len(gain)}")
        lines.append(f"| {part} | {ours} | {theirs} | {' | '.join(columns)} |")
    return "\n".join([maze_verdict(runs), "", *lines])


def page(runs: dict[str, dict[str, list[Run]]]) -> str:
    """Returns the page, of the seeds that all methods have run."""
    few = {world: min(map(len, some.values())) for world, some in runs.items()}
    whole = {
        world: {name: them[: few[world]] for name, them in some.items()}
        for world, some in runs.items()
    }
    told = {
        world: table(world, some) if few[world] else "Not measured yet."
        for world, some in whole.items()
    }
    return WORDS.format(
        evaluations=EVALUATIONS,
        batch=BATCH,
        side=SIDE,
        radius=RADIUS,
        centres=" and ".join(str(tuple(centre)) for centre in CENTRES.tolist()),
        noise=SIGMA,
        seeds={
            world: f"{n} seeds, from 0 on, of {len(SEEDS[world])}." for world, n in few.items()
        },
        verdict=verdict(whole["discs"]) if few["discs"] else "",
        near=NEAR,
        end=tuple(END[0].tolist()),
        maze_verdict=maze_verdict(whole["maze"]) if few["maze"] else "",
        code=CODE,
        chunk=CHUNK * BATCH,
        cells=CELLS,
        pictures_verdict=pictures_verdict(whole["pictures"]) if few["pictures"] else "",
        machine=f"a 2-core {platform.machine()} machine, shared, "
        f"Python {platform.python_version()}",
        **told,
        **{name: version(name) for name in ("qdkit", "jax", "numpy")},
    )


def main() -> None:
    """Makes the runs that are missing, and writes the page after each seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    store = HERE / "runs.jsonl"
    lines = [] if quick or not store.exists() else store.read_text(encoding="utf-8").splitlines()
    known = {
        (world, method, seed): Run(*run) for world, method, seed, run in map(json.loads, lines)
    }
    runs: dict[str, dict[str, list[Run]]] = {
        world: {method: [] for method in METHODS[world]} for world in SEEDS
    }
    for seed in range(1 if quick else max(map(len, SEEDS.values()))):
        for world in (world for world, seeds in SEEDS.items() if seed in seeds):
            for method, some in runs[world].items():
                run = known.get((world, method, seed))
                if run is None:
                    run = searched(
                        world, method, seed, EVALUATIONS // 10 if quick else EVALUATIONS
                    )
                    print(world, method, seed, run, flush=True)
                    if not quick:
                        with store.open("a", encoding="utf-8") as file:
                            print(json.dumps([world, method, seed, run]), file=file)
                some.append(run)
            if not quick:
                (HERE / "README.md").write_text(page(runs), encoding="utf-8")
    if quick:
        print(page(runs))


if __name__ == "__main__":
    main()

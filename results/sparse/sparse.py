"""Two worlds that pay in small places only, searched by SERENE, novelty search and MAP-Elites: writes README.md.

python results/sparse/sparse.py            some minutes of one idle core; goes on where runs.jsonl ends
python results/sparse/sparse.py --quick    one seed each with a tenth of the evaluations, printed only
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from discs import CENTRES, RADIUS, Discs, rewards

from qdkit import Search
from qdkit.archives import Grid
from qdkit.domains import Maze
from qdkit.operators import Gaussian, Novel, Rewarded, TwoPhase
from qdkit.types import Evaluation, Key, Operator

HERE = Path(__file__).parent
EVALUATIONS, SIDE = 20_000, 50
BATCH = dict.fromkeys(("SERENE", "novelty search", "MAP-Elites"), 12)  # candidates a step, alike for all
SEEDS = {"discs": range(10), "maze": range(3)}
END, NEAR = np.array([(0.15, 0.9)]), 0.1  # of the maze: where a robot that ends is paid, and how near
SIGMA = {"discs": 0.05, "maze": 0.2}
WORDS = """# Where rewards are sparse

SERENE explores by novelty and climbs from what is rewarded (`TwoPhase(explore, Rewarded(explore))`), beside its
exploring half alone (`Novel`) and MAP-Elites with the same noise (`Gaussian`). Each makes {evaluations:,} candidates
at most, {batch[SERENE]} a step, into a grid of {side} × {side} cells.
Figures are means over seeds, with the least and the most.

## Two discs

A genome is 10 numbers, that land in the square by tanh of two of their combinations; a disc pays 1 in its middle
and 0 from its radius of {radius} on. The discs lie at {centres}, where they were put before anything
was measured; seeds 100 and 101 showed that both are reachable, and they were not moved. The noise is
{noise[discs]}. {seeds[discs]}

{discs}

{verdict}

## A maze

`Maze(steps=250)`, paid 1 where the robot ends within {near} of {end}, and nothing elsewhere. A genome is
66 weights of a network; the noise is {noise[maze]} for all, chosen beforehand. Reached is how many of the cells with
their middle in the paid place are filled, as a share; where nothing was ever paid, {evaluations:,} stands for the
first paid. {seeds[maze]}

{maze}

{maze_verdict}

qdkit {qdkit}, jax {jax}, numpy {numpy}; {machine}. CPU-seconds are of the whole run.
`python results/sparse/sparse.py` writes this page.
"""


@dataclass(frozen=True)
class PaidMaze:
    """The maze with its end as the descriptor, that pays in one place."""

    maze: ClassVar[Maze] = Maze(steps=250)
    bounds: ClassVar[Any] = Maze.bounds

    def seeds(self, key: Key, n: int) -> np.ndarray:
        return self.maze.seeds(key, n)

    def evaluate(self, genomes: Any) -> Evaluation:
        place = np.asarray(self.maze.evaluate(genomes).descriptor, np.float64)
        return Evaluation(paid(place).astype(float), place)


class Run(NamedTuple):
    """What one search came to."""

    best: list[float]  # the best reward in each disc; 0 in the maze
    coverage: float
    reached: float  # the share of the cells in the paid place
    first: float  # evaluations until the first reward
    cpu: float


def paid(place: np.ndarray) -> np.ndarray:
    """bool `[n]`: within reach of the end."""
    return np.linalg.norm(place - END, axis=1) <= NEAR


def serene(seed: int, sigma: float, limits: Any) -> Operator:
    """Both phases."""
    explore = Novel(sigma=sigma, limits=limits, seed=seed)
    return TwoPhase(explore, Rewarded(explore, seed=seed))


METHODS: dict[str, Callable[[int, float, Any], Operator]] = {
    "SERENE": serene,
    "novelty search": lambda seed, sigma, limits: Novel(sigma=sigma, limits=limits, seed=seed),
    "MAP-Elites": lambda seed, sigma, limits: Gaussian(sigma, limits, "clip"),
}


def searched(world: str, method: str, seed: int, evaluations: int) -> Run:
    """One search from beginning to end."""
    domain: Any = Discs() if world == "discs" else PaidMaze()
    grid = Grid((SIDE, SIDE), domain.bounds)
    began, operator = time.process_time(), METHODS[method](seed, SIGMA[world], (-5.0, 5.0))
    search = Search(domain, grid, operator, batch=BATCH[method], seed=seed, novelty=None)
    best, first, made = np.zeros(2), float(evaluations), 0
    for batch in search.steps(evaluations // BATCH[method]):
        won = np.flatnonzero(batch.objective > 0)
        if len(won):
            first = min(first, made + float(won[0]) + 1)
        made += len(batch)
        if world == "discs":
            best = np.maximum(best, rewards(batch.descriptor).max(0))
    place = paid(grid.centres)
    filled = np.asarray(search.elites.occupied)
    return Run(
        best.tolist(), search.commits[-1].coverage, float(filled[place].mean()), first, time.process_time() - began
    )


def spread(values: Any, form: str = ".3f") -> str:
    """Mean, least and most."""
    numbers = np.asarray(values, float)
    return f"{numbers.mean():{form}} ({numbers.min():{form}} to {numbers.max():{form}})"


def table(world: str, runs: dict[str, list[Run]]) -> str:
    """A row for each method."""
    heads = ["best in disc A", "best in disc B"] if world == "discs" else ["reached", "first paid after"]
    lines = [f"| | {' | '.join(heads)} | coverage | CPU-seconds |", "|---|---|---|---|---|"]
    for method, some in runs.items():
        best = np.array([run.best for run in some])
        columns = (
            [spread(best[:, 0]), spread(best[:, 1])]
            if world == "discs"
            else [spread([run.reached for run in some]), spread([run.first for run in some], ",.0f")]
        )
        columns += [spread([run.coverage for run in some]), spread([run.cpu for run in some], ".1f")]
        lines.append(f"| {method} | {' | '.join(columns)} |")
    return "\n".join(lines)


def verdict(runs: dict[str, list[Run]]) -> str:
    """Whether the targets were met on the discs."""
    ours, theirs = runs["SERENE"], runs["novelty search"]
    best, other = np.array([run.best for run in ours]), np.array([run.best for run in theirs])
    ratio = np.mean([run.coverage for run in ours]) / np.mean([run.coverage for run in theirs])
    beaten = (best.mean(0) > other.mean(0)).all()
    more = (best > other).sum(0)
    why = (
        "" if ratio >= 0.9 else " What climbs does not explore: it has half of the candidates once something was paid."
    )
    return (
        f"Target: more reward than novelty search in both discs, coverage within 10 %. Rewards: "
        f"{'met' if beaten else 'missed'}, better in A with {more[0]} and in B with {more[1]} of {len(best)} seeds. "
        f"Coverage: {'met' if ratio >= 0.9 else 'missed'}, {ratio:.3f} of that of novelty search.{why}"
    )


def maze_verdict(runs: dict[str, list[Run]]) -> str:
    """Who was paid at all."""
    said = [f"{name} in {sum(run.reached > 0 for run in some)}" for name, some in runs.items()]
    few = len(next(iter(runs.values())))
    return (
        f"Of {few} seeds each, the paid place was found by {', by '.join(said)}. {few} seeds tell no small differences."
    )


def page(runs: dict[str, dict[str, list[Run]]]) -> str:
    """What was measured, of the seeds that all methods have had."""
    few = {world: min(map(len, some.values())) for world, some in runs.items()}
    whole = {world: {name: them[: few[world]] for name, them in some.items()} for world, some in runs.items()}
    told = {world: table(world, some) if few[world] else "Not measured yet." for world, some in whole.items()}
    return WORDS.format(
        evaluations=EVALUATIONS,
        batch=BATCH,
        side=SIDE,
        radius=RADIUS,
        centres=" and ".join(str(tuple(centre)) for centre in CENTRES.tolist()),
        noise=SIGMA,
        seeds={world: f"{n} seeds, from 0 on, of {len(SEEDS[world])}." for world, n in few.items()},
        verdict=verdict(whole["discs"]) if few["discs"] else "",
        near=NEAR,
        end=tuple(END[0].tolist()),
        maze_verdict=maze_verdict(whole["maze"]) if few["maze"] else "",
        machine=f"a 2-core {platform.machine()} machine, shared, Python {platform.python_version()}",
        **told,
        **{name: version(name) for name in ("qdkit", "jax", "numpy")},
    )


def main() -> None:
    """Makes the runs that are missing, and writes the page after each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    store = HERE / "runs.jsonl"
    lines = [] if quick or not store.exists() else store.read_text(encoding="utf-8").splitlines()
    known = {(world, method, seed): Run(*run) for world, method, seed, run in map(json.loads, lines)}
    runs: dict[str, dict[str, list[Run]]] = {world: {method: [] for method in METHODS} for world in SEEDS}
    for seed in range(1 if quick else max(map(len, SEEDS.values()))):
        for world in (world for world, seeds in SEEDS.items() if seed in seeds):
            for method, some in runs[world].items():
                run = known.get((world, method, seed))
                if run is None:
                    run = searched(world, method, seed, EVALUATIONS // 10 if quick else EVALUATIONS)
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

"""Measures whether steering helps: evaluations and cost until a target, with and without parts.

    python results/steering/ablation.py targets             the targets, from the plain search on
                                                            seeds of their own
    python results/steering/ablation.py tuned [--seeds 20]  the worlds on which settings may be
                                                            chosen
    python results/steering/ablation.py held-out            the others: run once, after everything
                                                            is chosen
    python results/steering/ablation.py climber             the plain hill climber, on all worlds
                                                            whose aim is the best
    python results/steering/ablation.py table               README.md from rows.jsonl and
                                                            targets.json

A run ends at `MOST` evaluations; a run that has not met its target by then counts as `MOST`, which
favours the slower variant. The target of a world is what the plain search reaches in the median
after `PLAIN` evaluations: the best objective for the mathematical problems, and the QD score for
the arms, whose best is trivial. The other of the two is reported as well.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from worlds import EVALUATION, HELD_OUT, TUNED, World, mutators

import qdkit
from qdkit.archives import Grid
from qdkit.comparing.baselines import Single
from qdkit.novelty import Distinct
from qdkit.operators import Portfolio
from qdkit.selection.bandits import UCBTuned
from qdkit.selection.parents import Uniform, Weighted

HERE = Path(__file__).parent
MOST, PLAIN, BATCH, CELLS = 2400, 600, 4, 16
CALIBRATION = range(1000, 1010)  # seeds that nothing else uses
PRIMARY = {"arm 10": "qd_score", "unit arm 10": "qd_score"}  # the others: best

BANDIT = UCBTuned(discount=0.998)
PARENTS = Weighted()
FULL = {"parents": True, "novelty": True, "bandit": True}
VARIANTS = {
    "all on": FULL,
    "without weighted parents": FULL | {"parents": False},
    "without novelty": FULL | {"novelty": False},
    "without the bandit": FULL | {"bandit": False},
    "all off": dict.fromkeys(FULL, False),
}
CLIMBER = "hill climber"  # all off, and each candidate made from the best so far alone
COLUMNS = (*VARIANTS, CLIMBER)
TARGETS = {"best": "the best objective", "qd_score": "the QD score"}


def search(
    world: World, seed: int, parents: bool, novelty: bool, bandit: bool, climbs: bool = False
) -> qdkit.Search:
    """Returns the search of a variant.

    Without the bandit the mutators take turns, as in a uniform choice.
    """
    grid = Grid((CELLS, CELLS), world.bounds)
    price = lambda batch: (
        np.array([note.get("price", 1.0) for note in batch.notes]) + EVALUATION * batch.ok
    )
    arms = mutators(world)
    operator = Portfolio(arms, bandit=BANDIT, cost=price, seed=seed) if bandit else Portfolio(arms)
    return qdkit.Search(
        world,
        Single(grid) if climbs else grid,
        operator,
        batch=BATCH,
        seed=seed,
        steering=qdkit.Steering(
            parents=PARENTS if parents else Uniform(),
            novelty=Distinct(world.form) if novelty else None,
        ),
    )


def course(world: World, seed: int, variant: str) -> Iterator[dict[str, float]]:
    """Returns evaluations, cost, best and QD score after each step."""
    settings = {**VARIANTS["all off"], "climbs": True} if variant == CLIMBER else VARIANTS[variant]
    run, cost = search(world, seed, **settings), 0.0
    for batch in run.steps(10 * MOST):
        now = run.commits[-1]
        made = sum(note.get("price", 0.0) for note in batch.notes)
        cost += made + EVALUATION * sum(
            qdkit.Outcome(outcome).evaluated for outcome in batch.outcome
        )
        yield {
            "evaluations": now.evaluations,
            "cost": cost,
            "best": now.best,
            "qd_score": now.qd_score,
        }
        if now.evaluations >= MOST:
            return


def targets() -> None:
    """Writes targets.json: the median best and QD score of the plain search in each world.

    They are those after `PLAIN` evaluations.
    """
    found = {}
    for world in (*TUNED, *HELD_OUT):
        ends = []
        for seed in CALIBRATION:
            ends.append(
                next(now for now in course(world, seed, "all off") if now["evaluations"] >= PLAIN)
            )
        found[world.name] = {
            name: float(np.median([end[name] for end in ends])) for name in ("best", "qd_score")
        }
        print(world.name, found[world.name], flush=True)
    (HERE / "targets.json").write_text(json.dumps(found, indent=1) + "\n")


def row(world: World, seed: int, variant: str, target: dict[str, float]) -> dict[str, Any]:
    """Returns evaluations and cost of one run when it met each target.

    They are `MOST` evaluations and their cost if it never did.
    """
    begun, last = time.process_time(), {"evaluations": 0.0, "cost": 0.0}
    met: dict[str, tuple[float, float]] = {}
    for last in course(world, seed, variant):
        for name, value in target.items():
            if last[name] >= value:
                met.setdefault(name, (last["evaluations"], last["cost"]))
        if len(met) == len(target):
            break
    ends = {name: met.get(name, (MOST, last["cost"])) for name in target}
    return {
        "world": world.name,
        "variant": variant,
        "seed": seed,
        **{
            f"{name} {what}": ends[name][i]
            for name in target
            for i, what in enumerate(("evaluations", "cost"))
        },
        **{f"{name} met": name in met for name in target},
        "cpu": round(time.process_time() - begun, 2),
    }


def run(
    worlds: tuple[World, ...], seeds: int, out: Path, variants: Sequence[str] = tuple(VARIANTS)
) -> None:
    """Adds the missing rows, one line each, so that it may be stopped and called again."""
    known = json.loads((HERE / "targets.json").read_text())
    done = {(r["world"], r["variant"], r["seed"]) for r in rows(out)}
    with out.open("a") as file:
        for seed in range(1, seeds + 1):
            for world in worlds:
                for variant in variants:
                    if (world.name, variant, seed) not in done:
                        target = (
                            {"best": known[world.name]["best"]}
                            if variant == CLIMBER
                            else known[world.name]
                        )
                        file.write(json.dumps(row(world, seed, variant, target)) + "\n")
                        file.flush()


def rows(out: Path) -> list[dict[str, Any]]:
    """Returns the stored rows."""
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def table(out: Path) -> None:
    """Writes README.md: about.md with the figures in it."""
    every = rows(out)
    parts = []
    for title, worlds in (
        ("Worlds on which settings were chosen", TUNED),
        ("Worlds held out", HELD_OUT),
    ):
        for what in ("evaluations", "cost"):
            parts.append(_table(every, _main(worlds), title, what))
    for title, worlds in (
        ("Worlds on which settings were chosen", TUNED),
        ("Worlds held out", HELD_OUT),
    ):
        parts.append(_table(every, _other(worlds), f"{title}, the map as the aim", "evaluations"))
    parts.append(_both(every))
    text = (HERE / "about.md").read_text()
    figures = "\n\n".join(part for part in parts if part)
    machine = (
        f"{platform.machine()}, {platform.system()}, "
        f"Python {platform.python_version()}, numpy {np.__version__}"
    )
    held_out = [world for world, measure in _main(HELD_OUT) if measure == "best"]
    every_world = [world for world, measure in _main((*TUNED, *HELD_OUT)) if measure == "best"]
    told = {
        "figures": figures,
        "machine": machine,
        "climber": _share(every, every_world, "best", CLIMBER),
        "climber_held_out": _share(every, held_out, "best", CLIMBER),
        "off": _share(every, every_world, "qd_score", "all off"),
        "unweighted": _share(every, every_world, "qd_score", "without weighted parents"),
    }
    for name, words in told.items():
        text = text.replace(f"{{{name}}}", words)
    (HERE / "README.md").write_text(text)


def _share(
    every: list[dict[str, Any]], worlds: Sequence[World], measure: str, variant: str
) -> str:
    """Returns the ratio of a variant's evaluations to those of all on, with the interval."""
    found = [_of(every, world, measure, "evaluations") for world in worlds]
    logs = [np.log(values[variant][0] / values["all on"][0]) for values in found]
    return _interval(np.concatenate(logs), np.random.default_rng(0)).replace(" (", " times (")


def _main(worlds: Sequence[World]) -> list[tuple[World, str]]:
    """Each world with the measure that is its aim."""
    return [(world, PRIMARY.get(world.name, "best")) for world in worlds]


def _other(worlds: Sequence[World]) -> list[tuple[World, str]]:
    """Returns the worlds whose aim is the best objective, with the QD score."""
    return [(world, "qd_score") for world in worlds if world.name not in PRIMARY]


def _of(
    every: list[dict[str, Any]], world: World, measure: str, what: str
) -> dict[str, tuple[np.ndarray, int]]:
    """Returns variant -> (its values, number of runs that met the target).

    The seeds are those that all variants have.
    """
    of = {
        v: {r["seed"]: r for r in every if (r["world"], r["variant"]) == (world.name, v)}
        for v in COLUMNS
    }
    known = {
        v: found
        for v, found in of.items()
        if found and f"{measure} {what}" in next(iter(found.values()))
    }
    seeds = sorted(set.intersection(*map(set, known.values()))) if known else []
    values = lambda v: np.array([known[v][s][f"{measure} {what}"] for s in seeds], float)
    return (
        {v: (values(v), sum(known[v][s][f"{measure} met"] for s in seeds)) for v in known}
        if seeds
        else {}
    )


def _table(
    every: list[dict[str, Any]], aims: Sequence[tuple[World, str]], title: str, what: str
) -> str:
    found = [(world, measure, _of(every, world, measure, what)) for world, measure in aims]
    found = [one for one in found if one[2]]
    columns = [v for v in COLUMNS if any(v in values for *_, values in found)]
    head = "| world | " + " | ".join(columns) + " |\n|" + "---|" * (1 + len(columns))
    lines = []
    for world, measure, values in found:
        cell = lambda v, of=values: (
            f"{np.median(of[v][0]):,.0f} ({of[v][1]}/{len(of[v][0])})" if v in of else "–"
        )
        lines.append(
            f"| {world.name}, {measure.replace('_', ' ')} | "
            + " | ".join(map(cell, columns))
            + " |"
        )
    times = _times([values for *_, values in found], columns)
    return (
        "\n".join([f"### {title}: {what} until the target\n\n{head}", *lines, times])
        if lines
        else ""
    )


def _times(found: Sequence[dict[str, tuple[np.ndarray, int]]], columns: Sequence[str]) -> str:
    """Returns the last line of a table: the geometric mean of the ratios to all on.

    The mean is over the worlds that a column has.
    """
    random, cells = np.random.default_rng(0), []
    for v in columns:
        logs = [np.log(values[v][0] / values["all on"][0]) for values in found if v in values]
        cells.append("1" if v == "all on" else _interval(np.concatenate(logs), random))
    return "| **times that of all on** | " + " | ".join(cells) + " |"


def _both(every: list[dict[str, Any]]) -> str:
    """Returns what each variant needs for each of the two targets.

    The worlds are all whose aim is the best objective.
    """
    worlds = [world for world in (*TUNED, *HELD_OUT) if world.name not in PRIMARY]
    head = (
        "### Both targets, all six mathematical worlds: evaluations, times that of all on\n\n"
        "| until | "
    )
    lines = [head + " | ".join(COLUMNS) + " |\n|" + "---|" * (1 + len(COLUMNS))]
    for measure, name in TARGETS.items():
        found = [_of(every, world, measure, "evaluations") for world in worlds]
        columns = [v for v in COLUMNS if v in found[0]]
        cells = (
            _times(found, columns)
            .removeprefix("| **times that of all on** | ")
            .removesuffix(" |")
            .split(" | ")
        )
        told = dict(zip(columns, cells, strict=True))
        lines.append(f"| {name} | " + " | ".join(told.get(v, "–") for v in COLUMNS) + " |")
    return "\n".join(lines)


def _interval(logs: np.ndarray, random: np.random.Generator) -> str:
    """Returns the geometric mean of paired ratios, with its bootstrap interval of 95 %."""
    means = np.exp([random.choice(logs, len(logs)).mean() for _ in range(4000)])
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{np.exp(logs.mean()):.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["targets", "tuned", "held-out", "climber", "table"])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--out", type=Path, default=HERE / "rows.jsonl")
    said = parser.parse_args()
    {
        "targets": targets,
        "tuned": lambda: run(TUNED, said.seeds, said.out),
        "held-out": lambda: run(HELD_OUT, said.seeds, said.out),
        "climber": lambda: run(
            tuple(w for w in (*TUNED, *HELD_OUT) if w.name not in PRIMARY),
            said.seeds,
            said.out,
            [CLIMBER],
        ),
        "table": lambda: table(said.out),
    }[said.what]()


if __name__ == "__main__":
    sys.exit(main())

"""Whether steering helps: evaluations and cost until a target, with all of it, without each part, and with none.

    python results/steering/ablation.py targets             the targets, from the plain search on seeds of their own
    python results/steering/ablation.py tuned [--seeds 20]  the worlds on which settings may be chosen
    python results/steering/ablation.py held-out            the others: run once, after everything is chosen
    python results/steering/ablation.py table               README.md from rows.jsonl and targets.json

A run ends at `MOST` evaluations; one that has not met its target by then counts as `MOST`, which
favours whoever is slower. The target of a world is what the plain search reaches in the median after
`PLAIN` evaluations: the best objective of the mathematical problems, the QD score of the arms, whose
best is no question. The other of the two is told as well.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from worlds import EVALUATION, HELD_OUT, TUNED, World, mutators

import qdkit
from qdkit.archives import Grid
from qdkit.bandits import UCBTuned
from qdkit.novelty import Distinct
from qdkit.operators import Portfolio
from qdkit.parents import Uniform, Weighted

HERE = Path(__file__).parent
MOST, PLAIN, BATCH, CELLS = 3000, 1000, 4, 16
CALIBRATION = range(1000, 1010)  # seeds that nothing else uses
PRIMARY = {"arm 10": "qd_score", "unit arm 10": "qd_score"}  # the others: best

BANDIT = UCBTuned(discount=0.998, least=0.02)
PARENTS = Weighted()
FULL = {"parents": True, "novelty": True, "bandit": True}
VARIANTS = {
    "all on": FULL,
    "without weighted parents": FULL | {"parents": False},
    "without novelty": FULL | {"novelty": False},
    "without the bandit": FULL | {"bandit": False},
    "all off": dict.fromkeys(FULL, False),
}


def search(world: World, seed: int, parents: bool, novelty: bool, bandit: bool) -> qdkit.Search:
    """The search of a variant. Without the bandit the mutators take turns, as in a uniform choice."""
    price = lambda batch: np.array([note.get("price", 1.0) for note in batch.notes]) + EVALUATION * batch.ok
    arms = mutators(world)
    operator = Portfolio(arms, bandit=BANDIT, cost=price, seed=seed) if bandit else Portfolio(arms)
    return qdkit.Search(
        world,
        Grid((CELLS, CELLS), world.bounds),
        operator,
        batch=BATCH,
        seed=seed,
        parents=PARENTS if parents else Uniform(),
        novelty=Distinct(world.form) if novelty else None,
    )


def course(world: World, seed: int, variant: str) -> Iterator[dict[str, float]]:
    """How a run stands after each step: evaluations, cost, best, QD score."""
    run, cost = search(world, seed, **VARIANTS[variant]), 0.0
    for batch in run.steps(10 * MOST):
        now = run.commits[-1]
        made = sum(note.get("price", 0.0) for note in batch.notes)
        cost += made + EVALUATION * sum(qdkit.Outcome(outcome).evaluated for outcome in batch.outcome)
        yield {"evaluations": now.evaluations, "cost": cost, "best": now.best, "qd_score": now.qd_score}
        if now.evaluations >= MOST:
            return


def targets() -> None:
    """Writes targets.json: per world the median best and QD score of the plain search after `PLAIN` evaluations."""
    found = {}
    for world in (*TUNED, *HELD_OUT):
        ends = []
        for seed in CALIBRATION:
            ends.append(next(now for now in course(world, seed, "all off") if now["evaluations"] >= PLAIN))
        found[world.name] = {name: float(np.median([end[name] for end in ends])) for name in ("best", "qd_score")}
        print(world.name, found[world.name], flush=True)
    (HERE / "targets.json").write_text(json.dumps(found, indent=1) + "\n")


def row(world: World, seed: int, variant: str, target: dict[str, float]) -> dict[str, Any]:
    """One run: evaluations and cost when each target was met, `MOST` evaluations and their cost if it never was."""
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
        **{f"{name} {what}": ends[name][i] for name in target for i, what in enumerate(("evaluations", "cost"))},
        **{f"{name} met": name in met for name in target},
        "cpu": round(time.process_time() - begun, 2),
    }


def run(worlds: tuple[World, ...], seeds: int, out: Path) -> None:
    """Adds the rows that are missing, one line each, so that it may be stopped and called again."""
    known = json.loads((HERE / "targets.json").read_text())
    done = {(r["world"], r["variant"], r["seed"]) for r in rows(out)}
    with out.open("a") as file:
        for seed in range(1, seeds + 1):
            for world in worlds:
                for variant in VARIANTS:
                    if (world.name, variant, seed) not in done:
                        file.write(json.dumps(row(world, seed, variant, known[world.name])) + "\n")
                        file.flush()


def rows(out: Path) -> list[dict[str, Any]]:
    """What is known."""
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def table(out: Path) -> None:
    """Writes the figures between the marks of README.md."""
    every = rows(out)
    parts = []
    for title, worlds in (("Worlds on which settings were chosen", TUNED), ("Worlds held out", HELD_OUT)):
        for what in ("evaluations", "cost"):
            parts.append(_table(every, worlds, title, what))
    text = (HERE / "about.md").read_text()
    figures = "\n\n".join(part for part in parts if part)
    machine = f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, numpy {np.__version__}"
    (HERE / "README.md").write_text(text.replace("{figures}", figures).replace("{machine}", machine))


def _table(every: list[dict[str, Any]], worlds: tuple[World, ...], title: str, what: str) -> str:
    columns = "| world | " + " | ".join(VARIANTS) + " |\n|" + "---|" * (1 + len(VARIANTS))
    head = f"### {title}: {what} until the target\n\n{columns}"
    lines, ratios = [], {variant: [] for variant in VARIANTS}
    for world in worlds:
        measure = PRIMARY.get(world.name, "best")
        of = {v: {r["seed"]: r for r in every if (r["world"], r["variant"]) == (world.name, v)} for v in VARIANTS}
        seeds = sorted(set.intersection(*map(set, of.values())))
        if not seeds:
            continue
        values = {v: np.array([of[v][s][f"{measure} {what}"] for s in seeds], float) for v in VARIANTS}
        met = {v: sum(of[v][s][f"{measure} met"] for s in seeds) for v in VARIANTS}
        for variant in VARIANTS:
            ratios[variant].append(np.log(values[variant] / values["all on"]))
        cells = [f"{np.median(values[v]):,.0f} ({met[v]}/{len(seeds)})" for v in VARIANTS]
        lines.append(f"| {world.name}, {measure.replace('_', ' ')} | " + " | ".join(cells) + " |")
    if not lines:
        return ""
    random = np.random.default_rng(0)
    cells = [_interval(np.concatenate(ratios[v]), random) if v != "all on" else "1" for v in VARIANTS]
    return "\n".join([head, *lines, "| **times that of all on** | " + " | ".join(cells) + " |"])


def _interval(logs: np.ndarray, random: np.random.Generator) -> str:
    """The geometric mean of paired ratios, with its bootstrap interval of 95 %."""
    means = np.exp([random.choice(logs, len(logs)).mean() for _ in range(4000)])
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{np.exp(logs.mean()):.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["targets", "tuned", "held-out", "table"])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--out", type=Path, default=HERE / "rows.jsonl")
    said = parser.parse_args()
    {
        "targets": targets,
        "tuned": lambda: run(TUNED, said.seeds, said.out),
        "held-out": lambda: run(HELD_OUT, said.seeds, said.out),
        "table": lambda: table(said.out),
    }[said.what]()


if __name__ == "__main__":
    sys.exit(main())

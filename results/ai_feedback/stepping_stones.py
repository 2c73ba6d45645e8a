"""Compares QDAIF with its baselines where stepping stones are needed, without a model.

    python results/ai_feedback/stepping_stones.py run [--seeds 20]   the rows that are missing, to
                                                                     rows.jsonl
    python results/ai_feedback/stepping_stones.py table              README.md from rows.jsonl

The rows compare the order of the methods, bins, depth, equal calls and noise. The model
`qdkit.testing.simulated_model`, which was chosen on seeds from 1000, writes and judges the texts.
A run is a `Search` of 1,000 texts, eight a step. QDAIF wrote 2,000, one a step: here that takes
eight times as long, and after 2,000 texts of so simple a kind all methods that learn have nearly
filled the map.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import qdkit
from qdkit import metrics
from qdkit.archives import DeepGrid, Grid
from qdkit.comparing.qdaif import METHODS, judged_texts, map_of, method
from qdkit.core.elites import Elites
from qdkit.core.types import Batch
from qdkit.domains.texts.opinions import Opinions
from qdkit.search.reevaluation import Reevaluation
from qdkit.testing.simulated_model import OPENINGS, Clauses

HERE = Path(__file__).parent
TEXTS, BATCH, RESAMPLES = 1000, 8, 10_000
DOMAIN = Opinions(start=OPENINGS)
SET, UNIFORM = Grid(DOMAIN.shape, DOMAIN.bounds), Grid(DOMAIN.shape, ((0.0, 1.0),))
EXACT, KEY = Clauses().judged, jax.random.key(0)


class Run(NamedTuple):
    """A method, with another archive if given, under a judge with noise.

    map: the cells in which all that was written is counted.
    rule: how candidates are evaluated again, None for not at all.
    looks: how many judgements the search may ask for, of texts and of re-evaluations, in place
      of `texts`.
    """

    method: str
    noise: float = 0.0
    archive: Any = None
    map: Any = SET
    texts: int = TEXTS
    rule: Reevaluation | None = None
    looks: int = 0


MODELS = ("gpt-4o-mini", "gpt-4o")  # whose prices are told: they tell log-probabilities
MAIN = ("fixed", "shuffled", "random", "quality only", "qdaif")
ANSWERS = 4000  # of the judge, for rules that ask again and those that do not alike
NOISE = 1.0  # standard deviation on the logit of every judgement
RUNS = {
    **{name: Run(name) for name in MAIN},
    **{f"{name}, noise": Run(name, NOISE) for name in ("quality only", "qdaif")},
    "qdaif, uniform": Run("qdaif", archive=DeepGrid(UNIFORM, 100), map=UNIFORM),
    "quality only, uniform": Run("quality only", map=UNIFORM),
    **{f"qdaif, depth {depth}": Run("qdaif", archive=DeepGrid(SET, depth)) for depth in (1, 10)},
    **{name: Run(name) for name in METHODS if name not in MAIN},
    "quality only, equal": Run("quality only", NOISE, looks=ANSWERS),
    "qdaif, equal": Run("qdaif", NOISE, SET, looks=ANSWERS // 2),
    "qdaif, exact": Run("qdaif", 0.0, SET, looks=ANSWERS // 2),
    **{
        f"qdaif, {name}": Run("qdaif", NOISE, SET, rule=rule, looks=ANSWERS // 2)
        for name, rule in {
            "challenge": Reevaluation(),
            "challenge, least 3": Reevaluation(least=3),
            "challenge, bound 1, least 5": Reevaluation(bound=1.0, least=5),
        }.items()
    },
}
AGAIN = [name for name, about in RUNS.items() if about.looks]

FIRST = [name for name in RUNS if name in MAIN or name.endswith("noise")]


def row(name: str, seed: int) -> dict[str, Any]:
    """Returns the measures of one run: its QD score and coverage, as reported and without noise.

    They are those of all texts and of as many as the calls allow.
    """
    about, begun = RUNS[name], time.process_time()
    model = Clauses(seed, about.noise)
    parts = method(about.method, DOMAIN, model)
    parts |= {"archive": about.archive} if about.archive else {}
    parts |= {"budget": qdkit.Budget(evaluations=about.looks)} if about.looks else {}
    parts["steering"] = replace(parts["steering"], reevaluate=about.rule)
    with qdkit.Search(DOMAIN, **parts, judge=model.judged, batch=BATCH, seed=seed) as search:
        steps = len(OPENINGS) // BATCH + 1 + about.texts // BATCH
        search.run(None if about.looks else steps, progress=False)
        shrunk = search.summary().get("qd_score_shrunk", math.nan)
        last = search.commits[-1]
        written = search.ledger.take(range(last.first + last.rows))
        seen = as_seen(search, about, written)
    value, place = judged_texts(written, EXACT, KEY)

    def found(which: np.ndarray) -> Elites:
        return map_of(about.map, written.id, np.where(which, value, np.nan), place)

    equal = written.id < len(OPENINGS) + about.texts // METHODS[about.method].calls(DOMAIN)
    kept = np.isin(written.id, held(seen))
    true = found(kept)
    more = (
        {"texts": len(written), "shrunk": shrunk, "worth": float(np.nansum(value[kept]))}
        if about.looks
        else {}
    )
    return {
        "run": name,
        "seed": seed,
        "qd": metrics.qd_score(true),
        "coverage": metrics.coverage(true),
        "reported": metrics.qd_score(seen),
        "found": metrics.qd_score(found(written.id >= 0)),
        "equal calls": metrics.qd_score(found(equal)),
        **more,
        "cpu": round(time.process_time() - begun, 2),
    }


def as_seen(search: qdkit.Search, about: Run, written: Batch) -> Elites:
    """Returns the map as the search's judge saw it.

    It is the search's own if it keeps one, else that of all texts that were written.
    """
    if getattr(search.archive, "archive", search.archive) in (SET, UNIFORM):
        return search.elites
    if about.noise:  # what a filter rejected was never judged
        return map_of(about.map, written.id, written.objective, written.features)
    return map_of(about.map, written.id, *judged_texts(written, EXACT, KEY))


def held(elites: Elites) -> np.ndarray:
    """Returns the ids of the best of each cell."""
    best = slice(None, None, elites.depth)
    return elites.payload["id"][best][elites.objective[best] > -np.inf]


def rows(path: Path) -> list[dict[str, Any]]:
    """Returns the stored rows."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run(seeds: int, path: Path) -> None:
    """Adds the missing rows, one line each, so that it may be stopped and called again."""
    done = {(known["run"], known["seed"]) for known in rows(path)}
    with path.open("a") as file:
        for names in (FIRST, [name for name in RUNS if name not in FIRST]):
            for seed in range(1, seeds + 1):
                for name in names:
                    if (name, seed) not in done:
                        file.write(json.dumps(row(name, seed)) + "\n")
                        file.flush()


def interval(values: list[float]) -> str:
    """Returns the mean and its bootstrap interval of 95 %; a dash where there is none."""
    if np.isnan(values).any():
        return "–"
    at = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(np.asarray(values)[at].mean(1), [2.5, 97.5])
    return f"{np.mean(values):.2f} ({low:.2f}–{high:.2f})"


def table(path: Path) -> None:
    """Writes README.md."""
    every = rows(path)
    of = lambda name, what: [known[what] for known in every if known["run"] == name]
    texts = lambda name: TEXTS // METHODS[RUNS[name].method].calls(DOMAIN)
    plain = [*MAIN, *(name for name in METHODS if name not in MAIN)]
    order = [
        (
            name,
            METHODS[name].calls(DOMAIN),
            texts(name),
            interval(of(name, "equal calls")),
            interval(of(name, "qd")),
            f"{np.mean(of(name, 'coverage')):.2f}",
        )
        for name in plain
    ]
    uniform = [
        (name, interval(of(name, "equal calls")), interval(of(name, "qd")))
        for name in RUNS
        if "uniform" in name
    ]
    noise = [
        (name, *(interval(of(name, what)) for what in ("reported", "qd", "found")))
        for name in RUNS
        if "noise" in name
    ]
    told = ("reported", "shrunk", "worth", "qd", "found")
    again = [
        (name, f"{np.mean(of(name, 'texts')):,.0f}", *(interval(of(name, what)) for what in told))
        for name in AGAIN
    ]
    depths = " and ".join(
        f"{interval(of(f'qdaif, depth {depth}', 'qd'))} with {depth}" for depth in (1, 10)
    )
    equal, every_text = f"QD score after {TEXTS:,} calls", f"QD score after {TEXTS:,} texts"
    filled = {
        "texts": f"{TEXTS:,}",
        "calls": f"{TEXTS:,}",
        "seeds": str(max(known["seed"] for known in every)),
        "order": markdown(
            (
                "method",
                "calls a text",
                "texts for equal calls",
                equal,
                every_text,
                "coverage then",
            ),
            order,
        ),
        "uniform": markdown(("method", equal, every_text), uniform),
        "noise": markdown(("method", "as seen", "true", "ceiling"), noise),
        "answers": f"{ANSWERS:,}",
        "again": markdown(
            ("method", "texts", "as seen", "shrunk", "worth", "true", "ceiling"), again
        ),
        "depth": f"QD score {depths}, and {interval(of('qdaif', 'qd'))} with 100.",
        "cpu": f"{np.mean([known['cpu'] for known in every]):.1f}",
        "machine": f"{platform.machine()}, {platform.system()}, "
        f"Python {platform.python_version()}",
        "cost": markdown(
            ("domain", "calls of a run", *(f"US dollars by {name}" for name in MODELS)), costs()
        ),
    }
    text = (HERE / "about.md").read_text()
    (HERE / "README.md").write_text(
        re.sub(r"\{(\w+)\}", lambda found: filled.get(found[1], found[0]), text)
    )


def costs() -> list[tuple[Any, ...]]:
    """Returns the most that a run of each domain costs, by the toolkit's prices of some models."""
    from published import DOMAINS, cost

    models = [
        qdkit.LLM(name, base_url="https://api.openai.com/v1", api_key="none") for name in MODELS
    ]
    return [
        (
            name,
            f"{cost(domain, models[0])[0]:,}",
            *(f"{cost(domain, model)[1]:.2f}" for model in models),
        )
        for name, domain in DOMAINS.items()
    ]


def markdown(head: tuple[str, ...], body: list[tuple[Any, ...]]) -> str:
    """Returns a table."""
    return "\n".join(
        f"| {' | '.join(map(str, line))} |" for line in [head, ("---",) * len(head), *body]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--seeds", type=int, default=20)
    asked = parser.parse_args()
    if asked.what == "run":
        run(asked.seeds, HERE / "rows.jsonl")
    else:
        table(HERE / "rows.jsonl")

"""Runs the table of the QDAIF paper with a model of your own, which also judges the texts.

    python results/ai_feedback/published.py --model MODEL --all --cost
    python results/ai_feedback/published.py --model MODEL --all
    python results/ai_feedback/published.py --model MODEL --domain stories-genre --method qdaif
        --seed 1

The first command prints the most that the whole table costs, the second runs it, each run in a
folder of its own, and the third is one run. A run that was stopped continues where it was. Texts
that a filter rejected are judged afterwards, as in the paper.
"""

from __future__ import annotations

import argparse
import itertools
from functools import partial
from pathlib import Path
from typing import Any

import jax

import qdkit
from qdkit import LLM, metrics
from qdkit.archives import Grid
from qdkit.comparing.qdaif import METHODS, judged_map, method
from qdkit.domains.texts.opinions import Opinions
from qdkit.domains.texts.stories import Stories
from qdkit.llm import Question
from qdkit.operators import FewShot

DOMAINS = {
    "opinions": Opinions(),
    **{f"stories-{by}": Stories(by) for by in ("genre", "ending", "both")},
}
TEXTS, SEEDS = 2000, 5


def questions(domain: Any, model: LLM) -> tuple[Question, list[Question]]:
    """Returns the questions that write a text, and judge one, of the length of the seeds."""
    writes = FewShot(model, domain.task, max_tokens=domain.longest).question_with(domain.openings)
    panel: Any = domain.judge(model)
    return writes, [
        judge.judges[0].question(domain.openings[0]) for judge in (panel.quality, *panel.axes)
    ]


def cost(domain: Any, model: LLM) -> tuple[int, float]:
    """Returns (calls, US dollars) of a run that judges every text that it writes.

    It assumes a token for four letters of a prompt, and one word for each answer.
    """
    writes, judges = questions(domain, model)
    size = lambda question: (
        sum(len(str(message["content"])) for message in question.messages()) // 4
    )
    dollars = model.cost(size(writes), domain.longest).dollars + sum(
        model.cost(size(q), 4).dollars for q in judges
    )
    return TEXTS * (1 + len(judges)), TEXTS * dollars


def run(name: str, which: str, seed: int, model: LLM, out: Path) -> float:
    """Returns the QD score of one run, which it makes or continues in its folder."""
    domain = DOMAINS[name]
    judge, folder = (
        domain.judge(model),
        out / f"{name}-{which.replace(', ', '-').replace(' ', '-')}-{seed}",
    )
    parts = method(which, domain, model)
    begin: Any = qdkit.Search
    place: dict[str, Any] = {"folder": folder}
    if folder.exists():
        begin, place = partial(qdkit.Search.resume, folder), {}
    with begin(domain, **parts, judge=judge, batch=1, seed=seed, **place) as search:
        if left := TEXTS + len(domain.openings) - len(search.commits):
            search.run(left)
        written = search.ledger.take(range(search.commits[-1].first + search.commits[-1].rows))
    grid = Grid(domain.shape, domain.bounds, names=domain.names)
    return metrics.qd_score(judged_map(grid, written, judge, jax.random.key(seed)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--domain", choices=DOMAINS, default="opinions")
    parser.add_argument("--method", choices=METHODS, default="qdaif")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--all", action="store_true", help="every domain, method and seed")
    parser.add_argument("--cost", action="store_true", help="say what it costs, and stop")
    parser.add_argument("--out", type=Path, default=Path("results/published"))
    asked = parser.parse_args()
    model = LLM(asked.model, options={"top_p": 0.95})
    one = [(asked.domain, asked.method, asked.seed)]
    todo = list(itertools.product(DOMAINS, METHODS, range(1, SEEDS + 1))) if asked.all else one
    every = [cost(DOMAINS[name], model) for name, _, _ in todo]
    dollars = sum(dollars for _, dollars in every)
    priced = (
        f"about {dollars:.2f} US dollars" if dollars == dollars else "at a price that is not known"
    )
    print(f"{sum(calls for calls, _ in every):,} calls, {priced}")
    for name, which, seed in [] if asked.cost else todo:
        print(
            name,
            which,
            seed,
            f"QD score {run(name, which, seed, model, asked.out):.2f}",
            flush=True,
        )

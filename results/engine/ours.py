"""Runs one search by qdkit in a process of its own, and prints its cost as JSON.

Texts are orders of twelve numbers, which a model changes by swapping two; the more pairs stand in
order the better, and the first and the last number are the descriptor. So the evaluation costs
nothing worth measuring.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

NUMBERS = 12


def memory(name: str) -> float:
    """Returns MB of `VmRSS` (now) or `VmHWM` (the most so far)."""
    line = next(
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith(name)
    )
    return int(line.split()[1]) / 1024


def bare() -> dict[str, float]:
    """Returns the memory of jax by itself, after one computation."""
    import jax
    import jax.numpy as jnp

    jax.jit(lambda x: x + 1)(jnp.zeros(3)).block_until_ready()
    return {"memory": memory("VmRSS")}


def search(
    url: str | None, in_flight: int, ahead: int, seed: int, run: str | None, resume: bool = False
):
    """Returns the search; a plain function answers at once if there is no `url`."""
    import jax
    import numpy as np

    import qdkit
    from qdkit.archives import Grid
    from qdkit.operators import Rewrite
    from qdkit.testing.replies import default_answer

    @dataclass(frozen=True)
    class Orders:
        def seeds(self, key, n: int) -> list[str]:
            draw = np.random.default_rng(np.asarray(jax.random.key_data(key)))
            return [" ".join(map(str, draw.permutation(NUMBERS))) for _ in range(n)]

        def evaluate(self, genomes: Sequence[str]) -> qdkit.Evaluation:
            orders = [[int(word) for word in text.split()] for text in genomes]
            return qdkit.Evaluation(
                [sum(a < b for a, b in itertools.combinations(order, 2)) for order in orders],
                [(order[0], order[-1]) for order in orders],
            )

    class Draft(qdkit.Operator):
        """Rewrites with a number from the key in the prompt, so that all questions differ."""

        name = "draft"

        def __init__(self, ask):
            self.ask = ask

        def propose(self, key, context, n):
            number = int(np.asarray(jax.random.key_data(key))[-1])
            return Rewrite(self.ask, f"Draft {number} of:\n\n{{genome}}", self.name).propose(
                key, context, n
            )

    def swapped(prompt: str) -> str:
        return default_answer({"messages": [{"role": "user", "content": prompt}]})

    ask = qdkit.LLM("any", base_url=url, prices={"any": (1.0, 1.0)}) if url else swapped
    grid = Grid((NUMBERS, NUMBERS), ((0, NUMBERS), (0, NUMBERS)))
    workers = qdkit.Workers(in_flight=in_flight, ahead=ahead)
    if resume:
        return qdkit.Search.resume(
            run, Orders(), grid, Draft(ask), batch=1, seed=seed, workers=workers
        )
    return qdkit.Search(
        Orders(), grid, Draft(ask), batch=1, seed=seed, workers=workers, folder=run
    )


def scores(n: int, aheads: list[int], seeds: list[int]) -> dict[str, list[float]]:
    """Returns QD scores after `n` candidates, one for each seed, by `ahead`.

    They do not depend on who answers how soon.
    """
    made = lambda ahead, seed: search(None, 16, ahead, seed, None).run(n, progress=False)
    return {
        str(ahead): [made(ahead, seed).commits[-1].qd_score for seed in seeds] for ahead in aheads
    }


def opened(run: str) -> dict[str, float]:
    """Returns CPU-seconds to read the run and to make it again from its ledger, ready to go on."""
    import jax.numpy  # noqa: F401 - the start of jax is no part of it

    since = time.process_time()
    with search(None, 16, 64, 1, run, resume=True) as made:
        return {"cpu": time.process_time() - since, "candidates": len(made.commits)}


def main(n: int, every: int = 0, **settings) -> dict[str, object]:
    """Makes `n` candidates.

    `cpu` is of the process, in all threads, from the first candidate that a model made.

    marks: CPU-seconds up to every `every`-th candidate. whole: with the start of Python and jax.
    """
    made = search(**settings)
    steps = made.steps(n)
    for _ in range(made._loop.founding + 1):
        next(steps)
    first = len(made.commits)
    since, marks = time.process_time(), []
    for i, _ in enumerate(steps, first + 1):
        if every and i % every == 0:
            marks.append(time.process_time() - since)
    cpu, whole = (time.process_time() - since) / (n - first), time.process_time() / (n - first)
    made.close()
    return {"cpu": cpu, "whole": whole, "marks": marks, "memory": memory("VmHWM")}


if __name__ == "__main__":
    what = {"main": main, "bare": bare, "scores": scores, "opened": opened}[sys.argv[1]]
    print(json.dumps(what(**json.loads(sys.argv[2]))))

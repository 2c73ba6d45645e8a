"""All parts of steering at once: a run that was stopped anywhere comes to the same end."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest

import qdkit
from qdkit.archives import Grid, Islands, Migrate, Reset
from qdkit.novelty import Cascade, Distinct, EditDistance
from qdkit.operators import Portfolio, Steered
from qdkit.selection.bandits import UCBTuned
from qdkit.selection.parents import Annealed, Curious, Restarts, Towards, Weighted

from .cases import mostly_soak
from .worlds import Chatter, Texts, search_of


class Slow(Texts):
    """Takes another time for each text, so that tasks end in any order."""

    bounds = Texts.bounds

    def evaluate(self, genomes):
        time.sleep(random.random() * 0.003)
        return super().evaluate(genomes)


class Other(Chatter):
    name = "other"


def teacher(prompt):
    return f"{len(prompt)} characters were seen"


def search(run, **more):
    arms = [
        Steered(Chatter(), Restarts(Towards(Weighted()))),
        Steered(Other(), Annealed(Curious())),
    ]
    return search_of(
        Slow(),
        Islands(Grid((8, 5), Texts.bounds), 3, changes=(Migrate(7), Reset(40))),
        Portfolio(arms, bandit=UCBTuned(discount=0.99)),
        batch=1,
        seed=3,
        in_flight=8,
        novelty=Cascade([Distinct(), EditDistance(0.97)]),
        lessons=qdkit.Lessons(teacher, every=15),
        run=run,
        **more,
    )


def ledger_lines(search):
    """The lines of the run's ledger without the goals, which differ between sittings."""
    return [line for line in search.ledger.dump().splitlines() if '"goal"' not in line]


@pytest.mark.parametrize("stop", mostly_soak([40, 5, 97], usual=2))
def test_all_parts_of_steering_together_are_reproducible(stop, tmp_path):
    """Rules for parents, islands, lessons, a bandit and a cascade, with eight tasks in flight."""
    with search(tmp_path / "whole") as whole:
        whole.run(120, progress=False)
        expected, ids = ledger_lines(whole), whole.elites.payload["id"]
    with search(tmp_path / "broken") as broken:
        for i, _ in enumerate(broken.steps(120)):
            if i == stop:
                break
    with search(tmp_path / "broken", resume=True) as broken:
        broken.run(120 - len(broken.commits), progress=False)
        assert ledger_lines(broken) == expected
    assert np.array_equal(qdkit.load(tmp_path / "whole").elites.payload["id"], ids)

"""The zero and the unit of an objective are the user's choice: no rule decides otherwise for a·f +
b than for f.

The members of each family are found by walking their modules, so that a new one is tested too.
Powers of two and
small whole numbers make the arithmetic exact: what differs differs by a rule.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import jax
import numpy as np
import pytest

import qdkit
from qdkit import archives, metrics
from qdkit.archives import DeepGrid, DominatedNovelty, Grid, Novelty, Recent, Thresholds
from qdkit.core.elites import Elites, double
from qdkit.operators import Portfolio
from qdkit.runs.rows import Commit
from qdkit.search import stopping
from qdkit.selection import bandits, parents, rewards
from qdkit.selection.rewards import ranked

from .worlds import BOX, Jitter, search_of

MOVES = [
    (1.0, 0.0),
    (1.0, -(2.0**20)),
    (1.0, 2.0**20),
    (2.0**-30, 0.0),
    (2.0**10, -(2.0**13)),
    (0.5, 4096.0),
]
GRID = Grid((4, 4), BOX)
GENES = 64


def moved(rows, move):
    scale, shift = move
    return scale * np.asarray(rows, float) + shift


def members(module, base):
    """Concrete subclasses of `base` in a module, whether it lists them or not."""
    found = [
        kind
        for kind in vars(module).values()
        if inspect.isclass(kind) and issubclass(kind, base) and kind is not base
    ]
    return sorted(
        {kind for kind in found if not inspect.isabstract(kind)}, key=lambda kind: kind.__name__
    )


REWARDS = [
    function
    for name, function in vars(rewards).items()
    if inspect.isfunction(function)
    and [*inspect.signature(function).parameters] == ["batch", "added", "parents"]
]

# Every archive; the least objective that one of them admits moves along.
ARCHIVES = {
    "grid": lambda move: GRID,
    "deep": lambda move: DeepGrid(GRID, 3),
    "soft": lambda move: Thresholds(GRID, 0.25, minimum=float(moved(-64.0, move))),
    "dominated": lambda move: DominatedNovelty(2, capacity=12),
    "novelty": lambda move: Novelty(2, capacity=64, threshold=0.05),
    "competition": lambda move: Novelty(2, capacity=64, threshold=0.1, competition=True),
    "recent": lambda move: Recent(2, capacity=16, least=float(moved(-16.0, move))),
    "islands": lambda move: archives.Islands(GRID, 2),
    "cvt": lambda move: archives.CVT(np.random.default_rng(1).random((9, 2)), BOX),
}


def test_every_family_is_found():
    """The walk finds what the modules have; an archive that is missing above is missing here."""
    assert {rewards.over_cell, rewards.over_parent, rewards.entered, rewards.new_cell} <= {
        *REWARDS
    }
    assert {bandits.UCB, bandits.EXP3, bandits.Thompson} <= {*members(bandits, bandits.Bandit)}
    assert {parents.Weighted, parents.Towards, parents.Near} <= {
        *members(parents, parents.Parents)
    }
    kinds = {type(make((1.0, 0.0))).__name__ for make in ARCHIVES.values()}
    every = {kind.__name__ for kind in members(archives, qdkit.core.elites.Archive)}
    assert every == kinds, "give a new archive a line in ARCHIVES"


def course(kind, move, steps=24, n=8):
    """Batches, what became of them in an archive, and the best objective among their parents.

    Whole objectives.
    """
    random, archive = np.random.default_rng(7), ARCHIVES[kind](move)
    with double():
        elites = archive.init({"id": np.int32(0)})
        for step in range(steps):
            plain = random.integers(-40, 40, n).astype(float)
            plain[random.random(n) < 0.1] = np.nan
            outcome = np.where(np.isnan(plain), "failed", "ok")
            objective, before = moved(plain, move), moved(random.integers(-40, 40, n), move)
            before[random.random(n) < 0.2] = np.nan
            descriptor = random.integers(0, 64, (n, 2)) / 64
            batch = qdkit.Batch.unevaluated(qdkit.Proposal.of(np.zeros((n, 1)), "a")).replace(
                id=np.arange(step * n, step * n + n),
                objective=objective,
                outcome=outcome,
                descriptor=descriptor,
            )
            island = (np.arange(n) % 2,) if archive.islands > 1 else ()
            elites, added = archive.add(
                elites, objective, descriptor, {"id": batch.id.astype(np.int32)}, *island
            )
            yield batch, jax.tree.map(np.asarray, added), before


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("reward", REWARDS, ids=lambda reward: reward.__name__)
def test_rewards_do_not_depend_on_the_zero_or_the_unit_of_the_objective(reward, kind):
    """Ranks of gains, which are all that a bandit is paid by, are those of the objective as it
    was.
    """

    def paid(move):
        recent, found = (), []
        for batch, added, before in course(kind, move):
            gains = reward(batch, added, before)
            assert (gains[~np.isnan(gains)] >= 0).all()
            ranks, recent = ranked(gains, recent)
            found.append(ranks)
        return np.concatenate(found)

    expected = paid(MOVES[0])
    assert (expected > 0).any() and (expected < 1).any(), (
        "something is earned, and something is not"
    )
    for move in MOVES[1:]:
        np.testing.assert_array_equal(paid(move), expected, err_msg=str(move))


@dataclass(frozen=True)
class Moved:
    """Points of the unit square whose objectives are whole numbers, moved.

    Its floor moves along.
    """

    move: tuple[float, float]
    bounds = BOX

    @property
    def floor(self):
        return float(moved(-GENES, self.move))

    def seeds(self, key, n):
        return np.asarray(jax.random.uniform(key, (n, 2)), np.float64)

    def evaluate(self, genomes):
        whole = np.round(-GENES * (genomes - 0.7).clip(0).sum(1))  # none above 0
        return qdkit.Evaluation(moved(whole, self.move), genomes)


class Broad(Jitter):
    """Noise that goes further."""

    name = "broad"

    def propose(self, key, context, n):
        noise = np.random.default_rng(np.asarray(jax.random.key_data(key))).random(
            context.parents.genome.shape
        )
        return qdkit.Proposal.of(noise, self.name, context.parents)


def run(move, operator, archive=GRID, steps=20, **settings):
    search = search_of(
        Moved(move), archive, operator, seed=1, **{"batch": 8, "novelty": None} | settings
    )
    search.run(steps, progress=False)
    return np.concatenate([batch.genome for batch in search.ledger.batches()]), search


@pytest.mark.parametrize("rule", members(bandits, bandits.Bandit), ids=lambda kind: kind.__name__)
def test_every_bandit_chooses_the_same(rule):
    """With the reward that it has where nothing else is asked for: the same candidates, arm by
    arm.
    """
    made = lambda move: run(move, Portfolio([Jitter(), Broad()], bandit=rule()))
    genomes, search = made(MOVES[0])
    assert all(arm.mean > 0 for arm in search.operator.arms)
    for move in MOVES[1:]:
        other, found = made(move)
        np.testing.assert_array_equal(other, genomes, err_msg=str(move))
        assert found.operator.arms == search.operator.arms


def rules_of_parents():
    """Every rule, as a user would write it."""
    for kind in members(parents, parents.Parents):
        needs = {
            name for name, p in inspect.signature(kind).parameters.items() if p.default is p.empty
        }
        for inner in [parents.Weighted(), parents.PowerLaw(2.0)] if needs else [None]:
            yield kind(**dict.fromkeys(needs, inner))
    yield parents.Towards(parents.Uniform(), "weak", 1.0)
    yield parents.Near(parents.Weighted())


@pytest.mark.parametrize("rule", [*rules_of_parents()], ids=repr)
@pytest.mark.parametrize(
    "spread", [(0, 0), (-3, 4), (-40, 41)], ids=["alike", "few values", "many values"]
)
def test_every_rule_for_parents_chooses_the_same(rule, spread):
    """Cells, targets and shares; also where most objectives are alike, and where all are."""
    random = np.random.default_rng(3)
    plain = np.where(
        random.random(16) < 0.8, random.integers(*spread, 16) if any(spread) else 5, -np.inf
    )
    plain[:4] = plain[4:8].max() if any(spread) else 5  # a median deviation may be 0
    children, entered = (
        random.integers(0, 9, 16).astype(float),
        random.integers(0, 3, 16).astype(float),
    )

    def chosen(move):
        full = np.where(np.isfinite(plain), moved(plain, move), -np.inf)
        place = np.where((full > -np.inf)[:, None], GRID.centres, np.nan)
        now = parents.Standing(Elites(full, place, ()), GRID.centres, children, entered, 0.1)
        with double():
            return jax.tree.map(np.asarray, parents.choose(rule, jax.random.key(0), 1, now, 32, 2))

    expected = chosen(MOVES[0])
    for move in MOVES[1:]:
        found = chosen(move)
        for column, was in zip(found, expected, strict=True):
            np.testing.assert_allclose(column, was, rtol=1e-9, atol=1e-12, err_msg=str(move))


def commits(steps, floor, move):
    """How a run stood with these cells after each step: objectives of its elites."""
    found = []
    for number, plain in enumerate(steps):
        full = moved(np.concatenate([plain, np.full(10 - len(plain), -np.inf)]), move)
        elites = Elites(full, np.zeros((10, 1)), ())
        score, best = (
            metrics.qd_score(elites, float(moved(floor, move))),
            metrics.best_objective(elites),
        )
        found.append(
            Commit(
                number, 0, 8, 8 * (number + 1), len(plain) / 10, score, best, 0, 0, 1.0, 0.0, 0.0
            )
        )
    return found


STOPS = {
    "Target": lambda move: [stopping.Target(float(moved(t, move))) for t in (-9, -2, 4)],
    "Coverage": lambda move: [stopping.Coverage(share) for share in (0.2, 0.5)],
    "Stagnation": lambda move: [
        stopping.Stagnation(n, of) for n in (8, 24) for of in ("qd_score", "best", "coverage")
    ],
}


@pytest.mark.parametrize("kind", members(stopping, stopping.Stop), ids=lambda kind: kind.__name__)
def test_every_rule_that_stops_a_search_stops_it_at_the_same_step(kind):
    """Targets move along, as the floor does."""
    if kind.__name__.startswith("_"):
        joined = lambda move: [
            kind(a, b) for a in STOPS["Target"](move) for b in STOPS["Stagnation"](move)
        ]
    else:
        joined = STOPS[kind.__name__]
    random, held, steps = np.random.default_rng(2), [-9.0], []
    for _ in range(40):
        if random.random() < 0.3 and len(held) < 10:
            held = [*held, float(random.integers(-20, 0))]
        elif random.random() < 0.3:
            held = [held[0] + 1, *held[1:]]
        steps.append(np.array(held))
    when = lambda move: [
        [bool(rule.why(run[: n + 1])) for n in range(len(run))]
        for run in [commits(steps, -32, move)]
        for rule in joined(move)
    ]
    expected = when(MOVES[0])
    assert any(map(any, expected)) and not all(map(all, expected))
    for move in MOVES[1:]:
        assert when(move) == expected


@pytest.mark.parametrize("floor", [0.0, -1000.0, 1000.0])
@pytest.mark.parametrize("step", ["a new cell", "a better elite", "a better best"])
def test_progress_counts_wherever_the_floor_lies(floor, step):
    """Every kind of progress in every step, with objectives above and below the floor: it goes
    on.
    """
    held = {
        "a new cell": [np.full(n + 1, -50.0) for n in range(10)],
        "a better elite": [np.array([-10.0, -60.0 + n]) for n in range(10)],
        "a better best": [np.array([-10.0 + n]) for n in range(10)],
    }[step]
    rule = stopping.Stagnation(8)
    run = commits(held, floor, (1.0, 0.0))
    assert not any(rule.why(run[: n + 1]) for n in range(10))
    assert rule.why([*run, run[-1]._replace(evaluations=run[-1].evaluations + 8)])


class Sure(Jitter):
    """Each candidate is in a new cell, or better than its parent."""

    def propose(self, key, context, n):
        return qdkit.Proposal.of(
            np.clip(context.parents.genome[:n] - 1 / 64, 0, 1), self.name, context.parents
        )


@pytest.mark.parametrize("shift", [-(2.0**20), 0.0, 2.0**20])
def test_a_search_that_improves_in_every_step_is_not_stopped(shift):
    """Negative objectives and a floor of 0, as in a domain that says nothing of it."""

    class Falling(Moved):
        floor = 0.0

    search = qdkit.Search(
        Falling((1.0, shift - 100)),
        Grid((64, 64), BOX),
        Jitter(),
        batch=8,
        steering=qdkit.Steering(novelty=None),
    )
    search.run(60, until=stopping.Stagnation(8), progress=False)
    states = [(c.coverage, c.best) for c in search.commits]
    stalled = [i for i in range(1, len(states)) if states[i] == states[i - 1]]
    assert not search.stopped or len(search.commits) - 1 in stalled

"""Sparse rewards: explore by novelty until one appears, climb from there, explore again."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
import pytest

from qdkit import Evaluation
from qdkit.archives import Grid, Novelty
from qdkit.operators import Gaussian, NoveltySearch, Rewarded, TwoPhase
from qdkit.operators.novelty_search import NoveltyMemory, sparseness
from qdkit.operators.rewarded import (
    EMITTER_CHILDREN,
    EMITTER_POPULATION,
    RECENT_GENERATIONS,
    TRIAL_GENERATIONS,
    RewardEmitter,
    nondominated,
)
from tests.worlds import search_of

BOX = ((-1.0, 1.0), (-1.0, 1.0))
DIRECTIONS = np.random.default_rng(0).normal(size=(10, 2)) / np.sqrt(10)
PLACES = np.array([(0.5, 0.5), (-0.6, -0.3)])


@dataclass(frozen=True)
class Discs:
    """Ten numbers are mapped into a square, in which two small discs have a reward.

    The reward is the greater the nearer to the middle of a disc.
    """

    bounds = BOX
    radius: float = 0.15

    def seeds(self, key, n):
        return 0.05 * np.asarray(jax.random.normal(key, (n, 10)), np.float64)

    def evaluate(self, genomes):
        place = np.tanh(genomes @ DIRECTIONS)
        return Evaluation(self.paid(place).max(1), place)

    def paid(self, place):
        return (
            np.maximum(0, 1 - np.linalg.norm(place[:, None] - PLACES, axis=2) / self.radius)
            if self.radius
            else 0 * place
        )


def serene(seed=0, chunk=1000):
    explore = NoveltySearch(seed=seed)
    return TwoPhase(explore, Rewarded(explore, seed=seed), chunk)


def searched(operator, *, domain=None, seed=0, batch=12, archive=None, **settings):
    archive = archive or Grid((50, 50), BOX)
    return search_of(
        domain or Discs(), archive, operator, batch=batch, seed=seed, novelty=None, **settings
    )


def known(objective, descriptor=None, genome=None):
    n = len(objective)
    place = np.zeros((n, 2)) if descriptor is None else np.asarray(descriptor, float)
    genes = np.zeros((n, 3)) if genome is None else np.asarray(genome, float)
    return NoveltyMemory(
        genes, place, np.asarray(objective, float), np.arange(n, dtype=np.int32), place
    )


def origins(search, steps):
    return [batch.origin[0] for batch in search.steps(steps)]


def test_more_is_found_than_by_novelty_alone():
    """SERENE gets nearer to the middle of both discs than novelty search, in 6,000 evaluations."""
    scores = {}
    for name, make in {"serene": serene, "novel": lambda seed: NoveltySearch(seed=seed)}.items():
        best = np.zeros((2, 2))
        for seed in range(2):
            search = searched(make(seed), seed=seed, batch=20)
            for batch in search.steps(300):
                best[seed] = np.maximum(best[seed], Discs().paid(batch.descriptor).max(0))
        scores[name] = best.mean(0)
    assert (scores["serene"] > scores["novel"]).all()


def test_without_rewards_it_is_novelty_search():
    """Both make the same candidates."""
    poor = Discs(radius=0.0)
    both = [
        searched(operator, domain=poor) for operator in (serene(chunk=100), NoveltySearch(seed=0))
    ]
    for one, other in zip(*(search.steps(40) for search in both), strict=True):
        np.testing.assert_array_equal(one.genome, other.genome)


def test_phases_take_turns():
    """Chunks of 60 in steps of 6 are ten steps of each phase, once there is a reward."""
    domain = Discs(radius=3.0)  # everything pays
    search = searched(serene(chunk=60), domain=domain, batch=6)
    names = [name for name in origins(search, 60) if name in ("novel", "rewarded")]
    assert names[:40] == (["novel"] * 10 + ["rewarded"] * 10) * 2


def test_an_emitter_begins_at_a_rewarded_candidate():
    """The first children of an emitter descend from one rewarded candidate, and lie near it."""
    search = searched(serene(chunk=66), domain=Discs(radius=3.0), batch=6)
    batches = list(search.steps(40))
    known_by_id = {
        int(i): (g, r)
        for b in batches
        for i, g, r in zip(b.id, b.genome, b.objective, strict=True)
    }
    first = next(batch for batch in batches if batch.origin[0] == "rewarded")
    assert len(set(first.parents[:, 0].tolist())) == 1
    genome, reward = known_by_id[int(first.parents[0, 0])]
    others = [g for i, (g, _) in known_by_id.items() if i < first.id[0]]
    apart = sorted(np.linalg.norm(np.array(others) - genome, axis=1))[1]
    assert reward > 0
    assert np.linalg.norm(first.genome - genome, axis=1).max() < 3 * apart * np.sqrt(10)


def test_a_climb_keeps_the_best_six_and_knows_its_improvement():
    """The means are of the best six after each generation.

    The improvement is that of the last three means over the first three.
    """
    climb = RewardEmitter(known([0.1]), 0.1)
    climb.add_children(known(np.arange(EMITTER_POPULATION)), EMITTER_POPULATION)
    for generation in range(1, TRIAL_GENERATIONS + 1):
        assert not climb.trial_over
        climb.add_children(
            known(np.full(EMITTER_CHILDREN // 2, 10.0 * generation)), EMITTER_CHILDREN // 2
        )
        climb.add_children(
            known(np.full(EMITTER_CHILDREN // 2, 10.0 * generation)), EMITTER_CHILDREN // 2
        )
    assert climb.trial_over
    assert climb.means == [2.5, 10, 20, 30, 40, 50]
    assert climb.improvement == pytest.approx(40 - (2.5 + 10 + 20) / 3)


@pytest.mark.parametrize("rising", [True, False])
def test_a_climb_stagnates_when_its_window_has_no_rise(rising):
    """For three entries the window is int(20 · 3 / 6 + 120) = 130 generations."""
    climb = RewardEmitter(known([0.1]), 0.1)
    climb.bests = [float(i if rising else 1) for i in range(130)]
    assert not climb.stagnant
    climb.bests.append(200.0 if rising else 1.0)
    assert climb.stagnant is not rising and len(climb.bests) > 2 * RECENT_GENERATIONS


def test_the_front_is_undominated():
    """Two of four points do not dominate each other; equal points do not either."""
    points = np.array([[1, 0], [0, 1], [0, 0.5], [1, 0]])
    assert nondominated(points).tolist() == [True, True, False, True]


def test_novelty_is_the_mean_distance_to_the_nearest():
    """On a line at 0, 1, 3: the two nearest others of 0 are at 1 and 3.

    A candidate without others is infinitely novel.
    """
    line = np.array([[0.0], [1.0], [3.0]])
    assert sparseness(line, line, 2, among=True).tolist() == [2.0, 1.5, 2.5]
    assert sparseness(np.array([[2.0]]), line, 1).tolist() == [1.0]
    assert sparseness(line[:1], line[:1], 15, among=True).tolist() == [np.inf]


def test_the_population_is_the_most_novel():
    """Of a crowd and four candidates far from it, a population of four is the four."""
    novel = NoveltySearch(population=4, offspring=2, neighbours=2, kept=0)
    far = [(5.0, 5), (-5, 5), (5, -5), (-5, -5)]
    novel._members = known([0.0] * 4, [(0, 0.01 * i) for i in range(4)])
    novel._children = [known([0.0] * 4, far)]
    novel._end_generation(novel._members)
    assert {tuple(place) for place in novel._members.descriptor} == set(far)


def test_a_generation_leaves_a_few_children_in_memory():
    """Each generation adds five of two hundred."""
    search = searched(
        NoveltySearch(population=10, offspring=2), domain=Discs(radius=0.0), batch=20
    )
    list(search.steps(10))
    novel = search.operator
    assert novel.generations >= 8
    assert sum(len(part.id) for part in novel._memory) == 5 * novel.generations


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    """The run is interrupted after a reward."""
    domain = Discs(radius=1.0)
    interrupted = searched(serene(chunk=24), domain=domain, run=tmp_path / "run")
    list(interrupted.steps(15))
    interrupted.close()
    resumed = searched(serene(chunk=24), domain=domain, run=tmp_path / "run", resume=True)
    uninterrupted = searched(serene(chunk=24), domain=domain)
    list(uninterrupted.steps(15))
    for one, other in zip(resumed.steps(15), uninterrupted.steps(15), strict=True):
        np.testing.assert_array_equal(one.genome, other.genome)
        assert list(one.origin) == list(other.origin)


def test_it_works_with_any_archive_and_many_steps_at_once():
    """The archive has no cells, and four steps run at a time.

    Some of them end after their emitter has ended.
    """
    archive = Novelty(2, 512, threshold=0.05)
    search = searched(serene(chunk=36), domain=Discs(radius=1.0), archive=archive, in_flight=4)
    assert {"novel", "rewarded"} <= set(origins(search, 60))


class Failing(Discs):
    """Every third candidate breaks."""

    def evaluate(self, genomes):
        if len(genomes) == 1 and int(abs(genomes[0, 0]) * 1e9) % 3 == 0:
            raise RuntimeError("broken")
        if len(genomes) > 1:
            raise RuntimeError("one of them is broken")
        return super().evaluate(genomes)


def test_failed_candidates_are_counted_and_skipped():
    """Generations end although a third of their candidates fail."""
    search = searched(serene(chunk=60), domain=Failing(radius=3.0), batch=12)
    list(search.steps(40))
    assert search.failures["failed"] > 50 and search.operator.exploit.emitters


def test_invalid_settings_are_refused():
    """Each message says what was expected."""
    explore = NoveltySearch()
    with pytest.raises(ValueError, match="chunk is 0"):
        TwoPhase(explore, Rewarded(explore), 0)
    with pytest.raises(ValueError, match="both operators are named 'novel'"):
        TwoPhase(explore, Rewarded(explore, name="novel"))
    with pytest.raises(ValueError, match="population is 0"):
        NoveltySearch(population=0)
    with pytest.raises(ValueError, match="kept is -1"):
        Rewarded(explore, kept=-1)
    with pytest.raises(RuntimeError, match="nothing to exploit"):
        Rewarded(explore).turn(6)
    for operator in (explore, Rewarded(explore), serene()):
        with pytest.raises(TypeError, match="turn"):
            operator.propose(None, None, 1)
    assert Gaussian(0.1).size == serene().size

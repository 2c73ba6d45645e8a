"""TAXONS and STAX: what an autoencoder orders and is surprised by, and operators that measure anew when it learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import numpy as np
import pytest

from qdkit import Evaluation, Search
from qdkit.archives import CVT, Grid
from qdkit.axes import Known, Principal, Taxons
from qdkit.axes.taxons import BATCH, PATIENCE, Coder, trained, trains
from qdkit.baselines import Blind
from qdkit.operators import Gaussian, Line, Novel, Portfolio, Rewarded, Steered, TwoPhase
from qdkit.parents import Curious
from qdkit.types import Batch, Proposal

KEY, UNIT = jax.random.key(0), ((0.0, 1.0), (0.0, 1.0))


def pictures(places, size=8, blur=0.15):
    """float `[n, 64]`: a soft spot at each place of the unit square."""
    middle = (np.arange(size) + 0.5) / size
    spot = lambda x: np.exp(-0.5 * ((middle - x[:, None]) / blur) ** 2)
    return (spot(places[:, 1])[:, :, None] * spot(places[:, 0])[:, None]).reshape(len(places), -1)


def halves(n, seed=0):
    """Pictures of spots on the left and of spots on the right, `n` each, in turn."""
    random = np.random.default_rng(seed)
    left = random.uniform((0.0, 0.3), (0.2, 0.7), (n, 2))
    right = random.uniform((0.8, 0.3), (1.0, 0.7), (n, 2))
    return pictures(np.stack([left, right], 1).reshape(-1, 2))


def known(features, steps=1):
    n = len(features)
    return Known(np.arange(n, dtype=np.int32), features, np.ones(n, bool), steps)


def batch_of(features):
    return Batch.unevaluated(Proposal.of(np.zeros((len(features), 1)), "x")).replace(features=features)


@dataclass(frozen=True)
class Spots:
    """Two numbers that are a place in the square, of which a picture is seen; the upper right quarter pays."""

    bounds: ClassVar = UNIT
    paid: float = 0.52

    def seeds(self, key, n):
        return 0.1 * np.asarray(jax.random.normal(key, (n, 2)), np.float64)

    def place(self, genomes):
        return 1 / (1 + np.exp(-np.asarray(genomes)))

    def evaluate(self, genomes):
        place = self.place(genomes)
        return Evaluation(np.maximum(0.0, place.min(1) - self.paid), features=pictures(place))


def stax(chunk=24, seed=0):
    explore = Novel(population=10, seed=seed, surprise=0.5, sigma=0.3)
    return TwoPhase(explore, Rewarded(explore, seed=seed), chunk)


def searched(operator=None, *, axes=None, batch=6, domain=None, archive=None, **settings):
    axes = axes or Taxons(chunk=5, epochs=5, hidden=(16,))
    archive = archive or Grid((8, 8), UNIT)
    return Search(domain or Spots(), archive, operator or stax(), axes=axes, batch=batch, novelty=None, **settings)


def remembered(operator):
    """All that the operators of STAX remember: parts of candidates."""
    explore, exploit = operator.explore, operator.exploit
    yield from [explore._members, *explore._children, *explore._memory]
    yield from [*exploit._candidates, *exploit._rewards]
    for climb in [*exploit.emitters, *exploit._turns, *([exploit._current] if exploit._current else [])]:
        yield from [climb.ancestor, *climb.children, *climb.strangers, *([climb.members] if climb.members else [])]


# The autoencoder.


def test_its_code_tells_two_kinds_apart():
    """Pictures of spots on the left and of spots on the right lie on two sides of one axis."""
    axes = Taxons(1, chunk=1, hidden=(16,)).learn(KEY, known(halves(200)))
    code = axes(batch_of(halves(50, seed=1)))[:, 0]
    assert max(code[::2]) < min(code[1::2]) or min(code[::2]) > max(code[1::2])


def test_what_it_has_never_seen_surprises_it_more():
    """Of spots on the left and right it has seen many, of spots in the middle none; until it has."""
    strange = pictures(np.random.default_rng(2).uniform((0.4, 0.3), (0.6, 0.7), (100, 2)))
    axes = Taxons(chunk=1, hidden=(16,)).learn(KEY, known(halves(200)))
    usual = axes.surprise(halves(50, seed=1))
    assert usual.shape == (100,) and np.median(axes.surprise(strange)) > 2 * np.median(usual)
    both = np.concatenate([halves(200), strange])
    assert axes.learn(KEY, known(both, 3)).surprise(strange).mean() < 0.7 * axes.surprise(strange).mean()


def test_surprise_is_the_mean_squared_error_of_what_comes_back():
    """By hand, for the only autoencoder that one number leaves no choice."""
    linear = Coder(((np.array([[1.0], [0.0]]), np.zeros(1)),), ((np.array([[1.0, 0.0]]), np.zeros(2)),))
    np.testing.assert_allclose(linear.error(np.array([[3.0, 2.0], [5.0, 0.0]])), [2.0, 0.0])
    assert Taxons().surprise(np.ones((3, 4))).tolist() == [0, 0, 0]


def test_other_units_of_the_features_change_nothing():
    """Moved and scaled, codes are the same and errors are scaled; back again, all is as it was."""
    coder = Taxons(hidden=(7,))._drawn(KEY, 5)
    x, centre = np.random.default_rng(0).normal(size=(20, 5)), np.arange(5.0)
    other = coder.shifted(centre, 3.0)
    np.testing.assert_allclose(other.error((x - centre) / 3), coder.error(x) / 9)
    np.testing.assert_allclose(other.shifted(-centre / 3, 1 / 3).error(x), coder.error(x))


def test_it_is_trained_after_ever_longer_times():
    """After 1, 3, 6, 10 and 15 chunks, and drawn at the first commit."""
    assert [steps for steps in range(100) if trains(steps, 7)] == [7, 21, 42, 70]
    assert [steps for steps in range(17) if trains(steps, 1)] == [1, 3, 6, 10, 15]
    axes, when, features = Taxons(chunk=3, epochs=2), [], halves(20)
    for steps in range(1, 35):
        learnt = axes.learn(KEY, known(features, steps))
        when += [steps] if learnt is not axes else []
        axes = learnt
    assert when == [1, 3, 9, 18, 30]


def test_training_ends_with_the_fourth_epoch_that_is_no_better():
    """Where nothing can be learnt that is the fourth, and what came is what was there."""
    coder, features = Taxons(hidden=(16,))._drawn(KEY, 64), halves(50)
    same, errors = trained(KEY, coder, features, 20, 0.0)
    assert np.isfinite(errors).tolist() == [True] * PATIENCE + [False] * 16
    np.testing.assert_allclose(same.error(features), coder.error(features), rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_kept_is_the_best_on_what_was_held_out(seed):
    """Of the epochs until the last four, none of which was better; a fit of noise ends before its time."""
    features = np.random.default_rng(seed).normal(size=(60, 10))
    _, errors = trained(jax.random.key(seed), Taxons(8)._drawn(KEY, 10), features, 400, 0.01)
    ran = np.isfinite(errors).sum()
    assert PATIENCE < ran < 400 and int(np.nanargmin(errors)) == ran - 1 - PATIENCE


@pytest.mark.parametrize("n", [2, 3, BATCH - 1, BATCH + 1, 3 * BATCH])
def test_any_number_of_pictures_will_do(n):
    """Less than a batch, and more; and the same comes of the same key."""
    features = halves(n)[:n]
    one, other = (Taxons(chunk=1, epochs=3).learn(KEY, known(features)) for _ in range(2))
    assert np.isfinite(one.surprise(features)).all() and one.plain == other.plain
    np.testing.assert_array_equal(Taxons().with_plain(one.plain).surprise(features), one.surprise(features))


# In a search.


@pytest.mark.parametrize("in_flight", [1, 3])
@pytest.mark.parametrize("stop", [4, 5, 16])
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(stop, in_flight, run_folder):
    """STAX, before, after and between its trainings; a replay trains nothing."""
    make = lambda name, **more: searched(run=run_folder / name, in_flight=in_flight, **more)
    whole, part = make("whole"), make("part")
    whole.run(32, progress=False)
    next(step for step in part.steps(32) if len(part.commits) == stop)
    part.close()
    part = make("part", resume=True)
    part.run(32 - stop, progress=False)
    assert part.ledger.dump() == whole.ledger.dump()
    assert [after for after, kind, _ in whole.ledger.events() if kind == "axes"][1:] == [5, 15, 30]
    for run in (whole, part):
        run.close()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("in_flight", [1, 3])
def test_whatever_operators_remember_is_measured_by_the_axes_as_they_are(seed, in_flight):
    """Population, children, memory, rewards and emitters, at every commit, and whoever hands it on."""
    operator, other = stax(seed=seed), Novel(population=10, name="other")
    outer = Portfolio([operator, Steered(other, Curious()), Line(0.1, 0.2)]) if seed == 2 else operator
    search, version = searched(outer, seed=seed, in_flight=in_flight), 0
    for _ in search.steps(52):
        for part in [*remembered(operator), *([other._members] if other._members else [])]:
            np.testing.assert_allclose(part.descriptor, search.axes(batch_of(part.features)), atol=1e-9)
        version = search._learning.version
    assert version == 5
    if outer is not operator:
        assert other._members
    else:
        assert operator.exploit._rewards and operator.exploit.emitters and operator.explore._memory


def test_a_population_may_be_those_who_surprise():
    """Of four usual and four strange members it keeps the strange, in as many generations as are asked for."""
    strange = pictures(np.full((4, 2), 0.5))

    class Odd:
        surprise = staticmethod(lambda features: features.max(1))

        def __call__(self, batch):
            return np.zeros((len(batch), 2))

    def kept(share):
        novel = Novel(population=4, neighbours=2, kept=0, surprise=share)
        novel.remeasure(Odd() if share else lambda batch: np.zeros((len(batch), 2)))
        zeros = np.zeros((4, 2)), np.zeros((4, 2)), np.zeros(4)
        novel._members = type(none)(*zeros, np.arange(4), 0 * strange)
        novel._children = [type(none)(*zeros, np.arange(4, 8), strange)]
        novel._select(novel._members)
        return novel._members.id.tolist()

    none = Novel().turn(1).parents
    assert kept(1.0) == [4, 5, 6, 7] and kept(0.0) == [0, 1, 2, 3]


def test_codes_of_many_dimensions_take_centroids():
    """The ten of TAXONS."""
    box = ((0.0, 1.0),) * 10
    search = searched(
        axes=Taxons(10, chunk=5, epochs=5), archive=CVT(np.random.default_rng(0).uniform(size=(30, 10)), box)
    )
    search.run(12, progress=False)
    assert search.elites.descriptor.shape == (30, 10) and search.elites.occupied.sum() > 1


def test_runs_without_surprise_can_be_gone_on_with():
    """What a ledger says of novelty search is what it said before there was any surprise."""
    assert "surprise" not in repr(Novel()) and "surprise=0.5" in repr(Novel(surprise=0.5))


# Faults.


class First(Blind):
    """Of the parents the first alone."""

    def parents(self, key, given):
        return given.take(np.zeros(len(given), int))


class Unseen(Spots):
    """Of its candidates nothing is observed."""

    def evaluate(self, genomes):
        return Evaluation(np.ones(len(genomes)))


class Blinking(Spots):
    """Of some nothing is observed."""

    def evaluate(self, genomes):
        features = super().evaluate(genomes).features
        return Evaluation(np.ones(len(genomes)), features=np.where(genomes[:, :1] > 0.05, np.nan, features))


def test_a_domain_without_features_is_told_what_to_give():
    """Before anything is learnt from nothing; a candidate here and there without is invalid."""
    with pytest.raises(ValueError, match=r"features=\.\.\..*such as a picture"):
        searched(domain=Unseen()).run(2, progress=False)
    search = searched(domain=Blinking()).run(12, progress=False)
    assert search.failures["invalid"] > 3 and np.isfinite(search.axes(search.pool)).all()


@pytest.mark.parametrize("axes", [Taxons(chunk=2, epochs=2, hidden=(8,)), Principal(at=(1, 2))], ids=["taxons", "pca"])
def test_a_candidate_with_other_features_than_the_rest_is_invalid(axes):
    """None at all, or another number of them, once axes have learnt; the search goes on."""

    class Changing(Spots):
        count = 0

        def evaluate(self, genomes):
            found = super().evaluate(genomes)
            object.__setattr__(self, "count", self.count + 1)
            shown = {4: None, 5: found.features[:, :3]}.get(self.count, found.features)
            return Evaluation(found.objective, features=shown)

    search = searched(Gaussian(0.1), domain=Changing(), axes=axes).run(8, progress=False)
    assert search.failures["invalid"] == 12 and search.summary()["evaluations"] == 48


def test_features_of_no_columns_are_none():
    """Said as of a domain that gives none."""

    class Bare(Spots):
        def evaluate(self, genomes):
            return Evaluation(np.ones(len(genomes)), features=np.zeros((len(genomes), 0)))

    with pytest.raises(ValueError, match=r"features=\.\.\..*such as a picture"):
        searched(domain=Bare()).run(2, progress=False)


def test_the_size_of_features_does_not_matter():
    """Small ones are not taken for constant, constant ones are, and those too large to be squared are refused."""
    seen, one = halves(40), Taxons(chunk=1, epochs=3, hidden=(8,))
    for unit in (1e-12, 1e12):
        learnt = one.learn(KEY, known(seen * unit))
        np.testing.assert_allclose(
            learnt(batch_of(seen * unit)), one.learn(KEY, known(seen))(batch_of(seen)), rtol=1e-3
        )
    alike = one.learn(KEY, known(np.full((40, 5), 1e6 + 0.1)))
    assert np.isfinite(alike(batch_of(np.full((3, 5), 1e6 + 0.1)))).all()
    with pytest.raises(ValueError, match=r"features reach 1e\+160.*scale them"):
        one.learn(KEY, known(np.where(seen > 0.5, 1e160, 0.0)))


def test_surprise_needs_axes_that_have_it():
    """Said at the door, also from inside other operators."""
    for axes in ({}, {"axes": Principal()}):
        novel = Novel(surprise=0.5)
        for operator in (novel, stax(), Portfolio([stax(), Gaussian(0.1)]), Steered(novel, Curious()), First(novel)):
            with pytest.raises(ValueError, match=r"surprise is 0\.5.*Taxons"):
                Search(Spots(), Grid((8, 8), UNIT), operator, batch=6, **axes)


def test_a_wrapper_that_does_not_hand_the_axes_on_is_told_so():
    """At the first generation that would go by surprise."""

    class Deaf(Steered):
        def remeasure(self, axes):
            pass

    with pytest.raises(RuntimeError, match="hands `remeasure` on"):
        searched(Deaf(Novel(population=4, surprise=1.0), Curious(), name="deaf")).run(20, progress=False)


def test_settings_that_are_none_are_refused():
    """Each says what was expected."""
    whole = [{"dimensions": 0}, {"dimensions": 2.0}, {"chunk": 0}, {"chunk": 2.5}, {"hidden": (0,)}, {"hidden": 64}]
    for settings in (*whole, {"epochs": 0}, {"epochs": 1.5}, {"rate": 0.0}, {"rate": np.nan}, {"rate": np.inf}):
        with pytest.raises(ValueError, match="are whole numbers from 1"):
            Taxons(**settings)
    with pytest.raises(ValueError, match=r"bounds is qdkit\.axes\.Bounds"):
        Taxons(bounds=UNIT)
    with pytest.raises(ValueError, match="surprise is 2"):
        Novel(surprise=2)

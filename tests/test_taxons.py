"""TAXONS and STAX: codes and surprise of an autoencoder, and operators that follow its axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import numpy as np
import pytest

from qdkit import Evaluation
from qdkit.archives import CVT, Grid
from qdkit.axes import OkCandidates, PrincipalAxes, TaxonsAxes
from qdkit.axes.taxons import BATCH, PATIENCE, Autoencoder, train_autoencoder, training_due
from qdkit.comparing.baselines import Blind
from qdkit.core.types import Batch, Proposal
from qdkit.operators import (
    Gaussian,
    IsoLine,
    NoveltySearch,
    Portfolio,
    Rewarded,
    Steered,
    TwoPhase,
)
from qdkit.runs.alerts import SearchWarning
from qdkit.selection.parents import Curious
from tests.cases import mostly_soak
from tests.worlds import search_of

KEY, UNIT = jax.random.key(0), ((0.0, 1.0), (0.0, 1.0))


def pictures(places, size=8, blur=0.15):
    """Returns float `[n, 64]`: pictures of a soft spot at each place of the unit square."""
    middle = (np.arange(size) + 0.5) / size
    spot = lambda x: np.exp(-0.5 * ((middle - x[:, None]) / blur) ** 2)
    return (spot(places[:, 1])[:, :, None] * spot(places[:, 0])[:, None]).reshape(len(places), -1)


def halves(n, seed=0):
    """Returns pictures of spots on the left and on the right, `n` each, alternating."""
    random = np.random.default_rng(seed)
    left = random.uniform((0.0, 0.3), (0.2, 0.7), (n, 2))
    right = random.uniform((0.8, 0.3), (1.0, 0.7), (n, 2))
    return pictures(np.stack([left, right], 1).reshape(-1, 2))


def known(features, steps=1):
    n = len(features)
    return OkCandidates(np.arange(n, dtype=np.int32), features, np.ones(n, bool), steps)


def batch_of(features):
    return Batch.unevaluated(Proposal.of(np.zeros((len(features), 1)), "x")).replace(
        features=features
    )


@dataclass(frozen=True)
class Spots:
    """Two numbers give a place in the square, which is observed as a picture.

    The objective is above 0 in the upper right quarter.
    """

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
    explore = NoveltySearch(population=10, seed=seed, surprise=0.5, sigma=0.3)
    return TwoPhase(explore, Rewarded(explore, seed=seed), chunk)


def make_search(operator=None, *, axes=None, batch=6, domain=None, archive=None, **settings):
    axes = axes or TaxonsAxes(chunk=5, epochs=5, hidden=(16,))
    archive = archive or Grid((8, 8), UNIT)
    return search_of(
        domain or Spots(),
        archive,
        operator or stax(),
        axes=axes,
        batch=batch,
        novelty=None,
        **settings,
    )


def memories_of(operator):
    """Yields all candidates in the memories of the operators of STAX."""
    explore, exploit = operator.explore, operator.exploit
    yield from [explore._members, *explore._children, *explore._memory]
    yield from [*exploit._candidates, *exploit._rewards]
    for climb in [
        *exploit.emitters,
        *exploit._pending,
        *([exploit._current] if exploit._current else []),
    ]:
        yield from [
            climb.ancestor,
            *climb.children,
            *climb.novel,
            *([climb.members] if climb.members else []),
        ]


# The autoencoder.


def test_the_code_separates_two_kinds():
    """Spots on the left and on the right lie on two sides of one axis."""
    axes = TaxonsAxes(1, chunk=1, hidden=(16,)).learn(KEY, known(halves(200)))
    code = axes(batch_of(halves(50, seed=1)))[:, 0]
    assert max(code[::2]) < min(code[1::2]) or min(code[::2]) > max(code[1::2])


def test_unseen_features_have_a_greater_surprise():
    """Spots in the middle are unseen at first; after training on them surprise falls."""
    strange = pictures(np.random.default_rng(2).uniform((0.4, 0.3), (0.6, 0.7), (100, 2)))
    axes = TaxonsAxes(chunk=1, hidden=(16,)).learn(KEY, known(halves(200)))
    usual = axes.surprise(halves(50, seed=1))
    assert usual.shape == (100,) and np.median(axes.surprise(strange)) > 2 * np.median(usual)
    both = np.concatenate([halves(200), strange])
    assert (
        axes.learn(KEY, known(both, 3)).surprise(strange).mean()
        < 0.7 * axes.surprise(strange).mean()
    )


def test_surprise_is_the_mean_squared_reconstruction_error():
    """By hand, for a linear autoencoder that keeps the first of two features."""
    linear = Autoencoder(
        ((np.array([[1.0], [0.0]]), np.zeros(1)),), ((np.array([[1.0, 0.0]]), np.zeros(2)),)
    )
    np.testing.assert_allclose(linear.error(np.array([[3.0, 2.0], [5.0, 0.0]])), [2.0, 0.0])
    assert TaxonsAxes().surprise(np.ones((3, 4))).tolist() == [0, 0, 0]


def test_other_units_of_the_features_change_nothing():
    """For shifted and scaled features the errors are scaled; shifting back restores them."""
    coder = TaxonsAxes(hidden=(7,))._initial(KEY, 5)
    x, centre = np.random.default_rng(0).normal(size=(20, 5)), np.arange(5.0)
    other = coder.shifted(centre, 3.0)
    np.testing.assert_allclose(other.error((x - centre) / 3), coder.error(x) / 9)
    np.testing.assert_allclose(other.shifted(-centre / 3, 1 / 3).error(x), coder.error(x))


def test_it_is_trained_after_ever_longer_times():
    """Trainings follow 1, 3, 6, 10 and 15 chunks; weights are drawn at the first commit."""
    assert [steps for steps in range(100) if training_due(steps, 7)] == [7, 21, 42, 70]
    assert [steps for steps in range(17) if training_due(steps, 1)] == [1, 3, 6, 10, 15]
    axes, when, features = TaxonsAxes(chunk=3, epochs=2), [], halves(20)
    for steps in range(1, 35):
        learnt = axes.learn(KEY, known(features, steps))
        when += [steps] if learnt is not axes else []
        axes = learnt
    assert when == [1, 3, 9, 18, 30]


def test_training_ends_after_four_epochs_without_improvement():
    """With a rate of 0 these are the first four, and the autoencoder is unchanged."""
    coder, features = TaxonsAxes(hidden=(16,))._initial(KEY, 64), halves(50)
    same, errors = train_autoencoder(KEY, coder, features, 20, 0.0)
    assert np.isfinite(errors).tolist() == [True] * PATIENCE + [False] * 16
    np.testing.assert_allclose(same.error(features), coder.error(features), rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_training_returns_the_best_on_the_held_out_rows(seed):
    """The last four epochs were not better; a fit to noise stops early."""
    features = np.random.default_rng(seed).normal(size=(60, 10))
    _, errors = train_autoencoder(
        jax.random.key(seed), TaxonsAxes(8)._initial(KEY, 10), features, 400, 0.01
    )
    ran = np.isfinite(errors).sum()
    assert PATIENCE < ran < 400 and int(np.nanargmin(errors)) == ran - 1 - PATIENCE


@pytest.mark.parametrize("n", [2, 3, BATCH - 1, BATCH + 1, 3 * BATCH])
def test_any_number_of_pictures_can_be_learnt(n):
    """Less than a batch or more; the same key gives the same result."""
    features = halves(n)[:n]
    one, other = (TaxonsAxes(chunk=1, epochs=3).learn(KEY, known(features)) for _ in range(2))
    assert np.isfinite(one.surprise(features)).all() and one.plain == other.plain
    np.testing.assert_array_equal(
        TaxonsAxes().with_plain(one.plain).surprise(features), one.surprise(features)
    )


# In a search.


@pytest.mark.parametrize("in_flight", [1, 3])
@pytest.mark.parametrize("stop", mostly_soak([5, 4, 16]))
def test_a_resumed_run_equals_an_uninterrupted_one(stop, in_flight, run_folder):
    """STAX is stopped before, after and between its trainings."""
    make = lambda name, **more: make_search(run=run_folder / name, in_flight=in_flight, **more)
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
def test_memories_of_operators_are_measured_again_by_new_axes(seed, in_flight):
    """Population, children, memory, rewards and emitters, also inside other operators."""
    operator, other = stax(seed=seed), NoveltySearch(population=10, name="other")
    outer = (
        Portfolio([operator, Steered(other, Curious()), IsoLine(0.1, 0.2)])
        if seed == 2
        else operator
    )
    search, version = make_search(outer, seed=seed, in_flight=in_flight), 0
    if outer is operator:  # a search works with copies of its parts
        operator = outer = search.operator
    else:
        outer = search.operator
        operator, other = outer.operators[0], outer.operators[1].operator
    for _ in search.steps(52):
        for part in [*memories_of(operator), *([other._members] if other._members else [])]:
            np.testing.assert_allclose(
                part.descriptor, search.axes(batch_of(part.features)), atol=1e-9
            )
        version = search._loop.learning.version
    assert version == 5
    if outer is not operator:
        assert other._members
    else:
        assert operator.exploit._rewards and operator.exploit.emitters and operator.explore._memory


def test_a_population_can_be_selected_by_surprise():
    """Of four usual and four strange members it keeps the strange."""
    strange = pictures(np.full((4, 2), 0.5))

    class Odd:
        surprise = staticmethod(lambda features: features.max(1))

        def __call__(self, batch):
            return np.zeros((len(batch), 2))

    def selected(share):
        novel = NoveltySearch(population=4, neighbours=2, kept=0, surprise=share)
        novel.remeasure(Odd() if share else lambda batch: np.zeros((len(batch), 2)))
        zeros = np.zeros((4, 2)), np.zeros((4, 2)), np.zeros(4)
        novel._members = type(none)(*zeros, np.arange(4), 0 * strange)
        novel._children = [type(none)(*zeros, np.arange(4, 8), strange)]
        novel._end_generation(novel._members)
        return novel._members.id.tolist()

    none = NoveltySearch().turn(1).parents
    assert selected(1.0) == [4, 5, 6, 7] and selected(0.0) == [0, 1, 2, 3]


def test_codes_of_many_dimensions_take_centroids():
    """TAXONS has ten."""
    box = ((0.0, 1.0),) * 10
    search = make_search(
        axes=TaxonsAxes(10, chunk=5, epochs=5),
        archive=CVT(np.random.default_rng(0).uniform(size=(30, 10)), box),
    )
    search.run(12, progress=False)
    assert search.elites.descriptor.shape == (30, 10) and search.elites.occupied.sum() > 1


def test_runs_without_surprise_can_be_resumed():
    """The description of novelty search in a ledger omits the default surprise."""
    assert "surprise" not in repr(NoveltySearch()) and "surprise=0.5" in repr(
        NoveltySearch(surprise=0.5)
    )


# Faults.


class First(Blind):
    """Takes the first parent only."""

    def parents(self, key, given):
        return given.take(np.zeros(len(given), int))


class Unseen(Spots):
    """Its candidates have no features."""

    def evaluate(self, genomes):
        return Evaluation(np.ones(len(genomes)))


class Blinking(Spots):
    """Some of its candidates have no finite features."""

    def evaluate(self, genomes):
        features = super().evaluate(genomes).features
        return Evaluation(
            np.ones(len(genomes)), features=np.where(genomes[:, :1] > 0.05, np.nan, features)
        )


def test_a_domain_without_features_is_refused_with_the_fix():
    """A single candidate without features is invalid."""
    with pytest.raises(ValueError, match=r"features=\.\.\..*such as a picture"):
        make_search(domain=Unseen()).run(2, progress=False)
    search = make_search(domain=Blinking()).run(12, progress=False)
    assert search.failures["invalid"] > 3 and np.isfinite(search.axes(search.pool)).all()


@pytest.mark.parametrize(
    "axes",
    [TaxonsAxes(chunk=2, epochs=2, hidden=(8,)), PrincipalAxes(at=(1, 2))],
    ids=["taxons", "pca"],
)
def test_a_candidate_with_other_features_than_the_rest_is_invalid(axes):
    """It has none, or another number of them, after the axes have learnt; the search goes on."""

    class Changing(Spots):
        count = 0

        def evaluate(self, genomes):
            evaluation = super().evaluate(genomes)
            object.__setattr__(self, "count", self.count + 1)
            features = {4: None, 5: evaluation.features[:, :3]}.get(
                self.count, evaluation.features
            )
            return Evaluation(evaluation.objective, features=features)

    search = make_search(Gaussian(0.1), domain=Changing(), axes=axes)
    with pytest.warns(SearchWarning, match="all 6 candidates of a batch failed"):
        search.run(8, progress=False)
    assert search.failures["invalid"] == 12 and search.summary()["evaluations"] == 48


def test_features_without_columns_count_as_none():
    """The error is that of a domain without features."""

    class Bare(Spots):
        def evaluate(self, genomes):
            return Evaluation(np.ones(len(genomes)), features=np.zeros((len(genomes), 0)))

    with pytest.raises(ValueError, match=r"features=\.\.\..*such as a picture"):
        make_search(domain=Bare()).run(2, progress=False)


def test_the_scale_of_features_does_not_matter():
    """Small features are not constant; those too large to be squared are refused."""
    features, one = halves(40), TaxonsAxes(chunk=1, epochs=3, hidden=(8,))
    for unit in (1e-12, 1e12):
        learnt = one.learn(KEY, known(features * unit))
        np.testing.assert_allclose(
            learnt(batch_of(features * unit)),
            one.learn(KEY, known(features))(batch_of(features)),
            rtol=1e-3,
        )
    alike = one.learn(KEY, known(np.full((40, 5), 1e6 + 0.1)))
    assert np.isfinite(alike(batch_of(np.full((3, 5), 1e6 + 0.1)))).all()
    with pytest.raises(ValueError, match=r"features reach 1e\+160.*scale them"):
        one.learn(KEY, known(np.where(features > 0.5, 1e160, 0.0)))


def test_surprise_needs_axes_that_have_it():
    """The search refuses others at once, also if the operator is inside another."""
    for axes in ({}, {"axes": PrincipalAxes()}):
        novel = NoveltySearch(surprise=0.5)
        for operator in (
            novel,
            stax(),
            Portfolio([stax(), Gaussian(0.1)]),
            Steered(novel, Curious()),
            First(novel),
        ):
            with pytest.raises(ValueError, match=r"surprise is 0\.5.*Taxons"):
                search_of(Spots(), Grid((8, 8), UNIT), operator, batch=6, **axes)


def test_a_wrapper_that_does_not_pass_the_axes_on_is_refused():
    """The error comes with the first generation that needs surprise."""

    class Deaf(Steered):
        def remeasure(self, axes):
            pass

    with pytest.raises(RuntimeError, match="passes `remeasure` on"):
        make_search(Deaf(NoveltySearch(population=4, surprise=1.0), Curious(), name="deaf")).run(
            20, progress=False
        )


def test_invalid_settings_are_refused():
    """Each error says what was expected."""
    whole = [
        {"dimensions": 0},
        {"dimensions": 2.0},
        {"chunk": 0},
        {"chunk": 2.5},
        {"hidden": (0,)},
        {"hidden": 64},
    ]
    for settings in (
        *whole,
        {"epochs": 0},
        {"epochs": 1.5},
        {"rate": 0.0},
        {"rate": np.nan},
        {"rate": np.inf},
    ):
        with pytest.raises(ValueError, match="are whole numbers from 1"):
            TaxonsAxes(**settings)
    with pytest.raises(ValueError, match=r"bounds is qdkit\.axes\.Bounds"):
        TaxonsAxes(bounds=UNIT)
    with pytest.raises(ValueError, match="surprise is 2"):
        NoveltySearch(surprise=2)

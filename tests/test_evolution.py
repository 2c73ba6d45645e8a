"""Evolution strategies: the update of CMA-ES, what is followed, restarts, and the operators made of them."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qdkit import Search
from qdkit.archives import Grid
from qdkit.domains import Arm, Sphere
from qdkit.elites import IMPROVED, NEW, REJECTED, Added, double
from qdkit.operators import Arborescence, Evolution, Gaussian, Portfolio, cma_mae
from qdkit.operators.evolution import cma
from qdkit.operators.evolution.ranking import Rule
from qdkit.testing import check_operator
from qdkit.types import NOBODY, Batch, Context, Evaluation, Proposal

os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # pyribs compiles for longer than these tests take

KEY = jax.random.key(3)
BOX = ((-2.0, 2.0), (-4.0, 4.0))
KINDS = pytest.mark.parametrize("separable", [False, True], ids=["full", "separable"])


def people(genome):
    """A batch of candidates with these genomes."""
    return Batch.unevaluated(Proposal(genome, np.full((len(genome), 1), NOBODY), ["seed"] * len(genome)))


def theirs(separable, d, batch, sigma=0.7):
    """The strategy of pyribs, begun at zero."""
    from ribs.emitters.opt import CMAEvolutionStrategy, SeparableCMAEvolutionStrategy

    kind = SeparableCMAEvolutionStrategy if separable else CMAEvolutionStrategy
    strategy = kind(sigma0=sigma, solution_dim=d, batch_size=batch, seed=1, dtype=np.float64)
    strategy.reset(np.zeros(d))
    return strategy


# The update


@KINDS
@pytest.mark.parametrize("d, parents", [(3, 1), (10, 6), (10, 2), (100, 18), (2, 200)])
def test_the_parameters_are_those_of_pyribs(separable, d, parents):
    """Weights, effective number of parents and every rate, for few parents and many."""
    strategy = theirs(separable, d, 36)
    calc = strategy._calc_strat_params
    weights, mueff, cc, cs, c1, cmu = calc(d, parents) if separable else calc(parents)
    with double():
        rank = np.random.default_rng(0).permutation(2 * parents)
        ours = jax.tree.map(np.asarray, cma.rates(jnp.asarray(rank), jnp.asarray(parents), d, separable))
    np.testing.assert_allclose(ours.weights[np.argsort(rank)], [*weights, *[0.0] * parents], atol=1e-12)
    np.testing.assert_allclose([*ours[1:6]], [mueff, cc, cs, c1, cmu], rtol=1e-9, atol=1e-12)
    damps = 1 + 2 * max(0, np.sqrt((mueff - 1) / (d + 1)) - 1) + cs
    assert ours.damps == pytest.approx(damps, rel=1e-9)


@KINDS
@pytest.mark.parametrize("parents", [0, 1, 5, 6, 12])
def test_one_update_is_that_of_pyribs_but_for_its_two_slips(separable, parents):
    """Twelve updates in step, from the same samples and ranks.

    pyribs takes the evolution path in units of the genome where the tutorial has those of sigma, and
    weighs the rank-one term by c1 twice. Both are told it here, so that all else has to agree.
    """
    d, batch, random = 5, 12, np.random.default_rng(parents)
    strategy = theirs(separable, d, batch)
    with double():
        update, factored = jax.jit(cma.learn), jax.jit(cma.factored)
        ours = cma.begin(jnp.zeros(d), 0.7, separable)
        for _ in range(12):
            x = random.normal(size=(batch, d)) * 0.3 + np.asarray(ours.mean)
            order = random.permutation(batch)
            strategy._solutions, before = x, jax.tree.map(np.asarray, ours)
            if not separable:
                strategy.cov.invsqrt = np.linalg.inv(before.factor)  # they take a symmetric root
            was, sigma, pull = strategy.cov.cov.copy(), strategy.sigma, strategy.pc.copy()
            strategy.tell(order, np.zeros(batch), parents)
            ours = update(ours, jnp.asarray(x), jnp.asarray(np.argsort(order)), jnp.asarray(parents))
            if parents:  # what they would have had without the slips
                calc = strategy._calc_strat_params
                *_, cc, _, c1, _ = calc(d, parents) if separable else calc(parents)
                slipped = strategy.pc
                strategy.pc = (1 - cc) * pull + (slipped - (1 - cc) * pull) / sigma
                square = (lambda p: p**2) if separable else (lambda p: np.outer(p, p))
                strategy.cov.cov += c1 * square(strategy.pc) - c1**2 * square(slipped)
                assert np.abs(strategy.cov.cov - was).max() > 1e-6
            mine = ours.mean, ours.sigma, ours.path, ours.pull, ours.covariance
            other = strategy.mean, strategy.sigma, strategy.ps, strategy.pc, strategy.cov.cov
            for a, b in zip(mine, other, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)
            ours = factored(ours)
    assert int(ours.generation) == 12


@pytest.mark.parametrize("d, batch", [(2, 4), (10, 36), (100, 36), (100, 4), (400, 36)])
def test_the_factor_is_as_old_as_that_of_pyribs_may_be(d, batch):
    """So many batches pass between two decompositions."""
    strategy = theirs(False, 2, batch)
    gap = type(strategy)(sigma0=1.0, solution_dim=d, batch_size=batch).lazy_gap_evals
    passed = next(n for n in range(1, 10_000) if n * batch > gap)
    assert cma.gap(batch, d) == passed


@KINDS
def test_samples_have_the_mean_and_the_covariance_they_are_drawn_from(separable):
    """Of 200,000 draws, within four standard errors."""
    covariance = jnp.array([4.0, 1.0]) if separable else jnp.array([[4.0, 1.2], [1.2, 1.0]])
    strategy = cma.begin(jnp.array([3.0, -1.0]), 0.5, separable)
    strategy = cma.factored(strategy._replace(covariance=covariance))
    x = np.asarray(cma.draw(KEY, strategy, 200_000))
    np.testing.assert_allclose(x.mean(0), [3, -1], atol=4 * 1.0 / 200_000**0.5)
    expected = 0.25 * np.asarray(jnp.diag(covariance) if separable else covariance)
    np.testing.assert_allclose(np.cov(x.T), expected, atol=4 * 2**0.5 / 200_000**0.5)


def generations(ask, tell, f, goal=1e-9, most=400):
    """How many batches until the best candidate's value is below `goal`."""
    for generation in range(most):
        x = ask(generation)
        value = f(x)
        if value.min() < goal:
            return generation
        tell(x, np.argsort(value))
    return most


def test_an_ill_conditioned_valley_takes_as_long_as_it_takes_pyribs():
    """Ten runs each on an ellipsoid with axes of 1 : 1000: the medians are a tenth apart at most, and all arrive."""
    d, batch = 6, 12
    scale = 10.0 ** np.linspace(0, 6, d)
    f = lambda x: (scale * np.asarray(x) ** 2).sum(1)
    ours, others = [], []
    with double():
        draw, update = jax.jit(partial(cma.draw, n=batch)), jax.jit(lambda *a: cma.factored(cma.learn(*a)))
        for seed in range(10):
            strategy = cma.begin(jnp.ones(d), 0.5, False)

            def tell(x, order):
                nonlocal strategy
                strategy = update(strategy, x, jnp.asarray(np.argsort(order)), batch // 2)

            key = jax.random.key(seed)
            ours.append(generations(lambda g: draw(jax.random.fold_in(key, g), strategy), tell, f))  # noqa: B023
            other = theirs(False, d, batch, 0.5)
            other._rng = np.random.default_rng(seed)
            other.reset(np.ones(d))
            others.append(generations(lambda g: other.ask(), lambda x, o: other.tell(o, None, batch // 2), f))  # noqa: B023
    assert max(ours) < 400
    assert np.median(ours) < 1.1 * np.median(others)


def test_a_strategy_at_its_end_is_known():
    """Values all alike, all failed, steps too small or too small for its floats, and a covariance that is none."""
    begun = cma.begin(jnp.ones(3), 0.5, False)
    bad = begun._replace(covariance=-jnp.eye(3))
    spread = jnp.asarray(1.0)
    assert not cma.exhausted(begun, spread)
    assert cma.exhausted(begun, 0 * spread) and cma.exhausted(begun, jnp.nan * spread)
    assert cma.exhausted(begun._replace(sigma=jnp.asarray(1e-12)), spread)
    assert cma.exhausted(begun._replace(sigma=jnp.asarray(1e-8)), spread)
    assert not cma.exhausted(begun._replace(sigma=jnp.asarray(1e-8), mean=jnp.zeros(3)), spread)
    assert cma.exhausted(cma.factored(bad), spread)
    assert cma.exhausted(cma.factored(begun._replace(covariance=jnp.diag(jnp.array([1e9, 1.0, 1.0])))), spread)


# What is followed


@pytest.mark.parametrize("ranker", ["imp", "2imp", "rd", "2rd", "obj", "2obj"])
def test_candidates_rank_as_in_pyribs(ranker):
    """The same order of fifty candidates, and the same parents by both rules of selection."""
    from ribs.emitters import rankers

    kind = {
        "imp": rankers.ImprovementRanker,
        "2imp": rankers.TwoStageImprovementRanker,
        "rd": rankers.RandomDirectionRanker,
        "2rd": rankers.TwoStageRandomDirectionRanker,
        "obj": rankers.ObjectiveRanker,
        "2obj": rankers.TwoStageObjectiveRanker,
    }[ranker]
    random, n = np.random.default_rng(5), 50
    status, value, objective = random.integers(0, 3, n), random.normal(size=n), random.normal(size=n)
    place, direction = random.normal(size=(n, 2)), random.normal(size=2)
    other = kind(seed=0)
    if "rd" in ranker:
        other.target_measure_dir = direction
    data, info = {"objective": objective, "measures": place}, {"status": status, "value": value}
    expected, _ = other.rank(None, None, data, info)
    for selection, parents in [("filter", (status > 0).sum()), ("mu", 25)]:
        rule = Rule(ranker, selection, "basic", BOX)
        with double():
            columns = jax.tree.map(lambda x: jnp.asarray(x)[None], (objective, place, Added(status, value, status)))
            ranking = rule.ranking(jnp.asarray(direction)[None], *columns)
        assert np.argsort(ranking.rank[0]).tolist() == expected.tolist()
        assert int(ranking.parents[0]) == parents and int(ranking.entered[0]) == (status > 0).sum()


def test_what_failed_comes_last_and_is_no_parent():
    """Of eight, six failed: of the better half, only the two others are parents."""
    nan = np.nan
    value = jnp.array([[nan, -3, nan, nan, nan, -5, nan, nan]])
    added = Added(jnp.zeros((1, 8), int), value, None)
    ranking = Rule("2imp", "mu", "basic", None).ranking(jnp.zeros((1, 0)), value, jnp.zeros((1, 8, 2)), added)
    assert int(ranking.parents[0]) == 2 and float(ranking.width[0]) == 2
    assert ranking.rank[0, jnp.array([1, 5])].tolist() == [0, 1]
    nothing = added._replace(value=value * nan)
    ranking = Rule("imp", "mu", "basic", None).ranking(jnp.zeros((1, 0)), value * nan, jnp.zeros((1, 8, 2)), nothing)
    assert int(ranking.parents[0]) == 0 and np.isnan(ranking.width[0])


def test_directions_are_drawn_in_units_of_the_bounds():
    """Of ten thousand, as wide along each axis as the box."""
    direction = np.asarray(Rule("rd", "mu", "basic", BOX).directions(KEY, 10_000))
    np.testing.assert_allclose(direction.std(0), [4, 8], rtol=0.03)


# Emitters


def told(operator, state, value, status, genomes):
    """The state after a batch with these values and statuses `[e, n]`."""
    status, value = np.ravel(status), np.ravel(value).astype(np.float32)
    return jax.jit(operator.tell)(state, genomes, value, genomes[:, :2], Added(status, value, status))


def asked(operator, state, elites):
    return jax.jit(lambda state: operator.ask(KEY, state, lambda n: jnp.asarray(elites)[:n]))(state)


def begun(operator, elites):
    return asked(operator, operator.begin(KEY, elites[0]), elites)


HERE = np.zeros((2, 4), np.float32)


@pytest.mark.parametrize(
    "restart, entered, expected",
    [
        ("no_improvement", [0, 1], [True, False]),
        ("basic", [0, 1], [False, False]),
        (1, [1, 1], [True, True]),
        (2, [1, 1], [False, False]),
    ],
)
def test_each_rule_restarts_whom_it_means(restart, entered, expected):
    """Of two emitters the one that found nothing, neither, both after every batch, neither after the first of two."""
    operator = Evolution(x0=0.0, emitters=2, batch=6, restart=restart)
    state, genomes = begun(operator, HERE)
    status = np.repeat(np.array(entered)[:, None] * NEW, 6, 1)
    state = told(operator, state, np.arange(12.0), status, genomes)
    assert state.anew.tolist() == expected and state.restarts.tolist() == expected
    if restart == 2:
        assert told(operator, state, np.arange(12.0), status, genomes).anew.all()


def test_who_begins_anew_does_so_at_an_elite_and_the_others_go_on():
    """Its mean, shape and step size are new, and it has a direction of its own again."""
    operator = Evolution(x0=1.0, emitters=2, batch=6, ranker="2rd", bounds=BOX)
    state, genomes = begun(operator, HERE)
    status = np.array([[NEW] * 6, [REJECTED] * 6])
    before = told(operator, state, np.arange(12.0), status, genomes)
    elites = np.array([[7.0] * 4, [9.0] * 4], np.float32)
    after, genomes = asked(operator, before, elites)
    assert after.strategies.mean[1].tolist() == [9] * 4 and float(after.strategies.sigma[1]) == 0.5
    assert (after.direction[1] != before.direction[1]).all()
    for new, old in zip(jax.tree.leaves(after), jax.tree.leaves(before), strict=True):
        assert new.ndim == 0 or np.array_equal(new[0], old[0])
    assert np.abs(np.asarray(genomes[6:]) - 9).max() < 3


def test_emitters_do_not_hear_of_each_other():
    """What happens to the second changes nothing for the first."""
    operator = Evolution(x0=0.0, emitters=2, batch=6)
    state, genomes = begun(operator, HERE)
    value = np.arange(12.0)
    one = told(operator, state, value, np.full(12, IMPROVED), genomes)
    two = told(operator, state, np.where(np.arange(12) < 6, value, -value), np.full(12, IMPROVED), genomes)
    first = lambda state: [np.asarray(x)[0] for x in jax.tree.leaves(state) if np.ndim(x)]
    assert all(np.array_equal(a, b) for a, b in zip(first(one), first(two), strict=True))
    assert (one.strategies.mean[1] != two.strategies.mean[1]).any()


def test_without_a_beginning_each_begins_at_an_elite():
    """The first batch lies around the elites, and the step size is as said."""
    elites = np.array([[5.0] * 4, [-5.0] * 4], np.float32)
    _, genomes = begun(Evolution(0.01, emitters=2, batch=6), elites)
    np.testing.assert_allclose(genomes, np.repeat(elites, 6, 0), atol=0.1)


def test_genomes_stay_within_limits_in_any_number_of_dimensions():
    """A thousand entries at sigma 0.2 in the unit box, where resampling does not come back."""
    wide = np.zeros((2, 1000), np.float32)
    _, genomes = begun(Evolution(0.2, 0.5, emitters=2, batch=6, limits=(0.0, 1.0), separable=True), wide)
    assert float(genomes.min()) >= 0 and float(genomes.max()) <= 1 and 0.15 < float(genomes.std()) < 0.25


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"ranker": "nov"}, "ranker is one of imp, 2imp"),
        ({"selection": "best"}, "selection is one of filter, mu"),
        ({"restart": "never"}, "restart is one of no_improvement, basic, a number of batches from 1, not 'never'"),
        ({"restart": 0}, "a number of batches from 1, not 0"),
        ({"ranker": "rd"}, "say bounds=archive.bounds"),
        ({"batch": 1}, "at least 1 emitter of at least 2 candidates"),
        ({"sigma": 0.0}, "a positive sigma"),
        ({"limits": (1.0, 0.0)}, "limits is"),
    ],
)
def test_what_cannot_be_is_refused(settings, sentence):
    """With a sentence that says what can."""
    with pytest.raises(ValueError, match=sentence):
        Evolution(**settings)


def test_genomes_that_are_no_vectors_are_refused():
    """Whole numbers and matrices."""
    for genome in (np.zeros(3, int), np.zeros((3, 3), np.float32)):
        with pytest.raises(ValueError, match="searches over vectors of floats"):
            Evolution().begin(KEY, genome)


# In a search

ARM = Arm(4)


@pytest.mark.parametrize(
    "operator",
    [
        Evolution(0.1, emitters=2, batch=4, limits=ARM.limits),
        Evolution(0.1, 0.0, emitters=1, batch=4, ranker="rd", bounds=ARM.bounds, separable=True),
        cma_mae(0.1, emitters=2, batch=4, restart=3),
        Arborescence(ARM, emitters=2, batch=4, sigma=0.1),
        Portfolio([Evolution(emitters=1, batch=4), Gaussian(0.1)]),
    ],
    ids=["cma-me", "separable", "cma-mae", "cma-mega", "portfolio"],
)
def test_the_operators_conform(operator):
    """Every promise of an operator is kept."""
    check_operator(operator, ARM, n=operator.size or 8)


@pytest.mark.parametrize("kind", [Evolution, partial(Arborescence, Sphere(6))], ids=["cma-me", "cma-mega"])
def test_a_search_with_strategies_is_resumed_to_the_byte(kind, tmp_path):
    """Stopped and gone on with, from its ledger, it is the search that never stopped."""
    sphere = Sphere(6)
    search = lambda **settings: Search(
        sphere, Grid((10, 10), sphere.bounds), kind(emitters=3, batch=8), batch=24, **settings
    )
    with search() as whole, search(run=tmp_path) as first:
        whole.run(8, progress=False)
        first.run(4, progress=False)
    with search(run=tmp_path, resume=True) as second:
        second.run(4, progress=False)
        for name in ("objective", "descriptor"):
            np.testing.assert_array_equal(getattr(whole.elites, name), getattr(second.elites, name))
        np.testing.assert_array_equal(whole.elites.payload["genome"], second.elites.payload["genome"])
        assert whole.elites.payload["genome"].dtype == np.float32


def test_a_search_with_cma_me_outdoes_noise():
    """On the sphere in twenty dimensions it covers more than Gaussian noise of the same width, with each of 3 seeds."""
    sphere = Sphere(20)
    covered = lambda operator, seed: (
        Search(sphere, Grid((20, 20), sphere.bounds), operator, batch=72, seed=seed)
        .run(40, progress=False)
        .summary()["coverage"]
    )
    for seed in range(3):
        assert covered(Evolution(emitters=2), seed) > 1.1 * covered(Gaussian(0.5), seed)


def test_another_number_and_a_second_turn_are_refused():
    """Both errors say what to change, and a turn is not asked of the operator itself."""
    operator = Evolution(emitters=2, batch=4)
    with pytest.raises(ValueError, match="makes 8 candidates a step and the search asked for 64: search with batch=8"):
        operator.turn(64)
    turn = operator.turn(8)
    with pytest.raises(RuntimeError, match="search with ahead=1"):
        operator.turn(8)
    with pytest.raises(TypeError, match="only gives turns"):
        operator.propose(KEY, Context(people(np.zeros((8, 2)))), 8)
    made = turn.propose(KEY, Context(people(np.zeros((8, 2), np.float32))), 8)
    assert made.genome.dtype == np.float32 and (made.parents == NOBODY).all() and operator.restarts == 0


def test_failed_candidates_do_not_stop_a_strategy():
    """A quarter of each batch fails: the means stay finite, and the archive fills."""

    @dataclass(frozen=True)
    class Holes(Sphere):
        def evaluate(self, genomes):
            found = super().evaluate(genomes)
            hole = np.sin(50 * np.asarray(genomes)[:, 0]) > 0.7
            return Evaluation(np.where(hole, np.nan, found.objective), found.descriptor)

    domain = Holes(5)
    operator = Evolution(emitters=2, batch=10)
    search = Search(domain, Grid((10, 10), domain.bounds), operator, batch=20).run(30, progress=False)
    assert search.summary()["outcomes"]["ok"] == 620 or search.summary()["coverage"] > 0.2
    assert np.isfinite(operator._state.strategies.mean).all()


# Gradients


def test_branches_lie_along_unit_gradients():
    """Of the sphere, known by hand: the objective's leads to the best vector, the descriptor's along each half."""
    sphere = Sphere(4)
    operator = Arborescence(sphere, x0=0.0, emitters=1, batch=6, sigma=2.0)
    state, genomes = begun(operator, HERE)
    c = np.asarray(state.coefficients[0])
    half = np.sqrt(0.5)
    expected = c[:, :1] * 0.5 + np.stack([c[:, 1] * half] * 2 + [c[:, 2] * half] * 2, 1)
    np.testing.assert_allclose(genomes[0], np.zeros(4))
    np.testing.assert_allclose(genomes[1:], expected, atol=1e-5)


def test_the_point_moves_to_the_mean_of_its_best_branches_and_stays_without():
    """Weights are those of CMA-ES; the point's own row is no branch."""
    operator = Arborescence(Sphere(4), x0=0.0, emitters=1, batch=6, selection="mu", restart="basic")
    state, genomes = begun(operator, HERE)
    after = told(operator, state, [9, 5, 1, 2, 4, 3], [NEW] * 6, genomes)
    weights = np.log(2.5) - np.log([1, 2])
    expected = (weights / weights.sum()) @ np.asarray(genomes)[[1, 4]]
    np.testing.assert_allclose(after.point[0], expected, rtol=1e-5)
    failed = told(operator, state, [np.nan] * 6, [REJECTED] * 6, genomes)
    np.testing.assert_array_equal(failed.point, state.point)
    assert failed.anew.all()


def test_gradients_fill_the_sphere_soon():
    """Every cell within 27,000 candidates, as published; noise fills a fifth of them."""
    sphere = Sphere(20)
    operator = Arborescence(sphere, emitters=5)
    search = Search(sphere, Grid((20, 20), sphere.bounds), operator, batch=180).run(150, progress=False)
    assert search.summary()["coverage"] == 1.0


def test_a_domain_that_says_no_descriptor_has_no_gradients():
    """The error says what is missing."""

    @dataclass(frozen=True)
    class Silent(Sphere):
        def evaluate(self, genomes):
            return replace(super().evaluate(genomes), descriptor=None)

    with pytest.raises(ValueError, match="both an objective and a descriptor"):
        begun(Arborescence(Silent(4), emitters=1), HERE)

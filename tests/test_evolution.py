"""Evolution strategies: the update of CMA-ES, rankers, restarts, and the operators."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qdkit import Search
from qdkit.archives import Grid
from qdkit.core.elites import IMPROVED, NEW, REJECTED, Added, double
from qdkit.core.types import NO_CANDIDATE, Batch, Context, Evaluation, Proposal
from qdkit.domains import Arm, Sphere
from qdkit.operators import Evolution, Gaussian, GradientArborescence, Portfolio, cma_mae
from qdkit.operators.evolution import cma
from qdkit.operators.evolution.ranking import StrategyRules
from qdkit.testing import check_operator
from tests.worlds import search_of

os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # pyribs compiles for longer than these tests take

KEY = jax.random.key(3)
BOX = ((-2.0, 2.0), (-4.0, 4.0))
KINDS = pytest.mark.parametrize("separable", [False, True], ids=["full", "separable"])


def batch_of(genome):
    """A batch of candidates with these genomes."""
    return Batch.unevaluated(
        Proposal(genome, np.full((len(genome), 1), NO_CANDIDATE), ["seed"] * len(genome))
    )


def pyribs_strategy(separable, d, batch, sigma=0.7):
    """The strategy of pyribs, begun at zero."""
    from ribs.emitters.opt import CMAEvolutionStrategy, SeparableCMAEvolutionStrategy

    kind = SeparableCMAEvolutionStrategy if separable else CMAEvolutionStrategy
    strategy = kind(sigma0=sigma, solution_dim=d, batch_size=batch, seed=1, dtype=np.float64)
    strategy.reset(np.zeros(d))
    return strategy


# The update


SIZES = [(2, 12), (3, 6), (10, 12), (10, 36), (100, 36), (100, 4), (1000, 24)]


def rates(d, batch, separable, parents=None):
    """Returns our parameters for the better half of a batch."""
    with double():
        found = cma.rates(
            jnp.arange(batch),
            jnp.asarray(batch // 2 if parents is None else parents),
            d,
            separable,
        )
        return jax.tree.map(np.asarray, found)


@pytest.mark.parametrize("d, batch", SIZES)
def test_the_parameters_are_those_of_purecma(d, batch):
    """Weights, effective number of parents and every rate; the damping is the tutorial's."""
    from cma.more_algorithms.purecma import CMAESParameters

    ours, other = rates(d, batch, False), CMAESParameters(d, batch)
    np.testing.assert_allclose(ours.weights, other.weights, rtol=1e-12)
    known = [other.mueff, other.cc, other.cs, other.c1, other.cmu]
    np.testing.assert_allclose([*ours[1:6]], known, rtol=1e-12)
    assert ours.damps == pytest.approx(
        1 + 2 * max(0, ((other.mueff - 1) / (d + 1)) ** 0.5 - 1) + other.cs, rel=1e-12
    )
    assert (
        cma.factor_interval(batch, d) * batch
        >= other.lazy_gap_evals
        > (cma.factor_interval(batch, d) - 1) * batch
    )


def pycma(d, batch):
    """The parameters of a diagonal covariance in pycma."""
    from cma.options_parameters import CMAOptions, CMAParameters

    options = CMAOptions({"popsize": batch, "CMA_active": False, "verbose": -9}).complement()
    options.evalall({"N": d})
    return CMAParameters(d, options, verbose=False)


@pytest.mark.parametrize("d, batch", SIZES)
def test_the_separable_parameters_are_those_of_pycma(d, batch):
    """Weights and rates of the covariance.

    The time constant of the step size is the tutorial's, as in purecma.
    """
    ours, other = rates(d, batch, True), pycma(d, batch)
    np.testing.assert_allclose(
        ours.weights[: batch // 2], other.weights.positive_weights, rtol=1e-12
    )
    known = [other.weights.mueff, other.cc_sep, other.c1_sep, other.cmu_sep]
    np.testing.assert_allclose([ours.mueff, ours.cc, ours.c1, ours.cmu], known, rtol=1e-12)
    assert ours.cs == rates(d, batch, False).cs and ours.damps == rates(d, batch, False).damps


def test_a_separable_strategy_of_100_numbers_learns_a_direction_within_some_hundred_batches():
    """It has the rate of pycma; that of pyribs is multiplied by the full matrix's: 1.6e-6."""
    ours, slipped = (
        rates(100, 36, True),
        pyribs_strategy(True, 100, 36)._calc_strat_params(100, 18)[4],
    )
    assert ours.c1 == pytest.approx(8.326e-3, rel=1e-3) and slipped == pytest.approx(
        1.62e-6, rel=1e-2
    )
    assert slipped == pytest.approx(ours.c1 * rates(100, 36, False).c1, rel=1e-12), (
        "that is the slip"
    )


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("d, parents", [(3, 1), (10, 6), (10, 2), (100, 18), (2, 200)])
def test_the_parameters_equal_their_formulas_for_any_number_of_parents(separable, d, parents):
    """Few and many parents, in any order of the rows."""
    rank = np.random.default_rng(0).permutation(2 * parents)
    with double():
        ours = jax.tree.map(
            np.asarray, cma.rates(jnp.asarray(rank), jnp.asarray(parents), d, separable)
        )
    strategy = pyribs_strategy(separable, d, 36)
    calc = strategy._calc_strat_params
    weights, mueff, cc, cs, c1, cmu = calc(d, parents) if separable else calc(parents)
    if separable:
        c1 = 1 / (d + 2 * d**0.5 + mueff / d)
        cmu = min(1 - c1, (0.25 + mueff + 1 / mueff - 2) / (d + 4 * d**0.5 + mueff / 2))
    np.testing.assert_allclose(
        ours.weights[np.argsort(rank)], [*weights, *[0.0] * parents], atol=1e-12
    )
    np.testing.assert_allclose([*ours[1:6]], [mueff, cc, cs, c1, cmu], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("d", [2, 5])
def test_forty_updates_are_those_of_purecma(d):
    """Mean, step size, covariance and both paths are equal, on a slope and in a narrow valley."""
    from cma.more_algorithms.purecma import CMAES

    batch, random = 12, np.random.default_rng(d)
    other = CMAES([3.0] * d, 0.7, popsize=batch)
    other.params.damps = float(rates(d, batch, False).damps)
    other.params.lazy_gap_evals = 0
    stalled = 0
    with double():
        update, factored = jax.jit(cma.learn), jax.jit(cma.update_factor)
        ours = cma.begin(jnp.full(d, 3.0), 0.7, False)
        for step in range(40):
            factor = np.asarray(ours.factor)
            x = (
                np.asarray(ours.mean)
                + np.asarray(ours.sigma) * random.normal(size=(batch, d)) @ factor.T
            )
            value = x[:, 0] if step < 20 else (x**2 * 100.0 ** np.arange(d)).sum(1)
            other.C.update_eigensystem(other.counteval, 0)
            other.C.invsqrt = np.linalg.inv(
                factor
            ).tolist()  # its symmetric root only turns the path
            other.tell(x.tolist(), value.tolist())
            rank = jnp.asarray(np.argsort(np.argsort(value)))
            ours = factored(update(ours, jnp.asarray(x), rank, jnp.asarray(batch // 2)))
            shape = np.array([[other.C[i][j] for j in range(d)] for i in range(d)])
            pairs = [(ours.mean, other.xmean), (ours.sigma, other.sigma), (ours.covariance, shape)]
            for a, b in [*pairs, (ours.path, other.ps), (ours.pull, other.pc)]:
                np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10, err_msg=str(step))
            length = (
                (np.asarray(ours.path) ** 2).sum()
                / d
                / (1 - (1 - other.params.cs) ** (2 * (step + 1)))
            )
            stalled += length >= 2 + 4 / (d + 1)
    assert 0 < stalled < 40, "with and without the stall of the rank-one update"


@pytest.mark.parametrize("parents", [1, 5, 12])
def test_separable_updates_equal_their_formulas(parents):
    """Forty of them, written with numpy from Ros & Hansen (2008) and the rates of pycma."""
    d, batch, random = 6, 12, np.random.default_rng(parents)
    mean, sigma, shape, pc, ps = np.zeros(d), 0.7, np.ones(d), np.zeros(d), np.zeros(d)
    r = rates(d, batch, True, parents)
    with double():
        update, factored = jax.jit(cma.learn), jax.jit(cma.update_factor)
        ours = cma.begin(jnp.zeros(d), 0.7, True)
        for step in range(40):
            x = mean + sigma * np.sqrt(shape) * random.normal(size=(batch, d))
            value = x[:, 0] if step < 20 else (x**2 * 10.0 ** np.arange(d)).sum(1)
            best = x[np.argsort(value, kind="stable")][:parents]
            old, y = mean, (best - mean) / sigma
            mean = r.weights[:parents] @ best
            z = (mean - old) / sigma / np.sqrt(shape)
            ps = (1 - r.cs) * ps + np.sqrt(r.cs * (2 - r.cs) * r.mueff) * z
            hsig = (ps**2).sum() / d / (1 - (1 - r.cs) ** (2 * (step + 1))) < 2 + 4 / (d + 1)
            pc = (1 - r.cc) * pc + hsig * np.sqrt(r.cc * (2 - r.cc) * r.mueff) * (
                mean - old
            ) / sigma
            c1a = r.c1 * (1 - (1 - hsig) * r.cc * (2 - r.cc))
            shape = (1 - c1a - r.cmu) * shape + r.c1 * pc**2 + r.cmu * r.weights[:parents] @ y**2
            sigma *= np.exp(min(1, r.cs / r.damps * ((ps**2).sum() / d - 1) / 2))
            rank = np.argsort(np.argsort(value, kind="stable"))
            ours = factored(update(ours, jnp.asarray(x), jnp.asarray(rank), jnp.asarray(parents)))
            for a, b in zip(ours[:3], (mean, sigma, shape), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-12, err_msg=str(step))
            np.testing.assert_allclose(ours.pull, pc, rtol=1e-7, atol=1e-12)
            np.testing.assert_allclose(ours.path, ps, rtol=1e-7, atol=1e-12)


def test_the_page_on_pyribs_has_the_computed_values():
    """Every cell of its table, for a batch of 36."""
    from cma.evolution_strategy import CMAEvolutionStrategy
    from cma.more_algorithms.purecma import CMAESParameters

    page = (Path(__file__).parents[1] / "docs" / "pyribs_cma.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| (full|separable) \| (\d+) \| (\w+) \| (.*) \|$", page, re.MULTILINE)
    assert len(found) == 24
    for kind, d, name, cells in found:
        separable, d, suffix = kind == "separable", int(d), "_sep" * (kind == "separable")
        ours, pure, long = rates(d, 36, separable), CMAESParameters(d, 36), pycma(d, 36)
        step = CMAEvolutionStrategy(
            d * [0.0], 1.0, {"popsize": 36, "CMA_active": False, "verbose": -9}
        ).adapt_sigma
        calc = pyribs_strategy(separable, d, 36)._calc_strat_params
        ribs = dict(
            zip(
                ("mueff", "cc", "cs", "c1", "cmu"),
                (calc(d, 18) if separable else calc(18))[1:],
                strict=True,
            )
        )
        ribs["damps"] = float(ours.damps)  # the same formula, within `tell`
        theirs_long = {"mueff": long.weights.mueff, "cs": step.cs, "damps": step.damps}
        known = theirs_long[name] if name in theirs_long else getattr(long, name + suffix)
        values = [
            getattr(ours, name),
            None if separable else getattr(pure, name),
            known,
            ribs[name],
        ]
        assert cells.split(" | ") == ["–" if v is None else f"{float(v):.4g}" for v in values], (
            kind,
            d,
            name,
        )


def test_without_parents_only_the_generation_changes():
    """Mean, step size, covariance and paths stay."""
    with double():
        for separable in (False, True):
            before = cma.begin(jnp.zeros(3), 0.7, separable)
            after = cma.learn(before, jnp.ones((4, 3)), jnp.arange(4), jnp.asarray(0))
            assert after.generation == 1
            for a, b in zip(before[:6], after[:6], strict=True):
                np.testing.assert_array_equal(a, b)


@KINDS
@pytest.mark.parametrize("parents", [1, 5, 6, 12])
def test_updates_equal_those_of_pyribs_except_for_its_errors(separable, parents):
    """Twelve updates in step, from the same samples and ranks.

    pyribs takes the evolution path in units of the genome where the tutorial has those of sigma,
    weighs the rank-one term by c1 twice, and has a rate c1 of the diagonal that is multiplied by
    that of a full matrix; its rate cmu of the diagonal is that of an older pycma. It is told the
    right ones here, so that all else has to agree.
    """
    d, batch, random = 5, 12, np.random.default_rng(parents)
    strategy = pyribs_strategy(separable, d, batch)
    right = [*rates(d, batch, separable, parents)][1:6]
    weights = np.asarray(rates(d, batch, separable, parents).weights[:parents])
    strategy._calc_strat_params = lambda *given: (weights, *(float(one) for one in right))
    _, cc, _, c1, _ = (float(one) for one in right)
    with double():
        update, factored = jax.jit(cma.learn), jax.jit(cma.update_factor)
        ours = cma.begin(jnp.zeros(d), 0.7, separable)
        for _ in range(12):
            x = random.normal(size=(batch, d)) * 0.3 + np.asarray(ours.mean)
            order = random.permutation(batch)
            strategy._solutions, before = x, jax.tree.map(np.asarray, ours)
            if not separable:
                strategy.cov.invsqrt = np.linalg.inv(before.factor)  # they take a symmetric root
            was, sigma, pull = strategy.cov.cov.copy(), strategy.sigma, strategy.pc.copy()
            strategy.tell(order, np.zeros(batch), parents)
            ours = update(
                ours, jnp.asarray(x), jnp.asarray(np.argsort(order)), jnp.asarray(parents)
            )
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
def test_the_factor_is_updated_as_often_as_in_pyribs(d, batch):
    """So many batches pass between two decompositions."""
    strategy = pyribs_strategy(False, 2, batch)
    gap = type(strategy)(sigma0=1.0, solution_dim=d, batch_size=batch).lazy_gap_evals
    passed = next(n for n in range(1, 10_000) if n * batch > gap)
    assert cma.factor_interval(batch, d) == passed


@KINDS
def test_samples_have_the_mean_and_covariance_of_their_distribution(separable):
    """Of 200,000 draws, within four standard errors."""
    covariance = jnp.array([4.0, 1.0]) if separable else jnp.array([[4.0, 1.2], [1.2, 1.0]])
    strategy = cma.begin(jnp.array([3.0, -1.0]), 0.5, separable)
    strategy = cma.update_factor(strategy._replace(covariance=covariance))
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


def test_an_ill_conditioned_valley_takes_as_many_batches_as_in_pyribs():
    """On an ellipsoid with axes of 1 : 1000, the medians of ten runs differ by a tenth at most."""
    d, batch = 6, 12
    scale = 10.0 ** np.linspace(0, 6, d)
    f = lambda x: (scale * np.asarray(x) ** 2).sum(1)
    ours, others = [], []
    with double():
        draw, update = (
            jax.jit(partial(cma.draw, n=batch)),
            jax.jit(lambda *a: cma.update_factor(cma.learn(*a))),
        )
        for seed in range(10):
            strategy = cma.begin(jnp.ones(d), 0.5, False)

            def tell(x, order):
                nonlocal strategy
                strategy = update(strategy, x, jnp.asarray(np.argsort(order)), batch // 2)

            key = jax.random.key(seed)
            ours.append(
                generations(
                    lambda g: draw(jax.random.fold_in(key, g), strategy),  # noqa: B023
                    tell,
                    f,
                )
            )
            other = pyribs_strategy(False, d, batch, 0.5)
            other._rng = np.random.default_rng(seed)
            other.reset(np.ones(d))
            others.append(
                generations(
                    lambda g, es=other: es.ask(),
                    lambda x, o, es=other: es.tell(o, None, batch // 2),
                    f,
                )
            )
    assert max(ours) < 400
    assert np.median(ours) < 1.1 * np.median(others)


def test_exhausted_strategies_are_detected():
    """Equal values, failures, steps that are too small, and a covariance without a factor."""
    strategy = cma.begin(jnp.ones(3), 0.5, False)
    bad = strategy._replace(covariance=-jnp.eye(3))
    spread = jnp.asarray(1.0)
    assert not cma.exhausted(strategy, spread)
    assert cma.exhausted(strategy, 0 * spread) and cma.exhausted(strategy, jnp.nan * spread)
    assert cma.exhausted(strategy._replace(sigma=jnp.asarray(1e-12)), spread)
    assert cma.exhausted(strategy._replace(sigma=jnp.asarray(1e-8)), spread)
    assert not cma.exhausted(strategy._replace(sigma=jnp.asarray(1e-8), mean=jnp.zeros(3)), spread)
    assert cma.exhausted(cma.update_factor(bad), spread)
    assert cma.exhausted(
        cma.update_factor(strategy._replace(covariance=jnp.diag(jnp.array([1e9, 1.0, 1.0])))),
        spread,
    )


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
    status, value, objective = (
        random.integers(0, 3, n),
        random.normal(size=n),
        random.normal(size=n),
    )
    place, direction = random.normal(size=(n, 2)), random.normal(size=2)
    other = kind(seed=0)
    if "rd" in ranker:
        other.target_measure_dir = direction
    data, info = {"objective": objective, "measures": place}, {"status": status, "value": value}
    expected, _ = other.rank(None, None, data, info)
    for selection, parents in [("filter", (status > 0).sum()), ("mu", 25)]:
        rule = StrategyRules(ranker, selection, "basic", BOX)
        with double():
            columns = jax.tree.map(
                lambda x: jnp.asarray(x)[None], (objective, place, Added(status, value, status))
            )
            ranking = rule.ranking(jnp.asarray(direction)[None], *columns)
        assert np.argsort(ranking.rank[0]).tolist() == expected.tolist()
        assert int(ranking.parents[0]) == parents and int(ranking.entered[0]) == (status > 0).sum()


def test_failed_candidates_rank_last_and_are_not_parents():
    """Of eight, six failed: of the better half, only the two others are parents."""
    nan = np.nan
    value = jnp.array([[nan, -3, nan, nan, nan, -5, nan, nan]])
    added = Added(jnp.zeros((1, 8), int), value, None)
    ranking = StrategyRules("2imp", "mu", "basic", None).ranking(
        jnp.zeros((1, 0)), value, jnp.zeros((1, 8, 2)), added
    )
    assert int(ranking.parents[0]) == 2 and float(ranking.width[0]) == 2
    assert ranking.rank[0, jnp.array([1, 5])].tolist() == [0, 1]
    nothing = added._replace(value=value * nan)
    ranking = StrategyRules("imp", "mu", "basic", None).ranking(
        jnp.zeros((1, 0)), value * nan, jnp.zeros((1, 8, 2)), nothing
    )
    assert int(ranking.parents[0]) == 0 and np.isnan(ranking.width[0])


def test_directions_are_drawn_in_units_of_the_bounds():
    """Of ten thousand, as wide along each axis as the box."""
    direction = np.asarray(StrategyRules("rd", "mu", "basic", BOX).directions(KEY, 10_000))
    np.testing.assert_allclose(direction.std(0), [4, 8], rtol=0.03)


# Emitters


def after_tell(operator, state, value, status, genomes):
    """The state after a batch with these values and statuses `[e, n]`."""
    status, value = np.ravel(status), np.ravel(value).astype(np.float32)
    return jax.jit(operator.tell)(
        state, genomes, value, genomes[:, :2], Added(status, value, status)
    )


def after_ask(operator, state, elites):
    return jax.jit(lambda state: operator.ask(KEY, state, lambda n: jnp.asarray(elites)[:n]))(
        state
    )


def after_begin(operator, elites):
    return after_ask(operator, operator.begin(KEY, elites[0]), elites)


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
def test_each_restart_rule_restarts_the_right_emitters(restart, entered, expected):
    """Of two emitters, the one without improvement, none, both every batch, or none after one."""
    operator = Evolution(x0=0.0, emitters=2, batch=6, restart=restart)
    state, genomes = after_begin(operator, HERE)
    status = np.repeat(np.array(entered)[:, None] * NEW, 6, 1)
    state = after_tell(operator, state, np.arange(12.0), status, genomes)
    assert state.anew.tolist() == expected and state.restarts.tolist() == expected
    if restart == 2:
        assert after_tell(operator, state, np.arange(12.0), status, genomes).anew.all()


def test_restarted_emitters_start_at_an_elite_and_the_others_continue():
    """Mean, covariance and step size start again, and there is a new direction."""
    operator = Evolution(x0=1.0, emitters=2, batch=6, ranker="2rd", bounds=BOX)
    state, genomes = after_begin(operator, HERE)
    status = np.array([[NEW] * 6, [REJECTED] * 6])
    before = after_tell(operator, state, np.arange(12.0), status, genomes)
    elites = np.array([[7.0] * 4, [9.0] * 4], np.float32)
    after, genomes = after_ask(operator, before, elites)
    assert after.strategies.mean[1].tolist() == [9] * 4 and float(after.strategies.sigma[1]) == 0.5
    assert (after.direction[1] != before.direction[1]).all()
    for new, old in zip(jax.tree.leaves(after), jax.tree.leaves(before), strict=True):
        assert new.ndim == 0 or np.array_equal(new[0], old[0])
    assert np.abs(np.asarray(genomes[6:]) - 9).max() < 3


def test_emitters_are_independent():
    """The results of the second do not affect the first."""
    operator = Evolution(x0=0.0, emitters=2, batch=6)
    state, genomes = after_begin(operator, HERE)
    value = np.arange(12.0)
    one = after_tell(operator, state, value, np.full(12, IMPROVED), genomes)
    two = after_tell(
        operator, state, np.where(np.arange(12) < 6, value, -value), np.full(12, IMPROVED), genomes
    )
    first = lambda state: [np.asarray(x)[0] for x in jax.tree.leaves(state) if np.ndim(x)]
    assert all(np.array_equal(a, b) for a, b in zip(first(one), first(two), strict=True))
    assert (one.strategies.mean[1] != two.strategies.mean[1]).any()


def test_without_x0_each_strategy_starts_at_an_elite():
    """The first batch is around the elites, with the step size of the settings."""
    elites = np.array([[5.0] * 4, [-5.0] * 4], np.float32)
    _, genomes = after_begin(Evolution(0.01, emitters=2, batch=6), elites)
    np.testing.assert_allclose(genomes, np.repeat(elites, 6, 0), atol=0.1)


def test_genomes_stay_within_limits_in_any_number_of_dimensions():
    """A thousand entries at sigma 0.2 in the unit box, where resampling does not come back."""
    wide = np.zeros((2, 1000), np.float32)
    _, genomes = after_begin(
        Evolution(0.2, 0.5, emitters=2, batch=6, limits=(0.0, 1.0), separable=True), wide
    )
    assert (
        float(genomes.min()) >= 0
        and float(genomes.max()) <= 1
        and 0.15 < float(genomes.std()) < 0.25
    )


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"ranker": "nov"}, "ranker is one of imp, 2imp"),
        ({"selection": "best"}, "selection is one of filter, mu"),
        (
            {"restart": "never"},
            "restart is one of no_improvement, basic, a number of batches from 1, not 'never'",
        ),
        ({"restart": 0}, "a number of batches from 1, not 0"),
        ({"ranker": "rd"}, "pass bounds=archive.bounds"),
        ({"batch": 1}, "at least 1 emitter of at least 2 candidates"),
        ({"sigma": 0.0}, "a positive sigma"),
        ({"limits": (1.0, 0.0)}, "limits is"),
    ],
)
def test_invalid_settings_are_refused_with_a_reason(settings, sentence):
    """The error says which values are valid."""
    with pytest.raises(ValueError, match=sentence):
        Evolution(**settings)


def test_genomes_that_are_not_vectors_of_floats_are_refused():
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
        GradientArborescence(ARM, emitters=2, batch=4, sigma=0.1),
        Portfolio([Evolution(emitters=1, batch=4), Gaussian(0.1)]),
    ],
    ids=["cma-me", "separable", "cma-mae", "cma-mega", "portfolio"],
)
def test_the_operators_conform_to_the_operator_contract(operator):
    """See `qdkit.testing.check_operator`."""
    check_operator(operator, ARM, n=operator.size or 8)


@pytest.mark.parametrize(
    "kind", [Evolution, partial(GradientArborescence, Sphere(6))], ids=["cma-me", "cma-mega"]
)
def test_a_search_with_strategies_is_resumed_to_the_byte(kind, tmp_path):
    """A search that is resumed from its ledger equals one that was not interrupted."""
    sphere = Sphere(6)
    search = lambda **settings: search_of(
        sphere, Grid((10, 10), sphere.bounds), kind(emitters=3, batch=8), batch=24, **settings
    )
    with search() as whole, search(run=tmp_path) as first:
        whole.run(8, progress=False)
        first.run(4, progress=False)
    with search(run=tmp_path, resume=True) as second:
        second.run(4, progress=False)
        for name in ("objective", "descriptor"):
            np.testing.assert_array_equal(
                getattr(whole.elites, name), getattr(second.elites, name)
            )
        np.testing.assert_array_equal(
            whole.elites.payload["genome"], second.elites.payload["genome"]
        )
        assert whole.elites.payload["genome"].dtype == np.float32


def test_cma_me_covers_more_than_gaussian_noise():
    """On the sphere in 20 dimensions, with noise of the same width, for each of 3 seeds."""
    sphere = Sphere(20)
    covered = lambda operator, seed: (
        Search(sphere, Grid((20, 20), sphere.bounds), operator, batch=72, seed=seed)
        .run(40, progress=False)
        .summary()["coverage"]
    )
    for seed in range(3):
        assert covered(Evolution(emitters=2), seed) > 1.1 * covered(Gaussian(0.5), seed)


def test_another_batch_size_and_a_second_turn_are_refused():
    """Both errors say how to correct it, and `propose` without a turn is refused."""
    operator = Evolution(emitters=2, batch=4)
    with pytest.raises(
        ValueError,
        match="makes 8 candidates a step and the search asked for 64: search with batch=8",
    ):
        operator.turn(64)
    turn = operator.turn(8)
    with pytest.raises(RuntimeError, match="search with ahead=1"):
        operator.turn(8)
    with pytest.raises(TypeError, match="only gives turns"):
        operator.propose(KEY, Context(batch_of(np.zeros((8, 2)))), 8)
    made = turn.propose(KEY, Context(batch_of(np.zeros((8, 2), np.float32))), 8)
    assert (
        made.genome.dtype == np.float32
        and (made.parents == NO_CANDIDATE).all()
        and operator.restarts == 0
    )


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
    search = Search(domain, Grid((10, 10), domain.bounds), operator, batch=20).run(
        30, progress=False
    )
    assert search.summary()["outcomes"]["ok"] == 620 or search.summary()["coverage"] > 0.2
    assert np.isfinite(search.operator._state.strategies.mean).all()


# Gradients


def test_branches_lie_along_unit_gradients():
    """The gradients of the sphere are known: that of the objective, and of both descriptors."""
    sphere = Sphere(4)
    operator = GradientArborescence(sphere, x0=0.0, emitters=1, batch=6, sigma=2.0)
    state, genomes = after_begin(operator, HERE)
    c = np.asarray(state.coefficients[0])
    half = np.sqrt(0.5)
    expected = c[:, :1] * 0.5 + np.stack([c[:, 1] * half] * 2 + [c[:, 2] * half] * 2, 1)
    np.testing.assert_allclose(genomes[0], np.zeros(4))
    np.testing.assert_allclose(genomes[1:], expected, atol=1e-5)


def test_the_point_moves_to_the_mean_of_its_parents_and_stays_without_any():
    """Weights are those of CMA-ES; the point's own row is no branch."""
    operator = GradientArborescence(
        Sphere(4), x0=0.0, emitters=1, batch=6, selection="mu", restart="basic"
    )
    state, genomes = after_begin(operator, HERE)
    after = after_tell(operator, state, [9, 5, 1, 2, 4, 3], [NEW] * 6, genomes)
    weights = np.log(2.5) - np.log([1, 2])
    expected = (weights / weights.sum()) @ np.asarray(genomes)[[1, 4]]
    np.testing.assert_allclose(after.point[0], expected, rtol=1e-5)
    failed = after_tell(operator, state, [np.nan] * 6, [REJECTED] * 6, genomes)
    np.testing.assert_array_equal(failed.point, state.point)
    assert failed.anew.all()


def test_gradients_fill_the_sphere_as_published():
    """Every cell within 27,000 candidates, as published; noise fills a fifth of them."""
    sphere = Sphere(20)
    operator = GradientArborescence(sphere, emitters=5)
    search = Search(sphere, Grid((20, 20), sphere.bounds), operator, batch=180).run(
        150, progress=False
    )
    assert search.summary()["coverage"] == 1.0


def test_a_domain_without_a_descriptor_is_refused():
    """The error says what is missing."""

    @dataclass(frozen=True)
    class Silent(Sphere):
        def evaluate(self, genomes):
            return replace(super().evaluate(genomes), descriptor=None)

    with pytest.raises(ValueError, match="both an objective and a descriptor"):
        after_begin(GradientArborescence(Silent(4), emitters=1), HERE)


@dataclass(frozen=True)
class Corner(Sphere):
    """Its objective has no gradient unless the first entry is above zero."""

    def evaluate(self, genomes):
        found = super().evaluate(genomes)
        root = jnp.where(genomes[:, 0] > 0, genomes[:, 0], 0.0)
        return replace(
            found, objective=found.objective - jnp.sqrt(root - root * 0.0) * jnp.sign(root)
        )


def test_a_nan_gradient_gives_valid_candidates():
    """All branches are valid candidates, even if no direction is known."""

    @dataclass(frozen=True)
    class Nowhere(Sphere):
        """The square root of nought, of each entry: finite at zero, where no gradient is."""

        def evaluate(self, genomes):
            root = jnp.sqrt(jnp.abs(genomes)).sum(1)
            return Evaluation(-root, jnp.stack([root, root], 1))

    for domain in (Corner(4), Nowhere(4)):
        operator = GradientArborescence(domain, x0=0.0, emitters=2, batch=6, sigma=1.0)
        _, genomes = after_begin(operator, HERE)
        assert (
            np.isfinite(genomes).all()
            and len(np.unique(np.asarray(genomes).reshape(12, 4), axis=0)) >= 6
        )
    operator = GradientArborescence(Nowhere(4), x0=0.0, emitters=1, batch=12, sigma=0.5)
    search = Search(Nowhere(4), Grid((10, 10), ((0, 9), (0, 9))), operator, batch=12, seed=1).run(
        12, progress=False
    )
    assert set(search.summary()["outcomes"]) == {"ok"}


def test_only_finite_entries_of_a_gradient_are_followed():
    """Those that are nan or infinite are not, and huge ones do not vanish."""
    operator = GradientArborescence(Sphere(3), axes=1)
    slope = np.array(
        [[[3.0, np.nan, 4.0], [1e30, 0.0, 0.0]], [[0.0, 0.0, 0.0], [np.inf, np.nan, np.nan]]],
        np.float32,
    )
    made = np.asarray(operator._directions(KEY, jnp.asarray(slope)))
    np.testing.assert_allclose(made[0], [[0.6, 0.0, 0.8], [1.0, 0.0, 0.0]], rtol=1e-6)
    np.testing.assert_array_equal(made[1, 0], 0.0)
    assert np.linalg.norm(made[1, 1]) == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
def test_branches_stay_within_the_limits_of_the_domain(compiled):
    """The limits are those of the domain by default.

    No entry is clipped to them, except by rounding.
    """
    for domain, limits in ((Arm(4), None), (Sphere(4), (-6.0, 6.0))):
        low, high = domain.limits if limits is None else limits
        operator = GradientArborescence(domain, emitters=2, batch=8, sigma=20.0, limits=limits)
        search = search_of(
            domain, Grid((20, 20), domain.bounds), operator, batch=16, seed=1, compiled=compiled
        )
        genome = np.asarray(search.run(6, progress=False).elites.payload["genome"])[
            search.elites.occupied
        ]
        assert (
            genome.min() >= np.float32(low)
            and genome.max() <= np.float32(high)
            and len(genome) > 10
        )
    with pytest.raises(ValueError, match="limits is"):
        GradientArborescence(Arm(4), limits=(1.0, 0.0))


def test_a_point_outside_the_limits_is_brought_within():
    """The first point and its branches are within the limits."""
    _, genomes = after_begin(GradientArborescence(Arm(4), x0=5.0, emitters=1, batch=4), HERE)
    assert float(np.abs(genomes).max()) <= np.pi


NUMPY = {
    "np.asarray": lambda x: np.asarray(x).sum(1),
    "float": lambda x: [float(row[0]) for row in x],
    "if": lambda x: -x[:, 0] if x[0, 0] > 0 else x[:, 0],
    "writing": lambda x: x.__setitem__(0, 0.0),
}


@pytest.mark.parametrize("name", NUMPY)
@pytest.mark.parametrize("part", ["gradients", "compiled"])
def test_a_domain_that_leaves_jax_is_refused(name, part):
    """With what it did and what to do instead, wherever a domain has to be one of jax."""

    @dataclass(frozen=True)
    class Plain(Sphere):
        def evaluate(self, genomes):
            return Evaluation(NUMPY[name](genomes), genomes[:, :2])

    domain = Plain(4)
    with pytest.raises(
        TypeError,
        match=r"Plain\(.*cannot be compiled, since its evaluate leaves jax: .*jax.numpy alone",
    ):
        if part == "gradients":
            after_begin(GradientArborescence(domain, emitters=1), HERE)
        else:
            Search.compiled(domain, Grid((4, 4), BOX), Gaussian(0.1), batch=8)


def test_another_number_of_axes_is_refused():
    """The error says the number to pass."""
    for axes in (1, 3):
        with pytest.raises(
            ValueError, match=rf"axes is {axes}, and .* gives descriptors of 2: pass axes=2"
        ):
            after_begin(GradientArborescence(Sphere(4), axes=axes, emitters=1), HERE)

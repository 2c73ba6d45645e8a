"""Operators over vectors: noise, limits, pyribs emitters, and portfolios of them."""

from __future__ import annotations

import os
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdkit.archives import Grid
from qdkit.core.elites import NEW, REJECTED, Added, double, sample
from qdkit.core.types import NO_CANDIDATE, Batch, Context, Operator, Proposal
from qdkit.operators import Emitter, Gaussian, IsoLine, Portfolio, cma_me
from qdkit.operators.limits import apply_limits, limit_arrays

os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # pyribs compiles for longer than these tests take

KEY = jax.random.key(7)
DIM, BOX = 4, ((-2.0, 2.0), (-2.0, 2.0))


def batch_of(genome, first=100):
    """A batch of candidates with these genomes, numbered from `first`."""
    n = len(genome)
    made = Proposal(genome, np.full((n, 1), NO_CANDIDATE, np.int32), ["seed"] * n)
    return Batch.unevaluated(made).replace(id=np.arange(first, first + n, dtype=np.int32))


def on_hill(made):
    """Returns evaluated candidates, whose objective is a hill over their first two entries."""
    x = np.asarray(made.genome, np.float64)
    return Batch.unevaluated(made).replace(objective=10 - (x**2).sum(1), descriptor=x[:, :2])


def steps(operator, n, count, seed=0, spoil=lambda batch: batch, seeds=8):
    """Yields (parents, batch, added, number of filled cells) after each of `count` commits."""
    archive, key = Grid((20, 20), BOX), jax.random.key(seed)
    genomes = []
    with double():
        elites = archive.init()

    def commit(batch):
        nonlocal elites
        ids = np.arange(len(genomes), len(genomes) + len(batch))
        genomes.extend(batch.genome)
        with double():
            elites, added = archive.add(elites, batch.objective, batch.descriptor, ids)
            return added, int(elites.occupied.sum())

    if seeds:
        commit(
            on_hill(
                Proposal(
                    np.random.default_rng(seed).normal(0, 0.3, (seeds, DIM)),
                    None,
                    ["seed"] * seeds,
                )
            )
        )
    for step in range(count):
        pick, make = jax.random.split(jax.random.fold_in(key, step))
        turned = operator.turn(n)
        with double():
            ids = np.asarray(elites.payload)[
                np.asarray(sample(pick, elites, n * turned.arity if genomes else 0))
            ]
        parents = batch_of(np.array([genomes[i] for i in ids])).replace(id=ids.astype(np.int32))
        batch = spoil(on_hill(turned.propose(make, Context(parents), n)))
        added, filled = commit(batch)
        operator.learn(batch, added)
        yield parents, batch, added, filled


def strategy(name="cma-me", batch_size=12, **settings):
    """An evolution strategy of pyribs as an operator."""
    from ribs.emitters import EvolutionStrategyEmitter

    settings = {"x0": np.zeros(DIM), "sigma0": 0.5, "batch_size": batch_size} | settings
    make = lambda archive, seed: EvolutionStrategyEmitter(archive, **({"seed": seed} | settings))
    return Emitter(make, DIM, BOX, name)


# Bounds

fold = jax.jit(apply_limits, static_argnames="outside")
reals = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)  # which XLA takes for 0


@settings(deadline=None, database=None, max_examples=60)
@given(
    x=st.lists(
        st.floats(width=32, allow_nan=False, allow_subnormal=False), min_size=3, max_size=3
    ),
    low=reals,
    width=st.floats(1e-3, 1e6),
    open=st.sampled_from([(0, 0), (1, 0), (0, 1), (1, 1)]),
    outside=st.sampled_from(["reflect", "clip"]),
)
def test_results_lie_within_the_limits_and_entries_within_them_are_unchanged(
    x, low, width, open, outside
):
    """For any distance and any limits, the result is within.

    Entries within the limits are unchanged.
    """
    low, high = -np.inf if open[0] else low, np.inf if open[1] else low + width
    genome, limits = np.array([x], np.float32), (low, high)
    after = np.asarray(fold(genome, *limit_arrays(limits, genome), outside=outside)).astype(
        np.float64
    )
    assert ((after >= low) & (after <= high)).all()
    inside = (genome >= np.float64(low)) & (genome <= np.float64(high))
    assert (after[inside] == genome[inside]).all()


@pytest.mark.parametrize(
    "limits, outside, expected",
    [
        ((0.0, 1.0), "reflect", [0.25, 0.25, 0.75, 0.5, 1.0]),
        ((0.0, 1.0), "clip", [0.0, 1.0, 0.0, 0.0, 1.0]),
        ((0.0, np.inf), "reflect", [0.25, 1.75, 7.25, 1000.5, np.inf]),
        ((-np.inf, 1.0), "reflect", [-0.25, 0.25, -7.25, -1000.5, 1.0]),
    ],
)
def test_reflection_and_clipping_give_the_expected_values(limits, outside, expected):
    """The values for -¼, 1¾, -7¼, -1000½ and infinity are known."""
    genome = np.array([[-0.25, 1.75, -7.25, -1000.5, np.inf]], np.float32)
    after = fold(genome, *limit_arrays(limits, genome), outside=outside)
    assert after.tolist() == [expected]


def test_a_thousand_entries_stay_within_the_unit_box():
    """Genomes of 1000 dimensions, sigma 0.2, where the resampling of pyribs does not end."""
    parents = batch_of(np.full((32, 1000), 0.5, np.float32))
    made = Gaussian(0.2, (0.0, 1.0)).propose(KEY, Context(parents), 32).genome
    assert made.min() >= 0 and made.max() <= 1
    assert 0.15 < made.std() < 0.25


@pytest.mark.parametrize(
    "make", [lambda limits: Gaussian(0.1, limits), lambda limits: IsoLine(limits=limits)]
)
@pytest.mark.parametrize(
    "limits", [(1.0, 1.0), ([0.0, 2.0], [1.0, 1.0]), (0.0, np.nan), (0.0, 1.0, 2.0)]
)
def test_limits_out_of_order_are_refused(make, limits):
    """Raises ValueError unless low < high in every entry."""
    with pytest.raises(ValueError, match=r"limits is (a pair )?\(low, high\)"):
        make(limits)


# Gaussian and Line


def test_gaussian_noise_has_mean_zero_and_the_sigma_of_each_entry():
    """20 000 children of one elite have the elite as mean, and sigma as standard deviation."""
    parents = batch_of(np.tile(np.array([1.0, -2.0, 3.0], np.float32), (20_000, 1)))
    made = Gaussian([0.5, 0.1, 0.0]).propose(KEY, Context(parents), 20_000).genome
    np.testing.assert_allclose(made.mean(0), [1, -2, 3], atol=0.02)
    np.testing.assert_allclose(made.std(0), [0.5, 0.1, 0.0], rtol=0.02, atol=1e-9)


def test_without_iso_noise_children_lie_on_the_line_through_their_parents():
    """With iso = 0, child i is x + line z (y - x) of its parents, with one z for all entries."""
    x, y = np.array([[0.0, 0, 0], [1, 1, 1]]), np.array([[1.0, 2, 4], [1, 1, 3]])
    parents = batch_of(np.stack([x, y], 1).reshape(4, 3))
    made = IsoLine(iso=0.0, line=0.3).propose(KEY, Context(parents), 2)
    step = (made.genome - x)[:, 2] / (y - x)[:, 2]
    np.testing.assert_allclose(made.genome, x + step[:, None] * (y - x), atol=1e-12)
    assert 0 < abs(step[0]) < 1.5 and step[0] != step[1]
    assert made.parents.tolist() == [[100, 101], [102, 103]]


def test_line_noise_has_the_scales_of_the_paper():
    """Across the line iso alone, along it iso and line together."""
    parents = batch_of(np.tile(np.array([[0.0, 0.0], [2.0, 0.0]]), (20_000, 1)))
    made = IsoLine(iso=0.1, line=0.5).propose(KEY, Context(parents), 20_000).genome
    np.testing.assert_allclose(made.std(0), [np.hypot(0.1, 1.0), 0.1], rtol=0.02)


@pytest.mark.parametrize(
    "operator", [Gaussian(0.1), IsoLine(), Gaussian(0.1, (-1.0, 1.0)), IsoLine(limits=(-1.0, 1.0))]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_children_depend_on_the_key_alone_and_keep_the_dtype(operator, dtype):
    """The same key gives the same children, another key others.

    The dtype is that of the parents, for any default of jax.
    """
    n = 6
    parents = batch_of(np.linspace(-1, 1, n * operator.arity * 4).reshape(-1, 2, 2).astype(dtype))
    first, again, other = (
        operator.propose(key, Context(parents), n) for key in (KEY, KEY, jax.random.key(8))
    )
    with double():
        doubled = operator.propose(KEY, Context(parents), n)
    assert first.genome.shape == (n, 2, 2) and first.genome.dtype == doubled.genome.dtype == dtype
    assert (first.genome == again.genome).all() and (first.genome == doubled.genome).all()
    assert (first.genome != other.genome).any()
    assert first.origin == [operator.name] * n and first.parents.shape == (n, operator.arity)


@pytest.mark.parametrize("operator", [Gaussian([0.1, 0.2]), IsoLine()])
def test_variation_runs_inside_a_compiled_loop(operator):
    """`vary` is pure and traceable: the same numbers come out of `jax.jit`."""
    parents = np.ones((4, 2), np.float32) * np.arange(4, dtype=np.float32)[:, None]
    np.testing.assert_allclose(
        jax.jit(operator.vary)(KEY, parents), operator.vary(KEY, parents), rtol=1e-6
    )


@pytest.mark.parametrize(
    "genome, unexpected", [(["a", "b"], "list"), (np.arange(4).reshape(2, 2), "int64")]
)
def test_genomes_that_are_not_floats_are_refused_by_name(genome, unexpected):
    """The error names the operator and the type of the genomes."""
    with pytest.raises(TypeError, match=f"'gaussian' changes arrays of floats.*{unexpected}"):
        Gaussian(0.1).propose(KEY, Context(batch_of(genome)), 2)


def test_invalid_settings_are_refused():
    """A negative deviation, an unknown `outside`, and a vector of another length."""
    with pytest.raises(ValueError, match="sigma is a standard deviation"):
        Gaussian(-0.1)
    with pytest.raises(ValueError, match="iso and line"):
        IsoLine(line=-1)
    with pytest.raises(ValueError, match="'reflect' or 'clip'"):
        Gaussian(0.1, (0, 1), outside="wrap")
    with pytest.raises(ValueError, match=r"sigma has shape \(3,\) and a genome \(2,\)"):
        Gaussian([1, 2, 3]).propose(KEY, Context(batch_of(np.zeros((2, 2)))), 2)


# Emitters of pyribs


@pytest.mark.parametrize("ranker", ["imp", "2imp", "rd"])
def test_an_emitter_gives_the_solutions_of_the_pyribs_scheduler(ranker):
    """All solutions are equal to the bit, with the same seed and the same elites at restarts."""
    from ribs.archives import GridArchive
    from ribs.emitters import EvolutionStrategyEmitter
    from ribs.schedulers import Scheduler

    archive = GridArchive(solution_dim=DIM, dims=(20, 20), ranges=BOX)
    theirs = EvolutionStrategyEmitter(
        archive, x0=np.zeros(DIM), sigma0=0.5, ranker=ranker, batch_size=12, seed=5
    )
    scheduler = Scheduler(archive, [theirs])
    ours = strategy(ranker=ranker, seed=5)
    for parents, batch, _, _ in steps(ours, 12, 20, seeds=0):
        archive.sample_elites = lambda n, parents=parents: {"solution": parents.genome[:n]}
        solutions = scheduler.ask()
        np.testing.assert_array_equal(batch.genome, solutions)
        scheduler.tell(10 - (solutions**2).sum(1), solutions[:, :2])
    assert ours.restarts == theirs.restarts
    assert ranker != "rd" or ours.restarts > 0  # a straight walk ends at the rim of the archive


def other_emitters():
    """One of every other kind of emitter."""
    from ribs.emitters import (
        EvolutionStrategyEmitter,
        GaussianEmitter,
        GeneticAlgorithmEmitter,
        IsoLineEmitter,
    )

    start = {"x0": np.zeros(DIM), "batch_size": 12}
    return {
        "sep": lambda a, s: EvolutionStrategyEmitter(
            a, **start, sigma0=0.5, es="sep_cma_es", ranker="2rd", seed=s
        ),
        "gaussian": lambda a, s: GaussianEmitter(a, **start, sigma=0.5, seed=s),
        "iso": lambda a, s: IsoLineEmitter(a, **start, iso_sigma=0.1, seed=s),
        "genes": lambda a, s: GeneticAlgorithmEmitter(
            a,
            **start,
            operator="isoline",
            operator_kwargs={"iso_sigma": 0.1, "line_sigma": 0.5},
            seed=s,
        ),
    }


@pytest.mark.parametrize("kind", ["imp", "2imp", "rd", "sep", "gaussian", "iso", "genes"])
def test_every_kind_of_emitter_covers_the_archive_when_candidates_fail(kind):
    """Forty steps fill far more cells than the seeds, with one candidate in four failed."""
    emitter = (
        strategy(ranker=kind)
        if kind in ("imp", "2imp", "rd")
        else Emitter(other_emitters()[kind], DIM, BOX, kind)
    )

    def spoil(batch):
        failed = np.arange(len(batch)) % 4 == 1
        return batch.replace(
            objective=np.where(failed, np.nan, batch.objective),
            descriptor=np.where(failed[:, None], np.nan, batch.descriptor),
        )

    *_, (_, batch, _, filled) = steps(emitter, 12, 40, spoil=spoil)
    assert np.isfinite(batch.genome).all()
    assert filled > 40


def test_an_emitter_restarts_at_an_elite():
    """After a restart with a tiny sigma, all candidates are near one parent of the last batch."""
    emitter = strategy(sigma0=1e-6, restart_rule=1)
    before, centres = None, set()
    for parents, batch, _, _ in steps(emitter, 12, 6):
        if before is not None:
            far = np.abs(batch.genome[:, None] - before[None]).max(2)
            assert (far.min(1) < 1e-4).all()
            centres.add(tuple(np.round(batch.genome[0], 3)))
        before = parents.genome
    assert emitter.restarts == 6
    assert len(centres) > 1


def test_an_emitter_restarts_after_a_batch_of_failures():
    """A batch of nan is no improvement: the emitter restarts and makes finite candidates."""
    nothing = lambda batch: batch.replace(
        objective=batch.objective * np.nan, descriptor=batch.descriptor * np.nan
    )
    emitter = strategy()
    *_, (_, batch, added, _) = steps(emitter, 12, 3, spoil=nothing)
    assert emitter.restarts == 3
    assert np.isfinite(batch.genome).all() and (np.asarray(added.status) == REJECTED).all()


def test_an_emitter_cannot_restart_without_an_elite():
    """The error says how to correct it."""
    nothing = lambda batch: batch.replace(objective=batch.objective * np.nan)
    with pytest.raises(ValueError, match="give the search a seed that can be evaluated"):
        list(steps(strategy(), 12, 1, spoil=nothing, seeds=0))


@dataclass
class RecordingEmitter:
    """An emitter that records what it receives."""

    archive: object
    batch_size: int = 3

    def ask(self):
        return np.zeros((3, 1))

    def tell(self, solution, objective, measures, add_info):
        self.received = solution, objective, measures, add_info


def test_an_emitter_receives_only_its_own_rows_and_failures_as_the_worst():
    """It receives its three rows of a mixed batch in order.

    A nan becomes a value below all others, with the mean descriptor.
    """
    made = []
    emitter = Emitter(
        lambda archive, seed: made.append(RecordingEmitter(archive)) or made[-1],
        1,
        ((0, 1), (0, 1)),
        "mine",
    )
    assert emitter.size == 3
    emitter.turn(3).propose(KEY, Context(batch_of(np.zeros((6, 1)))), 3)
    batch = batch_of(np.arange(5.0)[:, None]).replace(
        origin=["mine", "other", "mine", "seed", "mine"],
        objective=np.array([-5.0, 9, np.nan, 9, 2]),
        descriptor=np.array([[0.2, 0.4], [9, 9], [np.nan, 0.1], [9, 9], [0.4, 0.8]]),
    )
    added = Added(np.array([2, 2, 0, 2, 1]), np.array([-5.0, 9, np.nan, 9, 0.5]), np.arange(5))
    emitter.learn(batch, added)
    solution, objective, measures, info = made[1].received
    assert solution.tolist() == [[0], [2], [4]]
    assert objective[[0, 2]].tolist() == [-5, 2] and objective[1] < -5
    np.testing.assert_allclose(measures, [[0.2, 0.4], [0.3, 0.6], [0.4, 0.8]])
    assert info["status"].tolist() == [2, 0, 1]
    assert info["value"][[0, 2]].tolist() == [-5, 0.5] and info["value"][1] < -5
    made[1].received = None
    emitter.learn(batch, added)
    assert made[1].received is None  # judged again, and not received again


def test_an_emitter_samples_every_parent_before_one_is_repeated():
    """Two samples have different elites until all have been drawn."""
    made = []
    emitter = Emitter(
        lambda archive, seed: made.append(RecordingEmitter(archive)) or made[-1], 1, ((0, 1),)
    )
    assert emitter.name == "RecordingEmitter" and made[0].archive.empty
    emitter.turn(3).propose(KEY, Context(batch_of(np.array([[5.0], [6], [7]]))), 3)
    drawn = [made[1].archive.sample_elites(n)["solution"].ravel().tolist() for n in (2, 3)]
    assert drawn == [[5, 6], [7, 5, 6]] and not made[1].archive.empty


def test_an_emitter_depends_on_the_seed_of_the_search_alone():
    """The same seed gives the same run, restarts included, and another seed another run."""
    runs = [
        [b.genome for _, b, _, _ in steps(strategy(restart_rule=3), 12, 8, seed)]
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (
        runs[0][0] != runs[2][0]
    ).all()  # from the first batch, to which the elites give nothing


def test_an_emitter_refuses_another_batch_size_and_a_second_turn():
    """Both errors say how to correct it."""
    emitter = strategy()
    with pytest.raises(
        ValueError,
        match=r"'cma-me' makes 12 candidates a step.*asked for 64: build it with batch_size=64",
    ):
        emitter.turn(64)
    emitter.turn(12)
    with pytest.raises(RuntimeError, match="search with ahead=1"):
        emitter.turn(12)


def test_an_emitter_keeps_the_dtype_of_its_parents():
    """float32 elites have float32 children."""
    parents = batch_of(np.zeros((24, DIM), np.float32))
    assert strategy().turn(12).propose(KEY, Context(parents), 12).genome.dtype == np.float32


def test_cma_me_is_a_portfolio_of_emitters():
    """Three strategies of eight make 24 candidates under three names, and cover the archive."""
    operator = cma_me(DIM, BOX, x0=0.1, batch=8, emitters=3)
    assert operator.size == 24
    *_, (_, batch, _, filled) = steps(operator, 24, 10)
    assert batch.origin == ["cma-me 0"] * 8 + ["cma-me 1"] * 8 + ["cma-me 2"] * 8
    assert filled > 60


# Portfolios


@dataclass
class Words(Operator):
    """Repeats the words of its parents, and counts the candidates it receives."""

    name: str = "words"
    arity: int = 1
    received: int = 0

    def propose(self, key, context, n):
        words = context.parents.genome
        return Proposal.of(
            ["".join(words[i * self.arity : (i + 1) * self.arity]) for i in range(n)],
            self.name,
            context.parents,
        )

    def learn(self, batch, added):
        self.received += len(batch)


def test_a_portfolio_fills_fixed_sizes_first_and_divides_the_rest_equally_every_turn():
    """An emitter gets its 12 of 24, the others 6 each; shapes, origins and parents follow."""
    portfolio = Portfolio([Gaussian(0.1), strategy(), IsoLine()])
    for _, batch, _, _ in steps(portfolio, 24, 3):
        assert batch.origin == ["gaussian"] * 6 + ["cma-me"] * 12 + ["line"] * 6
        assert batch.parents.shape == (24, 2)
        assert (batch.parents[:6, 0] != NO_CANDIDATE).all() and (
            batch.parents[:6, 1] == NO_CANDIDATE
        ).all()
        assert (batch.parents[6:18] == NO_CANDIDATE).all() and (
            batch.parents[18:] != NO_CANDIDATE
        ).all()
        assert len({tuple(x) for x in batch.genome}) == 24


@pytest.mark.parametrize(
    "n, weights, expected",
    [
        (10, None, [4, 3, 3]),
        (10, [8, 1, 1], [8, 1, 1]),
        (4, [98, 1, 1], [2, 1, 1]),
        (64, [2, 1, 1], [32, 16, 16]),
    ],
)
def test_weights_divide_a_batch_and_every_operator_has_a_share(n, weights, expected):
    """The shares are known, and the same in every turn."""
    portfolio = Portfolio([Words(name) for name in "abc"], weights)
    assert portfolio.shares(n) == portfolio.shares(n) == expected


def test_one_candidate_at_a_time_is_made_in_turns():
    """Three operators and n = 1 go round in order.

    Weights 2 : 1 : 1 give the first every second turn.
    """
    turns = lambda portfolio: [
        portfolio.turn(1).propose(KEY, Context(batch_of(["x"])), 1).origin[0] for _ in range(8)
    ]
    assert "".join(turns(Portfolio([Words(name) for name in "abc"]))) == "abcabcab"
    assert turns(Portfolio([Words(name) for name in "abc"], [2, 1, 1])).count("a") == 4


def test_each_operator_receives_the_parents_of_its_own_candidates():
    """With arities 1 and 2, candidates have two parents, and the first operator takes one."""
    portfolio = Portfolio([Words("one"), Words("two", arity=2)])
    turn = portfolio.turn(4)
    made = turn.propose(KEY, Context(batch_of(list("abcdefgh"))), 4)
    assert portfolio.arity == turn.arity == 2
    assert made.genome == ["a", "c", "ef", "gh"]
    assert made.parents.tolist() == [
        [100, NO_CANDIDATE],
        [102, NO_CANDIDATE],
        [104, 105],
        [106, 107],
    ]


def test_operators_of_a_portfolio_receive_different_keys():
    """Two Gaussians of one portfolio do not make the same noise."""
    portfolio = Portfolio([Gaussian(1.0, name="a"), Gaussian(1.0, name="b")])
    made = portfolio.turn(4).propose(KEY, Context(batch_of(np.zeros((4, 2)))), 4).genome
    assert (made[:2] != made[2:]).all()


def test_portfolios_nest_and_pass_batches_on():
    """A portfolio within another divides its own share.

    Every operator receives every batch as a whole.
    """
    parts = [Words(name) for name in "abc"]
    outer = Portfolio([Portfolio(parts[:2], name="inner"), parts[2]])
    made = outer.turn(4).propose(KEY, Context(batch_of(list("wxyz"))), 4)
    assert made.origin == ["a", "b", "c", "c"]
    outer.learn(
        on_hill(Proposal(np.zeros((4, 2)), made.parents, made.origin)),
        Added(jnp.full(4, NEW), None, None),
    )
    assert [part.received for part in parts] == [4, 4, 4]


def test_invalid_portfolios_are_refused():
    """Repeated names, a wrong number of weights, no operator, and batches of a wrong size."""
    with pytest.raises(ValueError, match="two operators of a portfolio are named 'a'"):
        Portfolio([Words("a"), Portfolio([Words("a"), Words("b")])])
    with pytest.raises(ValueError, match="weights are 2 positive numbers"):
        Portfolio([Words("a"), Words("b")], [1])
    with pytest.raises(ValueError, match="at least one operator"):
        Portfolio([])
    for operators, n, batch in [
        ([strategy()], 13, "a batch of 12"),
        ([strategy()], 11, "a batch of 12"),
        ([strategy(), Words()], 12, "a batch of more than 12"),
    ]:
        with pytest.raises(ValueError, match=batch):
            Portfolio(operators).turn(n)
    with pytest.raises(TypeError, match="only gives turns"):
        Portfolio([Words()]).propose(KEY, Context(batch_of(["x"])), 1)

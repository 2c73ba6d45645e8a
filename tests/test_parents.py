"""Who is chosen as a parent: each rule's formula, what wraps it, and what a search keeps of it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qdkit
from qdkit.archives import CVT, DeepGrid, Grid, Islands
from qdkit.core.elites import Elites, double
from qdkit.operators import Portfolio, Steered
from qdkit.selection.parents import (
    Annealed,
    ByNovelty,
    Curious,
    PowerLaw,
    Restarts,
    Standing,
    Towards,
    Uniform,
    Weighted,
    choose,
    effective_parents,
    systematic,
)

from .worlds import BOX, Chatter, Jitter, Points, Texts, points, search_of, texts

KEY = jax.random.key(0)
GRID = Grid((3, 4), ((0, 3), (0, 4)))
WEIGHING = [
    Uniform(),
    Weighted(),
    Weighted(0.0),
    PowerLaw(),
    Curious(),
    ByNovelty(),
    Annealed(PowerLaw(5.0)),
]
WRAPPED = [
    Restarts(Uniform(), 0.3),
    Towards(Uniform()),
    Towards(Weighted(), "weak"),
    Restarts(Towards(Annealed(ByNovelty()))),
]
RULES = [*WEIGHING, *WRAPPED]


def standing(objective, children=0.0, entered=0.0, progress=0.0, centre=None):
    """Elites in the first cells of a grid of 3 by 4, at their middles; -inf is an empty cell."""
    full = np.full(12, -np.inf)
    full[: len(objective)] = objective
    place = np.where((full > -np.inf)[:, None], GRID.centres, np.nan)
    spread = lambda x: np.broadcast_to(np.resize(np.asarray(x, float), 12), (12,)).copy()
    centre = GRID.centres if centre is None else centre
    return Standing(Elites(full, place, ()), centre, spread(children), spread(entered), progress)


def shares(rule, now, n=4):
    with double():
        return np.asarray(choose(rule, KEY, 0, now, n, 1).share)


def random_standing(seed):
    random = np.random.default_rng(seed)
    objective = np.where(random.random(12) < 0.6, random.normal(size=12), -np.inf)
    objective[random.integers(12)] = 1.0
    return standing(
        objective, random.integers(0, 9, 12), random.integers(0, 3, 12), random.random()
    )


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("seed", range(4))
def test_only_elites_are_chosen_and_shares_add_up_to_one(rule, seed):
    """For every rule: no empty cell, the same result for the same key, as many as requested."""
    now = random_standing(seed)
    occupied = np.asarray(now.elites.objective) > -np.inf
    with double():
        chosen, again = (choose(rule, jax.random.key(seed), 0, now, 9, 2) for _ in range(2))
    assert chosen.cell.shape == (9, 2) and occupied[np.asarray(chosen.cell)].all()
    assert (
        np.asarray(chosen.share).sum() == pytest.approx(1)
        and not np.asarray(chosen.share)[~occupied].any()
    )
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(chosen, again, strict=True))


@pytest.mark.parametrize("rule", WEIGHING, ids=repr)
def test_the_order_of_cells_does_not_matter(rule):
    """Elites that change places keep their shares.

    `ByNovelty` looks at places alone, which stay with them.
    """
    now = random_standing(3)
    order = np.random.default_rng(1).permutation(12)
    turned = Standing(
        Elites(now.elites.objective[order], now.elites.descriptor[order], ()),
        now.centre[order],
        now.children[order],
        now.entered[order],
        now.progress,
    )
    assert np.allclose(shares(rule, now)[order], shares(rule, turned))


def test_the_weight_of_shinka_is_computed_as_published():
    """sigmoid(10 (f - median) / MAD) / (1 + children), normalised; median 2, MAD 1."""
    now = standing([1.0, 2.0, 3.0, 2.5, 0.0], children=[0, 1, 3, 0, 0])
    score = 1 / (1 + np.exp(-10 * (np.array([1, 2, 3, 2.5, 0]) - 2) / 1.0))
    weight = score / (1 + np.array([0, 1, 3, 0, 0]))
    assert np.allclose(shares(Weighted(), now)[:5], weight / weight.sum())
    fewest = 1 / (1 + np.array([0, 1, 3, 0, 0]))
    assert np.allclose(shares(Weighted(0.0), now)[:5], fewest / fewest.sum())


def test_equal_objectives_get_equal_weights_without_spread():
    """If more than half of the elites are equal the median deviation is 0, and nothing is nan."""
    now = standing([1.0, 1.0, 1.0, 5.0])
    share = shares(Weighted(), now)[:4]
    assert np.allclose(share, [0.2, 0.2, 0.2, 0.4])


def test_the_weights_by_rank_and_curiosity_follow_their_formulas():
    """1 / rank, and (1 + entered) / (2 + children)."""
    assert np.allclose(
        shares(PowerLaw(), standing([3.0, 9.0, 5.0]))[:3], np.array([1 / 3, 1, 1 / 2]) / (11 / 6)
    )
    now = standing([1.0, 1.0, 1.0], children=[0, 8, 2], entered=[0, 0, 2])
    weight = np.array([1 / 2, 1 / 10, 3 / 4])
    assert np.allclose(shares(Curious(), now)[:3], weight / weight.sum())


def test_novelty_is_the_mean_distance_to_the_nearest_elites():
    """Compared with a loop over all pairs, in the spread of each axis."""
    place = np.random.default_rng(0).random((200, 2)) * [
        1,
        100,
    ]  # fewer than are looked among: exact
    scaled = place / np.ptp(place, 0)
    far = np.linalg.norm(scaled[:, None] - scaled[None, :], axis=-1)
    np.fill_diagonal(far, np.inf)
    mean = np.sort(far, 1)[:, :5].mean(1)
    now = Standing(Elites(np.zeros(200), place, ()), place, np.zeros(200), np.zeros(200))
    assert np.allclose(shares(ByNovelty(), now), mean / mean.sum())


@pytest.mark.parametrize(
    ("logs", "progress", "best"),
    [
        ([3, 0, 0, 0], p, b)
        for p, b in zip((0, 0.25, 0.49, 0.6), (0.471, 0.553, 0.696, 0.870), strict=True)
    ],
)
def test_annealing_tempers_as_published(logs, progress, best):
    """The greatest share of four particles, from the reference table of particle filtering."""

    class Given(PowerLaw):
        def log_weights(self, standing):
            return jnp.zeros(12).at[:4].set(jnp.array(logs, float))

    share = shares(Annealed(Given()), standing([1.0] * 4, progress=progress))
    assert share[:4].max() == pytest.approx(best, abs=6e-4)


def test_annealing_never_lowers_the_effective_number():
    """If it is at least half of the elites, nothing changes."""
    for seed in range(20):
        now = random_standing(seed)
        assert (
            effective_parents(shares(Annealed(PowerLaw(3.0)), now))
            >= effective_parents(shares(PowerLaw(3.0), now)) - 1e-9
        )
        assert np.allclose(shares(Annealed(Uniform()), now), shares(Uniform(), now))
    with pytest.raises(TypeError, match=r"put it outside, Restarts\(Annealed"):
        Annealed(Restarts(Uniform()))


def test_systematic_resampling_draws_each_by_its_share_to_within_one():
    """Counts are floor(n p) or ceil(n p), and correct on average."""
    random = np.random.default_rng(0)
    total = np.zeros(7)
    share = random.dirichlet(np.ones(7) * 0.4)
    share[3] = 0.0
    share /= share.sum()
    for seed in range(200):
        counts = np.bincount(
            np.asarray(systematic(jax.random.key(seed), jnp.array(share), 13)), minlength=7
        )
        assert (
            counts.sum() == 13
            and (np.abs(counts - 13 * share) < 1 + 1e-5).all()
            and counts[3] == 0
        )
        total += counts
    assert np.allclose(total / 200 / 13, share, atol=0.02)


def test_targets_are_empty_or_weak_cells_nearby():
    """The middle of the nearest empty cell, or of the weakest neighbour.

    Nan where there is none.
    """
    objective = np.full(12, 5.0)
    objective[[0, 7]] = -np.inf, 1.0
    now = standing(objective)
    with double():
        empty = choose(Towards(Uniform(), "empty", 1.0), KEY, 0, now, 8, 1)
        weak = choose(Towards(Uniform(), "weak", 1.0), KEY, 0, now, 8, 1)
        none = choose(Towards(Uniform(), "empty", 1.0), KEY, 0, standing([1.0] * 12), 8, 1)
        nowhere = choose(
            Towards(Uniform()), KEY, 0, standing(objective, centre=np.full((12, 2), np.nan)), 8, 1
        )
    assert np.array_equal(empty.target, np.repeat(GRID.centres[:1], 8, 0))
    aims = {tuple(row) for row in np.asarray(weak.target).tolist()}
    assert (
        tuple(GRID.centres[7]) in aims and len(aims) <= 2
    )  # from the weakest itself another neighbour is aimed for
    assert np.isnan(none.target).all() and np.isnan(nowhere.target).all()


@pytest.mark.parametrize(
    "archive", [GRID, Grid((2, 3), (("a", "b"), (0, 1, 10, 100))), CVT.spread(9, BOX, samples=50)]
)
def test_the_centroid_of_a_cell_is_in_the_cell(archive):
    """For grids with edges of numbers and labels, and for CVT."""
    assert np.array_equal(np.asarray(archive.cell(archive.centres)), np.arange(archive.cells))


def test_restarts_replace_only_the_first_parent():
    """Seeds stay known after other elites have taken their cells."""
    search = points(parents=Restarts(PowerLaw(), 0.5), batch=16)
    batches = list(search.steps(12))
    seeds = set(batches[0].id.tolist())
    fresh = np.mean([int(id) in seeds for batch in batches[-5:] for id in batch.parents[:, 0]])
    assert 0.35 < fresh < 0.75
    search = texts(parents=Restarts(Uniform(), 1.0))
    assert all(batch.parents[0, 0] < 3 for batch in list(search.steps(20))[3:])
    with pytest.raises(ValueError, match=r"between 0 and 1, not 1\.5"):
        Restarts(Uniform(), 1.5)


@pytest.mark.parametrize("make", [points, texts])
@pytest.mark.parametrize("rule", [Weighted(), Restarts(Towards(Annealed(Curious())))], ids=repr)
def test_a_search_with_a_rule_is_the_same_when_resumed(make, rule, tmp_path):
    """A resumed run restores the counts of children and the choices."""
    whole = make(parents=rule, run=tmp_path / "whole")
    whole.run(24, progress=False)
    with make(parents=rule, run=tmp_path / "broken") as broken:
        for i, _ in enumerate(broken.steps(24)):
            if i == 9:
                break
    with make(parents=rule, run=tmp_path / "broken", resume=True) as broken:
        broken.run(24 - len(broken.commits), progress=False)
        assert (
            broken.ledger.dump().partition('["candidate"')[2]
            == whole.ledger.dump().partition('["candidate"')[2]
        )
    whole.close()


def test_children_and_entered_children_are_counted_for_each_elite():
    """Compared with a recount of all candidates, for each elite since it entered."""
    search = qdkit.Search(
        Points(),
        Grid((5, 5), BOX),
        Jitter(),
        batch=4,
        seed=5,
        steering=qdkit.Steering(parents=Curious()),
    )
    begun, entered = {}, {}
    for batch in search.steps(40):
        status = np.isin(batch.id, search.elites.payload["id"])
        for row, candidate in enumerate(batch):
            for parent in candidate.parents[:1]:
                begun[parent] = begun.get(parent, 0) + 1
                entered[parent] = entered.get(parent, 0) + bool(status[row])
    ids = search.elites.payload["id"]
    occupied = np.flatnonzero(ids >= 0)
    assert [search._loop.selector._children[c] for c in occupied] == [
        begun.get(int(ids[c]), 0) for c in occupied
    ]
    assert sum(search._loop.selector._entered[occupied]) >= sum(
        entered.get(int(ids[c]), 0) for c in occupied
    )


def test_the_effective_number_of_parents_is_recorded_for_every_step():
    """With uniform weights it is the number of elites; it is nan for seeds; a plot shows it."""
    search = points().run(6, progress=False)
    numbers = search.history["parents"]
    assert np.isnan(numbers[:2]).all() and numbers[-1] == pytest.approx(
        search.history["coverage"][-2] * 25
    )
    assert search.summary()["effective_parents"] == numbers[-1]
    one = points(parents=PowerLaw(400.0)).run(6, progress=False)
    assert one.history["parents"][-1] == pytest.approx(1)


def test_each_arm_of_a_portfolio_may_have_a_rule_of_its_own():
    """The names of candidates differ by operator and rule, and parents follow the rule."""
    arms = [Steered(Jitter(), rule) for rule in (PowerLaw(400.0), Uniform())]
    search = qdkit.Search(Points(), Grid((5, 5), BOX), Portfolio(arms), batch=8, seed=1)
    for batch in search.steps(12):
        greedy = [c for c in batch if c.origin == "jitter powerlaw"]
        if not greedy:
            continue
        assert len(greedy) == 4 and len({c.parents for c in greedy}) == 1
    assert {c.origin for c in batch} == {"jitter powerlaw", "jitter uniform"}


def test_a_long_search_compiles_no_more_than_a_short_one(caplog):
    """Also with several rules whose shares of a batch change."""
    arms = [Steered(Jitter(), rule) for rule in (PowerLaw(), Weighted())] + [Jitter()]
    search = qdkit.Search(
        Points(),
        Grid((5, 5), BOX),
        Portfolio(arms),
        batch=10,
        steering=qdkit.Steering(parents=Towards(Restarts(Uniform()))),
    )
    search.run(5, progress=False)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        search.run(30, progress=False)
        assert not [record for record in caplog.records if "Compiling" in record.message]


def test_a_target_reaches_its_operator():
    """One for each new candidate, also within a portfolio; nan where there is none."""
    received = []

    class Aiming(Chatter):
        name = "aiming"

        def propose(self, key, context, n):
            received.append((context.target, len(context.parents), n))
            return super().propose(key, context, n)

    grid = Grid((8, 5), Texts.bounds)
    search = qdkit.Search(
        Texts(),
        grid,
        Portfolio([Chatter(), Aiming()]),
        batch=6,
        seed=3,
        steering=qdkit.Steering(parents=Towards(Uniform(), "empty", 0.5)),
    )
    search.run(20, progress=False)
    targets = np.concatenate([target for target, _, _ in received if target is not None])
    assert all(target is None or len(target) == n == parents for target, parents, n in received)
    known = targets[~np.isnan(targets).any(1)]
    assert 0 < len(known) < len(targets)
    assert np.array_equal(grid.centres[np.asarray(grid.cell(known))], known)


def test_an_arm_that_anneals_can_be_resumed(tmp_path):
    """The progress is recorded even if only an operator's own rule reads it."""
    make = lambda **more: search_of(
        Points(),
        Grid((5, 5), BOX),
        Steered(Jitter(), Annealed(PowerLaw(3.0))),
        batch=4,
        run=tmp_path / "run",
        **more,
    )
    with make() as search:
        search.run(12, progress=False)
    with make(resume=True) as again:
        assert [c.untimed for c in again.commits] == [c.untimed for c in search.commits]


def test_a_portfolio_cannot_be_steered_as_one_operator():
    """It would not recognise its own candidates."""
    with pytest.raises(ValueError, match="wrap each operator"):
        Steered(Portfolio([Jitter()]), Uniform())


@pytest.mark.parametrize(
    "archive",
    [Islands(Grid((8, 8), BOX), 3), DeepGrid(Grid((8, 8), BOX), 4)],
    ids=["islands", "deep"],
)
@pytest.mark.parametrize("cells", ["empty", "weak"])
def test_a_target_is_another_cell_on_the_same_island_at_any_depth(archive, cells):
    """Neither the same cell of another island nor a free slot of the parent's own cell."""
    aims = []

    class Spy(Jitter):
        def propose(self, key, context, n):
            if context.target is not None:
                aimed, parents = context.target, context.parents.descriptor
                there = np.isfinite(aimed).all(1)
                cell = lambda place: np.asarray(archive.archive.cell(place[there]))
                aims.extend((cell(aimed) != cell(parents)).tolist())
            return super().propose(key, context, n)

    qdkit.Search(
        Points(),
        archive,
        Spy(),
        batch=6,
        steering=qdkit.Steering(parents=Towards(Uniform(), cells, 1.0)),
    ).run(8, progress=False)
    assert aims and all(aims)


def test_entered_children_are_a_subset_of_the_children():
    """With two parents only the first is counted, when a candidate begins and when it enters."""

    class Two(Jitter):
        arity = 2

        def propose(self, key, context, n):
            noise = np.random.default_rng(np.asarray(jax.random.key_data(key))).normal(
                0, 0.1, (n, 2)
            )
            genome = context.parents.genome.reshape(n, 2, -1).mean(1) + noise
            return qdkit.Proposal.of(np.clip(genome, 0, 1), self.name, context.parents)

    search = qdkit.Search(
        Points(), Grid((20, 20), BOX), Two(), batch=8, steering=qdkit.Steering(parents=Curious())
    ).run(6, progress=False)
    assert (
        search._loop.selector._entered.any()
        and (search._loop.selector._entered <= search._loop.selector._children).all()
    )


def test_objectives_near_the_greatest_float_have_finite_weights():
    """Their sums and differences overflow, and no weight is nan."""
    share = shares(Weighted(), standing(np.array([1.0e308, 1.7e308, -1.7e308, *[-np.inf] * 9])))
    assert np.isfinite(share).all() and share.sum() == pytest.approx(1) and share[1] == share.max()

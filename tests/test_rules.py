"""Who stays in a cell: rules other than the best, beside pyribs and beside counts by hand."""

import re

import jax
import numpy as np
import pytest

import qdkit
from qdkit import metrics
from qdkit.archives import CVT, DeepGrid, Grid, Thresholds
from qdkit.core.elites import IMPROVED, NEW, NOWHERE, REJECTED, double

from .worlds import Jitter, Points, Texts, search_of

BOX = ((-1.0, 1.0), (0.0, 3.0))
GRID = Grid((3, 2), BOX)
CENTROIDS = np.random.default_rng(7).uniform(-1, 1, (12, 2))
SEEDS, STEPS, ROWS = 6, 4, 16


def batches(seed, distinct=False):
    """Objectives that tie unless `distinct`, some nan.

    Descriptors of which some repeat and some lie outside.
    """
    random = np.random.default_rng(seed)
    for step in range(STEPS):
        objective = (
            random.normal(size=ROWS) if distinct else random.integers(-2, 3, ROWS).astype(float)
        )
        low, high = np.array(BOX).T
        descriptor = random.uniform(low - 0.2, high + 0.2, (ROWS, 2))
        descriptor[1:3] = descriptor[0]
        yield objective, descriptor, np.arange(ROWS, dtype=np.int32) + ROWS * step


def same(a, b):
    return jax.tree.all(jax.tree.map(lambda x, y: np.array_equal(x, y, equal_nan=True), a, b))


def filled(archive, seed, **given):
    """The elites of an archive after all batches of a seed."""
    elites = archive.init(np.int32(0))
    for batch in batches(seed, **given):
        elites, _ = archive.add(elites, *batch)
    return elites


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.3, 1.0])
@pytest.mark.parametrize("geometry", ["grid", "CVT"])
def test_thresholds_agree_with_pyribs(geometry, rate):
    """The same batches give the statuses, values, thresholds and elites of CMA-MAE's archives."""
    from ribs.archives import CVTArchive, GridArchive

    settings = {"solution_dim": 1, "ranges": BOX, "learning_rate": rate, "threshold_min": -1.5}
    inner = GRID if geometry == "grid" else CVT(CENTROIDS, BOX)
    empty = lambda: (
        GridArchive(dims=(3, 2), **settings)
        if geometry == "grid"
        else CVTArchive(centroids=CENTROIDS, **settings)
    )
    ours = Thresholds(inner, rate, -1.5)
    with double():
        for seed in range(SEEDS):
            elites, other = ours.init(np.int32(0)), empty()
            for objective, descriptor, id in batches(seed, distinct=seed % 2 == 0):
                elites, added = ours.add(elites, objective, descriptor, id)
                info = other.add(id[:, None], objective, descriptor)
                np.testing.assert_array_equal(added.status, info["status"])
                np.testing.assert_allclose(added.value, info["value"], rtol=1e-12, atol=1e-12)
            data = other.data()
            order = np.argsort(data["index"])
            cells = np.flatnonzero(np.asarray(elites.occupied))
            np.testing.assert_array_equal(cells, data["index"][order])
            np.testing.assert_array_equal(elites.payload[cells], data["solution"][order, 0])
            np.testing.assert_array_equal(elites.objective[cells], data["objective"][order])
            np.testing.assert_allclose(
                elites.state[cells], data["threshold"][order], rtol=1e-12, atol=1e-12
            )


def test_a_threshold_rises_gradually():
    """A candidate above it enters, even if it is worse than the elite.

    It never falls, and what is not finite does not move it.
    """
    soft, here = Thresholds(Grid((1,), ((0, 1),)), rate=0.5), [[0.5]]
    elites, added = soft.add(soft.init(0), [8.0], here, np.array([1]))
    assert (
        added.status.tolist() == [NEW]
        and added.value.tolist() == [8.0]
        and elites.state.tolist() == [4.0]
    )
    elites, added = soft.add(elites, [6.0], here, np.array([2]))
    assert (
        added.status.tolist() == [IMPROVED]
        and added.value.tolist() == [2.0]
        and elites.state.tolist() == [5.0]
    )
    assert elites.objective.tolist() == [6.0] and elites.payload.tolist() == [2]
    after, added = soft.add(elites, [5.0], here, np.array([3]))
    assert added.status.tolist() == [REJECTED] and same(after, elites)
    after, added = soft.add(elites, [np.nan], here, np.array([4]))
    assert added.cell.tolist() == [NOWHERE] and np.isnan(added.value).all() and same(after, elites)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_a_deep_cell_keeps_its_best_candidates(depth):
    """Each cell keeps the best, the first of equals first; values count against its last."""
    deep = DeepGrid(GRID, depth)
    with double():
        for seed in range(SEEDS):
            elites, everyone = deep.init(np.int32(0)), [[] for _ in range(GRID.cells)]
            for objective, descriptor, id in batches(seed):
                objective[3] = np.nan
                before = [sorted(cell, key=lambda row: -row[0])[:depth] for cell in everyone]
                elites, added = deep.add(elites, objective, descriptor, id)
                rows = zip(
                    np.asarray(GRID.cell(descriptor)).tolist(),
                    objective.tolist(),
                    id.tolist(),
                    strict=True,
                )
                for i, (cell, value, number) in enumerate(rows):
                    last = before[cell][-1][0] if len(before[cell]) == depth else -np.inf
                    better = (IMPROVED if before[cell] else NEW) if value > last else REJECTED
                    assert added.status[i] == better
                    gain = value - (before[cell][-1][0] if before[cell] else 0.0)
                    assert float(added.value[i]) == gain or np.isnan(gain)
                    if np.isfinite(value):
                        everyone[cell].append((value, number))
            for cell, came in enumerate(everyone):
                best = sorted(came, key=lambda row: -row[0])[:depth]
                places = slice(cell * depth, (cell + 1) * depth)
                ids = [number for _, number in best] + [-1] * (depth - len(best))
                assert elites.payload[places].tolist() == ids
                assert elites.objective[places].tolist()[: len(best)] == [
                    value for value, _ in best
                ]


def test_a_deep_archive_of_depth_one_equals_the_plain_archive():
    """Elites, statuses, values and cells."""
    for seed in range(SEEDS):
        plain, deep = GRID.init(np.int32(0)), DeepGrid(GRID, 1).init(np.int32(0))
        for batch in batches(seed):
            plain, plain_added = GRID.add(plain, *batch)
            deep, deep_added = DeepGrid(GRID, 1).add(deep, *batch)
            assert same(plain_added, deep_added) and same(plain, deep)


@pytest.mark.parametrize(
    "archive", [Thresholds(GRID, 0.1, -1.5), DeepGrid(GRID, 3)], ids=["soft", "deep"]
)
def test_rejected_candidates_leave_no_trace(archive):
    """Without the rejected rows, or in another order of rows, the elites are the same."""
    for seed in range(SEEDS):
        with double():
            elites = archive.init(np.int32(0))
            for objective, descriptor, id in batches(seed, distinct=True):
                after, added = archive.add(elites, objective, descriptor, id)
                entered = np.where(np.asarray(added.status) > 0, objective, np.nan)
                assert same(archive.add(elites, entered, descriptor, id)[0], after)
                order = np.random.default_rng(seed).permutation(ROWS)
                other, _ = archive.add(elites, objective[order], descriptor[order], id[order])
                assert jax.tree.all(
                    jax.tree.map(
                        lambda x, y: np.allclose(x, y, 1e-12, equal_nan=True), other, after
                    )
                )
                elites = after


def test_a_deep_cell_counts_once_in_metrics():
    """Coverage, QD score, best and mean are those of the best of each cell."""
    for seed in range(SEEDS):
        plain, deep = filled(GRID, seed), filled(DeepGrid(GRID, 3), seed)
        for number in (
            metrics.occupied,
            metrics.coverage,
            metrics.qd_score,
            metrics.best_objective,
            metrics.mean_objective,
        ):
            assert number(deep) == number(plain)
        assert deep.occupied.sum() > plain.occupied.sum()


def test_update_equals_add_and_reuses_memory():
    """The same elites and answers.

    Those that were given are gone, while `add` leaves them as they are.
    """
    for archive in (GRID, CVT(CENTROIDS), Thresholds(GRID), DeepGrid(GRID, 2)):
        elites, batch = filled(archive, 0), next(batches(1))
        copy = jax.tree.map(np.array, elites)
        added = archive.add(elites, *batch)
        assert same(elites, copy)
        assert same(archive.update(elites, *batch), added)
        with pytest.raises(RuntimeError, match="deleted"):
            np.asarray(elites.objective)


RULES = {"soft": lambda inner: Thresholds(inner, 0.2), "deep": lambda inner: DeepGrid(inner, 3)}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("world", ["points", "texts"])
def test_a_run_on_disk_has_the_elites_of_its_search(rule, world, tmp_path):
    """For every rule, when the run is opened, watched while it runs, and resumed."""
    if world == "points":
        parts = Points(), RULES[rule](Grid((6, 5), ((0, 1), (0, 1)))), Jitter()
    else:
        from .worlds import Chatter

        parts = Texts(), RULES[rule](Grid((8, 4), Texts.bounds)), Chatter()
    with search_of(*parts, batch=5, seed=3, run=tmp_path / "run") as search:
        for step, _ in enumerate(search.steps(20)):
            if step in (0, 9, 19):
                view = qdkit.load(tmp_path / "run")
                expected, loaded = search.elites, view.elites
                assert same(
                    (
                        expected.objective,
                        expected.descriptor,
                        expected.payload["id"],
                        expected.state,
                    ),
                    (loaded.objective, loaded.descriptor, loaded.payload["id"], loaded.state),
                )
                assert (
                    loaded.depth == expected.depth
                    and view.summary()["coverage"] == search.history["coverage"][-1]
                )
                assert (
                    len(view.elites_frame()) == loaded.occupied.sum() >= view.summary()["occupied"]
                )
                view.close()
        last = search.elites
    with search_of(*parts, batch=5, seed=3, run=tmp_path / "run", resume=True) as again:
        assert same(again.elites, last)


BAD = {
    "rate is 1.5: a number from 0 to 1": lambda: Thresholds(GRID, 1.5),
    "rate is nan": lambda: Thresholds(GRID, np.nan),
    "minimum is -inf: a finite number is needed": lambda: Thresholds(GRID, 0.1, -np.inf),
    "depth is 0: a whole number from 1": lambda: DeepGrid(GRID, 0),
    "depth is 2.5": lambda: DeepGrid(GRID, 2.5),
    "Thresholds was given a DeepGrid, which has an insertion rule already": lambda: Thresholds(
        DeepGrid(GRID, 2)
    ),
    "give DeepGrid the cells alone, such as a Grid or a CVT": lambda: DeepGrid(
        Thresholds(GRID), 2
    ),
}


@pytest.mark.parametrize("words", BAD)
def test_invalid_settings_of_archives_say_why(words):
    """An archive has one rule; the other settings have their own messages."""
    with pytest.raises(ValueError, match=re.escape(words)):
        BAD[words]()


def test_an_archive_with_a_rule_is_drawn_like_its_cells():
    """A soft archive is drawn as its cells are.

    Names, labels and bounds are those of the cells.
    """
    soft = Thresholds(GRID)
    assert (
        soft.shape == GRID.shape
        and (soft.edges(0) == GRID.edges(0)).all()
        and soft.names == GRID.names
    )
    assert not hasattr(soft, "centroids") and hasattr(Thresholds(CVT(CENTROIDS)), "centroids")
    assert not hasattr(DeepGrid(GRID, 2), "shape") and DeepGrid(GRID, 2).names == GRID.names

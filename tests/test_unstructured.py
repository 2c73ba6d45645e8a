"""Archives without cells, compared with pyribs and with direct computations."""

import re

import jax
import numpy as np
import pytest

import qdkit
from qdkit.archives import DeepGrid, DominatedNovelty, Novelty
from qdkit.archives.neighbours import k_nearest, neighbours
from qdkit.core.elites import IMPROVED, NEW, NOWHERE, REJECTED, double

from .worlds import Jitter, Points, search_of

SEEDS, ROWS = 4, 40


def batches(seed, steps, rows=ROWS):
    """Returns batches of objectives and descriptors, no two of which are equal."""
    random = np.random.default_rng(seed)
    for step in range(steps):
        yield (
            random.normal(size=rows),
            random.random((rows, 2)),
            np.arange(rows, dtype=np.int32) + rows * step,
        )


def ids(elites):
    return np.asarray(elites.payload)[np.asarray(elites.occupied)].tolist()


@pytest.mark.parametrize(("points", "rows"), [(3, 9), (64, 9), (65, 9), (700, 1500)])
def test_the_nearest_points_are_those_of_a_sort(points, rows):
    """The neighbours and their distances are in order.

    There are fewer, as many and more points and places than are computed together.
    """
    random = np.random.default_rng(points)
    known, places = random.random((points, 3)), random.random((rows, 3))
    known[points // 2] = known[0]
    far = np.sqrt(((places[:, None] - known[None]) ** 2).sum(-1))
    k = min(points, 10)
    with double():
        index, away = k_nearest(places, np.concatenate([known, known]), points, k)
        assert np.isinf(k_nearest(places, known, 2, 3)[1][:, 2]).all()
    np.testing.assert_array_equal(index, np.argsort(far, kind="stable")[:, :k])
    np.testing.assert_allclose(away, np.sort(far)[:, :k], rtol=1e-12)


CLOUDS = {
    "spread": lambda random, n, d: random.random((n, d)),
    "a heap and some far away": lambda random, n, d: np.where(
        random.random((n, 1)) < 0.9, random.normal(0, 1e-3, (n, d)), random.normal(0, 9, (n, d))
    ),
    "a line": lambda random, n, d: random.random((n, 1)) * np.linspace(1, -1, d) + 5,
    "corners of a lattice": lambda random, n, d: random.integers(0, 9, (n, d)).astype(float),
    "one place": lambda random, n, d: np.full((n, d), 0.5),
    "far from nought": lambda random, n, d: 1e7 + random.random((n, d)),
}


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("axes", [1, 2, 3, 4])
def test_neighbours_by_boxes_equal_those_of_all_points(cloud, axes):
    """For any positions and numbers of points; in float32 equal to the last bit."""
    random = np.random.default_rng(axes)
    points = CLOUDS[cloud](random, 4096, axes)
    beside = points[:80] + random.normal(0, 1e-4, (80, axes))
    places = np.concatenate(
        [points[:80], beside, random.normal(0, 3, (80, axes)), CLOUDS[cloud](random, 80, axes)]
    )
    some = jax.jit(neighbours, static_argnames="k")
    with double():
        for count in (0, 1, 40, 500, 4096):
            square = sum(
                (places[:, None, axis] - points[None, :count, axis]) ** 2 for axis in range(axes)
            )
            closest, away = some(places, points, count, k=5)
            least = np.concatenate(
                [np.sort(square)[:, :5], np.full((len(places), max(0, 5 - count)), np.inf)], 1
            )
            np.testing.assert_allclose(away.T, np.sqrt(least), rtol=1e-14)
            if count:
                np.testing.assert_array_equal(closest, square.argmin(1))
    single = [x.astype(np.float32) for x in (places, points)]
    index, away = jax.jit(k_nearest, static_argnames="k")(*single, 4096, k=5)
    closest, other = some(*single, 4096, k=5)
    np.testing.assert_array_equal(closest, index[:, 0])
    np.testing.assert_array_equal(other.T, away)


def test_a_batch_equals_its_rows_added_one_by_one():
    """Rows of a batch are novel only compared with the rows before them, and the first stays."""
    archive = Novelty(2, 300, 5, threshold=0.07)
    with double():
        for seed in range(SEEDS):
            elites, kept, rows = archive.init(np.int32(0)), [], []
            for batch in batches(seed, 6):
                elites, added = archive.add(elites, *batch)
                for place, id, status in zip(
                    batch[1], batch[2].tolist(), added.status.tolist(), strict=True
                ):
                    far = np.sort([np.linalg.norm(place - other) for other in kept])[:5]
                    novel = not kept or far.mean() >= 0.07
                    assert status == (NEW if novel else REJECTED)
                    if novel:
                        kept.append(place)
                        rows.append(id)
            assert ids(elites) == rows


def test_of_five_hundred_equal_rows_one_enters():
    """As the first batch and as a later one."""
    archive = Novelty(1, 64, 3, threshold=0.1)
    rows = np.zeros(500), np.full((500, 1), 0.5), np.arange(500, dtype=np.int32)
    elites, added = archive.add(archive.init(np.int32(0)), *rows)
    assert ids(elites) == [0] and added.status.tolist() == [NEW] + [REJECTED] * 499
    after, added = archive.add(elites, *rows)
    assert ids(after) == [0] and not added.status.any() and (added.value == 0).all()


@pytest.mark.parametrize("competition", [False, True])
def test_novelty_agrees_with_pyribs(competition):
    """With one row at a time, statuses, values and elites are those of its ProximityArchive."""
    from ribs.archives import ProximityArchive

    ours = Novelty(2, 200, 5, threshold=0.07, competition=competition)
    given = {"k_neighbors": 5, "novelty_threshold": 0.07, "local_competition": competition}
    with double():
        for seed in range(SEEDS):
            elites, other = (
                ours.init(np.int32(0)),
                ProximityArchive(solution_dim=1, measure_dim=2, **given),
            )
            for objective, descriptor, id in batches(seed, 120, rows=1):
                elites, added = ours.add(elites, objective, descriptor, id)
                info = other.add(id[:, None], objective, descriptor)
                np.testing.assert_array_equal(added.status, info["status"])
                np.testing.assert_allclose(
                    added.value, info["value" if competition else "novelty"], rtol=1e-9
                )
            data = other.data()
            np.testing.assert_array_equal(ids(elites), data["solution"][:, 0])
            np.testing.assert_array_equal(elites.objective[: len(other)], data["objective"])
            np.testing.assert_array_equal(elites.descriptor[: len(other)], data["measures"])


def test_a_candidate_that_is_not_novel_competes_with_the_nearest_elite():
    """Also with a row of its own batch; the best gets the slot, the first of equals."""
    archive = Novelty(1, 8, 1, threshold=0.5, competition=True)
    objective, place = [1.0, 3.0, 3.0, 0.0, 2.0], [[0.0], [0.1], [0.2], [9.0], [0.3]]
    elites, added = archive.add(
        archive.init(np.int32(0)), objective, place, np.arange(5, dtype=np.int32)
    )
    assert added.status.tolist() == [NEW, IMPROVED, IMPROVED, NEW, IMPROVED]
    assert added.value.tolist() == [1.0, 2.0, 2.0, 0.0, 1.0]
    assert ids(elites) == [1, 3] and elites.descriptor[:2, 0].tolist() == [np.float32(0.1), 9.0]


def test_a_full_archive_rejects_novel_candidates():
    """The first candidates fill it; later novel candidates are rejected, and the elites stay."""
    archive = Novelty(1, 3, 1, threshold=0.5)
    rows = np.zeros(5), np.arange(5.0)[:, None], np.arange(5, dtype=np.int32)
    elites, added = archive.add(archive.init(np.int32(0)), *rows)
    assert ids(elites) == [0, 1, 2] and added.status.tolist() == [NEW] * 3 + [REJECTED] * 2
    after, _ = archive.add(elites, np.ones(1), [[99.0]], np.array([7], np.int32))
    assert ids(after) == [0, 1, 2]


def test_dominated_novelty_agrees_with_pyribs():
    """On batches without equal objectives: statuses, scores and elites."""
    from ribs import archives as theirs

    if not hasattr(theirs, "DNSArchive"):
        pytest.skip("this pyribs has no such archive")
    ours = DominatedNovelty(2, 30)
    with double():
        for seed in range(SEEDS):
            elites, other = (
                ours.init(np.int32(0)),
                theirs.DNSArchive(solution_dim=1, measure_dim=2, capacity=30, k_neighbors=3),
            )
            for objective, descriptor, id in batches(seed, 5):
                elites, added = ours.add(elites, objective, descriptor, id)
                info = other.add(id[:, None], objective, descriptor)
                np.testing.assert_array_equal(added.status, info["status"])
                np.testing.assert_allclose(added.value, info["dns"], rtol=1e-9)
                assert sorted(ids(elites)) == sorted(other.data("solution")[:, 0].tolist())


def test_of_equal_candidates_one_stays():
    """The first stays, while there are others that differ; a second batch changes nothing."""
    archive = DominatedNovelty(1, 3, 1)
    rows = np.ones(6), [[0.0], [0.0], [0.0], [5.0], [5.0], [9.0]], np.arange(6, dtype=np.int32)
    elites, added = archive.add(archive.init(np.int32(0)), *rows)
    assert sorted(ids(elites)) == [0, 3, 5] and added.value[0] == np.inf
    after, added = archive.add(elites, *rows)
    assert ids(after) == ids(elites) and not added.status.any()


@pytest.mark.parametrize(
    "archive",
    [Novelty(2, 20, 3, threshold=0.05), DominatedNovelty(2, 8)],
    ids=["novelty", "dominated"],
)
def test_a_row_that_is_not_finite_never_enters(archive):
    """A bad objective or descriptor affects only its own row."""
    objective, descriptor = (
        np.array([np.nan, 1.0, np.inf, 2.0]),
        np.array([[0.1, 0.1], [np.nan, 0], [0, 0], [0.9, 0.9]]),
    )
    elites, added = archive.add(
        archive.init(np.int32(0)), objective, descriptor, np.arange(4, dtype=np.int32)
    )
    assert ids(elites) == [3] and added.status.tolist() == [REJECTED] * 3 + [NEW]
    assert added.cell.tolist() == [NOWHERE] * 3 + [0] and np.isnan(added.value[:3]).all()


ARCHIVES = {
    "novelty": Novelty(2, 60, 3, threshold=0.05),
    "competition": Novelty(2, 30, 3, threshold=0.1, competition=True),
    "dominated": DominatedNovelty(2, 12),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_run_on_disk_has_the_elites_of_its_search(name, tmp_path):
    """When it is opened again, and when it is resumed."""
    parts = Points(), ARCHIVES[name], Jitter()
    with search_of(*parts, batch=5, run=tmp_path / "run") as search:
        expected = search.run(15, progress=False).elites
        assert 0 < search.history["coverage"][-1] <= 1 and search.history["refused"][-1] == 0
    loaded = qdkit.load(tmp_path / "run").elites
    for ours, theirs in (
        (expected.objective, loaded.objective),
        (expected.payload["id"], loaded.payload["id"]),
    ):
        np.testing.assert_array_equal(ours, theirs)
    with search_of(*parts, batch=5, run=tmp_path / "run", resume=True) as resumed:
        assert jax.tree.all(
            jax.tree.map(
                lambda x, y: np.array_equal(x, y, equal_nan=True), resumed.elites, expected
            )
        )


BAD = {
    "dimensions is 0: a whole number from 1": lambda: Novelty(0, threshold=1.0),
    "neighbours is 9, more than the capacity, 4: give fewer": lambda: DominatedNovelty(2, 4, 9),
    "threshold is 0.0: a distance above 0": lambda: Novelty(2),
    "threshold is nan": lambda: Novelty(2, threshold=np.nan),
    "names has 1 entries for 2 axes": lambda: DominatedNovelty(2, names=("x",)),
    "DeepGrid was given a DominatedNovelty": lambda: DeepGrid(DominatedNovelty(2), 3),
}


@pytest.mark.parametrize("words", BAD)
def test_an_invalid_setting_is_refused_with_a_message(words):
    with pytest.raises(ValueError, match=re.escape(words)):
        BAD[words]()

"""The cells of descriptors: Grid and CVT beside numpy and pyribs, and what they refuse."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qdkit.archives import CVT, Grid
from qdkit.core.elites import NOWHERE, double

BOX = ((-1.0, 1.0), (0.0, 3.0))
FORMS = ("haiku", "ode", "song")
CENTROIDS = np.random.default_rng(7).uniform(-1, 1, (12, 2))
ROWS = 16


def pyribs_archive(kind, **settings):
    """Returns an empty archive of pyribs."""
    import ribs.archives

    return getattr(ribs.archives, kind)(solution_dim=1, **settings)


def batch(bounds, random):
    """Returns objectives with ties, and descriptors of which some repeat and some lie outside."""
    low, high = np.array(bounds).T
    descriptor = random.uniform(low - 0.2, high + 0.2, (ROWS, len(low)))
    descriptor[1:3] = descriptor[0]
    descriptor[3] = high
    return random.integers(-2, 3, ROWS).astype(float), descriptor


PAIRS = {
    "grid": (Grid((5, 4), BOX), lambda: pyribs_archive("GridArchive", dims=(5, 4), ranges=BOX)),
    "1-D grid": (
        Grid((9,), ((0, 1),)),
        lambda: pyribs_archive("GridArchive", dims=(9,), ranges=((0, 1),)),
    ),
    "3-D grid": (
        Grid((3, 2, 4), (*BOX, (-9, -4))),
        lambda: pyribs_archive("GridArchive", dims=(3, 2, 4), ranges=(*BOX, (-9, -4))),
    ),
    "CVT": (
        CVT(CENTROIDS, BOX),
        lambda: pyribs_archive("CVTArchive", centroids=CENTROIDS, ranges=BOX),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_agrees_with_pyribs(name):
    """On the same batches, statuses, values and elites are those of pyribs."""
    ours, empty = PAIRS[name]
    with double():
        for seed in range(15):
            random, elites, other = np.random.default_rng(seed), ours.init(), empty()
            for step in range(3):
                objective, descriptor = batch(ours.bounds, random)
                id = np.arange(ROWS) + ROWS * step
                elites, added = ours.add(elites, objective, descriptor, id)
                info = other.add(id[:, None], objective, descriptor)
                np.testing.assert_array_equal(added.status, info["status"])
                np.testing.assert_array_equal(added.value, info["value"])
                np.testing.assert_array_equal(added.cell, other.index_of(descriptor))
            data = other.data()
            order = np.argsort(data["index"])
            cells = np.flatnonzero(np.asarray(elites.occupied))
            np.testing.assert_array_equal(cells, data["index"][order])
            np.testing.assert_array_equal(elites.objective[cells], data["objective"][order])
            np.testing.assert_array_equal(elites.descriptor[cells], data["measures"][order])
            np.testing.assert_array_equal(elites.payload[cells], data["solution"][order, 0])


def test_labels_agree_with_pyribs():
    """A grid of labels has the same elites as pyribs' CategoricalArchive."""
    sides = ("left", "right")
    ours, random = Grid((3, 2), (FORMS, sides)), np.random.default_rng(0)
    elites, other = ours.init(), pyribs_archive("CategoricalArchive", categories=(FORMS, sides))
    for step in range(20):
        objective = random.integers(0, 100, ROWS).astype(float)
        labels = [(FORMS[random.integers(3)], sides[random.integers(2)]) for _ in range(ROWS)]
        elites, added = ours.add(
            elites, objective, ours.encode(labels), np.arange(ROWS) + ROWS * step
        )
        info = other.add(np.arange(ROWS)[:, None] + ROWS * step, objective, labels)
        np.testing.assert_array_equal(added.status, info["status"])
        np.testing.assert_array_equal(added.cell, other.index_of(labels))
    data = other.data()
    np.testing.assert_array_equal(elites.payload[data["index"]], data["solution"][:, 0])


def test_cells_are_numbered_in_c_order():
    """The last axis runs fastest."""
    assert Grid((2, 3), ((0, 2), (0, 3))).cell(
        np.array([[0.5, 0.5], [0.5, 2.5], [1.5, 0.5]])
    ).tolist() == [0, 2, 3]


def test_edges_are_those_of_digitize():
    """An edge belongs to the cell above it, the last to the last cell."""
    edges = (0.0, 1.0, 10.0, 100.0)
    grid = Grid((3,), (edges,))
    points = np.array([0, 0.5, 1, 9.99, 10, 55, 99, 100])
    expected = np.minimum(np.digitize(points, edges) - 1, 2)
    np.testing.assert_array_equal(grid.cell(points[:, None]), expected)
    np.testing.assert_array_equal(grid.edges(0), edges)


def test_decimal_edges_belong_above():
    """0.29 of 100 cells is the edge of cell 29, although 0.29 * 100 falls short of 29."""
    with double():
        points = np.arange(100) / 100
        np.testing.assert_array_equal(
            Grid((100,), ((0, 1),)).cell(points[:, None]), np.arange(100)
        )


def test_edges_bound_the_cells():
    """The middle between two edges lies in the cell between them, on every kind of axis."""
    grid = Grid((4, 3, 3), ((-2, 2), (0, 1, 10, 100), FORMS))
    for axis, size in enumerate(grid.shape):
        middle = np.zeros((size, 3))
        middle[:, axis] = (grid.edges(axis)[:-1] + grid.edges(axis)[1:]) / 2
        along = np.unravel_index(np.asarray(grid.cell(middle)), grid.shape)[axis]
        np.testing.assert_array_equal(along, np.arange(size))


OUTSIDE = np.array([[-5.0, 1.0], [0.0, 9.0], [1.0, 3.0], [0.0, np.nan]])


@pytest.mark.parametrize("archive", [Grid((5, 4), BOX), CVT(CENTROIDS, BOX)], ids=["grid", "CVT"])
def test_an_outside_descriptor_is_clipped_or_refused(archive):
    """ "clip" returns the nearest cell, "reject" none.

    The bounds themselves are inside, and nan has no cell.
    """
    refusing = dataclasses.replace(archive, outside="reject")
    clipped, refused = np.asarray(archive.cell(OUTSIDE)), np.asarray(refusing.cell(OUTSIDE))
    assert archive.inside(OUTSIDE).tolist() == [False, False, True, False]
    assert refused.tolist() == [NOWHERE, NOWHERE, clipped[2], NOWHERE]
    assert (clipped[:3] >= 0).all() and clipped[3] == NOWHERE


def test_clipped_points_go_to_the_border_of_a_grid():
    """However far outside, a point goes to the border cell on its side."""
    far = np.array([[-1e30, 1.0], [1e30, 1e30], [0.0, -1e30]])
    np.testing.assert_array_equal(
        Grid((5, 4), BOX).cell(far), np.ravel_multi_index(([0, 4, 2], [1, 3, 0]), (5, 4))
    )


def test_labels_become_numbers():
    """A label becomes its index on the axis; None and nan, of whatever precision, become nan."""
    grid = Grid((2, 3), ((0, 1), FORMS), names=("tone", "form"))
    rows = [(0.5, "ode"), (0.25, None), (None, "haiku"), (np.float32(np.nan), np.float32(np.nan))]
    np.testing.assert_array_equal(
        grid.encode(rows), [[0.5, 1], [0.25, np.nan], [np.nan, 0], [np.nan, np.nan]]
    )
    assert grid.labels(0) is None and grid.labels(1) == FORMS
    with pytest.raises(
        ValueError,
        match="form has the labels haiku, ode, song, and a candidate was described as 'epic'",
    ):
        grid.encode([(0.5, "epic")])


@pytest.mark.parametrize(
    "archive", [Grid((5, 4), BOX), Grid((2, 3), ((0, 1), FORMS)), CVT(CENTROIDS)]
)
def test_an_empty_batch_has_descriptors(archive):
    """No rows are encoded as an array of no rows."""
    assert archive.encode([]).shape == (0, 2)


def test_wrong_descriptors_are_refused():
    """Another number of axes, and labels on an axis of numbers, are refused with a remedy."""
    with pytest.raises(ValueError, match=r"the archive has 2 axes.*and these have \(1, 3\)"):
        Grid((5, 4), BOX).encode([[1, 2, 3]])
    with pytest.raises(ValueError, match="Labels need an archive whose axis has labels"):
        CVT(CENTROIDS).encode([["high", "low"]])
    with pytest.raises(ValueError, match="each descriptor has 2 entries"):
        Grid((2, 3), ((0, 1), FORMS)).encode([(0.5,)])


BAD_GRIDS = {
    "shape has 2 axes and bounds has 1": lambda: Grid((2, 2), ((0, 1),)),
    "shape has 0 axes": lambda: Grid((), ()),
    "shape has an entry for each axis: (4,), not 4": lambda: Grid(4, ((0, 1),)),
    "shape[0] is 0: an axis has a whole number of cells, at least one": lambda: Grid(
        (0,), ((0, 1),)
    ),
    "shape[0] is 2.5": lambda: Grid((2.5,), ((0, 1),)),
    "shape[0] is nan": lambda: Grid((np.nan,), ((0, 1),)),
    "outside is 'clip' or 'reject', not 'wrap'": lambda: Grid((2,), ((0, 1),), outside="wrap"),
    "names has 1 entries for 2 axes": lambda: Grid((2, 2), BOX, names=("x",)),
    "a list of edges or a list of labels, not 3": lambda: Grid((2,), (3,)),
    "a list of edges or a list of labels, not 'ab'": lambda: Grid((2,), ("ab",)),
    "bounds[0] is 2 different labels, not ('a', 'a')": lambda: Grid((2,), (("a", "a"),)),
    "bounds[0] is 3 different labels": lambda: Grid((3,), (("a", "b"),)),
    "bounds[0] mixes labels and numbers": lambda: Grid((2,), (("a", 1),)),
    "is (low, high) or 4 edges, not 3 numbers": lambda: Grid((3,), ((0, 1, 2),)),
    "each greater than the one before": lambda: Grid((2,), ((1, 0),)),
    "bounds[1] is (0.0, 2.0, 1.0)": lambda: Grid((2, 2), ((0, 1), (0, 2, 1))),
    "finite numbers, each": lambda: Grid((2,), ((0, np.inf),)),
}
BAD_CVTS = {
    "centroids are finite numbers of shape (cells, axes), not (3,)": lambda: CVT([1.0, 2.0, 3.0]),
    "not (0, 2)": lambda: CVT(np.zeros((0, 2))),
    "centroids are finite numbers": lambda: CVT([[0.0, np.nan]]),
    "centroids are finite numbers of shape (cells, axes), and": lambda: CVT([[1.0, 2.0], [3.0]]),
    "bounds are 2 pairs (low, high)": lambda: CVT(CENTROIDS, ((0, 1),)),
    "with low < high": lambda: CVT(CENTROIDS, ((0, 1), (1, 0))),
    "bounds are 2 pairs (low, high) of finite numbers": lambda: CVT(
        CENTROIDS, ((0, 1), (0, np.inf))
    ),
    "one for each axis": lambda: CVT(CENTROIDS, ((0, 1), (0,))),
    "outside is 'clip' or 'reject', not 'wrap'": lambda: CVT(CENTROIDS, outside="wrap"),
    "names has 3 entries for 2 axes": lambda: CVT(CENTROIDS, names=("x", "y", "z")),
    "a CVT has at least one cell, not 0": lambda: CVT.spread(0, BOX),
    "bounds are 1 pairs (low, high)": lambda: CVT.spread(3, ((1, 0),)),
    "bounds are 2 pairs": lambda: CVT.spread(3, ((0, 1, 2), (0, 1, 2))),
}


@pytest.mark.parametrize("words", [*BAD_GRIDS, *BAD_CVTS])
def test_invalid_settings_are_refused(words):
    """Each bad argument has its own message."""
    with pytest.raises(ValueError, match=re.escape(words)):
        (BAD_GRIDS | BAD_CVTS)[words]()


def test_the_nearest_centroid_has_the_cell():
    """A CVT cell is that of the nearest centroid, the first of equals.

    There are more rows than are searched at once.
    """
    points = np.random.default_rng(1).uniform(-2, 2, (150, 2))
    distance = ((points[:, None] - CENTROIDS[None]) ** 2).sum(-1)
    with double():
        np.testing.assert_array_equal(CVT(CENTROIDS).cell(points), distance.argmin(1))
        assert CVT([[0.0], [2.0], [2.0]]).cell(np.array([[1.0], [5.0]])).tolist() == [0, 1]


@pytest.mark.parametrize("axes", [1, 2, 3, 4])
@pytest.mark.parametrize("power", [1, 5], ids=["even", "crowded"])
def test_the_nearest_centroid_is_found_anywhere(axes, power):
    """The cell is that of brute force inside the bounds, near them and far outside.

    The centroids are spread evenly or crowded.
    """
    random = np.random.default_rng(axes)
    centroids = -3 + 8 * random.uniform(0, 1, (300, axes)) ** power
    archive = CVT(np.concatenate([centroids, centroids[:20]]), ((-3, 5),) * axes)
    edges = np.stack(np.meshgrid(*[np.linspace(-3, 5, 5)] * axes), -1).reshape(-1, axes)
    points = [
        random.uniform(-3, 5, (400, axes)),
        random.uniform(-12, 12, (200, axes)),
        centroids[:50],
        edges[:200],
    ]
    points = np.concatenate([*points, 1000 * random.normal(size=(20, axes))])
    distance = ((points[:, None] - archive.centroids[None]) ** 2).sum(-1)
    with double():
        np.testing.assert_array_equal(archive.cell(points), distance.argmin(1))
    single = np.asarray(archive.cell(points.astype(np.float32)))
    least = distance.min(1)
    np.testing.assert_allclose(
        distance[np.arange(len(points)), single], least, rtol=1e-4, atol=1e-5
    )
    assert (single == distance.argmin(1)).mean() > 0.99  # the others are ties in float32


def test_the_nearest_is_found_far_from_the_origin():
    """Bounds that are narrow beside their distance from zero leave few digits."""
    random = np.random.default_rng(0)
    centroids = random.uniform(1000, 1001, (500, 2)).astype(np.float32)
    points = random.uniform(999.8, 1001.2, (2000, 2)).astype(np.float32)
    cell = np.asarray(CVT(centroids, ((1000, 1001), (1000, 1001))).cell(points))
    distance = ((points[:, None].astype(float) - centroids[None]) ** 2).sum(-1)
    np.testing.assert_allclose(distance[np.arange(2000), cell], distance.min(1), rtol=1e-4)


def test_centroids_may_be_a_jax_array():
    """They become a numpy array, with bounds and names as for any others."""
    archive = CVT(jnp.asarray(CENTROIDS))
    assert archive.names == ("axis 0", "axis 1") and archive.inside(
        CENTROIDS[:1] * 0.5
    ).tolist() == [True]


def test_archives_pass_through_jit():
    """An archive may be an argument of a compiled function."""
    point = np.array([[0.3, 1.0]])
    for archive in (Grid((5, 4), BOX), CVT(CENTROIDS, BOX)):
        inside = jax.jit(lambda archive, d: (archive.cell(d), archive.inside(d)))(archive, point)
        assert inside[0].tolist() == archive.cell(point).tolist() and inside[1].tolist() == [True]
        assert jax.tree.map(lambda x: x, archive).bounds == archive.bounds


def test_archives_work_without_rank_promotion():
    """Archives work where jax refuses arrays of different rank."""
    with jax.numpy_rank_promotion("raise"):
        for archive in (
            Grid((6, 4), BOX, "reject"),
            Grid((2, 3), ((0, 1, 9), FORMS)),
            CVT(CENTROIDS[:11], BOX, "reject"),
        ):
            elites, _ = archive.add(archive.init(), np.zeros(2), np.ones((2, 2)), np.arange(2))
            assert elites.occupied.sum() == 1


def test_centroids_spread_over_the_box():
    """They are as many as requested, within the bounds, near every point, and reproducible."""
    archive = CVT.spread(40, BOX, seed=3)
    assert (
        archive.centroids.shape == (40, 2)
        and archive.bounds == BOX
        and archive.inside(archive.centroids).all()
    )
    points = np.random.default_rng(0).uniform(*np.array(BOX).T, (2000, 2))
    distance = np.sqrt(((points[:, None] - archive.centroids[None]) ** 2).sum(-1)).min(1)
    assert distance.max() < 0.5  # a cell is 0.15 square units, about 0.39 by 0.39
    again, other = CVT.spread(40, BOX, seed=3), CVT.spread(40, BOX, seed=4)
    assert (again.centroids == archive.centroids).all() and (
        other.centroids != archive.centroids
    ).any()

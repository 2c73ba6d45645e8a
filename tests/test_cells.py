"""Cells at every scale and offset, compared with rational arithmetic."""

import re
from fractions import Fraction
from functools import partial
from math import floor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdkit.archives import CVT, DeepGrid, Grid, Islands, Recent, Thresholds
from qdkit.archives.axis_edges import axis_scale, cell_starts, find_cells
from qdkit.core.elites import double

SCALES = [1e-12, 3.7e-9, 1e-6, 1e-3, 1.0, 7.3, 1e6, 1e12]
OFFSETS = [0.0, -0.5, 1.0, -1e3, 1e6, -1e9, 1e9]


def boxes():
    """Yields each scale at each offset, as (low, high)."""
    for scale in SCALES:
        for offset in OFFSETS:
            low = offset * scale
            yield low, low + scale


def cells(archive, places):
    with double():
        return np.asarray(archive.cell(np.asarray(places, np.float64)[:, None])).tolist()


evenly = jax.jit(jax.vmap(find_cells))
by_edges = jax.jit(jax.vmap(lambda edges, x: jnp.searchsorted(edges, x, side="right") - 1))


def along(boxes, size, places):
    """Returns the cells of `places` `[b, n]` on evenly divided axes, int `[b, n]`.

    All axes are compiled as one.
    """
    least = np.stack([cell_starts(low, high, size) for low, high in boxes])
    unit = np.array([axis_scale(low, high, size) for low, high in boxes])
    with double():
        return np.asarray(evenly(least, *unit.T, np.asarray(places)))


def between(edges, places):
    """Returns the cells of `places` `[b, n]` between edges `[b, cells + 1]`, int `[b, n]`.

    `Grid` computes them in the same way.
    """
    with double():
        return np.clip(np.asarray(by_edges(edges, np.asarray(places))), 0, edges.shape[1] - 2)


def exact(low, high, size, x):
    """Returns the cell by rational arithmetic."""
    return min(
        max(floor(size * (Fraction(x) - Fraction(low)) / (Fraction(high) - Fraction(low))), 0),
        size - 1,
    )


def steps_from_an_edge(low, high, size, x):
    """Returns how many floats of the bounds' size lie between x and the nearest edge."""
    place = size * (Fraction(x) - Fraction(low)) / (Fraction(high) - Fraction(low))
    width = (Fraction(high) - Fraction(low)) / size
    return float(
        abs(place - round(place)) * width / Fraction(float(np.spacing(max(abs(low), abs(high)))))
    )


def check_cells(boxes, size, random):
    """Checks middles, edges and random places for all `boxes` at once.

    The divisions are even, or between explicit edges.
    """
    order, (low, high) = np.arange(size), np.array(boxes).T[:, :, None]
    edges = np.stack([Grid((size,), (box,)).edges(0) for box in boxes])
    middles = np.stack([Grid((size,), (box,)).centres[:, 0] for box in boxes])
    with_last = np.append(order, size - 1)
    for find in (partial(along, boxes, size), partial(between, edges)):
        assert (find(middles) == order).all() and (find(edges) == with_last).all()
    for formula in (
        np.linspace(low[:, 0], high[:, 0], size + 1, axis=1),
        low + np.arange(size + 1) * (high - low) / size,
    ):
        assert (along(boxes, size, formula) == with_last).all()
    below = np.nextafter(edges[:, 1:-1], -np.inf)  # of 0 it is subnormal, which is 0 to XLA
    assert ((between(edges, below) == order[:-1]) | (edges[:, 1:-1] == 0)).all()
    assert (
        (edges[:, :1] == low).all()
        and (edges[:, -1:] == high).all()
        and (np.diff(edges) > 0).all()
    )

    x = random.uniform(low - 0.1 * (high - low), high + 0.1 * (high - low), (len(boxes), 40))
    by_hand = [
        [exact(*box, size, place) for place in row]
        for box, row in zip(boxes, x.tolist(), strict=True)
    ]
    steps = [
        [steps_from_an_edge(*box, size, place) for place in row]
        for box, row in zip(boxes, x.tolist(), strict=True)
    ]
    sure = np.array(steps) > 4
    assert sure.mean() > 0.5
    for cell in (along(boxes, size, x), between(edges, x)):
        np.testing.assert_array_equal(cell[sure], np.array(by_hand)[sure])


@pytest.mark.parametrize("size", [1, 2, 7, 10, 100])
def test_cells_agree_with_rational_arithmetic_at_every_scale(size):
    """Every middle, edge and random place is in the cell that rational arithmetic gives."""
    check_cells(list(boxes()), size, np.random.default_rng(size))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.floats(1e-12, 1e12), st.floats(-1e9, 1e9)), min_size=8, max_size=8))
def test_cells_agree_with_rational_arithmetic_at_any_scale(drawn):
    """The same holds for random bounds."""
    check_cells(
        [(scale * offset, scale * offset + scale) for scale, offset in drawn],
        13,
        np.random.default_rng(0),
    )


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1e-6), (1e9, 1e9 + 1), (-1e12, 0.0), (-3.7e-9, 4.1e-9)]
)
def test_a_grid_has_these_cells(low, high):
    """A grid has the same cells when it is divided evenly, by edges or in two axes.

    The places are middles, edges and the floats next to edges.
    """
    even = Grid((100,), ((low, high),))
    edges = even.edges(0)
    places = [
        even.centres[:, 0],
        edges,
        np.nextafter(edges, low - 1),
        np.nextafter(edges, high + 1),
        [-np.inf, np.inf],
    ]
    places = np.concatenate(places)
    assert cells(even, places) == along([(low, high)], 100, [places])[0].tolist()
    assert (
        cells(Grid((100,), (tuple(edges),)), places) == between(edges[None], [places])[0].tolist()
    )
    square = Grid((100, 10), ((low, high), (low, high)))
    with double():
        assert np.asarray(square.cell(square.centres)).tolist() == list(range(1000))


def test_an_edge_that_float64_holds_is_exact_to_the_last_bit():
    """The float below 1/4 is in the first of four cells, the float below 0 in the lower half."""
    for low, high, size in (
        (0.0, 1.0, 4),
        (1.0, 3.0, 2),
        (2.0, 8.0, 24),
        (1e15, 1e15 + 64, 8),
        (-9.0, -1.0, 8),
    ):
        edges = Grid((size,), ((low, high),)).edges(0)[1:-1]
        assert along([(low, high)], size, [np.nextafter(edges, -np.inf)]).tolist() == [
            list(range(size - 1))
        ]
        assert along([(low, high)], size, [edges]).tolist() == [list(range(1, size))]
    assert cells(Grid((2,), ((-1, 1),)), [-1e-300, -1e-17, -0.0, 0.0, 1e-17]) == [0, 0, 1, 1, 1]


def test_decimal_edges_belong_above_at_every_scale():
    """A decimal edge such as 0.1, of ten cells from -0.3 to 0.7, belongs to the cell above it.

    So does 1.7e-7, of a hundred cells up to 1e-6.
    """
    assert cells(Grid((10,), ((-0.3, 0.7),)), [i / 10 for i in range(-3, 7)]) == list(range(10))
    for power in range(-12, 13, 3):
        edges = [float(f"{i}e{power - 2}") for i in range(100)]
        assert along([(0.0, float(f"1e{power}"))], 100, [edges]).tolist() == [list(range(100))]


def test_the_whole_range_of_float64_is_divided():
    """The difference of the bounds overflows; places are at and beyond them."""
    grid = Grid((4,), ((-1.7e308, 1.7e308),))
    assert cells(grid, [-1.7e308, -1.0, 0.0, 1.7e308, -np.inf, np.inf, 1e308]) == [
        0,
        1,
        2,
        3,
        0,
        3,
        3,
    ]
    assert np.isfinite(grid.centres).all() and cells(grid, grid.centres[:, 0]) == [0, 1, 2, 3]


def test_one_cell_is_as_wide_as_all_of_float64():
    """The width of a cell overflows."""
    grid = Grid((1,), ((-1.7e308, 1.7e308),))
    assert cells(grid, [-1.7e308, 0.0, 1.7e308, np.inf]) == [0, 0, 0, 0]
    assert grid.centres.tolist() == [[0.0]]


@pytest.mark.parametrize("dtype", [np.float16, np.int64, bool])
@pytest.mark.parametrize("axes", [2, 4])
def test_descriptors_of_every_dtype_are_found_among_centroids(axes, dtype):
    """Integers too, in both precisions."""
    box = ((0.0, 1.0),) * axes
    archive = CVT(np.array([[0.1] * axes, [0.9] * axes, [0.5] * axes]), box)
    places = np.array([[0] * axes, [1] * axes]).astype(dtype)
    assert np.asarray(archive.cell(places)).tolist() == [0, 1]
    with double():
        assert np.asarray(archive.cell(places)).tolist() == [0, 1]
    elites, added = archive.add(archive.init(), [1, 2], places, np.zeros(2, np.int32))
    assert np.asarray(added.cell).tolist() == [0, 1] and np.asarray(elites.objective)[
        :2
    ].tolist() == [1.0, 2.0]


def test_wrapped_grids_have_the_same_cells():
    """Thresholds, depth and islands do not change the cell of a descriptor."""
    grid = Grid((10, 10), ((0, 1e-6),) * 2)
    for archive in (Thresholds(grid, minimum=-1.0), DeepGrid(grid, 2), Islands(grid, 1)):
        with double():
            assert np.asarray(archive.cell(grid.centres)).tolist() == list(range(100))
            elites, _ = archive.add(archive.init(), np.ones(100), grid.centres, np.arange(100))
        assert archive.united(jax.tree.map(np.asarray, elites)).occupied.sum() == 100


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1.0, 1e12])
@pytest.mark.parametrize("offset", [0.0, 1e6, -1e9])
def test_the_nearest_centroid_is_found_at_every_scale(axes, scale, offset):
    """The cells agree with exact arithmetic on integers.

    Centroids and places lie on a lattice that float64 holds.
    """
    random, unit = np.random.default_rng(axes), 2.0 ** round(np.log2(scale) - 16)
    shift = round(offset * 2**16)
    centroids = random.integers(0, 2**16, (60, axes))
    places = random.integers(-(2**12), 2**16 + 2**12, (80, axes))
    expected = ((places[:, None] - centroids[None]) ** 2).sum(-1).argmin(1)
    archive = CVT((centroids + shift) * unit)
    with double():
        np.testing.assert_array_equal(archive.cell((places + shift) * unit), expected)
        np.testing.assert_array_equal(archive.cell(archive.centroids), np.arange(60))


NARROW = {
    "an even grid": lambda: Grid((10,), ((1.7e9, 1.7e9 + 40),)),
    "edges": lambda: Grid((2,), ((1e8, 1e8 + 1, 1e8 + 2),)),
    "tiny": lambda: Grid((10,), ((0, 1e-40),)),
    "soft": lambda: Thresholds(Grid((10,), ((1e9, 1e9 + 1),))),
    "deep": lambda: DeepGrid(Grid((10,), ((1e9, 1e9 + 1),)), 2),
    "a CVT": lambda: CVT(np.linspace(1e9, 1e9 + 1, 10)[:, None]),
    "a tiny CVT": lambda: CVT(np.linspace(0, 1e-25, 10)[:, None]),
    "stretched axes": lambda: Recent(1, edges=((1e9, 1e9 + 1, 1e9 + 2),)),
}


@pytest.mark.parametrize("name", NARROW)
def test_cells_that_float32_cannot_tell_apart_are_refused(name):
    """Outside `double()` the error gives the remedy; within it the cells are found."""
    archive = NARROW[name]()
    rows = np.zeros(2), np.zeros((2, 1)), np.arange(2)
    with pytest.raises(ValueError, match=r"float32.*qdkit.core.elites.double"):
        archive.add(archive.init(), *rows)
    with double():
        archive.add(archive.init(), *rows)


def test_cells_that_float64_cannot_tell_apart_are_refused_when_the_grid_is_built():
    """The message has the width of a cell, the spacing of the numbers there, and a remedy."""
    for low, high, size in ((1e16, 1e16 + 4, 4), (1.0, 1.0 + 1e-14, 100), (0.0, 1e-310, 2)):
        with pytest.raises(ValueError, match=re.escape("axis 0 has cells")):
            Grid((size,), ((low, high),))


def test_an_axis_of_a_tiny_range_is_divided_as_any_other():
    """Each of a hundred cells of a square of a millionth has its own middle."""
    grid = Grid((10, 10), ((0, 1e-6),) * 2)
    with double():
        np.testing.assert_array_equal(grid.cell(grid.centres), np.arange(100))
        np.testing.assert_array_equal(grid.cell(grid.centres.astype(np.float32)), np.arange(100))

"""The nearest of many points in up to three dimensions, exactly, without measuring the distance to all of them.

Space is cut into boxes, and a table lists for each box every point that is the nearest of some place
in it: a few, however many points there are. To look a place up is to find its box by arithmetic and
to measure the distance to those few. The boxes are equal within the bounds and grow wider beyond, so
that places outside are found as well; for what lies further out than the last box all points are measured.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

AXES = 3  # beyond, a box has so many neighbours that the lists grow long
FINE = 16  # boxes for each point, at least
ROOM = 2**24  # entries of a table, at most: 64 MB
MARGIN = 1 / 8  # of the boxes along an axis lie below the bounds, and as many above
REACH = MARGIN / (1 - 2 * MARGIN)  # the first box beyond is as wide as those within
TOGETHER = 8  # points of a list that are measured at the same time
UNROLLED = 8  # so many times: the lists of points that lie in a heap are too long to be written out
SLACK = 1e-6  # of the whole: by how much a box is taken wider than it is, as float32 rounds places


Bounds = Sequence[tuple[float, float]]


def nearest(points: jax.Array, table: jax.Array, bounds: Bounds, places: jax.Array) -> jax.Array:
    """int32 `[n]`: the nearest of `points` `[C, d]` to each of `places` `[n, d]`, the first of equals.

    table: what `table` made for these points and bounds. Meaningless for a place that is not finite.
    """
    boxes = round(table.shape[0] ** (1 / points.shape[1]))
    along = _box(boxes, bounds, places)
    box = along[:, 0]
    for axis in range(1, points.shape[1]):
        box = box * boxes + along[:, axis]

    far = ((along == 0) | (along == boxes - 1)).any(1)
    return _searched(points, places, far, _listed(points, table, box, places))


def _listed(points: jax.Array, table: jax.Array, box: jax.Array, places: jax.Array) -> jax.Array:
    """int32 `[n]`: the nearest of the points in the list of its box, int32 `[n]`; `TOGETHER` of a list at a time."""
    length = table.shape[1]
    some = jnp.arange(min(length, TOGETHER), dtype=jnp.int32)

    def compare(i: jax.Array, found: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        best, least = found
        near = table.T[jnp.minimum(i * len(some) + some, length - 1)][:, box]
        away = jnp.stack([(x[near] - place[None]) ** 2 for x, place in zip(points.T, places.T, strict=True)]).sum(0)
        for other, far in zip(near, away, strict=True):
            best, least = jnp.where(far < least, other, best), jnp.minimum(far, least)
        return best, least

    start, times = (jnp.zeros_like(box), jnp.full_like(places[:, 0], jnp.inf)), -(-length // len(some))
    return jax.lax.fori_loop(0, times, compare, start, unroll=times <= UNROLLED)[0]


def measured(points: jax.Array, places: jax.Array) -> jax.Array:
    """As `nearest`, by the distances to all points."""
    away = lambda place: jnp.sum((points - place[None]) ** 2, -1)
    return jax.lax.map(lambda place: jnp.argmin(away(place)).astype(jnp.int32), places, batch_size=64)


def _searched(points: jax.Array, places: jax.Array, rows: jax.Array, found: jax.Array) -> jax.Array:
    """`found`, with the nearest of all points in these `rows`, bool `[n]`: one after another, as they are rare."""

    def search(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        rows, found = state
        row = jnp.argmax(rows)
        closest = jnp.argmin(jnp.sum((points - places[row][None]) ** 2, 1))
        return rows.at[row].set(False), found.at[row].set(closest.astype(jnp.int32))

    return jax.lax.while_loop(lambda state: state[0].any(), search, (rows, found))[1]


def _box(boxes: int, bounds: Bounds, places: jax.Array) -> jax.Array:
    """int32 `[n, d]`: the box along each axis; the inverse of `_edges`. The first and the last have no end."""
    low, high = np.asarray(bounds).T[:, None].astype(places.dtype)
    unit = (places - low) / (high - low)
    beyond = jnp.maximum(-unit, unit - 1)
    outer = MARGIN * beyond / (beyond + REACH)
    inner = MARGIN + (1 - 2 * MARGIN) * unit
    share = jnp.where(unit < 0, MARGIN - outer, jnp.where(unit > 1, 1 - MARGIN + outer, inner))
    return jnp.clip(jnp.floor(jnp.nan_to_num(share) * boxes), 0, boxes - 1).astype(jnp.int32)


def table(points: np.ndarray, bounds: Bounds) -> np.ndarray:
    """int32 `[G ** d, K]`: the points that are nearest somewhere in each box, for `points` `[C, d]`.

    In C order of the boxes; each list is sorted, and filled up with its first. Boxes are halved again
    and again, and a point stays in the list of a half for which it can be the nearest. They stay
    larger where the table would grow too long, as with most points in a heap.
    """
    n, axes = points.shape
    depth = max(3, math.ceil(math.log2(FINE * n) / axes))
    edges, along = _edges(2**depth, np.asarray(bounds, np.float64)), np.arange(axes)
    halves = np.array(list(itertools.product((0, 1), repeat=axes)))
    boxes, near, counts = np.zeros((1, axes), np.int64), np.arange(n), np.array([n])
    for level in range(1, depth + 1):
        if len(boxes) * len(halves) * counts.max() > ROOM:
            break
        boxes = (2 * boxes[:, None] + halves).reshape(-1, axes)
        near, counts = _inherited(near, counts, len(halves))
        step = 2 ** (depth - level)
        low, high = edges[along, boxes * step], edges[along, (boxes + 1) * step]
        half = (high - low) / 2 * (1 + SLACK * 2**depth) + SLACK * np.abs(bounds).max()
        near, counts = _shortened(points, near, counts, (low + high) / 2, half)
    first = np.cumsum(counts) - counts
    place = first[:, None] + np.minimum(np.arange(counts.max()), counts[:, None] - 1)
    return near[place][np.lexsort(boxes.T[::-1])].astype(np.int32)


def _edges(boxes: int, bounds: np.ndarray) -> np.ndarray:
    """float64 `[d, boxes + 1]`: where the boxes end along each axis, those without an end given no width."""
    share = np.clip(np.arange(boxes + 1), 1, boxes - 1) / boxes
    outer = np.minimum(share, 1 - share)
    with np.errstate(divide="ignore"):
        beyond = REACH * (MARGIN - outer) / outer
    unit = (share - MARGIN) / (1 - 2 * MARGIN)
    unit = np.where(share < MARGIN, -beyond, np.where(share > 1 - MARGIN, 1 + beyond, unit))
    low, high = bounds.T[:, :, None]
    return low + (high - low) * unit


def _inherited(near: np.ndarray, counts: np.ndarray, halves: int) -> tuple[np.ndarray, np.ndarray]:
    """The lists of boxes, end to end, with the list of each box repeated for each of its halves."""
    first, each = np.repeat(np.cumsum(counts) - counts, halves), np.repeat(counts, halves)
    return near[np.arange(each.sum()) + np.repeat(first - np.cumsum(each) + each, each)], each


def _shortened(
    points: np.ndarray, near: np.ndarray, counts: np.ndarray, middle: np.ndarray, half: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The lists without the points that are nearest nowhere in boxes of this `middle` and half width, `[b, d]`.

    near: the lists of all boxes, end to end; counts: how long each is.

    A point p is further than its rival r from all of a box if even the corner most in favour of p is
    nearer to r: |m - p|² - |m - r|² > 2 h·|p - r|. Rivals are the nearest of the middle and those of
    the corners, one after another, as each leaves fewer to be compared with the next.
    """
    signs = itertools.product((-1, 1), repeat=points.shape[1])
    for place in (middle, *(middle + half * sign for sign in signs)):
        box = np.repeat(np.arange(len(counts)), counts)
        there = points[near]
        from_place = _square(there - place[box])
        least = np.flatnonzero(from_place == np.minimum.reduceat(from_place, np.cumsum(counts) - counts)[box])
        rival = there[least[np.flatnonzero(np.diff(box[least], prepend=-1))]][box]
        further = _square(there - middle[box]) - _square(rival - middle[box])
        stays = further <= 2 * (np.abs(there - rival) * half[box]).sum(1)
        near, counts = near[stays], np.bincount(box[stays], minlength=len(counts))
    return near, counts


def _square(away: np.ndarray) -> np.ndarray:
    """float64 `[n]`: the squared length of each row."""
    return np.einsum("nd,nd->n", away, away)

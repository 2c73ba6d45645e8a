"""The exact nearest of many points in up to three dimensions, without measuring all distances.

Space is cut into boxes. A table lists, for each box, every point that is the nearest of some place
in the box: a few points, however many there are in all. A lookup finds the box of a place by
arithmetic and measures the distances to the points of its list. The boxes are equal within the
bounds and grow wider outside, so that places outside are found as well. For a place in an
outermost box, all points are measured.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

MOST_AXES = 3  # with more, a box has so many neighbours that the lists grow long
_BOXES_PER_POINT = 16  # at least
_MOST_ENTRIES = 2**24  # of a table: 64 MB
_MARGIN = 1 / 8  # the share of the boxes along an axis below the bounds, and the share above them
_REACH = _MARGIN / (1 - 2 * _MARGIN)  # so the first box outside is as wide as those within
_CHUNK = 8  # points of a list that are measured at the same time
_UNROLLED = 8  # chunks at most for which the loop is unrolled: crowded points have long lists
_SLACK = 8  # a box is widened by this times the precision of its size, as places are rounded

_Bounds = Sequence[tuple[float, float]]


def nearest(points: jax.Array, table: jax.Array, bounds: _Bounds, places: jax.Array) -> jax.Array:
    """Returns the nearest of `points` `[C, d]` to each of `places` `[n, d]`, int32 `[n]`.

    Of points at the same distance, the first counts. The result for a place that is not finite has
    no meaning.

    table: the result of `lookup_table` for these points and bounds.
    """
    boxes = round(table.shape[0] ** (1 / points.shape[1]))
    along = _box(boxes, bounds, places)
    box = along[:, 0]
    for axis in range(1, points.shape[1]):
        box = box * boxes + along[:, axis]

    outermost = ((along == 0) | (along == boxes - 1)).any(1)
    return _measure_all(points, places, outermost, _nearest_in_list(points, table, box, places))


def _nearest_in_list(
    points: jax.Array, table: jax.Array, box: jax.Array, places: jax.Array
) -> jax.Array:
    """Returns the nearest point in the list of each place's `box`, int32 `[n]`.

    Measures `_CHUNK` points of a list at a time.
    """
    length = table.shape[1]
    chunk = jnp.arange(min(length, _CHUNK), dtype=jnp.int32)

    def compare(i: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        best, least = state
        near = table.T[jnp.minimum(i * len(chunk) + chunk, length - 1)][:, box]
        away = jnp.stack(
            [(x[near] - place[None]) ** 2 for x, place in zip(points.T, places.T, strict=True)]
        ).sum(0)
        for other, far in zip(near, away, strict=True):
            best, least = jnp.where(far < least, other, best), jnp.minimum(far, least)
        return best, least

    start = jnp.zeros_like(box), jnp.full_like(places[:, 0], jnp.inf)
    times = -(-length // len(chunk))
    return jax.lax.fori_loop(0, times, compare, start, unroll=times <= _UNROLLED)[0]


def nearest_of_all(points: jax.Array, places: jax.Array) -> jax.Array:
    """Returns the same as `nearest`, from the distances to all points."""
    away = lambda place: jnp.sum((points - place[None]) ** 2, -1)
    return jax.lax.map(
        lambda place: jnp.argmin(away(place)).astype(jnp.int32), places, batch_size=64
    )


def _measure_all(
    points: jax.Array, places: jax.Array, rows: jax.Array, index: jax.Array
) -> jax.Array:
    """Returns `index` with the nearest of all points in these `rows`, bool `[n]`.

    Searches the rows one after another, as they are rare.
    """

    def search(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        rows, index = state
        row = jnp.argmax(rows)
        closest = jnp.argmin(jnp.sum((points - places[row][None]) ** 2, 1))
        return rows.at[row].set(False), index.at[row].set(closest.astype(jnp.int32))

    return jax.lax.while_loop(lambda state: state[0].any(), search, (rows, index))[1]


def _box(boxes: int, bounds: _Bounds, places: jax.Array) -> jax.Array:
    """Returns the box along each axis, int32 `[n, d]`: the inverse of `_edges`.

    The first and the last box have no outer end.
    """
    low, high = np.asarray(bounds).T[:, None].astype(places.dtype)
    unit = (places - low) / (high - low)
    excess = jnp.maximum(-unit, unit - 1)
    outer = _MARGIN * excess / (excess + _REACH)
    inner = _MARGIN + (1 - 2 * _MARGIN) * unit
    share = jnp.where(unit < 0, _MARGIN - outer, jnp.where(unit > 1, 1 - _MARGIN + outer, inner))
    return jnp.clip(jnp.floor(jnp.nan_to_num(share) * boxes), 0, boxes - 1).astype(jnp.int32)


def lookup_table(points: np.ndarray, bounds: _Bounds, dtype: Any) -> np.ndarray:
    """Returns the points that are the nearest of some place in each box, int32 `[G ** d, K]`.

    points: float `[C, d]`.
    dtype: the dtype in which places are looked up. Each box is widened by its rounding.

    The boxes are in C order. Each list is sorted, and filled up with its first point. Boxes are
    halved again and again, and a point stays in the list of a half if it can be the nearest of a
    place there. The halving stops early where the table would grow too long, as when most points
    are crowded.
    """
    n, axes = points.shape
    depth = max(3, math.ceil(math.log2(_BOXES_PER_POINT * n) / axes))
    edges, along = _edges(2**depth, np.asarray(bounds, np.float64)), np.arange(axes)
    halves = np.array(list(itertools.product((0, 1), repeat=axes)))
    slack = _SLACK * float(np.finfo(dtype).eps)
    boxes, near, counts = np.zeros((1, axes), np.int64), np.arange(n), np.array([n])
    for level in range(1, depth + 1):
        if len(boxes) * len(halves) * counts.max() > _MOST_ENTRIES:
            break
        boxes = (2 * boxes[:, None] + halves).reshape(-1, axes)
        near, counts = _repeat_lists(near, counts, len(halves))
        step = 2 ** (depth - level)
        low, high = edges[along, boxes * step], edges[along, (boxes + 1) * step]
        half = (high - low) / 2 * (1 + slack * 2**depth) + slack * np.abs(bounds).max()
        near, counts = _shorten_lists(points, near, counts, (low + high) / 2, half)
    first = np.cumsum(counts) - counts
    index = first[:, None] + np.minimum(np.arange(counts.max()), counts[:, None] - 1)
    return near[index][np.lexsort(boxes.T[::-1])].astype(np.int32)


def _edges(boxes: int, bounds: np.ndarray) -> np.ndarray:
    """Returns where the boxes end along each axis, float64 `[d, boxes + 1]`.

    An outermost box, which has no outer end, gets no width.
    """
    share = np.clip(np.arange(boxes + 1), 1, boxes - 1) / boxes
    outer = np.minimum(share, 1 - share)
    with np.errstate(divide="ignore"):
        excess = _REACH * (_MARGIN - outer) / outer
    unit = (share - _MARGIN) / (1 - 2 * _MARGIN)
    unit = np.where(share < _MARGIN, -excess, np.where(share > 1 - _MARGIN, 1 + excess, unit))
    low, high = bounds.T[:, :, None]
    return low + (high - low) * unit


def _repeat_lists(
    near: np.ndarray, counts: np.ndarray, halves: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lists of the boxes, end to end, each repeated for the halves of its box."""
    first, each = np.repeat(np.cumsum(counts) - counts, halves), np.repeat(counts, halves)
    return near[np.arange(each.sum()) + np.repeat(first - np.cumsum(each) + each, each)], each


def _shorten_lists(
    points: np.ndarray, near: np.ndarray, counts: np.ndarray, middle: np.ndarray, half: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lists without the points that are the nearest of no place in their box.

    near: the lists of all boxes, end to end.
    counts: the length of each list.
    middle, half: float `[b, d]`, the middle and half the width of each box.

    A point p is further than its rival r from all of a box if even the corner that favours p most
    is nearer to r: |m - p|² - |m - r|² > 2 h·|p - r|. The rivals are the nearest point of the
    middle and those of the corners, one after another, as each leaves fewer points to compare with
    the next.
    """
    signs = itertools.product((-1, 1), repeat=points.shape[1])
    for place in (middle, *(middle + half * sign for sign in signs)):
        box = np.repeat(np.arange(len(counts)), counts)
        point = points[near]
        distance = _square(point - place[box])
        shortest = np.minimum.reduceat(distance, np.cumsum(counts) - counts)[box]
        least = np.flatnonzero(distance == shortest)
        rival = point[least[np.flatnonzero(np.diff(box[least], prepend=-1))]][box]
        further = _square(point - middle[box]) - _square(rival - middle[box])
        stays = further <= 2 * (np.abs(point - rival) * half[box]).sum(1)
        near, counts = near[stays], np.bincount(box[stays], minlength=len(counts))
    return near, counts


def _square(vectors: np.ndarray) -> np.ndarray:
    """Returns the squared length of each row, float64 `[n]`."""
    return np.einsum("nd,nd->n", vectors, vectors)

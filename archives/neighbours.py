"""The exact nearest of many points, without measuring all distances where points are spread out.

Space is cut into equal boxes along its first two axes, and the points are sorted by box. The
neighbours of a place are looked for in its box and the eight boxes around it, which are three runs
of the sorted points. They are the nearest of all points if the last of them is nearer than any
point outside these boxes can be. The distances to all points are measured for a place where this
does not hold, and where the runs are long because the points are crowded.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

# A box is so wide that _EXPECTED * k evenly spread points lie nearer than its width: fewer than k
# points are then rare.
_EXPECTED = 3.3
_FEWEST_BOXES = 8  # along an axis: with fewer, the boxes around a place are most of all boxes
_PACKED = 2**31  # a box and one of its points are sorted as one int32
_STRIDE = 16  # points of a run that are measured at the same time
_UNSURE = 64  # places for which all points are measured at the same time
# A run is too long to go through if it has over _SHORT points beyond 1 / _LONG of all points.
_LONG = 32
_SHORT = 64
# Points that are left out together where the nearest of them is too far; also the number of blocks
# that are measured at the same time.
_BLOCK = 64
_CHUNK = 1024  # places that are compared with the blocks at the same time


def neighbours(
    places: jax.Array, points: jax.Array, count: jax.Array, k: int
) -> tuple[jax.Array, jax.Array]:
    """Returns the nearest point of each place, and the distances to its `k` nearest points.

    The points are the first `count` of `points` `[p, d]`; `places` `[n, d]` are finite.

    Returns int32 `[n]`, of points at the same distance the first, and float `[k, n]`, rising,
    infinite where there are fewer than k points.
    """
    axes = points.shape[1]
    even = math.pi ** (axes / 2) / math.gamma(axes / 2 + 1) / (_EXPECTED * k)
    boxes_along = lambda count: (count * even) ** (1 / axes)  # for points that are spread evenly
    most = min(int(boxes_along(len(points))), math.isqrt(_PACKED // len(points) - 1))
    if most < _FEWEST_BOXES:
        index, away = k_nearest(places, points, count, k)
        return index[:, 0], away.T
    side = jnp.clip(boxes_along(count), 1, most).astype(jnp.int32)
    boxes = _sort_into_boxes(points, count, side, most)
    closest, away, sure = _search_around(boxes, places, k)

    def all_points(
        state: tuple[jax.Array, jax.Array, jax.Array],
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        sure, closest, away = state
        unsure, rows = jax.lax.top_k((~sure).astype(jnp.int32), min(len(sure), _UNSURE))
        rows = jnp.where(unsure > 0, rows, len(sure))
        index, far = k_nearest(places[rows], points, count, k)
        put = lambda old, new: old.at[..., rows].set(new, mode="drop")
        return put(sure, True), put(closest, index[:, 0]), put(away, far.T)

    _, closest, away = jax.lax.while_loop(
        lambda state: ~state[0].all(), all_points, (sure, closest, away)
    )
    return closest, away


def with_distance(away: jax.Array, far: jax.Array) -> jax.Array:
    """Returns the `k` least of the distances `away` `[k, n]` and `far` `[n]`, float `[k, n]`.

    The distances rise along each column, before and after.
    """
    previous = jnp.concatenate([jnp.full_like(away[:1], -jnp.inf), away[:-1]])
    return jnp.minimum(away, jnp.maximum(previous, far[None]))


def k_nearest(
    places: jax.Array, points: jax.Array, count: jax.Array, k: int
) -> tuple[jax.Array, jax.Array]:
    """Returns the `k` nearest points of each of `places` `[n, d]`, and their distances.

    The points are the first `count` of `points` `[p, d]`.

    Returns int32 and float `[n, k]`, the nearest first, of points at the same distance the first;
    the distance is infinite where there are fewer than k points.

    Measures all distances. The k nearest points lie in the k blocks whose nearest points are
    nearest, so that only the distances of a few blocks are sorted.
    """
    p, axes = len(points), range(points.shape[1])
    wide = min(_BLOCK, -(-p // _BLOCK))  # the number of blocks measured at the same time
    groups = -(-p // (_BLOCK * wide))
    blocks, own = groups * wide, jnp.arange(wide, dtype=jnp.int32)
    points = jnp.pad(points, ((0, blocks * _BLOCK - p), (0, 0))).T
    ranks = points.reshape(-1, groups, wide, _BLOCK).swapaxes(2, 3)

    def search(places: jax.Array) -> tuple[jax.Array, jax.Array]:
        def closest(group: jax.Array, least: jax.Array) -> jax.Array:
            def closer(rank: jax.Array, least: jax.Array) -> jax.Array:
                away = sum(
                    (ranks[axis, group, rank][None] - places[:, axis, None]) ** 2 for axis in axes
                )
                there = (group * wide + own) * _BLOCK + rank < count
                return jnp.minimum(least, jnp.where(there[None], away, jnp.inf))

            own_least = jax.lax.fori_loop(
                0, _BLOCK, closer, jnp.full((len(places), wide), jnp.inf, points.dtype)
            )
            return jax.lax.dynamic_update_slice_in_dim(least, own_least, group * wide, 1)

        least = jnp.full((len(places), blocks), jnp.inf, points.dtype)
        least = jax.lax.fori_loop(0, -(-count // (_BLOCK * wide)), closest, least)
        block = jnp.sort(jax.lax.top_k(-least, min(k, blocks))[1], 1)
        index = block[:, :, None] * _BLOCK + jnp.arange(_BLOCK, dtype=jnp.int32)[None, None]
        away = sum(
            (points[axis].reshape(-1, _BLOCK)[block] - places[:, axis, None, None]) ** 2
            for axis in axes
        )
        away = jnp.where(index < count, away, jnp.inf).reshape(len(places), -1)
        negative, which = jax.lax.top_k(-away, k)
        nearest = jnp.take_along_axis(index.reshape(away.shape), which, 1)
        return nearest.astype(jnp.int32), jnp.sqrt(-negative)

    if (n := len(places)) <= _CHUNK:
        return search(places)
    chunks = jnp.pad(places, ((0, -n % _CHUNK), (0, 0))).reshape(-1, _CHUNK, len(axes))
    index, away = jax.lax.map(search, chunks)
    return index.reshape(-1, k)[:n], away.reshape(-1, k)[:n]


class _Boxes(NamedTuple):
    """`p` points, sorted by the boxes of a square that holds them.

    side: int32, the number of boxes along each of its two axes.
    low, width: float `[2]`, of the square.
    order: int32 `[p]`, the index of the point at each position.
    points: float `[d, p]`, in this order.
    ends: int32, how many points lie in all boxes before each.
    """

    side: jax.Array
    low: jax.Array
    width: jax.Array
    order: jax.Array
    points: jax.Array
    ends: jax.Array

    def box_of(self, plane: jax.Array) -> jax.Array:
        """Returns the box along each axis, int32 `[2, n]`, for float `[2, n]`.

        The first and the last box have no outer end.
        """
        share = jnp.nan_to_num((plane - self.low[:, None]) / self.width[:, None])
        return jnp.clip(jnp.floor(share * self.side), 0, self.side - 1).astype(jnp.int32)


def _plane(places: jax.Array) -> jax.Array:
    """Returns the first two axes, float `[2, n]`; for one axis, zeros and this axis."""
    if places.shape[1] > 1:
        return places.T[:2]
    return jnp.concatenate([jnp.zeros_like(places.T), places.T])


def _sort_into_boxes(points: jax.Array, count: jax.Array, side: jax.Array, most: int) -> _Boxes:
    """Returns the first `count` of `points` in boxes, `side` along each axis, at most `most`."""
    index = jnp.arange(len(points), dtype=jnp.int32)
    valid, plane = (index < count)[None], _plane(points)
    low, high = jnp.where(valid, plane, jnp.inf).min(1), jnp.where(valid, plane, -jnp.inf).max(1)
    boxes = _Boxes(side, low, jnp.where(high > low, high - low, 1), index, points, index)
    box = boxes.box_of(plane)
    packed = jnp.where(valid[0], box[0] * side + box[1], most**2) * len(points) + index
    packed = jax.lax.sort(packed, is_stable=False)
    order = packed % len(points)
    first = jnp.arange(most**2 + 1, dtype=jnp.int32) * len(points)
    ends = jnp.searchsorted(packed, first).astype(jnp.int32)
    return boxes._replace(order=order, points=points.T[:, order], ends=ends)


def _search_around(
    boxes: _Boxes, places: jax.Array, k: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns what `neighbours` returns, from the nine boxes around each place alone.

    The third value, bool `[n]`, says whether this is the answer for all points.
    """
    box, (p, n) = boxes.box_of(_plane(places)), (len(boxes.order), len(places))
    first, last = jnp.maximum(box - 1, 0), jnp.minimum(box + 1, boxes.side - 1)
    row = box[:1] + jnp.arange(-1, 2, dtype=jnp.int32)[:, None]
    begin = jnp.clip(row, 0, boxes.side - 1) * boxes.side
    start = boxes.ends[begin + first[1:]]
    in_square = row == jnp.clip(row, 0, boxes.side - 1)
    stop = jnp.where(in_square, boxes.ends[begin + last[1:] + 1], start)
    short = ((stop - start) * _LONG <= boxes.ends[-1] + _SHORT * _LONG).all(0)
    stop = jnp.where(short[None], stop, start)

    def compare(state: Any) -> Any:
        i, closest, least, away = state
        at = start[:, None] + (i + jnp.arange(_STRIDE, dtype=jnp.int32))[None, :, None]
        in_run, at = (at < stop[:, None]).reshape(-1, n), jnp.minimum(at, p - 1).reshape(-1, n)
        far = sum(
            (axis[at] - place[None]) ** 2
            for axis, place in zip(boxes.points, places.T, strict=True)
        )
        far = jnp.where(in_run, far, jnp.inf)
        nearer = far.min(0)
        first = jnp.where(far == nearer[None], boxes.order[at], p).min(0)
        better = (nearer < least) | ((nearer == least) & (first < closest))
        closest = jnp.where(better, first, closest)
        away = jax.lax.fori_loop(0, len(far), lambda j, away: with_distance(away, far[j]), away)
        return i + _STRIDE, closest, jnp.minimum(least, nearer), away

    longest, none = (stop - start).max(), jnp.full((k, n), jnp.inf, places.dtype)
    initial = jnp.int32(0), jnp.zeros(n, jnp.int32), none[0], none
    _, closest, _, away = jax.lax.while_loop(lambda state: state[0] < longest, compare, initial)
    away, reach = jnp.sqrt(away), _reach(boxes, places, first, last)
    return closest, away, short & ((away[-1] < reach) | (reach == jnp.inf))


def _reach(boxes: _Boxes, places: jax.Array, first: jax.Array, last: jax.Array) -> jax.Array:
    """Returns a lower bound of the distance to the points outside the boxes, float `[n]`.

    first, last: int32 `[2, n]`, the first and the last box along each axis.
    """
    low, width, plane = boxes.low[:, None], boxes.width[:, None], _plane(places)
    below = jnp.where(first == 0, jnp.inf, plane - (low + width * (first / boxes.side)))
    above = jnp.where(
        last == boxes.side - 1, jnp.inf, low + width * ((last + 1) / boxes.side) - plane
    )
    # boxes are found by rounding
    slack = 16 * jnp.finfo(places.dtype).eps * (jnp.abs(low) + width + jnp.abs(plane))
    return (jnp.minimum(below, above) - slack).min(0)

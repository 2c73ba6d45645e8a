"""The nearest of many points, exactly, without measuring the distance to all of them where they lie spread out.

Space is cut into equal boxes along its first two axes, and the points are put in the order of the
boxes. The neighbours of a place are looked for in its box and the eight around it, which are three
runs of that order. They are the nearest of all if the last of them is nearer than what lies outside
these boxes can be. For a place where that is not so, and where the runs are long as the points lie in
a heap, the distances to all points are measured.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

EXPECTED = 3.3  # times k points lie nearer than a box is wide if all are spread evenly, so that seldom fewer than k do
FEWEST = 8  # boxes along an axis: with fewer, those around a place are most of them
PACKED = 2**31  # a box and a point of it are sorted as one int32
STRIDE = 16  # points of a run that are measured at the same time
AGAIN = 64  # places for which all points are measured at the same time
LONG = 32  # a run that holds one in so many of all points is too long to go through, if it is not
SHORT = 64  # as short as this anyhow
BLOCK = 64  # points that are left out together where the nearest of them is too far; and such blocks
TOGETHER = 1024  # places that are held against blocks at the same time


def neighbours(places: jax.Array, points: jax.Array, count: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """Who of the first `count` of `points` `[p, d]` is nearest to each of `places` `[n, d]`; how far `k` of them are.

    int32 `[n]`, the first of equals, and float `[k, n]`, rising, infinite where there are fewer. Places are finite.
    """
    even = math.pi ** (points.shape[1] / 2) / math.gamma(points.shape[1] / 2 + 1) / (EXPECTED * k)
    along = lambda count: (count * even) ** (1 / points.shape[1])  # boxes, for points that are spread evenly
    most = min(int(along(len(points))), math.isqrt(PACKED // len(points) - 1))
    if most < FEWEST:
        index, away = measured(places, points, count, k)
        return index[:, 0], away.T
    boxes = _boxed(points, count, jnp.clip(along(count), 1, most).astype(jnp.int32), most)
    closest, away, sure = _around(boxes, places, k)

    def all_points(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        sure, closest, away = state
        unsure, rows = jax.lax.top_k((~sure).astype(jnp.int32), min(len(sure), AGAIN))
        rows = jnp.where(unsure > 0, rows, len(sure))
        index, far = measured(places[rows], points, count, k)
        put = lambda old, new: old.at[..., rows].set(new, mode="drop")
        return put(sure, True), put(closest, index[:, 0]), put(away, far.T)

    _, closest, away = jax.lax.while_loop(lambda state: ~state[0].all(), all_points, (sure, closest, away))
    return closest, away


def inserted(away: jax.Array, far: jax.Array) -> jax.Array:
    """float `[k, n]`: the least of the distances `away` `[k, n]`, rising in each column, and one more, `far` `[n]`."""
    beside = jnp.concatenate([jnp.full_like(away[:1], -jnp.inf), away[:-1]])
    return jnp.minimum(away, jnp.maximum(beside, far[None]))


def measured(places: jax.Array, points: jax.Array, count: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """The `k` nearest of the first `count` of `points` `[p, d]` to each of `places` `[n, d]`, and how far.

    int32 and float `[n, k]`: the nearest first, of equals the first; at an infinite distance where there are fewer.

    The k nearest lie in those k blocks of points whose own nearest are nearest, so that distances are
    put in order for the points of a few blocks alone.
    """
    p, axes = len(points), range(points.shape[1])
    wide = min(BLOCK, -(-p // BLOCK))  # blocks that are measured at the same time
    groups = -(-p // (BLOCK * wide))
    blocks, own = groups * wide, jnp.arange(wide, dtype=jnp.int32)
    points = jnp.pad(points, ((0, blocks * BLOCK - p), (0, 0))).T
    ranks = points.reshape(-1, groups, wide, BLOCK).swapaxes(2, 3)

    def search(places: jax.Array) -> tuple[jax.Array, jax.Array]:
        def closest(group: jax.Array, least: jax.Array) -> jax.Array:
            def closer(rank: jax.Array, least: jax.Array) -> jax.Array:
                away = sum((ranks[axis, group, rank][None] - places[:, axis, None]) ** 2 for axis in axes)
                there = (group * wide + own) * BLOCK + rank < count
                return jnp.minimum(least, jnp.where(there[None], away, jnp.inf))

            own_least = jax.lax.fori_loop(0, BLOCK, closer, jnp.full((len(places), wide), jnp.inf, points.dtype))
            return jax.lax.dynamic_update_slice_in_dim(least, own_least, group * wide, 1)

        least = jnp.full((len(places), blocks), jnp.inf, points.dtype)
        least = jax.lax.fori_loop(0, -(-count // (BLOCK * wide)), closest, least)
        block = jnp.sort(jax.lax.top_k(-least, min(k, blocks))[1], 1)
        index = block[:, :, None] * BLOCK + jnp.arange(BLOCK, dtype=jnp.int32)[None, None]
        away = sum((points[axis].reshape(-1, BLOCK)[block] - places[:, axis, None, None]) ** 2 for axis in axes)
        away = jnp.where(index < count, away, jnp.inf).reshape(len(places), -1)
        less, which = jax.lax.top_k(-away, k)
        return jnp.take_along_axis(index.reshape(away.shape), which, 1).astype(jnp.int32), jnp.sqrt(-less)

    if (n := len(places)) <= TOGETHER:
        return search(places)
    some = jnp.pad(places, ((0, -n % TOGETHER), (0, 0))).reshape(-1, TOGETHER, len(axes))
    index, away = jax.lax.map(search, some)
    return index.reshape(-1, k)[:n], away.reshape(-1, k)[:n]


class Boxes(NamedTuple):
    """`p` points in the order of the boxes of a square in which they lie.

    side: int32, how many boxes along each of its two axes.
    low, width: float `[2]`, of the square.
    order: int32 `[p]`, which point stands there.
    points: float `[d, p]`, in this order.
    ends: int32, how many points lie in all boxes before each.
    """

    side: jax.Array
    low: jax.Array
    width: jax.Array
    order: jax.Array
    points: jax.Array
    ends: jax.Array

    def of(self, plane: jax.Array) -> jax.Array:
        """int32 `[2, n]`: the box along each axis for float `[2, n]`; the first and the last have no end."""
        share = jnp.nan_to_num((plane - self.low[:, None]) / self.width[:, None])
        return jnp.clip(jnp.floor(share * self.side), 0, self.side - 1).astype(jnp.int32)


def _plane(places: jax.Array) -> jax.Array:
    """float `[2, n]`: the first two axes; of one axis, nought and the axis."""
    return places.T[:2] if places.shape[1] > 1 else jnp.concatenate([jnp.zeros_like(places.T), places.T])


def _boxed(points: jax.Array, count: jax.Array, side: jax.Array, most: int) -> Boxes:
    """The first `count` of `points` in boxes, of which `most` along an axis is the most that `side` can be."""
    number = jnp.arange(len(points), dtype=jnp.int32)
    there, plane = (number < count)[None], _plane(points)
    low, high = jnp.where(there, plane, jnp.inf).min(1), jnp.where(there, plane, -jnp.inf).max(1)
    boxes = Boxes(side, low, jnp.where(high > low, high - low, 1), number, points, number)
    box = boxes.of(plane)
    packed = jnp.where(there[0], box[0] * side + box[1], most**2) * len(points) + number
    packed = jax.lax.sort(packed, is_stable=False)
    order = packed % len(points)
    ends = jnp.searchsorted(packed, jnp.arange(most**2 + 1, dtype=jnp.int32) * len(points)).astype(jnp.int32)
    return boxes._replace(order=order, points=points.T[:, order], ends=ends)


def _around(boxes: Boxes, places: jax.Array, k: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What `neighbours` gives, of the nine boxes around each place; and bool `[n]`, whether it is so of all points."""
    box, (p, n) = boxes.of(_plane(places)), (len(boxes.order), len(places))
    first, last = jnp.maximum(box - 1, 0), jnp.minimum(box + 1, boxes.side - 1)
    row = box[:1] + jnp.arange(-1, 2, dtype=jnp.int32)[:, None]
    begin = jnp.clip(row, 0, boxes.side - 1) * boxes.side
    start = boxes.ends[begin + first[1:]]
    stop = jnp.where(row == jnp.clip(row, 0, boxes.side - 1), boxes.ends[begin + last[1:] + 1], start)
    short = ((stop - start) * LONG <= boxes.ends[-1] + SHORT * LONG).all(0)
    stop = jnp.where(short[None], stop, start)

    def compare(state: Any) -> Any:
        i, closest, least, away = state
        at = start[:, None] + (i + jnp.arange(STRIDE, dtype=jnp.int32))[None, :, None]
        there, at = (at < stop[:, None]).reshape(-1, n), jnp.minimum(at, p - 1).reshape(-1, n)
        far = sum((axis[at] - place[None]) ** 2 for axis, place in zip(boxes.points, places.T, strict=True))
        far = jnp.where(there, far, jnp.inf)
        nearer = far.min(0)
        first = jnp.where(far == nearer[None], boxes.order[at], p).min(0)
        closest = jnp.where((nearer < least) | ((nearer == least) & (first < closest)), first, closest)
        away = jax.lax.fori_loop(0, len(far), lambda j, away: inserted(away, far[j]), away)
        return i + STRIDE, closest, jnp.minimum(least, nearer), away

    longest, none = (stop - start).max(), jnp.full((k, n), jnp.inf, places.dtype)
    nobody = jnp.int32(0), jnp.zeros(n, jnp.int32), none[0], none
    _, closest, _, away = jax.lax.while_loop(lambda state: state[0] < longest, compare, nobody)
    away, reach = jnp.sqrt(away), _reach(boxes, places, first, last)
    return closest, away, short & ((away[-1] < reach) | (reach == jnp.inf))


def _reach(boxes: Boxes, places: jax.Array, first: jax.Array, last: jax.Array) -> jax.Array:
    """float `[n]`: how near a point can be that lies outside the boxes from `first` to `last`, int32 `[2, n]`."""
    low, width, plane = boxes.low[:, None], boxes.width[:, None], _plane(places)
    below = jnp.where(first == 0, jnp.inf, plane - (low + width * (first / boxes.side)))
    above = jnp.where(last == boxes.side - 1, jnp.inf, low + width * ((last + 1) / boxes.side) - plane)
    slack = 16 * jnp.finfo(places.dtype).eps * (jnp.abs(low) + width + jnp.abs(plane))  # as boxes are found by rounding
    return (jnp.minimum(below, above) - slack).min(0)

"""A fast local optimiser for circle packing, and two searches without an archive to compare with.

`relax` turns many rough layouts into locally good ones at once: an augmented Lagrangian, minimised
by L-BFGS, all layouts side by side in one compiled function, about 2 ms each. `tighten` then takes a
promising one to the local optimum to the last digit, by a few linear programmes. `multistart` and
`basin_hopping` put the two to work; `improve` is what a `Polish` operator calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.elites import double

from .circle_packing import sides

# Weights of an overlap, stage by stage. Soft first stages forget the layout and find a better one on
# average; hard ones keep it, and mend what was changed.
AFRESH = (1.0, 4.0, 20.0, 100.0, 300.0)
NEARBY = (20.0, 100.0, 300.0, 1000.0, 1000.0)
STEPS = 45  # evaluations in each stage
MEMORY = 6  # corrections that L-BFGS keeps
LANES = 16  # layouts relaxed at once: more do not fit the cache


def relax(layouts: np.ndarray, weights: tuple[float, ...]) -> np.ndarray:
    """Locally good circles, float `[m, n, 3]`: x, y and radius, from rough centres `[m, n, 2]`.

    The sum of radii is an estimate: `tighten` makes about 0.01 more of it, seldom more than 0.04.
    """
    m, n, _ = layouts.shape
    rough = np.full((-(-m // LANES) * LANES, n, 3), 0.5 / np.sqrt(n))
    rough[:m, :, :2] = layouts
    with double():
        parts = [np.asarray(_relax(jnp.asarray(p), jnp.asarray(weights))) for p in np.split(rough, len(rough) // LANES)]
    circles = np.concatenate(parts)[:m]
    return np.concatenate([np.clip(circles[..., :2], 0, 1), circles[..., 2:]], -1)


@jax.jit
def _relax(circles: jax.Array, weights: jax.Array) -> jax.Array:
    """`[LANES, n, 3]`, x, y and radius of each circle, after the augmented Lagrangian."""
    n = circles.shape[1]
    before = jnp.concatenate([weights[:1], weights[:-1]])

    def stage(state, weight):
        circle, push = state  # push: multiplier / weight of each constraint
        now, last = weight
        push = jax.tree.map(lambda p: p * last / now, push)
        circle = _lbfgs(lambda z: _lagrangian(z, push, now), circle)
        return (circle, jax.tree.map(lambda p, e: jnp.maximum(0, p + e), push, _excess(circle))), None

    def one(circle):
        start = (circle, (jnp.zeros((n, n)), jnp.zeros((n, 4))))
        return jax.lax.scan(stage, start, (weights, before))[0][0]

    return jax.vmap(one)(circles)


def _excess(circle: jax.Array) -> tuple[jax.Array, jax.Array]:
    """How far each constraint is broken: (r + r')² - d² of pairs `[n, n]`, and r - distance to each side `[n, 4]`."""
    centre, r = circle[:, :2], circle[:, 2:]
    own = r[:, 0] ** 2 - (centre**2).sum(1)
    pair = 2 * circle @ circle.T + own[:, None] + own[None, :]
    return pair - 10.0 * jnp.eye(len(circle)), jnp.concatenate([r - centre, r + centre - 1], 1)


def _lagrangian(circle: jax.Array, push: tuple[jax.Array, jax.Array], weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Minus the sum of radii, plus weight / 2 times the squares of pushed excesses; and the gradient `[n, 3]`."""
    pair, side = (jnp.maximum(0, e + p) for e, p in zip(_excess(circle), push, strict=True))
    value = -circle[:, 2].sum() + weight / 2 * ((pair**2).sum() / 2 + (side**2).sum())
    own, others = pair.sum(1)[:, None] * circle, pair @ circle
    centre = 2 * (others - own)[:, :2] + side[:, 2:] - side[:, :2]
    radius = 2 * (others + own)[:, 2] + side.sum(1) - 1 / weight
    return value, weight * jnp.concatenate([centre, radius[:, None]], 1)


class _State(NamedTuple):
    """L-BFGS between two evaluations: where it is, the way down, how far along it, what it remembers."""

    x: jax.Array
    value: jax.Array
    slope: jax.Array
    way: jax.Array
    length: jax.Array
    moves: jax.Array
    turns: jax.Array
    scale: jax.Array


def _lbfgs(function: Callable[[jax.Array], tuple[jax.Array, jax.Array]], x: jax.Array) -> jax.Array:
    """`STEPS` evaluations of L-BFGS (Nocedal 1980). A step that does not descend is shortened and tried again."""

    def step(_: int, s: _State) -> _State:
        x = s.x + s.length * s.way
        value, slope = function(x)
        lower = value <= s.value + 1e-4 * s.length * (s.slope * s.way).sum()
        move, turn = x - s.x, slope - s.slope
        curve = (move * turn).sum()
        learn = lower & (curve > 1e-12 * (turn**2).sum())
        keep = lambda old, new: jnp.where(learn, jnp.concatenate([old[1:], new[None]]), old)
        moves, turns = keep(s.moves, move), keep(s.turns, turn)
        scale = jnp.where(learn, curve / jnp.where(learn, (turn**2).sum(), 1.0), s.scale)
        x, value, slope = (jnp.where(lower, new, old) for new, old in ((x, s.x), (value, s.value), (slope, s.slope)))
        way = jnp.where(lower, _descent(slope, moves, turns, scale), s.way)
        return _State(x, value, slope, way, jnp.where(lower, 1.0, 0.35 * s.length), moves, turns, scale)

    value, slope = function(x)
    scale, nothing = 0.1 / jnp.sqrt((slope**2).sum()), jnp.zeros((MEMORY, *x.shape))
    start = _State(x, value, slope, -scale * slope, jnp.ones(()), nothing, nothing, scale)
    return jax.lax.fori_loop(0, STEPS, step, start).x


def _descent(slope: jax.Array, moves: jax.Array, turns: jax.Array, scale: jax.Array) -> jax.Array:
    """Minus the inverse Hessian times the slope, by the two loops; an empty place of the memory changes nothing."""
    curves = (moves * turns).sum((1, 2))
    inverse = jnp.where(curves > 0, 1 / jnp.where(curves > 0, curves, 1.0), 0.0)
    way, parts = slope, []
    for k in reversed(range(MEMORY)):
        parts.append(inverse[k] * (moves[k] * way).sum())
        way = way - parts[-1] * turns[k]
    way = scale * way
    for k, part in enumerate(reversed(parts)):
        way = way + (part - inverse[k] * (turns[k] * way).sum()) * moves[k]
    return jnp.where((way * slope).sum() > 0, -way, -scale * slope)


def tighten(centres: np.ndarray, hope: float = -np.inf) -> tuple[np.ndarray, float]:
    """The local optimum above `centres` `[n, 2]`, and its sum of radii to about 1e-12.

    Each linear programme moves centres and radii at once, with every distance replaced by its
    tangent: distances are convex, so the tangent never promises room that is not there, and the sum
    never falls. It ends early when the sum is unlikely to pass `hope`.
    """
    value = -np.inf
    for turn in range(40):
        centres, after = _linear_step(centres)
        gain, value = after - value, after
        if gain < 1e-13 or (turn > 0 and value + 3 * gain < hope):
            break
    return centres, value


def _linear_step(centres: np.ndarray, reach: float = 0.05) -> tuple[np.ndarray, float]:
    """Centres, each coordinate moved by at most `reach`, and their sum of radii, under tangent distances."""
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    n, side = len(centres), sides(centres)
    i, j = np.triu_indices(n, 1)
    length = np.linalg.norm(centres[i] - centres[j], axis=1)
    near = (length < side[i] + side[j] + 5 * reach) & (length > 0)  # the others cannot meet after the move
    i, j, length = i[near], j[near], length[near]
    x, y = ((centres[i] - centres[j]) / length[:, None]).T
    pair, centre, one = np.arange(len(i)), np.arange(4 * n), np.ones(len(i))
    entries = [(-x, pair, 2 * i), (x, pair, 2 * j), (-y, pair, 2 * i + 1), (y, pair, 2 * j + 1)]
    entries += [(one, pair, 2 * n + i), (one, pair, 2 * n + j)]
    entries += [(np.tile([-1.0, 1.0], 2 * n), len(i) + centre, centre // 2)]
    entries += [(np.ones(4 * n), len(i) + centre, 2 * n + centre // 4)]
    data, row, column = (np.concatenate(part) for part in zip(*entries, strict=True))
    flat = centres.ravel()
    limits = np.concatenate([length, np.stack([flat, 1 - flat], 1).ravel()])
    box = np.concatenate([np.tile([[-reach, reach]], (2 * n, 1)), np.tile([[0.0, 0.5]], (n, 1))])
    cost = np.concatenate([np.zeros(2 * n), -np.ones(n)])
    matrix = csr_array((data, (row, column)), shape=(len(limits), 3 * n))
    found = linprog(cost, A_ub=matrix, b_ub=limits, bounds=box, method="highs-ds")
    return np.clip(centres + found.x[: 2 * n].reshape(n, 2), 0, 1), -found.fun


def improve(genomes: np.ndarray) -> np.ndarray:
    """Each genome `[m, 2 n]` relaxed and taken to its local optimum: for `Polish`."""
    circles = relax(np.asarray(genomes, np.float64).reshape(len(genomes), -1, 2), NEARBY)
    return np.stack([tighten(c)[0].ravel() for c in circles[..., :2]])


def relocate(random: np.random.Generator, genomes: np.ndarray) -> np.ndarray:
    """Genomes `[m, 2 n]` with some circles moved: one to three put anywhere, or all those of a round window stirred.

    Each of the two for half of the genomes; the other circles move a little.
    """
    m, n = len(genomes), genomes.shape[1] // 2
    centres, noise = genomes.reshape(m, n, 2), random.standard_normal((2, m, n, 2))
    few = random.random((m, n)).argsort(1) < random.integers(1, 4, (m, 1))
    width = random.uniform(0.1, 0.35, (m, 1))
    window = np.linalg.norm(centres - random.random((m, 1, 2)), axis=-1) < width
    anywhere = np.where(few[..., None], random.random((m, n, 2)), centres + 0.01 * noise[0])
    stirred = centres + np.where(window, width / 2, 0.005)[..., None] * noise[1]
    return np.clip(np.where(random.random((m, 1, 1)) < 0.5, anywhere, stirred), 0, 1).reshape(m, 2 * n)


class Found(NamedTuple):
    """The best so far: after how many CPU-seconds and relaxed layouts, its sum of radii, its centres."""

    seconds: float
    layouts: int
    value: float
    centres: np.ndarray


def multistart(n: int, seed: int) -> Iterator[Found]:
    """Relaxes random layouts for ever; yields the best after each `LANES` of them."""
    random, best = np.random.default_rng(seed), Best(n)
    while True:
        best.of(relax(random.random((LANES, n, 2)), AFRESH), best.value)
        yield best.found()


def basin_hopping(n: int, seed: int, patience: int = 25) -> Iterator[Found]:
    """Moves a layout to the best of `LANES` relocations if that is better; anew after `patience` failures.

    Yields the best after each `LANES` relaxed layouts.
    """
    random, best = np.random.default_rng(seed), Best(n)
    while True:
        here, value = best.of(relax(random.random((LANES, n, 2)), AFRESH), -np.inf)
        yield best.found()
        failures = 0
        while failures < patience:
            moved = relocate(random, np.tile(here.ravel(), (LANES, 1))).reshape(LANES, n, 2)
            centres, after = best.of(relax(moved, NEARBY), value)
            here, value, failures = (centres, after, 0) if after > value + 1e-9 else (here, value, failures + 1)
            yield best.found()


class Best:
    """The best layout of one search, and what it has cost: CPU-seconds since it began, layouts relaxed."""

    def __init__(self, n: int):
        self.centres, self.value, self.layouts, self.began = np.zeros((n, 2)), -np.inf, 0, time.process_time()

    def of(self, circles: np.ndarray, hope: float, slack: float = 0.012) -> tuple[np.ndarray, float]:
        """The best of relaxed `circles` `[m, n, 3]` and its sum of radii; -inf if none may pass `hope`.

        Those are tightened whose estimate is at most `slack` below `hope`, the greatest first.
        """
        estimates = circles[..., 2].sum(1)
        self.layouts += len(circles)
        chosen, value = circles[0, :, :2], -np.inf
        for k in np.argsort(-estimates):
            if estimates[k] < max(hope, value) - slack:
                break
            centres, after = tighten(circles[k, :, :2], max(hope, value))
            if after > value:
                chosen, value = centres, after
        if value > self.value:
            self.centres, self.value = chosen, value
        return chosen, value

    def found(self) -> Found:
        """The best so far."""
        return Found(time.process_time() - self.began, self.layouts, self.value, self.centres)


__all__ = [
    "AFRESH",
    "NEARBY",
    "Best",
    "Found",
    "basin_hopping",
    "improve",
    "multistart",
    "relax",
    "relocate",
    "tighten",
]

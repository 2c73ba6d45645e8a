"""A fast local optimiser for circle packing, and two baseline searches without an archive.

`relax` turns many rough layouts into locally good ones at once: it minimises an augmented
Lagrangian by L-BFGS, for all layouts in one compiled function, in about 2 ms each. `tighten` then
takes a promising layout to the local optimum, to the last digit, by a few linear programmes.
`multistart` and `basin_hopping` are searches that use the two; a `Polish` operator calls
`improve`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.core.elites import double
from qdkit.core.seeds import numpy_seed
from qdkit.domains.mathematics.circle_packing import sides

# The weights of an overlap in each stage. Soft first stages leave the layout and find a better one
# on average; hard ones stay near the layout and repair a change of it.
AFRESH = (1.0, 4.0, 20.0, 100.0, 300.0)
NEARBY = (20.0, 100.0, 300.0, 1000.0, 1000.0)
_STEPS = 45  # evaluations in each stage
_MEMORY = 6  # corrections that L-BFGS keeps
LANES = 16  # layouts relaxed at once; more would not fit the cache


def relax(layouts: np.ndarray, weights: tuple[float, ...]) -> np.ndarray:
    """Returns locally good circles `[m, n, 3]` (x, y, radius) from rough centres `[m, n, 2]`.

    Their sum of radii is an estimate: `tighten` adds about 0.01 to it, seldom more than 0.04.
    """
    m, n, _ = layouts.shape
    rough = np.full((-(-m // LANES) * LANES, n, 3), 0.5 / np.sqrt(n))
    rough[:m, :, :2] = layouts
    with double():
        parts = [
            np.asarray(_relax(jnp.asarray(p), jnp.asarray(weights)))
            for p in np.split(rough, len(rough) // LANES)
        ]
    circles = np.concatenate(parts)[:m]
    return np.concatenate([np.clip(circles[..., :2], 0, 1), circles[..., 2:]], -1)


@jax.jit
def _relax(circles: jax.Array, weights: jax.Array) -> jax.Array:
    """Returns circles `[LANES, n, 3]` that minimise the augmented Lagrangian."""
    n = circles.shape[1]
    before = jnp.concatenate([weights[:1], weights[:-1]])

    def stage(state, weight):
        circle, push = state  # push: multiplier / weight of each constraint
        now, last = weight
        push = jax.tree.map(lambda p: p * last / now, push)
        circle = _lbfgs(lambda z: _lagrangian(z, push, now), circle)
        push = jax.tree.map(lambda p, e: jnp.maximum(0, p + e), push, _excess(circle))
        return (circle, push), None

    def one(circle):
        start = (circle, (jnp.zeros((n, n)), jnp.zeros((n, 4))))
        return jax.lax.scan(stage, start, (weights, before))[0][0]

    return jax.vmap(one)(circles)


def _excess(circle: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns how far each constraint is violated.

    These are (r + r')² - d² for each pair, `[n, n]`, and r - distance to each side, `[n, 4]`.
    """
    centre, r = circle[:, :2], circle[:, 2:]
    own = r[:, 0] ** 2 - (centre**2).sum(1)
    pair = 2 * circle @ circle.T + own[:, None] + own[None, :]
    return pair - 10.0 * jnp.eye(len(circle)), jnp.concatenate([r - centre, r + centre - 1], 1)


def _lagrangian(
    circle: jax.Array, push: tuple[jax.Array, jax.Array], weight: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the augmented Lagrangian and its gradient `[n, 3]`.

    Its value is minus the sum of radii, plus weight / 2 times the sum of the squares of
    max(0, excess + push).
    """
    pair, side = (jnp.maximum(0, e + p) for e, p in zip(_excess(circle), push, strict=True))
    value = -circle[:, 2].sum() + weight / 2 * ((pair**2).sum() / 2 + (side**2).sum())
    own, others = pair.sum(1)[:, None] * circle, pair @ circle
    centre = 2 * (others - own)[:, :2] + side[:, 2:] - side[:, :2]
    radius = 2 * (others + own)[:, 2] + side.sum(1) - 1 / weight
    return value, weight * jnp.concatenate([centre, radius[:, None]], 1)


class _State(NamedTuple):
    """The state of L-BFGS between two evaluations."""

    x: jax.Array
    value: jax.Array
    slope: jax.Array  # the gradient
    way: jax.Array  # the direction of descent
    length: jax.Array  # of the next step, in units of `way`
    moves: jax.Array  # the last differences of x
    turns: jax.Array  # the last differences of the gradient
    scale: jax.Array  # of the first approximation of the inverse Hessian


def _lbfgs(
    function: Callable[[jax.Array], tuple[jax.Array, jax.Array]], x: jax.Array
) -> jax.Array:
    """Returns x after `_STEPS` evaluations of L-BFGS (Nocedal 1980).

    A step that does not descend is shortened and tried again.
    """

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
        x, value, slope = (
            jnp.where(lower, new, old)
            for new, old in ((x, s.x), (value, s.value), (slope, s.slope))
        )
        way = jnp.where(lower, _descent(slope, moves, turns, scale), s.way)
        length = jnp.where(lower, 1.0, 0.35 * s.length)
        return _State(x, value, slope, way, length, moves, turns, scale)

    value, slope = function(x)
    scale, empty = 0.1 / jnp.sqrt((slope**2).sum()), jnp.zeros((_MEMORY, *x.shape))
    start = _State(x, value, slope, -scale * slope, jnp.ones(()), empty, empty, scale)
    return jax.lax.fori_loop(0, _STEPS, step, start).x


def _descent(slope: jax.Array, moves: jax.Array, turns: jax.Array, scale: jax.Array) -> jax.Array:
    """Returns minus the inverse Hessian times the gradient, by the two-loop recursion.

    Empty slots of the memory have no effect.
    """
    curves = (moves * turns).sum((1, 2))
    inverse = jnp.where(curves > 0, 1 / jnp.where(curves > 0, curves, 1.0), 0.0)
    way, parts = slope, []
    for k in reversed(range(_MEMORY)):
        parts.append(inverse[k] * (moves[k] * way).sum())
        way = way - parts[-1] * turns[k]
    way = scale * way
    for k, part in enumerate(reversed(parts)):
        way = way + (part - inverse[k] * (turns[k] * way).sum()) * moves[k]
    return jnp.where((way * slope).sum() > 0, -way, -scale * slope)


def tighten(centres: np.ndarray, hope: float = -np.inf) -> tuple[np.ndarray, float]:
    """Returns the local optimum above `centres` `[n, 2]`, and its sum of radii to about 1e-12.

    Each linear programme moves centres and radii at once, with every distance replaced by its
    tangent. Distances are convex, so a tangent never exceeds its distance, and the sum never
    falls. The loop ends early if the sum is unlikely to exceed `hope`.
    """
    value = -np.inf
    for turn in range(40):
        centres, after = _linear_step(centres)
        gain, value = after - value, after
        if gain < 1e-13 or (turn > 0 and value + 3 * gain < hope):
            break
    return centres, value


def _linear_step(centres: np.ndarray, reach: float = 0.05) -> tuple[np.ndarray, float]:
    """Moves each coordinate by at most `reach`, under tangent distances.

    Returns the centres and their sum of radii.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    n, side = len(centres), sides(centres)
    i, j = np.triu_indices(n, 1)
    length = np.linalg.norm(centres[i] - centres[j], axis=1)
    # the other pairs cannot meet after the move
    near = (length < side[i] + side[j] + 5 * reach) & (length > 0)
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
    result = linprog(cost, A_ub=matrix, b_ub=limits, bounds=box, method="highs-ds")
    return np.clip(centres + result.x[: 2 * n].reshape(n, 2), 0, 1), -result.fun


def improve(genomes: np.ndarray) -> np.ndarray:
    """Relaxes genomes `[m, 2 n]` and takes each to its local optimum; for `Polish`."""
    circles = relax(np.asarray(genomes, np.float64).reshape(len(genomes), -1, 2), NEARBY)
    return np.stack([tighten(c)[0].ravel() for c in circles[..., :2]])


def relocate(random: np.random.Generator, genomes: np.ndarray) -> np.ndarray:
    """Returns genomes `[m, 2 n]` with some circles moved.

    With equal chances, one to three circles are put anywhere, or all circles of a round window
    move at random. The other circles move a little.
    """
    m, n = len(genomes), genomes.shape[1] // 2
    centres, noise = genomes.reshape(m, n, 2), random.standard_normal((2, m, n, 2))
    few = random.random((m, n)).argsort(1) < random.integers(1, 4, (m, 1))
    width = random.uniform(0.1, 0.35, (m, 1))
    window = np.linalg.norm(centres - random.random((m, 1, 2)), axis=-1) < width
    anywhere = np.where(few[..., None], random.random((m, n, 2)), centres + 0.01 * noise[0])
    stirred = centres + np.where(window, width / 2, 0.005)[..., None] * noise[1]
    moved = np.where(random.random((m, 1, 1)) < 0.5, anywhere, stirred)
    return np.clip(moved, 0, 1).reshape(m, 2 * n)


class Found(NamedTuple):
    """The best layout so far."""

    seconds: float  # CPU time since the search began
    layouts: int  # relaxed since the search began
    value: float  # the sum of radii
    centres: np.ndarray  # float [n, 2]


def multistart(n: int, seed: int) -> Iterator[Found]:
    """Relaxes random layouts without end; yields the best so far after each `LANES` of them."""
    random, best = np.random.default_rng(numpy_seed(seed)), Best(n)
    while True:
        best.of(relax(random.random((LANES, n, 2)), AFRESH), best.value)
        yield best.found()


def basin_hopping(n: int, seed: int, patience: int = 25) -> Iterator[Found]:
    """Moves a layout to the best of `LANES` relocations if that is better, without end.

    Starts again from random layouts after `patience` failures. Yields the best so far after each
    `LANES` relaxed layouts.
    """
    random, best = np.random.default_rng(numpy_seed(seed)), Best(n)
    while True:
        here, value = best.of(relax(random.random((LANES, n, 2)), AFRESH), -np.inf)
        yield best.found()
        failures = 0
        while failures < patience:
            moved = relocate(random, np.tile(here.ravel(), (LANES, 1))).reshape(LANES, n, 2)
            centres, after = best.of(relax(moved, NEARBY), value)
            if after > value + 1e-9:
                here, value, failures = centres, after, 0
            else:
                failures += 1
            yield best.found()


class Best:
    """The best layout of one search, and the CPU time and relaxed layouts that it has cost."""

    def __init__(self, n: int):
        self.centres, self.value = np.zeros((n, 2)), -np.inf
        self.layouts, self.began = 0, time.process_time()

    def of(
        self, circles: np.ndarray, hope: float, slack: float = 0.012
    ) -> tuple[np.ndarray, float]:
        """Returns the best of relaxed `circles` `[m, n, 3]`, tightened, and its sum of radii.

        Tightens the layouts whose estimate is at most `slack` below `hope` or the best of them so
        far, the greatest estimate first. The sum is -inf if there are none.
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
        """Returns the best layout so far."""
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

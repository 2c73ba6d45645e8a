"""A small robot in a maze, that is to come everywhere with little effort (after Kheperax, Grillotti & Cully 2023).

Geometry and settings are those of Kheperax' standard maze with episodes of 250 steps, as QDHF has it (Ding et al.
2024). One thing is other than there, so that scores do not compare: a step that would touch a wall is not
made, a bumper tells of it, and the robot may turn away. In Kheperax 0.2 it touches the wall and never moves again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.types import Evaluation, Key

# Walls, from (x, y) to (x, y), and the border of the unit square.
WALLS = np.array(
    [
        [(0.25, 0.25), (0.25, 0.75)],
        [(0.14, 0.45), (0.00, 0.65)],
        [(0.25, 0.75), (0.00, 0.80)],
        [(0.25, 0.75), (0.66, 0.875)],
        [(0.355, 0.0), (0.525, 0.185)],
        [(0.25, 0.50), (0.75, 0.215)],
        [(1.00, 0.25), (0.435, 0.55)],
        [(0, 0), (1, 0)],
        [(0, 0), (0, 1)],
        [(0, 1), (1, 1)],
        [(1, 0), (1, 1)],
    ]
)
START = 0.15, 0.15, np.pi / 2  # x, y, and the angle it looks along
RADIUS, SIGHT, SPEED = 0.015, 0.2, 0.025  # of the robot; how far a ray reaches; how far a wheel rolls in a step
RAYS = np.array([-np.pi / 4, 0, np.pi / 4])
INPUTS, HIDDEN, WHEELS = 5, 8, 2
PICTURE, BLUR = 16, 0.05  # pixels along each side of the picture from above; how far the robot's spot spreads


@dataclass(frozen=True)
class Maze:
    """A robot with two wheels, three rays and two bumpers, that a small network steers for some `steps`.

    A genome is its 66 weights, float `[66]`: from 3 rays (0 to 0.2) and 2 bumpers (1 pressed, else -1) through 8 hidden
    units (relu) to the speeds of the wheels (tanh). The objective is 100 (0.3 - Σ v²) / 0.3, of the distances v that
    both wheels roll in each step: 100 for who stays where it is. The descriptor is where it ends.

    steps: 250 in QDHF, 1,000 in Kheperax.
    see: what its features are, which take the place of the descriptor: none ("end"); or for axes that are learnt the
      path, float `[n, 2 * steps]` (all x, then all y), or a picture of the end from above, float `[n, 256]`, 16 × 16
      pixels between 0 and 1.
    """

    steps: int = 250
    see: Literal["end", "path", "picture"] = "end"

    names: ClassVar[tuple[str, str]] = ("final x", "final y")
    bounds: ClassVar[tuple[tuple[float, float], tuple[float, float]]] = ((0.0, 1.0), (0.0, 1.0))
    limits: ClassVar[None] = None

    def __post_init__(self) -> None:
        if self.steps != int(self.steps) or self.steps < 1:
            raise ValueError(f"steps is {self.steps}: a whole number from 1 is needed")
        if self.see not in ("end", "path", "picture"):
            raise ValueError(f"see is 'end', 'path' or 'picture', not {self.see!r}")

    @property
    def floor(self) -> float:
        """The objective of who rolls at full speed all the time, and 0 at most."""
        return min(0.0, 100 * (0.3 - self.steps * 2 * SPEED**2) / 0.3)

    def seeds(self, key: Key, n: int) -> np.ndarray:
        """Weights uniform within ±√(3 / inputs) of their unit, biases 0 (LeCun)."""
        first, second = jax.random.split(key)
        uniform = lambda key, fan, *shape: jax.random.uniform(key, shape, jnp.float32, -1, 1) * np.sqrt(3 / fan)
        parts = [
            uniform(first, INPUTS, n, INPUTS * HIDDEN),
            jnp.zeros((n, HIDDEN)),
            uniform(second, HIDDEN, n, HIDDEN * WHEELS),
            jnp.zeros((n, WHEELS)),
        ]
        return np.asarray(jnp.concatenate(parts, 1), np.float32)

    def evaluate(self, genomes: Any) -> Evaluation:
        objective, path = walked(genomes, self.steps)
        last = path[:, -1]
        if self.see == "end":
            return Evaluation(objective, last)
        return Evaluation(objective, features=_coordinates(path) if self.see == "path" else seen(last))

    def draw(self, genome: Any, ax: Any) -> Any:
        """The walls and the robot's path through them, from a square to a dot."""
        path = np.asarray(walked(np.asarray(genome)[None], self.steps)[1])[0]
        path = np.concatenate([[START[:2]], path])
        for wall in WALLS:
            ax.plot(*wall.T, color="dimgrey", linewidth=2, solid_capstyle="round")
        ax.plot(*path.T, color="tab:blue", linewidth=1.5)
        ax.scatter(*path[0], s=30, marker="s", color="black", zorder=3)
        ax.scatter(*path[-1], s=30, color="tab:orange", zorder=3)
        ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        ax.set_axis_off()
        return ax


def _coordinates(path: jax.Array) -> jax.Array:
    """float `[n, 2 * steps]`: all x, then all y."""
    return path.swapaxes(1, 2).reshape(len(path), -1)


class _Robot(NamedTuple):
    place: jax.Array  # float [2]
    angle: jax.Array
    pressed: jax.Array  # float [2]: left, right
    effort: jax.Array  # the sum of the squares of what the wheels rolled


def walked(genomes: Any, steps: int) -> tuple[jax.Array, jax.Array]:
    """The objectives float `[n]`, and the places after each step, float `[n, steps, 2]`."""
    return _walked(jnp.asarray(genomes), steps)


@jax.jit
def seen(places: jax.Array) -> jax.Array:
    """float `[n, 256]`: each place as a soft spot in a picture of the maze from above, row by row from below."""
    middle = (jnp.arange(PICTURE) + 0.5) / PICTURE
    spot = lambda x: jnp.exp(-0.5 * ((middle[None] - x[:, None]) / BLUR) ** 2)
    return (spot(places[:, 1])[:, :, None] * spot(places[:, 0])[:, None]).reshape(len(places), -1)


@jax.jit
def rays(place: jax.Array, angle: jax.Array) -> jax.Array:
    """float `[3]`: how far it is to the next wall along each ray, `SIGHT` at most."""
    along = jnp.stack([jnp.cos(angle + RAYS), jnp.sin(angle + RAYS)], 1)[:, None]
    begin, edge = jnp.asarray(WALLS[:, 0], place.dtype), jnp.asarray(WALLS[:, 1] - WALLS[:, 0], place.dtype)
    here = (begin - place[None])[None]
    over = _cross(along, edge[None])
    safe = jnp.where(jnp.abs(over) > 1e-9, over, 1.0)
    gone, where = _cross(here, edge[None]) / safe, _cross(here, along) / safe
    meets = (jnp.abs(over) > 1e-9) & (gone >= 0) & (where >= 0) & (where <= 1)
    return jnp.where(meets, gone, SIGHT).min(1).clip(0, SIGHT)


def _cross(a: jax.Array, b: jax.Array) -> jax.Array:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _touch(place: jax.Array, angle: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Whether a wall is within the robot's radius; and on which side ahead, float `[2]` of 1 and -1: left, right."""
    begin, edge = jnp.asarray(WALLS[:, 0], place.dtype), jnp.asarray(WALLS[:, 1] - WALLS[:, 0], place.dtype)
    share = (((place[None] - begin) * edge).sum(1) / (edge**2).sum(1)).clip(0, 1)
    away = begin + share[:, None] * edge - place[None]
    near = (away**2).sum(1) <= RADIUS**2
    turned = (jnp.arctan2(away[:, 1], away[:, 0]) - angle + jnp.pi) % (2 * jnp.pi) - jnp.pi
    left = (near & (turned >= 0) & (turned < jnp.pi / 2)).any()
    right = (near & (turned <= 0) & (turned > -jnp.pi / 2)).any()
    return near.any(), jnp.where(jnp.stack([left, right]), 1.0, -1.0).astype(place.dtype)


def _rolled(place: jax.Array, angle: jax.Array, wheels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Place and angle after the left and the right wheel have rolled so far: an arc of a circle."""
    turn = (wheels[1] - wheels[0]) / (2 * RADIUS)
    chord = wheels.mean() * jnp.sinc(turn / (2 * jnp.pi))
    ahead = angle + turn / 2
    return place + chord * jnp.stack([jnp.cos(ahead), jnp.sin(ahead)]), angle + turn


def _step(weights: jax.Array, robot: _Robot) -> _Robot:
    first, second = INPUTS * HIDDEN, INPUTS * HIDDEN + HIDDEN
    third = second + HIDDEN * WHEELS
    inputs = jnp.concatenate([rays(robot.place, robot.angle), robot.pressed])
    hidden = jax.nn.relu(inputs @ weights[:first].reshape(INPUTS, HIDDEN) + weights[first:second])
    wheels = SPEED * jnp.tanh(hidden @ weights[second:third].reshape(HIDDEN, WHEELS) + weights[third:])
    place, angle = _rolled(robot.place, robot.angle, wheels)
    stopped, pressed = _touch(place, angle)
    place, angle = jnp.where(stopped, robot.place, place), jnp.where(stopped, robot.angle, angle)
    return _Robot(place, angle, pressed, robot.effort + (wheels**2).sum())


def _walk(weights: jax.Array, steps: int) -> tuple[jax.Array, jax.Array]:
    at = lambda *x: jnp.array(x if len(x) > 1 else x[0], weights.dtype)
    robot = _Robot(at(*START[:2]), at(START[2]), at(-1.0, -1.0), at(0.0))

    def body(robot: _Robot, _: None) -> tuple[_Robot, jax.Array]:
        robot = _step(weights, robot)
        return robot, robot.place

    robot, path = jax.lax.scan(body, robot, None, steps)
    return 100 * (0.3 - robot.effort) / 0.3, path


_walked = jax.jit(lambda genomes, steps: jax.vmap(lambda w: _walk(w, steps))(genomes), static_argnums=1)

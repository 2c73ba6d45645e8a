"""A small robot that has to reach every place of a maze with little effort.

After Kheperax (Grillotti & Cully 2023). Geometry and settings are those of Kheperax' standard maze
with episodes of 250 steps, as in QDHF (Ding et al. 2024). There is one difference, so scores
cannot be compared: a step that would touch a wall is not made, a bumper reports the wall, and the
robot may turn away. In Kheperax 0.2 the robot touches the wall and never moves again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.core.types import Evaluation, Key

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
START = 0.15, 0.15, np.pi / 2  # x, y, and the heading of the robot
RADIUS = 0.015  # of the robot
SIGHT = 0.2  # the reach of a ray
SPEED = 0.025  # how far a wheel rolls in a step at most
_RAYS = np.array([-np.pi / 4, 0, np.pi / 4])  # the angles of the rays to the heading
_INPUTS, _HIDDEN, _WHEELS = 5, 8, 2  # the units in each layer of the network
_PICTURE = 16  # pixels along each side of the picture from above
_BLUR = 0.05  # the standard deviation of the robot's spot in that picture


@dataclass(frozen=True)
class Maze:
    """A robot with two wheels, three rays and two bumpers, which a small network steers.

    A genome is the 66 weights of the network, float `[66]`: from 3 rays (0 to 0.2) and 2 bumpers
    (1 if pressed, else -1) through 8 hidden units (relu) to the speeds of the wheels (tanh). The
    objective is 100 (0.3 - Σ v²) / 0.3, where v are the distances that both wheels roll in each
    step: a robot that does not move has 100. The descriptor is its final position.

    steps: the length of an episode: 250 in QDHF, 1,000 in Kheperax.
    see: the features, which replace the descriptor: none ("end"); or, for axes that are learnt,
      the path, float `[n, 2 * steps]` (all x, then all y), or a picture of the final position from
      above, float `[n, 256]`, 16 × 16 pixels between 0 and 1.
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
        """The objective of a robot that rolls at full speed all the time, at most 0."""
        return min(0.0, 100 * (0.3 - self.steps * 2 * SPEED**2) / 0.3)

    def seeds(self, key: Key, n: int) -> np.ndarray:
        """Returns weights uniform within ±√(3 / inputs of their unit), and biases of 0 (LeCun)."""
        first, second = jax.random.split(key)
        uniform = lambda key, fan, *shape: (
            jax.random.uniform(key, shape, jnp.float32, -1, 1) * np.sqrt(3 / fan)
        )
        parts = [
            uniform(first, _INPUTS, n, _INPUTS * _HIDDEN),
            jnp.zeros((n, _HIDDEN)),
            uniform(second, _HIDDEN, n, _HIDDEN * _WHEELS),
            jnp.zeros((n, _WHEELS)),
        ]
        return np.asarray(jnp.concatenate(parts, 1), np.float32)

    def evaluate(self, genomes: Any) -> Evaluation:
        objective, path = simulate(genomes, self.steps)
        last = path[:, -1]
        if self.see == "end":
            return Evaluation(objective, last)
        features = _coordinates(path) if self.see == "path" else picture_of_places(last)
        return Evaluation(objective, features=features)

    def draw(self, genome: Any, ax: Any) -> Any:
        """Draws the walls and the robot's path, from a square to a dot."""
        path = np.asarray(simulate(np.asarray(genome)[None], self.steps)[1])[0]
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
    """Returns a path as float `[n, 2 * steps]`: all x, then all y."""
    return path.swapaxes(1, 2).reshape(len(path), -1)


class _Robot(NamedTuple):
    """The state of the robot between two steps."""

    place: jax.Array  # float [2]
    angle: jax.Array
    pressed: jax.Array  # float [2], 1 or -1: the left and the right bumper
    effort: jax.Array  # the sum of the squared distances that the wheels have rolled


def simulate(genomes: Any, steps: int) -> tuple[jax.Array, jax.Array]:
    """Returns the objectives, float `[n]`, and the positions after each step, `[n, steps, 2]`."""
    return _simulate_all(jnp.asarray(genomes), steps)


@jax.jit
def picture_of_places(places: jax.Array) -> jax.Array:
    """Returns float `[n, 256]`: each place as a soft spot in a picture of the maze from above.

    Rows of pixels are in order from the bottom to the top.
    """
    middle = (jnp.arange(_PICTURE) + 0.5) / _PICTURE
    spot = lambda x: jnp.exp(-0.5 * ((middle[None] - x[:, None]) / _BLUR) ** 2)
    return (spot(places[:, 1])[:, :, None] * spot(places[:, 0])[:, None]).reshape(len(places), -1)


@jax.jit
def rays(place: jax.Array, angle: jax.Array) -> jax.Array:
    """Returns float `[3]`: the distance to the next wall along each ray, at most `SIGHT`."""
    along = jnp.stack([jnp.cos(angle + _RAYS), jnp.sin(angle + _RAYS)], 1)[:, None]
    begin, edge = _walls(place.dtype)
    here = (begin - place[None])[None]
    cross = _cross(along, edge[None])
    divisor = jnp.where(jnp.abs(cross) > 1e-9, cross, 1.0)
    # the distance along the ray, and the share of the wall, at which the two meet
    distance, share = _cross(here, edge[None]) / divisor, _cross(here, along) / divisor
    meets = (jnp.abs(cross) > 1e-9) & (distance >= 0) & (share >= 0) & (share <= 1)
    return jnp.where(meets, distance, SIGHT).min(1).clip(0, SIGHT)


def _walls(dtype: Any) -> tuple[jax.Array, jax.Array]:
    """Returns the beginnings of the walls, float `[w, 2]`, and the vectors to their ends."""
    return jnp.asarray(WALLS[:, 0], dtype), jnp.asarray(WALLS[:, 1] - WALLS[:, 0], dtype)


def _cross(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns the cross product of vectors in the plane."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _touch(place: jax.Array, angle: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns whether a wall is within the robot's radius, and which bumpers are pressed.

    The bumpers are float `[2]` of 1 and -1: a wall ahead on the left, and on the right.
    """
    begin, edge = _walls(place.dtype)
    share = (((place[None] - begin) * edge).sum(1) / (edge**2).sum(1)).clip(0, 1)
    to_wall = begin + share[:, None] * edge - place[None]
    near = (to_wall**2).sum(1) <= RADIUS**2
    bearing = (jnp.arctan2(to_wall[:, 1], to_wall[:, 0]) - angle + jnp.pi) % (2 * jnp.pi) - jnp.pi
    left = (near & (bearing >= 0) & (bearing < jnp.pi / 2)).any()
    right = (near & (bearing <= 0) & (bearing > -jnp.pi / 2)).any()
    return near.any(), jnp.where(jnp.stack([left, right]), 1.0, -1.0).astype(place.dtype)


def _roll(place: jax.Array, angle: jax.Array, wheels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns place and angle after the left and the right wheel rolled the distances `wheels`.

    The path is an arc of a circle.
    """
    turn = (wheels[1] - wheels[0]) / (2 * RADIUS)
    chord = wheels.mean() * jnp.sinc(turn / (2 * jnp.pi))
    ahead = angle + turn / 2
    return place + chord * jnp.stack([jnp.cos(ahead), jnp.sin(ahead)]), angle + turn


def _step(weights: jax.Array, robot: _Robot) -> _Robot:
    """Returns the robot after one step."""
    first, second = _INPUTS * _HIDDEN, _INPUTS * _HIDDEN + _HIDDEN
    third = second + _HIDDEN * _WHEELS
    inputs = jnp.concatenate([rays(robot.place, robot.angle), robot.pressed])
    to_hidden = weights[:first].reshape(_INPUTS, _HIDDEN)
    hidden = jax.nn.relu(inputs @ to_hidden + weights[first:second])
    wheels = SPEED * jnp.tanh(
        hidden @ weights[second:third].reshape(_HIDDEN, _WHEELS) + weights[third:]
    )
    place, angle = _roll(robot.place, robot.angle, wheels)
    stopped, pressed = _touch(place, angle)
    place, angle = jnp.where(stopped, robot.place, place), jnp.where(stopped, robot.angle, angle)
    return _Robot(place, angle, pressed, robot.effort + (wheels**2).sum())


def _simulate_one(weights: jax.Array, steps: int) -> tuple[jax.Array, jax.Array]:
    """Returns the objective and the positions `[steps, 2]` of one robot."""
    array = lambda *x: jnp.array(x if len(x) > 1 else x[0], weights.dtype)
    robot = _Robot(array(*START[:2]), array(START[2]), array(-1.0, -1.0), array(0.0))

    def body(robot: _Robot, _: None) -> tuple[_Robot, jax.Array]:
        robot = _step(weights, robot)
        return robot, robot.place

    robot, path = jax.lax.scan(body, robot, None, steps)
    return 100 * (0.3 - robot.effort) / 0.3, path


_simulate_all = jax.jit(
    lambda genomes, steps: jax.vmap(lambda w: _simulate_one(w, steps))(genomes), static_argnums=1
)

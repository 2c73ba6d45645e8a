"""A planar arm that has to reach every point in its smoothest posture (Cully et al. 2015, fig. 2).

`Arm` is the variant of pyribs' tutorial and of the CMA-ME papers, measured in links. `UnitArm` is
that of QDax, scaled to the unit box. `PosedArm` is that of QDHF, with axes that are learnt from
the posture. Their scores cannot be compared with each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.core.types import Evaluation, Key

_Box = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Arm:
    """An arm of `joints` links of length 1.

    A genome is the angle of each joint in radians, relative to the link before. The objective is
    minus the variance of the angles, the descriptor the position of the tip.

    sigma0: the standard deviation of the seeds around the straight arm.
    """

    joints: int = 12
    sigma0: float = 0.1

    names: ClassVar[tuple[str, str]] = ("tip x", "tip y")
    floor: ClassVar[float] = -(np.pi**2)  # half of the angles are π, half -π
    limits: ClassVar[tuple[float, float]] = (-np.pi, np.pi)

    def __post_init__(self) -> None:
        _check_joints(self.joints)

    @property
    def bounds(self) -> _Box:
        """The square around the reach of the arm."""
        return (-self.joints, self.joints), (-self.joints, self.joints)

    def seeds(self, key: Key, n: int) -> np.ndarray:
        angles = self.sigma0 * jax.random.normal(key, (n, self.joints), jnp.float32)
        return np.asarray(jnp.clip(angles, *self.limits))

    def evaluate(self, genomes: Any) -> Evaluation:
        return Evaluation(*_reach(genomes))

    def draw(self, genome: Any, ax: Any) -> Any:
        """Draws the links from the base to the tip, within the circle of their reach."""
        return _draw_links(np.asarray(genome, float), ax)


@dataclass(frozen=True)
class UnitArm:
    """The arm with angles in turns: 0 to 1 stands for -π to π.

    The objective is minus the standard deviation of these numbers. The descriptor is the position
    of the tip within the unit square; the base is at (½, ½). Numbers are clipped to [0, 1]. Seeds
    are uniform.
    """

    joints: int = 12

    names: ClassVar[tuple[str, str]] = ("tip x", "tip y")
    bounds: ClassVar[_Box] = ((0.0, 1.0), (0.0, 1.0))
    floor: ClassVar[float] = -0.5  # half of the numbers are 0, half 1
    limits: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        _check_joints(self.joints)

    def seeds(self, key: Key, n: int) -> np.ndarray:
        return np.asarray(jax.random.uniform(key, (n, self.joints), jnp.float32))

    def evaluate(self, genomes: Any) -> Evaluation:
        return Evaluation(*_reach_in_unit_box(genomes))

    def draw(self, genome: Any, ax: Any) -> Any:
        """Draws the links from the base to the tip, within the circle of their reach."""
        return _draw_links(2 * np.pi * np.clip(np.asarray(genome, float), 0, 1) - np.pi, ax)


@dataclass(frozen=True)
class PosedArm:
    """The arm of QDHF (Ding et al. 2024), with axes that are learnt from its posture.

    See `qdkit.axes` for learnt axes. The objective is 100 (1 - variance of the angles); there is
    no descriptor. The features `[n, 2 * joints]` are the directions of the links: their cosines,
    then their sines. Seeds are uniform in ±π, and angles have no limits later. A simulated rater
    compares arms by the position of the `tip`, within `reach`.
    """

    joints: int = 10

    floor: ClassVar[float] = 0.0
    limits: ClassVar[None] = None
    taught: ClassVar[bool] = True  # the command line learns the axes from raters

    def __post_init__(self) -> None:
        _check_joints(self.joints)

    @property
    def reach(self) -> _Box:
        """The square around the reach of the arm."""
        return (-self.joints, self.joints), (-self.joints, self.joints)

    def seeds(self, key: Key, n: int) -> np.ndarray:
        return np.asarray(jax.random.uniform(key, (n, self.joints), jnp.float32, -jnp.pi, jnp.pi))

    def evaluate(self, genomes: Any) -> Evaluation:
        return Evaluation(100 * (1 + _reach(genomes)[0]), features=_posture(genomes))

    @staticmethod
    def posture(genomes: Any) -> jax.Array:
        """Returns the features of genomes, `[n, 2 * joints]`."""
        return _posture(genomes)

    @staticmethod
    def quarter_turned(features: Any) -> Any:
        """Returns the features of the arms after a quarter turn about the base.

        (cos, sin) become (-sin, cos).
        """
        cos, sin = np.split(np.asarray(features), 2, -1)
        return np.concatenate([-sin, cos], -1)

    @staticmethod
    def mirrored(features: Any) -> Any:
        """Returns the features of the mirrored arms: (cos, sin) become (cos, -sin)."""
        cos, sin = np.split(np.asarray(features), 2, -1)
        return np.concatenate([cos, -sin], -1)

    def tip(self, features: Any) -> Any:
        """Returns the position of the tip `[n, 2]`, from features in a NumPy or JAX array."""
        return features.reshape(len(features), 2, self.joints).sum(2)

    def draw(self, genome: Any, ax: Any) -> Any:
        """Draws the links from the base to the tip, within the circle of their reach."""
        return _draw_links(np.asarray(genome, float), ax)


def _check_joints(joints: int) -> None:
    if joints < 1:
        raise ValueError(f"joints is {joints}: an arm has at least one joint")


@jax.jit
def _reach(angles: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns minus the variance `[n]` of angles `[n, joints]`, and the tip's place `[n, 2]`."""
    angles = jnp.asarray(angles)
    direction = jnp.cumsum(angles, 1)
    tip = jnp.stack([jnp.cos(direction).sum(1), jnp.sin(direction).sum(1)], 1)
    return -jnp.var(angles, 1), tip


@jax.jit
def _posture(angles: jax.Array) -> jax.Array:
    """Returns the cosines, then the sines of the links' directions, `[n, 2 * joints]`."""
    direction = jnp.cumsum(jnp.asarray(angles), 1)
    return jnp.concatenate([jnp.cos(direction), jnp.sin(direction)], 1)


@jax.jit
def _reach_in_unit_box(turns: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns minus the standard deviation `[n]` of turns `[n, joints]`, and the tip `[n, 2]`.

    The position of the tip lies in the unit square.
    """
    turns = jnp.clip(jnp.asarray(turns), 0, 1)
    _, tip = _reach(2 * jnp.pi * turns - jnp.pi)
    return -jnp.std(turns, 1), 0.5 + tip / (2 * turns.shape[1])


def _draw_links(angles: np.ndarray, ax: Any) -> Any:
    """Draws an arm with its base in the middle, in units of a link."""
    from matplotlib.patches import Circle

    reach, direction = len(angles), np.cumsum(angles)
    x = np.concatenate([[0.0], np.cumsum(np.cos(direction))])
    y = np.concatenate([[0.0], np.cumsum(np.sin(direction))])
    ax.add_patch(Circle((0, 0), reach, fill=False, color="lightgrey", linestyle=":"))
    ax.plot(x, y, color="tab:blue", linewidth=2, solid_joinstyle="round", zorder=2)
    ax.scatter(x[1:-1], y[1:-1], s=10, color="white", edgecolors="tab:blue", zorder=3)
    ax.scatter(x[0], y[0], s=40, marker="s", color="black", zorder=3)
    ax.scatter(x[-1], y[-1], s=40, color="tab:orange", zorder=3)
    ax.set(xlim=(-1.05 * reach, 1.05 * reach), ylim=(-1.05 * reach, 1.05 * reach), aspect="equal")
    ax.set_axis_off()
    return ax

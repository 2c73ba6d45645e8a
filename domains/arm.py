"""A planar arm that is to reach every point in its smoothest posture (Cully et al. 2015, fig. 2).

`Arm` is the variant of pyribs' tutorial and the CMA-ME papers, measured in links; `UnitArm` is that
of QDax, scaled to the unit box; `PosedArm` is that of QDHF, whose kinds are learnt from its posture.
Their scores cannot be compared with each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.types import Evaluation, Key

Box = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Arm:
    """`joints` links of length 1; a genome is the angle of each joint in radians, relative to the link before.

    The objective is minus the variance of the angles, the descriptor the place of the tip.

    sigma0: the standard deviation of the seeds around the straight arm.
    """

    joints: int = 12
    sigma0: float = 0.1

    names: ClassVar[tuple[str, str]] = ("tip x", "tip y")
    floor: ClassVar[float] = -(np.pi**2)  # half of the angles at π, half at -π
    limits: ClassVar[tuple[float, float]] = (-np.pi, np.pi)

    def __post_init__(self) -> None:
        _check(self.joints)

    @property
    def bounds(self) -> Box:
        """The square around the reach of the arm."""
        return (-self.joints, self.joints), (-self.joints, self.joints)

    def seeds(self, key: Key, n: int) -> np.ndarray:
        angles = self.sigma0 * jax.random.normal(key, (n, self.joints), jnp.float32)
        return np.asarray(jnp.clip(angles, *self.limits))

    def evaluate(self, genomes: Any) -> Evaluation:
        return Evaluation(*_reach(genomes))

    def draw(self, genome: Any, ax: Any) -> Any:
        """The links from the base to the tip, within the circle of what they can reach."""
        return _draw_links(np.asarray(genome, float), ax)


@dataclass(frozen=True)
class UnitArm:
    """The same arm with angles in turns: 0 to 1 stands for -π to π; the tip lies within the unit square.

    The objective is minus the standard deviation of these numbers, and the base is at (½, ½). What
    lies beyond 0 or 1 counts as 0 or 1. Seeds are uniform.
    """

    joints: int = 12

    names: ClassVar[tuple[str, str]] = ("tip x", "tip y")
    bounds: ClassVar[Box] = ((0.0, 1.0), (0.0, 1.0))
    floor: ClassVar[float] = -0.5  # half of the numbers 0, half 1
    limits: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        _check(self.joints)

    def seeds(self, key: Key, n: int) -> np.ndarray:
        return np.asarray(jax.random.uniform(key, (n, self.joints), jnp.float32))

    def evaluate(self, genomes: Any) -> Evaluation:
        return Evaluation(*_reach_in_unit_box(genomes))

    def draw(self, genome: Any, ax: Any) -> Any:
        """The links from the base to the tip, within the circle of what they can reach."""
        return _draw_links(2 * np.pi * np.clip(np.asarray(genome, float), 0, 1) - np.pi, ax)


@dataclass(frozen=True)
class PosedArm:
    """The arm of QDHF (Ding et al. 2024), told apart by axes that are learnt from its posture (see `qdkit.axes`).

    The objective is 100 (1 - variance of the angles); there is no descriptor. The features `[n, 2 * joints]`
    are the directions of the links: their cosines, then their sines. Seeds are uniform in ±π, and angles
    have no limits later. What a taught person would go by is the place of the `tip`, within `reach`.
    """

    joints: int = 10

    floor: ClassVar[float] = 0.0
    limits: ClassVar[None] = None
    taught: ClassVar[bool] = True  # on the command line its axes are those that raters teach

    def __post_init__(self) -> None:
        _check(self.joints)

    @property
    def reach(self) -> Box:
        """The square around the reach of the arm."""
        return (-self.joints, self.joints), (-self.joints, self.joints)

    def seeds(self, key: Key, n: int) -> np.ndarray:
        return np.asarray(jax.random.uniform(key, (n, self.joints), jnp.float32, -jnp.pi, jnp.pi))

    def evaluate(self, genomes: Any) -> Evaluation:
        return Evaluation(100 * (1 + _reach(genomes)[0]), features=_posture(genomes))

    @staticmethod
    def posture(genomes: Any) -> jax.Array:
        """The features alone, `[n, 2 * joints]`."""
        return _posture(genomes)

    @staticmethod
    def quarter_turned(features: Any) -> Any:
        """The features of the same arms turned around the base by a quarter: (cos, sin) become (-sin, cos)."""
        cos, sin = np.split(np.asarray(features), 2, -1)
        return np.concatenate([-sin, cos], -1)

    @staticmethod
    def mirrored(features: Any) -> Any:
        """The features of the same arms in a mirror: (cos, sin) become (cos, -sin)."""
        cos, sin = np.split(np.asarray(features), 2, -1)
        return np.concatenate([cos, -sin], -1)

    def tip(self, features: Any) -> Any:
        """The place of the tip `[n, 2]`, from the features, an array of numpy or jax."""
        return features.reshape(len(features), 2, self.joints).sum(2)

    def draw(self, genome: Any, ax: Any) -> Any:
        """The links from the base to the tip, within the circle of what they can reach."""
        return _draw_links(np.asarray(genome, float), ax)


def _check(joints: int) -> None:
    if joints < 1:
        raise ValueError(f"joints is {joints}: an arm has at least one")


@jax.jit
def _reach(angles: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Minus the variance of the angles `[n]`, and the place of the tip `[n, 2]`, from `[n, joints]`."""
    angles = jnp.asarray(angles)
    turned = jnp.cumsum(angles, 1)
    return -jnp.var(angles, 1), jnp.stack([jnp.cos(turned).sum(1), jnp.sin(turned).sum(1)], 1)


@jax.jit
def _posture(angles: jax.Array) -> jax.Array:
    """The cosines of the links' directions and then their sines, `[n, 2 * joints]`, from `[n, joints]`."""
    turned = jnp.cumsum(jnp.asarray(angles), 1)
    return jnp.concatenate([jnp.cos(turned), jnp.sin(turned)], 1)


@jax.jit
def _reach_in_unit_box(turns: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Minus the standard deviation `[n]` and the tip `[n, 2]` within the unit square, from `[n, joints]`."""
    turns = jnp.clip(jnp.asarray(turns), 0, 1)
    _, tip = _reach(2 * jnp.pi * turns - jnp.pi)
    return -jnp.std(turns, 1), 0.5 + tip / (2 * turns.shape[1])


def _draw_links(angles: np.ndarray, ax: Any) -> Any:
    """An arm with its base in the middle, in units of a link."""
    from matplotlib.patches import Circle

    reach, turned = len(angles), np.cumsum(angles)
    x = np.concatenate([[0.0], np.cumsum(np.cos(turned))])
    y = np.concatenate([[0.0], np.cumsum(np.sin(turned))])
    ax.add_patch(Circle((0, 0), reach, fill=False, color="lightgrey", linestyle=":"))
    ax.plot(x, y, color="tab:blue", linewidth=2, solid_joinstyle="round", zorder=2)
    ax.scatter(x[1:-1], y[1:-1], s=10, color="white", edgecolors="tab:blue", zorder=3)
    ax.scatter(x[0], y[0], s=40, marker="s", color="black", zorder=3)
    ax.scatter(x[-1], y[-1], s=40, color="tab:orange", zorder=3)
    ax.set(xlim=(-1.05 * reach, 1.05 * reach), ylim=(-1.05 * reach, 1.05 * reach), aspect="equal")
    ax.set_axis_off()
    return ax

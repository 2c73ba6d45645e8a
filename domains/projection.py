"""Linear projection: well-known functions of many numbers, with two sums of them as descriptor.

Most vectors lie near the middle of the descriptor space, so its rim is hard to reach (Fontaine et
al. 2020, section 4). All three functions are defined as in pyribs' `examples/sphere.py` and in the
experiments of CMA-MAE (Fontaine & Nikolaidis 2023). Scores over 100 by 100 cells within `bounds`
can be compared with theirs.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.core.types import Evaluation, Key

_WIDTH = 5.12  # numbers beyond ±_WIDTH count for less and less in the descriptor
_SHIFT = 0.4 * _WIDTH  # every coordinate of the best vector of sphere and rastrigin


@dataclass(frozen=True)
class _Projection(abc.ABC):
    """A function of `dimensions` numbers whose maximum is 100.

    The descriptor is the sum of the first half of the numbers and that of the second half;
    numbers x beyond ±5.12 count as 5.12 / x.

    dimensions: how many numbers make a genome, at least 2. If it is odd, the second half has one
      more.
    sigma0: the standard deviation of the seeds around zero.

    Genomes are unbounded. An objective falls below `floor` only far away from the seeds.
    """

    dimensions: int = 100
    sigma0: float = 0.5

    names: ClassVar[tuple[str, str]] = ("sum of the first half", "sum of the second half")
    floor: ClassVar[float] = 0.0
    limits: ClassVar[None] = None

    def __post_init__(self) -> None:
        if self.dimensions < 2:
            raise ValueError(
                f"dimensions is {self.dimensions}: at least 2 are needed, one for each half"
            )

    @property
    def bounds(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The largest sums: 5.12 for each number of a half."""
        most = _WIDTH * self.dimensions / 2
        return (-most, most), (-most, most)

    def seeds(self, key: Key, n: int) -> np.ndarray:
        return np.float32(self.sigma0) * np.asarray(
            jax.random.normal(key, (n, self.dimensions), jnp.float32)
        )

    def evaluate(self, genomes: Any) -> Evaluation:
        return Evaluation(*_project(type(self), genomes))

    def draw(self, genome: Any, ax: Any) -> Any:
        """Draws the numbers as bars, the two halves in two colours."""
        middle = self.dimensions // 2
        colours = ["tab:blue"] * middle + ["tab:orange"] * (self.dimensions - middle)
        ax.bar(np.arange(self.dimensions), np.asarray(genome), width=1.0, color=colours)
        ax.axhline(0.0, color="black", linewidth=0.5)
        ax.set_xlim(-0.5, self.dimensions - 0.5)
        return ax

    @staticmethod
    @abc.abstractmethod
    def objective(x: jax.Array) -> jax.Array:
        """Returns the objectives, float `[n]`, of genomes `[n, dimensions]`."""


class Sphere(_Projection):
    """Minus the squared distance to the best vector, which has 2.048 everywhere.

    It is scaled to 100 at the best vector and to 0 where every number is -5.12.
    """

    @staticmethod
    def objective(x: jax.Array) -> jax.Array:
        """Returns float `[n]`; 0 to 100 for numbers within ±5.12."""
        return _percent(jnp.sum((x - _SHIFT) ** 2, 1), x.shape[1] * (-_WIDTH - _SHIFT) ** 2)


class Rastrigin(_Projection):
    """The sphere with ripples: every whole step away from the best vector is a local optimum.

    It is scaled to 0 where every number is -5.12. This is not quite its minimum within ±5.12: with
    all numbers near -4.5 it falls to -10.
    """

    @staticmethod
    def objective(x: jax.Array) -> jax.Array:
        """Returns float `[n]`, at most 100."""
        ripple = lambda y: y**2 - 10 * jnp.cos(2 * jnp.pi * y) + 10
        return _percent(jnp.sum(ripple(x - _SHIFT), 1), x.shape[1] * ripple(-_WIDTH - _SHIFT))


class Plateau(_Projection):
    """100 wherever all numbers are within ±5.12, and less outside.

    Only diversity is left to search for.
    """

    @staticmethod
    def objective(x: jax.Array) -> jax.Array:
        """Returns float `[n]`, at most 100."""
        return _percent(jnp.mean(jnp.maximum(jnp.abs(x) - _WIDTH, 0.0) ** 2, 1), 100.0)


def _percent(raw: jax.Array, worst: Any) -> jax.Array:
    """Scales `raw`: 0 becomes 100, and `worst` becomes 0."""
    return 100 * (worst - raw) / worst


@partial(jax.jit, static_argnames="kind")
def _project(kind: type[_Projection], genomes: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the objectives `[n]` and the two sums `[n, 2]` of genomes `[n, dimensions]`."""
    x = jnp.asarray(genomes)
    middle = x.shape[1] // 2
    within = jnp.abs(x) <= _WIDTH
    # the inner `where` keeps the gradient finite at 0, where the other branch divides by x
    clipped = jnp.where(within, x, _WIDTH / jnp.where(within, 1.0, x))
    return kind.objective(x), jnp.stack(
        [clipped[:, :middle].sum(1), clipped[:, middle:].sum(1)], 1
    )

"""The covariance matrix adaptation of one evolution strategy: pure, and fit for `vmap` and `lax.scan`.

The equations are those of Hansen's tutorial (arXiv 1604.00772v2, appendix A), with positive weights
alone, as CMA-ME was published; the forms of the step size's damping are those of pycma, its author's
code. Two things are said otherwise without a change of what is drawn:

- The covariance is factored by Cholesky in place of its eigenvectors, at a thousandth of the time
  here. Any factor A with A Aᵀ = C draws from the same distribution, and the path of the step size is
  kept in the coordinates of A (Krause, Arbonès & Igel 2016).
- Rows are not sorted: each has a rank, and from it a weight, 0 for those that are no parents.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.types import Key


class Strategy(NamedTuple):
    """A normal distribution that learns; `d` entries of a genome.

    mean: float `[d]`. sigma: float, the step size.
    covariance, factor: float `[d, d]`, or `[d]` where it is diagonal; the factor may be a few updates old.
    pull: the evolution path p_c `[d]`. path: that of the step size, p_σ `[d]`.
    generation: int, how many batches it has seen.
    """

    mean: jax.Array
    sigma: jax.Array
    covariance: jax.Array
    factor: jax.Array
    pull: jax.Array
    path: jax.Array
    generation: jax.Array

    @property
    def diagonal(self) -> jax.Array:
        """float `[d]`, the variance of each entry in units of sigma²."""
        return self.covariance if self.covariance.ndim == 1 else jnp.diagonal(self.covariance)


class Rates(NamedTuple):
    """How much is learnt from a batch: the parameters of table 1 of the tutorial."""

    weights: jax.Array  # [n], 0 for rows that are no parents
    mueff: jax.Array
    cc: jax.Array
    cs: jax.Array
    c1: jax.Array
    cmu: jax.Array
    damps: jax.Array


def begin(mean: jax.Array, sigma: float | jax.Array, separable: bool) -> Strategy:
    """A round distribution around `mean` that has learnt nothing."""
    d, zero = len(mean), jnp.zeros_like(mean)
    shape = jnp.ones(d, mean.dtype) if separable else jnp.eye(d, dtype=mean.dtype)
    return Strategy(mean, jnp.asarray(sigma, mean.dtype), shape, shape, zero, zero, jnp.zeros((), jnp.int32))


@partial(jax.jit, static_argnames="separable")
def begin_each(mean: Any, sigma: float, separable: bool) -> Strategy:
    """One around each row of `mean` `[e, d]`."""
    return jax.vmap(partial(begin, sigma=sigma, separable=separable))(mean)


def rates(rank: Any, parents: Any, d: int, separable: bool, xp: Any = jnp) -> Rates:
    """The parameters for the best `parents` rows, an int; `rank` is int `[n]`, 0 for the best.

    Those of a diagonal covariance, which has less to learn and learns it faster, are pycma's. All
    are finite where there are no parents, and mean nothing. xp: numpy for numbers known beforehand.
    """
    mu = xp.maximum(parents, 1).astype(float)
    raw = xp.where(rank < parents, xp.log(mu + 0.5) - xp.log(rank + 1.0), 0.0)
    weights = raw / xp.where(parents > 0, raw.sum(), 1.0)  # (53)
    mueff = 1 / xp.where(parents > 0, (weights**2).sum(), 1.0)
    cs = (mueff + 2) / (d + mueff + 5)  # (55)
    damps = 1 + 2 * xp.maximum(0.0, xp.sqrt(xp.maximum(mueff - 1, 0.0) / (d + 1)) - 1) + cs  # (55)
    c1 = 2 / ((d + 1.3) ** 2 + mueff)  # (57)
    if separable:
        cc = (1 + 1 / d + mueff / d) / (d**0.5 + 1 / d + 2 * mueff / d)
        c1 = c1 / (d + 2 * d**0.5 + mueff / d)
        cmu = (mueff + 1 / mueff - 2) / (d + 4 * d**0.5 + mueff / 2)
    else:
        cc = (4 + mueff / d) / (d + 4 + 2 * mueff / d)  # (56)
        cmu = 2 * (mueff - 2 + 1 / mueff) / ((d + 2) ** 2 + mueff)  # (58)
    return Rates(weights, mueff, cc, cs, c1, xp.minimum(1 - c1, cmu), damps)


def gap(batch: int, d: int) -> int:
    """How many updates a factor may be old: what is learnt meanwhile is too little to matter (B.2 and pycma)."""
    learnt = rates(np.arange(batch), np.asarray(batch // 2), d, separable=False, xp=np)
    return max(1, int(np.ceil(0.5 / (learnt.c1 + learnt.cmu) / d)))


def draw(key: Key, strategy: Strategy, n: int) -> jax.Array:
    """float `[n, d]` from the distribution."""
    mean, factor = strategy.mean, strategy.factor
    z = jax.random.normal(key, (n, len(mean)), mean.dtype)  # (38)
    y = z * factor[None] if factor.ndim == 1 else z @ factor.T  # (39)
    return mean[None] + strategy.sigma * y  # (40)


def learn(strategy: Strategy, x: jax.Array, rank: jax.Array, parents: jax.Array) -> Strategy:
    """Moves to the best `parents` of the rows `x` `[n, d]` that it drew, and takes their shape.

    Without parents nothing but the generation changes. The factor stays; see `factored`.
    """
    mean, sigma, covariance, factor, pull, path, generation = strategy
    d = len(mean)
    weights, mueff, cc, cs, c1, cmu, damps = rates(rank, parents, d, covariance.ndim == 1)
    weights, generation = weights.astype(x.dtype), generation + 1

    y = (x - mean[None]) / sigma
    step = weights @ y  # (41)
    mean = mean + sigma * step  # (42), with c_m = 1
    z = step / factor if factor.ndim == 1 else jax.scipy.linalg.solve_triangular(factor, step, lower=True)
    path = (1 - cs) * path + jnp.sqrt(cs * (2 - cs) * mueff) * z  # (43)
    length = (path**2).sum() / d  # 1 on average, for a path of steps that have nothing in common
    sigma = sigma * jnp.exp(jnp.minimum(1.0, cs / damps * (length - 1) / 2))  # (44), in pycma's form
    short = length / (1 - (1 - cs) ** (2.0 * generation)) < 2 + 4 / (d + 1)  # h_σ; of squares, as in pycma
    pull = (1 - cc) * pull + jnp.where(short, jnp.sqrt(cc * (2 - cc) * mueff), 0.0) * step  # (45)

    kept = 1 - c1 * jnp.where(short, 1.0, 1 - cc * (2 - cc)) - cmu
    spread = y * jnp.sqrt(weights)[:, None]
    if covariance.ndim == 1:
        covariance = kept * covariance + c1 * pull**2 + cmu * (spread**2).sum(0)
    else:
        covariance = kept * covariance + c1 * jnp.outer(pull, pull) + cmu * (spread.T @ spread)  # (47)
    after = Strategy(mean, sigma, covariance, factor, pull, path, generation)
    moved = jax.tree.map(lambda new, old: jnp.where(parents > 0, new, old).astype(old.dtype), after, strategy)
    return moved._replace(generation=generation)


def factored(strategy: Strategy) -> Strategy:
    """The same with the factor of its covariance; nan where there is none."""
    covariance = strategy.covariance
    if covariance.ndim == 1:
        return strategy._replace(factor=jnp.sqrt(covariance))
    return strategy._replace(factor=jax.lax.linalg.cholesky(covariance, symmetrize_input=False))


def exhausted(strategy: Strategy, spread: jax.Array) -> jax.Array:
    """bool: it cannot go on, as in pycma and pyribs, or its numbers are too coarse for its steps.

    spread: how far the worst of the ranked values lies from the best; nan if there is none.

    Where pycma reads eigenvalues, the diagonals of the covariance and its factor stand for them:
    the greatest and least of these lie within the range of the eigenvalues.
    """
    mean, sigma = strategy.mean, strategy.sigma
    factor = strategy.factor if strategy.factor.ndim == 1 else jnp.diagonal(strategy.factor)
    deviation = sigma * jnp.sqrt(strategy.diagonal)
    condition = (factor.max() / factor.min()) ** 2
    sound = condition < min(1e14, 1 / float(jnp.finfo(mean.dtype).eps))  # false for nan, where no factor was found
    wide = deviation.max() > 1e-11
    felt = (mean + 0.2 * deviation != mean).all()  # NoEffectCoord of the tutorial's B.3
    return ~(sound & wide & felt & (spread > 1e-12))

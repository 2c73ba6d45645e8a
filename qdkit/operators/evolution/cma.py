"""The covariance matrix adaptation of one evolution strategy, as functions for `vmap` and `scan`.

The equations are those of Hansen's tutorial (arXiv 1604.00772v2, appendix A), with positive
weights only, as CMA-ME was published. The update is that of purecma, his short implementation,
except for the damping of the step size, which is that of the tutorial. The rates of a diagonal
covariance are those of pycma, his long implementation. docs/pyribs_cma.md compares all values. Two
things are computed differently without changing the distribution:

- The covariance is factored by Cholesky instead of by its eigenvectors, in a thousandth of the
  time here. Any factor A with A Aᵀ = C draws from the same distribution, and the path of the step
  size is stored in the coordinates of A (Krause, Arbonès & Igel 2016).
- Rows are not sorted. Each has a rank and, from it, a weight, which is 0 for rows that are not
  parents.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.core.types import Key


class Strategy(NamedTuple):
    """The state of a strategy over genomes of `d` entries.

    mean: float `[d]`. sigma: float, the step size.
    covariance, factor: float `[d, d]`, or `[d]` if diagonal; the factor may be a few updates old.
    pull: the evolution path p_c, float `[d]`. path: that of the step size, p_σ, float `[d]`.
    generation: int, the number of updates.
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
        """The variance of each entry in units of sigma², float `[d]`."""
        return self.covariance if self.covariance.ndim == 1 else jnp.diagonal(self.covariance)


class Rates(NamedTuple):
    """The learning rates for a batch: the parameters of table 1 of the tutorial."""

    weights: jax.Array  # [n], 0 for rows that are not parents
    mueff: jax.Array
    cc: jax.Array
    cs: jax.Array
    c1: jax.Array
    cmu: jax.Array
    damps: jax.Array


def begin(mean: jax.Array, sigma: float | jax.Array, separable: bool) -> Strategy:
    """Returns a strategy with an isotropic distribution around `mean`."""
    d, zero = len(mean), jnp.zeros_like(mean)
    shape = jnp.ones(d, mean.dtype) if separable else jnp.eye(d, dtype=mean.dtype)
    return Strategy(
        mean, jnp.asarray(sigma, mean.dtype), shape, shape, zero, zero, jnp.zeros((), jnp.int32)
    )


@partial(jax.jit, static_argnames="separable")
def begin_each(mean: Any, sigma: float, separable: bool) -> Strategy:
    """Returns a strategy around each row of `mean` `[e, d]`, as arrays with a leading axis."""
    return jax.vmap(partial(begin, sigma=sigma, separable=separable))(mean)


def rates(rank: Any, parents: Any, d: int, separable: bool, xp: Any = jnp) -> Rates:
    """Returns the learning rates for the best `parents` rows, an int.

    rank: int `[n]`, 0 for the best row.
    d: the number of entries of a genome.
    separable: whether the covariance is diagonal, which is learnt faster; its rates are `cc_sep`,
      `c1_sep` and `cmu_sep` of pycma (Ros & Hansen 2008).
    xp: `jax.numpy`, or `numpy` outside of traced functions.

    Without parents all rates are finite, and not meaningful.
    """
    mu = xp.maximum(parents, 1).astype(float)
    raw = xp.where(rank < parents, xp.log(mu + 0.5) - xp.log(rank + 1.0), 0.0)
    weights = raw / xp.where(parents > 0, raw.sum(), 1.0)  # (53)
    mueff = 1 / xp.where(parents > 0, (weights**2).sum(), 1.0)
    cs = (mueff + 2) / (d + mueff + 5)  # (55)
    damps = 1 + 2 * xp.maximum(0.0, xp.sqrt(xp.maximum(mueff - 1, 0.0) / (d + 1)) - 1) + cs  # (55)
    if separable:
        cc = (1 + 1 / d + mueff / d) / (d**0.5 + 1 / d + 2 * mueff / d)
        c1 = 1 / (d + 2 * d**0.5 + mueff / d)
        cmu = (0.25 + mueff + 1 / mueff - 2) / (d + 4 * d**0.5 + mueff / 2)
    else:
        cc = (4 + mueff / d) / (d + 4 + 2 * mueff / d)  # (56)
        c1 = 2 / ((d + 1.3) ** 2 + mueff)  # (57)
        cmu = 2 * (mueff - 2 + 1 / mueff) / ((d + 2) ** 2 + mueff)  # (58)
    return Rates(weights, mueff, cc, cs, c1, xp.minimum(1 - c1, cmu), damps)


def factor_interval(batch: int, d: int) -> int:
    """Returns after how many updates the factor is computed again (B.2 and pycma).

    The covariance changes too little in between to matter.
    """
    rate = rates(np.arange(batch), np.asarray(batch // 2), d, separable=False, xp=np)
    return max(1, int(np.ceil(0.5 / (rate.c1 + rate.cmu) / d)))


def draw(key: Key, strategy: Strategy, n: int) -> jax.Array:
    """Returns `n` genomes of the distribution, float `[n, d]`."""
    mean, factor = strategy.mean, strategy.factor
    z = jax.random.normal(key, (n, len(mean)), mean.dtype)  # (38)
    y = z * factor[None] if factor.ndim == 1 else z @ factor.T  # (39)
    return mean[None] + strategy.sigma * y  # (40)


def learn(strategy: Strategy, x: jax.Array, rank: jax.Array, parents: jax.Array) -> Strategy:
    """Returns the strategy after an update by the best `parents` of the rows `x` `[n, d]`.

    Without parents only the generation changes. The factor is not changed; see `update_factor`.
    """
    mean, sigma, covariance, factor, pull, path, generation = strategy
    d = len(mean)
    weights, mueff, cc, cs, c1, cmu, damps = rates(rank, parents, d, covariance.ndim == 1)
    weights, generation = weights.astype(x.dtype), generation + 1

    y = (x - mean[None]) / sigma
    step = weights @ y  # (41)
    mean = mean + sigma * step  # (42), with c_m = 1
    z = (
        step / factor
        if factor.ndim == 1
        else jax.scipy.linalg.solve_triangular(factor, step, lower=True)
    )
    path = (1 - cs) * path + jnp.sqrt(cs * (2 - cs) * mueff) * z  # (43)
    length = (path**2).sum() / d  # 1 on average if the steps are independent
    # (44), in the form of pycma
    sigma = sigma * jnp.exp(jnp.minimum(1.0, cs / damps * (length - 1) / 2))
    # h_σ, in terms of squares as in pycma
    short = length / (1 - (1 - cs) ** (2.0 * generation)) < 2 + 4 / (d + 1)
    pull = (1 - cc) * pull + jnp.where(short, jnp.sqrt(cc * (2 - cc) * mueff), 0.0) * step  # (45)

    decay = 1 - c1 * jnp.where(short, 1.0, 1 - cc * (2 - cc)) - cmu
    weighted = y * jnp.sqrt(weights)[:, None]
    if covariance.ndim == 1:
        covariance = decay * covariance + c1 * pull**2 + cmu * (weighted**2).sum(0)
    else:  # (47)
        rank_one, rank_mu = jnp.outer(pull, pull), weighted.T @ weighted
        covariance = decay * covariance + c1 * rank_one + cmu * rank_mu
    after = Strategy(mean, sigma, covariance, factor, pull, path, generation)
    updated = jax.tree.map(
        lambda new, old: jnp.where(parents > 0, new, old).astype(old.dtype), after, strategy
    )
    return updated._replace(generation=generation)


def update_factor(strategy: Strategy) -> Strategy:
    """Returns the strategy with the factor of its covariance, nan if it cannot be computed."""
    covariance = strategy.covariance
    if covariance.ndim == 1:
        return strategy._replace(factor=jnp.sqrt(covariance))
    return strategy._replace(factor=jax.lax.linalg.cholesky(covariance, symmetrize_input=False))


def exhausted(strategy: Strategy, spread: jax.Array) -> jax.Array:
    """Returns whether a strategy has to stop, bool.

    The conditions are those of pycma and pyribs, and that a float is too coarse for its steps.

    spread: the best of the ranked values minus the worst; nan if there are none.

    The diagonals of the covariance and its factor replace the eigenvalues of pycma: their extremes
    lie within the range of the eigenvalues.
    """
    mean, sigma = strategy.mean, strategy.sigma
    factor = strategy.factor if strategy.factor.ndim == 1 else jnp.diagonal(strategy.factor)
    deviation = sigma * jnp.sqrt(strategy.diagonal)
    condition = (factor.max() / factor.min()) ** 2
    limit = min(1e14, 1 / float(jnp.finfo(mean.dtype).eps))
    well_conditioned = condition < limit  # false for nan, if the factor could not be computed
    wide = deviation.max() > 1e-11
    has_effect = (mean + 0.2 * deviation != mean).all()  # NoEffectCoord of the tutorial's B.3
    return ~(well_conditioned & wide & has_effect & (spread > 1e-12))

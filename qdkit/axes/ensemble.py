"""Fits maps from features to axes, so that candidates that people call alike lie close.

A map is a tuple of layers (weights `[f, g]`, shifts `[g]`), with tanh between them; one layer is a
linear projection. All members of an ensemble are fitted at once, each to its own random part of
the judgements, and each keeps the step that predicts its held-out part best. The optimiser is Adam
(Kingma & Ba 2015) over the whole set. The set is padded, so that a search compiles for a few sizes
only.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

Layers = tuple[tuple[Any, Any], ...]
_SIZES = 4  # the number of judgements is padded to a power of this


@dataclass(frozen=True)
class Fit:
    """How maps are fitted to triplets.

    hidden: the widths of hidden layers; none for a linear projection.
    loss: "logistic", -log(flips + (1 - 2 flips) sigmoid(gap)), where gap is the squared distance
      to the farther one less that to the nearer; "hinge", max(0, margin - gap) (QDHF, Ding et al.
      2024, eq. 3).
    flips: the share of answers that may be wrong whatever the question; it bounds the influence of
      one answer.
    margin: of the hinge.
    ridge: the weight of the squared parameters, shared by all judgements; the greater it is, the
      less few answers count.
    held: the share of the judgements that each member holds out, to keep the step that predicts
      them best.
    members: the size of the ensemble.
    steps, rate: of the optimiser.
    """

    hidden: tuple[int, ...] = ()
    loss: Literal["logistic", "hinge"] = "logistic"
    flips: float = 0.02
    margin: float = 0.05
    ridge: float = 0.3
    held: float = 0.1
    members: int = 8
    steps: int = 100
    rate: float = 0.1

    def __post_init__(self) -> None:
        if (
            self.loss not in ("logistic", "hinge")
            or not 0 <= self.flips < 0.5
            or not 0 <= self.held < 1
        ):
            raise ValueError(
                f'loss is "logistic" or "hinge", flips from 0 and below a half, held below 1, not '
                f"{self}"
            )
        if min(self.members, self.steps) < 1 or self.ridge < 0 or self.rate <= 0:
            raise ValueError(
                f"members and steps are 1 or more, ridge 0 or more and rate above 0, not {self}"
            )


def apply_layers(layers: Layers, x: Any) -> Any:
    """Returns `[..., d]` from `[..., f]`.

    Numpy arrays are mapped by numpy, so that a new number of rows compiles nothing.
    """
    for number, (weights, shifts) in enumerate(layers):
        if number:
            x = np.tanh(x) if isinstance(x, np.ndarray) else jnp.tanh(x)
        x = x @ weights + shifts.reshape((1,) * (x.ndim - 1) + (-1,))
    return x


def init_layers(key: Any, fit: Fit, features: int, axes: int) -> Layers:
    """Returns a member's first parameters: normal, with a spread that keeps the size of inputs."""
    layers, widths = [], (features, *fit.hidden, axes)
    for number, (wide, next_wide) in enumerate(itertools.pairwise(widths)):
        drawn = jax.random.normal(jax.random.fold_in(key, number), (wide, next_wide))
        layers.append((drawn / jnp.sqrt(wide), jnp.zeros(next_wide)))
    return tuple(layers)


def fit_ensemble(key: Any, fit: Fit, start: Layers, x: np.ndarray) -> tuple[Layers, np.ndarray]:
    """Returns the ensemble fitted to judgements, and which judgements each member held out.

    start: the parameters to begin with, each with a leading axis of members.
    x: float `[m, v, 3, f]`, m judgements in v variants of anchor, near, far.
    The second result is bool `[k, m]`.
    """
    m, v, _, f = x.shape
    size = _SIZES ** int(np.ceil(np.log(max(m, 64)) / np.log(_SIZES)))
    padded = np.zeros((size, v, 3, f), np.float32)
    padded[:m] = x
    members, held = _fitted(key, fit, start, padded, np.int32(m))
    return members, np.asarray(held)[:, :m]


@partial(jax.jit, static_argnames="fit")
def _fitted(key: Any, fit: Fit, start: Layers, x: jax.Array, m: Any) -> tuple[Layers, jax.Array]:
    place = jnp.arange(len(x))
    keys = jax.random.split(key, fit.members)

    def member(key: Any, start: Layers) -> tuple[Layers, jax.Array]:
        rank = jnp.argsort(
            jnp.argsort(jnp.where(place < m, jax.random.uniform(key, (len(x),)), 2.0))
        )
        held = (place < m) & (rank < jnp.floor(fit.held * m))
        fitted = (place < m) & ~held

        def loss(layers: Layers) -> tuple[jax.Array, jax.Array]:
            each = _loss(fit, *triplet_distances(layers, x)).mean(1)
            size = sum((weights**2).sum() for weights, _ in layers)
            n = jnp.maximum(fitted.sum(), 1)
            mean = lambda rows: jnp.where(rows, each, 0.0).sum() / jnp.maximum(rows.sum(), 1)
            score = jnp.where(held.any(), mean(held), mean(fitted))
            return mean(fitted) + fit.ridge * size / n, score

        def step(carry: Any, t: jax.Array) -> tuple[Any, None]:
            layers, moments, best, least = carry
            (_, score), slope = jax.value_and_grad(loss, has_aux=True)(layers)
            better = score < least
            best = jax.tree.map(lambda old, new: jnp.where(better, new, old), best, layers)
            rate = fit.rate * 0.5 * (1 + jnp.cos(jnp.pi * t / fit.steps))
            layers, moments = adam_step(layers, moments, slope, t, rate)
            return (layers, moments, best, jnp.minimum(least, score)), None

        begin = (start, (jax.tree.map(jnp.zeros_like, start),) * 2, start, jnp.inf)
        (layers, _, best, least), _ = jax.lax.scan(
            step, begin, jnp.arange(fit.steps, dtype=jnp.float32)
        )
        last = loss(layers)[1] < least
        return jax.tree.map(lambda old, new: jnp.where(last, new, old), best, layers), held

    return jax.vmap(member)(keys, start)


def adam_step(
    layers: Any, moments: tuple[Any, Any], slope: Any, t: Any, rate: Any
) -> tuple[Any, tuple[Any, Any]]:
    """Returns the parameters and both moments after step `t`, from 0, of Adam.

    It is algorithm 1 of Kingma & Ba 2015, with its usual settings.
    """
    first = jax.tree.map(lambda a, g: 0.9 * a + 0.1 * g, moments[0], slope)
    second = jax.tree.map(lambda a, g: 0.999 * a + 0.001 * g * g, moments[1], slope)
    move = lambda w, a, b: (
        w - rate * (a / (1 - 0.9 ** (t + 1))) / (jnp.sqrt(b / (1 - 0.999 ** (t + 1))) + 1e-8)
    )
    return jax.tree.map(move, layers, first, second), (first, second)


def triplet_distances(layers: Layers, x: Any) -> tuple[Any, Any]:
    """Returns squared distances of anchors to near and to far, `[...]` each, from `[..., 3, f]`.

    A linear map needs the differences alone, of which there are fewer.
    """
    if len(layers) == 1:
        weights = layers[0][0]
        near = (x[..., 0, :] - x[..., 1, :]) @ weights
        far = (x[..., 0, :] - x[..., 2, :]) @ weights
    else:
        z = apply_layers(layers, x)
        near, far = z[..., 0, :] - z[..., 1, :], z[..., 0, :] - z[..., 2, :]
    return (near**2).sum(-1), (far**2).sum(-1)


def _loss(fit: Fit, near: jax.Array, far: jax.Array) -> jax.Array:
    if fit.loss == "hinge":
        return jnp.maximum(0.0, fit.margin - (far - near))
    if fit.flips == 0:
        return jax.nn.softplus(near - far)
    return -jnp.log(fit.flips + (1 - 2 * fit.flips) * jax.nn.sigmoid(far - near))

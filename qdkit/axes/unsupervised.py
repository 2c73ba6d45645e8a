"""Axes learnt from the candidates alone (AURORA, Cully 2019; Grillotti & Cully 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.core.types import Batch, Key

from .bounds import Bounds, box
from .ensemble import Fit, Layers, adam_step, apply_layers, init_layers
from .ok_candidates import OkCandidates
from .projection import Projection, procrustes

AROUND_ELITES = Bounds("elites")


@dataclass(frozen=True, eq=False)
class PrincipalAxes:
    """The unit box around the principal components of the features.

    dimensions: the number of axes.
    bounds: the box of the components that the archive covers.
    at: the commits after which the axes are computed again, from the elites.
    """

    dimensions: int = 2
    bounds: Bounds = AROUND_ELITES
    at: Sequence[int] = (1, 101, 251, 501)
    now: Projection | None = None

    def __call__(self, batch: Batch) -> np.ndarray:
        """Returns float64 `[n, d]`, from the features of the batch.

        Before the first commit of `at`, all are in the middle of the box.
        """
        if self.now is None:
            return np.full((len(batch), self.dimensions), 0.5)
        return self.now(batch.features)

    def learn(self, key: Key, known: OkCandidates, replies: Sequence[Any] = ()) -> PrincipalAxes:
        """Returns the axes after `known.steps` commits; `self` if that is not one of `at`."""
        if known.steps not in self.at or len(known.id) < 2:
            return self
        layers = self._layers(key, known.elite_features)
        at = Projection(layers, np.zeros(self.dimensions), np.ones(self.dimensions))
        if self.now is not None:
            elites = known.elite_features
            turn = procrustes(at.places(elites), self.now.places(elites))
            *rest, (weights, shifts) = layers
            at = at._replace(layers=(*rest, (weights @ turn, shifts @ turn)))
        low, high = box(
            at.places(self.bounds.around(known.features, known.elite)), self.bounds.cut
        )
        return replace(self, now=at._replace(low=low, high=high))

    @property
    def plain(self) -> dict[str, Any]:
        """The learnt state as JSON values."""
        return {"at": self.now.plain if self.now else None}

    def with_plain(self, plain: Mapping[str, Any]) -> PrincipalAxes:
        """Returns these axes with the learnt state `plain`."""
        return replace(self, now=Projection.of(plain["at"]) if plain["at"] else None)

    def _layers(self, key: Key, features: np.ndarray) -> Layers:
        centre = features.mean(0)
        components = np.linalg.svd(features - centre, full_matrices=False)[2][: self.dimensions].T
        weights = np.pad(components, ((0, 0), (0, max(0, self.dimensions - components.shape[1]))))
        return ((weights, -centre @ weights),)


@dataclass(frozen=True, eq=False)
class AutoencoderAxes(PrincipalAxes):
    """The unit box around the middle layer of an autoencoder, fitted to reconstruct the features.

    hidden: the widths of the encoder's hidden layers; the decoder has them in reverse order.
    steps, rate: of Adam, each step over all elites.
    """

    hidden: tuple[int, ...] = (64, 32)
    steps: int = 500
    rate: float = 0.01

    def _layers(self, key: Key, features: np.ndarray) -> Layers:
        # Padded to a power of two, so that a search compiles for a few sizes only.
        size = 1 << max(6, (len(features) - 1).bit_length())
        rows = np.zeros((size, features.shape[1]), np.float32)
        rows[: len(features)] = features
        layers = _encoder(
            key, self.hidden, self.dimensions, self.steps, self.rate, rows, np.int32(len(features))
        )
        return jax.tree.map(lambda part: np.asarray(part, np.float64), layers)


@partial(jax.jit, static_argnames=("hidden", "d", "steps"))
def _encoder(
    key: Key, hidden: tuple[int, ...], d: int, steps: int, rate: Any, rows: jax.Array, n: Any
) -> Layers:
    f, there = rows.shape[1], (jnp.arange(len(rows)) < n)[:, None]
    down, up = jax.random.split(key)
    parts = init_layers(down, Fit(hidden), f, d), init_layers(up, Fit(hidden[::-1]), d, f)

    def loss(parts: tuple[Layers, Layers]) -> jax.Array:
        back = apply_layers(parts[1], jnp.tanh(apply_layers(parts[0], rows)))
        return jnp.where(there, (back - rows) ** 2, 0.0).sum() / (n * f)

    def step(carry: Any, t: jax.Array) -> tuple[Any, None]:
        parts, moments = carry
        return adam_step(parts, moments, jax.grad(loss)(parts), t, rate), None

    begin = (parts, (jax.tree.map(jnp.zeros_like, parts),) * 2)
    (parts, _), _ = jax.lax.scan(step, begin, jnp.arange(steps, dtype=jnp.float32))
    return parts[0]

"""Axes learnt from the candidates alone, with nobody's answers (AURORA, Cully 2019; Grillotti & Cully 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.types import Batch, Key

from .bounds import Bounds, box
from .fits import Fit, Layers, begun, mapped, stepped
from .known import Known
from .projection import Projection, turned

AROUND_ELITES = Bounds("elites")


@dataclass(frozen=True, eq=False)
class Principal:
    """The unit box around the principal components of the features.

    dimensions: how many axes.
    bounds: which box of them the archive covers.
    at: after which commits they are computed anew, from the elites.
    """

    dimensions: int = 2
    bounds: Bounds = AROUND_ELITES
    at: Sequence[int] = (1, 101, 251, 501)
    now: Projection | None = None

    def __call__(self, batch: Batch) -> np.ndarray:
        """float64 `[n, d]`, from the features of the batch; the middle of the box before the first commit of `at`."""
        return np.full((len(batch), self.dimensions), 0.5) if self.now is None else self.now(batch.features)

    def learn(self, key: Key, known: Known, replies: Sequence[Any] = ()) -> Principal:
        """The axes after `known.steps` commits; `self` where that is none of `at`."""
        if known.steps not in self.at or len(known.id) < 2:
            return self
        layers = self._layers(key, known.some)
        at = Projection(layers, np.zeros(self.dimensions), np.ones(self.dimensions))
        if self.now is not None:
            turn = turned(at.places(known.some), self.now.places(known.some))
            *rest, (weights, shifts) = layers
            at = at._replace(layers=(*rest, (weights @ turn, shifts @ turn)))
        low, high = box(at.places(self.bounds.around(known.features, known.elite)), self.bounds.cut)
        return replace(self, now=at._replace(low=low, high=high))

    @property
    def plain(self) -> dict[str, Any]:
        """What was learnt, as JSON holds it."""
        return {"at": self.now.plain if self.now else None}

    def with_plain(self, plain: Mapping[str, Any]) -> Principal:
        """These axes after having learnt what `plain` holds."""
        return replace(self, now=Projection.of(plain["at"]) if plain["at"] else None)

    def _layers(self, key: Key, features: np.ndarray) -> Layers:
        centre = features.mean(0)
        components = np.linalg.svd(features - centre, full_matrices=False)[2][: self.dimensions].T
        weights = np.pad(components, ((0, 0), (0, max(0, self.dimensions - components.shape[1]))))
        return ((weights, -centre @ weights),)


@dataclass(frozen=True, eq=False)
class Encoded(Principal):
    """The unit box around the middle layer of an autoencoder, which is fitted to give the features back.

    hidden: the widths of the layers of the encoder, and backwards of the decoder.
    steps, rate: of Adam, over all elites at once.
    """

    hidden: tuple[int, ...] = (64, 32)
    steps: int = 500
    rate: float = 0.01

    def _layers(self, key: Key, features: np.ndarray) -> Layers:
        size = 1 << max(6, (len(features) - 1).bit_length())  # a search compiles for a few sizes alone
        rows = np.zeros((size, features.shape[1]), np.float32)
        rows[: len(features)] = features
        layers = _encoder(key, self.hidden, self.dimensions, self.steps, self.rate, rows, np.int32(len(features)))
        return jax.tree.map(lambda part: np.asarray(part, np.float64), layers)


@partial(jax.jit, static_argnames=("hidden", "d", "steps"))
def _encoder(key: Key, hidden: tuple[int, ...], d: int, steps: int, rate: Any, rows: jax.Array, n: Any) -> Layers:
    f, there = rows.shape[1], (jnp.arange(len(rows)) < n)[:, None]
    down, up = jax.random.split(key)
    parts = begun(down, Fit(hidden), f, d), begun(up, Fit(hidden[::-1]), d, f)

    def loss(parts: tuple[Layers, Layers]) -> jax.Array:
        back = mapped(parts[1], jnp.tanh(mapped(parts[0], rows)))
        return jnp.where(there, (back - rows) ** 2, 0.0).sum() / (n * f)

    def step(carry: Any, t: jax.Array) -> tuple[Any, None]:
        parts, moments = carry
        return stepped(parts, moments, jax.grad(loss)(parts), t, rate), None

    begin = (parts, (jax.tree.map(jnp.zeros_like, parts),) * 2)
    (parts, _), _ = jax.lax.scan(step, begin, jnp.arange(steps, dtype=jnp.float32))
    return parts[0]

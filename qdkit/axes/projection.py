"""Where features lie on learned axes: a map, and the box of it that becomes the unit box."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.elites import double

from .fits import Layers, mapped


class Projection(NamedTuple):
    """`layers` from features to places (see `qdkit.axes.fits`), of which low to high `[d]` is the unit box."""

    layers: Layers
    low: np.ndarray
    high: np.ndarray

    def places(self, features: np.ndarray) -> np.ndarray:
        """float64 `[n, d]` before the box: nan where a feature is nan."""
        with double():
            return np.asarray(_mapped(self.layers, np.asarray(features, np.float64)))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """float64 `[n, d]`: within 0 and 1 for what lies in the box."""
        with double():
            return np.asarray(_described(self, np.asarray(features, np.float64)))

    @property
    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        layers = [[np.asarray(part).tolist() for part in layer] for layer in self.layers]
        return {"layers": layers, "low": self.low.tolist(), "high": self.high.tolist()}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Projection:
        """The projection that `plain` holds."""
        layers = tuple((np.array(weights), np.array(shifts)) for weights, shifts in plain["layers"])
        return cls(layers, np.array(plain["low"]), np.array(plain["high"]))


@jax.jit
def _mapped(layers: Layers, features: jax.Array) -> jax.Array:
    return mapped(layers, features)


@jax.jit
def _described(at: Projection, features: jax.Array) -> jax.Array:
    width = jnp.expand_dims(at.high - at.low, 0)
    return (mapped(at.layers, features) - jnp.expand_dims(at.low, 0)) / width


def scaling(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(centre `[f]`, matrix `[f, g]`): principal components of `features`, each times its standard deviation.

    The largest component has spread 1, and each other the square of its share of it: few judgements
    are then explained by what varies most, as L2 takes large weights for unlikely. Whitening does the
    reverse, and needs many more judgements. Components without spread are left out.
    """
    centre = features.mean(0)
    _, spread, components = np.linalg.svd((features - centre) / np.sqrt(max(len(features), 1)), full_matrices=False)
    real = spread > 1e-6 * max(spread.max(initial=0.0), 1e-12)
    if not real.any():
        return centre, np.eye(features.shape[1])
    return centre, components[real].T * (spread[real] / spread[0] ** 2)


def turned(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """The rotation or mirroring `[d, d]` after which places `new` `[s, d]` lie nearest to `old` (Procrustes)."""
    left, _, right = np.linalg.svd((new - new.mean(0)).T @ (old - old.mean(0)))
    return left @ right

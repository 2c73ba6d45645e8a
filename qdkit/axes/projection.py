"""Where features lie on learned axes: a map, and the box of it that becomes the unit box."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .fits import Layers, mapped


class Projection(NamedTuple):
    """`layers` from features to places (see `qdkit.axes.fits`), of which low to high `[d]` is the unit box."""

    layers: Layers
    low: np.ndarray
    high: np.ndarray

    def places(self, features: np.ndarray) -> np.ndarray:
        """float64 `[n, d]` before the box: nan where a feature is nan."""
        return mapped(self.layers, np.asarray(features, np.float64))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """float64 `[n, d]`: within 0 and 1 for what lies in the box.

        nan where a feature is nan, or where there are not as many as were learnt from, as of who has none.
        """
        if np.shape(features)[1] != len(self.layers[0][0]):
            return np.full((len(features), len(self.low)), np.nan)
        return (self.places(features) - self.low) / (self.high - self.low)

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


COMPONENTS = 64  # of features at most, whatever their number


def scaling(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(centre `[f]`, matrix `[f, min(f, 64)]`): principal components of `features`, each times its standard deviation.

    The largest component has spread 1, and each other the square of its share of it: few judgements
    are then explained by what varies most, as L2 takes large weights for unlikely. Whitening does the
    reverse, and needs many more judgements. Components without spread are zero.
    """
    centre, f = features.mean(0), features.shape[1]
    _, spread, components = np.linalg.svd((features - centre) / np.sqrt(len(features)), full_matrices=False)
    most = max(float(spread[0]), 1e-12)
    factor = np.where(spread > 1e-6 * most, spread / most**2, 0.0)[:COMPONENTS]
    scale = components[:COMPONENTS].T * factor
    return centre, np.pad(scale, ((0, 0), (0, min(f, COMPONENTS) - scale.shape[1])))


def turned(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """The rotation or mirroring `[d, d]` after which places `new` `[s, d]` lie nearest to `old` (Procrustes)."""
    left, _, right = np.linalg.svd((new - new.mean(0)).T @ (old - old.mean(0)))
    return left @ right

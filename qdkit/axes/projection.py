"""The place of features on learned axes: a map, and the box of it that becomes the unit box."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .ensemble import Layers, apply_layers


class Projection(NamedTuple):
    """A map from features to places, and the box of it that becomes the unit box.

    layers: the map (see `qdkit.axes.ensemble`). low, high: `[d]`, the box.
    """

    layers: Layers
    low: np.ndarray
    high: np.ndarray

    def places(self, features: np.ndarray) -> np.ndarray:
        """Returns float64 `[n, d]`, places on the map's own scale; nan where a feature is nan."""
        return apply_layers(self.layers, np.asarray(features, np.float64))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Returns float64 `[n, d]`: from 0 to 1 within the box.

        It is nan where a feature is nan, and everywhere if the number of features is not that of
        the map, as for a candidate without features.
        """
        if np.shape(features)[1] != len(self.layers[0][0]):
            return np.full((len(features), len(self.low)), np.nan)
        return (self.places(features) - self.low) / (self.high - self.low)

    @property
    def plain(self) -> dict[str, Any]:
        """The projection as JSON values."""
        layers = [[np.asarray(part).tolist() for part in layer] for layer in self.layers]
        return {"layers": layers, "low": self.low.tolist(), "high": self.high.tolist()}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Projection:
        """Returns the projection of the JSON values `plain`."""
        layers = tuple(
            (np.array(weights), np.array(shifts)) for weights, shifts in plain["layers"]
        )
        return cls(layers, np.array(plain["low"]), np.array(plain["high"]))


_COMPONENTS = 64  # the greatest number of components


def component_scaling(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (centre `[f]`, matrix `[f, min(f, 64)]`) that scale features by their components.

    The columns are the principal components of `features`, times their standard deviation, over
    the square of the largest. The largest component then has spread 1, and each other the square
    of its share of it: few judgements are then explained by what varies most, as L2 makes large
    weights unlikely. Whitening does the reverse, and needs many more judgements. Components
    without spread are zero.
    """
    centre, f = features.mean(0), features.shape[1]
    _, spread, components = np.linalg.svd(
        (features - centre) / np.sqrt(len(features)), full_matrices=False
    )
    most = max(float(spread[0]), 1e-12)
    factor = np.where(spread > 1e-6 * most, spread / most**2, 0.0)[:_COMPONENTS]
    scale = components[:_COMPONENTS].T * factor
    return centre, np.pad(scale, ((0, 0), (0, min(f, _COMPONENTS) - scale.shape[1])))


def procrustes(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Returns the rotation or mirroring `[d, d]` that takes places `new` nearest to `old`.

    new, old: `[s, d]` (Procrustes).
    """
    left, _, right = np.linalg.svd((new - new.mean(0)).T @ (old - old.mean(0)))
    return left @ right

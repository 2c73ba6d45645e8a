"""The data that axes learn from: all candidates that are ok, as arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class OkCandidates(NamedTuple):
    """All candidates of a run that are ok, in the order of their ids, after `steps` commits.

    id: int32 `[m]`. features: float64 `[m, f]`. elite: bool `[m]`, whether it is an elite now.
    """

    id: np.ndarray
    features: np.ndarray
    elite: np.ndarray
    steps: int

    @property
    def elite_features(self) -> np.ndarray:
        """The features of the elites; of all candidates if there are fewer than three elites."""
        return self.features[self.elite] if self.elite.sum() >= 3 else self.features

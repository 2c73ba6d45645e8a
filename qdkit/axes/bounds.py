"""The box of a learned space that the cells of an archive cover.

Places outside the box are clipped into the border cells. On the arm of QDHF, redrawing the box
makes about 85 % of the gain of learning during the search over learning before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

# Places that differ by less than this share of the greatest number differ by rounding only.
_SAME = 1e-12


@dataclass(frozen=True, eq=False)
class Bounds:
    """How the box is drawn.

    of: what the box encloses: "elites" (as in QDHF), all "candidates" so far, or a sample of
      features, float `[s, f]`, that is wider than what a search begins with; the elites are then
      enclosed too.
    cut: the share left out at each end of an axis; 0 takes the least and the greatest, 0.01 is the
      rule of pyribs' tutorial.
    grow: the share of candidates outside above which the box is widened around all of them,
      without a new fit; None for never.
    """

    of: Literal["elites", "candidates"] | np.ndarray = "candidates"
    cut: float = 0.0
    grow: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.of, str) and self.of not in ("elites", "candidates"):
            raise ValueError(
                f'of is "elites", "candidates" or an array of features, not {self.of!r}'
            )
        if not 0 <= self.cut < 0.5 or not 0 <= (self.grow or 0) < 1:
            raise ValueError(
                f"cut is from 0 and below a half, grow from 0 and below 1, not {self.cut}, "
                f"{self.grow}"
            )

    def around(self, features: np.ndarray, elite: np.ndarray) -> np.ndarray:
        """Returns the features, float `[s, f]`, that the box encloses.

        elite: which of `features` are of elites.
        """
        if isinstance(self.of, np.ndarray):
            return np.concatenate([self.of, features[elite]])
        return features[elite] if self.of == "elites" and elite.sum() >= 3 else features


def box(places: np.ndarray, cut: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Returns (low `[d]`, high `[d]`) around places `[s, d]`.

    An axis on which all places are equal has width 1.
    """
    low, high = (
        np.quantile(places, [cut, 1 - cut], axis=0)
        if len(places)
        else np.zeros((2, places.shape[1]))
    )
    flat = high - low <= _SAME * np.maximum(np.abs(low), np.abs(high))
    return np.where(flat, low - 0.5, low), np.where(flat, high + 0.5, high)


def outside(places: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Returns the share of places `[s, d]` that lie outside; 0 for no places."""
    return float(((places < low) | (places > high)).any(1).mean()) if len(places) else 0.0

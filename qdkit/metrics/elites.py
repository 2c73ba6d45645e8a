"""How much of the map is filled, and how well: functions of `Elites`.

Sums are taken in float64, whatever the elites are kept in.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from qdkit.elites import Elites


def occupied(elites: Elites) -> int:
    """How many cells have an elite."""
    return int(np.count_nonzero(elites.occupied))


def coverage(elites: Elites) -> float:
    """The share of cells that have an elite, between 0 and 1."""
    return occupied(elites) / len(elites.objective)


def qd_score(elites: Elites, floor: float = 0.0) -> float:
    """The sum over the elites of objective minus `floor` (Pugh et al. 2016).

    With a `floor` that no objective falls below, a new elite never lowers the score.
    """
    return _sum(_objectives(elites) - floor)


def best(elites: Elites) -> float:
    """The highest objective; nan while there is no elite."""
    return float(_objectives(elites).max()) if occupied(elites) else math.nan


def mean_objective(elites: Elites) -> float:
    """The mean objective of the elites; nan while there is none."""
    return _sum(_objectives(elites)) / occupied(elites) if occupied(elites) else math.nan


def _sum(values: np.ndarray) -> float:
    """Without rounding on the way; infinite where no float holds it."""
    try:
        return math.fsum(values)
    except OverflowError:
        return math.copysign(math.inf, math.fsum(values / len(values)))


def _objectives(elites: Elites) -> np.ndarray:
    """float64 `[n]`: the objectives of the elites, without the empty cells."""
    return np.asarray(elites.objective, np.float64)[np.asarray(elites.occupied)]

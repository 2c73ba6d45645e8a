"""How much of the map is filled, and how well: functions of `Elites`.

A cell that keeps several elites counts once, by its best. Sums are computed in float64, whatever
the dtype of the elites.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from qdkit.core.elites import Elites


def occupied(elites: Elites) -> int:
    """Returns the number of cells that have an elite."""
    return len(_objectives(elites))


def coverage(elites: Elites) -> float:
    """Returns the share of cells that have an elite, between 0 and 1."""
    return occupied(elites) / (len(elites.objective) // elites.depth)


def qd_score(elites: Elites, floor: float = 0.0) -> float:
    """Returns the sum over the cells' elites of objective minus `floor` (Pugh et al. 2016).

    With a `floor` that no objective falls below, a new elite never lowers the score. An elite
    below the floor counts negative: a map of such elites scores the higher the emptier it is.
    Searches, `show` and `compare` report that.
    """
    return _sum(_objectives(elites) - floor)


def best_objective(elites: Elites) -> float:
    """Returns the highest objective; nan while there is no elite."""
    return float(_objectives(elites).max()) if occupied(elites) else math.nan


def mean_objective(elites: Elites) -> float:
    """Returns the mean objective of the elites; nan while there is none."""
    return _sum(_objectives(elites)) / occupied(elites) if occupied(elites) else math.nan


def _sum(values: np.ndarray) -> float:
    """Returns the exactly rounded sum; infinite where no float holds it."""
    try:
        return math.fsum(values)
    except OverflowError:
        return math.copysign(math.inf, math.fsum(values / len(values)))


def _objectives(elites: Elites) -> np.ndarray:
    """Returns the objective of the best elite of each cell that has one, float64 `[n]`."""
    objectives = np.asarray(elites.objective, np.float64)[:: elites.depth]
    return objectives[objectives > -np.inf]

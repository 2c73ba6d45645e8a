"""How well preferences are told in advance: by fits that have not seen them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from qdkit.preferences.bradley_terry import Taste
from qdkit.preferences.comparisons import Comparisons
from qdkit.preferences.mixture import Tastes


def held_out(
    fit: Callable[[Comparisons, np.ndarray], Taste | Tastes],
    comparisons: Comparisons,
    features: np.ndarray,
    *,
    folds: int = 10,
    seed: int = 0,
) -> np.ndarray:
    """float `[n]`: how likely left was preferred, each said by a fit to the other folds, drawn at random.

    fit: `taste` or `tastes`, with settings by `functools.partial`.
    folds: as many as comparisons leaves one out at a time.

        accuracy(held_out(taste, said, features), said)
    """
    n = len(comparisons)
    if not 2 <= folds <= n:
        raise ValueError(f"{n} comparisons are split in 2 to {n} folds, not in {folds}")
    fold = np.random.default_rng(seed).permutation(np.arange(n) % folds)
    said = np.full(n, np.nan)
    for number in range(folds):
        out = fold == number
        said[out] = fit(comparisons.take(~out), features).probability(comparisons.take(out), features)
    return said


def accuracy(probability: np.ndarray, comparisons: Comparisons) -> float:
    """The share of decided comparisons that went as was more likely, ½ for a toss-up; nan where all are ties."""
    decided = comparisons.won != 0.5
    right = np.where(probability == 0.5, 0.5, (probability > 0.5) == (comparisons.won > 0.5))
    return float(right[decided].mean()) if decided.any() else float("nan")


class Group(NamedTuple):
    """A row of `by_group`: its raters, their comparisons, and how many of these were told in advance."""

    raters: int
    comparisons: int
    accuracy: float


def by_group(probability: np.ndarray, comparisons: Comparisons, tastes: Tastes) -> list[Group]:
    """A row for each group of raters, the largest first: what the mean over all raters hides."""
    most = dict(zip(tastes.raters, tastes.member.argmax(1).tolist(), strict=True))
    group = np.array([most.get(rater, -1) for rater in np.asarray(comparisons.rater).tolist()])
    rows = []
    for number in range(len(tastes.groups)):
        its = group == number
        said = comparisons.take(its)
        rows.append(Group(len(np.unique(said.rater)), int(its.sum()), accuracy(probability[its], said)))
    return rows

"""How well fits predict preferences that they were not fitted to."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from qdkit.core.seeds import numpy_seed
from qdkit.feedback.preferences.bradley_terry import Taste
from qdkit.feedback.preferences.comparisons import Comparisons
from qdkit.feedback.preferences.mixture import Tastes


def held_out(
    fit: Callable[[Comparisons, np.ndarray], Taste | Tastes],
    comparisons: Comparisons,
    features: np.ndarray,
    *,
    folds: int = 10,
    seed: int = 0,
) -> np.ndarray:
    """Returns float `[n]`: the probability that left was preferred, by cross-validation.

    Each comparison is predicted by a fit to the other folds. The folds are drawn at random.

    fit: `taste` or `tastes`, with settings by `functools.partial`.
    folds: the number of folds; with as many as comparisons, one at a time is left out.

        accuracy(held_out(taste, comparisons, features), comparisons)
    """
    n = len(comparisons)
    if not 2 <= folds <= n:
        raise ValueError(f"{n} comparisons are split in 2 to {n} folds, not in {folds}")
    fold = np.random.default_rng(numpy_seed(seed)).permutation(np.arange(n) % folds)
    predicted = np.full(n, np.nan)
    for number in range(folds):
        out = fold == number
        taste = fit(comparisons.take(~out), features)
        predicted[out] = taste.probability(comparisons.take(out), features)
    return predicted


def accuracy(probability: np.ndarray, comparisons: Comparisons) -> float:
    """Returns the share of decided comparisons whose outcome was the more probable one.

    A probability of ½ counts ½; the result is nan if all are ties.
    """
    decided = comparisons.won != 0.5
    right = np.where(probability == 0.5, 0.5, (probability > 0.5) == (comparisons.won > 0.5))
    return float(right[decided].mean()) if decided.any() else float("nan")


class RaterGroup(NamedTuple):
    """A row of `by_group`: numbers of raters and comparisons, and the accuracy on these."""

    raters: int
    comparisons: int
    accuracy: float


def by_group(
    probability: np.ndarray, comparisons: Comparisons, tastes: Tastes
) -> list[RaterGroup]:
    """Returns a row for each group of raters, the largest first.

    The mean over all raters hides their differences.
    """
    group_of = dict(zip(tastes.raters, tastes.member.argmax(1).tolist(), strict=True))
    group = np.array([group_of.get(rater, -1) for rater in np.asarray(comparisons.rater).tolist()])
    rows = []
    for number in range(len(tastes.groups)):
        mine = group == number
        some = comparisons.take(mine)
        raters = len(np.unique(some.rater))
        rows.append(RaterGroup(raters, int(mine.sum()), accuracy(probability[mine], some)))
    return rows

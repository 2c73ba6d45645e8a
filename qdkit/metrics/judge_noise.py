"""The effect of a judge's errors on what an archive reports, and corrections for it.

An elitist archive under a noisy judge keeps lucky scores: the best of many candidates is the
luckiest of the good ones, and its score is too high by about the judge's error. These formulas
give the score to report instead (`shrunk`), the score to compare by when in doubt (`lower_bound`),
and the size of the error (`variance_components`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class VarianceComponents(NamedTuple):
    """The components of the scores of several things that were judged several times.

    mean: of all things.
    quality: the standard deviation of the things' true scores.
    noise: the standard deviation of one judgement about the true score.
    """

    mean: float
    quality: float
    noise: float

    @property
    def reliability(self) -> float:
        """The share of the variance of one judgement that is due to the things, in [0, 1].

        Nan where nothing differs.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            quality = np.square(np.float64(self.quality))
            total = quality + np.square(np.float64(self.noise))
            return float(quality / total) if total else np.nan


def variance_components(scores: Sequence[Sequence[float]]) -> VarianceComponents:
    """Returns the variance components of the scores of each thing; nan marks a missing score.

    One-way analysis of variance for unequal counts: `noise²` is the mean square within, `quality²`
    is `(mean square between - noise²) / n0`, 0 at least, with
    `n0 = (N - Σ n² / N) / (things - 1)`.

    Raises ValueError unless two things were judged and one of them twice: fewer scores cannot
    separate noise from quality.
    """
    known = [row[np.isfinite(row)] for row in (np.asarray(row, float) for row in scores)]
    known = [row for row in known if len(row)]
    n = np.array([len(row) for row in known])
    total, things = int(n.sum()), len(known)
    if things < 2 or total == things:
        raise ValueError(
            f"{things} things were judged {total} times: judge two or more, and each of them again"
        )
    # the squares of scores above 1e154 are inf or nan
    with np.errstate(over="ignore", invalid="ignore"):
        means = np.array([row.mean() for row in known])
        within = sum(((row - row.mean()) ** 2).sum() for row in known) / (total - things)
        middle = float((n * means).sum() / total)
        between = (n * (means - middle) ** 2).sum() / (things - 1)
        n0 = (total - (n**2).sum() / total) / (things - 1)
        quality = float(np.sqrt(max(0.0, (between - within) / n0)))
        return VarianceComponents(middle, quality, float(np.sqrt(within)))


def shrunk(mean: np.ndarray, count: np.ndarray | int, about: VarianceComponents) -> np.ndarray:
    """Returns the expected true scores of things that scored `mean` over `count` judgements.

    float `[n]`: `m + (mean - m) q² / (q² + s² / count)` with m, q and s of all things, `about`:
    the posterior mean where both are normal. It is unbiased even for things that were selected by
    their scores. Without a judgement the result is m.
    """
    count = np.asarray(count, float)
    with np.errstate(over="ignore", invalid="ignore"):
        quality, noise = np.square(np.float64(about.quality)), np.square(np.float64(about.noise))
        weight = count * quality / np.maximum(count * quality + noise, 1e-300)
        deviation = np.where(count > 0, np.nan_to_num(mean) - about.mean, 0.0)
        return np.asarray(about.mean + deviation * weight)


def lower_bound(
    mean: np.ndarray, count: np.ndarray | int, noise: float, c: float = 1.0
) -> np.ndarray:
    """Returns a lower bound of the true score, `mean - c · noise / √count`, float `[n]`.

    By this bound a thing that was judged rarely must score higher to win. It is -inf without a
    judgement.

    c: the number of standard errors; with 1, a sixth of the true scores lie below the bound.
    """
    count = np.asarray(count, float)
    below = np.asarray(mean, float) - c * noise / np.sqrt(np.maximum(count, 1e-300))
    return np.asarray(np.where(count > 0, below, -np.inf))

"""What the errors of a judge do to what an archive reports, and how much of it can be taken back.

An elitist archive under a noisy judge keeps lucky scores: the best of many is the luckiest of the
good, and its score is too high by about the judge's error. These formulas say what to report instead
(`shrunk`), what to compare by when in doubt (`lower_bound`), and how large the error is (`parts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Parts(NamedTuple):
    """What the scores of several things judged several times are made of.

    mean: of all things. quality: standard deviation of the things' true scores. noise: of one judgement about them.
    """

    mean: float
    quality: float
    noise: float

    @property
    def reliability(self) -> float:
        """The share of the variance of one judgement that is the things' own, in [0, 1]; nan where nothing differs."""
        whole = self.quality**2 + self.noise**2
        return self.quality**2 / whole if whole else np.nan


def parts(scores: Sequence[Sequence[float]]) -> Parts:
    """The parts, from the scores of each thing; those that are nan were not given.

    One-way analysis of variance for unequal counts: `noise²` is the mean square within, `quality²` is
    `(mean square between - noise²) / n0`, 0 at least, with `n0 = (N - Σ n² / N) / (things - 1)`.

    Raises ValueError unless two things were judged and one of them twice: nothing less tells noise from quality.
    """
    known = [row[np.isfinite(row)] for row in (np.asarray(row, float) for row in scores)]
    known = [row for row in known if len(row)]
    n = np.array([len(row) for row in known])
    total, things = int(n.sum()), len(known)
    if things < 2 or total == things:
        raise ValueError(f"{things} things were judged {total} times: judge two or more, and each of them again")
    means = np.array([row.mean() for row in known])
    within = sum(((row - row.mean()) ** 2).sum() for row in known) / (total - things)
    middle = float((n * means).sum() / total)
    between = (n * (means - middle) ** 2).sum() / (things - 1)
    n0 = (total - (n**2).sum() / total) / (things - 1)
    return Parts(middle, float(np.sqrt(max(0.0, (between - within) / n0))), float(np.sqrt(within)))


def shrunk(mean: np.ndarray, count: np.ndarray | int, about: Parts) -> np.ndarray:
    """float `[n]`: the true scores to be expected of things that scored `mean` over `count` judgements.

    `m + (mean - m) q² / (q² + s² / count)` with m, q and s of all things `about`: the posterior mean
    where both are normal. Chosen for their scores or not, it is right on average. No judgement gives m.
    """
    count = np.asarray(count, float)
    weight = count * about.quality**2 / np.maximum(count * about.quality**2 + about.noise**2, 1e-300)
    return np.asarray(about.mean + np.where(count > 0, np.nan_to_num(mean) - about.mean, 0.0) * weight)


def lower_bound(mean: np.ndarray, count: np.ndarray | int, noise: float, c: float = 1.0) -> np.ndarray:
    """float `[n]`: `mean - c · noise / √count`, by which what was judged rarely must be better to win; -inf unjudged.

    c: how many standard errors; 1 leaves a sixth of the true scores below.
    """
    count = np.asarray(count, float)
    below = np.asarray(mean, float) - c * noise / np.sqrt(np.maximum(count, 1e-300))
    return np.asarray(np.where(count > 0, below, -np.inf))

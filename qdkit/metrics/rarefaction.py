"""Diversity at equal n, since every measure of it grows with the number of things looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

TIMES = 20  # subsamples: the mean of so many is known to a fifth of their spread


class Rarefied(NamedTuple):
    """A measure of subsamples of `n`: the mean, and the standard deviation between them (0 where there is but one)."""

    mean: float
    deviation: float
    n: int


def draws(of: int, n: int, seed: int = 0, times: int = TIMES) -> np.ndarray:
    """int `[times, n]`: rows of `times` subsamples without replacement; one alone, of all rows, where `n` is `of`.

    Raises ValueError where `n` is more than there are.
    """
    if not 0 <= n <= of:
        raise ValueError(f"{n} of {of} things cannot be drawn: compare two sets at the n of the smaller")
    if n == of:
        return np.arange(of)[None]
    random = np.random.default_rng(seed)
    return np.stack([random.choice(of, n, replace=False) for _ in range(times)])


def rarefied(measure: Callable[[np.ndarray], float], rows: np.ndarray) -> Rarefied:
    """What `measure` gives for each of the subsamples `rows`, as of `draws` (Sanders 1968, Hurlbert 1971).

    `rarefied(lambda rows: vendi(features[rows]), draws(len(features), 32))` can be held against any other
    set of at least 32, whatever the size of the two.
    """
    values = np.array([measure(each) for each in rows], np.float64)
    return Rarefied(float(values.mean()), float(values.std()), rows.shape[1])

"""Diversity at equal n, since every measure of it grows with the size of the set."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from qdkit.core.seeds import numpy_seed

_TIMES = 20  # subsamples: the error of their mean is about a fifth of their standard deviation


class Rarefied(NamedTuple):
    """A measure of subsamples of `n` things.

    mean: the mean over the subsamples.
    deviation: their standard deviation, 0 where there is but one.
    n: how many things each subsample has.
    """

    mean: float
    deviation: float
    n: int


def draws(of: int, n: int, seed: int = 0, times: int = _TIMES) -> np.ndarray:
    """Returns `times` subsamples of `n` rows without replacement, int `[times, n]`.

    Returns a single one, of all rows, where `n` is `of`. Raises ValueError where `n` is more than
    `of`.
    """
    if not 0 <= n <= of:
        raise ValueError(
            f"{n} of {of} things cannot be drawn: compare two sets at the n of the smaller"
        )
    if n == of:
        return np.arange(of)[None]
    random = np.random.default_rng(numpy_seed(seed))
    return np.stack([random.choice(of, n, replace=False) for _ in range(times)])


def rarefied(measure: Callable[[np.ndarray], float], rows: np.ndarray) -> Rarefied:
    """Returns the mean of `measure` over the subsamples `rows` (Sanders 1968, Hurlbert 1971).

    rows: as `draws` returns them.

    The result of `rarefied(lambda rows: vendi(features[rows]), draws(len(features), 32))` can be
    compared with that of any other set of at least 32, whatever the sizes of the two.
    """
    values = np.array([measure(each) for each in rows], np.float64)
    return Rarefied(float(values.mean()), float(values.std()), rows.shape[1])

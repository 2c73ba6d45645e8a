"""The rows of a set that are most unlike each other, and the gain of a new row.

Both use the Vendi score of order 2, n² / Σ K_ij²: adding a row changes a sum, and needs no
eigenvalues.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from qdkit.metrics.vendi_score import Kernel, cosine, directions, vendi


def subset(
    features: Any, k: int, start: Sequence[int] = (), quality: Any = None, kernel: Kernel = cosine
) -> np.ndarray:
    """Returns the `k` rows most unlike each other, int `[k]`, in the order of their choice.

    Returns all rows where there are fewer. Each step takes the row with which the Vendi score of
    order 2 is greatest, of equal rows the first.

    start: rows that belong to the subset already, such as those that are displayed anyway. They
      come first in the result.
    quality: float `[n]`, from 0. With it, the mean quality times the Vendi score is maximised
      (Nguyen & Dieng 2024, the quality-weighted Vendi score), and the first row is the best.
    kernel: as of `vendi`; 1 for a row and itself.

    Raises ValueError for a start that is not `k` different rows at most, and for a quality below 0
    or nan.
    """
    n = len(features)
    chosen = [int(i) for i in start]
    if len(set(chosen)) < len(chosen) or any(not 0 <= i < n for i in chosen) or len(chosen) > k:
        raise ValueError(
            f"start is at most {k} different rows from 0 to {n - 1}, not {list(start)}"
        )
    worth = np.ones(n) if quality is None else np.asarray(quality, np.float64)
    if worth.shape != (n,) or not np.isfinite(worth).all() or (worth < 0).any():
        raise ValueError(
            f"quality is {n} finite numbers from 0, one for each row: shift or rank it first"
        )
    rows = directions(features) if n and kernel is cosine else features

    def squared_similarity(i: int) -> np.ndarray:
        if kernel is cosine:
            return (rows @ rows[i]) ** 2
        return np.asarray(kernel(rows, rows[i : i + 1]))[:, 0] ** 2

    # joint: Σ K_ij² over the chosen j; inside: over all chosen i and j; total: of their quality
    joint, inside, total = np.zeros(n), 0.0, 0.0
    order: list[int] = []
    while len(order) < min(k, n):
        if chosen:
            row = chosen.pop(0)
        else:
            score = (total + worth) * (len(order) + 1) / (inside + 2 * joint + 1)
            score[order] = -np.inf
            row = int(np.argmax(score))
        inside, total = inside + 2 * joint[row] + 1, total + worth[row]
        joint = joint + squared_similarity(row)
        order.append(row)
    return np.array(order, int)


def gain(features: Any, others: Any, kernel: Kernel = cosine) -> np.ndarray:
    """Returns how much each row would raise the Vendi score of order 2 of `others`, float64 `[n]`.

    Each row of `features` counts alone. The gain is at most 1, for a row that is like no other,
    and below 0 for a row of which there are too many already.
    """
    m = len(others)
    if not m or not len(features):
        return np.ones(len(features))
    before = vendi(others, 2, kernel=kernel)
    joint = (np.asarray(kernel(features, others), np.float64) ** 2).sum(1)
    return (m + 1) ** 2 / (m**2 / before + 2 * joint + 1) - before

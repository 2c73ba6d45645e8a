"""Which rows of a set are most unlike each other, and how much a new one would add.

Both by the Vendi score of order 2, n² / Σ K_ij²: adding a row changes a sum, and needs no eigenvalues.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from qdkit.metrics.similarity import Kernel, cosine, directions, vendi


def subset(
    features: Any, k: int, start: Sequence[int] = (), quality: Any = None, kernel: Kernel = cosine
) -> np.ndarray:
    """int `[k]`: rows most unlike each other, in the order in which they were chosen; all, where there are fewer.

    Each time the row is taken that leaves the greatest Vendi score of order 2; the first row wins a tie.

    start: rows that belong to it already, such as what is shown anyway; they come first in the answer.
    quality: float `[n]`, from 0. With it, the mean quality times the Vendi score is made great
      (Nguyen & Dieng 2024, the quality-weighted Vendi score), and the first row is the best.
    kernel: as of `vendi`; 1 for a row and itself.

    Raises ValueError for a start that is not `k` different rows at most, or a quality below 0 or nan.
    """
    n = len(features)
    chosen = [int(i) for i in start]
    if len(set(chosen)) < len(chosen) or any(not 0 <= i < n for i in chosen) or len(chosen) > k:
        raise ValueError(f"start is at most {k} different rows from 0 to {n - 1}, not {list(start)}")
    worth = np.ones(n) if quality is None else np.asarray(quality, np.float64)
    if worth.shape != (n,) or not np.isfinite(worth).all() or (worth < 0).any():
        raise ValueError(f"quality is {n} finite numbers from 0, one for each row: shift or rank it first")
    rows = directions(features) if n and kernel is cosine else features
    like = lambda i: (rows @ rows[i] if kernel is cosine else np.asarray(kernel(rows, rows[i : i + 1]))[:, 0]) ** 2
    joint, inside, total = np.zeros(n), 0.0, 0.0  # Σ K_ij² over j chosen; over both chosen; of their worth
    order: list[int] = []
    while len(order) < min(k, n):
        if chosen:
            row = chosen.pop(0)
        else:
            score = (total + worth) * (len(order) + 1) / (inside + 2 * joint + 1)
            score[order] = -np.inf
            row = int(np.argmax(score))
        inside, total = inside + 2 * joint[row] + 1, total + worth[row]
        joint = joint + like(row)
        order.append(row)
    return np.array(order, int)


def gain(features: Any, others: Any, kernel: Kernel = cosine) -> np.ndarray:
    """float64 `[n]`: by how much each row of `features` alone would raise the Vendi score of order 2 of `others`.

    At most 1 while it is new in every way; below 0 for what there is more than enough of.
    """
    m = len(others)
    if not m or not len(features):
        return np.ones(len(features))
    before = vendi(others, 2, kernel=kernel)
    joint = (np.asarray(kernel(features, others), np.float64) ** 2).sum(1)
    return (m + 1) ** 2 / (m**2 / before + 2 * joint + 1) - before

"""Strengths of things compared in pairs (Bradley & Terry 1952), and the effect of their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_UNBOUNDED = 12.0  # log-odds that no number of comparisons shows
_STEPS = 50  # of Newton; a dozen are enough if it converges


class Strengths(NamedTuple):
    """The fitted strengths.

    strength: float `[items]`, in log-odds, with mean 0.
    position: what standing first adds to them, 0 if it was not fitted.
    """

    strength: np.ndarray
    position: float


def strengths(
    first: Sequence[int],
    second: Sequence[int],
    won: Sequence[float],
    *,
    prior: float = 0.0,
    position: bool = True,
) -> Strengths:
    """Returns the likeliest strengths s and b in `P(first wins) = σ(s_first - s_second + b)`.

    first, second: int `[n]`, the items of each comparison. won: float `[n]`, 1 where the first
      won, 0 where the second did, ½ for a tie.
    prior: weight of `(Σ s² + b²) / 2`. Without it, an item that always won, or was never compared
      with the rest, has no finite strength (ValueError).
    position: whether `b` is fitted. A judge that prefers what comes first flattens all strengths
      unless it is.
    """
    a, b, y = np.asarray(first), np.asarray(second), np.asarray(won, float)
    items = int(max(a.max(), b.max())) + 1
    design = np.zeros((len(y), items + 1))
    rows = np.arange(len(y))
    design[rows, a] += 1.0
    design[rows, b] -= 1.0
    design[:, items] = float(position)
    # The likelihood does not depend on the mean of the strengths, and on b only if it is fitted.
    ridge = np.diag([prior] * items + [prior if position else 1.0])
    ridge[:items, :items] += 1 / items
    theta = fit_logistic(design, y, ridge)
    if theta is None or np.abs(theta).max() > _UNBOUNDED:
        raise ValueError(
            "something won or lost against all it was compared with, or never met the rest: give "
            "a prior"
        )
    return Strengths(theta[:items] - theta[:items].mean(), float(theta[items]))


def fit_logistic(
    design: np.ndarray,
    won: np.ndarray,
    ridge: np.ndarray,
    weight: np.ndarray | float = 1.0,
    start: np.ndarray | None = None,
) -> np.ndarray | None:
    """Returns the θ that maximises a penalised logistic likelihood, by Newton; float `[k]`.

    The likelihood is `Σ w (y log p + (1 - y) log(1 - p)) - θᵀRθ / 2` with `p = σ(Xθ)`.

    design: X, float `[n, k]`. won: y, float `[n]` in [0, 1]. ridge: R, float `[k, k]`. weight: w,
      float `[n]`.
    start: where to begin.

    Returns None if Newton finds no finite θ, as may happen without a ridge.
    """
    theta = np.zeros(design.shape[1]) if start is None else start
    for _ in range(_STEPS):  # the likelihood is concave
        p = sigmoid(design @ theta)
        gradient = design.T @ (weight * (won - p)) - ridge @ theta
        try:
            step = np.linalg.solve(
                design.T @ (design * (weight * p * (1 - p))[:, None]) + ridge, gradient
            )
        except np.linalg.LinAlgError:
            return None
        theta = theta + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-9:
            return theta
    return None


def sigmoid(odds: np.ndarray) -> np.ndarray:
    """Returns σ of log-odds, which may be of any size."""
    return np.asarray((1 + np.tanh(odds / 2)) / 2)


def win_rate(won: Sequence[float], stood_first: Sequence[bool], position: float) -> float:
    """Returns how often an item would win if standing first were worth nothing.

    It is σ(s) of the likeliest s; with position 0, the mean of `won`.

    won: float `[n]`, 1, ½ or 0 of each comparison. stood_first: bool `[n]`. position: log-odds
      that standing first adds, as `strengths` fits them.
    """
    y, side = np.asarray(won, float), np.where(np.asarray(stood_first), position, -position)
    low, high = -30.0, 30.0
    for _ in range(60):  # the expected wins rise with s: bisect
        s = (low + high) / 2
        low, high = (s, high) if (1 / (1 + np.exp(-(s + side)))).sum() < y.sum() else (low, s)
    return float(1 / (1 + np.exp(-(low + high) / 2)))

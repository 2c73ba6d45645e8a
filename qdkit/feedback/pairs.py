"""Strengths of things that were compared in pairs (Bradley & Terry 1952), and what standing first is worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

UNBOUNDED = 12.0  # log-odds that no number of comparisons shows
STEPS = 50  # of Newton; a dozen are enough where there is an end


class Strengths(NamedTuple):
    """float `[items]`, of mean 0, in log-odds; and what standing first adds to them, 0 where it was not fitted."""

    strength: np.ndarray
    position: float


def strengths(
    first: Sequence[int], second: Sequence[int], won: Sequence[float], *, prior: float = 0.0, position: bool = True
) -> Strengths:
    """The likeliest strengths: `P(first wins) = σ(s_first - s_second + b)`.

    first, second: int `[n]`, what was compared. won: float `[n]`, 1 where the first won, 0 where the
      second did, ½ for a tie.
    prior: weight of `(Σ s² + b²) / 2`; without one, what always won, or never met the rest, has no
      finite strength (ValueError).
    position: whether `b` is fitted. A judge that prefers what comes first flattens all strengths unless it is.
    """
    a, b, y = np.asarray(first), np.asarray(second), np.asarray(won, float)
    items = int(max(a.max(), b.max())) + 1
    design = np.zeros((len(y), items + 1))
    rows = np.arange(len(y))
    design[rows, a] += 1.0
    design[rows, b] -= 1.0
    design[:, items] = float(position)
    # The likelihood does not know the mean of the strengths, and the judge's place only if it is asked for.
    ridge = np.diag([prior] * items + [prior if position else 1.0])
    ridge[:items, :items] += 1 / items
    theta = likeliest(design, y, ridge)
    if theta is None or np.abs(theta).max() > UNBOUNDED:
        raise ValueError("something won or lost against all it was compared with, or never met the rest: give a prior")
    return Strengths(theta[:items] - theta[:items].mean(), float(theta[items]))


def likeliest(
    design: np.ndarray,
    won: np.ndarray,
    ridge: np.ndarray,
    weight: np.ndarray | float = 1.0,
    start: np.ndarray | None = None,
) -> np.ndarray | None:
    """float `[k]`: the θ of greatest `Σ w (y log p + (1 - y) log(1 - p)) - θᵀRθ / 2` with `p = σ(Xθ)`, by Newton.

    design: X, float `[n, k]`. won: y, float `[n]` in [0, 1]. ridge: R, float `[k, k]`. weight: w, float `[n]`.
    start: where to begin. None where no finite θ is found, as there may be without a ridge.
    """
    theta = np.zeros(design.shape[1]) if start is None else start
    for _ in range(STEPS):  # the likelihood is concave
        p = chance(design @ theta)
        gradient = design.T @ (weight * (won - p)) - ridge @ theta
        try:
            step = np.linalg.solve(design.T @ (design * (weight * p * (1 - p))[:, None]) + ridge, gradient)
        except np.linalg.LinAlgError:
            return None
        theta = theta + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-9:
            return theta
    return None


def chance(odds: np.ndarray) -> np.ndarray:
    """σ of log-odds, which may be of any size."""
    return np.asarray((1 + np.tanh(odds / 2)) / 2)


def win_rate(won: Sequence[float], stood_first: Sequence[bool], position: float) -> float:
    """How often something would win if standing first were worth nothing: σ(s) of the likeliest s.

    won: float `[n]`, 1, ½ or 0 of each comparison. stood_first: bool `[n]`. position: log-odds that
      standing first adds, as `strengths` fits them. With position 0 it is the mean of `won`.
    """
    y, side = np.asarray(won, float), np.where(np.asarray(stood_first), position, -position)
    low, high = -30.0, 30.0
    for _ in range(60):  # the expected wins rise with s: halve
        s = (low + high) / 2
        low, high = (s, high) if (1 / (1 + np.exp(-(s + side)))).sum() < y.sum() else (low, s)
    return float(1 / (1 + np.exp(-(low + high) / 2)))

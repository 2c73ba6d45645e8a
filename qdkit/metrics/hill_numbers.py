"""The effective number of any order.

This one formula is behind Hill numbers, Vendi scores and the Leinster–Cobbold diversity.
"""

from __future__ import annotations

import math

import numpy as np

_NEAR = 1e-3  # this near to order 1, another form of the formula avoids cancellation


def effective_number(share: np.ndarray, ordinary: np.ndarray, q: float) -> float:
    """Returns (Σ share · ordinary^(q−1))^(1/(1−q)), the mean of 1/ordinary of order 1−q.

    Leinster & Cobbold 2012.

    share: float `[m]`, positive, of sum 1.
    ordinary: float `[m]`, positive: the share of the whole that each is, or is similar to.
    q: from 0, where the rare counts as much as the common, to inf, where the most common alone
      counts. At 1 the result is exp(−Σ share · ln ordinary), at inf 1/max ordinary.

    Raises ValueError for an order below 0 or nan.
    """
    if not q >= 0:
        raise ValueError(f"the order of a diversity is a number from 0 to infinity, not {q}")
    if q == math.inf:
        return float(1 / ordinary.max())
    log = np.log(ordinary)
    if q == 1:
        return math.exp(-float(share @ log))
    powers = (q - 1) * log
    if abs(q - 1) < _NEAR:
        return math.exp(math.log1p(float(share @ np.expm1(powers))) / (1 - q))
    most = float(powers.max())  # factored out, so that no high order underflows
    return math.exp((most + math.log(float(share @ np.exp(powers - most)))) / (1 - q))

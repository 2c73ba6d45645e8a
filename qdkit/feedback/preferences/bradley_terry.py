"""One taste: weights on features (Bradley & Terry 1952), with their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from qdkit.core.seeds import numpy_seed
from qdkit.feedback.pair_strengths import fit_logistic, sigmoid
from qdkit.feedback.preferences.comparisons import Comparisons
from qdkit.metrics.features import MOST_SPREADS

_COVERED = 3.0  # standard deviations, beyond which next to nothing was compared


@dataclass(frozen=True, eq=False)
class Taste:
    """`P(a is preferred to b) = σ(w·(f_a - f_b) + b·order)`, f in standard deviations.

    With `peaks`, each feature z has a second weight for `(z² - 1) / √2`, so that some value of it
    may be liked best.

    names: the names of the features.
    mean, scale: float `[f]`, the mean and the standard deviation of the features of what was
      compared.
    weights: float `[f]`, w, in log-odds for one standard deviation; with peaks `[2f]`, those of
      the squares last.
    position: b, what standing first is worth; 0 if the order was not known.
    heads: float `[k, f or 2f]`, the weights fitted to bootstrap samples of the comparisons.
    units: float `[1 + k]`, the standard deviation of w·f over what was compared, for the taste and
      for each head.
    comparisons, raters: how many it was fitted to, and how many raters made them.
    constant: the features that were the same in all that was compared; nothing is known of them,
      and their weight is 0.
    """

    names: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    position: float
    heads: np.ndarray
    units: np.ndarray
    comparisons: int
    raters: int
    constant: tuple[str, ...] = ()

    @property
    def best(self) -> np.ndarray:
        """float `[f]`: the value of each feature that is liked best.

        It is nan if the highest, or the lowest, of the compared values is liked best.
        """
        f = len(self.names)
        square = self.weights[f:] * math.sqrt(2) if self._peaks else np.zeros(f)
        # The top of w z + w₂ (z² - 1) / √2.
        top = -self.weights[:f] / np.where(square < 0, square, -1.0)
        inside = (square < 0) & (np.abs(top) <= _COVERED)
        return np.where(inside, self.mean + self.scale * top, np.nan)

    def utility(self, features: np.ndarray) -> np.ndarray:
        """Returns float `[n]`: the log-odds of being preferred to the average compared thing.

        It is nan if a feature is nan.
        """
        return self._standard(features) @ self.weights

    def score(self, features: np.ndarray) -> np.ndarray:
        """Returns float `[n]`: the utility in standard deviations of what was compared.

        Scores of different tastes can be compared with each other.
        """
        return self.utility(features) / self.units[0]

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Returns float `[k, n]`: the score by each head."""
        return (self._standard(features) @ self.heads.T / self.units[1:]).T

    def probability(self, comparisons: Comparisons, features: np.ndarray) -> np.ndarray:
        """Returns float `[n]`: the probability that left is preferred, in the order shown."""
        utility = self.utility(features)
        return sigmoid(
            utility[comparisons.left]
            - utility[comparisons.right]
            + self.position * comparisons.order
        )

    def __str__(self) -> str:
        """What it was fitted to, and the features of which it knows nothing."""
        comparisons = _with_noun(self.comparisons, "comparison")
        text = f"a taste of {comparisons} by {_with_noun(self.raters, 'rater')}"
        if self.constant:
            names = ", ".join(self.constant)
            text += f"; {names}: the same in all that was compared, so it weighs nothing"
        return text

    def _standard(self, features: np.ndarray) -> np.ndarray:
        features = np.asarray(features, float)
        if features.ndim != 2 or features.shape[1] != len(self.names):
            raise ValueError(
                f"this taste was fitted to {_with_noun(len(self.names), 'feature')} "
                f"({', '.join(self.names[:6])}), and is shown features of shape "
                f"{features.shape}: give [n, {len(self.names)}]"
            )
        varied = self.scale > 0
        # A candidate's features may be any numbers.
        with np.errstate(over="ignore", invalid="ignore"):
            standard = (features - self.mean) / np.where(varied, self.scale, 1)
        standard = np.where(
            varied,
            np.clip(
                np.where(np.isfinite(features), standard, np.nan), -MOST_SPREADS, MOST_SPREADS
            ),
            0.0,
        )
        return _utility_terms(standard, self._peaks)

    @property
    def _peaks(self) -> bool:
        return len(self.weights) > len(self.names)


def taste(
    comparisons: Comparisons,
    features: np.ndarray,
    *,
    names: Sequence[str] = (),
    peaks: bool = False,
    prior: float = 1.0,
    smoothing: float = 0.0,
    heads: int = 20,
    seed: int = 0,
) -> Taste:
    """Returns the likeliest taste behind comparisons, the same for all raters.

    features: float `[m, f]` of all things that `left` and `right` number: measures, vectors, or
      marks for named criteria, which need the fewest comparisons.
    names: the names of the features; numbered if left out.
    peaks: whether some value of a feature may be liked best, and less and more be worse (an ideal
      point, Coombs 1950: `-(f - a)² = 2af - f² - a²` is linear in f and f²). Twice the weights
      need more comparisons.
    prior: weight of `|w|² / 2`, which keeps weights finite if one feature decides every
      comparison. Of 8 features 1 tells more than 0.1 from twenty comparisons, and neither does
      from two hundred.
    smoothing: ε, the share of answers that are taken for slips: an outcome y counts as
      `(1 - ε) y + ε / 2`.
    heads: how many times it is fitted again to a bootstrap sample, for the spread.

    Raises ValueError if there is no comparison, and if a feature of a compared thing is unknown.
    """
    data = prepare(comparisons, features, names, peaks, smoothing)
    return fit_taste(
        data, np.ones(len(comparisons)), prior, heads, np.random.default_rng(numpy_seed(seed))
    )


class FitData(NamedTuple):
    """The data of a fit.

    x: float `[n, t + 1]`, the differences of the terms, and the order. y: float `[n]`, outcomes.
    """

    x: np.ndarray
    y: np.ndarray
    names: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    spread: np.ndarray  # float [t, t], the covariance of the terms of what was compared
    rater: np.ndarray

    @property
    def parameters(self) -> int:
        """How many parameters of a taste the data determine."""
        return int((self.x != 0).any(0).sum())


def prepare(
    comparisons: Comparisons,
    features: np.ndarray,
    names: Sequence[str],
    peaks: bool,
    smoothing: float,
) -> FitData:
    """Returns comparisons and features as a fit needs them. Raises the errors of `taste`."""
    features = np.asarray(features, float)
    if not len(comparisons):
        raise ValueError("nothing was compared yet: a taste is fitted to one comparison or more")
    if not 0 <= smoothing < 1:
        raise ValueError(
            f"smoothing is {smoothing}: the share of answers taken for a slip, from 0 and below 1"
        )
    things = np.unique([comparisons.left, comparisons.right])
    if features.ndim != 2 or things[0] < 0 or things[-1] >= len(features):
        raise ValueError(
            f"things {things[0]} to {things[-1]} were compared, so features have shape "
            f"({things[-1] + 1}, f) or more rows, and these have {features.shape}"
        )
    labels = tuple(names) or tuple(f"feature {i}" for i in range(features.shape[1]))
    if len(labels) != features.shape[1]:
        raise ValueError(
            f"there are {features.shape[1]} features and {len(labels)} names: give each its own"
        )
    known = features[things]
    if not np.isfinite(known).all():
        thing, column = np.argwhere(~np.isfinite(known))[0]
        raise ValueError(
            f"{labels[column]} of thing {things[thing]} is not known: leave out what was not "
            f"measured"
        )
    mean, scale = known.mean(0), known.std(0)
    scale = np.where(scale > 1e-12 * np.abs(known).max(0, initial=0), scale, 0.0)
    if not scale.any():
        raise ValueError(
            "all that was compared has the same features, so they cannot tell what is better"
        )
    centred = np.where(scale > 0, known - mean, 0.0)
    standard = _utility_terms(centred / np.where(scale > 0, scale, 1), peaks)
    rows = np.zeros((len(features), standard.shape[1]))
    rows[things] = standard
    x = np.column_stack([rows[comparisons.left] - rows[comparisons.right], comparisons.order])
    y = (1 - smoothing) * comparisons.won + smoothing / 2
    covariance = standard.T @ standard / len(standard)
    return FitData(x, y, labels, mean, scale, covariance, np.asarray(comparisons.rater))


def _utility_terms(standard: np.ndarray, peaks: bool) -> np.ndarray:
    """Returns the terms that are weighed, float `[n, f or 2f]`, of standardised features `[n, f]`.

    The mean of each term over what was compared is 0.
    """
    return np.hstack([standard, (standard**2 - 1) / math.sqrt(2)]) if peaks else standard


def fit_taste(
    data: FitData, weight: np.ndarray, prior: float, heads: int, random: np.random.Generator
) -> Taste:
    """Returns the taste behind comparisons, each of which counts `weight`, float `[n]`, times."""
    theta = solve_weights(data, weight, prior)
    n = len(data.y)
    draws = [np.bincount(random.integers(n, size=n), minlength=n) for _ in range(heads)]
    heads_theta = [solve_weights(data, weight * draw, prior, theta) for draw in draws]
    all_weights = np.array([theta, *heads_theta])[:, :-1]
    units = np.sqrt(np.maximum(np.einsum("ki,ij,kj->k", all_weights, data.spread, all_weights), 0))
    return Taste(
        names=data.names,
        mean=data.mean,
        scale=data.scale,
        weights=theta[:-1],
        position=float(theta[-1]),
        heads=all_weights[1:],
        units=np.where(units > 1e-9, units, 1.0),  # of a taste that prefers nothing
        comparisons=n,
        raters=len(np.unique(data.rater)),
        constant=tuple(
            name for name, scale in zip(data.names, data.scale, strict=True) if not scale
        ),
    )


def solve_weights(
    data: FitData, weight: np.ndarray, prior: float, start: np.ndarray | None = None
) -> np.ndarray:
    """Returns float `[t + 1]`: w and b.

    Raises ValueError if `prior` is not above 0, or if no finite weights are found.
    """
    if not prior > 0:
        raise ValueError(
            f"prior is {prior}: above 0, or weights have no end where a feature decides every "
            f"comparison"
        )
    theta = fit_logistic(data.x, data.y, prior * np.eye(data.x.shape[1]), weight, start)
    if theta is None:
        raise ValueError(f"no weights were found with a prior of {prior}: give a greater one")
    return theta


def _with_noun(n: int, thing: str) -> str:
    """Returns a number with its noun, in the plural unless the number is 1."""
    return f"{n:,} {thing}{'' if n == 1 else 's'}"

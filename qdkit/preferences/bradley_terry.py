"""One taste: what is better, as weights on features (Bradley & Terry 1952), with how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from qdkit.features import FAR
from qdkit.feedback.pairs import chance, likeliest
from qdkit.preferences.comparisons import Comparisons

SEEN = 3.0  # standard deviations, beyond which next to nothing was compared


@dataclass(frozen=True, eq=False)
class Taste:
    """`P(a is preferred to b) = σ(w·(f_a - f_b) + b·order)`, with each feature in standard deviations.

    With `peaks`, each feature z has a second weight for `(z² - 1) / √2`, so that some value of it may be liked best.

    names: of the features.
    mean, scale: float `[f]`, the mean and the standard deviation of the features of what was compared.
    weights: float `[f]`, w, in log-odds for one standard deviation; with peaks `[2f]`, those of the squares last.
    position: b, what standing first is worth; 0 where the order was not known.
    heads: float `[k, f or 2f]`, the weights fitted to comparisons drawn again with replacement.
    units: float `[1 + k]`, the standard deviation of what was compared in w·f, of the taste and of each head.
    comparisons, raters: how many it was fitted to, and of how many raters.
    constant: the features that were the same in all that was compared; nothing is known of them, and they weigh 0.
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
        """float `[f]`: the value of each feature that is liked best; nan where more, or less, of what was seen is."""
        f = len(self.names)
        square = self.weights[f:] * math.sqrt(2) if self._peaks else np.zeros(f)
        at = -self.weights[:f] / np.where(square < 0, square, -1.0)  # the top of w z + w₂ (z² - 1) / √2
        return np.where((square < 0) & (np.abs(at) <= SEEN), self.mean + self.scale * at, np.nan)

    def utility(self, features: np.ndarray) -> np.ndarray:
        """float `[n]`: log-odds of being preferred to the average of what was compared; nan where a feature is."""
        return self._standard(features) @ self.weights

    def score(self, features: np.ndarray) -> np.ndarray:
        """float `[n]`: the utility in standard deviations of what was compared, so that tastes can be held together."""
        return self.utility(features) / self.units[0]

    def scores(self, features: np.ndarray) -> np.ndarray:
        """float `[k, n]`: the score by each head."""
        return (self._standard(features) @ self.heads.T / self.units[1:]).T

    def probability(self, comparisons: Comparisons, features: np.ndarray) -> np.ndarray:
        """float `[n]`: how likely left is preferred, as the two stood."""
        utility = self.utility(features)
        return chance(utility[comparisons.left] - utility[comparisons.right] + self.position * comparisons.order)

    def __str__(self) -> str:
        """What it was fitted to, and what it cannot know."""
        said = f"a taste of {counted(self.comparisons, 'comparison')} by {counted(self.raters, 'rater')}"
        if self.constant:
            said += f"; {', '.join(self.constant)}: the same in all that was compared, so it weighs nothing"
        return said

    def _standard(self, features: np.ndarray) -> np.ndarray:
        features = np.asarray(features, float)
        if features.ndim != 2 or features.shape[1] != len(self.names):
            raise ValueError(
                f"this taste was fitted to {counted(len(self.names), 'feature')} ({', '.join(self.names[:6])}), and is "
                f"shown features of shape {features.shape}: give [n, {len(self.names)}]"
            )
        varied = self.scale > 0
        with np.errstate(over="ignore", invalid="ignore"):  # a candidate's features may be any numbers
            standard = (features - self.mean) / np.where(varied, self.scale, 1)
        standard = np.where(varied, np.clip(np.where(np.isfinite(features), standard, np.nan), -FAR, FAR), 0.0)
        return terms(standard, self._peaks)

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
    """The likeliest taste behind comparisons, whoever made them.

    features: float `[m, f]` of all things that `left` and `right` tell of: measures, vectors, or marks for named
      criteria, which need the fewest comparisons.
    peaks: whether some value of a feature may be liked best, and less and more be worse (an ideal point, Coombs 1950:
      `-(f - a)² = 2af - f² - a²` is linear in f and f²). Twice the weights want more comparisons.
    prior: weight of `|w|² / 2`, which keeps weights finite where one feature decides all. Of 8 features 1 tells
      more than 0.1 from twenty comparisons, and neither does from two hundred.
    smoothing: ε, the share of answers taken for a slip: an outcome y counts as `(1 - ε) y + ε / 2`.
    heads: how many times it is fitted again to comparisons drawn with replacement, for the spread.

    Raises ValueError where nothing was compared, and where a feature of what was compared is unknown.
    """
    data = prepared(comparisons, features, names, peaks, smoothing)
    return fitted(data, np.ones(len(comparisons)), prior, heads, np.random.default_rng(seed))


class Data(NamedTuple):
    """What is fitted: `x`, float `[n, t + 1]`, differences of terms and the order; `y`, float `[n]`, outcomes."""

    x: np.ndarray
    y: np.ndarray
    names: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    spread: np.ndarray  # float [t, t], the covariance of the terms of what was compared
    rater: np.ndarray

    @property
    def parameters(self) -> int:
        """How many numbers of a taste the data say something about."""
        return int((self.x != 0).any(0).sum())


def prepared(
    comparisons: Comparisons, features: np.ndarray, names: Sequence[str], peaks: bool, smoothing: float
) -> Data:
    """Comparisons and features as a fit needs them, checked."""
    features = np.asarray(features, float)
    if not len(comparisons):
        raise ValueError("nothing was compared yet: a taste is fitted to one comparison or more")
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing is {smoothing}: the share of answers taken for a slip, from 0 and below 1")
    things = np.unique([comparisons.left, comparisons.right])
    if features.ndim != 2 or things[0] < 0 or things[-1] >= len(features):
        raise ValueError(
            f"things {things[0]} to {things[-1]} were compared, so features have shape ({things[-1] + 1}, f) or "
            f"more rows, and these have {features.shape}"
        )
    given = tuple(names) or tuple(f"feature {i}" for i in range(features.shape[1]))
    if len(given) != features.shape[1]:
        raise ValueError(f"there are {features.shape[1]} features and {len(given)} names: give each its own")
    known = features[things]
    if not np.isfinite(known).all():
        thing, column = np.argwhere(~np.isfinite(known))[0]
        raise ValueError(f"{given[column]} of thing {things[thing]} is not known: leave out what was not measured")
    mean, scale = known.mean(0), known.std(0)
    scale = np.where(scale > 1e-12 * np.abs(known).max(0, initial=0), scale, 0.0)
    if not scale.any():
        raise ValueError("all that was compared has the same features, so they cannot tell what is better")
    standard = terms(np.where(scale > 0, known - mean, 0.0) / np.where(scale > 0, scale, 1), peaks)
    rows = np.zeros((len(features), standard.shape[1]))
    rows[things] = standard
    x = np.column_stack([rows[comparisons.left] - rows[comparisons.right], comparisons.order])
    y = (1 - smoothing) * comparisons.won + smoothing / 2
    return Data(x, y, given, mean, scale, standard.T @ standard / len(standard), np.asarray(comparisons.rater))


def terms(standard: np.ndarray, peaks: bool) -> np.ndarray:
    """What is weighed, float `[n, f or 2f]`, of standardised features `[n, f]`; on average 0 over what was compared."""
    return np.hstack([standard, (standard**2 - 1) / math.sqrt(2)]) if peaks else standard


def fitted(data: Data, weight: np.ndarray, prior: float, heads: int, random: np.random.Generator) -> Taste:
    """The taste behind comparisons of which each counts `weight`, float `[n]`, times."""
    theta = solved(data, weight, prior)
    n = len(data.y)
    draws = [np.bincount(random.integers(n, size=n), minlength=n) for _ in range(heads)]
    again = [solved(data, weight * draw, prior, theta) for draw in draws]
    all_weights = np.array([theta, *again])[:, :-1]
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
        constant=tuple(name for name, scale in zip(data.names, data.scale, strict=True) if not scale),
    )


def solved(data: Data, weight: np.ndarray, prior: float, start: np.ndarray | None = None) -> np.ndarray:
    """float `[t + 1]`: w and b. Raises ValueError for a prior that bounds nothing."""
    if not prior > 0:
        raise ValueError(f"prior is {prior}: above 0, or weights have no end where a feature decides every comparison")
    theta = likeliest(data.x, data.y, prior * np.eye(data.x.shape[1]), weight, start)
    if theta is None:
        raise ValueError(f"no weights were found with a prior of {prior}: give a greater one")
    return theta


def counted(n: int, thing: str) -> str:
    """A number and its noun."""
    return f"{n:,} {thing}{'' if n == 1 else 's'}"

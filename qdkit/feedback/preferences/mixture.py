"""Several tastes: groups of raters who disagree, found by their answers.

The method is EM by rater, as in MaxMin-RLHF 2024. One taste for all is the majority's, and can
predict a minority worse than a coin. Here each rater belongs to each of a few groups with some
probability, and each group has a taste of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from qdkit.core.seeds import numpy_seed
from qdkit.feedback.preferences.bradley_terry import (
    FitData,
    Taste,
    fit_taste,
    prepare,
    solve_weights,
)
from qdkit.feedback.preferences.comparisons import Comparisons

_ROUNDS = 200  # of EM; a few dozen are enough
_CONVERGED = 1e-9  # EM ends with a gain below this share of the log-likelihood


@dataclass(frozen=True, eq=False)
class Tastes:
    """The tastes of groups of raters, the largest group first.

    groups: a taste for each of K groups. Its counts are of the raters whose most probable group it
      is, and of their comparisons.
    share: float `[K]`, the sizes of the groups.
    raters: all raters of the fit. member: float `[raters, K]`, the probability with which each
      belongs to each group.
    bic: for each number of groups that was tried,
      `-2 log-likelihood + parameters · log(comparisons)`.
    rise: float `[rounds]`, the penalised log-likelihood after each round of EM; it never falls.
    """

    groups: tuple[Taste, ...]
    share: np.ndarray
    raters: tuple[object, ...]
    member: np.ndarray
    bic: Mapping[int, float]
    rise: np.ndarray

    def score(self, features: np.ndarray) -> np.ndarray:
        """Returns float `[n]`: the mean score over all raters."""
        return self.share @ np.array([group.score(features) for group in self.groups])

    def worst(self, features: np.ndarray) -> np.ndarray:
        """Returns float `[n]`: the score of the group that likes it least."""
        return np.min([group.score(features) for group in self.groups], axis=0)

    def probability(self, comparisons: Comparisons, features: np.ndarray) -> np.ndarray:
        """Returns float `[n]`: the probability that the rater of each comparison prefers left.

        For a rater who is not in the fit, it is the mean over all groups.
        """
        row = {rater: i for i, rater in enumerate(self.raters)}
        known = [row.get(rater, -1) for rater in np.asarray(comparisons.rater).tolist()]
        each = np.array([group.probability(comparisons, features) for group in self.groups])
        return np.einsum("nk,kn->n", np.vstack([self.member, self.share])[known], each)

    def __str__(self) -> str:
        """The number of groups, their sizes, and the size of the data."""
        sizes = ", ".join(f"{share:.0%}" for share in self.share)
        total = sum(group.comparisons for group in self.groups)
        return (
            f"{len(self.groups)} tastes ({sizes}) of {total:,} comparisons by "
            f"{len(self.raters):,} raters"
        )


def tastes(
    comparisons: Comparisons,
    features: np.ndarray,
    *,
    groups: int | Sequence[int] = (1, 2, 3),
    names: Sequence[str] = (),
    peaks: bool = False,
    prior: float = 1.0,
    smoothing: float = 0.0,
    heads: int = 20,
    restarts: int = 6,
    seed: int = 0,
) -> Tastes:
    """Returns the likeliest tastes of groups of raters.

    `log r_uk = log π_k + Σ_{i of u} log P_k(y_i)`, normalised over k, for rater u and group k;
    then each taste is fitted to all comparisons with these weights, and `π_k` is the mean of
    `r_uk`. EM begins `restarts` times at random, and the best result is taken.

    groups: the number of groups; of several numbers, the one with the least BIC is taken.
    The other settings and the errors are those of `taste`.
    """
    data = prepare(comparisons, features, names, peaks, smoothing)
    raters, rater = np.unique(data.rater, return_inverse=True)
    numbers = sorted({groups} if isinstance(groups, int) else set(groups))
    if not numbers or numbers[0] < 1:
        raise ValueError(f"raters belong to 1 group or more, not {numbers}")
    random = np.random.default_rng(numpy_seed(seed))
    results = {}
    for k in numbers:
        starts = [
            random.dirichlet(np.ones(k), len(raters)) for _ in range(1 if k == 1 else restarts)
        ]
        attempts = (_run_em(data, rater, start, prior) for start in starts)
        results[k] = max(attempts, key=lambda result: result.rise[-1])
    bic = {k: _bic(result, data) for k, result in results.items()}
    best = results[min(bic, key=bic.__getitem__)]
    order = np.argsort(-best.member.mean(0), kind="stable")
    member = best.member[:, order]
    most = member.argmax(1)
    group_tastes = tuple(
        replace(
            fit_taste(data, member[rater, k], prior, heads, random),
            comparisons=int((most[rater] == k).sum()),
            raters=int((most == k).sum()),
        )
        for k in range(len(order))
    )
    share, rise = member.mean(0), np.array(best.rise)
    return Tastes(group_tastes, share, tuple(raters.tolist()), member, bic, rise)


class _EmResult(NamedTuple):
    """The result of EM: the probabilities of membership, the log-likelihood, and the `rise`."""

    member: np.ndarray
    likelihood: float
    rise: list[float]


def _run_em(data: FitData, rater: np.ndarray, member: np.ndarray, prior: float) -> _EmResult:
    """Runs EM from probabilities of membership, float `[raters, K]`, until it converges."""
    theta: list[np.ndarray | None] = [None] * member.shape[1]
    rise: list[float] = []
    for _ in range(_ROUNDS):
        weights = [
            solve_weights(data, member[rater, k], prior, start) for k, start in enumerate(theta)
        ]
        joint = np.log(np.maximum(member.mean(0), 1e-300)) + _by_rater(data, rater, weights)
        top = joint.max(1, keepdims=True)
        each = top[:, 0] + np.log(np.exp(joint - top).sum(1))
        member = np.exp(joint - each[:, None])
        likelihood = float(each.sum())
        rise.append(likelihood - prior / 2 * float(sum(w @ w for w in weights)))
        theta = [*weights]
        if len(rise) > 1 and rise[-1] - rise[-2] < _CONVERGED * abs(rise[-1]):
            break
    return _EmResult(member, likelihood, rise)


def _by_rater(data: FitData, rater: np.ndarray, theta: Sequence[np.ndarray]) -> np.ndarray:
    """Returns float `[raters, K]`: the log-likelihood of each rater's answers by each taste."""
    odds = data.x @ np.array(theta).T
    y = data.y[:, None]
    each = -y * np.logaddexp(0, -odds) - (1 - y) * np.logaddexp(0, odds)
    total = np.zeros((int(rater.max()) + 1, len(theta)))
    np.add.at(total, rater, each)
    return total


def _bic(result: _EmResult, data: FitData) -> float:
    """Returns the criterion of Schwarz 1978.

    The parameters of a group are its weights, its position term and its share.
    """
    k = result.member.shape[1]
    return -2 * result.likelihood + (k * data.parameters + k - 1) * math.log(len(data.y))

"""Several tastes: raters who disagree are told apart by what they said (EM by rater, as in MaxMin-RLHF 2024).

One taste for all is the majority's; who is outnumbered is served worse than by a coin. Here each rater
belongs to each of a few groups with some chance, and each group has a taste of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from qdkit.preferences.bradley_terry import Data, Taste, fitted, prepared, solved
from qdkit.preferences.comparisons import Comparisons

ROUNDS = 200  # of EM; a few dozen are enough
SETTLED = 1e-9  # a gain, as a share of the log-likelihood, after which no round is worth making


@dataclass(frozen=True, eq=False)
class Tastes:
    """The tastes of groups of raters, the largest group first.

    groups: a taste for each of K groups. Its count of comparisons is of the raters who belong to it most.
    share: float `[K]`, how large the groups are.
    raters: whom it was fitted to. member: float `[raters, K]`, with what chance each belongs to each group.
    bic: for each number of groups that was tried, `-2 log-likelihood + parameters · log(comparisons)`.
    rise: float `[rounds]`, the penalised log-likelihood after each round of EM; it never falls.
    """

    groups: tuple[Taste, ...]
    share: np.ndarray
    raters: tuple[object, ...]
    member: np.ndarray
    bic: Mapping[int, float]
    rise: np.ndarray

    def score(self, features: np.ndarray) -> np.ndarray:
        """float `[n]`: the mean score over all raters."""
        return self.share @ np.array([group.score(features) for group in self.groups])

    def worst(self, features: np.ndarray) -> np.ndarray:
        """float `[n]`: the score of the group that likes it least."""
        return np.min([group.score(features) for group in self.groups], axis=0)

    def probability(self, comparisons: Comparisons, features: np.ndarray) -> np.ndarray:
        """float `[n]`: how likely the rater of each prefers left; of a rater nobody knows, how likely anybody does."""
        row = {rater: i for i, rater in enumerate(self.raters)}
        known = [row.get(rater, -1) for rater in np.asarray(comparisons.rater).tolist()]
        each = np.array([group.probability(comparisons, features) for group in self.groups])
        return np.einsum("nk,kn->n", np.vstack([self.member, self.share])[known], each)

    def __str__(self) -> str:
        """Who is in which group."""
        sizes = ", ".join(f"{share:.0%}" for share in self.share)
        total = sum(group.comparisons for group in self.groups)
        return f"{len(self.groups)} tastes ({sizes}) of {total:,} comparisons by {len(self.raters):,} raters"


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
    """The likeliest tastes of groups of raters; of several numbers of groups, the one with the least BIC.

    `log r_uk = log π_k + Σ_{i of u} log P_k(y_i)`, normalised over k, for rater u and group k; then each taste is
    fitted to all comparisons with these weights, and `π_k` is the mean of `r_uk`. From `restarts` random
    beginnings the best end is kept.

    groups: how many, or among which numbers to choose.
    The other settings are those of `taste`, and so are the errors.
    """
    data = prepared(comparisons, features, names, peaks, smoothing)
    raters, rater = np.unique(data.rater, return_inverse=True)
    numbers = sorted({groups} if isinstance(groups, int) else set(groups))
    if not numbers or numbers[0] < 1:
        raise ValueError(f"raters belong to 1 group or more, not {numbers}")
    random = np.random.default_rng(seed)
    ends = {}
    for k in numbers:
        starts = [random.dirichlet(np.ones(k), len(raters)) for _ in range(1 if k == 1 else restarts)]
        ends[k] = max((_climbed(data, rater, start, prior) for start in starts), key=lambda end: end.rise[-1])
    bic = {k: _bic(end, data) for k, end in ends.items()}
    end = ends[min(bic, key=bic.__getitem__)]
    order = np.argsort(-end.member.mean(0), kind="stable")
    member = end.member[:, order]
    most = member.argmax(1)
    found = [
        replace(
            fitted(data, member[rater, k], prior, heads, random),
            comparisons=int((most[rater] == k).sum()),
            raters=int((most == k).sum()),
        )
        for k in range(len(order))
    ]
    return Tastes(tuple(found), member.mean(0), tuple(raters.tolist()), member, bic, np.array(end.rise))


class End(NamedTuple):
    """Where EM came to: the chances of membership; the log-likelihood, and its penalised rise."""

    member: np.ndarray
    likelihood: float
    rise: list[float]


def _climbed(data: Data, rater: np.ndarray, member: np.ndarray, prior: float) -> End:
    """EM from these chances of membership, float `[raters, K]`, until nothing is gained."""
    theta: list[np.ndarray | None] = [None] * member.shape[1]
    rise: list[float] = []
    for _ in range(ROUNDS):
        found = [solved(data, member[rater, k], prior, start) for k, start in enumerate(theta)]
        joint = np.log(np.maximum(member.mean(0), 1e-300)) + _by_rater(data, rater, found)
        top = joint.max(1, keepdims=True)
        each = top[:, 0] + np.log(np.exp(joint - top).sum(1))
        member = np.exp(joint - each[:, None])
        likelihood = float(each.sum())
        rise.append(likelihood - prior / 2 * float(sum(w @ w for w in found)))
        theta = [*found]
        if len(rise) > 1 and rise[-1] - rise[-2] < SETTLED * abs(rise[-1]):
            break
    return End(member, likelihood, rise)


def _by_rater(data: Data, rater: np.ndarray, theta: Sequence[np.ndarray]) -> np.ndarray:
    """float `[raters, K]`: the log-likelihood of all that a rater said, by each taste."""
    odds = data.x @ np.array(theta).T
    y = data.y[:, None]
    each = -y * np.logaddexp(0, -odds) - (1 - y) * np.logaddexp(0, odds)
    total = np.zeros((int(rater.max()) + 1, len(theta)))
    np.add.at(total, rater, each)
    return total


def _bic(end: End, data: Data) -> float:
    """Schwarz 1978; a group costs its weights, what standing first is worth to it, and its share."""
    k = end.member.shape[1]
    return -2 * end.likelihood + (k * data.parameters + k - 1) * math.log(len(data.y))

"""Bandits: rules that choose among `k` arms and learn from the rewards which of them pay.

A rule is a frozen dataclass of its settings. What it has learnt is a `BanditState`, which is
immutable: every method returns a new one.

    rule = UCBTuned(window=1000, least=0.02)
    state = rule.start(3)
    state, pull = rule.choose(state, random, available=[True, True, False])
    state = rule.hear(state, pull, reward=0.7, cost=0.02)  # at any later time, in any order

Rewards lie in [0, 1], and are clipped to it (`qdkit.selection.rewards` turns gains in any unit
into such rewards). An arm counts as pulled from the moment it is chosen, so that 64 pulls under
way do not all go to one arm. A reward of nan takes a pull back.

Letters in formulas: `n` pulls of an arm, those under way included; `m` its mean reward; `t` the
sum of all `n`; `k` arms.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

PULLS, REWARD, SQUARE, COST, WEIGHED = range(5)  # the rows of `BanditState.heard`


class Pull(NamedTuple):
    """One choice.

    arm: the index of the chosen arm.
    odds: float `[k]`, the probability with which each arm was chosen; 1 for a rule that does not
      choose by these odds.
    """

    arm: int
    odds: np.ndarray


class BanditState(NamedTuple):
    """What a rule knows about `k` arms.

    heard: float `[5, k]`, sums over the rewards that are remembered: their number, the rewards,
      their squares, their costs, and each reward divided by the odds of its pull.
    recent: float `[w, 6]`, the arm and the five summands of each reward in the window, the oldest
      first; empty without a window.
    waiting: int `[k]`, pulls without a reward so far.
    last: int `[k]`, the number of the arm's last pull, counted from 1; 0 where there was none.
    pulls: the number of pulls of all arms.
    """

    heard: np.ndarray
    recent: np.ndarray
    waiting: np.ndarray
    last: np.ndarray
    pulls: int = 0

    @property
    def mean(self) -> np.ndarray:
        """float `[k]`: the mean of the remembered rewards, nan where there are none."""
        return _mean(self.heard[REWARD], self.heard[PULLS], np.nan)

    @property
    def price(self) -> np.ndarray:
        """float `[k]`: the mean cost of a pull, relative to the mean over all arms.

        An arm without a reward has a mean cost of 1 before the division.
        """
        cost, pulls = self.heard[COST], self.heard[PULLS]
        return _mean(cost, pulls, 1.0) / _mean_of_all_arms(cost, pulls)


@dataclass(frozen=True, kw_only=True)
class Bandit(abc.ABC):
    """The base class of all rules, with the settings that they share.

    window: the number of latest rewards that count, for arms that change; None for all.
    discount: the factor by which every later reward reduces the weight of the earlier ones; an
      alternative to `window`.
    prior: (pulls, mean reward) of each arm, added to the rewards; it is never forgotten.
    least: of `1 / least` successive pulls at least one goes to each available arm, so `least`
      times `k` is at most 1.

    Raises ValueError for a window or a discount out of range, and for both together.
    """

    window: int | None = None
    discount: float = 1.0
    prior: tuple[tuple[float, float], ...] = ()
    least: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.discount <= 1 or (
            self.window is not None and (self.window < 1 or self.discount < 1)
        ):
            raise ValueError(
                f"window={self.window}, discount={self.discount}: give either the number of "
                "rewards that are remembered, 1 or more, or the factor by which each counts less, "
                "above 0 and at most 1"
            )

    def start(self, arms: int) -> BanditState:
        """Returns the state before any pull of `arms` arms.

        Raises ValueError where `prior` or `least` does not fit that number of arms.
        """
        if len(self.prior) not in (0, arms):
            raise ValueError(
                f"prior has {len(self.prior)} entries and there are {arms} arms: give (pulls, "
                "mean) of each"
            )
        if not 0 <= self.least * arms <= 1:
            raise ValueError(
                f"least={self.least} of the pulls cannot go to each of {arms} arms: at most "
                f"{1 / arms:.3g}"
            )
        nothing = np.zeros(arms, int)
        return BanditState(np.zeros((5, arms)), np.zeros((0, 6)), nothing, nothing)

    @abc.abstractmethod
    def index(self, state: BanditState) -> np.ndarray:
        """Returns the rule's formula for each arm, float `[k]`; greater is better."""

    def draw(
        self, state: BanditState, random: np.random.Generator, available: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns (float `[k]`, of which the greatest is chosen; float `[k]`, the odds)."""
        return self.index(state), np.ones(len(available))

    def choose(
        self,
        state: BanditState,
        random: np.random.Generator,
        available: Sequence[bool] | np.ndarray | None = None,
    ) -> tuple[BanditState, Pull]:
        """Returns the state after the next pull, and the pull.

        available: bool `[k]`, the arms to choose among; None for all. Of equal arms the first is
          chosen. Raises ValueError for another shape, and if no arm is available.
        """
        arms, number = len(state.waiting), state.pulls + 1
        free = np.ones(arms, bool) if available is None else np.asarray(available, bool)
        if free.shape != (arms,) or not free.any():
            raise ValueError(
                f"available says which of {arms} arms can be chosen, at least one, not {available}"
            )
        arm, odds = self._overdue(state, free), np.ones(arms)
        if arm is None:
            value, odds = self.draw(state, random, free)
            arm = int(np.where(free, value, -np.inf).argmax())
        waiting = _increased(state.waiting, arm, 1)
        last = _increased(state.last, arm, number - state.last[arm])
        return state._replace(waiting=waiting, last=last, pulls=number), Pull(arm, odds)

    def _overdue(self, state: BanditState, free: np.ndarray) -> int | None:
        """Returns the arm that `least` requires now, None if there is none.

        The bound leaves time for all arms even if they become overdue together.
        """
        if not self.least:
            return None
        since = np.where(free, state.pulls + 1 - state.last, -np.inf)
        oldest = int(since.argmax())
        return oldest if self.least * (since[oldest] + len(free) - 1) >= 1 else None

    def hear(
        self,
        state: BanditState,
        pull: Pull,
        reward: float = np.nan,
        cost: float = 1.0,
        arm: int | None = None,
    ) -> BanditState:
        """Returns the state after the reward of a pull; a reward of nan means that none will come.

        cost: in any unit, above 0.
        arm: the arm that gets the reward and the cost, if it is not the chosen one.

        Raises ValueError if no pull of the arm is under way, and for a cost that is not positive
        and finite.
        """
        if state.waiting[pull.arm] < 1:
            raise ValueError(
                f"no pull of arm {pull.arm} is under way: call hear once for each pull"
            )
        state = state._replace(waiting=_increased(state.waiting, pull.arm, -1))
        if np.isnan(reward):
            return state
        if not 0 < cost < np.inf:
            raise ValueError(
                f"the cost of a pull is a number above 0, not {cost}: a free pull would be "
                "infinitely good"
            )
        arm, reward = pull.arm if arm is None else arm, min(1.0, max(0.0, reward))
        row = np.array([1.0, reward, reward**2, cost, reward / pull.odds[arm]])
        if self.window is None:
            heard = state.heard * self.discount
            heard[:, arm] += row
            return state._replace(heard=heard)
        recent = np.vstack([state.recent, [arm, *row]])[-self.window :]
        one_hot = np.eye(len(state.last))[recent[:, 0].astype(int)]
        return state._replace(heard=recent[:, 1:].T @ one_hot, recent=recent)

    def with_prior(self, state: BanditState) -> np.ndarray:
        """Returns the sums of the state and of the prior together, float `[5, k]`."""
        if not self.prior:
            return state.heard
        pulls, mean = np.array(self.prior, float).T
        return state.heard + np.stack([pulls, pulls * mean, pulls * mean, 0 * pulls, pulls * mean])


@dataclass(frozen=True)
class UCB(Bandit):
    """(m + c √(2 ln t / n)) / price: UCB1 (Auer, Cesa-Bianchi & Fischer 2002, fig. 1).

    With c = 1 its regret after T pulls is at most 8 Σ ln T / Δ + (1 + π² / 3) Σ Δ over the arms
    that are Δ > 0 worse than the best (theorem 1). Divided by the price as in fractional KUBE
    (Tran-Thanh et al. 2012). The index is inf for an arm that was never chosen. While all pulls of
    an arm are under way its m is 0, since it is being tried already.
    """

    c: float = 1.0

    def index(self, state: BanditState) -> np.ndarray:
        pulls, reward, square, *_ = self.with_prior(state)
        n = pulls + state.waiting
        mean = _mean(reward, pulls, 0.0)
        variance = _mean(square, pulls, np.inf) - mean * mean
        per_pull = np.log(max(n.sum(), 1.0)) / np.where(n > 0, n, 1)
        return np.where(n > 0, mean + self.bonus(per_pull, variance), np.inf) / state.price

    def bonus(self, per_pull: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """Returns what is added to the mean, float `[k]`.

        per_pull: float `[k]`, ln t / n.
        variance: float `[k]`, that of the rewards.
        """
        return self.c * np.sqrt(2 * per_pull)


@dataclass(frozen=True)
class UCBTuned(UCB):
    """(m + c √(ln t / n · min(¼, V))) / price, with V = variance + √(2 ln t / n).

    From Auer et al. 2002, section 4. ¼ is the greatest variance that a reward in [0, 1] can have.
    No bound is proved. The rule explores less than `UCB` where most rewards are equal, as those of
    operators are: most candidates earn nothing.
    """

    def bonus(self, per_pull: np.ndarray, variance: np.ndarray) -> np.ndarray:
        return self.c * np.sqrt(per_pull * np.minimum(0.25, variance + np.sqrt(2 * per_pull)))


def sliding_window_ucb(window: int, xi: float = 0.6) -> UCB:
    """Returns SW-UCB (Garivier & Moulines 2011).

    Its index is m + √(ξ ln min(t, τ) / n) over the last τ = `window` rewards, with ξ = 0.6 as in
    their experiments. For T pulls in which the means change Υ times they take
    τ = 2 √(T ln T / Υ), and the regret is O(√(T Υ ln T)).
    """
    return UCB(np.sqrt(xi / 2).item(), window=window)


def discounted_ucb(discount: float, xi: float = 0.6) -> UCB:
    """Returns D-UCB (Garivier & Moulines 2011).

    Its index is m + 2 √(ξ ln t / n), where every reward multiplies all earlier sums by
    γ = `discount`. For T pulls in which the means change Υ times they take γ = 1 - √(Υ / T) / 4,
    and the regret is O(√(T Υ) ln T).
    """
    return UCB(2 * np.sqrt(xi / 2).item(), discount=discount)


@dataclass(frozen=True)
class Thompson(Bandit):
    """Thompson sampling: chooses the greatest draw from Beta(1 + S, 1 + n - S) / price.

    S is the sum of the rewards (Thompson 1933; Agrawal & Goyal 2012). `index` is the mean of the
    draws. A reward between 0 and 1 counts as that share of a success, while Agrawal & Goyal draw a
    success with that probability: the mean is the same. Pulls under way do not count, since random
    draws spread over the arms by themselves.
    """

    def index(self, state: BanditState) -> np.ndarray:
        success, failure = self._counts(state)
        return success / (success + failure) / state.price

    def draw(
        self, state: BanditState, random: np.random.Generator, available: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return random.beta(*self._counts(state)) / state.price, np.ones(len(available))

    def _counts(self, state: BanditState) -> tuple[np.ndarray, np.ndarray]:
        pulls, reward, *_ = self.with_prior(state)
        # Rounding must not make the number of failures negative.
        return 1 + reward, 1 + np.maximum(pulls - reward, 0)


@dataclass(frozen=True)
class EXP3(Bandit):
    """EXP3 (Auer et al. 2002, fig. 1): the odds of arm i are p_i = (1 - γ) w_i / Σ w + γ / k.

    Here w_i = exp(γ / k · Σ reward / p). The rule is for arms whose rewards an adversary sets: the
    expected regret against the best single arm after T pulls is at most 2 √(e - 1) √(T k ln k),
    with γ = min(1, √(k ln k / ((e - 1) T))) (corollary 3.2). That is 0.1 for three arms and some
    200 pulls. `index` returns the odds. The rule ignores costs, and γ makes `least` unnecessary.
    """

    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.gamma <= 1:
            raise ValueError(
                "gamma is the share of pulls that go to all arms equally, above 0 and at most 1, "
                f"not {self.gamma}"
            )

    def index(self, state: BanditState) -> np.ndarray:
        return self._odds(state, np.ones(len(state.last), bool))

    def draw(
        self, state: BanditState, random: np.random.Generator, available: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        odds = self._odds(state, available)
        # The Gumbel-max trick: the greatest value belongs to arm i with the probability odds[i].
        return np.log(odds) + random.gumbel(size=len(odds)), odds

    def _odds(self, state: BanditState, available: np.ndarray) -> np.ndarray:
        k = available.sum()
        power = self.gamma / k * self.with_prior(state)[WEIGHED]
        weight = np.where(available, np.exp(power - power[available].max()), 0.0)
        return (1 - self.gamma) * weight / weight.sum() + self.gamma / k


def _mean(total: np.ndarray, count: np.ndarray, otherwise: float) -> np.ndarray:
    """Returns `total / count`, float `[k]`, and `otherwise` where the count is 0."""
    if count.all():
        return total / count
    return np.where(count > 0, total, otherwise) / np.where(count > 0, count, 1.0)


def _mean_of_all_arms(total: np.ndarray, count: np.ndarray) -> float:
    """Returns the mean over all arms together; 1 if all counts are 0."""
    counts = count.sum()
    return float(total.sum() / counts) if counts > 0 else 1.0


def _increased(counts: np.ndarray, arm: int, more: int) -> np.ndarray:
    """Returns a copy of `counts` with `more` added at one arm."""
    counts = counts.copy()
    counts[arm] += more
    return counts

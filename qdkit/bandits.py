"""Bandits: which of `k` arms pays, learnt while they are used.

A rule is a frozen dataclass of its settings. What it has heard is a `State`, a value that nothing changes:
every method gives a new one.

    rule = UCBTuned(window=1000, least=0.02)
    state = rule.start(3)
    state, pull = rule.choose(state, random, available=[True, True, False])
    state = rule.hear(state, pull, reward=0.7, cost=0.02)  # sooner or later, in any order

Rewards lie in [0, 1], and are clipped to it (`qdkit.rewards` makes such of gains in any unit). An arm counts as
pulled from the moment it is chosen, so that 64 pulls under way do not all go to one; a pull that gets no reward is
heard with nan, which takes it back.

Letters in formulas: `n` pulls of an arm, those under way included; `m` its mean reward; `t` the sum of all `n`;
`k` arms.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

PULLS, REWARD, SQUARE, COST, WEIGHED = range(5)  # the rows of `State.heard`


class Pull(NamedTuple):
    """One choice: the arm, and with which odds (float `[k]`) each was chosen; 1 where chance had no part in it."""

    arm: int
    odds: np.ndarray


class State(NamedTuple):
    """What a rule knows of `k` arms.

    heard: float `[5, k]`, sums over the rewards that are remembered: how many, the rewards, their squares, their
      costs, and each reward over the odds of its pull.
    recent: float `[w, 6]`, the arm and the five numbers of each, the oldest first; empty without a window.
    waiting: int `[k]`, pulls of which nothing was heard yet.
    last: int `[k]`, which pull was the arm's last, counted from 1; 0 where there was none.
    pulls: how many there were in all.
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
        """float `[k]`: what a pull costs, in costs of the average pull; 1 where nothing was heard."""
        return _mean(self.heard[COST], self.heard[PULLS], 1.0) / _pooled(self.heard[COST], self.heard[PULLS])


@dataclass(frozen=True, kw_only=True)
class Rule(abc.ABC):
    """What all rules share: what they remember, what they believe before, and that no arm starves.

    window: only the last so many rewards count, for arms that change; all where left out.
    discount: or each reward counts this much less with every later one.
    prior: (pulls, mean reward) of each arm, as if heard before; it is never forgotten.
    least: of `1 / least` successive pulls at least one goes to each available arm, so `least` times `k` is at most 1.
    """

    window: int | None = None
    discount: float = 1.0
    prior: tuple[tuple[float, float], ...] = ()
    least: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.discount <= 1 or (self.window is not None and (self.window < 1 or self.discount < 1)):
            raise ValueError(
                f"window={self.window}, discount={self.discount}: say how many rewards are remembered, from 1, "
                "or by how much each counts less, above 0 and at most 1, and not both"
            )

    def start(self, arms: int) -> State:
        """Nothing heard of `arms` arms."""
        if len(self.prior) not in (0, arms):
            raise ValueError(
                f"prior has {len(self.prior)} entries and there are {arms} arms: give (pulls, mean) of each"
            )
        if not 0 <= self.least * arms <= 1:
            raise ValueError(
                f"least={self.least} of the pulls cannot go to each of {arms} arms: at most {1 / arms:.3g}"
            )
        nothing = np.zeros(arms, int)
        return State(np.zeros((5, arms)), np.zeros((0, 6)), nothing, nothing)

    @abc.abstractmethod
    def index(self, state: State) -> np.ndarray:
        """float `[k]`: what speaks for each arm; the rule's formula."""

    def drawn(self, state: State, random: np.random.Generator, available: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(float `[k]`, of which the greatest is chosen; float `[k]`, the odds)."""
        return self.index(state), np.ones(len(available))

    def choose(
        self, state: State, random: np.random.Generator, available: Sequence[bool] | np.ndarray | None = None
    ) -> tuple[State, Pull]:
        """The next arm among those `available` (bool `[k]`, all where left out); the first of equals."""
        arms, number = len(state.waiting), state.pulls + 1
        free = np.ones(arms, bool) if available is None else np.asarray(available, bool)
        if free.shape != (arms,) or not free.any():
            raise ValueError(f"available says which of {arms} arms can be chosen, at least one, not {available}")
        arm, odds = self._late(state, free), np.ones(arms)
        if arm is None:
            value, odds = self.drawn(state, random, free)
            arm = int(np.where(free, value, -np.inf).argmax())
        waiting, last = _plus(state.waiting, arm, 1), _plus(state.last, arm, number - state.last[arm])
        return state._replace(waiting=waiting, last=last, pulls=number), Pull(arm, odds)

    def _late(self, state: State, free: np.ndarray) -> int | None:
        """The arm that waits longest of those to be chosen at once, in time even if all are late together."""
        if not self.least:
            return None
        since = np.where(free, state.pulls + 1 - state.last, -np.inf)
        late = int(since.argmax())
        return late if self.least * (since[late] + len(free) - 1) >= 1 else None

    def hear(
        self, state: State, pull: Pull, reward: float = np.nan, cost: float = 1.0, arm: int | None = None
    ) -> State:
        """What came of a pull. A reward of nan means that none will come.

        cost: in any unit, above 0.
        arm: which arm answered, if not the one that was chosen: the reward and the cost are its.
        """
        if state.waiting[pull.arm] < 1:
            raise ValueError(f"no pull of arm {pull.arm} is under way: hear of each pull once")
        state = state._replace(waiting=_plus(state.waiting, pull.arm, -1))
        if np.isnan(reward):
            return state
        if not 0 < cost < np.inf:
            raise ValueError(f"the cost of a pull is a number above 0, not {cost}: what is free is not infinitely good")
        arm, reward = pull.arm if arm is None else arm, min(1.0, max(0.0, reward))
        row = np.array([1.0, reward, reward**2, cost, reward / pull.odds[arm]])
        if self.window is None:
            heard = state.heard * self.discount
            heard[:, arm] += row
            return state._replace(heard=heard)
        recent = np.vstack([state.recent, [arm, *row]])[-self.window :]
        return state._replace(heard=recent[:, 1:].T @ np.eye(len(state.last))[recent[:, 0].astype(int)], recent=recent)

    def believed(self, state: State) -> np.ndarray:
        """float `[5, k]`: what was heard, and the prior as if it had been."""
        if not self.prior:
            return state.heard
        pulls, mean = np.array(self.prior, float).T
        return state.heard + np.stack([pulls, pulls * mean, pulls * mean, 0 * pulls, pulls * mean])


@dataclass(frozen=True)
class UCB(Rule):
    """(m + c √(2 ln t / n)) / price: UCB1 (Auer, Cesa-Bianchi & Fischer 2002, fig. 1).

    With c = 1 its regret after T pulls is at most 8 Σ ln T / Δ + (1 + π² / 3) Σ Δ over the arms that are Δ > 0
    worse than the best (theorem 1). Divided by the price as in fractional KUBE (Tran-Thanh et al. 2012). inf for
    an arm never chosen; while nothing is heard of one that was, its m is 0: it is being tried already.
    """

    c: float = 1.0

    def index(self, state: State) -> np.ndarray:
        pulls, reward, square, *_ = self.believed(state)
        n = pulls + state.waiting
        mean = _mean(reward, pulls, 0.0)
        variance = _mean(square, pulls, np.inf) - mean * mean
        per_pull = np.log(max(n.sum(), 1.0)) / np.where(n > 0, n, 1)
        return np.where(n > 0, mean + self.bonus(per_pull, variance), np.inf) / state.price

    def bonus(self, per_pull: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """float `[k]`: what is added to the mean, from ln t / n and the variance of the rewards heard."""
        return self.c * np.sqrt(2 * per_pull)


@dataclass(frozen=True)
class UCBTuned(UCB):
    """(m + c √(ln t / n · min(¼, V))) / price, with V = variance + √(2 ln t / n) (Auer et al. 2002, section 4).

    ¼ is the greatest variance that a reward in [0, 1] can have. No bound is proved; it explores less than `UCB`
    where rewards are mostly alike, as those of operators are: most candidates earn nothing.
    """

    def bonus(self, per_pull: np.ndarray, variance: np.ndarray) -> np.ndarray:
        return self.c * np.sqrt(per_pull * np.minimum(0.25, variance + np.sqrt(2 * per_pull)))


def sliding_window_ucb(window: int, xi: float = 0.6) -> UCB:
    """m + √(ξ ln min(t, τ) / n) over the last τ = `window` rewards (Garivier & Moulines 2011, SW-UCB).

    ξ = 0.6 as in their experiments. For T pulls in which the means change Υ times they take τ = 2 √(T ln T / Υ),
    and the regret is O(√(T Υ ln T)).
    """
    return UCB(np.sqrt(xi / 2).item(), window=window)


def discounted_ucb(discount: float, xi: float = 0.6) -> UCB:
    """m + 2 √(ξ ln t / n), where all sums are discounted by γ at every reward (Garivier & Moulines 2011, D-UCB).

    For T pulls in which the means change Υ times they take γ = 1 - √(Υ / T) / 4, and the regret is O(√(T Υ) ln T).
    """
    return UCB(2 * np.sqrt(xi / 2).item(), discount=discount)


@dataclass(frozen=True)
class Thompson(Rule):
    """A draw from Beta(1 + S, 1 + n - S) / price, S the sum of rewards (Thompson 1933; Agrawal & Goyal 2012).

    `index` is the mean of what is drawn. A reward between 0 and 1 counts as that share of a success, where they
    draw a success with that chance: the same in the mean. Pulls under way do not count; draws spread by themselves.
    """

    def index(self, state: State) -> np.ndarray:
        success, failure = self._counts(state)
        return success / (success + failure) / state.price

    def drawn(self, state: State, random: np.random.Generator, available: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return random.beta(*self._counts(state)) / state.price, np.ones(len(available))

    def _counts(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        pulls, reward, *_ = self.believed(state)
        return 1 + reward, 1 + np.maximum(pulls - reward, 0)  # rounding must not make it negative


@dataclass(frozen=True)
class EXP3(Rule):
    """Arm i with the odds p_i = (1 - γ) w_i / Σ w + γ / k, w_i = exp(γ / k · Σ reward / p) (Auer et al. 2002, fig. 1).

    For arms that an adversary moves: whatever they do, the regret against the best single arm after T pulls is at
    most 2 √(e - 1) √(T k ln k) in the mean, with γ = min(1, √(k ln k / ((e - 1) T))) (corollary 3.2); 0.1 is that of
    three arms and some 200 pulls. `index` are the odds. It reads no costs, and `least` is best left to γ.
    """

    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.gamma <= 1:
            raise ValueError(
                f"gamma is the share of pulls that go to all arms alike, above 0 and at most 1, not {self.gamma}"
            )

    def index(self, state: State) -> np.ndarray:
        return self._odds(state, np.ones(len(state.last), bool))

    def drawn(self, state: State, random: np.random.Generator, available: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        odds = self._odds(state, available)
        return np.log(odds) + random.gumbel(size=len(odds)), odds  # the greatest is i with the odds of i

    def _odds(self, state: State, available: np.ndarray) -> np.ndarray:
        k = available.sum()
        power = self.gamma / k * self.believed(state)[WEIGHED]
        weight = np.where(available, np.exp(power - power[available].max()), 0.0)
        return (1 - self.gamma) * weight / weight.sum() + self.gamma / k


def _mean(total: np.ndarray, count: np.ndarray, otherwise: float) -> np.ndarray:
    """float `[k]`: `total / count`, and `otherwise` where nothing was counted."""
    if count.all():
        return total / count
    return np.where(count > 0, total, otherwise) / np.where(count > 0, count, 1.0)


def _pooled(total: np.ndarray, count: np.ndarray) -> float:
    """The mean over all arms together, 1 where nothing was counted."""
    return float(total.sum() / counted) if (counted := count.sum()) > 0 else 1.0


def _plus(counts: np.ndarray, arm: int, more: int) -> np.ndarray:
    """`counts` with `more` at one arm."""
    counts = counts.copy()
    counts[arm] += more
    return counts

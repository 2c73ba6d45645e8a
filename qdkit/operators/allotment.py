"""Which operator makes each candidate, dealt out by a bandit that hears how they fared."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qdkit.bandits import PULLS, Pull, Rule
from qdkit.elites import Added
from qdkit.rewards import Cost, Reward, ranked
from qdkit.types import NOBODY, Batch, Outcome

REST = 32  # candidates: an arm whose server is away costs no more than one candidate in so many


@dataclass(frozen=True)
class Arm:
    """How an arm stands with its bandit; what a window or a discount has forgotten does not count.

    pulls: rewards heard. waiting: candidates under way. mean: of the rewards, nan where there are none.
    price: its cost in those of the average candidate. index: what speaks for it, see the rule.
    """

    arm: str
    pulls: float
    waiting: int
    mean: float
    price: float
    index: float


class Allotment:
    """Deals candidates to arms, called `names`, and credits what became of each to the arm that made it.

    arms: the names that stand in the `origin` of candidates, and the number of the arm that each belongs to.
    cost: 1 for every candidate where None.

    Changes in `deal` and `learn` alone, so it is the same in a run that is made again.
    """

    def __init__(
        self,
        names: Sequence[str],
        arms: Mapping[str, int],
        bandit: Rule,
        reward: Reward,
        cost: Cost | None,
        seed: int,
    ):
        self.names, self.arms = names, arms
        self.bandit, self.reward, self.cost, self.seed = bandit, reward, cost, seed
        self.state = bandit.start(len(names))
        self._dealt: deque[list[Pull]] = deque()  # by turn, until it is heard of
        self._turns = 0
        self._rested = np.zeros(len(names), int)  # the number of the pull from which on each is available
        self._gains: tuple[float, ...] = ()  # of late
        self._objective = np.empty(0)  # by id

    def deal(self, n: int) -> np.ndarray:
        """int `[k]`: how many of the next `n` candidates each arm makes."""
        random = np.random.default_rng((self.seed, self._turns))
        awake = self._rested <= self.state.pulls
        pulls = []
        for _ in range(n):
            self.state, pull = self.bandit.choose(self.state, random, awake if awake.any() else None)
            pulls.append(pull)
        self._dealt.append(pulls)
        self._turns += 1
        return np.bincount([pull.arm for pull in pulls], minlength=len(awake))

    def learn(self, batch: Batch, added: Added, *, own: bool) -> None:
        """Hears of a batch; `own` if the oldest turn it has not heard of yet made it, or should have."""
        parents = self._best(batch.parents)
        self._remember(batch, parents)
        if not own:
            return
        rewards, self._gains = ranked(self.reward(batch, added, parents), self._gains)
        costs = np.ones(len(batch)) if self.cost is None else self.cost(batch)
        rows = [(row, self.arms[name]) for row, name in enumerate(batch.origin) if name in self.arms]
        pulls = self._dealt.popleft()
        for pull, (row, arm) in zip(pulls, rows, strict=False):  # chosen by the same odds, so any row may go with any
            self.state = self.bandit.hear(self.state, pull, float(rewards[row]), float(costs[row]), arm)
            away = batch.outcome[row] == Outcome.INFRASTRUCTURE
            self._rested[arm] = self.state.pulls + REST if away else 0
        for pull in pulls[len(rows) :]:
            self.state = self.bandit.hear(self.state, pull)

    @property
    def table(self) -> list[Arm]:
        """A row for each arm."""
        state = self.state
        columns: Any = (state.heard[PULLS], state.waiting, state.mean, state.price, self.bandit.index(state))
        return [Arm(name, *row) for name, *row in zip(self.names, *(c.tolist() for c in columns), strict=True)]

    def _best(self, parents: np.ndarray) -> np.ndarray:
        """float `[n]`: the best known objective among the parents of each, nan where there is none."""
        known = np.append(self._objective, np.nan)
        ids = np.where((parents == NOBODY) | (parents >= len(self._objective)), -1, parents)
        return np.fmax.reduce(known[ids], axis=1)

    def _remember(self, batch: Batch, parents: np.ndarray) -> None:
        """The objectives of a batch. One that failed stands for its parents, so that a repair has to beat them."""
        size, last = len(self._objective), int(batch.id.max(initial=-1))
        if last >= size:
            self._objective = np.append(self._objective, np.full(max(last + 1, 2 * size) - size, np.nan))
        numbered = batch.id >= 0
        self._objective[batch.id[numbered]] = np.where(np.isnan(batch.objective), parents, batch.objective)[numbered]

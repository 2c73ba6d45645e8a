"""Batch allocation: a bandit decides which operator makes each candidate of a batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qdkit.core.elites import REJECTED, Added
from qdkit.core.jsonable import to_json
from qdkit.core.seeds import numpy_seed, seed_number
from qdkit.core.types import NO_CANDIDATE, Batch, Operator, Outcome
from qdkit.selection.bandits import PULLS, Bandit, Pull
from qdkit.selection.rewards import UNREWARDED, CostFunction, Reward, over_cell, ranked

# An arm whose server is unavailable is not chosen for this many pulls.
_REST = 32
# The most pulls of a turn. A limit is needed because jax compiles an operator again for every
# number of candidates that it makes.
_BLOCKS = 16


@dataclass(frozen=True)
class ArmState:
    """The statistics of one arm of a bandit, after its window or discount.

    pulls: the number of rewards received.
    waiting: the number of pulls whose reward has not been received.
    mean: the mean reward; nan if there are none.
    price: the cost of the arm divided by that of the average candidate.
    index: the value by which the bandit compares arms; see the rule.
    """

    arm: str
    pulls: float
    waiting: int
    mean: float
    price: float
    index: float


class BatchAllocation:
    """Allocates the candidates of each batch to arms, and rewards the arm that made each of them.

    A pull is one candidate. In a turn of more than `_BLOCKS` candidates a pull is a block of
    them, and its reward and cost are the means over the block.

    names: the name of each arm.
    arms: the number of the arm for each operator name that can stand in the `origin` column.
    cost: the cost function; every candidate costs 1 if None.

    The state changes only in `deal` and `learn`, so a repeated run reproduces it.
    """

    def __init__(
        self,
        names: Sequence[str],
        arms: Mapping[str, int],
        bandit: Bandit,
        reward: Reward,
        cost: CostFunction | None,
        seed: int,
    ):
        self.names, self.arms = names, arms
        self.bandit, self.reward, self.cost, self.seed = bandit, reward, cost, seed_number(seed)
        self.state = bandit.start(len(names))
        # the pulls of each turn whose batch has not been received, each with its block size
        self._pending: deque[list[tuple[Pull, int]]] = deque()
        self._turns = 0
        # the number of the pull from which on each arm is available
        self._available_from = np.zeros(len(names), int)
        self._recent_gains: tuple[float, ...] = ()
        self._objective = np.empty(0)  # by id of the candidate

    def deal(self, n: int) -> np.ndarray:
        """Returns how many of the next `n` candidates each arm makes, int `[k]` for `k` arms."""
        random = np.random.default_rng((numpy_seed(self.seed), self._turns))
        available = self._available_from <= self.state.pulls
        block, pulls = -(-n // _BLOCKS), []
        for start in range(0, n, block):
            self.state, pull = self.bandit.choose(
                self.state, random, available if available.any() else None
            )
            pulls.append((pull, min(block, n - start)))
        pulls.sort(key=lambda item: item[0].arm)  # the order of the candidates in their batch
        self._pending.append(pulls)
        self._turns += 1
        arms, sizes = [pull.arm for pull, _ in pulls], [size for _, size in pulls]
        return np.bincount(arms, sizes, len(available)).astype(int)

    def learn(self, batch: Batch, added: Added, *, own: bool) -> None:
        """Updates the bandit with the rewards of a batch.

        own: whether the batch belongs to the oldest turn that is pending. Of other batches only
          the objectives are stored.
        """
        parents = self._best_parent_objective(batch.parents)
        self._store_objectives(batch, parents)
        if not own:
            return
        gains = self.reward(batch, added, parents)
        rewards, self._recent_gains = ranked(gains, self._recent_gains)
        costs = np.ones(len(batch)) if self.cost is None else self.cost(batch)
        arms = np.array([self.arms.get(name, -1) for name in batch.origin])
        rows = np.flatnonzero(arms >= 0)
        # All pulls of a turn have the same probabilities, so any rows may be matched to any pull.
        for pull, size in self._pending.popleft():
            block, rows = rows[:size], rows[size:]
            block = block[arms[block] == arms[block[:1]]]
            rewarded = block[~np.isnan(rewards[block])]
            if len(rewarded):
                reward, cost = rewards[rewarded].mean().item(), costs[rewarded].mean().item()
                arm = int(arms[rewarded[0]])
                self.state = self.bandit.hear(self.state, pull, reward, cost, arm)
            else:
                self.state = self.bandit.hear(self.state, pull)
            if len(block):
                unavailable = (batch.outcome[block] == Outcome.INFRASTRUCTURE).all()
                until = self.state.pulls + _REST if unavailable else 0
                self._available_from[arms[block[0]]] = until

    @property
    def table(self) -> list[ArmState]:
        """The statistics of each arm."""
        state = self.state
        columns: Any = (
            state.heard[PULLS],
            state.waiting,
            state.mean,
            state.price,
            self.bandit.index(state),
        )
        return [
            ArmState(name, *row)
            for name, *row in zip(self.names, *(c.tolist() for c in columns), strict=True)
        ]

    def _best_parent_objective(self, parents: np.ndarray) -> np.ndarray:
        """Returns the best known objective among the parents of each row, float `[n]`, or nan."""
        known = np.append(self._objective, np.nan)
        ids = np.where((parents == NO_CANDIDATE) | (parents >= len(self._objective)), -1, parents)
        return np.fmax.reduce(known[ids], axis=1)

    def _store_objectives(self, batch: Batch, parents: np.ndarray) -> None:
        """Stores the objectives of a batch by id.

        A failed candidate gets the best objective of its parents, so a repair of it is compared
        with them.
        """
        size, last = len(self._objective), int(batch.id.max(initial=-1))
        if last >= size:
            self._objective = np.append(
                self._objective, np.full(max(last + 1, 2 * size) - size, np.nan)
            )
        numbered = batch.id >= 0
        self._objective[batch.id[numbered]] = np.where(
            np.isnan(batch.objective), parents, batch.objective
        )[numbered]


# Compatibility with runs recorded when `over_cell` returned max(0, f(x)) for an empty cell.

_OLD_OVER_CELL = "<function over_cell>"  # the description of the reward in those runs


def over_cell_or_zero(batch: Batch, added: Added, parents: np.ndarray) -> np.ndarray:
    """Returns the rewards of `over_cell`, float `[n]`, but max(0, f(x)) for an empty cell.

    Unlike `over_cell`, it depends on the zero of the objective.
    """
    entered = batch.ok & (np.asarray(added.status) > REJECTED)
    gain = np.where(entered, np.maximum(0.0, np.asarray(added.value, np.float64)), 0.0)
    return np.where(np.isin(batch.outcome, UNREWARDED), np.nan, gain)


def reward_name(reward: Reward) -> str:
    """Returns the name of a reward in the description of a portfolio.

    The `over_cell` of old runs and that of today have different names.
    """
    if reward is over_cell_or_zero:
        return _OLD_OVER_CELL
    return "over_cell" if reward is over_cell else repr(reward)


def use_recorded_reward(operator: Operator, recorded: Any) -> None:
    """Sets the reward of `operator` and its parts to the old `over_cell` if the run has that.

    recorded: the description of the operator in the run.
    """
    if _OLD_OVER_CELL not in to_json(recorded):
        return
    for allocation in _allocations(operator):
        if allocation.reward is over_cell:
            allocation.reward = over_cell_or_zero


def _allocations(part: Any) -> Iterator[BatchAllocation]:
    """Yields the batch allocations of an operator and of the operators that it contains."""
    if isinstance(part, BatchAllocation):
        yield part
    elif isinstance(part, Operator):
        yield from _allocations([getattr(part, name) for name in getattr(part, "__dict__", {})])
    elif isinstance(part, list | tuple):
        for each in part:
            yield from _allocations(each)

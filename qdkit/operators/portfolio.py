"""Several operators as one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from qdkit.core.casting import cast
from qdkit.core.elites import Added
from qdkit.core.stages import PLACEHOLDER_ORIGIN
from qdkit.core.types import (
    NO_CANDIDATE,
    Axes,
    Batch,
    Context,
    Genomes,
    Key,
    Operator,
    Outcome,
    Proposal,
    SelectionRequest,
)
from qdkit.selection.bandits import Bandit
from qdkit.selection.rewards import CostFunction, Reward, over_cell

from .allocation import ArmState, BatchAllocation, reward_name


class Portfolio(Operator):
    """Allocates each batch to several operators, by weights or by a bandit.

    An operator with a fixed number of candidates (its `size`) makes that many. The others share
    the rest by `weights`, in the same way in every turn; if there are more operators than
    candidates, they take turns. With a `bandit` each candidate of the rest goes to the operator
    that the bandit chooses, in the order in which batches start, and the operator that made a
    candidate (its `origin`) is rewarded for it, in the order of the commits.

        Portfolio([Rewrite(LLM(m), prompt) for m in models], bandit=UCBTuned(discount=0.998))
        Portfolio(
            [kind(LLM(m), task) for m in models for kind in (Patch, Full)],
            bandit=...,
            cost=Dollars(),
        )

    The bandit learns whatever distinguishes the operators: models, kinds of edits or, as in the
    second example, their product.

    weights: a positive number for each operator; all equal if None. Those of operators with a
      fixed size are not used.
    bandit: a rule of `qdkit.selection.bandits`. `UCBTuned(discount=0.998)` fits most searches,
      because the reward of an operator changes as the archive fills. Of the rules measured in
      results/steering/bandits.md it has the least regret where arms change and 64 candidates are
      under way, and little more than the best with one. Where arms do not change, its memory of
      some 500 candidates costs regret: `UCBTuned()` has a quarter of it. `least=0.02` costs a
      fifth more, and keeps choosing an operator that alone finds something different.
    reward: the reward of each candidate, see `qdkit.selection.rewards`; the bandit receives its
      rank among recent ones.
    cost: the cost of each candidate, `(batch) -> float [n]`, such as
      `qdkit.selection.rewards.Dollars`; all equal if None.
    seed: the seed of the bandit.
    size: the number of candidates per step; None if any number.

    An operator whose server is unavailable is not chosen for a while, unless all are unavailable.

    Raises ValueError if two operators have the same name, since candidates are matched to
    operators by name.
    """

    def __init__(
        self,
        operators: Sequence[Operator],
        weights: Sequence[float] | None = None,
        name: str = "portfolio",
        *,
        bandit: Bandit | None = None,
        reward: Reward = over_cell,
        cost: CostFunction | None = None,
        seed: int = 0,
    ):
        self.operators, self.name = tuple(operators), name
        self.weights = (
            np.ones(len(self.operators)) if weights is None else np.asarray(weights, np.float64)
        )
        _check(self.operators, self.weights)
        self.arity = max(operator.arity for operator in self.operators)
        self._sizes = [operator.size for operator in self.operators]
        self.size = sum(size or 0 for size in self._sizes) if None not in self._sizes else None
        self._free = np.array([size is None for size in self._sizes])
        self._taken = np.zeros(self._free.sum(), int)  # the number of turns each has taken
        self._origins = frozenset(operator_names(self))
        self._pending: deque[list[int]] = deque()  # the shares of each turn not yet received
        self._last_id = -1  # the last id that was received
        self._allocation: BatchAllocation | None = None
        if bandit is not None:
            arms = [operator for operator in self.operators if operator.size is None]
            if weights is not None or not arms:
                raise ValueError(
                    "a bandit decides which operators make how many: leave out the weights, and "
                    "give it operators that make any number of candidates"
                )
            origins = {name: arm for arm, part in enumerate(arms) for name in operator_names(part)}
            self._allocation = BatchAllocation(
                [arm.name for arm in arms], origins, bandit, reward, cost, seed
            )

    def __repr__(self) -> str:
        if (learnt := self._allocation) is None:
            return f"Portfolio({list(self.operators)!r}, weights={self.weights.tolist()!r})"
        settings = (
            f"bandit={learnt.bandit!r}, reward={reward_name(learnt.reward)}, "
            f"cost={learnt.cost!r}, seed={learnt.seed}"
        )
        return f"Portfolio({list(self.operators)!r}, {settings})"

    @property
    def arms(self) -> list[ArmState]:
        """The statistics of each arm of the bandit, as rows for pandas; empty without a bandit."""
        return self._allocation.table if self._allocation else []

    @property
    def models(self) -> list[Any]:
        """The models that its operators ask."""
        return [model for operator in self.operators for model in operator.models]

    def turn(self, n: int) -> Operator:
        """Returns the operator that makes the next `n` candidates."""
        shares = self.shares(n)
        self._pending.append(shares)
        parts = tuple(
            (operator.turn(share), share)
            for operator, share in zip(self.operators, shares, strict=True)
            if share
        )
        return PortfolioTurn(parts, payable=self._origins if self._allocation else None)

    def shares(self, n: int) -> list[int]:
        """Returns how many of the next `n` candidates each operator makes; called once a turn.

        Raises ValueError if `n` is too small, or too large, for the operators of a fixed size.
        """
        shares = np.array([size or 0 for size in self._sizes])
        rest = n - int(shares.sum())
        if rest < 0 or (rest > 0) != bool(self._free.any()):
            than = "more than " if self._free.any() else ""
            raise ValueError(
                f"the operators of the portfolio {self.name!r} make {than}{n - rest} candidates a "
                f"step and the search asked for {n}: search with a batch of {than}{n - rest}"
            )
        if self._allocation and rest:
            shares[self._free] = self._allocation.deal(rest)
        elif self._free.any():
            weights = self.weights[self._free] / self.weights[self._free].sum()
            enough = rest >= len(weights)
            shares[self._free] = _split(rest, weights) if enough else self._next(rest, weights)
        return shares.tolist()

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        raise TypeError("a portfolio only gives turns: call turn(n).propose(...)")

    def learn(self, batch: Batch, added: Added) -> None:
        """Passes a batch on to the operators, and to the bandit.

        A batch of placeholders goes only to the operators that should have made it.
        """
        placeholders, first = PLACEHOLDER_ORIGIN in batch.origin, int(batch.id[0])
        own = (
            first > self._last_id
            and (placeholders or not self._origins.isdisjoint(batch.origin))
            and bool(self._pending)
        )
        shares = self._pending.popleft() if own else [1] * len(self.operators)
        # A batch that was received before, and is judged again, belongs to no pending turn.
        self._last_id = max(first, self._last_id)
        if self._allocation:
            self._allocation.learn(batch, added, own=own)
        for operator, share in zip(self.operators, shares, strict=True):
            if share or not placeholders:
                operator.learn(batch, added)

    def remeasure(self, axes: Axes) -> None:
        for operator in self.operators:
            operator.remeasure(axes)

    def _next(self, n: int, weights: np.ndarray) -> np.ndarray:
        """Returns how many of `n` candidates each operator makes, where `n` is too few for all.

        Each candidate goes to the operator furthest behind its weight, the first of equals.
        """
        before = self._taken.copy()
        for _ in range(n):
            behind = weights * (self._taken.sum() + 1) - self._taken
            self._taken[np.argmax(behind)] += 1
        return self._taken - before


@dataclass(frozen=True)
class PortfolioTurn(Operator):
    """One turn of a portfolio.

    parts: operators, each with the number of candidates that it makes.
    payable: the operator names for which the bandit has an arm; None without a bandit.
    """

    parts: tuple[tuple[Operator, int], ...]
    name: str = "portfolio"
    payable: frozenset[str] | None = None

    @property
    def arity(self) -> int:  # type: ignore[override]  # of the operators of this turn only
        """The greatest arity of the parts."""
        return max(operator.arity for operator, _ in self.parts)

    def requests(self, n: int) -> list[SelectionRequest]:
        return [each for operator, share in self.parts for each in operator.requests(share)]

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        keys = jax.random.split(key, len(self.parts))
        proposals, start, each = [], 0, len(context.parents) // n
        for part_key, (operator, share) in zip(keys, self.parts, strict=True):
            part = context.part(slice(start, start + share), each, operator.arity)
            proposal = operator.propose(part_key, part, share)
            if isinstance(proposal.genome, np.ndarray) and isinstance(
                part.parents.genome, np.ndarray
            ):
                # Each part is cast before the parts are concatenated, since concatenation of
                # different dtypes gives a third.
                dtype = part.parents.genome.dtype
                genome = cast(proposal.genome, dtype, operator.name)
                proposal = proposal._replace(genome=genome)
            proposals.append(proposal)
            start += share
            unknown = {*proposal.origin} - self.payable if self.payable is not None else set()
            if unknown:
                raise ValueError(
                    f"{operator.name!r} gives the origin {min(unknown)!r} to its candidates, "
                    "which is the name of no operator of the portfolio, so no arm of the bandit "
                    "can be rewarded for them: give them the operator's name"
                )
        return _concatenated(proposals)


def operator_names(operator: Operator) -> Iterator[str]:
    """Yields the names that stand in the `origin` column of an operator's candidates."""
    if isinstance(operator, Portfolio):
        for part in operator.operators:
            yield from operator_names(part)
    else:
        yield operator.name


def _check(operators: tuple[Operator, ...], weights: np.ndarray) -> None:
    if not operators:
        raise ValueError("a portfolio needs at least one operator, and has none")
    every = [name for operator in operators for name in operator_names(operator)]
    twice = sorted({name for name in every if every.count(name) > 1})
    if twice:
        raise ValueError(
            f"two operators of a portfolio are named {twice[0]!r}: give each a name of its own, "
            f"name=..."
        )
    if weights.shape != (len(operators),) or not (np.isfinite(weights) & (weights > 0)).all():
        raise ValueError(
            f"weights are {len(operators)} positive numbers, one for each operator, not {weights}"
        )


def _split(n: int, weights: np.ndarray) -> np.ndarray:
    """Splits `n` by `weights`, which add up to 1, with at least 1 for each."""
    quota = n * weights
    shares = np.maximum(np.floor(quota), 1).astype(int)
    while shares.sum() < n:
        shares[np.argmax(quota - shares)] += 1
    while shares.sum() > n:
        shares[np.argmax(np.where(shares > 1, shares - quota, -np.inf))] -= 1
    return shares


def _concatenated(proposals: Sequence[Proposal]) -> Proposal:
    """Concatenates proposals; ids of parents are padded with `NO_CANDIDATE` to a common width."""
    width = max(part.parents.shape[1] for part in proposals)
    pad = lambda ids: np.pad(
        ids, ((0, 0), (0, width - ids.shape[1])), constant_values=NO_CANDIDATE
    )
    genome: Genomes
    if all(isinstance(part.genome, np.ndarray) for part in proposals):
        genome = np.concatenate([np.asarray(part.genome) for part in proposals])
    else:
        genome = [one for part in proposals for one in part.genome]
    parents = np.concatenate([pad(part.parents) for part in proposals])
    origin: list[Any] = []
    outcome: list[Any] = []
    notes: list[Any] = []
    for part in proposals:
        n = len(part.origin)
        origin.extend(part.origin)
        outcome.extend([Outcome.OK] * n if part.outcome is None else part.outcome)
        notes.extend([{}] * n if part.notes is None else part.notes)
    return Proposal(genome, parents, origin, outcome, notes)

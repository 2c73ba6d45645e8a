"""Several operators as one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from qdkit.bandits import Rule
from qdkit.elites import Added
from qdkit.rewards import Cost, Reward, over_cell
from qdkit.types import NOBODY, Axes, Batch, Context, Genomes, Key, Operator, Outcome, Proposal, Wish

from .allotment import Allotment, Arm

NEVER_MADE = "nobody"  # the origin of candidates of a step that came to nothing before any was made


class Portfolio(Operator):
    """Shares each batch out among `operators`: by weights, or by a bandit that learns which of them pay.

    An operator that makes a fixed number of candidates (its `size`) makes that many; the others
    share the rest by `weights`, evenly where left out, and the same in every turn. If there are more
    of them than candidates, they take turns. With a `bandit` each candidate of the rest goes to the
    operator that it chooses, in the order of the starts, and the operator that made it (its `origin`)
    is paid for it in the order of the commits.

        Portfolio([Rewrite(LLM(m), prompt) for m in models], bandit=UCBTuned(discount=0.998))
        Portfolio([kind(LLM(m), task) for m in models for kind in (Patch, Full)], bandit=..., cost=Dollars())

    Whatever distinguishes operators can be learnt: models, kinds of edits, or, as in the second line, their product.

    weights: a positive number for each operator; those of a fixed size need theirs for the form only.
    bandit: a rule of `qdkit.bandits`. `UCBTuned(discount=0.998)` fits most searches: what an operator earns changes
      as the archive fills, and of the rules measured in results/steering/bandits.md it loses least where arms
      change and 64 candidates are under way, and little more than the best with one. Where arms stay as they are,
      it is the price of remembering some 500 candidates only: `UCBTuned()` loses a quarter of it. `least=0.02` costs
      a fifth more, and keeps in play the operator that alone finds something other.
    reward: what a candidate is worth, see `qdkit.rewards`; the bandit is told its rank among those of late.
    cost: what each candidate cost, `(batch) -> float [n]`, such as `qdkit.rewards.Dollars`; all alike where left out.
    seed: of the bandit's own randomness.
    size: how many candidates it makes a step, None if any number.

    An operator whose server is away is left in peace for a while, unless all are.

    Raises ValueError if two operators have the same name, since they know their candidates by it.
    """

    def __init__(
        self,
        operators: Sequence[Operator],
        weights: Sequence[float] | None = None,
        name: str = "portfolio",
        *,
        bandit: Rule | None = None,
        reward: Reward = over_cell,
        cost: Cost | None = None,
        seed: int = 0,
    ):
        self.operators, self.name = tuple(operators), name
        self.weights = np.ones(len(self.operators)) if weights is None else np.asarray(weights, np.float64)
        _check(self.operators, self.weights)
        self.arity = max(operator.arity for operator in self.operators)
        self._sizes = [operator.size for operator in self.operators]
        self.size = sum(size or 0 for size in self._sizes) if None not in self._sizes else None
        self._free = np.array([size is None for size in self._sizes])
        self._taken = np.zeros(self._free.sum(), int)  # how many turns each has taken
        self._origins = frozenset(names(self))
        self._turns: deque[list[int]] = deque()  # the shares of each that is not heard of yet
        self._heard = -1  # the last id
        self._allotment: Allotment | None = None
        if bandit is not None:
            arms = [operator for operator in self.operators if operator.size is None]
            if weights is not None or not arms:
                raise ValueError(
                    "a bandit decides which operators make how many: leave out the weights, and give it operators "
                    "that make any number of candidates"
                )
            origins = {origin: arm for arm, operator in enumerate(arms) for origin in names(operator)}
            self._allotment = Allotment([arm.name for arm in arms], origins, bandit, reward, cost, seed)

    def __repr__(self) -> str:
        if (learnt := self._allotment) is None:
            return f"Portfolio({list(self.operators)!r}, weights={self.weights.tolist()!r})"
        pay = f"bandit={learnt.bandit!r}, reward={learnt.reward!r}, cost={learnt.cost!r}, seed={learnt.seed}"
        return f"Portfolio({list(self.operators)!r}, {pay})"

    @property
    def arms(self) -> list[Arm]:
        """How each arm stands with the bandit, as rows that pandas reads; none without a bandit."""
        return self._allotment.table if self._allotment else []

    @property
    def models(self) -> list[Any]:
        """Whom its operators ask."""
        return [model for operator in self.operators for model in operator.models]

    def turn(self, n: int) -> Operator:
        """The operators at work in the next `n` candidates."""
        shares = self.shares(n)
        self._turns.append(shares)
        parts = tuple((o.turn(share), share) for o, share in zip(self.operators, shares, strict=True) if share)
        return Shared(parts, payable=self._origins if self._allotment else None)

    def shares(self, n: int) -> list[int]:
        """How many of the next `n` candidates each operator makes; called once a turn.

        Raises ValueError if `n` is not enough for those of a fixed size, or too much.
        """
        shares = np.array([size or 0 for size in self._sizes])
        rest = n - int(shares.sum())
        if rest < 0 or (rest > 0) != bool(self._free.any()):
            than = "more than " if self._free.any() else ""
            raise ValueError(
                f"the operators of the portfolio {self.name!r} make {than}{n - rest} candidates a step and the search "
                f"asked for {n}: search with a batch of {than}{n - rest}"
            )
        if self._allotment and rest:
            shares[self._free] = self._allotment.deal(rest)
        elif self._free.any():
            weights = self.weights[self._free] / self.weights[self._free].sum()
            shares[self._free] = _split(rest, weights) if rest >= len(weights) else self._next(rest, weights)
        return shares.tolist()

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        raise TypeError("a portfolio only gives turns: call turn(n).propose(...)")

    def learn(self, batch: Batch, added: Added) -> None:
        """Hears how a batch fared. One that came to nothing concerns those alone who should have made it."""
        nothing, first = NEVER_MADE in batch.origin, int(batch.id[0])
        own = first > self._heard and (nothing or not self._origins.isdisjoint(batch.origin)) and bool(self._turns)
        shares = self._turns.popleft() if own else [1] * len(self.operators)
        self._heard = max(first, self._heard)  # what was heard of before, and is judged again, is no turn's
        if self._allotment:
            self._allotment.learn(batch, added, own=own)
        for operator, share in zip(self.operators, shares, strict=True):
            if share or not nothing:
                operator.learn(batch, added)

    def remeasure(self, axes: Axes) -> None:
        for operator in self.operators:
            operator.remeasure(axes)

    def _next(self, n: int, weights: np.ndarray) -> np.ndarray:
        """Each of `n` candidates to the operator furthest behind its weight, the first of equals first."""
        before = self._taken.copy()
        for _ in range(n):
            behind = weights * (self._taken.sum() + 1) - self._taken
            self._taken[np.argmax(behind)] += 1
        return self._taken - before


@dataclass(frozen=True)
class Shared(Operator):
    """One turn of a portfolio: `parts` are operators, and how many candidates each makes.

    payable: the names under which a bandit can pay for a candidate; None where there is no bandit.
    """

    parts: tuple[tuple[Operator, int], ...]
    name: str = "portfolio"
    payable: frozenset[str] | None = None

    @property
    def arity(self) -> int:  # type: ignore[override]  # of the operators at work, not of all
        """The greatest among the parts."""
        return max(operator.arity for operator, _ in self.parts)

    def wishes(self, n: int) -> list[Wish]:
        return [wish for operator, share in self.parts for wish in operator.wishes(share)]

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        keys = jax.random.split(key, len(self.parts))
        made, start, each = [], 0, len(context.parents) // n
        for part_key, (operator, share) in zip(keys, self.parts, strict=True):
            part = context.part(slice(start, start + share), each, operator.arity)
            made.append(operator.propose(part_key, part, share))
            start += share
            if self.payable is not None and (strangers := sorted({*made[-1].origin} - self.payable)):
                raise ValueError(
                    f"{operator.name!r} says that {strangers[0]!r} made its candidates, which no operator of the "
                    "portfolio is called, so that nobody can be paid for them: give them the operator's name"
                )
        return _joined(made)


def names(operator: Operator) -> Iterator[str]:
    """The names that stand in the `origin` of its candidates."""
    if isinstance(operator, Portfolio):
        for part in operator.operators:
            yield from names(part)
    else:
        yield operator.name


def _check(operators: tuple[Operator, ...], weights: np.ndarray) -> None:
    if not operators:
        raise ValueError("a portfolio is made of at least one operator, and none was given")
    every = [name for operator in operators for name in names(operator)]
    twice = sorted({name for name in every if every.count(name) > 1})
    if twice:
        raise ValueError(f"two operators of a portfolio are named {twice[0]!r}: give each a name of its own, name=...")
    if weights.shape != (len(operators),) or not (np.isfinite(weights) & (weights > 0)).all():
        raise ValueError(f"weights are {len(operators)} positive numbers, one for each operator, not {weights}")


def _split(n: int, weights: np.ndarray) -> np.ndarray:
    """`n` by `weights`, which add up to 1; at least 1 each."""
    quota = n * weights
    shares = np.maximum(np.floor(quota), 1).astype(int)
    while shares.sum() < n:
        shares[np.argmax(quota - shares)] += 1
    while shares.sum() > n:
        shares[np.argmax(np.where(shares > 1, shares - quota, -np.inf))] -= 1
    return shares


def _joined(made: Sequence[Proposal]) -> Proposal:
    """Proposals as one; the ids of parents padded with `NOBODY` to a common width."""
    width = max(part.parents.shape[1] for part in made)
    pad = lambda ids: np.pad(ids, ((0, 0), (0, width - ids.shape[1])), constant_values=NOBODY)
    genome: Genomes
    if all(isinstance(part.genome, np.ndarray) for part in made):
        genome = np.concatenate([np.asarray(part.genome) for part in made])
    else:
        genome = [one for part in made for one in part.genome]
    origin: list[Any] = [name for part in made for name in part.origin]
    outcome = [
        one for part in made for one in ([Outcome.OK] * len(part.origin) if part.outcome is None else part.outcome)
    ]
    notes = [one for part in made for one in ([{}] * len(part.origin) if part.notes is None else part.notes)]
    return Proposal(genome, np.concatenate([pad(part.parents) for part in made]), origin, outcome, notes)

"""An operator whose parents are chosen by a rule of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from qdkit.elites import Added
from qdkit.types import Axes, Batch, Context, Key, Operator, Proposal, Wish

from .portfolio import Portfolio


@dataclass(frozen=True)
class Steered(Operator):
    """`operator`, with parents by a `rule` of its own (see `qdkit.parents`), beside others of a portfolio.

    `Portfolio([Steered(o, rule) for o in operators for rule in rules])` is every operator with every
    rule, an arm each; one that learns needs an instance for each arm. The name, where left out, is
    that of the operator and the rule.

    Raises ValueError for a portfolio: its operators are steered, each for itself.
    """

    operator: Operator
    rule: Any
    name: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.operator, Portfolio):
            raise ValueError(
                "a portfolio knows the candidates of its operators by their names, which Steered would hide: steer "
                "each of them, Portfolio([Steered(o, rule) for o in operators])"
            )
        object.__setattr__(self, "name", self.name or f"{self.operator.name} {type(self.rule).__name__.lower()}")

    @property
    def arity(self) -> int:  # type: ignore[override]  # that of the operator
        """As the operator's."""
        return self.operator.arity

    @property
    def size(self) -> int | None:  # type: ignore[override]
        """As the operator's."""
        return self.operator.size

    @property
    def models(self) -> Any:
        """Whom the operator asks."""
        return self.operator.models

    def wishes(self, n: int) -> list[Wish]:
        return [wish._replace(parents=wish.parents or self.rule) for wish in self.operator.wishes(n)]

    def turn(self, n: int) -> Operator:
        return replace(self, operator=self.operator.turn(n))

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        made = self.operator.propose(key, context, n)
        return made._replace(origin=[self.name] * len(made.origin))

    def learn(self, batch: Batch, added: Added) -> None:
        mine = batch.replace(origin=[self.operator.name if name == self.name else name for name in batch.origin])
        self.operator.learn(mine, added)

    def remeasure(self, axes: Axes) -> None:
        self.operator.remeasure(axes)

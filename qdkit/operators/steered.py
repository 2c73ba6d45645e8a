"""An operator with its own rule for the selection of parents."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from qdkit.core.elites import Added
from qdkit.core.types import Axes, Batch, Context, Key, Operator, Proposal, SelectionRequest

from .portfolio import Portfolio

# Rules whose class was renamed: the default name of an operator is the origin of its candidates,
# and stays as runs on disk have it.
_FORMER_NAMES = {"Restarts": "Fresh", "ByNovelty": "Novel"}


@dataclass(frozen=True)
class Steered(Operator):
    """Wraps an operator of a portfolio so that it has its own rule for the selection of parents.

    operator: any operator but a portfolio.
    rule: a rule of `qdkit.selection.parents`.
    name: those of the operator and the rule if left out.

    `Portfolio([Steered(o, rule) for o in operators for rule in rules])` has an arm for every
    combination of operator and rule. An operator that learns needs an instance for each arm.

    Raises ValueError for a portfolio.
    """

    operator: Operator
    rule: Any
    name: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.operator, Portfolio):
            raise ValueError(
                "a portfolio matches candidates to its operators by name, which Steered would "
                "hide: wrap each operator, Portfolio([Steered(o, rule) for o in operators])"
            )
        kind = type(self.rule).__name__
        rule = _FORMER_NAMES.get(kind, kind).lower()
        object.__setattr__(self, "name", self.name or f"{self.operator.name} {rule}")

    @property
    def arity(self) -> int:  # type: ignore[override]
        """The arity of the operator."""
        return self.operator.arity

    @property
    def size(self) -> int | None:  # type: ignore[override]
        """The size of the operator."""
        return self.operator.size

    @property
    def models(self) -> Any:
        """The models that the operator asks."""
        return self.operator.models

    def requests(self, n: int) -> list[SelectionRequest]:
        requests = self.operator.requests(n)
        return [request._replace(parents=request.parents or self.rule) for request in requests]

    def turn(self, n: int) -> Operator:
        return replace(self, operator=self.operator.turn(n))

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        proposal = self.operator.propose(key, context, n)
        return proposal._replace(origin=[self.name] * len(proposal.origin))

    def learn(self, batch: Batch, added: Added) -> None:
        inner = self.operator.name
        origin = [inner if name == self.name else name for name in batch.origin]
        self.operator.learn(batch.replace(origin=origin), added)

    def remeasure(self, axes: Axes) -> None:
        self.operator.remeasure(axes)

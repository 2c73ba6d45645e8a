"""Search that alternates exploration and exploitation (SERENE, Paolo et al. 2021)."""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from qdkit.core.elites import Added
from qdkit.core.stages import PLACEHOLDER_ORIGIN
from qdkit.core.types import Axes, Batch, Context, Key, Operator, Proposal


class Exploit(Protocol):
    """What `TwoPhase` needs of an operator that exploits, in addition to `Operator`."""

    @property
    def ready(self) -> bool:
        """Whether there is anything to exploit."""
        ...

    def begin(self, chunk: int) -> None:
        """Begins a phase in which it makes at most `chunk` candidates."""
        ...


class TwoPhase(Operator):
    """Alternates between `explore` and `exploit`, with `chunk` candidates for each in turn.

    While there is nothing to exploit, it only explores.

        explore = NoveltySearch()
        TwoPhase(explore, Rewarded(explore))

    With the axes of `qdkit.axes.TaxonsAxes` this is STAX, otherwise SERENE. It works with any
    archive, and needs only that the objective is above 0 for candidates that are rewarded.

    explore: any operator.
    exploit: an operator that also has `ready` and `begin` (see `Exploit`). Its phase ends early
      if it is no longer ready.
    chunk: the number of candidates of a phase, rounded up to whole steps; 1,000 in SERENE.

    Both operators receive every batch. Raises ValueError for a chunk below 1, or if both operators
    have the same name.
    """

    def __init__(
        self, explore: Operator, exploit: Any, chunk: int = 1000, name: str = "two-phase"
    ):
        if chunk != int(chunk) or chunk < 1:
            raise ValueError(f"chunk is {chunk}: a whole number of candidates from 1 is needed")
        if explore.name == exploit.name:
            raise ValueError(
                f"both operators are named {explore.name!r}: give each a name of its own, name=..."
            )
        self.explore, self.exploit, self.chunk, self.name = explore, exploit, int(chunk), name
        self.arity = max(explore.arity, exploit.arity)
        self.exploiting = False
        self._left = self.chunk  # the candidates that remain of this phase
        self._pending: deque[Operator] = deque()  # the operator of each turn not yet received
        self._last_id = -1  # the last id that was received

    def __repr__(self) -> str:
        return f"TwoPhase({self.explore!r}, {self.exploit!r}, chunk={self.chunk})"

    def turn(self, n: int) -> Operator:
        """Returns the turn of the operator whose phase it is."""
        if self._left <= 0 or (self.exploiting and not self.exploit.ready):
            self.exploiting = not self.exploiting and self.exploit.ready
            self._left = self.chunk
            if self.exploiting:
                self.exploit.begin(self.chunk)
        self._left -= n
        operator = self.exploit if self.exploiting else self.explore
        self._pending.append(operator)
        return operator.turn(n)

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        raise TypeError("a search in two phases only gives turns: call turn(n).propose(...)")

    def learn(self, batch: Batch, added: Added) -> None:
        """Passes a batch on to both operators.

        A batch of placeholders goes only to the operator that should have made it.
        """
        placeholders, first = PLACEHOLDER_ORIGIN in batch.origin, int(batch.id[0])
        own = placeholders or not {self.explore.name, self.exploit.name}.isdisjoint(batch.origin)
        new = own and first > self._last_id and self._pending
        maker = self._pending.popleft() if new else None
        self._last_id = max(first, self._last_id)
        for operator in (self.explore, self.exploit):
            if not placeholders or operator is maker:
                operator.learn(batch, added)

    def remeasure(self, axes: Axes) -> None:
        """Passes the axes on to `explore` first, since `exploit` may read its memory."""
        for operator in (self.explore, self.exploit):
            operator.remeasure(axes)

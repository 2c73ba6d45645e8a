"""Search that explores until something is rewarded, and exploits what was (SERENE, Paolo et al. 2021)."""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from qdkit.elites import Added
from qdkit.types import Axes, Batch, Context, Key, Operator, Proposal

from .portfolio import NEVER_MADE


class Exploit(Protocol):
    """What `TwoPhase` asks of an operator that exploits, beside what any operator does."""

    @property
    def ready(self) -> bool:
        """Whether there is anything to exploit."""
        ...

    def begin(self, chunk: int) -> None:
        """Hears that its phase begins, in which it makes at most `chunk` candidates."""
        ...


class TwoPhase(Operator):
    """Makes `chunk` candidates by `explore`, then as many by `exploit`, and so on; explores alone while nothing is
    there to exploit.

        explore = Novel()
        TwoPhase(explore, Rewarded(explore))         # SERENE; on the axes of `qdkit.axes.Taxons`, STAX

    Into any archive: of the search it needs no more than an objective that is above 0 for what is rewarded.

    explore: any operator.
    exploit: one that has, beside what any operator has, `ready` and `begin` (see `Exploit`). Its phase ends early
      where it is not ready any more.
    chunk: how many candidates a phase makes, rounded up to whole steps; 1,000 in SERENE.

    Both hear of every batch. Raises ValueError for a chunk below 1, or operators of one name.
    """

    def __init__(self, explore: Operator, exploit: Any, chunk: int = 1000, name: str = "two-phase"):
        if chunk != int(chunk) or chunk < 1:
            raise ValueError(f"chunk is {chunk}: a whole number of candidates from 1 is needed")
        if explore.name == exploit.name:
            raise ValueError(f"both operators are named {explore.name!r}: give each a name of its own, name=...")
        self.explore, self.exploit, self.chunk, self.name = explore, exploit, int(chunk), name
        self.arity = max(explore.arity, exploit.arity)
        self.exploiting = False
        self._left = self.chunk  # candidates of this phase
        self._turns: deque[Operator] = deque()  # who has each turn that is not heard of yet
        self._heard = -1  # the last id

    def __repr__(self) -> str:
        return f"TwoPhase({self.explore!r}, {self.exploit!r}, chunk={self.chunk})"

    def turn(self, n: int) -> Operator:
        """The turn of whoever has the phase."""
        if self._left <= 0 or (self.exploiting and not self.exploit.ready):
            self.exploiting = not self.exploiting and self.exploit.ready
            self._left = self.chunk
            if self.exploiting:
                self.exploit.begin(self.chunk)
        self._left -= n
        side = self.exploit if self.exploiting else self.explore
        self._turns.append(side)
        return side.turn(n)

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        raise TypeError("it only gives turns: call turn(n).propose(...)")

    def learn(self, batch: Batch, added: Added) -> None:
        """Tells both; but of a batch that came to nothing, the one alone who should have made it."""
        nothing, first = NEVER_MADE in batch.origin, int(batch.id[0])
        own = nothing or not {self.explore.name, self.exploit.name}.isdisjoint(batch.origin)
        made = self._turns.popleft() if own and first > self._heard and self._turns else None
        self._heard = max(first, self._heard)
        for side in (self.explore, self.exploit):
            if not nothing or side is made:
                side.learn(batch, added)

    def remeasure(self, axes: Axes) -> None:
        """Tells both, who explores first: who exploits may look at what it remembers."""
        for side in (self.explore, self.exploit):
            side.remeasure(axes)

"""Where the calls of a task are written down, between the doors that make them and the ledger that keeps them.

A search does the work of each task under its `Record`; a door (a model, a sandbox, a person) finds
it with `current()`, asks it first, and tells it last:

    record = current()
    answer = record.recall(request)          # what was answered when this run was made before
    if answer is None:
        with record.reserve(cost) as spend:  # refuses what the budget does not cover
            answer = ask(request)
            spend(actual)
            record.keep(request, answer)     # on disk when this returns; only then is it used

Outside a search there is nothing to recall, nothing is refused and nothing is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Cost:
    """What a call costs, or may cost at most. `dollars` is nan where the price is unknown."""

    dollars: float = 0.0
    tokens: int = 0
    calls: int = 1
    evaluations: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.dollars + other.dollars,
            self.tokens + other.tokens,
            self.calls + other.calls,
            self.evaluations + other.evaluations,
        )

    def __neg__(self) -> Cost:
        return Cost(-self.dollars, -self.tokens, -self.calls, -self.evaluations)


NOTHING = Cost(calls=0)


class Halt(Exception):
    """Something that concerns the run and no single candidate; it goes through everything to the caller."""


class Exhausted(Halt):
    """The budget does not cover the next call; the message says which limit and how far it is used."""


class Unanswered(Exception):
    """No answer came, through nobody's fault but the other side's; the message says what was tried."""


class Record(Protocol):
    """The calls of one task, in the order in which the task makes them. Requests and answers are JSON values."""

    @property
    def place(self) -> tuple[int, int] | None:
        """(task, call) of the next call; None outside a search."""
        ...

    def recall(self, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The answer recorded for this task's next call, or None if it was never made.

        Raises Halt if the recorded call asked something else: the code or its settings have changed
        since. Raises Exhausted if the call was refused then.
        """
        ...

    def reserve(self, most: Cost) -> AbstractContextManager[Callable[[Cost], None]]:
        """Holds `most` of the budget during an attempt; call what it yields with the actual cost.

        An attempt left without a word is charged at its most: nobody knows what became of it. Raises
        Exhausted if the budget, less what other calls hold, does not cover it.
        """
        ...

    def keep(self, request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Commits the answer to disk. A crash after this returns loses nothing."""
        ...


class Unrecorded:
    """Nothing recalled, refused or kept."""

    place = None

    def recall(self, request: Mapping[str, Any]) -> None:
        """Always None."""
        return None

    @contextmanager
    def reserve(self, most: Cost) -> Iterator[Callable[[Cost], None]]:
        """Refuses nothing."""
        yield lambda actual: None

    def keep(self, request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Keeps nothing."""


_CURRENT: ContextVar[Record] = ContextVar("record", default=Unrecorded())  # noqa: B039 - it has no state


def current() -> Record:
    """The record of the task at work in this thread."""
    return _CURRENT.get()


@contextmanager
def recording(record: Record) -> Iterator[None]:
    """A scope in which `current()` is `record`."""
    token = _CURRENT.set(record)
    try:
        yield
    finally:
        _CURRENT.reset(token)

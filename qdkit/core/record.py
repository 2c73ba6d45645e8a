"""The record of the calls that a task makes to models, sandboxes and people.

A search runs each task under a `Record`, which stores the calls in the ledger. Code that makes a
call gets the record with `current()`, and uses it before and after the call:

    record = current()
    answer = record.recall(request)          # the answer, if this run has made the call before
    if answer is None:
        with record.reserve(cost) as spend:  # raises Exhausted if the budget does not cover it
            answer = ask(request)
            spend(actual)
            record.keep(request, answer)     # on disk when this returns; only then is it used

Outside a search nothing is recalled, refused or kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Cost:
    """The cost of a call, or the most it may cost. `dollars` is nan if the price is unknown."""

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
    """An error of the whole run instead of a single candidate. It reaches the caller."""


class Exhausted(Halt):
    """The budget does not cover the next call; the message names the limit and its use."""


class Unanswered(Exception):
    """No answer came, through an error of the other side; the message says what was tried."""


class Record(Protocol):
    """The calls of one task, in the order in which the task makes them.

    Requests and answers are JSON values.
    """

    @property
    def place(self) -> tuple[int, int] | None:
        """(task, call) of the next call; None outside a search."""
        ...

    def recall(self, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Returns the recorded answer to this task's next call, None if the call was never made.

        Raises Halt if the recorded call had another request, as the code or its settings have
        changed since. Raises Exhausted if the recorded call was refused.
        """
        ...

    def reserve(self, most: Cost) -> AbstractContextManager[Callable[[Cost], None]]:
        """Reserves `most` of the budget during a call; yields a function to report the real cost.

        A call without a report is charged at `most`, as its actual cost is unknown. Raises
        Exhausted if the budget, less the reservations of other calls, does not cover it.
        """
        ...

    def keep(self, request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Commits the answer to disk. A crash after this returns loses nothing."""
        ...


class Unrecorded:
    """The record outside a search: recalls, refuses and keeps nothing."""

    place = None

    def recall(self, request: Mapping[str, Any]) -> None:
        """Returns None."""
        return None

    @contextmanager
    def reserve(self, most: Cost) -> Iterator[Callable[[Cost], None]]:
        """Reserves nothing."""
        yield lambda actual: None

    def keep(self, request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Keeps nothing."""


LOST = "lost"  # the key of a row that holds the cost of attempts without an answer


def recall_answer(record: Record, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Returns the recorded answer to the next call, None if there is none.

    Skips the rows of earlier attempts that led to no answer.
    """
    answer = record.recall(request)
    while answer is not None and LOST in answer:
        answer = record.recall(request)
    return answer


_CURRENT: ContextVar[Record] = ContextVar(
    "record",
    default=Unrecorded(),  # noqa: B039 - it has no state
)


def current() -> Record:
    """Returns the record of the task that runs in this thread."""
    return _CURRENT.get()


@contextmanager
def recording(record: Record) -> Iterator[None]:
    """A context in which `current()` returns `record`."""
    token = _CURRENT.set(record)
    try:
        yield
    finally:
        _CURRENT.reset(token)

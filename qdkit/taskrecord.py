"""The record of one task of a search: its calls, kept in the run's ledger and charged to the run's purse."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from qdkit.budget import Purse
from qdkit.ledger import Ledger
from qdkit.plain import to_json
from qdkit.record import Cost, Exhausted, Halt


class TaskRecord:
    """The calls of task `number`, in the order in which it makes them.

    finished: whether the task was committed when the run was made before; then every call that it
      made is in the ledger, and one that is not was refused by the budget.
    call: the number of its first call.
    """

    def __init__(self, ledger: Ledger, purse: Purse, number: int, finished: bool, call: int = 0):
        self._ledger, self._purse, self._task, self._finished = ledger, purse, number, finished
        self._call, self._since = call, time.monotonic()

    @property
    def place(self) -> tuple[int, int]:
        """(task, call) of the next call."""
        return self._task, self._call

    def recall(self, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The recorded answer to the task's next call; see `qdkit.record.Record`."""
        known = self._ledger.answer(self._task, self._call)
        if known is None:
            if self._finished:
                raise Exhausted("the budget did not cover this call when the run was made")
            self._since = time.monotonic()
            return None
        if known[0] != json.loads(to_json(request)):
            raise Halt(
                f"call {self._call} of task {self._task} asks something else than the ledger of {self._ledger.path} "
                "recorded: the code or its settings have changed. Go on with those that began the run"
            )
        self._call += 1
        return known[1]

    def reserve(self, most: Cost) -> AbstractContextManager[Callable[[Cost], None]]:
        """Holds `most` of the run's budget; see `qdkit.record.Record`."""
        return self._purse.reserve(most)

    def keep(self, request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Commits the answer to the ledger."""
        self._ledger.keep(self._task, self._call, request, answer, time.monotonic() - self._since)
        self._call += 1

"""The record of one task of a search: its calls in the ledger, their costs in the tracker."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from qdkit.core.jsonable import to_json
from qdkit.core.record import Cost, Exhausted, Halt
from qdkit.runs.ledger import Ledger
from qdkit.search.budget import BudgetTracker


class TaskRecord:
    """The calls of task `number`, in their order.

    finished: whether the task is committed in the ledger. Then all its calls are recorded, and a
      call that is not was refused by the budget.
    call: the number of its first call.
    """

    def __init__(
        self, ledger: Ledger, tracker: BudgetTracker, number: int, finished: bool, call: int = 0
    ):
        self._ledger, self._tracker, self._task, self._finished = ledger, tracker, number, finished
        self._call, self._since = call, time.monotonic()

    @property
    def place(self) -> tuple[int, int]:
        """The numbers (task, call) of the next call."""
        return self._task, self._call

    def recall(self, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The recorded answer to the task's next call; see `qdkit.core.record.Record`."""
        recorded = self._ledger.answer(self._task, self._call)
        if recorded is None:
            if self._finished:
                raise Exhausted("the budget did not cover this call when the run was made")
            self._since = time.monotonic()
            return None
        if recorded[0] != json.loads(to_json(request)):
            raise Halt(
                f"call {self._call} of task {self._task} asks something else than the ledger of "
                f"{self._ledger.path} recorded: the code or its settings have changed. Go on with "
                "those that began the run"
            )
        self._call += 1
        return recorded[1]

    def reserve(self, most: Cost) -> AbstractContextManager[Callable[[Cost], None]]:
        """Reserves `most` of the run's budget; see `qdkit.core.record.Record`."""
        return self._tracker.reserve(most)

    def keep(self, request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Writes the answer into the ledger."""
        self._ledger.keep(self._task, self._call, request, answer, time.monotonic() - self._since)
        self._call += 1

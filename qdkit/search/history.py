"""The recorded course of a run, by which it is made again: goals, commits and task texts.

A run is resumed by making it again. How far starts may go decides what they see where tasks are
started ahead or parents depend on progress, so goals are events of the ledger, and a replay reads
them.
"""

from __future__ import annotations

from collections.abc import Sequence

from qdkit.runs.ledger import Ledger
from qdkit.runs.rows import Commit
from qdkit.search import task_text
from qdkit.search.tasks import Goal


class RunHistory:
    """The goals of a run; of a resumed run also its recorded commits and task texts.

    recorded: the commits that are in the ledger already.
    decisive: whether every goal decides what starts see, and is recorded.
    """

    def __init__(self, ledger: Ledger, recorded: Sequence[Commit], decisive: bool):
        self.recorded, self.reason = recorded, ""  # the reason for the last goal, if it has one
        self._ledger, self._decisive = ledger, decisive
        self._texts = task_text.task_changes(ledger)
        events = [(after, value) for after, kind, value in ledger.events() if kind == "goal"]
        self._goals = [(after, Goal(*value[:2])) for after, value in events]
        self._has_events = bool(events)
        if recorded:
            self._goals.insert(0, (0, Goal(len(recorded))))
        if events:
            self.reason = events[-1][1][2]

    def is_recorded(self, number: int) -> bool:
        """Whether the commit of this number is in the ledger already."""
        return number < len(self.recorded)

    def aim(self, commits: int, goal: Goal, reason: str = "") -> None:
        """Sets how far starts may go after `commits` commits, and records it where it decides."""
        self.reason = reason
        decides = self._decisive or goal.evaluations is not None or reason
        if (decides or self._has_events) and (not self._goals or self._goals[-1][1] != goal):
            self._write(commits, goal, reason)
        self._goals.append((commits, goal))

    @property
    def has_goal(self) -> bool:
        """Whether a goal is in the ledger."""
        return self._has_events

    def record_goal(self, commits: int, goal: Goal) -> None:
        """Records a goal that decides what a start sees."""
        self._write(commits, goal, "")

    def goal(self, commits: int) -> Goal:
        """How far starts may go after `commits` commits."""
        return next(goal for after, goal in reversed(self._goals) if after <= commits)

    def stops_at(self, commits: int) -> str:
        """The reason for the last goal, if a search of `commits` commits is on its way to it."""
        return self.reason if self.reason and commits < self._goals[-1][1].steps else ""

    def task_text(self, number: int) -> str:
        """The text that task `number` reads; "" for that with which the run began."""
        return task_text.text_of_task(self._texts, number)

    def check(self, commit: Commit) -> None:
        """Raises RuntimeError where a commit differs from the recorded one of its number."""
        if not self.is_recorded(commit.number):
            return
        recorded = self.recorded[commit.number]
        if commit.untimed != recorded.untimed:
            raise RuntimeError(
                f"step {commit.number} came out other than recorded: {commit} instead of "
                f"{recorded}"
            )

    def _write(self, commits: int, goal: Goal, reason: str) -> None:
        """Writes a goal down. All later ones are written too: a replay takes the last event."""
        self._ledger.event(commits, "goal", [*goal, reason])
        self._has_events = True

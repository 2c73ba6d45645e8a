"""The time that a run has taken, all sittings together."""

from __future__ import annotations

import time

from qdkit.runs.rows import Commit


class RunClock:
    """Seconds of the clock (`seconds`) and of the CPU (`cpu`) up to the last commit of a run."""

    def __init__(self) -> None:
        self.seconds = self.cpu = 0.0
        self._began, self._cpu_began = time.monotonic(), time.process_time()

    def start(self) -> None:
        """Goes on from the last commit: the time since then does not count."""
        self._began = time.monotonic() - self.seconds
        self._cpu_began = time.process_time() - self.cpu

    def read(self) -> None:
        """Takes the time of a commit that is made now."""
        self.seconds = time.monotonic() - self._began
        self.cpu = time.process_time() - self._cpu_began

    def set(self, recorded: Commit) -> None:
        """Takes the time of a recorded commit."""
        self.seconds, self.cpu = recorded.seconds, recorded.cpu

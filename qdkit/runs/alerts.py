"""Warnings of a search: candidates that fail, and elites below the floor of the QD score.

Nothing here changes a search or is written into its ledger. Texts of candidates are printed as
data: control characters are replaced.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from qdkit.core.evaluating import EvaluationResults, Failure
from qdkit.core.jsonable import terminal_safe
from qdkit.core.types import Batch, Genomes, Outcome

_FAULTS = (Outcome.FAILED, Outcome.INVALID, Outcome.TIMEOUT, Outcome.INFRASTRUCTURE)
# The search ends with an error if all candidates of the first batches fail: of so many batches
# and so many candidates at least.
_FIRST_BATCHES = 3
_FIRST_CANDIDATES = 8
# A batch of fewer candidates that fails as a whole is nothing unusual.
_SMALL_BATCH = 4
# With such batches, the search warns after as many failures in a row.
_FAILURES_IN_A_ROW = 10
_SHARE = 0.01  # the share of the QD score that elites below the floor cost before a search warns
_LONGEST_TRACEBACK = 6000  # characters of a traceback that are printed, from its end


class SearchWarning(UserWarning):
    """A search goes on, but its results may not mean what they seem to."""


def failures_by_outcome(outcomes: Mapping[str, int]) -> dict[str, int]:
    """Returns how many candidates failed, by outcome, the commonest first.

    Rejected and skipped candidates do not count as failed.
    """
    counts = {str(outcome): outcomes[outcome] for outcome in _FAULTS if outcomes.get(outcome)}
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def failed_share(outcomes: Mapping[str, int]) -> float:
    """Returns the share of failures among the evaluated candidates, between 0 and 1.

    It is nan where no candidate was evaluated.
    """
    evaluated = sum(count for outcome, count in outcomes.items() if Outcome(outcome).evaluated)
    failed = sum(failures_by_outcome(outcomes).values())
    return failed / evaluated if evaluated else float("nan")


def describe_failures(outcomes: Mapping[str, int]) -> str:
    """Returns the number and share of failed candidates as text; "" where none failed.

    The outcomes are listed unless all failures are of the outcome "failed".
    """
    failures, share = failures_by_outcome(outcomes), failed_share(outcomes)
    if not failures:
        return ""
    total = f"{sum(failures.values()):,} failed"
    if list(failures) == [Outcome.FAILED]:
        return f"{total} ({share:.1%})"
    by_outcome = ", ".join(f"{count:,} {outcome}" for outcome, count in failures.items())
    return f"{total} ({share:.1%}: {by_outcome})"


def objectives_below(objective: Any, floor: float) -> np.ndarray:
    """Returns the objectives of the elites below `floor`, float `[m]`.

    Empty cells, whose objective is -inf, are left out.
    """
    objective = np.asarray(objective, np.float64)
    return objective[(objective < floor) & (objective > -np.inf)]


def describe_floor(low: np.ndarray, floor: float) -> str:
    """Returns a warning that elites with the objectives `low` lie below the floor.

    The text names the consequence and the remedy. It is "" where `low` is empty.
    """
    if not len(low):
        return ""
    count = "1 elite lies" if len(low) == 1 else f"{len(low):,} elites lie"
    better_floor = _rounded_down(float(low.min()))
    return (
        f"{count} below the floor, {floor:g} (the lowest objective is {low.min():.6g}): each of "
        "them lowers the QD score, which may fall while the map fills. Give the domain a floor "
        "that no objective falls below, such as "
        f"floor = {better_floor:g} (FLOOR in the score.py of a folder), and begin a new run with "
        "it"
    )


class Tracebacks:
    """Collects the first traceback of a batch, whichever thread or process evaluates it."""

    def __init__(self) -> None:
        self.first, self._lock = "", threading.Lock()

    def of(
        self, attempt: Callable[[Genomes], EvaluationResults]
    ) -> Callable[[Genomes], EvaluationResults]:
        """Returns `attempt` as a function that also records the first traceback in `first`."""

        def recording_attempt(genomes: Genomes) -> EvaluationResults:
            tried = attempt(genomes)
            failures = (result for _, result in tried if isinstance(result, Failure))
            traceback = next((each.traceback for each in failures if each.traceback), "")
            with self._lock:
                self.first = self.first or traceback
            return tried

        return recording_attempt


class Alerts:
    """Watches the batches of a search and warns once of each problem.

    floor: the floor of the QD score.
    """

    def __init__(self, floor: float):
        self._floor = floor
        self._warned_of_floor = self._warned_of_failures = False
        self._any_success = False  # whether a batch did not fail as a whole
        # The batches in a row, up to the last one, of which every candidate failed.
        self._failed_batches = self._failed_candidates = 0
        self._traceback = ""  # the first traceback of those batches

    def after(
        self, batch: Batch, entered: Any, elites: Callable[[], Any], traceback: str = ""
    ) -> None:
        """Examines a batch after its commit; batches come in order.

        entered: bool `[n]`, the candidates that entered the archive.
        elites: returns the objectives of the elites after the batch.
        traceback: the first traceback of the batch.

        Raises RuntimeError where every candidate of the first batches failed.
        """
        new_elites = np.where(entered, batch.objective, np.nan)
        if not self._warned_of_floor and len(objectives_below(new_elites, self._floor)):
            self.floor(elites())
        failed = np.isin(batch.outcome, _FAULTS)
        tried = (batch.outcome != "rejected") & (batch.outcome != "skipped")
        count = int(tried.sum())
        if not tried.any() or not failed[tried].all():
            self._any_success |= bool(tried.any())
            self._failed_batches, self._failed_candidates, self._traceback = 0, 0, ""
            return
        if (batch.outcome[tried] == Outcome.INFRASTRUCTURE).all():
            return  # no candidate is to blame, and the sandbox or the model's client reports it
        self._failed_batches += 1
        self._failed_candidates += count
        notes = batch.notes[int(np.flatnonzero(failed)[0])]
        reason = traceback or str(notes.get("error", "no reason was given"))
        self._traceback = self._traceback or reason
        first = f"the first so:\n{printable_traceback(self._traceback)}"
        hopeless = (
            self._failed_batches >= _FIRST_BATCHES and self._failed_candidates >= _FIRST_CANDIDATES
        )
        if hopeless and not self._any_success:
            raise RuntimeError(
                f"every candidate of the first {self._failed_batches} batches failed; {first}"
            )
        large = count >= _SMALL_BATCH
        if not self._warned_of_failures and (
            large or self._failed_candidates >= _FAILURES_IN_A_ROW
        ):
            self._warned_of_failures = True
            batch_failed = f"all {count:,} candidates of a batch failed"
            row_failed = f"{self._failed_candidates} candidates in a row failed"
            _warn(f"{batch_failed if large else row_failed}; {first}")

    def invalid(self, step: int, candidates: int) -> None:
        """Warns once that all candidates of a compiled step are invalid.

        A candidate is invalid where its objective or its descriptor is not finite.
        """
        if not self._warned_of_failures:
            self._warned_of_failures = True
            _warn(
                f"all {candidates:,} candidates of step {step:,} are invalid: evaluate gave them "
                "an objective or a descriptor that is not finite; search with Search(...) "
                "to see what becomes of each"
            )

    def floor(self, objective: Any) -> None:
        """Warns once if elites below the floor lower the QD score by a hundredth or more.

        objective: float `[m]`, the objectives of all elites; not finite in empty cells.
        """
        low = objectives_below(objective, self._floor)
        if len(low) and not self._warned_of_floor and _lowers(np.asarray(objective), self._floor):
            self._warned_of_floor = True
            _warn(describe_floor(low, self._floor))


def printable_traceback(traceback: str) -> str:
    """Returns the end of a traceback, without characters that control a terminal."""
    traceback = terminal_safe(traceback.strip())
    if len(traceback) <= _LONGEST_TRACEBACK:
        return traceback
    return f"[...]{traceback[-_LONGEST_TRACEBACK:]}"


def _warn(text: str) -> None:
    """Warns at the line of the user's code that led here.

    The warning is repeated when a cell of a notebook runs again.
    """
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "qdkit":
        frame = frame.f_back
    warnings.warn_explicit(SearchWarning(text), None, frame.f_code.co_filename, frame.f_lineno)


def _lowers(objective: np.ndarray, floor: float) -> bool:
    """Returns whether elites below the floor cost at least `_SHARE` of what the others add."""
    over = objective[np.isfinite(objective)] - floor
    return bool(-over[over < 0].sum() >= _SHARE * over[over > 0].sum())


def _rounded_down(value: float) -> float:
    """Returns a number of one digit that is no greater than `value`."""
    if not value:
        return value
    unit = 10.0 ** np.floor(np.log10(abs(value)))
    return float(np.floor(value / unit) * unit)

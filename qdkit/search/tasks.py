"""The tasks of a search, their candidates, their results, and the goal of the starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from qdkit.core.record import Exhausted, Record, Unanswered
from qdkit.core.stages import with_outcome
from qdkit.core.types import Batch, Key, Outcome, Proposal
from qdkit.search.reevaluation import ReevaluationTask
from qdkit.search.selector import TurnSelection


class BatchTask(NamedTuple):
    """All that making a batch needs, as of the start of the task. It does not change afterwards.

    allowed: how many evaluations it may make.
    known: how many candidates were committed before it.
    after: how many commits were made before it.
    """

    number: int
    make: Callable[[], Proposal]
    selection: TurnSelection
    lesson: Callable[[], str] | None
    judging: Key
    allowed: int
    known: int
    after: int


class ProposedBatch(NamedTuple):
    """The candidates of a task before anything is spent on them.

    forms: digests by which candidates are compared; None for those that are not.
    """

    batch: Batch
    forms: Sequence[str | None]
    record: Record
    lesson: str


class TaskResult(NamedTuple):
    """A task and its result.

    judgements: of a re-evaluation, the values and descriptors that the judge gave.
    traceback: that of the first evaluation that raised; "" where none did, or where the result is
      a recorded one.
    """

    task: BatchTask | ReevaluationTask
    batch: Batch
    lesson: str
    judgements: Any = None
    traceback: str = ""


class Goal(NamedTuple):
    """How far starts may go."""

    steps: int
    evaluations: int | None = None


@jax.jit
def keys(root: Key, step: int) -> tuple[Key, Key, Key]:
    """The keys of a step: for making, for judging and for choosing parents.

    It is compiled, as it takes 2 ms otherwise.
    """
    key, pick = jax.random.split(jax.random.fold_in(root, step))
    making, judging = jax.random.split(key)
    return making, judging, pick


def given_up(batch: Batch, error: Exhausted | Unanswered) -> Batch:
    """The batch of a task that was not finished, with the outcome that the error stands for."""
    outcome = Outcome.SKIPPED if isinstance(error, Exhausted) else Outcome.INFRASTRUCTURE
    return with_outcome(batch, batch.ok, outcome, str(error))

"""A task of a search: what its making needs, what was made, what came of it, and how far starts may go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from qdkit.challenge import Bout
from qdkit.choosing import Choice
from qdkit.record import Exhausted, Unanswered
from qdkit.stages import with_outcome
from qdkit.taskrecord import TaskRecord
from qdkit.types import Batch, Key, Outcome, Proposal


class Task(NamedTuple):
    """All that making a batch needs, as it stood at the start; nothing in it changes afterwards."""

    number: int
    make: Callable[[], Proposal]
    choice: Choice
    lesson: Callable[[], str] | None
    judging: Key
    allowed: int  # evaluations
    known: int  # candidates there were
    after: int  # commits there were


class Made(NamedTuple):
    """The candidates of a task before anything is spent on them."""

    batch: Batch
    forms: Sequence[str | None]  # digests; None where nothing is compared
    record: TaskRecord
    lesson: str


class Worked(NamedTuple):
    """A task and what came of it; of a bout, what was said of those in it and where it puts them."""

    task: Task | Bout
    batch: Batch
    lesson: str
    said: Any = None


class Goal(NamedTuple):
    """How far starts may go."""

    steps: int
    evaluations: int | None = None


@jax.jit
def keys(root: Key, step: int) -> tuple[Key, Key, Key]:
    """The keys of a step: to make with, to judge with, to choose parents with. Compiled: op by op it costs 2 ms."""
    key, pick = jax.random.split(jax.random.fold_in(root, step))
    making, judging = jax.random.split(key)
    return making, judging, pick


def given_up(batch: Batch, why: Exhausted | Unanswered) -> Batch:
    """The batch of a task that came no farther, through nobody's fault."""
    outcome = Outcome.SKIPPED if isinstance(why, Exhausted) else Outcome.INFRASTRUCTURE
    return with_outcome(batch, batch.ok, outcome, str(why))

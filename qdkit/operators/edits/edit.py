"""The operators that edit programs by asking a model: `Patch`, `Full`, `Cross`, `Repair`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np

from qdkit.elites import Added
from qdkit.llm import Ask
from qdkit.operators.edits.applying import patched, rewritten
from qdkit.operators.edits.asking import Row, asked
from qdkit.operators.edits.showing import prompt
from qdkit.operators.portfolio import Portfolio
from qdkit.shown import Shown
from qdkit.types import Batch, Candidate, Context, Key, Operator, Outcome, Proposal, Wish

KEPT = 32  # failed programs that wait for their repair
SCORES = 4096  # candidates whose objective is remembered, to know how good the parents of a failed one were
BEST_AND_NEAREST = Shown(best=1, near=1)
SHARES = {"patch": 0.5, "full": 0.2, "cross": 0.15, "repair": 0.15}


@dataclass(frozen=True)
class Edit(Operator):
    """Asks for a change of a program after showing it, others like it, and how they fare.

    ask: a model (`qdkit.LLM`), or a plain function `str -> str`.
    task: what programs are for, in words; the prompt opens with it.
    names: of the axes of the descriptor, so that the model can read it.
    shown: which other elites are shown beside the program.
    name: that of the model and the kind of edit, where left out.

    An answer that cannot be used costs one more question, which says why; after that the candidate
    is `INVALID` with the reason, and {} in the place of a program.
    """

    ask: Ask
    task: str
    names: Sequence[str] = ()
    shown: Shown | None = BEST_AND_NEAREST
    name: str = ""
    kind: ClassVar[str] = ""

    def __post_init__(self) -> None:
        if not self.task.strip():
            raise ValueError("the task is empty: say in words what the programs are for")
        object.__setattr__(self, "name", self.name or f"{getattr(self.ask, 'model', '')} {self.kind}".strip())

    @property
    def models(self) -> tuple[Ask]:
        """The one it asks."""
        return (self.ask,)

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        each = [context.part(slice(i, i + 1), self.arity, self.arity) for i in range(n)]
        rows = [self._row(one, list(one.parents)) for one in each]
        return _proposal(rows, context.parents.id.reshape(n, -1), self.name)

    def _row(self, context: Context, parents: list[Candidate]) -> Row:
        raise NotImplementedError

    def _patch(self, context: Context, program: Candidate, template: str) -> Row:
        question = self._question(context, [program], template)
        return asked(self.ask, question, template, lambda answer: patched(program.genome, answer))

    def _whole(self, context: Context, programs: list[Candidate], template: str) -> Row:
        question = self._question(context, programs, template)
        return asked(self.ask, question, template, lambda answer: rewritten(programs[0].genome, answer))

    def _question(self, context: Context, edited: list[Candidate], template: str) -> str:
        return prompt(template, self.task, self.names, context, edited)


@dataclass(frozen=True)
class Patch(Edit):
    """Small changes: SEARCH/REPLACE blocks, each found in the program exactly or, failing that, but for whitespace."""

    kind = "patch"

    def _row(self, context: Context, parents: list[Candidate]) -> Row:
        return self._patch(context, parents[0], "patch")


@dataclass(frozen=True)
class Full(Edit):
    """The program written anew; of each file with EVOLVE-BLOCK marks, what is between them."""

    kind = "full"

    def _row(self, context: Context, parents: list[Candidate]) -> Row:
        return self._whole(context, parents, "full")


@dataclass(frozen=True)
class Cross(Edit):
    """One program out of `parents` others, written into the first of them.

    Where chance has drawn one elite for all of them, the best inspirations take part instead; where
    there are none, it writes the program anew as `Full` does.
    """

    parents: int = 2
    kind = "cross"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.parents < 2:
            raise ValueError(f"a crossover takes 2 parents or more, not {self.parents}")
        object.__setattr__(self, "arity", self.parents)

    def _row(self, context: Context, parents: list[Candidate]) -> Row:
        different: list[Candidate] = []
        for candidate in (*parents, *(other for some in context.inspirations for other in some)):
            if all(candidate.genome != other.genome for other in different):
                different.append(candidate)
        different = different[: self.parents]
        return self._whole(context, different, "cross" if len(different) > 1 else "full")


class _Failed(NamedTuple):
    """A program that failed; `promise` is the objective of the best it was made from, -inf if unknown."""

    promise: float
    id: int
    candidate: Candidate


@dataclass(frozen=True)
class Repair(Edit):
    """Mends programs that failed, by what they failed of: of those that wait, the child of the best, the last first.

    Each is tried once, and a repair that fails is not repaired. In a turn with fewer failed programs
    than candidates it patches elites for the rest, as `Patch` does; the notes tell which it was.
    """

    kind = "repair"
    _waiting: list[_Failed] = field(default_factory=list, init=False, repr=False, compare=False)
    _score: dict[int, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    def turn(self, n: int) -> Operator:
        """The operator that repairs those whose turn it is."""
        now = tuple(failed.candidate for failed in self._waiting[:n])
        del self._waiting[:n]
        return _Repairing(self, now, self.name)

    def learn(self, batch: Batch, added: Added) -> None:
        for candidate in batch:
            if candidate.outcome == Outcome.OK:
                self._score[candidate.id] = candidate.objective
            elif _repairable(candidate):
                promise = max((self._score.get(parent, -np.inf) for parent in candidate.parents), default=-np.inf)
                self._waiting.append(_Failed(promise, candidate.id, candidate))
        self._waiting.sort(key=lambda failed: (-failed.promise, -failed.id))
        del self._waiting[KEPT:]
        for old in list(self._score)[: max(0, len(self._score) - SCORES)]:
            del self._score[old]

    def _row(self, context: Context, parents: list[Candidate]) -> Row:
        return self._patch(context, parents[0], "patch")

    def _mend(self, context: Context, failed: Candidate) -> Row:
        if not any(map(len, context.inspirations)):
            context = replace(context, inspirations=[context.parents])  # programs that work
        return self._patch(context, failed, "repair")


@dataclass(frozen=True)
class _Repairing(Operator):
    """One turn of a `Repair`: the failed programs that it mends."""

    repair: Repair
    failed: tuple[Candidate, ...]
    name: str

    def wishes(self, n: int) -> list[Wish]:
        return [Wish(n, None, self.repair.shown)]

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        ids = context.parents.id.copy()
        rows: list[Row] = []
        for i in range(n):
            one = context.part(slice(i, i + 1), 1, 1)
            if i < len(self.failed):
                ids[i] = self.failed[i].id
                rows.append(self.repair._mend(one, self.failed[i]))
            else:
                rows.append(self.repair._row(one, list(one.parents)))
        return _proposal(rows, ids[:, None], self.name)


def programmer(ask: Ask, task: str, names: Sequence[str] = ()) -> Portfolio:
    """All four edits by one model: half of them patches, and the rest rewrites, crossovers and repairs."""
    edits: list[Operator] = [kind(ask, task, names) for kind in (Patch, Full, Cross, Repair)]
    return Portfolio(edits, [SHARES[kind] for kind in SHARES], name=getattr(ask, "model", "programmer"))


def _proposal(rows: Sequence[Row], parents: np.ndarray, name: str) -> Proposal:
    files: list[Any] = [dict(row.files) for row in rows]
    made = Proposal(files, parents.astype(np.int32), [name] * len(rows))
    return made._replace(outcome=[row.outcome for row in rows], notes=[row.notes for row in rows])


def _repairable(candidate: Candidate) -> bool:
    """Whether it is a program that was tried and failed, and no repair itself."""
    made_by = candidate.notes.get("edit", {})
    tried = candidate.outcome in (Outcome.INVALID, Outcome.FAILED, Outcome.TIMEOUT)
    return tried and bool(candidate.genome) and made_by.get("kind") != "repair"


__all__ = ["Cross", "Edit", "Full", "Patch", "Repair", "programmer"]

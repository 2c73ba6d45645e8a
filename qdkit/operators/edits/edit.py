"""The operators that edit programs by asking a model: `Patch`, `Full`, `Cross`, `Repair`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np

from qdkit.core.elites import Added
from qdkit.core.types import (
    Batch,
    Candidate,
    Context,
    Key,
    Operator,
    Outcome,
    Proposal,
    SelectionRequest,
)
from qdkit.llm import Ask
from qdkit.operators.edits.applying import apply_patch, apply_rewrite
from qdkit.operators.edits.asking import EditRow, request_edit
from qdkit.operators.edits.prompts import edit_prompt
from qdkit.operators.portfolio import Portfolio
from qdkit.selection.inspirations import Inspirations

_MAX_WAITING = 32  # the most failed programs that wait for their repair
# The most objectives that are stored, to know how good the parents of a failed program are.
_MAX_OBJECTIVES = 4096
_BEST_AND_NEAREST = Inspirations(best=1, near=1)
_SHARES = {"patch": 0.5, "full": 0.2, "cross": 0.15, "repair": 0.15}


@dataclass(frozen=True)
class Edit(Operator):
    """Asks a model to edit a program; the prompt shows it, other programs, and their scores.

    ask: a model (`qdkit.LLM`), or a plain function `str -> str`.
    task: what the programs are for, in words; the prompt begins with it.
    names: the names of the descriptor's axes, for the prompt.
    shown: which other elites are shown in addition to the program.
    name: those of the model and the kind of edit if left out.

    If a response cannot be used, the model is asked once more, with the reason. If that fails
    too, the candidate is `INVALID` with the reason in its notes, and its genome is {}.
    """

    ask: Ask
    task: str
    names: Sequence[str] = ()
    shown: Inspirations | None = _BEST_AND_NEAREST
    name: str = ""
    kind: ClassVar[str] = ""

    def __post_init__(self) -> None:
        if not self.task.strip():
            raise ValueError("the task is empty: say in words what the programs are for")
        object.__setattr__(
            self, "name", self.name or f"{getattr(self.ask, 'model', '')} {self.kind}".strip()
        )

    @property
    def models(self) -> tuple[Ask]:
        """The model that it asks."""
        return (self.ask,)

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        contexts = [context.part(slice(i, i + 1), self.arity, self.arity) for i in range(n)]
        rows = [self._row(each, list(each.parents)) for each in contexts]
        return _proposal(rows, context.parents.id.reshape(n, -1), self.name)

    def _row(self, context: Context, parents: list[Candidate]) -> EditRow:
        raise NotImplementedError

    def _ask_patch(self, context: Context, program: Candidate, template: str) -> EditRow:
        question = self._question(context, [program], template)
        read = lambda answer: apply_patch(program.genome, answer)
        return request_edit(self.ask, question, template, read)

    def _ask_rewrite(self, context: Context, programs: list[Candidate], template: str) -> EditRow:
        question = self._question(context, programs, template)
        read = lambda answer: apply_rewrite(programs[0].genome, answer)
        return request_edit(self.ask, question, template, read)

    def _question(self, context: Context, edited: list[Candidate], template: str) -> str:
        return edit_prompt(template, context.task or self.task, self.names, context, edited)


@dataclass(frozen=True)
class Patch(Edit):
    """Asks for small changes as SEARCH/REPLACE blocks.

    The lines to replace have to be in the program, exactly or with other whitespace.
    """

    kind = "patch"

    def _row(self, context: Context, parents: list[Candidate]) -> EditRow:
        return self._ask_patch(context, parents[0], "patch")


@dataclass(frozen=True)
class Full(Edit):
    """Asks for the whole program again, or the text between its EVOLVE-BLOCK marks."""

    kind = "full"

    def _row(self, context: Context, parents: list[Candidate]) -> EditRow:
        return self._ask_rewrite(context, parents, "full")


@dataclass(frozen=True)
class Cross(Edit):
    """Asks for a crossover of `parents` programs, which is written into the first of them.

    If the parents are not all different, the best inspirations take the place of repeated ones.
    If there are none, it asks for the whole program as `Full` does.
    """

    parents: int = 2
    kind = "cross"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.parents < 2:
            raise ValueError(f"a crossover takes 2 parents or more, not {self.parents}")
        object.__setattr__(self, "arity", self.parents)

    def _row(self, context: Context, parents: list[Candidate]) -> EditRow:
        different: list[Candidate] = []
        for candidate in (*parents, *(other for some in context.inspirations for other in some)):
            if all(candidate.genome != other.genome for other in different):
                different.append(candidate)
        different = different[: self.parents]
        return self._ask_rewrite(context, different, "cross" if len(different) > 1 else "full")


class _Failed(NamedTuple):
    """A program that failed, and the objective of the best of its parents, -inf if unknown."""

    parent_objective: float
    id: int
    candidate: Candidate


@dataclass(frozen=True)
class Repair(Edit):
    """Asks for repairs of programs that failed; the prompt has the errors.

    Failed programs wait in the order of the best objective of their parents, the last first among
    equals. Each is repaired once, and a repair that fails is not repaired again. If fewer failed
    programs wait than candidates are made, the rest are patches of elites, as by `Patch`; the
    notes say which kind of edit it was.
    """

    kind = "repair"
    _waiting: list[_Failed] = field(default_factory=list, init=False, repr=False, compare=False)
    _objective: dict[int, float] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def turn(self, n: int) -> Operator:
        """Returns the operator that repairs the next failed programs."""
        failed = tuple(item.candidate for item in self._waiting[:n])
        del self._waiting[:n]
        return _RepairTurn(self, failed, self.name)

    def learn(self, batch: Batch, added: Added) -> None:
        for candidate in batch:
            if candidate.outcome == Outcome.OK:
                self._objective[candidate.id] = candidate.objective
            elif _is_repairable(candidate):
                objectives = (self._objective.get(id, -np.inf) for id in candidate.parents)
                best = max(objectives, default=-np.inf)
                self._waiting.append(_Failed(best, candidate.id, candidate))
        self._waiting.sort(key=lambda failed: (-failed.parent_objective, -failed.id))
        del self._waiting[_MAX_WAITING:]
        for old in list(self._objective)[: max(0, len(self._objective) - _MAX_OBJECTIVES)]:
            del self._objective[old]

    def _row(self, context: Context, parents: list[Candidate]) -> EditRow:
        return self._ask_patch(context, parents[0], "patch")

    def _ask_repair(self, context: Context, failed: Candidate) -> EditRow:
        if not any(map(len, context.inspirations)):
            context = replace(context, inspirations=[context.parents])  # programs that work
        return self._ask_patch(context, failed, "repair")


@dataclass(frozen=True)
class _RepairTurn(Operator):
    """One turn of a `Repair`, with the failed programs that it repairs."""

    repair: Repair
    failed: tuple[Candidate, ...]
    name: str

    def requests(self, n: int) -> list[SelectionRequest]:
        return [SelectionRequest(n, None, self.repair.shown)]

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        ids = context.parents.id.copy()
        rows: list[EditRow] = []
        for i in range(n):
            part = context.part(slice(i, i + 1), 1, 1)
            if i < len(self.failed):
                ids[i] = self.failed[i].id
                rows.append(self.repair._ask_repair(part, self.failed[i]))
            else:
                rows.append(self.repair._row(part, list(part.parents)))
        return _proposal(rows, ids[:, None], self.name)


def programmer(ask: Ask, task: str, names: Sequence[str] = ()) -> Portfolio:
    """Returns a portfolio of the four kinds of edits by one model, half of them patches."""
    edits: list[Operator] = [kind(ask, task, names) for kind in (Patch, Full, Cross, Repair)]
    return Portfolio(
        edits, [_SHARES[kind] for kind in _SHARES], name=getattr(ask, "model", "programmer")
    )


def _proposal(rows: Sequence[EditRow], parents: np.ndarray, name: str) -> Proposal:
    files: list[Any] = [dict(row.files) for row in rows]
    outcome, notes = [row.outcome for row in rows], [row.notes for row in rows]
    return Proposal(files, parents.astype(np.int32), [name] * len(rows), outcome, notes)


def _is_repairable(candidate: Candidate) -> bool:
    """Returns whether a candidate is a program that failed and is not a repair itself."""
    edit = candidate.notes.get("edit", {})
    failed = candidate.outcome in (Outcome.INVALID, Outcome.FAILED, Outcome.TIMEOUT)
    return failed and bool(candidate.genome) and edit.get("kind") != "repair"


__all__ = ["Cross", "Edit", "Full", "Patch", "Repair", "programmer"]

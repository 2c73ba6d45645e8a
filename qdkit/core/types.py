"""The data of a search, and the interfaces of its parts.

A `Batch` holds `n` candidates, column by column. Each stage of a step fills one more column. The
interfaces are those of the parts that users write: `Domain`, `Operator`, `Judge`, `Axes` and
`Filter`. A plain object can implement each of them; nothing is registered.

Letters in shapes: `n` candidates, `p` parents of a candidate, `d` axes of a descriptor,
`f` features, `C` cells.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    import jax

    from qdkit.core.elites import Added

Key = Any  # a jax random key; the function that receives it consumes it
Genome = Any  # an array, a str, bytes or a JSON value; a program is a mapping path -> text
Genomes = Sequence[Genome] | np.ndarray  # n of them; numbers come as one array [n, ...]
NO_CANDIDATE = -1  # the id in place of a missing parent


class Outcome(StrEnum):
    """The outcome of the attempt to evaluate a candidate. Only `OK` can enter an archive."""

    OK = "ok"
    INVALID = "invalid"  # no valid candidate: it does not parse, or its numbers are not finite
    FAILED = "failed"  # an error of the candidate: it raised, crashed or gave a wrong answer
    TIMEOUT = "timeout"  # it did not end within its limit
    INFRASTRUCTURE = "infrastructure"  # a server, a worker or a disk failed; never scored
    REJECTED = "rejected"  # not new enough to be evaluated
    DUPLICATE = "duplicate"  # evaluated, but no longer new at its commit
    SKIPPED = "skipped"  # never evaluated: the budget was used up

    @property
    def evaluated(self) -> bool:
        """Whether an evaluation was spent on the candidate."""
        return self not in (Outcome.REJECTED, Outcome.SKIPPED)


# numpy compares a plain string faster than an enum member, and a step compares it many times.
_OK = Outcome.OK.value


@dataclass(frozen=True)
class Candidate:
    """One row of a `Batch`."""

    id: int
    genome: Genome
    parents: tuple[int, ...]
    origin: str
    outcome: Outcome
    objective: float
    descriptor: tuple[float, ...]
    notes: Mapping[str, Any]


@dataclass(frozen=True)
class Batch:
    """`n` candidates, column by column. A row never disappears: a failed candidate keeps its row.

    id: int32 `[n]`, assigned at the commit; -1 before.
    genome: an array `[n, ...]`, or a list of `n` texts, bytes or JSON values.
    parents: int32 `[n, p]`, the ids of the parents, `NO_CANDIDATE` where there are fewer than `p`.
    origin: for each of the `n` candidates the name of the operator that made it.
    outcome: `[n]`, values of `Outcome`.
    objective: float64 `[n]`, higher is better; nan where unknown or not ok.
    features: float64 `[n, f]`, the input of the axes; nan where unknown.
    descriptor: float64 `[n, d]`; nan where unknown.
    notes: `n` mappings of JSON values from evaluators and judges; `notes["error"]` of a candidate
      that is not ok holds the reason.
    """

    id: np.ndarray
    genome: Genomes
    parents: np.ndarray
    origin: Sequence[str]
    outcome: np.ndarray
    objective: np.ndarray
    features: np.ndarray
    descriptor: np.ndarray
    notes: Sequence[Mapping[str, Any]]

    @classmethod
    def unevaluated(cls, proposal: Proposal) -> Batch:
        """Returns the candidates of a proposal, which have not been evaluated."""
        n = len(proposal.genome)
        unknown = np.full((n, 1), np.nan)
        outcome = np.full(n, Outcome.OK, "<U14")
        if proposal.outcome is not None:
            outcome = np.array(proposal.outcome, "<U14")
        return cls(
            id=np.full(n, -1, np.int32),
            genome=proposal.genome,
            parents=proposal.parents,
            origin=proposal.origin,
            outcome=outcome,
            objective=unknown[:, 0],
            features=unknown,
            descriptor=unknown,
            notes=[{}] * n if proposal.notes is None else proposal.notes,
        )

    @property
    def ok(self) -> np.ndarray:
        """bool `[n]`: whether the outcome is `OK`."""
        return self.outcome == _OK

    def __len__(self) -> int:
        return len(self.id)

    def __getitem__(self, i: int) -> Candidate:
        return Candidate(
            id=int(self.id[i]),
            genome=self.genome[i],
            parents=tuple(int(p) for p in self.parents[i] if p != NO_CANDIDATE),
            origin=self.origin[i],
            outcome=Outcome(str(self.outcome[i])),
            objective=float(self.objective[i]),
            descriptor=tuple(float(x) for x in self.descriptor[i]),
            notes=self.notes[i],
        )

    def __iter__(self) -> Iterator[Candidate]:
        return (self[i] for i in range(len(self)))

    def take(self, rows: np.ndarray) -> Batch:
        """Returns these rows, in this order; `rows` is an integer or a boolean array."""
        return Batch(*(take(getattr(self, column.name), rows) for column in fields(self)))

    def replace(self, **columns: Any) -> Batch:
        """Returns the same candidates with other `columns`."""
        return replace(self, **columns)


def take(column: Sequence[Any] | np.ndarray, rows: np.ndarray) -> Any:
    """Returns rows of a column, which may be an array or a list; `rows` is as in `Batch.take`."""
    if isinstance(column, np.ndarray):
        return column[rows]
    return [column[i] for i in np.arange(len(column))[rows]]


class Proposal(NamedTuple):
    """`n` new genomes, the ids of their parents, int32 `[n, p]`, and the names of their operators.

    outcome: `n` outcomes, other than ok for a genome that is not worth an evaluation; None if all
      are ok.
    notes: `n` mappings of JSON values, or None.
    """

    genome: Genomes
    parents: np.ndarray
    origin: Sequence[str]
    outcome: Sequence[str] | np.ndarray | None = None
    notes: Sequence[Mapping[str, Any]] | None = None

    def take(self, rows: slice) -> Proposal:
        """Returns the rows of a slice."""
        return Proposal(*(None if column is None else column[rows] for column in self))  # type: ignore[arg-type]

    @classmethod
    def of(cls, genome: Genomes, origin: str, parents: Batch | None = None) -> Proposal:
        """Returns a proposal of genomes that the operator named `origin` made.

        Row i has the i-th group of `len(parents) / n` parents.
        """
        n = len(genome)
        ids = np.full((n, 1), NO_CANDIDATE, np.int32)
        if parents is not None:
            ids = parents.id.reshape(n, -1)
        return cls(genome, ids, [origin] * n)


@dataclass(frozen=True)
class Evaluation:
    """The results of a domain for `n` genomes. A judge or the axes supply a column that is None.

    objective: float `[n]`, higher is better; nan for a candidate that has none.
    descriptor: `[n, d]` numbers, or labels where the archive's axis has labels; nan or None where
      unknown.
    features: float `[n, f]`, for axes that are learnt or computed from features.
    notes: `n` mappings of JSON values, which may contain nan and infinities. The reason of a
      failure belongs into `notes[i]["error"]`.
    outcome: `n` outcomes, for domains that distinguish failures; all are ok if None.
    """

    objective: Sequence[float] | np.ndarray | jax.Array | None = None
    descriptor: Sequence[Sequence[Any]] | np.ndarray | jax.Array | None = None
    features: Sequence[Sequence[float]] | np.ndarray | jax.Array | None = None
    notes: Sequence[Mapping[str, Any]] | None = None
    outcome: Sequence[str] | np.ndarray | None = None


class Domain(Protocol):
    """The problem to search: initial genomes, and their evaluation. Each search copies its domain.

    A domain that waits for other processes or machines sets `waits = True`. Its tasks then run
    outside the caller's thread, so that neither a signal nor the end of the budget waits for
    them. It may have a method `interrupt()` that ends the wait; its `evaluate` then raises a
    `qdkit.core.record.Halt`.
    """

    def seeds(self, key: Key, n: int) -> Genomes:
        """Returns between 1 and `n` genomes to start from."""
        ...

    def evaluate(self, genomes: Genomes) -> Evaluation:
        """Evaluates all genomes. An exception fails only the genome that raised it."""
        ...


@dataclass(frozen=True)
class Context:
    """The input of an operator that makes `n` new genomes.

    parents: `n * arity` elites, those of the first new genome first.
    inspirations: for each new genome, other elites, the best first; empty if there are none.
    target: float `[n, d]`, the descriptor to aim for, nan in a row without a target; None if the
      search has no targets.
    lessons: a text of what the search has learnt so far.
    task: the text of the task, if it has changed since the operator was made; else "".
    """

    parents: Batch
    inspirations: Sequence[Batch] = ()
    target: np.ndarray | None = None
    lessons: str = ""
    task: str = ""

    def part(self, rows: slice, each: int, arity: int) -> Context:
        """Returns the context of some of the new genomes.

        Each of them has `each` parents, of which the result has the first `arity`.
        """
        index = np.arange(len(self.parents)).reshape(-1, each)[rows, :arity].ravel()
        target = None if self.target is None else self.target[rows]
        return replace(
            self,
            parents=self.parents.take(index),
            inspirations=self.inspirations[rows],
            target=target,
        )


class SelectionRequest(NamedTuple):
    """The parents and inspirations that an operator requests for `n` of its candidates.

    parents: the rule that selects the parents (see `qdkit.selection.parents`); None for the rule
      of the search.
    shown: the rule that selects the inspirations (see `qdkit.selection.inspirations`); None for
      no inspirations.
    """

    n: int
    parents: Any = None
    shown: Any = None


class Operator(abc.ABC):
    """Makes new genomes from elites.

    Most operators implement `propose` alone. Several calls of it run concurrently, so it must not
    change `self`. An operator with state changes it in `turn` and `learn` only, which the search
    calls in order. Each search copies its operator (see `qdkit.core.fresh_copies`).
    """

    name: str
    arity: int = 1  # the number of parents of each new genome
    size: int | None = None  # the number of genomes per step; None if any number is possible
    shown: Any = None  # the inspirations, a `qdkit.selection.inspirations.Inspirations`, or None

    @property
    def models(self) -> Sequence[Any]:
        """The models that the operator asks (see `qdkit.llm.Ask`)."""
        return ()

    @abc.abstractmethod
    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        """Returns `n` genomes, made from `n * arity` parents."""

    def turn(self, n: int) -> Operator:
        """Returns the operator for the next `n` candidates; called in the order of the starts."""
        return self

    def requests(self, n: int) -> Sequence[SelectionRequest]:
        """Returns the requests for the next `n` candidates, in their order.

        The search calls it on the operator that `turn` returned.
        """
        return [SelectionRequest(n, None, self.shown)]

    def learn(self, batch: Batch, added: Added) -> None:
        """Receives the results of a batch.

        Called for every batch of the search, in the order of the commits.
        """

    def remeasure(self, axes: Axes) -> None:
        """Receives the axes: before the first step, and after each commit that changed the axes.

        Descriptors under different axes are not comparable. So an operator that stores
        descriptors stores features too, and computes its descriptors again here. An operator that
        wraps others calls their `remeasure`.
        """


@dataclass(frozen=True)
class Judgement:
    """The judgement of `n` candidates.

    value: float `[n]`.
    count: of how many judgements each value is the mean.
    notes: `n` mappings of JSON values, or None.
    features: float `[n, f]`, from a judge that also describes candidates; they replace the
      domain's.
    outcome: `n` outcomes, other than ok where no judgement came. If None, a value that is not
      finite is invalid.
    """

    value: np.ndarray
    count: np.ndarray | int = 1
    notes: Sequence[Mapping[str, Any]] | None = None
    features: np.ndarray | None = None
    outcome: Sequence[str] | np.ndarray | None = None


class Judge(Protocol):
    """Returns the objectives of the candidates: a `Judgement`, or its values alone."""

    def __call__(self, key: Key, batch: Batch) -> Judgement | np.ndarray: ...


class Axes(Protocol):
    """Returns the descriptors of the candidates, float `[n, d]`; a pure and cheap function."""

    def __call__(self, batch: Batch) -> np.ndarray: ...


class NoveltyVerdict(NamedTuple):
    """Which of `n` candidates are new, and why the others are not.

    new: bool `[n]`.
    notes: `n` mappings of JSON values, stored as `notes["novelty"]` of the candidates.

    The note of a rejected candidate has the "stage" that rejected it, its "likeness" to the
    nearest candidate, the "limit" from which a likeness is too high, and the "id" of the nearest
    candidate, or its "row" if it is an earlier row of the same batch. The note of a candidate that
    passed has "passed", a mapping stage -> likeness. The note of a candidate that was embedded has
    "vectors", a mapping model -> vector.
    """

    new: np.ndarray
    notes: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, result: NoveltyVerdict | np.ndarray | Sequence[bool], n: int) -> NoveltyVerdict:
        """Returns the verdict of a filter on `n` candidates.

        Raises ValueError for another number of rows.
        """
        new, notes = result if isinstance(result, NoveltyVerdict) else (result, [{}] * n)
        new = np.asarray(new, bool)
        if new.shape != (n,) or len(notes) != n:
            rows = len(new) if new.ndim else new
            raise ValueError(
                f"a filter received {n} candidates, and returned {rows} values and {len(notes)} "
                "notes: one of each for every candidate is needed"
            )
        return cls(new, notes)

    @staticmethod
    def joined(note: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
        """Returns one note from two notes on a candidate; the second takes precedence."""
        inner = {
            name: {**note.get(name, {}), **more.get(name, {})} for name in ("passed", "vectors")
        }
        return {**note, **more, **{name: value for name, value in inner.items() if value}}

    def among(self, rows: np.ndarray, n: int) -> NoveltyVerdict:
        """Returns the verdict on a batch of `n`, if `self` is that on its `rows`, int.

        All other rows are new.
        """
        new = np.ones(n, bool)
        notes: list[Mapping[str, Any]] = [{}] * n
        new[rows] = self.new
        for row, note in zip(rows.tolist(), self.notes, strict=True):
            notes[row] = {**note, "row": int(rows[note["row"]])} if "row" in note else note
        return NoveltyVerdict(new, notes)


class Filter(Protocol):
    """Decides which candidates are new: before their evaluation, and again at their commit.

    It receives the candidates that are ok. A filter may have an attribute `form`, a function
    genome -> text: of candidates with equal forms only the first is evaluated, also if they are
    made at the same time.
    """

    def new(self, batch: Batch, before: int) -> NoveltyVerdict | np.ndarray:
        """Returns bool `[n]`, compared with the candidates with an id below `before`.

        Must not change `self`. Before the evaluation the ids of the candidates are -1, and the
        filter may ask a model. At their commit the candidates have ids, and calls of models are
        not recorded.
        """
        ...

    def learn(self, batch: Batch) -> None:
        """Receives every batch, in the order of the commits."""
        ...


__all__ = [
    "NO_CANDIDATE",
    "Axes",
    "Batch",
    "Candidate",
    "Context",
    "Domain",
    "Evaluation",
    "Filter",
    "Genome",
    "Genomes",
    "Judge",
    "Judgement",
    "Key",
    "NoveltyVerdict",
    "Operator",
    "Outcome",
    "Proposal",
    "SelectionRequest",
    "take",
]

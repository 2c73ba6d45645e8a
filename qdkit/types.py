"""What travels through a search, and the shapes of the parts a search is made of.

A `Batch` travels: `n` candidates, kept column by column, of which each stage of the loop fills one
more column. Around it stand the contracts of the parts that users write themselves: `Domain`,
`Operator`, `Judge`, `Axes` and `Filter`. Each is met by a plain object; nothing is registered.

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

    from qdkit.elites import Added

Key = Any  # a jax random key; consumed by whoever it is handed to
Genome = Any  # an array, a str, bytes or a JSON value; a program is a mapping path -> text
Genomes = Sequence[Genome] | np.ndarray  # n of them; numbers come as one array [n, ...]
NOBODY = -1  # the id of a parent that is not there


class Outcome(StrEnum):
    """What became of the attempt to evaluate a candidate. Only `OK` can enter an archive."""

    OK = "ok"
    INVALID = "invalid"  # not a candidate at all: does not parse, or its numbers are not finite
    FAILED = "failed"  # the candidate's own fault: it raised, crashed, gave a wrong answer
    TIMEOUT = "timeout"  # it did not end within its limit
    INFRASTRUCTURE = "infrastructure"  # nobody's fault: a server, a worker, a disk; never scored
    REJECTED = "rejected"  # not new enough to be evaluated
    DUPLICATE = "duplicate"  # evaluated, and at its commit no longer new
    SKIPPED = "skipped"  # never tried: the budget was used up

    @property
    def evaluated(self) -> bool:
        """Whether an evaluation was spent on it."""
        return self not in (Outcome.REJECTED, Outcome.SKIPPED)


_OK = Outcome.OK.value  # numpy asks a plain string no questions; this is compared a dozen times a step


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
    """`n` candidates, column by column. A row never disappears: what failed keeps its place.

    id: int32 `[n]`, given at commit; -1 before.
    genome: an array `[n, ...]`, or a list of `n` texts, bytes or JSON values.
    parents: int32 `[n, p]`, the ids it was made from, `NOBODY` where there are fewer than `p`.
    origin: the name of the operator that made it, `n` of them.
    outcome: `[n]` of the values of `Outcome`.
    objective: float64 `[n]`, higher is better; nan where unknown or not ok.
    features: float64 `[n, f]`, what the axes read; nan where unknown.
    descriptor: float64 `[n, d]`, the place among the kinds; nan where unknown.
    notes: `n` mappings of JSON values: what evaluators and judges said; `notes["error"]` of a
      candidate that is not ok says why.
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
    def unevaluated(cls, made: Proposal) -> Batch:
        """Candidates of which nothing but their making is known."""
        n, nothing = len(made.genome), np.full((len(made.genome), 1), np.nan)
        outcome = np.full(n, Outcome.OK, "<U14") if made.outcome is None else np.array(made.outcome, "<U14")
        notes = [{}] * n if made.notes is None else made.notes
        id = np.full(n, -1, np.int32)
        return cls(id, made.genome, made.parents, made.origin, outcome, nothing[:, 0], nothing, nothing, notes)

    @property
    def ok(self) -> np.ndarray:
        """bool `[n]`: evaluated without fault."""
        return self.outcome == _OK

    def __len__(self) -> int:
        return len(self.id)

    def __getitem__(self, i: int) -> Candidate:
        parents = tuple(int(p) for p in self.parents[i] if p != NOBODY)
        place = tuple(float(x) for x in self.descriptor[i])
        outcome = Outcome(str(self.outcome[i]))
        objective = float(self.objective[i])
        return Candidate(
            int(self.id[i]), self.genome[i], parents, self.origin[i], outcome, objective, place, self.notes[i]
        )

    def __iter__(self) -> Iterator[Candidate]:
        return (self[i] for i in range(len(self)))

    def take(self, rows: np.ndarray) -> Batch:
        """The given rows, in the given order; `rows` is an integer or a boolean array."""
        return Batch(*(take(getattr(self, column.name), rows) for column in fields(self)))

    def replace(self, **columns: Any) -> Batch:
        """The same candidates with other `columns`."""
        return replace(self, **columns)


def take(column: Sequence[Any] | np.ndarray, rows: np.ndarray) -> Any:
    """The given rows of a column, which may be an array or a list; `rows` as in `Batch.take`."""
    if isinstance(column, np.ndarray):
        return column[rows]
    return [column[i] for i in np.arange(len(column))[rows]]


class Proposal(NamedTuple):
    """`n` new genomes, whom each was made from (int32 `[n, p]` ids) and by which operator."""

    genome: Genomes
    parents: np.ndarray
    origin: Sequence[str]
    outcome: Sequence[str] | np.ndarray | None = None  # other than ok where no genome worth trying was made
    notes: Sequence[Mapping[str, Any]] | None = None

    def take(self, rows: slice) -> Proposal:
        """Some of them."""
        return Proposal(*(None if column is None else column[rows] for column in self))  # type: ignore[arg-type]

    @classmethod
    def of(cls, genome: Genomes, origin: str, parents: Batch | None = None) -> Proposal:
        """Genomes that all came from `origin`; row i from the i-th `len(parents) / n` parents."""
        n = len(genome)
        ids = np.full((n, 1), NOBODY, np.int32) if parents is None else parents.id.reshape(n, -1)
        return cls(genome, ids, [origin] * n)


@dataclass(frozen=True)
class Evaluation:
    """What a domain found out about `n` genomes. A column left out is judged or described elsewhere.

    objective: float `[n]`, higher is better; nan for a candidate that has none.
    descriptor: `[n, d]` numbers, or labels where the archive's axis has labels; nan or None where unknown.
    features: float `[n, f]`, for axes that are learnt or computed from features.
    notes: `n` mappings of JSON values; put the reason of a failure into `notes[i]["error"]`.
    outcome: `n` outcomes, for domains that can tell failures apart; all ok where left out.
    """

    objective: Sequence[float] | np.ndarray | jax.Array | None = None
    descriptor: Sequence[Sequence[Any]] | np.ndarray | jax.Array | None = None
    features: Sequence[Sequence[float]] | np.ndarray | jax.Array | None = None
    notes: Sequence[Mapping[str, Any]] | None = None
    outcome: Sequence[str] | np.ndarray | None = None


class Domain(Protocol):
    """What is searched: how to start, and how to try things out."""

    def seeds(self, key: Key, n: int) -> Genomes:
        """Between 1 and `n` genomes to start from."""
        ...

    def evaluate(self, genomes: Genomes) -> Evaluation:
        """Tries all of them. An exception fails the genome that raised it, and no other."""
        ...


@dataclass(frozen=True)
class Context:
    """What an operator may look at when it makes `n` new genomes.

    parents: `n * arity` elites, those of the first new genome first.
    inspirations: for each new genome, other elites worth showing, the best first; none where empty.
    target: float `[n, d]`, the descriptor to aim for, nan where none is chosen; None where none ever is.
    lessons: what the search has learnt so far, in words.
    """

    parents: Batch
    inspirations: Sequence[Batch] = ()
    target: np.ndarray | None = None
    lessons: str = ""

    def part(self, rows: slice, each: int, arity: int) -> Context:
        """What concerns some of the new genomes: of the `each` parents that every one has, the first `arity`."""
        place = np.arange(len(self.parents)).reshape(-1, each)[rows, :arity].ravel()
        target = None if self.target is None else self.target[rows]
        return replace(self, parents=self.parents.take(place), inspirations=self.inspirations[rows], target=target)


class Wish(NamedTuple):
    """What an operator would like to be given for `n` of its candidates.

    parents: the rule by which theirs are chosen (see `qdkit.parents`); that of the search where None.
    shown: which other elites it sees beside them (see `qdkit.shown`); none where None.
    """

    n: int
    parents: Any = None
    shown: Any = None


class Operator(abc.ABC):
    """Makes new genomes out of elites.

    `propose` is all that most operators write. It runs beside others of its kind, so it must not
    change `self`; an operator with a state of its own changes it in `turn` and `learn` only, which
    the search calls in order.
    """

    name: str
    arity: int = 1  # how many parents each new genome is made from
    size: int | None = None  # how many it makes a step, where it cannot make any number
    shown: Any = None  # which other elites it likes to see beside the parents, a `qdkit.shown.Shown`

    @property
    def models(self) -> Sequence[Any]:
        """Whom it asks (see `qdkit.llm.Ask`)."""
        return ()

    @abc.abstractmethod
    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        """`n` genomes from `n * arity` parents."""

    def turn(self, n: int) -> Operator:
        """The operator that makes the next `n`; called in the order of the starts."""
        return self

    def wishes(self, n: int) -> Sequence[Wish]:
        """What it would like to be given for the next `n`, in their order; asked of what `turn` gave."""
        return [Wish(n, None, self.shown)]

    def learn(self, batch: Batch, added: Added) -> None:
        """Hears how a batch fared; called in the order of the commits, for every batch of the search."""

    def remeasure(self, axes: Axes) -> None:
        """Hears what gives descriptors from now on: before the first step, and after each commit that axes learnt from.

        Who remembers descriptors remembers features too and measures anew, or compares what does not compare. Who wraps
        other operators hands it on to them.
        """


@dataclass(frozen=True)
class Judgement:
    """What a judge said: the value, float `[n]`; how many judgements it is the mean of; notes.

    features: float `[n, f]`, of a judge that also says of what kind they are; they take the place of the domain's.
    outcome: `n` outcomes, other than ok where no judgement came; a value that is not finite is invalid where left out.
    """

    value: np.ndarray
    count: np.ndarray | int = 1
    notes: Sequence[Mapping[str, Any]] | None = None
    features: np.ndarray | None = None
    outcome: Sequence[str] | np.ndarray | None = None


class Judge(Protocol):
    """Gives each candidate an objective: a `Judgement`, or its values alone."""

    def __call__(self, key: Key, batch: Batch) -> Judgement | np.ndarray: ...


class Axes(Protocol):
    """Gives each candidate its descriptor, float `[n, d]`, from what the batch holds; pure and cheap."""

    def __call__(self, batch: Batch) -> np.ndarray: ...


class Verdict(NamedTuple):
    """Which of `n` candidates are new, and why the others are not.

    new: bool `[n]`.
    notes: `n` mappings of JSON values, kept as `notes["novelty"]` of the candidates. Of one that is
      rejected: the "stage" that did it, its "likeness" to the nearest, the "limit" from which that is
      too much, and the nearest one's "id", or its "row" where it is a row above. Of one that passed:
      "passed", a mapping stage -> likeness. Of one that was embedded: "vectors", a mapping model -> vector.
    """

    new: np.ndarray
    notes: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, said: Verdict | np.ndarray | Sequence[bool], n: int) -> Verdict:
        """What a filter said of `n` candidates. Raises ValueError for another number of rows."""
        new, notes = said if isinstance(said, Verdict) else (said, [{}] * n)
        new = np.asarray(new, bool)
        if new.shape != (n,) or len(notes) != n:
            raise ValueError(
                f"a filter was shown {n} candidates and said of {len(new) if new.ndim else new} whether they are new, "
                f"with {len(notes)} notes: one of each for every candidate is needed"
            )
        return cls(new, notes)

    @staticmethod
    def joined(note: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
        """Two notes on one candidate as one; what the second says goes before."""
        inner = {name: {**note.get(name, {}), **more.get(name, {})} for name in ("passed", "vectors")}
        return {**note, **more, **{name: value for name, value in inner.items() if value}}

    def among(self, rows: np.ndarray, n: int) -> Verdict:
        """The verdict on a batch of `n` of which these `rows` (int) were shown; the others are new."""
        new = np.ones(n, bool)
        notes: list[Mapping[str, Any]] = [{}] * n
        new[rows] = self.new
        for row, note in zip(rows.tolist(), self.notes, strict=True):
            notes[row] = {**note, "row": int(rows[note["row"]])} if "row" in note else note
        return Verdict(new, notes)


class Filter(Protocol):
    """Says which candidates are new: of those that are ok, before their evaluation and again at their commit.

    A filter may have an attribute `form`, a function genome -> text: of the candidates whose form is
    equal, also of those made at the same time, none but the first is evaluated.
    """

    def new(self, batch: Batch, before: int) -> Verdict | np.ndarray:
        """bool `[n]`, held against the candidates with an id below `before`; must not change `self`.

        Before their evaluation, where it may ask a model, the candidates' own ids are -1; at their
        commit they have ids, and what is asked then is not recorded.
        """
        ...

    def learn(self, batch: Batch) -> None:
        """Hears of every batch, in the order of the commits."""
        ...


__all__ = [
    "NOBODY",
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
    "Operator",
    "Outcome",
    "Proposal",
    "Verdict",
    "Wish",
    "take",
]

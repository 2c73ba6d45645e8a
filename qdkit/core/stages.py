"""The stages of a step: propose, filter, evaluate, judge and assign descriptors.

Each stage fills one more column of its batch, and checks what the user's parts return. A wrong
number of rows or a wrong type is a bug and raises. An error of a single candidate is its outcome,
and the other candidates go on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from qdkit.core.casting import cast, numeric
from qdkit.core.elites import Archive
from qdkit.core.evaluating import EvaluationResults, Failure
from qdkit.core.jsonable import as_jsonable, as_utf8, check_nesting, to_json
from qdkit.core.types import (
    Axes,
    Batch,
    Domain,
    Evaluation,
    Filter,
    Genomes,
    Judge,
    Judgement,
    Key,
    NoveltyVerdict,
    Outcome,
    Proposal,
    take,
)

_NEVER_MADE = "never_made"  # the note of a placeholder, a candidate that no operator made
PLACEHOLDER_ORIGIN = "nobody"  # the origin of placeholders


def domain_objective(key: Key, batch: Batch) -> np.ndarray:
    """The judge that returns the objective of the domain."""
    return batch.objective


def features(batch: Batch) -> np.ndarray:
    """The axes that return the features of the domain as the descriptor."""
    return batch.features


def floor_of(domain: Domain) -> float:
    """Returns the objective from which QD scores are counted; 0 if the domain has no `floor`.

    Raises ValueError if it is not finite.
    """
    floor = float(getattr(domain, "floor", 0.0))
    if not np.isfinite(floor):
        raise ValueError(
            f"{type(domain).__name__}.floor is {floor}, and QD scores are counted from it: give "
            "an objective that hardly any candidate falls below"
        )
    return floor


def seed_proposal(domain: Domain, key: Key, n: int) -> Proposal:
    """Returns a proposal with the seeds of a domain.

    Raises ValueError for no seeds or more than `n`, and TypeError for a value that is no genome.
    """
    genomes = domain.seeds(key, n)
    name = f"{type(domain).__name__}.seeds"
    request = f"{name} was asked for 1 to {n} genomes to start from"
    if isinstance(genomes, str | bytes | Mapping) or not isinstance(genomes, Iterable):
        raise TypeError(
            f"{request} and returned a {type(genomes).__name__}: return a list or an array of them"
        )
    is_array = hasattr(genomes, "__array__")
    genomes = np.atleast_1d(np.asarray(genomes)) if is_array else list(genomes)
    if not 1 <= len(genomes) <= n:
        raise ValueError(f"{request} and returned {len(genomes)}")
    if isinstance(genomes, np.ndarray) and genomes.dtype.kind in "USO":
        genomes = genomes.tolist()  # the width of an array of texts would limit later texts
    if isinstance(genomes, np.ndarray):
        return Proposal.of(numeric(genomes, name), "seed")
    return Proposal.of(_as_stored(genomes, "the seeds hold"), "seed")


def proposed_batch(proposal: Proposal, like: Genomes, most: int) -> Batch:
    """Returns the candidates of a proposal, with genomes of the same kind as the seeds `like`.

    Raises TypeError or ValueError for a proposal that is not valid, or has more than `most` rows.
    """
    if not isinstance(proposal, Proposal):
        raise TypeError(
            "propose must return a qdkit.Proposal, and an operator returned a "
            f"{type(proposal).__name__}"
        )
    origin = proposal.origin[0] if len(proposal.origin) else "an operator"
    n = len(proposal.genome)
    if n != len(proposal.origin) or n != len(proposal.parents) or not 1 <= n <= most:
        raise ValueError(
            f"{origin} proposed {n} genomes with {len(proposal.parents)} rows of parents and "
            f"{len(proposal.origin)} origins: {most} of each were asked for"
        )
    for name, column in {"outcome": proposal.outcome, "notes": proposal.notes}.items():
        if column is not None and len(column) != n:
            raise ValueError(
                f"{origin} proposed {n} genomes with {len(column)} {name}: one for each, or None"
            )
    if isinstance(like, np.ndarray):
        numbers = np.asarray(proposal.genome)
        if numbers.shape[1:] != like.shape[1:]:
            raise ValueError(
                f"{origin} proposed genomes of shape {numbers.shape[1:]}, and the seeds have "
                f"{like.shape[1:]}"
            )
        genome: Genomes = cast(numbers, like.dtype, origin)
    else:
        genome = _as_stored(proposal.genome, f"{origin} proposed")
        one_type = isinstance(like[0], str | bytes) and len({type(g) for g in like}) == 1
        if one_type and (wrong := [g for g in genome if type(g) is not type(like[0])]):
            raise TypeError(
                f"{origin} proposed a {type(wrong[0]).__name__}, and the seeds are "
                f"{type(like[0]).__name__}"
            )
    parents = np.asarray(proposal.parents, np.int32).reshape(n, -1)
    notes = None if proposal.notes is None else [as_jsonable(note) for note in proposal.notes]
    origins = list(proposal.origin)
    return Batch.unevaluated(
        proposal._replace(genome=genome, parents=parents, origin=origins, notes=notes)
    )


def _as_stored(genomes: Iterable[Any], source: str) -> list[Any]:
    """Returns the genomes as the ledger returns them.

    These are plain texts and bytes, and JSON values with lists for tuples and texts as keys. So
    operators and domains receive the same genomes in a new run and in a resumed one.
    """
    stored: list[Any] = []
    for genome in genomes:
        try:
            if isinstance(genome, str | bytes):
                stored.append(as_utf8(genome) if isinstance(genome, str) else bytes(genome))
            else:
                check_nesting(genome)
                stored.append(json.loads(as_utf8(to_json(genome))))
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"a genome is an array, a str, bytes or a JSON value, and {source} a "
                f"{type(genome).__name__} ({error}): make one array of many, np.stack(...), or "
                "search over one of those and build the rest in evaluate"
            ) from None
    return stored


def placeholders(like: Genomes, n: int) -> Batch:
    """Returns `n` placeholders: candidates with empty genomes of the kind of the seeds `like`."""
    if isinstance(like, np.ndarray):
        genomes: Genomes = np.repeat(np.zeros_like(like[:1]), n, 0)
    else:
        genomes = [_empty_genome(like[0])] * n
    return Batch.unevaluated(Proposal.of(genomes, PLACEHOLDER_ORIGIN))


def mark_never_made(batch: Batch) -> Batch:
    """Returns the batch with a note in the rows without an answer, which are no evaluations."""
    rows = np.flatnonzero(batch.outcome == Outcome.INFRASTRUCTURE)
    if not len(rows):
        return batch
    notes = list(batch.notes)
    for row in rows.tolist():
        notes[row] = {**notes[row], _NEVER_MADE: True}
    return batch.replace(notes=notes)


def count_evaluated(batch: Batch) -> int:
    """Returns the number of candidates on which an evaluation was spent."""
    evaluated = np.isin(batch.outcome, [outcome for outcome in Outcome if outcome.evaluated])
    rows = np.flatnonzero(evaluated).tolist()
    return sum(1 for row in rows if not batch.notes[row].get(_NEVER_MADE))


def filter_novel(batch: Batch, novelty: Filter, before: int, first: int) -> Batch:
    """Returns the batch with an outcome for the candidates that are not new.

    The outcome is `REJECTED` before the evaluation, and `DUPLICATE` at the commit, when the batch
    has ids.

    before: candidates with ids below it are known.
    first: the id that the first row has or will have.
    """
    committed, rows = bool((batch.id >= 0).all()), np.flatnonzero(batch.ok)
    if not len(rows):
        return batch
    candidates = batch if len(rows) == len(batch) else batch.take(rows)
    verdict = NoveltyVerdict.of(novelty.new(candidates, before), len(rows))
    verdict = verdict.among(rows, len(batch))
    if any(verdict.notes):
        notes = list(batch.notes)
        for i, (new, note) in enumerate(zip(verdict.new, verdict.notes, strict=True)):
            if not note or (new and committed):  # its note was written before the evaluation
                continue
            own = {name: value for name, value in note.items() if name != "row"}
            if "row" in note:
                own["id"] = first + note["row"]
            joined = NoveltyVerdict.joined(notes[i].get("novelty", {}), as_jsonable(own))
            notes[i] = {**notes[i], "novelty": joined}
        batch = batch.replace(notes=notes)
    outcome, reason = Outcome.REJECTED, "not new"
    if committed:
        outcome, reason = Outcome.DUPLICATE, "no longer new"
    return with_outcome(batch, batch.ok & ~verdict.new, outcome, reason)


def reject_twins(
    batch: Batch, forms: Sequence[str | None], earlier: Sequence[str | None], known: int
) -> Batch:
    """Returns the batch with the outcome `REJECTED` in rows whose form is among `earlier`.

    forms: the forms of the rows; None for a row that is not compared.
    earlier: the forms of the candidates with ids from `known`, which are under way and not
      committed yet.
    """
    twins: dict[str | None, int] = {
        form: known + i for i, form in reversed(list(enumerate(earlier))) if form
    }
    rows = np.array([form in twins for form in forms]) & batch.ok
    if not rows.any():
        return batch
    notes = list(batch.notes)
    for i in np.flatnonzero(rows).tolist():
        twin = {"stage": "form", "likeness": 1.0, "limit": 1.0, "id": twins[forms[i]]}
        notes[i] = {**notes[i], "novelty": twin}
    return with_outcome(batch.replace(notes=notes), rows, Outcome.REJECTED, "not new")


def evaluate_batch(
    batch: Batch, attempt: Callable[[Genomes], EvaluationResults], archive: Archive
) -> Batch:
    """Returns the batch with the results of the domain for its candidates."""
    n, rows = len(batch), np.flatnonzero(batch.ok)
    if not len(rows):
        return batch
    objective, descriptor, features = np.full(n, np.nan), None, None
    outcome, notes = batch.outcome.copy(), list(batch.notes)
    for part, result in attempt(take(batch.genome, rows)):
        some = rows[part]
        count = len(some)
        if isinstance(result, Failure):
            outcome[some] = result.outcome
            for i in some:
                notes[i] = {**notes[i], "error": as_utf8(result.error)}
            continue
        if not isinstance(result, Evaluation):
            raise TypeError(
                "evaluate must return a qdkit.Evaluation, and this one returned a "
                f"{type(result).__name__}"
            )
        if result.objective is not None:
            objective[some] = _column("objective", result.objective, count, ())
        if result.descriptor is not None:
            encoded = archive.encode(_sized("descriptor", result.descriptor, count))
            descriptor = _fill_rows(descriptor, n, some, encoded)
        if result.features is not None:
            values = _column("features", result.features, count, None)
            features = _fill_rows(features, n, some, values)
        if result.notes is not None:
            for i, note in zip(some, _sized("notes", result.notes, count), strict=True):
                if not isinstance(note, Mapping | None):
                    raise TypeError(
                        "notes are mappings, or None where there are none, and one is "
                        f"{note!r:.80}"
                    )
                notes[i] = {**notes[i], **as_jsonable(note or {})}
        if result.outcome is not None:
            outcomes = _sized("outcome", result.outcome, count)
            outcome[some] = [Outcome(each).value for each in outcomes]
    objective[outcome != Outcome.OK] = np.nan
    features = descriptor if features is None else features
    if features is None:
        features = np.full((n, archive.axes), np.nan)
    return batch.replace(outcome=outcome, objective=objective, notes=notes, features=features)


def judge_batch(batch: Batch, judge: Judge, key: Key) -> Batch:
    """Returns the batch with the judge's objectives.

    A candidate whose objective is not finite is invalid. Features of the judge replace those of
    the domain.
    """
    n, rows = len(batch), np.flatnonzero(batch.ok)
    if not len(rows):
        return batch
    judgement = judge(key, batch.take(rows))
    value = judgement.value if isinstance(judgement, Judgement) else judgement
    objective, outcome = np.full(n, np.nan), batch.outcome.copy()
    objective[rows] = _column("the judge's values", value, len(rows), ())
    if isinstance(judgement, Judgement):
        batch = batch.replace(notes=_add_judge_notes(batch, rows, judgement))
        if judgement.features is not None:
            features = _column("the judge's features", judgement.features, len(rows), None)
            batch = batch.replace(features=_fill_rows(None, n, rows, features))
        if judgement.outcome is not None:
            outcomes = _sized("outcome", judgement.outcome, len(rows), "the judge")
            outcome[rows] = [Outcome(each).value for each in outcomes]
    objective[outcome != Outcome.OK] = np.nan
    batch = batch.replace(objective=objective, outcome=outcome)
    return with_outcome(
        batch,
        batch.ok & ~np.isfinite(batch.objective),
        Outcome.INVALID,
        "its objective is {objective}",
    )


def rejudge_batch(
    batch: Batch,
    judge: Judge,
    key: Key,
    attempt: Callable[[Genomes], EvaluationResults],
    archive: Archive,
) -> Batch:
    """Returns the batch with new objectives for its candidates; nan where there is none.

    The judge receives the notes of the domain and of earlier judgements. Without a judge the
    domain evaluates the candidates again.
    """
    batch = batch.replace(outcome=np.full(len(batch), Outcome.OK, "<U14"))
    return (
        evaluate_batch(batch, attempt, archive)
        if judge is domain_objective
        else judge_batch(batch, judge, key)
    )


def _add_judge_notes(
    batch: Batch, rows: np.ndarray, judgement: Judgement
) -> list[Mapping[str, Any]]:
    """Returns the notes of the batch with those of a judgement of these rows."""
    n, count = len(rows), np.asarray(judgement.count)
    if count.shape not in ((), (n,)):
        raise ValueError(
            f"the judge was given {n} candidates, so its count is one number or has shape ({n},), "
            f"and has {count.shape}"
        )
    new: Any = [{}] * n
    if judgement.notes is not None:
        new = _sized("notes", judgement.notes, n, "the judge")
    notes = list(batch.notes)
    for i, judgements, note in zip(rows, np.broadcast_to(count, n).tolist(), new, strict=True):
        notes[i] = {**notes[i], **as_jsonable(note), "judgements": judgements}
    return notes


def assign_descriptors(batch: Batch, axes: Axes, d: int) -> Batch:
    """Returns the batch with its descriptors under `axes`.

    A candidate whose descriptor is not finite is invalid.
    """
    descriptor = np.full((len(batch), d), np.nan)
    if batch.ok.any():
        descriptor = _column("the axes' descriptors", axes(batch), len(batch), d)
    batch = batch.replace(descriptor=descriptor)
    return with_outcome(
        batch,
        batch.ok & ~np.isfinite(descriptor).all(1),
        Outcome.INVALID,
        "its descriptor is {descriptor}",
    )


def with_outcome(batch: Batch, rows: np.ndarray, outcome: Outcome, why: str) -> Batch:
    """Returns the batch with this outcome in these rows, bool `[n]`.

    why: the reason, for the notes; `{objective}` and `{descriptor}` in it are those of the
      candidate.
    """
    if not rows.any():
        return batch
    outcomes, objective, notes = batch.outcome.copy(), batch.objective.copy(), list(batch.notes)
    for i in np.flatnonzero(rows):
        error = why.replace("{objective}", str(objective[i]))
        error = error.replace("{descriptor}", str(batch.descriptor[i].tolist()))
        notes[i] = {"error": error, **notes[i]}
    outcomes[rows], objective[rows] = outcome, np.nan
    return batch.replace(outcome=outcomes, objective=objective, notes=notes)


def _empty_genome(like: Any) -> Any:
    return type(like)() if isinstance(like, str | bytes | dict | list) else None


def _sized(name: str, column: Any, n: int, source: str = "evaluate") -> Any:
    """Returns the column. Raises ValueError unless it has `n` rows."""
    scalar = hasattr(column, "shape") and np.shape(column) == ()
    is_column = hasattr(column, "__len__") and not isinstance(column, str | bytes | Mapping)
    if scalar or not is_column:
        received = f"is {column!r:.80}"
    elif len(column) != n:
        received = f"has {len(column)} rows"
    else:
        return column
    raise ValueError(
        f"{source} was given {n} genomes and its {name} {received}: one for each genome is needed"
    )


def _column(name: str, column: Any, n: int, width: int | tuple[()] | None) -> np.ndarray:
    """Returns a column as float64: `[n]` if `width` is (), else `[n, width]`; any width if None.

    Raises ValueError for another shape, and for other values than numbers.
    """
    if getattr(getattr(column, "dtype", None), "kind", "") == "c":
        raise ValueError(
            f"{name} must be real numbers, one row for each of {n} candidates, not {column.dtype}"
        )
    try:
        if (kind := np.asarray(column).dtype).kind in "cUSMm":
            # numpy would drop the imaginary part, and read texts as numbers.
            raise TypeError(f"they are {kind}")
        values = np.asarray(column, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be numbers, one row for each of {n} candidates: {error}"
        ) from None
    expected: tuple[int, ...] = (n,)
    if isinstance(width, int):
        expected = (n, width)
    elif width is None:
        expected = (n, values.shape[-1] if values.ndim == 2 else 1)
    if values.shape != expected:
        raise ValueError(
            f"{name} must have shape {expected} for {n} candidates, and has {values.shape}"
        )
    return values


def _fill_rows(
    column: np.ndarray | None, n: int, rows: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Writes values into rows of a column of `n` rows; makes the column if None. Returns it."""
    column = np.full((n, values.shape[1]), np.nan) if column is None else column
    if values.shape[1] != column.shape[1]:
        raise ValueError(
            "every candidate is described by as many numbers, and one of a batch has "
            f"{values.shape[1]} where others have {column.shape[1]}"
        )
    column[rows] = values
    return column

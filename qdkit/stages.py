"""The stages of a step, each of which fills one more column of its batch: proposed, sifted, evaluated, judged, placed.

What plug-ins hand back is checked here, at the door: a wrong number of rows or a wrong type is a
bug and raises; what goes wrong with one candidate is its outcome, and the others go on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from qdkit.elites import Archive
from qdkit.flow import Failure, Tried
from qdkit.plain import clean, plain, to_json
from qdkit.types import (
    Axes,
    Batch,
    Domain,
    Evaluation,
    Filter,
    Genomes,
    Judge,
    Judgement,
    Key,
    Outcome,
    Proposal,
    Verdict,
    take,
)


def given(key: Key, batch: Batch) -> np.ndarray:
    """The judge that believes the domain: its objective as it is."""
    return batch.objective


def features(batch: Batch) -> np.ndarray:
    """The axes that are given: what the domain measured is the descriptor."""
    return batch.features


def seeded(domain: Domain, key: Key, n: int) -> Proposal:
    """The domain's seeds. Raises ValueError for none, or for more than `n`, TypeError for what is no genome."""
    genomes = domain.seeds(key, n)
    if isinstance(genomes, str | bytes | Mapping) or not isinstance(genomes, Iterable):
        raise TypeError(
            f"{type(domain).__name__}.seeds was asked for 1 to {n} genomes to start from and gave a "
            f"{type(genomes).__name__}: give a list or an array of them"
        )
    genomes = np.atleast_1d(np.asarray(genomes)) if hasattr(genomes, "__array__") else list(genomes)
    if not 1 <= len(genomes) <= n:
        raise ValueError(
            f"{type(domain).__name__}.seeds was asked for 1 to {n} genomes to start from and gave {len(genomes)}"
        )
    if isinstance(genomes, np.ndarray) and genomes.dtype.kind not in "fiub":
        genomes = genomes.tolist()  # texts in an array: their width must not bound the ones to come
    if not isinstance(genomes, np.ndarray):
        genomes = _kept(genomes, "the seeds hold")
    return Proposal.of(genomes, "seed")


def proposed(made: Proposal, like: Genomes, most: int) -> Batch:
    """Candidates of which nothing but their making is known, of the same kind as the seeds `like`."""
    if not isinstance(made, Proposal):
        raise TypeError(f"propose hands back a qdkit.Proposal, and an operator gave a {type(made).__name__}")
    origin = made.origin[0] if len(made.origin) else "an operator"
    n = len(made.genome)
    if n != len(made.origin) or n != len(made.parents) or not 1 <= n <= most:
        raise ValueError(
            f"{origin} proposed {n} genomes with {len(made.parents)} rows of parents and {len(made.origin)} origins: "
            f"{most} of each were asked for"
        )
    if isinstance(like, np.ndarray):
        numbers = np.asarray(made.genome)
        if numbers.shape[1:] != like.shape[1:]:
            raise ValueError(
                f"{origin} proposed genomes of shape {numbers.shape[1:]}, and the seeds have {like.shape[1:]}"
            )
        genome: Genomes = numbers.astype(like.dtype, copy=False)
    else:
        genome = _kept(made.genome, f"{origin} proposed")
        alike = isinstance(like[0], str | bytes) and len({type(g) for g in like}) == 1
        if alike and (odd := [g for g in genome if type(g) is not type(like[0])]):
            raise TypeError(f"{origin} proposed a {type(odd[0]).__name__}, and the seeds are {type(like[0]).__name__}")
    parents = np.asarray(made.parents, np.int32).reshape(n, -1)
    return Batch.unevaluated(made._replace(genome=genome, parents=parents, origin=list(made.origin)))


def _kept(genomes: Iterable[Any], who: str) -> list[Any]:
    """The genomes as the ledger gives them back: plain texts and bytes, JSON with lists for tuples and texts for keys.

    So an operator and a domain meet them in one form, in a run that goes on too.
    """
    kept: list[Any] = []
    for genome in genomes:
        try:
            if isinstance(genome, str | bytes):
                kept.append(clean(genome) if isinstance(genome, str) else bytes(genome))
            else:
                kept.append(json.loads(clean(to_json(genome))))
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"a genome is an array, a str, bytes or a JSON value, and {who} a {type(genome).__name__} ({error}): "
                "make one array of many, np.stack(...), or search over one of those and build the rest in evaluate"
            ) from None
    return kept


def unmade(like: Genomes, n: int) -> Batch:
    """`n` candidates of the same kind as the seeds `like` that were never made."""
    blank = np.zeros_like(like[:1]) if isinstance(like, np.ndarray) else [_blank(like[0])]
    return Batch.unevaluated(
        Proposal.of(np.repeat(blank, n, 0) if isinstance(blank, np.ndarray) else blank * n, "nobody")
    )


def sifted(batch: Batch, novelty: Filter, before: int, first: int) -> Batch:
    """The batch with an outcome for what is not new: `REJECTED`, or `DUPLICATE` at its commit, when it has ids.

    before: the candidates with ids below are known. first: the id that the first row has or will have.
    """
    committed, rows = bool((batch.id >= 0).all()), np.flatnonzero(batch.ok)
    if not len(rows):
        return batch
    shown = batch if len(rows) == len(batch) else batch.take(rows)
    verdict = Verdict.of(novelty.new(shown, before), len(rows)).among(rows, len(batch))
    if any(verdict.notes):
        notes = list(batch.notes)
        for i, (new, note) in enumerate(zip(verdict.new, verdict.notes, strict=True)):
            if note and not (new and committed):  # how near it came was written down before its evaluation
                place = {"id": first + note["row"]} if "row" in note else {}
                said = {name: value for name, value in note.items() if name != "row"} | place
                notes[i] = {**notes[i], "novelty": Verdict.joined(notes[i].get("novelty", {}), plain(said))}
        batch = batch.replace(notes=notes)
    outcome, why = (Outcome.DUPLICATE, "no longer new") if committed else (Outcome.REJECTED, "not new")
    return with_outcome(batch, batch.ok & ~verdict.new, outcome, why)


def without_twins(batch: Batch, forms: Sequence[str | None], earlier: Sequence[str | None], known: int) -> Batch:
    """The batch without what is being tried at the same time: a row whose form is among `earlier` is rejected.

    forms: of the rows; None for what is not compared. earlier: those of the candidates with the ids
      from `known`, which were started before and are not committed yet.
    """
    twins: dict[str | None, int] = {form: known + i for i, form in reversed(list(enumerate(earlier))) if form}
    rows = np.array([form in twins for form in forms]) & batch.ok
    if not rows.any():
        return batch
    notes = list(batch.notes)
    for i in np.flatnonzero(rows).tolist():
        twin = {"stage": "form", "likeness": 1.0, "limit": 1.0, "id": twins[forms[i]]}
        notes[i] = {**notes[i], "novelty": twin}
    return with_outcome(batch.replace(notes=notes), rows, Outcome.REJECTED, "not new")


def evaluated(batch: Batch, attempt: Callable[[Genomes], Tried], archive: Archive) -> Batch:
    """The batch with what the domain found out about its candidates."""
    n, rows = len(batch), np.flatnonzero(batch.ok)
    if not len(rows):
        return batch
    objective, described, measured = np.full(n, np.nan), None, None
    outcome, notes = batch.outcome.copy(), list(batch.notes)
    for part, found in attempt(take(batch.genome, rows)):
        some = rows[part]
        if isinstance(found, Failure):
            outcome[some] = found.outcome
            for i in some:
                notes[i] = {**notes[i], "error": clean(found.error)}
            continue
        if not isinstance(found, Evaluation):
            raise TypeError(f"evaluate hands back a qdkit.Evaluation, and this one gave a {type(found).__name__}")
        if found.objective is not None:
            objective[some] = _column("objective", found.objective, len(some), ())
        if found.descriptor is not None:
            described = _filled(described, n, some, archive.encode(_counted("descriptor", found.descriptor, len(some))))
        if found.features is not None:
            measured = _filled(measured, n, some, _column("features", found.features, len(some), None))
        if found.notes is not None:
            for i, note in zip(some, _counted("notes", found.notes, len(some)), strict=True):
                if not isinstance(note, Mapping | None):
                    raise TypeError(f"notes are mappings, or None where there are none, and one is {note!r:.80}")
                notes[i] = {**notes[i], **plain(note or {})}
        if found.outcome is not None:
            outcome[some] = [Outcome(o).value for o in _counted("outcome", found.outcome, len(some))]
    objective[outcome != Outcome.OK] = np.nan
    measured = described if measured is None else measured
    nothing = np.full((n, archive.axes), np.nan)
    return batch.replace(
        outcome=outcome, objective=objective, notes=notes, features=nothing if measured is None else measured
    )


def judged(batch: Batch, judge: Judge, key: Key) -> Batch:
    """The batch with the judge's objectives; a candidate whose objective is not finite is invalid.

    What a judge says of the kind of a candidate is its features, in the place of the domain's.
    """
    n, rows = len(batch), np.flatnonzero(batch.ok)
    if not len(rows):
        return batch
    said = judge(key, batch.take(rows))
    value = said.value if isinstance(said, Judgement) else said
    objective, outcome = np.full(n, np.nan), batch.outcome.copy()
    objective[rows] = _column("the judge's values", value, len(rows), ())
    if isinstance(said, Judgement):
        batch = batch.replace(notes=_noted(batch, rows, said))
        if said.features is not None:
            measured = _column("the judge's features", said.features, len(rows), None)
            batch = batch.replace(features=_filled(None, n, rows, measured))
        if said.outcome is not None:
            outcome[rows] = [Outcome(o).value for o in said.outcome]
    objective[outcome != Outcome.OK] = np.nan
    batch = batch.replace(objective=objective, outcome=outcome)
    return with_outcome(
        batch, batch.ok & ~np.isfinite(batch.objective), Outcome.INVALID, "its objective is {objective}"
    )


def judged_again(batch: Batch, judge: Judge, key: Key, attempt: Callable[[Genomes], Tried], archive: Archive) -> Batch:
    """The batch with what is said of its candidates when they are asked about once more; nan where nothing is.

    By the judge, who is shown what the domain and earlier judgements noted; where there is none, by the domain.
    """
    batch = batch.replace(outcome=np.full(len(batch), Outcome.OK, "<U14"))
    return evaluated(batch, attempt, archive) if judge is given else judged(batch, judge, key)


def _noted(batch: Batch, rows: np.ndarray, said: Judgement) -> list[Mapping[str, Any]]:
    """The notes of the batch, with what a judge said of these rows."""
    notes, count = list(batch.notes), np.broadcast_to(said.count, len(rows)).tolist()
    for i, judgements, note in zip(rows, count, said.notes or [{}] * len(rows), strict=True):
        notes[i] = {**notes[i], **plain(note), "judgements": judgements}
    return notes


def placed(batch: Batch, axes: Axes, d: int) -> Batch:
    """The batch with its descriptors under `axes`; a candidate whose descriptor is not finite is invalid."""
    nowhere = np.full((len(batch), d), np.nan)
    descriptor = _column("the axes' descriptors", axes(batch), len(batch), d) if batch.ok.any() else nowhere
    batch = batch.replace(descriptor=descriptor)
    return with_outcome(
        batch, batch.ok & ~np.isfinite(descriptor).all(1), Outcome.INVALID, "its descriptor is {descriptor}"
    )


def with_outcome(batch: Batch, rows: np.ndarray, outcome: Outcome, why: str) -> Batch:
    """The batch with this outcome in these rows (bool `[n]`); `why` is filled in from each candidate."""
    if not rows.any():
        return batch
    outcomes, objective, notes = batch.outcome.copy(), batch.objective.copy(), list(batch.notes)
    for i in np.flatnonzero(rows):
        filled = why.replace("{objective}", str(objective[i])).replace(
            "{descriptor}", str(batch.descriptor[i].tolist())
        )
        notes[i] = {"error": filled, **notes[i]}
    outcomes[rows], objective[rows] = outcome, np.nan
    return batch.replace(outcome=outcomes, objective=objective, notes=notes)


def _blank(like: Any) -> Any:
    return type(like)() if isinstance(like, str | bytes | dict | list) else None


def _counted(name: str, column: Any, n: int) -> Any:
    if not hasattr(column, "__len__") or len(column) != n:
        came = len(column) if hasattr(column, "__len__") else repr(column)
        raise ValueError(
            f"evaluate was given {n} genomes and its {name} has {came} rows: one for each genome is needed"
        )
    return column


def _column(name: str, column: Any, n: int, width: int | tuple[()] | None) -> np.ndarray:
    """float64 `[n]` where `width` is (), else `[n, width]`, any width where None."""
    try:
        values = np.asarray(column, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers, one row for each of {n} candidates: {error}") from None
    expected = (n,) if width == () else (n, width if width is not None else values.shape[-1] if values.ndim == 2 else 1)
    if values.shape != expected:
        raise ValueError(f"{name} must have shape {expected} for {n} candidates, and has {values.shape}")
    return values


def _filled(column: np.ndarray | None, n: int, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    column = np.full((n, values.shape[1]), np.nan) if column is None else column
    column[rows] = values
    return column

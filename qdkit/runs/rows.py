"""The tables of a ledger, and how batches become rows, are sealed and are read back.

SQLite has no nan, which is stored as NULL, and no negative zero. Genomes are stored as
`about["genome"]` says: the bytes of an array, a text, bytes, or JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np

from qdkit.core.jsonable import digest, to_json, to_json_exact
from qdkit.core.run_files import DamagedRun
from qdkit.core.types import NO_CANDIDATE, Batch, Genomes
from qdkit.core.untrusted import parse_json, parse_notes

VERSION = 3

# The version before, whose events have no seals. Its runs are read, and continued in it.
UNSEALED = 2

# The kind of the events with the results of re-evaluations (see `qdkit.search.reevaluation`).
REEVALUATION_EVENT = "settled"


_SCHEMA = """
create table about (name text primary key, value text not null);
create table commits (number integer primary key, first integer not null, rows integer not null,
                      evaluations integer not null, coverage real, qd_score real, best real,
                      clipped integer not null, refused integer not null, parents real,
                      seconds real not null, cpu real not null, digest text not null);
create table candidates (id integer primary key, task integer not null, origin text not null,
                         parents text not null, outcome text not null, objective real,
                         status integer not null, cell integer not null,
                         genome, features text, notes text not null{axes});
create table answers (task integer not null, call integer not null, request text not null,
                      answer text not null, digest text not null, seconds real not null,
                      primary key (task, call));
create table events (number integer primary key, after integer not null, kind text not null,
                     value text not null{seals})
"""

_SEALS = {UNSEALED: "", VERSION: ", commits integer not null, digest text not null"}


class Commit(NamedTuple):
    """The state of a run after a batch: the row of `commits` without its seal."""

    number: int
    first: int
    rows: int
    evaluations: int  # so far
    coverage: float
    qd_score: float
    best: float
    clipped: int  # descriptors outside the bounds so far, put into a border cell
    refused: int  # descriptors outside the bounds so far, refused by the archive
    # The effective number of parents that this batch was selected from, 1 / sum(p^2); nan for the
    # initial population.
    parents: float
    seconds: float  # of search so far
    cpu: float  # CPU seconds of this process so far, of all its threads

    @property
    def untimed(self) -> tuple[Any, ...]:
        """The values that a rerun reproduces: all without the times, with None for nan."""
        return tuple(map(nan_to_none, self._replace(seconds=0.0, cpu=0.0)))


def schema(axes: int, version: int = VERSION) -> list[str]:
    """Returns the SQL statements that create the tables of a run in a version of the format."""
    columns = "".join(f", descriptor_{axis} real" for axis in range(axes))
    return _SCHEMA.format(axes=columns, seals=_SEALS[version]).split(";")


def genome_kind(genomes: Genomes) -> dict[str, Any]:
    """Returns the kind of a run's genomes, the entry "genome" of `about`.

    Raises TypeError for anything but arrays, texts, bytes and JSON.
    """
    if isinstance(genomes, np.ndarray):
        return {"kind": "array", "dtype": genomes.dtype.str, "shape": list(genomes.shape[1:])}
    if all(isinstance(genome, str) for genome in genomes):
        return {"kind": "text"}
    if all(isinstance(genome, bytes) for genome in genomes):
        return {"kind": "bytes"}
    try:
        to_json(list(genomes))
    except (TypeError, ValueError):
        raise TypeError(
            f"a genome is an array, a str, bytes or a JSON value, and the seeds hold a "
            f"{type(genomes[0]).__name__}: search over one of those and build the rest in evaluate"
        ) from None
    return {"kind": "json"}


def _numbers(row: list[float]) -> str:
    """Returns numbers as JSON: null for nan, and for an infinity 1e999, which is read as one."""
    text = json.dumps([nan_to_none(x) for x in row], separators=(",", ":"))
    return text.replace("Infinity", "1e999")


def parent_ids(parents: np.ndarray) -> list[list[int]]:
    """Returns the ids in each row of `parents` (int `[n, p]`), without `NO_CANDIDATE`."""
    ids: list[list[int]] = parents.tolist()
    if (parents == NO_CANDIDATE).any():
        return [[id for id in row if id != NO_CANDIDATE] for row in ids]
    return ids


def candidate_rows(batch: Batch, added: Any, task: int, kind: str) -> list[tuple[Any, ...]]:
    """Returns the batch as rows of `candidates`.

    added: the status and the cell of each candidate. task: the number of the batch.
    kind: of the genomes, as `genome_kind` says.
    """
    store = {"array": lambda genome: genome.tobytes(), "json": to_json}.get(
        kind, lambda genome: genome
    )
    same = np.array_equal(batch.features, batch.descriptor, equal_nan=True)
    features = repeat(None) if same else map(_numbers, batch.features.tolist())
    return list(
        zip(
            batch.id.tolist(),
            repeat(task),
            batch.origin,
            map(str, parent_ids(batch.parents)),
            batch.outcome.tolist(),
            map(nan_to_none, batch.objective.tolist()),
            np.asarray(added.status).tolist(),
            np.asarray(added.cell).tolist(),
            map(store, batch.genome),
            features,
            (to_json_exact(note) if note else "{}" for note in batch.notes),
            *(map(nan_to_none, axis) for axis in batch.descriptor.T.tolist()),
            strict=False,  # a `repeat` has no end
        )
    )


def moved_cells(batch: Batch, added: Any, before: Any, after: Any) -> dict[str, list[int]] | None:
    """Returns the cells whose elite changed without a row of the batch that says so.

    The result has each "cell" and the "id" of its elite, such as after migration between islands.
    It is None if there is no such cell.

    before, after: the elites before and after the batch, which hold ids.
    """
    expected, now = np.asarray(before.payload["id"]).copy(), np.asarray(after.payload["id"])
    rows = np.flatnonzero(np.asarray(added.status) > 0)
    # Of equals the first wins, as in an archive.
    worst_first = rows[np.lexsort((-rows, batch.objective[rows]))]
    expected[np.asarray(added.cell)[worst_first]] = batch.id[worst_first]
    cells = np.flatnonzero(expected != now)
    return {"cell": cells.tolist(), "id": now[cells].tolist()} if len(cells) else None


def seal_commit(
    seal: str,
    rows: Sequence[tuple[Any, ...]],
    state: Commit,
    reevaluations: str = "",
    event_seal: str = "",
) -> str:
    """Returns the digest of a batch and of all batches before it.

    It leaves out times, so that a rerun has the same digest.

    seal: of the batch before it. rows, state: of the batch.
    reevaluations: the text of the `REEVALUATION_EVENT` of a commit of re-evaluations.
    event_seal: the seal of the last event before the batch.
    """
    genomes = [row[8] for row in rows]
    texts = [genome.encode("utf-8") if isinstance(genome, str) else genome for genome in genomes]
    rest = [row[:8] + row[9:] for row in rows]
    more = [text for text in (reevaluations, event_seal) if text]
    return digest(seal, repr(state.untimed), repr(rest), repr([*map(len, texts)]), *texts, *more)


def seal_event(events: str, commits: str, row: Sequence[Any]) -> str:
    """Returns the digest of an event, of all events before it and of the commits before it.

    events: the seal of the event before it. commits: the seal of the last commit.
    row: number, after, kind, value and the number of commits, as in the ledger.
    """
    return digest(events, commits, *map(str, row))


def nan_to_none(x: Any) -> Any:
    """Returns `x` as SQLite stores it: None for nan, and 0.0 for -0.0.

    SQLite loses the sign of -0.0, so a seal must not see it either.
    """
    return None if x != x else x or type(x)(0)


def none_to_nan(x: Any) -> Any:
    """Returns a number that SQLite stored: nan for None."""
    return np.nan if x is None else x


def batch_of(rows: Sequence[Sequence[Any]], about: Mapping[str, Any]) -> Batch:
    """Returns the batch in these rows of `candidates`.

    Raises DamagedRun for rows that hold no candidates.
    """
    if not rows:
        return _empty_batch(about)
    try:
        return _parse_batch(rows, about)
    except (ValueError, TypeError, OverflowError) as error:  # rows may come from a stranger
        raise DamagedRun(
            f"candidate {rows[0][0]} or one of the {len(rows) - 1} after it: {error}"
        ) from None


def _parse_batch(rows: Sequence[Sequence[Any]], about: Mapping[str, Any]) -> Batch:
    id, _, origin, parents, outcome, objective, _, _, genome, features, noted, *axes = zip(
        *rows, strict=True
    )
    numbers = lambda column: np.array([np.nan if x is None else x for x in column], np.float64)
    ids_of_parents = [
        parse_json(ids, f"the parents of candidate {i}")
        for i, ids in zip(id, parents, strict=True)
    ]
    width = max(1, *map(len, ids_of_parents))
    padded = [ids + [NO_CANDIDATE] * (width - len(ids)) for ids in ids_of_parents]
    descriptor = np.stack([numbers(axis) for axis in axes], 1)
    if None in features:
        parsed_features = descriptor
    else:
        parsed_features = np.array(
            [
                parse_json(text, f"the features of candidate {i}")
                for i, text in zip(id, features, strict=True)
            ],
            np.float64,
        )
    return Batch(
        np.array(id, np.int32),
        _genomes(genome, about["genome"]),
        np.array(padded, np.int32),
        list(origin),
        np.array(outcome, "<U14"),
        numbers(objective),
        parsed_features,
        descriptor,
        [
            parse_notes(note, f"the notes of candidate {i}")
            for i, note in zip(id, noted, strict=True)
        ],
    )


def _empty_batch(about: Mapping[str, Any]) -> Batch:
    empty = np.empty((0, about["axes"]))
    id, parents = np.empty(0, np.int32), np.empty((0, 1), np.int32)
    genomes = _genomes([], about["genome"])
    return Batch(id, genomes, parents, [], np.empty(0, "<U14"), empty[:, 0], empty, empty, [])


def _genomes(stored: Sequence[Any], kind: Mapping[str, Any]) -> Genomes:
    """Returns the genomes in the column `genome`."""
    if kind["kind"] == "array":
        dtype, shape = np.dtype(kind["dtype"]), tuple(kind["shape"])
        return np.frombuffer(b"".join(stored), dtype).reshape(len(stored), *shape)
    if kind["kind"] == "json":
        return [parse_json(genome, "a genome") for genome in stored]
    return list(stored)

"""Rows of a ledger: what a candidate and a commit are in SQLite, how they come back, and how they are sealed.

SQLite knows no nan, which is NULL in it, and no sign of zero. Genomes are kept as `about["genome"]`
says: the bytes of an array, a text, bytes, or JSON.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np

from qdkit.plain import to_json
from qdkit.types import NOBODY, Batch, Genomes

SETTLED = "settled"  # the event of what challenges came to (see `qdkit.challenge`)


# What an event of a kind tells at least, of those whose readers rely on it.
_TELLS = {
    SETTLED: {"looks", "cells"},
    "again": {"judge", "id", "value"},
    "axes": {"version", "axes", "cell", "id", "descriptor"},
    "moved": {"cell", "id"},
    "replies": {"last"},
}


class Commit(NamedTuple):
    """How a run stood after a batch: the row of `commits` without its seal."""

    number: int
    first: int
    rows: int
    evaluations: int  # so far
    coverage: float
    qd_score: float
    best: float
    clipped: int  # descriptors outside the box so far, put into a border cell
    refused: int  # descriptors outside the box so far, not put anywhere
    parents: float  # how many were effectively chosen among for this batch, 1 / sum(p^2); nan for the seeds
    seconds: float  # of search so far
    cpu: float  # seconds of this process so far, all its threads together

    @property
    def untimed(self) -> tuple[Any, ...]:
        """What a rerun has too: without the clocks, and None for nan, which equals nothing."""
        return tuple(map(null, self._replace(seconds=0.0, cpu=0.0)))


def genome_kind(genomes: Genomes) -> dict[str, Any]:
    """What a run's genomes are, as `about` says it. Raises TypeError for anything but arrays, texts, bytes and JSON."""
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
            f"a genome is an array, a str, bytes or a JSON value, and the seeds hold a {type(genomes[0]).__name__}: "
            "search over one of those and build the rest in evaluate"
        ) from None
    return {"kind": "json"}


def _numbers(row: list[float]) -> str:
    """As JSON: nan is null, and an infinity a number that no float holds, which every reader takes for one."""
    return json.dumps([null(x) for x in row], separators=(",", ":")).replace("Infinity", "1e999")


def families(parents: np.ndarray) -> list[list[int]]:
    """The ids of each row of `parents` (int `[n, p]`), without `NOBODY`."""
    ids: list[list[int]] = parents.tolist()
    return [[id for id in row if id != NOBODY] for row in ids] if (parents == NOBODY).any() else ids


def rows_of(batch: Batch, added: Any, task: int, kind: str) -> list[tuple[Any, ...]]:
    """The batch as rows of `candidates`."""
    store = {"array": lambda genome: genome.tobytes(), "json": to_json}.get(kind, lambda genome: genome)
    given = np.array_equal(batch.features, batch.descriptor, equal_nan=True)
    features = repeat(None) if given else map(_numbers, batch.features.tolist())
    return list(
        zip(
            batch.id.tolist(),
            repeat(task),
            batch.origin,
            map(str, families(batch.parents)),
            batch.outcome.tolist(),
            map(null, batch.objective.tolist()),
            np.asarray(added.status).tolist(),
            np.asarray(added.cell).tolist(),
            map(store, batch.genome),
            features,
            (to_json(note) if note else "{}" for note in batch.notes),
            *(map(null, axis) for axis in batch.descriptor.T.tolist()),
            strict=False,  # what is repeated has no end
        )
    )


def moves(batch: Batch, added: Any, before: Any, after: Any) -> dict[str, list[int]] | None:
    """The cells whose elite is another for a reason that the rows of a batch do not tell, and whose it is then.

    before, after: the elites, which hold ids. None if there is no such cell.
    """
    told, now = np.asarray(before.payload["id"]).copy(), np.asarray(after.payload["id"])
    rows = np.flatnonzero(np.asarray(added.status) > 0)
    worst_first = rows[np.lexsort((-rows, batch.objective[rows]))]  # of equals the first wins, as in an archive
    told[np.asarray(added.cell)[worst_first]] = batch.id[worst_first]
    cells = np.flatnonzero(told != now)
    return {"cell": cells.tolist(), "id": now[cells].tolist()} if len(cells) else None


def sealed(seal: str, rows: Sequence[tuple[Any, ...]], state: Commit, told: str = "") -> str:
    """The digest of a batch and of all before it; the clocks are left out, so that a rerun has the same.

    told: the event `SETTLED` of a commit of challenges.
    """
    genomes = [row[8] for row in rows]
    texts = [genome.encode("utf-8") if isinstance(genome, str) else genome for genome in genomes]
    rest = [row[:8] + row[9:] for row in rows]
    more = [told] if told else []
    return digest(seal, repr(state.untimed), repr(rest), repr([*map(len, texts)]), *texts, *more)


def readable(kind: str, text: str) -> bool:
    """Whether the value of an event is JSON, and tells what its readers rely on."""
    try:
        value = json.loads(text)
    except ValueError:
        return False
    wanted = _TELLS.get(kind, set())
    return not wanted or (isinstance(value, dict) and wanted <= value.keys())


def digest(*parts: str | bytes) -> str:
    """The SHA-256 of all parts, in hexadecimal."""
    made = hashlib.sha256()
    for part in parts:
        made.update(part.encode("utf-8") if isinstance(part, str) else part)
        made.update(b"\0")
    return made.hexdigest()


def null(x: Any) -> Any:
    """`x` as SQLite keeps it: None for nan."""
    return None if x != x else x or type(x)(0)  # SQLite forgets the sign of -0.0, and a seal must not see it


def nan(x: Any) -> Any:
    """The number that SQLite kept: nan for None."""
    return np.nan if x is None else x


def batch_of(rows: Sequence[Sequence[Any]], about: Mapping[str, Any]) -> Batch:
    """The batch that these rows of `candidates` hold."""
    if not rows:
        return _nobody(about)
    id, _, origin, parents, outcome, objective, _, _, genome, features, notes, *place = zip(*rows, strict=True)
    numbers = lambda column: np.array([np.nan if x is None else x for x in column], np.float64)
    known = [json.loads(ids) for ids in parents]
    width = max(1, *map(len, known))
    described = np.stack([numbers(axis) for axis in place], 1)
    return Batch(
        np.array(id, np.int32),
        _genomes(genome, about["genome"]),
        np.array([ids + [NOBODY] * (width - len(ids)) for ids in known], np.int32),
        list(origin),
        np.array(outcome, "<U14"),
        numbers(objective),
        described if None in features else np.array([json.loads(f) for f in features], np.float64),
        described,
        [json.loads(note) for note in notes],
    )


def _nobody(about: Mapping[str, Any]) -> Batch:
    nothing = np.empty((0, about["axes"]))
    id, parents = np.empty(0, np.int32), np.empty((0, 1), np.int32)
    nobody = _genomes([], about["genome"])
    return Batch(id, nobody, parents, [], np.empty(0, "<U14"), nothing[:, 0], nothing, nothing, [])


def _genomes(stored: Sequence[Any], kind: Mapping[str, Any]) -> Genomes:
    if kind["kind"] == "array":
        dtype, shape = np.dtype(kind["dtype"]), tuple(kind["shape"])
        return np.frombuffer(b"".join(stored), dtype).reshape(len(stored), *shape)
    return [json.loads(genome) for genome in stored] if kind["kind"] == "json" else list(stored)

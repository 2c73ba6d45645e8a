"""Texts whose vectors point the same way."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from qdkit.features import grams
from qdkit.novelty.known import (
    Form,
    as_it_is,
    name_of,
    nothing_against,
    numbers,
    passed,
    rejected,
    remembering,
    standing,
)
from qdkit.record import Unanswered
from qdkit.types import Batch, Verdict

STAGE = "cosine"
Embed = Callable[[Sequence[str]], np.ndarray]


class Unlike:
    """A candidate is new if the cosine between its vector and every other's is below `cosine`.

    embed: n texts -> float `[n, k]`, such as a `qdkit.Embedder` or a local encoder; hashed n-grams
      where left out.
    cosine: the limit; that with the best F1 for hashed n-grams on the labelled pairs of `results/novelty`.
      What is near for other vectors is seen in `viz.novelty`.
    form: the text of a genome that is embedded; the genome itself where left out.

    A candidate is embedded once, before its evaluation; its vector (as float16) is in its notes,
    from where it is read at the commit and by a run that goes on. Only hashed n-grams, which cost
    nothing, are made again. Where the server of a model stays away the candidate passes. Numbers
    are always new.
    """

    def __init__(self, embed: Embed = grams, cosine: float = 0.97, form: Form | None = None):
        if not -1 < cosine <= 1:
            raise ValueError(f"cosine is a likeness above -1 and at most 1, not {cosine}: 1 rejects equals alone")
        self.cosine, self.form = float(cosine), remembering(form)
        self._embed = embed
        self._name = name_of(form or as_it_is)
        self._key = str(getattr(embed, "model", name_of(embed)))  # of its vectors in the notes
        self._ids: list[int] = []
        self._known = np.zeros((0, 0), np.float32)  # rows of length 1, with room for more

    def __repr__(self) -> str:
        return f"Unlike({self._key}, {self.cosine}, {self._name})"  # where a model is asked does not matter

    def new(self, batch: Batch, before: int) -> Verdict:
        """New: unlike every candidate with an id below `before`, and unlike the new rows above."""
        fresh, notes = nothing_against(batch)
        if numbers(batch):
            return Verdict(fresh, notes)
        try:
            written = self._written(batch)
        except Unanswered as why:
            return Verdict(fresh, [{"unanswered": str(why)}] * len(batch))
        vectors, n = self._read(batch, written), int(np.searchsorted(self._ids, before))
        for row, mine in enumerate(vectors):
            notes[row] = {"vectors": {self._key: written[row]}} if written[row] else {}
            above = np.flatnonzero(fresh[:row] & ~np.isnan(vectors[:row, 0]))
            if np.isnan(mine).any() or n + len(above) == 0:
                continue
            cosines = np.concatenate([self._known[:n] @ mine if n else [], vectors[above] @ mine])
            i = int(np.argmax(cosines))  # the first of equals
            likeness = min(1.0, float(cosines[i]))
            if likeness >= self.cosine:
                where = {"id": self._ids[i]} if i < n else {"row": int(above[i - n])}
                fresh[row], notes[row] = False, {**notes[row], **rejected(STAGE, likeness, self.cosine, where)}
            else:
                notes[row] = {**notes[row], **passed(STAGE, likeness)}
        return Verdict(fresh, notes)

    def learn(self, batch: Batch) -> None:
        """Remembers the candidates of a commit that were evaluated and are like no other."""
        rows = standing(batch)
        if numbers(batch) or not len(rows):
            return
        some = batch.take(rows)
        vectors = self._read(some, [self._noted(note) for note in some.notes])
        has = ~np.isnan(vectors).any(1)
        n, more = len(self._ids), int(has.sum())
        if n + more > len(self._known):
            room = np.zeros((max(64, 2 * (n + more)), vectors.shape[1]), np.float32)
            if n:
                room[:n] = self._known[:n]
            self._known = room
        self._known[n : n + more] = vectors[has]
        self._ids += some.id[has].tolist()

    def _written(self, batch: Batch) -> list[str]:
        """The vector of each row as the ledger keeps it, asked for before the commit; "" where there is none."""
        if self._embed is grams:
            return [""] * len(batch)
        known = [self._noted(note) for note in batch.notes]
        missing = [i for i, vector in enumerate(known) if not vector and batch.id[i] < 0]
        if missing:
            for i, vector in zip(missing, self._embed([self.form(batch.genome[i]) for i in missing]), strict=True):
                known[i] = base64.b64encode(np.asarray(vector, "<f2").tobytes()).decode()
        return known

    def _read(self, batch: Batch, written: Sequence[str]) -> np.ndarray:
        """float32 `[n, k]`, rows of length 1; nan where there is no vector."""
        if self._embed is grams:
            return _unit(grams([self.form(genome) for genome in batch.genome]))
        found = [np.frombuffer(base64.b64decode(vector), "<f2").astype(np.float32) for vector in written]
        width = max([1, self._known.shape[1], *map(len, found)])
        vectors = np.array([vector if len(vector) else np.full(width, np.nan) for vector in found], np.float32)
        vectors = vectors.reshape(len(batch), width)
        return _unit(vectors)

    def _noted(self, note: Mapping[str, Any]) -> str:
        return str(note.get("novelty", {}).get("vectors", {}).get(self._key, ""))


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

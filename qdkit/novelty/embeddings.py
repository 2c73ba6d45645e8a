"""A filter against texts whose embeddings have a high cosine similarity."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from qdkit.core.record import Unanswered
from qdkit.core.types import Batch, NoveltyVerdict
from qdkit.metrics.features import grams
from qdkit.novelty.candidates import (
    FormOf,
    all_new,
    as_it_is,
    cached_form,
    genomes_are_numbers,
    passed_note,
    rejected_note,
    rows_to_remember,
    stable_name,
)

_STAGE = "cosine"
_Embed = Callable[[Sequence[str]], np.ndarray]


class EmbeddingDistance:
    """Accepts a candidate if the cosine between its vector and every other's is below `cosine`.

    embed: n texts -> float `[n, k]`, such as a `qdkit.Embedder` or a local encoder; hashed n-grams
      by default.
    cosine: the limit; the default has the best F1 for hashed n-grams on the labelled pairs of
      `results/novelty`. `viz.novelty` shows which limit suits other vectors.
    form: maps a genome to the text that is embedded; by default the genome itself.

    A candidate is embedded once, before its evaluation. Its notes hold its vector (as float16), so
    that the commit and a resumed run read it from there. Only hashed n-grams, which cost nothing,
    are computed again. Where the server of a model does not answer, the candidate passes. Genomes
    of numbers are always new.
    """

    def __init__(self, embed: _Embed = grams, cosine: float = 0.97, form: FormOf | None = None):
        if not -1 < cosine <= 1:
            raise ValueError(
                f"cosine is a likeness above -1 and at most 1, not {cosine}: 1 rejects only equal "
                "vectors"
            )
        self.cosine, self.form = float(cosine), cached_form(form)
        self._embed = embed
        self._name = stable_name(form or as_it_is)
        # The key of its vectors in the notes.
        self._key = str(getattr(embed, "model", stable_name(embed)))
        self._ids: list[int] = []
        # Rows of length 1; those from `len(self._ids)` on are unused.
        self._known = np.zeros((0, 0), np.float32)

    def __repr__(self) -> str:
        # Runs on disk hold this text, so it leaves out the address of a server.
        return f"EmbeddingDistance({self._key}, {self.cosine}, {self._name})"

    def new(self, batch: Batch, before: int) -> NoveltyVerdict:
        """Compares each row with the ids below `before` and with the new rows above it."""
        fresh, notes = all_new(batch)
        if genomes_are_numbers(batch):
            return NoveltyVerdict(fresh, notes)
        try:
            encoded = self._encoded(batch)
        except Unanswered as error:
            return NoveltyVerdict(fresh, [{"unanswered": str(error)}] * len(batch))
        vectors, n = self._decoded(batch, encoded), int(np.searchsorted(self._ids, before))
        for row, mine in enumerate(vectors):
            notes[row] = {"vectors": {self._key: encoded[row]}} if encoded[row] else {}
            above = np.flatnonzero(fresh[:row] & ~np.isnan(vectors[:row, 0]))
            if np.isnan(mine).any() or n + len(above) == 0:
                continue
            cosines = np.concatenate([self._known[:n] @ mine if n else [], vectors[above] @ mine])
            i = int(np.argmax(cosines))  # the first of equals
            likeness = min(1.0, float(cosines[i]))
            if likeness >= self.cosine:
                where = {"id": self._ids[i]} if i < n else {"row": int(above[i - n])}
                fresh[row] = False
                rejection = rejected_note(_STAGE, likeness, self.cosine, where)
                notes[row] = {**notes[row], **rejection}
            else:
                notes[row] = {**notes[row], **passed_note(_STAGE, likeness)}
        return NoveltyVerdict(fresh, notes)

    def learn(self, batch: Batch) -> None:
        """Remembers the candidates of a commit that were evaluated and not rejected."""
        rows = rows_to_remember(batch)
        if genomes_are_numbers(batch) or not len(rows):
            return
        some = batch.take(rows)
        vectors = self._decoded(some, [self._from_note(note) for note in some.notes])
        has_vector = ~np.isnan(vectors).any(1)
        n, more = len(self._ids), int(has_vector.sum())
        if n + more > len(self._known):
            room = np.zeros((max(64, 2 * (n + more)), vectors.shape[1]), np.float32)
            if n:
                room[:n] = self._known[:n]
            self._known = room
        self._known[n : n + more] = vectors[has_vector]
        self._ids += some.id[has_vector].tolist()

    def _encoded(self, batch: Batch) -> list[str]:
        """Returns the vector of each row in base64, as the notes hold it; "" where there is none.

        Rows without a vector are embedded now, unless the batch is already committed.
        """
        if self._embed is grams:
            return [""] * len(batch)
        known = [self._from_note(note) for note in batch.notes]
        missing = [i for i, vector in enumerate(known) if not vector and batch.id[i] < 0]
        if missing:
            vectors = self._embed([self.form(batch.genome[i]) for i in missing])
            for i, vector in zip(missing, vectors, strict=True):
                known[i] = base64.b64encode(np.asarray(vector, "<f2").tobytes()).decode()
        return known

    def _decoded(self, batch: Batch, encoded: Sequence[str]) -> np.ndarray:
        """Returns float32 `[n, k]`, rows of length 1; nan where there is no vector."""
        if self._embed is grams:
            return _unit(grams([self.form(genome) for genome in batch.genome]))
        rows = [
            np.frombuffer(base64.b64decode(vector), "<f2").astype(np.float32) for vector in encoded
        ]
        width = max([1, self._known.shape[1], *map(len, rows)])
        filled = [vector if len(vector) else np.full(width, np.nan) for vector in rows]
        return _unit(np.array(filled, np.float32).reshape(len(batch), width))

    def _from_note(self, note: Mapping[str, Any]) -> str:
        """Returns the vector of this filter that a note holds, in base64, else ""."""
        return str(note.get("novelty", {}).get("vectors", {}).get(self._key, ""))


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Returns the rows scaled to length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

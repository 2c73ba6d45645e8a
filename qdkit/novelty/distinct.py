"""A filter against repeated candidates: those with the same form are the same."""

from __future__ import annotations

import numpy as np

from qdkit.core.jsonable import digest
from qdkit.core.types import Batch, NoveltyVerdict
from qdkit.novelty.candidates import (
    UNTRIED,
    FormOf,
    all_new,
    as_it_is,
    cached_form,
    genomes_are_numbers,
    rejected_note,
    stable_name,
)

_STAGE = "form"


class Distinct:
    """Accepts a candidate if no other candidate has the same form.

    form: maps a genome to the text that is compared; by default the genome itself, without
      whitespace around a text. Genomes of numbers are always new.
    """

    def __init__(self, form: FormOf | None = None):
        self.form = cached_form(form)
        self._name = stable_name(form or as_it_is)
        # The digest of a form -> the id of the first candidate that had it.
        self._first: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"Distinct({self._name})"

    def new(self, batch: Batch, before: int) -> NoveltyVerdict:
        """Compares each row with the ids below `before` and with the rows above it."""
        fresh, notes = all_new(batch)
        if genomes_are_numbers(batch):
            return NoveltyVerdict(fresh, notes)
        above: dict[str, int] = {}
        for row, form in enumerate(self._digests(batch)):
            id, twin = self._first.get(form, before), above.setdefault(form, row)
            if id < before:
                fresh[row], notes[row] = False, rejected_note(_STAGE, 1.0, 1.0, {"id": id})
            elif twin < row:
                fresh[row], notes[row] = False, rejected_note(_STAGE, 1.0, 1.0, {"row": twin})
        return NoveltyVerdict(fresh, notes)

    def learn(self, batch: Batch) -> None:
        """Remembers the candidates of a commit, except those with an `UNTRIED` outcome."""
        if not genomes_are_numbers(batch):
            tried = batch.take(~np.isin(batch.outcome, UNTRIED))
            for id, form in zip(tried.id.tolist(), self._digests(tried), strict=True):
                self._first.setdefault(form, id)

    def _digests(self, batch: Batch) -> list[str]:
        return [digest(self.form(genome)) for genome in batch.genome]

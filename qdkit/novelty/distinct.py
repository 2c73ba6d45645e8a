"""Nothing twice: candidates of one form are the same."""

from __future__ import annotations

import numpy as np

from qdkit.novelty.known import UNTRIED, Form, as_it_is, name_of, nothing_against, numbers, rejected, remembering
from qdkit.rows import digest
from qdkit.types import Batch, Verdict

STAGE = "form"


class Distinct:
    """Nothing twice: a candidate is new if no other has the same form.

    form: what of a genome counts, a text; the genome itself where left out, spaces around a text
      aside. Numbers, of which no two are equal, are always new.
    """

    def __init__(self, form: Form | None = None):
        self.form = remembering(form)
        self._name = name_of(form or as_it_is)
        self._first: dict[str, int] = {}  # digest of a form -> id of the first candidate that had it

    def __repr__(self) -> str:
        return f"Distinct({self._name})"

    def new(self, batch: Batch, before: int) -> Verdict:
        """New: unlike every candidate with an id below `before`, and unlike the rows above."""
        fresh, notes = nothing_against(batch)
        if numbers(batch):
            return Verdict(fresh, notes)
        above: dict[str, int] = {}
        for row, form in enumerate(self._digests(batch)):
            id, twin = self._first.get(form, before), above.setdefault(form, row)
            if id < before:
                fresh[row], notes[row] = False, rejected(STAGE, 1.0, 1.0, {"id": id})
            elif twin < row:
                fresh[row], notes[row] = False, rejected(STAGE, 1.0, 1.0, {"row": twin})
        return Verdict(fresh, notes)

    def learn(self, batch: Batch) -> None:
        """Remembers the candidates of a commit, but for those of which nobody knows what they are worth."""
        if not numbers(batch):
            tried = batch.take(~np.isin(batch.outcome, UNTRIED))
            for id, form in zip(tried.id.tolist(), self._digests(tried), strict=True):
                self._first.setdefault(form, id)

    def _digests(self, batch: Batch) -> list[str]:
        return [digest(self.form(genome)) for genome in batch.genome]

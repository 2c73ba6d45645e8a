"""Several filters, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qdkit.novelty.known import Form, nothing_against
from qdkit.types import Batch, Filter, Verdict


class Cascade:
    """A candidate is new if every stage says so; each is asked only about what passed those before it.

    stages: filters, the cheap ones first. Any object that is a `qdkit.types.Filter` will do.

    Raises ValueError for none.
    """

    def __init__(self, stages: Sequence[Filter]):
        if not stages:
            raise ValueError("a cascade has one stage or more: hand in novelty=None where everything is new")
        self.stages = tuple(stages)
        forms = (getattr(stage, "form", None) for stage in self.stages)
        self.form: Form | None = next((form for form in forms if form), None)  # what the cheapest takes for the same

    def __repr__(self) -> str:
        return f"Cascade({list(self.stages)!r})"

    def new(self, batch: Batch, before: int) -> Verdict:
        """New: for every stage."""
        fresh, notes = nothing_against(batch)
        for stage in self.stages:
            rows = np.flatnonzero(fresh)
            if len(rows):
                # What a stage embedded is there for the next, so that nobody pays for it twice.
                said = [
                    {**note, "novelty": more} if more else note for note, more in zip(batch.notes, notes, strict=True)
                ]
                shown = batch.replace(notes=said if batch.id[0] < 0 else batch.notes).take(rows)
                verdict = Verdict.of(stage.new(shown, before), len(rows)).among(rows, len(batch))
                fresh &= verdict.new
                notes = [Verdict.joined(note, more) for note, more in zip(notes, verdict.notes, strict=True)]
        return Verdict(fresh, notes)

    def learn(self, batch: Batch) -> None:
        """Tells every stage of a commit."""
        for stage in self.stages:
            stage.learn(batch)

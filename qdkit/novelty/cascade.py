"""Several novelty filters in sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qdkit.core.types import Batch, Filter, NoveltyVerdict
from qdkit.novelty.candidates import FormOf, all_new


class Cascade:
    """Accepts a candidate if every stage does; a stage sees only what passed the previous ones.

    stages: filters, the cheap ones first. Any object that is a `qdkit.core.types.Filter` will do.

    Raises ValueError if there are no stages.
    """

    def __init__(self, stages: Sequence[Filter]):
        if not stages:
            raise ValueError(
                "a cascade has one stage or more: hand in Steering(novelty=None) where everything "
                "is new"
            )
        self.stages = tuple(stages)
        forms = (getattr(stage, "form", None) for stage in self.stages)
        # The form of the first stage that has one, which is the cheapest.
        self.form: FormOf | None = next((form for form in forms if form), None)

    def __repr__(self) -> str:
        return f"Cascade({list(self.stages)!r})"

    def new(self, batch: Batch, before: int) -> NoveltyVerdict:
        """Returns the verdict of all stages: a row is new if it is new for every one."""
        fresh, notes = all_new(batch)
        for stage in self.stages:
            rows = np.flatnonzero(fresh)
            if len(rows):
                stage_input = _with_notes(batch, notes).take(rows)
                stage_verdict = NoveltyVerdict.of(stage.new(stage_input, before), len(rows))
                verdict = stage_verdict.among(rows, len(batch))
                fresh &= verdict.new
                notes = [
                    NoveltyVerdict.joined(note, more)
                    for note, more in zip(notes, verdict.notes, strict=True)
                ]
        return NoveltyVerdict(fresh, notes)

    def learn(self, batch: Batch) -> None:
        """Hands the candidates of a commit to every stage."""
        for stage in self.stages:
            stage.learn(batch)


def _with_notes(batch: Batch, notes: Sequence[Mapping[str, Any]]) -> Batch:
    """Returns proposals with the notes of earlier stages, so that no embedding is paid for twice.

    Candidates that have an id are returned as they are: their notes are complete.
    """
    if batch.id[0] >= 0:
        return batch
    return batch.replace(
        notes=[
            {**note, "novelty": more} if more else note
            for note, more in zip(batch.notes, notes, strict=True)
        ]
    )

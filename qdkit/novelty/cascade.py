"""Several filters, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
                verdict = Verdict.of(stage.new(batch.take(rows), before), len(rows)).among(rows, len(batch))
                fresh &= verdict.new
                notes = [_both(note, more) for note, more in zip(notes, verdict.notes, strict=True)]
        return Verdict(fresh, notes)

    def learn(self, batch: Batch) -> None:
        """Tells every stage of a commit."""
        for stage in self.stages:
            stage.learn(batch)


def _both(note: Mapping[str, Any], more: Mapping[str, Any]) -> Mapping[str, Any]:
    """The notes of two stages as one."""
    if "passed" in note and "passed" in more:
        more = {**more, "passed": {**note["passed"], **more["passed"]}}
    return {**note, **more}

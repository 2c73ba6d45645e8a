"""What can be looked at, of a search at work and of a run on disk alike: history, summary, tables, the best."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qdkit import metrics
from qdkit.elites import Elites
from qdkit.ledger import Ledger
from qdkit.plain import to_json
from qdkit.rows import Commit
from qdkit.types import Batch, Candidate, Genome

if TYPE_CHECKING:
    import pandas


class Seen:
    """A search or a run, to its readers."""

    domain: Any  # None where a run's domain is not one of the toolkit's own
    archive: Any  # None likewise
    ledger: Ledger
    commits: list[Commit]
    floor: float

    @property
    def elites(self) -> Elites:
        """The best candidate of each cell, as numpy arrays (float64)."""
        raise NotImplementedError

    @property
    def pool(self) -> Batch:
        """The elites as candidates, in the order of their cells."""
        return self.ledger.take(self._ids())

    @property
    def best(self) -> Candidate | None:
        """The candidate with the highest objective; None while there is no elite."""
        elites = self.elites
        if not elites.occupied.any():
            return None
        return self.ledger.take([elites.payload["id"][np.argmax(elites.objective)]])[0]

    @property
    def history(self) -> dict[str, np.ndarray]:
        """How the run stood after each step: arrays of equal length, one for each number that is kept.

        `evaluations`, `clipped`, `refused`, `seconds` and `cpu` count from the beginning.
        """
        columns = zip(*self.commits, strict=True) if self.commits else [()] * len(Commit._fields)
        return {name: np.array(column) for name, column in zip(Commit._fields, columns, strict=True)}

    def genome(self, id: int) -> Genome:
        """One candidate's genome. Raises KeyError for an id that the run does not have."""
        return self.ledger.genome(id)

    def export_answers(self, path: str | Path) -> None:
        """Writes all answers of models as lines of JSON, from which `qdkit.Recorded` plays them.

        There are no keys, addresses or times in it, and a second export of the same run is the same file.
        """
        names = ("task", "call", "request", "answer")
        rows = (
            {**dict(zip(names, row, strict=True)), "answer": {**row[3], "seconds": 0.0}}
            for row in self.ledger.answers()
        )
        half = Path(path).with_name(Path(path).name + ".part")
        half.write_text("".join(to_json(row) + "\n" for row in rows), encoding="utf-8")
        half.replace(path)

    def summary(self) -> dict[str, Any]:
        """How the run stands, as one flat mapping of plain numbers and texts."""
        last = self.commits[-1] if self.commits else Commit(-1, 0, 0, 0, 0.0, 0.0, np.nan, 0, 0, 0.0, 0.0)
        elites = self.elites
        spent = self.ledger.spent()
        return {
            "evaluations": last.evaluations,
            "steps": len(self.commits),
            "seconds": round(last.seconds, 3),
            "cpu_seconds": round(last.cpu, 3),
            "cells": len(elites.objective) // elites.depth,
            "occupied": metrics.occupied(elites),
            "coverage": metrics.coverage(elites),
            "qd_score": metrics.qd_score(elites, self.floor),
            "floor": self.floor,
            "best_objective": metrics.best(elites),
            "mean_objective": metrics.mean_objective(elites),
            "clipped": last.clipped,
            "refused": last.refused,
            "calls": spent.calls,
            "tokens": spent.tokens,
            "dollars": spent.dollars,
            "outcomes": self.ledger.outcomes(),
            "errors": self.ledger.errors(),
            **{kind: value["level"] for _, kind, value in self.ledger.events() if kind == "sandbox"},
        }

    def elites_frame(self) -> pandas.DataFrame:
        """The elites as a pandas table, one row each in the order of their cells."""
        frame = self._frame(self.pool)
        elites = self.elites
        frame.insert(1, "cell", np.flatnonzero(elites.occupied) // elites.depth)
        return frame

    def candidates_frame(self) -> pandas.DataFrame:
        """Every candidate that the run has tried, also those that failed, as a pandas table."""
        return self._frame(
            self.ledger.take(np.arange(self.commits[-1].first + self.commits[-1].rows if self.commits else 0))
        )

    def __repr__(self) -> str:
        about, last = self.ledger.about, self.commits[-1] if self.commits else None
        what = about["domain"]["is"].rpartition(":")[2]
        stands = (
            f"coverage {last.coverage:.1%}, QD score {last.qd_score:.6g}, best {last.best:.6g}"
            if last
            else "nothing yet"
        )
        return f"<{type(self).__name__} of {what}: {last.evaluations if last else 0:,} evaluations, {stands}>"

    def _ids(self) -> np.ndarray:
        elites = self.elites
        return np.asarray(elites.payload["id"])[np.asarray(elites.occupied)]

    def _frame(self, batch: Batch) -> pandas.DataFrame:
        import pandas

        columns: dict[str, Any] = {
            "id": batch.id,
            "origin": batch.origin,
            "outcome": batch.outcome,
            "objective": batch.objective,
        }
        names = getattr(self.archive, "names", ()) or [f"descriptor {i}" for i in range(batch.descriptor.shape[1])]
        columns |= {self._free(name, columns): batch.descriptor[:, i] for i, name in enumerate(names)}
        if isinstance(batch.genome, np.ndarray) and batch.genome.ndim == 2:
            columns |= {f"genome_{i}": batch.genome[:, i] for i in range(batch.genome.shape[1])}
        else:
            columns["genome"] = list(batch.genome)
        columns["parents"] = [candidate.parents for candidate in batch]
        columns["notes"] = batch.notes
        return pandas.DataFrame(columns)

    @staticmethod
    def _free(name: str, taken: Mapping[str, Any]) -> str:
        return f"{name} (descriptor)" if name in taken else name

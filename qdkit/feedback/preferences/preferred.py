"""Judges made of tastes: how much a candidate would be liked, from its features or marks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import jax
import numpy as np

from qdkit.core.stages import features
from qdkit.core.types import Batch, Judge, Judgement, Key, Outcome
from qdkit.feedback.panel import complete_judgement, merge_notes
from qdkit.feedback.preferences.bradley_terry import Taste
from qdkit.feedback.preferences.mixture import Tastes


@dataclass(frozen=True)
class Criteria:
    """Reads the features of each candidate from its notes: the marks for criteria, by name.

    names: the names of the criteria. A mark is a number under `notes[name]`, the value that the
      judge `name` gave, or the mark of a `Rubric` for the aspect `name`; nan if there is none.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))

    def __call__(self, batch: Batch) -> np.ndarray:
        """Returns float `[n, criteria]`."""
        return np.array(
            [[_mark(note, name) for name in self.names] for note in batch.notes]
        ).reshape(len(batch), -1)


@dataclass(frozen=True)
class Preferred:
    """A judge: the score of a candidate by a taste, in standard deviations of what was compared.

    0 is the average of what people compared. The notes have the spread of the score over the
    bootstrap, and with several groups the score of each: if the spread is large, ask people about
    that candidate.

    taste: a `Taste`, or the `Tastes` of several groups.
    by: with several groups, "mean" is their mean weighted by size, and "worst" the score of the
      group that likes it least.
    read: returns the features `[n, f]` of a batch, those that the taste was fitted to. The default
      reads what the domain measured; others are `Criteria(names)` or any function of a batch.
    first: judges that are asked before, and whose marks `Criteria` reads.

    It never changes: after more comparisons, fit again and make another. A candidate with an
    unknown feature is `INVALID`.
    """

    taste: Taste | Tastes
    by: Literal["mean", "worst"] = "mean"
    read: Callable[[Batch], np.ndarray] = features
    first: Sequence[Judge] = ()
    name: str = "preferred"

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", tuple(self.first))
        if self.by not in ("mean", "worst"):
            raise ValueError(
                f'a candidate is judged by the "mean" of the groups or by the "worst", not by '
                f"{self.by!r}"
            )

    @property
    def models(self) -> tuple[Any, ...]:
        """The models that the judges of `first` ask."""
        return tuple(chain.from_iterable(getattr(judge, "models", ()) for judge in self.first))

    def __call__(self, key: Key, batch: Batch) -> Judgement:
        """Returns the score of each candidate."""
        first_notes, failed = self._judged_first(key, batch)
        merged = [
            merge_notes(dict(old), new) for old, new in zip(batch.notes, first_notes, strict=True)
        ]
        inputs = self.read(batch.replace(notes=merged))
        groups = np.array([group.score(inputs) for group in self._groups])
        value = self._over_groups(groups[None])[0]
        heads = self._over_groups(
            np.array([group.scores(inputs) for group in self._groups]).swapaxes(0, 1)
        )
        spread = heads.std(0) if len(heads) else np.full(len(batch), np.nan)
        known = np.isfinite(value)
        own_notes = self._notes(value, spread, groups)
        notes = [merge_notes(old, new) for old, new in zip(first_notes, own_notes, strict=True)]
        unknown = np.where(failed, Outcome.INFRASTRUCTURE, Outcome.INVALID)
        outcome = np.where(known, Outcome.OK, unknown)
        return Judgement(value, known.astype(int), notes, outcome=outcome.astype("<U14"))

    @property
    def _groups(self) -> tuple[Taste, ...]:
        return (self.taste,) if isinstance(self.taste, Taste) else self.taste.groups

    def _over_groups(self, scores: np.ndarray) -> np.ndarray:
        """Returns float `[k, n]` of scores `[k, groups, n]`."""
        if self.by == "worst":
            return np.asarray(scores.min(1))
        share = np.ones(1) if isinstance(self.taste, Taste) else self.taste.share
        return np.einsum("g,kgn->kn", share, scores)

    def _judged_first(
        self, key: Key, batch: Batch
    ) -> tuple[Sequence[Mapping[str, Any]], np.ndarray]:
        """Returns the notes of the judges of `first`, and bool `[n]`, where a server failed."""
        notes: list[Mapping[str, Any]] = [{}] * len(batch)
        failed = np.zeros(len(batch), bool)
        for number, judge in enumerate(self.first):
            judgement = complete_judgement(judge, jax.random.fold_in(key, number), batch)
            notes = [
                merge_notes(old, new)
                for old, new in zip(notes, judgement.notes or (), strict=True)
            ]
            failed |= np.asarray(judgement.outcome) == Outcome.INFRASTRUCTURE
        return notes, failed

    def _notes(
        self, value: np.ndarray, spread: np.ndarray, groups: np.ndarray
    ) -> Iterator[Mapping[str, Any]]:
        """Yields the notes on each candidate, with the error if there is one."""
        by = str(self.taste)
        for score, sd, each in zip(
            value.tolist(), spread.tolist(), groups.T.tolist(), strict=True
        ):
            note: dict[str, Any] = {"value": score, "spread": sd, "by": by}
            if len(each) > 1:
                note["groups"] = each
            error = {}
            if not np.isfinite(score):
                error["error"] = f"{self.name}: one of its features is not known"
            yield {"judged": {self.name: note | error}, **error}


def for_each_group(tastes: Tastes, **settings: Any) -> tuple[Preferred, ...]:
    """Returns a judge for each group, the largest group first, so that each gets its own map.

    settings: those of `Preferred`.

        judges = for_each_group(fit)
        maps = [Search(domain, archive, operator, judge=judge).run(200) for judge in judges]
    """
    named = enumerate(tastes.groups, 1)
    return tuple(
        Preferred(taste, **{"name": f"preferred by group {number}", **settings})
        for number, taste in named
    )


def _mark(note: Mapping[str, Any], name: str) -> float:
    """Returns the mark for a criterion, nan if there is none."""
    judged = note.get("judged", {})
    marks = [note.get(name), judged.get(name, {}).get("value")]
    marks += [
        entry.get("scores", {}).get(name)
        for entry in judged.values()
        if isinstance(entry.get("scores"), Mapping)
    ]
    return next((float(mark) for mark in marks if isinstance(mark, int | float)), np.nan)

"""Judges made of tastes: how much a candidate would be liked, from its features or from marks that others gave it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import jax
import numpy as np

from qdkit.feedback.panel import judgement_of, together
from qdkit.preferences.bradley_terry import Taste
from qdkit.preferences.mixture import Tastes
from qdkit.stages import features
from qdkit.types import Batch, Judge, Judgement, Key, Outcome


@dataclass(frozen=True)
class Criteria:
    """Reads the features of each candidate from its notes: the marks that a judge or the domain gave it by name.

    names: of criteria. A mark is a number under `notes[name]`, what the judge `name` said, or the mark of a `Rubric`
      for the aspect `name`; nan where there is none.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))

    def __call__(self, batch: Batch) -> np.ndarray:
        """float `[n, criteria]`."""
        return np.array([[_mark(note, name) for name in self.names] for note in batch.notes]).reshape(len(batch), -1)


@dataclass(frozen=True)
class Preferred:
    """A judge: the score of a candidate by a taste, in standard deviations of what was compared.

    0 is the average of what people compared. The spread of the score over the bootstrap is in the notes, and
    with several groups the score of each: where the spread is large, ask about that candidate.

    taste: a `Taste`, or the `Tastes` of several groups.
    by: of several groups, their mean weighted by size, or the one that likes it least ("worst").
    read: features `[n, f]` from a batch, those that the taste was fitted to: what the domain measured where left
      out, `Criteria(names)`, or any function of the candidates.
    first: judges who are asked before, and whose marks `Criteria` reads.

    It never changes: after more comparisons, fit again and make another. A candidate of which a feature is not known
    is `INVALID`.
    """

    taste: Taste | Tastes
    by: Literal["mean", "worst"] = "mean"
    read: Callable[[Batch], np.ndarray] = features
    first: Sequence[Judge] = ()
    name: str = "preferred"

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", tuple(self.first))
        if self.by not in ("mean", "worst"):
            raise ValueError(f'a candidate is judged by the "mean" of the groups or by the "worst", not by {self.by!r}')

    @property
    def models(self) -> tuple[Any, ...]:
        """Whom it asks."""
        return tuple(chain.from_iterable(getattr(judge, "models", ()) for judge in self.first))

    def __call__(self, key: Key, batch: Batch) -> Judgement:
        """The score of each candidate."""
        told, failed = self._asked(key, batch)
        noted = [together(dict(old), new) for old, new in zip(batch.notes, told, strict=True)]
        found = self.read(batch.replace(notes=noted))
        groups = np.array([group.score(found) for group in self._groups])
        value = self._over_groups(groups[None])[0]
        heads = self._over_groups(np.array([group.scores(found) for group in self._groups]).swapaxes(0, 1))
        spread = heads.std(0) if len(heads) else np.full(len(batch), np.nan)
        known = np.isfinite(value)
        notes = [together(old, new) for old, new in zip(told, self._notes(value, spread, groups), strict=True)]
        outcome = np.where(known, Outcome.OK, np.where(failed, Outcome.INFRASTRUCTURE, Outcome.INVALID))
        return Judgement(value, known.astype(int), notes, outcome=outcome.astype("<U14"))

    @property
    def _groups(self) -> tuple[Taste, ...]:
        return (self.taste,) if isinstance(self.taste, Taste) else self.taste.groups

    def _over_groups(self, scores: np.ndarray) -> np.ndarray:
        """float `[k, n]` of scores `[k, groups, n]`."""
        if self.by == "worst":
            return np.asarray(scores.min(1))
        share = np.ones(1) if isinstance(self.taste, Taste) else self.taste.share
        return np.einsum("g,kgn->kn", share, scores)

    def _asked(self, key: Key, batch: Batch) -> tuple[Sequence[Mapping[str, Any]], np.ndarray]:
        """What those who are asked first say of each, and bool `[n]`, whether one of them was not there."""
        told: list[Mapping[str, Any]] = [{}] * len(batch)
        failed = np.zeros(len(batch), bool)
        for number, judge in enumerate(self.first):
            said = judgement_of(judge, jax.random.fold_in(key, number), batch)
            told = [together(old, new) for old, new in zip(told, said.notes or (), strict=True)]
            failed |= np.asarray(said.outcome) == Outcome.INFRASTRUCTURE
        return told, failed

    def _notes(self, value: np.ndarray, spread: np.ndarray, groups: np.ndarray) -> Iterator[Mapping[str, Any]]:
        """What is judged of each candidate, and the error if there is one."""
        by = str(self.taste)
        for score, sd, each in zip(value.tolist(), spread.tolist(), groups.T.tolist(), strict=True):
            note = {"value": score, "spread": sd, "by": by} | ({"groups": each} if len(each) > 1 else {})
            error = {} if np.isfinite(score) else {"error": f"{self.name}: one of its features is not known"}
            yield {"judged": {self.name: note | error}, **error}


def for_each_group(tastes: Tastes, **settings: Any) -> tuple[Preferred, ...]:
    """A judge for each group, so that each gets a map of its own; the largest group first.

    Settings are those of `Preferred`.

        maps = [Search(domain, archive, operator, judge=judge).run(200) for judge in for_each_group(found)]
    """
    named = enumerate(tastes.groups, 1)
    return tuple(Preferred(taste, **{"name": f"preferred by group {number}", **settings}) for number, taste in named)


def _mark(note: Mapping[str, Any], name: str) -> float:
    """The mark for a criterion, nan where there is none."""
    judged = note.get("judged", {})
    found = [note.get(name), judged.get(name, {}).get("value")]
    found += [said.get("scores", {}).get(name) for said in judged.values() if isinstance(said.get("scores"), Mapping)]
    return next((float(mark) for mark in found if isinstance(mark, int | float)), np.nan)

"""Combinations of judges: a chain of fallbacks, and a panel of one judge for each column."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import jax
import numpy as np

from qdkit.core.record import Unanswered
from qdkit.core.types import Batch, Judge, Judgement, Key, Outcome
from qdkit.feedback.pointwise import judge_kind
from qdkit.llm import Unable


@dataclass(frozen=True)
class Fallback:
    """The first of several judges that has an answer, for each candidate separately.

    judges: the most trusted first, such as `Probability`, `Rating` and a measure without a model.
      They have the same name. Values in other bounds are scaled to those of the first:
      (v - low) / (high - low).

    A judge whose server lacks what it needs (log-probabilities) is skipped; if it is the last one,
    the run stops. The notes of a candidate have the judge that answered, and under `before` why
    the others did not.
    """

    judges: Sequence[Any]

    def __post_init__(self) -> None:
        if not self.judges:
            raise ValueError("a chain of judges has at least one judge")
        object.__setattr__(self, "judges", tuple(self.judges))
        for judge in self.judges[1:]:
            if judge_name(judge) != self.name:
                raise ValueError(
                    f"the judges of a chain judge the same: one is of {self.name} and one of "
                    f"{judge_name(judge)}"
                )
            _check_alike(self.judges[0], judge)

    @property
    def name(self) -> str:
        """What is judged."""
        return judge_name(self.judges[0])

    @property
    def bounds(self) -> Any:
        """The bounds of the first judge."""
        return judge_bounds(self.judges[0])

    @property
    def models(self) -> tuple[Any, ...]:
        """The models that the judges ask."""
        return tuple(chain.from_iterable(getattr(judge, "models", ()) for judge in self.judges))

    def __call__(self, key: Key, batch: Batch) -> Judgement:
        """Returns the judgement of each candidate."""
        n = len(batch)
        value, count = np.full(n, np.nan), np.zeros(n, int)
        outcome = np.full(n, Outcome.INVALID, "<U14")
        notes: list[Mapping[str, Any]] = [{}] * n
        missing, lost = np.arange(n), np.zeros(n, bool)
        for number, judge in enumerate(self.judges):
            if not len(missing):
                break
            judge_key = jax.random.fold_in(key, number)
            judgement = self._judgement(number, judge_key, batch.take(missing))
            value[missing] = self._in_bounds(judge, judgement.value)
            count[missing], outcome[missing] = judgement.count, judgement.outcome
            for i, note in zip(missing, judgement.notes or (), strict=True):
                notes[i] = _with_earlier(notes[i], note, self.name)
            # An answer may be that no label fits, so the count decides and not the value.
            missing = missing[count[missing] == 0]
            lost[missing] |= outcome[missing] == Outcome.INFRASTRUCTURE
        outcome[missing[lost[missing]]] = Outcome.INFRASTRUCTURE
        return Judgement(value, count, notes, outcome=outcome)

    def _judgement(self, number: int, key: Key, batch: Batch) -> Judgement:
        judge = self.judges[number]
        try:
            return complete_judgement(judge, key, batch)
        except Unable as error:
            if judge is self.judges[-1]:
                raise
            entry = {"value": math.nan, "by": judge_kind(judge), "error": str(error)}
            return Judgement(
                np.full(len(batch), np.nan),
                np.zeros(len(batch), int),
                [{"judged": {self.name: entry}}] * len(batch),
                outcome=np.full(len(batch), Outcome.INVALID, "<U14"),
            )

    def _in_bounds(self, judge: Any, value: np.ndarray) -> np.ndarray:
        """Returns values of a judge, scaled to the bounds of the first."""
        to, of = self.bounds, judge_bounds(judge)
        if to is None or of is None or to == of:
            return value
        return to[0] + (value - of[0]) * (to[1] - to[0]) / (of[1] - of[0])


@dataclass(frozen=True)
class Panel:
    """One judge for the objective and one for each axis; axes read their values as features.

    quality: judges how good a candidate is; if None, the objective is the domain's.
    axes: one judge for each axis, in the archive's order. A candidate without a value on some axis
      has no place in the archive, and does not enter.

        tone = Probability(model, "Is it glad or sad? {genome}", "tone", yes="glad", no="sad")
        panel = Panel(Rating(model, "How good is this? {genome}"), (tone,))
        grid = Grid((20,), panel.bounds, names=panel.names)
        Search(domain, grid, operator, judge=panel)

    The judges of the axes are asked only about candidates that have an objective.
    """

    quality: Judge | None
    axes: Sequence[Judge]

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(self.axes))
        names = [judge_name(judge) for judge in (self.quality, *self.axes) if judge is not None]
        if len(set(names)) < len(names):
            raise ValueError(
                f"each judge of a panel has a name of its own, and these are {', '.join(names)}"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the axes."""
        return tuple(map(judge_name, self.axes))

    @property
    def bounds(self) -> tuple[Any, ...]:
        """The bounds of the axes, as a `Grid` takes them.

        Raises ValueError for a judge that has none.
        """
        for judge in self.axes:
            if judge_bounds(judge) is None:
                raise ValueError(
                    f"the judge of {judge_name(judge)} has no bounds: give the archive's yourself"
                )
        return tuple(map(judge_bounds, self.axes))

    @property
    def models(self) -> tuple[Any, ...]:
        """The models that the judges ask."""
        return tuple(
            chain.from_iterable(
                getattr(judge, "models", ()) for judge in (self.quality, *self.axes)
            )
        )

    def __call__(self, key: Key, batch: Batch) -> Judgement:
        """Returns the judgement of each candidate, with a feature for each axis."""
        n = len(batch)
        quality = (
            _domain_judgement(batch)
            if self.quality is None
            else complete_judgement(self.quality, key, batch)
        )
        notes, outcome = list(quality.notes or ()), np.array(quality.outcome, "<U14")
        features = np.full((n, len(self.axes)), np.nan)
        known = np.flatnonzero(np.isfinite(quality.value))
        for axis, judge in enumerate(self.axes):
            if not len(known):
                break
            placed = complete_judgement(
                judge, jax.random.fold_in(key, axis + 1), batch.take(known)
            )
            features[known, axis] = placed.value
            failed = np.asarray(placed.outcome) != Outcome.OK
            outcome[known[failed]] = np.asarray(placed.outcome)[failed]
            for i, note in zip(known, placed.notes or (), strict=True):
                notes[i] = merge_notes(notes[i], note)
        return Judgement(quality.value, quality.count, notes, features, outcome)


def complete_judgement(judge: Judge, key: Key, batch: Batch) -> Judgement:
    """Returns a judge's judgement of a batch, with all columns filled.

    That holds also for a judge that returns its values alone, or raises Unanswered.
    """
    n, name = len(batch), judge_name(judge)
    try:
        judgement = judge(key, batch)
    except Unanswered as error:
        note = {
            "judged": {name: {"value": math.nan, "error": str(error)}},
            "error": f"{name}: {error}",
        }
        lost = np.full(n, Outcome.INFRASTRUCTURE, "<U14")
        return Judgement(np.full(n, np.nan), 0, [note] * n, outcome=lost)
    if not isinstance(judgement, Judgement):
        values = np.asarray(judgement, float)
        judgement = Judgement(values, np.isfinite(values).astype(int))
    value = np.asarray(judgement.value, float)
    notes: Sequence[Mapping[str, Any]]
    notes = judgement.notes or [
        {"judged": {name: {"value": v, "by": judge_kind(judge)}}} for v in value.tolist()
    ]
    missing = np.where(np.isnan(value), Outcome.INVALID, Outcome.OK)
    outcome = missing if judgement.outcome is None else np.asarray(judgement.outcome)
    count = np.broadcast_to(judgement.count, n)
    return Judgement(value, count, notes, judgement.features, outcome.astype("<U14"))


def judge_name(judge: Any) -> str:
    """Returns the name of what a judge judges; for a plain function, its own name."""
    return str(
        getattr(judge, "name", None) or getattr(judge, "__name__", type(judge).__name__.lower())
    )


def judge_bounds(judge: Any) -> Any:
    """Returns the bounds of a judge's values, or the labels that they number; None if unknown."""
    return getattr(judge, "bounds", None)


def _domain_judgement(batch: Batch) -> Judgement:
    """Returns the objectives of the domain as a judgement."""
    return Judgement(
        batch.objective, 1, [{}] * len(batch), outcome=np.full(len(batch), Outcome.OK, "<U14")
    )


def merge_notes(notes: Mapping[str, Any], more: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the notes of two judges together; of two errors, the first."""
    return {**more, **notes, "judged": {**notes.get("judged", {}), **more.get("judged", {})}}


def _with_earlier(
    notes: Mapping[str, Any], more: Mapping[str, Any], name: str
) -> Mapping[str, Any]:
    """Returns the notes `more` of the judge that was asked next.

    Those of the judges before it, in `notes`, are under `before`.
    """
    earlier = notes.get("judged", {}).get(name)
    if earlier is None:
        return more
    before = [
        *earlier.get("before", ()),
        {k: v for k, v in earlier.items() if k in ("by", "model", "error", "said", "mass")},
    ]
    judged = more.get("judged", {})
    return {**more, "judged": {**judged, name: {**judged.get(name, {}), "before": before}}}


def _check_alike(first: Any, other: Any) -> None:
    """Raises ValueError unless both have the same labels, or both have numbers."""
    one, two = judge_bounds(first), judge_bounds(other)
    labels = lambda bounds: bounds is not None and isinstance(bounds[0], str)
    if (labels(one) or labels(two)) and one != two:
        raise ValueError(
            f"the judges of {judge_name(first)} answer in different labels, {one} and {two}: give "
            f"them the same"
        )

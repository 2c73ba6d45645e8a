"""Judges together: one in the place of another that has no answer, and one for the quality with others for the axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import jax
import numpy as np

from qdkit.feedback.asking import by
from qdkit.record import Unanswered
from qdkit.types import Batch, Judge, Judgement, Key, Outcome


@dataclass(frozen=True)
class Fallback:
    """The first of several judges that has an answer, for each candidate by itself.

    judges: the most trusted first, such as `Probability`, `Rating` and a measure without a model. They
      have one name. Values in other bounds are brought into those of the first: (v - low) / (high - low).

    The notes of a candidate tell which of them judged it, and under `before` why the others did not.
    """

    judges: Sequence[Any]

    def __post_init__(self) -> None:
        if not self.judges:
            raise ValueError("a chain of judges has at least one judge")
        object.__setattr__(self, "judges", tuple(self.judges))
        for judge in self.judges[1:]:
            if name_of(judge) != self.name:
                raise ValueError(
                    f"the judges of a chain judge the same: one is of {self.name} and one of {name_of(judge)}"
                )
            _check_alike(self.judges[0], judge)

    @property
    def name(self) -> str:
        """What is judged."""
        return name_of(self.judges[0])

    @property
    def bounds(self) -> Any:
        """Those of the first judge."""
        return bounds_of(self.judges[0])

    @property
    def models(self) -> tuple[Any, ...]:
        """Whom they ask."""
        return tuple(chain.from_iterable(getattr(judge, "models", ()) for judge in self.judges))

    def __call__(self, key: Key, batch: Batch) -> Judgement:
        """The judgement of each candidate."""
        n = len(batch)
        value, count, outcome = np.full(n, np.nan), np.zeros(n, int), np.full(n, Outcome.INVALID, "<U14")
        notes: list[Mapping[str, Any]] = [{}] * n
        missing, lost = np.arange(n), np.zeros(n, bool)
        for number, judge in enumerate(self.judges):
            if not len(missing):
                break
            said = judgement_of(judge, jax.random.fold_in(key, number), batch.take(missing))
            value[missing] = self._in_bounds(judge, said.value)
            count[missing], outcome[missing] = said.count, said.outcome
            for i, told in zip(missing, said.notes or (), strict=True):
                notes[i] = _after(notes[i], told, self.name)
            missing = missing[count[missing] == 0]  # an answer may be that no label fits
            lost[missing] |= outcome[missing] == Outcome.INFRASTRUCTURE
        outcome[missing[lost[missing]]] = Outcome.INFRASTRUCTURE
        return Judgement(value, count, notes, outcome=outcome)

    def _in_bounds(self, judge: Any, value: np.ndarray) -> np.ndarray:
        """Values of a judge in the bounds of the first."""
        mine, its = self.bounds, bounds_of(judge)
        if mine is None or its is None or mine == its:
            return value
        return mine[0] + (value - its[0]) * (mine[1] - mine[0]) / (its[1] - its[0])


@dataclass(frozen=True)
class Panel:
    """One judge for the objective and one for each axis, whose values are the features that axes read.

    quality: who judges how good a candidate is; where None, the domain says it.
    axes: who judges of what kind it is, one for each axis in the archive's order. A candidate of which an
      axis is not known has no place, and does not enter.

        tone = Probability(model, "Is this glad or sad? {genome}", yes="glad", no="sad", name="tone")
        panel = Panel(Rating(model, "How good is this? {genome}"), (tone,))
        Search(domain, Grid((20,), panel.bounds, names=panel.names), operator, judge=panel)

    Axes are asked about what has an objective alone.
    """

    quality: Judge | None
    axes: Sequence[Judge]

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(self.axes))
        names = [name_of(judge) for judge in (self.quality, *self.axes) if judge is not None]
        if len(set(names)) < len(names):
            raise ValueError(f"each judge of a panel has a name of its own, and these are {', '.join(names)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the axes."""
        return tuple(map(name_of, self.axes))

    @property
    def bounds(self) -> tuple[Any, ...]:
        """Of the axes, as a `Grid` takes them. Raises ValueError for a judge that does not say its own."""
        for judge in self.axes:
            if bounds_of(judge) is None:
                raise ValueError(f"the judge of {name_of(judge)} has no bounds: give the archive's yourself")
        return tuple(map(bounds_of, self.axes))

    @property
    def models(self) -> tuple[Any, ...]:
        """Whom they ask."""
        return tuple(chain.from_iterable(getattr(judge, "models", ()) for judge in (self.quality, *self.axes)))

    def __call__(self, key: Key, batch: Batch) -> Judgement:
        """The judgement of each candidate, with a feature for each axis."""
        n = len(batch)
        said = _given(batch) if self.quality is None else judgement_of(self.quality, key, batch)
        notes, outcome = list(said.notes or ()), np.array(said.outcome, "<U14")
        features = np.full((n, len(self.axes)), np.nan)
        known = np.flatnonzero(np.isfinite(said.value))
        for axis, judge in enumerate(self.axes):
            if not len(known):
                break
            placed = judgement_of(judge, jax.random.fold_in(key, axis + 1), batch.take(known))
            features[known, axis] = placed.value
            failed = np.asarray(placed.outcome) != Outcome.OK
            outcome[known[failed]] = np.asarray(placed.outcome)[failed]
            for i, told in zip(known, placed.notes or (), strict=True):
                notes[i] = together(notes[i], told)
        return Judgement(said.value, said.count, notes, features, outcome)


def judgement_of(judge: Judge, key: Key, batch: Batch) -> Judgement:
    """What a judge says of a batch, with all columns filled, also where it gives its values alone or has no answer."""
    n, name = len(batch), name_of(judge)
    try:
        said = judge(key, batch)
    except Unanswered as why:
        notes = [{"judged": {name: {"value": math.nan, "error": str(why)}}, "error": f"{name}: {why}"}] * n
        return Judgement(np.full(n, np.nan), 0, notes, outcome=np.full(n, Outcome.INFRASTRUCTURE, "<U14"))
    if not isinstance(said, Judgement):
        said = Judgement(np.asarray(said, float), np.isfinite(np.asarray(said, float)).astype(int))
    value = np.asarray(said.value, float)
    said_of: Sequence[Mapping[str, Any]]
    said_of = said.notes or [{"judged": {name: {"value": v, "by": by(judge)}}} for v in value.tolist()]
    missing = np.where(np.isnan(value), Outcome.INVALID, Outcome.OK)
    outcome = missing if said.outcome is None else np.asarray(said.outcome)
    return Judgement(value, np.broadcast_to(said.count, n), said_of, said.features, outcome.astype("<U14"))


def name_of(judge: Any) -> str:
    """What a judge judges; its own name, for a plain function."""
    return str(getattr(judge, "name", None) or getattr(judge, "__name__", type(judge).__name__.lower()))


def bounds_of(judge: Any) -> Any:
    """Between which numbers its values lie, or which labels they number; None where it does not say."""
    return getattr(judge, "bounds", None)


def _given(batch: Batch) -> Judgement:
    """What the domain said, as a judgement."""
    return Judgement(batch.objective, 1, [{}] * len(batch), outcome=np.full(len(batch), Outcome.OK, "<U14"))


def together(notes: Mapping[str, Any], more: Mapping[str, Any]) -> Mapping[str, Any]:
    """The notes of two judges; the first error is the one that is told."""
    return {**more, **notes, "judged": {**notes.get("judged", {}), **more.get("judged", {})}}


def _after(notes: Mapping[str, Any], more: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The notes of the judge that was asked next; what the ones before said of the same is kept under `before`."""
    was = notes.get("judged", {}).get(name)
    if was is None:
        return more
    before = [*was.get("before", ()), {k: v for k, v in was.items() if k in ("by", "model", "error", "said", "mass")}]
    return {
        **more,
        "judged": {**more.get("judged", {}), name: {**more.get("judged", {}).get(name, {}), "before": before}},
    }


def _check_alike(first: Any, other: Any) -> None:
    """Both have labels, and the same, or both have numbers."""
    mine, its = bounds_of(first), bounds_of(other)
    labels = lambda bounds: bounds is not None and isinstance(bounds[0], str)
    if (labels(mine) or labels(its)) and mine != its:
        raise ValueError(
            f"the judges of {name_of(first)} answer in different labels, {mine} and {its}: give them the same"
        )

"""Runs beside each other at equal evaluations, equal calls and equal CPU time, with their spread over seeds.

The candidates of every run are put once more into one archive, the map, so that coverage and QD
score mean the same for all, whatever archive each was searched with. Runs that differ in nothing
but their seed are a `Group`: what is said of it is the median over its runs, and the least and the most.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from qdkit import metrics
from qdkit.baselines import Single
from qdkit.elites import NOWHERE, Archive, double
from qdkit.seen import Diversity, Seen

COSTS = {"evaluations": "evaluations", "calls": "calls of models", "cpu": "CPU seconds"}
MEASURES = {"best": "best objective", "qd_score": "QD score", "coverage": "coverage"}
SAME = ("domain", "judge", "axes_from", "axes", "floor")  # what makes objectives and descriptors mean the same
TOLD_FIRST = {"operator": 0, "archive": 1, "batch": 2}
FOLLOWS = {"seed", "cells", "genome"}  # from what is told
ENOUGH = 5  # runs of a group from which an interval is worth its name
RESAMPLES = 10_000
MOST = 256  # elites of a run whose diversity is compared: the cost grows with their cube
CHUNK = 4096  # descriptors whose cells are looked up at once, so that jax compiles once for all runs

History = Mapping[str, np.ndarray]


class Spread(NamedTuple):
    """The median over the runs of a group, and the least and the most; nan where a run had nothing yet."""

    median: float
    least: float
    most: float


class Difference(NamedTuple):
    """By how much the median of one group exceeds another's, with 95 % bootstrap bounds; nan below `ENOUGH` runs."""

    group: str
    other: str
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone.

    name: what distinguishes it from the other groups.
    runs: their folders, "" for one in memory. seeds: theirs.
    histories: a mapping as of `replayed` for each run.
    """

    name: str
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    histories: tuple[History, ...]

    def at(self, cost: str, most: float) -> dict[str, np.ndarray]:
        """Each measure of each run, float `[runs]`, at no more than `most` of a cost; nan before its first step."""
        steps = [np.searchsorted(history[cost], most, side="right") - 1 for history in self.histories]
        pairs = list(zip(self.histories, steps, strict=True))
        return {name: np.array([h[name][i] if i >= 0 else np.nan for h, i in pairs]) for name in MEASURES}


@dataclass(frozen=True)
class Comparison:
    """Groups of runs, and in which they differ.

    archive: the map into which all candidates were put.
    remarks: sentences that a reader of the numbers must know.
    """

    archive: Archive
    groups: tuple[Group, ...]
    remarks: tuple[str, ...]

    def equal(self, cost: str) -> float:
        """The most of a cost that every run has spent; 0 where one spent none."""
        return min(float(history[cost][-1]) for group in self.groups for history in group.histories)

    def spreads(self, cost: str) -> dict[str, dict[str, Spread]]:
        """group -> measure -> its spread, where all have spent `equal(cost)`."""
        most = self.equal(cost)
        return {g.name: {m: spread(values) for m, values in g.at(cost, most).items()} for g in self.groups}

    def differences(self, cost: str) -> dict[str, list[Difference]]:
        """measure -> how each group differs from the first, where all have spent `equal(cost)`."""
        first, *others = ((group, group.at(cost, self.equal(cost))) for group in self.groups)
        name, values = first[0].name, first[1]
        return {m: [Difference(g.name, name, *exceeds(found[m], values[m])) for g, found in others] for m in MEASURES}

    def plain(self) -> dict[str, Any]:
        """All numbers as one mapping; an interval is left out where there is none."""
        shown = [cost for cost in COSTS if self.equal(cost) > 0]
        spreads = {cost: self.spreads(cost) for cost in shown}
        return {
            "map": {"is": type(self.archive).__name__, "cells": self.archive.cells},
            "groups": {group.name: {"runs": group.runs, "seeds": group.seeds} for group in self.groups},
            "remarks": self.remarks,
            "at": {
                cost: {
                    "equal": self.equal(cost),
                    "groups": {g: {m: s._asdict() for m, s in found.items()} for g, found in spreads[cost].items()},
                    "differences": {m: [d._asdict() for d in found] for m, found in self.differences(cost).items()},
                }
                for cost in shown
            },
        }


def compared(runs: Sequence[Seen], archive: Archive | None = None) -> Comparison:
    """The runs in groups, in the order in which each group first comes.

    archive: the map; where left out, the first archive of a run that is not one cell for all.

    Raises ValueError for runs that searched different things, have no steps, or an archive unknown here.
    """
    _check(runs)
    archive = _map(runs) if archive is None else archive
    settings = [{name: value for name, value in run.ledger.about.items() if name != "seed"} for run in runs]
    kinds = [one for i, one in enumerate(settings) if one not in settings[:i]]
    groups = []
    for name, kind in zip(_names(kinds), kinds, strict=True):
        mine = [run for run, one in zip(runs, settings, strict=True) if one == kind]
        seeds = tuple(int(run.ledger.about["seed"]) for run in mine)
        paths = tuple(str(run.ledger.path or "") for run in mine)
        groups.append(Group(name, paths, seeds, tuple(replayed(run, archive) for run in mine)))
    return Comparison(archive, tuple(groups), tuple(_remarks(groups, runs)))


def diversity(runs: Sequence[Seen]) -> list[Diversity]:
    """How different the elites of each run are, as the run stands: at equal n, and numbers in one unit for all.

    n is the number of elites of the run that has the fewest, `MOST` at most. This is no measure of `Comparison`,
    which tells of every step: it would take the genomes of the elites of each.

    Raises ValueError for runs that searched different things, or have no steps.
    """
    _check(runs)
    n = min(MOST, *(metrics.occupied(run.elites) for run in runs))
    numbers = [np.asarray(genome) for run in runs if isinstance(genome := run.pool.genome, np.ndarray)]
    return [run.diversity(n, np.concatenate(numbers) if numbers else None) for run in runs]


def replayed(run: Seen, archive: Archive) -> History:
    """How `archive` fills with the candidates of a run: arrays with an entry for each of its steps.

    evaluations, calls, seconds, cpu: spent so far. A call is counted at the step that asked; `cpu`
      is in seconds, of the search's process, compiling included, and of what was spent outside it as
      far as `notes["cpu_seconds"]` of the candidates says so.
    best, qd_score, coverage: as of `qdkit.metrics`, best by best in each cell.
    """
    steps = len(run.commits)
    if "compiled" in run.ledger.about:
        return _compiled(run, archive)
    _, task, objective, descriptor = run.ledger.trials()
    cell = _cells(archive, descriptor)
    gain, new, held = np.zeros(steps), np.zeros(steps), dict[int, float]()
    for t, c, value in zip(task.tolist(), cell.tolist(), objective.tolist(), strict=True):
        if c != NOWHERE and value > held.get(c, -np.inf):
            gain[t] += value - held.get(c, run.floor)
            new[t] += c not in held
            held[c] = value
    belongs = cell != NOWHERE
    best = np.full(steps, -np.inf)
    np.maximum.at(best, task[belongs], objective[belongs])
    best = np.maximum.accumulate(best)
    known = {name: run.history[name] for name in ("evaluations", "seconds", "cpu")}
    return known | {
        "calls": np.cumsum(_by_step(run.ledger.calls(), steps)),
        "cpu": known["cpu"] + np.cumsum(_by_step(run.ledger.outside_cpu(), steps)),
        "best": np.where(np.isfinite(best), best, np.nan),
        "qd_score": np.cumsum(gain),
        "coverage": np.cumsum(new) / archive.cells,
    }


def _compiled(run: Seen, archive: Archive) -> History:
    """How a compiled run filled its own archive; raises ValueError for another, as it kept no candidates."""
    if run.archive != archive:
        raise ValueError(
            f"{run!r} was compiled and kept no candidates, so it can be compared in the archive alone that it filled"
        )
    names = ("evaluations", "seconds", "cpu", "best", "qd_score", "coverage")
    return {**{name: run.history[name] for name in names}, "calls": np.zeros(len(run.commits))}


def spread(values: np.ndarray) -> Spread:
    """Of one number for each run; nan if one of them is nan."""
    return Spread(float(np.median(values)), float(values.min()), float(values.max()))


def exceeds(values: np.ndarray, others: np.ndarray) -> tuple[float, float, float]:
    """The difference of the medians, and 95 % of it by the percentile bootstrap (Efron & Tibshirani 1993, ch. 13).

    The bounds are nan where one of the groups has fewer than `ENOUGH` runs or a nan. The same values give the
    same bounds.
    """
    difference = float(np.median(values) - np.median(others))
    if min(len(values), len(others)) < ENOUGH or not np.isfinite(difference):
        return difference, np.nan, np.nan
    random = np.random.default_rng(0)
    again = lambda given: np.median(given[random.integers(len(given), size=(RESAMPLES, len(given)))], axis=1)
    low, high = np.quantile(again(values) - again(others), (0.025, 0.975))
    return difference, float(low), float(high)


def _check(runs: Sequence[Seen]) -> None:
    """Refuses what cannot be compared."""
    if not runs:
        raise ValueError("name at least one run to compare")
    first, *others = (run.ledger for run in runs)
    for other in others:
        for name in SAME:
            if other.about[name] != first.about[name]:
                raise ValueError(
                    f"{_called(first)} has {name} = {first.about[name]!s:.200} and {_called(other)} "
                    f"{other.about[name]!s:.200}: "
                    "their numbers do not mean the same, so compare runs of one domain, judge and axes"
                )
    for run in runs:
        if not run.commits:
            raise ValueError(f"{_called(run.ledger)} has no steps yet: there is nothing to compare")


def _map(runs: Sequence[Seen]) -> Archive:
    for run in runs:
        if run.archive is None:
            raise ValueError(
                f"{_called(run.ledger)} has an archive that is not the toolkit's own: "
                "compare in Python, comparison.compared(runs, archive)"
            )
    whole = [run.archive for run in runs if not isinstance(run.archive, Single)]
    return (whole[0] if whole else runs[0].archive.archive).map


def _names(kinds: Sequence[Mapping[str, Any]]) -> list[str]:
    """The operator of each of the settings, and whatever else distinguishes it from the others."""
    told = sorted(set(kinds[0]) - FOLLOWS, key=lambda name: (TOLD_FIRST.get(name, len(TOLD_FIRST)), name))
    differ = [name for name in told if name == "operator" or any(kind[name] != kinds[0][name] for kind in kinds)]
    words = zip(*(_words(name, [kind[name] for kind in kinds]) for name in differ), strict=True)
    names = [", ".join(parts) for parts in words]
    return [name if names.count(name) == 1 else f"{name} #{i}" for i, name in enumerate(names, 1)]


def _words(name: str, values: Sequence[Any]) -> list[str]:
    """Each value of a setting in words: a part by its class, and with its settings where the class is not enough."""
    if not all(isinstance(value, Mapping) and "is" in value for value in values):
        return [f"{name.replace('_', ' ')} {value}" for value in values]
    return [textwrap.shorten(_part(value, values), 60) for value in values]


def _part(value: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> str:
    """A part with those settings that it does not share with all others of its class."""
    kind = value["is"].rpartition(":")[2]
    alike = [other for other in others if other["is"] == value["is"]]
    if all(other == value for other in alike):
        return kind
    if "with" not in value:
        return str(value["repr"])
    settings = {k: v for k, v in value["with"].items() if any(other["with"][k] != v for other in alike)}
    return f"{kind}({', '.join(f'{k}={v}' for k, v in settings.items())})"


def _remarks(groups: Sequence[Group], runs: Sequence[Seen]) -> list[str]:
    said = []
    for group in groups:
        if len(group.seeds) == 1:
            said.append(f"{group.name}: one run only, so nothing is known of its spread")
        elif len(set(group.seeds)) < len(group.seeds):
            said.append(f"{group.name}: two runs have the same seed, and may be one run twice")
    archives = [run.ledger.about["archive"] for run in runs]
    if any(archive != archives[0] for archive in archives):
        said.append("the archives differ: every candidate was put once more into the map, best by best in each cell")
    without = [g.name for g in groups if any(history["calls"][-1] == 0 for history in g.histories)]
    if 0 < len(without) < len(groups):
        said.append(f"no model was asked in {', '.join(without)}: calls are not compared")
    if any(min(len(a.seeds), len(b.seeds)) < ENOUGH for a, b in itertools.combinations(groups, 2)):
        said.append(f"an interval of a difference takes {ENOUGH} runs of each group")
    return said


def _cells(archive: Archive, descriptor: np.ndarray) -> np.ndarray:
    """int `[m]`: the cell of each."""
    m = len(descriptor)
    padded = np.pad(descriptor, ((0, -m % CHUNK), (0, 0)), constant_values=np.nan)
    with double():
        cells = [np.asarray(archive.cell(padded[i : i + CHUNK])) for i in range(0, len(padded), CHUNK)]
    return np.concatenate([np.empty(0, np.int32), *cells])[:m]


def _by_step(counts: Mapping[int, float], steps: int) -> np.ndarray:
    """float `[steps]`; what tasks used that are not committed yet is left out."""
    return np.array([counts.get(step, 0) for step in range(steps)], np.float64)


def _called(ledger: Any) -> str:
    return str(ledger.path or "a run in memory")

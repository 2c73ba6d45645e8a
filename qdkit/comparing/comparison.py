"""Comparison of runs at equal evaluations, calls and CPU time, with their spread over seeds.

The candidates of every run are inserted into one archive, the map, so that coverage and QD score
are comparable between runs with different archives. Runs that differ only in their seed are a
`Group`, which has the median, the minimum and the maximum over its runs.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from qdkit import metrics
from qdkit.comparing.baselines import Single
from qdkit.core.describe import comparable
from qdkit.core.elites import NOWHERE, Archive, double
from qdkit.core.jsonable import decode_nonfinite
from qdkit.runs.alerts import objectives_below
from qdkit.runs.view import Diversity, RunView

COSTS = {"evaluations": "evaluations", "calls": "calls of models", "cpu": "CPU seconds"}
COMPARED_MEASURES = {"best": "best objective", "qd_score": "QD score", "coverage": "coverage"}
# Settings that all runs must share, or objectives and descriptors are not comparable.
_SHARED = ("domain", "judge", "axes_from", "axes", "floor")
_FIRST_IN_NAMES = {"operator": 0, "archive": 1, "batch": 2}  # the order in the name of a group
_NOT_IN_NAMES = {"seed", "cells", "genome"}  # other settings determine these, except the seed
ENOUGH_RUNS = 5  # the least number of runs of a group for an interval
_RESAMPLES = 10_000
_MAX_ELITES = 256  # for the diversity of a run, as the cost grows with the cube of their number
_CHUNK = 4096  # descriptors per call of `cell`, so that jax compiles once for all runs

_History = Mapping[str, np.ndarray]


class Spread(NamedTuple):
    """The median, minimum and maximum over the runs of a group; nan if a run has no value yet."""

    median: float
    least: float
    most: float


class Difference(NamedTuple):
    """The difference of the medians of two groups, with 95 % bootstrap bounds.

    The bounds are nan below `ENOUGH_RUNS` runs.
    """

    group: str
    other: str
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Group:
    """Runs that differ only in their seed.

    name: the settings that distinguish it from the other groups.
    runs: the folders of the runs, "" for a run in memory.
    seeds: the seeds of the runs.
    histories: for each run the mapping of `replay_history`.
    """

    name: str
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    histories: tuple[_History, ...]

    def at(self, cost: str, most: float) -> dict[str, np.ndarray]:
        """Returns each measure of each run, float `[runs]`, at no more than `most` of a cost.

        The value is nan before the first step of a run.
        """
        steps = [
            np.searchsorted(history[cost], most, side="right") - 1 for history in self.histories
        ]
        pairs = list(zip(self.histories, steps, strict=True))
        return {
            name: np.array([h[name][i] if i >= 0 else np.nan for h, i in pairs])
            for name in COMPARED_MEASURES
        }


@dataclass(frozen=True)
class Comparison:
    """Groups of runs with their numbers.

    archive: the map into which all candidates were inserted.
    remarks: sentences on the limits of the numbers.
    """

    archive: Archive
    groups: tuple[Group, ...]
    remarks: tuple[str, ...]

    def equal(self, cost: str) -> float:
        """Returns the most of a cost that every run has spent; 0 if a run has spent none."""
        return min(
            float(history[cost][-1]) for group in self.groups for history in group.histories
        )

    def spreads(self, cost: str) -> dict[str, dict[str, Spread]]:
        """Returns group -> measure -> its spread, where all have spent `equal(cost)`."""
        most = self.equal(cost)
        return {
            g.name: {m: _spread(values) for m, values in g.at(cost, most).items()}
            for g in self.groups
        }

    def differences(self, cost: str) -> dict[str, list[Difference]]:
        """Returns measure -> how each group differs from the first.

        All groups have spent `equal(cost)`.
        """
        most = self.equal(cost)
        (first, reference), *others = ((group, group.at(cost, most)) for group in self.groups)
        result: dict[str, list[Difference]] = {measure: [] for measure in COMPARED_MEASURES}
        for group, values in others:
            for measure, differences in result.items():
                bounds = difference_of_medians(values[measure], reference[measure])
                differences.append(Difference(group.name, first.name, *bounds))
        return result

    def plain(self) -> dict[str, Any]:
        """Returns all numbers as one mapping; the bounds of a missing interval are nan."""
        at: dict[str, Any] = {}
        for cost in COSTS:
            if self.equal(cost) <= 0:
                continue
            at[cost] = {
                "equal": self.equal(cost),
                "groups": {
                    group: {measure: spread._asdict() for measure, spread in spreads.items()}
                    for group, spreads in self.spreads(cost).items()
                },
                "differences": {
                    measure: [difference._asdict() for difference in differences]
                    for measure, differences in self.differences(cost).items()
                },
            }
        return {
            "map": {"is": type(self.archive).__name__, "cells": self.archive.cells},
            "groups": {
                group.name: {"runs": group.runs, "seeds": group.seeds} for group in self.groups
            },
            "remarks": self.remarks,
            "at": at,
        }


def compare_runs(runs: Sequence[RunView], archive: Archive | None = None) -> Comparison:
    """Compares runs in groups. A group has the position of its first run.

    archive: the map; if None, the first archive of a run that is not `Single`.

    Raises ValueError for runs of different problems, runs without steps, and runs with an archive
    that is not part of the toolkit.
    """
    _check(runs)
    archive = _map(runs) if archive is None else archive
    settings = [
        {name: value for name, value in run.ledger.about.items() if name != "seed"} for run in runs
    ]
    distinct = [one for i, one in enumerate(settings) if one not in settings[:i]]
    groups = []
    for name, shared in zip(_names(distinct), distinct, strict=True):
        members = [run for run, one in zip(runs, settings, strict=True) if one == shared]
        paths = tuple(str(run.ledger.path or "") for run in members)
        seeds = tuple(int(run.ledger.about["seed"]) for run in members)
        histories = tuple(replay_history(run, archive) for run in members)
        groups.append(Group(name, paths, seeds, histories))
    return Comparison(archive, tuple(groups), tuple(_remarks(groups, runs)))


def diversity(runs: Sequence[RunView]) -> list[Diversity]:
    """Returns the diversity of the present elites of each run, at equal n and in one unit.

    n is the number of elites of the run with the fewest, at most `_MAX_ELITES`. The diversity is
    no measure of `Comparison`, which has values for every step: that would take the genomes of the
    elites of every step.

    Raises ValueError for runs of different problems, and runs without steps.
    """
    _check(runs)
    n = min(_MAX_ELITES, *(metrics.occupied(run.elites) for run in runs))
    numbers = [
        np.asarray(genome) for run in runs if isinstance(genome := run.pool.genome, np.ndarray)
    ]
    return [run.diversity(n, np.concatenate(numbers) if numbers else None) for run in runs]


def replay_history(run: RunView, archive: Archive) -> _History:
    """Inserts the candidates of a run into `archive`. Returns arrays with an entry for each step.

    evaluations, calls, seconds, cpu: spent so far. A call counts at the step that made it. `cpu`
      is the CPU time in seconds of the search's process, with compilation, and of other processes
      as far as `notes["cpu_seconds"]` of the candidates has it.
    best, qd_score, coverage: as in `qdkit.metrics`, with the best candidate of each cell.
    below: the number of elites below the floor.
    lowest: the lowest objective of all elites so far that were below the floor; nan if there are
      none.
    """
    steps = len(run.commits)
    if "compiled" in run.ledger.about:
        return _compiled_history(run, archive)
    _, task, objective, descriptor = run.ledger.trials()
    cell = _cells(archive, descriptor)
    gain, new, elites = np.zeros(steps), np.zeros(steps), dict[int, float]()
    low, lowest = np.zeros(steps, int), np.full(steps, np.nan)
    for t, c, value in zip(task.tolist(), cell.tolist(), objective.tolist(), strict=True):
        if c != NOWHERE and value > elites.get(c, -np.inf):
            gain[t] += value - elites.get(c, run.floor)
            new[t] += c not in elites
            low[t] += int(value < run.floor) - int(elites.get(c, run.floor) < run.floor)
            lowest[t] = np.fmin(lowest[t], value if value < run.floor else np.nan)
            elites[c] = value
    in_map = cell != NOWHERE
    best = np.full(steps, -np.inf)
    np.maximum.at(best, task[in_map], objective[in_map])
    best = np.maximum.accumulate(best)
    costs = {name: run.history[name] for name in ("evaluations", "seconds", "cpu")}
    return costs | {
        "calls": np.cumsum(_by_step(run.ledger.calls(), steps)),
        "cpu": costs["cpu"] + np.cumsum(_by_step(run.ledger.outside_cpu(), steps)),
        "best": np.where(np.isfinite(best), best, np.nan),
        "qd_score": np.cumsum(gain),
        "coverage": np.cumsum(new) / archive.cells,
        "below": np.cumsum(low),
        "lowest": np.fmin.accumulate(lowest),
    }


def _compiled_history(run: RunView, archive: Archive) -> _History:
    """Returns the history of a compiled run in its own archive.

    Raises ValueError for another archive, as a compiled run stores no candidates.
    """
    if run.archive != archive:
        raise ValueError(
            f"{run!r} was compiled and kept no candidates, so it can be compared in the archive "
            "alone that it filled"
        )
    names = ("evaluations", "seconds", "cpu", "best", "qd_score", "coverage")
    low, steps = (
        objectives_below(run.elites.objective[:: run.elites.depth], run.floor),
        len(run.commits),
    )
    return {
        **{name: run.history[name] for name in names},
        "calls": np.zeros(steps),
        "below": np.full(steps, len(low)),
        "lowest": np.full(steps, low.min() if len(low) else np.nan),
    }


def _spread(values: np.ndarray) -> Spread:
    """Returns the spread of one number per run; nan if one of them is nan."""
    return Spread(float(np.median(values)), float(values.min()), float(values.max()))


def difference_of_medians(values: np.ndarray, others: np.ndarray) -> tuple[float, float, float]:
    """Returns the difference of the medians of two groups, and the bounds of its 95 % interval.

    The interval is that of the percentile bootstrap (Efron & Tibshirani 1993, ch. 13). The bounds
    are nan if a group has fewer than `ENOUGH_RUNS` runs or a nan. The same values have the same
    bounds.
    """
    difference = float(np.median(values) - np.median(others))
    if min(len(values), len(others)) < ENOUGH_RUNS or not np.isfinite(difference):
        return difference, np.nan, np.nan
    random = np.random.default_rng(0)

    def resampled_medians(group: np.ndarray) -> np.ndarray:
        rows = random.integers(len(group), size=(_RESAMPLES, len(group)))
        return np.median(group[rows], axis=1)

    differences = resampled_medians(values) - resampled_medians(others)
    low, high = np.quantile(differences, (0.025, 0.975))
    return difference, float(low), float(high)


def _check(runs: Sequence[RunView]) -> None:
    """Raises ValueError for runs that cannot be compared."""
    if not runs:
        raise ValueError("name at least one run to compare")
    first, *others = (run.ledger for run in runs)
    for other in others:
        for name in _SHARED:
            if comparable(other.about[name]) != comparable(first.about[name]):
                raise ValueError(
                    f"{_run_name(first)} has {name} = {first.about[name]!s:.200} and "
                    f"{_run_name(other)} {other.about[name]!s:.200}: their numbers do not mean "
                    "the same, so compare runs of one domain, judge and axes"
                )
    for run in runs:
        if not run.commits:
            raise ValueError(
                f"{_run_name(run.ledger)} has no steps yet: there is nothing to compare"
            )


def _map(runs: Sequence[RunView]) -> Archive:
    """Returns the map of the first archive that is not `Single`, or of the one inside it."""
    for run in runs:
        if run.archive is None:
            raise ValueError(
                f"{_run_name(run.ledger)} has an archive that is not the toolkit's own: "
                "compare in Python, comparison.compare_runs(runs, archive)"
            )
    archives = [run.archive for run in runs if not isinstance(run.archive, Single)]
    return (archives[0] if archives else runs[0].archive.archive).map


def _names(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns a name for each group: its operator, and the settings that differ."""
    order = lambda name: (_FIRST_IN_NAMES.get(name, len(_FIRST_IN_NAMES)), name)
    in_name = [
        name
        for name in sorted(set(groups[0]) - _NOT_IN_NAMES, key=order)
        if name == "operator" or any(group[name] != groups[0][name] for group in groups)
    ]
    values = (_setting_texts(name, [group[name] for group in groups]) for name in in_name)
    names = [", ".join(texts) for texts in zip(*values, strict=True)]
    return [name if names.count(name) == 1 else f"{name} #{i}" for i, name in enumerate(names, 1)]


def _setting_texts(name: str, values: Sequence[Any]) -> list[str]:
    """Returns a text for each value of a setting. That of a part is its class.

    Parts of one class have their settings in the text, too.
    """
    if not all(
        isinstance(value, Mapping) and isinstance(value.get("is"), str) for value in values
    ):
        return [f"{name.replace('_', ' ')} {value}" for value in values]
    return [textwrap.shorten(_part_text(value, values), 60) for value in values]


def _part_text(value: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> str:
    """Returns the class of a part, with the settings that differ from others of its class."""
    kind = value["is"].rpartition(":")[2]
    same_class = [other for other in others if other["is"] == value["is"]]
    if all(other == value for other in same_class):
        return kind
    known = [other["with"] for other in same_class if isinstance(other.get("with"), Mapping)]
    if len(known) < len(same_class):
        return str(value.get("repr", kind))
    settings = {k: v for k, v in value["with"].items() if any(each.get(k) != v for each in known)}
    return f"{kind}({', '.join(f'{k}={decode_nonfinite(v)}' for k, v in settings.items())})"


def _remarks(groups: Sequence[Group], runs: Sequence[RunView]) -> list[str]:
    """Returns sentences on the limits of the numbers of a comparison."""
    remarks = []
    for group in groups:
        if len(group.seeds) == 1:
            remarks.append(f"{group.name}: one run only, so nothing is known of its spread")
        elif len(set(group.seeds)) < len(group.seeds):
            remarks.append(f"{group.name}: two runs have the same seed, and may be one run twice")
    archives = [comparable(run.ledger.about["archive"]) for run in runs]
    if any(archive != archives[0] for archive in archives):
        remarks.append(
            "the archives differ: every candidate was put once more into the map, best by best in "
            "each cell"
        )
    without = [g.name for g in groups if any(history["calls"][-1] == 0 for history in g.histories)]
    if 0 < len(without) < len(groups):
        remarks.append(f"no model was asked in {', '.join(without)}: calls are not compared")
    pairs = itertools.combinations(groups, 2)
    if any(min(len(a.seeds), len(b.seeds)) < ENOUGH_RUNS for a, b in pairs):
        remarks.append(f"an interval of a difference takes {ENOUGH_RUNS} runs of each group")
    low = {g.name: sum(int(history["below"][-1]) for history in g.histories) for g in groups}
    if any(low.values()):
        least = np.nanmin([h["lowest"][-1] for g in groups for h in g.histories])
        where = ", ".join(f"{count:,} of {name}" for name, count in low.items() if count)
        remarks.append(
            f"elites lie below the floor, {runs[0].floor:g}: {where} (the lowest objective is "
            f"{least:.6g}). Each of them lowers the QD score, so a run that fills less of the map "
            "may have the higher one: compare coverage and best, or search again with a floor "
            "that no objective falls below"
        )
    return remarks


def _cells(archive: Archive, descriptor: np.ndarray) -> np.ndarray:
    """Returns int `[m]`: the cell of each descriptor."""
    m = len(descriptor)
    padded = np.pad(descriptor, ((0, -m % _CHUNK), (0, 0)), constant_values=np.nan)
    with double():
        cells = [
            np.asarray(archive.cell(padded[i : i + _CHUNK])) for i in range(0, len(padded), _CHUNK)
        ]
    return np.concatenate([np.empty(0, np.int32), *cells])[:m]


def _by_step(counts: Mapping[int, float], steps: int) -> np.ndarray:
    """Returns float `[steps]`; tasks that are not committed yet are left out."""
    return np.array([counts.get(step, 0) for step in range(steps)], np.float64)


def _run_name(ledger: Any) -> str:
    return str(ledger.path or "a run in memory")

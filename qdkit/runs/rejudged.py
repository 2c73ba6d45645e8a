"""Candidates that were judged again: their judgements, the elites by them, and what to believe.

A search that keeps the best also keeps the luckiest, so the scores that it reports are too high by
about the judge's error (`qdkit.metrics.judge_noise`). Two kinds of events hold further judgements.
`REEVALUATION_EVENT` is a re-evaluation within the search (see `qdkit.search.reevaluation`).
`JUDGED_AGAIN` is a judgement of an elite after the search, by the same judge or by another, which
no part of the search sees.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from qdkit.core.elites import Elites
from qdkit.core.run_files import DamagedRun
from qdkit.metrics import judge_noise
from qdkit.runs.rows import REEVALUATION_EVENT

if TYPE_CHECKING:
    from qdkit.runs.ledger import Ledger

JUDGED_AGAIN = "again"
OWN_JUDGE = ""  # the name of the search's own judge in `JUDGED_AGAIN` events


def judgements_by_candidate(ledger: Ledger) -> dict[int, list[float]]:
    """Returns all judgements that the search saw of each candidate that is ok, in order, by id.

    A judgement that was asked for and did not come is nan.
    """
    id, _, objective, _ = ledger.trials()
    judgements = {i: [value] for i, value in zip(id.tolist(), objective.tolist(), strict=True)}
    for _, kind, value in ledger.events():
        if kind == REEVALUATION_EVENT:
            for i, score, _ in value["looks"]:
                if i not in judgements:
                    raise DamagedRun(
                        f"{ledger.path}: candidate {i} was judged again, and never before"
                    )
                judgements[i].append(math.nan if score is None else score)
    return judgements


def later_judgements(ledger: Ledger) -> dict[str, dict[int, list[float]]]:
    """Returns the judgements after the search, by the name of the judge and the candidate's id."""
    scores: dict[str, dict[int, list[float]]] = {}
    for _, kind, value in ledger.events():
        if kind == JUDGED_AGAIN and value["value"] is not None:
            by_id = scores.setdefault(value["judge"], {})
            by_id.setdefault(value["id"], []).append(value["value"])
    return scores


def rejudged_summary(ledger: Ledger, elites: Elites, floor: float) -> dict[str, Any]:
    """Returns the entries of a summary about further judgements; {} where there are none.

    judgements: the number of judgements of all elites together.
    qd_score_shrunk: of the expected objectives of the elites, after `judge_noise.shrunk`; nan
      while no candidate was judged twice.
    qd_score_again: of the mean judgements of the search's own judge after the search.
    qd_score_held_out: of those of another judge, with its name as `held_out`.

    The last two leave out elites that were not judged again: each comes with an entry `..._of`
    that says how many elites it is about if these are not all.
    """
    best_slots = _best_slots(elites)
    ids = np.asarray(elites.payload["id"])[best_slots].tolist()
    objective = np.asarray(elites.objective, float)[best_slots]
    summary: dict[str, Any] = {}
    if "count" in elites.payload:
        count = np.asarray(elites.payload["count"])[best_slots]
        summary["judgements"] = int(count.sum())
        judgements = list(judgements_by_candidate(ledger).values())
        repeated = any(np.isfinite(values).sum() > 1 for values in judgements)
        if len(judgements) > 1 and repeated:
            expected = judge_noise.shrunk(
                objective, count, judge_noise.variance_components(judgements)
            )
        else:
            expected = np.full(len(objective), np.nan)
        summary["qd_score_shrunk"] = float((expected - floor).sum())
    for judge, scores in later_judgements(ledger).items():
        means = [np.mean(scores[i]) for i in ids if i in scores]
        if not means:
            continue
        name = "qd_score_again" if judge == OWN_JUDGE else "qd_score_held_out"
        summary |= {name: float(np.sum(np.array(means) - floor))}
        summary |= {} if judge == OWN_JUDGE else {"held_out": judge}
        if len(means) < len(ids):
            summary[f"{name}_of"] = f"{len(means)} of {len(ids)} elites"
    return summary


def reevaluated_elites(ledger: Ledger) -> Elites:
    """Returns the elites of a search with re-evaluation.

    A candidate holds a cell that it entered while it was empty, or that it won since.
    """
    about = ledger.about
    id, cell, objective, descriptor = ledger.entries()
    cells, axes = about["cells"], about["axes"]
    ids, count = np.full(cells, -1, np.int32), np.full(cells, -1, np.int32)
    best, place = np.full(cells, -np.inf), np.full((cells, axes), np.nan)
    results = [
        (after, value["cells"])
        for after, kind, value in ledger.events()
        if kind == REEVALUATION_EVENT
    ]
    commits, start = ledger.commits, 0
    for after, changed_cells in [*results, (len(commits), [])]:
        end = 0
        if after:
            last = commits[after - 1]
            end = int(np.searchsorted(id, last.first + last.rows))
        # The best of a batch comes last, and of equals the first: it overwrites the others.
        order = start + np.lexsort((-id[start:end], objective[start:end]))
        ids[cell[order]], best[cell[order]], count[cell[order]] = id[order], objective[order], 1
        place[cell[order]] = descriptor[order]
        start = end
        for changed, holder, mean, judgements, coordinates in changed_cells:
            ids[changed], count[changed] = holder, judgements
            best[changed] = -np.inf if mean is None else mean
            place[changed] = [math.nan if x is None else x for x in coordinates]
    return Elites(best, place, {"id": ids, "count": count})  # type: ignore[arg-type]


def reevaluation_results(ledger: Ledger, number: int) -> Mapping[str, Any]:
    """Returns the results of the re-evaluations of one commit.

    Raises KeyError where the commit has none.
    """
    for after, kind, value in ledger.events():
        if kind == REEVALUATION_EVENT and after == number + 1:
            results: Mapping[str, Any] = value
            return results
    raise KeyError(f"step {number} of {ledger.path} holds no re-evaluation")


def _best_slots(elites: Elites) -> np.ndarray:
    """Returns the slot of the best elite of each occupied cell."""
    slots = np.arange(0, len(elites.objective), elites.depth)
    return slots[np.asarray(elites.occupied)[slots]]

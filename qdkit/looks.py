"""Second looks: what was said of candidates that were judged again, and what can be believed of an archive's scores.

A search that keeps the best also keeps the luckiest, so what it reports is too high by about the judge's
error (`qdkit.noise`). Two kinds of events tell otherwise: `SETTLED`, of a challenge within the search (see
`qdkit.challenge`), and `AGAIN`, of elites that were judged once more afterwards, by the same judge or by another,
which no part of the search sees.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from qdkit import noise
from qdkit.elites import Elites
from qdkit.rows import SETTLED

if TYPE_CHECKING:
    from qdkit.ledger import Ledger

AGAIN = "again"
OWN = ""  # the name of the search's own judge among those that were asked again


def judgements(ledger: Ledger) -> dict[int, list[float]]:
    """All that the search was told of each candidate that is ok, the first judgement first; nan where none came."""
    id, _, objective, _ = ledger.trials()
    told = {i: [value] for i, value in zip(id.tolist(), objective.tolist(), strict=True)}
    for _, kind, value in ledger.events():
        if kind == SETTLED:
            for i, said, _ in value["looks"]:
                told[i].append(math.nan if said is None else said)
    return told


def again(ledger: Ledger) -> dict[str, dict[int, list[float]]]:
    """By judge, what was said of the candidates that were judged after the search."""
    found: dict[str, dict[int, list[float]]] = {}
    for _, kind, value in ledger.events():
        if kind == AGAIN and value["value"] is not None:
            found.setdefault(value["judge"], {}).setdefault(value["id"], []).append(value["value"])
    return found


def told(ledger: Ledger, elites: Elites, floor: float) -> dict[str, Any]:
    """What a summary says of the scores beside those that the search saw; nothing where nobody looked twice.

    judgements: how many the elites have together. qd_score_shrunk: of what is to be expected of the elites, after
      `noise.shrunk`; nan while nothing was judged twice. qd_score_again: of the means of what the judge said after
      the search; qd_score_held_out: of another judge, with its name as `held_out`. Of elites that nobody was asked of
      again these know nothing, so each comes with the number of those it is about if that is not all.
    """
    held = _firsts(elites)
    ids, seen = np.asarray(elites.payload["id"])[held].tolist(), np.asarray(elites.objective, float)[held]
    summary: dict[str, Any] = {}
    if "count" in elites.payload:
        count = np.asarray(elites.payload["count"])[held]
        summary["judgements"] = int(count.sum())
        known = list(judgements(ledger).values())
        enough = len(known) > 1 and any(np.isfinite(values).sum() > 1 for values in known)
        expected = noise.shrunk(seen, count, noise.parts(known)) if enough else np.full(len(seen), np.nan)
        summary["qd_score_shrunk"] = float((expected - floor).sum())
    for judge, said in again(ledger).items():
        means = [np.mean(said[i]) for i in ids if i in said]
        if not means:
            continue
        name = "qd_score_again" if judge == OWN else "qd_score_held_out"
        summary |= {name: float(np.sum(np.array(means) - floor))}
        summary |= {} if judge == OWN else {"held_out": judge}
        if len(means) < len(ids):
            summary[f"{name}_of"] = f"{len(means)} of {len(ids)} elites"
    return summary


def held(ledger: Ledger) -> Elites:
    """The elites of a search that challenges: who entered an empty cell, and who won it since."""
    about = ledger.about
    id, cell, objective, descriptor = ledger.entries()
    ids, count = np.full(about["cells"], -1, np.int32), np.full(about["cells"], -1, np.int32)
    best, place = np.full(about["cells"], -np.inf), np.full((about["cells"], about["axes"]), np.nan)
    settled = [(after, value["cells"]) for after, kind, value in ledger.events() if kind == SETTLED]
    commits, begun = ledger.commits, 0
    for after, cells in [*settled, (len(commits), [])]:
        upto = int(np.searchsorted(id, commits[after - 1].first + commits[after - 1].rows)) if after else 0
        order = begun + np.lexsort((-id[begun:upto], objective[begun:upto]))  # the best of a batch, the first of equals
        ids[cell[order]], best[cell[order]], count[cell[order]] = id[order], objective[order], 1
        place[cell[order]] = descriptor[order]
        begun = upto
        for where, who, mean, n, there in cells:
            ids[where], count[where] = who, n
            best[where] = -np.inf if mean is None else mean
            place[where] = [math.nan if x is None else x for x in there]
    return Elites(best, place, {"id": ids, "count": count})  # type: ignore[arg-type]


def settled(ledger: Ledger, number: int) -> Mapping[str, Any]:
    """What the challenges of one commit came to. Raises KeyError where it holds none."""
    for after, kind, value in ledger.events():
        if kind == SETTLED and after == number + 1:
            found: Mapping[str, Any] = value
            return found
    raise KeyError(f"step {number} of {ledger.path} holds no challenge")


def _firsts(elites: Elites) -> np.ndarray:
    """The places of the best of each cell that has any."""
    places = np.arange(0, len(elites.objective), elites.depth)
    return places[np.asarray(elites.occupied)[places]]

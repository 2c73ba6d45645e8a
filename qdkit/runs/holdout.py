"""Scores on held-out data: a validation split, and a test split (the lockbox) that is opened once.

A search overfits the data that it optimises on, so the scores that it saw are too high. A domain
with `at(level)` can score a candidate on data that the search never sees. No such score goes back
into the search, a prompt or the archive: each query is an event of the run, and `summary` shows
the gap. The highest validation score is itself selected by its value. The lockbox scores that one
candidate once, and this is the number to report (Dwork et al. 2015, The reusable holdout; Blum
and Hardt 2015, The Ladder).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from qdkit.core.evaluating import Failure, attempt
from qdkit.core.jsonable import as_jsonable, encode_nonfinite, nan_as_none
from qdkit.core.types import Batch, Domain, Evaluation, Genomes, Outcome
from qdkit.runs import sources

if TYPE_CHECKING:
    from qdkit.runs.ledger import Ledger

_LEVELS = ("validation", "lockbox")
_EVENT = "query"


class Query(NamedTuple):
    """The score of one candidate at one level, "validation" or "lockbox".

    searched: the objective that the search saw.
    objective: the objective at the level; nan where the evaluation failed.
    error: why it failed.
    """

    level: str
    id: int
    searched: float
    objective: float
    error: str = ""

    @property
    def gap(self) -> float:
        """By how much the search's objective exceeds that of the level."""
        return self.searched - self.objective

    @property
    def words(self) -> str:
        """The query as a sentence."""
        result = self.error if math.isnan(self.objective) else f"{self.objective:.6g}"
        return f"candidate {self.id}, {self.searched:.6g} in the search, had {result}"


def queries(ledger: Ledger, level: str) -> list[Query]:
    """Returns all queries of a level, in order."""
    events = [
        value for _, kind, value in ledger.events() if kind == _EVENT and value["level"] == level
    ]
    number = lambda x: math.nan if x is None else float(x)
    return [
        Query(level, v["id"], number(v["searched"]), number(v["objective"]), v["error"])
        for v in events
    ]


def query_level(ledger: Ledger, domain: Any, level: str, batch: Batch) -> list[Query]:
    """Scores the candidates of a batch at a level and returns the queries.

    Each query is an event of the ledger before it is returned.

    Raises ValueError for a domain that has no such level or whose data are not those of the run,
    RuntimeError where the sandbox broke.
    """
    if not len(batch):
        return []
    scores = _scores(_domain_at(ledger, domain, level), batch.genome)
    columns = zip(batch.id.tolist(), batch.objective.tolist(), scores, strict=True)
    made = [Query(level, id, searched, *score) for id, searched, score in columns]
    after = len(ledger.commits)
    for query in made:
        ledger.event(after, _EVENT, nan_as_none(query._asdict()))
    return made


def id_to_report(ledger: Ledger, best: int) -> int:
    """Returns the id of the candidate with the highest validation score.

    It is `best` where no candidate has one.
    """
    known = [query for query in queries(ledger, "validation") if math.isfinite(query.objective)]
    return max(known, key=lambda query: query.objective).id if known else best


def holdout_summary(ledger: Ledger, best: int | None) -> dict[str, Any]:
    """Returns the entries of a summary about held-out data; {} where there were no queries.

    They are about the search's best candidate, with the id `best`, and about the candidate with
    the highest validation score. A gap is the search's objective minus that of the level.
    """
    by_level = {level: {query.id: query for query in queries(ledger, level)} for level in _LEVELS}
    validation, lockbox = by_level.values()
    if best is None or not any(by_level.values()):
        return {}
    best_query, id = validation.get(best), id_to_report(ledger, best)
    counts = {level: len(by_id) for level, by_id in by_level.items()}
    summary: dict[str, Any] = {"queries": counts}
    if best_query is not None:
        summary |= {"best_validation": best_query.objective, "best_gap": best_query.gap}
    if id in validation:
        summary |= {"chosen": id, "chosen_objective": validation[id].searched}
        summary |= {
            "chosen_validation": validation[id].objective,
            "chosen_gap": validation[id].gap,
        }
    for query in lockbox.values():
        summary |= {"lockbox_of": query.id, "lockbox": query.objective, "lockbox_gap": query.gap}
    return summary


def _domain_at(ledger: Ledger, domain: Any, level: str) -> Domain:
    """Returns the domain with the data of a level, after checks that they are those of the run."""
    if domain is None:
        raise ValueError(
            "the run searched a domain of your own: hand it in, as a file is not trusted to name "
            "code"
        )
    if level not in getattr(domain, "levels", ()):
        raise ValueError(
            f"{type(domain).__name__} has no data for {level} (docs/new-domain.md says how to "
            "give it some)"
        )
    was = ledger.about["domain"].get("of", {}).get(level)
    now = as_jsonable(getattr(domain, level, None))
    if was is not None and was not in (encode_nonfinite(now), nan_as_none(now)):
        raise ValueError(
            f"the data for {level} is not what it was when the run began: hand in the domain as "
            "it was then"
        )
    sources.check_scores(ledger, domain)
    held_out: Domain = domain.at(level)
    return held_out


def _scores(domain: Domain, genomes: Genomes) -> list[tuple[float, str]]:
    """Returns (objective, error) of each genome."""
    tried = attempt(domain, genomes)
    return [_score(result, i) for rows, result in tried for i in range(rows.stop - rows.start)]


def _score(result: Evaluation | Failure, i: int) -> tuple[float, str]:
    """Returns (objective, error) of the candidate in row `i` of a result."""
    if isinstance(result, Failure):
        outcome, objective, error = result.outcome, math.nan, result.error
    else:
        outcome = Outcome.OK if result.outcome is None else Outcome(result.outcome[i])
        objective = math.nan if result.objective is None else float(result.objective[i])
        notes: Mapping[str, Any] = (result.notes and result.notes[i]) or {}
        error = str(notes.get("error", f"its objective is {objective}"))
    if outcome == Outcome.INFRASTRUCTURE:
        raise RuntimeError(f"nothing was asked, as the sandbox broke: {error}. Try again")
    if outcome == Outcome.OK and math.isfinite(objective):
        return objective, ""
    return math.nan, error

"""Three levels of score, where a domain has data: search, validation, and a lockbox that is opened once.

What a search climbs it also fits by chance, so the score that it saw says too much of its best. A
domain with `at(level)` can score a candidate on data that the search never sees. Nothing found
there goes back into the search, a prompt or the archive: each query is an event of the run, and
what `summary` shows is the gap. The highest of the validation scores is itself chosen by its
score; what the lockbox says of that one candidate is said once, and is the number to report
(Dwork et al. 2015, The reusable holdout; Blum and Hardt 2015, The Ladder).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from qdkit.flow import Failure, attempt
from qdkit.plain import plain
from qdkit.types import Batch, Domain, Evaluation, Genomes, Outcome

if TYPE_CHECKING:
    from qdkit.ledger import Ledger

LEVELS = ("validation", "lockbox")
_EVENT = "query"


class Query(NamedTuple):
    """What one candidate scored at one level.

    searched: the objective that the search saw; objective: that of the level, nan where it failed, with its `error`.
    """

    level: str
    id: int
    searched: float
    objective: float
    error: str = ""

    @property
    def gap(self) -> float:
        """How much the search said too much."""
        return self.searched - self.objective

    @property
    def words(self) -> str:
        """The query as a sentence."""
        failed = f"{self.error}" if math.isnan(self.objective) else f"{self.objective:.6g}"
        return f"candidate {self.id}, {self.searched:.6g} in the search, had {failed}"


def queries(ledger: Ledger, level: str) -> list[Query]:
    """All that was asked at a level, in order."""
    said = [value for _, kind, value in ledger.events() if kind == _EVENT and value["level"] == level]
    number = lambda x: math.nan if x is None else float(x)
    return [Query(level, v["id"], number(v["searched"]), number(v["objective"]), v["error"]) for v in said]


def asked(ledger: Ledger, domain: Any, level: str, batch: Batch) -> list[Query]:
    """What the candidates of a batch score at a level; each query is an event of the ledger before it is told.

    Raises ValueError for a domain that has no such level or other data than the run had, RuntimeError
    where the sandbox broke.
    """
    if not len(batch):
        return []
    scores = _scores(_at(ledger, domain, level), batch.genome)
    columns = zip(batch.id.tolist(), batch.objective.tolist(), scores, strict=True)
    found = [Query(level, id, searched, *score) for id, searched, score in columns]
    after = len(ledger.commits)
    for query in found:
        ledger.event(after, _EVENT, plain(query._asdict()))
    return found


def chosen(ledger: Ledger, best: int) -> int:
    """The id of the candidate to report: the highest validation score among those asked; `best` where none was."""
    known = [query for query in queries(ledger, "validation") if math.isfinite(query.objective)]
    return max(known, key=lambda query: query.objective).id if known else best


def told(ledger: Ledger, best: int | None) -> dict[str, Any]:
    """What a summary says of the levels: of the search's best, and of the candidate that validation chose.

    Nothing where nothing was asked. A gap is the search's score minus that of the level.
    """
    by_level = {level: {query.id: query for query in queries(ledger, level)} for level in LEVELS}
    validation, lockbox = by_level.values()
    if best is None or not any(by_level.values()):
        return {}
    of_best, id = validation.get(best), chosen(ledger, best)
    summary: dict[str, Any] = {"queries": {level: len(known) for level, known in by_level.items()}}
    if of_best is not None:
        summary |= {"best_validation": of_best.objective, "best_gap": of_best.gap}
    if id in validation:
        summary |= {"chosen": id, "chosen_objective": validation[id].searched}
        summary |= {"chosen_validation": validation[id].objective, "chosen_gap": validation[id].gap}
    for query in lockbox.values():
        summary |= {"lockbox_of": query.id, "lockbox": query.objective, "lockbox_gap": query.gap}
    return summary


def _at(ledger: Ledger, domain: Any, level: str) -> Domain:
    if domain is None:
        raise ValueError("the run searched a domain of your own: hand it in, as a file is not trusted to name code")
    if level not in getattr(domain, "levels", ()):
        raise ValueError(
            f"{type(domain).__name__} has no data for {level} (docs/new-domain.md says how to give it some)"
        )
    was = ledger.about["domain"].get("of", {}).get(level)
    if was is not None and plain(getattr(domain, level, None)) != was:
        raise ValueError(
            f"the data for {level} is not what it was when the run began: hand in the domain as it was then"
        )
    at: Domain = domain.at(level)
    return at


def _scores(domain: Domain, genomes: Genomes) -> list[tuple[float, str]]:
    """(objective, error) of each genome."""
    tried = attempt(domain, genomes)
    return [_score(found, i) for rows, found in tried for i in range(rows.stop - rows.start)]


def _score(found: Evaluation | Failure, i: int) -> tuple[float, str]:
    if isinstance(found, Failure):
        outcome, objective, error = found.outcome, math.nan, found.error
    else:
        outcome = Outcome.OK if found.outcome is None else Outcome(found.outcome[i])
        objective = math.nan if found.objective is None else float(found.objective[i])
        notes: Mapping[str, Any] = (found.notes and found.notes[i]) or {}
        error = str(notes.get("error", f"its objective is {objective}"))
    if outcome == Outcome.INFRASTRUCTURE:
        raise RuntimeError(f"nothing was asked, as the sandbox broke: {error}. Try again")
    return (objective, "") if outcome == Outcome.OK and math.isfinite(objective) else (math.nan, error)

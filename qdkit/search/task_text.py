"""Changes of the task text of a run, and which text a task of the search reads.

A replay asks recorded prompts again word for word, so the first tasks of a run keep the text with
which they were started. A change is an event of the ledger, `task`. It has the number of the first
task of the search that reads the new text, the digests of both texts, and the new text.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from qdkit.runs import sources
from qdkit.runs.ledger import Ledger

# (number of the first task of the search, the text from then on), in order
Changes = Sequence[tuple[int, str]]


def text_of_task(changes: Changes, number: int) -> str:
    """The text that the `number`-th task reads; "" for that with which the run began."""
    return next((text for first, text in reversed(changes) if number >= first), "")


def task_changes(ledger: Ledger) -> list[tuple[int, str]]:
    """The changes of the task text of a run so far."""
    return [
        (value["from"], value["text"])
        for _, kind, value in ledger.events()
        if kind == sources.TASK_EVENT
    ]


def as_recorded(run: Path, domain: Any, change: bool) -> Any:
    """The domain with the text with which its run began; later texts are in the run's events.

    change: whether the text of the domain may differ from the last one of the run; the difference
      is then recorded as a change.

    Raises ValueError where `change` is set and the domain has no task text, or where something
    else has changed too.
    """
    with closing(Ledger.open(run, write=True)) as ledger:
        began = ledger.about["domain"].get("of", {}).get("task")
        if not isinstance(began, str) or not hasattr(domain, "reworded"):
            if change:
                raise ValueError(
                    f"--change task is for a folder with {sources.TASK_FILE}, and {run} searches "
                    f"none"
                )
            return domain
        now = next((text for _, text in reversed(task_changes(ledger))), began)
        if domain.task != now:
            if not change:
                return domain  # it is refused later, with the name of the file
            _record(ledger, domain)
        return domain.reworded(began)


def _record(ledger: Ledger, domain: Any) -> None:
    """Records a change."""
    recorded, current = sources.recorded_digests(ledger), sources.source_digests(domain)
    if sources.TASK_FILE not in current:
        raise ValueError(
            f"--change task is for a folder with {sources.TASK_FILE}, and {ledger.path} searches "
            f"none"
        )
    sources.check_scores(ledger, domain)
    # tasks with recorded calls keep their text
    first = max([len(ledger.commits), *(task + 1 for task in ledger.calls())])
    old = (recorded or {}).get(sources.TASK_FILE, sources.UNKNOWN)
    value = {"from": first, "old": old, "new": current[sources.TASK_FILE], "text": domain.task}
    ledger.event(len(ledger.commits), sources.TASK_EVENT, value)

"""The progress bar of a search and the sentences before it, in a terminal or a notebook."""

from __future__ import annotations

import shlex
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from qdkit.core.jsonable import terminal_safe
from qdkit.core.types import Outcome
from qdkit.runs.alerts import describe_failures
from qdkit.runs.view import call_to_resume
from qdkit.search.budget import money

if TYPE_CHECKING:
    from qdkit.runs.ledger import Ledger
    from qdkit.search.budget import Budget
    from qdkit.search.compiled import CompiledSearch
    from qdkit.search.search import Search


# outcomes that are not ok and no failures
_UNTRIED = (Outcome.REJECTED, Outcome.DUPLICATE, Outcome.SKIPPED)
# tokens that a call reads and writes, as a forecast assumes
_READ, _WRITTEN = 1000, 500
_LOOK = 1.0  # seconds between two looks for which server the run waits


def forecast(models: Sequence[Any], budget: Budget) -> list[str]:
    """Sentences that say what the budget buys from each model; none for plain functions.

    Raises ValueError if dollars are limited and a price is unknown.
    """
    from qdkit.llm import LLM

    sentences = []
    for model in models:
        if isinstance(model, LLM):
            each = model.cost(_READ, _WRITTEN)
            what = f"calls of {model.model} ({_READ:,} tokens read, {_WRITTEN:,} written)"
            sentences.append(budget.forecast(each, what))
            if each.dollars != each.dollars:  # nan
                sentences.append(
                    f"the price of {model.model} is unknown: its costs are unknown too"
                )
    return list(dict.fromkeys(sentences))


def how_to_go_on(ledger: Ledger) -> str:
    """A sentence that says how to resume the run of an interrupted search."""
    if ledger.path is None:
        return "nothing was kept on disk: Search(..., folder=FOLDER) keeps a run"
    if any(kind == "order" for _, kind, _ in ledger.events()):
        return terminal_safe(f"go on with: qdkit resume {shlex.quote(str(ledger.path))}")
    return terminal_safe(f"go on with: {call_to_resume(ledger)}")


@contextmanager
def bar(
    search: Search | CompiledSearch, steps: int | None, *, shown: bool = True
) -> Iterator[Callable[[], None]]:
    """A progress bar over the evaluations of `steps` steps, or of the budget.

    Yields a function to call after each step.
    """
    with warnings.catch_warnings():
        # without IProgress the bar is drawn as text
        warnings.filterwarnings("ignore", message="IProgress not found")
        from tqdm.auto import tqdm

    done = search.commits[-1].evaluations if search.commits else 0
    most = [n for n in (steps and done + steps * search.batch, search.budget.evaluations) if n]
    line = tqdm(
        initial=done,
        total=min(most, default=None),
        disable=not shown,
        unit=" evaluations",
        unit_scale=True,
        mininterval=0.25,
    )
    begun, calls = time.monotonic(), search.spent.calls

    def step() -> None:
        now = search.commits[-1]
        parts = [f"coverage {now.coverage:.1%}", f"QD score {_short(now.qd_score)}"]
        parts += [words] if (words := describe_failures(search.outcomes)) else []
        if search.spent.calls > calls:
            parts += _spending(
                search, (search.spent.calls - calls) / (time.monotonic() - begun), line.total
            )
        line.set_postfix_str(", ".join(parts), refresh=False)
        line.update(now.evaluations - line.n)

    with line, _showing_waits(line if shown and search.models else None):
        yield step


@contextmanager
def _showing_waits(line: Any) -> Iterator[None]:
    """Shows on the line for which server the run waits, once a second; None for no line."""
    if line is None:
        yield
        return
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK):
            if words := waiting_sentence():
                line.set_postfix_str(words)

    thread = threading.Thread(target=look, daemon=True, name="qdkit-waiting")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def waiting_sentence() -> str:
    """A sentence that says for which server calls wait, for how long and why; "" for none."""
    from qdkit.llm.pace import waiting_servers

    waiting = waiting_servers()
    if not waiting:
        return ""
    address, seconds, reason = waiting[0]
    more = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
    return terminal_safe(
        f"waiting for {address}{more}, {seconds:.0f} s" + (f": {reason[:80]}" if reason else "")
    )


def _spending(search: Search | CompiledSearch, rate: float, total: int | None) -> list[str]:
    """What the models cost: calls in flight and a second, and money so far and at the end.

    Followed by how many candidates were not evaluated.
    """
    spent, made = search.spent, search.commits[-1].evaluations
    parts = [f"{search.in_flight} in flight", f"{rate:.1f} calls/s"]
    if spent.dollars == spent.dollars:  # not nan: the price is known
        parts.append(
            f"${money(spent.dollars)}"
            + (f" of about ${money(spent.dollars * total / made)}" if total and made else "")
        )
    else:
        parts.append("price unknown")
    return parts + [
        f"{count} {outcome}" for outcome, count in search.outcomes.items() if outcome in _UNTRIED
    ]


def _short(number: float) -> str:
    """The number with four digits, or with all digits before the point."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"

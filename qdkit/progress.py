"""What is shown before and while a search runs, in a terminal or a notebook."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdkit.budget import Budget
    from qdkit.scan import Scan
    from qdkit.search import Search


READ, WRITTEN = 1000, 500  # tokens of the call by which a forecast reckons


def forecast(models: Sequence[Any], budget: Budget) -> list[str]:
    """What the budget buys from each model, in sentences, each said once; nothing for plain functions.

    Raises ValueError if dollars are limited and a price is unknown.
    """
    from qdkit.llm import LLM

    said = []
    for model in models:
        if isinstance(model, LLM):
            each = model.cost(READ, WRITTEN)
            what = f"calls of {model.model} ({READ:,} tokens read, {WRITTEN:,} written)"
            said.append(budget.forecast(each, what))
            if each.dollars != each.dollars:  # nan
                said.append(f"the price of {model.model} is unknown: what it costs cannot be said")
    return list(dict.fromkeys(said))


@contextmanager
def bar(search: Search | Scan, steps: int | None, *, shown: bool = True) -> Iterator[Callable[[], None]]:
    """A progress bar over the evaluations of `steps` steps, or of the budget; call what it yields after each step."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")  # the bar is then drawn as text
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
        if search.spent.calls > calls:
            parts += _spending(search, (search.spent.calls - calls) / (time.monotonic() - begun), line.total)
        line.set_postfix_str(", ".join(parts), refresh=False)
        line.update(now.evaluations - line.n)

    with line:
        yield step


def _spending(search: Search | Scan, rate: float, total: int | None) -> list[str]:
    """What the models cost: in flight, calls a second, money so far and at the end, failures by kind."""
    spent, made = search.spent, search.commits[-1].evaluations
    parts = [f"{search.in_flight} in flight", f"{rate:.1f} calls/s"]
    if spent.dollars == spent.dollars:  # not nan: the price is known
        parts.append(
            f"${spent.dollars:.2f}" + (f" of about ${spent.dollars * total / made:.2f}" if total and made else "")
        )
    else:
        parts.append("price unknown")
    return parts + [f"{count} {outcome}" for outcome, count in search.failures.items()]


def _short(number: float) -> str:
    """Four digits, or all those before the point."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"

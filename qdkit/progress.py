"""The line that is shown while a search runs, in a terminal or a notebook."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qdkit.search import Search


@contextmanager
def bar(search: Search, steps: int | None, *, shown: bool = True) -> Iterator[Callable[[], None]]:
    """A progress bar over the evaluations of `steps` steps, or of the budget; call what it yields after each step."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")  # the bar is then drawn as text
        from tqdm.auto import tqdm

    done = search.commits[-1].evaluations if search.commits else 0
    most = [n for n in (steps and done + steps * search.batch, search.budget.evaluations) if n]
    with tqdm(
        initial=done,
        total=min(most, default=None),
        disable=not shown,
        unit=" evaluations",
        unit_scale=True,
        mininterval=0.25,
    ) as line:

        def step() -> None:
            now = search.commits[-1]
            parts = [f"coverage {now.coverage:.1%}", f"QD score {now.qd_score:,.4g}", f"best {now.best:.4g}"]
            line.set_postfix_str(", ".join(parts), refresh=False)
            line.update(now.evaluations - line.n)

        yield step

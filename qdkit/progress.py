"""The line that is shown while a search runs, in a terminal or a notebook."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qdkit.search import Search


@contextmanager
def bar(search: Search, steps: int, *, shown: bool = True) -> Iterator[Callable[[], None]]:
    """A progress bar over `steps` steps of `batch` candidates; call what it yields after each step."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")  # the bar is then drawn as text
        from tqdm.auto import tqdm

    with tqdm(
        total=steps * search.batch, disable=not shown, unit=" evaluations", unit_scale=True, mininterval=0.25
    ) as line:

        def step() -> None:
            now, before = search.commits[-1], search.commits[-2] if len(search.commits) > 1 else None
            line.set_postfix_str(
                f"coverage {now.coverage:.1%}, QD score {now.qd_score:,.4g}, best {now.best:.4g}", refresh=False
            )
            line.update(now.evaluations - (before.evaluations if before else 0))

        yield step

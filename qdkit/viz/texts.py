"""A map of texts as a table for the terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from qdkit.core.jsonable import terminal_safe
from qdkit.runs.view import RunView
from qdkit.viz.style import axis_labels

_MOST = 40  # elites; a longer table is too long to read
_LONGEST = 160  # characters of a text


def texts(view: RunView) -> Any:
    """Returns the elites that are texts as a `rich` table, with their judges.

    The table has the best of each cell, in order. Lines are separated by slashes, as in quoted
    verse. Returns None where there are too many elites, or where they are not texts.
    """
    from rich.table import Table
    from rich.text import Text

    # a compiled run has no rows of its candidates, and its genomes are not texts
    if view.ledger.about["genome"]["kind"] != "text":
        return None
    elites = view.elites
    best = slice(None, None, elites.depth)
    pool = view.ledger.take(elites.payload["id"][best][elites.objective[best] > -math.inf])
    if not 0 < len(pool) <= _MOST:
        return None
    names = getattr(view.archive, "names", ()) or [
        f"axis {i}" for i in range(pool.descriptor.shape[1])
    ]
    table = Table(
        *names, "objective", "text", box=None, pad_edge=False, caption=judged(pool.notes)
    )
    for elite in pool:
        cells = [_format(view.archive, axis, value) for axis, value in enumerate(elite.descriptor)]
        text = Text(terminal_safe(_on_one_line(elite.genome)))
        table.add_row(*cells, f"{elite.objective:.4g}", text)
    return table


def _format(archive: Any, axis: int, value: float) -> str:
    """Returns one entry of a descriptor as text: its label, or the number."""
    labels = axis_labels(archive, axis)
    return labels[int(value)] if labels and math.isfinite(value) else f"{value:.4g}"


def _on_one_line(text: str) -> str:
    """Returns the lines of a text with slashes between them, cut where it is long."""
    line = " / ".join(part.strip() for part in text.splitlines() if part.strip())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 2].rstrip() + " …"


def judged(notes: Sequence[Mapping[str, Any]]) -> Any:
    """Returns a line that lists the judges of the elites and how many each judged; None for none.

    Such as "judged: quality by mark (25), tone by label of MODEL (24) and by tone (1)".
    """
    from rich.text import Text

    judges: dict[str, Counter[str]] = {}
    for note in notes:
        for name, judge in note.get("judged", {}).items():
            by = " of ".join(str(judge[part]) for part in ("by", "model") if judge.get(part))
            judges.setdefault(name, Counter())[by] += 1
    parts = [
        f"{name} by " + " and by ".join(f"{by} ({n})" for by, n in counts.most_common())
        for name, counts in judges.items()
    ]
    return Text(terminal_safe(f"judged: {', '.join(parts)}")) if parts else None

"""A map of texts as a table that can be read in a terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from qdkit.plain import visible
from qdkit.seen import Seen

MOST = 40  # elites; a longer table is not read
LONGEST = 160  # characters of a text


def texts(seen: Seen) -> Any:
    """The elites that are texts as a `rich` table, the best of each cell in order, and who judged them.

    Its lines are shown between slashes, as verse is quoted. None where there are too many, or no texts.
    """
    from rich.table import Table
    from rich.text import Text

    if seen.ledger.about["genome"]["kind"] != "text":  # nor has a compiled run rows of its candidates
        return None
    elites = seen.elites
    best = slice(None, None, elites.depth)
    pool = seen.ledger.take(elites.payload["id"][best][elites.objective[best] > -math.inf])
    if not 0 < len(pool) <= MOST:
        return None
    names = getattr(seen.archive, "names", ()) or [f"axis {i}" for i in range(pool.descriptor.shape[1])]
    table = Table(*names, "objective", "text", box=None, pad_edge=False, caption=judged(pool.notes))
    for elite in pool:
        place = [_place(seen.archive, axis, value) for axis, value in enumerate(elite.descriptor)]
        table.add_row(*place, f"{elite.objective:.4g}", Text(visible(_quoted(elite.genome))))
    return table


def _place(archive: Any, axis: int, value: float) -> str:
    labels = archive.labels(axis) if hasattr(archive, "labels") else None
    return labels[int(value)] if labels and math.isfinite(value) else f"{value:.4g}"


def _quoted(text: str) -> str:
    """The lines between slashes, the end left out where it is long."""
    line = " / ".join(part.strip() for part in text.splitlines() if part.strip())
    return line if len(line) <= LONGEST else line[: LONGEST - 2].rstrip() + " …"


def judged(notes: Sequence[Mapping[str, Any]]) -> Any:
    """Who judged what, of all elites: "quality by mark (25), tone by label of MODEL (24) and by tone (1)"; or None."""
    from rich.text import Text

    who: dict[str, Counter[str]] = {}
    for note in notes:
        for name, told in note.get("judged", {}).items():
            by = " of ".join(str(told[part]) for part in ("by", "model") if told.get(part))
            who.setdefault(name, Counter())[by] += 1
    said = [f"{name} by " + " and by ".join(f"{by} ({n})" for by, n in c.most_common()) for name, c in who.items()]
    return Text(visible(f"judged: {', '.join(said)}")) if said else None

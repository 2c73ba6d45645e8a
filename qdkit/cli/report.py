"""Reports of the command line: runs, their pictures and comparisons, as tables and JSON."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdkit.core.jsonable import nan_as_none, terminal_safe
from qdkit.core.redaction import redacted
from qdkit.core.run_files import DamagedRun, atomic_write
from qdkit.runs.alerts import describe_floor, objectives_below

if TYPE_CHECKING:
    from qdkit.comparing.comparison import Comparison, Difference, Spread
    from qdkit.feedback import Attribute
    from qdkit.runs.view import RunView


_UNCHAINED_EVENTS = (
    "the events of this run are not in its hash chain, since an earlier version began it"
)


def show_run(view: RunView, path: Path) -> None:
    """Prints the summary of a run as a table, and draws its pictures into its folder."""
    from rich import print
    from rich.table import Table
    from rich.text import Text

    from qdkit import viz

    table = Table(box=None, show_header=False, pad_edge=False)
    summary = view.summary()
    for name, value in {**summary, "errors": _last_lines(summary["errors"])}.items():
        table.add_row(name.replace("_", " "), Text(terminal_safe(redacted(_in_words(value)))))
    print(table)
    if not view.ledger.sealed_events:
        print(_UNCHAINED_EVENTS)
    elites = view.elites
    if words := describe_floor(
        objectives_below(elites.objective[:: elites.depth], view.floor), view.floor
    ):
        print(Text(terminal_safe(words)))
    pictured = hasattr(view.domain, "png")
    if (table := viz.judged(view.pool.notes) if pictured else viz.texts(view)) is not None:
        print(table)
    if placed := axes_summary(view):
        print(*_axes_lines(placed["axes"], placed["vary_next"]), sep="\n")
    try:
        save(viz.overview(view), path / "overview.png")
        print(Text(terminal_safe(f"drawn: {path / 'overview.png'}")))
        if hasattr(view.domain, "draw"):
            save(viz.gallery(view), path / "gallery.png")
            print(Text(terminal_safe(f"drawn: {path / 'gallery.png'}")))
        if (sheet := viz.sheet(view)) is not None:
            save(sheet, path / "sheet.png")
            print(Text(terminal_safe(f"drawn: {path / 'sheet.png'}")))
    except OSError as error:
        reason = f"not drawn: the pictures cannot be written into {path} ({error.strerror})"
        print(Text(terminal_safe(reason)))


def axes_summary(view: RunView) -> dict[str, Any]:
    """Returns how evenly candidates fall on the axes of `--axes`, and what to vary next.

    Of an axis: `entropy._asdict()`, and `by`, the number of candidates that each judge placed.
    Empty for a run without such axes.
    """
    from qdkit.feedback import attributes, evenness, vary_next

    orders = [value for _, kind, value in view.ledger.events() if kind == "order"]
    if not orders or not orders[0].get("axes"):
        return {}
    try:
        axes = attributes(orders[0]["axes"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedRun(
            f"{view.ledger.path}: the axes in the settings of the run cannot be read: {error}"
        ) from None
    notes = [note for batch in view.ledger.batches() for note in batch.notes]
    judgements = [note.get("judged", {}) for note in notes]
    by = {
        axis.name: Counter(_who(judged[axis.name]) for judged in judgements if axis.name in judged)
        for axis in axes
    }
    found = {
        name: {**entropy._asdict(), "by": dict(by[name])}
        for name, entropy in evenness(axes, notes).items()
    }
    least = vary_next(axes, notes)
    return {
        "axes": found,
        "vary_next": least and {"axis": least.attribute.name, "value": least.label},
    }


def show_axes(axes: Sequence[Attribute]) -> None:
    """Prints axes, their questions and values, as a table."""
    from rich import print
    from rich.table import Table
    from rich.text import Text

    table = Table("axis", "question", "values", box=None, pad_edge=False)
    for axis in axes:
        table.add_row(
            *(
                Text(terminal_safe(text))
                for text in (axis.name, axis.question, ", ".join(axis.labels))
            )
        )
    print(table)


def _axes_lines(axes: dict[str, dict[str, Any]], least: dict[str, str] | None) -> list[Any]:
    from rich.text import Text

    lines = []
    for name, found in axes.items():
        by = ", ".join(f"{count:,} by {who}" for who, count in found["by"].items()) or "nobody"
        values = f"{found['effective']:.1f} of {found['values']} values in effect"
        even = f"evenness {_in_words(found['normalised'])}, {values}"
        outside = found["outside"] if found["outside"] == found["outside"] else 0.0
        lines.append(f"axis {name}: {even}, {outside:.0%} fit none; placed: {by}")
    if least:
        lines.append(f"vary next: {least['axis']}, {least['value']}")
    return [Text(terminal_safe(line)) for line in lines]


def _who(judgement: dict[str, Any]) -> str:
    parts = [str(judgement[part]) for part in ("by", "model") if judgement.get(part)]
    return " of ".join(parts) or "nobody"


def save(figure: Any, path: Path) -> None:
    """Writes a picture and closes its figure, which pyplot would keep otherwise."""
    from matplotlib import pyplot

    try:
        with atomic_write(path) as file:
            figure.savefig(file, dpi=150, format=path.suffix[1:] or "png")
    finally:
        pyplot.close(figure)


def show_comparison(comparison: Comparison) -> None:
    """Prints a table for each cost that all runs have, the differences of the groups, and
    remarks.
    """
    from rich import box, print
    from rich.markup import escape
    from rich.table import Table

    from qdkit.comparing.comparison import COMPARED_MEASURES, COSTS

    for cost, title in COSTS.items():
        if not (equal := comparison.equal(cost)):
            continue
        print(
            f"\nat {_in_words(equal)} {title} each: the median of the runs, and the least to "
            "the most"
        )
        table = Table("", "runs", *COMPARED_MEASURES.values(), box=box.SIMPLE_HEAD, pad_edge=False)
        spreads, differences = comparison.spreads(cost), comparison.differences(cost)
        for group in comparison.groups:
            table.add_row(
                escape(terminal_safe(group.name)),
                str(len(group.seeds)),
                *(_spread(spreads[group.name][m], m) for m in COMPARED_MEASURES),
            )
        print(table)
        for of in zip(*differences.values(), strict=True):
            pairs = zip(differences, of, strict=True)
            changes = "; ".join(
                f"{COMPARED_MEASURES[m]} {_change(d.median, m)}{_interval(d, m)}" for m, d in pairs
            )
            print(
                f"[bold]{escape(terminal_safe(of[0].group))}[/] compared with "
                f"[bold]{escape(terminal_safe(of[0].other))}[/]: {changes}"
            )
    for remark in comparison.remarks:
        print(f"- {escape(terminal_safe(remark))}")


def show_links(links: Mapping[str, str], alone: bool) -> None:
    """Prints the link of each rater, and from where the page can be opened."""
    for rater, link in links.items():
        print(f"{rater}: {link}")
    if alone:
        print("Only this machine can open them.")
    else:
        print(
            "Anyone on the network who has a link can answer in the name of its rater, and "
            "nothing is encrypted: give each link to its rater alone, in a network that you trust."
        )
    print("Every answer is on disk at once. Stop with Ctrl-C.", flush=True)


def show_judgements(
    counts: Sequence[Mapping[str, Any]], taken: int | None, out: Path | None
) -> None:
    """Prints a table of the judgements that count, and how many were imported and exported."""
    from rich import print
    from rich.table import Table
    from rich.text import Text

    table = Table("rater", "question", "judgements", box=None, pad_edge=False)
    for row in counts:
        table.add_row(*(Text(terminal_safe(str(value))) for value in row.values()))
    print(table if counts else "no judgements yet: `qdkit rate RUN` asks for them")
    if taken is not None:
        print(f"imported: {taken:,} new judgements")
    if out is not None:
        print(Text(terminal_safe(f"written: {out}")))


def _spread(of: Spread, measure: str) -> str:
    low, high = _measured(of.least, measure), _measured(of.most, measure)
    return _measured(of.median, measure) + (f"\n{low} to {high}" if low != high else "")


def _interval(of: Difference, measure: str) -> str:
    if math.isnan(of.low):
        return ""
    return f" (95 %: {_change(of.low, measure)} to {_change(of.high, measure)})"


def _change(value: float, measure: str) -> str:
    if math.isnan(value):
        return "unknown"
    return f"{100 * value:+.2f} points" if measure == "coverage" else f"{value:+,.6g}"


def _measured(value: float, measure: str) -> str:
    if math.isnan(value):
        return "nothing yet"
    return f"{value:.2%}" if measure == "coverage" else _in_words(value)


def _last_lines(errors: dict[str, int]) -> dict[str, int]:
    """Returns how often each error occurred, by its last line: of a traceback, what was raised."""
    counts: dict[str, int] = {}
    for error, count in errors.items():
        last = (str(error).strip().splitlines() or [""])[-1]
        counts[last] = counts.get(last, 0) + count
    return counts


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count:,} {name}" for name, count in value.items()) or "none"
    if value != value:  # nan
        return "unknown"
    return (
        f"{value:,}"
        if isinstance(value, int)
        else f"{value:,.6g}"
        if isinstance(value, float)
        else str(value)
    )


def print_json(summary: dict[str, Any] | list[Any]) -> None:
    """Prints a summary as JSON."""
    print(json.dumps(redacted(nan_as_none(summary)), indent=2))

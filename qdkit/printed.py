"""What the command line shows: a run, its pictures, and runs beside each other, in words, tables and JSON."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdkit.plain import plain, visible

if TYPE_CHECKING:
    from qdkit.comparison import Comparison, Difference, Spread
    from qdkit.feedback import Attribute
    from qdkit.seen import Seen


def show_run(seen: Seen, path: Path) -> None:
    """The summary as a table, and its pictures in the run's folder."""
    from rich import print
    from rich.table import Table
    from rich.text import Text

    from qdkit import viz

    table = Table(box=None, show_header=False, pad_edge=False)
    summary = seen.summary()
    for name, value in {**summary, "errors": _last_lines(summary["errors"])}.items():
        table.add_row(name.replace("_", " "), Text(visible(_in_words(value))))
    print(table)
    pictured = hasattr(seen.domain, "png")
    if (said := viz.judged(seen.pool.notes) if pictured else viz.texts(seen)) is not None:
        print(said)
    if placed := axes_summary(seen):
        print(*_axes_lines(placed["axes"], placed["vary_next"]), sep="\n")
    try:
        save(viz.overview(seen), path / "overview.png")
        print(Text(visible(f"drawn: {path / 'overview.png'}")))
        if hasattr(seen.domain, "draw"):
            save(viz.gallery(seen), path / "gallery.png")
            print(Text(visible(f"drawn: {path / 'gallery.png'}")))
        if (sheet := viz.sheet(seen)) is not None:
            save(sheet, path / "sheet.png")
            print(Text(visible(f"drawn: {path / 'sheet.png'}")))
    except OSError as error:
        print(Text(visible(f"not drawn: the pictures cannot be written into {path} ({error.strerror})")))


def axes_summary(seen: Seen) -> dict[str, Any]:
    """How evenly candidates fall on the axes that a run was ordered with, who placed them, and what to vary next.

    Of an axis: `entropy._asdict()` and `by`. Empty for a run with none.
    """
    from qdkit.feedback import attributes, evenness, vary_next

    orders = [value for _, kind, value in seen.ledger.events() if kind == "order"]
    if not orders or not orders[0].get("axes"):
        return {}
    axes = attributes(orders[0]["axes"])
    notes = [note for batch in seen.ledger.batches() for note in batch.notes]
    told = [note.get("judged", {}) for note in notes]
    by = {axis.name: Counter(_who(judged[axis.name]) for judged in told if axis.name in judged) for axis in axes}
    found = {name: {**entropy._asdict(), "by": dict(by[name])} for name, entropy in evenness(axes, notes).items()}
    least = vary_next(axes, notes)
    return {"axes": found, "vary_next": least and {"axis": least.attribute.name, "value": least.label}}


def show_axes(axes: Sequence[Attribute]) -> None:
    """Axes, their questions and values, as a table."""
    from rich import print
    from rich.table import Table
    from rich.text import Text

    table = Table("axis", "question", "values", box=None, pad_edge=False)
    for axis in axes:
        table.add_row(*(Text(visible(said)) for said in (axis.name, axis.question, ", ".join(axis.labels))))
    print(table)


def _axes_lines(axes: dict[str, dict[str, Any]], least: dict[str, str] | None) -> list[Any]:
    from rich.text import Text

    lines = []
    for name, found in axes.items():
        by = ", ".join(f"{count:,} by {who}" for who, count in found["by"].items()) or "nobody"
        even = (
            f"evenness {_in_words(found['normalised'])}, {found['effective']:.1f} of {found['values']} values in effect"
        )
        outside = found["outside"] if found["outside"] == found["outside"] else 0.0
        lines.append(f"axis {name}: {even}, {outside:.0%} fit none; placed: {by}")
    if least:
        lines.append(f"vary next: {least['axis']}, {least['value']}")
    return [Text(visible(line)) for line in lines]


def _who(told: dict[str, Any]) -> str:
    return " of ".join(str(told[part]) for part in ("by", "model") if told.get(part)) or "nobody"


def save(figure: Any, path: Path) -> None:
    """Writes a picture and lets go of it: pyplot holds every figure until it is closed."""
    from matplotlib import pyplot

    try:
        figure.savefig(path, dpi=150)
    finally:
        pyplot.close(figure)


def show_comparison(comparison: Comparison) -> None:
    """A table for each cost that all runs have, then by how much the groups differ, then what to bear in mind."""
    from rich import box, print
    from rich.markup import escape
    from rich.table import Table

    from qdkit.comparison import COSTS, MEASURES

    for cost, title in COSTS.items():
        if not (equal := comparison.equal(cost)):
            continue
        print(f"\nat {_in_words(equal)} {title} each: the median over the runs, and the least to the most")
        table = Table("", "runs", *MEASURES.values(), box=box.SIMPLE_HEAD, pad_edge=False)
        spreads, differences = comparison.spreads(cost), comparison.differences(cost)
        for group in comparison.groups:
            table.add_row(
                escape(visible(group.name)),
                str(len(group.seeds)),
                *(_spread(spreads[group.name][m], m) for m in MEASURES),
            )
        print(table)
        for of in zip(*differences.values(), strict=True):
            pairs = zip(differences, of, strict=True)
            said = "; ".join(f"{MEASURES[m]} {_change(d.median, m)}{_interval(d, m)}" for m, d in pairs)
            print(
                f"[bold]{escape(visible(of[0].group))}[/] compared with [bold]{escape(visible(of[0].other))}[/]: {said}"
            )
    for remark in comparison.remarks:
        print(f"- {escape(visible(remark))}")


def show_links(links: Mapping[str, str], alone: bool) -> None:
    """Whom the page is for, and who can open it."""
    for rater, link in links.items():
        print(f"{rater}: {link}")
    if alone:
        print("Only this machine can open them.")
    else:
        print(
            "Whoever on the network has a link can answer in its rater's name, and nothing is encrypted on the way: "
            "hand each to its rater alone, in a network that you trust."
        )
    print("Every answer is on disk at once. Stop with Ctrl-C.", flush=True)


def show_judgements(counts: Sequence[Mapping[str, Any]], taken: int | None, out: Path | None) -> None:
    """A table of how many judgements stand, and what was taken in and written."""
    from rich import print
    from rich.table import Table
    from rich.text import Text

    table = Table("rater", "question", "judgements", box=None, pad_edge=False)
    for row in counts:
        table.add_row(*(Text(visible(str(value))) for value in row.values()))
    print(table if counts else "nothing is judged yet: `qdkit rate` asks")
    if taken is not None:
        print(f"taken in: {taken:,} that were new")
    if out is not None:
        print(Text(visible(f"written: {out}")))


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
    """How often each error was given, told by its last line: of a traceback, what was raised."""
    told: dict[str, int] = {}
    for error, count in errors.items():
        last = (str(error).strip().splitlines() or [""])[-1]
        told[last] = told.get(last, 0) + count
    return told


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count:,} {name}" for name, count in value.items()) or "none"
    if value != value:  # nan
        return "unknown"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}" if isinstance(value, float) else str(value)


def print_json(summary: dict[str, Any] | list[Any]) -> None:
    """As JSON, and nothing else."""
    print(json.dumps(plain(summary), indent=2))

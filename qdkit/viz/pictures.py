"""Single elites, drawn as their domain draws them, as text, or as a row of numbers.

A genome may come from a model or from a stranger's file: its text is shown as it is, never read as
mathematics or TeX, cut to the room there is, and without characters that steer a terminal or a font.
"""

from __future__ import annotations

import json
import textwrap
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from qdkit.seen import Seen
from qdkit.viz.look import (
    FAINT,
    LINE,
    PLAIN,
    champions,
    geometry,
    labels,
    new_figure,
    note,
    number,
    objectives,
    panel,
    styled,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNSHOWN = "�"  # stands for a character that no font at hand has, or that is not one to be seen
ROOM = 1.05  # the share of the axes for text: most of it, and what a layout will add that is yet to be made
LONGEST = 20_000  # characters of a genome that are looked at; far more than any picture has room for


@styled
def best(seen: Seen, ax: Axes | None = None) -> Axes:
    """The elite with the highest objective."""
    ax = panel(ax, 4, 4)
    if not np.asarray(champions(seen).occupied).any():
        ax.axis("off")
        note(ax, "no elites yet")
        return ax
    cell = int(np.nanargmax(objectives(champions(seen))))
    _picture(seen, cell, ax)
    ax.set_title(f"best: {_caption(seen, cell)}", loc="left", **PLAIN)
    return ax


@styled
def gallery(seen: Seen, rows: int = 3, columns: int = 4) -> Figure:
    """`rows * columns` elites spread over the archive, the best among them, in the order of their cells."""
    figure = new_figure(2.4 * columns, 2.5 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    cells = spread(seen, len(axes))
    for ax, cell in zip(axes, cells, strict=False):
        _picture(seen, cell, ax)
        ax.set_title(_caption(seen, cell), loc="left", fontsize=8, **PLAIN)
    for ax in axes[len(cells) :]:
        ax.axis("off")
    if not len(cells):
        figure.text(0.5, 0.5, "no elites yet", ha="center", va="center", color=FAINT)
    return figure


def spread(seen: Seen, n: int) -> list[int]:
    """The cells of up to `n` elites far from each other, in ascending order.

    Starts with the best, and then takes, again and again, the elite whose descriptor is farthest
    from those taken (Gonzalez 1985), each axis measured by the range of the elites; the first cell wins a tie.
    """
    cells = np.flatnonzero(np.asarray(champions(seen).occupied))
    if not len(cells):
        return []
    place = np.asarray(champions(seen).descriptor, np.float64)[cells]
    extent = np.ptp(place, 0)
    place = place / np.where(extent > 0, extent, 1)
    taken = [int(np.argmax(objectives(champions(seen))[cells]))]
    distance = np.full(len(cells), np.inf)
    while len(taken) < min(n, len(cells)):
        distance = np.minimum(distance, np.linalg.norm(place - place[taken[-1]], axis=1))
        distance[taken] = -1  # elites may share a descriptor, and none is taken twice
        taken.append(int(np.argmax(distance)))
    return sorted(int(cells[i]) for i in taken)


def _picture(seen: Seen, cell: int, ax: Axes) -> None:
    """The elite of one cell."""
    picture(_genome(seen, cell), ax, getattr(seen, "domain", None))


@styled
def picture(genome: Any, ax: Axes, domain: Any = None) -> None:
    """One candidate as its domain draws it, as a row of numbers, or as text."""
    draw = getattr(domain, "draw", None)
    if draw is not None:
        draw(genome, ax)
    elif isinstance(genome, np.ndarray) and genome.dtype.kind in "fiub":
        _bars(ax, genome.ravel())
    else:
        _page(ax, genome)


def _genome(seen: Seen, cell: int) -> Any:
    return seen.genome(int(champions(seen).payload["id"][cell]))


def _caption(seen: Seen, cell: int) -> str:
    """The objective and the place of a cell's elite."""
    place = np.asarray(champions(seen).descriptor, np.float64)[cell]
    words = [
        found[int(np.clip(round(x), 0, len(found) - 1))] if (found := labels(geometry(seen), axis)) else f"{x:.3g}"
        for axis, x in enumerate(place)
    ]
    return textwrap.shorten(f"{number(objectives(champions(seen))[cell])} at {', '.join(words)}", 48, placeholder="…")


def _bars(ax: Axes, numbers: np.ndarray) -> None:
    ax.bar(np.arange(len(numbers)), numbers, width=0.8 if len(numbers) <= 60 else 1.0, color=LINE)
    ax.axhline(0, color=FAINT, linewidth=0.6)
    ax.set_xlabel("number of the gene")
    tidy(ax)


def _page(ax: Axes, genome: Any) -> None:
    """As much of the text as there is room for."""
    import matplotlib

    ax.set(xticks=[], yticks=[], facecolor="#fafafa")
    tidy(ax)
    for spine in ax.spines.values():
        spine.set_visible(False)
    prose = isinstance(genome, str)
    size, family = (8.0, matplotlib.rcParams["font.family"]) if prose else (7.0, ["monospace"])
    figure: Any = ax.get_figure(root=True)
    width, height = ROOM * np.array([ax.bbox.width, ax.bbox.height]) * 72 / figure.dpi  # in points
    lines = fitted(plain(_text(genome), family), int(width / (size * 0.56)), int(height / (size * 1.45)))
    ax.text(
        0.04,
        0.97,
        "\n".join(lines),
        transform=ax.transAxes,
        va="top",
        fontsize=size,
        family=family,
        linespacing=1.3,
        clip_on=True,
        in_layout=False,
        **PLAIN,
    )


def _text(genome: Any) -> str:
    """A text, the files of a program one after the other, or JSON."""
    if isinstance(genome, str):
        return genome[:LONGEST]
    if isinstance(genome, bytes):
        return f"{len(genome)} bytes: {genome[:256].hex(' ')}"
    if isinstance(genome, Mapping) and all(isinstance(text, str) for text in genome.values()):
        return "\n\n".join(f"# {path}\n{text[:LONGEST]}" for path, text in genome.items())[:LONGEST]
    return json.dumps(genome, indent=1, ensure_ascii=False, default=str)[:LONGEST]


def plain(text: str, families: list[str]) -> str:
    """`text` without control characters and without what these fonts cannot show; lines stay lines."""
    known = _characters(families)
    lines = text.replace("\r\n", "\n").expandtabs(4).split("\n")
    shown = lambda c: ord(c) in known and unicodedata.category(c)[0] != "C"
    return "\n".join("".join(c if shown(c) else UNSHOWN for c in line) for line in lines)


def _characters(families: list[str]) -> set[int]:
    """The code points that these fonts can show."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return set().union(*(get_font(findfont(FontProperties(family=[name]))).get_charmap() for name in families))


def fitted(text: str, columns: int, rows: int) -> list[str]:
    """At most `rows` lines of at most `columns` characters; the last is an ellipsis if something is left out."""
    columns, rows = max(columns, 8), max(rows, 2)
    wrap = textwrap.TextWrapper(columns, subsequent_indent="  ", replace_whitespace=False)
    lines = [part.rstrip() for line in text.split("\n") for part in wrap.wrap(line) or [""]]
    return lines if len(lines) <= rows else [*lines[: rows - 1], "…"]

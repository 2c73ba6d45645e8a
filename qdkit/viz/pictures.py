"""Single elites, drawn as their domain draws them, as text, or as a row of numbers.

A genome may come from a model or from an untrusted file. Its text is drawn as it is, never read as
mathematics or TeX, cut to the available room, and without characters that control a terminal or a
font.
"""

from __future__ import annotations

import json
import textwrap
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from qdkit.runs.view import RunView
from qdkit.viz.style import (
    FAINT,
    LINE,
    PLAIN_TEXT,
    axis_labels,
    best_per_cell,
    format_number,
    geometry,
    new_figure,
    note,
    objectives,
    panel,
    styled,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_REPLACEMENT = "�"  # for a character that no available font has, or that is not printable
# The share of the axes for text. It is above 1, as the layout will still enlarge the axes.
_TEXT_SHARE = 1.05
_LONGEST = 20_000  # characters of a genome that are read: far more than any picture has room for


@styled
def best(view: RunView, ax: Axes | None = None) -> Axes:
    """Draws the elite with the highest objective."""
    ax = panel(ax, 4, 4)
    if not np.asarray(best_per_cell(view).occupied).any():
        ax.axis("off")
        note(ax, "no elites yet")
        return ax
    cell = int(np.nanargmax(objectives(best_per_cell(view))))
    _draw_elite(view, cell, ax)
    ax.set_title(f"best: {_caption(view, cell)}", loc="left", **PLAIN_TEXT)
    return ax


@styled
def gallery(view: RunView, rows: int = 3, columns: int = 4) -> Figure:
    """Draws `rows * columns` elites spread over the archive, in the order of their cells.

    The best elite is among them.
    """
    figure = new_figure(2.4 * columns, 2.5 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    cells = spread_cells(view, len(axes))
    for ax, cell in zip(axes, cells, strict=False):
        _draw_elite(view, cell, ax)
        ax.set_title(_caption(view, cell), loc="left", fontsize=8, **PLAIN_TEXT)
    for ax in axes[len(cells) :]:
        ax.axis("off")
    if not len(cells):
        figure.text(0.5, 0.5, "no elites yet", ha="center", va="center", color=FAINT)
    return figure


def spread_cells(view: RunView, n: int) -> list[int]:
    """Returns the cells of up to `n` elites far from each other, in ascending order.

    Starts with the best elite, and then repeatedly takes the elite whose descriptor is farthest
    from those taken (Gonzalez 1985), with each axis divided by the range of the elites. The first
    cell wins a tie.
    """
    elites = best_per_cell(view)
    cells = np.flatnonzero(np.asarray(elites.occupied))
    if not len(cells):
        return []
    descriptor = np.asarray(elites.descriptor, np.float64)[cells]
    extent = np.ptp(descriptor, 0)
    descriptor = descriptor / np.where(extent > 0, extent, 1)
    taken = [int(np.argmax(objectives(elites)[cells]))]
    distance = np.full(len(cells), np.inf)
    while len(taken) < min(n, len(cells)):
        to_last = np.linalg.norm(descriptor - descriptor[taken[-1]], axis=1)
        distance = np.minimum(distance, to_last)
        distance[taken] = -1  # elites may share a descriptor, and none is taken twice
        taken.append(int(np.argmax(distance)))
    return sorted(int(cells[i]) for i in taken)


def _draw_elite(view: RunView, cell: int, ax: Axes) -> None:
    """Draws the elite of one cell."""
    picture(_genome(view, cell), ax, getattr(view, "domain", None))


@styled
def picture(genome: Any, ax: Axes, domain: Any = None) -> None:
    """Draws one candidate as its domain draws it, as a row of numbers, or as text."""
    draw = getattr(domain, "draw", None)
    if draw is not None:
        draw(genome, ax)
    elif isinstance(genome, np.ndarray) and genome.dtype.kind in "fiub":
        _draw_bars(ax, genome.ravel())
    else:
        _draw_text(ax, genome)


def _genome(view: RunView, cell: int) -> Any:
    """Returns the genome of a cell's elite."""
    return view.genome(int(best_per_cell(view).payload["id"][cell]))


def _caption(view: RunView, cell: int) -> str:
    """Returns the objective and the descriptor of a cell's elite as text."""
    elites, words = best_per_cell(view), []
    for axis, x in enumerate(np.asarray(elites.descriptor, np.float64)[cell]):
        if labels := axis_labels(geometry(view), axis):
            words.append(labels[int(np.clip(round(x), 0, len(labels) - 1))])
        else:
            words.append(f"{x:.3g}")
    text = f"{format_number(objectives(elites)[cell])} at {', '.join(words)}"
    return textwrap.shorten(text, 48, placeholder="…")


def _draw_bars(ax: Axes, numbers: np.ndarray) -> None:
    """Draws a bar for each number of a genome."""
    ax.bar(np.arange(len(numbers)), numbers, width=0.8 if len(numbers) <= 60 else 1.0, color=LINE)
    ax.axhline(0, color=FAINT, linewidth=0.6)
    ax.set_xlabel("number of the gene")
    tidy(ax)


def _draw_text(ax: Axes, genome: Any) -> None:
    """Draws as much of the text as there is room for."""
    import matplotlib

    ax.set(xticks=[], yticks=[], facecolor="#fafafa")
    tidy(ax)
    for spine in ax.spines.values():
        spine.set_visible(False)
    prose = isinstance(genome, str)
    size, family = (8.0, matplotlib.rcParams["font.family"]) if prose else (7.0, ["monospace"])
    figure: Any = ax.get_figure(root=True)
    points = _TEXT_SHARE * np.array([ax.bbox.width, ax.bbox.height]) * 72 / figure.dpi
    columns, rows = int(points[0] / (size * 0.56)), int(points[1] / (size * 1.45))
    lines = fit_text(printable(_text(genome), family), columns, rows)
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
        **PLAIN_TEXT,
    )


def _text(genome: Any) -> str:
    """Returns a text, the files of a program one after the other, or JSON."""
    if isinstance(genome, str):
        return genome[:_LONGEST]
    if isinstance(genome, bytes):
        return f"{len(genome)} bytes: {genome[:256].hex(' ')}"
    if isinstance(genome, Mapping) and all(isinstance(text, str) for text in genome.values()):
        files = (f"# {path}\n{text[:_LONGEST]}" for path, text in genome.items())
        return "\n\n".join(files)[:_LONGEST]
    return json.dumps(genome, indent=1, ensure_ascii=False, default=str)[:_LONGEST]


def printable(text: str, families: list[str]) -> str:
    """Returns `text` without control characters and characters that these fonts do not have.

    Lines stay lines.
    """
    known = _characters(families)
    lines = text.replace("\r\n", "\n").expandtabs(4).split("\n")
    drawable = lambda c: ord(c) in known and unicodedata.category(c)[0] != "C"
    return "\n".join("".join(c if drawable(c) else _REPLACEMENT for c in line) for line in lines)


def _characters(families: list[str]) -> set[int]:
    """The code points that these fonts can show."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return set().union(
        *(get_font(findfont(FontProperties(family=[name]))).get_charmap() for name in families)
    )


def fit_text(text: str, columns: int, rows: int) -> list[str]:
    """Returns at most `rows` lines of at most `columns` characters.

    The last line is an ellipsis if anything is left out.
    """
    columns, rows = max(columns, 8), max(rows, 2)
    wrap = textwrap.TextWrapper(columns, subsequent_indent="  ", replace_whitespace=False)
    lines = [part.rstrip() for line in text.split("\n") for part in wrap.wrap(line) or [""]]
    return lines if len(lines) <= rows else [*lines[: rows - 1], "…"]

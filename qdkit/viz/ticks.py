"""The text around a map: the names of its axes, their labels, and the names of blocks."""

from __future__ import annotations

from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from qdkit.viz.cells import Level, cell_names, nested
from qdkit.viz.style import PLAIN_TEXT, axis_labels, axis_names, format_number, note, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FLAT = 0.18  # the height of a map of one axis, as a share of its width
_LETTERS = 46  # the number of letters that fit along a side of a map, about
# The room beside a map for the names of one level of blocks, as a share of its side.
NAMES_ROOM = 0.13


def draw_frame(ax: Axes, archive: Any, values: np.ma.MaskedArray, title: str | None) -> None:
    """Draws the axes' names and ticks, the frame and the title."""
    if archive.axes > 2:
        _, across, upward = nested(archive.shape, values)
        _draw_nested_ticks(ax, archive, "x", across)
        _draw_nested_ticks(ax, archive, "y", upward)
    else:
        _draw_ticks(ax, archive, "x", 0)
        if archive.axes == 2:
            _draw_ticks(ax, archive, "y", 1)
        else:
            ax.set_yticks([])
    ax.set_box_aspect(_FLAT if archive.axes == 1 else 1)
    tidy(ax)
    if title is not None:
        ax.set_title(title, loc="left", **PLAIN_TEXT)
    if not values.count():
        note(ax, "no elites yet")


def _draw_ticks(ax: Axes, archive: Any, side: str, axis: int) -> None:
    """Draws the name and the labels, if any, of one axis of the archive on one side of the map."""
    ax.set(**{f"{side}label": axis_names(archive)[axis]})
    line = ax.xaxis if side == "x" else ax.yaxis
    line.label.set(**PLAIN_TEXT)
    if labels := axis_labels(archive, axis):
        rotation = _rotation(side, labels, _LETTERS)
        line.set_ticks(range(len(labels)), labels, **PLAIN_TEXT, **rotation)
        line.set_tick_params(length=0)


def _draw_nested_ticks(ax: Axes, archive: Any, side: str, levels: list[Level]) -> None:
    """Draws the names of the levels on one side of the map and on the opposite side.

    The innermost axis is below or at the left. The blocks are above or at the right, the outermost
    farthest from the map.
    """
    inner, *outer = levels
    blocks = inner.repeats
    line = ax.xaxis if side == "x" else ax.yaxis
    if labels := axis_labels(archive, inner.axis):
        rotation = _rotation(side, labels, _LETTERS / blocks)
        line.set_ticks(np.arange(inner.size) + 0.5, labels, **PLAIN_TEXT, **rotation)
    else:
        edges = archive.edges(inner.axis)  # of the first block; the others repeat it
        line.set_ticks([0, inner.size], [format_number(edges[0]), format_number(edges[-1])])
    line.set_label_text(axis_names(archive)[inner.axis], **PLAIN_TEXT)
    line.set_tick_params(length=0)
    for depth, level in enumerate(outer):
        position = 1.0 + NAMES_ROOM * depth
        beside = (ax.secondary_xaxis if side == "x" else ax.secondary_yaxis)(position)
        middles = (np.arange(level.size * level.repeats) + 0.5) * level.width
        texts = list(islice(cycle(cell_names(archive, level.axis)), len(middles)))
        few = slice(None, None, max(1, -(-sum(map(len, texts)) // _LETTERS)))
        upright = {} if side == "x" else {"rotation": 90, "va": "center"}
        getattr(beside, f"set_{side}ticks")(middles[few], texts[few], **PLAIN_TEXT, **upright)
        getattr(beside, f"set_{side}label")(axis_names(archive)[level.axis], **PLAIN_TEXT)
        beside.tick_params(length=0)
        for spine in beside.spines.values():
            spine.set_visible(False)


def _rotation(side: str, labels: tuple[str, ...], room: float) -> dict[str, Any]:
    """Returns the rotation of labels along x that are longer than `room`, in letters."""
    crowded = side == "x" and max(map(len, labels)) * len(labels) > room
    return {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if crowded else {}

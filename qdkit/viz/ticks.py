"""What stands around a map: the names of its axes, their labels, and the names of blocks."""

from __future__ import annotations

from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from qdkit.viz.cells import Level, cell_names, nested
from qdkit.viz.look import PLAIN, labels, names, note, number, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FLAT = 0.18  # the height of a map of one axis, as a share of its width
LETTERS = 46  # about as many fit along a side of a map
LEVEL = 0.13  # the room beside a map for the names of one level of blocks, as a share of its side


def frame(ax: Axes, archive: Any, shown: np.ma.MaskedArray, title: str | None) -> None:
    """The axes' names and ticks, the frame and the title."""
    if archive.axes > 2:
        _, across, upward = nested(archive.shape, shown)
        _ticks_nested(ax, archive, "x", across)
        _ticks_nested(ax, archive, "y", upward)
    else:
        _ticks(ax, archive, "x", 0)
        if archive.axes == 2:
            _ticks(ax, archive, "y", 1)
        else:
            ax.set_yticks([])
    ax.set_box_aspect(FLAT if archive.axes == 1 else 1)
    tidy(ax)
    if title is not None:
        ax.set_title(title, loc="left", **PLAIN)
    if not shown.count():
        note(ax, "no elites yet")


def _ticks(ax: Axes, archive: Any, side: str, axis: int) -> None:
    """The name and, where it has them, the labels of one axis of the archive on one side of the map."""
    ax.set(**{f"{side}label": names(archive)[axis]})
    line = ax.xaxis if side == "x" else ax.yaxis
    line.label.set(**PLAIN)
    if found := labels(archive, axis):
        line.set_ticks(range(len(found)), found, **PLAIN, **_slant(side, found, LETTERS))
        line.set_tick_params(length=0)


def _ticks_nested(ax: Axes, archive: Any, side: str, levels: list[Level]) -> None:
    """The innermost axis below or at the left, the blocks above or at the right, the outermost farthest."""
    inner, *outer = levels
    blocks = inner.repeats
    line = ax.xaxis if side == "x" else ax.yaxis
    if found := labels(archive, inner.axis):
        line.set_ticks(np.arange(inner.size) + 0.5, found, **PLAIN, **_slant(side, found, LETTERS / blocks))
    else:
        edges = archive.edges(inner.axis)  # of the first block; the others repeat it
        line.set_ticks([0, inner.size], [number(edges[0]), number(edges[-1])])
    line.set_label_text(names(archive)[inner.axis], **PLAIN)
    line.set_tick_params(length=0)
    for depth, level in enumerate(outer):
        beside = (ax.secondary_xaxis if side == "x" else ax.secondary_yaxis)(1.0 + LEVEL * depth)
        middles = (np.arange(level.size * level.repeats) + 0.5) * level.width
        written = list(islice(cycle(cell_names(archive, level.axis)), len(middles)))
        few = slice(None, None, max(1, -(-sum(map(len, written)) // LETTERS)))
        upright = {} if side == "x" else {"rotation": 90, "va": "center"}
        getattr(beside, f"set_{side}ticks")(middles[few], written[few], **PLAIN, **upright)
        getattr(beside, f"set_{side}label")(names(archive)[level.axis], **PLAIN)
        beside.tick_params(length=0)
        for spine in beside.spines.values():
            spine.set_visible(False)


def _slant(side: str, found: tuple[str, ...], room: float) -> dict[str, Any]:
    """How labels are turned that would run into each other: along x, and longer than the room, in letters."""
    crowded = side == "x" and max(map(len, found)) * len(found) > room
    return {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if crowded else {}

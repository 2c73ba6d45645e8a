"""The archive as lines, for descriptors of any number of axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qdkit.runs.view import RunView
from qdkit.viz.cells import drawn_bounds
from qdkit.viz.colour import DEFAULT_COLOUR_MAP, cell_values, colour_bar, colour_settings
from qdkit.viz.style import (
    PLAIN_TEXT,
    axis_labels,
    axis_names,
    best_per_cell,
    format_number,
    geometry,
    has_method,
    note,
    panel,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap


@styled
def parallel(
    view: RunView,
    ax: Axes | None = None,
    *,
    values: Any = None,
    cmap: str | Colormap = DEFAULT_COLOUR_MAP,
    vmin: float | None = None,
    vmax: float | None = None,
    colorbar: bool = True,
    title: str | None = None,
) -> Axes:
    """Draws a line for each elite through its descriptor, on one upright axis for each axis.

    For archives with too many axes for a map. The best elites are drawn on top; `values` and the
    other arguments are as in `heatmap`.
    """
    from matplotlib.collections import LineCollection

    archive = geometry(view)
    elites, numbers = best_per_cell(view), cell_values(view, values)
    ax = panel(ax, 6.4, 3.8)
    cells = np.flatnonzero(~np.ma.getmaskarray(numbers) & np.asarray(elites.occupied))
    cells = cells[np.argsort(numbers.data[cells], kind="stable")]
    descriptor = np.asarray(elites.descriptor, np.float64)[cells]
    low, high = _ends(archive, descriptor).T
    heights = np.clip((descriptor - low) / (high - low), 0, 1)
    lines = [np.column_stack([np.arange(archive.axes), row]) for row in heights]
    opacity = max(0.4, min(0.9, 60 / max(len(cells), 1)))
    colours = colour_settings(numbers, cmap, vmin, vmax)
    collection = LineCollection(lines, linewidths=1.1, alpha=opacity, **colours)
    collection.set_array(numbers[cells])
    ax.add_collection(collection)
    _draw_uprights(ax, archive, low, high)
    if title is not None:
        ax.set_title(title, loc="left", **PLAIN_TEXT)
    if colorbar and len(cells):
        colour_bar(ax, collection, "objective" if values is None else "")
    if not len(cells):
        note(ax, "no elites yet")
    return ax


def _ends(archive: Any, descriptor: np.ndarray) -> np.ndarray:
    """Returns the numbers at the two ends of each drawn axis, float64 `[d, 2]`."""
    if has_method(archive, "edges"):
        return drawn_bounds([archive.edges(axis)[[0, -1]] for axis in range(archive.axes)])
    if hasattr(archive, "bounds"):
        return drawn_bounds(archive.bounds)
    if not len(descriptor):
        return drawn_bounds([(0, 1)] * archive.axes)
    return drawn_bounds(np.stack([descriptor.min(0), descriptor.max(0)], 1))


def _draw_uprights(ax: Axes, archive: Any, low: np.ndarray, high: np.ndarray) -> None:
    """Draws the upright axes of a parallel plot, with their names and their labels or ends."""
    background = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.8}
    style: Any = {"va": "center", "fontsize": 7.5, "bbox": background, **PLAIN_TEXT}
    for axis in range(archive.axes):
        ax.axvline(axis, color="#bbbbbb", linewidth=0.8, zorder=0)
        if labels := axis_labels(archive, axis):
            names, heights = labels, (np.arange(len(labels)) + 0.5) / len(labels)
        else:
            names = format_number(low[axis]), format_number(high[axis])
            heights = np.array([0.0, 1.0])
        for height, text in zip(heights, names, strict=True):
            ax.annotate(text, (axis, height), (3, 0), textcoords="offset points", **style)
    ax.set_xticks(range(archive.axes), axis_names(archive), **PLAIN_TEXT)
    ax.set(xlim=(-0.15, archive.axes - 0.7), ylim=(-0.05, 1.05), yticks=[])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)

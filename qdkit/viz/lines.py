"""The archive as lines, for descriptors of any number of axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qdkit.seen import Seen
from qdkit.viz.cells import box
from qdkit.viz.colour import COLOURS, colour_bar, painting, shown_values
from qdkit.viz.look import PLAIN, geometry, labels, names, note, number, panel, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap


@styled
def parallel(
    seen: Seen,
    ax: Axes | None = None,
    *,
    values: Any = None,
    cmap: str | Colormap = COLOURS,
    vmin: float | None = None,
    vmax: float | None = None,
    colorbar: bool = True,
    title: str | None = None,
) -> Axes:
    """A line for each elite, through its descriptor on one upright axis for each axis of the archive.

    For archives that have too many axes for a map. The best lie on top; `values` and the others as in `heatmap`.
    """
    from matplotlib.collections import LineCollection

    archive = geometry(seen)
    shown = shown_values(seen, values)
    ax = panel(ax, 6.4, 3.8)
    some = np.flatnonzero(~np.ma.getmaskarray(shown) & np.asarray(seen.elites.occupied))
    some = some[np.argsort(shown.data[some], kind="stable")]
    place = np.asarray(seen.elites.descriptor, np.float64)[some]
    low, high = _ends(archive, place).T
    heights = np.clip((place - low) / (high - low), 0, 1)
    lines = [np.column_stack([np.arange(archive.axes), row]) for row in heights]
    opacity = max(0.4, min(0.9, 60 / max(len(some), 1)))
    drawn = LineCollection(lines, linewidths=1.1, alpha=opacity, **painting(shown, cmap, vmin, vmax))
    drawn.set_array(shown[some])
    ax.add_collection(drawn)
    _uprights(ax, archive, low, high)
    if title is not None:
        ax.set_title(title, loc="left", **PLAIN)
    if colorbar and len(some):
        colour_bar(ax, drawn, "objective" if values is None else "")
    if not len(some):
        note(ax, "no elites yet")
    return ax


def _ends(archive: Any, place: np.ndarray) -> np.ndarray:
    """float64 `[d, 2]`: between which numbers each axis is drawn."""
    if hasattr(archive, "edges"):
        return box([archive.edges(axis)[[0, -1]] for axis in range(archive.axes)])
    if hasattr(archive, "bounds"):
        return box(archive.bounds)
    return box(np.stack([place.min(0), place.max(0)], 1) if len(place) else [(0, 1)] * archive.axes)


def _uprights(ax: Axes, archive: Any, low: np.ndarray, high: np.ndarray) -> None:
    """The upright axes of a parallel plot, with their names and their labels or ends."""
    veil = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.8}
    for axis in range(archive.axes):
        ax.axvline(axis, color="#bbbbbb", linewidth=0.8, zorder=0)
        found = labels(archive, axis) or (number(low[axis]), number(high[axis]))
        heights = (np.arange(len(found)) + 0.5) / len(found) if labels(archive, axis) else np.array([0.0, 1.0])
        for height, text in zip(heights, found, strict=True):
            ax.annotate(
                text, (axis, height), (3, 0), textcoords="offset points", va="center", fontsize=7.5, bbox=veil, **PLAIN
            )
    ax.set_xticks(range(archive.axes), names(archive), **PLAIN)
    ax.set(xlim=(-0.15, archive.axes - 0.7), ylim=(-0.05, 1.05), yticks=[])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)

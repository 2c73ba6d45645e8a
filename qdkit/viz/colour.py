"""What a colour stands for: the value of each cell, the map from values to colours, and its bar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qdkit.seen import Seen
from qdkit.viz.look import champions, objectives

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Colormap

COLOURS = "viridis"  # even to the eye, and to the colour-blind
EMPTY = "#ececec"  # a cell without an elite


def colours(cmap: str | Colormap) -> Colormap:
    """A colour map by name or as it is, in which what is empty is grey."""
    import matplotlib

    return matplotlib.colormaps.get_cmap(cmap).with_extremes(bad=EMPTY)


def shown_values(seen: Seen, values: Any) -> np.ma.MaskedArray:
    """float64 `[C]`: what the colours stand for; empty cells are masked."""
    found = objectives(champions(seen)) if values is None else np.asarray(values, np.float64)
    if found.shape != (cells := len(champions(seen).objective),):
        raise ValueError(f"values has one number for each of the {cells} cells, shape ({cells},), not {found.shape}")
    return np.ma.masked_invalid(found)


def painting(shown: np.ma.MaskedArray, cmap: str | Colormap, vmin: float | None, vmax: float | None) -> dict[str, Any]:
    """The colour map and the range of values it covers, as matplotlib's collections take them."""
    from matplotlib.colors import Normalize

    low, high = (shown.min(), shown.max()) if shown.count() else (0.0, 1.0)
    return {"cmap": colours(cmap), "norm": Normalize(low if vmin is None else vmin, high if vmax is None else vmax)}


def colour_bar(ax: Axes, mesh: ScalarMappable, label: str, *, beyond: float = 0.0, ticks: int = 6) -> None:
    """A colour bar as high as the map, so far beyond its right side; inset, so that layouts keep it there."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.ticker import MaxNLocator

    place = ax.inset_axes((1.03 + beyond, 0, 0.035, 1))
    opaque = ScalarMappable(mesh.norm, mesh.cmap)
    bar = ax.get_figure().colorbar(opaque, cax=place, ticks=MaxNLocator(ticks))  # type: ignore[union-attr]
    bar.outline.set_visible(False)
    bar.set_label(label)

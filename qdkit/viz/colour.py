"""The meaning of colours: the value of each cell, the colour map, and the colour bar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qdkit.runs.view import RunView
from qdkit.viz.style import best_per_cell, objectives

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Colormap

DEFAULT_COLOUR_MAP = "viridis"  # perceptually uniform, for the colour-blind too
EMPTY = "#ececec"  # a cell without an elite


def colour_map(cmap: str | Colormap) -> Colormap:
    """Returns a colour map, given by name or as it is, in which empty cells are grey."""
    import matplotlib

    return matplotlib.colormaps.get_cmap(cmap).with_extremes(bad=EMPTY)


def cell_values(view: RunView, values: Any) -> np.ma.MaskedArray:
    """Returns the value of each cell that its colour stands for, float64 `[C]`.

    Empty cells are masked.
    """
    elites = best_per_cell(view)
    numbers = objectives(elites) if values is None else np.asarray(values, np.float64)
    if numbers.shape != (cells := len(elites.objective),):
        raise ValueError(
            f"values has one number for each of the {cells} cells, shape ({cells},), not "
            f"{numbers.shape}"
        )
    return np.ma.masked_invalid(numbers)


def colour_settings(
    values: np.ma.MaskedArray, cmap: str | Colormap, vmin: float | None, vmax: float | None
) -> dict[str, Any]:
    """Returns the colour map and the range of values, as matplotlib's collections take them."""
    from matplotlib.colors import Normalize

    low, high = (values.min(), values.max()) if values.count() else (0.0, 1.0)
    return {
        "cmap": colour_map(cmap),
        "norm": Normalize(low if vmin is None else vmin, high if vmax is None else vmax),
    }


def colour_bar(
    ax: Axes, mesh: ScalarMappable, label: str, *, offset: float = 0.0, ticks: int = 6
) -> None:
    """Draws a colour bar as high as the map, at its right side.

    offset: a further distance from the map, as a share of its width.

    The bar is an inset, so that layouts keep its position.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.ticker import MaxNLocator

    inset = ax.inset_axes((1.03 + offset, 0, 0.035, 1))
    opaque = ScalarMappable(mesh.norm, mesh.cmap)
    figure: Any = ax.get_figure()
    bar = figure.colorbar(opaque, cax=inset, ticks=MaxNLocator(ticks))
    bar.outline.set_visible(False)
    bar.set_label(label)

"""The archive as a map: each cell in the colour of its elite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qdkit.runs.view import RunView
from qdkit.viz.cells import drawn_bounds, intervals, nested, voronoi
from qdkit.viz.colour import DEFAULT_COLOUR_MAP, cell_values, colour_bar, colour_settings
from qdkit.viz.style import geometry, has_method, panel, styled
from qdkit.viz.ticks import NAMES_ROOM, draw_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Colormap


@styled
def heatmap(
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
    """Draws a map of the archive's cells in the colour of their elites' objectives.

    Axis 0 runs along x and axis 1 along y. A grid of more than two axes is nested: its first two
    axes are a block, and the other axes tile blocks. Cells around centroids are drawn as they are
    (Voronoi), cut at the bounds.

    values: float `[C]` to draw in place of the objective, nan for a cell without a value.
    vmin, vmax: the ends of the colours, those of the values where left out.
    colorbar: whether to draw a colour bar at the right of `ax`; a figure with layout="constrained"
      makes room for it.

    Raises ValueError for `values` of another length, and for an archive without such a map:
    centroids on more than two axes, or cells of another kind. `parallel` draws those.
    """
    archive = geometry(view)
    if (draw := _draw_function(archive)) is None:
        raise ValueError(
            "a map needs a grid, or centroids on one or two axes, and this is a "
            f"{type(archive).__name__} with {archive.axes} axes: use viz.parallel"
        )
    numbers = cell_values(view, values)
    ax = panel(ax, 5.2, 1.9 if archive.axes == 1 else 4.4)
    mesh = draw(ax, archive, numbers, colour_settings(numbers, cmap, vmin, vmax))
    draw_frame(ax, archive, numbers, title)
    if colorbar and numbers.count():
        label = "objective" if values is None else ""
        names = NAMES_ROOM * max(0, archive.axes // 2 - 1)  # the names of blocks at the right
        colour_bar(ax, mesh, label, offset=names, ticks=2 if archive.axes == 1 else 6)
    return ax


def has_map(archive: Any) -> bool:
    """Returns whether `heatmap` can draw this archive."""
    return _draw_function(archive) is not None


def _draw_function(archive: Any) -> Any:
    """Returns the function that draws this archive; None where there is none."""
    if hasattr(archive, "centroids"):
        return {1: _cvt_strip, 2: _cvt_plane}.get(archive.axes)
    if hasattr(archive, "shape") and has_method(archive, "edges"):
        return {1: _grid_strip, 2: _grid_plane}.get(archive.axes, _grid_nested)
    return None


def _grid_strip(
    ax: Axes, archive: Any, values: np.ma.MaskedArray, colours: dict[str, Any]
) -> ScalarMappable:
    lines = _cell_borders(archive.shape)
    return ax.pcolormesh(archive.edges(0), [0, 1], values[None], **colours, **lines)


def _grid_plane(
    ax: Axes, archive: Any, values: np.ma.MaskedArray, colours: dict[str, Any]
) -> ScalarMappable:
    rows, lines = values.reshape(archive.shape).T, _cell_borders(archive.shape)
    return ax.pcolormesh(archive.edges(0), archive.edges(1), rows, **colours, **lines)


def _grid_nested(
    ax: Axes, archive: Any, values: np.ma.MaskedArray, colours: dict[str, Any]
) -> ScalarMappable:
    rows, across, upward = nested(archive.shape, values)
    x, y = np.arange(rows.shape[1] + 1), np.arange(rows.shape[0] + 1)
    mesh = ax.pcolormesh(x, y, rows, **colours, **_cell_borders(rows.shape))
    for levels, line in ((across, ax.axvline), (upward, ax.axhline)):
        for depth, level in enumerate(levels[1:], 1):
            for k in range(1, level.size * level.repeats):
                line(k * level.width, color="white", linewidth=3.5 * depth)
    return mesh


def _cvt_strip(
    ax: Axes, archive: Any, values: np.ma.MaskedArray, colours: dict[str, Any]
) -> ScalarMappable:
    edges, order = intervals(archive.centroids[:, 0], drawn_bounds(archive.bounds)[0])
    lines = _cell_borders((len(order),))
    return ax.pcolormesh(edges, [0, 1], values[order][None], **colours, **lines)


def _cvt_plane(
    ax: Axes, archive: Any, values: np.ma.MaskedArray, colours: dict[str, Any]
) -> ScalarMappable:
    from matplotlib.collections import PolyCollection

    bounds = drawn_bounds(archive.bounds)
    width = min(0.8, 12 / np.sqrt(archive.cells))
    # thousands of white edges would make the colours pale
    edge = "white" if archive.cells <= 2000 else "face"
    polygons = voronoi(archive.centroids, bounds)
    cells = PolyCollection(polygons, edgecolors=edge, linewidths=width, **colours)
    cells.set_array(values)
    ax.add_collection(cells)
    ax.set(xlim=bounds[0], ylim=bounds[1])
    return cells


def _cell_borders(shape: tuple[int, ...]) -> dict[str, Any]:
    """Returns the settings of white lines between cells; none where the cells are small."""
    if max(shape) > 30:
        return {}
    return {"edgecolors": "white", "linewidth": min(0.6, 10 / max(shape))}

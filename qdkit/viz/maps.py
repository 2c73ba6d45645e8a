"""The archive as a map: each cell in the colour of its elite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qdkit.seen import Seen
from qdkit.viz.cells import box, intervals, nested, voronoi
from qdkit.viz.colour import COLOURS, colour_bar, painting, shown_values
from qdkit.viz.look import geometry, panel, styled
from qdkit.viz.ticks import LEVEL, frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Colormap


@styled
def heatmap(
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
    """A map of the archive's cells in the colour of their elites' objectives, axis 0 along x and axis 1 along y.

    A grid of more than two axes is nested: its first two axes are a block, and the others lay
    blocks side by side. Cells around centroids are drawn as they are (Voronoi), cut at the bounds.

    values: float `[C]` to show in place of the objective, nan where there is nothing to show.
    vmin, vmax: the ends of the colours, those of the values where left out.
    colorbar: stands at the right of `ax`; a figure with layout="constrained" makes room for it.

    Raises ValueError for `values` of another length, and for an archive that has no such map:
    centroids on more than two axes, or cells of another kind. `parallel` draws those.
    """
    archive = geometry(seen)
    if (draw := _drawing(archive)) is None:
        raise ValueError(
            f"a map needs a grid, or centroids on one or two axes, and this is a {type(archive).__name__} "
            f"with {archive.axes} axes: use viz.parallel"
        )
    shown = shown_values(seen, values)
    ax = panel(ax, 5.2, 1.9 if archive.axes == 1 else 4.4)
    mesh = draw(ax, archive, shown, painting(shown, cmap, vmin, vmax))
    frame(ax, archive, shown, title)
    if colorbar and shown.count():
        blocks = LEVEL * max(0, archive.axes // 2 - 1)  # what their names take at the right
        colour_bar(ax, mesh, "objective" if values is None else "", beyond=blocks, ticks=2 if archive.axes == 1 else 6)
    return ax


def mapped(archive: Any) -> bool:
    """Whether `heatmap` can draw this archive."""
    return _drawing(archive) is not None


def _drawing(archive: Any) -> Any:
    """The function that draws this archive, None if none does."""
    if hasattr(archive, "centroids"):
        return {1: _cvt_strip, 2: _cvt_plane}.get(archive.axes)
    if hasattr(archive, "shape") and hasattr(archive, "edges"):
        return {1: _grid_strip, 2: _grid_plane}.get(archive.axes, _grid_nested)
    return None


def _grid_strip(ax: Axes, archive: Any, shown: np.ma.MaskedArray, paint: dict[str, Any]) -> ScalarMappable:
    return ax.pcolormesh(archive.edges(0), [0, 1], shown[None], **paint, **_seams(archive.shape))


def _grid_plane(ax: Axes, archive: Any, shown: np.ma.MaskedArray, paint: dict[str, Any]) -> ScalarMappable:
    rows = shown.reshape(archive.shape).T
    return ax.pcolormesh(archive.edges(0), archive.edges(1), rows, **paint, **_seams(archive.shape))


def _grid_nested(ax: Axes, archive: Any, shown: np.ma.MaskedArray, paint: dict[str, Any]) -> ScalarMappable:
    rows, across, upward = nested(archive.shape, shown)
    mesh = ax.pcolormesh(
        np.arange(rows.shape[1] + 1), np.arange(rows.shape[0] + 1), rows, **paint, **_seams(rows.shape)
    )
    for levels, line in ((across, ax.axvline), (upward, ax.axhline)):
        for depth, level in enumerate(levels[1:], 1):
            for k in range(1, level.size * level.repeats):
                line(k * level.width, color="white", linewidth=3.5 * depth)
    return mesh


def _cvt_strip(ax: Axes, archive: Any, shown: np.ma.MaskedArray, paint: dict[str, Any]) -> ScalarMappable:
    edges, order = intervals(archive.centroids[:, 0], box(archive.bounds)[0])
    return ax.pcolormesh(edges, [0, 1], shown[order][None], **paint, **_seams((len(order),)))


def _cvt_plane(ax: Axes, archive: Any, shown: np.ma.MaskedArray, paint: dict[str, Any]) -> ScalarMappable:
    from matplotlib.collections import PolyCollection

    bounds = box(archive.bounds)
    width = min(0.8, 12 / np.sqrt(archive.cells))
    edge = "white" if archive.cells <= 2000 else "face"  # thousands of white edges would wash the colours out
    cells = PolyCollection(voronoi(archive.centroids, bounds), edgecolors=edge, linewidths=width, **paint)
    cells.set_array(shown)
    ax.add_collection(cells)
    ax.set(xlim=bounds[0], ylim=bounds[1])
    return cells


def _seams(shape: tuple[int, ...]) -> dict[str, Any]:
    """White lines between cells that are large enough to have them."""
    return {"edgecolors": "white", "linewidth": min(0.6, 10 / max(shape))} if max(shape) <= 30 else {}

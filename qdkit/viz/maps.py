"""The archive as a map: each cell in the colour of its elite."""

from __future__ import annotations

from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from qdkit.viz.cells import Level, box, cell_names, intervals, nested, voronoi
from qdkit.viz.look import COLOURS, PLAIN, Seen, colours, labels, names, note, number, objectives, panel, styled, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Colormap

FLAT = 0.18  # the height of a map of one axis, as a share of its width
LETTERS = 46  # about as many fit along a side of a map
LEVEL = 0.13  # the room beside a map for the names of one level of blocks, as a share of its side


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
    archive = seen.archive
    if (draw := _drawing(archive)) is None:
        raise ValueError(
            f"a map needs a grid, or centroids on one or two axes, and this is a {type(archive).__name__} "
            f"with {archive.axes} axes: use viz.parallel"
        )
    shown = _shown(seen, values)
    ax = panel(ax, 5.2, 1.9 if archive.axes == 1 else 4.4)
    mesh = draw(ax, archive, shown, _paint(shown, cmap, vmin, vmax))
    _dress(ax, archive, shown, title)
    if colorbar and shown.count():
        _bar(ax, mesh, "objective" if values is None else "", beyond=max(0, archive.axes // 2 - 1))
    return ax


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

    archive = seen.archive
    shown = _shown(seen, values)
    ax = panel(ax, 6.4, 3.8)
    some = np.flatnonzero(~np.ma.getmaskarray(shown) & np.asarray(seen.elites.occupied))
    some = some[np.argsort(shown.data[some], kind="stable")]
    place = np.asarray(seen.elites.descriptor, np.float64)[some]
    low, high = _ends(archive, place).T
    heights = np.clip((place - low) / (high - low), 0, 1)
    lines = [np.column_stack([np.arange(archive.axes), row]) for row in heights]
    opacity = max(0.4, min(0.9, 60 / max(len(some), 1)))
    drawn = LineCollection(lines, linewidths=1.1, alpha=opacity, **_paint(shown, cmap, vmin, vmax))
    drawn.set_array(shown[some])
    ax.add_collection(drawn)
    _uprights(ax, archive, low, high)
    if title is not None:
        ax.set_title(title, loc="left", **PLAIN)
    if colorbar and len(some):
        _bar(ax, drawn, "objective" if values is None else "", beyond=0)
    if not len(some):
        note(ax, "no elites yet")
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


def _shown(seen: Seen, values: Any) -> np.ma.MaskedArray:
    """float64 `[C]`: what the colours stand for; empty cells are masked."""
    found = objectives(seen.elites) if values is None else np.asarray(values, np.float64)
    if found.shape != (cells := len(seen.elites.objective),):
        raise ValueError(f"values has one number for each of the {cells} cells, shape ({cells},), not {found.shape}")
    return np.ma.masked_invalid(found)


def _paint(shown: np.ma.MaskedArray, cmap: str | Colormap, vmin: float | None, vmax: float | None) -> dict[str, Any]:
    from matplotlib.colors import Normalize

    low, high = (shown.min(), shown.max()) if shown.count() else (0.0, 1.0)
    return {"cmap": colours(cmap), "norm": Normalize(low if vmin is None else vmin, high if vmax is None else vmax)}


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


def _dress(ax: Axes, archive: Any, shown: np.ma.MaskedArray, title: str | None) -> None:
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
        slant: dict[str, Any] = (
            {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if side == "x" and _crowded(found) else {}
        )
        line.set_ticks(range(len(found)), found, **PLAIN, **slant)
        line.set_tick_params(length=0)


def _ticks_nested(ax: Axes, archive: Any, side: str, levels: list[Level]) -> None:
    """The innermost axis below or at the left, the blocks above or at the right, the outermost farthest."""
    inner, *outer = levels
    line = ax.xaxis if side == "x" else ax.yaxis
    if found := labels(archive, inner.axis):
        line.set_ticks(np.arange(inner.size) + 0.5, found, **PLAIN)
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


def _crowded(found: tuple[str, ...]) -> bool:
    return sum(map(len, found)) > 36 or max(map(len, found)) * len(found) > 60


def _bar(ax: Axes, mesh: ScalarMappable, label: str, *, beyond: int) -> None:
    """A colour bar as high as the map, beyond so many levels of block names; inset, so that layouts keep it there."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.ticker import MaxNLocator

    place = ax.inset_axes((1.03 + LEVEL * beyond, 0, 0.035, 1))
    opaque = ScalarMappable(mesh.norm, mesh.cmap)
    ticks = MaxNLocator(2 if ax.get_box_aspect() == FLAT else 6)
    bar = ax.get_figure().colorbar(opaque, cax=place, ticks=ticks)  # type: ignore[union-attr]
    bar.outline.set_visible(False)
    bar.set_label(label)


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

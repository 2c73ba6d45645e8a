"""A search on one page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdkit.runs.view import RunView
from qdkit.viz.curves import histogram, progress
from qdkit.viz.heatmaps import has_map, heatmap
from qdkit.viz.parallel_axes import parallel
from qdkit.viz.pictures import best
from qdkit.viz.style import best_per_cell, geometry, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def overview(view: RunView) -> Figure:
    """Draws the map, the best elite, the progress and the objectives in one figure."""
    figure = new_figure(11.5, 7.4)
    (above,), (below,) = figure.subfigures(2, 1, squeeze=False, height_ratios=(2.35, 1))
    map_ax, best_ax = above.subplots(1, 2, width_ratios=(1.25, 1))
    small_axes = below.subplots(1, 5)
    occupied = np.asarray(best_per_cell(view).occupied)
    draw = heatmap if has_map(geometry(view)) else parallel
    draw(view, map_ax, title=f"{occupied.sum():,} elites in {len(occupied):,} cells")
    best(view, best_ax)
    progress(view, small_axes[:4])
    histogram(view, small_axes[4])
    return figure

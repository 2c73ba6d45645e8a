"""A search on one page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdkit.seen import Seen
from qdkit.viz.curves import histogram, progress
from qdkit.viz.lines import parallel
from qdkit.viz.look import champions, geometry, new_figure, styled
from qdkit.viz.maps import heatmap, mapped
from qdkit.viz.pictures import best

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def overview(seen: Seen) -> Figure:
    """The map of the archive, the best elite, the progress and the elites' objectives, in one figure."""
    figure = new_figure(11.5, 7.4)
    (above,), (below,) = figure.subfigures(2, 1, squeeze=False, height_ratios=(2.35, 1))
    place, picture = above.subplots(1, 2, width_ratios=(1.25, 1))
    small = below.subplots(1, 5)
    occupied = np.asarray(champions(seen).occupied)
    draw = heatmap if mapped(geometry(seen)) else parallel
    draw(seen, place, title=f"{occupied.sum():,} elites in {len(occupied):,} cells")
    best(seen, picture)
    progress(seen, small[:4])
    histogram(seen, small[4])
    return figure

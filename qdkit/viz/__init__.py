"""Pictures of a search, drawn with matplotlib.

Every function takes a view of a search: a search, a loaded run, or any object with `archive` and
`elites`; some also read its `history`, its `domain` or its `genome(id)`. It draws on the given
`ax`, or on a new figure, and returns it. It never shows or saves a figure, and changes no setting
of matplotlib outside the picture. `texts` is a table, for maps of texts; `judged` lists their
judges; `sheet` is a map of pictures.

    ax = viz.heatmap(search)
    viz.overview(search).savefig("search.png", dpi=150)
"""

from __future__ import annotations

from qdkit.viz.curves import histogram, profile, progress
from qdkit.viz.group_curves import comparison
from qdkit.viz.heatmaps import heatmap
from qdkit.viz.novelty import novelty
from qdkit.viz.one_page import overview
from qdkit.viz.origins import origins
from qdkit.viz.parallel_axes import parallel
from qdkit.viz.pictures import best, gallery
from qdkit.viz.sheet import sheet
from qdkit.viz.texts import judged, texts

__all__ = [
    "best",
    "comparison",
    "gallery",
    "heatmap",
    "histogram",
    "judged",
    "novelty",
    "origins",
    "overview",
    "parallel",
    "profile",
    "progress",
    "sheet",
    "texts",
]

"""Pictures of a search, drawn with matplotlib.

Every function takes what is seen: a search, a loaded run, or any object with `archive` and
`elites`; some also read its `history`, its `domain` or its `genome(id)`. It draws on the `ax` that it is
given, or on a figure of its own, and returns it; it never shows or saves, nor changes any setting
of matplotlib outside the picture. `texts` is a table, for maps of texts, `judged` who judged
them, and `sheet` a map of pictures.

    ax = viz.heatmap(search)
    viz.overview(search).savefig("search.png", dpi=150)
"""

from __future__ import annotations

from qdkit.viz.bands import comparison
from qdkit.viz.curves import histogram, profile, progress
from qdkit.viz.lines import parallel
from qdkit.viz.maps import heatmap
from qdkit.viz.novelty import novelty
from qdkit.viz.origins import origins
from qdkit.viz.page import overview
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

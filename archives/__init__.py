"""Archives: how descriptor space is divided into cells, and which candidates stay.

`Grid` and `CVT` divide the space into cells and keep the best candidate of each cell. `Thresholds`
and `DeepGrid` put another insertion rule on such cells, `Islands` several populations. `Novelty`,
`DominatedNovelty` and `Recent` have no cells.
"""

if __name__ != "qdkit.archives":
    raise ImportError(
        "import qdkit.archives, not archives: this folder is part of the package qdkit"
    )

from .cvt import CVT
from .deep_grid import DeepGrid
from .dominated_novelty import DominatedNovelty
from .grid import Grid
from .islands import Islands, Migrate, Reset, Spawn
from .novelty import Novelty
from .recent import Recent
from .thresholds import Thresholds

__all__ = [
    "CVT",
    "DeepGrid",
    "DominatedNovelty",
    "Grid",
    "Islands",
    "Migrate",
    "Novelty",
    "Recent",
    "Reset",
    "Spawn",
    "Thresholds",
]

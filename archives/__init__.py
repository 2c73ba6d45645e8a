"""Archives: the geometries of cells, and who stays in them. Each says where a descriptor belongs.

`qdkit.elites` keeps the best of each cell; `Soft` and `Deep` have other rules, `Novelty`, `Dominated` and
`Recent` no cells.
"""

if __name__ != "qdkit.archives":
    raise ImportError("import qdkit.archives, not archives: this folder is part of the package qdkit")

from .cvt import CVT
from .deep import Deep
from .dominated import Dominated
from .grid import Grid
from .islands import Islands, Migrate, Reset, Spawn
from .novelty import Novelty
from .recent import Recent
from .soft import Soft

__all__ = ["CVT", "Deep", "Dominated", "Grid", "Islands", "Migrate", "Novelty", "Recent", "Reset", "Soft", "Spawn"]

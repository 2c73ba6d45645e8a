"""Archives: the geometries of cells. Each says where a descriptor belongs; `qdkit.elites` keeps what is there."""

if __name__ != "qdkit.archives":
    raise ImportError("import qdkit.archives, not archives: this folder is part of the package qdkit")

from .cvt import CVT
from .grid import Grid
from .islands import Islands, Migrate, Reset, Spawn

__all__ = ["CVT", "Grid", "Islands", "Migrate", "Reset", "Spawn"]

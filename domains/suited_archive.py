"""Archives for a domain: over its bounds, with its names."""

from __future__ import annotations

from typing import Any

# The command line offers these functions of the domain as archives; their keyword arguments become
# its options.


def grid(domain: Any, *, shape: tuple[int, ...] | None = None, depth: int | None = None) -> Any:
    """A grid over the domain's bounds.

    shape: cells along each axis; by default those of the domain, else about 2,500 cells in all.
    depth: how many candidates a cell keeps to build on; by default that of the domain, else 1.
    """
    from qdkit.archives import DeepGrid, Grid

    bounds, names = _bounds_and_names(domain)
    each = max(2, round(2500 ** (1 / len(bounds))))
    default_shape = getattr(domain, "shape", None) or tuple(
        each if len(axis) == 2 and not isinstance(axis[0], str) else _cells_along(axis)
        for axis in bounds
    )
    default_depth = getattr(domain, "depth", 1)
    archive = Grid(default_shape if shape is None else shape, bounds, names=names)
    slots = default_depth if depth is None else depth
    return archive if slots == 1 else DeepGrid(archive, slots)


def cvt(domain: Any, *, cells: int = 1000) -> Any:
    """Cells around centroids spread over the domain's bounds.

    cells: how many.
    """
    from qdkit.archives import CVT

    bounds, names = _bounds_and_names(domain)
    if any(isinstance(axis[0], str) or len(axis) != 2 for axis in bounds):
        raise ValueError(
            "centroids need axes of numbers between two bounds, and this domain has labels or "
            "edges: use a grid"
        )
    return CVT.spread(cells, bounds, names=names)


def _bounds_and_names(domain: Any) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """Returns the bounds and the names of the descriptors of a domain.

    A domain whose axes are learnt from raters has two of them, from 0 to 1. Raises ValueError if
    the domain has no bounds.
    """
    learnt = getattr(domain, "taught", False)
    bounds = ((0.0, 1.0), (0.0, 1.0)) if learnt else getattr(domain, "bounds", None)
    if bounds is None:
        raise ValueError(
            f"{type(domain).__name__} has no bounds of its descriptors: "
            "give it an attribute bounds = ((low, high), ...), one entry for each axis"
        )
    return tuple(bounds), tuple(getattr(domain, "names", ()))


def _cells_along(axis: tuple[Any, ...]) -> int:
    """Returns the number of cells along an axis: its labels, or intervals between its edges."""
    return len(axis) if isinstance(axis[0], str) else len(axis) - 1

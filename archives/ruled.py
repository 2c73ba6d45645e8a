"""Archives with another insertion rule than that the best of a cell stays: a geometry of cells, wrapped.

    Soft(archive, rate)    a cell's bar rises by degrees, so that worse elites enter for a while (CMA-MAE)
    Deep(archive, depth)   the best few of each cell

An archive has one rule: each wraps an archive of which the best of a cell stays, such as a `Grid` or
a `CVT`, and refuses the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from qdkit.elites import Archive


@dataclass(frozen=True, eq=False)
class Ruled(Archive):
    """The cells of `archive`, in which a subclass says who stays."""

    archive: Archive

    elitist = False

    def __post_init__(self) -> None:
        if not isinstance(self.archive, Archive):
            return  # jax is rebuilding the tree, with a placeholder in place of the archive
        if not self.archive.elitist:
            inner, own = type(self.archive).__name__, type(self).__name__
            raise ValueError(
                f"{own} was given a {inner}, which has an insertion rule already, and an archive has one: "
                f"give {own} the cells alone, such as a Grid or a CVT"
            )

    @property
    def cells(self) -> int:
        """As many as the archive has."""
        return self.archive.cells

    @property
    def axes(self) -> int:
        """As of the archive."""
        return self.archive.axes

    @property
    def names(self) -> tuple[str, ...]:
        """As of the archive."""
        return tuple(getattr(self.archive, "names", ())) or tuple(f"axis {i}" for i in range(self.axes))

    def cell(self, descriptor: Any) -> jax.Array:
        """int32 `[n]`: as the archive says."""
        return self.archive.cell(descriptor)

    def inside(self, descriptor: Any) -> jax.Array:
        """bool `[n]`: as the archive says."""
        return self.archive.inside(descriptor)

    def encode(self, descriptor: Any) -> np.ndarray:
        """float64 `[n, axes]`: as the archive does."""
        return self.archive.encode(descriptor)

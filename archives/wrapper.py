"""Archives that put another insertion rule on the cells of a grid or a CVT.

    Thresholds(archive, rate)   the threshold of a cell rises slowly, so that worse elites may
                                enter for a while (CMA-MAE)
    DeepGrid(archive, depth)    each cell keeps its best few candidates

An archive has one insertion rule. Each of these wraps an archive that keeps the best candidate of
a cell, such as a `Grid` or a `CVT`, and refuses any other.
"""

from __future__ import annotations

from dataclasses import dataclass

from qdkit.core.elites import Archive, Wrapped


@dataclass(frozen=True, eq=False)
class Ruled(Wrapped):
    """The cells of `archive`, with an insertion rule that the subclass defines."""

    elitist = False

    def __post_init__(self) -> None:
        if not isinstance(self.archive, Archive):
            return  # jax is rebuilding the tree, with a placeholder in place of the archive
        inner, own = type(self.archive).__name__, type(self).__name__
        if not self.archive.elitist:
            raise ValueError(
                f"{own} was given a {inner}, which has an insertion rule already, and an archive "
                f"has one: give {own} the cells alone, such as a Grid or a CVT"
            )
        if self.archive.islands > 1:
            raise ValueError(
                f"{inner} keeps the best of a cell on every island, so {own} and {inner} do not "
                "go together: leave one out"
            )

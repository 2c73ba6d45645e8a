"""Archives with another insertion rule than that the best of a cell stays: a geometry of cells, wrapped.

    Soft(archive, rate)    a cell's bar rises by degrees, so that worse elites enter for a while (CMA-MAE)
    Deep(archive, depth)   the best few of each cell

An archive has one rule: each wraps an archive of which the best of a cell stays, such as a `Grid` or
a `CVT`, and refuses the others.
"""

from __future__ import annotations

from dataclasses import dataclass

from qdkit.elites import Archive, Wrapped


@dataclass(frozen=True, eq=False)
class Ruled(Wrapped):
    """The cells of `archive`, in which a subclass says who stays."""

    elitist = False

    def __post_init__(self) -> None:
        if not isinstance(self.archive, Archive):
            return  # jax is rebuilding the tree, with a placeholder in place of the archive
        inner, own = type(self.archive).__name__, type(self).__name__
        if not self.archive.elitist:
            raise ValueError(
                f"{own} was given a {inner}, which has an insertion rule already, and an archive has one: "
                f"give {own} the cells alone, such as a Grid or a CVT"
            )
        if self.archive.islands > 1:
            raise ValueError(f"the best stays on every island, so {own} and {inner} do not go together: leave one out")

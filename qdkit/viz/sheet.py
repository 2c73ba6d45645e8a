"""A map of pictures: each cell holds the picture of its elite."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from qdkit.seen import Seen
from qdkit.viz.cells import cell_names
from qdkit.viz.look import FAINT, PLAIN, champions, geometry, names, new_figure, note, number, objectives, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 16  # cells along an axis; smaller pictures are not seen
INCHES = 0.95  # of a cell


@styled
def sheet(seen: Seen) -> Figure | None:
    """The pictures of the elites in their cells, axis 0 along x and axis 1 along y, with their objectives.

    They are those that the domain gives as `png(genome)`. None where it gives none, or the archive is no grid of
    one or two axes with up to 16 cells along each.
    """
    archive = geometry(seen)
    picture = getattr(getattr(seen, "domain", None), "png", None)
    shape = getattr(archive, "shape", ())
    if picture is None or not 1 <= len(shape) <= 2 or max(shape) > MOST or not hasattr(archive, "edges"):
        return None
    across, upward = (*shape, 1)[:2]
    figure = new_figure(INCHES * across + 1.1, INCHES * upward + 0.9)
    ax = figure.add_subplot()
    _frame(ax, archive, across, upward)
    elites = champions(seen)
    cells = np.flatnonzero(np.asarray(elites.occupied))
    for cell in cells.tolist():
        x, y = divmod(cell, upward)
        genome = seen.genome(int(elites.payload["id"][cell]))
        _place(ax, x, y, picture(genome), number(float(objectives(elites)[cell])))
    if not len(cells):
        note(ax, "no elites yet")
    return figure


def _frame(ax: Any, archive: Any, across: int, upward: int) -> None:
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set(xlim=(0, across), ylim=(0, upward), aspect="equal")
    ax.tick_params(length=0)
    ax.set_xlabel(names(archive)[0], **PLAIN)
    ax.set_xticks(np.arange(across) + 0.5, cell_names(archive, 0), **PLAIN)
    ax.set_yticks([])
    if len(archive.shape) == 2:
        ax.set_ylabel(names(archive)[1], **PLAIN)
        ax.set_yticks(np.arange(upward) + 0.5, cell_names(archive, 1), **PLAIN)


def _place(ax: Any, x: int, y: int, png: bytes, objective: str) -> None:
    """One picture, with its objective below it."""
    from matplotlib.image import imread

    shown = imread(io.BytesIO(png), format="png")
    ax.imshow(shown, extent=(x + 0.05, x + 0.95, y + 0.1, y + 1.0), interpolation="antialiased", aspect="equal")
    ax.text(x + 0.5, y + 0.05, objective, ha="center", va="center", fontsize=5.5, color=FAINT, **PLAIN)
    ax.set(xlim=ax.get_xlim(), ylim=ax.get_ylim())

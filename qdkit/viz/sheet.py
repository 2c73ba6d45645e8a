"""A map of pictures: each cell has the picture of its elite."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from qdkit.runs.view import RunView
from qdkit.viz.cells import cell_names
from qdkit.viz.style import (
    FAINT,
    PLAIN_TEXT,
    axis_names,
    best_per_cell,
    format_number,
    geometry,
    has_method,
    new_figure,
    note,
    objectives,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST = 16  # cells along an axis; with more, the pictures are too small
_INCHES = 0.95  # the size of a cell


@styled
def sheet(view: RunView) -> Figure | None:
    """Draws the pictures of the elites in their cells, with their objectives.

    Axis 0 runs along x and axis 1 along y. The pictures are those of the domain's `png(genome)`.
    Returns None where the domain has no `png`, and where the archive is not a grid of one or two
    axes with up to 16 cells along each.
    """
    archive = geometry(view)
    picture = getattr(getattr(view, "domain", None), "png", None)
    shape = getattr(archive, "shape", ())
    fits = 1 <= len(shape) <= 2 and max(shape) <= _MOST and has_method(archive, "edges")
    if picture is None or not fits:
        return None
    across, upward = (*shape, 1)[:2]
    figure = new_figure(_INCHES * across + 1.1, _INCHES * upward + 0.9)
    ax = figure.add_subplot()
    _draw_frame(ax, archive, across, upward)
    elites = best_per_cell(view)
    cells = np.flatnonzero(np.asarray(elites.occupied))
    for cell in cells.tolist():
        x, y = divmod(cell, upward)
        genome = view.genome(int(elites.payload["id"][cell]))
        _draw_picture(ax, x, y, picture(genome), format_number(float(objectives(elites)[cell])))
    if not len(cells):
        note(ax, "no elites yet")
    return figure


def _draw_frame(ax: Any, archive: Any, across: int, upward: int) -> None:
    """Draws the names of the axes and of their cells."""
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set(xlim=(0, across), ylim=(0, upward), aspect="equal")
    ax.tick_params(length=0)
    ax.set_xlabel(axis_names(archive)[0], **PLAIN_TEXT)
    ax.set_xticks(np.arange(across) + 0.5, cell_names(archive, 0), **PLAIN_TEXT)
    ax.set_yticks([])
    if len(archive.shape) == 2:
        ax.set_ylabel(axis_names(archive)[1], **PLAIN_TEXT)
        ax.set_yticks(np.arange(upward) + 0.5, cell_names(archive, 1), **PLAIN_TEXT)


def _draw_picture(ax: Any, x: int, y: int, png: bytes, objective: str) -> None:
    """Draws one picture, with its objective below it."""
    from matplotlib.image import imread

    image = imread(io.BytesIO(png), format="png")
    extent = x + 0.05, x + 0.95, y + 0.1, y + 1.0
    ax.imshow(image, extent=extent, interpolation="antialiased", aspect="equal")
    style: Any = {"ha": "center", "va": "center", "fontsize": 5.5, "color": FAINT, **PLAIN_TEXT}
    ax.text(x + 0.5, y + 0.05, objective, **style)
    ax.set(xlim=ax.get_xlim(), ylim=ax.get_ylim())

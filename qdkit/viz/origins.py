"""How many candidates each operator made, and how many of them entered the archive."""

from __future__ import annotations

from itertools import cycle, product
from typing import TYPE_CHECKING, Any

import numpy as np

from qdkit.runs.view import RunView
from qdkit.viz.group_curves import GROUP_COLOURS, STROKES
from qdkit.viz.style import PLAIN_TEXT, new_figure, note, short_name, styled, tidy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

_COUNTS = ("candidates so far", "of these entered")


@styled
def origins(view: RunView, axes: Sequence[Axes] | None = None) -> FigureBase:
    """Draws how many candidates each operator made, and how many of them entered, over the steps.

    axes: two axes to draw on.

    Reads `view.origins`. The steeper a line, the greater the operator's share at that time: it
    shows which operators a bandit preferred, and whether their candidates entered. The domain's
    seeds are left out.
    """
    axes = list(new_figure(8.4, 2.9).subplots(1, 2)) if axes is None else list(axes)
    if len(axes) != len(_COUNTS):
        raise ValueError(f"origins draws on 2 axes ({', '.join(_COUNTS)}), not {len(axes)}")
    by_operator = getattr(view, "origins", None) or {}
    counts = {name: rows for name, rows in by_operator.items() if name != "seed"}
    for row, (ax, title) in enumerate(zip(axes, _COUNTS, strict=True)):
        _draw_frame(ax, title)
        styles = cycle(product(STROKES, GROUP_COLOURS))
        for (name, rows), (stroke, colour) in zip(counts.items(), styles, strict=False):
            line = np.cumsum(rows[row])
            style: Any = {"linewidth": 1.4, "color": colour, "linestyle": stroke}
            ax.plot(np.arange(1, len(line) + 1), line, label=short_name(name), **style)
        if not counts:
            ax.set(xticks=[], yticks=[])
            note(ax, "no candidates yet")
    if counts:
        for text in axes[0].legend(loc="upper left", frameon=False, fontsize=8).get_texts():
            text.set(**PLAIN_TEXT)
    return axes[0].figure


def _draw_frame(ax: Axes, title: str) -> None:
    """Draws the title and the axes of one panel."""
    from matplotlib.ticker import MaxNLocator

    tidy(ax)
    ax.set_title(title, loc="left")
    ax.set_xlabel("steps")
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.grid(axis="y", color="#e5e5e5", linewidth=0.6)
    ax.set_axisbelow(True)

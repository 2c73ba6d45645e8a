"""Which operator made how much, and what came of it."""

from __future__ import annotations

from itertools import cycle, product
from typing import TYPE_CHECKING

import numpy as np

from qdkit.seen import Seen
from qdkit.viz.bands import COLOURS, STROKES
from qdkit.viz.look import PLAIN, new_figure, note, styled, tidy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

COUNTS = ("candidates so far", "of these entered")


@styled
def origins(seen: Seen, axes: Sequence[Axes] | None = None) -> FigureBase:
    """How many candidates each operator made, and how many of them entered, over the steps, on two `axes`.

    Reads `seen.origins`. The steeper a line, the greater the operator's share at that time: so one sees whom a
    bandit preferred, and whether they earned it. The domain's seeds are left out.
    """
    axes = list(new_figure(8.4, 2.9).subplots(1, 2)) if axes is None else list(axes)
    if len(axes) != len(COUNTS):
        raise ValueError(f"origins draws on 2 axes ({', '.join(COUNTS)}), not {len(axes)}")
    counts = {name: found for name, found in (getattr(seen, "origins", None) or {}).items() if name != "seed"}
    for row, (ax, title) in enumerate(zip(axes, COUNTS, strict=True)):
        _frame(ax, title)
        for (name, found), (stroke, colour) in zip(counts.items(), cycle(product(STROKES, COLOURS)), strict=False):
            line = np.cumsum(found[row])
            ax.plot(np.arange(1, len(line) + 1), line, label=name, linewidth=1.4, color=colour, linestyle=stroke)
        if not counts:
            ax.set(xticks=[], yticks=[])
            note(ax, "no candidates yet")
    if counts:
        for text in axes[0].legend(loc="upper left", frameon=False, fontsize=8).get_texts():
            text.set(**PLAIN)
    return axes[0].figure


def _frame(ax: Axes, title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    tidy(ax)
    ax.set_title(title, loc="left")
    ax.set_xlabel("steps")
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.grid(axis="y", color="#e5e5e5", linewidth=0.6)
    ax.set_axisbelow(True)

"""Groups of runs side by side: for each, the median of its runs in a band from least to most."""

from __future__ import annotations

from itertools import cycle, product
from typing import TYPE_CHECKING, Any

import numpy as np

from qdkit.viz.curves import MEASURE_TITLES
from qdkit.viz.style import FAINT, INK, PLAIN_TEXT, new_figure, short_name, styled, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from qdkit.comparing.comparison import Comparison, Group

# These colours are distinct to the colour-blind too (Okabe & Ito 2008). Further groups take the
# same colours in other strokes.
GROUP_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK)
STROKES = ("-", "--", ":")
_COSTS = {"evaluations": "evaluations", "calls": "calls of models", "cpu": "CPU seconds"}
_POINTS = 400  # points of each curve


@styled
def comparison(compared: Comparison) -> Figure:
    """Draws coverage, QD score and best objective of each group, a row for each cost.

    The costs are those that every run has. The line is the median over the runs of a group, and
    the band goes from the least to the most; a group of one run has no band. A dotted line marks
    the greatest cost that all runs have reached, where the tables compare them.
    """
    costs = [cost for cost in _COSTS if compared.equal(cost) > 0]
    figure = new_figure(8.8, 0.5 + 2.5 * len(costs))
    axes = figure.subplots(len(costs), len(MEASURE_TITLES), squeeze=False)
    for row, cost in zip(axes, costs, strict=True):
        for ax, name in zip(row, MEASURE_TITLES, strict=True):
            _draw_frame(ax, name, cost, compared.equal(cost))
            styles = cycle(product(STROKES, GROUP_COLOURS))
            for group, (stroke, colour) in zip(compared.groups, styles, strict=False):
                _draw_band(ax, group, name, cost, color=colour, linestyle=stroke)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    legend = figure.legend(
        handles, labels, loc="outside lower center", ncols=min(len(labels), 3), frameon=False
    )
    for text in legend.get_texts():
        text.set(**PLAIN_TEXT)
    return figure


def _draw_band(ax: Axes, group: Group, name: str, cost: str, **style: Any) -> None:
    """Draws one measure of a group, as far as its shortest run went."""
    first = max(float(history[cost][0]) for history in group.histories)
    last = min(float(history[cost][-1]) for history in group.histories)
    at = np.linspace(first, max(first, last), _POINTS)
    # A value holds until the next commit.
    rows = [h[name][np.searchsorted(h[cost], at, side="right") - 1] for h in group.histories]
    values = np.stack(rows).astype(np.float64)
    ax.plot(at, np.median(values, 0), linewidth=1.4, label=short_name(group.name), **style)
    if len(rows) > 1:
        low, high = values.min(0), values.max(0)
        ax.fill_between(at, low, high, color=style["color"], alpha=0.18, linewidth=0)


def _draw_frame(ax: Axes, name: str, cost: str, equal: float) -> None:
    """Draws the title and the axes of one panel, and a dotted line at the cost `equal`."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    tidy(ax)
    ax.set_title(MEASURE_TITLES[name], loc="left")
    ax.set_xlabel(_COSTS[cost])
    ax.axvline(equal, color=FAINT, linewidth=0.8, linestyle=":")
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.grid(axis="y", color="#e5e5e5", linewidth=0.6)
    ax.set_axisbelow(True)
    if name == "coverage":
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))

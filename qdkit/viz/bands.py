"""Groups of runs beside each other: for each the median over its runs, in a band from the least to the most."""

from __future__ import annotations

from itertools import cycle, product
from typing import TYPE_CHECKING, Any

import numpy as np

from qdkit.viz.curves import MEASURES
from qdkit.viz.look import FAINT, INK, PLAIN, new_figure, styled, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from qdkit.comparison import Comparison, Group

# Told apart by the colour-blind too (Okabe & Ito 2008); then again in other strokes.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK)
STROKES = ("-", "--", ":")
COSTS = {"evaluations": "evaluations", "calls": "calls of models", "cpu": "CPU seconds"}
POINTS = 400  # of each curve


@styled
def comparison(compared: Comparison) -> Figure:
    """Coverage, QD score and best objective of each group, in a row for each cost that all runs have.

    The line is the median over the runs of a group, the band goes from the least to the most; a group
    of one run has no band. Dotted: where the tables compare, the most that all runs have spent.
    """
    costs = [cost for cost in COSTS if compared.equal(cost) > 0]
    figure = new_figure(8.8, 0.5 + 2.5 * len(costs))
    axes = figure.subplots(len(costs), len(MEASURES), squeeze=False)
    for row, cost in zip(axes, costs, strict=True):
        for ax, name in zip(row, MEASURES, strict=True):
            _frame(ax, name, cost, compared.equal(cost))
            for group, (stroke, colour) in zip(compared.groups, cycle(product(STROKES, COLOURS)), strict=False):
                _band(ax, group, name, cost, color=colour, linestyle=stroke)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 3), frameon=False)
    for text in legend.get_texts():
        text.set(**PLAIN)
    return figure


def _band(ax: Axes, group: Group, name: str, cost: str, **look: Any) -> None:
    """One number of a group, as far as each of its runs went."""
    first = max(float(history[cost][0]) for history in group.histories)
    last = min(float(history[cost][-1]) for history in group.histories)
    at = np.linspace(first, max(first, last), POINTS)
    # A step holds until the next: between two commits nothing is known to be better.
    rows = [h[name][np.searchsorted(h[cost], at, side="right") - 1] for h in group.histories]
    found = np.stack(rows).astype(np.float64)
    ax.plot(at, np.median(found, 0), linewidth=1.4, label=group.name, **look)
    if len(rows) > 1:
        ax.fill_between(at, found.min(0), found.max(0), color=look["color"], alpha=0.18, linewidth=0)


def _frame(ax: Axes, name: str, cost: str, equal: float) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    tidy(ax)
    ax.set_title(MEASURES[name], loc="left")
    ax.set_xlabel(COSTS[cost])
    ax.axvline(equal, color=FAINT, linewidth=0.8, linestyle=":")
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.grid(axis="y", color="#e5e5e5", linewidth=0.6)
    ax.set_axisbelow(True)
    if name == "coverage":
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))

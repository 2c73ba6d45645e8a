"""The similarity of a run's candidates to known ones, and the limit of each novelty stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qdkit.runs.view import RunView
from qdkit.viz.style import (
    INK,
    LINE,
    PLAIN_TEXT,
    format_number,
    new_figure,
    note,
    short_name,
    styled,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

_REJECTED = "#d95f0e"
_BINS = 40


@styled
def novelty(view: RunView) -> FigureBase:
    """Draws a histogram of each stage's candidates by similarity to their nearest, and the limit.

    Returns the figure. Candidates left of the line passed, those right of it were rejected. A
    stage that records nothing about the candidates that pass (`Distinct`) has its rejections
    alone. There is no line where no candidate was rejected.
    """
    likenesses = view.ledger.likenesses()
    stages = list(dict.fromkeys(stage for stage, _, _ in likenesses))
    figure = new_figure(3.4 * max(1, len(stages)), 2.6)
    axes = figure.subplots(1, max(1, len(stages)), squeeze=False)[0]
    if not stages:
        tidy(axes[0])
        axes[0].set(xticks=[], yticks=[])
        note(axes[0], "no likeness was noted")
    for ax, stage in zip(axes, stages, strict=False):
        of_stage = [(likeness, limit) for name, likeness, limit in likenesses if name == stage]
        likeness, limit = (np.array(column, np.float64) for column in zip(*of_stage, strict=True))
        _draw_stage(ax, stage, likeness, limit)
    return figure


def _draw_stage(ax: Axes, stage: str, likeness: np.ndarray, limit: np.ndarray) -> None:
    """Draws one stage; `limit` is nan for a candidate that passed."""
    from matplotlib.ticker import MaxNLocator

    rejected = ~np.isnan(limit)
    low, line = min(0.5, float(likeness.min())), float(np.nanmax(limit)) if rejected.any() else 1.0
    width = (1.0 - low) / _BINS
    # The edges start from the limit, so that no bar holds both candidates that passed and
    # candidates that were rejected. The last edge is above 1, which is a possible likeness.
    first = np.floor((low - line) / width - 1e-9)
    last = np.floor((1.0 - line) / width + 1e-9) + 2
    edges = line + width * np.arange(first, last)
    passed, failed = (np.histogram(x, edges)[0] for x in (likeness[~rejected], likeness[rejected]))
    tidy(ax)
    border: Any = {"edgecolor": "white", "linewidth": 0.3}
    ax.bar(edges[:-1], passed, width, 0 * passed, align="edge", color=LINE, **border)
    ax.bar(edges[:-1], failed, width, passed, align="edge", color=_REJECTED, **border)
    ax.set_ylim(0, 1.2 * (passed + failed).max())
    if rejected.any():
        ax.axvline(line, color=INK, linewidth=0.8, linestyle=(0, (4, 2)))
        ax.annotate(
            format_number(line),
            (line, 1),
            (-3, -2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=8,
            color=INK,
        )
    ax.set_title(short_name(stage), loc="left", **PLAIN_TEXT)
    of_all = f" of {len(likeness):,}" if not rejected.all() else ""
    ax.set_title(f"{rejected.sum():,}{of_all} rejected", loc="right", color=_REJECTED, fontsize=8)
    ax.set_xlabel("likeness to the nearest")
    ax.set_xlim(min(low, edges[0]), max(1.0, edges[-1]))
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))

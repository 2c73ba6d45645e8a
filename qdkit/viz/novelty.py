"""How like the candidates of a run were to what was known, and where each stage of novelty drew its line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdkit.seen import Seen
from qdkit.viz.look import INK, LINE, PLAIN, new_figure, note, number, styled, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

TOO_LIKE = "#d95f0e"
BINS = 40


@styled
def novelty(seen: Seen) -> FigureBase:
    """Of each stage, how many candidates had which likeness to their nearest, and the limit; returns the figure.

    Left of the line passed, right of it was rejected. A stage that notes nothing of what passes
    (`Distinct`) shows its rejections alone. There is no line where nothing was rejected.
    """
    noted = seen.ledger.likenesses()
    stages = list(dict.fromkeys(stage for stage, _, _ in noted))
    figure = new_figure(3.4 * max(1, len(stages)), 2.6)
    axes = figure.subplots(1, max(1, len(stages)), squeeze=False)[0]
    if not stages:
        tidy(axes[0])
        axes[0].set(xticks=[], yticks=[])
        note(axes[0], "no likeness was noted")
    for ax, stage in zip(axes, stages, strict=False):
        of_stage = [(likeness, limit) for name, likeness, limit in noted if name == stage]
        _stage(ax, stage, *(np.array(column, np.float64) for column in zip(*of_stage, strict=True)))
    return figure


def _stage(ax: Axes, stage: str, likeness: np.ndarray, limit: np.ndarray) -> None:
    """One stage; `limit` is nan for what passed."""
    from matplotlib.ticker import MaxNLocator

    rejected = ~np.isnan(limit)
    low, line = min(0.5, float(likeness.min())), float(np.nanmax(limit)) if rejected.any() else 1.0
    width = (1.0 - low) / BINS
    # Edges from the limit on, so that no bar holds both; the last lies beyond 1, which is a likeness too.
    edges = line + width * np.arange(np.floor((low - line) / width - 1e-9), np.floor((1.0 - line) / width + 1e-9) + 2)
    counts = [np.histogram(some, edges)[0] for some in (likeness[~rejected], likeness[rejected])]
    tidy(ax)
    for under, count, colour in zip((0 * counts[0], counts[0]), counts, (LINE, TOO_LIKE), strict=True):
        ax.bar(edges[:-1], count, width, under, align="edge", color=colour, edgecolor="white", linewidth=0.3)
    ax.set_ylim(0, 1.2 * (counts[0] + counts[1]).max())
    if rejected.any():
        ax.axvline(line, color=INK, linewidth=0.8, linestyle=(0, (4, 2)))
        ax.annotate(
            number(line), (line, 1), (-3, -2), xycoords=("data", "axes fraction"), textcoords="offset points",
            ha="right", va="top", fontsize=8, color=INK,
        )  # fmt: skip
    ax.set_title(stage, loc="left", **PLAIN)
    of_all = f" of {len(likeness):,}" if not rejected.all() else ""
    ax.set_title(f"{rejected.sum():,}{of_all} rejected", loc="right", color=TOO_LIKE, fontsize=8)
    ax.set_xlabel("likeness to the nearest")
    ax.set_xlim(min(low, edges[0]), max(1.0, edges[-1]))
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))

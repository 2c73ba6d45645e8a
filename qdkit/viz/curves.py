"""The course of a search and the distribution of its objectives, as curves and histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qdkit.runs.view import RunView
from qdkit.viz.colour import DEFAULT_COLOUR_MAP, colour_map
from qdkit.viz.style import (
    LINE,
    best_per_cell,
    format_number,
    new_figure,
    note,
    objectives,
    panel,
    styled,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

# The titles of the measures of a search's progress.
MEASURE_TITLES = {"coverage": "coverage", "qd_score": "QD score", "best": "best objective"}
# Short titles, as the last value is written beside them.
_CURVES = {**MEASURE_TITLES, "best": "best", "parents": "effective parents"}


@styled
def progress(view: RunView, axes: Sequence[Axes] | None = None) -> FigureBase:
    """Draws coverage, QD score, best objective and effective number of parents over evaluations.

    Returns the figure.

    axes: four axes to draw on.

    Reads `view.history`. The last value is written beside the name of each measure. Where the
    number of parents falls to a few, the search has become a hill climber (see
    `qdkit.selection.parents`).
    """
    axes = list(new_figure(11, 2.4).subplots(1, len(_CURVES))) if axes is None else list(axes)
    if len(axes) != len(_CURVES):
        raise ValueError(
            f"progress draws on {len(_CURVES)} axes ({', '.join(_CURVES)}), not {len(axes)}"
        )
    history = getattr(view, "history", None) or {}
    for ax, (name, title) in zip(axes, _CURVES.items(), strict=True):
        _curve(ax, history, name, title)
    return axes[0].figure


def _curve(ax: Axes, history: Mapping[str, Any], name: str, title: str) -> None:
    """Draws one measure over the evaluations, with a gap where it is not finite."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    evaluations, values = (
        np.asarray(history.get(key, ()), np.float64) for key in ("evaluations", name)
    )
    known = np.isfinite(values)
    tidy(ax)
    ax.set_title(title, loc="left")
    ax.set_xlabel("evaluations")
    if not known.any():
        ax.set(xticks=[], yticks=[])
        return note(ax, "no history")
    last = np.flatnonzero(known)[-1]
    drawn = np.where(known, values, np.nan)
    ax.plot(evaluations, drawn, color=LINE, linewidth=1.4, solid_capstyle="round")
    ax.plot(evaluations[last], values[last], "o", color=LINE, markersize=3.5)
    text = f"{values[last]:.1%}" if name == "coverage" else format_number(values[last])
    ax.set_title(text, loc="right", color=LINE)
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.grid(axis="y", color="#e5e5e5", linewidth=0.6)
    ax.set_axisbelow(True)
    if name == "coverage":
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))


@styled
def histogram(view: RunView, ax: Axes | None = None) -> Axes:
    """Draws a histogram of the elites' objectives, in the colours of `heatmap`."""
    ax = panel(ax, 4, 2.6)
    values = _finite_objectives(view)
    tidy(ax)
    ax.set_title("elites by objective", loc="left")
    ax.set_xlabel("objective")
    if not len(values):
        ax.set(xticks=[], yticks=[])
        note(ax, "no elites yet")
        return ax
    bins = int(np.clip(np.sqrt(len(values)), 5, 40))
    # Bins cannot separate objectives that differ in their last digits alone: the range is widened.
    low, high = values[0], values[-1]
    slack = 1e-9 * max(abs(low), abs(high), 1e-9)
    ends = (low, high) if high - low > slack else (low - 50 * slack, high + 50 * slack)
    _, edges, bars = ax.hist(values, bins=bins, range=ends, edgecolor="white", linewidth=0.4)
    middles, extent = (edges[:-1] + edges[1:]) / 2, edges[-1] - edges[0]
    for bar, middle in zip(bars, middles, strict=True):  # type: ignore[arg-type]
        bar.set_facecolor(colour_map(DEFAULT_COLOUR_MAP)((middle - edges[0]) / extent))
    _count_axis(ax)
    return ax


@styled
def profile(view: RunView, ax: Axes | None = None) -> Axes:
    """Draws how many elites have at least a given objective.

    The higher and the farther right the curve, the better.
    """
    ax = panel(ax, 4, 2.6)
    values = _finite_objectives(view)
    tidy(ax)
    ax.set_title("elites at or above", loc="left")
    ax.set_xlabel("objective")
    if not len(values):
        ax.set(xticks=[], yticks=[])
        note(ax, "no elites yet")
        return ax
    counts = [*range(len(values), 0, -1), 0]
    ax.step([*values, values[-1]], counts, where="pre", color=LINE, linewidth=1.4)
    _count_axis(ax)
    return ax


def _finite_objectives(view: RunView) -> np.ndarray:
    """Returns the objectives of the elites, float64, sorted."""
    values = objectives(best_per_cell(view))
    return np.sort(values[np.isfinite(values)])


def _count_axis(ax: Axes) -> None:
    """Sets the ticks of an axis that counts elites from 0."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.set_ylim(bottom=0)

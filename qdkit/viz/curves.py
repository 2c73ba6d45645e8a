"""The search in numbers: how it went, and how good its elites are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qdkit.seen import Seen
from qdkit.viz.colour import COLOURS, colours
from qdkit.viz.look import LINE, champions, new_figure, note, number, objectives, panel, styled, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

MEASURES = {"coverage": "coverage", "qd_score": "QD score", "best": "best objective"}  # of how far a search got
CURVES = {**MEASURES, "best": "best", "parents": "effective parents"}  # short: their last value stands beside


@styled
def progress(seen: Seen, axes: Sequence[Axes] | None = None) -> FigureBase:
    """Coverage, QD score, best objective and effective number of parents over the evaluations; returns their figure.

    axes: four to draw on. Reads `seen.history`. Beside the name of each stands its last value. Where
    the number of parents falls to a few, the search has become a hill climber (see `qdkit.parents`).
    """
    axes = list(new_figure(11, 2.4).subplots(1, len(CURVES))) if axes is None else list(axes)
    if len(axes) != len(CURVES):
        raise ValueError(f"progress draws on {len(CURVES)} axes ({', '.join(CURVES)}), not {len(axes)}")
    history = getattr(seen, "history", None) or {}
    for ax, (name, title) in zip(axes, CURVES.items(), strict=True):
        _curve(ax, history, name, title)
    return axes[0].figure


def _curve(ax: Axes, history: Mapping[str, Any], name: str, title: str) -> None:
    """One number over the evaluations; a gap where it is not finite."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    evaluations, found = (np.asarray(history.get(key, ()), np.float64) for key in ("evaluations", name))
    known = np.isfinite(found)
    tidy(ax)
    ax.set_title(title, loc="left")
    ax.set_xlabel("evaluations")
    if not known.any():
        ax.set(xticks=[], yticks=[])
        return note(ax, "no history")
    last = np.flatnonzero(known)[-1]
    ax.plot(evaluations, np.where(known, found, np.nan), color=LINE, linewidth=1.4, solid_capstyle="round")
    ax.plot(evaluations[last], found[last], "o", color=LINE, markersize=3.5)
    ax.set_title(f"{found[last]:.1%}" if name == "coverage" else number(found[last]), loc="right", color=LINE)
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.grid(axis="y", color="#e5e5e5", linewidth=0.6)
    ax.set_axisbelow(True)
    if name == "coverage":
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))


@styled
def histogram(seen: Seen, ax: Axes | None = None) -> Axes:
    """How many elites have which objective, in the colours of `heatmap`."""
    ax = panel(ax, 4, 2.6)
    found = _finite(seen)
    tidy(ax)
    ax.set_title("elites by objective", loc="left")
    ax.set_xlabel("objective")
    if not len(found):
        ax.set(xticks=[], yticks=[])
        note(ax, "no elites yet")
        return ax
    bins = int(np.clip(np.sqrt(len(found)), 5, 40))
    # Objectives that differ in their last digits alone cannot be told apart by bins: they share a wider range.
    slack = 1e-9 * max(abs(found[0]), abs(found[-1]), 1e-9)
    ends = (found[0], found[-1]) if found[-1] - found[0] > slack else (found[0] - 50 * slack, found[-1] + 50 * slack)
    _, edges, bars = ax.hist(found, bins=bins, range=ends, edgecolor="white", linewidth=0.4)
    middles = (edges[:-1] + edges[1:]) / 2
    for bar, middle in zip(bars, middles, strict=True):  # type: ignore[arg-type]
        bar.set_facecolor(colours(COLOURS)((middle - edges[0]) / (edges[-1] - edges[0])))
    _count_axis(ax)
    return ax


@styled
def profile(seen: Seen, ax: Axes | None = None) -> Axes:
    """How many elites have at least a given objective: the higher and the farther right the curve, the better."""
    ax = panel(ax, 4, 2.6)
    found = _finite(seen)
    tidy(ax)
    ax.set_title("elites at or above", loc="left")
    ax.set_xlabel("objective")
    if not len(found):
        ax.set(xticks=[], yticks=[])
        note(ax, "no elites yet")
        return ax
    ax.step([*found, found[-1]], [*range(len(found), 0, -1), 0], where="pre", color=LINE, linewidth=1.4)
    _count_axis(ax)
    return ax


def _finite(seen: Seen) -> np.ndarray:
    """float64, sorted: the objectives of the elites."""
    found = objectives(champions(seen))
    return np.sort(found[np.isfinite(found)])


def _count_axis(ax: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.set_ylim(bottom=0)

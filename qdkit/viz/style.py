"""The parts that all pictures share: the data they read, their style, and how they write text."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from qdkit.core.elites import Elites

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#333333"
FAINT = "#777777"
LINE = "#31688e"  # from the middle of viridis

_STYLE: dict[Any, Any] = {
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.linewidth": 0.6,
    "axes.titlepad": 6,
    "axes.titlesize": 9.5,
    "figure.constrained_layout.h_pad": 0.07,  # inches
    "figure.constrained_layout.w_pad": 0.07,
    "font.size": 9,
    "text.color": INK,
    "text.usetex": False,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 8,
    "xtick.major.size": 3,
    "xtick.major.width": 0.6,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 8,
    "ytick.major.size": 3,
    "ytick.major.width": 0.6,
}

# Names, labels and candidates may have a $ or a backslash: matplotlib must not read them as
# mathematics or TeX.
PLAIN_TEXT: dict[str, Any] = {"parse_math": False, "usetex": False}

_LONGEST = 200  # characters of a name

# The settings of matplotlib belong to the process, and threads may draw at the same time.
_SETTINGS_LOCK = threading.RLock()

_P = ParamSpec("_P")
_T = TypeVar("_T")


def styled(draw: Callable[_P, _T]) -> Callable[_P, _T]:
    """Returns `draw`, decorated to draw in the style of this library.

    Afterwards the settings of the style are as before. Only these are put back: the first figure
    of a process loads matplotlib's backend, which changes other settings. In a notebook it turns
    `interactive` on, without which later figures are not displayed. `rc_context` would undo that.
    """

    @functools.wraps(draw)
    def draw_styled(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        import matplotlib

        with _SETTINGS_LOCK:
            before = {name: matplotlib.rcParams[name] for name in _STYLE}
            matplotlib.rcParams.update(_STYLE)
            try:
                return draw(*args, **kwargs)
            finally:
                matplotlib.rcParams.update(before)

    return draw_styled


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty figure of this size in inches.

    pyplot makes it, so that notebooks display it.
    """
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(width, height), layout="constrained")


def panel(ax: Axes | None, width: float, height: float) -> Axes:
    """Returns `ax`, or the axes of a new figure of this size in inches."""
    return new_figure(width, height).add_subplot() if ax is None else ax


def tidy(ax: Axes) -> None:
    """Draws thin lines at the left and below, on an `ax` that may be the caller's."""
    for side, spine in ax.spines.items():
        spine.set_linewidth(0.6)
        spine.set_visible(side in ("left", "bottom"))


def note(ax: Axes, text: str) -> None:
    """Writes a remark in the middle of `ax`, where there is nothing to draw."""
    style: Any = {"ha": "center", "va": "center", "color": FAINT, **PLAIN_TEXT}
    ax.text(0.5, 0.5, text, transform=ax.transAxes, **style)


def geometry(view: Any) -> Any:
    """Returns the archive whose cells are drawn; for islands, that of one island."""
    return getattr(view.archive, "map", view.archive)


def best_per_cell(view: Any) -> Elites:
    """Returns one elite for each cell: the best, where cells keep several."""
    elites = view.elites
    if getattr(elites, "depth", 1) == 1:
        return elites
    first = lambda column: np.asarray(column)[:: elites.depth]
    payload = {name: first(column) for name, column in elites.payload.items()}
    return Elites(first(elites.objective), first(elites.descriptor), payload)  # type: ignore[arg-type]


def objectives(elites: Elites) -> np.ndarray:
    """Returns the objective of each cell, float64 `[C]`; nan in an empty cell."""
    objective = np.asarray(elites.objective, np.float64)
    return np.where(np.isfinite(objective), objective, np.nan)


def short_name(text: str) -> str:
    """Returns a name as it is drawn, cut where it is long.

    A name may come from an untrusted file, and matplotlib is slow with long ones.
    """
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 2]} …"


def axis_names(archive: Any) -> tuple[str, ...]:
    """Returns what the axes measure; numbered names, if the archive has none."""
    return tuple(map(short_name, getattr(archive, "names", ()))) or tuple(
        f"axis {i}" for i in range(archive.axes)
    )


def has_method(archive: Any, name: str) -> bool:
    """Returns whether the archive has a method of this name.

    A setting of the same name does not count.
    """
    return callable(getattr(archive, name, None))


def axis_labels(archive: Any, axis: int) -> tuple[str, ...] | None:
    """Returns the labels of an axis that has labels, else None."""
    labels = archive.labels(axis) if has_method(archive, "labels") else None
    return labels and tuple(map(short_name, labels))


def format_number(value: float) -> str:
    """Returns a number with four digits, and all digits of a whole number up to 1e9.

    A score of 11302 is not written as 1.13e+04.
    """
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"

"""What all pictures share: what they look at, their style, and how text is put on them."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from qdkit.elites import Elites

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#333333"
FAINT = "#777777"
LINE = "#31688e"  # from the middle of viridis

LOOK: dict[Any, Any] = {
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

# Names, labels and candidates may hold a $ or a backslash: they are never read as mathematics or TeX.
PLAIN: dict[str, Any] = {"parse_math": False, "usetex": False}

ONE_AT_A_TIME = threading.RLock()  # the settings of matplotlib are the process's, and a page may draw beside a notebook

P = ParamSpec("P")
T = TypeVar("T")


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """`draw`, in the style of this library; matplotlib's settings are as before when it returns."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> T:
        import matplotlib

        with ONE_AT_A_TIME, matplotlib.rc_context(LOOK):
            return draw(*args, **kwargs)

    return drawn


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, its size in inches, as pyplot makes it, so that notebooks show it."""
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(width, height), layout="constrained")


def panel(ax: Axes | None, width: float, height: float) -> Axes:
    """`ax`, or the axes of a new figure of this size in inches."""
    return new_figure(width, height).add_subplot() if ax is None else ax


def tidy(ax: Axes) -> None:
    """Thin lines at the left and below, on an `ax` that may be the caller's."""
    for side, spine in ax.spines.items():
        spine.set_linewidth(0.6)
        spine.set_visible(side in ("left", "bottom"))


def note(ax: Axes, text: str) -> None:
    """A remark in the middle of `ax`, where there is nothing to draw."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=FAINT, **PLAIN)


def geometry(seen: Any) -> Any:
    """The archive as it is drawn: of islands, that of one."""
    return getattr(seen.archive, "map", seen.archive)


def champions(seen: Any) -> Elites:
    """One elite for each cell: where cells keep several, the best."""
    elites = seen.elites
    if getattr(elites, "depth", 1) == 1:
        return elites
    first = lambda column: np.asarray(column)[:: elites.depth]
    return Elites(first(elites.objective), first(elites.descriptor), {n: first(x) for n, x in elites.payload.items()})  # type: ignore[arg-type]


def objectives(elites: Elites) -> np.ndarray:
    """float64 `[C]`, nan where empty."""
    found = np.asarray(elites.objective, np.float64)
    return np.where(np.isfinite(found), found, np.nan)


def names(archive: Any) -> tuple[str, ...]:
    """What the axes measure; numbered, if the archive has no names."""
    return tuple(getattr(archive, "names", ())) or tuple(f"axis {i}" for i in range(archive.axes))


def labels(archive: Any, axis: int) -> tuple[str, ...] | None:
    """The labels of an axis that has labels, else None."""
    return archive.labels(axis) if hasattr(archive, "labels") else None


def number(value: float) -> str:
    """Four digits, and more where a whole number has more: a score of 11302 is not 1.13e+04."""
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"

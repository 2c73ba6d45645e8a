"""The pictures of the page: of candidates, and of the current map.

They are drawn one at a time, and cached.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import lru_cache
from typing import Any

from qdkit.rate.genome_view import figure_png, genome_png
from qdkit.rate.sealed_questions import RequestRefused
from qdkit.runs.view import RunView

_CACHE_SIZE = 1024  # pictures of candidates
_TIMEOUT = 30.0  # seconds for a picture


class Renderer:
    """Draws the run or search that `view` returns.

    Methods raise RequestRefused where the domain's drawing fails or takes too long, and after
    `stop`.
    """

    def __init__(self, view: Callable[[], RunView]):
        self._view, self._lock = view, threading.Lock()
        # Its futures catch any exception of a domain's `draw`.
        self._executor = ThreadPoolExecutor(1, "drawing")
        self._map: tuple[int, bytes] | None = None  # the number of commits, and the PNG
        self.candidate = lru_cache(_CACHE_SIZE)(self._candidate)

    def _candidate(self, id: int) -> bytes:
        """Returns the picture of a candidate as a PNG."""
        view = self._view()
        return self._draw(genome_png, view.genome(id), getattr(view, "domain", None))

    def map(self) -> bytes:
        """Returns the map as a PNG, drawn again where there are new candidates."""
        view = self._view()
        version = len(view.commits)
        with self._lock:
            cached = self._map
        if cached is None or cached[0] != version:
            cached = version, self._draw(_map_png, view)
            with self._lock:
                self._map = cached
        return cached[1]

    def stop(self) -> None:
        """Cancels pending pictures, so that no request waits for one."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _draw(self, draw: Callable[..., bytes], *arguments: Any) -> bytes:
        """Returns `draw(*arguments)`, from the drawing thread."""
        try:
            future = self._executor.submit(draw, *arguments)
            error = future.exception(_TIMEOUT)
        except (CancelledError, RuntimeError):
            raise RequestRefused(503, "the page is closing") from None
        except TimeoutError:
            raise RequestRefused(504, "the picture took too long") from None
        if error is not None:
            raise RequestRefused(404, f"not drawn: {type(error).__name__}")
        return future.result()


def _map_png(view: RunView) -> bytes:
    """Returns the map as a PNG; for an archive without a map, its elites as lines."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from qdkit.viz.heatmaps import has_map, heatmap
    from qdkit.viz.parallel_axes import parallel
    from qdkit.viz.style import geometry

    figure = Figure((4.2, 3.6), 150, layout="constrained")
    FigureCanvasAgg(figure)
    draw = heatmap if has_map(geometry(view)) else parallel
    draw(view, figure.add_subplot())
    return figure_png(figure)

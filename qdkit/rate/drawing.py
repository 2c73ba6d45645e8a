"""The pictures of the page: of candidates, and of the map as it is now. They are drawn one at a time, and kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import lru_cache
from typing import Any

from qdkit.rate.asked import Refused
from qdkit.rate.look import png, saved
from qdkit.seen import Seen

KEPT = 1024  # pictures of candidates
PATIENCE = 30.0  # seconds for a picture


class Drawing:
    """Draws what `seen()` gives. What is not drawn raises Refused: by a domain that cannot, too slowly, at the end."""

    def __init__(self, seen: Callable[[], Seen]):
        self._seen, self._lock = seen, threading.Lock()
        self._at = ThreadPoolExecutor(1, "drawing")  # its futures keep whatever a domain's draw raises
        self._map: tuple[int, bytes] | None = None
        self.candidate = lru_cache(KEPT)(self._candidate)

    def _candidate(self, id: int) -> bytes:
        """The picture of a candidate."""
        seen = self._seen()
        return self._drawn(png, seen.genome(id), getattr(seen, "domain", None))

    def map(self) -> bytes:
        """The map, drawn again where there are new candidates."""
        seen = self._seen()
        version = len(seen.commits)
        with self._lock:
            known = self._map
        if known is None or known[0] != version:
            known = version, self._drawn(_map, seen)
            with self._lock:
                self._map = known
        return known[1]

    def stop(self) -> None:
        """Draws nothing more, so that nobody is left waiting."""
        self._at.shutdown(wait=False, cancel_futures=True)

    def _drawn(self, draw: Callable[..., bytes], *of: Any) -> bytes:
        try:
            future = self._at.submit(draw, *of)
            error = future.exception(PATIENCE)
        except (CancelledError, RuntimeError):
            raise Refused(503, "the page is closing") from None
        except TimeoutError:
            raise Refused(504, "the picture took too long") from None
        if error is not None:
            raise Refused(404, f"not drawn: {type(error).__name__}")
        return future.result()


def _map(seen: Seen) -> bytes:
    """The map as a PNG; of an archive that has none, its elites as lines."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from qdkit.viz.lines import parallel
    from qdkit.viz.look import geometry
    from qdkit.viz.maps import heatmap, mapped

    figure = Figure((4.2, 3.6), 150, layout="constrained")
    FigureCanvasAgg(figure)
    (heatmap if mapped(geometry(seen)) else parallel)(seen, figure.add_subplot())
    return saved(figure)

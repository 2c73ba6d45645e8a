"""Limits on the time that a connection to the page may take, and on the number that wait.

A browser sends a request in one piece. Connections with half a request would keep the others out:
uvicorn bounds the number of connections, and not the time of a request.
"""

from __future__ import annotations

import asyncio
from typing import Any

# Seconds from the connection, or the end of the last response, to a complete request.
_REQUEST = 10.0
# Seconds from a complete request to the end of its response; a picture may take half of them.
_RESPONSE = 60.0
# Connections that may be without a complete request: one more closes the oldest.
_WAITING = 50


def bounded_protocol() -> type[Any]:
    """Returns the protocol of uvicorn's connections, with these limits."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Bounded(H11Protocol):
        """A connection that is closed when it takes too long."""

        _timer: asyncio.TimerHandle | None = None
        _current: Any = None  # the request without a complete response, or None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._update_timer(restart=True)
            waiting = _waiting(self.server_state)
            waiting[self] = None
            if len(waiting) > _WAITING:
                next(iter(waiting))._abort()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._update_timer()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._update_timer()

        def _update_timer(self, *, restart: bool = False) -> None:
            """Restarts the timer where a request is complete or its response is."""
            cycle = self.cycle
            current = cycle if cycle is not None and not cycle.response_complete else None
            if current is self._current and not restart:
                return
            if self._timer is not None:
                self._timer.cancel()
            self._current = current
            waiting = _waiting(self.server_state)
            waiting.pop(self, None)
            if not self.transport.is_closing():
                if current is None:
                    waiting[self] = None
                seconds = _RESPONSE if current else _REQUEST
                self._timer = self.loop.call_later(seconds, self._abort)

        def _abort(self) -> None:
            self._stop_timer()
            self.transport.abort()

        def _stop_timer(self) -> None:
            _waiting(self.server_state).pop(self, None)
            if self._timer is not None:
                self._timer.cancel()

    return Bounded


def _waiting(server: Any) -> dict[Any, None]:
    """Returns the connections of a server without a complete request, the oldest first."""
    connections: dict[Any, None] = vars(server).setdefault("waiting", {})
    return connections

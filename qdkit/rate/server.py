"""Serves the page on a socket of this machine, in a thread of this process."""

from __future__ import annotations

import errno
import ipaddress
import socket
import threading
from typing import Any

from qdkit.rate.app import application
from qdkit.rate.connections import bounded_protocol
from qdkit.rate.page import Page

_PORT = 8123
_SHUTDOWN_SECONDS = 10  # for requests in progress when the page is closed
_MOST_CONNECTIONS = 100  # at once


class PageServer:
    """A page that is being served, until `close`.

    links: the address for each rater. alone: whether only this machine can reach them.
    """

    def __init__(
        self, page: Page, host: str = "127.0.0.1", port: int = _PORT, *, frames: str = "'none'"
    ):
        import uvicorn

        self.page, self._socket = page, _listen(host, port)
        host_address, actual_port = self._socket.getsockname()[:2]
        ip = ipaddress.ip_address(host_address.partition("%")[0])
        self.alone = ip.is_loopback
        name = f"[{host_address}]" if ":" in host_address else host_address
        if ip.is_unspecified:
            name = socket.gethostname()
        self.links = {
            rater: f"http://{name}:{actual_port}{page.path(rater)}" for rater in page.raters
        }
        app: Any = application(page, [host, socket.gethostname(), socket.getfqdn()], frames)
        config = uvicorn.Config(
            app,
            lifespan="off",
            http=bounded_protocol(),
            ws="none",
            loop="asyncio",
            proxy_headers=False,  # a client could forge them
            access_log=False,  # it would record the raters' links
            log_level="error",
            server_header=False,
            date_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), daemon=True, name="page"
        )
        self._thread.start()

    def frame(self, height: int) -> Any:
        """Returns the first rater's page as a frame for a notebook."""
        from IPython.display import IFrame

        return IFrame(next(iter(self.links.values())), "100%", height)

    def wait(self) -> None:
        """Blocks until the page is closed. Ctrl-C raises KeyboardInterrupt."""
        while self._thread.is_alive():
            self._thread.join(1.0)

    def close(self) -> None:
        """Accepts no more requests, finishes those in progress, and closes the socket."""
        self.page.renderer.stop()
        self._server.should_exit = True
        self._thread.join(2 * _SHUTDOWN_SECONDS)
        self._socket.close()
        self.page.close()


def _listen(host: str, port: int) -> socket.socket:
    """Returns a socket that listens at an address.

    Raises OSError, with a sentence, for a host or a port that is not available.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"a port is a number from 0 to 65535, not {port}")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise OSError(f"{host} is no address of this machine: {error}") from None
    # With this protocol asyncio recognises TCP and sets TCP_NODELAY, which saves 40 ms a request.
    listener = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise OSError(
                f"port {port} is in use: name another, or 0 for any that is free"
            ) from None
        raise OSError(f"{host}:{port} cannot be listened at: {error.strerror}") from None
    return listener

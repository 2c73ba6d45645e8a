"""The page on a socket of this machine, in a thread of this process, until it is closed."""

from __future__ import annotations

import errno
import ipaddress
import socket
import threading
from typing import Any

from qdkit.rate.app import application
from qdkit.rate.page import Page

PORT = 8123
PATIENCE = 10  # seconds for what is under way when the page is closed
CALM = 100  # connections at once


class Served:
    """A page that is being served. links: the address for each rater."""

    def __init__(self, page: Page, host: str = "127.0.0.1", port: int = PORT, *, frames: str = "'none'"):
        import uvicorn

        self.page, self._socket = page, _bound(host, port)
        address = self._socket.getsockname()
        self.alone = ipaddress.ip_address(address[0].partition("%")[0]).is_loopback
        name = f"[{address[0]}]" if ":" in address[0] else address[0]
        if ipaddress.ip_address(address[0].partition("%")[0]).is_unspecified:
            name = socket.gethostname()
        self.links = {rater: f"http://{name}:{address[1]}{page.path(rater)}" for rater in page.raters}
        app: Any = application(page, [host, socket.gethostname(), socket.getfqdn()], frames)
        # Nothing of a proxy is believed, and nothing is written down of whose link was used.
        quiet: dict[str, Any] = {
            "access_log": False,
            "log_level": "error",
            "server_header": False,
            "date_header": False,
        }
        bare: dict[str, Any] = {
            "lifespan": "off",
            "http": "h11",
            "ws": "none",
            "loop": "asyncio",
            "proxy_headers": False,
        }
        limits: dict[str, Any] = {"limit_concurrency": CALM, "timeout_graceful_shutdown": PATIENCE}
        self._server = uvicorn.Server(uvicorn.Config(app, **quiet, **bare, **limits))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True, name="page")
        self._thread.start()

    def frame(self, height: int) -> Any:
        """The first rater's page in a frame of a notebook."""
        from IPython.display import IFrame

        return IFrame(next(iter(self.links.values())), "100%", height)

    def wait(self) -> None:
        """Until somebody closes it; Ctrl-C is a KeyboardInterrupt here."""
        while self._thread.is_alive():
            self._thread.join(1.0)

    def close(self) -> None:
        """Takes no more questions, finishes those under way, and gives the port back."""
        self.page.drawing.stop()
        self._server.should_exit = True
        self._thread.join(2 * PATIENCE)
        self._socket.close()
        self.page.close()


def _bound(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises OSError with a sentence for a host or a port that cannot be had."""
    if not 0 <= port <= 65535:
        raise ValueError(f"a port is a number from 0 to 65535, not {port}")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise OSError(f"{host} is no address of this machine: {error}") from None
    # By its protocol asyncio knows TCP, and only then does not wait for more to send (40 ms a request).
    made = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(128)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise OSError(f"port {port} is in use: name another, or 0 for any that is free") from None
        raise OSError(f"{host}:{port} cannot be listened at: {error.strerror}") from None
    return made

"""Guards the page: checks the origin and the size of requests, and restricts the browser.

Candidates are written by models and strangers, so the page allows no scripts, styles, pictures
and addresses but its own files. Another page that is open in the same browser can neither read it,
as it does not know the link, nor send replies, as it has another origin. This holds even for a
name that the other page makes resolve to this machine.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

MOST_BYTES = 64 * 1024  # of a request's body
_BODY_SECONDS = 10.0  # for the body to arrive
_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Guard:
    """An ASGI application in front of `app`.

    names: the names of this machine in addresses, besides its IP addresses and `localhost`.
    frames: the pages that may contain this one in a frame, in the syntax of CSP.
    """

    def __init__(
        self,
        app: Callable[..., Awaitable[None]],
        names: Collection[str] = (),
        frames: str = "'none'",
    ):
        self._app, self._names = app, {"localhost", *(name.lower() for name in names)}
        self._headers = [
            (name.encode(), value.encode()) for name, value in response_headers(frames).items()
        ]

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the page speaks http alone, not {scope['type']}")
        headers: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, []).append(value.decode("latin-1"))
        if refusal := self._refusal(scope["method"], headers):
            await self._refuse(send, *refusal)
            return
        body = b""
        if scope["method"] == "POST":
            try:
                async with asyncio.timeout(_BODY_SECONDS):
                    body = await _body(receive)
            except TimeoutError:
                await self._refuse(send, 408, "the reply did not come in")
                return
            if len(body) > MOST_BYTES:
                await self._refuse(send, 413, f"a reply has at most {MOST_BYTES:,} bytes")
                return
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive_body() -> MutableMapping[str, Any]:
            """Returns the body that was read above, and then further messages."""
            return next(messages, None) or await receive()

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        await self._app(scope, receive_body, send_with_headers)

    def _refusal(self, method: str, headers: dict[bytes, list[str]]) -> tuple[int, str] | None:
        """Returns why a request is refused, as (status, sentence), or None."""
        host = headers.get(b"host", [])
        if len(host) != 1 or not self._is_this_machine(host[0]):
            return (
                421,
                "this page is called by the address that it was started with, and by no other "
                "name",
            )
        if method not in ("GET", "HEAD", "POST"):
            return 405, "the page is read and replied to, and nothing else"
        if method == "POST" and headers.get(b"origin") != [f"http://{host[0]}"]:
            return 403, "only the page itself can reply: open its link, and answer there"
        sizes = headers.get(b"content-length", ["0"])
        if any(not size.isdecimal() or len(size) > 9 or int(size) > MOST_BYTES for size in sizes):
            return 413, f"a reply has at most {MOST_BYTES:,} bytes"
        return None

    def _is_this_machine(self, host: str) -> bool:
        """Returns whether a Host header has an IP address or a name of this machine.

        Any IP address will do: a foreign page can make a name resolve to this machine, and cannot
        do so with an address.
        """
        name = host.rpartition(":")[0] or host
        if host.startswith("["):
            name = host[1 : host.find("]")]
        try:
            return bool(ipaddress.ip_address(name))
        except ValueError:
            return name.lower() in self._names

    async def _refuse(self, send: _Send, status: int, sentence: str) -> None:
        kind = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
        await send(
            {"type": "http.response.start", "status": status, "headers": [*kind, *self._headers]}
        )
        await send({"type": "http.response.body", "body": sentence.encode()})


async def _body(receive: _Receive) -> bytes:
    """Returns the body of a request, or more than `MOST_BYTES` of it where it is too long."""
    body, more = b"", True
    while more and len(body) <= MOST_BYTES:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


def response_headers(frames: str) -> dict[str, str]:
    """Returns the headers of every response, which restrict the browser."""
    own = ("script-src", "style-src", "img-src", "connect-src", "form-action")
    policy = "; ".join(
        [
            "default-src 'none'",
            *(f"{what} 'self'" for what in own),
            "base-uri 'none'",
            f"frame-ancestors {frames}",
        ]
    )
    return {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        # With no-referrer, browsers would not send the origin of forms either.
        "referrer-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "permissions-policy": "camera=(), microphone=(), geolocation=()",
        "cache-control": "no-store",
    }

"""What stands before the page: who may speak to it, how much they may say, and what a browser may do with it.

Candidates are written by models and strangers, so the page allows no script, style, picture or address but
its own files. Another page that is open in the same browser can neither read it (it does not know the link)
nor speak to it (its origin is another), not even under a name that it makes resolve to this machine.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

MOST = 64 * 1024  # bytes of a request's body
SLOW = 10.0  # seconds for it to come in
Scope = MutableMapping[str, Any]
Ears = Callable[[], Awaitable[MutableMapping[str, Any]]]
Mouth = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Guard:
    """An ASGI application in front of `app`.

    names: of this machine, by which browsers may call it beside its addresses and `localhost`.
    frames: pages that may show this one in a frame, as CSP writes them.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], names: Collection[str] = (), frames: str = "'none'"):
        self._app, self._names = app, {"localhost", *(name.lower() for name in names)}
        self._headers = [(name.encode(), value.encode()) for name, value in headers(frames).items()]

    async def __call__(self, scope: Scope, receive: Ears, send: Mouth) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the page speaks http alone, not {scope['type']}")
        said: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            said.setdefault(name, []).append(value.decode("latin-1"))
        if refusal := self._refusal(scope["method"], said):
            await self._refuse(send, *refusal)
            return
        body = b""
        if scope["method"] == "POST":
            try:
                async with asyncio.timeout(SLOW):
                    body = await _body(receive)
            except TimeoutError:
                await self._refuse(send, 408, "the reply did not come in")
                return
            if len(body) > MOST:
                await self._refuse(send, 413, f"a reply has at most {MOST:,} bytes")
                return
        heard = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def again() -> MutableMapping[str, Any]:
            return next(heard, None) or await receive()

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        await self._app(scope, again, with_headers)

    def _refusal(self, method: str, said: dict[bytes, list[str]]) -> tuple[int, str] | None:
        """Why a request is not answered: (status, sentence); None where it is."""
        host = said.get(b"host", [])
        if len(host) != 1 or not self._here(host[0]):
            return 421, "this page is called by the address that it was started with, and by no other name"
        if method not in ("GET", "HEAD", "POST"):
            return 405, "the page is read and replied to, and nothing else"
        if method == "POST" and said.get(b"origin") != [f"http://{host[0]}"]:
            return 403, "only the page itself can reply: open its link, and answer there"
        sizes = said.get(b"content-length", ["0"])
        if any(not size.isdecimal() or len(size) > 9 or int(size) > MOST for size in sizes):
            return 413, f"a reply has at most {MOST:,} bytes"
        return None

    def _here(self, host: str) -> bool:
        """Whether this is a name of this machine: an address cannot be made to point elsewhere, a name can."""
        name = host[1 : host.find("]")] if host.startswith("[") else host.rpartition(":")[0] or host
        try:
            return bool(ipaddress.ip_address(name))
        except ValueError:
            return name.lower() in self._names

    async def _refuse(self, send: Mouth, status: int, sentence: str) -> None:
        kind = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": status, "headers": [*kind, *self._headers]})
        await send({"type": "http.response.body", "body": sentence.encode()})


async def _body(receive: Ears) -> bytes:
    """What a request says, or as much of it as shows that it is too much."""
    body, more = b"", True
    while more and len(body) <= MOST:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


def headers(frames: str) -> dict[str, str]:
    """What every answer says to the browser."""
    own = ("script-src", "style-src", "img-src", "connect-src", "form-action")
    policy = "; ".join(
        ["default-src 'none'", *(f"{what} 'self'" for what in own), "base-uri 'none'", f"frame-ancestors {frames}"]
    )
    return {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",  # with no-referrer, forms would not say their origin either
        "cross-origin-resource-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "permissions-policy": "camera=(), microphone=(), geolocation=()",
        "cache-control": "no-store",
    }

"""The connection to a server that speaks the OpenAI protocol."""

from __future__ import annotations

import os
import sys
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

from qdkit.core.jsonable import as_utf8
from qdkit.core.redaction import redacted
from qdkit.core.time_limits import Overdue, call_with_timeout
from qdkit.llm.fault import Fault, FaultKind, ModelError, reply_or_fault
from qdkit.llm.reply import MAX_BYTES, guarded

OPENAI_URL = "https://api.openai.com/v1"
NO_KEY = "none"  # the openai package requires some key
_MIN_SECRET = 8  # characters from which a key is kept out of messages
# A whole answer may take this many times the seconds that may pass without a byte.
_WHOLE_ANSWER = 10.0
_CONNECT = 4.0  # seconds for a connection, so that a missing server is noticed soon
_LOCK = threading.Lock()

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Server:
    """A server and its key."""

    base_url: str = field(repr=False)  # it may hold a name and a password
    api_key: str = field(repr=False)

    @property
    def address(self) -> str:
        """The `base_url` without credentials, for messages."""
        return str(redacted(self.base_url))

    def post(
        self, path: str, body: Mapping[str, Any], timeout: float
    ) -> Mapping[str, Any] | Fault:
        """Sends `body` unchanged. Returns the reply, or the fault.

        timeout: seconds without a byte after which the request ends. An answer that arrives bit
          by bit may take ten times as many.
        """
        import openai

        client, http = self._client(), _transport()
        options = {"timeout": openai.Timeout(timeout, connect=min(timeout, _CONNECT))}
        send = lambda: client.post(path, cast_to=http.Response, body=body, options=options)
        unreadable = lambda why: Fault(FaultKind.LOST, f"a reply of no known form: {why}")
        reply = _within_seconds(
            lambda: guarded(lambda: reply_or_fault(send), unreadable), _WHOLE_ANSWER * timeout
        )
        if isinstance(reply, Fault):
            return reply._replace(message=self._without_key(reply.message))
        return reply

    def models(self) -> list[str]:
        """Returns the names of the models that the server lists; none if it lists none."""
        client, http = self._client(), _transport()
        ask = lambda: client.get("/models", cast_to=http.Response, options={"timeout": 10.0})
        reply: Any = guarded(lambda: reply_or_fault(ask), lambda why: {})
        rows = reply.get("data") if isinstance(reply, dict) else None
        rows = rows if isinstance(rows, list) else []
        names = [row.get("id") for row in rows if isinstance(row, dict)]
        return [as_utf8(name)[:200] for name in names if isinstance(name, str)]

    def _without_key(self, text: str) -> str:
        """Returns `text` without the key.

        A key of fewer than 8 characters is no secret, and may be a part of any word.
        """
        if len(self.api_key) >= _MIN_SECRET:
            text = text.replace(self.api_key, "<the key>")
        return redacted(text)

    def _client(self) -> Any:
        """Returns the client. Raises ModelError for an unusable address or key."""
        key = self.api_key
        if not (key.isascii() and key.isprintable() and key.strip() == key):
            raise ModelError(
                f"the key for {self.address} holds a space at an end, a line break or a character "
                "that no header takes: copy it anew into OPENAI_API_KEY or api_key="
            )
        with _LOCK:
            try:
                return _shared_client(self.base_url, self.api_key)
            except (ValueError, TypeError, _transport().InvalidURL) as error:
                raise ModelError(
                    f"{self.address!r} cannot be asked ({error}): base_url begins with http:// or "
                    "https:// and usually ends in /v1"
                ) from None


def server_at(base_url: str | None, api_key: str | None) -> Server:
    """Returns the server of these arguments, or of the environment where they are None.

    Raises ModelError if neither names a server or a key.
    """
    address = base_url or os.environ.get("OPENAI_BASE_URL")
    key = api_key or os.environ.get("OPENAI_API_KEY")
    if not (key or address):
        raise ModelError(
            "no model can be asked: set OPENAI_API_KEY to a key of OpenAI, or base_url= (or "
            "OPENAI_BASE_URL) to the address of another server, such as "
            "http://localhost:11434/v1 for Ollama"
        )
    server = Server((address or OPENAI_URL).rstrip("/"), key or NO_KEY)
    try:
        parts = urlsplit(server.base_url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # for example, a port that is no number
        valid = False
    if not valid:
        raise ModelError(
            f"{server.address!r} is no address of a server: base_url begins with http:// or "
            "https:// and usually ends in /v1, such as http://localhost:11434/v1"
        )
    return server


@cache
def _shared_client(base_url: str, api_key: str) -> Any:
    """Returns one client for all threads, with a pool of 1000 connections."""
    import openai

    http = _connection()
    client = openai.OpenAI(base_url=base_url, api_key=api_key, max_retries=0, http_client=http)
    weakref.finalize(client, http.close)
    return client


def import_libraries() -> None:
    """Imports the libraries for calls to servers in this thread.

    These imports execute texts as code. If that happens in another thread while an interrupt ends
    a script, Python forgets the interrupt and exits with status 1.
    """
    import genai_prices  # noqa: F401 - for its import alone

    _shared_client("http://127.0.0.1/v1", NO_KEY)  # this imports the rest; nothing is sent


def _within_seconds(call: Callable[[], _Result], seconds: float) -> _Result | Fault:
    """Returns or raises what `call()` does; returns a fault if it takes longer than `seconds`.

    The limits of the HTTP client do not suffice: a server may send a byte now and then for ever,
    and until the headers end no other code runs in between.
    """
    try:
        return call_with_timeout(call, seconds)
    except Overdue:
        return Fault(FaultKind.LOST, f"the answer had not ended after {seconds:g} s")


def _connection(**settings: Any) -> Any:
    """Returns the HTTP client that sends requests; tests pass a `transport` without sockets."""
    import openai

    headers = {"accept-encoding": "gzip"}
    return openai.DefaultHttpxClient(
        event_hooks={"response": [_limit_size]}, headers=headers, **settings
    )


def _transport() -> Any:
    """Returns the HTTP library of the openai package, which differs between its versions."""
    import openai

    client = next(kind for kind in openai.DefaultHttpxClient.__mro__ if kind.__name__ == "Client")
    return sys.modules[client.__module__.partition(".")[0]]


def _limit_size(response: Any) -> None:
    """Limits a reply to `MAX_BYTES`, both as it is sent and unpacked."""
    http = _transport()
    encoding = response.headers.pop("content-encoding", "").strip().lower()
    gzipped = encoding in ("gzip", "x-gzip")
    if not gzipped and encoding not in ("", "identity"):
        raise http.DecodingError(f"a reply in the encoding {encoding[:40]!r}: only gzip is read")

    class LimitedStream(http.SyncByteStream):  # type: ignore[name-defined]
        def __iter__(self) -> Iterator[bytes]:
            unpack, length = zlib.decompressobj(zlib.MAX_WBITS | 16), 0
            for part in stream:
                try:
                    part = unpack.decompress(part, MAX_BYTES + 1) if gzipped else part
                except zlib.error as error:
                    raise http.DecodingError(f"a reply that is not gzip: {error}") from None
                length += len(part)
                if length > MAX_BYTES:
                    raise http.DecodingError(f"a reply longer than {MAX_BYTES:,} bytes")
                yield part

        def close(self) -> None:
            stream.close()

    stream = response.stream
    response.stream = LimitedStream()

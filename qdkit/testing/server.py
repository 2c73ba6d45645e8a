"""A local model server, for tests, tutorials and benchmarks without a key or a network.

It serves the part of the OpenAI protocol that qdkit uses: `/v1/chat/completions`,
`/v1/embeddings` and `/v1/models`. Its answers come from a list or from a function of the request;
by default an answer is the prompt with a small change:

    with ModelServer(["a first answer", FAULTS["broken"], "a second"]) as server:
        LLM("any-model", base_url=server.url).ask("hello")

`python -m qdkit.testing.server --latency 1.0` runs a server in a process of its own. It prints its
URL, and serves the times of all requests at `/log`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from qdkit.testing.replies import (
    ChatReply,
    Hang,
    Raw,
    ScriptedReply,
    chat_completion,
    default_answer,
    embeddings,
)

_Latency = float | Callable[[Mapping[str, Any]], float]
_ReplyFunction = Callable[[Mapping[str, Any]], ScriptedReply]


@dataclass
class Exchange:
    """One request and the status of its answer.

    key: the `authorization` header.
    arrived, answered: `time.monotonic()` seconds; `answered` is nan until the answer begins.
    status: the HTTP status; 0 where there was no answer.
    """

    path: str
    body: Mapping[str, Any]
    key: str
    arrived: float
    answered: float = float("nan")
    status: int = 0


class ModelServer:
    """A server on a loopback port, from its construction to `close` or the end of a `with` block.

    says: a sequence of answers, one for each chat request, followed by the default answer; or a
      function of the request's body that returns an answer (several threads may call it at once).
    latency: seconds before each answer, or a function of the request's body; see `heavy_tail`.
    models: the names that `/v1/models` lists; requests may name any model.
    log: every request, in the order of arrival.
    """

    def __init__(
        self,
        says: Sequence[ScriptedReply] | _ReplyFunction = default_answer,
        latency: _Latency = 0.0,
        models: Sequence[str] = ("test-model",),
        port: int = 0,
    ) -> None:
        self.says, self.latency, self.models = says, latency, models
        self.log: list[Exchange] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._chat_requests = 0
        self._http = _Http(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address of the server, the `base_url` of a client."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def respond(self, path: str, body: Mapping[str, Any]) -> Raw | Hang:
        """Returns the response to the next request to `path`."""
        if path == "/v1/models":
            models = [{"id": name, "object": "model"} for name in self.models]
            return _json({"object": "list", "data": models})
        if path == "/log":
            times = [vars(exchange).copy() for exchange in [*self.log]]
            for fields in times:
                del fields["body"], fields["key"]
            return _json(times)
        if path == "/v1/embeddings":
            return _json(embeddings(body))
        if path != "/v1/chat/completions":
            return Raw(404, '{"error": {"message": "no such path"}}')
        reply = self._next_reply(body)
        if isinstance(reply, str):
            reply = ChatReply(reply)
        return _json(chat_completion(body, reply)) if isinstance(reply, ChatReply) else reply

    def _next_reply(self, body: Mapping[str, Any]) -> ScriptedReply:
        if callable(self.says):
            return self.says(body)
        with self._lock:
            number = self._chat_requests
            self._chat_requests += 1
        return self.says[number] if number < len(self.says) else default_answer(body)

    def close(self) -> None:
        """Ends every connection and frees the port."""
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        self._http.drop()

    def __enter__(self) -> ModelServer:
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def heavy_tail(base: float, mean: float, seed: int = 0) -> Callable[[Mapping[str, Any]], float]:
    """Returns a latency function: `base` seconds plus an exponential wait with this mean.

    The n-th of several requests with the same body always waits equally long.
    """
    counts: dict[str, int] = {}
    lock = threading.Lock()

    def latency(body: Mapping[str, Any]) -> float:
        text = json.dumps(body, sort_keys=True)
        with lock:
            counts[text] = count = counts.get(text, 0) + 1
        return base + random.Random(f"{seed} {count} {text}").expovariate(1 / mean)

    return latency


def _json(value: Any) -> Raw:
    return Raw(body=json.dumps(value))


class _Http(ThreadingHTTPServer):
    request_queue_size = 1024  # hundreds of clients may connect in the same instant
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], owner: ModelServer) -> None:
        self.owner, self.connections = owner, set[socket.socket]()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def drop(self) -> None:
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that has disconnected is no error of the server.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open
    disable_nagle_algorithm = True  # with `wbufsize`: 2 ms a call, and 50 ms without
    wbufsize = -1
    server: _Http

    def do_GET(self) -> None:
        self._serve({})

    def do_POST(self) -> None:
        self._serve(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def _serve(self, body: Mapping[str, Any]) -> None:
        owner = self.server.owner
        exchange = Exchange(
            self.path, body, self.headers.get("authorization", ""), time.monotonic()
        )
        owner.log.append(exchange)
        response = owner.respond(self.path, body)
        seconds = owner.latency(body) if callable(owner.latency) else owner.latency
        if seconds > 0 and self.path not in ("/v1/models", "/log"):
            owner.closing.wait(seconds)
        if isinstance(response, Hang):
            owner.closing.wait(min(response.seconds, threading.TIMEOUT_MAX))
            self._reset()
            return
        exchange.answered, exchange.status = time.monotonic(), response.status
        self._write(response)

    def _write(self, response: Raw) -> None:
        body = response.body
        data = body.encode() if isinstance(body, str) else body
        headers = {"content-type": response.type, "content-length": str(len(data))}
        self.send_response(response.status)
        for name, value in {**headers, **response.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: round(len(data) * response.sent)])
        self.close_connection = response.sent < 1

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Prints nothing, as `ModelServer.log` holds the requests."""


def _main() -> None:
    """Serves until interrupted; prints the URL on the first line."""
    parser = argparse.ArgumentParser(
        prog="python -m qdkit.testing.server", description=_main.__doc__
    )
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument(
        "--tail", type=float, default=0.0, help="mean of an exponential wait on top, seconds"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the tail")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    args = parser.parse_args()
    latency = heavy_tail(args.latency, args.tail, args.seed) if args.tail else args.latency
    with ModelServer(latency=latency, port=args.port) as server:
        print(server.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    _main()

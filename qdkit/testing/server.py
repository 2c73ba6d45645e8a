"""A model server on the loopback, for tests, tutorials and benchmarks without a key or a network.

It speaks what qdkit asks of an OpenAI-compatible server: `/v1/chat/completions`, `/v1/embeddings` and
`/v1/models`. What it answers is a script, a function of the request, or a small change to the prompt:

    with ModelServer(["a first answer", FAULTS["broken"], "a second"]) as server:
        LLM("any-model", base_url=server.url).ask("hello")

In a process of its own: `python -m qdkit.testing.server --latency 1.0` prints its URL, and tells at `/log` what
it was asked when.
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

from qdkit.testing.replies import Hang, Raw, Reply, Said, completion, embeddings, mutated

Latency = float | Callable[[Mapping[str, Any]], float]


@dataclass
class Exchange:
    """One request as it arrived, and what became of it.

    arrived, answered: `time.monotonic()` seconds; `answered` is nan until the answer begins.
    status: of HTTP; 0 where there was no answer.
    """

    path: str
    body: Mapping[str, Any]
    key: str
    arrived: float
    answered: float = float("nan")
    status: int = 0


class ModelServer:
    """Answers on a loopback port from the moment it is made until `close`, or within a `with`.

    says: a sequence of things to say, one a chat request, then the default; or a function of the
      request's body that returns one (and may be called by several threads at once).
    latency: seconds before each answer, or a function of the request's body; see `heavy_tail`.
    models: what `/v1/models` lists; any model may be asked.
    log: every request, in the order of arrival.
    """

    def __init__(
        self,
        says: Sequence[Said] | Callable[[Mapping[str, Any]], Said] = mutated,
        latency: Latency = 0.0,
        models: Sequence[str] = ("test-model",),
        port: int = 0,
    ) -> None:
        self.says, self.latency, self.models = says, latency, models
        self.log: list[Exchange] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._spoken = 0
        self._http = _Http(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address to hand to a client as `base_url`."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def say(self, path: str, body: Mapping[str, Any]) -> Raw | Hang:
        """What the next request to `path` is told."""
        if path == "/v1/models":
            return _json({"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]})
        if path == "/log":
            return _json([{k: v for k, v in vars(x).items() if k not in ("body", "key")} for x in [*self.log]])
        if path == "/v1/embeddings":
            return _json(embeddings(body))
        if path != "/v1/chat/completions":
            return Raw(404, '{"error": {"message": "no such path"}}')
        said = self._next(body)
        if isinstance(said, str):
            said = Reply(said)
        return _json(completion(body, said)) if isinstance(said, Reply) else said

    def _next(self, body: Mapping[str, Any]) -> Said:
        if callable(self.says):
            return self.says(body)
        with self._lock:
            number, self._spoken = self._spoken, self._spoken + 1
        return self.says[number] if number < len(self.says) else mutated(body)

    def close(self) -> None:
        """Ends every connection and frees the port."""
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        self._http.drop()

    def __enter__(self) -> ModelServer:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def heavy_tail(base: float, mean: float, seed: int = 0) -> Callable[[Mapping[str, Any]], float]:
    """Latencies of `base` seconds and an exponential tail; the n-th request of equal bodies always waits alike."""
    seen: dict[str, int] = {}
    lock = threading.Lock()

    def latency(body: Mapping[str, Any]) -> float:
        text = json.dumps(body, sort_keys=True)
        with lock:
            seen[text] = count = seen.get(text, 0) + 1
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
        if not isinstance(sys.exc_info()[1], OSError):  # a client that has gone is no error of the server
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept
    disable_nagle_algorithm = True  # with `wbufsize`: 2 ms a call, and 50 ms without
    wbufsize = -1
    server: _Http

    def do_GET(self) -> None:
        self._serve({})

    def do_POST(self) -> None:
        self._serve(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def _serve(self, body: Mapping[str, Any]) -> None:
        owner = self.server.owner
        exchange = Exchange(self.path, body, self.headers.get("authorization", ""), time.monotonic())
        owner.log.append(exchange)
        said = owner.say(self.path, body)
        seconds = owner.latency(body) if callable(owner.latency) else owner.latency
        if seconds > 0 and self.path not in ("/v1/models", "/log"):
            owner.closing.wait(seconds)
        if isinstance(said, Hang):
            owner.closing.wait(min(said.seconds, threading.TIMEOUT_MAX))
            self._reset()
            return
        exchange.answered, exchange.status = time.monotonic(), said.status
        self._write(said)

    def _write(self, said: Raw) -> None:
        data = said.body.encode()
        self.send_response(said.status)
        for name, value in {"content-type": said.type, "content-length": str(len(data)), **said.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: round(len(data) * said.sent)])
        self.close_connection = said.sent < 1

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: `ModelServer.log` holds it."""


def main() -> None:
    """Serves until interrupted; prints the URL on the first line."""
    parser = argparse.ArgumentParser(prog="python -m qdkit.testing.server", description=main.__doc__)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--tail", type=float, default=0.0, help="mean of an exponential wait on top, seconds")
    parser.add_argument("--seed", type=int, default=0, help="of the tail")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    asked = parser.parse_args()
    latency = heavy_tail(asked.latency, asked.tail, asked.seed) if asked.tail else asked.latency
    with ModelServer(latency=latency, port=asked.port) as server:
        print(server.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()

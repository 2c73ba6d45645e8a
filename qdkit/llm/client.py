"""The connection to a server that speaks the OpenAI protocol."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from qdkit.llm.fault import Fault, ModelError, attempt

OPENAI = "https://api.openai.com/v1"
NO_KEY = "none"  # the package insists on some key
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Server:
    """A server and the key to it."""

    base_url: str
    api_key: str = field(repr=False)

    def post(self, path: str, body: Mapping[str, Any], timeout: float) -> Mapping[str, Any] | Fault:
        """The reply to `body`, which is sent word for word, or what went wrong.

        timeout: the seconds in which nothing at all may arrive.
        """
        client, options = self._client(), {"timeout": timeout}
        heard = attempt(lambda: client.post(path, cast_to=object, body=body, options=options))
        if isinstance(heard, Fault) and self.api_key != NO_KEY:
            return heard._replace(said=heard.said.replace(self.api_key, "<the key>"))
        return heard

    def models(self) -> list[str]:
        """The names the server lists; none if it does not say."""
        client = self._client()
        reply = attempt(lambda: client.get("/models", cast_to=object, options={"timeout": 10.0}))
        rows = () if isinstance(reply, Fault) else reply.get("data") or ()
        return [str(row["id"]) for row in rows if isinstance(row, dict) and "id" in row]

    def _client(self) -> Any:
        with _LOCK:
            return _client(self.base_url, self.api_key)


def server_at(base_url: str | None, api_key: str | None) -> Server:
    """The server that is meant, by what is given and then by the environment. Raises ModelError if none is."""
    address = base_url or os.environ.get("OPENAI_BASE_URL")
    key = api_key or os.environ.get("OPENAI_API_KEY")
    if not (key or address):
        raise ModelError(
            "no model can be asked: set OPENAI_API_KEY to a key of OpenAI, or base_url= (or OPENAI_BASE_URL) to the "
            "address of another server, such as http://localhost:11434/v1 for Ollama"
        )
    return Server((address or OPENAI).rstrip("/"), key or NO_KEY)


@cache
def _client(base_url: str, api_key: str) -> Any:
    """One client for all threads: it holds the pool of connections, 1000 of them."""
    import openai

    return openai.OpenAI(base_url=base_url, api_key=api_key, max_retries=0)

"""Texts as vectors, from a model of embeddings."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qdkit.llm.answer import Usage
from qdkit.llm.call import Call, Heard, recorded
from qdkit.llm.client import Server, server_at
from qdkit.llm.fault import Fault, ModelError
from qdkit.llm.pace import UNLIMITED, Limits
from qdkit.llm.prices import Prices, checked, dollars
from qdkit.record import Cost, Unanswered

AT_ONCE = 256  # texts in a request; servers take 2048 or fewer


@dataclass(frozen=True)
class Embedder:
    """A model of embeddings; the fields are those of `LLM`. Call it with texts."""

    model: str
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    prices: Prices = field(default_factory=dict)
    timeout: float = 120.0
    patience: float = 300.0
    limits: Limits = UNLIMITED
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked(self.prices)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """float32 `[n, k]`, one row for each text; `[0, 0]` for none.

        Raises Unanswered if the server stays away, and ModelError and Exhausted as `LLM.ask` does.
        """
        parts = [self._embedded(texts[i : i + AT_ONCE]) for i in range(0, len(texts), AT_ONCE)]
        return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)

    def _embedded(self, texts: Sequence[str]) -> np.ndarray:
        shown = [text or " " for text in texts]  # servers refuse a text of no length
        body = {"model": self.model, "input": shown, "encoding_format": "base64", **self.options}
        server = server_at(self.base_url, self.api_key)
        tokens = sum(len(text.encode()) + 8 for text in shown)  # a token is a byte or more
        price = self._price(server)
        most = Cost(price(Usage(tokens, 0), {}), tokens)
        call = Call(
            server, "/embeddings", body, most, tokens // 4, price, self.limits, self.timeout, self.patience
        )  # fmt: skip
        known = recorded(call, lambda heard: _written(heard, len(texts), self.model))
        if known["error"]:
            raise Unanswered(f"no embeddings from {self.model!r}: {known['error']}")
        return np.frombuffer(base64.b64decode(known["vectors"]), "<f4").reshape(known["shape"]).astype(np.float32)

    def _price(self, server: Server) -> Callable[[Usage, Mapping[str, Any]], float]:
        return lambda usage, reply: dollars(usage, self.model, self.prices, server.base_url, reply)


def _written(heard: Heard, n: int, model: str) -> dict[str, Any]:
    """What the record keeps: the vectors as the base64 of float32, which comes back to the bit."""
    spent = None if math.isnan(heard.cost.dollars) else heard.cost.dollars
    known: dict[str, Any] = {"error": heard.error, "cost": {**vars(heard.cost), "dollars": spent}}
    if heard.reply is None or isinstance(heard.reply, Fault):
        return known | {"error": heard.error or heard.reply.said, "seconds": heard.seconds}  # type: ignore[union-attr]
    rows = sorted(heard.reply["data"], key=lambda row: row["index"])
    vectors = [_vector(row["embedding"]) for row in rows]
    if len({v.shape for v in vectors}) != 1 or len(vectors) != n:
        raise ModelError(
            f"{model!r} was given {n} texts and sent vectors of lengths {[v.size for v in vectors][:9]}: "
            "is it a model of embeddings?"
        )
    data = np.stack(vectors).astype("<f4")
    known |= {"vectors": base64.b64encode(data.tobytes()).decode(), "shape": [*data.shape], "seconds": heard.seconds}
    return known | {"model": str(heard.reply.get("model") or "")}


def _vector(sent: str | Sequence[float]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(sent), "<f4") if isinstance(sent, str) else np.asarray(sent, "<f4")

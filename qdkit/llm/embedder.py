"""Vectors of texts from an embedding model behind a server."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qdkit.core.jsonable import as_utf8
from qdkit.core.record import Cost, Unanswered
from qdkit.llm import presence
from qdkit.llm.answer import Usage
from qdkit.llm.call import CallResult, ModelCall, recorded_call
from qdkit.llm.client import Server, server_at
from qdkit.llm.fault import Fault
from qdkit.llm.pace import UNLIMITED, RateLimits
from qdkit.llm.prices import Prices, check_prices, dollars
from qdkit.llm.reply import excerpt

_BATCH = 256  # texts in a request; servers take 2048 or fewer
_MAX_VALUE = 65_504.0  # of a number in a vector: the largest float16, the dtype of stored vectors


@dataclass(frozen=True)
class Embedder:
    """An embedding model; the fields are those of `LLM`. Call it with texts."""

    model: str
    base_url: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    prices: Prices = field(default_factory=dict)
    timeout: float = 120.0
    patience: float | None = None
    limits: RateLimits = UNLIMITED
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_prices(self.prices)
        presence.check_timeouts(self.timeout, self.patience)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Returns float32 `[n, k]`, one row for each text; `[0, 0]` for no texts.

        Raises Unanswered if the server sends no usable vectors, and ModelError and Exhausted as
        `LLM.ask` does.
        """
        parts = [self._embed(texts[i : i + _BATCH]) for i in range(0, len(texts), _BATCH)]
        return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)

    def _embed(self, texts: Sequence[str]) -> np.ndarray:
        inputs = [text or " " for text in texts]  # servers refuse an empty text
        body = {"model": self.model, "input": inputs, "encoding_format": "base64", **self.options}
        server = server_at(self.base_url, self.api_key)
        tokens = sum(len(text.encode()) + 8 for text in inputs)  # a token is a byte or more
        price = self._price(server)
        call = ModelCall(
            server=server,
            path="/embeddings",
            body=body,
            max_cost=Cost(price(Usage(tokens, 0), {}), tokens),
            booked_tokens=tokens // 4,
            price=price,
            limits=self.limits,
            timeout=self.timeout,
            patience=self.patience,
        )
        encode = lambda result: _to_json(result, len(texts), self.model, call.pace.width)
        answer = recorded_call(call, encode)
        if answer["error"]:
            raise Unanswered(f"no embeddings from {self.model!r}: {answer['error']}")
        call.pace.width = answer["shape"][1]
        vectors = np.frombuffer(base64.b64decode(answer["vectors"]), "<f4")
        return vectors.reshape(answer["shape"]).astype(np.float32)

    def _price(self, server: Server) -> Callable[[Usage, Mapping[str, Any]], float]:
        return lambda usage, reply: dollars(usage, self.model, self.prices, server.base_url, reply)


def _to_json(result: CallResult, n: int, model: str, width: int) -> dict[str, Any]:
    """Returns the JSON value that the record keeps: the vectors, or an error.

    The vectors are the base64 of float32, so that they are read back exactly.
    width: the length of the vectors that the model sent before; 0 where it sent none.
    """
    reply = result.reply
    dollars_spent = None if math.isnan(result.cost.dollars) else result.cost.dollars
    answer: dict[str, Any] = {
        "error": result.error,
        "cost": {**vars(result.cost), "dollars": dollars_spent},
    }
    answer |= {"seconds": result.seconds} if reply is not None else {}
    answer |= {"odd": result.odd} if result.odd else {}
    if reply is None or isinstance(reply, Fault):
        return answer | {"error": result.error or reply.message}  # type: ignore[union-attr]
    vectors = _vectors(reply.get("data"), n)
    if isinstance(vectors, str):
        error = f"{model!r} received {n} texts, and {vectors}: is it an embedding model?"
        return answer | {"error": error}
    if width and vectors.shape[1] != width:
        error = f"{model!r} sent vectors of {vectors.shape[1]} numbers, and of {width} before"
        return answer | {"error": error}
    encoded = base64.b64encode(vectors.tobytes()).decode()
    answer |= {"vectors": encoded, "shape": [*vectors.shape]}
    name = reply.get("model")
    return answer | {"model": as_utf8(name) if isinstance(name, str) else ""}


def _vectors(rows: Any, n: int) -> np.ndarray | str:
    """Returns float32 `[n, k]` in the order of the texts, or what is wrong with the rows."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return f"sent no list of vectors: {excerpt(rows)}"
    if len(rows) != n:
        return f"sent {len(rows)} vectors"
    indices = [row.get("index", i) for i, row in enumerate(rows)]
    if not all(type(index) is int for index in indices) or sorted(indices) != [*range(n)]:
        return f"its vectors are numbered {excerpt(indices)}"
    in_order = sorted(zip(indices, rows, strict=True), key=lambda pair: pair[0])
    vectors = [_vector(row.get("embedding")) for _, row in in_order]
    wrong = next((i for i, vector in enumerate(vectors) if vector is None), None)
    if wrong is not None:
        limits = f"-{_MAX_VALUE:,.0f} to {_MAX_VALUE:,.0f}"
        return f"vector {wrong} holds a value that is no number from {limits}"
    sizes = sorted({len(vector) for vector in vectors if vector is not None})
    if len(sizes) != 1:
        return f"its vectors have from {sizes[0]} to {sizes[-1]} numbers"
    return np.stack(vectors).astype("<f4")  # type: ignore[arg-type]


def _vector(value: Any) -> np.ndarray | None:
    """Returns float32 `[k]` of base64 or a list of numbers.

    Returns None for other values, nan and numbers out of range included.
    """
    if isinstance(value, str):
        try:
            data = base64.b64decode(value, validate=True)
        except ValueError:
            return None
        vector = np.frombuffer(data, "<f4") if data and len(data) % 4 == 0 else None
    elif (
        isinstance(value, list)
        and value
        and all(type(x) in (int, float) and abs(x) <= _MAX_VALUE for x in value)
    ):
        vector = np.asarray(value, np.float64).astype("<f4")
    else:
        vector = None
    return vector if vector is not None and (np.abs(vector) <= _MAX_VALUE).all() else None

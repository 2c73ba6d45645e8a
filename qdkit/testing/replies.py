"""The replies of a `ModelServer`: well-formed ones, the known faults of servers, and a default.

A `ChatReply` is a well-formed answer. `Raw`, `Hang` and `RESET` are faults of HTTP and of the
connection. `FAULTS` holds one fault of each kind by name, so that a test can try all of them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_AUTO = "auto"  # the server fills it in


@dataclass(frozen=True)
class ChatReply:
    """One answer of a chat model.

    text: the content; a value that is no text is sent unchanged.
    model: the model in the reply; that of the request if empty.
    usage, logprobs: by default the server counts words, and invents probabilities if the request
      asks for them; None leaves them out; any other value is sent unchanged.
    images: data URLs.
    """

    text: Any = ""
    finish_reason: str = "stop"
    refusal: str | None = None
    model: str = ""
    usage: Any = _AUTO
    logprobs: Any = _AUTO
    images: Sequence[str] = ()


@dataclass(frozen=True)
class Raw:
    """Any HTTP response.

    sent: the share of the body that is sent before the connection breaks.
    """

    status: int = 200
    body: str | bytes = ""
    type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: float = 1.0


@dataclass(frozen=True)
class Hang:
    """No response: the connection ends after so many seconds, or when the server closes."""

    seconds: float = math.inf


RESET = Hang(0.0)  # the connection ends before any answer
ScriptedReply = str | ChatReply | Raw | Hang


def error(status: int, message: str, code: str | None = None, **headers: str) -> Raw:
    """Returns an error in the form of the protocol.

    headers: further headers; `retry_after="2"` becomes the header `retry-after`.
    """
    fields = {"message": message, "type": "error", "code": code, "param": None}
    by_name = {name.replace("_", "-"): value for name, value in headers.items()}
    return Raw(status, json.dumps({"error": fields}), headers=by_name)


def likely(probability: Mapping[str, float]) -> ChatReply:
    """Returns the likeliest word as an answer, with the log-probabilities of all words.

    Use it for judges that read log-probabilities.
    """
    top = sorted(probability, key=lambda word: -probability[word])
    rows = [{"token": word, "logprob": math.log(probability[word]), "bytes": None} for word in top]
    return ChatReply(top[0], logprobs={"content": [{**rows[0], "top_logprobs": rows}]})


_PARTIAL = {"content": [{"token": "yes", "logprob": -0.1}, {"token": " no"}, None]}
FAULTS: Mapping[str, ScriptedReply] = {
    "busy": error(429, "slow down"),
    "busy for a while": error(429, "slow down", retry_after="0.02"),
    "broken": error(500, "internal error"),
    "overloaded": Raw(503, "<html>Service Unavailable</html>", "text/html"),
    "hang": Hang(),
    "reset": RESET,
    "cut off": Raw(body='{"choices": [{"message": {"content": "half of', sent=0.5),
    "bad json": Raw(body='{"choices": [{"message": {"content": "half of'),
    "html": Raw(body="<html>Sign in</html>", type="text/html"),
    "error with status 200": Raw(body='{"error": {"message": "upstream failed", "code": 502}}'),
    "no choices": Raw(body='{"choices": [], "model": "test-model"}'),
    "null content": ChatReply(None),
    "no usage": ChatReply("fine", usage=None),
    "refusal": ChatReply(None, refusal="I will not"),
    "filtered": ChatReply("", finish_reason="content_filter"),
    "truncated": ChatReply("half of", finish_reason="length"),
    "null logprobs": ChatReply("yes", logprobs=None),
    "partial logprobs": ChatReply("yes no", logprobs=_PARTIAL),
    "bad key": error(401, "Incorrect API key provided", "invalid_api_key"),
    "no credit": error(429, "You exceeded your current quota", "insufficient_quota"),
    "unknown model": error(404, "The model does not exist", "model_not_found"),
    "context too long": error(
        400, "maximum context length is 8192 tokens", "context_length_exceeded"
    ),
    "bad request": error(400, "Unsupported parameter: 'logprobs'"),
}


def prompt_of(body: Mapping[str, Any]) -> str:
    """Returns the text of the last message of a request."""
    content = body["messages"][-1]["content"]
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")


def default_answer(body: Mapping[str, Any]) -> str:
    """Returns the default answer: the end of the prompt with a small change.

    The answer depends on the request alone. For a JSON schema it is a value that fits. For a
    prompt with fenced code it is the last block with one number changed (between its EVOLVE-BLOCK
    marks, if it has any), as a patch if the prompt shows a SEARCH/REPLACE block. For any other
    prompt it is the last paragraph with two words swapped.
    """
    rng, prompt = random.Random(json.dumps(body, sort_keys=True)), prompt_of(body)
    if schema := body.get("response_format", {}).get("json_schema", {}).get("schema"):
        return json.dumps(_value_of_schema(schema, rng))
    if blocks := re.findall(r"```\w*\n.*?```", prompt, re.DOTALL):
        block = blocks[-1]
        start, stop = _editable_span(block)
        before, after = block[start:stop], _with_changed_number(block[start:stop], rng)
        if "<<<<<<< SEARCH" in prompt:
            return f"<<<<<<< SEARCH\n{before}=======\n{after}>>>>>>> REPLACE"
        return block[:start] + after + block[stop:]
    words = (prompt.strip().split("\n\n")[-1]).split() or ["nothing"]
    i, j = rng.randrange(len(words)), rng.randrange(len(words))
    words[i], words[j] = words[j], words[i]
    return " ".join(words)


def _editable_span(block: str) -> tuple[int, int]:
    """Returns the span of a fenced block that may change: its first EVOLVE-BLOCK, or all of it."""
    marked = re.search(r"EVOLVE-BLOCK-START.*\n((?:.*\n)*?).*EVOLVE-BLOCK-END", block)
    return marked.span(1) if marked else (block.index("\n") + 1, len(block) - 3)


def _with_changed_number(code: str, rng: random.Random) -> str:
    """Returns `code` with one of its numbers changed, if it has any."""
    numbers = list(re.finditer(r"(?<![\w.])\d+(\.\d+)?", code))
    if not numbers:
        return code
    match = rng.choice(numbers)
    old, real = match.group(), "." in match.group()
    new = f"{float(old) * rng.uniform(0.9, 1.1):.6g}" if real else str(rng.randint(0, 9))
    return code[: match.start()] + new + code[match.end() :]


def _value_of_schema(schema: Mapping[str, Any], rng: random.Random) -> Any:
    """Returns a value that fits a schema of simple types."""
    if "enum" in schema:
        return rng.choice(schema["enum"])
    kind = schema.get("type", "string")
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: _value_of_schema(part, rng) for name, part in properties.items()}
    if kind == "array":
        length = max(schema.get("minItems", 1), 1)
        return [_value_of_schema(schema.get("items", {}), rng) for _ in range(length)]
    low, high = schema.get("minimum", 0), schema.get("maximum", 10)
    values = {
        "integer": rng.randint(math.ceil(low), math.floor(high)),
        "number": round(rng.uniform(low, high), 3),
        "boolean": rng.random() < 0.5,
        "null": None,
    }
    return values.get(kind, f"word{rng.randrange(100)}")


def chat_completion(body: Mapping[str, Any], reply: ChatReply) -> dict[str, Any]:
    """Returns the body of the response of `/v1/chat/completions`."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": reply.text,
        "refusal": reply.refusal,
    }
    if reply.images:
        message["images"] = [
            {"type": "image_url", "image_url": {"url": url}} for url in reply.images
        ]
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": reply.finish_reason,
        "logprobs": _logprobs(body, reply),
    }
    prompt_words = sum(len(str(m["content"]).split()) for m in body["messages"])
    return {
        "id": "cmpl",
        "object": "chat.completion",
        "created": 0,
        "model": reply.model or body["model"],
        "choices": [choice],
        **_usage(prompt_words, reply),
    }


def _usage(read: int, reply: ChatReply) -> dict[str, Any]:
    if reply.usage is None:
        return {}
    if reply.usage != _AUTO:
        return {"usage": reply.usage}
    written = len(_words(reply))
    counts = {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
    }
    return {"usage": counts}


def _words(reply: ChatReply) -> list[str]:
    """Returns the words of a reply with the spaces before them; none if its content is no text."""
    return re.findall(r"\s*\S+", reply.text) if isinstance(reply.text, str) else []


def _logprobs(body: Mapping[str, Any], reply: ChatReply) -> Any:
    if reply.logprobs != _AUTO:
        return reply.logprobs
    if not body.get("logprobs"):
        return None
    rows = [
        [
            {"token": word, "logprob": math.log(0.9)},
            {"token": word.swapcase(), "logprob": math.log(0.1)},
        ]
        for word in _words(reply)
    ]
    top = body.get("top_logprobs", 0)
    return {"content": [{**row[0], "top_logprobs": row[:top]} for row in rows]}


def embeddings(body: Mapping[str, Any], dimensions: int = 64) -> dict[str, Any]:
    """Returns the body of the response of `/v1/embeddings`.

    The vectors are unit vectors of hashed trigrams of characters, so that similar texts are close
    and equal texts coincide.
    """
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    vectors: list[Any] = [_trigrams(text, dimensions) for text in texts]
    if body.get("encoding_format") == "base64":
        import numpy as np

        vectors = [base64.b64encode(np.asarray(v, "<f4").tobytes()).decode() for v in vectors]
    rows = [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)]
    tokens = sum(len(text.split()) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "model": body["model"], "data": rows, "usage": usage}


def _trigrams(text: str, dimensions: int) -> list[float]:
    counts, padded = [0.0] * dimensions, f"  {text.lower()} "
    for i in range(len(padded) - 2):
        digest = hashlib.blake2b(padded[i : i + 3].encode(), digest_size=4).digest()
        counts[int.from_bytes(digest[:3]) % dimensions] += 1 if digest[3] % 2 else -1
    norm = math.sqrt(sum(c * c for c in counts)) or 1.0
    return [c / norm for c in counts]

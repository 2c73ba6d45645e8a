"""What a `ModelServer` can say: well-formed replies, every fault that servers are known for, and a default.

A `Reply` is an answer in good order; `Raw`, `Hang` and `RESET` are what goes wrong below it. `FAULTS`
holds one of each kind by name, so that a test can run through all of them.
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

AUTO = "auto"  # the server fills it in


@dataclass(frozen=True)
class Reply:
    """One answer of a chat model.

    model: who says it has answered; the model that was asked, where empty.
    usage, logprobs: `AUTO` counts words and makes probabilities up when they are asked for; None leaves
      them out; anything else is sent as it is.
    images: data URLs.
    """

    text: str | None = ""
    finish_reason: str = "stop"
    refusal: str | None = None
    model: str = ""
    usage: Any = AUTO
    logprobs: Any = AUTO
    images: Sequence[str] = ()


@dataclass(frozen=True)
class Raw:
    """Any HTTP answer at all. `sent` is the part of the body that is sent before the connection breaks."""

    status: int = 200
    body: str = ""
    type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: float = 1.0


@dataclass(frozen=True)
class Hang:
    """No answer for so many seconds, or until the server closes; then the connection ends."""

    seconds: float = math.inf


RESET = Hang(0.0)  # the connection ends before any answer
Said = str | Reply | Raw | Hang


def error(status: int, message: str, code: str | None = None, **headers: str) -> Raw:
    """A refusal in the protocol's own form; `retry_after="2"` becomes the header `retry-after`."""
    body = json.dumps({"error": {"message": message, "type": "error", "code": code, "param": None}})
    return Raw(status, body, headers={name.replace("_", "-"): value for name, value in headers.items()})


def likely(probability: Mapping[str, float]) -> Reply:
    """A one-word answer, the likeliest, with the log-probabilities of all; for judges that read them."""
    top = sorted(probability, key=lambda word: -probability[word])
    rows = [{"token": word, "logprob": math.log(probability[word]), "bytes": None} for word in top]
    return Reply(top[0], logprobs={"content": [{**rows[0], "top_logprobs": rows}]})


_PARTIAL = {"content": [{"token": "yes", "logprob": -0.1}, {"token": " no"}, None]}
FAULTS: Mapping[str, Said] = {
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
    "null content": Reply(None),
    "no usage": Reply("fine", usage=None),
    "refusal": Reply(None, refusal="I will not"),
    "filtered": Reply("", finish_reason="content_filter"),
    "truncated": Reply("half of", finish_reason="length"),
    "null logprobs": Reply("yes", logprobs=None),
    "partial logprobs": Reply("yes no", logprobs=_PARTIAL),
    "bad key": error(401, "Incorrect API key provided", "invalid_api_key"),
    "no credit": error(429, "You exceeded your current quota", "insufficient_quota"),
    "unknown model": error(404, "The model does not exist", "model_not_found"),
    "context too long": error(400, "maximum context length is 8192 tokens", "context_length_exceeded"),
    "bad request": error(400, "Unsupported parameter: 'logprobs'"),
}


def prompt_of(body: Mapping[str, Any]) -> str:
    """The text of the last message of a request."""
    content = body["messages"][-1]["content"]
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")


def mutated(body: Mapping[str, Any]) -> str:
    """The default answer: what the prompt ends with, a little changed; the same request, the same answer.

    A JSON schema is filled in. Of a prompt with fenced code the last block comes back with one number
    nudged (between its EVOLVE-BLOCK marks, if it has any), as a patch where the prompt shows how a
    SEARCH/REPLACE block looks; of any other, the last paragraph with two words swapped.
    """
    rng, prompt = random.Random(json.dumps(body, sort_keys=True)), prompt_of(body)
    if schema := body.get("response_format", {}).get("json_schema", {}).get("schema"):
        return json.dumps(_filled(schema, rng))
    if code := re.findall(r"```\w*\n.*?```", prompt, re.DOTALL):
        start, stop = _may_change(code[-1])
        block = _nudged(code[-1][start:stop], rng)
        if "<<<<<<< SEARCH" in prompt:
            return f"<<<<<<< SEARCH\n{code[-1][start:stop]}=======\n{block}>>>>>>> REPLACE"
        return code[-1][:start] + block + code[-1][stop:]
    words = (prompt.strip().split("\n\n")[-1]).split() or ["nothing"]
    i, j = rng.randrange(len(words)), rng.randrange(len(words))
    words[i], words[j] = words[j], words[i]
    return " ".join(words)


def _may_change(fenced: str) -> tuple[int, int]:
    """From where to where a fenced block may change: within its first EVOLVE-BLOCK, or between its fences."""
    marked = re.search(r"EVOLVE-BLOCK-START.*\n((?:.*\n)*?).*EVOLVE-BLOCK-END", fenced)
    return marked.span(1) if marked else (fenced.index("\n") + 1, len(fenced) - 3)


def _nudged(code: str, rng: random.Random) -> str:
    """`code` with one of its numbers, if there is one, another."""
    numbers = list(re.finditer(r"(?<![\w.])\d+(\.\d+)?", code))
    if not numbers:
        return code
    spot = rng.choice(numbers)
    nudged = f"{float(spot.group()) * rng.uniform(0.9, 1.1):.6g}" if "." in spot.group() else str(rng.randint(0, 9))
    return code[: spot.start()] + nudged + code[spot.end() :]


def _filled(schema: Mapping[str, Any], rng: random.Random) -> Any:
    """A value that fits a schema of the plain kinds."""
    if "enum" in schema:
        return rng.choice(schema["enum"])
    kind = schema.get("type", "string")
    if kind == "object":
        return {name: _filled(part, rng) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [_filled(schema.get("items", {}), rng) for _ in range(max(schema.get("minItems", 1), 1))]
    low, high = schema.get("minimum", 0), schema.get("maximum", 10)
    plain = {"integer": rng.randint(math.ceil(low), math.floor(high)), "number": round(rng.uniform(low, high), 3)}
    return {**plain, "boolean": rng.random() < 0.5, "null": None}.get(kind, f"word{rng.randrange(100)}")


def completion(body: Mapping[str, Any], reply: Reply) -> dict[str, Any]:
    """The reply as `/v1/chat/completions` words it."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": reply.refusal}
    if reply.images:
        message["images"] = [{"type": "image_url", "image_url": {"url": url}} for url in reply.images]
    choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason, "logprobs": _logprobs(body, reply)}
    model = reply.model or body["model"]
    made: dict[str, Any] = {"id": "cmpl", "object": "chat.completion", "created": 0, "model": model}
    return made | {"choices": [choice]} | _usage(sum(len(str(m["content"]).split()) for m in body["messages"]), reply)


def _usage(asked: int, reply: Reply) -> dict[str, Any]:
    if reply.usage is None:
        return {}
    if reply.usage != AUTO:
        return {"usage": reply.usage}
    said = len((reply.text or "").split())
    return {"usage": {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}}


def _logprobs(body: Mapping[str, Any], reply: Reply) -> Any:
    if reply.logprobs != AUTO:
        return reply.logprobs
    if not body.get("logprobs"):
        return None
    words = re.findall(r"\s*\S+", reply.text or "")
    rows = [[{"token": w, "logprob": math.log(0.9)}, {"token": w.swapcase(), "logprob": math.log(0.1)}] for w in words]
    return {"content": [{**row[0], "top_logprobs": row[: body.get("top_logprobs", 0)]} for row in rows]}


def embeddings(body: Mapping[str, Any], dimensions: int = 64) -> dict[str, Any]:
    """Unit vectors made of hashed trigrams of characters: like texts lie close, equal texts coincide."""
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    vectors = [_trigrams(text, dimensions) for text in texts]
    if body.get("encoding_format") == "base64":
        import numpy as np

        shown: list[Any] = [base64.b64encode(np.asarray(v, "<f4").tobytes()).decode() for v in vectors]
    else:
        shown = vectors
    rows = [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(shown)]
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

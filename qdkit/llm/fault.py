"""What can go wrong with a call to a server, and what is to be done about it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, NamedTuple

from qdkit.record import Halt


class ModelError(Halt):
    """A fault that asking again does not mend, so the run stops; the message says what does."""


class Unable(ModelError):
    """The server does not do what was asked of it, log-probabilities say, and will not the next time either.

    Whoever can do without may go on (`feedback.Fallback` asks its next judge).
    """


class Kind(StrEnum):
    """What a fault asks for."""

    BUSY = "busy"  # the server is up and wants fewer calls: wait as it says
    DOWN = "down"  # the server did no work: ask again, and a server that stays down less often
    LOST = "lost"  # as DOWN, but the work may have been done and charged
    FILTERED = "filtered"  # the server's filter refuses this question: that is its answer
    BLIND = "blind"  # the server, or its model, takes no pictures: that is its answer
    UNABLE = "unable"  # the server does not do what this form of a question asks: that is its answer
    WRONG = "wrong"  # the request or its settings are at fault: stop


# What a question may ask that not every server does, and how servers call it when they refuse.
FEATURES = {"logprobs": ("logprob", "log prob"), "response_format": ("response_format", "json_schema", "schema")}
REFUSALS = (400, 403, 404, 405, 415, 422)  # of HTTP


class Fault(NamedTuple):
    """A fault; `retry_after` is the seconds the server asked to wait, if it did."""

    kind: Kind
    said: str
    status: int = 0
    code: str = ""
    retry_after: float | None = None


def attempt(post: Callable[[], Any]) -> Mapping[str, Any] | Fault:
    """What `post` returns if it is a reply in the protocol's form; a fault in every other case.

    `post` is a call of the openai package with its own retries switched off.
    """
    import openai

    try:
        reply = post()
    except openai.APIStatusError as error:
        return _of_status(error.status_code, error.body, str(error), error.response.headers)
    except openai.APITimeoutError as error:
        return Fault(_sent(error), "no answer within the time limit")
    except openai.APIConnectionError as error:
        return Fault(_sent(error), f"no connection: {error.__cause__ or error}")
    except json.JSONDecodeError as error:
        return Fault(Kind.LOST, f"an answer that is not JSON: {error}")
    if not isinstance(reply, dict):
        return Fault(Kind.LOST, f"an answer that is not JSON: {reply!r:.200}")
    if "choices" not in reply and "data" not in reply:
        return _without_answer(reply)
    return reply


def without_sight(fault: Fault) -> Fault:
    """The fault of a question that showed a picture: `BLIND` where what was said speaks of pictures.

    Servers say it with several statuses, and llama.cpp with 500, so the words tell.
    """
    signs = ("image", "vision", "multimodal", "multi-modal", "content type", "must be a string", "expected a string")
    told = fault.status >= 400 and any(sign in fault.said.lower() for sign in signs)
    return fault._replace(kind=Kind.BLIND) if told and fault.kind in (Kind.WRONG, Kind.DOWN) else fault


def feature_of(body: Mapping[str, Any]) -> str | None:
    """What a request asks that not every server does."""
    return next((feature for feature in FEATURES if feature in body), None)


def understood(heard: Mapping[str, Any] | Fault, body: Mapping[str, Any]) -> Mapping[str, Any] | Fault:
    """What was heard; a request that was refused for what not every server does is no mistake but `UNABLE`."""
    feature = feature_of(body)
    if feature is None or not isinstance(heard, Fault) or heard.kind != Kind.WRONG or heard.status not in REFUSALS:
        return heard
    named = any(word in heard.said.lower() for word in FEATURES[feature])
    return heard._replace(kind=Kind.UNABLE) if named else heard


def _sent(error: Exception) -> Kind:
    """Whether the request can have reached the server: the transport says so only by the name of its error."""
    return (
        Kind.DOWN if type(error.__cause__).__name__ in ("ConnectError", "ConnectTimeout", "PoolTimeout") else Kind.LOST
    )


def _without_answer(reply: Mapping[str, Any]) -> Fault:
    """Some gateways report an error of the server behind them with status 200."""
    error = reply.get("error")
    status = error.get("code") if isinstance(error, dict) else None
    if isinstance(status, int) and status >= 400:
        return _of_status(status, error, str(error), {})
    return Fault(Kind.LOST, f"neither an answer nor an error: {json.dumps(reply)[:200]}")


def _of_status(status: int, body: Any, said: str, headers: Mapping[str, str]) -> Fault:
    told = body if isinstance(body, dict) else {}
    told = told["error"] if isinstance(told.get("error"), dict) else told
    said, code = str(told.get("message") or body or said), str(told.get("code") or told.get("type") or "")
    kind = Kind.WRONG
    if status == 429 and code not in ("insufficient_quota", "billing_hard_limit_reached"):
        kind = Kind.BUSY
    elif status >= 500 or status in (408, 409, 425):
        kind = Kind.DOWN
    elif code in ("content_filter", "content_policy_violation"):
        kind = Kind.FILTERED
    return Fault(kind, f"HTTP {status}: {said:.300}", status, code, _retry_after(headers))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from a number of them, of milliseconds, or a date."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        return max(0.0, float(headers["retry-after"]))
    except KeyError:
        return None
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time())
    except ValueError:
        return None


def mend(fault: Fault, model: str, base_url: str, models: Callable[[], list[str]]) -> str:
    """A sentence that says what to do about a fault that is `WRONG`; `models` lists what the server has."""
    said, where = fault.said, f"the server at {base_url}"
    if fault.status == 401:
        return f"{where} does not accept the key: set OPENAI_API_KEY, or give api_key=, to a valid one ({said})"
    if fault.status == 403:
        return f"{where} does not allow this key to use {model!r}: use another key or another model ({said})"
    if fault.status in (402, 429):
        return f"the account at {base_url} has no credit left: add some, or use another server ({said})"
    if _too_long(fault):
        return (
            f"the prompt and its answer do not fit the context of {model!r}: shorten the prompt, show fewer "
            f"examples, lower max_tokens, or choose a model with a longer context ({said})"
        )
    if fault.status == 404:
        names = models()
        if names and model not in names:
            return f"{where} has no model {model!r}; it has {', '.join(names[:20])} ({said})"
        return f"{where} does not know this address: base_url usually ends in /v1 ({said})"
    return f"{where} refuses the request to {model!r}: {said}; change the settings of the model or its options"


def _too_long(fault: Fault) -> bool:
    signs = ("context length", "context window", "context size", "maximum context", "too many tokens")
    return "context_length" in fault.code or "context_size" in fault.code or any(s in fault.said.lower() for s in signs)

"""Faults of calls to a server, and how to respond to each kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from qdkit.core.jsonable import as_utf8
from qdkit.core.record import Halt
from qdkit.core.redaction import redacted
from qdkit.llm.reply import excerpt, json_body
from qdkit.llm.retry_after import retry_after


class ModelError(Halt):
    """A fault that asking again does not mend, so the run stops; the message names the remedy."""


class Unable(ModelError):
    """The server does not support what a question asks for, such as log-probabilities.

    A caller that can do without may continue (`feedback.Fallback` asks its next judge).
    """


class FaultKind(StrEnum):
    """The kind of a fault, which decides the response to it."""

    BUSY = "busy"  # the server is up and wants fewer calls: wait as it says
    ABSENT = "absent"  # no connection could be made: there may be no such server
    DOWN = "down"  # the server did no work: ask again, and a server that stays down less often
    LOST = "lost"  # as DOWN, but the work may have been done and charged
    FILTERED = "filtered"  # the server's filter refuses this question: that is its answer
    BLIND = "blind"  # the server or its model takes no images: that is its answer
    ODD = "odd"  # the reply has no known form: there is no answer
    UNABLE = "unable"  # the server does not support this kind of question: that is its answer
    WRONG = "wrong"  # the request or its settings are at fault: stop


# Optional features of a request, and the words by which servers name them when they refuse.
_FEATURES = {
    "logprobs": ("logprob", "log prob"),
    "response_format": ("response_format", "json_schema", "schema"),
}
_REFUSALS = (400, 403, 404, 405, 415, 422)  # HTTP statuses
# Words by which servers refuse images, a limit of alternatives, and a prompt that is too long.
_IMAGE_WORDS = (
    "image",
    "vision",
    "multimodal",
    "multi-modal",
    "content type",
    "must be a string",
    "expected a string",
)
_LIMIT_WORDS = ("than", "max", "most", "range", "between", "exceed", "up to", "<=", "limit")
_CONTEXT_WORDS = (
    "context length",
    "context window",
    "context size",
    "maximum context",
    "too many tokens",
)
# Numbers of up to three digits, without those within names of models.
_SMALL_NUMBER = re.compile(r"(?<![\w.])(?<![a-z]-)\d{1,3}(?!\w|\.\d)")
# The kinds of the errors of the transport, by their names; others are LOST.
_KINDS = {
    "ConnectError": FaultKind.ABSENT,
    "ConnectTimeout": FaultKind.ABSENT,
    "ProxyError": FaultKind.ABSENT,
    "PoolTimeout": FaultKind.DOWN,
    "UnsupportedProtocol": FaultKind.WRONG,
    "LocalProtocolError": FaultKind.WRONG,
    "TooManyRedirects": FaultKind.WRONG,
}


class Fault(NamedTuple):
    """A fault of a call.

    message: what went wrong, for the user.
    status: the HTTP status; 0 where no response came.
    code: the server's code of the error; "" where it gave none.
    retry_after: the seconds that the server asked to wait; None where it did not ask.
    listed: how many alternatives of each token the server lists, where it refused to list more;
      else 0.
    """

    kind: FaultKind
    message: str
    status: int = 0
    code: str = ""
    retry_after: float | None = None
    listed: int = 0


def reply_or_fault(post: Callable[[], Any]) -> Mapping[str, Any] | Fault:
    """Returns the reply of `post` if it has the protocol's form, and a fault otherwise.

    `post` calls the openai package for the raw response, without the package's own retries.
    """
    import openai

    try:
        response = post()
    except openai.APIStatusError as error:
        return _of_status(
            error.status_code,
            json_body(error.response.content)[0],
            str(error),
            error.response.headers,
        )
    except openai.APITimeoutError as error:
        return Fault(_kind_of(error), "no answer within the time limit")
    except openai.APIConnectionError as error:
        return _of_connection(error)
    except openai.OpenAIError as error:
        return Fault(FaultKind.LOST, as_utf8(f"no answer that can be read: {error}")[:300])
    reply, wrong = json_body(response.content)
    if not isinstance(reply, dict):
        why = f" ({wrong})" if wrong else ""
        message = f"an answer that is not JSON{why}: {excerpt(reply)}"
        return Fault(FaultKind.LOST, message, response.status_code)
    if "choices" not in reply and "data" not in reply:
        return _without_answer(reply)
    return reply


def blind_if_about_images(fault: Fault) -> Fault:
    """Returns the fault of a question with images, as `BLIND` if its message is about images.

    The message decides, as servers use several statuses for this (llama.cpp uses 500).
    """
    refused = fault.status >= 400 and fault.kind in (FaultKind.WRONG, FaultKind.DOWN)
    about_images = any(word in fault.message.lower() for word in _IMAGE_WORDS)
    return fault._replace(kind=FaultKind.BLIND) if refused and about_images else fault


def optional_feature(body: Mapping[str, Any]) -> str | None:
    """Returns the first feature of a request that not every server supports, or None."""
    return next((feature for feature in _FEATURES if feature in body), None)


def unable_if_unsupported(
    reply: Mapping[str, Any] | Fault, body: Mapping[str, Any]
) -> Mapping[str, Any] | Fault:
    """Returns the reply, as `UNABLE` if it refuses an optional feature of the request `body`."""
    feature = optional_feature(body)
    if (
        feature is None
        or not isinstance(reply, Fault)
        or reply.kind != FaultKind.WRONG
        or reply.status not in _REFUSALS
    ):
        return reply
    if not any(word in reply.message.lower() for word in _FEATURES[feature]):
        return reply
    requested = body.get("top_logprobs") if feature == "logprobs" else None
    listed = _alternatives_listed(reply, requested) if isinstance(requested, int) else 0
    return reply._replace(kind=FaultKind.UNABLE, listed=listed)


def _alternatives_listed(fault: Fault, requested: int) -> int:
    """Returns how many alternatives of each token a server lists that refused to list `requested`.

    0 where its message does not say. Messages differ ("greater than max allowed: 5", "the valid
    range is [0, 20]"), and all name the number.
    """
    words = fault.message.partition(": ")[2].lower()  # without the status
    if not any(word in words for word in _LIMIT_WORDS):
        return 0
    numbers = map(int, _SMALL_NUMBER.findall(words))
    return max((number for number in numbers if 0 < number < requested), default=0)


def _kind_of(error: Exception) -> FaultKind:
    """Returns the kind of an error of the transport: LOST if the request may have been received.

    The transport distinguishes the cases only by the class of its error.
    """
    return _KINDS.get(type(error.__cause__).__name__, FaultKind.LOST)


def _of_connection(error: Exception) -> Fault:
    kind = _kind_of(error)
    reason = as_utf8(str(error.__cause__ or error))[:300]
    message = {
        FaultKind.LOST: "the answer was lost",
        FaultKind.WRONG: "the request cannot be sent",
    }.get(kind, "no connection")
    # A response with a DecodingError was received, and cannot be read.
    status = 200 if type(error.__cause__).__name__ == "DecodingError" else 0
    return Fault(kind, f"{message}: {reason}", status)


def _without_answer(reply: Mapping[str, Any]) -> Fault:
    """Returns the fault of a reply without an answer.

    Some gateways report an error of the server behind them with status 200.
    """
    error = reply.get("error")
    status = error.get("code") if isinstance(error, dict) else None
    if isinstance(status, int) and 400 <= status < 600:
        return _of_status(status, error, excerpt(error), {})
    return Fault(FaultKind.LOST, f"neither an answer nor an error: {excerpt(reply)}", 200)


def _of_status(status: int, body: Any, otherwise: str, headers: Mapping[str, str]) -> Fault:
    """Returns the fault of a response; its message is `otherwise` if the body is empty."""
    error = body if isinstance(body, dict) else {}
    error = error["error"] if isinstance(error.get("error"), dict) else error
    message = error.get("message") or body or otherwise
    message = message if isinstance(message, str) else excerpt(message)
    codes = (error.get("code"), error.get("type"))
    code = next((code for code in codes if isinstance(code, str) and code), "")
    kind = FaultKind.WRONG
    if status == 429 and code not in ("insufficient_quota", "billing_hard_limit_reached"):
        kind = FaultKind.BUSY
    elif status >= 500 or status in (408, 409, 425):
        kind = FaultKind.DOWN
    elif code in ("content_filter", "content_policy_violation"):
        kind = FaultKind.FILTERED
    return Fault(
        kind,
        as_utf8(f"HTTP {status}: {message[:300]}"),
        status,
        as_utf8(code),
        retry_after(headers),
    )


def remedy(fault: Fault, model: str, base_url: str, models: Callable[[], list[str]]) -> str:
    """Returns a message that says what to do about a fault of the kind `WRONG`.

    models: a function that lists the server's models.
    """
    base_url = redacted(base_url)
    message, server = fault.message, f"the server at {base_url}"
    if not fault.status:
        return (
            f"{server} cannot be asked: {message}; base_url begins with http:// or https:// and "
            "usually ends in /v1"
        )
    if fault.status == 401:
        return (
            f"{server} does not accept the key: set OPENAI_API_KEY, or give api_key=, to a valid "
            f"one ({message})"
        )
    if fault.status == 403:
        return (
            f"{server} does not allow this key to use {model!r}: use another key or another model "
            f"({message})"
        )
    if fault.status in (402, 429):
        return (
            f"the account at {base_url} has no credit left: add some, or use another server "
            f"({message})"
        )
    if _exceeds_context(fault):
        return (
            f"the prompt and its answer do not fit the context of {model!r}: shorten the prompt, "
            "show fewer examples, lower max_tokens, or choose a model with a longer context "
            f"({message})"
        )
    if fault.status == 404:
        names = models()
        if names and model not in names:
            return f"{server} has no model {model!r}; it has {', '.join(names[:20])} ({message})"
        return f"{server} does not know this address: base_url usually ends in /v1 ({message})"
    return (
        f"{server} refuses the request to {model!r}: {message}; change the settings of the model "
        "or its options"
    )


def _exceeds_context(fault: Fault) -> bool:
    return (
        "context_length" in fault.code
        or "context_size" in fault.code
        or any(word in fault.message.lower() for word in _CONTEXT_WORDS)
    )

"""The answer of a model, and how to read it from the reply of a server.

Servers may leave out nearly anything: usage, log-probabilities, the content itself. A missing
value is None and never made up. An answer that cannot be used has an outcome that names the
reason. No value of a reply is assumed to have the type that the protocol gives it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

from qdkit.core.jsonable import as_utf8
from qdkit.core.record import NOTHING, Cost
from qdkit.llm.question import Question
from qdkit.llm.reply import EXCERPT_LENGTH, excerpt
from qdkit.llm.schema import parse_for_schema
from qdkit.llm.thoughts import without_thoughts

_IMPOSSIBLE = -9999.0  # the log-probability that servers give to impossible tokens
_MAX_CHARACTERS = 1_000_000  # a longer answer is malformed
_MAX_TOKENS = 10**9  # a larger count for one call is taken as wrong
# Types of the parts of a content that hold thoughts, and fields beside the content that do.
_THOUGHT_PARTS = ("thinking", "reasoning", "redacted_thinking")
_THOUGHT_FIELDS = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
_EMPTY = "the answer is empty"
_ONLY_THOUGHT = "the model only thought and gave no answer: raise max_tokens, or let it think less"


class AnswerOutcome(StrEnum):
    """The outcome of a question. Use the text of an `OK` answer only."""

    OK = "ok"
    REFUSED = "refused"  # the model refused to answer
    FILTERED = "filtered"  # the server's filter stopped the question or the answer
    TRUNCATED = "truncated"  # the answer reached the limit of tokens; the text is its beginning
    EMPTY = "empty"  # the answer has no text
    MALFORMED = "malformed"  # the reply does not have the form of the protocol
    BLIND = "blind"  # the question shows a picture, and the model sees none
    INVALID = "invalid"  # the answer does not fit the schema of the question
    # The server does not support what the question asks for: log-probabilities or a JSON schema.
    UNABLE = "unable"
    INFRASTRUCTURE = "infrastructure"  # no answer came: the server is at fault, not the candidate


class Usage(NamedTuple):
    """Tokens read and written, as the server counts them.

    `cached`: how many of `input` came from the server's cache.
    """

    input: int
    output: int
    cached: int = 0


class Token(NamedTuple):
    """A token of an answer, its natural log-probability, and the likeliest tokens in its place."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Answer:
    """One answer, usable or not.

    text: the text of the model, without its thoughts.
    error: the reason why the answer is not ok; "" if it is.
    model: the model that answered, which may differ from the one in the request.
    usage: the tokens of this answer; None where the server does not report them.
    cost: the cost of all attempts, including those whose answer was lost; its `dollars` are nan
      where the price is unknown.
    seconds: from sending to the last byte, without waits and earlier attempts.
    logprobs: one `Token` for each token; None for a token without a log-probability, and None
      instead of the tuple where no token has one.
    data: the JSON value, where the question has a schema and the answer fits it.
    images: data URLs or addresses of the images in the answer.
    raw: the text with its thoughts, where it has some; else "".
    odd: what is impossible in the usage that the server reported; the call is then charged at
      the most it can cost.
    listed: how many alternatives of each token the server lists, where the answer is `UNABLE`
      because the question asks for more; else 0.
    """

    text: str
    outcome: AnswerOutcome = AnswerOutcome.OK
    error: str = ""
    model: str = ""
    finish_reason: str = ""
    usage: Usage | None = None
    cost: Cost = NOTHING
    seconds: float = 0.0
    logprobs: tuple[Token | None, ...] | None = None
    data: Any = None
    images: tuple[str, ...] = ()
    raw: str = ""
    odd: str = ""
    listed: int = 0

    @property
    def ok(self) -> bool:
        """Whether the answer can be used."""
        return self.outcome == AnswerOutcome.OK

    def __str__(self) -> str:
        return self.text if self.ok else f"[{self.outcome}: {self.error}]"

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON value from which `from_json` makes an equal answer (nan becomes null)."""
        dollars = None if math.isnan(self.cost.dollars) else self.cost.dollars
        value = {**vars(self), "outcome": self.outcome.value, "images": [*self.images]}
        for name in ("raw", "odd", "listed"):
            if not value[name]:
                del value[name]
        value["usage"] = self.usage and self.usage._asdict()
        value["cost"] = {**vars(self.cost), "dollars": dollars}
        if self.logprobs is not None:
            value["logprobs"] = [
                token and [token.text, token.logprob, [[*pair] for pair in token.top]]
                for token in self.logprobs
            ]
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Answer:
        """Returns the answer that `to_json` wrote."""
        dollars, rows = value["cost"]["dollars"], value["logprobs"]
        fields: dict[str, Any] = {
            **value,
            "outcome": AnswerOutcome(value["outcome"]),
            "images": tuple(value["images"]),
        }
        fields["usage"] = value["usage"] and Usage(**value["usage"])
        fields["cost"] = Cost(
            **{**value["cost"], "dollars": math.nan if dollars is None else dollars}
        )
        if rows is not None:
            fields["logprobs"] = tuple(
                row and Token(row[0], row[1], tuple((text, logprob) for text, logprob in row[2]))
                for row in rows
            )
        return cls(**fields)


def answer_in(
    text: str, question: Question, *, only_thought: bool = False, **fields: Any
) -> Answer:
    """Returns the answer with this text, without its thoughts, and the outcome of reading it.

    only_thought: whether the reply holds thoughts beside the text.
    fields: the other fields of the `Answer`.
    """
    answer = without_thoughts(text)
    fields |= {"raw": text} if answer != text else {}
    if len(answer) > _MAX_CHARACTERS:
        error = f"the answer has {len(answer):,} characters, and {_MAX_CHARACTERS:,} are read"
        fields["raw"] = ""
        return Answer(answer[:EXCERPT_LENGTH], AnswerOutcome.MALFORMED, error, **fields)
    if not answer.strip() and not fields.get("images"):
        error = _ONLY_THOUGHT if only_thought or text.strip() else _EMPTY
        return Answer(answer, AnswerOutcome.EMPTY, error, **fields)
    if question.schema is None:
        return Answer(answer, **fields)
    data, error = parse_for_schema(answer, question.schema)
    outcome = AnswerOutcome.INVALID if error else AnswerOutcome.OK
    return Answer(answer, outcome, error, data=data, **fields)


def read_answer(
    reply: Mapping[str, Any],
    question: Question,
    usage: Usage | None,
    cost: Cost,
    seconds: float,
    max_tokens: int | None = None,
) -> Answer:
    """Returns the answer in a reply of `/chat/completions`, whatever the reply holds.

    max_tokens: the limit in the request, which tells a full context from an answer that is too
      long.
    """
    fields: dict[str, Any] = {
        "model": _text(reply.get("model")),
        "usage": usage,
        "cost": cost,
        "seconds": seconds,
    }
    malformed = lambda error, value: Answer(
        "", AnswerOutcome.MALFORMED, f"{error}: {excerpt(value)}", **fields
    )
    choices = reply.get("choices")
    if not isinstance(choices, list | None) or "choices" not in reply:
        return malformed("the reply has no list of choices", reply if choices is None else choices)
    first = choices[0] if choices else None
    choice = {} if first is None else first
    message = choice.get("message") if isinstance(choice, dict) else choice
    if not isinstance(choice, dict) or not isinstance(message, dict | None):
        return malformed("its first choice holds no message", choice)
    if message is None:
        error = choice.get("error")
        why = f": {excerpt(error)}" if error else ""
        return Answer("", AnswerOutcome.EMPTY, f"{_EMPTY}{why}", **fields)
    content = _content(message)
    if content is None:
        return malformed("the content of its message is no text", message.get("content"))
    text, images = content
    fields |= {"images": images, "finish_reason": _text(choice.get("finish_reason"))}
    fields |= {"logprobs": _read_logprobs(choice.get("logprobs"))}
    return _answer_of_message(message, text, question, fields, max_tokens)


def _answer_of_message(
    message: Mapping[str, Any],
    text: str,
    question: Question,
    fields: dict[str, Any],
    max_tokens: int | None,
) -> Answer:
    """Returns the answer of a well-formed message, with the outcome that the message gives."""
    reason, thought = fields["finish_reason"], _has_thoughts(message)
    answer = answer_in(text, replace(question, schema=None), only_thought=thought, **fields)
    if refusal := _text(message.get("refusal")):
        return replace(answer, outcome=AnswerOutcome.REFUSED, error=refusal[:_MAX_CHARACTERS])
    if reason == "content_filter":
        error = "the server's filter stopped it"
        return replace(answer, outcome=AnswerOutcome.FILTERED, error=error)
    if answer.outcome == AnswerOutcome.MALFORMED:
        return answer
    if reason == "length":
        thinking = answer.outcome == AnswerOutcome.EMPTY and (thought or bool(text.strip()))
        error = _truncation(fields["usage"], max_tokens, thinking)
        return replace(answer, outcome=AnswerOutcome.TRUNCATED, error=error)
    calls_a_tool = message.get("tool_calls") or message.get("function_call")
    if answer.outcome == AnswerOutcome.EMPTY and calls_a_tool:
        error = "it called a tool and gave no answer: leave tools out of the model's options"
        return replace(answer, error=error)
    if question.schema is None:
        return answer
    return answer_in(text, question, only_thought=thought, **fields)


def read_usage(reply: Mapping[str, Any]) -> tuple[Usage | None, str]:
    """Returns the tokens that a server reports, and what is impossible in its report, or "".

    The tokens are None where the server reports none, and where its report is impossible.
    """
    usage = reply.get("usage")
    if usage is None or usage == {}:
        return None, ""
    if not isinstance(usage, dict):
        return None, f"its usage is {excerpt(usage)}"
    if usage.get("prompt_tokens") is None:
        return None, ""
    details = usage.get("prompt_tokens_details")
    read = _count(usage.get("prompt_tokens"))
    written = _count(usage.get("completion_tokens", 0) or 0)
    if read is None or written is None:
        counts = {name: usage.get(name) for name in ("prompt_tokens", "completion_tokens")}
        return None, f"its usage is {excerpt(counts)}"
    cached = _count(details.get("cached_tokens") or 0) if isinstance(details, dict) else 0
    return Usage(read, written, min(cached or 0, read)), ""


def _read_logprobs(logprobs: Any) -> tuple[Token | None, ...] | None:
    """Returns one `Token` or None for each token; None if no token has a log-probability."""
    rows = logprobs.get("content") if isinstance(logprobs, dict) else None
    tokens = tuple(_token(row) for row in rows) if isinstance(rows, list) else ()
    return tokens if any(tokens) else None


def _count(value: Any) -> int | None:
    """Returns `value` as a number of tokens; None if it is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= _MAX_TOKENS:
        return None
    return int(value) if value == int(value) else None


def _token(row: Any) -> Token | None:
    pair = _text_and_logprob(row)
    if pair is None:
        return None
    top = row.get("top_logprobs")
    pairs = map(_text_and_logprob, top if isinstance(top, list) else ())
    return Token(*pair, tuple(filter(None, pairs)))


def _text_and_logprob(row: Any) -> tuple[str, float] | None:
    if not isinstance(row, dict) or not isinstance(row.get("token"), str):
        return None
    logprob = row.get("logprob")
    if isinstance(logprob, bool) or not isinstance(logprob, int | float):
        return None
    if not -1e300 < logprob < 1e300:  # nan, infinite, or an integer too large for a float
        logprob = _IMPOSSIBLE
    return as_utf8(row["token"]), min(float(logprob), 0.0)


def _content(message: Mapping[str, Any]) -> tuple[str, tuple[str, ...]] | None:
    """Returns the text and the images of a message; None if its content is of another form.

    Images are parts of the content, or stand in a field beside it.
    """
    content = message.get("content")
    parts = [content] if isinstance(content, str | dict) else [] if content is None else content
    if not isinstance(parts, list):
        return None
    if not all(isinstance(part, str | dict | None) for part in parts):
        return None
    more = message.get("images")
    texts, images = [], []
    for part in [*parts, *(more if isinstance(more, list) else [])]:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and part.get("type") not in _THOUGHT_PARTS:
            texts.append(_text(part.get("text")))
            address = part.get("image_url")
            address = address.get("url") if isinstance(address, dict) else address
            images += [as_utf8(address)] if isinstance(address, str) and address else []
    return as_utf8("".join(texts)), tuple(images)


def _has_thoughts(message: Mapping[str, Any]) -> bool:
    """Whether a message has thoughts in fields beside its content, or in parts of it."""
    content = message.get("content")
    parts = content if isinstance(content, list) else ()
    return any(message.get(name) for name in _THOUGHT_FIELDS) or any(
        isinstance(part, dict) and part.get("type") in _THOUGHT_PARTS for part in parts
    )


def _text(value: Any) -> str:
    """Returns a text of a reply; "" for a value of another type."""
    return as_utf8(value) if isinstance(value, str) else ""


def _truncation(usage: Usage | None, max_tokens: int | None, thinking: bool) -> str:
    """Returns why an answer is truncated, and what to do about it."""
    # A server that reports 0 tokens does not count them.
    if usage and max_tokens and 0 < usage.output < max_tokens:
        return (
            f"it was cut short after {usage.output:,} of {max_tokens:,} tokens, {usage.input:,} "
            "read: its context is full, or a limit of the server is met: shorten the prompt, show "
            "fewer examples, or choose a model with a longer context"
        )
    after = f" after {usage.output} of them" if usage and usage.output else ""
    phase = ", while the model was still thinking" if thinking else ""
    less = ", or let it think less" if thinking else ""
    return f"the limit of tokens was reached{after}{phase}: raise max_tokens{less}"

"""What a model answered, and how to read it from what a server sent.

Servers leave out nearly anything: usage, log-probabilities, the content itself. What is missing is None
here and never a made-up value; an answer that cannot be used has an outcome with a name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from qdkit.llm.question import Question
from qdkit.llm.schema import parsed
from qdkit.plain import clean
from qdkit.record import NOTHING, Cost

IMPOSSIBLE = -9999.0  # the log-probability that servers give to what cannot be


class AnswerOutcome(StrEnum):
    """What became of a question. Only the text of an `OK` answer is meant to be used."""

    OK = "ok"
    REFUSED = "refused"  # the model would not
    FILTERED = "filtered"  # the server would not let it through
    TRUNCATED = "truncated"  # it reached the limit of tokens; the text is a beginning
    EMPTY = "empty"  # nothing was said
    BLIND = "blind"  # the question shows a picture, and whoever was asked sees none
    INVALID = "invalid"  # it does not fit the schema that was asked for
    UNABLE = "unable"  # the server does not do what the question asks of it: log-probabilities, a JSON schema
    INFRASTRUCTURE = "infrastructure"  # no answer came: a server's fault, never the candidate's


class Usage(NamedTuple):
    """Tokens read and written, as the server counts them; `cached` are those of `input` it knew already."""

    input: int
    output: int
    cached: int = 0


class Token(NamedTuple):
    """A token that was written, its natural log-probability, and the likeliest ones in its place."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Answer:
    """One answer, good or not.

    error: why it is not ok, in words; "" if it is.
    model: the model that really answered, which may not be the one that was asked.
    usage: of this answer; None where the server did not say.
    cost: all that was spent on the way to it, attempts whose answer was lost included; its `dollars`
      are nan where the price is unknown.
    seconds: from sending to the last byte, without waits and earlier attempts.
    logprobs: one `Token` each; None for a token, or for all of them, of which the server told nothing.
    data: the JSON value, where a schema was asked for and the answer fits it.
    images: data URLs or addresses of the images it holds.
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

    @property
    def ok(self) -> bool:
        """Whether there is an answer to use."""
        return self.outcome == AnswerOutcome.OK

    def __str__(self) -> str:
        return self.text if self.ok else f"[{self.outcome}: {self.error}]"

    def to_json(self) -> dict[str, Any]:
        """A JSON value from which `from_json` makes an equal answer (a nan is null in it)."""
        dollars = None if math.isnan(self.cost.dollars) else self.cost.dollars
        plain = {**vars(self), "outcome": self.outcome.value, "images": [*self.images]}
        plain["usage"] = self.usage and self.usage._asdict()
        plain["cost"] = {**vars(self.cost), "dollars": dollars}
        if self.logprobs is not None:
            plain["logprobs"] = [t and [t.text, t.logprob, [[*pair] for pair in t.top]] for t in self.logprobs]
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Answer:
        """The answer that `to_json` wrote."""
        dollars, rows = plain["cost"]["dollars"], plain["logprobs"]
        made: dict[str, Any] = {**plain, "outcome": AnswerOutcome(plain["outcome"]), "images": tuple(plain["images"])}
        made["usage"] = plain["usage"] and Usage(**plain["usage"])
        made["cost"] = Cost(**{**plain["cost"], "dollars": math.nan if dollars is None else dollars})
        if rows is not None:
            made["logprobs"] = tuple(r and Token(r[0], r[1], tuple((t, p) for t, p in r[2])) for r in rows)
        return cls(**made)


def answer_in(text: str, question: Question, **known: Any) -> Answer:
    """An answer of which the text is all there is to judge by."""
    if not text.strip() and not known.get("images"):
        return Answer(text, AnswerOutcome.EMPTY, "nothing was said", **known)
    if question.schema is None:
        return Answer(text, **known)
    data, wrong = parsed(text, question.schema)
    return Answer(text, AnswerOutcome.INVALID if wrong else AnswerOutcome.OK, wrong, data=data, **known)


def read_answer(
    reply: Mapping[str, Any], question: Question, usage: Usage | None, cost: Cost, seconds: float
) -> Answer:
    """The answer within the reply of `/chat/completions`."""
    choice = next(iter(reply.get("choices") or []), None) or {}
    message = choice.get("message") or {}
    text, images = _said(message)
    reason = choice.get("finish_reason") or ""
    known: dict[str, Any] = {"model": str(reply.get("model") or ""), "finish_reason": reason, "images": images}
    known |= {"usage": usage, "cost": cost, "seconds": seconds, "logprobs": read_logprobs(choice.get("logprobs"))}
    if refusal := message.get("refusal"):
        return Answer(text, AnswerOutcome.REFUSED, clean(refusal), **known)
    if reason == "content_filter":
        return Answer(text, AnswerOutcome.FILTERED, "the server's filter stopped it", **known)
    if reason == "length":
        return Answer(text, AnswerOutcome.TRUNCATED, f"the limit of tokens was reached{_how_far(usage)}", **known)
    return answer_in(text, question, **known)


def read_usage(reply: Mapping[str, Any]) -> Usage | None:
    """The tokens a server says it used; None if it does not."""
    said = reply.get("usage")
    if not isinstance(said, dict) or not isinstance(said.get("prompt_tokens"), int):
        return None
    details = said.get("prompt_tokens_details") or {}
    return Usage(said["prompt_tokens"], said.get("completion_tokens") or 0, details.get("cached_tokens") or 0)


def read_logprobs(said: Any) -> tuple[Token | None, ...] | None:
    """One `Token` or None for each token; None if there is nothing at all."""
    rows = said.get("content") if isinstance(said, dict) else None
    tokens = tuple(_token(row) for row in rows or [])
    return tokens if any(tokens) else None


def _token(row: Any) -> Token | None:
    pair = _pair(row)
    if pair is None:
        return None
    return Token(*pair, tuple(filter(None, map(_pair, row.get("top_logprobs") or []))))


def _pair(row: Any) -> tuple[str, float] | None:
    if not isinstance(row, dict) or not isinstance(row.get("logprob"), (int, float)):
        return None
    return clean(str(row.get("token"))), float(row["logprob"]) if math.isfinite(row["logprob"]) else IMPOSSIBLE


def _said(message: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The text and the images of a message: images come beside the content, or as parts of it."""
    content = message.get("content") or ""
    parts: Sequence[Any] = [{"text": content}] if isinstance(content, str) else content
    parts = [*parts, *(message.get("images") or [])]
    text = "".join(part.get("text") or "" for part in parts)
    return clean(text), tuple(part["image_url"]["url"] for part in parts if part.get("image_url"))


def _how_far(usage: Usage | None) -> str:
    return f" after {usage.output} of them: raise max_tokens" if usage else ": raise max_tokens"

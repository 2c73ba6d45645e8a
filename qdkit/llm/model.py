"""A language model, and how to ask a question of one or of a plain function in its place."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

from qdkit.core.jsonable import as_utf8
from qdkit.core.record import Cost, current, recall_answer
from qdkit.llm import presence
from qdkit.llm.answer import Answer, AnswerOutcome, Usage, answer_in, read_answer
from qdkit.llm.call import CallResult, ModelCall, recorded_call
from qdkit.llm.client import OPENAI_URL, Server, server_at
from qdkit.llm.fault import Fault, FaultKind, ModelError, Unable
from qdkit.llm.pace import UNLIMITED, RateLimits
from qdkit.llm.prices import Prices, check_prices, dollars
from qdkit.llm.question import Message, Question
from qdkit.llm.reply import guarded

_IMAGE_TOKENS = 50_000  # more than any known vision model reads in one image
# Fields of a request that `LLM.options` may not set.
_RESERVED = ("model", "messages", "stream", "n", "logprobs", "top_logprobs", "response_format")
_OUTCOMES = {
    FaultKind.BLIND: AnswerOutcome.BLIND,
    FaultKind.UNABLE: AnswerOutcome.UNABLE,
    FaultKind.ODD: AnswerOutcome.MALFORMED,
}


@runtime_checkable
class Model(Protocol):
    """An object that answers questions with an `Answer`."""

    def ask(self, question: Question) -> Answer:
        """Returns the answer; its outcome is not `OK` if it cannot be used."""
        ...


# What a question can be asked of: a model, or a function (a person, say) of the prompt's text.
Ask = Model | Callable[[str], str]


@dataclass(frozen=True)
class LLM:
    """A model behind any server that speaks the OpenAI protocol.

    Such servers are OpenAI, vLLM, Ollama, llama.cpp and gateways.

    base_url: the server; OPENAI_BASE_URL, or else OpenAI, where None.
    api_key: OPENAI_API_KEY where None; a local server usually needs none.
    system: a text set before every question.
    temperature: the server's default where None; some models allow no other.
    max_tokens: the limit of tokens of an answer, thoughts included. It bounds the cost of a call.
    prices: US dollars per million tokens read and written, by model: `{"my-model": (0.05, 0.4)}`.
    timeout: seconds without a byte after which an attempt ends; an attempt whose answer arrives
      bit by bit ends after ten times as many.
    patience: seconds after which a call that cannot be sent ends as
      `AnswerOutcome.INFRASTRUCTURE`, and a run whose server cannot be reached ends with
      ModelError; where None 300, and 60 for a server that never answered.
    limits: requests and tokens per minute; all calls to this model of this server share them.
    options: further fields of every request, such as `{"top_p": 0.9, "reasoning_effort": "low"}`.
    """

    # Server, times and prices are no part of the repr: a resumed run may have others.
    model: str
    base_url: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    system: str = ""
    temperature: float | None = None
    max_tokens: int = 4096
    prices: Prices = field(default_factory=dict, repr=False)
    timeout: float = field(default=120.0, repr=False)
    patience: float | None = field(default=None, repr=False)
    limits: RateLimits = field(default=UNLIMITED, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_prices(self.prices)
        presence.check_timeouts(self.timeout, self.patience)
        if self.max_tokens < 1:
            raise ValueError(
                f"max_tokens is the longest answer and at least 1, and this is {self.max_tokens}"
            )
        if reserved := [name for name in _RESERVED if name in self.options]:
            raise ValueError(
                f"{', '.join(reserved)} cannot be among options: the question and the model set it"
            )

    @property
    def server(self) -> Server:
        """The server. Raises ModelError if neither a server nor a key is given."""
        return server_at(self.base_url, self.api_key)

    def ask(self, question: str | Sequence[Message] | Question) -> Answer:
        """Returns the answer, usable or not: see `Answer.outcome`.

        A server that does not support JSON schemas gets the schema in the prompt. A server that
        lists fewer alternatives of a token than the question asks for is asked for as many as it
        lists.

        Raises ModelError for a fault that asking again does not mend, such as a bad key, an
        unknown model, a prompt that is too long or a server that cannot be reached. Raises
        Unable, a ModelError, if the server does not report log-probabilities. Raises Exhausted if
        the budget does not cover the call.
        """
        return answer_with_fallbacks(self.once, Question.of(question))

    __call__ = ask

    def once(self, question: Question) -> Answer:
        """As `ask`, but without a second attempt where the first answer is `UNABLE`."""
        body = self.body(question)
        max_tokens = body[self._limit_name()]
        encode = lambda result: _answer_of_call(question, result, max_tokens).to_json()
        return Answer.from_json(recorded_call(self._call(body), encode))

    @property
    def reachable(self) -> bool:
        """Whether a key or an address is given, so that requests can be sent."""
        try:
            return bool(self.server)
        except ModelError:
            return False

    def body(self, question: Question) -> dict[str, Any]:
        """Returns the request, exactly as it is sent and recorded."""
        limit = self.max_tokens if question.max_tokens is None else question.max_tokens
        return {self._limit_name(): limit, **self.body_without_limit(question)}

    def body_without_limit(self, question: Question) -> dict[str, Any]:
        """Returns the request without the limit of tokens, whose name differs between servers."""
        temperature = self.temperature if question.temperature is None else question.temperature
        body: dict[str, Any] = {
            "model": self.model,
            "messages": question.messages(self.system),
            **self.options,
        }
        body |= {"temperature": temperature} if temperature is not None else {}
        body |= {"seed": question.seed} if question.seed is not None else {}
        body |= {"stop": [*question.stop]} if question.stop else {}
        body |= {"logprobs": True, "top_logprobs": question.logprobs} if question.logprobs else {}
        if question.schema is not None and not question.in_words:
            strict = question.schema.get("additionalProperties") is False
            json_schema = {"name": "answer", "schema": question.schema, "strict": strict}
            body["response_format"] = {"type": "json_schema", "json_schema": json_schema}
        return body

    def cost(self, input_tokens: int, output_tokens: int) -> Cost:
        """Returns the cost of a call of this size; `dollars` is nan if the price is unknown."""
        return Cost(self._price(Usage(input_tokens, output_tokens)), input_tokens + output_tokens)

    def max_cost(self, question: str | Sequence[Message] | Question) -> Cost:
        """Returns the most that one attempt at this question can cost."""
        return self._max_cost_of_body(self.body(Question.of(question)))

    def _max_cost_of_body(self, body: Mapping[str, Any]) -> Cost:
        tokens, images = size_bounds([body["messages"], body.get("response_format")])
        return self.cost(tokens + _IMAGE_TOKENS * images, body[self._limit_name()])

    def _call(self, body: Mapping[str, Any]) -> ModelCall:
        return ModelCall(
            server=self.server,
            path="/chat/completions",
            body=body,
            max_cost=self._max_cost_of_body(body),
            booked_tokens=size_bounds(body["messages"])[0] // 4 + body[self._limit_name()],
            price=self._price,
            limits=self.limits,
            timeout=self.timeout,
            patience=self.patience,
        )

    def _price(self, usage: Usage, reply: Mapping[str, Any] | None = None) -> float:
        return dollars(usage, self.model, self.prices, self.server.base_url, reply)

    def _limit_name(self) -> str:
        """Returns the field of a request that holds the limit of tokens.

        Newer models of OpenAI know only `max_completion_tokens`, many other servers only
        `max_tokens`.
        """
        if "max_completion_tokens" in self.options:
            return "max_completion_tokens"
        host = urlsplit(self.server.base_url).hostname
        return "max_completion_tokens" if host == urlsplit(OPENAI_URL).hostname else "max_tokens"


def answer_with_fallbacks(ask: Callable[[Question], Answer], question: Question) -> Answer:
    """Returns the answer of a server that may not support all that a question asks for.

    Where the server lists too few alternatives of a token, asks for as many as it lists. Where it
    does not support JSON schemas, puts the schema into the prompt. All calls are recorded, so that
    a replay needs no server. Raises Unable if the answer is still `UNABLE`.
    """
    answer = ask(question)
    if answer.outcome == AnswerOutcome.UNABLE and 0 < answer.listed < question.logprobs:
        answer = ask(replace(question, logprobs=answer.listed))
    if answer.outcome == AnswerOutcome.UNABLE and question.schema is not None:
        answer = ask(replace(question, in_words=True))
    if answer.outcome == AnswerOutcome.UNABLE:
        raise Unable(
            f"the server does not do what it was asked ({answer.error}): ask another server or, "
            "where it is log-probabilities, judge by a Rating, alone or as the next of a Fallback"
        )
    return answer


def answer_of(ask: Ask, question: str | Sequence[Message] | Question) -> Answer:
    """Returns the answer of `ask` to a question.

    ask: a model (any object with a method `ask`), or a plain function of the prompt's text, whose
      answer is recorded and read against the schema as that of a model is.
    """
    question = Question.of(question)
    if isinstance(ask, Model):
        return ask.ask(question)
    request = {"function": model_name(ask), "prompt": question.text()}
    record = current()
    known = recall_answer(record, request)
    if known is not None:
        return Answer.from_json(known)
    with record.reserve(Cost()) as spend:
        text = ask(request["prompt"])
        if not isinstance(text, str):
            raise TypeError(
                f"{request['function']} should answer with a text, and answered with {text!r:.80}"
            )
        spend(Cost())
        fields: dict[str, Any] = {"model": request["function"], "cost": Cost()}
        answer = guarded(
            lambda: answer_in(as_utf8(text), question, **fields),
            lambda why: Answer("", AnswerOutcome.MALFORMED, f"the answer {why}", **fields),
        )
        record.keep(request, answer.to_json())
    return answer


def model_name(ask: Ask) -> str:
    """Returns the name of a model or of a function."""
    return str(getattr(ask, "model", None) or getattr(ask, "__name__", type(ask).__name__))


def size_bounds(value: Any) -> tuple[int, int]:
    """Returns an upper bound of the tokens in the texts of a request, and its number of images.

    A token has at least one byte, so the bytes of the JSON bound the tokens of the text.
    """
    if isinstance(value, Mapping):
        if value.get("type") == "image_url":
            return 0, 1
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        parts = [size_bounds(part) for part in value]
        tokens = 2 * len(parts) + 16 + sum(size for size, _ in parts)
        return tokens, sum(images for _, images in parts)
    return len(value.encode()) if isinstance(value, str) else len(json.dumps(value)), 0


def _answer_of_call(question: Question, result: CallResult, max_tokens: int) -> Answer:
    reply = result.reply
    if reply is None:
        return Answer("", AnswerOutcome.INFRASTRUCTURE, result.error, cost=result.cost)
    if isinstance(reply, Fault):
        return Answer(
            "",
            _OUTCOMES.get(reply.kind, AnswerOutcome.FILTERED),
            reply.message,
            usage=result.usage,
            cost=result.cost,
            seconds=result.seconds,
            odd=result.odd,
            listed=reply.listed,
        )
    answer = read_answer(reply, question, result.usage, result.cost, result.seconds, max_tokens)
    return replace(answer, odd=result.odd)

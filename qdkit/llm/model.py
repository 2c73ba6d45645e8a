"""A language model, and how to put a question to one or to a plain function in its stead."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

from qdkit.llm.answer import Answer, AnswerOutcome, Usage, answer_in, read_answer, read_usage
from qdkit.llm.call import Call, Heard, recorded
from qdkit.llm.client import OPENAI, Server, server_at
from qdkit.llm.fault import Fault, Kind, ModelError, Unable
from qdkit.llm.pace import UNLIMITED, Limits
from qdkit.llm.prices import Prices, checked, dollars
from qdkit.llm.question import Message, Question
from qdkit.record import Cost, current

IMAGE_TOKENS = 50_000  # more than a vision model known to us reads in one image
_OURS = ("model", "messages", "stream", "n", "logprobs", "top_logprobs", "response_format")


@runtime_checkable
class Model(Protocol):
    """Whatever answers questions with more than text."""

    def ask(self, question: Question) -> Answer:
        """The answer; one that cannot be used has an outcome that says so."""
        ...


Ask = Model | Callable[[str], str]  # who answers: a model, a function, a person


@dataclass(frozen=True)
class LLM:
    """A model behind any server that speaks the OpenAI protocol: OpenAI, vLLM, Ollama, llama.cpp, a gateway.

    base_url: the server; OPENAI_BASE_URL, or else OpenAI, where None.
    api_key: OPENAI_API_KEY where None; servers of one's own need none.
    system: a text set before every question.
    temperature: the server's own where None; some models allow no other.
    max_tokens: the longest answer, thinking included. It bounds what a call can cost.
    prices: US dollars per million tokens read and written, by model: `{"my-model": (0.05, 0.4)}`.
    timeout: seconds without a byte after which an attempt is given up.
    patience: seconds after which a call that cannot be sent ends as `AnswerOutcome.INFRASTRUCTURE`.
    limits: requests and tokens per minute; all who ask this model of this server share them.
    options: further fields of every request, such as `{"top_p": 0.9, "reasoning_effort": "low"}`.
    """

    # Where, when and at what price a model is asked is not what it is asked: a run goes on with another.
    model: str
    base_url: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    system: str = ""
    temperature: float | None = None
    max_tokens: int = 4096
    prices: Prices = field(default_factory=dict, repr=False)
    timeout: float = field(default=120.0, repr=False)
    patience: float = field(default=300.0, repr=False)
    limits: Limits = field(default=UNLIMITED, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked(self.prices)
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens is the longest answer and at least 1, and this is {self.max_tokens}")
        if taken := [name for name in _OURS if name in self.options]:
            raise ValueError(f"{', '.join(taken)} cannot be among options: the question and the model say it")

    @property
    def server(self) -> Server:
        """The server that is asked. Raises ModelError if none is given, nor a key."""
        return server_at(self.base_url, self.api_key)

    def ask(self, question: str | Sequence[Message] | Question) -> Answer:
        """The answer, good or not: see `Answer.outcome`.

        Raises ModelError for what asking again does not mend, such as a bad key, an unknown model or a
        prompt too long for it, and Exhausted if the budget does not cover it; Unable, which is a ModelError,
        from a server that refuses to tell log-probabilities. One that knows no JSON schema is asked in words.
        """
        return as_far_as_able(self.once, Question.of(question))

    __call__ = ask

    def once(self, question: Question) -> Answer:
        """As `ask`, but where the server does not do what the question asks of it the answer is `UNABLE`."""
        call = self._call(self.body(question))
        return Answer.from_json(recorded(call, lambda heard: _answer(question, heard).to_json()))

    @property
    def reachable(self) -> bool:
        """Whether there is a key or an address to ask with."""
        try:
            return bool(self.server)
        except ModelError:
            return False

    def body(self, question: Question) -> dict[str, Any]:
        """The request, exactly as it is sent and recorded."""
        longest = self.max_tokens if question.max_tokens is None else question.max_tokens
        return {self._longest(): longest, **self.asks(question)}

    def asks(self, question: Question) -> dict[str, Any]:
        """The request but for the limit of tokens, which servers call by different names."""
        warmth = self.temperature if question.temperature is None else question.temperature
        body: dict[str, Any] = {"model": self.model, "messages": question.messages(self.system), **self.options}
        body |= {"temperature": warmth} if warmth is not None else {}
        body |= {"seed": question.seed} if question.seed is not None else {}
        body |= {"stop": [*question.stop]} if question.stop else {}
        body |= {"logprobs": True, "top_logprobs": question.logprobs} if question.logprobs else {}
        if question.schema is not None and not question.in_words:
            strict = question.schema.get("additionalProperties") is False
            form = {"name": "answer", "schema": question.schema, "strict": strict}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return body

    def cost(self, input_tokens: int, output_tokens: int) -> Cost:
        """What a call of this size costs; its `dollars` are nan if the price is unknown."""
        return Cost(self._price(Usage(input_tokens, output_tokens)), input_tokens + output_tokens)

    def most(self, question: str | Sequence[Message] | Question) -> Cost:
        """What one attempt at this question costs at most."""
        return self._most(self.body(Question.of(question)))

    def _most(self, body: Mapping[str, Any]) -> Cost:
        size, images = size_of([body["messages"], body.get("response_format")])
        return self.cost(size + IMAGE_TOKENS * images, body[self._longest()])

    def _call(self, body: Mapping[str, Any]) -> Call:
        booked = size_of(body["messages"])[0] // 4 + body[self._longest()]
        return Call(
            self.server, "/chat/completions", body, self._most(body), booked, self._price,
            self.limits, self.timeout, self.patience,
        )  # fmt: skip

    def _price(self, usage: Usage, reply: Mapping[str, Any] | None = None) -> float:
        return dollars(usage, self.model, self.prices, self.server.base_url, reply)

    def _longest(self) -> str:
        """The name of the limit: OpenAI's newer models know only the new one, many other servers only the old."""
        if "max_completion_tokens" in self.options:
            return "max_completion_tokens"
        host = urlsplit(self.server.base_url).hostname
        return "max_completion_tokens" if host == urlsplit(OPENAI).hostname else "max_tokens"


def as_far_as_able(ask: Callable[[Question], Answer], question: Question) -> Answer:
    """The answer of a server that may not do all that a question asks; a schema can be said in words.

    Both calls are recorded, so that a run that is made again needs no server to know. Raises Unable for what
    cannot be done without.
    """
    answer = ask(question)
    if answer.outcome == AnswerOutcome.UNABLE and question.schema is not None:
        answer = ask(replace(question, in_words=True))
    if answer.outcome == AnswerOutcome.UNABLE:
        raise Unable(
            f"the server does not do what it was asked ({answer.error}): ask another server or, where it is "
            "log-probabilities, judge by a Rating, alone or as the next of a Fallback"
        )
    return answer


def answer_of(ask: Ask, question: str | Sequence[Message] | Question) -> Answer:
    """What `ask` answers: a model (anything with a method `ask`), or a plain function of the prompt's text.

    What a function says is recorded as a model's answer is, and read against the schema.
    """
    question = Question.of(question)
    if isinstance(ask, Model):
        return ask.ask(question)
    request = {"function": named(ask), "prompt": question.text()}
    record = current()
    known = record.recall(request)
    if known is not None:
        return Answer.from_json(known)
    with record.reserve(Cost()) as spend:
        said = ask(request["prompt"])
        if not isinstance(said, str):
            raise TypeError(f"{request['function']} should answer with a text, and answered with {said!r:.80}")
        spend(Cost())
        answer = answer_in(said, question, model=request["function"], cost=Cost())
        record.keep(request, answer.to_json())
    return answer


def named(ask: Ask) -> str:
    """The name of a model, or of a function."""
    return str(getattr(ask, "model", None) or getattr(ask, "__name__", type(ask).__name__))


def size_of(value: Any) -> tuple[int, int]:
    """How many tokens the texts of a request can be at most, and how many images it shows.

    A token is made of one byte or more, so the bytes of the JSON bound the tokens of the text.
    """
    if isinstance(value, Mapping):
        if value.get("type") == "image_url":
            return 0, 1
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        parts = [size_of(part) for part in value]
        return 2 * len(parts) + 16 + sum(size for size, _ in parts), sum(images for _, images in parts)
    return len(value.encode()) if isinstance(value, str) else len(json.dumps(value)), 0


def _answer(question: Question, heard: Heard) -> Answer:
    if heard.reply is None:
        return Answer("", AnswerOutcome.INFRASTRUCTURE, heard.error, cost=heard.cost)
    if isinstance(heard.reply, Fault):
        answers = {Kind.BLIND: AnswerOutcome.BLIND, Kind.UNABLE: AnswerOutcome.UNABLE}
        outcome = answers.get(heard.reply.kind, AnswerOutcome.FILTERED)
        return Answer("", outcome, heard.reply.said, cost=heard.cost, seconds=heard.seconds)
    return read_answer(heard.reply, question, read_usage(heard.reply), heard.cost, heard.seconds)

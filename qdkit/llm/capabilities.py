"""What a server and its model can do, found out by asking."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from qdkit.llm.embedder import Embedder
from qdkit.llm.fault import ModelError
from qdkit.llm.model import LLM
from qdkit.llm.question import Question
from qdkit.record import Unanswered

_COLOUR = {
    "type": "object",
    "properties": {"colour": {"type": "string"}},
    "required": ["colour"],
    "additionalProperties": False,
}


class Capabilities(NamedTuple):
    """What was found: each is "" where it works, and otherwise says what came instead.

    model: who answered. seconds: how long it took. priced: whether the price is known.
    """

    text: str
    schema: str
    logprobs: str
    embeddings: str
    model: str
    seconds: float
    priced: bool


def capabilities(llm: LLM, embeddings: str | None = None) -> Capabilities:
    """Puts four short questions to the server; `embeddings` names its model of embeddings, the same where None."""
    brief = replace(llm, max_tokens=min(llm.max_tokens, 512), patience=min(llm.patience, 20.0))
    plain = brief.ask("Name a colour.")
    vectors = Embedder(embeddings or llm.model, llm.base_url, llm.api_key, llm.prices, llm.timeout, brief.patience)
    return Capabilities(
        plain.error,
        _missing(brief, Question("Name a colour, as JSON.", schema=_COLOUR)),
        _missing(brief, Question("Name a colour.", logprobs=2)),
        _unembedded(vectors),
        plain.model,
        plain.seconds,
        plain.cost.dollars == plain.cost.dollars,  # not nan
    )


def _missing(llm: LLM, question: Question) -> str:
    try:
        answer = llm.once(question)
    except ModelError as error:
        return str(error)
    if question.logprobs and answer.ok and answer.logprobs is None:
        return "the server left them out"
    return answer.error


def _unembedded(embedder: Embedder) -> str:
    try:
        embedder(["red"])
    except (ModelError, Unanswered) as error:
        return str(error)
    return ""

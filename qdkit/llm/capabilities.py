"""The capabilities of a server and its model, from a few short questions."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from qdkit.core.record import Unanswered
from qdkit.llm.embedder import Embedder
from qdkit.llm.fault import ModelError
from qdkit.llm.model import LLM
from qdkit.llm.question import Question

_COLOUR = {
    "type": "object",
    "properties": {"colour": {"type": "string"}},
    "required": ["colour"],
    "additionalProperties": False,
}


class Capabilities(NamedTuple):
    """The capabilities of a server and its model.

    text, schema, logprobs, embeddings: "" where the feature works, and otherwise the error.
    model: the name of the model that answered.
    seconds: the time of the first answer.
    priced: whether the price is known.
    """

    text: str
    schema: str
    logprobs: str
    embeddings: str
    model: str
    seconds: float
    priced: bool


def capabilities(llm: LLM, embeddings: str | None = None) -> Capabilities:
    """Asks the server four short questions and returns what works.

    embeddings: the name of its embedding model; that of `llm` where None.
    """
    brief = replace(
        llm, max_tokens=min(llm.max_tokens, 512), patience=min(llm.patience or 20.0, 20.0)
    )
    plain = brief.ask("Name a colour.")
    embedder = Embedder(
        embeddings or llm.model, llm.base_url, llm.api_key, llm.prices, llm.timeout, brief.patience
    )
    return Capabilities(
        plain.error,
        _error(brief, Question("Name a colour, as JSON.", schema=_COLOUR)),
        _error(brief, Question("Name a colour.", logprobs=2)),
        _embedding_error(embedder),
        plain.model,
        plain.seconds,
        plain.cost.dollars == plain.cost.dollars,  # not nan
    )


def _error(llm: LLM, question: Question) -> str:
    try:
        answer = llm.once(question)
    except ModelError as error:
        return str(error)
    if question.logprobs and answer.ok and answer.logprobs is None:
        return "the server left them out"
    return answer.error


def _embedding_error(embedder: Embedder) -> str:
    try:
        embedder(["red"])
    except (ModelError, Unanswered) as error:
        return str(error)
    return ""

"""The base class of operators that ask a model for new texts."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from qdkit.core.types import Context, Key, Operator, Outcome, Proposal
from qdkit.llm import Answer, AnswerOutcome, Ask, Question, answer_of, guarded

TRIES = 2  # how often a model is asked for one candidate


class Writing(Operator):
    """Asks a model one question for each new text; subclasses define the question.

    If a response is refused, truncated or empty, the model is asked once more. If that fails too,
    the candidate is `INVALID`, or `INFRASTRUCTURE` if the server did not respond, with the reason
    in the notes. The notes have the name of the model and the cost.
    """

    ask: Ask

    @property
    def models(self) -> tuple[Ask]:
        """The model that it asks."""
        return (self.ask,)

    @abc.abstractmethod
    def question(self, random: np.random.Generator, context: Context) -> str | Question:
        """Returns the question for one new text, whose parents and target are in `context`."""

    def read(self, answer: Answer) -> str:
        """Returns the new text in a response, or "" if there is none."""
        return answer.text.strip() if answer.ok else ""

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        random = numpy_generator(key)
        contexts = [context.part(slice(i, i + 1), self.arity, self.arity) for i in range(n)]
        questions = [self.question(random, each) for each in contexts]
        parents = context.parents.id.reshape(n, -1)
        return propose_answers(self.ask, questions, self.name, parents, self.read)


class _Row(NamedTuple):
    text: str
    outcome: Outcome
    notes: Mapping[str, Any]


def propose_answers(
    ask: Ask,
    questions: Sequence[str | Question],
    name: str,
    parents: np.ndarray,
    read: Callable[[Answer], str],
) -> Proposal:
    """Asks each question and returns the texts that `read` finds in the responses; see `Writing`.

    name: the name of the operator.
    parents: int32 `[n, p]`, the ids of the candidates in each question.
    """
    rows = [_row(ask, question, read) for question in questions]
    text, outcome, notes = ([row[column] for row in rows] for column in range(3))
    return Proposal(text, parents, [name] * len(rows), outcome, notes)  # type: ignore[arg-type]


def numpy_generator(key: Key) -> np.random.Generator:
    """Returns a numpy generator that is seeded by a jax key."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def outcome_of(answer: Answer, text: str) -> Outcome:
    """Returns the outcome of a candidate, where `text` is what was read in a response."""
    if text:
        return Outcome.OK
    if answer.outcome == AnswerOutcome.INFRASTRUCTURE:
        return Outcome.INFRASTRUCTURE
    return Outcome.INVALID


def notes_of(answer: Answer, text: str, dollars: float, reason: str = "") -> dict[str, Any]:
    """Returns the notes of a candidate: the model, the cost and, if there is no text, the error.

    reason: why the response could not be read, if it could not.
    """
    notes: dict[str, Any] = {
        "model": answer.model,
        "dollars": dollars if dollars == dollars else None,
    }
    reason = (reason or "nothing in it can be used") if answer.ok else answer.error
    return notes if text else notes | {"error": f"{answer.outcome}: {reason}"}


def _row(ask: Ask, question: str | Question, read: Callable[[Answer], str]) -> _Row:
    dollars = 0.0
    for _ in range(TRIES):
        answer = answer_of(ask, question)
        dollars += answer.cost.dollars
        text, reason = guarded(partial(_text_and_reason, read, answer), lambda why: ("", why))
        if text or answer.outcome == AnswerOutcome.INFRASTRUCTURE:
            break
    return _Row(text, outcome_of(answer, text), notes_of(answer, text, dollars, reason))


def _text_and_reason(read: Callable[[Answer], str], answer: Answer) -> tuple[str, str]:
    """Returns the text in a response, and "" as the reason, which `guarded` sets on errors."""
    return read(answer), ""

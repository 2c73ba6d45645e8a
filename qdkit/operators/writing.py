"""Asking a model for new texts: what all operators that do so have in common."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from qdkit.llm import Answer, AnswerOutcome, Ask, Question, answer_of
from qdkit.types import Context, Key, Operator, Outcome, Proposal

TRIES = 2  # an answer that cannot be used costs one more, not the candidate


class Writing(Operator):
    """Asks one question for each new text; a subclass says which.

    An answer that was refused, cut short or left empty is asked for once more; after that the candidate
    is `INVALID`, or `INFRASTRUCTURE` where the server gave none, with the reason. The model that
    answered and what it cost are in the notes.
    """

    ask: Ask

    @property
    def models(self) -> tuple[Ask]:
        """The one it asks."""
        return (self.ask,)

    @abc.abstractmethod
    def question(self, random: np.random.Generator, context: Context) -> str | Question:
        """What is asked for one new text, of which `context` alone speaks."""

    def read(self, answer: Answer) -> str:
        """The new text that an answer holds; empty where it holds none."""
        return answer.text.strip() if answer.ok else ""

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        random = generator(key)
        each = [context.part(slice(i, i + 1), self.arity, self.arity) for i in range(n)]
        questions = [self.question(random, one) for one in each]
        return answered(self.ask, questions, self.name, context.parents.id.reshape(n, -1), self.read)


class _Row(NamedTuple):
    text: str
    outcome: Outcome
    notes: Mapping[str, Any]


def answered(
    ask: Ask, questions: Sequence[str | Question], name: str, parents: np.ndarray, read: Callable[[Answer], str]
) -> Proposal:
    """What `read` finds in the answer to each question as a new text; see `Writing`.

    name: of the operator. parents: int32 `[n, p]`, the ids of those that each question shows.
    """
    rows = [_row(ask, question, read) for question in questions]
    text, outcome, notes = ([row[column] for row in rows] for column in range(3))
    return Proposal(text, parents, [name] * len(rows), outcome, notes)  # type: ignore[arg-type]


def generator(key: Key) -> np.random.Generator:
    """The generator that a key makes."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def outcome_of(answer: Answer, text: str) -> Outcome:
    """What became of a candidate of which `text` was read in an answer."""
    if text:
        return Outcome.OK
    return Outcome.INFRASTRUCTURE if answer.outcome == AnswerOutcome.INFRASTRUCTURE else Outcome.INVALID


def notes_of(answer: Answer, text: str, dollars: float) -> dict[str, Any]:
    """The model and the cost, and why there is no text where there is none."""
    notes: dict[str, Any] = {"model": answer.model, "dollars": dollars if dollars == dollars else None}
    why = "nothing in it can be used" if answer.ok else answer.error
    return notes if text else notes | {"error": f"{answer.outcome}: {why}"}


def _row(ask: Ask, question: str | Question, read: Callable[[Answer], str]) -> _Row:
    dollars = 0.0
    for _ in range(TRIES):
        answer = answer_of(ask, question)
        dollars += answer.cost.dollars
        if (text := read(answer)) or answer.outcome == AnswerOutcome.INFRASTRUCTURE:
            break
    return _Row(text, outcome_of(answer, text), notes_of(answer, text, dollars))

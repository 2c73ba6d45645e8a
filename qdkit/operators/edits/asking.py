"""Asks a model for an edit, and once more if its response cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from qdkit.core.types import Outcome
from qdkit.llm import Answer, AnswerOutcome, Ask, Question, answer_of, guarded
from qdkit.operators.edits.applying import EditResult
from qdkit.operators.edits.prompts import fill_edit_template, shorten_middle

_TRIES = 2  # how often a model is asked for one candidate
_ECHO = 20_000  # the characters of a response that are sent back with the error


class EditRow(NamedTuple):
    """The result of a question: the files of a program, {} if there is none, outcome and notes."""

    files: Mapping[str, str]
    outcome: Outcome
    notes: Mapping[str, Any]


def request_edit(ask: Ask, question: str, kind: str, read: Callable[[str], EditResult]) -> EditRow:
    """Asks for an edit and returns the program after it.

    read: applies a response to the program.

    If the response does not apply, it is sent back with the error, once. If it is refused,
    truncated or empty, the question is asked once more. The notes have the kind of edit, the
    number of tries, the first error, the number of places that match only if whitespace is
    ignored, the model and the cost in dollars.
    """
    messages = [{"role": "user", "content": question}]
    dollars = 0.0
    edit: dict[str, Any] = {"kind": kind}
    for number in range(1, _TRIES + 1):
        answer = answer_of(ask, Question(messages))
        dollars += answer.cost.dollars
        edited = EditResult({}, f"{answer.outcome}: {answer.error}")
        if answer.ok:
            edited = guarded(
                partial(read, answer.text), lambda why: EditResult({}, f"the answer: {why}")
            )
        edit |= {"tries": number} | ({"loose": edited.loose} if edited.loose else {})
        if not edited.error or answer.outcome == AnswerOutcome.INFRASTRUCTURE:
            break
        if number < _TRIES:
            edit["refused"] = edited.error
            messages += _correction(answer, edited.error)
    notes = {
        "model": answer.model,
        "dollars": dollars if dollars == dollars else None,
        "edit": edit,
    }
    if not edited.error:
        return EditRow(edited.files, Outcome.OK, notes)
    unavailable = answer.outcome == AnswerOutcome.INFRASTRUCTURE
    outcome = Outcome.INFRASTRUCTURE if unavailable else Outcome.INVALID
    return EditRow({}, outcome, notes | {"error": edited.error})


def _correction(answer: Answer, error: str) -> list[dict[str, str]]:
    """Returns messages with the response and its error; none if there was no response."""
    if not answer.ok:
        return []
    echo = {"role": "assistant", "content": shorten_middle(answer.text, _ECHO)}
    return [echo, {"role": "user", "content": fill_edit_template("retry", why=error)}]

"""One question about a program, and one more where the answer cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from qdkit.llm import Answer, AnswerOutcome, Ask, Question, answer_of
from qdkit.operators.edits.applying import Edited
from qdkit.operators.edits.showing import clipped, filled
from qdkit.types import Outcome

TRIES = 2  # an answer that cannot be used costs one more, not the candidate
ECHO = 20_000  # characters of an answer that are sent back with what is wrong with it


class Row(NamedTuple):
    """What came of a question: a program, {} where there is none, and why."""

    files: Mapping[str, str]
    outcome: Outcome
    notes: Mapping[str, Any]


def asked(ask: Ask, question: str, kind: str, read: Callable[[str], Edited]) -> Row:
    """Asks for an edit. `read` puts an answer into the program.

    An answer that does not apply is sent back with the reason, and one that was refused, cut short
    or left empty is asked for again. The notes tell the kind of edit, the tries, and why the first
    failed; how many places were found but for whitespace; the model that answered and the dollars.
    """
    messages = [{"role": "user", "content": question}]
    dollars = 0.0
    edit: dict[str, Any] = {"kind": kind}
    for number in range(1, TRIES + 1):
        answer = answer_of(ask, Question(messages))
        dollars += answer.cost.dollars
        edited = read(answer.text) if answer.ok else Edited({}, f"{answer.outcome}: {answer.error}")
        edit |= {"tries": number} | ({"loose": edited.loose} if edited.loose else {})
        if not edited.error or answer.outcome == AnswerOutcome.INFRASTRUCTURE:
            break
        if number < TRIES:
            edit["refused"] = edited.error
            messages += _once_more(answer, edited.error)
    notes = {"model": answer.model, "dollars": dollars if dollars == dollars else None, "edit": edit}
    if not edited.error:
        return Row(edited.files, Outcome.OK, notes)
    nobodys = answer.outcome == AnswerOutcome.INFRASTRUCTURE
    return Row({}, Outcome.INFRASTRUCTURE if nobodys else Outcome.INVALID, notes | {"error": edited.error})


def _once_more(answer: Answer, why: str) -> list[dict[str, str]]:
    """The answer and what is wrong with it; nothing where there was no answer to mend."""
    if not answer.ok:
        return []
    echo = {"role": "assistant", "content": clipped(answer.text, ECHO)}
    return [echo, {"role": "user", "content": filled("retry", why=why)}]

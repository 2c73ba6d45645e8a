"""Answers played back from a file.

A notebook with such a file runs without a key or a network, and gives the same results.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from qdkit.core.jsonable import to_json
from qdkit.core.record import Halt, current, recall_answer
from qdkit.llm.answer import Answer
from qdkit.llm.model import LLM, Ask, answer_of, answer_with_fallbacks, model_name
from qdkit.llm.question import Message, Question, recordable

# A line has the keys task, call, request and answer; task and call are null outside a search.
_Line = Mapping[str, Any]
_LIMITS = ("max_tokens", "max_completion_tokens")  # names of one setting on different servers


class Recorded:
    """A model that answers from the file `path`, and asks `ask` for answers that are not in it.

    The file holds a line of JSON for each answer. `search.export_answers(path)` writes the answers
    of a run, and new answers outside a search are appended. Within a search the same step gets the
    same answer. A question that is asked several times gets its answers in their order.

        model = Recorded(LLM("MODEL"), "answers.jsonl")  # no key or network, if the file is there

    Raises ValueError for a file that is no recording, and Halt for a question that is not in the
    file if `ask` has no key.
    """

    def __init__(self, ask: Ask, path: str | Path):
        self._ask, self._path, self._lock = ask, Path(path), threading.Lock()
        self._by_place: dict[tuple[int, int], _Line] = {}
        self._by_request: dict[str, list[_Line]] = defaultdict(list)
        self._used: dict[str, int] = defaultdict(int)
        for line in _lines(self._path):
            if line["task"] is not None:
                self._by_place[line["task"], line["call"]] = line
            self._by_request[_key(line["request"])].append(line)

    def __repr__(self) -> str:
        # The source of the answers is no part of a run.
        return repr(self._ask)

    def __deepcopy__(self, memo: dict[int, Any]) -> Recorded:
        # All copies share one file. Within a search, the place of a question decides its answer.
        return self

    @property
    def model(self) -> str:
        """The name of the model or function that it asks."""
        return model_name(self._ask)

    def ask(self, question: str | Sequence[Message] | Question) -> Answer:
        """Returns the recorded answer, or a new one."""
        return answer_with_fallbacks(self._once, Question.of(question))

    __call__ = ask

    def _once(self, question: Question) -> Answer:
        line = self._recorded(question)
        if line is None:
            return self._new_answer(question)
        record = current()
        known = recall_answer(record, line["request"])
        if known is None:
            record.keep(line["request"], line["answer"])
        return Answer.from_json(line["answer"] if known is None else known)

    def _recorded(self, question: Question) -> _Line | None:
        key = _key(_request(self._ask, question))
        place = current().place
        line = None if place is None else self._by_place.get(place)
        if line is not None and _key(line["request"]) == key:
            return line
        if place is not None:
            return None
        with self._lock:
            lines, used = self._by_request[key], self._used[key]
            if used >= len(lines):
                return lines[-1] if lines else None
            self._used[key] += 1
            return lines[used]

    def _new_answer(self, question: Question) -> Answer:
        if isinstance(self._ask, LLM) and not self._ask.reachable:
            raise Halt(
                f"{self._path} has no answer to {question.prompt!r:.80}, and there is no key or "
                "server to ask: set OPENAI_API_KEY or OPENAI_BASE_URL, run again, and export the "
                "answers anew"
            )
        ask = self._ask
        answer = ask.once(question) if isinstance(ask, LLM) else answer_of(ask, question)
        if current().place is None:
            line = {
                "task": None,
                "call": None,
                "request": _request(self._ask, question),
                "answer": answer.to_json(),
            }
            with self._lock, self._path.open("a", encoding="utf-8") as file:
                file.write(to_json(line) + "\n")
        return answer


def _request(ask: Ask, question: Question) -> dict[str, Any]:
    """Returns the request that identifies a question."""
    if isinstance(ask, LLM):
        return recordable(ask.body_without_limit(question))
    return {"function": model_name(ask), "prompt": question.text()}


def _key(request: Mapping[str, Any]) -> str:
    return to_json({name: value for name, value in request.items() if name not in _LIMITS})


def _lines(path: Path) -> Iterator[_Line]:
    """Yields the lines of a recording. Raises ValueError for a line that is none."""
    if not path.exists():
        return
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
            Answer.from_json(line["answer"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(
                f"line {number} of {path} is no recorded answer ({error}): export it anew"
            ) from None
        yield line

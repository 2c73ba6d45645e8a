"""Answers played back from a file, so that a notebook runs with no key and no network, to the same end."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from qdkit.llm.answer import Answer
from qdkit.llm.model import LLM, Ask, answer_of, as_far_as_able, named
from qdkit.llm.question import Message, Question, recordable
from qdkit.plain import to_json
from qdkit.record import Halt, current

Line = Mapping[str, Any]  # task, call, request, answer; task and call are null where no search asked
LIMITS = ("max_tokens", "max_completion_tokens")  # one thing, which servers call by different names


class Recorded:
    """Asks `ask`, and answers from the file `path` what is in it.

    The file holds a line of JSON for each answer; `search.export_answers(path)` writes the answers of
    a run, and whatever is asked outside a search is added as it is answered. Within a search the
    same step gets the same answer; a question asked several times gets its answers in their order.

        model = Recorded(LLM("MODEL"), "answers.jsonl")  # with the file, this needs neither key nor network

    Raises Halt for a question that the file does not hold and `ask` cannot answer for want of a key,
    ValueError for a file that is no recording.
    """

    def __init__(self, ask: Ask, path: str | Path):
        self._ask, self._path, self._lock = ask, Path(path), threading.Lock()
        self._by_place: dict[tuple[int, int], Line] = {}
        self._by_request: dict[str, list[Line]] = defaultdict(list)
        self._used: dict[str, int] = defaultdict(int)
        for line in _lines(self._path):
            if line["task"] is not None:
                self._by_place[line["task"], line["call"]] = line
            self._by_request[_key(line["request"])].append(line)

    def __repr__(self) -> str:
        return repr(self._ask)  # to a run it is the same, whether its answers come from here or from there

    @property
    def model(self) -> str:
        """The name of whom it asks."""
        return named(self._ask)

    def ask(self, question: str | Sequence[Message] | Question) -> Answer:
        """The recorded answer, or a new one."""
        return as_far_as_able(self._once, Question.of(question))

    __call__ = ask

    def _once(self, question: Question) -> Answer:
        line = self._recorded(question)
        if line is None:
            return self._new(question)
        record = current()
        known = record.recall(line["request"])
        if known is None:
            record.keep(line["request"], line["answer"])
        return Answer.from_json(line["answer"] if known is None else known)

    def _recorded(self, question: Question) -> Line | None:
        key = _key(_asked(self._ask, question))
        place = current().place
        if place is not None and place in self._by_place and _key(self._by_place[place]["request"]) == key:
            return self._by_place[place]
        with self._lock:
            lines, used = self._by_request[key], self._used[key]
            if place is not None or used >= len(lines):
                return None if place is not None or not lines else lines[-1]
            self._used[key] += 1
            return lines[used]

    def _new(self, question: Question) -> Answer:
        if isinstance(self._ask, LLM) and not self._ask.reachable:
            raise Halt(
                f"{self._path} has no answer to {question.prompt!r:.80}, and there is no key or server to ask: "
                "set OPENAI_API_KEY or OPENAI_BASE_URL, run again, and export the answers anew"
            )
        answer = self._ask.once(question) if isinstance(self._ask, LLM) else answer_of(self._ask, question)
        if current().place is None:
            line = {"task": None, "call": None, "request": _asked(self._ask, question), "answer": answer.to_json()}
            with self._lock, self._path.open("a", encoding="utf-8") as file:
                file.write(to_json(line) + "\n")
        return answer


def _asked(ask: Ask, question: Question) -> dict[str, Any]:
    """The request by which a question is known."""
    if isinstance(ask, LLM):
        return recordable(ask.asks(question))
    return {"function": named(ask), "prompt": question.text()}


def _key(request: Mapping[str, Any]) -> str:
    return to_json({name: value for name, value in request.items() if name not in LIMITS})


def _lines(path: Path) -> Iterator[Line]:
    if not path.exists():
        return
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
            Answer.from_json(line["answer"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"line {number} of {path} is no recorded answer ({error}): export it anew") from None
        yield line

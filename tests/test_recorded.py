"""Recordings: a search and a notebook cell run again from a file, with no key and no server."""

from __future__ import annotations

import json

import pytest

from qdkit import LLM, Recorded
from qdkit.archives import Grid
from qdkit.core.record import Halt
from qdkit.llm import Question
from qdkit.operators import Rewrite
from qdkit.testing import FAULTS, ModelServer

from .test_models import variation
from .worlds import Texts, search_of


def search(ask, **settings):
    return search_of(
        Texts(),
        Grid((8, 5), Texts.bounds),
        Rewrite(ask, "Vary: {genome}", name="m"),
        batch=1,
        **settings,
    )


@pytest.mark.parametrize("in_flight", [1, 8])
def test_a_search_runs_again_from_its_recording_alone(tmp_path, in_flight):
    """Without a server or a key, a replay makes the same candidates and stores its answers."""
    path = tmp_path / "answers.jsonl"
    with ModelServer(variation) as server:
        online = search(LLM("m", base_url=server.url), in_flight=in_flight, ahead=12).run(
            40, progress=False
        )
        online.export_answers(path)
    offline = search(Recorded(LLM("m"), path), in_flight=4, ahead=12).run(40, progress=False)
    told = ("candidate", "answer", "commit")
    rows = lambda search: [
        row for row in search.ledger.dump().splitlines() if json.loads(row)[0] in told
    ]
    assert rows(offline) == rows(online)
    assert "127.0.0.1" not in path.read_text()
    online.export_answers(tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == path.read_bytes()


def test_a_question_that_is_not_in_the_recording_says_so(tmp_path):
    """Without a key the error names the file, the question and the mend."""
    path = tmp_path / "answers.jsonl"
    with pytest.raises(Halt, match=r"answers.jsonl has no answer to 'Vary: .*OPENAI_API_KEY"):
        search(Recorded(LLM("m"), path)).run(5, progress=False)


def test_a_notebook_cell_outside_a_search_is_recorded_as_it_is_asked(tmp_path):
    """The first time a question goes out.

    After that the file answers, several answers in their order.
    """
    path, said = tmp_path / "cell.jsonl", iter(["red", "blue"])

    def colour(prompt):
        return next(said)

    first = Recorded(colour, path)
    assert first.ask("A colour?").text == "red"
    assert len(path.read_text().splitlines()) == 1
    again = Recorded(colour, path)
    assert [again.ask("A colour?").text, again.ask("A colour?").text] == ["red", "red"]
    assert again.ask("Another colour?").text == "blue"


def test_refusals_and_data_are_played_back_too(tmp_path):
    """An answer comes back with its outcome, and what a schema asked for with its data."""
    path, schema = (
        tmp_path / "a.jsonl",
        {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    )
    with ModelServer([FAULTS["refusal"], '{"n": 3}']) as server:
        model = Recorded(LLM("m", base_url=server.url), path)
        answers = [model.ask("Will you?"), model.ask(Question("How many?", schema=schema))]
    played = Recorded(LLM("m"), path)
    assert [played.ask("Will you?"), played.ask(Question("How many?", schema=schema))] == answers
    assert (answers[0].outcome, answers[1].data) == ("refused", {"n": 3})


@pytest.mark.parametrize(
    "line", ["garbage", "{}", json.dumps({"task": 0, "call": 0, "request": {}, "answer": {}})]
)
def test_a_file_that_is_no_recording_is_refused(tmp_path, line):
    """The error names the line."""
    (tmp_path / "x.jsonl").write_text(line)
    with pytest.raises(ValueError, match=r"line 1 of .*x.jsonl is no recorded answer"):
        Recorded(LLM("m"), tmp_path / "x.jsonl")

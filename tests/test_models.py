"""Searches with a language model in the loop: what they keep, spend, survive and repeat.

The server is on loopback.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import qdkit
from qdkit import LLM, Budget
from qdkit.archives import Grid
from qdkit.cli.commands import main
from qdkit.core.record import Halt
from qdkit.llm import ModelError
from qdkit.operators import Portfolio, Rewrite
from qdkit.testing import FAULTS, ModelServer

from .worlds import Chatter, Texts, search_of

ROOT = Path(__file__).parents[1]

WORDS = ("sea", "a gull", "an ark", "salt and sand", "a banana")


def variation(request):
    """Returns a text that depends on the prompt alone."""
    prompt = request["messages"][-1]["content"]
    return f"{prompt[-20:]} {WORDS[sum(map(ord, prompt)) % 5]}"


def search(server, operator=None, **settings):
    model = LLM("m", base_url=server.url, prices={"m": (1.0, 2.0)}, max_tokens=64, patience=20.0)
    operator = operator or Rewrite(model, "Vary: {genome}")
    return search_of(
        Texts(), Grid((8, 5), Texts.bounds), operator, **{"batch": 1, "seed": 1} | settings
    )


@pytest.fixture
def server():
    with ModelServer(variation) as server:
        yield server


def test_a_run_prints_the_forecast_of_its_budget_before_it_starts(server, capsys):
    """In calls of a stated size.

    An unknown price is stated as unknown, and refused if dollars are limited.
    """
    search(server, budget=Budget(dollars=0.01)).run(4)
    assert (
        "0.01 US dollars buys about 5 calls of m (1,000 tokens read, 500 written) at 0.002"
        in capsys.readouterr().out
    )
    unpriced = Rewrite(LLM("unheard-of", base_url=server.url), "{genome}")
    search(server, unpriced, budget=Budget(calls=5)).run()
    assert "the price of unheard-of is unknown" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"the price of a call is unknown.*prices="):
        search(server, unpriced, budget=Budget(dollars=1)).run()
    assert len(server.log) == 1 + 5


@pytest.mark.parametrize("in_flight", [1, 4, 64])
def test_a_seed_and_the_same_answers_give_the_same_run_at_any_number_in_flight(server, in_flight):
    """With equal `ahead`, threads change nothing, with bandits, novelty and models too."""
    two = lambda: Portfolio(
        [Rewrite(LLM("m", base_url=server.url), "A {genome}", name="a"), Chatter()]
    )
    runs = [
        search(server, two(), in_flight=n, ahead=64).run(50, progress=False).ledger.dump()
        for n in (in_flight, 8)
    ]
    assert runs[0] == runs[1]


def test_every_request_and_answer_is_in_the_ledger(server):
    """The request is the body that was sent.

    The candidate names its model and its cost.
    """
    made = search(server).run(10, progress=False)
    answers = list(made.ledger.answers())
    assert [request for _, _, request, _ in answers] == [exchange.body for exchange in server.log]
    notes = made.ledger.take([5])[0].notes
    assert notes["model"] == "m" and notes["dollars"] > 0
    assert made.ledger.spent().calls == len(answers) == 7
    assert made.ledger.spent().dollars == pytest.approx(
        sum(answer["cost"]["dollars"] for *_, answer in answers)
    )


def test_a_resumed_run_repeats_no_answered_request(server, run_folder):
    """It ends as an uninterrupted run does."""
    whole = search(server, in_flight=4).run(40, progress=False).ledger.dump()
    requests = len(server.log)
    first = search(server, in_flight=4, run=run_folder)
    for i, _ in enumerate(first.steps(40)):
        if i == 17:
            break
    first.close()
    with search(server, in_flight=4, run=run_folder, resume=True) as second:
        second.run(40 - len(second.commits), progress=False)
        assert second.ledger.dump() == whole
    assert (
        requests <= len(server.log) - requests <= requests + 4
    )  # those under way at the end of the first may be asked again


def test_a_budget_is_never_exceeded(server):
    """Calls stop at the limit for any number in flight.

    The summary says what stopped the run.
    """
    made = search(server, in_flight=8, budget=Budget(calls=20)).run(progress=False)
    assert len(server.log) == 20
    assert made.stopped == "20 calls of 20 calls are used"
    assert made.ledger.spent().calls == 20


def test_a_budget_of_evaluations_is_met_exactly(server):
    """Rows beyond it are recorded as skipped; a larger budget continues from there."""
    made = search(server, Chatter(), batch=7, budget=Budget(evaluations=30)).run(progress=False)
    assert made.summary()["evaluations"] == 30 and "evaluations" in made.stopped


def test_a_spent_budget_stays_spent_after_a_resume(server, run_folder):
    """The cost of earlier sessions counts, and a larger budget buys the difference."""
    search(server, in_flight=4, budget=Budget(calls=10), run=run_folder).run(
        progress=False
    ).close()
    with search(server, in_flight=4, budget=Budget(calls=25), run=run_folder, resume=True) as more:
        more.run(progress=False)
    assert len(server.log) == 25


def test_an_unusable_answer_is_asked_for_once_more(server):
    """Refusals, empty and truncated answers cost a retry.

    After that the candidate is invalid, with the reason.
    """
    with ModelServer(
        [FAULTS["refusal"], "a fresh text", FAULTS["refusal"], FAULTS["refusal"], "the last"]
    ) as moody:
        made = search(moody).run(6, progress=False)
        outcomes = [made.ledger.batch(i)[0] for i in range(3, 6)]
    assert [c.outcome for c in outcomes] == ["ok", "invalid", "ok"]
    assert outcomes[0].genome == "a fresh text" and outcomes[1].notes["error"].startswith(
        "refused"
    )


def test_a_wrong_key_stops_the_run_at_once(server):
    """A permanent fault is an error for the caller, and no failed candidate."""
    with ModelServer([FAULTS["bad key"]] * 5) as locked, pytest.raises(ModelError, match="key"):
        search(locked).run(10, progress=False)


def test_a_candidate_without_an_answer_is_never_scored():
    """A call that cannot be sent within its patience is an infrastructure fault."""
    with ModelServer([FAULTS["broken"]] * 1000) as down:
        model = LLM("m", base_url=down.url, patience=0.5)
        made = search(down, Rewrite(model, "{genome}")).run(5, progress=False)
    assert made.summary()["outcomes"] == {"ok": 3, "infrastructure": 2}


def test_a_run_is_not_resumed_with_another_prompt(server, run_folder):
    """The error names the setting."""
    search(server, run=run_folder).run(8, progress=False).close()
    other = Rewrite(
        LLM("m", base_url=server.url, prices={"m": (1.0, 2.0)}, max_tokens=64), "Change: {genome}"
    )
    with pytest.raises(ValueError, match="operator"):
        search(server, other, run=run_folder, resume=True)


def test_a_recorded_call_with_another_request_raises(server, run_folder):
    """The first other request of an operator that changed is found."""

    def make(prompt, **place):
        model = LLM("m", base_url=server.url)

        class Plain(qdkit.Operator):
            name = "plain"

            def propose(self, key, context, n):
                return Rewrite(model, prompt, name="plain").propose(key, context, n)

            def __repr__(self):
                return "plain"

        return search(server, Plain(), run=run_folder, **place)

    make("A {genome}").run(8, progress=False).close()
    with pytest.raises(Halt, match="asks something else than the ledger"):
        make("B {genome}", resume=True)


def test_equal_texts_are_not_evaluated_twice():
    """A known proposal is rejected before its evaluation.

    A proposal that becomes known meanwhile is rejected at its commit.
    """
    tried, lock = [], threading.Lock()

    class Counting(Texts):
        def evaluate(self, genomes):
            with lock:
                tried.extend(genomes)
            return super().evaluate(genomes)

    def again(prompt):
        return "a rose"

    made = qdkit.Search(
        Counting(), Grid((8, 5), Texts.bounds), Rewrite(again, "{genome}"), batch=1
    ).run(10, progress=False)
    assert tried == ["a rose", "the sea", "banana"]
    assert made.summary()["outcomes"] == {"rejected": 7, "ok": 3}


def test_a_model_on_the_command_line(server, tmp_path, monkeypatch, capsys):
    """`--model`, `--in-flight` and `--budget`, with the address from the environment.

    Also resume and doctor.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    with pytest.raises(SystemExit):
        main(
            [
                "run",
                "words",
                "--model",
                "m",
                "--in-flight",
                "4",
                "--budget",
                "12calls",
                "--out",
                "r",
            ]
        )
    assert "12 calls of 12 calls are used" in capsys.readouterr().out
    assert len(server.log) == 12
    with pytest.raises(SystemExit):
        main(["resume", "r", "--budget", "20calls"])
    assert len(server.log) == 20
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["show", "r", "--json"])
    summary = json.loads(capsys.readouterr().out)
    assert summary["calls"] == 20 and summary["tokens"] > 0
    with pytest.raises(SystemExit):
        main(["doctor", "--model", "m"])
    report = capsys.readouterr().out
    assert "log-probabilities" in report and "answers as m" in report


def test_a_search_imports_the_libraries_of_calls_before_its_threads_start():
    """Imports in a thread make Python forget that an interrupt ended a script."""
    code = """
import sys, threading
from qdkit.testing import ModelServer
from tests.test_faults import search

found = set()
def listen(event, arguments):
    if event == "import" and threading.current_thread().name == "qdkit-flow":
        found.add(arguments[0].partition(".")[0])

with ModelServer() as server, search(server.url) as made:
    sys.addaudithook(listen)
    made.run(4, progress=False)
names = "openai httpx2 httpcore2 httpx httpcore pydantic genai_prices"
print(sorted(found & {*names.split()}))
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert ran.stdout.strip() == "[]", ran.stdout + ran.stderr

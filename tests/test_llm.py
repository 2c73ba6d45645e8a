"""The door to models: what is sent, what is read, what is tried again, what stops, and what is kept."""

import json
import math
import random
import threading
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from qdkit.budget import Budget, Purse
from qdkit.llm import (
    LLM,
    Answer,
    AnswerOutcome,
    Embedder,
    Limits,
    ModelError,
    Question,
    Token,
    Unable,
    Unanswered,
    Usage,
    answer_of,
    bytes_of,
    capabilities,
    data_url,
)
from qdkit.llm.fault import Fault, Kind
from qdkit.llm.model import size_of
from qdkit.llm.pace import _PACES, OUTAGE, Clock, OutOfPatience, Pace, pace_of
from qdkit.llm.prices import dollars
from qdkit.llm.question import recordable
from qdkit.llm.schema import misfit, parsed
from qdkit.progress import forecast
from qdkit.record import NOTHING, Cost, Exhausted, recording
from qdkit.testing import FAULTS, RESET, ModelServer, Raw, Reply, error

from .worlds import Hasty

STOPS = ("bad key", "no credit", "unknown model", "context too long", "bad request")
PASSING = ("busy", "busy for a while", "broken", "overloaded", "hang", "reset", "cut off", "bad json", "html")
PRICES = {"m": (1.0, 2.0)}


class Quick(Clock):
    """A clock whose time passes at once; what would have been waited is added up."""

    def __init__(self):
        self.time, self.naps = 1000.0, []

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.naps.append(seconds)
        self.time += seconds

    def wait(self, condition, seconds):
        self.time += seconds


class Tape:
    """A record in memory, which goes through JSON as a record on disk does."""

    def __init__(self, budget=None, rows=()):
        self.purse, self.rows, self.kept = Purse(budget or Budget()), list(rows), []
        self.reserve = self.purse.reserve

    def recall(self, request):
        if not self.rows:
            return None
        asked, answer = self.rows.pop(0)
        if json.loads(asked) != request:
            raise RuntimeError("another request")
        return json.loads(answer)

    def keep(self, request, answer):
        self.kept.append((json.dumps(request, allow_nan=False), json.dumps(answer, allow_nan=False)))


def quick(server, model="m"):
    """A model of the server whose waits take no time."""
    _PACES[server.url, model] = Pace(Quick(), random.Random(0))
    return LLM(model, base_url=server.url, prices=PRICES, timeout=5.0, max_tokens=100)


SHARED = []  # one server for most tests: a client for each new address costs a tenth of a second


@pytest.fixture(scope="module", autouse=True)
def shared():
    with ModelServer() as server:
        SHARED.append(server)
        yield
        SHARED.clear()


@contextmanager
def model(says, latency=0.0):
    """The shared server, which now says so, and a model of it whose waits take no time."""
    script = None if callable(says) else iter(says)
    server = SHARED[0]
    server.says, server.latency = (says if script is None else lambda body: next(script)), latency
    server.log.clear()
    yield server, quick(server)


# what is sent


def test_the_record_holds_what_was_sent():
    """The recorded request is the body that arrived at the server, word for word, with pictures by their digest."""
    tape = Tape()
    with model(["hello"]) as (server, llm), recording(tape):
        llm = replace(llm, system="Be brief.", temperature=0.7, options={"top_p": 0.9, "top_k": 40})
        llm.ask(Question("Say hello", images=[data_url(b"png")], logprobs=3, seed=5, schema={"type": "string"}))
    assert json.loads(tape.kept[0][0]) == recordable(server.log[0].body) != server.log[0].body
    assert server.log[0].body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Say hello"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,cG5n"}},
                ],
            },
        ],
        "max_tokens": 100,
        "top_p": 0.9,
        "top_k": 40,
        "temperature": 0.7,
        "seed": 5,
        "logprobs": True,
        "top_logprobs": 3,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": {"type": "string"}, "strict": False},
        },
    }


def test_a_question_s_own_settings_come_before_the_model_s():
    """Temperature and length can be set for one question; a list of messages is sent as it is."""
    llm = LLM("m", base_url="http://localhost:1/v1", temperature=0.7, max_tokens=50)
    talk = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "ho"},
        {"role": "user", "content": "so?"},
    ]
    body = llm.body(Question(talk, temperature=0.0, max_tokens=9))
    assert body == {"model": "m", "messages": talk, "max_tokens": 9, "temperature": 0.0}


def test_openai_s_own_server_gets_the_new_name_of_the_limit(monkeypatch):
    """Its newer models refuse the old name, other servers know only that; an option overrides both."""
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    question = Question("hi")
    assert "max_completion_tokens" in LLM("m", api_key="k").body(question)
    assert "max_tokens" in LLM("m", base_url="http://localhost:1/v1").body(question)
    body = LLM("m", base_url="http://localhost:1/v1", options={"max_completion_tokens": 7}).body(question)
    assert body["max_completion_tokens"] == 7 and "max_tokens" not in body


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"max_tokens": 0}, "at least 1"),
        ({"options": {"n": 3}}, "n cannot be among options"),
        ({"prices": {"m": 1.0}}, "per million"),
        ({"prices": {"m": (-1, 2)}}, "per million"),
        ({"prices": {"m": (1, math.nan)}}, "per million"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong, said):
    """An error at the door names the setting."""
    with pytest.raises(ValueError, match=said):
        LLM("m", **wrong)


# who is asked


def test_without_key_and_server_it_says_what_to_set(monkeypatch):
    """One sentence with both ways out."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ModelError, match=r"set OPENAI_API_KEY .* or base_url="):
        LLM("m").ask("hi")


def test_a_server_of_one_s_own_needs_no_key(monkeypatch):
    """With an address from the argument or the environment a placeholder is sent; with a key, the key."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with ModelServer(["a", "b", "c"]) as server:
        LLM("m", base_url=server.url).ask("hi")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url + "/")
        LLM("m").ask("hi")
        LLM("m", api_key="secret").ask("hi")
        assert [entry.key for entry in server.log] == ["Bearer none", "Bearer none", "Bearer secret"]


def test_no_key_is_written_anywhere():
    """Neither the model's repr nor a message of a server that repeats the key tells it."""
    with ModelServer([error(401, "bad key sk-secret")]) as server:
        llm = LLM("m", base_url=server.url, api_key="sk-secret")
        with pytest.raises(ModelError) as stopped:
            llm.ask("hi")
    assert "sk-secret" not in repr(llm) + repr(llm.server) + str(stopped.value)


# what is read


def test_an_answer_tells_who_answered_and_what_it_cost():
    """The model that really answered, usage, cost by the table, latency and finish reason are with the text."""
    usage = {"prompt_tokens": 1000, "completion_tokens": 500, "prompt_tokens_details": {"cached_tokens": 200}}
    with model([Reply("hi", model="m-2026", usage=usage)], latency=0.02) as (_, llm):
        answer = llm.ask("hello")
    assert (answer.text, answer.outcome, answer.model, answer.finish_reason) == ("hi", "ok", "m-2026", "stop")
    assert answer.usage == Usage(1000, 500, 200) and answer.cost == Cost(0.002, 1500, 1)
    assert 0.02 <= answer.seconds < 5 and answer.ok and str(answer) == "hi"


@pytest.mark.parametrize(
    ("fault", "outcome", "text"),
    [
        ("refusal", "refused", ""),
        ("filtered", "filtered", ""),
        ("truncated", "truncated", "half of"),
        ("null content", "empty", ""),
        ("no choices", "empty", ""),
    ],
)
def test_an_answer_that_cannot_be_used_has_an_outcome_with_a_name(fault, outcome, text):
    """It is not asked again: it was an answer."""
    with model([FAULTS[fault], "never said"]) as (server, llm):
        answer = llm.ask("hi")
        assert (answer.outcome, answer.text, answer.ok, len(server.log)) == (outcome, text, False, 1)
    assert answer.error and outcome in str(answer)


def test_a_filter_that_answers_with_an_error_is_the_answer_to_that_question():
    """Some servers refuse a prompt with HTTP 400; that concerns the prompt and not the run."""
    with model([error(400, "management policy", "content_filter")]) as (_, llm):
        answer = llm.ask("hi")
    assert answer.outcome == AnswerOutcome.FILTERED and "management policy" in answer.error and answer.cost == NOTHING


def test_log_probabilities_are_read_where_they_are():
    """Each token has its alternatives; what the server left out is None, and what cannot be is finite."""
    top = [{"token": "yes", "logprob": -0.1}, {"token": "no", "logprob": -math.inf}]
    whole = Reply("yes", logprobs={"content": [{"token": "yes", "logprob": -0.1, "top_logprobs": top}]})
    with model([whole, FAULTS["partial logprobs"], FAULTS["null logprobs"]]) as (_, llm):
        answers = [llm.ask(Question("?", logprobs=2)).logprobs for _ in range(3)]
    assert answers[0] == (Token("yes", -0.1, (("yes", -0.1), ("no", -9999.0))),)
    assert answers[1] == (Token("yes", -0.1), None, None)
    assert answers[2] is None


def test_images_come_in_beside_the_content_or_within_it():
    """Both ways in which servers send them are read, and an image comes back to the byte."""
    url = data_url(b"\x89PNG", "image/png")
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": url}}]
    with model([Reply("", images=[url]), Reply(parts, usage=None)]) as (_, llm):
        first, second = llm.ask("draw"), llm.ask("draw")
    assert first.ok and first.images == second.images == (url,) and second.text == "look"
    assert bytes_of(first.images[0]) == b"\x89PNG"
    with pytest.raises(ValueError, match="follows no links"):
        bytes_of("https://example.org/a.png")


@pytest.mark.parametrize("text", ["half \ud83d a pair", "ünï 詩 🌊", "\x00 nul"])
def test_any_text_can_be_written_down(text):
    """What cannot be written as UTF-8 is replaced at the door; all else stays as it is."""
    with model([Raw(body=json.dumps({"choices": [{"message": {"content": text}}]}))]) as (_, llm):
        read = llm.ask("hi").text
    assert read.encode() == text.encode("utf-8", "replace")


COLOUR = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"]}


@pytest.mark.parametrize(
    ("text", "data", "error"),
    [
        ('{"colour": "red"}', {"colour": "red"}, ""),
        ('```json\n{"colour": "red"}\n```', {"colour": "red"}, ""),
        ('{"colour": "green"}', None, "should be one of"),
        ("{}", None, "has no colour"),
        ("red", None, "not JSON"),
        ('{"colour": NaN}', None, "not JSON"),
        ("[]", None, "of type object"),
    ],
)
def test_an_answer_is_held_to_its_schema(text, data, error):
    """Whether the server does so or not; what does not fit is invalid and says why."""
    with model([text]) as (_, llm):
        answer = llm.ask(Question("colour?", schema=COLOUR))
    assert answer.data == data and error in answer.error
    assert answer.outcome == (AnswerOutcome.INVALID if error else AnswerOutcome.OK)


@pytest.mark.parametrize(
    ("value", "schema", "fits"),
    [
        (True, {"type": "integer"}, False),
        (2, {"type": ["string", "integer"]}, True),
        (2.5, {"type": "number", "minimum": 0, "maximum": 2}, False),
        ([1, "a"], {"type": "array", "items": {"type": "integer"}}, False),
        ({"a": {"b": 1}}, {"type": "object", "properties": {"a": {"properties": {"b": {"type": "string"}}}}}, False),
        ({"a": 1, "z": 2}, {"properties": {"a": {}}, "additionalProperties": False}, False),
        (None, {"type": "null"}, True),
        ("anything", {}, True),
    ],
)
def test_a_schema_is_read_with_its_kinds_and_bounds(value, schema, fits):
    """The part of JSON schema that servers hold models to."""
    assert (misfit(value, schema) == "") is fits
    assert (parsed(json.dumps(value), schema)[1] == "") is fits


@pytest.mark.parametrize(
    "answer",
    [
        Answer("hi"),
        Answer("", AnswerOutcome.INFRASTRUCTURE, "gone", cost=Cost(math.nan, 5, 2)),
        Answer(
            "yes 🌊", model="m", finish_reason="stop", usage=Usage(3, 4, 1), cost=Cost(0.1 + 0.2, 7), seconds=1.5,
            logprobs=(Token("yes", -0.25, (("yes", -0.25), ("no", -9999.0))), None), data={"a": [1]}, images=("u",),
        ),
    ],
)  # fmt: skip
def test_an_answer_goes_through_json_and_comes_back_the_same(answer):
    """Written as strict JSON and read again, nothing is lost."""
    text = json.dumps(answer.to_json(), allow_nan=False)
    assert repr(Answer.from_json(json.loads(text))) == repr(answer)


# what is tried again


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_is_tried_again(fault):
    """Whatever the server does wrong for once, the answer comes with the second attempt."""
    with model([FAULTS[fault], "well"]) as (server, llm):
        answer = replace(llm, timeout=0.2 if fault == "hang" else 5.0).ask("hi")
        assert (answer.text, len(server.log)) == ("well", 2)


@pytest.mark.parametrize("fault", ["hang", "reset", "cut off", "bad json", "html"])
def test_an_attempt_whose_answer_was_lost_is_charged(fault):
    """It may have been paid for; an attempt the server refused was not."""
    with model([FAULTS[fault], "well"]) as (_, llm):
        most = llm.most("hi")
        cost = replace(llm, timeout=0.2 if fault == "hang" else 5.0).ask("hi").cost
    assert cost.calls == 2 and cost.dollars == pytest.approx(most.dollars + 3e-6) and cost.tokens == most.tokens + 2


@pytest.mark.parametrize("fault", ["busy", "broken", "overloaded", "error with status 200"])
def test_an_attempt_that_was_refused_costs_nothing(fault):
    """Only the answer is charged."""
    with model([FAULTS[fault], "well"]) as (_, llm):
        assert llm.ask("hi").cost == Cost(3e-6, 2, 1)


@pytest.mark.parametrize("fault", STOPS)
def test_what_asking_again_does_not_mend_stops_at_once(fault):
    """One request is sent, and the sentence says what to do."""
    mends = {"bad key": "OPENAI_API_KEY", "no credit": "credit left", "unknown model": "it has test-model"}
    mends |= {"context too long": "shorten the prompt", "bad request": "'logprobs'; change the settings"}
    tape = Tape(Budget(calls=5))
    with model([FAULTS[fault]]) as (server, llm), recording(tape), pytest.raises(ModelError, match=mends[fault]):
        llm.ask("hi")
    assert sum(entry.path.endswith("completions") for entry in server.log) == 1
    assert tape.kept == [] and tape.purse.spent == NOTHING


def test_a_server_that_stays_broken_ends_as_an_outcome():
    """After some attempts the answer says infrastructure, and is kept like any other."""
    tape = Tape()
    with model(lambda body: FAULTS["broken"]) as (server, llm), recording(tape):
        answer = replace(llm, patience=60.0).ask("hi")
    assert answer.outcome == AnswerOutcome.INFRASTRUCTURE and "HTTP 500" in answer.error
    assert 6 <= len(server.log) <= 40 and answer.cost == NOTHING and len(tape.kept) == 1


def test_no_server_at_all_is_infrastructure_and_costs_nothing():
    """A refused connection is known not to have reached anybody."""
    with ModelServer() as server:
        pass
    llm = quick(server)
    answer = replace(llm, patience=30.0).ask("hi")
    assert answer.outcome == AnswerOutcome.INFRASTRUCTURE and answer.cost == NOTHING


def test_a_long_retry_after_ends_as_an_outcome_when_patience_does():
    """A call that is parked for an hour is given up after its patience, and the next one is not even sent."""
    with model(lambda body: error(429, "later", retry_after="3600")) as (server, llm):
        first, second = llm.ask("hi"), llm.ask("hi")
        clock = pace_of(server.url, "m").clock
        assert len(server.log) == 1
    assert first.outcome == second.outcome == AnswerOutcome.INFRASTRUCTURE
    assert "slow" in first.error or "later" in first.error
    assert clock.time - 1000.0 == pytest.approx(2 * llm.patience)


def test_retry_after_is_honoured_and_holds_up_no_other_model():
    """The refused model waits for as long as it was told; another on the same server is answered meanwhile."""
    refused, told = threading.Event(), []

    def says(body):
        if body["model"] == "slow" and not told:
            told.append(1)
            refused.set()
            return error(429, "slow down", retry_after="0.4")
        return "fine"

    with ModelServer(says) as server:
        slow, other = (LLM(name, base_url=server.url) for name in ("slow", "other"))
        thread = threading.Thread(target=slow.ask, args=("hi",))
        thread.start()
        refused.wait()
        assert other.ask("hi").ok
        thread.join()
        order = [entry.body["model"] for entry in server.log]
        assert order == ["slow", "other", "slow"]
        assert server.log[2].arrived - server.log[0].answered >= 0.4


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after_ms": "1500", "retry_after": "9"}, 1.5),
        ({"retry_after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"retry_after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers, seconds):
    """Seconds, milliseconds, a date; what is none of these is as if it were not there."""
    with ModelServer([error(429, "slow down", **headers)]) as server:
        fault = LLM("m", base_url=server.url).server.post(
            "/chat/completions", {"model": "m", "messages": [{"content": ""}]}, 5
        )
    assert fault.kind == Kind.BUSY and fault.retry_after == seconds


# the pace of a model


def failed(pace, until=math.inf):
    """One call that finds the server down; whether it was a probe."""
    with pace.turn(until) as turn:
        turn.heard = Fault(Kind.DOWN, "down")
    return turn.probe


def test_an_outage_is_waited_out_by_one_probe_at_a_time():
    """Of a server that is down for 40 s, at most a dozen calls learn so, whoever else is waiting."""
    clock = Quick()
    pace, sent = Pace(clock, random.Random(0)), []
    while clock.time < 1040.0:
        sent.append(failed(pace))
    assert sent[:OUTAGE] == [False] * OUTAGE and all(sent[OUTAGE:]) and len(sent) - OUTAGE <= 12


def test_while_a_probe_is_out_all_others_wait():
    """A second call is let through only when the probe has come back well."""
    pace = Pace(Clock(), random.Random(0))
    pace.clock = Quick()
    for _ in range(OUTAGE):
        failed(pace)
    with pace.turn(math.inf) as probe:
        with pytest.raises(OutOfPatience), pace.turn(pace.clock.now() + 50.0):
            pass
        probe.heard = {"choices": []}
    with pace.turn(math.inf) as one, pace.turn(math.inf) as other:
        assert probe.probe and not one.probe and not other.probe


def test_an_interrupted_probe_lets_the_next_one_try():
    """A probe that ends in an exception of its own says nothing about the server, and blocks nobody."""
    pace = Pace(Quick(), random.Random(0))
    for _ in range(OUTAGE):
        failed(pace)
    with pytest.raises(Exhausted), pace.turn(math.inf):
        raise Exhausted("no budget")
    with pace.turn(pace.clock.now() + 100.0) as turn:
        assert turn.probe


def test_an_outage_loses_no_question_and_costs_few_calls():
    """Sixteen threads ask through an outage: all are answered, and the calls are at most twice the answers."""
    down, lock, state = threading.Event(), threading.Lock(), {"refused": 0}

    def says(body):
        with lock:
            if down.is_set():
                state["refused"] += 1
                if state["refused"] >= 20:
                    down.clear()
                return RESET
        return "fine"

    with model(says) as (server, llm):
        pace_of(server.url, "m").clock = Hasty()
        down.set()
        answers = asked_by_threads(llm, 16, 4)
        assert len(answers) == 64 and all(answer.ok for answer in answers)
        assert len(server.log) <= 2 * 64


def asked_by_threads(llm, threads, each):
    """The answers to `each` questions of so many threads."""
    answers = []
    ask = lambda i: [answers.append(llm.ask(f"{i} {j}")) for j in range(each)]
    running = [threading.Thread(target=ask, args=(i,)) for i in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return answers


def test_requests_are_spaced_by_the_limit_per_minute():
    """Four calls at 60 a minute start a second apart, and the wait uses up no patience."""
    with model(["a"] * 4) as (server, llm):
        clock = pace_of(server.url, "m").clock
        llm = replace(llm, limits=Limits(requests=60), patience=0.5)
        assert all(llm.ask("hi").ok for _ in range(4))
    assert clock.naps == pytest.approx([1.0, 1.0, 1.0])


def test_tokens_are_booked_and_what_was_not_used_is_given_back():
    """The next call waits for the tokens that were used, not for those that might have been."""
    pace = Pace(Quick(), random.Random(0))
    limits = Limits(tokens=6000)
    assert pace.book(limits, 1000) == 0.0
    pace.settle(limits, 1000, 200)
    assert pace.book(limits, 1000) == pytest.approx(2.0)


def test_two_models_of_one_name_share_their_limits():
    """A judge and an operator that ask the same model of the same server count together."""
    with model(["a", "b"]) as (server, llm):
        for temperature in (0.0, 1.0):
            replace(llm, temperature=temperature, limits=Limits(requests=30)).ask("hi")
        assert pace_of(server.url, "m").clock.naps == pytest.approx([2.0])


# what is paid and kept


def test_a_recorded_answer_is_not_asked_for_again():
    """A replay gives equal answers and sends nothing; another question is noticed."""
    first = Tape()
    says = ["one", FAULTS["refusal"], FAULTS["html"], "after a fault"]
    with model(says) as (server, llm), recording(first):
        answers = [llm.ask(Question("hi", logprobs=1)) for _ in range(3)]
    again = Tape(rows=first.kept)
    with recording(again):
        assert [llm.ask(Question("hi", logprobs=1)) for _ in range(3)] == answers
    assert len(server.log) == 4 and again.kept == [] and again.purse.spent == NOTHING
    with recording(Tape(rows=first.kept)), pytest.raises(RuntimeError, match="another"):
        llm.ask("something else")


def test_the_budget_is_charged_what_the_answer_says_it_cost():
    """The purse and the answers agree, lost attempts included."""
    tape = Tape(Budget(dollars=1.0))
    with model(["one", FAULTS["bad json"], "two"]) as (_, llm), recording(tape):
        costs = [llm.ask("hi").cost for _ in range(2)]
    assert tape.purse.spent == costs[0] + costs[1] and tape.purse.spent.calls == 3


def test_nothing_is_sent_that_the_budget_does_not_cover():
    """The limit is held against the most a call can cost, before it is sent."""
    with model(["one"]) as (server, llm):
        tape = Tape(Budget(dollars=llm.most("hi").dollars * 1.5))
        with recording(tape), pytest.raises(Exhausted, match="US dollars"):
            while True:
                llm.ask("hi " * (1 if not server.log else 500))
        assert len(server.log) == 1


def test_a_reply_never_costs_more_than_was_reserved():
    """Whatever the prompt, the bound on its tokens is above what a tokenizer of bytes can make of it."""
    for prompt in ("", "abc" * 500, "詩🌊" * 200, "\x00\n" * 100):
        messages = [{"role": "user", "content": prompt}]
        assert size_of(messages)[0] >= len(prompt.encode()) + 8
    assert size_of(Question("look", images=["data:x"] * 3).messages())[1] == 3


def test_usage_that_is_missing_is_charged_at_the_most():
    """What nobody counted is never taken for nothing."""
    with model([FAULTS["no usage"]]) as (_, llm):
        answer = llm.ask("hi")
        assert answer.ok and answer.usage is None and answer.cost == llm.most("hi")


def test_an_unknown_price_is_unknown_and_asked_for():
    """It is nan with the answer, null in the record, and an error where dollars are limited."""
    tape = Tape()
    with model(["one", "two"]) as (server, llm):
        unpriced = replace(llm, prices={})
        with recording(tape):
            assert math.isnan(unpriced.ask("hi").cost.dollars)
        assert json.loads(tape.kept[0][1])["cost"]["dollars"] is None
        with recording(Tape(Budget(dollars=1.0))), pytest.raises(ValueError, match="prices="):
            unpriced.ask("hi")
        assert len(server.log) == 1


def test_prices_come_from_the_user_then_the_server_then_the_table():
    """The first that knows decides; a server that the table does not know has no price."""
    usage, openai = Usage(1_000_000, 1_000_000), "https://api.openai.com/v1"
    charged = {"usage": {"cost": 0.5}}
    assert dollars(usage, "m", {"m": (1, 2)}, openai, charged) == 3.0
    assert dollars(usage, "m", {}, openai, charged) == 0.5
    assert 0 < dollars(usage, "gpt-4o-mini", {}, openai) < 10
    assert dollars(usage._replace(cached=1_000_000), "gpt-4o-mini", {}, openai) < dollars(
        usage, "gpt-4o-mini", {}, openai
    )
    assert math.isnan(dollars(usage, "no-such-model", {}, openai))
    assert math.isnan(dollars(usage, "gpt-4o-mini", {}, "http://localhost:11434/v1"))


def test_a_model_s_price_makes_the_forecast():
    """What a budget buys is told before the run from the price of a call."""
    llm = LLM("m", base_url="http://localhost:1/v1", prices=PRICES)
    assert "buys about 500 calls" in Budget(dollars=1).forecast(llm.cost(1000, 500))


def test_a_model_with_several_roles_is_forecast_once():
    """Two operators may share a model: what it costs is told once, and that its price is unknown as well."""
    llm = LLM("m", base_url="http://localhost:1/v1")
    assert len(forecast([llm, llm], Budget(evaluations=9))) == 2


# functions in a model's stead


def test_a_plain_function_stands_for_a_model():
    """Its text is read like a model's, and recorded and counted like one."""
    tape = Tape(Budget(calls=3))

    def shout(prompt):
        return prompt.upper()

    with recording(tape):
        assert answer_of(shout, "hi") == Answer("HI", model="shout", cost=Cost())
        assert answer_of(lambda prompt: '{"colour": "red"}', Question("?", schema=COLOUR)).data == {"colour": "red"}
        assert answer_of(lambda prompt: " ", "hi").outcome == AnswerOutcome.EMPTY
        with pytest.raises(Exhausted):
            answer_of(shout, "hi")
    with recording(Tape(rows=tape.kept)):
        assert answer_of(shout, "hi").text == "HI"


def test_a_function_is_given_the_words_of_messages_and_no_images():
    """Messages become one text; a question that shows images is refused with a way out."""
    talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
    assert answer_of(str, talk).text == "Be brief.\n\nHi"
    with pytest.raises(ValueError, match="sees text only"):
        answer_of(str, Question("look", images=["data:x"]))
    with pytest.raises(TypeError, match="answered with 2"):
        answer_of(len, "hi")


def test_an_object_that_asks_is_a_model():
    """`answer_of` hands the question itself to anything with a method `ask`, a model of ours among them."""

    class Person:
        def ask(self, question):
            return Answer(f"{question.prompt}? {question.logprobs}")

    assert answer_of(Person(), Question("Really", logprobs=2)).text == "Really? 2"
    with model(["yes", "yes"]) as (_, llm):
        assert answer_of(llm, "Really").text == "yes" and llm("Really").ok


# embeddings and what a server can do


def test_embeddings_are_rows_in_the_order_of_the_texts():
    """float32, the same from base64 and from plain numbers, and the same to the bit from the record."""
    tape = Tape()
    with ModelServer() as server, recording(tape):
        embed = Embedder("e", base_url=server.url)
        vectors = embed(["the sea", "", "the sea"])
        plain = Embedder("e", base_url=server.url, options={"encoding_format": "float"})(["the sea"])
        assert embed([]).shape == (0, 0)
    assert vectors.shape == (3, 64) and vectors.dtype == np.float32
    assert (vectors[0] == vectors[2]).all() and (vectors[0] == plain[0]).all()
    with recording(Tape(rows=tape.kept)):
        assert (embed(["the sea", "", "the sea"]) == vectors).all()
    assert json.loads(tape.kept[0][0]) == server.log[0].body and tape.purse.spent.calls == 2


def test_many_texts_go_in_several_requests():
    """No request holds more than servers take."""
    with ModelServer() as server:
        assert Embedder("e", base_url=server.url)(["a", "b"] * 200).shape == (400, 64)
        assert [len(entry.body["input"]) for entry in server.log] == [256, 144]


def test_embeddings_that_do_not_come_are_unanswered_each_time():
    """The failure is recorded, so that a replay meets it too."""
    tape = Tape()
    with ModelServer() as server:
        pass
    quick(server, "e")
    embed = Embedder("e", base_url=server.url, patience=5.0)
    with recording(tape), pytest.raises(Unanswered, match="no connection"):
        embed(["a"])
    with recording(Tape(rows=tape.kept)), pytest.raises(Unanswered, match="no connection"):
        embed(["a"])


def test_capabilities_are_found_by_asking():
    """Each is empty where it works, and says what came instead where it does not."""

    def old(body):
        if "response_format" in body:
            return error(400, "response_format is not supported")
        return Reply("red", logprobs=None)

    with ModelServer() as server:
        able = capabilities(LLM("m", base_url=server.url, prices=PRICES))
    with ModelServer(old) as server:
        unable = capabilities(LLM("m", base_url=server.url))
    assert able[:5] == ("", "", "", "", "m") and able.priced
    assert (
        unable.text == ""
        and "response_format is not supported" in unable.schema
        and unable.logprobs == "the server left them out"
    )
    assert not unable.priced


@pytest.mark.parametrize(
    ("status", "said", "asked", "able"),
    [
        (400, "Unsupported parameter: 'logprobs'", {"logprobs": 5}, False),
        (403, "You are not allowed to request logprobs from this model.", {"logprobs": 5}, False),
        (422, "Requested sample logprobs of 20, which is greater than max allowed: 5", {"logprobs": 20}, False),
        (400, "'response_format' of type 'json_schema' is not supported", {"schema": {"type": "object"}}, False),
        (400, "Unsupported parameter: 'logprobs'", {"schema": {"type": "object"}}, True),  # nobody asked for them
        (400, "Unsupported parameter: 'logprobs'", {}, True),
        (400, "temperature must be at most 2", {"logprobs": 5}, True),
        (401, "logprobs need a key", {"logprobs": 5}, True),
    ],
)
def test_what_a_server_does_not_do_is_told_from_a_mistake(status, said, asked, able):
    """By what was asked and what its refusal names; the one is recorded as an answer, and the other stops the run."""
    with model(lambda body: error(status, said)) as (server, llm), recording(Tape()):
        question = Question("red?", **asked)
        if able:
            with pytest.raises(ModelError) as raised:
                llm.once(question)
            assert not isinstance(raised.value, Unable)
            return
        answer = llm.once(question)
        assert answer.outcome == "unable" and said in answer.error and answer.cost.calls == 0
        again = llm.once(question)  # what is refused once is not sent again
        assert replace(again, seconds=0) == replace(answer, seconds=0) and len(server.log) == 1


def test_a_schema_in_words_stands_after_the_prompt_whatever_its_form():
    """Of a text, of messages, or of one with images; the roles still alternate."""
    schema = {"type": "object"}
    for prompt, images in (
        ("red?", ()),
        ([{"role": "user", "content": "red?"}], ()),
        ("red?", ["data:image/png;base64,"]),
    ):
        (message,) = Question(prompt, images=images, schema=schema, in_words=True).messages()
        content = message["content"] if isinstance(message["content"], str) else message["content"][0]["text"]
        assert content == 'red?\n\nAnswer with JSON alone, of this schema:\n\n{"type":"object"}'

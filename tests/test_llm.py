"""Calls of models: requests, answers, retries, faults that stop a run, and the record."""

import json
import math
import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np
import pytest

from qdkit.core.record import NOTHING, Cost, Exhausted, recording
from qdkit.llm import (
    LLM,
    Answer,
    AnswerOutcome,
    Embedder,
    ModelError,
    Question,
    RateLimits,
    Token,
    Unable,
    Unanswered,
    Usage,
    answer_of,
    bytes_of,
    capabilities,
    data_url,
)
from qdkit.llm.client import Server
from qdkit.llm.fault import Fault, FaultKind
from qdkit.llm.model import size_bounds
from qdkit.llm.pace import _PACES, OUTAGE, Clock, OutOfPatience, Pace, pace_of
from qdkit.llm.prices import dollars
from qdkit.llm.question import recordable
from qdkit.llm.schema import misfit, parse_for_schema
from qdkit.search.budget import Budget
from qdkit.search.progress import forecast
from qdkit.testing import FAULTS, RESET, ChatReply, ModelServer, Raw, error

from .worlds import Hasty, Quick, Tape

STOPS = ("bad key", "no credit", "unknown model", "context too long", "bad request")
PASSING = (
    "busy",
    "busy for a while",
    "broken",
    "overloaded",
    "hang",
    "reset",
    "cut off",
    "bad json",
    "html",
)
PRICES = {"m": (1.0, 2.0)}


def quick(server, model="m"):
    """Returns a model of the server whose waits take no time."""
    _PACES[server.url, model] = Pace(Quick())
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
    """Yields the shared server with these replies, and a model of it whose waits take no time."""
    script = None if callable(says) else iter(says)
    server = SHARED[0]
    server.says, server.latency = (says if script is None else lambda body: next(script)), latency
    server.log.clear()
    yield server, quick(server)


# Requests.


def test_the_record_holds_the_request_that_was_sent():
    """The recorded request is the body that arrived at the server, with images by their digest."""
    tape = Tape()
    with model(["hello"]) as (server, llm), recording(tape):
        llm = replace(
            llm, system="Be brief.", temperature=0.7, options={"top_p": 0.9, "top_k": 40}
        )
        llm.ask(
            Question(
                "Say hello",
                images=[data_url(b"png")],
                logprobs=3,
                seed=5,
                schema={"type": "string"},
            )
        )
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


def test_the_settings_of_a_question_override_those_of_the_model():
    """Temperature and length can be set for one question; a list of messages is sent unchanged."""
    llm = LLM("m", base_url="http://localhost:1/v1", temperature=0.7, max_tokens=50)
    talk = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "ho"},
        {"role": "user", "content": "so?"},
    ]
    body = llm.body(Question(talk, temperature=0.0, max_tokens=9))
    assert body == {"model": "m", "messages": talk, "max_tokens": 9, "temperature": 0.0}


def test_the_server_of_openai_gets_the_new_name_of_the_limit(monkeypatch):
    """Its newer models refuse the old name, and other servers know only the old one.

    An option overrides both.
    """
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    question = Question("hi")
    assert "max_completion_tokens" in LLM("m", api_key="k").body(question)
    assert "max_tokens" in LLM("m", base_url="http://localhost:1/v1").body(question)
    body = LLM("m", base_url="http://localhost:1/v1", options={"max_completion_tokens": 7}).body(
        question
    )
    assert body["max_completion_tokens"] == 7 and "max_tokens" not in body


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_tokens": 0}, "at least 1"),
        ({"options": {"n": 3}}, "n cannot be among options"),
        ({"prices": {"m": 1.0}}, "per million"),
        ({"prices": {"m": (-1, 2)}}, "per million"),
        ({"prices": {"m": (1, math.nan)}}, "per million"),
        ({"patience": math.nan}, "patience is a number of seconds"),
        ({"patience": -1.0}, "patience is a number of seconds"),
        ({"timeout": 0.0}, "timeout is a number of seconds"),
        ({"timeout": math.nan}, "timeout is a number of seconds"),
    ],
)
def test_invalid_settings_raise(wrong, message):
    """The error names the setting."""
    with pytest.raises(ValueError, match=message):
        LLM("m", **wrong)
    for number in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="per minute"):
            RateLimits(requests=number)


# Servers and keys.


def test_a_missing_key_and_server_raise_an_error_with_both_remedies(monkeypatch):
    """The message names the variable and the argument."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ModelError, match=r"set OPENAI_API_KEY .* or base_url="):
        LLM("m").ask("hi")


def test_a_local_server_needs_no_key(monkeypatch):
    """A placeholder is sent if there is an address and no key, and else the key."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with ModelServer(["a", "b", "c"]) as server:
        LLM("m", base_url=server.url).ask("hi")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url + "/")
        LLM("m").ask("hi")
        LLM("m", api_key="secret").ask("hi")
        assert [entry.key for entry in server.log] == [
            "Bearer none",
            "Bearer none",
            "Bearer secret",
        ]


def test_a_key_is_in_no_repr_and_no_message():
    """Also if a message of the server repeats the key."""
    with ModelServer([error(401, "bad key sk-secret")]) as server:
        llm = LLM("m", base_url=server.url, api_key="sk-secret")
        with pytest.raises(ModelError) as stopped:
            llm.ask("hi")
    assert "sk-secret" not in repr(llm) + repr(llm.server) + str(stopped.value)


# Answers.


def test_an_answer_holds_its_model_usage_and_cost():
    """Latency and finish reason, too."""
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 500,
        "prompt_tokens_details": {"cached_tokens": 200},
    }
    with model([ChatReply("hi", model="m-2026", usage=usage)], latency=0.02) as (_, llm):
        answer = llm.ask("hello")
    assert (answer.text, answer.outcome, answer.model, answer.finish_reason) == (
        "hi",
        "ok",
        "m-2026",
        "stop",
    )
    assert answer.usage == Usage(1000, 500, 200) and answer.cost == Cost(0.002, 1500, 1)
    assert 0.02 <= answer.seconds < 60 and answer.ok and str(answer) == "hi"


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
def test_an_unusable_answer_has_an_outcome_that_names_the_reason(fault, outcome, text):
    """It is an answer, so the model is not asked again."""
    with model([FAULTS[fault], "never said"]) as (server, llm):
        answer = llm.ask("hi")
        assert (answer.outcome, answer.text, answer.ok, len(server.log)) == (
            outcome,
            text,
            False,
            1,
        )
    assert answer.error and outcome in str(answer)


def test_an_error_of_the_server_s_filter_is_the_answer():
    """Some servers refuse a prompt with HTTP 400; that concerns the prompt and not the run."""
    with model([error(400, "management policy", "content_filter")]) as (_, llm):
        answer = llm.ask("hi")
    assert (
        answer.outcome == AnswerOutcome.FILTERED
        and "management policy" in answer.error
        and answer.cost == NOTHING
    )


def test_log_probabilities_are_read():
    """Each token has its alternatives.

    A token without a log-probability is None, and infinite values become finite.
    """
    top = [{"token": "yes", "logprob": -0.1}, {"token": "no", "logprob": -math.inf}]
    whole = ChatReply(
        "yes", logprobs={"content": [{"token": "yes", "logprob": -0.1, "top_logprobs": top}]}
    )
    with model([whole, FAULTS["partial logprobs"], FAULTS["null logprobs"]]) as (_, llm):
        answers = [llm.ask(Question("?", logprobs=2)).logprobs for _ in range(3)]
    assert answers[0] == (Token("yes", -0.1, (("yes", -0.1), ("no", -9999.0))),)
    assert answers[1] == (Token("yes", -0.1), None, None)
    assert answers[2] is None


def test_images_are_read_beside_the_content_and_within_it():
    """Servers send them in both ways, and the bytes stay equal."""
    url = data_url(b"\x89PNG", "image/png")
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": url}}]
    with model([ChatReply("", images=[url]), ChatReply(parts, usage=None)]) as (_, llm):
        first, second = llm.ask("draw"), llm.ask("draw")
    assert first.ok and first.images == second.images == (url,) and second.text == "look"
    assert bytes_of(first.images[0]) == b"\x89PNG"
    with pytest.raises(ValueError, match="follows no links"):
        bytes_of("https://example.org/a.png")


@pytest.mark.parametrize("text", ["half \ud83d a pair", "ünï 詩 🌊", "\x00 nul"])
def test_any_text_of_a_reply_can_be_encoded(text):
    """Characters that UTF-8 cannot encode are replaced; all others stay."""
    with model([Raw(body=json.dumps({"choices": [{"message": {"content": text}}]}))]) as (_, llm):
        read = llm.ask("hi").text
    assert read.encode() == text.encode("utf-8", "replace")


COLOUR = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}},
    "required": ["colour"],
}


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
def test_an_answer_is_checked_against_its_schema(text, data, error):
    """An answer that does not fit is invalid, and its error says why."""
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
        (
            {"a": {"b": 1}},
            {"type": "object", "properties": {"a": {"properties": {"b": {"type": "string"}}}}},
            False,
        ),
        ({"a": 1, "z": 2}, {"properties": {"a": {}}, "additionalProperties": False}, False),
        (None, {"type": "null"}, True),
        ("anything", {}, True),
    ],
)
def test_types_and_bounds_of_a_schema_are_checked(value, schema, fits):
    """The part of JSON schema that servers enforce."""
    assert (misfit(value, schema) == "") is fits
    assert (parse_for_schema(json.dumps(value), schema)[1] == "") is fits


@pytest.mark.parametrize(
    "answer",
    [
        Answer("hi"),
        Answer("", AnswerOutcome.INFRASTRUCTURE, "gone", cost=Cost(math.nan, 5, 2)),
        Answer(
            "yes 🌊",
            model="m",
            finish_reason="stop",
            usage=Usage(3, 4, 1),
            cost=Cost(0.1 + 0.2, 7),
            seconds=1.5,
            logprobs=(Token("yes", -0.25, (("yes", -0.25), ("no", -9999.0))), None),
            data={"a": [1]},
            images=("u",),
        ),
    ],
)
def test_an_answer_is_equal_after_a_round_trip_through_json(answer):
    """The JSON is strict."""
    text = json.dumps(answer.to_json(), allow_nan=False)
    assert repr(Answer.from_json(json.loads(text))) == repr(answer)


# Retries and faults.


@pytest.mark.parametrize("fault", PASSING)
def test_a_temporary_fault_is_retried(fault):
    """The second attempt returns the answer after any such fault."""
    with model([FAULTS[fault], "well"]) as (server, llm):
        answer = replace(llm, timeout=0.2 if fault == "hang" else 5.0).ask("hi")
        assert (answer.text, len(server.log)) == ("well", 2)


@pytest.mark.parametrize("fault", ["hang", "reset", "cut off", "bad json", "html"])
def test_an_attempt_whose_answer_was_lost_is_charged(fault):
    """The server may have charged for it; an attempt that it refused costs nothing."""
    with model([FAULTS[fault], "well"]) as (_, llm):
        most = llm.max_cost("hi")
        cost = replace(llm, timeout=0.2 if fault == "hang" else 5.0).ask("hi").cost
    assert (
        cost.calls == 2
        and cost.dollars == pytest.approx(most.dollars + 3e-6)
        and cost.tokens == most.tokens + 2
    )


@pytest.mark.parametrize("fault", ["busy", "broken", "overloaded", "error with status 200"])
def test_a_refused_attempt_costs_nothing(fault):
    """Only the answer is charged."""
    with model([FAULTS[fault], "well"]) as (_, llm):
        assert llm.ask("hi").cost == Cost(3e-6, 2, 1)


@pytest.mark.parametrize("fault", STOPS)
def test_a_permanent_fault_stops_at_once(fault):
    """One request is sent, and the message names the remedy."""
    mends = {
        "bad key": "OPENAI_API_KEY",
        "no credit": "credit left",
        "unknown model": "it has test-model",
    }
    mends |= {
        "context too long": "shorten the prompt",
        "bad request": "'logprobs'; change the settings",
    }
    tape = Tape(Budget(calls=5))
    with (
        model([FAULTS[fault]]) as (server, llm),
        recording(tape),
        pytest.raises(ModelError, match=mends[fault]),
    ):
        llm.ask("hi")
    assert sum(entry.path.endswith("completions") for entry in server.log) == 1
    assert tape.kept == [] and tape.purse.spent == NOTHING


def test_a_server_that_stays_broken_gives_an_infrastructure_outcome():
    """The answer is recorded like any other."""
    tape = Tape()
    with model(lambda body: FAULTS["broken"]) as (server, llm), recording(tape):
        answer = replace(llm, patience=60.0).ask("hi")
    assert answer.outcome == AnswerOutcome.INFRASTRUCTURE and "HTTP 500" in answer.error
    assert 6 <= len(server.log) <= 40 and answer.cost == NOTHING and len(tape.kept) == 1


def test_a_long_retry_after_ends_with_the_patience():
    """A call that would wait for an hour is given up, and the next call is not even sent."""
    with model(lambda body: error(429, "later", retry_after="3600")) as (server, llm):
        first, second = llm.ask("hi"), llm.ask("hi")
        clock = pace_of(server.url, "m").clock
        assert len(server.log) == 1
    assert clock.time - 1000.0 == pytest.approx(600.0)
    assert first.outcome == second.outcome == AnswerOutcome.INFRASTRUCTURE
    assert "slow" in first.error or "later" in first.error


def test_retry_after_is_honoured_and_delays_no_other_model():
    """The refused model waits as long as the server asks.

    Another model of the same server is answered meanwhile.
    """
    refused, refusals = threading.Event(), []

    def says(body):
        if body["model"] == "slow" and not refusals:
            refusals.append(1)
            refused.set()
            return error(429, "slow down", retry_after="0.4")
        return "fine"

    with ModelServer(says) as server:
        slow, other = (LLM(name, base_url=server.url) for name in ("slow", "other"))
        thread = threading.Thread(target=slow.ask, args=("hi",))
        thread.start()
        refused.wait(60)
        assert other.ask("hi").ok
        thread.join(60)
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
    """Seconds, milliseconds and a date; any other value is ignored."""
    with ModelServer([error(429, "slow down", **headers)]) as server:
        fault = LLM("m", base_url=server.url).server.post(
            "/chat/completions", {"model": "m", "messages": [{"content": ""}]}, 5
        )
    assert fault.kind == FaultKind.BUSY and fault.retry_after == seconds


# The pace of a model.


def failed(pace, until=math.inf):
    """Sends one call that finds the server down. Returns whether it was a probe."""
    with pace.turn(until) as turn:
        turn.result = Fault(FaultKind.DOWN, "down")
    return turn.probe


def test_one_probe_at_a_time_tests_a_server_that_is_down():
    """In an outage of 40 s at most a dozen calls are sent."""
    clock = Quick()
    pace, sent = Pace(clock), []
    while clock.time < 1040.0:
        sent.append(failed(pace))
    assert sent[:OUTAGE] == [False] * OUTAGE and all(sent[OUTAGE:]) and len(sent) - OUTAGE <= 12


def test_all_calls_wait_while_a_probe_is_out():
    """A second call is sent only after the probe was answered."""
    pace = Pace(Clock())
    pace.clock = Quick()
    for _ in range(OUTAGE):
        failed(pace)
    with pace.turn(math.inf) as probe:
        with pytest.raises(OutOfPatience), pace.turn(pace.clock.now() + 50.0):
            pass
        probe.result = {"choices": []}
    with pace.turn(math.inf) as one, pace.turn(math.inf) as other:
        assert probe.probe and not one.probe and not other.probe


def test_an_interrupted_probe_lets_the_next_call_be_a_probe():
    """A probe that ends in another exception says nothing about the server, and blocks no call."""
    pace = Pace(Quick())
    for _ in range(OUTAGE):
        failed(pace)
    with pytest.raises(Exhausted), pace.turn(math.inf):
        raise Exhausted("no budget")
    with pace.turn(pace.clock.now() + 100.0) as turn:
        assert turn.probe


def test_an_outage_loses_no_question_and_costs_few_calls():
    """Sixteen threads ask during an outage, and all are answered.

    There are at most twice as many calls as answers.
    """
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
    """Returns the answers to `each` questions of so many threads."""
    answers = []
    ask = lambda i: [answers.append(llm.ask(f"{i} {j}")) for j in range(each)]
    running = [threading.Thread(target=ask, args=(i,)) for i in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)
    return answers


def test_requests_are_spaced_by_the_limit_per_minute():
    """Four calls at 60 a minute start a second apart, and the wait uses up no patience."""
    with model(["a"] * 4) as (server, llm):
        clock = pace_of(server.url, "m").clock
        llm = replace(llm, limits=RateLimits(requests=60), patience=0.5)
        assert all(llm.ask("hi").ok for _ in range(4))
    assert clock.naps == pytest.approx([1.0, 1.0, 1.0])


def test_booked_tokens_that_were_not_used_are_returned():
    """The next call waits for the tokens that were used, not for those that were booked."""
    pace = Pace(Quick())
    limits = RateLimits(tokens=6000)
    assert pace.book(limits, 1000) == 0.0
    pace.settle(limits, 1000, 200)
    assert pace.book(limits, 1000) == pytest.approx(2.0)


def test_equal_models_of_one_server_share_their_limits():
    """For example those of a judge and an operator."""
    with model(["a", "b"]) as (server, llm):
        for temperature in (0.0, 1.0):
            replace(llm, temperature=temperature, limits=RateLimits(requests=30)).ask("hi")
        assert pace_of(server.url, "m").clock.naps == pytest.approx([2.0])


# Costs and the record.


def test_a_recorded_answer_is_not_asked_for_again():
    """A replay gives equal answers and sends nothing; another question raises."""
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


def test_the_budget_is_charged_the_cost_of_the_answers():
    """Lost attempts included."""
    tape = Tape(Budget(dollars=1.0))
    with model(["one", FAULTS["bad json"], "two"]) as (_, llm), recording(tape):
        costs = [llm.ask("hi").cost for _ in range(2)]
    assert tape.purse.spent == costs[0] + costs[1] and tape.purse.spent.calls == 3


def test_no_request_is_sent_that_the_budget_does_not_cover():
    """The most that a call can cost is compared with the limit before it is sent."""
    with model(["one"]) as (server, llm):
        tape = Tape(Budget(dollars=llm.max_cost("hi").dollars * 1.5))
        with recording(tape), pytest.raises(Exhausted, match="US dollars"):
            while True:
                llm.ask("hi " * (1 if not server.log else 500))
        assert len(server.log) == 1


def test_a_reply_never_costs_more_than_was_reserved():
    """The bound on the tokens of a prompt is above what any tokenizer of bytes gives."""
    for prompt in ("", "abc" * 500, "詩🌊" * 200, "\x00\n" * 100):
        messages = [{"role": "user", "content": prompt}]
        assert size_bounds(messages)[0] >= len(prompt.encode()) + 8
    assert size_bounds(Question("look", images=["data:x"] * 3).messages())[1] == 3


def test_a_missing_usage_is_charged_at_the_most_it_can_be():
    """It is never taken as 0."""
    with model([FAULTS["no usage"]]) as (_, llm):
        answer = llm.ask("hi")
        assert answer.ok and answer.usage is None and answer.cost == llm.max_cost("hi")


def test_an_unknown_price_is_nan_and_an_error_if_dollars_are_limited():
    """It is null in the record."""
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
    """The first known price counts; a server that the table does not know has no price."""
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


def test_the_price_of_a_model_gives_the_forecast():
    """The forecast before a run says how many calls the budget buys."""
    llm = LLM("m", base_url="http://localhost:1/v1", prices=PRICES)
    assert "buys about 500 calls" in Budget(dollars=1).forecast(llm.cost(1000, 500))


def test_a_model_with_several_roles_is_forecast_once():
    """Two operators may share a model: its cost is stated once, also if its price is unknown."""
    llm = LLM("m", base_url="http://localhost:1/v1")
    assert len(forecast([llm, llm], Budget(evaluations=9))) == 2


# Functions in place of a model.


def test_a_plain_function_can_take_the_place_of_a_model():
    """Its text is read, recorded and counted like that of a model."""
    tape = Tape(Budget(calls=3))

    def shout(prompt):
        return prompt.upper()

    with recording(tape):
        assert answer_of(shout, "hi") == Answer("HI", model="shout", cost=Cost())
        assert answer_of(
            lambda prompt: '{"colour": "red"}', Question("?", schema=COLOUR)
        ).data == {"colour": "red"}
        assert answer_of(lambda prompt: " ", "hi").outcome == AnswerOutcome.EMPTY
        with pytest.raises(Exhausted):
            answer_of(shout, "hi")
    with recording(Tape(rows=tape.kept)):
        assert answer_of(shout, "hi").text == "HI"


def test_a_function_receives_the_text_of_messages():
    """Messages become one text; a question with images is refused with a remedy."""
    talk = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
    ]
    assert answer_of(str, talk).text == "Be brief.\n\nHi"
    with pytest.raises(ValueError, match="sees text only"):
        answer_of(str, Question("look", images=["data:x"]))
    with pytest.raises(TypeError, match="answered with 2"):
        answer_of(len, "hi")


def test_an_object_with_a_method_ask_is_a_model():
    """`answer_of` passes the question itself to it."""

    class Person:
        def ask(self, question):
            return Answer(f"{question.prompt}? {question.logprobs}")

    assert answer_of(Person(), Question("Really", logprobs=2)).text == "Really? 2"
    with model(["yes", "yes"]) as (_, llm):
        assert answer_of(llm, "Really").text == "yes" and llm("Really").ok


# Embeddings and capabilities.


def test_embeddings_are_rows_in_the_order_of_the_texts():
    """float32, the same from base64, from plain numbers and from the record."""
    tape = Tape()
    with ModelServer() as server, recording(tape):
        embed = Embedder("e", base_url=server.url)
        vectors = embed(["the sea", "", "the sea"])
        plain = Embedder("e", base_url=server.url, options={"encoding_format": "float"})(
            ["the sea"]
        )
        assert embed([]).shape == (0, 0)
    assert vectors.shape == (3, 64) and vectors.dtype == np.float32
    assert (vectors[0] == vectors[2]).all() and (vectors[0] == plain[0]).all()
    with recording(Tape(rows=tape.kept)):
        assert (embed(["the sea", "", "the sea"]) == vectors).all()
    assert json.loads(tape.kept[0][0]) == server.log[0].body and tape.purse.spent.calls == 2


def test_many_texts_are_sent_in_several_requests():
    """No request holds more texts than servers take."""
    with ModelServer() as server:
        assert Embedder("e", base_url=server.url)(["a", "b"] * 200).shape == (400, 64)
        assert [len(entry.body["input"]) for entry in server.log] == [256, 144]


def test_missing_embeddings_raise_unanswered_also_in_a_replay():
    """The failure is recorded."""
    tape = Tape()
    with model([]) as (server, _):
        server.respond = lambda path, body: FAULTS["broken"]
        try:
            quick(server, "e")
            embed = Embedder("e", base_url=server.url, patience=5.0)
            with recording(tape), pytest.raises(Unanswered, match="HTTP 500"):
                embed(["a"])
        finally:
            del server.respond
    with recording(Tape(rows=tape.kept)), pytest.raises(Unanswered, match="HTTP 500"):
        embed(["a"])


def test_capabilities_are_measured_by_questions():
    """Each is empty if it works, and else holds the error."""

    def old(body):
        if "response_format" in body:
            return error(400, "response_format is not supported")
        return ChatReply("red", logprobs=None)

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
    ("status", "message", "settings", "able"),
    [
        (400, "Unsupported parameter: 'logprobs'", {"logprobs": 5}, False),
        (403, "You are not allowed to request logprobs from this model.", {"logprobs": 5}, False),
        (
            422,
            "Requested sample logprobs of 20, which is greater than max allowed: 5",
            {"logprobs": 20},
            False,
        ),
        (
            400,
            "'response_format' of type 'json_schema' is not supported",
            {"schema": {"type": "object"}},
            False,
        ),
        (
            400,
            "Unsupported parameter: 'logprobs'",
            {"schema": {"type": "object"}},
            True,
        ),  # the request has no logprobs
        (400, "Unsupported parameter: 'logprobs'", {}, True),
        (400, "temperature must be at most 2", {"logprobs": 5}, True),
        (401, "logprobs need a key", {"logprobs": 5}, True),
    ],
)
def test_an_unsupported_feature_is_distinguished_from_a_mistake(status, message, settings, able):
    """The request and the server's message decide.

    The one is recorded as an answer, and the other stops the run.
    """
    with model(lambda body: error(status, message)) as (server, llm), recording(Tape()):
        question = Question("red?", **settings)
        if able:
            with pytest.raises(ModelError) as raised:
                llm.once(question)
            assert not isinstance(raised.value, Unable)
            return
        answer = llm.once(question)
        assert answer.outcome == "unable" and message in answer.error and answer.cost.calls == 0
        again = llm.once(question)  # what is refused once is not sent again
        assert replace(again, seconds=0) == replace(answer, seconds=0) and len(server.log) == 1


def test_a_schema_in_words_follows_the_prompt():
    """After a text, after messages, and before images; the roles still alternate."""
    schema = {"type": "object"}
    for prompt, images in (
        ("red?", ()),
        ([{"role": "user", "content": "red?"}], ()),
        ("red?", ["data:image/png;base64,"]),
    ):
        (message,) = Question(prompt, images=images, schema=schema, in_words=True).messages()
        content = (
            message["content"]
            if isinstance(message["content"], str)
            else message["content"][0]["text"]
        )
        assert content == 'red?\n\nAnswer with JSON alone, of this schema:\n\n{"type":"object"}'


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n"


@pytest.mark.parametrize(
    "first, then",
    [(HEAD + b"\r\n{", b" "), (HEAD, b"x-more: 1\r\n"), (b"", b"HTTP/1.1 100 Continue\r\n\r\n")],
    ids=["body", "headers", "provisional"],
)
def test_an_answer_that_never_ends_is_lost(first, then):
    """The server always sends another byte."""
    over = threading.Event()

    def trickle(server):
        connection, _ = server.accept()
        with connection, suppress(OSError):
            connection.recv(1 << 16)
            connection.sendall(first)
            while not over.wait(0.01):
                connection.sendall(then)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=trickle, args=(server,), daemon=True).start()
        try:
            fault = Server(f"http://127.0.0.1:{server.getsockname()[1]}/v1", "none").post(
                "/chat/completions", {}, 0.2
            )
        finally:
            over.set()
    assert fault.kind == FaultKind.LOST and "not ended after 2 s" in fault.message

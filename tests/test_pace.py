"""When calls are sent, and how long busy, failing or absent servers are waited for."""

import itertools
import json
import math
import threading
import warnings
from dataclasses import replace
from functools import partial

import pytest

from qdkit.archives import Grid
from qdkit.core.record import Halt
from qdkit.feedback import Fallback, Poles, Rating
from qdkit.llm import LLM, AnswerOutcome, Embedder, ModelError
from qdkit.llm import pace as paces
from qdkit.llm.client import Server, _transport
from qdkit.llm.fault import Fault, FaultKind
from qdkit.llm.pace import Pace, pace_of, waiting_servers
from qdkit.llm.presence import FORGET_AFTER, Fruitless, Presence
from qdkit.llm.retry_after import LONGEST_RETRY, retry_after
from qdkit.operators import Portfolio, Rewrite
from qdkit.search.budget import Budget
from qdkit.search.progress import waiting_sentence
from qdkit.testing import FAULTS, ModelServer, error

from .worlds import Quick, Texts, Virtual, in_process, search_of

NOW = 1_700_000_000.0  # of the wall clock: Tue, 14 Nov 2023 22:13:20 GMT
FINE = json.dumps({"choices": [{"message": {"content": "a fine text"}}]}).encode()


@pytest.fixture
def clock(monkeypatch):
    """A clock for all paces, whose time passes at once."""
    monkeypatch.setattr(paces, "CLOCK", Quick())
    return paces.CLOCK


def refusing(headers=(), status=429):
    """Returns a server that refuses everything, and the list of its requests."""
    requests = []

    def answer(path, body):
        requests.append(path)
        return status, dict(headers), b'{"error": {"message": "slow down"}}'

    return answer, requests


# Waits that servers ask for.


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": ""}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "1_000"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "1000000000"}, LONGEST_RETRY),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:30 GMT"}, 10.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:30 +0100"}, 0.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"retry-after": "Tue, 14 Nov 9999 22:13:30 GMT"}, LONGEST_RETRY),
        ({"retry-after": "Tue, 99 Nov 2023 22:13:30 GMT"}, None),
        ({"retry-after": "Tue, 14 Nov 99999 22:13:30 GMT"}, None),
        ({"retry-after": "2023-11-14T22:13:50"}, 30.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon"}, None),
        ({"retry-after-ms": "nan", "retry-after": "9"}, 9.0),
        ({"x-ratelimit-reset-requests": "1m30s", "x-ratelimit-remaining-requests": "0"}, 90.0),
        ({"x-ratelimit-reset-requests": "20ms", "x-ratelimit-reset-tokens": "6s"}, 6.0),
        ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-requests": "12"}, None),
        ({"x-ratelimit-reset": "1700000012"}, 12.0),
        ({"x-ratelimit-reset": "1700000012000"}, 12.0),
        ({"x-ratelimit-reset": "12"}, 12.0),
        ({"x-ratelimit-reset": "never"}, None),
    ],
)
def test_the_wait_is_read_from_the_headers(headers, seconds):
    """In seconds of at most an hour; an invalid time is ignored."""
    wait = retry_after(headers, NOW)
    assert wait is seconds if seconds is None else wait == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "nan",
        "-1",
        "",
        "0",
        "soon",
        "Tue, 99 Nov 2023 22:13:30 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "1e9",
        "4",
    ],
)
@pytest.mark.parametrize("patience", [0.0, 1.0, 300.0])
def test_a_server_that_is_always_busy_gets_few_requests(monkeypatch, clock, value, patience):
    """For any header, the outcome is infrastructure when the patience ends."""
    answer, requests = refusing({} if value is None else {"retry-after": value})
    llm = LLM(
        "m", base_url=in_process(monkeypatch, answer), patience=patience, prices={"m": (1, 1)}
    )
    result = llm.ask("hi")
    assert result.outcome == AnswerOutcome.INFRASTRUCTURE and "slow down" in result.error
    assert 1000.0 + patience <= clock.time <= 1000.0 + patience + 0.001
    assert 1 <= len(requests) <= 2 + math.log2(1 + 4 * patience) + patience / 4


def test_waits_double_up_to_a_bound_and_differ_between_calls(clock):
    """Between half and all of 0.5, 1, 2, 4, 8, 8, ... seconds; equal for equal calls."""
    pace, fault = Pace(Quick()), Fault(FaultKind.BUSY, "busy")

    def waited(failures, spread):
        with pace.turn(math.inf) as turn:
            turn.result = Fault(FaultKind.WRONG, "nothing is learnt of it")
        turn.result, before = fault, pace.clock.time
        pace.back_off(turn, failures, math.inf, spread)
        return pace.clock.time - before

    for failures, ceiling in [(1, 0.5), (2, 1), (3, 2), (4, 4), (5, 8), (6, 8), (10_000, 8)]:
        each = [waited(failures, f"call {i}") for i in range(20)]
        assert (
            ceiling / 2 <= min(each) < max(each) <= ceiling
            and len({round(x, 9) for x in each}) == 20
        )
    assert waited(3, "call 7") == pytest.approx(waited(3, "call 7"))


# Many calls of one model.


def through(pace, clock, refuse, calls, threads, seconds=1.0, retry=4.0, refused_in=0.001):
    """Sends calls through a pace. Returns the end and the requests [(time, call)].

    refuse: whether a request is refused, by its number from 1, its call and the attempt.
    """
    left, lock, sent = list(range(calls)), threading.Lock(), []

    def post(call, attempt):
        with lock:
            sent.append((clock.now(), call))
            busy = refuse(len(sent), call, attempt)
        clock.sleep(refused_in if busy else seconds)
        return Fault(FaultKind.BUSY, "slow down", 429, "", retry) if busy else {"choices": []}

    def work():
        try:
            while True:
                with lock:
                    if not left:
                        return
                    call = left.pop(0)
                failures = 0
                while True:
                    with pace.turn(1e9) as turn:
                        turn.result = post(call, failures)
                    if not isinstance(turn.result, Fault):
                        break
                    failures += 1
                    pace.back_off(turn, failures, 1e9, f"call {call}")
        finally:
            clock.ended()

    running = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(timeout=60)
        assert not thread.is_alive()
    return clock.now(), sent


@pytest.mark.parametrize("refused_in", [0.001, 1.0])
@pytest.mark.parametrize(
    "refuse",
    [
        lambda number, call, attempt: number % 4 == 0,
        lambda number, call, attempt: call % 4 == 0 and attempt == 0,
        lambda number, call, attempt: call < 6 and attempt == 0,
        lambda number, call, attempt: call >= 18 and attempt == 0,
        lambda number, call, attempt: number <= 6,
    ],
    ids=[
        "every fourth request",
        "every fourth call",
        "the first",
        "the last",
        "the first requests",
    ],
)
def test_refusals_of_a_quarter_of_calls_delay_the_others_little(refuse, refused_in):
    """24 calls of 1 s, 8 at a time, a quarter refused for 4 s, take at most 10 s.

    Without refusals they take 3 s.
    """
    clock = Virtual(8)
    ended, sent = through(Pace(clock), clock, refuse, 24, 8, refused_in=refused_in)
    assert ended <= 10.0 and 30 <= len(sent) <= 32


def test_calls_that_waited_together_do_not_start_together():
    """All of 64 are refused at once.

    None is sent before the time, then a few, and twice as many each second.
    """
    clock = Virtual(64)
    _, sent = through(
        Pace(clock), clock, lambda number, call, attempt: number <= 64, 64, 64, retry=10.0
    )
    again = sorted(when for when, _ in sent[64:])
    assert len(again) == 64 and again[0] >= 10.0
    assert sum(when < again[0] + 0.5 for when in again) <= 2
    assert max(sum(start <= when < start + 0.2 for when in again) for start in again) <= 24
    assert again[-1] <= again[0] + 8.0


def test_an_answer_ends_the_wait_of_all_calls():
    """One call is refused for an hour while another is out.

    When that is answered, the next are sent at once.
    """
    pace = Pace(Quick())
    with pace.turn(math.inf) as slow:
        with pace.turn(math.inf) as refused:
            refused.result = Fault(FaultKind.BUSY, "busy", 429, "", 3600.0)
        slow.result = {"choices": []}
    with pace.turn(pace.clock.time + 1.0) as turn:
        turn.result = {"choices": []}
    assert pace.clock.time < 1001.0


def test_waiting_calls_go_out_slowly_after_an_outage():
    """A few at a time, as after a refusal."""
    clock = Virtual(32)
    pace = Pace(clock)
    pace._faults = 99
    _, sent = through(pace, clock, lambda number, call, attempt: False, 32, 32)
    times = [when for when, _ in sent]
    assert times.count(0.0) == 1  # the one that tries
    assert max(times.count(when) for when in times) <= 20


def test_models_servers_and_keys_have_paces_of_their_own():
    """A refusal of one does not affect another."""
    assert pace_of("http://a/v1", "m") is pace_of("http://a/v1", "m")
    others = [
        pace_of("http://a/v1", "n"),
        pace_of("http://b/v1", "m"),
        pace_of("http://a/v1", "m", "a key"),
    ]
    assert len({id(pace) for pace in [pace_of("http://a/v1", "m"), *others]}) == 4


def test_the_progress_line_says_which_server_a_run_waits_for(clock):
    """With the address, the seconds since the first fault, and the fault.

    It is empty where no call waits.
    """
    pace = pace_of("http://a/v1", "m")
    assert waiting_servers() == [] and waiting_sentence() == ""
    with pace.calling():
        with pace.turn(math.inf) as turn:
            turn.result = Fault(FaultKind.BUSY, "HTTP 429: slow\x1b[2J down", 429, "", 60.0)
        assert waiting_sentence() == ""  # it is no wait yet
        clock.time += 12.0
        assert waiting_sentence() == "waiting for http://a/v1, 12 s: HTTP 429: slow�[2J down"
    assert waiting_sentence() == ""


# Absent servers.


def texts_by(model, **settings):
    """Returns a search of texts that a model varies."""
    settings = {"batch": 1, "seed": 7} | settings
    operator = settings.pop("operator", None) or Rewrite(model, "Vary: {genome}")
    return search_of(Texts(), Grid((8, 5), Texts.bounds), operator, **settings)


def unused_address():
    """Returns an address without a server."""
    with ModelServer() as server:
        return server.url


def absent(clock):
    """Raises the error of a server that is absent; the clock notes the time."""
    clock.tries.append(clock.now())
    raise _transport().ConnectError("Connection refused")


def message_and_warnings(run):
    """Returns (the message with which a run stops, the warnings) of a function that runs it."""
    with warnings.catch_warnings(record=True) as warned, pytest.raises(Halt) as stopped:
        warnings.simplefilter("always")
        run()
    return str(stopped.value), [str(note.message) for note in warned]


@pytest.mark.parametrize("budget", [Budget(calls=20), Budget(evaluations=50)], ids=str)
def test_a_run_without_a_server_warns_once_and_ends_after_a_minute(clock, budget):
    """With the address, the reason and the remedy.

    A candidate that was never made is no evaluation.
    """
    url = unused_address()
    search = texts_by(LLM("m", base_url=url), budget=budget)
    message, warned = message_and_warnings(lambda: search.run(progress=False))
    assert (
        url in message
        and "refused" in message
        and "base_url" in message
        and "start the server" in message
    )
    assert len(warned) == 1 and url in warned[0] and "refused" in warned[0] and "60 s" in warned[0]
    assert 1060.0 <= clock.time <= 1075.0
    assert search.commits[-1].evaluations == 3 and search.spent.calls == 0


def test_many_calls_without_a_server_try_one_at_a_time_and_end_together(monkeypatch):
    """Eight threads ask: one warning, few attempts, and the same error for each after a minute."""
    clock, messages = Virtual(8), []
    monkeypatch.setattr(paces, "CLOCK", clock)
    llm = LLM("m", base_url=in_process(monkeypatch, lambda path, body: absent(clock)))

    def ask(i):
        try:
            llm.ask(f"question {i}")
        except ModelError as stopped:
            messages.append(str(stopped))
        finally:
            clock.ended()

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        running = [threading.Thread(target=ask, args=(i,), daemon=True) for i in range(8)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join(timeout=60)
    assert (
        len(messages) == 8
        and len(warned) == 1
        and all("start the server" in each for each in messages)
    )
    assert 60.0 <= clock.now() <= 61.0 and 10 <= len(clock.tries) <= 40


def test_patience_sets_how_long_an_absent_server_is_waited_for(clock):
    """Six seconds instead of a minute."""
    message_and_warnings(lambda: LLM("m", base_url=unused_address(), patience=6.0).ask("hi"))
    assert 1006.0 <= clock.time <= 1015.0


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        ("ConnectError", FaultKind.ABSENT),
        ("ConnectTimeout", FaultKind.ABSENT),
        ("ProxyError", FaultKind.ABSENT),
        ("PoolTimeout", FaultKind.DOWN),
        ("ReadTimeout", FaultKind.LOST),
        ("ReadError", FaultKind.LOST),
        ("RemoteProtocolError", FaultKind.LOST),
        ("UnsupportedProtocol", FaultKind.WRONG),
    ],
)
def test_errors_of_the_transport_tell_whether_a_server_is_absent(monkeypatch, clock, cause, kind):
    """Connections that could not be made, and others."""

    def answer(path, body):
        raise getattr(_transport(), cause)("that is why")

    fault = Server(in_process(monkeypatch, answer), "none").post(
        "/chat/completions", {"model": "m"}, 5.0
    )
    assert fault.kind == kind and ("time limit" in fault.message or "that is why" in fault.message)


@pytest.mark.parametrize("fault", [503, 429, 500, 529])
def test_a_server_that_fails_is_not_absent(monkeypatch, clock, fault):
    """For example while a model loads: no warning, and the outcome is infrastructure."""
    answer, _ = refusing(status=fault)
    result = LLM("m", base_url=in_process(monkeypatch, answer)).ask("hi")
    assert result.outcome == AnswerOutcome.INFRASTRUCTURE


def test_a_server_that_answered_before_is_waited_for_longer(monkeypatch, clock):
    """Five minutes from when it died; the run then ends and keeps its results."""
    alive = [6]

    def answer(path, body):
        alive[0] -= 1
        return (
            (200, {}, FINE.replace(b"fine", str(alive[0]).encode()))
            if alive[0] >= 0
            else absent(clock)
        )

    url = in_process(monkeypatch, answer)
    search = texts_by(LLM("m", base_url=url), budget=Budget(calls=40))
    message, warned = message_and_warnings(lambda: search.run(progress=False))
    assert url in message and len(warned) == 1 and "300 s" in warned[0]
    assert 1300.0 <= clock.time <= 1320.0
    assert search.commits[-1].evaluations == 3 + 6 and search.spent.calls == 6


def test_a_server_that_comes_back_in_time_is_asked_again(monkeypatch, clock):
    """Half a minute without it costs nothing but time."""
    url = in_process(
        monkeypatch, lambda path, body: (200, {}, FINE) if clock.time > 1030 else absent(clock)
    )  # fmt: skip
    with pytest.warns(UserWarning, match=url):
        result = LLM("m", base_url=url, prices={"m": (1, 1)}).ask("hi")
    assert result.ok and result.text == "a fine text" and result.cost.calls == 1


def test_of_two_models_the_absent_one_is_named(monkeypatch, clock):
    """The run ends, whether the model is that of an operator, of a judge, or of embeddings."""
    count = itertools.count()
    another = lambda path, body: (200, {}, FINE.replace(b"fine", str(next(count)).encode()))
    good, bad = in_process(monkeypatch, another), unused_address()
    both = Portfolio(
        [Rewrite(LLM("a", base_url=url), "Vary: {genome}", f"by {url}") for url in (good, bad)]
    )
    writer, absent_one = LLM("a", base_url=good), LLM("b", base_url=bad)
    rating = Rating(absent_one, "How good? {genome}")
    judges = [
        rating,
        Fallback((rating, replace(rating, ask=writer))),
        Poles(("bad",), ("good",), Embedder("e", bad)),
    ]
    searches = [texts_by(None, operator=both, budget=Budget(evaluations=40))]
    searches += [
        partial(texts_by, writer, judge=judge, budget=Budget(evaluations=40)) for judge in judges
    ]
    for search in searches:
        paces._PACES.clear()
        clock.time = 1000.0
        built = search() if callable(search) else search
        message, _ = message_and_warnings(partial(built.run, progress=False))
        assert bad in message and good not in message and clock.time <= 1080.0


def test_an_absence_begins_anew_after_a_time_without_attempts():
    """A search that starts again, in a notebook for example, waits and warns again."""
    presence = Presence()
    with pytest.warns(UserWarning, match="trying for 60 s"):
        assert presence.record_absence("a", "refused", 0.0, None) == 60.0
    assert presence.record_absence("a", "refused", 50.0, None) == 60.0
    with pytest.warns(UserWarning, match="trying for 60 s"):
        later = 51.0 + FORGET_AFTER
        assert presence.record_absence("a", "refused", later, None) == later + 60.0
    presence.record_reply()
    with pytest.warns(UserWarning, match="trying for 300 s"):
        assert presence.record_absence("a", "refused", 500.0, None) == 800.0


@pytest.mark.parametrize(
    "answer",
    [
        lambda path, body: (503, {}, b"loading"),
        lambda path, body: (429, {}, b""),
        lambda path, body: (429, {"retry-after": "1000000000"}, b""),
        lambda path, body: (200, {}, b"<html>Sign in</html>"),
        lambda path, body: (200, {}, b""),
    ],
    ids=["503", "429", "429 for years", "a page", "nothing"],
)
@pytest.mark.parametrize("budget", [Budget(calls=10**6), Budget(evaluations=100)], ids=str)
def test_a_run_in_which_all_calls_fail_ends(monkeypatch, clock, answer, budget):
    """After some calls in a row, with the server and the last reason.

    No budget is ever used up.
    """
    url = in_process(monkeypatch, answer)
    search = texts_by(LLM("m", base_url=url, patience=20.0), budget=budget)
    message, _ = message_and_warnings(lambda: search.run(progress=False))
    assert "5 calls in a row got no answer" in message and url in message
    assert search.commits[-1].evaluations == 3
    assert search.summary()["outcomes"]["infrastructure"] == 4


def test_candidates_that_were_never_made_are_no_evaluations_after_a_resume(
    monkeypatch, clock, tmp_path
):
    """The note is on disk, so that a resumed run counts as the first did."""
    count = [0]

    def answer(path, body):
        count[0] += 1
        fine = 200, {}, FINE.replace(b"fine", str(count[0]).encode())
        return (200, {}, b"<html>") if 3 <= count[0] < 15 else fine

    url = in_process(monkeypatch, answer)
    make = lambda **place: texts_by(
        LLM("m", base_url=url, patience=1e6), run=tmp_path / "run", **place
    )
    with make(budget=Budget(evaluations=8)) as first:
        first.run(progress=False)
        outcomes, dump, sent = first.summary()["outcomes"], first.ledger.dump(), count[0]
    assert outcomes == {"ok": 8, "infrastructure": 2}
    with make(budget=Budget(evaluations=8), resume=True) as again:
        assert (
            again.ledger.dump() == dump and again.commits[-1].evaluations == 8 and count[0] == sent
        )


def test_overlapping_calls_without_an_answer_count_as_one():
    """An answer to any call resets the count."""
    fruitless = Fruitless()
    assert [fruitless.count_failure(0.0, 10.0) for _ in range(50)] == [1] * 50
    calls = [(11.0, 20.0), (5.0, 21.0), (20.0, 30.0)]
    assert [fruitless.count_failure(since, now) for since, now in calls] == [2, 2, 3]
    fruitless.reset()
    assert fruitless.count_failure(0.0, 40.0) == 1


def test_occasional_answers_keep_a_run_going(monkeypatch, clock):
    """Some calls get no answer, but never five in a row: the run reaches its end."""
    count = [0]

    def answer(path, body):
        count[0] += 1
        fine = count[0] % 14 == 0  # of six attempts at a call each
        return (200, {}, FINE.replace(b"fine", str(count[0]).encode()) if fine else b"<html>")

    url = in_process(monkeypatch, answer)
    monkeypatch.setattr(paces, "OUTAGE", 1000)
    search = texts_by(LLM("m", base_url=url, patience=1e6), budget=Budget(evaluations=8)).run(
        progress=False
    )
    assert (
        search.commits[-1].evaluations == 8
        and search.summary()["outcomes"]["infrastructure"] == 10
    )


def test_invalid_addresses_and_keys_raise_before_a_request():
    """The error names the setting; it shows no name and no password of an address."""
    for address in ("localhost:1/v1", "http://[::1", "ftp://a/v1", "http://"):
        with pytest.raises(ModelError, match="base_url"):
            LLM("m", base_url=address, patience=1.0).ask("hi")
    for key in ("sk-secret\n", " sk-secret", "sk-sécret", "sk\x00secret"):
        with pytest.raises(ModelError, match="OPENAI_API_KEY") as refused:
            LLM("m", base_url="http://127.0.0.1:9/v1", api_key=key).ask("hi")
        assert "secret" not in str(refused.value)
    server = LLM("m", base_url="http://me:pass@host:1/v1").server
    assert server.address == "http://host:1/v1"


def test_calls_that_wait_survive_an_outage(monkeypatch, clock):
    """A server fails for two minutes, and then all calls are answered."""
    url = in_process(
        monkeypatch, lambda path, body: (200, {}, FINE) if clock.time > 1120 else (502, {}, b"")
    )
    assert LLM("m", base_url=url).ask("hi").ok
    assert FAULTS["broken"].status == 500 and error(429, "later").status == 429

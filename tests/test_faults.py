"""Runs with a model through kills, bad servers and interrupts: nothing is lost, and the run comes
to its end.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import qdkit
from qdkit import LLM
from qdkit.archives import Grid
from qdkit.llm.pace import pace_of
from qdkit.operators import Rewrite
from qdkit.runs.ledger import DamagedRun, Ledger
from qdkit.testing import FAULTS, Hang, ModelServer, error

from .test_models import variation
from .worlds import Hasty, Texts, search_of

ROOT = Path(__file__).parents[1]
STEPS = 40


def search(url, in_flight=8, patience=300.0, timeout=20.0, **settings):
    model = LLM("m", base_url=url, max_tokens=64, patience=patience, timeout=timeout)
    settings = {"batch": 1, "seed": 7, "ahead": 16} | settings
    return search_of(
        Texts(),
        Grid((8, 5), Texts.bounds),
        Rewrite(model, "Vary: {genome}"),
        in_flight=in_flight,
        **settings,
    )


class Moody:
    """Answers by `variation`, or with a fault as a seeded die falls.

    At most three in a row for a prompt.
    """

    def __init__(self, faults, seed=0):
        self.faults, self.random, self.lock, self.row = (
            faults,
            random.Random(seed),
            threading.Lock(),
            {},
        )

    def __call__(self, body):
        prompt = body["messages"][-1]["content"]
        with self.lock:
            fault = self._thrown()
            self.row[prompt] = self.row.get(prompt, 0) + 1 if fault is not None else 0
            return variation(body) if fault is None or self.row[prompt] > 3 else fault

    def _thrown(self):
        die = self.random.random()
        for share, fault in self.faults:
            if die < share:
                return fault
            die -= share
        return None


@pytest.fixture(scope="module")
def undisturbed():
    """The run that nothing happens to."""
    with ModelServer(variation) as server:
        return search(server.url).run(STEPS, progress=False).ledger.dump()


def child(url, path, moment):
    """A process that makes the run and kills itself at its `moment`-th write to the ledger.

    Counted are the calls that write, of which every run has as many: answers that come together
    are one transaction.
    """
    script = f"""
import os, signal, threading
from qdkit.runs.ledger import Ledger
from tests.test_faults import search, STEPS
writes, lock = 0, threading.Lock()
def killing(original):
    def write(ledger, *row):
        global writes
        with lock:
            writes += 1
            if writes == {moment}:
                os.kill(os.getpid(), signal.SIGKILL)
        return original(ledger, *row)
    return write
for name in ("commit", "keep", "event"):
    setattr(Ledger, name, killing(getattr(Ledger, name)))
search({url!r}, run={str(path)!r}).run(STEPS, progress=False)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def killed_and_resumed(path, moment):
    """The dump of the resumed run, what it asked, and the questions whose answers were on disk at
    the kill.
    """
    with ModelServer(variation) as server:
        child(server.url, path, moment)
        kept = qdkit.load(path)
        answered = [
            request["messages"][-1]["content"] for _, _, request, _ in kept.ledger.answers()
        ]
        kept.close()
        before = len(server.log)
        with search(server.url, run=path, resume=True) as again:
            again.run(STEPS - len(again.commits), progress=False)
            dump = again.ledger.dump()
        asked = [exchange.body["messages"][-1]["content"] for exchange in server.log[before:]]
        every = [request["messages"][-1]["content"] for _, _, request, _ in again_answers(path)]
    for prompt in every:  # as often as the whole run asks it, less what was answered before
        assert asked.count(prompt) == every.count(prompt) - answered.count(prompt), prompt
    return dump


def again_answers(path):
    ledger = Ledger.open(path)
    answers = list(ledger.answers())
    ledger.close()
    return answers


@pytest.mark.parametrize("moment", [5, 31])
def test_a_run_with_calls_in_flight_that_is_killed_goes_on_to_the_same_end(
    tmp_path, undisturbed, moment
):
    """No answer that was on disk is asked for again, and the dump is that of the undisturbed
    run.
    """
    assert killed_and_resumed(tmp_path / "run", moment) == undisturbed


@pytest.mark.soak
@pytest.mark.parametrize("moment", sorted(random.Random(0).sample(range(2, 70), 20)))
def test_soak_killed_at_twenty_random_moments(tmp_path, undisturbed, moment):
    """The same at moments drawn at random."""
    assert killed_and_resumed(tmp_path / "run", moment) == undisturbed


@pytest.mark.parametrize(
    "faults",
    [
        [(0.3, FAULTS["busy"]), (0.1, FAULTS["broken"])],
        [(0.1, FAULTS["bad json"]), (0.1, FAULTS["cut off"]), (0.1, FAULTS["html"])],
        [(0.2, FAULTS["reset"]), (0.1, FAULTS["overloaded"])],
    ],
    ids=["30 % 429 and 10 % 500", "30 % malformed", "resets and overload"],
)
def test_a_server_that_fails_often_costs_calls_and_no_candidate(undisturbed, faults):
    """The run ends as the undisturbed one: faults that asking again mends leave no trace in it."""
    with ModelServer(Moody(faults)) as server:
        pace_of(server.url, "m").clock = Hasty()
        made = search(server.url).run(STEPS, progress=False)
        assert len(server.log) > STEPS
    rows = lambda dump: [
        row for row in dump.splitlines() if row.startswith(('["candidate"', '["commit"'))
    ]
    assert rows(made.ledger.dump()) == rows(undisturbed)


def test_an_outage_loses_nothing_and_costs_at_most_twice_the_calls(undisturbed):
    """While the server is away one call at a time tries it.

    The run then goes on to the same end.
    """
    refused, lock = [0], threading.Lock()

    def says(body):
        with lock:
            if len(server.log) > 12 and refused[0] < 14:
                refused[0] += 1
                return FAULTS["overloaded"]
        return variation(body)

    with ModelServer(says) as server:
        pace_of(server.url, "m").clock = Hasty()
        made = search(server.url, patience=1e6).run(STEPS, progress=False)
        assert refused[0] == 14 and len(server.log) <= 2 * STEPS
    assert made.ledger.dump() == undisturbed


def test_a_long_retry_after_ends_its_task_and_the_others_go_on():
    """A call whose server asks to wait beyond its patience is an infrastructure fault.

    Commits do not wait for it.
    """
    refused, lock = [], threading.Lock()

    def says(body):
        prompt = body["messages"][-1]["content"]
        with lock:
            refused.extend([prompt] if not refused else [])
        later = error(429, "later", retry_after="3600")
        return later if prompt == refused[0] else variation(body)

    with ModelServer(says) as server:
        pace_of(server.url, "m").clock = Hasty()
        made = search(server.url, in_flight=2, ahead=2, patience=30.0).run(8, progress=False)
    assert made.summary()["outcomes"]["infrastructure"] >= 1
    assert len(made.commits) == 8


def test_a_hung_connection_is_given_up_and_asked_again(undisturbed):
    """A call without a byte for its `timeout` is one fault among others."""
    said = [0]

    def says(body):
        said[0] += 1
        return Hang() if said[0] == 5 else variation(body)

    with ModelServer(says) as server:
        pace_of(server.url, "m").clock = Hasty()
        made = search(server.url, timeout=0.5).run(STEPS, progress=False)
    rows = lambda dump: [
        row for row in dump.splitlines() if row.startswith(('["candidate"', '["commit"'))
    ]
    assert rows(made.ledger.dump()) == rows(undisturbed)


def test_ctrl_c_ends_a_run_whose_calls_hang_and_it_goes_on_later(tmp_path, undisturbed):
    """A real interrupt of a real process with eight calls under way ends it at once.

    Resumed, it ends the same.
    """
    path, hung = tmp_path / "run", threading.Semaphore(0)

    def says(body):
        if len(server.log) <= 10:
            return variation(body)
        hung.release()
        return Hang()

    script = (
        "from tests.test_faults import search, STEPS; "
        f"search(URL, run={str(path)!r}).run(STEPS, progress=False)"
    )
    with ModelServer(says) as server:
        code = script.replace("URL", repr(server.url))
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE)
        assert hung.acquire(timeout=60)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode != 0 and b"KeyboardInterrupt" in said
    with ModelServer(variation) as server, search(server.url, run=path, resume=True) as again:
        assert len(again.commits) > 0
        again.run(STEPS - len(again.commits), progress=False)
        assert again.ledger.dump() == undisturbed


def test_a_missing_wal_file_leaves_the_run_as_it_was_before_or_is_refused(tmp_path, undisturbed):
    """What SQLite had not yet moved into the file is made again.

    Anything else is said to be damage.
    """
    path = tmp_path / "run"
    with ModelServer(variation) as server:
        child(server.url, path, 40)
        assert (path / "run.db-wal").stat().st_size > 0
        os.remove(path / "run.db-wal")
        try:
            again = search(server.url, run=path, resume=True)
        except DamagedRun as refused:
            assert "run.db" in str(refused)
        else:
            with again:
                again.run(STEPS - len(again.commits), progress=False)
                assert again.ledger.dump() == undisturbed


def test_a_clock_that_jumps_backwards_changes_nothing(monkeypatch, undisturbed):
    """Times are told and never decide: a wall clock set back leaves the same run."""
    import time

    moments = iter(range(10**9, 0, -1000))
    monkeypatch.setattr(time, "time", lambda: float(next(moments)))
    with ModelServer(variation) as server:
        assert search(server.url).run(STEPS, progress=False).ledger.dump() == undisturbed

"""Calls that never end are abandoned and recorded, and a budget in seconds holds."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

import qdkit
from qdkit import LLM, Budget, Evaluation
from qdkit.archives import Grid
from qdkit.core.evaluating import EvaluationPool, attempt
from qdkit.core.record import Cost, Halt, Unrecorded, current, recording
from qdkit.core.time_limits import (
    Abandoned,
    Overdue,
    Revocable,
    call_watched,
    map_in_threads,
    runs_foreign_code,
)
from qdkit.operators import Rewrite
from qdkit.search.budget import BudgetTracker
from qdkit.testing import Hang, ModelServer
from tests.test_models import variation
from tests.worlds import BOX, Chatter, Jitter, Points, Texts, search_of

pytestmark = pytest.mark.filterwarnings(
    "ignore:all .* candidates of a batch failed"
)  # which they are meant to
ROOT = Path(__file__).parents[1]
FOREVER = threading.Event()  # never set: what waits for it ends with its process


class Stuck(Texts):
    """Texts; the evaluation of those longer than `most` never ends.

    It waits, or holds the interpreter lock.
    """

    def __init__(self, most=14, kept=False):
        self.most, self.kept = most, kept

    def __reduce__(self):
        return Stuck, (self.most, self.kept)

    def evaluate(self, genomes):
        if max(map(len, genomes)) > self.most:
            self.wait()
        return super().evaluate(genomes)

    def wait(self):
        if self.kept:
            re_that_never_ends()
        time.sleep(1e6)


def re_that_never_ends():
    import re

    re.match(r"(a+)+$", "a" * 64 + "b")


def texts(domain, operator=None, **settings):
    settings = {"batch": 1, "seed": 3} | settings
    return search_of(domain, Grid((8, 5), Texts.bounds), operator or Chatter(), **settings)


def outcomes(made):
    return [candidate.outcome.value for batch in made.ledger.batches() for candidate in batch]


# The calls themselves.


def test_a_watched_call_returns_and_raises_as_the_call_itself():
    """In a thread of its own, with the record of the caller."""
    in_main_thread = lambda: threading.current_thread() is threading.main_thread()
    assert call_watched(in_main_thread, lambda: "") is False
    with pytest.raises(KeyError, match="mine"):
        call_watched(lambda: {}["mine"], lambda: "")


def test_a_watched_call_is_abandoned_for_a_reason_or_after_its_seconds():
    """Whichever comes first; the error names it."""
    with pytest.raises(Overdue, match="enough"):
        call_watched(FOREVER.wait, lambda: "enough")
    with pytest.raises(Overdue, match=r"it had not ended after 0\.01 s"):
        call_watched(FOREVER.wait, lambda: "", 0.01)


def test_a_watched_call_has_the_precision_of_its_caller():
    import jax

    from qdkit.core.elites import double

    with double():
        assert call_watched(lambda: jax.numpy.ones(2).dtype, lambda: "") == np.float64
    assert call_watched(lambda: jax.numpy.ones(2).dtype, lambda: "") == np.float32


def test_an_abandoned_call_is_not_recorded_any_more():
    """Its reservation is charged once, and its later requests are refused."""
    purse, kept = BudgetTracker(Budget(calls=10)), []

    class Record(Unrecorded):
        def reserve(self, most):
            return purse.reserve(most)

        def keep(self, request, answer):
            kept.append(answer)

    record = Revocable(Record())
    with pytest.raises(Abandoned), record.reserve(Cost(calls=2)) as spend:
        assert record.revoke() == Cost(calls=2)
        assert purse.spent.calls == 2
        spend(Cost(calls=1))
        record.keep({}, {"text": "late"})
    assert purse.spent.calls == 2 and purse.left() == {"calls": 8} and kept == []
    for late in (lambda: record.recall({}), lambda: record.reserve(Cost()).__enter__()):
        with pytest.raises(Abandoned):
            late()
    assert purse.left() == {"calls": 8}


def test_foreign_code_is_distinguished_from_own_code():
    """A commit that compiles gets more time than axes that never end."""
    inside, ended = threading.Event(), threading.Event()

    def foreign():
        inside.set()
        ended.wait(60)

    threads = [threading.Thread(target=foreign), threading.Thread(target=ended.wait, args=(60,))]
    for thread in threads:
        thread.start()
    assert inside.wait(60)
    results = [runs_foreign_code(thread.ident) for thread in threads]
    ended.set()
    for thread in threads:
        thread.join(60)
    assert results == [True, False]


def test_a_map_in_threads_equals_a_map_in_sequence():
    """Results are in order. The first error is raised, and no call begins after it."""
    assert map_in_threads(lambda x: x * x, range(7), 3) == [x * x for x in range(7)]
    started = []

    def failing(x):
        started.append(x)
        raise KeyError(x)

    with pytest.raises(KeyError, match="0"):
        map_in_threads(failing, range(9), 1)
    assert started == [0]


# The evaluation of a candidate.


def test_an_evaluation_beyond_its_seconds_times_out_with_its_batch():
    """All genomes of the call time out; genomes with a call of their own time out alone."""
    stuck = Stuck()
    [(rows, found)] = attempt(stuck, ["a rose", "a very long text indeed"], 0.05)
    assert rows == slice(0, 2) and found.outcome == "timeout" and "after 0.05 s" in found.error
    workers = EvaluationPool(partial(ThreadPoolExecutor, 2), 0.2)
    first, second = [
        found for _, found in workers.attempt(stuck, ["a very long text indeed", "a rose"])
    ]
    workers.close()
    assert first.outcome == "timeout" and second.objective == [6.0]


@pytest.mark.parametrize("kept", [False, True], ids=["waiting", "keeping the lock"])
def test_a_process_that_does_not_end_is_ended(kept):
    """Also if its threads do not get to run; all other genomes are evaluated."""
    workers = EvaluationPool(partial(ProcessPoolExecutor, 2, mp_context=get_context("spawn")), 3.0)
    genomes = ["a rose", "a very long text indeed", "the sea", "a boat"]
    results = [results for _, results in workers.attempt(Stuck(kept=kept), genomes)]
    assert [one.objective for one in results if isinstance(one, Evaluation)] == [
        [6.0],
        [7.0],
        [6.0],
    ]
    assert results[1].outcome == "timeout" and "after 3 s" in results[1].error
    assert workers.attempt(Stuck(), ["a rose"])[0][1].objective == [6.0]
    workers.close()


def test_stopped_workers_evaluate_again_after_start():
    """Calls under way raise Halt."""
    workers, raised = EvaluationPool(partial(ThreadPoolExecutor, 1)), []

    def wait():
        with pytest.raises(Halt) as error:
            workers.attempt(Stuck(), ["x" * 30])
        raised.append(str(error.value))

    waiting = threading.Thread(target=wait)
    waiting.start()
    workers.stop()
    waiting.join(60)
    assert raised == ["evaluation was stopped"]
    workers.start()
    assert workers.attempt(Stuck(), ["a rose"])[0][1].objective == [6.0]
    workers.close()


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf")])
def test_a_limit_of_time_is_a_number_above_zero(seconds):
    """Other values are refused at the construction."""
    with pytest.raises(ValueError, match="a limit of time above zero"):
        texts(Texts(), seconds=seconds)


def test_time_outs_are_recorded_and_not_repeated(tmp_path):
    """The run goes on. When it is resumed, it evaluates none of them and is equal to the byte."""
    with texts(Stuck(), seconds=0.3, run=tmp_path) as made:
        made.run(12, progress=False)
        whole, became = made.ledger.dump(), outcomes(made)
    assert "timeout" in became and "ok" in became

    class Never(Stuck):
        def evaluate(self, genomes):
            raise AssertionError("it was evaluated again")

    Never.__module__, Never.__qualname__ = Stuck.__module__, Stuck.__qualname__
    with texts(Never(), seconds=0.3, run=tmp_path, resume=True) as again:
        assert again.ledger.dump() == whole
        assert again.summary()["outcomes"]["timeout"] > 0


# A budget of seconds.


class Clock:
    """The clock of a budget, which a test moves."""

    def __init__(self, made):
        self.now = 0.0
        made._loop.tracker._clock = lambda: self.now
        made._loop.tracker._opened = 0.0


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A commit on a slow machine is not taken for one that hangs."""
    monkeypatch.setattr("qdkit.search.deadlines.LAST", 20.0)
    monkeypatch.setattr("qdkit.search.deadlines.COMMIT", 120.0)


def late(made):
    """A clock that is past the budget as soon as the domain hangs."""
    clock = Clock(made)
    made.domain.wait = lambda: (setattr(clock, "now", 1e6), FOREVER.wait())
    return clock


@pytest.mark.parametrize(
    "settings", [{}, {"in_flight": 3, "ahead": 6}, {"batch": 4}], ids=["one", "many", "a batch"]
)
def test_a_budget_in_seconds_holds_if_an_evaluation_never_ends(tmp_path, settings):
    """It times out, the summary reports it, and a resumed run does not repeat it."""
    with texts(Stuck(), budget=Budget(seconds=60), run=tmp_path, **settings) as made:
        late(made)
        made.run(progress=False)
        assert "seconds are used" in made.stopped and "given up" in made.stopped
        assert made.summary()["outcomes"]["timeout"] >= 1
        whole = made.ledger.dump()
    with texts(Stuck(), budget=Budget(seconds=60), run=tmp_path, resume=True, **settings) as again:
        assert again.ledger.dump() == whole
        assert again.commits == made.commits


def test_a_budget_that_ends_with_the_seeds_is_no_error(tmp_path):
    """There are no parents, and no step starts; with more time the search reports this."""
    with texts(Stuck(most=0), batch=4, budget=Budget(seconds=60), run=tmp_path) as made:
        late(made)
        made.run(progress=False)
        assert outcomes(made) == ["timeout"] * 3
    with (
        pytest.raises(
            RuntimeError, match=r"no seed could enter .* it was still evaluated when the seconds"
        ),
        texts(
            Stuck(most=0), batch=4, budget=Budget(seconds=1e9), run=tmp_path, resume=True
        ) as again,
    ):
        again.run(progress=False)


class Hanging(Chatter):
    """An operator of which one method never ends, from the third step on."""

    def __init__(self, where, hang):
        self.where, self.hang, self.seen = where, hang, 0

    def __reduce__(self):
        return Chatter, ()

    def propose(self, key, context, n):
        self._maybe("propose")
        return super().propose(key, context, n)

    def turn(self, n):
        self._maybe("turn")
        return self

    def learn(self, batch, added):
        self.seen += 1
        self._maybe("learn")

    def _maybe(self, where):
        if where == self.where and self.seen >= 4:
            self.hang()


@pytest.mark.parametrize("where", ["propose", "turn", "learn"])
def test_a_budget_in_seconds_holds_if_an_operator_never_ends(tmp_path, where, monkeypatch):
    """Its candidates become placeholders, and that is recorded.

    Or the search ends with the state on disk.
    """
    if where != "propose":
        monkeypatch.setattr("qdkit.search.deadlines.LAST", 0.1)
    hung = []

    def hang():
        hung.append(1)
        clock.now = 1e6
        FOREVER.wait()

    operator = Hanging(where, hang)
    with texts(Texts(), operator, budget=Budget(seconds=60), run=tmp_path) as made:
        clock = Clock(made)
        made.run(progress=False)
        assert "given up" in made.stopped and len(hung) == 1
        assert len(made.commits) >= 3
        whole = made.ledger.dump()
        if where == "propose":
            assert outcomes(made)[-1] == "skipped"
        else:
            with pytest.raises(RuntimeError, match=r"Search\.resume\("):
                made.run(progress=False)
    with texts(
        Texts(), Hanging("", None), budget=Budget(seconds=60), run=tmp_path, resume=True
    ) as again:
        assert again.ledger.dump() == whole


@pytest.mark.parametrize("part", ["judge", "axes", "novelty", "lessons"])
def test_a_budget_in_seconds_holds_if_another_part_never_ends(part, monkeypatch):
    """A judge, axes, or a filter of novelty."""
    if part == "axes":
        monkeypatch.setattr("qdkit.search.deadlines.LAST", 0.1)
    hung = []

    def hang(*_):
        hung.append(1)
        clock.now = 1e6
        FOREVER.wait()

    class Filter:
        def new(self, batch, before):
            if before >= 5:
                hang()
            return np.ones(len(batch), bool)

        def learn(self, batch):
            pass

    def judge(key, batch):
        return hang() if len(made.commits) >= 4 else batch.objective

    def axes(batch):
        return hang() if len(made.commits) >= 4 else batch.features

    class Lessons:
        models, text = (), ""

        def turn(self):
            return hang if len(made.commits) >= 4 else None

        def hear(self, lesson):
            pass

        def learn(self, *_):
            pass

    parts = {"judge": judge, "axes": axes, "novelty": Filter(), "lessons": Lessons()}
    made = texts(Texts(), budget=Budget(seconds=60), **{part: parts[part]})
    clock = Clock(made)
    made.run(progress=False)
    assert hung and "given up" in made.stopped


def test_a_call_to_a_model_at_the_end_of_the_budget_is_charged_once(tmp_path):
    """It is abandoned, and its cost is reported, also by a resumed run."""
    made, clock = None, None

    def says(body):
        if len(server.log) <= 8:
            return variation(body)
        clock.now = 1e6
        return Hang()

    settings = {
        "batch": 1,
        "in_flight": 2,
        "ahead": 4,
        "budget": Budget(seconds=60, calls=100),
        "run": tmp_path,
    }
    with ModelServer(says) as server:
        model = LLM("m", base_url=server.url, max_tokens=64, timeout=60.0)
        parts = Texts(), Grid((8, 5), Texts.bounds), Rewrite(model, "Vary: {genome}")
        with search_of(*parts, **settings) as made:
            clock = Clock(made)
            made.run(progress=False)
            answered = len([*made.ledger.answers()])
            assert made.spent.calls == made.summary()["calls"] > answered
            assert made.spent.calls <= answered + 2
            whole, spent = made.ledger.dump(), made.spent
            assert "timeout" not in outcomes(made)
        with search_of(*parts, **settings, resume=True) as again:
            assert again.spent.calls == spent.calls and again.ledger.dump() == whole


class Marking(Stuck):
    """Like Stuck, and leaves a file with its process id."""

    def __init__(self, mark, most=14):
        super().__init__(most)
        self.mark = mark

    def __reduce__(self):
        return Marking, (self.mark, self.most)

    def wait(self):
        Path(self.mark).touch()
        super().wait()


def ended(pid):
    """Whether a process of this one ends within a minute.

    `Process.is_alive` says True of a process that another thread has waited for.
    """
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
            os.waitpid(pid, os.WNOHANG)
        except (ProcessLookupError, ChildProcessError):
            return True
        time.sleep(0.01)
    return False


def test_processes_that_hang_are_ended_with_the_budget(tmp_path):
    """No worker survives it."""
    mark, processes = (
        tmp_path / "stuck",
        partial(ProcessPoolExecutor, 2, mp_context=get_context("spawn")),
    )
    with texts(Marking(str(mark)), batch=4, budget=Budget(seconds=60), executor=processes) as made:
        made._loop.tracker._opened, made._loop.tracker._clock = (
            0.0,
            lambda: 1e6 if mark.exists() else 0.0,
        )
        executor, workers = made._pool._executor, []
        for _ in made.steps():
            workers = [*(executor._processes or {}).values()] or workers
        assert workers and all(ended(worker.pid) for worker in workers)
        assert "timeout" in outcomes(made), (outcomes(made), made.stopped)


def test_a_compiled_run_returns_although_its_steps_do_not_end():
    """The domain has an endless loop; the run stays as it was before the step."""
    import jax.numpy as jnp

    from qdkit.domains import Sphere
    from qdkit.operators import IsoLine

    domain = Sphere(4)
    made = qdkit.Search.compiled(
        domain,
        Grid((8, 8), domain.bounds),
        IsoLine(0.5, 0.2),
        batch=16,
        budget=Budget(seconds=0.5),
    )
    advance = made._advance
    made._advance = lambda root, state, n: FOREVER.wait() if n else advance(root, state, n)
    before = made.elites
    made.run(progress=False)
    assert "given up" in made.stopped and jnp.array_equal(made.elites.objective, before.objective)
    with pytest.raises(RuntimeError, match=r"CompiledSearch\.resume\("):
        made.run(progress=False)


def test_a_script_whose_evaluation_hangs_ends(tmp_path):
    """Abandoned threads do not keep the process alive."""
    code = f"""
from tests.test_watched import Stuck, late, texts
from qdkit import Budget
made = texts(Stuck(), budget=Budget(seconds=60), run={str(tmp_path / "run")!r})
late(made)
print(made.run(progress=False).stopped)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert ended.returncode == 0 and "given up" in ended.stdout, ended.stderr


def test_a_call_outside_a_search_has_a_record_that_refuses_nothing():
    """Until the call is abandoned."""
    with recording(Unrecorded()):
        assert call_watched(lambda: current().recall({}), lambda: "") is None


def test_an_evaluation_without_a_time_limit_runs_in_the_thread_of_the_caller():
    """So a domain may use objects that belong to one thread."""
    seen = set()

    class Where(Points):
        def evaluate(self, genomes):
            seen.add(threading.current_thread())
            return Points.evaluate(self, genomes)

    qdkit.Search(Where(), Grid((5, 5), BOX), Jitter(), batch=4).run(3, progress=False)
    assert seen == {threading.main_thread()}

"""Concurrency: the order of results, stopping, and broken executors."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest

import qdkit
from qdkit.core.evaluating import EvaluationPool, attempt
from qdkit.search.concurrency import Flow

from .worlds import Deadly, Points, texts


class Gate:
    """Lets workers through in an order that the test chooses."""

    def __init__(self, order):
        self.order, self.turn = list(order), threading.Condition()

    def __call__(self, task):
        with self.turn:
            assert self.turn.wait_for(lambda: self.order and self.order[0] == task, timeout=10)
            self.order.pop(0)
            self.turn.notify_all()
        return task


def first(task):
    return task


def second(task, made):
    return made


def test_results_come_in_the_order_of_the_starts():
    """A task that started last may finish first, and still comes last."""
    started = iter(range(8))
    flow = Flow(Gate([3, 2, 1, 0, 7, 6, 5, 4]), second, in_flight=4, ahead=4)
    assert list(flow.run(lambda: next(started, None), 8)) == list(range(8))


def test_the_second_half_of_a_task_follows_the_first_halves_of_all_earlier_tasks():
    """This holds for any timing."""
    made, seen, numbers, late = [], [], iter(range(8)), Gate([3, 2, 1, 0, 7, 6, 5, 4])

    def make(task):
        late(task)
        made.append(task)

    def work(task, _):
        seen.append(set(range(task)) <= set(made))

    list(Flow(make, work, in_flight=4, ahead=4).run(lambda: next(numbers, None), 8))
    assert seen == [True] * 8


def test_a_task_that_waits_for_earlier_tasks_blocks_no_thread():
    """While the first task is slow, another thread makes all others, and finishes them later."""
    others, numbers = threading.Semaphore(0), iter(range(6))

    def make(task):
        if task:
            others.release()
        else:
            assert all(others.acquire(timeout=10) for _ in range(5))
        return task

    flow = Flow(make, second, in_flight=2, ahead=6)
    assert list(flow.run(lambda: next(numbers, None), 6)) == list(range(6))


@pytest.mark.parametrize("seed", range(20))
def test_a_flow_that_stops_at_any_moment_has_the_same_results(seed):
    """After errors and stops at any time, every task is taken once, in order."""
    random, numbers, taken, made, wrong = (
        np.random.default_rng(seed),
        iter(range(60)),
        [],
        set(),
        [],
    )
    faults = {(half, int(i)) for half in ("made", "done") for i in random.integers(0, 60, 6)}
    naps = random.uniform(0, 1e-3, 60)

    def make(task):
        threading.Event().wait(naps[task])
        if ("made", task) in faults:
            faults.discard(("made", task))
            raise KeyError("made")
        made.add(task)
        return task

    def work(task, made_of_it):
        if ("done", task) in faults:
            faults.discard(("done", task))
            raise KeyError("done")
        wrong.extend(i for i in range(task) if i not in made)
        return made_of_it

    flow = Flow(make, work, in_flight=4, ahead=16)
    while len(taken) < 60:
        try:
            for done in flow.run(lambda: next(numbers, None), int(random.integers(1, 9))):
                taken.append(done)
                if random.random() < 0.1:
                    break
        except KeyError:
            pass
    assert taken == list(range(60)) and not wrong and not faults


@pytest.mark.parametrize(("in_flight", "ahead"), [(1, 1), (1, 3), (4, 4), (2, 7)])
def test_start_i_comes_after_exactly_the_results_that_ahead_requires(in_flight, ahead):
    """Start i waits for max(0, i + 1 - ahead) results, no more and no fewer."""
    seen, taken, numbers = [], 0, iter(range(12))

    def start():
        number = next(numbers, None)
        if number is not None:
            seen.append((number, taken))
        return number

    for _ in Flow(lambda task: task, second, in_flight=in_flight, ahead=ahead).run(start, 12):
        taken += 1
    assert seen == [(i, max(0, i + 1 - ahead)) for i in range(12)]


def test_a_stopped_flow_continues_where_it_was():
    """Tasks that had started come next, once."""
    done, numbers = [], iter(range(20))
    flow = Flow(first, lambda task, made: done.append(task) or task, in_flight=2, ahead=5)
    some = [
        task for _, task in zip(range(3), flow.run(lambda: next(numbers, None), 20), strict=False)
    ]
    rest = list(flow.run(lambda: next(numbers, None), 20))
    assert some + rest == list(range(20))


@pytest.mark.parametrize("half", [0, 1])
def test_an_error_in_a_task_is_raised_in_its_turn_and_affects_no_other_task(half):
    """An error in either half is raised when the result is taken.

    If the flow continues, that task runs once more.
    """
    tried = []

    def work(task, made=None):
        tried.append(task)
        if task == 2 and tried.count(2) == 1:
            raise KeyError("bug")
        return task

    halves = (work, second) if half == 0 else (first, work)
    numbers, out = iter(range(5)), []
    flow = Flow(*halves, in_flight=2, ahead=3)
    with pytest.raises(KeyError, match="bug"):
        out.extend(flow.run(lambda: next(numbers, None), 5))
    assert out == [] or out == [0, 1]
    assert list(flow.run(lambda: next(numbers, None), 5)) == [2, 3, 4]


@pytest.mark.parametrize("in_flight", [1, 4, 16])
def test_the_run_does_not_depend_on_the_tasks_in_flight(in_flight):
    """With equal `ahead`, the number of threads changes nothing but the time."""
    assert (
        texts(in_flight=in_flight, ahead=16).run(60, progress=False).ledger.dump()
        == texts(in_flight=2, ahead=16).run(60, progress=False).ledger.dump()
    )


class Fragile(Executor):
    """Runs calls at once in this thread, and breaks at certain calls."""

    def __init__(self, breaks):
        self.breaks, self.broken = breaks, False

    def submit(self, fn, *args):
        if self.broken:
            raise BrokenProcessPool("broken before")
        future = Future()
        if self.breaks and self.breaks.pop(0):
            self.broken = True
            future.set_exception(BrokenProcessPool("a worker died"))
        else:
            future.set_result(fn(*args))
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):
        self.broken = True


def test_a_broken_executor_is_replaced_and_its_tasks_run_again():
    """The death of a worker costs only the time to evaluate again."""
    executors = []
    workers = EvaluationPool(
        lambda: executors.append(Fragile([False, True] if not executors else [])) or executors[-1]
    )
    tried = workers.attempt(Points(), np.full((4, 2), 0.25))
    assert len(executors) == 2
    assert [found.objective.tolist() for _, found in tried] == [[0.5]] * 4


def test_a_candidate_that_kills_every_worker_affects_no_other():
    """After three dead workers its outcome is infrastructure, and it is never scored."""
    workers = EvaluationPool(lambda: Fragile([True]))
    ((_, found),) = workers.attempt(Points(), np.full((1, 2), 0.25))
    assert found.outcome == "infrastructure" and "died" in found.error


def test_an_executor_instead_of_a_function_that_makes_one_is_refused():
    """It could not be replaced when it breaks."""
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(TypeError, match="a function that makes one"),
    ):
        EvaluationPool(pool)


def test_a_worker_process_that_dies_costs_only_the_candidate_that_ended_it():
    """With real processes, one genome kills its worker at every try.

    All others are evaluated.
    """
    workers = EvaluationPool(partial(ProcessPoolExecutor, 1, mp_context=get_context("spawn")))
    tried = workers.attempt(Deadly(), ["a rose", "die", "the sea"])
    workers.close()
    found = [found for _, found in tried]
    assert [found[0].objective, found[2].objective] == [[6.0], [7.0]]
    assert found[1].outcome == "infrastructure"


def name_of(error):
    return type(error).__name__


class Unprintable(Exception):
    """An error whose message cannot be made."""

    def __str__(self):
        raise RuntimeError("never")


@pytest.mark.parametrize(
    "error",
    [
        asyncio.CancelledError(),
        GeneratorExit(),
        BaseException("odd"),
        Unprintable(),
        SystemExit(3),
    ],
)
@pytest.mark.parametrize("seconds", [None, 60.0], ids=["here", "watched"])
def test_any_error_of_an_evaluation_is_its_own_failure(error, seconds):
    """Also an error that is no `Exception`, as of asyncio, and one without a message."""

    class Raising(Points):
        def evaluate(self, genomes):
            if len(genomes) > 1 or genomes[0][0] > 0:
                raise error
            return super().evaluate(genomes)

    genomes = np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32)
    (_, guilty), (_, innocent) = attempt(Raising(), genomes, seconds)
    assert guilty.outcome == "failed" and type(error).__name__ in guilty.error
    assert len(innocent.objective) == 1


def test_an_interrupt_is_no_failure_of_a_candidate():
    """Ctrl-C ends a search at any time."""

    class Interrupted(Points):
        def evaluate(self, genomes):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt(Interrupted(), np.zeros((2, 2), np.float32))


def test_evaluation_on_an_executor_gives_the_same_run():
    """The results do not depend on where candidates are evaluated."""
    on_threads = texts(executor=lambda: ThreadPoolExecutor(2)).run(20, progress=False)
    assert on_threads.ledger.dump() == texts().run(20, progress=False).ledger.dump()
    on_threads.close()


def test_ctrl_c_stops_at_once_and_loses_nothing():
    """The interrupt reaches the caller, and the run resumes to the same end."""

    class Interrupted(qdkit.Operator):
        name = "chatter"
        left = 1

        def propose(self, key, context, n):
            if int(context.parents.id[0]) >= 0 and Interrupted.left and len(search.commits) > 8:
                Interrupted.left = 0
                raise KeyboardInterrupt
            return texts_operator.propose(key, context, n)

        def __repr__(self):
            return repr(texts_operator)

    uninterrupted = texts()
    texts_operator = uninterrupted.operator
    uninterrupted.run(30, progress=False)
    search = texts()
    search._loop.parts = replace(search._loop.parts, operator=Interrupted())
    with pytest.raises(KeyboardInterrupt):
        search.run(30, progress=False)
    search.run(30 - len(search.commits), progress=False)
    assert search.ledger.dump() == uninterrupted.ledger.dump()


@pytest.mark.parametrize("ahead", [1, 3])
def test_a_result_that_could_not_be_taken_comes_first_again(ahead):
    """If taking it raises, nothing is lost, and its work is not repeated."""
    worked, failing, numbers = [], [2], iter(range(5))

    def take(done):
        if done in failing:
            raise OSError("no room")
        return done

    flow, out = Flow(first, lambda task, made: worked.append(task) or task, ahead=ahead), []
    with pytest.raises(OSError, match="no room"):
        out.extend(flow.run(lambda: next(numbers, None), 5, take))
    failing.clear()
    assert list(flow.run(lambda: next(numbers, None), 5, take)) == [2, 3, 4]
    assert worked == [0, 1, 2, 3, 4]


def test_no_work_begins_while_a_task_is_given_up():
    """So whoever gives it up knows whether it was begun."""
    gate, begun, seen = threading.Event(), threading.Event(), []

    def make(task):
        gate.wait(60)
        return task

    def work(task, made):
        begun.set()
        return made

    def give_up(task, made, is_begun):
        if seen:
            return None
        gate.set()
        seen.append((is_begun, begun.wait(0.3)))
        return "given up"

    flow = Flow(make, work, in_flight=1, ahead=1, watched=True)
    assert list(flow.run(iter([1, None]).__next__, 1, give_up=give_up)) == ["given up"]
    assert seen == [(False, False)]

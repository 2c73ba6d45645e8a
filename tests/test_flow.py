"""Concurrency: order whatever the timing, stopping at once, executors that break."""

from __future__ import annotations

import threading
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest

import qdkit
from qdkit.flow import Flow, Workers

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
    """The last to start may finish first, and is still handed over last."""
    started = iter(range(8))
    flow = Flow(Gate([3, 2, 1, 0, 7, 6, 5, 4]), second, in_flight=4, ahead=4)
    assert list(flow.run(lambda: next(started, None), 8)) == list(range(8))


def test_the_second_half_of_a_task_sees_the_first_of_all_before_it():
    """However late an earlier task is made, and whoever is made sooner."""
    made, seen, numbers, late = [], [], iter(range(8)), Gate([3, 2, 1, 0, 7, 6, 5, 4])

    def make(task):
        late(task)
        made.append(task)

    def work(task, _):
        seen.append(set(range(task)) <= set(made))

    list(Flow(make, work, in_flight=4, ahead=4).run(lambda: next(numbers, None), 8))
    assert seen == [True] * 8


def test_a_task_that_waits_for_those_before_it_holds_no_thread():
    """While the first is slow, one other thread makes all that may be started, and then goes on with them."""
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
def test_a_flow_left_at_any_moment_comes_to_the_same_end(seed):
    """Errors and callers that leave, whatever the timing: every task is taken once, in order, after those before it."""
    random, numbers, taken, made, wrong = np.random.default_rng(seed), iter(range(60)), [], set(), []
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
def test_start_i_happens_after_exactly_as_many_results_as_ahead_says(in_flight, ahead):
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


def test_a_flow_that_was_left_goes_on_where_it_was():
    """What was started when the caller stopped is handed over next, once."""
    done, numbers = [], iter(range(20))
    flow = Flow(first, lambda task, made: done.append(task) or task, in_flight=2, ahead=5)
    some = [task for _, task in zip(range(3), flow.run(lambda: next(numbers, None), 20), strict=False)]
    rest = list(flow.run(lambda: next(numbers, None), 20))
    assert some + rest == list(range(20))


@pytest.mark.parametrize("half", [0, 1])
def test_an_error_in_the_work_is_raised_in_its_turn_and_leaves_the_rest(half):
    """A bug in either half raises where the result is taken; taken up again, that task is tried once more."""
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
def test_the_run_is_the_same_however_many_are_in_flight(in_flight):
    """With equal `ahead`, the number of threads changes nothing but the time."""
    assert (
        texts(in_flight=in_flight, ahead=16).run(60, progress=False).ledger.dump()
        == texts(in_flight=2, ahead=16).run(60, progress=False).ledger.dump()
    )


class Fragile(Executor):
    """Runs at once in this thread, and breaks at the calls that it was told."""

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


def test_a_broken_executor_is_made_anew_and_its_tasks_run_again():
    """A worker's death costs nothing but the time to evaluate again."""
    made = []
    workers = Workers(lambda: made.append(Fragile([False, True] if not made else [])) or made[-1])
    tried = workers.attempt(Points(), np.full((4, 2), 0.25))
    assert len(made) == 2
    assert [found.objective.tolist() for _, found in tried] == [[0.5]] * 4


def test_a_candidate_that_kills_every_worker_is_nobody_elses_misfortune():
    """After three dead workers it is recorded as an infrastructure fault, never scored."""
    workers = Workers(lambda: Fragile([True]))
    ((_, found),) = workers.attempt(Points(), np.full((1, 2), 0.25))
    assert found.outcome == "infrastructure" and "died" in found.error


def test_an_executor_that_is_handed_in_ready_made_is_refused():
    """It could not be made again when it breaks."""
    with ThreadPoolExecutor(1) as pool, pytest.raises(TypeError, match="a function that makes one"):
        Workers(pool)


def test_a_worker_process_that_dies_costs_no_candidate_but_the_guilty():
    """With real processes, one genome kills its worker each time it is tried; the others are evaluated."""
    workers = Workers(partial(ProcessPoolExecutor, 1, mp_context=get_context("spawn")))
    tried = workers.attempt(Deadly(), ["a rose", "die", "the sea"])
    workers.close()
    found = [found for _, found in tried]
    assert [found[0].objective, found[2].objective] == [[6.0], [7.0]]
    assert found[1].outcome == "infrastructure"


def test_evaluation_on_an_executor_gives_the_same_run():
    """Where candidates are evaluated does not matter to what comes out."""
    on_threads = texts(executor=lambda: ThreadPoolExecutor(2)).run(20, progress=False)
    assert on_threads.ledger.dump() == texts().run(20, progress=False).ledger.dump()
    on_threads.close()


def test_ctrl_c_stops_at_once_and_loses_nothing():
    """The interrupt reaches the caller, and the run can be taken up again to the same end."""

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

    whole = texts()
    texts_operator = whole.operator
    whole.run(30, progress=False)
    search = texts()
    search.operator = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        search.run(30, progress=False)
    search.run(30 - len(search.commits), progress=False)
    assert search.ledger.dump() == whole.ledger.dump()


@pytest.mark.parametrize("ahead", [1, 3])
def test_a_result_that_could_not_be_taken_comes_first_again(ahead):
    """Nothing is lost where taking it raises, and its work is not done twice."""
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

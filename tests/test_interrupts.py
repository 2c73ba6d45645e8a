"""Signals and long calls: nothing is lost, nothing is stuck, and the caller's handlers are put
back.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from qdkit.archives import Grid
from qdkit.domains import Sphere
from qdkit.operators import IsoLine
from qdkit.search.compiled import EVERY, SHARE, Snapshots
from qdkit.search.signals import Handling
from tests.worlds import BOX, Jitter, Points, Texts, points, search_of, texts

ROOT = Path(__file__).parents[1]
RAISED = {
    signal.SIGINT: (KeyboardInterrupt, 130),
    signal.SIGTERM: (SystemExit, 143),
    signal.SIGHUP: (SystemExit, 129),
}
every_signal = pytest.mark.parametrize("number", RAISED, ids=lambda number: number.name)


class Signalled(Points):
    """Points, during whose `at`-th evaluation a signal comes; `__repr__` is that of the points."""

    def __init__(self, number, at):
        super().__init__()
        object.__setattr__(self, "number", number)
        object.__setattr__(self, "left", [at])

    def evaluate(self, genomes):
        self.left[0] -= 1
        if self.left[0] == 0:
            signal.raise_signal(self.number)
        return Points.evaluate(self, genomes)


def search(domain, **settings):
    return search_of(domain, Grid((5, 5), BOX), Jitter(), **{"batch": 8, "seed": 3} | settings)


def compiled(**settings):
    domain = Sphere(4)
    return search_of(
        domain, Grid((8, 8), domain.bounds), IsoLine(0.5, 0.2), batch=16, compiled=True, **settings
    )


def handlers():
    return [signal.getsignal(number) for number in RAISED]


def rows(made):
    """What a run holds, but for the name of its domain and the files that it is made of."""
    return [
        line
        for line in made.ledger.dump().splitlines()
        if not line.startswith(('["domain"', '["sources"'))
    ]


@every_signal
def test_a_signal_ends_a_run_between_two_steps(tmp_path, capfd, number):
    """The step is kept, one line says how to go on, and the run comes to the end of the
    undisturbed one.
    """
    error, _ = RAISED[number]
    before = handlers()
    interrupted = search(Signalled(number, 4), run=tmp_path / "run")
    with interrupted, pytest.raises(error) as raised:
        interrupted.run(9, progress=False)
    assert getattr(raised.value, "code", None) in (None, 128 + number)
    assert handlers() == before
    printed = capfd.readouterr().err.splitlines()
    assert printed == [
        f"qdkit: stopped by {number.name}; go on with: "
        f"Search.resume({str(tmp_path / 'run')!r}, ...)"
    ]
    assert (tmp_path / "run" / "elites.npz").exists()
    assert len(interrupted.commits) == 4
    with search(Signalled(number, 99), run=tmp_path / "run", resume=True) as again:
        again.run(9 - 4, progress=False)
        assert rows(again) == rows(points().run(9, progress=False))


@every_signal
def test_an_interrupted_search_goes_on_in_the_same_process(number):
    """As if nothing had been, for whoever catches what is raised."""
    made = search(Signalled(number, 3))
    with pytest.raises(RAISED[number][0]):
        made.run(9, progress=False)
    made.run(9 - len(made.commits), progress=False)
    assert rows(made) == rows(points().run(9, progress=False))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_compiled_run_ends_with_its_state_on_disk(tmp_path, capfd, number):
    """It goes on from there to the elites of the undisturbed run."""
    made = compiled(run=tmp_path / "run")
    advance = made._advance
    calls = []

    def signalled(*arguments):
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(number)
        return advance(*arguments)

    made._advance = signalled
    with made, pytest.raises(RAISED[number][0]):
        made.run(400, progress=False)
    assert capfd.readouterr().err.count("go on with") == 1
    with compiled(run=tmp_path / "run", resume=True) as again:
        assert 0 < len(again.commits) - 1 < 400 and len(again.commits) == len(made.commits)
        again.run(401 - len(again.commits), progress=False)
    whole = compiled().run(400, progress=False)
    assert np.array_equal(again.elites.objective, whole.elites.objective)


def test_without_a_folder_the_line_says_that_nothing_was_kept(capfd):
    """There is nothing to go on from."""
    with pytest.raises(SystemExit):
        search(Signalled(signal.SIGTERM, 2)).run(9, progress=False)
    assert "nothing was kept on disk" in capfd.readouterr().err


def test_ignored_signals_stay_ignored():
    """As under nohup, or in a job that a shell started in the background."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        made = search(Signalled(signal.SIGHUP, 3)).run(5, progress=False)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert len(made.commits) == 5


def test_the_handler_of_the_caller_is_called_once_the_run_is_on_disk(tmp_path):
    """And is in its place again, in the loop over `steps` too."""
    heard = []

    def mine(number, frame):
        heard.append((number, (tmp_path / "elites.npz").exists()))

    before = signal.signal(signal.SIGTERM, mine)
    try:
        with search(Signalled(signal.SIGTERM, 3), run=tmp_path) as made, pytest.raises(SystemExit):
            made.run(9, progress=False)
        assert heard == [(signal.SIGTERM, True)]
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


def test_between_two_steps_the_handlers_are_those_of_the_caller():
    """Whatever the caller does in the loop, and however it is left."""
    before = handlers()
    made = points()
    for _ in made.steps(4):
        assert handlers() == before
    for _ in made.steps(4):
        break
    assert handlers() == before
    with pytest.raises(KeyboardInterrupt):
        for _ in made.steps(4):
            signal.raise_signal(signal.SIGINT)
    assert handlers() == before


def test_a_signal_during_garbage_collection_is_not_lost():
    """An exception from a handler that runs in a callback of the garbage collector is dropped: so
    it only remembers.
    """
    with pytest.raises(KeyboardInterrupt), Handling() as signals:
        signal.raise_signal(signal.SIGINT)
        assert signals.number == signal.SIGINT
        signals.check()


def test_a_scope_raises_its_signal_at_its_end():
    """No signal is lost, whether anybody looked or not."""
    done = []
    with pytest.raises(SystemExit, match="143"), Handling():
        signal.raise_signal(signal.SIGTERM)
        done.append(1)
    assert done == [1]


def test_other_threads_have_no_handlers():
    """A search in a thread of its own changes nothing, and runs to its end."""
    before, found = handlers(), []

    def other():
        made = points()
        for _ in made.steps(3):
            found.append(handlers() == before)
        made.run(3, progress=False)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join(60)
    assert found == [True] * 3 and not thread.is_alive()


def test_notebooks_get_the_usual_interrupt(monkeypatch):
    """The kernel's own handler is left alone, and raises where the code is."""
    shell = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setitem(sys.modules, "IPython", shell)
    before, during = handlers(), []

    class Watching(Points):
        def evaluate(self, genomes):
            during.append(handlers())
            return Points.evaluate(self, genomes)

    search(Watching()).run(3, progress=False)
    assert during and all(seen == before for seen in during)


SCRIPT = """
import signal, sys, time
import tests.worlds as worlds
{prepare}
worlds.points(run={run!r}).run(10**9, progress=False)
"""
TWICE = """
class Slow(worlds.Points):
    def evaluate(self, genomes):
        signal.raise_signal(signal.{name})
        signal.raise_signal(signal.{name})
        print("not reached", flush=True)
        return super().evaluate(genomes)
worlds.Points = Slow
"""


@every_signal
def test_a_second_signal_ends_the_process_at_once(tmp_path, number):
    """With the status of the signal and the same line."""
    script = SCRIPT.format(prepare=TWICE.format(name=number.name), run=str(tmp_path / "run"))
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert ended.returncode == RAISED[number][1]
    assert ended.stderr.count("go on with") == 1 and "not reached" not in ended.stdout


@every_signal
def test_a_command_ends_with_the_status_of_the_signal(tmp_path, number):
    """And one line, with which it goes on."""
    run = tmp_path / "a run"
    code = f"""
import signal
from qdkit.cli import commands as cli
from qdkit.search import loop
begun = loop.Loop.commit
def commit(self, done):
    if len(self.commits) == 3:
        signal.raise_signal(signal.{number.name})
    return begun(self, done)
loop.Loop.commit = commit
cli.main(["run", "arm", "--evaluations", "200", "--batch", "20", "--out", {str(run)!r}])
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert ended.returncode == RAISED[number][1]
    lines = [line for line in ended.stderr.splitlines() if "stopped by" in line]
    assert lines == [f"qdkit: stopped by {number.name}; go on with: qdkit resume '{run}'"]
    assert "Traceback" not in ended.stderr


@every_signal
def test_a_signal_that_is_dropped_before_a_command_begins_its_run_ends_it(tmp_path, number):
    """A library that is imported may swallow what a handler raises: here one that the domain
    imports.
    """
    (tmp_path / "own.py").write_text(f"""
import pathlib, signal
first = pathlib.Path({str(tmp_path / "first")!r})
try:
    if not first.exists():
        first.touch()
        signal.raise_signal(signal.{number.name})
except BaseException:
    pass
from tests.worlds import Points
""")
    words = ["-m", "qdkit", "run", f"{tmp_path / 'own.py'}:Points", "--evaluations", "1000"]
    ended = subprocess.run(
        [sys.executable, *words, "--batch", "50", "--out", str(tmp_path / "run")],
        cwd=ROOT, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert ended.returncode == RAISED[number][1] and "Traceback" not in ended.stderr
    assert ended.stderr.count(f"stopped by {number.name}") == 1


def test_a_step_that_waits_for_others_is_dropped(tmp_path):
    """A call to a model that does not answer holds nobody up, and the next search goes on with
    it.
    """
    asked, answer = threading.Event(), threading.Event()

    class Waiting(Texts):
        waits = True

        def evaluate(self, genomes):
            if len(made.commits) == 5:
                if not answer.is_set():
                    asked.set()
                    signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
                assert answer.wait(60)
            return super().evaluate(genomes)

    made = texts(run=tmp_path)
    made.domain = Waiting()
    made._loop.work._trial = made._loop.work._trial._replace(domain=made.domain)
    made._flow._threaded = True
    with pytest.raises(SystemExit, match="143"):
        made.run(9, progress=False)
    assert asked.is_set() and len(made.commits) == 5
    answer.set()
    made.run(9 - 5, progress=False)
    assert made.ledger.dump() == texts().run(9, progress=False).ledger.dump()
    made.close()


def test_snapshots_are_written_every_few_seconds_and_take_a_bounded_share_of_the_time():
    """A kill loses ten seconds at most; where writing is slow it is done less often."""
    now = [0.0]
    snapshots = Snapshots(lambda: now[0])
    assert EVERY + 1 < 10
    now[0] = EVERY - 0.01
    assert not snapshots.due
    now[0] = EVERY
    assert snapshots.due
    with snapshots:
        now[0] += 2.0
    written = now[0]
    now[0] = written + 2.0 * (1 / SHARE - 1) - 0.01
    assert not snapshots.due
    now[0] = written + 2.0 * (1 / SHARE - 1)
    assert snapshots.due


def test_a_child_that_was_forked_in_a_run_ends_by_a_signal():
    """It has the handlers of its parent, and does not remember for it."""
    code = """
import os, signal
from qdkit.search.signals import Handling
with Handling() as signals:
    child = os.fork()
    if child == 0:
        signal.raise_signal(signal.SIGTERM)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), signals.number)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert ended.stdout.split() == [str(-signal.SIGTERM), "0"], ended.stderr


def test_a_warning_names_the_line_of_the_script(tmp_path, monkeypatch):
    """Not one within the package, of which its reader knows nothing."""
    made = points(run=tmp_path)
    monkeypatch.setattr(
        "os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.warns(UserWarning, match="No space left") as warned:
        made.run(2, progress=False)
    assert {warning.filename for warning in warned} == {__file__}
    made.close()


STUCK = """
import threading, time
import jax, jax.numpy as jnp
from qdkit.domains import Sphere

over = threading.Event()

class Stuck(Sphere):
    '''Evaluations that do not end, in Python code that is called from C++.'''

    def __init__(self):
        super().__init__(3)

    def evaluate(self, genomes):
        def wait(x):
            print("stuck", flush=True)
            while not over.is_set():
                time.sleep(0.001)
            for _ in range(500):
                time.sleep(0.001)
            return x
        number = jax.ShapeDtypeStruct((), jnp.float32)
        jax.block_until_ready(jax.pure_callback(wait, number, jnp.float32(1)))
        raise ValueError("it was given up")
"""


def test_a_command_ends_in_order_though_an_evaluation_does_not(tmp_path):
    """When its time is used up, with status 0 and all that it prints."""
    (tmp_path / "stuck.py").write_text(STUCK)
    words = [
        "-m",
        "qdkit",
        "run",
        f"{tmp_path / 'stuck.py'}:Stuck",
        "--budget",
        "1s",
        "--out",
        str(tmp_path / "run"),
    ]
    ended = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert (ended.returncode, "FATAL" in ended.stderr) == (0, False)
    assert "".join(ended.stdout.split()).endswith("gallery.png")  # the console may break its path


@every_signal
def test_a_command_ends_by_a_signal_though_an_evaluation_does_not(tmp_path, number):
    """With the status of the signal, whatever the thread is at that is left behind."""
    (tmp_path / "stuck.py").write_text(STUCK)
    words = [
        "-m",
        "qdkit",
        "run",
        f"{tmp_path / 'stuck.py'}:Stuck",
        "--budget",
        "200s",
        "--out",
        str(tmp_path / "run"),
    ]
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        while process.stdout.readline().strip() != "stuck":
            assert process.poll() is None
        process.send_signal(number)
        _, said = process.communicate(timeout=240)
    assert (process.returncode, "FATAL" in said) == (RAISED[number][1], False)
    assert said.count("go on with") == 1


def test_a_script_waits_at_its_end_for_work_that_was_given_up():
    """Python would abort it otherwise, in the midst of C++."""
    script = (
        STUCK
        + """
import qdkit
from qdkit.archives import Grid
from qdkit.operators import Gaussian
domain = Stuck()
grid, budget = Grid((3, 3), domain.bounds), qdkit.Budget(seconds=1)
qdkit.Search(domain, grid, Gaussian(0.1), batch=1, budget=budget).run()
over.set()
print("ended")
"""
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert (ended.returncode, ended.stderr.count("FATAL")) == (0, 0)
    assert ended.stdout.strip().endswith("ended")

"""Signals at random moments of real processes: the status, one line, no child left, and the run
goes on.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from qdkit.runs.run import load
from qdkit.testing import ModelServer
from tests.test_models import variation

ROOT = Path(__file__).parents[1]
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
TRIES = int(os.environ.get("QDKIT_SIGNALS", "12"))  # of each kind; a long soak takes 50
LIMIT = 240.0  # seconds for any one process

COMMANDS = {
    "numbers": ["arm", "--evaluations", "6000", "--batch", "20"],
    "compiled": ["arm", "--compiled", "--evaluations", "3000000", "--batch", "100"],
    "programs": ["circle_packing", "--evaluations", "24", "--batch", "4"],
}
MODELS = """
from tests.test_faults import search
with search({url!r}, run={run!r}, resume={resume}, timeout=60.0) as made:
    made.run(120 - len(made.commits), progress=False)
"""


def started(kind, path, url, resume=False):
    """The process that makes or goes on with a run."""
    if kind == "models":
        words = ["-c", MODELS.format(url=url, run=str(path), resume=resume)]
    elif resume:
        words = ["-m", "qdkit", "resume", str(path)]
    else:
        words = ["-m", "qdkit", "run", *COMMANDS[kind], "--out", str(path)]
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def descendants(process):
    """The processes that it has started, and theirs."""
    listed = subprocess.run(
        ["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()[1:]]
    found, new = set(), {process.pid}
    while new := {pid for pid, parent in pairs if parent in new} - found:
        found |= new
    return found


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def begun(process, path):
    """Waits until there is a run; seconds since then are those of a random moment."""
    end = time.monotonic() + LIMIT
    while not (path / "run.db").exists():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)


def text_of(path):
    run = load(path)
    # Each sitting notes how programs are isolated in it.
    dump = [line for line in run.ledger.dump().splitlines() if '"sandbox", {"level"' not in line]
    elites = [column.tobytes() for column in (run.elites.objective, run.elites.descriptor)]
    run.close()
    return dump, elites


@pytest.fixture(scope="module")
def server():
    with ModelServer(slowly) as server:
        yield server.url


def slowly(body):
    threading.Event().wait(0.05)
    return variation(body)


@pytest.fixture(scope="module")
def undisturbed(server, tmp_path_factory):
    """By kind, the run that nothing happens to, and how many seconds it took once there was a
    folder.
    """
    found = {}

    def of(kind):
        if kind not in found:
            path = tmp_path_factory.mktemp(kind) / "run"
            process = started(kind, path, server)
            begun(process, path)
            since = time.monotonic()
            _, error = process.communicate(timeout=LIMIT)
            assert process.returncode == 0, error
            found[kind] = text_of(path), time.monotonic() - since
        return found[kind]

    return of


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
@pytest.mark.parametrize("kind", [*COMMANDS, "models"])
@pytest.mark.parametrize("trial", range(TRIES))
def test_soak_a_signal_at_a_random_moment(undisturbed, server, tmp_path, kind, trial):
    """Whatever it hits, the run ends as it should, and goes on to the bytes of the undisturbed
    one.
    """
    dice = random.Random(f"{kind} {trial}")
    whole, seconds = undisturbed(kind)
    number = dice.choice([*STATUS])
    for attempt in range(8):  # a run that was done before its signal came says nothing
        path = tmp_path / f"run-{attempt}"
        process = started(kind, path, server)
        begun(process, path)
        time.sleep(dice.uniform(0, 0.9 * seconds * 0.7**attempt))
        children = descendants(process)
        process.send_signal(number)
        sent = time.monotonic()
        _, error = process.communicate(timeout=60)
        if (process.returncode and "stopped by" in error) or process.returncode not in (
            0,
            -number,
        ):
            break
    print(f"{kind} {trial}: {number.name}, ended after {time.monotonic() - sent:.2f} s")
    # Python ends itself by SIGINT where nobody catches a KeyboardInterrupt: 130 to a shell
    assert process.returncode in {
        STATUS[number],
        -signal.SIGINT if number == signal.SIGINT else STATUS[number],
    }, error
    assert error.count("qdkit: stopped by ") == 1 and error.count("go on with") == 1, error
    end = time.monotonic() + 20
    while any(map(running, children)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not [pid for pid in children if running(pid)]
    again = started(kind, path, server, resume=True)
    _, error = again.communicate(timeout=LIMIT)
    assert again.returncode == 0, error
    assert text_of(path) == whole

"""Evaluation on a cluster of Dask: the same run as here, whatever becomes of the workers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import warnings
from concurrent.futures import BrokenExecutor, CancelledError, Future
from types import SimpleNamespace

import numpy as np
import pytest

import qdkit
from qdkit.archives import Grid
from qdkit.core.evaluating import EvaluationPool
from qdkit.core.types import Outcome
from qdkit.runs.run import load
from qdkit.search import dask as cluster
from qdkit.search.dask import dask
from tests.test_docs import blocks
from tests.worlds import Chatter, Deadly, Points, Texts, search_of

distributed = pytest.importorskip("distributed", reason="pip install -e '.[dask]'")


class Mortal(Texts):
    """Texts, of which the first that is tried on the worker named in `victim` kills it, once."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return Mortal, (self.mark,)

    def evaluate(self, genomes):
        if len(genomes[0]) > 12 and not os.path.exists(self.mark):
            with open(self.mark, "w") as file:
                file.write(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return super().evaluate(genomes)


@pytest.fixture(scope="module")
def client():
    """Two worker processes on this machine, and a client of theirs."""
    import dask as settings

    with (
        warnings.catch_warnings(),
        settings.config.set({"distributed.scheduler.allowed-failures": 1}),
    ):
        warnings.simplefilter("ignore")  # of Dask's own
        with (
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, dashboard_address=None
            ) as cluster,
            distributed.Client(cluster, set_as_default=False) as client,
        ):
            yield client


def texts(domain, **settings):
    settings = {"batch": 4, "in_flight": 4, "seed": 3} | settings
    return search_of(domain, Grid((8, 5), Texts.bounds), Chatter(), **settings)


def untitled(run):
    """All that is in a run, but for the name of what was searched."""
    return [
        line
        for line in run.ledger.dump().splitlines()
        if not line.startswith(('["domain"', '["sources"'))
    ]


def test_a_worker_killed_in_the_middle_of_a_run_costs_nothing(client, tmp_path):
    """The run is that of a machine where nobody died: every candidate is there, and evaluated."""
    with texts(
        Mortal(tmp_path / "killed"), executor=dask(client), run=tmp_path / "there"
    ) as search:
        search.run(20, progress=False)
    assert (tmp_path / "killed").exists(), "no worker was killed"
    with texts(Texts(), run=tmp_path / "here") as here:
        here.run(20, progress=False)
    assert untitled(load(tmp_path / "there")) == untitled(load(tmp_path / "here"))
    assert Outcome.INFRASTRUCTURE not in search.failures


def test_a_candidate_that_kills_every_worker_is_an_infrastructure_fault(client):
    """Dask gives up on it after some dead workers.

    Its neighbours, who stood beside it then, are evaluated.
    """
    workers = EvaluationPool(dask(client))
    tried = workers.attempt(Deadly(), ["a rose", "die", "the sea"])
    workers.close()
    found = [found for _, found in tried]
    assert [found[0].objective, found[2].objective] == [[6.0], [7.0]]
    assert (
        found[1].outcome == "infrastructure"
        and "every worker that tried it died" in found[1].error
    )


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (None, "finished", "value"),
        (KeyError("x"), "error", KeyError),
        (OSError("its workers died before it was fetched"), "finished", OSError),
        (CancelledError(), "cancelled", BrokenExecutor),
        (asyncio.CancelledError(), "cancelled", BrokenExecutor),
        (OSError("the connection was lost"), "lost", BrokenExecutor),
    ],
)
def test_every_call_of_the_cluster_ends(error, status, expected):
    """Also one whose result was computed and is lost before it is fetched."""

    class Call:
        async def _result(self):
            if error:
                raise error
            return "value"

    call, fetched = Call(), Future()
    call.status = status
    asyncio.run(cluster._fetch(call, fetched))
    if isinstance(expected, str):
        assert fetched.result(timeout=1) == expected
    else:
        assert isinstance(fetched.exception(timeout=1), expected)


def test_equal_genomes_are_tried_each_by_itself(client):
    """A noisy domain is not told its first answer twice."""

    class Noisy(Points):
        def evaluate(self, genomes):
            noise = float(np.random.default_rng().normal())
            return qdkit.Evaluation([noise] * len(genomes), [[0.5, 0.5]] * len(genomes))

    workers = EvaluationPool(dask(client))
    (_, first), (_, second) = workers.attempt(Noisy(), np.zeros((2, 2)))
    workers.close()
    assert first.objective != second.objective


def test_a_lost_cluster_is_connected_to_again(client):
    """After its executor was shut down the next evaluation makes another."""
    workers = EvaluationPool(dask(client.scheduler.address))
    assert workers.attempt(Points(), np.full((1, 2), 0.25))[0][1].objective.tolist() == [0.5]
    workers._executor.shutdown()
    assert workers.attempt(Points(), np.full((1, 2), 0.25))[0][1].objective.tolist() == [0.5]
    workers.close()


def test_a_missing_scheduler_is_reported_in_a_sentence():
    """Where nobody answers, the search says so at the door."""
    import dask as settings

    with (
        settings.config.set({"distributed.comm.timeouts.connect": "0.2s"}),
        pytest.raises(OSError, match=r"127\.0\.0\.1:1"),
    ):
        EvaluationPool(dask("tcp://127.0.0.1:1"))


def test_without_the_extra_the_error_says_how_to_install_it():
    """In a process in which `distributed` cannot be imported."""
    code = (
        "import sys; sys.modules['distributed'] = None; from qdkit.search.dask import dask; dask()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240
    )
    assert done.returncode and "pip install -e '.[dask]'" in done.stderr


def test_the_page_on_scale_runs_as_it_stands(client):
    """Its lines are Python, one after the other, with these two workers for a cluster."""
    room = {"cluster": client}
    ran = [
        text
        for language, about, text in blocks("scale.md")
        if language == "python" and about != "no-run"
    ]
    for text in ran:
        exec(compile(text, "scale.md", "exec"), room)
    assert len(ran) == 3


def test_a_cluster_without_workers_ends_the_run_in_a_sentence():
    """Nobody waits for ever for a call that nobody will do.

    A worker that comes in time is enough.
    """
    now, workers = [0.0], {}
    executor = cluster._Dask.__new__(cluster._Dask)
    executor._client = SimpleNamespace(
        status="running", scheduler_info=lambda: {"workers": workers}
    )
    executor._clock, executor._last_worker, executor._checked = lambda: now[0], 0.0, -1e9
    now[0] = cluster._PATIENCE - 1
    workers["one"] = {}
    assert executor.idle() == ""
    workers.clear()
    now[0] += cluster._PATIENCE - 1
    assert executor.idle() == ""
    now[0] += 2
    assert "has had no worker for 60 seconds: start workers" in executor.idle()

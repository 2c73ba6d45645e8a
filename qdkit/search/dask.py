"""Evaluation on many machines with Dask (the extra `dask`).

The executor outlives its workers.

    Search(domain, archive, operator, workers=Workers(executor=dask("tcp://scheduler:8786")))

See docs/scale.md for the same search on a laptop and on a cluster, and for what the order of
commits costs there.
"""

from __future__ import annotations

import asyncio
import math
import time
import weakref
from collections.abc import Callable
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from typing import Any

from qdkit.core.evaluating import Failure
from qdkit.core.extras import install_command
from qdkit.core.types import Outcome

_PATIENCE = 60.0  # seconds that a cluster may have no worker while calls wait for one
_INSTALL = f"evaluation on a cluster needs Dask: {install_command('dask')}"


def dask(where: Any = None) -> Callable[[], Executor]:
    """Returns a function that makes an executor on a Dask cluster, for `Workers(executor=...)`.

    where: the address of a scheduler, such as "tcp://10.0.0.1:8786"; a `distributed.Client` or a
      cluster of `distributed`, `dask_jobqueue` or `dask_kubernetes`, which are not closed here;
      left out, one process for each core of this machine.

    The workers need the same versions of qdkit and of what the domain needs. Each evaluation is a
    call by itself, and should take longer than the 2 ms or so of such a call. Where a worker dies,
    Dask evaluates its candidates on others. A candidate whose workers died more often than
    `distributed.scheduler.allowed-failures` (3) is tried once more, alone; if its worker dies
    again, its outcome is an infrastructure fault. Where the connection to the scheduler is lost,
    an address is connected to once more. A cluster that has had no worker for a minute ends the
    run with an error; the run can be resumed when there are workers.

    Raises ModuleNotFoundError without the extra, OSError where no scheduler answers.
    """
    _distributed()
    return lambda: _Dask(where)


class _Dask(Executor):
    """An executor on a cluster; a call that the cluster drops raises BrokenExecutor."""

    def __init__(self, where: Any, clock: Callable[[], float] = time.monotonic):
        distributed = _distributed()
        self._killed = distributed.KilledWorker
        self._own: list[Any] = []  # what it closes at shutdown, in this order
        if where is None or isinstance(where, str):
            cluster = (
                distributed.LocalCluster(threads_per_worker=1, dashboard_address=None)
                if where is None
                else where
            )
            client = distributed.Client(cluster, set_as_default=False)
            self._own = [client] if isinstance(cluster, str) else [client, cluster]
        elif isinstance(where, distributed.Client):
            client = where
        else:
            client = distributed.Client(where, set_as_default=False)
            self._own = [client]
        self._client, self._clock = client, clock
        self._last_worker = clock()  # when it was last known to have a worker
        self._checked = -math.inf
        self._calls: weakref.WeakSet[Any] = weakref.WeakSet()
        self._is_shut = False
        self._suspects = ThreadPoolExecutor(1, thread_name_prefix="qdkit-suspects")

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Calls the function on a worker."""
        result: Future[Any] = Future()
        begin = lambda: self._begin(fn, *args, **kwargs)
        begin().add_done_callback(lambda call: self._finish(call, result, begin))
        return result

    def _begin(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Calls the function on a worker; raises BrokenExecutor after the shutdown.

        The executor of `distributed` never ends a call whose workers died after its result was
        computed and before it was fetched: it expects no error from the fetching.
        """
        if self._is_shut:
            raise BrokenExecutor("the executor was shut down")
        try:
            call = self._client.submit(fn, *args, pure=False, **kwargs)  # equal genomes each
        except RuntimeError as error:  # the client was closed
            raise BrokenExecutor(str(error)) from error
        self._calls.add(call)
        fetched: Future[Any] = Future()
        self._client.loop.add_callback(_fetch, call, fetched)
        return fetched

    def idle(self) -> str:
        """A sentence where there has been no worker for `_PATIENCE` seconds; "" before that."""
        now = self._clock()
        if now - self._checked >= 1.0:
            self._checked = now
            if self._client.status == "running" and self._client.scheduler_info()["workers"]:
                self._last_worker = now
        if now - self._last_worker < _PATIENCE:
            return ""
        return (
            f"the cluster {self._client!r} has had no worker for {_PATIENCE:.0f} seconds: start "
            f"workers that can reach its "
            "scheduler (docs/scale.md), and go on with the run"
        )

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Drops the calls, and closes the cluster where it was started here."""
        self._is_shut = True
        self._suspects.shutdown(wait=wait, cancel_futures=True)
        if self._calls and self._client.status == "running":
            self._client.cancel([*self._calls])
        for part in self._own:
            part.close()
        self._own = []

    def _finish(
        self, call: Future[Any], result: Future[Any], again: Callable[[], Future[Any]] | None
    ) -> None:
        if isinstance(error := call.exception(), self._killed):
            # another candidate may have killed the workers, so each is tried once more alone
            if again is not None:
                self._suspects.submit(self._try_alone, result, again)
                return
            text = f"every worker that tried it died: {error}"
            result.set_result([(slice(0, 1), Failure(Outcome.INFRASTRUCTURE, text))])
        elif error is not None:
            result.set_exception(error)
        else:
            result.set_result(call.result())

    def _try_alone(self, result: Future[Any], again: Callable[[], Future[Any]]) -> None:
        try:
            call = again()
        except BrokenExecutor as error:  # shut down meanwhile
            result.set_exception(error)
            return
        wait([call])
        self._finish(call, result, None)


async def _fetch(call: Any, fetched: Future[Any]) -> None:
    """Gives `fetched` the result of a call of `distributed`, or its error."""
    task = asyncio.ensure_future(call._result())
    await asyncio.wait([task])
    error = None if task.cancelled() else task.exception()
    if task.cancelled() or call.status in ("cancelled", "lost"):
        fetched.set_exception(BrokenExecutor("the cluster dropped the call"))
    elif error is not None:
        fetched.set_exception(error)
    else:
        fetched.set_result(task.result())


def _distributed() -> Any:
    try:
        import distributed
    except ModuleNotFoundError:
        raise ModuleNotFoundError(_INSTALL) from None
    return distributed

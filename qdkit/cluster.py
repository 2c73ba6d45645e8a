"""Evaluation on many machines, by Dask (the extra `dask`): an executor that outlives its workers.

    Search(domain, archive, operator, batch=64, executor=dask("tcp://scheduler:8786"))

See docs/scale.md for the same search on a laptop and on a cluster, and for what the order of commits costs there.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor, wait
from typing import Any

from qdkit.flow import Failure
from qdkit.types import Outcome

INSTALL = "evaluation on a cluster needs Dask: pip install 'qdkit[dask]'"


def dask(where: Any = None) -> Callable[[], Executor]:
    """What makes an executor on a Dask cluster, for `Search(executor=...)`.

    where: the address of a scheduler, such as "tcp://10.0.0.1:8786"; a `distributed.Client` or a cluster of
      `distributed`, `dask_jobqueue` or `dask_kubernetes`, which stay their maker's to close; left out, one
      process for each core of this machine.

    The workers need qdkit and whatever the domain needs, of the same versions, and each evaluation is a call by itself:
    it should take longer than the 2 ms or so that Dask takes for one. A worker that dies costs a try: Dask gives its
    candidates to others. Those that were there when more workers died than `distributed.scheduler.allowed-failures`
    (3) are tried once more, one by one; who is there again is an infrastructure fault, never scored. Where the
    scheduler itself is lost, an address is connected to once more.

    Raises ModuleNotFoundError without the extra, OSError where no scheduler answers.
    """
    _distributed()
    return lambda: _Dask(where)


class _Dask(Executor):
    """Calls on a cluster. Its futures raise BrokenExecutor where the cluster let go of the call."""

    def __init__(self, where: Any):
        distributed = _distributed()
        self._killed = distributed.KilledWorker
        self._own: list[Any] = []  # what is closed with it, in this order
        if where is None or isinstance(where, str):
            cluster = distributed.LocalCluster(threads_per_worker=1, dashboard_address=None) if where is None else where
            client = distributed.Client(cluster, set_as_default=False)
            self._own = [client] if isinstance(cluster, str) else [client, cluster]
        elif isinstance(where, distributed.Client):
            client = where
        else:
            client = distributed.Client(where, set_as_default=False)
            self._own = [client]
        self._calls = client.get_executor(pure=False)  # of equal genomes too, each is tried
        self._suspects = ThreadPoolExecutor(1, thread_name_prefix="qdkit-suspects")

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """The call, on some worker."""
        told: Future[Any] = Future()
        try:
            call = self._calls.submit(fn, *args, **kwargs)
        except RuntimeError as error:  # the executor was shut down, or its client closed
            raise BrokenExecutor(str(error)) from error
        again = lambda: self._calls.submit(fn, *args, **kwargs)
        call.add_done_callback(lambda call: self._tell(call, told, again))
        return told

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Lets go of the calls, and of the cluster where it was started for them."""
        self._suspects.shutdown(wait=wait, cancel_futures=True)
        self._calls.shutdown(wait=wait)
        for part in self._own:
            part.close()
        self._own = []

    def _tell(self, call: Future[Any], told: Future[Any], again: Callable[[], Future[Any]] | None) -> None:
        if call.cancelled():
            told.set_exception(BrokenExecutor("the cluster let go of the call"))
        elif isinstance(error := call.exception(), self._killed):
            if again is not None:  # it may only have stood beside the one that did it, so they are tried one by one
                self._suspects.submit(self._try_alone, told, again)
                return
            why = Failure(Outcome.INFRASTRUCTURE, f"every worker that tried it died: {error}")
            told.set_result([(slice(0, 1), why)])
        elif error is not None:
            told.set_exception(error)
        else:
            told.set_result(call.result())

    def _try_alone(self, told: Future[Any], again: Callable[[], Future[Any]]) -> None:
        try:
            call = again()
        except RuntimeError as error:  # shut down meanwhile
            told.set_exception(BrokenExecutor(str(error)))
            return
        wait([call])
        self._tell(call, told, None)


def _distributed() -> Any:
    try:
        import distributed
    except ModuleNotFoundError:
        raise ModuleNotFoundError(INSTALL) from None
    return distributed

"""The worker processes that evaluate candidates: their set-up, and their end."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from pathlib import Path

_set_up: list[int] = []  # the id of this process, once it is set up


def set_up_worker() -> None:
    """Sets up this process as a worker, once.

    A worker leaves Ctrl-C to its parent, and ends when its parent ends. Does nothing in a process
    that `multiprocessing` did not start.
    """
    parent = multiprocessing.parent_process()
    if parent is None or os.getpid() in _set_up:
        return
    _set_up[:] = [os.getpid()]
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # A forked process has the handlers of its parent.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def exit_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True, name="qdkit-parent").start()


@contextmanager
def exit_after(seconds: float | None, mark: Path | None) -> Iterator[None]:
    """A context that ends this worker process after `seconds`, and leaves the file `mark` then.

    Code that holds the interpreter lock, such as a regular expression, blocks every thread of its
    process, so the process cannot interrupt it otherwise. The context does nothing without a mark,
    and outside of a worker.
    """
    if seconds is None or mark is None or multiprocessing.parent_process() is None:
        yield
        return
    with mark.open("wb") as file:
        faulthandler.dump_traceback_later(seconds, exit=True, file=file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
    mark.unlink(missing_ok=True)


def kill_workers(executor: Executor) -> None:
    """Kills the processes of an executor, if it has any, and shuts it down."""
    for process in _processes(executor):
        with suppress(OSError, ValueError):  # the process has ended, or was closed
            process.kill()
    executor.shutdown(wait=False, cancel_futures=True)


def _processes(executor: Executor) -> list[multiprocessing.process.BaseProcess]:
    """Returns the processes of a `ProcessPoolExecutor`, [] for any other executor.

    A public method that ends them exists only since Python 3.14.
    """
    return [*(getattr(executor, "_processes", None) or {}).values()]

"""The zygote: a warm interpreter that forks for each candidate and never runs any of its code.

The zygote does not read programs either, so that one candidate leaves nothing for the next: a job
is a descriptor, which only the forked child reads. One candidate runs at a time.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys

from . import program, users, walls
from .descendants import kill_descendants
from .package_finder import PackageFinder

if sys.platform == "linux":
    import fcntl

_TYPE_CHECKING = False
if _TYPE_CHECKING:
    from typing import Any


class _Prepared:
    """The settings that all candidates of a zygote share.

    settings: as `zygote._settings` gives them.
    rules: the descriptor of Landlock's rules, None without Landlock.
    threads: the limit of threads.
    """

    def __init__(self, settings: dict[str, Any], rules: int | None, threads: users.Threads):
        self.settings, self.rules, self.threads = settings, rules, threads
        self.filter = bytes.fromhex(settings["filter"])


STATUS = struct.Struct("=id")  # the wait status of a candidate and its CPU seconds
UP = b"+"  # the first byte of a result: the candidate was isolated before it began
READY = b"ready "  # followed by whose threads count towards the limit
CONTROL = 3  # the descriptor of the zygote's socket, and of the candidate's result
_HIGH = 10  # descriptors are moved to numbers from here on before they get their final ones
_REMAINS = 2.0  # seconds in which to kill what a candidate at level "none" left running


def serve_candidates() -> None:
    """Serves the socket that is its standard input until the caller closes it or ends."""
    gc.disable()  # what is imported here stays in memory; the candidate enables it again
    _reset_signals()
    os.dup2(0, CONTROL)
    walls.close_from(CONTROL + 1)
    _input_from_null()
    control = socket.socket(fileno=CONTROL)
    _, descriptors, _, _ = socket.recv_fds(control, 16, 2)
    if len(descriptors) != 2:
        return  # the caller has gone
    with os.fdopen(descriptors[0], "rb") as file:
        settings = json.load(file)
    try:
        prepared = _prepare(settings)
    except Exception as error:  # noqa: BLE001 - the parent raises it
        control.send(f"{type(error).__name__}: {error}"[:2000].encode(errors="replace"))
        return
    gc.freeze()  # otherwise the first collection in a child would copy every page
    _errors_to_null()
    control.send(READY + prepared.threads.counted_with.encode())
    while _serve(control, descriptors[1], prepared):
        pass


def _reset_signals() -> None:
    """Sets the signals as in a new process, whatever the caller blocks or ignores."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    ignored_by_python = {signal.SIGPIPE, signal.SIGXFSZ}
    for number in signal.valid_signals() - ignored_by_python:
        if signal.getsignal(number) == signal.SIG_IGN:
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)


def _input_from_null() -> None:
    """Opens /dev/null as standard input, so that no flag or lock on it is shared."""
    _renumber(os.open("/dev/null", os.O_RDONLY), 0)


def _errors_to_null() -> None:
    """Sends standard error to /dev/null: the caller no longer reads it, and would let it block."""
    _renumber(os.open("/dev/null", os.O_WRONLY), 2)


def _renumber(descriptor: int, number: int) -> None:
    """Moves a descriptor to another number."""
    os.dup2(descriptor, number)
    if descriptor != number:
        os.close(descriptor)


def _prepare(settings: dict[str, Any]) -> _Prepared:
    """Preloads the modules, drops privileges, and finds how threads can be limited."""
    sys.path[:] = [*sys.path[1:], *(path for path in settings["path"] if path not in sys.path)]
    sys.argv = [""]
    sys.meta_path.append(PackageFinder(settings["packages"], settings["metadata"]))
    scratch = settings["scratch"] > 0
    if settings["confined"]:
        users.change_user(settings["users"])
        if settings["namespace"]:
            users.enter_namespace()
        walls.no_new_privileges()
    else:
        walls.adopt_orphans()
    rules = walls.landlock_rules(settings["readable"], scratch) if settings["landlock"] else None
    _restrict_files(settings["scratch"], rules)
    for name in settings["preload"]:
        importlib.import_module(name)
    os.chdir("/")
    if settings["confined"]:
        walls.drop_privileges(mounting=scratch)
    return _Prepared(settings, rules, users.Threads(settings["threads"]))


def _restrict_files(scratch: int, rules: int | None) -> None:
    """Shows the modules that are preloaded the files that a candidate can see."""
    if scratch:
        # Each candidate mounts its own on top, which Landlock would forbid once it is in force.
        walls.mount_scratch(scratch)
    elif rules is not None:
        walls.enclose(rules, b"")


def _serve(control: socket.socket, caller: int, prepared: _Prepared) -> bool:
    """Runs one candidate; False once the caller has closed the socket or has ended."""
    if _first_of(control.fileno(), caller) != {control.fileno()}:
        return False
    _, pipes, _, _ = socket.recv_fds(control, 16, 3)
    if len(pipes) != 3:
        return False
    zygote, limits = os.getpid(), prepared.settings["limits"] | prepared.threads.limit()
    child = os.fork()
    if child == 0:
        _run_candidate(zygote, limits, prepared, *pipes)
    for pipe in pipes:
        os.close(pipe)
    handle = os.pidfd_open(child)
    socket.send_fds(control, [b"started"], [handle])
    # The caller sends nothing while the candidate runs, so other events mean that it is gone.
    ready = _first_of(handle, control.fileno(), caller)
    if handle not in ready:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    _kill_group(child)
    _, status, used = os.wait4(child, 0)
    os.close(handle)
    if not prepared.settings["confined"]:
        _kill_remains()
    if ready != {handle}:
        return False
    control.send(STATUS.pack(status, used.ru_utime + used.ru_stime))
    return True


def _first_of(*descriptors: int) -> set[int]:
    """Waits until a descriptor is readable or its process has ended; returns those that are."""
    events = select.poll()
    for descriptor in descriptors:
        events.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _ in events.poll()}


def _kill_group(leader: int) -> None:
    """Kills the process group of a candidate, whose number stays valid until it is waited for."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _kill_remains() -> None:
    """Kills and reaps the processes that a candidate at level "none" left outside its group."""
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # raises where there is none
        kill_descendants(os.getpid(), _REMAINS)
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _run_candidate(
    zygote: int, limits: dict[str, int], prepared: _Prepared, job: int, result: int, output: int
) -> None:
    """Isolates the forked child, runs the program, sends the answer, and exits; never returns."""
    code = 1
    settings, rules = prepared.settings, prepared.rules
    try:
        walls.die_with_parent(zygote)
        os.setsid()
        with os.fdopen(job, "rb") as file:
            message = file.read()
        inherited = () if rules is None else (rules,)
        result, *kept = _keep_descriptors(output, result, *inherited)
        if settings["scratch"]:
            walls.mount_scratch(settings["scratch"])
        walls.drop_privileges()
        walls.set_limits(limits)
        walls.enclose(kept[0] if kept else None, prepared.filter)
        walls.close_from(result + 1)
        gc.enable()
        os.write(result, UP)
        answer = program.run_message(message, settings["output"] - len(UP))
        code = 0 if _send(result, answer) else 1
    except BaseException as error:  # noqa: BLE001 - this process ends with os._exit only
        os.write(2, f"the sandbox could not be set up: {error}".encode())
    finally:
        os._exit(code)


def _keep_descriptors(output: int, *kept: int) -> list[int]:
    """Closes all descriptors but a new input, `output` as both outputs, and `kept` from 3 on.

    Returns the new numbers of `kept`.
    """
    _input_from_null()
    os.dup2(output, 1)
    os.dup2(output, 2)
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, _HIGH) for descriptor in kept]
    numbers = [os.dup2(descriptor, CONTROL + i) for i, descriptor in enumerate(moved)]
    walls.close_from(CONTROL + len(numbers))
    return numbers


def _send(result: int, answer: bytes) -> bool:
    """Flushes the output and writes the answer; False if the candidate closed the pipe."""
    for stream in (sys.__stdout__, sys.__stderr__):
        try:
            if stream is not None:
                stream.flush()
        except Exception:  # noqa: BLE001 - closed, or replaced by the candidate
            pass
    try:
        while answer:
            answer = answer[os.write(result, answer) :]
    except OSError:
        return False
    return True

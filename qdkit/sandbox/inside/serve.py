"""The zygote: a warm interpreter that forks once for each candidate and never runs any of its code.

It never reads a program either, so that nothing of one candidate is left for the next: the job
comes as a descriptor, which only the forked child opens. One candidate at a time.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.machinery
import json
import os
import select
import signal
import socket
import struct
import sys

from . import program, walls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STATUS = struct.Struct("=id")  # the wait status of a candidate and its CPU seconds
UP = b"+"  # the first byte of a result: the walls were up before the candidate began
MAXIMUM = 1 << 20  # bytes of the settings


class Named:
    """Finds the packages that were named, and no other, in the folders they were found in."""

    def __init__(self, packages: dict[str, str]):
        self.packages = packages

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if path is None and name in self.packages:
            return importlib.machinery.PathFinder.find_spec(name, [self.packages[name]])
        return None


def main() -> None:
    """Serves the socket whose number is the last argument until its other end is closed."""
    gc.disable()  # what is imported here stays; a candidate gets it back
    control = socket.socket(fileno=int(sys.argv.pop()))
    settings = json.loads(control.recv(MAXIMUM))
    sys.path.pop(0)
    sys.argv = [""]
    sys.meta_path.append(Named(settings["packages"]))
    try:
        for name in settings["preload"]:
            importlib.import_module(name)
        rules = walls.landlock_rules(settings["readable"], settings["scratch"] > 0) if settings["landlock"] else None
    except Exception as error:  # noqa: BLE001 - the parent raises it
        control.send(f"{type(error).__name__}: {error}".encode())
        return
    if settings["scratch"] == 0:
        walls.drop_privileges()
    filter = bytes.fromhex(settings["filter"])
    gc.freeze()  # or the first collection in a child would copy every page
    me = os.pidfd_open(os.getpid())
    socket.send_fds(control, [b"ready"], [me])
    os.close(me)
    while _serve(control, settings, rules, filter):
        pass


def _serve(control: socket.socket, settings: dict[str, Any], rules: int | None, filter: bytes) -> bool:
    """One candidate; False once the parent is gone."""
    word, pipes, _, _ = socket.recv_fds(control, 16, 3)
    if not word:
        return False
    child = os.fork()
    if child == 0:
        _candidate(settings, rules, filter, *pipes)
    for pipe in pipes:
        os.close(pipe)
    handle = os.pidfd_open(child)
    socket.send_fds(control, [b"started"], [handle])
    end = select.poll()
    end.register(handle, select.POLLIN)
    end.register(control, select.POLLIN)  # nothing is sent meanwhile: this is the parent's end
    ready = [descriptor for descriptor, _ in end.poll()]
    if handle not in ready:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    _kill_group(child)
    _, status, used = os.wait4(child, 0)
    os.close(handle)
    if control.fileno() in ready:
        return False
    control.send(STATUS.pack(status, used.ru_utime + used.ru_stime))
    return True


def _kill_group(leader: int) -> None:
    """Ends what a candidate left running, as at level none it can; its number is taken until it is waited for."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _candidate(settings: dict[str, Any], rules: int | None, filter: bytes, job: int, result: int, output: int) -> None:
    """The forked child: puts up the walls, runs the program, sends what it gave, ends. Does not return."""
    code = 1
    try:
        walls.die_with_parent()
        os.setsid()
        with os.fdopen(job, "rb") as file:
            message = file.read()
        kept = () if rules is None else (rules,)
        rules, result = _only(output, result, *kept)
        if settings["scratch"]:
            walls.mount_scratch(settings["scratch"])
        walls.drop_privileges()
        walls.limit(settings["limits"])
        walls.enclose(rules, filter)
        if rules is not None:
            os.close(rules)
        gc.enable()
        os.write(result, UP)
        code = 0 if _sent(result, program.call(message, settings["output"] - len(UP))) else 1
    except BaseException as error:  # noqa: BLE001 - nothing may leave this process but through os._exit
        os.write(2, f"the sandbox could not be set up: {error}".encode())
    finally:
        os._exit(code)


def _only(output: int, result: int, *kept: int) -> tuple[int | None, int]:
    """Closes every descriptor but standard input, `output` as both outputs, `result` as 3, the rules as 4."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    high = [os.dup2(descriptor, 100 + i) for i, descriptor in enumerate((result, *kept))]
    for i, descriptor in enumerate(high):
        os.dup2(descriptor, 3 + i)
    os.closerange(3 + len(high), 256)
    return (4 if kept else None), 3


def _sent(result: int, answer: bytes) -> bool:
    """Writes all of the answer, after what was printed; False if the candidate closed the pipe."""
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

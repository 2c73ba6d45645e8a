"""Starts the process of a zygote, and opens its handle, also if bubblewrap is its parent."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Sequence

from qdkit.programs.sandbox import levels
from qdkit.programs.sandbox.inside import users, walls
from qdkit.programs.sandbox.inside.descendants import kill_descendants

_PATIENCE = 20.0  # seconds that bubblewrap may take to create its namespaces
MARK = "QDKIT_SANDBOX"  # the environment variable that marks processes at level "none"
_HOME = {"bubblewrap": walls.SCRATCH, "landlock": "/nonexistent"}  # many packages ask for one
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",  # each further one takes 64 MB of address space
    "JAX_PLATFORMS": "cpu",  # no accelerator is visible inside
}


def start(
    level: str, paths: Sequence[str], control: int, errors: int, mark: str
) -> tuple[subprocess.Popen[bytes], int]:
    """Starts a zygote. Returns the started process and the handle of the zygote, maybe its child.

    paths: see `levels.command`.
    control: the descriptor of the socket that the zygote serves.
    errors: the descriptor of its standard error.
    mark: a value in the environment by which all processes at level "none" can be found.

    Raises OSError if the process cannot start, and ValueError if bubblewrap ends before it begins.
    """
    if level != "bubblewrap":
        process = _open(levels.command(level, paths), _environment(level, mark), control, errors)
        return process, os.pidfd_open(process.pid)
    info_reader, info = os.pipe()
    block, go = os.pipe()
    try:
        mapped = os.geteuid() == 0
        command = levels.command(level, paths, info, block if mapped else -1)
        try:
            process = _open(command, _environment(level, mark), control, errors, (info, block))
        finally:
            os.close(info)
            os.close(block)
        try:
            child = _child_number(info_reader)
            handle = os.pidfd_open(child)
            try:
                if mapped:
                    _add_users(child)
                    os.write(go, b"gogo")  # bubblewrap reads twice
            except BaseException:
                os.close(handle)
                raise
        except BaseException:
            # A descendant that waits for bubblewrap would wait for ever.
            kill_descendants(process.pid, _PATIENCE)
            process.kill()
            process.wait()
            raise
        return process, handle
    finally:
        os.close(info_reader)
        os.close(go)


def wait_readable(descriptor: int, seconds: float) -> bool:
    """Waits up to `seconds`; whether a descriptor became readable or its process ended."""
    events = select.poll()  # `select.select` refuses descriptors from 1024 on
    events.register(descriptor, select.POLLIN)
    return bool(events.poll(1000 * seconds))


def _environment(level: str, mark: str) -> dict[str, str]:
    return _ENVIRONMENT | ({"HOME": _HOME[level]} if level in _HOME else {MARK: mark})


def _open(
    command: list[str],
    environment: dict[str, str],
    control: int,
    errors: int,
    inherited: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=control,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        env=environment,
        cwd="/",
        pass_fds=inherited,
        start_new_session=True,
    )


def _child_number(pipe: int) -> int:
    """Returns the number of the process that bubblewrap has started, which it writes to a pipe."""
    text = b""
    while not text.rstrip().endswith(b"}"):
        if not wait_readable(pipe, _PATIENCE):
            raise ValueError(f"bubblewrap did not start a process within {_PATIENCE:g} s")
        chunk = os.read(pipe, 4096)
        if not chunk:
            raise ValueError("bubblewrap ended before it had started a process")
        text += chunk
    return int(json.loads(text)["child-pid"])


def _add_users(child: int) -> None:
    """Maps root and, where that is permitted, one more user into the user namespace of a process.

    Raises ValueError if not even root can be mapped.
    """
    root, other = f"0 {os.geteuid()} 1", f"1 {users.private_user(child)} 1"
    _write_map(child, "setgroups", "deny")
    _write_map(child, "gid_map", f"0 {os.getegid()} 1")
    mapped = _write_map(child, "uid_map", f"{root}\n{other}") or _write_map(child, "uid_map", root)
    if not mapped:
        raise ValueError("no user can be added to its user namespace")


def _write_map(child: int, name: str, text: str) -> bool:
    """Writes a file of a process in /proc; whether that is permitted."""
    try:
        with open(f"/proc/{child}/{name}", "w") as file:
            file.write(text)
    except OSError:
        return False
    return True

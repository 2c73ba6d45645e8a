"""How strongly a candidate is isolated, and which of the levels this machine really offers.

`bubblewrap`: namespaces of its own (files, processes, network), and within them all that
`landlock` has: Landlock, a seccomp filter, resource limits. `landlock`: these without namespaces, so a
candidate can learn that a file exists, how large and how old it is, but not what is in it. `none`:
resource limits alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from qdkit.sandbox import interpreter
from qdkit.sandbox.inside import walls

LEVELS = ("bubblewrap", "landlock", "none")  # the strongest first

_WORDS = {
    "bubblewrap": "bubblewrap (namespaces, Landlock, seccomp, limits)",
    "landlock": "landlock (Landlock, seccomp, limits; no namespaces, no scratch folder)",
    "none": "none (limits alone: a candidate can read, write and send whatever this user can)",
}


def in_words(level: str) -> str:
    """What a level isolates, for a run's summary."""
    return _WORDS[level]


def command(level: str, control: int, folders: Mapping[str, str]) -> list[str]:
    """The command line of a zygote that serves the socket `control`; `folders` as from `interpreter.locate`."""
    start = "import sys; sys.path.insert(0, sys.argv.pop(1)); from inside.serve import main; main()"
    python = [interpreter.executable(), "-s", "-S", "-P", "-B", "-X", "utf8", "-c", start]
    python += [os.path.dirname(interpreter.INSIDE), str(control)]
    if level != "bubblewrap":
        return python
    bind = lambda paths: [word for path in paths for word in ("--ro-bind", path, path)]
    seen = [*interpreter.readable(), interpreter.INSIDE]
    hidden = [os.path.join(path, name) for path in seen for name in walls.HIDDEN]
    hidden = [path for path in hidden if os.path.isdir(path)]
    mounts = bind(seen) + [word for path in hidden for word in ("--tmpfs", path)]
    mounts += bind(interpreter.packages(folders)) + [word for path in hidden for word in ("--remount-ro", path)]
    return [
        *("bwrap", "--unshare-user", "--unshare-all", "--as-pid-1", "--new-session"),
        *("--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN"),  # in its own namespaces, to mount scratch folders
        *mounts,
        *("--dev-bind", "/dev/null", "/dev/null", "--dir", walls.SCRATCH, "--remount-ro", "/", "--chdir", "/", "--"),
        *python,
    ]

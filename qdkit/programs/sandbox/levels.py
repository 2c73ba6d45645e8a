"""The levels of isolation of a candidate, and the command line that starts each.

- `bubblewrap`: namespaces of its own (files, processes, network), and within them everything that
  `landlock` has.
- `landlock`: Landlock, a seccomp filter and resource limits, without namespaces. A candidate can
  learn that a file exists, its size, its age and when it was last read, but not its content. It
  can change the time of the last access of the files that it may read, and so leave a sign for a
  later candidate.
- `none`: resource limits only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from qdkit.programs.sandbox import interpreter
from qdkit.programs.sandbox.inside import walls

LEVELS = ("bubblewrap", "landlock", "none")  # the strongest first

_DESCRIPTIONS = {
    "bubblewrap": "bubblewrap (namespaces, Landlock, seccomp, limits)",
    "landlock": "landlock (Landlock, seccomp, limits; no namespaces, no scratch folder)",
    "none": "none (limits alone: a candidate can read, write and send whatever this user can)",
}


def isolation_in_words(level: str) -> str:
    """Returns what a level isolates, for the summary of a run."""
    return _DESCRIPTIONS[level]


def command(level: str, paths: Sequence[str], info: int = -1, block: int = -1) -> list[str]:
    """Returns the command line of a zygote, whose standard input is the socket that it serves.

    paths: the files and folders that are readable beside the interpreter, at level "bubblewrap".
    info: the descriptor to which bubblewrap writes the number of its child.
    block: the descriptor on which bubblewrap waits until its user namespace has users; -1 for
      none.
    """
    script = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); "
        "from inside.serve import serve_candidates; serve_candidates()"
    )
    common = ["-P", "-B", "-X", "utf8", "-c", script, os.path.dirname(interpreter.INSIDE)]
    if level == "none":
        return [sys.executable, *common]
    python = [interpreter.executable(), "-s", "-S", *common]
    if level == "landlock":
        return python
    bind = lambda paths, how="--ro-bind": [word for path in paths for word in (how, path, path)]
    visible = [*interpreter.readable_paths(), interpreter.INSIDE]
    hidden = [os.path.join(path, name) for path in visible for name in walls.HIDDEN]
    hidden = [path for path in hidden if os.path.isdir(path)]
    mounts = bind(visible) + [word for path in hidden for word in ("--tmpfs", path)]
    mounts += bind(paths) + [word for path in hidden for word in ("--remount-ro", path)]
    mounts += bind((*interpreter.DEVICES, "/dev/null"), "--dev-bind")
    # The capability holds in its own namespaces, to mount scratch folders.
    capabilities = ["--cap-add", "CAP_SYS_ADMIN"]
    if block >= 0:
        capabilities += ["--userns-block-fd", str(block), "--cap-add", "CAP_SETUID"]
    return [
        *("bwrap", "--unshare-user", "--unshare-all", "--as-pid-1", "--new-session"),
        *("--info-fd", str(info), "--cap-drop", "ALL", *capabilities),
        *mounts,
        *("--dir", walls.SCRATCH, "--remount-ro", "/", "--chdir", "/", "--"),
        *python,
    ]

"""The files that a candidate may read beside its packages: the interpreter and its libraries."""

from __future__ import annotations

import glob
import os
import sys
import sysconfig

INSIDE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "inside")


def executable() -> str:
    """Returns the path of the real interpreter, not that of a virtual environment's link to it."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


DEVICES = ("/dev/urandom", "/dev/random", "/dev/zero")  # readable ones, in addition to /dev/null


def readable_paths() -> list[str]:
    """Returns the files and folders that exist, without packages beside the standard library."""
    lib = os.path.join(sys.base_prefix, "lib")
    libraries = [
        *glob.glob(f"{lib}/lib*.so*"),
        *glob.glob("/lib/*.so*"),
        "/lib64",
        "/usr/lib64",
        "/etc/ld.so.cache",
    ]
    multiarch = sysconfig.get_config_var("MULTIARCH")
    if multiarch:
        libraries += [f"/lib/{multiarch}", f"/usr/lib/{multiarch}"]
    paths = [executable(), os.path.dirname(os.__file__), *libraries, "/usr/share/zoneinfo"]
    return [path for path in dict.fromkeys(paths) if os.path.exists(path)]

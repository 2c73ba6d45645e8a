"""What a candidate gets to see of the disk: the interpreter, its libraries and the packages that were named."""

from __future__ import annotations

import glob
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable, Mapping

INSIDE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "inside")


def executable() -> str:
    """The real interpreter, not a virtual environment's link to it."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def readable() -> list[str]:
    """Files and folders, those that exist. Packages beside the standard library are not among them."""
    lib = os.path.join(sys.base_prefix, "lib")
    libraries = [*glob.glob(f"{lib}/lib*.so*"), *glob.glob("/lib/*.so*"), "/lib64", "/usr/lib64", "/etc/ld.so.cache"]
    multiarch = sysconfig.get_config_var("MULTIARCH")
    if multiarch:
        libraries += [f"/lib/{multiarch}", f"/usr/lib/{multiarch}"]
    paths = [executable(), os.path.dirname(os.__file__), *libraries, "/usr/share/zoneinfo", "/dev/urandom"]
    return [path for path in dict.fromkeys(paths) if os.path.exists(path)]


def packages(folders: Mapping[str, str]) -> list[str]:
    """What lies on disk of the packages that `locate` found, with the libraries that came in their wheels."""
    paths = [os.path.join(folder, name + end) for name, folder in folders.items() for end in ("", ".py", ".libs")]
    return [path for path in paths if os.path.exists(path)]


def locate(preload: Iterable[str]) -> dict[str, str]:
    """The folder that each top-level package of `preload` lies in. Raises ValueError for one that is not installed."""
    folders = {}
    for name in dict.fromkeys(module.partition(".")[0] for module in preload):
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise ValueError(f"preload names {name!r}, which is not installed here: pip install it, or leave it out")
        if spec.origin and spec.has_location:
            inner = os.path.dirname(spec.origin)
            folders[name] = os.path.dirname(inner) if spec.submodule_search_locations else inner
    return folders

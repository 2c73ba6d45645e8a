"""The finder of the packages that a candidate may import beside the standard library."""

from __future__ import annotations

import os
import re
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location

_TYPE_CHECKING = False
if _TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any


class PackageFinder:
    """Finds these packages and the metadata of their distributions, and nothing else.

    packages: top-level name -> [file, folders]: the file of a module and, for a package, its
      folders. A package without a file of its own is a namespace.
    metadata: folders such as `*.dist-info`.

    It never lists a folder, because the sandbox may forbid that.
    """

    def __init__(self, packages: Mapping[str, Any], metadata: Iterable[str]):
        self.packages = packages
        self.metadata = tuple(metadata)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if path is not None or name not in self.packages:
            return None
        file, folders = self.packages[name]
        if file is not None:
            return spec_from_file_location(name, file, submodule_search_locations=folders)
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = list(folders)
        return spec

    def find_distributions(self, context: Any = None) -> Iterator[Any]:
        """Yields the distributions that `importlib.metadata` asks for."""
        from importlib.metadata import PathDistribution
        from pathlib import Path

        wanted = getattr(context, "name", None)
        for folder in self.metadata:
            name = os.path.basename(folder).partition("-")[0]
            if wanted is None or _normal(wanted) == _normal(name.removesuffix(".egg")):
                yield PathDistribution(Path(folder))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()

"""Import of the names of a package when they are first used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any


def lazy_attributes(
    package: str, home: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns `__getattr__` and `__dir__` for a package.

    Importing the package is then cheap. Its modules are attributes too.

    home: the module of each public name, relative to the package.
    """

    def attribute(name: str) -> Any:
        if name in home:
            return getattr(importlib.import_module(f"{package}.{home[name]}"), name)
        if not name.startswith("_"):
            try:
                return _module(package, name)
            except ModuleNotFoundError as error:
                if error.name != f"{package}.{name}":
                    raise
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return attribute, lambda: sorted(home)


def _module(package: str, name: str) -> ModuleType:
    return importlib.import_module(f"{package}.{name}")

"""Checks for parts of your own: what a search relies on, tried out on small examples.

from qdkit.testing import check_domain

def test_my_domain():
    check_domain(MyDomain())
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "check_archive": "archives",
    "check_domain": "conformance",
    "check_operator": "conformance",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"qdkit.testing.{_HOME[name]}"), name)
    raise AttributeError(f"module 'qdkit.testing' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

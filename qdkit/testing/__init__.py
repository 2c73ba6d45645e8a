"""For tests of your own: checks of the parts of a search, and a model server with every fault to order.

from qdkit.testing import FAULTS, ModelServer, check_domain

def test_my_domain():
    check_domain(MyDomain())

def test_my_operator():
    with ModelServer(["a first answer", FAULTS["busy"], "a second"]) as server:
        ...
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "check_archive": "archives",
    "check_domain": "conformance",
    "check_filter": "conformance",
    "check_operator": "conformance",
    "FAULTS": "replies",
    "Hang": "replies",
    "ModelServer": "server",
    "Person": "person",
    "RESET": "replies",
    "Raw": "replies",
    "Reply": "replies",
    "error": "replies",
    "heavy_tail": "server",
    "likely": "replies",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"qdkit.testing.{_HOME[name]}"), name)
    raise AttributeError(f"module 'qdkit.testing' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

"""Tools for your own tests: checks of the parts of a search, and a scripted model server.

from qdkit.testing import FAULTS, ModelServer, check_domain

def test_my_domain():
    check_domain(MyDomain())

def test_my_operator():
    with ModelServer(["a first answer", FAULTS["busy"], "a second"]) as server:
        ...
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what type checkers read
    from qdkit.testing.archives import check_archive as check_archive
    from qdkit.testing.conformance import check_domain as check_domain
    from qdkit.testing.conformance import check_filter as check_filter
    from qdkit.testing.conformance import check_operator as check_operator
    from qdkit.testing.person import Person as Person
    from qdkit.testing.replies import FAULTS as FAULTS
    from qdkit.testing.replies import RESET as RESET
    from qdkit.testing.replies import ChatReply as ChatReply
    from qdkit.testing.replies import Hang as Hang
    from qdkit.testing.replies import Raw as Raw
    from qdkit.testing.replies import error as error
    from qdkit.testing.replies import likely as likely
    from qdkit.testing.server import ModelServer as ModelServer
    from qdkit.testing.server import heavy_tail as heavy_tail

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
    "ChatReply": "replies",
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

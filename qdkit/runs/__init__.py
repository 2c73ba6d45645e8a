"""Runs on disk: the ledger, runs opened for reading, scores on held-out data, judgements."""

from typing import TYPE_CHECKING

from qdkit.core.lazy import lazy_attributes

if TYPE_CHECKING:  # what type checkers read
    from qdkit.runs.judgements import Judgements as Judgements
    from qdkit.runs.judgements import Reply as Reply
    from qdkit.runs.ledger import Ledger as Ledger
    from qdkit.runs.run import Run as Run
    from qdkit.runs.run import load as load

_HOME = {
    "Judgements": "judgements",
    "Ledger": "ledger",
    "Reply": "judgements",
    "Run": "run",
    "load": "run",
}

__all__ = [*_HOME]

__getattr__, __dir__ = lazy_attributes(__name__, _HOME)

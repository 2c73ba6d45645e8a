"""Quality-diversity search: many good, different answers instead of one.

The public names, imported when they are first used: `import qdkit` alone loads neither jax nor ribs.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Answer": "qdkit.llm",
    "Archive": "qdkit.elites",
    "Batch": "qdkit.types",
    "Budget": "qdkit.budget",
    "Candidate": "qdkit.types",
    "Challenge": "qdkit.challenge",
    "Context": "qdkit.types",
    "Elites": "qdkit.elites",
    "Embedder": "qdkit.llm",
    "Evaluation": "qdkit.types",
    "Judgement": "qdkit.types",
    "Judgements": "qdkit.judgements",
    "Lessons": "qdkit.lessons",
    "LLM": "qdkit.llm",
    "MiniLM": "qdkit.encoder",
    "Operator": "qdkit.types",
    "Outcome": "qdkit.types",
    "Proposal": "qdkit.types",
    "Question": "qdkit.llm",
    "Recorded": "qdkit.llm",
    "Scan": "qdkit.scan",
    "Search": "qdkit.search",
    "Shown": "qdkit.shown",
    "load": "qdkit.runs",
}
_ROOMS = (
    "archives",
    "domains",
    "feedback",
    "metrics",
    "operators",
    "parents",
    "peers",
    "preferences",
    "stopping",
    "testing",
    "viz",
)

__all__ = [*_HOME, *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"qdkit.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'qdkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

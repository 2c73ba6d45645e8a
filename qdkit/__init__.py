"""Quality-diversity search: many good, different answers instead of one.

Its names are imported when they are first used: `import qdkit` alone loads neither jax nor ribs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:  # what type checkers read
    from qdkit import archives as archives
    from qdkit import axes as axes
    from qdkit import cli as cli
    from qdkit import comparing as comparing
    from qdkit import core as core
    from qdkit import domains as domains
    from qdkit import feedback as feedback
    from qdkit import llm as llm
    from qdkit import metrics as metrics
    from qdkit import novelty as novelty
    from qdkit import operators as operators
    from qdkit import peers as peers
    from qdkit import programs as programs
    from qdkit import rate as rate
    from qdkit import runs as runs
    from qdkit import search as search
    from qdkit import selection as selection
    from qdkit import testing as testing
    from qdkit import viz as viz
    from qdkit.archives import CVT as CVT
    from qdkit.archives import Grid as Grid
    from qdkit.core.elites import Archive as Archive
    from qdkit.core.elites import Elites as Elites
    from qdkit.core.types import Batch as Batch
    from qdkit.core.types import Candidate as Candidate
    from qdkit.core.types import Context as Context
    from qdkit.core.types import Evaluation as Evaluation
    from qdkit.core.types import Judgement as Judgement
    from qdkit.core.types import Operator as Operator
    from qdkit.core.types import Outcome as Outcome
    from qdkit.core.types import Proposal as Proposal
    from qdkit.llm import LLM as LLM
    from qdkit.llm import Answer as Answer
    from qdkit.llm import Embedder as Embedder
    from qdkit.llm import Question as Question
    from qdkit.llm import Recorded as Recorded
    from qdkit.llm.minilm import MiniLM as MiniLM
    from qdkit.operators import IsoLine as IsoLine
    from qdkit.runs.judgements import Judgements as Judgements
    from qdkit.runs.run import load as load
    from qdkit.search.budget import Budget as Budget
    from qdkit.search.compiled import CompiledSearch as CompiledSearch
    from qdkit.search.reevaluation import Reevaluation as Reevaluation
    from qdkit.search.search import Search as Search
    from qdkit.search.steering import Steering as Steering
    from qdkit.search.workers import Workers as Workers
    from qdkit.selection.inspirations import Inspirations as Inspirations
    from qdkit.selection.lessons import Lessons as Lessons

_HOME = {
    "Answer": "qdkit.llm",
    "Archive": "qdkit.core.elites",
    "Batch": "qdkit.core.types",
    "Budget": "qdkit.search.budget",
    "Candidate": "qdkit.core.types",
    "Reevaluation": "qdkit.search.reevaluation",
    "Context": "qdkit.core.types",
    "Elites": "qdkit.core.elites",
    "Embedder": "qdkit.llm",
    "Evaluation": "qdkit.core.types",
    "Judgement": "qdkit.core.types",
    "Judgements": "qdkit.runs.judgements",
    "Lessons": "qdkit.selection.lessons",
    "LLM": "qdkit.llm",
    "MiniLM": "qdkit.llm.minilm",
    "Operator": "qdkit.core.types",
    "Outcome": "qdkit.core.types",
    "Proposal": "qdkit.core.types",
    "Question": "qdkit.llm",
    "Recorded": "qdkit.llm",
    "CVT": "qdkit.archives",
    "CompiledSearch": "qdkit.search.compiled",
    "Grid": "qdkit.archives",
    "IsoLine": "qdkit.operators",
    "Search": "qdkit.search.search",
    "Steering": "qdkit.search.steering",
    "Workers": "qdkit.search.workers",
    "Inspirations": "qdkit.selection.inspirations",
    "load": "qdkit.runs.run",
}
_ROOMS = (
    "archives",
    "axes",
    "cli",
    "comparing",
    "core",
    "domains",
    "feedback",
    "llm",
    "metrics",
    "novelty",
    "operators",
    "peers",
    "programs",
    "rate",
    "runs",
    "search",
    "selection",
    "testing",
    "viz",
)

__all__ = [*_HOME, *_ROOMS]


if not TYPE_CHECKING:  # type checkers know the names, and report one that is misspelt

    def __getattr__(name: str) -> Any:
        if name in _ROOMS:
            return importlib.import_module(f"qdkit.{name}")
        if name in _HOME:
            return getattr(importlib.import_module(_HOME[name]), name)
        raise AttributeError(f"module 'qdkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

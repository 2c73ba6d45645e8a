"""The search: its loop, tasks and concurrency, the compiled search, budgets, stopping rules."""

from typing import TYPE_CHECKING

from qdkit.core.lazy import lazy_attributes

if TYPE_CHECKING:  # what type checkers read
    from qdkit.search.budget import Budget as Budget
    from qdkit.search.compiled import CompiledSearch as CompiledSearch
    from qdkit.search.reevaluation import Reevaluation as Reevaluation
    from qdkit.search.search import Search as Search
    from qdkit.search.steering import Steering as Steering
    from qdkit.search.stopping import Coverage as Coverage
    from qdkit.search.stopping import Stagnation as Stagnation
    from qdkit.search.stopping import Stop as Stop
    from qdkit.search.stopping import Target as Target
    from qdkit.search.workers import Workers as Workers

_HOME = {
    "Budget": "budget",
    "Reevaluation": "reevaluation",
    "Coverage": "stopping",
    "CompiledSearch": "compiled",
    "Search": "search",
    "Stagnation": "stopping",
    "Steering": "steering",
    "Stop": "stopping",
    "Target": "stopping",
    "Workers": "workers",
}

__all__ = [*_HOME]

__getattr__, __dir__ = lazy_attributes(__name__, _HOME)

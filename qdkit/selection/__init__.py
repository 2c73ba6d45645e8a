"""The selection of parents, inspirations and operators: rules, bandits, rewards and lessons."""

from typing import TYPE_CHECKING

from qdkit.core.lazy import lazy_attributes

if TYPE_CHECKING:  # what type checkers read
    from qdkit.selection.bandits import EXP3 as EXP3
    from qdkit.selection.bandits import UCB as UCB
    from qdkit.selection.bandits import Thompson as Thompson
    from qdkit.selection.bandits import UCBTuned as UCBTuned
    from qdkit.selection.bandits import discounted_ucb as discounted_ucb
    from qdkit.selection.bandits import sliding_window_ucb as sliding_window_ucb
    from qdkit.selection.inspirations import Inspirations as Inspirations
    from qdkit.selection.lessons import Lessons as Lessons
    from qdkit.selection.parents import Annealed as Annealed
    from qdkit.selection.parents import ByNovelty as ByNovelty
    from qdkit.selection.parents import Champions as Champions
    from qdkit.selection.parents import Curious as Curious
    from qdkit.selection.parents import Near as Near
    from qdkit.selection.parents import Parents as Parents
    from qdkit.selection.parents import PowerLaw as PowerLaw
    from qdkit.selection.parents import Restarts as Restarts
    from qdkit.selection.parents import Towards as Towards
    from qdkit.selection.parents import Uniform as Uniform
    from qdkit.selection.parents import Weighted as Weighted
    from qdkit.selection.rewards import Dollars as Dollars
    from qdkit.selection.rewards import entered as entered
    from qdkit.selection.rewards import new_cell as new_cell
    from qdkit.selection.rewards import over_cell as over_cell
    from qdkit.selection.rewards import over_parent as over_parent
    from qdkit.selection.rewards import ranked as ranked

_HOME = {
    "Annealed": "parents",
    "Champions": "parents",
    "Curious": "parents",
    "Dollars": "rewards",
    "EXP3": "bandits",
    "Restarts": "parents",
    "Lessons": "lessons",
    "Near": "parents",
    "ByNovelty": "parents",
    "Parents": "parents",
    "PowerLaw": "parents",
    "Inspirations": "inspirations",
    "Thompson": "bandits",
    "Towards": "parents",
    "UCB": "bandits",
    "UCBTuned": "bandits",
    "Uniform": "parents",
    "Weighted": "parents",
    "discounted_ucb": "bandits",
    "entered": "rewards",
    "new_cell": "rewards",
    "over_cell": "rewards",
    "over_parent": "rewards",
    "ranked": "rewards",
    "sliding_window_ucb": "bandits",
}

__all__ = [*_HOME]

__getattr__, __dir__ = lazy_attributes(__name__, _HOME)

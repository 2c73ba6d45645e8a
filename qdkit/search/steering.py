"""How a search chooses what to make: parents, novelty, lessons and re-evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qdkit.core.types import Filter
from qdkit.search.reevaluation import Reevaluation
from qdkit.selection.lessons import Lessons
from qdkit.selection.parents import Parents, Uniform

_UNIFORM = Uniform()


@dataclass(frozen=True)
class Steering:
    """How a search chooses what to make: `Search(..., steering=Steering(parents=Weighted()))`.

    parents: the rule by which parents are chosen (see `qdkit.selection.parents`), for operators
      that have no rule of their own.
    novelty: the filter that says which candidates are new (see `qdkit.novelty`). "distinct"
      rejects a text, program or other JSON that came before, compared by the domain's `form` if
      it has one. None rejects nothing.
    lessons: writes what has been learnt so far into later prompts (see
      `qdkit.selection.lessons`).
    reevaluate: for judges and domains with noise: a candidate that seems better than the elite of
      its cell is evaluated again before it takes the place (see `qdkit.search.reevaluation`).

    Raises TypeError for a value of another kind.
    """

    parents: Parents = _UNIFORM
    novelty: Filter | Literal["distinct"] | None = "distinct"
    lessons: Lessons | None = None
    reevaluate: Reevaluation | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.parents, Parents):
            raise TypeError(
                "parents is a rule of qdkit.selection, such as Weighted(), not "
                f"{self.parents!r:.80}"
            )
        if self.novelty not in ("distinct", None) and not hasattr(self.novelty, "new"):
            raise TypeError(
                f'novelty is a filter of qdkit.novelty, "distinct" or None, not '
                f"{self.novelty!r:.80}"
            )
        if self.lessons is not None and not hasattr(self.lessons, "turn"):
            raise TypeError(
                "lessons is a qdkit.Lessons, such as Lessons(model), or None, not "
                f"{self.lessons!r:.80}"
            )
        if not isinstance(self.reevaluate, Reevaluation | None):
            raise TypeError(
                "reevaluate is a qdkit.Reevaluation, such as Reevaluation(times=1), or None, not "
                f"{self.reevaluate!r:.80}"
            )

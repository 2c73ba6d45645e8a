"""The parts of a search: copies of those that it was given, and what a run records about them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

from qdkit.core.describe import describe_part, stable_repr
from qdkit.core.elites import Archive
from qdkit.core.fresh_copies import copy_parts
from qdkit.core.stages import floor_of
from qdkit.core.types import Axes, Domain, Filter, Judge, Operator
from qdkit.novelty import Distinct
from qdkit.runs import sources
from qdkit.search.relearning import Learner
from qdkit.search.steering import Steering


@dataclass
class SearchParts:
    """What a search works with.

    axes: the axes as they are now; axes that learn are replaced.
    replies: what axes that learn read (see `qdkit.axes`), or None.
    floor: the objective from which QD scores are counted.
    """

    domain: Domain
    archive: Archive
    operator: Operator
    judge: Judge
    axes: Axes
    replies: Any
    steering: Steering
    floor: float

    @classmethod
    def copied(
        cls,
        domain: Domain,
        archive: Archive,
        operator: Operator,
        judge: Judge,
        axes: Axes,
        replies: Any,
        steering: Steering,
    ) -> SearchParts:
        """Copies of these parts for one search.

        Raises ValueError for parts that cannot be copied and were used before.
        """
        # a store is filled from outside while searches go on, so it is not copied
        is_store = hasattr(replies, "since")
        domain, operator, judge, axes, parents, lessons, novelty, copied = copy_parts(
            domain=domain,
            operator=operator,
            judge=judge,
            axes=axes,
            parents=steering.parents,
            lessons=steering.lessons,
            novelty=steering.novelty,
            replies=None if is_store else replies,
        )
        if steering.novelty == "distinct":
            [novelty] = copy_parts(novelty=Distinct(getattr(domain, "form", None)))
        operator.remeasure(axes)
        return cls(
            domain,
            archive,
            operator,
            judge,
            axes,
            replies if is_store else copied,
            replace(steering, parents=parents, lessons=lessons, novelty=novelty),
            floor_of(domain),
        )

    @property
    def novelty(self) -> Filter | None:
        """The filter that says which candidates are new."""
        return cast("Filter | None", self.steering.novelty)

    @property
    def models(self) -> list[Any]:
        """The models that the parts call."""
        others = (self.steering.lessons, self.judge, self.novelty)
        return [
            *self.operator.models,
            *(model for part in others for model in getattr(part, "models", ())),
        ]

    @property
    def waits(self) -> bool:
        """Whether a part may wait for a model, or for other processes or machines."""
        return bool(self.models) or bool(getattr(self.domain, "waits", False))

    def sources(self) -> dict[str, str]:
        """The digests of the files that decide scores (see `qdkit.runs.sources`)."""
        return sources.source_digests(self.domain, self.judge, self.axes)

    def described(self) -> dict[str, Any]:
        """The parts as the ledger describes them.

        A run can only be resumed with parts that are described alike.
        """
        steering = self.steering
        reevaluate = {"challenge": stable_repr(steering.reevaluate)} if steering.reevaluate else {}
        return {
            "domain": describe_part(self.domain),
            "archive": describe_part(self.archive),
            "operator": describe_part(self.operator),
            "judge": stable_repr(self.judge),
            "parents": stable_repr(steering.parents),
            **reevaluate,
            "lessons": stable_repr(steering.lessons),
            "novelty": stable_repr(steering.novelty),
            "axes_from": stable_repr(self.axes),
        }


def check_together(axes: Axes, replies: Any, steering: Steering) -> None:
    """Raises ValueError for parts that do not go together."""
    if replies is not None and not isinstance(axes, Learner):
        raise ValueError(
            "replies are for axes that learn, such as qdkit.axes.TripletAxes, and these axes do "
            "not"
        )
    if steering.reevaluate and isinstance(axes, Learner):
        raise ValueError(
            "axes that learn fill the archive anew, and a candidate that has taken a cell by "
            "re-evaluation would have to take it again: leave one of reevaluate and axes out"
        )

"""What a command line asks for, as a value: kept in the run's ledger, and made into the same search again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdkit import catalog

if TYPE_CHECKING:
    from qdkit.budget import Budget
    from qdkit.search import Search
    from qdkit.stopping import Stop

# By what is searched, or that models are asked: candidates a step, and what a run is limited to where nothing else is.
BATCH = {"numbers": 1000, "points": 16, "programs": 50, "models": 1}
LIMITS: dict[str, dict[str, Any]] = {
    "numbers": {"evaluations": 100_000},
    "points": {"evaluations": 10_000, "seconds": 100.0},
    "programs": {"evaluations": 20_000, "seconds": 100.0},
    "models": {"evaluations": 1000},
}

MEASURES = "measures"  # judge by what can be counted, whatever makes the texts


@dataclass(frozen=True)
class Order:
    """A search in words and numbers; see `qdkit run --help` for what each of them means.

    settings: the options of the domain, the archive and the operator, by name.
    judge: the model that judges; the first of those that make texts where None, and none where it is `measures`.
    axes: axes of labels in the place of the domain's own, as `feedback.Attribute.plain` writes them.
    """

    domain: str
    evaluations: int | None = None
    seed: int = 1
    batch: int | None = None
    archive: str = "grid"
    operator: str | None = None
    model: tuple[str, ...] = ()
    in_flight: int | None = None
    budget: str | None = None
    baseline: str | None = None
    novelty: str = "distinct"
    compiled: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    judge: str | None = None
    axes: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        cells = [name for name in ("shape", "cells") if self.settings.get(name) is not None]
        if self.axes and (cells or self.archive != "grid"):
            raise ValueError(
                "with --axes there is a cell for each combination of their values: leave out --archive, "
                "--shape and --cells"
            )

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Order:
        """The order that `plain` wrote."""
        tuples = lambda values: {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        plain: dict[str, Any] = tuples(kept)
        return cls(**{**plain, "settings": tuples(kept["settings"])})

    def plain(self) -> dict[str, Any]:
        """JSON values, for the ledger."""
        return asdict(self)

    def limits(self) -> Budget:
        """What the run may spend, evaluations included."""
        from qdkit.budget import Budget

        budget = Budget.parse(self.budget) if self.budget else Budget()
        if self.evaluations is not None:
            return replace(budget, evaluations=self.evaluations)
        usual = {name: value for name, value in self._usual().items() if name != "batch"}
        return budget if budget.limits() else Budget(**usual)

    @property
    def kind(self) -> str:
        """What decides the defaults."""
        return "models" if self.model or self._judge() else catalog.kind(catalog.found(self.domain))

    def part(self) -> Any:
        """The domain."""
        part = catalog.found(self.domain)
        return part(**self._mine(part)) if catalog.makes(part) else part

    def search(self, run: Path, *, resume: bool = False) -> Search:
        """The search, in its folder."""
        from qdkit.feedback import attributes
        from qdkit.llm import LLM
        from qdkit.parents import Uniform
        from qdkit.search import Search
        from qdkit.stages import given

        batch = self._usual()["batch"] if self.batch is None else self.batch
        budget = self.limits()
        domain = self.part()
        cells = catalog.ARCHIVES[self.archive]
        judging = self._judge()
        judge = catalog.judge(domain, judging)
        if self.judge and not self.axes and not hasattr(domain, "judge"):
            raise ValueError(f"{self.domain} says itself how good a candidate is: leave out --judge {self.judge}")
        if self.axes:
            archive, judge = catalog.labelled(domain, attributes(self.axes), judge, judging)
        else:
            archive = cells(domain, **self._mine(cells))
        archive = catalog.islands(archive, **self._mine(catalog.islands))
        models = [LLM(name) for name in self.model]
        archive, operator = catalog.baseline(self.baseline, domain, archive, self._operator(domain, batch, models))
        at_once = 16 if (self.model or judging) and self.baseline != "chain" else 1
        in_flight = at_once if self.in_flight is None else self.in_flight
        place: dict[str, Any] = {"budget": budget, "run": run, "resume": resume}
        place["novelty"] = None if self.novelty == "none" else self.novelty
        steering: dict[str, Any] = {
            "judge": judge,
            "parents": catalog.parents(domain, self.kind in ("programs", "models"), **self._mine(catalog.parents)),
            "lessons": catalog.lessons(domain, next(iter(models), None), **self._mine(catalog.lessons)),
            "challenge": catalog.challenge(domain, **self._mine(catalog.challenge)),
        }
        steering |= catalog.taught(domain, run)
        if self.compiled:  # which has no room for any of these, unless they are what they are in any search of numbers
            steering = {name: part for name, part in steering.items() if part not in (given, Uniform(), None)}
            place["compiled"] = True
        return Search(domain, archive, operator, batch=batch, seed=self.seed, in_flight=in_flight, **steering, **place)

    def _judge(self) -> Any:
        """The model that judges, or None."""
        from qdkit.llm import LLM

        name = self.judge or next(iter(self.model), MEASURES)
        return None if name == MEASURES else LLM(name)

    def _usual(self) -> dict[str, Any]:
        """What holds where nothing is said: the domain's own, else that of its kind."""
        own = getattr(catalog.found(self.domain), "usual", {})
        return {"batch": BATCH[self.kind], **LIMITS[self.kind], **own.get(self.kind, {})}

    def until(self) -> Stop | None:
        """When it has done enough, beside what it may spend."""
        return catalog.stop(None, **self._mine(catalog.stop))

    def _operator(self, domain: Any, batch: int, models: Sequence[Any]) -> Any:
        """The models in a portfolio, or the operator for numbers or texts; both if both are named, and for programs.

        Where there are several, a bandit learns who pays; it reckons with prices if all of them are known.
        """
        from qdkit.bandits import UCBTuned
        from qdkit.operators import Portfolio
        from qdkit.rewards import Dollars

        asking = catalog.rewriting if self.axes else catalog.asking  # a domain's own may read the cells as its own
        asked = [asking(domain, model) for model in models]
        if self.operator is not None or not asked or catalog.kind(domain) == "programs":
            made = catalog.operator(domain, self.operator)
            asked.append(made(domain, batch, **self._mine(made)))
        if len(asked) == 1:
            return asked[0]
        priced = all(math.isfinite(model.cost(1, 1).dollars) for model in models)
        return Portfolio(asked, bandit=UCBTuned(discount=0.998), cost=Dollars() if priced else None)

    def _mine(self, part: Any) -> dict[str, Any]:
        """Those of the settings that are this part's."""
        names = [option.name for option in catalog.options(part)]
        return {name: self.settings[name] for name in names if self.settings.get(name) is not None}

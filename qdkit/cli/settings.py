"""The settings of a command line as a value, which the ledger keeps and which makes the same
search again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdkit.cli import catalog
from qdkit.core.run_files import DamagedRun
from qdkit.core.untrusted import (
    MAX_COUNT,
    MAX_SLOTS,
    JsonCheck,
    any_of,
    is_count,
    is_none,
    is_number,
    is_text,
    list_of,
)

if TYPE_CHECKING:
    from qdkit.search.budget import Budget
    from qdkit.search.compiled import CompiledSearch
    from qdkit.search.search import Search
    from qdkit.search.stopping import Stop

# Defaults by the kind of search: candidates a step, and the limits of a run without any other.
_BATCH = {"numbers": 1000, "points": 16, "programs": 50, "models": 1}
_LIMITS: dict[str, dict[str, Any]] = {
    "numbers": {"evaluations": 100_000},
    "points": {"evaluations": 10_000, "seconds": 100.0},
    "programs": {"evaluations": 20_000, "seconds": 100.0},
    "models": {"evaluations": 1000},
}

_LARGEST = {
    "workers": 256,
    "steps": 100_000,
    "joints": 100_000,
    "n": 100_000,
    "dimensions": 1_000_000,
}
_name = any_of(is_text, is_none)
_whole = any_of(is_count, is_none)
_plain = any_of(is_number, is_text, is_none, lambda value: isinstance(value, bool))


def _setting(name: str, value: Any) -> bool:
    """Whether a command line can give this setting, with no number above any useful one."""
    if not any_of(_plain, list_of(any_of(is_number, is_text)))(value):
        return False
    whole = [x for x in (value if isinstance(value, list) else [value]) if type(x) is int]
    if name in ("shape", "cells", "islands", "depth") and math.prod(whole) > MAX_SLOTS:
        return False
    return all(abs(x) <= _LARGEST.get(name, MAX_COUNT) for x in whole)


# The checks of settings that come from a run folder, by field.
_CHECKS: Mapping[str, JsonCheck] = {
    **dict.fromkeys(("domain", "novelty"), is_text),
    "archive": lambda value: value in ("grid", "cvt"),
    **dict.fromkeys(("operator", "judge"), _name),
    "budget": _name,
    "baseline": lambda value: value in (None, "independent", "chain", "climb", "multistart"),
    "evaluations": _whole,
    "seed": lambda value: type(value) in (int, str, list, dict, type(None)),
    "batch": any_of(is_none, lambda value: is_count(value, 1_000_000, least=1)),
    "in_flight": any_of(is_none, lambda value: is_count(value, 100_000, least=1)),
    "model": list_of(is_text),
    "compiled": lambda value: isinstance(value, bool),
    "settings": lambda value: (
        isinstance(value, dict) and all(_setting(*each) for each in value.items())
    ),
    "axes": list_of(lambda value: isinstance(value, dict)),
}

_MEASURES = "measures"  # judges by measures of texts, even with a model that writes them


@dataclass(frozen=True)
class RunSettings:
    """A search in words and numbers; `qdkit run --help` describes each.

    settings: the options of the domain, the archive and the operator, by name.
    judge: the model that judges; the first of `model` if None, and no model for `measures`.
    axes: axes of labels that replace those of the domain, as `feedback.Attribute.plain` writes
      them.
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
                "with --axes there is a cell for each combination of their values: leave out "
                "--archive, --shape and --cells"
            )

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> RunSettings:
        """Returns the settings that `plain` wrote into a run folder, which are a hint: see `safe`.

        Raises DamagedRun for settings that no command line can give.
        """
        if strange := [
            name for name in kept if name not in _CHECKS or not _CHECKS[name](kept[name])
        ]:
            raise DamagedRun(
                f"the run has the setting {strange[0]!s:.40} = {kept[strange[0]]!r:.80}, which no "
                f"command line can give"
            )
        tuples = lambda values: {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        plain: dict[str, Any] = tuples(kept)
        try:
            return cls(**{**plain, "settings": tuples(kept["settings"])})
        except (TypeError, ValueError) as error:
            raise DamagedRun(
                f"the run has settings that no command line can give: {error}"
            ) from None

    def safe(self, sandbox: str) -> RunSettings:
        """Returns the settings with an isolation level chosen here, whatever a run folder says."""
        return replace(self, settings={**self.settings, "sandbox": sandbox})

    @property
    def words(self) -> str:
        """A summary for a user who continues a run that somebody else may have begun."""
        models = dict.fromkeys(
            [*self.model, *([self.judge] if self.judge not in (None, _MEASURES) else [])]
        )
        limits = [self.budget] if self.budget else []
        limits += [f"{self.evaluations:,} evaluations"] if self.evaluations is not None else []
        parts = [f"as the run was begun: {self.domain}"]
        parts += [f"asks {', '.join(models)}"] if models else []
        parts += [f"up to {' and '.join(limits)}"] if limits else []
        return ", ".join(parts)

    def plain(self) -> dict[str, Any]:
        """Returns JSON values, for the ledger."""
        return asdict(self)

    def limits(self) -> Budget:
        """Returns the most that the run may spend, evaluations included."""
        from qdkit.search.budget import Budget

        budget = Budget.parse(self.budget) if self.budget else Budget()
        if self.evaluations is not None:
            return replace(budget, evaluations=self.evaluations)
        usual = {name: value for name, value in self._defaults().items() if name != "batch"}
        return budget if budget.limits() else Budget(**usual)

    @property
    def kind(self) -> str:
        """The kind of search, which decides the defaults."""
        return (
            "models" if self.model or self._judge() else catalog.kind(catalog.found(self.domain))
        )

    def part(self) -> Any:
        """Returns the domain."""
        part = catalog.found(self.domain)
        return part(**self._settings_of(part)) if catalog.makes(part) else part

    def search(
        self, run: Path, *, resume: bool = False, change: bool = False
    ) -> Search | CompiledSearch:
        """Returns the search, in its folder.

        change: with `resume`, whether the text of the task may have changed (see
          `qdkit.search.task_text`).
        """
        from qdkit.core.stages import domain_objective
        from qdkit.feedback import attributes
        from qdkit.llm import LLM
        from qdkit.search import CompiledSearch, Search, Steering, Workers
        from qdkit.search import task_text as rewording
        from qdkit.selection.parents import Uniform

        batch = self._defaults()["batch"] if self.batch is None else self.batch
        budget = self.limits()
        domain = rewording.as_recorded(run, self.part(), change) if resume else self.part()
        cells = catalog.ARCHIVES[self.archive]
        judging = self._judge()
        judge = catalog.judge(domain, judging)
        if self.judge and not self.axes and not hasattr(domain, "judge"):
            raise ValueError(
                f"{self.domain} computes its own objective: leave out --judge {self.judge}"
            )
        if self.axes:
            archive, judge = catalog.labelled(domain, attributes(self.axes), judge, judging)
        else:
            archive = cells(domain, **self._settings_of(cells))
        archive = catalog.islands(archive, **self._settings_of(catalog.islands))
        models = [LLM(name) for name in self.model]
        archive, operator = catalog.baseline(
            self.baseline, domain, archive, self._operator(domain, batch, models)
        )
        at_once = 16 if (self.model or judging) and self.baseline != "chain" else 1
        in_flight = at_once if self.in_flight is None else self.in_flight
        novelty: Any = None if self.novelty == "none" else self.novelty
        steering = Steering(
            parents=catalog.parents(
                domain, self.kind in ("programs", "models"), **self._settings_of(catalog.parents)
            ),
            novelty=novelty,
            lessons=catalog.lessons(
                domain, next(iter(models), None), **self._settings_of(catalog.lessons)
            ),
            reevaluate=catalog.challenge(domain, **self._settings_of(catalog.challenge)),
        )
        settings: dict[str, Any] = {"batch": batch, "seed": self.seed, "budget": budget}
        parts = {"judge": judge, **catalog.taught(domain, run)}
        if self.compiled:
            # refused by the compiled search, unless they are those of any search of numbers
            parts |= {
                "parents": steering.parents,
                "lessons": steering.lessons,
                "challenge": steering.reevaluate,
                "in_flight": None if in_flight == 1 else in_flight,
            }
            settings |= {
                name: part
                for name, part in parts.items()
                if part not in (domain_objective, Uniform(), None)
            }
            if resume:
                return CompiledSearch.resume(run, domain, archive, operator, **settings)
            return CompiledSearch(domain, archive, operator, folder=run, **settings)
        settings |= {"steering": steering, "workers": Workers(in_flight=in_flight), **parts}
        if resume:
            return Search.resume(run, domain, archive, operator, **settings)
        return Search(domain, archive, operator, folder=run, **settings)

    def _judge(self) -> Any:
        """Returns the model that judges, or None."""
        from qdkit.llm import LLM

        name = self.judge or next(iter(self.model), _MEASURES)
        return None if name == _MEASURES else LLM(name)

    def _defaults(self) -> dict[str, Any]:
        """Returns the defaults: those of the domain, else those of its kind."""
        own = getattr(catalog.found(self.domain), "usual", {})
        return {"batch": _BATCH[self.kind], **_LIMITS[self.kind], **own.get(self.kind, {})}

    def until(self) -> Stop | None:
        """Returns the rule that stops the search before its budget is used, or None."""
        return catalog.stop(None, **self._settings_of(catalog.stop))

    def _operator(self, domain: Any, batch: int, models: Sequence[Any]) -> Any:
        """Returns the operator: of the models, of the domain's kind, or a portfolio of both.

        Programs have both, and so has a search whose command line names both. In a portfolio a
        bandit learns which operator pays; it takes prices into account if all are known.
        """
        from qdkit.operators import Portfolio
        from qdkit.selection.bandits import UCBTuned
        from qdkit.selection.rewards import Dollars

        # An operator of the domain may expect the axes of the domain.
        by_model = catalog.rewriting if self.axes else catalog.asking
        operators = [by_model(domain, model) for model in models]
        if self.operator is not None or not operators or catalog.kind(domain) == "programs":
            made = catalog.operator(domain, self.operator)
            operators.append(made(domain, batch, **self._settings_of(made)))
        if len(operators) == 1:
            return operators[0]
        priced = all(math.isfinite(model.cost(1, 1).dollars) for model in models)
        return Portfolio(
            operators, bandit=UCBTuned(discount=0.998), cost=Dollars() if priced else None
        )

    def _settings_of(self, part: Any) -> dict[str, Any]:
        """Returns the settings of this part."""
        names = [option.name for option in catalog.options(part)]
        return {name: self.settings[name] for name in names if self.settings.get(name) is not None}

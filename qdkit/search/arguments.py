"""Checks of the arguments of a search: an error says how to write a wrong one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, ParamSpec, TypeVar

from qdkit.core.elites import Archive
from qdkit.core.types import Operator
from qdkit.search.budget import Budget
from qdkit.search.steering import Steering
from qdkit.search.workers import Workers

_P = ParamSpec("_P")
_Result = TypeVar("_Result")

_ORDER = "Search(domain, archive, operator, ...)"
# how to write what earlier versions wrote as an argument
_FORMER = {
    "run": "write folder=FOLDER for a new run, or Search.resume(FOLDER, domain, archive, "
    "operator, ...) to go on with one",
    "resume": "write Search.resume(FOLDER, domain, archive, operator, ...)",
    "compiled": "write Search.compiled(domain, archive, operator, ...)",
    "challenge": "write steering=Steering(reevaluate=...)",
    **{name: f"write steering=Steering({name}=...)" for name in ("parents", "novelty", "lessons")},
    **{
        name: f"write workers=Workers({name}=...)"
        for name in ("in_flight", "ahead", "executor", "seconds")
    },
}
_ALONE = (
    "a compiled loop calls nothing but the domain, the operator and the archive: leave it out, or "
    "search with Search(...)"
)
# arguments of other searches, and why a compiled one refuses them
COMPILED = {
    **dict.fromkeys(("judge", "axes", "replies", "steering", "workers"), _ALONE),
    **dict.fromkeys(("parents", "novelty", "lessons", "challenge"), _ALONE),
    **dict.fromkeys(("in_flight", "ahead", "executor", "seconds"), _ALONE),
    "run": "write folder=FOLDER for a new run, or CompiledSearch.resume(FOLDER, domain, archive, "
    "operator, ...) to go on with one",
    "resume": "write CompiledSearch.resume(FOLDER, domain, archive, operator, ...)",
}


def names_checked(
    owner: str, former: Mapping[str, str] = _FORMER
) -> Callable[[Callable[_P, _Result]], Callable[_P, _Result]]:
    """Decorates a function to raise TypeError, in a sentence, for a keyword that it does not have.

    owner: the name of the function in that sentence.
    former: what to write instead of keywords that are no longer there.
    """

    def decorate(function: Callable[_P, _Result]) -> Callable[_P, _Result]:
        parameters = inspect.signature(function).parameters.values()
        known = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
        positional = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
        parts = [name for name in positional if name not in ("self", "cls")]

        @functools.wraps(function)
        def checked(*args: _P.args, **kwargs: _P.kwargs) -> _Result:
            for name in kwargs:
                if name not in known and name not in parts:
                    raise TypeError(_unknown(owner, name, [*parts, *known], former))
            return function(*args, **kwargs)

        return checked

    return decorate


def _unknown(owner: str, name: str, known: Iterable[str], former: Mapping[str, str]) -> str:
    """What to write instead of an argument that is not known."""
    if name in former:
        return f"{owner} has no argument {name!r}: {former[name]}"
    known = list(known)
    near = get_close_matches(name, [*known, *former], 1)
    if near and near[0] in former:
        return f"{owner} has no argument {name!r}: {former[near[0]]}"
    mend = f"did you mean {near[0]!r}?" if near else f"its arguments are {', '.join(known)}"
    return f"{owner} has no argument {name!r}: {mend}"


def check_parts(domain: Any, archive: Any, operator: Any, order: str = _ORDER) -> None:
    """Raises TypeError, in a sentence, for parts that are swapped or are classes.

    order: the call with its arguments in their order, for the sentence.
    """
    parts = {"domain": domain, "archive": archive, "operator": operator}
    for name, part in parts.items():
        if isinstance(part, type):
            raise TypeError(
                f"the {name} is the class {part.__name__}: hand in an instance, such as "
                f"{part.__name__}(...)"
            )
    kinds = {
        "an archive": [name for name, part in parts.items() if isinstance(part, Archive)],
        "an operator": [name for name, part in parts.items() if isinstance(part, Operator)],
    }
    for kind, places in kinds.items():
        for name in places:
            if name != kind.split()[1]:
                raise TypeError(f"the {name} is {kind}, {parts[name]!r:.80}: the order is {order}")
    if not isinstance(archive, Archive):
        raise TypeError(
            "the archive is a qdkit.Archive, such as Grid((50, 50), bounds), not "
            f"{archive!r:.80}: the order is {order}"
        )
    if not hasattr(operator, "propose"):
        raise TypeError(
            "the operator is a qdkit.Operator, such as IsoLine(), not "
            f"{operator!r:.80}: the order is {order}"
        )
    missing = [name for name in ("seeds", "evaluate") if not hasattr(domain, name)]
    if missing:
        raise TypeError(
            f"the domain has methods seeds(key, n) and evaluate(genomes), and {domain!r:.80} has "
            f"no {' and no '.join(missing)}: the order is {order}"
        )


def check_budget(budget: Any) -> None:
    """Raises TypeError for what is no budget."""
    if budget is not None and not isinstance(budget, Budget):
        raise TypeError(
            f"budget is a qdkit.Budget, such as Budget(evaluations=1000), not {budget!r:.80}"
        )


def check_setting_kinds(steering: Any, workers: Any, budget: Any) -> None:
    """Raises TypeError for settings of another kind."""
    if not isinstance(steering, Steering):
        raise TypeError(
            "steering is a qdkit.Steering, such as Steering(parents=Weighted()), not "
            f"{steering!r:.80}"
        )
    if not isinstance(workers, Workers):
        raise TypeError(
            f"workers is a qdkit.Workers, such as Workers(in_flight=16), not {workers!r:.80}"
        )
    check_budget(budget)

"""A referee as its writer left it: called, caught when it stops, and understood in whichever way it says its score."""

from __future__ import annotations

import inspect
import math
import reprlib
from collections.abc import Callable
from typing import Any

from qdkit.flow import Failure, attempt
from qdkit.types import Evaluation, Genomes, Key, Outcome

from .problem import Score

Said = Score | Evaluation | tuple[Any, ...] | float
Referee = Callable[..., Said]


def refereed(referee: Referee, output: Any) -> Score | Failure:
    """What a referee says of an output, or why that is no score."""
    said = called(referee, output)
    if isinstance(said, Failure):
        return said._replace(error=f"the referee stopped at what it returned: {said.error}")
    try:
        return _scored(said)
    except (TypeError, ValueError, LookupError, OverflowError):
        return Failure(
            Outcome.FAILED,
            "the referee returns a number, (objective, descriptor) or (objective, descriptor, notes), with a tuple of "
            f"numbers as descriptor and a mapping as notes, and here it returned {reprlib.repr(said)}",
        )


def called(function: Callable[[Any], Any], output: Any) -> Any | Failure:
    """What a function of the domain's writer gives for an output, or why it stopped."""
    bench = _Bench(function)
    [(_, found)] = attempt(bench, [output])
    return found if isinstance(found, Failure) else bench.said


def takes(referee: Referee, *arguments: Any, **named: Any) -> bool:
    """Whether it can be called with these."""
    try:
        inspect.signature(referee).bind(*arguments, **named)
    except TypeError:
        return False
    except ValueError:  # a builtin that does not say what it takes
        return True
    return True


class _Bench:
    """A function and one output, as a domain, so that what it raises is caught where all such things are."""

    def __init__(self, function: Callable[[Any], Any]):
        self.function = function
        self.said: Any = None

    def evaluate(self, genomes: Genomes) -> Evaluation:
        self.said = self.function(genomes[0])
        return Evaluation()

    def seeds(self, key: Key, n: int) -> list[Any]:
        return []


def _scored(said: Any) -> Score:
    """The score in what a referee said. Raises TypeError and its like for what is none."""
    if isinstance(said, Evaluation):
        columns = (said.objective, said.descriptor, said.notes, said.outcome)
        given: list[Any] = [d if c is None else c[0] for c, d in zip(columns, Score(math.nan), strict=True)]
        score = Score(*given)
    elif isinstance(said, tuple) and not isinstance(said, Score) and 1 <= len(said) <= 3:
        score = Score(*said)
    else:
        score = said if isinstance(said, Score) else Score(said)
    place = tuple(_number(x) for x in score.descriptor)
    return score._replace(objective=_number(score.objective), descriptor=place, notes=dict(score.notes))


def _number(x: Any) -> float:
    """`x` as a float; a text, which `float` would read, is none."""
    if isinstance(x, str | bytes):
        raise TypeError
    return float(x)

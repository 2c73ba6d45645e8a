"""A referee as its writer left it: called, caught when it stops, and understood in whichever way it says its score."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

from qdkit.flow import Failure, attempt
from qdkit.types import Evaluation, Genomes, Key

from .problem import Score

Said = Score | Evaluation | tuple[Any, ...] | float
Referee = Callable[..., Said]


def refereed(referee: Referee, output: Any) -> Score | Failure:
    """What a referee says of an output, or why it stopped."""
    bench = _Bench(referee)
    [(_, found)] = attempt(bench, [output])
    return found if isinstance(found, Failure) else bench.score


def takes_level(referee: Referee) -> bool:
    """Whether it can be called with `level=...` beside an output."""
    try:
        inspect.signature(referee).bind(None, level="search")
    except TypeError:
        return False
    return True


class _Bench:
    """The referee and one output, as a domain, so that what it raises is caught where all such things are."""

    def __init__(self, referee: Referee):
        self.referee = referee
        self.score = Score(math.nan)

    def evaluate(self, genomes: Genomes) -> Evaluation:
        self.score = _scored(self.referee(genomes[0]))
        return Evaluation([self.score.objective])

    def seeds(self, key: Key, n: int) -> list[Any]:
        return []


def _scored(said: Any) -> Score:
    """The score in what a referee said. Raises TypeError for what is none."""
    if isinstance(said, Evaluation):
        columns = (said.objective, said.descriptor, said.notes, said.outcome)
        given: list[Any] = [d if c is None else c[0] for c, d in zip(columns, Score(math.nan), strict=True)]
        score = Score(*given)
    elif isinstance(said, tuple) and not isinstance(said, Score) and 1 <= len(said) <= 3:
        score = Score(*said)
    else:
        score = said if isinstance(said, Score) else Score(said)
    try:
        place = tuple(_number(x) for x in score.descriptor)
        return score._replace(objective=_number(score.objective), descriptor=place, notes=dict(score.notes))
    except (TypeError, ValueError):
        raise TypeError(
            "it returns a number, (objective, descriptor) or (objective, descriptor, notes), with a tuple of numbers "
            f"as descriptor and a mapping as notes, and here it returned {said!r:.80}"
        ) from None


def _number(x: Any) -> float:
    """`x` as a float; a text, which `float` would read, is none."""
    if isinstance(x, str | bytes):
        raise TypeError
    return float(x)

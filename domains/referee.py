"""Calls a user's referee, catches its errors, and reads its score in each form it may have."""

from __future__ import annotations

import inspect
import math
import reprlib
from collections.abc import Callable
from typing import Any

from qdkit.core.evaluating import Failure, attempt
from qdkit.core.types import Evaluation, Genomes, Key, Outcome
from qdkit.domains.mathematics.problem import RefereeScore

_Answer = RefereeScore | Evaluation | tuple[Any, ...] | float
Referee = Callable[..., _Answer]


def referee_score(
    referee: Referee, output: Any, seconds: float | None = None
) -> RefereeScore | Failure:
    """Returns the score of an output, or a failure if there is none.

    The referee times out after `seconds`.
    """
    answer = call_referee(referee, output, seconds)
    if isinstance(answer, Failure) and answer.outcome == Outcome.TIMEOUT:
        return answer._replace(error=f"the referee was given up: {answer.error}")
    if isinstance(answer, Failure):
        return answer._replace(error=f"the referee stopped at what it returned: {answer.error}")
    try:
        return _as_score(answer)
    except (TypeError, ValueError, LookupError, OverflowError):
        return Failure(
            Outcome.FAILED,
            "the referee returns a number, (objective, descriptor) or (objective, descriptor, "
            "notes), with a tuple of numbers as descriptor and a mapping as notes, and here it "
            f"returned {reprlib.repr(answer)}",
        )


def call_referee(
    function: Callable[[Any], Any], output: Any, seconds: float | None = None
) -> Any | Failure:
    """Returns a user's function of an output, or a failure if it raises or exceeds `seconds`."""
    call = _Call(function)
    [(_, result)] = attempt(call, [output], seconds)
    return result if isinstance(result, Failure) else call.answer


def takes(referee: Referee, *arguments: Any, **named: Any) -> bool:
    """Returns whether a referee can be called with these arguments."""
    try:
        inspect.signature(referee).bind(*arguments, **named)
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        return True
    return True


class _Call:
    """The call of a function as a domain, so that `attempt` catches its errors."""

    def __init__(self, function: Callable[[Any], Any]):
        self.function = function
        self.answer: Any = None

    def evaluate(self, genomes: Genomes) -> Evaluation:
        self.answer = self.function(genomes[0])
        return Evaluation()

    def seeds(self, key: Key, n: int) -> list[Any]:
        return []


def _as_score(answer: Any) -> RefereeScore:
    """Returns the answer of a referee as a score.

    Raises TypeError, ValueError, LookupError or OverflowError if it is none.
    """
    if isinstance(answer, Evaluation):
        columns = (answer.objective, answer.descriptor, answer.notes, answer.outcome)
        default = RefereeScore(math.nan)
        values: list[Any] = [
            d if column is None else column[0] for column, d in zip(columns, default, strict=True)
        ]
        score = RefereeScore(*values)
    elif isinstance(answer, RefereeScore):
        score = answer
    elif isinstance(answer, tuple) and 1 <= len(answer) <= 3:
        score = RefereeScore(*answer)
    else:
        score = RefereeScore(answer)
    place = tuple(_number(x) for x in score.descriptor)
    return score._replace(
        objective=_number(score.objective), descriptor=place, notes=dict(score.notes)
    )


def _number(x: Any) -> float:
    """Returns `x` as a float. Raises TypeError for a text, which `float` would read."""
    if isinstance(x, str | bytes):
        raise TypeError
    return float(x)

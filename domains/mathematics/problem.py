"""Mathematical problems with exact referees.

A `Problem` states a question and reads an answer, which may come from an untrusted program. The
objective is proven: it is computed from the bare numbers in exact arithmetic, at tolerance zero. A
score that an answer claims for itself is never read. A `PointProblem` is also a domain whose
genomes are the coordinates, so that one referee scores both a language model that writes programs
and an optimiser that moves points.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np

from qdkit.core.types import Evaluation, Key, Outcome

_MAX_EXACT = 2**53  # integers up to here are exact as floats
# The least height above 0, as a share of the highest: lower steps only make the referee's integers
# long.
_MIN_HEIGHT = 2.0**-100
# The types of numbers in an answer: no bool, and no class that may override arithmetic.
_NUMBERS = (float, int, np.float64, np.float32, np.int64)


class InvalidAnswer(ValueError):
    """Raised for an output that is no answer; the message says what was expected and what came."""


class RefereeScore(NamedTuple):
    """The score of an answer.

    If the answer is refused, the objective is nan and `notes["error"]` says why.
    """

    objective: float
    descriptor: tuple[float, ...] = ()
    notes: Mapping[str, Any] = MappingProxyType({})
    outcome: Outcome = Outcome.OK


class Problem(abc.ABC):
    """A question, its referee, the descriptor of its answers, and its statement in words.

    name: the folder beside this file with the statement `task.md` and a simple program `seed.py`.
    bounds, names: of the descriptor, as in `Grid`. A descriptor is clipped to the bounds.
    floor: the objective from which the QD score counts.
    """

    name: ClassVar[str]
    bounds: ClassVar[tuple[tuple[float, float], ...]]
    names: ClassVar[tuple[str, ...]]
    floor: ClassVar[float]

    @property
    @abc.abstractmethod
    def best_known(self) -> float:
        """The best objective that has been claimed, nan if unknown.

        Its sign is reversed if the problem is a minimisation.
        """

    @property
    def arguments(self) -> tuple[int, ...]:
        """The arguments of the function `solve` of a program."""
        return ()

    @abc.abstractmethod
    def measure(self, output: Any) -> tuple[float, tuple[float, ...]]:
        """Returns the objective, never above its exact value, and the descriptor.

        Raises InvalidAnswer if the output is no answer.
        """

    @abc.abstractmethod
    def draw(self, output: Any, ax: Any) -> Any:
        """Draws a valid answer on matplotlib axes, and returns the axes."""

    def score(self, output: Any) -> RefereeScore:
        """Returns the score of an output. `output` is untrusted: it may be anything."""
        known = {"best_known": self.best_known} if math.isfinite(self.best_known) else {}
        try:
            objective, place = self.measure(output)
            if not math.isfinite(objective):
                raise InvalidAnswer(
                    "expected an answer whose objective a float64 can hold, and it is beyond them"
                )
        except InvalidAnswer as error:
            notes = {**known, "error": str(error)}
            return RefereeScore(math.nan, (math.nan,) * len(self.names), notes, Outcome.FAILED)
        gap = {"gap": self.best_known - objective} if known else {}
        low, high = zip(*self.bounds, strict=True)
        descriptor = tuple(map(float, np.clip(place, low, high)))
        return RefereeScore(objective, descriptor, {**known, **gap}, Outcome.OK)

    @property
    def task(self) -> str:
        """The statement, for a person or a language model."""
        text = self._read("task.md")
        for mark, value in zip(("{n}",), self.arguments, strict=False):
            text = text.replace(mark, str(value))
        return text.replace("{best_known}", f"{abs(self.best_known):.10g}")

    @property
    def program(self) -> str:
        """A program to start from: its function `solve(*arguments)` returns an answer."""
        return self._read("seed.py")

    def _read(self, name: str) -> str:
        """Returns the text of a file in the folder of the problem."""
        folder = files("qdkit.domains.mathematics") / self.name
        return (folder / name).read_text(encoding="utf-8")


@dataclass(frozen=True)
class PointProblem(Problem):
    """A problem whose answer is `n` points of the unit square, float `[n, 2]`.

    Genomes are flat, `[2 n]`.
    """

    n: int
    limits: ClassVar[tuple[float, float]] = (0.0, 1.0)

    @property
    def arguments(self) -> tuple[int, ...]:
        return (self.n,)

    @property
    def dimensions(self) -> int:
        """How many numbers make a genome."""
        return 2 * self.n

    def seeds(self, key: Key, n: int) -> np.ndarray:
        """Returns float64 `[n, 2 * self.n]`: uniformly random points."""
        random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        return random.random((n, self.dimensions))

    def evaluate(self, genomes: np.ndarray) -> Evaluation:
        """Scores each genome by the referee, clipped to the unit square."""
        clipped = np.clip(np.asarray(genomes, np.float64), *self.limits)
        scores = [self.score(points) for points in clipped.reshape(len(genomes), -1, 2)]
        return Evaluation(
            np.array([s.objective for s in scores]),
            np.array([s.descriptor for s in scores]),
            notes=[s.notes for s in scores],
            outcome=np.array([s.outcome for s in scores]),
        )


def checked_array(output: Any, what: str, most: int) -> np.ndarray:
    """Returns `output` as a new float64 array.

    Raises InvalidAnswer unless it is a plain array or list of at most `most` finite numbers. A
    bool, a text, a masked array, an array of objects or of a subclass is refused, and so is an
    integer that no float64 holds exactly: the referee computes with the numbers of the answer.

    what: names the expected value in a message.
    """
    if type(output) is np.ndarray and output.dtype in (np.float64, np.float32, np.int64, np.int32):
        shape, flat = output.shape, output.ravel().tolist() if output.size <= most else None
    elif type(output) in (list, tuple):
        flat, shape = _flattened(output, what, most), _shape(output)
    else:
        raise InvalidAnswer(
            f"expected {what} as an array or a list of numbers, and a {type(output).__name__} came"
        )
    if flat is None or len(flat) > most:
        raise InvalidAnswer(f"expected {what} and more than {most} numbers came")
    for x in flat:
        if isinstance(x, int) and abs(x) > _MAX_EXACT:
            raise InvalidAnswer(
                f"expected {what} as float64 numbers, and an integer beyond 2**53 came"
            )
        if not math.isfinite(x):
            raise InvalidAnswer(f"expected {what} as finite numbers, and {x} came")
    return np.array(flat, np.float64).reshape(shape)


def _flattened(output: Any, what: str, most: int) -> list[Any]:
    """Returns the numbers of a list, or of a list of lists of equal length."""
    rows = output if output and type(output[0]) in (list, tuple) else [output]
    if len(rows) > most or any(type(row) not in (list, tuple) for row in rows):
        raise InvalidAnswer(
            f"expected {what} as a list of numbers or rows of them, and something else came"
        )
    if any(len(row) != len(rows[0]) for row in rows) or len(rows) * len(rows[0]) > most:
        raise InvalidAnswer(
            f"expected {what} at most {most} numbers in rows of equal length, and other rows came"
        )
    flat = [x for row in rows for x in row]
    other = next((type(x).__name__ for x in flat if type(x) not in _NUMBERS), None)
    if other:
        raise InvalidAnswer(f"expected {what} as numbers, and a {other} came among them")
    return flat


def _shape(output: Any) -> tuple[int, ...]:
    """Returns the shape of a list, or of a list of lists."""
    nested = output and type(output[0]) in (list, tuple)
    return (len(output), len(output[0])) if nested else (len(output),)


def checked_points(output: Any, n: int) -> np.ndarray:
    """Returns `output` as float64 `[n, 2]`. Raises InvalidAnswer if it is something else."""
    array = checked_array(output, f"{n} points, shape ({n}, 2),", 2 * n)
    if array.shape != (n, 2):
        raise InvalidAnswer(
            f"expected {n} points, shape ({n}, 2), and an array of shape {array.shape} came"
        )
    return array


def checked_steps(output: Any, most: int) -> np.ndarray:
    """Returns `output` as float64 `[k]`: the heights of 1 to `most` steps, none negative.

    Raises InvalidAnswer if it is something else, or if a height is above 0 and below `_MIN_HEIGHT`
    times the highest.
    """
    array = checked_array(output, "the heights of a step function,", most)
    if array.ndim != 1 or len(array) == 0:
        raise InvalidAnswer(
            f"expected one row of at least one height, and an array of shape {array.shape} came"
        )
    if array.min() < 0:
        raise InvalidAnswer(f"expected heights that are not negative, and {array.min()} came")
    if array.max() * _MIN_HEIGHT > array.min(where=array > 0, initial=math.inf):
        raise InvalidAnswer(
            "expected heights of 0, or of at least 2**-100 times the highest, and a lower one came"
        )
    return array

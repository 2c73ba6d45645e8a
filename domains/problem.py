"""Mathematical problems with a referee that cannot be talked into anything.

A `Problem` states a question, reads one answer, which may come from a program that nobody has read,
and gives it an objective that is proven: computed anew from the bare numbers in exact arithmetic, at
tolerance zero. What an answer says about its own worth is never read. A `PointProblem` is the same
question as numbers: a domain whose genomes are the coordinates, so that a language model that writes
programs and an optimiser that moves points are scored by one referee.
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

from qdkit.types import Evaluation, Key, Outcome

WHOLE = 2**53  # integers up to here are floats exactly
LEAST = 2.0**-100  # of the highest step: below it a step only makes the integers of the referee long
PLAIN = (float, int, np.float64, np.float32, np.int64)  # bool is not among them, nor anything that overrides arithmetic


class Refused(ValueError):
    """The answer is no answer to the problem; the message says what was expected and what came."""


class Score(NamedTuple):
    """What the referee found. Of a refused answer the objective is nan and `notes["error"]` says why."""

    objective: float
    descriptor: tuple[float, ...] = ()
    notes: Mapping[str, Any] = MappingProxyType({})
    outcome: Outcome = Outcome.OK


class Problem(abc.ABC):
    """A question, its referee, a map of its answers, and the words to put it to a language model.

    name: the folder beside this file with the statement `task.md` and a modest program `seed.py`.
    bounds, names: of the descriptor, as in `Grid`. A descriptor is clipped to the bounds.
    floor: the objective from which a QD score is counted.
    """

    name: ClassVar[str]
    bounds: ClassVar[tuple[tuple[float, float], ...]]
    names: ClassVar[tuple[str, ...]]
    floor: ClassVar[float]

    @property
    @abc.abstractmethod
    def best_known(self) -> float:
        """The best objective anyone has claimed, with its sign turned where less is better; nan if unknown."""

    @property
    def arguments(self) -> tuple[int, ...]:
        """What the function `solve` of a program is called with."""
        return ()

    @abc.abstractmethod
    def measure(self, output: Any) -> tuple[float, tuple[float, ...]]:
        """The objective, never above its exact value, and the descriptor. Raises Refused for what is no answer."""

    @abc.abstractmethod
    def draw(self, output: Any, ax: Any) -> Any:
        """Draws an answer that was not refused on matplotlib axes, and gives them back."""

    def score(self, output: Any) -> Score:
        """The referee. `output` is untrusted: anything at all may come."""
        known = {"best_known": self.best_known} if math.isfinite(self.best_known) else {}
        try:
            objective, place = self.measure(output)
            if not math.isfinite(objective):
                raise Refused("expected an answer whose objective a float64 can hold, and it is beyond them")
        except Refused as refusal:
            return Score(math.nan, (math.nan,) * len(self.names), {**known, "error": str(refusal)}, Outcome.FAILED)
        gap = {"gap": self.best_known - objective} if known else {}
        low, high = zip(*self.bounds, strict=True)
        descriptor = tuple(map(float, np.clip(place, low, high)))
        return Score(objective, descriptor, {**known, **gap}, Outcome.OK)

    @property
    def task(self) -> str:
        """The statement, for a person or a language model."""
        text = (files("qdkit.domains") / self.name / "task.md").read_text(encoding="utf-8")
        for mark, value in zip(("{n}",), self.arguments, strict=False):
            text = text.replace(mark, str(value))
        return text.replace("{best_known}", f"{abs(self.best_known):.10g}")

    @property
    def program(self) -> str:
        """A program to start from: its function `solve(*arguments)` returns an answer."""
        return (files("qdkit.domains") / self.name / "seed.py").read_text(encoding="utf-8")


@dataclass(frozen=True)
class PointProblem(Problem):
    """A problem whose answer is `n` points of the unit square, float `[n, 2]`; genomes are flat, `[2 n]`."""

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
        """float64 `[n, 2 * self.n]`: uniformly random points."""
        random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        return random.random((n, self.dimensions))

    def evaluate(self, genomes: np.ndarray) -> Evaluation:
        """Each genome by the referee. Genomes are moved into the unit square before they are measured."""
        points = np.clip(np.asarray(genomes, np.float64), *self.limits).reshape(len(genomes), -1, 2)
        scores = [self.score(p) for p in points]
        return Evaluation(
            np.array([s.objective for s in scores]),
            np.array([s.descriptor for s in scores]),
            notes=[s.notes for s in scores],
            outcome=np.array([s.outcome for s in scores]),
        )


def numbers(output: Any, what: str, most: int) -> np.ndarray:
    """`output` as a new float64 array, or Refused: only plain arrays and lists of finite numbers, at most `most`.

    A bool, a text, a masked array, an array of objects or of a class of its own is refused, and an
    integer that no float64 holds exactly: what the referee computes with is what was handed in.
    """
    if type(output) is np.ndarray and output.dtype in (np.float64, np.float32, np.int64, np.int32):
        shape, flat = output.shape, output.ravel().tolist() if output.size <= most else None
    elif type(output) in (list, tuple):
        flat, shape = _flattened(output, what, most), _shape(output)
    else:
        raise Refused(f"expected {what} as an array or a list of numbers, and a {type(output).__name__} came")
    if flat is None or len(flat) > most:
        raise Refused(f"expected {what} and more than {most} numbers came")
    for x in flat:
        if isinstance(x, int) and abs(x) > WHOLE:
            raise Refused(f"expected {what} as float64 numbers, and an integer beyond 2**53 came")
        if not math.isfinite(x):
            raise Refused(f"expected {what} as finite numbers, and {x} came")
    return np.array(flat, np.float64).reshape(shape)


def _flattened(output: Any, what: str, most: int) -> list[Any]:
    """The numbers of a list, or of a list of lists of equal length."""
    rows = output if output and type(output[0]) in (list, tuple) else [output]
    if len(rows) > most or any(type(row) not in (list, tuple) for row in rows):
        raise Refused(f"expected {what} as a list of numbers or rows of them, and something else came")
    if any(len(row) != len(rows[0]) for row in rows) or len(rows) * len(rows[0]) > most:
        raise Refused(f"expected {what} at most {most} numbers in rows of equal length, and other rows came")
    flat = [x for row in rows for x in row]
    strange = next((type(x).__name__ for x in flat if type(x) not in PLAIN), None)
    if strange:
        raise Refused(f"expected {what} as numbers, and a {strange} came among them")
    return flat


def _shape(output: Any) -> tuple[int, ...]:
    return (len(output), len(output[0])) if output and type(output[0]) in (list, tuple) else (len(output),)


def points(output: Any, n: int) -> np.ndarray:
    """float64 `[n, 2]`, or Refused."""
    array = numbers(output, f"{n} points, shape ({n}, 2),", 2 * n)
    if array.shape != (n, 2):
        raise Refused(f"expected {n} points, shape ({n}, 2), and an array of shape {array.shape} came")
    return array


def steps(output: Any, most: int) -> np.ndarray:
    """float64 `[k]`, the heights of 1 to `most` steps, none negative, or Refused."""
    array = numbers(output, "the heights of a step function,", most)
    if array.ndim != 1 or len(array) == 0:
        raise Refused(f"expected one row of at least one height, and an array of shape {array.shape} came")
    if array.min() < 0:
        raise Refused(f"expected heights that are not negative, and {array.min()} came")
    if array.max() * LEAST > array.min(where=array > 0, initial=math.inf):
        raise Refused("expected heights of 0, or of at least 2**-100 times the highest, and a lower one came")
    return array

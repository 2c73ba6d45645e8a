"""Eight worlds and nine mutators for which operators, novelty and parents matter.

The worlds are the mathematical problems of the program pack with numbers in the place of programs,
and two arms. A genome is a list of numbers with four decimals, so that two may be the same; the
points of a set have no order, so its form is the sorted set. The mutators differ in quality, some
get better or worse as a run goes on, one has moods, one repeats what is known in another order,
one knows nothing, and one is as good as another at five times the price. No model is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

import qdkit
from qdkit.domains import Arm, UnitArm
from qdkit.domains.mathematics.autocorrelation import Autocorrelation
from qdkit.domains.mathematics.circle_packing import CirclePacking
from qdkit.domains.mathematics.heilbronn import Heilbronn
from qdkit.domains.mathematics.min_max_distance import MinMaxDistance
from qdkit.domains.mathematics.overlap import MinimumOverlap

EVALUATION = 3.0  # the price of an evaluation, beside those of the mutators
MOOD = 150  # turns of a mutator with moods until the next one


@dataclass(frozen=True)
class World:
    """A problem as lists of numbers from `low` to `high`, in groups of `group` numbers."""

    name: str
    problem: Any
    size: int
    low: float = 0.0
    high: float = 1.0
    group: int = 1

    @property
    def bounds(self) -> Any:
        return self.problem.bounds

    @property
    def floor(self) -> float:
        return self.problem.floor

    def seeds(self, key: Any, n: int) -> list[list[float]]:
        random = _random(key)
        return [
            self.rounded(random.uniform(self.low, self.high, self.size)) for _ in range(min(n, 8))
        ]

    def evaluate(self, genomes: list[list[float]]) -> qdkit.Evaluation:
        if hasattr(self.problem, "evaluate"):
            return self.problem.evaluate(np.array(genomes))
        scores = [self.problem.score(genome) for genome in genomes]
        column = lambda name: [getattr(score, name) for score in scores]
        return qdkit.Evaluation(
            column("objective"),
            column("descriptor"),
            notes=column("notes"),
            outcome=column("outcome"),
        )

    def rounded(self, numbers: np.ndarray) -> list[float]:
        return np.round(np.clip(numbers, self.low, self.high), 4).tolist()

    def form(self, genome: list[float]) -> str:
        """Two genomes of one form are one answer: the points of a set in any order."""
        return repr(
            sorted(zip(*[iter(genome)] * self.group, strict=True)) if self.group > 1 else genome
        )


PI = float(np.pi)
TUNED = (  # settings may be chosen on these
    World("heilbronn 8", Heilbronn(8), 16, group=2),
    World("circles 8", CirclePacking(8), 16, group=2),
    World("autocorrelation 16", Autocorrelation(), 16),
    World("arm 10", Arm(joints=10), 10, -PI, PI),
)
HELD_OUT = (  # and are tried once on these
    World("distances 9", MinMaxDistance(9), 18, group=2),
    World("circles 11", CirclePacking(11), 22, group=2),
    World("overlap 16", MinimumOverlap(), 16),
    World("unit arm 10", UnitArm(joints=10), 10),
)


@dataclass(frozen=True)
class Mutator(qdkit.Operator):
    """Makes a child by `change(world, parents, random)`.

    Each costs `price`, which its notes tell.
    """

    world: World
    name: str
    change: Callable[[World, np.ndarray, np.random.Generator], np.ndarray]
    price: float = 1.0
    arity: int = 1

    def propose(self, key: Any, context: Any, n: int) -> Any:
        random = _random(key)
        parents = np.array(context.parents.genome).reshape(n, self.arity, -1)
        made = [self.world.rounded(self.change(self.world, some, random)) for some in parents]
        return qdkit.Proposal.of(made, self.name, context.parents)._replace(
            notes=[{"price": self.price}] * n
        )


@dataclass(frozen=True)
class Moody(Mutator):
    """A mutator that is alternately good and useless, by the turns that it has had."""

    worse: Any = None
    _turns: list[int] = field(default_factory=lambda: [0], repr=False, compare=False)

    def turn(self, n: int) -> qdkit.Operator:
        good = self._turns[0] // MOOD % 2 == 0
        self._turns[0] += n
        return Mutator(self.world, self.name, self.change if good else self.worse, self.price)


def noise(sigma: float, share: float) -> Callable[..., np.ndarray]:
    """Adds normal noise to a share of the numbers, in the width of their range."""

    def change(world: World, parents: np.ndarray, random: np.random.Generator) -> np.ndarray:
        child, chosen = parents[0].copy(), random.random(world.size) < share
        chosen[random.integers(world.size)] = True
        return child + chosen * random.normal(0, sigma * (world.high - world.low), world.size)

    return change


def moved(world: World, parents: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Moves one point, or one number, to a random place."""
    child = parents[0].reshape(-1, world.group).copy()
    child[random.integers(len(child))] = random.uniform(world.low, world.high, world.group)
    return child.ravel()


def mixed(world: World, parents: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Takes each point, or number, from one of two parents."""
    first, second = (parent.reshape(-1, world.group) for parent in parents)
    return np.where(random.random((len(first), 1)) < 0.5, first, second).ravel()


def repeated(world: World, parents: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Returns a known genome: the same points in another order, or the same numbers."""
    points = parents[0].reshape(-1, world.group)
    return (random.permutation(points) if world.group > 1 else points).ravel()


def anything(world: World, parents: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Returns a genome that does not depend on its parent."""
    return random.uniform(world.low, world.high, world.size)


def mutators(world: World) -> list[qdkit.Operator]:
    """Returns the nine mutators, new for every run, as one of them has a state."""
    return [
        Mutator(world, "coarse", noise(0.25, 0.5)),
        Mutator(world, "middle", noise(0.05, 0.3)),
        Mutator(world, "middle, dear", noise(0.05, 0.3), price=5.0),
        Mutator(world, "fine", noise(0.005, 0.3)),
        Mutator(world, "moved", moved),
        Mutator(world, "mixed", mixed, price=2.0, arity=2),
        Moody(world, "moody", noise(0.02, 0.2), worse=anything),
        Mutator(world, "repeated", repeated),
        Mutator(world, "anything", anything),
    ]


def _random(key: Any) -> np.random.Generator:
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))

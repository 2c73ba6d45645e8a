"""Novelty search: the most novel of a population and its offspring are the next population."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from qdkit.core.elites import Added
from qdkit.core.seeds import numpy_seed, seed_number
from qdkit.core.stages import PLACEHOLDER_ORIGIN
from qdkit.core.types import Axes, Batch, Context, Key, Operator, Proposal

from .gaussian import Gaussian
from .limits import GenomeLimits, Numbers, float_genomes


class NoveltyMemory(NamedTuple):
    """The columns of `n` candidates that novelty search stores.

    genome: float `[n, g]`. descriptor: float `[n, d]`. objective: float `[n]`. id: int32 `[n]`.
    features: float `[n, f]`, from which axes that learn compute new descriptors.
    """

    genome: np.ndarray
    descriptor: np.ndarray
    objective: np.ndarray
    id: np.ndarray
    features: np.ndarray

    def take(self, rows: np.ndarray | slice) -> NoveltyMemory:
        """Returns the candidates of some rows."""
        return NoveltyMemory(*(column[rows] for column in self))

    @classmethod
    def concatenated(cls, parts: list[NoveltyMemory]) -> NoveltyMemory:
        """Returns the candidates of all parts, in their order."""
        return cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    @classmethod
    def of(cls, batch: Batch, name: str) -> NoveltyMemory:
        """Returns the candidates of a batch that are ok and have a descriptor.

        An unknown objective becomes -inf. `name` is that of the operator, for the message of the
        TypeError that is raised if genomes are not arrays of floats.
        """
        usable = batch.ok & np.isfinite(batch.descriptor).all(1)
        rows = batch.take(usable)
        objective = np.where(np.isnan(rows.objective), -np.inf, rows.objective)
        return cls(
            float_genomes(np.asarray(rows.genome), name),
            rows.descriptor,
            objective,
            rows.id,
            rows.features,
        )

    @classmethod
    def with_axes(cls, parts: list[NoveltyMemory], axes: Axes) -> list[NoveltyMemory]:
        """Returns the parts with the descriptors that `axes` compute."""
        if not parts:
            return []
        every = cls.concatenated(parts)
        batch = Batch.unevaluated(Proposal.of(every.genome, "known")).replace(
            features=every.features
        )
        rows = np.split(np.asarray(axes(batch)), np.cumsum([len(part.id) for part in parts])[:-1])
        return [part._replace(descriptor=row) for part, row in zip(parts, rows, strict=True)]


class NoiseTurn(Operator):
    """One turn that adds normal noise of `sigma` to `parents` instead of those of the search.

    If `parents` is empty, the parents of the search are used.
    """

    def __init__(
        self, parents: NoveltyMemory, sigma: Numbers, limits: GenomeLimits | None, name: str
    ):
        self.parents, self.name = parents, name
        self._noise = Gaussian(sigma, limits, "clip", name)

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        if not len(self.parents.id):
            return self._noise.propose(key, context, n)
        known = Proposal(self.parents.genome, np.full((n, 1), -1, np.int32), [self.name] * n)
        parents = Batch.unevaluated(known).replace(id=self.parents.id)
        return self._noise.propose(key, Context(parents), n)


class NoveltySearch(Operator):
    """Novelty search (Lehman & Stanley 2011) with the settings of SERENE, alone or in `TwoPhase`.

    In a generation each member of the population has `offspring` children. Then `kept` of the
    children, drawn at random, go into the novelty memory, and the `population` most novel of
    members and children are the next population. Novelty is the mean distance to the `neighbours`
    nearest of population, children and memory. Objectives are ignored. The archive of the search
    is independent of the novelty memory and keeps what its own rule keeps.

    population: the number of members.
    offspring: the number of children of each member in a generation.
    neighbours: the number of nearest neighbours whose mean distance is the novelty.
    kept: the number of children of a generation that go into the memory.
    sigma: the standard deviation of the noise that makes a child; 0.05 in SERENE.
    limits: `(low, high)` of the genomes, to which entries beyond are set; (-5, 5) in SERENE.
    seed: the seed for the choice of the children that go into the memory.
    surprise: the share of generations, drawn at random, in which the candidates that most surprise
      the axes survive instead of the most novel; 0.5 in TAXONS. It needs axes with a method
      `surprise`, such as `qdkit.axes.TaxonsAxes`.

    When the axes learn, the descriptors of all stored candidates are computed again.

    Steps may have any size: a generation ends with the step that completes it. The first
    population is the seeds of the search. Raises ValueError for settings out of range.
    """

    def __init__(
        self,
        population: int = 100,
        offspring: int = 2,
        neighbours: int = 15,
        kept: int = 5,
        sigma: float = 0.05,
        limits: GenomeLimits | None = (-5.0, 5.0),
        seed: int = 0,
        name: str = "novel",
        surprise: float = 0.0,
    ):
        sizes = {"population": population, "offspring": offspring, "neighbours": neighbours}
        for what, value in sizes.items():
            if value != int(value) or value < 1:
                raise ValueError(f"{what} is {value}: a whole number from 1 is needed")
        if kept != int(kept) or kept < 0:
            raise ValueError(f"kept is {kept}: a whole number from 0 is needed")
        if not 0 <= surprise <= 1:
            raise ValueError(f"surprise is {surprise}: a share from 0 to 1 is needed")
        Gaussian(sigma, limits, "clip", name)  # raises ValueError for these settings
        self.population, self.offspring = population, offspring
        self.neighbours, self.kept = neighbours, kept
        self.sigma, self.limits, self.seed, self.name = sigma, limits, seed_number(seed), name
        self.surprise = surprise
        self.generations = 0
        self._axes: Any = None  # of the search, from `remeasure`
        self._members: NoveltyMemory | None = None
        self._children: list[NoveltyMemory] = []
        self._memory: list[NoveltyMemory] = []
        self._received = 0  # children of this generation, failed ones included
        self._next = 0  # the member whose turn it is

    def __repr__(self) -> str:
        own = ["population", "offspring", "neighbours", "kept", "sigma", "limits", "seed"]
        own += ["surprise"] if self.surprise else []
        return f"NoveltySearch({', '.join(f'{name}={getattr(self, name)!r}' for name in own)})"

    def turn(self, n: int) -> Operator:
        """Returns the operator that makes a child of each of the next `n` members."""
        if self._members is None:  # the first parents are those of the search
            return NoiseTurn(NoveltyMemory(*[np.empty(0)] * 5), self.sigma, self.limits, self.name)
        rows = np.arange(self._next, self._next + n) % len(self._members.id)
        self._next += n
        return NoiseTurn(self._members.take(rows), self.sigma, self.limits, self.name)

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        raise TypeError("a population only gives turns: call turn(n).propose(...)")

    def learn(self, batch: Batch, added: Added) -> None:
        """Takes the seeds as the first population, and then its own children.

        Candidates of other operators enter the memory only through `keep`.
        """
        own = np.array(
            [origin in (self.name, PLACEHOLDER_ORIGIN) for origin in batch.origin], bool
        )
        known = NoveltyMemory.of(batch.take(own), self.name) if own.any() else None
        if known is None and self.generations == 0 and not self._received:
            known = NoveltyMemory.of(batch, self.name)
            if len(known.id):
                earlier = [self._members] if self._members else []
                self._members = NoveltyMemory.concatenated([*earlier, known])
            return
        if known is None:
            return
        self._received += int(own.sum())
        if len(known.id):
            self._children.append(known)
        if self._members is None and self._children:
            self._members = self._children.pop()
        if self._members is not None and self._received >= self.offspring * len(self._members.id):
            self._end_generation(self._members)

    def remeasure(self, axes: Any) -> None:
        """Computes the descriptors of all stored candidates again, by other axes.

        Raises ValueError if `surprise` is set and the axes have no such method.
        """
        if self.surprise and not hasattr(axes, "surprise"):
            raise ValueError(
                f"surprise is {self.surprise}, and the search's axes have no method `surprise`: "
                "give it axes such as qdkit.axes.TaxonsAxes(), or leave surprise out"
            )
        self._axes = axes
        members = [self._members] if self._members else []
        every = NoveltyMemory.with_axes([*members, *self._children, *self._memory], axes)
        end = len(members + self._children)
        self._members = every[0] if members else None
        self._children, self._memory = every[len(members) : end], every[end:]

    def keep(self, known: NoveltyMemory) -> None:
        """Adds candidates to the memory, so that others near them are less novel."""
        if len(known.id):
            self._memory.append(known)

    def novelty(self, descriptor: np.ndarray) -> np.ndarray:
        """Returns the novelty of descriptors `[n, d]`, float `[n]`.

        It is infinite while no candidate is stored.
        """
        crowd = self._crowd(memory=True)
        if crowd is None:
            return np.full(len(descriptor), np.inf)
        return sparseness(descriptor, crowd.descriptor, self.neighbours)

    def distance_to_nearest(self, genome: np.ndarray) -> float:
        """Returns the distance of a genome to the nearest other of population and children.

        It is nan if there is no other.
        """
        crowd = self._crowd(memory=False)
        if crowd is None:
            return float("nan")
        difference = crowd.genome.astype(float) - genome
        distance = np.sqrt((difference**2).reshape(len(crowd.id), -1).sum(1))
        others = distance[distance > 0]
        return float(np.min(others)) if len(others) else float("nan")

    def _crowd(self, memory: bool) -> NoveltyMemory | None:
        """Returns population and children, and the memory if asked for; None if there are none."""
        parts = [self._members] if self._members else []
        parts = [*parts, *self._children, *(self._memory if memory else [])]
        return NoveltyMemory.concatenated(parts) if parts else None

    def _end_generation(self, members: NoveltyMemory) -> None:
        """Adds some of the children to the memory and selects the next population."""
        everyone = NoveltyMemory.concatenated([members, *self._children])
        fitness = self._fitness(everyone)
        children = everyone.take(slice(len(members.id), None))
        random = np.random.default_rng((numpy_seed(self.seed), self.generations))
        few = min(self.kept, len(children.id))
        if few:
            children = children.take(random.choice(len(children.id), few, replace=False))
        self.keep(children)
        self._members = everyone.take(np.argsort(-fitness, kind="stable")[: self.population])
        self._children, self._received, self._next = [], 0, 0
        self.generations += 1

    def _fitness(self, everyone: NoveltyMemory) -> np.ndarray:
        """Returns novelty or surprise, float `[n]`; the candidates with the greatest survive."""
        random = np.random.default_rng((numpy_seed(self.seed), self.generations, 1))
        if self.surprise and random.random() < self.surprise:
            if self._axes is None:
                raise RuntimeError(
                    f"{self.name!r} has not received the axes of the search, whose surprise it "
                    "needs: an operator that wraps others passes `remeasure` on to them"
                )
            return np.asarray(self._axes.surprise(everyone.features))
        crowd = NoveltyMemory.concatenated([everyone, *self._memory])
        return sparseness(everyone.descriptor, crowd.descriptor, self.neighbours, among=True)


def sparseness(
    places: np.ndarray, crowd: np.ndarray, k: int, *, among: bool = False
) -> np.ndarray:
    """Returns the mean distance of `places` `[n, d]` to their `k` nearest of `crowd`, float `[n]`.

    It is the mean distance to all of `crowd` if they are fewer, and infinite if there are none.

    among: whether the places are part of the crowd; a place is not its own neighbour.
    """
    k = min(k + among, len(crowd))
    distance = np.sqrt(((places[:, None] - crowd[None]) ** 2).sum(2))
    near = np.sort(np.partition(distance, k - 1, axis=1)[:, :k], axis=1)[:, int(among) :]
    return near.mean(1) if near.shape[1] else np.full(len(places), np.inf)

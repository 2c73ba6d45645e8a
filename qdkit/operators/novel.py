"""Novelty search: a population that is replaced by whoever of it and its offspring is most novel."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from qdkit.elites import Added
from qdkit.types import Axes, Batch, Context, Key, Operator, Proposal

from .gaussian import Gaussian
from .limits import Limits, Numbers, floats
from .portfolio import NEVER_MADE


class Known(NamedTuple):
    """What a population remembers of `n` candidates: float `[n, g]`, `[n, d]`, `[n]`, int32 `[n]` and float `[n, f]`.

    Features are what axes that learn give other descriptors of.
    """

    genome: np.ndarray
    descriptor: np.ndarray
    objective: np.ndarray
    id: np.ndarray
    features: np.ndarray

    def take(self, rows: np.ndarray | slice) -> Known:
        """Some of them."""
        return Known(*(column[rows] for column in self))

    @classmethod
    def joined(cls, parts: list[Known]) -> Known:
        """One after the other."""
        return cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    @classmethod
    def of(cls, batch: Batch, name: str) -> Known:
        """Those that are ok and have a place; an objective that is not known is -inf."""
        fit = batch.ok & np.isfinite(batch.descriptor).all(1)
        rows = batch.take(fit)
        objective = np.where(np.isnan(rows.objective), -np.inf, rows.objective)
        return cls(floats(np.asarray(rows.genome), name), rows.descriptor, objective, rows.id, rows.features)

    @classmethod
    def measured(cls, parts: list[Known], axes: Axes) -> list[Known]:
        """Each with its descriptors by `axes`."""
        if not parts:
            return []
        every = cls.joined(parts)
        batch = Batch.unevaluated(Proposal.of(every.genome, "known")).replace(features=every.features)
        rows = np.split(np.asarray(axes(batch)), np.cumsum([len(part.id) for part in parts])[:-1])
        return [part._replace(descriptor=row) for part, row in zip(parts, rows, strict=True)]


class Around(Operator):
    """One turn: normal noise of `sigma` around `parents`, whoever the search would choose."""

    def __init__(self, parents: Known, sigma: Numbers, limits: Limits | None, name: str):
        self.parents, self.name = parents, name
        self._noise = Gaussian(sigma, limits, "clip", name)

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        if not len(self.parents.id):
            return self._noise.propose(key, context, n)
        known = Proposal(self.parents.genome, np.full((n, 1), -1, np.int32), [self.name] * n)
        parents = Batch.unevaluated(known).replace(id=self.parents.id)
        return self._noise.propose(key, Context(parents), n)


class Novel(Operator):
    """Novelty search (Lehman & Stanley 2011) with the settings of SERENE, by itself or in `TwoPhase`.

    A generation is `offspring` children of each of the `population`. Then `kept` of the children, drawn at random, go
    into its memory, and the population is whoever of it and the children is most novel: the mean distance to the
    `neighbours` nearest of population, children and memory is greatest. Objectives mean nothing to it, and the search's
    archive holds whatever its own rule keeps.

    sigma: the standard deviation of the noise that makes a child; SERENE has 0.05.
    limits: `(low, high)` of the genomes, onto which is set what would lie beyond; SERENE has (-5, 5).
    seed: of the choice of who is remembered.
    surprise: the share of generations, drawn at random, in which the population is not who is most novel but who
      surprises the axes most; for axes that say so, such as `qdkit.axes.Taxons`, which has 0.5.

    When axes learn, all that it remembers is measured anew.

    Steps may be of any size: a generation ends with the step that completes it. The first population is the seeds
    of the search. Raises ValueError for settings that are none.
    """

    def __init__(
        self,
        population: int = 100,
        offspring: int = 2,
        neighbours: int = 15,
        kept: int = 5,
        sigma: float = 0.05,
        limits: Limits | None = (-5.0, 5.0),
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
        Gaussian(sigma, limits, "clip", name)  # raises at the door
        self.population, self.offspring, self.neighbours, self.kept = population, offspring, neighbours, kept
        self.sigma, self.limits, self.seed, self.name = sigma, limits, seed, name
        self.surprise = surprise
        self.generations = 0
        self._axes: Any = None  # as the search told it
        self._members: Known | None = None
        self._children: list[Known] = []
        self._memory: list[Known] = []
        self._heard = self._next = 0

    def __repr__(self) -> str:
        own = ["population", "offspring", "neighbours", "kept", "sigma", "limits", "seed"]
        own += ["surprise"] if self.surprise else []
        return f"Novel({', '.join(f'{name}={getattr(self, name)!r}' for name in own)})"

    def turn(self, n: int) -> Operator:
        """Children of the next `n` members."""
        if self._members is None:  # before any is known the parents are the search's
            return Around(Known(*[np.empty(0)] * 5), self.sigma, self.limits, self.name)
        rows = np.arange(self._next, self._next + n) % len(self._members.id)
        self._next += n
        return Around(self._members.take(rows), self.sigma, self.limits, self.name)

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        raise TypeError("a population only gives turns: call turn(n).propose(...)")

    def learn(self, batch: Batch, added: Added) -> None:
        """Takes over the seeds, then its own children; what others make concerns it where they say so by `keep`."""
        own = np.array([origin in (self.name, NEVER_MADE) for origin in batch.origin], bool)
        known = Known.of(batch.take(own), self.name) if own.any() else None
        if known is None and self.generations == 0 and not self._heard:
            known = Known.of(batch, self.name)
            if len(known.id):
                self._members = Known.joined([self._members, known]) if self._members else known
            return
        if known is None:
            return
        self._heard += int(own.sum())
        if len(known.id):
            self._children.append(known)
        if self._members is None and self._children:
            self._members = self._children.pop()
        if self._members is not None and self._heard >= self.offspring * len(self._members.id):
            self._select(self._members)

    def remeasure(self, axes: Any) -> None:
        """Measures all that it remembers by other axes. Raises ValueError where `surprise` needs axes that have one."""
        if self.surprise and not hasattr(axes, "surprise"):
            raise ValueError(
                f"surprise is {self.surprise}, and the search's axes are surprised by nothing: give it axes such as "
                "qdkit.axes.Taxons(), or leave surprise out"
            )
        self._axes = axes
        members = [self._members] if self._members else []
        every, end = Known.measured([*members, *self._children, *self._memory], axes), len(members + self._children)
        self._members = every[0] if members else None
        self._children, self._memory = every[len(members) : end], every[end:]

    def keep(self, known: Known) -> None:
        """Remembers candidates, near which nobody is novel any more."""
        if len(known.id):
            self._memory.append(known)

    def novelty(self, descriptor: np.ndarray) -> np.ndarray:
        """float `[n]`: the mean distance to the nearest of all that it knows; infinite while that is nothing."""
        crowd = self._crowd(memory=True)
        if crowd is None:
            return np.full(len(descriptor), np.inf)
        return sparse(descriptor, crowd.descriptor, self.neighbours)

    def apart(self, genome: np.ndarray) -> float:
        """How far a genome is from the nearest other of population and children; nan where there is none."""
        crowd = self._crowd(memory=False)
        if crowd is None:
            return float("nan")
        away = np.sqrt(((crowd.genome.astype(float) - genome) ** 2).reshape(len(crowd.id), -1).sum(1))
        return float(np.min(away[away > 0], initial=np.inf)) if (away > 0).any() else float("nan")

    def _crowd(self, memory: bool) -> Known | None:
        parts = ([self._members] if self._members else []) + self._children + (self._memory if memory else [])
        return Known.joined(parts) if parts else None

    def _select(self, members: Known) -> None:
        """The end of a generation."""
        everyone = Known.joined([members, *self._children])
        worth = self._worth(everyone)
        children = everyone.take(slice(len(members.id), None))
        random = np.random.default_rng((self.seed, self.generations))
        few = min(self.kept, len(children.id))
        self.keep(children.take(random.choice(len(children.id), few, replace=False)) if few else children)
        self._members = everyone.take(np.argsort(-worth, kind="stable")[: self.population])
        self._children, self._heard, self._next = [], 0, 0
        self.generations += 1

    def _worth(self, everyone: Known) -> np.ndarray:
        """float `[n]`: by what they survive this generation, the greatest first: novelty, or surprise."""
        if self.surprise and np.random.default_rng((self.seed, self.generations, 1)).random() < self.surprise:
            if self._axes is None:
                raise RuntimeError(
                    f"nobody has told {self.name!r} the axes of the search, of which it wants to know what surprises "
                    "them: an operator that wraps others hands `remeasure` on to them"
                )
            return np.asarray(self._axes.surprise(everyone.features))
        crowd = Known.joined([everyone, *self._memory])
        return sparse(everyone.descriptor, crowd.descriptor, self.neighbours, among=True)


def sparse(places: np.ndarray, crowd: np.ndarray, k: int, *, among: bool = False) -> np.ndarray:
    """float `[n]`: the mean distance of `places` `[n, d]` to the `k` nearest of `crowd`, or to all if fewer.

    among: they are of the crowd themselves, and do not count as their own neighbours. Who is alone is at infinity.
    """
    k = min(k + among, len(crowd))
    away = np.sqrt(((places[:, None] - crowd[None]) ** 2).sum(2))
    near = np.sort(np.partition(away, k - 1, axis=1)[:, :k], axis=1)[:, int(among) :]
    return near.mean(1) if near.shape[1] else np.full(len(places), np.inf)

"""The emitters of SERENE (Paolo et al. 2021): small populations around rewarded candidates."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from qdkit.core.elites import Added
from qdkit.core.seeds import numpy_seed, seed_number
from qdkit.core.stages import PLACEHOLDER_ORIGIN
from qdkit.core.types import Axes, Batch, Context, Key, Operator, Proposal

from .novelty_search import NoiseTurn, NoveltyMemory, NoveltySearch, sparseness

EMITTER_POPULATION, EMITTER_CHILDREN = 6, 12  # members of an emitter, children of a generation
TRIAL_GENERATIONS = 5  # an emitter that has not improved after these generations is dropped
_ENDS = 3  # improvement compares the means of this many generations at either end
RECENT_GENERATIONS = 20  # stagnation compares this many generations at either end of its window
_FALLBACK_SIGMA = 0.05  # of an emitter whose first candidate has no neighbour


@dataclass
class RewardEmitter:
    """An elitist population that starts at one candidate.

    ancestor: the candidate it starts at. sigma: the standard deviation of the noise on parents.
    members: the population; None before the first generation has ended.
    children: those of the current generation.
    means, bests: the mean and the best objective of the population after each generation.
    received: the number of children of the current generation, failed ones included.
    next: the member whose turn it is.
    best_objective: the greatest objective of its children so far, or of the ancestor.
    greatest_novelty: that of its children so far.
    novel: the children that were more novel than all before them.
    """

    ancestor: NoveltyMemory
    sigma: float
    members: NoveltyMemory | None = None
    children: list[NoveltyMemory] = field(default_factory=list)
    means: list[float] = field(default_factory=list)
    bests: list[float] = field(default_factory=list)
    received: int = 0
    next: int = 0
    best_objective: float = 0.0
    greatest_novelty: float = -math.inf
    novel: list[NoveltyMemory] = field(default_factory=list)

    @property
    def trial_over(self) -> bool:
        """Whether it has had enough generations to show an improvement."""
        return len(self.means) > TRIAL_GENERATIONS

    @property
    def improvement(self) -> float:
        """The mean of the last generations minus that of the first; 0 if that is negative."""
        return max(float(np.mean(self.means[-_ENDS:]) - np.mean(self.means[:_ENDS])), 0.0)

    @property
    def stagnant(self) -> bool:
        """Whether the best objectives have stopped rising (Hansen 2016, B.3).

        They have if their median or their maximum is not higher at the end of a window than
        at its beginning.
        """
        window = int(20 * self.ancestor.genome[0].size / EMITTER_POPULATION + 120)
        if len(self.bests) <= window:
            return False
        first, last = self.bests[-window:][:RECENT_GENERATIONS], self.bests[-RECENT_GENERATIONS:]
        return bool(np.median(first) >= np.median(last) or max(first) >= max(last))

    def remeasure(self, axes: Axes) -> None:
        """Computes the descriptors of all stored candidates again, by other axes."""
        members = [self.members] if self.members else []
        (self.ancestor, *every) = NoveltyMemory.with_axes(
            [self.ancestor, *members, *self.children, *self.novel], axes
        )
        end = len(members + self.children)
        self.members = every[0] if members else None
        self.children, self.novel = every[len(members) : end], every[end:]

    def parents(self, n: int) -> NoveltyMemory:
        """Returns the parents of the next `n` children."""
        among = self.ancestor if self.members is None else self.members
        rows = np.arange(self.next, self.next + n) % len(among.id)
        self.next += n
        return among.take(rows)

    def add_children(self, known: NoveltyMemory, rows: int) -> None:
        """Adds `rows` children, of which `known` holds those that can be used.

        A generation ends with the step that completes it.
        """
        self.received += rows
        self.children += [known] if len(known.id) else []
        members = [self.members] if self.members else []
        needed = EMITTER_CHILDREN if members else EMITTER_POPULATION
        if self.received < needed or not (members or self.children):
            return
        everyone = NoveltyMemory.concatenated([*members, *self.children])
        order = np.argsort(-everyone.objective, kind="stable")
        self.members = everyone.take(order[:EMITTER_POPULATION])
        self.means.append(float(self.members.objective.mean()))
        self.bests.append(float(self.members.objective.max()))
        self.children, self.received, self.next = [], 0, 0


class Rewarded(Operator):
    """Exploits candidates that are rewarded, with an objective above 0: one half of `TwoPhase`.

    Every rewarded candidate of another operator may start an emitter, those far from other
    rewarded ones first. An emitter is an elitist population of 6 with 12 children per
    generation. Its first members are drawn around the candidate, with a standard deviation of a
    third of the distance to the nearest genome in `explore`. An emitter that has not improved
    after 66 evaluations is dropped. The others continue until they stagnate. Which one continues
    is drawn at random among those that are nondominated in the novelty of their first candidate
    and in their improvement. A child with a greater objective than all before it in its emitter
    counts as rewarded too. Of an emitter that stagnates, `kept` novel children go into the memory
    of `explore`, as all rewarded candidates do.

    explore: the operator whose candidates are exploited and whose memory is added to.
    kept: the number of novel children of a stagnant emitter that go into that memory.
    seed: the seed of the choice among emitters.

    With steps of 6 candidates it is exactly as in SERENE. With others, a generation ends with the
    step that completes it.
    """

    def __init__(
        self, explore: NoveltySearch, kept: int = 5, seed: int = 0, name: str = "rewarded"
    ):
        if kept != int(kept) or kept < 0:
            raise ValueError(f"kept is {kept}: a whole number from 0 is needed")
        self.explore, self.kept, self.seed, self.name = explore, kept, seed_number(seed), name
        self.emitters: list[RewardEmitter] = []  # those that improved and do not stagnate
        self._candidates: list[NoveltyMemory] = []  # rewarded ones without an emitter, one each
        self._rewards: list[NoveltyMemory] = []
        self._current: RewardEmitter | None = None
        self._pending: deque[RewardEmitter] = deque()  # one for each turn not yet received
        self._left = self._chunk = self._choices = 0

    def __repr__(self) -> str:
        return f"Rewarded(kept={self.kept}, seed={self.seed})"

    @property
    def ready(self) -> bool:
        """Whether there is an emitter, or a candidate that may start one."""
        return bool(self._current or self.emitters or self._candidates)

    def begin(self, chunk: int) -> None:
        """Begins a phase of at most `chunk` candidates.

        The first two thirds of it are for new emitters, if there are any.
        """
        self._left = self._chunk = chunk
        if self._current and self._current.trial_over:
            self._current = None

    def turn(self, n: int) -> Operator:
        """Returns the operator that makes `n` children of the current emitter.

        Raises RuntimeError if there is nothing to exploit.
        """
        self._current = self._current or self._choose_emitter()
        self._left -= n
        self._pending.append(self._current)
        return NoiseTurn(
            self._current.parents(n), self._current.sigma, self.explore.limits, self.name
        )

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        raise TypeError("emitters only give turns: call turn(n).propose(...)")

    def learn(self, batch: Batch, added: Added) -> None:
        """Updates the emitter of its own children, and finds rewarded candidates of others."""
        own = np.array(
            [origin in (self.name, PLACEHOLDER_ORIGIN) for origin in batch.origin], bool
        )
        if (~own).any():
            others = NoveltyMemory.of(batch.take(~own), self.name)
            for row in np.flatnonzero(others.objective > 0):
                self._candidates.append(others.take(slice(row, row + 1)))
                self._reward(self._candidates[-1])
        if own.any() and self._pending:
            children = NoveltyMemory.of(batch.take(own), self.name)
            self._update(self._pending.popleft(), children, int(own.sum()))

    def remeasure(self, axes: Axes) -> None:
        """Computes the descriptors and novelty of all stored candidates again, by other axes.

        `explore`, which computes the novelty, has to be measured again before.
        """
        self._candidates = NoveltyMemory.with_axes(self._candidates, axes)
        self._rewards = NoveltyMemory.with_axes(self._rewards, axes)
        current = [self._current] if self._current else []
        emitters = {id(one): one for one in (*self.emitters, *self._pending, *current)}
        for emitter in emitters.values():
            emitter.remeasure(axes)
            if emitter.novel:
                novel = NoveltyMemory.concatenated(emitter.novel)
                emitter.greatest_novelty = float(self.explore.novelty(novel.descriptor).max())

    def _update(self, emitter: RewardEmitter, known: NoveltyMemory, rows: int) -> None:
        """Adds children to an emitter, and drops it if it has not improved or stagnates."""
        for row, objective in enumerate(known.objective):
            if objective > emitter.best_objective:
                emitter.best_objective = float(objective)
                self._reward(known.take(slice(row, row + 1)))
        for row, novelty in enumerate(self.explore.novelty(known.descriptor)):
            if novelty > emitter.greatest_novelty:
                emitter.greatest_novelty = float(novelty)
                emitter.novel.append(known.take(slice(row, row + 1)))
        trial_was_over = emitter.trial_over
        emitter.add_children(known, rows)
        if emitter.trial_over and not trial_was_over:
            self._current = None if self._current is emitter else self._current
            if emitter.improvement > 0:
                self.emitters.append(emitter)
        elif emitter.stagnant and any(emitter is other for other in self.emitters):
            self.emitters = [other for other in self.emitters if other is not emitter]
            self._current = None if self._current is emitter else self._current
            few = self._generator().permutation(len(emitter.novel))[: self.kept]
            for row in few:
                self.explore.keep(emitter.novel[row])

    def _choose_emitter(self) -> RewardEmitter:
        """Returns a new emitter in the part of the phase that is for them, else an old one."""
        if self._candidates and (self._left > self._chunk / 3 or not self.emitters):
            novelty = self._novelty(NoveltyMemory.concatenated(self._candidates))
            first = self._candidates.pop(int(np.argmax(novelty)))
            distance = self.explore.distance_to_nearest(first.genome[0])
            sigma = distance / 3 if math.isfinite(distance) else _FALLBACK_SIGMA
            return RewardEmitter(first, sigma, best_objective=float(first.objective[0]))
        if not self.emitters:
            raise RuntimeError(
                "there is nothing to exploit yet: give this operator to TwoPhase, or read `ready` "
                "first"
            )
        ancestors = NoveltyMemory.concatenated([emitter.ancestor for emitter in self.emitters])
        improvement = [emitter.improvement for emitter in self.emitters]
        points = np.stack([self._novelty(ancestors), improvement], 1)
        return self.emitters[int(self._generator().choice(np.flatnonzero(nondominated(points))))]

    def _novelty(self, known: NoveltyMemory) -> np.ndarray:
        """Returns the novelty of candidates among all rewarded ones, float `[n]`."""
        rewarded = NoveltyMemory.concatenated(self._rewards)
        neighbours = self.explore.neighbours
        return sparseness(known.descriptor, rewarded.descriptor, neighbours, among=True)

    def _reward(self, known: NoveltyMemory) -> None:
        self._rewards.append(known)
        self.explore.keep(known)

    def _generator(self) -> np.random.Generator:
        self._choices += 1
        return np.random.default_rng((numpy_seed(self.seed), self._choices))


def nondominated(points: np.ndarray) -> np.ndarray:
    """Returns which of `points` `[n, m]` are nondominated, bool `[n]`.

    A point is dominated by another that is as great in all columns and greater in one.
    """
    others, each = points[None], points[:, None]
    dominated = np.all(others >= each, axis=2) & np.any(others > each, axis=2)
    return np.asarray(~np.any(dominated, axis=1))

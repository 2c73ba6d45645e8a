"""Small populations that climb from whatever was rewarded (the emitters of SERENE, Paolo et al. 2021)."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from qdkit.elites import Added
from qdkit.types import Axes, Batch, Context, Key, Operator, Proposal

from .novel import Around, Known, Novel, sparse
from .portfolio import NEVER_MADE

ELITE, CHILDREN = 6, 12  # of an emitter's population
TRIAL = 5  # generations after which an emitter that has not improved is dropped
ENDS = 3  # generations at either end whose means say whether it improved
RECENT = 20  # generations at either end of the window in which it stagnates
FALLBACK = 0.05  # sigma where a candidate has no neighbour


@dataclass
class Climb:
    """An emitter: the candidate it began with and what became of it."""

    ancestor: Known
    sigma: float
    members: Known | None = None
    children: list[Known] = field(default_factory=list)
    means: list[float] = field(default_factory=list)  # of the population after each generation
    bests: list[float] = field(default_factory=list)
    heard: int = 0
    asked: int = 0
    record: float = 0.0  # the greatest objective that it has stored
    farthest: float = -math.inf  # the greatest novelty it has met
    strangers: list[Known] = field(default_factory=list)  # who was more novel than all before

    @property
    def tried(self) -> bool:
        """Whether it has had its trial."""
        return len(self.means) > TRIAL

    @property
    def improvement(self) -> float:
        """How far the mean of the last generations is above that of the first; 0 where it is not."""
        return max(float(np.mean(self.means[-ENDS:]) - np.mean(self.means[:ENDS])), 0.0)

    @property
    def stagnant(self) -> bool:
        """Whether neither median nor best of the window's end is above those of its beginning (Hansen 2016, B.3)."""
        window = int(20 * self.ancestor.genome[0].size / ELITE + 120)
        if len(self.bests) <= window:
            return False
        first, last = self.bests[-window:][:RECENT], self.bests[-RECENT:]
        return bool(np.median(first) >= np.median(last) or max(first) >= max(last))

    def remeasure(self, axes: Axes) -> None:
        """Measures all that it remembers by other axes."""
        members = [self.members] if self.members else []
        (self.ancestor, *every) = Known.measured([self.ancestor, *members, *self.children, *self.strangers], axes)
        end = len(members + self.children)
        self.members = every[0] if members else None
        self.children, self.strangers = every[len(members) : end], every[end:]

    def parents(self, n: int) -> Known:
        """Of the next `n`."""
        among = self.ancestor if self.members is None else self.members
        rows = np.arange(self.asked, self.asked + n) % len(among.id)
        self.asked += n
        return among.take(rows)

    def hear(self, known: Known, rows: int) -> None:
        """Takes in children, of which `rows` were made; a generation ends with the step that completes it."""
        self.heard += rows
        self.children += [known] if len(known.id) else []
        if self.heard < (ELITE if self.members is None else CHILDREN) or not (self.members or self.children):
            return
        everyone = Known.joined([*([self.members] if self.members else []), *self.children])
        self.members = everyone.take(np.argsort(-everyone.objective, kind="stable")[:ELITE])
        self.means.append(float(self.members.objective.mean()))
        self.bests.append(float(self.members.objective.max()))
        self.children, self.heard, self.asked = [], 0, 0


class Rewarded(Operator):
    """Climbs from what `explore` found rewarded, its objective above 0: the exploiting half of `TwoPhase`.

    Every rewarded candidate may begin an emitter: an elitist population of 6 with 12 children a generation, whose first
    is drawn around it, with a third of the distance to the nearest genome that `explore` knows as standard deviation.
    Those far from other rewards begin first. An emitter has 66 evaluations to improve, or it is dropped; the others
    take turns until they stagnate, chosen at random among those that nobody beats in both the novelty of where they
    began and their improvement. Of each, what was better than all it had stored counts as rewarded too, and of those
    that have ended a few novel ones are told to `explore`.

    explore: whose finds it follows, and who is told what was rewarded.
    kept: how many of an emitter that has ended are remembered by `explore`.
    seed: of the choice among emitters.

    Steps of 6 follow SERENE to the letter; of others, a generation ends with the step that completes it.
    """

    def __init__(self, explore: Novel, kept: int = 5, seed: int = 0, name: str = "rewarded"):
        if kept != int(kept) or kept < 0:
            raise ValueError(f"kept is {kept}: a whole number from 0 is needed")
        self.explore, self.kept, self.seed, self.name = explore, kept, seed, name
        self.emitters: list[Climb] = []  # that improved and do not stagnate
        self._candidates: list[Known] = []  # that begin no emitter yet, one each
        self._rewards: list[Known] = []
        self._current: Climb | None = None
        self._turns: deque[Climb] = deque()
        self._left = self._chunk = self._choices = 0

    def __repr__(self) -> str:
        return f"Rewarded(kept={self.kept}, seed={self.seed})"

    @property
    def ready(self) -> bool:
        """Whether there is an emitter, or a candidate that may begin one."""
        return bool(self._current or self.emitters or self._candidates)

    def begin(self, chunk: int) -> None:
        """Hears that it may make `chunk` candidates: the first two thirds are for new emitters, as far as there are."""
        self._left = self._chunk = chunk
        if self._current and self._current.tried:
            self._current = None

    def turn(self, n: int) -> Operator:
        """Children of the emitter at work. Raises RuntimeError where there is nothing to exploit."""
        self._current = self._current or self._chosen()
        self._left -= n
        self._turns.append(self._current)
        return Around(self._current.parents(n), self._current.sigma, self.explore.limits, self.name)

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        raise TypeError("emitters only give turns: call turn(n).propose(...)")

    def learn(self, batch: Batch, added: Added) -> None:
        """Hears of its own children, and looks for rewards among those of others."""
        own = np.array([origin in (self.name, NEVER_MADE) for origin in batch.origin], bool)
        if (~own).any():
            others = Known.of(batch.take(~own), self.name)
            for row in np.flatnonzero(others.objective > 0):
                self._candidates.append(others.take(slice(row, row + 1)))
                self._reward(self._candidates[-1])
        if own.any() and self._turns:
            self._follow(self._turns.popleft(), Known.of(batch.take(own), self.name), int(own.sum()))

    def remeasure(self, axes: Axes) -> None:
        """Measures all that it remembers by other axes, and how novel it is; after `explore`, which says that."""
        self._candidates, self._rewards = (Known.measured(some, axes) for some in (self._candidates, self._rewards))
        current = [self._current] if self._current else []
        for emitter in {id(one): one for one in (*self.emitters, *self._turns, *current)}.values():
            emitter.remeasure(axes)
            if emitter.strangers:
                strangers = Known.joined(emitter.strangers)
                emitter.farthest = float(self.explore.novelty(strangers.descriptor).max())

    def _follow(self, emitter: Climb, known: Known, rows: int) -> None:
        """What became of an emitter's children, and so of it."""
        for row, objective in enumerate(known.objective):
            if objective > emitter.record:
                emitter.record = float(objective)
                self._reward(known.take(slice(row, row + 1)))
        for row, novelty in enumerate(self.explore.novelty(known.descriptor)):
            if novelty > emitter.farthest:
                emitter.farthest = float(novelty)
                emitter.strangers.append(known.take(slice(row, row + 1)))
        was = emitter.tried
        emitter.hear(known, rows)
        if emitter.tried and not was:
            self._current = None if self._current is emitter else self._current
            if emitter.improvement > 0:
                self.emitters.append(emitter)
        elif emitter.stagnant and any(emitter is other for other in self.emitters):
            self.emitters = [other for other in self.emitters if other is not emitter]
            self._current = None if self._current is emitter else self._current
            few = self._random().permutation(len(emitter.strangers))[: self.kept]
            for row in few:
                self.explore.keep(emitter.strangers[row])

    def _chosen(self) -> Climb:
        """A new emitter while there is time for one, else one that nobody beats."""
        if self._candidates and (self._left > self._chunk / 3 or not self.emitters):
            novelty = self._novelty(Known.joined(self._candidates))
            first = self._candidates.pop(int(np.argmax(novelty)))
            apart = self.explore.apart(first.genome[0])
            sigma = apart / 3 if math.isfinite(apart) else FALLBACK
            return Climb(first, sigma, record=float(first.objective[0]))
        if not self.emitters:
            raise RuntimeError("there is nothing to exploit yet: give this operator to TwoPhase, or ask `ready` first")
        novelty = self._novelty(Known.joined([emitter.ancestor for emitter in self.emitters]))
        points = np.stack([novelty, [emitter.improvement for emitter in self.emitters]], 1)
        return self.emitters[int(self._random().choice(np.flatnonzero(undominated(points))))]

    def _novelty(self, known: Known) -> np.ndarray:
        """float `[n]`: of each among what was rewarded."""
        return sparse(known.descriptor, Known.joined(self._rewards).descriptor, self.explore.neighbours, among=True)

    def _reward(self, known: Known) -> None:
        self._rewards.append(known)
        self.explore.keep(known)

    def _random(self) -> np.random.Generator:
        self._choices += 1
        return np.random.default_rng((self.seed, self._choices))


def undominated(points: np.ndarray) -> np.ndarray:
    """bool `[n]`: no other of `points` `[n, m]` is as great in all and greater in one."""
    beaten = np.all(points[None] >= points[:, None], axis=2) & np.any(points[None] > points[:, None], axis=2)
    return np.asarray(~np.any(beaten, axis=1))

"""Who is chosen as a parent: rules over the elites, pure and compiled.

    Search(..., parents=Weighted())                    good elites that have few children yet
    Search(..., parents=Fresh(Annealed(PowerLaw())))   tempered while few would be chosen; a tenth are fresh starts
    Search(..., parents=Towards(Weighted(), "empty"))  half of the candidates with a kind to aim for
    Search(..., parents=Near())                        from the neighbourhood of one of them (LMX-Near)
    operators.Steered(operator, PowerLaw())            for the candidates of one operator alone

A rule that weighs (`Weighing`) gives each cell a weight; parents are drawn by systematic resampling,
so that each is drawn as often as its share says, to within one. What wraps a rule changes the weights
(`Annealed`) or what was drawn (`Fresh`, `Towards`). How many parents a rule effectively chooses among,
1 / sum(p^2) for shares p, is kept for every step: a search whose number falls to a few is a hill climber.

Formulas are those of ShinkaEvolve (Lange et al. 2025), of Cully & Demiris (2018) and of entropic
particle filtering, where a docstring does not say otherwise. `C` is the number of cells.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from qdkit.elites import Elites
from qdkit.types import Key

NEIGHBOURS = 8  # cells with an elite among which a weak one is looked for
NEAR = 5  # elites that novelty is measured against
OTHERS = 256  # elites among which the nearest are looked for: all against all would be the square of the cells


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Standing:
    """How the elites stand when parents are chosen.

    elites: of the island at hand; the cells of others look empty.
    centre: float `[C, d]`, the middle of each cell, nan where the archive does not say and in those of other islands.
    children: float `[C]`, how many candidates were begun from the elite since it came.
    entered: float `[C]`, how many of them have entered the archive.
    progress: float, the share of the run that is done, between 0 and 1.
    """

    elites: Elites
    centre: Any
    children: Any
    entered: Any
    progress: jax.Array | float = 0.0


class Chosen(NamedTuple):
    """Parents for `n` new candidates, `a` each.

    cell: int32 `[n, a]`, of the elites.
    fresh: bool `[n]`, whether a seed of the domain takes the place of the first.
    target: float `[n, d]`, the kind to aim for; nan where there is none.
    share: float `[C]`, the chance of each elite to be drawn; 0 where a cell is empty.
    """

    cell: jax.Array
    fresh: jax.Array
    target: jax.Array
    share: jax.Array


class Parents(abc.ABC):
    """A rule by which parents are chosen. A frozen dataclass of its settings: it is compiled once for each."""

    @abc.abstractmethod
    def choose(self, key: Key, standing: Standing, n: int, arity: int) -> Chosen:
        """`arity` parents for each of `n` candidates; pure. Meaningless while there are no elites."""

    @property
    def within(self) -> Parents | None:
        """The rule that this one wraps."""
        return getattr(self, "rule", None)


class Weighing(Parents):
    """A rule that gives each elite a weight."""

    @abc.abstractmethod
    def log_weights(self, standing: Standing) -> jax.Array:
        """float `[C]`: the logarithm of each elite's weight. What it says of empty cells does not count."""

    def choose(self, key: Key, standing: Standing, n: int, arity: int) -> Chosen:
        occupied = standing.elites.occupied
        share = jax.nn.softmax(jnp.where(occupied, self.log_weights(standing), -jnp.inf))
        drawn = systematic(key, jnp.nan_to_num(share), n * arity)
        nowhere = jnp.full((n, standing.elites.descriptor.shape[1]), jnp.nan, standing.elites.descriptor.dtype)
        return Chosen(drawn.reshape(n, arity), jnp.zeros(n, bool), nowhere, jnp.nan_to_num(share))


@dataclass(frozen=True)
class Uniform(Weighing):
    """Every elite alike, as in MAP-Elites (Mouret & Clune 2015)."""

    def log_weights(self, standing: Standing) -> jax.Array:
        return jnp.zeros_like(standing.elites.objective)


@dataclass(frozen=True)
class Weighted(Weighing):
    """Good elites that have few children yet, as ShinkaEvolve does by default.

    w = sigmoid(sharpness * (f - median f) / max(MAD f, 1e-6)) / (1 + children), where MAD is the
    median of |f - median f|. The division is in its code and not in its paper; it makes the rule
    independent of the objective's unit.

    sharpness: 10 in ShinkaEvolve; with 0, the elites with the fewest children.
    """

    sharpness: float = 10.0

    def log_weights(self, standing: Standing) -> jax.Array:
        objective, occupied = standing.elites.objective, standing.elites.occupied
        middle = _median(objective, occupied)
        away = jnp.nan_to_num(jnp.where(occupied, objective - middle, 0.0))  # the greatest float where none holds it
        spread = jnp.maximum(_median(jnp.abs(away), occupied), 1e-6)
        merit = self.sharpness * away / spread
        return jax.nn.log_sigmoid(merit) - jnp.log1p(standing.children)


@dataclass(frozen=True)
class PowerLaw(Weighing):
    """The better the likelier, by rank: w = rank^-exponent, the best having rank 1 (ShinkaEvolve's "power_law").

    exponent: 1 in ShinkaEvolve; 0 is `Uniform`, and a large one always takes the best.
    """

    exponent: float = 1.0

    def log_weights(self, standing: Standing) -> jax.Array:
        return -self.exponent * jnp.log1p(_rank(standing.elites.objective))


@dataclass(frozen=True)
class Curious(Weighing):
    """Elites whose children enter the archive: w = (1 + entered) / (2 + children), the mean of a Beta(1, 1) prior.

    After the curiosity score of Cully & Demiris (2018), which adds and subtracts instead; a chance
    needs no scale, and one that is still unknown is taken for one half.
    """

    def log_weights(self, standing: Standing) -> jax.Array:
        return jnp.log1p(standing.entered) - jnp.log(2.0 + standing.children)


@dataclass(frozen=True)
class Novel(Weighing):
    """Elites that stand alone: w = the mean distance to the 5 nearest others (Lehman & Stanley 2011).

    Distances between descriptors, in the spread of each axis over the elites. The nearest are
    looked for among 256 elites, evenly spread over the cells.
    """

    def log_weights(self, standing: Standing) -> jax.Array:
        occupied = standing.elites.occupied
        place = _scaled(standing.elites.descriptor, occupied)
        others = _spread_out(occupied, min(OTHERS, len(occupied)))
        far = jnp.sqrt(((place[:, None] - place[others][None]) ** 2).sum(-1))
        itself = jnp.arange(len(occupied))[:, None] == others[None]
        counts = occupied[others] & (jnp.diff(others, prepend=-1) > 0)
        nearest, _ = _least(jnp.where(itself | ~counts[None], jnp.inf, far), min(NEAR, len(others)))
        known = jnp.isfinite(nearest)
        mean = jnp.where(known, nearest, 0.0).sum(1) / jnp.maximum(known.sum(1), 1)
        return jnp.log(jnp.maximum(mean, 1e-12))


@dataclass(frozen=True)
class Champions(Weighing):
    """`rule` among the best of each cell, where an archive keeps several (`qdkit.archives.Deep`)."""

    rule: Weighing = Uniform()

    def log_weights(self, standing: Standing) -> jax.Array:
        first = jnp.arange(len(standing.elites.objective)) % standing.elites.depth == 0
        return jnp.where(first, self.rule.log_weights(standing), -jnp.inf)


@dataclass(frozen=True)
class Annealed(Weighing):
    """`rule`, tempered while few elites would be chosen: weights become w^(1/T).

    With p the shares of `rule` over the N elites: T = max(1, (1 - progress) N / ESS) where the
    effective number ESS = 1 / sum(p^2) is below half of N and less than half of the run is done;
    else 1 (entropic particle filtering; its rule by the effective sample size). Progress is that
    towards the last step, or towards the budget of evaluations; without either it stays 0.
    """

    rule: Weighing

    def __post_init__(self) -> None:
        if not isinstance(self.rule, Weighing):
            raise TypeError(
                f"Annealed tempers weights, and {type(self.rule).__name__} changes what was drawn: put it outside, "
                f"{type(self.rule).__name__}(Annealed(...))"
            )

    def log_weights(self, standing: Standing) -> jax.Array:
        occupied = standing.elites.occupied
        plain = jnp.where(occupied, self.rule.log_weights(standing), -jnp.inf)
        part = effective(jnp.nan_to_num(jax.nn.softmax(plain))) / jnp.maximum(occupied.sum(), 1)
        early = (part < 0.5) & (standing.progress < 0.5)
        return plain / jnp.where(early, jnp.maximum(1.0, (1.0 - standing.progress) / part), 1.0)


@dataclass(frozen=True)
class Fresh(Parents):
    """`rule`, but in `share` of the candidates a seed of the domain takes the place of the first parent.

    A search that feeds on itself alone grows alike; a steady share of what did not come from it
    keeps it open. The seeds are those that the run began with, drawn evenly.
    """

    rule: Parents
    share: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share is the part of fresh starts, between 0 and 1, not {self.share}")

    def choose(self, key: Key, standing: Standing, n: int, arity: int) -> Chosen:
        key, draw = jax.random.split(key)
        chosen = self.rule.choose(key, standing, n, arity)
        return chosen._replace(fresh=chosen.fresh | jax.random.bernoulli(draw, self.share, (n,)))


@dataclass(frozen=True)
class Towards(Parents):
    """`rule`, and for `share` of the candidates a cell to aim for: its middle is the `target` of the context.

    cells: "empty", the nearest empty cell to the first parent; "weak", of the eight nearest cells with an elite the
      one with the least objective.

    Distances are those between the middles of cells, in the spread of each axis. An operator that asks
    a model says the target in its prompt; one of numbers may leave it aside. An archive whose cells
    have no middle has no targets.
    """

    rule: Parents
    cells: Literal["empty", "weak"] = "empty"
    share: float = 0.5

    def __post_init__(self) -> None:
        if self.cells not in ("empty", "weak"):
            raise ValueError(f'cells is "empty" or "weak", not {self.cells!r}')
        if not 0 <= self.share <= 1:
            raise ValueError(f"share is the part of candidates with a target, between 0 and 1, not {self.share}")

    def choose(self, key: Key, standing: Standing, n: int, arity: int) -> Chosen:
        key, draw = jax.random.split(key)
        chosen = self.rule.choose(key, standing, n, arity)
        depth = standing.elites.depth
        own, centre = chosen.cell[:, 0] // depth, standing.centre[::depth]
        objective = standing.elites.objective[::depth]  # of a cell, that of its best
        occupied, place = objective > -jnp.inf, _scaled(centre, jnp.isfinite(centre).all(1))

        def aim(cell: jax.Array) -> jax.Array:
            far = ((place - place[cell][None]) ** 2).sum(1)
            if self.cells == "empty":
                return jnp.argmin(jnp.where(occupied | jnp.isnan(far), jnp.inf, far))
            other = occupied & (jnp.arange(len(far)) != cell) & jnp.isfinite(far)
            _, near = _least(jnp.where(other, far, jnp.inf), min(NEIGHBOURS, len(far)))
            return near[jnp.argmin(jnp.where(other[near], objective[near], jnp.inf))]

        aims = jax.lax.map(aim, own)
        there = ~occupied[aims] if self.cells == "empty" else occupied[aims] & (aims != own)
        wanted = there & jax.random.bernoulli(draw, self.share, (n,))
        target = jnp.where(wanted[:, None], centre[aims], chosen.target)
        return chosen._replace(target=target.astype(chosen.target.dtype))


@dataclass(frozen=True)
class Near(Parents):
    """All parents of a candidate from one neighbourhood of the map (LMX-Near of QDAIF, Bradley et al. 2023).

    `rule` chooses a cell o. The parents are the best elites of cells b that are drawn without replacement
    by the weights w = 1 / (1 + |o - b|^power), with |.| the Euclidean distance in numbers of cells along
    each axis, however wide the cells are; o itself weighs most and may be left out. Where fewer cells
    than parents are filled, some parents are the same.

    power: 3 in QDAIF; with 0 all cells are alike.
    """

    rule: Parents = Champions()
    power: float = 3.0

    def choose(self, key: Key, standing: Standing, n: int, arity: int) -> Chosen:
        key, draw = jax.random.split(key)
        chosen = self.rule.choose(key, standing, n, 1)
        depth = standing.elites.depth
        place = _numbered(standing.centre[::depth])
        filled = standing.elites.occupied[::depth]

        def pick(cell: jax.Array, key: Key) -> jax.Array:
            far = jnp.nan_to_num(jnp.sqrt(((place - place[cell][None]) ** 2).sum(1)))  # no middle, no distance
            luck = jax.random.gumbel(key, far.shape, far.dtype)  # the greatest sums are draws without replacement
            least, cells = _least(jnp.where(filled, jnp.log1p(far**self.power) - luck, jnp.inf), arity)
            return jnp.where(jnp.isfinite(least), cells, cells[:1])

        cell = jax.vmap(pick)(chosen.cell[:, 0] // depth, jax.random.split(draw, n)) * depth
        return chosen._replace(cell=cell.astype(jnp.int32))


def reads(rule: Parents, kinds: tuple[type[Parents], ...]) -> bool:
    """Whether a rule, or one that it wraps, is of these kinds."""
    return isinstance(rule, kinds) or (rule.within is not None and reads(rule.within, kinds))


@partial(jax.jit, static_argnames=("rule", "n", "arity"))
def choose(rule: Parents, key: Key, number: int, standing: Standing, n: int, arity: int) -> Chosen:
    """What `rule` chooses with the `number`-th key that comes of `key`, compiled."""
    return rule.choose(jax.random.fold_in(key, number), standing, n, arity)


def systematic(key: Key, share: jax.Array, n: int) -> jax.Array:
    """int32 `[n]`: indices drawn by their share `[C]`, in a random order (systematic resampling).

    Each is drawn floor or ceil of n * share times: the counts vary least of all ways to draw.
    """
    start, order = jax.random.split(key)
    upto = jnp.cumsum(share)
    marks = (jnp.arange(n) + jax.random.uniform(start, dtype=upto.dtype)) / n * upto[-1]
    drawn = jnp.searchsorted(upto, marks, side="right")
    last = len(share) - 1 - jnp.argmax(share[::-1] > 0)  # rounding may leave the last mark at the very end
    return jax.random.permutation(order, jnp.minimum(drawn, last)).astype(jnp.int32)


def effective(share: Any) -> Any:
    """How many are effectively chosen among: 1 / sum(p^2); inf where nobody is."""
    return 1.0 / (share**2).sum()


def _rank(objective: jax.Array) -> jax.Array:
    """int `[C]`: 0 for the best; the first among equals first."""
    order = jnp.argsort(-objective, stable=True)
    return jnp.zeros(len(order), order.dtype).at[order].set(jnp.arange(len(order)))


def _least(values: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """The `k` least of the last axis and where they are; `jax.lax.top_k` takes ten times as long on a CPU."""
    found, where = [], []
    for _ in range(k):
        at = jnp.argmin(values, -1, keepdims=True)
        found.append(jnp.take_along_axis(values, at, -1))
        where.append(at)
        values = jnp.where(jax.lax.broadcasted_iota(int, values.shape, values.ndim - 1) == at, jnp.inf, values)
    return jnp.concatenate(found, -1), jnp.concatenate(where, -1)


def _median(values: jax.Array, where: jax.Array) -> jax.Array:
    """The median of those that count; 0 where none does."""
    ordered = jnp.sort(jnp.where(where, values, jnp.inf))
    n = where.sum()
    middle = ordered[jnp.maximum(n - 1, 0) // 2] / 2 + ordered[n // 2 % len(values)] / 2  # a sum may be infinite
    return jnp.where(n > 0, middle, 0.0)


def _numbered(centre: jax.Array) -> jax.Array:
    """float `[C, d]`: which cell along each axis, counted from 0, by the middles `[C, d]`; nan where there is none."""

    def along(middles: jax.Array) -> jax.Array:
        rising = jnp.sort(middles)  # nan last
        new = jnp.concatenate([jnp.zeros(1, bool), rising[1:] > rising[:-1]])
        number = jnp.cumsum(new)[jnp.searchsorted(rising, middles)]
        return jnp.where(jnp.isnan(middles), jnp.nan, number.astype(middles.dtype))

    return jax.vmap(along, 1, 1)(centre)


def _scaled(place: jax.Array, where: jax.Array) -> jax.Array:
    """float `[C, d]`: places in the spread of each axis over those that count."""
    low = jnp.where(where[:, None], place, jnp.inf).min(0, keepdims=True)
    high = jnp.where(where[:, None], place, -jnp.inf).max(0, keepdims=True)
    return place / jnp.where(high > low, high - low, 1.0)


def _spread_out(occupied: jax.Array, n: int) -> jax.Array:
    """int `[n]`, in order: occupied cells in even steps; some twice where there are fewer than `n`."""
    upto = jnp.cumsum(occupied)
    ranks = (jnp.arange(n) * jnp.maximum(upto[-1], 1)) // n
    return jnp.searchsorted(upto, ranks, side="right") % len(occupied)


__all__ = [
    "Annealed",
    "Champions",
    "Chosen",
    "Curious",
    "Fresh",
    "Near",
    "Novel",
    "Parents",
    "PowerLaw",
    "Standing",
    "Towards",
    "Uniform",
    "Weighing",
    "Weighted",
]

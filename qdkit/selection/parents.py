"""The selection of parents: rules over the elites, pure and compiled.

    # Good elites that have few children yet:
    Steering(parents=Weighted())
    # Tempered while few elites would be chosen; a tenth of the candidates are restarts:
    Steering(parents=Restarts(Annealed(PowerLaw())))
    # Half of the candidates get a target cell:
    Steering(parents=Towards(Weighted(), "empty"))
    # All parents of a candidate come from one neighbourhood (LMX-Near):
    Steering(parents=Near())
    # A rule for the candidates of one operator only:
    operators.Steered(operator, PowerLaw())

A `Weighing` rule gives each slot a weight. Parents are drawn by systematic resampling, so that the
number of draws of each elite differs from its share by less than one. A rule that wraps another
one changes the weights (`Annealed`) or the drawn parents (`Restarts`, `Towards`). For every step
the search keeps the effective number of parents, 1 / sum(p^2) for shares p: a search in which it
falls to a few is a hill climber.

The formulas are those of ShinkaEvolve (Lange et al. 2025), of Cully & Demiris (2018) and of
entropic particle filtering, unless a docstring says otherwise. `C` is the number of slots: the
cells times their depth.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from qdkit.core.elites import Elites
from qdkit.core.types import Key

_NEIGHBOURS = 8  # nearest occupied cells among which `Towards` looks for a weak one
_NEAR = 5  # nearest elites against which `ByNovelty` measures novelty
# Elites among which `ByNovelty` looks for the nearest ones: comparing all with all would take time
# that grows with the square of the number of cells.
_OTHERS = 256


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Standing:
    """The state of the elites when parents are chosen.

    elites: those of one island; the cells of other islands look empty.
    centre: float `[C, d]`, the centroid of each cell; nan where the archive defines none, and in
      the cells of other islands.
    children: float `[C]`, the number of candidates that were begun from the elite.
    entered: float `[C]`, the number of those that have entered the archive.
    progress: float, the share of the run that is done, between 0 and 1.
    """

    elites: Elites
    centre: Any
    children: Any
    entered: Any
    progress: jax.Array | float = 0.0


class Chosen(NamedTuple):
    """Parents for `n` new candidates, `a` each.

    cell: int32 `[n, a]`, the slots of the elites.
    fresh: bool `[n]`, whether a seed of the domain replaces the first parent.
    target: float `[n, d]`, the descriptor to aim for; nan where there is none.
    share: float `[C]`, the probability of each elite to be drawn; 0 in empty slots.
    """

    cell: jax.Array
    fresh: jax.Array
    target: jax.Array
    share: jax.Array


class Parents(abc.ABC):
    """The base class of rules that choose parents.

    A rule is a frozen dataclass of its settings, and is compiled once for each of their values.
    """

    @abc.abstractmethod
    def choose(self, key: Key, standing: Standing, n: int, arity: int) -> Chosen:
        """Returns `arity` parents for each of `n` candidates; a pure function.

        The result has no meaning while there are no elites.
        """

    @property
    def within(self) -> Parents | None:
        """The rule that this one wraps, None if it wraps none."""
        return getattr(self, "rule", None)


class Weighing(Parents):
    """A rule that gives each elite a weight."""

    @abc.abstractmethod
    def log_weights(self, standing: Standing) -> jax.Array:
        """Returns the logarithm of each elite's weight, float `[C]`; empty slots are ignored."""

    def choose(self, key: Key, standing: Standing, n: int, arity: int) -> Chosen:
        occupied = standing.elites.occupied
        share = jax.nn.softmax(jnp.where(occupied, self.log_weights(standing), -jnp.inf))
        drawn = systematic(key, jnp.nan_to_num(share), n * arity)
        descriptor = standing.elites.descriptor
        no_target = jnp.full((n, descriptor.shape[1]), jnp.nan, descriptor.dtype)
        cell, fresh = drawn.reshape(n, arity), jnp.zeros(n, bool)
        return Chosen(cell, fresh, no_target, jnp.nan_to_num(share))


@dataclass(frozen=True)
class Uniform(Weighing):
    """Every elite with the same weight, as in MAP-Elites (Mouret & Clune 2015)."""

    def log_weights(self, standing: Standing) -> jax.Array:
        return jnp.zeros_like(standing.elites.objective)


@dataclass(frozen=True)
class Weighted(Weighing):
    """Prefers good elites that have few children yet, as ShinkaEvolve does by default.

    w = sigmoid(sharpness * (f - median f) / MAD f) / (1 + children), where MAD is the median of
    |f - median f|. The division by the MAD is in ShinkaEvolve's code but not in its paper; it
    makes the rule independent of the objective's unit. Where that code bounds the MAD from below
    by 1e-6, this rule bounds it by 1e-6 of the greatest |f - median f|, so that objectives of any
    size get the same weights.

    sharpness: 10 in ShinkaEvolve; with 0, only the number of children counts.
    """

    sharpness: float = 10.0

    def log_weights(self, standing: Standing) -> jax.Array:
        objective, occupied = standing.elites.objective, standing.elites.occupied
        middle = _median(objective, occupied)
        # A difference that overflows becomes the greatest float.
        deviation = jnp.nan_to_num(jnp.where(occupied, objective - middle, 0.0))
        size = jnp.abs(deviation)
        spread = jnp.maximum(_median(size, occupied), 1e-6 * size.max())
        spread = jnp.where(spread > 0, spread, 1.0)  # equal objectives: every deviation is 0
        merit = self.sharpness * deviation / spread
        return jax.nn.log_sigmoid(merit) - jnp.log1p(standing.children)


@dataclass(frozen=True)
class PowerLaw(Weighing):
    """Weights by rank: w = rank^-exponent, where the best has rank 1 (ShinkaEvolve's "power_law").

    exponent: 1 in ShinkaEvolve; 0 is `Uniform`, and a large one always chooses the best.
    """

    exponent: float = 1.0

    def log_weights(self, standing: Standing) -> jax.Array:
        return -self.exponent * jnp.log1p(_rank(standing.elites.objective))


@dataclass(frozen=True)
class Curious(Weighing):
    """Prefers elites whose children enter the archive: w = (1 + entered) / (2 + children).

    The weight is the posterior mean of the probability to enter, with a Beta(1, 1) prior. It
    follows the curiosity score of Cully & Demiris (2018), which adds and subtracts instead. A
    probability needs no scale, and is one half while there are no children.
    """

    def log_weights(self, standing: Standing) -> jax.Array:
        return jnp.log1p(standing.entered) - jnp.log(2.0 + standing.children)


@dataclass(frozen=True)
class ByNovelty(Weighing):
    """Prefers novel elites: w = the mean distance to the 5 nearest others (Lehman & Stanley 2011).

    Distances are those between descriptors, in units of the spread of each axis over the elites.
    The nearest are searched among 256 elites that are evenly spread over the cells.
    """

    def log_weights(self, standing: Standing) -> jax.Array:
        occupied = standing.elites.occupied
        place = _scaled(standing.elites.descriptor, occupied)
        others = _spread_out(occupied, min(_OTHERS, len(occupied)))
        far = jnp.sqrt(((place[:, None] - place[others][None]) ** 2).sum(-1))
        itself = jnp.arange(len(occupied))[:, None] == others[None]
        counts = occupied[others] & (jnp.diff(others, prepend=-1) > 0)
        others_only = jnp.where(itself | ~counts[None], jnp.inf, far)
        nearest, _ = _least(others_only, min(_NEAR, len(others)))
        known = jnp.isfinite(nearest)
        mean = jnp.where(known, nearest, 0.0).sum(1) / jnp.maximum(known.sum(1), 1)
        return jnp.log(jnp.maximum(mean, 1e-12))


@dataclass(frozen=True)
class Champions(Weighing):
    """Applies `rule` to the best elite of each cell, for a `qdkit.archives.DeepGrid`."""

    rule: Weighing = Uniform()

    def log_weights(self, standing: Standing) -> jax.Array:
        first = jnp.arange(len(standing.elites.objective)) % standing.elites.depth == 0
        return jnp.where(first, self.rule.log_weights(standing), -jnp.inf)


@dataclass(frozen=True)
class Annealed(Weighing):
    """Tempers the weights of `rule` to w^(1/T) while it would choose few elites.

    With p the shares of `rule` over the N elites, T = max(1, (1 - progress) N / ESS) if the
    effective number ESS = 1 / sum(p^2) is below half of N and less than half of the run is done,
    else T = 1 (entropic particle filtering, with its rule by the effective sample size). Progress
    is measured towards the last step or the budget of evaluations; without either it stays 0.

    Raises TypeError for a `rule` that is not a `Weighing`.
    """

    rule: Weighing

    def __post_init__(self) -> None:
        if not isinstance(self.rule, Weighing):
            raise TypeError(
                f"Annealed tempers weights, and {type(self.rule).__name__} changes what was "
                f"drawn: put it outside, {type(self.rule).__name__}(Annealed(...))"
            )

    def log_weights(self, standing: Standing) -> jax.Array:
        occupied = standing.elites.occupied
        plain = jnp.where(occupied, self.rule.log_weights(standing), -jnp.inf)
        share = jnp.nan_to_num(jax.nn.softmax(plain))
        part = effective_parents(share) / jnp.maximum(occupied.sum(), 1)
        early = (part < 0.5) & (standing.progress < 0.5)
        return plain / jnp.where(early, jnp.maximum(1.0, (1.0 - standing.progress) / part), 1.0)


@dataclass(frozen=True)
class Restarts(Parents):
    """Applies `rule`, and replaces the first parent by a seed for `share` of the candidates.

    A search whose candidates all descend from its own elites loses diversity; a steady share of
    restarts counteracts that. The seeds are those of the run's initial population, drawn
    uniformly.

    Raises ValueError for a share outside [0, 1].
    """

    rule: Parents
    share: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(
                "share is the part of candidates that are restarts, between 0 and 1, not "
                f"{self.share}"
            )

    def choose(self, key: Key, standing: Standing, n: int, arity: int) -> Chosen:
        key, draw = jax.random.split(key)
        chosen = self.rule.choose(key, standing, n, arity)
        return chosen._replace(fresh=chosen.fresh | jax.random.bernoulli(draw, self.share, (n,)))


@dataclass(frozen=True)
class Towards(Parents):
    """Applies `rule`, and gives `share` of the candidates the centroid of a cell as `target`.

    cells: "empty" for the empty cell nearest to the first parent; "weak" for the one with the
      lowest objective of the eight nearest occupied cells.

    Distances are those between centroids, in units of the spread of each axis. An operator that
    asks a model puts the target into its prompt; a numeric operator may ignore it. An archive
    whose cells have no centroids gives no targets. Raises ValueError for other `cells` and for a
    share outside [0, 1].
    """

    rule: Parents
    cells: Literal["empty", "weak"] = "empty"
    share: float = 0.5

    def __post_init__(self) -> None:
        if self.cells not in ("empty", "weak"):
            raise ValueError(f'cells is "empty" or "weak", not {self.cells!r}')
        if not 0 <= self.share <= 1:
            raise ValueError(
                f"share is the part of candidates with a target, between 0 and 1, not {self.share}"
            )

    def choose(self, key: Key, standing: Standing, n: int, arity: int) -> Chosen:
        key, draw = jax.random.split(key)
        chosen = self.rule.choose(key, standing, n, arity)
        depth = standing.elites.depth
        own, centre = chosen.cell[:, 0] // depth, standing.centre[::depth]
        objective = standing.elites.objective[::depth]  # that of the best elite of each cell
        occupied, place = objective > -jnp.inf, _scaled(centre, jnp.isfinite(centre).all(1))

        def aim(cell: jax.Array) -> jax.Array:
            far = ((place - place[cell][None]) ** 2).sum(1)
            if self.cells == "empty":
                return jnp.argmin(jnp.where(occupied | jnp.isnan(far), jnp.inf, far))
            other = occupied & (jnp.arange(len(far)) != cell) & jnp.isfinite(far)
            _, near = _least(jnp.where(other, far, jnp.inf), min(_NEIGHBOURS, len(far)))
            return near[jnp.argmin(jnp.where(other[near], objective[near], jnp.inf))]

        aims = jax.lax.map(aim, own)
        exists = ~occupied[aims] if self.cells == "empty" else occupied[aims] & (aims != own)
        wanted = exists & jax.random.bernoulli(draw, self.share, (n,))
        target = jnp.where(wanted[:, None], centre[aims], chosen.target)
        return chosen._replace(target=target.astype(chosen.target.dtype))


@dataclass(frozen=True)
class Near(Parents):
    """Draws all parents of a candidate from one neighbourhood: LMX-Near of QDAIF.

    See Bradley et al. (2023). `rule` chooses a cell o. The parents are the best elites of cells b,
    drawn without replacement by the weights w = 1 / (1 + |o - b|^power), where |.| is the
    Euclidean distance in numbers of cells along each axis, whatever the widths of the cells. The
    cell o has the greatest weight and may still be left out. If fewer cells than parents are
    occupied, some parents are equal.

    power: 3 in QDAIF; with 0 all cells have the same weight.
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
            # Without a centroid the distance is 0.
            far = jnp.nan_to_num(jnp.sqrt(((place - place[cell][None]) ** 2).sum(1)))
            # The Gumbel-top-k trick: the greatest sums are draws without replacement.
            noise = jax.random.gumbel(key, far.shape, far.dtype)
            negative = jnp.where(filled, jnp.log1p(far**self.power) - noise, jnp.inf)
            least, cells = _least(negative, arity)
            return jnp.where(jnp.isfinite(least), cells, cells[:1])

        cell = jax.vmap(pick)(chosen.cell[:, 0] // depth, jax.random.split(draw, n)) * depth
        return chosen._replace(cell=cell.astype(jnp.int32))


def has_rule(rule: Parents, kinds: tuple[type[Parents], ...]) -> bool:
    """Whether a rule, or one that it wraps, is an instance of one of these classes."""
    return isinstance(rule, kinds) or (rule.within is not None and has_rule(rule.within, kinds))


@partial(jax.jit, static_argnames=("rule", "n", "arity"))
def choose(rule: Parents, key: Key, number: int, standing: Standing, n: int, arity: int) -> Chosen:
    """Returns what `rule` chooses with the `number`-th key derived from `key`; compiled."""
    return rule.choose(jax.random.fold_in(key, number), standing, n, arity)


def systematic(key: Key, share: jax.Array, n: int) -> jax.Array:
    """Returns indices drawn by their share `[C]`, int32 `[n]`: systematic resampling.

    The order is random. Each index is drawn floor(n * share) or ceil(n * share) times, the least
    variance of all ways to draw.
    """
    start, order = jax.random.split(key)
    upto = jnp.cumsum(share)
    marks = (jnp.arange(n) + jax.random.uniform(start, dtype=upto.dtype)) / n * upto[-1]
    drawn = jnp.searchsorted(upto, marks, side="right")
    # Rounding may put the last mark at the very end.
    last = len(share) - 1 - jnp.argmax(share[::-1] > 0)
    return jax.random.permutation(order, jnp.minimum(drawn, last)).astype(jnp.int32)


def effective_parents(share: Any) -> Any:
    """Returns the effective number of elites with these shares, 1 / sum(p^2); inf if all are 0."""
    return 1.0 / (share**2).sum()


def _rank(objective: jax.Array) -> jax.Array:
    """Returns the rank of each objective, int `[C]`: 0 for the best, the first of equals first."""
    order = jnp.argsort(-objective, stable=True)
    return jnp.zeros(len(order), order.dtype).at[order].set(jnp.arange(len(order)))


def _least(values: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """Returns the `k` least values along the last axis, and their indices.

    `jax.lax.top_k` takes ten times as long on a CPU.
    """
    least, indices = [], []
    position = jax.lax.broadcasted_iota(int, values.shape, values.ndim - 1)
    for _ in range(k):
        index = jnp.argmin(values, -1, keepdims=True)
        least.append(jnp.take_along_axis(values, index, -1))
        indices.append(index)
        values = jnp.where(position == index, jnp.inf, values)
    return jnp.concatenate(least, -1), jnp.concatenate(indices, -1)


def _median(values: jax.Array, where: jax.Array) -> jax.Array:
    """Returns the median of the values at `where`; 0 if there are none."""
    ordered = jnp.sort(jnp.where(where, values, jnp.inf))
    n = where.sum()
    # Halved before they are added, since the sum may overflow.
    middle = ordered[jnp.maximum(n - 1, 0) // 2] / 2 + ordered[n // 2 % len(values)] / 2
    return jnp.where(n > 0, middle, 0.0)


def _numbered(centre: jax.Array) -> jax.Array:
    """Returns the number of each cell along each axis, counted from 0, float `[C, d]`.

    centre: float `[C, d]`, the centroids of the cells; the result is nan where they are.
    """

    def along(values: jax.Array) -> jax.Array:
        rising = jnp.sort(values)  # nan last
        new = jnp.concatenate([jnp.zeros(1, bool), rising[1:] > rising[:-1]])
        number = jnp.cumsum(new)[jnp.searchsorted(rising, values)]
        return jnp.where(jnp.isnan(values), jnp.nan, number.astype(values.dtype))

    return jax.vmap(along, 1, 1)(centre)


def _scaled(place: jax.Array, where: jax.Array) -> jax.Array:
    """Returns points in units of the spread of each axis over those at `where`, float `[C, d]`."""
    low = jnp.where(where[:, None], place, jnp.inf).min(0, keepdims=True)
    high = jnp.where(where[:, None], place, -jnp.inf).max(0, keepdims=True)
    return place / jnp.where(high > low, high - low, 1.0)


def _spread_out(occupied: jax.Array, n: int) -> jax.Array:
    """Returns occupied slots in even steps, int `[n]`, ascending.

    Slots repeat if fewer than `n` are occupied.
    """
    upto = jnp.cumsum(occupied)
    ranks = (jnp.arange(n) * jnp.maximum(upto[-1], 1)) // n
    return jnp.searchsorted(upto, ranks, side="right") % len(occupied)


__all__ = [
    "Annealed",
    "ByNovelty",
    "Champions",
    "Chosen",
    "Curious",
    "Near",
    "Parents",
    "PowerLaw",
    "Restarts",
    "Standing",
    "Towards",
    "Uniform",
    "Weighing",
    "Weighted",
]

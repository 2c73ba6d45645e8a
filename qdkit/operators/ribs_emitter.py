"""The emitters of pyribs, such as those of CMA-ME (Fontaine et al. 2020), as operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.core.casting import cast
from qdkit.core.elites import Added
from qdkit.core.stages import PLACEHOLDER_ORIGIN
from qdkit.core.types import Batch, Context, Key, Operator, Proposal

from .limits import Numbers, float_genomes
from .portfolio import Portfolio

_Box = Sequence[tuple[float, float]]


class Emitter(Operator):
    """Runs the pyribs emitter that `make(archive, seed)` builds.

        def make(archive, seed):
            return EvolutionStrategyEmitter(
                archive, x0=[0] * 7, sigma0=0.5, batch_size=36, seed=seed
            )

        Emitter(make, solution_dim=7, bounds=((-1, 1), (-1, 1)))

    make: returns the emitter. `archive` has the attributes that emitters read from their archive,
      and `seed` is an int. It is called once by the constructor, to read the size, and once more
      with a seed from the first key, so that the seed of the search decides everything.
    solution_dim: the number of entries of a genome, or its shape.
    bounds: `(low, high)` of each axis of the descriptor, as in `Grid`.
    name: that of the emitter's class if None.
    size: the number of candidates per step.

    An emitter learns from each of its batches before it makes the next, so the search needs
    `ahead=1`; an earlier turn raises RuntimeError. Failed candidates are reported to the emitter
    as the worst of their batch. Genomes have the dtype of their parents, although pyribs computes
    in float64. The parents of its candidates are not known and are recorded as `NO_CANDIDATE`.

    Leave bounds of genomes to the domain: pyribs draws again what falls outside, and in many
    dimensions that does not end.
    """

    arity = 2  # the most elites that any pyribs emitter samples for a candidate

    def __init__(
        self,
        make: Callable[[Any, int], Any],
        solution_dim: int | tuple[int, ...],
        bounds: _Box,
        name: str | None = None,
    ):
        self._make, self._archive = make, _ArchiveView(solution_dim, bounds)
        trial = make(self._archive, 0)
        self.size, self.name = int(trial.batch_size), name or type(trial).__name__
        self._emitter: Any = None
        self._awaiting = False  # whether its last batch has not been received by `learn`
        self._proposal: Proposal | None = None  # that batch, once it is made

    def __repr__(self) -> str:
        return f"Emitter({self.name!r}, size={self.size})"

    @property
    def restarts(self) -> int:
        """The number of restarts from an elite; 0 for emitters that have none."""
        return getattr(self._emitter, "restarts", 0)

    def turn(self, n: int) -> Operator:
        """Returns the operator that makes the next batch.

        Raises ValueError if `n` is not the size of a batch, and RuntimeError if its last batch
        has not been received by `learn`.
        """
        if n != self.size:
            raise ValueError(
                f"the emitter {self.name!r} makes {self.size} candidates a step and the search "
                f"asked for {n}: build it with batch_size={n}"
            )
        if self._awaiting:
            raise RuntimeError(
                f"the emitter {self.name!r} was asked for a batch before it received its last, "
                "and it learns from each before it makes the next: search with ahead=1, and have "
                "any operator around it pass on every `learn`"
            )
        self._awaiting, self._proposal = True, None
        return _Turn(self, self.name, self.arity, self.size)

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        raise TypeError("an emitter only gives turns: call turn(n).propose(...)")

    def ask(self, key: Key, context: Context) -> Proposal:
        """Returns the batch of this turn, which is made by the first call."""
        if self._proposal is None:
            self._proposal = self._make_batch(key, context)
        return self._proposal

    def _make_batch(self, key: Key, context: Context) -> Proposal:
        parents = context.parents
        elites = float_genomes(parents.genome, self.name) if len(parents) else np.empty(0)
        self._archive.set_elites(elites)
        if self._emitter is None:
            self._emitter = self._make(self._archive, int(jax.random.bits(key, dtype=jnp.uint32)))
        genomes = self._emitter.ask()
        if len(elites):
            genomes = cast(genomes, elites.dtype, self.name)
        return Proposal.of(genomes, self.name)

    def learn(self, batch: Batch, added: Added) -> None:
        if PLACEHOLDER_ORIGIN in batch.origin and self._proposal is None:
            self._awaiting = False  # the budget ended before its batch was made
        own = np.array([origin == self.name for origin in batch.origin], bool)
        if not (own.any() and self._awaiting):
            return  # made by other operators, or judged again and already received
        rows, value = batch.take(own), np.asarray(added.value, np.float64)[own]
        result = {"status": np.asarray(added.status)[own], "value": _worst_if_unknown(value)}
        objective = _worst_if_unknown(rows.objective)
        descriptor = _mean_if_unknown(rows.descriptor, self._archive.lower_bounds)
        self._emitter.tell(np.asarray(rows.genome), objective, descriptor, result)
        self._awaiting = False


@dataclass(frozen=True)
class _Turn(Operator):
    """One turn of an emitter."""

    emitter: Emitter
    name: str
    arity: int
    size: int

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        return self.emitter.ask(key, context)


def cma_me(
    solution_dim: int,
    bounds: _Box,
    *,
    x0: Numbers = 0.0,
    sigma: float = 0.5,
    ranker: str = "2imp",
    batch: int = 36,
    emitters: int = 1,
) -> Portfolio:
    """Returns CMA-ME (Fontaine et al. 2020) of `emitters` strategies of `batch` candidates each.

    bounds: `(low, high)` of each axis of the descriptor.
    x0: the first mean of each strategy, one number or one for each entry of a genome.
    sigma: the first standard deviation of each strategy.
    ranker: how candidates are ranked: "2imp" by improvement, "rd" along a random direction of
      descriptors, "obj" by the objective alone; or another of `ribs.emitters.rankers`.
    """
    ribs_emitters = _import_ribs_emitters()
    start = np.broadcast_to(np.asarray(x0, np.float64), solution_dim)

    def make(archive: Any, seed: int) -> Any:
        return ribs_emitters.EvolutionStrategyEmitter(
            archive, x0=start, sigma0=sigma, ranker=ranker, batch_size=batch, seed=seed
        )

    return Portfolio(
        [Emitter(make, solution_dim, bounds, f"cma-me {i}") for i in range(emitters)],
        name="cma-me",
    )


def _import_ribs_emitters() -> Any:
    """Returns the module `ribs.emitters`, imported with numba's compilation disabled.

    With numba, pyribs compiles the arithmetic of its strategies again in every process. That takes
    seconds and makes nothing faster: 200 candidates of 12 or 100 numbers take as long without.
    """
    import numba

    numba_config: Any = numba.config
    disabled = numba_config.DISABLE_JIT
    numba_config.DISABLE_JIT = True
    try:
        import ribs.emitters
    finally:
        numba_config.DISABLE_JIT = disabled
    return ribs.emitters


class _ArchiveView:
    """The part of an archive that a pyribs emitter reads.

    Its elites are the parents of the last batch.
    """

    def __init__(self, solution_dim: int | tuple[int, ...], bounds: _Box):
        self.solution_dim, self.measure_dim = solution_dim, len(bounds)
        self.dtypes = dict.fromkeys(("solution", "objective", "measures"), np.float64)
        self.lower_bounds, self.upper_bounds = np.asarray(bounds, np.float64).reshape(-1, 2).T
        self.set_elites(np.empty(0))

    def set_elites(self, elites: np.ndarray) -> None:
        """Replaces the elites by others, which are in random order already."""
        self._elites, self._next = elites, 0

    @property
    def empty(self) -> bool:
        return len(self._elites) == 0

    def sample_elites(self, n: int) -> dict[str, np.ndarray]:
        """Returns the next `n` elites, starting again from the first after the last."""
        if self.empty:
            raise ValueError(
                "an emitter restarts from an elite, and the archive had none when the batch was "
                "made: give the search a seed that can be evaluated"
            )
        rows = np.arange(self._next, self._next + n) % len(self._elites)
        self._next += n
        return {"solution": self._elites[rows].astype(np.float64)}


def _worst_if_unknown(value: np.ndarray) -> np.ndarray:
    """Returns the values `[n]` with those that are not finite set below all others.

    pyribs raises for a batch with a nan in it.
    """
    known = np.isfinite(value)
    least = value[known].min(initial=0.0)
    return np.where(known, value, least - max(1.0, -least))


def _mean_if_unknown(descriptor: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Returns the descriptors `[n, d]` with the mean of the finite ones for those that are not.

    They are set to `low` if none is finite.
    """
    known = np.isfinite(descriptor).all(1)
    return np.where(known[:, None], descriptor, descriptor[known].mean(0) if known.any() else low)

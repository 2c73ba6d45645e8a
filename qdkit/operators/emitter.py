"""pyribs emitters (CMA-ME and its kin, Fontaine et al. 2020) as operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.elites import Added
from qdkit.types import Batch, Context, Key, Operator, Proposal

from .limits import Numbers, floats
from .portfolio import Portfolio

Box = Sequence[tuple[float, float]]


class Emitter(Operator):
    """Runs the pyribs emitter that `make(archive, seed)` builds.

        make = lambda archive, seed: EvolutionStrategyEmitter(archive, x0=[0] * 7, sigma0=0.5, batch_size=36, seed=seed)
        Emitter(make, solution_dim=7, bounds=((-1, 1), (-1, 1)))

    make: `archive` answers what emitters ask of theirs, `seed` is an int. It is called once here, to
      learn the size, and once more with a seed from the first key, so that the search's seed
      decides everything.
    solution_dim: the entries of a genome, an int or a shape.
    bounds: `(low, high)` of each axis of the descriptor, as in `Grid`.
    name: the class of the emitter where left out.
    size: how many candidates it makes a step.

    An emitter learns from each of its batches before it makes the next, so it needs a search with
    `ahead=1`; a second turn before that raises RuntimeError. Candidates that failed are told as the
    worst of their batch. Genomes have the dtype of their parents, though pyribs computes in float64.
    Their parents are not known: `NOBODY`.

    Bounds of genomes are better kept by the domain: pyribs draws again what falls outside, which in
    many dimensions does not end.
    """

    arity = 2  # as many as any pyribs emitter draws for a candidate

    def __init__(
        self, make: Callable[[Any, int], Any], solution_dim: int | tuple[int, ...], bounds: Box, name: str | None = None
    ):
        self._make, self._archive = make, _Face(solution_dim, bounds)
        trial = make(self._archive, 0)
        self.size, self.name = int(trial.batch_size), name or type(trial).__name__
        self._emitter: Any = None
        self._awaiting = False  # whether it has yet to hear of its last batch
        self._asked: Proposal | None = None  # that batch, once it is made

    def __repr__(self) -> str:
        return f"Emitter({self.name!r}, size={self.size})"

    @property
    def restarts(self) -> int:
        """How often it began anew from an elite; 0 for emitters that never do."""
        return getattr(self._emitter, "restarts", 0)

    def turn(self, n: int) -> Operator:
        """Its next batch, if it makes `n` and has heard of all that it made before."""
        if n != self.size:
            raise ValueError(
                f"the emitter {self.name!r} makes {self.size} candidates a step and the search asked for {n}: "
                f"build it with batch_size={n}"
            )
        if self._awaiting:
            raise RuntimeError(
                f"the emitter {self.name!r} was asked for a batch before it heard of its last, "
                "and it learns from each before it makes the next: search with ahead=1"
            )
        self._awaiting, self._asked = True, None
        return _Turn(self, self.name, self.arity, self.size)

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        raise TypeError("an emitter only gives turns: call turn(n).propose(...)")

    def ask(self, key: Key, context: Context) -> Proposal:
        """The batch of this turn: made when it is first asked for, and the same however often it is."""
        if self._asked is None:
            self._asked = self._make_batch(key, context)
        return self._asked

    def _make_batch(self, key: Key, context: Context) -> Proposal:
        elites = floats(context.parents.genome, self.name) if len(context.parents) else np.empty(0)
        self._archive.show(elites)
        if self._emitter is None:
            self._emitter = self._make(self._archive, int(jax.random.bits(key, dtype=jnp.uint32)))
        asked = self._emitter.ask()
        return Proposal.of(asked.astype(elites.dtype) if len(elites) else asked, self.name)

    def learn(self, batch: Batch, added: Added) -> None:
        own = np.array([origin == self.name for origin in batch.origin], bool)
        if not (own.any() and self._awaiting):
            return  # not its own, or judged again: it has heard of them
        made, value = batch.take(own), np.asarray(added.value, np.float64)[own]
        result = {"status": np.asarray(added.status)[own], "value": _worst_if_unknown(value)}
        place = _middle_if_unknown(made.descriptor, self._archive.lower_bounds)
        self._emitter.tell(np.asarray(made.genome), _worst_if_unknown(made.objective), place, result)
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
    bounds: Box,
    *,
    x0: Numbers = 0.0,
    sigma: float = 0.5,
    ranker: str = "2imp",
    batch: int = 36,
    emitters: int = 1,
) -> Portfolio:
    """CMA-ME (Fontaine et al. 2020): `emitters` evolution strategies that make `batch` candidates each.

    bounds: `(low, high)` of each axis of the descriptor.
    x0: where each begins, one number or one for each entry of a genome.
    sigma: how far around it looks at first, a standard deviation.
    ranker: what it follows: "2imp" improvement, "rd" a random direction of descriptors, "obj" the
      objective alone; and the others of `ribs.emitters.rankers`.
    """
    emitters_of_pyribs = _pyribs()
    start = np.broadcast_to(np.asarray(x0, np.float64), solution_dim)

    def make(archive: Any, seed: int) -> Any:
        return emitters_of_pyribs.EvolutionStrategyEmitter(
            archive, x0=start, sigma0=sigma, ranker=ranker, batch_size=batch, seed=seed
        )

    return Portfolio([Emitter(make, solution_dim, bounds, f"cma-me {i}") for i in range(emitters)], name="cma-me")


def _pyribs() -> Any:
    """`ribs.emitters`, without compiling it.

    pyribs has numba compile the arithmetic of its strategies anew in every process, which takes
    seconds and makes nothing faster: 200 candidates of 12 or 100 numbers take as long without.
    """
    import numba

    numba_config: Any = numba.config
    compiles = numba_config.DISABLE_JIT
    numba_config.DISABLE_JIT = True
    try:
        import ribs.emitters
    finally:
        numba_config.DISABLE_JIT = compiles
    return ribs.emitters


class _Face:
    """The face of an archive that a pyribs emitter looks at; its elites are the parents of the last batch."""

    def __init__(self, solution_dim: int | tuple[int, ...], bounds: Box):
        self.solution_dim, self.measure_dim = solution_dim, len(bounds)
        self.dtypes = dict.fromkeys(("solution", "objective", "measures"), np.float64)
        self.lower_bounds, self.upper_bounds = np.asarray(bounds, np.float64).reshape(-1, 2).T
        self.show(np.empty(0))

    def show(self, elites: np.ndarray) -> None:
        """Puts these in the place of those before; drawn at random, so that their order is as good as any."""
        self._elites, self._next = elites, 0

    @property
    def empty(self) -> bool:
        return len(self._elites) == 0

    def sample_elites(self, n: int) -> dict[str, np.ndarray]:
        """The next `n`, from the first again after the last."""
        if self.empty:
            raise ValueError(
                "an emitter restarts from an elite, and the archive had none when the batch was made: "
                "give the search a seed that can be evaluated"
            )
        rows = np.arange(self._next, self._next + n) % len(self._elites)
        self._next += n
        return {"solution": self._elites[rows].astype(np.float64)}


def _worst_if_unknown(value: np.ndarray) -> np.ndarray:
    """The values `[n]`, those not finite set below all others: pyribs refuses a nan with the whole batch."""
    known = np.isfinite(value)
    least = value[known].min(initial=0.0)
    return np.where(known, value, least - max(1.0, -least))


def _middle_if_unknown(descriptor: np.ndarray, low: np.ndarray) -> np.ndarray:
    """The descriptors `[n, d]`, those not finite set to the mean of the others, which leads in no direction."""
    known = np.isfinite(descriptor).all(1)
    return np.where(known[:, None], descriptor, descriptor[known].mean(0) if known.any() else low)

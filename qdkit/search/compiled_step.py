"""The steps of a search as pure functions of arrays, and the compiled loop around them.

A candidate costs microseconds here, so none is recorded: it has no id and no row in a ledger. The
state has the elites with their genomes, and the operator's state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.core.elites import NOWHERE, Added, Archive, Elites, sample
from qdkit.core.prng import fast_key, standard_key
from qdkit.core.types import Domain, Key, Operator
from qdkit.operators.evolution import Pure, compute_once, evaluate_traced

CHUNK = 100  # the most steps that one call of the compiled loop makes


class CompiledState(NamedTuple):
    """The whole state of a run, as arrays; with the seed and the parts it determines the rest.

    clipped: int32, how many descriptors so far lay outside the bounds and were put into a border
      cell.
    refused: int32, how many candidates so far have no cell.
    """

    elites: Elites
    operator: Any
    steps: jax.Array  # int32
    clipped: jax.Array
    refused: jax.Array


class StepProgress(NamedTuple):
    """The progress of a run after a step, or arrays `[n]` after each of `n` steps.

    invalid: how many candidates of that step alone were invalid.
    """

    coverage: Any
    qd_score: Any
    best: Any
    clipped: Any
    refused: Any
    invalid: Any


@dataclass(frozen=True, eq=False)
class CompiledLoop:
    """The steps of a search as pure functions of arrays."""

    domain: Domain
    archive: Archive
    operator: Pure
    floor: float

    def begin(self, operator: Any, seeds: jax.Array) -> tuple[CompiledState, StepProgress]:
        """The state and the progress once the seeds are in the archive.

        operator: the state of the operator.
        """
        none = jnp.zeros((), jnp.int32)
        elites = self.archive.init({"genome": seeds[0]})
        state, invalid, *_ = self._insert(CompiledState(elites, operator, none, none, none), seeds)
        return state, self.progress(state, invalid)

    def step(self, root: Key, state: CompiledState) -> CompiledState:
        """Makes one step: propose, evaluate, insert, learn."""
        return self._step(root, state)[0]

    def _step(self, root: Key, state: CompiledState) -> tuple[CompiledState, jax.Array]:
        """Makes one step; returns the state and how many of its candidates were invalid."""
        making, picking = jax.random.split(jax.random.fold_in(fast_key(root), state.steps))
        draw = lambda n: compute_once(
            state.elites.payload["genome"][sample(picking, state.elites, n)], state.steps > 0
        )
        operator, genomes = self.operator.ask(standard_key(making), state.operator, draw)
        genomes = self._as_seeds(genomes, state.elites.payload["genome"].dtype)
        after, invalid, objective, descriptor, added = self._insert(state, genomes)
        return after._replace(
            operator=self.operator.tell(operator, genomes, objective, descriptor, added)
        ), invalid

    def _as_seeds(self, genomes: jax.Array, dtype: Any) -> jax.Array:
        """The genomes in the dtype of the seeds. Raises TypeError if a value could change."""
        if not np.can_cast(genomes.dtype, dtype, "safe"):
            raise TypeError(
                f"the operator {self.operator.name!r} makes genomes of {genomes.dtype}, and the "
                f"seeds are {dtype}: return {genomes.dtype} from the domain's `seeds`, or {dtype} "
                "from the operator's `vary` or `ask`"
            )
        return genomes.astype(dtype)

    def advance(
        self, root: Key, state: CompiledState, n: jax.Array
    ) -> tuple[CompiledState, StepProgress]:
        """Makes `n` steps, at most `CHUNK`.

        Returns the state, and the progress after each step in arrays `[CHUNK]`, 0 after the
        `n`-th.
        """

        def body(
            i: jax.Array, carry: tuple[CompiledState, StepProgress]
        ) -> tuple[CompiledState, StepProgress]:
            state, invalid = self._step(root, carry[0])
            return state, jax.tree.map(
                lambda column, x: column.at[i].set(x), carry[1], self.progress(state, invalid)
            )

        blank = jax.tree.map(
            lambda x: jnp.zeros(CHUNK, x.dtype), jax.eval_shape(self.progress, state, state.steps)
        )
        return jax.lax.fori_loop(0, n, body, (state, blank))

    def progress(self, state: CompiledState, invalid: jax.Array) -> StepProgress:
        """The progress after a step, of which so many candidates were invalid."""
        objective = state.elites.objective[:: state.elites.depth]  # of the best of each cell
        occupied = objective > -jnp.inf
        score = jnp.where(occupied, objective - self.floor, 0.0).sum()
        best = jnp.where(occupied.any(), objective.max(), jnp.nan)
        return StepProgress(occupied.mean(), score, best, state.clipped, state.refused, invalid)

    def _insert(
        self, state: CompiledState, genomes: jax.Array
    ) -> tuple[CompiledState, jax.Array, jax.Array, jax.Array, Added]:
        # computed once and apart, so that the same number is compared, stored and looked up
        objective, descriptor = compute_once(
            evaluate_traced(self.domain, genomes), state.steps >= 0
        )
        elites, added = self.archive.add(state.elites, objective, descriptor, {"genome": genomes})
        valid = jnp.isfinite(objective) & jnp.isfinite(descriptor).all(1)
        refused = valid & (added.cell == NOWHERE)
        clipped = valid & ~refused & ~self.archive.inside(descriptor)
        count = lambda rows: rows.sum(dtype=jnp.int32)
        counts = state.steps + 1, state.clipped + count(clipped), state.refused + count(refused)
        return (
            CompiledState(elites, state.operator, *counts),
            count(~valid),
            objective,
            descriptor,
            added,
        )


class _Varied(Pure):
    """An operator without a state, which varies elites."""

    def __init__(self, operator: Any, batch: int):
        self.operator, self.size, self.name, self.arity = (
            operator,
            batch,
            operator.name,
            operator.arity,
        )

    def begin(self, key: Key, genome: jax.Array) -> Any:
        return ()

    def ask(self, key: Key, state: Any, elites: Any) -> tuple[Any, jax.Array]:
        return state, self.operator.vary(key, elites(self.size * self.arity))

    def tell(self, state: Any, genomes: Any, objective: Any, descriptor: Any, added: Added) -> Any:
        return state


def pure(operator: Operator, batch: int) -> Pure:
    """The operator as pure functions that make `batch` candidates.

    Raises TypeError or ValueError for an operator that cannot be compiled.
    """
    if isinstance(operator, Pure):
        if operator.size != batch:
            raise ValueError(
                f"the operator {operator.name!r} makes {operator.size} candidates a step, not "
                f"{batch}"
            )
        return operator
    if hasattr(operator, "vary"):
        return _Varied(operator, batch)
    raise TypeError(
        f"the operator {operator.name!r} cannot be compiled: it has no vary(key, parents) that "
        "goes through jax alone, and is not Pure. Search with qdkit.Search, which takes any"
    )

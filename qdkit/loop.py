"""The steps of a search as pure functions of arrays, and the loop around them as one compiled program.

A candidate costs microseconds here, so nothing is written down of one: it has no id and no row in a
ledger. What is kept is the elites with their genomes and the operator's state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from qdkit.elites import NOWHERE, Added, Archive, Elites, sample
from qdkit.keys import quick, usual
from qdkit.operators.evolution import Pure, apart, measured
from qdkit.types import Domain, Key, Operator

CHUNK = 100  # steps that are made at once, before anybody looks at them from outside


class State(NamedTuple):
    """All that a run is, as arrays; with its seed and its parts it says how the run goes on."""

    elites: Elites
    operator: Any
    steps: jax.Array  # int32
    clipped: jax.Array  # int32: descriptors outside the bounds so far, put into a border cell
    refused: jax.Array  # int32: not put anywhere


class Stood(NamedTuple):
    """How a run stood after a step, or `[n]` after each of them."""

    coverage: Any
    qd_score: Any
    best: Any
    clipped: Any
    refused: Any


@dataclass(frozen=True, eq=False)
class Loop:
    """The steps of a search as pure functions of arrays."""

    domain: Domain
    archive: Archive
    operator: Pure
    floor: float

    def begin(self, operator: Any, seeds: jax.Array) -> tuple[State, Stood]:
        """The state once the seeds are in the archive, beside that of the operator; and how the run stands then."""
        none = jnp.zeros((), jnp.int32)
        elites = self.archive.init({"genome": seeds[0]})
        state = self._added(State(elites, operator, none, none, none), seeds)[0]
        return state, self.stood(state)

    def step(self, root: Key, state: State) -> State:
        """One step further: propose, evaluate, insert, learn."""
        making, picking = jax.random.split(jax.random.fold_in(quick(root), state.steps))
        draw = lambda n: apart(state.elites.payload["genome"][sample(picking, state.elites, n)], state.steps > 0)
        operator, genomes = self.operator.ask(usual(making), state.operator, draw)
        after, objective, descriptor, added = self._added(state, genomes)
        return after._replace(operator=self.operator.tell(operator, genomes, objective, descriptor, added))

    def advance(self, root: Key, state: State, n: jax.Array) -> tuple[State, Stood]:
        """`n` steps further, at most `CHUNK`, and how the run stood after each; 0 after the `n`-th."""

        def body(i: jax.Array, carry: tuple[State, Stood]) -> tuple[State, Stood]:
            state = self.step(root, carry[0])
            return state, jax.tree.map(lambda column, x: column.at[i].set(x), carry[1], self.stood(state))

        blank = jax.tree.map(lambda x: jnp.zeros(CHUNK, x.dtype), jax.eval_shape(self.stood, state))
        return jax.lax.fori_loop(0, n, body, (state, blank))

    def stood(self, state: State) -> Stood:
        """How the run stands."""
        objective = state.elites.objective[:: state.elites.depth]  # of the best of each cell
        occupied = objective > -jnp.inf
        score = jnp.where(occupied, objective - self.floor, 0.0).sum()
        best = jnp.where(occupied.any(), objective.max(), jnp.nan)
        return Stood(occupied.mean(), score, best, state.clipped, state.refused)

    def _added(self, state: State, genomes: jax.Array) -> tuple[State, jax.Array, jax.Array, Added]:
        # as one computes it: what is compared, stored and looked up is the same number then
        objective, descriptor = apart(measured(self.domain, genomes), state.steps >= 0)
        elites, added = self.archive.add(state.elites, objective, descriptor, {"genome": genomes})
        valid = jnp.isfinite(objective) & jnp.isfinite(descriptor).all(1)
        refused = valid & (added.cell == NOWHERE)
        clipped = valid & ~refused & ~self.archive.inside(descriptor)
        count = lambda rows: rows.sum(dtype=jnp.int32)
        counts = state.steps + 1, state.clipped + count(clipped), state.refused + count(refused)
        return State(elites, state.operator, *counts), objective, descriptor, added


class _Varied(Pure):
    """An operator without a state, one that varies elites."""

    def __init__(self, operator: Any, batch: int):
        self.operator, self.size, self.name, self.arity = operator, batch, operator.name, operator.arity

    def begin(self, key: Key, genome: jax.Array) -> Any:
        return ()

    def ask(self, key: Key, state: Any, elites: Any) -> tuple[Any, jax.Array]:
        return state, self.operator.vary(key, elites(self.size * self.arity))

    def tell(self, state: Any, genomes: Any, objective: Any, descriptor: Any, added: Added) -> Any:
        return state


def pure(operator: Operator, batch: int) -> Pure:
    """The operator as pure functions that make `batch` candidates, or an error that says why it is none."""
    if isinstance(operator, Pure):
        if operator.size != batch:
            raise ValueError(f"the operator {operator.name!r} makes {operator.size} candidates a step, not {batch}")
        return operator
    if hasattr(operator, "vary"):
        return _Varied(operator, batch)
    raise TypeError(
        f"the operator {operator.name!r} cannot be compiled: it has no vary(key, parents) that goes through jax alone, "
        "and is not Pure. Search with qdkit.Search, which takes any"
    )

"""Operators that are pure functions over a state, so that a search around them can be compiled whole."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.elites import Added, double
from qdkit.types import Batch, Context, Domain, Key, Operator, Proposal

from ..limits import floats

Elites = Callable[[int], jax.Array]  # so many genomes [n, d] of elites, drawn at random


class Pure(Operator):
    """An operator that is three pure functions: `begin`, `ask` and `tell`, around a state of arrays.

    They are what `qdkit.scan` compiles. In a search the state is kept here and changes in `learn`
    alone. Like every operator that learns from each of its batches before it makes the next, it
    needs a search with `ahead=1`; a second turn before that raises RuntimeError.
    """

    size: int

    _state: Any = None
    _asked: tuple[Any, Proposal] | None = None  # the state with which this turn's batch was made, and the batch
    _awaiting = False  # whether it has yet to hear of its last batch

    @abc.abstractmethod
    def begin(self, key: Key, genome: jax.Array) -> Any:
        """The state before the first batch; `genome` is an example of what is searched."""

    @abc.abstractmethod
    def ask(self, key: Key, state: Any, elites: Elites) -> tuple[Any, jax.Array]:
        """The state with which the next batch is made, and its genomes `[size, d]`."""

    @abc.abstractmethod
    def tell(self, state: Any, genomes: jax.Array, objective: jax.Array, descriptor: jax.Array, added: Added) -> Any:
        """The state once it is known how the last batch fared; rows that failed have nan for a value."""

    def turn(self, n: int) -> Operator:
        """Its next batch, if it makes `n` and has heard of all that it made before."""
        if n != self.size:
            raise ValueError(
                f"the operator {self.name!r} makes {self.size} candidates a step and the search asked for {n}: "
                f"search with batch={self.size}, or build it with other numbers"
            )
        if self._awaiting:
            raise RuntimeError(
                f"the operator {self.name!r} was asked for a batch before it heard of its last, "
                "and it learns from each before it makes the next: search with ahead=1"
            )
        self._awaiting, self._asked = True, None
        return _Turn(self, self.name, self.arity, self.size)

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        raise TypeError("an operator with a state only gives turns: call turn(n).propose(...)")

    def learn(self, batch: Batch, added: Added) -> None:
        own = np.array([origin == self.name for origin in batch.origin], bool)
        if not (own.any() and self._awaiting) or self._asked is None:
            return  # not its own, or judged again: it has heard of them
        made = batch.take(own)
        fared = Added(*(np.asarray(column)[own] for column in added))
        with double():
            self._state = _told(self, self._asked[0], np.asarray(made.genome), made.objective, made.descriptor, fared)
        self._awaiting = False

    def _make(self, key: Key, context: Context) -> Proposal:
        """The batch of this turn: made when it is first asked for, and the same however often it is."""
        if self._asked is None:
            elites = floats(context.parents.genome, self.name)
            with double():
                beginning, asking = jax.random.split(key)
                state = self.begin(beginning, elites[0]) if self._state is None else self._state
                state, genomes = _asked(self, asking, state, elites)
            self._asked = state, Proposal.of(np.asarray(genomes), self.name)
        return self._asked[1]


def measured(domain: Domain, genomes: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The objective `[n]` and the descriptor `[n, d]` of genomes, from a domain that goes through jax alone."""
    found = domain.evaluate(genomes)  # type: ignore[arg-type]  # a jax array, as such a domain takes it
    if found.objective is None or found.descriptor is None:
        raise ValueError(f"nobody else is asked here: {domain!r} has to give both an objective and a descriptor")
    return jnp.asarray(found.objective), jnp.asarray(found.descriptor)


def apart(x: Any, sure: jax.Array) -> Any:
    """`x`, a pytree, computed once and before what is made of it, where `sure`, which always holds where `x` matters.

    XLA for CPUs fuses an array with what reads it and computes it anew for each reader. Noise on parents is then
    made row by row, which doubles the time of a step; and the same sum rounded in two ways, once with a multiply-add,
    differs from itself, so that a row comes before itself. It drops `optimization_barrier`, and does not look into a
    branch.
    """
    return jax.lax.cond(sure, lambda x: x, partial(jax.tree.map, jnp.zeros_like), x)


@dataclass(frozen=True)
class _Turn(Operator):
    """One turn of an operator with a state."""

    operator: Pure
    name: str
    arity: int
    size: int

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        return self.operator._make(key, context)


@partial(jax.jit, static_argnames="operator")
def _asked(operator: Pure, key: Key, state: Any, elites: Any) -> tuple[Any, jax.Array]:
    return operator.ask(key, state, lambda n: elites[:n])


@partial(jax.jit, static_argnames="operator")
def _told(operator: Pure, state: Any, genomes: Any, objective: Any, descriptor: Any, added: Added) -> Any:
    return operator.tell(state, genomes, objective, descriptor, added)

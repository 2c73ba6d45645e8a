"""Operators as pure functions over a state, which `qdkit.search.compiled` can compile."""

from __future__ import annotations

import abc
import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.core.elites import Added, double
from qdkit.core.stages import PLACEHOLDER_ORIGIN
from qdkit.core.types import Batch, Context, Domain, Key, Operator, Proposal

from ..limits import float_genomes

# A function from n to the genomes [n, d] of n elites, drawn at random.
SampleElites = Callable[[int], jax.Array]


class Pure(Operator):
    """An operator of three pure functions, `begin`, `ask` and `tell`, over a state of arrays.

    `qdkit.search.compiled` compiles these functions. In another search the operator stores its
    state, which changes only in `learn`. It learns from each of its batches before it makes the
    next, so the search needs `ahead=1`; an earlier turn raises RuntimeError.
    """

    size: int

    _state: Any = None
    # the state with which the batch of this turn was made, and the batch
    _pending: tuple[Any, Proposal] | None = None
    _awaiting = False  # whether its last batch has not been received by `learn`
    # the operator of which this is a copy, so that all copies share its compiled functions
    _compiled_as: Pure | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Pure:
        """Returns the operator before its first batch, with which a search begins."""
        new = type(self).__new__(type(self))
        memo[id(self)] = new
        settings = {name: value for name, value in vars(self).items() if name not in _STATE}
        vars(new).update(copy.deepcopy(settings, memo), _compiled_as=self._compiled_as or self)
        return new

    @abc.abstractmethod
    def begin(self, key: Key, genome: jax.Array) -> Any:
        """Returns the state before the first batch; `genome` is an example of a genome."""

    @abc.abstractmethod
    def ask(self, key: Key, state: Any, elites: SampleElites) -> tuple[Any, jax.Array]:
        """Returns the state with which the next batch is made, and its genomes `[size, d]`."""

    @abc.abstractmethod
    def tell(
        self,
        state: Any,
        genomes: jax.Array,
        objective: jax.Array,
        descriptor: jax.Array,
        added: Added,
    ) -> Any:
        """Returns the state after the results of the last batch.

        `added.value` is nan for rows that failed.
        """

    def turn(self, n: int) -> Operator:
        """Returns the operator that makes the next batch.

        Raises ValueError if `n` is not the size of a batch, and RuntimeError if its last batch
        has not been received by `learn`.
        """
        if n != self.size:
            raise ValueError(
                f"the operator {self.name!r} makes {self.size} candidates a step and the search "
                f"asked for {n}: search with batch={self.size}, or build it with other numbers"
            )
        if self._awaiting:
            raise RuntimeError(
                f"the operator {self.name!r} was asked for a batch before it received its last, "
                "and it learns from each before it makes the next: search with ahead=1, and have "
                "any operator around it pass on every `learn`"
            )
        self._awaiting, self._pending = True, None
        return _Turn(self, self.name, self.arity, self.size)

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        raise TypeError("an operator with a state only gives turns: call turn(n).propose(...)")

    def learn(self, batch: Batch, added: Added) -> None:
        if PLACEHOLDER_ORIGIN in batch.origin and self._pending is None:
            self._awaiting = False  # the budget ended before its batch was made
        own = np.array([origin == self.name for origin in batch.origin], bool)
        if not (own.any() and self._awaiting) or self._pending is None:
            return  # made by other operators, or judged again and already received
        rows = batch.take(own)
        genomes = np.asarray(rows.genome)
        result = Added(*(np.asarray(column)[own] for column in added))
        compiled, (state, _) = self._compiled_as or self, self._pending
        with double():
            self._state = _tell(compiled, state, genomes, rows.objective, rows.descriptor, result)
        self._awaiting = False

    def _make(self, key: Key, context: Context) -> Proposal:
        """Returns the batch of this turn, which is made by the first call."""
        if self._pending is None:
            elites = float_genomes(context.parents.genome, self.name)
            with double():
                begin_key, ask_key = jax.random.split(key)
                state = self.begin(begin_key, elites[0]) if self._state is None else self._state
                state, genomes = _ask(self._compiled_as or self, ask_key, state, elites)
            self._pending = state, Proposal.of(np.asarray(genomes), self.name)
        return self._pending[1]


_STATE = ("_state", "_pending", "_awaiting", "_compiled_as")


def evaluate_traced(domain: Domain, genomes: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the objective `[n]` and descriptor `[n, d]` from a domain that jax can trace.

    Raises ValueError if the domain leaves one out or returns other shapes.
    """
    result = domain.evaluate(genomes)  # type: ignore[arg-type]  # such a domain takes jax arrays
    if result.objective is None or result.descriptor is None:
        raise ValueError(
            f"there is no judge or axis here: {domain!r} has to give both an objective and a "
            "descriptor"
        )
    objective, descriptor = jnp.asarray(result.objective), jnp.asarray(result.descriptor)
    n = len(genomes)
    if objective.shape != (n,) or descriptor.ndim != 2 or len(descriptor) != n:
        raise ValueError(
            f"evaluate was given {n} genomes, so its objective must have shape ({n},) and its "
            f"descriptor ({n}, axes): {domain!r} gave {objective.shape} and {descriptor.shape}"
        )
    return objective, descriptor


def check_traced(domain: Domain, genomes: jax.Array) -> tuple[Any, Any]:
    """Returns the shapes of objective and descriptor.

    Raises TypeError for a domain that jax cannot trace.
    """
    try:
        return jax.eval_shape(lambda x: evaluate_traced(domain, x), genomes)
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise TypeError(
            f"{domain!r} cannot be compiled, since its evaluate leaves jax: {reason}. Compute "
            "with jax.numpy alone, or search with qdkit.Search and an operator that needs no "
            "gradient, which takes any domain"
        ) from error


def compute_once(x: Any, sure: jax.Array) -> Any:
    """Returns the pytree `x`, computed once and before anything that reads it.

    sure: a bool that is true whenever `x` matters; zeros are returned where it is false.

    XLA for CPUs fuses an array with what reads it and computes it again for each reader. Then
    noise on parents is made row by row, which doubles the time of a step. Also, a sum that is
    rounded in two ways, once with a multiply-add, differs from itself, so a row can rank before
    itself. XLA drops `optimization_barrier`, but does not fuse across a branch.
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
def _ask(operator: Pure, key: Key, state: Any, elites: Any) -> tuple[Any, jax.Array]:
    return operator.ask(key, state, lambda n: elites[:n])


@partial(jax.jit, static_argnames="operator")
def _tell(
    operator: Pure, state: Any, genomes: Any, objective: Any, descriptor: Any, added: Added
) -> Any:
    return operator.tell(state, genomes, objective, descriptor, added)

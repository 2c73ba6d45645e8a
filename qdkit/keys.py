"""Keys of jax with another way to make its random bits on a CPU: the same bits, sooner made and sooner compiled.

For a CPU jax compiles its generator as a loop of five rounds, each of which goes through the whole
array. As one expression it takes a third of the time, in a step of `Line` more than a third of all.

Such a key stays within the operator or the loop that made it: to jax it is of another kind, which can not be
stacked with other keys and which `jax.random.poisson` refuses. Whatever users wrote is given the usual one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jax.extend.random import define_prng_impl

from qdkit.types import Key

ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)
PARITY = 0x1BD11BDA


def quick(key: Key) -> Key:
    """The same key, whose bits are the same and faster made on a CPU.

    What jax makes of the bits is the same too, but for rounding where XLA fuses it in another way (as of gamma).

    Elsewhere, or with another generator than jax's default, it is the key that was given.
    """
    counted = jax.config.values.get("jax_threefry_partitionable", True)  # as `_counted` does it, or in the older way
    if jax.default_backend() != "cpu" or str(jax.random.key_impl(key)) != "threefry2x32" or not counted:
        return key
    return jax.random.wrap_key_data(jax.random.key_data(key), impl=QUICK)


def usual(key: Key) -> Key:
    """The key as jax has it."""
    other = jax.random.key_impl(key) != QUICK
    return key if other else jax.random.wrap_key_data(jax.random.key_data(key), impl="threefry2x32")


@jax.jit
def threefry(key: jax.Array, high: Any, low: Any) -> tuple[jax.Array, jax.Array]:
    """Threefry-2x32 with 20 rounds of the counters `high` and `low`, uint32 each (Salmon et al. 2011)."""
    ring = key[0], key[1], key[0] ^ key[1] ^ np.uint32(PARITY)
    x, y = high + ring[0], low + ring[1]
    for i in range(5):
        for distance in ROTATIONS[i % 2]:
            x = x + y
            y = (y << np.uint32(distance) | y >> np.uint32(32 - distance)) ^ x
        x, y = x + ring[(i + 1) % 3], y + ring[(i + 2) % 3] + np.uint32(i + 1)
    return x, y


def _apart(make: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """`make(key, ...)`, computed before what is made of it, also where it is mapped over keys.

    XLA for CPUs would compute it anew within each thing that is made of it, and a key is made of a key is made of
    a key. It does not look into a branch; that this one is always taken it does not see.
    """

    def branch(make: Callable[..., jax.Array], *given: jax.Array) -> jax.Array:
        if not given[0].size:  # mapped over no keys
            return make(*given)
        made = jax.eval_shape(make, *given)
        taken = given[0].ravel()[0] & np.uint32(1) < 2
        return jax.lax.cond(taken, make, lambda *_: jnp.zeros(made.shape, made.dtype), *given)

    whole = custom_vmap(lambda *given: branch(make, *given))

    @whole.def_vmap
    def mapped(size: int, batched: list[bool], *given: jax.Array) -> tuple[jax.Array, bool]:
        axes = [0 if each else None for each in batched]
        return branch(jax.vmap(make, axes), *given), True

    return whole


def _counted(key: jax.Array, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    if (size := math.prod(shape)) >= 2**32:
        raise ValueError(f"at most 2**32 random numbers are made at once, and {size} were asked for")
    low = jax.lax.iota(jnp.uint32, size).reshape(shape)
    return threefry(key, jnp.zeros_like(low), low)


def _split(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return _apart(lambda key: jnp.stack(_counted(key, shape), -1))(key)


def _fold_in(key: jax.Array, data: Any) -> jax.Array:
    return _apart(lambda key, data: jnp.stack(threefry(key, np.uint32(0), data)))(key, jnp.asarray(data, jnp.uint32))


def _bits(key: jax.Array, width: int, shape: tuple[int, ...]) -> jax.Array:
    def made(key: jax.Array) -> jax.Array:
        high, low = _counted(key, shape)
        if width < 64:
            return (high ^ low).astype(f"uint{width}")
        return high.astype(jnp.uint64) << jnp.uint64(32) | low.astype(jnp.uint64)

    return _apart(made)(key)


QUICK = define_prng_impl(
    key_shape=(2,),
    seed=lambda seed: jax.random.key_data(jax.random.key(seed, impl="threefry2x32")),
    split=_split,
    random_bits=_bits,
    fold_in=_fold_in,
    name="quick threefry2x32",
    tag="quick",
)

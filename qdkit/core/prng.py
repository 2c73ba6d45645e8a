"""jax keys whose random bits a CPU computes and compiles faster; the bits are the same.

For a CPU jax compiles its generator as a loop of five rounds, each of which passes over the whole
array. One expression takes a third of the time, which saves more than a third of a step of
`IsoLine`.

A fast key stays within the operator or the loop that made it. For jax it has another type: it
cannot be stacked with other keys, and `jax.random.poisson` rejects it. Code of users gets standard
keys.
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

from qdkit.core.seeds import seed_words
from qdkit.core.types import Key

_ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)
_PARITY = 0x1BD11BDA


def root_key(seed: Any) -> Key:
    """Returns the jax key of a seed; for seeds from 0 to 2³² - 1 that of `jax.random.key`.

    Raises TypeError for an invalid seed (see `qdkit.core.seeds`).
    """
    high, low = seed_words(seed)
    if not high:
        return jax.random.key(low)
    default = jax.random.key(0)
    data = jnp.resize(jnp.array([high, low], jnp.uint32), jax.random.key_data(default).shape)
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(default))


def fast_key(key: Key) -> Key:
    """Returns a key with the same random bits, which a CPU computes faster.

    jax derives the same numbers from the bits, except for rounding where XLA fuses operations
    differently (as in `jax.random.gamma`).

    Returns `key` itself on other devices, and for other generators than jax's default.
    """
    # jax numbers the random bits as `_counter_bits` does if this is set.
    partitionable = jax.config.values.get("jax_threefry_partitionable", True)
    default_generator = str(jax.random.key_impl(key)) == "threefry2x32"
    if jax.default_backend() != "cpu" or not default_generator or not partitionable:
        return key
    return jax.random.wrap_key_data(jax.random.key_data(key), impl=_FAST)


def standard_key(key: Key) -> Key:
    """Returns a fast key as a standard jax key, and any other key unchanged."""
    if jax.random.key_impl(key) != _FAST:
        return key
    return jax.random.wrap_key_data(jax.random.key_data(key), impl="threefry2x32")


@jax.jit
def threefry(key: jax.Array, high: Any, low: Any) -> tuple[jax.Array, jax.Array]:
    """Returns Threefry-2x32, 20 rounds, of the counters `high` and `low`, uint32 each.

    Reference: Salmon et al. 2011.
    """
    ring = key[0], key[1], key[0] ^ key[1] ^ np.uint32(_PARITY)
    x, y = high + ring[0], low + ring[1]
    for i in range(5):
        for distance in _ROTATIONS[i % 2]:
            x = x + y
            y = (y << np.uint32(distance) | y >> np.uint32(32 - distance)) ^ x
        x, y = x + ring[(i + 1) % 3], y + ring[(i + 2) % 3] + np.uint32(i + 1)
    return x, y


def _unfused(make: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Returns `make`, a function of a key, so that XLA does not fuse it into its uses.

    XLA for CPUs would compute the result again within each expression that uses it, and keys are
    derived from keys over several levels. It does not fuse across a branch, so `make` is called in
    a branch that is always taken, which XLA does not recognise. The same holds under `vmap`.
    """

    def in_branch(make: Callable[..., jax.Array], *args: jax.Array) -> jax.Array:
        if not args[0].size:  # mapped over no keys
            return make(*args)
        result = jax.eval_shape(make, *args)
        always = args[0].ravel()[0] & np.uint32(1) < 2
        return jax.lax.cond(always, make, lambda *_: jnp.zeros(result.shape, result.dtype), *args)

    unfused = custom_vmap(lambda *args: in_branch(make, *args))

    @unfused.def_vmap
    def mapped(size: int, batched: list[bool], *args: jax.Array) -> tuple[jax.Array, bool]:
        axes = [0 if each else None for each in batched]
        return in_branch(jax.vmap(make, axes), *args), True

    return unfused


def _counter_bits(key: jax.Array, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    if (size := math.prod(shape)) >= 2**32:
        raise ValueError(
            f"at most 2**32 random numbers are made at once, and {size} were requested"
        )
    low = jax.lax.iota(jnp.uint32, size).reshape(shape)
    return threefry(key, jnp.zeros_like(low), low)


def _split(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return _unfused(lambda key: jnp.stack(_counter_bits(key, shape), -1))(key)


def _fold_in(key: jax.Array, data: Any) -> jax.Array:
    make = _unfused(lambda key, data: jnp.stack(threefry(key, np.uint32(0), data)))
    return make(key, jnp.asarray(data, jnp.uint32))


def _bits(key: jax.Array, width: int, shape: tuple[int, ...]) -> jax.Array:
    def make(key: jax.Array) -> jax.Array:
        high, low = _counter_bits(key, shape)
        if width < 64:
            return (high ^ low).astype(f"uint{width}")
        return high.astype(jnp.uint64) << jnp.uint64(32) | low.astype(jnp.uint64)

    return _unfused(make)(key)


_FAST = define_prng_impl(
    key_shape=(2,),
    seed=lambda seed: jax.random.key_data(jax.random.key(seed, impl="threefry2x32")),
    split=_split,
    random_bits=_bits,
    fold_in=_fold_in,
    name="quick threefry2x32",
    tag="quick",
)

"""Fast keys give the same random bits as jax's, in every use."""

from __future__ import annotations

from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qdkit.core import prng as keys
from qdkit.core.elites import double
from qdkit.core.prng import fast_key, standard_key

MADE = {
    "split": jax.random.split,
    "split in rows": lambda key: jax.random.split(key, (3, 2)),
    "fold_in": lambda key: jax.random.fold_in(key, 7),
    "bits of 8": lambda key: jax.random.bits(key, (5, 3), jnp.uint8),
    "bits of 16": lambda key: jax.random.bits(key, (5, 3), jnp.uint16),
    "bits of 32": lambda key: jax.random.bits(key, ()),
    "none": lambda key: jax.random.bits(key, (0, 4)),
    "uniform": lambda key: jax.random.uniform(key, (4, 5)),
    "normal": lambda key: jax.random.normal(key, (7, 9)),
    "bfloat16": lambda key: jax.random.normal(key, (7,), jnp.bfloat16),
    "randint": lambda key: jax.random.randint(key, (11,), 0, 77),
    "permutation": lambda key: jax.random.permutation(key, 20),
    "categorical": lambda key: jax.random.categorical(key, jnp.zeros(4), shape=(6,)),
    "many keys": lambda key: jax.vmap(lambda key: jax.random.normal(key, (3,)))(
        jax.random.split(key, 4)
    ),
    "many numbers": lambda key: jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(5)),
    "rows of keys": lambda key: jax.vmap(jax.vmap(jax.random.bits))(jax.random.split(key, (2, 3))),
    "no keys": lambda key: jax.vmap(jax.random.bits)(jax.random.split(key, 0)),
    "a loop": lambda key: jax.lax.scan(
        lambda key, i: (jax.random.fold_in(key, i), jax.random.bits(key)), key, jnp.arange(4)
    ),
    "a gradient": lambda key: jax.grad(lambda x: (x * jax.random.normal(key, (3,))).sum())(2.0),
}


def plain(value):
    """Returns its arrays, keys as their data."""
    data = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    return [np.asarray(data(x)) for x in jax.tree.leaves(value)]


@pytest.mark.parametrize("name", MADE)
def test_a_fast_key_gives_the_same_numbers_as_a_key_of_jax(name):
    """They are equal bit for bit, for several seeds and in both precisions."""
    make = jax.jit(MADE[name])
    for seed in (0, 1, 2**31 - 1):
        for precision in (nullcontext, double):
            with precision():
                key = jax.random.key(seed)
                for ours, theirs in zip(plain(make(fast_key(key))), plain(make(key)), strict=True):
                    assert ours.dtype == theirs.dtype
                    np.testing.assert_array_equal(ours, theirs)


def test_numbers_of_64_bits_are_equal():
    """In double precision."""
    with double():
        key = jax.random.key(3)
        for make in (
            lambda key: jax.random.bits(key, (5,), jnp.uint64),
            lambda key: jax.random.normal(key, (5,), float),
        ):
            np.testing.assert_array_equal(make(fast_key(key)), make(key))


def test_the_hash_equals_the_known_answers_of_random123():
    """Threefry-2x32 with 20 rounds, for all zeros, all ones, and digits of pi."""
    for counter, key, expected in [
        ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
    ]:
        result = keys.threefry(np.array(key, np.uint32), *np.array(counter, np.uint32))
        assert tuple(map(int, result)) == expected


def test_a_standard_key_is_a_key_of_jax():
    """Also within a compiled function; a key of jax is returned unchanged."""
    key = jax.random.key(5)
    compiled = jax.jit(lambda key: standard_key(fast_key(key)))
    for other in (standard_key(fast_key(key)), compiled(key), standard_key(key)):
        assert other.dtype == key.dtype
        np.testing.assert_array_equal(jax.random.key_data(other), jax.random.key_data(key))


def test_a_fast_key_has_the_data_of_its_key():
    """So generators of numpy made from it are the same. `fast_key` changes no fast key."""
    key = jax.random.key(5)
    for other in (fast_key(key), fast_key(fast_key(key))):
        assert other.dtype == fast_key(key).dtype != key.dtype
        np.testing.assert_array_equal(jax.random.key_data(other), jax.random.key_data(key))


def test_a_key_of_another_generator_does_not_change():
    """The generator of a user, jax's own on other devices, and the older way to count."""
    key = jax.random.key(0, impl="rbg")
    assert fast_key(key) is key
    key = jax.random.key(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "default_backend", lambda: "gpu")
        assert fast_key(key) is key
    with jax.threefry_partitionable(False):
        assert fast_key(key) is key


def test_more_than_2_to_the_32_numbers_are_refused():
    with pytest.raises(ValueError, match=r"at most 2\*\*32"):
        bits = jax.jit(lambda key: jax.random.bits(key, (2**16, 2**16)))
        bits.lower(fast_key(jax.random.key(0)))

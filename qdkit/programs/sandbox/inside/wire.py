"""The format of values that enter and leave the sandbox: JSON and the bytes of arrays, never code.

A message is the length of the JSON in four bytes, the JSON, and the arrays one after another. In
the JSON a list stands for itself, `{"d": {...}}` for a mapping, and `{"a": [dtype, shape]}` for
the next array. Both sides use this file, and neither trusts the other: `unpack_message` accepts
any bytes.
"""

from __future__ import annotations

import json
import math
import sys

_TYPE_CHECKING = False  # avoids the import of typing, which would slow down a cold start
if _TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_DEPTH = 64  # lists within lists, at most
# Lists, mappings and arrays in one message, at most: the parent reads them, and has no limits.
_WIDTH = 100_000
_SIZES = {"int": (8, 16, 32, 64), "uint": (8, 16, 32, 64), "float": (16, 32, 64)}
DTYPES = {"bool", *(f"{kind}{bits}" for kind, sizes in _SIZES.items() for bits in sizes)}


def pack_message(value: Any, most: int) -> bytes:
    """Returns the message for `value`, of `most` bytes at most.

    A value is None, bool, int, float, str, list, tuple, dict with text as keys, or a numpy array
    or scalar. It has to be of exactly that type: an instance of a subclass is refused. Raises
    TypeError for other values, and ValueError for those that are too large or too deep.
    """
    arrays: list[Any] = []
    tree = json.dumps(_pack(value, arrays, sys.modules.get("numpy"), _DEPTH)).encode()
    size = 4 + len(tree) + sum(array.nbytes for array in arrays)
    if size > most:
        raise ValueError(f"the value takes {size} bytes and {most} are allowed")
    return b"".join([len(tree).to_bytes(4, "big"), tree, *(array.tobytes() for array in arrays)])


def unpack_message(message: bytes) -> Any:
    """Returns the value of a message: plain Python types, and arrays that own their memory.

    Raises ValueError for bytes that are not one complete message, and for an integer beyond 64
    bits. Numbers that are not finite are accepted; the referee has to judge them.
    """
    if len(message) < 4:
        raise ValueError("the message ends in its first four bytes")
    end = 4 + int.from_bytes(message[:4], "big")
    if end > len(message):
        raise ValueError("the message is shorter than it says")
    try:
        tree = json.loads(message[4:end].decode())
    except RecursionError:
        raise ValueError(f"lists lie more than {_DEPTH} deep") from None
    value, rest = _unpack(tree, message, end, _DEPTH, iter(range(_WIDTH)))
    if rest != len(message):
        raise ValueError("the message is longer than it says")
    return value


def _pack(value: Any, arrays: list[Any], numpy: Any, depth: int) -> Any:
    kind = type(value)
    if kind in (float, int, str, bool, type(None)):
        return value
    if depth == 0:
        raise ValueError(f"lists lie more than {_DEPTH} deep")
    if kind in (list, tuple):
        return [_pack(x, arrays, numpy, depth - 1) for x in value]
    if kind is dict and all(type(key) is str for key in value):
        return {"d": {key: _pack(x, arrays, numpy, depth - 1) for key, x in value.items()}}
    if (
        numpy is not None
        and kind.__module__ == "numpy"
        and isinstance(value, (numpy.ndarray, numpy.generic))
    ):
        if value.dtype.name not in DTYPES:
            raise TypeError(
                f"an array of {value.dtype} cannot be handed back: make it float, int or bool"
            )
        if kind is not numpy.ndarray:
            return value.item()
        arrays.append(value.astype(value.dtype.newbyteorder("<"), copy=False))
        return {"a": [value.dtype.name, list(value.shape)]}
    raise TypeError(
        f"a {kind.__module__}.{kind.__qualname__} cannot be handed back: "
        "return numbers, text, lists, dicts with text for keys, or numpy arrays of numbers"
    )


def _unpack(
    tree: Any, message: bytes, at: int, depth: int, room: Iterator[int]
) -> tuple[Any, int]:
    """Returns the value of `tree`, and where in the message the next array begins.

    at: where the first array of `tree` begins.
    depth: the levels that are still allowed.
    room: an iterator with one element for each list, mapping or array that is still allowed.
    """
    if type(tree) is int and not -(2**63) <= tree < 2**64:
        raise ValueError("an integer has more than 64 bits: return it as text, or as a float")
    if type(tree) is str:
        # Refuses half of a surrogate pair, which no file can hold (UnicodeError is a ValueError).
        tree.encode()
    if type(tree) not in (list, dict):
        return tree, at
    if depth == 0:
        raise ValueError(f"lists lie more than {_DEPTH} deep")
    if next(room, None) is None:
        raise ValueError(
            f"there are more than {_WIDTH} lists, mappings and arrays: hand numbers back as one "
            "array"
        )
    if type(tree) is list:
        values = []
        for x in tree:
            value, at = _unpack(x, message, at, depth - 1, room)
            values.append(value)
        return values, at
    match tree:
        case {"a": [str(dtype), list(shape)]} if len(tree) == 1:
            return _array(dtype, shape, message, at)
        case {"d": dict(entries)} if len(tree) == 1:
            mapping = {}
            for key, x in entries.items():
                key.encode()
                mapping[key], at = _unpack(x, message, at, depth - 1, room)
            return mapping, at
    raise ValueError("the message holds something that is no list, mapping, array, number or text")


def _array(dtype: str, shape: list[Any], message: bytes, at: int) -> tuple[Any, int]:
    import numpy

    sizes = all(type(size) is int and 0 <= size <= len(message) for size in shape)
    if dtype not in DTYPES or not sizes or len(shape) > 32:
        raise ValueError("an array is announced with a dtype or a shape that cannot be")
    kind = numpy.dtype(dtype).newbyteorder("<")
    end = at + math.prod(shape) * kind.itemsize
    if end > len(message):
        raise ValueError("the message is shorter than its arrays")
    if dtype == "bool":  # a byte other than 0 or 1 would be neither False nor True
        return (numpy.frombuffer(message[at:end], "u1") != 0).reshape(shape), end
    return numpy.frombuffer(message[at:end], kind).astype(dtype).reshape(shape), end

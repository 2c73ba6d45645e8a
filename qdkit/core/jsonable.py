"""Conversion of values to JSON for the ledger, and back.

JSON has neither infinity nor nan, and few types. In a ledger such a value is an object with one
key, which begins with `$`, so that the JSON is valid for other readers and names the type:

    {"$float": "inf"}, {"$float": "-inf"}, {"$float": "nan"}
    {"$bytes": base64}, {"$complex": [real, imaginary]}, {"$enum": "module:Class.NAME"}
    {"$array": {"dtype": "<f8", "shape": [2, 3], "values": [...]}}
    {"$list": [...]}, where a plain array is a tuple
    {"$dict": [[key, value], ...]}, with keys that an object cannot have
    {"$repr": text}, for a value that cannot be restored

A key of a user's own that begins with `$` gets one more `$`. Notes, events and settings are
written in this way. In notes and events sequences are lists and keys are texts, so only `$float`
occurs.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import importlib
import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

# The modules whose enumerations a file may name.
ENUM_MODULES = re.compile(r"qdkit\.(?:types|core\.types|(?:archives|domains)(?:\.\w+)*)")

# The most nested lists and mappings of a value that is read from a file, and of one that a user's
# part hands over: what is written around it, and a nan in it, nest deeper.
MAX_DEPTH = 200
_MAX_GIVEN_DEPTH = MAX_DEPTH - 20

# The most bytes of an entry of an array, as a file could ask for any number of them.
_MAX_ITEM_BYTES = 4096


class UnknownValue(ValueError):
    """A written value that cannot be restored here."""


def to_json(value: Any) -> str:
    """Returns canonical JSON, with sorted keys. Raises ValueError for nan and infinities."""
    return json.dumps(
        value, sort_keys=True, allow_nan=False, ensure_ascii=False, separators=(",", ":")
    )


def nan_as_none(value: Any) -> Any:
    """Returns the value of `as_jsonable` with None for nan and infinities."""
    value = as_jsonable(value)
    if isinstance(value, dict):
        return {name: nan_as_none(each) for name, each in value.items()}
    if isinstance(value, list):
        return [nan_as_none(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_jsonable(value: Any, depth: int = 0) -> Any:
    """Returns `value` as mappings with keys of text, lists, texts and numbers.

    A value of another type becomes its repr.

    depth: of the mappings and lists around the value.

    Raises ValueError for a value that is nested deeper than a run can be read.
    """
    _check_depth(depth)
    if isinstance(value, Mapping):
        return {as_utf8(str(k)): as_jsonable(v, depth + 1) for k, v in value.items()}
    if isinstance(value, str):
        return as_utf8(value)
    if isinstance(value, np.longdouble):
        return float(value)
    if hasattr(value, "tolist"):
        return as_jsonable(value.tolist(), depth)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [as_jsonable(v, depth + 1) for v in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return as_utf8(repr(value))


def _check_depth(depth: int) -> None:
    """Raises ValueError for more nested mappings and lists than a run can be read with."""
    if depth > _MAX_GIVEN_DEPTH:
        raise ValueError(
            f"it is nested more than {_MAX_GIVEN_DEPTH} deep, and could not be read again from a "
            "run: write it flat, or as a text"
        )


def check_nesting(value: Any) -> None:
    """Raises ValueError for a JSON value that is nested deeper than a run can be read."""
    depth, level = 0, [value]
    while level := [each for each in level if isinstance(each, dict | list | tuple)]:
        depth += 1
        _check_depth(depth)
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each)
        ]


def encode_nonfinite(value: Any) -> Any:
    """Returns a value of `as_jsonable` as valid JSON; `decode_nonfinite` restores it."""
    if isinstance(value, Mapping):
        return {
            f"${name}" if name.startswith("$") else name: encode_nonfinite(each)
            for name, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [encode_nonfinite(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": _float_name(value)}
    return value


def decode_nonfinite(value: Any) -> Any:
    """Returns the value that `encode_nonfinite` encoded.

    In values of older versions nan and infinities are None.
    """
    if isinstance(value, list):
        return [decode_nonfinite(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"$float"}:
        return _float(value["$float"])
    return {
        name[1:] if name.startswith("$") else name: decode_nonfinite(each)
        for name, each in value.items()
    }


def to_json_exact(value: Any) -> str:
    """Returns canonical JSON of a value of `as_jsonable`. Raises TypeError for other types."""
    try:
        text = to_json(value)
    except ValueError:  # the value contains nan or an infinity
        return to_json(encode_nonfinite(value))
    return text if '"$' not in text else to_json(encode_nonfinite(value))


def from_json_exact(text: str) -> Any:
    """Returns the value that `to_json_exact` wrote."""
    value = json.loads(text)
    return value if '"$' not in text else decode_nonfinite(value)


def encode_setting(value: Any, name: str, part: Callable[[Any], Any]) -> Any:
    """Returns a setting, called `name`, as valid JSON; `decode_setting` restores it.

    part: returns the description of a part among the settings, None for any other value.

    Raises TypeError for a set, as its order differs between processes.
    """
    encode = lambda each: encode_setting(each, name, part)
    if (written := part(value)) is not None:
        return written
    if isinstance(value, enum.Enum):
        return {"$enum": f"{type(value).__module__}:{type(value).__qualname__}.{value.name}"}
    if isinstance(value, np.generic) and not isinstance(value, np.longdouble | np.clongdouble):
        value = value.item()
    if isinstance(value, str):
        return as_utf8(value)
    if value is None or isinstance(value, bool | int | float):
        return encode_nonfinite(value)
    if isinstance(value, complex):
        return {"$complex": [encode_nonfinite(value.real), encode_nonfinite(value.imag)]}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, set | frozenset):
        raise TypeError(
            f"{name} is a set, whose order differs between processes: give a tuple of the same"
        )
    is_array = hasattr(value, "tolist") and hasattr(value, "dtype")
    if is_array and (array := np.asarray(value)).dtype.kind in "fiubU":
        shape = {"dtype": array.dtype.str, "shape": list(array.shape)}
        return {"$array": {**shape, "values": encode_nonfinite(array.ravel().tolist())}}
    if isinstance(value, Mapping):
        plain_keys = all(isinstance(key, str) and key != "is" for key in value)
        if plain_keys:
            return {
                f"${key}" if key.startswith("$") else as_utf8(key): encode(each)
                for key, each in value.items()
            }
        return {"$dict": [[encode(key), encode(each)] for key, each in value.items()]}
    if isinstance(value, tuple):
        return [encode(each) for each in value]
    if isinstance(value, list):
        return {"$list": [encode(each) for each in value]}
    return {"$repr": as_utf8(re.sub(r" at 0x[0-9a-f]+", "", repr(value)))}


def decode_setting(written: Any, part: Callable[[Mapping[str, Any]], Any]) -> Any:
    """Returns the setting that `encode_setting` wrote. `part` builds a part from its description.

    Raises UnknownValue for a value that cannot be restored.
    """
    decode = lambda each: decode_setting(each, part)
    if isinstance(written, list):
        return tuple(map(decode, written))
    if not isinstance(written, dict):
        return written
    if "is" in written:
        return part(written)
    kind = next(iter(written), "")
    if len(written) == 1 and kind in _DECODERS:
        try:
            return _DECODERS[kind](written[kind], decode)
        except (ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
            raise UnknownValue(f"{written!r:.80} cannot be restored: {error}") from None
    return {
        name[1:] if name.startswith("$") else name: decode(each) for name, each in written.items()
    }


def legacy_description(written: Any) -> Any:
    """Returns a description as older versions wrote it, without the `$` objects."""
    if isinstance(written, list):
        return [legacy_description(each) for each in written]
    if not isinstance(written, dict):
        return written
    kind = next(iter(written), "")
    if len(written) != 1 or kind not in _DECODERS:
        return {
            name[1:] if name.startswith("$") else name: legacy_description(each)
            for name, each in written.items()
        }
    inner = written[kind]
    if kind == "$array":
        numbers = np.array([legacy_description(each) for each in inner["values"]], object)
        return numbers.reshape(inner["shape"]).tolist()
    if kind == "$dict":
        return {str(legacy_description(key)): legacy_description(each) for key, each in inner}
    if kind == "$bytes":
        return repr(base64.b64decode(inner))
    if kind == "$complex":
        return repr(complex(*map(decode_nonfinite, inner)))
    return None if kind == "$float" else legacy_description(inner)


def as_utf8(text: str) -> str:
    """Returns text that UTF-8 can encode: `?` replaces half a surrogate pair, as JSON may have."""
    return text.encode("utf-8", "replace").decode()


def terminal_safe(text: str) -> str:
    """Returns text for a terminal: `�` replaces control characters except newline and tab."""
    is_control = lambda c: c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cf", "Cs")
    return "".join("�" if is_control(c) else c for c in text)


def _float_name(x: float) -> str:
    return "nan" if x != x else "inf" if x > 0 else "-inf"


def _float(name: Any) -> float:
    if name not in ("inf", "-inf", "nan"):
        raise UnknownValue(f"{name!r:.80} is no float that JSON cannot hold")
    return float(name)


def _complex(real: float, imaginary: float) -> complex:
    return complex(real, imaginary)


def _array(written: Mapping[str, Any], decode: Callable[[Any], Any]) -> np.ndarray:
    kind = np.dtype(written["dtype"])
    if kind.kind not in "fiubU" or kind.itemsize > _MAX_ITEM_BYTES:
        raise UnknownValue(f"arrays of {kind} are not read from a file")
    return np.array([decode(each) for each in written["values"]], kind).reshape(written["shape"])


def _enum(name: str, decode: Callable[[Any], Any]) -> Any:
    module, _, path = name.partition(":")
    if ENUM_MODULES.fullmatch(module) is None:
        raise UnknownValue(f"{name} is not of the toolkit")
    kind, _, member = path.partition(".")
    module = {"qdkit.types": "qdkit.core.types"}.get(module, module)  # the name in older versions
    enumeration = getattr(importlib.import_module(module), kind)
    if not (isinstance(enumeration, type) and issubclass(enumeration, enum.Enum)):
        raise UnknownValue(f"{name} is no enumeration")
    return enumeration[member]


def _raise_unknown(written: Any, decode: Callable[[Any], Any]) -> Any:
    raise UnknownValue("it was written as its repr")


_DECODERS: dict[str, Callable[[Any, Callable[[Any], Any]], Any]] = {
    "$float": lambda written, decode: _float(written),
    "$bytes": lambda written, decode: base64.b64decode(written, validate=True),
    "$complex": lambda written, decode: _complex(*map(decode, written)),
    "$enum": _enum,
    "$array": _array,
    "$list": lambda written, decode: [decode(each) for each in written],
    "$dict": lambda written, decode: {decode(key): decode(each) for key, each in written},
    "$repr": _raise_unknown,
}


def digest(*parts: str | bytes) -> str:
    """Returns the SHA-256 of all parts, in hexadecimal."""
    sha256 = hashlib.sha256()
    for part in parts:
        sha256.update(part.encode("utf-8") if isinstance(part, str) else part)
        sha256.update(b"\0")
    return sha256.hexdigest()

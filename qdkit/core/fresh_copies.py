"""Copies of the parts of a search, so that each search has parts of its own.

A part may have state: an operator learns, a filter stores what it received, a domain counts. A
search changes copies and never the objects of its caller, so the same objects can start several
searches, also at the same time.

`copy.deepcopy` copies all parts of a search together, so that copies share what their originals
share. Copy and original share models (the `models` of a part), functions, classes, modules, locks,
values of jax and read-only arrays. A class changes how it is copied with `__deepcopy__`.
"""

from __future__ import annotations

import copy
import functools
import threading
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

# The errors of `copy.deepcopy` for generators, open files, sockets and other handles, which differ
# between libraries.
_UNCOPYABLE = (
    TypeError,
    ValueError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
    copy.Error,
)
_LOCKS = (type(threading.Lock()), type(threading.RLock()))
_CODE = (types.FunctionType, types.BuiltinFunctionType, type, types.ModuleType)
_ATOMIC = (str, bytes, int, float, complex, bool, type(None))

# The id of a copy that a search uses -> a reference to the copy, and its original.
_copies: dict[int, tuple[Any, Any]] = {}
# The id of an object that cannot be copied -> a reference to it, and the reason.
_taken: dict[int, tuple[Any, str]] = {}


def copy_parts(**parts: Any) -> list[Any]:
    """Returns copies of `parts` for one search, in their order.

    If a part is the copy of an earlier search, its original is copied. A part that cannot be
    copied is used as it is, by one search. Raises ValueError for a second search with it, as the
    earlier one may have changed it.
    """
    reachable = {id(each): each for each in _reachable(parts.values())}
    originals = {
        number: original
        for number, each in reachable.items()
        if (original := _original(each)) is not None
    }
    reachable |= {id(each): each for each in _reachable(originals.values())}
    asking = [part for name, part in parts.items() if name != "domain"]
    models = [model for part in asking for model in getattr(part, "models", ())]
    shared = {id(each): each for each in (*models, *filter(_is_constant, reachable.values()))}
    for name, part in parts.items():
        _check_not_taken(name, part, shared)
    copies, memo = _copy_all(parts, originals, shared)
    for number, each in reachable.items():
        twin = memo.get(number, each)
        if twin is not each and number not in originals and hasattr(twin, "__dict__"):
            _copies[id(twin)] = _reference(twin, _copies), each
    return copies


def _copy_all(
    parts: Mapping[str, Any], originals: Mapping[int, Any], shared: Mapping[int, Any]
) -> tuple[list[Any], dict[int, Any]]:
    """Returns the copies and the memo of `copy.deepcopy`.

    A part that cannot be copied is returned itself, with all objects within it.
    """
    uncopied: dict[int, Any] = {}
    while True:
        memo: dict[int, Any] = {**shared, **uncopied}
        for number, original in originals.items():
            if number not in memo:
                memo[number] = copy.deepcopy(original, memo)
        copies = []
        for part in parts.values():
            try:
                copies.append(_copy_one(part, memo))
            except _UNCOPYABLE as error:
                uncopied |= {id(each): each for each in _reachable([part])}
                _mark_taken(part, str(error), shared)
                break  # start again: other parts must not contain its partial copy
        else:
            return copies, memo


def _copy_one(part: Any, memo: dict[int, Any]) -> Any:
    """Returns a copy of a part.

    Raises TypeError if the copy of an object within it has another class. That happens if an
    object delegates all attributes, also `__deepcopy__`, to an object that it wraps.
    """
    result = copy.deepcopy(part, memo)
    for each in _reachable([part]):
        twin = memo.get(id(each), each)
        if type(twin) is not type(each) and not hasattr(type(each), "__deepcopy__"):
            raise TypeError(f"a copy of a {type(each).__name__} would be a {type(twin).__name__}")
    return result


def _mark_taken(part: Any, reason: str, shared: Mapping[int, Any]) -> None:
    """Records that a search uses this part and the objects within it, uncopied."""
    for each in _reachable([part]):
        if each is part or (hasattr(each, "__dict__") and id(each) not in shared):
            _taken[id(each)] = _reference(each, _taken), reason


def _check_not_taken(name: str, part: Any, shared: Mapping[int, Any]) -> None:
    for each in _reachable([part]):
        reference, reason = _taken.get(id(each), (None, ""))
        if reference is not None and reference() is each and id(each) not in shared:
            kind = type(each).__name__
            raise ValueError(
                f"the {name} holds a {kind} that an earlier search worked with and may have "
                f"changed, and no copy of it can be made ({reason}): make a new one for each "
                f"search, or give {kind} a method `__deepcopy__(self, memo)` that returns a "
                "new one, or `self` if it has no state"
            )


def _reference(each: Any, table: dict[int, Any]) -> Callable[[], Any]:
    """Returns a reference to an object; its entry in `table` is removed with the object."""
    number = id(each)
    try:
        return weakref.ref(each, lambda _: table.pop(number, None))
    except TypeError:
        return lambda: each  # keeps the object alive, so that no other object gets its id


def _original(part: Any) -> Any:
    """Returns the original of a copy that a search uses; None for anything else."""
    twin, original = _copies.get(id(part), (None, None))
    return original if twin is not None and twin() is part else None


def _is_constant(value: Any) -> bool:
    """Returns whether searches can share a value, as it never changes or cannot be copied."""
    if isinstance(value, (*_LOCKS, *_CODE)):
        return True
    if isinstance(value, np.ndarray):
        return not value.flags.writeable
    return type(value).__module__.partition(".")[0] in ("jax", "jaxlib")


def _reachable(parts: Iterable[Any]) -> Iterator[Any]:
    """Yields the parts and all objects within them, except texts, numbers and objects in code."""
    pending, known = [*parts], set()
    while pending:
        each = pending.pop()
        if isinstance(each, _ATOMIC) or id(each) in known:
            continue
        known.add(id(each))
        yield each
        if isinstance(each, dict):
            pending += [*each.keys(), *each.values()]
        elif isinstance(each, list | tuple | set | frozenset | deque):
            pending += each
        elif isinstance(each, types.MethodType):
            pending.append(each.__self__)
        elif isinstance(each, functools.partial):
            pending += [each.func, *each.args, *each.keywords.values()]
        if not _is_constant(each):
            pending += getattr(each, "__dict__", {}).values()
            slots = (slot for kind in type(each).__mro__ for slot in _slots(kind))
            pending += [getattr(each, slot) for slot in slots if hasattr(each, slot)]


def _slots(kind: type) -> Iterable[str]:
    if kind.__module__ == "builtins":
        return ()
    names = vars(kind).get("__slots__", ())
    return (names,) if isinstance(names, str) else names

"""The door of a program domain: each setting that cannot be is refused in a sentence, before anything runs."""

from __future__ import annotations

import math
import re
import reprlib
from typing import TYPE_CHECKING, Any

from qdkit.names import parsed
from qdkit.programs import blocks
from qdkit.sandbox.inside import wire

from .referee import takes

if TYPE_CHECKING:
    from .program import Program

TUPLES = ("arguments", "validation", "lockbox", "bounds", "names", "preload")
LARGEST = 1 << 30  # bytes of arguments
NUMBERS = ("seconds", "memory", "workers", "floor")


def check(domain: Program) -> None:
    """Raises ValueError with what was expected, what came, and where that matters the file and its line."""
    _entry(domain)
    for name, text in domain.files.items():
        _text(name, text)
    path, _, function = domain.entry.partition(":")
    if not re.search(rf"\b{re.escape(function)}\b", domain.files[path]):
        raise ValueError(
            f"{path} has no function {function}, which is what is called: define it, or name another as entry"
        )
    for name in TUPLES:
        value = getattr(domain, name)
        if not (value is None or isinstance(value, list | tuple) or hasattr(value, "arguments")):
            raise ValueError(f"{name} is a tuple, with a comma at its end if it has one entry, not {value!r:.60}")
    _data(domain.arguments)
    for name in NUMBERS:
        value = getattr(domain, name)
        if not _is_number(value) or (name != "floor" and value <= 0):
            raise ValueError(f"{name} is a number{'' if name == 'floor' else ' greater than 0'}, not {value!r:.60}")
    if odd := [axis for axis in domain.bounds if not isinstance(axis, list | tuple)]:
        raise ValueError(f"bounds has an entry (low, high) for each axis, not {odd[0]!r:.60}: ((0, 1), (0, 10))")
    if len(domain.names) != len(domain.bounds):
        raise ValueError(f"every axis has a name: {len(domain.bounds)} bounds came with {len(domain.names)} names")
    if domain.draws is not None and not callable(domain.draws):
        raise ValueError(f"draw is a function draw(output, ax), not {domain.draws!r:.60}")
    _referee(domain)


def _entry(domain: Program) -> None:
    entry, files = domain.entry, ", ".join(domain.files)
    if not isinstance(entry, str) or not entry.partition(":")[2] or entry.partition(":")[0] not in domain.files:
        example = f"{next(iter(domain.files), 'seed.py')}:solve"
        raise ValueError(f"entry names a function of one of the files {files}, such as {example!r}, not {entry!r}")


def _text(name: str, text: str) -> None:
    try:
        blocks(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if name.endswith(".py") and parsed(text, compiles=True) is None:
        raise ValueError(f"{name} is not Python: {why(text, name)}")


def why(text: str, name: str) -> str:
    """Why a text does not compile, and on which line."""
    try:
        compile(text, name, "exec", dont_inherit=True)
    except SyntaxError as error:
        return f"{error.msg} (line {error.lineno})"
    except (ValueError, RecursionError, MemoryError) as error:
        return str(error)
    return ""


def _data(arguments: Any) -> None:
    try:
        wire.encode(list(arguments), LARGEST)
    except (TypeError, ValueError):
        raise ValueError(
            "arguments is made of numbers, texts, lists, mappings and numpy arrays of numbers, which can be handed to "
            f"another process, and here it is {reprlib.repr(arguments)}"
        ) from None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _referee(domain: Program) -> None:
    if domain.levels and not takes(domain.referee, None, level="search"):
        raise ValueError(
            f"with data for {' and '.join(domain.levels)} the referee is called as score(output, level=...), and this "
            "one takes no level: def score(output, level), where level is 'search', 'validation' or 'lockbox'"
        )
    if not domain.levels and not takes(domain.referee, None):
        raise ValueError("the referee is called as score(output), and this one cannot be: def score(output)")

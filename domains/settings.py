"""Checks the settings of a program domain before anything runs.

Each setting that cannot be used is refused with a message that says how to mend it.
"""

from __future__ import annotations

import math
import re
import reprlib
from typing import TYPE_CHECKING, Any

from qdkit.domains.referee import takes
from qdkit.programs.sandbox.inside import wire
from qdkit.programs.scopes import compile_error, parse_or_none, parse_python
from qdkit.programs.syntax import blocks

if TYPE_CHECKING:
    from qdkit.domains.program import Program

_TUPLES = ("arguments", "validation", "lockbox", "bounds", "names", "preload")
LARGEST = 1 << 30  # bytes of the encoded arguments
_NUMBERS = ("seconds", "memory", "workers", "floor")


def check_settings(domain: Program) -> None:
    """Raises ValueError for settings that cannot be used.

    The message says what was expected and what came, and the file and line if there is one.
    """
    _check_entry(domain)
    for name, text in domain.files.items():
        _check_file(name, text)
    path, _, function = domain.entry.partition(":")
    if not re.search(rf"\b{re.escape(function)}\b", domain.files[path]):
        raise ValueError(
            f"{path} has no function {function}, which is what is called: "
            "define it, or name another as entry"
        )
    for name in _TUPLES:
        value = getattr(domain, name)
        if not (value is None or isinstance(value, list | tuple) or hasattr(value, "arguments")):
            raise ValueError(
                f"{name} is a tuple, with a comma at its end if it has one entry, not "
                f"{value!r:.60}"
            )
    _check_arguments(domain.arguments)
    for name in _NUMBERS:
        value = getattr(domain, name)
        if not _is_number(value) or (name != "floor" and value <= 0):
            raise ValueError(
                f"{name} is a number{'' if name == 'floor' else ' greater than 0'}, not "
                f"{value!r:.60}"
            )
    if wrong := [axis for axis in domain.bounds if not isinstance(axis, list | tuple)]:
        raise ValueError(
            f"bounds has an entry (low, high) for each axis, not {wrong[0]!r:.60}: "
            f"((0, 1), (0, 10))"
        )
    if len(domain.names) != len(domain.bounds):
        raise ValueError(
            f"every axis has a name: {len(domain.bounds)} bounds came with "
            f"{len(domain.names)} names"
        )
    if domain.draws is not None and not callable(domain.draws):
        raise ValueError(f"draw is a function draw(output, ax), not {domain.draws!r:.60}")
    _check_referee(domain)


def _check_entry(domain: Program) -> None:
    """Raises ValueError if `entry` names no function of one of the files."""
    entry, files = domain.entry, ", ".join(domain.files)
    path, _, function = entry.partition(":") if isinstance(entry, str) else ("", "", "")
    if not function or path not in domain.files:
        example = f"{next(iter(domain.files), 'seed.py')}:solve"
        raise ValueError(
            f"entry names a function of one of the files {files}, such as {example!r}, not "
            f"{entry!r}"
        )
    if not path.endswith(".py"):
        raise ValueError(
            f"entry names a function of a Python file, as the sandbox runs Python, and {path} is "
            "none: name one that ends in .py; it may hold the text of another language, or make it"
        )
    module = path.removesuffix(".py")
    if not function.isidentifier() or "." in module or not all(module.split("/")):
        raise ValueError(
            "entry names a file that can be imported and a function of it, such as "
            f"'seed.py:solve', not {entry!r}: no dots in the path before .py, no / at its start, "
            "and one name after the colon"
        )


def _check_file(name: str, text: str) -> None:
    """Raises ValueError if a file of the program is not text with paired marks, or not Python."""
    if not isinstance(name, str) or not isinstance(text, str):
        raise ValueError(
            f"files maps paths to texts, and {name!r:.60} is mapped to a {type(text).__name__}"
        )
    try:
        blocks(text, name)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if name.endswith(".py") and parse_or_none(text, compiles=True) is None:
        raise ValueError(f"{name} is not Python: {python_error(text, name)}")


def python_error(text: str, name: str) -> str:
    """Returns why a text does not compile, with the line; "" if it compiles."""
    try:
        error = compile_error(parse_python(text))
        if error is not None:
            raise error
    except SyntaxError as failure:
        return f"{failure.msg} (line {failure.lineno})" if failure.lineno else str(failure.msg)
    except (ValueError, RecursionError, MemoryError) as failure:
        return str(failure) or "it is nested too deeply"
    return ""


def _check_arguments(arguments: Any) -> None:
    """Raises ValueError if the arguments cannot be handed to another process."""
    try:
        wire.pack_message(list(arguments), LARGEST)
    except (TypeError, ValueError):
        raise ValueError(
            "arguments is made of numbers, texts, lists, mappings and numpy arrays of numbers, "
            f"which can be handed to another process, and here it is {reprlib.repr(arguments)}"
        ) from None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_referee(domain: Program) -> None:
    """Raises ValueError if the referee cannot be called as the domain will call it."""
    if domain.levels and not takes(domain.referee, None, level="search"):
        raise ValueError(
            f"with data for {' and '.join(domain.levels)} the referee is called as "
            "score(output, level=...), and this one takes no level: def score(output, level), "
            "where level is 'search', 'validation' or 'lockbox'"
        )
    if not domain.levels and not takes(domain.referee, None):
        raise ValueError(
            "the referee is called as score(output), and this one cannot be: def score(output)"
        )

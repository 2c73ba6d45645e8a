"""Reading the untrusted reply of a server: its bytes as JSON, and a guard for code that reads it.

Code that reads a reply checks types instead of trusting the protocol. `guarded` turns exceptions
from forgotten checks and unforeseeable errors (a text on which a parser runs out of stack) into a
message. So a reply can spoil one answer, and never a run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, TypeVar

from qdkit.core.jsonable import as_utf8
from qdkit.llm.jsontext import MAX_DEPTH, MAX_DIGITS, too_deep

MAX_BYTES = 32 * 2**20  # of a reply, which may hold images as text, or 256 vectors as digits
EXCERPT_LENGTH = 300  # characters of a reply that a message quotes
# Exceptions from reading a value of an unexpected form. Others are mistakes of a program, and
# propagate.
READ_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)

_TOO_DEEP = f"it is nested deeper than {MAX_DEPTH} levels"

_Read = TypeVar("_Read")


def guarded(read: Callable[[], _Read], instead: Callable[[str], _Read]) -> _Read:
    """Returns `read()`, or `instead(reason)` where the value that it reads makes it raise.

    Only `record.Halt` and exceptions from mistakes of a program propagate.
    """
    try:
        return read()
    except READ_ERRORS as error:
        reason = f"{type(error).__name__}: {str(error)[:EXCERPT_LENGTH]}"
        return instead(as_utf8(f"it cannot be read ({reason})"))


def json_body(body: bytes) -> tuple[Any, str]:
    """Returns the JSON value of a body and "", or None and the reason why there is none.

    Bytes that are no UTF-8 become replacement characters, and integers that are too long become
    infinite.
    """
    if len(body) > MAX_BYTES:
        return None, f"it is longer than {MAX_BYTES:,} bytes"
    if not body.strip():
        return None, "it is empty"
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    try:
        value = json.loads(text, parse_int=_integer)
    except ValueError as error:
        return None, f"{as_utf8(str(error))[:EXCERPT_LENGTH]}; it begins {as_utf8(text[:80])!r}"
    except RecursionError:
        return None, _TOO_DEEP
    return (None, _TOO_DEEP) if too_deep(value) else (value, "")


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_DIGITS else math.inf


def excerpt(value: Any) -> str:
    """Returns a value of a reply for a message: short, on one line, and in ASCII."""
    try:
        text = json.dumps(value, ensure_ascii=True)
    except (ValueError, TypeError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= EXCERPT_LENGTH else f"{text[:EXCERPT_LENGTH]}..."

"""JSON values in the texts of models: alone, in fences, after prose, and with common mistakes.

Every step takes time in proportion to the length of the text, whatever the text holds.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from qdkit.core.jsonable import nan_as_none

MAX_DEPTH = 100  # levels of nested lists and objects; recursive readers fail on deeper values
MAX_DIGITS = 300  # of an integer; a longer one exceeds a float
_MAX_VALUES = 64  # values that are read in one text

# The beginning of an object or array in the middle of a text. Other braces are no JSON.
_OBJECT = re.compile(r"\{\s{0,99}(?:[\"'}]|//|/\*)")
_ARRAY = re.compile(r"\[\s{0,99}(?:[\"'\[{\]\d-]|//|/\*)")
# Closing marks are optional and quantifiers possessive, so that an unclosed part is scanned once.
_TOKEN = re.compile(
    r"""(?P<string>"[^"\\]*+(?:\\.[^"\\]*+)*+"?)
      | (?P<single>'[^'\\]*+(?:\\.[^'\\]*+)*+'?)
      | (?P<comment>//[^\n]*+ | /\*[^*]*+(?:\*(?!/)[^*]*+)*+(?:\*/)?)
      | (?P<bracket>[\[\]{}])
      | (?P<comma>,)
      | (?P<name>\b(?:True|False|None)\b)""",
    re.VERBOSE | re.DOTALL,
)
_NAMES = {"True": "true", "False": "false", "None": "null"}


def loads(text: str, *, strict: bool = True) -> Any:
    """Returns the JSON value of the whole `text`; it can always be written as JSON again.

    Raises ValueError, with a reason, for a text that is not JSON, for nan, for numbers beyond the
    range of a float, and for values nested deeper than 100 levels.

    strict: whether a line break within a string is an error.
    """
    try:
        value = json.loads(
            text,
            strict=strict,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_short_integer,
        )
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels") from None
    if too_deep(value):
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    # A string may hold half of a surrogate pair, which UTF-8 cannot encode.
    return nan_as_none(value)


def too_deep(value: Any) -> bool:
    """Whether lists and objects are nested deeper than `MAX_DEPTH`."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        nodes = [
            node.values() if isinstance(node, dict) else node
            for node in level
            if isinstance(node, dict | list)
        ]
        if not nodes:
            return False
        level = [child for node in nodes for child in node]
    return True


def json_values_in(text: str, *, arrays: bool = False) -> Iterator[Any]:
    """Yields the outermost objects (or arrays) in `text`, in their order.

    Stops at the first that cannot be read, because what follows may be a part of it, such as a
    quotation from an untrusted text.
    """
    pattern, at = (_ARRAY if arrays else _OBJECT), 0
    for _ in range(_MAX_VALUES):
        match = pattern.search(text, at)
        if match is None:
            return
        repaired, at = _repaired(text, match.start())
        try:
            yield loads(text[match.start() : at])
        except ValueError:
            try:
                yield loads(repaired, strict=False)
            except ValueError:
                return


def unfenced(text: str) -> str:
    """Returns the content of a text that is one fenced block; any other text unchanged."""
    text = text.strip().removeprefix("\ufeff").strip()
    head, newline, rest = text.partition("\n")
    if not (newline and head.startswith("```") and rest.endswith("```")) or "`" in head[3:]:
        return text
    inside = rest[:-3]
    return text if "```" in inside else inside.strip()


def _repaired(text: str, start: int) -> tuple[str, int]:
    """Returns the value that begins at `start`, without common mistakes, and where it ends.

    Comments and commas before a closing bracket are left out, and strings in single quotes and
    Python's names get the form of JSON. A value without an end goes on to the end of the text.
    """
    out: list[str] = []
    depth, at = 0, start
    comma = -1  # the index in `out` of a comma that only space has followed so far
    for token in _TOKEN.finditer(text, start):
        between, kind, part = text[at : token.start()], token.lastgroup, token[0]
        at = token.end()
        out.append(between)
        if between.strip():
            comma = -1
        if kind == "comment":
            continue
        if kind == "bracket" and part in "]}" and comma >= 0:
            out[comma] = ""
        comma = len(out) if kind == "comma" else -1
        if kind == "single":
            part = _double_quoted(part)
        elif kind == "name":
            part = _NAMES.get(part, part)
        out.append(part)
        depth += (part in "[{") - (part in "]}") if kind == "bracket" else 0
        if depth == 0:
            return "".join(out), at
    return "".join(out) + text[at:], len(text)


def _double_quoted(part: str) -> str:
    inside = part[1:-1] if len(part) > 1 and part.endswith("'") else part[1:]
    return '"' + re.sub(r'\\(.)|"', _escaped, inside, flags=re.DOTALL) + '"'


def _escaped(match: re.Match[str]) -> str:
    if match[0] == '"':
        return '\\"'
    return "'" if match[1] == "'" else match[0]


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is beyond what a number can be")
    return number


def _short_integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of {len(text):,} digits")
    return int(text)

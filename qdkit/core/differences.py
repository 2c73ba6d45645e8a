"""The differences between two JSON values, for messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qdkit.core.jsonable import to_json

_MOST_DIFFERENCES = 3
_WIDTH = 60  # characters of each value


def differences(one: Any, other: Any, name: str = "") -> list[tuple[str, str, str]]:
    """Returns (name, value here, value there) of the first places where two JSON values differ.

    A name is the path to the place, such as `domain.seconds`. Long values are shortened. A value
    that is missing or null is "nothing".
    """
    result: list[tuple[str, str, str]] = []
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted(one.keys() | other.keys()):
            inner = name if key in ("of", "with") and name else f"{name}.{key}" if name else key
            result += differences(one.get(key), other.get(key), inner)
        return result[:_MOST_DIFFERENCES]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for i, pair in enumerate(zip(one, other, strict=True)):
            result += differences(*pair, f"{name}[{i}]")
        return result[:_MOST_DIFFERENCES]
    if one == other and isinstance(one, bool) == isinstance(other, bool):
        return []
    write = str if isinstance(one, str) and isinstance(other, str) else to_json
    texts = ["nothing" if x is None else write(x) for x in (one, other)]
    return [(name, *_shortened(*texts))]


def _shortened(one: str, other: str) -> tuple[str, str]:
    """Returns the parts of two texts around the character where they begin to differ."""
    if max(len(one), len(other)) <= _WIDTH:
        return one, other
    same = next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
    first = max(0, same - _WIDTH // 3)
    last = first + _WIDTH

    def shorten(text: str) -> str:
        before, after = "…" if first else "", "…" if len(text) > last else ""
        return f"{before}{text[first:last]}{after}"

    return shorten(one), shorten(other)

"""Whether a text is the JSON value that was asked for.

Servers differ in how far they hold a model to a schema, and some not at all, so every answer is looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_KIND: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
}


def parsed(text: str, schema: Mapping[str, Any]) -> tuple[Any, str]:
    """The value that `text` spells, perhaps within a code fence, and "" or what is wrong with it."""
    fenced = re.fullmatch(r"\s*```(?:json)?\s*\n(.*)\n```\s*", text, re.DOTALL)
    try:
        value = json.loads(fenced[1] if fenced else text, parse_constant=_refused)
    except ValueError as error:
        return None, f"not JSON: {error}"
    wrong = misfit(value, schema)
    return (None, wrong) if wrong else (value, "")


def misfit(value: Any, schema: Mapping[str, Any], at: str = "the answer") -> str:
    """What keeps `value` from fitting, or "". Reads type, enum, bounds, items, properties and required."""
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_KIND[kind](value) for kind in kinds):
        return f"{at} should be of type {' or '.join(kinds)}, and is {value!r:.60}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{at} should be one of {schema['enum']}, and is {value!r:.60}"
    if isinstance(value, (int, float)) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return f"{at} should lie within its bounds, and is {value!r}"
    if isinstance(value, list) and "items" in schema:
        return next(filter(None, (misfit(v, schema["items"], f"{at}[{i}]") for i, v in enumerate(value))), "")
    if isinstance(value, dict):
        return _misfit_of_object(value, schema, at)
    return ""


def _misfit_of_object(value: Mapping[str, Any], schema: Mapping[str, Any], at: str) -> str:
    known = schema.get("properties", {})
    missing = [name for name in schema.get("required", []) if name not in value]
    if missing:
        return f"{at} has no {', '.join(missing)}"
    if schema.get("additionalProperties") is False and (extra := sorted(set(value) - set(known))):
        return f"{at} has {', '.join(extra)}, which nobody asked for"
    wrong = (misfit(value[name], part, f"{at}.{name}") for name, part in known.items() if name in value)
    return next(filter(None, wrong), "")


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")

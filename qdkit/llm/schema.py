"""Reading a text as a JSON value that fits a schema.

Servers differ in how strictly they enforce a schema, so every answer is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from qdkit.llm.jsontext import json_values_in, loads, unfenced

_KIND: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
}


def parse_for_schema(text: str, schema: Mapping[str, Any]) -> tuple[Any, str]:
    """Returns (value, "") for the value in `text` that fits the schema, or (None, the reason).

    The value is the whole text or the content of its code fence. Failing that, it is the only
    object in the text (or array, if the schema is of an array). Trailing commas, comments, single
    quotes, line breaks within strings and Python's True, False and None are corrected. If several
    different objects fit, none is taken: the model may have quoted an untrusted text.
    """
    try:
        value = loads(unfenced(text))
    except ValueError as error:
        return _value_within(text, schema, f"not JSON: {error}")
    wrong = misfit(value, schema)
    return (None, wrong) if wrong else (value, "")


def _value_within(text: str, schema: Mapping[str, Any], wrong: str) -> tuple[Any, str]:
    """Returns the value somewhere in a text as `parse_for_schema` does.

    wrong: the reason to return if the text holds no JSON value at all.
    """
    fitting: list[Any] = []
    for i, value in enumerate(json_values_in(text, arrays=schema.get("type") == "array")):
        reason = misfit(value, schema)
        if not reason and value not in fitting:
            fitting.append(value)
        if i == 0:
            wrong = reason
    if len(fitting) > 1:
        count = len(fitting)
        return None, f"it holds {count} different answers of the form that was asked for: give one"
    return (fitting[0], "") if fitting else (None, wrong)


def misfit(value: Any, schema: Mapping[str, Any], at: str = "the answer") -> str:
    """Returns why `value` does not fit the schema, or "".

    Checks type, enum, minimum, maximum, items, properties, required and additionalProperties.

    at: the name of the value in the reason.
    """
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_KIND[kind](value) for kind in kinds):
        return f"{at} should be of type {' or '.join(kinds)}, and is {value!r:.60}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{at} should be one of {schema['enum']}, and is {value!r:.60}"
    if isinstance(value, (int, float)):
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        if not low <= value <= high:
            return f"{at} should lie within its bounds, and is {value!r}"
    if isinstance(value, list) and "items" in schema:
        items = schema["items"]
        reasons = (misfit(item, items, f"{at}[{i}]") for i, item in enumerate(value))
        return next(filter(None, reasons), "")
    if isinstance(value, dict):
        return _misfit_of_object(value, schema, at)
    return ""


def _misfit_of_object(value: Mapping[str, Any], schema: Mapping[str, Any], at: str) -> str:
    known = schema.get("properties", {})
    missing = [name for name in schema.get("required", []) if name not in value]
    if missing:
        return f"{at} has no {', '.join(missing)}"
    if schema.get("additionalProperties") is False and (extra := sorted(set(value) - set(known))):
        names = ", ".join(name[:40] for name in extra[:9])
        return f"{at} has {names}, which the schema does not allow"
    reasons = (
        misfit(value[name], part, f"{at}.{name}") for name, part in known.items() if name in value
    )
    return next(filter(None, reasons), "")

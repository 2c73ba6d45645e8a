"""Checks of the contents of a run's files before they are used: JSON, types, ranges and sizes.

The hash chain of a run detects accidental changes. It has no key, so a run that was written by
hand can have a valid chain, with a number such as 10**10 that a reader would allocate memory by.
The functions here accept what a run may contain, and raise `DamagedRun`, which names the part, for
anything else.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from qdkit.core.jsonable import MAX_DEPTH, UnknownValue, decode_nonfinite
from qdkit.core.run_files import DamagedRun

MAX_SLOTS = 5_000_000  # for elites of a run on disk: cells times depth
MAX_AXES = 1000  # SQLite limits the columns of a table
MAX_COUNT = 2**53  # the largest count
_MAX_GENOME_BYTES = 1 << 28
MAX_CANDIDATES = 2**31  # of a run
_DTYPE = re.compile(r"[<>|=][biufcmMSUV?]\d{1,9}(\[\w+\])?")

_OPENING = re.compile(r"[\[{]")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]')


def parse_json(text: Any, what: str) -> Any:
    """Returns the JSON value of a text.

    Raises DamagedRun, which names `what`, for an invalid text, and for one that is nested too
    deep.
    """
    if not isinstance(text, str):
        raise DamagedRun(f"{what} is no text")
    try:
        if len(text) > MAX_DEPTH and _is_too_deep(text):
            raise DamagedRun(f"{what} is nested more than {MAX_DEPTH} deep")
        value = json.loads(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # fails for half of a surrogate pair
        return value
    except (ValueError, RecursionError) as error:
        raise DamagedRun(f"{what} is not as it was written: {error}") from None


def decode_json(text: Any, what: str) -> Any:
    """Returns the value that `qdkit.core.jsonable.to_json_exact` wrote, with nan and infinities.

    Raises DamagedRun as `parse_json` does.
    """
    value = parse_json(text, what)
    if '"$' not in text:
        return value
    try:
        return decode_nonfinite(value)
    except UnknownValue as error:
        raise DamagedRun(f"{what} is not as it was written: {error}") from None


def _is_too_deep(text: str) -> bool:
    if len(_OPENING.findall(text)) <= MAX_DEPTH:
        return False
    depth = 0
    for token in _TOKEN.findall(text):
        depth += (token in "[{") - (token in "]}")
        if depth > MAX_DEPTH:
            return True
    return False


# Checks of JSON values: functions that return whether a value has a shape.
JsonCheck = Callable[[Any], bool]


def is_count(value: Any, most: int = MAX_COUNT, least: int = 0) -> bool:
    """Returns whether a value is a whole number from `least` to `most`."""
    return type(value) is int and least <= value <= most


def is_number(value: Any) -> bool:
    """Returns whether a value is a finite number that a float64 can hold."""
    return type(value) in (int, float) and -sys.float_info.max <= value <= sys.float_info.max


def is_text(value: Any) -> bool:
    """Returns whether a value is a text."""
    return isinstance(value, str)


def any_of(*shapes: JsonCheck) -> JsonCheck:
    """Returns a check that a value passes one of these checks."""
    return lambda value: any(shape(value) for shape in shapes)


def is_none(value: Any) -> bool:
    """Returns whether a value is None."""
    return value is None


def list_of(shape: JsonCheck) -> JsonCheck:
    """Returns a check that a value is a list whose entries pass `shape`."""
    return lambda value: isinstance(value, list) and all(map(shape, value))


def _row_of(*shapes: JsonCheck) -> JsonCheck:
    """Returns a check that a value is a list with exactly one entry for each of these checks."""
    return lambda value: (
        isinstance(value, list)
        and len(value) == len(shapes)
        and all(shape(x) for shape, x in zip(shapes, value, strict=True))
    )


def _mapping_with(**shapes: JsonCheck) -> JsonCheck:
    """Returns a check that a value is a mapping with at least these entries."""
    return lambda value: (
        isinstance(value, dict)
        and all(name in value and shape(value[name]) for name, shape in shapes.items())
    )


# A number, also nan and infinities, or None.
_is_value = any_of(is_none, is_number, lambda value: isinstance(value, float))
_is_id = lambda value: is_count(value, MAX_CANDIDATES - 1)
_is_id_or_none = lambda value: is_count(value, MAX_CANDIDATES - 1, least=-1)
_is_part = _mapping_with(**{"is": is_text})
_ABOUT: Mapping[str, JsonCheck] = {
    "domain": _is_part,
    "archive": _is_part,
    "operator": _is_part,
    "judge": is_text,
    "axes_from": is_text,
    "cells": lambda value: is_count(value, MAX_SLOTS, least=1),
    "axes": lambda value: is_count(value, MAX_AXES, least=1),
    "floor": is_number,
    "batch": lambda value: is_count(value, least=1),
    "seed": lambda value: type(value) in (int, str, list, dict),
}
_OPTIONAL_ABOUT: Mapping[str, JsonCheck] = {"compiled": is_text, "challenge": is_text}


def check_about(about: Mapping[str, Any]) -> None:
    """Raises DamagedRun unless the description of a run has the entries that readers rely on."""
    optional = {name: shape for name, shape in _OPTIONAL_ABOUT.items() if name in about}
    for name, shape in {**_ABOUT, **optional}.items():
        if name not in about or not shape(about[name]):
            raise DamagedRun(
                f"what the run says of its {name} is nothing that a run can say: "
                f"{about.get(name)!r:.80}"
            )
    genome = about.get("genome")
    kind = genome.get("kind") if isinstance(genome, dict) else None
    if kind not in ("array", "text", "bytes", "json") or (
        kind == "array" and not _is_array(genome)
    ):
        raise DamagedRun(
            f"what the run says of its genome is nothing that a run can say: {genome!r:.80}"
        )


def _is_array(genome: Any) -> bool:
    dtype, shape = genome.get("dtype"), genome.get("shape")
    if not isinstance(dtype, str) or not _DTYPE.fullmatch(dtype):
        return False
    if not list_of(is_count)(shape) or len(shape) > 16:
        return False
    return array_bytes(dtype, shape) <= _MAX_GENOME_BYTES


def array_bytes(dtype: str, shape: list[int]) -> int:
    """Returns the bytes of an array; more than a genome may have if the dtype is unknown."""
    import numpy as np

    try:
        return np.dtype(dtype).itemsize * math.prod(shape)
    except (TypeError, ValueError):
        return _MAX_GENOME_BYTES + 1


# The least contents of the events that readers rely on, by kind.
_are_rejudgements = list_of(_row_of(_is_id, _is_value, list_of(_is_value)))
_are_cells = list_of(
    _row_of(
        _is_id,
        _is_id_or_none,
        _is_value,
        lambda value: is_count(value, least=-1),
        list_of(_is_value),
    )
)
_is_goal = lambda value: (
    isinstance(value, list)
    and len(value) == 3
    and is_count(value[0], 2**63)
    and (value[1] is None or is_count(value[1]))
    and is_text(value[2])
)
_EVENTS: Mapping[str, JsonCheck] = {
    "settled": _mapping_with(looks=_are_rejudgements, cells=_are_cells),
    "again": _mapping_with(judge=is_text, id=_is_id, value=_is_value),
    "axes": _mapping_with(
        version=is_count,
        axes=_mapping_with(),
        cell=list_of(_is_id),
        id=list_of(_is_id),
        descriptor=list_of(list_of(_is_value)),
    ),
    "abandoned": _mapping_with(task=is_count, made=lambda value: isinstance(value, bool)),
    "moved": _mapping_with(cell=list_of(_is_id), id=list_of(_is_id_or_none)),
    "replies": _mapping_with(last=is_count),
    "goal": _is_goal,
    "sandbox": _mapping_with(level=is_text),
    "query": _mapping_with(
        level=is_text, id=_is_id, searched=_is_value, objective=_is_value, error=is_text
    ),
    "order": _mapping_with(domain=is_text, settings=_mapping_with()),
}


def check_event(number: int, kind: str, value: Any, about: Mapping[str, Any]) -> None:
    """Raises DamagedRun unless an event has the contents that readers rely on.

    Its cells and axes must be those of the run.
    """
    shape = _EVENTS.get(kind)
    if shape is None:
        return
    if not shape(value) or not _fits(kind, value, about["cells"], about["axes"]):
        raise DamagedRun(f"event {number} of the ledger, {kind!r:.40}, is not as it was written")


def _fits(kind: str, value: Any, cells: int, axes: int) -> bool:
    """Returns whether the cells and descriptors of an event are valid for the archive."""
    if kind == "settled":
        numbers = [entry[0] for entry in value["cells"]]
        descriptors = [entry[-1] for name in ("looks", "cells") for entry in value[name]]
    elif kind in ("moved", "axes"):
        numbers = value["cell"]
        descriptors = value["descriptor"] if kind == "axes" else [[0.0] * axes] * len(numbers)
        if not len(numbers) == len(value["id"]) == len(descriptors):
            return False
    else:
        return True
    return all(cell < cells for cell in numbers) and all(len(each) == axes for each in descriptors)


_values_of = lambda shape: (
    lambda value: isinstance(value, dict) and all(map(shape, value.values()))
)
_optional = lambda **shapes: (
    lambda value: (
        isinstance(value, dict)
        and all(shape(value[name]) for name, shape in shapes.items() if name in value)
    )
)
_NOTES = _optional(
    judged=_values_of(_mapping_with()),
    novelty=_optional(
        stage=is_text,
        likeness=_is_value,
        limit=_is_value,
        passed=_values_of(_is_value),
        vectors=_mapping_with(),
    ),
    cpu_seconds=_is_value,
)


def parse_notes(text: Any, what: str) -> dict[str, Any]:
    """Returns the notes of a candidate. Raises DamagedRun for invalid notes."""
    notes = decode_json(text, what)
    if not _NOTES(notes):
        raise DamagedRun(f"{what} are not as they were written")
    return notes


_COSTS = ("dollars", "tokens", "calls", "evaluations")


def parse_cost(value: Any, what: str) -> dict[str, float]:
    """Returns the cost of an answer, by the fields of `Cost`; unknown dollars are nan.

    Raises DamagedRun for an invalid cost.
    """
    numbers = {"calls": 1} if value is None else value
    if not isinstance(numbers, dict) or not all(
        name in _COSTS and (is_number(x) or (name == "dollars" and x is None))
        for name, x in numbers.items()
    ):
        raise DamagedRun(f"{what} has a cost that is none: {value!r:.80}")
    return {name: math.nan if x is None else x for name, x in numbers.items()}

"""Makes the parts of a run on disk, such as its archive, from their descriptions.

A run names a part by its public name, such as `qdkit.archives:Grid`, so that a module can move
and old runs stay readable. Older runs name the module;
`qdkit.core.describe.public_name` translates.
A description is data: only public classes of `_ROOMS` can be named, and no other module is
imported because a run names it.
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from qdkit.core.describe import public_name
from qdkit.core.jsonable import UnknownValue, decode_setting

_ROOMS = ("qdkit.archives", "qdkit.domains", "qdkit.comparing")


def rebuild(description: Mapping[str, Any]) -> Any:
    """Returns the part that a run describes.

    Returns None if the part is not one of the toolkit's own or its settings are not plain.

    Raises ValueError or TypeError for settings that the part refuses.
    """
    part_class = _class(public_name(str(description.get("is"))))
    values = description.get("with")
    if part_class is None or not isinstance(values, Mapping):
        return None
    infinite = {field.name for field in fields(part_class) if _not_finite(field.default)}
    try:
        settings = {
            name: decode_setting(value, _rebuild_inner)
            for name, value in values.items()
            if not (value is None and name in infinite)  # older versions wrote an infinity as None
        }
    except UnknownValue:
        return None
    return part_class(**settings)


def _rebuild_inner(description: Mapping[str, Any]) -> Any:
    """Returns a part within another part. Raises UnknownValue where `rebuild` returns None."""
    if (part := rebuild(description)) is None:
        raise UnknownValue(
            f"{description['is']!r:.80} is not of the toolkit, or its settings are not plain"
        )
    return part


def _not_finite(default: Any) -> bool:
    return isinstance(default, float) and not math.isfinite(default)


def _class(name: str) -> Any:
    """Returns the dataclass of this public name; None for every other name."""
    room, _, class_name = name.partition(":")
    if room not in _ROOMS or class_name == "Program":
        return None
    module = importlib.import_module(room)
    if class_name not in module.__all__:
        return None
    value = getattr(module, class_name)
    return value if inspect.isclass(value) and is_dataclass(value) else None

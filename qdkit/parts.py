"""What a part of a search is, in plain data, so that a ledger can say it and a reader can build it again."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from typing import Any

from qdkit.elites import Archive
from qdkit.plain import plain


def described(part: Any) -> dict[str, Any]:
    """Its class, and its settings where it is a dataclass of plain values and archives; else what its repr says."""
    kind = {"is": f"{type(part).__module__}:{type(part).__qualname__}"}
    if is_dataclass(part) and not isinstance(part, type):
        settings = {field.name: getattr(part, field.name) for field in fields(part) if field.init}
        if any(map(callable, settings.values())):  # not to be built again from what can be written
            return kind | {"of": {name: said(x) if callable(x) else plain(x) for name, x in settings.items()}}
        return kind | {"with": {name: _setting(value) for name, value in settings.items()}}
    return kind | {"repr": said(part)}


def _setting(value: Any) -> Any:
    """A setting as plain data; a part among settings is described as one."""
    if isinstance(value, tuple) and any(map(_is_part, value)):
        return [_setting(each) for each in value]
    if isinstance(value, Archive) or _is_part(value):
        return described(value)
    written = plain(value)
    return said(value) if isinstance(written, str) and not isinstance(value, str) else written


def _is_part(value: Any) -> bool:
    return is_dataclass(value) and not isinstance(value, type)


def said(part: Any) -> str:
    """Its repr without the address in memory, or a function's name: the same in the next process."""
    if hasattr(part, "__qualname__"):
        return f"{part.__module__}:{part.__qualname__}"
    return re.sub(r" at 0x[0-9a-f]+", "", repr(part))

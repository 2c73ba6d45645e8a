"""Values as JSON holds them: what may be written into a ledger and what is made of everything else."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any


def to_json(value: Any) -> str:
    """Canonical JSON: keys sorted, nan refused (ValueError)."""
    return json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def plain(value: Any) -> Any:
    """`value` as JSON values: arrays become lists, nan and infinities None, and what is none of these its repr."""
    if isinstance(value, Mapping):
        return {clean(str(k)): plain(v) for k, v in value.items()}
    if isinstance(value, str):
        return clean(value)
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int) else clean(repr(value))


def clean(text: str) -> str:
    """Text that can be written as UTF-8: a half of a surrogate pair, which JSON can spell, becomes `?`."""
    return text.encode("utf-8", "replace").decode()


def visible(text: str) -> str:
    """Text for a terminal: lines stay lines, and a character that steers it, or the way of writing, is shown as `�`."""
    steers = lambda c: c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cf", "Cs")
    return "".join("�" if steers(c) else c for c in text)

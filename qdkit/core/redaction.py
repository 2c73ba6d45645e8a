"""Removal of credentials from texts and JSON values before they are written or printed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

REDACTED = "<redacted>"
_USER = re.compile(r"(?<=://)[^\s/?#@'\"]*@")
_NAMES = (
    r"api[-_]?key|apikey|x-api-key|key|access[-_]?token|auth[-_]?token|token|secret"
    r"|client[-_]?secret|password|passwd|pwd|sig|signature|code|subscription[-_]?key"
    r"|authorization|credential|x-amz-\w+"
)
_QUERY = re.compile(rf"([?&;]({_NAMES})=)[^\s&;#'\"<>]*", re.IGNORECASE)
_BEARER = re.compile(r"\b(Bearer|Basic) +[A-Za-z0-9._~+/=-]{16,}")
# An entry in the text of a mapping, or an argument in the repr of a part.
_ENTRY = re.compile(
    r"((?:[\w-]*[-_])?"
    r"(?:api[-_]?key|apikey|access[-_]?token|auth[-_]?token|secret|password|authorization)"
    r"(['\"]?) ?[:=] ?(['\"]))[^'\"\n]+(\3)",
    re.IGNORECASE,
)
_CREDENTIAL_NAME = re.compile(
    r"(?i)(.*[-_])?"
    r"(api[-_]?key|apikey|access[-_]?token|auth[-_]?token|secret|password|authorization)"
)


def redacted(value: Any) -> Any:
    """Returns a text, or a JSON value with all its texts, without credentials.

    The user, the password and the key of `https://user:password@host/v1?api_key=abc` are removed,
    the token after `Bearer`, and every value of a mapping whose name is that of a credential.
    """
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return {
            name: REDACTED if is_credential(name, part) else redacted(part)
            for name, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted(part) for part in value]
    return value


def _text(text: str) -> str:
    if "://" in text:
        text = _USER.sub("", text)
    if "=" in text:
        text = _QUERY.sub(rf"\1{REDACTED}", text)
    if _ENTRY.search(text):
        text = _ENTRY.sub(rf"\1{REDACTED}\4", text)
    return _BEARER.sub(rf"\1 {REDACTED}", text) if "Bearer " in text or "Basic " in text else text


def is_credential(name: Any, part: Any) -> bool:
    """Returns whether an entry of a mapping is a credential, by its name."""
    return (
        isinstance(part, str)
        and part != ""
        and isinstance(name, str)
        and _CREDENTIAL_NAME.fullmatch(name) is not None
    )

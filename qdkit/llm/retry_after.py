"""The seconds that a server asks to wait, from the headers of its reply."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# Seconds. A longer wait is probably a mistake; the server is asked again after an hour.
LONGEST_RETRY = 3600.0

_NUMBER = re.compile(r"\d{1,18}(?:\.\d{0,9})?|\.\d{1,9}")
_SPAN = re.compile(
    r"(?:(\d{1,9})d)?"
    r"(?:(\d{1,9})h)?"
    r"(?:(\d{1,9})m(?!s))?"
    r"(?:(\d{1,9}(?:\.\d{1,9})?)s)?"
    r"(?:(\d{1,9}(?:\.\d+)?)ms)?"
)
# Limits with headers of their own: `x-ratelimit-reset-requests`, `x-ratelimit-remaining-requests`.
_LIMITS = ("requests", "tokens")


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Returns the seconds to wait, in [0, 3600]; None where no header holds a valid time.

    Reads `retry-after-ms`, then `retry-after` (seconds, or a date), and then
    `x-ratelimit-reset...` (seconds, a span such as `1m30s`, a date, or a time in seconds or
    milliseconds since 1970).

    now: seconds since 1970; the present where None.
    """
    now = time.time() if now is None else now
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        if _NUMBER.fullmatch(text):
            return min(float(text) / scale, LONGEST_RETRY)
    if (wait := _until_date(headers.get("retry-after", "").strip(), now)) is not None:
        return wait
    waits = [wait for limit in _LIMITS if (wait := _reset(headers, f"-{limit}", now)) is not None]
    return max(waits) if waits else _reset(headers, "", now)


def _reset(headers: Mapping[str, str], suffix: str, now: float) -> float | None:
    """Returns the seconds until a rate limit resets; None if it is not used up or not stated."""
    if headers.get(f"x-ratelimit-remaining{suffix}", "0").strip() not in ("0", "0.0"):
        return None
    text = headers.get(f"x-ratelimit-reset{suffix}", "").strip()
    if _NUMBER.fullmatch(text):
        number = float(text)
        moment = number / 1000 if number >= 1e11 else number
        seconds = max(0.0, moment - now) if moment >= 1e8 else number
        return min(seconds, LONGEST_RETRY)
    span = _SPAN.fullmatch(text)
    if text and span:
        parts = zip((86400.0, 3600.0, 60.0, 1.0, 0.001), span.groups(), strict=True)
        return min(sum(unit * float(part) for unit, part in parts if part), LONGEST_RETRY)
    return _until_date(text, now)


def _until_date(text: str, now: float) -> float | None:
    """Returns the seconds until a date of HTTP or ISO 8601, 0 if it has passed; None if invalid.

    A date without a time zone is in UTC.
    """
    if not text or len(text) > 60:
        return None
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            date = read(text)
            date = date if date.tzinfo else date.replace(tzinfo=UTC)
            seconds = date.timestamp() - now
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
        return min(max(0.0, seconds), LONGEST_RETRY) if math.isfinite(seconds) else None
    return None

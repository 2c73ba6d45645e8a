"""Checks of an archive's settings, made when the archive is built."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np


def checked_integer(name: str, value: Any, least: int = 1) -> int:
    """Returns `value` as an int.

    Raises ValueError for a value that is not an integer (2.0, True, nan) and below `least`.
    """
    is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool | np.bool_)
    if not is_integer or value < least:
        show_type = isinstance(value, bool | float | str) or value is None
        kind = f", a {type(value).__name__}" if show_type else ""
        raise ValueError(
            f"{name} is {value!r}{kind}: a whole number from {least} is needed, as an int"
        )
    return int(value)


def checked_real(name: str, value: Any, needed: str, finite: bool = True) -> float:
    """Returns `value` as a float.

    Raises ValueError for a value that is not a real number, for nan, and for an infinity where
    `finite`.
    """
    is_bool = isinstance(value, bool | np.bool_)
    is_number = isinstance(value, Real | np.integer | np.floating) and not is_bool
    if not is_number or math.isnan(value) or (finite and math.isinf(value)):
        raise ValueError(f"{name} is {value!r}: {needed}")
    return float(value)

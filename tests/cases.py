"""Cases of a law: a few in every run, all of them in the soak."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def mostly_soak(cases: Iterable[Any], usual: int = 1) -> list[Any]:
    """Returns the cases of `parametrize`, all but the first `usual` marked as soak."""
    return [
        case if number < usual else pytest.param(case, marks=pytest.mark.soak)
        for number, case in enumerate(cases)
    ]

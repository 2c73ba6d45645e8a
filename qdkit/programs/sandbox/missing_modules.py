"""Advice for a candidate that failed because it cannot import a module."""

from __future__ import annotations

import re
import sys
from collections.abc import Container, Sequence

from qdkit.programs.sandbox.packages import find_module

_MISSING = re.compile(r"No module named '([A-Za-z_][A-Za-z0-9_]*)(?:\.[\w.]+)?'")
_MAX_NAME = 100  # characters of the name of a module


def advice(error: str, preload: Sequence[str], importable: Container[str]) -> str:
    """Returns a sentence that follows an error and names the setting; "" if no package is missing.

    error: the candidate's own text, which is not trusted beyond the form of a module's name.
    importable: the packages that the candidate could import.
    """
    matches = list(_MISSING.finditer(error))
    name = matches[-1][1] if matches else ""
    if not name or len(name) > _MAX_NAME or name in importable or name in sys.stdlib_module_names:
        return ""
    if find_module(name) is None:
        return (
            f"{name} is not installed outside the sandbox either: pip install its distribution, "
            f"and add it to {_setting(name, preload)}\n"
        )
    return (
        f"{name} is installed outside the sandbox, but candidates may not import it: "
        f"add it to {_setting(name, preload)}\n"
    )


def _setting(name: str, preload: Sequence[str]) -> str:
    """Returns the setting `preload` with one more name, as code."""
    names = [*(each for each in preload if each != name), name]
    listed = ", ".join(f'"{each}"' for each in names) + "," * (len(names) == 1)
    return f"preload=({listed}) (in score.py of a folder: PRELOAD = ({listed}))"

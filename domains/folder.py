"""Reads a program domain from a folder with `seed.py`, `task.md` and `score.py`.

Errors name the file and, if there is one, the line.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from qdkit.core.evaluating import Failure, attempt
from qdkit.core.types import Evaluation, Genomes, Key
from qdkit.domains.modules import ModuleFunction, load_score_module
from qdkit.domains.settings import python_error

# The fields of `Program` that score.py may set, by constants with these names in capitals.
_SETTINGS = (
    *("entry", "arguments", "validation", "lockbox", "bounds", "names", "shape", "floor"),
    *("seconds", "memory", "preload", "referee_seconds"),
)


def read_folder(home: Path) -> dict[str, Any]:
    """Returns the settings of `Program` that a folder holds.

    Raises FileNotFoundError if a file is missing, and ValueError with name and line if a file
    cannot be used.
    """
    if not home.is_dir():
        raise FileNotFoundError(f"there is no folder {home}")
    inside = sorted((home / "seed").glob("**/*.py"))
    seeds = [path for path in inside if not _hidden(path.relative_to(home))] or [home / "seed.py"]
    files = {
        path.relative_to(home).as_posix(): _text(path, "the program to start from")
        for path in seeds
    }
    task = _text(home / "task.md", "what a program is to do, in words")
    text = _text(home / "score.py", "the referee, with a function score(output)")
    module = _imported(home, text)
    if not callable(getattr(module, "score", None)):
        raise ValueError(
            f"{home / 'score.py'} has no function score(output): it takes what a program returned"
        )
    settings = {
        name: getattr(module, name.upper()) for name in _SETTINGS if hasattr(module, name.upper())
    }
    draws = getattr(module, "draw", None)
    function = lambda name: ModuleFunction(_absolute(home), text, name, getattr(module, name))
    return {
        "files": files,
        "task": task,
        "referee": function("score"),
        "draws": function("draw") if callable(draws) else draws,
        **settings,
    }


def _imported(home: Path, text: str) -> ModuleType:
    """Returns the module of a folder's `score.py`, under a name of its own.

    Raises ValueError if it is not Python, or if it raises an error as it is imported.
    """
    path = home / "score.py"
    try:
        module, run = load_score_module(_absolute(home), text)
    except (SyntaxError, ValueError):  # ValueError: it has a null byte
        raise ValueError(f"{path} is not Python: {python_error(text, str(path))}") from None
    [(_, result)] = attempt(_Import(run), [path])
    if isinstance(result, Failure):
        raise ValueError(f"{path} stops as it is imported: {result.error}")
    return module


def _absolute(home: Path) -> Path:
    return Path(os.path.abspath(home))


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts)


class _Import:
    """The import of a module as a domain, so that `attempt` catches its errors."""

    def __init__(self, run: Callable[[], None]):
        self.run = run

    def evaluate(self, genomes: Genomes) -> Evaluation:
        self.run()
        return Evaluation()

    def seeds(self, key: Key, n: int) -> list[Any]:
        return []


def _text(path: Path, what: str) -> str:
    """Returns the text of a file; `what` says for an error what the file is for."""
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {path}: a folder with a program to evolve has one, {what} "
            "(docs/new-domain.md has an example)"
        )
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is to be text in UTF-8, and its byte {error.start} is not: save it as UTF-8"
        ) from None

"""A folder as a program domain: `seed.py`, `task.md` and `score.py`, with a sentence for whatever is amiss."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from qdkit.flow import Failure, attempt
from qdkit.types import Evaluation, Genomes, Key

from .door import why

# What score.py may say of the domain, in capitals: the fields of `Program` of these names.
SAID = (
    *("entry", "arguments", "validation", "lockbox", "bounds", "names", "shape", "floor"),
    *("seconds", "memory", "preload"),
)


def read(home: Path) -> dict[str, Any]:
    """The settings of `Program` that a folder holds.

    Raises FileNotFoundError for a file that is not there and ValueError for one that cannot be used,
    with its name and line.
    """
    if not home.is_dir():
        raise FileNotFoundError(f"there is no folder {home}")
    seeds = sorted((home / "seed").glob("**/*.py")) or [home / "seed.py"]
    files = {path.relative_to(home).as_posix(): _text(path, "the program to start from") for path in seeds}
    task = _text(home / "task.md", "what a program is to do, in words")
    judging = _imported(home / "score.py")
    if not callable(getattr(judging, "score", None)):
        raise ValueError(f"{home / 'score.py'} has no function score(output): it takes what a program returned")
    said = {name: getattr(judging, name.upper()) for name in SAID if hasattr(judging, name.upper())}
    return {"files": files, "task": task, "referee": judging.score, "draws": getattr(judging, "draw", None), **said}


def _imported(path: Path) -> ModuleType:
    """The module in a file, under a name of its own."""
    text = _text(path, "the referee, with a function score(output)")
    try:
        code = compile(text, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError):  # the second for a zero byte
        raise ValueError(f"{path} is not Python: {why(text, str(path))}") from None
    spec = importlib.util.spec_from_file_location(f"score_of_{path.resolve().parent.name}", path)
    assert spec is not None  # it ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    [(_, found)] = attempt(_Import(code, module), [path])
    if isinstance(found, Failure):
        del sys.modules[spec.name]
        raise ValueError(f"{path} stops as it is imported: {found.error}")
    return module


class _Import:
    """The import of a module as a domain, so that what it raises is caught where all such things are."""

    def __init__(self, code: Any, module: ModuleType):
        self.code, self.module = code, module

    def evaluate(self, genomes: Genomes) -> Evaluation:
        exec(self.code, self.module.__dict__)
        return Evaluation()

    def seeds(self, key: Key, n: int) -> list[Any]:
        return []


def _text(path: Path, what: str) -> str:
    """The text in a file, which is `what`."""
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {path}: a folder with a program to evolve has one, {what} (docs/new-domain.md has an example)"
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is to be text in UTF-8, and its byte {error.start} is not: save it as UTF-8"
        ) from None

"""Digests of the files that decide the score of a candidate, which may not change during a run.

For a folder with a program task, these are all its files (`folder_digests`). For other code of the
user, they are the file of its module and the files of the modules in its package or folder that it
uses. For code in no module, such as that of a notebook, they are the texts of its functions and
classes (`code_digests`). A run stores the digests, and `check_unchanged` compares them when the
run is continued.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import os
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache, lru_cache, partial
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from qdkit.core.jsonable import to_json
from qdkit.programs.scopes import parse_or_none

TASK_FILE = "task.md"  # prose that models read: the only file that the user may change in a run
ABOUT = "sources"  # the entry of `about`, and the kind of the event, with the digests
TASK_EVENT = "task"  # the kind of the event of a changed task
_JUDGE_PREFIX = "judge's "  # of the names of the files of a judge and of axes
UNKNOWN = ""  # the digest of code whose text is not available
_REMEDY = {
    "has changed": "put it back as it was",
    "is gone": "put it back",
    "is new": "take it away",
}
_PROSE = ("readme", "license", "licence", "changelog", "notes")
_PLAIN = (int, float, complex, str, bytes, bool, type(None), tuple, frozenset)
_LIBRARIES = tuple(
    os.path.realpath(path)
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
    if (path := sysconfig.get_path(name))
)
_PACKAGE = Path(__file__).parents[1]
# The folders of the toolkit, whose code is none of the user's; two of them are links in a clone.
_TOOLKIT = tuple(
    os.path.realpath(folder) for folder in (_PACKAGE, _PACKAGE / "archives", _PACKAGE / "domains")
)


def source_digests(domain: Any, *others: Any) -> dict[str, str]:
    """Returns name -> digest of each file, or piece of code, that decides the score of candidates.

    It is empty for the toolkit's own parts. The digest is `UNKNOWN` for code whose text is not
    available.

    others: other parts that decide the score, such as a judge; the names of their files begin with
      `_JUDGE_PREFIX`.
    """
    own = getattr(domain, "sources", None)
    digests = dict(own) if isinstance(own, Mapping) else code_digests(domain)
    for other in others:
        for name, digest in code_digests(other).items():
            digests[f"{_JUDGE_PREFIX}{name}"] = digest
    return digests


# Folders.


def folder_digests(home: Path) -> dict[str, str]:
    """Returns path -> digest of every file in a folder and below.

    It leaves out hidden files, bytecode, files for readers (README, LICENSE, CHANGELOG, NOTES) and
    folders that hold a run.
    """
    return {name: _of_file(path) for name, path in sorted(_files(home))}


def _files(home: Path) -> Iterator[tuple[str, Path]]:
    """Yields (name, path) of the files of a folder that count for its digests."""
    visited: set[str] = set()
    for folder, inner, names in os.walk(home, followlinks=True):
        # A link can lead to a folder above.
        if "run.db" in names or os.path.realpath(folder) in visited:
            inner.clear()
            continue
        visited.add(os.path.realpath(folder))
        inner[:] = [name for name in inner if not name.startswith(".") and name != "__pycache__"]
        for name in names:
            prose = name.lower().startswith(_PROSE) and not name.endswith(".py")
            ignored = name.startswith(".") or name.endswith((".pyc", "~")) or prose
            path = Path(folder) / name
            if not ignored and path.is_file():
                yield path.relative_to(home).as_posix(), path


def _of_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return UNKNOWN


# Code.


def code_digests(thing: Any) -> dict[str, str]:
    """Returns name -> digest for a function, class or module of the user.

    It is empty for one of the toolkit or of a library.
    """
    thing = _unwrap(thing)
    if isinstance(thing, ModuleType):
        return _of_module(thing)
    module = sys.modules.get(getattr(thing, "__module__", None) or "")
    if _is_qdkit(thing, module):
        return {}
    if module is not None and module.__name__ != "__main__":
        if _user_file(module) is not None:
            return _of_module(module)
        if getattr(module, "__file__", None) is not None:
            return {}  # of a library
    code_name = getattr(thing, "__qualname__", type(thing).__qualname__)
    module_name = getattr(thing, "__module__", None) or "?"
    return {f"{code_name} in {module_name}": _of_texts(thing)}


def _unwrap(thing: Any) -> Any:
    """Returns the function or class behind a method, a partial, a wrapper or a callable object."""
    for _ in range(100):
        if isinstance(thing, partial):
            thing = thing.func
        elif isinstance(thing, MethodType):
            owner = thing.__self__
            thing = owner if isinstance(owner, type) else type(owner)
        elif hasattr(thing, "__wrapped__"):
            thing = thing.__wrapped__
        else:
            break
    is_code = isinstance(thing, FunctionType | type | ModuleType) or inspect.isbuiltin(thing)
    return thing if is_code else type(thing)


def _is_qdkit(thing: Any, module: ModuleType | None) -> bool:
    name = getattr(thing, "__module__", None) or getattr(module, "__name__", "")
    return str(name).partition(".")[0] == "qdkit" or str(name) == "builtins"


def _user_file(module: ModuleType) -> Path | None:
    """Returns the file of a module of the user; None for a library or a module without a file."""
    file = getattr(module, "__file__", None)
    if not file or not str(file).endswith(".py") or module.__name__.partition(".")[0] == "qdkit":
        return None
    path = os.path.realpath(file)
    return None if _is_within(path, _LIBRARIES) else Path(path)


def _is_within(path: str, folders: tuple[str, ...]) -> bool:
    return any(path.startswith(f"{folder}{os.sep}") for folder in folders)


def _of_module(module: ModuleType) -> dict[str, str]:
    """Returns the digests of a module's file and of the files that it uses, directly or not.

    These are files of its package, or else of its folder and below. A file uses the modules that
    it imports, also within functions, and those that define functions and classes among the names
    of its module. The names are relative to the folder of the first file.
    """
    first = _user_file(module)
    if first is None:
        return {}
    root = first.parent
    while (root / "__init__.py").is_file() and root != root.parent:
        root = root.parent
    modules, digests = _ModulesByFile(), dict[str, str]()
    visited, waiting = set[Path](), [first]
    named = cache(_files_named)  # many files import the same names; one search sees one folder
    while waiting:
        path = waiting.pop()
        if path in visited or not path.is_relative_to(root) or _is_within(str(path), _TOOLKIT):
            continue
        visited.add(path)
        name = Path(os.path.relpath(path, first.parent)).as_posix()
        try:
            content = path.read_bytes()
            digests[name] = hashlib.sha256(content).hexdigest()
        except OSError:
            content, digests[name] = b"", UNKNOWN
        waiting += _imports(path, content, root, named)
        waiting += [used for each in modules.of(path) for used in modules.used_by(each)]
    return dict(sorted(digests.items()))


class _ModulesByFile:
    """The imported modules of the user's, by the files that they were made of."""

    def __init__(self) -> None:
        self._file = {
            name: path
            for name, module in list(sys.modules.items())
            if isinstance(module, ModuleType) and (path := _user_file(module)) is not None
        }
        self._modules: dict[Path, list[ModuleType]] = {}
        for name, path in self._file.items():
            self._modules.setdefault(path, []).append(sys.modules[name])

    def of(self, path: Path) -> list[ModuleType]:
        """The modules that were made of a file."""
        return self._modules.get(path, [])

    def used_by(self, module: ModuleType) -> Iterator[Path]:
        """The files that the modules, functions and classes among a module's names come from.

        The modules of a package are among its names as soon as something imports them; they do not
        count.
        """
        for value in list(vars(module).values()):
            if isinstance(value, ModuleType | FunctionType | type):
                name = value.__name__ if isinstance(value, ModuleType) else value.__module__
                inner = isinstance(value, ModuleType) and name.startswith(f"{module.__name__}.")
                if isinstance(name, str) and not inner and name in self._file:
                    yield self._file[name]


def _imports(
    path: Path, content: bytes, root: Path, named: Callable[..., tuple[Path, ...]]
) -> Iterator[Path]:
    """The files below `root` that run before a file or that its imports name; runs none of it."""
    packages = [
        folder
        for folder in path.parents
        if folder.is_relative_to(root) and (folder / "__init__.py").is_file()
    ]
    yield from (folder / "__init__.py" for folder in packages)
    tops = [root] if packages else [path.parent, root]
    for level, words in _imported_names(content):
        for folder in path.parents[level - 1 : level] if level else dict.fromkeys(tops):
            yield from named(str(folder), words, level > 0)


def _files_named(folder: str, words: tuple[str, ...], relative: bool) -> tuple[Path, ...]:
    """The files that run when a dotted name is imported from a folder, packages first."""
    files = [os.path.join(folder, "__init__.py")] if relative else []
    for length in range(1, len(words) + 1):
        target = os.path.join(folder, *words[:length])
        files += [os.path.join(target, "__init__.py"), f"{target}.py"]
    return tuple(Path(os.path.realpath(file)) for file in files if os.path.isfile(file))


@lru_cache(maxsize=1024)
def _imported_names(content: bytes) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """Returns (level, words of the dotted name) of each import in a text; none if it is no Python.

    Kept for each text, since every search of a process reads the same files.
    """
    try:
        tree = parse_or_none(content.decode("utf-8-sig"))
    except ValueError:
        return ()
    names: dict[tuple[int, tuple[str, ...]], None] = {}
    for node in ast.walk(tree or ast.Module([], [])):
        if isinstance(node, ast.Import):
            names |= {(0, tuple(alias.name.split("."))): None for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inner = node.module.split(".") if node.module else []
            names |= {(node.level, (*inner, *alias.name.split("."))): None for alias in node.names}
    return tuple(names)


def _of_texts(thing: Any) -> str:
    """Returns the digest of the texts of a function or class and of the code that it names.

    It is `UNKNOWN` where one of them has no text.
    """
    texts: dict[str, str] = {}
    waiting, visited = [("", thing)], {id(thing)}
    while waiting:
        name, each = waiting.pop()
        if isinstance(each, FunctionType | type):
            try:
                texts[f"{each.__module__}:{each.__qualname__}"] = inspect.getsource(each)
            except (OSError, TypeError):
                return UNKNOWN
            more = [(other, value) for other, value in _values(each) if id(value) not in visited]
            visited |= {id(value) for _, value in more}
            waiting += more
        elif isinstance(each, _PLAIN):
            texts[name] = repr(each)
    return hashlib.sha256(to_json(sorted(texts.items())).encode()).hexdigest()


def _values(thing: Any) -> Iterator[tuple[str, Any]]:
    """Yields (name, value) of the names in a function or class that count for its digest.

    These are the variables of its closure, and the plain values, functions and classes of its
    module.
    """
    functions: list[Any] = [thing]
    if isinstance(thing, type):
        functions = [
            value for value in vars(thing).values() if isinstance(_unwrap(value), FunctionType)
        ]
        yield from ((base.__name__, base) for base in thing.__bases__ if _same_module(base, thing))
    for function in map(_unwrap, functions):
        if not isinstance(function, FunctionType):
            continue
        closure = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
        for name, cell in closure:
            try:
                yield name, _unwrap_callable(cell.cell_contents)
            except ValueError:  # not bound yet
                continue
        for name in sorted(set(_names(function.__code__))):
            value = _unwrap_callable(function.__globals__.get(name))
            if isinstance(value, _PLAIN) or _same_module(value, function):
                yield name, value


def _unwrap_callable(value: Any) -> Any:
    return _unwrap(value) if callable(value) else value


def _same_module(value: Any, thing: Any) -> bool:
    """Returns whether `value` is a function or class of the module of `thing`."""
    return getattr(value, "__module__", None) == thing.__module__ and isinstance(
        value, FunctionType | type
    )


def _names(code: CodeType) -> Iterator[str]:
    """Yields the names in a piece of code and in the functions within it."""
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)


# Runs.


def check_unchanged(ledger: Any, now: Mapping[str, str]) -> None:
    """Raises ValueError, with the name of the file, where a file changed since the run began.

    A run of a version without digests is continued: this warns once, and stores the digests `now`.
    """
    was = recorded_digests(ledger)
    if was is None:
        if now:
            ledger.event(len(ledger.commits), ABOUT, dict(now))
            warnings.warn(
                f"{ledger.path} was recorded without digests of the files that decide a score: "
                f"whether {', '.join(now)} are as they were then cannot be known, and is checked "
                "from now on",
                stacklevel=2,
            )
        return
    unknown = [
        name for name, digest in was.items() if digest == UNKNOWN and now.get(name) == UNKNOWN
    ]
    if unknown:
        names = ", ".join(unknown)
        warnings.warn(
            f"the text of {names} is not to be had: whether it changed is not known", stacklevel=2
        )
    if difference := first_difference(was, now):
        name, change = difference
        remedy = _REMEDY[change]
        if name == TASK_FILE:
            remedy += f", go on with its new words (qdkit resume {ledger.path} --change task)"
        raise ValueError(
            f"{name} {change} since {ledger.path} began: {remedy}, or begin another run"
        )


def check_scores(ledger: Any, domain: Any) -> None:
    """Raises ValueError where a file that decides a score changed since the run began.

    The task may have changed, and the files of a judge are not compared.
    """
    was, now = recorded_digests(ledger), source_digests(domain)
    if not was:
        return
    own = {name: digest for name, digest in was.items() if not name.startswith(_JUDGE_PREFIX)}
    if difference := first_difference(own, now, but=TASK_FILE):
        name, change = difference
        raise ValueError(
            f"{name} {change} since {ledger.path} began: {_REMEDY[change]}, or begin another run"
        )


def recorded_digests(ledger: Any) -> dict[str, str] | None:
    """Returns the digests of a run's beginning, with that of the task as it was last changed.

    Returns None for a run without digests.
    """
    events = ledger.events()
    recorded = next(
        (value for _, kind, value in reversed(events) if kind == ABOUT), ledger.about.get(ABOUT)
    )
    if recorded is None:
        return None
    tasks = [value["new"] for _, kind, value in events if kind == TASK_EVENT]
    return {**recorded, **({TASK_FILE: tasks[-1]} if tasks and TASK_FILE in recorded else {})}


def first_difference(
    was: Mapping[str, str], now: Mapping[str, str], but: str = ""
) -> tuple[str, str] | None:
    """Returns the name of the first file that changed and how, or None.

    A new file counts if it is a module or lies in a folder with files in `was`. The file `but` is
    left out.
    """
    folders = {name.rpartition("/")[0] for name in was} - {""}
    for name in sorted(was.keys() | now.keys()):
        if name == but:
            continue
        if name not in now:
            return name, "is gone"
        if name not in was:
            if name.endswith(".py") or name.rpartition("/")[0] in folders:
                return name, "is new"
        elif was[name] != now[name]:
            return name, "has changed"
    return None

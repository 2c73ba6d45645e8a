"""Imports the modules of a folder under names that no other folder has.

`score.py` and the modules beside it import each other by their plain names (`import util`), as in
the folder of a script. Each time a folder is read, its modules become parts of a package with a
new name, so that two folders may both have a `util.py`, and a folder that was edited is read
again. Nothing is written into the folder.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import lru_cache, partial
from itertools import count
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

_PREFIX = "qdkit_folder_"
_NUMBERS = count(1)
_HOMES: dict[str, Path] = {}  # the folder of each package


class ModuleFunction:
    """A function of a folder's module that can be pickled.

    It is pickled as the text of its module. Another process makes the module from that text again,
    and reads the modules beside it from the folder.
    """

    def __init__(self, home: Path, text: str, name: str, function: Callable[..., Any]):
        self._home, self._text, self.__wrapped__ = home, text, function
        self.__name__ = self.__qualname__ = name
        self.__module__ = f"score_of_{home.resolve().name}"  # the name of the function in a run
        self.__doc__ = function.__doc__

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self.__wrapped__(*arguments, **named)

    def __deepcopy__(self, memo: dict[int, Any]) -> ModuleFunction:
        return self  # as for any function

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (str(self._home), self._text, self.__name__)


def load_score_module(home: Path, text: str) -> tuple[ModuleType, Callable[[], None]]:
    """Returns the module `score` of a folder, not yet executed, and a function that executes it.

    home: the folder, an absolute path.
    text: the text of `score.py`.

    Raises SyntaxError or ValueError if the text is not Python.
    """
    root = f"{_PREFIX}{next(_NUMBERS)}"
    file = home / "score.py"
    code = compile(text, str(file), "exec", dont_inherit=True)
    _HOMES[root] = home
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        # before the finders that look into the folder as into any other
        sys.meta_path.insert(0, _Finder())
    package = ModuleType(root)
    package.__path__ = [str(home)]
    spec = importlib.util.spec_from_file_location(
        f"{root}.score", file, loader=_Loader(f"{root}.score", str(file))
    )
    assert spec is not None  # it has a loader
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__builtins__"] = _builtins(root)
    sys.modules |= {root: package, spec.name: module}  # dataclasses need them there

    def run() -> None:
        with ExitStack() as undo:
            undo.callback(_remove_modules, root)
            exec(code, module.__dict__)
            undo.pop_all()

    return module, run


def _remove_modules(root: str) -> None:
    """Removes the modules of a folder from `sys.modules`."""
    for name in [name for name in sys.modules if name.partition(".")[0] == root]:
        del sys.modules[name]


@lru_cache(64)
def _unpickled(home: str, text: str, name: str) -> ModuleFunction:
    """Returns an unpickled function; its module is made once in a process."""
    return ModuleFunction(Path(home), text, name, getattr(_module(home, text), name))


@lru_cache(64)
def _module(home: str, text: str) -> ModuleType:
    """Returns the executed module `score` of a folder."""
    module, run = load_score_module(Path(home), text)
    run()
    return module


class _Finder:
    """Finds the modules of folders by their full names."""

    def find_spec(
        self, name: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        root, _, rest = name.partition(".")
        if root not in _HOMES or not rest:
            return None
        place = _HOMES[root].joinpath(*rest.split("."))
        for file, inside in (
            (place / "__init__.py", [str(place)]),
            (place.with_name(f"{place.name}.py"), None),
        ):
            if file.is_file():
                loader = _Loader(name, str(file))
                return importlib.util.spec_from_file_location(
                    name, file, loader=loader, submodule_search_locations=inside
                )
        if not place.is_dir():
            return None
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(place)]
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    """Executes a file as it is now, and writes no bytecode."""

    def get_code(self, fullname: str) -> CodeType:
        return compile(Path(self.path).read_bytes(), self.path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = _builtins(module.__name__.partition(".")[0])
        super().exec_module(module)


def _builtins(root: str) -> dict[str, Any]:
    """Returns the builtins of a folder's modules: `import` looks into the folder first."""
    return {**vars(builtins), "__import__": partial(_import, root)}


def _import(
    root: str,
    name: str,
    globals: Mapping[str, object] | None = None,
    locals: Mapping[str, object] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """Imports as `builtins.__import__` does, and prefers the modules of the folder of `root`."""
    first = name.partition(".")[0]
    if level or not _has_module(_HOMES[root], first):
        return builtins.__import__(name, globals, locals, fromlist or (), level)
    if fromlist:
        return builtins.__import__(f"{root}.{name}", globals, locals, fromlist, 0)
    importlib.import_module(f"{root}.{name}")
    return sys.modules[f"{root}.{first}"]


def _has_module(home: Path, name: str) -> bool:
    """Returns whether a folder has a module of this name.

    A subfolder without `__init__.py` counts only if no other module has its name.
    """
    if name in sys.builtin_module_names:
        return False
    if (home / f"{name}.py").is_file() or (home / name / "__init__.py").is_file():
        return True
    return (
        (home / name).is_dir()
        and name not in sys.modules
        and importlib.util.find_spec(name) is None
    )

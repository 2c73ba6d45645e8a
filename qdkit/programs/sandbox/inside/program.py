"""Imports a candidate's files from memory, and calls its entry function."""

from __future__ import annotations

import sys
import traceback
from importlib.machinery import ModuleSpec

from . import wire

_TYPE_CHECKING = False
if _TYPE_CHECKING:
    from collections.abc import Mapping
    from types import CodeType, ModuleType
    from typing import Any

_TEXT = 4000  # characters of an error that are returned


class Modules:
    """Finds the module `a.b` in `a/b.py` or `a/b/__init__.py` of a mapping path -> text.

    home: the folder of the entry, which is searched second, as Python does for a script.
    """

    def __init__(self, files: Mapping[str, str], home: str = ""):
        self.files, self.home = files, home
        self.code: dict[str, CodeType] = {
            path: compile(text, path, "exec", dont_inherit=True) for path, text in files.items()
        }

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        stem = name.replace(".", "/")
        in_home = lambda: self._spec(name, f"{self.home}/{stem}") if self.home else None
        return self._spec(name, stem) or in_home()

    def _spec(self, name: str, stem: str) -> ModuleSpec | None:
        """Returns the spec of a module whose path without its ending is `stem`, else None."""
        for file, is_package in ((f"{stem}.py", False), (f"{stem}/__init__.py", True)):
            if file in self.files:
                spec = ModuleSpec(name, self, origin=file, is_package=is_package)  # type: ignore[arg-type]
                spec.has_location = True
                return spec
        if any(file.startswith(f"{stem}/") for file in self.files):
            return ModuleSpec(name, self, origin=stem, is_package=True)  # type: ignore[arg-type]
        return None

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None and spec.origin in self.code:
            exec(self.code[spec.origin], module.__dict__)

    def get_source(self, name: str) -> str | None:
        """Returns the text of a module, whose lines tracebacks show."""
        spec = self.find_spec(name)
        return None if spec is None else self.files.get(spec.origin or "")


def run_message(message: bytes, most: int) -> bytes:
    """Runs the program of a message, and returns the answer: ["ok", value] or [fault, reason].

    message: [files, entry, arguments], see `Sandbox.run`.
    most: bytes of the answer.
    """
    try:
        files, entry, arguments = wire.unpack_message(message)
        path, _, function = entry.partition(":")
        if path not in files:
            listed = ", ".join(sorted(files)) or "none"
            return _fault("invalid", f"the program has no file {path}; it has {listed}")
        home = path.rpartition("/")[0]
        python = {path: text for path, text in files.items() if path.endswith(".py")}
        modules = Modules(python, home)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # what compile raises
        return _fault("invalid", "".join(traceback.format_exception_only(error)))
    prefix = f"{home}/"
    in_home = [
        path.removeprefix(prefix) for path in modules.code if home and path.startswith(prefix)
    ]
    own = {path.partition("/")[0].removesuffix(".py") for path in (*modules.code, *in_home)}
    # A file of the program takes precedence over a library of the same name.
    for name in [name for name in sys.modules if name.partition(".")[0] in own]:
        del sys.modules[name]
    sys.meta_path.insert(0, modules)
    try:
        module = __import__(path.removesuffix(".py").replace("/", "."), fromlist=["*"])
        main = getattr(module, function, None)
        if not callable(main):
            return _fault("invalid", f"{path} defines no function {function}")
        value = main(*arguments)
    except BaseException as error:  # noqa: BLE001 - any exception, SystemExit too, is its fault
        return _fault("failed", _traceback(error))
    try:
        return wire.pack_message(["ok", value], most)
    except (TypeError, ValueError, RecursionError, MemoryError) as error:
        return _fault("invalid", str(error) or type(error).__name__)


def _fault(kind: str, reason: str) -> bytes:
    text = reason[-_TEXT:].encode(errors="replace").decode()
    return wire.pack_message([kind, text], 16 * _TEXT)


def _traceback(error: BaseException) -> str:
    """Returns the traceback of an error, from the candidate's first line on."""
    try:
        frames = error.__traceback__ and error.__traceback__.tb_next
        while frames is not None and frames.tb_frame.f_code.co_filename.startswith(
            ("<frozen", __file__)
        ):
            frames = frames.tb_next
        return "".join(traceback.format_exception(type(error), error, frames))
    except BaseException:  # noqa: BLE001 - an error whose own __str__ raises
        return f"{type(error).__name__}, which cannot be shown"

"""A candidate's own files as modules, straight from memory, and the call of its entry."""

from __future__ import annotations

import sys
import traceback
from importlib.machinery import ModuleSpec

from . import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import CodeType, ModuleType
    from typing import Any

TEXT = 4000  # characters of an error that are handed back


class Modules:
    """Finds `a.b` in the files `a/b.py` and `a/b/__init__.py` of a mapping path -> text."""

    def __init__(self, files: Mapping[str, str]):
        self.files = files
        self.code: dict[str, CodeType] = {
            path: compile(text, path, "exec", dont_inherit=True) for path, text in files.items()
        }

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        stem = name.replace(".", "/")
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
        """The text of a module, which is how tracebacks come to show its lines."""
        spec = self.find_spec(name)
        return None if spec is None else self.files.get(spec.origin or "")


def call(message: bytes, most: int) -> bytes:
    """Runs the program of a message and gives the message to send back: ["ok", value] or [fault, why]."""
    try:
        files, entry, arguments = wire.decode(message)
        path, _, function = entry.partition(":")
        if path not in files:
            return _fault("invalid", f"the program has no file {path}; it has {', '.join(sorted(files)) or 'none'}")
        modules = Modules({path: text for path, text in files.items() if path.endswith(".py")})
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # what compile raises
        return _fault("invalid", "".join(traceback.format_exception_only(error)))
    own = {path.partition("/")[0].removesuffix(".py") for path in modules.code}
    for name in [name for name in sys.modules if name.partition(".")[0] in own]:
        del sys.modules[name]  # a file of the program goes before a library of the same name, as in a folder
    sys.meta_path.insert(0, modules)
    try:
        module = __import__(path.removesuffix(".py").replace("/", "."), fromlist=["*"])
        main = getattr(module, function, None)
        if not callable(main):
            return _fault("invalid", f"{path} defines no function {function}")
        value = main(*arguments)
    except BaseException as error:  # noqa: BLE001 - SystemExit and all: whatever it raises is its fault
        return _fault("failed", _told(error))
    try:
        return wire.encode(["ok", value], most)
    except (TypeError, ValueError, RecursionError, MemoryError) as error:
        return _fault("invalid", str(error) or type(error).__name__)


def _fault(kind: str, why: str) -> bytes:
    return wire.encode([kind, why[-TEXT:].encode(errors="replace").decode()], 16 * TEXT)


def _told(error: BaseException) -> str:
    """The traceback, from the candidate's first line on."""
    try:
        frames = error.__traceback__ and error.__traceback__.tb_next
        while frames is not None and frames.tb_frame.f_code.co_filename.startswith(("<frozen", __file__)):
            frames = frames.tb_next
        return "".join(traceback.format_exception(type(error), error, frames))
    except BaseException:  # noqa: BLE001 - an error whose own __str__ raises
        return f"{type(error).__name__}, which cannot be shown"

"""The files that a package needs: its distribution, its libraries, and what that requires.

Import names and names of distributions differ (`PIL` is in pillow, `sklearn` in scikit-learn,
whose libraries are in `scikit_learn.libs`), so both come from the metadata of the installed
distributions.
"""

from __future__ import annotations

import contextlib
import csv
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_SUFFIXES = tuple(importlib.machinery.all_suffixes())

# (the file of a module, None for a namespace; the folders of a package, None for a plain module).
Module = tuple[str | None, list[str] | None]


@dataclass(frozen=True)
class Packages:
    """Packages by import name, and the files that they need.

    modules: top-level name -> the file of the module, None for a namespace, and its folders, None
      for a plain module.
    metadata: the folders with the metadata of the distributions.
    paths: all files and folders that have to be readable, including those above.
    """

    modules: dict[str, Module]
    metadata: tuple[str, ...]
    paths: tuple[str, ...]


def locate_packages(names: Iterable[str]) -> Packages:
    """Returns the packages of these modules and all that they require, without optional extras.

    Raises ValueError for a name that cannot be imported here.
    """
    modules, distributions = dict[str, Module](), dict[str, Distribution]()
    for name in dict.fromkeys(name.partition(".")[0] for name in names):
        spec = find_module(name)
        if spec is None:
            raise ValueError(f"preload names {name!r}, which {_why_unknown(name)}")
        if not _is_standard(name, spec):
            modules[name] = _location(spec)
            for distribution in _providers(name, spec):
                _add_required(distribution, (), distributions, set())
    other, metadata = list[str](), list[str]()
    for distribution in distributions.values():
        contents = _contents(distribution)
        other += contents.other
        metadata += contents.metadata
        for name in contents.modules:
            spec = None if name in modules else find_module(name)
            if spec is not None and not _is_standard(name, spec):
                modules[name] = _location(spec)
    paths = [path for module in modules.values() for path in _paths(module)] + other
    paths = [*paths, *(path for folder in paths for path in _link_targets(folder)), *metadata]
    existing = tuple(path for path in dict.fromkeys(paths) if os.path.exists(path))
    return Packages(modules, tuple(metadata), existing)


def find_module(name: str) -> ModuleSpec | None:
    """Returns the spec of a top-level module; None if it is not installed."""
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):  # ValueError for a module without a spec, such as __main__
        return None


def _why_unknown(name: str) -> str:
    """Returns why a name cannot be imported, and a remedy; it may be that of a distribution."""
    try:
        contents = _contents(importlib.metadata.distribution(name))
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return "is not installed here: pip install it, or leave it out"
    imported = " or ".join(module for module in contents.modules if find_module(module))
    return (
        f"is the name of a distribution: name what is imported of it, {imported or 'if anything'}"
    )


def _is_standard(name: str, spec: ModuleSpec) -> bool:
    """Whether a module is part of the interpreter or its standard library."""
    return name in sys.stdlib_module_names or spec.origin in ("built-in", "frozen")


def _location(spec: ModuleSpec) -> Module:
    folders = spec.submodule_search_locations
    file = os.path.abspath(spec.origin) if spec.origin and spec.has_location else None
    return file, None if folders is None else [os.path.abspath(folder) for folder in folders]


def _paths(module: Module) -> list[str]:
    """Returns the folders of a package, or the file of a plain module."""
    file, folders = module
    return folders if folders is not None else [file] if file else []


def _link_targets(path: str) -> set[str]:
    """Returns the targets of the links in a folder, or of a file that is a link.

    Some installers only link the files of a package. For a target in a folder with the name of
    `path`, that folder is returned.
    """
    if not os.path.isdir(path):
        return {os.path.realpath(path)} if os.path.islink(path) else set()
    with os.scandir(path) as entries:
        targets = [os.path.realpath(entry.path) for entry in entries if entry.is_symlink()]
    folders = [os.path.dirname(target) for target in targets]
    name = os.path.basename(path)
    return {
        folder if os.path.basename(folder) == name else target
        for target, folder in zip(targets, folders, strict=True)
    }


def _add_required(
    distribution: Distribution,
    extras: tuple[str, ...],
    distributions: dict[str, Distribution],
    done: set[tuple[str, str]],
) -> None:
    """Adds a distribution and, recursively, all that it requires here, to `distributions`."""
    name = _normal(distribution.metadata["Name"] or "")
    distributions.setdefault(name, distribution)
    for extra in ("", *extras):
        if (name, extra) in done:
            continue
        done.add((name, extra))
        for requirement in _requirements(distribution, extra):
            try:
                required = importlib.metadata.distribution(requirement.name)
            except importlib.metadata.PackageNotFoundError:
                continue  # it cannot be imported outside, either
            _add_required(required, tuple(sorted(requirement.extras)), distributions, done)


def _requirements(distribution: Distribution, extra: str) -> Iterator[Requirement]:
    """Yields what a distribution requires here, with one of its extras or, for "", without any."""
    from packaging.requirements import InvalidRequirement, Requirement

    for text in distribution.requires or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # it is older than the syntax of requirements
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


def _providers(name: str, spec: ModuleSpec) -> list[Distribution]:
    """Returns the distributions of a module: several for a namespace, none for a plain file."""
    if spec.origin is not None:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            same_name = importlib.metadata.distribution(name)
            if name in _contents(same_name).modules:
                return [same_name]
    roots = {os.path.dirname(path) for path in _paths(_location(spec))}
    providers = []
    for distribution in importlib.metadata.distributions():
        contents = _contents(distribution)
        if name in contents.modules or roots & contents.path_entries:
            providers.append(distribution)
    return providers


class _Contents(NamedTuple):
    """The contents of a distribution.

    modules: the top-level modules, as keys.
    other: paths of other files and folders beside the modules, such as libraries.
    metadata: paths of the folders that describe the distribution.
    path_entries: folders that it adds to `sys.path`.
    """

    modules: dict[str, None]
    other: list[str]
    metadata: list[str]
    path_entries: set[str]


def _contents(distribution: Distribution) -> _Contents:
    root = str(distribution.locate_file(""))
    files = _files(distribution)
    tops = dict.fromkeys(
        file.partition("/")[0] for file in files if not file.startswith(("/", "../"))
    )
    modules = dict.fromkeys((distribution.read_text("top_level.txt") or "").split())
    contents = _Contents(modules, [], [], set())
    top_files = {file for file in files if "/" not in file}
    for top in tops:
        path = os.path.join(root, top)
        is_file = top in top_files
        name = _module_name(top) if is_file else top
        if top.endswith(".pth"):
            contents.path_entries.update(_path_entries(path))
        elif top.endswith(("-info", ".egg")):
            contents.metadata.append(path)
        elif name.isidentifier() and (name != top or not is_file) and top != "__pycache__":
            modules[name] = None
        elif top != "__pycache__":
            contents.other.append(path)
    if contents.path_entries or not modules:  # an editable install, or one without a list of files
        modules[_normal(distribution.metadata["Name"] or "")] = None
    lib = os.path.join(sys.prefix, "lib", "")
    for file in files:
        path = os.path.normpath(os.path.join(root, file))
        if file.startswith("../") and path.startswith(lib) and ".so" in os.path.basename(path):
            contents.other.append(path)
    return contents


def _files(distribution: Distribution) -> list[str]:
    """Returns the files of a distribution, relative to its root; faster than its own `files`."""
    record = distribution.read_text("RECORD")
    if record is None:
        return [str(file) for file in distribution.files or ()]
    return [row[0] for row in csv.reader(record.splitlines()) if row]


def _path_entries(path: str) -> list[str]:
    """Returns the folders that a .pth file adds to `sys.path`."""
    try:
        with open(path, encoding="utf-8") as file:
            return [os.path.abspath(line.strip()) for line in file if line[:1] == os.sep]
    except (OSError, ValueError):
        return []


def _module_name(file: str) -> str:
    """Returns the module in a file of this name; the name itself if it holds no module."""
    return next((file.removesuffix(suffix) for suffix in _SUFFIXES if file.endswith(suffix)), file)


def _normal(name: str) -> str:
    """Returns the name of a distribution in the form of an import name."""
    return re.sub(r"[-_.]+", "_", name).lower()

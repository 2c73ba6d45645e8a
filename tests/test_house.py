"""The structure of the package: imports, the contents of files, and what the two commands need."""

from __future__ import annotations

import ast
import graphlib
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.bounds import TESTS, lowest
from tests.pins import wanted

ROOT = Path(__file__).parents[1]
MEET_THE_SHELVES = {"cli", "comparing", "domains", "peers", "testing"}
SHELVES = ("archives", "domains")  # parts of the package that stand at the top of the repository

# The rooms, from the ground up. A room imports from rooms on lower floors, and from itself.
FLOORS = (
    {"core"},
    {"archives", "axes", "llm", "programs"},
    {"metrics", "selection"},
    {"feedback", "novelty", "operators", "peers", "runs"},
    {"domains", "testing", "viz"},
    {"rate"},
    {"search"},
    {"comparing"},
    {"cli"},
)
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
LIGHT = {  # imported without jax: modules, or rooms with all their modules
    *("__init__", "__main__", "llm", "metrics", "cli", "programs.sandbox"),
    *("core.types", "core.record", "core.evaluating", "core.time_limits", "core.processes"),
    *("selection.bandits", "selection.inspirations"),
    *("search.concurrency", "search.signals", "search.budget"),
}
BROAD = {  # where whatever foreign code raises becomes an outcome
    *("core.evaluating", "core.time_limits", "search.concurrency", "programs.sandbox"),
}


def lies_in(module: str, names: set[str]) -> bool:
    """Whether a module is one of these, or lies in one of these packages."""
    parts = module.split(".")
    return any(".".join(parts[: i + 1]) in names for i in range(len(parts)))


def modules() -> dict[str, Path]:
    """Returns every module of the package by its dotted name without `qdkit.`.

    Links are not followed.
    """
    tops = [(ROOT / "qdkit", ""), *((ROOT / shelf, f"{shelf}.") for shelf in SHELVES)]
    result = {}
    for top, prefix in tops:
        for folder, _, names in os.walk(top):
            if (
                "__init__.py" in names
            ):  # a folder without one holds data: prompts, programs to start from
                paths = [Path(folder) / name for name in names if name.endswith(".py")]
                result |= {
                    prefix + ".".join(path.relative_to(top).with_suffix("").parts): path
                    for path in paths
                }
    return result


MODULES = modules()
every_module = pytest.mark.parametrize("module", sorted(MODULES))


def parse(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def nodes_inside(tree: ast.Module, kind: type[ast.AST], saying: str = "") -> set[ast.AST]:
    """Returns all nodes inside nodes of a kind whose source contains a text."""
    outer = (
        node for node in ast.walk(tree) if isinstance(node, kind) and saying in ast.unparse(node)
    )
    return {node for each in outer for node in ast.walk(each)}


def imports(tree: ast.Module, module: str) -> Iterator[tuple[str, bool]]:
    """Yields what a module imports, by full name, and whether at the import of the module.

    Imports for type checkers are left out.
    """
    inside = nodes_inside(tree, ast.FunctionDef)
    unread = nodes_inside(tree, ast.If, "if TYPE_CHECKING:")
    package = ("qdkit." + module).split(".")
    for node in set(ast.walk(tree)) - unread:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            here = ".".join(package[: -node.level]) + "." if node.level else ""
            base = (here + (node.module or "")).rstrip(".")
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((name, node not in inside) for name in names)


def room_imports() -> dict[str, set[str]]:
    """Returns the packages that each package imports."""
    result: dict[str, set[str]] = {room: set() for room in FLOOR}
    for module in MODULES:
        room = module.split(".")[0]
        for name, _ in imports(parse(module), module) if room in FLOOR else ():
            top, _, rest = name.partition(".")
            if top == "qdkit" and rest.split(".")[0] not in (room, "__version__"):
                result[room].add(rest.split(".")[0])
    return result


def test_packages_import_only_from_lower_floors():
    """So there is no cycle of imports between packages."""
    flat = {module for module in MODULES if "." not in module}
    assert flat == {"__init__", "__main__"}, "a module belongs into a room"
    assert {module.split(".")[0] for module in MODULES} - flat == {*FLOOR}
    found = room_imports()
    for floor, rooms in enumerate(FLOORS):
        for room in sorted(rooms):
            print(f"{floor}  {room}: {', '.join(sorted(found[room])) or 'nothing'}")
    unknown = {other for others in found.values() for other in others} - {*FLOOR}
    assert not unknown, "import a name from the module that defines it, not from qdkit"
    shelved = {room for room, others in found.items() if others & {*SHELVES}}
    assert shelved <= MEET_THE_SHELVES, "the core knows no shelf"
    wrong = [
        (room, other)
        for room, others in found.items()
        for other in others
        if FLOOR[other] >= FLOOR[room]
    ]
    assert not wrong, "an import goes up, or from room to room on one floor"
    assert len(FLOOR) <= 24 and len(FLOORS) <= 10


def module_of(name: str) -> str | None:
    """Returns the module that an import of a full name runs last; None for other packages."""
    parts = name.split(".")[1:] if name.split(".")[0] == "qdkit" else []
    for length in range(len(parts), 0, -1):
        for found in (".".join(parts[:length]), ".".join([*parts[:length], "__init__"])):
            if found in MODULES:
                return found
    return None


def test_no_modules_import_each_other():
    """Not in a circle either, nor by imports in functions; `graphlib` names the modules of one."""
    graph = {
        module: {
            found
            for name, _ in imports(parse(module), module)
            if (found := module_of(name)) not in (None, module)
        }
        for module in MODULES
    }
    graphlib.TopologicalSorter(graph).prepare()


def test_the_picture_of_the_rooms_is_up_to_date():
    """`python3 docs/pictures/rooms.py` draws it."""
    folder = ROOT / "docs" / "pictures"
    room = runpy.run_path(str(folder / "rooms.py"))
    assert (folder / "rooms.svg").read_text(encoding="utf-8") == room["picture"](FLOORS)


@every_module
def test_importing_a_module_is_cheap(module):
    """A module imports the standard library, numpy and jax at its head.

    Light modules do not import jax.
    """
    allowed = {*sys.stdlib_module_names, "qdkit", "numpy"}
    allowed |= set() if lies_in(module, LIGHT) else {"jax"}
    allowed |= {"cyclopts"} if module in ("cli.commands", "cli.options") else set()
    for name, at_once in imports(parse(module), module):
        assert not at_once or name.split(".")[0] in allowed, (
            f"{module}: import {name} in the function that needs it"
        )


@every_module
def test_every_module_has_a_docstring(module):
    assert ast.get_docstring(parse(module))


@every_module
def test_errors_are_caught_by_name(module):
    """Only the modules that run code of users catch every exception."""
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.ExceptHandler) and not lies_in(module, BROAD):
            caught = "everything" if node.type is None else ast.unparse(node.type)
            assert not re.search(r"everything|\bException|\bBaseException", caught), (
                f"{module}:{node.lineno}"
            )


def test_importing_qdkit_loads_no_heavy_library():
    """`import qdkit` loads no library that takes long to load."""
    heavy = [
        "jax",
        "numpy",
        "ribs",
        "pandas",
        "sklearn",
        "scipy",
        "matplotlib",
        "openai",
        "cyclopts",
        "tqdm",
    ]
    script = (
        "import sys, time; start = time.process_time(); import qdkit; spent = time.process_time() "
        "- start;"
        f"print(*(name for name in {heavy} if name in sys.modules)); print(f'import qdkit: "
        f"{{spent:.3f}} CPU-s')"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=240,
    )
    loaded, spent = printed.stdout.splitlines()
    print(spent)
    assert loaded == ""


def texts(tracked: list[Path], *suffixes: str) -> Iterator[tuple[Path, str]]:
    for path in tracked:
        if not (ROOT / path).is_symlink() and (not suffixes or path.suffix in suffixes):
            data = (ROOT / path).read_bytes()
            if b"\0" not in data:
                yield path, data.decode("utf-8")


def lines_with(pattern: str, files: Iterator[tuple[Path, str]]) -> list[str]:
    """Returns `file:line` of every line that contains the pattern."""
    search = re.compile(pattern).search
    return [
        f"{p}:{i}"
        for p, text in files
        for i, line in enumerate(text.splitlines(), 1)
        if search(line)
    ]


def test_no_file_names_a_registry(tracked):
    """The source of packages is a setting of the machine, not of the project."""
    addresses = (
        r"pypi\.org|pythonhosted\.org|anaconda\.org|registry\.npmjs|download\.pytorch"
        r"|-index-u[r]l|--find-link[s]"
    )
    assert lines_with(addresses, texts(tracked)) == []


def test_no_file_names_a_path_of_one_machine(tracked):
    """No home folder, and no path of this checkout."""
    here = (
        [re.escape("/".join(ROOT.parts[:3]).replace("//", "/") + "/")]
        if len(ROOT.parts) > 3
        else []
    )
    homes = r"(?<![\w.])/(home|Users|root)/[\w.-]+/|[A-Z]:\\Users\\"
    assert lines_with("|".join([homes, *here]), texts(tracked)) == []


def test_there_are_no_to_do_marks(tracked):
    """Open work is either not needed or named in the README."""
    assert lines_with(r"\b(TO[D]O|FIX[M]E|XX[X])\b", texts(tracked, ".py", ".md", ".toml")) == []


def test_every_package_is_listed():
    """`packages` in pyproject.toml names exactly the folders that are packages.

    Others would not be shipped.
    """
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "setuptools"
    ]["packages"]
    packages = {
        f"qdkit.{m}".removesuffix(".__init__") for m in MODULES if m.split(".")[-1] == "__init__"
    }
    assert set(listed) == packages and len(listed) == len(packages)


@pytest.mark.parametrize("shelf", SHELVES)
def test_the_links_agree_with_the_mapping(shelf):
    """Tools that read folders find both folders in the package.

    In a checkout without links a file has the same text.
    """
    link = ROOT / "qdkit" / shelf
    assert (os.readlink(link) if link.is_symlink() else link.read_text()) == f"../{shelf}"


@pytest.mark.parametrize("shelf", SHELVES)
def test_importing_a_folder_by_its_own_name_is_refused(shelf):
    """`import archives`, possible in the repository's root, is refused with the right name."""
    tried = subprocess.run(
        [sys.executable, "-c", f"import {shelf}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert (
        f"ImportError: import qdkit.{shelf}, not {shelf}: this folder is part of the package qdkit"
        in tried.stderr
    )


def test_requirements_have_bounds_and_exact_pins():
    """Every requirement has a lower bound and, on this Python, one exact pin within its bounds."""
    pins: dict[str, str] = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        pin = Requirement(line)
        assert re.fullmatch(r"==[^*,]+", str(pin.specifier)) and not pin.url, (
            f"{line!r} is not an exact pin"
        )
        if pin.marker is None or pin.marker.evaluate():
            assert pin.name not in pins, f"{pin.name} is pinned twice"
            pins[pin.name] = str(pin.specifier)[2:]
    for text in wanted():
        one = Requirement(text)
        assert ">=" in str(one.specifier), f"{text!r} has no lower bound"
        assert pins.get(one.name, "none") in one.specifier, (
            f"{text!r} is pinned to {pins.get(one.name)}"
        )


def test_the_lowest_and_the_highest_versions_of_requirements_are_tested():
    """`tests/bounds.py` installs all extras, each with a lower bound, and its files exist."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [
        text
        for extra, texts in project["optional-dependencies"].items()
        if extra != "test"
        for text in texts
    ]
    assert not {*project["dependencies"], *extras} - {*wanted()}
    for text, low in zip(wanted(), map(Requirement, lowest(wanted())), strict=True):
        (only,) = low.specifier
        assert only.operator == "==" and only.version in Requirement(text).specifier
    assert not [name for name in TESTS if not (ROOT / "tests" / f"test_{name}.py").exists()]
    for open_below in ("numpy", "numpy<3", "numpy==2.0"):
        with pytest.raises(ValueError, match=r"has no bound like name>=1\.2"):
            lowest([open_below])


def test_the_readme_has_the_two_commands():
    """The README has each command on one line of its own, as people copy it.

    .ci/run reads the second from there.
    """
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    install = "python3 -m pip install -c constraints.txt -e"
    run = "python3 -m qdkit run circle_packing --budget 20s --against independent climb"
    first = f"{install} . && {run}"
    assert lines.count(first) == 1
    assert lines.count(f"{install} '.[test]' && python3 tests/check.py") == 1


def test_no_test_reaches_another_machine():
    """A connection to this machine works.

    A connection to another, or a look-up of its name, is refused with the reason.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
    for stranger in ("192.0.2.1", "example.org"):  # the first is an address kept for documentation
        with pytest.raises(RuntimeError, match=f"a test wanted to reach '{stranger}'"):
            socket.create_connection((stranger, 80))


def test_in_ci_a_skipped_test_is_a_failure(tmp_path):
    """A skipped test or file fails if CI is set, with its reason."""
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_one.py").write_text(
        "import pytest\n@pytest.mark.skip('no browser')\ndef test_a(): pass\n"
    )
    (tmp_path / "test_file.py").write_text("import pytest\npytest.importorskip('browser')\n")
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "--continue-on-collection-errors",
        "--rootdir",
        tmp_path,
    ]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, tmp_path],
        cwd=tmp_path,
        env=os.environ | {"CI": "true"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    for reason in ("could not import 'browser'", "no browser"):
        assert f"in CI a skipped test is a failure. Skipped: {reason}" in ran.stdout
    assert ran.returncode == 1

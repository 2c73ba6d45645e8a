"""The house itself: who imports whom, what may stand in a file, and what the two commands rely on."""

from __future__ import annotations

import ast
import os
import re
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
SHELVES = ("archives", "domains")  # parts of the package that stand at the top of the repository

# A room may import any room on a floor below its own. The first floor is open to its neighbours too.
FLOORS = (
    {"types", "elites", "record", "plain", "names", "programs", "shown", "prompts", "keys"},
    {
        "flow",
        "llm",
        "budget",
        "sandbox",
        "compiled",
        "rows",
        "parents",
        "bandits",
        "rewards",
        "metrics",
        "features",
        "noise",
        "encoder",
    },
    {
        "axes",
        "novelty",
        "ledger",
        "levels",
        "looks",
        "parts",
        "operators",
        "feedback",
        "stages",
        "lessons",
        "stopping",
        "cluster",
    },
    {
        "seen",
        "progress",
        "taskrecord",
        "baselines",
        "challenge",
        "choosing",
        "judgements",
        "loop",
        "preferences",
        *SHELVES,
    },
    {"remap", "scan", "tasks", "exchange", "viz"},
    {"rate", "work"},
    {"search", "comparison"},
    {"catalog", "testing", "doctor", "peers"},
    {"runs", "order", "methods"},
    {"options", "printed"},
    {"cli"},
    {"__main__"},
)
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
MEET_THE_SHELVES = {"catalog", "cli", "methods", "peers", "runs", "testing"}
LIGHT = {
    "__init__",
    "__main__",
    "types",
    "record",
    "bandits",
    "metrics",
    "features",
    "encoder",
    "shown",
    "flow",
    "budget",
    "llm",
    "sandbox",
    "cli",
    "options",
    "printed",
    "order",
}  # imported without jax
BROAD = {"flow", "sandbox"}  # where whatever a stranger's code raises becomes an outcome


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name without `qdkit.`; the links are not followed."""
    tops = [(ROOT / "qdkit", ""), *((ROOT / shelf, f"{shelf}.") for shelf in SHELVES)]
    found = {}
    for top, prefix in tops:
        for folder, _, names in os.walk(top):
            if "__init__.py" in names:  # a folder without one holds data: prompts, programs to start from
                paths = [Path(folder) / name for name in names if name.endswith(".py")]
                found |= {prefix + ".".join(path.relative_to(top).with_suffix("").parts): path for path in paths}
    return found


MODULES = modules()
every_module = pytest.mark.parametrize("module", sorted(MODULES))


def parse(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def within(tree: ast.Module, kind: type[ast.AST], saying: str = "") -> set[ast.AST]:
    """All that stands inside nodes of a kind whose source says something."""
    outer = (node for node in ast.walk(tree) if isinstance(node, kind) and saying in ast.unparse(node))
    return {node for each in outer for node in ast.walk(each)}


def imports(tree: ast.Module, module: str) -> Iterator[tuple[str, bool]]:
    """What a module imports, by full name, and whether at once; what only a type checker reads is not imported."""
    inside, unread = within(tree, ast.FunctionDef), within(tree, ast.If, "if TYPE_CHECKING:")
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


@every_module
def test_a_room_imports_only_from_the_floors_below(module):
    """Imports go down: no circle, no way back up, and no door between rooms on one floor."""
    room = module.split(".")[0]
    if room == "__init__":
        return  # imports its rooms by name when they are first used
    assert room in FLOOR, f"{room} has no floor: give it one in FLOORS, above all that it imports"
    for name, _ in imports(parse(module), module):
        top, _, rest = name.partition(".")
        other = rest.split(".")[0]
        if top != "qdkit" or other in (room, "__version__"):
            continue
        assert other in FLOOR, f"{module} imports {name}: import from the room, as in `from qdkit.types import Batch`"
        below = FLOOR[other] < FLOOR[room] or FLOOR[other] == 0
        assert below, f"{module} imports {name}: {other} is not on a floor below {room}"
        assert other not in SHELVES or room in MEET_THE_SHELVES, f"{module} imports {name}: the core knows no shelf"


@every_module
def test_importing_a_room_is_cheap(module):
    """At the head of a module stand the standard library, numpy and jax; light modules do without jax."""
    room = module.split(".")[0]
    allowed = {*sys.stdlib_module_names, "qdkit", "numpy"}
    allowed |= set() if room in LIGHT else {"jax"}
    allowed |= {"cyclopts"} if room in ("cli", "options") else set()
    for name, at_once in imports(parse(module), module):
        assert not at_once or name.split(".")[0] in allowed, f"{module}: import {name} in the function that needs it"


@every_module
def test_every_module_says_what_it_is_for(module):
    """A module opens with a docstring."""
    assert ast.get_docstring(parse(module))


@every_module
def test_faults_are_caught_by_name(module):
    """Nothing but the rooms that run strangers' code catches every exception."""
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.ExceptHandler) and module.split(".")[0] not in BROAD:
            caught = "everything" if node.type is None else ast.unparse(node.type)
            assert not re.search(r"everything|\bException|\bBaseException", caught), f"{module}:{node.lineno}"


def test_the_head_of_the_package_loads_nothing_heavy():
    """`import qdkit` loads no library that takes long to load."""
    heavy = ["jax", "numpy", "ribs", "pandas", "sklearn", "scipy", "matplotlib", "openai", "cyclopts", "tqdm"]
    script = (
        "import sys, time; start = time.process_time(); import qdkit; spent = time.process_time() - start;"
        f"print(*(name for name in {heavy} if name in sys.modules)); print(f'import qdkit: {{spent:.3f}} CPU-s')"
    )
    printed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    loaded, spent = printed.stdout.splitlines()
    print(spent)
    assert loaded == ""


def texts(tracked: list[Path], *suffixes: str) -> Iterator[tuple[Path, str]]:
    for path in tracked:
        if not (ROOT / path).is_symlink() and (not suffixes or path.suffix in suffixes):
            data = (ROOT / path).read_bytes()
            if b"\0" not in data:
                yield path, data.decode("utf-8")


def lines_with(pattern: str, found: Iterator[tuple[Path, str]]) -> list[str]:
    """`file:line` of every line in which the pattern occurs."""
    search = re.compile(pattern).search
    return [f"{p}:{i}" for p, text in found for i, line in enumerate(text.splitlines(), 1) if search(line)]


def test_no_file_names_a_registry(tracked):
    """Where packages come from is the machine's business, not the project's."""
    addresses = (
        r"pypi\.org|pythonhosted\.org|anaconda\.org|registry\.npmjs|download\.pytorch|-index-u[r]l|--find-link[s]"
    )
    assert lines_with(addresses, texts(tracked)) == []


def test_no_file_names_a_place_on_one_machine(tracked):
    """No path of whoever wrote a file, and none of this checkout."""
    here = [re.escape("/".join(ROOT.parts[:3]).replace("//", "/") + "/")] if len(ROOT.parts) > 3 else []
    homes = r"(?<![\w.])/(home|Users|root)/[\w.-]+/|[A-Z]:\\Users\\"
    assert lines_with("|".join([homes, *here]), texts(tracked)) == []


def test_nothing_is_left_for_later(tracked):
    """No to-do marks: what is not done is either not needed or said in the README."""
    assert lines_with(r"\b(TO[D]O|FIX[M]E|XX[X])\b", texts(tracked, ".py", ".md", ".toml")) == []


def test_every_package_is_listed():
    """`packages` in pyproject.toml names exactly the folders that are packages; what is not listed is not shipped."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    packages = {f"qdkit.{m}".removesuffix(".__init__") for m in MODULES if m.split(".")[-1] == "__init__"}
    assert set(listed) == packages and len(listed) == len(packages)


@pytest.mark.parametrize("shelf", SHELVES)
def test_the_links_say_what_the_mapping_says(shelf):
    """Tools that read folders find each shelf in the package; a checkout without links has the same text in a file."""
    link = ROOT / "qdkit" / shelf
    assert (os.readlink(link) if link.is_symlink() else link.read_text()) == f"../{shelf}"


@pytest.mark.parametrize("shelf", SHELVES)
def test_a_shelf_refuses_its_folder_name(shelf):
    """`import archives`, possible in the repository's root, is refused with the right name."""
    tried = subprocess.run([sys.executable, "-c", f"import {shelf}"], cwd=ROOT, capture_output=True, text=True)
    assert f"ImportError: import qdkit.{shelf}, not {shelf}: this folder is part of the package qdkit" in tried.stderr


def test_versions_are_held_by_bounds_and_exact_pins():
    """Every requirement has a lower bound and, on this Python, one exact pin within its bounds."""
    pins: dict[str, str] = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        pin = Requirement(line)
        assert re.fullmatch(r"==[^*,]+", str(pin.specifier)) and not pin.url, f"{line!r} is not an exact pin"
        if pin.marker is None or pin.marker.evaluate():
            assert pin.name not in pins, f"{pin.name} is pinned twice"
            pins[pin.name] = str(pin.specifier)[2:]
    for text in wanted():
        one = Requirement(text)
        assert ">=" in str(one.specifier), f"{text!r} has no lower bound"
        assert pins.get(one.name, "none") in one.specifier, f"{text!r} is pinned to {pins.get(one.name)}"


def test_the_lowest_and_the_highest_versions_of_all_that_is_required_are_tested():
    """All extras are among what `tests/bounds.py` installs, each with a bound from below, and its files are there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [text for extra, texts in project["optional-dependencies"].items() if extra != "test" for text in texts]
    assert not {*project["dependencies"], *extras} - {*wanted()}
    for text, low in zip(wanted(), map(Requirement, lowest(wanted())), strict=True):
        (only,) = low.specifier
        assert only.operator == "==" and only.version in Requirement(text).specifier
    assert not [name for name in TESTS if not (ROOT / "tests" / f"test_{name}.py").exists()]
    for open_below in ("numpy", "numpy<3", "numpy==2.0"):
        with pytest.raises(ValueError, match=r"has no bound like name>=1\.2"):
            lowest([open_below])


def test_the_readme_has_the_two_commands():
    """The README gives each command on one line of its own, as people copy it; .ci/run reads the second from there."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    install = "python3 -m pip install -c constraints.txt -e"
    first = f"{install} . && python3 -m qdkit run circle_packing --budget 20s --against independent climb"
    assert lines.count(first) == 1
    assert lines.count(f"{install} '.[test]' && python3 tests/check.py") == 1


def test_no_test_reaches_another_machine():
    """A connection to this machine is made; one to another, or a look-up of its name, is refused with the reason."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
    for stranger in ("192.0.2.1", "example.org"):  # the first is an address kept for documentation
        with pytest.raises(RuntimeError, match=f"a test wanted to reach '{stranger}'"):
            socket.create_connection((stranger, 80))


def test_in_ci_a_skipped_test_is_a_failure(tmp_path):
    """A test or a whole file that is skipped fails where CI is set, with its reason."""
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_one.py").write_text("import pytest\n@pytest.mark.skip('no browser')\ndef test_a(): pass\n")
    (tmp_path / "test_file.py").write_text("import pytest\npytest.importorskip('browser')\n")
    options = ["-q", "-p", "no:cacheprovider", "--continue-on-collection-errors", "--rootdir", tmp_path]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, tmp_path],
        cwd=tmp_path,
        env=os.environ | {"CI": "true"},
        capture_output=True,
        text=True,
    )
    for reason in ("could not import 'browser'", "no browser"):
        assert f"in CI a skipped test is a failure. Skipped: {reason}" in ran.stdout
    assert ran.returncode == 1

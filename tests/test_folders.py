"""Folders with a program task: modules beside the referee, other processes, unusual names."""

from __future__ import annotations

import pickle
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import jax
import pytest

import qdkit
from qdkit.archives import Grid
from qdkit.cli.commands import main
from qdkit.core.describe import stable_repr
from qdkit.core.types import Outcome
from qdkit.domains import Program
from qdkit.operators import Syntax

KEY = jax.random.key(0)
SEED = "def solve(n):\n    return [i * 2.5 for i in range(n)]\n"
SCORE = """
from util import FACTOR

NAMES, BOUNDS, ARGUMENTS = ("count", "nodes"), ((0, 10), (0, 100)), (3,)


def score(output):
    import util

    return util.FACTOR * sum(output), (len(output),)


def draw(output, ax):
    return ax
"""


def made(home: Path, **files: str | bytes) -> Path:
    """A folder with a task, and with these files by their paths."""
    usual: dict[str, str | bytes] = {
        "seed.py": SEED,
        "task.md": "Great numbers.",
        "score.py": SCORE,
        "util.py": "FACTOR = 1\n",
    }
    for name, text in (usual | files).items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return home


def objective(domain: Program) -> float:
    found = domain.evaluate(domain.seeds(KEY, 1))
    assert found.outcome[0] == Outcome.OK, found.notes
    return float(found.objective[0])


def test_the_domain_of_a_folder_travels_to_spawned_workers(tmp_path):
    """They make its referee again, with the modules beside it, and a search goes on there."""
    domain = Program.folder(made(tmp_path / "task"))
    workers = partial(ProcessPoolExecutor, 1, mp_context=get_context("spawn"))
    with qdkit.Search(
        domain,
        Grid((5, 5), domain.bounds),
        Syntax(),
        batch=2,
        seed=1,
        workers=qdkit.Workers(executor=workers),
    ) as search:
        search.run(2, progress=False)
        frame = search.candidates_frame()
    assert (
        set(frame.outcome) <= {"ok", "failed", "invalid", "rejected"}
        and (frame.outcome == "ok").any()
    )


def test_a_referee_travels_as_it_was_read(tmp_path):
    """Also if the file is another by then; its name in a run is the same everywhere."""
    home = made(tmp_path / "task")
    domain = Program.folder(home)
    sent = pickle.dumps((domain.referee, domain.draws))
    (home / "score.py").write_text("raise SystemExit")
    referee, draws = pickle.loads(sent)
    assert referee([1, 2]) == (3, (2,)) and draws([1], "ax") == "ax"
    assert stable_repr(referee) == stable_repr(domain.referee) == "score_of_task:score"


def test_two_folders_may_have_modules_of_one_name(tmp_path):
    """Each module is imported by those beside it, also inside a function, and by no others."""
    one = Program.folder(made(tmp_path / "a" / "task"))
    other = Program.folder(made(tmp_path / "b" / "task", **{"util.py": "FACTOR = 10\n"}))
    assert objective(other) == 10 * objective(one) > 0
    assert "util" not in sys.modules and str(tmp_path / "a" / "task") not in sys.path


def test_an_edited_folder_is_read_again(tmp_path):
    """The helper too.

    What was read before stays as it was, and no bytecode is left in the folder.
    """
    home = made(tmp_path / "task")
    before = Program.folder(home)
    (home / "util.py").write_text("FACTOR = 2\n")
    after = Program.folder(home)
    assert objective(after) == 2 * objective(before)
    assert not list(home.glob("**/__pycache__"))


def test_packages_and_folders_of_modules_are_imported_as_in_a_script(tmp_path):
    """By all their forms.

    A library goes before a folder of data with its name, and a module before a library.
    """
    score = """
import json
import colorsys
import pkg.deep.leaf
import pkg.deep.leaf as leaf
from pkg import other, deep
from pkg.deep.leaf import VALUE
from loose import part
import part2

NAMES, BOUNDS, ARGUMENTS = ("nodes",), ((0, 100),), (3,)


def score(output):
    assert pkg.deep.leaf is leaf is deep.leaf and json.dumps(1) == "1" and colorsys.MINE
    return VALUE + other.VALUE + part.VALUE + part2.VALUE
"""
    home = made(
        tmp_path / "task",
        **{
            "score.py": score,
            "json/data.txt": "",
            "colorsys.py": "MINE = True\n",
            "pkg/__init__.py": "",
            "pkg/other.py": "from . import deep\nfrom .deep import leaf\nVALUE = leaf.VALUE\n",
            "pkg/deep/__init__.py": "",
            "pkg/deep/leaf.py": "import part2\nVALUE = part2.VALUE\n",
            "loose/part.py": "VALUE = 1\n",
            "part2.py": "\ufeffVALUE = 1\n",
        },
    )
    assert objective(Program.folder(home)) == 4


@pytest.mark.parametrize("name", ["my task", "a-b", "v1.2", "задача", "a:b", "score", "json"])
def test_a_folder_may_have_any_name(tmp_path, monkeypatch, capsys, name):
    """Also with spaces, dashes, dots and letters of any alphabet.

    The run is kept below its name.
    """
    made(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["run", name, "--evaluations", "2", "--batch", "2", "--shape", "5", "5"])
    assert not end.value.code
    capsys.readouterr()
    assert qdkit.load(Path("results") / f"{name}-1").summary()["evaluations"] == 2


def test_a_folder_is_found_by_relative_paths_and_links(tmp_path, monkeypatch):
    """And stays found where the working directory changes meanwhile."""
    home = made(
        tmp_path / "task",
        **{"score.py": SCORE + "\n\nimport pathlib\nHERE = pathlib.Path(__file__).parent\n"},
    )
    (tmp_path / "link").symlink_to(home)
    monkeypatch.chdir(tmp_path)
    domains = [Program.folder(path) for path in ("task", "./task", "task/../task", "link", home)]
    monkeypatch.chdir("/")
    assert len({objective(domain) for domain in domains}) == 1
    assert [pickle.loads(pickle.dumps(domain.referee))([1]) for domain in domains] == [
        (1, (1,))
    ] * 5


@pytest.mark.parametrize("name", ["seed.py", "score.py", "task.md", "util.py"])
def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path, name):
    """As editors of some systems write it."""
    texts = {
        "seed.py": SEED,
        "score.py": SCORE,
        "task.md": "Great numbers.",
        "util.py": "FACTOR = 1\n",
    }
    domain = Program.folder(
        made(tmp_path / "task", **{name: b"\xef\xbb\xbf" + texts[name].encode()})
    )
    assert objective(domain) == 7.5 and domain.task == "Great numbers."


def test_the_files_of_a_seed_import_each_other_as_in_a_folder(tmp_path):
    """By their plain names and from the top; hidden copies are no part of the program."""
    home = made(
        tmp_path / "task",
        **{
            "score.py": SCORE.replace("NAMES", "ENTRY = 'seed/main.py:solve'\nNAMES"),
            "seed/main.py": "from helper import two\nfrom .helper import two as too\n"
            "import seed.helper\nfrom pkg.x import y\n\n\n"
            "def solve(n):\n    return [two(), too(), seed.helper.two(), y]\n",
            "seed/helper.py": "\ufeffdef two():\n    return 2\n",
            "seed/pkg/x.py": "y = 1\n",
            "seed/.ipynb_checkpoints/main-checkpoint.py": "x = (",
        },
    )
    domain = Program.folder(home)
    assert (
        sorted(domain.files) == ["seed/helper.py", "seed/main.py", "seed/pkg/x.py"]
        and objective(domain) == 7
    )


def test_a_referee_that_stops_as_it_is_imported_leaves_nothing_behind(tmp_path):
    """Its modules are forgotten."""
    before = set(sys.modules)
    with pytest.raises(ValueError, match=r"score.py stops as it is imported: ZeroDivisionError"):
        Program.folder(made(tmp_path / "task", **{"score.py": "import util\n1 / 0\n"}))
    assert not {name for name in set(sys.modules) - before if name.startswith("qdkit_folder_")}

"""What decides a score stays as it was within a run; the words of a task may change, by name."""

from __future__ import annotations

import importlib
import sqlite3
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import qdkit
from qdkit.archives import Grid
from qdkit.cli.commands import main
from qdkit.core.differences import differences
from qdkit.domains import Program
from qdkit.operators import Gaussian, Syntax
from qdkit.runs import sources
from qdkit.testing import ModelServer

from .test_folders import SCORE, made
from .worlds import search_of

LEVELS = SCORE.replace("ARGUMENTS = ", "ARGUMENTS, SECONDS = ").replace("(3,)", "(3,), 5")
LEVELS = LEVELS.replace(
    "def score(output):", "VALIDATION, LOCKBOX = (4,), (5,)\n\n\ndef score(output, level):"
)


def command(capsys, *words: str) -> str:
    """What a command prints, or says as it refuses, in one line."""
    code = ""
    try:
        main(words)
    except SystemExit as end:
        code = str(end.code or "")
    printed = capsys.readouterr().out
    return " ".join((code or printed).split())


@pytest.fixture
def task(tmp_path, monkeypatch, capsys):
    """A folder with a task, and a run of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    home = made(
        tmp_path / "task",
        **{"score.py": LEVELS, "data/a.csv": "1", "data/b.csv": "2", "top.json": "3"},
    )
    words = "run task --evaluations 4 --batch 4 --shape 5 5 --out r"
    assert "drawn" in command(capsys, *words.split())
    return home


CHANGES = {
    "score.py": lambda text: text.replace("* sum", "* 2 * sum"),
    "util.py": lambda text: "FACTOR = 2\n",
    "seed.py": lambda text: text.replace("2.5", "3.5"),
    "data/a.csv": lambda text: "4",
    "top.json": lambda text: "{}",
}
IN_SCORE = [("LOCKBOX = (4,)", "LOCKBOX = (6,)"), ("(3,), 5", "(3,), 7"), ("(3,), 5", "(4,), 5")]


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_file_of_a_task_is_refused_by_name(task, capsys, name):
    """A changed file of the task is refused by name; once it is restored, the run goes on."""
    path = task / name
    was = path.read_text()
    path.write_text(CHANGES[name](was))
    told = command(capsys, "resume", "r", "--domain", "task", "--evaluations", "6")
    assert told.endswith(
        f"qdkit: {name} has changed since r began: put it back as it was, or begin another run"
    )
    told = command(
        capsys, "resume", "r", "--domain", "task", "--evaluations", "6", "--change", "task"
    )
    assert f"{name} has changed" in told or name == "seed.py"
    path.unlink()
    path.write_text(was)
    assert "drawn" in command(capsys, "resume", "r", "--domain", "task", "--evaluations", "6")


@pytest.mark.parametrize(("old", "new"), IN_SCORE)
def test_changed_settings_and_held_out_data_are_changes_of_the_referee(task, capsys, old, new):
    """They stand in its file, and nothing else is told."""
    (task / "score.py").write_text((task / "score.py").read_text().replace(old, new))
    told = command(capsys, "resume", "r", "--domain", "task", "--evaluations", "6")
    assert told.endswith(
        "qdkit: score.py has changed since r began: put it back as it was, or begin another run"
    )


def test_files_that_are_gone_or_new_count_and_notes_do_not(task, capsys):
    """A new module, or a new file beside known data, may be read.

    README, hidden files and runs are not.
    """
    resume = ("resume", "r", "--domain", "task", "--evaluations", "6")
    (task / "data/c.csv").write_text("1")
    assert "data/c.csv is new since r began: take it away" in command(capsys, *resume)
    (task / "data/c.csv").unlink()
    (task / "numpy.py").write_text("")
    assert "numpy.py is new since r began" in command(capsys, *resume)
    (task / "numpy.py").unlink()
    (task / "data/b.csv").rename(task / "b")
    assert "data/b.csv is gone since r began: put it back" in command(capsys, *resume)
    (task / "b").rename(task / "data/b.csv")
    for name in ("README.md", ".hidden", "plot.png", "data/.x", "data/README"):
        (task / name).write_text("x")
    (task / "runs").mkdir()
    (task / "runs" / "run.db").write_text("x")
    assert "drawn" in command(capsys, *resume)


def test_a_score_of_held_out_data_is_asked_of_the_same_referee(task, capsys):
    """Another one would make a number that belongs to no run.

    Other words of the task do not matter.
    """
    (task / "util.py").write_text("FACTOR = 2\n")
    opened = command(capsys, "open-lockbox", "r", "--domain", "task")
    assert (
        opened
        == "qdkit: util.py has changed since r began: put it back as it was, or begin another run"
    )
    (task / "util.py").write_text("FACTOR = 1\n")
    (task / "task.md").write_text("Other words.")
    assert "the lockbox is open" in command(capsys, "open-lockbox", "r", "--domain", "task")


def test_a_folder_behind_links_is_read_once(tmp_path):
    """Data may be linked from elsewhere, and a link to the folder itself leads nowhere."""
    home = made(tmp_path / "task")
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "x.csv").write_text("1")
    (home / "data").symlink_to(tmp_path / "far")
    (home / "loop").symlink_to(home)
    found = sources.folder_digests(home)
    assert sorted(found) == ["data/x.csv", "score.py", "seed.py", "task.md", "util.py"]
    (tmp_path / "far" / "x.csv").write_text("2")
    now = sources.folder_digests(home)
    assert sources.first_difference(found, now) == ("data/x.csv", "has changed")


def prompts(run: str) -> dict[int, str]:
    """What each task of a run asked first."""
    with sqlite3.connect(f"{run}/run.db") as db:
        rows = db.execute("select task, request from answers where call = 0").fetchall()
    db.close()
    return dict(rows)


def test_the_words_of_a_task_change_by_name_and_for_the_candidates_to_come(
    tmp_path, monkeypatch, capsys
):
    """What was asked is asked again as it was.

    The change is an event, and the run goes on by it, also twice.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    home = made(tmp_path / "task", **{"task.md": "First words."})
    common = ("--domain", "task")
    with ModelServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        words = ["run", "task", "--model", "m", "--operator", "syntax", "--shape", "5", "5"]
        words += ["--evaluations", "8", "--batch", "1"]
        command(capsys, *words, "--in-flight", "3", "--lessons", "4", "--out", "r")
        before = prompts("r")
        (home / "task.md").write_text("Second words.")
        told = command(capsys, "resume", "r", *common, "--evaluations", "14")
        assert told.endswith(
            "qdkit: task.md has changed since r began: put it back as it was, go on with its new "
            "words "
            "(qdkit resume r --change task), or begin another run"
        )
        command(capsys, "resume", "r", *common, "--evaluations", "14", "--change", "task")
        command(capsys, "resume", "r", *common, "--evaluations", "18")
        (home / "task.md").write_text("Third words.")
        assert "task.md has changed" in command(
            capsys, "resume", "r", *common, "--evaluations", "24"
        )
        command(capsys, "resume", "r", *common, "--evaluations", "24", "--change", "task")
        asked = len(server.log)
        command(capsys, "resume", "r", *common, "--evaluations", "24", "--change", "task")
        assert len(server.log) == asked
    after = prompts("r")
    assert before and all(
        after[number] == text and "First words." in text for number, text in before.items()
    )
    ledger = qdkit.load("r").ledger
    events = [value for _, kind, value in ledger.events() if kind == "task"]
    ledger.close()
    assert [value["text"] for value in events] == ["Second words.", "Third words."]
    assert events[0]["old"] != events[0]["new"] == events[1]["old"] != events[1]["new"]
    begins = [0, *(value["from"] for value in events), 10**9]
    for n, said in enumerate(("First", "Second", "Third")):
        of = [text for number, text in after.items() if begins[n] <= number < begins[n + 1]]
        assert of and all(f"{said} words." in text for text in of)


def forget(run: str) -> None:
    """Makes a run as those were that had no digests."""
    from qdkit.runs.ledger import Ledger

    ledger = Ledger.open(Path(run), write=True)
    assert not ledger.commits
    about = {name: value for name, value in ledger.about.items() if name != "sources"}
    ledger.close()
    with sqlite3.connect(f"{run}/run.db") as db:
        db.execute("delete from about where name = 'sources'")
    db.close()
    assert "sources" not in about


def test_a_run_without_digests_is_gone_on_with_and_told_once(tmp_path):
    """From then on its files are known."""
    home = made(tmp_path / "task")
    place = {"batch": 2, "seed": 1, "run": tmp_path / "r"}
    search = lambda **more: search_of(
        d := Program.folder(home), Grid((5, 5), d.bounds), Syntax(), **place, **more
    )
    search().close()
    forget(str(tmp_path / "r"))
    with pytest.warns(
        UserWarning, match=r"recorded without digests .* score.py, seed.py, task.md, util.py"
    ):
        search(resume=True).run(1, progress=False).close()
    search(resume=True).run(1, progress=False).close()
    (home / "util.py").write_text("FACTOR = 3\n")
    with pytest.raises(ValueError, match=r"^util.py has changed since"):
        search(resume=True)


HILLS = """
import numpy as np
import {helper}
from qdkit import Evaluation

class Hills:
    bounds = ((0, 1), (0, 1))

    def seeds(self, key, n):
        return np.full((n, 2), 0.5)

    def evaluate(self, genomes):
        return Evaluation({helper}.height(genomes), np.clip(genomes, 0, 1))
"""


def test_the_file_of_a_domain_of_ones_own_is_known_too(tmp_path, monkeypatch, capsys):
    """And the modules beside it that it uses: `file.py:Object`, or a class that is imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "hills_of_a_test.py").write_text(HILLS.format(helper="height_of_a_test"))
    (tmp_path / "height_of_a_test.py").write_text("def height(x):\n    return x.sum(1)\n")
    words = ("hills_of_a_test.py:Hills", "--evaluations", "4", "--batch", "2", "--out", "r")
    command(capsys, "run", *words)
    run = qdkit.load("r")
    assert sorted(run.ledger.about["sources"]) == ["height_of_a_test.py", "hills_of_a_test.py"]
    run.close()
    for name in ("height_of_a_test.py", "hills_of_a_test.py"):
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_text(f"{text}\n# more\n")
        told = command(
            capsys, "resume", "r", "--domain", "hills_of_a_test.py:Hills", "--evaluations", "6"
        )
        assert told.endswith(
            f"qdkit: {name} has changed since r began: put it back as it was, or begin another run"
        )
        (tmp_path / name).write_text(text)


IMPORTS = {
    "rates_of_a_test.py": ("from constants_of_a_test import K", ["constants_of_a_test.py"]),
    "made_of_a_test.py": ("from object_of_a_test import OBJECT", ["object_of_a_test.py"]),
    "late_of_a_test.py": ("def evaluate():\n    import helper_of_a_test", ["helper_of_a_test.py"]),
    "all_of_a_test.py": ("from constants_of_a_test import *", ["constants_of_a_test.py"]),
    "pack_of_a_test/inner/mine.py": (
        "from ..tools import f",
        ["../__init__.py", "../tools.py", "__init__.py"],
    ),
    "pack_of_a_test/top.py": (
        "from .inner import other",
        ["__init__.py", "inner/__init__.py", "inner/other.py"],
    ),
    "pack_of_a_test/named.py": ("import pack_of_a_test.tools", ["__init__.py", "tools.py"]),
}


@pytest.mark.parametrize("name", IMPORTS)
def test_whatever_a_module_imports_is_known(name, tmp_path, monkeypatch):
    """Constants, objects and what a function imports when it is called, within a package too."""
    line, others = IMPORTS[name]
    files = {
        "constants_of_a_test.py": "K = 3.0\n",
        "object_of_a_test.py": "class A: ...\nOBJECT = A()\n",
    }
    files |= {
        "helper_of_a_test.py": "",
        "pack_of_a_test/__init__.py": "",
        "pack_of_a_test/inner/__init__.py": "",
    }
    files |= {
        "pack_of_a_test/tools.py": "def f(): ...\n",
        "pack_of_a_test/inner/other.py": "",
        "nobody_of_a_test.py": "",
    }
    for path, text in {**files, name: f"{line}\n\n\nclass D:\n    pass\n"}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    for known in [known for known in sys.modules if "_of_a_test" in known]:
        monkeypatch.delitem(sys.modules, known)
    module = importlib.import_module(name.removesuffix(".py").replace("/", "."))
    found = sources.source_digests(module.D())
    assert sorted(found) == sorted([*others, Path(name).name])
    if name == "pack_of_a_test/named.py":
        importlib.import_module("pack_of_a_test.inner.other")  # by somebody else
        assert sources.source_digests(module.D()) == found
    changed = (tmp_path / name).parent / others[-1]
    changed.write_text(f"{changed.read_text()}# more\n")
    now = sources.source_digests(module.D())
    assert sources.first_difference(found, now) == (others[-1], "has changed")


def interactive(text: str, **known) -> types.SimpleNamespace:
    """What a cell of a notebook defines."""
    import linecache

    linecache.cache["<cell>"] = (len(text), None, text.splitlines(keepends=True), "<cell>")
    space = {"__name__": "__main__", **known}
    exec(compile(text, "<cell>", "exec"), space)
    return types.SimpleNamespace(**{k: v for k, v in space.items() if not k.startswith("__")})


def test_a_function_of_a_notebook_is_known_by_its_text_and_what_it_names():
    """Its helpers and plain values count, the rest of the notebook does not.

    Where there is no text, that is said.
    """
    cell = (
        "LIMIT = 3\n\ndef helper(x):\n    return x + LIMIT\n\n"
        "def score(x):\n    return helper(x)\n\nother = {}\n"
    )
    of = lambda text: sources.code_digests(interactive(text).score)
    assert list(of(cell)) == ["score in __main__"] and of(cell) == of(cell.replace("{}", "1"))
    for old, new in (
        ("= 3", "= 4"),
        ("x + LIMIT", "x - LIMIT"),
        ("helper(x)\n\no", "2 * helper(x)\n\no"),
    ):
        assert of(cell) != of(cell.replace(old, new))
    space: dict = {"__name__": "__main__"}
    exec("def score(x):\n    return x", space)
    assert sources.code_digests(space["score"]) == {"score in __main__": sources.UNKNOWN}


def test_what_cannot_be_known_is_said_where_a_run_goes_on(tmp_path):
    """A function without a text."""
    space: dict = {"__name__": "__main__"}
    exec("def score(x):\n    return sum(x)", space)
    domain = Program(
        {"s.py": "def solve():\n    return [1.5]\n"}, "s.py:solve", "t", space["score"]
    )
    place = {"batch": 1, "run": tmp_path / "r"}
    search_of(domain, Grid((5, 5), domain.bounds), Syntax(), **place).run(
        1, progress=False
    ).close()
    with pytest.warns(UserWarning, match="the text of score in __main__ is not to be had"):
        search_of(domain, Grid((5, 5), domain.bounds), Syntax(), resume=True, **place).close()


@pytest.mark.parametrize("compiled", [False, True])
def test_parts_of_the_toolkit_have_no_files_to_watch(compiled):
    """They are named with the run, and change with the toolkit."""
    arm = qdkit.domains.Arm()
    with search_of(
        arm, Grid((5, 5), arm.bounds), Gaussian(0.1), batch=4, compiled=compiled
    ) as search:
        assert "sources" not in search.ledger.about


def test_what_differs_is_told_and_nothing_else(tmp_path):
    """The name of the setting and both values, cut to where they differ."""
    place = {"batch": 2, "run": tmp_path / "r"}
    arm = lambda n: qdkit.domains.Arm(n)
    search_of(arm(5), Grid((5, 5), arm(5).bounds), Gaussian(0.1), **place).close()
    with pytest.raises(ValueError) as refused:
        search_of(arm(5), Grid((5, 5), arm(5).bounds), Gaussian(0.25), **place, resume=True)
    assert str(refused.value) == (
        f"{tmp_path / 'r'} has operator.sigma = 0.1, and this search 0.25: go on with the same, "
        f"or begin another run"
    )


def test_differences_of_values_are_named_by_their_place():
    """In mappings and lists.

    What is missing is nothing, and long texts are cut to where they differ.
    """
    assert differences({"a": 1, "b": [1, {"c": 2}]}, {"a": 1, "b": [1, {"c": 3}]}) == [
        ("b[1].c", "2", "3")
    ]
    assert differences({"a": {"of": {"x": 1}}}, {"a": {"of": {}}}) == [("a.x", "1", "nothing")]
    assert differences({"a": "x"}, {"a": "y"}) == [("a", "x", "y")] and differences("1", 1) == [
        ("", '"1"', "1")
    ]
    assert (
        differences({"a": 1}, {"a": True}) == [("a", "1", "true")]
        and differences({"a": 1.0}, {"a": 1}) == []
    )
    long = "x" * 5000
    ((name, one, other),) = differences({"t": long + "a" + long}, {"t": long + "b" + long})
    assert name == "t" and len(one) < 70 > len(other) and one != other
    assert len(differences(dict.fromkeys("abcdef", 1), dict.fromkeys("abcdef", 2))) == 3
    assert np.isfinite(len(differences([1, 2], [1])))


def test_the_files_of_the_toolkit_are_none_of_the_users(tmp_path, monkeypatch):
    """Not even where they lie beside the user's file, as in a clone."""
    package = Path(sources.__file__).parents[1]
    (tmp_path / "qdkit").symlink_to(package, target_is_directory=True)
    text = "import qdkit\nimport helper_of_lonely\nclass Own: ..."
    (tmp_path / "lonely_domain.py").write_text(text)
    (tmp_path / "helper_of_lonely.py").write_text("X = 1")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("lonely_domain")
    found = sources.source_digests(module.Own())
    assert [*found] == ["helper_of_lonely.py", "lonely_domain.py"]

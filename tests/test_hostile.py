"""Run folders from strangers: reading or continuing one does nothing else."""

from __future__ import annotations

import ast
import json
import os
import random
import re
import shutil
import sqlite3
import sys
import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

import qdkit
from qdkit import viz
from qdkit.archives import CVT, DeepGrid, Grid, Islands, Migrate, Thresholds
from qdkit.cli import catalog
from qdkit.cli.commands import main
from qdkit.cli.report import axes_summary
from qdkit.cli.settings import RunSettings
from qdkit.core import run_files as runfiles
from qdkit.core.describe import describe_part
from qdkit.core.redaction import REDACTED, redacted
from qdkit.domains import Arm, Words
from qdkit.llm import LLM, Embedder, ModelError
from qdkit.runs.judgements import Judgements
from qdkit.runs.ledger import DamagedRun, Ledger
from qdkit.runs.npz_file import read_arrays
from qdkit.runs.parts import rebuild
from qdkit.testing import ModelServer
from qdkit.testing.replies import FAULTS

from .cases import mostly_soak
from .hostile import forged, mutated, told
from .test_old_runs import SUMMARIES, unpacked
from .worlds import BOX, Jitter, Points, points, search_of

PACKAGE = Path(qdkit.__file__).parent
CHANGES = int(
    os.environ.get("QDKIT_CHANGES", "100")
)  # of each kind of run; a long soak takes 1,000
SECRET = "s3cr3t-value-of-a-key"
POSIX = pytest.mark.skipif(os.name != "posix", reason="links, pipes and modes as POSIX has them")


def command(*words: object) -> str:
    """What a command exits with: "" where all went well, else its sentence."""
    try:
        main([str(word) for word in words])
    except SystemExit as end:
        return str(end.code or "")
    return ""


# Isolation, code and servers: what a folder has no say in.


@pytest.fixture
def levels(monkeypatch):
    """The levels of isolation at which sandboxes were asked for."""
    from qdkit.domains import program

    asked = []

    class Noted(program.Sandbox):
        def __init__(self, level="auto", **settings):
            asked.append(level)
            super().__init__(level, **settings)

    monkeypatch.setattr(program, "Sandbox", Noted)
    return asked


@pytest.fixture
def unwalled(tmp_path, monkeypatch):
    """A run of programs that says it was made without isolation, and is sealed."""
    monkeypatch.chdir(tmp_path)
    assert not command(
        *(
            "run",
            "regression",
            "--evaluations",
            2,
            "--batch",
            2,
            "--sandbox",
            "none",
            "--workers",
            1,
            "--out",
            "run",
        )
    )
    return tmp_path / "run"


def test_the_level_of_isolation_is_that_of_the_command_line(unwalled, levels, capsys):
    """A program runs at the sandbox level of this machine, whatever the run's folder says."""
    capsys.readouterr()
    resume = ("resume", unwalled, "--evaluations", 3)
    for words in (
        ("show", unwalled),
        ("validate", unwalled, "--best", 1),
        ("open-lockbox", unwalled),
        resume,
    ):
        assert not command(*words), words
        assert (levels or words[0] == "validate") and set(levels) <= {"auto"}, words
        levels.clear()
    out = " ".join(capsys.readouterr().out.split())
    assert (
        "programs are isolated by bubblewrap" in out or "programs are isolated by landlock" in out
    )
    assert (
        qdkit.load(unwalled).summary()["sandbox"].startswith("none")
    )  # so it began, and then came the other
    assert "; then " in qdkit.load(unwalled).summary()["sandbox"]
    assert not command("compare", unwalled, unwalled) and not levels
    assert not command("resume", unwalled, "--evaluations", 4, "--sandbox", "none")
    assert levels == ["none"]


def test_a_run_is_gone_on_with_at_another_level(tmp_path):
    """How a program is isolated is not what is searched: of a search in Python too."""
    from qdkit.domains.solvers import circle_packing
    from qdkit.operators import Syntax

    make = lambda level, **place: search_of(
        circle_packing(n=3, sandbox=level, workers=1),
        Grid((4, 4), circle_packing().bounds),
        Syntax(),
        batch=2,
        **place,
    )
    with make("none", run=tmp_path) as search:
        search.run(1, progress=False)
    assert "sandbox" not in search.ledger.about["domain"]["of"]
    with make("auto", run=tmp_path, resume=True) as search:
        search.run(1, progress=False)


def test_without_isolation_a_folder_runs_no_program(unwalled, levels, monkeypatch):
    """Where nothing isolates, going on is refused with the mend, and looking draws no program."""
    from qdkit.programs.sandbox import probing

    monkeypatch.setattr(probing, "_why_not", lambda level: "" if level == "none" else "not here")
    monkeypatch.setattr(catalog, "isolated", lambda: False)
    assert "cannot be isolated here" in command("resume", unwalled, "--evaluations", 3)
    assert not command("show", unwalled)
    assert "cannot be isolated here" in command("validate", unwalled)
    assert set(levels) <= {"auto"}


OWN = [
    Grid((4, 3), BOX),
    CVT.spread(5, BOX, samples=50),
    DeepGrid(Grid((4, 3), BOX), 2),
    Thresholds(Grid((4, 3), BOX)),
    Islands(Grid((4, 3), BOX), 2, changes=(Migrate(3),)),
    Arm(5),
    Words(),
]
ENTRY = {"shape": [1], "values": ["x"]}
STRANGE = [
    {"is": "os:system", "with": {"command": "true"}},
    {"is": "builtins:dict", "with": {}},
    {
        "is": "qdkit.domains.texts.poetry:LLM",
        "with": {"model": "m", "base_url": "http://192.0.2.1/v1"},
    },
    {"is": "qdkit.llm:LLM", "with": {"model": "m"}},
    {"is": "qdkit.llm.model:LLM", "with": {"model": "m"}},
    {
        "is": "qdkit.domains.program:Program",
        "with": {"files": {"a.py": ""}, "entry": "a.py:f", "task": "", "referee": 1},
    },
    {"is": "qdkit.domains:importlib", "with": {"joints": 3}},
    {"is": "qdkit.domains.arm:Arm.evaluate", "with": {}},
    {"is": "qdkit.domains.arm:__loader__", "with": {}},
    {"is": "qdkit.archives.grid:Archive", "with": {}},
    {"is": "qdkit.archives.grid:math", "with": {}},
    {"is": "qdkit.comparing.baselines:Independent", "with": {"operator": None}},
    {"is": "qdkit.archives...grid:Grid", "with": {}},
    {"is": "./evil.py:Arm", "with": {}},
    {"is": "evil:Arm", "with": {}},
    {"is": ["qdkit.domains.arm:Arm"], "with": {"joints": 3}},
    {"is": "qdkit.domains.arm:Arm", "with": [3]},
    {"is": "qdkit.domains.words:Words", "with": {"start": {"$enum": "os:system.x"}}},
    {"is": "qdkit.domains.words:Words", "with": {"start": {"$enum": "qdkit.domains.words:np.x"}}},
    {
        "is": "qdkit.domains.words:Words",
        "with": {"start": {"$array": {**ENTRY, "dtype": "<U400000000"}}},
    },
    {"is": "qdkit.domains.words:Words", "with": {"start": {"$array": {**ENTRY, "dtype": "O"}}}},
    {
        "is": "qdkit.archives.deep_grid:Deep",
        "with": {"archive": {"is": "os:system", "with": {"command": "true"}}, "depth": 2},
    },
]


def test_the_toolkits_own_parts_come_back(tmp_path):
    """A description of each is the part again."""
    for part in OWN:
        again = rebuild(json.loads(json.dumps(describe_part(part))))
        assert type(again) is type(part) and describe_part(again) == describe_part(part)


@pytest.mark.parametrize("description", STRANGE, ids=lambda d: str(d)[:80])
def test_a_description_names_nothing_else(description, tmp_path, monkeypatch):
    """A description names only public classes, and imports no module."""
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = {name for name in sys.modules if not name.startswith("qdkit.")}
    assert rebuild(description) is None
    assert "evil" not in {name for name in sys.modules if not name.startswith("qdkit.")} - before
    points(run=tmp_path / "run").run(1, progress=False).close()
    path = told(
        tmp_path / "run", "domain", lambda _: {**description, "is": str(description["is"])}
    )
    assert qdkit.load(path).domain is None or description["is"] == ["qdkit.domains.arm:Arm"]


ORDERED = {"domain": "arm", "settings": {}}


@pytest.mark.parametrize(
    "said",
    [
        {"base_url": "http://192.0.2.1/v1"},
        {"api_key": SECRET},
        {"executor": "os:system"},
        {"batch": 10**10},
        {"batch": "8"},
        {"archive": "../evil"},
        {"baseline": "evil"},
        {"model": [{"base_url": "http://192.0.2.1"}]},
        {"settings": {"joints": 10**10}},
        {"settings": {"shape": [10**5, 10**5]}},
        {"settings": {"islands": 10**9}},
        {"settings": {"workers": 10**6}},
        {"settings": {"sigma0": {"is": "os:system"}}},
        {"settings": []},
        {"domain": None},
        {"compiled": "yes"},
    ],
    ids=str,
)
def test_an_order_says_what_a_command_line_can_say(said, tmp_path):
    """And nothing else: no server, no key, no executor, nothing that takes all memory."""
    with pytest.raises(DamagedRun, match="which no command line can give"):
        RunSettings.of({**ORDERED, **said})
    points(run=tmp_path / "run").run(1, progress=False).close()
    event = json.dumps({**ORDERED, **said})
    forged(
        tmp_path / "run", "insert into events values (1, 0, 'order', ?, 0, '')", values=(event,)
    )
    for words in (("show",), ("resume",)):
        command(
            *words, tmp_path / "run"
        )  # in a sentence or not at all, but not as a mistake of the code


def test_models_are_asked_at_the_server_of_here_and_now(tmp_path, monkeypatch, capsys):
    """A key goes only to the server of the environment, and this is printed before."""
    monkeypatch.chdir(tmp_path)
    with ModelServer() as mine:
        monkeypatch.setenv("OPENAI_BASE_URL", mine.url)
        monkeypatch.setenv("OPENAI_API_KEY", SECRET)
        assert not command(
            "run", "words", "--model", "m", "--evaluations", 4, "--in-flight", 1, "--out", "run"
        )
        mine.log.clear()
        assert not command("resume", "run", "--evaluations", 6)
        assert mine.log and all(SECRET in each.key for each in mine.log)
    assert "as the run was begun: words, asks m" in " ".join(capsys.readouterr().out.split())
    assert no_secret(tmp_path / "run")


CODE = """
print("code of my own")
import numpy as np, qdkit
class Lengths:
    bounds = ((0, 20),)
    def seeds(self, key, n): return np.ones((n, 2))
    def evaluate(self, genomes): return qdkit.Evaluation(np.ones(len(genomes)), genomes[:, :1])
"""


def test_code_of_ones_own_is_named_once_and_runs_only_when_it_is_named(
    tmp_path, monkeypatch, capsys
):
    """A file, a module or a folder is code.

    A run that was ordered with one names it, and it is not run for that.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("qdkit.cli.commands._REPORTED", set())
    (tmp_path / "own.py").write_text(CODE)
    assert not command("run", "own.py:Lengths", "--evaluations", 4, "--batch", 2, "--out", "run")
    assert (
        capsys.readouterr().err.count(
            "own.py:Lengths: its code runs here as you, outside the sandbox"
        )
        == 1
    )
    assert not command("show", "run") and "name it again" in command("resume", "run")
    assert "code of my own" not in capsys.readouterr().out
    monkeypatch.setattr("qdkit.cli.commands._REPORTED", set())
    assert not command("show", "run", "--domain", "own.py:Lengths")
    shown = capsys.readouterr()
    assert (
        "code of my own" in shown.out
        and shown.err.count("own.py:Lengths: its code runs here") == 1
    )
    assert not command("show", "run", "--json")
    json.loads(capsys.readouterr().out)


# Files: nothing outside a folder is written or read by way of it.

WRITTEN = (
    "overview.png",
    "gallery.png",
    "sheet.png",
    "elites.npz",
    "elites.npz.part",
    "comparison.png",
    "out.csv",
)
READ = (
    "run.db",
    "run.db-wal",
    "run.db-shm",
    "run.db-journal",
    "judgements.db",
    "judgements.db-wal",
    "scan.npz",
    "lock",
)


def stands(path: Path) -> dict[str, tuple[int, bytes]]:
    """What lies in a folder, and how."""
    files = sorted(path.rglob("*"))
    return {
        str(f.relative_to(path)): (f.lstat().st_mode, f.read_bytes() if f.is_file() else b"")
        for f in files
    }


@POSIX
@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("ignore:.*elites.npz is not up to date")
@pytest.mark.parametrize(
    "kind", mostly_soak(["link", "pipe", "dangling", "hard", "folder", "socket"], usual=3)
)
def test_nothing_outside_a_folder_is_written(kind, tmp_path, monkeypatch):
    """Links and devices in place of a run's files change nothing outside, and nothing hangs."""
    monkeypatch.chdir(tmp_path)
    outside = tmp_path / "outside"
    for name in WRITTEN + READ:
        if name == "run.db":
            continue
        path = unpacked("grid", tmp_path / "run" / name)
        shutil.rmtree(outside, ignore_errors=True)
        outside.mkdir()
        (outside / "mine").write_text("precious")
        (path / name).unlink(missing_ok=True)
        if kind == "link":
            (path / name).symlink_to(outside / "mine")
        elif kind == "dangling":
            (path / name).symlink_to(outside / "new")
        elif kind == "hard":
            os.link(outside / "mine", path / name)
        elif kind == "pipe":
            os.mkfifo(path / name)
        elif kind == "folder":
            (path / name).mkdir()
        else:
            import socket

            monkeypatch.chdir(path)
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(name)
            monkeypatch.chdir(tmp_path)
        before = stands(outside)
        if name in READ:
            quickly_looked_at(path)
        else:
            _written(path, name)
        assert stands(outside) == before, name


def quickly_looked_at(path: Path) -> None:
    """All that opens a folder, without drawing."""
    for opened in (
        qdkit.load,
        Judgements,
        lambda path: Ledger.open(path, write=True),
        lambda path: qdkit.Search.resume(path, Points(), Grid((5, 5), BOX), Jitter()),
        lambda path: qdkit.CompiledSearch.resume(
            path,
            Arm(3),
            Grid((4, 4), Arm(3).bounds),
            qdkit.operators.Gaussian(0.2),
        ),
        lambda path: _written(path),
        lambda path: _judged(path),
    ):
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".*recorded without digests")
                made = opened(path)
            made.close() if made is not None else None
        except (DamagedRun, OSError, ValueError, RuntimeError):
            pass


def _judged(path: Path) -> None:
    from qdkit.runs.judgements import Reply

    store = Judgements(path)
    store.add(Reply(0, "pair", (1, 2), 0, (0, 1), "ann"))
    store.close()


def _written(path: Path, *names: str) -> None:
    """Writes what the package writes into a folder, through the functions that do it."""
    from matplotlib.figure import Figure

    from qdkit.cli.report import save
    from qdkit.runs import judgement_files as exchange
    from qdkit.runs.ledger import write_elites

    run = points().run(1, progress=False)
    for name in names or WRITTEN:
        try:
            if name.endswith(".png"):
                save(Figure((1, 1)), path / name)
            elif name.endswith(".csv"):
                exchange.write_replies([], path / name)
            else:
                write_elites(path, run.elites)
        except OSError:
            pass


@POSIX
def test_show_and_resume_replace_links_and_follow_none(tmp_path, monkeypatch):
    """The commands themselves, with links in all places that they write to."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "run"
    small = ("--evaluations", 40, "--batch", 20, "--joints", 3, "--shape", 4, 4)
    assert not command("run", "arm", *small, "--out", path)
    (tmp_path / "mine").write_text("precious")
    names = ("overview.png", "gallery.png", "elites.npz", "elites.npz.part", "comparison.png")
    for name in names:
        (path / name).unlink(missing_ok=True)
        (path / name).symlink_to(tmp_path / "mine")
    link = tmp_path / "link"
    link.symlink_to(path)  # the folder itself may be one: its user named it
    assert not command("show", link) and not command("resume", link, "--evaluations", 60)
    assert not command("compare", link, link, "--out", path / "comparison.png")
    assert (tmp_path / "mine").read_text() == "precious"
    assert not any((path / name).is_symlink() for name in names)
    assert (path / "overview.png").stat().st_size > 1000
    assert not list(path.glob("*.part"))


@POSIX
@pytest.mark.parametrize("name", ["run.db", "scan.npz", "judgements.db"])
def test_a_file_elsewhere_is_not_read_by_way_of_a_folder(name, tmp_path):
    """A link in the place of what is read is refused by name."""
    path = unpacked(
        {"run.db": "grid", "scan.npz": "compiled", "judgements.db": "learnt"}[name],
        tmp_path / "run",
    )
    (path / name).rename(tmp_path / name)
    (path / name).symlink_to(tmp_path / name)
    with pytest.raises(DamagedRun, match=f"{name} is a symbolic link"):
        qdkit.load(path).close()
        Judgements(path)


def test_what_lies_beside_a_new_run_is_not_taken_for_its_end(tmp_path):
    """A log without its database would be replayed into the next one of that name."""
    path = tmp_path / "run"
    stranger = points(run=path, seed=9)
    stranger.run(2, progress=False)
    log = (path / "run.db-wal").read_bytes()
    stranger.close()
    shutil.rmtree(path)
    path.mkdir()
    (path / "run.db-wal").write_bytes(log)
    with points(run=path) as search:
        search.run(1, progress=False)
    assert qdkit.load(path).ledger.about["seed"] == 3 and len(qdkit.load(path).commits) == 1


def test_runs_that_describe_their_parts_otherwise_are_compared_or_refused(small, tmp_path):
    """Settings of one that the other does not have, or none."""
    shutil.copytree(small, tmp_path / "other")
    for change in (
        {"is": "x:Jitter", "with": {"a": 1}},
        {"is": "x:Jitter", "with": 5},
        {"is": "x:Jitter"},
    ):
        told(small, "operator", lambda _, change=change: change)
        told(tmp_path / "other", "operator", lambda _: {"is": "x:Jitter", "with": {"b": 2}})
        command("compare", small, tmp_path / "other", "--json")


@POSIX
def test_a_journal_that_names_another_file_is_refused(tmp_path):
    """SQLite would remove the file that it names."""
    path = unpacked("grid", tmp_path / "run")
    (tmp_path / "mine").write_text("precious")
    name = str(tmp_path / "mine").encode()
    (path / "run.db-journal").write_bytes(
        b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7".ljust(512, b"\0")
        + name
        + len(name).to_bytes(4, "big")
        + sum(name).to_bytes(4, "big")
        + b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
    )
    with pytest.raises(DamagedRun, match="names another file"):
        Ledger.open(path, write=True)
    assert (tmp_path / "mine").read_text() == "precious"


def test_every_file_of_a_run_is_written_by_the_one_module(tmp_path):
    """No other opens a file to write: by the text of the package."""
    # The second adds lines to a file that its user names, the third leaves marks in a temporary
    # folder of its own.
    allowed = {"run_files.py", "recorded.py", "processes.py"}
    for file in [
        *PACKAGE.glob("**/*.py"),
        *(PACKAGE.parent / "archives").glob("**/*.py"),
        *(PACKAGE.parent / "domains").glob("**/*.py"),
    ]:
        if file.name in allowed or "sandbox" in file.parts or "testing" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                words = [
                    x.value
                    for x in [*node.args, *(k.value for k in node.keywords)]
                    if isinstance(x, ast.Constant)
                ]
                opens = name.endswith("open") and any(
                    w in ("w", "wb", "a", "ab", "x", "xb", "r+b") for w in words
                )
                into = name.endswith((".savefig", "np.savez")) and ast.unparse(
                    node.args[0]
                ) not in ("file", "opened")
                assert (
                    not opens
                    and not into
                    and not name.endswith((".write_text", ".write_bytes", "os.open"))
                ), f"{file.name}:{node.lineno} writes by itself: take qdkit.core.run_files"


@POSIX
def test_a_file_is_whole_or_as_it_was(tmp_path):
    """What fails half way leaves what was there, and nothing half; so does a pipe in its place."""
    (tmp_path / "a").write_text("before")
    with pytest.raises(ZeroDivisionError), runfiles.atomic_write(tmp_path / "a") as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert (tmp_path / "a").read_text() == "before" and len(list(tmp_path.iterdir())) == 1
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="a pipe is in its place"):
        runfiles.write_text(tmp_path / "pipe", "")


@POSIX
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o277])
def test_what_a_run_holds_is_for_its_owner(mask, tmp_path):
    """Ledger, log, judgements, elites and states: 0600, whatever the umask."""
    before = os.umask(mask)
    try:
        search = points(run=tmp_path / "run").run(1, progress=False)
        _judged(tmp_path / "run")
        modes = {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "run").iterdir()}
        search.close()
        if mask != 0o277:
            arm = Arm(3)
            compiled = qdkit.Search.compiled(
                arm,
                Grid((4, 4), arm.bounds),
                qdkit.operators.Gaussian(0.2),
                batch=8,
                folder=tmp_path / "c",
            )
            compiled.run(2, progress=False).close()
            modes |= {
                file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "c").iterdir()
            }
    finally:
        os.umask(before)
    assert {"run.db", "run.db-wal", "elites.npz", "judgements.db", "lock"} <= modes.keys()
    assert {name for name, mode in modes.items() if mode != 0o600} <= (
        {"lock"} if mask == 0o277 else set()
    )


# Secrets: wherever a part can hold one.


@dataclass(frozen=True)
class Council(qdkit.Operator):
    """An operator that holds models in every way."""

    models: tuple = ()
    by_name: dict = field(default_factory=dict)
    nested: object = None
    address: str = ""
    hidden: str = field(default="", repr=False)
    name = "council"

    def propose(self, key, context, n):
        return Jitter().propose(key, context, n)


@dataclass(frozen=True)
class Holder:
    """A part within a part."""

    model: object = None
    rest: tuple = ()


def no_secret(path: Path) -> bool:
    """Whether no file in a folder holds the secret."""
    return not [
        file for file in path.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()
    ]


URLS = (
    f"https://me:{SECRET}@192.0.2.1/v1",
    f"https://192.0.2.1/v1?api_key={SECRET}",
    f"https://192.0.2.1/v1?a=b&key={SECRET}&c=d",
    f"https://192.0.2.1/v1?token={SECRET}",
    f"https://192.0.2.1/v1?X-Amz-Signature={SECRET}",
    f"https://192.0.2.1/v1?sig={SECRET}#x",
)


@pytest.mark.parametrize("url", URLS)
def test_no_secret_reaches_a_file_or_a_screen(url, tmp_path, capsys):
    """A key or an address with one, in every place where a part can hold it."""
    llm = LLM("m", base_url=url, api_key=SECRET)
    embedder = Embedder("e", base_url=url, api_key=SECRET)
    held = Holder(llm, (embedder, (llm, [llm], {"x": llm})))

    class Failing(Points):
        def evaluate(self, genomes):
            if len(genomes) == 1:
                raise RuntimeError(f"cannot reach {url}")
            raise ValueError

    operator = Council((llm, embedder), {"a": llm, "b": (llm,)}, held, url, SECRET)
    search = qdkit.Search(Points(), Grid((4, 4), BOX), operator, batch=4, folder=tmp_path / "run")
    search.run(2, progress=False)
    search.ledger.event(
        0, "query", {"level": "x", "id": 0, "searched": 1.0, "objective": None, "error": url}
    )
    print(
        search,
        operator.models[:0],
        search.ledger.about,
        describe_part(operator),
        repr(llm),
        repr(embedder),
        llm.server,
    )
    search.close()
    with qdkit.Search.resume(
        tmp_path / "run", Points(), Grid((4, 4), BOX), operator, batch=4
    ) as again:
        assert len(again.commits) == 2
    failing = qdkit.Search(
        Failing(), Grid((4, 4), BOX), Jitter(), batch=1, folder=tmp_path / "failing"
    )
    with pytest.raises(
        RuntimeError, match=r"no seed could enter|every candidate of the first"
    ) as end:
        failing.run(16, progress=False)
    failing.close()
    print(end.value, command("show", tmp_path / "run"), command("show", tmp_path / "failing"))
    shown = capsys.readouterr()
    assert SECRET not in shown.out + shown.err and no_secret(tmp_path)


def test_an_address_of_a_server_that_is_not_there_is_told_without_its_secret(tmp_path):
    """What the door says of a call that fails names the host, and neither user, word nor key."""
    with ModelServer([{"error": 1}]) as server:
        url = server.url.replace("://", f"://me:{SECRET}@") + f"?api_key={SECRET}"
    with pytest.raises(ModelError, match=r"no answer from .*127\.0\.0\.1") as end:
        LLM("m", base_url=url, api_key=SECRET, patience=0.2, timeout=0.5).ask("?")
    assert SECRET not in str(end.value)
    with ModelServer([FAULTS["bad key"]]) as server:
        url = server.url.replace("://", f"://me:{SECRET}@")
        with pytest.raises(ModelError) as end:
            LLM("m", base_url=url, api_key=SECRET, patience=0.2).ask("?")
    assert SECRET not in str(end.value) and "127.0.0.1" in str(end.value)


def test_a_key_among_the_options_of_a_model_is_not_recorded(tmp_path, monkeypatch):
    """A server may want one in the request.

    The record does without, and a replay finds the answer all the same.
    """
    from qdkit.operators import Rewrite

    with ModelServer() as server:
        llm = LLM(
            "m",
            base_url=server.url,
            options={"api_key": SECRET, "extra": {"Authorization": SECRET}},
        )
        words = Words()
        make = lambda **place: search_of(
            words,
            catalog.grid(words),
            Rewrite(llm, "Change {genome}"),
            batch=1,
            run=tmp_path,
            **place,
        )
        make().run(20, progress=False).close()
        assert server.log and SECRET in json.dumps(server.log[0].body)
        asked = len(server.log)
        make(resume=True).close()
        assert len(server.log) == asked
    assert no_secret(tmp_path)


def test_what_is_no_credential_stays():
    """Words, numbers and addresses without one are as they were."""
    for text in (
        "a key=5 of a map",
        "Basic research, token by token",
        "https://example.org/v1?page=2",
        "me@home",
        "x?y:z@w",
    ):
        assert redacted(text) == text
    assert redacted({"api_key": SECRET, "n": 1, "deep": [{"OPENAI_API_KEY": SECRET}]}) == {
        "api_key": REDACTED,
        "n": 1,
        "deep": [{"OPENAI_API_KEY": REDACTED}],
    }


# What a folder says: bounded, or refused by name.


@pytest.fixture
def small(tmp_path):
    """A run of numbers on disk."""
    points(run=tmp_path / "run").run(4, progress=False).close()
    return tmp_path / "run"


ENDLESS = "with recursive c(x) as (select 1 union all select x + 1 from c) select"
SCHEMAS = (
    (
        "drop table answers",
        f"create view answers as {ENDLESS} x task, 1 call, '' request, '' answer from c",
    ),
    (f"create view more as {ENDLESS} x from c",),
    ("create trigger t after insert on events begin delete from candidates; end",),
    ("create table more (x)",),
    ("create index more on candidates (origin)",),
    ("alter table candidates add column more generated always as (id + 1)",),
    ("alter table candidates add column descriptor_2 real",),
    ("drop table events", "create virtual table events using fts5(a)"),
    ("drop table about",),
    ("pragma user_version = 1",),
    ("analyze",),
)  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("statements", SCHEMAS, ids=lambda s: s[-1][:40])
def test_only_the_tables_of_a_run_are_read(small, statements):
    """Views, triggers, generated columns and other tables are refused before any query."""
    with sqlite3.connect(small / "run.db") as db:
        for statement in statements:
            db.execute(statement)
    db.close()
    for write in (False, True):
        with pytest.raises(DamagedRun):
            Ledger.open(small, write=write)


GRID, SMALL_GRID = "qdkit.archives.grid:Grid", {"shape": [5, 5], "bounds": [[0, 1], [0, 1]]}
ABOUTS = {
    "axes": (10**9, 10**10, -1, 0, 3, 1.5, "2", None, [2]),
    "cells": (10**9, 10**10, -1, 0, 24, 1.5, "25", None),
    "batch": (-1, "8", None),
    "floor": ("0", None, [0]),
    "genome": (
        {"kind": "array", "dtype": "O", "shape": [2]},
        {"kind": "array", "dtype": "<f8", "shape": [10**10]},
        {"kind": "array", "dtype": "<f8", "shape": [3]},
        {"kind": "array", "dtype": "<U999999999", "shape": [2]},
        *({"kind": "pickle"}, {}, [], {"kind": "text"}),
    ),
    "archive": (
        {"is": GRID, "with": {"shape": [10**5, 10**5], "bounds": [[0, 1], [0, 1]]}},
        *({"is": GRID, "with": {"shape": 5}}, {"is": 5}, []),
        {"is": GRID, "with": {"shapes": [5, 5]}},
        {
            "is": "qdkit.archives.islands:Islands",
            "with": {"archive": {"is": GRID, "with": SMALL_GRID}, "count": 10**9},
        },
    ),
    "domain": ({"with": {}}, "os:system", None),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("name", "value"), [(n, v) for n, vs in ABOUTS.items() for v in vs], ids=str
)
def test_what_a_run_says_of_itself_has_bounds(small, name, value):
    """Sizes by which memory is taken, and kinds by which bytes are read."""
    path = told(small, name, lambda _: value)
    with pytest.raises(DamagedRun):
        qdkit.load(path).close()


ROWS = (
    "update candidates set cell = 25 where id = 9",
    "update candidates set cell = -5 where id = 9",
    "update candidates set cell = 10000000000 where id = 9",
    "update candidates set cell = 'x' where id = 9",
    "update candidates set status = 9999999999 where id = 9",
    "update candidates set status = 1, objective = null where id = 9",
    "update candidates set objective = 'x' where id = 9",
    "update candidates set status = 1, cell = 0, objective = 9e999 where id = 9",
    "update candidates set status = 1, cell = 0, objective = -9e999 where id = 9",
    "update candidates set descriptor_0 = x'00' where id = 9",
    "update candidates set genome = x'00' where id = 9",
    "update candidates set genome = 'x' where id = 9",
    "update candidates set parents = '[10000000000]' where id = 9",
    "update candidates set parents = '[-7]' where id = 9",
    "update candidates set parents = 'x' where id = 9",
    "update candidates set outcome = 'splendid' where id = 9",
    "update candidates set notes = '[]' where id = 9",
    "update candidates set notes = '{' where id = 9",
    f"update candidates set notes = '{'[' * 5000}' where id = 9",
    "update candidates set task = 77 where id = 9",
    "update commits set rows = -8 where number = 1",
    "update commits set rows = 10000000000 where number = 1",
    "update commits set first = -8 where number = 1",
    "update commits set evaluations = 9223372036854775807 where number = 1",
    "update commits set seconds = 9e999 where number = 1",
    "update commits set clipped = 'x' where number = 1",
    "insert into events values (1, 1, 'moved', '{\"cell\":[99],\"id\":[1]}', 0, '')",
    "insert into events values (1, 1, 'moved', '{\"cell\":[9],\"id\":[999]}', 0, '')",
    "insert into events values (1, 1, 'axes', '{\"cell\":[9]}', 0, '')",
    "insert into events values (1, 1, 'settled', '{\"looks\":[[1]],\"cells\":[]}', 0, '')",
    "insert into events values (1, 1, 'goal', '[]', 0, '')",
    "insert into events values (1, 1, 'sandbox', '{}', 0, '')",
    f"insert into events values (1, 1, 'any', '{'[' * 5000 + ']' * 5000}', 0, '')",
    "insert into events values (1, 9999999999999999, 'any', '{}', 0, '')",
)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("statement", ROWS, ids=lambda s: s[:70])
def test_what_a_row_says_has_bounds(small, statement):
    """Events with unknown cells or candidates, wrong types or too deep JSON are refused."""
    try:
        path = forged(small, statement)
    except (ValueError, TypeError, OverflowError, sqlite3.Error):
        path = small  # what cannot even be sealed
    with pytest.raises(DamagedRun):
        run = qdkit.load(path)
        run.candidates_frame()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("letter", ["y", "\x1b", "\n", "$"])
def test_a_name_without_end_is_drawn_as_far_as_it_is_read(small, letter):
    """Of an axis; what draws it takes time by its length, over and over."""
    path = told(
        small,
        "archive",
        lambda told: {**told, "with": {**told["with"], "names": ["x", letter * 500_000]}},
    )
    run = qdkit.load(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that no font has
        viz.overview(run).savefig(path / "seen.png")
    run.close()


def test_a_tree_that_is_none_is_refused(small):
    """Pages that name each other in circles, or one page in many places: rows without end."""
    file = small / "run.db"
    with sqlite3.connect(file) as db:
        db.execute("pragma journal_mode = delete")
        size = db.execute("pragma page_size").fetchone()[0]
        root = db.execute("select rootpage from sqlite_master where name = 'events'").fetchone()[0]
    db.close()
    data = bytearray(file.read_bytes())
    cells = 300
    page = bytearray(size)
    page[0], page[3:5], page[8:12] = 5, cells.to_bytes(2, "big"), root.to_bytes(4, "big")
    page[5:7] = (size - 5 * cells).to_bytes(2, "big")
    for i in range(cells):
        at = size - 5 * (i + 1)
        page[12 + 2 * i : 14 + 2 * i] = at.to_bytes(2, "big")
        page[at : at + 5] = root.to_bytes(4, "big") + b"\x01"
    data[(root - 1) * size : root * size] = page
    file.write_bytes(data)
    with pytest.raises(DamagedRun):
        Ledger.open(small)


def zipped(path: Path, entries: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", packing) as file:
        for name, data in entries.items():
            file.writestr(name, data)


def header(text: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + data


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "entry",
    [
        header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", b"\x80\x04N."),
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000,), }\n"),
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }\n"),
        header(
            "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 10000000000000000000000), }\n"
        ),
        header("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }\n", bytes(8)),
        header("[" * 9000),
        header("__import__('os').system('true')\n"),
        b"\x80\x04N.",
        b"",
    ],
    ids=lambda data: str(data[10:60]),
)
def test_a_state_is_read_only_where_its_headers_fit(tmp_path, entry):
    """No objects, no shape that the bytes do not have, no code."""
    path = unpacked("compiled", tmp_path / "run")
    zipped(path / "scan.npz", {".elites.objective.npy": entry})
    with pytest.raises(DamagedRun):
        qdkit.load(path)


@pytest.mark.timeout(60)
def test_a_state_with_changed_tables_is_read_or_damaged(tmp_path):
    """The table of contents may lead outside of the file, where a seek is an OSError."""
    path = unpacked("pool", tmp_path / "run")
    whole, draw = (path / "scan.npz").read_bytes(), random.Random(1)
    contents = whole.index(b"PK\x01\x02")
    damaged = 0
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(draw.choice([1, 2, 8])):
            data[draw.randrange(contents, len(data))] = draw.choice([0, 255, draw.randrange(256)])
        (path / "scan.npz").write_bytes(data)
        try:
            read_arrays(path / "scan.npz")
        except DamagedRun:
            damaged += 1
    assert damaged > 500


@pytest.mark.timeout(60)
def test_a_state_that_would_unfold_is_refused(tmp_path):
    """A small file of much, packed or by entries that lie on each other."""
    import io
    import tracemalloc

    path = unpacked("compiled", tmp_path / "run")
    made = io.BytesIO()
    np.save(made, np.zeros(30_000_000))
    names = (".elites.objective.npy", ".elites.descriptor.npy", ".elites.payload['genome'].npy")
    zipped(path / "scan.npz", dict.fromkeys(names, made.getvalue()), zipfile.ZIP_DEFLATED)
    del made
    tracemalloc.start()
    with pytest.raises(DamagedRun, match="it is compressed"):
        qdkit.load(path)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "statement",
    [
        f"drop table judgements; create view judgements as {ENDLESS} x number from c",
        "create table more (x)",
        "update judgements set ids = '[[1],2,3]'",
        "update judgements set answer = '9'",
        f"update judgements set answer = '{'[' * 5000}'",
        "update judgements set \"order\" = '5'",
        "update judgements set seconds = 'x'",
        "update judgements set rater = x'00'",
    ],
    ids=lambda s: s[:60],
)
def test_judgements_are_read_only_where_they_are_some(tmp_path, statement):
    """A row that is no valid reply is refused, even with a correct seal."""
    from qdkit.core.jsonable import digest, to_json

    path = unpacked("learnt", tmp_path / "run")
    with sqlite3.connect(path / "judgements.db") as db:
        db.executescript(statement)
        seal = ""
        if "view" not in statement and "blob" not in statement:
            for row in db.execute("select * from judgements order by number").fetchall():
                try:
                    seal = digest(seal, to_json(row[:-1]))
                except TypeError:
                    break
                db.execute("update judgements set digest = ? where number = ?", (seal, row[0]))
    db.close()
    with pytest.raises(DamagedRun):
        Judgements(path)


def fuzzed(kind: str, path: Path, times: int) -> None:
    """A run is read to its end, or is damaged; there is no third."""
    whole, draw = unpacked(kind, path / "whole"), random.Random(f"{kind} {times}")
    for i in range(times):
        shutil.copytree(whole, path / "run")
        what = mutated(path / "run", draw)
        try:
            run = qdkit.load(path / "run")
            try:
                (
                    run.summary(),
                    axes_summary(run),
                    run.elites_frame(),
                    run.candidates_frame(),
                    run.origins,
                )
                Judgements(path / "run").close()
            finally:
                run.close()
        except DamagedRun as error:
            assert str(error)
        except Exception as error:  # to say which change it was
            raise AssertionError(f"{kind}, change {i} ({what}): {error!r}") from error
        shutil.rmtree(path / "run")


def is_rare(kind):
    """Whether other kinds of runs have its files and events too."""
    return kind not in ("grid", "texts", "compiled", "learnt", "challenge")


@pytest.mark.parametrize("kind", mostly_soak(sorted(SUMMARIES, key=is_rare), usual=5))
def test_a_run_that_was_changed_at_random_is_read_or_damaged(kind, tmp_path):
    """Bytes, rows and JSON of each kind of run, mostly sealed again."""
    fuzzed(kind, tmp_path, 10 if kind == "soft" else 100)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", SUMMARIES)
def test_a_run_that_was_changed_a_thousand_times_is_read_or_damaged(kind, tmp_path):
    """The same for longer."""
    fuzzed(kind, tmp_path, 1000)


def test_the_page_on_security_names_tests_that_there_are():
    """Each class of flaws has one, and each that is named is there."""
    page = (PACKAGE.parent / "docs" / "security.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| V(\d) .*", page, re.MULTILINE)
    assert rows == list("12345678")
    file, named = "", 0
    for found in re.finditer(r"`(test_\w+\.py)?::(test_\w+)`", page):
        file = found[1] or file
        text = (Path(__file__).parent / file).read_text(encoding="utf-8")
        assert f"def {found[2]}(" in text, found[0]
        named += 1
    assert named >= 16

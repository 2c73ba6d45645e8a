"""The signature of `Search`, as readers, editors and type checkers see it, and its checks."""

from __future__ import annotations

import importlib
import inspect
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest

import qdkit
from qdkit import CompiledSearch, Search, Steering, Workers
from qdkit.operators import IsoLine
from qdkit.search.reevaluation import Reevaluation
from qdkit.selection.parents import Weighted

from .worlds import BOX, Jitter, Points, points, texts

GRID = qdkit.Grid((5, 5), BOX)
ROOT = Path(__file__).parents[1]
PARAMETERS = [
    "domain",
    "archive",
    "operator",
    "batch",
    "seed",
    "judge",
    "axes",
    "replies",
    "steering",
    "workers",
    "budget",
    "folder",
]


def test_help_and_signature_show_every_parameter():
    """`inspect.signature` and `help` show parameters, types and defaults."""
    signature = inspect.signature(Search)
    assert [*signature.parameters] == PARAMETERS
    assert all(each.annotation is not each.empty for each in signature.parameters.values())
    resumed = inspect.signature(Search.resume).parameters
    assert [*resumed] == ["folder", *(name for name in PARAMETERS if name != "folder")]
    text = pydoc.render_doc(Search, renderer=pydoc.plaintext)
    for part in ("batch: 'int' = 64", "steering: 'Steering' = Steering(", "run(self", "resume("):
        assert part in text, part
    assert [*inspect.signature(Search.compiled).parameters] == [
        *inspect.signature(CompiledSearch).parameters
    ]


@pytest.mark.parametrize("make", [points, texts])
def test_a_search_has_few_public_names_and_few_attributes(make):
    """At most 20 public methods and properties, and at most 15 attributes of an instance."""
    assert len([name for name in vars(Search) if not name.startswith("_")]) <= 20
    with make() as search:
        search.run(3, progress=False)
        assert len(vars(search)) <= 15


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"sede": 1}, "did you mean 'seed'?"),
        ({"bach": 1}, "did you mean 'batch'?"),
        ({"steerin": Steering()}, "did you mean 'steering'?"),
        ({"wrong": 1}, "operator, batch, seed, judge, axes, replies, steering"),
        ({"domian": 1}, "did you mean 'domain'?"),
        ({"run": "here"}, "write folder=FOLDER for a new run, or Search.resume(FOLDER, "),
        ({"resume": True}, "write Search.resume(FOLDER, "),
        ({"compiled": True}, "write Search.compiled(domain, archive, operator, ...)"),
        ({"parents": Weighted()}, "write steering=Steering(parents=...)"),
        ({"novelty": None}, "write steering=Steering(novelty=...)"),
        ({"lessons": None}, "write steering=Steering(lessons=...)"),
        ({"challenge": Reevaluation()}, "write steering=Steering(reevaluate=...)"),
        ({"in_flight": 2}, "write workers=Workers(in_flight=...)"),
        ({"in_fligth": 2}, "write workers=Workers(in_flight=...)"),
        ({"ahead": 2}, "write workers=Workers(ahead=...)"),
        ({"executor": None}, "write workers=Workers(executor=...)"),
        ({"seconds": 1}, "write workers=Workers(seconds=...)"),
        ({"steering": Weighted()}, "steering is a qdkit.Steering"),
        ({"workers": 16}, "workers is a qdkit.Workers"),
        ({"budget": 100}, "budget is a qdkit.Budget"),
    ],
)
def test_an_argument_that_is_misspelt_or_former_is_refused_in_a_sentence(settings, sentence):
    """The error says what to write instead."""
    with pytest.raises(TypeError, match=re.escape(sentence)):
        Search(Points(), GRID, Jitter(), **settings)
    if not {"run", "resume", "compiled"} & {*settings}:
        with pytest.raises(TypeError, match=re.escape(sentence)):
            Search.resume("nowhere", Points(), GRID, Jitter(), **settings)


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ((GRID, Points(), Jitter()), "the domain is an archive, "),
        ((Points(), Jitter(), GRID), "the operator is an archive, "),
        ((Jitter(), GRID, Points()), "the domain is an operator, "),
        ((Points(), Points(), Jitter()), "the archive is a qdkit.Archive, such as Grid("),
        ((Points(), GRID, Points()), "the operator is a qdkit.Operator, such as IsoLine()"),
        ((Points, GRID, Jitter()), "the domain is the class Points: hand in an instance"),
        ((Points(), qdkit.Grid, Jitter()), "the archive is the class Grid: hand in an instance"),
        ((Points(), GRID, Jitter), "the operator is the class Jitter: hand in an instance"),
        (("points", GRID, Jitter()), "the domain has methods seeds(key, n) and evaluate(genomes)"),
    ],
)
@pytest.mark.parametrize("begin", [Search, Search.compiled])
def test_parts_that_are_swapped_or_classes_are_refused_in_a_sentence(begin, parts, sentence):
    """The error names the part that is wrong, and the order."""
    with pytest.raises(TypeError, match=re.escape(sentence)):
        begin(*parts)


@pytest.mark.parametrize("name", ["judge", "steering", "workers", "novelty", "in_flight"])
def test_a_compiled_search_refuses_what_it_cannot_call(name):
    """The error says which search takes the argument."""
    with pytest.raises(TypeError, match=r"leave it out, or search with Search\(\.\.\.\)"):
        Search.compiled(Points(), GRID, IsoLine(0.1), **{name: None})


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Workers(in_flight=0), "in_flight is 0: a whole number from 1"),
        (lambda: Workers(ahead=1.5), "ahead is 1.5: a whole number from 1"),
        (lambda: Workers(seconds=0), "seconds is 0: a limit of time above zero"),
    ],
)
def test_numbers_of_workers_are_checked(make, sentence):
    """A number that is none of these is refused where it is written."""
    with pytest.raises(ValueError, match=re.escape(sentence)):
        make()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"novelty": "distnct"}, "novelty is a filter"),
        ({"novelty": 3}, "novelty is a filter"),
        ({"parents": 3}, "parents is a rule of qdkit.selection"),
        ({"lessons": "x"}, "lessons is a qdkit.Lessons"),
        ({"reevaluate": 1}, "reevaluate is a qdkit.Reevaluation"),
    ],
)
def test_steering_of_another_kind_is_refused(settings, sentence):
    """Before a search is made of it."""
    with pytest.raises(TypeError, match=sentence):
        Steering(**settings)


def test_a_resume_with_swapped_arguments_says_its_own_order():
    """The folder comes first."""
    with pytest.raises(TypeError, match=r"Search\.resume\(folder, domain, archive, operator"):
        Search.resume(Points(), GRID, Jitter(), "folder")


def test_the_run_of_a_compiled_search_is_resumed_by_a_compiled_search(tmp_path):
    """`Search.resume` names the call that goes on with it."""
    from qdkit.domains import Arm

    arm = Arm(4)
    parts = arm, qdkit.Grid((8, 8), arm.bounds), IsoLine(0.1)
    with Search.compiled(*parts, batch=8, folder=tmp_path / "run") as search:
        search.run(3, progress=False)
    with pytest.raises(ValueError, match=r"qdkit\.CompiledSearch\.resume\("):
        Search.resume(tmp_path / "run", *parts, batch=8)
    with CompiledSearch.resume(tmp_path / "run", *parts, batch=8) as again:
        assert len(again.commits) == len(search.commits)


def test_every_lazy_name_is_there():
    """Each name that a room promises can be imported from it."""
    rooms = [importlib.import_module(f"qdkit.{room}") for room in qdkit._ROOMS]
    checked = {}
    for room in (qdkit, *rooms):
        for name in getattr(room, "__all__", ()):
            assert getattr(room, name) is not None, f"{room.__name__}.{name}"
            checked.setdefault(room.__name__, []).append(name)
    assert len(checked) >= 15 and sum(map(len, checked.values())) > 200, checked


READERS = """
import qdkit
from qdkit import CVT, CompiledSearch, Grid, IsoLine, Search, Steering, Workers

my_domain: qdkit.core.types.Domain
my_archive: qdkit.Archive

"""
REVEALED = """
reveal_type(Search)
reveal_type(search)
reveal_type(Search.resume("folder", my_domain, my_archive, operator))
reveal_type(Search.compiled(my_domain, my_archive, operator))
reveal_type(search.steps(3))
reveal_type(qdkit.axes.TripletAxes)
reveal_type(qdkit.viz.heatmap)
reveal_type(qdkit.runs.load)
reveal_type(qdkit.selection.parents.Weighted)
Search(my_domain, my_archive, operator, bach=3)
qdkit.Serch
"""


def test_type_checkers_know_what_the_readme_writes(tmp_path):
    """mypy accepts the README's examples, knows their types, and finds misspelt names."""
    pytest.importorskip("mypy")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(examples) >= 3
    file = tmp_path / "examples.py"
    file.write_text(READERS + "\n".join(examples), encoding="utf-8")
    length = len(file.read_text(encoding="utf-8").splitlines())
    file.write_text(file.read_text(encoding="utf-8") + REVEALED, encoding="utf-8")
    words = [sys.executable, "-m", "mypy", "--no-error-summary", "--follow-imports=silent"]
    words += ["--cache-dir", str(tmp_path / "cache"), "--ignore-missing-imports", str(file)]
    told = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    lines = [line.partition("examples.py:")[2] for line in told.splitlines()]
    errors = [line for line in lines if " error: " in line]
    assert not [line for line in errors if int(line.split(":")[0]) <= length], told
    assert len(errors) == 2 and "bach" in errors[0] and "Serch" in errors[1], told
    revealed = [line for line in lines if "Revealed type is" in line]
    assert len(revealed) == 9 and not any('"Any"' in line for line in revealed), told
    assert "qdkit.search.search.Search" in revealed[1] and "CompiledSearch" in revealed[3], told

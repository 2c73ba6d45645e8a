"""The pages of results/numeric/ agree with the measurements. The measuring itself is no test."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1] / "results" / "numeric"
BESIDE = ("rounds", "evolution")  # what the scripts import from their folder


@pytest.fixture(scope="module")
def scripts():
    """Returns a function that loads a script under another name.

    `import archives` means something else.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)

        def script(name: str):
            spec = importlib.util.spec_from_file_location(f"numeric_{name}", HERE / f"{name}.py")
            module = importlib.util.module_from_spec(spec)
            patch.setitem(sys.modules, spec.name, module)
            spec.loader.exec_module(module)
            return module

        yield script
    for name in BESIDE:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("script", "page"), [("page", "README"), ("archives", "archives"), ("beside_qdax", "qdax")]
)
def test_a_page_is_that_of_the_rounds_beside_it(scripts, script, page):
    """The page is generated from the measurements.

    Where this fails after new measurements: python results/numeric/page.py.
    """
    assert scripts(script).page() == (HERE / f"{page}.md").read_text(encoding="utf-8")


def test_the_page_of_the_operators_is_that_of_its_rows(scripts):
    """But for the last line, which names the machine of the measurement."""
    page = (HERE / "operators.md").read_text(encoding="utf-8").splitlines()
    assert scripts("operators").page().splitlines()[:-1] == page[:-1]


def test_the_figure_has_a_row_for_each_race_that_was_run(scripts):
    """It has a dot for each case of the race."""
    page = scripts("page")
    run = [race for race in page.races() if race.cases]
    ax = page.drawn().axes[0]
    dots = sum(line.get_marker() == "o" for line in ax.lines)
    assert len(ax.get_yticks()) == len(run) > 0 and dots == sum(len(race.cases) for race in run)


def test_a_line_is_met_if_all_its_cases_are(scripts, monkeypatch):
    """Three lines: two cases that reach the aim, one of two that does, and none measured."""
    page = scripts("page")
    reached = {"both": [5.0, 9.0], "one": [3.9, 150.0], "none": []}
    race = lambda name: page.Race(
        name, "pyribs", 4.0, [(x, x, x) for x in reached[name]], "", "it is slow"
    )
    races = list(map(race, reached))
    monkeypatch.setattr(page, "races", lambda: races)
    assert [page.line(aim) for aim in page.aims()][:3] == [
        "| both | ≥ 4 × pyribs | 5.0 to 9.0 times; 2 of 2 cases | met |  |",
        "| one | ≥ 4 × pyribs | 3.9 to 150 times; 1 of 2 cases | missed: it is slow |  |",
        "| none | ≥ 4 × pyribs |  | not measured |  |",
    ]


def test_a_ratio_is_that_of_the_medians_of_one_case(scripts):
    """The ratio is that computed by hand; rounds of another batch size are another case."""
    rows = [
        {"batch": n, "a": a, "b": b} for n, a, b in [(1, 8, 2), (1, 9, 3), (1, 20, 4), (2, 5, 5)]
    ]
    assert scripts("page").beside(rows, "a", "b") == [(9 / 3, 3.0, 5.0), (1.0, 1.0, 1.0)]


def test_a_new_measurement_replaces_the_old_one(scripts, tmp_path):
    """The other lines keep their place and the table its order."""
    rounds, file = scripts("rounds"), tmp_path / "rows.jsonl"
    row = lambda name, value: {"name": name, "value": value}
    rounds.keep(file, [row("a", 1), row("a", 2)], name="a")
    rounds.keep(file, [row("b", 3)], name="b")
    rounds.keep(file, [row("a", 4)], name="a")
    assert (
        list(map(json.loads, file.read_text().splitlines()))
        == rounds.read(file)
        == [row("a", 4), row("b", 3)]
    )
    assert (
        rounds.read(file, name="b") == [row("b", 3)]
        and rounds.read(tmp_path / "nothing.jsonl") == []
    )


def test_the_page_names_the_commands_that_its_scripts_name(scripts):
    """Each of the scripts exists, and a block in the middle of a docstring is copied whole."""
    named = re.findall(r"python3? results/numeric/(\w+\.py)", scripts("page").page())
    assert {"archives.py", "beside_qdax.py", "evolution.py", "operators.py", "page.py"} == set(
        named
    )
    assert all((HERE / name).is_file() for name in named)

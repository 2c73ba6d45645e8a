"""The pages of documentation: the code and the commands in them work."""

from __future__ import annotations

import pkgutil
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from qdkit import load
from qdkit.archives import Grid
from qdkit.cli.commands import main
from qdkit.testing import ModelServer, check_domain

from .worlds import Texts

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


class Block(NamedTuple):
    """A fenced block of a page: its language, the words behind it, and its text."""

    language: str
    about: str
    text: str


def blocks(page: str) -> list[Block]:
    text = (ROOT / page if page == "README.md" else DOCS / page).read_text(encoding="utf-8")
    return [
        Block(*found)
        for found in re.findall(r"^```(\w+) ?(.*)\n((?:.*\n)*?)```$", text, re.MULTILINE)
    ]


@pytest.mark.parametrize("page", ["new-domain.md"])
def test_the_page_on_new_domains_runs_as_it_stands(page, tmp_path, monkeypatch, capsys):
    """Its files are written, its commands run and its Python executed, in order, in one folder."""
    monkeypatch.chdir(tmp_path)
    room: dict[str, object] = {"__name__": page}
    done = []
    for language, about, text in blocks(page):
        if about.startswith("file="):
            path = Path(about.removeprefix("file="))
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        elif language == "python":
            exec(compile(text, page, "exec"), room)
        elif about == "run":
            for line in text.splitlines():
                try:
                    main(shlex.split(line)[1:])
                except SystemExit as end:
                    assert not end.code, end.code
        else:
            continue
        done.append(language)
    assert done == [
        "python",
        "markdown",
        "python",
        "sh",
        "python",
        "python",
        "python",
        "markdown",
        "sh",
        "python",
    ]
    assert len(list(tmp_path.glob("results/ruler-1/*.png"))) == 2
    doubling = load("results/doubling-1").summary()
    assert doubling["queries"]["validation"] > 0 and doubling["queries"]["lockbox"] == 1
    assert room["search"].summary()["occupied"] > 1  # type: ignore[attr-defined]


def test_the_page_on_steering_runs_as_it_stands():
    """Its code blocks are executed one after the other, in one session."""
    from matplotlib import pyplot

    room: dict[str, Any] = {}
    for language, _, text in blocks("steering.md"):
        if language == "python":
            exec(compile(text, "steering.md", "exec"), room)
    pyplot.close("all")
    assert room["search"].stopped and room["portfolio"].arms


def test_the_page_on_operators_runs_as_it_stands():
    """It has a search by STAX, from pictures, and an operator that begins each search afresh."""
    room: dict[str, Any] = {}
    stax, own = (text for language, _, text in blocks("operators.md") if language == "python")
    exec(compile(stax, "operators.md", "exec"), room)
    assert room["search"].axes.surprise(room["search"].pool.features).min() > 0
    exec(compile(own, "operators.md", "exec"), room)
    assert room["search"].operator.sigma < room["cooling"].sigma == 0.3


def test_the_page_on_rating_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    """Its commands run, except for those that serve until they are stopped, and its Python."""
    monkeypatch.chdir(tmp_path)
    room: dict[str, Any] = {}
    for language, about, text in blocks("rating.md"):
        for line in text.splitlines() if about == "run" else ():
            with pytest.raises(SystemExit, match="0"):
                main(shlex.split(line)[1:])
        if language == "python":
            exec(compile(text, "rating.md", "exec"), room)
        if language == "sh" and not about:
            assert text.startswith("qdkit rate results/")
    assert (tmp_path / "results" / "arms.csv").exists() and room["served"].links["ann"].startswith(
        "http://127.0.0.1:"
    )
    room["run"].close()


def test_the_examples_of_the_readme_run(tmp_path, monkeypatch):
    """Its three examples run, with another server and for a shorter time."""
    monkeypatch.chdir(tmp_path)
    numbers, own, models = (
        text for language, _, text in blocks("README.md") if language == "python"
    )
    room: dict[str, Any] = {}
    exec(compile(numbers.replace("run(100)", "run(3, progress=False)"), "README.md", "exec"), room)
    assert room["search"].summary()["evaluations"] == 3000
    exec(compile(own, "README.md", "exec"), room)
    check_domain(room["Words"]())
    with ModelServer() as server:
        room |= {"my_domain": Texts(), "my_archive": Grid((8, 5), Texts.bounds)}
        here = models.replace("http://localhost:8000/v1", server.url).replace(
            "calls=2000", "calls=20"
        )
        exec(compile(here, "README.md", "exec"), room)
        assert len(server.log) == 20
    room["search"].close()
    assert load("results/texts-1").summary()["calls"] == 20


def test_each_name_of_the_glossary_can_be_imported():
    """No term is in the glossary twice."""
    page = (DOCS / "glossary.md").read_text(encoding="utf-8")
    terms, names = [], []
    for row in re.findall(r"^\| (?!term|---)(.*) \|$", page, re.MULTILINE):
        first, *_, last = row.split(" | ")
        terms.append(first)
        names += re.findall(r"`([\w.]+)`", last)
    assert len(terms) == len(set(terms)) > 50
    for name in names:
        pkgutil.resolve_name(name)

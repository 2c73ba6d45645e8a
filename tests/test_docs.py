"""The pages that teach: what they tell a reader to write and to run is written and run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from qdkit import load
from qdkit.archives import Grid
from qdkit.cli import main
from qdkit.testing import ModelServer, check_domain

from .worlds import Texts

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


class Block(NamedTuple):
    """A fenced block of a page: its language, what stands behind it, and its text."""

    language: str
    about: str
    text: str


def blocks(page: str) -> list[Block]:
    text = (ROOT / page if page == "README.md" else DOCS / page).read_text(encoding="utf-8")
    return [Block(*found) for found in re.findall(r"^```(\w+) ?(.*)\n((?:.*\n)*?)```$", text, re.MULTILINE)]


@pytest.mark.parametrize("page", ["new-domain.md"])
def test_a_reader_who_does_what_the_page_says_gets_what_it_says(page, tmp_path, monkeypatch, capsys):
    """In the order of the page: files are written, commands given, and Python run, in a folder of its own."""
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
    assert done == ["python", "markdown", "python", "sh", "python", "python", "python", "markdown", "sh", "python"]
    assert len(list(tmp_path.glob("results/ruler-1/*.png"))) == 2
    doubling = load("results/doubling-1").summary()
    assert doubling["queries"]["validation"] > 0 and doubling["queries"]["lockbox"] == 1
    assert room["search"].summary()["occupied"] > 1  # type: ignore[attr-defined]


def test_the_page_on_steering_runs_as_it_stands():
    """Its lines are Python, one after the other, in one session."""
    from matplotlib import pyplot

    room: dict[str, Any] = {}
    for language, _, text in blocks("steering.md"):
        if language == "python":
            exec(compile(text, "steering.md", "exec"), room)
    pyplot.close("all")
    assert room["search"].stopped and room["portfolio"].arms


def test_the_page_on_operators_runs_as_it_stands():
    """A search by STAX, from pictures."""
    room: dict[str, Any] = {}
    [stax] = (text for language, _, text in blocks("operators.md") if language == "python")
    exec(compile(stax, "operators.md", "exec"), room)
    assert room["search"].axes.surprise(room["search"].pool.features).min() > 0


def test_the_page_on_rating_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    """Its commands, but for those that serve until they are stopped, and its Python, one after the other."""
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
    assert (tmp_path / "results" / "arms.csv").exists() and room["served"].links["ann"].startswith("http://127.0.0.1:")
    room["run"].close()


def test_the_readme_does_what_it_shows(tmp_path, monkeypatch):
    """Its three examples run as they stand, but for the server's address and how long they take."""
    monkeypatch.chdir(tmp_path)
    numbers, own, models = (text for language, _, text in blocks("README.md") if language == "python")
    room: dict[str, Any] = {}
    exec(compile(numbers.replace("run(100)", "run(3, progress=False)"), "README.md", "exec"), room)
    assert room["search"].summary()["evaluations"] == 3000
    exec(compile(own, "README.md", "exec"), room)
    check_domain(room["Words"]())
    with ModelServer() as server:
        room |= {"my_domain": Texts(), "my_archive": Grid((8, 5), Texts.bounds)}
        here = models.replace("http://localhost:8000/v1", server.url).replace("calls=2000", "calls=20")
        exec(compile(here, "README.md", "exec"), room)
        assert len(server.log) == 20
    room["search"].close()
    assert load("results/texts-1").summary()["calls"] == 20

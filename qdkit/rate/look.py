"""What a person is shown of a candidate: its text, its code in colours, its picture, its numbers.

Candidates are data here, whatever they hold: texts go into the page as texts, without characters that steer
the way of writing, and pictures are drawn on this side.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from qdkit.features import is_program
from qdkit.plain import plain, visible
from qdkit.viz.pictures import picture

LONGEST = 20_000  # characters of a text that are shown
MANY = 100  # numbers of a genome that are told
BARS = 1000  # numbers of a genome that are drawn
FILES = 20  # of a program that are shown
PATH = 200  # characters of a file's name
SIZE, DPI = (4.0, 4.0), 120  # of a picture, in inches
COLOURED = {"Keyword": "k", "Name.Function": "f", "Name.Class": "f", "Name.Decorator": "f", "Literal.String": "s"}
COLOURED |= {"Literal.Number": "n", "Comment": "c", "Name.Builtin": "b", "Operator.Word": "k"}


class Part(NamedTuple):
    """A text: what it is called, its pieces with the class of each ("" for plain), how many characters are left out."""

    title: str
    pieces: list[tuple[str, str]]
    more: int = 0


class Look(NamedTuple):
    """A candidate on the page: a text, the files of a program, the numbers of an array, and whether there is a PNG."""

    prose: Part | None = None
    code: tuple[Part, ...] = ()
    numbers: tuple[str, ...] = ()
    pictured: bool = False


def look(genome: Any, domain: Any) -> Look:
    """How a genome is shown, without drawing it."""
    if hasattr(domain, "png"):
        return Look(pictured=True)
    if isinstance(genome, str):
        return Look(prose=_part(genome))
    if is_program(genome):
        # Without a function of its own a program domain draws the text, which is here already.
        drawn = hasattr(domain, "draw") and getattr(domain, "draws", None) is not None
        return Look(code=_files(genome), pictured=drawn)
    if isinstance(genome, np.ndarray):
        numbers = [f"{x:.4g}" for x in genome.ravel()[: MANY + 1].tolist()]
        return Look(numbers=(*numbers[:MANY], *["…"] * (len(numbers) > MANY)), pictured=True)
    if hasattr(domain, "draw"):
        return Look(pictured=True)
    if isinstance(genome, bytes):
        return Look(code=(_part(f"{len(genome)} bytes: {genome[:256].hex(' ')}"),))
    return Look(code=(_part(json.dumps(plain(genome), indent=1, ensure_ascii=False)),))


def png(genome: Any, domain: Any) -> bytes:
    """The picture of a genome: what the domain's `png` makes of it, else its `draw`, else a row of numbers."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if hasattr(domain, "png"):
        return as_png(domain.png(genome))
    figure = Figure(SIZE, DPI, layout="constrained")  # without pyplot, which belongs to the main thread
    FigureCanvasAgg(figure)
    numbers = isinstance(genome, np.ndarray) and not hasattr(domain, "draw")
    picture(genome.ravel()[:BARS] if numbers else genome, figure.add_subplot(), domain)
    return saved(figure)


def saved(figure: Any) -> bytes:
    """A figure as a PNG."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def as_png(data: Any) -> bytes:
    """`data`, if it begins as a PNG does. Raises ValueError for all else, which a browser might take for a page."""
    if not isinstance(data, bytes) or not data.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError(f"png gives the bytes of a PNG, not {data!r:.40}")
    return data


def _part(text: str) -> Part:
    return Part("", [("", visible(text[:LONGEST]))], max(0, len(text) - LONGEST))


def _files(program: Mapping[str, str]) -> tuple[Part, ...]:
    """The files of a program, as much of them together as is shown of one text."""
    parts, left = [], LONGEST
    for path, text in list(program.items())[:FILES]:
        parts.append(_code(path, text[:left], len(text) - len(text[:left])))
        left -= len(text[:left])
    more = len(program) - len(parts)
    return (*parts, *[Part(f"{more:,} more files are not shown", [])] * (more > 0))


def _code(path: str, text: str, more: int) -> Part:
    """What is shown of a file of a program, in colours where it is Python; `more` characters are left out."""
    title = visible(path[:PATH])
    if not path.endswith(".py"):
        return Part(title, [("", visible(text))], more)
    from pygments.lexers import PythonLexer

    # Lines of many blanks take the lexer's patterns quadratic time.
    shown = re.sub(r"[^\S\n]+$", "", visible(text).expandtabs(4), flags=re.MULTILINE)
    pieces: list[tuple[str, str]] = []
    for token, piece in PythonLexer(stripnl=False, ensurenl=False).get_tokens(shown):
        kind = str(token).removeprefix("Token.")
        name = next((c for start, c in COLOURED.items() if kind.startswith(start)), "")
        if pieces and pieces[-1][0] == name:
            pieces[-1] = (name, pieces[-1][1] + piece)
        else:
            pieces.append((name, piece))
    return Part(title, pieces, more)

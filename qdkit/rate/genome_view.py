"""How the page displays a candidate: its text, its code in colours, its picture, its numbers.

Candidates are data here. Texts go into the page as texts, without characters that control the
direction of writing, and pictures are drawn by the server.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from qdkit.core.jsonable import nan_as_none, terminal_safe
from qdkit.metrics.features import is_program
from qdkit.viz.pictures import picture

LONGEST_SHOWN = 20_000  # characters of a text on the page
_MOST_NUMBERS = 100  # of a genome that are listed
_MOST_BARS = 1000  # numbers of a genome that are drawn
_MOST_FILES = 20  # of a program
_LONGEST_PATH = 200  # characters of a file's name
_SIZE, _DPI = (4.0, 4.0), 120  # of a picture: inches, and dots per inch
# The class of HTML for each kind of token.
_TOKEN_CLASSES = {
    "Keyword": "k",
    "Name.Function": "f",
    "Name.Class": "f",
    "Name.Decorator": "f",
    "Literal.String": "s",
}
_TOKEN_CLASSES |= {
    "Literal.Number": "n",
    "Comment": "c",
    "Name.Builtin": "b",
    "Operator.Word": "k",
}


class TextPart(NamedTuple):
    """A text on the page.

    title: its name. pieces: (class, text) of each piece, "" for plain text.
    more: the number of characters that are left out.
    """

    title: str
    pieces: list[tuple[str, str]]
    more: int = 0


class GenomeView(NamedTuple):
    """A candidate on the page.

    prose: a text. code: the files of a program, or data as text. numbers: those of an array.
    pictured: whether there is a picture.
    """

    prose: TextPart | None = None
    code: tuple[TextPart, ...] = ()
    numbers: tuple[str, ...] = ()
    pictured: bool = False


def genome_view(genome: Any, domain: Any) -> GenomeView:
    """Returns how the page displays a genome, without drawing it."""
    if hasattr(domain, "png"):
        return GenomeView(pictured=True)
    if isinstance(genome, str):
        return GenomeView(prose=_part(genome))
    if is_program(genome):
        # A program domain without a function `draws` draws the text, which is on the page already.
        pictured = hasattr(domain, "draw") and getattr(domain, "draws", None) is not None
        return GenomeView(code=_files(genome), pictured=pictured)
    if isinstance(genome, np.ndarray):
        numbers = [f"{x:.4g}" for x in genome.ravel()[: _MOST_NUMBERS + 1].tolist()]
        if len(numbers) > _MOST_NUMBERS:
            numbers[_MOST_NUMBERS] = "…"
        return GenomeView(numbers=tuple(numbers), pictured=True)
    if hasattr(domain, "draw"):
        return GenomeView(pictured=True)
    if isinstance(genome, bytes):
        return GenomeView(code=(_part(f"{len(genome)} bytes: {genome[:256].hex(' ')}"),))
    return GenomeView(code=(_part(json.dumps(nan_as_none(genome), indent=1, ensure_ascii=False)),))


def genome_png(genome: Any, domain: Any) -> bytes:
    """Returns the picture of a genome as a PNG.

    It is made by the domain's `png`, else by its `draw`; else it shows the numbers as bars.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if hasattr(domain, "png"):
        return check_png(domain.png(genome))
    # Without pyplot, which belongs to the main thread.
    figure = Figure(_SIZE, _DPI, layout="constrained")
    FigureCanvasAgg(figure)
    if isinstance(genome, np.ndarray) and not hasattr(domain, "draw"):
        genome = genome.ravel()[:_MOST_BARS]
    picture(genome, figure.add_subplot(), domain)
    return figure_png(figure)


def figure_png(figure: Any) -> bytes:
    """Returns a figure as a PNG."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def check_png(data: Any) -> bytes:
    """Returns `data` if it begins as a PNG does.

    Raises ValueError for other data, which a browser might take for a page.
    """
    if not isinstance(data, bytes) or not data.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError(f"png gives the bytes of a PNG, not {data!r:.40}")
    return data


def _part(text: str) -> TextPart:
    return TextPart(
        "", [("", terminal_safe(text[:LONGEST_SHOWN]))], max(0, len(text) - LONGEST_SHOWN)
    )


def _files(program: Mapping[str, str]) -> tuple[TextPart, ...]:
    """Returns the files of a program, with at most `LONGEST_SHOWN` characters together."""
    parts, left = [], LONGEST_SHOWN
    for path, text in list(program.items())[:_MOST_FILES]:
        parts.append(_code(path, text[:left], len(text) - len(text[:left])))
        left -= len(text[:left])
    more = len(program) - len(parts)
    return (*parts, *[TextPart(f"{more:,} more files are not shown", [])] * (more > 0))


def _code(path: str, text: str, more: int) -> TextPart:
    """Returns a file of a program, with the classes of its tokens where it is Python.

    more: the number of characters of the file that `text` leaves out.
    """
    title = terminal_safe(path[:_LONGEST_PATH])
    if not path.endswith(".py"):
        return TextPart(title, [("", terminal_safe(text))], more)
    from pygments.lexers import PythonLexer

    # Blanks at the ends of lines cost the lexer quadratic time.
    code = re.sub(r"[^\S\n]+$", "", terminal_safe(text).expandtabs(4), flags=re.MULTILINE)
    pieces: list[tuple[str, str]] = []
    for token, piece in PythonLexer(stripnl=False, ensurenl=False).get_tokens(code):
        kind = str(token).removeprefix("Token.")
        classes = (name for start, name in _TOKEN_CLASSES.items() if kind.startswith(start))
        token_class = next(classes, "")
        if pieces and pieces[-1][0] == token_class:
            pieces[-1] = (token_class, pieces[-1][1] + piece)
        else:
            pieces.append((token_class, piece))
    return TextPart(title, pieces, more)

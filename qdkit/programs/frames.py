"""Checks that the frame of a program, the text outside its marks, is still the same code.

A frame can be unchanged to the byte and yet do nothing: a string or a comment that one block opens
and the next one closes removes the code between them. In Python, the parsed statements of the
frame are compared. In other languages each block has to close what it opens, as far as that can be
checked without a parser (see `qdkit.programs.unclosed`).
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from qdkit.programs.marks import blocks, is_python
from qdkit.programs.scopes import parse_python
from qdkit.programs.unclosed import unclosed

_NEWLINE = re.compile(r"\r\n|\r|\n")
_BODIES = ("body", "orelse", "finalbody", "handlers", "cases")
_TOO_DEEP = "it is nested too deeply to be read"
_BLOCK = "in a block"
_Shape = Any  # nested tuples that describe a node, with `_BLOCK` for the parts that are in a block


def frame_damage(path: str, before: str, after: str) -> str:
    """Returns why the frame of `before` is no longer the same code in `after`, "" if it is.

    Both have the same text outside the marks. The result is "" for Python that does not parse,
    since it cannot run.
    """
    inside = blocks(before, path)
    if inside == [slice(0, len(before))]:
        return ""
    if is_python(path):
        return _python_damage(before, after)
    pairs = zip(inside, blocks(after, path), strict=True)
    for number, (old, new) in enumerate(pairs, 1):
        if reason := unclosed(path, before[old], after[new]):
            return (
                f"its block {number} {reason}, which takes away or changes code outside the marks"
            )
    return ""


class _Position(NamedTuple):
    """A position in a frame: the part, the line from the start of the part, and the column."""

    part: int
    line: int
    column: int


def _python_damage(before: str, after: str) -> str:
    new, old = _statements(after), _statements(before)
    if isinstance(new, str):
        return new
    if new is None or old is None or isinstance(old, str) or old == new:
        return ""
    positions = sorted(old.keys() | new.keys())
    first = next(position for position in positions if old.get(position) != new.get(position))
    line = _FrameLines(before).text(first).strip()
    return (
        "the code between the marks takes away or changes code outside them, such as "
        f"{line[:60]!r}: close every bracket, text in quotes and function between the marks that "
        "it is opened in"
    )


@lru_cache(256)
def _statements(text: str) -> dict[_Position, _Shape] | str | None:
    """Returns the shape of each statement that begins in the frame.

    Returns a sentence if the text is nested too deeply, None if it does not parse.
    """
    try:
        tree = parse_python(text.removeprefix("\ufeff"))
        return dict(_frame_statements(tree, _FrameLines(text), ()))
    except (SyntaxError, ValueError):
        return None
    except (RecursionError, MemoryError):
        return _TOO_DEEP


class _FrameLines:
    """The lines of a text, and which of them are in its frame."""

    def __init__(self, text: str):
        block_edges = [edge for block in blocks(text) for edge in (block.start, block.stop)]
        starts = [0, *(match.end() for match in _NEWLINE.finditer(text))]
        self._lines = _NEWLINE.split(text)
        # The numbers, from 1, of the first lines of frame parts and blocks in turn.
        edges = [bisect_right(starts, edge) for edge in (0, *block_edges)]
        self._edges = [*edges, len(starts) + 1]

    def position(self, line: int, column: int) -> _Position | None:
        """Returns where a line, counted from 1, is in the frame; None if it is in a block."""
        i = bisect_right(self._edges, line) - 1
        return _Position(i // 2, line - self._edges[i], column) if i % 2 == 0 else None

    def start(self, node: Any) -> _Position | None:
        nodes = (node, *getattr(node, "decorator_list", ()))
        first = min(nodes, key=lambda each: each.lineno)
        return self.position(first.lineno, first.col_offset)

    def end(self, node: Any) -> _Position | None:
        return self.position(node.end_lineno, node.end_col_offset)

    def text(self, position: _Position) -> str:
        return self._lines[self._edges[2 * position.part] - 1 + position.line]


def _frame_statements(
    node: ast.AST, lines: _FrameLines, chain: tuple[Any, ...]
) -> Iterator[tuple[_Position, _Shape]]:
    """Yields the position and the shape of each statement below a node that begins in the frame.

    chain: the positions, or types, of the statements around the node.
    """
    for name in _BODIES:
        body = getattr(node, name, ())
        for child in body if isinstance(body, list) else ():
            start = lines.start(child) if hasattr(child, "lineno") else None
            if start is not None:
                yield start, (name, chain, _shape(child, lines))
            yield from _frame_statements(child, lines, (*chain, start or type(child).__name__))


def _shape(node: Any, lines: _FrameLines) -> _Shape:
    """Returns the shape of a node that begins in the frame.

    It leaves out the parts that are in a block, and the statements in the node's body.
    """
    if not isinstance(node, ast.AST):
        return repr(node)
    if hasattr(node, "lineno") and lines.start(node) is None:
        return _BLOCK
    ends = hasattr(node, "lineno") and not isinstance(getattr(node, "body", None), list)
    parts: list[_Shape] = [type(node).__name__, lines.end(node) if ends else None]
    for name, value in ast.iter_fields(node):
        if isinstance(node, ast.Dict) and name == "keys":
            # The key None stands for `**`, which has the position of its value.
            value = [key or each for key, each in zip(node.keys, node.values, strict=True)]
        if name in _BODIES and isinstance(value, list):
            continue
        if isinstance(value, list):
            # A block may hold any number of the elements, except decorators of a frame's function.
            shapes = [_shape(each, lines) for each in value]
            parts.append((name, *(each for each in shapes if each != _BLOCK)))
            parts += [_BLOCK] * (name == "decorator_list" and _BLOCK in shapes)
        else:
            parts.append((name, _shape(value, lines)))
    return tuple(parts)

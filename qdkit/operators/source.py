"""A program's text beside its syntax tree: which nodes may change, where each stands, what may stand in its place."""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np

from qdkit.names import Function, Scope, parsed, uses
from qdkit.programs import blocks

T = TypeVar("T")
STATEMENTS = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Expr, ast.If, ast.For, ast.While, ast.With, ast.Try)
ATOMS = (ast.Name, ast.Call, ast.Attribute, ast.Subscript, ast.List, ast.Dict, ast.Set, ast.Tuple, ast.ListComp)


class Edit(NamedTuple):
    """`text` in place of the bytes from `start` to `stop`."""

    start: int
    stop: int
    text: str


class Source:
    """A text of Python that compiles.

    nodes: what may change, in the order of the text.
    parent, function: what a node is part of, and the nearest function, class or module around it.
    uses: see `qdkit.names.uses`.

    Edits are made in the text, so that comments and formatting stay wherever nothing changes.
    Raises ValueError for a text that does not compile, or whose marks are not in pairs.
    """

    def __init__(self, text: str):
        tree = parsed(text, compiles=True)
        if tree is None:
            raise ValueError("the program does not compile")
        self.text, self.tree, self.bytes = text, tree, text.encode()
        self._lines = [0, *(end.end() for end in re.finditer(rb"\r\n|\r|\n", self.bytes))]
        self._inside = [(len(text[: b.start].encode()), len(text[: b.stop].encode())) for b in blocks(text)]
        try:
            self.uses = uses(tree)
        except RecursionError:
            raise ValueError("the program is nested too deeply") from None

    @cached_property
    def _around(self) -> dict[ast.AST, tuple[ast.AST, ast.AST]]:
        """The parent and the function of each node; found when first asked for, as most children are edited no more."""
        try:
            return {node: (parent, function) for node, parent, function in self._reached(self.tree, self.tree)}
        except RecursionError:
            raise ValueError("the program is nested too deeply") from None

    @cached_property
    def nodes(self) -> list[ast.AST]:
        where = [(node, self.span(node)) for node in self._around if hasattr(node, "lineno")]
        return [node for node, (a, b) in where if any(low <= a and b <= high for low, high in self._inside)]

    @cached_property
    def parent(self) -> dict[ast.AST, ast.AST]:
        return {node: parent for node, (parent, _) in self._around.items()}

    @cached_property
    def function(self) -> dict[ast.AST, ast.AST]:
        return {node: function for node, (_, function) in self._around.items()}

    def _reached(self, node: ast.AST, function: ast.AST) -> Iterator[tuple[ast.AST, ast.AST, ast.AST]]:
        """Each node with its parent and function; the parts of an f-string have no place before Python 3.12."""
        notes = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        for child in ast.iter_child_nodes(node):
            if child in notes:
                continue
            yield child, node, function
            if not isinstance(child, ast.JoinedStr):
                yield from self._reached(child, child if isinstance(child, Function | ast.ClassDef) else function)

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Where a node begins and ends, decorators included."""
        first = min(each.lineno for each in (node, *getattr(node, "decorator_list", ())))
        return (
            self._lines[first - 1] + node.col_offset,  # type: ignore[attr-defined]
            self._lines[node.end_lineno - 1] + node.end_col_offset,  # type: ignore[attr-defined]
        )

    def of(self, node: ast.AST) -> str:
        """The text of a node."""
        start, stop = self.span(node)
        return self.bytes[start:stop].decode()

    def edited(self, edits: Sequence[Edit]) -> str:
        """The text after edits that do not overlap."""
        after = self.bytes
        for edit in sorted(edits, reverse=True):
            after = after[: edit.start] + edit.text.encode() + after[edit.stop :]
        return after.decode()

    def replaced(self, node: ast.AST, other: ast.AST, text: str) -> Edit:
        """The expression `other`, of which this is the text, in place of a node; in brackets where it may need them."""
        start, stop = self.span(node)
        bracketed = self.bytes[start - 1 : start] == b"(" and self.bytes[stop : stop + 1] == b")"
        plain = isinstance(other, ATOMS) or (isinstance(other, ast.Constant) and not text.startswith("-"))
        return Edit(start, stop, text if plain or bracketed else f"({text})")

    @cached_property
    def statements(self) -> list[ast.AST]:
        """Statements that stand on lines of their own and may come and go."""
        idle = lambda node: isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)  # a docstring stays
        return [node for node in self.nodes if isinstance(node, STATEMENTS) and not idle(node) and self.lines(node)]

    @cached_property
    def functions(self) -> list[Function]:
        """Functions that may change as a whole."""
        return [node for node in self.nodes if isinstance(node, Function) and self.lines(node)]

    def lines(self, node: ast.AST) -> tuple[int, int] | None:
        """From the first line of a statement to the end of its last, or None if something else stands there."""
        start, stop = self.span(node)
        first = self._lines[bisect_right(self._lines, start) - 1]
        after = bisect_left(self._lines, max(stop, first + 1))
        last = self._lines[after] if after < len(self._lines) else len(self.bytes)
        before, rest = self.bytes[first:start].strip(), self.bytes[stop:last].strip()
        alone = not before and (not rest or rest.startswith(b"#")) and not self.of(node).startswith("elif")
        return (first, last) if alone else None

    def indented(self, node: ast.AST, column: int) -> str:
        """The lines of a statement, set in at a column."""
        start, stop = self.lines(node) or self.span(node)
        return textwrap.indent(textwrap.dedent(self.bytes[start:stop].decode()), " " * column).rstrip() + "\n"

    @cached_property
    def bound(self) -> dict[tuple[Scope | None, str], int]:
        """The first line on which each name is bound."""
        lines: dict[tuple[Scope | None, str], int] = {}
        for use, home in self.uses:
            if use.binds:
                line: int = use.node.lineno  # type: ignore[attr-defined]
                lines[home, use.name] = min(line, lines.get((home, use.name), line))
        return lines

    @cached_property
    def unbound(self) -> set[tuple[str, str]]:
        """Names that are nobody's, and those of a function that are read on a line before they are bound."""
        found = set()
        for use, home in self.uses:
            line: int = use.node.lineno  # type: ignore[attr-defined]
            if home is None and not hasattr(builtins, use.name):
                found.add(("", use.name))
            elif home is use.scope and not use.binds and line < self.bound.get((home, use.name), 0):
                found.add((getattr(home.node, "name", ""), use.name))
        return found


def pick(random: np.random.Generator, things: Sequence[T]) -> T | None:
    """One of them, or None if there are none."""
    return things[int(random.integers(len(things)))] if things else None

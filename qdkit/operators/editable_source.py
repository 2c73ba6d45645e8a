"""The text of a program with its syntax tree: which nodes may be edited, and where each stands."""

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

from qdkit.programs.scopes import FunctionNode, Scope, name_uses, parse_or_none
from qdkit.programs.syntax import blocks

_T = TypeVar("_T")
_STATEMENTS = (
    ast.Assign,
    ast.AugAssign,
    ast.AnnAssign,
    ast.Expr,
    ast.If,
    ast.For,
    ast.While,
    ast.With,
    ast.Try,
)
_ATOMS = (
    ast.Name,
    ast.Call,
    ast.Attribute,
    ast.Subscript,
    ast.List,
    ast.Dict,
    ast.Set,
    ast.Tuple,
    ast.ListComp,
)


class TextEdit(NamedTuple):
    """`text` in place of the bytes from `start` to `stop`."""

    start: int
    stop: int
    text: str


class Source:
    """A Python text that compiles, with its syntax tree.

    nodes: the nodes within the blocks, which may be edited, in the order of the text.
    parent, function: for each node its parent, and the nearest function, class or module around
      it.
    uses: see `qdkit.programs.scopes.name_uses`.

    Edits are made in the text, so comments and formatting stay where nothing is edited. Raises
    ValueError for a text that does not compile, or whose marks are not in pairs.
    """

    def __init__(self, text: str):
        tree = parse_or_none(text, compiles=True)
        if tree is None:
            raise ValueError("the program does not compile")
        self.text, self.tree, self.bytes = text, tree, text.encode()
        self._lines = [0, *(end.end() for end in re.finditer(rb"\r\n|\r|\n", self.bytes))]
        self._blocks = [
            (len(text[: block.start].encode()), len(text[: block.stop].encode()))
            for block in blocks(text)
        ]
        try:
            self.uses = name_uses(tree)
        except RecursionError:
            raise ValueError("the program is nested too deeply") from None

    @cached_property
    def _parent_and_function(self) -> dict[ast.AST, tuple[ast.AST, ast.AST]]:
        """The parent and the function of each node.

        It is computed when it is first read, as most children are not edited again.
        """
        try:
            return {
                node: (parent, function)
                for node, parent, function in self._walk(self.tree, self.tree)
            }
        except RecursionError:
            raise ValueError("the program is nested too deeply") from None

    @cached_property
    def nodes(self) -> list[ast.AST]:
        with_span = [
            (node, self.span(node))
            for node in self._parent_and_function
            if hasattr(node, "lineno")
        ]
        return [
            node
            for node, (start, stop) in with_span
            if any(low <= start and stop <= high for low, high in self._blocks)
        ]

    @cached_property
    def parent(self) -> dict[ast.AST, ast.AST]:
        return {node: parent for node, (parent, _) in self._parent_and_function.items()}

    @cached_property
    def function(self) -> dict[ast.AST, ast.AST]:
        return {node: function for node, (_, function) in self._parent_and_function.items()}

    def _walk(
        self, node: ast.AST, function: ast.AST
    ) -> Iterator[tuple[ast.AST, ast.AST, ast.AST]]:
        """Yields each node below `node` with its parent and function.

        Annotations are left out, and so are the parts of f-strings, which have no position before
        Python 3.12.
        """
        annotations = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        for child in ast.iter_child_nodes(node):
            if child in annotations:
                continue
            yield child, node, function
            if not isinstance(child, ast.JoinedStr):
                opens = isinstance(child, FunctionNode | ast.ClassDef)
                yield from self._walk(child, child if opens else function)

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Returns the first byte of a node, decorators included, and the one after its last."""
        first = min(each.lineno for each in (node, *getattr(node, "decorator_list", ())))
        return (
            self._lines[first - 1] + node.col_offset,  # type: ignore[attr-defined]
            self._lines[node.end_lineno - 1] + node.end_col_offset,  # type: ignore[attr-defined]
        )

    def text_of(self, node: ast.AST) -> str:
        """Returns the text of a node."""
        start, stop = self.span(node)
        return self.bytes[start:stop].decode()

    def apply(self, edits: Sequence[TextEdit]) -> str:
        """Returns the text after edits that do not overlap."""
        after = self.bytes
        for edit in sorted(edits, reverse=True):
            after = after[: edit.start] + edit.text.encode() + after[edit.stop :]
        return after.decode()

    def replacement(self, node: ast.AST, other: ast.AST, text: str) -> TextEdit:
        """Returns the edit that puts the expression `other`, of this text, in place of a node.

        The text is set in brackets where it may need them.
        """
        start, stop = self.span(node)
        bracketed = self.bytes[start - 1 : start] == b"(" and self.bytes[stop : stop + 1] == b")"
        plain = isinstance(other, _ATOMS) or (
            isinstance(other, ast.Constant) and not text.startswith("-")
        )
        return TextEdit(start, stop, text if plain or bracketed else f"({text})")

    @cached_property
    def statements(self) -> list[ast.AST]:
        """Statements on lines of their own that may be removed or copied, without docstrings."""
        is_constant = lambda node: (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        )
        return [
            node
            for node in self.nodes
            if isinstance(node, _STATEMENTS) and not is_constant(node) and self.lines(node)
        ]

    @cached_property
    def functions(self) -> list[FunctionNode]:
        """Functions that may be replaced as a whole."""
        return [node for node in self.nodes if isinstance(node, FunctionNode) and self.lines(node)]

    def lines(self, node: ast.AST) -> tuple[int, int] | None:
        """Returns the bytes of a statement's lines, or None if they hold other code too."""
        start, stop = self.span(node)
        first = self._lines[bisect_right(self._lines, start) - 1]
        after = bisect_left(self._lines, max(stop, first + 1))
        last = self._lines[after] if after < len(self._lines) else len(self.bytes)
        before, rest = self.bytes[first:start].strip(), self.bytes[stop:last].strip()
        alone = (
            not before
            and (not rest or rest.startswith(b"#"))
            and not self.text_of(node).startswith("elif")
        )
        return (first, last) if alone else None

    def indented_lines(self, node: ast.AST, column: int) -> str:
        """Returns the lines of a statement, indented to a column."""
        start, stop = self.lines(node) or self.span(node)
        text = textwrap.dedent(self.bytes[start:stop].decode())
        return textwrap.indent(text, " " * column).rstrip() + "\n"

    @cached_property
    def bound(self) -> dict[tuple[Scope | None, str], int]:
        """The first line on which each name of a scope is bound."""
        lines: dict[tuple[Scope | None, str], int] = {}
        for use, home in self.uses:
            if use.binds:
                line: int = use.node.lineno  # type: ignore[attr-defined]
                lines[home, use.name] = min(line, lines.get((home, use.name), line))
        return lines

    @cached_property
    def unbound(self) -> set[tuple[str, str]]:
        """Names that no scope binds, and those read on a line before their scope binds them.

        Each is a pair of the function's name, "" for names that no scope binds, and the name.
        """
        pairs = set()
        for use, home in self.uses:
            line: int = use.node.lineno  # type: ignore[attr-defined]
            if home is None and not hasattr(builtins, use.name):
                pairs.add(("", use.name))
            elif (
                home is use.scope and not use.binds and line < self.bound.get((home, use.name), 0)
            ):
                pairs.add((getattr(home.node, "name", ""), use.name))
        return pairs


def pick_one(random: np.random.Generator, things: Sequence[_T]) -> _T | None:
    """Returns one of `things` at random, or None if there are none."""
    return things[int(random.integers(len(things)))] if things else None

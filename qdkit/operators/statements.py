"""Edits of whole statements, and of statements and functions of a second program.

Each edit takes a source, a random generator and the second program, `mate`, and returns a list of
edits of the text, which is empty if there is nothing to edit.
"""

from __future__ import annotations

import ast

import numpy as np

from qdkit.programs.scopes import FunctionNode

from .editable_source import Source, TextEdit, pick_one


def remove_statement(source: Source, random: np.random.Generator, mate: Source) -> list[TextEdit]:
    """Removes a statement."""
    node = pick_one(random, source.statements)
    return [] if node is None else [_without(source, node)]


def copy_statement(source: Source, random: np.random.Generator, mate: Source) -> list[TextEdit]:
    """Inserts a copy of a statement before another of its function."""
    node = pick_one(random, source.statements)
    return [] if node is None else _before_another(source, random, node)


def move_statement(source: Source, random: np.random.Generator, mate: Source) -> list[TextEdit]:
    """Moves a statement before another of its function."""
    node = pick_one(random, source.statements)
    if node is None:
        return []
    copy = _before_another(source, random, node)
    return [_without(source, node), *copy] if copy else []


def take_statement(source: Source, random: np.random.Generator, mate: Source) -> list[TextEdit]:
    """Takes a statement of `mate` in place of one, or before one.

    Both are in the function of the same name.
    """
    node = pick_one(random, source.statements)
    if node is None:
        return []
    name = _function_name(source, node)
    others = [each for each in mate.statements if _function_name(mate, each) == name]
    other = pick_one(random, others)
    where = source.lines(node)
    if other is None or where is None:
        return []
    text = mate.indented_lines(other, node.col_offset)  # type: ignore[attr-defined]
    return [TextEdit(where[0], where[1] if random.random() < 0.5 else where[0], text)]


def take_function(source: Source, random: np.random.Generator, mate: Source) -> list[TextEdit]:
    """Replaces a function by that of `mate` of the same name, with what it needs of `mate`."""
    theirs = {node.name: node for node in mate.functions}
    differing = [
        node
        for node in source.functions
        if node.name in theirs and mate.text_of(theirs[node.name]) != source.text_of(node)
    ]
    node = pick_one(random, differing)
    where = None if node is None else source.lines(node)
    if node is None or where is None:
        return []
    other = theirs[node.name]
    needed = []
    if node.col_offset == 0:
        needed = _needed_statements(mate, other, _defined_names(source.tree.body))
    texts = [
        mate.indented_lines(each, 0) + "\n\n" * isinstance(each, FunctionNode) for each in needed
    ]
    return [TextEdit(*where, "".join([*texts, mate.indented_lines(other, node.col_offset)]))]


def _without(source: Source, node: ast.AST) -> TextEdit:
    """Returns the edit that removes a statement, or replaces the last of a body by `pass`."""
    parent = source.parent[node]
    bodies = [getattr(parent, name, None) or [] for name in ("body", "orelse", "finalbody")]
    alone = not isinstance(parent, ast.Module) and any(body == [node] for body in bodies)
    start, stop = source.lines(node) or source.span(node)
    return TextEdit(*source.span(node), "pass") if alone else TextEdit(start, stop, "")


def _before_another(source: Source, random: np.random.Generator, node: ast.AST) -> list[TextEdit]:
    """Returns the edit that copies a statement before another of its function, if there is one."""
    inner = set(ast.walk(node))
    function = source.function[node]
    others = [
        each
        for each in source.statements
        if source.function[each] is function and each not in inner
    ]
    other = pick_one(random, others)
    where = None if other is None else source.lines(other)
    if other is None or where is None:
        return []
    text = source.indented_lines(node, other.col_offset)  # type: ignore[attr-defined]
    return [TextEdit(where[0], where[0], text)]


def _function_name(source: Source, node: ast.AST) -> str:
    return getattr(source.function[node], "name", "")


def _defined_names(body: list[ast.stmt]) -> set[str]:
    """Returns the names that the statements of a module bind."""
    defined = set()
    for node in body:
        match node:
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
            ):
                defined.add(name)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                defined |= {each.asname or each.name.partition(".")[0] for each in names}
            case ast.Assign(targets=targets):
                defined |= {
                    each.id
                    for target in targets
                    for each in ast.walk(target)
                    if isinstance(each, ast.Name)
                }
    return defined


def _needed_statements(mate: Source, function: ast.AST, known: set[str]) -> list[ast.stmt]:
    """Returns the statements of a module that one of its functions needs, in their order.

    Statements that define the names in `known` are left out.
    """
    body: list[ast.stmt] = [each for each in mate.tree.body if each is not function]
    definers: dict[str, list[ast.stmt]] = {}
    for each in body:
        for name in _defined_names([each]):
            definers.setdefault(name, []).append(each)
    known = known | {getattr(function, "name", "")}
    needed: set[ast.AST] = set()
    waiting: list[ast.AST] = [function]
    while waiting:  # each statement and each name is visited once
        names = {each.id for each in ast.walk(waiting.pop()) if isinstance(each, ast.Name)} - known
        more = {each for name in names for each in definers.get(name, ())} - needed
        known |= names
        needed |= more
        waiting += more
    return [each for each in body if each in needed]

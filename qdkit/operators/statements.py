"""Edits of whole statements and functions: removed, copied, moved, and taken from a second program."""

from __future__ import annotations

import ast

import numpy as np

from qdkit.names import Function

from .source import Edit, Source, pick


def removed(source: Source, random: np.random.Generator, mate: Source) -> list[Edit]:
    """A statement gone."""
    node = pick(random, source.statements)
    return [] if node is None else [_without(source, node)]


def copied(source: Source, random: np.random.Generator, mate: Source) -> list[Edit]:
    """A statement once more, before another of its function."""
    node = pick(random, source.statements)
    return [] if node is None else _before_another(source, random, node)


def moved(source: Source, random: np.random.Generator, mate: Source) -> list[Edit]:
    """A statement before another of its function instead of where it is."""
    node = pick(random, source.statements)
    if node is None:
        return []
    there = _before_another(source, random, node)
    return [_without(source, node), *there] if there else []


def mixed(source: Source, random: np.random.Generator, mate: Source) -> list[Edit]:
    """A statement of the second program in place of one, or before one, of the function of the same name."""
    node = pick(random, source.statements)
    if node is None:
        return []
    name = _function(source, node)
    other = pick(random, [each for each in mate.statements if _function(mate, each) == name])
    where = source.lines(node)
    if other is None or where is None:
        return []
    text = mate.indented(other, node.col_offset)  # type: ignore[attr-defined]
    return [Edit(where[0], where[1] if random.random() < 0.5 else where[0], text)]


def exchanged(source: Source, random: np.random.Generator, mate: Source) -> list[Edit]:
    """A function as the second program has it, with what of that program it needs."""
    theirs = {node.name: node for node in mate.functions}
    differing = [n for n in source.functions if n.name in theirs and mate.of(theirs[n.name]) != source.of(n)]
    node = pick(random, differing)
    where = None if node is None else source.lines(node)
    if node is None or where is None:
        return []
    other = theirs[node.name]
    needed = _needed(mate, other, _defines(source.tree.body)) if node.col_offset == 0 else []
    texts = [mate.indented(each, 0) + "\n\n" * isinstance(each, Function) for each in needed]
    return [Edit(*where, "".join([*texts, mate.indented(other, node.col_offset)]))]


def _without(source: Source, node: ast.AST) -> Edit:
    """Takes the lines of a statement away; the last of a body leaves `pass`."""
    parent = source.parent[node]
    bodies = [getattr(parent, name, None) or [] for name in ("body", "orelse", "finalbody")]
    alone = not isinstance(parent, ast.Module) and any(body == [node] for body in bodies)
    start, stop = source.lines(node) or source.span(node)
    return Edit(*source.span(node), "pass") if alone else Edit(start, stop, "")


def _before_another(source: Source, random: np.random.Generator, node: ast.AST) -> list[Edit]:
    within = set(ast.walk(node))
    function = source.function[node]
    others = [each for each in source.statements if source.function[each] is function and each not in within]
    other = pick(random, others)
    where = None if other is None else source.lines(other)
    if other is None or where is None:
        return []
    return [Edit(where[0], where[0], source.indented(node, other.col_offset))]  # type: ignore[attr-defined]


def _function(source: Source, node: ast.AST) -> str:
    return getattr(source.function[node], "name", "")


def _defines(body: list[ast.stmt]) -> set[str]:
    """The names that a module's own statements bind."""
    found = set()
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                found |= {each.asname or each.name.partition(".")[0] for each in names}
            case ast.Assign(targets=targets):
                found |= {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
    return found


def _needed(mate: Source, function: ast.AST, known: set[str]) -> list[ast.stmt]:
    """The statements of the second program's module that a function of it needs, in their order."""
    body: list[ast.stmt] = [each for each in mate.tree.body if each is not function]
    known = known | {getattr(function, "name", "")}
    needed: list[ast.AST] = [function]
    while True:
        read = {each.id for node in needed for each in ast.walk(node) if isinstance(each, ast.Name)} - known
        missing = [each for each in body if each not in needed and _defines([each]) & read]
        if not missing:
            return [each for each in body if each in needed]
        needed += missing

"""Python text as trees, and what each name in a tree means: in which scope it is bound."""

from __future__ import annotations

import ast
import re
import threading
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

FILENAME = "<program>"
_ONE_AT_A_TIME = threading.Lock()  # the filters of `warnings` belong to the whole process

Function = ast.FunctionDef | ast.AsyncFunctionDef
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def parsed(text: str, *, compiles: bool = False) -> ast.Module | None:
    """The tree of a text, or None if it is not Python; never runs any of it.

    compiles: also None for what only the compiler refuses, such as `break` outside a loop.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings():  # what is odd in a candidate is not the user's to hear of
        warnings.filterwarnings("ignore", module=re.escape(FILENAME))
        try:
            tree = ast.parse(text, FILENAME)
            if compiles:
                compile(tree, FILENAME, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: nested too deeply
            return None
    return tree


@dataclass(eq=False)
class Scope:
    """Where names are bound: a module, a class, a function or lambda, or a comprehension."""

    node: ast.AST
    parent: Scope | None
    bound: set[str] = field(default_factory=set)
    elsewhere: dict[str, str] = field(default_factory=dict)  # name -> "global" or "nonlocal"

    @property
    def is_class(self) -> bool:
        """Whether functions inside do not see its names."""
        return isinstance(self.node, ast.ClassDef)

    @property
    def outermost(self) -> Scope:
        """What of the module this is in: a function or class of it; the module itself at its top."""
        return self if self.parent is None or self.parent.parent is None else self.parent.outermost

    def home(self, name: str) -> Scope | None:
        """The scope whose `name` is meant here; None for a builtin, or a name that is nowhere."""
        if self.elsewhere.get(name) == "global":
            outer = self.outermost
            return outer.parent or outer
        if name in self.bound and name not in self.elsewhere:
            return self
        scope = self.parent
        while scope is not None:
            if name in scope.bound and not scope.is_class:
                return scope.home(name)
            scope = scope.parent
        return None


class Use(NamedTuple):
    """One place where a name stands: `node`'s `field`, or its `entry`-th where that is a list."""

    node: ast.AST
    field: str
    name: str
    scope: Scope
    binds: bool
    entry: int | None = None

    def rename(self, name: str) -> None:
        """Writes another name into the tree."""
        if self.entry is None:
            setattr(self.node, self.field, name)
        else:
            getattr(self.node, self.field)[self.entry] = name


def uses(tree: ast.Module) -> list[tuple[Use, Scope | None]]:
    """Every place where a name stands, with the scope whose name it is; see `Scope.home`.

    Raises RecursionError for a tree nested too deeply.
    """
    top = Scope(tree, None)
    found = list(_under(tree.body, top))
    top.bound |= {use.name for use in found if use.binds and use.scope.elsewhere.get(use.name) == "global"}
    return [(use, use.scope.home(use.name)) for use in found]  # only now is it known what each scope binds


def _under(nodes: Iterable[ast.AST | None], scope: Scope) -> Iterator[Use]:
    for node in nodes:
        if node is not None:
            yield from _of(node, scope)


def _of(node: ast.AST, scope: Scope) -> Iterator[Use]:
    match node:
        case ast.Name():
            yield _use(node, "id", node.id, scope, not isinstance(node.ctx, ast.Load))
        case ast.NamedExpr():
            yield _use(node.target, "id", node.target.id, _outside_comprehensions(scope), True)
            yield from _of(node.value, scope)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield _use(node, "name", node.name, scope, True)
            yield from _under(node.decorator_list, scope)
            yield from _function(node, scope, node.body)
        case ast.Lambda():
            yield from _function(node, scope, [node.body])
        case ast.ClassDef():
            yield _use(node, "name", node.name, scope, True)
            yield from _under([*node.decorator_list, *node.bases, *node.keywords], scope)
            inner = Scope(node, scope)
            yield from _under([*getattr(node, "type_params", ()), *node.body], inner)
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            yield from _comprehension(node, scope)
        case ast.Global() | ast.Nonlocal():
            kind = "global" if isinstance(node, ast.Global) else "nonlocal"
            scope.elsewhere |= dict.fromkeys(node.names, kind)
            for index, name in enumerate(node.names):
                yield Use(node, "names", name, scope, kind == "global", index)
        case ast.alias(name="*"):
            pass
        case ast.alias():
            name = node.asname or node.name.partition(".")[0]
            yield _use(node, "asname", name, scope, True)
        case _:
            field = _BINDS.get(type(node).__name__)
            if field and getattr(node, field) is not None:
                yield _use(node, field, getattr(node, field), scope, True)
            yield from _under(ast.iter_child_nodes(node), scope)


# What binds a name that is no node of its own.
_BINDS = {
    "arg": "arg",
    "ExceptHandler": "name",
    "MatchAs": "name",
    "MatchStar": "name",
    "MatchMapping": "rest",
    "TypeVar": "name",
    "ParamSpec": "name",
    "TypeVarTuple": "name",
}


def _use(node: ast.AST, field: str, name: str, scope: Scope, binds: bool) -> Use:
    if binds:
        scope.bound.add(name)
    return Use(node, field, name, scope, binds)


def _function(node: Function | ast.Lambda, scope: Scope, body: Iterable[ast.AST]) -> Iterator[Use]:
    """Defaults are read outside, parameters and body inside."""
    given = node.args
    yield from _under([*given.defaults, *given.kw_defaults], scope)
    inner = Scope(node, scope)
    named = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
    for argument in named:
        if argument is not None:
            yield _use(argument, "arg", argument.arg, inner, True)
            yield from _under([argument.annotation], scope)
    yield from _under([getattr(node, "returns", None)], scope)
    yield from _under([*getattr(node, "type_params", ()), *body], inner)


def _comprehension(node: Comprehension, scope: Scope) -> Iterator[Use]:
    """Only the first iterable is read outside."""
    inner = Scope(node, scope)
    yield from _of(node.generators[0].iter, scope)
    for i, each in enumerate(node.generators):
        yield from _of(each.target, inner)
        yield from _under([each.iter] if i else [], inner)
        yield from _under(each.ifs, inner)
    parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
    yield from _under(parts, inner)


def _outside_comprehensions(scope: Scope) -> Scope:
    while isinstance(scope.node, Comprehension) and scope.parent is not None:
        scope = scope.parent
    return scope

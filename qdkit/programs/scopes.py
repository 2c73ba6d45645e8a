"""Python source as syntax trees, and the scope in which each name of a tree is bound."""

from __future__ import annotations

import ast
import re
import threading
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

FILENAME = "<program>"
_WARNINGS_LOCK = threading.Lock()  # the filters of `warnings` belong to the whole process

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp

# The most levels of `finally` within `finally`: the compiler copies each block twice, so that n
# levels take 2**n times the memory.
_MAX_FINALLY = 6


def parse_python(text: str) -> ast.Module:
    """Returns the syntax tree of a text, without running any of it.

    Raises SyntaxError or ValueError for a text that is not Python, RecursionError or MemoryError
    for one that is nested too deeply.
    """
    # Warnings about the code of a candidate do not concern the user.
    with _WARNINGS_LOCK, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=re.escape(FILENAME))
        return ast.parse(text, FILENAME)


def parse_or_none(text: str, *, compiles: bool = False) -> ast.Module | None:
    """Returns the syntax tree of a text, or None if it does not parse; never runs any of it.

    compiles: return None also for a text that parses but does not compile, such as `break` outside
      a loop, and for one that would take the compiler too long.
    """
    try:
        tree = parse_python(text)
        return None if compiles and compile_error(tree) is not None else tree
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def compile_error(tree: ast.Module) -> SyntaxError | None:
    """Returns the error with which a tree does not compile, None if it compiles.

    Raises RecursionError or MemoryError for a tree that is nested too deeply.
    """
    if _finally_depth(tree.body) > _MAX_FINALLY:
        return SyntaxError(f"more than {_MAX_FINALLY} times finally within finally")
    with _WARNINGS_LOCK, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=re.escape(FILENAME))
        try:
            compile(tree, FILENAME, "exec", dont_inherit=True)
        except SyntaxError as error:
            return error
    return None


def _finally_depth(body: list[ast.stmt]) -> int:
    """Returns the greatest number of `finally` blocks that are nested within each other."""
    deepest, waiting = 0, [(0, node) for node in body]
    while waiting:
        depth, node = waiting.pop()
        deepest = max(deepest, depth)
        for name in ("body", "orelse", "handlers", "cases", "finalbody"):
            inner = getattr(node, name, None)
            if isinstance(inner, list):
                waiting += [(depth + (name == "finalbody"), each) for each in inner]
    return deepest


@dataclass(eq=False)
class Scope:
    """A scope that binds names: a module, a class, a function or lambda, or a comprehension.

    bound: the names that it binds.
    elsewhere: name -> "global" or "nonlocal", for the names that it declares so.
    """

    node: ast.AST
    parent: Scope | None
    bound: set[str] = field(default_factory=set)
    elsewhere: dict[str, str] = field(default_factory=dict)

    @property
    def is_class(self) -> bool:
        """Whether it is a class, whose names are invisible to the functions in it."""
        return isinstance(self.node, ast.ClassDef)

    @property
    def outermost(self) -> Scope:
        """The top-level function or class of the module that contains this scope.

        For the module itself, the module.
        """
        return self if self.parent is None or self.parent.parent is None else self.parent.outermost

    def home(self, name: str) -> Scope | None:
        """Returns the scope that binds `name` as used here; None for a builtin or unbound name."""
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
    """One occurrence of a name: `field` of `node`, or its `entry`-th element if that is a list.

    scope: the scope in which the name occurs.
    binds: whether the name is bound here.
    """

    node: ast.AST
    field: str
    name: str
    scope: Scope
    binds: bool
    entry: int | None = None

    def rename(self, name: str) -> None:
        """Replaces the name in the tree."""
        if self.entry is None:
            setattr(self.node, self.field, name)
        else:
            getattr(self.node, self.field)[self.entry] = name


def name_uses(tree: ast.Module) -> list[tuple[Use, Scope | None]]:
    """Returns every occurrence of a name, with the scope that binds it; see `Scope.home`.

    Raises RecursionError for a tree nested too deeply.
    """
    top = Scope(tree, None)
    occurrences = list(_uses_in_all(tree.body, top))
    top.bound |= {
        use.name
        for use in occurrences
        if use.binds and use.scope.elsewhere.get(use.name) == "global"
    }
    # What each scope binds is known only after the whole tree was visited.
    return [(use, use.scope.home(use.name)) for use in occurrences]


def _uses_in_all(nodes: Iterable[ast.AST | None], scope: Scope) -> Iterator[Use]:
    for node in nodes:
        if node is not None:
            yield from _uses_in(node, scope)


def _uses_in(node: ast.AST, scope: Scope) -> Iterator[Use]:
    """Yields the occurrences of names in a node, and records in `scope` what it binds."""
    match node:
        case ast.Name():
            yield _use(node, "id", node.id, scope, not isinstance(node.ctx, ast.Load))
        case ast.NamedExpr():
            yield _use(node.target, "id", node.target.id, _outside_comprehensions(scope), True)
            yield from _uses_in(node.value, scope)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield _use(node, "name", node.name, scope, True)
            yield from _uses_in_all(node.decorator_list, scope)
            yield from _function(node, scope, node.body)
        case ast.Lambda():
            yield from _function(node, scope, [node.body])
        case ast.ClassDef():
            yield _use(node, "name", node.name, scope, True)
            yield from _uses_in_all([*node.decorator_list, *node.bases, *node.keywords], scope)
            inner = Scope(node, scope)
            yield from _uses_in_all([*getattr(node, "type_params", ()), *node.body], inner)
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
            yield from _uses_in_all(ast.iter_child_nodes(node), scope)


# The field that holds a name, for nodes that bind a name which is not a node itself.
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
    """Returns a `Use`, and records in `scope` that it binds the name."""
    if binds:
        scope.bound.add(name)
    return Use(node, field, name, scope, binds)


def _function(
    node: FunctionNode | ast.Lambda, scope: Scope, body: Iterable[ast.AST]
) -> Iterator[Use]:
    """Yields the uses in a function.

    Defaults and annotations belong to the scope outside, parameters and body inside.
    """
    arguments = node.args
    yield from _uses_in_all([*arguments.defaults, *arguments.kw_defaults], scope)
    inner = Scope(node, scope)
    parameters = [
        *(*arguments.posonlyargs, *arguments.args, arguments.vararg),
        *(*arguments.kwonlyargs, arguments.kwarg),
    ]
    for parameter in parameters:
        if parameter is not None:
            yield _use(parameter, "arg", parameter.arg, inner, True)
            yield from _uses_in_all([parameter.annotation], scope)
    yield from _uses_in_all([getattr(node, "returns", None)], scope)
    yield from _uses_in_all([*getattr(node, "type_params", ()), *body], inner)


def _comprehension(node: _Comprehension, scope: Scope) -> Iterator[Use]:
    """Yields the uses in a comprehension: only the first iterable is evaluated outside."""
    inner = Scope(node, scope)
    yield from _uses_in(node.generators[0].iter, scope)
    for i, each in enumerate(node.generators):
        yield from _uses_in(each.target, inner)
        yield from _uses_in_all([each.iter] if i else [], inner)
        yield from _uses_in_all(each.ifs, inner)
    parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
    yield from _uses_in_all(parts, inner)


def _outside_comprehensions(scope: Scope) -> Scope:
    while isinstance(scope.node, _Comprehension) and scope.parent is not None:
        scope = scope.parent
    return scope

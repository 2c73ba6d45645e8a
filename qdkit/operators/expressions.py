"""Small edits inside expressions: numbers moved, operators, calls and names swapped, parts put for one another."""

from __future__ import annotations

import ast
import math
import re

import numpy as np

from qdkit.names import Function

from .source import Edit, Source, pick

LARGE = 10**6  # a whole number beyond this is not made larger: it may be how often a loop runs
SYMBOLS: dict[type[ast.AST], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.And: "and",
    ast.Or: "or",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.In: "in",
    ast.NotIn: "not in",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.UAdd: "+",
    ast.USub: "-",
}
KINDS: tuple[tuple[type[ast.AST], ...], ...] = (
    *((ast.Add, ast.Sub, ast.Mult), (ast.Mult, ast.Div), (ast.FloorDiv, ast.Mod), (ast.And, ast.Or)),
    *((ast.BitAnd, ast.BitOr, ast.BitXor), (ast.Lt, ast.LtE, ast.Gt, ast.GtE), (ast.Eq, ast.NotEq)),
    *((ast.In, ast.NotIn), (ast.Is, ast.IsNot), (ast.UAdd, ast.USub)),
)
# Functions that take alike arguments; of each row, `math` and numpy have all or `math` has none.
ALIKE = (
    *("sin cos tanh", "exp sqrt log log1p", "floor ceil", "minimum maximum", "min max", "argmin argmax", "any all"),
    *("mean median", "sum prod", "cumsum cumprod", "zeros ones", "uniform normal", "random standard_normal"),
    *("sorted list", "fmod hypot", "linspace geomspace", "std var", "append appendleft", "pop popleft"),
)
PARTS = (ast.Name, ast.Constant, ast.BinOp, ast.UnaryOp, ast.Call, ast.Subscript, ast.Attribute, ast.Compare)


def numbers(source: Source, random: np.random.Generator, mate: Source) -> list[Edit]:
    """A number moved: whole ones by 1 or a tenth, others by a factor or by noise, at several scales."""
    node = pick(random, [node for node in source.nodes if isinstance(node, ast.Constant) and _is_number(node.value)])
    if node is None:
        return []
    value = node.value
    moved = _whole(value, random) if isinstance(value, int) else _real(float(value), random)  # type: ignore[arg-type]
    return [source.replaced(node, ast.Constant(moved), repr(moved))]


def operators(source: Source, random: np.random.Generator, mate: Source) -> list[Edit]:
    """An operator of the same kind: another sum, comparison, assignment, sign, or `or` for `and`."""
    sites = [site for node in source.nodes for site in _operated(node)]
    site = pick(random, sites)
    if site is None:
        return []
    old, start, stop = site
    new = pick(random, [kind for kinds in KINDS if old in kinds for kind in kinds if kind is not old])
    if new is None:
        return []
    low = source.span(start)[0] if start is stop else source.span(start)[1]
    high = source.span(stop)[1] if start is stop else source.span(stop)[0]
    symbol = re.escape(SYMBOLS[old]).replace(r"\ ", r"\s+").encode()
    found = re.match(rb"[\s)\\]*(" + symbol + rb")", source.bytes[low:high])
    return [Edit(low + found.start(1), low + found.end(1), SYMBOLS[new])] if found else []


def calls(source: Source, random: np.random.Generator, mate: Source) -> list[Edit]:
    """Another function called: one that is known to take alike arguments, or one of the program's with as many."""
    own = {node.name: len(node.args.args) for node in source.tree.body if isinstance(node, Function)}
    node = pick(random, [node for node in source.nodes if isinstance(node, ast.Call)])
    if node is None or not isinstance(node.func, ast.Name | ast.Attribute):
        return []
    name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
    others = [other for row in ALIKE if name in row.split() for other in row.split() if other != name]
    if isinstance(node.func, ast.Name) and name in own:
        here = getattr(source.function[node], "name", "")
        others = [other for other, n in own.items() if n == own[name] and other not in (name, here)]
    other = pick(random, others)
    stop = source.span(node.func)[1]
    return [] if other is None else [Edit(stop - len(name.encode()), stop, other)]


def names(source: Source, random: np.random.Generator, mate: Source) -> list[Edit]:
    """Another variable of the same scope that is bound by then."""
    changing = set(source.nodes)
    read = [(use, home) for use, home in source.uses if home is not None and not use.binds and use.node in changing]
    chosen = pick(random, read)
    if chosen is None:
        return []
    use, home = chosen
    line = use.node.lineno  # type: ignore[attr-defined]
    fixed = {(h, u.name) for u, h in source.uses if isinstance(u.node, Function | ast.ClassDef | ast.alias)}
    if (home, use.name) in fixed:
        return []
    known = [key[1] for key, first in source.bound.items() if key[0] is home and first < line and key not in fixed]
    other = pick(random, [name for name in known if name != use.name])
    return [] if other is None else [Edit(*source.span(use.node), other)]


def parts(source: Source, random: np.random.Generator, mate: Source) -> list[Edit]:
    """An expression in place of another of the same function."""
    able = [node for node in source.nodes if _is_part(source, node)]
    target = pick(random, able)
    if target is None:
        return []
    others = [node for node in able if source.function[node] is source.function[target] and node is not target]
    other = pick(random, others)
    return [] if other is None else [source.replaced(target, other, source.of(other))]


def hoisted(source: Source, random: np.random.Generator, mate: Source) -> list[Edit]:
    """One operand or argument in place of the whole expression."""
    able = [node for node in source.nodes if _is_part(source, node) and _is_part(source, source.parent[node])]
    inner = [node for node in able if not isinstance(source.parent[node], ast.Subscript | ast.Attribute)]
    node = pick(random, inner)
    return [] if node is None else [source.replaced(source.parent[node], node, source.of(node))]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _whole(value: int, random: np.random.Generator) -> int:
    step = max(1, value // 10) if random.random() < 0.5 else 1
    return value - step if value > LARGE or (value > 0 and random.random() < 0.5) else value + step


def _real(value: float, random: np.random.Generator) -> float:
    scale = float(random.choice([0.001, 0.01, 0.1, 0.5]))
    noise = scale * float(random.standard_normal())
    moved = value * math.exp(noise) if value and random.random() < 0.7 else value + noise
    return float(f"{moved:.12g}")


def _is_part(source: Source, node: ast.AST) -> bool:
    """Whether it is a value that another may stand for: not stored into, not what is called, no text."""
    parent = source.parent[node]
    if not isinstance(node, PARTS) or not isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
        return False
    called = isinstance(parent, ast.Call) and parent.func is node
    whole = isinstance(parent, ast.Expr | ast.Attribute | ast.match_case | ast.MatchValue)
    text = isinstance(node, ast.Constant) and not _is_number(node.value)
    return not (called or whole or text or node in getattr(parent, "decorator_list", ()))


def _operated(node: ast.AST) -> list[tuple[type[ast.AST], ast.AST, ast.AST]]:
    """The operators of a node, each with what stands before and after it; a sign is at the node's own start."""
    match node:
        case ast.BinOp(left=left, op=op, right=right) | ast.AugAssign(target=left, op=op, value=right):
            return [(type(op), left, right)]
        case ast.BoolOp(op=op, values=[first, second]):
            return [(type(op), first, second)]
        case ast.UnaryOp(op=op):
            return [(type(op), node, node)]
        case ast.Compare(left=left, ops=ops, comparators=others):
            pairs = zip([left, *others[:-1]], others, strict=True)
            return [(type(op), a, b) for op, (a, b) in zip(ops, pairs, strict=True)]
    return []

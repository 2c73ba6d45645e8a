"""Edits inside expressions: of numbers, operators, calls, variables and subexpressions.

Each edit takes a source, a random generator and a second program, `mate`, and returns a list of
edits of the text, which is empty if there is nothing to edit.
"""

from __future__ import annotations

import ast
import math
import re

import numpy as np

from qdkit.programs.scopes import FunctionNode

from .editable_source import Source, TextEdit, pick_one

# A whole number beyond this is not made larger: it may be the number of iterations of a loop.
_LARGE = 10**6
_SYMBOLS: dict[type[ast.AST], str] = {
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
# Operators that may replace one another.
_OPERATOR_KINDS: tuple[tuple[type[ast.AST], ...], ...] = (
    (ast.Add, ast.Sub, ast.Mult),
    (ast.Mult, ast.Div),
    (ast.FloorDiv, ast.Mod),
    (ast.And, ast.Or),
    (ast.BitAnd, ast.BitOr, ast.BitXor),
    (ast.Lt, ast.LtE, ast.Gt, ast.GtE),
    (ast.Eq, ast.NotEq),
    (ast.In, ast.NotIn),
    (ast.Is, ast.IsNot),
    (ast.UAdd, ast.USub),
)
# Functions with the same arguments. Of each row, `math` has all functions or none.
_FUNCTION_KINDS = (
    "sin cos tanh",
    "exp sqrt log log1p",
    "floor ceil",
    "minimum maximum",
    "min max",
    "argmin argmax",
    "any all",
    "mean median",
    "sum prod",
    "cumsum cumprod",
    "zeros ones",
    "uniform normal",
    "random standard_normal",
    "sorted list",
    "fmod hypot",
    "linspace geomspace",
    "std var",
    "append appendleft",
    "pop popleft",
)
_SUBEXPRESSIONS = (
    ast.Name,
    ast.Constant,
    ast.BinOp,
    ast.UnaryOp,
    ast.Call,
    ast.Subscript,
    ast.Attribute,
    ast.Compare,
)


def change_number(source: Source, random: np.random.Generator, mate: Source) -> list[TextEdit]:
    """Changes a number.

    Whole numbers change by 1 or a tenth, others by a factor or by noise, at several scales.
    """
    node = pick_one(
        random,
        [
            node
            for node in source.nodes
            if isinstance(node, ast.Constant) and _is_number(node.value)
        ],
    )
    if node is None:
        return []
    value = node.value
    if isinstance(value, int):
        new: int | float = _change_int(value, random)
    else:
        new = _change_float(float(value), random)  # type: ignore[arg-type]
    return [source.replacement(node, ast.Constant(new), repr(new))]


def change_operator(source: Source, random: np.random.Generator, mate: Source) -> list[TextEdit]:
    """Replaces an operator, also of a comparison or an assignment, by another of its kind."""
    sites = [site for node in source.nodes for site in _operators_of(node)]
    site = pick_one(random, sites)
    if site is None:
        return []
    old, start, stop = site
    kinds = [kind for kind in _OPERATOR_KINDS if old in kind]
    new = pick_one(random, [other for kind in kinds for other in kind if other is not old])
    if new is None:
        return []
    low = source.span(start)[0] if start is stop else source.span(start)[1]
    high = source.span(stop)[1] if start is stop else source.span(stop)[0]
    symbol = re.escape(_SYMBOLS[old]).replace(r"\ ", r"\s+").encode()
    match = re.match(rb"[\s)\\]*(" + symbol + rb")", source.bytes[low:high])
    return [TextEdit(low + match.start(1), low + match.end(1), _SYMBOLS[new])] if match else []


def change_call(source: Source, random: np.random.Generator, mate: Source) -> list[TextEdit]:
    """Calls another function.

    It is one that is known to take the same arguments, or a function of the program with as many.
    """
    own = {
        node.name: len(node.args.args)
        for node in source.tree.body
        if isinstance(node, FunctionNode)
    }
    node = pick_one(random, [node for node in source.nodes if isinstance(node, ast.Call)])
    if node is None or not isinstance(node.func, ast.Name | ast.Attribute):
        return []
    name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
    rows = [row.split() for row in _FUNCTION_KINDS]
    others = [other for row in rows if name in row for other in row if other != name]
    if isinstance(node.func, ast.Name) and name in own:
        here = getattr(source.function[node], "name", "")
        others = [
            other for other, n in own.items() if n == own[name] and other not in (name, here)
        ]
    other = pick_one(random, others)
    stop = source.span(node.func)[1]
    return [] if other is None else [TextEdit(stop - len(name.encode()), stop, other)]


def change_variable(source: Source, random: np.random.Generator, mate: Source) -> list[TextEdit]:
    """Reads another variable of the same scope that is bound on an earlier line."""
    editable = set(source.nodes)
    reads = [
        (use, home)
        for use, home in source.uses
        if home is not None and not use.binds and use.node in editable
    ]
    choice = pick_one(random, reads)
    if choice is None:
        return []
    use, home = choice
    line = use.node.lineno  # type: ignore[attr-defined]
    fixed = {
        (h, u.name)
        for u, h in source.uses
        if isinstance(u.node, FunctionNode | ast.ClassDef | ast.alias)
    }
    if (home, use.name) in fixed:
        return []
    known = [
        key[1]
        for key, first in source.bound.items()
        if key[0] is home and first < line and key not in fixed
    ]
    other = pick_one(random, [name for name in known if name != use.name])
    return [] if other is None else [TextEdit(*source.span(use.node), other)]


def replace_expression(
    source: Source, random: np.random.Generator, mate: Source
) -> list[TextEdit]:
    """Replaces an expression by a copy of another of the same function."""
    replaceable = [node for node in source.nodes if _is_replaceable(source, node)]
    target = pick_one(random, replaceable)
    if target is None:
        return []
    others = [
        node
        for node in replaceable
        if source.function[node] is source.function[target] and node is not target
    ]
    other = pick_one(random, others)
    return [] if other is None else [source.replacement(target, other, source.text_of(other))]


def hoist_operand(source: Source, random: np.random.Generator, mate: Source) -> list[TextEdit]:
    """Replaces an expression by one of its operands or arguments."""
    inner = [
        node
        for node in source.nodes
        if _is_replaceable(source, node)
        and _is_replaceable(source, source.parent[node])
        and not isinstance(source.parent[node], ast.Subscript | ast.Attribute)
    ]
    node = pick_one(random, inner)
    if node is None:
        return []
    return [source.replacement(source.parent[node], node, source.text_of(node))]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _change_int(value: int, random: np.random.Generator) -> int:
    step = max(1, value // 10) if random.random() < 0.5 else 1
    smaller = value > _LARGE or (value > 0 and random.random() < 0.5)
    return value - step if smaller else value + step


def _change_float(value: float, random: np.random.Generator) -> float:
    scale = float(random.choice([0.001, 0.01, 0.1, 0.5]))
    noise = scale * float(random.standard_normal())
    new = value * math.exp(noise) if value and random.random() < 0.7 else value + noise
    return float(f"{new:.12g}")


def _is_replaceable(source: Source, node: ast.AST) -> bool:
    """Returns whether a node is a value that another expression may replace.

    Targets of assignments, functions that are called, decorators, statements of their own and
    constants other than numbers are not.
    """
    parent = source.parent[node]
    context = getattr(node, "ctx", ast.Load())
    if not isinstance(node, _SUBEXPRESSIONS) or not isinstance(context, ast.Load):
        return False
    called = isinstance(parent, ast.Call) and parent.func is node
    fixed = isinstance(parent, ast.Expr | ast.Attribute | ast.match_case | ast.MatchValue)
    text = isinstance(node, ast.Constant) and not _is_number(node.value)
    return not (called or fixed or text or node in getattr(parent, "decorator_list", ()))


def _operators_of(node: ast.AST) -> list[tuple[type[ast.AST], ast.AST, ast.AST]]:
    """Returns the operators of a node, each with the nodes before and after it.

    For a sign, which stands at the start of its node, both are the node.
    """
    match node:
        case (
            ast.BinOp(left=left, op=op, right=right)
            | ast.AugAssign(target=left, op=op, value=right)
        ):
            return [(type(op), left, right)]
        case ast.BoolOp(op=op, values=[first, second]):
            return [(type(op), first, second)]
        case ast.UnaryOp(op=op):
            return [(type(op), node, node)]
        case ast.Compare(left=left, ops=ops, comparators=others):
            pairs = zip([left, *others[:-1]], others, strict=True)
            return [(type(op), a, b) for op, (a, b) in zip(ops, pairs, strict=True)]
    return []

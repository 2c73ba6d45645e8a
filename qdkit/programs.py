"""Programs as values: a mapping path -> text, of which one file is the case of one.

Between the marks `EVOLVE-BLOCK-START` and `EVOLVE-BLOCK-END`, each on a comment line of its own, a
program may change; what is outside them, its frame, may not. A file without marks may change as a
whole.

Programs of one `form` are the same but for their looks; `measures` are what can be counted in one.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator, Mapping, Sequence

from qdkit.names import Function, Scope, Use, parsed, uses

Files = Mapping[str, str]
MEASURES = ("lines", "characters", "nodes", "depth", "imports", "functions", "loops", "calls", "call_depth")

_MARKS = re.compile(r"^[ \t]*#[ \t]*EVOLVE-BLOCK-(START|END)\b.*$\n?", re.MULTILINE)


def blocks(text: str) -> list[slice]:
    """Where in `text` it may change: between each pair of marks, or everywhere if there are none.

    Raises ValueError for a mark without its partner.
    """
    marks = list(_MARKS.finditer(text))
    if not marks:
        return [slice(0, len(text))]
    if [mark[1] for mark in marks] != ["START", "END"] * (len(marks) // 2):
        raise ValueError("EVOLVE-BLOCK-START and EVOLVE-BLOCK-END come in pairs, the start first, and here they do not")
    return [slice(start.end(), end.start()) for start, end in zip(marks[::2], marks[1::2], strict=True)]


def frame(text: str) -> list[str]:
    """What must not change: the texts before, between and after the blocks, marks included."""
    ends = [0, *(edge for block in blocks(text) for edge in (block.start, block.stop)), len(text)]
    return [text[a:b] for a, b in zip(ends[::2], ends[1::2], strict=True)]


def refilled(text: str, contents: Sequence[str]) -> str:
    """`text` with these contents in its blocks, one each; a last line without its newline gets one."""
    outside = frame(text)
    ended = [c if not c or c.endswith("\n") or not outside[i + 1] else c + "\n" for i, c in enumerate(contents)]
    return "".join(part for pair in zip(outside, [*ended, ""], strict=True) for part in pair)


def changed_outside(before: Files, after: Files) -> str:
    """What of `before` is not as it has to be in `after`, in words; "" if only blocks have changed."""
    for path in sorted(before.keys() | after.keys()):
        if path not in after:
            return f"{path} is missing"
        if path not in before:
            return f"{path} is not one of the program's files"
        try:
            if frame(before[path]) != frame(after[path]):
                return f"{path} is changed outside its EVOLVE-BLOCK marks"
        except ValueError as error:
            return f"{path}: {error}"
    return ""


def form(files: Files) -> str:
    """What of a program counts: the same text for programs that differ in their looks alone.

    Formatting, comments, docstrings, `pass` and the names of variables do not count; names of
    imports, attributes, builtins and keyword arguments do, and so do names that a caller or another
    file may use: functions and classes of a module that no other of its functions uses, and whatever
    a class defines. A file that is not Python or does not parse counts as it is.
    """
    trees = {path: parsed(text) if path.endswith(".py") else None for path, text in files.items()}
    said = {word for tree in trees.values() if tree is not None for word in _said(tree)}
    texts = [f"# {path}\n{_form(trees[path], said) or files[path]}" for path in sorted(files)]
    return "\n".join(texts)


def measures(files: Files) -> dict[str, float]:
    """What can be counted in a program; all nan if one of its files ending in `.py` does not parse.

    Comments and docstrings aside: `lines` and `characters` of the code as `ast.unparse` writes it;
    `nodes` and `depth` of its trees; `imports`, `functions` and `loops`, comprehensions too; `calls`,
    the pairs of functions of which one calls the other by name; `call_depth`, how many calls lead
    from a function to the farthest one it reaches, by the shortest way.
    """
    texts = [files[path] for path in sorted(files) if path.endswith(".py")]
    trees = [parsed(text) for text in texts]
    if any(tree is None for tree in trees):
        return dict.fromkeys(MEASURES, math.nan)
    bare = [_bare(tree) for tree in trees if tree is not None]
    codes = [_written(tree, text) for tree, text in zip(bare, texts, strict=True)]
    nodes = [node for tree in bare for node in ast.walk(tree)]
    functions = [node for node in nodes if isinstance(node, Function)]
    calls = _calls(functions)
    counted = {
        "lines": sum(len(code.splitlines()) for code in codes),
        "characters": sum(map(len, codes)),
        "nodes": len(nodes),
        "depth": max(map(_depth, bare), default=0),
        "imports": sum(len(node.names) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)),
        "functions": len(functions),
        "loops": sum(isinstance(node, ast.For | ast.AsyncFor | ast.While | ast.comprehension) for node in nodes),
        "calls": sum(map(len, calls.values())),
        "call_depth": max((_reach(calls, name) for name in calls), default=0),
    }
    return {name: float(counted[name]) for name in MEASURES}


def _form(tree: ast.Module | None, said: set[str]) -> str:
    """The form of one file, "" if it has none; a name of a module or a parameter that is `said` elsewhere stays."""
    if tree is None:
        return ""
    try:
        found = uses(_bare(tree))
        names = _imported(tree, found)
        kept = _kept(found, said)
        for use, home in found:
            if home is not None and not home.is_class and (home, use.name) not in kept:
                use.rename(names.setdefault((home, use.name), f"${len(names)}"))
        return ast.dump(tree, annotate_fields=False)
    except (RecursionError, ValueError):  # nested too deeply; a number with too many digits to be written
        return ""


def _kept(found: Sequence[tuple[Use, Scope | None]], said: set[str]) -> set[tuple[Scope | None, str]]:
    """The names that count: those which something beyond their scope may use."""
    defined = {(home, use.name) for use, home in found if isinstance(use.node, Function | ast.ClassDef)}
    parameters = {(home, use.name) for use, home in found if isinstance(use.node, ast.arg)}
    read = set()
    for use, home in found:
        outer = use.scope.outermost
        inside_another = outer is not home and getattr(outer.node, "name", "") != use.name
        if not use.binds and ((home, use.name) not in defined or inside_another):
            read.add((home, use.name))
    of_module = {(home, use.name) for use, home in found if home is not None and home.parent is None}
    return {(home, name) for home, name in of_module | parameters if name in said} | (of_module - read)


def _imported(tree: ast.Module, found: Sequence[tuple[Use, Scope | None]]) -> dict[tuple[Scope | None, str], str]:
    """What the names stand for that only an import binds, so that `import numpy as np` may say `as xp`."""
    whence = {
        id(a): f"{'.' * x.level}{x.module or ''}:"
        for x in ast.walk(tree)
        if isinstance(x, ast.ImportFrom)
        for a in x.names
    }
    otherwise = {(home, use.name) for use, home in found if use.binds and not isinstance(use.node, ast.alias)}
    meant: dict[tuple[Scope | None, str], str] = {}
    for use, home in found:
        if isinstance(use.node, ast.alias) and (home, use.name) not in otherwise:
            whole = use.node.name if use.node.asname or id(use.node) in whence else use.name
            meant.setdefault((home, use.name), f"={whence.get(id(use.node), '')}{whole}")
    return meant


def _said(tree: ast.Module) -> Iterator[str]:
    """Names by which a program may mean a variable of another scope: attributes, keywords, imports, texts."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) | ast.keyword(arg=str(name)) | ast.Constant(value=str(name)):
                yield name
            case ast.ImportFrom():
                yield from (each.name for each in node.names)


def _bare(tree: ast.Module) -> ast.Module:
    """The tree without what does nothing: docstrings, other constants that are statements, and `pass`."""
    idle = lambda node: (
        isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    )
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            body = getattr(node, name, None)
            if isinstance(body, list):
                left = [each for each in body if not idle(each)]
                needed = name == "body" and not isinstance(node, ast.Module)
                setattr(node, name, left or ([ast.Pass()] if needed else []))
    return tree


def _written(tree: ast.Module, text: str) -> str:
    try:
        return ast.unparse(tree)
    except (RecursionError, ValueError):  # nested too deeply; quotes that Python 3.11 cannot write again
        return text


def _depth(tree: ast.AST) -> int:
    """How many nodes stand one inside the other."""
    level: list[ast.AST] = [tree]
    depth = 0
    while level:
        level, depth = [child for node in level for child in ast.iter_child_nodes(node)], depth + 1
    return depth


def _calls(functions: Sequence[Function]) -> dict[str, set[str]]:
    """Of each function, by name, those that it calls by name or as a method."""
    called: dict[str, set[str]] = {function.name: set() for function in functions}
    for function in functions:
        for node in ast.walk(function):
            match node:
                case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name, value=ast.Name(id="self"))) if (
                    name in called
                ):
                    called[function.name].add(name)
    return called


def _reach(calls: Mapping[str, set[str]], start: str) -> int:
    """The number of calls from `start` to the function that is farthest from it."""
    seen, level, steps = {start}, {start}, 0
    while level := {name for caller in level for name in calls[caller]} - seen:
        seen, steps = seen | level, steps + 1
    return steps

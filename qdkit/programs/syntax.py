"""Programs as values: a mapping path -> text, with one file or more.

A program may change between the marks `EVOLVE-BLOCK-START` and `EVOLVE-BLOCK-END`, each on a
comment line of its own (see `qdkit.programs.marks`). The text outside of them, its frame, may not
change. A file without marks may change anywhere.

Programs with the same `form` differ only in style; `measures` counts properties of a program.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Mapping, Sequence

from qdkit.programs.call_graph import call_depth, calls_by_function
from qdkit.programs.frames import frame_damage
from qdkit.programs.marks import blocks
from qdkit.programs.scopes import FunctionNode, Scope, Use, name_uses, parse_or_none

Files = Mapping[str, str]
PROGRAM_MEASURES = (
    "lines",
    "characters",
    "nodes",
    "depth",
    "imports",
    "functions",
    "loops",
    "calls",
    "call_depth",
)

# Characters of a program, all files together, unless it began as a longer one.
MAX_PROGRAM_CHARACTERS = 200_000


def frame_texts(text: str, path: str = "") -> list[str]:
    """Returns the frame: the texts before, between and after the blocks, marks included."""
    edges = [edge for block in blocks(text, path) for edge in (block.start, block.stop)]
    ends = [0, *edges, len(text)]
    return [text[a:b] for a, b in zip(ends[::2], ends[1::2], strict=True)]


def fill_blocks(text: str, contents: Sequence[str], path: str = "") -> str:
    """Returns `text` with these contents in its blocks, one for each block.

    A content that is not empty gets a newline before a mark if it ends without one.
    """
    outside = frame_texts(text, path)
    ended = [
        c if not c or c.endswith(("\n", "\r")) or not outside[i + 1] else c + "\n"
        for i, c in enumerate(contents)
    ]
    return "".join(part for pair in zip(outside, [*ended, ""], strict=True) for part in pair)


def changed_outside(before: Files, after: Files) -> str:
    """Returns what differs between two programs outside of blocks, in words; "" if nothing.

    The frame has to be the same to the character, and it has to be the same code: no block may
    comment it out or put it into a string.
    """
    for path in sorted(before.keys() | after.keys()):
        if path not in after:
            return f"{path} is missing"
        if path not in before:
            return f"{path} is not one of the program's files"
        if before[path] == after[path]:
            continue
        try:
            if frame_texts(before[path], path) != frame_texts(after[path], path):
                return f"{path} is changed outside its EVOLVE-BLOCK marks"
            damage = frame_damage(path, before[path], after[path])
        except ValueError as error:
            return f"{path}: {error}"
        if damage:
            return f"{path}: {damage}"
    return ""


def too_long(files: Files, start: Files) -> str:
    """Returns why a program is too long, "" if it is not.

    start: the program that the search began with.
    """
    length, length_at_start = (sum(map(len, each.values())) for each in (files, start))
    most = max(MAX_PROGRAM_CHARACTERS, 2 * length_at_start)
    if length <= most:
        return ""
    return f"the program has {length:,} characters, and {most:,} are allowed"


def form(files: Files) -> str:
    """Returns a normal form of a program: the same text for programs that differ only in style.

    Formatting, comments, docstrings, `pass` and the names of variables do not matter. Names of
    imports, attributes, builtins and keyword arguments do, and so do names that a caller or
    another file may use: functions and classes of a module that no other of its functions uses,
    and everything that a class defines. A file that is not Python or does not parse is taken as it
    is.
    """
    trees = {
        path: parse_or_none(text) if path.endswith(".py") else None for path, text in files.items()
    }
    mentioned = {
        name for tree in trees.values() if tree is not None for name in _mentioned_names(tree)
    }
    texts = [
        f"# {path}\n{_normal_form(trees[path], mentioned) or files[path]}"
        for path in sorted(files)
    ]
    return "\n".join(texts)


def measures(files: Files) -> dict[str, float]:
    """Returns counts of properties of a program; all nan if one of its `.py` files does not parse.

    Comments and docstrings are left out. The counts are `lines` and `characters` of the code as
    `ast.unparse` writes it; `nodes` and `depth` of its trees; `imports`, `functions` and `loops`
    (comprehensions included); `calls`, the pairs of functions of which one calls the other by
    name; and `call_depth`, the length of the shortest path of calls from a function to the
    farthest one that it reaches. In a program with very many functions `call_depth` uses the
    longest path (see `qdkit.programs.call_graph`).
    """
    texts = [files[path] for path in sorted(files) if path.endswith(".py")]
    trees = [parse_or_none(text) for text in texts]
    if any(tree is None for tree in trees):
        return dict.fromkeys(PROGRAM_MEASURES, math.nan)
    bare = [_bare(tree) for tree in trees if tree is not None]
    codes = [_unparsed(tree, text) for tree, text in zip(bare, texts, strict=True)]
    nodes = [node for tree in bare for node in ast.walk(tree)]
    calls = calls_by_function(bare)
    counted = {
        "lines": sum(len(code.splitlines()) for code in codes),
        "characters": sum(map(len, codes)),
        "nodes": len(nodes),
        "depth": max(map(_tree_depth, bare), default=0),
        "imports": sum(
            len(node.names) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)
        ),
        "functions": sum(isinstance(node, FunctionNode) for node in nodes),
        "loops": sum(
            isinstance(node, ast.For | ast.AsyncFor | ast.While | ast.comprehension)
            for node in nodes
        ),
        "calls": sum(map(len, calls.values())),
        "call_depth": call_depth(calls),
    }
    return {name: float(counted[name]) for name in PROGRAM_MEASURES}


_Uses = Sequence[tuple[Use, Scope | None]]
_ScopedName = tuple[Scope | None, str]


def _normal_form(tree: ast.Module | None, mentioned: set[str]) -> str:
    """Returns the form of one file, "" if it has none.

    mentioned: names of a module or of parameters that must stay, see `_mentioned_names`.
    """
    if tree is None:
        return ""
    try:
        uses = name_uses(_bare(tree))
        names = _imported_names(tree, uses)
        fixed = _fixed_names(uses, mentioned)
        for use, home in uses:
            if home is not None and not home.is_class and (home, use.name) not in fixed:
                use.rename(names.setdefault((home, use.name), f"${len(names)}"))
        return ast.dump(tree, annotate_fields=False)
    except (RecursionError, MemoryError, ValueError):
        # It is nested too deeply, or has a number with too many digits to be written.
        return ""


def _fixed_names(uses: _Uses, mentioned: set[str]) -> set[_ScopedName]:
    """Returns the names that matter: those that code outside of their scope may use."""
    defined = {
        (home, use.name) for use, home in uses if isinstance(use.node, FunctionNode | ast.ClassDef)
    }
    parameters = {(home, use.name) for use, home in uses if isinstance(use.node, ast.arg)}
    used = set()
    for use, home in uses:
        outer = use.scope.outermost
        inside_another = outer is not home and getattr(outer.node, "name", "") != use.name
        if not use.binds and ((home, use.name) not in defined or inside_another):
            used.add((home, use.name))
    of_module = {
        (home, use.name) for use, home in uses if home is not None and home.parent is None
    }
    by_mention = {(home, name) for home, name in of_module | parameters if name in mentioned}
    return by_mention | (of_module - used)


def _imported_names(tree: ast.Module, uses: _Uses) -> dict[_ScopedName, str]:
    """Returns what each name stands for that only imports bind.

    With it, `import numpy as np` and `import numpy as xp` have the same form.
    """
    sources = {
        id(alias): f"{'.' * node.level}{node.module or ''}:"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    bound_otherwise = {
        (home, use.name) for use, home in uses if use.binds and not isinstance(use.node, ast.alias)
    }
    meanings: dict[_ScopedName, str] = {}
    for use, home in uses:
        if isinstance(use.node, ast.alias) and (home, use.name) not in bound_otherwise:
            full = use.node.name if use.node.asname or id(use.node) in sources else use.name
            meanings.setdefault((home, use.name), f"={sources.get(id(use.node), '')}{full}")
    return meanings


def _mentioned_names(tree: ast.Module) -> Iterator[str]:
    """Yields names that may refer to a variable of another scope.

    These are attributes, keyword arguments, imported names and strings.
    """
    for node in ast.walk(tree):
        match node:
            case (
                ast.Attribute(attr=name)
                | ast.keyword(arg=str(name))
                | ast.Constant(value=str(name))
            ):
                yield name
            case ast.ImportFrom():
                yield from (each.name for each in node.names)


def _bare(tree: ast.Module) -> ast.Module:
    """Removes statements without effect (docstrings, constants, `pass`); returns the tree."""
    idle = lambda node: (
        isinstance(node, ast.Pass)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    )
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            body = getattr(node, name, None)
            if isinstance(body, list):
                left = [each for each in body if not idle(each)]
                needed = name == "body" and not isinstance(node, ast.Module)
                setattr(node, name, left or ([ast.Pass()] if needed else []))
    return tree


def _unparsed(tree: ast.Module, text: str) -> str:
    """Returns the code of a tree, or `text` if the code cannot be written."""
    try:
        return ast.unparse(tree)
    except (RecursionError, MemoryError, ValueError):
        # It is nested too deeply, or has quotes that Python 3.11 cannot write.
        return text


def _tree_depth(tree: ast.AST) -> int:
    """Returns the number of levels of a tree."""
    level: list[ast.AST] = [tree]
    levels = 0
    while level:
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        levels += 1
    return levels

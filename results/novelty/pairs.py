"""Pairs of programs of which it is known whether they are the same.

What is the same is made so by steps that cannot change what a program does: written anew by
`ast.unparse`, with comments and docstrings put in, with variables called otherwise, with a
variable that nobody reads, with the operands of a product or sum of numbers swapped. What is
different has a number moved, a few edits of its tree, another lineage, or another algorithm under
the same names. Nothing here uses `qdkit.programs.syntax.form`, which is what is being measured,
but for the operator that makes the edits, which uses it to be sure that something has changed.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from qdkit.core.types import Batch, Context, Proposal
from qdkit.operators import Syntax

SEEDS = sorted((Path(__file__).parents[2] / "domains").glob("**/seed.py"))
SAME = (
    "reformatted",
    "commented",
    "renamed",
    "all three",
    "an idle statement",
    "operands swapped",
)
OTHER = (
    "one number moved",
    "one edit",
    "three edits",
    "later in its lineage",
    "same names, other algorithm",
    "another",
)


class Pair(NamedTuple):
    """Two programs and how the second was made from the first."""

    kind: str
    one: str
    other: str


def programs(steps: int, seed: int) -> dict[str, list[str]]:
    """Returns each seed program, and the results of `steps` steps of up to three edits."""
    lineages: dict[str, list[str]] = {}
    for i, path in enumerate(SEEDS):
        texts = [path.read_text(encoding="utf-8")]
        for step in range(steps):
            texts.append(edited(texts[-1], 3, 1000 * seed + 100 * i + step))
        lineages[path.parent.name] = texts
    return lineages


def pairs(steps: int = 8, seed: int = 0) -> Iterator[Pair]:
    """Yields every kind of pair of every program."""
    lineages = programs(steps, seed)
    names = list(lineages)
    for i, texts in enumerate(lineages.values()):
        for j, text in enumerate(texts):
            random = np.random.default_rng([seed, i, j])
            yield Pair("reformatted", text, ast.unparse(ast.parse(text)))
            yield Pair("commented", text, commented(text, random))
            yield Pair(
                "renamed",
                text,
                renamed(text, [f"{'xyzuvw'[k % 6]}_{k}" for k in random.permutation(60)]),
            )
            yield Pair(
                "all three",
                text,
                commented(renamed(text, [f"var{k}" for k in random.permutation(60)]), random),
            )
            yield Pair("an idle statement", text, idle(text, random))
            if (swapped := operands_swapped(text, random)) is not None:
                yield Pair("operands swapped", text, swapped)
            if (moved := number_moved(text, random)) is not None:
                yield Pair("one number moved", text, moved)
            yield Pair("one edit", text, edited(text, 1, int(random.integers(1 << 30))))
            yield Pair("three edits", text, edited(text, 3, int(random.integers(1 << 30))))
            if j + 4 < len(texts):
                yield Pair("later in its lineage", text, texts[j + 4])
            other = lineages[names[(i + 1 + j % (len(names) - 1)) % len(names)]][j]
            yield Pair("same names, other algorithm", text, renamed(other, variables(text)))
            yield Pair("another", text, other)


def edited(text: str, changes: int, seed: int) -> str:
    """Returns a child of the program with up to `changes` edits of its tree.

    The program without its marks changes anywhere.
    """
    parent = Batch.unevaluated(Proposal.of([{"seed.py": text}] * 2, "seed"))
    made = Syntax(changes).propose(jax.random.key(seed), Context(parent), 1)
    return str(made.genome[0]["seed.py"])


def variables(text: str) -> list[str]:
    """Returns the names that its functions bind, in order; they may be renamed."""
    tree, found = ast.parse(text), {}
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                match node:
                    case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                        found[name] = None
    said = {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword)}
    return [name for name in found if name not in said]


def renamed(text: str, names: list[str]) -> str:
    """Returns the program with its variables called by these names, as far as they are free.

    Comments go on the way.
    """
    tree, mine = ast.parse(text), variables(text)
    taken = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - set(mine) | set(
        dir(builtins)
    )
    free = (
        name
        for name in dict.fromkeys([*names, *(f"v{k}" for k in range(100))])
        if name not in taken
    )
    called = dict(zip(mine, free, strict=False))
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) if name in called:
                node.id = called[name]
            case ast.arg(arg=name) if name in called:
                node.arg = called[name]
    return ast.unparse(tree)


def commented(text: str, random: np.random.Generator) -> str:
    """Returns the program with comments at ends of lines, empty lines, and docstrings."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.body.insert(
                0, ast.Expr(ast.Constant(f"Another way to say it, the {random.integers(100)}th."))
            )
    lines = []
    for line in ast.unparse(tree).splitlines():
        inside = line.count('"""') or not line.strip()
        lines.append(
            line if inside or random.random() < 0.6 else f"{line}  # step {random.integers(1000)}"
        )
        if random.random() < 0.2 and not inside:
            lines.append("")
    return "\n".join(lines) + "\n"


def idle(text: str, random: np.random.Generator) -> str:
    """Returns the program with a variable that is never read."""
    tree = ast.parse(text)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    body = functions[random.integers(len(functions))].body
    body.insert(
        int(random.integers(len(body))),
        ast.parse(f"unused_{random.integers(100)} = {random.integers(9)}").body[0],
    )
    return ast.unparse(tree)


def operands_swapped(text: str, random: np.random.Generator) -> str | None:
    """Returns the program with a product or sum of a number in the other order.

    None if there is none.
    """
    tree = ast.parse(text)
    number = lambda node: isinstance(node, ast.Constant) and type(node.value) in (int, float)
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Add | ast.Mult)
        and number(node.left) != number(node.right)
    ]
    if not found:
        return None
    node = found[random.integers(len(found))]
    node.left, node.right = node.right, node.left
    return ast.unparse(tree)


def number_moved(text: str, random: np.random.Generator) -> str | None:
    """Returns the program with one of its numbers a little larger; None if it has none."""
    tree = ast.parse(text)
    found = [
        n for n in ast.walk(tree) if isinstance(n, ast.Constant) and type(n.value) in (int, float)
    ]
    if not found:
        return None
    node = found[random.integers(len(found))]
    node.value = node.value + 1 if isinstance(node.value, int) else float(node.value * 1.1 + 0.01)
    return ast.unparse(tree)

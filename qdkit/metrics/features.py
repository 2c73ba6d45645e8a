"""Features of a genome without a model, from which `qdkit.metrics` measures similarity.

Texts become counts of short runs of characters, programs counts of short runs of the tokens of
their syntax trees, and numbers are scaled by their spread. `program_outline` returns what is left
of a program when formulas and names do not count. No part of a genome is ever run.
"""

from __future__ import annotations

import ast
import builtins
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from qdkit.core.jsonable import to_json
from qdkit.core.types import Genomes
from qdkit.programs.scopes import FunctionNode, parse_or_none

WIDTH = 1024  # columns: the error of the cosine of two rows is about 1/√WIDTH
_CHARACTERS, _TOKENS = (3, 4, 5), (2, 3, 4)  # the lengths of the runs
_ROUNDING = 1e-12  # a smaller spread, as a share of the greatest value, counts as none
MOST_SPREADS = 1e6  # the greatest distance from the mean, in spreads
_BUILTINS = frozenset(dir(builtins))

_Branch = ast.If | ast.IfExp | ast.Match | ast.Try | ast.TryStar | ast.With | ast.AsyncWith
_Loop = ast.For | ast.AsyncFor | ast.While | ast.comprehension
_Structure = FunctionNode | ast.ClassDef | ast.Lambda | ast.Call | _Branch | _Loop


def genome_features(genomes: Genomes, like: np.ndarray | None = None) -> np.ndarray:
    """Returns a row of features for each genome, float `[n, f]`; no row is zero but for numbers.

    Numbers are `standardised`, for distances (`metrics.rbf`). Everything else becomes `grams`, for
    angles (`metrics.cosine`): programs by their tokens, bytes and other JSON values by their
    characters.

    like: the numbers whose spread is the unit, if not that of the genomes themselves.
    """
    if isinstance(genomes, np.ndarray):
        return standardised(genomes, genomes if like is None else like)
    return _count_runs(_codes(genome) for genome in genomes)


def grams(texts: Iterable[str]) -> np.ndarray:
    """Returns the hashed runs of 3 to 5 characters in each text, float32 `[n, 1024]`.

    The cosine of two rows is about |A∩B|/√(|A||B|) over the sets of runs. Spaces and case do not
    count. A run is hashed to a column and a sign, so that runs in the same column cancel on
    average (Weinberger et al. 2009). No row is zero.
    """
    return _count_runs(_codes(text) for text in texts)


def standardised(numbers: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Returns numbers `[n, ...]` in units of the spread of `like`, float64 `[n, d]`.

    In these units two rows of `like` are √2 apart in the root mean square. The mean of `like` is
    subtracted from each coordinate, and the difference is divided by the spread of `like`; where
    there is no spread, by its greatest value. A number that is not finite counts as the mean, and
    no number is farther from the mean than `MOST_SPREADS`.
    """
    rows, reference = (
        np.asarray(x, np.float64).reshape(len(x), math.prod(x.shape[1:])) for x in (numbers, like)
    )
    known = np.isfinite(reference)
    most = np.abs(np.where(known, reference, 0)).max(0, initial=0)
    most[most == 0] = 1
    scaled = np.where(known, reference / most, 0)  # at most 1, so that no square overflows
    count = np.maximum(1, known.sum(0))
    mean = scaled.sum(0) / count
    spread = np.sqrt((np.where(known, scaled - mean, 0) ** 2).sum(0) / count)
    with np.errstate(over="ignore"):
        z = (rows / most - mean) / np.where(spread > _ROUNDING, spread, 1)
    z = np.clip(np.where(np.isfinite(rows), z, 0), -MOST_SPREADS, MOST_SPREADS)
    return z / math.sqrt(max(1, rows.shape[1]))


def is_program(genome: Any) -> bool:
    """Returns whether a genome is a program: a mapping path -> text."""
    return isinstance(genome, Mapping) and all(isinstance(text, str) for text in genome.values())


def tokens(files: Mapping[str, str]) -> list[str]:
    """Returns the tokens of the syntax trees of a program, in the order of the text.

    They are the kinds of nodes, builtins, attributes, imports and constants. Formatting, comments,
    docstrings, `pass` and the names of variables do not count, as in `programs.syntax.form`; but
    here a new variable changes no other, and the tree is walked once. A file that is not Python or
    does not parse counts as its words and signs.
    """
    return [token for path in sorted(files) for _, token, _ in _nodes(path, files[path])]


def program_outline(files: Mapping[str, str]) -> str:
    """Returns the loops, branches, functions and calls of a program, nested.

    Programs of the same algorithm have the same outline, as far as that can be judged without
    running them: a call counts by the builtin or attribute that is called, and formulas, constants
    and names do not count. A file that is not Python or does not parse counts as it is.
    """
    lines = []
    for path in sorted(files):
        nodes = _nodes(path, files[path])
        lines.append(f"# {path}")
        lines += [f"{depth} {token}" for depth, token, is_structure in nodes if is_structure]
    return "\n".join(lines)


def _nodes(path: str, text: str) -> Iterator[tuple[int, str, bool]]:
    """Yields (depth in the structure, token, whether it is structure) of each node of a file."""
    tree = parse_or_none(text) if path.endswith(".py") else None
    if tree is None:
        yield from ((0, word, True) for word in re.findall(r"\w+|[^\w\s]", text))
        return
    stack: list[tuple[int, ast.AST]] = [(0, tree)]
    while stack:
        depth, node = stack.pop()
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if docstring or isinstance(node, ast.Pass | ast.expr_context):
            continue
        is_structure = isinstance(node, _Structure)
        yield depth, _token(node), is_structure
        stack += [(depth + is_structure, child) for child in ast.iter_child_nodes(node)][::-1]


def _token(node: ast.AST) -> str:
    """Returns what counts of a node: a name, a constant or its kind."""
    match node:
        case ast.Name(id=name):
            return name if name in _BUILTINS else "$"
        case ast.Call(func=ast.Name(id=name)) if name in _BUILTINS:
            return f"call {name}"
        case ast.Call(func=ast.Attribute(attr=name)):
            return f"call .{name}"
        case ast.Attribute(attr=name) | ast.alias(name=name):
            return f".{name}"
        case ast.Constant(value=int(value)):
            return f"{value:x}"  # Python refuses to write a number of many digits as decimal
        case ast.Constant(value=value):
            return repr(value)
    return type(node).__name__


def _codes(genome: Any) -> tuple[np.ndarray, Sequence[int]]:
    """Returns a number for each character or token of a genome, and the lengths of its runs."""
    if is_program(genome):
        words = [zlib.crc32(token.encode("utf-8", "surrogatepass")) for token in tokens(genome)]
        return np.array(words, np.uint64), _TOKENS
    if isinstance(genome, bytes):
        genome = genome.decode("latin-1")
    text = genome if isinstance(genome, str) else to_json(genome)
    spaced = f" {' '.join(text.lower().split())} ".encode("utf-32-le", "surrogatepass")
    return np.frombuffer(spaced, "<u4").astype(np.uint64), _CHARACTERS


def _count_runs(coded: Iterable[tuple[np.ndarray, Sequence[int]]]) -> np.ndarray:
    """Returns the signed counts of the different runs of each row, float32 `[n, WIDTH]`."""
    rows = []
    for codes, lengths in coded:
        runs = np.unique(_runs(codes, lengths))
        sign = 1.0 - 2.0 * (runs >> np.uint64(63))
        row = np.bincount((runs % np.uint64(WIDTH)).astype(int), sign, WIDTH)
        row[0] += not row.any()  # the runs of a short text may all cancel
        rows.append(row.astype(np.float32))
    return np.array(rows, np.float32).reshape(-1, WIDTH)


def _runs(codes: np.ndarray, lengths: Sequence[int]) -> np.ndarray:
    """Returns a hash of each run of these lengths, uint64; the same on every machine."""
    codes = _mix_bits(np.pad(codes, (0, max(0, lengths[0] - len(codes)))))
    hashes, runs = np.zeros(len(codes), np.uint64), []
    for length in range(1, min(lengths[-1], len(codes)) + 1):
        hashes = _mix_bits(hashes[: len(codes) - length + 1] + codes[length - 1 :])
        if length in lengths:
            runs.append(hashes)
    return np.concatenate(runs)


def _mix_bits(x: np.ndarray) -> np.ndarray:
    """Returns a hash in which every bit depends on every bit of `x`.

    The finaliser of SplitMix64, Steele et al. 2014.
    """
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))

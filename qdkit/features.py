"""What a genome looks like in numbers, with no model: from which `qdkit.metrics` tell how alike genomes are.

Texts become counts of their short runs of characters, programs of the short runs of what stands in
their syntax trees, numbers themselves in units of their spread. `outline` says of a program what
remains when another formula or another name makes no difference. Nothing of a genome is ever run.
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

from qdkit.names import Function, parsed
from qdkit.plain import to_json
from qdkit.types import Genomes

WIDTH = 1024  # columns: the cosine of two rows misses that of their runs by about 1/√WIDTH
CHARACTERS, TOKENS = (3, 4, 5), (2, 3, 4)  # the lengths of the runs
ROUNDING, FAR = 1e-12, 1e6  # a spread that is none, as a share of the greatest value; a distance in spreads
BUILTINS = frozenset(dir(builtins))

Branch = ast.If | ast.IfExp | ast.Match | ast.Try | ast.TryStar | ast.With | ast.AsyncWith
Loop = ast.For | ast.AsyncFor | ast.While | ast.comprehension
Structure = Function | ast.ClassDef | ast.Lambda | ast.Call | Branch | Loop


def genome_features(genomes: Genomes, like: np.ndarray | None = None) -> np.ndarray:
    """float `[n, f]`: a row for each genome, never zero but for numbers.

    Numbers come as `standardised`, for distances (`metrics.rbf`); everything else as `grams`, for angles
    (`metrics.cosine`): programs by their tokens, bytes and other JSON values by their characters.

    like: the numbers whose spread is the unit, if not that of the genomes themselves.
    """
    if isinstance(genomes, np.ndarray):
        return standardised(genomes, genomes if like is None else like)
    return _counted(_codes(genome) for genome in genomes)


def grams(texts: Iterable[str]) -> np.ndarray:
    """float32 `[n, 1024]`: which runs of 3 to 5 characters are in each text, hashed; no row is zero.

    The cosine of two rows is about |A∩B|/√(|A||B|) over the sets of runs. Spaces and case do not count. A run is
    hashed to a column and a sign, so that those which share a column cancel on average (Weinberger et al. 2009).
    """
    return _counted(_codes(text) for text in texts)


def standardised(numbers: np.ndarray, like: np.ndarray) -> np.ndarray:
    """float64 `[n, d]`: numbers `[n, ...]` in units in which two rows of `like` are √2 apart in the root mean square.

    Each coordinate is counted from its mean in `like` and divided by its spread there; one without spread, by its
    greatest value. A number that is not finite tells nothing and stands at the mean; none is farther off than `FAR`.
    """
    rows, given = (np.asarray(x, np.float64).reshape(len(x), math.prod(x.shape[1:])) for x in (numbers, like))
    known = np.isfinite(given)
    most = np.abs(np.where(known, given, 0)).max(0, initial=0)
    most[most == 0] = 1
    scaled, count = np.where(known, given / most, 0), np.maximum(1, known.sum(0))  # at most 1: no square overflows
    mean = scaled.sum(0) / count
    spread = np.sqrt((np.where(known, scaled - mean, 0) ** 2).sum(0) / count)
    with np.errstate(over="ignore"):
        place = (rows / most - mean) / np.where(spread > ROUNDING, spread, 1)
    return np.clip(np.where(np.isfinite(rows), place, 0), -FAR, FAR) / math.sqrt(max(1, rows.shape[1]))


def is_program(genome: Any) -> bool:
    """Whether a genome is a program: a mapping path -> text."""
    return isinstance(genome, Mapping) and all(isinstance(text, str) for text in genome.values())


def tokens(files: Mapping[str, str]) -> list[str]:
    """What stands in the trees of a program, in the order of the text.

    Kinds of nodes, builtins, attributes, imports and constants. Formatting, comments, docstrings, `pass` and the names
    of variables do not count, as in `programs.form`; but here a new variable changes no other, and the tree is walked
    once. A file that is not Python or does not parse counts as its words and signs.
    """
    return [token for path in sorted(files) for _, token, _ in _file(path, files[path])]


def outline(files: Mapping[str, str]) -> str:
    """A program's loops, branches, functions and calls, one inside the other; the same text for the same algorithm.

    As far as that can be said without running it: a call counts by the builtin or attribute that is called, and
    formulas, constants and names do not. A file that is not Python or does not parse counts as it is.
    """
    lines = []
    for path in sorted(files):
        lines += [f"# {path}", *(f"{depth} {token}" for depth, token, shown in _file(path, files[path]) if shown)]
    return "\n".join(lines)


def _file(path: str, text: str) -> Iterator[tuple[int, str, bool]]:
    """(how deep in structure, token, whether it is structure) of each node of a file."""
    tree = parsed(text) if path.endswith(".py") else None
    if tree is None:
        yield from ((0, word, True) for word in re.findall(r"\w+|[^\w\s]", text))
        return
    waiting: list[tuple[int, ast.AST]] = [(0, tree)]
    while waiting:
        depth, node = waiting.pop()
        if isinstance(node, ast.Pass | ast.expr_context) or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        ):
            continue
        shown = isinstance(node, Structure)
        yield depth, _token(node), shown
        waiting += [(depth + shown, child) for child in ast.iter_child_nodes(node)][::-1]


def _token(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name):
            return name if name in BUILTINS else "$"
        case ast.Call(func=ast.Name(id=name)) if name in BUILTINS:
            return f"call {name}"
        case ast.Call(func=ast.Attribute(attr=name)):
            return f"call .{name}"
        case ast.Attribute(attr=name) | ast.alias(name=name):
            return f".{name}"
        case ast.Constant(value=int(value)):
            return f"{value:x}"  # decimal refuses numbers of many digits
        case ast.Constant(value=value):
            return repr(value)
    return type(node).__name__


def _codes(genome: Any) -> tuple[np.ndarray, Sequence[int]]:
    """A number for each character or token of a genome, and the lengths of runs to look at."""
    if is_program(genome):
        words = [zlib.crc32(token.encode("utf-8", "surrogatepass")) for token in tokens(genome)]
        return np.array(words, np.uint64), TOKENS
    if isinstance(genome, bytes):
        genome = genome.decode("latin-1")
    text = genome if isinstance(genome, str) else to_json(genome)
    spaced = f" {' '.join(text.lower().split())} ".encode("utf-32-le", "surrogatepass")
    return np.frombuffer(spaced, "<u4").astype(np.uint64), CHARACTERS


def _counted(coded: Iterable[tuple[np.ndarray, Sequence[int]]]) -> np.ndarray:
    """float32 `[n, WIDTH]`: the signed count of the runs of each, every run once."""
    rows = []
    for codes, lengths in coded:
        runs = np.unique(_runs(codes, lengths))
        sign = 1.0 - 2.0 * (runs >> np.uint64(63))
        row = np.bincount((runs % np.uint64(WIDTH)).astype(int), sign, WIDTH)
        row[0] += not row.any()  # the runs of a short one may all cancel
        rows.append(row.astype(np.float32))
    return np.array(rows, np.float32).reshape(-1, WIDTH)


def _runs(codes: np.ndarray, lengths: Sequence[int]) -> np.ndarray:
    """uint64: a hash of each run of these lengths; the same on every machine."""
    codes = _mixed(np.pad(codes, (0, max(0, lengths[0] - len(codes)))))
    hashed, found = np.zeros(len(codes), np.uint64), []
    for length in range(1, min(lengths[-1], len(codes)) + 1):
        hashed = _mixed(hashed[: len(codes) - length + 1] + codes[length - 1 :])
        if length in lengths:
            found.append(hashed)
    return np.concatenate(found)


def _mixed(x: np.ndarray) -> np.ndarray:
    """Every bit of the answer depends on every bit of `x` (the finaliser of SplitMix64, Steele et al. 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))

"""New programs without a model: edits of the syntax tree, and parts of a second program."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import jax
import numpy as np

from qdkit.programs import Files, blocks, changed_outside, form
from qdkit.types import Context, Key, Operator, Outcome, Proposal

from . import expressions, statements
from .source import Source

TRIES = 8  # edits that came to nothing before one is given up
# How often each edit is tried: numbers, which seldom break a program, most.
EDITS = (
    (expressions.numbers, 5),
    (expressions.operators, 2),
    (expressions.calls, 1),
    (expressions.names, 2),
    (expressions.parts, 2),
    (expressions.hoisted, 1),
    (statements.removed, 1),
    (statements.copied, 1),
    (statements.moved, 1),
    (statements.mixed, 2),
    (statements.exchanged, 1),
)
OF_TWO = (statements.mixed, statements.exchanged)  # those that look at the second program
KEPT = 32  # parents whose trees are kept: a tree takes some thousand times the memory of its text
_SHARES = np.cumsum([share for _, share in EDITS]) / sum(share for _, share in EDITS)


@dataclass(frozen=True)
class Syntax(Operator):
    """Edits the text of a program where its syntax tree says it may be edited (genetic programming, Koza 1992).

    changes: the most edits of one child; each has between 1 and so many.

    Numbers are moved, operators, calls and variables swapped for others of their kind, expressions
    put for one another, statements removed, copied and moved, statements and functions taken from a
    second elite. A child compiles, reads no name that nobody bound, and differs from its parent in
    `qdkit.programs.form`; whether it runs is for the referee to say. Nothing outside the blocks
    changes, and comments stay where nothing is edited. One file is edited at a time, the larger the
    more often. A program of which nothing can be edited is `INVALID`, with the reason.
    """

    changes: int = 3
    name: str = "syntax"
    arity: int = 2

    def __post_init__(self) -> None:
        if self.changes < 1:
            raise ValueError(f"changes is the most edits of a child, 1 or more, not {self.changes}")

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        randoms = np.random.default_rng(np.asarray(jax.random.key_data(key))).spawn(n)
        parents = context.parents.genome
        made = [self._child(parents[2 * i], parents[2 * i + 1], randoms[i]) for i in range(n)]
        proposal = Proposal.of([files for files, _ in made], self.name, context.parents)
        outcome = [Outcome.INVALID if error else Outcome.OK for _, error in made]
        return proposal._replace(outcome=outcome, notes=[{"error": error} if error else {} for _, error in made])

    def _child(self, files: Files, other: Files, random: np.random.Generator) -> tuple[dict[str, str], str]:
        """The child, and what went wrong, if anything."""
        paths = [path for path in sorted(files) if path.endswith(".py") and _size(files[path])]
        if not paths:
            return dict(files), "no file of the program ends in .py and has something that may change"
        sizes = np.array([_size(files[path]) for path in paths], float)
        path = paths[int(random.choice(len(paths), p=sizes / sizes.sum()))]
        try:
            text = mutated(files[path], random, other.get(path, ""), self.changes)
        except ValueError as error:
            return dict(files), f"{path}: {error}"
        return {**files, path: text}, ""


def mutated(text: str, random: np.random.Generator, mate: str = "", changes: int = 1) -> str:
    """A program like `text`, with another form, after 1 to `changes` edits.

    mate: a second program, of which parts may be taken; none where it does not compile.

    Raises ValueError if `text` does not compile, or nothing that is tried can be edited.
    """
    parent = _parent(text)
    before = _form(text)
    for attempt in range(2 * TRIES):
        child = parent
        for _ in range(int(random.integers(1, changes + 1)) if attempt < TRIES else 1):
            child = _edited(child, mate, parent, random, numbers_only=attempt >= TRIES)
        if _form(child.text) != before:
            return child.text
    raise ValueError(f"nothing could be edited in {2 * TRIES} tries: the blocks hold too little")


def _edited(source: Source, mate: str, parent: Source, random: np.random.Generator, numbers_only: bool) -> Source:
    """After one edit; as it is where `TRIES` of them came to nothing. `parent` stands in for a mate that is none."""
    for _ in range(TRIES):
        edit = EDITS[0 if numbers_only else int(np.searchsorted(_SHARES, random.random(), side="right"))][0]
        edits = edit(source, random, (_mate(mate) or parent) if edit in OF_TWO else source)
        child = _source(source.edited(edits)) if edits else None
        if child is not None and child.unbound <= source.unbound and _same_frame(source, child):
            return child
    return source


def _same_frame(source: Source, child: Source) -> bool:
    return not changed_outside({"": source.text}, {"": child.text})


@lru_cache(KEPT)
def _parent(text: str) -> Source:
    return Source(text)


@lru_cache(KEPT)
def _mate(text: str) -> Source | None:
    return _source(text)


@lru_cache(4096)
def _form(text: str) -> bytes:
    """A digest of the form: what was a child is often a parent later."""
    return hashlib.sha256(form({"a.py": text}).encode()).digest()


def _source(text: str) -> Source | None:
    try:
        return Source(text)
    except ValueError:
        return None


def _size(text: str) -> int:
    try:
        return sum(len(text[block].strip()) for block in blocks(text))
    except ValueError:
        return 0

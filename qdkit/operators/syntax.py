"""New programs without a model: edits of the syntax tree, and crossover with a second program."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import jax
import numpy as np

from qdkit.core.types import Context, Key, Operator, Outcome, Proposal
from qdkit.programs.syntax import Files, blocks, changed_outside, form

from . import expressions, statements
from .editable_source import Source

_TRIES = 8  # attempts at one edit
# The relative frequency of each edit. Changes of numbers, which seldom break a program, are the
# most frequent.
_EDITS = (
    (expressions.change_number, 5),
    (expressions.change_operator, 2),
    (expressions.change_call, 1),
    (expressions.change_variable, 2),
    (expressions.replace_expression, 2),
    (expressions.hoist_operand, 1),
    (statements.remove_statement, 1),
    (statements.copy_statement, 1),
    (statements.move_statement, 1),
    (statements.take_statement, 2),
    (statements.take_function, 1),
)
_CROSSOVERS = (statements.take_statement, statements.take_function)  # edits that use the mate
# Parents whose trees are cached. A tree takes some thousand times the memory of its text.
_CACHED = 32
_SHARES = np.cumsum([share for _, share in _EDITS]) / sum(share for _, share in _EDITS)


@dataclass(frozen=True)
class Syntax(Operator):
    """Edits the text of a program by its syntax tree (genetic programming, Koza 1992).

    changes: the greatest number of edits of one child, which has at least 1.

    Edits change numbers, replace operators, calls and variables by others of their kind, replace
    expressions by one another, remove, copy and move statements, and take statements and functions
    of a second elite. A child compiles, reads no unbound name that its parent does not read, and
    differs from its parent in `qdkit.programs.syntax.form`; whether it runs is not checked.
    Nothing outside the blocks changes, and comments stay where nothing is edited. One file is
    edited at a time, with a probability in proportion to its size. A program in which nothing can
    be edited is `INVALID`, with the reason.
    """

    changes: int = 3
    name: str = "syntax"
    arity: int = 2

    def __post_init__(self) -> None:
        if self.changes < 1:
            raise ValueError(
                "changes is the greatest number of edits of a child, 1 or more, not "
                f"{self.changes}"
            )

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        randoms = np.random.default_rng(np.asarray(jax.random.key_data(key))).spawn(n)
        parents = context.parents.genome
        children = [self._child(parents[2 * i], parents[2 * i + 1], randoms[i]) for i in range(n)]
        proposal = Proposal.of([files for files, _ in children], self.name, context.parents)
        outcome = [Outcome.INVALID if error else Outcome.OK for _, error in children]
        notes = [{"error": error} if error else {} for _, error in children]
        return proposal._replace(outcome=outcome, notes=notes)

    def _child(
        self, files: Files, other: Files, random: np.random.Generator
    ) -> tuple[dict[str, str], str]:
        """Returns the child, and the reason if it could not be made, else ""."""
        paths = [path for path in sorted(files) if path.endswith(".py") and _size(files[path])]
        if not paths:
            error = "no file of the program ends in .py and has something that may change"
            return dict(files), error
        sizes = np.array([_size(files[path]) for path in paths], float)
        path = paths[int(random.choice(len(paths), p=sizes / sizes.sum()))]
        try:
            text = mutated(files[path], random, other.get(path, ""), self.changes)
        except ValueError as error:
            return dict(files), f"{path}: {error}"
        return {**files, path: text}, ""


def mutated(text: str, random: np.random.Generator, mate: str = "", changes: int = 1) -> str:
    """Returns a program that differs from `text` in its form, after 1 to `changes` edits.

    mate: a second program for crossover; `text` stands in for one that does not compile.

    Raises ValueError if `text` does not compile, or if no attempt gave another form.
    """
    parent = _parent(text)
    before = _form(text)
    for attempt in range(2 * _TRIES):
        child = parent
        for _ in range(int(random.integers(1, changes + 1)) if attempt < _TRIES else 1):
            child = _edited(child, mate, parent, random, numbers_only=attempt >= _TRIES)
        if _form(child.text) != before:
            return child.text
    raise ValueError(f"nothing could be edited in {2 * _TRIES} tries: the blocks hold too little")


def _edited(
    source: Source, mate: str, parent: Source, random: np.random.Generator, numbers_only: bool
) -> Source:
    """Returns the source after one edit, or unchanged if `_TRIES` attempts failed.

    `parent` stands in for a mate that does not compile.
    """
    for _ in range(_TRIES):
        number = 0
        if not numbers_only:
            number = int(np.searchsorted(_SHARES, random.random(), side="right"))
        edit = _EDITS[number][0]
        edits = edit(source, random, (_mate(mate) or parent) if edit in _CROSSOVERS else source)
        child = _source_or_none(source.apply(edits)) if edits else None
        if child is not None and child.unbound <= source.unbound and _same_frame(source, child):
            return child
    return source


def _same_frame(source: Source, child: Source) -> bool:
    return not changed_outside({"": source.text}, {"": child.text})


@lru_cache(_CACHED)
def _parent(text: str) -> Source:
    return Source(text)


@lru_cache(_CACHED)
def _mate(text: str) -> Source | None:
    return _source_or_none(text)


@lru_cache(4096)
def _form(text: str) -> bytes:
    """Returns a digest of the form, cached because children often become parents."""
    return hashlib.sha256(form({"a.py": text}).encode()).digest()


def _source_or_none(text: str) -> Source | None:
    """Returns the source of a text, or None if it does not compile."""
    try:
        return Source(text)
    except ValueError:
        return None


def _size(text: str) -> int:
    """Returns the number of characters within blocks, 0 if the marks are not in pairs."""
    try:
        return sum(len(text[block].strip()) for block in blocks(text))
    except ValueError:
        return 0

"""New texts without a model: lines and phrases of known ones, cut up and put together otherwise (Tzara 1920)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qdkit.types import Context, Key, Operator, Proposal

from .writing import generator

MOST = 24  # lines of a text; it does not grow beyond


@dataclass(frozen=True)
class CutUp(Operator):
    """Cuts up an elite together with another and with a store of lines.

    store: lines to take from, beside those of the second parent.
    changes: the most that are made to one child. Each puts in, replaces, drops or moves a line, joins the
      beginning of one line to the end of another, or takes a word from elsewhere.
    sentences: whether the lines are sentences, and a text a paragraph of them.
    """

    store: Sequence[str] = ()
    changes: int = 3
    sentences: bool = False

    name = "cut-up"
    arity = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "store", tuple(self.store))

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        random = generator(key)
        texts = context.parents.genome
        made = [self._cut(texts[2 * i], texts[2 * i + 1], random) for i in range(n)]
        return Proposal.of(made, self.name, context.parents)

    def _cut(self, text: str, other: str, random: np.random.Generator) -> str:
        lines, others = lines_of(text, self.sentences), lines_of(other, self.sentences)
        for _ in range(random.integers(1, self.changes + 1)):
            source = self.store if self.store and random.random() < 0.5 else others or lines
            line = source[int(random.integers(len(source)))] if source else ""
            lines = CHANGES[int(random.integers(len(CHANGES)))](lines, line, random)
        return (" " if self.sentences else "\n").join(map(respelt, lines)) if lines else text


Change = Callable[[list[str], str, np.random.Generator], list[str]]


def lines_of(text: str, sentences: bool = False) -> list[str]:
    """The lines of a text that are not blank, or its sentences."""
    parts = re.split(r"(?<=[.!?])\s+", text) if sentences else text.splitlines()
    return [part.strip() for part in parts if part.strip()]


def respelt(line: str) -> str:
    """A line with a capital first, wherever its words come from."""
    return line[:1].upper() + line[1:]


def put_in(lines: list[str], line: str, random: np.random.Generator) -> list[str]:
    """The line between two others, at the beginning or at the end."""
    at = random.integers(len(lines) + 1)
    return [*lines[:at], line, *lines[at:]] if line and len(lines) < MOST else lines


def replace(lines: list[str], line: str, random: np.random.Generator) -> list[str]:
    """The line in the place of another."""
    return put_in(drop(lines, line, random), line, random)


def drop(lines: list[str], line: str, random: np.random.Generator) -> list[str]:
    """One line less; the last stays."""
    at = random.integers(max(1, len(lines)))
    return lines[:at] + lines[at + 1 :] if len(lines) > 1 else lines


def move(lines: list[str], line: str, random: np.random.Generator) -> list[str]:
    """Two lines in each other's place."""
    moved = [*lines]
    if moved:
        i, j = random.integers(len(moved), size=2)
        moved[i], moved[j] = moved[j], moved[i]
    return moved


def join(lines: list[str], line: str, random: np.random.Generator) -> list[str]:
    """The beginning of one line before the end of the other."""
    if not lines or not line:
        return lines
    at = random.integers(len(lines))
    first, second = (words.split() for words in random.permutation([lines[at], line]).tolist())
    joined = first[: random.integers(len(first) + 1)] + second[random.integers(len(second) + 1) :]
    return [*lines[:at], " ".join(joined), *lines[at + 1 :]] if joined else lines


def word(lines: list[str], line: str, random: np.random.Generator) -> list[str]:
    """One word of the line in the place of another."""
    if not lines or not line:
        return lines
    at = random.integers(len(lines))
    words, others = lines[at].split(), line.split()
    words[random.integers(len(words))] = others[random.integers(len(others))]
    return [*lines[:at], " ".join(words), *lines[at + 1 :]]


CHANGES: Sequence[Change] = (put_in, replace, drop, move, join, word)

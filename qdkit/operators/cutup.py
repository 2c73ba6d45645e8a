"""The cut-up technique (Tzara 1920): new texts from the lines of known ones, without a model."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qdkit.core.types import Context, Key, Operator, Proposal

from .writing import numpy_generator

MAX_TEXT_LINES = 24  # no text grows beyond this number of lines


@dataclass(frozen=True)
class CutUp(Operator):
    """Combines the lines of an elite with those of a second elite and of a store.

    store: lines to take from, in addition to those of the second parent.
    changes: the greatest number of changes to one child. A change inserts, replaces or drops a
      line, swaps two lines, joins the beginning of one line to the end of another, or replaces a
      word.
    sentences: whether the lines are sentences and a text is a paragraph of them.
    """

    store: Sequence[str] = ()
    changes: int = 3
    sentences: bool = False

    name = "cut-up"
    arity = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "store", tuple(self.store))

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        random = numpy_generator(key)
        texts = context.parents.genome
        children = [self._cut(texts[2 * i], texts[2 * i + 1], random) for i in range(n)]
        return Proposal.of(children, self.name, context.parents)

    def _cut(self, text: str, other: str, random: np.random.Generator) -> str:
        lines, others = lines_of(text, self.sentences), lines_of(other, self.sentences)
        for _ in range(random.integers(1, self.changes + 1)):
            source = self.store if self.store and random.random() < 0.5 else others or lines
            line = source[int(random.integers(len(source)))] if source else ""
            lines = _CHANGES[int(random.integers(len(_CHANGES)))](lines, line, random)
        return (" " if self.sentences else "\n").join(map(_capitalised, lines)) if lines else text


_Change = Callable[[list[str], str, np.random.Generator], list[str]]


def lines_of(text: str, sentences: bool = False) -> list[str]:
    """Returns the lines of a text that are not blank, or its sentences."""
    parts = re.split(r"(?<=[.!?])\s+", text) if sentences else text.splitlines()
    return [part.strip() for part in parts if part.strip()]


def _capitalised(line: str) -> str:
    """Returns a line with its first letter as a capital."""
    return line[:1].upper() + line[1:]


def _insert_line(lines: list[str], line: str, random: np.random.Generator) -> list[str]:
    """Inserts the line at a random position."""
    at = random.integers(len(lines) + 1)
    return [*lines[:at], line, *lines[at:]] if line and len(lines) < MAX_TEXT_LINES else lines


def _replace_line(lines: list[str], line: str, random: np.random.Generator) -> list[str]:
    """Replaces a random line by `line`."""
    return _insert_line(_drop_line(lines, line, random), line, random)


def _drop_line(lines: list[str], line: str, random: np.random.Generator) -> list[str]:
    """Drops a random line unless it is the only one."""
    at = random.integers(max(1, len(lines)))
    return lines[:at] + lines[at + 1 :] if len(lines) > 1 else lines


def _swap_lines(lines: list[str], line: str, random: np.random.Generator) -> list[str]:
    """Swaps two random lines."""
    swapped = [*lines]
    if swapped:
        i, j = random.integers(len(swapped), size=2)
        swapped[i], swapped[j] = swapped[j], swapped[i]
    return swapped


def _join_lines(lines: list[str], line: str, random: np.random.Generator) -> list[str]:
    """Joins the beginning of a random line to the end of `line`, or the other way round."""
    if not lines or not line:
        return lines
    at = random.integers(len(lines))
    first, second = (words.split() for words in random.permutation([lines[at], line]).tolist())
    joined = first[: random.integers(len(first) + 1)] + second[random.integers(len(second) + 1) :]
    return [*lines[:at], " ".join(joined), *lines[at + 1 :]] if joined else lines


def _replace_word(lines: list[str], line: str, random: np.random.Generator) -> list[str]:
    """Replaces a word of a random line by a word of `line`."""
    if not lines or not line:
        return lines
    at = random.integers(len(lines))
    words, others = lines[at].split(), line.split()
    words[random.integers(len(words))] = others[random.integers(len(others))]
    return [*lines[:at], " ".join(words), *lines[at + 1 :]]


_CHANGES: Sequence[_Change] = (
    _insert_line,
    _replace_line,
    _drop_line,
    _swap_lines,
    _join_lines,
    _replace_word,
)

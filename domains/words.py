"""Words that are easy to say, of every length and every vowel.

This module is the example to copy for a domain of your own:

    search = Search(Words(), Grid((12, 5), Words.bounds, names=Words.names), Respell(), batch=32)
"""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import numpy as np

from qdkit.core.types import Context, Evaluation, Key, Operator, Proposal

_VOWELS = "aeiou"


class Respell(Operator):
    """Changes a letter of a word, adds one or drops one."""

    name = "respell"

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        words = [misspell(word, random) for word in context.parents.genome]
        return Proposal.of(words, self.name, context.parents)


def misspell(word: str, random: np.random.Generator) -> str:
    """Returns `word` with one letter replaced, added or dropped; a word keeps its last letter."""
    at, letter = random.integers(len(word)), chr(random.integers(ord("a"), ord("z") + 1))
    before, after = word[:at], word[at + 1 :]
    replaced, shorter = before + letter + after, before + after
    longer = before + letter + word[at:]
    return (replaced, longer, shorter or word)[random.integers(3)]


@dataclass(frozen=True)
class Words:
    """Words of lower-case letters.

    A word is the easier to say the more often a vowel meets a consonant.

    start: the words to start from.

    The objective is the share of the pairs of neighbouring letters of which exactly one is a
    vowel; it is nan for a word of one letter. The descriptor is the length and the commonest
    vowel; a word without vowels, like "rhythm", has None there.
    """

    start: Sequence[str] = ("quality", "diversity", "search", "elites")

    # These are optional: the command line and the plots use them.
    bounds = ((1, 13), tuple(_VOWELS))  # 12 cells for the lengths 1 to 12, and one for each vowel
    names = ("length", "vowel")
    floor = 0.0  # no objective is lower
    shape = (12, 5)  # the number of cells of a grid along each axis
    operators: ClassVar = {"respell": Respell}
    prompt = (
        "Here is a word: {genome}\n"
        "Answer with another that is as easy to say, in lower case and nothing else."
    )

    def seeds(self, key: Key, n: int) -> list[str]:
        return list(self.start[:n])

    def evaluate(self, genomes: Sequence[str]) -> Evaluation:
        objective, descriptor = [], []
        for word in genomes:
            mixed = [(a in _VOWELS) != (b in _VOWELS) for a, b in itertools.pairwise(word)]
            commonest = max(_VOWELS, key=word.count)
            objective.append(sum(mixed) / len(mixed) if mixed else math.nan)
            descriptor.append((len(word), commonest if commonest in word else None))
        return Evaluation(objective, descriptor)

    def draw(self, genome: str, ax: Any) -> Any:
        """Draws the word as text, in lines where a model has written more than a word."""
        text = textwrap.fill(genome, 24, max_lines=6, placeholder=" …")
        ax.text(0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes)
        ax.set_axis_off()
        return ax

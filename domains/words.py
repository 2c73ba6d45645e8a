"""Words that are easy to say, of every length and every vowel: the example to copy for a domain of your own.

search = Search(Words(), Grid((12, 5), Words.bounds, names=Words.names), Respell(), batch=32)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import numpy as np

from qdkit.types import Context, Evaluation, Key, Operator, Proposal

VOWELS = "aeiou"


class Respell(Operator):
    """Changes a letter of a word, adds one or drops one."""

    name = "respell"

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        words = [respelt(word, random) for word in context.parents.genome]
        return Proposal.of(words, self.name, context.parents)


def respelt(word: str, random: np.random.Generator) -> str:
    """`word` with one letter other, more or less; the last letter stays."""
    at, letter = random.integers(len(word)), chr(random.integers(ord("a"), ord("z") + 1))
    before, after = word[:at], word[at + 1 :]
    other, more, less = before + letter + after, before + letter + word[at:], before + after
    return (other, more, less or word)[random.integers(3)]


@dataclass(frozen=True)
class Words:
    """Words of lower-case letters; the more often a vowel meets a consonant, the easier a word is to say.

    start: the words to start from.

    The objective is the share of neighbours of which just one is a vowel; nan for a word of one letter.
    The descriptor is the length and the commonest vowel, which a word like "rhythm" does not have.
    """

    start: Sequence[str] = ("quality", "diversity", "search", "elites")

    # These are optional: the command line and the plots use them.
    bounds = ((1, 13), tuple(VOWELS))  # 12 cells for the lengths 1 to 12, and one for each vowel
    names = ("length", "vowel")
    floor = 0.0  # no objective is lower
    shape = (12, 5)  # cells of a grid
    operators: ClassVar = {"respell": Respell}
    prompt = "Here is a word: {genome}\nAnswer with another that is as easy to say, in lower case and nothing else."

    def seeds(self, key: Key, n: int) -> list[str]:
        return list(self.start[:n])

    def evaluate(self, genomes: Sequence[str]) -> Evaluation:
        objective, descriptor = [], []
        for word in genomes:
            meetings = [(a in VOWELS) != (b in VOWELS) for a, b in itertools.pairwise(word)]
            commonest = max(VOWELS, key=word.count)
            objective.append(sum(meetings) / len(meetings) if meetings else math.nan)
            descriptor.append((len(word), commonest if commonest in word else None))
        return Evaluation(objective, descriptor)

    def draw(self, genome: str, ax: Any) -> Any:
        """The word itself."""
        ax.text(0.5, 0.5, genome, ha="center", va="center", transform=ax.transAxes)
        ax.set_axis_off()
        return ax

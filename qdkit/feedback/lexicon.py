"""How glad or sad a text is, by the words it uses; and the share of its words that are listed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from qdkit.feedback.pronunciation import split_words

_ENDINGS = ("", "s", "es", "d", "ed", "ing", "ly", "er", "est", "ness", "'s", "en", "y", "ful")
_REACH = 3  # how many words after a "not" are negated


def sentiment(text: str) -> float:
    """Returns the sentiment of a text from -1, sad, to 1, glad; 0 if no word is on the lists.

    It is `s / √(s² + 4)` of the sum s over the words on the lists: 1 for a glad and -1 for a sad
    one, half as much again after "very", negated and weakened (by 0.7) up to three words after
    "not". The rules and their sizes are as in VADER (Hutto & Gilbert 2014) but simpler; the lists,
    a few hundred words, are qdkit's own.
    """
    lists, total = read_lexicon(Path(__file__).parent / "lexicon.txt"), 0.0
    words = split_words(text)
    for i, word in enumerate(words):
        sign = (word in lists["glad"]) - (word in lists["sad"])
        before = words[max(0, i - _REACH) : i]
        strength = 1.5 if before and before[-1] in lists["very"] else 1.0
        negated = any(b in lists["not"] or b.endswith("n't") for b in before)
        total += sign * strength * (-0.7 if negated else 1.0)
    return total / math.sqrt(total**2 + 4)


def listed_share(text: str, listed: Iterable[str]) -> float:
    """Returns the share of the words of a text that are listed; 0 for a text without words."""
    words, known = split_words(text), frozenset(listed)
    return sum(word in known for word in words) / len(words) if words else 0.0


@cache
def read_lexicon(path: Path) -> Mapping[str, frozenset[str]]:
    """Returns lists of words by name, each word with its endings.

    path: a file of lines `name: word word ...`.
    """
    rows = [
        line.split(":")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line and line[0] != "#"
    ]
    return {
        name: frozenset(form for word in row.split() for form in _forms(word))
        for name, row in rows
    }


def _forms(word: str) -> Iterable[str]:
    """Yields a word with its endings: hope, hoped, hopeful, but not hopeless."""
    yield from (word + ending for ending in _ENDINGS)
    stem = re.sub(r"e$", "", word)
    yield from (stem + ending for ending in ("ing", "ed"))
    yield from (
        word.removesuffix("y") + ending
        for ending in (("ies", "ied", "iness", "ily") if word[-1] == "y" else ())
    )

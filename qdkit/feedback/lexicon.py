"""How glad or sad a text is, by the words it uses; and how many of its words are on a list."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from qdkit.feedback.sounds import words

ENDINGS = ("", "s", "es", "d", "ed", "ing", "ly", "er", "est", "ness", "'s", "en", "y", "ful")
REACH = 3  # how many words a "not" or a "very" reaches on


def sentiment(text: str) -> float:
    """From -1, sad, to 1, glad; 0 where no word says either.

    `s / √(s² + 4)` of the sum s over the words on the lists: 1 for a glad and -1 for a sad one, half as
    much again after "very", turned round and weakened (by 0.7) up to three words after "not". Rules and
    their sizes as in VADER (Hutto & Gilbert 2014) but simpler; the lists, a few hundred words, are qdkit's own.
    """
    lists, said, total = lexicon(Path(__file__).parent / "lexicon.txt"), words(text), 0.0
    for i, word in enumerate(said):
        sign = (word in lists["glad"]) - (word in lists["sad"])
        before = said[max(0, i - REACH) : i]
        strength = 1.5 if before and before[-1] in lists["very"] else 1.0
        turned = any(b in lists["not"] or b.endswith("n't") for b in before)
        total += sign * strength * (-0.7 if turned else 1.0)
    return total / math.sqrt(total**2 + 4)


def share(text: str, listed: Iterable[str]) -> float:
    """The share of the words of a text that are listed; 0 of a text without words."""
    said, known = words(text), frozenset(listed)
    return sum(word in known for word in said) / len(said) if said else 0.0


@cache
def lexicon(path: Path) -> Mapping[str, frozenset[str]]:
    """Lists of words by name, from a file of lines `name: word word ...`; each word with its endings."""
    rows = [line.split(":") for line in path.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    return {name: frozenset(form for word in row.split() for form in _forms(word)) for name, row in rows}


def _forms(word: str) -> Iterable[str]:
    """A word with its endings: hope, hoped, hopeful, but not hopeless."""
    yield from (word + ending for ending in ENDINGS)
    stem = re.sub(r"e$", "", word)
    yield from (stem + ending for ending in ("ing", "ed"))
    yield from (
        word.removesuffix("y") + ending for ending in (("ies", "ied", "iness", "ily") if word[-1] == "y" else ())
    )

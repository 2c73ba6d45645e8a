"""The questions that can be put, in the words of the page: what is asked, and which keys answer it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np

from qdkit.judgements import QUESTIONS

SCALE = range(1, 6)


class Choice(NamedTuple):
    """A button: what it says, which keys press it one after the other, and the answer that it gives.

    keys and words count what is on the screen, from 1; answer counts places in `ids`.
    """

    words: str
    keys: str
    answer: str


class Kind(NamedTuple):
    """A question. asks: its words. anchors: how many candidates stand first, without a number. choices: its buttons."""

    asks: str
    anchors: int
    choices: Callable[[tuple[int, ...], Sequence[str]], list[Choice]]


def _each(order: tuple[int, ...], first: int = 0) -> list[Choice]:
    return [Choice(f"{i}", f"{i}", f"{place}") for i, place in enumerate(order[first:], 1)]


def _orders(order: tuple[int, ...]) -> list[Choice]:
    """The best two are pressed, and the third is the worst."""
    places = permutations(range(1, len(order) + 1))
    said = lambda found: " ".join(str(order[i - 1]) for i in found)
    return [Choice(" › ".join(map(str, found)), "".join(map(str, found[:-1])), said(found)) for found in places]


KINDS = {
    "triplet": Kind("Which is more like the first?", 1, lambda order, _: _each(order, 1)),
    "odd": Kind("Which is the odd one out?", 0, lambda order, _: _each(order)),
    "pair": Kind("Which is better?", 0, lambda order, _: [*_each(order), Choice("as good", "3", "0.5")]),
    "ranking": Kind("In which order, the best first?", 0, lambda order, _: _orders(order)),
    "rating": Kind("How good is it, from 1 to 5?", 0, lambda order, _: [Choice(f"{n}", f"{n}", f"{n}") for n in SCALE]),
    "label": Kind(
        "What is it?", 0, lambda order, labels: [Choice(word, str(i), word) for i, word in enumerate(labels, 1)]
    ),
}


def shuffled(random: np.random.Generator, question: str) -> tuple[int, ...]:
    """An order for the screen; what the others are compared with stays first."""
    anchors = KINDS[question].anchors
    rest = random.permutation(np.arange(anchors, QUESTIONS[question][0]))
    return (*range(anchors), *rest.tolist())


def answer_of(question: str, text: str) -> Any:
    """The answer that the browser's text stands for; None for a skip. Raises ValueError for none at all."""
    if not text:
        return None
    if question == "label":
        return text.strip()
    if question == "ranking":
        return tuple(int(place) for place in text.split(" ")[:9])
    return float(text) if question in ("pair", "rating") and not text.isdecimal() else int(text[:9])

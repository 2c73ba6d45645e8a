"""The kinds of questions on the page: their texts, their buttons and the keys of these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np

from qdkit.runs.judgements import QUESTIONS

_SCALE = range(1, 6)


class _Choice(NamedTuple):
    """A button.

    words: its text. keys: the keys that press it, one after the other. For questions about several
      candidates both number those on the screen, from 1.
    answer: the answer as text, with indices into `ids`.
    """

    words: str
    keys: str
    answer: str


class _Kind(NamedTuple):
    """A kind of question.

    asks: its text.
    anchors: the number of candidates that come first on the screen, without a number.
    choices: returns its buttons for an order of candidates and the labels.
    """

    asks: str
    anchors: int
    choices: Callable[[tuple[int, ...], Sequence[str]], list[_Choice]]


def _candidates(order: tuple[int, ...], first: int = 0) -> list[_Choice]:
    """Returns a button for each candidate on the screen, from the position `first`."""
    return [_Choice(f"{i}", f"{i}", f"{index}") for i, index in enumerate(order[first:], 1)]


def _rankings(order: tuple[int, ...]) -> list[_Choice]:
    """Returns a button for each ranking. Its keys are all candidates but the worst."""
    answer = lambda ranking: " ".join(str(order[i - 1]) for i in ranking)
    return [
        _Choice(" › ".join(map(str, ranking)), "".join(map(str, ranking[:-1])), answer(ranking))
        for ranking in permutations(range(1, len(order) + 1))
    ]


KINDS = {
    "triplet": _Kind("Which is more like the first?", 1, lambda order, _: _candidates(order, 1)),
    "odd": _Kind("Which is the odd one out?", 0, lambda order, _: _candidates(order)),
    "pair": _Kind(
        "Which is better?",
        0,
        lambda order, _: [*_candidates(order), _Choice("as good", "3", "0.5")],
    ),
    "ranking": _Kind("In which order, the best first?", 0, lambda order, _: _rankings(order)),
    "rating": _Kind(
        "How good is it, from 1 to 5?",
        0,
        lambda order, _: [_Choice(f"{n}", f"{n}", f"{n}") for n in _SCALE],
    ),
    "label": _Kind(
        "What is it?",
        0,
        lambda order, labels: [_Choice(word, str(i), word) for i, word in enumerate(labels, 1)],
    ),
}


def screen_order(random: np.random.Generator, question: str) -> tuple[int, ...]:
    """Returns a random order of the candidates on the screen; an anchor stays first."""
    anchors = KINDS[question].anchors
    rest = random.permutation(np.arange(anchors, QUESTIONS[question][0]))
    return (*range(anchors), *rest.tolist())


def parse_answer(question: str, text: str) -> Any:
    """Returns the answer in a text from the browser; None for "", a skipped question.

    Raises ValueError for a text that is no answer.
    """
    if not text:
        return None
    if question == "label":
        return text.strip()
    if question == "ranking":
        return tuple(int(index) for index in text.split(" ")[:9])
    if question in ("pair", "rating") and not text.isdecimal():
        return float(text)
    return int(text[:9])

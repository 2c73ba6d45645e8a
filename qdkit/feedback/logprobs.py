"""The probability of an answer out of two, from the log-probabilities of its tokens."""

from __future__ import annotations

import bisect
import itertools
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from qdkit.llm import Token

# Characters that tokens have around a word, marks of word starts included.
_AROUND = " \t\r\n*_\"'`“”‘’«».,:;!?()[]{}<>#-▁Ġ"
_WORD_STARTS = str.maketrans("▁Ġ", "  ")
_LEAST = 1e-6  # the least probability that is assumed for what is not listed


class AnswerShare(NamedTuple):
    """The probability of the first of two answers.

    p: its share of the probability of both. mass: the probability of both.
    censored: whether one of them is not listed, so that its probability is only bounded.
    """

    p: float
    mass: float
    censored: bool


def answer_share(
    answer: str, tokens: Sequence[Token | None], first: Sequence[str], second: Sequence[str]
) -> AnswerShare | str:
    """Returns the two-way softmax at the token where the answer begins, or why there is none.

    answer, tokens: the text of the answer, and its tokens, some of which a server may leave out.
    first, second: the spellings of each answer; those that differ only in case, spaces or marks
      need not be listed.

    `p = P1 / (P1 + P2)`, where each P sums over all listed tokens that spell the answer or begin
    it. An answer with no listed token is at most as probable as the least probable listed token,
    and as what is left of 1. It counts with that bound, and `censored` is true: p is never 0 or 1,
    which would lie in the outermost cells of a map.
    """
    at = _place(answer, tokens, (first, second))
    if isinstance(at, str):
        return at
    token = tokens[at]
    assert token is not None  # it has text, which spells an answer
    listed = {token.text: token.logprob} | dict(token.top)
    mass_of = [0.0, 0.0]
    for text, logprob in listed.items():
        if (which := _which(text, (first, second))) is not None:
            mass_of[which] += math.exp(logprob)
    mass = sum(mass_of)
    if not mass:
        return f"it says neither of {_names((first, second))}"
    if not all(mass_of):
        rest = max(1 - sum(map(math.exp, listed.values())), _LEAST)
        bound = min(rest, *map(math.exp, listed.values()))
        mass_of = [p or max(bound, _LEAST) for p in mass_of]
        return AnswerShare(mass_of[0] / sum(mass_of), min(mass, 1.0), True)
    return AnswerShare(mass_of[0] / mass, min(mass, 1.0), False)


def _place(
    answer: str, tokens: Sequence[Token | None], answers: Sequence[Sequence[str]]
) -> int | str:
    """Returns the index of the token with which the answer begins, or why there is none.

    If the answer is repeated, it is the last one that counts.
    """
    texts = [token.text if token else "" for token in tokens]
    starts = [0, *itertools.accumulate(map(len, texts))]
    named = {which for _, which in _occurrences(answer, answers)}
    places = [
        place
        for place, which in _occurrences("".join(texts).translate(_WORD_STARTS), answers)
        if which in named
    ]
    if len(named) == 2:
        return f"it says both of {_names(answers)}"
    if places:
        return bisect.bisect_right(starts, places[-1]) - 1
    # The first word may have been one of the answers, though another was drawn.
    return next(
        (i for i, text in enumerate(texts) if text.strip(_AROUND)),
        f"it says neither of {_names(answers)}",
    )


def _occurrences(text: str, answers: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
    """Returns the (place, index of the answer) of each answer in a text."""
    index_of = {
        spelling.casefold(): i for i, spellings in enumerate(answers) for spelling in spellings
    }
    longest_first = "|".join(map(re.escape, sorted(index_of, key=len, reverse=True)))
    matches = re.finditer(rf"(?<!\w)(?:{longest_first})(?!\w)", text, re.IGNORECASE)
    return [(match.start(), index_of[match[0].casefold()]) for match in matches]


def _which(text: str, answers: Sequence[Sequence[str]]) -> int | None:
    """Returns the index of the answer that a token spells or, with two letters or more, begins.

    Returns None if it is no answer, or may be either.
    """
    word = text.strip(_AROUND).casefold()
    begins = lambda spelling: (
        word == spelling.casefold() or (len(word) > 1 and spelling.casefold().startswith(word))
    )
    which = [i for i, spellings in enumerate(answers) if word and any(map(begins, spellings))]
    return which[0] if len(which) == 1 else None


def _names(answers: Sequence[Sequence[str]]) -> str:
    return " and ".join(repr(spellings[0]) for spellings in answers)

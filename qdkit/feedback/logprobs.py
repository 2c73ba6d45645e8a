"""The probability of an answer out of two, from the log-probabilities of its tokens."""

from __future__ import annotations

import bisect
import itertools
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from qdkit.llm import Token

AROUND = " \t\r\n*_\"'`“”‘’«».,:;!?()[]{}<>#-▁Ġ"  # what tokens carry around a word, marks of word starts included
WORD_STARTS = str.maketrans("▁Ġ", "  ")
LEAST = 1e-6  # the share of what is not listed is not known to be less


class Share(NamedTuple):
    """How probable the first of two answers is, of the two; the probability of both; whether one is only bounded."""

    p: float
    mass: float
    censored: bool


def shares(answer: str, tokens: Sequence[Token | None], first: Sequence[str], second: Sequence[str]) -> Share | str:
    """The two-way softmax at the place where the answer is written, or a sentence that says why there is none.

    answer, tokens: the text that was written, and its tokens, of which a server may leave some out.
    first, second: the spellings of each answer; those that differ in case, spaces or marks need not be
      given. `p = P1 / (P1 + P2)`, where each P sums over all listed tokens that spell the answer or begin it.

    An answer of which no token is listed has no more than the least that is listed, nor more than is
    left; that bound is taken for it and `censored` says so (never 0 or 1, which would land in the
    outermost cells of a map).
    """
    at = _place(answer, tokens, (first, second))
    if isinstance(at, str):
        return at
    token = tokens[at]
    assert token is not None  # it spells an answer
    listed = {token.text: token.logprob} | dict(token.top)
    found = [0.0, 0.0]
    for text, logprob in listed.items():
        if (which := _which(text, (first, second))) is not None:
            found[which] += math.exp(logprob)
    mass = sum(found)
    if not mass:
        return f"it says neither of {_names((first, second))}"
    if not all(found):
        rest = max(1 - sum(map(math.exp, listed.values())), LEAST)
        bound = min(rest, *map(math.exp, listed.values()))
        found = [p or max(bound, LEAST) for p in found]
        return Share(found[0] / sum(found), min(mass, 1.0), True)
    return Share(found[0] / mass, min(mass, 1.0), False)


def _place(answer: str, tokens: Sequence[Token | None], answers: Sequence[Sequence[str]]) -> int | str:
    """The token with which the answer begins, the last one where it is said several times; or why there is none."""
    texts = [token.text if token else "" for token in tokens]
    starts = [0, *itertools.accumulate(map(len, texts))]
    said = {which for _, which in _said(answer, answers)}
    written = [place for place, which in _said("".join(texts).translate(WORD_STARTS), answers) if which in said]
    if len(said) == 2:
        return f"it says both of {_names(answers)}"
    if written:
        return bisect.bisect_right(starts, written[-1]) - 1
    # The first word may have been one of them, though another was drawn.
    return next((i for i, text in enumerate(texts) if text.strip(AROUND)), f"it says neither of {_names(answers)}")


def _said(text: str, answers: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
    """Where a text says which of the answers."""
    spelt = {spelling.casefold(): i for i, spellings in enumerate(answers) for spelling in spellings}
    longest_first = "|".join(map(re.escape, sorted(spelt, key=len, reverse=True)))
    found = re.finditer(rf"(?<!\w)(?:{longest_first})(?!\w)", text, re.IGNORECASE)
    return [(match.start(), spelt[match[0].casefold()]) for match in found]


def _which(text: str, answers: Sequence[Sequence[str]]) -> int | None:
    """The answer that a token spells or, with two letters or more, begins; None where it is no answer or either."""
    word = text.strip(AROUND).casefold()
    begins = lambda spelling: word == spelling.casefold() or (len(word) > 1 and spelling.casefold().startswith(word))
    which = [i for i, spellings in enumerate(answers) if word and any(map(begins, spellings))]
    return which[0] if len(which) == 1 else None


def _names(answers: Sequence[Sequence[str]]) -> str:
    return " and ".join(repr(spellings[0]) for spellings in answers)

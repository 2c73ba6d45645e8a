"""Preferences between two things, as plain arrays, and the conversion of replies into them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Comparisons:
    """`n` comparisons, column by column.

    left, right: int `[n]`, the two things: rows of the features that a fit is given.
    won: float `[n]`, 1 where left is better, 0 where right is, ½ for a tie; anything between, for
      a vote.
    order: `[n]`, 1 where left stood first, -1 where right did, 0 where neither did or the order is
      unknown; or one for all.
    rater: `[n]` names or numbers of the raters; or one for all. Without it no two tastes can be
      told apart.

    Raises ValueError if columns differ in length, and for an outcome outside [0, 1]: leave skips
    out.
    """

    left: np.ndarray
    right: np.ndarray
    won: np.ndarray
    order: np.ndarray | float = 0.0
    rater: np.ndarray | Any = ""

    def __post_init__(self) -> None:
        won = np.asarray(self.won, float)
        columns = {
            "left": np.asarray(self.left, int),
            "right": np.asarray(self.right, int),
            "won": won,
            "order": _each(np.asarray(self.order, float), len(won)),
            "rater": _each(np.asarray(self.rater), len(won)),
        }
        if any(len(column) != len(won) or column.ndim != 1 for column in columns.values()):
            shapes = ", ".join(f"{name} {column.shape}" for name, column in columns.items())
            raise ValueError(f"comparisons have one row in every column, and these have {shapes}")
        if not ((won >= 0) & (won <= 1)).all():
            raise ValueError(
                "an outcome is 1 where left is better, 0 where right is and ½ for a tie: leave "
                "skips out"
            )
        for name, column in columns.items():
            object.__setattr__(self, name, column)

    def __len__(self) -> int:
        return len(self.won)

    def take(self, rows: np.ndarray) -> Comparisons:
        """Returns the comparisons of some rows; `rows` is an integer or a boolean array."""
        columns = (self.left, self.right, self.won, self.order, self.rater)
        return Comparisons(*(column[rows] for column in columns))  # type: ignore[index]


def compared(replies: Iterable[Any]) -> tuple[Comparisons, np.ndarray]:
    """Returns the comparisons in pairs and rankings, and the ids of the compared things.

    replies: rows with `question`, `ids`, `answer`, `order` and `rater`, as a store of judgements
      keeps them. The answer to a "pair" says which of its two ids is better, 0 or 1, or ½ for a
      tie; to a "ranking", it has the indices of its ids from best to worst. `order` has the
      indices of the ids in the order in which they were shown; it is empty if that is unknown.
      Skips (an answer that is None) and other questions are left out.

    Row i of the features belongs to `ids[i]`, int `[m]`:

        comparisons, ids = compared(replies)
        fit = taste(comparisons, features_of(ids))
    """
    rows: list[tuple[Any, Any, float, float, Any]] = []
    columns: Sequence[Sequence[Any]]
    for reply in replies:
        if reply.answer is None or reply.question not in ("pair", "ranking"):
            continue
        if reply.question == "pair":
            outcomes = [(0, 1, 1 - float(reply.answer))]
        else:
            outcomes = [(better, worse, 1.0) for better, worse in ranking_pairs(reply.answer)]
        place_of = {index: place for place, index in enumerate(reply.order or ())}
        for a, b, won in outcomes:
            known = a in place_of and b in place_of
            order = float(np.sign(place_of[b] - place_of[a])) if known else 0.0
            rows.append((reply.ids[a], reply.ids[b], won, order, reply.rater))
    columns = [*zip(*rows, strict=True)] if rows else [()] * 5
    ids, row = np.unique(np.array([*columns[0], *columns[1]], int), return_inverse=True)
    left, right = row.reshape(2, -1)
    return Comparisons(left, right, *(np.array(column) for column in columns[2:])), ids


def ranking_pairs(best_to_worst: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Returns the pairs (better, worse) of a ranking, each two once.

    They are not independent of each other: three pairs of one ranking tell less than three
    comparisons by three people.
    """
    return [*combinations(best_to_worst, 2)]


def odd_one_out(three: Sequence[Any], odd: int) -> list[tuple[Any, Any, Any]]:
    """Returns the triplets (a, near, far) that follow if `three[odd]` is the odd one out.

    In each, a is more like near than like far.
    """
    if len(three) != 3 or odd not in (0, 1, 2):
        raise ValueError(
            f"one of three things is the odd one, 0, 1 or 2, and this is {odd!r} of {len(three)}"
        )
    a, b = (thing for place, thing in enumerate(three) if place != odd)
    return [(a, b, three[odd]), (b, a, three[odd])]


def _each(column: np.ndarray, n: int) -> np.ndarray:
    return np.broadcast_to(column, n) if column.ndim == 0 else column

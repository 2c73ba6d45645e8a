"""What people said of two things, as plain arrays; and how replies of other kinds become such arrays."""

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
    won: float `[n]`, 1 where left is better, 0 where right is, ½ for a tie; anything between, for a vote.
    order: `[n]`, 1 where left stood first, -1 where right did, 0 where neither did or nobody knows; or one for all.
    rater: `[n]` names or numbers of whoever said it; or one for all. Without it no two tastes can be told apart.

    Raises ValueError where columns differ in length, and for an outcome that is none: a skip is left out.
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
            told = ", ".join(f"{name} {column.shape}" for name, column in columns.items())
            raise ValueError(f"comparisons have one row in every column, and these have {told}")
        if not ((won >= 0) & (won <= 1)).all():
            raise ValueError("an outcome is 1 where left is better, 0 where right is and ½ for a tie: leave skips out")
        for name, column in columns.items():
            object.__setattr__(self, name, column)

    def __len__(self) -> int:
        return len(self.won)

    def take(self, rows: np.ndarray) -> Comparisons:
        """The given rows; `rows` is an integer or a boolean array."""
        return Comparisons(self.left[rows], self.right[rows], self.won[rows], self.order[rows], self.rater[rows])  # type: ignore[index]


def compared(replies: Iterable[Any]) -> tuple[Comparisons, np.ndarray]:
    """What was said in pairs and rankings, and the ids, int `[m]`, whose rows `left` and `right` are.

    replies: rows with `question`, `ids`, `answer`, `order` and `rater`, as a store of judgements keeps them. The
      answer to a "pair" is which of its two ids is better, 0 or 1, or ½ for a tie; to a "ranking", the places of
      its ids from best to worst. `order` has the places of the ids as they stood from first to last; empty where
      nobody knows. Skips (an answer that is None) and other questions are left out.

        said, ids = compared(replies)
        found = taste(said, features_of(ids))
    """
    rows: list[tuple[Any, Any, float, float, Any]] = []
    columns: Sequence[Sequence[Any]]
    for reply in replies:
        if reply.answer is None or reply.question not in ("pair", "ranking"):
            continue
        if reply.question == "pair":
            said = [(0, 1, 1 - float(reply.answer))]
        else:
            said = [(better, worse, 1.0) for better, worse in ranked(reply.answer)]
        stood = {place: at for at, place in enumerate(reply.order or ())}
        for a, b, won in said:
            order = float(np.sign(stood[b] - stood[a])) if a in stood and b in stood else 0.0
            rows.append((reply.ids[a], reply.ids[b], won, order, reply.rater))
    columns = [*zip(*rows, strict=True)] if rows else [()] * 5
    ids, row = np.unique(np.array([*columns[0], *columns[1]], int), return_inverse=True)
    left, right = row.reshape(2, -1)
    return Comparisons(left, right, np.array(columns[2]), np.array(columns[3]), np.array(columns[4])), ids


def ranked(best_to_worst: Sequence[Any]) -> list[tuple[Any, Any]]:
    """The pairs (better, worse) of a ranking, each two once.

    They are not independent of each other: three of one ranking say less than three comparisons of three people.
    """
    return [*combinations(best_to_worst, 2)]


def odd_one_out(three: Sequence[Any], odd: int) -> list[tuple[Any, Any, Any]]:
    """The triplets (a, near, far), a is more like near than far, when `three[odd]` is said to be the odd one."""
    if len(three) != 3 or odd not in (0, 1, 2):
        raise ValueError(f"one of three things is the odd one, 0, 1 or 2, and this is {odd!r} of {len(three)}")
    a, b = (thing for place, thing in enumerate(three) if place != odd)
    return [(a, b, three[odd]), (b, a, three[odd])]


def _each(column: np.ndarray, n: int) -> np.ndarray:
    return np.broadcast_to(column, n) if column.ndim == 0 else column

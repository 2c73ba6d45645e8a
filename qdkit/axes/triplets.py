"""Judgements of likeness as triplets: a candidate, one more like it and one less like it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np


class Triplets(NamedTuple):
    """`m` judgements: `ids[:, 0]` is more like `ids[:, 1]` than like `ids[:, 2]`.

    ids: int32 `[m, 3]`.
    reply: int32 `[m]`, the number of the reply it came from; an odd one out gives two.
    """

    ids: np.ndarray
    reply: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


def triplets(replies: Sequence[Any]) -> Triplets:
    """Returns the triplets that follow from `replies`.

    replies: rows with `number`, `question`, `ids` and `answer`. Of a "triplet" (a, b, c) the
      answer 1 or 2 says which of b and c is more like a. Of an "odd" one the answer is the index
      of the odd one out, which is less like either other than those are like each other. Skips,
      other questions, and questions about fewer than three candidates are left out.
    """
    ids, numbers = [], []
    for row in replies:
        if row.answer is None or row.question not in ("triplet", "odd") or len(set(row.ids)) < 3:
            continue
        a, b, c = row.ids
        if row.question == "triplet":
            rows = [(a, b, c) if int(row.answer) == 1 else (a, c, b)]
        else:
            odd = row.ids[int(row.answer)]
            near, far = (id for id in row.ids if id != odd)
            rows = [(near, far, odd), (far, near, odd)]
        ids += rows
        numbers += [row.number] * len(rows)
    return Triplets(np.array(ids, np.int32).reshape(-1, 3), np.array(numbers, np.int32))


def rows_of(ids: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Returns int `[...]`: the row of each id in the sorted `known`; -1 if it is not there."""
    row = np.searchsorted(known, ids)
    row = np.minimum(row, max(len(known) - 1, 0))
    return np.where(known[row] == ids, row, -1) if len(known) else np.full(np.shape(ids), -1)


_VARIANTS = 16  # of one candidate at most, however many combinations of changes there are


def variants(
    features: np.ndarray, changes: Sequence[Callable[[np.ndarray], np.ndarray]]
) -> np.ndarray:
    """Returns `[v, ..., f]`: the features as they are, and after every combination of `changes`.

    A change maps features to those of a candidate that people would tell from others in the same
    way: a picture in a mirror, an arm turned around its base. Each is applied until nothing new
    comes of it, so a quarter turn gives four variants, and with a mirror eight.
    """
    results = [np.asarray(features)]
    # Variants are compared by their effect on some rows.
    probes = [results[0].reshape(-1, results[0].shape[-1])[:64]]
    at = 0
    while at < len(results) and len(results) < _VARIANTS:
        for change in changes:
            new = np.asarray(change(probes[at]))
            if not any(np.allclose(new, old, atol=1e-5) for old in probes):
                probes.append(new)
                results.append(np.asarray(change(results[at])))
        at += 1
    return np.stack(results[:_VARIANTS])


def agreement(near: np.ndarray, far: np.ndarray) -> float:
    """Returns the share of judgements that squared distances `[m]` agree with (2AFC accuracy).

    A tie counts ½; the result is nan for no judgements.
    """
    return float(np.mean((near < far) + 0.5 * (near == far))) if len(near) else np.nan

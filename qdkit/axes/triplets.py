"""What people said of likeness as triplets: of a candidate, one that is more like it and one that is less."""

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
    """Those among `replies`, rows with `number`, `question`, `ids` and `answer`, that tell of likeness.

    Of a "triplet" (a, b, c) the answer 1 or 2 is which of b and c is more like a; of an "odd" one the
    answer is the place of the odd one out, which is less like either other than those are like each
    other. Skips, other questions, and questions about fewer than three candidates tell nothing.
    """
    ids, numbers = [], []
    for row in replies:
        if row.answer is None or row.question not in ("triplet", "odd") or len(set(row.ids)) < 3:
            continue
        a, b, c = row.ids
        if row.question == "triplet":
            found = [(a, b, c) if int(row.answer) == 1 else (a, c, b)]
        else:
            odd = row.ids[int(row.answer)]
            near, far = (id for id in row.ids if id != odd)
            found = [(near, far, odd), (far, near, odd)]
        ids += found
        numbers += [row.number] * len(found)
    return Triplets(np.array(ids, np.int32).reshape(-1, 3), np.array(numbers, np.int32))


def among(ids: np.ndarray, known: np.ndarray) -> np.ndarray:
    """int `[...]`: the row of each id in `known`, which is sorted; -1 for one that is not there."""
    row = np.searchsorted(known, ids)
    row = np.minimum(row, max(len(known) - 1, 0))
    return np.where(known[row] == ids, row, -1) if len(known) else np.full(np.shape(ids), -1)


def variants(features: np.ndarray, changes: Sequence[Callable[[np.ndarray], np.ndarray]]) -> np.ndarray:
    """`[v, ..., f]`: the features as they are, and after every combination of `changes`.

    A change takes features to those of a candidate that people would tell from others in the same way:
    a picture in a mirror, an arm turned around its base. Each is applied until nothing new comes of it,
    so a quarter turn gives four variants, and with a mirror eight.
    """
    found = [np.asarray(features)]
    probe = found[0].reshape(-1, found[0].shape[-1])[:64]
    seen = [probe]
    at = 0
    while at < len(found) and len(found) < VARIANTS:
        for change in changes:
            new = np.asarray(change(seen[at]))
            if not any(np.allclose(new, old, atol=1e-5) for old in seen):
                seen.append(new)
                found.append(np.asarray(change(found[at])))
        at += 1
    return np.stack(found[:VARIANTS])


VARIANTS = 16  # of one candidate at most, whatever changes make of each other


def agreement(near: np.ndarray, far: np.ndarray) -> float:
    """The share of judgements that squared distances `[m]` agree with (2AFC accuracy); a tie is half; nan for none."""
    return float(np.mean((near < far) + 0.5 * (near == far))) if len(near) else np.nan

"""How many different things there are, from a label for each that names its kind.

A label is anything that can be compared for equality: an algorithm's name, a digest, a judge's
answer. `partition` makes labels from a judgement "are these two the same?".
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from qdkit.metrics.hill_numbers import effective_number


class Entropy(NamedTuple):
    """The result of `entropy`.

    normalised: H/ln V, from 0 (one value only) to 1 (all values equally often); nan where no label
      is a listed value.
    effective: exp(H), the effective number of values, which may be compared between lists of
      values; 0 where no label is a listed value.
    values: V, the number of listed values.
    outside: the share of the labels that are not a listed value; nan where there are no labels.
    largest: the share of the commonest value; from 0.8 on GRADE calls it a default behaviour.
    """

    normalised: float
    effective: float
    values: int
    outside: float
    largest: float


def hill(labels: Iterable[Hashable], q: float = 1.0) -> float:
    """Returns the effective number of kinds, (Σ p^q)^(1/(1−q)) over their shares p (Hill 1973).

    Order 0 is the number of kinds, 1 the exponential of the entropy, which for algorithms is
    called the effective number of algorithms, and 2 the inverse of Simpson's index. The result is
    0 for no labels.
    """
    sizes = _sizes(labels)
    share = sizes / max(1, sizes.sum())
    return effective_number(share, share, q) if len(share) else 0.0


def distinct(labels: Iterable[Hashable], k: int) -> float:
    """DA@K: returns the expected number of kinds among `k` things drawn without replacement.

    Σ over kinds of 1 − C(n−s, k)/C(n, k), with s the size of a kind (Hurlbert 1971). Where there
    are fewer than `k` things, all are drawn.
    """
    if k < 0:
        raise ValueError(f"k is the number of things drawn, 0 or more, not {k}")
    sizes = _sizes(labels).tolist()
    n = sum(sizes)
    k = min(k, n)
    return float(sum(1 - math.comb(n - s, k) / math.comb(n, k) for s in sizes))


def nauadc(labels: Iterable[Hashable], most: int = 25) -> float:
    """Returns the mean of `distinct` over 1 to `most` drawn: the normalised area under that curve.

    The area is computed by trapezoids, with the two ends at half their weight. 25 is the value in
    the measure's published port.
    """
    if most < 2:
        raise ValueError(f"most is the number of things drawn, at least 2, not {most}")
    labels = list(labels)
    curve = [distinct(labels, k) for k in range(1, most + 1)]
    return (sum(curve) - (curve[0] + curve[-1]) / 2) / (most - 1)


def entropy(labels: Iterable[Hashable], values: Sequence[Hashable]) -> Entropy:
    """Returns how evenly the labels are distributed over `values`, all values possible (GRADE).

    A value that never occurs counts. A label that is not one of them is left out and counted in
    `outside`. The normalised entropy depends on the list of values, so it can only be compared
    with one of the same list.
    """
    counts = Counter(labels)
    total = counts.total()
    sizes = np.array([counts[value] for value in dict.fromkeys(values)], float)
    listed = sizes.sum()
    outside = 1 - float(listed) / total if total else math.nan
    if not listed:
        return Entropy(math.nan, 0.0, len(sizes), outside, math.nan)
    share = sizes[sizes > 0] / listed
    kinds = effective_number(share, share, 1)
    normalised = math.log(kinds) / math.log(len(sizes)) if len(sizes) > 1 else 0.0
    return Entropy(normalised, kinds, len(sizes), outside, float(share.max()))


def distinctness(labels: Iterable[Hashable], least: float = 0.1) -> np.ndarray:
    """Returns the share of the others that are of another kind, float64 `[n]` (DARLING).

    The share is at least `least`, and 1 for a single label. It depends on the batch: use it to
    choose among candidates of one batch, never as an objective of elites.
    """
    labels = list(labels)
    counts = Counter(labels)
    others = len(labels) - 1
    if not others:
        return np.ones(1)
    shares = [max(least, (len(labels) - counts[label]) / others) for label in labels]
    return np.array(shares, float)


def partition(things: Sequence[Any], same: Callable[[Any, Any], bool]) -> list[int]:
    """Returns a label for each thing: the row of the first thing that is the `same` by a judge.

    Each thing is compared with the first of every kind so far, in the given order, with n · kinds
    questions at most. So no chain of likenesses joins two things that are unlike; but where
    likeness is not transitive, the order matters.
    """
    firsts: list[int] = []
    labels = []
    for i, thing in enumerate(things):
        label = next((first for first in firsts if same(things[first], thing)), i)
        if label == i:
            firsts.append(i)
        labels.append(label)
    return labels


def _sizes(labels: Iterable[Hashable]) -> np.ndarray:
    """Returns the size of each kind, int `[kinds]`."""
    return np.array(list(Counter(labels).values()), int)

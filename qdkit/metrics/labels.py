"""How many different things there are, from a label for each that says of which kind it is.

A label is anything that can be compared for equality: an algorithm's name, a digest, what a judge
answered. `partition` makes labels of a judgement "are these two the same?".
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from qdkit.metrics.orders import effective


class Entropy(NamedTuple):
    """What `entropy` finds.

    normalised: H/ln V, from 0 (one value only) to 1 (all values alike); nan where no label is a listed value.
    effective: exp(H), how many values there are in effect, which may be compared between lists of values; 0 likewise.
    values: V. outside: the share of the labels that are no listed value; nan where there are no labels.
    largest: the share of the commonest value; from 0.8 on GRADE calls it a default behaviour.
    """

    normalised: float
    effective: float
    values: int
    outside: float
    largest: float


def hill(labels: Iterable[Hashable], q: float = 1.0) -> float:
    """The effective number of kinds: (Σ p^q)^(1/(1−q)) over their shares p (Hill 1973); 0 for no labels.

    Order 0 is how many kinds there are, 1 the exponential of the entropy, which for algorithms is called the
    effective number of algorithms, 2 the inverse of Simpson's index.
    """
    sizes = _sizes(labels)
    share = sizes / max(1, sizes.sum())
    return effective(share, share, q) if len(share) else 0.0


def distinct(labels: Iterable[Hashable], k: int) -> float:
    """DA@K: how many kinds to expect among `k` things drawn without replacement; all, where there are fewer than `k`.

    Σ over kinds of 1 − C(n−s, k)/C(n, k), with s the size of a kind (Hurlbert 1971).
    """
    if k < 0:
        raise ValueError(f"one draws 0 things or more, not {k}")
    sizes = _sizes(labels).tolist()
    n = sum(sizes)
    k = min(k, n)
    return float(sum(1 - math.comb(n - s, k) / math.comb(n, k) for s in sizes))


def nauadc(labels: Iterable[Hashable], most: int = 25) -> float:
    """The mean of `distinct` over 1 to `most` drawn: the normalised area under that curve.

    By trapezoids, the two ends at half their weight. 25 is what the measure's published port takes.
    """
    if most < 2:
        raise ValueError(f"an area takes at least 2 things drawn, not {most}")
    labels = list(labels)
    curve = [distinct(labels, k) for k in range(1, most + 1)]
    return (sum(curve) - (curve[0] + curve[-1]) / 2) / (most - 1)


def entropy(labels: Iterable[Hashable], values: Sequence[Hashable]) -> Entropy:
    """How evenly the labels fall on `values`, those that could have been (GRADE): a value that never comes counts.

    A label that is none of them is left out and counted in `outside`. The normalised entropy depends on the list of
    values, so it can only be held against one of the same list.
    """
    counts = Counter(labels)
    total = counts.total()
    sizes = np.array([counts[value] for value in dict.fromkeys(values)], float)
    listed = sizes.sum()
    outside = 1 - float(listed) / total if total else math.nan
    if not listed:
        return Entropy(math.nan, 0.0, len(sizes), outside, math.nan)
    share = sizes[sizes > 0] / listed
    kinds = effective(share, share, 1)
    normalised = math.log(kinds) / math.log(len(sizes)) if len(sizes) > 1 else 0.0
    return Entropy(normalised, kinds, len(sizes), outside, float(share.max()))


def distinctness(labels: Iterable[Hashable], least: float = 0.1) -> np.ndarray:
    """float64 `[n]`: the share of the others that are of another kind, `least` at least (DARLING); 1 for a lone one.

    It depends on the batch: use it to choose among candidates of one batch, never as an objective of elites.
    """
    labels = list(labels)
    counts = Counter(labels)
    others = len(labels) - 1
    return np.array([max(least, (len(labels) - counts[label]) / others) if others else 1.0 for label in labels], float)


def partition(things: Sequence[Any], same: Callable[[Any, Any], bool]) -> list[int]:
    """A label for each of the things: the row of the first one that a judge says it is the `same` as.

    Each is held against the first of every kind so far, in the order given, with n · kinds questions at most.
    So no chain of likenesses joins two that are unlike; but where likeness is not transitive, the order matters.
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
    """int `[kinds]`."""
    return np.array(list(Counter(labels).values()), int)

"""Chooses the next questions: those on which an ensemble disagrees, about typical candidates."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from qdkit.core.types import Key

_TRIED = 3000  # questions drawn at random, of which the best are asked
Gaps = Callable[[np.ndarray], np.ndarray]


def choose_triplets(
    key: Key,
    features: np.ndarray,
    n: int,
    gaps: Gaps | None = None,
    earlier: Collection[tuple[int, ...]] = (),
) -> np.ndarray:
    """Returns int `[<= n, 3]`, rows of `features` `[m, f]`: the triplets to ask next.

    The question is: is the first more like the second or the third?

    gaps: returns the gap of triplets `[q, 3, f]` by each member of an ensemble, float `[k, q]`
      (see `TripletAxes.gaps`). Questions are random if it is left out, or has no members.
    earlier: rows of the questions that were asked already, in any order; they are not asked again.

    Each has three different candidates, no three occur twice, and no candidate occurs twice as
    long as there are enough of them. There are fewer than `n` if there are not so many questions.
    """
    return _choose(key, features, n, 3, gaps, earlier)


def choose_pairs(
    key: Key,
    features: np.ndarray,
    n: int,
    gaps: Gaps | None = None,
    earlier: Collection[tuple[int, ...]] = (),
) -> np.ndarray:
    """Returns int `[<= n, 2]`, rows of `features` `[m, f]`: the pairs to ask about next.

    The question is: which of the two is better?

    gaps: returns by how much each member of an ensemble finds the first of `[q, 2, f]` better,
      float `[k, q]`, in units of the logistic loss. The rest is as in `choose_triplets`.
    """
    return _choose(key, features, n, 2, gaps, earlier)


def _choose(
    key: Key,
    features: np.ndarray,
    n: int,
    size: int,
    gaps: Gaps | None,
    earlier: Collection[tuple[int, ...]],
) -> np.ndarray:
    """Returns int `[<= n, size]`, the rows of the most valuable of some random questions."""
    drawn = _drawn(_random(key), len(features), size, earlier)
    value = np.zeros(0)
    if gaps is not None and len(drawn):
        value = _ensemble_disagreement(gaps, features[drawn])
    if len(value):
        value = value * _density(features)[drawn].mean(1)
    return _apart(drawn, value, n, len(features))


def disagreement(gaps: np.ndarray) -> np.ndarray:
    """Returns nats `[q]`: what an answer tells about which member is right, from gaps `[k, q]`.

    It is H(mean p) - mean H(p), with p = sigmoid(gap) (BALD, Houlsby et al. 2011): zero where all
    members agree, also where all are unsure. Questions with a small margin are those that people
    answer at random.
    """
    p = 1 / (1 + np.exp(-np.clip(gaps, -30, 30)))
    entropy = lambda p: -(p * np.log(p + 1e-12) + (1 - p) * np.log(1 - p + 1e-12))
    return np.maximum(entropy(p.mean(0)) - entropy(p).mean(0), 0.0)


def _ensemble_disagreement(gaps: Gaps, x: np.ndarray) -> np.ndarray:
    """Returns the disagreement on each question `[q, ..., f]`; empty without members."""
    by_member = gaps(x)
    return disagreement(by_member) if len(by_member) else np.zeros(0)


def _density(features: np.ndarray, sample: int = 500) -> np.ndarray:
    """Returns `[m]`, mean 1: the density of candidates near each, so that outliers count less.

    It is the mean of exp(-d² / 2h²) to a sample of the candidates, where h² is their mean squared
    distance.
    """
    some = features[:: max(1, len(features) // sample)]
    square = lambda x: (x**2).sum(1)
    far = np.maximum(square(features)[:, None] + square(some)[None] - 2 * features @ some.T, 0)
    near = np.exp(-far / (2 * max(far.mean(), 1e-12))).mean(1)
    return near / near.mean()


def _drawn(
    random: np.random.Generator, m: int, size: int, earlier: Collection[tuple[int, ...]]
) -> np.ndarray:
    """Returns different questions about different candidates, drawn evenly, at most `_TRIED`."""
    if m < size:
        return np.zeros((0, size), int)
    if m <= 8:
        drawn = np.argsort(random.random((_TRIED, m)), 1)[:, :size]
    else:
        drawn = random.integers(m, size=(_TRIED, size))
    ordered = np.sort(drawn, 1)
    different = (np.diff(ordered, axis=1) > 0).all(1)
    known = {tuple(sorted(question)) for question in earlier}
    _, first = np.unique(ordered, axis=0, return_index=True)
    new = np.zeros(_TRIED, bool)
    new[first] = [tuple(question) not in known for question in ordered[first].tolist()]
    return drawn[different & new]


def _apart(drawn: np.ndarray, value: np.ndarray, n: int, m: int) -> np.ndarray:
    """Returns the `n` most valuable questions, with no candidate in more of them than need be.

    value: `[q]`, or empty for random questions, which are taken in their order.
    """
    order = np.argsort(-value, kind="stable") if len(value) else np.arange(len(drawn))
    most, times = 1, np.zeros(m, int)
    chosen: list[int] = []
    while len(chosen) < min(n, len(drawn)):
        for i in order.tolist():
            if len(chosen) < n and i not in chosen and (times[drawn[i]] < most).all():
                chosen.append(i)
                times[drawn[i]] += 1
        most += 1
    return drawn[chosen]


def _random(key: Key) -> np.random.Generator:
    import jax

    return np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())

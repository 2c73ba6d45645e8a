"""Which questions to ask next: those on which an ensemble disagrees, about candidates that stand for many."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from qdkit.types import Key

TRIED = 3000  # questions that are drawn at random, of which the best are asked
Gaps = Callable[[np.ndarray], np.ndarray]


def triplets(
    key: Key, features: np.ndarray, n: int, gaps: Gaps | None = None, asked: Collection[tuple[int, ...]] = ()
) -> np.ndarray:
    """int `[<= n, 3]`, rows of `features` `[m, f]`: is the first more like the second or the third?

    gaps: what each member of an ensemble says of triplets `[q, 3, f]`, float `[k, q]` (see `Taught.gaps`);
      random questions where left out, or where there are no members.
    asked: rows of the questions that were asked already, in any order, not to be asked again.

    Three different candidates each, no three twice, and no candidate twice as long as there are enough
    of them; fewer than `n` where there are not as many questions.
    """
    drawn = _drawn(_random(key), len(features), 3, asked)
    value = _disagreement(gaps, features[drawn]) if gaps is not None and len(drawn) else np.zeros(0)
    return _apart(drawn, value * _density(features)[drawn].mean(1) if len(value) else value, n, len(features))


def pairs(
    key: Key, features: np.ndarray, n: int, gaps: Gaps | None = None, asked: Collection[tuple[int, ...]] = ()
) -> np.ndarray:
    """int `[<= n, 2]`, rows of `features` `[m, f]`: which of the two is better?

    gaps: by how much each member of an ensemble finds the first of `[q, 2, f]` better, float `[k, q]`, in
    units of the logistic loss. The rest as in `triplets`.
    """
    drawn = _drawn(_random(key), len(features), 2, asked)
    value = _disagreement(gaps, features[drawn]) if gaps is not None and len(drawn) else np.zeros(0)
    return _apart(drawn, value * _density(features)[drawn].mean(1) if len(value) else value, n, len(features))


def disagreement(gaps: np.ndarray) -> np.ndarray:
    """nats `[q]`: what an answer tells of which member is right (BALD, Houlsby et al. 2011), from gaps `[k, q]`.

    H(mean p) - mean H(p), with p = sigmoid(gap). Zero where all say the same, also where all are unsure:
    questions with a small margin are those that people answer at random.
    """
    p = 1 / (1 + np.exp(-np.clip(gaps, -30, 30)))
    entropy = lambda p: -(p * np.log(p + 1e-12) + (1 - p) * np.log(1 - p + 1e-12))
    return np.maximum(entropy(p.mean(0)) - entropy(p).mean(0), 0.0)


def _disagreement(gaps: Gaps, x: np.ndarray) -> np.ndarray:
    """That of each question, none where there is no ensemble."""
    said = gaps(x)
    return disagreement(said) if len(said) else np.zeros(0)


def _density(features: np.ndarray, sample: int = 500) -> np.ndarray:
    """`[m]`, mean 1: how much of the archive is near each candidate, so that outliers are asked about less.

    The mean of exp(-d² / 2h²) to every so many of the others, where h² is their mean squared distance.
    """
    some = features[:: max(1, len(features) // sample)]
    square = lambda x: (x**2).sum(1)
    far = np.maximum(square(features)[:, None] + square(some)[None] - 2 * features @ some.T, 0)
    near = np.exp(-far / (2 * max(far.mean(), 1e-12))).mean(1)
    return near / near.mean()


def _drawn(random: np.random.Generator, m: int, size: int, asked: Collection[tuple[int, ...]]) -> np.ndarray:
    """Different questions about different candidates, drawn evenly, at most `TRIED` of them."""
    if m < size:
        return np.zeros((0, size), int)
    drawn = np.argsort(random.random((TRIED, m)), 1)[:, :size] if m <= 8 else random.integers(m, size=(TRIED, size))
    ordered = np.sort(drawn, 1)
    different = (np.diff(ordered, axis=1) > 0).all(1)
    known = {tuple(sorted(question)) for question in asked}
    _, first = np.unique(ordered, axis=0, return_index=True)
    fresh = np.zeros(TRIED, bool)
    fresh[first] = [tuple(question) not in known for question in ordered[first].tolist()]
    return drawn[different & fresh]


def _apart(drawn: np.ndarray, value: np.ndarray, n: int, m: int) -> np.ndarray:
    """The `n` most valuable questions, no candidate in more of them than need be; random ones have no value."""
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

"""The checks of an `audit`: what a judge's answers show about it, one property at a time.

The bounds of the grades are conventions. People who judge texts agree with each other in 60 to 87
of 100 cases (QDAIF, table 1), so no more than 80 is asked of a judge.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from qdkit.core.types import Judgement
from qdkit.feedback.label import NO_LABEL
from qdkit.feedback.pair_strengths import strengths
from qdkit.metrics.judge_noise import VarianceComponents, variance_components

GOOD, FAIR = 0.8, 0.6  # the least shares of agreement with these grades
_SIGNIFICANCE = 0.02  # of the sign test; an audit makes several tests
_FEWEST = 7  # texts that suffice for significance if all change in one direction
_SMALL = 0.1  # a shift below this share of the texts' spread changes few cells of an archive


class Grade(StrEnum):
    """What a figure says of a judge."""

    GOOD = "good"
    FAIR = "fair"
    POOR = "poor"
    UNKNOWN = "unknown"  # too few texts to tell


class Finding(NamedTuple):
    """One property of a judge: its figures, the grade, and a sentence with the consequence."""

    about: str
    figures: Mapping[str, Any]
    grade: Grade
    says: str


def missing_answers(judgements: Sequence[Judgement]) -> Finding:
    """Returns the share of judgements that are missing."""
    missing = float(np.mean([np.asarray(judgement.count) == 0 for judgement in judgements]))
    grade = Grade.GOOD if missing <= 0.02 else Grade.FAIR if missing <= 0.1 else Grade.POOR
    errors = Counter(
        note["error"]
        for judgement in judgements
        for note in judgement.notes or ()
        if "error" in note
    )
    commonest = f" The commonest reason: {errors.most_common(1)[0][0]:.160}" if errors else ""
    says = f"{missing:.0%} of the answers are missing.{commonest}"
    return Finding("missing answers", {"missing": missing}, grade, says)


def base_rate(judgements: Sequence[Judgement], bounds: Any) -> Finding:
    """Returns how much the values pile up: at one label, or at one end of the bounds."""
    values = np.concatenate(
        [judgement.value[np.asarray(judgement.count) > 0] for judgement in judgements]
    )
    known = values[np.isfinite(values)]
    if not len(values if _has_labels(bounds) else known):
        return Finding("base rate", {}, Grade.UNKNOWN, "It gave no value at all.")
    if _has_labels(bounds):
        return _label_base_rate(values, bounds)
    figures: dict[str, Any] = {"mean": known.mean(), "least": known.min(), "most": known.max()}
    low, high = bounds if bounds is not None else (known.min(), known.max())
    edge = 0.05 * (high - low)
    top_share = float(np.mean(known >= high - edge))
    low_share = float(np.mean(known <= low + edge))
    share = max(top_share, low_share)
    if bounds is None:
        return Finding(
            "base rate", figures, Grade.GOOD, "It has no bounds that its values could pile up at."
        )
    figures |= {"at the top": top_share, "at the bottom": low_share}
    grade = _graded_base_rate(share)
    where = "top" if top_share >= low_share else "bottom"
    says = f"{share:.0%} of its values lie at the {where} of its range; " + (
        "it hardly tells these texts apart." if grade != Grade.GOOD else "it uses the range."
    )
    return Finding("base rate", figures, grade, says)


def _label_base_rate(values: np.ndarray, labels: Sequence[str]) -> Finding:
    counts = Counter(NO_LABEL if math.isnan(v) else labels[int(v)] for v in values)
    figures: dict[str, Any] = {label: count / values.size for label, count in counts.most_common()}
    none = counts[NO_LABEL] / values.size
    if none > 0.2:
        says = f"{none:.0%} fit no label: add what is missing."
        return Finding("base rate", figures, Grade.FAIR, says)
    top, share = next(iter(figures.items()))
    says = f"It says {top!r} in {share:.0%} of all cases."
    return Finding("base rate", figures, _graded_base_rate(share), says)


def _graded_base_rate(share: float) -> Grade:
    return Grade.POOR if share > 0.95 else Grade.FAIR if share > GOOD else Grade.GOOD


def steadiness(values: np.ndarray, bounds: Any) -> Finding:
    """Returns how far the judge repeats its own judgements of the same texts."""
    if _has_labels(bounds):
        pairs = [pair for row in values.T for pair in combinations(row, 2)]
        agree = _mean([_same_label(a, b) for a, b in pairs])
        says = f"It gives a text the same label again in {agree:.0%} of all cases."
        return Finding("steadiness", {"same again": agree}, _graded(agree), says)
    try:
        variance = variance_components(values.T.tolist())
    except ValueError:
        return Finding("steadiness", {}, Grade.UNKNOWN, "Too few answers to tell.")
    figures = {"spread of texts": variance.quality, "error of a judgement": variance.noise}
    if math.isnan(variance.reliability):
        return Finding(
            "steadiness", figures, Grade.POOR, "It gives all of these texts the same value."
        )
    figures["reliability"] = variance.reliability
    says = _reliability_advice(variance)
    return Finding("steadiness", figures, _graded(variance.reliability), says)


def _reliability_advice(variance: VarianceComponents) -> str:
    """Returns what follows from the error of a judgement (Spearman 1910, Brown 1910)."""
    r = variance.reliability
    if r >= GOOD:
        return (
            f"{r:.0%} of what differs in its values are the texts themselves; the rest is chance."
        )
    if r < 0.05:
        return "Its values are chance: asked again about the same text it says something else."
    n = math.ceil(GOOD * (1 - r) / (r * (1 - GOOD)))
    return (
        f"Only {r:.0%} of what differs in its values are the texts: judge each {n} times, and "
        f"elites again."
    )


def position_bias(judged: Sequence[Mapping[str, Any]]) -> Finding:
    """Returns how often a `Pairwise` prefers the same text of a pair in both orders.

    judged: its notes on each text, with `won`, `stood_first` and `against`.
    """
    first, second, won = [], [], []
    agree = []
    for i, note in enumerate(judged):
        columns = (note.get(part, ()) for part in ("won", "stood_first", "against"))
        comparisons = [*zip(*columns, strict=True)]
        both_orders = zip(comparisons[::2], comparisons[1::2], strict=True)
        agree += [a[0] == b[0] for a, b in both_orders]
        for score, stood_first, number in comparisons:
            other = len(judged) + number
            first.append(i if stood_first else other)
            second.append(other if stood_first else i)
            won.append(score if stood_first else 1 - score)
    if not agree:
        return Finding("position", {}, Grade.UNKNOWN, "No pair was compared in both orders.")
    term = strengths(first, second, won, prior=0.1).position
    consistent, firsts = _mean(agree), float(np.mean(won))
    figures = {"same in both orders": consistent, "the first wins": firsts, "position": term}
    place = "first" if firsts >= 0.5 else "second"
    says = (
        f"Asked in the other order it says the same in {consistent:.0%} of all pairs; it leans "
        f"to what comes {place}. Ask in both orders, or give it position=."
    )
    return Finding("position", figures, _graded(consistent), says)


def invariance(name: str, values: np.ndarray, changed: np.ndarray, bounds: Any) -> Finding:
    """Returns what a change of the texts does to a judge that should ignore it.

    values: float `[repeats, texts]`, of the texts as they are. changed: float `[texts]`.
    The change of numbers is judged by its size, and by a sign test of its direction.
    """
    if _has_labels(bounds):
        return _label_invariance(name, values, changed)
    before = np.array(
        [row[np.isfinite(row)].mean() if np.isfinite(row).any() else np.nan for row in values.T]
    )
    delta = (changed - before)[np.isfinite(changed - before)]
    if not len(delta):
        return Finding(name, {}, Grade.UNKNOWN, "No text was judged both ways.")
    p, spread = sign_test(delta), float(np.nanstd(before))
    shift = float(delta.mean())
    figures = {"mean change": shift, "mean size": float(np.abs(delta).mean()), "sign test p": p}
    if (delta != 0).any() and len(delta) < _FEWEST:
        grade, says = Grade.UNKNOWN, f"Too few texts to tell: give {_FEWEST} or more."
    elif p >= _SIGNIFICANCE and abs(shift) > spread / 2:
        grade = Grade.UNKNOWN
        says = f"{name} may move its values: more texts tell it from chance."
    elif p >= _SIGNIFICANCE or abs(shift) <= _SMALL * spread:
        grade = Grade.GOOD
        says = f"{name} moves its values too little to count or to tell from chance."
    else:
        grade = Grade.POOR if abs(shift) > spread / 2 else Grade.FAIR
        way = "raises" if shift > 0 else "lowers"
        says = f"{name} {way} its values; a search would find that out and use it."
    return Finding(name, figures, grade, says)


def _label_invariance(name: str, values: np.ndarray, changed: np.ndarray) -> Finding:
    before = values[0]
    same = _mean([_same_label(a, b) for a, b in zip(before, changed, strict=True)])
    again = _mean(
        [_same_label(a, b) for row in values[1:] for a, b in zip(before, row, strict=True)]
    )
    figures = {"same label": same, "same unchanged": again}
    says = (
        f"With {name} it gives the same label in {same:.0%} of all cases, and without in "
        f"{again:.0%}."
    )
    return Finding(name, figures, _graded(same / again if again else math.nan), says)


def label_agreement(values: np.ndarray, truth: Sequence[Any], bounds: Any) -> Finding:
    """Returns how far the judge agrees with a person: on the labels, or on the order."""
    if _has_labels(bounds):
        labels = [NO_LABEL if math.isnan(v) else bounds[int(v)] for v in values]
        agree = _mean([a == b for a, b in zip(labels, truth, strict=True)])
        says = f"It gives the label that the labels give in {agree:.0%} of {len(truth)} cases."
        return Finding("agreement", {"same label": agree}, _graded(agree), says)
    right = concordance(values, truth)
    says = (
        f"Of two texts it puts {right:.0%} in the order in which the labels put them; chance is "
        f"50%."
    )
    return Finding("agreement", {"same order": right}, _graded(right), says)


def sign_test(delta: np.ndarray) -> float:
    """Returns the two-sided probability of signs as uneven as these if both were equally likely.

    Zeros do not count.
    """
    up, down = int((delta > 0).sum()), int((delta < 0).sum())
    n = up + down
    if not n:
        return 1.0
    tail = sum(math.comb(n, k) for k in range(min(up, down) + 1)) / 2**n
    return min(1.0, 2 * tail)


def concordance(values: Sequence[float] | np.ndarray, truth: Sequence[float]) -> float:
    """Returns the share of pairs with different `truth` that `values` put in the same order.

    A tie counts ½; the result is nan if there is no such pair. For a truth of two values it is the
    area under the ROC curve.
    """
    v, t = np.asarray(values, float), np.asarray(truth, float)
    known = np.isfinite(v) & np.isfinite(t)
    v, t = v[known], t[known]
    pairs = [(i, j) for i, j in combinations(range(len(v)), 2) if t[i] != t[j]]
    return _mean([0.5 + 0.5 * np.sign(v[i] - v[j]) * np.sign(t[i] - t[j]) for i, j in pairs])


def _same_label(a: float, b: float) -> bool:
    """Whether two labels are equal; nan, "none of these", is a label too."""
    return a == b or (math.isnan(a) and math.isnan(b))


def _has_labels(bounds: Any) -> bool:
    """Whether the values of a judge with these bounds are indices of labels."""
    return bounds is not None and isinstance(bounds[0], str)


def _graded(share: float) -> Grade:
    if math.isnan(share):
        return Grade.UNKNOWN
    return Grade.GOOD if share >= GOOD else Grade.FAIR if share >= FAIR else Grade.POOR


def _mean(values: Sequence[Any]) -> float:
    return float(np.mean(values)) if len(values) else math.nan

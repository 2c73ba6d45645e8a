"""What is found out about a judge, one thing at a time, from what it said; `audit` asks.

The bounds of the grades are conventions: people who judge texts agree with each other in 60 to 87 of 100
cases (QDAIF, table 1), so that a judge is not asked for more than 80.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from qdkit.feedback.pairs import strengths
from qdkit.noise import Parts, parts
from qdkit.types import Judgement

GOOD, FAIR = 0.8, 0.6  # shares from which agreement is good, and fair
CERTAIN = 0.02  # of the sign test, of which an audit makes several
FEWEST = 7  # texts of which all have to change in one direction for the sign test to say so
SMALL = 0.1  # of the spread of texts: a shift by less changes few places in an archive


class Grade(StrEnum):
    """What a figure says of a judge."""

    GOOD = "good"
    FAIR = "fair"
    POOR = "poor"
    UNKNOWN = "unknown"  # too few texts to tell


class Finding(NamedTuple):
    """One thing that was found out: its figures, the grade, and a sentence that says what follows."""

    about: str
    figures: Mapping[str, Any]
    grade: Grade
    says: str


def answers(said: Sequence[Judgement]) -> Finding:
    """How many of the judgements came."""
    missing = float(np.mean([np.asarray(judgement.count) == 0 for judgement in said]))
    grade = Grade.GOOD if missing <= 0.02 else Grade.FAIR if missing <= 0.1 else Grade.POOR
    errors = Counter(note["error"] for j in said for note in j.notes or () if "error" in note)
    commonest = f" The commonest reason: {errors.most_common(1)[0][0]:.160}" if errors else ""
    return Finding(
        "missing answers", {"missing": missing}, grade, f"{missing:.0%} of the answers are missing.{commonest}"
    )


def base_rate(said: Sequence[Judgement], bounds: Any) -> Finding:
    """What it says most of the time, whatever it is asked about."""
    values = np.concatenate([judgement.value[np.asarray(judgement.count) > 0] for judgement in said])
    known = values[np.isfinite(values)]
    if not len(values if has_labels(bounds) else known):
        return Finding("base rate", {}, Grade.UNKNOWN, "It gave no value at all.")
    if has_labels(bounds):
        counts = Counter("none of these" if math.isnan(v) else bounds[int(v)] for v in values)
        (top, most), none = counts.most_common(1)[0], counts["none of these"] / values.size
        figures: dict[str, Any] = {label: count / values.size for label, count in counts.most_common()}
        if none > 0.2:
            return Finding("base rate", figures, Grade.FAIR, f"{none:.0%} fit no label: add what is missing.")
        grade = Grade.POOR if most / values.size > 0.95 else Grade.FAIR if most / values.size > GOOD else Grade.GOOD
        return Finding("base rate", figures, grade, f"It says {top!r} in {most / values.size:.0%} of all cases.")
    figures = {"mean": known.mean(), "least": known.min(), "most": known.max()}
    low, high = bounds if bounds is not None else (known.min(), known.max())
    edge = 0.05 * (high - low)
    top_share, low_share = float(np.mean(known >= high - edge)), float(np.mean(known <= low + edge))
    share = max(top_share, low_share)
    if bounds is None:
        return Finding("base rate", figures, Grade.GOOD, "It has no bounds that its values could pile up at.")
    figures |= {"at the top": top_share, "at the bottom": low_share}
    grade = Grade.POOR if share > 0.95 else Grade.FAIR if share > GOOD else Grade.GOOD
    where = "top" if top_share >= low_share else "bottom"
    says = f"{share:.0%} of its values lie at the {where} of its range; " + (
        "it tells these texts hardly apart." if grade != Grade.GOOD else "it uses the range."
    )
    return Finding("base rate", figures, grade, says)


def steadiness(values: np.ndarray, bounds: Any) -> Finding:
    """Whether it says the same again."""
    if has_labels(bounds):
        agree = _mean([same(row[i], row[j]) for row in values.T for i, j in combinations(range(len(row)), 2)])
        says = f"It gives a text the same label again in {agree:.0%} of all cases."
        return Finding("steadiness", {"same again": agree}, _graded(agree), says)
    try:
        found = parts(values.T.tolist())
    except ValueError:
        return Finding("steadiness", {}, Grade.UNKNOWN, "Too few answers to tell.")
    figures = {"spread of texts": found.quality, "error of a judgement": found.noise}
    if math.isnan(found.reliability):
        return Finding("steadiness", figures, Grade.POOR, "It gives all of these texts the same value.")
    figures["reliability"] = found.reliability
    return Finding("steadiness", figures, _graded(found.reliability), _how_steady(found))


def _how_steady(found: Parts) -> str:
    """What follows from the error of a judgement (Spearman 1910, Brown 1910)."""
    r = found.reliability
    if r >= GOOD:
        return f"{r:.0%} of what differs in its values are the texts themselves; the rest is chance."
    if r < 0.05:
        return "Its values are chance: asked again about the same text it says something else."
    n = math.ceil(GOOD * (1 - r) / (r * (1 - GOOD)))
    return f"Only {r:.0%} of what differs in its values are the texts: judge each {n} times, and elites again."


def position(told: Sequence[Mapping[str, Any]]) -> Finding:
    """Whether the same of two is better in both orders; `told` is what a `Pairwise` says of each text."""
    first, second, won = [], [], []
    agree = []
    for i, note in enumerate(told):
        pairs = [*zip(*(note.get(part, ()) for part in ("won", "stood_first", "against")), strict=True)]
        agree += [a[0] == b[0] for a, b in zip(pairs[::2], pairs[1::2], strict=True)]
        for score, stood_first, number in pairs:
            other = len(told) + number
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
        f"Asked in the other order it says the same in {consistent:.0%} of all pairs; it leans to what comes {place}."
    )
    return Finding("position", figures, _graded(consistent), says + " Ask in both orders, or give it position=.")


def invariance(name: str, values: np.ndarray, changed: np.ndarray, bounds: Any) -> Finding:
    """What a change does that should do nothing: by its size, and by a sign test of its direction."""
    if has_labels(bounds):
        kept = _mean([same(a, b) for a, b in zip(values[0], changed, strict=True)])
        again = _mean([same(a, b) for row in values[1:] for a, b in zip(values[0], row, strict=True)])
        figures = {"same label": kept, "same unchanged": again}
        says = f"With {name} it gives the same label in {kept:.0%} of all cases, and without in {again:.0%}."
        return Finding(name, figures, _graded(kept / again if again else math.nan), says)
    before = np.array([row[np.isfinite(row)].mean() if np.isfinite(row).any() else np.nan for row in values.T])
    delta = (changed - before)[np.isfinite(changed - before)]
    if not len(delta):
        return Finding(name, {}, Grade.UNKNOWN, "No text was judged both ways.")
    p, spread = sign_test(delta), float(np.nanstd(before))
    shift = float(delta.mean())
    figures = {"mean change": shift, "mean size": float(np.abs(delta).mean()), "sign test p": p}
    if (delta != 0).any() and len(delta) < FEWEST:
        return Finding(name, figures, Grade.UNKNOWN, f"Too few texts to tell: give {FEWEST} or more.")
    if p >= CERTAIN and abs(shift) > spread / 2:
        return Finding(name, figures, Grade.UNKNOWN, f"{name} may move its values: more texts tell it from chance.")
    if p >= CERTAIN or abs(shift) <= SMALL * spread:
        return Finding(
            name, figures, Grade.GOOD, f"{name} moves its values too little to count or to tell from chance."
        )
    grade = Grade.POOR if abs(shift) > spread / 2 else Grade.FAIR
    way = "raises" if shift > 0 else "lowers"
    return Finding(name, figures, grade, f"{name} {way} its values; a search would find that out and use it.")


def agreement(values: np.ndarray, truth: Sequence[Any], bounds: Any) -> Finding:
    """Whether it says what a person says: the same label, or the same order."""
    if has_labels(bounds):
        given = ["none of these" if math.isnan(v) else bounds[int(v)] for v in values]
        agree = _mean([a == b for a, b in zip(given, truth, strict=True)])
        says = f"It gives the label that the labels give in {agree:.0%} of {len(truth)} cases."
        return Finding("agreement", {"same label": agree}, _graded(agree), says)
    right = concordance(values, truth)
    says = f"Of two texts it puts {right:.0%} in the order in which the labels put them; chance is 50%."
    return Finding("agreement", {"same order": right}, _graded(right), says)


def sign_test(delta: np.ndarray) -> float:
    """The two-sided probability of so uneven signs if both were as likely; zeros do not count."""
    up, down = int((delta > 0).sum()), int((delta < 0).sum())
    n = up + down
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(min(up, down) + 1)) / 2**n) if n else 1.0


def concordance(values: Sequence[float] | np.ndarray, truth: Sequence[float]) -> float:
    """The share of pairs with different truth that are ordered as it says; a tie is half; nan where there is no pair.

    For a truth of two values it is the area under the ROC curve.
    """
    v, t = np.asarray(values, float), np.asarray(truth, float)
    known = np.isfinite(v) & np.isfinite(t)
    v, t = v[known], t[known]
    pairs = [(i, j) for i, j in combinations(range(len(v)), 2) if t[i] != t[j]]
    return _mean([0.5 + 0.5 * np.sign(v[i] - v[j]) * np.sign(t[i] - t[j]) for i, j in pairs])


def same(a: float, b: float) -> bool:
    """Equal labels; none of them is a label too."""
    return a == b or (math.isnan(a) and math.isnan(b))


def has_labels(bounds: Any) -> bool:
    """Whether a judge numbers labels."""
    return bounds is not None and isinstance(bounds[0], str)


def _graded(share: float) -> Grade:
    if math.isnan(share):
        return Grade.UNKNOWN
    return Grade.GOOD if share >= GOOD else Grade.FAIR if share >= FAIR else Grade.POOR


def _mean(values: Sequence[Any]) -> float:
    return float(np.mean(values)) if len(values) else math.nan

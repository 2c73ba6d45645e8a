"""The effect of a noisy judge on an archive, and the formulas that correct it."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

from qdkit.metrics.judge_noise import VarianceComponents, lower_bound, shrunk, variance_components

CELLS, CALLS, SEEDS = 50, 3000, 20


class Elites(NamedTuple):
    """The elites' true scores and the means and counts of their judgements, float `[cells]`."""

    truth: np.ndarray
    mean: np.ndarray
    count: np.ndarray


@cache
def elitist_archive(seed, judgements=1, challenge=False):
    """Returns the elites of an elitist archive.

    Candidates have true scores N(0, 1), in cells drawn evenly, and are judged with noise N(0, 1).

    judgements: the number for each candidate. challenge: whether a candidate that seems to win is
      judged once more, and the elite too.
    """
    rng = np.random.default_rng(seed)
    truth, total, count, calls = np.zeros(CELLS), np.zeros(CELLS), np.zeros(CELLS), 0
    while calls < CALLS:
        cell, q = rng.integers(CELLS), rng.normal()
        score, n = (q + rng.normal(size=judgements)).sum(), judgements
        calls += judgements
        if challenge and count[cell] and score / n > total[cell] / count[cell]:
            score, n = score + q + rng.normal(), n + 1
            total[cell], count[cell] = total[cell] + truth[cell] + rng.normal(), count[cell] + 1
            calls += 2
        if not count[cell] or score / n > total[cell] / count[cell]:
            truth[cell], total[cell], count[cell] = q, score, n
    return Elites(truth, total / count, count)


def reported_and_true(report, **rule):
    """Returns the means over cells and seeds of the reported and the true scores."""
    kept = [elitist_archive(seed, **rule) for seed in range(SEEDS)]
    return np.mean([report(k).mean() for k in kept]), np.mean([k.truth.mean() for k in kept])


MEAN = lambda kept: kept.mean
SHRUNK = lambda kept: shrunk(kept.mean, kept.count, VarianceComponents(0.0, 1.0, 1.0))


def test_an_elitist_archive_overestimates_its_quality():
    """With one judgement each the report is too high (reference: 3.243 and 1.615)."""
    reported, true = reported_and_true(MEAN)
    assert (reported, true) == pytest.approx((3.243, 1.615), abs=0.08)


def test_means_reduce_the_overestimate_and_shrinkage_removes_it():
    """Of three judgements each (reference: 2.130 and 1.588; shrunk 1.597)."""
    reported, true = reported_and_true(MEAN, judgements=3)
    assert (reported, true) == pytest.approx((2.130, 1.588), abs=0.08)
    assert reported_and_true(SHRUNK, judgements=3)[0] == pytest.approx(true, abs=0.04)
    assert reported_and_true(SHRUNK)[0] == pytest.approx(1.615, abs=0.06)


def test_reevaluation_keeps_better_elites_for_the_same_calls():
    """Both are judged again before one replaces the other (reference: 2.624 and 1.816)."""
    reported, true = reported_and_true(MEAN, challenge=True)
    assert (reported, true) == pytest.approx((2.624, 1.816), abs=0.08)
    assert true > reported_and_true(MEAN)[1] + 0.1


@pytest.mark.parametrize(("quality", "noise"), [(1.0, 0.5), (0.3, 1.0), (0.0, 1.0), (1.0, 0.0)])
def test_the_variance_parts_of_scores_are_recovered(quality, noise):
    """For unequal counts, and with missing judgements."""
    rng = np.random.default_rng(0)
    scores = [
        [*(5 + quality * rng.normal() + noise * rng.normal(size=rng.integers(1, 5))), np.nan]
        for _ in range(4000)
    ]
    result = variance_components(scores)
    assert result == pytest.approx((5, quality, noise), abs=0.06)
    assert result.reliability == pytest.approx(quality**2 / (quality**2 + noise**2), abs=0.06)


def test_the_parts_by_hand():
    """Two things judged twice: within (½ + ½) / 2, between 2·(2² + 2²) / 1, mean 3, n0 = 2."""
    result = variance_components([[0.5, 1.5], [4.5, 5.5]])
    assert result == pytest.approx((3, np.sqrt((16 - 0.5) / 2), np.sqrt(0.5)))


def test_variance_parts_need_repeated_judgements():
    """Without them noise cannot be told from quality."""
    for scores in ([[1.0], [2.0]], [[1.0, 2.0]], [[np.nan], [1.0, 2.0]]):
        with pytest.raises(ValueError, match="judge two or more, and each of them again"):
            variance_components(scores)


def test_shrinkage_and_bounds_by_hand():
    """One judgement as noisy as the spread of things is moved half way to the mean.

    A thing without judgements has the mean.
    """
    about = VarianceComponents(2.0, 1.0, 1.0)
    assert shrunk(
        np.array([4.0, 4.0, np.nan, 4.0]), np.array([1, 3, 0, 10**9]), about
    ) == pytest.approx([3, 3.5, 2, 4])
    assert shrunk(np.array([4.0]), 1, VarianceComponents(2.0, 0.0, 0.0)).tolist() == [2]
    assert lower_bound(np.array([4.0, 4.0]), np.array([1, 4]), 2.0) == pytest.approx([2, 3])
    assert lower_bound(np.array([4.0, 4.0]), np.array([1, 0]), 2.0, c=0.0).tolist() == [4, -np.inf]

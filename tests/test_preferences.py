"""Planted tastes are recovered, also those of a minority; nothing is made up."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from qdkit import Batch, Evaluation, Proposal, load
from qdkit.archives import Grid
from qdkit.core.types import Outcome
from qdkit.feedback import Measured
from qdkit.feedback.preferences import (
    Comparisons,
    Criteria,
    Preferred,
    accuracy,
    by_group,
    compared,
    for_each_group,
    held_out,
    odd_one_out,
    ranking_pairs,
    taste,
    tastes,
)
from qdkit.llm import Unanswered
from qdkit.operators import Gaussian
from tests.worlds import search_of

KEY = jax.random.key(0)
MINORITY = np.arange(20) >= 15  # the raters of the minority


def simulate(weights, pairs, seed=0, position=0.0, surely=False):
    """Returns comparisons of new things by raters with these weights, and the features.

    weights: float `[raters, f]`.
    """
    random = np.random.default_rng(seed)
    rater = np.repeat(np.arange(len(weights)), pairs)
    features = random.normal(size=(2 * len(rater), weights.shape[1]))
    order = random.choice([-1.0, 1.0], len(rater)) if position else np.zeros(len(rater))
    odds = ((features[::2] - features[1::2]) * weights[rater]).sum(1) + position * order
    won = odds > 0 if surely else random.random(len(odds)) < 1 / (1 + np.exp(-odds))
    rows = np.arange(len(features))
    return Comparisons(rows[::2], rows[1::2], won, order, rater), features


def opposed(seed):
    """Returns weights of twenty raters who agree on seven features of eight.

    On the first feature, five raters want the opposite.
    """
    shared = np.random.default_rng(seed).normal(size=8)
    shared[0] = 0
    return (
        1.45 * shared / np.linalg.norm(shared)
        + np.where(MINORITY, -1.8, 1.8)[:, None] * np.eye(8)[0]
    )


def batch_of(features, notes=None):
    made = Batch.unevaluated(Proposal.of([str(i) for i in range(len(features))], "test"))
    return made.replace(features=np.asarray(features, float), notes=notes or [{}] * len(features))


# One taste.


def test_one_hot_features_give_the_likeliest_strengths():
    """The known optimum of three items that were compared nine times (by the package choix)."""
    pairs = [(0, 1)] * 3 + [(1, 2)] * 2 + [(0, 2)] * 4 + [(2, 0), (1, 0)]
    left, right = zip(*pairs, strict=True)
    wins = Comparisons(left, right, np.ones(len(pairs)))
    fit = taste(wins, np.eye(3), prior=1e-6)
    strength = fit.utility(np.eye(3))
    assert strength - strength.mean() == pytest.approx([0.871051, 0.254330, -1.125382], abs=1e-5)
    assert fit.probability(Comparisons([0], [1], [1]), np.eye(3)) == pytest.approx(
        [0.649472], abs=1e-5
    )


def test_the_position_term_is_recovered_and_weights_are_not_flattened():
    """A term of 0.8 is recovered.

    If the order is unknown, weights shrink (reference: slopes 1.009 and 0.890).
    """
    weights = np.array([1.0, -0.5, 0.3, 0.0])
    comparisons, features = simulate(weights[None], 6000, seed=1, position=0.8)
    with_order, without = (
        taste(comparisons, features),
        taste(replace(comparisons, order=0.0), features),
    )
    slope = lambda fit: float(fit.weights / fit.scale @ weights / (weights @ weights))
    assert with_order.position == pytest.approx(0.8, abs=0.08) and without.position == 0
    assert slope(with_order) == pytest.approx(1, abs=0.06)
    assert 0.8 < slope(without) < slope(with_order) - 0.05


@pytest.mark.parametrize("seed", range(5))
def test_comparisons_without_information_do_not_change_a_fit(seed):
    """Such as constants and units of features, swapped sides, and the order of rows."""
    comparisons, features = simulate(
        np.random.default_rng(seed).normal(size=(3, 4)), 30, seed, position=0.5
    )
    fit, moved = (
        taste(comparisons, features, heads=0),
        features * [1, 10, 0.1, 3] + [0, 1e4, -7, 2],
    )
    mixed = np.random.default_rng(seed).permutation(len(comparisons))
    swapped = Comparisons(
        comparisons.right,
        comparisons.left,
        1 - comparisons.won,
        -comparisons.order,
        comparisons.rater,
    )
    for other, of in (
        (comparisons, moved),
        (swapped, features),
        (comparisons.take(mixed), features),
    ):
        again = taste(other, of, heads=0)
        assert again.score(of) == pytest.approx(fit.score(features), abs=1e-8)
        assert again.position == pytest.approx(fit.position)


def test_a_score_is_in_standard_deviations_of_the_compared_things():
    """Over these it has mean 0 and standard deviation 1, and so has each head."""
    comparisons, features = simulate(np.array([[2.0, 1.0]]), 50)
    fit = taste(comparisons, features)
    for scores in (fit.score(features), *fit.scores(features)):
        assert (scores.mean(), scores.std()) == pytest.approx((0, 1))


def test_a_tie_counts_half_for_each():
    """A tie tells as much as a win and a loss that count half.

    Smoothing does the same to every answer.
    """
    features = np.array([[0.0], [1.0], [3.0]])
    wins = Comparisons([0, 1, 1, 2], [1, 0, 2, 0], [1, 1, 0, 1])
    tied = Comparisons([0, 1, 2], [1, 2, 0], [0.5, 0, 1])
    double = Comparisons([1, 1, 2, 2], [2, 2, 0, 0], [0, 0, 1, 1])
    both = [
        Comparisons(*(np.concatenate(pair) for pair in zip(_columns(a), _columns(b), strict=True)))
        for a, b in ((wins.take(np.array([0, 1])), double), (tied, tied))
    ]
    assert taste(both[0], features).weights == pytest.approx(taste(both[1], features).weights)
    smooth = Comparisons(tied.left, tied.right, 0.9 * tied.won + 0.05)
    assert taste(tied, features, smoothing=0.1).weights == pytest.approx(
        taste(smooth, features).weights
    )


def _columns(comparisons):
    return comparisons.left, comparisons.right, comparisons.won


def test_weights_stay_finite_if_one_feature_decides_all():
    """Separable outcomes and heavy tails give finite weights."""
    random = np.random.default_rng(0)
    for features in (
        random.normal(size=(400, 3)),
        random.standard_cauchy((400, 3)),
        np.repeat(np.eye(4), 100, 0),
    ):
        left, right = random.integers(400, size=(2, 2000))
        fit = taste(
            Comparisons(left, right, features[left, 0] > features[right, 0]),
            features,
            prior=0.1,
            heads=3,
        )
        assert np.isfinite(fit.weights).all() and fit.weights[0] > 1


def test_the_spread_over_heads_shrinks_with_comparisons():
    """It is about that of repeated fits to new comparisons."""
    weights, point = np.array([[1.0, 0.5, -0.5]]), np.array([[1.0, 1.0, 1.0]])
    spread = {n: taste(*simulate(weights, n), heads=50).scores(point).std() for n in (50, 800)}
    anew = np.std(
        [taste(*simulate(weights, 800, seed), heads=0).score(point) for seed in range(50)]
    )
    assert spread[800] < spread[50] / 2 and 0.5 < spread[800] / anew < 2


def test_a_preferred_middle_value_is_recovered():
    """An ideal point is recovered, in the feature's own unit.

    If more is always better there is none.
    """
    random = np.random.default_rng(0)
    features = random.normal([100.0, 0.0, 0.0], [10.0, 1.0, 1.0], (600, 3))
    left, right = random.integers(600, size=(2, 3000))
    odds = lambda f: -(((f[:, 0] - 105) / 10) ** 2) + f[:, 1]
    won = random.random(3000) < 1 / (1 + np.exp(odds(features)[right] - odds(features)[left]))
    comparisons = Comparisons(left, right, won)
    plain, peaked = (taste(comparisons, features, peaks=peaks) for peaks in (False, True))
    assert peaked.best[0] == pytest.approx(105, abs=1.5) and np.isnan(plain.best).all()
    assert np.isnan(peaked.best[1])
    middle, truth = np.array([[105.0, 0, 0], [80, 0, 0], [130, 0, 0]]), np.array([0, -6.25, -6.25])
    utility = peaked.utility(middle)
    assert utility - utility[0] == pytest.approx(truth, abs=1.5)
    moved = taste(comparisons, features * [0.1, 3, 1] + [5, 5, 5], peaks=True)
    assert moved.score(middle * [0.1, 3, 1] + [5, 5, 5]) == pytest.approx(peaked.score(middle))
    assert (peaked.score(features).mean(), peaked.score(features).std()) == pytest.approx(
        (0, 1), abs=0.01
    )


# Several.


@pytest.mark.parametrize("seed", range(3))
def test_the_taste_of_a_minority_is_recovered(seed):
    """One taste for all predicts it little better than a coin.

    The mixture finds both groups, with every rater in the right one.
    """
    comparisons, features = simulate(opposed(seed), 40, seed)
    one, several = (
        taste(comparisons, features, heads=0),
        tastes(comparisons, features, heads=0, seed=seed),
    )
    fresh, unseen = simulate(opposed(seed), 100, seed + 1000, surely=True)
    minority = MINORITY[fresh.rater]
    predicted = {
        name: fit.probability(fresh, unseen) for name, fit in (("one", one), ("several", several))
    }
    assert (
        accuracy(predicted["one"][minority], fresh.take(minority))
        < 0.65
        < accuracy(predicted["one"][~minority], fresh.take(~minority))
    )
    assert (
        accuracy(predicted["several"][minority], fresh.take(minority))
        >= 0.9
        <= accuracy(predicted["several"][~minority], fresh.take(~minority))
    )
    assert min(several.bic, key=several.bic.get) == 2 and several.share == pytest.approx(
        [0.75, 0.25], abs=0.01
    )
    assert (several.member.argmax(1) == MINORITY).all()
    assert [(g.raters, g.comparisons) for g in several.groups] == [(15, 600), (5, 200)]
    rows = by_group(predicted["several"], fresh, several)
    assert [(row.raters, row.comparisons) for row in rows] == [(15, 1500), (5, 500)] and rows[
        1
    ].accuracy >= 0.9


@pytest.mark.parametrize("groups", [2, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_the_penalised_likelihood_never_falls_in_em(groups, seed):
    """Also with ties, a position term, smoothing and a strong prior."""
    comparisons, features = simulate(opposed(seed), 6, seed, position=0.4)
    won = np.where(
        np.random.default_rng(seed).random(len(comparisons)) < 0.2, 0.5, comparisons.won
    )
    settings = {"prior": (0.1, 1.0, 10.0, 1.0)[seed], "smoothing": (0.0, 0.05)[seed % 2]}
    rise = tastes(
        replace(comparisons, won=won),
        features,
        groups=groups,
        heads=0,
        restarts=2,
        seed=seed,
        **settings,
    ).rise
    assert len(rise) > 2 and (np.diff(rise) >= -1e-9 * abs(rise[-1])).all()


def test_raters_who_agree_are_one_group():
    """BIC does not split raters with one taste."""
    comparisons, features = simulate(np.tile([1.5, -1.0, 0.5], (10, 1)), 40)
    fit = tastes(comparisons, features, heads=0)
    assert len(fit.groups) == 1 and fit.share.tolist() == [1]
    assert fit.groups[0].weights == pytest.approx(taste(comparisons, features, heads=0).weights)


def test_a_seed_gives_the_same_fit_and_another_other_heads():
    """All randomness comes from the seed."""
    comparisons, features = simulate(opposed(0), 20)
    a, b, c = (tastes(comparisons, features, groups=2, seed=seed) for seed in (1, 1, 2))
    assert (a.member == b.member).all() and (a.groups[0].heads == b.groups[0].heads).all()
    assert (a.groups[0].heads != c.groups[0].heads).any()


def test_mean_worst_and_unknown_raters_by_hand():
    """The mean counts raters, the worst is the least.

    An unknown rater is predicted by the mean over groups.
    """
    fit = tastes(*simulate(opposed(0), 30), groups=2)
    things = np.random.default_rng(0).normal(size=(6, 8))
    each = np.array([group.score(things) for group in fit.groups])
    assert fit.score(things) == pytest.approx(0.75 * each[0] + 0.25 * each[1], abs=0.01)
    assert (fit.worst(things) == each.min(0)).all()
    pair = [Comparisons([0], [1], [1], 0, rater) for rater in (0, 19, "nobody")]
    most, few, unknown = (fit.probability(p, things)[0] for p in pair)
    assert unknown == pytest.approx(0.75 * most + 0.25 * few, abs=0.01)
    assert str(fit) == "2 tastes (75%, 25%) of 600 comparisons by 20 raters"


# As a judge.


def test_a_judge_fills_the_objective_and_notes_its_spread():
    """A candidate with an unknown feature has no score."""
    fit = taste(*simulate(np.array([[1.0, -1.0]]), 60), names=("glad", "long"))
    judgement = Preferred(fit)(
        KEY, batch_of([[1, 0], [0, 1], [np.nan, 0], [np.inf, 0], [1e308, -1e308]])
    )
    assert judgement.value[0] > 0.3 > -0.3 > judgement.value[1] and np.isfinite(judgement.value[4])
    assert judgement.outcome.tolist() == [
        "ok",
        "ok",
        "invalid",
        "invalid",
        "ok",
    ] and judgement.count.tolist() == [1, 1, 0, 0, 1]
    note = judgement.notes[0]["judged"]["preferred"]
    assert (
        note["value"] == judgement.value[0]
        and note["by"] == "a taste of 60 comparisons by 1 rater"
    )
    assert note["spread"] == pytest.approx(fit.scores(np.array([[1.0, 0.0]])).std())
    assert judgement.notes[2]["error"] == "preferred: one of its features is not known"


def test_groups_are_judged_by_mean_by_worst_or_separately():
    """These are the three ways to search with opposed tastes."""
    fit = tastes(*simulate(opposed(0), 30), groups=2)
    batch = batch_of(np.random.default_rng(0).normal(size=(5, 8)))
    mean, worst = Preferred(fit)(KEY, batch), Preferred(fit, by="worst")(KEY, batch)
    assert mean.value == pytest.approx(fit.score(batch.features))
    assert worst.value == pytest.approx(fit.worst(batch.features))
    judges = for_each_group(fit)
    each = np.array([judge(KEY, batch).value for judge in judges])
    assert each == pytest.approx(np.array([group.score(batch.features) for group in fit.groups]))
    assert worst.notes[0]["judged"]["preferred"]["groups"] == each[:, 0].tolist()
    assert [judge.name for judge in judges] == ["preferred by group 1", "preferred by group 2"]
    with pytest.raises(
        ValueError, match='by the "mean" of the groups or by the "worst", not by \'best\''
    ):
        Preferred(fit, by="best")


def test_criteria_are_read_from_the_notes_of_any_judge():
    """Marks come from the domain, a judge, a rubric, or the judges of `first`.

    A missing mark is nan.
    """
    notes = [
        {"long": 3, "judged": {"glad": {"value": 0.5}, "quality": {"scores": {"form": 4}}}},
        {"judged": {}},
    ]
    read = Criteria(("long", "glad", "form"))(batch_of([[0], [0]], notes))
    assert read[0].tolist() == [3, 0.5, 4] and np.isnan(read[1]).all()

    length = Measured(lambda text: float(len(text)), "length")
    fit = taste(
        Comparisons([0, 1], [1, 2], [0, 0]), np.array([[1.0], [2.0], [3.0]]), names=("length",)
    )
    judge = Preferred(fit, read=Criteria(("length",)), first=(length,))
    batch = batch_of([[0], [0]]).replace(genome=["a", "abcd"])
    judgement = judge(KEY, batch)
    assert judgement.value == pytest.approx(fit.score(np.array([[1.0], [4.0]])))
    assert judgement.notes[1]["judged"]["length"]["value"] == 4


def test_an_outage_of_a_first_judge_is_an_infrastructure_failure():
    """The candidates have no objective, and the outcome is infrastructure."""

    def away(key, batch):
        raise Unanswered("nobody there")

    fit = taste(Comparisons([0], [1], [1]), np.array([[1.0], [2.0]]), names=("away",))
    judgement = Preferred(fit, read=Criteria(("away",)), first=(away,))(KEY, batch_of([[0]]))
    assert (
        judgement.outcome.tolist() == [Outcome.INFRASTRUCTURE] and np.isnan(judgement.value).all()
    )
    assert judgement.notes[0]["error"] == "away: nobody there"


class Points:
    """Two numbers, measured as they are."""

    def seeds(self, key, n):
        return np.zeros((n, 2), np.float32)

    def evaluate(self, genomes):
        return Evaluation(features=np.asarray(genomes))


def first_axis(batch):
    return batch.features[:, :1]


def test_maps_of_opposed_groups_mirror_each_other(run_folder):
    """A search by each group finds what it likes.

    A run says by what it was judged, and is resumed by the same fit.
    """
    comparisons, features = simulate(np.array([[0.0, 2.0]] * 6 + [[0.0, -2.0]] * 3), 30)
    fit = tastes(comparisons, features, groups=2)
    grid = Grid((5,), ((-1, 1),))
    settings = {"axes": first_axis, "batch": 8, "seed": 1}
    up, down = (
        search_of(Points(), grid, Gaussian(0.3), judge=judge, **settings).run(15, progress=False)
        for judge in for_each_group(fit)
    )
    heights = lambda search: search.elites.payload["genome"][search.elites.occupied][:, 1]
    assert np.median(heights(up)) > 1 and np.median(heights(down)) < -1

    judge = Preferred(fit, by="worst")
    with search_of(
        Points(), grid, Gaussian(0.3), judge=judge, run=run_folder, **settings
    ) as begun:
        begun.run(3, progress=False)
    again = Preferred(tastes(comparisons, features, groups=2), by="worst")
    with search_of(
        Points(), grid, Gaussian(0.3), judge=again, run=run_folder, resume=True, **settings
    ) as resumed:
        resumed.run(3, progress=False)
    with search_of(Points(), grid, Gaussian(0.3), judge=judge, **settings) as whole:
        assert (whole.run(6, progress=False).elites.objective == resumed.elites.objective).all()
    note = load(run_folder).best.notes["judged"]["preferred"]
    assert note["by"] == str(fit) and note["value"] == min(note["groups"])


# Replies.


def reply(question, ids, answer, order=(), rater="ann"):
    return SimpleNamespace(question=question, ids=ids, answer=answer, order=order, rater=rater)


def test_replies_become_arrays():
    """Pairs with ties, rankings, who stood first; skips and other questions are left out."""
    comparisons, ids = compared(
        [
            reply("pair", (7, 3), 0, (1, 0)),
            reply("pair", (3, 9), 0.5, (0, 1), "bob"),
            reply("pair", (3, 9), None),
            reply("rating", (3,), 5),
            reply("triplet", (3, 7, 9), 1),
            reply("ranking", (9, 7, 3), (2, 0, 1), (0, 1, 2)),
        ]
    )
    assert ids.tolist() == [3, 7, 9]
    rows = [
        *zip(
            ids[comparisons.left],
            ids[comparisons.right],
            comparisons.won,
            comparisons.order,
            comparisons.rater,
            strict=True,
        )
    ]
    assert rows == [
        (7, 3, 1, -1, "ann"),
        (3, 9, 0.5, 1, "bob"),
        (3, 9, 1, -1, "ann"),
        (3, 7, 1, -1, "ann"),
        (9, 7, 1, 1, "ann"),
    ]
    assert len(compared([])[0]) == 0 == len(compared([])[1])


def test_rankings_are_pairs_and_the_odd_one_makes_two_triplets():
    """Each two of a ranking once.

    The two that are alike are each nearer to the other than to the odd one.
    """
    assert ranking_pairs("bca") == [("b", "c"), ("b", "a"), ("c", "a")]
    assert odd_one_out("abc", 1) == [("a", "c", "b"), ("c", "a", "b")]
    with pytest.raises(ValueError, match="one of three things is the odd one"):
        odd_one_out("abc", 3)


@pytest.mark.parametrize("folds", [2, 10, 40])
def test_held_out_comparisons_are_not_in_the_fit_that_predicts_them(folds):
    """Each comparison is left out once."""
    comparisons, features = simulate(np.array([[2.0, 0.0]]), 40)
    fitted = []

    def fit(others, of):
        fitted.append(set(others.left.tolist()))
        return taste(others, of, heads=0)

    predicted = held_out(fit, comparisons, features, folds=folds, seed=3)
    assert np.isfinite(predicted).all() and len(fitted) == folds
    assert all(
        sum(row not in others for others in fitted) == 1 for row in comparisons.left.tolist()
    )
    assert accuracy(predicted, comparisons) > 0.7
    with pytest.raises(ValueError, match="40 comparisons are split in 2 to 40 folds, not in 41"):
        held_out(fit, comparisons, features, folds=41)


def test_the_mixture_predicts_held_out_replies_of_known_raters():
    """It predicts better than one taste for all."""
    comparisons, features = simulate(opposed(1), 20, 1)
    several = partial(tastes, groups=2, heads=0, restarts=2)
    accuracies = [
        accuracy(held_out(fit, comparisons, features, folds=4), comparisons)
        for fit in (partial(taste, heads=0), several)
    ]
    assert accuracies[1] > accuracies[0] + 0.05


def test_accuracy_counts_decided_comparisons():
    """Ties are left out, a toss-up counts ½, and ties alone give nan."""
    comparisons = Comparisons([0] * 4, [1] * 4, [1, 0, 0.5, 1])
    assert accuracy(np.array([0.9, 0.9, 0.9, 0.5]), comparisons) == pytest.approx(1.5 / 3)
    assert np.isnan(accuracy(np.array([0.9]), comparisons.take(np.array([2]))))


# Degenerate data.


def test_ties_alone_are_no_preference_and_one_rater_is_one_group():
    """Ties give weights and scores of 0; one rater is not split into groups."""
    features = np.random.default_rng(0).normal(size=(6, 2))
    ties = Comparisons([0, 2, 4], [1, 3, 5], [0.5] * 3)
    assert taste(ties, features).score(features).tolist() == [0] * 6
    alone = tastes(*simulate(np.array([[1.0, 0.0]]), 30), heads=0)
    assert len(alone.groups) == 1 and alone.raters == (0,)
    split = tastes(*simulate(np.array([[1.0, 0.0]]), 30), groups=2)
    assert np.isfinite(split.score(features)).all() and split.share.sum() == pytest.approx(1)


def test_a_feature_that_was_the_same_in_all_weighs_nothing_and_is_named():
    """Also for candidates that differ in it, or whose value is unknown."""
    comparisons, features = simulate(np.array([[2.0, 0.0]]), 30)
    features[:, 1] = 0.1
    fit = taste(comparisons, features, names=("glad", "long"))
    assert fit.constant == ("long",) and fit.weights[1] == 0
    assert str(fit).endswith(
        "by 1 rater; long: the same in all that was compared, so it weighs nothing"
    )
    assert fit.score(np.array([[1.0, 5.0], [1.0, np.nan]])) == pytest.approx(
        [fit.score(np.array([[1.0, 0.1]]))[0]] * 2
    )


PAIR = Comparisons([0], [1], [1])


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: taste(PAIR.take(np.array([], int)), np.eye(2)), "nothing was compared yet"),
        (
            lambda: taste(PAIR, np.array([[1.0, 2.0], [1.0, np.nan]]), names=("glad", "long")),
            "long of thing 1 is not",
        ),
        (lambda: taste(PAIR, np.ones((2, 3))), "all that was compared has the same features"),
        (
            lambda: taste(PAIR, np.ones((1, 3))),
            r"things 0 to 1 were compared, so features have shape \(2, f\)",
        ),
        (lambda: taste(PAIR, np.eye(2), names=("glad",)), "2 features and 1 names"),
        (lambda: taste(PAIR, np.eye(2), prior=0.0), "prior is 0.0: above 0"),
        (lambda: taste(PAIR, np.eye(2), smoothing=1.0), "smoothing is 1.0"),
        (lambda: tastes(PAIR, np.eye(2), groups=0), r"1 group or more, not \[0\]"),
        (lambda: tastes(PAIR, np.eye(2), groups=()), r"1 group or more, not \[\]"),
        (
            lambda: taste(PAIR, np.eye(2)).score(np.eye(3)),
            r"fitted to 2 features \(feature 0, feature 1\), and is shown",
        ),
        (lambda: Comparisons([0], [1], [2]), "leave skips out"),
        (lambda: Comparisons([0], [1], [np.nan]), "leave skips out"),
        (
            lambda: Comparisons([0, 1], [1], [1]),
            r"one row in every column, and these have left \(2,\), right \(1,\)",
        ),
    ],
)
def test_invalid_fits_are_refused_with_the_reason(call, why):
    """They raise ValueError with a sentence."""
    with pytest.raises(ValueError, match=why):
        call()

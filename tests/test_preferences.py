"""Tastes that are planted come back; who is outnumbered is heard; and what was never said is not made up."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from qdkit import Batch, Evaluation, Proposal, Search, load
from qdkit.archives import Grid
from qdkit.feedback import Measured
from qdkit.llm import Unanswered
from qdkit.operators import Gaussian
from qdkit.preferences import (
    Comparisons,
    Criteria,
    Preferred,
    accuracy,
    by_group,
    compared,
    for_each_group,
    held_out,
    odd_one_out,
    ranked,
    taste,
    tastes,
)
from qdkit.types import Outcome

KEY = jax.random.key(0)
FEW = np.arange(20) >= 15  # the raters of the minority


def said_by(weights, pairs, seed=0, position=0.0, surely=False):
    """What raters with these weights, float `[raters, f]`, say of pairs of new things; and the things."""
    random = np.random.default_rng(seed)
    rater = np.repeat(np.arange(len(weights)), pairs)
    features = random.normal(size=(2 * len(rater), weights.shape[1]))
    order = random.choice([-1.0, 1.0], len(rater)) if position else np.zeros(len(rater))
    odds = ((features[::2] - features[1::2]) * weights[rater]).sum(1) + position * order
    won = odds > 0 if surely else random.random(len(odds)) < 1 / (1 + np.exp(-odds))
    rows = np.arange(len(features))
    return Comparisons(rows[::2], rows[1::2], won, order, rater), features


def opposed(seed):
    """Weights of twenty raters who agree on seven features; on the first, five want the opposite."""
    shared = np.random.default_rng(seed).normal(size=8)
    shared[0] = 0
    return 1.45 * shared / np.linalg.norm(shared) + np.where(FEW, -1.8, 1.8)[:, None] * np.eye(8)[0]


def batch_of(features, notes=None):
    made = Batch.unevaluated(Proposal.of([str(i) for i in range(len(features))], "test"))
    return made.replace(features=np.asarray(features, float), notes=notes or [{}] * len(features))


# One taste.


def test_things_that_are_their_own_features_have_the_likeliest_strengths():
    """The known optimum of three items that were compared nine times (by the package choix)."""
    pairs = [(0, 1)] * 3 + [(1, 2)] * 2 + [(0, 2)] * 4 + [(2, 0), (1, 0)]
    left, right = zip(*pairs, strict=True)
    wins = Comparisons(left, right, np.ones(len(pairs)))
    found = taste(wins, np.eye(3), prior=1e-6)
    strength = found.utility(np.eye(3))
    assert strength - strength.mean() == pytest.approx([0.871051, 0.254330, -1.125382], abs=1e-5)
    assert found.probability(Comparisons([0], [1], [1]), np.eye(3)) == pytest.approx([0.649472], abs=1e-5)


def test_the_worth_of_standing_first_is_found_and_weights_are_not_flattened():
    """A term of 0.8 comes back; where nobody kept the order, weights shrink (reference: slopes 1.009 and 0.890)."""
    weights = np.array([1.0, -0.5, 0.3, 0.0])
    said, features = said_by(weights[None], 6000, seed=1, position=0.8)
    with_order, without = taste(said, features), taste(replace(said, order=0.0), features)
    slope = lambda found: float(found.weights / found.scale @ weights / (weights @ weights))
    assert with_order.position == pytest.approx(0.8, abs=0.08) and without.position == 0
    assert slope(with_order) == pytest.approx(1, abs=0.06)
    assert 0.8 < slope(without) < slope(with_order) - 0.05


@pytest.mark.parametrize("seed", range(5))
def test_what_says_nothing_changes_nothing(seed):
    """Constants and units of features, sides swapped, rows in another order."""
    said, features = said_by(np.random.default_rng(seed).normal(size=(3, 4)), 30, seed, position=0.5)
    found, moved = taste(said, features, heads=0), features * [1, 10, 0.1, 3] + [0, 1e4, -7, 2]
    mixed = np.random.default_rng(seed).permutation(len(said))
    swapped = Comparisons(said.right, said.left, 1 - said.won, -said.order, said.rater)
    for other, of in ((said, moved), (swapped, features), (said.take(mixed), features)):
        again = taste(other, of, heads=0)
        assert again.score(of) == pytest.approx(found.score(features), abs=1e-8)
        assert again.position == pytest.approx(found.position)


def test_a_score_is_counted_in_what_was_compared():
    """Of the things compared it has mean 0 and standard deviation 1; and so has each head."""
    said, features = said_by(np.array([[2.0, 1.0]]), 50)
    found = taste(said, features)
    for scores in (found.score(features), *found.scores(features)):
        assert (scores.mean(), scores.std()) == pytest.approx((0, 1))


def test_a_tie_is_half_of_each():
    """A tie tells as much as a win and a loss that count half; smoothing does the same to every answer."""
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
    assert taste(tied, features, smoothing=0.1).weights == pytest.approx(taste(smooth, features).weights)


def _columns(said):
    return said.left, said.right, said.won


def test_where_one_feature_decides_all_weights_stay_finite():
    """What can be told without fail, and heavy tails, come to an end; more comparisons are surer."""
    random = np.random.default_rng(0)
    for features in (random.normal(size=(400, 3)), random.standard_cauchy((400, 3)), np.repeat(np.eye(4), 100, 0)):
        left, right = random.integers(400, size=(2, 2000))
        found = taste(Comparisons(left, right, features[left, 0] > features[right, 0]), features, prior=0.1, heads=3)
        assert np.isfinite(found.weights).all() and found.weights[0] > 1


def test_the_spread_over_heads_shrinks_with_comparisons():
    """And is that of repeated fits to new comparisons, about."""
    weights, point = np.array([[1.0, 0.5, -0.5]]), np.array([[1.0, 1.0, 1.0]])
    spread = {n: taste(*said_by(weights, n), heads=50).scores(point).std() for n in (50, 800)}
    anew = np.std([taste(*said_by(weights, 800, seed), heads=0).score(point) for seed in range(50)])
    assert spread[800] < spread[50] / 2 and 0.5 < spread[800] / anew < 2


def test_what_is_best_in_the_middle_is_found():
    """An ideal point comes back, in the feature's own unit; where more is always better there is none."""
    random = np.random.default_rng(0)
    features = random.normal([100.0, 0.0, 0.0], [10.0, 1.0, 1.0], (600, 3))
    left, right = random.integers(600, size=(2, 3000))
    odds = lambda f: -(((f[:, 0] - 105) / 10) ** 2) + f[:, 1]
    won = random.random(3000) < 1 / (1 + np.exp(odds(features)[right] - odds(features)[left]))
    said = Comparisons(left, right, won)
    plain, peaked = (taste(said, features, peaks=peaks) for peaks in (False, True))
    assert peaked.best[0] == pytest.approx(105, abs=1.5) and np.isnan(plain.best).all()
    assert np.isnan(peaked.best[1])
    middle, truth = np.array([[105.0, 0, 0], [80, 0, 0], [130, 0, 0]]), np.array([0, -6.25, -6.25])
    found = peaked.utility(middle)
    assert found - found[0] == pytest.approx(truth, abs=1.5)
    moved = taste(said, features * [0.1, 3, 1] + [5, 5, 5], peaks=True)
    assert moved.score(middle * [0.1, 3, 1] + [5, 5, 5]) == pytest.approx(peaked.score(middle))
    assert (peaked.score(features).mean(), peaked.score(features).std()) == pytest.approx((0, 1), abs=0.01)


# Several.


@pytest.mark.parametrize("seed", range(3))
def test_the_minority_is_heard(seed):
    """One taste for all serves it by a coin; the mixture finds both groups, and nobody is in the wrong one."""
    said, features = said_by(opposed(seed), 40, seed)
    one, several = taste(said, features, heads=0), tastes(said, features, heads=0, seed=seed)
    fresh, unseen = said_by(opposed(seed), 100, seed + 1000, surely=True)
    its = FEW[fresh.rater]
    told = {name: fit.probability(fresh, unseen) for name, fit in (("one", one), ("several", several))}
    assert accuracy(told["one"][its], fresh.take(its)) < 0.65 < accuracy(told["one"][~its], fresh.take(~its))
    assert accuracy(told["several"][its], fresh.take(its)) >= 0.9 <= accuracy(told["several"][~its], fresh.take(~its))
    assert min(several.bic, key=several.bic.get) == 2 and several.share == pytest.approx([0.75, 0.25], abs=0.01)
    assert (several.member.argmax(1) == FEW).all()
    assert [(g.raters, g.comparisons) for g in several.groups] == [(15, 600), (5, 200)]
    rows = by_group(told["several"], fresh, several)
    assert [(row.raters, row.comparisons) for row in rows] == [(15, 1500), (5, 500)] and rows[1].accuracy >= 0.9


@pytest.mark.parametrize("groups", [2, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_a_round_of_em_never_loses(groups, seed):
    """The penalised log-likelihood rises, with ties, with a term for the order, with smoothing, with a strong prior."""
    said, features = said_by(opposed(seed), 6, seed, position=0.4)
    won = np.where(np.random.default_rng(seed).random(len(said)) < 0.2, 0.5, said.won)
    settings = {"prior": (0.1, 1.0, 10.0, 1.0)[seed], "smoothing": (0.0, 0.05)[seed % 2]}
    rise = tastes(replace(said, won=won), features, groups=groups, heads=0, restarts=2, seed=seed, **settings).rise
    assert len(rise) > 2 and (np.diff(rise) >= -1e-9 * abs(rise[-1])).all()


def test_who_agrees_is_one_group():
    """BIC does not split raters with one taste."""
    said, features = said_by(np.tile([1.5, -1.0, 0.5], (10, 1)), 40)
    found = tastes(said, features, heads=0)
    assert len(found.groups) == 1 and found.share.tolist() == [1]
    assert found.groups[0].weights == pytest.approx(taste(said, features, heads=0).weights)


def test_a_seed_gives_the_same_fit_and_another_other_heads():
    """All randomness is of the seed."""
    said, features = said_by(opposed(0), 20)
    a, b, c = (tastes(said, features, groups=2, seed=seed) for seed in (1, 1, 2))
    assert (a.member == b.member).all() and (a.groups[0].heads == b.groups[0].heads).all()
    assert (a.groups[0].heads != c.groups[0].heads).any()


def test_mean_worst_and_strangers_by_hand():
    """The mean counts raters, the worst is the least; of a stranger is told what anybody would say."""
    found = tastes(*said_by(opposed(0), 30), groups=2)
    things = np.random.default_rng(0).normal(size=(6, 8))
    each = np.array([group.score(things) for group in found.groups])
    assert found.score(things) == pytest.approx(0.75 * each[0] + 0.25 * each[1], abs=0.01)
    assert (found.worst(things) == each.min(0)).all()
    pair = [Comparisons([0], [1], [1], 0, rater) for rater in (0, 19, "nobody")]
    most, few, stranger = (found.probability(p, things)[0] for p in pair)
    assert stranger == pytest.approx(0.75 * most + 0.25 * few, abs=0.01)
    assert str(found) == "2 tastes (75%, 25%) of 600 comparisons by 20 raters"


# As a judge.


def test_a_judge_fills_the_objective_and_says_how_sure_it_is():
    """The score, its spread and what it is by; a candidate with an unknown feature has none."""
    found = taste(*said_by(np.array([[1.0, -1.0]]), 60), names=("glad", "long"))
    said = Preferred(found)(KEY, batch_of([[1, 0], [0, 1], [np.nan, 0], [np.inf, 0], [1e308, -1e308]]))
    assert said.value[0] > 0.3 > -0.3 > said.value[1] and np.isfinite(said.value[4])
    assert said.outcome.tolist() == ["ok", "ok", "invalid", "invalid", "ok"] and said.count.tolist() == [1, 1, 0, 0, 1]
    note = said.notes[0]["judged"]["preferred"]
    assert note["value"] == said.value[0] and note["by"] == "a taste of 60 comparisons by 1 rater"
    assert note["spread"] == pytest.approx(found.scores(np.array([[1.0, 0.0]])).std())
    assert said.notes[2]["error"] == "preferred: one of its features is not known"


def test_a_judge_of_groups_goes_by_their_mean_or_by_the_worst_or_there_is_one_for_each():
    """The three ways to search with tastes that are opposed."""
    found = tastes(*said_by(opposed(0), 30), groups=2)
    batch = batch_of(np.random.default_rng(0).normal(size=(5, 8)))
    mean, worst = Preferred(found)(KEY, batch), Preferred(found, by="worst")(KEY, batch)
    assert mean.value == pytest.approx(found.score(batch.features))
    assert worst.value == pytest.approx(found.worst(batch.features))
    judges = for_each_group(found)
    each = np.array([judge(KEY, batch).value for judge in judges])
    assert each == pytest.approx(np.array([group.score(batch.features) for group in found.groups]))
    assert worst.notes[0]["judged"]["preferred"]["groups"] == each[:, 0].tolist()
    assert [judge.name for judge in judges] == ["preferred by group 1", "preferred by group 2"]
    with pytest.raises(ValueError, match='by the "mean" of the groups or by the "worst", not by \'best\''):
        Preferred(found, by="best")


def test_criteria_are_read_from_notes_whoever_wrote_them():
    """From the domain, a judge, a rubric, and those who are asked first; a mark that is missing is nan."""
    notes = [{"long": 3, "judged": {"glad": {"value": 0.5}, "quality": {"scores": {"form": 4}}}}, {"judged": {}}]
    read = Criteria(("long", "glad", "form"))(batch_of([[0], [0]], notes))
    assert read[0].tolist() == [3, 0.5, 4] and np.isnan(read[1]).all()

    length = Measured(lambda text: float(len(text)), "length")
    found = taste(Comparisons([0, 1], [1, 2], [0, 0]), np.array([[1.0], [2.0], [3.0]]), names=("length",))
    judge = Preferred(found, read=Criteria(("length",)), first=(length,))
    batch = batch_of([[0], [0]]).replace(genome=["a", "abcd"])
    said = judge(KEY, batch)
    assert said.value == pytest.approx(found.score(np.array([[1.0], [4.0]])))
    assert said.notes[1]["judged"]["length"]["value"] == 4


def test_who_gives_no_mark_because_the_server_is_away_has_failed_nobody():
    """The candidates have no objective, and the outcome is infrastructure."""

    def away(key, batch):
        raise Unanswered("nobody there")

    found = taste(Comparisons([0], [1], [1]), np.array([[1.0], [2.0]]), names=("away",))
    said = Preferred(found, read=Criteria(("away",)), first=(away,))(KEY, batch_of([[0]]))
    assert said.outcome.tolist() == [Outcome.INFRASTRUCTURE] and np.isnan(said.value).all()
    assert said.notes[0]["error"] == "away: nobody there"


class Points:
    """Two numbers, measured as they are."""

    def seeds(self, key, n):
        return np.zeros((n, 2), np.float32)

    def evaluate(self, genomes):
        return Evaluation(features=np.asarray(genomes))


def first_axis(batch):
    return batch.features[:, :1]


def test_maps_of_opposed_groups_are_each_others_mirror(run_folder):
    """A search by each group finds what it likes; a run says by what it was judged, and is resumed by the same fit."""
    said, features = said_by(np.array([[0.0, 2.0]] * 6 + [[0.0, -2.0]] * 3), 30)
    found = tastes(said, features, groups=2)
    grid = Grid((5,), ((-1, 1),))
    settings = {"axes": first_axis, "batch": 8, "seed": 1}
    up, down = (
        Search(Points(), grid, Gaussian(0.3), judge=judge, **settings).run(15, progress=False)
        for judge in for_each_group(found)
    )
    heights = lambda search: search.elites.payload["genome"][search.elites.occupied][:, 1]
    assert np.median(heights(up)) > 1 and np.median(heights(down)) < -1

    judge = Preferred(found, by="worst")
    with Search(Points(), grid, Gaussian(0.3), judge=judge, run=run_folder, **settings) as begun:
        begun.run(3, progress=False)
    again = Preferred(tastes(said, features, groups=2), by="worst")
    with Search(Points(), grid, Gaussian(0.3), judge=again, run=run_folder, resume=True, **settings) as resumed:
        resumed.run(3, progress=False)
    with Search(Points(), grid, Gaussian(0.3), judge=judge, **settings) as whole:
        assert (whole.run(6, progress=False).elites.objective == resumed.elites.objective).all()
    note = load(run_folder).best.notes["judged"]["preferred"]
    assert note["by"] == str(found) and note["value"] == min(note["groups"])


# What people said.


def reply(question, ids, answer, order=(), rater="ann"):
    return SimpleNamespace(question=question, ids=ids, answer=answer, order=order, rater=rater)


def test_replies_become_arrays():
    """Pairs with ties, rankings, who stood first; skips and other questions are left out."""
    said, ids = compared(
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
    rows = [*zip(ids[said.left], ids[said.right], said.won, said.order, said.rater, strict=True)]
    assert rows == [
        (7, 3, 1, -1, "ann"),
        (3, 9, 0.5, 1, "bob"),
        (3, 9, 1, -1, "ann"),
        (3, 7, 1, -1, "ann"),
        (9, 7, 1, 1, "ann"),
    ]
    assert len(compared([])[0]) == 0 == len(compared([])[1])


def test_rankings_are_pairs_and_the_odd_one_makes_two_triplets():
    """Each two of a ranking once; the two that are alike are each nearer to the other than to the odd one."""
    assert ranked("bca") == [("b", "c"), ("b", "a"), ("c", "a")]
    assert odd_one_out("abc", 1) == [("a", "c", "b"), ("c", "a", "b")]
    with pytest.raises(ValueError, match="one of three things is the odd one"):
        odd_one_out("abc", 3)


@pytest.mark.parametrize("folds", [2, 10, 40])
def test_nothing_is_told_by_a_fit_that_has_seen_it(folds):
    """Each comparison is left out once, up to one at a time."""
    said, features = said_by(np.array([[2.0, 0.0]]), 40)
    seen = []

    def fit(others, of):
        seen.append(set(others.left.tolist()))
        return taste(others, of, heads=0)

    told = held_out(fit, said, features, folds=folds, seed=3)
    assert np.isfinite(told).all() and len(seen) == folds
    assert all(sum(row not in others for others in seen) == 1 for row in said.left.tolist())
    assert accuracy(told, said) > 0.7
    with pytest.raises(ValueError, match="40 comparisons are split in 2 to 40 folds, not in 41"):
        held_out(fit, said, features, folds=41)


def test_the_mixture_tells_held_out_replies_of_raters_it_knows():
    """Better than one taste for all does."""
    said, features = said_by(opposed(1), 20, 1)
    several = partial(tastes, groups=2, heads=0, restarts=2)
    told = [accuracy(held_out(fit, said, features, folds=4), said) for fit in (partial(taste, heads=0), several)]
    assert told[1] > told[0] + 0.05


def test_accuracy_counts_what_was_decided():
    """Ties are left out, a toss-up is half right, and of ties alone nothing is known."""
    said = Comparisons([0] * 4, [1] * 4, [1, 0, 0.5, 1])
    assert accuracy(np.array([0.9, 0.9, 0.9, 0.5]), said) == pytest.approx(1.5 / 3)
    assert np.isnan(accuracy(np.array([0.9]), said.take(np.array([2]))))


# What cannot be known.


def test_ties_alone_are_no_preference_and_one_rater_is_one_group():
    """Weights of 0, scores of 0, and no group is made up."""
    features = np.random.default_rng(0).normal(size=(6, 2))
    ties = Comparisons([0, 2, 4], [1, 3, 5], [0.5] * 3)
    assert taste(ties, features).score(features).tolist() == [0] * 6
    alone = tastes(*said_by(np.array([[1.0, 0.0]]), 30), heads=0)
    assert len(alone.groups) == 1 and alone.raters == (0,)
    split = tastes(*said_by(np.array([[1.0, 0.0]]), 30), groups=2)
    assert np.isfinite(split.score(features)).all() and split.share.sum() == pytest.approx(1)


def test_a_feature_that_was_the_same_in_all_weighs_nothing_and_is_named():
    """Also in candidates that differ in it, or of which it is unknown."""
    said, features = said_by(np.array([[2.0, 0.0]]), 30)
    features[:, 1] = 0.1
    found = taste(said, features, names=("glad", "long"))
    assert found.constant == ("long",) and found.weights[1] == 0
    assert str(found).endswith("by 1 rater; long: the same in all that was compared, so it weighs nothing")
    assert found.score(np.array([[1.0, 5.0], [1.0, np.nan]])) == pytest.approx(
        [found.score(np.array([[1.0, 0.1]]))[0]] * 2
    )


PAIR = Comparisons([0], [1], [1])


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: taste(PAIR.take(np.array([], int)), np.eye(2)), "nothing was compared yet"),
        (lambda: taste(PAIR, np.array([[1.0, 2.0], [1.0, np.nan]]), names=("glad", "long")), "long of thing 1 is not"),
        (lambda: taste(PAIR, np.ones((2, 3))), "all that was compared has the same features"),
        (lambda: taste(PAIR, np.ones((1, 3))), r"things 0 to 1 were compared, so features have shape \(2, f\)"),
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
        (lambda: Comparisons([0, 1], [1], [1]), r"one row in every column, and these have left \(2,\), right \(1,\)"),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_the_reason(call, why):
    """At the door, in a sentence."""
    with pytest.raises(ValueError, match=why):
        call()

"""Axes that learn: triplets, fits, boxes and the choice of questions."""

from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from qdkit.axes import (
    AutoencoderAxes,
    Bounds,
    Fit,
    OkCandidates,
    PrincipalAxes,
    Projection,
    TaxonsAxes,
    TripletAxes,
    agreement,
    box,
    outside,
    questions,
    triplets,
)
from qdkit.axes.projection import component_scaling, procrustes
from qdkit.axes.triplet_axes import merge_linear_maps
from qdkit.axes.triplets import variants
from qdkit.core.types import Batch, Proposal
from qdkit.testing import Person

KEY = jax.random.key(0)
RANDOM = np.random.default_rng(5)
HIDDEN = np.zeros((8, 2))
HIDDEN[1, 0] = HIDDEN[5, 1] = 1.0  # of a person who judges by two features of eight


class Row(NamedTuple):
    number: int
    question: str
    ids: tuple[int, ...]
    answer: Any


def known(n=200, features=8, steps=1):
    return OkCandidates(
        np.arange(n, dtype=np.int32), RANDOM.normal(size=(n, features)), np.ones(n, bool), steps
    )


def replies_of(person, about, n, seed=1):
    """Returns n answers to random questions."""
    chosen = questions.choose_triplets(jax.random.key(seed), about.features, n)
    return [
        Row(i, "triplet", tuple(about.id[rows].tolist()), person.triplet(about.features[rows], i))
        for i, rows in enumerate(chosen)
    ]


def explained(places, features):
    """Returns the share of the variance of the hidden places that a linear map explains.

    It is 1 if `places` are equal to them up to a rotation and a scale.
    """
    true = features @ HIDDEN
    design = np.c_[places, np.ones(len(places))]
    left = true - design @ np.linalg.lstsq(design, true, rcond=None)[0]
    return 1 - left.var() / true.var()


def batch_of(features):
    made = Batch.unevaluated(Proposal.of(np.zeros((len(features), 1)), "x"))
    return made.replace(features=features)


# Triplets.


def test_a_triplet_is_read_by_its_answer_and_an_odd_one_out_gives_two():
    """Skips, other questions and questions about two candidates are left out."""
    rows = [
        Row(1, "triplet", (4, 5, 6), 1),
        Row(2, "triplet", (4, 5, 6), 2),
        Row(3, "odd", (7, 8, 9), 1),
        Row(4, "triplet", (4, 5, 6), None),
        Row(5, "pair", (4, 5), 1),
        Row(6, "triplet", (4, 4, 6), 1),
    ]
    result = triplets(rows)
    assert result.ids.tolist() == [[4, 5, 6], [4, 6, 5], [7, 9, 8], [9, 7, 8]]
    assert result.reply.tolist() == [1, 2, 3, 3]
    assert len(triplets([])) == 0


def test_changes_are_combined_until_they_give_nothing_new():
    """A quarter turn and a mirror give the eight symmetries of a square."""
    points = RANDOM.normal(size=(5, 2))
    turn, mirror = (lambda x: x[..., ::-1] * [-1, 1]), (lambda x: x * [1, -1])
    assert len(variants(points, ())) == 1 and len(variants(points, (turn,))) == 4
    eight = variants(points, (turn, mirror))
    assert eight.shape == (8, 5, 2)
    assert len(np.unique(np.round(eight[:, 0], 6), axis=0)) == 8


def test_agreement_counts_ties_as_half():
    """Without judgements it is nan."""
    assert agreement(np.array([0.0, 1, 1]), np.array([1.0, 0, 1])) == 0.5
    assert np.isnan(agreement(np.zeros(0), np.zeros(0)))


# Fits.


@pytest.mark.parametrize("loss", ["logistic", "hinge"])
def test_a_hidden_metric_is_recovered_up_to_a_rotation(loss):
    """With enough answers, by either loss."""
    about, person = known(), Person(lambda x: x @ HIDDEN)
    axes = TripletAxes(fit=Fit(loss=loss, ridge=0.1 if loss == "logistic" else 0.0, margin=0.5))
    axes = axes.learn(KEY, about, replies_of(person, about, 300))
    assert explained(axes.at.places(about.features), about.features) > 0.97
    more = replies_of(person, about, 400)
    assert explained(axes.learn(KEY, about, more).at.places(about.features), about.features) > 0.97


def test_a_network_learns_what_a_linear_map_cannot():
    """The person judges by the distance from the middle, a square of the features."""
    about = known(300, 2)
    person = Person(lambda x: (x**2).sum(1, keepdims=True))
    replies, fresh = replies_of(person, about, 400), replies_of(person, about, 500, seed=9)
    accuracy = {}
    for name, hidden in {"line": (), "network": (16,)}.items():
        fit = Fit(hidden, ridge=0.05, held=0.2, steps=400)
        axes = TripletAxes(1, fit=fit).learn(KEY, about, replies)
        x = about.features[triplets(fresh).ids]
        z = axes.at.places(x.reshape(-1, 2)).reshape(-1, 3)
        accuracy[name] = agreement(abs(z[:, 0] - z[:, 1]), abs(z[:, 0] - z[:, 2]))
    assert accuracy["network"] > 0.85 > accuracy["line"] + 0.1


def test_some_flipped_answers_do_little_harm():
    """With a fifth of the answers wrong, a fit with `flips` recovers most of the metric."""
    about, person = known(), Person(lambda x: x @ HIDDEN, flips=0.2)
    axes = TripletAxes(fit=Fit(flips=0.2)).learn(KEY, about, replies_of(person, about, 600))
    assert explained(axes.at.places(about.features), about.features) > 0.9


def test_known_symmetries_save_questions():
    """Two halves of the features may be exchanged; if that is declared, fits are better."""
    about = known(200, 8)
    place = lambda x: np.stack([x[:, 0] + x[:, 4], x[:, 1] + x[:, 5]], 1)
    exchanged = lambda x: np.concatenate([x[..., 4:], x[..., :4]], -1)
    fresh = about.features[triplets(replies_of(Person(place), about, 500, seed=9)).ids]

    def accuracy(axes):
        z = axes.at.places(fresh.reshape(-1, 8)).reshape(-1, 3, 2)
        return agreement(((z[:, 0] - z[:, 1]) ** 2).sum(1), ((z[:, 0] - z[:, 2]) ** 2).sum(1))

    replies = [replies_of(Person(place), about, 60, seed) for seed in range(4)]
    with_it, without = (
        [accuracy(TripletAxes(same=same).learn(KEY, about, one)) for one in replies]
        for same in ((exchanged,), ())
    )
    assert np.mean(with_it) > np.mean(without) + 0.02


def test_accuracy_tells_knowledge_from_noise():
    """On held-out judgements it is high for a consistent person and one half for a coin."""
    about = known()
    accuracy = lambda person: (
        TripletAxes().learn(KEY, about, replies_of(person, about, 300)).accuracy
    )
    assert accuracy(Person(lambda x: x @ HIDDEN)) > 0.85
    assert abs(accuracy(Person(flips=0.5)) - 0.5) < 0.12


def test_axes_keep_their_orientation_after_a_new_fit():
    """A new fit is rotated to the last one, so that a map does not turn while it is watched."""
    about, person = known(), Person(lambda x: x @ HIDDEN)
    early = TripletAxes().learn(KEY, about, replies_of(person, about, 200))
    late = early.learn(jax.random.key(7), about, replies_of(person, about, 300))
    places = [axes(batch_of(about.features)) for axes in (early, late)]
    for axis in range(2):
        assert np.corrcoef(places[0][:, axis], places[1][:, axis])[0, 1] > 0.95


def test_maps_that_differ_by_a_rotation_are_merged_into_one():
    """The mean of an ensemble is the mean of its metrics."""
    turn = np.linalg.qr(RANDOM.normal(size=(2, 2)))[0]
    weights = np.stack([HIDDEN, 3 * HIDDEN @ turn])
    [(one, _)] = merge_linear_maps(((weights, np.zeros((2, 2))),))
    np.testing.assert_allclose(one @ one.T, HIDDEN @ HIDDEN.T / 2, atol=1e-12)


def test_many_sizes_compile_few_programs():
    """Fits to 1 to 60 answers compile once."""
    from qdkit.axes.ensemble import _fitted

    about, person = known(), Person(lambda x: x @ HIDDEN)
    replies = replies_of(person, about, 60)
    before = _fitted._cache_size()
    for n in (1, 7, 30, 60):
        TripletAxes(each=1, fit=Fit(steps=3)).learn(KEY, about, replies[:n])
    assert _fitted._cache_size() == before + 1


def test_the_same_key_gives_the_same_axes_also_through_json():
    """They are equal to the last bit."""
    import json

    about = known()
    replies = replies_of(Person(lambda x: x @ HIDDEN), about, 60)
    one, two = (TripletAxes().learn(KEY, about, replies) for _ in range(2))
    again = TripletAxes().with_plain(json.loads(json.dumps(one.plain)))
    for axes in (two, again):
        np.testing.assert_array_equal(
            one(batch_of(about.features)), axes(batch_of(about.features))
        )
    np.testing.assert_array_equal(
        one.gaps(about.features[:30].reshape(10, 3, 8)),
        again.gaps(about.features[:30].reshape(10, 3, 8)),
    )


# Degenerate data.


def test_all_candidates_begin_in_the_middle():
    """One candidate alone changes nothing."""
    axes = TripletAxes()
    np.testing.assert_array_equal(axes(batch_of(np.ones((3, 4)))), np.full((3, 2), 0.5))
    assert axes.learn(KEY, known(1), []) is axes


@pytest.mark.parametrize(
    "replies", [[], [Row(1, "triplet", (0, 1, 2), None)] * 40, [Row(1, "pair", (0, 1), 1)] * 40]
)
def test_without_answers_the_axes_are_the_principal_components(replies):
    """There are no replies, only skips, or answers to other questions.

    A second call changes nothing.
    """
    about = known()
    axes = TripletAxes().learn(KEY, about, replies)
    centred = about.features - about.features.mean(0)
    first = np.linalg.svd(centred, full_matrices=False)[2][0]
    place = axes(batch_of(about.features))[:, 0]
    assert abs(np.corrcoef(place, centred @ first)[0, 1]) > 0.999
    assert axes.learn(KEY, about, replies) is axes and np.isnan(axes.accuracy)


def test_too_few_new_answers_change_nothing():
    """A fit needs `each` more judgements than the last."""
    about = known()
    replies = replies_of(Person(lambda x: x @ HIDDEN), about, 25)
    axes = TripletAxes(each=10).learn(KEY, about, replies[:12])
    assert axes.heard == 12 and axes.learn(KEY, about, replies[:21]) is axes
    assert axes.learn(KEY, about, replies[:22]).heard == 22


def test_answers_about_unknown_candidates_are_left_out():
    """Such as ids of failed candidates."""
    axes = TripletAxes(each=1).learn(KEY, known(), [Row(1, "triplet", (0, 1, 999), 1)])
    assert axes.heard == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: TripletAxes(each=1, fit=Fit(steps=5)),
        PrincipalAxes,
        lambda: AutoencoderAxes(steps=5),
        lambda: TaxonsAxes(chunk=1),
    ],
)
@pytest.mark.parametrize("n", [2, 3, 40])
def test_constant_features_and_few_candidates_make_finite_axes(make, n):
    """Equal candidates lie within the box."""
    about = OkCandidates(np.arange(n, dtype=np.int32), np.ones((n, 3)), np.arange(n) < 2, 1)
    replies = [Row(1, "triplet", (0, 1, 2), 1)] if n > 2 else []
    axes = make().learn(KEY, about, replies)
    place = axes(batch_of(about.features))
    assert np.isfinite(place).all() and abs(place - 0.5).max() < 0.5


def test_more_axes_than_features_are_flat():
    """All candidates are in the middle of the axes beyond the number of features."""
    about = known(30, 1)
    for axes in (TripletAxes(3).learn(KEY, about, []), PrincipalAxes(3).learn(KEY, about)):
        place = axes(batch_of(about.features))
        assert (
            place.shape == (30, 3) and np.ptp(place[:, 0]) > 0.9 and np.allclose(place[:, 1:], 0.5)
        )


def test_invalid_settings_are_refused():
    """Each error names the setting."""
    for settings in (
        {"loss": "cubic"},
        {"flips": 0.5},
        {"held": 1.0},
        {"members": 0},
        {"rate": 0.0},
    ):
        with pytest.raises(ValueError, match=r"logistic|members"):
            Fit(**settings)
    for settings in ({"of": "friends"}, {"cut": 0.5}, {"grow": 1.0}):
        with pytest.raises(ValueError, match=r"elites|cut"):
            Bounds(**settings)


# The box.


def test_a_box_by_quantiles_leaves_out_the_share_of_cut():
    """With cut 0 none is left out; an axis on which all are equal has width 1."""
    places = RANDOM.normal(size=(2000, 2))
    assert outside(places, *box(places)) == 0
    assert 0.03 < outside(places, *box(places, 0.01)) < 0.05  # a hundredth at each of four ends
    low, high = box(np.ones((5, 1)))
    assert (low, high) == (0.5, 1.5)
    assert outside(np.zeros((0, 2)), *box(np.zeros((0, 2)))) == 0


def test_a_box_encloses_the_candidates_of_its_setting():
    """These are elites, all candidates, or a wider sample."""
    features = np.array([[0.0], [1], [2], [50]])
    about = OkCandidates(
        np.arange(4, dtype=np.int32), features, np.array([True, True, True, False]), 1
    )
    width = lambda of: float(
        np.ptp(PrincipalAxes(1, bounds=Bounds(of)).learn(KEY, about)(batch_of(features)))
    )
    assert width("elites") == pytest.approx(25) and width("candidates") == pytest.approx(1)
    assert width(np.array([[-50.0], [50]])) == pytest.approx(0.5)


def test_a_box_grows_when_too_many_lie_outside():
    """It then encloses all, without a new fit; without `grow` nothing changes."""
    first, more = known(100, 3), known(200, 3)
    more.features[100:] *= 4
    learnt = [
        axes.learn(KEY, first, [])
        for axes in (TripletAxes(bounds=Bounds(grow=0.2)), TripletAxes())
    ]
    grown, fixed = (axes.learn(KEY, more, []) for axes in learnt)
    assert (
        fixed is learnt[1]
        and outside(fixed(batch_of(more.features)), np.zeros(2), np.ones(2)) > 0.2
    )
    assert outside(grown(batch_of(more.features)), np.zeros(2), np.ones(2)) == 0
    assert grown.learn(KEY, more, []) is grown


# Unsupervised axes.


def test_principal_axes_are_learnt_only_at_their_commits():
    """After other commits they do not change."""
    axes = PrincipalAxes(at=(1, 3))
    assert axes.learn(KEY, known(steps=2)) is axes
    first = axes.learn(KEY, known(steps=1))
    assert first is not axes and first.learn(KEY, known(steps=2)) is first


def test_an_autoencoder_tells_points_of_a_curve_apart():
    """Neighbours on a circle in ten dimensions stay close on two axes."""
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    features = np.stack([np.cos(angle), np.sin(angle)], 1) @ RANDOM.normal(size=(2, 10))
    about = OkCandidates(np.arange(120, dtype=np.int32), features, np.ones(120, bool), 1)
    axes = AutoencoderAxes(hidden=(16,), steps=300).learn(KEY, about)
    place = axes(batch_of(features))
    step = np.linalg.norm(place - np.roll(place, 1, 0), axis=1)
    assert step.max() < 0.2 and np.ptp(place, axis=0).min() > 0.9
    np.testing.assert_array_equal(
        AutoencoderAxes().with_plain(axes.plain)(batch_of(features)), place
    )


def test_scaling_leaves_small_components_small():
    """The largest has spread 1, another the square of its share, a constant one 0."""
    features = RANDOM.normal(size=(4000, 3)) * [2.0, 1.0, 0.0]
    centre, scale = component_scaling(features)
    spread = ((features - centre) @ scale).std(0)
    np.testing.assert_allclose(spread, [1, 0.25, 0], atol=0.02)


def test_procrustes_undoes_a_rotation():
    """It does so in any number of axes."""
    old = RANDOM.normal(size=(50, 3))
    new = old @ np.linalg.qr(RANDOM.normal(size=(3, 3)))[0]
    np.testing.assert_allclose(new @ procrustes(new, old), old, atol=1e-9)


def test_a_projection_keeps_nan_in_its_row():
    """A candidate with nan features has nan places."""
    at = Projection(((np.eye(2), np.zeros(2)),), np.zeros(2), np.ones(2))
    assert np.isnan(at(np.array([[np.nan, 0.0], [0, 1]]))).tolist() == [
        [True, True],
        [False, False],
    ]


# Questions.


@pytest.mark.parametrize("ask", [questions.choose_triplets, questions.choose_pairs])
@pytest.mark.parametrize("m", [0, 1, 2, 3, 4, 50])
@pytest.mark.parametrize("seed", range(3))
def test_questions_are_never_degenerate(ask, m, seed):
    """Candidates differ, no set occurs twice, and none was asked before."""
    size, n = (3, 10) if ask is questions.choose_triplets else (2, 10)
    features = RANDOM.normal(size=(m, 4))
    gaps = lambda x: np.random.default_rng(seed).normal(size=(8, len(x)))
    for of in (None, gaps):
        chosen = ask(jax.random.key(seed), features, n, of)
        sets = [tuple(sorted(row)) for row in chosen.tolist()]
        assert all(len(set(row)) == size for row in sets) and len(set(sets)) == len(sets) <= n
        assert m < 50 or len(sets) == n
        again = ask(jax.random.key(seed), features, n, of, sets)
        assert not set(sets) & {tuple(sorted(row)) for row in again.tolist()}


def test_no_candidate_is_asked_about_twice_while_there_are_others():
    """If candidates must repeat, they repeat evenly."""
    features, gaps = RANDOM.normal(size=(60, 4)), lambda x: RANDOM.normal(size=(8, len(x)))
    assert np.unique(questions.choose_triplets(KEY, features, 15, gaps)).size == 45
    times = np.bincount(questions.choose_triplets(KEY, features, 40, gaps).ravel(), minlength=60)
    assert times.max() <= 3


def test_questions_on_which_all_members_agree_are_not_asked():
    """Members disagree about one feature, so candidates of a question differ in it."""
    features = RANDOM.normal(size=(80, 2))
    features[:40, 1] = 0
    gaps = lambda x: np.stack(
        [w * ((x[:, 0] - x[:, 2]) ** 2 - (x[:, 0] - x[:, 1]) ** 2)[:, 1] for w in (-2.0, 2.0)]
    )
    chosen = questions.choose_triplets(KEY, features, 10, gaps)
    assert (chosen >= 40).any(1).all()


def test_disagreement_is_zero_if_all_members_are_unsure():
    """An answer tells one bit if members are sure and opposed."""
    nats = questions.disagreement(np.array([[0.0, 9, 9], [0, 9, -9]]))
    np.testing.assert_allclose(nats, [0, 0, np.log(2)], atol=2e-3)


def test_questions_come_from_the_key():
    """The same key gives the same questions."""
    features = RANDOM.normal(size=(40, 3))
    same = [questions.choose_triplets(jax.random.key(k), features, 8) for k in (3, 3, 4)]
    assert (same[0] == same[1]).all() and (same[0] != same[2]).any()

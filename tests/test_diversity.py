"""Diversity by similarity and by labels: known values, laws over many seeds, and refusals."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from qdkit import metrics
from qdkit.metrics import cosine, leinster_cobbold, rbf, subset, vendi, vendi_of

INF = math.inf
ORDERS = (0, 0.3, 0.999999, 1, 1.0000001, 1.5, 2, 3, 40, 1e4, INF)
README = np.array([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]])
DECAY = lambda a, b: np.exp(-np.abs(a - b.T))  # a kernel of one's own, on rows of one number
TENS = np.array([[0.0], [0], [10], [10], [20], [20]])
CORNERS = np.array([(0.0, 0), (0, 1), (1, 0), (1, 1), (3, 3)])
seeds = pytest.mark.parametrize("seed", range(12))


def cloud(seed, n=None, d=None):
    """Rows in a few directions, some of them twice, and weights."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(n or random.integers(2, 40), d or random.integers(1, 12))) + 0.5
    return np.vstack([rows, rows[:2]]), random.uniform(0.1, 1, len(rows) + 2)


def labelled(sizes):
    """Returns labels with these numbers of each kind."""
    return [kind for kind, size in enumerate(sizes) for _ in range(size)]


# What is known.


@pytest.mark.parametrize(
    ("found", "known"),
    [
        (
            lambda q: vendi_of(README, q),
            {0: 3, 0.5: 2.42034836, 1: 2.15730048, 2: 150 / 77, INF: 30 / 19},
        ),
        (
            lambda q: vendi_of(README, q, (0.5, 0.25, 0.25)),
            {0: 3, 1: 2.00988258, 2: 1.73160173, INF: 1.39495334},
        ),
        (
            lambda q: vendi(TENS, q, kernel=DECAY),
            {0: 3, 0.5: 3.00000003, 1: 2.99999999588, 2: 2.99999999176, INF: 2.99980739},
        ),
        (
            lambda q: vendi(CORNERS, q, kernel=rbf(1.0)),
            {0.5: 4.21360930, 1: 3.64613860, 2: 2.94635628, INF: 1.93722350},
        ),
        (
            lambda q: vendi_of(np.equal.outer(labelled((6, 3, 1)), labelled((6, 3, 1))), q),
            {0: 3, 1: 2.45455560, 2: 2.17391304, INF: 1.66666667},
        ),
        (
            lambda q: vendi(np.random.default_rng(0).normal(size=(8, 3)), q),
            {0: 3, 1: 2.49133143, 2: 2.27705022, INF: 1.83806544},
        ),
        (lambda q: vendi_of(np.eye(7), q), dict.fromkeys(ORDERS, 7)),
        (lambda q: vendi_of(np.ones((7, 7)), q), dict.fromkeys(ORDERS, 1)),
        (
            lambda q: metrics.hill(labelled((6, 3, 1)), q),
            {0: 3, 1: 2.45455560, 2: 2.17391304, INF: 1.66666667},
        ),
        (
            lambda q: leinster_cobbold(README, q),
            {0: 2.052632, 1: 1.955625, 2: 1.875, INF: 1.578947},
        ),
    ],
    ids=[
        "readme",
        "weighted",
        "decay",
        "rbf",
        "blocks",
        "cosine",
        "unlike",
        "alike",
        "hill",
        "leinster-cobbold",
    ],
)
def test_values_of_every_order_equal_worked_examples(found, known):
    """Worked examples come out to six digits, at every order they are known for."""
    assert {q: found(q) for q in known} == pytest.approx(known, abs=1e-6)


@pytest.mark.parametrize(
    ("sizes", "effective", "area", "at"),
    [
        ((10,), 1, 1, {5: 1}),
        ((5, 5), 2, 1.870370, {}),
        ((8, 1, 1), 1.894646, 2.086420, {2: 1.377778, 5: 2.0, 10: 3, 11: 3}),
        ((1,) * 10, 10, 5.5, {1: 1, 4: 4}),
    ],
)
def test_measures_of_algorithms_equal_worked_examples(sizes, effective, area, at):
    """Effective number, NAUADC up to 10 and DA@K of the worked examples."""
    labels = labelled(sizes)
    assert metrics.hill(labels) == pytest.approx(effective, abs=1e-6)
    assert metrics.nauadc(labels, 10) == pytest.approx(area, abs=1e-6)
    assert {k: metrics.distinct(labels, k) for k in at} == pytest.approx(at, abs=1e-6)


@pytest.mark.parametrize(
    ("sizes", "score"),
    [((98, 1, 1), 0.10185764), ((7, 2, 1, 0), 0.57838982), ((50, 50), 1), ((9,), 0)],
)
def test_entropy_equals_worked_examples(sizes, score):
    """The normalised entropy counts the values that never came; one value alone scores 0."""
    assert metrics.entropy(labelled(sizes), range(len(sizes))).normalised == pytest.approx(
        score, abs=1e-6
    )


def test_unlisted_labels_are_reported():
    """Labels that are not listed are left out of the entropy, and their share is returned."""
    found = metrics.entropy(
        ["round", "round", "round", "square", "none of the above"], ["round", "square", "star"]
    )
    assert found.outside == pytest.approx(0.2) and found.largest == 0.75 and found.values == 3
    assert found.effective == pytest.approx(metrics.hill("aaab"))
    assert metrics.entropy("aab", "aab").values == 2  # a value that is listed twice is one
    nothing = metrics.entropy(["a", "b"], ["round"])
    assert math.isnan(nothing.normalised) and nothing.effective == 0 and nothing.outside == 1


def test_distinctness_equals_worked_examples():
    """It is the share of the other items that differ by a tenth at least."""
    assert metrics.distinctness("aabc").tolist() == pytest.approx([2 / 3, 2 / 3, 1, 1])
    assert metrics.distinctness("aaa").tolist() == [0.1] * 3
    assert metrics.distinctness("a").tolist() == [1] and metrics.distinctness("").tolist() == []


def test_a_chain_of_similar_items_does_not_merge_kinds():
    """If A is like B, B like C and A unlike C, each joins the first kind it is like."""
    same = lambda a, b: {a, b} != {"A", "C"}
    assert metrics.partition("ABC", same) == [0, 0, 2]
    assert metrics.partition("BAC", same) == [0, 0, 0]
    comparisons = []
    assert metrics.partition("abab", lambda a, b: comparisons.append(a + b) or a == b) == [
        0,
        1,
        0,
        1,
    ]
    assert comparisons == ["ab", "aa", "ab", "bb"]


def test_the_greedy_subset_equals_a_worked_example():
    """The fixture's eight of sixty, of which the first is given; they beat random ones by far."""
    rows = np.random.default_rng(1).normal(size=(60, 6))
    chosen = subset(rows, 8, start=[0])
    assert chosen.tolist() == [0, 26, 35, 18, 37, 32, 30, 3] == subset(rows, 8).tolist()
    assert vendi(rows[chosen], 2) == pytest.approx(5.312682, abs=1e-6)


# Laws.


@seeds
def test_a_vendi_score_lies_between_one_and_n_and_falls_with_the_order(seed):
    """For rows with and without weights, and no score jumps near order 1."""
    rows, weights = cloud(seed)
    for w in (None, weights):
        scores = [vendi(rows, q, w) for q in ORDERS]
        assert all(a >= b - 1e-9 for a, b in itertools.pairwise(scores))
        assert min(scores) >= 1 - 1e-12 and max(scores) <= min(rows.shape) + 1e-9
        assert scores[2:5] == pytest.approx(scores[3:4] * 3, abs=1e-5)


@seeds
def test_both_forms_have_the_same_eigenvalues(seed):
    """The score from features equals that from their similarity, for any number of rows."""
    for rows, weights in (cloud(seed), cloud(seed, n=3, d=20)):
        dual, primal = (
            [f(x, q, weights) for q in ORDERS]
            for f, x in ((vendi, rows), (vendi_of, cosine(rows, rows)))
        )
        assert dual == pytest.approx(primal, rel=1e-9)


@seeds
def test_a_copy_counts_as_a_weight(seed):
    """A row that comes three times is one row of three times the weight, by either measure."""
    rows, _ = cloud(seed)
    times = np.random.default_rng(seed).integers(1, 4, len(rows))
    many = np.repeat(rows, times, axis=0)
    near = rbf(2.0)
    for q in ORDERS:
        assert vendi(many, q) == pytest.approx(vendi(rows, q, times), rel=1e-9)
        assert leinster_cobbold(near(many, many), q) == pytest.approx(
            leinster_cobbold(near(rows, rows), q, times)
        )


@seeds
def test_the_order_of_the_rows_does_not_matter(seed):
    """Shuffled together with their weights, rows and labels have the same diversity."""
    rows, weights = cloud(seed)
    other = np.random.default_rng(seed).permutation(len(rows))
    assert [vendi(rows, q, weights) for q in ORDERS] == pytest.approx(
        [vendi(rows[other], q, weights[other]) for q in ORDERS], rel=1e-9
    )
    labels = np.random.default_rng(seed).integers(5, size=30)
    assert metrics.hill(labels.tolist(), 1.5) == pytest.approx(
        metrics.hill(sorted(labels.tolist()), 1.5)
    )


@seeds
def test_leinster_and_cobbold_never_find_more_than_vendi(seed):
    """This holds at every order and with weights.

    Without similarity, both are the Hill number of the weights.
    """
    rows, weights = cloud(seed)
    alike = rbf(1.5)(rows, rows)
    for q in ORDERS:
        assert (
            1 - 1e-9 <= leinster_cobbold(alike, q, weights) <= vendi_of(alike, q, weights) + 1e-9
        )
        unlike = np.eye(len(rows))
        assert leinster_cobbold(unlike, q, weights) == pytest.approx(
            vendi_of(unlike, q, weights), rel=1e-9
        )


@seeds
def test_distinct_equals_the_mean_of_random_draws(seed):
    """DA@K is the mean number of kinds among K labels drawn, to within four standard errors."""
    random = np.random.default_rng(seed)
    labels, k = random.integers(6, size=25), int(random.integers(1, 26))
    found = [len(set(random.choice(labels, k, replace=False).tolist())) for _ in range(1500)]
    error = max(np.std(found) / math.sqrt(1500), 1e-9)
    assert abs(np.mean(found) - metrics.distinct(labels.tolist(), k)) < 4 * error


@seeds
def test_a_subset_is_chosen_greedily(seed):
    """Each choice is the best of all by the score itself, with and without quality.

    The gain is the increase of the score.
    """
    rows, quality = cloud(seed, n=12, d=4)
    value = lambda s, w: np.mean(w[s]) * vendi(rows[s], 2)
    for worth in (None, quality):
        chosen = subset(rows, 6, start=[3, 7], quality=worth).tolist()
        w = np.ones(len(rows)) if worth is None else worth
        assert chosen[:2] == [3, 7] and len(set(chosen)) == 6
        for i in range(2, 6):
            best = max(value([*chosen[:i], j], w) for j in range(len(rows)) if j not in chosen[:i])
            assert value(chosen[: i + 1], w) == pytest.approx(best, rel=1e-9)
    gains = metrics.gain(rows, rows[:5])
    assert gains.tolist() == pytest.approx(
        [vendi([*rows[:5], row], 2) - vendi(rows[:5], 2) for row in rows], abs=1e-9
    )
    assert subset(rows, 3, quality=quality)[0] == np.argmax(quality)


def test_a_subset_takes_any_kernel():
    """By distances the far corner comes second; asked for more than there are, it gives all."""
    assert subset(CORNERS, 2, kernel=rbf(1.0)).tolist() == [0, 4]
    assert sorted(subset(CORNERS + 1, 9).tolist()) == [0, 1, 2, 3, 4]
    assert subset(np.empty((0, 3)), 2).tolist() == []
    new, near = np.array([[9.0, 9.0], [0.0, 0.0]]), rbf(1.0)
    raised = [
        vendi([*CORNERS, row], 2, kernel=near) - vendi(CORNERS, 2, kernel=near) for row in new
    ]
    assert (
        metrics.gain(new, CORNERS, kernel=near).tolist() == pytest.approx(raised)
        and raised[1] < 0 < raised[0]
    )
    assert metrics.gain(new, np.empty((0, 2)), kernel=near).tolist() == [1, 1]


def test_diversity_at_equal_n_does_not_depend_on_fill():
    """Of one sphere, 600 rows score higher than 60; subsamples of 40 of each score alike."""
    rows = np.random.default_rng(0).normal(size=(660, 16))
    few, many = rows[:60], rows[60:]
    at = lambda x, n: metrics.rarefied(lambda each: vendi(x[each]), metrics.draws(len(x), n))
    assert vendi(many) > vendi(few) + 1
    assert at(many, 40).mean == pytest.approx(at(few, 40).mean, abs=0.4)
    assert at(few, 60) == (vendi(few), 0.0, 60)


def test_a_seed_gives_the_same_subsamples():
    """No row comes twice in one; another seed gives others."""
    rows = metrics.draws(30, 10, seed=5)
    assert rows.shape == (20, 10) and all(len(set(each)) == 10 for each in rows.tolist())
    assert np.array_equal(rows, metrics.draws(30, 10, seed=5)) and not np.array_equal(
        rows, metrics.draws(30, 10)
    )


# Where a published package errs.


@pytest.mark.parametrize("n", [5, 200])
def test_rounding_errors_do_not_count_as_kinds(n):
    """Order 0 counts kinds exactly: copies are one, and a product of rank 3 has three."""
    random = np.random.default_rng(2)
    assert vendi(np.repeat(random.normal(size=(1, 7)), n, 0), 0) == 1
    assert vendi(random.normal(size=(n, 3)) @ random.normal(size=(3, 9)), 0) == 3
    single = (random.normal(size=(n, 3)) @ random.normal(size=(3, 64))).astype(np.float32)
    assert vendi(single, 0) == vendi_of(cosine(single, single).astype(np.float32), 0) == 3


def test_the_order_applies_to_features_too():
    """The score of features at another order is another, and infinity is a number like others."""
    rows, _ = cloud(1, n=20, d=5)
    assert len({round(vendi(rows, q), 6) for q in (0.5, 1, 2, INF)}) == 4
    assert vendi(rows, 1e6) == pytest.approx(vendi(rows, INF), rel=1e-5)


# The edges.


def test_no_item_has_no_kind_and_one_item_has_one():
    """What counts kinds gives 0 for none and 1 for one, at every order."""
    for q in ORDERS:
        assert (
            vendi(np.empty((0, 4)), q) == vendi_of(np.empty((0, 0)), q) == metrics.hill([], q) == 0
        )
        assert leinster_cobbold(np.empty((0, 0)), q) == 0
        assert (
            vendi([[3.0, 4.0]], q)
            == vendi_of([[1.0]], q)
            == metrics.hill("a", q)
            == pytest.approx(1)
        )
    assert metrics.distinct([], 3) == metrics.nauadc([]) == metrics.distinct("ab", 0) == 0
    assert metrics.rarefied(lambda each: vendi(np.empty((0, 4))[each]), metrics.draws(0, 0)) == (
        0,
        0,
        0,
    )


def test_a_row_of_weight_0_does_not_count():
    """Its kind is not counted, at order 0 neither."""
    assert vendi_of(np.eye(3), 0, (1, 1, 0)) == vendi(np.eye(3), 0, (1, 1, 0)) == 2
    assert leinster_cobbold(np.eye(3), 0, (1, 1, 0)) == 2


def test_kernels_are_normalised_on_demand():
    """A kernel of features of any length is their cosine once it is normalised."""
    rows, _ = cloud(4)
    assert vendi_of(rows @ rows.T, 1, normalise=True) == pytest.approx(vendi(rows, 1))


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: vendi_of([[1, 0.5], [0.2, 1]]), "symmetric"),
        (lambda: vendi_of([[1, 0], [0, -1]]), "row 1 has -1"),
        (lambda: vendi_of([[4, 0], [0, 1]]), "row 0 has 4.*normalise=True"),
        (lambda: vendi_of([[4, 0], [0, 0]], normalise=True), "row 1 has similarity 0 to itself"),
        (lambda: vendi_of([[1, 2], [2, 1]]), "eigenvalue -0.5"),
        (lambda: vendi_of([[1, math.nan], [math.nan, 1]]), "finite matrix"),
        (lambda: vendi_of([[1, 0]]), r"shape \(1, 2\)"),
        (lambda: leinster_cobbold([[1, -0.5], [-0.5, 1]]), "one is -0.5"),
        (lambda: leinster_cobbold([[2, 0], [0, 1]]), "row 0 has 2"),
        (lambda: vendi([[1, 0], [0, 0]]), "row 1 of the features is zero"),
        (lambda: vendi([[1, 0], [1, math.nan]]), "row 1 of the features is not finite"),
        (lambda: vendi([1, 2, 3]), r"shape \(n, d\), and these have \(3,\)"),
        (lambda: vendi(np.eye(2), -1), "not -1"),
        (lambda: vendi(np.eye(2), math.nan), "not nan"),
        (lambda: vendi(np.eye(2), 1, (1, -1)), "weights are 2 numbers"),
        (lambda: vendi(np.eye(2), 1, (1, 1, 1)), "weights are 2 numbers"),
        (lambda: vendi(np.eye(2), 1, (0, 0)), "not all 0"),
        (lambda: subset(np.eye(3), 2, start=[0, 0]), "at most 2 different rows"),
        (lambda: subset(np.eye(3), 2, start=[3]), "from 0 to 2"),
        (lambda: subset(np.eye(3), 2, quality=[1, -1, 0]), "3 finite numbers from 0"),
        (lambda: metrics.draws(3, 4), "4 of 3 things cannot be drawn"),
        (lambda: metrics.nauadc("ab", 1), "at least 2"),
        (lambda: metrics.distinct("ab", -1), "not -1"),
    ],
)
def test_invalid_arguments_are_refused_with_a_reason(act, message):
    """The error says what was expected and what was received."""
    with pytest.raises(ValueError, match=message):
        act()

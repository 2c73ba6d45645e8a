"""Which elites are shown beside the parents."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from qdkit.selection.inspirations import Inspirations, most_diverse


def pool(seed, cells=40, occupied=25):
    random = np.random.default_rng(seed)
    objective = np.full(cells, -np.inf)
    objective[random.choice(cells, occupied, replace=False)] = random.normal(size=occupied)
    return objective, np.where(
        (objective > -np.inf)[:, None], random.random((cells, 2)) * [1, 50], np.nan
    )


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "rule",
    [
        Inspirations(),
        Inspirations(0, 0, 3, 0),
        Inspirations(2, 2, 2, 2),
        Inspirations(50, 0, 0, 0),
        Inspirations(0, 0, 0, 99),
    ],
)
def test_inspirations_are_distinct_elites_and_no_parents(rule, seed):
    """As many as requested, or all that there are."""
    objective, place = pool(seed)
    parents = np.flatnonzero(objective > -np.inf)[:2]
    cells = rule.cells(np.random.default_rng(seed), objective, place, parents)
    wanted = rule.best + rule.near + rule.diverse + rule.random
    assert len(cells) == len(set(cells.tolist())) == min(wanted, 23)
    assert (objective[cells] > -np.inf).all() and not np.isin(cells, parents).any()


def test_the_best_come_first_and_then_the_nearest_to_the_target():
    """Distances use the spread of each axis; without a target they are those to the parent."""
    objective, place = (
        np.array([1.0, 2.0, 9.0, 3.0, 4.0]),
        np.array([[0, 0], [0.1, 50], [1, 99], [0.5, 0], [0.9, 0.0]]),
    )
    cells = lambda target: (
        Inspirations(1, 2)
        .cells(np.random.default_rng(0), objective, place, np.array([0]), target)
        .tolist()
    )
    assert cells(None) == [2, 3, 1]
    assert cells(np.array([np.nan, np.nan])) == [2, 3, 1]
    assert cells(np.array([1.0, 1.0])) == [2, 4, 3]
    fresh = Inspirations(1, 2).cells(np.random.default_rng(0), objective, place, np.array([], int))
    assert fresh[0] == 2 and len(fresh) == 3, (
        "beside a seed, which is no elite, those in the middle"
    )


def test_diverse_elites_maximise_the_determinant():
    """Each greedy choice is compared with all others; equal points come last."""
    random = np.random.default_rng(1)
    place = random.random((12, 2))
    place[7] = place[3]
    kernel = np.exp(-((place[:, None] - place[None]) ** 2).sum(-1) / (2 * 0.25**2))
    before = [0, 3]
    chosen = most_diverse(place, np.array([1, 2, 4, 5, 6, 7, 8, 9, 10, 11]), before, 5).tolist()
    for i, row in enumerate(chosen):
        so_far = before + chosen[:i]
        others = [r for r in range(1, 12) if r not in so_far]
        gain = {r: np.linalg.det(kernel[np.ix_([*so_far, r], [*so_far, r])]) for r in others}
        assert gain[row] == pytest.approx(max(gain.values()), rel=1e-9)
    assert 7 not in chosen
    assert (
        most_diverse(place, np.array([], int), before, 3).tolist()
        == []
        == most_diverse(place, np.array([1]), before, 0).tolist()
    )
    spread = [np.linalg.norm(place[a] - place[b]) for a, b in itertools.combinations(chosen, 2)]
    assert min(spread) > 0.1


def test_a_negative_number_is_refused():
    """A number of elites is 0 or more."""
    with pytest.raises(ValueError, match="0 or more"):
        Inspirations(best=-1)


def test_without_a_parent_near_elites_are_those_near_the_mean():
    """Also after the best has been chosen and no elite is left."""
    objective, descriptor = np.array([1.0, -np.inf]), np.array([[0.5, 0.5], [np.nan, np.nan]])
    cells = Inspirations(best=1, near=1).cells(
        np.random.default_rng(0), objective, descriptor, np.array([], int)
    )
    assert cells.tolist() == [0]

"""Which elites are shown beside the parents."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from qdkit.shown import Shown, unlike


def pool(seed, cells=40, occupied=25):
    random = np.random.default_rng(seed)
    objective = np.full(cells, -np.inf)
    objective[random.choice(cells, occupied, replace=False)] = random.normal(size=occupied)
    return objective, np.where((objective > -np.inf)[:, None], random.random((cells, 2)) * [1, 50], np.nan)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "rule", [Shown(), Shown(0, 0, 3, 0), Shown(2, 2, 2, 2), Shown(50, 0, 0, 0), Shown(0, 0, 0, 99)]
)
def test_each_is_an_elite_shown_once_and_no_parent(rule, seed):
    """As many as were asked for, or all there are."""
    objective, place = pool(seed)
    parents = np.flatnonzero(objective > -np.inf)[:2]
    cells = rule.cells(np.random.default_rng(seed), objective, place, parents)
    wanted = rule.best + rule.near + rule.diverse + rule.random
    assert len(cells) == len(set(cells.tolist())) == min(wanted, 23)
    assert (objective[cells] > -np.inf).all() and not np.isin(cells, parents).any()


def test_the_best_come_first_and_then_the_nearest_to_the_target():
    """Distances in the spread of each axis; to the parent where there is no target."""
    objective, place = np.array([1.0, 2.0, 9.0, 3.0, 4.0]), np.array([[0, 0], [0.1, 50], [1, 99], [0.5, 0], [0.9, 0.0]])
    cells = lambda target: Shown(1, 2).cells(np.random.default_rng(0), objective, place, np.array([0]), target).tolist()
    assert cells(None) == [2, 3, 1]
    assert cells(np.array([np.nan, np.nan])) == [2, 3, 1]
    assert cells(np.array([1.0, 1.0])) == [2, 4, 3]
    fresh = Shown(1, 2).cells(np.random.default_rng(0), objective, place, np.array([], int))
    assert fresh[0] == 2 and len(fresh) == 3, "beside a seed, which is no elite, those in the middle"


def test_different_ones_raise_the_determinant_most():
    """Each greedy choice against all others, by the determinant itself; equal places come last."""
    random = np.random.default_rng(1)
    place = random.random((12, 2))
    place[7] = place[3]
    kernel = np.exp(-((place[:, None] - place[None]) ** 2).sum(-1) / (2 * 0.25**2))
    held = [0, 3]
    chosen = unlike(place, np.array([1, 2, 4, 5, 6, 7, 8, 9, 10, 11]), held, 5).tolist()
    for i, row in enumerate(chosen):
        so_far = held + chosen[:i]
        others = [r for r in range(1, 12) if r not in so_far]
        gain = {r: np.linalg.det(kernel[np.ix_([*so_far, r], [*so_far, r])]) for r in others}
        assert gain[row] == pytest.approx(max(gain.values()), rel=1e-9)
    assert 7 not in chosen
    assert unlike(place, np.array([], int), held, 3).tolist() == [] == unlike(place, np.array([1]), held, 0).tolist()
    spread = [np.linalg.norm(place[a] - place[b]) for a, b in itertools.combinations(chosen, 2)]
    assert min(spread) > 0.1


def test_a_negative_number_is_refused():
    """There is nothing like minus one elite."""
    with pytest.raises(ValueError, match="0 or more"):
        Shown(best=-1)


def test_without_a_parent_the_near_ones_are_looked_for_where_the_elites_are():
    """Also where the best has been taken and nobody is left."""
    objective, descriptor = np.array([1.0, -np.inf]), np.array([[0.5, 0.5], [np.nan, np.nan]])
    shown = Shown(best=1, near=1).cells(np.random.default_rng(0), objective, descriptor, np.array([], int))
    assert shown.tolist() == [0]

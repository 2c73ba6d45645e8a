"""What the numbers about a search mean: known answers, and agreement with pyribs."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from qdkit import metrics
from qdkit.archives import Grid
from qdkit.elites import Elites


def elites(*objective):
    """Cells with these objectives; -inf is an empty one."""
    found = np.array(objective, np.float64)
    return Elites(found, np.where(np.isfinite(found), 0.0, np.nan)[:, None], np.arange(len(found)))


def test_a_world_of_four_cells():
    """Two elites of objectives 1 and 4 in four cells give the numbers one works out by hand."""
    seen = elites(1.0, -math.inf, 4.0, -math.inf)
    assert metrics.occupied(seen) == 2
    assert metrics.coverage(seen) == 0.5
    assert metrics.qd_score(seen) == 5.0
    assert metrics.best(seen) == 4.0
    assert metrics.mean_objective(seen) == 2.5


def test_the_floor_is_subtracted_from_every_elite_and_from_no_empty_cell():
    """With the floor -2, an elite of objective -1 counts 1 and an empty cell counts nothing."""
    assert metrics.qd_score(elites(-1.0, 3.0, -math.inf), floor=-2.0) == 6.0


def test_an_empty_archive_has_no_best():
    """Coverage and QD score of nothing are 0; its best and its mean are unknown."""
    nothing = Grid((3, 2), ((0, 1), (0, 1))).init()
    assert (metrics.occupied(nothing), metrics.coverage(nothing), metrics.qd_score(nothing, floor=-5.0)) == (
        0,
        0.0,
        0.0,
    )
    assert math.isnan(metrics.best(nothing)) and math.isnan(metrics.mean_objective(nothing))


def test_sums_do_not_suffer_from_single_precision():
    """A thousand ones beside 2²⁵, kept in float32, are all counted."""
    seen = elites(2.0**25, *[1.0] * 1000)
    single = Elites(jnp.asarray(seen.objective, jnp.float32), seen.descriptor, seen.payload)
    assert metrics.qd_score(single) == 2.0**25 + 1000
    assert metrics.mean_objective(single) == (2.0**25 + 1000) / 1001


@pytest.mark.parametrize("floor", [0.0, -3.5])
def test_agreement_with_pyribs(floor):
    """The same candidates in the same grid have the statistics that pyribs computes."""
    from ribs.archives import GridArchive

    random = np.random.default_rng(7)
    objective, descriptor = random.normal(size=60), random.uniform(size=(60, 2))
    theirs = GridArchive(solution_dim=1, dims=(6, 5), ranges=[(0, 1), (0, 1)], qd_score_offset=floor)
    theirs.add(objective[:, None], objective, descriptor)
    grid = Grid((6, 5), ((0, 1), (0, 1)))
    ours, _ = grid.add(grid.init(), objective, descriptor, np.arange(60))

    assert metrics.occupied(ours) == theirs.stats.num_elites
    assert metrics.coverage(ours) == theirs.stats.coverage
    assert metrics.qd_score(ours, floor) == pytest.approx(theirs.stats.qd_score, rel=1e-5)
    assert metrics.best(ours) == pytest.approx(theirs.stats.obj_max, rel=1e-6)
    assert metrics.mean_objective(ours) == pytest.approx(theirs.stats.obj_mean, rel=1e-5)


def test_a_sum_that_no_float_holds_is_infinite():
    """Penalties as low as floats go do not stop a search."""
    low = -float(np.finfo(float).max)
    assert metrics.qd_score(elites(low, low, 1.0)) == metrics.mean_objective(elites(low, low, 1.0)) == -np.inf

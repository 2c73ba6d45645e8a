"""The measures of a search: known values, and agreement with pyribs."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from qdkit import metrics
from qdkit.archives import Grid
from qdkit.core.elites import Elites


def elites(*objective):
    """Cells with these objectives; -inf is an empty one."""
    column = np.array(objective, np.float64)
    descriptor = np.where(np.isfinite(column), 0.0, np.nan)[:, None]
    return Elites(column, descriptor, np.arange(len(column)))


def test_the_measures_of_four_cells():
    """Two elites of objectives 1 and 4 in four cells have the measures computed by hand."""
    example = elites(1.0, -math.inf, 4.0, -math.inf)
    assert metrics.occupied(example) == 2
    assert metrics.coverage(example) == 0.5
    assert metrics.qd_score(example) == 5.0
    assert metrics.best_objective(example) == 4.0
    assert metrics.mean_objective(example) == 2.5


def test_the_floor_is_subtracted_from_every_elite_and_from_no_empty_cell():
    """With the floor -2, an elite of objective -1 counts 1 and an empty cell counts nothing."""
    assert metrics.qd_score(elites(-1.0, 3.0, -math.inf), floor=-2.0) == 6.0


def test_an_empty_archive_has_no_best():
    """Coverage and QD score of an empty archive are 0; its best and its mean are nan."""
    empty = Grid((3, 2), ((0, 1), (0, 1))).init()
    assert metrics.occupied(empty) == metrics.coverage(empty) == 0
    assert metrics.qd_score(empty, floor=-5.0) == 0.0
    assert math.isnan(metrics.best_objective(empty)) and math.isnan(metrics.mean_objective(empty))


def test_sums_do_not_suffer_from_single_precision():
    """A thousand ones beside 2²⁵, stored in float32, are all counted."""
    example = elites(2.0**25, *[1.0] * 1000)
    objective = jnp.asarray(example.objective, jnp.float32)
    single = Elites(objective, example.descriptor, example.payload)
    assert metrics.qd_score(single) == 2.0**25 + 1000
    assert metrics.mean_objective(single) == (2.0**25 + 1000) / 1001


@pytest.mark.parametrize("floor", [0.0, -3.5])
def test_agreement_with_pyribs(floor):
    """The same candidates in the same grid have the statistics that pyribs computes."""
    from ribs.archives import GridArchive

    random = np.random.default_rng(7)
    objective, descriptor = random.normal(size=60), random.uniform(size=(60, 2))
    theirs = GridArchive(
        solution_dim=1, dims=(6, 5), ranges=[(0, 1), (0, 1)], qd_score_offset=floor
    )
    theirs.add(objective[:, None], objective, descriptor)
    grid = Grid((6, 5), ((0, 1), (0, 1)))
    ours, _ = grid.add(grid.init(), objective, descriptor, np.arange(60))

    assert metrics.occupied(ours) == theirs.stats.num_elites
    assert metrics.coverage(ours) == theirs.stats.coverage
    assert metrics.qd_score(ours, floor) == pytest.approx(theirs.stats.qd_score, rel=1e-5)
    assert metrics.best_objective(ours) == pytest.approx(theirs.stats.obj_max, rel=1e-6)
    assert metrics.mean_objective(ours) == pytest.approx(theirs.stats.obj_mean, rel=1e-5)


def test_a_sum_that_no_float_holds_is_infinite():
    """Penalties as low as floats go do not stop a search."""
    low = -float(np.finfo(float).max)
    penalised = elites(low, low, 1.0)
    assert metrics.qd_score(penalised) == metrics.mean_objective(penalised) == -np.inf

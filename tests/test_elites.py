"""The best candidate of each cell: insertion, sampling, and the methods of an archive."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qdkit.archives import Grid
from qdkit.core.elites import (
    IMPROVED,
    NEW,
    NOWHERE,
    REJECTED,
    Added,
    Elites,
    double,
    empty,
    insert,
    sample,
)

NAN, INF = np.nan, np.inf
LINE = Grid((4,), ((0, 1),))


def add(elites, cell, objective, descriptor=()):
    """Adds up to four rows with these cells and objectives, whose payload is their number from 0.

    Descriptors are zero if left out. Rows without a cell fill the batch up to four, so that insert
    compiles once.
    """
    n = len(cell)
    fill = lambda column, value: np.asarray([*column, *[value] * (4 - len(column))])
    rows = (
        fill(cell, NOWHERE),
        fill(objective, 0.0).astype(float),
        fill(descriptor, 0.0)[:, None],
        np.arange(4),
    )
    elites, added = insert(elites, *rows)
    return elites, Added(*(np.asarray(column)[:n] for column in added))


def contents(elites):
    """Returns the objective and the payload of each occupied cell."""
    return {
        int(c): (float(elites.objective[c]), int(elites.payload[c]))
        for c in np.flatnonzero(np.asarray(elites.occupied))
    }


def same(a, b):
    return all(
        map(
            lambda x, y: np.array_equal(x, y, equal_nan=True),
            jax.tree.leaves(a),
            jax.tree.leaves(b),
        )
    )


def test_a_new_archive_is_empty():
    """Objectives are -inf, descriptors nan, and payloads -1."""
    elites = empty(3, 2, {"id": 0, "genome": jnp.zeros(5)})
    assert not elites.occupied.any()
    assert (elites.objective == -INF).all() and np.isnan(elites.descriptor).all()
    assert elites.descriptor.shape == (3, 2)
    assert (elites.payload["id"] == -1).all() and elites.payload["genome"].shape == (3, 5)


def test_the_best_of_each_cell_stays():
    """The best of a batch enters, and only a better candidate replaces it."""
    elites, added = add(LINE.init(), [0, 0, 2], [1.0, 3.0, -5.0])
    assert contents(elites) == {0: (3.0, 1), 2: (-5.0, 2)}
    assert added.status.tolist() == [NEW, NEW, NEW]
    elites, added = add(elites, [0, 2, 1], [2.0, -4.0, 0.0])
    assert contents(elites) == {0: (3.0, 1), 1: (0.0, 2), 2: (-4.0, 1)}
    assert added.status.tolist() == [REJECTED, IMPROVED, NEW]
    assert added.value.tolist() == [-1.0, 1.0, 0.0]


def test_the_first_of_equals_stays():
    """In a tie the elite wins over the batch, and the first row wins within the batch."""
    elites, _ = add(LINE.init(), [1, 1, 1], [5.0, 7.0, 7.0])
    assert contents(elites) == {1: (7.0, 1)}
    after, added = add(elites, [1], [7.0])
    assert (
        same(after, elites)
        and added.status.tolist() == [REJECTED]
        and added.value.tolist() == [0.0]
    )


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_row_that_is_not_finite_never_enters_and_other_rows_do(bad):
    """Its value is nan and its cell is NOWHERE."""
    elites, added = add(LINE.init(), [0, 0, 1, 1], [bad, 1.0, 9.0, 2.0], [0.0, 0.0, bad, 0.0])
    assert contents(elites) == {0: (1.0, 1), 1: (2.0, 3)}
    assert added.status.tolist() == [REJECTED, NEW, REJECTED, NEW]
    assert np.isnan(added.value[::2]).all() and added.cell.tolist() == [NOWHERE, 0, NOWHERE, 1]


def test_a_row_without_a_cell_never_enters():
    """NOWHERE, which is -1, does not mean the last cell."""
    elites, added = add(LINE.init(), [NOWHERE, 0], [9.0, 1.0])
    assert contents(elites) == {0: (1.0, 1)} and added.cell.tolist() == [NOWHERE, 0]


def test_an_empty_batch_changes_nothing():
    """A batch without rows gives a result without rows."""
    elites, _ = LINE.add(LINE.init(), [1.0], [[0.1]], np.arange(1))
    after, added = LINE.add(elites, np.zeros(0), np.zeros((0, 1)), np.zeros(0, int))
    assert same(after, elites) and added.status.shape == (0,)


def test_the_payload_may_be_a_tree_of_arrays():
    """A genome and its number are stored in the same row."""
    elites = LINE.init({"id": 0, "genome": jnp.zeros(2)})
    payload = {"id": np.array([7, 8]), "genome": np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)}
    elites, _ = LINE.add(elites, [1.0, 2.0], [[0.1], [0.1]], payload)
    assert int(elites.payload["id"][0]) == 8 and elites.payload["genome"][0].tolist() == [3.0, 4.0]


def test_insert_inside_scan_equals_a_loop():
    """The elites and results are those of a plain loop."""
    random = np.random.default_rng(3)
    batches = (
        random.integers(0, 5, (6, 10)).astype(np.float32),
        random.uniform(-0.2, 1.2, (6, 10, 1)).astype(np.float32),
        np.arange(60, dtype=np.int32).reshape(6, 10),
    )
    scanned, results = jax.lax.scan(
        lambda elites, batch: LINE.add(elites, *batch), LINE.init(), batches
    )
    elites = LINE.init()
    for i in range(6):
        elites, added = LINE.add(elites, *(column[i] for column in batches))
        assert same(added, Added(*(column[i] for column in results)))
    assert same(elites, scanned)


def test_insert_maps_over_many_archives():
    """vmap adds one batch to each of several archives."""
    objective, descriptor = (
        np.array([[1.0, 2.0], [4.0, 3.0]], np.float32),
        np.full((2, 2, 1), 0.5, np.float32),
    )
    elites, _ = jax.vmap(lambda f, d: LINE.add(LINE.init(), f, d, jnp.arange(2)))(
        objective, descriptor
    )
    assert elites.objective[:, 2].tolist() == [2.0, 4.0] and elites.payload[:, 2].tolist() == [
        1,
        0,
    ]


def test_steps_do_not_compile_again(caplog):
    """Adding and sampling compile once, for any number of elites."""

    def step(elites, i):
        random = np.random.default_rng(i)
        descriptor = random.uniform(0, 1, (3, 1)).astype(np.float32)
        elites, _ = LINE.add(
            elites, random.uniform(0, 1, 3).astype(np.float32), descriptor, np.arange(3)
        )
        sample(jax.random.key(i), elites, 5)
        return elites

    elites = step(LINE.init(), 0)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        for i in range(1, 8):
            elites = step(elites, i)
        assert not [record for record in caplog.records if "Compiling" in record.message]
        jax.jit(lambda x: x * 3 + i)(1.0)
        assert [record for record in caplog.records if "Compiling" in record.message], (
            "the count itself counts nothing"
        )


def occupied(*cells):
    """Returns elites of fifty cells, of which these are occupied."""
    objective = np.full(50, -INF)
    objective[list(cells)] = np.arange(len(cells)) - 2.0
    return Elites(jnp.asarray(objective), jnp.zeros((50, 1)), jnp.arange(50))


def test_sampling_is_uniform_over_the_occupied_cells():
    """A chi-square test over many draws; empty cells are never drawn."""
    counts = np.bincount(sample(jax.random.key(0), occupied(3, 4, 11, 30, 49), 5000), minlength=50)
    assert set(np.flatnonzero(counts)) == {3, 4, 11, 30, 49}
    assert (
        (counts[counts > 0] - 1000) ** 2 / 1000
    ).sum() < 18.5  # fair draws exceed it once in a thousand times


def test_sampling_depends_on_the_key():
    """The same key draws the same cells, and another key draws others."""
    draw = lambda seed: sample(jax.random.key(seed), occupied(*range(50)), 20).tolist()
    assert draw(1) == draw(1) != draw(2)


def test_double_distinguishes_objectives_that_are_equal_in_float32():
    """An improvement in the tenth digit counts only within `double`."""

    def improve():
        elites, _ = add(LINE.init(), [0], [2.6358627564])
        return add(elites, [0], [2.6358627565])[1].status.tolist()

    assert improve() == [REJECTED]
    with double():
        assert improve() == [IMPROVED]


def test_objectives_are_compared_in_the_dtype_of_the_elites():
    """Adding a float64 batch to float32 elites a second time changes nothing."""
    objective, descriptor = np.array([1 / 3, 0.1, 0.7]), np.array([[0.1], [0.4], [0.9]])
    elites = LINE.init()
    with double():
        elites, _ = LINE.add(elites, objective, descriptor, np.arange(3))
        _, added = LINE.add(elites, objective, descriptor, np.arange(3))
    assert elites.objective.dtype == np.float32 and added.status.tolist() == [REJECTED] * 3


def test_whole_numbers_are_objectives_too():
    """They are stored as floats."""
    elites, _ = LINE.add(LINE.init(), np.array([3, 4]), [[0.1], [0.1]], np.arange(2))
    assert contents(elites) == {0: (4.0, 1)} and isinstance(elites, Elites)

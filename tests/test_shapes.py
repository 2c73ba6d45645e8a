"""Every archive refuses columns of another shape with a message; nothing is broadcast."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qdkit
from qdkit import Evaluation, Search
from qdkit.archives import (
    CVT,
    DeepGrid,
    DominatedNovelty,
    Grid,
    Islands,
    Novelty,
    Recent,
    Thresholds,
)
from qdkit.core.elites import Archive, insert
from qdkit.core.stages import assign_descriptors, judge_batch, proposed_batch
from qdkit.core.types import Batch, Judgement, Proposal
from qdkit.operators import Gaussian
from qdkit.testing.archives import check_shapes

BOX = ((-1.0, 1.0), (0.0, 3.0))
GRID = Grid((5, 4), BOX)
CENTROIDS = np.random.default_rng(0).uniform(-1, 1, (9, 2))


class Halves(Archive):
    """An archive of a user: two cells, and a class that jax does not know."""

    cells, axes = 2, 2

    def cell(self, descriptor):
        return (np.asarray(descriptor)[:, 0] > 0).astype(np.int32)


ARCHIVES = {
    "grid": GRID,
    "edges and labels": Grid((3, 2), ((0, 1, 10, 100), ("haiku", "ode"))),
    "labels": Grid((2, 2), (("a", "b"), ("haiku", "ode"))),
    "CVT": CVT(CENTROIDS, BOX),
    "CVT of four axes": CVT(CENTROIDS.repeat(2, 1)),
    "soft": Thresholds(GRID),
    "deep": DeepGrid(CVT(CENTROIDS), 3),
    "novelty": Novelty(2, 40, 3, threshold=0.2, competition=True),
    "dominated": DominatedNovelty(2, 10),
    "recent": Recent(2, 16),
    "islands": Islands(GRID, 3),
    "of somebody": Halves(),
}
every_archive = pytest.mark.parametrize("name", ARCHIVES)


def rows(archive, n=4):
    return np.arange(float(n)), np.zeros((n, archive.axes)), np.arange(n, dtype=np.int32)


@every_archive
def test_every_archive_refuses_columns_of_other_shapes(name):
    """In add, update and insert: objectives, descriptors, payload and cells."""
    check_shapes(ARCHIVES[name], rows(ARCHIVES[name]))


WRONG = {
    r"objective must have shape \(4,\) for a batch of 4 rows, and has \(4, 1\)": lambda f, d, p: (
        f[:, None],
        d,
        p,
    ),
    r"objective must have shape \(4,\) for a batch of 4 rows, and has \(\)": lambda f, d, p: (
        1.0,
        d,
        p,
    ),
    r"objective must have shape \(4,\) for a batch of 4 rows, and has \(1,\)": lambda f, d, p: (
        f[:1],
        d,
        p,
    ),
    r"descriptor must have shape \(4, 2\) for a batch of 4 rows, "
    r"and has \(4, 3\)": lambda f, d, p: (
        f,
        np.zeros((4, 3)),
        p,
    ),
    r"descriptor must have shape \(4, 2\) for a batch of 4 rows, "
    r"and has \(4, 1\)": lambda f, d, p: (
        f,
        d[:, :1],
        p,
    ),
    r"payload must have shape \(4,\) for a batch of 4 rows, and has \(3,\)": lambda f, d, p: (
        f,
        d,
        p[1:],
    ),
    r"payload must be the pytree .* missing is payload, "
    r"and too much payload\['id'\]": lambda f, d, p: (
        f,
        d,
        {"id": p},
    ),
    r"payload is kept as int32, which would cut off what float": lambda f, d, p: (f, d, p + 0.5),
    r"objective must be numbers .* None and texts are no numbers": lambda f, d, p: (
        [None, 1, 2, 3],
        d,
        p,
    ),
    r"objective must be real numbers|objective must be numbers": lambda f, d, p: (f + 1j, d, p),
    r"objective must be numbers that jax can hold, and has dtype": lambda f, d, p: (
        f.astype(object),
        d,
        p,
    ),
    r"descriptor must be one array, with rows of equal length": lambda f, d, p: (
        f,
        [[1, 2], [1], [2], [3]],
        p,
    ),
}


@pytest.mark.parametrize("words", WRONG)
@pytest.mark.parametrize("name", ["grid", "novelty", "of somebody", "islands"])
def test_the_error_names_the_expected_and_the_actual_shape(name, words):
    """The message of a mistake is the same for every archive."""
    archive = ARCHIVES[name]
    with pytest.raises(ValueError, match=words):
        archive.add(archive.init(), *WRONG[words](*rows(archive)))


@pytest.mark.parametrize("name", [name for name in ARCHIVES if name != "of somebody"])
def test_the_cell_of_a_descriptor_with_other_axes_is_refused(name):
    """`inside` refuses it too: an index beyond the last axis would silently read the last one."""
    archive = ARCHIVES[name]
    for shape in ((3, archive.axes + 1), (3, archive.axes - 1), (3,), ()):
        for call in (archive.cell, archive.inside):
            with pytest.raises(ValueError, match="descriptor must have shape"):
                call(np.zeros(shape))


def test_elites_of_another_archive_are_refused():
    """Elites of other cells, of another depth, and without the state of the insertion rule."""
    for archive, other in (
        (GRID, Grid((2, 2), BOX)),
        (GRID, DeepGrid(GRID, 2)),
        (Thresholds(GRID), GRID),
        (GRID, Thresholds(GRID)),
    ):
        for call in (archive.add, archive.update):
            with pytest.raises(ValueError, match="the elites"):
                call(other.init(), *rows(archive))
    with pytest.raises(ValueError, match="the elites"):
        Islands(GRID, 3).add(DeepGrid(GRID, 3).init(), *rows(GRID))


def test_islands_are_one_number_or_one_for_each_row():
    """An island that does not exist is refused, as its row would be lost."""
    archive = Islands(GRID, 3)
    for island, words in (
        (np.zeros(1, int), r"shape \(4,\)"),
        (np.zeros(4), "float64"),
        (3, "from 0 to 2"),
    ):
        with pytest.raises(ValueError, match=words):
            archive.add(archive.init(), *rows(archive), island)
    same = [
        np.asarray(call(archive.init(), *rows(archive))[0].objective)
        for call in (archive.add, archive.update)
    ]
    np.testing.assert_array_equal(*same)


def test_a_payload_of_several_arrays_is_checked_array_by_array():
    """The message names the array: its rows, the shape of a row, and missing or extra keys."""
    elites = GRID.init({"id": 0, "genome": np.zeros(3)})
    objective, descriptor, id = rows(GRID)
    good = {"id": id, "genome": np.zeros((4, 3))}
    GRID.add(elites, objective, descriptor, good)
    for wrong, words in (
        ({"genome": np.zeros((4, 1))}, r"payload\['genome'\] must have shape \(4, 3\)"),
        ({"genome": np.zeros((1, 3))}, r"payload\['genome'\] must have shape \(4, 3\)"),
        ({"cost": id}, r"too much payload\['cost'\]"),
    ):
        with pytest.raises(ValueError, match=words):
            GRID.add(elites, objective, descriptor, good | wrong)
    with pytest.raises(ValueError, match=r"missing is payload\['genome'\]"):
        GRID.add(elites, objective, descriptor, {"id": id})


def test_shapes_are_checked_when_a_function_is_traced():
    """Under jit, vmap and scan the ValueError comes at compilation, and update loses no elites."""
    elites, (objective, descriptor, id) = GRID.init(), rows(GRID)
    with pytest.raises(ValueError, match="objective must have shape"):
        jax.jit(GRID.add)(elites, objective[:, None], descriptor, id)
    with pytest.raises(ValueError, match="objective must have shape"):
        jax.vmap(lambda f: GRID.add(elites, f, descriptor, id))(objective[:, None, None])
    with pytest.raises(ValueError, match="objective must have shape"):
        jax.lax.scan(
            lambda e, f: (GRID.add(e, f, descriptor, id)[0], None), elites, objective[:, None]
        )
    with pytest.raises(ValueError, match="objective must have shape"):
        GRID.update(elites, objective[:, None], descriptor, id)
    with pytest.raises(ValueError, match="cell must have shape"):
        insert(elites, jnp.zeros((4, 1), jnp.int32), objective, descriptor, id)
    assert not elites.occupied.any()


@pytest.mark.parametrize(
    "payload", ["text", object(), np.longdouble(1)], ids=["text", "object", "longdouble"]
)
def test_a_payload_that_jax_cannot_hold_is_refused(payload):
    """By init, with a message."""
    with pytest.raises(ValueError, match="the payload must be numbers that jax can hold"):
        GRID.init(payload)


TOO_LARGE = {
    "10,000,000,000 cells of 1[26] bytes": lambda: Grid((10**5, 10**5), BOX),
    "1,000,000,000,000 cells": lambda: DeepGrid(Grid((1000, 1000), BOX), 10**6),
    "5,000,000,000 cells": lambda: Islands(Grid((1000, 1000), BOX), 5000),
    "3,000,000,000 cells": lambda: Novelty(2, 3 * 10**9, threshold=0.1),
}


@pytest.mark.parametrize("words", TOO_LARGE)
def test_an_archive_that_is_too_large_is_refused_before_it_takes_memory(words):
    """The message names the cells, the bytes and the mend."""
    with pytest.raises(ValueError, match=f"{words}.* bytes in all.*take fewer cells"):
        TOO_LARGE[words]().init()
    with pytest.raises(ValueError, match=r"20 cells of 80,000,000,0.. bytes.*this machine has"):
        GRID.init(np.broadcast_to(np.zeros(1, np.float32), 2 * 10**10))


BAD_SETTINGS = {
    "depth is 2.0, a float": lambda: DeepGrid(GRID, 2.0),
    "depth is True, a bool": lambda: DeepGrid(GRID, True),
    "depth is nan, a float": lambda: DeepGrid(GRID, np.nan),
    "depth is None, a NoneType": lambda: DeepGrid(GRID, None),
    "depth is '2', a str": lambda: DeepGrid(GRID, "2"),
    "depth is 0": lambda: DeepGrid(GRID, 0),
    "rate is 'a'": lambda: Thresholds(GRID, "a"),
    "rate is nan": lambda: Thresholds(GRID, np.nan),
    "minimum is None": lambda: Thresholds(GRID, 0.1, None),
    "minimum is -inf": lambda: Thresholds(GRID, 0.1, -np.inf),
    "capacity is 10.0, a float": lambda: DominatedNovelty(2, 10.0),
    "dimensions is 2.0, a float": lambda: Recent(2.0),
    "neighbours is '3', a str": lambda: Novelty(2, 10, "3", threshold=0.1),
    "threshold is None": lambda: Novelty(2, 10, 3, threshold=None),
    "threshold is nan": lambda: Recent(2, threshold=np.nan),
    "least is nan": lambda: Recent(2, least=np.nan),
    "free is -1": lambda: Recent(2, free=-1),
    "free is 0.5, a float": lambda: Recent(2, free=0.5),
    r"edges\[0\] is \(1.0, 0.0\)": lambda: Recent(1, edges=((1, 0),)),
    r"edges\[0\] is \(0.0, nan\)": lambda: Recent(1, edges=((0, np.nan),)),
    "count is 2.0, a float": lambda: Islands(GRID, 2.0),
    "begin is 1.0, a float": lambda: Islands(GRID, 2, begin=1.0),
    "begin is 0": lambda: Islands(GRID, 2, begin=0),
    "changes are such as Migrate": lambda: Islands(GRID, 2, changes=(5,)),
    "every is 1.5, a float": lambda: qdkit.archives.Migrate(every=1.5),
    "every is nan, a float": lambda: qdkit.archives.Reset(every=np.nan),
    "after is 2.0, a float": lambda: qdkit.archives.Spawn(after=2.0),
    "share is None": lambda: qdkit.archives.Migrate(share=None),
    "a CVT has at least one cell, not 3.0": lambda: CVT.spread(3.0, BOX),
    "samples is 1.5": lambda: CVT.spread(3, BOX, samples=1.5),
    r"shape\[0\] is True": lambda: Grid((True,), ((0, 1),)),
    r"shape\[0\] is 2.0": lambda: Grid((2.0,), ((0, 1),)),
}


@pytest.mark.parametrize("words", BAD_SETTINGS)
def test_an_invalid_setting_is_refused_when_the_archive_is_built(words):
    """The message has the name of the setting and its value."""
    with pytest.raises(ValueError, match=words):
        BAD_SETTINGS[words]()


def test_whole_numbers_of_numpy_are_settings():
    """They become ints, as JSON and jax need."""
    archive = DeepGrid(GRID, np.int64(2))
    assert type(archive.depth) is int and archive.init().depth == 2


class Sheet:
    """Points of the unit square; each test puts its mistake into the evaluation."""

    bounds = ((0, 1), (0, 1))

    def __init__(self, **wrong):
        self.wrong = wrong

    def seeds(self, key, n):
        return np.array(jax.random.uniform(key, (n, 2)))

    def evaluate(self, genomes):
        n = len(genomes)
        found = {"objective": np.zeros(n), "descriptor": genomes[:, :2]}
        return Evaluation(**(found | {name: make(n) for name, make in self.wrong.items()}))


BAD_EVALUATIONS = {
    r"objective must have shape \(8,\) for 8 candidates, and has \(8, 1\)": {
        "objective": lambda n: np.zeros((n, 1))
    },
    r"objective must have shape \(8,\) for 8 candidates, and has \(1,\)": {
        "objective": lambda n: np.zeros(1)
    },
    r"objective must have shape \(8,\) for 8 candidates, and has \(\)": {
        "objective": lambda n: 0.5
    },
    "objective must be real numbers": {"objective": lambda n: np.zeros(n) + 1j},
    r"the archive has 2 axes.*these have \(8, 1\)": {"descriptor": lambda n: np.zeros((n, 1))},
    r"the archive has 2 axes.*these have \(8, 3\)": {"descriptor": lambda n: np.zeros((n, 3))},
    r"the archive has 2 axes.*these have \(8,\)": {"descriptor": lambda n: np.zeros(n)},
    "its descriptor has 1 rows": {"descriptor": lambda n: np.zeros((1, 2))},
    "its descriptor is 0.5": {"descriptor": lambda n: 0.5},
    "its descriptor is array": {"descriptor": lambda n: np.array(0.5)},
    "features must have shape": {"features": lambda n: np.zeros(n)},
    "its outcome has 1 rows": {"outcome": lambda n: ["ok"]},
    "its outcome is 'ok'": {"outcome": lambda n: "ok"},
    "its notes has 1 rows": {"notes": lambda n: [{}]},
}


@pytest.mark.parametrize("words", BAD_EVALUATIONS)
def test_an_evaluation_of_other_shapes_is_refused_with_a_message(words):
    """Every column is checked, and no value is used for more than one candidate."""
    with pytest.raises(ValueError, match=words):
        Search(
            Sheet(**BAD_EVALUATIONS[words]), Grid((4, 4), Sheet.bounds), Gaussian(0.1), batch=8
        ).run(2, progress=False)


@pytest.mark.parametrize("wrong", ["objective", "descriptor"])
def test_a_compiled_search_refuses_other_shapes_too(wrong):
    """At the compilation of the domain."""

    class Compiled(Sheet):
        def evaluate(self, genomes):
            found = {"objective": jnp.zeros(len(genomes)), "descriptor": genomes}
            return Evaluation(**(found | {wrong: jnp.zeros((len(genomes), 1, 1))}))

    with pytest.raises(
        ValueError, match=r"objective must have shape \(8,\) and its descriptor \(8, axes\)"
    ):
        Search.compiled(Compiled(), Grid((4, 4), Sheet.bounds), Gaussian(0.1), batch=8)


def candidates(n=4):
    return Batch.unevaluated(Proposal.of(np.zeros((n, 2)), "test"))


BAD_JUDGEMENTS = {
    r"the judge's values must have shape \(4,\)": Judgement(np.zeros((4, 1))),
    r"its count is one number or has shape \(4,\), and has \(1,\)": Judgement(
        np.zeros(4), np.ones(1, int)
    ),
    "its outcome has 1 rows": Judgement(np.zeros(4), outcome=["ok"]),
    "its notes has 3 rows": Judgement(np.zeros(4), notes=[{}] * 3),
    "the judge's features must have shape": Judgement(np.zeros(4), features=np.zeros(4)),
}


@pytest.mark.parametrize("words", BAD_JUDGEMENTS)
def test_a_judgement_of_other_shapes_is_refused_with_a_message(words):
    """A judgement has one value, count, outcome and note for each candidate."""
    with pytest.raises(ValueError, match=words):
        judge_batch(candidates(), lambda key, batch: BAD_JUDGEMENTS[words], None)


def test_descriptors_of_other_shapes_are_refused_with_a_message():
    """Axes give one row for each candidate, with one number for each axis."""
    for shape in ((4, 1), (4,), (1, 2), (4, 3), ()):
        with pytest.raises(ValueError, match=r"the axes' descriptors must have shape \(4, 2\)"):
            assign_descriptors(candidates(), lambda batch, shape=shape: np.zeros(shape), 2)


def test_a_proposal_with_other_rows_of_outcomes_or_notes_is_refused_with_a_message():
    """There is one for each genome."""
    proposal = Proposal.of(np.zeros((4, 2)), "own")
    for wrong in ({"outcome": ["ok"]}, {"notes": [{}] * 3}):
        with pytest.raises(ValueError, match=f"own proposed 4 genomes with . {next(iter(wrong))}"):
            proposed_batch(proposal._replace(**wrong), np.zeros((4, 2)), 4)


def test_labels_are_one_for_each_axis():
    """A text is no row of labels, even if it has as many letters as there are axes."""
    archive = Grid((2, 2), (("a", "b"), ("a", "b")))
    for wrong in (["ab"], [1.0], ["a"], [("a",)], [("a", "b", "a")], "ab", 0.5, np.array("ab")):
        with pytest.raises(ValueError, match="the archive has 2 axes"):
            archive.encode(wrong)
    assert archive.encode([("a", "b")]).tolist() == [[0.0, 1.0]]


def test_a_clipped_descriptor_is_counted_in_the_precision_of_its_cell():
    """The bounds have distant float32 neighbours: a descriptor slightly outside is outside."""
    low = 1.7e9

    class Far(Sheet):
        def evaluate(self, genomes):
            outside = np.full((len(genomes), 1), low + 40.25)
            return Evaluation(np.zeros(len(genomes)), outside)

    search = Search(Far(), Grid((4,), ((low, low + 40.0),)), Gaussian(0.1), batch=12, seed=1)
    search.run(1, progress=False)
    assert search.commits[-1].clipped == search.commits[-1].rows > 0

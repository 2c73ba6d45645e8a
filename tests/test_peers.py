"""pyribs and QDax: reading and writing their archives, and ours in place of those of pyribs."""

from __future__ import annotations

import os
import pickle
import warnings
from types import SimpleNamespace

os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # pyribs compiles for longer than these tests take

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qdkit import Search
from qdkit.archives import CVT, DeepGrid, DominatedNovelty, Grid, Islands, Novelty, Thresholds
from qdkit.core.elites import double
from qdkit.domains.arm import Arm
from qdkit.operators import Gaussian
from qdkit.peers import ImportedArchive, Ribs, from_qdax, from_ribs, to_qdax, to_ribs
from tests.worlds import Chatter, Texts

BOX = ((-1.0, 1.0), (-2.0, 2.0))
CENTROIDS = np.random.default_rng(3).uniform((-1, -2), (1, 2), (40, 2))


def sphere(solution):
    """Returns objective and measures of vectors: the nearer to 0.3 the better."""
    return -((solution - 0.3) ** 2).sum(1), np.clip(solution[:, :2], -1.2, 2.2)


def batches(seed, n=50, batches=4):
    """Yields batches of candidates with ties and points outside the box."""
    random = np.random.default_rng(seed)
    for _ in range(batches):
        solution = random.uniform(-1.5, 1.5, (n, 3)).round(1)
        yield (solution, *sphere(solution))


def archives_of_pyribs():
    """Returns each kind of archive with fixed cells, by name."""
    from ribs.archives import CVTArchive, GridArchive

    return {
        "grid": GridArchive(solution_dim=3, dims=(5, 8), ranges=BOX),
        "cvt": CVTArchive(solution_dim=3, centroids=CENTROIDS, ranges=BOX),
    }


# Read and written


@pytest.mark.parametrize("kind", ["grid", "cvt"])
@pytest.mark.parametrize("seed", range(5))
def test_an_archive_of_pyribs_is_read_and_written_back(kind, seed):
    """Read into ours and written to pyribs again, all columns of the elites are equal."""
    theirs = archives_of_pyribs()[kind]
    for batch in batches(seed):
        theirs.add(*batch)
    read = from_ribs(theirs)
    back = to_ribs(read)
    assert type(back) is type(theirs) and len(back) == len(theirs)
    for name in ("solution", "objective", "measures", "index"):
        first, second = theirs.data(["index", name]), back.data(["index", name])
        np.testing.assert_array_equal(
            first[name][first["index"].argsort()], second[name][second["index"].argsort()]
        )
    index = theirs.data("index")
    np.testing.assert_array_equal(np.flatnonzero(read.elites.occupied), np.sort(index))
    assert read.genomes.shape == (len(theirs), 3)


def test_an_empty_archive_is_read_and_written():
    """An archive without elites is no error."""
    read = from_ribs(archives_of_pyribs()["grid"])
    assert not read.elites.occupied.any() and len(to_ribs(read)) == 0


def test_labels_and_texts_are_read_and_written_back():
    """A CategoricalArchive of texts is the same after both conversions."""
    from ribs.archives import CategoricalArchive

    theirs = CategoricalArchive(
        solution_dim=(),
        solution_dtype=object,
        measures_dtype=object,
        categories=[["haiku", "ode"], ["sad", "merry"]],
    )
    theirs.add(
        np.array(["=1+1", "<b>"], object),
        [1.0, 2.0],
        np.array([["haiku", "merry"], ["ode", "sad"]], object),
    )
    back = to_ribs(from_ribs(theirs))
    data = back.data(["solution", "measures", "objective"])
    rows = zip(data["solution"], map(tuple, data["measures"]), data["objective"], strict=True)
    assert set(rows) == {("=1+1", ("haiku", "merry"), 1.0), ("<b>", ("ode", "sad"), 2.0)}


def test_a_search_is_written_as_an_archive_of_pyribs():
    """The elites of a search are those of the archive written, deep or on islands too."""
    grid = Grid((6, 6), ((0, 1), (0, 1)))
    for archive in (grid, DeepGrid(grid, 3), Islands(grid, 2)):
        search = Search(Arm(joints=4), archive, Gaussian(0.1), batch=32, seed=1).run(
            6, progress=False
        )
        theirs = to_ribs(search, qd_score_offset=search.floor)
        stats, summary = theirs.stats, search.summary()
        assert stats.num_elites == search.archive.map.cells * stats.coverage
        assert stats.obj_max == pytest.approx(summary["best_objective"])
        if archive is grid:  # united islands keep the better of two, which is in no summary
            assert stats.qd_score == pytest.approx(summary["qd_score"])


def test_texts_of_a_search_become_objects():
    """The solutions of a search over texts are the texts themselves."""
    search = Search(Texts(), Grid((5, 4), Texts.bounds), Chatter(), batch=4).run(4, progress=False)
    theirs = to_ribs(search)
    assert set(theirs.data("solution")) == set(search.pool.genome)


def test_unsupported_archives_are_refused():
    """Unequal bins and archives without cells cannot be converted."""
    from ribs.archives import ProximityArchive

    edges = Grid((2, 2), ((0.0, 0.3, 1.0), (0, 1)))
    search = Search(Arm(joints=4), edges, Gaussian(0.1), batch=8).run(2, progress=False)
    with pytest.raises(TypeError, match="pyribs has no archive like"):
        to_ribs(search)
    with pytest.raises(TypeError, match="this is a ProximityArchive"):
        from_ribs(
            ProximityArchive(solution_dim=2, measure_dim=2, k_neighbors=5, novelty_threshold=0.1)
        )


def test_a_repertoire_goes_to_qdax_and_back():
    """The columns for QDax, read again, are the same elites in the same cells."""
    search = Search(
        Arm(joints=4),
        CVT(np.random.default_rng(0).uniform(0, 1, (30, 2))),
        Gaussian(0.1),
        batch=32,
    )
    search.run(4, progress=False)
    columns = to_qdax(search)
    assert columns["fitnesses"].shape == (30, 1) and columns["genotypes"].shape == (30, 4)
    read = from_qdax(SimpleNamespace(**columns))
    np.testing.assert_array_equal(read.elites.objective, search.elites.objective)
    np.testing.assert_array_equal(read.elites.descriptor, search.elites.descriptor)
    np.testing.assert_array_equal(read.genomes, search.pool.genome)


def test_a_repertoire_that_cannot_be_read_says_why():
    """Trees of several arrays, and elites outside the cell of their descriptor, are refused."""
    tree = {"a": np.zeros((2, 1)), "b": np.zeros((2, 1))}
    centroids = np.array([[0.0, 0.0], [1.0, 1.0]])
    columns = {"fitnesses": np.zeros((2, 1)), "centroids": centroids}
    with pytest.raises(TypeError, match="a tree of 2 arrays"):
        from_qdax(SimpleNamespace(genotypes=tree, descriptors=centroids, **columns))
    columns |= {"genotypes": np.zeros((2, 1)), "descriptors": np.zeros((2, 2))}
    with pytest.raises(ValueError, match="2 elites were read and 1 have a cell"):
        from_qdax(SimpleNamespace(**columns))


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16, "bfloat16"])
def test_elites_on_edges_go_to_qdax_and_back(kind):
    """Every corner of a grid has an elite, which is as near to two or four middles.

    The elites come back in any dtype.
    """
    grid = Grid((10, 10), ((0.0, 1.0), (0.0, 1.0)))
    places = np.stack(
        np.meshgrid(np.arange(10) / 10, np.arange(10) / 10, indexing="ij"), -1
    ).reshape(-1, 2)
    read = _read(grid, places)
    assert read.elites.occupied.all()
    columns = to_qdax(read)
    for name in ("descriptors", "centroids", "fitnesses"):
        columns[name] = (
            jnp.asarray(columns[name], kind) if kind == "bfloat16" else columns[name].astype(kind)
        )
    back = from_qdax(SimpleNamespace(**columns))
    np.testing.assert_array_equal(back.genomes, read.genomes)
    np.testing.assert_array_equal(
        back.elites.descriptor, np.asarray(columns["descriptors"], np.float64)
    )


def _read(archive, places, objective=None):
    """Returns an `ImportedArchive` with an elite at each of `places`, numbered."""
    objective = np.arange(len(places), dtype=float) if objective is None else objective
    with double():
        elites, _ = archive.add(
            archive.init({"genome": np.zeros(1)}),
            objective,
            places,
            {"genome": objective[:, None]},
        )
    return ImportedArchive(archive, jax.tree.map(np.asarray, elites))


@pytest.mark.parametrize("size", [3, 7, 10, 100])
@pytest.mark.parametrize("box", [(0.0, 1.0), (-0.3, 0.7), (0.0, 1e-6), (1e6, 1e6 + 3)])
def test_elites_on_edges_go_to_pyribs_and_back(size, box):
    """Elites on the edges of a grid of any scale are in the cell above, there and back again."""
    grid = Grid((size,), (box,))
    places = np.concatenate(
        [grid.edges(0)[:-1], grid.edges(0)[1:-1] - 0.5e-6 * (box[1] - box[0]) / size]
    )[:, None]
    read = _read(grid, places)
    with warnings.catch_warnings():
        # where pyribs rounds an edge downwards, the measure moves by rounding
        warnings.simplefilter("ignore")
        back = from_ribs(to_ribs(read))
    np.testing.assert_array_equal(back.genomes, read.genomes)
    np.testing.assert_allclose(
        back.elites.descriptor, read.elites.descriptor, rtol=1e-12, atol=1e-15
    )


def test_an_elite_just_below_an_edge_is_read_from_the_cell_of_pyribs():
    """pyribs' epsilon puts it above the edge; the elite of the cell below stays as well."""
    from ribs.archives import GridArchive

    theirs = GridArchive(solution_dim=1, dims=(4,), ranges=((0, 1),))
    theirs.add([[1.0], [2.0]], [1.0, 2.0], [[0.5 - 1e-7], [0.3]])
    assert theirs.index_of([[0.5 - 1e-7]]) == [2]
    assert from_ribs(theirs).genomes[:, 0].tolist() == [2.0, 1.0]


def test_elites_as_near_to_two_centroids_go_to_pyribs_and_back():
    """Either of two equal distances may be taken by pyribs.

    The measures of an elite that moves stay the same but for rounding.
    """
    cvt = CVT(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    read = _read(cvt, np.array([[0.5, 0.5], [0.5, 1.0], [1.0, 0.5], [1.0, 1.0]]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        back = from_ribs(to_ribs(read))
    np.testing.assert_array_equal(back.genomes, read.genomes)
    np.testing.assert_allclose(back.elites.descriptor, read.elites.descriptor, atol=1e-12)


def test_thresholds_go_to_pyribs_and_back():
    """A `Thresholds` archive becomes one of CMA-MAE that continues as ours would."""
    soft = Thresholds(Grid((5, 8), BOX), 0.1, -20.0)
    search = Search(
        Arm(joints=4),
        Thresholds(Grid((6, 6), ((0, 1), (0, 1))), 0.2, -1.0),
        Gaussian(0.1),
        batch=32,
        seed=1,
    )
    search.run(6, progress=False)
    theirs = to_ribs(search)
    assert theirs.learning_rate == 0.2 and theirs.threshold_min == -1.0
    cell = np.flatnonzero(search.elites.occupied)
    data = theirs.data(["index", "threshold"])
    np.testing.assert_array_equal(
        np.asarray(search.elites.state)[cell], data["threshold"][data["index"].argsort()]
    )

    there, here = Ribs(soft, 3), None
    for batch in batches(0):
        there.add(*batch)
    here = ImportedArchive(
        soft,
        there._elites.__class__(
            *(getattr(there._elites, n) for n in ("objective", "descriptor")),
            {"genome": there._elites.payload["solution"]},
            there._elites.state,
        ),
    )
    theirs = to_ribs(here)
    for batch in batches(1):
        first, second = theirs.add(*batch), there.add(*batch)
        np.testing.assert_array_equal(first["status"], second["status"])
        np.testing.assert_allclose(first["value"], second["value"], rtol=1e-12)
    back = from_ribs(theirs)
    assert back.archive.rate == 0.1 and back.archive.minimum == -20.0
    np.testing.assert_allclose(back.elites.state, there._elites.state, rtol=1e-12)
    with pytest.warns(UserWarning, match="QDax has no thresholds"):
        to_qdax(back)


def test_losses_are_warned_of():
    """Extra fields of pyribs, and cells that QDax would not find, cause a warning."""
    from ribs.archives import GridArchive

    theirs = GridArchive(
        solution_dim=1, dims=(4,), ranges=((0, 1),), extra_fields={"cost": ((), np.float64)}
    )
    theirs.add([[1.0]], [1.0], [[0.5]], cost=[3.0])
    with pytest.warns(UserWarning, match="the fields cost are left out"):
        from_ribs(theirs)
    uneven = Grid((2,), ((0.0, 0.1, 1.0),))
    with pytest.warns(UserWarning, match="1 of 2 elites lie nearer to the middle of another cell"):
        to_qdax(_read(uneven, np.array([[0.05], [0.2]])))


# Ours under pyribs


@pytest.mark.parametrize("name", ["novelty", "dominated"])
def test_diversity_optimisation_needs_no_objective(name):
    """An objective of None is 0 for all rows, in batches and alone, as in pyribs.

    Status and elites are those of pyribs.
    """
    from ribs.archives import DNSArchive, ProximityArchive

    theirs = (
        ProximityArchive(solution_dim=3, measure_dim=2, k_neighbors=3, novelty_threshold=0.3)
        if name == "novelty"
        else DNSArchive(solution_dim=3, measure_dim=2, capacity=50, k_neighbors=3)
    )
    ours = Ribs(
        Novelty(2, 200, 3, threshold=0.3) if name == "novelty" else DominatedNovelty(2, 50), 3
    )
    random = np.random.default_rng(0)
    for _ in range(30):
        solution, measures = random.normal(size=3), random.normal(size=2)
        assert (
            int(np.ravel(theirs.add_single(solution, None, measures)["status"])[0])
            == ours.add_single(solution, None, measures)["status"]
        )
    np.testing.assert_array_equal(
        np.sort(theirs.data("solution"), 0), np.sort(ours.data("solution"), 0)
    )
    assert (ours.data("objective") == 0).all() and len(ours) == len(theirs) > 3
    ours.add(random.normal(size=(80, 3)), None, random.normal(size=(80, 2)))
    assert len(ours) > 10


@pytest.mark.parametrize("name", ["grid", "cvt", "soft", "deep", "competition"])
def test_an_archive_that_compares_objectives_refuses_none(name):
    """In batches and alone, as in pyribs."""
    archive = Ribs(
        {**every_archive(), "competition": Novelty(2, 50, threshold=0.1, competition=True)}[name],
        3,
    )
    for call in (
        lambda: archive.add(np.zeros((4, 3)), None, np.zeros((4, 2))),
        lambda: archive.add_single([0] * 3, None, [0, 0]),
    ):
        with pytest.raises(ValueError, match="is None, which is for archives that do not use"):
            call()


@pytest.mark.parametrize("name", ["novelty", "dominated"])
def test_the_nearest_elite_is_looked_up_where_there_are_no_cells(name):
    """Its slot and fields are those that a KD tree of pyribs finds.

    There is none in an empty archive.
    """
    from ribs.archives import ProximityArchive

    ours = Ribs(every_archive()[name], 3)
    for call in (ours.index_of, ours.retrieve):
        with pytest.raises(RuntimeError, match="no elite yet"):
            call([[0.0, 0.0]])
    for batch in batches(0):
        ours.add(*batch)
    theirs = ProximityArchive(solution_dim=3, measure_dim=2, k_neighbors=1, novelty_threshold=0.0)
    theirs.add(ours.data("solution"), ours.data("objective"), ours.data("measures"))
    points = np.random.default_rng(1).uniform(-2, 2, (50, 2))
    occupied, rows = ours.retrieve(points)
    np.testing.assert_array_equal(rows["measures"], theirs.retrieve(points)[1]["measures"])
    np.testing.assert_array_equal(rows["index"], ours.index_of(points))
    assert occupied.all() and len(set(rows["index"].tolist())) > 5
    occupied, elite = ours.retrieve_single(points[3])
    assert occupied and elite["index"] == ours.index_of_single(points[3]) == rows["index"][3]
    own = ours.retrieve(ours.data("measures"))[1]
    np.testing.assert_array_equal(own["measures"], ours.data("measures"))
    occupied, rows = ours.retrieve([[np.nan, 0.0], [0.0, 0.0]])
    assert (
        occupied.tolist() == [False, True]
        and rows["index"][0] == -1
        and np.isnan(rows["measures"][0]).all()
    )


def test_labels_go_in_and_come_out():
    """Measures are labels in all results, as in a CategoricalArchive of pyribs."""
    from ribs.archives import CategoricalArchive

    forms, moods = ["haiku", "ode", "song"], ["sad", "merry"]
    theirs = CategoricalArchive(solution_dim=1, categories=[forms, moods])
    ours = Ribs(Grid((3, 2), (tuple(forms), tuple(moods))), 1)
    rows = np.array([["haiku", "merry"], ["song", "sad"], ["ode", "sad"], ["song", "sad"]], object)
    for archive in (ours, theirs):
        archive.add(np.arange(4.0)[:, None], [1.0, 2.0, 3.0, 4.0], rows)
        archive.add_single([9.0], 9.0, ["ode", "merry"])
    assert ours.dtypes["measures"] == theirs.dtypes["measures"] == np.dtype(object)
    order = theirs.data("index").argsort()
    np.testing.assert_array_equal(ours.data("measures"), theirs.data("measures")[order])
    points = [*map(tuple, rows), ("haiku", "sad")]
    (first, here), (second, there) = ours.retrieve(points), theirs.retrieve(points)
    np.testing.assert_array_equal(first, second)
    for name in ("solution", "objective", "measures", "index"):
        np.testing.assert_array_equal(here[name], there[name], err_msg=name)
    assert here["measures"][-1].tolist() == [None, None] and here["index"][-1] == -1
    again = ours.retrieve(ours.data("measures"))[1]
    np.testing.assert_array_equal(again["solution"], ours.data("solution"))
    assert (
        ours.best_elite["measures"].tolist()
        == ["ode", "merry"]
        == theirs.best_elite["measures"].tolist()
    )
    assert set(ours.sample_elites(20)["measures"][:, 1]) == {"sad", "merry"}
    assert [elite["measures"][0] for elite in ours] == ["haiku", "ode", "ode", "song"]
    mixed = Ribs(Grid((2, 2), ((0, 1), ("a", "b"))), 1)
    mixed.add([[1.0]], [1.0], [(0.25, "b")])
    assert (
        mixed.data("measures").tolist() == [[0.25, "b"]]
        and mixed.retrieve(mixed.data("measures"))[0].all()
    )


def test_the_best_that_ever_entered_is_remembered():
    """A threshold lets a worse elite replace the best.

    `best_elite` and `obj_max` stay those of pyribs.
    """
    from ribs.archives import GridArchive

    theirs = GridArchive(
        solution_dim=3, dims=(5, 8), ranges=BOX, learning_rate=0.1, threshold_min=-20.0
    )
    ours = Ribs(Thresholds(Grid((5, 8), BOX), 0.1, -20.0), 3)
    for seed in range(3):
        for batch in batches(seed):
            theirs.add(*batch), ours.add(*batch)
            assert ours.stats.obj_max == theirs.stats.obj_max
            for name in ("solution", "objective", "measures", "index"):
                np.testing.assert_array_equal(ours.best_elite[name], theirs.best_elite[name])
    assert ours.stats.obj_max > ours.data("objective").max()
    assert pickle.loads(pickle.dumps(ours)).stats.obj_max == ours.stats.obj_max
    for name, value in vars(theirs.stats).items():
        assert getattr(ours.stats, name) == pytest.approx(value), name
    ours.clear()
    assert ours.best_elite is None and ours.stats.obj_max is None


SHAPES = {
    r"objective must have shape \(2,\) for 2 solutions, and has \(2, 1\)": lambda a: a.add(
        np.zeros((2, 3)), [[1], [2]], np.zeros((2, 2))
    ),
    r"objective must have shape \(2,\) for 2 solutions, and has \(1,\)": lambda a: a.add(
        np.zeros((2, 3)), [1], np.zeros((2, 2))
    ),
    r"objective must have shape \(2,\) for 2 solutions, and has \(\)": lambda a: a.add(
        np.zeros((2, 3)), 1.0, np.zeros((2, 2))
    ),
    r"objective must have shape \(1,\) for 1 solutions, and has \(2,\)": lambda a: a.add(
        np.zeros((1, 3)), [1, 2], np.zeros((2, 2))
    ),
    r"measures must have shape \(2, 2\) for 2 solutions, and has \(1, 2\)": lambda a: a.add(
        np.zeros((2, 3)), [1, 2], np.zeros((1, 2))
    ),
    r"descriptors have shape \(n, 2\), and these have \(2, 3\)": lambda a: a.add(
        np.zeros((2, 3)), [1, 2], np.zeros((2, 3))
    ),
    r"solution must have shape \(2, 3\), and has \(2, 1\)": lambda a: a.add(
        np.zeros((2, 1)), [1, 2], np.zeros((2, 2))
    ),
    r"solution must have a row for each": lambda a: a.add(1.0, [1], np.zeros((1, 2))),
    r"objective must have shape \(\) for one solution, and has \(1,\)": lambda a: a.add_single(
        [0] * 3, [1.0], [0, 0]
    ),
    r"measures must have shape \(2,\) for one solution, and has \(1,\)": lambda a: a.add_single(
        [0] * 3, 1.0, [0]
    ),
    r"measures must have shape \(2,\) for one solution, and has \(1, 2\)": lambda a: a.add_single(
        [0] * 3, 1.0, [[0, 0]]
    ),
    r"solution must have shape \(1, 3\), and has \(1, 1, 3\)": lambda a: a.add_single(
        [[0] * 3], 1.0, [0, 0]
    ),
    r"the indices must have shape \(n,\), and have \(\)": lambda a: a.int_to_grid_index(3),
    r"the indices must have shape \(n,\), and have \(1, 1\)": lambda a: a.int_to_grid_index([[3]]),
    r"the indices must have shape \(n, 2\), and have \(2,\)": lambda a: a.grid_to_int_index(
        [1, 2]
    ),
    r"the indices must have shape \(n, 2\), and have \(1, 3\)": lambda a: a.grid_to_int_index(
        [[1, 2, 3]]
    ),
    r"these have \(2,\)": lambda a: a.retrieve([0.0, 0.0]),
    r"these have \(1, 1, 2\)": lambda a: a.index_of_single([[0.0, 0.0]]),
}


@pytest.mark.parametrize("words", SHAPES)
def test_other_shapes_are_refused_where_pyribs_refuses_them(words):
    """Our message has both shapes, pyribs' own archive raises too, and nothing enters."""
    ours, theirs = Ribs(Grid((5, 8), BOX), 3), archives_of_pyribs()["grid"]
    with pytest.raises(ValueError, match=words):
        SHAPES[words](ours)
    # pyribs takes [1.0] for one objective
    if "one solution, and has (1,)" not in words.replace("\\", ""):
        with pytest.raises((ValueError, TypeError, IndexError)):
            SHAPES[words](theirs)
    assert ours.empty


def test_fields_without_an_elite_have_the_blanks_of_pyribs():
    """They are nan, None, 0 and the index -1.

    `data` returns a single field in the requested form.
    """
    from ribs.archives import GridArchive

    kinds = {
        "count": ((), np.int32),
        "size": ((2,), np.uint8),
        "note": ((), object),
        "cost": ((), np.float32),
    }
    ours = Ribs(Grid((4,), ((0, 1),)), 1, fields=kinds)
    theirs = GridArchive(solution_dim=1, dims=(4,), ranges=((0, 1),), extra_fields=kinds)
    for archive in (ours, theirs):
        fields = {"count": [7], "size": [[1, 2]], "note": np.array(["a"], object), "cost": [0.5]}
        archive.add([[1.0]], [1.0], [[0.1]], **fields)
    here, there = ours.retrieve([[0.9], [0.1]])[1], theirs.retrieve([[0.9], [0.1]])[1]
    for name in ours.field_list:
        np.testing.assert_array_equal(here[name], there[name], err_msg=name)
    for form in (None, "dict", "tuple"):
        one, other = (
            ours.data("objective", return_type=form),
            theirs.data("objective", return_type=form),
        )
        assert type(one) is type(other) and len(one) == len(other)


@pytest.mark.parametrize("kind", ["grid", "cvt"])
@pytest.mark.parametrize("seed", range(5))
def test_our_results_are_those_of_pyribs(kind, seed):
    """On the same batches status, value, statistics, elites and look-ups agree."""
    theirs = archives_of_pyribs()[kind]
    ours = Ribs(Grid((5, 8), BOX) if kind == "grid" else CVT(CENTROIDS, BOX), 3)
    for batch in batches(seed):
        first, second = theirs.add(*batch), ours.add(*batch)
        for name in ("status", "value"):
            np.testing.assert_allclose(first[name], second[name])
    order = theirs.data("index").argsort()
    for name in ("solution", "objective", "measures", "index"):
        np.testing.assert_array_equal(theirs.data(name)[order], ours.data(name))
    for name, value in vars(theirs.stats).items():
        assert getattr(ours.stats, name) == pytest.approx(value), name
    points = np.random.default_rng(seed).uniform((-1, -2), (1, 2), (20, 2))
    for first, second in zip(theirs.retrieve(points), ours.retrieve(points), strict=True):
        if isinstance(first, dict):
            for name in ("solution", "objective", "measures", "index"):
                np.testing.assert_array_equal(first[name], second[name], err_msg=name)
        else:
            np.testing.assert_array_equal(first, second)
    assert ours.best_elite["objective"] == theirs.best_elite["objective"]
    assert list(ours.data(return_type="pandas").columns) == list(
        theirs.data([*ours.field_list], return_type="pandas").columns
    )


def emitters(archive):
    """Returns one of each emitter and ranker of pyribs that our archives serve, by name."""
    from ribs.emitters import (
        EvolutionStrategyEmitter,
        GaussianEmitter,
        GeneticAlgorithmEmitter,
        IsoLineEmitter,
    )

    x0 = [0.0] * 3
    by_name = {
        "gaussian": GaussianEmitter(archive, sigma=0.1, x0=x0, batch_size=8, seed=1),
        "isoline": IsoLineEmitter(archive, x0=x0, batch_size=8, seed=1),
        "genetic": GeneticAlgorithmEmitter(
            archive, x0=x0, operator="gaussian", operator_kwargs={"sigma": 0.1}, batch_size=8
        ),
    }
    for ranker in ("imp", "2imp", "rd", "2rd", "obj", "2obj"):
        for rule in ("filter", "mu"):
            by_name[f"es {ranker} {rule}"] = EvolutionStrategyEmitter(
                archive,
                x0=x0,
                sigma0=0.3,
                ranker=ranker,
                selection_rule=rule,
                restart_rule=2,
                batch_size=8,
                seed=1,
            )
    for es in ("sep_cma_es", "lm_ma_es", "openai_es"):
        by_name[es] = EvolutionStrategyEmitter(
            archive, x0=x0, sigma0=0.3, es=es, batch_size=2, seed=1
        )
    return by_name


def every_archive():
    """Returns one of each of our archives."""
    grid = Grid((5, 8), BOX)
    return {
        "grid": grid,
        "cvt": CVT(CENTROIDS, BOX),
        "soft": Thresholds(grid, 0.1, -20.0),
        "deep": DeepGrid(grid, 3),
        "novelty": Novelty(2, 200, threshold=0.1),
        "dominated": DominatedNovelty(2, 50),
    }


@pytest.mark.parametrize("mode", ["batch", "single"])
@pytest.mark.parametrize("name", every_archive())
def test_every_emitter_runs_under_a_scheduler_of_pyribs(name, mode):
    """All emitters together fill each of our archives, in both modes, and a result archive."""
    from ribs.schedulers import Scheduler

    archive, result = Ribs(every_archive()[name], 3, seed=0), Ribs(Grid((5, 8), BOX), 3)
    scheduler = Scheduler(archive, list(emitters(archive).values()), result, add_mode=mode)
    for _ in range(3 if mode == "batch" else 1):
        scheduler.tell(*sphere(scheduler.ask()))
    assert len(archive) > 1 and len(result) > 1
    assert scheduler.archive is archive and archive.stats.obj_max <= 0


def test_the_bandit_and_novelty_rankers_run():
    """A BanditScheduler counts our statuses.

    Nov, nslc and nslc_classic read our novelty and local competition.
    """
    from ribs.emitters import EvolutionStrategyEmitter, rankers
    from ribs.schedulers import BanditScheduler, Scheduler

    known = ("nov", "nslc", "nslc_classic") if hasattr(rankers, "NSLCRanker") else ("nov",)
    archive = Ribs(Grid((5, 8), BOX), 3)
    bandit = BanditScheduler(archive, list(emitters(archive).values())[:4], num_active=2)
    for _ in range(3):
        bandit.tell(*sphere(bandit.ask()))
    assert len(archive) > 1
    far = Ribs(Novelty(2, 200, threshold=0.1), 3, fields={"genotypic_diversity": ((), float)})
    novel = [
        EvolutionStrategyEmitter(
            far, x0=[0.0] * 3, sigma0=0.3, ranker=ranker, batch_size=8, seed=i
        )
        for i, ranker in enumerate(known)
    ]
    scheduler = Scheduler(far, novel)
    for _ in range(3):
        solution = scheduler.ask()
        scheduler.tell(*sphere(solution), genotypic_diversity=solution.std(1))
    assert len(far) > 1


def test_novelty_and_local_competition_are_those_of_pyribs():
    """On the same elites, both columns of a batch are those of a ProximityArchive."""
    from ribs.archives import ProximityArchive

    theirs = ProximityArchive(
        solution_dim=3,
        measure_dim=2,
        k_neighbors=3,
        novelty_threshold=1e-9,
        local_competition=True,
    )
    ours = Ribs(Novelty(2, 300, 3, 1e-9, competition=True), 3)
    random = np.random.default_rng(0)
    for _ in range(2):
        solution = random.uniform(-1, 1, (20, 3))
        first, second = (
            theirs.add(solution, *sphere(solution)),
            ours.add(solution, *sphere(solution)),
        )
        np.testing.assert_allclose(first["novelty"], second["novelty"])
        np.testing.assert_array_equal(first["local_competition"], second["local_competition"])


def test_gradients_run():
    """CMA-MEGA's emitter of pyribs runs, with gradients, in an archive of ours."""
    from ribs.emitters import GradientArborescenceEmitter
    from ribs.schedulers import Scheduler

    archive = Ribs(Grid((5, 8), BOX), 3)
    emitter = GradientArborescenceEmitter(
        archive, x0=[0.0] * 3, sigma0=0.1, lr=0.1, batch_size=8, seed=1
    )
    scheduler = Scheduler(archive, [emitter])
    for _ in range(2):
        point = scheduler.ask_dqd()
        jacobian = np.concatenate([-2 * (point - 0.3)[:, None], np.eye(3)[None, :2]], 1)
        scheduler.tell_dqd(*sphere(point), jacobian)
        scheduler.tell(*sphere(scheduler.ask()))
    assert len(archive) > 1


def test_a_pickled_scheduler_continues_unchanged():
    """Saved and loaded, as by pyribs' own users, it returns the same solutions."""
    from ribs.schedulers import Scheduler

    archive = Ribs(Grid((5, 8), BOX), 3, seed=2)
    scheduler = Scheduler(archive, list(emitters(archive).values())[:4])
    scheduler.tell(*sphere(scheduler.ask()))
    again = pickle.loads(pickle.dumps(scheduler))
    for _ in range(2):
        first, second = scheduler.ask(), again.ask()
        np.testing.assert_array_equal(first, second)
        scheduler.tell(*sphere(first)), again.tell(*sphere(second))


def test_texts_and_further_fields_are_stored():
    """Solutions of any length, and fields of numbers and objects, come back as they were.

    Objects of replaced elites are removed.
    """
    archive = Ribs(
        Grid((2,), ((0, 1),)),
        (),
        solution_dtype=object,
        fields={"prompt": ((), object), "cost": ((2,), np.float32)},
    )
    archive.add(
        ["a", "long " * 9],
        [1.0, 2.0],
        [[0.1], [0.9]],
        prompt=[None, {"x": 1}],
        cost=[[1, 2], [3, 4]],
    )
    archive.add_single("better", 5.0, [0.2], prompt="p", cost=[7, 8])
    assert list(archive.data("solution")) == ["better", "long " * 9]
    assert list(archive.data("prompt")) == ["p", {"x": 1}]
    np.testing.assert_array_equal(archive.data("cost"), [[7, 8], [3, 4]])
    assert [len(values) for values in archive._objects.values()] == [2, 2]
    occupied, elite = archive.retrieve_single([0.95])
    assert (
        occupied
        and elite["solution"].startswith("long")
        and next(iter(archive))["solution"] == "better"
    )
    archive.clear()
    assert archive.empty and archive.best_elite is None and not archive.retrieve_single([0.5])[0]


def test_a_nan_refuses_its_own_row_alone():
    """Where pyribs refuses a batch, the other rows of ours enter."""
    archive = Ribs(Grid((5, 8), BOX), 3)
    added = archive.add(np.zeros((2, 3)), [np.nan, 1.0], [[0.0, 0.0], [0.5, 0.5]])
    assert added["status"].tolist() == [0, 2] and len(archive) == 1


def test_invalid_arguments_are_refused():
    """Archives that pyribs cannot use, and rows that do not fit, are refused with a message."""
    archive = Ribs(Grid((5, 8), BOX), 3)
    for call, why in (
        (lambda: Ribs(Islands(Grid((5,), ((0, 1),)), 2), 3), "know no islands"),
        (
            lambda: Ribs(Grid((5,), ((0, 1),)), 3, fields={"index": ((), int)}),
            "cannot be called index",
        ),
        (
            lambda: archive.add(np.zeros((2, 4)), [0, 0], np.zeros((2, 2))),
            r"shape \(2, 3\), and has \(2, 4\)",
        ),
        (
            lambda: archive.add(np.zeros((2, 3)), [0, 0], np.zeros((3, 2))),
            r"measures must have shape \(2, 2\) for 2 solutions, and has \(3, 2\)",
        ),
        (
            lambda: archive.add(np.zeros((2, 3)), [0, 0], np.zeros((2, 2)), extra=[1, 2]),
            "was given solution, extra",
        ),
        (lambda: archive.data("colour"), "no field 'colour'"),
        (lambda: archive.data(return_type="list"), "not 'list'"),
    ):
        with pytest.raises(ValueError, match=why):
            call()
    with pytest.raises(IndexError, match="no elite to draw from"):
        archive.sample_elites(1)
    with pytest.raises(AttributeError, match="has no centroids"):
        archive.centroids  # noqa: B018


# Plots


def test_every_plot_of_pyribs_draws_ours():
    """Heatmaps, parallel axes, histogram, ECDF, proximity and the continuous QD score."""
    import matplotlib.pyplot as plt
    from ribs import visualize
    from ribs.archives import cqd_score

    grid, cvt, far = (Ribs(every_archive()[name], 3) for name in ("grid", "cvt", "novelty"))
    for archive in (grid, cvt, far):
        for batch in batches(0):
            archive.add(*batch)
    draw = {
        "grid": lambda: visualize.grid_archive_heatmap(grid),
        "cvt": lambda: visualize.cvt_archive_heatmap(cvt),
        "parallel": lambda: visualize.parallel_axes_plot(grid),
        "proximity": lambda: visualize.proximity_archive_plot(far),
    }
    if hasattr(visualize, "archive_histogram"):  # pyribs added both in one version
        draw |= {
            "histogram": lambda: visualize.archive_histogram(grid),
            "ecdf": lambda: visualize.archive_ecdf(grid),
        }
    for plot in draw.values():
        figure = plt.figure()
        plot()
        figure.canvas.draw()
        plt.close(figure)
    score = cqd_score(
        grid,
        iterations=1,
        target_points=[[[0.0, 0.0], [1.0, 1.0]]],
        penalties=2,
        obj_min=-10.0,
        obj_max=0.0,
        dist_max=4.5,
    )
    assert np.isfinite(score.scores).all()

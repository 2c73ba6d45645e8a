"""pyribs and QDax: their archives read and written, ours in the place of pyribs' own."""

from __future__ import annotations

import os
import pickle
from types import SimpleNamespace

os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # pyribs compiles for longer than these tests take

import numpy as np
import pytest

from qdkit import Search
from qdkit.archives import CVT, Deep, Dominated, Grid, Islands, Novelty, Soft
from qdkit.domains.arm import Arm
from qdkit.operators import Gaussian
from qdkit.peers import Ribs, from_qdax, from_ribs, to_qdax, to_ribs
from tests.worlds import Chatter, Texts

BOX = ((-1.0, 1.0), (-2.0, 2.0))
CENTROIDS = np.random.default_rng(3).uniform((-1, -2), (1, 2), (40, 2))


def sphere(solution):
    """Objective and measures of vectors: the nearer to 0.3 the better."""
    return -((solution - 0.3) ** 2).sum(1), np.clip(solution[:, :2], -1.2, 2.2)


def batches(seed, n=50, batches=4):
    """Batches of candidates with ties and points outside the box."""
    random = np.random.default_rng(seed)
    for _ in range(batches):
        solution = random.uniform(-1.5, 1.5, (n, 3)).round(1)
        yield (solution, *sphere(solution))


def archives_of_pyribs():
    """Each kind that is made of fixed cells, by name."""
    from ribs.archives import CVTArchive, GridArchive

    return {
        "grid": GridArchive(solution_dim=3, dims=(5, 8), ranges=BOX),
        "cvt": CVTArchive(solution_dim=3, centroids=CENTROIDS, ranges=BOX),
    }


# Read and written


@pytest.mark.parametrize("kind", ["grid", "cvt"])
@pytest.mark.parametrize("seed", range(5))
def test_an_archive_of_pyribs_is_read_and_written_back(kind, seed):
    """Read into ours and written to pyribs again, nothing of the elites is another."""
    theirs = archives_of_pyribs()[kind]
    for batch in batches(seed):
        theirs.add(*batch)
    read = from_ribs(theirs)
    back = to_ribs(read)
    assert type(back) is type(theirs) and len(back) == len(theirs)
    for name in ("solution", "objective", "measures", "index"):
        first, second = theirs.data(["index", name]), back.data(["index", name])
        np.testing.assert_array_equal(first[name][first["index"].argsort()], second[name][second["index"].argsort()])
    index = theirs.data("index")
    np.testing.assert_array_equal(np.flatnonzero(read.elites.occupied), np.sort(index))
    assert read.genomes.shape == (len(theirs), 3)


def test_an_empty_archive_is_read_and_written():
    """No elites are no error."""
    read = from_ribs(archives_of_pyribs()["grid"])
    assert not read.elites.occupied.any() and len(to_ribs(read)) == 0


def test_labels_and_texts_are_read_and_written_back():
    """A CategoricalArchive of texts comes back as it was."""
    from ribs.archives import CategoricalArchive

    theirs = CategoricalArchive(
        solution_dim=(), solution_dtype=object, measures_dtype=object, categories=[["haiku", "ode"], ["sad", "merry"]]
    )
    theirs.add(np.array(["=1+1", "<b>"], object), [1.0, 2.0], np.array([["haiku", "merry"], ["ode", "sad"]], object))
    back = to_ribs(from_ribs(theirs))
    data = back.data(["solution", "measures", "objective"])
    rows = zip(data["solution"], map(tuple, data["measures"]), data["objective"], strict=True)
    assert set(rows) == {("=1+1", ("haiku", "merry"), 1.0), ("<b>", ("ode", "sad"), 2.0)}


def test_a_search_is_written_as_an_archive_of_pyribs():
    """The elites of a search, of a deep one and of one on islands are those of the archive written."""
    grid = Grid((6, 6), ((0, 1), (0, 1)))
    for archive in (grid, Deep(grid, 3), Islands(grid, 2)):
        search = Search(Arm(joints=4), archive, Gaussian(0.1), batch=32, seed=1).run(6, progress=False)
        theirs = to_ribs(search, qd_score_offset=search.floor)
        stats, summary = theirs.stats, search.summary()
        assert stats.num_elites == search.archive.map.cells * stats.coverage
        assert stats.obj_max == pytest.approx(summary["best_objective"])
        if archive is grid:  # united islands keep the better of two, which no summary tells
            assert stats.qd_score == pytest.approx(summary["qd_score"])


def test_texts_of_a_search_become_objects():
    """A search over texts is written with the texts themselves."""
    search = Search(Texts(), Grid((5, 4), Texts.bounds), Chatter(), batch=4).run(4, progress=False)
    theirs = to_ribs(search)
    assert set(theirs.data("solution")) == set(search.pool.genome)


def test_what_pyribs_has_no_archive_for_is_refused():
    """Set bins and archives without cells cannot be written, and what is no archive of cells cannot be read."""
    from ribs.archives import ProximityArchive

    edges = Grid((2, 2), ((0.0, 0.3, 1.0), (0, 1)))
    search = Search(Arm(joints=4), edges, Gaussian(0.1), batch=8).run(2, progress=False)
    with pytest.raises(TypeError, match="pyribs has no archive like"):
        to_ribs(search)
    with pytest.raises(TypeError, match="this is a ProximityArchive"):
        from_ribs(ProximityArchive(solution_dim=2, measure_dim=2, k_neighbors=5, novelty_threshold=0.1))


def test_a_repertoire_goes_there_and_back():
    """The columns for QDax, read again, are the same elites in the same cells."""
    search = Search(Arm(joints=4), CVT(np.random.default_rng(0).uniform(0, 1, (30, 2))), Gaussian(0.1), batch=32)
    search.run(4, progress=False)
    columns = to_qdax(search)
    assert columns["fitnesses"].shape == (30, 1) and columns["genotypes"].shape == (30, 4)
    read = from_qdax(SimpleNamespace(**columns))
    np.testing.assert_array_equal(read.elites.objective, search.elites.objective)
    np.testing.assert_array_equal(read.elites.descriptor, search.elites.descriptor)
    np.testing.assert_array_equal(read.genomes, search.pool.genome)


def test_a_repertoire_that_cannot_be_read_says_why():
    """Trees of several arrays, and elites that are not in the cell of their descriptor, are refused."""
    tree = {"a": np.zeros((2, 1)), "b": np.zeros((2, 1))}
    centroids = np.array([[0.0, 0.0], [1.0, 1.0]])
    given = {"fitnesses": np.zeros((2, 1)), "centroids": centroids}
    with pytest.raises(TypeError, match="a tree of 2 arrays"):
        from_qdax(SimpleNamespace(genotypes=tree, descriptors=centroids, **given))
    with pytest.raises(ValueError, match="2 elites were read and 1 have a cell"):
        from_qdax(SimpleNamespace(genotypes=np.zeros((2, 1)), descriptors=np.zeros((2, 2)), **given))


# Ours under pyribs


@pytest.mark.parametrize("kind", ["grid", "cvt"])
@pytest.mark.parametrize("seed", range(5))
def test_ours_tells_what_theirs_tells(kind, seed):
    """On the same batches status, value, statistics, elites and look-ups are those of pyribs' own archive."""
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
    """One of each emitter of pyribs and each of its rankers that our archives serve, by name."""
    from ribs.emitters import EvolutionStrategyEmitter, GaussianEmitter, GeneticAlgorithmEmitter, IsoLineEmitter

    x0 = [0.0] * 3
    made = {
        "gaussian": GaussianEmitter(archive, sigma=0.1, x0=x0, batch_size=8, seed=1),
        "isoline": IsoLineEmitter(archive, x0=x0, batch_size=8, seed=1),
        "genetic": GeneticAlgorithmEmitter(
            archive, x0=x0, operator="gaussian", operator_kwargs={"sigma": 0.1}, batch_size=8
        ),
    }
    for ranker in ("imp", "2imp", "rd", "2rd", "obj", "2obj"):
        for rule in ("filter", "mu"):
            made[f"es {ranker} {rule}"] = EvolutionStrategyEmitter(
                archive, x0=x0, sigma0=0.3, ranker=ranker, selection_rule=rule, restart_rule=2, batch_size=8, seed=1
            )
    for es in ("sep_cma_es", "lm_ma_es", "openai_es"):
        made[es] = EvolutionStrategyEmitter(archive, x0=x0, sigma0=0.3, es=es, batch_size=2, seed=1)
    return made


def every_archive():
    """One of each of our archives."""
    grid = Grid((5, 8), BOX)
    return {
        "grid": grid,
        "cvt": CVT(CENTROIDS, BOX),
        "soft": Soft(grid, 0.1, -20.0),
        "deep": Deep(grid, 3),
        "novelty": Novelty(2, 200, threshold=0.1),
        "dominated": Dominated(2, 50),
    }


@pytest.mark.parametrize("mode", ["batch", "single"])
@pytest.mark.parametrize("name", every_archive())
def test_every_emitter_runs_under_a_scheduler_of_pyribs(name, mode):
    """All emitters together fill each of our archives, in both modes, with a result archive beside."""
    from ribs.schedulers import Scheduler

    archive, result = Ribs(every_archive()[name], 3, seed=0), Ribs(Grid((5, 8), BOX), 3)
    scheduler = Scheduler(archive, list(emitters(archive).values()), result, add_mode=mode)
    for _ in range(3 if mode == "batch" else 1):
        scheduler.tell(*sphere(scheduler.ask()))
    assert len(archive) > 1 and len(result) > 1
    assert scheduler.archive is archive and archive.stats.obj_max <= 0


def test_the_bandit_and_novelty_rankers_run():
    """A BanditScheduler counts our statuses; nov, nslc and nslc_classic read our novelty and local competition."""
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
        EvolutionStrategyEmitter(far, x0=[0.0] * 3, sigma0=0.3, ranker=ranker, batch_size=8, seed=i)
        for i, ranker in enumerate(known)
    ]
    scheduler = Scheduler(far, novel)
    for _ in range(3):
        asked = scheduler.ask()
        scheduler.tell(*sphere(asked), genotypic_diversity=asked.std(1))
    assert len(far) > 1


def test_novelty_and_local_competition_are_those_of_pyribs():
    """Against the same elites a batch is as novel, and beats as many of its nearest, as in a ProximityArchive."""
    from ribs.archives import ProximityArchive

    theirs = ProximityArchive(
        solution_dim=3, measure_dim=2, k_neighbors=3, novelty_threshold=1e-9, local_competition=True
    )
    ours = Ribs(Novelty(2, 300, 3, 1e-9, competition=True), 3)
    random = np.random.default_rng(0)
    for _ in range(2):
        solution = random.uniform(-1, 1, (20, 3))
        first, second = theirs.add(solution, *sphere(solution)), ours.add(solution, *sphere(solution))
        np.testing.assert_allclose(first["novelty"], second["novelty"])
        np.testing.assert_array_equal(first["local_competition"], second["local_competition"])


def test_gradients_run():
    """CMA-MEGA's emitter of pyribs, with gradients, in an archive of ours."""
    from ribs.emitters import GradientArborescenceEmitter
    from ribs.schedulers import Scheduler

    archive = Ribs(Grid((5, 8), BOX), 3)
    emitter = GradientArborescenceEmitter(archive, x0=[0.0] * 3, sigma0=0.1, lr=0.1, batch_size=8, seed=1)
    scheduler = Scheduler(archive, [emitter])
    for _ in range(2):
        point = scheduler.ask_dqd()
        jacobian = np.concatenate([-2 * (point - 0.3)[:, None], np.eye(3)[None, :2]], 1)
        scheduler.tell_dqd(*sphere(point), jacobian)
        scheduler.tell(*sphere(scheduler.ask()))
    assert len(archive) > 1


def test_a_pickled_scheduler_goes_on_as_if_nothing_had_been():
    """Saved and loaded, as pyribs' own users do, it asks for the same."""
    from ribs.schedulers import Scheduler

    archive = Ribs(Grid((5, 8), BOX), 3, seed=2)
    scheduler = Scheduler(archive, list(emitters(archive).values())[:4])
    scheduler.tell(*sphere(scheduler.ask()))
    again = pickle.loads(pickle.dumps(scheduler))
    for _ in range(2):
        first, second = scheduler.ask(), again.ask()
        np.testing.assert_array_equal(first, second)
        scheduler.tell(*sphere(first)), again.tell(*sphere(second))


def test_texts_and_further_fields_ride_along():
    """Solutions of any length, and fields of numbers and objects, come back as they were; what left is let go."""
    archive = Ribs(
        Grid((2,), ((0, 1),)), (), solution_dtype=object, fields={"prompt": ((), object), "cost": ((2,), np.float32)}
    )
    archive.add(["a", "long " * 9], [1.0, 2.0], [[0.1], [0.9]], prompt=[None, {"x": 1}], cost=[[1, 2], [3, 4]])
    archive.add_single("better", 5.0, [0.2], prompt="p", cost=[7, 8])
    assert list(archive.data("solution")) == ["better", "long " * 9]
    assert list(archive.data("prompt")) == ["p", {"x": 1}]
    np.testing.assert_array_equal(archive.data("cost"), [[7, 8], [3, 4]])
    assert [len(values) for values in archive._values.values()] == [2, 2]
    occupied, elite = archive.retrieve_single([0.95])
    assert occupied and elite["solution"].startswith("long") and next(iter(archive))["solution"] == "better"
    archive.clear()
    assert archive.empty and archive.best_elite is None and not archive.retrieve_single([0.5])[0]


def test_a_nan_costs_its_own_row():
    """Where pyribs refuses a batch, the other rows of ours enter."""
    archive = Ribs(Grid((5, 8), BOX), 3)
    added = archive.add(np.zeros((2, 3)), [np.nan, 1.0], [[0.0, 0.0], [0.5, 0.5]])
    assert added["status"].tolist() == [0, 2] and len(archive) == 1


def test_mistakes_are_refused_in_words():
    """What is no archive for pyribs, and rows that do not fit, are refused with what was expected."""
    archive = Ribs(Grid((5, 8), BOX), 3)
    for call, why in (
        (lambda: Ribs(Islands(Grid((5,), ((0, 1),)), 2), 3), "know no islands"),
        (lambda: Ribs(Grid((5,), ((0, 1),)), 3, fields={"index": ((), int)}), "cannot be called index"),
        (lambda: archive.add(np.zeros((2, 4)), [0, 0], np.zeros((2, 2))), r"shape \(2, 3\), and has \(2, 4\)"),
        (lambda: archive.add(np.zeros((2, 3)), [0, 0], np.zeros((3, 2))), "2 objectives and 3 measures"),
        (lambda: archive.add(np.zeros((2, 3)), [0, 0], np.zeros((2, 2)), extra=[1, 2]), "was given solution, extra"),
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
    """Heatmaps of grids and of CVTs, parallel axes, histogram, ECDF, proximity and the continuous QD score."""
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
    if hasattr(visualize, "archive_histogram"):  # what pyribs got together
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

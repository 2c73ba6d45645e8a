"""Baselines and comparisons: whom a baseline builds on, and that what is put beside each other is the same thing."""

from __future__ import annotations

import json
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pytest

import qdkit
from qdkit import comparison, metrics, viz
from qdkit.archives import Grid
from qdkit.baselines import Chain, Independent, Multistart, Single
from qdkit.comparison import ENOUGH, compared, exceeds, replayed
from qdkit.operators import Gaussian, Line, Portfolio, Rewrite
from qdkit.order import Order
from qdkit.testing import check_archive, check_operator

from .test_cli import out
from .worlds import BOX, Chatter, Jitter, Points, Texts

MAP = Grid((5, 5), BOX)


def searched(operator, archive=MAP, domain=None, steps=6, **settings):
    search = qdkit.Search(domain or Points(), archive, operator, **{"batch": 4, "seed": 3} | settings)
    return search.run(steps, progress=False)


def everyone(search):
    return search.ledger.take(np.arange(search.commits[-1].first + search.commits[-1].rows))


@dataclass(frozen=True)
class Fragile(Points):
    """Points of which those on the right fail."""

    def evaluate(self, genomes):
        failed = genomes[:, 0] > 0.8
        outcome = np.where(failed, "failed", "ok")
        return qdkit.Evaluation(
            genomes.sum(1), genomes[:, :2], outcome=outcome, notes=[{"cpu_seconds": 2.0}] * len(genomes)
        )


# Baselines.


def test_independent_candidates_are_made_from_seeds_alone():
    """Every parent is a seed that is ok, and every such seed is drawn."""
    search = searched(Independent(Jitter()), domain=Fragile(), steps=24)
    candidates = everyone(search)
    seeds = {c.id for c in candidates if c.origin == "seed" and c.outcome == "ok"}
    made = [c for c in candidates if c.origin == "jitter"]
    assert len(made) == 80 and {c.parents[0] for c in made} == seeds < {c.id for c in candidates if c.origin == "seed"}
    assert max(np.abs(c.genome - candidates.genome[c.parents[0]]).max() for c in made) < 0.6


@pytest.mark.parametrize("domain", [Points(), Fragile()])
def test_a_chain_is_made_from_the_last_that_was_ok(domain):
    """With one candidate a step, each parent is the last ok candidate before it, better or not."""
    candidates = everyone(searched(Chain(Jitter()), domain=domain, steps=40, batch=1))
    ok = [c.id for c in candidates if c.outcome == "ok"]
    made = [c for c in candidates if c.origin == "jitter"]
    assert [c.parents[0] for c in made] == [max(i for i in ok if i < c.id) for c in made]
    assert any(candidates.objective[c.parents[0]] < candidates.objective[c.parents[0] - 1] for c in made)


def test_a_batch_of_a_chain_is_chains_side_by_side():
    """Each row is made from the same row of the batch before."""
    candidates = everyone(searched(Chain(Jitter()), steps=6))
    assert [c.parents[0] for c in candidates if c.parents] == list(range(12, 20))


def test_a_climber_builds_on_the_best_so_far():
    """Every parent is the first of the best candidates committed before, wherever in the map it lies."""
    search = searched(Jitter(), Single(MAP), steps=20)
    candidates = everyone(search)
    for c in candidates:
        if c.origin == "jitter":
            assert c.parents[0] == np.argmax(candidates.objective[: 4 * (c.id // 4)])
    assert search.commits[-1].coverage == 1 and search.elites.objective.shape == (1,)


def test_multistart_is_the_operator_alone():
    """Each candidate comes from a fresh seed without an id; the archive plays no part in it."""
    still = Gaussian(0.0)
    search = searched(Multistart(still, Points()))
    candidates = everyone(search)
    assert len(np.unique(candidates.genome, axis=0)) == len(candidates) == 24
    assert candidates.parents.max() == -1 and set(candidates.origin) == {"seed", "gaussian"}
    assert np.array_equal(candidates.genome, everyone(searched(Multistart(still, Points()), Single(MAP))).genome)


@pytest.mark.parametrize("wrap", [Independent, Chain, lambda operator: Multistart(operator, Texts())])
def test_a_baseline_of_texts_resumes_to_the_same_end(wrap, tmp_path):
    """A baseline of a portfolio, with several steps at once, goes on as if it had never stopped."""
    make = lambda **place: qdkit.Search(
        Texts(), Grid((8, 5), Texts.bounds), wrap(Portfolio([Chatter()])), batch=2, in_flight=2, novelty=None, **place
    )
    whole = make(run=tmp_path / "whole").run(12, progress=False).ledger.dump()
    with make(run=tmp_path / "halves") as first:
        first.run(12, progress=False)
    with make(run=tmp_path / "halves", resume=True) as second:
        assert second.ledger.dump() == whole and len(second.commits) == 12


@pytest.mark.parametrize("wrap", [Independent, Chain, lambda operator: Multistart(operator, Points())])
def test_a_baseline_is_an_operator(wrap):
    """Every baseline passes the public checks, around an operator of two parents too."""
    check_operator(wrap(Jitter()), Points())
    check_operator(wrap(Line(0.1, 0.2)), Points())


@pytest.mark.parametrize("wrap", [Independent, Chain, lambda operator: Multistart(operator, Points())])
def test_the_operator_of_a_baseline_learns_as_ever(wrap):
    """It hears of every commit, and is asked for what it makes."""

    class Pupil(Jitter):
        heard, models = 0, ("a model",)

        def learn(self, batch, added):
            self.heard += len(batch)

    pupil = Pupil()
    search = searched(wrap(pupil), steps=6)
    assert pupil.heard == 24 and search.operator.models == ("a model",)


def test_one_cell_is_an_archive_and_comes_back_from_disk(tmp_path):
    """`Single` passes the public checks, measures as its archive does, and a run on disk knows the map again."""
    labelled = Grid((2, 3), ((0.0, 1.0), ("a", "b", "c")), outside="reject")
    check_archive(Single(MAP))
    assert Single(labelled).cell(np.array([[0.5, 1.0], [2.0, 1.0], [0.1, np.nan]])).tolist() == [0, -1, -1]
    assert Single(labelled).encode([(0.5, "c")]).tolist() == [[0.5, 2.0]]
    searched(Jitter(), Single(MAP), run=tmp_path / "run").close()
    assert qdkit.load(tmp_path / "run").archive.archive == MAP


# Comparison.


@pytest.mark.parametrize("archive", [MAP, Grid((3, 3), ((0.0, 0.7), (0.3, 0.7)), outside="reject")])
def test_a_run_put_into_its_own_map_has_its_own_history(archive):
    """Replaying gives coverage, QD score and best as the search found them, step by step."""
    search = searched(Jitter(), archive, domain=Fragile(), steps=12, seed=5)
    again = replayed(search, archive)
    for name in ("evaluations", "coverage", "qd_score", "best", "seconds"):
        assert np.allclose(again[name], search.history[name], rtol=1e-12, equal_nan=True), name


def test_a_climber_is_measured_on_the_map():
    """What a search in one cell has visited counts on the map as if the map had been its archive."""
    search = searched(Jitter(), Single(MAP), steps=12)
    elites, candidates = MAP.init(0), everyone(search)
    elites, _ = MAP.add(elites, candidates.objective, candidates.descriptor, candidates.id)
    again = replayed(search, MAP)
    assert again["coverage"][-1] == metrics.coverage(elites) > 0.1
    assert np.isclose(again["qd_score"][-1], metrics.qd_score(elites), rtol=1e-6)


def test_an_objective_below_the_floor_counts_as_in_the_metrics():
    """The QD score is of objective minus floor, also where that is negative, and no cell is lost."""

    class Deep(Points):
        floor = 1.5

    search = searched(Jitter(), domain=Deep(), steps=8)
    assert (search.history["qd_score"] < 0).any()
    assert np.allclose(replayed(search, MAP)["qd_score"], search.history["qd_score"])


def test_calls_and_cpu_are_counted_at_each_step():
    """A call belongs to the step that asked; CPU seconds are the process's and those its candidates report."""

    talk = searched(
        Rewrite(lambda text: text[-9:] + "a", "{genome}"), Grid((8, 5), Texts.bounds), Texts(), batch=2, novelty=None
    )
    assert replayed(talk, talk.archive)["calls"].tolist() == [0, 0, 2, 4, 6, 8]
    search = searched(Jitter(), domain=Fragile(), steps=6)
    for task, calls in ((1, 2), (4, 3), (9, 1)):  # the last is of a task that is not committed
        search.ledger.keep(task, 0, {"ask": task}, {"cost": {"calls": calls}}, 0.1)
    again = replayed(search, MAP)
    assert again["calls"].tolist() == [0, 2, 2, 2, 5, 5]
    assert np.allclose(again["cpu"] - search.history["cpu"], 8.0 * np.arange(1, 7))
    cpu = search.history["cpu"]
    assert (np.diff(cpu) >= 0).all() and cpu[-1] > 0


def test_the_clocks_of_a_run_do_not_change_what_it_is(tmp_path):
    """Two runs of a seed have the same dump, whatever they took; a run that goes on counts its CPU time on."""
    first = searched(Jitter(), run=tmp_path / "a")
    assert first.ledger.dump() == searched(Jitter()).ledger.dump()
    first.close()
    on = qdkit.Search(Points(), MAP, Jitter(), batch=4, seed=3, run=tmp_path / "a", resume=True)
    assert [c.cpu for c in on.commits] == [c.cpu for c in first.commits]
    on.run(1, progress=False)
    assert on.commits[-1].cpu >= on.commits[-2].cpu == first.commits[-1].cpu


def group(name, *lasts, evaluations=(10, 20, 30)):
    """Runs whose best reaches these values at the last step, half of it at the second."""
    history = lambda last: {
        "evaluations": np.array(evaluations), "calls": np.zeros(3), "cpu": np.array([1.0, 2.0, 3.0]),
        "best": np.array([0, last / 2, last]), "qd_score": np.zeros(3), "coverage": np.ones(3),
    }  # fmt: skip
    return comparison.Group(name, ("",) * len(lasts), tuple(range(len(lasts))), tuple(map(history, lasts)))


def test_groups_meet_where_all_of_them_have_been():
    """Each run counts with its last step within the cost that every run has spent; before its first it has nothing."""
    fast, slow = group("fast", 4.0, 6.0, 8.0), group("slow", 10.0, evaluations=(12, 24, 25))
    beside = comparison.Comparison(MAP, (fast, slow), ())
    assert beside.equal("evaluations") == 25 and beside.equal("calls") == 0
    spreads = beside.spreads("evaluations")
    assert spreads["fast"]["best"] == (3.0, 2.0, 4.0) and spreads["slow"]["best"] == (10.0, 10.0, 10.0)
    assert np.isnan(fast.at("evaluations", 9)["best"]).all()
    late = comparison.Comparison(MAP, (group("a", 1.0, evaluations=(1, 2, 3)), slow), ())
    assert np.isnan(late.spreads("evaluations")["slow"]["best"]).all()
    assert beside.plain()["at"].keys() == {"evaluations", "cpu"}


def test_an_interval_is_given_where_there_are_runs_for_it():
    """The bounds are the same each time, lie around the difference, and are nan below five runs."""
    few, many = np.arange(4.0), np.arange(8.0)
    assert exceeds(few + 3, many)[0] == 1.0 and np.isnan(exceeds(few, many)[1:]).all()
    difference, low, high = exceeds(many + 10, many)
    assert difference == 10 and 5 < low < 10 < high < 15 and exceeds(many + 10, many) == (difference, low, high)
    assert exceeds(np.full(ENOUGH, 2.0), np.full(ENOUGH, 1.0)) == (1.0, 1.0, 1.0)
    assert np.isnan(exceeds(many, many * np.nan)).all()


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """Of normal samples of ten, whose medians differ by 1, at least nine in ten intervals hold the 1."""
    random = np.random.default_rng(0)
    bounds = [exceeds(random.normal(1, 1, 10), random.normal(0, 1, 10))[1:] for _ in range(60)]
    assert 0.9 <= np.mean([low <= 1 <= high for low, high in bounds]) <= 1


def test_runs_are_grouped_by_all_but_their_seed():
    """Groups are named by what differs, and the remarks say what a reader must know."""
    runs = [searched(Jitter(), seed=s) for s in (1, 2)] + [searched(Jitter(), Single(MAP), seed=1)]
    runs += [searched(Gaussian(s), seed=1) for s in (0.1, 0.2)] + [searched(Jitter(), seed=2)]
    beside = compared(runs)
    assert {g.name: g.seeds for g in beside.groups} == {
        "Jitter, Grid": (1, 2, 2),
        "Jitter, Single": (1,),
        "Gaussian(sigma=0.1), Grid": (1,),
        "Gaussian(sigma=0.2), Grid": (1,),
    }
    said = " ".join(beside.remarks)
    assert "Jitter, Single: one run only" in said and "Jitter, Grid: two runs have the same seed" in said
    assert "the archives differ" in said and "takes 5 runs" in said and beside.archive == MAP
    assert compared(runs[:1]).groups[0].name == "Jitter"
    assert compared([runs[2]]).archive == MAP


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        (lambda: [searched(Jitter()), searched(Jitter(), domain=Points(3))], "domain"),
        (lambda: [searched(Jitter()), searched(Jitter(), judge=lambda key, batch: batch.objective)], "has judge ="),
        (lambda: [qdkit.Search(Points(), MAP, Jitter())], "no steps yet"),
        (list, "at least one run"),
    ],
)
def test_what_does_not_mean_the_same_is_not_compared(runs, said):
    """Other domains, judges or axes are refused, and so is a run that has not begun."""
    with pytest.raises(ValueError, match=said):
        compared(runs())


def test_the_picture_shows_medians_and_bands():
    """One curve for each group and number, with a band where there are several runs; names are plain text."""
    three, one = group("$th{re$", 4.0, 6.0, 8.0), group("one", 10.0, evaluations=(12, 24, 25))
    figure = viz.comparison(comparison.Comparison(MAP, (three, one), ()))
    assert len(figure.axes) == 6  # no model was asked
    best = figure.axes[2]
    assert [line.get_ydata()[-1] for line in best.lines if len(line.get_xdata()) > 2] == [6.0, 10.0]
    assert len(best.collections) == 1
    edges = best.collections[0].get_paths()[0].vertices[:, 1]
    assert edges.min() == 0 and edges.max() == 8.0
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["$th{re$", "one"]
    figure.canvas.draw()
    plt.close(figure)


def test_compare_from_a_shell(tmp_path, monkeypatch, capsys):
    """Runs and their baselines are made and put beside each other in words, as JSON and as a picture."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    baselines = {"map": None, "climb": "climb", "n": "independent"}
    for name, seed in [("map", 1), ("map", 2), ("climb", 1), ("n", 1), ("n", 2)]:
        order = Order("words", evaluations=40, batch=4, seed=seed, baseline=baselines[name])
        order.search(tmp_path / f"{name}-{seed}").run(progress=False).close()
    words = ["words", "--batch", "4", "--evaluations", "40", "--seed", "2", "--baseline", "climb"]
    out(capsys, "run", *words, "--out", "climb-2")
    runs = [f"{name}-{seed}" for name in ("map", "climb", "n") for seed in "12"]
    text = " ".join(out(capsys, "compare", *runs, "--out", "beside.png").split())
    assert "at 40 evaluations each" in text and "at 0." in text and "calls of models each" not in text
    assert "Respell, Single compared with Respell, Grid: best objective" in text and "points" in text
    assert (tmp_path / "beside.png").stat().st_size > 10_000
    found = json.loads(out(capsys, "compare", *runs, "--json"))
    assert found["groups"]["Independent, Grid"] == {"runs": ["n-1", "n-2"], "seeds": [1, 2]}
    there = found["at"]["evaluations"]
    assert there["equal"] == 40 and set(there["groups"]["Respell, Single"]["coverage"]) == {"median", "least", "most"}
    assert there["differences"]["best"][0]["low"] is None

"""Baselines and comparisons of runs."""

from __future__ import annotations

import json
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pytest

import qdkit
from qdkit import metrics, viz
from qdkit.archives import Grid
from qdkit.cli.settings import RunSettings
from qdkit.comparing import comparison
from qdkit.comparing.baselines import Chain, Independent, Multistart, Single
from qdkit.comparing.comparison import (
    ENOUGH_RUNS,
    compare_runs,
    difference_of_medians,
    replay_history,
)
from qdkit.operators import Gaussian, IsoLine, Portfolio, Rewrite
from qdkit.testing import check_archive, check_operator

from .test_cli import out
from .worlds import BOX, Chatter, Jitter, Points, Texts, search_of

MAP = Grid((5, 5), BOX)


def searched(operator, archive=MAP, domain=None, steps=6, **settings):
    search = search_of(domain or Points(), archive, operator, **{"batch": 4, "seed": 3} | settings)
    return search.run(steps, progress=False)


def everyone(search):
    return search.ledger.take(np.arange(search.commits[-1].first + search.commits[-1].rows))


@dataclass(frozen=True)
class Fragile(Points):
    """Points, of which those on the right fail."""

    def evaluate(self, genomes):
        failed = genomes[:, 0] > 0.8
        outcome = np.where(failed, "failed", "ok")
        return qdkit.Evaluation(
            genomes.sum(1),
            genomes[:, :2],
            outcome=outcome,
            notes=[{"cpu_seconds": 2.0}] * len(genomes),
        )


# Baselines.


def test_independent_candidates_are_made_from_seeds_alone():
    """Every parent is a seed that is ok, and every such seed is drawn."""
    search = searched(Independent(Jitter()), domain=Fragile(), steps=24)
    candidates = everyone(search)
    seeds = {c.id for c in candidates if c.origin == "seed" and c.outcome == "ok"}
    jittered = [c for c in candidates if c.origin == "jitter"]
    assert len(jittered) == 80 and {c.parents[0] for c in jittered} == seeds < {
        c.id for c in candidates if c.origin == "seed"
    }
    assert max(np.abs(c.genome - candidates.genome[c.parents[0]]).max() for c in jittered) < 0.6


@pytest.mark.parametrize("domain", [Points(), Fragile()])
def test_a_chain_makes_each_candidate_from_the_last_that_was_ok(domain):
    """With one candidate a step, better or not."""
    candidates = everyone(searched(Chain(Jitter()), domain=domain, steps=40, batch=1))
    ok = [c.id for c in candidates if c.outcome == "ok"]
    jittered = [c for c in candidates if c.origin == "jitter"]
    assert [c.parents[0] for c in jittered] == [max(i for i in ok if i < c.id) for c in jittered]
    assert any(
        candidates.objective[c.parents[0]] < candidates.objective[c.parents[0] - 1]
        for c in jittered
    )


def test_a_batch_of_n_is_n_chains():
    """Each row is made from the same row of the batch before."""
    candidates = everyone(searched(Chain(Jitter()), steps=6))
    assert [c.parents[0] for c in candidates if c.parents] == list(range(12, 20))


def test_hill_climbing_makes_each_candidate_from_the_best_so_far():
    """Every parent is the first of the best candidates committed before, with any descriptor."""
    search = searched(Jitter(), Single(MAP), steps=20)
    candidates = everyone(search)
    for c in candidates:
        if c.origin == "jitter":
            assert c.parents[0] == np.argmax(candidates.objective[: 4 * (c.id // 4)])
    assert search.commits[-1].coverage == 1 and search.elites.objective.shape == (1,)


def test_multistart_is_the_operator_alone():
    """Each candidate is made from a new seed without an id, and never from the archive."""
    still = Gaussian(0.0)
    search = searched(Multistart(still, Points()))
    candidates = everyone(search)
    assert len(np.unique(candidates.genome, axis=0)) == len(candidates) == 24
    assert candidates.parents.max() == -1 and set(candidates.origin) == {"seed", "gaussian"}
    assert np.array_equal(
        candidates.genome, everyone(searched(Multistart(still, Points()), Single(MAP))).genome
    )


@pytest.mark.parametrize(
    "wrap", [Independent, Chain, lambda operator: Multistart(operator, Texts())]
)
def test_a_baseline_of_texts_resumes_to_the_same_end(wrap, tmp_path):
    """A baseline of a portfolio, with several steps in flight, resumes to the same run."""
    make = lambda **place: search_of(
        Texts(),
        Grid((8, 5), Texts.bounds),
        wrap(Portfolio([Chatter()])),
        batch=2,
        in_flight=2,
        novelty=None,
        **place,
    )
    expected = make(run=tmp_path / "whole").run(12, progress=False).ledger.dump()
    with make(run=tmp_path / "halves") as first:
        first.run(12, progress=False)
    with make(run=tmp_path / "halves", resume=True) as second:
        assert second.ledger.dump() == expected and len(second.commits) == 12


@pytest.mark.parametrize(
    "wrap", [Independent, Chain, lambda operator: Multistart(operator, Points())]
)
def test_a_baseline_is_an_operator(wrap):
    """Every baseline passes the public checks, also with an operator of two parents."""
    check_operator(wrap(Jitter()), Points())
    check_operator(wrap(IsoLine(0.1, 0.2)), Points())


@pytest.mark.parametrize(
    "wrap", [Independent, Chain, lambda operator: Multistart(operator, Points())]
)
def test_the_operator_of_a_baseline_receives_every_commit(wrap):
    """It also makes the candidates."""

    class Pupil(Jitter):
        received, models = 0, ("a model",)

        def learn(self, batch, added):
            self.received += len(batch)

    pupil = Pupil()
    search = searched(wrap(pupil), steps=6)
    assert search.operator.operator.received == 24 and search.operator.models == ("a model",)
    assert pupil.received == 0  # a search works with a copy


def test_single_is_an_archive_and_is_restored_from_disk(tmp_path):
    """It passes the public checks, keeps the descriptors, and is restored from a run on disk."""
    labelled = Grid((2, 3), ((0.0, 1.0), ("a", "b", "c")), outside="reject")
    check_archive(Single(MAP))
    assert Single(labelled).cell(np.array([[0.5, 1.0], [2.0, 1.0], [0.1, np.nan]])).tolist() == [
        0,
        -1,
        -1,
    ]
    assert Single(labelled).encode([(0.5, "c")]).tolist() == [[0.5, 2.0]]
    searched(Jitter(), Single(MAP), run=tmp_path / "run").close()
    assert qdkit.load(tmp_path / "run").archive.archive == MAP


# Comparison.


@pytest.mark.parametrize(
    "archive", [MAP, Grid((3, 3), ((0.0, 0.7), (0.3, 0.7)), outside="reject")]
)
def test_the_history_of_a_run_in_its_own_map_is_that_of_the_search(archive):
    """Coverage, QD score and best are equal at each step."""
    search = searched(Jitter(), archive, domain=Fragile(), steps=12, seed=5)
    history = replay_history(search, archive)
    for name in ("evaluations", "coverage", "qd_score", "best", "seconds"):
        assert np.allclose(history[name], search.history[name], rtol=1e-12, equal_nan=True), name


def test_hill_climbing_is_measured_on_the_map():
    """All its candidates count on the map."""
    search = searched(Jitter(), Single(MAP), steps=12)
    elites, candidates = MAP.init(0), everyone(search)
    elites, _ = MAP.add(elites, candidates.objective, candidates.descriptor, candidates.id)
    history = replay_history(search, MAP)
    assert history["coverage"][-1] == metrics.coverage(elites) > 0.1
    assert np.isclose(history["qd_score"][-1], metrics.qd_score(elites), rtol=1e-6)


def test_an_objective_below_the_floor_counts_as_in_the_metrics():
    """The QD score adds objective minus floor, also if that is negative, and no cell is lost."""

    class DeepGrid(Points):
        floor = 1.5

    search = searched(Jitter(), domain=DeepGrid(), steps=8)
    assert (search.history["qd_score"] < 0).any()
    assert np.allclose(replay_history(search, MAP)["qd_score"], search.history["qd_score"])


def test_calls_and_cpu_are_counted_at_each_step():
    """A call belongs to the step that made it.

    CPU seconds are those of the process and those that candidates report.
    """

    talk = searched(
        Rewrite(lambda text: text[-9:] + "a", "{genome}"),
        Grid((8, 5), Texts.bounds),
        Texts(),
        batch=2,
        novelty=None,
    )
    assert replay_history(talk, talk.archive)["calls"].tolist() == [0, 0, 2, 4, 6, 8]
    search = searched(Jitter(), domain=Fragile(), steps=6)
    for task, calls in ((1, 2), (4, 3), (9, 1)):  # the last is of a task that is not committed
        search.ledger.keep(task, 0, {"ask": task}, {"cost": {"calls": calls}}, 0.1)
    history = replay_history(search, MAP)
    assert history["calls"].tolist() == [0, 2, 2, 2, 5, 5]
    assert np.allclose(history["cpu"] - search.history["cpu"], 8.0 * np.arange(1, 7))
    cpu = search.history["cpu"]
    assert (np.diff(cpu) >= 0).all() and cpu[-1] > 0


def test_the_times_of_a_run_do_not_change_its_content(tmp_path):
    """Two runs with one seed have the same dump, with any times.

    A resumed run adds to its CPU time.
    """
    first = searched(Jitter(), run=tmp_path / "a")
    assert first.ledger.dump() == searched(Jitter()).ledger.dump()
    first.close()
    on = qdkit.Search.resume(tmp_path / "a", Points(), MAP, Jitter(), batch=4, seed=3)
    assert [c.cpu for c in on.commits] == [c.cpu for c in first.commits]
    on.run(1, progress=False)
    assert on.commits[-1].cpu >= on.commits[-2].cpu == first.commits[-1].cpu


def group(name, *lasts, evaluations=(10, 20, 30)):
    """Returns runs whose best has these values at the last step, and half of them before."""
    history = lambda last: {
        "evaluations": np.array(evaluations), "calls": np.zeros(3),
        "cpu": np.array([1.0, 2.0, 3.0]),
        "best": np.array([0, last / 2, last]), "qd_score": np.zeros(3), "coverage": np.ones(3),
    }  # fmt: skip
    return comparison.Group(
        name, ("",) * len(lasts), tuple(range(len(lasts))), tuple(map(history, lasts))
    )


def test_groups_are_compared_at_costs_that_all_runs_have_spent():
    """Each run counts with its last step within the cost, and has no value before its first."""
    fast, slow = group("fast", 4.0, 6.0, 8.0), group("slow", 10.0, evaluations=(12, 24, 25))
    beside = comparison.Comparison(MAP, (fast, slow), ())
    assert beside.equal("evaluations") == 25 and beside.equal("calls") == 0
    spreads = beside.spreads("evaluations")
    assert spreads["fast"]["best"] == (3.0, 2.0, 4.0) and spreads["slow"]["best"] == (
        10.0,
        10.0,
        10.0,
    )
    assert np.isnan(fast.at("evaluations", 9)["best"]).all()
    late = comparison.Comparison(MAP, (group("a", 1.0, evaluations=(1, 2, 3)), slow), ())
    assert np.isnan(late.spreads("evaluations")["slow"]["best"]).all()
    assert beside.plain()["at"].keys() == {"evaluations", "cpu"}


def test_an_interval_needs_five_runs_of_each_group():
    """The bounds are reproducible, lie around the difference, and are nan below five runs."""
    few, many = np.arange(4.0), np.arange(8.0)
    assert difference_of_medians(few + 3, many)[0] == 1.0
    assert np.isnan(difference_of_medians(few, many)[1:]).all()
    difference, low, high = difference_of_medians(many + 10, many)
    assert (
        difference == 10
        and 5 < low < 10 < high < 15
        and difference_of_medians(many + 10, many) == (difference, low, high)
    )
    ones = np.ones(ENOUGH_RUNS)
    assert difference_of_medians(2 * ones, ones) == (1.0, 1.0, 1.0)
    assert np.isnan(difference_of_medians(many, many * np.nan)).all()


def test_the_interval_covers_the_true_difference_in_nine_of_ten_samples():
    """The samples are of ten normal values each, whose true medians differ by 1."""
    random = np.random.default_rng(0)
    pairs = [(random.normal(1, 1, 10), random.normal(0, 1, 10)) for _ in range(60)]
    bounds = [difference_of_medians(*pair)[1:] for pair in pairs]
    assert 0.9 <= np.mean([low <= 1 <= high for low, high in bounds]) <= 1


def test_runs_are_grouped_by_all_but_their_seed():
    """The names of the groups are the settings that differ, and the remarks name the limits."""
    runs = [searched(Jitter(), seed=s) for s in (1, 2)] + [searched(Jitter(), Single(MAP), seed=1)]
    runs += [searched(Gaussian(s), seed=1) for s in (0.1, 0.2)] + [searched(Jitter(), seed=2)]
    beside = compare_runs(runs)
    assert {g.name: g.seeds for g in beside.groups} == {
        "Jitter, Grid": (1, 2, 2),
        "Jitter, Single": (1,),
        "Gaussian(sigma=0.1), Grid": (1,),
        "Gaussian(sigma=0.2), Grid": (1,),
    }
    remarks = " ".join(beside.remarks)
    assert (
        "Jitter, Single: one run only" in remarks
        and "Jitter, Grid: two runs have the same seed" in remarks
    )
    assert "the archives differ" in remarks and "takes 5 runs" in remarks and beside.archive == MAP
    assert compare_runs(runs[:1]).groups[0].name == "Jitter"
    assert compare_runs([runs[2]]).archive == MAP


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (lambda: [searched(Jitter()), searched(Jitter(), domain=Points(3))], "domain"),
        (
            lambda: [
                searched(Jitter()),
                searched(Jitter(), judge=lambda key, batch: batch.objective),
            ],
            "has judge =",
        ),
        (lambda: [qdkit.Search(Points(), MAP, Jitter())], "no steps yet"),
        (list, "at least one run"),
    ],
)
def test_runs_of_different_problems_are_not_compared(runs, message):
    """Other domains, judges or axes are refused, and so is a run without steps."""
    with pytest.raises(ValueError, match=message):
        compare_runs(runs())


def test_the_picture_shows_medians_and_bands():
    """One curve for each group and number, with a band if there are several runs.

    Names are plain text.
    """
    three, one = group("$th{re$", 4.0, 6.0, 8.0), group("one", 10.0, evaluations=(12, 24, 25))
    figure = viz.comparison(comparison.Comparison(MAP, (three, one), ()))
    assert len(figure.axes) == 6  # no model was asked
    best = figure.axes[2]
    assert [line.get_ydata()[-1] for line in best.lines if len(line.get_xdata()) > 2] == [
        6.0,
        10.0,
    ]
    assert len(best.collections) == 1
    edges = best.collections[0].get_paths()[0].vertices[:, 1]
    assert edges.min() == 0 and edges.max() == 8.0
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["$th{re$", "one"]
    figure.canvas.draw()
    plt.close(figure)


def test_compare_from_a_shell(tmp_path, monkeypatch, capsys):
    """Prints runs and their baselines in words and as JSON, and draws a picture."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    baselines = {"map": None, "climb": "climb", "n": "independent"}
    for name, seed in [("map", 1), ("map", 2), ("climb", 1), ("n", 1), ("n", 2)]:
        order = RunSettings("words", evaluations=40, batch=4, seed=seed, baseline=baselines[name])
        order.search(tmp_path / f"{name}-{seed}").run(progress=False).close()
    words = ["words", "--batch", "4", "--evaluations", "40", "--seed", "2", "--baseline", "climb"]
    out(capsys, "run", *words, "--out", "climb-2")
    runs = [f"{name}-{seed}" for name in ("map", "climb", "n") for seed in "12"]
    text = " ".join(out(capsys, "compare", *runs, "--out", "beside.png").split())
    assert (
        "at 40 evaluations each" in text and "at 0." in text and "calls of models each" not in text
    )
    assert (
        "Respell, Single compared with Respell, Grid: best objective" in text and "points" in text
    )
    assert (tmp_path / "beside.png").stat().st_size > 10_000
    result = json.loads(out(capsys, "compare", *runs, "--json"))
    assert result["groups"]["Independent, Grid"] == {"runs": ["n-1", "n-2"], "seeds": [1, 2]}
    at_equal_evaluations = result["at"]["evaluations"]
    assert at_equal_evaluations["equal"] == 40 and set(
        at_equal_evaluations["groups"]["Respell, Single"]["coverage"]
    ) == {
        "median",
        "least",
        "most",
    }
    assert at_equal_evaluations["differences"]["best"][0]["low"] is None

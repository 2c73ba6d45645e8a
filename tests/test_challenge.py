"""Challenges: who wins a cell under a noisy judge, what is told of the scores, and that nothing of
it is lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import numpy as np
import pytest

from qdkit import Budget, Operator, Proposal, Search, Steering, load
from qdkit.archives import CVT, DeepGrid, Grid, Islands
from qdkit.cli.commands import main
from qdkit.core.types import Evaluation, Judgement
from qdkit.runs.ledger import DamagedRun, Ledger
from qdkit.runs.rejudged import judgements_by_candidate
from qdkit.search.reevaluation import PENDING, Reevaluation
from tests.worlds import Chatter, Texts, search_of

CELLS = 50
ROW = Grid((CELLS,), ((0.0, CELLS),))


def random_of(key):
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())


@dataclass(frozen=True)
class Qualities:
    """Candidates (cell, true quality) whose quality is what they were born with."""

    bounds = ((0.0, float(CELLS)),)

    def seeds(self, key, n):
        return _born(random_of(key), n)

    def evaluate(self, genomes):
        return Evaluation(None, np.asarray(genomes)[:, :1])


class Born(Operator):
    """New candidates out of nothing, of any cell and of qualities from N(0, 1)."""

    name = "born"

    def propose(self, key, context, n):
        return Proposal.of(_born(random_of(key), n), self.name)


def _born(random, n):
    return np.stack([random.integers(CELLS, size=n) + 0.5, random.normal(size=n)], 1)


@dataclass(frozen=True)
class Noisy:
    """Says the true quality and an error of standard deviation `sd`."""

    sd: float = 1.0

    def __call__(self, key, batch):
        return np.asarray(batch.genome)[:, 1] + self.sd * random_of(key).normal(size=len(batch))


def qualities(calls=3000, **settings):
    settings = {"judge": Noisy(), "batch": 10, "challenge": Reevaluation()} | settings
    return search_of(Qualities(), ROW, Born(), budget=Budget(evaluations=calls), **settings)


def reported_and_true(search):
    elites = search.elites
    return elites.objective[elites.occupied].mean(), np.asarray(search.pool.genome)[:, 1].mean()


# Truth


def test_reevaluation_reduces_the_winners_curse():
    """50 cells, qualities and errors from N(0, 1), 3,000 judgements: reported/true 3.24/1.62
    without, 2.6/1.8 with.
    """
    found = {}
    for name, rule in {"none": None, "challenge": Reevaluation()}.items():
        runs = [qualities(seed=seed, challenge=rule).run(progress=False) for seed in range(4)]
        found[name] = np.mean([reported_and_true(run) for run in runs], 0)
    assert found["none"] == pytest.approx((3.24, 1.62), abs=0.2)
    assert found["challenge"] == pytest.approx((2.62, 1.82), abs=0.2)
    assert found["challenge"][1] > found["none"][1] + 0.05


def test_shrunk_scores_are_nearly_true():
    """The summary's shrunk QD score is within a tenth of the true one, where the score as seen is
    half too high.
    """
    search = qualities(seed=1).run(progress=False)
    summary, (_, true) = search.summary(), reported_and_true(search)
    occupied = summary["occupied"]
    assert summary["qd_score_shrunk"] / occupied == pytest.approx(true, rel=0.12)
    assert summary["qd_score"] / occupied > 1.3 * true


def test_a_judge_without_noise_gives_the_same_elites():
    """The elites are those of the search without challenges, one for one."""
    settings = {"judge": Noisy(0.0), "seed": 3}
    challenged = qualities(2000, **settings).run(progress=False)
    ids = {tuple(genome) for genome in np.asarray(challenged.pool.genome)}
    tried = np.asarray(
        challenged.ledger.take(np.arange(len(challenged.ledger.trials()[0]))).genome
    )
    best = {cell: tried[tried[:, 0] == cell][:, 1].max() for cell in np.unique(tried[:, 0])}
    settled = dict(ids)
    assert settled.keys() == best.keys()
    assert (
        sum(settled[cell] == best[cell] for cell in best)
        >= len(best) - challenged._loop.insertion.reevaluations.waiting
    )


def test_a_bound_makes_replacements_rarer():
    """Of the same judgements fewer challengers win, the more standard errors are taken off."""

    def changes(bound):
        search = qualities(1500, seed=2, challenge=Reevaluation(bound=bound)).run(progress=False)
        cells = [
            cell
            for _, kind, value in search.ledger.events()
            if kind == "settled"
            for cell in value["cells"]
        ]
        return sum(n == 2 for _, _, _, n, _ in cells)  # who has been judged twice has just come

    assert changes(2.0) < changes(0.0)


def test_elites_with_too_few_judgements_are_judged_again_alone():
    """At the end every elite but those at work has as many judgements as asked for, or the budget
    was used up.
    """
    search = qualities(1500, seed=3, challenge=Reevaluation(least=4)).run(progress=False)
    count = search.elites.payload["count"][search.elites.occupied]
    assert (count >= 4).mean() > 0.9 and search.commits[-1].evaluations <= 1500
    assert (
        reported_and_true(search)[0]
        < reported_and_true(qualities(1500, seed=3).run(progress=False))[0]
    )


# Laws


@pytest.mark.parametrize(
    "archive", [ROW, CVT(np.arange(CELLS)[:, None] + 0.5)], ids=["grid", "cvt"]
)
@pytest.mark.parametrize("times", [1, 3])
def test_an_elites_objective_is_the_mean_of_its_judgements(archive, times):
    """And its count is how many there are, all of which the ledger has.

    Evaluations count each of them once.
    """
    search = Search(
        Qualities(),
        archive,
        Born(),
        judge=Noisy(),
        batch=10,
        seed=5,
        steering=Steering(reevaluate=Reevaluation(times)),
        budget=Budget(evaluations=900),
    ).run(progress=False)
    elites, told = search.elites, judgements_by_candidate(search.ledger)
    rows = elites.payload["id"], elites.objective, elites.payload["count"]
    for id, objective, count in zip(*(column[elites.occupied] for column in rows), strict=True):
        assert objective == pytest.approx(np.mean(told[id])) and count == len(told[id])
    assert sum(map(len, told.values())) == search.commits[-1].evaluations <= 900
    assert search.summary()["judgements"] == elites.payload["count"][elites.occupied].sum()
    np.testing.assert_array_equal(
        np.asarray(search.pool.genome), elites.payload["genome"][elites.occupied]
    )
    np.testing.assert_array_equal(search.pool.descriptor, elites.descriptor[elites.occupied])


def test_a_run_on_disk_has_the_elites_of_the_search(tmp_path):
    """Objectives, counts and ids, from the ledger alone; and the same summary."""
    with qualities(800, seed=1, run=tmp_path).run(progress=False) as search:
        seen = load(tmp_path)
        np.testing.assert_array_equal(seen.elites.objective, search.elites.objective)
        np.testing.assert_array_equal(seen.elites.descriptor, search.elites.descriptor)
        for name in ("id", "count"):
            np.testing.assert_array_equal(seen.elites.payload[name], search.elites.payload[name])
        assert seen.summary() == search.summary() and seen.best.id == search.best.id
        assert seen.best.objective == search.summary()["best_objective"]


class Moody:
    """Likes long texts, more or less."""

    def __call__(self, key, batch):
        return np.array([len(text) for text in batch.genome]) + 5 * random_of(key).normal(
            size=len(batch)
        )


def texts(**settings):
    settings = {"batch": 2, "seed": 4, "judge": Moody(), "challenge": Reevaluation()} | settings
    return search_of(Texts(), Grid((4, 3), Texts.bounds), Chatter(), **settings)


@pytest.mark.parametrize("in_flight", [1, 4, 16])
def test_the_same_seed_gives_the_same_run_at_any_timing(in_flight):
    """With several steps at work, twice."""
    first, second = (
        texts(in_flight=in_flight).run(120, progress=False).ledger.dump() for _ in range(2)
    )
    assert first == second
    assert '"settled"' in first


@pytest.mark.parametrize("in_flight", [1, 4])
def test_a_run_killed_after_any_step_resumes_to_the_same_end(tmp_path, in_flight):
    """Between a batch and its challenge too: the ledger of the resumed run is that of the whole
    one.
    """
    with texts(in_flight=in_flight, run=tmp_path / "whole") as search:
        search.run(24, progress=False)
        whole = search.ledger.dump()
    steps = range(1, 24, 3) if in_flight == 1 else (7, 16)
    for n in steps:
        with texts(in_flight=in_flight, run=tmp_path / f"{n}") as search:
            for _, _ in zip(range(n), search.steps(24), strict=False):
                pass  # as if it had been killed there
        with texts(in_flight=in_flight, run=tmp_path / f"{n}", resume=True) as search:
            search.run(24 - n, progress=False)
            assert strip(search.ledger.dump()) == strip(whole), n


def strip(dump):
    """Without the goals, which say how far each sitting meant to go."""
    return [line for line in dump.splitlines() if '"goal"' not in line]


def test_waiting_candidates_are_compared_with_the_elite_as_it_is_then():
    """Nobody takes a cell from an elite that it was not judged beside."""
    search = texts(in_flight=8).run(60, progress=False)
    holder = {}
    for _, kind, value in search.ledger.events():
        if kind != "settled":
            continue
        ids = [id for id, *_ in value["looks"]]
        beside = dict(zip(ids[: len(ids) // 2], ids[len(ids) // 2 :], strict=True))
        for cell, winner, *_ in value["cells"]:
            if winner in beside and cell in holder:
                assert beside[winner] == holder[cell]
            holder[cell] = winner


def test_waiting_candidates_have_a_note_and_reevaluations_add_no_candidates():
    """A note says that a candidate was pending; a step of challenges yields nobody."""
    search = texts()
    sizes = [len(batch) for batch in search.steps(40)]
    assert 0 in sizes and max(sizes) == 2
    notes = search.candidates_frame()["notes"]
    assert any(note.get("challenge") == PENDING for note in notes)
    assert search.history["evaluations"][-1] == sum(
        map(len, judgements_by_candidate(search.ledger).values())
    )


def test_a_noisy_domain_is_evaluated_again():
    """Without a judge the domain is asked; with counters for calls, every evaluation is told."""
    asked = []

    class Counted(Qualities):
        def evaluate(self, genomes):
            asked.append(len(genomes))
            return Evaluation(
                np.asarray(genomes)[:, 1] + len(asked) % 3, np.asarray(genomes)[:, :1]
            )

    search = Search(
        Counted(), ROW, Born(), batch=10, steering=Steering(reevaluate=Reevaluation())
    ).run(40, progress=False)
    assert sum(asked) == search.commits[-1].evaluations


class Vague(Noisy):
    """Errs about the cell too, by a cell or so."""

    def __call__(self, key, batch):
        first, second = jax.random.split(key)
        place = np.asarray(batch.genome)[:, :1] + 1.5 * random_of(second).normal(
            size=(len(batch), 1)
        )
        return Judgement(super().__call__(first, batch), features=np.clip(place, 0, CELLS - 0.01))


@pytest.mark.parametrize("seed", range(3))
def test_a_candidate_moves_to_the_cell_of_its_later_judgements(seed, tmp_path):
    """Each elite lies in the cell of the median of what was said of it, nobody in two, also on
    disk; most are right.
    """
    with qualities(2000, judge=Vague(), seed=seed, run=tmp_path).run(progress=False) as search:
        elites, ids = search.elites, search.elites.payload["id"][search.elites.occupied]
        assert len(set(ids.tolist())) == len(ids)
        cells = np.asarray(ROW.cell(elites.descriptor[elites.occupied]))
        np.testing.assert_array_equal(cells, np.flatnonzero(elites.occupied))
        for id, there in zip(ids.tolist(), elites.descriptor[elites.occupied], strict=True):
            np.testing.assert_allclose(np.median(_places(search, id), 0), there)
        told = [value for _, kind, value in search.ledger.events() if kind == "settled"]
        assert any(who == -1 for event in told for _, who, *_ in event["cells"]), (
            "nobody left a cell"
        )
        np.testing.assert_array_equal(load(tmp_path).elites.descriptor, elites.descriptor)
        np.testing.assert_array_equal(load(tmp_path).elites.payload["id"], elites.payload["id"])
        assert load(tmp_path).summary() == search.summary()
        settled = np.abs(np.asarray(search.pool.genome)[:, 0] - search.pool.descriptor[:, 0])
    believing = qualities(2000, judge=Vague(), seed=seed, challenge=None).run(progress=False)
    first = np.abs(np.asarray(believing.pool.genome)[:, 0] - believing.pool.descriptor[:, 0])
    assert settled.mean() < 0.7 * first.mean()


def test_the_most_frequent_label_counts():
    """A label that was said twice of three times is the candidate's, whatever the numbers of the
    labels are.
    """

    class Labelling(Noisy):
        def __call__(self, key, batch):
            label = np.where(
                random_of(key).random(len(batch)) < 0.4,
                2.0,
                np.asarray(batch.genome)[:, 0] // 1 % 2,
            )
            return Judgement(super().__call__(key, batch), features=label[:, None])

    class Unplaced(Qualities):
        def evaluate(self, genomes):
            return Evaluation()

    archive = Grid((3,), (("a", "b", "c"),))
    settings = {"judge": Labelling(), "batch": 10, "seed": 1, "challenge": Reevaluation()}
    search = search_of(Unplaced(), archive, Born(), **settings).run(60, progress=False)
    for elite in search.pool:
        looks = [elite_of[0] for elite_of in _places(search, elite.id)]
        assert elite.descriptor[0] == max(looks, key=looks.count)


def _places(search, id):
    """Where a candidate was said to belong, in order."""
    events = [value for _, kind, value in search.ledger.events() if kind == "settled"]
    first = search.ledger.take([id]).descriptor[0].tolist()
    return [first, *(place for value in events for who, _, place in value["looks"] if who == id)]


# After the search


def test_the_summary_reports_elites_that_were_judged_again(tmp_path):
    """Without challenges the score as seen is too high.

    What the judge says next, and another, is nearly true.
    """
    with qualities(2000, seed=2, challenge=None, run=tmp_path).run(progress=False) as search:
        before = search.ledger.dump()
        told = search.judge_again(times=2)
        _, true = reported_and_true(search)
        occupied = search.summary()["occupied"]
        assert told["qd_score_again"] / occupied == pytest.approx(true, abs=0.4)
        assert search.summary()["qd_score"] / occupied > true + 1
        assert search.judge_again(times=2) == told, "what was asked before was asked again"
        search.judge_again(judge=Noisy(0.0))
        assert search.summary()["qd_score_held_out"] / occupied == pytest.approx(true)
        assert search.summary()["held_out"] == "Noisy(sd=0.0)"
        lines = [line for line in search.ledger.dump().splitlines() if '"again"' not in line]
        assert lines == before.splitlines(), "what the search did is another"
    seen = load(tmp_path)
    assert seen.summary()["qd_score_again"] == told["qd_score_again"]
    with pytest.raises(ValueError, match="hand in the judge"):
        seen.judge_again()
    assert seen.judge_again(times=3, judge=Noisy())["held_out"]


def test_the_summary_says_how_many_elites_were_judged_again():
    """Elites that came later were not asked of."""
    search = texts(challenge=None, batch=4)
    search.run(3, progress=False)
    search.judge_again()
    search.run(30, progress=False)
    assert " of " in search.summary()["qd_score_again_of"]


def test_on_the_command_line(tmp_path, monkeypatch, capsys):
    """`qdkit run --challenge` is kept in the run, gone on with and told.

    One without a meaning is refused.
    """
    monkeypatch.chdir(tmp_path)
    words = [
        "run",
        "poetry",
        "--evaluations",
        "300",
        "--challenge",
        "1",
        "--least",
        "2",
        "--out",
        "a",
    ]
    with pytest.raises(SystemExit) as end:
        main(words)
    assert not end.value.code
    assert "qd score shrunk" in capsys.readouterr().out
    assert (load("a").elites.payload["count"] >= 1).sum() == load("a").summary()["occupied"]
    with pytest.raises(SystemExit) as end:
        main([*words[:4], "--challenge", "-1", "--out", "b"])
    assert end.value.code


# Faults


@pytest.mark.parametrize("writes", ["commit", "settle"])
def test_a_commit_that_fails_on_a_full_disk_can_be_repeated(writes, monkeypatch):
    """Commits of batches or challenges that cannot be written have not happened: gone on with, the
    run is the same.
    """
    whole = texts().run(24, progress=False)
    original, calls = getattr(Ledger, writes), []

    def full(self, *row):
        calls.append(1)
        if len(calls) % 2:
            raise OSError("no space left on device")
        return original(self, *row)

    monkeypatch.setattr(Ledger, writes, full)
    search = texts()
    while len(search.commits) < 24:
        try:
            search.run(24 - len(search.commits), progress=False)
        except OSError:
            continue
    assert len(calls) > 6 and strip(search.ledger.dump()) == strip(whole.ledger.dump())
    told = search._loop.insertion.reevaluations._values
    assert told == whole._loop.insertion.reevaluations._values


class Tired:
    """Says nothing the second time."""

    def __init__(self):
        self.seen = set()

    def __call__(self, key, batch):
        known = [text in self.seen for text in batch.genome]
        self.seen.update(batch.genome)
        return Judgement(np.where(known, np.nan, [len(text) for text in batch.genome]))


def test_without_a_second_judgement_the_elite_stays():
    """Nobody wins a cell without one, and nothing is made up."""
    search = texts(judge=Tired()).run(30, progress=False)
    events = [value for _, kind, value in search.ledger.events() if kind == "settled"]
    assert events and all(said is None for value in events for _, said, _ in value["looks"])
    assert (search.elites.payload["count"][search.elites.occupied] == 1).all()
    assert math.isnan(search.summary()["qd_score_shrunk"])


def test_a_budget_is_never_passed():
    """Nor by challenges, which are counted as evaluations."""
    for calls in (101, 102, 103, 250):
        assert qualities(calls, seed=0).run(progress=False).commits[-1].evaluations <= calls


def test_a_ledger_with_a_changed_reevaluation_is_refused(tmp_path):
    """By one digit, or taken out."""
    import sqlite3

    with qualities(400, run=tmp_path).run(progress=False):
        pass
    db = sqlite3.connect(tmp_path / "run.db")
    last = "number = (select max(number) from events where kind = 'settled')"
    db.execute(f"update events set value = replace(value, ']]', ', 0]]') where {last}")
    db.commit(), db.close()
    with pytest.raises(DamagedRun, match="is not as it was written"):
        Ledger.open(tmp_path)


@pytest.mark.parametrize(
    "kind, value",
    [
        ("again", '"x"'),
        ("axes", '{"plain": {"w": [1]}}'),
        ("order", "{"),
        ("moved", "[1]"),
        ("replies", "{}"),
    ],
)
def test_an_event_that_cannot_be_read_is_damage(tmp_path, kind, value):
    """Told when the run is opened, with its number and kind, and not as a traceback from whoever
    reads it.
    """
    import sqlite3

    with qualities(100, run=tmp_path).run(progress=False):
        pass
    db = sqlite3.connect(tmp_path / "run.db")
    db.execute("insert into events values (9999, 1, ?, ?, 1, '')", (kind, value))
    db.commit(), db.close()
    with pytest.raises(
        DamagedRun, match=f"event .* of the ledger, '{kind}', is not as it was written"
    ):
        load(tmp_path)


def test_archives_that_reevaluation_cannot_use_are_refused():
    """Archives that keep several a cell, islands, and numbers that are none."""
    for archive in (DeepGrid(ROW, 3), Islands(ROW, 2)):
        with pytest.raises(ValueError, match="keeps others too"):
            Search(
                Qualities(),
                archive,
                Born(),
                judge=Noisy(),
                steering=Steering(reevaluate=Reevaluation()),
            )
    from qdkit.axes import PrincipalAxes

    with pytest.raises(ValueError, match="leave one of reevaluate and axes out"):
        Search(
            Qualities(),
            Grid((5,), ((0, 1),)),
            Born(),
            axes=PrincipalAxes(1),
            steering=Steering(reevaluate=Reevaluation()),
        )
    for settings, why in (
        ({"times": 0}, "times is 0"),
        ({"bound": -1.0}, "bound is -1"),
        ({"least": 0}, "least is 0"),
    ):
        with pytest.raises(ValueError, match=why):
            Reevaluation(**settings)

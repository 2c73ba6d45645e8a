"""Closing a search: what stays readable, and that a failed start does not block the next one."""

from __future__ import annotations

import shutil
import sqlite3

import matplotlib.pyplot as plt
import numpy as np
import pytest

import qdkit
from qdkit import Budget, Search, viz
from qdkit.archives import Grid, Islands
from qdkit.axes import PrincipalAxes
from qdkit.domains import Sphere
from qdkit.operators import Evolution, Gaussian
from qdkit.runs.ledger import LEDGER_FILE, LedgerClosed
from qdkit.runs.view import RunView
from qdkit.search.reevaluation import Reevaluation
from tests.worlds import BOX, Jitter, Points, points, search_of, texts


def compiled(**settings):
    domain = Sphere(2)
    return search_of(
        domain, Grid((6, 6), domain.bounds), Gaussian(0.2), batch=4, compiled=True, **settings
    )


KINDS = {"numbers": points, "texts": texts, "compiled": compiled}
READS = {
    # first, as it adds to what the others tell
    "judge_again": lambda s: None if "compiled" in s.ledger.about else s.judge_again(1),
    "best": lambda s: s.best,
    "summary": lambda s: s.summary(),
    "elites_frame": lambda s: s.elites_frame().to_json(),
    "candidates_frame": lambda s: s.candidates_frame().to_json(),
    "history": lambda s: {name: column.tolist() for name, column in s.history.items()},
    "pool": lambda s: [str(candidate) for candidate in s.pool],
    "elites": lambda s: s.elites.objective.tolist(),
    "origins": lambda s: {name: counts.tolist() for name, counts in s.origins.items()},
    "diversity": lambda s: s.diversity(),
    "repr": repr,
    "genome": lambda s: str(s.genome(s.best.id)),
    "taken": lambda s: str(s.taken([s.best.id])),
    "export_answers": None,
    "validate": None,
    "open_lockbox": None,
    "stopped": lambda s: s.stopped,
    "failures": lambda s: s.failures,
    "outcomes": lambda s: s.outcomes,
    "spent": lambda s: s.spent,
    "models": lambda s: s.models,
    "in_flight": lambda s: s.in_flight,
    "commits": lambda s: s.commits,
    "seed": lambda s: s.seed,
}


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("kept", [False, True])
def test_a_closed_search_still_has_its_results(kind, kept, tmp_path):
    """With a folder and without, closed once and twice: what was read before is read after."""
    with KINDS[kind](**({"run": tmp_path / "run"} if kept else {})) as search:
        search.run(3, progress=False)
        search.export_answers(tmp_path / "before")
        before = {name: repr(read(search)) for name, read in READS.items() if read}
    for _ in range(2):
        assert {name: repr(read(search)) for name, read in READS.items() if read} == before
        search.export_answers(tmp_path / "after")
        assert (tmp_path / "after").read_bytes() == (tmp_path / "before").read_bytes()
        search.close()


def test_every_result_of_a_search_is_in_these_tests():
    """All that `RunView` has in public; a new one has to be read here before and after."""
    assert {name for name in dir(RunView) if not name.startswith("_")} <= {*READS}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_closed_search_is_still_drawn(kind, tmp_path):
    with KINDS[kind](run=tmp_path) as search:
        search.run(3, progress=False)
    viz.overview(search)
    viz.heatmap(search)
    plt.close("all")


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_closed_search_says_that_it_goes_on_no_more(kind, kept, tmp_path):
    with KINDS[kind](**({"run": tmp_path} if kept else {})) as search:
        search.run(2, progress=False)
    with pytest.raises(
        RuntimeError,
        match=r"this search is closed.*Search.resume" if kept else "this search is closed",
    ):
        search.run(1, progress=False)
    with pytest.raises(RuntimeError, match="this search is closed"):
        next(search.steps(1))
    with pytest.raises(LedgerClosed, match="was closed, and is written to no more"):
        search.ledger.event(0, "goal", [1, None, ""])
    if kind != "compiled":
        with pytest.raises(
            RuntimeError, match="this search is closed, and nothing more of it is rated"
        ):
            search.rate()


def test_a_closed_run_is_read_too(tmp_path):
    points(run=tmp_path).run(2, progress=False).close()
    run = qdkit.load(tmp_path)
    before = run.summary()
    run.close()
    assert run.summary() == before


def test_a_closed_search_does_not_hold_its_folder(tmp_path):
    """It goes on elsewhere, and the first says so where it would tell of a longer run."""
    with points(run=tmp_path / "run") as first:
        first.run(2, progress=False)
    with points(run=tmp_path / "run", resume=True) as second:
        second.run(1, progress=False)
        best = first.best
        with pytest.raises(
            RuntimeError, match=r"went on after this was closed: look at it anew, qdkit.load"
        ):
            first.summary()
    assert len(first.elites_frame()) == first.elites.occupied.sum()
    assert str(first.genome(best.id)) == str(second.genome(best.id))
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="is gone, and with it what this closed run kept"):
        second.summary()
    assert second.history["best"][-1] == second.commits[-1].best


# Starts that fail.


class Fails(Points):
    """A domain that goes wrong in one of its methods."""

    where = "seeds"
    error: BaseException = ValueError("on purpose")

    def seeds(self, key, n):
        if self.where == "seeds":
            raise self.error
        return super().seeds(key, n)

    def evaluate(self, genomes):
        if self.where == "evaluate":
            raise self.error
        if self.where == "rows":
            return qdkit.Evaluation(genomes.sum(1)[:-1], genomes)
        return super().evaluate(genomes)


def failing(where, error=None):
    made = Fails()
    object.__setattr__(made, "where", where)
    object.__setattr__(made, "error", error or ValueError("on purpose"))
    return made


class Drops(Jitter):
    def turn(self, n):
        raise KeyboardInterrupt


def broken_pool():
    raise OSError("no processes here")


def start(**settings):
    parts = {
        "domain": Points(),
        "archive": Grid((5, 5), BOX),
        "operator": Jitter(),
        "batch": 8,
        **settings,
    }
    return search_of(**parts)


STARTS = {
    "seeds raise": {"domain": failing("seeds")},
    "Ctrl-C in the seeds": {"domain": failing("seeds", KeyboardInterrupt())},
    "no domain": {"domain": object()},
    "a batch of another size": {"operator": Evolution(emitters=2, batch=3)},
    "no batch": {"batch": 0},
    "no seed": {"seed": 1.5},
    "axes over islands": {"archive": Islands(Grid((5, 5), BOX), 2), "axes": PrincipalAxes()},
    "axes over another box": {"archive": Grid((5, 5), ((0, 2), (0, 2))), "axes": PrincipalAxes()},
    "replies without axes": {"replies": []},
    "challenges over islands": {
        "archive": Islands(Grid((5, 5), BOX), 2),
        "challenge": Reevaluation(),
    },
    "no executor": {"executor": broken_pool},
    "what is not compiled": {"compiled": True},
    "a budget that is none": {"budget": 5},
}


def listed(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("case", sorted(STARTS))
@pytest.mark.parametrize("there", [False, True])
def test_a_start_that_fails_leaves_no_folder(case, there, tmp_path):
    """Whatever it fails of; what was in the folder before stays."""
    run = tmp_path / "a" / "run"
    if there:
        run.mkdir(parents=True)
        (run / "notes.txt").write_text("mine")
    with pytest.raises((Exception, KeyboardInterrupt)):
        start(run=run, **STARTS[case])
    assert [name for name in listed(tmp_path) if name != "a"] == (
        ["a/run", "a/run/notes.txt"] if there else []
    )
    with start(run=run) as search:
        assert len(search.run(1, progress=False).commits) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"domain": failing("rows")},
        {"domain": failing("evaluate", KeyboardInterrupt())},
        {"operator": Drops(), "batch": 8},
    ],
)
@pytest.mark.parametrize("closes", [False, True])
def test_a_first_batch_that_fails_is_not_in_the_way(settings, closes, run_folder):
    """Nothing is in that run: the next begins in its place.

    A second batch that fails leaves what it is worth.
    """
    search = start(run=run_folder, **{"batch": 16, **settings})
    with pytest.raises((ValueError, KeyboardInterrupt)):
        search.run(3, progress=False)
    if search.commits:  # it was broken off after the first batch, which is worth something
        search.close()
        with pytest.raises(FileExistsError):
            start(run=run_folder)
        return
    if closes:
        search.close()
    with start(run=run_folder) as another:
        assert len(another.run(1, progress=False).commits) == 1
    with pytest.raises(RuntimeError, match="this search is closed"):
        search.run(1, progress=False)


@pytest.mark.filterwarnings("ignore:all 8 candidates of a batch failed")
@pytest.mark.parametrize("outcome", ["failed", "infrastructure", "invalid"])
def test_a_run_whose_every_seed_failed_is_not_in_the_way(outcome, run_folder):
    """There is nothing to start from, and nothing to keep."""

    class Hopeless(Points):
        def evaluate(self, genomes):
            return qdkit.Evaluation(genomes.sum(1), genomes, outcome=[outcome] * len(genomes))

    with pytest.raises(RuntimeError, match="no seed could enter the archive"):
        start(domain=Hopeless(), run=run_folder).run(3, progress=False)
    with start(run=run_folder) as search:
        assert len(search.run(1, progress=False).commits) == 1


def test_a_run_with_one_candidate_that_could_be_scored_is_kept(run_folder):
    class Once(Points):
        def evaluate(self, genomes):
            outcome = ["ok"] + ["failed"] * (len(genomes) - 1)
            return qdkit.Evaluation(genomes.sum(1), genomes, outcome=outcome)

    start(domain=Once(), run=run_folder).run(2, progress=False).close()
    with pytest.raises(FileExistsError, match="holds a run already"):
        start(run=run_folder)


def test_what_cannot_be_compiled_is_told_before_there_is_a_folder(run_folder):
    """Of the operator too, which is first called in the loop."""

    class Leaves(Gaussian):
        def vary(self, key, parents):
            return np.asarray(parents) + 1

    domain = Sphere(2)
    with pytest.raises((TypeError, ValueError)):
        Search.compiled(domain, Grid((6, 6), domain.bounds), Leaves(0.1), folder=run_folder)
    assert not run_folder.exists()


def test_a_folder_with_paid_answers_is_never_begun_anew(run_folder):
    """An answer alone, before any batch."""
    with start(run=run_folder) as search:
        search.ledger.keep(0, 0, {"ask": "what"}, {"text": "dear"}, 0.0)
        with pytest.raises(BlockingIOError):
            start(run=run_folder, resume=True)
    before = (run_folder / LEDGER_FILE).read_bytes()
    with pytest.raises(FileExistsError, match="holds a run already"):
        start(run=run_folder)
    assert (run_folder / LEDGER_FILE).read_bytes() == before


def test_a_resume_that_fails_removes_nothing(run_folder):
    """Neither of a run with batches nor of one without."""
    start(run=run_folder).close()
    before = listed(run_folder)
    with pytest.raises(ValueError, match="has seed = 0, and this search 1"):
        start(run=run_folder, resume=True, seed=1)
    assert listed(run_folder) == before


def test_a_run_that_is_going_on_is_not_taken_for_an_empty_one(run_folder):
    with start(run=run_folder), pytest.raises(BlockingIOError, match="another process is writing"):
        start(run=run_folder)


@pytest.mark.parametrize("content", [b"", b"no database at all", "strangers"])
def test_what_is_no_run_of_ours_is_left_alone(content, run_folder):
    """An empty file is what a start leaves that was killed at once.

    Anything else is somebody's.
    """
    run_folder.mkdir(parents=True)
    if content == "strangers":
        with sqlite3.connect(run_folder / LEDGER_FILE) as db:
            db.execute("create table mine (x)")
        db.close()
    else:
        (run_folder / LEDGER_FILE).write_bytes(content)
    before = (run_folder / LEDGER_FILE).read_bytes()
    if content == b"":
        start(run=run_folder).close()
        return
    with pytest.raises(FileExistsError, match="holds a run already"):
        start(run=run_folder)
    assert (run_folder / LEDGER_FILE).read_bytes() == before


def test_a_compiled_run_that_was_killed_before_its_ledger_was_written_is_kept(run_folder):
    """Its state is on disk first."""
    with compiled(run=run_folder) as search:
        search.run(1, progress=False)
    with sqlite3.connect(run_folder / LEDGER_FILE) as db:
        db.execute("delete from commits")
    db.close()
    with pytest.raises(FileExistsError, match="holds a run already"):
        compiled(run=run_folder)


def test_a_budget_is_a_budget():
    with pytest.raises(TypeError, match="budget"):
        start(budget=5)
    assert start(budget=Budget(evaluations=8)).run(progress=False).commits[-1].evaluations == 8


def test_columns_are_what_they_were_after_the_close(tmp_path):
    """Arrays and not views of a file that is gone."""
    with points(run=tmp_path / "run") as search:
        search.run(2, progress=False)
    pool = search.pool
    shutil.rmtree(tmp_path / "run")
    assert np.isfinite(pool.objective).all()

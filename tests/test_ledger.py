"""The run on disk: killed at any moment, damaged, edited, shared.

And read without this library.
"""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas
import pytest

import qdkit
from qdkit.archives import Grid
from qdkit.runs import ledger
from qdkit.runs.ledger import DamagedRun

from .worlds import BOX, Jitter, Points, points, search_of, texts

STEPS = 12


def killed(path, moment, world="points", **settings):
    """Runs a search in a process that kills itself at its `moment`-th write to the ledger."""
    script = f"""
import os, signal
from tests.worlds import {world}
from qdkit.runs.ledger import Ledger
writes = 0
def kill(_=None, original=Ledger._writing):
    global writes
    writes += 1
    if writes == {moment}:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(_)
Ledger._writing = kill
{world}(run={str(path)!r}, **{settings!r}).run({STEPS}, progress=False)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == -9, done.stderr


def went_on(make, path):
    with make(run=path, resume=True) as search:
        search.run(STEPS - len(search.commits), progress=False) if len(
            search.commits
        ) < STEPS else None
        return search.ledger.dump()


@pytest.fixture(scope="module")
def undisturbed():
    return points().run(STEPS, progress=False).ledger.dump()


@pytest.mark.parametrize("moment", [2, 7])
def test_a_run_killed_with_kill_9_goes_on_to_the_same_end(tmp_path, undisturbed, moment):
    """Committed batches are not evaluated again, and the run equals an uninterrupted one."""
    killed(tmp_path / "run", moment)
    assert went_on(points, tmp_path / "run") == undisturbed


def test_a_run_stopped_anywhere_evaluates_nothing_twice(tmp_path, undisturbed):
    """However far a run came, going on evaluates only what is left."""
    counted = []

    class Counted(Points):
        def evaluate(self, genomes):
            counted.append(len(genomes))
            return super().evaluate(genomes)

    make = lambda **place: search_of(
        Counted(), Grid((5, 5), BOX), Jitter(), batch=8, seed=3, **place
    )
    for done in range(1, STEPS):
        path = tmp_path / str(done)
        with make(run=path) as search:
            search.run(done, progress=False)
        went_on(make, path)
    assert sum(counted) == 8 * STEPS * (STEPS - 1)


def test_a_run_folder_is_not_taken_twice(tmp_path):
    """A folder with a run is refused unless it is to go on, and nothing in it changes."""
    path = tmp_path / "run"
    points(run=path).run(2, progress=False).close()
    before = (path / "run.db").read_bytes()
    with pytest.raises(FileExistsError, match="holds a run already: go on with it"):
        points(run=path)
    assert (path / "run.db").read_bytes() == before


def test_two_searchers_on_one_run_are_refused(tmp_path):
    """The second process or search is told who is at it; a reader is welcome."""
    with points(run=tmp_path / "run") as search:
        search.run(2, progress=False)
        with pytest.raises(BlockingIOError, match="another process is writing"):
            points(run=tmp_path / "run", resume=True)
        assert qdkit.load(tmp_path / "run").summary()["evaluations"] == 16


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"seed": 4}, "seed = 3, and this search 4"), ({"batch": 4}, "batch = 8, and this search 4")],
)
def test_a_run_goes_on_as_it_began_or_not_at_all(tmp_path, settings, said):
    """Another seed or batch is another run."""
    points(run=tmp_path / "run").run(2, progress=False).close()
    with pytest.raises(ValueError, match=said):
        points(run=tmp_path / "run", resume=True, **settings)


def test_a_run_whose_first_candidates_failed_goes_on(tmp_path):
    """While there is no best, nan is recorded and found again."""

    class Half(Points):
        def evaluate(self, genomes):
            ok = genomes[:, 0] < 0.5
            return qdkit.Evaluation(
                genomes.sum(1), genomes[:, :2], outcome=np.where(ok, "ok", "failed")
            )

    half = lambda **settings: search_of(
        Half(), Grid((5, 5), BOX), Jitter(), batch=1, run=tmp_path, **settings
    )
    with half() as search:
        search.run(18, progress=False)
        assert np.isnan(search.commits[0].best)
    with half(resume=True) as again:
        assert len(again.commits) == 18


def test_an_operator_that_came_out_otherwise_is_noticed(tmp_path):
    """Randomness from elsewhere than the key raises an error instead of making another run."""

    class Restless(Jitter):
        def propose(self, key, context, n):
            return qdkit.Proposal.of(
                np.random.default_rng().random((n, 2)), self.name, context.parents
            )

    make = lambda **place: search_of(Points(), Grid((5, 5), BOX), Restless(), batch=8, **place)
    make(run=tmp_path / "run").run(4, progress=False).close()
    with pytest.raises(
        RuntimeError, match=r"step 2 of .* comes out with other candidates than recorded"
    ):
        make(run=tmp_path / "run", resume=True)


def test_a_run_that_has_no_step_yet_is_gone_on_with_as_it_began(tmp_path):
    """The settings of a run and its goal are on disk from its first moment."""
    killed(tmp_path / "run", 3, "texts", in_flight=2)  # after the goal, before the first step
    with pytest.raises(ValueError, match="seed = 3, and this search 4"):
        texts(run=tmp_path / "run", resume=True, seed=4, in_flight=2)
    make = lambda **place: texts(in_flight=2, **place)
    assert went_on(make, tmp_path / "run") == make().run(STEPS, progress=False).ledger.dump()


def test_a_refused_resume_leaves_the_folder_free(tmp_path):
    """Who corrects a setting and tries again is not told that somebody else is writing."""
    points(run=tmp_path / "run").run(2, progress=False).close()
    with pytest.raises(ValueError, match="seed") as seen:
        points(run=tmp_path / "run", resume=True, seed=4)
    points(run=tmp_path / "run", resume=True).close()
    assert seen.traceback  # it holds on to the search that was refused


def test_a_run_with_nan_in_a_genome_or_fewer_parents_than_columns_goes_on(tmp_path):
    """nan is the nan that was recorded, and a place without a parent is no other parent."""

    class Holed(Points):
        def seeds(self, key, n):
            return np.array([[0.5, 0.5, 1.0], [0.25, 0.75, np.nan]])

        def evaluate(self, genomes):
            return qdkit.Evaluation(np.ones(len(genomes)), genomes[:, :2])

    class Alone(qdkit.Operator):
        name = "alone"

        def propose(self, key, context, n):
            nobody = np.full(n, qdkit.core.types.NO_CANDIDATE)
            return qdkit.Proposal(
                context.parents.genome, np.stack([nobody, context.parents.id], 1), [self.name] * n
            )

    make = lambda **place: search_of(Holed(3), Grid((5, 5), BOX), Alone(), batch=8, **place)
    make(run=tmp_path / "run").run(STEPS - 2, progress=False).close()
    assert went_on(make, tmp_path / "run") == make().run(STEPS, progress=False).ledger.dump()


def edit(path, statement):
    with sqlite3.connect(path / "run.db") as db:
        db.execute(statement)
    db.close()


EDITS = {
    "update candidates set objective = 9 where id = 3": "batch 0",
    "update candidates set genome = zeroblob(16) where id = 11": "batch 1",
    "update candidates set notes = '{\"a\":1}' where id = 30": "batch 3",
    "delete from candidates where id = 5": "batch 0",
    "delete from commits where number = 4": "batch 4",
    "update commits set best = 99 where number = 2": "batch 2",
    "update about set value = '7' where name = 'seed'": "batch 0",
    "drop table commits": "cannot be read as a run",
    "pragma user_version = 99": "version 99",
}


@pytest.mark.parametrize("statement", EDITS)
def test_a_ledger_changed_by_another_hand_is_refused_by_name(tmp_path, statement):
    """Whatever row was changed, lost or added, the error names the place."""
    points(run=tmp_path / "run").run(6, progress=False).close()
    edit(tmp_path / "run", statement)
    with pytest.raises(DamagedRun, match=EDITS[statement]):
        qdkit.load(tmp_path / "run")


def test_a_file_that_is_no_run_is_refused_in_a_sentence(tmp_path):
    """Garbage, an empty file, a cut file, no file."""
    with pytest.raises(FileNotFoundError, match="holds no run"):
        qdkit.load(tmp_path)
    for content in (b"", b"garbage" * 1000):
        (tmp_path / "run.db").write_bytes(content)
        for _ in range(2):  # and the folder is free again
            with pytest.raises(DamagedRun):
                qdkit.load(tmp_path)
            with pytest.raises(DamagedRun):
                points(run=tmp_path, resume=True)
    points(run=tmp_path / "cut").run(6, progress=False).close()
    whole = (tmp_path / "cut" / "run.db").read_bytes()
    (tmp_path / "cut" / "run.db").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedRun):
        qdkit.load(tmp_path / "cut")


def test_a_half_written_picture_of_the_elites_does_no_harm(tmp_path):
    """`elites.npz` is a copy: a run without it is complete, and its next end writes it again."""
    path = tmp_path / "run"
    points(run=path).run(4, progress=False).close()
    (path / "elites.npz").write_bytes(b"PK\x03\x04 half")
    assert qdkit.load(path).summary()["evaluations"] == 32
    with points(run=path, resume=True) as search:
        search.run(1, progress=False)
        elites = search.elites
    with np.load(path / "elites.npz", allow_pickle=False) as copy:
        assert np.array_equal(copy["objective"], elites.objective[elites.occupied])
        assert np.array_equal(copy["genome"], elites.payload["genome"][elites.occupied])


def test_an_unwritable_folder_is_refused_and_nothing_stays_behind(tmp_path):
    """A folder under a file cannot be made, and the error says which."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be written"):
        points(run=tmp_path / "file" / "run")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_disk_that_is_full_stops_the_run_and_it_goes_on_when_there_is_room(
    tmp_path, undisturbed
):
    """The step that could not be written did not happen; the error says so.

    Nothing before it is lost.
    """
    search = points(run=tmp_path / "run").run(3, progress=False)
    search.ledger._db.execute("pragma max_page_count = 1")  # what SQLite does on a full disk
    with pytest.raises(OSError, match=r"cannot be written: database or disk is full.*resume"):
        search.run(STEPS - 3, progress=False)
    search.close()
    assert went_on(points, tmp_path / "run") == undisturbed


@pytest.mark.parametrize("settings", [{}, {"in_flight": 2, "ahead": 3}])
def test_a_step_that_could_not_be_committed_is_committed_by_the_next_run(tmp_path, settings):
    """After a full disk or Ctrl-C during a commit, the same search continues unchanged."""
    search = points(run=tmp_path / "run", **settings).run(3, progress=False)
    search.ledger._db.execute("pragma max_page_count = 1")
    with pytest.raises(OSError, match="cannot be written"):
        search.run(STEPS - 3, progress=False)
    search.ledger._db.execute("pragma max_page_count = 1000000")
    search.run(STEPS - len(search.commits), progress=False)
    dump = search.ledger.dump()
    search.close()
    assert dump == went_on(lambda **place: points(**settings, **place), tmp_path / "run")


def test_a_run_that_could_not_be_made_leaves_no_half_of_one(tmp_path, monkeypatch):
    """Once there is room, the same folder takes the run."""
    with monkeypatch.context() as patch:
        patch.setattr(
            ledger, "VERSION", "no number"
        )  # the last statement but one that makes a run
        with pytest.raises(OSError, match="cannot be written"):
            points(run=tmp_path / "run")
    points(run=tmp_path / "run").run(1, progress=False).close()


def test_elites_that_cannot_be_written_are_a_warning(tmp_path):
    """They are a copy; the error that matters on a full disk is that of the ledger."""
    (tmp_path / "run" / "elites.npz").mkdir(parents=True)
    with pytest.warns(UserWarning, match=r"elites.npz is not up to date, it cannot be written"):
        points(run=tmp_path / "run").run(2, progress=False).close()
    assert qdkit.load(tmp_path / "run").summary()["steps"] == 2


def test_a_killed_run_is_read_whole_where_nothing_can_be_written(tmp_path, monkeypatch):
    """The steps that are still in SQLite's log are shown too, not an older state."""
    killed(tmp_path / "run", 7)
    monkeypatch.setattr(ledger.os, "access", lambda *_: False)
    assert qdkit.load(tmp_path / "run").summary()["steps"] == 5


@pytest.mark.parametrize("make", [points, texts])
def test_a_loaded_run_is_the_run(tmp_path, make):
    """Elites, summary, history and tables of a run on disk equal those of its search."""
    search = make(run=tmp_path / "run").run(STEPS, progress=False)
    run = qdkit.load(tmp_path / "run")
    for column in ("objective", "descriptor"):
        assert np.array_equal(
            getattr(run.elites, column), getattr(search.elites, column), equal_nan=True
        )
    assert np.array_equal(run.elites.payload["id"], search.elites.payload["id"])
    assert run.summary() == search.summary() and run.best.id == search.best.id
    pandas.testing.assert_frame_equal(run.elites_frame(), search.elites_frame())
    assert run.archive == search.archive
    search.close()


def test_a_run_is_read_without_this_library(tmp_path):
    """`sqlite3` and pandas read the tables; a numeric genome is the bytes of its array."""
    search = points(run=tmp_path / "run").run(3, progress=False)
    with sqlite3.connect(tmp_path / "run" / "run.db") as db:
        frame = pandas.read_sql("select * from candidates", db)
    db.close()
    assert frame["objective"].max() == search.best.objective and len(frame) == 24
    assert np.array_equal(np.frombuffer(frame["genome"][5]), search.ledger.genome(5))


def test_nothing_in_a_run_is_executed(tmp_path):
    """A run that names code gets None in its place."""
    search = qdkit.Search(Points(), Grid((5, 5), BOX), Jitter(), folder=tmp_path / "run").run(
        1, progress=False
    )
    search.close()
    run = qdkit.load(tmp_path / "run")
    assert run.domain is None and run.archive == Grid((5, 5), BOX)
    from qdkit.runs.parts import rebuild

    assert rebuild({"is": "os:system", "with": {"command": "true"}}) is None
    assert rebuild({"is": "qdkit.archives.grid:math", "with": {}}) is None


def test_a_step_is_read_without_a_scan_of_the_run(tmp_path):
    """Opening and going on take time with the length of a run, not with its square."""
    with points(run=tmp_path / "run").run(3, progress=False) as search:
        ledger, asked = search.ledger, []
        ledger._db.set_trace_callback(asked.append)
        assert ledger.batch(2).id.tolist() == list(range(16, 24))
        ledger._db.set_trace_callback(None)
        plans = [row[3] for row in ledger._read(f"explain query plan {asked[0]}")]
    assert any("candidates" in plan for plan in plans) and not any(
        "SCAN" in plan for plan in plans
    )


def test_answers_that_come_while_the_disk_is_busy_share_a_transaction(tmp_path):
    """One transaction for all that wait, on disk when `keep` returns.

    One that cannot be written fails alone.
    """
    with texts(run=tmp_path / "run") as search:
        ledger, begun, failed = search.ledger, [], []
        ledger.keep(0, 0, {}, {"text": "the first"}, 0.0)

        def keep(task):
            try:
                ledger.keep(task, 0, {}, {"text": str(task)}, 0.0)
            except sqlite3.IntegrityError as error:
                failed.append((task, str(error)))

        def kept_at_once(tasks):
            threads = [threading.Thread(target=keep, args=(task,)) for task in tasks]
            with ledger._lock:  # as it is while a transaction goes to the disk
                for thread in threads:
                    thread.start()
                while len(ledger._pending) < len(threads):
                    threading.Event().wait(0.001)
            for thread in threads:
                thread.join(60)

        ledger._db.set_trace_callback(
            lambda statement: begun.append(statement) if "begin" in statement else None
        )
        kept_at_once(range(1, 9))
        assert begun == ["begin immediate"] and not failed
        kept_at_once([9, 0, 10])  # call 0 of task 0 is there already
        assert [task for task, _ in failed] == [0] and "unique" in failed[0][1].lower()
    with contextlib.closing(sqlite3.connect(tmp_path / "run" / "run.db")) as file:
        assert file.execute("select task from answers order by task").fetchall() == [
            (i,) for i in range(11)
        ]


def test_genomes_of_json_and_bytes_come_back_as_they_were():
    """A program is a mapping of paths to texts, and bytes are bytes."""
    for genomes in (
        [{"main.py": "x = 1", "b/c.py": ""}],
        [b"\x00\xff", b""],
        [[1, 2.5, None, "a"]],
    ):

        class Given:
            def seeds(self, key, n, genomes=genomes):
                return genomes

            def evaluate(self, genomes):
                return qdkit.Evaluation([1.0] * len(genomes), [(0.5, 0.5)] * len(genomes))

        search = qdkit.Search(Given(), Grid((2, 2), BOX), Jitter(), batch=4).run(1, progress=False)
        assert search.ledger.batch(0).genome == genomes


@pytest.mark.parametrize(
    ("seeds", "kept"),
    [
        ([(1, 2), (3, (4,))], [[1, 2], [3, [4]]]),
        ([{1: "a"}, {"half": "\ud800"}], [{"1": "a"}, {"half": "?"}]),
        ([*np.array(["rose", "sea"])], ["rose", "sea"]),
        ([*np.array([b"rose", b"sea"])], [b"rose", b"sea"]),
        (np.array(["rose", None], object), ["rose", None]),
    ],
)
def test_genomes_have_one_form_from_the_start(tmp_path, seeds, kept):
    """A genome that Python and JSON write differently is the same, and its run can be resumed."""

    class Given:
        def seeds(self, key, n):
            return seeds

        def evaluate(self, genomes):
            assert all(genome in kept for genome in genomes)
            return qdkit.Evaluation([1.0] * len(genomes), [(0.5, 0.5)] * len(genomes))

    class Same(qdkit.Operator):
        name = "same"

        def propose(self, key, context, n):
            return qdkit.Proposal.of(
                seeds[:1] * n if isinstance(seeds, list) else ["rose"] * n, "same", context.parents
            )

    make = lambda **place: search_of(Given(), Grid((2, 2), BOX), Same(), batch=4, **place)
    make(run=tmp_path / "run").run(STEPS - 2, progress=False).close()
    assert qdkit.load(tmp_path / "run").ledger.batch(0).genome == kept
    assert went_on(make, tmp_path / "run") == make().run(STEPS, progress=False).ledger.dump()


@pytest.mark.soak
@pytest.mark.parametrize("moment", range(2, 14))
@pytest.mark.parametrize(
    ("world", "settings"), [("points", {}), ("texts", {"in_flight": 4, "ahead": 6})]
)
def test_soak_killed_at_every_write(tmp_path, moment, world, settings):
    """The same at every write of the ledger, with steps in flight too."""
    make = {"points": points, "texts": texts}[world]
    killed(tmp_path / "run", moment, world, **settings)
    with make(**settings) as whole:
        expected = whole.run(STEPS, progress=False).ledger.dump()
    assert went_on(lambda **place: make(**settings, **place), tmp_path / "run") == expected


@pytest.mark.parametrize("ending", ["search.close()", "raise SystemExit"])
def test_a_run_that_ends_while_calls_come_in_does_not_crash(tmp_path, ending):
    """Threads with answers for a closed run, or at the end of the process, get an error."""
    script = f"""
import threading
from tests.worlds import points
search = points(run={str(tmp_path / "run")!r}).run(2, progress=False)
started = threading.Barrier(9)
def bring(task):
    started.wait(60)
    for call in range(1000):
        search.ledger.keep(100 + task, call, {{}}, {{}}, 0.0)
threading.excepthook = lambda error: None
for task in range(8):
    threading.Thread(target=bring, args=(task,), daemon=True).start()
started.wait(60)
{ending}
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert qdkit.load(tmp_path / "run").summary()["evaluations"] == 16

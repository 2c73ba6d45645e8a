"""Runs of earlier versions: whatever is added to the format, they open, show and go on."""

from __future__ import annotations

import json
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import qdkit
from qdkit.archives import CVT, Grid, Recent, Thresholds
from qdkit.axes import Fit, TripletAxes
from qdkit.cli.commands import main
from qdkit.domains import Arm, PosedArm, Sphere
from qdkit.operators import Gaussian, IsoLine, Portfolio, Steered, cma_mae
from qdkit.runs.judgements import Judgements
from qdkit.runs.ledger import Ledger
from qdkit.selection import ByNovelty, Restarts, Uniform

from .worlds import points, texts

HOME = Path(__file__).parent / "data" / "old_runs"
SUMMARIES = json.loads((HOME / "summaries.json").read_text(encoding="utf-8"))
SMALL = [
    "--evaluations",
    "60",
    "--batch",
    "20",
    "--joints",
    "3",
    "--shape",
    "4",
    "4",
    "--seed",
    "2",
]


def unpacked(kind: str, folder: Path) -> Path:
    """The folder of an old run."""
    with zipfile.ZipFile(HOME / f"{kind}.zip") as file:
        file.extractall(folder)
    return folder


def as_version_2(path: Path) -> None:
    """Returns a run of the version before: events without seals, which commits do not seal."""
    from qdkit.core.jsonable import digest
    from qdkit.runs.rows import Commit, none_to_nan, seal_commit
    from qdkit.runs.sqlite_file import connect

    db = connect(path / "run.db")
    about = {
        name: json.loads(value) for name, value in db.execute("select name, value from about")
    }
    seal = digest(json.dumps(about, sort_keys=True, ensure_ascii=False, separators=(",", ":")))
    with db:
        db.execute("begin")
        for number, (*state, _) in enumerate(
            db.execute("select * from commits order by number").fetchall()
        ):
            commit = Commit(*map(none_to_nan, state))
            last = commit.first + commit.rows - 1
            rows = db.execute(
                "select * from candidates where id between ? and ? order by id",
                (commit.first, last),
            )
            seal = seal_commit(seal, rows.fetchall(), commit)
            db.execute("update commits set digest = ? where number = ?", (seal, number))
        db.execute("alter table events rename to sealed_events")
        db.execute(
            "create table events (number integer primary key, after integer not null, kind text "
            "not null, "
            "value text not null)"
        )
        db.execute("insert into events select number, after, kind, value from sealed_events")
        db.execute("drop table sealed_events")
        db.execute("pragma user_version = 2")
    db.close()


@pytest.mark.filterwarnings(
    "ignore:constrained_layout not applied"
)  # a long text beside a small map
@pytest.mark.parametrize("kind", SUMMARIES)
def test_a_run_of_version_2_opens_and_shows_what_it_showed_then(tmp_path, kind, capsys):
    """Every kind of run, in numbers, in words and in pictures.

    The report says once that its events are not in the hash chain.
    """
    path = unpacked(kind, tmp_path)
    run = qdkit.load(path)
    summary = run.summary()
    for name, value in SUMMARIES[kind].items():
        assert summary[name] == pytest.approx(value, rel=1e-12), name
    assert len(run.elites_frame()) == len(run.pool) > 0
    run.close()
    with pytest.raises(SystemExit) as end:
        main(["show", str(path)])
    assert not end.value.code
    shown = capsys.readouterr().out
    assert (
        shown.count("not in its hash chain") == 1 and (path / "overview.png").stat().st_size > 1000
    )


# How many evaluations the command line resumes a run to; a model is not asked anew.
RESUMED = {
    "grid": 100,
    "texts": 8,
    "programs": 8,
    "islands": 120,
    "compiled": 100,
    "challenge": 120,
}


@pytest.mark.parametrize("kind", RESUMED)
def test_an_old_run_is_resumed_by_the_command_line(kind, tmp_path, monkeypatch):
    """It is made again as it was recorded, which a resume checks, and goes on."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    path = unpacked(kind, tmp_path / "run")
    with pytest.raises(SystemExit) as end:
        main(["resume", str(path), "--evaluations", str(RESUMED[kind])])
    assert not end.value.code, end.value.code
    with closing(Ledger.open(path)) as ledger:
        assert ledger.commits[-1].evaluations >= RESUMED[kind]


def resumed_search(kind, path):
    """The search of an old run that was written in Python, with the names of today."""
    arm, gaussian, settings = Arm(3), Gaussian(0.2), {"batch": 16, "seed": 2}
    grid = Grid((4, 4), arm.bounds)
    if kind == "cvt":
        archive = CVT.spread(12, arm.bounds, samples=100)
        return qdkit.Search.resume(path, arm, archive, gaussian, **settings)
    if kind == "soft":
        return qdkit.Search.resume(path, arm, Thresholds(grid, minimum=-1.0), gaussian, **settings)
    if kind == "steered":
        line = Steered(IsoLine(0.1, 0.2), Restarts(Uniform(), 0.5))
        steering = qdkit.Steering(parents=ByNovelty())
        operator = Portfolio([line, gaussian])
        return qdkit.Search.resume(path, arm, grid, operator, steering=steering, **settings)
    axes = TripletAxes(each=5, fit=Fit(steps=5))
    unit = Grid((4, 4), ((0.0, 1.0), (0.0, 1.0)))
    return qdkit.Search.resume(
        path, PosedArm(3), unit, gaussian, axes=axes, replies=Judgements(path), **settings
    )


@pytest.mark.parametrize("kind", ["cvt", "soft", "steered", "learnt"])
def test_an_old_run_is_resumed_in_python(kind, tmp_path):
    """Though its parts had other names."""
    path = unpacked(kind, tmp_path / "run")
    with resumed_search(kind, path) as search:
        search.run(2, progress=False)
        assert len(search.commits) == 5


@pytest.mark.parametrize("kind", ["pool", "strategies"])
def test_an_old_compiled_run_is_resumed_in_python(kind, tmp_path):
    """From the state of its archive and of its operator, as it would have gone on."""
    domain, settings = Sphere(4), {"batch": 16, "seed": 2}
    archive, operator = Recent(2, 30), Gaussian(0.2)
    if kind == "strategies":
        archive = Thresholds(Grid((4, 4), domain.bounds), minimum=0.0)
        operator = cma_mae(0.5, batch=8, emitters=2)
    path = unpacked(kind, tmp_path / "run")
    with qdkit.CompiledSearch.resume(path, domain, archive, operator, **settings) as search:
        search.run(2, progress=False)
        elites = search.elites
    with qdkit.Search.compiled(domain, archive, operator, **settings) as whole:
        whole.run(6, progress=False)
        assert np.allclose(elites.objective, whole.elites.objective, rtol=1e-5)


@pytest.mark.parametrize("kind", ["grid", "texts", "challenge"])
def test_candidates_of_an_old_run_are_judged_again(kind, tmp_path):
    """Its domain computes the objective, and the run names it by its former name."""
    run = qdkit.load(unpacked(kind, tmp_path / "run"))
    run.judge_again(times=1)
    assert run.summary()["qd_score_again"] == run.summary()["qd_score_again"]
    run.close()


@pytest.mark.parametrize("make", [points, texts])
def test_a_run_of_version_2_goes_on_as_it_would_have(tmp_path, make):
    """It stays in its version, and comes to the end of a run that was never stopped."""
    with make(run=tmp_path / "run") as search:
        search.run(4, progress=False)
        search.ledger.event(4, "note", {"of": "somebody"})
    as_version_2(tmp_path / "run")
    with make(run=tmp_path / "run", resume=True) as search:
        search.run(4, progress=False)
        search.ledger.event(8, "note", {"of": "somebody else"})
        assert not search.ledger.sealed_events
        elites = search.elites
    run = qdkit.load(tmp_path / "run")
    assert run.ledger.version == 2 and [kind for _, kind, _ in run.ledger.events()][-2:] == [
        "note",
        "note",
    ]
    whole = make().run(8, progress=False)
    assert np.array_equal(run.elites.objective, whole.elites.objective)
    assert np.array_equal(run.elites.objective, elites.objective)
    run.close()


def test_a_run_of_version_2_is_resumed_by_the_command_line(tmp_path, capsys):
    """With the note that its events are unsealed."""
    path = str(tmp_path / "run")
    for words in (["run", "arm", *SMALL, "--out", path], ["resume", path, "--evaluations", "100"]):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert not end.value.code
        if words[0] == "run":
            as_version_2(Path(path))
    assert "not in its hash chain" in capsys.readouterr().out
    ledger = Ledger.open(Path(path))
    assert ledger.commits[-1].evaluations == 100 and ledger.version == 2
    ledger.close()


def test_a_new_run_is_of_the_version_that_has_seals_for_events(tmp_path):
    """Its events are sealed: none can be changed, added, removed or moved."""
    with points(run=tmp_path / "run") as search:
        for step in range(3):
            search.ledger.event(step, "note", {"step": step})
            search.run(1, progress=False)
        search.ledger.event(3, "note", {"step": "after"})
    file = tmp_path / "run" / "run.db"
    whole = file.read_bytes()
    edits = (
        "update events set value = '{\"step\":9}' where number = 2",
        "update events set kind = 'other' where number = 1",
        "update events set after = 0 where number = 3",
        "update events set commits = 0 where number = 2",
        "delete from events where number = 1",
        "delete from events where number = 3",
        "insert into events values (9, 3, 'note', '{}', 3, '')",
        "update events set number = 7 where number = 4",
    )
    for edit in edits:
        file.write_bytes(whole)
        with sqlite3.connect(file) as db:
            db.execute(edit)
        db.close()
        with pytest.raises(qdkit.runs.ledger.DamagedRun, match=r"event|batch"):
            Ledger.open(tmp_path / "run")

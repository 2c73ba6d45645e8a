"""Warnings of a search: failing candidates, with tracebacks, and elites below the floor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import qdkit
from qdkit.archives import DeepGrid, Grid, Thresholds
from qdkit.cli.commands import main
from qdkit.comparing import comparison
from qdkit.comparing.baselines import Chain
from qdkit.core.types import Outcome
from qdkit.operators import Gaussian
from qdkit.runs.alerts import SearchWarning, describe_failures, failed_share, failures_by_outcome
from qdkit.runs.run import load
from qdkit.search.budget import Budget

from .worlds import BOX, Jitter, Points, points, search_of

GRID = Grid((8, 8), BOX)
SPAWNED = partial(ProcessPoolExecutor, 1, mp_context=get_context("spawn"))


@dataclass(frozen=True)
class Faulty(Points):
    """Points of which each with a first number at or above `limit` raises."""

    limit: float = 0.5

    def evaluate(self, genomes):
        return [self.measured(row) for row in genomes] and super().evaluate(genomes)

    def measured(self, row):
        if row[0] >= self.limit:
            raise ZeroDivisionError(f"the lamp \x1b[31m is {row[0]:.0f}")


@dataclass(frozen=True)
class Broken(Points):
    """Points of which everything fails, or everything but the seeds."""

    how: str = "raises"
    seeds_fail: bool = True

    def seeds(self, key, n):
        return np.stack([np.full(n, 0.5), np.linspace(0, 1, n)], 1)

    def evaluate(self, genomes):
        if not self.seeds_fail and (genomes[:, 0] == 0.5).all():
            return super().evaluate(genomes)
        if self.how == "raises":
            return self.lamp(genomes)
        if self.how == "nan":
            return qdkit.Evaluation(np.full(len(genomes), np.nan), genomes)
        notes = [{"error": "the lamp is out"}] * len(genomes)
        return qdkit.Evaluation(
            np.zeros(len(genomes)), genomes, outcome=[self.how] * len(genomes), notes=notes
        )

    def lamp(self, genomes):
        raise LookupError("the lamp is out")


def search(domain, **settings):
    return search_of(
        domain, GRID, Jitter(), **{"batch": 16, "seed": 1, "novelty": None} | settings
    )


def line_of(text):
    """Where this file has it: the line of the user's code that a traceback should name."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.strip() == text)


WHERE = f'File "{__file__}", line {line_of("""raise LookupError("the lamp is out")""")}, in lamp'
WAYS = {
    "alone": {},
    "in flight": {"in_flight": 3},
    "threads": {"executor": partial(ThreadPoolExecutor, 2)},
    "processes": {"executor": SPAWNED},
}


@pytest.mark.parametrize("way", WAYS)
def test_number_and_share_of_failures_are_told_everywhere(way, capsys, tmp_path):
    """In the bar, the repr, the summary and a run on disk.

    The outcomes are those of the ledger.
    """
    made = search(Faulty(), run=tmp_path / "run", **WAYS[way])
    made.run(8)
    failed, evaluations = made.failures["failed"], made.summary()["evaluations"]
    assert 0 < failed < evaluations == 128
    words = f"{failed} failed ({failed / evaluations:.1%})"
    assert words in capsys.readouterr().err and words in repr(made)
    summary = made.summary()
    assert (summary["failed"], summary["failed_share"]) == (failed, failed / evaluations)
    assert (
        made.outcomes
        == made.ledger.outcomes()
        == {"ok": evaluations - failed, "failed": failed}
        == summary["outcomes"]
    )
    made.close()
    seen = load(tmp_path / "run")
    assert words in repr(seen) and seen.outcomes == made.outcomes and seen.spent == made.spent
    seen.close()


def test_failures_are_told_by_outcome_and_what_was_never_tried_is_none():
    """Rejected, duplicate and skipped are no failures; the share is that of what was evaluated."""
    counts = {
        "ok": 50,
        "failed": 30,
        "invalid": 15,
        "timeout": 4,
        "infrastructure": 1,
        "rejected": 77,
        "skipped": 9,
    }
    expected = {"failed": 30, "invalid": 15, "timeout": 4, "infrastructure": 1}
    assert failures_by_outcome(counts) == expected
    assert failed_share(counts) == 0.5 and np.isnan(failed_share({"rejected": 3}))
    assert (
        describe_failures(counts)
        == "50 failed (50.0%: 30 failed, 15 invalid, 4 timeout, 1 infrastructure)"
    )
    assert describe_failures({"ok": 3, "duplicate": 1, "rejected": 4}) == ""
    assert describe_failures({}) == ""
    assert describe_failures({"ok": 950, "invalid": 50}) == "50 failed (5.0%: 50 invalid)"


@pytest.mark.parametrize("way", WAYS)
def test_a_first_batch_that_raises_is_an_error_with_file_line_and_traceback(way):
    """Of the user's code, whoever ran it; the frames of the library before it are left out."""
    with pytest.raises(RuntimeError, match="no seed could enter") as raised:
        search(Broken(), **WAYS[way]).run(1, progress=False)
    assert WHERE in str(raised.value) and "LookupError: the lamp is out" in str(raised.value)
    assert "Traceback (most recent call last)" in str(raised.value) and "evaluating.py" not in str(
        raised.value
    )


@pytest.mark.parametrize(
    "how", ["raises", "nan", *(str(o) for o in (Outcome.FAILED, Outcome.TIMEOUT, Outcome.INVALID))]
)
def test_three_batches_of_failures_are_an_error(how):
    """Before all seeds are tried, with what was raised, or with what the domain noted."""
    made = search(Broken(how=how), batch=4)
    with (
        pytest.warns(SearchWarning, match="all 4 candidates of a batch failed") as caught,
        pytest.raises(
            RuntimeError, match="every candidate of the first 3 batches failed"
        ) as raised,
    ):
        made.run(9, progress=False)
    assert len(caught) == 1 and len(made.commits) == 3
    reason = {"raises": WHERE, "nan": "its objective is nan"}.get(how, "the lamp is out")
    assert reason in str(raised.value) and reason in str(caught[0].message)


@pytest.mark.parametrize("way", WAYS)
def test_a_whole_batch_that_fails_is_a_warning_with_the_first_traceback(way):
    """Once, at the line of the caller, and the search goes on."""
    broken = search(Broken(seeds_fail=False), **WAYS[way])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        broken.run(6, progress=False)
    (found,) = [one for one in caught if issubclass(one.category, SearchWarning)]
    assert "all 16 candidates of a batch failed" in str(found.message) and WHERE in str(
        found.message
    )
    assert found.filename == __file__ and broken.outcomes == {"failed": 80, "ok": 16}
    broken.close()


def test_what_steers_a_terminal_is_not_shown():
    """A traceback holds what a candidate made of it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search(Faulty(limit=0.1), batch=2, seed=3).run(9, progress=False)
    assert caught and not any("\x1b" in str(one.message) for one in caught)


@pytest.mark.parametrize("batch", [1, 3])
def test_small_batches_that_fail_are_told_after_ten_candidates_in_a_row(batch):
    """That one, or three, fail is nothing unusual; where the first eight do, it is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = search(Broken(seeds_fail=False), batch=batch)
        founding = made._loop.founding
        made.run(founding + 9 // batch, progress=False)
        with pytest.raises(
            SearchWarning, match=r"1\d candidates in a row failed; the first so:\nTrace"
        ):
            made.run(1, progress=False)
    with pytest.raises(
        RuntimeError, match=f"every candidate of the first {max(3, -(-8 // batch))} batches failed"
    ):
        search(Broken(), batch=batch).run(20, progress=False)


@pytest.mark.parametrize("in_flight", [1, 3])
@pytest.mark.parametrize("part", ["judge", "axes"])
def test_a_judge_or_axes_that_raise_are_raised_with_their_place(part, in_flight):
    """They are no candidate's fault; the traceback leads to the user's line."""

    def broken(*given):
        raise LookupError("the judge is out")

    with pytest.raises(LookupError, match="the judge is out") as raised:
        search(Points(), in_flight=in_flight, **{part: broken}).run(2, progress=False)
    place = raised.traceback[-1]
    assert str(place.path) == __file__ and place.lineno + 1 == line_of(
        'raise LookupError("the judge is out")'
    )


@dataclass(frozen=True)
class Lamp:
    """A domain in jax, of which all but the seeds may be nan; `shift` moves its objective."""

    broken: bool = False
    shift: float = 0.0
    bounds = BOX
    floor = 0.0

    def seeds(self, key, n):
        return jnp.full((n, 2), 0.5)

    def evaluate(self, genomes):
        bad = self.broken & (genomes != 0.5).any(1)
        return qdkit.Evaluation(jnp.where(bad, jnp.nan, genomes.sum(1) + self.shift), genomes)


def test_a_compiled_search_tells_of_failures_too(tmp_path, capsys):
    """All nan: a warning, and number and share in bar, repr, summary, on disk and gone on with."""
    make = lambda **more: search_of(
        Lamp(broken=True),
        GRID,
        Gaussian(0.1),
        batch=8,
        compiled=True,
        run=tmp_path / "run",
        **more,
    )
    words = "40 failed (83.3%: 40 invalid)"
    with (
        make() as made,
        pytest.warns(SearchWarning, match="all 8 candidates of step 1 are invalid"),
    ):
        made.run(5)
        assert words in repr(made) and words in capsys.readouterr().err
        summary = made.summary()
    assert (summary["failed"], summary["outcomes"]) == (40, {"invalid": 40, "ok": 8})
    seen = load(tmp_path / "run")
    assert words in repr(seen) and seen.summary() == summary
    seen.close()
    with make(resume=True) as again, pytest.warns(SearchWarning):
        assert again.outcomes == made.outcomes and again.spent.evaluations == 48
        again.run(2, progress=False)
        assert again.outcomes == {"invalid": 56, "ok": 8}


def test_a_compiled_search_none_of_whose_seeds_is_finite_says_what_was_not():
    """And where it came from."""

    class Dark(Lamp):
        def evaluate(self, genomes):
            return qdkit.Evaluation(jnp.full(len(genomes), jnp.nan), genomes)

    with pytest.raises(
        RuntimeError, match=r"Dark\.evaluate gave 8 of 8 an objective that is not finite"
    ):
        qdkit.Search.compiled(Dark(), GRID, Gaussian(0.1), batch=8)


SCRIPT = """
from tests.test_alerts import Broken, search
search(Broken()).run(5)
"""

NOTED = """
import qdkit
class Lamp:
    bounds, names, floor = ((0, 1), (0, 1)), ("x", "y"), 0.0
    def seeds(self, key, n):
        import numpy as np
        return np.full((n, 2), 0.5)
    def evaluate(self, genomes):
        raise LookupError("the lamp is out")
"""


def test_a_script_and_a_command_end_with_the_place(tmp_path):
    """The message names file and line."""
    root = Path(__file__).parents[1]
    environ = os.environ | {"PYTHONPATH": str(root)}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=root,
        env=environ,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert ran.returncode and WHERE in ran.stderr
    (tmp_path / "lamp.py").write_text(NOTED)
    words = [
        "run",
        f"{tmp_path / 'lamp.py'}:Lamp",
        "--out",
        str(tmp_path / "out"),
        "--evaluations",
        "32",
    ]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--archive", "grid"])
    assert f'File "{tmp_path / "lamp.py"}", line 9, in evaluate' in str(ended.value)


# What a run has spent.


@pytest.mark.parametrize("way", ["alone", "in flight", "compiled", "budget"])
def test_what_was_spent_counts_the_evaluations(way, tmp_path):
    """In a search, gone on with, on disk, and against the summary and the budget."""
    settings = {"batch": 16, **WAYS.get(way, {})}
    if way == "compiled":
        make = lambda **more: search_of(
            Lamp(), GRID, Gaussian(0.1), compiled=True, batch=16, run=tmp_path / "run", **more
        )
    elif way == "budget":
        make = lambda **more: search(
            Points(), run=tmp_path / "run", budget=Budget(evaluations=70), **settings, **more
        )
    else:
        make = lambda **more: search(Points(), run=tmp_path / "run", **settings, **more)
    with make() as made:
        made.run(None if way == "budget" else 4, progress=False)
        assert (
            made.spent.evaluations
            == made.summary()["evaluations"]
            == made.commits[-1].evaluations
            >= 64
        )
        assert way != "budget" or made.spent.evaluations == 70
        assert made.spent.calls == 0
    with make(resume=True) as again:
        assert again.spent == made.spent
    seen = load(tmp_path / "run")
    assert seen.spent == made.spent
    seen.close()


# Elites below the floor.


class Deepened(Points):
    """Points whose objectives are below the floor that the domain has, which may be none."""

    def __init__(self, floor=0.0, shift=-10.0):
        self.floor, self.shift = floor, shift

    def evaluate(self, genomes):
        return qdkit.Evaluation(genomes.sum(1) + self.shift, genomes)


class Bottomless(Deepened):
    """The same, of a domain that says nothing of a floor."""

    def __init__(self):
        self.shift = -10.0

    @property
    def floor(self):
        raise AttributeError("floor")


LOW = r"elites? lies? below the floor, 0 \(the lowest objective is -9.*such as floor = -10"


@pytest.mark.parametrize(
    "archive",
    [GRID, Thresholds(GRID, minimum=-100.0), DeepGrid(GRID, 2)],
    ids=["grid", "soft", "deep"],
)
@pytest.mark.parametrize("domain", [Deepened(), Bottomless()], ids=["floor 0", "no floor"])
def test_elites_below_the_floor_are_told_once_with_the_mend(domain, archive):
    """At the first that enters; later sittings are silent."""
    made = qdkit.Search(domain, archive, Jitter(), batch=16, steering=qdkit.Steering(novelty=None))
    with pytest.warns(SearchWarning, match=LOW) as caught:
        made.run(5, progress=False)
        made.run(5, progress=False)
    assert len(caught) == 1 and caught[0].filename == __file__
    summary = made.summary()
    assert summary["below_floor"] == summary["occupied"] > 0


def test_nothing_is_told_where_the_floor_holds_or_the_map_is_above_it():
    """Also for what fails, and for what is worse than an elite and does not enter."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert search(Deepened(floor=-11.0)).run(4, progress=False).summary()["below_floor"] == 0
        points().run(3, progress=False)
        qdkit.Search.compiled(Lamp(), GRID, Gaussian(0.1), batch=8).run(3, progress=False)


def test_a_compiled_search_and_one_that_goes_on_tell_it_too(tmp_path):
    """A run that was begun in another process tells it when it goes on."""
    with pytest.warns(SearchWarning, match=r"below the floor, 0"):
        qdkit.Search.compiled(Lamp(shift=-5.0), GRID, Gaussian(0.1), batch=8).run(
            3, progress=False
        )
    with search(Deepened(), run=tmp_path / "run") as made, pytest.warns(SearchWarning, match=LOW):
        made.run(2, progress=False)
    with (
        search(Deepened(), run=tmp_path / "run", resume=True) as again,
        pytest.warns(SearchWarning, match=LOW) as told,
    ):
        again.run(2, progress=False)
    assert len(told) == 1


def test_show_and_compare_tell_it(tmp_path, capsys):
    """The comparison says which runs, and that the emptier map may have the higher score."""

    def show(name, *words):
        with pytest.raises(SystemExit) as ended:
            main(["show", str(tmp_path / name), *words])
        assert not ended.value.code

    with pytest.warns(SearchWarning, match=LOW):
        for name, operator in (("map", Jitter()), ("chain", Chain(Jitter()))):
            made = qdkit.Search(
                Deepened(),
                GRID,
                operator,
                batch=8,
                folder=tmp_path / name,
                steering=qdkit.Steering(novelty=None),
            )
            made.run(6, progress=False).close()
    show("map")
    assert "below the floor, 0 (the lowest objective is -9" in " ".join(
        capsys.readouterr().out.split()
    )
    show("map", "--json")
    assert json.loads(capsys.readouterr().out)["below_floor"] > 0
    runs = [load(tmp_path / name) for name in ("map", "chain")]
    found = comparison.compare_runs(runs)
    (remark,) = [remark for remark in found.remarks if "below the floor" in remark]
    count = [int(group.histories[0]["below"][-1]) for group in found.groups]
    assert (
        f"{count[0]} of {found.groups[0].name}" in remark
        and "compare coverage and best" in remark
        and all(count)
    )
    first, second = (group.histories[0] for group in found.groups)
    assert (first["coverage"][-1] > second["coverage"][-1]) == (
        first["qd_score"][-1] < second["qd_score"][-1]
    )
    for run in runs:
        run.close()
    fine = comparison.compare_runs(
        [search(Points(), seed=seed).run(3, progress=False) for seed in (1, 2)]
    )
    assert not any("floor" in remark for remark in fine.remarks)


def test_a_command_prints_a_warning_as_a_sentence(tmp_path):
    """Prints no line of the command line's own code, and restores the handler of warnings."""
    root = Path(__file__).parents[1]
    (tmp_path / "low.py").write_text(
        NOTED.replace("raise LookupError", "return qdkit.Evaluation(-genomes.sum(1), genomes)  # ")
    )
    words = [
        "run",
        f"{tmp_path / 'low.py'}:Lamp",
        "--out",
        str(tmp_path / "out"),
        "--evaluations",
        "32",
    ]
    environ = os.environ | {"PYTHONPATH": str(root)}
    ran = subprocess.run(
        [sys.executable, "-m", "qdkit", *words],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert ran.returncode == 0, ran.stderr
    assert (
        "qdkit: 1 elite lies below the floor, 0" in ran.stderr
        and "SearchWarning" not in ran.stderr
    )

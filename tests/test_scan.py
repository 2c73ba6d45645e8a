"""The compiled loop: it is the plain loop, goes on where it stopped, and says what it cannot
compile.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import jax
import numpy as np
import pytest

from qdkit import Budget, Search, metrics, viz
from qdkit.archives import DeepGrid, Grid, Islands
from qdkit.cli.commands import main
from qdkit.comparing.comparison import compare_runs
from qdkit.core.elites import double
from qdkit.core.types import Evaluation
from qdkit.domains import Arm, Sphere, Words
from qdkit.operators import Evolution, Gaussian, GradientArborescence, IsoLine, Rewrite
from qdkit.runs.compiled_state import STATE_FILE
from qdkit.runs.ledger import Ledger
from qdkit.runs.run import load
from qdkit.search.compiled import CompiledSearch
from qdkit.search.compiled_step import CompiledLoop, pure
from qdkit.search.stopping import Coverage
from tests.worlds import Points, compiled_search_of, search_of

SPHERE = Sphere(6)
GRID = Grid((8, 8), SPHERE.bounds)
OPERATORS = {
    "gaussian": lambda: Gaussian(0.5),
    "line": lambda: IsoLine(0.5, 0.2),
    "cma-me": lambda: Evolution(emitters=3, batch=8, ranker="2rd", bounds=SPHERE.bounds),
    "cma-mega": lambda: GradientArborescence(SPHERE, emitters=3, batch=8),
}
EVOLUTION = "operators.evolution.emitters", "operators.evolution.gradient_arborescence"
every_operator = pytest.mark.parametrize("name", OPERATORS)


def scan(name="line", **settings):
    return compiled_search_of(SPHERE, GRID, OPERATORS[name](), **{"batch": 24} | settings)


def history(search):
    """As the search says it, but for the clocks."""
    return {
        name: column for name, column in search.history.items() if name not in ("seconds", "cpu")
    }


def same(a, b):
    return all(
        np.array_equal(x, y, equal_nan=True)
        for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True)
    )


@every_operator
def test_the_compiled_loop_equals_its_single_steps(name):
    """Six steps one by one come to the same elites but for rounding."""
    compiled = scan(name)
    step, state = (
        jax.jit(CompiledLoop(SPHERE, GRID, pure(OPERATORS[name](), 24), 0.0).step),
        compiled._state,
    )
    for _ in range(6):
        state = step(compiled._root, state)
    compiled.run(6, progress=False)
    np.testing.assert_array_equal(compiled.elites.occupied, state.elites.occupied)
    np.testing.assert_allclose(compiled.elites.objective, state.elites.objective, rtol=1e-4)


def test_an_operator_learns_the_same_in_one_program_and_in_two():
    """Fused with what made it, a value was computed twice and rounded in two ways: a candidate
    ranked behind itself.
    """

    class Heard(GradientArborescence):
        def tell(self, *heard):
            return heard

    operator, spy = (kind(SPHERE, emitters=3, batch=17) for kind in (GradientArborescence, Heard))
    search = CompiledSearch(SPHERE, GRID, operator, batch=operator.size)
    step, hear = (jax.jit(CompiledLoop(SPHERE, GRID, each, 0.0).step) for each in (operator, spy))
    tell, state = jax.jit(operator.tell), search._state
    for _ in range(4):
        apart = tell(*hear(search._root, state).operator)
        state = step(search._root, state)
        for one, other in zip(*map(jax.tree.leaves, (state.operator, apart)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


@every_operator
def test_a_resumed_run_equals_an_uninterrupted_one(name, tmp_path):
    """In two sittings, through the disk, and in one: elites, operator, counts and history, bit for
    bit.
    """
    whole = scan(name).run(9, progress=False)
    scan(name, run=tmp_path).run(4, progress=False).close()
    gone_on = scan(name, run=tmp_path, resume=True).run(5, progress=False)
    assert same(whole._state, gone_on._state) and same(history(whole), history(gone_on))
    gone_on.close()
    read = scan(name, run=tmp_path, resume=True)
    assert same(whole._state, read._state) and same(history(whole), history(read))
    assert read.commits == gone_on.commits and read.commits[-1].seconds > 0


def test_a_caller_can_stop_between_two_chunks(tmp_path):
    """Left after the first hundred of 250 steps, and gone on with, it is the same run."""
    whole = scan().run(250, progress=False)
    with scan(run=tmp_path) as stopped:
        assert len(next(stopped.steps(250))) == 0 and len(stopped.commits) == 101
    assert same(whole._state, scan(run=tmp_path, resume=True).run(150, progress=False)._state)


def test_a_half_written_snapshot_does_no_harm(tmp_path):
    """What a killed process left beside the last whole one is written over."""
    scan(run=tmp_path).run(3, progress=False).close()
    (tmp_path / f"{STATE_FILE}.part").write_bytes(b"PK half")
    gone_on = scan(run=tmp_path, resume=True).run(3, progress=False)
    assert same(scan().run(6, progress=False)._state, gone_on._state)
    assert not [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")]


def test_it_compiles_once_whatever_the_number_of_steps():
    """One, seven and 120 steps share a compilation."""
    search = scan()
    for n in (1, 7, 120):
        search.run(n, progress=False)
    assert search._advance._cache_size() == 1


@every_operator
def test_making_one_compiles_a_handful_of_programs(name, caplog):
    """Up to its first step; each operation outside of a compiled function would be one more."""
    jax.clear_caches()
    with jax.log_compiles(), caplog.at_level("WARNING"):
        scan(name).run(1, progress=False)
    compiled = [record.message for record in caplog.records if "Compiling" in record.message]
    assert 4 <= len(compiled) <= 12, (
        compiled
    )  # the first keys, the seeds, the beginning and the loop; and what is tiny


@every_operator
def test_a_run_with_the_default_keys_of_jax_is_the_same(name, monkeypatch):
    """But for rounding, where a compiler fuses otherwise: `fast_key` changes how soon numbers are
    made, not which.
    """
    ours = scan(name).run(6, progress=False)
    asked = []
    for room in (
        "search.compiled",
        "search.compiled_step",
        "operators.gaussian",
        "operators.iso_line",
        *EVOLUTION,
    ):
        monkeypatch.setattr(
            f"qdkit.{room}.fast_key", lambda key, room=room: asked.append(room) or key
        )
    jax.clear_caches()
    theirs = scan(name).run(6, progress=False)
    assert len({*asked}) >= 3  # the keys of the run, of its steps, and of the operator
    np.testing.assert_array_equal(ours.elites.occupied, theirs.elites.occupied)
    np.testing.assert_allclose(ours.elites.objective, theirs.elites.objective, rtol=1e-4)


def test_parts_of_users_get_the_default_keys_of_jax():
    """Of which some of `jax.random` asks for its own kind, and which meet other keys."""

    class Seeded(Sphere):
        def seeds(self, key, n):
            both = jax.numpy.stack([key, jax.random.key(0)])
            return 0.1 * jax.random.poisson(both[0], 2.0, (n, 6)).astype(float)

    class Jumps(Gaussian):
        def vary(self, key, parents):
            return parents + 0.1 * jax.random.poisson(key, 1.0, parents.shape)

    search = Search.compiled(Seeded(6), GRID, Jumps(0.5), batch=24).run(3, progress=False)
    assert search.elites.occupied.any()


@pytest.mark.parametrize("seed", [0, 7])
def test_equal_seeds_give_equal_runs_and_others_do_not(seed):
    """Bit for bit."""
    runs = [scan(seed=s).run(5, progress=False) for s in (seed, seed, seed + 1)]
    assert same(runs[0]._state, runs[1]._state) and not same(runs[0].elites, runs[2].elites)


def test_the_history_has_the_progress_after_each_step():
    """Its last row is what the elites say, nothing of it falls, and there is a row for each
    step.
    """
    search = scan().run(130, progress=False)
    history, summary = search.history, search.summary()
    assert {len(column) for column in history.values()} == {131}
    assert history["evaluations"][-1] == summary["evaluations"] == 131 * 24
    assert history["coverage"][-1] == pytest.approx(metrics.coverage(search.elites))
    assert history["qd_score"][-1] == pytest.approx(metrics.qd_score(search.elites), rel=1e-5)
    assert history["best"][-1] == pytest.approx(metrics.best_objective(search.elites))
    assert all((np.diff(history[name]) >= 0).all() for name in ("coverage", "qd_score", "best"))


def test_every_elite_has_the_objective_of_its_genome():
    """Objective, descriptor and cell come out again from the genome that is kept."""
    elites = scan("cma-me").run(20, progress=False).elites
    cells = np.flatnonzero(elites.occupied)
    found = SPHERE.evaluate(elites.payload["genome"][cells])
    np.testing.assert_allclose(found.objective, elites.objective[cells], rtol=1e-4)
    np.testing.assert_allclose(found.descriptor, elites.descriptor[cells], rtol=1e-4, atol=1e-4)
    assert np.asarray(GRID.cell(elites.descriptor[cells])).tolist() == cells.tolist()


@pytest.mark.parametrize("outside", ["clip", "reject"])
def test_what_lies_outside_is_counted(outside):
    """In a box of half the width, the one way or the other."""
    box = tuple((low / 8, high / 8) for low, high in SPHERE.bounds)
    search = CompiledSearch(SPHERE, Grid((8, 8), box, outside), Gaussian(0.5), batch=24).run(
        30, progress=False
    )
    counted, other = ("clipped", "refused") if outside == "clip" else ("refused", "clipped")
    assert search.history[counted][-1] == search.summary()[counted] > 0
    assert search.summary()[other] == 0


def test_candidates_that_fail_do_not_enter():
    """Nan for an objective or a descriptor, in half of all: the others are searched as ever."""

    @dataclass(frozen=True)
    class Holes(Sphere):
        def evaluate(self, genomes):
            found = super().evaluate(genomes)
            objective = jax.numpy.where(genomes[:, 0] > 0, jax.numpy.nan, found.objective)
            descriptor = jax.numpy.where(genomes[:, 1:2] > 1, jax.numpy.nan, found.descriptor)
            return Evaluation(objective, descriptor)

    search = CompiledSearch(Holes(6), GRID, Evolution(emitters=2, batch=12)).run(
        30, progress=False
    )
    genomes = search.elites.payload["genome"][search.elites.occupied]
    assert (genomes[:, 0] <= 0).all() and (genomes[:, 1] <= 1).all()
    assert search.summary()["coverage"] > 0.1


def test_within_double_it_computes_in_float64():
    """Elites and metrics, where the domain's seeds are float64."""
    with double():
        search = CompiledSearch(Points(), Grid((8, 8), Points.bounds), IsoLine(0.1), batch=24).run(
            5, progress=False
        )
    assert search.elites.objective.dtype == search.elites.payload["genome"].dtype == np.float64


def test_fewer_seeds_than_a_batch_count_as_what_they_are():
    """Five seeds and three steps of 24."""

    @dataclass(frozen=True)
    class Few(Sphere):
        def seeds(self, key, n):
            return super().seeds(key, 5)

    search = CompiledSearch(Few(6), GRID, IsoLine(0.5), batch=24).run(3, progress=False)
    assert (
        search.history["evaluations"].tolist() == [5, 29, 53, 77]
        and search.summary()["evaluations"] == 77
    )


def test_it_can_be_read_like_a_search():
    """A map, its curves and a histogram."""
    search = scan().run(5, progress=False)
    viz.heatmap(search), viz.progress(search), viz.histogram(search), viz.overview(search)
    best, pool, frame = search.best, search.pool, search.elites_frame()
    assert best.objective == search.summary()["best_objective"] == frame["objective"].max()
    assert len(pool) == len(frame) == search.summary()["occupied"] and best.origin == "line"
    np.testing.assert_array_equal(search.genome(best.id), best.genome)
    with pytest.raises(KeyError, match="no elite in the slot"):
        search.genome(-1)
    assert search.diversity().n == len(pool) and len(search.candidates_frame()) == 0


def test_its_bar_shows_the_progress(capsys):
    """To the end."""
    scan().run(3)
    assert "coverage" in capsys.readouterr().err


def test_the_limits_of_a_domain_hold():
    """Every joint of an arm stays within a turn."""
    arm = Arm(5)
    for operator in (
        IsoLine(0.5, limits=arm.limits),
        Evolution(2.0, emitters=2, batch=12, limits=arm.limits),
    ):
        search = CompiledSearch(arm, Grid((9, 9), arm.bounds), operator, batch=24).run(
            20, progress=False
        )
        assert np.abs(search.elites.payload["genome"][search.elites.occupied]).max() <= np.float32(
            np.pi
        )


class Numpy(Sphere):
    def evaluate(self, genomes):
        return Evaluation(np.asarray(genomes).sum(1), np.asarray(genomes)[:, :2])


class Silent(Sphere):
    def evaluate(self, genomes):
        return replace(super().evaluate(genomes), objective=None)


class Nowhere(Sphere):
    def evaluate(self, genomes):
        return replace(super().evaluate(genomes), objective=genomes[:, 0] * np.nan)


@pytest.mark.parametrize(
    "domain, operator, settings, error, sentence",
    [
        (Numpy(6), IsoLine(), {}, TypeError, "evaluate leaves jax.*search with qdkit.Search"),
        (Words(), IsoLine(), {}, TypeError, "searches arrays of numbers, and Words.* gave a list"),
        (Silent(6), IsoLine(), {}, ValueError, "both an objective and a descriptor"),
        (Nowhere(6), IsoLine(), {}, RuntimeError, "no seed could enter"),
        (
            SPHERE,
            Rewrite(str, "{genome}"),
            {},
            TypeError,
            "'rewrite' cannot be compiled: it has no vary",
        ),
        (SPHERE, Evolution(), {"batch": 64}, ValueError, "makes 540 candidates a step, not 64"),
    ],
    ids=["numpy", "words", "silent", "nowhere", "rewrite", "batch"],
)
def test_what_cannot_be_compiled_is_refused(domain, operator, settings, error, sentence):
    """At the door, with a sentence that says what is needed."""
    with pytest.raises(error, match=sentence):
        compiled_search_of(domain, GRID, operator, **settings)


def test_a_number_of_steps_is_whole_and_positive():
    """Anything else is refused."""
    for n in (0, -1, 2.5):
        with pytest.raises(ValueError, match="a whole number of steps from 1"):
            scan().run(n, progress=False)


def test_runs_are_neither_overwritten_nor_mixed(tmp_path):
    """A folder with a run is not begun anew, one without is not resumed, nor with other parts, nor
    when damaged.
    """
    with (
        scan(run=tmp_path / "a"),
        pytest.raises(FileExistsError, match="holds a run already: go on with it"),
    ):
        scan(run=tmp_path / "a")
    with pytest.raises(FileNotFoundError, match="holds no run"):
        scan(run=tmp_path / "b", resume=True)
    with pytest.raises(ValueError, match="has seed = 0, and this search 1"):
        scan(run=tmp_path / "a", resume=True, seed=1)
    with pytest.raises(ValueError, match="has compiled = line, and this search gaussian"):
        scan("gaussian", run=tmp_path / "a", resume=True)
    whole = (tmp_path / "a" / STATE_FILE).read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"nonsense"):
        (tmp_path / "a" / STATE_FILE).write_bytes(damaged)
        with pytest.raises(RuntimeError, match="cannot be read as the state of a search"):
            scan(run=tmp_path / "a", resume=True)
    (tmp_path / "a" / STATE_FILE).write_bytes(whole)
    kept = dict(np.load(tmp_path / "a" / STATE_FILE))
    np.savez(
        tmp_path / "a" / STATE_FILE,
        **{name: x for name, x in kept.items() if name != ".elites.objective"},
    )
    for read in (lambda: scan(run=tmp_path / "a", resume=True), lambda: load(tmp_path / "a")):
        with pytest.raises(RuntimeError, match="as the state of a search: it has no"):
            read()


def test_islands_are_refused_and_a_deep_cell_counts_once():
    """What the loop cannot do is a sentence, and coverage is that of cells."""
    domain = Sphere(4)
    with pytest.raises(TypeError, match="one archive, not 3 islands"):
        CompiledSearch(
            domain, Islands(Grid((5, 5), domain.bounds), 3), IsoLine(0.5, 0.2), batch=16
        )
    scan = CompiledSearch(
        domain, DeepGrid(Grid((5, 5), domain.bounds), 3), IsoLine(0.5, 0.2), batch=16
    ).run(5, progress=False)
    assert scan.history["coverage"][-1] == pytest.approx(scan.summary()["coverage"])
    assert scan.history["qd_score"][-1] == pytest.approx(scan.summary()["qd_score"], rel=1e-5)


def test_search_compiled_makes_a_compiled_search():
    """`Search.compiled(...)` is the compiled search, with the same numbers as by its own name."""
    search = Search.compiled(SPHERE, GRID, IsoLine(0.5, 0.2), batch=24, seed=0).run(
        4, progress=False
    )
    assert isinstance(search, CompiledSearch) and same(
        search._state, scan().run(4, progress=False)._state
    )


@pytest.mark.parametrize(
    "settings, part",
    [
        ({"judge": lambda key, batch: batch.objective}, "judge"),
        ({"in_flight": 4}, "in_flight"),
        ({"novelty": lambda batch, known: batch.ok}, "novelty"),
        ({"lessons": object()}, "lessons"),
    ],
    ids=["judge", "in_flight", "novelty", "lessons"],
)
def test_what_a_compiled_loop_cannot_call_is_refused(settings, part):
    """A judge, novelty, lessons, several steps at once: in a sentence that names it."""
    with pytest.raises(TypeError, match=f"no argument {part!r}: .*leave it out"):
        search_of(SPHERE, GRID, IsoLine(0.5), compiled=True, **settings)


def test_a_budget_and_a_rule_stop_it():
    """Evaluations are never passed; a rule stops it within a few steps, and both say why."""
    search = scan(budget=Budget(evaluations=1000)).run(progress=False)
    assert (
        search.commits[-1].evaluations == 984
        and search.stopped == "984 of 1,000 evaluations are used"
    )
    search = scan().run(until=Coverage(0.2), progress=False)
    assert search.commits[-1].coverage >= 0.2 and "were wanted" in search.stopped
    assert len(search.commits) <= 1 + 100
    with pytest.raises(ValueError, match="say how many steps"):
        scan().run(progress=False)
    assert scan(budget=Budget(seconds=1e-9)).run(5, progress=False).stopped


def test_a_run_on_disk_is_the_search(tmp_path):
    """Loaded, it has the history, the summary, the elites and the genomes of the search, and can
    be drawn.
    """
    with scan("cma-me", run=tmp_path).run(120, progress=False) as search:
        seen, summary = load(tmp_path), search.summary()
    assert seen.commits == search.commits and len(seen.commits) == 121
    assert str(seen.summary()) == str(summary)
    assert same(seen.elites, search.elites) and seen.best.origin == "cma-me"
    viz.overview(seen)
    other = load(tmp_path)
    assert compare_runs([seen, other]).groups[0].seeds == (0, 0)


def test_deep_cells_come_back_as_deep(tmp_path):
    """The number of places a cell has is known to who loads the run."""
    archive = DeepGrid(GRID, 3)
    with CompiledSearch(SPHERE, archive, IsoLine(0.5, 0.2), batch=24, folder=tmp_path).run(
        5, progress=False
    ) as search:
        assert str(load(tmp_path).summary()) == str(search.summary())


def test_one_process_at_a_time_writes_to_a_run(tmp_path):
    """A second search of the same folder is refused while the first has it."""
    with scan(run=tmp_path), pytest.raises(BlockingIOError):
        scan(run=tmp_path, resume=True)


@pytest.mark.parametrize("killed", ["before the ledger", "before the state"])
def test_killed_between_state_and_ledger_it_goes_on_from_the_state(tmp_path, monkeypatch, killed):
    """The state is written first and tells the ledger what it missed.

    A state that was not written has not happened.
    """
    whole = scan().run(9, progress=False)
    search = scan(run=tmp_path).run(4, progress=False)
    part = {"before the ledger": (Ledger, "stood"), "before the state": (os, "fsync")}[killed]

    def die(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(*part, die)
    with pytest.raises(KeyboardInterrupt):
        search.run(5, progress=False)
    monkeypatch.undo()
    search.close()
    gone_on = scan(run=tmp_path, resume=True)
    left = 10 - len(gone_on.commits)
    assert left == (0 if killed == "before the ledger" else 5)
    if left:
        gone_on.run(left, progress=False)
    assert same(whole._state, gone_on._state) and same(history(whole), history(gone_on))
    gone_on.close()
    assert same(history(load(tmp_path)), history(whole))


def test_on_the_command_line(tmp_path, capsys):
    """`qdkit run --compiled` keeps a run that `show` and `resume` know, though none of its
    candidates has a row.
    """
    folder = str(tmp_path / "run")

    def command(*words):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert not end.value.code

    command(
        "run", "sphere", "--compiled", "--evaluations", "3000", "--batch", "500", "--out", folder
    )
    assert load(folder).summary()["evaluations"] == 3000
    command("show", folder)
    assert "3,000" in capsys.readouterr().out
    command("resume", folder, "--evaluations", "5000")
    assert load(folder).summary()["evaluations"] == 5000


def test_a_closed_compiled_run_says_how_it_goes_on(tmp_path):
    """By the call that can go on with it, and not by that of other searches."""
    domain = Sphere(4)
    parts = domain, Grid((4, 4), domain.bounds), Gaussian(0.5)
    with Search.compiled(*parts, batch=8, folder=tmp_path / "run") as search:
        search.run(2, progress=False)
    with pytest.raises(RuntimeError, match=r"again, CompiledSearch\.resume\("):
        search.run(1, progress=False)

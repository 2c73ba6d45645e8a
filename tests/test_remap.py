"""Axes that learn during a search: no candidate is lost, elites follow the axes, runs resume."""

import json
from typing import Any, NamedTuple

import numpy as np
import pytest

import qdkit
from qdkit.archives import CVT, Grid, Islands, Thresholds
from qdkit.axes import Fit, PrincipalAxes, TaxonsAxes, TripletAxes, TripletQuestions
from qdkit.core.record import Cost, current
from qdkit.domains.arm import PosedArm
from qdkit.operators import Gaussian
from qdkit.search.relearning import versions
from qdkit.testing import Person
from tests.worlds import Chatter, Texts, brute_force, search_of

ARM, UNIT = PosedArm(4), ((0.0, 1.0), (0.0, 1.0))
PERSON = Person(ARM.tip, flips=0.1)
QUICK = Fit(steps=20)


class Row(NamedTuple):
    number: int
    question: str
    ids: tuple[int, ...]
    answer: Any
    rater: str = "ann"


class Store:
    """A store of judgements like that of the page: rows are added during the search."""

    def __init__(self):
        self.rows = []

    def add(self, n, seed):
        random = np.random.default_rng(seed)
        for _ in range(n):
            ids = tuple(random.choice(30, 3, replace=False).tolist())
            self.rows.append(
                Row(len(self.rows) + 1, "triplet", ids, [1, 2, None][random.integers(3)])
            )

    def since(self, number):
        return [row for row in self.rows if row.number > number]


def triplet_questions(**settings):
    answer = lambda question, batch, number: PERSON(question, batch.features, number)
    return TripletQuestions(answer, **{"n": 12, "at": (1, 4, 7), "rounds": 2} | settings)


def search(**settings):
    """Returns a search of arms with small batches that asks a simulated person."""
    usual = {
        "axes": TripletAxes(each=5, fit=QUICK),
        "replies": triplet_questions(),
        "batch": 16,
        "seed": 2,
    }
    return search_of(ARM, Grid((6, 6), UNIT), Gaussian(0.2), **usual | settings)


def ok_candidates(search):
    """Returns every ok candidate of the run, with descriptors by the current axes."""
    batches = [batch for batch in search.ledger.batches() if batch.ok.any()]
    return [batch.replace(descriptor=search.axes(batch)) for batch in batches]


def elites_of(search):
    """Returns cell -> (objective, id) of the elites."""
    elites = search.elites
    return {
        int(cell): (float(elites.objective[cell]), int(elites.payload["id"][cell]))
        for cell in np.flatnonzero(elites.occupied)
    }


@pytest.mark.parametrize("archive", [Grid((6, 6), UNIT), CVT.spread(20, UNIT)])
@pytest.mark.parametrize(
    "axes",
    [TripletAxes(each=5, fit=QUICK), PrincipalAxes(at=(1, 3, 5)), TaxonsAxes(chunk=2, epochs=5)],
)
def test_every_candidate_is_inserted_again(archive, axes):
    """The elites are the best of all candidates of the run, by the current axes."""
    run = qdkit.Search(
        ARM, archive, Gaussian(0.2), axes=axes, replies=triplet_questions(), batch=16, seed=2
    )
    for _ in run.steps(9):
        pass
    assert run.axes is not axes
    assert elites_of(run) == brute_force(ok_candidates(run), archive)


@pytest.mark.parametrize("seed", range(3))
def test_elites_are_where_the_axes_say(seed):
    """Each is in the cell of its descriptor by the current axes, with its own genome."""
    run = search(seed=seed)
    for _ in run.steps(8):
        elites, pool = run.elites, run.pool
        cells = np.flatnonzero(elites.occupied)
        np.testing.assert_array_equal(
            np.asarray(run.archive.cell(elites.descriptor[cells])), cells
        )
        np.testing.assert_allclose(run.axes(pool), pool.descriptor, atol=1e-12)
        np.testing.assert_array_equal(elites.payload["genome"][cells], pool.genome)


def test_a_second_remap_changes_nothing():
    """Axes without new learning leave every elite in its cell."""

    class Restless(TripletAxes):
        def learn(self, key, known, replies):
            learnt = super().learn(key, known, replies)
            return (
                learnt if learnt is not self else self.with_plain(self.plain) if self.at else self
            )

    calm, restless = (
        qdkit.Search(
            ARM,
            Grid((6, 6), UNIT),
            Gaussian(0.2),
            axes=kind(each=5, fit=QUICK),
            replies=triplet_questions(),
            batch=16,
        )
        for kind in (TripletAxes, Restless)
    )
    for run in (calm, restless):
        run.run(8, progress=False)
    assert elites_of(calm) == elites_of(restless)
    assert len(restless.ledger.events()) > len(calm.ledger.events())


def test_each_descriptor_has_a_version_and_older_axes_are_stored():
    """The axes of an event give the descriptors of the candidates after it."""
    run = search()
    run.run(9, progress=False)
    version = versions(run.ledger)
    axes_of = {
        value["version"]: value["axes"] for _, kind, value in run.ledger.events() if kind == "axes"
    }
    assert sorted(axes_of) == list(range(1, run._loop.learning.version + 1)) and len(axes_of) > 3
    assert len(version) == 9 * 16 and (np.diff(version) >= 0).all()
    for batch in run.ledger.batches():
        [number] = np.unique(version[batch.id])
        axes = TripletAxes().with_plain(axes_of[number]) if number else TripletAxes()
        np.testing.assert_allclose(axes(batch), batch.descriptor, atol=1e-12)


def test_the_children_of_an_elite_are_counted_wherever_it_moves():
    """Counts go with the elite to its new cell."""
    run = search(axes=PrincipalAxes(at=(1, 5)), replies=None)
    run.run(4, progress=False)
    choosing, before = run._loop.selector, run.elites
    counts = dict(zip(before.payload["id"].tolist(), choosing._children.tolist(), strict=True))
    run.run(1, progress=False)
    now = run.elites.payload["id"]
    staying = [i for i in now.tolist() if i >= 0 and counts.get(i)]
    assert staying
    for cell in np.flatnonzero(np.isin(now, staying)):
        assert choosing._children[cell] >= counts[int(now[cell])] or choosing._children[cell] == 0


@pytest.mark.parametrize("stop", range(1, 9))
@pytest.mark.parametrize("axes", [TripletAxes(each=5, fit=QUICK), TaxonsAxes(chunk=2, epochs=5)])
def test_a_resumed_run_equals_an_uninterrupted_one(stop, axes, run_folder):
    """It may stop at any commit, also between a commit and the learning from it.

    No question is repeated.
    """
    whole = search(axes=axes, run=run_folder / "whole")
    whole.run(9, progress=False)
    part = search(axes=axes, run=run_folder / "part")
    if stop % 2:
        part.run(stop, progress=False)
    else:  # killed after the commit and before the axes learn
        part._loop.learning.after = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            part.run(1, progress=False)
    part.close()
    part = search(axes=axes, run=run_folder / "part", resume=True)
    part.run(9 - len(part.commits), progress=False)
    assert part.ledger.dump() == whole.ledger.dump()
    assert elites_of(part) == elites_of(whole)
    for run in (part, whole):
        run.close()


@pytest.mark.parametrize("stop", [2, 5, 6])
def test_answers_from_outside_are_read_at_the_same_commits_after_a_resume(stop, run_folder):
    """With answers added at some commits, a resumed run equals an uninterrupted one."""

    def steps(name, store, n, resume=False):
        run = search(replies=store, run=run_folder / name, resume=resume)
        for _ in run.steps(n):
            if len(run.commits) in (1, 4, 5):
                store.add(9, len(run.commits))
        run.close()
        return run

    one, other = Store(), Store()
    steps("whole", one, 9)
    steps("part", other, stop)
    part = steps("part", other, 9 - stop, resume=True)
    assert other.rows == one.rows
    runs = [qdkit.load(run_folder / name) for name in ("whole", "part")]
    assert runs[0].ledger.dump() == runs[1].ledger.dump()
    drained = [
        (after, value["last"])
        for after, kind, value in runs[1].ledger.events()
        if kind == "replies"
    ]
    assert drained == [(2, 9), (5, 18), (6, 27)]  # before the commit that follows
    assert elites_of(runs[0]) == elites_of(runs[1]) == elites_of(part)


def test_missing_answers_of_a_run_are_refused(run_folder):
    """A run cannot be resumed if its judgements are gone."""
    store = Store()
    store.add(9, 1)
    search(replies=store, run=run_folder).run(2, progress=False).close()
    with pytest.raises(
        RuntimeError, match=r"judgements up to number 9 .* the store does not have them"
    ):
        search(replies=Store(), run=run_folder, resume=True)


def test_a_view_of_a_run_equals_the_search(run_folder):
    """It has the same elites in the same cells, without the code of the axes."""
    run = search(run=run_folder)
    run.run(8, progress=False)  # the last learning is two steps back
    view = qdkit.load(run_folder)
    for column in ("objective", "descriptor"):
        np.testing.assert_array_equal(getattr(view.elites, column), getattr(run.elites, column))
    np.testing.assert_array_equal(view.elites.payload["id"], run.elites.payload["id"])
    np.testing.assert_array_equal(view.pool.descriptor, run.pool.descriptor)
    run.close()


def test_texts_are_relearnt_and_parents_have_current_descriptors():
    """Genomes that are no numbers come from the ledger, with descriptors by the current axes."""
    descriptors = []

    class Watching(Chatter):
        def propose(self, key, context, n):
            descriptors.append(context.parents.descriptor)
            return super().propose(key, context, n)

    run = qdkit.Search(
        Texts(), Grid((5, 5), UNIT), Watching(), axes=PrincipalAxes(at=(3, 8)), batch=2, seed=1
    )
    for _ in run.steps(12):
        assert elites_of(run) == brute_force(ok_candidates(run), run.archive)
    late = descriptors[-1]
    assert not np.allclose(late, 0.5) and (late >= -1e-9).all() and (late <= 1 + 1e-9).all()


def test_answers_of_a_model_are_recorded(run_folder):
    """Its answers are in the ledger, with those of the task; a resumed run does not ask again."""
    numbers = []

    def model(question, batch, number):
        request = {"question": question, "ids": batch.id.tolist(), "number": number}
        record = current()
        if (known := record.recall(request)) is not None:
            return known["answer"]
        numbers.append(number)
        with record.reserve(Cost()) as spend:
            spend(Cost(dollars=0.0))
            record.keep(request, {"answer": 1 + number % 2})
        return 1 + number % 2

    make = lambda **more: search(
        replies=TripletQuestions(model, n=4, at=(1, 3)), run=run_folder, **more
    )
    first = make()
    first.run(3, progress=False)
    dump = first.ledger.dump()
    first.close()
    assert numbers == [1, 2, 3, 4, 5, 6, 7, 8]
    again = make(resume=True)
    assert again.ledger.dump() == dump and len(numbers) == 8
    assert [(task, answer["answer"]) for task, _, _, answer in again.ledger.answers()] == [
        (task, 1 + number % 2) for task, number in zip([0] * 4 + [2] * 4, range(1, 9), strict=True)
    ]
    again.close()


def test_skips_and_missing_answers_are_accepted():
    """After skips alone the search goes on by principal components."""
    run = search(replies=TripletQuestions(lambda *_: None, n=5, at=(1, 3)))
    run.run(5, progress=False)
    assert run.axes.heard == 0 and len(run._loop.learning.replies) == 10
    assert search(replies=None).run(3, progress=False).elites.occupied.sum() > 1


def test_events_are_plain_json():
    """Parameters and places can be read without this package."""
    run = search()
    run.run(3, progress=False)
    for _, kind, value in run.ledger.events():
        assert json.loads(json.dumps(value, allow_nan=False)) == value, kind


def test_archives_that_cannot_be_filled_again_are_refused():
    """These are islands, and archives with a rule of their own."""
    for archive in (Islands(Grid((3, 3), UNIT), 2), Thresholds(Grid((3, 3), UNIT), 0.1)):
        with pytest.raises(ValueError, match="the best of a cell stays"):
            qdkit.Search(ARM, archive, Gaussian(0.1), axes=TripletAxes(), batch=8)


def test_settings_that_do_not_fit_together_are_refused():
    """Such as replies for axes that do not learn, and cells outside the unit box."""
    with pytest.raises(ValueError, match="axes that learn"):
        qdkit.Search(
            Texts(), Grid((3, 3), Texts.bounds), Chatter(), batch=1, replies=triplet_questions()
        )
    with pytest.raises(ValueError, match="unit box"):
        qdkit.Search(
            ARM,
            Grid((3, 3), ((-10.0, 10.0), (-10.0, 10.0))),
            Gaussian(0.1),
            axes=TripletAxes(),
            batch=8,
        )


def test_long_runs_compile_a_few_sizes_only():
    """The table doubles, so few programs fill the archive again."""
    from qdkit.core.elites import _update

    before = _update._cache_size()
    run = search(axes=PrincipalAxes(at=range(1, 30)), replies=None)
    run.run(30, progress=False)
    assert _update._cache_size() - before <= 1

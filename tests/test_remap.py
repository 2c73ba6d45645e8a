"""Axes that learn during a search: nobody is lost, everybody is where the axes say, and a stopped run is the same."""

import json
from typing import Any, NamedTuple

import numpy as np
import pytest

import qdkit
from qdkit.archives import CVT, Grid, Islands, Soft
from qdkit.axes import Asking, Fit, Principal, Taught, Taxons
from qdkit.domains.arm import PosedArm
from qdkit.operators import Gaussian
from qdkit.record import Cost, current
from qdkit.remap import versions
from qdkit.testing import Person
from tests.worlds import Chatter, Texts, brute_force

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
    """Judgements as the page keeps them: rows that somebody adds meanwhile."""

    def __init__(self):
        self.rows = []

    def add(self, n, seed):
        random = np.random.default_rng(seed)
        for _ in range(n):
            ids = tuple(random.choice(30, 3, replace=False).tolist())
            self.rows.append(Row(len(self.rows) + 1, "triplet", ids, [1, 2, None][random.integers(3)]))

    def since(self, number):
        return [row for row in self.rows if row.number > number]


def asking(**settings):
    answer = lambda question, batch, number: PERSON(question, batch.features, number)
    return Asking(answer, **{"n": 12, "at": (1, 4, 7), "rounds": 2} | settings)


def search(**settings):
    """A search of arms that asks a simulated person, of small batches."""
    usual = {"axes": Taught(each=5, fit=QUICK), "replies": asking(), "batch": 16, "seed": 2}
    return qdkit.Search(ARM, Grid((6, 6), UNIT), Gaussian(0.2), **usual | settings)


def everybody(search):
    """Every ok candidate of the run, described by the axes as they are now."""
    batches = [batch for batch in search.ledger.batches() if batch.ok.any()]
    return [batch.replace(descriptor=search.axes(batch)) for batch in batches]


def holders(search):
    """cell -> (objective, id) of the elites."""
    elites = search.elites
    return {
        int(cell): (float(elites.objective[cell]), int(elites.payload["id"][cell]))
        for cell in np.flatnonzero(elites.occupied)
    }


@pytest.mark.parametrize("archive", [Grid((6, 6), UNIT), CVT.spread(20, UNIT)])
@pytest.mark.parametrize("axes", [Taught(each=5, fit=QUICK), Principal(at=(1, 3, 5)), Taxons(chunk=2, epochs=5)])
def test_every_candidate_is_inserted_anew(archive, axes):
    """After each step the elites are the best of all candidates of the run, by the axes as they are then."""
    run = qdkit.Search(ARM, archive, Gaussian(0.2), axes=axes, replies=asking(), batch=16, seed=2)
    for _ in run.steps(9):
        pass
    assert run.axes is not axes
    assert holders(run) == brute_force(everybody(run), archive)


@pytest.mark.parametrize("seed", range(3))
def test_elites_are_where_the_axes_say(seed):
    """In the cell of their descriptor, which is the one that the axes give them, with their own genome."""
    run = search(seed=seed)
    for _ in run.steps(8):
        elites, pool = run.elites, run.pool
        cells = np.flatnonzero(elites.occupied)
        np.testing.assert_array_equal(np.asarray(run.archive.cell(elites.descriptor[cells])), cells)
        np.testing.assert_allclose(run.axes(pool), pool.descriptor, atol=1e-12)
        np.testing.assert_array_equal(elites.payload["genome"][cells], pool.genome)


def test_a_second_remap_changes_nothing():
    """Axes that learnt nothing new leave every elite where it is."""

    class Restless(Taught):
        def learn(self, key, known, replies):
            learnt = super().learn(key, known, replies)
            return learnt if learnt is not self else self.with_plain(self.plain) if self.at else self

    calm, restless = (
        qdkit.Search(ARM, Grid((6, 6), UNIT), Gaussian(0.2), axes=kind(each=5, fit=QUICK), replies=asking(), batch=16)
        for kind in (Taught, Restless)
    )
    for run in (calm, restless):
        run.run(8, progress=False)
    assert holders(calm) == holders(restless)
    assert len(restless.ledger.events()) > len(calm.ledger.events())


def test_the_version_of_each_descriptor_is_known_and_older_axes_are_kept():
    """The axes of an event give the descriptors that the candidates after it were written with."""
    run = search()
    run.run(9, progress=False)
    version = versions(run.ledger)
    told = {value["version"]: value["axes"] for _, kind, value in run.ledger.events() if kind == "axes"}
    assert sorted(told) == list(range(1, run._learning.version + 1)) and len(told) > 3
    assert len(version) == 9 * 16 and (np.diff(version) >= 0).all()
    for batch in run.ledger.batches():
        [number] = np.unique(version[batch.id])
        axes = Taught().with_plain(told[number]) if number else Taught()
        np.testing.assert_allclose(axes(batch), batch.descriptor, atol=1e-12)


def test_the_children_of_an_elite_are_counted_wherever_it_moves():
    """Counts go with the elite to its new cell."""
    run = search(axes=Principal(at=(1, 5)), replies=None)
    run.run(4, progress=False)
    choosing, before = run._choosing, run.elites
    counts = dict(zip(before.payload["id"].tolist(), choosing._children.tolist(), strict=True))
    run.run(1, progress=False)
    now = run.elites.payload["id"]
    kept = [i for i in now.tolist() if i >= 0 and counts.get(i)]
    assert kept
    for cell in np.flatnonzero(np.isin(now, kept)):
        assert choosing._children[cell] >= counts[int(now[cell])] or choosing._children[cell] == 0


@pytest.mark.parametrize("stop", range(1, 9))
@pytest.mark.parametrize("axes", [Taught(each=5, fit=QUICK), Taxons(chunk=2, epochs=5)])
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(stop, axes, run_folder):
    """At whatever commit, also between a commit and what is learnt from it; what was asked is not asked again."""
    whole = search(axes=axes, run=run_folder / "whole")
    whole.run(9, progress=False)
    part = search(axes=axes, run=run_folder / "part")
    if stop % 2:
        part.run(stop, progress=False)
    else:  # killed after the commit and before the axes learn
        part._learning.after = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            part.run(1, progress=False)
    part.close()
    part = search(axes=axes, run=run_folder / "part", resume=True)
    part.run(9 - len(part.commits), progress=False)
    assert part.ledger.dump() == whole.ledger.dump()
    assert holders(part) == holders(whole)
    for run in (part, whole):
        run.close()


@pytest.mark.parametrize("stop", [2, 5, 6])
def test_answers_that_come_meanwhile_are_drained_at_the_same_commits(stop, run_folder):
    """With answers coming at any commit, a run that was stopped is the one that was not."""

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
    drained = [(after, value["last"]) for after, kind, value in runs[1].ledger.events() if kind == "replies"]
    assert drained == [(2, 9), (5, 18), (6, 27)]  # before the commit that follows
    assert holders(runs[0]) == holders(runs[1]) == holders(part)


def test_answers_that_are_gone_are_missed(run_folder):
    """A run whose judgements were taken away does not go on without them."""
    store = Store()
    store.add(9, 1)
    search(replies=store, run=run_folder).run(2, progress=False).close()
    with pytest.raises(RuntimeError, match=r"answers up to number 9 .* are not there"):
        search(replies=Store(), run=run_folder, resume=True)


def test_a_run_on_disk_is_seen_as_the_search_sees_it(run_folder):
    """The same elites in the same cells, with the descriptors of the last axes, without the axes' own code."""
    run = search(run=run_folder)
    run.run(8, progress=False)  # the last learning is two steps back
    seen = qdkit.load(run_folder)
    for column in ("objective", "descriptor"):
        np.testing.assert_array_equal(getattr(seen.elites, column), getattr(run.elites, column))
    np.testing.assert_array_equal(seen.elites.payload["id"], run.elites.payload["id"])
    np.testing.assert_array_equal(seen.pool.descriptor, run.pool.descriptor)
    run.close()


def test_texts_learn_too_and_their_parents_lie_where_they_are_now():
    """Genomes that are no numbers are read from the ledger, with the descriptor of the axes as they are."""
    seen = []

    class Watching(Chatter):
        def propose(self, key, context, n):
            seen.append(context.parents.descriptor)
            return super().propose(key, context, n)

    run = qdkit.Search(Texts(), Grid((5, 5), UNIT), Watching(), axes=Principal(at=(3, 8)), batch=2, seed=1)
    for _ in run.steps(12):
        assert holders(run) == brute_force(everybody(run), run.archive)
    late = seen[-1]
    assert not np.allclose(late, 0.5) and (late >= -1e-9).all() and (late <= 1 + 1e-9).all()


def test_a_model_that_is_asked_is_recorded(run_folder):
    """Its answers are in the ledger as they come, beside those of the task; going on asks it nothing again."""
    asked = []

    def model(question, batch, number):
        request = {"question": question, "ids": batch.id.tolist(), "number": number}
        record = current()
        if (known := record.recall(request)) is not None:
            return known["answer"]
        asked.append(number)
        with record.reserve(Cost()) as spend:
            spend(Cost(dollars=0.0))
            record.keep(request, {"answer": 1 + number % 2})
        return 1 + number % 2

    make = lambda **more: search(replies=Asking(model, n=4, at=(1, 3)), run=run_folder, **more)
    first = make()
    first.run(3, progress=False)
    dump = first.ledger.dump()
    first.close()
    assert asked == [1, 2, 3, 4, 5, 6, 7, 8]
    again = make(resume=True)
    assert again.ledger.dump() == dump and len(asked) == 8
    assert [(task, answer["answer"]) for task, _, _, answer in again.ledger.answers()] == [
        (task, 1 + number % 2) for task, number in zip([0] * 4 + [2] * 4, range(1, 9), strict=True)
    ]
    again.close()


def test_skips_and_no_answers_at_all_go_through():
    """A person who always skips teaches nothing, and the search goes on by principal components."""
    run = search(replies=Asking(lambda *_: None, n=5, at=(1, 3)))
    run.run(5, progress=False)
    assert run.axes.heard == 0 and len(run._learning.replies) == 10
    assert search(replies=None).run(3, progress=False).elites.occupied.sum() > 1


def test_events_are_plain_json():
    """Parameters and places can be read by anyone."""
    run = search()
    run.run(3, progress=False)
    for _, kind, value in run.ledger.events():
        assert json.loads(json.dumps(value, allow_nan=False)) == value, kind


def test_what_cannot_be_filled_anew_is_refused():
    """Islands, and archives with a rule of their own."""
    for archive in (Islands(Grid((3, 3), UNIT), 2), Soft(Grid((3, 3), UNIT), 0.1)):
        with pytest.raises(ValueError, match="the best of a cell stays"):
            qdkit.Search(ARM, archive, Gaussian(0.1), axes=Taught(), batch=8)


def test_what_does_not_fit_together_is_refused():
    """Answers for axes that do not learn, and cells somewhere else than where the axes put candidates."""
    with pytest.raises(ValueError, match="axes that learn"):
        qdkit.Search(Texts(), Grid((3, 3), Texts.bounds), Chatter(), batch=1, replies=asking())
    with pytest.raises(ValueError, match="unit box"):
        qdkit.Search(ARM, Grid((3, 3), ((-10.0, 10.0), (-10.0, 10.0))), Gaussian(0.1), axes=Taught(), batch=8)


def test_long_runs_compile_no_more_than_they_grow():
    """The table doubles, so the archive is filled anew by few programs."""
    from qdkit.elites import _update

    before = _update._cache_size()
    run = search(axes=Principal(at=range(1, 30)), replies=None)
    run.run(30, progress=False)
    assert _update._cache_size() - before <= 1

"""The loop: what it keeps, what it repeats, and what it does with parts that fail."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

import qdkit
from qdkit.archives import Grid
from qdkit.core.types import NO_CANDIDATE

from .worlds import BOX, Chatter, Jitter, Points, Texts, brute_force, points, search_of, texts


def same(a, b):
    return jax.tree.all(jax.tree.map(lambda x, y: np.array_equal(x, y, equal_nan=True), a, b))


@pytest.mark.parametrize("make", [points, texts])
def test_the_elites_are_the_best_of_each_cell_of_all_candidates(make):
    """What the archive holds, and what every history says, equals a recount of every candidate."""
    search = make()
    batches = list(search.steps(25))
    expected = brute_force(batches, search.archive)
    elites = search.elites
    held = {
        int(c): (float(elites.objective[c]), int(elites.payload["id"][c]))
        for c in np.flatnonzero(elites.occupied)
    }
    assert held == expected
    history = search.history
    assert history["coverage"][-1] == len(expected) / search.archive.cells
    assert history["qd_score"][-1] == pytest.approx(
        sum(objective for objective, _ in expected.values())
    )
    assert (
        history["best"][-1]
        == max(objective for objective, _ in expected.values())
        == search.best.objective
    )
    assert history["evaluations"][-1] == sum(
        c.outcome.evaluated for batch in batches for c in batch
    )


@pytest.mark.parametrize("make", [points, texts])
def test_the_same_seed_gives_the_same_run_and_another_seed_another(make):
    """A seed decides everything."""
    runs = [make(seed=seed).run(20, progress=False).ledger.dump() for seed in (5, 5, 6)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("make", [points, texts])
def test_a_loop_that_was_left_and_resumed_equals_an_uninterrupted_one(make):
    """A loop that its caller left and took up again is the loop that was not left."""
    whole, broken = make().run(30, progress=False), make()
    for i, _ in enumerate(broken.steps(30)):
        if i == 6:
            break
    for _ in broken.steps(3):
        pass
    broken.run(30 - len(broken.commits), progress=False)
    assert broken.ledger.dump() == whole.ledger.dump()
    assert same(broken.elites, whole.elites)


def test_ids_are_in_order_and_parents_have_lower_ids():
    """Every candidate knows whom it was made from, and seeds come from nobody."""
    search = points()
    batches = list(search.steps(10))
    assert np.array_equal(np.concatenate([batch.id for batch in batches]), np.arange(80))
    assert set(batches[0].origin) == {"seed"} and (batches[0].parents == NO_CANDIDATE).all()
    for batch in batches[2:]:
        assert (batch.parents[:, 0] < batch.id[0]).all() and (batch.parents >= 0).all()


def test_few_seeds_of_a_small_batch_are_all_tried_before_anything_else():
    """With one candidate a step, the openings of a domain are the first steps."""
    batches = list(texts().steps(5))
    assert [batch.origin[0] for batch in batches] == ["seed", "seed", "seed", "chatter", "chatter"]
    assert [batch.genome[0] for batch in batches[:3]] == list(Texts.openings)


def test_texts_are_stored_unchanged():
    """Texts of any length and script are kept as they are, and half a surrogate pair does not stop
    a run.
    """
    strange = (
        "",
        "x" * 10_000,
        "naïve 海 \N{GREEK SMALL LETTER ALPHA}",
        "nul\0byte",
        "half \ud800 pair",
    )

    class Strange(Texts):
        def seeds(self, key, n):
            return list(strange)

    search = qdkit.Search(Strange(), Grid((8, 5), Texts.bounds), Chatter(), batch=5).run(
        1, progress=False
    )
    assert search.ledger.batch(0).genome == [*strange[:4], "half ? pair"]


class Failing(Points):
    """Raises for some, says nan for others, and is well otherwise."""

    def evaluate(self, genomes):
        if len(genomes) > 1 and (genomes[:, 0] > 0.5).any():
            raise RuntimeError("one of many")
        if genomes[0, 0] > 0.5:
            raise ArithmeticError("too far right")
        return qdkit.Evaluation(
            np.where(genomes[:, 1] > 0.5, np.nan, 1.0),
            np.where(genomes[:, :2] < 0.1, np.nan, genomes),
        )


def test_a_failing_candidate_is_recorded_with_its_error_and_no_other_fails():
    """Exceptions and nan stay with the rows they belong to."""
    search = qdkit.Search(Failing(), Grid((5, 5), BOX), Jitter(), batch=16, seed=1)
    for batch in search.steps(4):
        for candidate in batch:
            x, y = candidate.genome
            if x > 0.5:
                assert (
                    candidate.outcome == "failed"
                    and "ArithmeticError: too far right" in candidate.notes["error"]
                )
            elif y > 0.5:
                assert (
                    candidate.outcome == "invalid"
                    and candidate.notes["error"] == "its objective is nan"
                )
            elif x < 0.1 or y < 0.1:
                assert candidate.outcome == "invalid" and "descriptor" in candidate.notes["error"]
            else:
                assert candidate.outcome == "ok" and candidate.objective == 1.0
            if candidate.outcome != "ok":
                assert np.isnan(candidate.objective)
                assert candidate.id not in search.elites.payload["id"]
    assert search.summary()["outcomes"].keys() == {"ok", "failed", "invalid"}
    assert search.summary()["evaluations"] == 64


def test_every_note_and_every_error_can_be_recorded():
    """Half surrogate pairs in errors, keys and reprs, no notes, and a program that wants to
    leave.
    """

    class Odd:
        def __repr__(self):
            return "odd \ud800"

    class Strange(Points):
        def evaluate(self, genomes):
            if len(genomes) > 1:
                raise ValueError("one by one")
            if genomes[0, 0] < 0.3:
                raise ValueError("half \ud800 pair")
            if genomes[0, 0] < 0.6:
                raise SystemExit(3)
            note = {"\ud800": Odd()} if genomes[0, 1] < 0.5 else None
            return qdkit.Evaluation([1.0], genomes, notes=[note])

    search = qdkit.Search(Strange(), Grid((2, 2), BOX), Jitter(), batch=32).run(1, progress=False)
    assert search.summary()["outcomes"].keys() == {"ok", "failed"}
    said = {json.dumps(note) for note in search.ledger.batch(0).notes}
    assert {"{}", '{"?": "odd ?"}'} < said
    assert any("half ? pair" in note for note in said) and any(
        "SystemExit: 3" in note for note in said
    )


def test_a_failed_candidate_has_no_objective_in_any_batch():
    """What a domain says of a failed one is nan beside others and alone."""

    class Graded(Texts):
        def evaluate(self, genomes):
            seen = super().evaluate(genomes)
            return qdkit.Evaluation(
                seen.objective, seen.descriptor, outcome=["failed", *["ok"] * 9][: len(genomes)]
            )

    for batch in (1, 3):
        search = qdkit.Search(Graded(), Grid((8, 5), Texts.bounds), Chatter(), batch=batch)
        first = next(search.steps(1))[0]
        assert first.outcome == "failed" and np.isnan(first.objective)


def test_features_may_be_infinite(tmp_path):
    """What the axes read is kept as it is, and the run goes on with it."""

    class Far(Points):
        def evaluate(self, genomes):
            return qdkit.Evaluation(
                genomes.sum(1), features=np.where(genomes > 0.5, np.inf, -np.inf)
            )

    make = lambda **place: search_of(
        Far(),
        Grid((2, 2), BOX),
        Jitter(),
        axes=lambda batch: np.clip(batch.features, 0, 1),
        batch=8,
        **place,
    )
    with make(run=tmp_path / "run") as search:
        (batch,) = search.steps(1)
        assert np.array_equal(search.ledger.batch(0).features, batch.features)
    with make(run=tmp_path / "run", resume=True) as search:
        assert len(search.commits) == 1


def test_descriptors_outside_the_bounds_are_counted_as_clipped_or_refused():
    """A descriptor beyond the box is put into a border cell or nowhere, and the summary says how
    often.
    """
    half = ((0.0, 0.5), (0.0, 1.0))
    beyond = {}
    for outside in ("clip", "reject"):
        search = qdkit.Search(Points(), Grid((5, 5), half, outside=outside), Jitter(), batch=32)
        (batch,) = search.steps(1)
        beyond[outside] = (
            int((batch.descriptor[:, 0] > 0.5).sum()),
            search.summary()["clipped"],
            search.summary()["refused"],
        )
    assert beyond["clip"][0] == beyond["clip"][1] > 0 == beyond["clip"][2]
    assert beyond["reject"][0] == beyond["reject"][2] > 0 == beyond["reject"][1]


def test_a_judge_and_axes_give_what_the_domain_leaves_out():
    """The objective and the descriptor may come from elsewhere, with how often it was judged."""

    class Bare:
        def seeds(self, key, n):
            return ["quality", "diversity", "archive"]

        def evaluate(self, genomes):
            return qdkit.Evaluation(features=[(len(word), word.count("i")) for word in genomes])

    judge = lambda key, batch: qdkit.Judgement(np.array([-len(g) for g in batch.genome], float), 2)
    axes = lambda batch: batch.features / 13
    search = qdkit.Search(
        Bare(), Grid((13, 13), BOX), Chatter(), judge=judge, axes=axes, batch=4
    ).run(3, progress=False)
    seed = search.ledger.take([0])[0]
    assert (seed.objective, seed.descriptor, seed.notes["judgements"]) == (-7, (7 / 13, 1 / 13), 2)
    assert search.ledger.batch(0).features.tolist() == [[7, 1], [9, 2], [7, 1]]


def test_a_judge_may_give_features_and_outcomes():
    """Its features are what the axes read.

    A judgement that did not come is not the candidate's fault.
    """

    class Bare:
        def seeds(self, key, n):
            return ["ab", "abc", "lost", "a"]

        def evaluate(self, genomes):
            return qdkit.Evaluation()

    def judge(key, batch):
        length = np.array([len(g) for g in batch.genome], float)
        lost = np.array([g == "lost" for g in batch.genome])
        outcome = np.where(lost, "infrastructure", "ok")
        notes = [{"error": "the server is gone"} if gone else {} for gone in lost]
        return qdkit.Judgement(length, 1, notes, features=length[:, None], outcome=outcome)

    search = qdkit.Search(Bare(), Grid((9,), ((0, 9),)), Chatter(), judge=judge, batch=4).run(
        1, progress=False
    )
    assert search.ledger.take([0, 1, 2, 3]).outcome.tolist() == [
        "ok",
        "ok",
        "infrastructure",
        "ok",
    ]
    assert np.flatnonzero(search.elites.occupied).tolist() == [1, 2, 3]
    assert search.summary()["errors"] == {"the server is gone": 1}


def test_an_operator_gets_the_inspirations_that_it_requests():
    """For each new candidate the best first, each once, no parent, and none that are not
    elites.
    """
    given = []

    class Curious(Chatter):
        shown = qdkit.Inspirations(best=1, near=2, diverse=1, random=2)

        def propose(self, key, context, n):
            given.append(context)
            return super().propose(key, context, n)

    search = qdkit.Search(Texts(), Grid((8, 5), Texts.bounds), Curious(), batch=2, seed=2)
    search.run(19, progress=False)
    elites = search.pool
    search.run(1, progress=False)
    context = given[-1]
    assert len(context.inspirations) == len(context.parents) == 2
    for others, parent in zip(context.inspirations, context.parents.id, strict=True):
        ids = others.id.tolist()
        assert (
            len(ids) == 6 == len(set(ids))
            and parent not in ids
            and set(ids) <= set(elites.id.tolist())
        )
        assert others.objective[0] == elites.objective[elites.id != parent].max()


def test_labels_are_descriptors():
    """A domain may describe with labels, and one that the archive does not have is an error that
    names it.
    """

    class Labelled(Texts):
        def evaluate(self, genomes):
            return qdkit.Evaluation(
                [1.0] * len(genomes), [("sea" if "sea" in g else "land",) for g in genomes]
            )

    search = qdkit.Search(Labelled(), Grid((2,), (("land", "sea"),)), Chatter(), batch=2).run(
        4, progress=False
    )
    held = dict(zip(search.pool.descriptor[:, 0], search.pool.genome, strict=True))
    assert "sea" not in held[0.0] and "sea" in held[1.0]
    with pytest.raises(ValueError, match=r"has the labels land, air.*'sea'"):
        qdkit.Search(Labelled(), Grid((2,), (("land", "air"),)), Chatter(), batch=2).run(
            4, progress=False
        )


def test_the_number_of_compilations_does_not_grow_with_the_run(caplog):
    """Arrays keep their shape, so a long run compiles what a short one does."""
    search = points()
    search.run(4, progress=False)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        search.run(40, progress=False)
        assert not [record for record in caplog.records if "Compiling" in record.message]
        jax.jit(lambda x: x * 3 + 1)(1.0)
        assert [record for record in caplog.records if "Compiling" in record.message], (
            "the count itself counts nothing"
        )


def test_cells_and_objectives_are_compared_in_double_precision():
    """Two objectives that differ in the tenth digit are not a tie."""

    class Close(Points):
        def evaluate(self, genomes):
            return qdkit.Evaluation(
                2.635983 + 1e-10 * np.arange(len(genomes)), np.full((len(genomes), 2), 0.5)
            )

    search = qdkit.Search(Close(), Grid((1, 1), BOX), Jitter(), batch=16).run(1, progress=False)
    assert search.best.id == 15


def wrong_rows(genomes):
    return qdkit.Evaluation(genomes.sum(1)[:-1], genomes[:, :2])


def wrong_axes(genomes):
    return qdkit.Evaluation(genomes.sum(1), genomes[:, :1])


def words_for_numbers(genomes):
    return qdkit.Evaluation(["good"] * len(genomes), genomes[:, :2])


@pytest.mark.parametrize(
    ("evaluate", "said"),
    [
        (
            wrong_rows,
            r"objective must have shape \(16,\)|given 16 genomes and its objective has 15 rows",
        ),
        (wrong_axes, r"the archive has 2 axes.*\(16, 1\)"),
        (words_for_numbers, r"objective must be numbers"),
    ],
)
def test_a_domain_that_returns_wrong_columns_gets_an_error(evaluate, said):
    """A wrong number of rows or axes is a bug of the domain, not of a candidate."""
    domain = Points()
    object.__setattr__(domain, "evaluate", evaluate)
    with pytest.raises(ValueError, match=said):
        qdkit.Search(domain, Grid((5, 5), BOX), Jitter(), batch=16).run(1, progress=False)


class Seedless(Points):
    def seeds(self, key, n):
        return []


class Odd(Points):
    def seeds(self, key, n):
        return [object()]


class Numb(Points):
    def evaluate(self, genomes):
        super().evaluate(genomes)


class Talkative(Points):
    def evaluate(self, genomes):
        return qdkit.Evaluation(genomes.sum(1), genomes, notes=["good"] * len(genomes))


class Mute(Jitter):
    def propose(self, key, context, n):
        super().propose(key, context, n)


class Lone(Points):
    def seeds(self, key, n):
        return "a rose"


class Hopeless(Points):
    def evaluate(self, genomes):
        raise ZeroDivisionError("always")


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: points(batch=0), ValueError, "batch is 0"),
        (lambda: points(in_flight=-1), ValueError, "in_flight is -1"),
        (lambda: points().run(0, progress=False), ValueError, "steps from 1, not 0"),
        (lambda: points().run(-5, progress=False), ValueError, "steps from 1, not -5"),
        (
            lambda: qdkit.Search(Seedless(), Grid((2, 2), BOX), Jitter()),
            ValueError,
            "1 to 64 genomes.*returned 0",
        ),
        (
            lambda: qdkit.Search(Odd(), Grid((2, 2), BOX), Jitter()),
            TypeError,
            "array, a str, bytes or a JSON value",
        ),
        (
            lambda: qdkit.Search(Numb(), Grid((2, 2), BOX), Jitter(), batch=8).run(
                1, progress=False
            ),
            TypeError,
            "a qdkit.Evaluation, .* returned a NoneType",
        ),
        (
            lambda: qdkit.Search(Talkative(), Grid((2, 2), BOX), Jitter()).run(1, progress=False),
            TypeError,
            "notes are mappings, .* one is 'good'",
        ),
        (
            lambda: qdkit.Search(Points(), Grid((2, 2), BOX), Mute()).run(3, progress=False),
            TypeError,
            "a qdkit.Proposal, .* returned a NoneType",
        ),
        (
            lambda: qdkit.Search(Lone(), Grid((2, 2), BOX), Jitter()),
            TypeError,
            "returned a str: return a list",
        ),
        (
            lambda: qdkit.Search(Hopeless(), Grid((2, 2), BOX), Jitter()).run(2, progress=False),
            RuntimeError,
            "no seed could enter.*ZeroDivisionError: always",
        ),
    ],
)
def test_parts_that_cannot_be_searched_are_refused_at_once(make, error, said):
    """Bad settings and hopeless domains are errors that say what was expected and what came."""
    with pytest.raises(error, match=said):
        make()


def test_an_operator_that_proposes_other_genomes_gets_an_error():
    """Another shape, another number or another kind of genome than the seeds is a bug of the
    operator.
    """

    class Wide(Jitter):
        def propose(self, key, context, n):
            return qdkit.Proposal.of(np.zeros((n, 3)), "wide", context.parents)

    class Numbers(Chatter):
        def propose(self, key, context, n):
            return qdkit.Proposal.of([1] * n, "numbers", context.parents)

    with pytest.raises(
        ValueError, match=r"wide proposed genomes of shape \(3,\), and the seeds have \(2,\)"
    ):
        qdkit.Search(Points(), Grid((5, 5), BOX), Wide(), batch=16).run(2, progress=False)
    with pytest.raises(TypeError, match="numbers proposed a int, and the seeds are str"):
        qdkit.Search(Texts(), Grid((8, 5), Texts.bounds), Numbers(), batch=16).run(
            2, progress=False
        )


def test_tables_and_summary():
    """The elites come as a pandas table with the names of the axes, and the summary is JSON."""
    search = points().run(6, progress=False)
    frame = search.elites_frame()
    assert list(frame.columns[:6]) == ["id", "cell", "origin", "outcome", "objective", "axis 0"]
    assert (
        len(frame) == search.summary()["occupied"]
        and frame["objective"].max() == search.best.objective
    )
    assert len(search.candidates_frame()) == 48
    json.dumps(search.summary())
    assert "evaluations" in repr(search)

"""When a search has done enough."""

from __future__ import annotations

import numpy as np
import pytest

import qdkit
from qdkit.runs.rows import Commit
from qdkit.search.stopping import Coverage, Stagnation, Target

from .worlds import points, texts


def course(*best, each=10):
    """A run of `each` evaluations a step with these best objectives.

    QD score and coverage grow with them.
    """
    return [
        Commit(i, i * each, each, (i + 1) * each, b / 10, 2.0 * b, b, 0, 0, 1.0, 0.0, 0.0)
        for i, b in enumerate(best)
    ]


def test_a_target_is_reached_by_the_best_and_a_coverage_by_the_share():
    """Neither before, and both when they are met exactly."""
    assert not Target(3.0).why(course(1.0, 2.9)) and Target(3.0).why(course(1.0, 3.0))
    assert not Coverage(0.3).why(course(2.9)) and "30.0%" in Coverage(0.3).why(course(3.0))
    assert not Target(0.0).why(course(np.nan))


@pytest.mark.parametrize("of", ["best", "qd_score", "coverage"])
def test_stagnation_counts_evaluations_since_the_last_gain(of):
    """Not before there were so many, and any gain begins the count anew."""
    rule = Stagnation(30, of)
    assert [bool(rule.why(course(*[1.0] * n))) for n in (1, 3, 4, 5)] == [False, False, True, True]
    assert not rule.why(course(1.0, 1.0, 1.0, 1.1)) and not rule.why(
        course(1.0, 1.0, 1.1, 1.1, 1.1)
    )
    assert rule.why(course(1.0, 1.1, 1.1, 1.1, 1.1)) and not rule.why(course(*[np.nan] * 4, 1.0))


def test_rules_join_with_or_and_and():
    """Either is enough, or both are needed, and both reasons are said."""
    run = course(1.0, 3.0)
    assert (Target(3.0) | Coverage(0.9)).why(run) and not (Target(3.0) & Coverage(0.9)).why(run)
    assert (Target(3.0) & Coverage(0.3)).why(run).count(";") == 1
    assert (Coverage(0.9) & Coverage(0.9) | Target(3.0)).why(run)


@pytest.mark.parametrize("in_flight", [1, 8])
def test_a_search_stops_begins_nothing_more_and_finishes_what_is_under_way(in_flight, tmp_path):
    """It says why; the same run from disk stops at the same step.

    And without the rule it goes on.
    """
    make = lambda name, **more: texts(in_flight=in_flight, run=tmp_path / name, **more)
    with make("a") as search:
        search.run(until=Target(25.0) | Stagnation(500), progress=False)
        steps = len(search.commits)
        assert (
            search.best.objective >= 25 and "target 25" in search.stopped and search.in_flight == 0
        )
        assert [c.best >= 25 for c in search.commits].index(True) >= steps - 4 * in_flight
        list(search.steps(until=Target(25.0)))
        assert len(search.commits) == steps, "it is there already"
    with make("a", resume=True) as again:
        assert len(again.commits) == steps
        again.run(5, progress=False)
        assert len(again.commits) == steps + 5
    with make("b") as other:
        other.run(until=Target(25.0), progress=False)
        other.run(5, progress=False)
        assert [c.untimed for c in other.commits] == [c.untimed for c in again.commits]


def test_rules_that_cannot_be_met_are_refused():
    """A search needs an end, and rules need numbers that make sense."""
    with pytest.raises(ValueError, match="until when"):
        points().run(progress=False)
    for make, said in (
        (lambda: Coverage(0.0), "share of the cells"),
        (lambda: Stagnation(0), "1 or more"),
    ):
        with pytest.raises(ValueError, match=said):
            make()
    with pytest.raises(ValueError, match='"qd_score", "best" or "coverage"'):
        Stagnation(5, "luck")


def test_a_budget_holds_beside_a_rule():
    """Whatever comes first, and the search says which."""
    search = points(budget=qdkit.Budget(evaluations=64)).run(until=Target(1e9), progress=False)
    assert search.commits[-1].evaluations == 64 and "64 of 64 evaluations" in search.stopped


@pytest.mark.parametrize("left", [2, 14, 16])
def test_an_interrupted_stop_is_completed_as_decided(left, tmp_path):
    """What was under way is finished and nothing else begun, also where the rule no longer says
    so.
    """
    make = lambda name, **more: texts(in_flight=4, run=tmp_path / name, **more)
    rule = Target(25.0) | Stagnation(60)
    with make("whole") as whole:
        whole.run(until=rule, progress=False)
        dump = whole.ledger.dump()
    with make("cut") as cut:
        for _ in cut.steps(until=rule):
            if len(cut.commits) == len(whole.commits) - left:
                break
    with make("cut", resume=True) as cut:
        cut.run(until=rule, progress=False)
        assert cut.ledger.dump() == dump and cut.stopped == whole.stopped


@pytest.mark.parametrize(
    ("share", "told"), [(0.5, "50.0%"), (1.0, "100.0%"), (0.0004, "0.04%"), (1e-6, "0.0001%")]
)
def test_shares_are_readable_at_every_scale(share, told):
    commit = Commit(0, 0, 1, 1, share, 0.0, 0.0, 0, 0, 0.0, 0.0, 0.0)
    assert (
        Coverage(share).why([commit])
        == f"{told} of the cells have an elite, and {told} were wanted"
    )
    assert Coverage(share).why([commit._replace(coverage=share / 2)]) == ""

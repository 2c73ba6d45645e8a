"""The budget: how it is written, what it refuses, and that no limit is ever passed."""

import math
import re
import threading

import numpy as np
import pytest

import qdkit
from qdkit.archives import Grid
from qdkit.core.record import NOTHING, Cost, Exhausted
from qdkit.domains import Sphere
from qdkit.operators import IsoLine
from qdkit.search.budget import Budget, BudgetTracker, amount
from tests.worlds import Jitter, Points, search_of


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("5usd", Budget(dollars=5)),
        ("0.5 dollars", Budget(dollars=0.5)),
        ("2000calls", Budget(calls=2000)),
        ("1 call", Budget(calls=1)),
        ("30min", Budget(seconds=1800)),
        ("2h", Budget(seconds=7200)),
        ("90s", Budget(seconds=90)),
        ("100_000tokens", Budget(tokens=100_000)),
        ("500evaluations", Budget(evaluations=500)),
        ("5usd+2h", Budget(dollars=5, seconds=7200)),
        ("5USD, 10 calls", Budget(dollars=5, calls=10)),
    ],
)
def test_a_budget_is_written_as_a_number_and_a_unit(text, budget):
    """Each unit is understood, and what a budget writes of itself is read back as the same."""
    assert Budget.parse(text) == budget
    assert Budget.parse(str(budget)) == budget


@pytest.mark.parametrize(
    "text",
    ["", "5", "usd", "5 euros", "0usd", "-5usd", "1.5calls", "5usd+6usd", "5usd+", "1.2.3h", "_s"],
)
def test_a_budget_that_makes_no_sense_is_refused(text):
    """A limit of nothing, an unknown unit, a half call and the same limit twice are errors at the
    door.
    """
    with pytest.raises(ValueError, match="budget"):
        Budget.parse(text)


@pytest.mark.parametrize("limit", [0, -1, math.nan, math.inf])
def test_a_limit_is_above_zero(limit):
    """A budget built by hand is held to the same rule."""
    with pytest.raises(ValueError, match="above zero"):
        Budget(dollars=limit)


def test_a_tracker_charges_the_cost_of_a_call_and_not_what_it_reserved():
    """The hold is released when the actual cost is known."""
    purse = BudgetTracker(Budget(dollars=1.0, calls=10))
    with purse.reserve(Cost(0.9, 100)) as spend:
        assert purse.left() == {"dollars": pytest.approx(0.1), "calls": 9}
        spend(Cost(0.2, 20))
    assert purse.spent == Cost(0.2, 20, 1)
    assert purse.left() == {"dollars": pytest.approx(0.8), "calls": 9}


def test_a_call_that_is_not_covered_is_refused_with_the_limit_and_its_use():
    """The refusal names the limit and how far it is used, and charges nothing."""
    purse = BudgetTracker(Budget(dollars=1.0, tokens=1000), spent=Cost(0.75, 10))
    with (
        pytest.raises(Exhausted, match=r"0\.75 US dollars of 1\.00 US dollars are used"),
        purse.reserve(Cost(0.3, 1)),
    ):
        pass
    with (
        pytest.raises(Exhausted, match="10 tokens of 1,000 tokens"),
        purse.reserve(Cost(0.0, 991)),
    ):
        pass
    assert purse.spent == Cost(0.75, 10)


@pytest.mark.parametrize("count", [24.0, np.int64(24), np.float32(24), 24])
def test_a_count_may_be_any_number_that_is_whole(count, tmp_path):
    """1e6 is a float in Python; the run can be opened and gone on with."""
    budget = Budget(evaluations=count, calls=count, tokens=count)
    assert [type(limit) for limit in budget.limits().values()] == [int] * 3
    with search_of(
        Points(),
        Grid((4, 4), Points.bounds),
        Jitter(),
        batch=8,
        budget=budget,
        run=tmp_path / "run",
    ) as search:
        search.run(progress=False)
    assert qdkit.load(tmp_path / "run").summary()["evaluations"] == 24


@pytest.mark.parametrize("name", ["tokens", "calls", "evaluations"])
def test_a_part_of_a_count_is_refused(name):
    with pytest.raises(ValueError, match=rf"2\.5 {name} should be a whole number"):
        Budget(**{name: 2.5})


def test_a_budget_can_be_used_to_its_last_cent():
    """Ten calls of a tenth use a dollar up, whatever their sum in binary, and the eleventh is
    refused.
    """
    purse = BudgetTracker(Budget(dollars=1.0))
    for _ in range(10):
        with purse.reserve(Cost(0.1)) as spend:
            spend(Cost(0.1))
    with pytest.raises(Exhausted), purse.reserve(Cost(0.1)):
        pass


def test_a_call_that_reports_no_cost_is_charged_its_most():
    """Nobody knows what an interrupted call cost."""
    purse = BudgetTracker(Budget(dollars=1.0))
    with pytest.raises(KeyboardInterrupt), purse.reserve(Cost(0.4)):
        raise KeyboardInterrupt
    assert purse.spent.dollars == 0.4


def test_no_limit_is_passed_by_many_threads():
    """32 threads ask for all they can get.

    What is spent never exceeds the budget, and nearly all of it is spent.
    """
    purse = BudgetTracker(Budget(calls=101, dollars=1000.0))
    refused = []

    def work():
        while True:
            try:
                with purse.reserve(Cost(7.0)) as spend:
                    held = purse.left()
                    assert held["calls"] >= 0 and held["dollars"] >= 0
                    spend(Cost(1.0))
            except Exhausted as error:
                refused.append(str(error))
                return

    threads = [threading.Thread(target=work) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert purse.spent == Cost(101.0, 0, 101)
    assert len(refused) == 32 and all("101 calls of 101 calls" in text for text in refused)


def test_a_call_waits_for_the_reservations_of_others():
    """While the rest of the budget is held but not spent, the next call waits instead of being
    refused.
    """
    purse, begun, done = BudgetTracker(Budget(dollars=1.0)), threading.Event(), []

    def second():
        begun.set()
        with purse.reserve(Cost(0.8)) as spend:
            done.append(purse.spent.dollars)
            spend(Cost(0.8))

    with purse.reserve(Cost(0.9)) as spend:
        thread = threading.Thread(target=second)
        thread.start()
        begun.wait(60)
        assert done == []
        spend(Cost(0.1))
    thread.join(60)
    assert done == [0.1] and purse.spent.dollars == pytest.approx(0.9)


def test_a_limit_of_time_refuses_what_is_new_and_counts_earlier_sittings():
    """Time used before a resume counts; after the limit nothing is begun."""
    now = [0.0]
    purse = BudgetTracker(Budget(seconds=100.0), seconds=60.0, clock=lambda: now[0])
    with purse.reserve(Cost()) as spend:
        spend(Cost())
    assert purse.exhausted() == "" and purse.left() == {"seconds": 40.0}
    now[0] = 40.0
    with pytest.raises(Exhausted, match="100 seconds of 100 seconds"), purse.reserve(Cost()):
        pass
    assert "100 seconds" in purse.exhausted()


def test_evaluations_are_counted_like_calls():
    """A reservation of evaluations uses no call."""
    purse = BudgetTracker(Budget(evaluations=10))
    with purse.reserve(Cost(calls=0, evaluations=10)) as spend:
        spend(Cost(calls=0, evaluations=10))
    assert purse.spent == Cost(calls=0, evaluations=10)
    assert "10 evaluations of 10 evaluations" in purse.exhausted()


def test_a_limit_of_dollars_needs_a_known_price():
    """It is an error to begin such a call, or to count on one.

    Without a limit of dollars it is none.
    """
    unknown = Cost(math.nan, 100)
    with (
        pytest.raises(ValueError, match="prices="),
        BudgetTracker(Budget(dollars=1.0)).reserve(unknown),
    ):
        pass
    with pytest.raises(ValueError, match="prices="):
        Budget(dollars=1.0).forecast(unknown)
    purse = BudgetTracker(Budget(tokens=1000))
    with purse.reserve(unknown) as spend:
        spend(unknown)
    assert math.isnan(purse.spent.dollars) and purse.left() == {"tokens": 900}


def test_a_cost_that_turns_out_unknown_is_charged_at_the_most():
    """A nan never slips past a limit of dollars."""
    purse = BudgetTracker(Budget(dollars=1.0))
    with purse.reserve(Cost(0.6)) as spend:
        spend(Cost(math.nan, 5))
    assert purse.spent == Cost(0.6, 5)


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (
            Budget(dollars=5),
            "5.00 US dollars buys about 1,250 calls of m at 0.004 US dollars each",
        ),
        (
            Budget(dollars=5, calls=1000),
            "1,000 calls buys about 1,000 calls of m at 0.004 US dollars each; 5.00 US dollars "
            "would last longer",
        ),
        (Budget(tokens=9_999), "9,999 tokens buys about 9 calls of m at 0.004 US dollars each"),
        (Budget(seconds=60), "60 seconds buys about 30 calls of m at 0.004 US dollars each"),
        (Budget(evaluations=7), "7 evaluations at most"),
        (Budget(), "no limit is set: calls of m go on until the search ends"),
    ],
)
def test_the_forecast_says_what_the_budget_buys(budget, said):
    """The limit that is met first is named with what it buys."""
    assert budget.forecast(Cost(0.004, 1000), "calls of m", seconds=2.0) == said


def test_costs_add_up():
    """A sum of costs is the sum of each part, and nothing added changes nothing."""
    assert Cost(0.5, 10) + Cost(0.25, 5, 2, 3) == Cost(0.75, 15, 3, 3)
    assert Cost(0.5, 10) + NOTHING == Cost(0.5, 10)


SCALES = [1e-9, 0.0004, 0.05, 0.5, 0.999, 1.5, 12.34, 60, 99.96, 123.4, 5000, 1e6, 1e12]


@pytest.mark.parametrize("limit", SCALES)
@pytest.mark.parametrize("name", ["seconds", "dollars"])
def test_amounts_are_readable_at_every_scale(name, limit):
    """To a percent at least, and never as 0: half a second is 0.5 seconds."""
    told = amount(name, limit)
    number = float(told.split(" ")[0].replace(",", ""))
    assert abs(number - limit) <= 0.05 * limit
    assert told.endswith({"seconds": " seconds", "dollars": " US dollars"}[name])


def test_a_budget_that_is_used_up_says_how_much_of_how_much():
    now = [0.0]
    purse = BudgetTracker(Budget(seconds=0.5), clock=lambda: now[0])
    now[0] = 0.51
    assert purse.exhausted() == "0.51 seconds of 0.5 seconds are used"
    purse = BudgetTracker(Budget(dollars=0.0004), Cost(0.0005, 1, 1))
    assert purse.exhausted() == "0.0005 US dollars of 0.0004 US dollars are used"
    assert Budget(seconds=0.25).forecast(Cost(), seconds=0.1) == "0.25 seconds buys about 2 calls"
    assert amount("dollars", float("nan")) == "nan US dollars"


@pytest.mark.parametrize("compiled", [False, True])
def test_a_search_says_that_half_a_second_is_used(compiled):
    """Both kinds of search, in one sentence."""
    domain = Sphere(2)
    search = search_of(
        domain,
        Grid((9, 9), domain.bounds),
        IsoLine(),
        budget=Budget(seconds=1e-4),
        compiled=compiled,
    )
    search.run(progress=False)
    assert re.fullmatch(r"[\d.,]+ seconds of 0\.0001 seconds are used", search.stopped), (
        search.stopped
    )

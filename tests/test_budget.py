"""The budget: how it is written, what it refuses, and that no limit is ever passed."""

import math
import threading

import pytest

from qdkit.budget import Budget, Purse
from qdkit.record import NOTHING, Cost, Exhausted


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
    "text", ["", "5", "usd", "5 euros", "0usd", "-5usd", "1.5calls", "5usd+6usd", "5usd+", "1.2.3h", "_s"]
)
def test_a_budget_that_makes_no_sense_is_refused(text):
    """A limit of nothing, an unknown unit, a half call and the same limit twice are errors at the door."""
    with pytest.raises(ValueError, match="budget"):
        Budget.parse(text)


@pytest.mark.parametrize("limit", [0, -1, math.nan, math.inf])
def test_a_limit_is_above_zero(limit):
    """A budget built by hand is held to the same rule."""
    with pytest.raises(ValueError, match="above zero"):
        Budget(dollars=limit)


def test_a_purse_charges_what_a_call_cost_and_not_what_it_held():
    """The hold is released when the actual cost is known."""
    purse = Purse(Budget(dollars=1.0, calls=10))
    with purse.reserve(Cost(0.9, 100)) as spend:
        assert purse.left() == {"dollars": pytest.approx(0.1), "calls": 9}
        spend(Cost(0.2, 20))
    assert purse.spent == Cost(0.2, 20, 1)
    assert purse.left() == {"dollars": pytest.approx(0.8), "calls": 9}


def test_a_call_that_is_not_covered_is_refused_with_the_limit_and_its_use():
    """The refusal names the limit and how far it is used, and charges nothing."""
    purse = Purse(Budget(dollars=1.0, tokens=1000), spent=Cost(0.75, 10))
    with pytest.raises(Exhausted, match=r"0\.75 US dollars of 1\.00 US dollars are used"), purse.reserve(Cost(0.3, 1)):
        pass
    with pytest.raises(Exhausted, match="10 tokens of 1,000 tokens"), purse.reserve(Cost(0.0, 991)):
        pass
    assert purse.spent == Cost(0.75, 10)


def test_a_budget_can_be_used_to_its_last_cent():
    """Ten calls of a tenth use a dollar up, whatever their sum in binary, and the eleventh is refused."""
    purse = Purse(Budget(dollars=1.0))
    for _ in range(10):
        with purse.reserve(Cost(0.1)) as spend:
            spend(Cost(0.1))
    with pytest.raises(Exhausted), purse.reserve(Cost(0.1)):
        pass


def test_a_call_left_without_a_word_is_charged_at_its_most():
    """Nobody knows what an interrupted call cost."""
    purse = Purse(Budget(dollars=1.0))
    with pytest.raises(KeyboardInterrupt), purse.reserve(Cost(0.4)):
        raise KeyboardInterrupt
    assert purse.spent.dollars == 0.4


def test_no_limit_is_passed_by_many_threads():
    """32 threads ask for all they can get; what is spent never exceeds the budget, and nearly all of it is spent."""
    purse = Purse(Budget(calls=101, dollars=1000.0))
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
        thread.join()
    assert purse.spent == Cost(101.0, 0, 101)
    assert len(refused) == 32 and all("101 calls of 101 calls" in text for text in refused)


def test_a_call_waits_for_what_others_only_hold():
    """While the rest of the budget is held but not spent, the next call waits instead of being refused."""
    purse, begun, done = Purse(Budget(dollars=1.0)), threading.Event(), []

    def second():
        begun.set()
        with purse.reserve(Cost(0.8)) as spend:
            done.append(purse.spent.dollars)
            spend(Cost(0.8))

    with purse.reserve(Cost(0.9)) as spend:
        thread = threading.Thread(target=second)
        thread.start()
        begun.wait()
        assert done == []
        spend(Cost(0.1))
    thread.join()
    assert done == [0.1] and purse.spent.dollars == pytest.approx(0.9)


def test_a_limit_of_time_refuses_what_is_new_and_counts_earlier_sittings():
    """Time used before a resume counts; after the limit nothing is begun."""
    now = [0.0]
    purse = Purse(Budget(seconds=100.0), seconds=60.0, clock=lambda: now[0])
    with purse.reserve(Cost()) as spend:
        spend(Cost())
    assert purse.exhausted() == "" and purse.left() == {"seconds": 40.0}
    now[0] = 40.0
    with pytest.raises(Exhausted, match="100 seconds of 100 seconds"), purse.reserve(Cost()):
        pass
    assert "100 seconds" in purse.exhausted()


def test_evaluations_are_counted_like_calls():
    """A reservation of evaluations uses no call."""
    purse = Purse(Budget(evaluations=10))
    with purse.reserve(Cost(calls=0, evaluations=10)) as spend:
        spend(Cost(calls=0, evaluations=10))
    assert purse.spent == Cost(calls=0, evaluations=10)
    assert "10 evaluations of 10 evaluations" in purse.exhausted()


def test_an_unknown_price_is_asked_for_where_dollars_are_limited():
    """It is an error to begin such a call, or to count on one; without a limit of dollars it is none."""
    unknown = Cost(math.nan, 100)
    with pytest.raises(ValueError, match="prices="), Purse(Budget(dollars=1.0)).reserve(unknown):
        pass
    with pytest.raises(ValueError, match="prices="):
        Budget(dollars=1.0).forecast(unknown)
    purse = Purse(Budget(tokens=1000))
    with purse.reserve(unknown) as spend:
        spend(unknown)
    assert math.isnan(purse.spent.dollars) and purse.left() == {"tokens": 900}


def test_a_cost_that_turns_out_unknown_is_charged_at_the_most():
    """A nan never slips past a limit of dollars."""
    purse = Purse(Budget(dollars=1.0))
    with purse.reserve(Cost(0.6)) as spend:
        spend(Cost(math.nan, 5))
    assert purse.spent == Cost(0.6, 5)


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (Budget(dollars=5), "5.00 US dollars buys about 1,250 calls of m at 0.004 US dollars each"),
        (
            Budget(dollars=5, calls=1000),
            "1,000 calls buys about 1,000 calls of m at 0.004 US dollars each; 5.00 US dollars would last longer",
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

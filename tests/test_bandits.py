"""Bandits, what they are paid, and portfolios that learn which of their operators pay."""

from __future__ import annotations

import copy
import math
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import pytest

import qdkit
from qdkit.archives import Grid
from qdkit.comparing.baselines import Independent
from qdkit.core.elites import IMPROVED, NEW, REJECTED, Added
from qdkit.core.record import Exhausted
from qdkit.core.types import NO_CANDIDATE, Batch, Context, Proposal
from qdkit.operators import Portfolio
from qdkit.operators.allocation import over_cell_or_zero
from qdkit.selection.bandits import (
    EXP3,
    PULLS,
    REWARD,
    UCB,
    Pull,
    Thompson,
    UCBTuned,
    discounted_ucb,
    sliding_window_ucb,
)
from qdkit.selection.rewards import Dollars, entered, new_cell, over_cell, over_parent, ranked

from .worlds import BOX, Jitter, Points, Texts, search_of

RULES = {
    "ucb1": UCB(),
    "tuned": UCBTuned(),
    "sliding": sliding_window_ucb(20),
    "discounted": discounted_ucb(0.95),
    "thompson": Thompson(),
    "thompson, window": Thompson(window=10),
    "exp3": EXP3(0.2),
    "exp3, discount": EXP3(0.2, discount=0.9),
    "prior": UCBTuned(prior=((2, 0.5),) * 4),
    "least": UCB(least=0.1),
}
OPTIMISTS = [name for name, rule in RULES.items() if isinstance(rule, UCB)]
every_rule = pytest.mark.parametrize("name", RULES)
seeds = pytest.mark.parametrize("seed", range(3))
KEY = jax.random.key(7)


def state_after(rule, decisions, rewards, costs=None, arms=None):
    """The state of a rule after these rewards of the arms."""
    arms = arms or max(decisions) + 1
    state = rule.start(arms)
    for i, (arm, reward) in enumerate(zip(decisions, rewards, strict=True)):
        state = state._replace(waiting=state.waiting + (np.arange(arms) == arm))
        state = rule.hear(state, Pull(arm, np.ones(arms)), reward, costs[i] if costs else 1.0)
    return state


def played(rule, seed, arms=4, pulls=60):
    """The state after some pulls, of which the last seven are under way, and the choices."""
    random = np.random.default_rng(seed)
    state, waiting, chosen = rule.start(arms), [], []
    for _ in range(pulls):
        state, pull = rule.choose(state, random)
        waiting.append(pull)
        chosen.append(pull.arm)
        if len(waiting) > 7:
            state = rule.hear(
                state,
                pull=waiting.pop(0),
                reward=float(random.random() < 0.2 * pull.arm),
                cost=2.0,
            )
    return state, waiting, chosen


def same(a, b):
    """Equal to the bit, field by field."""
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


# The formulas


@pytest.mark.parametrize(
    ("c", "expected"),
    [
        (0.5, (1.13431812058976, 1.1845852433487065)),
        (1.0, (1.7686362411795196, 1.7025038200307465)),
    ],
)
def test_ucb1_has_the_index_of_mabwiser(c, expected):
    """The indices are those of MABWiser 2.7.4.

    MAB([0, 1], LearningPolicy.UCB1(alpha=c)).fit([0, 0, 1, 1, 1], [1, 0, 1, 1, 0])
    """
    assert UCB(c).index(state_after(UCB(c), [0, 0, 1, 1, 1], [1, 0, 1, 1, 0])) == pytest.approx(
        expected, rel=1e-14
    )


def test_ucb1_has_the_index_of_mabwiser_after_many_rewards():
    """MABWiser 2.7.4, alpha=1, four arms: 50 rewards by `fit` and 10 by `partial_fit`."""
    random = np.random.default_rng(0)
    decisions, rewards = (
        random.integers(0, 4, 60).tolist(),
        np.round(random.random(60), 3).tolist(),
    )
    expected = (1.2708631427209274, 1.4174027979489612, 1.1861250199874462, 1.2059256574736272)
    assert UCB().index(state_after(UCB(), decisions, rewards)) == pytest.approx(
        expected, rel=1e-14
    )


def test_the_other_indices_have_the_values_of_their_formulas():
    """By hand, for rewards 1, 0 of one arm and 1, 1, 0 of the other."""
    decisions, rewards, ln = [0, 0, 1, 1, 1], [1, 0, 1, 1, 0], math.log(5)
    tuned = [1 / 2 + math.sqrt(ln / 2 * 0.25), 2 / 3 + math.sqrt(ln / 3 * 0.25)]
    assert UCBTuned().index(state_after(UCBTuned(), decisions, rewards)) == pytest.approx(tuned)
    assert Thompson().index(state_after(Thompson(), decisions, rewards)) == pytest.approx(
        [2 / 4, 3 / 5]
    )

    window = sliding_window_ucb(4)  # forgets the first reward
    two = [math.sqrt(0.6 * math.log(4) / 1), 2 / 3 + math.sqrt(0.6 * math.log(4) / 3)]
    assert window.index(state_after(window, decisions, rewards)) == pytest.approx(two)

    discounted = discounted_ucb(0.5)
    n, s = np.array([2**-4 + 2**-3, 2**-2 + 2**-1 + 1]), np.array([2**-4, 2**-2 + 2**-1])
    three = s / n + 2 * np.sqrt(0.6 * math.log(n.sum()) / n)
    assert discounted.index(state_after(discounted, decisions, rewards)) == pytest.approx(three)


def test_ucb_tuned_explores_less_if_rewards_are_alike():
    """With V below 1/4: 400 rewards of 0.5 have no variance, and V = sqrt(2 ln t / n)."""
    decisions = [0, 1] * 400
    state = state_after(UCBTuned(), decisions, [0.5] * 800)
    per_pull = math.log(800) / 400
    assert UCBTuned().index(state) == pytest.approx(
        [0.5 + math.sqrt(per_pull * math.sqrt(2 * per_pull))] * 2
    )


def test_exp3_weighs_a_reward_by_the_odds_of_its_pull():
    """One pull of two arms: w = exp(gamma / 2 * reward / p), p = 1/2.

    Then odds of the formula, that sum to 1.
    """
    rule = EXP3(0.4)
    state, pull = rule.choose(rule.start(2), np.random.default_rng(0))
    assert pull.odds.tolist() == [0.5, 0.5]
    odds = rule.index(rule.hear(state, pull, 0.75))
    weight = math.exp(0.4 / 2 * 0.75 / 0.5)
    assert odds[pull.arm] == pytest.approx(0.6 * weight / (weight + 1) + 0.2)
    assert odds.sum() == pytest.approx(1)


def test_random_choices_follow_the_odds():
    """4,000 choices of EXP3, and 4,000 draws of Thompson from two equal arms and a bad one."""
    random = np.random.default_rng(1)
    rule, state = EXP3(0.3), state_after(EXP3(0.3), [0, 1, 1, 2], [0.1, 1, 1, 1])
    counts = np.bincount([rule.choose(state, random)[1].arm for _ in range(4000)], minlength=3)
    assert counts / 4000 == pytest.approx(rule.index(state), abs=0.03)
    state = state_after(Thompson(), [0] * 20 + [1] * 20 + [2] * 20, [1, 0] * 20 + [0] * 20)
    counts = np.bincount(
        [Thompson().choose(state, random)[1].arm for _ in range(4000)], minlength=3
    )
    assert counts[:2] / 4000 == pytest.approx([0.5, 0.5], abs=0.05) and counts[2] < 40


def test_rewards_outside_their_bounds_are_clipped():
    """A reward above 1 counts as 1, and one below 0 as 0."""
    state = state_after(UCB(), [0, 1], [17.0, -3.0])
    assert state.mean.tolist() == [1, 0]


def test_an_expensive_arm_has_to_be_better():
    """Equal rewards at three times the cost: a third of the index, whatever the unit.

    Equal costs change nothing.
    """
    dear = state_after(UCB(), [0, 1], [1, 1], [1, 3])
    assert UCB().index(dear)[0] == pytest.approx(3 * UCB().index(dear)[1])
    cents = state_after(UCB(), [0, 1], [1, 1], [100, 300])
    assert UCB().index(cents) == pytest.approx(UCB().index(dear))
    alike = state_after(UCB(), [0, 1, 1], [1, 0, 1], [0.07] * 3)
    assert UCB().index(alike) == pytest.approx(
        UCB().index(state_after(UCB(), [0, 1, 1], [1, 0, 1]))
    )


def test_a_prior_counts_like_rewards():
    """A prior of four pulls with a mean of 1/2 equals two successes and two failures."""
    expected = state_after(UCBTuned(), [0, 0, 0, 0, 1], [1, 0, 1, 0, 1])
    rule = UCBTuned(prior=((4, 0.5), (1, 1.0)))
    assert rule.index(rule.start(2)) == pytest.approx(UCBTuned().index(expected))
    rule = Thompson(prior=((4, 0.5), (1, 1.0)))
    assert rule.index(rule.start(2)) == pytest.approx(Thompson().index(expected))


def test_a_window_keeps_the_last_rewards_and_a_discount_reduces_them():
    """Sums by hand."""
    window = state_after(UCB(window=2), [0, 1, 0], [1, 1, 0.5])
    assert window.heard[PULLS].tolist() == [1, 1] and window.heard[REWARD].tolist() == [0.5, 1]
    faded = state_after(UCB(discount=0.5), [0, 1, 0], [1, 1, 0.5])
    assert faded.heard[PULLS].tolist() == [1.25, 0.5] and faded.heard[REWARD].tolist() == [
        0.75,
        0.5,
    ]


# Laws of all rules


@every_rule
@seeds
def test_a_state_is_immutable(name, seed):
    """`choose` and `hear` return new states."""
    state, waiting, _ = played(RULES[name], seed)
    before = copy.deepcopy(state)
    RULES[name].choose(state, np.random.default_rng(0))
    RULES[name].hear(state, waiting[0], 1.0)
    RULES[name].hear(state, waiting[0])
    assert same(state, before)


@every_rule
@seeds
def test_an_unavailable_arm_is_not_chosen(name, seed):
    """For any mask the choice lies in it."""
    state, _, _ = played(RULES[name], seed)
    random = np.random.default_rng(seed)
    for _ in range(40):
        available = random.random(4) < 0.5
        if available.any():
            state, pull = RULES[name].choose(state, random, available)
            assert available[pull.arm]
    with pytest.raises(ValueError, match="which of 4 arms can be chosen, at least one"):
        RULES[name].choose(state, random, [False] * 4)


@every_rule
def test_equal_seeds_make_equal_choices(name):
    """The generator decides what the state does not."""
    first, again, other = (played(RULES[name], seed)[2] for seed in (1, 1, 2))
    assert first == again != other


@every_rule
@seeds
def test_the_order_of_the_arms_does_not_matter(name, seed):
    """The same rewards under other numbers have the same indices under those numbers."""
    random = np.random.default_rng(seed)
    decisions, rewards = random.integers(0, 4, 50), random.random(50)
    order = random.permutation(4)
    straight = RULES[name].index(
        state_after(RULES[name], decisions.tolist(), rewards.tolist(), arms=4)
    )
    next_origins = RULES[name].index(
        state_after(RULES[name], order[decisions].tolist(), rewards.tolist(), arms=4)
    )
    assert next_origins[order] == pytest.approx(straight)


@every_rule
@seeds
def test_a_pull_without_a_reward_is_taken_back(name, seed):
    """A reward of nan restores the indices from before the pull."""
    state, _, _ = played(RULES[name], seed)
    after, pull = RULES[name].choose(state, np.random.default_rng(0))
    assert np.array_equal(
        RULES[name].index(RULES[name].hear(after, pull)), RULES[name].index(state)
    )


@pytest.mark.parametrize("name", OPTIMISTS)
@seeds
def test_a_pull_under_way_lowers_the_index_of_its_arm(name, seed):
    """It lowers no other index."""
    state, _, _ = played(RULES[name], seed)
    after, pull = RULES[name].choose(state, np.random.default_rng(0))
    change = RULES[name].index(after) - RULES[name].index(state)
    assert change[pull.arm] < 0 and (np.delete(change, pull.arm) >= 0).all()


@pytest.mark.parametrize("name", OPTIMISTS)
def test_many_pulls_under_way_are_spread(name):
    """Sixty-four pulls before the first reward go to four arms evenly."""
    rule, random = RULES[name], np.random.default_rng(0)
    state, arms = rule.start(4), []
    for _ in range(64):
        state, pull = rule.choose(state, random)
        arms.append(pull.arm)
    assert Counter(arms) == dict.fromkeys(range(4), 16)


@pytest.mark.parametrize("least", [0.02, 0.1, 0.24, 0.25])
@pytest.mark.parametrize("rule", [UCBTuned, Thompson])
def test_every_arm_gets_its_least_share(rule, least):
    """Of 1 / least successive pulls at least one goes to each arm, even if one alone pays."""
    rule, random = rule(least=least), np.random.default_rng(0)
    state, arms = rule.start(4), []
    for _ in range(400):
        state, pull = rule.choose(state, random)
        state = rule.hear(state, pull, float(pull.arm == 1))
        arms.append(pull.arm)
    for arm in range(4):
        at = [0, *(i for i, chosen in enumerate(arms, 1) if chosen == arm), 401]
        assert max(np.diff(at)) <= 1 / least


@every_rule
def test_a_reward_goes_to_the_arm_that_answered(name):
    """The chosen arm is as if it had not been pulled."""
    rule = RULES[name]
    state, pull = rule.choose(rule.start(4), np.random.default_rng(0))
    state = rule.hear(state, pull, 1.0, arm=(pull.arm + 1) % 4)
    assert not state.waiting.any()
    assert np.flatnonzero(state.heard[PULLS]).tolist() == [(pull.arm + 1) % 4]


def test_a_pull_has_one_reward_and_a_positive_cost():
    """Both mistakes raise an error that says what is wrong."""
    state, pull = UCB().choose(UCB().start(2), np.random.default_rng(0))
    with pytest.raises(ValueError, match="cost of a pull is a number above 0, not 0"):
        UCB().hear(state, pull, 1.0, cost=0)
    with pytest.raises(ValueError, match="no pull of arm 0 is under way"):
        UCB().hear(UCB().hear(state, pull, 1.0), pull, 1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UCB(window=0), "rewards that are remembered, 1 or more"),
        (lambda: UCB(discount=0), "above 0 and at most 1"),
        (lambda: UCB(window=5, discount=0.9), "give either"),
        (lambda: UCB(prior=((1, 0.5),)).start(2), "1 entries and there are 2 arms"),
        (lambda: UCB(least=0.6).start(2), "at most 0.5"),
        (lambda: EXP3(gamma=0), "above 0 and at most 1, not 0"),
    ],
)
def test_invalid_settings_are_refused(make, message):
    """The message says how to correct them."""
    with pytest.raises(ValueError, match=message):
        make()


# Regret, in short: results/steering has it at length


def regret(rule, means, seed):
    """The mean regret against the best arm of each time; `means` is `[T, k]`."""
    random, lost = np.random.default_rng(seed), 0.0
    state = rule.start(means.shape[1])
    for now in means:
        state, pull = rule.choose(state, random)
        state = rule.hear(state, pull, float(random.random() < now[pull.arm]))
        lost += now.max() - now[pull.arm]
    return lost


STEADY = np.tile([0.9, 0.5, 0.4, 0.3, 0.2], (1000, 1))


@pytest.mark.parametrize(
    "rule", [UCB(), UCBTuned(), Thompson(), EXP3(0.07), UCBTuned(discount=0.998)]
)
def test_rules_find_the_best_arm(rule):
    """Each has less than a third of the regret of uniform choices; UCB1 stays below its bound."""
    evenly = (0.9 - STEADY[0]).mean() * 1000
    lost = np.mean([regret(rule, STEADY, seed) for seed in range(2)])
    gaps = 0.9 - STEADY[0, 1:]
    bound = (8 * np.log(1000) / gaps).sum() + (1 + np.pi**2 / 3) * gaps.sum()
    assert lost < (0.6 if isinstance(rule, EXP3) else 1 / 3) * evenly
    assert type(rule) is not UCB or lost < bound


def test_a_rule_that_forgets_adapts_to_changing_arms():
    """After the best of two arms becomes the worst, it recovers sooner."""
    means = np.repeat([[0.9, 0.1], [0.1, 0.9]], 400, axis=0)
    lost = lambda rule: np.mean([regret(rule, means, seed) for seed in range(3)])
    assert lost(UCBTuned(discount=0.98)) < lost(UCBTuned()) / 2


# Rewards


def batch(n=6, **columns):
    """A batch of `n`, numbered from 10, each with one parent."""
    proposals = Proposal(np.zeros((n, 2)), np.arange(n, dtype=np.int32)[:, None], ["a"] * n)
    return Batch.unevaluated(proposals).replace(
        id=np.arange(10, 10 + n, dtype=np.int32), **columns
    )


def test_rewards_follow_their_formulas():
    """Better, worse, new below 0, no known parent, and not ok; nan for `UNREWARDED` outcomes."""
    outcome = np.array(
        [
            "ok",
            "ok",
            "ok",
            "ok",
            "failed",
            "rejected",
            "duplicate",
            "timeout",
            "infrastructure",
            "skipped",
        ]
    )
    objective = np.array([3.0, 1.0, -2.0, 5.0, *[np.nan] * 6])
    candidates = batch(10, outcome=outcome, objective=objective)
    status = np.array([IMPROVED, REJECTED, NEW, NEW, *[REJECTED] * 6])
    added = Added(status, np.array([0.5, -1.0, -2.0, 5.0, *[np.nan] * 6]), None)
    parents = np.array([1.0, 2.0, -5.0, np.nan, *[1.0] * 6])
    rest = [0, 0, 0, 0, np.nan, np.nan]
    for reward, expected in [
        (over_parent, [2, 0, 3, 0]),
        (over_cell, [0.5, 0, np.inf, np.inf]),
        (entered, [1, 0, 1, 1]),
        (new_cell, [0, 0, 1, 1]),
    ]:
        np.testing.assert_array_equal(reward(candidates, added, parents), [*expected, *rest])


def test_ranks_accept_gains_in_any_unit():
    """The first is 1 of 1; then above all, below all, equal to one.

    Nothing stays nothing and is no rank for others.
    """
    gains = np.array([5.0, 7.0, 1.0, 5.0, 0.0, np.nan, 6.0])
    ranks, recent = ranked(gains, (), window=3)
    np.testing.assert_allclose(ranks, [1, 1, 1 / 3, 3 / 4, 0, np.nan, 3 / 4])
    assert recent == (1.0, 5.0, 6.0)
    np.testing.assert_array_equal(ranked(np.expm1(10 * gains), (), 3)[0], ranks)
    first, between = ranked(gains[:3], (), 3)
    np.testing.assert_array_equal(np.append(first, ranked(gains[3:], between, 3)[0]), ranks)


def test_ranks_leave_zeros_and_ones_unchanged():
    """Where a reward is 1 or 0, so is its rank."""
    gains = np.array([1.0, 0, 0, 1, 1, 0, 1])
    assert ranked(gains, ())[0].tolist() == gains.tolist()


def test_dollars_are_those_of_the_calls_plus_a_constant():
    """Of the notes; a candidate without calls is not for nothing.

    A call that never came has no price to know.
    """
    candidates = batch(
        3,
        notes=[{"dollars": 0.02}, {}, {"dollars": None}],
        outcome=np.array(["ok", "ok", "infrastructure"]),
    )
    assert Dollars(0.01)(candidates)[:2] == pytest.approx([0.03, 0.01])
    with pytest.raises(ValueError, match=r"'a' does not know what its calls cost: give prices="):
        Dollars()(candidates.replace(outcome=np.array(["ok"] * 3)))


# Portfolios


@dataclass
class Says(qdkit.Operator):
    """Makes texts under a name that may be another's, and counts what it learns from."""

    name: str
    answers: str = ""
    arity: int = 1
    heard: int = 0

    def propose(self, key, context, n):
        return Proposal.of(list(context.parents.genome[:n]), self.answers or self.name)

    def learn(self, batch, added):
        self.heard += len(batch)


def commit(portfolio, origins, first, good=(), outcome="ok", nobody=False):
    """Commits a batch by `origins`, of which those named in `good` entered the archive."""
    n = len(origins)
    candidates = batch(
        n, outcome=np.full(n, outcome), objective=np.full(n, np.nan if nobody else 1.0)
    )
    candidates = candidates.replace(
        origin=list(origins), id=np.arange(first, first + n, dtype=np.int32)
    )
    status = np.array([NEW if origin in good else REJECTED for origin in origins])
    portfolio.learn(candidates, Added(status, np.where(status > 0, 1.0, 0.0), None))


def next_origins(portfolio, n):
    """The origins of its next `n` candidates."""
    parents = batch(n).replace(genome=["x"] * n)
    return portfolio.turn(n).propose(KEY, Context(parents), n).origin


def pulls(portfolio):
    return {arm.arm: (arm.pulls, arm.waiting) for arm in portfolio.arms}


def test_a_portfolio_learns_which_operator_pays():
    """After a while the operator whose candidates enter makes most of them; the table says why."""
    portfolio = Portfolio(
        [Says("a"), Says("b"), Says("c")], bandit=UCBTuned(least=0.02), reward=entered
    )
    counts: Counter[str] = Counter()
    for step in range(100):
        origins = next_origins(portfolio, 4)
        commit(portfolio, origins, 4 * step, good="b")
        counts.update(origins)
    assert counts["b"] > 300 and min(counts["a"], counts["c"]) >= 8
    a, b, _ = portfolio.arms
    assert (b.arm, b.pulls, b.waiting, b.mean, b.price) == ("b", counts["b"], 0, 1, 1)
    assert a.mean == 0 and a.pulls == counts["a"]


def test_the_reward_goes_to_the_operator_that_answered():
    """An operator that delegates its calls to another gains and loses nothing."""
    portfolio = Portfolio([Says("a", answers="b"), Says("b")], bandit=UCB(), reward=entered)
    origins = next_origins(portfolio, 6)
    assert origins == ["b"] * 6
    commit(portfolio, origins, 0, good="b")
    assert pulls(portfolio) == {"a": (0, 0), "b": (6, 0)}


def test_an_unknown_operator_name_is_refused():
    """Otherwise it would silently learn nothing; without a bandit any name is accepted."""
    with pytest.raises(ValueError, match="'a' gives the origin 'stranger' to its candidates"):
        next_origins(Portfolio([Says("a", answers="stranger")], bandit=UCB()), 2)
    assert next_origins(Portfolio([Says("a", answers="stranger")]), 1) == ["stranger"]


def test_batches_under_way_are_matched_in_order():
    """Two turns are heard of one after the other.

    Seeds, others' batches and what is judged again change nothing.
    """
    portfolio = Portfolio([Says("a"), Says("b")], bandit=UCB(), reward=entered)
    commit(portfolio, ["seed"] * 3, 0)
    first, second = next_origins(portfolio, 3), next_origins(portfolio, 2)
    commit(portfolio, ["other"], 3)
    assert sum(waiting for _, waiting in pulls(portfolio).values()) == 5
    commit(portfolio, first, 4)
    commit(portfolio, first, 4)
    assert sum(waiting for _, waiting in pulls(portfolio).values()) == 2
    commit(portfolio, second, 7)
    assert pulls(portfolio) == {name: ((first + second).count(name), 0) for name in "ab"}


def test_pulls_without_a_candidate_are_taken_back():
    """By the outcome, where a server was away.

    By the origin, where a whole step came to nothing.
    """
    portfolio = Portfolio([Says("a"), Says("b")], bandit=UCB(), reward=entered)
    commit(portfolio, next_origins(portfolio, 4), 0, outcome="skipped")
    next_origins(portfolio, 4)
    commit(portfolio, ["nobody"] * 4, 4, outcome="skipped", nobody=True)
    assert pulls(portfolio) == {"a": (0, 0), "b": (0, 0)}


def test_a_failed_step_concerns_only_its_own_operators():
    """A bandit within a portfolio takes back only its own pulls."""
    inner = Portfolio([Says("a"), Says("b")], bandit=UCB(), reward=entered, name="inner")
    outer = Portfolio([inner, Says("c")])
    assert (
        next_origins(outer, 1) == ["a"]
        and next_origins(outer, 1) == ["c"]
        and next_origins(outer, 1) == ["b"]
    )
    commit(outer, ["a"], 0, good="a")
    commit(outer, ["nobody"], 1, outcome="skipped", nobody=True)
    assert pulls(inner) == {"a": (1, 0), "b": (0, 1)}
    commit(outer, ["b"], 2)
    assert pulls(inner) == {"a": (1, 0), "b": (1, 0)}


def test_an_arm_without_a_server_pauses():
    """It is tried about once in 32 pulls, unless no arm has a server.

    Without that rule an arm without rewards would be pulled for ever.
    """
    portfolio = Portfolio([Says("away"), Says("here")], bandit=UCB(), reward=entered)
    origins: list[str] = []
    for step in range(200):
        (origin,) = next_origins(portfolio, 1)
        commit(portfolio, [origin], step, outcome="infrastructure" if origin == "away" else "ok")
        origins.append(origin)
    assert 3 <= origins.count("away") <= 7
    alone = Portfolio([Says("away")], bandit=UCB(), reward=entered)
    commit(alone, next_origins(alone, 1), 0, outcome="infrastructure")
    assert next_origins(alone, 1) == ["away"]


def test_a_child_is_compared_with_the_best_of_its_parents():
    """The portfolio knows their objectives.

    A parent that failed stands for its own parents.
    """
    received = []

    def reward(batch, added, parents):
        received.append(parents.tolist())
        return np.zeros(len(batch))

    portfolio = Portfolio([Says("a")], bandit=UCB(), reward=reward)
    nothing = lambda n: Added(np.zeros(n, int), np.zeros(n), None)
    seed = batch(2, objective=np.array([3.0, 5.0])).replace(
        id=np.array([0, 1]), origin=["seed"] * 2, parents=np.full((2, 1), NO_CANDIDATE)
    )
    portfolio.learn(seed, nothing(2))
    for first, parents, objective in [
        (2, [0, 1], [np.nan, 4.0]),
        (4, [2, NO_CANDIDATE], [1.0, 1.0]),
        (6, [3, 4], [1.0, 1.0]),
    ]:
        next_origins(portfolio, 2)
        candidates = batch(
            2, objective=np.array(objective), outcome=np.where(np.isnan(objective), "failed", "ok")
        )
        candidates = candidates.replace(
            id=np.array([first, first + 1]), parents=np.array(parents)[:, None]
        )
        portfolio.learn(candidates, nothing(2))
    np.testing.assert_equal(received, [[3, 5], [3, np.nan], [4, 1]])
    next_origins(portfolio, 1)
    portfolio.learn(batch(1).replace(id=np.array([8]), parents=np.array([[6, 1]])), nothing(1))
    assert received[-1] == [5]


def test_each_part_of_a_turn_gets_the_targets_of_its_own_candidates():
    """There is one target for each candidate, and they are divided as the parents are."""
    aims = []

    class Aims(Says):
        def propose(self, key, context, n):
            aims.append(None if context.target is None else context.target.tolist())
            return super().propose(key, context, n)

    parents = batch(4).replace(genome=["x"] * 4)
    turn = lambda: Portfolio([Aims("a"), Aims("b")], [3, 1]).turn(4)
    turn().propose(KEY, Context(parents, target=np.arange(8.0).reshape(4, 2)), 4)
    turn().propose(KEY, Context(parents), 4)
    assert aims == [[[0, 1], [2, 3], [4, 5]], [[6, 7]], None, None]


def test_a_portfolio_with_a_bandit_has_no_weights_and_at_least_one_arm():
    """Both errors are raised when it is created."""
    with pytest.raises(ValueError, match="leave out the weights"):
        Portfolio([Says("a"), Says("b")], [1, 2], bandit=UCB())
    fixed = Says("a")
    fixed.size = 4
    with pytest.raises(ValueError, match="any number of candidates"):
        Portfolio([fixed], bandit=UCB())


def test_operators_with_a_fixed_size_are_no_arms():
    """The bandit divides the rest of the batch."""
    fixed = Says("fixed")
    fixed.size = 3
    portfolio = Portfolio([Says("a"), fixed, Says("b")], bandit=UCB())
    assert portfolio.shares(7) == [2, 3, 2]
    assert [arm.arm for arm in portfolio.arms] == ["a", "b"] and Portfolio([Says("a")]).arms == []


def test_a_large_batch_is_divided_into_few_blocks():
    """So that operators make few different numbers.

    Each block earns the mean of its candidates.
    """
    portfolio = Portfolio([Says("a"), Says("b")], bandit=UCB(), reward=entered)
    numbers = set()
    for step in range(20):
        origins = next_origins(portfolio, 1000)
        numbers.add(origins.count("b"))
        commit(portfolio, origins, 1000 * step, good="b" if step % 2 else "")
    assert {number % 63 for number in numbers} <= {0, 55} and sum(
        arm.pulls for arm in portfolio.arms
    ) == 20 * 16
    assert portfolio.arms[0].mean == 0 and 0 < portfolio.arms[1].mean < 1
    next_origins(portfolio, 32)
    before = portfolio.arms[0]
    commit(portfolio, ["a", "b"] * 16, 20_000, good="b")
    assert portfolio.arms[0].pulls > before.pulls and not any(
        arm.waiting for arm in portfolio.arms
    )


# In a search


class Still(Jitter):
    """Makes its parents again."""

    name = "still"

    def propose(self, key, context, n):
        return qdkit.Proposal.of(context.parents.genome.copy(), self.name, context.parents)


BANDITS = {
    "tuned": UCBTuned(window=30, least=0.1),
    "thompson": Thompson(discount=0.99),
    "exp3": EXP3(0.2),
}


def search(bandit="tuned", reward=over_cell, seed=0, wrap=lambda operator: operator, **settings):
    operator = Portfolio([Jitter(), Still()], bandit=BANDITS[bandit], reward=reward, seed=seed)
    return search_of(
        Points(),
        Grid((5, 5), BOX),
        wrap(operator),
        **{"batch": 4, "seed": 3, "novelty": None} | settings,
    )


@pytest.mark.parametrize("bandit", BANDITS)
def test_most_candidates_come_from_the_operator_that_pays(bandit):
    """Noise earns something and copies nothing.

    The ledger holds the operator of each candidate, and which candidates entered.
    """
    finished = search(bandit, entered).run(60, progress=False)
    counts = {name: numbers.sum(1).tolist() for name, numbers in finished.origins.items()}
    assert sum(tried for tried, _ in counts.values()) == 240
    assert counts["jitter"][0] > counts["still"][0] > 0 and counts["still"][1] == 0
    assert counts["jitter"][1] + counts["seed"][1] == len(finished.ledger.entries()[0])
    assert {arm.arm for arm in finished.operator.arms} == {"jitter", "still"}


@pytest.mark.parametrize("bandit", BANDITS)
def test_any_number_in_flight_gives_the_same_run(bandit):
    """With equal `ahead`, threads do not change the rewards of a bandit."""
    dumps = {
        search(bandit, batch=1, in_flight=n, ahead=64).run(120, progress=False).ledger.dump()
        for n in (1, 4, 16)
    }
    assert len(dumps) == 1
    other = (
        search(bandit, batch=1, in_flight=4, ahead=64, seed=1)
        .run(120, progress=False)
        .ledger.dump()
    )
    assert other not in dumps or bandit == "tuned"


@pytest.mark.parametrize("bandit", BANDITS)
def test_a_resumed_run_restores_its_bandit(bandit, run_folder):
    """Stopped anywhere, with steps under way, and restored from its ledger."""
    settings = {"batch": 2, "in_flight": 4, "ahead": 8, "reward": over_parent}
    whole = search(bandit, **settings).run(60, progress=False)
    with search(bandit, run=run_folder, **settings) as first:
        for i, _ in enumerate(first.steps(60)):
            if i == 22:
                break
    with search(bandit, run=run_folder, resume=True, **settings) as second:
        second.run(60 - len(second.commits), progress=False)
        assert second.ledger.dump() == whole.ledger.dump()
        assert second.operator.arms == whole.operator.arms


KILLED = """
import os, sys
from tests.test_bandits import search
made = search(batch=2, run=sys.argv[1])
for i, _ in enumerate(made.steps(60)):
    if i == 31:
        os.kill(os.getpid(), 9)
"""


def test_a_killed_run_restores_its_bandit(run_folder):
    """After `kill -9` the replay allocates and rewards as the run did."""
    root = Path(__file__).parents[1]
    environ = os.environ | {"PYTHONPATH": str(root)}
    ran = subprocess.run(
        [sys.executable, "-c", KILLED, str(run_folder)], cwd=root, env=environ, timeout=240
    )
    assert ran.returncode == -9
    whole = search(batch=2).run(60, progress=False)
    with search(batch=2, run=run_folder, resume=True) as again:
        assert len(again.commits) == 32
        again.run(28, progress=False)
        assert (
            again.ledger.dump() == whole.ledger.dump()
            and again.operator.arms == whole.operator.arms
        )


def test_another_bandit_is_another_run(run_folder):
    """The rule, the reward and the seed are part of the description of a run."""
    search(run=run_folder).run(5, progress=False).close()
    for other in ({"bandit": "exp3"}, {"reward": entered}, {"seed": 1}):
        with pytest.raises(ValueError, match="go on with the same"):
            search(run=run_folder, resume=True, **other)


@pytest.mark.parametrize(
    "wrap", [lambda operator: operator, Independent], ids=["plain", "wrapped"]
)
def test_a_run_with_the_old_default_reward_can_be_resumed(wrap, run_folder):
    """Its description is that of then, and the default of now gives way to it.

    A run of now keeps that of now.
    """
    whole = search(reward=over_cell_or_zero, wrap=wrap).run(30, progress=False)
    with search(reward=over_cell_or_zero, wrap=wrap, run=run_folder) as first:
        first.run(11, progress=False)
        assert "reward=<function over_cell>," in first.ledger.about["operator"]["repr"]
    with search(wrap=wrap, run=run_folder, resume=True) as second:
        second.run(19, progress=False)
        assert second.ledger.dump() == whole.ledger.dump()
    assert "reward=over_cell," in search(wrap=wrap).ledger.about["operator"]["repr"]


def test_a_bandit_works_within_a_baseline():
    """Best of N with a bandit: it allocates and learns through the wrapper."""
    finished = search(wrap=Independent).run(20, progress=False)
    assert (
        sum(arm.pulls for arm in finished.operator.operator.arms) == 30
    )  # as far as its window goes
    assert not any(arm.waiting for arm in finished.operator.operator.arms)


def test_a_search_without_budget_left_has_no_pulls_under_way():
    """Every pull that the budget did not cover is taken back."""

    class Expensive(Says):
        def propose(self, key, context, n):
            if len(context.parents.genome[0]) > 3 and n:
                raise Exhausted("no money")
            return Proposal.of([context.parents.genome[0] + "!"] * n, self.name, context.parents)

    operator = Portfolio([Expensive("a"), Expensive("b")], bandit=UCB())
    archive = Grid((8, 5), Texts.bounds)
    finished = qdkit.Search(
        Texts(("ab", "cd")),
        archive,
        operator,
        batch=1,
        workers=qdkit.Workers(in_flight=4),
        steering=qdkit.Steering(novelty=None),
    )
    finished.run(40, progress=False)
    assert finished.summary()["outcomes"]["skipped"] > 0
    arms = finished.operator.arms
    assert "nobody" in finished.origins and not any(arm.waiting for arm in arms)
    assert sum(arm.pulls for arm in arms) == sum(finished.origins[name][0].sum() for name in "ab")


def test_the_plot_counts_candidates_by_operator():
    """The lines end at the numbers of candidates and of elites that each operator made.

    Seeds are not drawn.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    finished = search().run(20, progress=False)
    axes = Figure().subplots(2)
    assert qdkit.viz.origins(finished, axes) is axes[0].figure
    for i, ax in enumerate(axes):
        ends = {line.get_label(): line.get_ydata()[-1] for line in ax.lines}
        assert ends == {
            name: numbers[i].sum() for name, numbers in finished.origins.items() if name != "seed"
        }
    assert sum(line.get_ydata()[-1] for line in axes[0].lines) == 80 - 16
    with pytest.raises(ValueError, match="draws on 2 axes"):
        qdkit.viz.origins(finished, axes[:1])

"""Measures the bandits on arms whose means are known, and writes bandits.md beside this file.

    python results/steering/bandits.py

`--quick` makes few short runs, to try the script out, and prints the page instead.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import time
from collections import deque
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from qdkit.selection.bandits import (
    EXP3,
    UCB,
    Bandit,
    BanditState,
    Pull,
    Thompson,
    UCBTuned,
    discounted_ucb,
    sliding_window_ucb,
)

STEADY = ((0.5, 0.45, 0.4, 0.3, 0.2),)
DRIFT = (
    (0.5, 0.45, 0.4, 0.3, 0.2),
    (0.2, 0.3, 0.4, 0.45, 0.5),
    (0.1, 0.6, 0.1, 0.1, 0.1),
    (0.3, 0.1, 0.2, 0.5, 0.4),
)
WANING = tuple(tuple(m / 4**i for m in means) for i, means in enumerate(DRIFT))


class Fixture(NamedTuple):
    """Arms with a reward of 1 by their means, else 0.

    The means stay for `pulls / len(means)` pulls each.
    """

    name: str
    means: tuple[tuple[float, ...], ...]
    pulls: int
    under_way: int = 1

    @property
    def changes(self) -> int:
        """How often the means change."""
        return len(self.means) - 1


FIXTURES = (
    Fixture("A", STEADY, 5000),
    Fixture("A, 64 under way", STEADY, 5000, 64),
    Fixture("B", DRIFT, 4000),
    Fixture("B, 64 under way", DRIFT, 4000, 64),
    Fixture("C", WANING, 4000),
)

# Regret on A that the rules are held to: mean and standard deviation over 12 seeds of other
# implementations.
SHOULD = {
    "UCB1": (193, 19),
    "UCB-Tuned": (41, 11),
    "Thompson": (58, 17),
    "EXP3": (247, 22),
    "D-UCB, γ 0.999": (367, None),
    "evenly": (650, None),
}


class Evenly(Bandit):
    """Every arm with the same probability."""

    def index(self, state: BanditState) -> np.ndarray:
        return np.ones(len(state.last))

    def choose(self, state, random, available=None):  # type: ignore[no-untyped-def]
        arms = len(state.last)
        waiting = state.waiting + (np.arange(arms) == (arm := random.integers(arms)))
        return state._replace(waiting=waiting), Pull(int(arm), np.ones(arms))


def rules(pulls: int) -> dict[str, Bandit]:
    """Returns all rules; EXP3's γ is that of its bound, which needs the number of pulls."""
    k, drift = len(STEADY[0]), FIXTURES[2]
    tau = round(2 * math.sqrt(drift.pulls * math.log(drift.pulls) / drift.changes))
    gamma = 1 - math.sqrt(drift.changes / drift.pulls) / 4
    return {
        "UCB1": UCB(),
        "UCB-Tuned": UCBTuned(),
        "UCB-Tuned, last 500": UCBTuned(window=500),
        "UCB-Tuned, γ 0.998": UCBTuned(discount=0.998),
        "UCB-Tuned, γ 0.998, least 0.02": UCBTuned(discount=0.998, least=0.02),
        f"SW-UCB, τ {tau}": sliding_window_ucb(tau),
        f"D-UCB, γ {gamma:.4f}": discounted_ucb(gamma),
        "D-UCB, γ 0.999": discounted_ucb(0.999),
        "Thompson": Thompson(),
        "Thompson, γ 0.998": Thompson(discount=0.998),
        "EXP3": EXP3(min(1.0, math.sqrt(k * math.log(k) / ((math.e - 1) * pulls)))),
        "evenly": Evenly(),
    }


def regret(rule: Bandit, fixture: Fixture, seed: int) -> tuple[float, float]:
    """Returns the regret against the best arm of each time, and against the best single arm."""
    means = np.repeat(np.array(fixture.means), fixture.pulls // len(fixture.means), axis=0)
    random = np.random.default_rng((seed, fixture.pulls, len(fixture.means)))
    state, waiting, got = rule.start(means.shape[1]), deque[tuple[Pull, float]](), 0.0
    for now in means:
        state, pull = rule.choose(state, random)
        got += now[pull.arm]
        waiting.append((pull, float(random.random() < now[pull.arm])))
        if len(waiting) == fixture.under_way:
            state = rule.hear(state, *waiting.popleft())
    return means.max(1).sum() - got, means.sum(0).max() - got


def ucb1_bound(fixture: Fixture) -> float:
    """Returns the bound of Auer, Cesa-Bianchi & Fischer 2002, theorem 1."""
    gaps = [max(fixture.means[0]) - m for m in fixture.means[0] if m < max(fixture.means[0])]
    return sum(8 * math.log(fixture.pulls) / gap for gap in gaps) + (1 + math.pi**2 / 3) * sum(
        gaps
    )


def exp3_bound(fixture: Fixture) -> float:
    """Auer, Cesa-Bianchi, Freund & Schapire 2002, corollary 3.2; against the best single arm."""
    k = len(fixture.means[0])
    return 2 * math.sqrt(math.e - 1) * math.sqrt(fixture.pulls * k * math.log(k))


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Returns 95 % of the mean, by the percentile bootstrap of 10,000 resamples."""
    x, random = np.array(values), np.random.default_rng(0)
    low, high = np.quantile(
        x[random.integers(len(x), size=(10_000, len(x)))].mean(1), (0.025, 0.975)
    )
    return float(low), float(high)


def told(values: Sequence[float]) -> str:
    """Returns mean ± standard deviation [95 % of the mean], and the median."""
    low, high = interval(values)
    mean, sd = statistics.fmean(values), statistics.stdev(values)
    return f"{mean:.0f} ± {sd:.0f} [{low:.0f}, {high:.0f}], {statistics.median(values):.0f}"


def verdict(name: str, values: Sequence[float]) -> str:
    """Returns whether the mean on A is what it should be, within one standard deviation."""
    mean, sd = SHOULD[name]
    found, spread = statistics.fmean(values), statistics.stdev(values)
    room = max(spread, sd or 0)
    met = "yes" if abs(found - mean) <= room else "better" if found < mean else "no"
    return f"| {name} | {mean}{f' ± {sd}' if sd else ''} | {found:.0f} ± {spread:.0f} | {met} |"


PAGE = """# Bandits on arms that are known

Written by `bandits.py` on {date}; no figure here was typed by hand, but for the means of the
arms and the column "should be". Regret: what the arm that was best at each time would have had
more in the mean. Seeds 0 to {last}; mean ± standard deviation [95 % of the mean by bootstrap],
median.

| rule | {names} |
| --- |{lines}
{rows}

- **A**: five arms, a reward of 1 with probabilities {steady}, {a} pulls. **64
  under way**: a reward arrives 63 pulls later.
- **B**: the chances change every {each} pulls: {drift}.
- **C**: as B, and a quarter as much after each change, as gains wane where an archive fills.
- The settings are the same on all fixtures, though with knowledge of how arms drift better ones
  could be chosen. τ and γ are those of Garivier & Moulines (2011) for B; EXP3 knows the number of
  pulls. Best of each column (least mean):
  {best}.

| proved | at most | mean (the greatest) | holds |
| --- | --: | --: | --- |
{bounds}

What the rules are held to on A: within one standard deviation, theirs or ours.

| rule | should be | is | met |
| --- | --: | --: | --- |
{should}

The figures to be met are of 12 seeds. UCB-Tuned has no proved bound: its worst
run here has a regret of {worst:.0f}, and the median of {seeds} seeds is {middle:.0f}.

CPU: {cpu:.0f} µs a pull and its reward, all rules together, of {total} pulls. The machine:
{system}, {cores} cores, shared with others; Python {python}, numpy {numpy}.
"""


def page(found: dict[str, dict[str, list[tuple[float, float]]]], seeds: int, cpu: float) -> str:
    """Returns bandits.md."""
    dynamic = {
        f: {rule: [a for a, _ in runs] for rule, runs in by.items()} for f, by in found.items()
    }
    names = [fixture.name for fixture in FIXTURES]
    rows = [
        f"| {rule} | {' | '.join(told(dynamic[f][rule]) for f in names)} |"
        for rule in dynamic["A"]
    ]
    best = {
        f: min(dynamic[f], key=lambda rule, f=f: statistics.fmean(dynamic[f][rule])) for f in names
    }
    bounds = [("UCB1 on A", ucb1_bound(FIXTURES[0]), dynamic["A"]["UCB1"])]
    for fixture in (fixture for fixture in FIXTURES if fixture.under_way == 1):
        weak = [b for _, b in found[fixture.name]["EXP3"]]
        bounds.append(
            (f"EXP3 on {fixture.name}, against the best single arm", exp3_bound(fixture), weak)
        )
    tuned, shown = dynamic["A"]["UCB-Tuned"], lambda means: ", ".join(f"{m:g}" for m in means)
    return PAGE.format(
        date=date.today(),
        last=seeds - 1,
        seeds=seeds,
        names=" | ".join(names),
        lines=" --: |" * len(names),
        rows="\n".join(rows),
        steady=shown(STEADY[0]),
        a=f"{FIXTURES[0].pulls:,}",
        each=f"{FIXTURES[2].pulls // len(DRIFT):,}",
        drift="; ".join(map(shown, DRIFT)),
        best="; ".join(f"{f}: {rule}" for f, rule in best.items()),
        bounds="\n".join(
            f"| {what} | {most:.0f} | {statistics.fmean(x):.0f} ({max(x):.0f}) | "
            f"{'yes' if statistics.fmean(x) <= most else 'no'} |"
            for what, most, x in bounds
        ),
        should="\n".join(verdict(name, dynamic["A"][name]) for name in SHOULD),
        worst=max(tuned),
        middle=statistics.median(tuned),
        cpu=1e6 * cpu / (total := seeds * len(rows) * sum(fixture.pulls for fixture in FIXTURES)),
        total=f"{total:,}",
        system=f"{platform.system()} {platform.machine()}",
        cores=os.cpu_count(),
        python=platform.python_version(),
        numpy=version("numpy"),
    )


def main() -> None:
    """Measures, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument(
        "--quick", action="store_true", help="two seeds; prints the page and writes nothing"
    )
    asked = parser.parse_args()
    seeds, since = 2 if asked.quick else asked.seeds, time.process_time()
    found = {
        fixture.name: {
            name: [regret(rule, fixture, seed) for seed in range(seeds)]
            for name, rule in rules(fixture.pulls).items()
        }
        for fixture in FIXTURES
    }
    text = page(found, seeds, time.process_time() - since)
    print(text)
    if not asked.quick:
        Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

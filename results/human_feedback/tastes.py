"""Measures two opposed tastes and searches by them: writes tastes.md and tastes.png.

    python results/human_feedback/tastes.py

`--quick` takes two seeds and short searches, to try the script out, and prints the page instead.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np

from qdkit import Batch, Elites, Evaluation, Search, viz
from qdkit.archives import Grid
from qdkit.domains import UnitArm
from qdkit.feedback.preferences import (
    Comparisons,
    Preferred,
    Taste,
    Tastes,
    accuracy,
    by_group,
    for_each_group,
    held_out,
    taste,
    tastes,
)
from qdkit.operators import IsoLine

HERE = Path(__file__).parent
RATERS, MINORITY, PAIRS = 20, 5, 40
FEATURES, SHARED, OPPOSED = (
    8,
    1.45,
    1.8,
)  # lengths of weights; with these one taste for all serves the few by a coin
# pairs for each rater that no fit has seen, told by what the rater's weights say without chance
FRESH = 200
FEW = (2, 5, 10, 20, 40)
GROUP = np.arange(RATERS) < MINORITY  # True: in the minority


# Two tastes in a world of nothing else.


class World(NamedTuple):
    """Replies to fit to, fresh pairs to be told, and the features of both."""

    said: Comparisons
    features: np.ndarray
    fresh: Comparisons
    unseen: np.ndarray


def world(seed: int, pairs: int = PAIRS) -> World:
    """Raters who agree on seven features and are opposed on the first.

    Each pair is of two new things.
    """
    random = np.random.default_rng(seed)
    shared = random.normal(size=FEATURES)
    shared[0] = 0
    shared *= SHARED / np.linalg.norm(shared)
    weights = shared + np.where(GROUP, -OPPOSED, OPPOSED)[:, None] * np.eye(FEATURES)[0]
    said, features = _asked(random, weights, pairs, surely=False)
    fresh, unseen = _asked(random, weights, FRESH, surely=True)
    return World(said, features, fresh, unseen)


def nearness(seed: int, pairs: int = PAIRS) -> World:
    """Raters who prefer what is near to a point of theirs.

    The point of the few is opposite to that of the many.
    """
    random = np.random.default_rng((seed, 2))
    point = random.normal(size=FEATURES)
    points = np.where(GROUP, -1, 1)[:, None] * point
    said, features = _asked(random, points, pairs, surely=False, worth=_near)
    fresh, unseen = _asked(random, points, FRESH, surely=True, worth=_near)
    return World(said, features, fresh, unseen)


def _more(things: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return (things * weights).sum(-1)


def _near(things: np.ndarray, points: np.ndarray) -> np.ndarray:
    return -((things - points) ** 2).sum(-1) / 2


def _asked(
    random: np.random.Generator,
    of: np.ndarray,
    pairs: int,
    surely: bool,
    worth: Callable[..., np.ndarray] = _more,
) -> tuple[Comparisons, np.ndarray]:
    """Returns the replies of raters to pairs, by the worth of a thing in the rows `of` each rater.

    They are certain if `surely`, else random.
    """
    rater = np.repeat(np.arange(RATERS), pairs)
    things = random.normal(size=(2, len(rater), FEATURES))
    odds = worth(things[0], of[rater]) - worth(things[1], of[rater])
    won = odds > 0 if surely else random.random(len(rater)) < 1 / (1 + np.exp(-odds))
    rows = np.arange(2 * len(rater)).reshape(2, -1)
    return Comparisons(rows[0], rows[1], won, 0.0, rater), things.reshape(-1, FEATURES)


class Told(NamedTuple):
    """Returns how well fresh pairs of each group are predicted, by one taste and by several."""

    one_most: float
    one_few: float
    several_most: float
    several_few: float
    groups: int
    purity: float
    seen_few: (
        float  # held-out accuracy for the smaller group, as a user without the truth would see it
    )
    bic: dict[int, float]
    rises: bool


def told(seed: int, made: World, *, peaks: bool = False, also_held_out: bool = False) -> Told:
    """Returns both fits in one world."""
    one = taste(made.said, made.features, peaks=peaks, heads=0)
    several = tastes(made.said, made.features, peaks=peaks, heads=0, seed=seed)
    few = GROUP[made.fresh.rater]
    scores = []
    for fit in (one, several):
        probability = fit.probability(made.fresh, made.unseen)
        scores += [accuracy(probability[its], made.fresh.take(its)) for its in (~few, few)]
    seen = np.nan
    if also_held_out and len(several.groups) == 2:
        fit = partial(tastes, groups=2, heads=0, restarts=2)
        seen = by_group(held_out(fit, made.said, made.features, folds=5), made.said, several)[
            1
        ].accuracy
    rises = bool((np.diff(several.rise) >= -1e-9 * abs(several.rise[-1])).all())
    return Told(*scores, len(several.groups), purity(several), seen, dict(several.bic), rises)


def purity(found: Tastes) -> float:
    """Returns the share of raters who are in the group of the most of their own."""
    most = found.member.argmax(1)
    return (
        sum(max((GROUP[most == k]).sum(), (~GROUP[most == k]).sum()) for k in set(most.tolist()))
        / RATERS
    )


# The same in a search: arms that reach a point with the elbow on the one side or on the other.

NAMES = ("tip x", "tip y", "smooth", "bulge", "sharpest joint", "wrist to the right")
TASTE = np.array(
    [0.0, 0.0, 1.0, 1.8, -0.5, 0.9]
)  # of the majority; the minority wants the bulge on the other side
OTHER = TASTE * np.array([1, 1, 1, -1, 1, 1])
SHOWN = 400  # arms among which raters compare


@jax.jit
def posture(turns: jax.Array) -> jax.Array:
    """Returns float `[n, 6]` of arms `[n, joints]`: see `NAMES`.

    The bulge is the area between arm and straight line.
    """
    angles = jax.numpy.cumsum(2 * np.pi * jax.numpy.clip(turns, 0, 1) - np.pi, 1)
    steps = jax.numpy.stack([jax.numpy.cos(angles), jax.numpy.sin(angles)], 2) / turns.shape[1]
    points = jax.numpy.cumsum(steps, 1)
    before = points - steps
    area = (before[..., 0] * points[..., 1] - before[..., 1] * points[..., 0]).sum(1)
    spread, sharp = jax.numpy.std(turns, 1), jax.numpy.abs(turns - 0.5).max(1)
    wrist = jax.numpy.cos(angles[:, -1])
    return jax.numpy.column_stack([0.5 + points[:, -1] / 2, -spread, area, sharp, wrist])


@dataclass(frozen=True)
class Posed(UnitArm):
    """The arm without an objective."""

    names: ClassVar[tuple[str, ...]] = NAMES[:2]  # type: ignore[assignment]

    def evaluate(self, genomes: Any) -> Evaluation:
        """Its features; the objective comes from whoever judges."""
        return Evaluation(features=np.asarray(posture(np.asarray(genomes))))


def tip(batch: Batch) -> np.ndarray:
    """Returns the axes."""
    return batch.features[:, :2]


class Truth(NamedTuple):
    """Returns the true worth of arms to both groups, in standard deviations of the shown arms."""

    mean: np.ndarray
    scale: np.ndarray
    units: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> Truth:
        """From the arms that were shown."""
        mean, scale = features.mean(0), features.std(0)
        return cls(
            mean, scale, np.array([((features - mean) / scale @ w).std() for w in (TASTE, OTHER)])
        )

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """float `[2, n]`: to the majority and to the minority."""
        return (
            np.stack([TASTE, OTHER])
            @ ((features - self.mean) / self.scale).T
            / self.units[:, None]
        )


def arms_compared(seed: int) -> tuple[Comparisons, np.ndarray, Truth]:
    """Returns the comparisons of arms drawn evenly."""
    random = np.random.default_rng((seed, 1))
    features = np.asarray(posture(random.random((SHOWN, 12))), float)
    truth = Truth.of(features)
    rater = np.repeat(np.arange(RATERS), PAIRS)
    left, right = (random.integers(SHOWN, size=len(rater)) for _ in range(2))
    right = np.where(left == right, (right + 1) % SHOWN, right)
    worth = truth(features) * truth.units[:, None]
    odds = worth[GROUP[rater].astype(int), left] - worth[GROUP[rater].astype(int), right]
    return (
        Comparisons(left, right, random.random(len(rater)) < 1 / (1 + np.exp(-odds)), 0.0, rater),
        features,
        truth,
    )


class Map(NamedTuple):
    """A map; its elites' worth to the majority and to the minority, float `[2, elites]`.

    How much of it is filled.
    """

    archive: Grid
    elites: Elites
    worth: np.ndarray
    coverage: float


def maps(seed: int, steps: int) -> dict[str, Map]:
    """Searches by each of the judges that can be made of the same replies."""
    said, features, truth = arms_compared(seed)
    one: Taste = taste(said, features, names=NAMES)
    several = tastes(said, features, names=NAMES, groups=2, seed=seed)
    most, few = for_each_group(several)
    judges = {
        "one taste for all": Preferred(one),
        "the mean of the groups": Preferred(several),
        "the worst group": Preferred(several, by="worst"),
        "the larger group": most,
        "the smaller group": few,
    }
    return {name: _searched(judge, truth, seed, steps) for name, judge in judges.items()}


def _searched(judge: Preferred, truth: Truth, seed: int, steps: int) -> Map:
    archive = Grid((32, 32), UnitArm.bounds, names=NAMES[:2])
    search = Search(
        Posed(), archive, IsoLine(0.02, 0.2), judge=judge, axes=tip, batch=64, seed=seed
    )
    search.run(steps, progress=False)
    elites = search.elites
    kept = np.asarray(elites.occupied)
    features = np.asarray(posture(np.asarray(elites.payload["genome"])[kept]), float)
    return Map(archive, elites, truth(features), float(kept.mean()))


def drawn(found: dict[str, Map]) -> None:
    """Draws the four maps of one seed: the values of their judges, and the side of the bulges."""
    from matplotlib.figure import Figure

    shown = [name for name in found if name != "one taste for all"]
    figure = Figure(figsize=(13.5, 6.2), layout="constrained")
    axes = figure.subplots(2, len(shown))
    for column, name in enumerate(shown):
        elites = found[name].elites
        bulge = np.where(
            elites.occupied,
            np.asarray(posture(np.asarray(elites.payload["genome"])))[:, 3],
            np.nan,
        )
        viz.heatmap(found[name], axes[0, column], title=f"{name}: score")
        side = {"cmap": "RdBu", "vmin": -0.3, "vmax": 0.3}
        viz.heatmap(
            found[name], axes[1, column], values=bulge, title="bulge: above 0 to the right", **side
        )
    figure.savefig(HERE / "tastes.png", dpi=110)


# The page.


def spread(values: Sequence[float]) -> str:
    """Returns the median and the ends."""
    return f"{statistics.median(values):.3f} [{min(values):.3f}, {max(values):.3f}]"


def judged(found: Sequence[dict[str, Map]]) -> list[str]:
    """Returns the rows of the table of maps, each over all seeds."""
    mean: Callable[[np.ndarray], float] = lambda x: float(x.mean())
    rows = []
    for name in found[0]:
        its = [maps[name] for maps in found]
        columns = (
            [mean(m.worth[0]) for m in its],
            [mean(m.worth[1]) for m in its],
            [mean(m.worth.min(0)) for m in its],
            [m.coverage for m in its],
        )
        rows.append(f"| {name} | {' | '.join(map(spread, columns))} |")
    own = [
        [mean(maps[n].worth[i]) for maps in found]
        for i, n in enumerate(("the larger group", "the smaller group"))
    ]
    coverage = [
        [maps[n].coverage for maps in found] for n in ("the larger group", "the smaller group")
    ]
    columns = (
        *own,
        [min(pair) for pair in zip(*own, strict=True)],
        [min(pair) for pair in zip(*coverage, strict=True)],
    )
    return [*rows, f"| one map per group, each its own | {' | '.join(map(spread, columns))} |"]


PAGE = """# Two opposed tastes

Written by `tastes.py` on {date}; no figure here was typed by hand. Seeds 0 to {last}; the median
[the least, the most].

{raters} raters, of whom {minority} want the opposite of the others in one respect, compare {pairs}
pairs each, and state their preferences with Bradley and Terry's probability. Things have
{features} features drawn from N(0, 1); all raters share weights of length {shared} on seven of
them, and the eighth weighs {opposed} to the many and -{opposed} to the few. The table shows the
share of {fresh} fresh pairs of each rater that is predicted as the rater's weights say. The raters
are drawn from the family that is fitted, so this is the most that can be hoped for.

| | accuracy for the majority | for the minority |
|---|--:|--:|
| one taste for all | {one_most} | {one_few} |
| as many tastes as BIC says | {several_most} | {several_few} |

- Asked for: at least 0.9 for the minority with the mixture. Met by {met} of {seeds} seeds.
- BIC chose {chosen}. BIC of one, two and three groups: {bic}.
- Purity, the share of raters who are in a group with their own: {purity}.
- Held out (five folds of the replies themselves, which have chance in them), for the smaller
  group: {seen}.
- The penalised log-likelihood never fell in {rises} of {seeds} seeds.

Where raters like what is near to a point of theirs instead, the few to the opposite point (`-|f -
a|² / 2`):

| | accuracy for the majority | for the minority |
|---|--:|--:|
{near}

How many comparisons it takes of each rater, for the accuracy for the minority, and how often BIC
finds two groups:

| comparisons of each rater | one taste for all | mixture | two groups |
|--:|--:|--:|--:|
{few}

## In a search

The same raters compare {shown} arms of twelve joints. All like them smooth, without a sharp joint
and with the wrist to the right; the many want the arm to bulge to the right of the straight line
to its tip, the few to the left. A search of {evaluations} evaluations fills a map of 32 × 32
places of the tip by each judge that can be made of the same {replies} replies. Shown is what the
elites of the map are worth in truth, in standard deviations of the arms that were compared; in the
third column each elite counts by whom it pleases less. Of one map per group, each group's worth is
that of its own map, and the third column the lesser of the two.

| judge | to the majority | to the minority | to whom it pleases less | filled |
|---|--:|--:|--:|--:|
{maps}

**What it says.** One taste for all is the majority's. With some twenty comparisons of each rater
the groups are found, without their number or their members being given; with five or fewer, BIC
has no reason for two, and the minority is not found. In a search the mean of opposed groups makes
the majority's map. The worst group makes a map that no group dislikes, and that pleases each about
half as much as a map of its own; one map for each group pleases both, and costs one more search.

![Four maps of the first seed](tastes.png)

CPU: {cpu:.0f} s in all. The machine: {system}, {cores} cores, shared with others; Python {python},
numpy {numpy}, jax {jax}.
"""


def page(
    found: Sequence[Told],
    near: dict[bool, list[Told]],
    few: dict[int, list[Told]],
    searched: Sequence[dict[str, Map]],
    **about: Any,
) -> str:
    """Returns tastes.md."""
    column = lambda name: spread([getattr(row, name) for row in found])
    chosen = [row.groups for row in found]
    rows = [
        f"| {pairs} | {spread([r.one_few for r in runs])} | "
        f"{spread([r.several_few for r in runs])} | "
        f"{sum(r.groups == 2 for r in runs)} of {len(runs)} |"
        for pairs, runs in few.items()
    ]
    nearer = [
        f"| {name}{', with `peaks`' if peaks else ''} | "
        f"{spread([getattr(r, f'{fit}_most') for r in runs])} | "
        f"{spread([getattr(r, f'{fit}_few') for r in runs])} |"
        for peaks, runs in near.items()
        for fit, name in (("one", "one taste for all"), ("several", "as many tastes as BIC says"))
    ]
    return PAGE.format(
        near="\n".join(nearer),
        date=date.today(),
        last=len(found) - 1,
        seeds=len(found),
        raters=RATERS,
        minority=MINORITY,
        pairs=PAIRS,
        features=FEATURES,
        shared=SHARED,
        opposed=OPPOSED,
        fresh=FRESH,
        **{
            name: column(name)
            for name in ("one_most", "one_few", "several_most", "several_few", "purity")
        },
        seen=spread([row.seen_few for row in found if np.isfinite(row.seen_few)]),
        met=sum(row.several_few >= 0.9 for row in found),
        rises=sum(row.rises for row in found),
        chosen=", ".join(
            f"{k} groups in {chosen.count(k)} of {len(found)} seeds" for k in sorted(set(chosen))
        ),
        bic=", ".join(f"{statistics.median(row.bic[k] for row in found):.0f}" for k in (1, 2, 3)),
        few="\n".join(rows),
        shown=SHOWN,
        replies=RATERS * PAIRS,
        maps="\n".join(judged(searched)),
        system=f"{platform.system()} {platform.machine()}",
        cores=os.cpu_count(),
        python=platform.python_version(),
        numpy=version("numpy"),
        jax=version("jax"),
        **about,
    )


def main() -> None:
    """Measures, and writes the page and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument(
        "--quick", action="store_true", help="two seeds and short searches; writes nothing"
    )
    asked = parser.parse_args()
    seeds, steps = (2, 20) if asked.quick else (asked.seeds, 150)
    since = time.process_time()
    found = [told(seed, world(seed), also_held_out=True) for seed in range(seeds)]
    near = {
        peaks: [told(seed, nearness(seed), peaks=peaks) for seed in range(seeds)]
        for peaks in (False, True)
    }
    few = {pairs: [told(seed, world(seed, pairs)) for seed in range(seeds)] for pairs in FEW}
    searched = []
    for seed in range(seeds):
        searched.append(maps(seed, steps))
        if not asked.quick and seed == 0:
            drawn(searched[0])
        print(f"seed {seed}: {time.process_time() - since:.0f} CPU-s", flush=True)
    text = page(
        found, near, few, searched, evaluations=f"{64 * steps:,}", cpu=time.process_time() - since
    )
    print(text)
    if not asked.quick:
        (HERE / "tastes.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

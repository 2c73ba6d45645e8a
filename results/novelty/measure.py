"""What each stage of novelty takes for the same, and what waiting for earlier proposals costs.

    python results/novelty/measure.py

Writes `README.md` and `likenesses.png` beside it, from pairs of programs of which it is known
whether they are the same (`pairs.py`), and from tasks played through in their order.
"""

from __future__ import annotations

import heapq
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from pairs import OTHER, SAME, SEEDS, Pair, edited, number_moved, pairs

from qdkit.core.types import Batch, Filter, NoveltyVerdict, Proposal
from qdkit.novelty import Distinct, EditDistance, EmbeddingDistance
from qdkit.programs.syntax import form

HERE = Path(__file__).parent
AHEAD = 64  # tasks that may be started before one is committed
KNOWN = 2000  # programs that a candidate is compared with
SETS = 3  # labelled sets, each from other edits
NEAR = ("one number moved", "one edit")  # the same only to who does not care for numbers
LIMITS = np.round(
    [*np.arange(0.5, 0.9, 0.05), *np.arange(0.9, 0.99, 0.01), *np.arange(0.99, 0.9999, 0.001)], 4
)


@lru_cache(10_000)
def of_text(text: str) -> str:
    """Returns what counts in a program of one file."""
    return form({"seed.py": text})


def of_program(genome: dict[str, str]) -> str:
    """Returns what counts in a program."""
    return of_text(genome["seed.py"])


def as_written(genome: dict[str, str]) -> str:
    """Returns the text of a program."""
    return genome["seed.py"]


STAGES: dict[str, tuple[Callable[[float], Filter], float | None]] = {
    "the text itself": (lambda limit: Distinct(), None),
    "form": (lambda limit: Distinct(of_program), None),
    "edit distance of texts": (lambda limit: EditDistance(limit, as_written), 0.95),
    "edit distance of forms": (lambda limit: EditDistance(limit, of_program), 0.95),
    "cosine of texts": (lambda limit: EmbeddingDistance(cosine=limit, form=as_written), 0.97),
    "cosine of forms": (lambda limit: EmbeddingDistance(cosine=limit, form=of_program), 0.97),
}


def likeness(make: Callable[[float], Filter], pair: Pair) -> float:
    """Returns the similarity of the two by a stage, between 0 and 1."""
    two = Batch.unevaluated(Proposal.of([{"seed.py": pair.one}, {"seed.py": pair.other}], "pair"))
    verdict = NoveltyVerdict.of(make(1.0).new(two, 0), 2)
    note = verdict.notes[1]
    return float(note.get("likeness", next(iter(note.get("passed", {}).values()), 0.0)))


def rates(rejected: np.ndarray, same: np.ndarray) -> tuple[float, float]:
    """Returns (precision, recall) of the rejections."""
    right = (rejected & same).sum()
    return right / max(1, rejected.sum()), right / max(1, same.sum())


def spread(values: list[float]) -> str:
    """Returns the median and the ends."""
    return f"{statistics.median(values):.3f} [{min(values):.3f}, {max(values):.3f}]"


def chosen(found: np.ndarray, same: np.ndarray) -> tuple[float, float]:
    """Returns the limit with the highest F1 (the highest of equals), and that F1."""
    score = [
        (2 * p * r / max(1e-9, p + r), limit)
        for limit in LIMITS
        for p, r in [rates(found >= limit, same)]
    ]
    best, limit = max(score)
    return limit, best


def cost() -> list[str]:
    """Returns CPU milliseconds for a candidate against many edits of one program.

    The candidate is one more of them, and another program.
    """
    root, random = HERE.parents[1], np.random.default_rng(0)
    base, far = (
        (root / "qdkit" / place).read_text(encoding="utf-8")
        for place in ("programs/syntax.py", "core/elites.py")
    )
    known = [base]
    while len(known) < KNOWN:
        known.append(number_moved(known[random.integers(len(known))], random) or base)
    as_batch = lambda texts: Batch.unevaluated(
        Proposal.of([{"seed.py": text} for text in texts], "speed")
    )
    rows = []
    for stage in ("form", "edit distance of texts", "edit distance of forms", "cosine of forms"):
        make, limit = STAGES[stage]
        novelty = make(limit or 1.0)
        novelty.learn(as_batch(known).replace(id=np.arange(KNOWN, dtype=np.int32)))
        cells = []
        for text in (edited(base, 1, 1), far):
            new = as_batch([text])
            novelty.new(new, KNOWN)  # its form is known from its making
            spent = []
            for _ in range(5):
                began = time.process_time()
                novelty.new(new, KNOWN)
                spent.append(1e3 * (time.process_time() - began))
            cells.append(f"{statistics.median(spent):.1f} [{min(spent):.1f}, {max(spent):.1f}]")
        rows.append(f"| {stage} | {' | '.join(cells)} |")
    return rows


def utilisation(
    evaluation: float, waits: bool, seed: int, tasks: int = 2000, threads: int = 16
) -> float:
    """Returns the share of its time that a thread works, event by event.

    The oldest task starts first, and commits are in order, as in the search.
    """
    proposals = 0.3 + np.random.default_rng(seed).exponential(0.7, tasks)
    now, started, taken, through = 0.0, 0, 0, 0
    ready: list[tuple[int, bool]] = []  # (task, whether it is proposed)
    working: list[
        tuple[float, int, bool]
    ] = []  # (when it ends, task, whether it was proposed before)
    made, done = set(), set()
    while taken < tasks:
        while started < min(tasks, taken + AHEAD):
            heapq.heappush(ready, (started, False))
            started += 1
        while ready and len(working) < threads:
            task, proposed = heapq.heappop(ready)
            takes = evaluation if proposed else proposals[task] + (0.0 if waits else evaluation)
            heapq.heappush(working, (now + takes, task, proposed))
        now, task, proposed = heapq.heappop(working)
        (done if proposed or not waits else made).add(task)
        while through in made:
            heapq.heappush(ready, (through, True))
            through += 1
        while taken in done:
            taken += 1
    return float((proposals.sum() + tasks * evaluation) / (threads * now))


def drawn(found: dict[str, np.ndarray], kinds: np.ndarray) -> None:
    """Draws the similarities of every kind of pair, with the limits."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    stages = [stage for stage, (_, limit) in STAGES.items() if limit]
    for ax, stage in zip(figure.subplots(1, len(stages), sharey=True), stages, strict=True):
        for i, kind in enumerate([*SAME, *OTHER][::-1]):
            values = found[stage][kinds == kind]
            jitter = np.random.default_rng(i).uniform(-0.3, 0.3, len(values))
            ax.plot(
                values,
                i + jitter,
                ".",
                markersize=2.5,
                color="#35b779" if kind in SAME else "#443983",
                alpha=0.6,
            )
        ax.axvline(STAGES[stage][1], color="#333333", linewidth=0.8)
        ax.set_title(stage, loc="left", fontsize=9.5)
        ax.set_xlabel("likeness")
        ax.set_xlim(0.4, 1.02)
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_yticks(range(len(SAME) + len(OTHER)), [*SAME, *OTHER][::-1], fontsize=8)
    figure.savefig(HERE / "likenesses.png", dpi=110)


PAGE = """# What is new: which stages tell programs apart

Written by `measure.py`; no figure here was typed by hand. {n} pairs of programs of which it is
known whether they are the same, made by `pairs.py` from the {seeds} seed programs of the
repository and from programs edited out of them in up to 8 steps, in {sets} sets from other edits.
The table shows the share of the pairs of a kind that a stage takes for the same and rejects, all
sets together. The kinds that should be rejected come first, in bold.

| | pairs | {stages} |
|---|--:|{ruler}
{rows}

Precision and recall over all pairs: the median of the sets [least, most]. "Numbers matter": only
the kinds in bold are the same. "Near is the same": a moved number and a single edit count as the
same too, as they may for prose.

| stage | limit | precision, numbers matter | recall | precision, near is the same | recall | \
limit of best F1 | F1 |
|---|--:|--:|--:|--:|--:|--:|--:|
{table}

![The likenesses of every kind of pair](likenesses.png)

**What follows.** {verdict}

**The cost of comparing.** CPU milliseconds for one candidate of about 200 lines against {known}
known ones that are all edits of one program (median of 5 [least, most]): a candidate that is an
edit of it too, and another program.

| stage | an edit of the same | another |
|---|--:|--:|
{costs}

**What waiting costs.** A candidate is evaluated once all that were started before it are proposed,
so that no form is ever evaluated twice. The share of the time that 16 threads work, {ahead} tasks
ahead, proposals of 0.3 + Exp(0.7) s, played through event by event ({tasks:,} tasks, median of
{runs} seeds [least, most]):

| an evaluation takes | waiting for earlier proposals | without |
|--:|--:|--:|
{waits}

The machine: {system} {processor}, {cores} cores, shared with others; Python {python}, {day}.
"""


def main() -> None:
    """Measures, and writes the page."""
    sets = [list(pairs(seed=seed)) for seed in range(SETS)]
    print("pairs:", *map(len, sets), file=sys.stderr)
    found = {
        s: [np.array([likeness(make, p) for p in each]) for each in sets]
        for s, (make, _) in STAGES.items()
    }
    kinds = [np.array([pair.kind for pair in each]) for each in sets]
    rows = []
    for kind in (*SAME, *OTHER):
        shares = []
        for stage, (_, limit) in STAGES.items():
            of_kind = np.concatenate(
                [f[k == kind] for f, k in zip(found[stage], kinds, strict=True)]
            )
            shares.append(f"{(of_kind >= (limit or 1.0)).mean():.0%}")
        name = f"**{kind}**" if kind in SAME else kind
        rows.append(f"| {name} | {len(of_kind)} | {' | '.join(shares)} |")
    table = []
    stages = [
        *STAGES.items(),
        ("form, then edit distance of forms, then cosine of forms", (None, None)),
    ]
    for stage, (_, limit) in stages:
        columns, best = [], []
        for near in (False, True):
            both = []
            for i, kind in enumerate(kinds):
                same = np.isin(kind, [*SAME, *NEAR] if near else SAME)
                if stage in found:
                    rejected = found[stage][i] >= (limit or 1.0)
                    best += [chosen(found[stage][i], same)] if near and limit else []
                else:
                    rejected = np.any(
                        [found[s][i] >= (STAGES[s][1] or 1.0) for s in STAGES if "form" in s], 0
                    )
                both.append(rates(rejected, same))
            columns += [spread([p for p, _ in both]), spread([r for _, r in both])]
        first, second = ([x for x, _ in best], [x for _, x in best]) if best else ([], [])
        columns += [spread(first), spread(second)] if best else ["", ""]
        table.append(f"| {stage} | {limit or ''} | {' | '.join(columns)} |")
    waits = []
    for evaluation in (0.1, 1.0, 5.0):
        cells = [
            spread([utilisation(evaluation, w, seed) for seed in range(SETS)])
            for w in (True, False)
        ]
        waits.append(f"| {evaluation} s | {' | '.join(cells)} |")
    drawn({stage: np.concatenate(each) for stage, each in found.items()}, np.concatenate(kinds))
    page = PAGE.format(
        n=sum(map(len, sets)),
        seeds=len(SEEDS),
        sets=SETS,
        stages=" | ".join(
            f"{s}{f' ≥ {limit}' if limit else ''}" for s, (_, limit) in STAGES.items()
        ),
        ruler="--:|" * len(STAGES),
        rows="\n".join(rows),
        table="\n".join(table),
        verdict=VERDICT,
        waits="\n".join(waits),
        costs="\n".join(cost()),
        known=f"{KNOWN:,}",
        tasks=2000,
        ahead=AHEAD,
        runs=SETS,
        system=platform.system(),
        processor=platform.machine(),
        cores=os.cpu_count(),
        python=platform.python_version(),
        day=date.today(),
    )
    (HERE / "README.md").write_text(page, encoding="utf-8")


VERDICT = """For programs whose numbers matter only the form is a safe judge: it takes no two
different programs for the same, and finds programs that differ in layout, comments and names
alone. It does not find an idle statement or swapped operands, nor most other rewrites that change
the syntax tree and not the program: of 15 such rewrites an audit saw it find 5; missed were type
hints, an unused import, the order of functions, `from` imports, a main guard, an unused helper and
keyword arguments. Every limit of edit distance or cosine that finds these also rejects programs
with one number moved, and those with one edit, which are what a search of programs is made of; as
texts, a program under other names is less similar to itself than a program with one edit is to its
parent. So edit distance and cosine do not help there and are off by default: the default is the
form for program domains, and the text itself for texts. They are for prose and for ideas, where
near is the same; `viz.novelty(run)` shows which limit fits. What a model's embeddings and its
judgement find was not measured: that takes a server."""

if __name__ == "__main__":
    main()

"""Compares the aims for numbers with the measurements: writes README.md and its figure.

    python results/numeric/page.py                 from the stored measurements; seconds

The scripts beside it measure. Their pages, which they write themselves, explain each line.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from evolution import ALGORITHMS
from rounds import Row, kinds, ratio, read

from qdkit.viz.style import FAINT, INK, LINE, PLAIN_TEXT, styled, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HERE = Path(__file__).parent
ARCHIVES, EVOLUTION, QDAX = (HERE / f"{name}.jsonl" for name in ("archives", "evolution", "qdax"))
CALL = "a short call costs nearly what a long one does"
MOVED = "with short batches or long genomes, calls and copies outweigh finding cells"
COLOURS = {"pyribs": "#35b779", "QDax": LINE}  # both of viridis


class Race(NamedTuple):
    """A rate beside a peer's: for each case the ratio, and its least and most of a round."""

    what: str
    peer: str
    aim: float
    cases: list[tuple[float, float, float]]
    page: str
    why: str  # where the aim is missed
    also: str = ""  # said beside it


class Aim(NamedTuple):
    """A line of the table: what was aimed at, what came out, and whether that is it.

    None where nobody measured.
    """

    what: str
    aim: str
    measured: str
    met: bool | None
    page: str
    why: str = ""


# What was measured, as races with a peer.


def races() -> list[Race]:
    """Returns all races, those with pyribs first."""
    ribs = lambda what, start, aim, why=CALL: Race(
        what, "pyribs", aim, archives(start, aim, "update"), "archives.md", why, copied(start, aim)
    )
    loop = lambda what, algorithm, aim: Race(
        what, "pyribs", aim, loops(algorithm), "evolution.md", ""
    )
    other = lambda name: beside(read(QDAX, name=name), "qdkit", "qdax")
    qdax = lambda what, name, aim: Race(what, "QDax", aim, other(name), "qdax.md", MOVED)
    return [
        ribs("grid, batches of 64", "grid", 3.0),
        ribs("grid, batches from 1,000", "grid", 4.0),
        ribs("CVT", "CVT", 4.0),
        ribs(
            "novelty, 25,000 stored",
            "novelty",
            2.0,
            "the nearest are found in arrays that keep their shape",
        ),
        loop("iso+line, compiled loop", "line_map_elites", 2.0),
        loop("CMA-ME, compiled loop", "cma_me_imp", 1.5),
        loop("CMA-MAE, compiled loop", "cma_mae", 1.5),
        qdax("grid, 1,024 cells", "grid 32 × 32", 100.0),
        qdax("grid, 10,000 cells", "grid 100 × 100", 1_000.0),
        qdax("the same in one scan, 1,024 cells", "scan, grid 32 × 32", 100.0),
        qdax("the same in one scan, 10,000 cells", "scan, grid 100 × 100", 1_000.0),
        qdax("iso+line, compiled loop", "loop, line_map_elites", 25.0),
    ]


def archives(
    start: str, aim: float, how: str, what: str = "add"
) -> list[tuple[float, float, float]]:
    """Archives whose name begins so, beside those of pyribs, as far as they have this aim.

    By `update` or by `add`.
    """
    rows = [
        row for row in read(ARCHIVES, what=what, target=aim) if row["archive"].startswith(start)
    ]
    return beside(rows, how, "pyribs")


def copied(start: str, aim: float) -> str:
    """Returns the ratios of the same archives by `add`, and on all cores, where measured."""
    told = {
        "by `add`": archives(start, aim, "add"),
        "unbound": archives(start, aim, "update", "all cores"),
    }
    return "; ".join(
        f"{how} {span([middle for middle, _, _ in cases])}" for how, cases in told.items() if cases
    )


def loops(algorithm: str) -> list[tuple[float, float, float]]:
    """Returns the compiled loop of an algorithm beside that of pyribs."""
    rows = lambda who: read(EVOLUTION, what="speed", algorithm=algorithm, who=who)
    rate = lambda row: row["steps"] / row["cpu"]
    turns = zip(rows("qdkit"), rows("pyribs"), strict=True)
    return beside([{"ours": rate(ours), "theirs": rate(theirs)} for ours, theirs in turns])


def beside(
    rows: Sequence[Row], ours: str = "ours", theirs: str = "theirs"
) -> list[tuple[float, float, float]]:
    """Returns the ratio of each case, with its least and its most.

    A case is an archive, a length of genomes and a size of batches.
    """
    found = []
    for case in kinds(rows, "archive", "numbers", "batch"):
        each = [row[ours] / row[theirs] for row in case]
        found.append((ratio(case, ours, theirs), min(each), max(each)))
    return found


# What was measured, as lines of the table.


def aims() -> Iterator[Aim]:
    """Yields all aims, in the order of the table."""
    for race in races():
        fine = [middle >= race.aim for middle, _, _ in race.cases]
        told = f"{span([middle for middle, _, _ in race.cases])} times" if fine else ""
        told += f"; {sum(fine)} of {len(fine)} cases" * (len(fine) > 1) + f"; {race.also}" * bool(
            race.also
        )
        yield Aim(
            race.what,
            f"≥ {race.aim:,g} × {race.peer}",
            told,
            all(fine) if fine else None,
            race.page,
            race.why,
        )
    yield exact()
    yield within("line_map_elites", "iso+line", 0.01)
    yield within("cma_me_imp", "CMA-ME", None)
    yield within("cma_mae", "CMA-MAE", None)
    yield within("cma_mae, with the slips", "CMA-MAE with pyribs' slips", None)
    yield gradients()
    yield from compilations()
    yield Aim(
        "1 M into 1 M cells on an accelerator",
        "share of its bandwidth",
        "no accelerator was at hand",
        None,
        "",
    )


def span(values: Sequence[float]) -> str:
    """Returns the least and the most."""
    form = lambda value: f"{value:,.1f}" if value < 100 else f"{value:,.0f}"
    ends = [form(value) for value in (min(values), max(values))]
    return ends[0] if len(set(ends)) == 1 else " to ".join(ends)


def exact() -> Aim:
    """Returns the cells of a CVT beside brute force."""
    rows = read(ARCHIVES, what="cells")
    shares = [row["equal"] / row["points"] for row in rows]
    told = f"{min(shares):.4%} at the least" if rows else ""
    if rows and min(shares) < 1:
        told += f"; the rest farther by {max(row['worst'] for row in rows):.0e} of it"
    return Aim(
        "CVT cells as of brute force",
        "≥ 99.99 %",
        told,
        min(shares) >= 0.9999 if rows else None,
        "archives.md",
    )


def scores(algorithm: str) -> list[float]:
    """Returns QD scores after 5.4 million evaluations, one for each seed."""
    return [row["qd_score"] for row in read(EVOLUTION, what="quality", algorithm=algorithm)]


def within(algorithm: str, name: str, share: float | None) -> Aim:
    """Compares the QD score with the published one.

    It is met if it is below it by no more than a share of it, or than seed noise.

    Noise is 2 √(s² + σ²), of the deviations of our seeds and of those of the published mean.
    """
    published, deviation, _ = ALGORITHMS[algorithm][2]
    what = f"{name}, QD score at 5.4 M"
    aim = f"{published:,.0f} ± {f'{share:.0%}' if share else f'{deviation:,.0f}'}"
    if not (found := scores(algorithm)):
        return Aim(what, aim, "", None, "evolution.md")
    mean, own = statistics.mean(found), statistics.stdev(found) if len(found) > 1 else 0.0
    most = published * share if share else 2 * math.hypot(own, deviation)
    told = (
        f"{mean:,.0f}"
        + f" ± {own:,.0f}" * (len(found) > 1)
        + f" ({mean / published - 1:+.1%}), {seeds(found)}"
    )
    return Aim(
        what,
        aim,
        told + ", above it" * (mean > published + most),
        mean >= published - most,
        "evolution.md",
    )


def seeds(found: Sequence[Any]) -> str:
    """Returns the number of seeds in words."""
    return "1 seed" if len(found) == 1 else f"{len(found)} seeds"


def gradients() -> Aim:
    """Returns the line on CMA-MAEGA, which is to fill the map."""
    rows = read(EVOLUTION, what="quality", algorithm="cma_maega")
    least = min((row["qd_score"] for row in rows), default=np.nan)
    covered = min((row["coverage"] for row in rows), default=np.nan)
    told = f"{least:,.0f} and {covered:.1%} at the least, {seeds(rows)}" if rows else ""
    met = bool(least >= 753_800 and covered == 1) if rows else None
    return Aim(
        "CMA-MAEGA, QD score at 5.4 M", "≥ 753,800, full coverage", told, met, "evolution.md"
    )


def compilations() -> Iterator[Aim]:
    """Yields the first call of `add`, and the first step of the loop, in CPU-seconds."""
    firsts = {row["first"]: row["archive"] for row in read(ARCHIVES, what="add")}
    slow = dict.fromkeys(name for took, name in firsts.items() if took >= 1)
    told = f"{min(firsts):.2f} to {max(firsts):.2f} CPU-s" if firsts else ""
    told += f"; a second or more in {', '.join(slow)}" * bool(slow)
    why = "a CVT builds its table then, and a novelty archive has two ways to find neighbours"
    yield Aim(
        "first call of an archive", "< 1 s", told, not slow if firsts else None, "archives.md", why
    )
    for name, algorithm in {
        "iso+line": "line_map_elites",
        "CMA-ME": "cma_me_imp",
        "CMA-MAE": "cma_mae",
    }.items():
        rows = read(EVOLUTION, what="compile", algorithm=algorithm)
        took = {
            cached: [row["first"][1] for row in rows if row["cached"] is cached]
            for cached in (False, True)
        }
        new, kept = (
            statistics.median(took[cached]) if took[cached] else np.nan for cached in (False, True)
        )
        told = f"{new:.1f}, and {kept:.2f} from the cache, CPU-s" if rows else ""
        met = bool(new < 3 or kept < 0.5) if rows else None
        why = "XLA takes that long for a program of this size"
        yield Aim(
            f"first step of {name}",
            "< 3 s, or < 0.5 s from the cache",
            told,
            met,
            "evolution.md",
            why,
        )


# The page and its figure.

PAGE = """# Numbers: archives, loops and strategies beside pyribs and QDax

Written by `page.py` from the measurements of the scripts beside it; no figure here was typed by
hand but the aims and those of an audit. Ratios are of candidates a CPU-second of one process,
medians of interleaved rounds; a line with several cases gives the least and the most of them, and
the number that reach the aim. A line is met when all its cases are. Its page has each case with
its spread. Candidates are added to an archive by `update`, as a loop does it, which reuses the
memory of the old elites; `add` leaves the old elites as they are, and so copies all cells at every
call. The process of archives and of QDax is bound to one core, or unbound where the line says so.
Scores are means over seeds with their deviation, and met where they are below the published mean
by no more than the line says, or than seed noise, 2 √(s² + σ²) of the deviations of ours and
theirs.

**The loops here are compiled** (`Search.compiled(...)`), which takes a domain in JAX. The ordinary
`Search` is slower than pyribs, as an audit measured it: iso+line makes 0.14 times its candidates a
CPU-second, CMA-ME 0.84 times, CMA-MAE 0.88 times, and the lines of the README's notebook example
0.09 times.

**CMA-MAE and CMA-MAEGA are measured with an archive of the script's own**, which keeps the best of
each cell beside the thresholds, as pyribs' example does. The toolkit's `Thresholds(Grid)` may lose
a cell's best: its QD score was 5 % less after 248,400 evaluations and 0.6 % less after 5.4
million, by the same audit.

| | aimed at | measured | | |
|---|---|---|---|---|
{lines}

![What is measured beside pyribs and QDax, as multiples of their rates](ratios.png)

- [archives.md](archives.md): adding to grids, CVTs and novelty archives, beside pyribs
- [qdax.md](qdax.md): adding to cells and the iso+line loop, beside QDax
- [evolution.md](evolution.md): the compiled loop and evolution strategies, beside pyribs and its
  published table
- [operators.md](operators.md): which operator for which problem

## Making it again

`python results/numeric/page.py` makes this page from the stored measurements. They are made anew
by

```
{commands}
```

each of which writes its own page.
"""
WORDS = {True: "met", False: "missed", None: "not measured"}
SCRIPTS = ("archives.py", "beside_qdax.py", "evolution.py", "operators.py")


def line(aim: Aim) -> str:
    """Returns a line of the table."""
    link = f"[{aim.page.removesuffix('.md')}]({aim.page})" if aim.page else ""
    verdict = WORDS[aim.met] + f": {aim.why}" * bool(aim.met is False and aim.why)
    return f"| {aim.what} | {aim.aim} | {aim.measured} | {verdict} | {link} |"


def commands(script: str) -> str:
    """Returns the commands in a script's docstring, with their explanations."""
    opening = re.match(r'"""(.*?)"""', (HERE / script).read_text(encoding="utf-8"), re.DOTALL)
    assert opening, f"{script} has no docstring"
    blocks = re.findall(r"(?:^ {4}\S.*\n?(?: {8,}\S.*\n?)*)+", opening[1], re.MULTILINE)
    return "\n".join(line[4:] for block in blocks for line in block.splitlines())


def page() -> str:
    """Returns the page."""
    return PAGE.format(
        lines="\n".join(map(line, aims())), commands="\n\n".join(map(commands, SCRIPTS))
    )


@styled
def drawn() -> Figure:
    """Draws the races as dots on one scale, with the aim of each."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    shown = [race for race in races() if race.cases]
    figure = Figure(figsize=(8.6, 0.36 * len(shown) + 0.9), layout="constrained")
    ax = figure.add_subplot()
    for row, race in enumerate(shown):
        dots(ax, row, race)
    ax.axvline(1, color=FAINT, linewidth=0.6, zorder=0)
    mark = {"linestyle": "", "color": COLOURS["pyribs"], "markersize": 4}
    ax.legend(
        handles=[
            Line2D([], [], marker="o", label="a case, and its rounds", **mark),
            Line2D([], [], marker="o", markerfacecolor="white", label="below its aim", **mark),
            Line2D(
                [],
                [],
                marker="|",
                markeredgewidth=1.4,
                label="the aim",
                **mark | {"color": INK, "markersize": 9},
            ),
        ],
        loc="upper right",
        frameon=False,
    )
    ax.set(xscale="log", ylim=(len(shown) - 0.4, -0.6))
    ax.set_xlabel("times the candidates a CPU-second of the other library", **PLAIN_TEXT)
    ax.set_yticks(
        range(len(shown)),
        [f"{race.what.replace('`', '')}, beside {race.peer}" for race in shown],
        **PLAIN_TEXT,
    )
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    ax.tick_params(axis="y", length=0)
    tidy(ax)
    return figure


def dots(ax: Axes, row: int, race: Race) -> None:
    """Draws the cases of a race, a little below each other, and its aim."""
    heights = row + (
        np.linspace(-0.22, 0.22, len(race.cases)) if len(race.cases) > 1 else np.zeros(1)
    )
    colour = COLOURS[race.peer]
    for height, (middle, least, most) in zip(heights, race.cases, strict=True):
        ax.plot((least, most), (height, height), color=colour, linewidth=0.8, alpha=0.6)
        filled: Any = colour if middle >= race.aim else "white"
        ax.plot(
            middle,
            height,
            "o",
            markersize=4,
            markeredgecolor=colour,
            markerfacecolor=filled,
            markeredgewidth=0.9,
        )
    ax.plot(
        (race.aim, race.aim),
        (row - 0.38, row + 0.38),
        color=INK,
        linewidth=1.4,
        solid_capstyle="butt",
    )


if __name__ == "__main__":
    (HERE / "README.md").write_text(page(), encoding="utf-8")
    drawn().savefig(HERE / "ratios.png", dpi=150)

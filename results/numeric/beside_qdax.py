"""Measures adding to cells and the iso+line loop beside QDax, in one process: writes qdax.md.

QDax requires other versions of many libraries, so it lives in an environment of its own, into
which qdkit is installed without its requirements:

    python3.11 -m venv FOLDER && FOLDER/bin/pip install qdax==0.5.0 jax==0.10.2 ribs==0.12.0
    FOLDER/bin/pip install --no-deps -e .

    FOLDER/bin/python results/numeric/beside_qdax.py        everything; twenty minutes on a busy
                                                            machine
    FOLDER/bin/python results/numeric/beside_qdax.py grid   what begins so: grid, CVT, scan, loop
    python results/numeric/beside_qdax.py page              only the page, from the stored
                                                            measurements; needs no QDax

A measurement replaces the same lines in `qdax.jsonl`, one for each round.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from evolution import BATCH, GRID, SHORT, SPHERE, scan
from rounds import Row, here, keep, kinds, on_one_core, places, ratio, read, spread

from qdkit.archives import CVT, Grid
from qdkit.core.elites import Archive

HERE = Path(__file__).parent
ROWS = HERE / "qdax.jsonl"
ROUNDS, PASSES, WARM = 5, 20, 10
BOX = ((0.0, 1.0), (0.0, 1.0))
BATCHES = {1_000: 40, 10_000: 6, 100_000: 1}  # rows of a batch: how many batches a round adds
LOOP = "loop, line_map_elites"


class Case(NamedTuple):
    """One line of a table: an archive, its batch size, and the aimed multiple of QDax' rate."""

    name: str
    numbers: int
    batch: int
    target: float | None
    archive: Callable[[], Archive]


spread_out = cache(lambda cells: CVT.spread(cells, BOX))


def cases() -> Iterator[Case]:
    """Grids of 1,024 and 10,000 cells; grids filled in one compiled scan, where a call is short.

    CVTs.
    """
    targets = {32: 100.0, 100: 1_000.0}
    for start, sizes in (("grid", BATCHES), ("scan, grid", (1_000,))):
        for side, target in targets.items():
            for numbers in (10, 100):
                for batch in sizes:
                    archive = lambda side=side: Grid((side, side), BOX)
                    yield Case(f"{start} {side} × {side}", numbers, batch, target, archive)
    for cells in (1_000, 10_000):
        for batch in (1_000, 10_000):
            yield Case(f"CVT {cells:,}", 10, batch, None, partial(spread_out, cells))


# Adding, by both.


def repertoire(archive: Archive, numbers: int) -> Any:
    """Returns an empty repertoire around the middles of our cells."""
    from qdax.core.containers.mapelites_repertoire import MapElitesRepertoire

    return MapElitesRepertoire.init_default(
        jnp.zeros(numbers), jnp.array(archive.centres, jnp.float32)
    )


def adders(archive: Archive, scanned: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Returns how QDax and qdkit add batches, each into its own memory.

    They add them in calls, or `scanned` in one program.
    """
    theirs = lambda kept, objective, descriptor, genome: kept.add(genome, descriptor, objective)
    ours = lambda kept, *rows: archive.add(kept, *rows)[0]
    whole = lambda add: jax.jit(
        lambda kept, rows: jax.lax.scan(lambda kept, batch: (add(kept, *batch), None), kept, rows)[
            0
        ],
        donate_argnums=0,
    )
    if scanned:
        return whole(theirs), whole(ours)
    call = jax.jit(theirs, donate_argnums=0)
    return partial(_each, call), partial(_each, lambda kept, *rows: archive.update(kept, *rows)[0])


def _each(add: Callable[..., Any], kept: Any, batches: Any) -> Any:
    for batch in batches:
        kept = add(kept, *batch)
    return kept


def added(case: Case) -> Iterator[Row]:
    """Yields a row for each round: candidates a CPU-second.

    differ: in how many cells the two kept another objective.
    """
    archive, scanned = case.archive(), case.name.startswith("scan")
    theirs, ours = adders(archive, scanned)
    empty = repertoire(archive, case.numbers), archive.init(np.zeros(case.numbers, np.float32))
    fresh = lambda nobody: jax.block_until_ready(jax.tree.map(jnp.copy, nobody))
    rows = batches(case)
    size = rows[0].size
    given = (
        rows
        if scanned
        else [tuple(column[i] for column in rows) for i in range(BATCHES[case.batch])]
    )
    kept, elites = (
        theirs(fresh(empty[0]), given),
        ours(fresh(empty[1]), given),
    )  # both are compiled now
    differ = int((np.asarray(kept.fitnesses)[:, 0] != np.asarray(elites.objective)).sum())
    for number in range(ROUNDS):
        one, many = fresh(empty[0]), [fresh(empty[1]) for _ in range(PASSES)]
        rates = {
            "qdax": size / spent(lambda one=one: theirs(one, given)),
            "qdkit": PASSES
            * size
            / spent(lambda many=many: [ours(elites, given) for elites in many]),
        }
        yield {
            "what": "add",
            "name": case.name,
            "numbers": case.numbers,
            "batch": case.batch,
            "target": case.target,
            "round": number,
            **rates,
            "cells": archive.cells,
            "differ": differ,
            **place(),
        }


def batches(case: Case) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns objectives `[k, n]`, descriptors and genomes on the device.

    They are k batches, the same for each round.
    """
    random, shape = np.random.default_rng(0), (BATCHES[case.batch], case.batch)
    columns = (
        random.normal(size=shape),
        random.random((*shape, 2)),
        random.normal(size=(*shape, case.numbers)),
    )
    return jax.block_until_ready(tuple(jnp.asarray(column, jnp.float32) for column in columns))


def spent(act: Callable[[], Any]) -> float:
    """Returns the CPU-seconds of a call."""
    start = time.process_time()
    jax.block_until_ready(act())
    return time.process_time() - start


def place() -> Row:
    """Returns the machine and the versions."""
    return here("qdax", "jax", "numpy")


# The loop, of both.


def looped() -> Iterator[Row]:
    """Yields a row for each round: evaluations a CPU-second and the final QD score.

    A few steps to warm up are not counted.
    """
    begin, advance = their_loop()
    compiled = {steps: advance(steps).lower(begin(0)).compile() for steps in (WARM, SHORT)}
    for seed in range(ROUNDS):
        carry, _ = jax.block_until_ready(compiled[WARM](begin(seed)))
        start = time.process_time()
        _, metrics = jax.block_until_ready(compiled[SHORT](carry))
        middle = time.process_time()
        search = scan("line_map_elites", seed).run(WARM, progress=False)
        before = search.commits[-1].cpu
        search.run(SHORT, progress=False)
        evaluations = SHORT * BATCH
        yield {
            "what": "loop",
            "name": LOOP,
            "target": 25.0,
            "round": seed,
            "evaluations": search.commits[-1].evaluations,
            "qdax": evaluations / (middle - start),
            "qdkit": evaluations / (search.commits[-1].cpu - before),
            "qdax_score": float(metrics["qd_score"][-1]),
            "qdkit_score": search.summary()["qd_score"],
            **place(),
        }


def their_loop() -> tuple[Callable[[int], Any], Callable[[int], Any]]:
    """Returns QDax' start of a search with a seed, and its steps as one compiled program.

    The steps reuse the memory of the state.
    """
    from qdax.core.emitters.mutation_operators import isoline_variation
    from qdax.core.emitters.standard_emitters import MixingEmitter
    from qdax.core.map_elites import MAPElites
    from qdax.utils.metrics import default_qd_metrics

    def score(genomes: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array, dict[str, Any]]:
        made = SPHERE.evaluate(genomes)
        return made.objective, made.descriptor, {}

    line = partial(isoline_variation, iso_sigma=0.5, line_sigma=0.2)
    emitter = MixingEmitter(lambda x, key: x, line, variation_percentage=1.0, batch_size=BATCH)
    search = MAPElites(score, emitter, partial(default_qd_metrics, qd_offset=0.0))

    def begin(seed: int) -> Any:
        seeding, beginning, key = jax.random.split(jax.random.key(seed), 3)
        genomes = jnp.asarray(SPHERE.seeds(seeding, BATCH))
        kept, state, _ = search.init(genomes, jnp.asarray(GRID.centres, jnp.float32), beginning)
        return kept, state, key

    advance = lambda steps: jax.jit(
        lambda carry: jax.lax.scan(search.scan_update, carry, (), length=steps), donate_argnums=0
    )
    return begin, advance


# What is told.

PAGE = """# Beside QDax

Written by `beside_qdax.py` from `qdax.jsonl`; no figure here was typed by hand. Both libraries run
in one process, in turns, in float32, bound to one core, and time is CPU-seconds of that process.
Medians of {rounds} rounds, with the least and the most; the ratio is that of the medians, and
beside it the least and the most of a round.

## Adding to cells

Candidates a CPU-second in thousands. Each round begins with empty cells and adds the same batches
to both: {batches}. Candidates are on the device, objectives normal,
descriptors uniform in the unit square; the cells of QDax are those around the middles of ours.
QDax' `add` is compiled and takes the memory of the repertoire it is given, as does our `update`;
ours goes {passes} times over the batches, as its time would be too short to tell. In the lines
that begin with "scan" the batches are added by one compiled `lax.scan`, as a compiled loop does
it, and no call costs anything. The last column says in how many cells the two kept another
objective in the end.

| archive | numbers | batch | QDax | qdkit | ratio | target | cells that differ |
|---|--:|--:|--:|--:|--:|--:|--:|
{adding}

## The iso+line loop

The sphere of 100 numbers, {batch} candidates a step, 100 × 100 cells, iso 0.5 and line 0.2:
thousands of evaluations in a CPU-second, over {steps} steps in one compiled program after {warm}
to warm up, metrics of every step included; and the QD score then, after {evaluations:,}
evaluations. Both begin with seeds of the same spread, which matters, and evaluate by the same
function. QDax runs `MAPElites.scan_update` with its `MixingEmitter`, qdkit the search of
`Search.compiled(...)`.

| QDax | qdkit | ratio | target | QD score, QDax | QD score, qdkit |
|--:|--:|--:|--:|--:|--:|
{loop}

## What was aimed at

{verdicts}

{machine}
"""
WHY = (
    "missed where batches are short or genomes long: QDax' time is all in finding cells, and "
    "beside that a call costs "
    "something whatever its size, and so does moving what is kept"
)


def ratios(rows: list[Row]) -> str:
    """Returns the ratio of the medians, and the least and most of a round."""
    each = [row["qdkit"] / row["qdax"] for row in rows]
    return f"{ratio(rows, 'qdkit', 'qdax'):,.0f} ({min(each):,.0f} to {max(each):,.0f})"


def rates(rows: list[Row], who: str) -> str:
    """Thousands a CPU-second; of QDax, which is slow, with a digit more."""
    return spread([row[who] / 1e3 for row in rows], ",.1f" if who == "qdax" else ",.0f")


def target(rows: list[Row]) -> str:
    """Returns the target, if there is one, and whether it is met."""
    aim = rows[0]["target"]
    return (
        ""
        if aim is None
        else f"{aim:,.0f}, {'met' if ratio(rows, 'qdkit', 'qdax') >= aim else 'missed'}"
    )


def adding(rows: list[Row]) -> str:
    """Returns a line of the first table."""
    case = rows[0]
    differ = f"{case['differ']} of {case['cells']:,}"
    told = rates(rows, "qdax"), rates(rows, "qdkit"), ratios(rows), target(rows), differ
    return f"| {case['name']} | {case['numbers']} | {case['batch']:,} | {' | '.join(told)} |"


def looping(rows: list[Row]) -> str:
    """Returns the line of the second table."""
    scores = [spread([row[who] for row in rows]) for who in ("qdax_score", "qdkit_score")]
    cells = (rates(rows, "qdax"), rates(rows, "qdkit"), ratios(rows), target(rows), *scores)
    return f"| {' | '.join(cells)} |"


def verdicts(lines: list[list[Row]]) -> Iterator[str]:
    """Yields a line for each target: how many cases reach it, and the farthest from it."""
    for some in kinds([row for rows in lines for row in rows if row["target"]], "name"):
        cases = kinds(some, "name", "numbers", "batch") if "batch" in some[0] else [some]
        reached, aim = [ratio(rows, "qdkit", "qdax") for rows in cases], some[0]["target"]
        met = sum(value >= aim for value in reached)
        verdict = f"met in {met} of {len(cases)} cases, {min(reached):,.0f} at the least"
        yield (
            f"- {some[0]['name']}, {aim:,.0f} times QDax: {verdict}"
            + f"; {WHY}" * (met < len(cases))
            + "."
        )


def page() -> str:
    """Returns the page, of every line in `qdax.jsonl`."""
    every = read(ROWS)
    adds, loops = (
        kinds(read(ROWS, what="add"), "name", "numbers", "batch"),
        kinds(read(ROWS, what="loop"), "name"),
    )
    return PAGE.format(
        rounds=ROUNDS,
        batches=", ".join(f"{many} of {n:,}" for n, many in BATCHES.items()),
        passes=PASSES,
        adding="\n".join(map(adding, adds)),
        batch=BATCH,
        steps=SHORT,
        warm=WARM,
        evaluations=max((row["evaluations"] for row in every if row["what"] == "loop"), default=0),
        loop="\n".join(map(looping, loops)),
        verdicts="\n".join(verdicts(adds + loops)),
        machine=places(every),
    )


def main() -> None:
    """Measures what is named, keeps its rounds, and writes the page."""
    asked = tuple(name.lower() for name in sys.argv[1:]) or ("",)
    chosen = [case for case in cases() if case.name.lower().startswith(asked)]
    about = lambda case: {"name": case.name, "numbers": case.numbers, "batch": case.batch}
    if not (chosen or LOOP.startswith(asked) or asked == ("page",)):
        sys.exit(
            f"nothing that is measured begins with {' or '.join(asked)}: name grid, CVT, scan, "
            f"loop or page"
        )
    if asked != ("page",) and find_spec("qdax") is None:
        sys.exit(f"QDax is not in this environment, and has to be in one of its own:\n{__doc__}")
    on_one_core()
    works = [(partial(added, case), about(case)) for case in chosen]
    if LOOP.startswith(asked):
        works.append((looped, {"name": LOOP}))
    for work, like in works:
        rows = list(work())
        print(adding(rows) if "batch" in like else looping(rows), flush=True)
        keep(ROWS, rows, **like)
    (HERE / "qdax.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()

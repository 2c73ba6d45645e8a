"""What a program costs on its way to a score: milliseconds, for one that itself costs nothing.

    python results/programs/measure.py

Writes `README.md` beside it: for each level that works here, warm (a running zygote) and cold (a
new sandbox, its zygote and the first program), wall and CPU time as median and quartiles, the CPU
time being that of this process and of all its children; and programs a second from two threads.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

from qdkit.programs.sandbox import Sandbox, probe

FILES, ENTRY = {"solve.py": "def main():\n    return 1.5\n"}, "solve.py:main"
WARM, COLD, MANY = 300, 20, 600


def cpu() -> float:
    """Returns CPU seconds of this process and of the children that it has waited for."""
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, (-1, 0)))


def spread(milliseconds: list[float]) -> str:
    """Returns the median and the quartiles."""
    low, middle, high = statistics.quantiles(milliseconds, n=4)
    return f"{middle:.1f} [{low:.1f}, {high:.1f}]"


def timed(n: int, act: Callable[[], object]) -> tuple[str, str]:
    """Returns wall and CPU milliseconds of `n` calls."""
    walls, cpus = [], []
    for _ in range(n):
        wall, spent = time.perf_counter(), cpu()
        act()
        walls.append(1e3 * (time.perf_counter() - wall))
        cpus.append(1e3 * (cpu() - spent))
    return spread(walls), spread(cpus)


def cold(level: str) -> None:
    """Runs one program in a new sandbox."""
    with Sandbox(level, preload=()) as sandbox:
        sandbox.run(FILES, ENTRY)


def row(level: str) -> str:
    """Returns the row of one level."""
    with Sandbox(level, workers=2) as sandbox:
        sandbox.run(FILES, ENTRY)
        children: list[float] = []
        wall, own = timed(
            WARM, lambda: children.append(1e3 * sandbox.run(FILES, ENTRY).cpu_seconds)
        )
        began = time.perf_counter()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: sandbox.run(FILES, ENTRY), range(MANY)))
        rate = MANY / (time.perf_counter() - began)
    cold_wall, cold_cpu = timed(COLD, lambda: cold(level))
    cells = (level, wall, own, spread(children), cold_wall, cold_cpu, f"{rate:.0f}")
    return f"| {' | '.join(map(str, cells))} |"


PAGE = """# What a program costs

Written by `measure.py`; no figure here was typed by hand. Milliseconds from the text of a program
to the value that it returned, for a program that itself costs nothing: the median [lower quartile,
upper quartile] of {warm} runs in a running zygote (warm) and of {cold} new sandboxes (cold). The
aims were at most 15 ms warm, 60 ms cold, and 200 programs a second from two threads. A test checks
that nothing is left behind after 10,000 programs (`python3 tests/check.py soak`).

| level | warm, wall | warm, CPU here | warm, CPU of the child | cold, wall | cold, CPU | \
programs a second |
|---|--:|--:|--:|--:|--:|--:|
{rows}

The machine: {system}, {cores} cores, shared with others (load {load}); Python {python}, {date}.
`none` isolates nothing, and stands here to be compared with.
"""


def main() -> None:
    """Measures every level, and writes the page."""
    load = Path("/proc/loadavg").read_text().split()[0]
    rows = [row(level) for level in [level for level, works, _ in probe() if works] + ["none"]]
    facts = {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load": load,
    }
    facts |= {
        "python": platform.python_version(),
        "date": date.today().isoformat(),
        "warm": WARM,
        "cold": COLD,
    }
    Path(__file__).with_name("README.md").write_text(
        PAGE.format(rows="\n".join(rows), **facts), encoding="utf-8"
    )
    print("\n".join(rows))


if __name__ == "__main__":
    main()

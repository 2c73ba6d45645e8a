"""What the sandbox costs: milliseconds from program text to result, for a program that itself costs nothing.

    python tests/bench/sandbox.py

One line for each level that works here: warm (a running zygote) and cold (a new sandbox, its
zygote and the first program) wall and CPU time as median [quartiles], the CPU time being that of
this process and of all its children; and programs a second from two threads.
"""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from qdkit.sandbox import Sandbox, probe

FILES, ENTRY = {"solve.py": "def main():\n    return 1.5\n"}, "solve.py:main"
WARM, COLD, MANY = 300, 20, 600


def cpu() -> float:
    """CPU seconds of this process and of the children it has waited for."""
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, (-1, 0)))


def spread(milliseconds: list[float]) -> str:
    """The median and the quartiles."""
    low, middle, high = statistics.quantiles(milliseconds, n=4)
    return f"{middle:.1f} [{low:.1f}, {high:.1f}]"


def timed(n: int, act: Callable[[], object]) -> str:
    """Wall and CPU milliseconds of `n` calls."""
    walls, cpus = [], []
    for _ in range(n):
        wall, spent = time.perf_counter(), cpu()
        act()
        walls.append(1e3 * (time.perf_counter() - wall))
        cpus.append(1e3 * (cpu() - spent))
    return f"wall {spread(walls)} cpu {spread(cpus)}"


def cold(level: str) -> None:
    """A sandbox for one program."""
    with Sandbox(level, preload=()) as sandbox:
        sandbox.run(FILES, ENTRY)


def report(level: str) -> str:
    """The line of one level."""
    with Sandbox(level, workers=2) as sandbox:
        sandbox.run(FILES, ENTRY)
        children = []
        warm = timed(WARM, lambda: children.append(1e3 * sandbox.run(FILES, ENTRY).cpu_seconds))
        began = time.perf_counter()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: sandbox.run(FILES, ENTRY), range(MANY)))
        rate = MANY / (time.perf_counter() - began)
    once = timed(COLD, lambda: cold(level))
    return f"{level:10}  warm {warm} + child {spread(children)}  cold {once}  {rate:.0f} a second"


if __name__ == "__main__":
    print(f"milliseconds, {os.cpu_count()} cores, load {Path('/proc/loadavg').read_text().split()[0]}")
    for level in [level for level, works, _ in probe() if works] + ["none"]:
        print(report(level), flush=True)

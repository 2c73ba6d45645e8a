"""Measurements, a line of JSON for each round: how they are stored, read and formatted."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

Row = dict[str, Any]


def read(file: Path, **like: Any) -> list[Row]:
    """Returns the rows of a file with these keys; none if it does not exist."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [row for row in map(json.loads, lines) if _like(row, like)]


def keep(file: Path, rows: Sequence[Row], **like: Any) -> None:
    """Writes rows in place of those with the same keys: a new measurement replaces the old one."""
    every = read(file)
    first = next((i for i, row in enumerate(every) if _like(row, like)), len(every))
    others = [
        [row for row in part if not _like(row, like)] for part in (every[:first], every[first:])
    ]
    text = "".join(
        json.dumps(row, ensure_ascii=False) + "\n" for row in (*others[0], *rows, *others[1])
    )
    file.write_text(text, encoding="utf-8")


def _like(row: Row, like: Row) -> bool:
    return all(row.get(key) == value for key, value in like.items())


def kinds(rows: Sequence[Row], *keys: str) -> list[list[Row]]:
    """Returns the rows in groups that agree on `keys`, in the order in which they first come."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(map(row.get, keys)), []).append(row)
    return list(groups.values())


def on_one_core() -> None:
    """Binds the process to one of its cores, where the system can; call it before jax begins.

    XLA hands parts of even a short call to other threads, which wait for more of them by spinning:
    on all cores such a call takes up to twice the CPU, and no less time by the clock.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def here(*packages: str) -> Row:
    """Returns where a row is measured: the machine and its load, and versions."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = f"{cores} of {os.cpu_count()} cores of a {platform.machine()} machine"
    where = f"Python {platform.python_version()}, {versions}; {machine}"
    flags = os.environ.get("XLA_FLAGS")
    chip = "no GPU" if jax.default_backend() == "cpu" else jax.devices()[0].device_kind
    return {
        "where": f"{where}, {chip}" + f", {flags}" * bool(flags),
        "load": round(os.getloadavg()[0], 1),
    }


def places(rows: Sequence[Row]) -> str:
    """Returns where the rows were measured, in a sentence for each place."""
    told = []
    for some in kinds(rows, "where"):
        loads = [row["load"] for row in some]
        told.append(f"{some[0]['where']}, shared with others (load {min(loads)} to {max(loads)}).")
    return " ".join(told)


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    """Returns the median, and the least and most."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def ratio(rows: Sequence[Row], ours: str, theirs: str) -> float:
    """How many times the rate of another: the median of ours over the median of theirs."""
    median = lambda key: statistics.median(row[key] for row in rows)
    return median(ours) / median(theirs)

"""Measures the engine beside OpenEvolve and ShinkaEvolve: writes README.md and figures.json.

    python results/engine/measure.py --openevolve VENV/bin/python --shinka VENV/bin/python

The interpreters are those of environments of their own (`pip install openevolve`, `pip install
shinka-evolve`); without them, their rows say so. All measurements run one after the other, with
model servers in processes of their own. `--quick` makes short runs, to try the script out, and
writes nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
SEEDS = 16  # candidates of a run that no model makes
CALM, TAIL = ["--latency", "1.0"], ["--latency", "0.3", "--tail", "0.7"]
CLAMPED = "shinka-evolve"  # lowers what is asked for to its number of cores
WINDOW = 200  # candidates over which the cost of one is taken


@contextmanager
def serving(*command: str) -> Iterator[str]:
    """Yields the URL of a model server in a process of its own."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environ
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def log_of(url: str) -> list[dict[str, Any]]:
    """Returns the log of the server's calls, those of models alone."""
    with urllib.request.urlopen(url.removesuffix("/v1") + "/log") as reply:
        return [row for row in json.load(reply) if row["path"].endswith("/chat/completions")]


def busy(log: Sequence[Mapping[str, Any]], slots: int) -> float:
    """Returns the share of the time of all slots in which the server was at work.

    The time is from the first request to the last.

    The start, where the slots fill, is in it; what is answered after the last request came is not.
    """
    first, last = min(row["arrived"] for row in log), max(row["arrived"] for row in log)
    return sum(min(row["answered"], last) - row["arrived"] for row in log) / (
        slots * (last - first)
    )


def asked(python: str, script: str, *words: str, limit: float = 300.0) -> dict[str, Any]:
    """Returns what a script of this folder prints on its last line."""
    command = [python, str(HERE / script), *words]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)} if python == sys.executable else None
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=limit, env=environ, cwd=ROOT
    )
    if done.returncode:
        raise RuntimeError(f"{script} {' '.join(words)}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def ours(
    server: Sequence[str], in_flight: int, ahead: int, rounds: int, seed: int = 1
) -> dict[str, Any]:
    """Measures one search with a model on the loopback and a ledger on disk."""
    n = SEEDS + rounds * in_flight
    with (
        serving("-m", "qdkit.testing.server", *server) as url,
        tempfile.TemporaryDirectory() as folder,
    ):
        settings = {
            "n": n,
            "url": url,
            "in_flight": in_flight,
            "ahead": ahead,
            "seed": seed,
            "run": f"{folder}/run",
        }
        found = asked(sys.executable, "ours.py", "main", json.dumps(settings))
        return found | {"busy": busy(log_of(url), in_flight)}


def theirs(python: str, script: str, in_flight: int, n: int) -> dict[str, Any]:
    """Measures one search of another toolkit with a model on the loopback."""
    with serving(str(HERE / "programs.py"), "1.0") as url:
        found = asked(python, script, json.dumps({"url": url, "in_flight": in_flight, "n": n}))
        log = log_of(url)
        return {"cpu": found["cpu"], "busy": busy(log, in_flight), "calls": len(log)}


def growth(n: int) -> dict[str, Any]:
    """Measures a long run with a function for a model, and what it takes to resume it."""
    with tempfile.TemporaryDirectory() as folder:
        place = {"run": f"{folder}/run"}
        settings = {
            "n": n,
            "every": WINDOW,
            "url": None,
            "in_flight": 16,
            "ahead": 64,
            "seed": 1,
            **place,
        }
        found = asked(sys.executable, "ours.py", "main", json.dumps(settings))
        size = sum(file.stat().st_size for file in Path(folder).rglob("*")) / 1e6
        again = asked(sys.executable, "ours.py", "opened", json.dumps(place))
    marks = found["marks"]
    costs = [1000 * (b - a) / WINDOW for a, b in itertools.pairwise(marks)]
    return {
        "candidates": n,
        "cpu": 1000 * found["cpu"],
        "costs": costs,
        "opening": again["cpu"],
        "disk": size,
    }


def syncing() -> list[float]:
    """Milliseconds that a page takes to the disk, a hundred times."""
    with tempfile.TemporaryFile() as file:
        times = []
        for _ in range(100):
            file.write(b"\0" * 4096)
            file.flush()
            since = time.perf_counter()
            os.fsync(file.fileno())
            times.append(1000 * (time.perf_counter() - since))
    return times


def measured(quick: bool, others: Mapping[str, tuple[str, str | None]]) -> dict[str, Any]:
    """Returns all figures, by name."""
    times, rounds = (1, 3) if quick else (3, 12)
    found: dict[str, Any] = {
        "load": [os.getloadavg()[0]],
        "sync": syncing(),
        "times": times,
        "rounds": rounds,
    }
    found["calm"] = {
        n: [ours(CALM, n, 4 * n, rounds) for _ in range(times)] for n in (4, 8, 16, 64)
    }
    found["tail"] = {
        ahead: [
            ours(TAIL, 16, ahead, 2 * rounds, seed)
            for seed in range(1, 1 + (times if ahead == 64 else 1))
        ]
        for ahead in (64, 128, 256)
    }
    settings = {
        "n": 100 if quick else 500,
        "aheads": [1, 64, 128, 256],
        "seeds": [1] if quick else [1, 2, 3, 4, 5],
    }
    found["steps"] = settings["n"]
    found["scores"] = asked(sys.executable, "ours.py", "scores", json.dumps(settings))
    found["growth"] = growth(1000 if quick else 20_000)
    found["bare"] = [
        asked(sys.executable, "ours.py", "bare", "{}")["memory"] for _ in range(times)
    ]
    found["many"] = [ours(CALM, 256, 1024, 3) for _ in range(times)]
    for name, (script, python) in others.items():
        found[name] = {
            n: tried(python, script, n, n * rounds // (1 if n == 4 else 2)) for n in (4, 16)
        }
    found["load"].append(os.getloadavg()[0])
    return found


def tried(python: str | None, script: str, in_flight: int, n: int) -> dict[str, Any]:
    """Returns the result of `theirs`, or the reason why there is none."""
    if python is None:
        return {"why": "not installed here"}
    try:
        return theirs(python, script, in_flight, n)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return {"why": " ".join(str(error).split())[-200:]}


# What is written of it.


def spread(values: Sequence[float], form: str) -> str:
    """Returns the median, with the least and the most."""
    middle = form.format(statistics.median(values))
    return (
        middle
        if len(values) == 1
        else f"{middle} ({form.format(min(values))} to {form.format(max(values))})"
    )


def rows(found: Mapping[str, Any], others: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yields what was measured, what it should be, and what it is."""
    least = {"4": "≥ 97 %", "8": "≥ 97 %", "16": "≥ 97 %", "64": "≥ 90 %"}
    for n, runs in found["calm"].items():
        yield (
            f"busy share, {n} in flight, 1 s a call",
            least[n],
            spread([run["busy"] for run in runs], "{:.1%}"),
        )
    for ahead, runs in found["tail"].items():
        what = f"busy share, 16 in flight, 0.3 s + Exp(0.7 s) a call, `ahead` {ahead}"
        yield (
            what,
            "≥ 88 %" if ahead == "64" else "",
            spread([run["busy"] for run in runs], "{:.1%}"),
        )
    for ahead, scores in found["scores"].items():
        yield (
            f"QD score after {found['steps']:,} steps, `ahead` {ahead}",
            "",
            spread(scores, "{:,.0f}"),
        )
    for n, runs in found["calm"].items():
        what = f"CPU a candidate, {n} in flight, the HTTP client included"
        yield what, "", spread([1000 * run["cpu"] for run in runs], "{:.1f} ms")
    long = found["growth"]
    costs = long["costs"]
    yield (
        "CPU a candidate, 16 in flight, a function for a model",
        "≤ 6 ms",
        f"{long['cpu']:.1f} ms",
    )
    yield (
        f"CPU of the {WINDOW}th candidate (mean of the {WINDOW} after it)",
        "",
        f"{costs[0]:.1f} ms",
    )
    yield (
        f"CPU of the {long['candidates']:,}th (mean of the {WINDOW} up to it)",
        "",
        f"{costs[-1]:.1f} ms",
    )
    yield "the last of these over the first", "≤ 1.5", f"{costs[-1] / costs[0]:.2f}"
    yield (
        f"CPU to open that run and go on, {long['disk']:.0f} MB on disk",
        "",
        f"{long['opening']:.1f} s",
    )
    bare, many = statistics.median(found["bare"]), [run["memory"] for run in found["many"]]
    yield "memory of jax alone, after one computation", "", spread(found["bare"], "{:.0f} MB")
    yield (
        "memory at 256 in flight, on top of that, at the most",
        "≤ 150 MB",
        spread([m - bare for m in many], "{:.0f} MB"),
    )
    yield (
        "busy share, 256 in flight, 3 calls a slot",
        "",
        spread([run["busy"] for run in found["many"]], "{:.1%}"),
    )
    for n in ("4", "16"):
        whole = spread([1000 * run["whole"] for run in found["calm"][n]], "{:.0f} ms")
        yield f"CPU a candidate, {n} in flight, the start of Python and jax included", "", whole
        for name in others:
            told = found[name][n]
            if "why" in told:
                yield f"{name}, {n} in flight", "", told["why"]
                continue
            yield from _other(name, n, told, f"({told['calls']} calls)")
            if name == CLAMPED:
                yield from _other(name, n, found["audit"][n], "(64 cores reported to it)")


def _other(name: str, n: str, told: Mapping[str, Any], how: str) -> Iterator[tuple[str, str, str]]:
    """Yields the two rows of another toolkit."""
    clamped = name == CLAMPED and "calls" in told
    asked = f"{n} asked for, clamped to the number of cores" if clamped else f"{n} in flight"
    yield f"{name}: busy share, {asked}, 1 s a call {how}", "", f"{told['busy']:.1%}"
    whole = "" if "calls" in told else " as the audit counted it"
    what = f"{name}: CPU a candidate, {asked}, the start and all processes included{whole}"
    yield what, "", f"{1000 * told['cpu']:.0f} ms"


def page(found: Mapping[str, Any], others: Mapping[str, tuple[str, str | None]]) -> str:
    """Returns README.md."""
    names = {"openevolve": "OpenEvolve", "shinka-evolve": "ShinkaEvolve"}
    table = "\n".join(
        f"| {what} | {should} | {value} |" for what, should, value in rows(found, [*others])
    )
    libraries = ", ".join(f"{name} {version(name)}" for name in ("jax", "numpy", "openai"))
    there = [
        f"{names[name]} {version_in(python, name)}"
        for name, (_, python) in others.items()
        if python
    ]
    return f"""# What the engine costs

Written by `measure.py` on {date.today()}; no figure here was typed by hand. Where several runs
were made, the median stands before (the least to the most) of {found["times"]}.

| measured | should be | is |
| --- | --- | --- |
{table}

- The model is `python -m qdkit.testing.server` on the loopback, in a process of its own, and the
  evaluation counts pairs of twelve numbers. `ahead` is 4 × in flight where nothing else is said.
  The ledger is on disk, and SQLite as durable as it is by default in WAL mode (`synchronous =
  FULL`): an answer is on disk before it is used.
- The busy share is the time in which the server was at work for a slot, from its own log, over
  slots × the time from the first request to the last. The start, where the slots fill, is in it;
  the end, where they empty, is not. {found["rounds"]} calls a slot ({2 * found["rounds"]} with the
  heavy tail), after {SEEDS} seeds that no model makes.
- The QD scores are those of a function for a model, seeds 1 to
  {len(next(iter(found["scores"].values())))}: they do not depend on how soon a model answers.
- CPU is `time.process_time()`, all threads, user and system, from the first candidate that a model
  made. Evaluation, prompts and novelty ("distinct") are in it. jax compiles in the first {WINDOW}
  candidates, so the first window begins after them. Seeds of all other runs: 1, and with the heavy
  tail 1, 2, 3.
- The other toolkits evolve programs of three lines against a server that answers with another such
  program; their evaluators measure the length of the file.
  {" and ".join(there) or "Neither was installed"}. OpenEvolve evaluates in its workers,
  ShinkaEvolve starts a Python for each evaluation, which is in its figure. Single runs, with as
  many workers, or proposals and evaluations at a time, requested as calls in flight; all else is
  as their packages set it, and not tuned.
- **A correction.** ShinkaEvolve lowers the proposals and evaluations at a time to what the number
  of cores allows (`shinka/core/async_runner.py`), and `verbose=False` hides this. On the two cores
  of this machine 16 and 16 became 1 and 1, so its rows "clamped" describe one call at a time,
  divided by the requested slots, and say nothing about how busy it keeps them. An audit measured
  it once more on these cores, with 64 cores reported to it: those are the rows to compare. An
  earlier version of this page compared the clamped ones.
- The other toolkits' task is another than ours and the runs are short, so this is no race.
- The limit of 6 ms applies to the row without HTTP. The rows with it also hold the first import of
  the client, which weighs the more the shorter the run.
- The machine: {platform.system()} {platform.machine()}, {os.cpu_count()} cores, shared with others
  (load {found["load"][0]:.1f} at the start, {found["load"][1]:.1f} at the end); a page takes
  {spread(found["sync"], "{:.1f} ms")} to the disk. Python {platform.python_version()}, SQLite
  {sqlite3.sqlite_version}, {libraries}.
"""


def version_in(python: str | None, name: str) -> str:
    """Returns the version of a package in another environment."""
    says = f"from importlib.metadata import version; print(version({name!r}))"
    return subprocess.run(
        [str(python), "-c", says], capture_output=True, text=True, check=True
    ).stdout.strip()


def main() -> None:
    """Measures, and writes the page and its figures; `--quick` prints it instead.

    What an audit measured of ShinkaEvolve is kept: a new run of this script is clamped again on
      few cores.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--openevolve", metavar="PYTHON", help="the python of an environment that has openevolve"
    )
    parser.add_argument(
        "--shinka", metavar="PYTHON", help="the python of an environment that has shinka-evolve"
    )
    parser.add_argument(
        "--quick", action="store_true", help="short runs, to try the script out; writes nothing"
    )
    told = parser.parse_args()
    others = {
        "openevolve": ("openevolve_run.py", told.openevolve),
        "shinka-evolve": ("shinka_run.py", told.shinka),
    }
    since = time.monotonic()
    found = json.loads(json.dumps(measured(told.quick, others)))
    found["audit"] = json.loads((HERE / "figures.json").read_text())["audit"]
    text = page(found, others)
    print(text if told.quick else f"{time.monotonic() - since:.0f} s")
    if not told.quick:
        (HERE / "README.md").write_text(text)
        (HERE / "figures.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

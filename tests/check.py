"""The test command: lint, format, types and tests, one after the other.

    python3 tests/check.py                   lint, format, types and tests; minutes
    python3 tests/check.py lint types        these stages alone
    python3 tests/check.py quick             a minute: the tests to run at every save
    python3 tests/check.py soak              the long tests, which CI runs after the others

The tests of `quick` are whole files of `tests`; the tests of `soak` are larger cases of the same
laws, marked `soak`. Every stage runs even if one before it failed. The status is 1 if one did.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTEST = ["pytest", "-q", "-n", "2", "--dist", "worksteal"]
# Files that need seconds and touch most rooms.
QUICK = (
    "archives",
    "audit",
    "budget",
    "diversity",
    "domains",
    "edits",
    "elites",
    "features",
    "flow",
    "llm",
    "lmx",
    "marks",
    "maths",
    "measures",
    "metrics",
    "noise",
    "operators",
    "pace",
    "person",
    "preferences",
    "recorded",
    "refusals",
)
STAGES = {
    "lint": ["ruff", "check"],
    "format": ["ruff", "format", "--check"],
    "types": ["mypy"],
    "tests": [*PYTEST, "--durations=20"],
    "quick": [*PYTEST, *(f"tests/test_{name}.py" for name in QUICK)],
    "soak": [*PYTEST, "-m", "soak", "--durations=10"],
}
USUAL = ("lint", "format", "types", "tests")


def passes(stage: str) -> bool:
    """Runs a stage with this interpreter, so that nothing needs to be on the PATH."""
    print(f"== {stage}: {' '.join(STAGES[stage])}", flush=True)
    start = time.monotonic()
    status = subprocess.run([sys.executable, "-m", *STAGES[stage]], cwd=ROOT).returncode
    print(
        f"== {stage}: {'failed' if status else 'ok'} in {time.monotonic() - start:.0f} s\n",
        flush=True,
    )
    return status == 0


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description="Runs qdkit's checks.")
    named = f"any of {', '.join(STAGES)}; by default {', '.join(USUAL)}"
    parser.add_argument("stage", nargs="*", help=named)
    stages = parser.parse_args().stage or [*USUAL]
    if unknown := sorted({*stages} - {*STAGES}):
        parser.error(f"there is no stage {unknown[0]!r}: choose from {', '.join(STAGES)}")
    missing = sorted(
        {STAGES[stage][0] for stage in stages if not importlib.util.find_spec(STAGES[stage][0])}
    )
    if missing:
        parser.error(
            f"{missing[0]} is not installed here: python3 -m pip install -c constraints.txt -e "
            f"'.[test]'"
        )
    failed = [stage for stage in stages if not passes(stage)]
    print(f"failed: {', '.join(failed)}" if failed else f"all well: {', '.join(stages)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())

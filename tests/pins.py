"""Prints constraints.txt: the exact versions that pip chooses for qdkit and its tests, on several
Pythons.

    python3 tests/pins.py python3.11 python3.12 python3.13 > pins.txt && mv pins.txt
    constraints.txt

Name the oldest Python first. Each resolves for itself and installs nothing; where they differ,
markers say which version is whose.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEADER = """\
# Exact versions of all that the two commands of the README install, as pip chose them on Linux.
# Made by tests/pins.py, which says how; the bounds are in pyproject.toml.
"""


def resolve(python: str, requirements: list[str]) -> tuple[str, dict[str, str]]:
    """The interpreter's version (`3.11`), and the version of each package it would install."""
    pip = [
        python,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--ignore-installed",
        "--quiet",
        "--report",
        "-",
    ]
    report = json.loads(
        subprocess.run([*pip, *requirements], check=True, stdout=subprocess.PIPE).stdout
    )
    packages = (item["metadata"] for item in report["install"])
    return report["environment"]["python_version"], {
        p["name"].lower().replace("_", "-"): p["version"] for p in packages
    }


def pins(chosen: dict[str, dict[str, str]]) -> list[str]:
    """The lines of the file, from `chosen[python][package]`, oldest Python first.

    Equal neighbours share a line.
    """
    lines = []
    for package in sorted(set().union(*chosen.values())):
        since = {}  # the first Python of each version
        for python in chosen:
            since.setdefault(chosen[python].get(package), python)
        since.pop(None, None)  # a constraint on what is not installed does nothing
        starts = list(since.values())
        for version, start, end in zip(since, starts, [*starts[1:], None], strict=True):
            bounds = [f'python_version >= "{start}"'] * (start != starts[0]) + [
                f'python_version < "{end}"'
            ] * bool(end)
            lines.append(
                f"{package}=={version}" + (" ; " + " and ".join(bounds) if bounds else "")
            )
    return lines


def wanted() -> list[str]:
    """What qdkit and its tests require, those of the extras that the tests name among them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    own = [text for text in extras["test"] if text.startswith(project["name"] + "[")]
    named = [
        extra.strip() for text in own for extra in text.partition("[")[2].rstrip("]").split(",")
    ]
    others = [text for text in extras["test"] if text not in own]
    return [
        *project["dependencies"],
        *(text for extra in named for text in extras[extra]),
        *others,
    ]


if __name__ == "__main__":
    print(
        HEADER
        + "\n".join(
            pins(dict(resolve(python, wanted()) for python in sys.argv[1:] or [sys.executable]))
        )
    )

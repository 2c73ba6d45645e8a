"""What the tests of the sandbox share: levels that work here, small programs, and a check of the
next one.
"""

from __future__ import annotations

import textwrap

import pytest

from qdkit.core.types import Outcome
from qdkit.programs.sandbox import Ran, Sandbox, probe

LEVELS = ("bubblewrap", "landlock")


def offered(level: str) -> str:
    """The level, or a skip that says what to install."""
    why = {probed.level: probed.why for probed in probe()}[level]
    if why:
        pytest.skip(f"{level} does not work here: {why}")
    return level


def program(body: str, head: str = "") -> dict[str, str]:
    """A program of one file whose `main` has this body."""
    body = textwrap.indent(textwrap.dedent(body), "    ")
    return {"solve.py": f"{textwrap.dedent(head)}\ndef main(*arguments):\n{body}"}


def run(sandbox: Sandbox, body: str, *arguments: object, head: str = "") -> Ran:
    return sandbox.run(program(body, head), "solve.py:main", arguments)


def healthy(sandbox: Sandbox) -> bool:
    """The next program on the same worker runs as if nothing had been."""
    ran = run(sandbox, "return sum(arguments)", 1, 2)
    return (ran.outcome, ran.value, ran.output) == (Outcome.OK, 3, "")

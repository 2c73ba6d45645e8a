"""Prompts from templates, which are files beside the modules that use them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path


def fill_template(template: Path, **sections: str) -> str:
    """Returns a template with `{name}` replaced by the section of that name.

    Braces within sections stay as they are. A paragraph that is one name in braces is left out if
    its section is empty.
    """
    paragraphs = [part for part in _paragraphs(template) if sections.get(part[1:-1], part)]
    fill = lambda match: sections.get(match[1], match[0])
    return "\n\n".join(re.sub(r"\{(\w+)\}", fill, part) for part in paragraphs)


def fence(text: str, language: str = "") -> str:
    """Returns a text as a fenced block, with a fence longer than any within it."""
    longest = max(map(len, re.findall(r"`{3,}", text)), default=2)
    ticks = "`" * (longest + 1)
    line_end = "" if text.endswith("\n") else "\n"
    return f"{ticks}{language}\n{text}{line_end}{ticks}"


@cache
def _paragraphs(template: Path) -> list[str]:
    return template.read_text(encoding="utf-8").strip().split("\n\n")

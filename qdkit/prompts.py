"""What a model is asked, written from templates; the templates are files beside the modules that ask."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path


def filled(template: Path, **sections: str) -> str:
    """A template with its sections; what they say in braces stays as they say it.

    A paragraph that is one name in braces becomes that section, or goes where there is nothing to say.
    """
    paragraphs = [part for part in _paragraphs(template) if sections.get(part[1:-1], part)]
    fill = lambda found: sections.get(found[1], found[0])
    return "\n\n".join(re.sub(r"\{(\w+)\}", fill, part) for part in paragraphs)


def fence(text: str, language: str = "") -> str:
    """A text as a fenced block, with a fence longer than any within it."""
    longest = max(map(len, re.findall(r"`{3,}", text)), default=2)
    ticks = "`" * (longest + 1)
    return f"{ticks}{language}\n{text}{'' if text.endswith(chr(10)) else chr(10)}{ticks}"


@cache
def _paragraphs(template: Path) -> list[str]:
    return template.read_text(encoding="utf-8").strip().split("\n\n")

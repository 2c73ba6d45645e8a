"""What stands in a model's answer: SEARCH/REPLACE blocks and fenced code, with the paths they are for.

Answers are read line by line, in one pass: no answer, however odd or long, takes more than that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qdkit.plain import clean

_SEARCH = re.compile(r"\s*<{7}\s*SEARCH\b(.*)")
_DIVIDER = re.compile(r"\s*={7}\s*")
_REPLACE = re.compile(r"\s*>{7}\s*REPLACE\b.*")
_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})([^`]*)")
_LABEL = re.compile(r"(?:file|path)\s*:", re.IGNORECASE)
_A_PATH = re.compile(r"[\w.\\/-]*\w\.[A-Za-z]\w{0,5}")


@dataclass(frozen=True)
class Replacement:
    """Lines to find and lines to put in their place; `path` is "" where none is named."""

    path: str
    search: tuple[str, ...]
    replace: tuple[str, ...]


@dataclass(frozen=True)
class Fenced:
    """A fenced block: its text, the language its fence names, and the path it is for, "" where none is named."""

    path: str
    language: str
    text: str


def lines_of(answer: str) -> list[str]:
    """The lines of an answer, whichever way they end; no other character ends a line.

    What a model thinks aloud before it answers is left out.
    """
    text = clean(answer).strip()
    if text.startswith("<think>"):
        text = text.partition("</think>")[2]
    return re.sub(r"\r\n?", "\n", text).split("\n")


def replacements(answer: str, paths: Sequence[str]) -> list[Replacement]:
    """The SEARCH/REPLACE blocks of an answer. `paths` are the program's.

    Raises ValueError for an answer without one, or with one that is not whole.
    """
    found: list[Replacement] = []
    lines, path, part = lines_of(answer), "", ""
    parts: dict[str, list[str]] = {}
    for i, line in enumerate(lines):
        if start := _SEARCH.fullmatch(line):
            _whole(not part, part, len(found))
            path = named(start[1], paths) or _above(lines, i, paths)
            part, parts = "search", {"search": [], "replace": []}
        elif part == "search" and _DIVIDER.fullmatch(line):
            part = "replace"
        elif part and _REPLACE.fullmatch(line):
            _whole(part == "replace", part, len(found))
            found.append(Replacement(path, *map(tuple, _unfenced(parts["search"], parts["replace"]))))
            part = ""
        elif part:
            parts[part].append(line)
    _whole(not part, part, len(found))
    if not found:
        raise ValueError("the answer has no block from <<<<<<< SEARCH over ======= to >>>>>>> REPLACE")
    return found


def fenced(answer: str, paths: Sequence[str]) -> list[Fenced]:
    """The fenced blocks of an answer; what is around them is left out. `paths` are the program's.

    A fence is closed by one as long and as far indented, so that fences within the code are part of
    it; a fence that names a language opens one more level. A block that nothing closes ends at its
    last bare fence, or where the answer ends.
    """
    lines, found, i = lines_of(answer), [], 0
    while i < len(lines):
        opening = _FENCE.fullmatch(lines[i])
        if opening:
            end = _end(lines, i + 1, opening)
            language = opening[3].strip().partition(" ")[0].partition(":")[0]
            text = "".join(line.removeprefix(opening[1]) + "\n" for line in lines[i + 1 : end])
            found.append(Fenced(_in_fence(opening, paths) or _above(lines, i, paths), language.lower(), text))
            i = end
        i += 1
    return found


def named(said: str, paths: Sequence[str]) -> str:
    """The path that is all a line says, but for marks around it; "" if it says anything else.

    A path that is not one of `paths` is told as well: whoever applies the block refuses it.
    """
    bare = said.strip(" \t#*`:-")
    label = _LABEL.match(bare)
    path = bare[label.end() if label else 0 :].strip(" \t#*`:'\"").removeprefix("./")
    return path if path in paths or _A_PATH.fullmatch(path) else ""


def _above(lines: Sequence[str], i: int, paths: Sequence[str]) -> str:
    """The path said by the nearest line above that is not empty, or by a fence there and what is above it."""
    for line in lines[max(0, i - 4) : i][::-1]:
        fence = _FENCE.fullmatch(line) if _SEARCH.fullmatch(lines[i]) else None
        path = _in_fence(fence, paths) if fence else named(line, paths)
        if path or (line.strip() and not fence):
            return path
    return ""


def _in_fence(fence: re.Match[str], paths: Sequence[str]) -> str:
    words = re.split(r"[\s:]+", fence[3].strip())
    return next(filter(None, (named(word, paths) for word in words)), "")


def _end(lines: Sequence[str], start: int, opening: re.Match[str]) -> int:
    """The line that closes a fence opened before line `start`."""
    depth, last = 1, len(lines)
    for i, fence in _alike(lines, start, opening):
        if fence[3].strip():
            depth += 1
        else:
            depth, last = depth - 1, i
        if not depth:
            return i
    return last


def _alike(lines: Sequence[str], start: int, opening: re.Match[str]) -> Iterator[tuple[int, re.Match[str]]]:
    for i in range(start, len(lines)):
        fence = _FENCE.fullmatch(lines[i])
        if fence and fence[1] == opening[1] and fence[2].startswith(opening[2]):
            yield i, fence


def _unfenced(*parts: list[str]) -> tuple[list[str], ...]:
    """The parts of a block without the fences that some models set within it, around each."""
    if all(len(part) > 1 and part[0].startswith("```") and part[-1].strip() == "```" for part in parts):
        return tuple(part[1:-1] for part in parts)
    return parts


def _whole(true: bool, part: str, before: int) -> None:
    if not true:
        missing = "=======" if part == "search" else ">>>>>>> REPLACE"
        raise ValueError(f"block {before + 1} of the answer has no line {missing}")

"""Parses a model's response: SEARCH/REPLACE blocks and fenced code, with the paths of their files.

A response is read line by line, in one pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qdkit.core.jsonable import as_utf8

_SEARCH = re.compile(r"\s*<{7}\s*SEARCH\b(.*)")
_DIVIDER = re.compile(r"\s*={7}\s*")
_REPLACE = re.compile(r"\s*>{7}\s*REPLACE\b.*")
_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})([^`]*)")
_LABEL = re.compile(r"(?:file|path)\s*:", re.IGNORECASE)
_A_PATH = re.compile(r"[\w.\\/-]*\w\.[A-Za-z]\w{0,5}")


@dataclass(frozen=True)
class Replacement:
    """Lines to find and lines to put in their place; `path` is "" if none is given."""

    path: str
    search: tuple[str, ...]
    replace: tuple[str, ...]


@dataclass(frozen=True)
class FencedBlock:
    """A fenced block: its path, "" if none is given, the language of its fence, and its text."""

    path: str
    language: str
    text: str


def _answer_lines(answer: str) -> list[str]:
    """Returns the lines of a response, without a leading <think> section.

    Lines end with \\n, \\r\\n or \\r, and with no other character.
    """
    text = as_utf8(answer).strip()
    if text.startswith("<think>"):
        text = text.partition("</think>")[2]
    return re.sub(r"\r\n?", "\n", text).split("\n")


def replacements(answer: str, paths: Sequence[str]) -> list[Replacement]:
    """Returns the SEARCH/REPLACE blocks of a response. `paths` are those of the program.

    Raises ValueError for a response without a block, or with an incomplete one.
    """
    blocks: list[Replacement] = []
    lines, path, part = _answer_lines(answer), "", ""
    parts: dict[str, list[str]] = {}
    for i, line in enumerate(lines):
        if start := _SEARCH.fullmatch(line):
            _check_complete(not part, part, len(blocks))
            path = path_named_by(start[1], paths) or _path_above(lines, i, paths)
            part, parts = "search", {"search": [], "replace": []}
        elif part == "search" and _DIVIDER.fullmatch(line):
            part = "replace"
        elif part and _REPLACE.fullmatch(line):
            _check_complete(part == "replace", part, len(blocks))
            search, replace = _without_fences(parts["search"], parts["replace"])
            blocks.append(Replacement(path, tuple(search), tuple(replace)))
            part = ""
        elif part:
            parts[part].append(line)
    _check_complete(not part, part, len(blocks))
    if not blocks:
        raise ValueError(
            "the answer has no block from <<<<<<< SEARCH over ======= to >>>>>>> REPLACE"
        )
    return blocks


def fenced_blocks(answer: str, paths: Sequence[str]) -> list[FencedBlock]:
    """Returns the fenced blocks of a response. `paths` are those of the program.

    A fence is closed by one that is as long and as far indented, so fences within the code are
    part of it. A fence with a language opens another level. A block that is not closed ends at its
    last bare fence, or at the end of the response.
    """
    lines, blocks, i = _answer_lines(answer), [], 0
    while i < len(lines):
        opening = _FENCE.fullmatch(lines[i])
        if opening:
            end = _end(lines, i + 1, opening)
            language = opening[3].strip().partition(" ")[0].partition(":")[0]
            text = "".join(line.removeprefix(opening[1]) + "\n" for line in lines[i + 1 : end])
            path = _path_in_fence(opening, paths) or _path_above(lines, i, paths)
            blocks.append(FencedBlock(path, language.lower(), text))
            i = end
        i += 1
    return blocks


def path_named_by(text: str, paths: Sequence[str]) -> str:
    """Returns the path if a text is nothing but a path and marks around it, else "".

    If exactly one of `paths` ends with the path, or the other way round, that one is returned.
    Any other path is returned as it is, and the caller decides about it.
    """
    bare = text.strip(" \t#*`:-")
    label = _LABEL.match(bare)
    path = bare[label.end() if label else 0 :].strip(" \t#*`:'\"").removeprefix("./")
    if path in paths or not _A_PATH.fullmatch(path):
        return path if path in paths else ""
    slashed = path.replace("\\", "/")
    matching = [
        each
        for each in paths
        if each.endswith(f"/{slashed}") or f"/{slashed}".endswith(f"/{each}")
    ]
    return matching[0] if len(matching) == 1 else path


def _path_above(lines: Sequence[str], i: int, paths: Sequence[str]) -> str:
    """Returns the path in the nearest line above line `i` that is not empty, else "".

    If that line is a fence around a SEARCH/REPLACE block, the lines above the fence count too.
    """
    for line in lines[max(0, i - 4) : i][::-1]:
        fence = _FENCE.fullmatch(line) if _SEARCH.fullmatch(lines[i]) else None
        path = _path_in_fence(fence, paths) if fence else path_named_by(line, paths)
        if path or (line.strip() and not fence):
            return path
    return ""


def _path_in_fence(fence: re.Match[str], paths: Sequence[str]) -> str:
    words = re.split(r"[\s:]+", fence[3].strip())
    return next(filter(None, (path_named_by(word, paths) for word in words)), "")


def _end(lines: Sequence[str], start: int, opening: re.Match[str]) -> int:
    """Returns the number of the line that closes a fence opened before line `start`."""
    depth, last = 1, len(lines)
    for i, fence in _matching_fences(lines, start, opening):
        if fence[3].strip():
            depth += 1
        else:
            depth, last = depth - 1, i
        if not depth:
            return i
    return last


def _matching_fences(
    lines: Sequence[str], start: int, opening: re.Match[str]
) -> Iterator[tuple[int, re.Match[str]]]:
    for i in range(start, len(lines)):
        fence = _FENCE.fullmatch(lines[i])
        if fence and fence[1] == opening[1] and fence[2].startswith(opening[2]):
            yield i, fence


def _without_fences(*parts: list[str]) -> tuple[list[str], ...]:
    """Returns the parts of a block without the fences that some models set around each part."""
    if all(
        len(part) > 1 and part[0].startswith("```") and part[-1].strip() == "```" for part in parts
    ):
        return tuple(part[1:-1] for part in parts)
    return parts


def _check_complete(complete: bool, part: str, blocks_before: int) -> None:
    """Raises ValueError with the line that a block lacks, unless it is complete."""
    if not complete:
        missing = "=======" if part == "search" else ">>>>>>> REPLACE"
        raise ValueError(f"block {blocks_before + 1} of the answer has no line {missing}")

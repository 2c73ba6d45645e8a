"""Answers put into a program: found places replaced, new texts set between the old marks.

Whatever an answer says, the frame of the program stays as it is, or the answer is refused with a
sentence that its author can mend it by.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from qdkit.operators.edits.reading import Fenced, Replacement, fenced, replacements
from qdkit.programs import Files, blocks, changed_outside, frame, refilled

LONGEST = 100_000  # characters of an answer, and of a program: more is no edit, and no prompt could show it
MANY = 20  # places in a file after which no more are looked for: they are too many to choose from anyway


class Edited(NamedTuple):
    """A program after an edit. `error` says why there is none; `loose` counts places found but for whitespace."""

    files: Mapping[str, str]
    error: str = ""
    loose: int = 0


class _Place(NamedTuple):
    """Where lines were found: in lines `start` to `stop` of a file; `inside` a block; exact or but for whitespace."""

    path: str
    start: int
    stop: int
    inside: bool
    loose: bool


def patched(files: Files, answer: str) -> Edited:
    """The program after the SEARCH/REPLACE blocks of an answer, one after the other."""
    try:
        _short(answer, "the answer")
        after, loose = {path: _plain_newlines(text) for path, text in files.items()}, 0
        for number, block in enumerate(replacements(answer, list(files)), 1):
            place = _the_place(after, block, f"block {number}")
            after[place.path] = _replaced(after[place.path], block, place)
            loose += place.loose
    except ValueError as refused:
        return Edited({}, str(refused))
    return _checked(files, {path: _newlines_as_in(files[path], text) for path, text in after.items()}, loose)


def rewritten(files: Files, answer: str) -> Edited:
    """The program with the fenced code of an answer in the place of its blocks."""
    try:
        _short(answer, "the answer")
        after = dict(files)
        for path, block in _for_paths(fenced(answer, list(files)), list(files)).items():
            after[path] = _newlines_as_in(files[path], _refilled(files[path], block.text)) if path in files else ""
    except ValueError as refused:
        return Edited({}, str(refused))
    return _checked(files, after, 0)


def _checked(before: Files, after: Files, loose: int) -> Edited:
    why = changed_outside(before, after)
    if not why and dict(after) == dict(before):
        why = "the answer leaves the program as it is"
    if not why and sum(map(len, after.values())) > max(LONGEST, sum(map(len, before.values()))):
        why = f"the program would be longer than {LONGEST:,} characters"
    return Edited({}, why) if why else Edited(after, loose=loose)


def _short(text: str, what: str) -> None:
    if len(text) > LONGEST:
        raise ValueError(f"{what} has {len(text):,} characters, and {LONGEST:,} are read")


# Patches.


def _the_place(files: Files, block: Replacement, what: str) -> _Place:
    """The one place that a block means: exact before loose, within EVOLVE blocks before elsewhere."""
    if block.path and block.path not in files:
        raise ValueError(f"{what}: {block.path} is not one of the program's files: {', '.join(files)}")
    if not any(line.strip() for line in block.search):
        raise ValueError(f"{what}: its SEARCH part is empty: quote the lines that its REPLACE part takes the place of")
    paths = [block.path] if block.path else list(files)
    for loose in (False, True):
        found = [at for path in paths for at in islice(_places(path, files[path], block.search, loose), MANY)]
        for some in ([place for place in found if place.inside], found):
            if len(some) == 1:
                return some[0]
            if some:
                where = ", ".join(dict.fromkeys(place.path for place in some))
                raise ValueError(f"{what}: its SEARCH part is found {len(some)} times in {where}: quote more lines")
    raise ValueError(f"{what}: its SEARCH part is not in {', '.join(paths)}{_nearest(files, paths, block)}")


def _places(path: str, text: str, search: Sequence[str], loose: bool) -> Iterator[_Place]:
    lines, wanted = text.split("\n"), _dedented(_trimmed(search)) if loose else list(search)
    alike, bare = ([x.strip() for x in some] if loose else some for some in (lines, wanted))
    may_change = [_line_span(text, block) for block in blocks(text)]
    for start in range(len(lines) - len(wanted) + 1):
        stop = start + len(wanted)
        if alike[start] != bare[0] or alike[start:stop] != bare or (loose and _dedented(lines[start:stop]) != wanted):
            continue
        yield _Place(path, start, stop, any(a <= start and stop <= b for a, b in may_change), loose)


def _line_span(text: str, block: slice) -> tuple[int, int]:
    first = text.count("\n", 0, block.start)
    ends_within = block.stop == len(text) and not text.endswith("\n")
    return first, text.count("\n", 0, block.stop) + ends_within


def _replaced(text: str, block: Replacement, place: _Place) -> str:
    lines, new = text.split("\n"), list(block.replace)
    if place.loose:
        here, there = _indent(lines[place.start : place.stop]), _indent(block.search)
        new = [here + line.removeprefix(there) if line.strip() else "" for line in _trimmed(new)]
    return "\n".join(lines[: place.start] + new + lines[place.stop :])


def _trimmed(lines: Sequence[str]) -> list[str]:
    """The lines without empty ones at either end."""
    full = [i for i, line in enumerate(lines) if line.strip()]
    return list(lines[full[0] : full[-1] + 1]) if full else []


def _indent(lines: Sequence[str]) -> str:
    """What every line that is not empty begins with of blanks."""
    heads = [line[: len(line) - len(line.lstrip())] for line in lines if line.strip()]
    first, last = min(heads, default=""), max(heads, default="")
    same = [a == b for a, b in zip(first, last, strict=False)]
    return first[: same.index(False) if False in same else len(same)]


def _dedented(lines: Sequence[str]) -> list[str]:
    indent = _indent(lines)
    return [line.rstrip().removeprefix(indent) for line in lines]


def _nearest(files: Files, paths: Sequence[str], block: Replacement) -> str:
    """Words about the line that is most like the first one that was looked for."""
    wanted = _trimmed(block.search)[0].strip()[:200]
    lines = [line.strip()[:200] for path in paths for line in files[path].split("\n")[:2000]]
    if wanted in lines:
        return f"; its first line, {wanted!r}, is there, and what follows differs"
    near = difflib.get_close_matches(wanted, dict.fromkeys(lines), n=1)
    return f"; the line there most like its first is {near[0]!r}" if near else ""


# Rewrites.


def _for_paths(found: Sequence[Fenced], paths: Sequence[str]) -> dict[str, Fenced]:
    """Which block is for which file. One that names no path counts only where none does, and there is one file."""
    if not found:
        raise ValueError("the answer has no code block between ``` and ```")
    if any(block.path for block in found):
        named = [block for block in found if block.path]
        if twice := [block.path for i, block in enumerate(named) if block.path in {b.path for b in named[:i]}]:
            raise ValueError(f"the answer has more than one code block for {twice[0]}: give one")
        return {block.path: block for block in named}
    if len(paths) > 1:
        raise ValueError(f"the answer does not say which file its code is for: set one of {', '.join(paths)} above it")
    groups = ([b for b in found if "EVOLVE-BLOCK-START" in b.text], [b for b in found if b.language in _PYTHON], found)
    likeliest = next(group for group in groups if group)
    if len(likeliest) > 1:
        raise ValueError(f"the answer has {len(likeliest)} code blocks, and does not say which one is {paths[0]}")
    return {paths[0]: likeliest[0]}


_PYTHON = ("python", "py", "python3")


def _refilled(before: str, code: str) -> str:
    """`before` with the blocks of `code`, or `code` as its only block; `code` itself if it has another frame."""
    old = frame(before)
    if old == ["", ""]:
        return code
    contents, new = [code[block] for block in blocks(code)], frame(code)
    if new == ["", ""] and len(old) == 2:
        return refilled(before, contents)
    alike = [_said(part) for part in new] == [_said(part) for part in old]
    only_marks = all("EVOLVE-BLOCK-" in line for part in new for line in _said(part))
    return refilled(before, contents) if len(new) == len(old) and new != ["", ""] and (alike or only_marks) else code


def _said(text: str) -> list[str]:
    return [line.rstrip() for line in text.split("\n") if line.strip()]


# Newlines: an answer is read with \n, and a file keeps its own.


def _plain_newlines(text: str) -> str:
    return text.replace("\r\n", "\n") if _ends_in_crlf(text) else text


def _newlines_as_in(before: str, text: str) -> str:
    return text.replace("\r\n", "\n").replace("\n", "\r\n") if _ends_in_crlf(before) else text


def _ends_in_crlf(text: str) -> bool:
    return text.count("\n") == text.count("\r\n") > 0

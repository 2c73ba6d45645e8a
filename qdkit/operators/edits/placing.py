"""The place of a SEARCH/REPLACE block in a program, and the indentation of its lines there.

The SEARCH lines match exactly or, if they do not, with other whitespace: spaces at the ends of
lines, empty lines around them, and another indentation whose levels are in the same order. The
REPLACE lines are then indented as the file is, if there is only one way to do so. Otherwise the
block is refused with a message that says how to correct it.
"""

from __future__ import annotations

import io
import re
import textwrap
import tokenize
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, pairwise
from typing import NamedTuple

from qdkit.operators.edits.reading import Replacement
from qdkit.programs.marks import blocks, is_python

_MAX_PLACES = 20  # the most places in a file that are searched for: more are ambiguous anyway
_MAX_LINES = 2000  # the lines of a file that are compared with a line that was not found
_MAX_WIDTH = 200  # the characters of a line that are compared
_MIN_SIMILARITY = 0.6  # the Dice coefficient from which a line is shown as similar
_NUMBERED = re.compile(r"\s*\d+\s*[:|.)]|\s*\d+\t")
_ELLIPSIS = re.compile(r"\s*(?:#|//|--|/\*)?\s*(?:\.\.\.|…)")


class FileLines(NamedTuple):
    """The lines of a file, and the first line of each block and the one after its last."""

    lines: Sequence[str]
    blocks: Sequence[tuple[int, int]]

    @classmethod
    def of(cls, path: str, text: str) -> FileLines:
        """Returns the lines of a text. Raises ValueError for marks that are not in pairs."""
        return cls(text.split("\n"), _block_lines(text, path))

    def after(self, place: Place, new: Sequence[str]) -> FileLines:
        """Returns the file with other lines in a place.

        Raises ValueError if that leaves marks that are not in pairs.
        """
        lines = [*self.lines[: place.start], *new, *self.lines[place.stop :]]
        if not place.inside or any("EVOLVE" in line for line in new):
            return FileLines.of(place.path, "\n".join(lines))
        more, start, stop = len(new) - (place.stop - place.start), place.start, place.stop
        # A block that ends before the place stays, the one around it grows, and one below moves.
        blocks_after = [
            (first + more * (first >= stop and first > start), end + more * (end >= stop))
            for first, end in self.blocks
        ]
        return FileLines(lines, blocks_after)


class Place(NamedTuple):
    """Lines `start` to `stop` of a file.

    inside: whether they are within a block. touches: whether they overlap one.
    loose: whether they match only if whitespace is ignored.
    """

    path: str
    start: int
    stop: int
    inside: bool
    touches: bool
    loose: bool


class FittedLines(NamedTuple):
    """The lines to put in a place.

    moved: the lines with the indentation of the place, if that is a second way to read the block;
      else None.
    reindented: whether `lines` have another indentation than in the response.
    """

    lines: tuple[str, ...]
    moved: tuple[str, ...] | None = None
    reindented: bool = False


def find_place(
    files: Mapping[str, FileLines], before: Mapping[str, str], block: Replacement, what: str
) -> Place:
    """Returns the only place where the SEARCH lines of a block are.

    Exact matches take precedence over loose ones, and those inside EVOLVE blocks over those that
    touch one.

    files: the files after the earlier blocks. before: the texts before all blocks.
    what: the name of the block, for messages.

    Raises ValueError, with the reason, if there is no such place or more than one.
    """
    paths = [block.path] if block.path in files else list(files)
    if block.path and block.path not in files and len(files) > 1:
        raise ValueError(
            f"{what}: {block.path} is not one of the program's files: {', '.join(files)}"
        )
    if not any(line.strip() for line in block.search):
        raise ValueError(
            f"{what}: its SEARCH part is empty: quote the lines that its REPLACE part takes the "
            f"place of"
        )
    for loose in (False, True):
        places = [
            place
            for path in paths
            for place in islice(_places(path, files[path], block.search, loose), _MAX_PLACES)
        ]
        for candidates in (
            [place for place in places if place.inside],
            [place for place in places if place.touches and not place.inside],
        ):
            if len(candidates) == 1:
                return candidates[0]
            if candidates:
                where = ", ".join(dict.fromkeys(place.path for place in candidates))
                raise ValueError(
                    f"{what}: its SEARCH part is found {len(candidates)} times in {where}: quote "
                    f"more lines"
                )
        if places:
            lines = ", ".join(str(place.start + 1) for place in places[:3])
            raise ValueError(
                f"{what}: its SEARCH part is found only outside the EVOLVE-BLOCK marks of "
                f"{places[0].path} (line {lines}), where nothing may change: quote lines between "
                f"the marks"
            )
    reason = _reason_not_found(files, before, paths, block)
    raise ValueError(f"{what}: its SEARCH part is not in {', '.join(paths)}{reason}")


def _places(path: str, file: FileLines, search: Sequence[str], loose: bool) -> Iterator[Place]:
    """Yields the places of a file where the lines `search` are."""
    lines, spans = file
    wanted = _trimmed(search) if loose else list(search)
    if loose:
        text, pattern = [line.strip() for line in lines], [line.strip() for line in wanted]
    else:
        text, pattern = list(lines), wanted
    levels = _indentation_levels(wanted) if loose else []
    tried = 0
    for start in _starts(text, pattern):
        stop = start + len(wanted)
        if loose:
            tried += 1
            if tried > 2 * _MAX_PLACES or _indentation_levels(lines[start:stop]) != levels:
                continue
        inside = any(first <= start and stop <= end for first, end in spans)
        touches = any(first < stop and start < end for first, end in spans)
        yield Place(path, start, stop, inside, touches, loose)


def _starts(lines: Sequence[str], wanted: Sequence[str]) -> Iterator[int]:
    """Yields where `wanted` begins in `lines`, in one pass (Knuth, Morris and Pratt 1977)."""
    back, k = [0] * len(wanted), 0
    for i in range(1, len(wanted)):
        while k and wanted[i] != wanted[k]:
            k = back[k - 1]
        k += wanted[i] == wanted[k]
        back[i] = k
    k = 0
    for i, line in enumerate(lines):
        while k and (k == len(wanted) or line != wanted[k]):
            k = back[k - 1]
        k += line == wanted[k]
        if k == len(wanted):
            yield i + 1 - k


def _block_lines(text: str, path: str) -> list[tuple[int, int]]:
    """Returns the first line of each block of a file, and the one after its last."""
    spans, at, line = [], 0, 0
    for block in blocks(text, path):
        first = line + text.count("\n", at, block.start)
        line, at = first + text.count("\n", block.start, block.stop), block.stop
        spans.append((first, line + (block.stop == len(text))))
    return spans


# Indentation.


def fit_replacement(
    block: Replacement, lines: Sequence[str], place: Place, what: str
) -> FittedLines:
    """Returns the lines that a block puts in its place.

    Raises ValueError if its indentation is ambiguous.
    """
    fit = _fit_indentation(block, lines, place, what)
    new = tuple(_trimmed(block.replace)) if place.loose else tuple(block.replace)
    for result in (fit.lines, fit.moved or new):
        if (
            is_python(place.path)
            and result != new
            and any(result[i] != new[i] for i in _lines_in_strings(new) if new[i].strip())
        ):
            raise ValueError(
                f"{what}: its REPLACE part is indented otherwise than {place.path}, and the lines "
                f"of a text in quotes "
                "would become others with it: indent both parts as the file"
            )
    return fit


def _lines_in_strings(lines: Sequence[str]) -> set[int]:
    """Returns which lines begin within a string that is a value, as far as they are Python.

    A string that is a statement, such as a docstring, does not count.
    """
    numbers: set[int] = set()
    # the first line of each open f-string, and whether it is a statement
    open_strings: list[tuple[int, bool]] = []
    alone = True
    start, end = (getattr(tokenize, f"FSTRING_{name}", -1) for name in ("START", "END"))
    blank = (tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT)
    try:
        text = io.StringIO(textwrap.dedent("\n".join(lines)))
        for token in tokenize.generate_tokens(text.readline):
            if token.type == start:
                open_strings.append((token.start[0], alone))
            elif token.type in (tokenize.STRING, end):
                opening = open_strings.pop() if token.type == end else (token.start[0], alone)
                first, is_statement = opening
                numbers |= set() if is_statement else set(range(first, token.end[0]))
            if token.type not in blank:
                alone = False
            elif token.type == tokenize.NEWLINE:
                alone = True
    except (tokenize.TokenError, SyntaxError):
        pass  # an incomplete program; what was read before counts
    return numbers


def _fit_indentation(
    block: Replacement, lines: Sequence[str], place: Place, what: str
) -> FittedLines:
    """Returns the REPLACE lines with the indentation of the file `lines` at a place."""
    new = tuple(block.replace)
    python = is_python(place.path)
    if not place.loose:
        search_indent, new_indent = _first_indent(block.search, python), _first_indent(new, python)
        if (
            not python
            or new_indent is None
            or search_indent is None
            or search_indent == new_indent
            or _repeats_line(block.search, new)
        ):
            return FittedLines(new)
        moved = _reindented(new, {new_indent: search_indent}, lines)
        if moved is not None and _same_level(search_indent, new_indent):
            return FittedLines(moved, reindented=True)
        return FittedLines(new, moved)
    search, current = _trimmed(block.search), lines[place.start : place.stop]
    new = tuple(_trimmed(new))
    first = next((i for i, line in enumerate(search) if _is_code(line, python)), 0)
    search_indent, file_indent = _indent(search[first]), _indent(current[first])
    new_indent = _first_indent(new, python)
    indents = {_indent(a): _indent(b) for a, b in zip(search, current, strict=True) if a.strip()}
    if new_indent is None or new_indent == search_indent:
        moved = _reindented(new, indents, lines)
        if moved is None:
            raise ValueError(
                f"{what}: its REPLACE part has lines that are indented less than its SEARCH part, "
                f"which is not indented as the file is: indent both as the file"
            )
        return FittedLines(moved, reindented=True)
    if new_indent == file_indent:  # only the SEARCH lines are not indented as the file is
        return FittedLines(new, reindented=True)
    moved = _reindented(new, {new_indent: file_indent}, lines)
    if moved is not None and _same_level(new_indent, file_indent):
        return FittedLines(moved, reindented=True)
    if moved is not None and python and not new_indent:
        return FittedLines(new, moved, reindented=True)
    raise ValueError(
        f"{what}: its SEARCH part begins with {_in_words(search_indent)} and its REPLACE part "
        f"with {_in_words(new_indent)}, and the line in {place.path} with "
        f"{_in_words(file_indent)}: indent both as the file"
    )


def misplaced_message(block: Replacement, what: str) -> str:
    """Returns why a block is refused that matches exactly and is indented otherwise."""
    search_indent = _first_indent(block.search, True) or ""
    new_indent = _first_indent(block.replace, True) or ""
    return (
        f"{what}: its REPLACE part begins with {_in_words(new_indent)} and its SEARCH part with "
        f"{_in_words(search_indent)}, so it would land in another block of the code: begin both "
        f"with the same line, or indent both alike"
    )


def _reindented(
    new: Sequence[str], indents: Mapping[str, str], lines: Sequence[str]
) -> tuple[str, ...] | None:
    """Returns lines with other indentation, None if one has less than all in `indents`.

    indents: the new indentation for each known one. Deeper lines keep their steps, in the unit of
      the file `lines`.
    """
    old = [_indent(line) for line in new if line.strip()]
    extras = [each[len(base) :] for each in old if (base := _deepest(each, indents)) is not None]
    step = min((len(extra) for extra in extras if set(extra) == {" "}), default=0)
    keys = sorted(indents, key=len)
    steps = [(len(b) - len(a), indents[b].removeprefix(indents[a])) for a, b in pairwise(keys)]
    width, unit = next(((n, u) for n, u in steps if n and u), (step, _indentation_unit(lines)))
    moved = []
    for line in new:
        if not line.strip():
            moved.append("")
            continue
        indent = _indent(line)
        base = _deepest(indent, indents)
        if base is None:
            return None
        extra = indent[len(base) :]
        spaces, tabs = set(extra) == {" "}, set(extra) == {"\t"}
        if spaces and width and len(extra) % width == 0 and (steps or set(unit) == {"\t"}):
            extra = unit * (len(extra) // width)
        elif tabs and set(unit) == {" "}:
            extra = unit * len(extra)
        moved.append(indents[base] + extra + line[len(indent) :])
    return tuple(moved)


def _deepest(indent: str, indents: Mapping[str, str]) -> str | None:
    """Returns the deepest of the known indentations with which `indent` begins."""
    return max((known for known in indents if indent.startswith(known)), key=len, default=None)


def _indentation_unit(lines: Sequence[str]) -> str:
    """Returns the unit of a file's indentation, the commonest step to a deeper line."""
    indents = [_indent(line) for line in lines if line.strip()]
    deeper = [b.removeprefix(a) for a, b in pairwise(indents) if len(b) > len(a)]
    steps = Counter(step for step in deeper if set(step) in ({" "}, {"\t"}))
    return steps.most_common(1)[0][0] if steps else "    "


def _indentation_levels(lines: Sequence[str]) -> list[int]:
    """Returns for each line that is not empty how many smaller indentations the lines have."""
    widths = [len(_indent(line).expandtabs(8)) for line in lines if line.strip()]
    ranks = {width: rank for rank, width in enumerate(sorted(set(widths)))}
    return [ranks[width] for width in widths]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def _same_level(a: str, b: str) -> bool:
    """Returns whether two indentations are the same if a tab is as wide as four spaces."""
    return a.expandtabs(4) == b.expandtabs(4)


def _first_indent(lines: Sequence[str], python: bool) -> str | None:
    """Returns the indentation of the first line that is code; None if there is none."""
    return next((_indent(line) for line in lines if _is_code(line, python)), None)


def _is_code(line: str, python: bool) -> bool:
    return bool(line.strip()) and not (python and line.lstrip().startswith("#"))


def _repeats_line(search: Sequence[str], new: Sequence[str]) -> bool:
    """Returns whether a SEARCH line is among the new ones, which are then indented as the file."""
    code = {line.rstrip() for line in search if _is_code(line, True)}
    return any(line.rstrip() in code for line in new)


def _in_words(indent: str) -> str:
    """Returns an indentation in words."""
    if not indent:
        return "no indentation"
    kind = {"": "spaces", "\t": "tabs"}.get("".join(sorted(set(indent) - {" "})), "characters")
    if kind == "tabs" and " " in indent:
        return f"tabs and spaces ({indent!r})"
    return f"{len(indent)} {kind[:-1] if len(indent) == 1 else kind}"


def _trimmed(lines: Sequence[str]) -> list[str]:
    """Returns the lines without empty ones at either end, and without spaces at their ends."""
    full = [i for i, line in enumerate(lines) if line.strip()]
    return [line.rstrip() for line in lines[full[0] : full[-1] + 1]] if full else []


# The reason why lines are not found.


def _reason_not_found(
    files: Mapping[str, FileLines],
    before: Mapping[str, str],
    paths: Sequence[str],
    block: Replacement,
) -> str:
    """Returns the likely reason why the SEARCH lines of a block are not found."""
    full = [line for line in _trimmed(block.search) if line.strip()]
    for path in paths:
        old = before[path].split("\n")
        changed = old != list(files[path].lines)
        if changed and next(_places(path, FileLines(old, ()), block.search, True), None):
            return (
                " any more: an earlier block has changed these lines; blocks are applied one "
                "after the other"
            )
    stripped = [line.strip() for line in _trimmed(block.search)]
    for path in paths:
        start = next(_starts([line.strip() for line in files[path].lines], stripped), None)
        if start is not None:
            return (
                f"; these lines are there from line {start + 1} on, indented otherwise among each "
                f"other: copy them"
            )
    if all(_NUMBERED.match(line) for line in full):
        return "; it has numbers before its lines, which are not part of the file"
    first = stripped[0][:_MAX_WIDTH]
    lines = [
        line.strip()[:_MAX_WIDTH] for path in paths for line in files[path].lines[:_MAX_LINES]
    ]
    if any(_ELLIPSIS.match(line) and line.strip()[:_MAX_WIDTH] not in lines for line in full):
        return "; it leaves lines out with '...': quote every line, or use a block for each part"
    if first in lines:
        return f"; its first line, {first!r}, is there, and what follows differs"
    similar = _most_similar(first, lines)
    return f"; the line there most like its first is {similar!r}" if similar else ""


def _most_similar(wanted: str, lines: Sequence[str]) -> str:
    """Returns the line with the greatest similarity to `wanted`, "" if none is similar enough.

    The similarity is the Dice coefficient of pairs of characters (Dice 1945).
    """
    pairs = lambda line: Counter(pairwise(line))
    wanted_pairs, best, similar = pairs(wanted), _MIN_SIMILARITY, ""
    for line in dict.fromkeys(lines):
        total = len(wanted) + len(line) - 2
        shared = (wanted_pairs & pairs(line)).total() if total > 0 else 0
        if total > 0 and 2 * shared / total > best:
            best, similar = 2 * shared / total, line
    return similar

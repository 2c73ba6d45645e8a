"""Applies the edits of a model's response to a program.

The text outside the blocks never changes. A response that would change it is refused with a
message that says how to correct it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from qdkit.operators.edits.placing import FileLines, find_place, fit_replacement, misplaced_message
from qdkit.operators.edits.reading import FencedBlock, fenced_blocks, replacements
from qdkit.programs.marks import is_python
from qdkit.programs.scopes import FILENAME, compile_error, parse_python
from qdkit.programs.syntax import Files, blocks, changed_outside, fill_blocks, frame_texts

# The longest response, and the longest program. Longer ones would fit into no prompt.
MAX_EDIT_CHARACTERS = 100_000
# The most SEARCH/REPLACE blocks of a response, each of which is searched in the whole program.
_MAX_BLOCKS = 200


class EditResult(NamedTuple):
    """A program after an edit.

    error: why there is no program; "" if there is one.
    loose: the number of places that match only if whitespace is ignored.
    """

    files: Mapping[str, str]
    error: str = ""
    loose: int = 0


def apply_patch(files: Files, answer: str) -> EditResult:
    """Returns the program after the SEARCH/REPLACE blocks of a response, applied in their order.

    The result is an error if a file of Python that compiled does not compile afterwards.
    """
    try:
        _check_length(answer, "the answer")
        after, loose = _apply_blocks(
            {path: _plain_newlines(text) for path, text in files.items()}, answer
        )
    except ValueError as error:
        return EditResult({}, str(error))
    after = {path: _newlines_as_in(files[path], text) for path, text in after.items()}
    return _result(files, after, loose)


def apply_rewrite(files: Files, answer: str) -> EditResult:
    """Returns the program with the fenced code of a response in the place of its blocks."""
    try:
        _check_length(answer, "the answer")
        after = dict(files)
        for path, block in _by_path(fenced_blocks(answer, list(files)), list(files)).items():
            if not block.text.strip():
                raise ValueError(
                    f"the code block for {path} is empty: write the whole program into it"
                )
            new = _refilled(files[path], block.text, path) if path in files else ""
            after[path] = _newlines_as_in(files[path], new) if path in files else ""
    except ValueError as error:
        return EditResult({}, str(error))
    return _result(files, after, 0)


def _result(before: Files, after: Files, loose: int) -> EditResult:
    """Returns the program, or an error if it is not a valid edit of the one before."""
    length, length_before = sum(map(len, after.values())), sum(map(len, before.values()))
    error = changed_outside(before, after)
    if not error and dict(after) == dict(before):
        error = "the answer leaves the program as it is"
    if not error and length > max(MAX_EDIT_CHARACTERS, length_before):
        error = f"the program would be longer than {MAX_EDIT_CHARACTERS:,} characters"
    if not error:
        without_code = (path for path in after if _lost_code(path, before[path], after[path]))
        if path := next(without_code, ""):
            error = f"nothing would be left of {path} but comments: a program has code"
    return EditResult({}, error) if error else EditResult(after, loose=loose)


def _lost_code(path: str, before: str, after: str) -> bool:
    """Returns whether no code is left in the blocks of a file that had some."""
    return after != before and _has_code(path, before) and not _has_code(path, after)


def _has_code(path: str, text: str) -> bool:
    lines = [line.strip() for block in blocks(text, path) for line in text[block].split("\n")]
    return any(line and not (is_python(path) and line.startswith("#")) for line in lines)


def _check_length(text: str, what: str) -> None:
    if len(text) > MAX_EDIT_CHARACTERS:
        raise ValueError(
            f"{what} has {len(text):,} characters, and {MAX_EDIT_CHARACTERS:,} are read"
        )


# Patches.


def _apply_blocks(files: Files, answer: str) -> tuple[dict[str, str], int]:
    """Returns the texts after the blocks of a response, and the number of adapted blocks.

    If lines that match exactly are replaced by lines with another indentation, these are moved to
    the old indentation if the program does not compile otherwise. Raises ValueError if it is not
    clear which of the two is meant.
    """
    edits = replacements(answer, list(files))
    if len(edits) > _MAX_BLOCKS:
        raise ValueError(
            f"the answer has {len(edits):,} SEARCH/REPLACE blocks, and {_MAX_BLOCKS} are read"
        )
    current = {path: FileLines.of(path, text) for path, text in files.items()}
    aligned_lines = {path: text.split("\n") for path, text in files.items()}
    loose, ambiguous = 0, []
    for number, block in enumerate(edits, 1):
        what = f"block {number}"
        place = find_place(current, files, block, what)
        fit = fit_replacement(block, current[place.path].lines, place, what)
        loose += place.loose or (fit.reindented and fit.moved is None)
        if fit.moved is not None and not _syntax_error(place.path, files[place.path]):
            ambiguous.append(misplaced_message(block, what))
            loose += not place.loose
        current[place.path] = current[place.path].after(place, fit.lines)
        # `moved` has as many lines as `lines`, so later places are the same in both.
        aligned_lines[place.path][place.start : place.stop] = fit.moved or fit.lines
    after = {path: "\n".join(file.lines) for path, file in current.items()}
    aligned = {path: "\n".join(lines) for path, lines in aligned_lines.items()}
    if changed_outside(files, after):
        return after, loose  # the caller refuses it
    if not ambiguous:
        _check_compiles(files, after)
        return after, loose
    if aligned == files or all(not _new_syntax_error(path, files, after) for path in files):
        raise ValueError(ambiguous[0])
    _check_compiles(files, aligned)
    return aligned, loose


def _check_compiles(before: Files, after: Files) -> None:
    """Raises ValueError if a file of Python that compiled does not compile afterwards."""
    for path in after:
        if error := _new_syntax_error(path, before, after):
            raise ValueError(f"{path} would not be Python any more: {error}")


def _new_syntax_error(path: str, before: Files, after: Files) -> str:
    """Returns why a file that compiled does not compile afterwards, "" if it does."""
    if not is_python(path) or after[path] == before[path]:
        return ""
    return "" if _syntax_error(path, before[path]) else _syntax_error(path, after[path])


@lru_cache(64)
def _syntax_error(path: str, text: str) -> str:
    """Returns why a file of Python does not compile, "" if it does."""
    if not is_python(path):
        return ""
    try:
        error = compile_error(parse_python(text.removeprefix("\ufeff")))
    except SyntaxError as raised:
        error = raised
    except (ValueError, RecursionError, MemoryError) as raised:
        return str(raised) or "it is nested too deeply"
    if error is None:
        return ""
    lines, number = text.split("\n"), error.lineno
    if error.filename != FILENAME or not number or number > len(lines):
        return str(error.msg)
    return f"{error.msg} (line {number}: {lines[number - 1].strip()[:80]!r})"


# Rewrites.


def _by_path(fenced: Sequence[FencedBlock], paths: Sequence[str]) -> dict[str, FencedBlock]:
    """Returns the block for each file.

    Blocks that name no file of the program count only if the program has one file and no block
    names it. Raises ValueError if it is not clear which block is for which file.
    """
    if not fenced:
        raise ValueError("the answer has no code block between ``` and ```")
    with_path = [block for block in fenced if block.path]
    if any(block.path in paths for block in fenced) or (len(paths) > 1 and with_path):
        names = [block.path for block in with_path]
        if twice := [name for i, name in enumerate(names) if name in names[:i]]:
            raise ValueError(f"the answer has more than one code block for {twice[0]}: give one")
        return {block.path: block for block in with_path}
    if len(paths) > 1:
        raise ValueError(
            f"the answer does not say which file its code is for: set one of {', '.join(paths)} "
            f"above it"
        )
    groups = (
        [block for block in fenced if "EVOLVE-BLOCK-START" in block.text],
        [block for block in fenced if block.language in _PYTHON],
        fenced,
    )
    likeliest = next(group for group in groups if group)
    if len(likeliest) > 1:
        raise ValueError(
            f"the answer has {len(likeliest)} code blocks, and does not say which one is "
            f"{paths[0]}"
        )
    return {paths[0]: likeliest[0]}


_PYTHON = ("python", "py", "python3")


def _refilled(before: str, code: str, path: str) -> str:
    """Returns `before` with the blocks of `code`, or with `code` as its only block.

    Returns `code` itself if the text outside its blocks differs from that of `before`.
    """
    old = frame_texts(before, path)
    if old == ["", ""]:
        return code
    contents, new = [code[block] for block in blocks(code, path)], frame_texts(code, path)
    if new == ["", ""] and len(old) == 2:
        return fill_blocks(before, contents, path)
    alike = [_full_lines(part) for part in new] == [_full_lines(part) for part in old]
    only_marks = all("EVOLVE-BLOCK-" in line for part in new for line in _full_lines(part))
    fits = len(new) == len(old) and new != ["", ""] and (alike or only_marks)
    return fill_blocks(before, contents, path) if fits else code


def _full_lines(text: str) -> list[str]:
    """Returns the lines that are not blank, without spaces at their ends."""
    return [line.rstrip() for line in text.split("\n") if line.strip()]


# Newlines: a response is read with \n, and a file keeps its own.


def _plain_newlines(text: str) -> str:
    return text.replace("\r\n", "\n") if _ends_in_crlf(text) else text


def _newlines_as_in(before: str, text: str) -> str:
    return text.replace("\r\n", "\n").replace("\n", "\r\n") if _ends_in_crlf(before) else text


def _ends_in_crlf(text: str) -> bool:
    return text.count("\n") == text.count("\r\n") > 0

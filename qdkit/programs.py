"""Programs as values: a mapping path -> text, of which one file is the case of one.

Between the marks `EVOLVE-BLOCK-START` and `EVOLVE-BLOCK-END`, each on a comment line of its own, a
program may change; what is outside them, its frame, may not. A file without marks may change as a
whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

Files = Mapping[str, str]

_MARKS = re.compile(r"^[ \t]*#[ \t]*EVOLVE-BLOCK-(START|END)\b.*$\n?", re.MULTILINE)


def blocks(text: str) -> list[slice]:
    """Where in `text` it may change: between each pair of marks, or everywhere if there are none.

    Raises ValueError for a mark without its partner.
    """
    marks = list(_MARKS.finditer(text))
    if not marks:
        return [slice(0, len(text))]
    if [mark[1] for mark in marks] != ["START", "END"] * (len(marks) // 2):
        raise ValueError("EVOLVE-BLOCK-START and EVOLVE-BLOCK-END come in pairs, the start first, and here they do not")
    return [slice(start.end(), end.start()) for start, end in zip(marks[::2], marks[1::2], strict=True)]


def frame(text: str) -> list[str]:
    """What must not change: the texts before, between and after the blocks, marks included."""
    ends = [0, *(edge for block in blocks(text) for edge in (block.start, block.stop)), len(text)]
    return [text[a:b] for a, b in zip(ends[::2], ends[1::2], strict=True)]


def refilled(text: str, contents: Sequence[str]) -> str:
    """`text` with these contents in its blocks, one each; a last line without its newline gets one."""
    outside = frame(text)
    ended = [c if not c or c.endswith("\n") or not outside[i + 1] else c + "\n" for i, c in enumerate(contents)]
    return "".join(part for pair in zip(outside, [*ended, ""], strict=True) for part in pair)


def changed_outside(before: Files, after: Files) -> str:
    """What of `before` is not as it has to be in `after`, in words; "" if only blocks have changed."""
    for path in sorted(before.keys() | after.keys()):
        if path not in after:
            return f"{path} is missing"
        if path not in before:
            return f"{path} is not one of the program's files"
        try:
            if frame(before[path]) != frame(after[path]):
                return f"{path} is changed outside its EVOLVE-BLOCK marks"
        except ValueError as error:
            return f"{path}: {error}"
    return ""

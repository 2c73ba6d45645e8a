"""The EVOLVE-BLOCK marks, which say where a program may change, in the comments of any language.

A mark is a comment on a line of its own that begins with `EVOLVE-BLOCK-START` or
`EVOLVE-BLOCK-END`; anything may follow. In a Python file it is a `#` comment outside of strings;
in any other file the comment may begin in any of the ways of `_OPENERS`. A line that only
resembles a mark raises an error, since a file whose marks are not recognised could change
anywhere.
"""

from __future__ import annotations

import ast
import difflib
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from qdkit.programs.scopes import parse_or_none

START, END = "START", "END"
_WORDS = r"EVOLVE-BLOCK-(?P<kind>START|END)(?![\w-])"
_EXACT = re.compile(r"EVOLVE-BLOCK-(?:START|END)(?![A-Za-z0-9])")
# The end of the comment may follow immediately.
_WORDS_CLOSED = r"EVOLVE-BLOCK-(?P<kind>START|END)(?!\w|-(?!-?[>}/%]))"
_PYTHON = re.compile(rf"\ufeff?[ \t\f]*#+[!%:]?[ \t]*{_WORDS}")
# How a comment begins, and its end if that has to be on the same line.
_CLOSED = (
    *("/* */", "<!-- -->", "(* *)", "{- -}", "--[[ ]]", "#| |#", "<# #>", "(; ;)", "/+ +/"),
    *("/- -/", "<#-- -->", "#= =#", "%{ %}", "{{! }}", "{# #}", "<%-- --%>", "@* *@", "{ }"),
)
_OPENERS: tuple[tuple[str, str], ...] = (
    *((pair.partition(" ")[0], pair.partition(" ")[2]) for pair in _CLOSED),
    *(
        (opener, "")
        for opener in ("#", "//", "--", "%", ";", "!", "*>", "..", "::", "|", "⍝", "\\", "-#")
    ),
    *((quote, "") for quote in ("'", '"')),  # of BASIC, and of vim
    *((word, "") for word in ("REM", "@REM", "DNL", "NB.", "C")),
)
# Endings of files in which a comment line begins with a star or an at sign. In other files these
# continue a longer comment, or are code.
_STAR = (
    *(".f", ".for", ".ftn", ".f77", ".cob", ".cbl"),
    *(".cpy", ".abap", ".sas", ".do", ".ado", ".gms"),
)
_AT = (".s",)
_OPENER = re.compile(
    r"\ufeff?[ \t\f]*(?:\d+[ \t]+(?=REM))?(?P<opener>"
    + "|".join(re.escape(opener) for opener, _ in sorted(_OPENERS, key=lambda pair: -len(pair[0])))
    + rf")(?P<more>[^\w\s]*)[ \t]*(?P<words>{_WORDS_CLOSED})(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_CLOSERS = dict(_OPENERS)
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")
# Only lines that match this are examined.
_HINT = re.compile(r"e[\W_]{0,3}v[\W_]{0,3}o[\W_]{0,3}l|volv|bl[a-z]{0,3}k", re.IGNORECASE)
_GAP, _ENDS = r"[ \t_.:\-–—]{0,3}", "(?:start|end|begin|stop)"
_LIKE = re.compile(
    rf"evolve{_GAP}blocks?{_GAP}{_ENDS}(?![a-z])|(?<![a-z]){_ENDS}{_GAP}(?:of{_GAP})?evolve{_GAP}block",
    re.IGNORECASE,
)
_HEAD = re.compile(
    r"[^A-Za-z0-9]*(?:(?:rem|dnl|nb)\b[^A-Za-z0-9]*)?(?P<text>[A-Za-z][A-Za-z0-9 \t_.:\-–—]{0,30})"
)
_WORD = re.compile(r"[ \t]*@?(?:rem|dnl|nb)\b", re.IGNORECASE)
_EDGES = {"start", "end", "begin", "stop", "region", "endregion"}
_CUT = re.compile(r"EVOLVE[-_](?![a-z])")
# The least similarity to a mark: EVOLVE-START and BLOK-START reach it, BLOCK-START does not.
_ALIKE = 0.775


class _Mark(NamedTuple):
    """The line of a mark.

    kind: `START` or `END`.
    begin, end: the range of its characters in the text, its newline included.
    number: of the line, counted from 1.
    """

    kind: str
    begin: int
    end: int
    number: int


def is_python(path: str) -> bool:
    """Whether a file is treated as Python; a text without a path is."""
    return not path or path.lower().endswith((".py", ".pyw", ".pyi"))


def blocks(text: str, path: str = "") -> list[slice]:
    """Returns the parts of `text` that may change: between marks, or all if there are none.

    Raises ValueError, with the number of the line, for a mark without its partner and for a line
    that resembles a mark but is none.
    """
    lower = path.lower()
    extra = "*" if lower.endswith(_STAR) else "@" if lower.endswith(_AT) else ""
    return list(_blocks(text, is_python(path), extra))


@lru_cache(512)
def _blocks(text: str, python: bool, extra: str) -> tuple[slice, ...]:
    marks = _marks(text, python, extra)
    if not marks:
        return (slice(0, len(text)),)
    _check_pairs(marks)
    return tuple(
        slice(start.end, end.begin) for start, end in zip(marks[::2], marks[1::2], strict=True)
    )


def _check_pairs(marks: list[_Mark]) -> None:
    """Raises ValueError unless starts and ends alternate, a start first."""
    rule = "EVOLVE-BLOCK-START and EVOLVE-BLOCK-END come in pairs, the start first"
    last = None
    for mark in marks:
        if mark.kind == END and (last is None or last.kind == END):
            raise ValueError(f"{rule}, and the END on line {mark.number} has no START")
        if mark.kind == START and last is not None and last.kind == START:
            raise ValueError(
                f"{rule}, and the START on line {last.number} has none before the next, on line "
                f"{mark.number}"
            )
        last = mark
    if last is not None and last.kind == START:
        raise ValueError(f"{rule}, and the START on line {last.number} has no END")


def _marks(text: str, python: bool, extra: str) -> list[_Mark]:
    """Returns the marks of a text, in order; raises the errors of `blocks`.

    extra: one more sign that begins a comment.
    """
    if not _may_hold_mark(text):
        return []
    lines = [
        (number, line, begin)
        for number, (line, begin) in enumerate(_lines(text), 1)
        if _may_hold_mark(line)
    ]
    needs_parsing = python and any(_EXACT.search(line) for _, line, _ in lines)
    in_strings = _lines_in_strings(text) if needs_parsing else {}
    marks = []
    for number, line, begin in lines:
        bare = line.rstrip("\r\n")
        in_string = number in in_strings
        kind = "" if in_string else _kind(bare, python, extra)
        if kind:
            marks.append(_Mark(kind, begin, begin + len(line), number))
        elif reason := _resemblance(bare, python, in_string):
            raise ValueError(f"line {number}: {reason}")
    return marks


def _lines(text: str) -> Iterator[tuple[str, int]]:
    """Yields each line, its newline included, and where it begins; lines end as in Python."""
    for match in _LINE.finditer(text):
        if match[0]:
            yield match[0], match.start()


def _kind(line: str, python: bool, extra: str) -> str:
    """Returns START or END if a line is a mark, else ""."""
    if extra and line.lstrip().startswith(extra):
        line = "#" + line.lstrip().lstrip(extra)
    if python:
        match = _PYTHON.match(line)
        return match["kind"] if match else ""
    match = _OPENER.fullmatch(line)
    if match is None or match["words"] not in ("EVOLVE-BLOCK-START", "EVOLVE-BLOCK-END"):
        return ""
    opener, rest = match["opener"], match["rest"]
    if opener[-1].isalpha() and not line[match.end("opener")].isspace():
        return ""
    if closer := _CLOSERS.get(opener, ""):
        return match["kind"] if closer in rest else ""
    return "" if opener in ("'", '"') and opener in rest else match["kind"]


def _resemblance(line: str, python: bool, in_string: bool) -> str:
    """Returns why a line that is not a mark could be mistaken for one, "" if it could not."""
    comment = (
        "# EVOLVE-BLOCK-START"
        if python
        else "// EVOLVE-BLOCK-START, or however the language begins a comment"
    )
    form = f"a mark is a comment line of its own, {comment}, and EVOLVE-BLOCK-END likewise"
    excerpt = repr(line.strip()[:60])
    if _EXACT.search(line):
        if in_string:
            return (
                f"{excerpt} stands in a text in quotes, and does not count as a mark there: {form}"
            )
        unclosed = None if python else _OPENER.fullmatch(line)
        if unclosed and _CLOSERS.get(unclosed["opener"]):
            return f"{excerpt} is no mark, as its comment does not end on the line: {form}"
        return f"{excerpt} names a mark and is none: {form}"
    text = _without_lookalikes(line.partition("#")[2] if python else line)
    if (
        _EXACT.search(text)
        or _LIKE.search(text)
        or _begins_like_mark(text, comment=python)
        or _only_mark_words(text, comment=python)
    ):
        return f"{excerpt} is nearly a mark, and is none: {form}"
    return ""


def _may_hold_mark(text: str) -> bool:
    normal = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return _HINT.search(normal) is not None


def _without_lookalikes(text: str) -> str:
    """Returns the text with `-` for every dash and without invisible characters."""
    text = unicodedata.normalize("NFKC", text)
    dashed = ("-" if c == "\u2212" or unicodedata.category(c) == "Pd" else c for c in text)
    return "".join(c for c in dashed if unicodedata.category(c) != "Cf")


def _only_mark_words(line: str, comment: bool) -> bool:
    """Whether a comment holds only words of a mark, in any order and with any signs between."""
    if not comment and line.lstrip(" \t\f")[:1].isalnum():
        return False
    words = re.findall(r"[a-z]+", line.lower())
    if re.fullmatch("evolveblock(start|end|begin|stop)", "".join(words)):
        return True
    known = {"evolve", "block", "blocks", *_EDGES}
    if "evolve" not in words or len(words) < 2 or not {*words} <= known:
        return False
    return "EVOLVE" in line or bool({"block", "blocks"} & {*words} and _EDGES & {*words})


def _begins_like_mark(line: str, comment: bool) -> bool:
    """Whether a line begins, after the opener of a comment, with words that resemble a mark."""
    match = _HEAD.match(line)
    if match is None:
        return False
    letters = re.sub(r"[^A-Z]", "", " ".join(re.split(r"[\W_]+", match["text"])[:3]).upper())
    ratio = lambda a, b: difflib.SequenceMatcher(None, a, b, autojunk=False).ratio()
    whole = max(ratio(letters, f"EVOLVEBLOCK{kind}") for kind in (START, END))
    nearly = whole >= _ALIKE and ratio(letters[:6], "EVOLVE") > 0.6
    if not comment and line.lstrip("\ufeff \t\f")[:1].isalnum() and not _WORD.match(line):
        # The line may be code, so only capitals resemble a mark.
        return nearly and match["text"].startswith("EVOLVE")
    return nearly or bool(_CUT.match(match["text"]))


def _lines_in_strings(text: str) -> set[int]:
    """Returns the numbers of the lines that begin within a Python string.

    The set is empty if the text does not parse.
    """
    tree = parse_or_none(text.removeprefix("\ufeff"))
    strings = [
        node
        for node in ast.walk(tree or ast.Module([], []))
        if isinstance(node, ast.JoinedStr)
        or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))
    ]
    spans = [(node.lineno, node.end_lineno or node.lineno) for node in strings]
    return {number for first, last in spans for number in range(first + 1, last + 1)}

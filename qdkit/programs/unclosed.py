"""Checks that a block of a program closes its comments, strings and brackets.

The check is for any language but Python. It uses no parser; the ending of the file's name selects
the rules.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import PurePosixPath
from typing import NamedTuple

_Pairs = tuple[tuple[str, str], ...]


class _Style(NamedTuple):
    """How a language writes comments, strings and brackets.

    lines: patterns that begin a comment that ends with its line.
    pairs: the opener and the closer of each comment or string that may span lines.
    nested: whether these may nest.
    texts: patterns of strings and of other text that is skipped.
    conditions: patterns of lines that open and close a conditional part.
    brackets: the brackets that have to be closed.
    """

    lines: tuple[str, ...] = ()
    pairs: _Pairs = ()
    nested: bool = False
    texts: tuple[str, ...] = ()
    conditions: tuple[str, str] | None = None
    brackets: str = "(){}[]"


_DOUBLE, _SINGLE = r'"(?:\\.|[^"\\\n])*"', r"'(?:\\.|[^'\\\n])*'"
_CHARACTER = r"'(?:\\[^\n]{1,10}?|[^'\\\n])'"
_LONG_DOUBLE, _LONG_SINGLE = r'"(?:\\.|[^"\\])*+"', r"'(?:\\.|[^'\\])*+'"
_TRIPLE: _Pairs = (('"""', '"""'),)
_C_COMMENT: _Pairs = (("/*", "*/"),)
_CPP = (r"^[ \t]*#[ \t]*if(?:n?def)?\b", r"^[ \t]*#[ \t]*endif\b")
_C = _Style(("//",), _C_COMMENT, texts=(_DOUBLE, _CHARACTER), conditions=_CPP)
_TRIPLED = _Style(("//",), (*_TRIPLE, *_C_COMMENT), texts=(_DOUBLE, _CHARACTER))
_NESTING = _TRIPLED._replace(nested=True)
_SCRIPT = _Style(("//",), (*_C_COMMENT, ("`", "`")), texts=(_DOUBLE, _SINGLE))
_SHELL = _Style((r"(?<![^\s;&|(])#",), texts=(r"\\.", _LONG_DOUBLE, _LONG_SINGLE), brackets="(){}")
_ML = _Style(pairs=(("(*", "*)"),), nested=True, texts=(_LONG_DOUBLE, _CHARACTER))
_LISP = _Style((";",), (("#|", "|#"),), nested=True, texts=(_LONG_DOUBLE,))
_MARKUP = _Style(pairs=(("<!--", "-->"), ("<![CDATA[", "]]>")), brackets="")
_ANY = _Style(
    pairs=(*_C_COMMENT, ("<!--", "-->"), ("(*", "*)"), ("{-", "-}"), ("#|", "|#"), *_TRIPLE),
    brackets="",
)
_STYLES: dict[str, _Style] = {
    "c h cc cpp cxx hh hpp hxx cu cuh cl ino": _C,
    "cs": _TRIPLED._replace(conditions=_CPP),
    "java go glsl frag vert wgsl metal proto groovy": _TRIPLED._replace(
        pairs=(*_TRIPLED.pairs, ("`", "`"))
    ),
    "rs swift kt kts scala dart d zig": _NESTING,
    "js mjs cjs ts jsx tsx": _SCRIPT,
    "php": _SCRIPT._replace(lines=("//", "#"), pairs=_C_COMMENT),
    "css scss less": _Style(pairs=_C_COMMENT, texts=(_DOUBLE, _SINGLE)),
    "sql": _Style(
        ("--",), (*_C_COMMENT, ("$$", "$$")), texts=(_LONG_SINGLE, _LONG_DOUBLE), brackets="()"
    ),
    "lua": _Style(("--(?!\\[=*\\[)",), (("--[[", "]]"), ("[[", "]]")), texts=(_DOUBLE, _SINGLE)),
    "hs elm purs": _Style((r"--",), (("{-", "-}"),), nested=True, texts=(_DOUBLE, _CHARACTER)),
    "ml mli fs fsx sml v wl": _ML,
    "pas pp dpr": _Style(("//",), (("(*", "*)"), ("{", "}")), texts=(_SINGLE,), brackets="()[]"),
    "lisp lsp cl el scm ss rkt clj": _LISP,
    "sh bash zsh ksh": _SHELL,
    "rb pl pm": _Style((r"(?<![\w$&])#",), texts=(r"\\.", _LONG_DOUBLE, _LONG_SINGLE)),
    "jl": _Style(
        ("#(?!=)",), (("#=", "=#"), *_TRIPLE), nested=True, texts=(_DOUBLE, _CHARACTER),
        brackets="(){}",
    ),
    "r": _Style(("#",), texts=(_LONG_DOUBLE, _LONG_SINGLE)),
    "ps1 psm1": _Style(
        ("#(?!>)",), (("<#", "#>"), ('@"', '"@'), ("@'", "'@")), texts=(_DOUBLE, _SINGLE)
    ),
    "tex sty cls": _Style(
        (r"(?<!\\)%",), ((r"\begin{comment}", r"\end{comment}"), (r"\iffalse", r"\fi")),
        texts=(r"\\[{}\[\]]",), brackets="{}",
    ),
    "m": _Style((r"%(?![{}])",), (("%{", "%}"),), nested=True, texts=(_DOUBLE,)),
    "f f90 f95 f03 f08 for": _Style(
        ("!",), texts=(_DOUBLE, _SINGLE), conditions=_CPP, brackets="()"
    ),
    "html htm xml svg md markdown vue": _MARKUP,
    "txt": _Style(brackets=""),
}  # fmt: skip
_BY_ENDING = {ending: style for endings, style in _STYLES.items() for ending in endings.split()}
# Ruby and Perl: lines that end a program, or begin a part that runs to a later line.
_REST = r"^(?:__END__|__DATA__|=(?:begin|pod|head1)\b[^\n]*)$"
# Openers of here documents, by the ending of a file.
_HEREDOCS = {
    "sh": r"""(?<![\w)<])<<-?[ \t]*(?P<q>['"]?)\\?(?P<word>[A-Za-z_]\w*)(?P=q)""",
    "rb": r"""<<(?:[-~](?P<q>['"`]?)(?P<word>[A-Za-z_]\w*)(?P=q)"""
    r"""|(?P<q2>['"]?)(?P<word2>[A-Z_]\w*)(?P=q2))""",
    "php": r"""<<<[ \t]*(?P<q>['"]?)(?P<word>[A-Za-z_]\w*)(?P=q)""",
}


def unclosed(path: str, before: str, after: str) -> str:
    """Returns what `after` opens or closes differently from `before`, in words; "" if nothing."""
    style = _BY_ENDING.get(PurePosixPath(path).suffix.lower().removeprefix("."), _ANY)
    old, new = _scan(before, style), _scan(after, style)
    if new.open and not old.open:
        return f"opens {new.open!r} and does not close it"
    if (new.depth, new.lowest) != (old.depth, old.lowest):
        return "has brackets that are not closed between its marks"
    if new.conditions != old.conditions:
        return "has #if and #endif that are not pairs between its marks"
    return ""


class _Scan(NamedTuple):
    """The result of a scan.

    open: the opener of the comment or string that is open at the end, "" if none is.
    depth: the number of brackets opened less the number closed, at the end.
    lowest: the least value of that number.
    conditions: the same two numbers for conditional parts.
    """

    open: str
    depth: int
    lowest: int
    conditions: tuple[int, int]


@lru_cache(256)
def _scan(text: str, style: _Style) -> _Scan:
    text = re.sub(r"\r\n?", "\n", text)
    code, open_ = _without_texts(text, style)
    depth = lowest = 0
    for bracket in re.findall(r"[(){}\[\]]", code):
        if bracket in style.brackets:
            depth += 1 if bracket in "([{" else -1
            lowest = min(lowest, depth)
    conditions = [0, 0]
    if style.conditions:
        opens, closes = style.conditions
        for match in re.finditer(f"(?P<opens>{opens})|{closes}", code, re.MULTILINE):
            conditions[0] += 1 if match["opens"] else -1
            conditions[1] = min(conditions)
    return _Scan(open_, depth, lowest, (conditions[0], conditions[1]))


def _without_texts(text: str, style: _Style) -> tuple[str, str]:
    """Returns a text without comments and strings, and the opener that is not closed, else ""."""
    token, code, at = _token(style), [], 0
    while match := token.search(text, at):
        code.append(text[at : match.start()])
        at = _end(text, match, style)
        if at < 0:
            return "".join(code), match[0].strip()[:20]
    return " ".join([*code, text[at:]]), ""


@lru_cache(64)
def _token(style: _Style) -> re.Pattern[str]:
    """Returns the pattern of the skipped text; each kind is a group of that name."""
    name = next((name for name in _HEREDOCS if style is _BY_ENDING[name]), "")
    openers = sorted((opener for opener, _ in style.pairs), key=lambda opener: -len(opener))
    raw = r'\bR"(?P<delimiter>[^\s()\\"]{0,16})\(|\bb?r(?P<hashes>#*)"'
    kinds = {
        "opener": "|".join(map(re.escape, openers)),
        "raw": raw if style in (_C, _NESTING) else "",
        "heredoc": _HEREDOCS.get(name, ""),
        "rest": _REST if name == "rb" else "",
        "line": f"(?:{'|'.join(style.lines)})[^\\n]*" if style.lines else "",
        "text": "|".join(style.texts),
        "quote": "[\"']" if _LONG_DOUBLE in style.texts else "",
    }
    parts = [f"(?P<{kind}>{pattern})" for kind, pattern in kinds.items() if pattern]
    return re.compile("|".join(parts) or "(?!)", re.MULTILINE | re.DOTALL)


def _end(text: str, match: re.Match[str], style: _Style) -> int:
    """Returns where the text that a token begins has its end; -1 if it does not end."""
    groups, at = match.groupdict(), match.end()
    if opener := groups.get("opener"):
        return _end_of_pair(text, at, opener, dict(style.pairs)[opener], style.nested)
    if groups.get("raw"):
        hashes = groups["hashes"]
        closer = f'){groups["delimiter"]}"' if hashes is None else f'"{hashes}'
        return _end_of_pair(text, at, "", closer, False)
    if groups.get("heredoc"):
        word = groups["word"] or groups.get("word2")
        return _end_of_line(rf"^[ \t]*{word}\b[ \t;,)]*$", text, at)
    if groups.get("rest"):
        if not match[0].startswith("="):
            return -1
        return _end_of_line(r"^=(?:end|cut)\b[^\n]*$", text, at)
    return -1 if groups.get("quote") else at


def _end_of_line(pattern: str, text: str, at: int) -> int:
    """Returns the end of the first line from `at` on that matches; -1 if there is none."""
    match = re.compile(pattern, re.MULTILINE).search(text, at)
    return -1 if match is None else match.end()


def _end_of_pair(text: str, at: int, opener: str, closer: str, nested: bool) -> int:
    """Returns where a pair that is open at `at` is closed; -1 if it is not."""
    depth = 1
    pattern = re.compile("|".join(re.escape(x) for x in (closer, opener) if x))
    for match in pattern.finditer(text, at):
        depth += -1 if match[0] == closer else int(nested)
        if not depth:
            return match.end()
    return -1

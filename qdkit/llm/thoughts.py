"""Removing the thoughts of a model from its answer.

Servers that know their model's format send its thoughts in a separate field. Others leave them in
the text, in a notation that depends on the model: tags (`<think>`, `<thinking>`, `<reasoning>`,
`[THINK]`) or the channels of the harmony format. Prompts of some models end with the opening tag,
so that only the closing one is in the text.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import NamedTuple

_NAMES = r"(?:think|thinking|thoughts?|reasoning|reflection|scratchpad)"
_TAG = re.compile(
    rf"""<(?P<a>/?)\s?(?:[\w-]{{1,20}}:)?{_NAMES}\b[^<>\n]{{0,80}}>
       | \[(?P<b>/?)(?-i:THINK|THINKING)\]
       | ◁(?P<c>/?)think▷
       | <\|(?:begin|start|(?P<d>end))_of_(?:thought|thinking|reasoning)\|>
       | <\|(?:start|begin|(?P<e>end))_(?:thinking|thought|reasoning)\|>""",
    re.VERBOSE | re.IGNORECASE,
)
_FENCE = re.compile(r"^[ \t]{0,12}(?:```|~~~)", re.MULTILINE)
_QUOTES = "\"'`“”‘’«»"

# The marks of the harmony format.
_CHANNEL, _FINAL, _MESSAGE = "<|channel|>", "<|channel|>final", "<|message|>"
_BEGINS = (
    _CHANNEL,
    f"<|start|>assistant{_CHANNEL}",
    f"analysis{_MESSAGE}",
    f"commentary{_MESSAGE}",
    f"final{_MESSAGE}",
)
_ENDS = ("<|end|>", "<|return|>", "<|call|>", "<|start|>")
_BARE = ("analysis", "assistantfinal")  # what remains where a server drops the marks


def without_thoughts(text: str) -> str:
    """Returns `text` without thoughts, and unchanged where there are none.

    A thought without an end goes on to the end of the text. Tags in fenced code and between quotes
    are part of the answer. The time is proportional to the length of the text.
    """
    text = _final_channel(text)
    tags = [
        _Tag(m.start(), m.end(), any(m.group("a", "b", "c", "d", "e")))
        for m in _TAG.finditer(text)
    ]
    return _Reader(text, tags).answer() if tags else text


class _Tag(NamedTuple):
    start: int
    end: int
    closes: bool


class _Reader:
    """Reads one text from tag to tag."""

    def __init__(self, text: str, tags: list[_Tag]):
        self.text, self.tags = text, tags
        self.fences = [match.start() for match in _FENCE.finditer(text)]
        self.begin = 0  # where the answer begins, as far as is known

    def answer(self) -> str:
        """Returns the text without thoughts."""
        parts: list[str] = []
        at, thinking, any_thoughts = 0, False, False
        for tag in self.tags:
            if thinking:
                thinking, at = not tag.closes, tag.end
            elif tag.closes and self._ends_thought(tag):
                parts, at, self.begin, any_thoughts = [], tag.end, tag.end, True
            elif not tag.closes and self._begins_thought(tag, at):
                parts.append(self.text[at : tag.start])
                thinking, any_thoughts = True, True
        if not any_thoughts:
            return self.text
        return "".join([*parts, "" if thinking else self.text[at:]]).strip()

    def _begins_thought(self, tag: _Tag, at: int) -> bool:
        """Whether a tag is at the start of a line or right after a thought, and not in code."""
        line = self.text.rfind("\n", at, tag.start) + 1 or at
        first = not self.text[line : tag.start].strip()
        return first and not self._fences_between(self.begin, tag.start) % 2

    def _ends_thought(self, tag: _Tag) -> bool:
        """Whether a closing tag without an opening tag ends a thought that began with the text."""
        before = self.text[max(0, tag.start - 1) : tag.start]
        after = self.text[tag.end : tag.end + 1]
        if before in _QUOTES and after in _QUOTES and before and after:
            return False
        alone = before in ("", "\n") and after in ("", "\n", "\r")
        # Within a fence the tag is code, unless the thought left its own fence open.
        if self._fences_between(self.begin, tag.start) % 2:
            return alone and not self._fences_between(tag.end, len(self.text)) % 2
        head = self.text[self.begin : self.begin + 200].lstrip()[:1]
        return alone or head not in ("{", "[", '"')

    def _fences_between(self, start: int, end: int) -> int:
        return bisect_left(self.fences, end) - bisect_left(self.fences, start)


def _final_channel(text: str) -> str:
    """Returns the message on the final channel of the harmony format.

    "" if a text in this format has no final message; a text in another format unchanged.
    """
    final = text.rfind(_FINAL)
    if final >= 0 and (start := text.find(_MESSAGE, final)) >= 0:
        return _up_to_end_mark(text, start + len(_MESSAGE))
    head = text[:200].lstrip()
    if head.startswith(f"final{_MESSAGE}"):
        return _up_to_end_mark(text, text.find(_MESSAGE) + len(_MESSAGE))
    if head.startswith(_BEGINS):
        return ""
    if head.startswith(_BARE[0]) and head[len(_BARE[0]) :][:1].isupper() and _BARE[1] in text:
        return text[text.rfind(_BARE[1]) + len(_BARE[1]) :].strip()
    return text


def _up_to_end_mark(text: str, start: int) -> str:
    ends = [at for mark in _ENDS if (at := text.find(mark, start)) >= 0]
    return text[start : min(ends, default=len(text))].strip()

"""How well a text keeps a form of verse: lines, beats and rhymes, counted by spelling (see `sounds`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from qdkit.feedback.sounds import beats, rhyme


@dataclass(frozen=True)
class Form:
    """A stanza and how often it comes. Call it with a text for the degree to which it is of this form, in [0, 1].

    lines: (least, most) syllables of each line of the stanza.
    schemes: which lines of it rhyme, such as "aabba"; of several the one that fits best. A "-" rhymes with nothing.
    stanzas: (least, most) of them.

    The degree is the share of lines that are there and not too many, times the mean of how near each line is
    to its number of syllables and which part of the rhymes is kept (the first alone where there is no scheme).
    """

    lines: Sequence[tuple[int, int]]
    schemes: Sequence[str] = ()
    stanzas: tuple[int, int] = (1, 1)

    def __call__(self, text: str) -> float:
        """The degree, 0 for a text without lines."""
        lines = [line for line in text.splitlines() if line.strip()]
        if not lines:
            return 0.0
        least, most = self.stanzas
        stanzas = min(max(round(len(lines) / len(self.lines)), least), most)
        wanted = stanzas * len(self.lines)
        there = min(len(lines), wanted) / max(len(lines), wanted)
        near = _mean([_near(beats(line), *self.lines[i % len(self.lines)]) for i, line in enumerate(lines[:wanted])])
        kept = max((self._kept(lines, scheme * stanzas) for scheme in self.schemes), default=near)
        return there * (near + kept) / 2

    def _kept(self, lines: Sequence[str], scheme: str) -> float:
        """The part of the rhymes within stanzas that are kept."""
        same = lambda i, j: scheme[i] == scheme[j] != "-" and i // len(self.lines) == j // len(self.lines)
        pairs = [(i, j) for i, j in combinations(range(len(scheme)), 2) if same(i, j)]
        return _mean([float(j < len(lines) and rhyme(lines[i], lines[j])) for i, j in pairs])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _near(found: int, least: int, most: int) -> float:
    """1 within [least, most], and less by the part that is missing or too much."""
    return max(0.0, 1 - max(least - found, found - most, 0) / least)


# A hymn in common metre is a ballad too, so that the stricter one comes first.
FORMS: Mapping[str, Form] = {
    "haiku": Form(((5, 5), (7, 7), (5, 5))),
    "sonnet": Form(((9, 11),) * 14, ("ababcdcdefefgg", "abbaabbacdecde", "abbaabbacdcdcd")),
    "limerick": Form(((7, 10), (7, 10), (4, 7), (4, 7), (7, 10)), ("aabba",)),
    "hymn": Form(((8, 8), (6, 6)) * 2, ("abab",), (2, 6)),
    "ballad": Form(((7, 9), (5, 7)) * 2, ("-a-a",), (2, 6)),
}
FORMLESS = 0.5  # a degree below which a text is of no form


def closest_form(text: str, forms: Mapping[str, Form] = FORMS) -> str | None:
    """The form that a text keeps best, the first where two are equal; None where it keeps none by half."""
    degrees = {name: form(text) for name, form in forms.items()}
    best = max(degrees, key=lambda name: degrees[name])
    return best if degrees[best] >= FORMLESS else None


def form_kept(text: str) -> float:
    """How well a text keeps the form that it keeps best, in [0, 1]."""
    return max(form(text) for form in FORMS.values())

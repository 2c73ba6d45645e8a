"""How well a text keeps a form of verse: lines, syllables and rhymes, guessed from spelling.

See `pronunciation` for the rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from qdkit.feedback.pronunciation import line_syllables, rhymes


@dataclass(frozen=True)
class Form:
    """A stanza and how often it is repeated. A call returns how well a text keeps it, in [0, 1].

    lines: (least, most) syllables of each line of the stanza.
    schemes: which lines of it rhyme, such as "aabba"; of several, the one that fits best. A line
      with "-" has no rhyme.
    stanzas: (least, most) number of stanzas.

    The degree is the share of lines that are there and not too many, times the mean of two parts:
    how near each line is to its number of syllables, and the share of the rhymes that are kept
    (without a scheme, the first part alone).
    """

    lines: Sequence[tuple[int, int]]
    schemes: Sequence[str] = ()
    stanzas: tuple[int, int] = (1, 1)

    def __call__(self, text: str) -> float:
        """Returns the degree, 0 for a text without lines."""
        lines = [line for line in text.splitlines() if line.strip()]
        if not lines:
            return 0.0
        least, most = self.stanzas
        stanzas = min(max(round(len(lines) / len(self.lines)), least), most)
        wanted = stanzas * len(self.lines)
        there = min(len(lines), wanted) / max(len(lines), wanted)
        near = _mean(
            [
                _nearness(line_syllables(line), *self.lines[i % len(self.lines)])
                for i, line in enumerate(lines[:wanted])
            ]
        )
        rhymed = max(
            (self._rhymed(lines, scheme * stanzas) for scheme in self.schemes), default=near
        )
        return there * (near + rhymed) / 2

    def _rhymed(self, lines: Sequence[str], scheme: str) -> float:
        """Returns the share of the rhymes within stanzas that are kept."""
        rhyming = lambda i, j: (
            scheme[i] == scheme[j] != "-" and i // len(self.lines) == j // len(self.lines)
        )
        pairs = [(i, j) for i, j in combinations(range(len(scheme)), 2) if rhyming(i, j)]
        return _mean([float(j < len(lines) and rhymes(lines[i], lines[j])) for i, j in pairs])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _nearness(count: int, least: int, most: int) -> float:
    """Returns 1 within [least, most], and less by the share that is missing or too much."""
    return max(0.0, 1 - max(least - count, count - most, 0) / least)


# A hymn in common metre is a ballad too, so the stricter form comes first.
FORMS: Mapping[str, Form] = {
    "haiku": Form(((5, 5), (7, 7), (5, 5))),
    "sonnet": Form(((9, 11),) * 14, ("ababcdcdefefgg", "abbaabbacdecde", "abbaabbacdcdcd")),
    "limerick": Form(((7, 10), (7, 10), (4, 7), (4, 7), (7, 10)), ("aabba",)),
    "hymn": Form(((8, 8), (6, 6)) * 2, ("abab",), (2, 6)),
    "ballad": Form(((7, 9), (5, 7)) * 2, ("-a-a",), (2, 6)),
}
_FORMLESS = 0.5  # below this degree a text has no form


def closest_form(text: str, forms: Mapping[str, Form] = FORMS) -> str | None:
    """Returns the form that a text keeps best, the first of equals; None if it is below ½."""
    degrees = {name: form(text) for name, form in forms.items()}
    best = max(degrees, key=lambda name: degrees[name])
    return best if degrees[best] >= _FORMLESS else None


def form_kept(text: str) -> float:
    """Returns how well a text keeps the form that it keeps best, in [0, 1]."""
    return max(form(text) for form in FORMS.values())

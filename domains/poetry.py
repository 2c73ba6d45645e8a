"""Poems of every genre and tone: quality and kind by judgement (QDAIF, Bradley et al. 2023).

Without a model poems are cut up from known lines and judged by what can be counted: how well they keep a
form of verse, whether their words go together, and of which tone they are. With one they are written,
translated and judged by it, with the questions that were published: `qdkit run poetry --model MODEL`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from qdkit.feedback import Label, Measured, Panel, Rating, closest_form, form_kept, repetition
from qdkit.feedback.lexicon import lexicon, share
from qdkit.feedback.sounds import words
from qdkit.llm import Ask
from qdkit.operators import CutUp, Guided, Scale
from qdkit.prompts import filled
from qdkit.types import Operator

from .written import Written, lines, paragraphs

HERE = Path(__file__).parent / "poetry"
GENRES = ("haiku", "sonnet", "ballad", "limerick", "hymn")
TONES = ("happy", "dark", "mysterious", "romantic", "reflective")


@dataclass(frozen=True)
class Poetry(Written):
    """Poems by genre and tone, five of each, marked from 1 to 10.

    start: the poems to start from; five by qdkit where left out, one of each genre.

    The search is told who judges: `Search(poetry, grid, operator, judge=poetry.judge())`. Without a model the
    mark is `1 + 9 · form · (1 - repetition) · fluency`, the genre the form that is kept best, the tone the one
    with the most words; with one it answers the questions of QDAIF.
    """

    start: Sequence[str] = ()

    bounds = (GENRES, TONES)
    names = ("genre", "tone")
    shape = (5, 5)
    scales = (Scale("genre", GENRES), Scale("tone", TONES))
    usual: ClassVar = {"numbers": {"batch": 50, "evaluations": 10_000}, "models": {"evaluations": 200}}  # as in QDAIF
    operators: ClassVar = {"cut-up": lambda: CutUp(store())}

    @property
    def openings(self) -> tuple[str, ...]:
        """The poems to start from where none are given."""
        return openings()

    def judge(self, model: Ask | None = None) -> Panel:
        """The judge of quality, genre and tone: a model, with a question for each, or measures where there is none."""
        if model is None:
            axes: tuple[Any, ...] = (Measured(closest_form, "genre", GENRES), Measured(tone_words, "tone", TONES))
            return Panel(Measured(form_and_fluency, bounds=(1.0, 10.0)), axes)
        genre, tone, quality = (filled(HERE / f"{name}.md") for name in ("genre", "tone", "quality"))
        axes = (Label(model, genre, "genre", labels=GENRES), Label(model, tone, "tone", labels=TONES))
        return Panel(Rating(model, quality), axes)

    def asking(self, model: Ask) -> Operator:
        """Guided rewriting: a poem of a genre and a tone, out of the parent, or of nothing where that is a seed."""
        return Guided(model, self.scales, HERE / "translate.md", HERE / "write.md", name="translate")


def form_and_fluency(text: str) -> float:
    """From 1 to 10: how well a poem keeps a form, less what it says again and what nobody says."""
    return 1 + 9 * form_kept(text) * (1 - repetition(text)) * fluency(text)


def fluency(text: str) -> float:
    """The share of neighbouring words in its lines that stand beside each other in known lines too; 0 where none do."""
    pairs = [pair for line in text.splitlines() for pair in pairwise(words(line))]
    return sum(pair in known_pairs() for pair in pairs) / len(pairs) if pairs else 0.0


@cache
def known_pairs() -> frozenset[tuple[str, str]]:
    """All neighbours in the lines that poems are cut from and start from."""
    known = [*store(), *"\n".join(openings()).splitlines()]
    return frozenset(pair for line in known for pair in pairwise(words(line)))


def tone_words(text: str) -> str | None:
    """The tone of which a poem has the most words, the first where two have as many; None where it has none."""
    shares = {name: share(text, listed) for name, listed in lexicon(HERE / "tones.txt").items()}
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] else None


def store() -> tuple[str, ...]:
    """The lines that poems are cut from."""
    return lines(HERE / "lines.txt")


def openings() -> tuple[str, ...]:
    """The poems to start from."""
    return paragraphs(HERE / "seeds.txt")

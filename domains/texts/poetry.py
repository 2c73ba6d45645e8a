"""Poems of every genre and tone, with quality and descriptor by a judge.

The domain is one of QDAIF (Bradley et al. 2023). Without a model, poems are assembled from known
lines and judged by measures: how well they keep a form of verse, whether their words go together,
and of which tone they are. With a model, the model writes, translates and judges them, with the
published questions: `qdkit run poetry --model MODEL`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from qdkit.core.types import Operator
from qdkit.domains.texts.judged_texts import JudgedTexts, lines, paragraphs
from qdkit.feedback import Label, Measured, Panel, Rating, closest_form, form_kept, repetition
from qdkit.feedback.lexicon import listed_share, read_lexicon
from qdkit.feedback.pronunciation import split_words
from qdkit.llm import Ask
from qdkit.llm.templates import fill_template
from qdkit.operators import CutUp, Guided, Scale

POETRY_FOLDER = Path(__file__).parent / "poetry"
GENRES = ("haiku", "sonnet", "ballad", "limerick", "hymn")
TONES = ("happy", "dark", "mysterious", "romantic", "reflective")


@dataclass(frozen=True)
class Poetry(JudgedTexts):
    """Poems by genre and tone, five of each, rated from 1 to 10.

    start: the poems to start from; by default five of qdkit's, one of each genre.

    A search needs the judge: `Search(poetry, grid, operator, judge=poetry.judge())`. Without a
    model, the rating is `1 + 9 · form · (1 - repetition) · fluency`, the genre is the form that
    the poem keeps best, and the tone is the one with the most words. With a model, the model
    answers the questions of QDAIF.
    """

    start: Sequence[str] = ()

    bounds = (GENRES, TONES)
    names = ("genre", "tone")
    shape = (5, 5)
    scales = (Scale("genre", GENRES), Scale("tone", TONES))
    usual: ClassVar = {  # as in QDAIF
        "numbers": {"batch": 50, "evaluations": 10_000},
        "models": {"evaluations": 200},
    }
    operators: ClassVar = {"cut-up": lambda: CutUp(line_store())}

    @property
    def openings(self) -> tuple[str, ...]:
        """The poems to start from if `start` is empty."""
        return seed_poems()

    def judge(self, model: Ask | None = None) -> Panel:
        """Returns the judge of quality, genre and tone.

        It asks the model a question for each; without a model it measures the words.
        """
        if model is None:
            axes: tuple[Any, ...] = (
                Measured(closest_form, "genre", GENRES),
                Measured(tone_words, "tone", TONES),
            )
            return Panel(Measured(form_and_fluency, bounds=(1.0, 10.0)), axes)
        genre, tone, quality = (
            fill_template(POETRY_FOLDER / f"{name}.md") for name in ("genre", "tone", "quality")
        )
        axes = (
            Label(model, genre, "genre", labels=GENRES),
            Label(model, tone, "tone", labels=TONES),
        )
        return Panel(Rating(model, quality), axes)

    def asking(self, model: Ask) -> Operator:
        """Returns guided rewriting, by which a model makes new poems.

        It asks for a poem of a genre and a tone, made from the parent, or from nothing if the
        parent is a seed.
        """
        return Guided(
            model,
            self.scales,
            POETRY_FOLDER / "translate.md",
            POETRY_FOLDER / "write.md",
            name="translate",
        )


def form_and_fluency(text: str) -> float:
    """Returns from 1 to 10 how well a poem keeps a form, without repetition and with fluency."""
    return 1 + 9 * form_kept(text) * (1 - repetition(text)) * line_fluency(text)


def line_fluency(text: str) -> float:
    """Returns the share of the pairs of neighbouring words that known lines have too."""
    pairs = [pair for line in text.splitlines() for pair in pairwise(split_words(line))]
    return sum(pair in known_word_pairs() for pair in pairs) / len(pairs) if pairs else 0.0


@cache
def known_word_pairs() -> frozenset[tuple[str, str]]:
    """Returns the pairs of neighbouring words in the lines of the store and of the seeds."""
    known = [*line_store(), *"\n".join(seed_poems()).splitlines()]
    return frozenset(pair for line in known for pair in pairwise(split_words(line)))


def tone_words(text: str) -> str | None:
    """Returns the tone of which a poem has the most words, None if it has none.

    Of several tones with as many words it is the first.
    """
    shares = {
        name: listed_share(text, listed)
        for name, listed in read_lexicon(POETRY_FOLDER / "tones.txt").items()
    }
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] else None


def line_store() -> tuple[str, ...]:
    """Returns the lines from which poems are assembled."""
    return lines(POETRY_FOLDER / "lines.txt")


def seed_poems() -> tuple[str, ...]:
    """Returns the poems to start from."""
    return paragraphs(POETRY_FOLDER / "seeds.txt")

"""Prompts for image models, of every medium and mood.

No image is made: the search is over the texts. Without a language model, prompts are assembled
from phrases and judged by their form: whether they have a good length, name visible things, and
speak of light, view, colour and handling, without praise and repetition. With a model, the model
writes and judges them: `qdkit run image-prompts --model MODEL`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from textwrap import wrap
from typing import Any, ClassVar

import numpy as np

from qdkit.core.types import Context, Evaluation, Key, Operator, Proposal
from qdkit.feedback import Label, Measured, Panel, Rating, repetition
from qdkit.feedback.lexicon import listed_share, read_lexicon
from qdkit.feedback.pronunciation import split_words
from qdkit.llm import Ask
from qdkit.llm.templates import fence, fill_template
from qdkit.operators import CutUp
from qdkit.operators.writing import Writing

PROMPTS_FOLDER = Path(__file__).parent / "image_prompts"
MEDIA = ("photograph", "oil painting", "watercolour", "ink drawing", "collage")
MOODS = ("calm", "joyful", "eerie", "dramatic", "melancholy")
SIGNS: Mapping[str, frozenset[str]] = {  # the words that name a medium
    "photograph": frozenset(("photograph", "photo", "photography", "camera", "film")),
    "oil painting": frozenset(("oil",)),
    "watercolour": frozenset(("watercolour", "watercolor", "gouache")),
    "ink drawing": frozenset(("ink", "pen", "engraving", "etching", "woodcut")),
    "collage": frozenset(("collage", "papercut", "montage")),
}
_ASPECTS = ("light", "view", "colour", "handling")  # of a picture, apart from the things in it
_LENGTH = (4, 15, 45, 90)  # words: too few, enough, still good, too many
_THINGS = 4  # visible things that a good prompt names
WIDTH, HEIGHT = 40, 10  # characters and lines of a prompt in a picture


@dataclass(frozen=True)
class ImagePrompts:
    """Prompts by medium and mood, five of each, rated from 1 to 10.

    start: the prompts to start from; by default five of qdkit's, one of each medium.

    A search needs the judge: `Search(prompts, grid, operator, judge=prompts.judge())`. Without a
    model, the rating is `wording`, the medium is the first that the prompt names, and the mood is
    the one with the most words.
    """

    start: Sequence[str] = ()

    bounds = (MEDIA, MOODS)
    names = ("medium", "mood")
    shape = (5, 5)
    floor = 0.0
    usual: ClassVar = {
        "numbers": {"batch": 50, "evaluations": 5_000},
        "models": {"evaluations": 200},
    }
    operators: ClassVar = {"phrases": lambda: Phrases(CutUp(phrase_store()))}

    def seeds(self, key: Key, n: int) -> list[str]:
        return list(self.start or seed_prompts())[:n]

    def evaluate(self, genomes: Sequence[str]) -> Evaluation:
        return Evaluation()  # only the judge measures a prompt

    def judge(self, model: Ask | None = None) -> Panel:
        """Returns the judge of quality, medium and mood.

        It asks the model a question for each; without a model it measures the words.
        """
        if model is None:
            axes: tuple[Any, ...] = (
                Measured(named_medium, "medium", MEDIA),
                Measured(mood_words, "mood", MOODS),
            )
            return Panel(Measured(wording, bounds=(1.0, 10.0)), axes)
        medium, mood, quality = (
            fill_template(PROMPTS_FOLDER / f"{name}.md") for name in ("medium", "mood", "quality")
        )
        axes = (
            Label(model, medium, "medium", labels=MEDIA),
            Label(model, mood, "mood", labels=MOODS),
        )
        return Panel(Rating(model, quality), axes)

    def asking(self, model: Ask) -> Operator:
        """Returns the operator by which a model makes new prompts."""
        return Rework(model)

    def draw(self, genome: str, ax: Any) -> Any:
        """Draws the prompt as text."""
        lines = wrap(genome, WIDTH)
        text = "\n".join([*lines[:HEIGHT], *["…"] * (len(lines) > HEIGHT)])
        ax.text(
            0.0,
            1.0,
            text,
            va="top",
            transform=ax.transAxes,
            fontsize=6,
            parse_math=False,
            in_layout=False,
        )
        ax.set_axis_off()
        return ax


@dataclass(frozen=True)
class Phrases(Operator):
    """Cuts up prompts at commas, as `CutUp` cuts texts at lines, and joins phrases by commas."""

    cut: CutUp = field(default_factory=CutUp)

    name = "phrases"
    arity = 2

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        lines = [text.replace(",", "\n") for text in context.parents.genome]
        cut = self.cut.propose(key, Context(context.parents.replace(genome=lines)), n)
        return Proposal.of([joined(text) for text in cut.genome], self.name, context.parents)


@dataclass(frozen=True)
class Rework(Writing):
    """Asks for a prompt made from another, for a medium and a mood drawn uniformly."""

    ask: Ask
    name: str = "rework"

    def question(self, random: np.random.Generator, context: Context) -> str:
        i, j = random.integers((len(MEDIA), len(MOODS))).tolist()
        [genome] = context.parents.genome
        return fill_template(
            PROMPTS_FOLDER / "write.md", genome=fence(genome), medium=MEDIA[i], mood=MOODS[j]
        )


def joined(lines: str) -> str:
    """Joins lines into a prompt: each phrase once, its first letter in lower case."""
    parts = (line.strip() for line in lines.splitlines())
    return ", ".join(dict.fromkeys(part[:1].lower() + part[1:] for part in parts if part))


def wording(text: str) -> float:
    """Returns from 1 to 10 how well a prompt keeps the form of one.

    `1 + 9 · length · things · aspects · medium · fluency · (1 - praise) · (1 - repetition)`.
    length is 1 from 15 to 45 words and falls to 0 at 4 and at 90. things is the number of visible
    things of a list that it names, divided by four, at most 1. aspects is the share of light,
    view, colour and handling that it mentions, where one that three or more phrases mention counts
    half. medium is 1 if it names exactly one medium, in its first phrase, else ½. The measure
    knows neither whether the phrases make sense together, nor what image a model would make of
    them.
    """
    spoken, parts = split_words(text), [*map(split_words, text.split(","))]
    known = read_lexicon(PROMPTS_FOLDER / "parts.txt")
    length = float(np.interp(len(spoken), _LENGTH, (0.0, 1.0, 1.0, 0.0)))
    things = min(1.0, len({word for word in spoken if word in known["thing"]}) / _THINGS)
    mentions = [
        sum(any(word in known[aspect] for word in part) for part in parts) for aspect in _ASPECTS
    ]
    aspects = float(np.mean([0.0 if n == 0 else 1.0 if n < 3 else 0.5 for n in mentions]))
    medium = 1.0 if len(media(text)) == 1 and media(text.partition(",")[0]) else 0.5
    praise = min(1.0, 4 * listed_share(text, known["vague"]))
    form = 9 * length * things * aspects * medium * phrase_fluency(text)
    return 1 + form * (1 - praise) * (1 - repetition(text))


def phrase_fluency(text: str) -> float:
    """Returns the share of the pairs of neighbouring words that known phrases have too.

    The beginning and the end of a phrase count as words.
    """
    pairs = [pair for phrase in text.split(",") for pair in _pairs(phrase)]
    return sum(pair in known_phrase_pairs() for pair in pairs) / len(pairs) if pairs else 0.0


@cache
def known_phrase_pairs() -> frozenset[tuple[str, str]]:
    """Returns the pairs of neighbouring words in the phrases of the store and of the seeds."""
    known = [*phrase_store(), *",".join(seed_prompts()).split(",")]
    return frozenset(pair for phrase in known for pair in _pairs(phrase))


def _pairs(phrase: str) -> list[tuple[str, str]]:
    """Returns the pairs of neighbouring words of a phrase, with "" at its beginning and end."""
    spoken = split_words(phrase)
    return [*pairwise(["", *spoken, ""])] if spoken else []


def media(text: str) -> list[str]:
    """Returns the media that a prompt names."""
    spoken = set(split_words(text))
    return [medium for medium, signs in SIGNS.items() if spoken & signs]


def named_medium(text: str) -> str | None:
    """Returns the medium that a prompt names first, None if it names none."""
    named, spoken = media(text), split_words(text)
    first = {
        medium: min(spoken.index(sign) for sign in SIGNS[medium] if sign in spoken)
        for medium in named
    }
    return min(named, key=lambda medium: first[medium]) if named else None


def mood_words(text: str) -> str | None:
    """Returns the mood of which a prompt has the most words, None if it has none.

    Of several moods with as many words it is the first.
    """
    shares = {
        name: listed_share(text, listed)
        for name, listed in read_lexicon(PROMPTS_FOLDER / "moods.txt").items()
    }
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] else None


def phrase_store() -> list[str]:
    """Returns the phrases from which prompts are assembled."""
    return [line for line in _lines("phrases") if line]


def seed_prompts() -> list[str]:
    """Returns the prompts to start from."""
    return [line for line in _lines("seeds") if line]


def _lines(name: str) -> list[str]:
    """Returns the lines of a file in the folder of the prompts, without comments."""
    lines = (PROMPTS_FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]

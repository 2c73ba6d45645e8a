"""Prompts for models that make images, of every medium and mood. No image is made: the text is what is searched.

Without a model prompts are put together from phrases and judged by their form: whether they are of a good length,
name things one can see and say of light, view, colour and handling, without praise and repetition. With one they
are written and judged by it: `qdkit run image-prompts --model MODEL`.
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

from qdkit.feedback import Label, Measured, Panel, Rating, repetition
from qdkit.feedback.lexicon import lexicon, share
from qdkit.feedback.sounds import words
from qdkit.llm import Ask
from qdkit.operators import CutUp
from qdkit.operators.writing import Writing
from qdkit.prompts import fence, filled
from qdkit.types import Context, Evaluation, Key, Operator, Proposal

HERE = Path(__file__).parent / "image_prompts"
MEDIA = ("photograph", "oil painting", "watercolour", "ink drawing", "collage")
MOODS = ("calm", "joyful", "eerie", "dramatic", "melancholy")
SIGNS: Mapping[str, frozenset[str]] = {  # words that a medium is known by
    "photograph": frozenset(("photograph", "photo", "photography", "camera", "film")),
    "oil painting": frozenset(("oil",)),
    "watercolour": frozenset(("watercolour", "watercolor", "gouache")),
    "ink drawing": frozenset(("ink", "pen", "engraving", "etching", "woodcut")),
    "collage": frozenset(("collage", "papercut", "montage")),
}
SAID = ("light", "view", "colour", "handling")  # what a prompt says of a picture, beside the things in it
LENGTH = (4, 15, 45, 90)  # words: none, enough, still good, too many
THINGS = 4  # that one can see, in a prompt that shows a picture
WIDTH, HEIGHT = 40, 10  # characters and lines of a prompt in a picture


@dataclass(frozen=True)
class ImagePrompts:
    """Prompts by medium and mood, five of each, marked from 1 to 10.

    start: the prompts to start from; five by qdkit where left out, one of each medium.

    The search is told who judges: `Search(prompts, grid, operator, judge=prompts.judge())`. Without a model the mark
    is that of `wording`, the medium the only one that is named, the mood the one with the most words.
    """

    start: Sequence[str] = ()

    bounds = (MEDIA, MOODS)
    names = ("medium", "mood")
    shape = (5, 5)
    floor = 0.0
    usual: ClassVar = {"numbers": {"batch": 50, "evaluations": 5_000}, "models": {"evaluations": 200}}
    operators: ClassVar = {"phrases": lambda: Phrases(CutUp(store()))}

    def seeds(self, key: Key, n: int) -> list[str]:
        return list(self.start or openings())[:n]

    def evaluate(self, genomes: Sequence[str]) -> Evaluation:
        return Evaluation()  # all there is to say of a prompt is a judgement

    def judge(self, model: Ask | None = None) -> Panel:
        """The judge of quality, medium and mood: a model, with a question for each, or measures where there is none."""
        if model is None:
            axes: tuple[Any, ...] = (Measured(named_medium, "medium", MEDIA), Measured(mood_words, "mood", MOODS))
            return Panel(Measured(wording, bounds=(1.0, 10.0)), axes)
        medium, mood, quality = (filled(HERE / f"{name}.md") for name in ("medium", "mood", "quality"))
        axes = (Label(model, medium, "medium", labels=MEDIA), Label(model, mood, "mood", labels=MOODS))
        return Panel(Rating(model, quality), axes)

    def asking(self, model: Ask) -> Operator:
        """The operator by which a model makes new prompts."""
        return Rework(model)

    def draw(self, genome: str, ax: Any) -> Any:
        """The prompt itself."""
        lines = wrap(genome, WIDTH)
        shown = "\n".join([*lines[:HEIGHT], *["…"] * (len(lines) > HEIGHT)])
        ax.text(0.0, 1.0, shown, va="top", transform=ax.transAxes, fontsize=6, parse_math=False, in_layout=False)
        ax.set_axis_off()
        return ax


@dataclass(frozen=True)
class Phrases(Operator):
    """Cuts up prompts at their commas, as `CutUp` does lines, and joins what comes of it by commas."""

    cut: CutUp = field(default_factory=CutUp)

    name = "phrases"
    arity = 2

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        lines = [text.replace(",", "\n") for text in context.parents.genome]
        made = self.cut.propose(key, Context(context.parents.replace(genome=lines)), n)
        return Proposal.of([joined(text) for text in made.genome], self.name, context.parents)


@dataclass(frozen=True)
class Rework(Writing):
    """Asks for a prompt made out of another, for a medium and a mood that are drawn evenly."""

    ask: Ask
    name: str = "rework"

    def question(self, random: np.random.Generator, context: Context) -> str:
        i, j = random.integers((len(MEDIA), len(MOODS))).tolist()
        [genome] = context.parents.genome
        return filled(HERE / "write.md", genome=fence(genome), medium=MEDIA[i], mood=MOODS[j])


def joined(lines: str) -> str:
    """Lines as one prompt, each phrase once, without capitals at their beginnings."""
    parts = (line.strip() for line in lines.splitlines())
    return ", ".join(dict.fromkeys(part[:1].lower() + part[1:] for part in parts if part))


def wording(text: str) -> float:
    """From 1 to 10: how well a prompt keeps the form of one, less what it praises and says again.

    `1 + 9 · length · things · said · medium · fluency · (1 - praise) · (1 - repetition)`: length is 1 from 15 to 45
    words and falls to 0 at 4 and at 90; things the share of four that it names, of a list of what one can see; said
    the share of light, view, colour and handling that it speaks of, half for what three or more phrases speak of;
    medium is 1 where the first phrase alone names one, else half. It does not know whether the parts make sense
    together, nor what image a model would make of them.
    """
    told, known, parts = words(text), lexicon(HERE / "parts.txt"), [*map(words, text.split(","))]
    length = float(np.interp(len(told), LENGTH, (0.0, 1.0, 1.0, 0.0)))
    things = min(1.0, len({word for word in told if word in known["thing"]}) / THINGS)
    speaking = [sum(any(word in known[kind] for word in part) for part in parts) for kind in SAID]
    said = float(np.mean([0.0 if n == 0 else 1.0 if n < 3 else 0.5 for n in speaking]))
    medium = 1.0 if len(media(text)) == 1 and media(text.partition(",")[0]) else 0.5
    praise = min(1.0, 4 * share(text, known["vague"]))
    return 1 + 9 * length * things * said * medium * fluency(text) * (1 - praise) * (1 - repetition(text))


def fluency(text: str) -> float:
    """The share of neighbours in its phrases, their beginnings and ends included, that are neighbours in known ones."""
    pairs = [pair for phrase in text.split(",") for pair in _pairs(phrase)]
    return sum(pair in known_pairs() for pair in pairs) / len(pairs) if pairs else 0.0


@cache
def known_pairs() -> frozenset[tuple[str, str]]:
    """All neighbours in the phrases that prompts are put together from and start from."""
    known = [*store(), *",".join(openings()).split(",")]
    return frozenset(pair for phrase in known for pair in _pairs(phrase))


def _pairs(phrase: str) -> list[tuple[str, str]]:
    told = words(phrase)
    return [*pairwise(["", *told, ""])] if told else []


def media(text: str) -> list[str]:
    """The media that a prompt names."""
    told = set(words(text))
    return [medium for medium, signs in SIGNS.items() if told & signs]


def named_medium(text: str) -> str | None:
    """The medium that a prompt names, the first of several in its own order; None where it names none."""
    found = media(text)
    first = {medium: min(words(text).index(sign) for sign in SIGNS[medium] if sign in words(text)) for medium in found}
    return min(found, key=lambda medium: first[medium]) if found else None


def mood_words(text: str) -> str | None:
    """The mood of which a prompt has the most words, the first where two have as many; None where it has none."""
    shares = {name: share(text, listed) for name, listed in lexicon(HERE / "moods.txt").items()}
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] else None


def store() -> list[str]:
    """The phrases that prompts are put together from."""
    return [line for line in _said("phrases") if line]


def openings() -> list[str]:
    """The prompts to start from."""
    return [line for line in _said("seeds") if line]


def _said(name: str) -> list[str]:
    """The lines of a file beside the prompts, but for remarks."""
    lines = (HERE / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]

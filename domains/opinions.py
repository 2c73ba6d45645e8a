"""Opinions on eating vegetables, from the most negative to the most positive (QDAIF, Bradley et al. 2023).

With a model: `qdkit run opinions --model MODEL` writes by example and asks it how sure it is, as was published.
Without one, sentences are cut up and put together otherwise, and judged by the words that they use.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from qdkit.feedback import Measured, Panel, repetition, sentiment
from qdkit.feedback.sounds import words
from qdkit.llm import Ask
from qdkit.operators import LMX, CutUp, Scale
from qdkit.types import Operator

from .written import TWENTY, Written, counted, lines, lists, paragraphs, sure

HERE = Path(__file__).parent / "opinions"
TASK = "Here is a random opinion piece about eating vegetables and plant-based foods:"
LONG = 50  # tokens of a text, as in QDAIF
SCALE = Scale("sentiment", ("negative", "neutral", "positive"), (0.0, 1.0))


@dataclass(frozen=True)
class Opinions(Written):
    """Opinions by how positive they are, each as good as it keeps to the topic and says why.

    start: the texts to start from; three by qdkit where left out, for, against and neither.

    The search is told who judges: `Search(opinions, archive, operator, judge=opinions.judge())`. With a
    model, quality and sentiment are the probabilities of its answers; without one, measures of words.
    """

    start: Sequence[str] = ()

    bounds = (TWENTY,)
    names = ("sentiment",)
    shape = (20,)
    depth = 100
    task = TASK
    longest = LONG
    scales = (SCALE,)
    usual: ClassVar = {"numbers": {"batch": 50, "evaluations": 10_000}, "models": {"evaluations": 2000}}  # as in QDAIF
    operators: ClassVar = {"cut-up": lambda: CutUp(lines(HERE / "sentences.txt"), sentences=True)}

    @property
    def openings(self) -> tuple[str, ...]:
        """The texts to start from where none are given."""
        return paragraphs(HERE / "seeds.txt")

    def judge(self, model: Ask | None = None) -> Panel:
        """The judge of quality and sentiment: a model, with a question for each, or measures where there is none."""
        if model is None:
            return Panel(Measured(on_topic), (Measured(positive, "sentiment"),))
        axis: Any = sure(model, HERE / "sentiment.md", "sentiment", "positive", "negative")
        return Panel(sure(model, HERE / "quality.md", "quality", "yes", "no"), (axis,))

    def asking(self, model: Ask) -> Operator:
        """The operator by which a model makes new opinions."""
        return LMX(model, TASK, max_tokens=LONG)


def on_topic(text: str) -> float:
    """From 0 to 1: how far it speaks of food, in somebody's name and with a reason, and says nothing twice.

    `(t / (t + 2)) · (1 + mine + reason) / 3 · (1 - repetition)` with t words of the topic; mine and reason are 1 where
    there is a word of theirs.
    """
    about = lists(HERE / "words.txt")
    topic, mine, reason = (counted(text, about, name) for name in ("topic", "mine", "reason"))
    return topic / (topic + 2) * (1 + (mine > 0) + (reason > 0)) / 3 * (1 - repetition(text))


def positive(text: str) -> float | None:
    """`1 / (1 + exp(-7 s))` of the sentiment s of its words, so that a map of probabilities is filled; None without."""
    return 1 / (1 + math.exp(-7 * sentiment(text))) if words(text) else None

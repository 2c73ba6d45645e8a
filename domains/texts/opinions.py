"""Opinions on eating vegetables, from the most negative to the most positive.

The domain is one of QDAIF (Bradley et al. 2023). With a model, `qdkit run opinions --model MODEL`
writes by few-shot examples and takes the probabilities of the model's answers, as published.
Without a model, sentences are cut up and recombined, and judged by their words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from qdkit.core.types import Operator
from qdkit.domains.texts.judged_texts import (
    TWENTY,
    JudgedTexts,
    count_listed,
    lines,
    lists,
    paragraphs,
    probability_of_yes,
)
from qdkit.feedback import Measured, Panel, repetition, sentiment
from qdkit.feedback.pronunciation import split_words
from qdkit.llm import Ask
from qdkit.operators import LMX, CutUp, Scale

_HERE = Path(__file__).parent / "opinions"
OPINION_TASK = "Here is a random opinion piece about eating vegetables and plant-based foods:"
_MAX_TOKENS = 50  # tokens of a text, as in QDAIF
SCALE = Scale("sentiment", ("negative", "neutral", "positive"), (0.0, 1.0))


@dataclass(frozen=True)
class Opinions(JudgedTexts):
    """Opinions by how positive they are; a good one keeps to the topic and gives reasons.

    start: the texts to start from; by default three of qdkit's: for, against and neither.

    A search needs the judge: `Search(opinions, archive, operator, judge=opinions.judge())`. With a
    model, quality and sentiment are the probabilities of its answers; without one, they are
    measures of words.
    """

    start: Sequence[str] = ()

    bounds = (TWENTY,)
    names = ("sentiment",)
    shape = (20,)
    depth = 100
    task = OPINION_TASK
    longest = _MAX_TOKENS
    scales = (SCALE,)
    usual: ClassVar = {  # as in QDAIF
        "numbers": {"batch": 50, "evaluations": 10_000},
        "models": {"evaluations": 2000},
    }
    operators: ClassVar = {"cut-up": lambda: CutUp(lines(_HERE / "sentences.txt"), sentences=True)}

    @property
    def openings(self) -> tuple[str, ...]:
        """The texts to start from if `start` is empty."""
        return paragraphs(_HERE / "seeds.txt")

    def judge(self, model: Ask | None = None) -> Panel:
        """Returns the judge of quality and sentiment.

        It asks the model a question for each; without a model it measures the words.
        """
        if model is None:
            return Panel(Measured(on_topic), (Measured(positive, "sentiment"),))
        axis: Any = probability_of_yes(
            model, _HERE / "sentiment.md", "sentiment", "positive", "negative"
        )
        quality = probability_of_yes(model, _HERE / "quality.md", "quality", "yes", "no")
        return Panel(quality, (axis,))

    def asking(self, model: Ask) -> Operator:
        """Returns the operator by which a model makes new opinions."""
        return LMX(model, OPINION_TASK, max_tokens=_MAX_TOKENS)


def on_topic(text: str) -> float:
    """Returns from 0 to 1 how far a text is an opinion on food, reasoned and not repetitive.

    `(t / (t + 2)) · (1 + mine + reason) / 3 · (1 - repetition)` with t words of the topic; mine
    and reason are 1 if the text has a word of that list, else 0.
    """
    about = lists(_HERE / "words.txt")
    topic, mine, reason = (count_listed(text, about, name) for name in ("topic", "mine", "reason"))
    return topic / (topic + 2) * (1 + (mine > 0) + (reason > 0)) / 3 * (1 - repetition(text))


def positive(text: str) -> float | None:
    """Returns `1 / (1 + exp(-7 s))` for the sentiment s of the words.

    The values cover the cells of a probability. It is None for a text without words.
    """
    return 1 / (1 + math.exp(-7 * sentiment(text))) if split_words(text) else None

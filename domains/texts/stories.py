"""Short stories about a spy and a politician, by genre, by ending or by both.

The domain is one of QDAIF (Bradley et al. 2023). With a model, `qdkit run stories --model MODEL`
writes by few-shot examples and takes the probabilities of the model's answers, as published.
Without a model, sentences are cut up and recombined, and judged by their words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from qdkit.core.types import Operator
from qdkit.domains.texts.judged_texts import (
    TEN,
    TWENTY,
    JudgedTexts,
    count_listed,
    lines,
    lists,
    paragraphs,
    probability_of_yes,
)
from qdkit.feedback import Measured, Panel, repetition
from qdkit.feedback.pronunciation import split_words
from qdkit.llm import Ask
from qdkit.operators import LMX, CutUp, Scale

_HERE = Path(__file__).parent / "stories"
_TASK = "Here is a random example of a fantasy story about a suspicious spy and a rich politician:"
_MAX_TOKENS = 100  # tokens of a text, as in QDAIF
_ENOUGH = 40  # words of a story that is long enough

# For each axis: the answer whose probability is the descriptor, the other answer, and the name of
# the middle.
_AXES = {
    "genre": ("horror", "romance", "in between"),
    "ending": ("happy ending", "tragedy", "open ending"),
}


@dataclass(frozen=True)
class Stories(JudgedTexts):
    """Stories by genre, from romance to horror, by ending, from tragic to happy, or by both.

    by: the axes: "genre" or "ending" with 20 cells, or "both" with 10 × 10 cells.
    start: the texts to start from; by default three of qdkit's.

    A search needs the judge: `Search(stories, archive, operator, judge=stories.judge())`. With a
    model, quality, genre and ending are the probabilities of its answers; without one, they are
    measures of words.
    """

    by: Literal["genre", "ending", "both"] = "both"
    start: Sequence[str] = ()

    depth = 100
    task = _TASK
    longest = _MAX_TOKENS
    usual: ClassVar = {  # as in QDAIF
        "numbers": {"batch": 50, "evaluations": 10_000},
        "models": {"evaluations": 2000},
    }
    operators: ClassVar = {"cut-up": lambda: CutUp(lines(_HERE / "sentences.txt"), sentences=True)}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the axes."""
        return ("genre", "ending") if self.by == "both" else (self.by,)

    @property
    def bounds(self) -> tuple[tuple[float, ...], ...]:
        """The edges of the cells along each axis."""
        return (TEN, TEN) if self.by == "both" else (TWENTY,)

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of cells along each axis."""
        return tuple(len(edges) - 1 for edges in self.bounds)

    @property
    def scales(self) -> tuple[Scale, ...]:
        """The axes as scales of words, for prompts."""
        steps = {name: (low, middle, high) for name, (high, low, middle) in _AXES.items()}
        return tuple(Scale(name, steps[name], (0.0, 1.0)) for name in self.names)

    @property
    def openings(self) -> tuple[str, ...]:
        """The texts to start from if `start` is empty."""
        return paragraphs(_HERE / "seeds.txt")

    def judge(self, model: Ask | None = None) -> Panel:
        """Returns the judge of quality and of each axis.

        It asks the model a question for each; without a model it measures the words.
        """
        if model is None:
            measures = tuple(Measured(_MEASURES[name], name) for name in self.names)
            return Panel(Measured(story), measures)
        axes: list[Any] = [
            probability_of_yes(model, _HERE / f"{name}.md", name, *_AXES[name][:2])
            for name in self.names
        ]
        return Panel(probability_of_yes(model, _HERE / "quality.md", "quality", "yes", "no"), axes)

    def asking(self, model: Ask) -> Operator:
        """Returns the operator by which a model makes new stories."""
        return LMX(model, _TASK, max_tokens=_MAX_TOKENS)


def story(text: str) -> float:
    """Returns from 0 to 1 how far a text is a story, with both characters and no repetition.

    `min(1, n / 40) · (1 + spy + politician) / 3 · (1 - repetition)` for n words; spy and
    politician are 1 if the text has a word of that list, else 0.
    """
    about = lists(_HERE / "words.txt")
    both = (count_listed(text, about, "spy") > 0) + (count_listed(text, about, "politician") > 0)
    return min(1.0, len(split_words(text)) / _ENOUGH) * (1 + both) / 3 * (1 - repetition(text))


def horror(text: str) -> float | None:
    """Returns a value from 0, a romance, to 1, horror; see `between`."""
    return between(text, "horror", "romance")


def happy(text: str) -> float | None:
    """Returns a value from 0, a tragedy, to 1, a happy ending, by the second half of the text.

    See `between`.
    """
    spoken = split_words(text)
    return between(" ".join(spoken[len(spoken) // 2 :]), "happy", "tragedy")


def between(text: str, first: str, second: str) -> float | None:
    """Returns `1 / (1 + exp(-1.5 (a - b)))` for a and b words on two lists.

    The values cover the cells of a probability. It is None for a text without words.
    """
    about = lists(_HERE / "words.txt")
    ahead = count_listed(text, about, first) - count_listed(text, about, second)
    return 1 / (1 + math.exp(-1.5 * ahead)) if split_words(text) else None


_MEASURES: dict[str, Callable[[str], float | None]] = {"genre": horror, "ending": happy}

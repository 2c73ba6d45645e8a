"""Short stories about a spy and a politician, by genre, by ending or by both (QDAIF, Bradley et al. 2023).

With a model: `qdkit run stories --model MODEL` writes by example and asks it how sure it is, as was published.
Without one, sentences are cut up and put together otherwise, and judged by the words that they use.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from qdkit.feedback import Measured, Panel, repetition
from qdkit.feedback.sounds import words
from qdkit.llm import Ask
from qdkit.operators import LMX, CutUp, Scale
from qdkit.types import Operator

from .written import TEN, TWENTY, Written, counted, lines, lists, paragraphs, sure

HERE = Path(__file__).parent / "stories"
TASK = "Here is a random example of a fantasy story about a suspicious spy and a rich politician:"
LONG = 100  # tokens of a text, as in QDAIF
ENOUGH = 40  # words that a story needs to be one

# Of each axis: the answer whose probability is the descriptor, the other one, and what it is called between.
AXES = {"genre": ("horror", "romance", "in between"), "ending": ("happy ending", "tragedy", "open ending")}


@dataclass(frozen=True)
class Stories(Written):
    """Stories by how much of a horror story they are, how happily they end, or both, each as good as it is a story.

    by: the axes of the map: "genre" or "ending" with 20 cells, or "both" with 10 times 10.
    start: the texts to start from; three by qdkit where left out.

    The search is told who judges: `Search(stories, archive, operator, judge=stories.judge())`. With a
    model, quality, genre and ending are the probabilities of its answers; without one, measures of words.
    """

    by: Literal["genre", "ending", "both"] = "both"
    start: Sequence[str] = ()

    depth = 100
    task = TASK
    longest = LONG
    usual: ClassVar = {"numbers": {"batch": 50, "evaluations": 10_000}, "models": {"evaluations": 2000}}  # as in QDAIF
    operators: ClassVar = {"cut-up": lambda: CutUp(lines(HERE / "sentences.txt"), sentences=True)}

    @property
    def names(self) -> tuple[str, ...]:
        """The axes."""
        return ("genre", "ending") if self.by == "both" else (self.by,)

    @property
    def bounds(self) -> tuple[tuple[float, ...], ...]:
        """The edges of the cells along each axis."""
        return (TEN, TEN) if self.by == "both" else (TWENTY,)

    @property
    def shape(self) -> tuple[int, ...]:
        """How many cells along each axis."""
        return tuple(len(edges) - 1 for edges in self.bounds)

    @property
    def scales(self) -> tuple[Scale, ...]:
        """The axes in words."""
        middle = {name: (other, between, first) for name, (first, other, between) in AXES.items()}
        return tuple(Scale(name, middle[name], (0.0, 1.0)) for name in self.names)

    @property
    def openings(self) -> tuple[str, ...]:
        """The texts to start from where none are given."""
        return paragraphs(HERE / "seeds.txt")

    def judge(self, model: Ask | None = None) -> Panel:
        """The judge of quality and of each axis: a model, with a question for each, or measures where there is none."""
        if model is None:
            return Panel(Measured(story), tuple(Measured(MEASURES[name], name) for name in self.names))
        axes: list[Any] = [sure(model, HERE / f"{name}.md", name, *AXES[name][:2]) for name in self.names]
        return Panel(sure(model, HERE / "quality.md", "quality", "yes", "no"), axes)

    def asking(self, model: Ask) -> Operator:
        """The operator by which a model makes new stories."""
        return LMX(model, TASK, max_tokens=LONG)


def story(text: str) -> float:
    """From 0 to 1: how far it is long enough, has both of its characters, and says nothing twice.

    `min(1, n / 40) · (1 + spy + politician) / 3 · (1 - repetition)` of n words; spy and politician are 1 where there is
    a word for one.
    """
    about = lists(HERE / "words.txt")
    both = (counted(text, about, "spy") > 0) + (counted(text, about, "politician") > 0)
    return min(1.0, len(words(text)) / ENOUGH) * (1 + both) / 3 * (1 - repetition(text))


def horror(text: str) -> float | None:
    """From 0, a romance, to 1, horror; see `between`."""
    return between(text, "horror", "romance")


def happy(text: str) -> float | None:
    """From 0, a tragedy, to 1, a happy ending, by the second half of the text; see `between`."""
    said = words(text)
    return between(" ".join(said[len(said) // 2 :]), "happy", "tragedy")


def between(text: str, first: str, second: str) -> float | None:
    """`1 / (1 + exp(-1.5 (a - b)))` of a and b words on two lists, so that a map of probabilities is filled."""
    about = lists(HERE / "words.txt")
    ahead = counted(text, about, first) - counted(text, about, second)
    return 1 / (1 + math.exp(-1.5 * ahead)) if words(text) else None


MEASURES: dict[str, Callable[[str], float | None]] = {"genre": horror, "ending": happy}

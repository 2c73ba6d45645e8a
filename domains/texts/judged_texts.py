"""The common parts of the domains of judged texts: opinions, stories and poems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from textwrap import wrap
from typing import Any

from qdkit.core.types import Evaluation, Key
from qdkit.feedback import Fallback, Probability, Rating
from qdkit.feedback.lexicon import read_lexicon
from qdkit.feedback.pronunciation import split_words
from qdkit.llm import Ask
from qdkit.llm.templates import fill_template

WIDTH, HEIGHT = 44, 14  # characters and lines of a text in a picture

# The edges of the cells of QDAIF along a probability. Cells are narrower near 0 and 1, as judges
# often give probabilities near the ends, and equal steps of probability are not equal differences
# between texts.
_EDGES = (
    "0 0.005 0.01 0.015 0.02 0.03 0.04 0.05 0.1 0.2 "
    "0.5 0.8 0.9 0.95 0.96 0.97 0.98 0.985 0.99 0.995 1"
)
TWENTY = tuple(map(float, _EDGES.split()))
TEN = (0.0, 0.005, 0.02, 0.05, 0.2, 0.5, 0.8, 0.95, 0.98, 0.995, 1.0)


class JudgedTexts:
    """Texts whose objective and descriptor come from a judge."""

    start: Sequence[str]
    floor = 0.0

    @property
    def openings(self) -> Sequence[str]:
        """The texts to start from if `start` is empty."""
        raise NotImplementedError

    def seeds(self, key: Key, n: int) -> list[str]:
        return list(self.start or self.openings)[:n]

    def evaluate(self, genomes: Sequence[str]) -> Evaluation:
        return Evaluation()  # only the judge measures a text

    def draw(self, genome: str, ax: Any) -> Any:
        """Draws the text."""
        lines = [part for line in genome.splitlines() for part in wrap(line, WIDTH)]
        text = "\n".join([*lines[:HEIGHT], *["…"] * (len(lines) > HEIGHT)])
        ax.text(
            0.0,
            1.0,
            text,
            va="top",
            transform=ax.transAxes,
            fontsize=5,
            parse_math=False,
            in_layout=False,
        )
        ax.set_axis_off()
        return ax


@cache
def paragraphs(path: Path) -> tuple[str, ...]:
    """Returns the texts of a file, which blank lines separate.

    Lines that begin with "#" are comments on the source of the texts.
    """
    lines = [
        line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    ]
    return tuple("\n".join(lines).strip().split("\n\n"))


@cache
def lines(path: Path) -> tuple[str, ...]:
    """Returns the lines of a file without blank lines and comments."""
    return tuple(
        line for line in path.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"
    )


def probability_of_yes(model: Ask, prompt: Path, name: str, yes: str, no: str) -> Fallback:
    """Returns a judge of the probability of `yes`, of two answers to a question.

    It is a rating if the server returns no probabilities.
    """
    question = fill_template(prompt)
    anchors = {1: f"the answer is certainly {no}", 10: f"the answer is certainly {yes}"}
    return Fallback(
        (
            Probability(model, question, name, yes=yes, no=no),
            Rating(model, question, name, anchors=anchors),
        )
    )


def count_listed(text: str, listed: Mapping[str, frozenset[str]], name: str) -> int:
    """Returns how many words of a text are on the list of this name."""
    return sum(word in listed[name] for word in split_words(text))


def lists(path: Path) -> Mapping[str, frozenset[str]]:
    """Returns the lists of words in a file by name; see `qdkit.feedback.lexicon`."""
    return read_lexicon(path)

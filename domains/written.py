"""What domains of texts have in common that are judged and not measured: opinions, stories and poems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from textwrap import wrap
from typing import Any

from qdkit.feedback import Fallback, Probability, Rating
from qdkit.feedback.lexicon import lexicon
from qdkit.feedback.sounds import words
from qdkit.llm import Ask
from qdkit.prompts import filled
from qdkit.types import Evaluation, Key

WIDTH, HEIGHT = 44, 14  # characters and lines of a text in a picture

# The edges of cells of QDAIF along a probability, finer towards sure and sure not: a judge that is sure is seldom
# quite sure, and how sure it is does not say evenly how different texts are.
_EDGES = "0 0.005 0.01 0.015 0.02 0.03 0.04 0.05 0.1 0.2 0.5 0.8 0.9 0.95 0.96 0.97 0.98 0.985 0.99 0.995 1"
TWENTY = tuple(map(float, _EDGES.split()))
TEN = (0.0, 0.005, 0.02, 0.05, 0.2, 0.5, 0.8, 0.95, 0.98, 0.995, 1.0)


class Written:
    """Texts that a judge gives both their objective and their kind."""

    start: Sequence[str]
    floor = 0.0

    @property
    def openings(self) -> Sequence[str]:
        """The texts to start from where none are given."""
        raise NotImplementedError

    def seeds(self, key: Key, n: int) -> list[str]:
        return list(self.start or self.openings)[:n]

    def evaluate(self, genomes: Sequence[str]) -> Evaluation:
        return Evaluation()  # all there is to say of a text is a judgement

    def draw(self, genome: str, ax: Any) -> Any:
        """The text itself."""
        lines = [part for line in genome.splitlines() for part in wrap(line, WIDTH)]
        shown = "\n".join([*lines[:HEIGHT], *["…"] * (len(lines) > HEIGHT)])
        ax.text(0.0, 1.0, shown, va="top", transform=ax.transAxes, fontsize=5, parse_math=False, in_layout=False)
        ax.set_axis_off()
        return ax


@cache
def paragraphs(path: Path) -> tuple[str, ...]:
    """The texts of a file, with blank lines between them; lines that begin with "#" tell where they are from."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return tuple("\n".join(lines).strip().split("\n\n"))


@cache
def lines(path: Path) -> tuple[str, ...]:
    """The lines of a file, but for blank ones and those that tell where they are from."""
    return tuple(line for line in path.read_text(encoding="utf-8").splitlines() if line and line[0] != "#")


def sure(model: Ask, prompt: Path, name: str, yes: str, no: str) -> Fallback:
    """The probability of `yes`, of two answers to a question; a mark where the server tells no probabilities."""
    question = filled(prompt)
    anchors = {1: f"the answer is certainly {no}", 10: f"the answer is certainly {yes}"}
    return Fallback(
        (Probability(model, question, name, yes=yes, no=no), Rating(model, question, name, anchors=anchors))
    )


def counted(text: str, listed: Mapping[str, frozenset[str]], name: str) -> int:
    """How many words of a text are on the list of this name."""
    return sum(word in listed[name] for word in words(text))


def lists(path: Path) -> Mapping[str, frozenset[str]]:
    """Lists of words by name; see `qdkit.feedback.lexicon`."""
    return lexicon(path)

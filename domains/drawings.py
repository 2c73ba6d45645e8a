"""Vector drawings of every hue, from plain to intricate, judged by their pictures.

A genome is SVG text. Whatever it holds, nothing but plain shapes come through the door (`qdkit.domains.svg`), and
what is rendered is the drawing as it was written there anew. Without a model shapes are moved, mirrored and
exchanged, and the mark is how closely a picture keeps rules of composition; with one the model draws, and gives
the mark by what it sees: `qdkit run drawings --model MODEL`. Rendering needs `pip install 'qdkit[draw]'`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from qdkit.domains.looks import GREY, HUES, composition, looked, pixels, png, renderer
from qdkit.domains.sketching import Sketch
from qdkit.domains.svg import clean
from qdkit.feedback import Fallback, Measured, Panel, Pictured, Rating
from qdkit.llm import Ask
from qdkit.operators.rewrite import filled
from qdkit.operators.writing import Writing
from qdkit.prompts import fence
from qdkit.types import Context, Evaluation, Key, Operator, Outcome, Proposal

HERE = Path(__file__).parent / "drawings"
COLOURS = (GREY, *HUES)
DETAIL = (0.4, 2.5)  # bits a pixel: 5 % of unselected drawings have less and 1 % have more, see results/drawings


@dataclass(frozen=True)
class Drawings:
    """Drawings by their commonest hue and by detail, marked from 1 to 10.

    start: the drawings to start from; ten by qdkit where left out.

    The search is told who judges: `Search(drawings, grid, operator, judge=drawings.judge())`. The axes are measured in
    the picture whoever judges, so that runs with and without a model fill the same map.
    """

    start: Sequence[str] = ()

    bounds = (COLOURS, DETAIL)
    names = ("hue", "detail")
    shape = (len(COLOURS), 6)
    floor = 0.0
    usual: ClassVar = {"numbers": {"batch": 50, "evaluations": 2_000}, "models": {"evaluations": 200}}
    operators: ClassVar = {"sketch": Sketch}

    def seeds(self, key: Key, n: int) -> list[str]:
        return [clean(text) for text in self.start or openings()][:n]

    def evaluate(self, genomes: Sequence[str]) -> Evaluation:
        """Whether they are drawings that can be rendered; all else is for the judges to see."""
        errors = [_error(genome, png) for genome in genomes]
        outcome = [Outcome.INVALID if error else Outcome.OK for error in errors]
        return Evaluation(notes=[{"error": error} if error else {} for error in errors], outcome=outcome)

    def judge(self, model: Ask | None = None) -> Panel:
        """Who judges: a model that is shown the picture, and measures of it where there is none or it sees none."""
        renderer()  # before a run begins: without one there is nothing to judge
        quality: Any = Measured(composition, bounds=(1.0, 10.0))
        if model is not None:
            asked = Rating(model, (HERE / "quality.md").read_text(encoding="utf-8"))
            quality = Fallback((Pictured(asked, png), quality))
        return Panel(quality, (Measured(hue, "hue", COLOURS), Measured(detail, "detail", DETAIL)))

    def asking(self, model: Ask) -> Operator:
        """The operator by which a model makes new drawings."""
        return Redraw(model)

    def form(self, genome: str) -> str:
        """The drawing as it is written here; of what is none, the text."""
        return genome if _error(genome) else clean(genome)

    def png(self, genome: str) -> bytes:
        """The picture of a drawing, safe to show. Raises ValueError, with the reason, for a text that is none."""
        return png(genome)

    def draw(self, genome: str, ax: Any) -> Any:
        """The picture."""
        ax.imshow(pixels(genome), interpolation="antialiased")
        ax.set_axis_off()
        return ax


@dataclass(frozen=True)
class Redraw(Writing):
    """Asks for a drawing made out of another; what is answered is kept as it is cleaned, or refused with the reason."""

    ask: Ask
    name: str = "redraw"

    def question(self, random: np.random.Generator, context: Context) -> str:
        shown = context.parents.replace(genome=[fence(genome, "svg") for genome in context.parents.genome])
        prompt = (HERE / "redraw.md").read_text(encoding="utf-8").strip()
        return filled(prompt, Context(shown, lessons=context.lessons))

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        proposal = super().propose(key, context, n)
        rows = [_cleaned(*row) for row in zip(*_columns(proposal), strict=True)]
        genome, outcome, notes = map(list, zip(*rows, strict=True))
        return proposal._replace(genome=genome, outcome=outcome, notes=notes)


def hue(genome: str) -> str:
    """The commonest hue of a drawing, by name."""
    return looked(genome).hue


def detail(genome: str) -> float:
    """The bits a pixel that its picture takes compressed."""
    return looked(genome).detail


def openings() -> list[str]:
    """The drawings to start from."""
    text = (HERE / "seeds.txt").read_text(encoding="utf-8")
    return [part for part in text.strip().split("\n\n") if not part.startswith("#")]


def svg_in(text: str) -> str:
    """The SVG in an answer, which may stand in a fence or among words; the answer where there is none."""
    start, end = text.find("<svg"), text.rfind("</svg>")
    return text[start : end + len("</svg>")] if 0 <= start < end else text


def _columns(proposal: Proposal) -> tuple[Any, Any, Any]:
    return proposal.genome, proposal.outcome, proposal.notes


def _cleaned(text: str, outcome: Outcome, notes: Mapping[str, Any]) -> tuple[str, Outcome, Mapping[str, Any]]:
    if outcome != Outcome.OK:
        return text, outcome, notes
    try:
        return clean(svg_in(text)), outcome, notes
    except ValueError as error:
        return text, Outcome.INVALID, {**notes, "error": f"no drawing: {error}"}


def _error(genome: str, made: Callable[[str], Any] = clean) -> str:
    """Why a text is no drawing, of which something can be made; nothing for one that is."""
    try:
        made(genome)
    except ValueError as error:
        return f"no drawing: {error}"
    return ""

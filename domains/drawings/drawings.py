"""Vector drawings of every hue, from plain to intricate, judged by their pictures.

A genome is SVG text. Whatever it holds, `qdkit.domains.drawings.svg` reads only plain shapes from
it, and the drawing is rendered from a new text of these shapes. Without a model, shapes are moved,
mirrored and exchanged, and the rating is how closely a picture follows rules of composition. With
a model, the model draws, and rates the pictures: `qdkit run drawings --model MODEL`. Rendering
needs the extra `draw`: `pip install -e '.[draw]'` in the clone of qdkit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from qdkit.core.types import Context, Evaluation, Key, Operator, Outcome, Proposal
from qdkit.domains.drawings.picture_measures import (
    GREY,
    HUES,
    composition,
    drawing_png,
    measure_drawing,
    pixels,
    renderer,
)
from qdkit.domains.drawings.sketching import Sketch
from qdkit.domains.drawings.svg import normalise_svg
from qdkit.feedback import Fallback, Measured, Panel, Pictured, Rating
from qdkit.llm import Ask
from qdkit.llm.templates import fence
from qdkit.operators.rewrite import fill_prompt
from qdkit.operators.writing import Writing

_HERE = Path(__file__).parent
HUE_NAMES = (GREY, *HUES)
# Bits a pixel: 5 % of unselected drawings have less and 1 % have more, see results/drawings.
_DETAIL = (0.4, 2.5)


@dataclass(frozen=True)
class Drawings:
    """Drawings by their commonest hue and by detail, rated from 1 to 10.

    start: the drawings to start from; by default ten of qdkit's.

    A search needs the judge: `Search(drawings, grid, operator, judge=drawings.judge())`. The axes
    are measured in the picture with and without a model, so that both fill the same cells.
    """

    start: Sequence[str] = ()

    bounds = (HUE_NAMES, _DETAIL)
    names = ("hue", "detail")
    shape = (len(HUE_NAMES), 6)
    floor = 0.0
    usual: ClassVar = {
        "numbers": {"batch": 50, "evaluations": 2_000},
        "models": {"evaluations": 200},
    }
    operators: ClassVar = {"sketch": Sketch}

    def seeds(self, key: Key, n: int) -> list[str]:
        return [normalise_svg(text) for text in self.start or seed_drawings()][:n]

    def evaluate(self, genomes: Sequence[str]) -> Evaluation:
        """Checks that genomes are drawings that can be rendered; only the judge measures them."""
        errors = [_error(genome, drawing_png) for genome in genomes]
        outcome = [Outcome.INVALID if error else Outcome.OK for error in errors]
        return Evaluation(
            notes=[{"error": error} if error else {} for error in errors], outcome=outcome
        )

    def judge(self, model: Ask | None = None) -> Panel:
        """Returns the judge of quality, hue and detail.

        A model rates the picture. Without a model, or if it cannot see pictures, the quality is a
        measure of the picture. Raises RuntimeError if no renderer is installed.
        """
        renderer()  # raises before a run begins: without a renderer there is nothing to judge
        quality: Any = Measured(composition, bounds=(1.0, 10.0))
        if model is not None:
            rating = Rating(model, (_HERE / "quality.md").read_text(encoding="utf-8"))
            quality = Fallback((Pictured(rating, drawing_png), quality))
        axes = (Measured(hue, "hue", HUE_NAMES), Measured(detail, "detail", _DETAIL))
        return Panel(quality, axes)

    def asking(self, model: Ask) -> Operator:
        """Returns the operator by which a model makes new drawings."""
        return Redraw(model)

    def form(self, genome: str) -> str:
        """Returns the normalised text of a drawing; a text that is no drawing stays as it is."""
        return genome if _error(genome) else normalise_svg(genome)

    def png(self, genome: str) -> bytes:
        """Returns the picture of a drawing, safe to show.

        Raises ValueError, with the reason, if the text is no drawing.
        """
        return drawing_png(genome)

    def draw(self, genome: str, ax: Any) -> Any:
        """Draws the picture."""
        ax.imshow(pixels(genome), interpolation="antialiased")
        ax.set_axis_off()
        return ax


@dataclass(frozen=True)
class Redraw(Writing):
    """Asks for a drawing made from another.

    The drawing of the response is normalised, or refused with the reason.
    """

    ask: Ask
    name: str = "redraw"

    def question(self, random: np.random.Generator, context: Context) -> str:
        genomes = [fence(genome, "svg") for genome in context.parents.genome]
        parents = context.parents.replace(genome=genomes)
        prompt = (_HERE / "redraw.md").read_text(encoding="utf-8").strip()
        return fill_prompt(prompt, Context(parents, lessons=context.lessons))

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        proposal = super().propose(key, context, n)
        rows = [_normalised(*row) for row in zip(*_columns(proposal), strict=True)]
        genome, outcome, notes = map(list, zip(*rows, strict=True))
        return proposal._replace(genome=genome, outcome=outcome, notes=notes)


def hue(genome: str) -> str:
    """Returns the name of the commonest hue of a drawing."""
    return measure_drawing(genome).hue


def detail(genome: str) -> float:
    """Returns the size of the compressed picture of a drawing, in bits a pixel."""
    return measure_drawing(genome).detail


def seed_drawings() -> list[str]:
    """Returns the drawings to start from."""
    text = (_HERE / "seeds.txt").read_text(encoding="utf-8")
    return [part for part in text.strip().split("\n\n") if not part.startswith("#")]


def svg_in(text: str) -> str:
    """Returns the SVG in a response, which may be in a fence or among words.

    Returns the whole response if it has no SVG.
    """
    start, end = text.find("<svg"), text.rfind("</svg>")
    return text[start : end + len("</svg>")] if 0 <= start < end else text


def _columns(proposal: Proposal) -> tuple[Any, Any, Any]:
    return proposal.genome, proposal.outcome, proposal.notes


def _normalised(
    text: str, outcome: Outcome, notes: Mapping[str, Any]
) -> tuple[str, Outcome, Mapping[str, Any]]:
    """Returns a response with its drawing normalised, invalid if it has none."""
    if outcome != Outcome.OK:
        return text, outcome, notes
    try:
        return normalise_svg(svg_in(text)), outcome, notes
    except ValueError as error:
        return text, Outcome.INVALID, {**notes, "error": f"no drawing: {error}"}


def _error(genome: str, function: Callable[[str], Any] = normalise_svg) -> str:
    """Returns why `function` refuses a text as a drawing, "" if it does not."""
    try:
        function(genome)
    except ValueError as error:
        return f"no drawing: {error}"
    return ""

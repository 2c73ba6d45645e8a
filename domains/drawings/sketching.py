"""Varies drawings without a model: moves, repaints, mirrors, repeats and exchanges shapes."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np

from qdkit.core.types import Context, Key, Operator, Outcome, Proposal
from qdkit.domains.drawings.path_data import (
    Matrix,
    compose,
    rotation,
    transform_about,
    transform_points,
)
from qdkit.domains.drawings.shapes import SIDE, Drawing, Shape, hex_colour, shape_points, svg_text
from qdkit.domains.drawings.svg import read_svg

MOST_SHAPES = 60  # a drawing does not grow beyond as many shapes
_TRIES = 8  # how often changes that lead beyond the bounds are drawn again
_MIDDLE = SIDE / 2
_RINGS = (2, 3, 4, 5, 6, 8, 12)  # how often a shape may be repeated around the middle


@dataclass(frozen=True)
class Sketch(Operator):
    """Changes the shapes of a drawing, and takes some from another.

    changes: the greatest number of changes of a child.

    A child is always a normalised drawing within the bounds of `qdkit.domains.drawings.svg`. The
    child of a parent that is no drawing is `INVALID`, with the reason.
    """

    changes: int = 3

    name = "sketch"
    arity = 2

    def __post_init__(self) -> None:
        if self.changes < 1:
            raise ValueError(
                f"changes is the most that are made to a child, 1 or more, not {self.changes}"
            )

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        texts = context.parents.genome
        children = [self._child(texts[2 * i], texts[2 * i + 1], random) for i in range(n)]
        proposal = Proposal.of([text for text, _ in children], self.name, context.parents)
        outcome = [Outcome.INVALID if error else Outcome.OK for _, error in children]
        notes = [{"error": error} if error else {} for _, error in children]
        return proposal._replace(outcome=outcome, notes=notes)

    def _child(self, text: str, other: str, random: np.random.Generator) -> tuple[str, str]:
        """Returns a child and the error of its parent; the error is "" if there is none."""
        try:
            drawing = read_svg(text)
        except ValueError as error:
            return text, f"the parent is no drawing: {error}"
        mate = _read_or_none(other) or drawing
        return svg_text(mutate_drawing(drawing, mate, random, self.changes)), ""


def mutate_drawing(
    drawing: Drawing, mate: Drawing, random: np.random.Generator, changes: int = 1
) -> Drawing:
    """Returns the drawing after 1 to `changes` changes.

    Returns it unchanged if `_TRIES` attempts led beyond the bounds or changed nothing.
    """
    for _ in range(_TRIES):
        child = drawing
        try:
            for i in random.integers(len(CHANGES), size=random.integers(1, changes + 1)):
                child = CHANGES[int(i)](child, mate, random)
            child = read_svg(svg_text(child[:MOST_SHAPES]))
        except ValueError:
            continue
        if child != drawing:
            return child
    return drawing


def _read_or_none(text: str) -> Drawing | None:
    try:
        return read_svg(text)
    except ValueError:
        return None


# A change takes a drawing, another one and a generator, and returns the changed drawing.

_Change = Callable[[Drawing, Drawing, np.random.Generator], Drawing]


def move_shape(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """Moves a shape."""
    x, y = random.normal(0, 8, 2)
    matrix = (1.0, 0.0, 0.0, 1.0, x, y)
    return _change_one(drawing, random, lambda shape: _transformed(shape, matrix))


def scale(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """Makes a shape larger or smaller, about its middle."""
    by = float(np.exp(random.normal(0, 0.35)))
    return _change_one_about_middle(drawing, random, (by, 0.0, 0.0, by, 0.0, 0.0))


def turn(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """Turns a shape about its middle."""
    return _change_one_about_middle(drawing, random, rotation(float(random.normal(0, 40))))


def bend(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """Changes the numbers of a shape a little."""
    jitter = lambda shape: replace(shape, numbers=_jittered(shape, random))
    return _change_one(drawing, random, jitter)


def repaint(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """Paints a shape in a colour of either drawing, or in one near its own."""
    colours = [*palette(drawing), *palette(mate)]
    pick = colours and random.random() < 0.5
    paint = colours[int(random.integers(len(colours)))] if pick else None
    new_colour = lambda colour: paint or _near(colour, random)
    return _change_one(drawing, random, lambda shape: _repainted(shape, new_colour))


def tint(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """Turns all hues by one angle, which keeps the harmony of the colours."""
    by = random.uniform(0, 1)
    return tuple(_repainted(shape, lambda colour: _shifted(colour, by)) for shape in drawing)


def dress(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """Replaces all colours by those of the other drawing, in the order of their lightness."""
    mine, theirs = (sorted(palette(of), key=_lightness) for of in (drawing, mate))
    if not mine or not theirs:
        return drawing
    last_mine, last_theirs = max(1, len(mine) - 1), len(theirs) - 1
    new = {colour: theirs[round(i * last_theirs / last_mine)] for i, colour in enumerate(mine)}
    return tuple(_repainted(shape, lambda colour: new[colour]) for shape in drawing)


def outline_shape(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """Gives a shape another outline, or none."""
    colours = palette(drawing) or ["#000000"]
    stroke = "none" if random.random() < 0.4 else colours[int(random.integers(len(colours)))]
    width = float(np.exp(random.uniform(-0.7, 1.6)))
    outline = lambda shape: shape.painted(stroke=stroke, stroke_width=width)
    return _change_one(drawing, random, outline)


def drop_shape(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """Drops a shape, unless it is the only one."""
    at = int(random.integers(len(drawing)))
    return drawing[:at] + drawing[at + 1 :] if len(drawing) > 1 else drawing


def lift(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """Moves a shape to the front or the back of others."""
    at, to = random.integers(len(drawing), size=2)
    rest = drawing[:at] + drawing[at + 1 :]
    return (*rest[:to], drawing[at], *rest[to:])


def mirror(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """Adds the mirror image of a shape on the other side of the picture."""
    at = int(random.integers(len(drawing)))
    copy = _transformed(drawing[at], (-1.0, 0.0, 0.0, 1.0, SIDE, 0.0))
    return (*drawing[: at + 1], copy, *drawing[at + 1 :])


def ring(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """Repeats a shape around the middle of the picture."""
    at, times = int(random.integers(len(drawing))), int(random.choice(_RINGS))
    copies = [
        _transformed(drawing[at], transform_about(rotation(360 * i / times), _MIDDLE, _MIDDLE))
        for i in range(times)
    ]
    return (*drawing[:at], *copies, *drawing[at + 1 :])


def cross(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """Replaces a run of shapes by a run of the other drawing."""
    (a, b), (c, d) = (
        np.sort(random.integers(len(of) + 1, size=2)).tolist() for of in (drawing, mate)
    )
    return drawing[:a] + mate[c:d] + drawing[b:] or drawing


def add(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """Adds a new shape, in a colour of either drawing."""
    colours = [*palette(drawing), *palette(mate)] or ["#000000"]
    colour = colours[int(random.integers(len(colours)))]
    at = int(random.integers(len(drawing) + 1))
    return (*drawing[:at], _new_shape(random).painted(fill=colour), *drawing[at:])


CHANGES: Sequence[_Change] = (
    move_shape, scale, turn, bend, repaint, tint, dress,
    outline_shape, drop_shape, lift, mirror, ring, cross, add,
)  # fmt: skip


def palette(drawing: Drawing) -> list[str]:
    """Returns the colours of a drawing, each once, in the order of their first use."""
    paints = (shape.paint[part] for shape in drawing for part in ("fill", "stroke"))
    return list(dict.fromkeys(colour for colour in paints if colour != "none"))


def _change_one(
    drawing: Drawing, random: np.random.Generator, change: Callable[[Shape], Shape]
) -> Drawing:
    """Changes a shape of the drawing, drawn uniformly."""
    at = int(random.integers(len(drawing)))
    return (*drawing[:at], change(drawing[at]), *drawing[at + 1 :])


def _change_one_about_middle(
    drawing: Drawing, random: np.random.Generator, matrix: Matrix
) -> Drawing:
    """Transforms a shape, drawn uniformly, by a matrix about its middle."""
    about_middle = lambda shape: transform_about(matrix, *_middle(shape))
    return _change_one(drawing, random, lambda shape: _transformed(shape, about_middle(shape)))


def _transformed(shape: Shape, matrix: Matrix) -> Shape:
    return replace(shape, matrix=compose(matrix, shape.matrix))


def _middle(shape: Shape) -> tuple[float, float]:
    places = transform_points(shape.matrix, shape_points(shape)[0])
    x, y = (places.min(0) + places.max(0)) / 2 if len(places) else (_MIDDLE, _MIDDLE)
    return float(x), float(y)


def _jittered(shape: Shape, random: np.random.Generator) -> tuple[float, ...]:
    """Returns the numbers of a shape, some of them changed by about 4 units.

    The numbers of a path with arcs stay, as some of them are angles and flags.
    """
    numbers = np.array(shape.numbers)
    if "A" in shape.commands:
        return shape.numbers
    chosen = random.random(len(numbers)) < max(0.3, 1 / max(1, len(numbers)))
    return tuple((numbers + chosen * random.normal(0, 4, len(numbers))).tolist())


def _new_shape(random: np.random.Generator) -> Shape:
    """Returns a disc, a bar, a polygon with 3 to 6 corners, or a star with as many points."""
    x, y = random.normal(_MIDDLE, 18, 2).tolist()
    size = float(np.exp(random.normal(2.2, 0.6)))
    kind = random.integers(4)
    if kind == 0:
        return Shape("circle", (x, y, size))
    if kind == 1:
        width, height = (size * np.exp(random.normal(0, 0.6, 2))).tolist()
        return Shape("rect", (x - width / 2, y - height / 2, width, height, 0.0, 0.0))
    corners = int(random.integers(3, 7)) * (1 if kind == 2 else 2)
    inner = size if kind == 2 else size * random.uniform(0.3, 0.7)
    out = np.where(np.arange(corners) % 2 == 0, size, inner)
    angle = random.uniform(0, 2 * math.pi) + 2 * math.pi * np.arange(corners) / corners
    places = np.stack([x + out * np.cos(angle), y + out * np.sin(angle)], 1)
    return Shape("polygon", tuple(places.ravel().tolist()))


def _repainted(shape: Shape, colour: Callable[[str], str]) -> Shape:
    parts = [part for part in ("fill", "stroke") if shape.paint[part] != "none"]
    return shape.painted(**{part: colour(shape.paint[part]) for part in parts})


def _hls(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return colorsys.rgb_to_hls(red, green, blue)


def _lightness(colour: str) -> float:
    return _hls(colour)[1]


def _coloured(hue: float, lightness: float, saturation: float) -> str:
    rgb = colorsys.hls_to_rgb(hue % 1, min(1.0, max(0.0, lightness)), saturation)
    return hex_colour([255 * channel for channel in rgb])


def _near(colour: str, random: np.random.Generator) -> str:
    hue, lightness, saturation = _hls(colour)
    by = random.normal(0, (0.06, 0.12, 0.15))
    return _coloured(hue + by[0], lightness + by[1], float(np.clip(saturation + by[2], 0, 1)))


def _shifted(colour: str, by: float) -> str:
    hue, lightness, saturation = _hls(colour)
    return _coloured(hue + by, lightness, saturation)


__all__ = ["CHANGES", "Sketch", "mutate_drawing", "palette"]

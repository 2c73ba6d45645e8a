"""New drawings without a model: shapes of two drawings moved, repainted, mirrored, set in rings and exchanged."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np

from qdkit.domains.paths import Matrix, about, moved, product, rotation
from qdkit.domains.shapes import SIDE, Drawing, Shape, hexed, points, written
from qdkit.domains.svg import read
from qdkit.types import Context, Key, Operator, Outcome, Proposal

MOST = 60  # shapes of a drawing; it does not grow beyond
TRIES = 8  # of a change that leads beyond the bounds
MIDDLE = SIDE / 2
RINGS = (2, 3, 4, 5, 6, 8, 12)


@dataclass(frozen=True)
class Sketch(Operator):
    """Changes the shapes of a drawing, and takes some from another.

    changes: the most that are made to one child.

    A child is always a drawing within the bounds of `qdkit.domains.svg`, written as it writes them. A parent that is
    no drawing has none: `INVALID`, with the reason.
    """

    changes: int = 3

    name = "sketch"
    arity = 2

    def __post_init__(self) -> None:
        if self.changes < 1:
            raise ValueError(f"changes is the most that are made to a child, 1 or more, not {self.changes}")

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        texts = context.parents.genome
        made = [self._child(texts[2 * i], texts[2 * i + 1], random) for i in range(n)]
        proposal = Proposal.of([text for text, _ in made], self.name, context.parents)
        outcome = [Outcome.INVALID if error else Outcome.OK for _, error in made]
        return proposal._replace(outcome=outcome, notes=[{"error": error} if error else {} for _, error in made])

    def _child(self, text: str, other: str, random: np.random.Generator) -> tuple[str, str]:
        """The child, and what is wrong with its parent, if anything."""
        try:
            drawing = read(text)
        except ValueError as error:
            return text, f"the parent is no drawing: {error}"
        return written(changed(drawing, _drawing(other) or drawing, random, self.changes)), ""


def changed(drawing: Drawing, mate: Drawing, random: np.random.Generator, changes: int = 1) -> Drawing:
    """A drawing after 1 to `changes` changes; as it is where `TRIES` times they led beyond the bounds or to nothing."""
    for _ in range(TRIES):
        child = drawing
        try:
            for i in random.integers(len(CHANGES), size=random.integers(1, changes + 1)):
                child = CHANGES[int(i)](child, mate, random)
            child = read(written(child[:MOST]))
        except ValueError:
            continue
        if child != drawing:
            return child
    return drawing


def _drawing(text: str) -> Drawing | None:
    try:
        return read(text)
    except ValueError:
        return None


# Changes: a drawing, another and a generator to the changed drawing.

Change = Callable[[Drawing, Drawing, np.random.Generator], Drawing]


def move(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """One shape elsewhere."""
    x, y = random.normal(0, 8, 2)
    return _one(drawing, random, lambda shape: _put(shape, (1.0, 0.0, 0.0, 1.0, x, y)))


def scale(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """One shape larger or smaller, about its middle."""
    by = float(np.exp(random.normal(0, 0.35)))
    return _one(drawing, random, lambda shape: _put(shape, about((by, 0.0, 0.0, by, 0.0, 0.0), *_middle(shape))))


def turn(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """One shape turned, about its middle."""
    by = rotation(float(random.normal(0, 40)))
    return _one(drawing, random, lambda shape: _put(shape, about(by, *_middle(shape))))


def bend(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """The numbers of one shape, a little other."""
    return _one(drawing, random, lambda shape: replace(shape, numbers=_jittered(shape, random)))


def repaint(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """One shape in a colour of either drawing, or in one near its own."""
    known = [*palette(drawing), *palette(mate)]
    paint = known[int(random.integers(len(known)))] if known and random.random() < 0.5 else None
    return _one(drawing, random, lambda shape: _repainted(shape, lambda colour: paint or _near(colour, random)))


def tint(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """All hues turned by one angle: the same harmony in other colours."""
    by = random.uniform(0, 1)
    return tuple(_repainted(shape, lambda colour: _shifted(colour, by)) for shape in drawing)


def dress(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """All colours replaced by those of the other drawing, the dark by the dark and the light by the light."""
    mine, theirs = (sorted(palette(of), key=_lightness) for of in (drawing, mate))
    if not mine or not theirs:
        return drawing
    worn = {c: theirs[round(i * (len(theirs) - 1) / max(1, len(mine) - 1))] for i, c in enumerate(mine)}
    return tuple(_repainted(shape, lambda colour: worn[colour]) for shape in drawing)


def outline(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """One shape with a line around it, another line, or none."""
    known = palette(drawing) or ["#000000"]
    stroke = "none" if random.random() < 0.4 else known[int(random.integers(len(known)))]
    width = float(np.exp(random.uniform(-0.7, 1.6)))
    return _one(drawing, random, lambda shape: shape.painted(stroke=stroke, stroke_width=width))


def drop(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """One shape less; the last stays."""
    at = int(random.integers(len(drawing)))
    return drawing[:at] + drawing[at + 1 :] if len(drawing) > 1 else drawing


def lift(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """One shape before or behind the others."""
    at, to = random.integers(len(drawing), size=2)
    rest = drawing[:at] + drawing[at + 1 :]
    return (*rest[:to], drawing[at], *rest[to:])


def mirror(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """One shape once more, on the other side of the picture."""
    at = int(random.integers(len(drawing)))
    copy = _put(drawing[at], (-1.0, 0.0, 0.0, 1.0, SIDE, 0.0))
    return (*drawing[: at + 1], copy, *drawing[at + 1 :])


def ring(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """One shape several times around the middle of the picture."""
    at, times = int(random.integers(len(drawing))), int(random.choice(RINGS))
    copies = [_put(drawing[at], about(rotation(360 * i / times), MIDDLE, MIDDLE)) for i in range(times)]
    return (*drawing[:at], *copies, *drawing[at + 1 :])


def cross(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """A run of shapes of the other drawing in the place of a run."""
    (a, b), (c, d) = (np.sort(random.integers(len(of) + 1, size=2)).tolist() for of in (drawing, mate))
    return drawing[:a] + mate[c:d] + drawing[b:] or drawing


def add(drawing: Drawing, mate: Drawing, random: np.random.Generator) -> Drawing:
    """A new shape, in a colour of either drawing."""
    known = [*palette(drawing), *palette(mate)] or ["#000000"]
    colour = known[int(random.integers(len(known)))]
    at = int(random.integers(len(drawing) + 1))
    return (*drawing[:at], _new(random).painted(fill=colour), *drawing[at:])


CHANGES: Sequence[Change] = (
    move, scale, turn, bend, repaint, tint, dress, outline, drop, lift, mirror, ring, cross, add,
)  # fmt: skip


def palette(drawing: Drawing) -> list[str]:
    """The colours of a drawing, each once, in the order in which they come."""
    paints = (shape.paint[part] for shape in drawing for part in ("fill", "stroke"))
    return list(dict.fromkeys(colour for colour in paints if colour != "none"))


def _one(drawing: Drawing, random: np.random.Generator, change: Callable[[Shape], Shape]) -> Drawing:
    at = int(random.integers(len(drawing)))
    return (*drawing[:at], change(drawing[at]), *drawing[at + 1 :])


def _put(shape: Shape, matrix: Matrix) -> Shape:
    return replace(shape, matrix=product(matrix, shape.matrix))


def _middle(shape: Shape) -> tuple[float, float]:
    places = moved(shape.matrix, points(shape)[0])
    x, y = (places.min(0) + places.max(0)) / 2 if len(places) else (MIDDLE, MIDDLE)
    return float(x), float(y)


def _jittered(shape: Shape, random: np.random.Generator) -> tuple[float, ...]:
    """Some of the numbers changed by about 4 units; of a path with arcs, whose numbers mean many things, all kept."""
    given = np.array(shape.numbers)
    if "A" in shape.commands:
        return shape.numbers
    chosen = random.random(len(given)) < max(0.3, 1 / max(1, len(given)))
    return tuple((given + chosen * random.normal(0, 4, len(given))).tolist())


def _new(random: np.random.Generator) -> Shape:
    """A disc, a bar, or a polygon with 3 to 6 corners or points of a star."""
    x, y = random.normal(MIDDLE, 18, 2).tolist()
    size = float(np.exp(random.normal(2.2, 0.6)))
    kind = random.integers(4)
    if kind == 0:
        return Shape("circle", (x, y, size))
    if kind == 1:
        width, height = (size * np.exp(random.normal(0, 0.6, 2))).tolist()
        return Shape("rect", (x - width / 2, y - height / 2, width, height, 0.0, 0.0))
    corners = int(random.integers(3, 7)) * (1 if kind == 2 else 2)
    out = np.where(np.arange(corners) % 2 == 0, size, size if kind == 2 else size * random.uniform(0.3, 0.7))
    angle = random.uniform(0, 2 * math.pi) + 2 * math.pi * np.arange(corners) / corners
    places = np.stack([x + out * np.cos(angle), y + out * np.sin(angle)], 1)
    return Shape("polygon", tuple(places.ravel().tolist()))


def _repainted(shape: Shape, colour: Callable[[str], str]) -> Shape:
    new = {part: colour(shape.paint[part]) for part in ("fill", "stroke") if shape.paint[part] != "none"}
    return shape.painted(**new)


def _hls(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return colorsys.rgb_to_hls(red, green, blue)


def _lightness(colour: str) -> float:
    return _hls(colour)[1]


def _coloured(hue: float, lightness: float, saturation: float) -> str:
    return hexed([255 * c for c in colorsys.hls_to_rgb(hue % 1, min(1.0, max(0.0, lightness)), saturation)])


def _near(colour: str, random: np.random.Generator) -> str:
    hue, lightness, saturation = _hls(colour)
    by = random.normal(0, (0.06, 0.12, 0.15))
    return _coloured(hue + by[0], lightness + by[1], float(np.clip(saturation + by[2], 0, 1)))


def _shifted(colour: str, by: float) -> str:
    hue, lightness, saturation = _hls(colour)
    return _coloured(hue + by, lightness, saturation)


__all__ = ["CHANGES", "Sketch", "changed", "palette"]

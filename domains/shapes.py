"""What vector drawings are made of here: plain shapes with a paint and a transform, and how they are written."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from qdkit.domains.paths import COUNT, IDENTITY, Matrix, moved, numbers, straight

SIDE = 100.0  # of the frame in which all drawings are written
FAR = 1_000.0  # how far a shape may reach in the frame: renderers have failed on shapes that reach much farther
XMLNS = "http://www.w3.org/2000/svg"

GEOMETRY: Mapping[str, tuple[str, ...]] = {
    "circle": ("cx", "cy", "r"),
    "ellipse": ("cx", "cy", "rx", "ry"),
    "rect": ("x", "y", "width", "height", "rx", "ry"),
    "line": ("x1", "y1", "x2", "y2"),
    "polyline": ("points",),
    "polygon": ("points",),
    "path": ("d",),
}
SIZES = {"r", "rx", "ry", "width", "height"}  # never negative
CHOICES = {
    "stroke-linecap": ("butt", "round", "square"),
    "stroke-linejoin": ("miter", "round", "bevel"),
    "fill-rule": ("nonzero", "evenodd"),
}
SHARES = ("fill-opacity", "stroke-opacity")  # opacity is folded into them: renderers give it a layer of its own
PLAIN: Mapping[str, Any] = {  # what holds where nothing is said
    "fill": "#000000",
    "stroke": "none",
    "stroke-width": 1.0,
    **dict.fromkeys(SHARES, 1.0),
    **{name: values[0] for name, values in CHOICES.items()},
}


@dataclass(frozen=True)
class Shape:
    """One thing that is drawn.

    numbers: its geometry, as `GEOMETRY` names it; of polygons and paths the coordinates in their order.
    commands: of a path alone, its letters M, L, C, Q, A and Z.
    paint: what differs from `PLAIN`.
    """

    name: str
    numbers: tuple[float, ...]
    commands: str = ""
    paint: Mapping[str, Any] = field(default_factory=lambda: PLAIN)
    matrix: Matrix = IDENTITY

    def painted(self, **paint: Any) -> Shape:
        """With another paint; `stroke_width` is stroke-width."""
        return replace(self, paint={**self.paint, **{n.replace("_", "-"): v for n, v in paint.items()}})


Drawing = tuple[Shape, ...]


def written(drawing: Drawing) -> str:
    """A drawing as SVG text, one shape a line."""
    lines = "\n".join(map(_line, drawing))
    return f'<svg xmlns="{XMLNS}" viewBox="0 0 {SIDE:g} {SIDE:g}">\n{lines}\n</svg>'


def renderable(drawing: Drawing) -> str:
    """The text of a drawing with lines in the place of curves; circles and ellipses stay."""
    return written(tuple(map(_straight, drawing)))


def _straight(shape: Shape) -> Shape:
    parts = list(straight(shape.commands, shape.numbers))
    commands, given = "".join(letter for letter, _ in parts), tuple(x for _, part in parts for x in part)
    return replace(shape, commands=commands, numbers=given) if shape.name == "path" else shape


def _line(shape: Shape) -> str:
    said = dict(_geometry(shape))
    said |= {name: _value(shape.paint[name]) for name in PLAIN if shape.paint[name] != PLAIN[name]}
    if shape.matrix != IDENTITY:
        said["transform"] = f"matrix({' '.join(f'{x:.7g}' for x in shape.matrix)})"
    return " ".join([f"<{shape.name}", *(f'{name}="{value}"' for name, value in said.items())]) + "/>"


def _geometry(shape: Shape) -> Mapping[str, str]:
    texts = [f"{x:.7g}" for x in shape.numbers]
    if shape.name == "path":
        parts, at = [], 0
        for letter in shape.commands:
            parts.append(letter + " ".join(texts[at : at + COUNT[letter]]))
            at += COUNT[letter]
        return {"d": " ".join(parts)}
    if shape.name in ("polyline", "polygon"):
        return {"points": " ".join(texts)}
    return {name: text for name, text in zip(GEOMETRY[shape.name], texts, strict=True) if text != "0"}


def _value(value: Any) -> str:
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def reach(shape: Shape) -> float:
    """A bound on how far from the frame's first corner a shape is drawn, its stroke included."""
    places, radius = points(shape)
    corners = moved(shape.matrix, places)
    factor = math.hypot(*shape.matrix[:4])  # at least the factor by which it stretches anything
    return float(np.abs(corners).max(initial=0.0)) + factor * (radius + shape.paint["stroke-width"] / 2)


def points(shape: Shape) -> tuple[np.ndarray, float]:
    """The points of a shape, float `[k, 2]`, before its transform, and how far it is drawn around them at most."""
    given = shape.numbers
    if shape.name == "circle":
        return np.array([given[:2]]), given[2]
    if shape.name == "ellipse":
        return np.array([given[:2]]), max(given[2:])
    if shape.name == "rect":
        x, y, width, height = given[:4]
        return np.array([(x, y), (x + width, y), (x, y + height), (x + width, y + height)]), 0.0
    if shape.name != "path":
        return np.array(given).reshape(-1, 2), 0.0
    found, radius, at = [], 0.0, 0
    for letter in shape.commands:
        part = given[at : at + COUNT[letter]]
        at += COUNT[letter]
        if letter == "A":  # radii too small for their ends are drawn as large as need be: half their distance
            radius, part = max(radius, 2 * max(part[:2])), part[-2:]
        found += [*part]
    return np.array(found).reshape(-1, 2), radius


def colour(text: str, around: str = "#000000") -> str:
    """A colour as `#rrggbb`, or `none`. Raises ValueError for what is none of CSS's names, nor #..., nor rgb(...)."""
    text = text.strip().lower()
    if text in ("none", "transparent"):
        return "none"
    if text == "inherit":
        return around
    if re.fullmatch(r"#[0-9a-f]{3}", text):
        return "#" + "".join(2 * c for c in text[1:])
    if re.fullmatch(r"#[0-9a-f]{6}", text):
        return text
    if text.startswith("rgb(") and text.endswith(")"):
        parts = numbers(text[4:-1], "rgb")
        if len(parts) == 3:
            return hexed(parts)
    if (named := _named().get(text)) is None:
        raise ValueError(f"a colour is {text!r:.40}, and drawings have #rrggbb, rgb(r, g, b), names and none")
    return named


def hexed(rgb: Any) -> str:
    """Red, green and blue, up to 255 each, as `#rrggbb`."""
    return "#" + "".join(f"{min(255, max(0, round(float(x)))):02x}" for x in rgb)


@cache
def _named() -> Mapping[str, str]:
    lines = (Path(__file__).parent / "drawings" / "colours.txt").read_text(encoding="utf-8").splitlines()
    return {"currentcolor": "#000000", **dict(line.split() for line in lines if line[0] != "#")}

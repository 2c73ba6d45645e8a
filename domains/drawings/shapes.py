"""The shapes of vector drawings, with a paint and a transform, and their text as SVG."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from qdkit.domains.drawings.path_data import (
    COUNT,
    IDENTITY,
    Matrix,
    parse_numbers,
    straight_segments,
    transform_points,
)

SIDE = 100.0  # of the frame of all drawings
# How far a shape may reach in the frame: renderers have failed on shapes that reach much farther.
FAR = 1_000.0
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
# `opacity` is multiplied into these, as renderers give it a layer of its own
SHARES = ("fill-opacity", "stroke-opacity")
UNSTYLED: Mapping[str, Any] = {  # the default paint
    "fill": "#000000",
    "stroke": "none",
    "stroke-width": 1.0,
    **dict.fromkeys(SHARES, 1.0),
    **{name: values[0] for name, values in CHOICES.items()},
}


@dataclass(frozen=True)
class Shape:
    """A shape of a drawing.

    name: the SVG element, a key of `GEOMETRY`.
    numbers: its geometry, in the order of `GEOMETRY`; the coordinates of polylines, polygons and
      paths, in their order.
    commands: the letters M, L, C, Q, A and Z of a path; "" for other shapes.
    paint: the value of each key of `UNSTYLED`.
    matrix: its transform.
    """

    name: str
    numbers: tuple[float, ...]
    commands: str = ""
    paint: Mapping[str, Any] = field(default_factory=lambda: UNSTYLED)
    matrix: Matrix = IDENTITY

    def painted(self, **paint: Any) -> Shape:
        """Returns the shape with changes of its paint; `stroke_width` stands for stroke-width."""
        changes = {name.replace("_", "-"): value for name, value in paint.items()}
        return replace(self, paint={**self.paint, **changes})


Drawing = tuple[Shape, ...]


def svg_text(drawing: Drawing) -> str:
    """Returns a drawing as SVG text, with one shape a line."""
    lines = "\n".join(map(_line, drawing))
    return f'<svg xmlns="{XMLNS}" viewBox="0 0 {SIDE:g} {SIDE:g}">\n{lines}\n</svg>'


def renderable(drawing: Drawing) -> str:
    """Returns the SVG text of a drawing with lines in the place of curves.

    Circles and ellipses stay.
    """
    return svg_text(tuple(map(_straight, drawing)))


def _straight(shape: Shape) -> Shape:
    """Returns a path with lines in the place of curves; other shapes stay."""
    if shape.name != "path":
        return shape
    parts = list(straight_segments(shape.commands, shape.numbers))
    commands = "".join(letter for letter, _ in parts)
    return replace(shape, commands=commands, numbers=tuple(x for _, part in parts for x in part))


def _line(shape: Shape) -> str:
    """Returns the SVG element of a shape."""
    attributes = dict(_geometry(shape))
    attributes |= {
        name: _value(shape.paint[name]) for name in UNSTYLED if shape.paint[name] != UNSTYLED[name]
    }
    if shape.matrix != IDENTITY:
        attributes["transform"] = f"matrix({' '.join(f'{x:.7g}' for x in shape.matrix)})"
    texts = [f'{name}="{value}"' for name, value in attributes.items()]
    return " ".join([f"<{shape.name}", *texts]) + "/>"


def _geometry(shape: Shape) -> Mapping[str, str]:
    """Returns the attributes of a shape that hold its geometry; those that are 0 are left out."""
    texts = [f"{x:.7g}" for x in shape.numbers]
    if shape.name == "path":
        parts, at = [], 0
        for letter in shape.commands:
            parts.append(letter + " ".join(texts[at : at + COUNT[letter]]))
            at += COUNT[letter]
        return {"d": " ".join(parts)}
    if shape.name in ("polyline", "polygon"):
        return {"points": " ".join(texts)}
    attributes = zip(GEOMETRY[shape.name], texts, strict=True)
    return {name: text for name, text in attributes if text != "0"}


def _value(value: Any) -> str:
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def reach(shape: Shape) -> float:
    """Returns a bound of the distance of a shape, with its stroke, from the corner (0, 0)."""
    places, radius = shape_points(shape)
    corners = transform_points(shape.matrix, places)
    factor = math.hypot(*shape.matrix[:4])  # a bound of the factor by which the matrix stretches
    around = factor * (radius + shape.paint["stroke-width"] / 2)
    return float(np.abs(corners).max(initial=0.0)) + around


def shape_points(shape: Shape) -> tuple[np.ndarray, float]:
    """Returns the points of a shape before its transform, and a radius around them.

    The points are float `[k, 2]`; the shape lies within the radius around their hull.
    """
    numbers = shape.numbers
    if shape.name == "circle":
        return np.array([numbers[:2]]), numbers[2]
    if shape.name == "ellipse":
        return np.array([numbers[:2]]), max(numbers[2:])
    if shape.name == "rect":
        x, y, width, height = numbers[:4]
        return np.array([(x, y), (x + width, y), (x, y + height), (x + width, y + height)]), 0.0
    if shape.name != "path":
        return np.array(numbers).reshape(-1, 2), 0.0
    coordinates, radius, at = [], 0.0, 0
    for letter in shape.commands:
        part = numbers[at : at + COUNT[letter]]
        at += COUNT[letter]
        if letter == "A":  # radii too small for the ends of the arc grow to half their distance
            radius, part = max(radius, 2 * max(part[:2])), part[-2:]
        coordinates += [*part]
    return np.array(coordinates).reshape(-1, 2), radius


def parse_colour(text: str, around: str = "#000000") -> str:
    """Returns a colour as `#rrggbb`, or `none`; `inherit` is the colour `around`.

    Raises ValueError if it is no colour name of CSS, no #rgb or #rrggbb, and no rgb(...).
    """
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
        parts = parse_numbers(text[4:-1], "rgb")
        if len(parts) == 3:
            return hex_colour(parts)
    if (colour := _named_colours().get(text)) is None:
        raise ValueError(
            f"a colour is {text!r:.40}, and drawings have #rrggbb, rgb(r, g, b), names and none"
        )
    return colour


def hex_colour(rgb: Any) -> str:
    """Returns red, green and blue, clipped to 0 to 255, as `#rrggbb`."""
    return "#" + "".join(f"{min(255, max(0, round(float(x)))):02x}" for x in rgb)


@cache
def _named_colours() -> Mapping[str, str]:
    """Returns the colour names of CSS with their values."""
    lines = (Path(__file__).parent / "colours.txt").read_text(encoding="utf-8").splitlines()
    return {"currentcolor": "#000000", **dict(line.split() for line in lines if line[0] != "#")}

"""The door for vector drawings: hostile SVG text in, a flat list of plain shapes out, or the reason why not.

Nothing of the text is handed on. It is parsed by expat with document types refused, so there are no entities and
nothing outside it is ever read; of elements and attributes those that draw plain shapes are known, all others are
refused (no style sheets, scripts, links, images, text, filters, uses, animations); numbers and colours are read
and bounded. What comes out is written anew by `written`: one frame of 100 × 100, one shape a line, groups
dissolved into their shapes. `read(written(read(text))) == read(text)`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from qdkit.domains.paths import COUNT, IDENTITY, Matrix, moved, number, numbers, product, rounded, segments, straight, transform

SIDE = 100.0  # of the frame in which all drawings are written
LONGEST = 40_000  # characters of a text
MOST = 200  # elements
DEEPEST = 16  # elements within each other
NUMBERS = 4_000  # of all shapes together
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
SILENT = ("title", "desc")  # said of a drawing and not drawn
IGNORED = re.compile(r"id|class|version|role|aria-[a-z]+|data-[\w-]+|shape-rendering|stroke-miterlimit")
ROOT = re.compile(r"width|height|x|y|preserveAspectRatio|baseProfile")


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


def read(text: str) -> Drawing:
    """The shapes of a drawing, from the back to the front. Raises ValueError, with the reason, for what is not one."""
    if not isinstance(text, str):
        raise ValueError(f"a drawing is SVG text, not {type(text).__name__}")
    _check_length(text)
    return _read(text)


@lru_cache(256)  # each candidate comes to the door several times: compared, evaluated, rendered
def _read(text: str) -> Drawing:
    reader = _Reader()
    try:
        reader.parser.Parse(text.strip().encode(), True)
    except expat.ExpatError as error:
        raise ValueError(f"it is not well-formed: {error}") from None
    except UnicodeEncodeError:
        raise ValueError("it has characters that are no text") from None
    if not reader.shapes:
        raise ValueError("it draws nothing")
    _check_length(written(tuple(reader.shapes)))  # short forms are written out
    return tuple(reader.shapes)


def _check_length(text: str) -> None:
    if len(text) > LONGEST:
        raise ValueError(f"it has {len(text):,} characters, and drawings have at most {LONGEST:,}")


def clean(text: str) -> str:
    """A drawing as it is written here. Raises ValueError, with the reason, for what is not one."""
    return written(read(text))


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


class _Reader:
    """Hears of each element as expat comes to it. Groups are on `stack`, as the transform and paint they hand down."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate("utf-8", " ")  # the text is known to be utf-8, whatever it says of itself
        self.parser.StartDoctypeDeclHandler = self._refuse_doctype
        self.parser.ProcessingInstructionHandler = self._refuse_instruction
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.buffer_text = True
        self.shapes: list[Shape] = []
        self.stack: list[tuple[str, Matrix, Mapping[str, Any]]] = []
        self.elements = self.numbers = 0

    def _refuse_doctype(self, *_: Any) -> None:
        raise ValueError("it declares a document type or entities")

    def _refuse_instruction(self, *_: Any) -> None:
        raise ValueError("it holds a processing instruction")

    def _text(self, text: str) -> None:
        if text.strip() and self.stack[-1][0] not in SILENT:
            raise ValueError(f"it holds text, {text.strip()!r:.40}, and drawings have shapes alone")

    def _end(self, name: str) -> None:
        self.stack.pop()

    def _start(self, name: str, said: Mapping[str, str]) -> None:
        name = _own(name, "element")
        said = {_own(key, f"attribute of {name}"): value for key, value in said.items()}
        self.elements += 1
        if self.elements > MOST or len(self.stack) >= DEEPEST:
            raise ValueError(f"it has more than {MOST} elements, or more than {DEEPEST} within each other")
        if not self.stack:
            if name != "svg":
                raise ValueError(f"it begins with {name!r:.40} and not with svg")
            self.stack.append((name, *_inherited(name, _view(said), PLAIN, _drawn(said))))
            return
        above, matrix, paint = self.stack[-1]
        if above not in ("svg", "g") or name not in (*GEOMETRY, *SILENT, "g"):
            raise ValueError(f"it has {name!r:.40} within {above}, and drawings have {', '.join(GEOMETRY)} and g")
        if name not in SILENT:
            matrix, paint = _inherited(name, matrix, paint, said)
        self.stack.append((name, matrix, paint))
        if name in GEOMETRY:
            self._draw(name, said, matrix, paint)

    def _draw(self, name: str, said: Mapping[str, str], matrix: Matrix, paint: Mapping[str, Any]) -> None:
        given, commands = _numbers(name, said)
        self.numbers += len(given)
        if self.numbers > NUMBERS:
            raise ValueError(f"its shapes have more than {NUMBERS:,} numbers")
        a, b, c, d, e, f = map(rounded, matrix)
        shape = Shape(name, given, commands, paint, (a, b, c, d, e, f))
        if (far := reach(shape)) > FAR:
            raise ValueError(f"a {name} reaches {far:,.0f} from the corner, and drawings stay within {FAR:g}")
        self.shapes.append(shape)


def _own(name: str, what: str) -> str:
    """A name of SVG's own; one without a namespace passes for it."""
    space, _, own = name.rpartition(" ")
    if space not in ("", XMLNS):
        raise ValueError(f"it has an {what} of another namespace, {name!r:.60}")
    return own


def _drawn(said: Mapping[str, str]) -> Mapping[str, str]:
    """What is left of the root's attributes, without those that say where it stands."""
    return {name: value for name, value in said.items() if name != "viewBox" and not ROOT.fullmatch(name)}


def _view(said: Mapping[str, str]) -> Matrix:
    """What takes the frame that a drawing names into ours, whole and in the middle."""
    if "viewBox" in said:
        view = numbers(said["viewBox"], "viewBox")
    elif "width" in said and "height" in said:
        view = (0.0, 0.0, number(said["width"], "width"), number(said["height"], "height"))
    else:
        view = (0.0, 0.0, SIDE, SIDE)
    if len(view) != 4 or min(view[2:]) < 1:
        raise ValueError("viewBox is four numbers, the last two at least 1")
    x, y, width, height = view
    scale = SIDE / max(width, height)
    return (scale, 0.0, 0.0, scale, SIDE / 2 - scale * (x + width / 2), SIDE / 2 - scale * (y + height / 2))


def _inherited(
    name: str, matrix: Matrix, paint: Mapping[str, Any], said: Mapping[str, str]
) -> tuple[Matrix, Mapping[str, Any]]:
    """The transform and the paint of an element, from those around it and what it says."""
    new: dict[str, Any] = {}
    fade = 1.0
    for key, value in said.items():
        if key == "transform":
            matrix = product(matrix, transform(value))
        elif key in ("fill", "stroke"):
            new[key] = colour(value, paint[key])
        elif key == "stroke-width":
            new[key] = max(0.0, number(value, key))
        elif key in SHARES:
            new[key] = _share(value, key)
        elif key == "opacity":
            fade = _share(value, key)
        elif key in CHOICES:
            if value.strip() not in CHOICES[key]:
                raise ValueError(f"{key} is {value!r:.20}, and not one of {', '.join(CHOICES[key])}")
            new[key] = value.strip()
        elif key not in GEOMETRY.get(name, ()) and not IGNORED.fullmatch(key):
            raise ValueError(f"{name} has the attribute {key!r:.40}, which drawings do not know")
    paint = {**paint, **new}
    return matrix, {**paint, **{key: rounded(fade * paint[key]) for key in SHARES}}


def _share(text: str, what: str) -> float:
    return min(1.0, max(0.0, number(text, what)))


def _numbers(name: str, said: Mapping[str, str]) -> tuple[tuple[float, ...], str]:
    """The geometry of a shape, and the commands of a path."""
    if name == "path":
        parts = list(segments(said.get("d", "")))
        return tuple(x for _, given in parts for x in given), "".join(letter for letter, _ in parts)
    if name in ("polyline", "polygon"):
        given = numbers(said.get("points", ""), "points")
        return given[: len(given) // 2 * 2], ""
    found = {key: number(said.get(key, "0"), f"{key} of {name}") for key in GEOMETRY[name]}
    if name == "rect":  # one radius stands for both
        found |= {"rx": found["rx"] or found["ry"], "ry": found["ry"] or found["rx"]}
    return tuple(max(0.0, x) if key in SIZES else x for key, x in found.items()), ""


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
    return {"currentcolor": "#000000", **dict(line.split() for line in lines if line[0] != "#")}  # type: ignore[arg-type]


__all__ = ["Drawing", "Shape", "clean", "colour", "hexed", "points", "reach", "read", "renderable", "written"]

"""The door for vector drawings: hostile SVG text in, a flat list of plain shapes out, or the reason why not.

Nothing of the text is handed on. It is parsed by expat with document types refused, so there are no entities and
nothing outside it is ever read; of elements and attributes those that draw plain shapes are known, all others are
refused (no style sheets, scripts, links, images, text, filters, uses, animations); numbers and colours are read
and bounded. What comes out is written anew by `written`: one frame of 100 × 100, one shape a line, groups
dissolved into their shapes. `read(written(read(text))) == read(text)`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from xml.parsers import expat

from qdkit.domains.paths import Matrix, number, numbers, product, rounded, segments, transform
from qdkit.domains.shapes import (
    CHOICES,
    FAR,
    GEOMETRY,
    PLAIN,
    SHARES,
    SIDE,
    SIZES,
    XMLNS,
    Drawing,
    Shape,
    colour,
    reach,
    written,
)

LONGEST = 40_000  # characters of a text
MOST = 200  # elements
DEEPEST = 16  # elements within each other
NUMBERS = 4_000  # of all shapes together

SILENT = ("title", "desc")  # said of a drawing and not drawn
IGNORED = re.compile(r"id|class|version|role|aria-[a-z]+|data-[\w-]+|shape-rendering|stroke-miterlimit")
ROOT = re.compile(r"width|height|x|y|preserveAspectRatio|baseProfile")


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

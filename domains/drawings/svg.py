"""Reads untrusted SVG text as a flat list of plain shapes, or refuses it with a reason.

No part of the text itself is used further. Expat parses it, and document types are refused, so
there are no entities and no reads outside the text. Only elements and attributes that draw plain
shapes are accepted; all others are refused (style sheets, scripts, links, images, text, filters,
uses, animations). Numbers and colours are parsed and bounded. `svg_text` writes the shapes in a
normal form: a frame of 100 × 100, one shape a line, groups dissolved into their shapes.
`read_svg(svg_text(read_svg(text))) == read_svg(text)`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from xml.parsers import expat

from qdkit.domains.drawings.path_data import (
    Matrix,
    absolute_segments,
    compose,
    parse_number,
    parse_numbers,
    parse_transform,
    svg_number,
)
from qdkit.domains.drawings.shapes import (
    CHOICES,
    FAR,
    GEOMETRY,
    SHARES,
    SIDE,
    SIZES,
    UNSTYLED,
    XMLNS,
    Drawing,
    Shape,
    parse_colour,
    reach,
    svg_text,
)

LONGEST_SVG = 40_000  # characters of a text
_MAX_ELEMENTS = 200
DEEPEST_NESTING = 16  # elements within each other
_MAX_NUMBERS = 4_000  # of all shapes together

_NOT_DRAWN = ("title", "desc")
_IGNORED = re.compile(
    r"id|class|version|role|aria-[a-z]+|data-[\w-]+|shape-rendering|stroke-miterlimit"
)
_ROOT = re.compile(r"width|height|x|y|preserveAspectRatio|baseProfile")


def read_svg(text: str) -> Drawing:
    """Returns the shapes of a drawing, from the back to the front.

    Raises ValueError, with the reason, if the text is no drawing.
    """
    if not isinstance(text, str):
        raise ValueError(f"a drawing is SVG text, not {type(text).__name__}")
    _check_length(text)
    return _read(text)


@lru_cache(256)  # a candidate is read several times: it is compared, evaluated and rendered
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
    _check_length(svg_text(tuple(reader.shapes)))  # the text in normal form can be longer
    return tuple(reader.shapes)


def _check_length(text: str) -> None:
    if len(text) > LONGEST_SVG:
        raise ValueError(
            f"it has {len(text):,} characters, and drawings have at most {LONGEST_SVG:,}"
        )


def normalise_svg(text: str) -> str:
    """Returns a drawing in normal form.

    Raises ValueError, with the reason, if the text is no drawing.
    """
    return svg_text(read_svg(text))


class _Reader:
    """Collects the shapes of a drawing from the events of an expat parser.

    `stack` holds the open elements: their names, and the transform and paint that others inherit.
    """

    def __init__(self) -> None:
        # the text is encoded in utf-8, whatever encoding it declares
        self.parser = expat.ParserCreate("utf-8", " ")
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
        if text.strip() and self.stack[-1][0] not in _NOT_DRAWN:
            raise ValueError(
                f"it holds text, {text.strip()!r:.40}, and drawings have shapes alone"
            )

    def _end(self, name: str) -> None:
        self.stack.pop()

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        """Opens an element: inherits its transform and paint, and draws a shape."""
        name = _svg_name(name, "element")
        attributes = {
            _svg_name(key, f"attribute of {name}"): value for key, value in attributes.items()
        }
        self.elements += 1
        if self.elements > _MAX_ELEMENTS or len(self.stack) >= DEEPEST_NESTING:
            raise ValueError(
                f"it has more than {_MAX_ELEMENTS} elements, "
                f"or more than {DEEPEST_NESTING} within each other"
            )
        if not self.stack:
            if name != "svg":
                raise ValueError(f"it begins with {name!r:.40} and not with svg")
            styles = _without_frame(attributes)
            self.stack.append((name, *_inherited(name, _view(attributes), UNSTYLED, styles)))
            return
        above, matrix, paint = self.stack[-1]
        if above not in ("svg", "g") or name not in (*GEOMETRY, *_NOT_DRAWN, "g"):
            raise ValueError(
                f"it has {name!r:.40} within {above}, "
                f"and drawings have {', '.join(GEOMETRY)} and g"
            )
        if name not in _NOT_DRAWN:
            matrix, paint = _inherited(name, matrix, paint, attributes)
        self.stack.append((name, matrix, paint))
        if name in GEOMETRY:
            self._draw(name, attributes, matrix, paint)

    def _draw(
        self, name: str, attributes: Mapping[str, str], matrix: Matrix, paint: Mapping[str, Any]
    ) -> None:
        """Adds a shape. Raises ValueError if there are too many numbers or it reaches too far."""
        numbers, commands = _geometry_of(name, attributes)
        self.numbers += len(numbers)
        if self.numbers > _MAX_NUMBERS:
            raise ValueError(f"its shapes have more than {_MAX_NUMBERS:,} numbers")
        a, b, c, d, e, f = map(svg_number, matrix)
        shape = Shape(name, numbers, commands, paint, (a, b, c, d, e, f))
        if (distance := reach(shape)) > FAR:
            raise ValueError(
                f"a {name} reaches {distance:,.0f} from the corner, "
                f"and drawings stay within {FAR:g}"
            )
        self.shapes.append(shape)


def _svg_name(name: str, what: str) -> str:
    """Returns a name without its namespace.

    Raises ValueError if it has a namespace other than that of SVG.
    """
    space, _, local = name.rpartition(" ")
    if space not in ("", XMLNS):
        raise ValueError(f"it has an {what} of another namespace, {name!r:.60}")
    return local


def _without_frame(attributes: Mapping[str, str]) -> Mapping[str, str]:
    """Returns the attributes of the root without those of its frame."""
    return {
        name: value
        for name, value in attributes.items()
        if name != "viewBox" and not _ROOT.fullmatch(name)
    }


def _view(attributes: Mapping[str, str]) -> Matrix:
    """Returns the transform of the frame of a drawing into that of `SIDE`, whole and centred."""
    if "viewBox" in attributes:
        view = parse_numbers(attributes["viewBox"], "viewBox")
    elif "width" in attributes and "height" in attributes:
        size = [parse_number(attributes[name], name) for name in ("width", "height")]
        view = (0.0, 0.0, *size)
    else:
        view = (0.0, 0.0, SIDE, SIDE)
    if len(view) != 4 or min(view[2:]) < 1:
        raise ValueError("viewBox is four numbers, the last two at least 1")
    x, y, width, height = view
    scale = SIDE / max(width, height)
    right, down = SIDE / 2 - scale * (x + width / 2), SIDE / 2 - scale * (y + height / 2)
    return (scale, 0.0, 0.0, scale, right, down)


def _inherited(
    name: str, matrix: Matrix, paint: Mapping[str, Any], attributes: Mapping[str, str]
) -> tuple[Matrix, Mapping[str, Any]]:
    """Returns the transform and the paint of an element.

    matrix, paint: those of the element around it.
    attributes: its own.

    Raises ValueError for an attribute that drawings do not know.
    """
    new: dict[str, Any] = {}
    opacity = 1.0
    for key, value in attributes.items():
        if key == "transform":
            matrix = compose(matrix, parse_transform(value))
        elif key in ("fill", "stroke"):
            new[key] = parse_colour(value, paint[key])
        elif key == "stroke-width":
            new[key] = max(0.0, parse_number(value, key))
        elif key in SHARES:
            new[key] = _share(value, key)
        elif key == "opacity":
            opacity = _share(value, key)
        elif key in CHOICES:
            if value.strip() not in CHOICES[key]:
                choices = ", ".join(CHOICES[key])
                raise ValueError(f"{key} is {value!r:.20}, and not one of {choices}")
            new[key] = value.strip()
        elif key not in GEOMETRY.get(name, ()) and not _IGNORED.fullmatch(key):
            raise ValueError(f"{name} has the attribute {key!r:.40}, which drawings do not know")
    paint = {**paint, **new}
    return matrix, {**paint, **{key: svg_number(opacity * paint[key]) for key in SHARES}}


def _share(text: str, what: str) -> float:
    """Returns a number, clipped to [0, 1]."""
    return min(1.0, max(0.0, parse_number(text, what)))


def _geometry_of(name: str, attributes: Mapping[str, str]) -> tuple[tuple[float, ...], str]:
    """Returns the numbers of a shape, and the commands of a path."""
    if name == "path":
        parts = list(absolute_segments(attributes.get("d", "")))
        commands = "".join(letter for letter, _ in parts)
        return tuple(x for _, numbers in parts for x in numbers), commands
    if name in ("polyline", "polygon"):
        points = parse_numbers(attributes.get("points", ""), "points")
        return points[: len(points) // 2 * 2], ""
    values = {
        key: parse_number(attributes.get(key, "0"), f"{key} of {name}") for key in GEOMETRY[name]
    }
    if name == "rect":  # a single radius is that of both axes
        values |= {"rx": values["rx"] or values["ry"], "ry": values["ry"] or values["rx"]}
    return tuple(max(0.0, x) if key in SIZES else x for key, x in values.items()), ""

"""Parses the numbers, path data and transforms of untrusted vector drawings within bounds.

A number is at most `_FARTHEST` from zero, so that sums and products of numbers stay far from
values at which floats or a renderer would overflow. Other text is refused with a ValueError that
quotes it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np

# (a, b, c, d, e, f): x' = ax + cy + e, y' = bx + dy + f
Matrix = tuple[float, float, float, float, float, float]
Segment = tuple[str, tuple[float, ...]]

_FARTHEST = 10_000.0  # of a number from zero
# The bound of the four factors of a transform: together with `_FARTHEST`, points stay within 2
# million units.
_LARGEST = 100.0
_CHAINED = 8  # functions in one transform
_PIECES = 20  # lines that replace a curve
_STEPS = np.linspace(0, 1, _PIECES + 1)[1:]
IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
# how many numbers a command has
COUNT = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "A": 7, "Z": 0}

# The pattern matches a number in one way only, without backtracking, so that the time for a long
# run of digits is linear in its length.
_NUMBER = re.compile(r"[\s,]*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)")
_FLAG = re.compile(r"[\s,]*([01])")
_COMMAND = re.compile(r"[\s,]*([MmLlHhVvCcSsQqTtAaZz])")
_FUNCTION = re.compile(r"[\s,]*(\w+)\s*\(([^()]*)\)")


def svg_number(x: float) -> float:
    """Rounds a number to four places and at most seven digits; there is no negative zero."""
    return float(f"{round(x, 4):.7g}") + 0.0


def finite_number(x: float, what: str = "a number", most: float = _FARTHEST) -> float:
    """Returns the number, rounded.

    Raises ValueError if it is not finite or farther than `most` from zero.
    """
    if not (math.isfinite(x) and abs(x) <= most):
        raise ValueError(f"{what} is {x:.6g}, and drawings have numbers up to ±{most:g}")
    return svg_number(x)


def parse_number(text: str, what: str = "a number") -> float:
    """Returns the number that a text is, with or without px.

    Raises ValueError for anything else: a percentage, another unit, a formula.
    """
    text = text.strip().removesuffix("px")
    match = _NUMBER.fullmatch(text) if len(text) <= 40 else None
    if match is None:
        raise ValueError(f"{what} is {text!r:.40}, which is not a plain number")
    return finite_number(float(match[1]), what)


def parse_numbers(text: str, what: str) -> tuple[float, ...]:
    """Returns the numbers of a text, which spaces or commas separate."""
    numbers, at = [], 0
    text = text.strip()
    while at < len(text):
        value, at = _next(_NUMBER, text, at, what)
        numbers.append(finite_number(float(value), what))
    return tuple(numbers)


def absolute_segments(text: str) -> Iterator[Segment]:
    """Yields the segments of path data, in absolute M, L, C, Q, A and Z only."""
    x = y = 0.0
    begin: tuple[float, ...] = (0.0, 0.0)
    control: tuple[float, ...] = (0.0, 0.0)
    before = ""
    for letter, numbers in _commands(text):
        command = letter.upper()
        dx, dy = (x, y) if letter.islower() else (0.0, 0.0)
        if command == "H":
            command, numbers = "L", (numbers[0] + dx, y)
        elif command == "V":
            command, numbers = "L", (x, numbers[0] + dy)
        elif command == "A":
            rx, ry, *flags, end_x, end_y = numbers
            numbers = (abs(rx), abs(ry), *flags, end_x + dx, end_y + dy)
        else:
            numbers = tuple(v + (dy if i % 2 else dx) for i, v in enumerate(numbers))
        if command in "ST":
            smooth = before in ("C" if command == "S" else "Q")
            mirrored = (2 * x - control[0], 2 * y - control[1]) if smooth else (x, y)
            command, numbers = ("C" if command == "S" else "Q"), (*mirrored, *numbers)
        numbers = tuple(finite_number(v, "a coordinate of a path") for v in numbers)
        if command == "Z":
            x, y = begin
        else:
            x, y = numbers[-2:]
        if command == "M":
            begin = (x, y)
        control = numbers[-4:-2] if command in "CQ" else (x, y)
        before = command
        yield command, numbers


def straight_segments(commands: str, numbers: tuple[float, ...]) -> Iterator[Segment]:
    """Yields a path of M, L, C, Q, A and Z in M, L and Z only, with `_PIECES` lines a curve.

    Drawings are rendered from these segments, as a renderer has failed on curves that cross the
    edge of the picture.
    """
    begin = here = np.zeros(2)
    at = 0
    for letter in commands:
        part, at = numbers[at : at + COUNT[letter]], at + COUNT[letter]
        if letter == "Z":
            here = begin
            yield "Z", ()
            continue
        end = np.array(part[-2:])
        if letter in "CQ":
            points = _bezier(np.array([here, *np.reshape(part, (-1, 2))]))
        elif letter == "A":
            points = _arc(here, part, end)
        else:
            points = end[None]
        for x, y in points.tolist():
            yield "M" if letter == "M" else "L", (svg_number(x), svg_number(y))
        begin, here = end if letter == "M" else begin, end


def _bezier(corners: np.ndarray) -> np.ndarray:
    """Returns points `[_PIECES, 2]` along a Bézier curve, without its beginning.

    corners: the control points, `[k, 2]`. The algorithm is that of de Casteljau (1959).
    """
    t = _STEPS[:, None, None]
    points = np.broadcast_to(corners, (_PIECES, *corners.shape))
    while points.shape[1] > 1:
        points = (1 - t) * points[:, :-1] + t * points[:, 1:]
    return points[:, 0]


def _arc(here: np.ndarray, part: tuple[float, ...], end: np.ndarray) -> np.ndarray:
    """Returns points `[_PIECES, 2]` along an elliptical arc (SVG 2, B.2.4), without its beginning.

    here, end: its two ends.
    part: the numbers of the command: radii, tilt in degrees, and the two flags.
    """
    radii, tilt, large, sweep = np.array(part[:2]), math.radians(part[2]), part[3] > 0, part[4] > 0
    if min(radii) <= 0 or (here == end).all():
        return end[None]
    turn = np.array([[math.cos(tilt), math.sin(tilt)], [-math.sin(tilt), math.cos(tilt)]])
    half = turn @ (here - end) / 2
    radii = radii * max(1.0, math.hypot(*(half / radii)))  # too small radii grow until they reach
    x, y = half / radii
    off = math.sqrt(max(0.0, 1 / (x * x + y * y) - 1)) * (1 if large != sweep else -1)
    centre = np.array([off * y, -off * x])  # of a circle of radius 1, in the frame of the ellipse
    first, last = (math.atan2(*(v - centre)[::-1]) for v in (np.array([x, y]), np.array([-x, -y])))
    angle = (last - first) % (2 * math.pi) - (0 if sweep else 2 * math.pi)
    angles = first + _STEPS * angle
    points = np.stack([np.cos(angles), np.sin(angles)], 1) + centre
    points = (points * radii) @ turn + (here + end) / 2
    points[-1] = end
    return points


def _commands(text: str) -> Iterator[Segment]:
    """Yields the commands as they are written, each with its own numbers."""
    text, at, letter = text.strip(), 0, ""
    while at < len(text):
        if match := _COMMAND.match(text, at):
            first, letter, at = letter == "", match[1], match.end()
            if first and letter not in "Mm":
                raise ValueError(f"a path begins with M, not with {letter}")
        elif letter in ("", "Z", "z"):
            raise ValueError(f"path data does not go on with {text[at : at + 20]!r}")
        numbers = []
        for i in range(COUNT[letter.upper()]):
            flag = letter in "Aa" and i in (3, 4)
            value, at = _next(_FLAG if flag else _NUMBER, text, at, "path data")
            numbers.append(finite_number(float(value), "a number of a path"))
        yield letter, tuple(numbers)
        letter = {"M": "L", "m": "l"}.get(letter, letter)  # points after a move are lines


def _next(pattern: re.Pattern[str], text: str, at: int, what: str) -> tuple[str, int]:
    """Returns the match of a pattern at `at`, and where it ends.

    Raises ValueError if the pattern does not match.
    """
    match = pattern.match(text, at)
    if match is None:
        raise ValueError(f"{what} has {text[at : at + 20]!r} where a number should be")
    return match[1], match.end()


def parse_transform(text: str) -> Matrix:
    """Returns the matrix of a list of translate, scale, rotate, skewX, skewY and matrix."""
    matrix, at, text = IDENTITY, 0, text.strip()
    for _ in range(_CHAINED):
        if at >= len(text):
            return matrix
        match = _FUNCTION.match(text, at)
        if match is None:
            break
        name, at = match[1], match.end()
        numbers = parse_numbers(match[2], f"transform {name!r:.20}")
        matrix = compose(matrix, _matrix_of(name, numbers))
    if at >= len(text):
        return matrix
    raise ValueError(
        f"transform has {text[at : at + 20]!r}: "
        f"up to {_CHAINED} of translate, scale, rotate, skew, matrix"
    )


def _matrix_of(name: str, numbers: tuple[float, ...]) -> Matrix:
    """Returns the matrix of a transform function. Raises ValueError for an unknown one."""
    match name, numbers:
        case "translate", (x, *rest) if len(rest) < 2:
            return (1.0, 0.0, 0.0, 1.0, x, rest[0] if rest else 0.0)
        case "scale", (x, *rest) if len(rest) < 2:
            return (x, 0.0, 0.0, rest[0] if rest else x, 0.0, 0.0)
        case "rotate", (angle,):
            return rotation(angle)
        case "rotate", (angle, x, y):
            return transform_about(rotation(angle), x, y)
        case "skewX", (angle,) if abs(angle) <= 80:
            return (1.0, 0.0, math.tan(math.radians(angle)), 1.0, 0.0, 0.0)
        case "skewY", (angle,) if abs(angle) <= 80:
            return (1.0, math.tan(math.radians(angle)), 0.0, 1.0, 0.0, 0.0)
        case "matrix", (a, b, c, d, e, f):
            return (a, b, c, d, e, f)
    raise ValueError(
        f"transform has {name[:20]!r} with {len(numbers)} numbers, which drawings do not know"
    )


def rotation(angle: float) -> Matrix:
    """Returns the rotation by degrees about the origin, clockwise as y points down."""
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return (c, s, -s, c, 0.0, 0.0)


def transform_about(matrix: Matrix, x: float, y: float) -> Matrix:
    """Returns a transform about the point (x, y) in the place of the origin."""
    return compose(compose((1.0, 0.0, 0.0, 1.0, x, y), matrix), (1.0, 0.0, 0.0, 1.0, -x, -y))


def compose(outer: Matrix, inner: Matrix) -> Matrix:
    """Returns the transform by `inner`, then by `outer`.

    Raises ValueError if the factors or the shift exceed their bounds.
    """
    a, b, c, d, e, f = outer
    u, v, w, x, y, z = inner
    product = (
        a * u + c * v,
        b * u + d * v,
        a * w + c * x,
        b * w + d * x,
        a * y + c * z + e,
        b * y + d * z + f,
    )
    if max(map(abs, product[:4])) > _LARGEST or max(map(abs, product[4:])) > _FARTHEST:
        raise ValueError(
            f"transforms grow beyond a factor of {_LARGEST:g} or a shift of {_FARTHEST:g}"
        )
    return product


def transform_points(matrix: Matrix, points: np.ndarray) -> np.ndarray:
    """Returns points `[n, 2]` after a transform."""
    a, b, c, d, e, f = matrix
    return points @ np.array([[a, b], [c, d]]) + (e, f)

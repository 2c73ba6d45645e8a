"""The numbers of vector drawings: path data and transforms, read from strangers' text within bounds.

A number is at most `FARTHEST` from zero, so that sums and products of what is read stay far from where
floats or a renderer would overflow. What does not fit is refused with a ValueError that says what it was.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np

Matrix = tuple[float, float, float, float, float, float]  # a b c d e f: x' = ax + cy + e, y' = bx + dy + f
Segment = tuple[str, tuple[float, ...]]

FARTHEST = 10_000.0
LARGEST = 100.0  # of the four factors of a transform; together with `FARTHEST`, 2 million units at most
CHAINED = 8  # functions in one transform
PIECES = 20  # lines of a curve
STEPS = np.linspace(0, 1, PIECES + 1)[1:]
IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
COUNT = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "A": 7, "Z": 0}  # numbers of a command

# One way to read each number and no way back, so that a long run of digits takes no longer than its length.
_NUMBER = re.compile(r"[\s,]*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)")
_FLAG = re.compile(r"[\s,]*([01])")
_COMMAND = re.compile(r"[\s,]*([MmLlHhVvCcSsQqTtAaZz])")
_FUNCTION = re.compile(r"[\s,]*(\w+)\s*\(([^()]*)\)")


def rounded(x: float) -> float:
    """A number as it is written: four places, seven digits at most, no negative zero."""
    return float(f"{round(x, 4):.7g}") + 0.0


def bounded(x: float, what: str = "a number", most: float = FARTHEST) -> float:
    """The number, rounded. Raises ValueError where it is not finite or farther than `most` from zero."""
    if not (math.isfinite(x) and abs(x) <= most):
        raise ValueError(f"{what} is {x:.6g}, and drawings have numbers up to ±{most:g}")
    return rounded(x)


def number(text: str, what: str = "a number") -> float:
    """A number, also with px behind it. Raises ValueError for anything else: a share, another unit, a formula."""
    text = text.strip().removesuffix("px")
    found = _NUMBER.fullmatch(text) if len(text) <= 40 else None
    if found is None:
        raise ValueError(f"{what} is {text!r:.40}, which is not a plain number")
    return bounded(float(found[1]), what)


def numbers(text: str, what: str) -> tuple[float, ...]:
    """Numbers with spaces or commas between them."""
    found, at = [], 0
    text = text.strip()
    while at < len(text):
        value, at = _next(_NUMBER, text, at, what)
        found.append(bounded(float(value), what))
    return tuple(found)


def segments(text: str) -> Iterator[Segment]:
    """Path data in absolute M, L, C, Q, A and Z alone."""
    x = y = 0.0
    begin: tuple[float, ...] = (0.0, 0.0)
    control: tuple[float, ...] = (0.0, 0.0)
    before = ""
    for letter, given in _commands(text):
        command = letter.upper()
        dx, dy = (x, y) if letter.islower() else (0.0, 0.0)
        if command == "H":
            command, given = "L", (given[0] + dx, y)
        elif command == "V":
            command, given = "L", (x, given[0] + dy)
        elif command == "A":
            given = (abs(given[0]), abs(given[1]), *given[2:5], given[5] + dx, given[6] + dy)
        else:
            given = tuple(v + (dy if i % 2 else dx) for i, v in enumerate(given))
        if command in "ST":
            smooth = before in ("C" if command == "S" else "Q")
            mirrored = (2 * x - control[0], 2 * y - control[1]) if smooth else (x, y)
            command, given = ("C" if command == "S" else "Q"), (*mirrored, *given)
        given = tuple(bounded(v, "a coordinate of a path") for v in given)
        if command == "Z":
            x, y = begin
        else:
            x, y = given[-2:]
        if command == "M":
            begin = (x, y)
        control = given[-4:-2] if command in "CQ" else (x, y)
        before = command
        yield command, given


def straight(commands: str, given: tuple[float, ...]) -> Iterator[Segment]:
    """A path of M, L, C, Q, A and Z in M, L and Z alone, with `PIECES` lines for each curve.

    What is rendered: a renderer's code for curves that cross the edge of the picture has been seen to fail.
    """
    begin = here = np.zeros(2)
    at = 0
    for letter in commands:
        part, at = given[at : at + COUNT[letter]], at + COUNT[letter]
        if letter == "Z":
            here = begin
            yield "Z", ()
            continue
        end = np.array(part[-2:])
        if letter in "CQ":
            ways = _bezier(np.array([here, *np.reshape(part, (-1, 2))]))
        elif letter == "A":
            ways = _arc(here, part, end)
        else:
            ways = end[None]
        for x, y in ways.tolist():
            yield "M" if letter == "M" else "L", (rounded(x), rounded(y))
        begin, here = end if letter == "M" else begin, end


def _bezier(corners: np.ndarray) -> np.ndarray:
    """Points `[PIECES, 2]` along the curve of the corners `[k, 2]` but for its beginning (de Casteljau 1959)."""
    t = STEPS[:, None, None]
    ways = np.broadcast_to(corners, (PIECES, *corners.shape))
    while ways.shape[1] > 1:
        ways = (1 - t) * ways[:, :-1] + t * ways[:, 1:]
    return ways[:, 0]


def _arc(here: np.ndarray, part: tuple[float, ...], end: np.ndarray) -> np.ndarray:
    """Points `[PIECES, 2]` along an elliptical arc but for its beginning (SVG 2, B.2.4)."""
    radii, tilt, large, sweep = np.array(part[:2]), math.radians(part[2]), part[3] > 0, part[4] > 0
    if min(radii) <= 0 or (here == end).all():
        return end[None]
    turn = np.array([[math.cos(tilt), math.sin(tilt)], [-math.sin(tilt), math.cos(tilt)]])
    half = turn @ (here - end) / 2
    radii = radii * max(1.0, math.hypot(*(half / radii)))  # too small ones grow until they reach
    x, y = half / radii
    off = math.sqrt(max(0.0, 1 / (x * x + y * y) - 1)) * (1 if large != sweep else -1)
    centre = np.array([off * y, -off * x])  # of a circle of radius 1, in the frame of the ellipse
    first, last = (math.atan2(*(v - centre)[::-1]) for v in (np.array([x, y]), np.array([-x, -y])))
    angle = (last - first) % (2 * math.pi) - (0 if sweep else 2 * math.pi)
    angles = first + STEPS * angle
    ways = np.stack([np.cos(angles), np.sin(angles)], 1) + centre
    ways = (ways * radii) @ turn + (here + end) / 2
    ways[-1] = end
    return ways


def _commands(text: str) -> Iterator[Segment]:
    """The commands as they are written, each with its own numbers."""
    text, at, letter = text.strip(), 0, ""
    while at < len(text):
        if found := _COMMAND.match(text, at):
            first, letter, at = letter == "", found[1], found.end()
            if first and letter not in "Mm":
                raise ValueError(f"a path begins with M, not with {letter}")
        elif letter in ("", "Z", "z"):
            raise ValueError(f"path data does not go on with {text[at : at + 20]!r}")
        given = []
        for i in range(COUNT[letter.upper()]):
            flag = letter in "Aa" and i in (3, 4)
            value, at = _next(_FLAG if flag else _NUMBER, text, at, "path data")
            given.append(bounded(float(value), "a number of a path"))
        yield letter, tuple(given)
        letter = {"M": "L", "m": "l"}.get(letter, letter)  # what follows a move is drawn


def _next(pattern: re.Pattern[str], text: str, at: int, what: str) -> tuple[str, int]:
    found = pattern.match(text, at)
    if found is None:
        raise ValueError(f"{what} has {text[at : at + 20]!r} where a number should be")
    return found[1], found.end()


def transform(text: str) -> Matrix:
    """The matrix of a list of translate, scale, rotate, skewX, skewY and matrix."""
    made, at, text = IDENTITY, 0, text.strip()
    for _ in range(CHAINED):
        if at >= len(text):
            return made
        found = _FUNCTION.match(text, at)
        if found is None:
            break
        made, at = product(made, _one(found[1], numbers(found[2], f"transform {found[1]!r:.20}"))), found.end()
    if at >= len(text):
        return made
    raise ValueError(f"transform has {text[at : at + 20]!r}: up to {CHAINED} of translate, scale, rotate, skew, matrix")


def _one(name: str, given: tuple[float, ...]) -> Matrix:
    match name, given:
        case "translate", (x, *rest) if len(rest) < 2:
            return (1.0, 0.0, 0.0, 1.0, x, rest[0] if rest else 0.0)
        case "scale", (x, *rest) if len(rest) < 2:
            return (x, 0.0, 0.0, rest[0] if rest else x, 0.0, 0.0)
        case "rotate", (angle,):
            return rotation(angle)
        case "rotate", (angle, x, y):
            return about(rotation(angle), x, y)
        case "skewX", (angle,) if abs(angle) <= 80:
            return (1.0, 0.0, math.tan(math.radians(angle)), 1.0, 0.0, 0.0)
        case "skewY", (angle,) if abs(angle) <= 80:
            return (1.0, math.tan(math.radians(angle)), 0.0, 1.0, 0.0, 0.0)
        case "matrix", (a, b, c, d, e, f):
            return (a, b, c, d, e, f)
    raise ValueError(f"transform has {name[:20]!r} with {len(given)} numbers, which drawings do not know")


def rotation(angle: float) -> Matrix:
    """By degrees about the origin, clockwise as y points down."""
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return (c, s, -s, c, 0.0, 0.0)


def about(matrix: Matrix, x: float, y: float) -> Matrix:
    """A transform about another point than the origin."""
    return product(product((1.0, 0.0, 0.0, 1.0, x, y), matrix), (1.0, 0.0, 0.0, 1.0, -x, -y))


def product(outer: Matrix, inner: Matrix) -> Matrix:
    """First `inner`, then `outer`. Raises ValueError where the factors or the shift grow beyond bounds."""
    a, b, c, d, e, f = outer
    u, v, w, x, y, z = inner
    made = (a * u + c * v, b * u + d * v, a * w + c * x, b * w + d * x, a * y + c * z + e, b * y + d * z + f)
    if max(map(abs, made[:4])) > LARGEST or max(map(abs, made[4:])) > FARTHEST:
        raise ValueError(f"transforms grow beyond a factor of {LARGEST:g} or a shift of {FARTHEST:g}")
    return made


def moved(matrix: Matrix, points: np.ndarray) -> np.ndarray:
    """Points `[n, 2]` after a transform."""
    a, b, c, d, e, f = matrix
    return points @ np.array([[a, b], [c, d]]) + (e, f)

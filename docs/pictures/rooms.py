"""Draws docs/pictures/rooms.svg: the rooms of the package on their floors.

    python3 docs/pictures/rooms.py

The floors are those of tests/test_house.py, which checks that the picture is up to date.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
WIDTH, HEIGHT, GAP, LEFT, TOP = 112, 44, 12, 204, 16
COLOURS = (
    "#e8eef7",
    "#dbe7f3",
    "#cfdff0",
    "#c2d8ec",
    "#b6d0e9",
    "#a9c9e5",
    "#9dc1e2",
    "#90badf",
    "#84b2dc",
)
SUBJECTS = (
    "values, elites, records",
    "geometries, models, programs",
    "numbers, what steers",
    "judges, operators, runs",
    "problems, pictures, checks",
    "people",
    "the loop",
    "comparisons",
    "the command line",
)


def picture(floors: tuple[set[str], ...]) -> str:
    """The SVG text: the lowest floor at the bottom, the rooms of a floor side by side."""
    widest = max(map(len, floors))
    width = LEFT + widest * (WIDTH + GAP) + GAP
    height = 2 * TOP + len(floors) * (HEIGHT + GAP) - GAP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="14">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for floor, rooms in enumerate(floors):
        y = TOP + (len(floors) - 1 - floor) * (HEIGHT + GAP)
        middle = y + HEIGHT / 2 + 5
        lines.append(
            f'<text x="12" y="{middle:g}" font-size="12" fill="#555">'
            f"{floor + 1}  {SUBJECTS[floor]}</text>"
        )
        for place, room in enumerate(sorted(rooms)):
            x = LEFT + GAP + place * (WIDTH + GAP)
            lines.append(
                f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" '
                f'fill="{COLOURS[floor]}" stroke="#6b8cae"/>'
            )
            lines.append(
                f'<text x="{x + WIDTH / 2:g}" y="{middle:g}" text-anchor="middle">{room}</text>'
            )
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parents[1]))
    from tests.test_house import FLOORS

    (HERE / "rooms.svg").write_text(picture(FLOORS), encoding="utf-8")

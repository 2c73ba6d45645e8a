"""Measures unselected drawings, and how the renderer bears extreme ones: writes README.md.

    python results/drawings/measure.py

Draws chains of unselected changes from the seeds for the bounds of the axis `detail`, and hostile
drawings at the limits of the door for the time of a picture and for failures of the renderer.
Writes `README.md` beside it.
"""

from __future__ import annotations

import platform
import time
from pathlib import Path

import numpy as np

from qdkit.domains.drawings.drawings import seed_drawings
from qdkit.domains.drawings.picture_measures import drawing_png, measure_drawing
from qdkit.domains.drawings.shapes import renderable, svg_text
from qdkit.domains.drawings.sketching import mutate_drawing
from qdkit.domains.drawings.svg import LONGEST_SVG, read_svg

CHAINS, LONG, HOSTILE, SEED = 150, 20, 1000, 1
KINDS = ("circle", "ellipse", "rect", "line", "polygon", "path", "path")
NUMBERS = {"circle": 3, "ellipse": 4, "rect": 6, "line": 4}
NAMES = {
    "circle": ("cx", "cy", "r"),
    "ellipse": ("cx", "cy", "rx", "ry"),
    "rect": ("x", "y", "width", "height", "rx", "ry"),
    "line": ("x1", "y1", "x2", "y2"),
}


def unselected(random: np.random.Generator) -> np.ndarray:
    """Returns the detail of drawings along chains of unselected changes."""
    starts, found = [read_svg(text) for text in seed_drawings()], []
    for chain in range(CHAINS):
        drawing = starts[chain % len(starts)]
        for _ in range(LONG):
            drawing = mutate_drawing(drawing, starts[int(random.integers(len(starts)))], random)
            found.append(measure_drawing(svg_text(drawing)).detail)
    return np.array(found)


def hostile(random: np.random.Generator) -> str:
    """Returns a drawing of extreme numbers, as many as the reader permits."""
    far, size = (
        float(random.choice([999, 450, 300, 100])),
        float(random.choice([1e-4, 1, 50, 300])),
    )
    shapes, each = int(random.choice([1, 5, 50, 190])), 0
    each = max(8, 3900 // shapes)
    number = lambda: float(
        random.choice([random.uniform(-far, far), far, -far, 0, 1e-4, 1e-3, 0.5, 50])
    )
    lines = [
        _hostile(random, str(random.choice(KINDS)), number, each, size) for _ in range(shapes)
    ]
    while sum(map(len, lines)) > LONGEST_SVG - 100:
        lines.pop()
    return f"<svg>{''.join(lines)}</svg>"


def _hostile(random, kind, number, each, size) -> str:
    if kind in NUMBERS:
        said = " ".join(f'{name}="{number():.5g}"' for name in NAMES[kind])
    elif kind == "polygon":
        said = f'points="{" ".join(f"{number():.5g}" for _ in range(each // 2 * 2 - 2))}"'
    else:
        said, left = "M0 0", each - 8
        while left > 0:
            letter = str(random.choice(list("LCQA")))
            count = {"L": 2, "C": 6, "Q": 4, "A": 2}[letter]
            arc = (
                f"{number() / 4:.5g} {number() / 4:.5g} {number():.5g} "
                f"{random.integers(2)} {random.integers(2)} "
            )
            said += (
                letter
                + (arc if letter == "A" else "")
                + " ".join(f"{number():.5g}" for _ in range(count))
            )
            left -= count
        said = f'd="{said}"'
    ends = random.choice(["butt", "round", "square"]), random.choice(["miter", "round", "bevel"])
    stroke = (
        f'stroke="#00f" stroke-width="{size:g}" '
        f'stroke-linecap="{ends[0]}" stroke-linejoin="{ends[1]}"'
    )
    factor = float(random.choice([0.01, 0.3, 1, 3]))
    matrix = " ".join(f"{x:.4g}" for x in (*random.uniform(-factor, factor, 4), 0, 0))
    turned = f'transform="matrix({matrix})"' if random.random() < 0.3 else ""
    rule = random.choice(["nonzero", "evenodd"])
    return f'<{kind} {said} {stroke} fill-rule="{rule}" opacity="0.5" {turned}/>'


def details() -> str:
    """Returns the part of the page on the details of unselected drawings."""
    detail = unselected(np.random.default_rng(SEED))
    rows = "".join(
        f"| {q:.0%} | {np.quantile(detail, q):.2f} |\n" for q in (0.01, 0.05, 0.5, 0.95, 0.99)
    )
    return f"""## The axis `detail`

{CHAINS} chains of {LONG} unselected changes from the seeds, {len(detail):,} drawings. The axis of
the domain reaches from the 5 % quantile to the 99 % quantile: little is lost below, where pictures
are nearly blank, and selection leads upward.

| share of drawings with less | bits a pixel |
|--:|--:|
{rows}"""


def renders() -> str:
    """Returns the part of the page on the rendering of hostile drawings."""
    random = np.random.default_rng(SEED)
    refused, failed, spent, longest = 0, 0, [], 0
    for _ in range(HOSTILE):
        text = hostile(random)
        try:
            safe = renderable(read_svg(text))
        except ValueError:
            refused += 1
            continue
        longest, started = max(longest, len(safe)), time.process_time()
        try:
            drawing_png(text)
        except ValueError:
            failed += 1
        spent.append(time.process_time() - started)
    middle, most = np.quantile(spent, (0.5, 0.99)), max(spent)
    return f"""## Hostile drawings

{HOSTILE:,} drawings of extreme numbers, at the limits of the door: {refused:,} were refused with a
reason, {len(spent):,} came to the renderer, and {failed} failed there. A picture took
{middle[0]:.3f} CPU seconds in the median, {middle[1]:.3f} at the 99 % quantile and {most:.3f} at
most; the longest text that the renderer was handed had {longest:,} characters.
"""


def main() -> None:
    """Writes the page."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    machine = f"one core of {platform.machine()}, {python}"
    head = (
        "# Drawings: what they look like, and what they cost\n\n"
        f"Written by `measure.py`: seed {SEED}, {machine}.\n"
    )
    (Path(__file__).parent / "README.md").write_text(
        "\n".join([head, details(), renders()]), encoding="utf-8"
    )


if __name__ == "__main__":
    main()

"""What drawings look like when nothing selects them, and how the renderer bears the worst that the door lets through.

    python results/drawings/measure.py

Draws chains of unselected changes from the seeds for the bounds of the axis `detail`, and hostile drawings at the
limits of the door for the time of a picture and for failures of the renderer.
"""

from __future__ import annotations

import platform
import time

import numpy as np

from qdkit.domains.drawings import openings
from qdkit.domains.looks import looked, png, renderer
from qdkit.domains.shapes import renderable, written
from qdkit.domains.sketching import changed
from qdkit.domains.svg import LONGEST, clean, read

CHAINS, LONG, HOSTILE = 150, 20, 4000
KINDS = ("circle", "ellipse", "rect", "line", "polygon", "path", "path")
NUMBERS = {"circle": 3, "ellipse": 4, "rect": 6, "line": 4}
NAMES = {
    "circle": ("cx", "cy", "r"),
    "ellipse": ("cx", "cy", "rx", "ry"),
    "rect": ("x", "y", "width", "height", "rx", "ry"),
    "line": ("x1", "y1", "x2", "y2"),
}


def unselected(random: np.random.Generator) -> np.ndarray:
    """The detail of drawings along chains of changes that nobody selects."""
    starts, found = [read(text) for text in openings()], []
    for chain in range(CHAINS):
        drawing = starts[chain % len(starts)]
        for _ in range(LONG):
            drawing = changed(drawing, starts[int(random.integers(len(starts)))], random)
            found.append(looked(written(drawing)).detail)
    return np.array(found)


def hostile(random: np.random.Generator) -> str:
    """A drawing of extreme numbers, as many as there may be."""
    far, size = float(random.choice([999, 450, 300, 100])), float(random.choice([1e-4, 1, 50, 300]))
    shapes, each = int(random.choice([1, 5, 50, 190])), 0
    each = max(8, 3900 // shapes)
    number = lambda: float(random.choice([random.uniform(-far, far), far, -far, 0, 1e-4, 1e-3, 0.5, 50]))
    lines = [_hostile(random, str(random.choice(KINDS)), number, each, size) for _ in range(shapes)]
    while sum(map(len, lines)) > LONGEST - 100:
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
            arc = f"{number() / 4:.5g} {number() / 4:.5g} {number():.5g} {random.integers(2)} {random.integers(2)} "
            said += letter + (arc if letter == "A" else "") + " ".join(f"{number():.5g}" for _ in range(count))
            left -= count
        said = f'd="{said}"'
    ends = random.choice(["butt", "round", "square"]), random.choice(["miter", "round", "bevel"])
    stroke = f'stroke="#00f" stroke-width="{size:g}" stroke-linecap="{ends[0]}" stroke-linejoin="{ends[1]}"'
    factor = float(random.choice([0.01, 0.3, 1, 3]))
    matrix = " ".join(f"{x:.4g}" for x in (*random.uniform(-factor, factor, 4), 0, 0))
    turned = f'transform="matrix({matrix})"' if random.random() < 0.3 else ""
    rule = random.choice(["nonzero", "evenodd"])
    return f'<{kind} {said} {stroke} fill-rule="{rule}" opacity="0.5" {turned}/>'


def main() -> None:
    """Prints the figures."""
    random = np.random.default_rng(1)
    detail = unselected(random)
    shown = ", ".join(f"{q:.0%} {np.quantile(detail, q):.2f}" for q in (0.01, 0.05, 0.5, 0.95, 0.99))
    print(f"detail of {len(detail):,} unselected drawings: {shown}")
    renderer()
    refused, spent, longest = 0, [], ""
    for _ in range(HOSTILE):
        text = hostile(random)
        try:
            clean(text)
        except ValueError:
            refused += 1
            continue
        started = time.process_time()
        png(text)
        spent.append(time.process_time() - started)
        longest = max(longest, renderable(read(text)), key=len)
    at = np.quantile(spent, (0.5, 0.99, 1.0))
    print(f"{HOSTILE:,} hostile drawings: {refused:,} refused, {len(spent):,} rendered, none failed;", end=" ")
    print(f"CPU seconds of a picture, read and rendered: median {at[0]:.3f}, 99% {at[1]:.3f}, most {at[2]:.3f}")
    print(f"the longest text handed to the renderer: {len(longest):,} characters")
    print(f"seed 1, {platform.machine()}, {platform.python_implementation()} {platform.python_version()}")


if __name__ == "__main__":
    main()

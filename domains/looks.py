"""What can be measured in a picture: how much is drawn and where, in which colours, how even and how intricate.

Stock measures of an image, each a plain number with a formula. They see forms and colours, and not what a
picture shows.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from qdkit.domains.shapes import renderable
from qdkit.domains.svg import read

SIZE = 128  # pixels of a side
COARSE = 64  # of the picture that is compressed and mirrored: below it lie only the seams of shapes
APART = 24.0  # of 255, in any channel: what differs more from the ground is drawn
CHROMA = 12.0  # of 255: a colour with less is a grey
GLARING, BLACK = 225, 0.08  # of 255, a chroma; of 1, a lightness
HUES = ("red", "orange", "yellow", "green", "teal", "blue", "violet", "pink")
HUE_ENDS = (16.0, 42.0, 68.0, 160.0, 198.0, 250.0, 290.0, 342.0)  # degrees of HSV at which the next name begins
GREY = "grey"


@lru_cache(1024)
def png(text: str) -> bytes:
    """A drawing as the bytes of a PNG of 128 × 128 pixels on white: what is seen of it, safe to hand on.

    It is the cleaned drawing that is rendered. Raises ValueError, with the reason, for a text that is no drawing.
    """
    safe = renderable(read(text))
    frame = {"width": SIZE, "height": SIZE, "background": "#ffffff", "skip_system_fonts": True}
    with _Panics():
        return bytes(renderer()(svg_string=safe, **frame))


def renderer() -> Callable[..., Any]:
    """The function that renders SVG. Raises RuntimeError, with the command that installs it, where there is none."""
    try:
        from resvg_py import svg_to_bytes
    except ImportError:
        raise RuntimeError(
            "drawings are rendered by resvg, which is not installed: `pip install 'qdkit[draw]'`"
        ) from None
    return svg_to_bytes


class _Panics:
    """Makes an error of this candidate out of a panic of the renderer, which is no `Exception`."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if kind is not None and kind.__name__ == "PanicException":
            raise ValueError(f"the renderer failed on it: {error}") from None


def pixels(text: str) -> np.ndarray:
    """The picture of a drawing, uint8 `[128, 128, 3]`."""
    from matplotlib.image import imread

    return np.round(255 * imread(io.BytesIO(png(text)), format="png")[:, :, :3]).astype(np.uint8)


@dataclass(frozen=True)
class Look:
    """What was measured in a picture.

    ink: the share of pixels that differ from the ground, which is the commonest colour along the border.
    margin: the share of the border that is ground.
    offset: how far the centre of the ink is from the middle of the picture, as a share of half its side.
    symmetry: `1 - |p - p'| / |p - q|`, the mean differences of a pixel to its mirror image left and right, and to
      any pixel: 1 where both halves mirror each other, about 0 where they have nothing to do with each other.
    detail: the bits that the coarse picture takes compressed by zlib, in 16 levels a channel, for each of its pixels.
    edges: the share of pixels at which the lightness steps by more than `APART`.
    contrast: the standard deviation of the lightness, of 1 at most ½.
    colours: how many colours there are in effect, `1 / Σ share²` over 8 levels a channel (Simpson 1949, Hill 1973).
    colourfulness: of Hasler & Süsstrunk (2003): about 0 for none, 15 slight, 45 averagely, 82 highly, 109 extremely.
    hue: the name of the commonest hue by chroma, or grey.
    harmony: how much the hues are of one family or of two opposite ones: the larger of the mean resultant lengths
      of the hues and of the doubled hues, weighted by chroma; 1 where there is no colour to clash.
    glare: the share of pixels of nearly full chroma, or nearly black.
    """

    ink: float
    margin: float
    offset: float
    symmetry: float
    detail: float
    edges: float
    contrast: float
    colours: float
    colourfulness: float
    hue: str
    harmony: float
    glare: float


@lru_cache(1024)
def looked(text: str) -> Look:
    """What the picture of a drawing looks like. Raises as `png` does."""
    return measured(pixels(text))


def measured(image: np.ndarray) -> Look:
    """What a picture looks like, uint8 `[h, w, 3]` with sides that are multiples of `COARSE`."""
    seen = image.astype(float)
    border = np.concatenate([seen[0], seen[-1], seen[1:-1, 0], seen[1:-1, -1]])
    ground = _commonest(border)
    drawn = np.abs(seen - ground).max(2) > APART
    light = seen @ (0.299, 0.587, 0.114) / 255
    steps = np.maximum(np.abs(np.diff(light, axis=0))[:, :-1], np.abs(np.diff(light, axis=1))[:-1])
    coarse = _coarse(seen)
    hue, harmony = _hues(seen[drawn])
    return Look(
        ink=float(drawn.mean()),
        margin=float((np.abs(border - ground).max(1) <= APART).mean()),
        offset=_offset(drawn),
        symmetry=_symmetry(coarse),
        detail=8 * len(zlib.compress((coarse // 16).astype(np.uint8).tobytes(), 9)) / COARSE**2,
        edges=float((steps > APART / 255).mean()),
        contrast=float(light.std()),
        colours=_colours(image),
        colourfulness=_colourfulness(seen),
        hue=hue,
        harmony=harmony,
        glare=float(((np.ptp(image, axis=2) > GLARING) | (light < BLACK)).mean()),
    )


def _commonest(colours: np.ndarray) -> np.ndarray:
    """Of colours `[n, 3]`, the middle of those that share the commonest of 8 levels a channel."""
    levels = colours // 32 @ (64, 8, 1)
    _, place, counts = np.unique(levels, return_inverse=True, return_counts=True)
    return np.median(colours[place == counts.argmax()], axis=0)


def _coarse(seen: np.ndarray) -> np.ndarray:
    height, width = (side // COARSE for side in seen.shape[:2])
    return seen.reshape(COARSE, height, COARSE, width, 3).mean((1, 3))


def _offset(drawn: np.ndarray) -> float:
    rows, columns = np.nonzero(drawn)
    if not len(rows):
        return 0.0
    middle = (np.array([rows.mean(), columns.mean()]) + 0.5) / drawn.shape
    return float(2 * np.hypot(*(middle - 0.5)))


def _symmetry(seen: np.ndarray) -> float:
    """1 for one plain colour."""
    to_mirror = np.abs(seen - seen[:, ::-1]).mean()
    ranked = np.sort(seen.reshape(-1, 3), axis=0)
    n = len(ranked)
    to_any = (2 * (2 * np.arange(1, n + 1) - n - 1) @ ranked / n**2).mean()  # Gini's mean difference
    return float(1 - to_mirror / to_any) if to_any > 0 else 1.0


def _colours(image: np.ndarray) -> float:
    _, counts = np.unique(image.reshape(-1, 3).astype(int) // 32 @ (64, 8, 1), return_counts=True)
    return float(1 / np.square(counts / counts.sum()).sum())


def _colourfulness(seen: np.ndarray) -> float:
    """`√(σ²rg + σ²yb) + 0.3 √(μ²rg + μ²yb)` with rg = R - G and yb = (R + G)/2 - B."""
    red, green, blue = np.moveaxis(seen, 2, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def _hues(colours: np.ndarray) -> tuple[str, float]:
    """The commonest hue of colours `[n, 3]` and their harmony."""
    chroma = np.ptp(colours, axis=1) if len(colours) else np.zeros(0)
    strong = chroma > CHROMA
    if chroma[strong].sum() <= CHROMA * max(1, len(colours)) / 4:
        return GREY, 1.0
    colours, chroma = colours[strong], chroma[strong]
    red, green, blue = colours.T
    sector = np.where(
        colours.argmax(1) == 0,
        (green - blue) / chroma % 6,
        np.where(colours.argmax(1) == 1, (blue - red) / chroma + 2, (red - green) / chroma + 4),
    )
    degrees = 60 * sector
    name = np.searchsorted(HUE_ENDS, degrees, side="right") % len(HUES)
    commonest = HUES[int(np.bincount(name, chroma, len(HUES)).argmax())]
    turn = np.exp(1j * np.radians(degrees))
    return commonest, float(max(abs(chroma @ turn), abs(chroma @ turn**2)) / chroma.sum())


def composition(text: str) -> float:
    """From 1 to 10: how closely a drawing keeps what is taught of composition, by eight rules of thumb.

    `1 + 9 (Π rule)^½`, each rule from 0 to 1 with 1 where it is kept: ink covers a third to two thirds; its
    centre is that of the picture; both halves answer each other; the border is left free; light and dark differ;
    four to eight colours are there in effect, of one family of hues or two opposite ones, and few are glaring or
    black. It does not know what a drawing shows, nor whether it is any good: it keeps a search without a model away
    from what is blank, cut off, lopsided or garish, and leads it to ornaments.
    """
    look = looked(text)
    rules = (
        _plateau(look.ink, 0.0, 0.33, 0.67, 1.0),
        1 - min(1.0, 2 * look.offset),
        0.4 + 0.6 * max(0.0, look.symmetry),
        look.margin,
        min(1.0, look.contrast / 0.2),
        _plateau(look.colours, 1.0, 4.0, 8.0, 16.0),
        look.harmony,
        1 - look.glare,
    )
    return 1 + 9 * math.sqrt(math.prod(rules))


def _plateau(x: float, none: float, low: float, high: float, over: float) -> float:
    """1 from low to high, falling to 0 at `none` and at `over`."""
    return float(np.interp(x, (none, low, high, over), (0.0, 1.0, 1.0, 0.0)))

"""Measures of a picture: the share and place of ink, colours, symmetry and detail.

These are standard measures of an image, each a number with a formula. They depend on forms and
colours, not on the subject of a picture.
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

from qdkit.core.extras import install_command
from qdkit.domains.drawings.shapes import renderable
from qdkit.domains.drawings.svg import read_svg

_SIZE = 128  # pixels along a side
# Pixels along a side of the coarse picture, which is compressed and mirrored: a finer one adds
# only the seams of shapes.
_COARSE = 64
_APART = 24.0  # of 255, in any channel: a pixel that differs more from the ground is ink
_CHROMA = 12.0  # of 255: a colour with less chroma is grey
_GLARING, _BLACK = 225, 0.08  # a chroma of 255, and a lightness of 1
HUES = ("red", "orange", "yellow", "green", "teal", "blue", "violet", "pink")
# The degrees of HSV at which the next name begins.
_HUE_ENDS = (16.0, 42.0, 68.0, 160.0, 198.0, 250.0, 290.0, 342.0)
GREY = "grey"


@lru_cache(1024)
def drawing_png(text: str) -> bytes:
    """Renders a drawing as the bytes of a PNG of 128 × 128 pixels on white, which is safe to show.

    The normalised drawing is rendered. Raises ValueError, with the reason, if the text is no
    drawing.
    """
    safe = renderable(read_svg(text))
    frame = {"width": _SIZE, "height": _SIZE, "background": "#ffffff", "skip_system_fonts": True}
    with _PanicAsError():
        return bytes(renderer()(svg_string=safe, **frame))


def renderer() -> Callable[..., Any]:
    """Returns the function that renders SVG.

    Raises RuntimeError, with the command that installs it, if it is not installed.
    """
    try:
        from resvg_py import svg_to_bytes
    except ImportError:
        raise RuntimeError(
            f"drawings are rendered by resvg, which is not installed: `{install_command('draw')}`"
        ) from None
    return svg_to_bytes


class _PanicAsError:
    """Turns a panic of the renderer, which is no `Exception`, into a ValueError."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: Any
    ) -> None:
        if kind is not None and kind.__name__ == "PanicException":
            raise ValueError(f"the renderer failed on it: {error}") from None


def pixels(text: str) -> np.ndarray:
    """Returns the picture of a drawing, uint8 `[128, 128, 3]`."""
    from matplotlib.image import imread

    image = imread(io.BytesIO(drawing_png(text)), format="png")[:, :, :3]
    return np.round(255 * image).astype(np.uint8)


@dataclass(frozen=True)
class _Measures:
    """The measures of a picture.

    ink: the share of pixels that differ from the ground, which is the commonest colour along the
      border.
    margin: the share of the border that is ground.
    offset: the distance of the centre of the ink from the middle of the picture, as a share of
      half its side.
    symmetry: `1 - |p - p'| / |p - q|`, with the mean differences of a pixel from its mirror image
      on the other side, and from any pixel: 1 if the halves mirror each other, about 0 if they are
      unrelated.
    detail: the size in bits of the coarse picture compressed by zlib, in 16 levels a channel,
      divided by the number of its pixels.
    edges: the share of pixels at which the lightness changes by more than `_APART`.
    contrast: the standard deviation of the lightness (0 to 1), at most ½.
    colours: the effective number of colours, `1 / Σ share²` over 8 levels a channel (Simpson 1949,
      Hill 1973).
    colourfulness: of Hasler & Süsstrunk (2003): about 0 for not colourful, 15 slightly, 45
      averagely, 82 highly, 109 extremely.
    hue: the name of the commonest hue by chroma, or grey.
    harmony: how far the hues belong to one family or to two opposite ones: the larger of the mean
      resultant lengths of the hues and of the doubled hues, weighted by chroma; 1 if there are no
      colours.
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
def measure_drawing(text: str) -> _Measures:
    """Measures the picture of a drawing. Raises the errors of `drawing_png`."""
    return measure_pixels(pixels(text))


def measure_pixels(image: np.ndarray) -> _Measures:
    """Measures a picture, uint8 `[h, w, 3]` with sides that are multiples of `_COARSE`."""
    rgb = image.astype(float)
    border = np.concatenate([rgb[0], rgb[-1], rgb[1:-1, 0], rgb[1:-1, -1]])
    ground = _commonest(border)
    ink = np.abs(rgb - ground).max(2) > _APART
    light = rgb @ (0.299, 0.587, 0.114) / 255
    steps = np.maximum(np.abs(np.diff(light, axis=0))[:, :-1], np.abs(np.diff(light, axis=1))[:-1])
    coarse = _coarse(rgb)
    hue, harmony = _hues(rgb[ink])
    return _Measures(
        ink=float(ink.mean()),
        margin=float((np.abs(border - ground).max(1) <= _APART).mean()),
        offset=_offset(ink),
        symmetry=_symmetry(coarse),
        detail=8 * len(zlib.compress((coarse // 16).astype(np.uint8).tobytes(), 9)) / _COARSE**2,
        edges=float((steps > _APART / 255).mean()),
        contrast=float(light.std()),
        colours=_colours(image),
        colourfulness=_colourfulness(rgb),
        hue=hue,
        harmony=harmony,
        glare=float(((np.ptp(image, axis=2) > _GLARING) | (light < _BLACK)).mean()),
    )


def _commonest(colours: np.ndarray) -> np.ndarray:
    """Returns the median of the colours `[n, 3]` in the commonest of 8 levels a channel."""
    levels = colours // 32 @ (64, 8, 1)
    _, place, counts = np.unique(levels, return_inverse=True, return_counts=True)
    return np.median(colours[place == counts.argmax()], axis=0)


def _coarse(rgb: np.ndarray) -> np.ndarray:
    """Returns the picture in `_COARSE` × `_COARSE` pixels."""
    height, width = (side // _COARSE for side in rgb.shape[:2])
    return rgb.reshape(_COARSE, height, _COARSE, width, 3).mean((1, 3))


def _offset(ink: np.ndarray) -> float:
    rows, columns = np.nonzero(ink)
    if not len(rows):
        return 0.0
    middle = (np.array([rows.mean(), columns.mean()]) + 0.5) / ink.shape
    return float(2 * np.hypot(*(middle - 0.5)))


def _symmetry(rgb: np.ndarray) -> float:
    """Returns the symmetry of a picture, 1 if it has a single colour."""
    to_mirror = np.abs(rgb - rgb[:, ::-1]).mean()
    ranked = np.sort(rgb.reshape(-1, 3), axis=0)
    n = len(ranked)
    # Gini's mean difference
    to_any = (2 * (2 * np.arange(1, n + 1) - n - 1) @ ranked / n**2).mean()
    return float(1 - to_mirror / to_any) if to_any > 0 else 1.0


def _colours(image: np.ndarray) -> float:
    _, counts = np.unique(image.reshape(-1, 3).astype(int) // 32 @ (64, 8, 1), return_counts=True)
    return float(1 / np.square(counts / counts.sum()).sum())


def _colourfulness(rgb: np.ndarray) -> float:
    """Returns `√(σ²rg + σ²yb) + 0.3 √(μ²rg + μ²yb)` with rg = R - G and yb = (R + G)/2 - B."""
    red, green, blue = np.moveaxis(rgb, 2, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def _hues(colours: np.ndarray) -> tuple[str, float]:
    """Returns the name of the commonest hue of colours `[n, 3]`, and their harmony."""
    chroma = np.ptp(colours, axis=1) if len(colours) else np.zeros(0)
    strong = chroma > _CHROMA
    if chroma[strong].sum() <= _CHROMA * max(1, len(colours)) / 4:
        return GREY, 1.0
    colours, chroma = colours[strong], chroma[strong]
    red, green, blue = colours.T
    sector = np.where(
        colours.argmax(1) == 0,
        (green - blue) / chroma % 6,
        np.where(colours.argmax(1) == 1, (blue - red) / chroma + 2, (red - green) / chroma + 4),
    )
    degrees = 60 * sector
    name = np.searchsorted(_HUE_ENDS, degrees, side="right") % len(HUES)
    commonest = HUES[int(np.bincount(name, chroma, len(HUES)).argmax())]
    turn = np.exp(1j * np.radians(degrees))
    return commonest, float(max(abs(chroma @ turn), abs(chroma @ turn**2)) / chroma.sum())


def composition(text: str) -> float:
    """Returns from 1 to 10 how closely a drawing follows eight rules of thumb of composition.

    `1 + 9 (Π rule)^½`, where each rule is from 0 to 1, and 1 if the drawing follows it: ink covers
    a third to two thirds of the picture; its centre is that of the picture; the halves mirror each
    other; the border is free; light and dark differ; the effective number of colours is four to
    eight; the hues are of one family or two opposite ones; few pixels are glaring or black. It
    does not know the subject of a drawing, nor whether it is good: it keeps a search without a
    model away from drawings that are blank, cut off, lopsided or garish, and leads it to
    ornaments.
    """
    look = measure_drawing(text)
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
    """Returns 1 from `low` to `high`, falling to 0 at `none` and at `over`."""
    return float(np.interp(x, (none, low, high, over), (0.0, 1.0, 1.0, 0.0)))

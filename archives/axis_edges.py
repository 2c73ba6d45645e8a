"""The edges of equal cells along an axis, and the cell of a number: exact at every scale.

The edges of an even division are rational numbers. They are computed exactly and rounded once. To
find a cell, arithmetic gives a guess that is wrong by one cell at most, and two comparisons with
the edges correct the guess. So a cell depends on no rounding and on no epsilon. Numbers below
2.3e-308, which XLA takes for 0, count as 0.

pyribs adds 1e-6 to `cells * (x - low)` instead. There, a number less than 1e-6 / cells below an
edge belongs to the cell above the edge, and on an axis with a range near 1e-6 nearly every number
is in a wrong cell.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# the least number of floats between two edges: with fewer, rounding may move the middle of a cell
# out of the cell
APART = 4


@lru_cache(maxsize=256)
def even_edges(low: float, high: float, cells: int) -> np.ndarray:
    """Returns the edges of equal cells, float64 `[cells + 1]`, read-only.

    Each edge is the float nearest to the exact edge.
    """
    edges = _divided(Fraction(low), Fraction(high), cells)
    edges.flags.writeable = False
    return edges


@lru_cache(maxsize=256)
def cell_starts(low: float, high: float, cells: int) -> np.ndarray:
    """Returns the least number of each cell, float64 `[cells]`, read-only.

    An edge that float64 cannot hold has as many values as there are ways to compute it: the
    nearest float, the results of `numpy.linspace` and of `low + i * (high - low) / cells`, and the
    decimal that people write, such as 0.1 between -0.3 and 0.7. The least of them counts, so that
    each of them belongs to the upper cell.
    """
    exact, order = even_edges(low, high, cells), np.arange(cells + 1)
    with np.errstate(over="ignore", invalid="ignore"):
        others = [
            np.linspace(low, high, cells + 1),
            low + order * (high - low) / cells,
            low + order * ((high - low) / cells),
            low + (high - low) * (order / cells),
            low * (1 - order / cells) + high * (order / cells),
            _divided(Fraction(repr(low)), Fraction(repr(high)), cells),
        ]
        near = 8 * np.spacing(max(abs(low), abs(high)))
        others = [np.where(np.abs(other - exact) <= near, other, exact) for other in others]
    least = np.minimum.reduce([exact, *others])
    middles = exact[:-1] / 2 + exact[1:] / 2
    least = np.where(least[1:-1] > middles[:-1], least[1:-1], exact[1:-1])
    least = np.concatenate([exact[:1], least])
    least.flags.writeable = False
    return least


def axis_cells(low: float, high: float, cells: int, value: jax.Array) -> jax.Array:
    """Returns the cell of each of `value`, int32 `[n]`; 0 for nan.

    A value outside the bounds belongs to a border cell.
    """
    dtype = jax.dtypes.canonicalize_dtype(np.float64)  # a float32 is compared as float64
    starts = jnp.asarray(cell_starts(low, high, cells).astype(dtype))
    return find_cells(starts, *axis_scale(low, high, cells), value.astype(dtype))


def axis_scale(low: float, high: float, cells: int) -> tuple[float, float, float]:
    """Returns (unit, low in this unit, cells per unit).

    The unit is a power of two, so that nothing rounds or overflows.
    """
    unit = 2.0 ** -min(max(math.frexp(high / 2 - low / 2)[1], -1020), 1020)
    return unit, low * unit, cells / (high * unit - low * unit)


def find_cells(
    starts: jax.Array, unit: Any, low: Any, per_unit: Any, value: jax.Array
) -> jax.Array:
    """Returns the cell of each of `value`, int32 `[n]`, as `axis_cells`.

    starts: the result of `cell_starts`.
    unit, low, per_unit: the results of `axis_scale`.
    """
    last = len(starts) - 1
    guess = jnp.floor(jnp.nan_to_num((value * unit - low) * per_unit))
    guess = jnp.clip(guess, 0, last).astype(jnp.int32)
    above = (guess < last) & (value >= starts[jnp.minimum(guess + 1, last)])
    return jnp.clip(guess + above - (value < starts[guess]), 0, last)


def check_even(name: str, low: float, high: float, cells: int) -> None:
    """Raises ValueError where float64 has too few numbers from `low` to `high` for the cells."""
    # one cell may be wider than the largest float64
    largest = Fraction(float(np.finfo(np.float64).max))
    width = min((Fraction(high) - Fraction(low)) / cells, largest)
    _check_width(name, float(width), max(abs(low), abs(high)), np.float64)


def check_precision(name: str, edges: np.ndarray, dtype: Any) -> None:
    """Raises ValueError where `dtype` cannot tell the cells between these `edges` apart."""
    if np.finfo(dtype).bits < 64:
        widths, size = np.diff(edges), np.maximum(np.abs(edges[:-1]), np.abs(edges[1:]))
        narrow = int(np.argmin(widths / np.spacing(size.astype(dtype)).astype(np.float64)))
        _check_width(name, float(widths[narrow]), float(size[narrow]), dtype)


def _check_width(name: str, width: float, size: float, dtype: Any) -> None:
    """Raises ValueError where a cell of this width near `size` is too narrow for `dtype`."""
    number = np.dtype(dtype).type(size)
    step = float(np.spacing(number)) if np.isfinite(number) else np.inf
    least = float(np.finfo(dtype).tiny)
    if width >= APART * step and width >= least:
        return
    double = np.dtype(dtype) == np.float64
    mend = (
        "describe candidates by the distance from the lower bound, or in larger units"
        if double
        else "compute in float64, inside `with qdkit.core.elites.double():`, as a search does"
    )
    raise ValueError(
        f"{name} has cells {width:.3g} wide near {size:.6g}, where {np.dtype(dtype)} has a "
        f"number every {step:.3g}, so that its cells cannot be told apart: {mend}, or take "
        "fewer cells"
    )


def _divided(low: Fraction, high: Fraction, cells: int) -> np.ndarray:
    """Returns the edges between two rational numbers, float64 `[cells + 1]`, each rounded once."""
    common = low.denominator * high.denominator
    first, last = low.numerator * high.denominator, high.numerator * low.denominator
    begin, step, divisor = first * cells, last - first, common * cells
    return np.array([(begin + i * step) / divisor for i in range(cells + 1)])

"""Integer arithmetic on the exact values of float64 numbers.

A float64 is an integer over a power of two. A referee that brings all its numbers to one power of
two compares, adds and multiplies integers from there on, so it needs no tolerance. It rounds once,
at the end, in the direction that does not favour an answer.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from fractions import Fraction


def integers(values: Iterable[float]) -> tuple[list[int], int]:
    """Returns (integers, shift) with value = integer / 2**shift exactly, for finite `values`."""
    ratios = [float(value).as_integer_ratio() for value in values]
    shift = max((bottom.bit_length() - 1 for _, bottom in ratios), default=0)
    return [top << (shift + 1 - bottom.bit_length()) for top, bottom in ratios], shift


def float_not_above(exact: Fraction) -> float:
    """Returns the greatest float64 that is not above `exact`; -inf if only that is."""
    if abs(exact) > sys.float_info.max:
        return sys.float_info.max if exact > 0 else -math.inf
    # the division of integers rounds correctly, whatever their size
    nearest = exact.numerator / exact.denominator
    return nearest if Fraction(nearest) <= exact else math.nextafter(nearest, -math.inf)


def convolution(a: Sequence[int], b: Sequence[int]) -> list[int]:
    """Returns the sums of a[i] * b[k - i], `[len(a) + len(b) - 1]`, for non-negative integers.

    By Kronecker's substitution: each list of integers becomes the digits of one long integer, in a
    base so large that no sum carries, and one multiplication computes all sums.
    """
    bound = max(a) * max(b) * min(len(a), len(b))
    width = bound.bit_length() // 8 + 1  # bytes of a digit
    long_a, long_b = (
        int.from_bytes(b"".join(x.to_bytes(width, "little") for x in row), "little")
        for row in (a, b)
    )
    terms = len(a) + len(b) - 1
    digits = (long_a * long_b).to_bytes(terms * width, "little")
    return [
        int.from_bytes(digits[k : k + width], "little") for k in range(0, terms * width, width)
    ]

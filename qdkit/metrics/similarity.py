"""How many different things there are, from how alike each two of them are.

The Vendi score (Friedman & Dieng 2023) of any order (Pasarkar & Dieng 2024), and the Leinster–Cobbold
diversity (2012). Both lie between 1 and n, fall with the order q, and are 0 for no things at all.
Everything is float64 on the host: single precision cannot tell a small eigenvalue from rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from qdkit.metrics.orders import effective

Kernel = Callable[[Any, Any], Any]  # of n and m rows: how alike they are, float [n, m]; 1 for a row and itself

ROUNDING = 1e-12  # an eigenvalue of a smaller share is nothing but rounding
SLACK = 1e-6  # by how much a kernel made in single precision may miss what it should be


def cosine(a: Any, b: Any) -> np.ndarray:
    """float64 `[n, m]`: the cosine of the angle between rows of `a` and rows of `b`.

    Raises ValueError for a row that has no direction, or is not finite.
    """
    return directions(a) @ directions(b).T


def rbf(width: float) -> Kernel:
    """The kernel exp(−|a−b|² / (2 width²)) of rows; `width` in the units of the rows, which are finite."""

    def near(a: Any, b: Any) -> np.ndarray:
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        first = a[:1]  # squares of what lies far off would cancel
        a, b = (a - first) / width, (b - first) / width
        squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
        if a.shape == b.shape and np.array_equal(a, b):
            np.fill_diagonal(squares, 0.0)
        return np.exp(-np.maximum(squares, 0) / 2)

    return near


def vendi(features: Any, q: float = 1.0, weights: Any = None, kernel: Kernel = cosine) -> float:
    """How many different rows there are, by the eigenvalues of their similarity: the Vendi score of order `q`.

    (Σ λ^q)^(1/(1−q)) over the eigenvalues λ of K_ij √(p_i p_j). Order 2 is 1/Σ K_ij² p_i p_j and takes no
    eigenvalues; order 0 is the rank, which numbers in single precision blur.

    features: float `[n, d]`, or whatever the kernel takes. Under the cosine the work is O(n d min(n, d)):
      K/n and the smaller matrix XᵀX/n have the same eigenvalues.
    weights: float `[n]`, how much each row counts, in any unit; alike where left out.
    kernel: one of your own makes a matrix [n, n].

    Raises ValueError for what has no direction under the cosine, and as `vendi_of`.
    """
    if kernel is not cosine:
        return vendi_of(kernel(features, features), q, weights)
    x = directions(features)
    n, d = x.shape
    if not n:
        return 0.0
    x *= np.sqrt(_shares(weights, n))[:, None]
    # A direction that only the rounding of the features gives has an eigenvalue of the square of that rounding.
    blur = max(max(n, d) * np.finfo(np.float64).eps, (max(n, d) * _precision(features)) ** 2)
    return _of_matrix(x.T @ x if d < n else x @ x.T, q, blur)


def vendi_of(similarity: Any, q: float = 1.0, weights: Any = None, normalise: bool = False) -> float:
    """The Vendi score of things of which this is the `similarity`: see `vendi`.

    similarity: float `[n, n]`, symmetric, 1 on the diagonal, without negative eigenvalues.
    normalise: divides K_ij by √(K_ii K_jj), for a kernel that has something else on its diagonal.

    Raises ValueError for a matrix that is none of this. Order 2 does not look at the eigenvalues.
    """
    k = _square(similarity)
    if not np.allclose(k, k.T, rtol=0, atol=SLACK * max(1.0, float(np.abs(k).max(initial=0)))):
        raise ValueError("a similarity is symmetric, and this one is not: for one that is not, take leinster_cobbold")
    diagonal = np.diag(k)
    if (diagonal < 0).any():
        raise ValueError(f"a similarity has no negative diagonal, and row {np.argmin(diagonal)} has {diagonal.min():g}")
    if normalise:
        if not diagonal.all():
            raise ValueError(f"row {np.argmin(diagonal)} is not even like itself: leave it out before normalising")
        k = k / np.sqrt(np.outer(diagonal, diagonal))
    _alike_to_itself(k)
    if not len(k):
        return 0.0
    root = np.sqrt(_shares(weights, len(k)))
    return _of_matrix(k * root[:, None] * root, q, len(k) * _precision(similarity))


def leinster_cobbold(similarity: Any, q: float = 1.0, weights: Any = None) -> float:
    """How many different things there are, by how ordinary each is; needs no eigenvalues, and no symmetry.

    (Σ p_i (Kp)_i^(q−1))^(1/(1−q)) (Leinster & Cobbold 2012); never above the Vendi score of that order.

    similarity: float `[n, n]`, 1 on the diagonal, nowhere negative.
    """
    k = _square(similarity)
    _alike_to_itself(k)
    if (k < 0).any():
        raise ValueError(f"a similarity is between 0 and 1 here, and one is {k.min():g}: take vendi_of")
    if not len(k):
        return 0.0
    p = _shares(weights, len(k))
    return effective(p[p > 0], (k @ p)[p > 0], q)


def directions(features: Any) -> np.ndarray:
    """float64 `[n, d]`: the rows at length 1."""
    x = np.asarray(features, np.float64)
    if x.ndim != 2:
        raise ValueError(f"features have shape (n, d), and these have {x.shape}")
    with np.errstate(over="ignore"):
        length = np.sqrt(np.einsum("ij,ij->i", x, x))
    if not np.isfinite(length).all():
        raise ValueError(f"row {np.argmin(np.isfinite(length))} of the features is not finite")
    if not length.all():
        raise ValueError(f"row {np.argmin(length)} of the features is zero and has no direction: leave it out")
    return x / length[:, None]


def _of_matrix(mixed: np.ndarray, q: float, blur: float) -> float:
    """From a matrix of trace 1; for order 0 an eigenvalue below `blur` times the greatest is 0."""
    if q == 2:
        return float(1 / np.vdot(mixed, mixed))
    found = np.linalg.eigvalsh(mixed)
    if found[0] < -SLACK:
        raise ValueError(
            f"this similarity has the eigenvalue {found[0]:.3g} and belongs to no kernel: "
            "an own one must be positive semi-definite"
        )
    if q == 0:
        return float(np.count_nonzero(found > blur * found[-1]))
    share = found[found > ROUNDING]
    share /= share.sum()
    return effective(share, share, q)


def _shares(weights: Any, n: int) -> np.ndarray:
    if weights is None:
        return np.full(n, 1 / n)
    w = np.asarray(weights, np.float64)
    if w.shape != (n,) or not np.isfinite(w).all() or (w < 0).any() or not w.any():
        raise ValueError(f"weights are {n} numbers from 0, one a row, and not all 0; these are {weights!s:.80}")
    return w / w.sum()


def _square(similarity: Any) -> np.ndarray:
    k = np.asarray(similarity, np.float64)
    if k.ndim != 2 or k.shape[0] != k.shape[1] or not np.isfinite(k).all():
        raise ValueError(f"a similarity is a finite matrix of shape (n, n), and this one has shape {k.shape}")
    return k


def _alike_to_itself(k: np.ndarray) -> None:
    off = np.abs(np.diag(k) - 1)
    if (off > SLACK).any():
        row = int(np.argmax(off))
        raise ValueError(
            f"everything has similarity 1 to itself, and row {row} has {k[row, row]:g}: "
            "vendi_of(..., normalise=True) mends that"
        )


def _precision(values: Any) -> float:
    """The rounding of numbers as they were given."""
    dtype = getattr(values, "dtype", np.dtype(np.float64))
    return float(np.finfo(dtype if dtype.kind == "f" else np.float64).eps)

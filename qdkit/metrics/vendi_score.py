"""How many different things there are, from the similarity of each two of them.

The Vendi score (Friedman & Dieng 2023) of any order (Pasarkar & Dieng 2024), and the
Leinster–Cobbold diversity (2012). Both lie between 1 and n, fall with the order q, and are 0 for
an empty set. Everything is computed in float64 on the host: single precision cannot tell a small
eigenvalue from rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from qdkit.metrics.hill_numbers import effective_number

# The similarity of n rows and m rows, float [n, m]; 1 for a row and itself.
Kernel = Callable[[Any, Any], Any]

_ROUNDING = 1e-12  # an eigenvalue of a smaller share is rounding
_SLACK = 1e-6  # the allowed error of a kernel computed in single precision


def cosine(a: Any, b: Any) -> np.ndarray:
    """Returns the cosine of the angle between rows of `a` and rows of `b`, float64 `[n, m]`.

    Raises ValueError for a row that is zero or not finite.
    """
    return directions(a) @ directions(b).T


def rbf(width: float) -> Kernel:
    """Returns the kernel exp(−|a−b|² / (2 width²)) of rows.

    `width` is in the units of the rows, which are finite.
    """

    def near(a: Any, b: Any) -> np.ndarray:
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        first = a[:1]  # subtracted, as the squares of large coordinates would cancel
        a, b = (a - first) / width, (b - first) / width
        squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
        if a.shape == b.shape and np.array_equal(a, b):
            np.fill_diagonal(squares, 0.0)
        return np.exp(-np.maximum(squares, 0) / 2)

    return near


def vendi(features: Any, q: float = 1.0, weights: Any = None, kernel: Kernel = cosine) -> float:
    """Returns the Vendi score of order `q`: how many different rows there are.

    (Σ λ^q)^(1/(1−q)) over the eigenvalues λ of K_ij √(p_i p_j). Order 2 is 1/Σ K_ij² p_i p_j and
    needs no eigenvalues; order 0 is the rank, which features in single precision blur.

    features: float `[n, d]`, or whatever the kernel takes. Under the cosine the work is O(n d
      min(n, d)): K/n and the smaller matrix XᵀX/n have the same eigenvalues.
    weights: float `[n]`, how much each row counts, in any unit; equal where left out.
    kernel: another kernel than the cosine computes a matrix [n, n].

    Raises ValueError for a row that is zero or not finite under the cosine, and as `vendi_of`.
    """
    if kernel is not cosine:
        return vendi_of(kernel(features, features), q, weights)
    x = directions(features)
    n, d = x.shape
    if not n:
        return 0.0
    x *= np.sqrt(_shares(weights, n))[:, None]
    # A direction that is due to the rounding of the features alone has an eigenvalue of the square
    # of that rounding.
    blur = max(max(n, d) * np.finfo(np.float64).eps, (max(n, d) * _precision(features)) ** 2)
    return _of_matrix(x.T @ x if d < n else x @ x.T, q, blur)


def vendi_of(
    similarity: Any, q: float = 1.0, weights: Any = None, normalise: bool = False
) -> float:
    """Returns the Vendi score of things with this `similarity`: see `vendi`.

    similarity: float `[n, n]`, symmetric, 1 on the diagonal, without negative eigenvalues.
    normalise: divides K_ij by √(K_ii K_jj), for a kernel with another diagonal.

    Raises ValueError for a matrix that is not such a similarity. Order 2 does not check the
    eigenvalues.
    """
    k = _square(similarity)
    if not np.allclose(k, k.T, rtol=0, atol=_SLACK * max(1.0, float(np.abs(k).max(initial=0)))):
        raise ValueError(
            "a similarity is symmetric, and this one is not: for one that is not, take "
            "leinster_cobbold"
        )
    diagonal = np.diag(k)
    if (diagonal < 0).any():
        raise ValueError(
            f"a similarity has no negative diagonal, and row {np.argmin(diagonal)} has "
            f"{diagonal.min():g}"
        )
    if normalise:
        if not diagonal.all():
            raise ValueError(
                f"row {np.argmin(diagonal)} has similarity 0 to itself: leave it out before "
                "normalising"
            )
        k = k / np.sqrt(np.outer(diagonal, diagonal))
    _check_diagonal(k)
    if not len(k):
        return 0.0
    root = np.sqrt(_shares(weights, len(k)))
    return _of_matrix(k * root[:, None] * root, q, len(k) * _precision(similarity))


def leinster_cobbold(similarity: Any, q: float = 1.0, weights: Any = None) -> float:
    """Returns how many different things there are, from how ordinary each is.

    (Σ p_i (Kp)_i^(q−1))^(1/(1−q)) (Leinster & Cobbold 2012); never above the Vendi score of that
    order. It needs no eigenvalues and no symmetry.

    similarity: float `[n, n]`, 1 on the diagonal, nowhere negative.
    """
    k = _square(similarity)
    _check_diagonal(k)
    if (k < 0).any():
        raise ValueError(
            f"a similarity is between 0 and 1 here, and one is {k.min():g}: take vendi_of"
        )
    if not len(k):
        return 0.0
    p = _shares(weights, len(k))
    return effective_number(p[p > 0], (k @ p)[p > 0], q)


def directions(features: Any) -> np.ndarray:
    """Returns the rows scaled to length 1, float64 `[n, d]`."""
    x = np.asarray(features, np.float64)
    if x.ndim != 2:
        raise ValueError(f"features have shape (n, d), and these have {x.shape}")
    with np.errstate(over="ignore"):
        length = np.sqrt(np.einsum("ij,ij->i", x, x))
    if not np.isfinite(length).all():
        raise ValueError(f"row {np.argmin(np.isfinite(length))} of the features is not finite")
    if not length.all():
        raise ValueError(
            f"row {np.argmin(length)} of the features is zero and has no direction: leave it out"
        )
    return x / length[:, None]


def _of_matrix(mixed: np.ndarray, q: float, blur: float) -> float:
    """Returns the Vendi score of order `q` from a matrix of trace 1.

    For order 0 an eigenvalue below `blur` times the greatest counts as 0.
    """
    if q == 2:
        return float(1 / np.vdot(mixed, mixed))
    eigenvalues = np.linalg.eigvalsh(mixed)
    if eigenvalues[0] < -_SLACK:
        raise ValueError(
            f"this similarity has the eigenvalue {eigenvalues[0]:.3g} and belongs to no kernel: "
            "a kernel must be positive semi-definite"
        )
    if q == 0:
        return float(np.count_nonzero(eigenvalues > blur * eigenvalues[-1]))
    share = eigenvalues[eigenvalues > _ROUNDING]
    share /= share.sum()
    return effective_number(share, share, q)


def _shares(weights: Any, n: int) -> np.ndarray:
    """Returns the weights scaled to a sum of 1, float64 `[n]`; equal where None."""
    if weights is None:
        return np.full(n, 1 / n)
    w = np.asarray(weights, np.float64)
    if w.shape != (n,) or not np.isfinite(w).all() or (w < 0).any() or not w.any():
        raise ValueError(
            f"weights are {n} numbers from 0, one a row, and not all 0; these are {weights!s:.80}"
        )
    return w / w.sum()


def _square(similarity: Any) -> np.ndarray:
    """Returns the similarity as float64 `[n, n]`. Raises ValueError unless square and finite."""
    k = np.asarray(similarity, np.float64)
    if k.ndim != 2 or k.shape[0] != k.shape[1] or not np.isfinite(k).all():
        raise ValueError(
            f"a similarity is a finite matrix of shape (n, n), and this one has shape {k.shape}"
        )
    return k


def _check_diagonal(k: np.ndarray) -> None:
    """Raises ValueError unless every similarity of a thing to itself is 1."""
    off = np.abs(np.diag(k) - 1)
    if (off > _SLACK).any():
        row = int(np.argmax(off))
        raise ValueError(
            f"everything has similarity 1 to itself, and row {row} has {k[row, row]:g}: "
            "use vendi_of(..., normalise=True)"
        )


def _precision(values: Any) -> float:
    """Returns the rounding error of numbers in the dtype of `values`."""
    dtype = getattr(values, "dtype", np.dtype(np.float64))
    return float(np.finfo(dtype if dtype.kind == "f" else np.float64).eps)

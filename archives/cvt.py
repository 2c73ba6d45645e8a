"""Cells around centroids spread over the descriptors (CVT-MAP-Elites, Vassiliades et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.elites import NOWHERE, Archive

Bounds = tuple[tuple[float, float], ...]


@partial(jax.tree_util.register_dataclass, data_fields=("centroids",), meta_fields=("bounds", "outside", "names"))
@dataclass(frozen=True, eq=False)
class CVT(Archive):
    """One cell around each of `centroids`; a descriptor belongs to the nearest, the first among equals.

    centroids: float `[C, d]`.
    bounds: `((low, high), ...)` of the box they cover; the box around them where left out.
    outside: a descriptor outside `bounds` goes to the nearest cell ("clip") or is refused ("reject").
    names: what the axes measure, for plots and tables.

    `CVT.spread(cells, bounds)` computes the centroids. Raises ValueError for centroids that are not
    finite, or bounds with low >= high.
    """

    centroids: np.ndarray
    bounds: Bounds = ()
    outside: Literal["clip", "reject"] = "clip"
    names: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        given = self.centroids
        if isinstance(given, jax.core.Tracer) or not isinstance(given, Sequence | np.ndarray | jax.Array):
            return  # jax is rebuilding the tree, with a tracer or a placeholder in place of the array
        try:
            centroids = np.asarray(given, np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"centroids are finite numbers of shape (cells, axes), and these are not: {error}"
            ) from None
        if centroids.ndim != 2 or 0 in centroids.shape or not np.isfinite(centroids).all():
            raise ValueError(f"centroids are finite numbers of shape (cells, axes), not {centroids.shape}")
        axes = centroids.shape[1]
        around = tuple((float(low), float(high)) for low, high in zip(centroids.min(0), centroids.max(0), strict=True))
        bounds = _checked(self.bounds, axes) if self.bounds else around
        if self.outside not in ("clip", "reject"):
            raise ValueError(f"outside is 'clip' or 'reject', not {self.outside!r}")
        names = tuple(self.names) or tuple(f"axis {i}" for i in range(axes))
        if len(names) != axes:
            raise ValueError(f"names has {len(names)} entries for {axes} axes: name all of them or none")
        for name, value in {"centroids": centroids, "bounds": bounds, "names": names}.items():
            object.__setattr__(self, name, value)

    @classmethod
    def spread(
        cls,
        cells: int,
        bounds: Bounds,
        *,
        seed: int = 0,
        samples: int | None = None,
        outside: Literal["clip", "reject"] = "clip",
        names: tuple[str, ...] = (),
    ) -> CVT:
        """`cells` centroids spread evenly over the box `bounds`, by k-means on `samples` uniform points.

        Takes seconds for a thousand cells and most of a minute for ten thousand; `samples` is ten
        for each cell where left out.
        """
        from sklearn.cluster import k_means

        if cells < 1:
            raise ValueError(f"a CVT has at least one cell, not {cells}")
        bounds = _checked(bounds, len(bounds))
        low, high = np.array(bounds).T
        random = np.random.default_rng(seed)
        points = random.uniform(low, high, (max(samples or 10 * cells, cells), len(low)))
        centroids, *_ = k_means(points, cells, init="random", n_init=1, random_state=seed)
        return cls(np.asarray(centroids), bounds, outside, names)

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return self.centroids.shape[0]

    @property
    def axes(self) -> int:
        """How many numbers make a descriptor."""
        return self.centroids.shape[1]

    @property
    def centres(self) -> np.ndarray:
        """float64 `[C, d]`: the centroids."""
        return np.asarray(self.centroids)

    @jax.jit
    def cell(self, descriptor: jax.Array) -> jax.Array:
        """int32 `[n]`. A nan belongs to no cell; what is outside the box as `outside` says."""
        distance = lambda d: jnp.sum((self.centroids - d[None]) ** 2, -1)
        nearest = jax.lax.map(lambda d: jnp.argmin(distance(d)), descriptor, batch_size=64)
        belongs = ~jnp.isnan(descriptor).any(1)
        if self.outside == "reject":
            belongs &= self.inside(descriptor)
        return jnp.where(belongs, nearest, NOWHERE).astype(jnp.int32)

    @jax.jit
    def inside(self, descriptor: jax.Array) -> jax.Array:
        """bool `[n]`: within the bounds of every axis, the bounds included."""
        low, high = np.asarray(self.bounds).T[:, None]
        return ((low <= descriptor) & (descriptor <= high)).all(1)


def _checked(bounds: Any, axes: int) -> Bounds:
    """`bounds` as pairs of floats, or an error that says what they should be."""
    try:
        low, high = np.asarray(bounds, np.float64).reshape(axes, 2).T
        if np.isfinite([low, high]).all() and (low < high).all() and np.shape(bounds) == (axes, 2):
            return tuple(zip(low.tolist(), high.tolist(), strict=True))
    except (TypeError, ValueError):
        pass  # the same sentence for what is no array of pairs at all
    raise ValueError(
        f"bounds are {axes} pairs (low, high) of finite numbers with low < high, one for each axis, not {bounds}"
    )

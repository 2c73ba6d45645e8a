"""Cells around centroids spread over the descriptors (CVT-MAP-Elites, Vassiliades et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.elites import NOWHERE, Archive

from .nearest import AXES, measured, nearest, table

Bounds = tuple[tuple[float, float], ...]


@jax.tree_util.register_pytree_node_class
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
        try:
            centroids = np.asarray(self.centroids, np.float64)
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
        descriptor = jnp.asarray(descriptor)
        points, table = self._arrays
        if not len(descriptor):
            return jnp.zeros(0, jnp.int32)
        found = measured(points, descriptor) if table is None else nearest(points, table, self.bounds, descriptor)
        belongs = ~jnp.isnan(descriptor).any(1)
        if self.outside == "reject":
            belongs &= self.inside(descriptor)
        return jnp.where(belongs, found, NOWHERE).astype(jnp.int32)

    @jax.jit
    def inside(self, descriptor: jax.Array) -> jax.Array:
        """bool `[n]`: within the bounds of every axis, the bounds included."""
        low, high = np.asarray(self.bounds).T[:, None]
        return ((low <= descriptor) & (descriptor <= high)).all(1)

    def tree_flatten(self) -> tuple[tuple[Any, Any], tuple[Any, ...]]:
        """What jax traces, and what it compiles for."""
        return self._arrays, (self.bounds, self.outside, self.names)

    @classmethod
    def tree_unflatten(cls, settings: tuple[Any, ...], arrays: tuple[Any, Any]) -> CVT:
        """An archive in which jax has put something in the place of the arrays; nothing is checked."""
        archive, (bounds, outside, names) = object.__new__(cls), settings
        given = {"centroids": arrays[0], "bounds": bounds, "outside": outside, "names": names, "_held": {None: arrays}}
        archive.__dict__.update(given)
        return archive

    @property
    def _arrays(self) -> tuple[Any, Any]:
        """The centroids as jax counts now, in float32 or float64, and the table of `nearest`; moved there once."""
        held = self.__dict__.setdefault("_held", {})
        if None in held:
            return held[None]
        if (kind := jax.dtypes.canonicalize_dtype(np.float64)) not in held:
            near = next((near for _, near in held.values()), None)
            if near is None and self.axes <= AXES:
                near = table(self.centroids, self.bounds)
            with jax.ensure_compile_time_eval():
                held[kind] = jnp.asarray(self.centroids), None if near is None else jnp.asarray(near)
        return held[kind]


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

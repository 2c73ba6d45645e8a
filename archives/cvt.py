"""Cells around centroids that are spread over descriptor space.

CVT-MAP-Elites, Vassiliades et al. 2018.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.core.elites import NOWHERE, Archive
from qdkit.core.seeds import numpy_seed
from qdkit.core.shapes import check_descriptor

from .axis_edges import APART
from .checks import checked_integer
from .nearest_centroid import MOST_AXES, lookup_table, nearest, nearest_of_all

_Bounds = tuple[tuple[float, float], ...]


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True, eq=False)
class CVT(Archive):
    """One cell around each of `centroids`; a descriptor belongs to the nearest centroid.

    Of centroids at the same distance, the first counts.

    centroids: float `[C, d]`.
    bounds: `((low, high), ...)`, the box that the centroids cover. Where left out, the smallest
      box around them.
    outside: "clip" puts a descriptor outside `bounds` into the nearest cell, "reject" refuses it.
    names: what the axes measure, for plots and tables.

    `CVT.spread(cells, bounds)` computes the centroids. Raises ValueError for centroids that are
    not finite, or bounds with low >= high. Outside `qdkit.core.elites.double()`, `cell` and `add`
    raise it for centroids that coincide in float32.
    """

    centroids: np.ndarray
    bounds: _Bounds = ()
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
            raise ValueError(
                f"centroids are finite numbers of shape (cells, axes), not {centroids.shape}"
            )
        axes = centroids.shape[1]
        around = tuple(
            (float(low), float(high))
            for low, high in zip(centroids.min(0), centroids.max(0), strict=True)
        )
        bounds = _checked_bounds(self.bounds, axes) if self.bounds else around
        if self.outside not in ("clip", "reject"):
            raise ValueError(f"outside is 'clip' or 'reject', not {self.outside!r}")
        names = tuple(self.names) or tuple(f"axis {i}" for i in range(axes))
        if len(names) != axes:
            raise ValueError(
                f"names has {len(names)} entries for {axes} axes: name all of them or none"
            )
        for name, value in {"centroids": centroids, "bounds": bounds, "names": names}.items():
            object.__setattr__(self, name, value)

    @classmethod
    def spread(
        cls,
        cells: int,
        bounds: _Bounds,
        *,
        seed: int = 0,
        samples: int | None = None,
        outside: Literal["clip", "reject"] = "clip",
        names: tuple[str, ...] = (),
    ) -> CVT:
        """Returns a CVT of `cells` centroids spread evenly over the box `bounds`.

        The centroids come from k-means on `samples` uniform points, ten for each cell where left
        out. This takes seconds for a thousand cells and most of a minute for ten thousand.
        """
        from sklearn.cluster import k_means

        if isinstance(cells, bool) or not isinstance(cells, int | np.integer) or cells < 1:
            raise ValueError(
                f"a CVT has at least one cell, not {cells!r}: give their number as an int"
            )
        if samples is not None:
            samples = checked_integer("samples", samples)
        bounds = _checked_bounds(bounds, len(bounds))
        low, high = np.array(bounds).T
        seed = numpy_seed(seed)
        random = np.random.default_rng(seed)
        points = random.uniform(low, high, (max(samples or 10 * cells, cells), len(low)))
        # scikit-learn takes seeds below 2**32 only
        start: Any = seed if seed < 2**32 else np.random.RandomState(np.random.MT19937(seed))
        centroids, *_ = k_means(points, cells, init="random", n_init=1, random_state=start)
        return cls(np.asarray(centroids), bounds, outside, names)

    @property
    def cells(self) -> int:
        """The number of cells."""
        return self.centroids.shape[0]

    @property
    def axes(self) -> int:
        """The number of descriptor axes."""
        return self.centroids.shape[1]

    @property
    def centres(self) -> np.ndarray:
        """float64 `[C, d]`: the centroids."""
        return np.asarray(self.centroids)

    @jax.jit
    def cell(self, descriptor: jax.Array) -> jax.Array:
        """Returns the cell of each descriptor, int32 `[n]`.

        A descriptor with a nan belongs to no cell (`NOWHERE`). `outside` says what happens to a
        descriptor outside the box.
        """
        descriptor = jnp.asarray(descriptor)
        check_descriptor(descriptor, self.axes)
        points, table = self._arrays
        if not len(descriptor):
            return jnp.zeros(0, jnp.int32)
        # integers and float16 are compared in the dtype of the centroids
        places = descriptor.astype(points.dtype)
        if table is None:
            cell = nearest_of_all(points, places)
        else:
            cell = nearest(points, table, self.bounds, places)
        belongs = ~jnp.isnan(descriptor).any(1)
        if self.outside == "reject":
            belongs &= self.inside(descriptor)
        return jnp.where(belongs, cell, NOWHERE).astype(jnp.int32)

    @jax.jit
    def inside(self, descriptor: jax.Array) -> jax.Array:
        """Returns whether each descriptor is within the bounds of every axis, bool `[n]`.

        A descriptor on a bound is inside.
        """
        descriptor = jnp.asarray(descriptor)
        check_descriptor(descriptor, self.axes)
        low, high = np.asarray(self.bounds).T[:, None]
        return ((low <= descriptor) & (descriptor <= high)).all(1)

    def tree_flatten(self) -> tuple[tuple[Any, Any], tuple[Any, ...]]:
        """Returns the arrays that jax traces, and the settings that it compiles for."""
        return self._arrays, (self.bounds, self.outside, self.names)

    @classmethod
    def tree_unflatten(cls, settings: tuple[Any, ...], arrays: tuple[Any, Any]) -> CVT:
        """Returns an archive whose arrays jax has replaced. Checks nothing."""
        archive, (bounds, outside, names) = object.__new__(cls), settings
        attributes = {
            "centroids": arrays[0],
            "bounds": bounds,
            "outside": outside,
            "names": names,
            "_arrays_by_dtype": {None: arrays},
        }
        archive.__dict__.update(attributes)
        return archive

    @property
    def _arrays(self) -> tuple[Any, Any]:
        """The centroids in jax's current dtype, float32 or float64, and the table for `nearest`.

        They are moved to the device once for each dtype.
        """
        arrays = self.__dict__.setdefault("_arrays_by_dtype", {})
        if None in arrays:
            return arrays[None]
        if (dtype := jax.dtypes.canonicalize_dtype(np.float64)) not in arrays:
            _check_precision(self.centroids, dtype)
            table = None
            if self.axes <= MOST_AXES:
                table = lookup_table(self.centroids, self.bounds, dtype)
            with jax.ensure_compile_time_eval():
                arrays[dtype] = (
                    jnp.asarray(self.centroids),
                    None if table is None else jnp.asarray(table),
                )
        return arrays[dtype]


def _check_precision(centroids: np.ndarray, dtype: Any) -> None:
    """Raises ValueError where `dtype` could not tell evenly spread centroids apart."""
    low, high = centroids.min(0), centroids.max(0)
    size = np.maximum(np.abs(low), np.abs(high))
    width = (high - low) / len(centroids) ** (1 / len(low))
    with np.errstate(over="ignore", invalid="ignore"):
        step = np.spacing(size.astype(dtype)).astype(np.float64)
        lost = (high > low) & ~(width >= APART * step)
    square = float(width.max()) ** 2
    least = float(np.finfo(dtype).tiny / np.finfo(dtype).eps)
    most = float(np.finfo(dtype).max) / centroids.size
    if lost.any() or (square and not least <= square <= most):
        raise ValueError(
            f"{np.dtype(dtype)} cannot tell the centroids apart: their cells are about "
            f"{width.tolist()} wide near {size.tolist()}, and distances are squared. Compute in "
            "float64, inside `with qdkit.core.elites.double():` as a search does, or describe "
            "candidates by the distance from the lower bounds, in other units"
        )


def _checked_bounds(bounds: Any, axes: int) -> _Bounds:
    """Returns `bounds` as pairs of floats. Raises ValueError that says what they should be."""
    try:
        low, high = np.asarray(bounds, np.float64).reshape(axes, 2).T
        if np.isfinite([low, high]).all() and (low < high).all() and np.shape(bounds) == (axes, 2):
            return tuple(zip(low.tolist(), high.tolist(), strict=True))
    except (TypeError, ValueError):
        pass  # anything that is not an array of pairs gets the same message
    raise ValueError(
        f"bounds are {axes} pairs (low, high) of finite numbers with low < high, one for each "
        f"axis, not {bounds}"
    )

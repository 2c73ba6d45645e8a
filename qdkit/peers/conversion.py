"""Archives read from another library, and the columns written into one."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.archives import Grid
from qdkit.core.elites import Archive, Elites, double


class ImportedArchive(NamedTuple):
    """An archive and its elites, as every function of `qdkit.viz` and of `qdkit.metrics` takes it.

    archive: the geometry.
    elites: as numpy arrays (float64), with the genomes in `payload["genome"]`, an array
      `[C, ...]`, of dtype object where they are not numbers.
    """

    archive: Archive
    elites: Elites

    @property
    def genomes(self) -> np.ndarray:
        """`[n, ...]`: the genomes of the elites, in the order of their cells.

        They can be the seeds of a search that continues from here.
        """
        return self.elites.payload["genome"][self.elites.occupied]


def imported_archive(
    archive: Archive,
    cell: np.ndarray,
    genome: np.ndarray,
    objective: np.ndarray,
    descriptor: np.ndarray,
    slack: Any,
) -> ImportedArchive:
    """Returns the archive with these candidates in the cells of the other library.

    cell: int `[n]`, the cell of each candidate.
    slack: how far, in units of each axis (`[d]` or one number), a descriptor may lie outside its
      cell.

    An elite on an edge, or equally near to two centroids but for rounding, is in one cell by the
    rule of the other library and in another cell by ours, where another elite may be. So elites
    are not inserted again.

    Raises ValueError for candidates that cannot be elites: several in one cell, numbers that are
    not finite, or a descriptor that lies further outside its cell.
    """
    n, cells = len(objective), archive.cells
    if not len(genome) == len(descriptor) == len(cell) == n:
        raise ValueError(
            f"there are {n} objectives, {len(genome)} genomes, {len(descriptor)} descriptors and "
            f"{len(cell)} cells: give one of each for every elite"
        )
    if ((cell < 0) | (cell >= cells)).any() or len(np.unique(cell)) != n:
        raise ValueError(
            f"{n} elites were read and {len(np.unique(cell))} have a cell of their own among "
            f"{cells}"
        )
    if not (np.isfinite(objective).all() and np.isfinite(descriptor).all()):
        raise ValueError(
            "an elite has a finite objective and descriptor, and some of these have nan or "
            "infinity"
        )
    outside = (distance_outside(archive, cell, descriptor) > slack).any(1)
    if outside.any():
        raise ValueError(
            f"{n} elites were read and {int((~outside).sum())} have a cell of their own in "
            f"{type(archive).__name__}: the others lie in other cells than those that they were "
            f"in, such as {descriptor[outside][0].tolist()} in cell {cell[outside][0]}"
        )
    with double():
        elites = jax.tree.map(np.array, archive.init(np.int32(0)))
    genomes = np.zeros((cells, *genome.shape[1:]), genome.dtype)
    elites.objective[cell], elites.descriptor[cell], genomes[cell] = objective, descriptor, genome
    payload = {"genome": genomes}
    imported = Elites(elites.objective, elites.descriptor, payload, elites.state)
    return ImportedArchive(archive, imported)


def distance_outside(archive: Archive, cell: np.ndarray, descriptor: np.ndarray) -> np.ndarray:
    """Returns how far each descriptor lies outside its `cell`, float64 `[n, d]` or `[n, 1]`.

    It is 0 within the cell. In a grid, this is the distance along each axis, where border cells
    have no outer end; in a CVT, how much nearer the nearest centroid is.
    """
    archive = archive.map
    if isinstance(archive, Grid):
        distances = []
        for axis, index in enumerate(np.unravel_index(cell, archive.shape)):
            edges, x = archive.edges(axis), descriptor[:, axis]
            x = np.clip(x, edges[0], edges[-1])
            outside = np.maximum(edges[index] - x, x - edges[index + 1])
            distances.append(np.maximum(0.0, outside))
        return np.stack(distances, 1)
    with double():
        nearest = np.asarray(archive.cell(descriptor))
    distance = lambda which: np.sqrt(((archive.centres[which] - descriptor) ** 2).sum(1))
    return (distance(cell) - distance(nearest))[:, None]


def rounding_error(*columns: Any) -> float:
    """Returns how far arithmetic in the coarsest dtype of these arrays may miss an edge."""
    double = np.dtype(np.float64)
    dtypes = [getattr(column, "dtype", double) for column in columns]
    dtypes = [dtype for dtype in dtypes if jnp.issubdtype(dtype, jnp.floating)] or [double]
    arrays = [np.asarray(column, np.float64) for column in columns]
    most = max((float(np.abs(array).max(initial=0.0)) for array in arrays), default=0.0)
    return 16 * max(float(jnp.finfo(dtype).eps) for dtype in dtypes) * most


def exported_columns(
    view: Any,
) -> tuple[Archive, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns the elites of a search, a run or an `ImportedArchive` as columns.

    Returns (geometry, cell `[n]`, genome `[n, ...]`, objective `[n]`, descriptor `[n, d]`). Cells
    that keep several elites, and islands, give the best elite of each cell, as on a map.
    """
    elites, archive = view.elites, view.archive.map
    cell = np.flatnonzero(np.asarray(elites.occupied))
    cell = cell[cell % elites.depth == 0]  # the best of each
    if isinstance(view, ImportedArchive):
        genome = view.genomes
    else:
        genome = view.ledger.take(elites.payload["id"][cell]).genome
    if not isinstance(genome, np.ndarray):
        genome, texts = np.empty(len(cell), object), genome
        genome[:] = texts
    return archive, cell // elites.depth, genome, elites.objective[cell], elites.descriptor[cell]

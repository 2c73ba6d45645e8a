"""Repertoires of QDax as our archives, and ours as those of QDax. Does not need QDax itself."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from qdkit.archives import CVT, Thresholds

from .conversion import (
    ImportedArchive,
    distance_outside,
    exported_columns,
    imported_archive,
    rounding_error,
)


def from_qdax(repertoire: Any) -> ImportedArchive:
    """Returns a `MapElitesRepertoire` as a `CVT` around its centroids, with all its elites.

    Genotypes can be one array `[C, ...]`, or a pytree of one leaf. A cell whose fitness is -inf is
    empty. Each elite stays in the cell of its row, although an elite on an edge may be as near to
    another cell.

    Raises TypeError for genotypes of several leaves; ValueError where elites are not in their
    cells, for a fitness or descriptor that is not finite, and for several fitnesses in a cell.
    """
    import jax

    leaves = jax.tree.leaves(repertoire.genotypes)
    if len(leaves) != 1:
        raise TypeError(
            f"the genotypes are a tree of {len(leaves)} arrays and a genome is one: "
            "flatten them first, as with jax.flatten_util.ravel_pytree under jax.vmap"
        )
    archive = CVT(np.asarray(repertoire.centroids, np.float64))
    fitness, genome = np.asarray(repertoire.fitnesses, np.float64), np.asarray(leaves[0])
    descriptor, cells = np.asarray(repertoire.descriptors, np.float64), archive.cells
    if fitness.size != cells or len(genome) != cells or descriptor.shape != (cells, archive.axes):
        raise ValueError(
            f"a repertoire of {cells} centroids of {archive.axes} axes has a fitness, a "
            "genotype and a descriptor for each, and this one has "
            f"{fitness.shape}, {genome.shape} and {descriptor.shape}"
        )
    cell = np.flatnonzero(fitness.reshape(-1) != -np.inf)
    slack = rounding_error(repertoire.centroids, np.asarray(repertoire.descriptors)[cell])
    objective = fitness.reshape(-1)[cell]
    return imported_archive(archive, cell, genome[cell], objective, descriptor[cell], slack)


def to_qdax(view: Any) -> dict[str, Any]:
    """Returns the columns of a `MapElitesRepertoire`, for genomes that are arrays.

    `MapElitesRepertoire(**to_qdax(search))` makes the repertoire. The columns are genotypes
    `[C, ...]`, fitnesses `[C, 1]` (-inf where empty), descriptors `[C, d]` and centroids
    `[C, d]` (the middles of our cells), as in QDax since 0.5, without extra scores. For a `CVT`,
    and for a grid of equal cells, QDax has the same cells.

    Raises TypeError for genomes that are not arrays, and for cells without a middle.
    """
    archive, cell, genome, objective, descriptor = exported_columns(view)
    if isinstance(view.archive, Thresholds):
        warnings.warn(
            "QDax has no thresholds: those of this Thresholds archive are left out",
            stacklevel=2,
        )
    if genome.dtype == object:
        raise TypeError("QDax stores arrays of numbers, and these genomes are not arrays")
    centres = np.asarray(archive.centres)
    if not np.isfinite(centres).all():
        raise TypeError(
            f"QDax finds a cell by its middle, and those of {type(archive).__name__} have none"
        )
    distance = distance_outside(CVT(centres), cell, descriptor)
    misplaced = int((distance > rounding_error(centres, descriptor)).sum())
    if misplaced:
        warnings.warn(
            f"{misplaced} of {len(cell)} elites lie nearer to the middle of another cell, where "
            "QDax looks for them: these cells are not of equal width",
            stacklevel=2,
        )
    genotypes = np.zeros((archive.cells, *genome.shape[1:]), genome.dtype)
    fitnesses = np.full((archive.cells, 1), -np.inf)
    descriptors = np.zeros((archive.cells, archive.axes))
    genotypes[cell], fitnesses[cell, 0], descriptors[cell] = genome, objective, descriptor
    return {
        "genotypes": genotypes,
        "fitnesses": fitnesses,
        "descriptors": descriptors,
        "centroids": centres,
        "extra_scores": {},
        "keys_extra_scores": (),
    }

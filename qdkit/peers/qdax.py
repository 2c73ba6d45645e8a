"""Repertoires of QDax as our archives, and ours as those of QDax. QDax itself is not needed."""

from __future__ import annotations

from typing import Any

import numpy as np

from qdkit.archives import CVT

from .read import Read, filled, shown


def from_qdax(repertoire: Any) -> Read:
    """A `MapElitesRepertoire` as a `CVT` around its centroids, with all its elites.

    Genotypes that are one array `[C, ...]` can be read, of the pytrees only those of one leaf. A cell whose fitness
    is -inf is empty. Raises TypeError for genotypes of several leaves, ValueError where elites are not in their cells.
    """
    import jax

    leaves = jax.tree.leaves(repertoire.genotypes)
    if len(leaves) != 1:
        raise TypeError(
            f"the genotypes are a tree of {len(leaves)} arrays and a genome is one: "
            "flatten them first, as with jax.flatten_util.ravel_pytree under jax.vmap"
        )
    fitness = np.asarray(repertoire.fitnesses, np.float64).reshape(-1)
    full = fitness > -np.inf
    descriptor = np.asarray(repertoire.descriptors, np.float64)[full]
    archive = CVT(np.asarray(repertoire.centroids, np.float64))
    return filled(archive, np.asarray(leaves[0])[full], fitness[full], descriptor)


def to_qdax(seen: Any) -> dict[str, Any]:
    """The columns of a `MapElitesRepertoire`, for `MapElitesRepertoire(**to_qdax(search))`, of genomes that are arrays.

    genotypes `[C, ...]`, fitnesses `[C, 1]` (-inf where empty), descriptors `[C, d]`, centroids `[C, d]` (the middles
    of our cells) as QDax has them since 0.5, without extra scores. For a `CVT`, and for a grid of equal
    cells, QDax finds the same cells again. Raises TypeError for genomes that are no arrays, or cells without a middle.
    """
    archive, cell, genome, objective, descriptor = shown(seen)
    if genome.dtype == object:
        raise TypeError("QDax holds arrays of numbers, and these genomes are none")
    centres = np.asarray(archive.centres)
    if not np.isfinite(centres).all():
        raise TypeError(f"QDax finds a cell by its middle, and those of {type(archive).__name__} have none")
    genotypes = np.zeros((archive.cells, *genome.shape[1:]), genome.dtype)
    fitnesses, descriptors = np.full((archive.cells, 1), -np.inf), np.zeros((archive.cells, archive.axes))
    genotypes[cell], fitnesses[cell, 0], descriptors[cell] = genome, objective, descriptor
    return {
        "genotypes": genotypes,
        "fitnesses": fitnesses,
        "descriptors": descriptors,
        "centroids": centres,
        "extra_scores": {},
        "keys_extra_scores": (),
    }

"""What was read out of another library's archive."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from qdkit.elites import Archive, Elites, double


class Read(NamedTuple):
    """An archive and what is in it, as every function of `qdkit.viz` and of `qdkit.metrics` takes it.

    archive: the geometry. elites: as numpy arrays (float64), with the genomes in `payload["genome"]`, an
      array `[C, ...]`, of dtype object where they are no numbers.
    """

    archive: Archive
    elites: Elites

    @property
    def genomes(self) -> np.ndarray:
        """`[n, ...]`: those of the elites, in the order of their cells: seeds for a search that goes on from here."""
        return self.elites.payload["genome"][self.elites.occupied]


def filled(archive: Archive, genome: np.ndarray, objective: np.ndarray, descriptor: np.ndarray) -> Read:
    """The archive with these candidates in it, each in the cell of its descriptor.

    Raises ValueError for candidates of which not every one has a place: two in one cell, or nan in one.
    """
    n, number = len(objective), np.arange(len(objective), dtype=np.int32)
    with double():
        elites, _ = archive.add(archive.init(np.int32(0)), objective, descriptor, number)
        elites = jax.tree.map(np.asarray, elites)
    held = int(elites.occupied.sum())
    if held != n:
        raise ValueError(
            f"{n} elites were read and {held} have a cell of their own in {type(archive).__name__}: "
            "their measures belong to other cells than those that they were in"
        )
    where = np.flatnonzero(elites.occupied)
    genomes = np.zeros((len(elites.objective), *genome.shape[1:]), genome.dtype)
    genomes[where] = genome[elites.payload[where]]
    return Read(archive, elites.__class__(elites.objective, elites.descriptor, {"genome": genomes}))


def shown(seen: Any) -> tuple[Archive, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(map, cell `[n]`, genome `[n, ...]`, objective `[n]`, descriptor `[n, d]`) of a search, a run or a `Read`.

    The best of each cell, as a map shows it: what is deep or on islands is united.
    """
    elites, archive = seen.elites, seen.archive.map
    cell = np.flatnonzero(np.asarray(elites.occupied))
    cell = cell[cell % elites.depth == 0]  # the best of each
    genome = seen.genomes if isinstance(seen, Read) else seen.ledger.take(elites.payload["id"][cell]).genome
    if not isinstance(genome, np.ndarray):
        genome, texts = np.empty(len(cell), object), genome
        genome[:] = texts
    return archive, cell // elites.depth, genome, elites.objective[cell], elites.descriptor[cell]

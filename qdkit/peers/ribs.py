"""Archives of pyribs as ours, and ours as those of pyribs."""

from __future__ import annotations

from typing import Any

import numpy as np

from qdkit.archives import CVT, Grid
from qdkit.elites import Archive

from .read import Read, filled, shown


def from_ribs(archive: Any) -> Read:
    """A `GridArchive`, `CategoricalArchive` or `CVTArchive` of pyribs as ours, with all its elites.

    Their objectives and measures come as float64, solutions as they are. Extra fields, and the thresholds of
    CMA-MAE, stay behind. Raises TypeError for an archive that is not made of cells which stay where they are.
    """
    data = archive.data(["solution", "objective", "measures"])
    measures = data["measures"]
    ours = _geometry(archive)
    if isinstance(ours, Grid) and any(map(ours.labels, range(ours.axes))):
        measures = ours.encode(measures)
    objective, measures = np.asarray(data["objective"], np.float64), np.asarray(measures, np.float64)
    return filled(ours, np.asarray(data["solution"]), objective, measures.reshape(-1, ours.axes))


def to_ribs(seen: Any, **settings: Any) -> Any:
    """A search, a run or a `Read` as an archive of pyribs: a `GridArchive`, `CategoricalArchive` or `CVTArchive`.

    settings: of that archive, such as `qd_score_offset`, `solution_dtype` or `seed`. Objectives are float64.
    Solutions are arrays of their own dtype; what is no array (texts, programs) is held as an object, with
    `solution_dim=()`. Raises TypeError for a geometry that pyribs has not: set bins, grids of which some axes
    have labels and others numbers, archives without cells.
    """
    from ribs import archives

    ours, _, genome, objective, descriptor = shown(seen)
    given = {"solution_dim": genome.shape[1:], "solution_dtype": genome.dtype, **settings}
    labels = [ours.labels(axis) or () for axis in range(ours.axes)] if isinstance(ours, Grid) else []
    made: Any
    if isinstance(ours, CVT):
        made = archives.CVTArchive(centroids=ours.centroids, ranges=ours.bounds, **given)
    elif isinstance(ours, Grid) and all(labels):
        made = archives.CategoricalArchive(categories=labels, measures_dtype=object, **given)
        descriptor = np.array([[labels[i][int(x)] for i, x in enumerate(row)] for row in descriptor], object)
    elif isinstance(ours, Grid) and not any(labels) and all(len(axis) == 2 for axis in ours.bounds):
        ranges: Any = ours.bounds
        made = archives.GridArchive(dims=ours.shape, ranges=ranges, **given)
    else:
        raise TypeError(
            f"pyribs has no archive like {ours!r:.200}: grids that are evenly divided or all of labels can be written, "
            "and every CVT"
        )
    if len(genome):
        made.add(genome, objective, descriptor)
    return made


def _geometry(archive: Any) -> Archive:
    kind = type(archive).__name__
    if kind == "GridArchive":
        bounds = zip(archive.lower_bounds.tolist(), archive.upper_bounds.tolist(), strict=True)
        return Grid(tuple(archive.dims.tolist()), tuple(bounds))
    if kind == "CategoricalArchive":
        return Grid(tuple(archive.dims.tolist()), tuple(tuple(map(str, labels)) for labels in archive.categories))
    if kind == "CVTArchive":
        low, high = archive.lower_bounds.tolist(), archive.upper_bounds.tolist()
        return CVT(np.asarray(archive.centroids, np.float64), tuple(zip(low, high, strict=True)))
    raise TypeError(
        f"a GridArchive, a CategoricalArchive or a CVTArchive of pyribs can be read, and this is a {kind}: "
        "add what archive.data() gives to an archive of your own"
    )

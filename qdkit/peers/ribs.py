"""Archives of pyribs as ours, and ours as those of pyribs."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from qdkit.archives import CVT, Grid, Thresholds
from qdkit.core.elites import Archive

from .conversion import ImportedArchive, exported_columns, imported_archive, rounding_error


def from_ribs(archive: Any) -> ImportedArchive:
    """Returns an archive of pyribs as ours, with all its elites.

    archive: a `GridArchive`, `CategoricalArchive` or `CVTArchive`.

    Objectives and measures become float64, solutions keep their dtype, and each elite stays in the
    cell of its index. An archive with the thresholds of CMA-MAE becomes a `Thresholds` archive
    with these thresholds. Extra fields are left out, with a warning.

    Raises TypeError for an archive without fixed cells, ValueError for elites that lie outside
    their cells by more than pyribs' epsilon and rounding.
    """
    ours = _geometry(archive)
    fields = ["solution", "objective", "measures", "index", "threshold"]
    if extra := [name for name in archive.field_list if name not in fields]:
        warnings.warn(
            f"the fields {', '.join(extra)} are left out: an archive of ours stores genomes only",
            stacklevel=2,
        )
    data = archive.data(["solution", "objective", "measures", "index", "threshold"])
    measures = data["measures"]
    slack: Any = rounding_error(measures) if measures.dtype.kind == "f" else 0.0
    if isinstance(ours, Grid) and not any(map(ours.labels, range(ours.axes))):
        slack = rounding_error(measures, archive.lower_bounds, archive.upper_bounds)
        slack = slack + 2 * archive.epsilon / archive.dims
    elif isinstance(ours, CVT):
        slack = rounding_error(measures, archive.centroids)
    if isinstance(ours, Grid):
        descriptor = ours.encode(measures)
    else:
        descriptor = np.asarray(measures, np.float64)
    genome, objective = np.asarray(data["solution"]), np.asarray(data["objective"], np.float64)
    descriptor, cell = descriptor.reshape(-1, ours.axes), np.asarray(data["index"], np.int64)
    rate, minimum = float(archive.learning_rate), float(archive.threshold_min)
    has_thresholds = np.isfinite(minimum)
    filled = Thresholds(ours, rate, minimum) if has_thresholds else ours
    imported = imported_archive(filled, cell, genome, objective, descriptor, slack)
    if has_thresholds:
        imported.elites.state[cell] = data["threshold"]
    return imported


def to_ribs(view: Any, **settings: Any) -> Any:
    """Returns a search, a run or an `ImportedArchive` as an archive of pyribs.

    The result is a `GridArchive`, `CategoricalArchive` or `CVTArchive`.

    settings: of that archive, such as `qd_score_offset`, `solution_dtype` or `seed`.

    Objectives are float64. Solutions are arrays of their own dtype; texts and programs are stored
    as objects, with `solution_dim=()`. A `Thresholds` archive keeps its thresholds, as those of
    CMA-MAE. The epsilon of a grid is as small as rounding, so that cells are ours. Where an elite
    still belongs to another cell by pyribs' rule, its measures move towards the middle of its cell
    until it does not, with a warning that says by how much.

    Raises TypeError for a geometry that pyribs does not have: unequal bins, grids of which some
    axes have labels and others numbers, archives without cells.
    """
    from ribs import archives

    ours, cell, genome, objective, descriptor = exported_columns(view)
    options = {"solution_dim": genome.shape[1:], "solution_dtype": genome.dtype, **settings}
    thresholds = view.archive if isinstance(view.archive, Thresholds) else None
    if thresholds:
        options = {
            "learning_rate": thresholds.rate,
            "threshold_min": thresholds.minimum,
        } | options
    grid = ours if isinstance(ours, Grid) else None
    labels = [grid.labels(axis) or () for axis in range(grid.axes)] if grid else []
    theirs: Any
    if isinstance(ours, CVT):
        theirs = archives.CVTArchive(centroids=ours.centroids, ranges=ours.bounds, **options)
    elif grid and all(labels):
        theirs = archives.CategoricalArchive(categories=labels, measures_dtype=object, **options)
        rows = [[labels[i][int(x)] for i, x in enumerate(row)] for row in descriptor]
        descriptor = np.array(rows, object)
    elif grid and not any(labels) and all(len(axis) == 2 for axis in grid.bounds):
        ranges: Any = grid.bounds
        steps = np.spacing(np.abs(np.array(ranges)).max(1)) * grid.shape
        options = {"epsilon": 4 * float(steps.max())} | options
        theirs = archives.GridArchive(dims=grid.shape, ranges=ranges, **options)
    else:
        raise TypeError(
            f"pyribs has no archive like {ours!r:.200}: grids that are evenly divided or all of "
            "labels can be written, and every CVT"
        )
    if len(genome):
        if descriptor.dtype != object:
            descriptor = _move_from_edges(theirs, ours, cell, descriptor)
        theirs.add(genome, objective, descriptor)
        if thresholds:
            _set_thresholds(theirs, cell, np.asarray(view.elites.state)[cell])
    return theirs


def _move_from_edges(
    theirs: Any, ours: Archive, cell: np.ndarray, descriptor: np.ndarray
) -> np.ndarray:
    """Returns the descriptors, moved where pyribs would put them into another cell.

    Those on an edge move towards the middle of their cell until pyribs puts them into it.
    """
    original, share, middles = descriptor, 2.0**-50, ours.centres
    while (other := theirs.index_of(descriptor) != cell).any() and share <= 1:
        nearer = original + share * (middles[cell] - original)
        descriptor, share = np.where(other[:, None], nearer, descriptor), 2 * share
    if other.any():
        raise ValueError(
            f"pyribs has other cells than ours for {int(other.sum())} of {len(cell)} elites"
        )
    if rows := int((descriptor != original).any(1).sum()):
        most = np.abs(descriptor - original).max()
        warnings.warn(
            f"{rows} elites lie on an edge, where pyribs has them in another cell: their measures "
            f"move by up to {most}",
            stacklevel=3,
        )
    return descriptor


def _set_thresholds(theirs: Any, cell: np.ndarray, threshold: np.ndarray) -> None:
    """Sets the thresholds of the cells.

    Writes the store of the archive, as `add` would compute the thresholds from the objectives.
    """
    data = dict(theirs.data())
    order = np.argsort(data.pop("index"))
    columns = {name: column[order] for name, column in data.items()}
    if not np.array_equal(np.sort(theirs.data("index")), cell):
        raise ValueError(
            "some elites lie below the minimum of their Thresholds archive: pyribs would not "
            "keep them"
        )
    theirs._store.add(cell, columns | {"threshold": threshold.astype(columns["threshold"].dtype)})


def _geometry(archive: Any) -> Archive:
    """Returns our archive with the cells of one of pyribs'."""
    kind = type(archive).__name__
    if kind == "GridArchive":
        bounds = zip(archive.lower_bounds.tolist(), archive.upper_bounds.tolist(), strict=True)
        return Grid(tuple(archive.dims.tolist()), tuple(bounds))
    if kind == "CategoricalArchive":
        return Grid(
            tuple(archive.dims.tolist()),
            tuple(tuple(map(str, labels)) for labels in archive.categories),
        )
    if kind == "CVTArchive":
        low, high = archive.lower_bounds.tolist(), archive.upper_bounds.tolist()
        return CVT(np.asarray(archive.centroids, np.float64), tuple(zip(low, high, strict=True)))
    raise TypeError(
        "a GridArchive, a CategoricalArchive or a CVTArchive of pyribs can be read, and this is "
        f"a {kind}: add the elites of archive.data() to an archive of your own"
    )

"""Checks that an archive satisfies its contract, and that it agrees with a simple count."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from qdkit.archives.unstructured import Unstructured
from qdkit.core.elites import IMPROVED, NEW, NOWHERE, REJECTED, Added, Archive, Elites
from qdkit.core.seeds import numpy_seed

from .conformance import require

_BATCHES, ROWS = 4, 24  # the batches that an archive receives, and their rows
_Counted = dict[int, tuple[float, np.ndarray, int]]  # cell -> objective, descriptor, id


def check_archive(archive: Archive, seed: int = 0) -> None:
    """Checks the contract of an archive.

    Elites are in the cells of their descriptors (if the archive has cells), rows that are not
    finite never enter, and adding inside `jax.lax.scan` gives the same elites as a loop. `add`,
    `update` and `insert` raise ValueError for columns with another number of rows or axes, or
    with another payload.

    If the archive keeps the best of each cell (`archive.elitist`), it must also agree with a
    simple count, in which the first of equal rows stays. Archives with other rules need tests of
    their own.
    """
    random = np.random.default_rng(numpy_seed(seed))
    history = [_rows(archive, random, first=ROWS * i) for i in range(_BATCHES)]
    elites = archive.init(0)
    _check_empty(archive, elites)
    counted: _Counted = {}
    for objective, descriptor, id in history:
        cell = _check_cell(archive, descriptor, random)
        expected = _count(counted, cell, objective, descriptor, id)
        elites, added = archive.add(elites, objective, descriptor, id)
        if archive.elitist:
            _check_added(added, expected)
            _check_elites(elites, counted)
        _check_rejected(added, ~(np.isfinite(objective) & np.isfinite(descriptor).all(1)))
        if not isinstance(archive, Unstructured):
            _check_own_cells(archive, elites)
    _check_no_rows(archive, elites)
    _check_scan(archive, elites, history)
    if archive.elitist:
        _check_repetition_and_order(archive, elites, history, random)
    check_shapes(archive, history[0])


def check_shapes(archive: Archive, batch: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Checks that `add`, `update` and `insert` raise ValueError for columns of wrong shapes.

    batch: valid objectives, descriptors and ids, whose shapes are changed.
    """
    objective, descriptor, id = batch
    columns = {"objective": objective, "descriptor": descriptor, "payload": id}
    n, wider = len(id), np.zeros((len(id), archive.axes + 1))
    wrong = {
        "objective": [
            objective[:, None],
            objective[None],
            objective[:1],
            objective[1:],
            objective[0],
        ],
        "descriptor": [
            wider,
            descriptor[:1],
            descriptor[1:],
            descriptor[None],
            descriptor[:, :-1],
            descriptor.ravel(),
        ],
        "payload": [id[:, None], id[:1], id[1:], id[0], {"id": id}, (), np.zeros(n) + 0.5],
        "cell": [np.zeros((n, 1), np.int32), np.zeros(1, np.int32), np.zeros(n - 1, np.int32)],
    }
    for name, others in wrong.items():
        for other in others:
            arguments = columns | {name: other}
            cell = arguments.pop("cell", np.zeros(n, np.int32))
            for method in ("insert",) if name == "cell" else ("add", "update", "insert"):
                values = tuple(arguments.values())
                rows = (cell, *values) if method == "insert" else values
                require(
                    _raises_value_error(archive, method, rows),
                    f"{method} took {_describe(name, other)} beside {n} rows of {archive.axes} "
                    "axes, and is to raise ValueError: call qdkit.core.shapes.check_columns("
                    "elites, objective, descriptor, payload) first",
                )


def _raises_value_error(archive: Archive, method: str, rows: tuple[Any, ...]) -> bool:
    """Whether a method raises ValueError. Another exception is no deliberate check."""
    try:
        getattr(archive, method)(archive.init(0), *rows)
    except ValueError:
        return True
    except (TypeError, IndexError, AttributeError):
        return False
    return False


def _describe(name: str, column: Any) -> str:
    if isinstance(column, np.ndarray | np.generic):
        return f"{name} of shape {column.shape} and dtype {column.dtype}"
    return f"{name} {type(column).__name__}"


def _check_no_rows(archive: Archive, elites: Elites) -> None:
    after, added = archive.add(
        elites, np.zeros(0), np.zeros((0, archive.axes)), np.zeros(0, np.int32)
    )
    shapes = [np.shape(column) for column in added]
    require(
        _same_elites(after, elites) and shapes == [(0,)] * 3,
        "adding no rows is to change no elites and to return no rows",
    )


def _check_scan(archive: Archive, elites: Elites, history: list[Any]) -> None:
    step = lambda elites, batch: (archive.add(elites, *batch)[0], None)
    scanned, _ = jax.lax.scan(
        step, archive.init(0), tuple(np.stack(column) for column in zip(*history, strict=True))
    )
    require(
        _same_elites(scanned, elites),
        "adding inside jax.lax.scan gave other elites than a loop over the batches",
    )
    updated = archive.init(0)
    for batch in history:
        updated, _ = archive.update(updated, *batch)
    require(
        _same_elites(updated, elites),
        "update gave other elites than add: a rule of its own goes into insert, which both of "
        "them call",
    )


def _check_repetition_and_order(
    archive: Archive, elites: Elites, history: list[Any], random: np.random.Generator
) -> None:
    """Checks that a repeated batch changes nothing, and that the order of rows has no effect."""
    twice, added = archive.add(elites, *history[-1])
    require(
        _same_elites(twice, elites) and not np.asarray(added.status).any(),
        "adding a batch twice changed the elites: only what is better than its cell's elite may "
        "enter",
    )
    _, descriptor, id = history[0]
    distinct, order = random.permutation(ROWS).astype(np.float32), random.permutation(ROWS)
    in_order, _ = archive.add(archive.init(0), distinct, descriptor, id)
    permuted, _ = archive.add(archive.init(0), distinct[order], descriptor[order], id[order])
    require(
        _same_elites(in_order, permuted),
        "another order of the rows gave other elites, although no two objectives tie",
    )


def _rows(
    archive: Archive, random: np.random.Generator, first: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns random objectives, descriptors and ids.

    They include ties, repetitions, points outside the bounds and values that are not finite.
    """
    axes = getattr(archive, "bounds", None) or ((-1.0, 1.0),) * archive.axes
    descriptor = np.stack([_coordinates(axis, random) for axis in axes], 1).astype(np.float32)
    objective = random.integers(-2, 3, ROWS).astype(np.float32)
    descriptor[1:4] = descriptor[0]
    objective[4:6] = np.nan, np.inf
    descriptor[6:8, 0] = np.nan, np.inf
    return objective, descriptor, np.arange(first, first + ROWS, dtype=np.int32)


def _coordinates(axis: Any, random: np.random.Generator) -> np.ndarray:
    """Returns coordinates along an axis, one in six out of bounds; labels as their indices."""
    if isinstance(axis[0], str):
        return random.integers(0, len(axis), ROWS)
    low, high = float(axis[0]), float(axis[-1])
    margin = 0.1 * (high - low)
    return random.uniform(low - margin, high + margin, ROWS)


def _check_empty(archive: Archive, elites: Elites) -> None:
    cells, axes = archive.cells, archive.axes
    require(
        cells >= 1 and axes >= 1,
        f"an archive has at least one cell and one axis, not {cells} and {axes}",
    )
    shapes = np.shape(elites.objective), np.shape(elites.descriptor), np.shape(elites.payload)
    slots = cells * elites.depth
    expected = (slots,), (slots, axes), (slots,)
    require(
        shapes == expected,
        f"init gives objective, descriptor and payload of shapes {expected}, not {shapes}",
    )
    require(
        not np.asarray(elites.occupied).any(),
        "init gives an empty archive: the objective is -inf everywhere",
    )
    for row, fits in {(np.nan,) * axes: True, (np.nan,) * (axes + 1): False}.items():
        require(
            _encodes(archive, row) == fits,
            f"encode takes descriptors of {axes} entries and raises ValueError for others",
        )


def _encodes(archive: Archive, row: tuple[float, ...]) -> bool:
    try:
        return archive.encode([row]).shape == (1, len(row))
    except ValueError:
        return False


def _check_cell(
    archive: Archive, descriptor: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Checks `cell` and `inside`, and returns the cells of `descriptor`.

    Each is a cell of the archive or NOWHERE, and depends on its row alone.
    """
    cell, inside = np.asarray(archive.cell(descriptor)), np.asarray(archive.inside(descriptor))
    require(
        cell.shape == (ROWS,) and cell.dtype.kind == "i",
        f"cell gives {ROWS} integers for {ROWS} descriptors, not {cell.dtype} of shape "
        f"{cell.shape}",
    )
    require(
        ((cell == NOWHERE) | ((cell >= 0) & (cell < archive.cells))).all(),
        f"a cell is a number from 0 to {archive.cells - 1}, or NOWHERE, not one of "
        f"{sorted(set(cell.tolist()))}",
    )
    require(
        inside.shape == (ROWS,) and inside.dtype == bool,
        f"inside gives {ROWS} booleans, not {inside!r}",
    )
    missing = inside & np.isfinite(descriptor).all(1) & (cell == NOWHERE)
    require(
        not missing.any(),
        f"{descriptor[missing]} is inside the bounds and belongs to no cell: every point inside "
        "has one",
    )
    order = random.permutation(ROWS)
    require(
        (np.asarray(archive.cell(descriptor[order])) == cell[order]).all(),
        "a descriptor's cell changed with its place in the batch: it may depend on nothing but "
        "the descriptor",
    )
    return cell


def _count(
    counted: _Counted,
    cell: np.ndarray,
    objective: np.ndarray,
    descriptor: np.ndarray,
    id: np.ndarray,
) -> Added:
    """Adds the rows to `counted` one after another, and returns what `add` should return.

    Statuses and values compare with `counted` as it was before the batch.
    """
    before, statuses, values, cells = dict(counted), [], [], []
    for c, f, d, i in zip(cell.tolist(), objective.tolist(), descriptor, id.tolist(), strict=True):
        valid = c != NOWHERE and np.isfinite(f) and bool(np.isfinite(d).all())
        best = before[c][0] if c in before else -np.inf
        better = valid and f > best
        statuses.append((IMPROVED if c in before else NEW) if better else REJECTED)
        values.append(f - (best if c in before else 0.0) if valid else np.nan)
        cells.append(c if valid else NOWHERE)
        if valid and (c not in counted or f > counted[c][0]):
            counted[c] = (f, d, i)
    return Added(*map(np.asarray, (statuses, values, cells)))  # type: ignore[arg-type]


def _check_added(added: Added, expected: Added) -> None:
    for name, column, counted in zip(Added._fields, added, expected, strict=True):
        require(
            np.shape(column) == (ROWS,),
            f"{name} has one entry for each of {ROWS} rows, not shape {np.shape(column)}",
        )
        values, wanted = np.asarray(column, float), np.asarray(counted, float)
        close = np.isclose(values, wanted, equal_nan=True)
        wrong = np.flatnonzero(~close)
        require(
            not len(wrong),
            f"{name} of rows {wrong} is {np.asarray(column)[wrong]}, and counted by hand "
            f"{np.asarray(counted)[wrong]}, "
            "against the elites before the batch: see qdkit.core.elites.Added",
        )


def _check_rejected(added: Added, bad: np.ndarray) -> None:
    """Checks that the rows `bad`, which are not finite, were rejected."""
    status, value, cell = (np.asarray(column)[bad] for column in added)
    require(
        not status.any() and np.isnan(value).all() and (cell == NOWHERE).all(),
        f"rows {np.flatnonzero(bad)} are not finite, so their status is 0, their value nan and "
        "their cell NOWHERE",
    )


def _check_own_cells(archive: Archive, elites: Elites) -> None:
    """Checks that every elite is in the cell of its descriptor."""
    occupied = np.flatnonzero(np.asarray(elites.occupied))
    own = np.asarray(archive.cell(elites.descriptor))[occupied]
    cell = occupied // elites.depth
    require(
        (own == cell).all(), f"elites of cells {cell[own != cell]} have descriptors of other cells"
    )


def _check_elites(elites: Elites, counted: _Counted) -> None:
    """Checks that the elites are those of `counted`."""
    occupied = set(np.flatnonzero(np.asarray(elites.occupied)).tolist())
    require(
        occupied == set(counted),
        f"cells {sorted(occupied ^ set(counted))} are occupied that should be empty, or the "
        "reverse: a row that is finite and has a cell enters, and no other",
    )
    for cell, (objective, descriptor, id) in counted.items():
        actual = float(elites.objective[cell]), int(elites.payload[cell])
        require(
            actual == (objective, id) and np.array_equal(elites.descriptor[cell], descriptor),
            f"cell {cell} keeps objective {objective} of row {id}, the first of the best, "
            f"and holds {actual[0]} of row {actual[1]}",
        )


def _same_elites(a: Elites, b: Elites) -> bool:
    return all(
        np.array_equal(x, y, equal_nan=True)
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )

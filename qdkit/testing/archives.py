"""Whether an archive keeps what it promises: its laws, and a count by hand beside it."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from qdkit.archives.unstructured import Unstructured
from qdkit.elites import IMPROVED, NEW, NOWHERE, REJECTED, Added, Archive, Elites

from .conformance import hold

BATCHES, ROWS = 4, 24  # how much an archive is given
Known = dict[int, tuple[float, np.ndarray, int]]  # of each occupied cell: objective, descriptor, id


def check_archive(archive: Archive, seed: int = 0) -> None:
    """Elites stay in their own cells (where there are cells), nothing that is not finite enters, and a scan is a loop.

    Where the best of each cell stays (`archive.elitist`), all else is held against a count by hand:
    the first of equals, whatever comes, in whatever order. Other rules have laws of their own to be tested.
    """
    random = np.random.default_rng(seed)
    history = [_rows(archive, random, first=ROWS * i) for i in range(BATCHES)]
    elites = archive.init(0)
    _check_empty(archive, elites)
    known: Known = {}
    for objective, descriptor, id in history:
        cell = _check_cell(archive, descriptor, random)
        expected = _count(known, cell, objective, descriptor, id)
        elites, added = archive.add(elites, objective, descriptor, id)
        if archive.elitist:
            _check_added(added, expected)
            _check_elites(elites, known)
        _check_refused(added, ~(np.isfinite(objective) & np.isfinite(descriptor).all(1)))
        if not isinstance(archive, Unstructured):
            _check_own_cells(archive, elites)
    _check_no_rows(archive, elites)
    _check_scan(archive, elites, history)
    if archive.elitist:
        _check_again(archive, elites, history, random)


def _check_no_rows(archive: Archive, elites: Elites) -> None:
    after, added = archive.add(elites, np.zeros(0), np.zeros((0, archive.axes)), np.zeros(0, np.int32))
    told = [np.shape(column) for column in added]
    hold(_same_elites(after, elites) and told == [(0,)] * 3, "adding no rows is to change nothing and to say nothing")


def _check_scan(archive: Archive, elites: Elites, history: list[Any]) -> None:
    step = lambda elites, batch: (archive.add(elites, *batch)[0], None)
    scanned, _ = jax.lax.scan(step, archive.init(0), tuple(np.stack(column) for column in zip(*history, strict=True)))
    hold(_same_elites(scanned, elites), "adding inside jax.lax.scan gave other elites than a loop over the batches")
    updated = archive.init(0)
    for batch in history:
        updated, _ = archive.update(updated, *batch)
    hold(
        _same_elites(updated, elites),
        "update gave other elites than add: a rule of its own goes into insert, which both of them call",
    )


def _check_again(archive: Archive, elites: Elites, history: list[Any], random: np.random.Generator) -> None:
    twice, added = archive.add(elites, *history[-1])
    hold(
        _same_elites(twice, elites) and not np.asarray(added.status).any(),
        "adding a batch twice changed the elites: only what is better than its cell's elite may enter",
    )
    _, descriptor, id = history[0]
    distinct, order = random.permutation(ROWS).astype(np.float32), random.permutation(ROWS)
    there, _ = archive.add(archive.init(0), distinct, descriptor, id)
    back, _ = archive.add(archive.init(0), distinct[order], descriptor[order], id[order])
    hold(_same_elites(there, back), "another order of the rows gave other elites, although no two objectives tie")


def _rows(archive: Archive, random: np.random.Generator, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Objectives, descriptors and ids: ties, repeats, points outside, and some that are not finite."""
    axes = getattr(archive, "bounds", None) or ((-1.0, 1.0),) * archive.axes
    descriptor = np.stack([_along(axis, random) for axis in axes], 1).astype(np.float32)
    objective = random.integers(-2, 3, ROWS).astype(np.float32)
    descriptor[1:4] = descriptor[0]
    objective[4:6] = np.nan, np.inf
    descriptor[6:8, 0] = np.nan, np.inf
    return objective, descriptor, np.arange(first, first + ROWS, dtype=np.int32)


def _along(axis: Any, random: np.random.Generator) -> np.ndarray:
    """Places along an axis, one in six outside it; a label is held as its number."""
    if isinstance(axis[0], str):
        return random.integers(0, len(axis), ROWS)
    low, high = float(axis[0]), float(axis[-1])
    margin = 0.1 * (high - low)
    return random.uniform(low - margin, high + margin, ROWS)


def _check_empty(archive: Archive, elites: Elites) -> None:
    cells, axes = archive.cells, archive.axes
    hold(cells >= 1 and axes >= 1, f"an archive has at least one cell and one axis, not {cells} and {axes}")
    shapes = np.shape(elites.objective), np.shape(elites.descriptor), np.shape(elites.payload)
    places = cells * elites.depth
    expected = (places,), (places, axes), (places,)
    hold(shapes == expected, f"init gives objective, descriptor and payload of shapes {expected}, not {shapes}")
    hold(not np.asarray(elites.occupied).any(), "init gives an empty archive: the objective is -inf everywhere")
    for row, fits in {(np.nan,) * axes: True, (np.nan,) * (axes + 1): False}.items():
        hold(
            _encodes(archive, row) == fits,
            f"encode takes descriptors of {axes} entries and raises ValueError for others",
        )


def _encodes(archive: Archive, row: tuple[float, ...]) -> bool:
    try:
        return archive.encode([row]).shape == (1, len(row))
    except ValueError:
        return False


def _check_cell(archive: Archive, descriptor: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The cells of `descriptor`, each a cell, and each row's its own."""
    cell, inside = np.asarray(archive.cell(descriptor)), np.asarray(archive.inside(descriptor))
    hold(
        cell.shape == (ROWS,) and cell.dtype.kind == "i",
        f"cell gives {ROWS} integers for {ROWS} descriptors, not {cell.dtype} of shape {cell.shape}",
    )
    hold(
        ((cell == NOWHERE) | ((cell >= 0) & (cell < archive.cells))).all(),
        f"a cell is a number from 0 to {archive.cells - 1}, or NOWHERE, not one of {sorted(set(cell.tolist()))}",
    )
    hold(inside.shape == (ROWS,) and inside.dtype == bool, f"inside gives {ROWS} booleans, not {inside!r}")
    lost = inside & np.isfinite(descriptor).all(1) & (cell == NOWHERE)
    hold(not lost.any(), f"{descriptor[lost]} is inside the bounds and belongs to no cell: every point inside has one")
    order = random.permutation(ROWS)
    hold(
        (np.asarray(archive.cell(descriptor[order])) == cell[order]).all(),
        "a descriptor's cell changed with its place in the batch: it may depend on nothing but the descriptor",
    )
    return cell


def _count(known: Known, cell: np.ndarray, objective: np.ndarray, descriptor: np.ndarray, id: np.ndarray) -> Added:
    """Adds the rows to `known` one after another; the statuses and values count against `known` as it was before."""
    before, status, value, place = dict(known), [], [], []
    for c, f, d, i in zip(cell.tolist(), objective.tolist(), descriptor, id.tolist(), strict=True):
        enters = c != NOWHERE and np.isfinite(f) and bool(np.isfinite(d).all())
        rival = before[c][0] if c in before else -np.inf
        better = enters and f > rival
        status.append((IMPROVED if c in before else NEW) if better else REJECTED)
        value.append(f - (rival if c in before else 0.0) if enters else np.nan)
        place.append(c if enters else NOWHERE)
        if enters and (c not in known or f > known[c][0]):
            known[c] = (f, d, i)
    return Added(*map(np.asarray, (status, value, place)))  # type: ignore[arg-type]


def _check_added(added: Added, expected: Added) -> None:
    for name, told, counted in zip(Added._fields, added, expected, strict=True):
        hold(np.shape(told) == (ROWS,), f"{name} has one entry for each of {ROWS} rows, not shape {np.shape(told)}")
        other = np.flatnonzero(~np.isclose(np.asarray(told, float), np.asarray(counted, float), equal_nan=True))
        hold(
            not len(other),
            f"{name} of rows {other} is {np.asarray(told)[other]}, and counted by hand {np.asarray(counted)[other]}, "
            "against the elites before the batch: see qdkit.elites.Added",
        )


def _check_refused(added: Added, bad: np.ndarray) -> None:
    """Rows that are not finite have entered nothing."""
    status, value, cell = (np.asarray(column)[bad] for column in added)
    hold(
        not status.any() and np.isnan(value).all() and (cell == NOWHERE).all(),
        f"rows {np.flatnonzero(bad)} are not finite, so their status is 0, their value nan and their cell NOWHERE",
    )


def _check_own_cells(archive: Archive, elites: Elites) -> None:
    """Every elite is in the cell of its descriptor."""
    occupied = np.flatnonzero(np.asarray(elites.occupied))
    own = np.asarray(archive.cell(elites.descriptor))[occupied]
    cell = occupied // elites.depth
    hold((own == cell).all(), f"elites of cells {cell[own != cell]} have descriptors of other cells")


def _check_elites(elites: Elites, known: Known) -> None:
    """The elites are those of `known`."""
    occupied = np.flatnonzero(np.asarray(elites.occupied))
    hold(
        set(occupied.tolist()) == set(known),
        f"cells {sorted(set(occupied.tolist()) ^ set(known))} are occupied that should be empty, or the reverse: "
        "a row that is finite and has a cell enters, and no other",
    )
    for cell, (objective, descriptor, id) in known.items():
        came = float(elites.objective[cell]), int(elites.payload[cell])
        hold(
            came == (objective, id) and np.array_equal(elites.descriptor[cell], descriptor),
            f"cell {cell} keeps objective {objective} of row {id}, the first of the best, "
            f"and holds {came[0]} of row {came[1]}",
        )


def _same_elites(a: Elites, b: Elites) -> bool:
    return all(
        np.array_equal(x, y, equal_nan=True) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )

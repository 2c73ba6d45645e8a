"""The state of a compiled run on disk, as readers of the run see it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from qdkit.core.elites import Elites
from qdkit.core.run_files import DamagedRun
from qdkit.runs.npz_file import read_arrays

STATE_FILE = "scan.npz"

INVALID = "invalid"  # the array that counts invalid candidates; older files do not have it


def outcomes(evaluations: int, invalid: int) -> dict[str, int]:
    """Returns how many candidates of a compiled run had each outcome, the commonest first."""
    counts = [("ok", evaluations - invalid), ("invalid", invalid)]
    return {name: count for name, count in sorted(counts, key=lambda pair: -pair[1]) if count}


def read_invalid_count(path: Path) -> int:
    """Returns how many candidates of the compiled run in the folder `path` were invalid.

    It is 0 for an older run, which did not count them.
    """
    return invalid_count(_read_columns(path))


def read_elites(path: Path, cells: int, axes: int) -> Elites:
    """Returns the elites of the compiled run in the folder `path`, as `CompiledSearch.elites`.

    cells, axes: of its archive.
    """
    columns = _read_columns(path)
    objective, descriptor = columns[".elites.objective"], columns[".elites.descriptor"]
    genome = columns[".elites.payload['genome']"]
    slots = len(objective) if objective.ndim == 1 else 0
    fits = slots and slots % cells == 0 and descriptor.shape == (slots, axes) and genome.ndim >= 1
    if not fits or len(genome) != slots or {objective.dtype.kind, descriptor.dtype.kind} != {"f"}:
        raise DamagedRun(
            f"{path / STATE_FILE} cannot be read as the state of a search: its arrays are of "
            "other shapes"
        )
    return with_ids(Elites(objective, descriptor, {"genome": genome}, depth=slots // cells))  # type: ignore[arg-type]


def invalid_count(columns: Mapping[str, np.ndarray]) -> int:
    """Returns how many candidates of the run were invalid.

    Raises DamagedRun if the count cannot be read.
    """
    column = columns[INVALID] if INVALID in columns else np.array(0)
    if column.shape != () or column.dtype.kind not in "iu" or column < 0:
        raise DamagedRun(f"the count of invalid candidates in {STATE_FILE} is none")
    return int(column)


def with_ids(elites: Elites) -> Elites:
    """Returns the elites with the slot of each as its id, and -1 for empty slots."""
    slots = np.arange(len(elites.objective), dtype=np.int32)
    id = np.where(np.asarray(elites.occupied), slots, -1).astype(np.int32)
    return Elites(
        elites.objective,
        elites.descriptor,
        {"id": id, **elites.payload},
        elites.state,
        elites.depth,
    )


class Columns(dict[str, np.ndarray]):
    """The arrays of a file by name. A missing array raises DamagedRun."""

    def __init__(self, columns: dict[str, np.ndarray], file: Path):
        super().__init__(columns)
        self._file = file

    def __missing__(self, name: str) -> np.ndarray:
        raise DamagedRun(f"{self._file} cannot be read as the state of a search: it has no {name}")


def _read_columns(path: Path) -> Columns:
    return Columns(read_arrays(path / STATE_FILE), path / STATE_FILE)

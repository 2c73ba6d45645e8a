"""Our archives under the emitters, schedulers and plots of pyribs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from qdkit import metrics
from qdkit.archives.neighbours import k_nearest
from qdkit.archives.unstructured import Unstructured
from qdkit.core.elites import Archive, Elites, double
from qdkit.core.seeds import numpy_seed

_OURS = ("solution", "objective", "measures")
_compiled_k_nearest = jax.jit(k_nearest, static_argnames="k")


class Ribs:
    """`archive` with the interface of pyribs' own archives (0.9 to 0.12), documented there.

        archive = Ribs(Grid((50, 50), ((-1, 1), (-1, 1))), solution_dim=10)
        emitters = [EvolutionStrategyEmitter(archive, x0=[0.0] * 10, sigma0=0.5)]
        scheduler = Scheduler(archive, emitters)

    archive: any but `Islands`. Its own rules hold for ties, nan and measures outside its bounds: a
      row with a nan does not enter, where pyribs refuses the batch.
    solution_dim: an int or a shape; () for a single value, such as a text with
      `solution_dtype=object`.
    fields: further ones, name -> (shape, dtype), as `extra_fields` of pyribs.
    qd_score_offset: subtracted from each objective in `stats`.
    seed: of `sample_elites`.

    Measures of an axis with labels are its labels, in and out, in arrays of dtype object. An
    objective of None counts as 0 for all rows of an archive without cells that does not use the
    objective (diversity optimisation), and is refused elsewhere. `best_elite` and `stats.obj_max`
    are of the best that ever entered, which `Thresholds` may have lost since. `index_of` and
    `retrieve` look up the nearest elite of an archive without cells.

    `add` also returns "novelty" and "local_competition" for archives without cells, as the rankers
    nov and nslc need them. It returns no density, as none of our archives models it.
    """

    def __init__(
        self,
        archive: Archive,
        solution_dim: int | tuple[int, ...],
        *,
        solution_dtype: Any = np.float64,
        fields: Mapping[str, tuple[tuple[int, ...], Any]] | None = None,
        qd_score_offset: float = 0.0,
        seed: int | None = None,
    ):
        if archive.islands > 1:
            raise ValueError(
                "the emitters of pyribs know no islands: give each island a scheduler of its own"
            )
        self.archive = archive
        self.solution_dim = solution_dim
        self.qd_score_offset = qd_score_offset
        is_int = isinstance(solution_dim, int | np.integer)
        shape: Any = (solution_dim,) if is_int else tuple(solution_dim)  # type: ignore[arg-type]
        self._fields = {"solution": (shape, np.dtype(solution_dtype))}
        self._fields |= {
            name: (tuple(shape), np.dtype(dtype))
            for name, (shape, dtype) in (fields or {}).items()
        }
        if taken := set(fields or {}) & {*_OURS, "index"}:
            raise ValueError(
                f"a field cannot be called {', '.join(sorted(taken))}: pyribs has one of that name"
            )
        self._random = np.random.default_rng(numpy_seed(seed))
        self.clear()

    # Properties of the archive.

    objective_dim = ()

    @property
    def measure_dim(self) -> int:
        """The number of measures."""
        return self.archive.axes

    @property
    def field_list(self) -> list[str]:
        """The names of the fields of an elite."""
        return [*_OURS, *(name for name in self._fields if name != "solution"), "index"]

    @property
    def dtypes(self) -> dict[str, np.dtype]:
        """The dtype of each field."""
        dtypes = {name: dtype for name, (_, dtype) in self._fields.items()} | {
            "objective": np.dtype(np.float64),
            "measures": np.dtype(object if self._labels else np.float64),
            "index": np.dtype(np.int32),
        }
        return {name: dtypes[name] for name in self.field_list}

    @property
    def cells(self) -> int:
        """The number of cells, or of slots in an archive without cells."""
        return self.archive.cells

    @property
    def stats(self) -> Any:
        """pyribs' `ArchiveStats`."""
        from ribs.archives import ArchiveStats

        elites, n = self._elites, len(self)
        score = metrics.qd_score(elites, self.qd_score_offset)
        mean = metrics.mean_objective(elites) if n else None
        best = None if self._best is None else self._best["objective"]
        return ArchiveStats(n, metrics.coverage(elites), score, score / self.cells, best, mean)

    @property
    def empty(self) -> bool:
        """Whether there is no elite."""
        return len(self) == 0

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        data = self.data()
        return ({name: column[i] for name, column in data.items()} for i in range(len(self)))

    def __getattr__(self, name: str) -> Any:
        """Returns an attribute of the geometry by pyribs' name for it, if the archive has it."""
        if name.startswith("_") or name == "archive":
            raise AttributeError(name)
        ours = self.archive.map
        if name in ("lower_bounds", "upper_bounds", "interval_size"):
            low, high = self._box()
            return {"lower_bounds": low, "upper_bounds": high, "interval_size": high - low}[name]
        if name == "dims" and hasattr(ours, "shape"):
            return np.array(ours.shape)
        if name == "boundaries" and hasattr(ours, "edges"):
            return [ours.edges(axis) for axis in range(ours.axes)]
        if name == "centroids" and hasattr(ours, "centroids"):
            return ours.centroids
        raise AttributeError(f"{type(ours).__name__} under pyribs has no {name}")

    # Writing.

    def clear(self) -> None:
        """Removes all elites."""
        example = {
            name: np.int32(0) if dtype.hasobject else np.zeros(shape, dtype)
            for name, (shape, dtype) in self._fields.items()
        }
        self._objects: dict[str, dict[int, Any]] = {
            name: {} for name, (_, dtype) in self._fields.items() if dtype.hasobject
        }
        self._row_count = 0
        self._best: dict[str, Any] | None = None
        with double():
            self._set_elites(self.archive.init(example))

    def add(
        self, solution: Any, objective: Any, measures: Any, **fields: Any
    ) -> dict[str, np.ndarray]:
        """Adds a batch; "status" and "value" of each row are as in `qdkit.core.elites.Added`.

        Raises ValueError for columns that do not have one row for each solution, in the shapes of
        the archive.
        """
        if not hasattr(solution, "__len__") or getattr(solution, "ndim", 1) == 0:
            raise ValueError(
                f"solution must have a row for each of several solutions, and is {solution!r:.80}"
            )
        n = len(solution)
        if objective is None:
            self._check_objectives_optional()
            objective = np.zeros(n)
        else:
            objective = _objective_column(objective, (n,))
        columns = {"solution": solution, **fields}
        if columns.keys() != self._fields.keys():
            raise ValueError(
                f"the archive has the fields {', '.join(self._fields)}, and was given "
                f"{', '.join(columns)}"
            )
        measures = self.archive.encode(measures)
        if len(measures) != n:
            raise ValueError(
                f"measures must have shape {(n, self.measure_dim)} for {n} solutions, and has "
                f"{measures.shape}"
            )
        payload = {name: self._column(name, columns[name], n) for name in self._fields}
        novelty = self._novelty_columns(objective, measures)
        with double():
            elites, added = self.archive.add(self._elites, objective, measures, payload)
            self._set_elites(elites)
        self._row_count += len(objective)
        return {"status": np.asarray(added.status), "value": np.asarray(added.value), **novelty}

    def add_single(
        self, solution: Any, objective: Any, measures: Any, **fields: Any
    ) -> dict[str, Any]:
        """Adds one solution."""
        for name, value in {"objective": objective, "measures": measures}.items():
            shape, expected = np.shape(value), () if name == "objective" else (self.measure_dim,)
            if shape != expected:
                raise ValueError(
                    f"{name} must have shape {expected} for one solution, and has {shape}"
                )
        columns = {
            name: _one_row(value, self._fields[name][1])
            for name, value in fields.items()
            if name in self._fields
        }
        solutions = _one_row(solution, self._fields["solution"][1])
        objectives = None if objective is None else [objective]
        added = self.add(solutions, objectives, [measures], **{**fields, **columns})
        return {name: column[0] for name, column in added.items()}

    # Reading.

    def data(
        self, fields: str | Sequence[str] | None = None, return_type: str | None = None
    ) -> Any:
        """Returns the fields of the elites, in the order of their slots.

        return_type: "dict", "tuple" or "pandas"; where left out, the array alone for a single
          name, else a dict.
        """
        if isinstance(fields, str) and return_type is None:
            return self._read(fields, self._slots)
        names = self.field_list if fields is None else fields
        names = [names] if isinstance(names, str) else names
        columns = {name: self._read(name, self._slots) for name in names}
        if return_type in (None, "dict"):
            return columns
        if return_type == "tuple":
            return tuple(columns.values())
        if return_type == "pandas":
            from ribs.archives import ArchiveDataFrame

            flat: dict[str, np.ndarray] = {}
            for name, column in columns.items():
                if column.ndim > 1:
                    flat |= {f"{name}_{i}": column[:, i] for i in range(column.shape[1])}
                else:
                    flat[name] = column
            return ArchiveDataFrame(flat)
        raise ValueError(f"return_type is 'dict', 'tuple' or 'pandas', not {return_type!r}")

    def sample_elites(self, n: int, replace: bool = True) -> dict[str, np.ndarray]:
        """Returns `n` elites, drawn uniformly."""
        if self.empty:
            raise IndexError("there is no elite to draw from: the archive is empty")
        if not replace and n > len(self):
            raise ValueError(f"{n} of {len(self)} elites cannot be drawn without replacement")
        slots = self._random.choice(self._slots, n, replace=replace)
        return {name: self._read(name, slots) for name in self.field_list}

    @property
    def best_elite(self) -> dict[str, Any] | None:
        """The best elite that ever entered, the first of equals; None while there is none."""
        return None if self._best is None else dict(self._best)

    def retrieve(self, measures: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Returns whether there is an elite in the cell of each row, bool `[n]`, and its fields.

        Where there is none: nan, None in a column of objects, 0 in one of integers, and the index
        -1.
        """
        cell = self.index_of(measures)
        slot = np.maximum(cell, 0) * self._elites.depth
        occupied = (cell >= 0) & np.asarray(self._elites.occupied)[slot]
        rows = {}
        for name in self.field_list:
            column = self._read(name, slot)
            blank: Any = {"f": np.nan, "c": np.nan, "O": None}.get(column.dtype.kind, 0)
            column = column.copy()
            column[~occupied] = -1 if name == "index" else blank
            rows[name] = column
        return occupied, rows

    def retrieve_single(self, measures: Any) -> tuple[bool, dict[str, Any]]:
        """Returns the same as `retrieve`, for one row."""
        occupied, rows = self.retrieve([measures])
        return bool(occupied[0]), {name: column[0] for name, column in rows.items()}

    def index_of(self, measures: Any) -> np.ndarray:
        """Returns the cell of each row, int32 `[n]`; -1 for a row without a cell.

        In an archive without cells, returns the slot of the nearest elite, the first of equals,
        and -1 for measures that are not finite. Raises RuntimeError while such an archive is
        empty, as pyribs does.
        """
        descriptor = self.archive.encode(measures)
        if isinstance(self.archive, Unstructured):
            return self._nearest(descriptor)
        with double():
            return np.asarray(self.archive.cell(descriptor))

    def index_of_single(self, measures: Any) -> int:
        """Returns the cell of one row."""
        return int(self.index_of([measures])[0])

    def int_to_grid_index(self, indices: Any) -> np.ndarray:
        """Returns the index along each axis of a grid, int `[n, d]`."""
        if np.ndim(indices) != 1:
            raise ValueError(f"the indices must have shape (n,), and have {np.shape(indices)}")
        return np.stack(np.unravel_index(np.asarray(indices), self.dims), -1).astype(np.int32)

    def grid_to_int_index(self, indices: Any) -> np.ndarray:
        """Returns the cell of a grid, int `[n]`."""
        if np.ndim(indices) != 2 or np.shape(indices)[1] != len(self.dims):
            raise ValueError(
                f"the indices must have shape (n, {len(self.dims)}), and have {np.shape(indices)}"
            )
        return np.ravel_multi_index(tuple(np.asarray(indices).T), self.dims).astype(np.int32)

    # Storage. Elites are numpy arrays, as unpickling makes a jax array float32. Objects are stored
    # by the number of their row.

    def _set_elites(self, elites: Elites) -> None:
        """Replaces the elites, and removes the objects that none of them uses."""
        self._elites = jax.tree.map(np.asarray, elites)
        self._slots = np.flatnonzero(self._elites.occupied)
        for name, objects in self._objects.items():
            used = set(self._elites.payload[name][self._slots].tolist())
            self._objects[name] = {number: objects[number] for number in used}
        if not len(self._slots):
            return
        best = np.argmax(self._elites.objective)
        if self._best is None or self._elites.objective[best] > self._best["objective"]:
            self._best = {name: self._read(name, np.array([best]))[0] for name in self.field_list}

    def _column(self, name: str, values: Any, n: int) -> np.ndarray:
        """Returns the payload column of a field of `n` rows, and stores its objects."""
        shape, dtype = self._fields[name]
        if dtype.hasobject:
            rows = list(values)
            if len(rows) != n:
                raise ValueError(
                    f"{name} has {len(rows)} rows for {n} objectives: one for each is needed"
                )
            first = self._row_count
            self._objects[name] |= {first + i: value for i, value in enumerate(rows)}
            return np.arange(first, first + n, dtype=np.int32)
        column = np.asarray(values, dtype)
        if column.shape != (n, *shape):
            raise ValueError(f"{name} must have shape {(n, *shape)}, and has {column.shape}")
        return column

    def _read(self, name: str, slots: np.ndarray) -> np.ndarray:
        """Returns the column `name` of the elites in these slots."""
        elites = self._elites
        if name == "index":
            return (slots // elites.depth).astype(np.int32)
        if name == "objective":
            return elites.objective[slots]
        if name == "measures":
            return self._decode(elites.descriptor[slots])
        if name not in self._fields:
            raise ValueError(
                f"the archive has no field {name!r}: it has {', '.join(self.field_list)}"
            )
        stored = elites.payload[name][slots]
        if name not in self._objects:
            return stored
        column = np.empty(len(stored), object)
        column[:] = [self._objects[name].get(number) for number in stored.tolist()]
        return column

    @property
    def _labels(self) -> list[tuple[str, ...] | None]:
        """The labels of each axis, None for an axis of numbers; empty where no axis has labels."""
        labels_of = getattr(self.archive.map, "labels", None)
        labels = [labels_of(axis) for axis in range(self.measure_dim)] if labels_of else []
        return labels if any(labels) else []

    def _decode(self, descriptor: np.ndarray) -> np.ndarray:
        """Returns the measures of descriptors, with labels in place of their numbers."""
        if not self._labels:
            return descriptor
        column = np.empty(descriptor.shape, object)
        for axis, labels in enumerate(self._labels):
            for row, x in enumerate(descriptor[:, axis].tolist()):
                column[row, axis] = None if x != x else labels[int(x)] if labels else x
        return column

    def _check_objectives_optional(self) -> None:
        """Raises ValueError unless rows enter by their measures alone (diversity optimisation)."""
        ours = self.archive
        by_measures = isinstance(ours, Unstructured) and not getattr(ours, "competition", False)
        if not by_measures or getattr(ours, "least", -np.inf) > -np.inf:
            raise ValueError(
                "objective is None, which is for archives that do not use the objective, and "
                f"{type(ours).__name__} keeps the better of two: give one for each solution"
            )

    def _nearest(self, measures: np.ndarray) -> np.ndarray:
        """Returns the slot of the nearest elite, int32 `[n]`; -1 for measures not finite."""
        if self.empty:
            raise RuntimeError(
                "the nearest elite is looked up in an archive without cells, and there is no "
                "elite yet"
            )
        descriptors = self._elites.descriptor[self._slots]
        nearest = np.full(len(measures), -1, np.int32)
        for row in np.flatnonzero(np.isfinite(measures).all(1)):
            nearest[row] = self._slots[((descriptors - measures[row]) ** 2).sum(1).argmin()]
        return nearest

    def _novelty_columns(
        self, objective: np.ndarray, measures: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Returns the columns that pyribs' rankers of novelty search need; none with cells.

        The rows are compared with the elites before the batch.
        """
        if not isinstance(self.archive, Unstructured):
            return {}
        n, count = len(objective), np.int32(len(self))
        if not count:
            threshold = getattr(self.archive, "threshold", 0.0)
            return {
                "novelty": np.full(n, float(threshold)),
                "local_competition": np.zeros(n, np.int32),
            }
        with double():
            index, away = _compiled_k_nearest(
                measures, self._elites.descriptor, count, k=self.archive.neighbours
            )
        index, away = np.asarray(index), np.asarray(away)
        known = np.isfinite(away)
        novelty = np.where(known, away, 0.0).sum(1) / known.sum(1)
        beaten = known & (self._elites.objective[np.where(known, index, 0)] < objective[:, None])
        return {"novelty": novelty, "local_competition": beaten.sum(1, dtype=np.int32)}

    def _box(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the bounds of the measures; for archives without bounds, those of the elites."""
        ours = self.archive.map
        if hasattr(ours, "edges"):
            edges = [ours.edges(axis) for axis in range(ours.axes)]
            return np.array([e[0] for e in edges]), np.array([e[-1] for e in edges])
        if hasattr(ours, "bounds"):
            low, high = np.asarray(ours.bounds, np.float64).T
            return low, high
        if self.empty:
            return np.zeros(self.measure_dim), np.ones(self.measure_dim)
        descriptors = self._elites.descriptor[self._slots]
        return descriptors.min(0), descriptors.max(0)


def _objective_column(objective: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the objectives as float64. Raises ValueError for another shape."""
    column = np.asarray(objective, np.float64)
    if column.shape != shape:
        raise ValueError(
            f"objective must have shape {shape} for {shape[0]} solutions, and has {column.shape}"
        )
    return column


def _one_row(value: Any, dtype: np.dtype) -> Any:
    """Returns a column of one row."""
    if not dtype.hasobject:
        return np.asarray(value)[None]
    column = np.empty(1, object)
    column[0] = value
    return column

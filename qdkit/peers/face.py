"""An archive of ours in the place of one of pyribs': under its emitters, its schedulers and its plots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from qdkit import metrics
from qdkit.archives.neighbours import measured
from qdkit.archives.unstructured import Unstructured
from qdkit.elites import Archive, Elites, double

OURS = ("solution", "objective", "measures")
_near = jax.jit(measured, static_argnames="k")


class Ribs:
    """`archive` with what pyribs asks of its own archives (0.9 to 0.12), which is documented there.

        archive = Ribs(Grid((50, 50), ((-1, 1), (-1, 1))), solution_dim=10)
        scheduler = Scheduler(archive, [EvolutionStrategyEmitter(archive, x0=[0.0] * 10, sigma0=0.5)])

    archive: any but `Islands`. What it makes of ties, nan and what lies outside its bounds is its own: a nan is
      a row that does not enter, where pyribs refuses the batch.
    solution_dim: an int or a shape; () for what is one value, such as a text with `solution_dtype=object`.
    fields: further ones, name -> (shape, dtype), as `extra_fields` of pyribs.
    qd_score_offset: taken off each objective in `stats`.
    seed: of `sample_elites`.

    `add` also tells "novelty" and "local_competition" for archives without cells, as the rankers nov and nslc want
    them. Density is not told, as no archive of ours is a model of it.
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
            raise ValueError("the emitters of pyribs know no islands: give each island a scheduler of its own")
        self.archive, self.solution_dim, self.qd_score_offset = archive, solution_dim, qd_score_offset
        shape = (solution_dim,) if isinstance(solution_dim, int | np.integer) else tuple(solution_dim)
        self._fields = {"solution": (shape, np.dtype(solution_dtype))}
        self._fields |= {name: (tuple(shape), np.dtype(kind)) for name, (shape, kind) in (fields or {}).items()}
        if taken := set(fields or {}) & {*OURS, "index"}:
            raise ValueError(f"a field cannot be called {', '.join(sorted(taken))}: pyribs has one of that name")
        self._random = np.random.default_rng(seed)
        self.clear()

    # What it is.

    objective_dim = ()

    @property
    def measure_dim(self) -> int:
        """How many measures there are."""
        return self.archive.axes

    @property
    def field_list(self) -> list[str]:
        """All that is known of an elite."""
        return [*OURS, *(name for name in self._fields if name != "solution"), "index"]

    @property
    def dtypes(self) -> dict[str, np.dtype]:
        """The dtype of each field."""
        kinds = {name: kind for name, (_, kind) in self._fields.items()}
        numbers = {"objective": np.dtype(np.float64), "measures": np.dtype(np.float64), "index": np.dtype(np.int32)}
        return {name: (kinds | numbers)[name] for name in self.field_list}

    @property
    def cells(self) -> int:
        """How many cells, or places, there are."""
        return self.archive.cells

    @property
    def stats(self) -> Any:
        """pyribs' `ArchiveStats`."""
        from ribs.archives import ArchiveStats

        elites, n = self._elites, len(self)
        score = metrics.qd_score(elites, self.qd_score_offset)
        best, mean = (metrics.best(elites), metrics.mean_objective(elites)) if n else (None, None)
        return ArchiveStats(n, metrics.coverage(elites), score, score / self.cells, best, mean)

    @property
    def empty(self) -> bool:
        """Whether there is no elite."""
        return len(self) == 0

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        data = self.data()
        return ({name: column[i] for name, column in data.items()} for i in range(len(self)))

    def __getattr__(self, name: str) -> Any:
        """The attributes of a geometry by pyribs' names: what the archive has not, this has not."""
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
        """Forgets all elites."""
        example = {
            name: np.int32(0) if kind.hasobject else np.zeros(shape, kind)
            for name, (shape, kind) in self._fields.items()
        }
        self._values: dict[str, dict[int, Any]] = {
            name: {} for name, (_, kind) in self._fields.items() if kind.hasobject
        }
        self._made = 0
        with double():
            self._hold(self.archive.init(example))

    def add(self, solution: Any, objective: Any, measures: Any, **fields: Any) -> dict[str, np.ndarray]:
        """A batch; "status" and "value" of each row as in `qdkit.elites.Added`."""
        objective = np.asarray(objective, np.float64)
        given = {"solution": solution, **fields}
        if given.keys() != self._fields.keys():
            raise ValueError(f"the archive has the fields {', '.join(self._fields)}, and was given {', '.join(given)}")
        measures = self.archive.encode(measures)
        payload = {name: self._column(name, given[name], len(objective)) for name in self._fields}
        if len(measures) != len(objective):
            raise ValueError(
                f"there are {len(objective)} objectives and {len(measures)} measures: one of each for a row"
            )
        told = self._told(objective, measures)
        with double():
            elites, added = self.archive.add(self._elites, objective, measures, payload)
            self._hold(elites)
        self._made += len(objective)
        return {"status": np.asarray(added.status), "value": np.asarray(added.value), **told}

    def add_single(self, solution: Any, objective: Any, measures: Any, **fields: Any) -> dict[str, Any]:
        """One solution."""
        rows = {name: _one(value, self._fields[name][1]) for name, value in fields.items() if name in self._fields}
        kept = _one(solution, self._fields["solution"][1])
        added = self.add(kept, [objective], [measures], **{**fields, **rows})
        return {name: column[0] for name, column in added.items()}

    # Reading.

    def data(self, fields: str | Sequence[str] | None = None, return_type: str = "dict") -> Any:
        """What is known of the elites, in the order of their places; a single field's array for a single name.

        return_type: "dict", "tuple" or "pandas".
        """
        if isinstance(fields, str):
            return self._read(fields, self._places)
        columns = {name: self._read(name, self._places) for name in (self.field_list if fields is None else fields)}
        if return_type == "dict":
            return columns
        if return_type == "tuple":
            return tuple(columns.values())
        if return_type == "pandas":
            from ribs.archives import ArchiveDataFrame

            flat: dict[str, np.ndarray] = {}
            for name, column in columns.items():
                wide = column.ndim > 1
                flat |= {f"{name}_{i}": column[:, i] for i in range(column.shape[1])} if wide else {name: column}
            return ArchiveDataFrame(flat)
        raise ValueError(f"return_type is 'dict', 'tuple' or 'pandas', not {return_type!r}")

    def sample_elites(self, n: int, replace: bool = True) -> dict[str, np.ndarray]:
        """`n` elites, all as likely."""
        if self.empty:
            raise IndexError("there is no elite to draw from: the archive is empty")
        if not replace and n > len(self):
            raise ValueError(f"{n} of {len(self)} elites cannot be drawn without replacement")
        places = self._random.choice(self._places, n, replace=replace)
        return {name: self._read(name, places) for name in self.field_list}

    @property
    def best_elite(self) -> dict[str, Any] | None:
        """The one with the highest objective; None while there is none."""
        if self.empty:
            return None
        place = [int(np.argmax(self._elites.objective))]
        return {name: self._read(name, np.array(place))[0] for name in self.field_list}

    def retrieve(self, measures: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """(bool `[n]`, is there an elite in the cell; what is known of it); nan, None or the index -1 for none."""
        cell = self.index_of(measures)
        place = np.maximum(cell, 0) * self._elites.depth
        occupied = (cell >= 0) & np.asarray(self._elites.occupied)[place]
        rows = {}
        for name in self.field_list:
            column = self._read(name, place)
            blank: Any = {"f": np.nan, "O": None, "i": -1, "u": 0}.get(column.dtype.kind, 0)
            column = column.copy()
            column[~occupied] = blank
            rows[name] = column
        return occupied, rows

    def retrieve_single(self, measures: Any) -> tuple[bool, dict[str, Any]]:
        """As `retrieve`, for one."""
        occupied, rows = self.retrieve([measures])
        return bool(occupied[0]), {name: column[0] for name, column in rows.items()}

    def index_of(self, measures: Any) -> np.ndarray:
        """int32 `[n]`: the cell of each row; -1 where it has none."""
        with double():
            return np.asarray(self.archive.cell(self.archive.encode(measures)))

    def index_of_single(self, measures: Any) -> int:
        """The cell of one."""
        return int(self.index_of([measures])[0])

    def int_to_grid_index(self, indices: Any) -> np.ndarray:
        """int `[n, d]`: the place along each axis, of a grid."""
        return np.stack(np.unravel_index(np.asarray(indices), self.dims), -1).astype(np.int32)

    def grid_to_int_index(self, indices: Any) -> np.ndarray:
        """int `[n]`: the cell, of a grid."""
        return np.ravel_multi_index(tuple(np.asarray(indices).T), self.dims).astype(np.int32)

    # How it is held: in numpy, as a pickled jax array comes back in float32; objects by the number of their row.

    def _hold(self, elites: Elites) -> None:
        self._elites = jax.tree.map(np.asarray, elites)
        self._places = np.flatnonzero(self._elites.occupied)
        for name, values in self._values.items():
            alive = set(self._elites.payload[name][self._places].tolist())
            self._values[name] = {number: values[number] for number in alive}

    def _column(self, name: str, given: Any, n: int) -> np.ndarray:
        shape, kind = self._fields[name]
        if kind.hasobject:
            rows = list(given)
            if len(rows) != n:
                raise ValueError(f"{name} has {len(rows)} rows for {n} objectives: one for each is needed")
            self._values[name] |= {self._made + i: value for i, value in enumerate(rows)}
            return np.arange(self._made, self._made + n, dtype=np.int32)
        column = np.asarray(given, kind)
        if column.shape != (n, *shape):
            raise ValueError(f"{name} must have shape {(n, *shape)}, and has {column.shape}")
        return column

    def _read(self, name: str, places: np.ndarray) -> np.ndarray:
        elites = self._elites
        if name == "index":
            return (places // elites.depth).astype(np.int32)
        if name in ("objective", "measures"):
            return (elites.objective if name == "objective" else elites.descriptor)[places]
        if name not in self._fields:
            raise ValueError(f"the archive has no field {name!r}: it has {', '.join(self.field_list)}")
        held = elites.payload[name][places]
        if name not in self._values:
            return held
        column = np.empty(len(held), object)
        column[:] = [self._values[name].get(number) for number in held.tolist()]
        return column

    def _told(self, objective: np.ndarray, measures: np.ndarray) -> dict[str, np.ndarray]:
        """What the rankers of novelty search want, of archives without cells: against those that were there before."""
        if not isinstance(self.archive, Unstructured):
            return {}
        n, count = len(objective), np.int32(len(self))
        if not count:
            threshold = getattr(self.archive, "threshold", 0.0)
            return {"novelty": np.full(n, float(threshold)), "local_competition": np.zeros(n, np.int32)}
        with double():
            index, away = _near(measures, self._elites.descriptor, count, k=self.archive.neighbours)
        index, away = np.asarray(index), np.asarray(away)
        known = np.isfinite(away)
        novelty = np.where(known, away, 0.0).sum(1) / known.sum(1)
        beaten = known & (self._elites.objective[np.where(known, index, 0)] < objective[:, None])
        return {"novelty": novelty, "local_competition": beaten.sum(1, dtype=np.int32)}

    def _box(self) -> tuple[np.ndarray, np.ndarray]:
        """The bounds of the measures; of what is there, for archives that have none."""
        ours = self.archive.map
        if hasattr(ours, "edges"):
            edges = [ours.edges(axis) for axis in range(ours.axes)]
            return np.array([e[0] for e in edges]), np.array([e[-1] for e in edges])
        if hasattr(ours, "bounds"):
            low, high = np.asarray(ours.bounds, np.float64).T
            return low, high
        if self.empty:
            return np.zeros(self.measure_dim), np.ones(self.measure_dim)
        there = self._elites.descriptor[self._places]
        return there.min(0), there.max(0)


def _one(value: Any, kind: np.dtype) -> Any:
    """A column of one row."""
    if not kind.hasobject:
        return np.asarray(value)[None]
    column = np.empty(1, object)
    column[0] = value
    return column

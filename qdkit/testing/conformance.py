"""Checks that a domain, an operator or a filter satisfies the contract that a search relies on.

Each check raises AssertionError with a message that says what was expected, what came and how to
correct it. An exception of the part itself propagates.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from qdkit.archives import Grid
from qdkit.core.elites import NOWHERE, Added, double
from qdkit.core.prng import root_key
from qdkit.core.types import (
    NO_CANDIDATE,
    Batch,
    Context,
    Domain,
    Evaluation,
    Filter,
    Genomes,
    NoveltyVerdict,
    Operator,
    Outcome,
    Proposal,
    take,
)

_SEEDS = 6  # how many genomes a domain is tried with


def check_domain(domain: Domain, seed: int = 0) -> None:
    """Checks that seeds come from the key, and that evaluation is reproducible.

    The evaluation of a genome may depend on nothing but the genome. Optional attributes (see
    `qdkit.domains`) are checked if the domain has them. Check a domain that asks a model, or is
    noisy by design, with scripted answers.
    """
    key = root_key(seed)
    genomes = domain.seeds(key, _SEEDS)
    require(
        1 <= len(genomes) <= _SEEDS,
        f"seeds(key, {_SEEDS}) gives 1 to {_SEEDS} genomes, and gave {len(genomes)}",
    )
    _check_genomes(genomes, "seeds")
    require(
        _same(genomes, domain.seeds(key, _SEEDS)),
        "seeds gave other genomes for the same key: draw from the key alone, not from a global "
        "generator",
    )
    before = copy.deepcopy(genomes)
    first, second = (_columns(domain.evaluate(genomes), len(genomes)) for _ in range(2))
    require(
        _same(genomes, before), "evaluate changed the genomes it was given: let it work on a copy"
    )
    require(
        # Notes may differ, as they may hold the time of the evaluation.
        all(_same(first[name], second[name]) for name in first if name != "notes"),
        "evaluate gave another result for the same genomes the second time: it may depend on "
        "nothing but the genome",
    )
    for i in range(len(genomes)):
        alone = _columns(domain.evaluate(take(genomes, np.array([i]))), 1)
        require(
            all(
                _close(first[name][i], alone[name][0])
                for name in ("objective", "descriptor")
                if name in first
            ),
            f"genome {i} was evaluated otherwise alone than among {len(genomes)}: a row may not "
            "depend on the others",
        )
    _check_attributes(domain, genomes, first)


def check_operator(operator: Operator, domain: Domain, seed: int = 0, n: int = 4) -> None:
    """Checks that proposals are of the kind of their parents, name them, and come from the key.

    n: the number of genomes to propose at once; set it for an operator with a fixed number.
    """
    require(
        isinstance(operator.name, str) and operator.name,
        f"an operator has a name, not {operator.name!r}",
    )
    require(
        operator.arity >= 1,
        f"each genome is made from at least one parent, and arity is {operator.arity}",
    )
    start, key = jax.random.split(root_key(seed))
    parents = _evaluated(domain, start, n * operator.arity)
    before = copy.deepcopy(parents.genome)
    proposer = operator.turn(n)
    state = _state(proposer)
    proposal = proposer.propose(key, Context(parents), n)

    require(
        _same(parents.genome, before),
        "propose changed the genomes of its parents: let it work on a copy",
    )
    require(
        _state(proposer) == state,
        "propose changed the operator, and it runs beside others: change it in turn or learn",
    )
    count = len(proposal.genome)
    _check_genomes(proposal.genome, "propose")
    require(count == n, f"propose was asked for {n} genomes, and made {count}")
    _check_kind(proposal.genome, parents.genome)
    shape = np.shape(proposal.parents)
    require(
        shape[:1] == (n,) and len(shape) == 2,
        f"parents have shape ({n}, p), a row of ids for each genome, and these have {shape}",
    )
    ids = set(np.ravel(proposal.parents).tolist())
    unknown = ids - set(parents.id.tolist()) - {NO_CANDIDATE}
    require(
        not unknown,
        f"parents names ids that were not given, {unknown}: take them from context.parents.id",
    )
    origin = proposal.origin
    require(
        len(origin) == n and all(isinstance(name, str) and name for name in origin),
        f"origin is the operator's name once for each of {n} genomes, not {origin!r}",
    )
    require(
        _same(tuple(proposal), tuple(proposer.propose(key, Context(parents), n))),
        "propose made other genomes with the same key: draw from the key alone, not from a global "
        "generator",
    )
    rejected = np.zeros(len(parents), np.int32)
    added = Added(rejected, np.full(len(parents), np.nan), rejected + NOWHERE)  # type: ignore[arg-type]
    operator.learn(parents, added)


def check_filter(novelty: Filter, domain: Domain, seed: int = 0) -> None:
    """Checks that a filter compares no candidate with itself, and changes only when it learns.

    The seeds of `domain` are the candidates. Check a filter that asks a model with scripted
    answers.
    """
    genomes = domain.seeds(root_key(seed), _SEEDS)
    candidates = Batch.unevaluated(Proposal.of(genomes, "seed"))
    n, before, state = len(genomes), copy.deepcopy(genomes), _state(novelty)
    first, second = (NoveltyVerdict.of(novelty.new(candidates, 0), n) for _ in range(2))
    require(
        _state(novelty) == state,
        "new changed the filter, and it runs beside others: change it in learn",
    )
    require(_same(genomes, before), "new changed the genomes it was given: let it work on a copy")
    require(
        _same(tuple(first), tuple(second)),
        "new gave another result for the same candidates the second time",
    )
    require(
        first.new[0],
        "the first candidate of all is not new: there is nothing yet that it could be like",
    )
    require(
        all(_is_json(dict(note)) for note in first.notes),
        f"notes are mappings of JSON values, not {first.notes!r}",
    )
    notes = [{"novelty": note} if note else {} for note in first.notes]
    candidates = candidates.replace(id=np.arange(n, dtype=np.int32), notes=notes)
    for i in np.flatnonzero(first.new):
        candidate = candidates.take(np.array([i]))
        require(
            NoveltyVerdict.of(novelty.new(candidate, int(i)), 1).new[0],
            f"candidate {i} was new before its evaluation and is not at its commit, though "
            "nothing came meanwhile: compare it with the ids below `before`, not with itself",
        )
        novelty.learn(candidate)


def require(condition: Any, message: str) -> None:
    """Raises AssertionError with `message` unless `condition` is true.

    Unlike `assert`, it works under `python -O`.
    """
    if not condition:
        raise AssertionError(message)


def _same(a: Any, b: Any) -> bool:
    """Whether arrays, lists and mappings are equal; nan equals nan."""
    try:
        np.testing.assert_equal(a, b)
    except AssertionError:
        return False
    return True


def _close(a: Any, b: Any) -> bool:
    """Whether rows or single values are equal, numbers to the tolerance of float32."""
    pairs = zip(np.ravel(np.asarray(a, object)), np.ravel(np.asarray(b, object)), strict=True)
    return all(x == y or (_is_number(x) and _is_number(y) and _is_close(x, y)) for x, y in pairs)


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float | np.number)


def _is_close(x: float, y: float) -> bool:
    return bool(np.isclose(float(x), float(y), rtol=1e-4, atol=1e-4, equal_nan=True))


def _state(part: Any) -> str:
    return f"{part!r} {getattr(part, '__dict__', '')!r}"


def _check_genomes(genomes: Any, where: str) -> None:
    """Checks that genomes are one array of finite numbers, or texts, bytes or JSON values."""
    if isinstance(genomes, np.ndarray):
        require(
            genomes.dtype.kind in "biuf",
            f"{where} gave an array of {genomes.dtype}: give a list of what is not numbers",
        )
        require(np.isfinite(genomes).all(), f"{where} gave numbers that are not finite")
        return
    require(
        not isinstance(genomes, jax.Array), f"{where} gave a jax array: hand it on with np.asarray"
    )
    for genome in genomes:
        require(
            isinstance(genome, str | bytes) or _is_json(genome),
            f"{where} gave a {type(genome).__name__}: a genome is a str, bytes or a JSON value, "
            "and numbers are the rows of one array",
        )


def _is_json(value: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError):
        return False


def _check_kind(genomes: Genomes, parents: Genomes) -> None:
    if isinstance(parents, np.ndarray):
        require(
            isinstance(genomes, np.ndarray),
            f"the parents are an array, and propose made a {type(genomes).__name__}",
        )
        expected = parents.dtype, parents.shape[1:]
        actual = genomes.dtype, genomes.shape[1:]  # type: ignore[union-attr]
        require(
            actual == expected,
            f"the parents have dtype and shape {expected}, and propose made {actual}",
        )
        return
    expected_types = {type(genome).__name__ for genome in parents}
    types = {type(genome).__name__ for genome in genomes}
    require(
        types <= expected_types,
        f"the parents are of type {expected_types}, and propose made {types}",
    )


def _columns(evaluation: Evaluation, n: int) -> dict[str, Any]:
    """Returns the columns that a domain filled, and checks that each has `n` valid rows."""
    require(
        isinstance(evaluation, Evaluation),
        f"evaluate gives an Evaluation, not a {type(evaluation).__name__}",
    )
    columns = {name: value for name, value in vars(evaluation).items() if value is not None}
    for name, column in columns.items():
        require(
            np.ndim(column) > 0 if hasattr(column, "ndim") else isinstance(column, Sequence),
            f"{name} is a column of {n} rows, not {column!r}",
        )
        rows = len(column)
        require(
            rows == n,
            f"evaluate was given {n} genomes, and {name} has {rows} rows: give one for each",
        )
    for name, axes in {"objective": 1, "features": 2}.items():
        if name in columns:
            column = columns[name] = np.asarray(columns[name], float)
            require(
                column.ndim == axes,
                f"{name} has {axes} dimensions, and this one has shape {column.shape}",
            )
            require(
                not np.isinf(column).any(),
                f"{name} holds an infinity: use nan where there is no number",
            )
    if "descriptor" in columns:
        columns["descriptor"] = [list(np.asarray(row, object)) for row in columns["descriptor"]]
        lengths = {len(row) for row in columns["descriptor"]}
        require(
            len(lengths) == 1,
            f"descriptors have one entry for each axis, and these have {sorted(lengths)}",
        )
    for note in columns.get("notes", ()):
        require(
            isinstance(note, dict) and _is_json(note),
            f"notes are mappings of JSON values, not {note!r}",
        )
    unknown = {str(x) for x in columns.get("outcome", ())} - set(Outcome)
    require(not unknown, f"outcome is one of {', '.join(Outcome)}, not {', '.join(unknown)}")
    return columns


def _check_attributes(domain: Any, genomes: Genomes, columns: dict[str, Any]) -> None:
    """Checks the optional attributes, which plots and the command line use."""
    _check_bounds(domain, columns.get("descriptor"))
    limits = getattr(domain, "limits", None)
    if limits is not None:
        low, high = limits
        require(low < high, f"limits are (low, high) with low < high, not {limits}")
        require(
            isinstance(genomes, np.ndarray),
            "limits are those of numbers, and the genomes are none: leave them out",
        )
        require(
            ((low <= genomes) & (genomes <= high)).all(),
            f"seeds gave numbers outside limits, {limits}",
        )
    floor = getattr(domain, "floor", None)
    if floor is not None:
        require(np.isfinite(floor), f"floor is a finite number, not {floor}")
        least = np.fmin.reduce(columns.get("objective", [floor]))
        require(
            not least < floor,
            f"no objective is below floor, {floor}, and a seed has {least}: lower the floor",
        )
    if hasattr(domain, "form"):
        form = domain.form(genomes[0])
        kind = type(form).__name__
        require(isinstance(form, str), f"form(genome) gives a text, and gave a {kind}")
        require(
            form == domain.form(genomes[0]),
            "form gave another text for the same genome: it may depend on nothing else",
        )
    if hasattr(domain, "draw"):
        from matplotlib.figure import Figure

        ax = Figure().add_subplot()
        require(domain.draw(genomes[0], ax) is ax, "draw(genome, ax) gives back the ax it drew on")


def _check_bounds(domain: Any, descriptor: Any) -> None:
    """Checks that a Grid takes `bounds`, and that most seeds lie within them."""
    bounds, names = getattr(domain, "bounds", None), getattr(domain, "names", None)
    if bounds is None:
        return
    if names is not None:
        require(
            len(names) == len(bounds),
            f"bounds has {len(bounds)} axes, and names has {len(names)}: name each of them",
        )
    grid = _grid(bounds)
    if descriptor is None:
        return
    try:
        place = grid.encode(descriptor)
    except ValueError as error:
        raise AssertionError(f"the descriptors do not fit the domain's bounds: {error}") from error
    known = ~np.isnan(place).any(1)
    require(
        known.any(),
        "no seed has a descriptor without nan or None, so that no elite could be made from them",
    )
    with double():
        share = np.asarray(grid.inside(place))[known].mean()
    require(
        share > 0.5,
        f"most seeds lie within bounds, {bounds}, and of these {share:.0%} do: widen the bounds",
    )


def _grid(bounds: Any) -> Grid:
    """Returns a grid over `bounds`, with one cell along an axis that is a pair of bounds."""

    def size(axis: Any) -> int:
        return len(axis) if isinstance(axis[0], str) else max(len(axis) - 1, 1)

    try:
        return Grid(tuple(map(size, bounds)), tuple(bounds))
    except (TypeError, ValueError, IndexError) as error:
        raise AssertionError(f"bounds is not what a Grid takes: {error}") from error


def _evaluated(domain: Any, key: Any, n: int) -> Batch:
    """Returns `n` evaluated seeds of the domain, repeated if there are fewer."""
    genomes = domain.seeds(key, n)
    rows = np.arange(n) % len(genomes)
    genomes, unknown = take(genomes, rows), np.full((n, 1), np.nan)
    columns = _columns(domain.evaluate(genomes), n)
    described = columns.get("descriptor")
    descriptor = unknown if described is None else _encoded(domain, described)
    return Batch(
        id=(10 + 3 * rows).astype(np.int32),
        genome=genomes,
        parents=np.full((n, 1), NO_CANDIDATE, np.int32),
        origin=["seeds"] * n,
        outcome=np.asarray(columns.get("outcome", [Outcome.OK] * n), "<U14"),
        objective=columns.get("objective", unknown[:, 0]),
        features=columns.get("features", unknown),
        descriptor=descriptor,
        notes=columns.get("notes", [{}] * n),
    )


def _encoded(domain: Any, descriptor: list[list[Any]]) -> np.ndarray:
    """Returns float64 `[n, d]`.

    A label becomes its index on the domain's axis, or nan if the domain has no bounds.
    """
    if getattr(domain, "bounds", None) is not None:
        return _grid(domain.bounds).encode(descriptor)
    return np.array([[float(x) if _is_number(x) else np.nan for x in row] for row in descriptor])

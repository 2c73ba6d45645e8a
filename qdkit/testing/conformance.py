"""Whether a domain, an operator or a filter keeps the promises that a search relies on.

Each check raises AssertionError with a sentence: what was expected, what came, and the mend. An
exception of the part itself is passed on as it is.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from qdkit.archives import Grid
from qdkit.elites import NOWHERE, Added
from qdkit.types import (
    NOBODY,
    Batch,
    Context,
    Domain,
    Evaluation,
    Filter,
    Genomes,
    Operator,
    Outcome,
    Proposal,
    Verdict,
    take,
)

SEEDS = 6  # how many genomes a domain is tried with


def check_domain(domain: Domain, seed: int = 0) -> None:
    """Seeds come from the key, and each genome is evaluated alike every time and whatever stands beside it.

    Optional attributes (see `qdkit.domains`) are checked where they are there. A domain that asks a
    model, or is noisy on purpose, is checked with a scripted answer in its place.
    """
    key = jax.random.key(seed)
    genomes = domain.seeds(key, SEEDS)
    hold(1 <= len(genomes) <= SEEDS, f"seeds(key, {SEEDS}) gives 1 to {SEEDS} genomes, and gave {len(genomes)}")
    _check_genomes(genomes, "seeds")
    hold(
        _same(genomes, domain.seeds(key, SEEDS)),
        "seeds gave other genomes for the same key: draw from the key alone, not from a global generator",
    )
    before = copy.deepcopy(genomes)
    found, again = (_columns(domain.evaluate(genomes), len(genomes)) for _ in range(2))
    hold(_same(genomes, before), "evaluate changed the genomes it was given: let it work on a copy")
    hold(
        all(_same(found[name], again[name]) for name in found if name != "notes"),  # notes may tell the seconds it took
        "evaluate said something else about the same genomes the second time: it may depend on nothing but the genome",
    )
    for i in range(len(genomes)):
        alone = _columns(domain.evaluate(take(genomes, np.array([i]))), 1)
        hold(
            all(_close(found[name][i], alone[name][0]) for name in ("objective", "descriptor") if name in found),
            f"genome {i} was evaluated otherwise alone than among {len(genomes)}: a row may not depend on the others",
        )
    _check_attributes(domain, genomes, found)


def check_operator(operator: Operator, domain: Domain, seed: int = 0, n: int = 4) -> None:
    """Proposals are of the kind of their parents, name them, and come from the key.

    n: how many genomes are asked for at once, for an operator that makes a fixed number.
    """
    hold(isinstance(operator.name, str) and operator.name, f"an operator has a name, not {operator.name!r}")
    hold(operator.arity >= 1, f"each genome is made from at least one parent, and arity is {operator.arity}")
    start, key = jax.random.split(jax.random.key(seed))
    parents = _evaluated(domain, start, n * operator.arity)
    before = copy.deepcopy(parents.genome)
    maker = operator.turn(n)
    state = _state(maker)
    made = maker.propose(key, Context(parents), n)

    hold(_same(parents.genome, before), "propose changed the genomes of its parents: let it work on a copy")
    hold(_state(maker) == state, "propose changed the operator, and it runs beside others: change it in turn or learn")
    _check_genomes(made.genome, "propose")
    hold(len(made.genome) == n, f"propose was asked for {n} genomes, and made {len(made.genome)}")
    _check_kind(made.genome, parents.genome)
    hold(
        np.shape(made.parents)[:1] == (n,) and np.ndim(made.parents) == 2,
        f"parents have shape ({n}, p), a row of ids for each genome, and these have {np.shape(made.parents)}",
    )
    strangers = set(np.ravel(made.parents).tolist()) - set(parents.id.tolist()) - {NOBODY}
    hold(not strangers, f"parents names ids that were not given, {strangers}: take them from context.parents.id")
    hold(
        len(made.origin) == n and all(isinstance(name, str) and name for name in made.origin),
        f"origin is the operator's name once for each of {n} genomes, not {made.origin!r}",
    )
    hold(
        _same(tuple(made), tuple(maker.propose(key, Context(parents), n))),
        "propose made other genomes with the same key: draw from the key alone, not from a global generator",
    )
    nothing = np.zeros(len(parents), np.int32)
    operator.learn(parents, Added(nothing, np.full(len(parents), np.nan), nothing + NOWHERE))  # type: ignore[arg-type]


def check_filter(novelty: Filter, domain: Domain, seed: int = 0) -> None:
    """A filter says of each candidate whether it is new, compares none with itself, and changes when it learns alone.

    The seeds of `domain` are the candidates. A filter that asks a model is checked with a scripted answer in its place.
    """
    genomes = domain.seeds(jax.random.key(seed), SEEDS)
    fresh = Batch.unevaluated(Proposal.of(genomes, "seed"))
    n, before, state = len(genomes), copy.deepcopy(genomes), _state(novelty)
    said, again = (Verdict.of(novelty.new(fresh, 0), n) for _ in range(2))
    hold(_state(novelty) == state, "new changed the filter, and it runs beside others: change it in learn")
    hold(_same(genomes, before), "new changed the genomes it was given: let it work on a copy")
    hold(_same(tuple(said), tuple(again)), "new said something else of the same candidates the second time")
    hold(said.new[0], "the first candidate of all is not new: there is nothing yet that it could be like")
    hold(all(_is_json(dict(note)) for note in said.notes), f"notes are mappings of JSON values, not {said.notes!r}")
    noted = [{"novelty": note} if note else {} for note in said.notes]
    kept = fresh.replace(id=np.arange(n, dtype=np.int32), notes=noted).take(np.flatnonzero(said.new))
    for i in range(len(kept)):
        one = kept.take(np.array([i]))
        own = int(one.id[0])
        hold(
            Verdict.of(novelty.new(one, own), 1).new[0],
            f"candidate {own} was new before its evaluation and is not at its commit, though nothing came meanwhile: "
            "compare it with the ids below `before`, not with itself",
        )
        novelty.learn(one)


def hold(true: Any, sentence: str) -> None:
    """Raises AssertionError with `sentence` unless `true`; unlike `assert`, also under `python -O`."""
    if not true:
        raise AssertionError(sentence)


def _same(a: Any, b: Any) -> bool:
    """Equal, nan to nan, through arrays, lists and mappings."""
    try:
        np.testing.assert_equal(a, b)
    except AssertionError:
        return False
    return True


def _close(a: Any, b: Any) -> bool:
    """Equal labels, and numbers equal to the tolerance of float32; a row or a single value."""
    pairs = zip(np.ravel(np.asarray(a, object)), np.ravel(np.asarray(b, object)), strict=True)
    return all(x == y or (_is_number(x) and _is_number(y) and _is_close(x, y)) for x, y in pairs)


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float | np.number)


def _is_close(x: float, y: float) -> bool:
    return bool(np.isclose(float(x), float(y), rtol=1e-4, atol=1e-4, equal_nan=True))


def _state(part: Any) -> str:
    return f"{part!r} {getattr(part, '__dict__', '')!r}"


def _check_genomes(genomes: Any, where: str) -> None:
    """They are one array of finite numbers, or texts, bytes or JSON values."""
    if isinstance(genomes, np.ndarray):
        hold(
            genomes.dtype.kind in "biuf",
            f"{where} gave an array of {genomes.dtype}: give a list of what is not numbers",
        )
        hold(np.isfinite(genomes).all(), f"{where} gave numbers that are not finite")
        return
    hold(not isinstance(genomes, jax.Array), f"{where} gave a jax array: hand it on with np.asarray")
    for genome in genomes:
        hold(
            isinstance(genome, str | bytes) or _is_json(genome),
            f"{where} gave a {type(genome).__name__}: a genome is a str, bytes or a JSON value, "
            "and numbers are the rows of one array",
        )


def _is_json(value: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError):
        return False


def _check_kind(made: Genomes, parents: Genomes) -> None:
    if isinstance(parents, np.ndarray):
        hold(isinstance(made, np.ndarray), f"the parents are an array, and propose made a {type(made).__name__}")
        expected, came = (parents.dtype, parents.shape[1:]), (made.dtype, made.shape[1:])  # type: ignore[union-attr]
        hold(came == expected, f"the parents have dtype and shape {expected}, and propose made {came}")
        return
    expected_types, types = {type(x).__name__ for x in parents}, {type(x).__name__ for x in made}
    hold(types <= expected_types, f"the parents are of type {expected_types}, and propose made {types}")


def _columns(found: Evaluation, n: int) -> dict[str, Any]:
    """The columns that a domain filled, each with `n` rows of what it should hold."""
    hold(isinstance(found, Evaluation), f"evaluate gives an Evaluation, not a {type(found).__name__}")
    columns = {name: value for name, value in vars(found).items() if value is not None}
    for name, column in columns.items():
        hold(
            np.ndim(column) > 0 if hasattr(column, "ndim") else isinstance(column, Sequence),
            f"{name} is a column of {n} rows, not {column!r}",
        )
        hold(len(column) == n, f"evaluate was given {n} genomes, and {name} has {len(column)} rows: give one for each")
    for name, axes in {"objective": 1, "features": 2}.items():
        if name in columns:
            column = columns[name] = np.asarray(columns[name], float)
            hold(column.ndim == axes, f"{name} has {axes} dimensions, and this one has shape {column.shape}")
            hold(not np.isinf(column).any(), f"{name} holds an infinity: say nan where there is no number")
    if "descriptor" in columns:
        columns["descriptor"] = [list(np.asarray(row, object)) for row in columns["descriptor"]]
        lengths = {len(row) for row in columns["descriptor"]}
        hold(len(lengths) == 1, f"descriptors have one entry for each axis, and these have {sorted(lengths)}")
    for note in columns.get("notes", ()):
        hold(isinstance(note, dict) and _is_json(note), f"notes are mappings of JSON values, not {note!r}")
    unknown = {str(x) for x in columns.get("outcome", ())} - set(Outcome)
    hold(not unknown, f"outcome is one of {', '.join(Outcome)}, not {', '.join(unknown)}")
    return columns


def _check_attributes(domain: Any, genomes: Genomes, found: dict[str, Any]) -> None:
    """What plots and the command line use, where it is there."""
    _check_bounds(domain, found.get("descriptor"))
    limits = getattr(domain, "limits", None)
    if limits is not None:
        low, high = limits
        hold(low < high, f"limits are (low, high) with low < high, not {limits}")
        hold(isinstance(genomes, np.ndarray), "limits are those of numbers, and the genomes are none: leave them out")
        hold(((low <= genomes) & (genomes <= high)).all(), f"seeds gave numbers outside limits, {limits}")
    floor = getattr(domain, "floor", None)
    if floor is not None:
        hold(np.isfinite(floor), f"floor is a finite number, not {floor}")
        least = np.fmin.reduce(found.get("objective", [floor]))
        hold(not least < floor, f"no objective is below floor, {floor}, and a seed has {least}: lower the floor")
    if hasattr(domain, "form"):
        form = domain.form(genomes[0])
        hold(isinstance(form, str), f"form(genome) gives a text, and gave a {type(form).__name__}")
        hold(
            form == domain.form(genomes[0]), "form gave another text for the same genome: it may depend on nothing else"
        )
    if hasattr(domain, "draw"):
        from matplotlib.figure import Figure

        ax = Figure().add_subplot()
        hold(domain.draw(genomes[0], ax) is ax, "draw(genome, ax) gives back the ax it drew on")


def _check_bounds(domain: Any, descriptor: Any) -> None:
    """`bounds` are what a Grid takes, and most seeds lie within them."""
    bounds, names = getattr(domain, "bounds", None), getattr(domain, "names", None)
    if bounds is None:
        return
    if names is not None:
        hold(len(names) == len(bounds), f"bounds has {len(bounds)} axes, and names has {len(names)}: name each of them")
    grid = _grid(bounds)
    if descriptor is None:
        return
    try:
        place = grid.encode(descriptor)
    except ValueError as error:
        raise AssertionError(f"the descriptors do not fit the domain's bounds: {error}") from error
    known = ~np.isnan(place).any(1)
    hold(known.any(), "no seed has a descriptor without nan or None, so that no elite could be made from them")
    share = np.asarray(grid.inside(place))[known].mean()
    hold(share > 0.5, f"most seeds lie within bounds, {bounds}, and of these {share:.0%} do: widen the bounds")


def _grid(bounds: Any) -> Grid:
    """A grid over `bounds`, of one cell where an axis leaves their number open."""
    labels = lambda axis: isinstance(axis[0], str)
    size = lambda axis: len(axis) if labels(axis) else max(len(axis) - 1, 1)
    try:
        return Grid(tuple(map(size, bounds)), tuple(bounds))
    except (TypeError, ValueError, IndexError) as error:
        raise AssertionError(f"bounds is not what a Grid takes: {error}") from error


def _evaluated(domain: Any, key: Any, n: int) -> Batch:
    """`n` seeds of the domain with their objectives and descriptors, some of them more than once."""
    genomes = domain.seeds(key, n)
    rows = np.arange(n) % len(genomes)
    genomes, nothing = take(genomes, rows), np.full((n, 1), np.nan)
    columns = _columns(domain.evaluate(genomes), n)
    return Batch(
        id=(10 + 3 * rows).astype(np.int32),
        genome=genomes,
        parents=np.full((n, 1), NOBODY, np.int32),
        origin=["seeds"] * n,
        outcome=np.asarray(columns.get("outcome", [Outcome.OK] * n), "<U14"),
        objective=columns.get("objective", nothing[:, 0]),
        features=columns.get("features", nothing),
        descriptor=_place(domain, columns["descriptor"]) if "descriptor" in columns else nothing,
        notes=columns.get("notes", [{}] * n),
    )


def _place(domain: Any, descriptor: list[list[Any]]) -> np.ndarray:
    """float64 `[n, d]`; a label is its number on the domain's axis, and nan where the domain has no bounds."""
    if getattr(domain, "bounds", None) is not None:
        return _grid(domain.bounds).encode(descriptor)
    return np.array([[float(x) if _is_number(x) else np.nan for x in row] for row in descriptor])

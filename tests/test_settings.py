"""The settings, notes, features and events of a run are read back as they were."""

from __future__ import annotations

import dataclasses
import enum
import functools
import importlib
import inspect
import json
import math
import pkgutil
import sqlite3

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qdkit
from qdkit import Search, viz
from qdkit.archives import (
    CVT,
    DeepGrid,
    DominatedNovelty,
    Grid,
    Islands,
    Migrate,
    Novelty,
    Recent,
    Thresholds,
)
from qdkit.comparing.baselines import Single
from qdkit.core.describe import describe_part
from qdkit.core.elites import Archive
from qdkit.core.jsonable import (
    ENUM_MODULES,
    as_jsonable,
    decode_nonfinite,
    decode_setting,
    encode_nonfinite,
    encode_setting,
    from_json_exact,
    legacy_description,
    nan_as_none,
    to_json,
    to_json_exact,
)
from qdkit.core.types import Outcome
from qdkit.domains import Arm, Maze, PosedArm, Rastrigin, Sphere, UnitArm
from qdkit.operators import Gaussian
from qdkit.runs.parts import rebuild
from tests.worlds import BOX, Jitter, Points, Texts, points, search_of

SQUARE = ((0.0, 1.0), (0.0, 1.0))


def through_json(value):
    """Returns what a reader of the file gets."""
    return json.loads(to_json(value))


def nobody(value):
    return None


def back(value):
    written = through_json(encode_setting(value, "it", nobody))
    return decode_setting(written, lambda description: None)


def same(a, b):
    """Whether two values are equal and of one type; nan equals nan."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return (
            type(a) is type(b)
            and a.dtype == b.dtype
            and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        )
    if isinstance(a, float) and isinstance(b, float):
        return (math.isnan(a) and math.isnan(b)) or (
            a == b and math.copysign(1, a) == math.copysign(1, b)
        )
    if type(a) is not type(b):
        return False
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(map(repr, sorted(a, key=repr))) == list(
            map(repr, sorted(b, key=repr))
        ) and all(same(value, b[name]) for name, value in a.items())
    return a == b


FLOATS = st.floats() | st.sampled_from([math.inf, -math.inf, math.nan, -0.0, 5e-324])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | FLOATS
    | st.text(st.characters(codec="utf-8"))
    | st.binary()
)
ARRAYS = st.sampled_from(["<f8", ">f4", "i8", "u1", "?", "<U3"]).flatmap(
    lambda kind: st.lists(st.integers(0, 1), max_size=4).map(lambda values: np.array(values, kind))
)
KEYS = st.text(st.characters(codec="utf-8")) | st.sampled_from(
    ["is", "with", "$float", "$list", "$", "$$x"]
)
SETTINGS = st.recursive(
    SCALARS | st.complex_numbers() | ARRAYS | st.sampled_from(list(Outcome)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.dictionaries(st.integers() | st.booleans() | st.none(), inner, max_size=3)
    ),
    max_leaves=8,
)
NOTES = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(SETTINGS)
def test_every_setting_comes_back_as_it_was(value):
    """Settings of any type that can be restored, nested to any depth."""
    assert same(back(value), value)


@given(NOTES)
def test_every_note_comes_back_as_it_was(value):
    """With nan and infinities, and with keys like those that encode them."""
    assert same(from_json_exact(to_json_exact(value)), value)
    assert same(decode_nonfinite(through_json(encode_nonfinite(value))), value)


@given(NOTES)
def test_plain_json_has_null_for_infinities(value):
    json.dumps(nan_as_none(value), allow_nan=False)


@given(NOTES.filter(lambda value: '"$' not in json.dumps(value)))
def test_notes_of_older_versions_are_read_as_they_were_written(value):
    assert same(from_json_exact(to_json(nan_as_none(value))), nan_as_none(value))


@pytest.mark.parametrize(
    ("value", "as_json"),
    [
        (math.inf, {"$float": "inf"}),
        (-math.inf, {"$float": "-inf"}),
        (math.nan, {"$float": "nan"}),
        ((1, 2), [1, 2]),
        ([1, 2], {"$list": [1, 2]}),
        (b"\x00", {"$bytes": "AA=="}),
        (Outcome.OK, {"$enum": "qdkit.core.types:Outcome.OK"}),
        ({"$x": 1}, {"$$x": 1}),
        ({1: 2}, {"$dict": [[1, 2]]}),
        (np.float64(0.5), 0.5),
        (
            np.array([0.5, np.inf]),
            {"$array": {"dtype": "<f8", "shape": [2], "values": [0.5, {"$float": "inf"}]}},
        ),
    ],
)
def test_a_setting_is_written_as_documented(value, as_json):
    assert encode_setting(value, "it", nobody) == as_json


@pytest.mark.parametrize(
    "value", [np.float64(1.5), np.float32(0.1), np.int8(-3), np.bool_(True), np.str_("a")]
)
def test_numbers_of_numpy_come_back_as_numbers(value):
    assert back(value) == value
    assert type(back(value)) is type(value.item())


@pytest.mark.parametrize("value", [{1, 2}, frozenset("ab"), ({1},), {"a": [{1}]}, set()])
def test_a_set_is_refused_by_the_name_of_the_setting(value):
    @dataclasses.dataclass(frozen=True)
    class Loose(Points):
        kinds: object = None

    with pytest.raises(
        TypeError,
        match=r"Loose\.kinds is a set, whose order differs between processes: give a tuple",
    ):
        Search(Loose(kinds=value), Grid((5, 5), BOX), Jitter())


@pytest.mark.parametrize("value", [object(), range(3), slice(1), print])
def test_a_value_that_cannot_be_restored_is_an_error(value):
    with pytest.raises(ValueError, match="cannot be restored"):
        back(value)


class Elsewhere(enum.Enum):
    ONE = 1


@pytest.mark.parametrize(
    "text",
    [
        {"$enum": "os:sep"},
        {"$enum": "tests.test_settings:Elsewhere.ONE"},
        {"$enum": "qdkit.core.types:Outcome.NOTHING"},
        {"$enum": "qdkit.core.types:np.inf"},
        {"$enum": 3},
        {"$float": "1e5"},
        {"$float": []},
        {"$bytes": "?"},
        {"$bytes": 3},
        {"$complex": [1]},
        {"$array": {"dtype": "O", "shape": [1], "values": [1]}},
        {"$array": {"dtype": "<f8", "shape": [10**12], "values": [1]}},
        {"$array": {"dtype": "<f8", "values": [1]}},
        {"$array": [1, 2]},
        {"$list": 3},
        {"$dict": [[1]]},
        {"$dict": [[{"$list": []}, 1]]},
    ],
    ids=str,
)
def test_a_changed_file_restores_nothing(text):
    """A class outside the toolkit, a shape beyond the data, and nonsense."""
    with pytest.raises(ValueError, match=r"cannot be restored|is no float"):
        decode_setting(text, nobody)
    assert rebuild({"is": "qdkit.domains.arm:Arm", "with": {"joints": text}}) is None
    assert ENUM_MODULES.fullmatch("qdkit.cli.commands") is None


# Every part.


def parts():
    """An instance of every archive and domain that can be read from a run, by its class."""
    grid, box = (
        Grid((3, 4), ((0.0, 1.0), ("a", "b", "c", "d"))),
        Grid((3, 3), SQUARE, outside="reject"),
    )
    return [
        grid,
        box,
        Grid((2, 2), ((0.0, 0.5, 1.0), (0.0, 1.0)), names=("x", "y")),
        CVT(np.array([[0.1, 0.2], [0.5, 0.5]]), SQUARE),
        CVT.spread(3, SQUARE),
        DeepGrid(box, 3),
        Thresholds(box),
        Thresholds(box, 0.3, -5.0),
        DominatedNovelty(2, 20),
        Novelty(2, threshold=0.2),
        Recent(2),
        Recent(2, 27, least=0.8, edges=((0, 1), (0, 2))),
        Islands(box, 2, changes=(Migrate(5),)),
        Islands(CVT(np.array([[0.1, 0.2]]), SQUARE), 2),
        Single(box),
        Single(CVT(np.array([[0.1, 0.2]]), SQUARE)),
        Arm(5),
        UnitArm(4),
        PosedArm(),
        Sphere(3),
        Rastrigin(3),
        Maze(),
        Maze(see="picture"),
    ]


def alike(a, b):
    if dataclasses.is_dataclass(a):
        names = [field.name for field in dataclasses.fields(a) if field.init]
        return type(a) is type(b) and all(
            alike(getattr(a, name), getattr(b, name)) for name in names
        )
    if isinstance(a, tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(alike, a, b))
    return same(a, b)


@pytest.mark.parametrize("part", parts(), ids=lambda part: type(part).__name__)
def test_every_part_comes_back_from_disk_as_it_was(part):
    assert alike(rebuild(through_json(describe_part(part))), part)


def test_every_archive_is_in_these_tests():
    """A new archive that can be read from a run must be added here."""
    kinds = set()
    top = importlib.import_module("qdkit.archives")
    for info in pkgutil.iter_modules(top.__path__, "qdkit.archives."):
        for kind in vars(importlib.import_module(info.name)).values():
            if (
                inspect.isclass(kind)
                and issubclass(kind, Archive)
                and not inspect.isabstract(kind)
            ):
                kinds |= {kind} if kind.__module__.startswith("qdkit.archives") else set()
    missing = (
        {kind.__name__ for kind in kinds} - {type(part).__name__ for part in parts()} - {"Ruled"}
    )
    assert missing == set()


@pytest.mark.parametrize("field", ["least", "threshold"])
@given(value=FLOATS)
def test_any_number_of_a_pool_comes_back(field, value):
    try:
        pool = Recent(2, **{field: value})
    except ValueError:
        return
    assert alike(rebuild(through_json(describe_part(pool))), pool)


# Runs on disk.


def test_a_pool_at_its_default_is_opened_and_drawn(tmp_path):
    """Its `least` is minus infinity, and its `edges` are a setting and no method."""
    for name, archive in {
        "plain": Recent(2, 29),
        "edges": Recent(2, 29, edges=((0, 1), (0, 1))),
    }.items():
        home = tmp_path / name
        with Search(Points(), archive, Jitter(), batch=8, folder=home) as search:
            search.run(2, progress=False)
        run = qdkit.load(home)
        assert run.archive == archive
        for seen in (search, run):
            viz.overview(seen)
        plt.close("all")
        with Search.resume(home, Points(), archive, Jitter(), batch=8) as again:
            assert len(again.run(1, progress=False).commits) == 3


def rewritten(home, change):
    """Rewrites a run as an older version wrote it; the rows seal `about`, not itself."""
    from qdkit.core.jsonable import digest
    from qdkit.runs.rows import Commit, none_to_nan, seal_commit

    db = sqlite3.connect(home / "run.db")
    about = {name: json.loads(text) for name, text in db.execute("select name, value from about")}
    about = {name: change(value) for name, value in about.items()}
    for name, value in about.items():
        db.execute("update about set value = ? where name = ?", (to_json(value), name))
    seal = digest(to_json(about))
    for number, *state in db.execute("select * from commits order by number").fetchall():
        rows = db.execute(
            "select * from candidates where task = ? order by id", (number,)
        ).fetchall()
        seal = seal_commit(seal, rows, Commit(number, *map(none_to_nan, state[:-1])))
        db.execute("update commits set digest = ? where number = ?", (seal, number))
    db.commit()
    db.close()


@pytest.mark.parametrize(
    "archive",
    [Recent(2, 29), CVT.spread(4, SQUARE), Grid((5, 5), BOX)],
    ids=lambda a: type(a).__name__,
)
def test_a_run_of_an_older_version_is_opened_and_resumes(archive, tmp_path):
    """It has null in place of an infinity, and lists in place of arrays."""
    with Search(Points(), archive, Jitter(), batch=8, folder=tmp_path) as search:
        search.run(2, progress=False)
    rewritten(tmp_path, legacy_description)
    texts = [
        text for (text,) in sqlite3.connect(tmp_path / "run.db").execute("select value from about")
    ]
    assert not any("$" in text for text in texts)
    run = qdkit.load(tmp_path)
    assert alike(run.archive, archive if not isinstance(archive, CVT) else run.archive)
    assert np.array_equal(run.elites.objective, search.elites.objective)
    with Search.resume(tmp_path, Points(), archive, Jitter(), batch=8) as again:
        assert len(again.run(1, progress=False).commits) == 3


@pytest.mark.parametrize("floor", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_floor_is_finite(floor, compiled):
    """QD scores are counted from it."""
    domain = Sphere(2)
    object.__setattr__(domain, "floor", floor)
    with pytest.raises(
        ValueError, match=r"Sphere\.floor is .*, and QD scores are counted from it"
    ):
        search_of(domain, Grid((3, 3), domain.bounds), Gaussian(0.1), compiled=compiled)


ODD = {
    "inf": math.inf,
    "-inf": -math.inf,
    "nan": math.nan,
    "none": None,
    "deep": {"list": [1, math.nan, {"$float": "x", "$": -math.inf}], "text": "nan"},
    "numpy": np.float32(math.inf),
    "array": np.array([1.0, math.nan]),
    "cpu_seconds": math.nan,
}


class Notes(Points):
    def evaluate(self, genomes):
        found = super().evaluate(genomes)
        odd = np.where(
            genomes.sum(1, keepdims=True) > 1, genomes[:, :1], [[math.nan, math.inf, -math.inf]]
        )
        return qdkit.Evaluation(
            found.objective, found.descriptor, features=odd, notes=[dict(ODD)] * len(genomes)
        )


class Tells(Jitter):
    def propose(self, key, context, n):
        return super().propose(key, context, n)._replace(notes=[{"told": (math.inf, np.nan)}] * n)


def test_notes_and_features_come_back_as_they_were(tmp_path):
    """In the search, from the ledger, on resume, and from the run on disk.

    Those of operators and judges come back, too.
    """
    judge = lambda key, batch: qdkit.Judgement(
        batch.objective, notes=[{"sure": -math.inf}] * len(batch)
    )

    def search(**place):
        axes = lambda batch: np.asarray(batch.genome)[:, :2]
        return search_of(
            Notes(), Grid((5, 5), BOX), Tells(), batch=8, judge=judge, axes=axes, **place
        )

    with search(run=tmp_path) as first:
        live = [*first.steps(3)]
        expected = as_jsonable(ODD)
        for batch in live:
            assert all(same({name: note[name] for name in ODD}, expected) for note in batch.notes)
            assert all(note["sure"] == -math.inf for note in batch.notes)
        assert same(live[2].notes[0]["told"], [math.inf, math.nan])
        stored = first.ledger.batch(2)
        assert all(map(same, stored.notes, live[2].notes))
        assert np.array_equal(stored.features, live[2].features, equal_nan=True)
        assert np.isposinf(stored.features).any() or np.isnan(stored.features).any()
        assert math.isnan(first.ledger.mean_outside_cpu())
        assert first.ledger.outside_cpu() == {}
        dump = first.ledger.dump()
    with search(run=tmp_path, resume=True) as again:
        assert again.ledger.dump() == dump
    run = qdkit.load(tmp_path)
    assert all(map(same, run.ledger.batch(2).notes, live[2].notes))
    for (text,) in sqlite3.connect(tmp_path / "run.db").execute("select notes from candidates"):
        json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_events_come_back_as_they_were(tmp_path):
    value = {"a": [math.inf, None, -math.inf], "$b": math.nan}
    with points(run=tmp_path) as search:
        search.ledger.event(0, "mine", value)
        [(_, _, value_read)] = [event for event in search.ledger.events() if event[1] == "mine"]
    assert same(value_read, value)
    assert same(qdkit.load(tmp_path).ledger.events()[0][2], value)


@pytest.mark.parametrize("deep", [170, 181])
@pytest.mark.parametrize("place", ["notes", "genome"])
def test_a_value_is_nested_as_deeply_as_it_can_be_read(place, deep, tmp_path):
    """A run that was written can be opened again; what could not is refused before."""
    value = functools.reduce(lambda inner, _: [inner], range(deep), 1.5)

    class Deep(Texts):
        def seeds(self, key, n):
            return [{"text": "a rose", "tree": value if place == "genome" else []}]

        def evaluate(self, genomes):
            notes = [{"tree": value if place == "notes" else []}]
            return qdkit.Evaluation([1.0], [[3.0, 0.5]], notes=notes)

    def run():
        with search_of(Deep(), Grid((4, 4), Texts.bounds), Jitter(), batch=1, run=tmp_path) as s:
            s.run(1, progress=False)

    if deep > 180:
        with pytest.raises((ValueError, TypeError), match="nested more than 180 deep"):
            run()
    else:
        run()
        assert qdkit.load(tmp_path).best.objective == 1.0

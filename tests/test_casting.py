"""The cast of genomes to the dtype of the seeds rounds floats and changes no other value."""

from __future__ import annotations

import re

import hypothesis.extra.numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qdkit
from qdkit import Search
from qdkit.archives import Grid
from qdkit.core.casting import cast
from qdkit.core.elites import double
from qdkit.core.types import Operator
from qdkit.operators import (
    Emitter,
    Evolution,
    Gaussian,
    IsoLine,
    Polish,
    Portfolio,
    Steered,
    gaussian_shake,
)
from qdkit.selection.parents import Uniform
from tests.worlds import search_of

BOX = ((-300.0, 300.0), (-300.0, 300.0))
HELD = (
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
)
ONES = np.ones((2, 2))


class FixedSeeds:
    """A domain with these seeds."""

    bounds = BOX

    def __init__(self, seeds):
        self.numbers = seeds

    def seeds(self, key, n):
        return self.numbers

    def evaluate(self, genomes):
        genomes = (
            np.asarray(genomes, float)
            if isinstance(genomes, np.ndarray)
            else genomes.astype(float)
        )
        return qdkit.Evaluation(genomes.sum(1), genomes)


class Mapped(Operator):
    """An operator that proposes a function of the genomes of the parents."""

    def __init__(self, make, name="mine"):
        self.make, self.name = make, name

    def propose(self, key, context, n):
        return qdkit.Proposal.of(self.make(context.parents.genome), self.name, context.parents)


def search(seeds, operator, **settings):
    return search_of(FixedSeeds(seeds), Grid((5, 5), BOX), operator, **{"batch": 4} | settings)


def run(*parts, **settings):
    return search(*parts, **settings).run(2, progress=False)


@given(hnp.arrays(st.sampled_from(HELD), 3, elements=None), st.sampled_from(HELD))
def test_a_cast_changes_values_only_by_the_rounding_of_floats(values, dtype):
    """This holds for any two dtypes that a search supports."""
    dtype = np.dtype(dtype)
    if not np.can_cast(values.dtype, dtype, "same_kind"):
        with pytest.raises(TypeError, match=f"'mine' made genomes of {values.dtype}.* {dtype}"):
            cast(values, dtype, "mine")
        return
    try:
        result = cast(values, dtype, "mine")
    except ValueError as error:
        assert re.search(
            f"'mine' made .* as {values.dtype}, and this search holds {dtype}", str(error)
        )
        if dtype.kind == "f":
            assert (
                np.abs(values[np.isfinite(values)].astype(float)) > np.finfo(dtype).max * 0.999
            ).any()
        else:
            assert any(not np.iinfo(dtype).min <= int(x) <= np.iinfo(dtype).max for x in values)
        return
    assert result.dtype == dtype
    if dtype.kind == "f":
        fine = np.isfinite(values)
        assert np.array_equal(np.isnan(result), np.isnan(values))
        assert np.array_equal(np.isfinite(result), fine)
        exact, near = values[fine].astype(float), result[fine].astype(float)
        assert np.allclose(
            exact,
            near,
            rtol=float(np.finfo(dtype).eps),
            atol=float(np.finfo(dtype).smallest_subnormal),
        )
    else:
        assert [int(x) for x in result] == [int(x) for x in values]


MODERATE = st.floats(-6e4, 6e4) | st.sampled_from([np.inf, -np.inf, np.nan])


@given(hnp.arrays("float64", 4, elements=MODERATE), st.sampled_from(["float32", "float16"]))
def test_a_cast_keeps_infinities_and_nan_and_makes_no_new_ones(values, dtype):
    result = cast(values, np.dtype(dtype), "mine")
    assert np.array_equal(
        result[~np.isfinite(values)], values[~np.isfinite(values)], equal_nan=True
    )
    assert np.isfinite(result[np.isfinite(values)]).all()


@pytest.mark.parametrize(
    ("seeds", "make", "sentence"),
    [
        (
            "int64",
            lambda x: x + 0.4,
            "'mine' made genomes of float64, and this search holds int64",
        ),
        (
            "int64",
            lambda x: x + 1.0,
            "seeds made as float64, or have the operator round or clip and return int64",
        ),
        ("uint8", lambda x: x.astype(int) + 300, "genomes of int64, and this search holds uint8"),
        ("uint8", lambda x: x.astype(np.int8) - 2, "genomes of int8, and this search holds uint8"),
        (
            "int8",
            lambda x: x.astype(int) + 300,
            "a genome with 301 as int64, and this search holds int8",
        ),
        ("bool", lambda x: x.astype(int), "genomes of int64, and this search holds bool"),
        ("float16", lambda x: x.astype(float) * 1e6, "a genome with 1000000.0 as float64"),
        ("float32", lambda x: x.astype(float) * 1e300, "a genome with 1e[+]300 as float64"),
        ("float64", lambda x: x + 1j, "genomes of complex128, .*: have the operator round"),
        ("float64", lambda x: x.astype(str), "genomes of <U32"),
        ("float64", lambda x: [[None, 1.0]] * len(x), "genomes of object"),
    ],
)
def test_a_value_outside_the_dtype_of_the_seeds_is_an_error_that_names_operator_and_dtypes(
    seeds, make, sentence
):
    with pytest.raises((TypeError, ValueError), match=sentence):
        run(ONES.astype(seeds), Mapped(make))


@pytest.mark.parametrize(
    ("seeds", "make", "value"),
    [
        ("float32", lambda x: x.astype(float) + 0.1, np.float32(1.1)),
        ("float64", lambda x: x.astype(int) + 1, 2.0),
        ("float64", lambda x: (x + 0.5).tolist(), 1.5),
        ("int32", lambda x: x.astype(np.int64) + 1, 2),
        ("int8", lambda x: x + np.int8(1), 2),
        ("bool", lambda x: x, True),
        (">f8", lambda x: x + 1, 2.0),
        ("float16", lambda x: x * np.float16(0.5), 0.5),
    ],
)
def test_a_value_within_the_dtype_of_the_seeds_does_not_change(seeds, make, value):
    batches = [*search(ONES.astype(seeds), Mapped(make)).steps(2)]
    assert batches[1].genome.dtype == np.dtype(seeds).newbyteorder("=")
    assert (batches[1].genome == value).all()


@pytest.mark.parametrize("dtype", ["complex128", "longdouble", "datetime64[s]", "f8,i4"])
def test_seeds_of_unsupported_dtypes_are_refused(dtype):
    with pytest.raises(
        TypeError,
        match=r"FixedSeeds.seeds made genomes of .*, and a search holds float16 to float64",
    ):
        search(np.zeros((2, 2), dtype), Gaussian(0.1))
    with pytest.raises(TypeError, match="bfloat16, and a search holds"):
        search(jnp.ones((2, 2), "bfloat16"), Gaussian(0.1))


@pytest.mark.parametrize(
    "operator",
    [
        Polish(lambda x: x, gaussian_shake(0.3)),
        Gaussian(0.1),
        IsoLine(0.1, 0.1),
        Evolution(emitters=2, batch=2),
        Portfolio([Mapped(lambda x: x, "whole"), Gaussian(0.1)]),
        Steered(Polish(lambda x: x * 0.5, gaussian_shake(0.3)), Uniform(), "steered"),
    ],
)
@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_an_operator_of_floats_over_whole_numbers_is_refused(operator, dtype):
    """Truncated genomes would make the search evaluate one genome again and again."""
    with pytest.raises((TypeError, ValueError), match="float"):
        run(ONES.astype(dtype), operator)


def test_a_portfolio_casts_the_genomes_of_each_operator_by_itself():
    """A common dtype of int64 and uint64 would be float64, which rounds large numbers."""
    large = np.array([[2**62 + 1, 3], [5, 2**62 + 3]])
    parts = [
        Mapped(lambda x: x - 1, "less"),
        Mapped(lambda x: x.astype(np.int32, casting="unsafe"), "narrow"),
    ]
    batch = [*search(large, Portfolio(parts), batch=2).steps(2)][1]
    assert batch.genome.dtype == np.int64
    assert {int(x) for x in batch.genome[0]} <= {2**62, 2, 4, 2**62 + 2}
    with pytest.raises(TypeError, match="'floats' made genomes of float64"):
        run(large, Portfolio([Mapped(lambda x: x, "less"), Mapped(lambda x: x * 1.0, "floats")]))


def test_the_genomes_of_an_emitter_fit_the_dtype_of_its_parents():
    from ribs.emitters import GaussianEmitter

    make = lambda archive, seed: GaussianEmitter(
        archive, sigma=1e30, x0=[0.0] * 2, batch_size=4, seed=seed
    )
    with pytest.raises(ValueError, match=r"'GaussianEmitter' made a genome with .* as float64"):
        run(ONES.astype("float16"), Emitter(make, 2, BOX))


@pytest.mark.parametrize("what", ["sigma", "iso", "line"])
@pytest.mark.parametrize(("value", "becomes"), [(1e-60, "0.0"), (1e300, "inf")])
def test_a_setting_that_the_genomes_cannot_hold_is_refused(what, value, becomes):
    """Noise that rounds to 0 or to infinity is refused."""
    operator = Gaussian(value) if what == "sigma" else IsoLine(**{what: value})
    with pytest.raises(ValueError, match=f"{what} is .*, and that is {becomes} as float32"):
        run(ONES.astype("float32"), operator)


@pytest.mark.parametrize("limits", [(-1e300, 1e300), (-1e-60, 1e300)])
def test_limits_beyond_the_dtype_of_the_genomes_have_no_effect(limits):
    search = run(ONES.astype("float32"), Gaussian(0.1, limits=limits))
    assert np.isfinite(search.pool.genome).all()
    assert float(search.pool.genome.min()) >= limits[0]


class Varies(Gaussian):
    def vary(self, key, parents):
        return parents + 0.4


def compiled(seeds, operator):
    return search(seeds, operator, batch=None if operator.size else 4, compiled=True)


@pytest.mark.parametrize(
    ("seeds", "operator", "sentence"),
    [
        (ONES.astype(int), Varies(0.1), "makes genomes of float32, and the seeds are int32"),
        (
            ONES.astype(int),
            Gaussian(0.1),
            "'gaussian' changes arrays of floats, and these genomes are int32",
        ),
        (ONES.astype(int), Evolution(emitters=2, batch=2), "vectors of floats"),
        (
            ONES.astype(int) * 2**40,
            Gaussian(0.1),
            "1099511627776 as int64, and this search holds int32",
        ),
        (ONES * 1e300, Gaussian(0.1), "64 bits within `with qdkit.core.elites.double"),
        (ONES.astype("longdouble"), Gaussian(0.1), "a search holds float16 to float64"),
    ],
)
def test_the_compiled_search_changes_no_value_either(seeds, operator, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        compiled(seeds, operator)


def test_the_compiled_search_keeps_whole_numbers_and_doubles():
    class Adds(Gaussian):
        def vary(self, key, parents):
            return parents + 1

    assert compiled(ONES.astype(np.uint8), Adds(0.1)).run(3, progress=False).pool.genome.max() == 4
    with double():
        assert (compiled(ONES * 1e300, Adds(0.1)).pool.genome == 1e300).all()


def test_adding_by_hand_refuses_values_outside_the_dtype_of_the_elites():
    grid = Grid((3, 3), BOX)
    elites = grid.init({"genome": jnp.zeros(2, int)})
    with pytest.raises(
        ValueError, match="is kept as int32, which would cut off what float32 holds"
    ):
        grid.add(elites, np.ones(2), np.zeros((2, 2)), {"genome": np.full((2, 2), 0.5)})


@pytest.mark.parametrize(
    "column", [[1j, 2], ["1.5", "2"], np.array(["2020-01-01", "2021-01-01"], "M8[D]")]
)
def test_an_objective_that_is_no_number_is_refused(column):
    """numpy would drop the imaginary part, and read texts as numbers."""

    class Odd(FixedSeeds):
        def evaluate(self, genomes):
            return qdkit.Evaluation(column, np.asarray(genomes))

    with pytest.raises(ValueError, match="objective must be numbers"):
        Search(Odd(ONES), Grid((5, 5), BOX), Gaussian(0.1), batch=2).run(1, progress=False)


def test_a_run_of_any_dtype_resumes(run_folder):
    """The genomes are read from their bytes in the ledger."""
    flip = lambda x: ~x
    for dtype, make in {
        "bool": flip,
        "uint8": flip,
        "int64": flip,
        "float16": lambda x: x * np.float16(0.7),
    }.items():
        home = run_folder / dtype
        expected = run(ONES.astype(dtype), Mapped(make)).run(2, progress=False).ledger.dump()
        with search(ONES.astype(dtype), Mapped(make), run=home) as first:
            first.run(2, progress=False)
        with search(ONES.astype(dtype), Mapped(make), run=home, resume=True) as resumed:
            resumed.run(2, progress=False)
            assert jax.tree.leaves(resumed.elites.payload["genome"])[0].dtype == dtype
            assert [line for line in resumed.ledger.dump().splitlines() if "goal" not in line] == [
                line for line in expected.splitlines() if "goal" not in line
            ]

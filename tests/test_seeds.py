"""Seeds are whole numbers, seed sequences or None.

Different seeds start different runs, and other values are refused.
"""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import qdkit
from qdkit import Search
from qdkit.archives import CVT, Grid
from qdkit.core.prng import root_key
from qdkit.core.seeds import numpy_seed, seed_number, seed_words
from qdkit.domains import Sphere
from qdkit.feedback import audit
from qdkit.feedback.preferences import Comparisons, taste
from qdkit.metrics import draws
from qdkit.operators import Gaussian, IsoLine, NoveltySearch, Portfolio, Rewarded
from qdkit.peers import Ribs
from qdkit.selection.bandits import UCB
from qdkit.testing import Person, check_archive, check_domain, check_operator
from tests.worlds import Jitter, Points, points, search_of

LARGE = (2**32, 2**32 + 1, 2**63 - 1, 2**63, 2**64, 2**64 + 1, 10**40, -1, -(2**32), -(10**40))
NONE = [
    1.0,
    1.2,
    float("nan"),
    True,
    np.True_,
    "1",
    b"1",
    [1],
    (1, 2),
    np.float64(2),
    np.array([1]),
    1 + 0j,
]


def bits(seed):
    return tuple(jax.random.key_data(root_key(seed)).tolist())


@pytest.mark.parametrize("seed", [0, 1, 7, 2**31 - 1, 2**31, 2**32 - 1])
def test_small_seeds_start_the_same_runs_as_in_older_versions(seed):
    assert bits(seed) == tuple(jax.random.key_data(jax.random.key(seed)).tolist()) == (0, seed)


@given(st.integers(), st.integers())
def test_different_seeds_have_different_keys(a, b):
    assume(a != b)
    assert bits(a) != bits(b)
    assert numpy_seed(a) != numpy_seed(b)
    assert min(numpy_seed(a), numpy_seed(b)) >= 0


@given(st.integers(0, 2**63 - 1))
def test_seeds_below_2_to_the_63_are_used_directly(seed):
    """A hashed seed has the first bit set, so it differs from these."""
    high, low = seed_words(seed)
    assert (high << 32) + low == seed
    assert all(
        seed_words(other)[0] >= 2**31
        for other in (-1 - seed, 2**63 + seed, np.random.SeedSequence(seed))
    )


def test_a_hash_is_the_same_on_every_machine():
    """Compares with values of the first version."""
    assert seed_words(-1) == seed_words(np.int64(-1))
    assert seed_number(np.random.SeedSequence(5)) == seed_number(np.random.SeedSequence([5]))
    assert seed_number(np.random.SeedSequence(5)) == GOLDEN["sequence"]
    assert numpy_seed(-1) == GOLDEN["minus one"]
    assert seed_words(2**64) == GOLDEN["two to the 64"]


GOLDEN = {
    "sequence": 284818135770513062940753369091124389569,
    "minus one": 206917966960767399309830815512838117837,
    "two to the 64": (4212493401, 897121112),
}


def test_different_seed_sequences_are_different_seeds():
    """They differ by their entropy and spawn keys, as in numpy.

    The number of their children makes no difference.
    """
    sequence = np.random.SeedSequence(5)
    first = seed_number(sequence)
    child, other = sequence.spawn(2)
    others = [seed_number(each) for each in (child, other, np.random.SeedSequence(6))]
    assert len({first, *others, 5}) == 5
    assert seed_number(sequence) == first


def test_none_draws_a_new_seed():
    assert len({seed_number(None) for _ in range(20)}) == 20
    assert all(0 <= seed_number(None) < 2**53 for _ in range(20))


def case_name(value) -> str:
    """Returns the name of a case.

    A repr may hold an address in memory, which differs between test processes.
    """
    return type(value).__name__


@pytest.mark.parametrize(
    "seed", [*NONE, jax.random.key(1), np.random.default_rng(1)], ids=case_name
)
def test_an_invalid_seed_is_refused_with_a_message(seed):
    with pytest.raises(
        TypeError, match=r"a seed is a whole number, a np\.random\.SeedSequence or None"
    ):
        seed_number(seed)


@pytest.mark.parametrize(
    "like", [np.int64(7), np.uint8(7), np.array(7), jax.numpy.array(7)], ids=repr
)
def test_whole_numbers_of_any_library_are_seeds(like):
    assert seed_number(like) == 7
    assert type(seed_number(like)) is int


# Every door that takes a seed.


def dumped(search):
    return search.run(2, progress=False).ledger.dump()


@pytest.mark.parametrize("compiled", [False, True])
def test_searches_of_different_seeds_are_different(compiled):
    """This includes 1 and 1 + 2**32. Each seed is in the ledger and reproduces the run."""
    domain = Sphere(2)

    def search(seed):
        return search_of(
            domain,
            Grid((9, 9), domain.bounds),
            IsoLine(0.2),
            batch=4,
            seed=seed,
            compiled=compiled,
        )

    seeds = [1, *LARGE, np.random.SeedSequence(1), None]
    searches = [search(seed).run(2, progress=False) for seed in seeds]
    elites = [tuple(np.asarray(one.elites.objective).tolist()) for one in searches]
    assert len(set(elites)) == len(seeds)
    for one, values in zip(searches, elites, strict=True):
        assert type(one.seed) is int
        assert json.loads(json.dumps(one.ledger.about))["seed"] == one.seed
        assert tuple(search(one.seed).run(2, progress=False).elites.objective.tolist()) == values
    assert [one.seed for one in searches[:-2]] == seeds[:-2]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    "seed", [0, 2**32 + 5, -7, 2**90, np.random.SeedSequence(3), None], ids=repr
)
def test_a_run_of_any_seed_resumes(seed, compiled, run_folder):
    """With the same seed, with `search.seed`, and with None, which stands for that of the run."""
    domain = Sphere(2)

    def search(seed, **place):
        archive = Grid((9, 9), domain.bounds)
        return search_of(
            domain, archive, Gaussian(0.2), batch=4, seed=seed, compiled=compiled, **place
        )

    with search(seed, run=run_folder) as first:
        first.run(1, progress=False)
    for other in (first.seed, None, first.seed if seed is None else seed):
        with search(other, run=run_folder, resume=True) as resumed:
            resumed.run(1, progress=False)
            assert resumed.seed == first.seed
    whole_run = search(first.seed).run(4, progress=False)
    assert np.array_equal(resumed.elites.objective, whole_run.elites.objective)
    with pytest.raises(ValueError, match="has seed = "):
        search(first.seed + 1, run=run_folder, resume=True)
    assert qdkit.load(run_folder).summary()["steps"] == len(whole_run.commits)


def test_a_search_can_be_judged_again_with_any_seed():
    for seed in (2**70, -3):
        search = points(seed=seed).run(2, progress=False)
        assert search.judge_again(1)


def judge_by_length(key, batch):
    return np.array([float(len(text)) for text in batch.genome])


DOORS = {
    "Search": lambda seed: points(seed=seed),
    "compiled": lambda seed: Search.compiled(
        Sphere(2), Grid((3, 3), Sphere(2).bounds), Gaussian(0.1), seed=seed
    ),
    "CVT.spread": lambda seed: CVT.spread(3, ((0, 1),), seed=seed),
    "NoveltySearch": lambda seed: NoveltySearch(seed=seed),
    "Rewarded": lambda seed: Rewarded(NoveltySearch(), seed=seed),
    "Portfolio": lambda seed: Portfolio([Gaussian(0.1)], bandit=UCB(), seed=seed),
    "Ribs": lambda seed: Ribs(Grid((3,), ((0, 1),)), 2, seed=seed),
    "draws": lambda seed: draws(9, 3, seed),
    "taste": lambda seed: taste(Comparisons([0, 1], [1, 2], [1, 1]), np.eye(3), seed=seed),
    "audit": lambda seed: audit(judge_by_length, ["a text", "another text"], seed=seed),
    "check_archive": lambda seed: check_archive(Grid((3,), ((0.0, 1.0),)), seed),
    "check_domain": lambda seed: check_domain(Points(), seed),
    "check_operator": lambda seed: check_operator(Jitter(), Points(), seed),
    "Person": lambda seed: Person(seed=seed),
}


@pytest.mark.parametrize("door", sorted(DOORS))
def test_every_function_with_a_seed_accepts_the_same_seeds(door):
    for seed in (0, 2**32 + 1, 2**64, -1, np.random.SeedSequence(1)):
        DOORS[door](seed)
    with pytest.raises(TypeError, match="a seed is a whole number"):
        DOORS[door](1.5)


def test_cells_spread_with_different_seeds_are_different():
    cells = [
        CVT.spread(4, ((0, 1), (0, 1)), seed=seed).centroids.tobytes()
        for seed in (1, 2**32 + 1, 2**64 + 1, -1)
    ]
    assert len(set(cells)) == 4

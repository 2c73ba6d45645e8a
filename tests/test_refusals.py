"""Why no seed could enter: the archive gives its reason, and unusable seeds are refused."""

import jax.numpy as jnp
import numpy as np
import pytest

from qdkit import Evaluation, Search
from qdkit.archives import (
    CVT,
    DeepGrid,
    DominatedNovelty,
    Grid,
    Islands,
    Novelty,
    Recent,
    Thresholds,
)
from qdkit.operators import Gaussian
from tests.worlds import search_of

BOX = ((0.0, 1.0), (0.0, 1.0))
GRID = Grid((4, 4), BOX)


class Fixed:
    """A domain of vectors that all have the same objective and descriptor."""

    bounds = BOX

    def __init__(self, objective=-3.0, descriptor=(0.5, 0.5), seeds=None):
        self.objective, self.descriptor, self.fixed_seeds = objective, descriptor, seeds

    def seeds(self, key, n):
        return np.zeros((3, 2), np.float32) if self.fixed_seeds is None else self.fixed_seeds

    def evaluate(self, genomes):
        n = len(genomes)
        return Evaluation(
            jnp.full(n, self.objective), jnp.tile(jnp.asarray(self.descriptor), (n, 1))
        )


FAR = (0.5, 7.0)
REASONS = {
    r"objective -3.0 is not above the minimum of Thresholds, 0.0: give a minimum below": (
        Fixed(),
        Thresholds(GRID),
    ),
    r"objective 0.0 is not above the minimum of Thresholds, 0.0": (
        Fixed(0.0),
        Thresholds(CVT.spread(5, BOX), 0.1),
    ),
    r"\[0.5, 7.0\] lies outside the bounds .*clip": (
        Fixed(descriptor=FAR),
        Grid((4, 4), BOX, "reject"),
    ),
    r"\[0.5, 7.0\] lies outside the bounds \(\(0.0, 1.0\), \(0.0, 1.0\)\): widen": (
        Fixed(descriptor=FAR),
        CVT([[0.2, 0.2], [0.6, 0.6]], BOX, "reject"),
    ),
    r"\[0.5, 7.0\] lies outside the bounds": (
        Fixed(descriptor=FAR),
        Thresholds(Grid((4, 4), BOX, "reject"), minimum=-9.0),
    ),
    r"\[0.5, 7.0\] lies outside the bounds .*": (
        Fixed(descriptor=FAR),
        DeepGrid(Grid((4, 4), BOX, "reject"), 2),
    ),
    r"objective -3.0 is not above least, 2.0: give a lower one": (
        Fixed(),
        Recent(2, 20, least=2.0),
    ),
    r"its objective is nan": (Fixed(np.nan), GRID),
    r"its objective is -inf": (Fixed(-np.inf), Novelty(2, 20, threshold=0.1)),
    r"its descriptor is \[0.5, nan\]": (Fixed(descriptor=(0.5, np.nan)), DominatedNovelty(2, 20)),
}


@pytest.mark.parametrize("words", REASONS)
@pytest.mark.parametrize("compiled", [False, True])
def test_a_search_that_no_seed_enters_says_why(words, compiled):
    """The message has the archive's reason, or the candidate's error, and a remedy."""
    domain, archive = REASONS[words]
    with pytest.raises(RuntimeError, match="no seed could enter the archive.*" + words):
        search = search_of(domain, archive, Gaussian(0.1), batch=8, compiled=compiled)
        search.run(2, progress=False)


def test_islands_give_the_reason_of_their_archive():
    """Islands pass the reason on, as any wrapper."""
    search = Search(
        Fixed(descriptor=FAR), Islands(Grid((4, 4), BOX, "reject"), 2), Gaussian(0.1), batch=8
    )
    with pytest.raises(
        RuntimeError, match=r"no seed could enter.*\[0.5, 7.0\] lies outside the bounds"
    ):
        search.run(2, progress=False)


def test_a_candidate_that_can_enter_is_not_refused():
    """The reason is empty then."""
    for archive in (
        GRID,
        Thresholds(GRID),
        DeepGrid(GRID, 2),
        Recent(2, 9, 3, least=0.0),
        Novelty(2, 9, 3, threshold=1.0),
    ):
        assert archive.refusal(1.0, np.array([0.5, 0.5])) == ""
    assert Recent(2, 9, 3, least=0.0, free=1).refusal(-1.0, np.array([0.5, 0.5])) == ""


BAD_SEEDS = {
    "longdouble": np.zeros((3, 2), np.longdouble),
    "complex": np.zeros((3, 2), complex),
    "objects": np.array([object(), object()], object),
    "a set": [{1, 2}],
    "dates": np.array(["2020-01-01"], "datetime64[D]"),
}


@pytest.mark.parametrize("kind", BAD_SEEDS)
@pytest.mark.parametrize("compiled", [False, True])
def test_unusable_seeds_are_refused(kind, compiled):
    """The message says what came and what is expected."""
    with pytest.raises(
        (TypeError, ValueError), match=r"seeds.*(dtype|hold|set)|a compiled loop searches arrays"
    ):
        search_of(Fixed(seeds=BAD_SEEDS[kind]), GRID, Gaussian(0.1), batch=8, compiled=compiled)


def test_texts_are_no_vectors_to_a_compiled_search():
    """A list or an array of texts is refused."""
    for seeds in (["a"], np.array(["a", "b"]), np.array(["a", "b"], object)):
        with pytest.raises(
            (TypeError, ValueError), match=r"seeds m|a compiled loop searches arrays"
        ):
            Search.compiled(Fixed(seeds=seeds), GRID, Gaussian(0.1), batch=8)

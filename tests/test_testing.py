"""The conformance checks accept correct parts, and report what is wrong with others."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qdkit.archives import CVT, DeepGrid, DominatedNovelty, Grid, Novelty, Recent, Thresholds
from qdkit.core.elites import Archive
from qdkit.core.types import Evaluation, Operator, Proposal
from qdkit.domains import Arm, Plateau, Rastrigin, Respell, Sphere, UnitArm, Words
from qdkit.operators import Gaussian, IsoLine, Portfolio, Rewrite, cma_me
from qdkit.testing import check_archive, check_domain, check_operator

BOX = ((-1.0, 1.0), (0.0, 3.0))
CENTROIDS = np.random.default_rng(0).uniform(-1, 1, (9, 2))


@pytest.mark.parametrize(
    "domain",
    [Sphere(6), Rastrigin(6), Plateau(5), Arm(4), UnitArm(4), Words()],
    ids=lambda domain: type(domain).__name__,
)
def test_built_in_domains_conform(domain):
    """For every numeric domain and one of words."""
    check_domain(domain, seed=1)


@pytest.mark.parametrize(
    "archive",
    [
        Grid((5, 4), BOX),
        Grid((6,), ((0, 1),), "reject"),
        Grid((3, 2), ((0, 1, 10, 100), ("haiku", "ode"))),
        CVT(CENTROIDS),
        CVT(CENTROIDS, BOX, "reject"),
        Thresholds(Grid((5, 4), BOX), minimum=-1.0),
        DeepGrid(CVT(CENTROIDS), 3),
        Novelty(2, 40, 3, threshold=0.2, competition=True),
        DominatedNovelty(2, 10),
        Novelty(2, 2048, 3, threshold=0.2),
        Recent(2, 16),
    ],
    ids=[
        "uniform",
        "reject",
        "edges and labels",
        "CVT",
        "CVT reject",
        "thresholds",
        "deep grid",
        "novelty",
        "dominated",
        "boxes",
        "recent",
    ],
)
def test_built_in_archives_conform(archive):
    """For every kind of archive."""
    check_archive(archive, seed=1)


def test_respell_conforms():
    """Also with another number of genomes."""
    check_operator(Respell(), Words())
    check_operator(Respell(), Words(), seed=3, n=7)


ARM = Arm(4)


@pytest.mark.parametrize(
    "operator",
    [
        Gaussian(0.1, limits=ARM.limits),
        IsoLine(0.1, limits=ARM.limits),
        cma_me(4, ARM.bounds, batch=4),
        cma_me(4, ARM.bounds, batch=2, emitters=2, ranker="rd"),
        Portfolio([Gaussian(0.1), IsoLine(0.1)]),
        Portfolio([cma_me(4, ARM.bounds, batch=2), Gaussian(0.1)], name="mixed"),
    ],
    ids=["gaussian", "line", "cma-me", "cma-me twice", "portfolio", "mixed"],
)
def test_built_in_operators_over_vectors_conform(operator):
    """Those of pyribs too."""
    check_operator(operator, ARM)


def test_rewriting_conforms():
    """With a scripted function in place of the model."""
    check_operator(Rewrite(lambda prompt: prompt[::-1], "{genome}"), Words())


class Points:
    """A correct domain: points in the unit square, the better the nearer to the origin."""

    bounds = ((0, 1), (0, 1))

    def seeds(self, key, n):
        return np.array(jax.random.uniform(key, (n, 2)))

    def evaluate(self, genomes):
        return Evaluation(-(genomes**2).sum(1), genomes.copy())


def points(**wrong):
    """Returns a `Points` domain with some attributes replaced by wrong ones."""
    return type("Wrong", (Points,), wrong)()


def changing(self, genomes):
    genomes[:] = 0
    return Evaluation(genomes.sum(1), genomes.copy())


def constant(**columns):
    """Returns an `evaluate` with these columns for any genomes."""
    return lambda self, genomes: Evaluation(
        **{name: make(len(genomes)) for name, make in columns.items()}
    )


count = iter(range(1000))
BAD_DOMAINS = {
    "seeds(key, 6) gives 1 to 6 genomes, and gave 7": points(
        seeds=lambda self, key, n: np.zeros((n + 1, 2))
    ),
    "and gave 0": points(seeds=lambda self, key, n: []),
    "other genomes for the same key": points(
        seeds=lambda self, key, n: np.full((n, 2), float(next(count)))
    ),
    "seeds gave a jax array: hand it on with np.asarray": points(
        seeds=lambda self, key, n: jnp.zeros((n, 2))
    ),
    "seeds gave numbers that are not finite": points(
        seeds=lambda self, key, n: np.full((n, 2), np.nan)
    ),
    "seeds gave an array of object": points(seeds=lambda self, key, n: np.array([{}] * n)),
    "seeds gave a set: a genome is a str, bytes or a JSON value": points(
        seeds=lambda self, key, n: [{1}] * n
    ),
    "evaluate gives an Evaluation, not a float": points(evaluate=lambda self, genomes: 1.0),
    "given 6 genomes, and objective has 1 rows": points(
        evaluate=constant(objective=lambda n: [0.0])
    ),
    "objective has 1 dimensions, and this one has shape (6, 1)": points(
        evaluate=constant(objective=lambda n: np.zeros((n, 1)))
    ),
    "objective holds an infinity": points(evaluate=constant(objective=lambda n: [-np.inf] * n)),
    "descriptors have one entry for each axis": points(
        evaluate=constant(descriptor=lambda n: [[0], *[[0, 1]] * (n - 1)])
    ),
    "notes are mappings of JSON values": points(
        evaluate=constant(notes=lambda n: [{"by": {1}}] * n)
    ),
    "outcome is one of ok, invalid": points(evaluate=constant(outcome=lambda n: ["fine"] * n)),
    "evaluate changed the genomes": points(evaluate=changing),
    "the second time": points(evaluate=constant(objective=lambda n: [float(next(count))] * n)),
    "otherwise alone than among 6": points(
        evaluate=lambda self, x: Evaluation(x.sum(1) - x.sum(1).mean(), x)
    ),
    "bounds is not what a Grid takes": points(bounds=((1, 0), (0, 1))),
    "the descriptors do not fit the domain's bounds: the archive has 1 axes": points(
        bounds=((0, 1),)
    ),
    "no seed has a descriptor": points(evaluate=constant(descriptor=lambda n: [[0, np.nan]] * n)),
    "most seeds lie within bounds, ((5, 6), (0, 1)), and of these 0% do": points(
        bounds=((5, 6), (0, 1))
    ),
    "bounds has 2 axes, and names has 1": points(names=("x",)),
    "limits are (low, high) with low < high": points(limits=(1, 0)),
    "seeds gave numbers outside limits, (0.5, 0.6)": points(limits=(0.5, 0.6)),
    "no objective is below floor, 0.0": points(floor=0.0),
    "draw(genome, ax) gives back the ax": points(draw=lambda self, genome, ax: None),
}


@pytest.mark.parametrize("words", BAD_DOMAINS)
def test_a_broken_domain_raises_with_a_remedy(words):
    """Each mistake has its message."""
    with pytest.raises(AssertionError, match=re.escape(words)):
        check_domain(BAD_DOMAINS[words])


def test_a_plain_domain_conforms():
    """`Points` itself is correct, so the changes above are mistakes."""
    check_domain(
        points(floor=-2.0, limits=(0, 1), names=("x", "y"), draw=lambda self, genome, ax: ax)
    )


class Shake(Operator):
    """A correct operator: moves points by normal noise."""

    name = "shake"

    def propose(self, key, context, n):
        x = context.parents.genome
        return Proposal.of(
            x + np.asarray(jax.random.normal(key, x.shape)), self.name, context.parents
        )


def shake(**wrong):
    """Returns a `Shake` with some attributes replaced by wrong ones."""
    return type("Wrong", (Shake,), wrong)()


def altered(change):
    """Returns the `propose` of `Shake` with its proposal changed by `change`."""
    return lambda self, key, context, n: change(Shake.propose(self, key, context, n))


def overwriting(self, key, context, n):
    context.parents.genome[:] = 0
    return Proposal.of(context.parents.genome.copy(), self.name, context.parents)


def counting(self, key, context, n):
    self.made = getattr(self, "made", 0) + n
    return Shake.propose(self, key, context, n)


BAD_OPERATORS = {
    "an operator has a name, not ''": shake(name=""),
    "at least one parent, and arity is 0": shake(arity=0),
    "asked for 4 genomes, and made 3": shake(
        propose=altered(lambda proposal: proposal.take(slice(3)))
    ),
    "dtype and shape (dtype('float32'), (2,)), and propose made (dtype('float64'), (2,))": shake(
        propose=altered(lambda proposal: proposal._replace(genome=proposal.genome.astype(float)))
    ),
    "the parents are an array, and propose made a list": shake(
        propose=altered(lambda proposal: proposal._replace(genome=proposal.genome.tolist()))
    ),
    "names ids that were not given, {0}": shake(
        propose=altered(lambda proposal: proposal._replace(parents=proposal.parents * 0))
    ),
    "parents have shape (4, p)": shake(
        propose=altered(lambda proposal: proposal._replace(parents=proposal.parents[:, 0]))
    ),
    "once for each of 4 genomes, not 'shake'": shake(
        propose=altered(lambda proposal: proposal._replace(origin="shake"))
    ),
    "other genomes with the same key: draw from the key alone": shake(
        propose=altered(
            lambda proposal: proposal._replace(genome=proposal.genome + np.float32(next(count)))
        )
    ),
    "propose changed the genomes of its parents": shake(propose=overwriting),
    "propose changed the operator": shake(propose=counting),
}


@pytest.mark.parametrize("words", BAD_OPERATORS)
def test_a_broken_operator_raises_with_a_remedy(words):
    """Each mistake has its message."""
    with pytest.raises(AssertionError, match=re.escape(words)):
        check_operator(BAD_OPERATORS[words], Points())


def test_an_operator_of_two_parents_conforms():
    """Parents are rows of `arity`, and the proposal names all of them."""

    def propose(self, key, context, n):
        return Proposal.of(
            context.parents.genome.reshape(n, 2, 2).mean(1), self.name, context.parents
        )

    check_operator(shake(arity=2, propose=propose), Points())


def test_an_operator_that_changes_the_type_of_genomes_raises():
    """Texts do not become bytes."""
    encode = lambda self, key, context, n: Proposal.of(
        [word.encode() for word in context.parents.genome], "encode", context.parents
    )
    with pytest.raises(AssertionError, match=r"of type {'str'}, and propose made {'bytes'}"):
        check_operator(shake(propose=encode), Words())


class NumberLine(Archive):
    """A correct archive: four cells along the numbers from -1 to 1."""

    cells = 4
    axes = 1

    def cell(self, descriptor):
        place = jnp.clip(jnp.floor(2 * (jnp.asarray(descriptor)[:, 0] + 1)), 0, 3)
        return jnp.where(jnp.isnan(place), -1, place).astype(jnp.int32)


def line(**wrong):
    """Returns a `NumberLine` with some attributes replaced by wrong ones."""
    return type("Wrong", (NumberLine,), wrong)()


def last_wins(self, elites, objective, descriptor, payload):
    elites, added = NumberLine.add(self, elites, objective[::-1], descriptor[::-1], payload[::-1])
    return elites, type(added)(*(column[::-1] for column in added))


def anything_enters(self, elites, objective, descriptor, payload):
    elites, added = NumberLine.add(self, elites, jnp.nan_to_num(objective), descriptor, payload)
    return elites, added


def forgetting(self, elites, objective, descriptor, payload):
    return NumberLine.add(self, self.init(), objective, descriptor, payload)


def only_objective(self, elites, objective, descriptor, payload):
    row = (
        jnp.broadcast_to(jnp.ravel(jnp.asarray(objective)), 24)
        if jnp.size(objective) == 1
        else objective
    )
    return NumberLine.add(self, elites, row, descriptor, payload)


def unchecked(self, elites, cell, objective, descriptor, payload):
    cell = cell[:, 0] if jnp.ndim(cell) == 2 else cell
    return NumberLine.insert(self, elites, cell, objective, descriptor, payload)


BAD_ARCHIVES = {
    "add took objective of shape (1,) and dtype float32 beside 24 rows of 1 axes": line(
        add=only_objective
    ),
    "insert took cell of shape (24, 1) and dtype int32": line(insert=unchecked),
    "the first of the best": line(add=last_wins),
    "status of rows [4 5] is": line(add=anything_enters),
    "against the elites before the batch": line(add=forgetting),
    "a cell is a number from 0 to 2": line(cells=3),
    "cell gives 24 integers for 24 descriptors": line(
        cell=lambda self, d: NumberLine.cell(self, d).astype(float)
    ),
    "changed with its place in the batch": line(cell=lambda self, d: jnp.arange(len(d)) % 4),
    "is inside the bounds and belongs to no cell": line(cell=lambda self, d: jnp.full(len(d), -1)),
    "inside gives 24 booleans": line(inside=lambda self, d: True),
    "init gives objective, descriptor and payload of shapes": line(
        init=lambda self, payload: Grid((3,), ((0, 1),)).init()
    ),
    "encode takes descriptors of 1 entries and raises ValueError for others": line(
        encode=lambda self, d: np.asarray(d, float)
    ),
}


@pytest.mark.parametrize("words", BAD_ARCHIVES)
def test_a_broken_archive_raises_with_a_remedy(words):
    """Each mistake has its message."""
    with pytest.raises(AssertionError, match=re.escape(words)):
        check_archive(BAD_ARCHIVES[words])


def test_an_archive_of_three_methods_conforms():
    """Cells, axes and cell are enough; `NumberLine` itself is correct."""
    check_archive(NumberLine())

"""The conformance checks pass what is right, and say of what is wrong where and why."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qdkit.archives import CVT, Deep, Dominated, Grid, Novelty, Recent, Soft
from qdkit.domains import Arm, Plateau, Rastrigin, Respell, Sphere, UnitArm, Words
from qdkit.elites import Archive
from qdkit.operators import Gaussian, Line, Portfolio, Rewrite, cma_me
from qdkit.testing import check_archive, check_domain, check_operator
from qdkit.types import Evaluation, Operator, Proposal

BOX = ((-1.0, 1.0), (0.0, 3.0))
CENTROIDS = np.random.default_rng(0).uniform(-1, 1, (9, 2))


@pytest.mark.parametrize(
    "domain",
    [Sphere(6), Rastrigin(6), Plateau(5), Arm(4), UnitArm(4), Words()],
    ids=lambda domain: type(domain).__name__,
)
def test_built_in_domains_conform(domain):
    """Every domain of the shelf keeps its promises."""
    check_domain(domain, seed=1)


@pytest.mark.parametrize(
    "archive",
    [
        Grid((5, 4), BOX),
        Grid((6,), ((0, 1),), "reject"),
        Grid((3, 2), ((0, 1, 10, 100), ("haiku", "ode"))),
        CVT(CENTROIDS),
        CVT(CENTROIDS, BOX, "reject"),
        Soft(Grid((5, 4), BOX), minimum=-1.0),
        Deep(CVT(CENTROIDS), 3),
        Novelty(2, 40, 3, threshold=0.2, competition=True),
        Dominated(2, 10),
        Novelty(2, 2048, 3, threshold=0.2),
        Recent(2, 16),
    ],
    ids=[
        "uniform",
        "reject",
        "edges and labels",
        "CVT",
        "CVT reject",
        "soft",
        "deep",
        "novelty",
        "dominated",
        "boxes",
        "recent",
    ],
)
def test_built_in_archives_conform(archive):
    """Every geometry of cells keeps its promises."""
    check_archive(archive, seed=1)


def test_respell_conforms():
    """Also when it is asked for another number of words."""
    check_operator(Respell(), Words())
    check_operator(Respell(), Words(), seed=3, n=7)


ARM = Arm(4)


@pytest.mark.parametrize(
    "operator",
    [
        Gaussian(0.1, limits=ARM.limits),
        Line(0.1, limits=ARM.limits),
        cma_me(4, ARM.bounds, batch=4),
        cma_me(4, ARM.bounds, batch=2, emitters=2, ranker="rd"),
        Portfolio([Gaussian(0.1), Line(0.1)]),
        Portfolio([cma_me(4, ARM.bounds, batch=2), Gaussian(0.1)], name="mixed"),
    ],
    ids=["gaussian", "line", "cma-me", "cma-me twice", "portfolio", "mixed"],
)
def test_built_in_operators_over_vectors_conform(operator):
    """Every operator of the room keeps its promises, those of pyribs in it too."""
    check_operator(operator, ARM)


def test_rewriting_conforms():
    """An operator that asks conforms if who answers does."""
    check_operator(Rewrite(lambda prompt: prompt[::-1], "{genome}"), Words())


class Points:
    """Points in the unit square, the better the nearer to the origin. What is wrong with the others is put in."""

    bounds = ((0, 1), (0, 1))

    def seeds(self, key, n):
        return np.array(jax.random.uniform(key, (n, 2)))

    def evaluate(self, genomes):
        return Evaluation(-(genomes**2).sum(1), genomes.copy())


def points(**wrong):
    """A domain like `Points` but for some attributes."""
    return type("Wrong", (Points,), wrong)()


def changing(self, genomes):
    genomes[:] = 0
    return Evaluation(genomes.sum(1), genomes.copy())


def told(**columns):
    """An `evaluate` that says the same whatever it is given."""
    return lambda self, genomes: Evaluation(**{name: make(len(genomes)) for name, make in columns.items()})


count = iter(range(1000))
BAD_DOMAINS = {
    "seeds(key, 6) gives 1 to 6 genomes, and gave 7": points(seeds=lambda self, key, n: np.zeros((n + 1, 2))),
    "and gave 0": points(seeds=lambda self, key, n: []),
    "other genomes for the same key": points(seeds=lambda self, key, n: np.full((n, 2), float(next(count)))),
    "seeds gave a jax array: hand it on with np.asarray": points(seeds=lambda self, key, n: jnp.zeros((n, 2))),
    "seeds gave numbers that are not finite": points(seeds=lambda self, key, n: np.full((n, 2), np.nan)),
    "seeds gave an array of object": points(seeds=lambda self, key, n: np.array([{}] * n)),
    "seeds gave a set: a genome is a str, bytes or a JSON value": points(seeds=lambda self, key, n: [{1}] * n),
    "evaluate gives an Evaluation, not a float": points(evaluate=lambda self, genomes: 1.0),
    "given 6 genomes, and objective has 1 rows": points(evaluate=told(objective=lambda n: [0.0])),
    "objective has 1 dimensions, and this one has shape (6, 1)": points(
        evaluate=told(objective=lambda n: np.zeros((n, 1)))
    ),
    "objective holds an infinity": points(evaluate=told(objective=lambda n: [-np.inf] * n)),
    "descriptors have one entry for each axis": points(evaluate=told(descriptor=lambda n: [[0], *[[0, 1]] * (n - 1)])),
    "notes are mappings of JSON values": points(evaluate=told(notes=lambda n: [{"by": {1}}] * n)),
    "outcome is one of ok, invalid": points(evaluate=told(outcome=lambda n: ["fine"] * n)),
    "evaluate changed the genomes": points(evaluate=changing),
    "the second time": points(evaluate=told(objective=lambda n: [float(next(count))] * n)),
    "otherwise alone than among 6": points(evaluate=lambda self, x: Evaluation(x.sum(1) - x.sum(1).mean(), x)),
    "bounds is not what a Grid takes": points(bounds=((1, 0), (0, 1))),
    "the descriptors do not fit the domain's bounds: the archive has 1 axes": points(bounds=((0, 1),)),
    "no seed has a descriptor": points(evaluate=told(descriptor=lambda n: [[0, np.nan]] * n)),
    "most seeds lie within bounds, ((5, 6), (0, 1)), and of these 0% do": points(bounds=((5, 6), (0, 1))),
    "bounds has 2 axes, and names has 1": points(names=("x",)),
    "limits are (low, high) with low < high": points(limits=(1, 0)),
    "seeds gave numbers outside limits, (0.5, 0.6)": points(limits=(0.5, 0.6)),
    "no objective is below floor, 0.0": points(floor=0.0),
    "draw(genome, ax) gives back the ax": points(draw=lambda self, genome, ax: None),
}


@pytest.mark.parametrize("words", BAD_DOMAINS)
def test_a_broken_domain_is_told_what_to_mend(words):
    """Each fault has its sentence."""
    with pytest.raises(AssertionError, match=re.escape(words)):
        check_domain(BAD_DOMAINS[words])


def test_a_plain_domain_conforms():
    """`Points` itself is right, so the faults above are faults."""
    check_domain(points(floor=-2.0, limits=(0, 1), names=("x", "y"), draw=lambda self, genome, ax: ax))


class Shake(Operator):
    """Moves a point a little."""

    name = "shake"

    def propose(self, key, context, n):
        x = context.parents.genome
        return Proposal.of(x + np.asarray(jax.random.normal(key, x.shape)), self.name, context.parents)


def shake(**wrong):
    """An operator like `Shake` but for some attributes."""
    return type("Wrong", (Shake,), wrong)()


def but(change):
    """A `propose` like that of `Shake`, of which `change` makes something else."""
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
    "asked for 4 genomes, and made 3": shake(propose=but(lambda made: made.take(slice(1, None)))),
    "dtype and shape (dtype('float32'), (2,)), and propose made (dtype('float64'), (2,))": shake(
        propose=but(lambda made: made._replace(genome=made.genome.astype(float)))
    ),
    "the parents are an array, and propose made a list": shake(
        propose=but(lambda made: made._replace(genome=made.genome.tolist()))
    ),
    "names ids that were not given, {0}": shake(propose=but(lambda made: made._replace(parents=made.parents * 0))),
    "parents have shape (4, p)": shake(propose=but(lambda made: made._replace(parents=made.parents[:, 0]))),
    "once for each of 4 genomes, not 'shake'": shake(propose=but(lambda made: made._replace(origin="shake"))),
    "other genomes with the same key: draw from the key alone": shake(
        propose=but(lambda made: made._replace(genome=made.genome + np.float32(next(count))))
    ),
    "propose changed the genomes of its parents": shake(propose=overwriting),
    "propose changed the operator": shake(propose=counting),
}


@pytest.mark.parametrize("words", BAD_OPERATORS)
def test_a_broken_operator_is_told_what_to_mend(words):
    """Each fault has its sentence."""
    with pytest.raises(AssertionError, match=re.escape(words)):
        check_operator(BAD_OPERATORS[words], Points())


def test_an_operator_of_two_parents_conforms():
    """Parents come in rows of `arity`, and all of them are named."""

    def propose(self, key, context, n):
        return Proposal.of(context.parents.genome.reshape(n, 2, 2).mean(1), self.name, context.parents)

    check_operator(shake(arity=2, propose=propose), Points())


def test_an_operator_that_changes_the_kind_is_told():
    """Words do not become bytes."""
    encode = lambda self, key, context, n: Proposal.of(
        [word.encode() for word in context.parents.genome], "encode", context.parents
    )
    with pytest.raises(AssertionError, match=r"of type {'str'}, and propose made {'bytes'}"):
        check_operator(shake(propose=encode), Words())


class Line(Archive):
    """Four cells along the numbers from -1 to 1. What is wrong with the others is put in."""

    cells = 4
    axes = 1

    def cell(self, descriptor):
        place = jnp.clip(jnp.floor(2 * (jnp.asarray(descriptor)[:, 0] + 1)), 0, 3)
        return jnp.where(jnp.isnan(place), -1, place).astype(jnp.int32)


def line(**wrong):
    """An archive like `Line` but for some attributes."""
    return type("Wrong", (Line,), wrong)()


def last_wins(self, elites, objective, descriptor, payload):
    elites, added = Line.add(self, elites, objective[::-1], descriptor[::-1], payload[::-1])
    return elites, type(added)(*(column[::-1] for column in added))


def anything_enters(self, elites, objective, descriptor, payload):
    elites, added = Line.add(self, elites, jnp.nan_to_num(objective), descriptor, payload)
    return elites, added


def forgetting(self, elites, objective, descriptor, payload):
    return Line.add(self, self.init(), objective, descriptor, payload)


BAD_ARCHIVES = {
    "the first of the best": line(add=last_wins),
    "status of rows [4 5] is": line(add=anything_enters),
    "against the elites before the batch": line(add=forgetting),
    "a cell is a number from 0 to 2": line(cells=3),
    "cell gives 24 integers for 24 descriptors": line(cell=lambda self, d: Line.cell(self, d).astype(float)),
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
def test_a_broken_archive_is_told_what_to_mend(words):
    """Each fault has its sentence."""
    with pytest.raises(AssertionError, match=re.escape(words)):
        check_archive(BAD_ARCHIVES[words])


def test_an_archive_of_three_methods_conforms():
    """Who gives cells, axes and cell has written an archive; `Line` itself is right."""
    check_archive(Line())

"""The mathematical problems: their referees against slow exact ones, and the local optimisers."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from itertools import combinations, pairwise
from typing import Any

import jax
import matplotlib
import numpy as np
import pytest

from qdkit.core.types import Batch, Context, Outcome, Proposal
from qdkit.domains.mathematics import circle_solver, point_solver
from qdkit.domains.mathematics.autocorrelation import Autocorrelation
from qdkit.domains.mathematics.circle_packing import CirclePacking, packed, radii
from qdkit.domains.mathematics.exact_arithmetic import convolution, float_not_above, integers
from qdkit.domains.mathematics.heilbronn import Heilbronn
from qdkit.domains.mathematics.min_max_distance import MinMaxDistance
from qdkit.domains.mathematics.overlap import MinimumOverlap
from qdkit.domains.mathematics.problem import PointProblem, Problem
from qdkit.domains.mathematics.sums_differences import SumsDifferences
from qdkit.operators.polish import Polish, gaussian_shake, scipy_minimise
from qdkit.programs.syntax import blocks

POINT_PROBLEMS = [CirclePacking(26), MinMaxDistance(16), Heilbronn(13)]
PROBLEMS = [*POINT_PROBLEMS, Autocorrelation(), MinimumOverlap(), SumsDifferences()]
each_problem = pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
each_point_problem = pytest.mark.parametrize("problem", POINT_PROBLEMS, ids=lambda p: p.name)
ROOT3 = math.sqrt(3)


def seed_answer(problem: Problem) -> Any:
    """What the seed program of a problem returns."""
    room: dict[str, Any] = {}
    exec(problem.program, room)
    return room["solve"](*problem.arguments)


def rational(points: Any) -> list[tuple[Fraction, Fraction]]:
    return [(Fraction(float(x)), Fraction(float(y))) for x, y in points]


# Exact arithmetic


def test_integers_are_the_floats_exactly():
    """Floats of any size become integers over one power of two without loss."""
    values = [0.1, -3.0, 5e-324, 1e300, 0.0, 2.0**-1022]
    whole, shift = integers(values)
    assert [Fraction(i, 2**shift) for i in whole] == [Fraction(v) for v in values]


def test_below_never_flatters():
    """The float of an exact number is the greatest that is not above it."""
    for exact in (
        Fraction(1, 3),
        Fraction(-1, 3),
        Fraction(2, 3),
        Fraction(1, 2),
        Fraction(-7, 10),
    ):
        value = float_not_above(exact)
        assert Fraction(value) <= exact < Fraction(math.nextafter(value, math.inf))


def test_the_product_of_long_integers_is_a_convolution():
    """The digits of one product of long integers are the sums that a double loop computes."""
    random = np.random.default_rng(0)
    for _ in range(20):
        a, b = (
            [int(x) ** 3 for x in random.integers(0, 10**6, random.integers(1, 9))]
            for _ in range(2)
        )
        slow = [0] * (len(a) + len(b) - 1)
        for i, x in enumerate(a):
            for j, y in enumerate(b):
                slow[i + j] += x * y
        assert convolution(a, b) == slow
    assert convolution([0, 0], [0]) == [0, 0]


# Every referee


@each_problem
@pytest.mark.parametrize(
    "output",
    [None, "0.5", b"00", 2.635, {"sum": 3.0}, [], [[]], [None], ["1"], [True, False],
     [[0.5, "x"]], [[0.1], [0.2, 0.3]], np.zeros((3, 3, 3)), np.zeros(0), np.array(["a"]),
     np.array([object()]), np.array([True, False]), object()],
    ids=lambda output: re.sub(" at 0x[0-9a-f]+", "", repr(output)),
)  # fmt: skip
def test_what_is_no_answer_is_refused(problem, output):
    """Anything of a wrong type or shape fails with a sentence, and raises nothing."""
    score = problem.score(output)
    assert math.isnan(score.objective) and score.outcome == Outcome.FAILED
    assert np.isnan(score.descriptor).all() and len(score.descriptor) == len(problem.names)
    assert "expected" in score.notes["error"]


@each_problem
@pytest.mark.parametrize(
    "poison", [math.nan, math.inf, -math.inf, 10**400, 2**53 + 1, -1e-300], ids=str
)
def test_one_bad_number_among_good_ones_is_refused(problem, poison):
    """nan, infinity, an integer that no float holds and a number out of range are refused."""
    answer = np.asarray(seed_answer(problem)).tolist()
    anywhere = isinstance(problem, MinMaxDistance | Heilbronn) and poison == -1e-300
    large = isinstance(problem, SumsDifferences) and poison == 2**53 + 1
    if anywhere or large:
        return
    spoilt = (
        [[poison, 0.5], *answer[1:]]
        if isinstance(problem, PointProblem)
        else [poison, *answer[1:]]
    )
    assert problem.score(spoilt).outcome == Outcome.FAILED


class Liar(np.ndarray):
    """An array that claims to be greater than anything."""

    def __gt__(self, other):
        return True


@each_problem
def test_an_array_with_a_will_of_its_own_is_refused(problem):
    """A subclass of arrays or of lists may lie about its numbers, so none is read."""
    answer = np.asarray(seed_answer(problem))
    assert problem.score(answer.view(Liar)).outcome == Outcome.FAILED
    assert problem.score(np.ma.masked_array(answer)).outcome == Outcome.FAILED
    assert problem.score(type("Rows", (list,), {})(answer.tolist())).outcome == Outcome.FAILED


@each_problem
def test_the_seed_program_is_a_modest_answer(problem):
    """A seed program's answer scores below the best known value, as an array and as lists."""
    answer = seed_answer(problem)
    score = problem.score(answer)
    assert score.outcome == Outcome.OK and problem.floor < score.objective < problem.best_known
    assert score.notes["gap"] == pytest.approx(problem.best_known - score.objective)
    assert problem.score(np.asarray(answer).tolist()) == score
    assert all(
        low <= x <= high for x, (low, high) in zip(score.descriptor, problem.bounds, strict=True)
    )


@each_problem
def test_the_statement_has_no_placeholder(problem):
    """The text of a task names the function and the best known value, without a placeholder."""
    changing = "".join(problem.program[block] for block in blocks(problem.program))
    named = re.findall(r"`(\w+)\(", problem.task)
    assert (
        named
        and f"def {named[0]}(" in changing
        and f"{abs(problem.best_known):.10g}" in problem.task
    )
    assert "{n}" not in problem.task and "{best_known}" not in problem.task
    assert "EVOLVE-BLOCK-START" in problem.program and "EVOLVE-BLOCK-END" in problem.program


@each_problem
def test_an_answer_can_be_drawn(problem):
    """Every problem draws its seed program's answer."""
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    assert problem.draw(seed_answer(problem), ax) is ax
    assert ax.has_data() or ax.patches


def test_more_numbers_than_asked_for_are_not_even_read():
    """A huge answer is refused by its size."""
    message = "expected 3 points, shape (3, 2), and more than 6 numbers came"
    assert CirclePacking(3).score(np.zeros((10**6, 2))).notes["error"] == message
    assert Autocorrelation().score(np.ones(4001)).outcome == Outcome.FAILED
    assert SumsDifferences().score(list(range(5000))).outcome == Outcome.FAILED


def test_numbers_of_any_size_do_no_harm():
    """Answers that would take the referee for ever, or beyond the floats, are refused.

    Others are not.
    """
    far = np.array([[0.0, 0.0], [5e-324, 0.0], [1e308, -1e308]])
    assert "beyond" in MinMaxDistance(3).score(far).notes["error"]
    assert Heilbronn(3).score(far).objective == 1.0
    for problem in (Autocorrelation(), MinimumOverlap()):
        assert "2**-100" in problem.score([1.0, 1e-40]).notes["error"]
    assert Autocorrelation().score([1e308, 1e308]).objective == -2.0


# Points


@each_point_problem
def test_an_answer_is_a_set_of_points(problem):
    """The order of the points and the symmetries of the square change nothing."""
    random = np.random.default_rng(1)
    points = random.integers(0, 2**20, (problem.n, 2)) / 2**20  # so that 1 - x is exact
    one = problem.score(points)
    for other in (
        random.permutation(points),
        points[:, ::-1],
        1 - points,
        np.stack([1 - points[:, 1], points[:, 0]], 1),
    ):
        score = problem.score(other.copy())
        assert score.objective == pytest.approx(one.objective, rel=1e-13)
        assert score.descriptor == pytest.approx(one.descriptor, rel=1e-6, abs=1e-9)


@each_point_problem
def test_the_domain_and_the_referee_agree(problem):
    """A genome is scored as the answer it stands for.

    What lies outside the square counts as on its border.
    """
    genomes = problem.seeds(jax.random.key(3), 3)
    assert genomes.shape == (3, problem.dimensions) and genomes.dtype == np.float64
    genomes[1, 0] = 1.2
    found = problem.evaluate(genomes)
    for i, genome in enumerate(np.clip(genomes, 0, 1)):
        score = problem.score(genome.reshape(-1, 2))
        assert found.objective[i] == score.objective
        assert tuple(found.descriptor[i]) == score.descriptor
    assert (problem.seeds(jax.random.key(3), 3)[0] == genomes[0]).all()


def test_ratio_of_distances_of_known_figures():
    """A square has the squared ratio 2, an equilateral triangle 1, at coordinates of any size."""
    square = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    for size in (1.0, 1e-160, 1e300):
        assert MinMaxDistance(4).score(square * size).objective == -2.0
    triangle = [[0.0, 0.0], [1.0, 0.0], [0.5, ROOT3 / 2]]
    assert MinMaxDistance(3).score(triangle).objective == pytest.approx(-1, abs=1e-15)
    assert MinMaxDistance(4).score(np.zeros((4, 2))).outcome == Outcome.FAILED
    twice = [[0.5, 0.5]] * 2 + [[0.0, 1.0], [1.0, 0.0]]
    assert "coincide" in MinMaxDistance(4).score(twice).notes["error"]


def test_ratio_of_distances_against_fractions():
    """The objective is the exact ratio, rounded to the side that does not flatter."""
    random = np.random.default_rng(5)
    for _ in range(5):
        points = random.random((6, 2))
        squares = [
            (a - c) ** 2 + (b - d) ** 2 for (a, b), (c, d) in combinations(rational(points), 2)
        ]
        assert MinMaxDistance(6).score(points).objective == float_not_above(
            -max(squares) / min(squares)
        )


def test_heilbronn_of_known_figures():
    """Three corners fill their hull; a square's corners have triangles of half of it.

    Collinear points none.
    """
    assert Heilbronn(3).score([[0.0, 0.0], [1.0, 0.0], [0.3, 0.7]]).objective == 1.0
    assert Heilbronn(4).score([[0, 0], [1, 0], [1, 1], [0, 1]]).objective == 0.5
    assert Heilbronn(4).score([[0, 0], [1, 0], [2, 0], [0, 1]]).objective == 0.0
    assert "line" in Heilbronn(3).score([[0, 0], [1, 3], [2, 6]]).notes["error"]
    hexagon = [[math.cos(k * math.pi / 3), math.sin(k * math.pi / 3)] for k in range(6)]
    assert Heilbronn(6).score(hexagon).objective == pytest.approx(1 / 6, abs=1e-14)


def test_heilbronn_against_fractions():
    """The objective is the exact ratio of the smallest triangle to the fan over the hull."""
    from scipy.spatial import ConvexHull

    random = np.random.default_rng(6)
    for _ in range(5):
        points = random.random((7, 2))
        area = lambda a, b, c: abs((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
        q = rational(points)
        corners = [q[k] for k in ConvexHull(points).vertices]
        fan = sum(area(corners[0], a, b) for a, b in pairwise(corners[1:]))
        score = Heilbronn(7).score(points)
        assert score.objective == float_not_above(min(area(*t) for t in combinations(q, 3)) / fan)
        assert score.descriptor[0] == len(corners) / 7


def test_heilbronn_is_invariant_under_affine_maps():
    """Sheared and stretched, a set of points keeps its objective and its descriptor."""
    points = np.random.default_rng(7).random((13, 2))
    one, other = (
        Heilbronn().score(points),
        Heilbronn().score(points @ np.array([[3.0, 1.0], [-20.0, 5.0]])),
    )
    assert other.objective == pytest.approx(one.objective, rel=1e-9)
    assert other.descriptor == pytest.approx(one.descriptor, rel=1e-9)


# Circle packing


@pytest.mark.parametrize(
    "centres, best",
    [([[0.5, 0.5]], 0.5),
     ([[1 / (2 + math.sqrt(2))] * 2, [1 - 1 / (2 + math.sqrt(2))] * 2], 2 - math.sqrt(2)),
     ([[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]], 1.0)],
)  # fmt: skip
def test_circles_of_known_packings(centres, best):
    """One circle has the radius 1/2, two along the diagonal the sum 2 - √2, four the sum 1."""
    objective = CirclePacking(len(centres)).score(centres).objective
    assert objective == pytest.approx(best, abs=1e-12) and objective <= best + 1e-15


def test_radii_are_a_packing_in_fractions():
    """An independent check confirms each packing of the referee, and no radius can grow."""
    random = np.random.default_rng(8)
    for n in (1, 2, 5, 26):
        centres = random.random((n, 2))
        r = [Fraction(x) for x in radii(centres).tolist()]
        c = rational(centres)
        assert all(r[i] <= z <= 1 - r[i] for i in range(n) for z in c[i])
        gaps = {
            (i, j): (c[i][0] - c[j][0]) ** 2 + (c[i][1] - c[j][1]) ** 2 - (r[i] + r[j]) ** 2
            for i, j in combinations(range(n), 2)
        }
        assert all(gap >= 0 for gap in gaps.values())
        stuck = {k for pair, gap in gaps.items() if gap < 1e-9 for k in pair}
        stuck |= {i for i in range(n) if min(*c[i], *(1 - z for z in c[i])) - r[i] < 1e-9}
        assert stuck == set(range(n))


def test_a_packing_that_overlaps_by_less_than_any_tolerance_is_none():
    """Two circles that share 1e-17 of their radius overlap; two that touch do not."""
    centres = np.array([[0.25, 0.5], [0.75, 0.5]])
    touching = np.array([0.25, 0.25])
    assert packed(centres, touching)
    assert not packed(centres, np.array([0.25, math.nextafter(0.25, 1)]))
    assert not packed(np.array([[0.25, 0.5], [math.nextafter(0.75, 0), 0.5]]), touching)
    assert not packed(np.array([[math.nextafter(0.25, 0), 0.5]]), np.array([0.25]))
    assert not packed(np.array([[0.5, 0.5]]), np.array([-1e-300]))
    close = np.array([[0.0, 0.5], [1e-17, 0.5]])
    assert packed(close, np.array([0.0, 1e-17])) and not packed(
        close, np.array([0.0, 1.0000001e-17])
    )


def test_centres_that_coincide_or_lie_on_the_border_have_no_radius():
    """Circles in one place share nothing; none outside the square is read."""
    assert CirclePacking(2).score([[0.5, 0.5], [0.5, 0.5]]).objective <= 0.5
    assert CirclePacking(2).score([[0.0, 0.0], [1.0, 0.3]]).objective == 0.0
    assert "outside" in CirclePacking(1).score([[1.0000000000000002, 0.5]]).notes["error"]


def test_reported_radii_are_not_read():
    """An answer that brings radii or a sum of its own is refused whatever they are."""
    centres = [[0.25, 0.5], [0.75, 0.5]]
    for boast in (
        (centres, [0.25, 0.25], 4.01),
        [[0.25, 0.5, 9.0], [0.75, 0.5, 9.0]],
        {"centres": centres},
    ):
        assert CirclePacking(2).score(boast).outcome == Outcome.FAILED


def test_tightening_never_lowers_the_sum():
    """Each linear programme raises the sum, and the referee finds the sum that was promised."""
    centres = np.random.default_rng(9).random((6, 2))
    before = CirclePacking(6).score(centres).objective
    tight, value = circle_solver.tighten(centres)
    assert value > before
    assert CirclePacking(6).score(tight).objective == pytest.approx(value, abs=1e-9)
    assert circle_solver.tighten(tight)[1] == pytest.approx(value, abs=1e-9)


def test_the_packer_finds_small_optima():
    """The searches reach the sum (3 + √2) / 4 for five circles; a seed repeats the centres."""
    found = [next(circle_solver.basin_hopping(5, seed=0)) for _ in range(2)]
    assert (found[0].centres == found[1].centres).all()
    strict = CirclePacking(5).score(found[0].centres).objective
    assert strict == pytest.approx(found[0].value, abs=1e-9) and strict == pytest.approx(
        (3 + math.sqrt(2)) / 4
    )


def test_a_layout_is_relaxed_as_if_alone():
    """Layouts that fill no whole number of lanes are padded, and do not hear of each other."""
    layouts = np.random.default_rng(2).random((17, 5, 2))
    circles = circle_solver.relax(layouts, circle_solver.NEARBY)
    alone = circle_solver.relax(layouts[16:], circle_solver.NEARBY)
    assert circles.shape == (17, 5, 3)
    np.testing.assert_allclose(alone[0], circles[16], atol=1e-9)


# The optimiser of point problems


@pytest.mark.parametrize("measure", [point_solver.pair_distances, point_solver.triangles])
def test_slopes_are_the_derivatives(measure):
    """Moving one coordinate a little changes each number by its slope."""
    points, h = np.random.default_rng(3).random((6, 2)), 1e-6
    for k in range(12):
        up, down = points.copy(), points.copy()
        up.flat[k] += h
        down.flat[k] -= h
        for here, plus, minus in zip(measure(points), measure(up), measure(down), strict=True):
            np.testing.assert_allclose(
                here.slope[:, k], (plus.value - minus.value) / (2 * h), atol=1e-8
            )


def test_climbing_reaches_known_figures():
    """Three random points become an equilateral triangle, four a square; no objective falls."""
    for n, best in ((3, -1.0), (4, -2.0)):
        domain = MinMaxDistance(n)
        genomes = domain.seeds(jax.random.key(0), 4)
        after = domain.evaluate(point_solver.improve_distances(genomes)).objective
        assert (after >= domain.evaluate(genomes).objective).all()
        assert after.max() == pytest.approx(best, abs=1e-9)


def test_climbing_enlarges_the_smallest_triangle():
    """Five random points become an affine regular pentagon, with the ratio (5 - √5) / 10."""
    domain = Heilbronn(5)
    genomes = domain.seeds(jax.random.key(0), 6)
    after = domain.evaluate(point_solver.improve_triangles(genomes)).objective
    assert (after >= domain.evaluate(genomes).objective - 1e-12).all()
    assert after.max() == pytest.approx((5 - math.sqrt(5)) / 10, abs=1e-9)


# Functions and sets


def test_autocorrelation_of_known_functions():
    """One step has the constant 2 however it is cut; the scale of the heights changes nothing."""
    for heights in ([1.0], [3, 3, 3, 3], np.full(50, 0.1), np.full(7, 5e-324)):
        assert Autocorrelation().score(heights).objective == -2.0
    assert Autocorrelation().score([1.0, 0.0]).objective == -4.0
    assert "every height is 0" in Autocorrelation().score([0.0, 0.0]).notes["error"]


def test_autocorrelation_against_fractions():
    """The objective is the exact constant of a double loop, and of the mirror image as well."""
    random = np.random.default_rng(10)
    for k in (1, 2, 3, 8):
        f = random.random(k) * 10.0 ** random.integers(-12, 3, k)
        q = [Fraction(x) for x in f.tolist()]
        peak = max(
            sum(q[i] * q[s - i] for i in range(k) if 0 <= s - i < k) for s in range(2 * k - 1)
        )
        assert Autocorrelation().score(f).objective == float_not_above(-2 * k * peak / sum(q) ** 2)
        assert (
            Autocorrelation().score(f[::-1].copy()).objective
            == Autocorrelation().score(f).objective
        )


def test_overlap_of_known_functions():
    """Half everywhere overlaps by 1/2; so does, for want of balance, all or nothing.

    A middle block by 1.
    """
    for heights in ([0.5], [0.1, 0.1, 0.1], [1.0], [0], [1, 1, 1]):
        assert MinimumOverlap().score(heights).objective == -0.5
    assert MinimumOverlap().score([0, 1, 1, 0]).objective == -0.5
    assert "between 0 and 1" in MinimumOverlap().score([0.5, math.nextafter(1, 2)]).notes["error"]


def test_overlap_against_fractions():
    """The objective is the exact overlap of the balanced function; the complement has the same."""
    random = np.random.default_rng(11)
    for k in (1, 2, 5, 9):
        h = random.integers(0, 2**30, k) / 2**30
        q = [Fraction(x) for x in h.tolist()]
        mean = sum(q) / k
        half = Fraction(1, 2)
        q = (
            [x * half / mean for x in q]
            if mean >= half
            else [1 - (1 - x) * half / (1 - mean) for x in q]
        )
        assert sum(q) * 2 / k == 1 and all(0 <= x <= 1 for x in q)
        shared = max(
            sum(q[i] * (1 - q[i + s]) for i in range(k) if 0 <= i + s < k) for s in range(1 - k, k)
        )
        assert MinimumOverlap().score(h).objective == float_not_above(-2 * shared / k)
        assert MinimumOverlap().score(1 - h).objective == MinimumOverlap().score(h).objective


def test_slack_in_the_integral_gains_nothing():
    """A function whose integral is a thousandth below 1 has the score of the balanced one."""
    h = np.array([0.25, 0.75, 0.75, 0.25])
    loose = MinimumOverlap().score(h * 0.999).objective
    naive = -np.correlate(h * 0.999, 1 - h * 0.999, "full").max() / 2
    assert loose < -0.38 and loose != pytest.approx(naive, abs=1e-6)


def test_sums_and_differences_are_counted():
    """{0, 1, 3} has 7 differences and 6 sums; a progression as many of one as of the other."""
    assert SumsDifferences().score([3, 0, 1]).objective == pytest.approx(
        1 + math.log(7 / 6) / math.log(7)
    )
    assert SumsDifferences().score([0, 5, 10]).objective == 1.0
    random = np.random.default_rng(12)
    for _ in range(5):
        u = sorted({0, *random.integers(1, 2**61, 12).tolist()})
        plus, minus = {a + b for a in u for b in u}, {a - b for a in u for b in u}
        exact = 1 + math.log(len(minus) / len(plus)) / math.log(2 * max(u) + 1)
        assert SumsDifferences().score(u).objective == pytest.approx(exact, abs=1e-15)
        assert SumsDifferences().score(np.array(u)).objective == pytest.approx(exact, abs=1e-15)


@pytest.mark.parametrize(
    "u", [[0], [1, 2], [0, 1, 1], [0, -1], [0, 1.0], [0, True], [0, 2**62], [[0, 1]]], ids=str
)
def test_what_is_no_set_of_integers_is_refused(u):
    """Without 0, with a repetition, a float, a negative or a huge number, nothing is counted."""
    assert SumsDifferences().score(u).outcome == Outcome.FAILED


# The operator


def parents(genome: np.ndarray) -> Batch:
    return Batch.unevaluated(Proposal.of(genome, "test")).replace(
        id=np.arange(len(genome), dtype=np.int32)
    )


def test_polish_goes_down_from_where_it_was_shaken():
    """With any SciPy method, children are at the bottom near their parents, and remember them."""
    wells = scipy_minimise(lambda x: float(((x - np.round(x)) ** 2).sum()), method="L-BFGS-B")
    operator = Polish(wells, gaussian_shake(0.1))
    elites = np.array([[0.0, 1.0], [5.0, -3.0]])
    made = operator.propose(jax.random.key(0), Context(parents(elites)), 2)
    np.testing.assert_allclose(made.genome, elites, atol=1e-5)
    assert made.parents.tolist() == [[0], [1]] and list(made.origin) == ["polish", "polish"]


def test_polish_draws_from_its_key_alone():
    """The same key makes the same children, another key others."""
    operator = Polish(lambda genomes: genomes, gaussian_shake(1.0))
    context = Context(parents(np.zeros((3, 2))))
    one, same, other = (operator.propose(jax.random.key(k), context, 3).genome for k in (0, 0, 1))
    assert (one == same).all() and (one != other).all()


def test_polish_says_when_its_optimiser_changes_the_shape():
    """An `improve` that loses rows or numbers is told what was expected."""
    operator = Polish(lambda genomes: genomes[:1], gaussian_shake(1.0))
    with pytest.raises(ValueError, match="improve takes genomes of shape"):
        operator.propose(jax.random.key(0), Context(parents(np.zeros((3, 2)))), 3)


def test_polished_packings_are_better_packings():
    """As an operator, the packer makes better packings than their random parents."""
    domain = CirclePacking(5)
    elites = domain.seeds(jax.random.key(1), 4)
    made = Polish(circle_solver.improve, circle_solver.relocate).propose(
        jax.random.key(2), Context(parents(elites)), 4
    )
    assert (domain.evaluate(made.genome).objective > domain.evaluate(elites).objective).all()

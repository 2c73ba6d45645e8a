"""The built-in domains, against their definitions written out in numpy."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

from qdkit import domains
from qdkit.core.elites import double
from qdkit.core.types import NO_CANDIDATE, Batch, Context, Proposal
from qdkit.domains.arm import Arm, PosedArm, UnitArm
from qdkit.domains.projection import Plateau, Rastrigin, Sphere
from qdkit.domains.words import Respell, Words

KEY = jax.random.key(0)
PROJECTIONS = [Sphere, Rastrigin, Plateau]
NUMERIC = [Sphere(6), Rastrigin(6), Plateau(6), Arm(6), UnitArm(6)]


def evaluate(domain, genomes):
    """Objective and descriptor in float64."""
    with double():
        found = domain.evaluate(np.asarray(genomes, float))
        return np.asarray(found.objective), np.asarray(found.descriptor)


def test_the_sphere_is_at_its_best_at_2_048_everywhere():
    """100 there and 0 where all numbers are -5.12, as in pyribs."""
    objective, _ = evaluate(Sphere(4), [[2.048] * 4, [-5.12] * 4, [0.0] * 4])
    np.testing.assert_allclose(objective, [100, 0, 100 * (1 - 2.048**2 / 7.168**2)])


def test_rastrigin_is_the_sphere_with_a_ripple():
    """The same best; a whole step away from it the ripple is gone."""
    raw = lambda y: 10 + y**2 - 10 * np.cos(2 * np.pi * y)
    worst = raw(7.168)
    objective, _ = evaluate(
        Rastrigin(3), [[2.048] * 3, [-5.12] * 3, [1.048] * 3, [2.548, 2.048, 2.048]]
    )
    np.testing.assert_allclose(
        objective, [100, 0, 100 * (1 - 1 / worst), 100 * (1 - raw(0.5) / (3 * worst))], atol=1e-9
    )


def test_the_plateau_falls_only_outside():
    """100 within ±5.12, less by the mean of the squared excess outside."""
    objective, _ = evaluate(Plateau(2), [[5.12, -5.12], [7.12, 0.0], [-7.12, 7.12]])
    np.testing.assert_allclose(objective, [100, 98, 96])


@pytest.mark.parametrize("kind", PROJECTIONS)
def test_projections_sum_their_halves(kind):
    """Numbers beyond 5.12 count as 5.12 / x; of five the first two make the first half."""
    _, descriptor = evaluate(kind(5), [[1, 2, 3, 4, 5], [10.24, -5.12, 51.2, 0, -512]])
    np.testing.assert_allclose(descriptor, [[3, 12], [0.5 - 5.12, 0.1 - 0.01]])
    assert kind(100).bounds == ((-256, 256), (-256, 256))


@pytest.mark.parametrize("kind", PROJECTIONS)
def test_projections_have_gradients_at_zero(kind):
    """Every derivative of objective and descriptor is finite where the seeds are."""
    both = lambda x: (
        kind(4).evaluate(x[None]).objective[0] + kind(4).evaluate(x[None]).descriptor[0].sum()
    )
    assert np.isfinite(jax.grad(both)(jnp.zeros(4))).all()


def test_the_arm_bends_link_by_link():
    """Each angle is relative to the link before.

    The objective is minus the variance of the angles.
    """
    right = np.pi / 2
    objective, tip = evaluate(Arm(3), [[0, 0, 0], [right, 0, 0], [right, -right, right]])
    np.testing.assert_allclose(tip, [[3, 0], [0, 3], [1, 2]], atol=1e-12)
    np.testing.assert_allclose(
        objective, [0, -np.var([right, 0, 0]), -np.var([1, -1, 1]) * right**2]
    )
    assert Arm(3).bounds == ((-3, 3), (-3, 3))


def test_the_unit_arm_is_the_arm_in_a_unit_box():
    """½ is the straight joint; the tip is scaled into the unit square.

    What lies beyond the box is clipped.
    """
    objective, tip = evaluate(UnitArm(2), [[0.5, 0.5], [0.75, 0.5], [0.0, 1.0], [-3.0, 4.0]])
    np.testing.assert_allclose(tip, [[1, 0.5], [0.5, 1], [0.5, 0.5], [0.5, 0.5]], atol=1e-12)
    np.testing.assert_allclose(objective, [0, -0.125, -0.5, -0.5])


def test_the_posed_arm_gives_its_posture_and_no_descriptor():
    """Objective 100 (1 - var) and the directions of the links, from which the tip follows."""
    angles = np.array([[0.0, 0, 0], [np.pi / 2, 0, 0], [0.3, -0.2, 1.1]])
    found = PosedArm(3).evaluate(angles)
    assert found.descriptor is None
    np.testing.assert_allclose(found.objective, 100 * (1 - angles.var(1)), rtol=1e-5)
    np.testing.assert_allclose(
        np.asarray(found.features)[:2], [[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]], atol=1e-6
    )
    np.testing.assert_allclose(
        PosedArm(3).tip(found.features), evaluate(Arm(3), angles)[1], atol=1e-5
    )


def test_turned_and_mirrored_arms_are_those_of_turned_and_mirrored_angles():
    """What is done to the features is what it would do to the first joint, and to all signs."""
    angles = np.asarray(PosedArm(4).seeds(KEY, 6))
    features = lambda angles: np.asarray(PosedArm(4).evaluate(angles).features)
    turned = angles + np.array([[np.pi / 2, 0, 0, 0]], np.float32)
    np.testing.assert_allclose(
        PosedArm.quarter_turned(features(angles)), features(turned), atol=1e-5
    )
    np.testing.assert_allclose(PosedArm.mirrored(features(angles)), features(-angles), atol=1e-5)


@pytest.mark.parametrize("domain", [Arm(5), UnitArm(5)])
def test_no_arm_falls_below_its_floor(domain):
    """The worst posture, half of the joints at either limit, is no worse than `floor`."""
    low, high = domain.limits
    for lows in range(6):
        assert evaluate(domain, [[low] * lows + [high] * (5 - lows)])[0] >= domain.floor


@pytest.mark.parametrize("domain", NUMERIC, ids=lambda domain: type(domain).__name__)
def test_numeric_domains_can_be_traced(domain):
    """Within jit they give what they give outside; a nan makes its own row nan and no other."""
    genomes = domain.seeds(KEY, 4).copy()
    genomes[1, 2] = np.nan
    found = domain.evaluate(genomes)
    objective, descriptor = jax.jit(
        lambda x: (domain.evaluate(x).objective, domain.evaluate(x).descriptor)
    )(genomes)
    np.testing.assert_allclose(objective, found.objective, rtol=1e-5)
    np.testing.assert_allclose(descriptor, found.descriptor, rtol=1e-5, atol=1e-5)
    assert (
        np.isnan(objective).tolist()
        == np.isnan(descriptor).any(1).tolist()
        == [False, True, False, False]
    )


def test_numeric_seeds_are_float32_and_as_wide_as_asked():
    """Seeds are numpy's, in float32 also within `double`, and `sigma0` is their spread."""
    with double():
        seeds = Sphere(50, sigma0=2.0).seeds(KEY, 40)
    assert type(seeds) is np.ndarray and seeds.dtype == np.float32 and seeds.shape == (40, 50)
    assert abs(seeds.std() - 2.0) < 0.1 and abs(Arm(50).seeds(KEY, 40).std() - 0.1) < 0.005
    assert np.abs(Arm(50, sigma0=9.0).seeds(KEY, 40)).max() <= np.float32(np.pi)


@pytest.mark.parametrize("make", [lambda: Sphere(1), lambda: Arm(0), lambda: UnitArm(0)])
def test_too_small_a_domain_says_so(make):
    """Two numbers are needed for two halves, and one joint for an arm."""
    with pytest.raises(
        ValueError, match=r"dimensions is 1: at least 2|joints is 0: an arm has at least one"
    ):
        make()


def test_words_are_easy_where_vowels_meet_consonants():
    """The share of alternating neighbours, the length, the commonest vowel.

    None or nan where there is none.
    """
    found = Words().evaluate(["banana", "queue", "rhythm", "a"])
    np.testing.assert_array_equal(found.objective, [1.0, 0.25, 0.0, np.nan])
    assert found.descriptor == [(6, "a"), (5, "e"), (6, None), (1, "a")]


def test_respelling_changes_one_letter_and_keeps_the_last():
    """A child is one letter longer, shorter or other than its parent, and never empty."""
    batch = Batch.unevaluated(Proposal.of(["a", "word"] * 50, "seeds")).replace(
        id=np.arange(100, dtype=np.int32)
    )
    made = Respell().propose(KEY, Context(batch), 100)
    changes = {
        len(child) - len(parent) for child, parent in zip(made.genome, batch.genome, strict=True)
    }
    assert changes == {-1, 0, 1} and all(made.genome) and len(set(made.genome)) > 20
    assert made.parents[:, 0].tolist() == list(range(100)) and NO_CANDIDATE not in made.parents


def test_arms_are_drawn_from_base_to_tip():
    """The line through the joints ends where the descriptor says, within the circle of reach.

    Bars show numbers.
    """
    angles = np.array([0.5, 0.3, -1.0])
    ax = Arm(3).draw(angles, Figure().add_subplot())
    tip = evaluate(Arm(3), angles[None])[1][0]
    np.testing.assert_allclose(ax.lines[0].get_xydata()[[0, -1]], [[0, 0], tip], atol=1e-12)
    ax = UnitArm(3).draw((angles + np.pi) / (2 * np.pi), Figure().add_subplot())
    np.testing.assert_allclose(ax.lines[0].get_xydata()[-1], tip, atol=1e-12)
    bars = Sphere(3).draw(angles, Figure().add_subplot()).patches
    assert [bar.get_height() for bar in bars] == angles.tolist()
    assert [text.get_text() for text in Words().draw("ode", Figure().add_subplot()).texts] == [
        "ode"
    ]


def test_the_shelf_names_what_stands_on_it():
    """Every public name can be imported from qdkit.domains, and nothing else."""
    assert {"Arm", "Sphere", "Words"} <= set(domains.__all__) <= set(dir(domains))
    assert all(getattr(domains, name) for name in domains.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Poem2'"):
        _ = domains.Poem2


def test_the_shelf_is_cheap_to_open():
    """Importing qdkit.domains and qdkit.testing loads neither jax nor matplotlib."""
    code = (
        "import sys, qdkit.domains, qdkit.testing; "
        "print(sorted({'jax', 'matplotlib'} & set(sys.modules)))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240
        ).stdout
        == "[]\n"
    )

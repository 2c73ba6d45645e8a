"""The simulated person: right without errors, and wrong as often as its settings say."""

import numpy as np
import pytest

from qdkit.testing import Person

RANDOM = np.random.default_rng(0)
THREES = RANDOM.uniform(-1, 1, (2000, 3, 2))
FAR = np.linalg.norm(THREES[:, 0] - THREES[:, 2], axis=1) - np.linalg.norm(
    THREES[:, 0] - THREES[:, 1], axis=1
)
RIGHT = np.where(FAR > 0, 1, 2)


def answers(person, threes=THREES):
    return np.array([person.triplet(three, number) for number, three in enumerate(threes)])


def test_a_person_without_mistakes_answers_by_distance():
    """The nearer in a triplet, the odd one of three, the better of two, and the nearest kind."""
    person = Person(kinds={"left": (-1.0, 0.0), "right": (1.0, 0.0)})
    assert (answers(person) == RIGHT).all()
    assert [
        person.odd(np.array(three))
        for three in ([[0, 0], [0, 1], [9, 9]], [[9, 9], [0, 0], [0, 1]])
    ] == [2, 0]
    assert person.odd(np.array([[0.0, 0], [9, 9], [0, 1]])) == 1
    assert [person.pair(np.array(pair)) for pair in ([[2.0, 0], [1, 0]], [[1.0, 0], [2, 0]])] == [
        0,
        1,
    ]
    assert [person.label(np.array(x)) for x in ([-0.1, 3], [0.1, -3])] == ["left", "right"]
    assert [person.rating(np.array([x, 0.0]), 1, 1, 9) for x in (-5, 0, 5)] == [1, 5, 9]


def test_the_nth_answer_does_not_depend_on_the_others():
    """Another seed makes other mistakes."""
    person = Person(flips=0.3)
    expected = answers(person)
    assert (answers(person) == expected).all() and person.triplet(THREES[700], 700) == expected[
        700
    ]
    assert (answers(Person(flips=0.3, seed=1)) != expected).any()


@pytest.mark.parametrize("flips", [0.1, 0.2, 0.4])
def test_flips_is_the_share_of_wrong_answers(flips):
    """For all kinds of questions."""
    assert abs((answers(Person(flips=flips)) != RIGHT).mean() - flips) < 0.03


def test_doubt_affects_close_questions_most():
    """Half of the answers without a margin are wrong, and few of those with a large one."""
    wrong, margin = answers(Person(doubt=0.3)) != RIGHT, np.abs(FAR)
    order = np.argsort(margin)
    assert wrong[order[:200]].mean() > 0.35 > 0.1 > wrong[order[-500:]].mean()


def test_fatigue_adds_mistakes_over_time():
    """Up to a half of the answers."""
    wrong = answers(Person(tires=0.05)) != RIGHT
    assert wrong[:200].mean() < 0.12 and abs(wrong[1200:].mean() - 0.5) < 0.06


def test_bias_favours_the_first_candidate():
    """Of two and of three."""
    assert abs((answers(Person(bias=0.4)) == 1).mean() - (0.4 + 0.6 * (RIGHT == 1).mean())) < 0.03
    odd = [Person(bias=0.5).odd(three, number) for number, three in enumerate(THREES[:600])]
    assert abs(np.mean(np.equal(odd, 0)) - (0.5 + 0.5 / 3)) < 0.06


def test_a_drifting_taste_changes_the_weights_of_axes():
    """The first answers are those without drift; after many, an axis has lost its weight."""
    wrong = answers(Person(drift=0.5)) != RIGHT
    assert wrong[:20].sum() <= 1 and wrong[1000:].mean() > 0.1


def test_opposed_tastes_disagree_on_every_pair():
    """Two persons with opposite likings."""
    one, other = Person(liking=lambda x: x[:, 0]), Person(liking=lambda x: -x[:, 0])
    assert all(one.pair(three[:2]) != other.pair(three[:2]) for three in THREES[:50])


def test_flips_affect_every_kind_of_question():
    """A pair, an odd one out, a rating and a label."""
    right, wrong = (
        Person(kinds={"a": (0.0, 0.0), "b": (1.0, 1.0)}),
        Person(flips=0.4, kinds={"a": (0, 0), "b": (1, 1)}),
    )
    for question, of in (
        ("pair", lambda t: t[:2]),
        ("odd", lambda t: t),
        ("rating", lambda t: t[0]),
        ("label", lambda t: t[0]),
    ):
        differ = [
            right(question, of(t), i) != wrong(question, of(t), i)
            for i, t in enumerate(THREES[:300])
        ]
        assert 0.3 < np.mean(differ) < 0.8, question

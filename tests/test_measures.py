"""Judges without a model: syllables, rhymes, verse, sentiment, readability, repetition, poles."""

from __future__ import annotations

import itertools
import math

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdkit.core.types import Batch, Proposal
from qdkit.feedback import (
    FORMS,
    Form,
    Measured,
    Poles,
    closest_form,
    form_kept,
    readability,
    repetition,
    sentiment,
)
from qdkit.feedback.pronunciation import line_syllables, rhyme_sound, rhymes, syllables
from qdkit.llm import Embedder
from qdkit.testing import ModelServer

KEY = jax.random.key(0)
COUNTED = {
    1: "the sea stone moved walked breathed eyes love leaves night through strength world cried "
    "tombs scarce dreamed",
    2: "ocean table ended wanted silent river little apple roses houses lion poem churches lonely "
    "being hopeful quiet",
    3: "beautiful melody memory eternal remember radiant another library glorious innocent "
    "furious immortal",
    4: "melancholy imagining eternity mysterious experience everlasting",
}
HAIKU = "An old silent pond\nA frog jumps into the pond\nSplash silence again"
LIMERICK = """There was a young lady whose chin
Resembled the point of a pin;
So she had it made sharp,
And purchased a harp,
And played several tunes with her chin."""  # Edward Lear, A Book of Nonsense (1846)
SONNET = """Shall I compare thee to a summer's day?
Thou art more lovely and more temperate:
Rough winds do shake the darling buds of May,
And summer's lease hath all too short a date;
Sometime too hot the eye of heaven shines,
And often is his gold complexion dimm'd;
And every fair from fair sometime declines,
By chance or nature's changing course untrimm'd;
But thy eternal summer shall not fade,
Nor lose possession of that fair thou ow'st;
Nor shall death brag thou wander'st in his shade,
When in eternal lines to time thou grow'st:
So long as men can breathe or eyes can see,
So long lives this, and this gives life to thee."""  # William Shakespeare, Sonnet 18 (1609)
HYMN = """Amazing grace! how sweet the sound,
That saved a wretch like me!
I once was lost, but now am found,
Was blind, but now I see.
'Twas grace that taught my heart to fear,
And grace my fears relieved;
How precious did that grace appear
The hour I first believed!"""  # John Newton, Olney Hymns (1779)
BALLAD = """It is an ancient Mariner,
And he stoppeth one of three.
By thy long grey beard and glittering eye,
Now wherefore stopp'st thou me?
The Bridegroom's doors are opened wide,
And I am next of kin;
The guests are met, the feast is set:
May'st hear the merry din."""  # Samuel Taylor Coleridge, The Rime of the Ancient Mariner (1798)
POEMS = {"haiku": HAIKU, "limerick": LIMERICK, "sonnet": SONNET, "hymn": HYMN, "ballad": BALLAD}
words = st.lists(
    st.sampled_from(
        ["love", "death", "sea", "night", "stone", "a", "the", "grace", "light", "of"]
    ),
    min_size=1,
    max_size=8,
)
texts = st.lists(words.map(" ".join), max_size=16).map("\n".join)


def values(judge, *genomes):
    return judge(KEY, Batch.unevaluated(Proposal.of(list(genomes), "test"))).value


@pytest.mark.parametrize("count", COUNTED)
def test_syllables_are_counted_by_spelling(count):
    """Words as poems use them, with silent letters, endings and pairs of vowels."""
    assert {word: syllables(word) for word in COUNTED[count].split()} == dict.fromkeys(
        COUNTED[count].split(), count
    )


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("Tyger Tyger, burning bright", 7),
        ("Season of mists and mellow fruitfulness", 10),
        ("Once upon a midnight dreary, while I pondered, weak and weary", 16),
        ("", 0),
        ("1802 -- !", 0),
    ],
)
def test_a_line_has_the_syllables_of_its_words(line, count):
    """Figures and marks have none."""
    assert line_syllables(line) == count


@pytest.mark.parametrize(
    "pair",
    [
        "night white",
        "day weigh",
        "sea free",
        "love dove",
        "stone alone",
        "sky high",
        "air there",
        "bed red",
        "me tree",
        "beard feared",
    ],
)
def test_endings_that_sound_alike_rhyme(pair):
    """Different spellings of one sound rhyme."""
    assert rhymes(*pair.split())


@pytest.mark.parametrize(
    "pair", ["night day", "sea stone", "love moon", "rain bread", "fine been", "sea sea", " ,a"]
)
def test_other_endings_and_the_same_word_do_not_rhyme(pair):
    """A word with itself is no rhyme, nor is a line without words."""
    assert not rhymes(*pair.split(" ", 1))
    assert rhyme_sound("...") == ""


@pytest.mark.parametrize("name", POEMS)
def test_a_poem_keeps_its_form(name):
    """Known poems keep their own form nearly in full, and no other better."""
    # Lear repeats his first rhyme, so the degree is below 1.
    assert closest_form(POEMS[name]) == name and FORMS[name](POEMS[name]) > 0.85


@pytest.mark.parametrize("name", POEMS)
def test_a_poem_loses_its_form_with_its_lines(name):
    """The degree falls with each line that is missing or added."""
    lines = POEMS[name].splitlines()
    degrees = [FORMS[name]("\n".join(lines[:n])) for n in range(len(lines), len(lines) // 2, -1)]
    assert all(a > b for a, b in itertools.pairwise(degrees))
    assert FORMS[name]("\n".join([*lines, "one more"])) < degrees[0]


@given(texts)
def test_degrees_lie_between_0_and_1(text):
    """That holds for any text; blank lines do not count."""
    degrees = [form(text) for form in FORMS.values()]
    assert all(0 <= degree <= 1 for degree in degrees) and form_kept(text) == max(degrees)
    assert degrees == [form(text.replace("\n", "\n\n") + "\n") for form in FORMS.values()]
    assert (closest_form(text) is None) == (max(degrees) < 0.5)


def test_a_form_counts_lines_beats_and_rhymes():
    """By hand: a couplet of 4 syllables a line, with a line 2 too long and no rhyme."""
    couplet = Form(((4, 4), (4, 4)), ("aa",))
    assert couplet("a stone of white\na sea of night") == 1
    assert couplet("a stone of white\na sea of cold and wind") == pytest.approx((1 + 0.5) / 2 / 2)
    assert couplet("a stone of white") == pytest.approx(0.5 * (1 + 0) / 2)
    assert couplet("") == 0


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("I am happy", 1),
        ("I am not happy", -1),
        ("It isn't a joyful song", -1),
        ("death and despair", -1),
        ("hopeless", -1),
        ("a table", 0),
        ("", 0),
    ],
)
def test_sentiment_is_read_from_words(text, sign):
    """It is glad, sad, negated by a "not", or neither."""
    assert np.sign(sentiment(text)) == sign and -1 < sentiment(text) < 1


def test_more_and_stronger_words_increase_sentiment():
    """A "very" adds weight, and two words weigh more than one."""
    assert sentiment("a very happy day") > sentiment("a happy day") and sentiment(
        "joy and song"
    ) > sentiment("joy")


def test_readability_equals_the_formula_of_flesch():
    """By hand: one sentence of five words of one syllable, and two sentences of the same."""
    assert readability("The cat sat on mats.") == pytest.approx(206.835 - 1.015 * 5 - 84.6)
    assert readability("The cat sat. The dog ran!") == pytest.approx(206.835 - 1.015 * 3 - 84.6)
    assert math.isnan(readability("?!"))


def test_repetition_is_the_share_of_repeated_runs():
    """By hand, for pairs and for words."""
    assert repetition("a b a b a b") == pytest.approx(1 - 2 / 5)
    assert repetition("a b a b a b", 1) == pytest.approx(1 - 2 / 6)
    assert repetition("a b c d") == repetition("a") == repetition("") == 0


def test_a_measure_is_a_judge():
    """It returns numbers, or labels by their index.

    A candidate without a value is invalid, with the measure's name in the notes.
    """
    length = Measured(lambda text: len(text) or None, name="length", bounds=(0, 9))
    np.testing.assert_equal(values(length, "ab", "", "abc"), [2, np.nan, 3])
    form = Measured(closest_form, name="form", bounds=tuple(FORMS))
    judgement = form(KEY, Batch.unevaluated(Proposal.of([HAIKU, "prose"], "test")))
    assert judgement.value[0] == list(FORMS).index("haiku") and judgement.outcome.tolist() == [
        "ok",
        "invalid",
    ]
    assert judgement.notes[0] == {
        "judged": {"form": {"value": 0.0, "by": "closest_form", "label": "haiku"}}
    }
    assert judgement.notes[1][
        "error"
    ] == "form: closest_form says nothing of it" and judgement.count.tolist() == [1, 0]


def test_poles_are_0_and_1_and_unrelated_texts_near_a_half():
    """The texts that describe the poles mark the scale."""
    judge = Poles(("grief and death", "dark tomb"), ("joy and light", "merry song"))
    place = values(judge, "grief and death", "dark tomb", "joy and light", "merry song", "zzz qqq")
    assert place[:2].mean() == pytest.approx(0) and place[2:4].mean() == pytest.approx(1)
    assert place[4] == pytest.approx(0.5, abs=0.05)
    assert (
        values(judge, "a joyful song in the light")
        > 0.6
        > 0.4
        > values(judge, "a tomb in the darkness")
    )
    assert math.isnan(values(judge, "")[0])


def test_poles_with_a_model_of_embeddings_ask_once_for_a_batch():
    """The texts and both poles are in one request, which the record of a task keeps."""
    with ModelServer() as server:
        judge = Poles(("grief",), ("joy",), Embedder("e", base_url=server.url))
        place = values(judge, "grief", "joy", "joy")
        assert place == pytest.approx([0, 1, 1], abs=1e-6) and len(server.log) == 1


def test_poles_that_are_the_same_are_refused():
    """Also, a pole must be a list of texts."""
    with pytest.raises(ValueError, match="the same to its embedder"):
        values(Poles(("joy",), ("Joy",)), "joy")
    with pytest.raises(ValueError, match="a list of texts"):
        Poles("joy", ("grief",))

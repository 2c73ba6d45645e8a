"""Audits of judges: a judge with a planted fault is found out, and one without is not accused."""

from __future__ import annotations

import json
import zlib

import jax
import numpy as np
import pytest

from qdkit.feedback import Label, Measured, Pairwise, Rating, audit, closest_form
from qdkit.feedback.trials import Grade, concordance, sign_test
from qdkit.testing import ModelServer
from qdkit.types import Judgement

TEXTS = [" ".join(["sea"] * i + ["stone"] * (12 - i)) for i in range(12)]


def truth(text):
    """What there is to judge: how much of a text is sea."""
    return text.split().count("sea")


def judge_of(value, noise=0.0):
    """A judge of a text's value with an error drawn from the key and the text."""

    def quality(key, batch):
        said = []
        for text in batch.genome:
            drawn = jax.random.normal(jax.random.fold_in(key, zlib.crc32(text.encode())))
            said.append(value(text) + noise * float(drawn))
        return np.array(said)

    quality.bounds = (0.0, 20.0)
    return quality


def found(judge, about, texts=TEXTS, labelled=None, **settings):
    return {finding.about: finding for finding in audit(judge, texts, labelled, **settings).findings}[about]


def test_a_judge_of_what_it_should_judge_is_not_accused():
    """Steady, unmoved by what makes no difference, and in the order of the labels."""
    made = audit(judge_of(truth), TEXTS, [(text, truth(text)) for text in TEXTS])
    assert {finding.grade for finding in made.findings} == {Grade.GOOD} and made.grade == Grade.GOOD
    assert made.verdict.startswith("Nothing speaks against this judge on these texts")


@pytest.mark.parametrize(
    ("noise", "grade", "says"), [(0.5, "good", "are the texts"), (2.5, "fair", "judge each 2 times"), (40, "poor", "")]
)
def test_how_steady_a_judge_is_follows_from_its_error(noise, grade, says):
    """The spread of the texts is 3.6; the error that was planted comes back, with what to do about it."""
    steady = found(judge_of(truth, noise), "steadiness", repeats=9)
    assert steady.grade == grade and says in steady.says
    assert steady.figures["error of a judgement"] == pytest.approx(noise, rel=0.15)


@pytest.mark.parametrize("change", ["padding", "formatting", "author"])
def test_a_judge_that_is_moved_by_what_makes_no_difference_is_found_out(change):
    """Length, headings and a famous name, each told from the others and from noise."""
    sign = {"padding": "in full", "formatting": "#", "author": "Shakespeare"}[change]
    moved = judge_of(lambda text: truth(text) + 4 * (sign in text), noise=0.5)
    made = audit(moved, TEXTS)
    grades = {finding.about: finding.grade for finding in made.findings}
    assert grades.pop(change) == Grade.POOR and set(grades.values()) == {Grade.GOOD}
    assert f"it fails on {change}." in made.verdict


def test_noise_alone_is_no_change():
    """In nineteen of twenty audits and more a judge that is noisy and unmoved is not accused of being moved."""
    grades = [found(judge_of(truth, 2.0), "author", repeats=2, seed=seed).grade for seed in range(20)]
    assert grades.count(Grade.GOOD) >= 18


def test_a_judge_that_says_the_same_to_everything_is_found_out():
    """All at the top of the range, or all alike."""
    assert found(judge_of(lambda text: 20.0), "base rate").grade == Grade.POOR
    assert found(judge_of(lambda text: 11.0), "steadiness").grade == Grade.POOR
    assert found(judge_of(lambda text: 20.0 - (truth(text) == 0) * 9), "base rate").grade == Grade.FAIR


def test_missing_answers_are_counted_with_their_reason():
    """One text in three is not judged."""
    judge = Measured(lambda text: truth(text) if truth(text) % 3 else None)
    missing = found(judge, "missing answers")
    assert missing.grade == Grade.POOR and missing.figures["missing"] == pytest.approx(1 / 3)
    assert "quality: <lambda> says nothing of it" in missing.says


def test_agreement_is_with_the_order_of_the_labels():
    """A judge that has it upside down is told, and one that draws is no better than chance."""
    labelled = [(text, truth(text)) for text in TEXTS]
    assert found(judge_of(lambda text: 20 - truth(text)), "agreement", labelled=labelled).figures["same order"] == 0
    drawn = judge_of(lambda text: 10, noise=1)
    chance = found(drawn, "agreement", labelled=labelled)
    assert chance.grade != Grade.GOOD and 0.2 < chance.figures["same order"] < 0.8


POEMS = ["An old silent pond\nA frog jumps into the pond\nSplash silence again", "prose"]


def test_labels_are_audited_as_labels():
    """Their shares, the same again, the same dressed otherwise, the same as a person's."""
    judge = Measured(closest_form, name="form", bounds=("haiku", "sonnet", "limerick", "hymn", "ballad"))
    labelled = [(POEMS[0], "haiku"), (POEMS[1], "ballad")]
    made = {finding.about: finding for finding in audit(judge, POEMS, labelled).findings}
    assert made["base rate"].figures == {"haiku": 1.0} and made["missing answers"].figures == {"missing": 0.5}
    assert made["steadiness"].figures == {"same again": 1.0} and made["agreement"].figures == {"same label": 0.5}
    assert made["formatting"].figures["same unchanged"] == 1.0


def test_what_fits_no_label_is_counted_as_an_answer():
    """None of these is no missing answer, and where it is common the labels are at fault."""
    ask = lambda prompt: json.dumps({"rationale": "so", "label": "sea" if "the sea" in prompt else "none of these"})
    judge = Label(ask, "{genome}", labels=("sea", "sand"))
    made = {finding.about: finding for finding in audit(judge, ["the sea", "a gull"]).findings}
    assert made["base rate"].figures == {"sea": 0.5, "none of these": 0.5}
    assert "add what is missing" in made["base rate"].says and made["missing answers"].figures == {"missing": 0.0}


def prefers(rule):
    def ask(prompt):
        first, second = (part.split("```")[1].strip() for part in prompt.split("The first:")[1].split("The second:"))
        return json.dumps({"rationale": "so", "better": rule(first, second)})

    return ask


def test_a_judge_that_prefers_a_place_is_found_out():
    """It contradicts itself in the other order, and leans to the first; one that reads the texts does not."""
    by_place = Pairwise(prefers(lambda a, b: "first"), "Which?", against=("x", "y"), position=1.0)
    place = found(by_place, "position", TEXTS[:4])
    assert place.grade == Grade.POOR and place.figures["the first wins"] == 1 and place.figures["position"] > 2
    by_text = Pairwise(prefers(lambda a, b: "first" if truth(a) > truth(b) else "second"), "Which?", against=TEXTS[5:7])
    place = found(by_text, "position", [TEXTS[0], TEXTS[11], TEXTS[3]])
    assert place.grade == Grade.GOOD and place.figures["position"] == pytest.approx(0, abs=1e-6)


def test_who_judged_is_told():
    """The kinds of judges and the models that answered, with how often."""
    with ModelServer(lambda body: '{"rationale": "so", "score": 7}') as server:
        from qdkit import LLM

        made = audit(Rating(LLM("m", base_url=server.url), "Good? {genome}"), TEXTS[:2], repeats=2, changes={})
    assert made.by == {"rating of m": 4} and len(server.log) == 4


def test_the_page_shows_what_was_found():
    """Every finding with its figures, grade and sentence, and the verdict; JSON holds the same."""
    made = audit(judge_of(truth, 2.5), TEXTS)
    page = " ".join(str(made).split())
    for finding in made.findings:
        assert finding.about in page and all(name in page for name in finding.figures)
    assert made.verdict in page
    plain = json.loads(json.dumps(made.plain()))
    assert plain["verdict"] == made.verdict and len(plain["findings"]) == len(made.findings)


def test_the_page_is_plain_text_in_a_notebook_too(monkeypatch):
    """Where rich would show what it prints, in colour, the page is returned as it is elsewhere."""
    made = audit(judge_of(truth), TEXTS, changes={})
    page = str(made)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert str(made) == page and made.verdict in page and "\x1b" not in page


def test_too_little_is_refused_or_said():
    """Two texts and two repeats are needed; with fewer than seven texts the direction of a change cannot be told."""
    with pytest.raises(ValueError, match="two of both are needed"):
        audit(judge_of(truth), ["one", "one"])
    with pytest.raises(ValueError, match="two of both are needed"):
        audit(judge_of(truth), TEXTS, repeats=1)
    assert found(judge_of(len), "padding", TEXTS[:3]).grade == Grade.UNKNOWN
    ask = Label(lambda prompt: "?", "{genome}", labels=("a",))
    assert audit(ask, TEXTS[:3], repeats=2).grade == Grade.POOR
    silent = lambda key, batch: Judgement(np.full(len(batch), np.nan), 0)
    assert "gave no value at all" in found(silent, "base rate").says


def test_the_sign_test_and_the_concordance_by_hand():
    """Six of six: 2 / 64; zeros do not count. Of three pairs one is tied and one the other way round."""
    assert sign_test(np.ones(6)) == 2 / 64 and sign_test(np.array([1, -1, 0, 0])) == 1 and sign_test(np.zeros(3)) == 1
    assert sign_test(np.array([1, 1, 1, -1.0])) == pytest.approx(2 * 5 / 16)
    assert concordance([1, 1, 0], [0, 1, 2]) == pytest.approx((0.5 + 0 + 0) / 3)
    assert concordance([0.9, 0.2, np.nan], [1, 0, 0]) == 1 and np.isnan(concordance([1, 2], [3, 3]))

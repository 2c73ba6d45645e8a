"""Audits of judges: planted faults are detected, and good judges get good grades."""

from __future__ import annotations

import json
import zlib

import jax
import numpy as np
import pytest

from qdkit.core.types import Judgement
from qdkit.feedback import Label, Measured, Pairwise, Rating, audit, closest_form
from qdkit.feedback.audit_checks import Grade, concordance, sign_test
from qdkit.testing import ModelServer

TEXTS = [" ".join(["sea"] * i + ["stone"] * (12 - i)) for i in range(12)]


def truth(text):
    """Returns the true value of a text: how many of its words are "sea"."""
    return text.split().count("sea")


def judge_of(value, noise=0.0):
    """Returns a judge with an error that is drawn from the key and the text."""

    def quality(key, batch):
        values = []
        for text in batch.genome:
            drawn = jax.random.normal(jax.random.fold_in(key, zlib.crc32(text.encode())))
            values.append(value(text) + noise * float(drawn))
        return np.array(values)

    quality.bounds = (0.0, 20.0)
    return quality


def finding_of(judge, about, texts=TEXTS, labelled=None, **settings):
    return {
        finding.about: finding for finding in audit(judge, texts, labelled, **settings).findings
    }[about]


def test_a_good_judge_gets_a_good_grade():
    """It is steady, ignores irrelevant changes, and agrees with the order of the labels."""
    result = audit(judge_of(truth), TEXTS, [(text, truth(text)) for text in TEXTS])
    assert {finding.grade for finding in result.findings} == {
        Grade.GOOD
    } and result.grade == Grade.GOOD
    assert result.verdict.startswith("Nothing speaks against this judge on these texts")


@pytest.mark.parametrize(
    ("noise", "grade", "says"),
    [(0.5, "good", "are the texts"), (2.5, "fair", "judge each 2 times"), (40, "poor", "")],
)
def test_steadiness_follows_from_the_error_of_a_judgement(noise, grade, says):
    """The spread of the texts is 3.6.

    The planted error is recovered, and the finding says what to do about it.
    """
    steady = finding_of(judge_of(truth, noise), "steadiness", repeats=9)
    assert steady.grade == grade and says in steady.says
    assert steady.figures["error of a judgement"] == pytest.approx(noise, rel=0.15)


@pytest.mark.parametrize("change", ["padding", "formatting", "author"])
def test_a_judge_that_is_moved_by_what_makes_no_difference_is_found_out(change):
    """Each of length, headings and a famous name is told from the others and from noise."""
    sign = {"padding": "in full", "formatting": "#", "author": "Shakespeare"}[change]
    moved = judge_of(lambda text: truth(text) + 4 * (sign in text), noise=0.5)
    result = audit(moved, TEXTS)
    grades = {finding.about: finding.grade for finding in result.findings}
    assert grades.pop(change) == Grade.POOR and set(grades.values()) == {Grade.GOOD}
    assert f"it fails on {change}." in result.verdict


def test_noise_alone_does_not_count_as_a_reaction():
    """At most two of twenty audits find a reaction of a noisy judge that has none."""
    grades = [
        finding_of(judge_of(truth, 2.0), "author", repeats=2, seed=seed).grade
        for seed in range(20)
    ]
    assert grades.count(Grade.GOOD) >= 18


def test_a_constant_judge_is_detected():
    """All values are at the top of the range, or are equal."""
    assert finding_of(judge_of(lambda text: 20.0), "base rate").grade == Grade.POOR
    assert finding_of(judge_of(lambda text: 11.0), "steadiness").grade == Grade.POOR
    assert (
        finding_of(judge_of(lambda text: 20.0 - (truth(text) == 0) * 9), "base rate").grade
        == Grade.FAIR
    )


def test_missing_answers_are_counted_with_their_reason():
    """One text in three is not judged."""
    judge = Measured(lambda text: truth(text) if truth(text) % 3 else None)
    missing = finding_of(judge, "missing answers")
    assert missing.grade == Grade.POOR and missing.figures["missing"] == pytest.approx(1 / 3)
    assert "quality: <lambda> says nothing of it" in missing.says


def test_agreement_is_with_the_order_of_the_labels():
    """A reversed judge agrees in no pair, and a random one in about half of them."""
    labelled = [(text, truth(text)) for text in TEXTS]
    assert (
        finding_of(
            judge_of(lambda text: 20 - truth(text)), "agreement", labelled=labelled
        ).figures["same order"]
        == 0
    )
    drawn = judge_of(lambda text: 10, noise=1)
    chance = finding_of(drawn, "agreement", labelled=labelled)
    assert chance.grade != Grade.GOOD and 0.2 < chance.figures["same order"] < 0.8


POEMS = ["An old silent pond\nA frog jumps into the pond\nSplash silence again", "prose"]


def test_labels_are_audited_as_labels():
    """By their shares, and by how often a repeated, changed or person's label is the same."""
    judge = Measured(
        closest_form, name="form", bounds=("haiku", "sonnet", "limerick", "hymn", "ballad")
    )
    labelled = [(POEMS[0], "haiku"), (POEMS[1], "ballad")]
    result = {finding.about: finding for finding in audit(judge, POEMS, labelled).findings}
    assert result["base rate"].figures == {"haiku": 1.0} and result["missing answers"].figures == {
        "missing": 0.5
    }
    assert result["steadiness"].figures == {"same again": 1.0} and result["agreement"].figures == {
        "same label": 0.5
    }
    assert result["formatting"].figures["same unchanged"] == 1.0


def test_no_label_counts_as_an_answer():
    """It is no missing answer; if it is common, labels are missing."""
    ask = lambda prompt: json.dumps(
        {"rationale": "so", "label": "sea" if "the sea" in prompt else "none of these"}
    )
    judge = Label(ask, "{genome}", labels=("sea", "sand"))
    result = {finding.about: finding for finding in audit(judge, ["the sea", "a gull"]).findings}
    assert result["base rate"].figures == {"sea": 0.5, "none of these": 0.5}
    assert "add what is missing" in result["base rate"].says and result[
        "missing answers"
    ].figures == {"missing": 0.0}


def prefers(rule):
    def ask(prompt):
        first, second = (
            part.split("```")[1].strip()
            for part in prompt.split("The first:")[1].split("The second:")
        )
        return json.dumps({"rationale": "so", "better": rule(first, second)})

    return ask


def test_a_judge_that_prefers_a_position_is_detected():
    """It contradicts itself in the other order, and prefers the first.

    A judge that reads the texts does not.
    """
    by_place = Pairwise(prefers(lambda a, b: "first"), "Which?", against=("x", "y"), position=1.0)
    place = finding_of(by_place, "position", TEXTS[:4])
    assert (
        place.grade == Grade.POOR
        and place.figures["the first wins"] == 1
        and place.figures["position"] > 2
    )
    by_text = Pairwise(
        prefers(lambda a, b: "first" if truth(a) > truth(b) else "second"),
        "Which?",
        against=TEXTS[5:7],
    )
    place = finding_of(by_text, "position", [TEXTS[0], TEXTS[11], TEXTS[3]])
    assert place.grade == Grade.GOOD and place.figures["position"] == pytest.approx(0, abs=1e-6)


def test_judges_and_models_are_counted():
    """`by` has the kinds of judges and the models that answered, with their counts."""
    with ModelServer(lambda body: '{"rationale": "so", "score": 7}') as server:
        from qdkit import LLM

        result = audit(
            Rating(LLM("m", base_url=server.url), "Good? {genome}"),
            TEXTS[:2],
            repeats=2,
            changes={},
        )
    assert result.by == {"rating of m": 4} and len(server.log) == 4


def test_the_page_shows_the_findings():
    """Every finding with its figures, grade and sentence, and the verdict; JSON holds the same."""
    result = audit(judge_of(truth, 2.5), TEXTS)
    page = " ".join(str(result).split())
    for finding in result.findings:
        assert finding.about in page and all(name in page for name in finding.figures)
    assert result.verdict in page
    plain = json.loads(json.dumps(result.plain()))
    assert plain["verdict"] == result.verdict and len(plain["findings"]) == len(result.findings)


def test_the_page_is_plain_text_in_a_notebook_too(monkeypatch):
    """There rich would display the page in colour; it is returned as text all the same."""
    result = audit(judge_of(truth), TEXTS, changes={})
    page = str(result)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert str(result) == page and result.verdict in page and "\x1b" not in page


def test_too_few_texts_are_refused_or_graded_unknown():
    """Two texts and two repeats are needed.

    Fewer than seven texts cannot show the direction of a change.
    """
    with pytest.raises(ValueError, match="two of both are needed"):
        audit(judge_of(truth), ["one", "one"])
    with pytest.raises(ValueError, match="two of both are needed"):
        audit(judge_of(truth), TEXTS, repeats=1)
    assert finding_of(judge_of(len), "padding", TEXTS[:3]).grade == Grade.UNKNOWN
    ask = Label(lambda prompt: "?", "{genome}", labels=("a",))
    assert audit(ask, TEXTS[:3], repeats=2).grade == Grade.POOR
    silent = lambda key, batch: Judgement(np.full(len(batch), np.nan), 0)
    assert "gave no value at all" in finding_of(silent, "base rate").says


def test_the_sign_test_and_the_concordance_by_hand():
    """Six equal signs of six have a probability of 2 / 64; zeros do not count.

    Of the three pairs one is tied and two are reversed.
    """
    assert (
        sign_test(np.ones(6)) == 2 / 64
        and sign_test(np.array([1, -1, 0, 0])) == 1
        and sign_test(np.zeros(3)) == 1
    )
    assert sign_test(np.array([1, 1, 1, -1.0])) == pytest.approx(2 * 5 / 16)
    assert concordance([1, 1, 0], [0, 1, 2]) == pytest.approx((0.5 + 0 + 0) / 3)
    assert concordance([0.9, 0.2, np.nan], [1, 0, 0]) == 1 and np.isnan(
        concordance([1, 2], [3, 3])
    )

"""Prompts for images: assembled and measured without a model, written and judged by a model."""

from __future__ import annotations

import json
from itertools import product

import jax
import numpy as np
import pytest

from qdkit import LLM
from qdkit.archives import Grid
from qdkit.cli.commands import main
from qdkit.cli.settings import RunSettings
from qdkit.core.types import Batch, Context, Outcome, Proposal
from qdkit.domains.texts.image_prompts import (
    MEDIA,
    MOODS,
    PROMPTS_FOLDER,
    SIGNS,
    ImagePrompts,
    Rework,
    joined,
    mood_words,
    named_medium,
    phrase_fluency,
    phrase_store,
    seed_prompts,
    wording,
)
from qdkit.feedback.lexicon import read_lexicon
from qdkit.testing import FAULTS, ModelServer, check_domain, check_operator
from tests.worlds import search_of

KEY = jax.random.key(0)
PROMPTS = ImagePrompts()
WHOLE = (
    "photograph of a fox on a snowy road, a bicycle leaning against a wall, moonlight, seen from "
    "below, grey and gold, "
    "thick brush strokes"
)


def batch(*texts):
    return Batch.unevaluated(Proposal.of(list(texts), "test"))


def search(operator=None, judge=None, **settings):
    grid = Grid(PROMPTS.shape, PROMPTS.bounds, names=PROMPTS.names)
    operator, judge = operator or PROMPTS.operators["phrases"](), judge or PROMPTS.judge()
    return search_of(PROMPTS, grid, operator, judge=judge, **{"batch": 20, "seed": 1} | settings)


def test_image_prompts_is_a_domain():
    """It keeps what a domain promises, and its operator what an operator does."""
    check_domain(PROMPTS)
    check_operator(PROMPTS.operators["phrases"](), PROMPTS)


def test_there_is_a_seed_of_each_medium():
    """All of them have a mood, are fluent and better than nothing, and leave room to be better."""
    assert [named_medium(text) for text in seed_prompts()] == list(MEDIA)
    assert all(
        mood_words(text) in MOODS and phrase_fluency(text) == 1 and 3 < wording(text) < 10
        for text in seed_prompts()
    )


@pytest.mark.parametrize("medium", MEDIA)
def test_the_phrases_hold_subjects_of_each_medium(medium):
    """Three of each, and no phrase names two."""
    named = [named_medium(phrase) for phrase in phrase_store()]
    assert named.count(medium) == 3
    assert all(
        sum(bool(set(phrase.split()) & signs) for signs in SIGNS.values()) < 2
        for phrase in phrase_store()
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a photo of a cat", "photograph"),
        ("oil on canvas, a photo on the wall", "oil painting"),
        ("Gouache of a pond", "watercolour"),
        ("an etching, then a collage", "ink drawing"),
        ("a cat in turmoil", None),
    ],
)
def test_a_medium_is_known_by_its_words(text, says):
    """The first that is named; not by a part of another word."""
    assert named_medium(text) == says


@pytest.mark.parametrize("mood", MOODS)
def test_a_mood_is_read_from_words(mood):
    """A word of each list says it; without such words there is none."""
    listed = read_lexicon(PROMPTS_FOLDER / "moods.txt")
    only = min(listed[mood] - set().union(*(listed[other] for other in MOODS if other != mood)))
    assert mood_words(f"a {only} thing") == mood and mood_words("a thing") is None


@pytest.mark.parametrize(
    "worse",
    [
        "photograph of a fox",
        f"{WHOLE}, oil painting of a storm over a harbour with small boats",
        f"{WHOLE}, beautiful, amazing, masterpiece, 8k, ultra detailed",
        ", ".join([WHOLE] * 2),
        ", ".join([WHOLE, *phrase_store()]),
        WHOLE.replace("moonlight, ", "").replace("seen from below, ", ""),
        " ".join(reversed(WHOLE.split())),
        f"moonlight, {WHOLE}".replace("photograph of a fox on a snowy road, ", "")
        + ", photograph of a fox",
        f"{WHOLE}, neon light on wet stone, candlelight from one side",
    ],
)
def test_each_rule_of_wording_counts(worse):
    """A prompt that breaks one of the rules of wording is worse than one that breaks none."""
    assert wording(WHOLE) == 10 and wording(worse) < 9


def test_an_empty_prompt_has_the_lowest_rating():
    """Also what has no words at all."""
    assert wording("") == wording(",,,") == wording("12 ... !") == 1


def test_phrases_are_joined_once_each():
    """Lines become one prompt, without blank ones, doubles and capitals."""
    assert joined("A fox\n\n  Moonlight \na fox\nGrey") == "a fox, moonlight, grey"


def test_a_run_without_a_model_fills_the_map():
    """A run finds better prompts in more cells, one line each; a seed repeats it."""
    made = search().run(25, progress=False)
    assert (
        made.summary()["occupied"] >= 15
        and made.history["qd_score"][-1] > 2 * made.history["qd_score"][0]
    )
    assert all("\n" not in text for text in made.pool.genome)
    notes = made.pool.notes[0]["judged"]
    assert {name: note["by"] for name, note in notes.items()} == {
        "quality": "wording", "medium": "named_medium", "mood": "mood_words",
    }  # fmt: skip
    assert (
        search().run(3, progress=False).ledger.dump()
        == search().run(3, progress=False).ledger.dump()
    )


def answering(body):
    """A server that writes prompts, marks them and gives them labels."""
    prompt = body["messages"][0]["content"]
    number = sum(map(ord, prompt))
    if "How good is it?" in prompt:
        return json.dumps({"rationale": "fine", "score": 1 + number % 10})
    for question, labels in {"In which medium": MEDIA, "Which mood": MOODS}.items():
        if question in prompt:
            return json.dumps({"rationale": "so", "label": labels[(number // len(question)) % 5]})
    return f"a picture of {number} things"


def test_a_model_writes_and_judges():
    """It is shown a prompt and told a medium and a mood, drawn evenly; it judges all three."""
    with ModelServer(answering) as server:
        model = LLM("m", base_url=server.url)
        made = search(PROMPTS.asking(model), PROMPTS.judge(model), batch=2).run(15, progress=False)
        questions = [
            e.body["messages"][0]["content"] for e in server.log if "Write another" in str(e.body)
        ]
    assert all("```" in prompt and "{" not in prompt for prompt in questions)
    aims = {
        aim
        for prompt in questions
        for aim in product(MEDIA, MOODS)
        if "{} with a {}".format(*aim) in prompt
    }
    assert len(aims) > 8
    notes = made.elites_frame()["notes"]
    assert len(notes) > 5 and all(note["judged"]["mood"]["by"] == "label" for note in notes)


def test_a_prompt_that_was_refused_is_no_candidate():
    """It is asked for once more, and then invalid with the reason."""
    with ModelServer(lambda body: FAULTS["refusal"]) as server:
        made = Rework(LLM("m", base_url=server.url)).propose(KEY, Context(batch("x")), 1)
    assert (
        made.outcome == [Outcome.INVALID]
        and "refused" in made.notes[0]["error"]
        and len(server.log) == 2
    )


def test_a_run_from_the_command_line(capsys, tmp_path, monkeypatch):
    """It prints a table of prompts and who judged them; 5,000 are the usual, 200 with a model."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["run", "image-prompts", "--evaluations", "100", "--out", "r"])
    assert not ended.value.code
    printed = " ".join(capsys.readouterr().out.split())
    assert "quality by wording (" in printed and "photograph" in printed
    assert RunSettings("image-prompts").limits().evaluations == 5000
    assert RunSettings("image-prompts", model=("m",)).limits().evaluations == 200


def test_hostile_texts_are_measured_like_any():
    """Control characters, markup and endless commas do no harm, and have no place."""
    hostile = ["\x1b[31m, \x00", "<script>, oil", "," * 50_000, "🜂 " * 3000]
    judged = PROMPTS.judge()(KEY, batch(*hostile))
    assert np.isfinite(judged.value).all() and (judged.value < 5).all()
    assert (
        len(PROMPTS.operators["phrases"]().propose(KEY, Context(batch(*hostile)), 2).genome) == 2
    )

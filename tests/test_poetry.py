"""Poems: assembled and measured without a model, written and judged by a model as in QDAIF."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import jax
import numpy as np
import pytest

import qdkit
from qdkit import LLM, Budget, viz
from qdkit.archives import Grid
from qdkit.cli.commands import main
from qdkit.cli.settings import RunSettings
from qdkit.core.types import NO_CANDIDATE, Batch, Context, Outcome, Proposal
from qdkit.domains.arm import Arm
from qdkit.domains.texts.poetry import (
    GENRES,
    POETRY_FOLDER,
    TONES,
    Poetry,
    form_and_fluency,
    line_fluency,
    line_store,
    seed_poems,
    tone_words,
)
from qdkit.feedback import closest_form
from qdkit.feedback.lexicon import read_lexicon
from qdkit.operators import CutUp, Gaussian
from qdkit.operators.cutup import MAX_TEXT_LINES, lines_of
from qdkit.testing import FAULTS, ModelServer, check_domain, check_operator
from tests.worlds import search_of

KEY = jax.random.key(0)
POETRY = Poetry()
GOLDEN = Path(__file__).parent / "golden" / "prompts" / "judges"


def measured(*poems):
    return POETRY.judge()(KEY, Batch.unevaluated(Proposal.of(list(poems), "test")))


def search(operator=None, judge=None, **settings):
    grid = Grid(POETRY.shape, POETRY.bounds, names=POETRY.names)
    operator, judge = operator or POETRY.operators["cut-up"](), judge or POETRY.judge()
    return search_of(POETRY, grid, operator, judge=judge, **{"batch": 20, "seed": 1} | settings)


def parents(*poems, origin="elite", place=(1, 2)):
    made = Batch.unevaluated(Proposal.of(list(poems), origin))
    return made.replace(
        id=np.arange(len(poems), dtype=np.int32), descriptor=np.array([place] * len(poems), float)
    )


def out(capsys, *words):
    """What a command prints, in one line."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert not ended.value.code
    return " ".join(capsys.readouterr().out.split())


# Measures.


def test_poetry_is_a_domain():
    """It keeps what a domain promises, and its operator what an operator does."""
    check_domain(POETRY)
    check_operator(POETRY.operators["cut-up"](), POETRY)


def test_there_is_a_seed_of_each_genre():
    """The seeds are the forms they should be, and every line of them is fluent."""
    assert sorted(map(closest_form, seed_poems())) == sorted(GENRES)
    assert all(form_and_fluency(poem) > 8 for poem in seed_poems()) and {
        *map(line_fluency, seed_poems())
    } == {1.0}


def test_the_store_holds_lines_with_their_sources():
    """Every line stands below a source that names a poet and a year before 1900.

    None is a comment.
    """
    below, lines = "", 0
    for line in (POETRY_FOLDER / "lines.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and "(" in line:
            below = line
            assert 1500 < int(line[-5:-1]) < 1900
        elif line and not line.startswith("#"):
            lines += 1
            assert below
    assert lines == len(line_store()) > 100


def test_the_rating_is_form_and_fluency_without_repetition():
    """A haiku of known lines is 10.

    The same line three times, words that nobody puts together, and prose are less.
    """
    haiku = "Fields of winter rain\nA gate stands open to dark\nSomeone hums a song"
    assert form_and_fluency(haiku) == 10
    assert form_and_fluency("Fields of winter rain\n" * 3) < 6
    assert (
        form_and_fluency("Rain winter of fields\nDark to open stands gate a\nSong a hums someone")
        == 1
    )
    assert form_and_fluency("rain") == form_and_fluency("") == 1
    assert line_fluency("Fields of winter rain rain") == pytest.approx(3 / 4)


@pytest.mark.parametrize("tone", TONES)
def test_a_tone_is_read_from_words(tone):
    """A word of each list says it; without such words there is none."""
    listed = read_lexicon(POETRY_FOLDER / "tones.txt")
    only = min(listed[tone] - set().union(*(listed[other] for other in TONES if other != tone)))
    assert tone_words(f"The {only} of it") == tone and tone_words("the of it") is None


def test_measures_say_what_they_are():
    """Quality, genre and tone by the names of their measures.

    A poem without a form is none of the genres.
    """
    made = measured(seed_poems()[0], "prose about the night")
    notes = made.notes[0]["judged"]
    assert {name: note["by"] for name, note in notes.items()} == {
        "quality": "form_and_fluency", "genre": "closest_form", "tone": "tone_words",
    }  # fmt: skip
    assert made.features[0].tolist() == [GENRES.index("haiku"), TONES.index("dark")]
    assert (
        np.isnan(made.features[1, 0])
        and made.notes[1]["error"] == "genre: closest_form says nothing of it"
    )


# Cutting up.


def test_a_cut_up_is_made_of_its_parents_and_the_store():
    """No word comes from nowhere, no text is empty or endless, and lines begin with capitals."""
    first, second, kept = "a b c\nd e f", "g h\ni j k l", ("m n o", "p q")
    cut = CutUp(kept, changes=6)
    made = cut.propose(KEY, Context(parents(*[first, second] * 200)), 200)
    known = set(f"{first} {second} {' '.join(kept)}".split())
    for text in made.genome:
        assert {word.lower() for word in text.split()} <= known
        assert 0 < len(lines_of(text)) <= MAX_TEXT_LINES and all(
            line[0].isupper() for line in text.splitlines()
        )
    assert len(set(made.genome)) > 150
    grown = [text.count("\n") for text in made.genome]
    assert min(grown) == 0 and max(grown) > 2 and made.parents[0].tolist() == [0, 1]


def test_a_text_does_not_grow_without_end():
    """Nothing is put into a text that is long enough."""
    long = "\n".join(f"line {i}" for i in range(MAX_TEXT_LINES))
    made = CutUp(("x",), changes=9).propose(KEY, Context(parents(*[long, long] * 20)), 20)
    assert max(len(lines_of(text)) for text in made.genome) == MAX_TEXT_LINES


@pytest.mark.parametrize("pair", [("", ""), ("", "a b"), ("a", ""), ("   \n", "\n\n")])
def test_empty_texts_can_be_cut(pair):
    """Whatever a model has made of a text."""
    made = CutUp().propose(KEY, Context(parents(*pair * 30)), 30)
    assert len(made.genome) == 30 and {
        word.lower() for text in made.genome for word in text.split()
    } <= {"a", "b"}


def test_a_run_without_a_model_fills_the_map():
    """Recombination finds better poems in more cells from five seeds; a seed repeats the run."""
    made = search().run(25, progress=False)
    assert (
        made.summary()["occupied"] >= 10
        and made.history["qd_score"][-1] > 2 * made.history["qd_score"][0]
    )
    assert (
        search().run(3, progress=False).ledger.dump()
        == search().run(3, progress=False).ledger.dump()
    )


# With a model.


def published(body):
    """A server that answers each of the questions of QDAIF."""
    prompt = body["messages"][0]["content"]
    number = sum(map(ord, prompt))
    if "scale from 1 to 10" in prompt:
        return json.dumps({"rationale": "fine", "score": 1 + number % 10})
    if "What genre" in prompt:
        return json.dumps({"rationale": "so", "label": GENRES[number % 5]})
    if "What tone" in prompt:
        return json.dumps({"rationale": "so", "label": TONES[number // 5 % 5]})
    return f"a poem of {number}\n{prompt[:30]}"


def test_a_model_writes_translates_and_judges():
    """Poems are written anew after a seed and translated from elites, in all genres and tones."""
    with ModelServer(published) as server:
        model = LLM("m", base_url=server.url)
        made = search(POETRY.asking(model), POETRY.judge(model), batch=2).run(20, progress=False)
        prompts = [exchange.body["messages"][0]["content"] for exchange in server.log]
    tasks = [prompt.splitlines()[0].split() for prompt in prompts if prompt.startswith("Write a ")]
    assert {(words[2] in TONES, words[3] in GENRES) for words in tasks} == {(True, True)}
    assert any("Translate this" in prompt and "```" in prompt for prompt in prompts)
    elites = made.elites_frame()
    assert len(elites) > 5 and all(
        note["judged"]["quality"]["by"] == "rating" for note in elites["notes"]
    )


def test_a_run_with_a_model_from_the_command_line_resumes(capsys, tmp_path, monkeypatch):
    """`--model` writes and judges.

    A run that goes on asks nothing twice, and 200 poems are the usual.
    """
    monkeypatch.chdir(tmp_path)
    with ModelServer(published) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        out(
            capsys,
            "run",
            "poetry",
            "--model",
            "m",
            "--evaluations",
            "12",
            "--in-flight",
            "1",
            "--out",
            "r",
        )
        printed = out(capsys, "resume", "r", "--evaluations", "20")
        summary = json.loads(out(capsys, "show", "r", "--json"))
    assert "quality by rating of m (" in printed and "genre by label of m (" in printed
    assert summary["evaluations"] == 20 and summary["calls"] == len(server.log) > 50
    assert RunSettings("poetry", model=("m",)).limits() == Budget(evaluations=200)
    assert (
        RunSettings("poetry").limits() == Budget(evaluations=10_000)
        and RunSettings("words").limits().evaluations == 100_000
    )


@pytest.mark.parametrize("question", ["quality", "genre", "tone", "write", "translate"])
def test_questions_are_those_of_qdaif(question):
    """To the letter; QDKIT_GOLDEN=1 writes the texts anew."""
    prompts = []
    ask = lambda prompt: prompts.append(prompt) or ""
    if question in ("write", "translate"):
        origin = {"write": "seed", "translate": "elite"}[question]
        POETRY.asking(ask).propose(KEY, Context(parents("Fields of rain", origin=origin)), 1)
    else:
        panel = POETRY.judge(ask)
        judge = {judge.name: judge for judge in (panel.quality, *panel.axes)}[question]
        judge(KEY, Batch.unevaluated(Proposal.of(["Fields of rain"], "test")))
    path = GOLDEN / f"poetry-{question}.txt"
    if os.environ.get("QDKIT_GOLDEN"):
        path.write_text(prompts[0] + "\n", encoding="utf-8")
    assert prompts[0] + "\n" == path.read_text(encoding="utf-8")


def test_a_poem_that_was_refused_is_no_candidate():
    """It is asked for once more, and then invalid with the reason."""
    with ModelServer(lambda body: FAULTS["refusal"]) as server:
        made = POETRY.asking(LLM("m", base_url=server.url)).propose(
            KEY, Context(parents("x", origin="seed")), 1
        )
    assert (
        made.outcome == [Outcome.INVALID]
        and "refused" in made.notes[0]["error"]
        and len(server.log) == 2
    )
    assert made.parents.tolist() == [[0]] and NO_CANDIDATE not in made.parents


# As it is shown.


def test_a_map_of_poems_can_be_read(capsys, tmp_path, monkeypatch):
    """`qdkit run poetry` prints each elite with its cell, its rating, its lines and the judge."""
    monkeypatch.chdir(tmp_path)
    printed = out(capsys, "run", "poetry", "--evaluations", "100", "--batch", "20", "--out", "r")
    assert "genre tone objective text" in printed and "/ Someone hums a song" in printed
    assert "quality by form_and_fluency (" in printed and "tone by tone_words (" in printed
    assert (tmp_path / "r" / "gallery.png").exists()


def test_a_table_of_texts_shows_the_elites():
    """Long texts are cut, and what steers a terminal or looks like markup stands as it is.

    Numbers are no texts.
    """
    from rich.console import Console

    poems = (
        "A gate [red]stands[/red] open\x1b[2J\nIn winter rain the old house waits\nSomeone hums a "
        "song",
        *seed_poems(),
    )
    made = qdkit.Search(
        Poetry(poems), Grid((5, 5), POETRY.bounds), CutUp(), judge=POETRY.judge(), batch=6
    ).run(1, progress=False)
    console = Console(width=300, file=io.StringIO())
    console.print(viz.texts(made))
    printed = console.file.getvalue()
    assert (
        "[red]stands[/red] open�[2J / In winter" in printed
        and "…" in printed
        and "axis 0" in printed
    )
    arm = qdkit.Search(Arm(), Grid((5, 5), Arm().bounds), Gaussian(0.1), batch=5).run(
        1, progress=False
    )
    assert viz.texts(arm) is None


def test_the_judges_of_a_domain_are_audited_from_the_command_line(capsys, tmp_path):
    """Each by itself, on its seeds or on a file of texts with labels; in words and as JSON."""
    printed = out(capsys, "audit", "poetry", "--repeats", "2")
    assert (
        "Judge of quality: 5 texts, each 2 times; 10 by form_and_fluency" in printed
        and "Judge of tone" in printed
    )
    file = tmp_path / "texts.jsonl"
    file.write_text(
        '"a merry song"\n{"text": "a grave", "label": 0}\n{"text": "joy", "label": 1}\n'
    )
    (made,) = json.loads(out(capsys, "audit", "sentiment", "--texts", str(file), "--json"))
    assert made["judge"] == "sentiment" and made["findings"][-1]["figures"] == {"same order": 1.0}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sentiment"], "give the texts that sentiment judges: --texts FILE"),
        (["arm"], "is no judge, nor a domain with one"),
        (["sentiment", "--texts", "bad.jsonl"], "line 1 of bad.jsonl is no text"),
    ],
)
def test_an_audit_of_nothing_is_refused(words, message, tmp_path, monkeypatch):
    """With a sentence that says what to give."""
    monkeypatch.chdir(tmp_path)
    Path("bad.jsonl").write_text('{"x": 1}\n')
    with pytest.raises(SystemExit, match=message):
        main(["audit", *words])

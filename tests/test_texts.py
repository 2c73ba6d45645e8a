"""Opinions and stories, as QDAIF searched them and without a model; its baselines.

And which of them does best.
"""

from __future__ import annotations

import itertools
import json

import jax
import numpy as np
import pytest

import qdkit
from qdkit import LLM, metrics
from qdkit.archives import DeepGrid, Grid, Recent
from qdkit.cli.commands import main
from qdkit.cli.settings import RunSettings
from qdkit.comparing.qdaif import METHODS, judged_map, method
from qdkit.core.elites import double
from qdkit.core.types import Batch, Proposal
from qdkit.domains.texts.opinions import Opinions, on_topic, positive
from qdkit.domains.texts.stories import Stories, happy, horror, story
from qdkit.feedback import Panel, Probability
from qdkit.novelty import Rouge
from qdkit.operators import LMX
from qdkit.testing import (
    ModelServer,
    check_archive,
    check_domain,
    check_filter,
    check_operator,
    likely,
)
from qdkit.testing.simulated_model import OPENINGS, Clauses
from tests.cases import mostly_soak
from tests.worlds import search_of

KEY = jax.random.key(0)
DOMAINS = [Opinions(), *(Stories(by) for by in ("both", "genre", "ending"))]
CLAUSES = Opinions(start=OPENINGS)
every_domain = pytest.mark.parametrize(
    "domain", mostly_soak(DOMAINS, usual=2), ids=lambda domain: "-".join(domain.names)
)


def batch(*texts, first=0, objective=0.9):
    made = Batch.unevaluated(Proposal.of(list(texts), "test"))
    ids = np.arange(first, first + len(texts), dtype=np.int32)
    return made.replace(
        id=ids, objective=np.broadcast_to(np.asarray(objective, float), len(texts)).copy()
    )


# Domains.


@every_domain
def test_domains_have_the_published_settings(domain):
    """Three seeds, increasing edges, a depth of 100, a judge and an operator without a model."""
    check_domain(domain)
    check_operator(domain.operators["cut-up"](), domain)
    assert len(domain.seeds(KEY, 16)) == 3 and domain.depth == 100
    assert domain.shape == ((10, 10) if len(domain.names) == 2 else (20,))
    result = domain.judge()(KEY, batch(*domain.openings))
    assert np.isfinite(result.value).all() and result.features.shape == (3, len(domain.names))
    operator = domain.asking(str)
    assert isinstance(operator, LMX) and (operator.start, operator.temperature) == (50, 0.8)
    assert operator.max_tokens == (50 if isinstance(domain, Opinions) else 100)


def test_opinions_are_measured_by_their_words():
    """An opinion on the topic, in the first person and with a reason is best.

    Glad words are positive, and an empty text is no opinion.
    """
    best = "I love beans because they are good."
    assert on_topic(best) > on_topic("Beans are good.") > on_topic("The train is late.") == 0
    assert on_topic(f"{best} {best}") < 0.9 * on_topic(
        "I eat beans, peas, soup and carrots because I like them."
    )
    assert positive("I love it, it is good.") > 0.99 and positive("I hate it, it is awful.") < 0.01
    assert positive("A bean.") == 0.5 and positive("...") is None


def test_stories_are_measured_by_their_words():
    """A long story with both characters is best; ghosts are horror, kisses romance.

    The end of the text decides the ending.
    """
    tale = "The spy met the politician."
    assert story(tale) > story("The spy met a friend.") > story("")
    assert horror("blood and a ghost") > 0.9 > 0.1 > horror("a kiss, a rose")
    assert (
        happy("They wept and died. Then she was free and happy.")
        > 0.9
        > happy("She was happy. They died alone.")
    )
    assert horror("") is None and happy("!") is None


def test_runs_without_a_model_are_ordered_in_words(tmp_path, monkeypatch, capsys):
    """`qdkit run stories --by genre` fills 20 cells, each 100 deep, and names its judge."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "run",
                "stories",
                "--by",
                "genre",
                "--evaluations",
                "200",
                "--batch",
                "40",
                "--out",
                "r",
            ]
        )
    printed = capsys.readouterr().out
    assert not ended.value.code and "quality by story (" in " ".join(printed.split())
    made = qdkit.load("r")
    assert made.archive.depth == 100 and made.summary()["occupied"] >= 6
    assert RunSettings("opinions").search(tmp_path / "o").archive.cells == 20


# With a model, as published.


def responses():
    """Returns the responses of a server: texts of the model of clauses, and probabilities."""
    model, written = Clauses(1), itertools.count()

    def says(body):
        prompt = json.dumps(body["messages"])
        if not body.get("logprobs"):
            return (
                model.text([[("beans", "good")], [("peas", "plain"), ("leeks", "awful")]])[:-1]
                + f" {next(written)}."
            )
        yes, no = next(
            pair for pair in ANSWERS if f"Answer with one word, {pair[0]} or {pair[1]}," in prompt
        )
        p = 0.02 + 0.96 * (sum(map(ord, prompt)) % 997) / 997
        return likely(
            {f" {yes.capitalize()}": 0.5 * p, yes: 0.45 * p, no: 0.95 * (1 - p), "well": 0.05}
        )

    return says


ANSWERS = [
    ("yes", "no"),
    ("positive", "negative"),
    ("horror", "romance"),
    ("happy ending", "tragedy"),
]


@every_domain
def test_qdaif_runs_as_published(domain, tmp_path):
    """Few-shot prompts, probabilities as judgements, deep cells, and examples as parents.

    A resumed run asks no question twice.
    """
    deep = DeepGrid(Grid(domain.shape, domain.bounds, names=domain.names), domain.depth)

    def search(resume=False):
        model = LLM("m", base_url=server.url)
        parts = {"judge": domain.judge(model), "batch": 1, "run": tmp_path / "r", "resume": resume}
        return search_of(domain, deep, domain.asking(model), **parts)

    with ModelServer(responses()) as server:
        with search() as made:
            made.run(60, progress=False)
            candidate = made.ledger.take([59])[0]
            dump = made.ledger.dump()
        requests = len(server.log)
        with search(resume=True) as again:
            assert again.ledger.dump() == dump and len(server.log) == requests
    judged = candidate.notes["judged"]
    assert set(judged) == {"quality", *domain.names} and {
        note["by"] for note in judged.values()
    } == {"probability"}
    assert all(note["mass"] == pytest.approx(0.95) for note in judged.values())
    assert candidate.origin == "lmx" and len(set(candidate.parents)) == 3
    assert requests == (60 - 3) + 60 * (1 + len(domain.names))


def test_a_model_without_probabilities_is_asked_for_ratings():
    """The fall-back rates the same question from no to yes, in the bounds of a probability."""
    says = lambda body: (
        json.dumps({"rationale": "so", "score": 10}) if body.get("response_format") else "yes"
    )
    with ModelServer(lambda body: qdkit.testing.ChatReply(says(body), logprobs=None)) as server:
        result = Opinions().judge(LLM("m", base_url=server.url))(KEY, batch("I like peas."))
    assert (
        result.value.tolist() == [1.0] and result.notes[0]["judged"]["quality"]["by"] == "rating"
    )


# Baselines.


def added(archive, elites, objective, descriptor):
    with double():
        ids = {"id": np.arange(len(objective), dtype=np.int32)}
        return archive.add(
            elites, np.asarray(objective, float), np.asarray(descriptor, float).reshape(-1, 1), ids
        )


def test_recent_conforms_to_the_archive_contract():
    """See `qdkit.testing`."""
    check_archive(Recent(2, capacity=8, neighbours=3))
    for settings in ({"threshold": -1.0}, {"edges": ((0, 1), (0, 1))}):
        with pytest.raises(ValueError):
            Recent(1, **settings)


def test_the_most_recent_elites_are_stored():
    """Of five elites the last three stay in three slots.

    Candidates that are not above the threshold do not enter, except the first.
    """
    pool = Recent(1, capacity=3, neighbours=2)
    elites, made = added(pool, pool.init({"id": np.int32(0)}), [5, 4, 3, 2, 1], np.arange(5))
    assert (
        sorted(np.asarray(elites.payload["id"]).tolist()) == [2, 3, 4]
        and made.status.tolist() == [2] * 5
    )
    picky = Recent(1, capacity=9, neighbours=2, least=0.8, free=2)
    elites, made = added(
        picky, picky.init({"id": np.int32(0)}), [0.1, 0.2, 0.8, 0.9, np.nan], np.arange(5)
    )
    assert made.status.tolist() == [2, 2, 0, 2, 0]


def test_the_novelty_threshold_adapts_to_the_rate_of_entries():
    """It is multiplied by 1.05 after three entries in a row, and by 0.95 after 21 rejections.

    Then the counts start again.
    """
    with double():
        pool = Recent(1, threshold=0.05)
        elites, made = added(pool, pool.init({"id": np.int32(0)}), np.ones(3), [0.0, 1.0, 0.5])
        assert made.status.tolist() == [2, 2, 2] and float(
            elites.state.threshold
        ) == pytest.approx(0.0525)
        elites, made = added(pool, elites, np.ones(21), [0.5] * 21)  # (0 + 0.5 + 0.5) / 3 away
        assert made.status.tolist()[0] == 2
        far = Recent(1, neighbours=1, threshold=0.05)
        elites, made = added(far, far.init({"id": np.int32(0)}), np.ones(22), [0.5] * 22)
        assert made.status.tolist() == [2] + [0] * 21 and float(
            elites.state.threshold
        ) == pytest.approx(0.0475)


def test_axes_are_rescaled_to_equal_cells():
    """The edges of QDAIF become twentieths, and values between edges are interpolated."""
    edges = Opinions.bounds[0]
    pool = Recent(1, edges=(edges,))
    stretched = np.asarray(pool.stretched(np.array(edges)[:, None]))[:, 0]
    assert stretched == pytest.approx(np.arange(21) / 20, abs=1e-6)
    assert float(pool.stretched(np.array([[0.35]]))[0, 0]) == pytest.approx(9.5 / 20, abs=1e-6)


def test_rouge_finds_similar_texts():
    """F = 2 · 4 / (5 + 5) = 0.8 by words in any case and with any marks.

    0.7 is too much, and who stands out is new.
    """
    check_filter(Rouge(), Opinions())
    rouge = Rouge()
    rouge.learn(batch("the peas are very good"))
    result = rouge.new(
        batch("The beans are VERY good!", "peas good", "the peas, are bad", first=1), 1
    )
    assert result.new.tolist() == [False, True, True]
    assert (
        result.notes[0]["likeness"] == pytest.approx(0.8)
        and result.notes[2]["passed"]["edit distance"] == 0.6666
    )


def test_the_pool_of_rouge_holds_recent_texts_of_good_quality():
    """What is not good enough is compared with nothing, and what left the pool neither."""
    rouge = Rouge(least=0.8, last=1)
    rouge.learn(batch("one two three", objective=0.5))
    rouge.learn(batch("four five six", first=1))
    assert rouge.new(batch("one two three", first=2), 2).new.all()
    assert not rouge.new(batch("four five six", first=2), 2).new.any()
    rouge.learn(batch("seven eight nine", first=2))
    assert rouge.new(batch("four five six", first=3), 3).new.all()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_a_search(name):
    """Each runs, and the judge afterwards finds texts of several kinds.

    The calls are those of what it reads.
    """
    model = Clauses(3)
    with search_of(CLAUSES, **method(name, CLAUSES, model), judge=model.judged, batch=8) as made:
        made.run(6, progress=False)
        last = made.commits[-1]
        written = made.ledger.take(range(last.first + last.rows))
    found = judged_map(Grid((20,), CLAUSES.bounds), written, Clauses().judged, KEY)
    assert metrics.occupied(found) >= 5
    calls = {
        "fixed": 1,
        "shuffled": 1,
        "random": 1,
        "rouge": 1,
        "quality only": 2,
        "rouge, good": 2,
        "novelty": 2,
    }
    assert METHODS[name].calls(CLAUSES) == calls.get(name, 3)


def test_an_unknown_method_is_refused():
    """The error lists the known names."""
    with pytest.raises(LookupError, match="take one of qdaif"):
        method("best", CLAUSES, str)


# The world of clauses.


def test_the_model_of_clauses_gives_the_values_of_the_panel():
    """Its short way to a judgement gives the values of the judges with a model.

    One that is not listed is bounded.
    """
    texts = batch(
        *OPENINGS, "the beans are very awful, the peas are very awful, the leeks are very awful."
    )
    panel = Opinions().judge(Clauses())
    short, result = Clauses().judged(KEY, texts), panel(KEY, texts)
    assert np.allclose(short.value, result.value) and np.allclose(short.features, result.features)
    assert isinstance(panel, Panel) and isinstance(panel.quality.judges[0], Probability)
    assert result.notes[3]["judged"]["sentiment"]["censored"] and 0 < result.features[3, 0] < 0.005
    assert not result.notes[0]["judged"]["sentiment"]["censored"]


def test_the_methods_rank_in_the_published_order():
    """In a short run: fixed examples, then random search, then quality only, then QDAIF."""

    def score(name, seed):
        model = Clauses(seed)
        with search_of(
            CLAUSES, **method(name, CLAUSES, model), judge=model.judged, batch=8, seed=seed
        ) as made:
            made.run(75, progress=False)
            last = made.commits[-1]
            written = made.ledger.take(range(last.first + last.rows))
        return metrics.qd_score(
            judged_map(Grid((20,), CLAUSES.bounds), written, Clauses().judged, KEY)
        )

    means = [
        np.mean([score(name, seed) for seed in (1, 2)])
        for name in ("fixed", "random", "quality only", "qdaif")
    ]
    assert means == sorted(means) and means[3] > 1.1 * means[2]

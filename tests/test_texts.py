"""Opinions and stories, as QDAIF searched them and without a model; its baselines; and which of them does best."""

from __future__ import annotations

import itertools
import json

import jax
import numpy as np
import pytest

import qdkit
from qdkit import LLM, metrics
from qdkit.archives import Deep, Grid, Recent
from qdkit.cli import main
from qdkit.domains.opinions import Opinions, on_topic, positive
from qdkit.domains.stories import Stories, happy, horror, story
from qdkit.elites import double
from qdkit.feedback import Panel, Probability
from qdkit.methods import METHODS, judged_map, method
from qdkit.novelty import Rouge
from qdkit.operators import LMX
from qdkit.order import Order
from qdkit.testing import ModelServer, check_archive, check_domain, check_filter, check_operator, likely
from qdkit.testing.clauses import OPENINGS, Clauses
from qdkit.types import Batch, Proposal

KEY = jax.random.key(0)
DOMAINS = [Opinions(), *(Stories(by) for by in ("genre", "ending", "both"))]
CLAUSES = Opinions(start=OPENINGS)
every_domain = pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: "-".join(domain.names))


def batch(*texts, first=0, objective=0.9):
    made = Batch.unevaluated(Proposal.of(list(texts), "test"))
    ids = np.arange(first, first + len(texts), dtype=np.int32)
    return made.replace(id=ids, objective=np.broadcast_to(np.asarray(objective, float), len(texts)).copy())


# Domains.


@every_domain
def test_they_are_domains_with_the_settings_that_were_published(domain):
    """Three seeds, edges that rise, a depth of 100, a judgement of each seed without a model, an operator without."""
    check_domain(domain)
    check_operator(domain.operators["cut-up"](), domain)
    assert len(domain.seeds(KEY, 16)) == 3 and domain.depth == 100
    assert domain.shape == ((10, 10) if len(domain.names) == 2 else (20,))
    said = domain.judge()(KEY, batch(*domain.openings))
    assert np.isfinite(said.value).all() and said.features.shape == (3, len(domain.names))
    operator = domain.asking(str)
    assert isinstance(operator, LMX) and (operator.start, operator.temperature) == (50, 0.8)
    assert operator.max_tokens == (50 if isinstance(domain, Opinions) else 100)


def test_opinions_are_measured_by_their_words():
    """On the topic, in one's own name and with a reason is best; glad words are positive; no words are no opinion."""
    best = "I love beans because they are good."
    assert on_topic(best) > on_topic("Beans are good.") > on_topic("The train is late.") == 0
    assert on_topic(f"{best} {best}") < 0.9 * on_topic("I eat beans, peas, soup and carrots because I like them.")
    assert positive("I love it, it is good.") > 0.99 and positive("I hate it, it is awful.") < 0.01
    assert positive("A bean.") == 0.5 and positive("...") is None


def test_stories_are_measured_by_their_words():
    """With both characters and long enough is best; ghosts are horror, kisses romance; the end says how it ends."""
    told = "The spy met the politician."
    assert story(told) > story("The spy met a friend.") > story("")
    assert horror("blood and a ghost") > 0.9 > 0.1 > horror("a kiss, a rose")
    assert happy("They wept and died. Then she was free and happy.") > 0.9 > happy("She was happy. They died alone.")
    assert horror("") is None and happy("!") is None


def test_runs_without_a_model_are_ordered_in_words(tmp_path, monkeypatch, capsys):
    """`qdkit run stories --by genre` fills a map of 20 cells, each 100 deep, and says what judged it."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["run", "stories", "--by", "genre", "--evaluations", "200", "--batch", "40", "--out", "r"])
    printed = capsys.readouterr().out
    assert not ended.value.code and "quality by story (" in " ".join(printed.split())
    made = qdkit.load("r")
    assert made.archive.depth == 100 and made.summary()["occupied"] >= 6
    assert Order("opinions").search(tmp_path / "o").archive.cells == 20


# With a model, as published.


def served():
    """A server's answers: those of the model of clauses to whoever writes, and a probability of the text to judges."""
    model, written = Clauses(1), itertools.count()

    def says(body):
        prompt = json.dumps(body["messages"])
        if not body.get("logprobs"):
            return (
                model.text([[("beans", "good")], [("peas", "plain"), ("leeks", "awful")]])[:-1] + f" {next(written)}."
            )
        yes, no = next(pair for pair in ANSWERS if f"Answer with one word, {pair[0]} or {pair[1]}," in prompt)
        p = 0.02 + 0.96 * (sum(map(ord, prompt)) % 997) / 997
        return likely({f" {yes.capitalize()}": 0.5 * p, yes: 0.45 * p, no: 0.95 * (1 - p), "well": 0.05})

    return says


ANSWERS = [("yes", "no"), ("positive", "negative"), ("horror", "romance"), ("happy ending", "tragedy")]


@every_domain
def test_qdaif_runs_as_published(domain, tmp_path):
    """By example, judged by probabilities into deep cells; the examples are parents; going on asks nothing twice."""
    deep = Deep(Grid(domain.shape, domain.bounds, names=domain.names), domain.depth)

    def search(resume=False):
        model = LLM("m", base_url=server.url)
        parts = {"judge": domain.judge(model), "batch": 1, "run": tmp_path / "r", "resume": resume}
        return qdkit.Search(domain, deep, domain.asking(model), **parts)

    with ModelServer(served()) as server:
        with search() as made:
            made.run(60, progress=False)
            candidate = made.ledger.take([59])[0]
            dump = made.ledger.dump()
        asked = len(server.log)
        with search(resume=True) as again:
            assert again.ledger.dump() == dump and len(server.log) == asked
    judged = candidate.notes["judged"]
    assert set(judged) == {"quality", *domain.names} and {note["by"] for note in judged.values()} == {"probability"}
    assert all(note["mass"] == pytest.approx(0.95) for note in judged.values())
    assert candidate.origin == "lmx" and len(set(candidate.parents)) == 3
    assert asked == (60 - 3) + 60 * (1 + len(domain.names))


def test_a_model_that_tells_no_probabilities_is_asked_for_marks():
    """The fall-back rates the same question from no to yes, in the bounds of a probability."""
    says = lambda body: json.dumps({"rationale": "so", "score": 10}) if body.get("response_format") else "yes"
    with ModelServer(lambda body: qdkit.testing.Reply(says(body), logprobs=None)) as server:
        said = Opinions().judge(LLM("m", base_url=server.url))(KEY, batch("I like peas."))
    assert said.value.tolist() == [1.0] and said.notes[0]["judged"]["quality"]["by"] == "rating"


# Baselines.


def added(archive, elites, objective, descriptor):
    with double():
        ids = {"id": np.arange(len(objective), dtype=np.int32)}
        return archive.add(elites, np.asarray(objective, float), np.asarray(descriptor, float).reshape(-1, 1), ids)


def test_recent_is_an_archive():
    """It keeps what archives promise."""
    check_archive(Recent(2, capacity=8, neighbours=3))
    for settings in ({"threshold": -1.0}, {"edges": ((0, 1), (0, 1))}):
        with pytest.raises(ValueError):
            Recent(1, **settings)


def test_the_last_that_came_in_are_kept():
    """Of five into three places the last three stay; what is not above the least does not come, but for the first."""
    pool = Recent(1, capacity=3, neighbours=2)
    elites, made = added(pool, pool.init({"id": np.int32(0)}), [5, 4, 3, 2, 1], np.arange(5))
    assert sorted(np.asarray(elites.payload["id"]).tolist()) == [2, 3, 4] and made.status.tolist() == [2] * 5
    picky = Recent(1, capacity=9, neighbours=2, least=0.8, free=2)
    elites, made = added(picky, picky.init({"id": np.int32(0)}), [0.1, 0.2, 0.8, 0.9, np.nan], np.arange(5))
    assert made.status.tolist() == [2, 2, 0, 2, 0]


def test_the_threshold_of_novelty_follows_what_comes_in():
    """Times 1.05 after three in a row that came in, times 0.95 after 21 that did not; the counts begin again."""
    with double():
        pool = Recent(1, threshold=0.05)
        elites, made = added(pool, pool.init({"id": np.int32(0)}), np.ones(3), [0.0, 1.0, 0.5])
        assert made.status.tolist() == [2, 2, 2] and float(elites.state.threshold) == pytest.approx(0.0525)
        elites, made = added(pool, elites, np.ones(21), [0.5] * 21)  # (0 + 0.5 + 0.5) / 3 away
        assert made.status.tolist()[0] == 2
        far = Recent(1, neighbours=1, threshold=0.05)
        elites, made = added(far, far.init({"id": np.int32(0)}), np.ones(22), [0.5] * 22)
        assert made.status.tolist() == [2] + [0] * 21 and float(elites.state.threshold) == pytest.approx(0.0475)


def test_axes_are_stretched_to_equal_cells():
    """The edges of QDAIF come to lie at twentieths, and a place between two of them between theirs."""
    edges = Opinions.bounds[0]
    pool = Recent(1, edges=(edges,))
    stretched = np.asarray(pool.stretched(np.array(edges)[:, None]))[:, 0]
    assert stretched == pytest.approx(np.arange(21) / 20, abs=1e-6)
    assert float(pool.stretched(np.array([[0.35]]))[0, 0]) == pytest.approx(9.5 / 20, abs=1e-6)


def test_rouge_tells_texts_that_say_the_same():
    """F = 2 · 4 / (5 + 5) = 0.8 by words in any case and with any marks; 0.7 is too much, and who stands out is new."""
    check_filter(Rouge(), Opinions())
    rouge = Rouge()
    rouge.learn(batch("the peas are very good"))
    said = rouge.new(batch("The beans are VERY good!", "peas good", "the peas, are bad", first=1), 1)
    assert said.new.tolist() == [False, True, True]
    assert said.notes[0]["likeness"] == pytest.approx(0.8) and said.notes[2]["passed"]["edit distance"] == 0.6666


def test_a_pool_of_rouge_holds_the_good_and_the_last():
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
    """Each runs, and the judge afterwards finds texts of several kinds; the calls are those of what it reads."""
    model = Clauses(3)
    with qdkit.Search(CLAUSES, **method(name, CLAUSES, model), judge=model.judged, batch=8) as made:
        made.run(6, progress=False)
        last = made.commits[-1]
        written = made.ledger.take(range(last.first + last.rows))
    found = judged_map(Grid((20,), CLAUSES.bounds), written, Clauses().judged, KEY)
    assert metrics.occupied(found) >= 5
    calls = {"fixed": 1, "shuffled": 1, "random": 1, "rouge": 1, "quality only": 2, "rouge, good": 2, "novelty": 2}
    assert METHODS[name].calls(CLAUSES) == calls.get(name, 3)


def test_a_method_that_is_none_is_refused():
    """With the names there are."""
    with pytest.raises(LookupError, match="take one of qdaif"):
        method("best", CLAUSES, str)


# The world of clauses.


def test_the_model_of_clauses_answers_as_a_panel_reads_it():
    """Its short way to a judgement gives the values of the judges with a model; one that is not listed is bounded."""
    texts = batch(*OPENINGS, "the beans are very awful, the peas are very awful, the leeks are very awful.")
    panel = Opinions().judge(Clauses())
    short, said = Clauses().judged(KEY, texts), panel(KEY, texts)
    assert np.allclose(short.value, said.value) and np.allclose(short.features, said.features)
    assert isinstance(panel, Panel) and isinstance(panel.quality.judges[0], Probability)
    assert said.notes[3]["judged"]["sentiment"]["censored"] and 0 < said.features[3, 0] < 0.005
    assert not said.notes[0]["judged"]["sentiment"]["censored"]


def test_the_methods_come_in_the_order_that_was_published():
    """In a short run: fixed examples, then random search, then quality only, then QDAIF."""

    def score(name, seed):
        model = Clauses(seed)
        with qdkit.Search(CLAUSES, **method(name, CLAUSES, model), judge=model.judged, batch=8, seed=seed) as made:
            made.run(75, progress=False)
            last = made.commits[-1]
            written = made.ledger.take(range(last.first + last.rows))
        return metrics.qd_score(judged_map(Grid((20,), CLAUSES.bounds), written, Clauses().judged, KEY))

    means = [np.mean([score(name, seed) for seed in (1, 2)]) for name in ("fixed", "random", "quality only", "qdaif")]
    assert means == sorted(means) and means[3] > 1.1 * means[2]

"""Scores on held-out data: queries are logged, never steer a search, and a lockbox opens once."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import qdkit
from qdkit.archives import Grid
from qdkit.cli.commands import main
from qdkit.core.types import Context, Evaluation, Outcome
from qdkit.domains.program import Program
from qdkit.domains.solvers import regression
from qdkit.operators import Gaussian, Syntax
from qdkit.operators.edits.prompts import edit_prompt
from qdkit.runs import holdout as levels
from tests.worlds import search_of

SEED = "def solve(data):\n    return [2.0 * x + 0.5 for x in data]\n"
HELD = {"validation": ([5.0, 6.0],), "lockbox": ([77.25, 8.0],)}


def referee(output, level):
    """Minus how far the numbers are from those of the level, and how many there are."""
    wanted = {"search": [1.0, 2.0, 3.0], "validation": [5.0, 6.0], "lockbox": [77.25, 8.0]}[level]
    return -sum(abs(a - b) for a, b in zip(output, wanted, strict=True)), (len(output),)


def echoing(**settings) -> Program:
    """Programs that should hand back what they are given."""
    usual = {
        "arguments": ([1.0, 2.0, 3.0],),
        "bounds": ((0, 10), (0, 60)),
        "names": ("count", "nodes"),
        **HELD,
    }
    return Program({"seed.py": SEED}, "seed.py:solve", "Echo.", referee, **{**usual, **settings})


def searched(path, steps=3, **settings) -> qdkit.Search:
    domain = echoing()
    return search_of(
        domain, Grid((2, 8), domain.bounds), Syntax(), batch=4, seed=5, run=path, **settings
    ).run(steps, progress=False)


@pytest.fixture
def run(tmp_path):
    search = searched(tmp_path / "run")
    search.close()
    return tmp_path / "run"


def test_a_program_is_scored_on_the_data_of_each_level():
    """The entry is called with the level's arguments, and the referee receives the level."""
    domain = echoing()
    scores = [
        d.evaluate([{"seed.py": SEED}]).objective[0]
        for d in (domain, domain.at("validation"), domain.at("lockbox"))
    ]
    assert scores == [-(1.5 + 2.5 + 3.5), -(5.5 + 6.5), -(77.75 + 8.5)]
    assert domain.levels == ("validation", "lockbox") and echoing(validation=None).levels == (
        "lockbox",
    )
    with pytest.raises(
        ValueError, match="no data for the level 'lockbox': there is for validation"
    ):
        echoing(lockbox=None).at("lockbox")


HIDING = """
import gc, sys

def solve(data):
    gc.unfreeze()
    held = gc.get_objects() + [x for o in gc.get_objects() if type(o) is dict for x in o.values()]
    held += [x for o in held if type(o) in (list, tuple) for x in o]
    names = [n for n in sys.modules if "score" in n]
    texts = [x for x in held if type(x) in (str, bytes) and ("77.25" in str(x) and x is not TEXT)]
    found = sum(type(x) is float and x == 77.0 + QUARTER for x in held)
    return [float(found), len(names), len(texts)]

QUARTER = 0.25
TEXT = "77" ".25"
"""


def test_a_program_cannot_find_data_that_was_not_asked_for():
    """A program's process has no data of a level, even after a worker scored another one there."""
    domain = echoing(workers=1)
    assert domain.at("lockbox").evaluate([{"seed.py": SEED}]).outcome[0] == Outcome.OK
    ran = domain._runs.run({"seed.py": HIDING})
    assert (ran.outcome, ran.value[:2]) == (Outcome.OK, [0.0, 0]), ran
    found = domain.at("lockbox")._runs.run({"seed.py": HIDING})
    assert found.value[0] >= 1  # the search above is one that finds what there is


def test_queries_are_logged_and_the_summary_shows_the_gap(run):
    """Each is an event of the run; what was asked is not asked again.

    Without queries the summary says nothing.
    """
    seen = qdkit.load(run)
    assert not any("validation" in name or "lockbox" in name for name in seen.summary())
    found = seen.validate(2, echoing())
    assert len(found) == 2 and {q.id for q in found} <= set(seen.pool.id.tolist())
    assert seen.validate(2, echoing()) == []
    logged = [value for _, kind, value in seen.ledger.events() if kind == "query"]
    assert [(v["level"], v["id"], v["objective"]) for v in logged] == [
        ("validation", q.id, q.objective) for q in found
    ]
    summary, chosen = seen.summary(), max(found, key=lambda query: query.objective)
    assert summary["queries"] == {"validation": 2, "lockbox": 0} and summary["chosen"] == chosen.id
    of_best = next(q for q in found if q.id == seen.best.id)
    assert (
        summary["best_validation"] == of_best.objective
        and summary["best_gap"] == of_best.searched - of_best.objective
    )
    assert summary["chosen_gap"] == chosen.gap and "lockbox" not in summary


def test_a_lockbox_opens_once(run):
    """For the candidate that validation chose.

    The second time it is refused, and what it held is said.
    """
    seen = qdkit.load(run)
    seen.validate(4, echoing())
    query = seen.open_lockbox(echoing())
    assert query.id == seen.summary()["chosen"] and seen.summary()["lockbox"] == query.objective
    for again in (seen, qdkit.load(run)):
        with pytest.raises(
            RuntimeError, match=f"opens once in a run, and it is open: candidate {query.id}, "
        ):
            again.open_lockbox(echoing())
    assert len(levels.queries(seen.ledger, "lockbox")) == 1


def test_without_validation_a_lockbox_is_opened_for_the_best_of_the_search(tmp_path):
    """A search at work can be asked like a run on disk."""
    with searched(None) as search:
        assert search.open_lockbox().id == search.best.id


def test_a_run_that_is_being_searched_is_not_written_to_by_another(tmp_path):
    """The search itself may ask."""
    with searched(tmp_path / "run") as search:
        with pytest.raises(BlockingIOError, match="another process is writing"):
            qdkit.load(tmp_path / "run").validate(1, echoing())
        assert len(search.validate(1)) == 1


def test_a_search_is_the_same_whether_or_not_it_was_asked(tmp_path):
    """Killed, resumed and asked in between: the candidates are those of the undisturbed run."""
    with searched(tmp_path / "whole", 4) as search:
        whole = search.candidates_frame().drop(columns="notes")
    with searched(tmp_path / "half", 2) as search:
        search.validate()
        search.open_lockbox()
    with searched(tmp_path / "half", 2, resume=True) as search:
        assert search.candidates_frame().drop(columns="notes").equals(whole)
        assert search.summary()["queries"]["lockbox"] == 1


def test_no_model_is_shown_what_was_found_at_another_level(run):
    """Queries are no notes.

    And a note of one of these names, which a referee may keep for a report, is not shown.
    """
    seen = qdkit.load(run)
    seen.validate(5, echoing())
    seen.open_lockbox(echoing())
    pool = seen.pool
    assert not any("validation" in str(note) or "lockbox" in str(note) for note in pool.notes)
    noted = pool.replace(
        notes=[{"validation": 0.123456, "lockbox": 0.654321, "hint": "warm"}] * len(pool)
    )
    shown = edit_prompt(
        "full", "Echo.", ("count", "nodes"), Context(noted, [noted]), list(noted)[:1]
    )
    assert "warm" in shown and "0.123456" not in shown and "0.654321" not in shown


class Hills:
    """Numbers, which at another level are worth one less; those above 0.5 fail there."""

    bounds, levels, held_out = ((0, 1),), ("validation", "lockbox"), False

    def at(self, level):
        made = Hills()
        made.held_out = True
        return made

    def seeds(self, key, n):
        return np.full((n, 1), 0.5)

    def evaluate(self, genomes):
        fails = self.held_out & (genomes[:, 0] > 0.5)
        outcome = np.where(fails, Outcome.FAILED, Outcome.OK)
        notes = [{"error": "too high"} if failed else {} for failed in fails]
        return Evaluation(genomes[:, 0] - self.held_out, genomes, notes=notes, outcome=outcome)


def test_what_fails_at_a_level_has_no_score_there_and_is_never_chosen():
    """Numbers have levels, too: `levels` names them, and `at` gives the domain there."""
    search = qdkit.Search(Hills(), Grid((9,), Hills.bounds), Gaussian(0.2), batch=16, seed=1).run(
        3, progress=False
    )
    found = search.validate()
    failed = [query for query in found if query.searched > 0.5]
    assert failed and all(
        math.isnan(query.objective) and query.error == "too high" for query in failed
    )
    assert all(query.gap == pytest.approx(1.0) for query in found if query not in failed)
    chosen = search.open_lockbox()
    assert chosen.searched == max(query.searched for query in found if query not in failed)


@pytest.mark.parametrize(
    ("domain", "said"),
    [
        (None, "hand it in"),
        (echoing(validation=None), "has no data for validation"),
        (echoing(validation=([1.0, 1.0],)), "the data for validation is not what it was"),
    ],
)
def test_a_domain_without_that_data_is_refused(run, domain, said):
    """Also one with other data than the run began with; nothing is logged."""
    seen = qdkit.load(run)
    with pytest.raises(ValueError, match=said):
        seen.validate(1, domain)
    assert levels.queries(seen.ledger, "validation") == []


@pytest.mark.parametrize("command", ["validate", "open-lockbox"])
def test_a_shell_names_the_domain_of_a_run_again(run, command):
    """Nothing in a file is run because the file says so."""
    with pytest.raises(
        SystemExit, match="searches a domain of your own: name it again with --domain"
    ):
        main([command, str(run)])


def test_a_ledger_holds_the_digest_of_held_out_data_and_not_the_data(run):
    """Who is sent a run cannot read the lockbox in it."""
    about = json.dumps(qdkit.load(run).ledger.about)
    assert "held out, sha256 " in about and "77.25" not in about


def test_the_example_with_data_is_fitted_too_well_and_says_so(tmp_path, capsys, monkeypatch):
    """From the command line: a run ends with its validation.

    A command of its own opens the lockbox, once.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def told(*words):
        with pytest.raises(SystemExit) as end:
            main(words)
        return end.value.code or capsys.readouterr().out

    told("run", "regression", "--evaluations", "60", "--batch", "20", "--out", "r")
    summary = json.loads(told("show", "r", "--json"))
    assert summary["queries"]["validation"] > 1 and summary["best_validation"] < 1
    assert "0 candidates have a validation score" in told("validate", "r", "--best", "2")
    opened = told("open-lockbox", "r")
    assert (
        f"candidate {summary['chosen']:,}".replace(",", "") in opened and "lockbox gap" in opened
    )
    assert "the lockbox opens once in a run, and it is open: candidate" in told(
        "open-lockbox", "r"
    )


def test_the_example_counts_the_measurements_that_a_program_uses():
    """By what it answers when one of them is shuffled, whatever its text mentions."""
    domain = regression(workers=1)
    text = domain.files["seed.py"]
    bodies = {"0.5 + 0 * a": 0, "a": 1, "a * c + b": 3, "sum([a, b, c, d, e, f])": 6}
    made = [
        {"seed.py": text.replace("0.5 + 0.1 * a + 0.1 * math.sin(b)", body)} for body in bodies
    ]
    assert [place[0] for place in domain.evaluate(made).descriptor] == list(bodies.values())
    best = "0.8 * a + 0.4 * b**2 - 0.5 * a * c"
    truth = {"seed.py": text.replace("0.5 + 0.1 * a + 0.1 * math.sin(b)", best)}
    assert all(
        d.evaluate([truth]).objective[0] > 0.7
        for d in (domain, domain.at("validation"), domain.at("lockbox"))
    )


OWN = """
import numpy as np
from qdkit import Evaluation

class Held:
    bounds, names, floor, levels = ((0, 1), (0, 1)), ("x", "y"), 0.0, ("validation", "lockbox")
    def seeds(self, key, n):
        return np.linspace(0, 1, 2 * n).reshape(n, 2)
    def evaluate(self, genomes):
        return Evaluation(genomes.sum(1), genomes)
    def at(self, level):
        return self
    def draw(self, genome, ax):
        ax.set_title("drawn by the domain")
"""


@pytest.mark.parametrize("command", ["validate", "open-lockbox", "show"])
def test_pictures_are_drawn_by_the_domain_that_a_shell_names(command, tmp_path, monkeypatch):
    """Not as rows of numbers or as text, over the pictures that the run had."""
    from qdkit import viz

    (tmp_path / "own.py").write_text(OWN)
    domain, run = f"{tmp_path / 'own.py'}:Held", tmp_path / "run"
    with pytest.raises(SystemExit, match="0"):
        main(["run", domain, "--evaluations", "32", "--batch", "8", "--out", str(run)])
    for picture in run.glob("*.png"):
        picture.unlink()
    drawn = []
    overview = viz.overview
    monkeypatch.setattr(viz, "overview", lambda seen: drawn.append(overview(seen)) or drawn[-1])
    with pytest.raises(SystemExit, match="0"):
        main([command, str(run), "--domain", domain])
    assert {path.name for path in run.glob("*.png")} >= {"overview.png", "gallery.png"}
    assert "drawn by the domain" in [ax.get_title() for ax in drawn[0].axes]

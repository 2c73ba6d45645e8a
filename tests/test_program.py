"""Programs: scores of good, bad and hostile programs, and searches from the command line."""

from __future__ import annotations

import json
import math
import pickle
import threading

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

import qdkit
from qdkit.archives import Grid
from qdkit.cli import catalog
from qdkit.cli.commands import main
from qdkit.core.types import Evaluation, Outcome
from qdkit.domains.mathematics.problem import RefereeScore
from qdkit.domains.program import Program
from qdkit.domains.solvers import circle_packing
from qdkit.operators import Patch, Syntax
from qdkit.programs.sandbox import Ran, Sandbox
from qdkit.testing import ModelServer, check_domain

KEY = jax.random.key(0)
SEED = """import math

# EVOLVE-BLOCK-START
def numbers(n):
    return [math.sin(2 * i) for i in range(n)]


# EVOLVE-BLOCK-END


def solve(n):
    return numbers(n)
"""


def referee(output):
    """The sum of the numbers, and how many there are."""
    return sum(output), (len(output),)


def summing(**settings) -> Program:
    usual = {
        "bounds": ((0, 10), (0, 20)),
        "names": ("count", "lines"),
        "arguments": (4,),
        "floor": -10.0,
    }
    settings = {**usual, **settings}
    return Program(
        {"seed.py": SEED},
        "seed.py:solve",
        "Great numbers, please.",
        **{"referee": referee, **settings},
    )


def returning(expression: str) -> dict[str, str]:
    """The seed with another body."""
    return {"seed.py": SEED.replace("[math.sin(2 * i) for i in range(n)]", expression)}


@pytest.fixture(scope="module")
def domain():
    return summing(seconds=1.0)


def row(found: Evaluation, i: int = 0) -> RefereeScore:
    return RefereeScore(found.objective[i], found.descriptor[i], found.notes[i], found.outcome[i])


def test_a_program_is_scored_by_what_it_returns(domain):
    """Values of the referee and measures of the program are in the order of the axes' names."""
    found = row(domain.evaluate(domain.seeds(KEY, 3)))
    assert found.outcome == Outcome.OK and found.objective == pytest.approx(
        sum(math.sin(2 * i) for i in range(4))
    )
    assert found.descriptor == (4, 7)
    assert 0 < found.notes["cpu_seconds"] < 1


def test_a_program_domain_keeps_the_promises_of_domains(domain):
    """As any other domain."""
    check_domain(domain)


@pytest.mark.parametrize(
    ("expression", "outcome", "message"),
    [
        ("1 / 0", "failed", "ZeroDivisionError"),
        ("(", "invalid", "SyntaxError"),
        ("'0' * 10**7", "invalid", "bytes"),
        ("'many'", "failed", "the referee stopped at what it returned: TypeError"),
        ("[[]]", "failed", "the referee stopped"),
        ("exit()", "failed", ""),
        (
            "[float('nan')]",
            "ok",
            "",
        ),  # whether nan is a score is decided for all domains at one place
        ("{i for i in range(n)}", "invalid", "set"),
    ],
)
def test_a_bad_program_fails_alone_and_says_why(domain, expression, outcome, message):
    """The good one beside it is scored."""
    found = domain.evaluate([returning(expression), returning("[2.0, 3.0]")])
    assert found.outcome[0] == outcome and row(found, 1).objective == 5
    assert found.outcome[0] == "ok" or (
        math.isnan(found.objective[0]) and np.isnan(found.descriptor[0]).all()
    )
    import re

    assert re.search(message, found.notes[0].get("error", ""))


def test_a_program_that_does_not_end_is_stopped():
    """After the seconds that a program has."""
    found = row(summing(seconds=0.3).evaluate([returning("[0 for i in iter(int, 1)]")]))
    assert found.outcome == Outcome.TIMEOUT


@pytest.mark.parametrize(
    ("genome", "message"),
    [
        (
            {"seed.py": SEED.replace("return numbers(n)", "return [99]")},
            "changed outside its EVOLVE-BLOCK marks",
        ),
        ({"seed.py": SEED.replace("# EVOLVE-BLOCK-END", "")}, "come in pairs"),
        ({}, "seed.py is missing"),
        ({"seed.py": SEED, "more.py": ""}, "more.py is not one of the program's files"),
        ("a text", "a program is a mapping path -> text, not a str"),
    ],
)
def test_what_is_outside_the_marks_cannot_change(domain, genome, message):
    """Such a program is invalid, and is not run."""
    found = row(domain.evaluate([genome]))
    assert (
        found.outcome == Outcome.INVALID
        and message in found.notes["error"]
        and "cpu_seconds" not in found.notes
    )


def test_a_program_that_is_too_long_or_no_text_is_invalid(domain):
    """Neither is parsed, compared or run."""
    long = {"seed.py": SEED.replace("numbers(n):", "numbers(n):  #" + "y" * 200_000)}
    found = domain.evaluate([long, {"seed.py": 7}, {7: SEED}])
    assert (
        list(found.outcome) == [Outcome.INVALID] * 3
        and "characters, and 200,000 are allowed" in found.notes[0]["error"]
    )
    assert domain.form(long).startswith("the program has") and len(domain.form(long)) < 200


@pytest.mark.parametrize(
    "deep", ["-" * 5000 + "1", "(" * 150 + "1" + ")" * 150, "0x" + "f" * 9000, "1" + "+1" * 20_000]
)
def test_what_is_nested_too_deeply_is_the_outcome_of_one_candidate(domain, deep):
    """Nothing that the domain computes of a program raises."""
    program = returning(f"[{deep}]")
    assert domain.form(program) and row(domain.evaluate([program])).outcome in (
        "ok",
        "failed",
        "invalid",
    )


def test_what_a_program_prints_is_kept_and_is_no_score(domain):
    """The end of it is in the notes."""
    found = row(domain.evaluate([returning("print('objective: 1000') or [1.0]")]))
    assert found.objective == 1 and found.notes["output"] == "objective: 1000\n"


@pytest.mark.parametrize(
    "answer",
    [
        (2.0, (1.0,), {"a": 1}),
        RefereeScore(2.0, (1.0,), {"a": 1}),
        Evaluation([2.0], [(1.0,)], notes=[{"a": 1}]),
    ],
)
def test_a_referee_may_return_its_score_in_three_forms(answer):
    """A tuple, a `RefereeScore` and an `Evaluation` of one mean the same."""
    found = row(summing(referee=lambda output: answer).evaluate([{"seed.py": SEED}]))
    assert found.objective == 2 and found.descriptor[0] == 1 and found.notes["a"] == 1


def test_a_number_is_a_score_where_all_axes_are_counted():
    """A referee without descriptors leaves the map to what can be counted in a program."""
    found = row(
        summing(referee=len, bounds=((0, 9), (0, 9)), names=("imports", "loops")).evaluate(
            [{"seed.py": SEED}]
        )
    )
    assert found.objective == 4 and found.descriptor == (1, 1)


def test_the_refusal_of_a_referee_fails_the_candidate():
    """Its outcome and its reason are the candidate's."""
    refused = RefereeScore(math.nan, (), {"error": "too small"}, Outcome.FAILED)
    found = row(summing(referee=lambda output: refused).evaluate([{"seed.py": SEED}]))
    assert (
        found.outcome == Outcome.FAILED
        and found.notes["error"] == "too small"
        and np.isnan(found.descriptor).all()
    )


def test_a_referee_with_too_few_descriptors_fails_with_a_reason(domain):
    """The error names the axes that are the referee's."""
    found = row(summing(referee=len).evaluate([{"seed.py": SEED}]))
    assert (
        "the referee gives 0 descriptors, and these are its axes: ['count']"
        in found.notes["error"]
    )


def test_a_program_lost_by_the_sandbox_is_run_once_more(monkeypatch):
    """Then it is recorded as nobody's fault."""
    lost = Ran(Outcome.INFRASTRUCTURE, None, "a worker was lost", "", math.nan, math.nan)
    done = Ran(Outcome.OK, [1.0], "", "", 0.1, 0.1)
    for answers, outcome in (([lost, done], Outcome.OK), ([lost, lost], Outcome.INFRASTRUCTURE)):
        with monkeypatch.context() as patch:
            patch.setattr(Sandbox, "run", lambda *_, answers=answers: answers.pop(0))
            found = row(summing().evaluate([{"seed.py": SEED}]))
        assert found.outcome == outcome and not answers


def test_programs_run_side_by_side(monkeypatch):
    """As many as there are workers: two that wait for each other both come to their end."""
    meeting = threading.Barrier(2, timeout=10)

    def run(*_):
        meeting.wait(60)
        return Ran(Outcome.OK, [1.0], "", "", 0.1, 0.1)

    monkeypatch.setattr(Sandbox, "run", run)
    assert row(summing(workers=2).evaluate([{"seed.py": SEED}] * 2), 1).outcome == Outcome.OK


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"entry": "main.py:solve"}, "entry names a function of one of the files seed.py"),
        ({"entry": "seed.py"}, "entry names a function"),
        ({"files": {"seed.py": "# EVOLVE-BLOCK-START"}}, "come in pairs"),
        ({"names": ("count",)}, "2 bounds came with 1 names"),
    ],
)
def test_mistakes_in_a_domain_are_refused_at_once(settings, message):
    """With a sentence that says what was expected."""
    whole = {"files": {"seed.py": SEED}, "entry": "seed.py:solve", "task": "", "referee": referee}
    with pytest.raises(ValueError, match=message):
        Program(**{**whole, **settings})


def test_a_domain_travels_to_other_processes():
    """Its sandbox does not: it is started there."""
    again = pickle.loads(pickle.dumps(summing()))
    assert row(again.evaluate([{"seed.py": SEED}])).outcome == Outcome.OK


def test_a_domain_draws_outputs_or_else_the_text():
    """A program is run once for its picture.

    One that fails, and a domain without `draws`, show the text.
    """
    drawn = []
    domain = summing(draws=lambda output, ax: drawn.append(output) or ax)
    ax = Figure().subplots()
    assert domain.draw(returning("[2.0]"), ax) is ax and drawn == [[2.0]] and not ax.texts
    for of, genome in ((domain, returning("1 / 0")), (summing(), returning("[2.0]"))):
        ax = Figure().subplots()
        assert of.draw(genome, ax) is ax and "def numbers" in ax.texts[0].get_text()
    assert len(drawn) == 1


def test_an_output_that_cannot_be_drawn_is_shown_as_text():
    """A referee may pass what a drawing stumbles over.

    Half a picture is taken away, and the reason stands first.
    """

    def draws(output, ax):
        ax.plot([1, 2])
        ax.eventplot(output)

    ax = Figure().subplots()
    domain = summing(referee=lambda output: (1.0, (1,)), draws=draws)
    assert domain.draw(returning("['a', 2]"), ax) is ax and not ax.lines and not ax.collections
    text = ax.texts[0].get_text()
    assert text.startswith("not drawn: ") and "['a', 2]" in text


@pytest.mark.filterwarnings("error")
def test_a_text_is_drawn_without_control_characters():
    """No font has them: a sign stands in their place, as in the pictures of all other domains."""
    figure = Figure()
    ax = summing().draw({"seed.py": "# \x1b[2J \x00 \u202e\n"}, figure.subplots())
    figure.canvas.draw()
    assert ax.texts[0].get_text() == "# �[2J � �\n"


def test_one_seed_makes_one_run(tmp_path):
    """However the workers are timed; measured times do not count."""

    def dump(name):
        domain = summing(names=("count", "nodes"), bounds=((0, 10), (0, 80)))
        search = qdkit.Search(
            domain, Grid((5, 8), domain.bounds), Syntax(), batch=6, seed=3, folder=tmp_path / name
        )
        search.run(4)
        record = search.ledger.dump(), search.summary()
        search.close()
        return record

    (one, summary), (other, _) = dump("a"), dump("b")
    assert one == other and summary["occupied"] > 1


FOLDER = {
    "seed.py": SEED,
    "task.md": "Great numbers, please.",
    "score.py": """
NAMES, BOUNDS, ARGUMENTS = ("count", "nodes"), ((0, 10), (0, 100)), (3,)

def score(output):
    return sum(output), (len(output),)

def draw(output, ax):
    ax.plot(output)
    return ax
""",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a domain, and another to run in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    home = tmp_path / "sums"
    home.mkdir()
    for name, text in FOLDER.items():
        (home / name).write_text(text)
    return home


def cli_output(capsys, *words: str) -> str:
    """What a command prints, or says as it refuses."""
    try:
        main(words)
        code = ""
    except SystemExit as end:
        code = end.code or ""
    return f"{capsys.readouterr().out} {code}"


def test_a_folder_is_run_resumed_and_shown(folder, capsys):
    """`qdkit run FOLDER` searches it, and says how its programs are isolated."""
    printed = cli_output(
        capsys, "run", "sums", "--evaluations", "30", "--batch", "10", "--shape", "5", "5"
    )
    assert "results/sums-1" in printed and "sandbox" in printed and "gallery.png" in printed
    summary = json.loads(cli_output(capsys, "show", "results/sums-1", "--json"))
    assert summary["evaluations"] == 30 and summary["sandbox"].startswith(
        ("bubblewrap", "landlock")
    )
    assert qdkit.load("results/sums-1").domain is None  # a file is not trusted to name code
    cli_output(capsys, "resume", "results/sums-1", "--domain", "sums", "--evaluations", "40")
    assert json.loads(cli_output(capsys, "show", "results/sums-1", "--json"))["evaluations"] == 40
    assert "gallery.png" in cli_output(capsys, "show", "results/sums-1", "--domain", "sums")


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (
            "score.py",
            "there is no sums/score.py: a folder with a program to evolve has one, the referee",
        ),
        (
            "task.md",
            "there is no sums/task.md: a folder with a program to evolve has one, what a program "
            "is to do",
        ),
        (
            "seed.py",
            "there is no sums/seed.py: a folder with a program to evolve has one, the program to "
            "start from",
        ),
    ],
)
def test_a_folder_without_one_of_its_files_is_refused(folder, capsys, gone, message):
    """The sentence names the file."""
    (folder / gone).unlink()
    assert message in cli_output(capsys, "run", "sums", "--evaluations", "5")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("seed.py", b"# EVOLVE-BLOCK-END", "seed.py: EVOLVE-BLOCK-START"),
        ("seed.py", b"x = '\xff'", "sums/seed.py is to be text in UTF-8, and its byte 5 is not"),
        ("task.md", b"\xff", "sums/task.md is to be text in UTF-8"),
    ],
)
def test_a_folder_with_a_broken_file_is_refused(folder, capsys, name, content, message):
    """The sentence names the file, and says what is wrong with it."""
    (folder / name).write_bytes(content)
    assert message in cli_output(capsys, "run", "sums", "--evaluations", "5")


SETTING = 'NAMES, BOUNDS, ARGUMENTS = ("count", "nodes"), ((0, 10), (0, 100)), (3,)'
NOT_A_SCORE = (
    "the referee returns a number, (objective, descriptor) or (objective, descriptor, notes)"
)


def scoring(old: str, new: str) -> str:
    """The referee of the folder with a mistake."""
    assert old in FOLDER["score.py"]
    return FOLDER["score.py"].replace(old, new)


MISTAKES = [
    ("seed.py", "", "seed.py has no function solve, which is what is called"),
    (
        "seed.py",
        "def solve(n):\n    return (\n",
        "seed.py is not Python: '(' was never closed (line 2)",
    ),
    (
        "seed.py",
        SEED.replace("# EVOLVE-BLOCK-END", ""),
        "seed.py: EVOLVE-BLOCK-START and EVOLVE-BLOCK-END come in pairs",
    ),
    ("seed.py", "import scipy\n" + SEED, "nothing to start from; the first: Traceback"),
    (
        "seed.py",
        "def solve():\n    return [1]\n",
        "solve() takes 0 positional arguments but 1 was given",
    ),
    (
        "score.py",
        "def score(output)\n    return 1\n",
        "sums/score.py is not Python: expected ':' (line 1)",
    ),
    (
        "score.py",
        "\n\nx = 1 / 0\n",
        "sums/score.py stops as it is imported: ZeroDivisionError: division by zero (line 3 ",
    ),
    (
        "score.py",
        "import nothing_here\n",
        "sums/score.py stops as it is imported: ModuleNotFoundError",
    ),
    (
        "score.py",
        "import sys\nsys.exit(3)\n",
        "sums/score.py stops as it is imported: SystemExit: 3 (line 2 ",
    ),
    ("score.py", "score = 1\n", "sums/score.py has no function score(output)"),
    (
        "score.py",
        scoring("(output):", "():"),
        "the referee is called as score(output), and this one cannot be",
    ),
    (
        "score.py",
        scoring("\nNAMES", "ENTRY = 7\nNAMES"),
        "entry names a function of one of the files seed.py, such as",
    ),
    (
        "score.py",
        scoring("\nNAMES", "ENTRY = 'seed.py:no'\nNAMES"),
        "seed.py has no function no, which is what is called",
    ),
    (
        "score.py",
        scoring('("count", "nodes")', '("count",)'),
        "every axis has a name: 2 bounds came with 1 names",
    ),
    (
        "score.py",
        scoring('("count", "nodes")', '"nodes"'),
        "names is a tuple, with a comma at its end",
    ),
    (
        "score.py",
        scoring("((0, 10), (0, 100))", "(0, 10)"),
        "bounds has an entry (low, high) for each axis, not 0",
    ),
    (
        "score.py",
        scoring("(3,)", "3"),
        "arguments is a tuple, with a comma at its end if it has one entry, not 3",
    ),
    (
        "score.py",
        scoring("(3,)", "({1, 2},)"),
        "arguments is made of numbers, texts, lists, mappings and numpy arrays",
    ),
    (
        "score.py",
        scoring("\nNAMES", "SECONDS = '2'\nNAMES"),
        "seconds is a number greater than 0, not '2'",
    ),
    (
        "score.py",
        scoring("\nNAMES", "PRELOAD = 'numpy'\nNAMES"),
        "preload is a tuple, with a comma at its end",
    ),
    ("score.py", scoring("\nNAMES", "FLOOR = None\nNAMES"), "floor is a number, not None"),
    (
        "score.py",
        scoring("\nNAMES", "VALIDATION = (4,)\nNAMES"),
        "def score(output, level), where level is 'search'",
    ),
    ("score.py", scoring("sum(output), (len(output),)", "None"), f"{NOT_A_SCORE}"),
    ("score.py", scoring("sum(output), (len(output),)", "'0.5', (1,)"), f"{NOT_A_SCORE}"),
    ("score.py", scoring("sum(output), (len(output),)", "[1.0, (1,)]"), f"{NOT_A_SCORE}"),
    ("score.py", scoring("sum(output), (len(output),)", "1.0, 2.0"), f"{NOT_A_SCORE}"),
    (
        "score.py",
        scoring("(len(output),)", "(float('nan'),)"),
        "the first: its descriptor is [nan, ",
    ),
    (
        "score.py",
        scoring("def draw(output, ax):", "draw = 3\ndef no(output, ax):"),
        "draw is a function draw(output, ax)",
    ),
]


@pytest.mark.parametrize(
    ("name", "text", "message"), MISTAKES, ids=[f"{i}" for i in range(len(MISTAKES))]
)
def test_mistakes_in_a_folder_have_a_plain_message(folder, capsys, name, text, message):
    """The message has what was expected, what came, the file and its line, and no traceback."""
    (folder / name).write_text(text)
    answer = cli_output(capsys, "run", "sums", "--evaluations", "2", "--batch", "2")
    assert "qdkit: " in answer and message in answer


def test_a_folder_may_have_programs_of_several_files(folder):
    """All below `seed` are one program, each with its path."""
    (folder / "seed.py").unlink()
    (folder / "seed").mkdir()
    (folder / "seed" / "main.py").write_text(
        "from seed.more import numbers\n\ndef solve(n):\n    return numbers(n)\n"
    )
    (folder / "seed" / "more.py").write_text("def numbers(n):\n    return [1] * n\n")
    domain = Program.folder(folder, entry="seed/main.py:solve")
    assert (
        sorted(domain.files) == ["seed/main.py", "seed/more.py"]
        and row(domain.evaluate(domain.seeds(KEY, 1)))[0] == 3
    )


def test_the_table_shows_each_error_in_one_line(folder, capsys):
    """The end of a traceback, and errors that end alike are counted together.

    The notes hold all of it.
    """
    lines = [
        "    if len(output) == 3 and output[0] < 2: return 1.0, (1,)",
        "    raise ValueError('no good')",
    ]
    (folder / "score.py").write_text(
        FOLDER["score.py"].replace("    return sum(output), (len(output),)", "\n".join(lines))
    )
    (folder / "seed.py").write_text(SEED.replace("math.sin(2 * i)", "1 / i if i else 1"))
    printed = cli_output(
        capsys,
        "run",
        "sums",
        "--evaluations",
        "30",
        "--batch",
        "10",
        "--shape",
        "5",
        "5",
        "--out",
        "r",
    )
    printed = " ".join(printed.split())  # lines are wrapped
    assert (
        "ZeroDivisionError: division by zero" in printed
        and "Traceback" not in printed
        and "File" not in printed
    )
    assert any(
        "Traceback" in error
        for error in json.loads(cli_output(capsys, "show", "r", "--json"))["errors"]
    )


def test_circle_packing_runs_and_is_shown(folder, capsys):
    """A run of the built-in problem with few circles draws a map, the best packing, a gallery."""
    words = [
        "run",
        "circle_packing",
        "--n",
        "5",
        "--evaluations",
        "30",
        "--batch",
        "15",
        "--out",
        "r",
    ]
    printed = cli_output(capsys, *words)
    assert "overview.png" in printed and "gallery.png" in printed
    summary = json.loads(cli_output(capsys, "show", "r", "--json"))
    assert summary["evaluations"] == 30 and summary["best_objective"] > 0
    assert "gallery.png" in cli_output(capsys, "show", "r")


def test_a_seed_that_fails_stops_the_run_with_its_error(folder, capsys):
    """There is nothing to start from, and the reason is the program's own."""
    (folder / "seed.py").write_text("def solve(n):\n    return [1 / (n - 3)]\n")
    assert "no seed could enter" in (
        printed := cli_output(capsys, "run", "sums", "--evaluations", "1")
    )
    assert "ZeroDivisionError: division by zero" in printed


def test_models_join_the_edits_without_one(folder, capsys, monkeypatch):
    """With `--model` repeated, each model edits programs beside the syntax operator."""
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with ModelServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        words = [
            "run",
            "sums",
            "--model",
            "a",
            "--model",
            "b",
            "--in-flight",
            "4",
            "--evaluations",
            "24",
            "--out",
            "r",
        ]
        cli_output(capsys, *words)
    run = qdkit.load("r")
    frame = run.candidates_frame()
    assert {origin.partition(" ")[0] for origin in frame.origin} >= {
        "seed",
        "syntax",
    } and run.summary()["calls"] > 4
    assert (frame[~frame.origin.isin(["seed", "syntax"])].outcome == "ok").any()


def test_without_isolation_the_same_problem_is_searched_as_numbers(folder, capsys, monkeypatch):
    """It is said, and programs run without walls only if that is asked for by name."""
    monkeypatch.setattr(catalog, "isolated", lambda: False)
    printed = cli_output(
        capsys,
        "run",
        "circle_packing",
        "--n",
        "3",
        "--evaluations",
        "20",
        "--batch",
        "4",
        "--out",
        "r",
    )
    assert "circle_packing_numbers" in printed and "--sandbox none" in printed
    assert qdkit.load("r").domain.n == 3
    words = [
        "run",
        "circle_packing",
        "--n",
        "3",
        "--evaluations",
        "1",
        "--sandbox",
        "none",
        "--out",
        "s",
    ]
    assert "limits alone" in " ".join(cli_output(capsys, *words).split())


def test_the_seed_of_circle_packing_is_a_packing_for_any_number():
    """The program to start from answers for few circles and for many."""
    for n in (1, 2, 7, 26, 32):
        domain = circle_packing(n=n)
        assert row(domain.evaluate(domain.seeds(KEY, 1))).outcome == Outcome.OK


def test_the_same_search_asks_a_model_the_same_questions():
    """A prompt holds nothing that is measured, or recorded responses would not be found again."""
    asked: list[list[str]] = []
    for _ in range(2):
        asked.append([])
        patching = Patch(
            lambda prompt, asked=asked[-1]: asked.append(prompt) or "no patch",
            "Place the circles well.",
            name="p",
        )
        domain = circle_packing(n=5)
        grid = Grid((4, 4), domain.bounds)
        qdkit.Search(domain, grid, patching, batch=1, seed=1).run(3, progress=False)
    assert asked[0] and asked[0] == asked[1]
    assert "cpu_seconds" not in asked[0][0]

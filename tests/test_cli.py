"""The command line, as its users meet it."""

from __future__ import annotations

import json

import pytest

import qdkit
from qdkit.cli.commands import main

SMALL = [
    "run",
    "arm",
    "--evaluations",
    "300",
    "--batch",
    "100",
    "--joints",
    "3",
    "--shape",
    "6",
    "6",
    "--seed",
    "2",
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Each test has a folder of its own to run in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")


def out(capsys, *words):
    """What a command prints; it may end by returning or by exiting with 0."""
    try:
        main(words)
    except SystemExit as end:
        assert not end.code, end.code
    return capsys.readouterr().out


def refused(capsys, *words):
    """What a command says when it refuses."""
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code
    shown = capsys.readouterr()
    return " ".join(f"{end.value.code} {shown.out} {shown.err}".replace("│", " ").split())


def test_run_show_resume(capsys, tmp_path):
    """A run fills a folder; show tells of it in words, JSON and pictures.

    Resume takes it further.
    """
    text = out(capsys, *SMALL, "--out", "results/a")
    assert "kept in results/a" in text and "coverage" in text and "overview.png" in text
    for name in ("run.db", "elites.npz", "overview.png"):
        assert (tmp_path / "results" / "a" / name).stat().st_size > 1000
    summary = json.loads(out(capsys, "show", "results/a", "--json"))
    assert summary["evaluations"] == 300 and 0 < summary["coverage"] <= 1
    assert {
        "evaluations",
        "coverage",
        "qd_score",
        "best_objective",
        "occupied",
        "seconds",
    } <= summary.keys()
    out(capsys, "resume", "results/a", "--evaluations", "500")
    assert json.loads(out(capsys, "show", "results/a", "--json"))["evaluations"] == 500
    run = qdkit.load("results/a")
    assert run.domain.joints == 3 and run.archive.shape == (6, 6) and run.ledger.about["seed"] == 2


def test_a_run_is_steered_by_words_and_goes_on_as_it_began(capsys):
    """Parents by a rule, islands, and an end of its own.

    A resumed run knows them, and a comparison one map.
    """
    steered = [
        "--parents",
        "weighted",
        "--fresh",
        "0.1",
        "--islands",
        "3",
        "--migrate",
        "1",
        "--target",
        "-0.01",
    ]
    out(capsys, *SMALL, "--out", "a", *steered, "--baseline", "climb")
    text = " ".join(out(capsys, *SMALL, "--out", "b", *steered).split())
    assert "into 36 cells on each of 3 islands" in text and "the target -0.01" in text
    run = qdkit.load("b")
    assert run.archive.count == 3 and "Restarts(rule=Weighted(" in run.ledger.about["parents"]
    assert run.summary()["cells"] == 36 and run.commits[-1].best >= -0.01
    steps = len(run.commits)
    out(capsys, "resume", "b", "--evaluations", "600")
    assert len(qdkit.load("b").commits) == steps, "the target is met"
    assert json.loads(out(capsys, "compare", "a", "b", "--json"))["map"]["cells"] == 36


def test_everything_is_tried_again_where_novelty_is_none(capsys):
    """What is known is not evaluated by default, is told of in the summary, and is evaluated on
    request.
    """
    words = ["run", "words", "--evaluations", "300", "--batch", "50", "--seed", "3"]
    summary = json.loads(out(capsys, *words, "--out", "a") and out(capsys, "show", "a", "--json"))
    assert summary["rejections"] == {"form": summary["outcomes"]["rejected"]}
    summary = json.loads(
        out(capsys, *words, "--novelty", "none", "--out", "b")
        and out(capsys, "show", "b", "--json")
    )
    assert summary["rejections"] == {} and "rejected" not in summary["outcomes"]
    out(capsys, "resume", "b", "--evaluations", "350")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--fresh", "1.5"], "--fresh is a share"),
        (["--islands", "0"], "--islands is 1 or more"),
        (["--islands", "1000000000"], "all islands together may have 5,000,000"),
        (["--lessons", "-1"], "--lessons is a number of candidates"),
        (["--patience", "0"], "--patience is a number of evaluations"),
        (["--target", "nan"], "a target is a finite number"),
        (["--target", "inf"], "a target is a finite number"),
    ],
)
def test_steering_that_makes_no_sense_is_refused_before_there_is_a_folder(
    capsys, tmp_path, words, said
):
    """In the words of the shell."""
    assert said in refused(capsys, *SMALL, "--out", "a", *words)
    assert not (tmp_path / "a").exists()


def test_a_mistake_of_the_code_is_not_told_as_a_sentence(monkeypatch):
    """A key that is not there is a bug, and has its traceback."""
    monkeypatch.setattr("qdkit.cli.commands.show_run", lambda seen, path: {}["parents"])
    with pytest.raises(KeyError):
        main([*SMALL, "--out", "a"])


def test_a_run_with_baselines_ends_in_a_picture_of_all(capsys, tmp_path):
    """As the README's first command does."""
    out(capsys, *SMALL, "--out", "a", "--against", "independent", "climb")
    assert (tmp_path / "a" / "comparison.png").stat().st_size > 1000


def test_a_run_without_a_folder_takes_the_next_free_one(capsys):
    """Nothing is written over."""
    assert "results/arm-1" in out(capsys, *SMALL)
    assert "results/arm-2" in out(capsys, *SMALL)


@pytest.mark.parametrize(
    "words",
    [
        ["words", "--batch", "20"],
        [
            "sphere",
            "--dimensions",
            "10",
            "--archive",
            "cvt",
            "--cells",
            "20",
            "--operator",
            "gaussian",
            "--sigma",
            "0.4",
        ],
        [
            "unit_arm",
            "--joints",
            "4",
            "--operator",
            "cma-me",
            "--emitters",
            "2",
            "--ranker",
            "imp",
        ],
    ],
)
def test_the_options_of_every_part_can_be_set(capsys, words):
    """Domains, archives and operators bring their own options."""
    out(
        capsys,
        "run",
        *words,
        "--evaluations",
        "40",
        *([] if "--batch" in words else ["--batch", "20"]),
        "--out",
        "r",
    )
    assert qdkit.load("r").summary()["evaluations"] == 40


OWN = '''
from qdkit.domains.words import Respell
from qdkit import Evaluation

class Lengths:
    """Words by their length.

    start: the first word.
    """
    bounds = ((0, 20),)
    operators = {"respell": Respell}

    def __init__(self, start: str = "diversity"):
        self.start = start

    def seeds(self, key, n):
        return [self.start]

    def evaluate(self, genomes):
        return Evaluation([len(set(word)) for word in genomes], [(len(word),) for word in genomes])
'''


def test_a_domain_of_ones_own(capsys, tmp_path):
    """A file and a module are named with their object; its settings are options.

    To go on it is named again.
    """
    (tmp_path / "own.py").write_text(OWN)
    help = out(capsys, "run", "own.py:Lengths", "--help")
    assert "--start" in help and "the first word" in help
    out(
        capsys,
        "run",
        "own.py:Lengths",
        "--start",
        "quality",
        "--evaluations",
        "30",
        "--batch",
        "10",
        "--out",
        "r",
    )
    assert qdkit.load("r").genome(0) == "quality" and qdkit.load("r").domain is None
    assert "name it again with --domain own.py:Lengths" in refused(capsys, "resume", "r")
    out(capsys, "resume", "r", "--domain", "own.py:Lengths", "--evaluations", "50")
    assert qdkit.load("r").summary()["evaluations"] == 50


def test_help_shows_every_option_with_its_default(capsys):
    """`run arm --help` lists the options of the parts that would be used."""
    help = out(capsys, "run", "arm", "--help")
    for option in (
        "--evaluations",
        "--seed",
        "--out",
        "--joints",
        "--shape",
        "--iso",
        "--line",
        "[default: 12]",
    ):
        assert option in help
    assert "--cells" in out(capsys, "run", "arm", "--archive", "cvt", "--help")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "legs"], "no domain 'legs': take one of arm"),
        (["run", "nowhere.at:All"], "no module nowhere"),
        (["run", "nothing.py:All"], "no file nothing.py"),
        (["run", "qdkit.domains.arm:Leg"], "has no Leg; it has Arm, UnitArm, PosedArm"),
        (["run", "arm", "--operator", "magic"], "no operator 'magic'.*line, gaussian, cma-me"),
        (["run", "arm", "--joints", "0"], "joints is 0"),
        (["run", "arm", "--shape", "0", "5"], "whole number of cells, at least one"),
        (["run", "arm", "--shape", "5"], "shape has 1 axes and bounds has 2"),
        (["run", "arm", "--evaluations", "0"], "budget of 0 evaluations buys nothing"),
        (["run", "arm", "--evaluations", "-3"], "budget of -3 evaluations"),
        (["run", "arm", "--batch", "0"], "batch is 0"),
        (["run", "arm", "--joint", "3"], "Did you mean --joints"),
        (
            ["run", "arm", "--operator", "cma-me", "--emitters", "3"],
            "3 emitters cannot share a batch of 1000",
        ),
        (["show", "nowhere"], "nowhere holds no run"),
        (["resume", "nowhere"], "nowhere holds no run"),
    ],
)
def test_mistakes_are_answered_with_a_sentence(capsys, tmp_path, words, said):
    """Each says what was expected, what came and the mend; nothing is left behind."""
    import re

    assert re.search(said, refused(capsys, *words))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_a_run_is_not_written_over(capsys):
    """`run --out` into a run is refused with what to do instead."""
    out(capsys, *SMALL, "--out", "a")
    assert "holds a run already" in refused(capsys, *SMALL, "--out", "a")


def test_doctor_says_what_is_there(capsys):
    """Versions, devices and extras."""
    report = out(capsys, "doctor").lower()
    for name in (
        "qdkit",
        "python",
        "numpy",
        "jax",
        "ribs",
        "devices",
        "cpu",
    ):  # or TFRT_CPU_0, as old jax says it
        assert name in report


STRANGE = "[bold]loud[/] [/] :warning: \x1b[2J\x1b]0;title\x07 \u202e"
LYING = f"""
class Lying:
    bounds = ((0, 20),)

    def seeds(self, key, n):
        return ["quality", "diversity"]

    def evaluate(self, genomes):
        from qdkit import Evaluation
        ok = [word == "quality" for word in genomes]
        said = [{{}} if fine else {{"error": {STRANGE!r}}} for fine in ok]
        outcome = ["ok" if fine else "failed" for fine in ok]
        return Evaluation([1.0 for _ in ok], [(1,) for _ in ok], notes=said, outcome=outcome)
"""


def test_what_candidates_say_does_not_style_or_steer_the_terminal(capsys, tmp_path):
    """An error that holds markup or escape codes is shown as it is, its control characters as a
    sign; so are paths.
    """
    (tmp_path / "own.py").write_text(
        LYING + "\n    from qdkit.domains.words import Respell\n    operators = {'r': Respell}\n"
    )
    text = out(
        capsys, "run", "own.py:Lying", "--evaluations", "6", "--batch", "2", "--out", "a[/]b"
    )
    assert "kept in a[/]b" in text and "drawn: a[/]b/overview.png" in text
    text = out(capsys, "show", "a[/]b")
    assert (
        "[bold]loud[/] [/] :warning: �[2J�]0;title�" in " ".join(text.split())
        and "\x1b" not in text
    )
    (tmp_path / "own.py").write_text(LYING.replace('word == "quality"', "False"))
    text = refused(capsys, "run", "own.py:Lying", "--evaluations", "6", "--out", "b")
    assert "[bold]loud[/]" in text and "\x1b" not in text


def test_a_damaged_run_is_refused_in_a_sentence(capsys, tmp_path):
    """Not in a traceback."""
    (tmp_path / "run.db").write_bytes(b"garbage" * 1000)
    for command in ("show", "resume"):
        assert "cannot be read as a run" in refused(capsys, command, ".")

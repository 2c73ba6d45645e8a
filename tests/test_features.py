"""Features of genomes: similarities that follow their runs, and the diversity of elites."""

from __future__ import annotations

import ast
import textwrap

import numpy as np
import pytest

import qdkit
from qdkit import metrics
from qdkit.archives import Grid
from qdkit.comparing import comparison
from qdkit.metrics.features import (
    WIDTH,
    genome_features,
    grams,
    program_outline,
    standardised,
    tokens,
)
from qdkit.runs.view import DIVERSITY_SAMPLE

from .worlds import BOX, Chatter, Jitter, Points, Texts, points, texts

SUMS = """
import numpy as np

def total(values):
    result = 0.5
    for value in values:
        if value > 3:
            result += np.sqrt(value)
    return result
"""
LOOKS = """
import numpy as np
# adds up
def total(numbers):
    '''The total.'''
    pass
    so_far = 0.5
    for each in numbers:

        if each > 3: so_far += np.sqrt(each)
    return so_far
"""
TUNED = SUMS.replace("0.5", "0.25").replace("value > 3", "2 * value - 1 < 7")
SORTS = "def total(values):\n    return sum(sorted(values)[:3]) + max(map(abs, values))\n"
WORDS = [
    "sea",
    "gull",
    "ark",
    "rose",
    "storm",
    "the",
    "of",
    "a",
    "under",
    "salt",
    "light",
    "never",
    "harbour",
]


def cosine(texts):
    return metrics.cosine(grams(texts), grams(texts))


def runs(text):
    text = f" {' '.join(text.lower().split())} "
    return {text[i : i + n] for n in (3, 4, 5) for i in range(len(text) - n + 1)}


def program(text):
    return {"solve.py": text}


# Texts.


@pytest.mark.parametrize("length", [5, 40, 300])
def test_the_cosine_is_the_share_of_common_runs(length):
    """Hashed into 1,024 columns, its error from |A∩B|/√(|A||B|) is that of such a sketch."""
    random = np.random.default_rng(length)
    texts = [" ".join(random.choice(WORDS, length)) for _ in range(12)]
    texts += [
        text[: len(text) // 2] + " ".join(random.choice(WORDS[:3], length)) for text in texts
    ]
    sets = [runs(text) for text in texts]
    true = np.array([[len(a & b) / np.sqrt(len(a) * len(b)) for b in sets] for a in sets])
    error = cosine(texts) - true
    assert np.abs(error).max() < 6 / np.sqrt(WIDTH) and np.abs(error.mean()) < 1 / np.sqrt(WIDTH)


def test_spaces_and_case_do_not_count():
    """They do not count between words either; a letter does."""
    assert cosine(["A  rose\n", "a rose"])[0, 1] == pytest.approx(1)
    assert 0.2 < cosine(["a rose is a rose", "a nose is a rose"])[0, 1] < 0.9


@pytest.mark.parametrize("text", ["", " ", "a", "é🌹", "\ud800", "\0" * 9, "ab" * 50_000])
def test_every_text_has_a_direction(text):
    """Empty, one letter, half a surrogate pair or very long: its row is finite and like itself."""
    assert cosine([text])[0, 0] == pytest.approx(1)


def test_no_row_is_zero():
    """The row of a program whose two runs cancel is not zero either.

    One of these words, repeated three times, is such a program.
    """
    sums = np.abs(genome_features([{"a.txt": f"{i} {i} {i}"} for i in range(3330, 3340)])).sum(1)
    assert sorted(sums.tolist()) == [1] + [2] * 9 and grams([]).shape == (0, WIDTH)


def test_the_numbers_are_the_same_on_every_machine():
    """They depend on no seed of the process: the expected values come from another process."""
    row = grams(["a rose"])[0]
    signed = [92, -99, 130, 170, 194, -225, -251, 485, 531, 737, -860, -883, 971, -973, -1002]
    assert (row * np.arange(WIDTH))[row != 0].tolist() == signed


# Programs.


def test_layout_and_names_do_not_count():
    """Names of variables, comments, docstrings and layout change no token and no outline.

    Formulas change the tokens and not the outline.
    """
    assert tokens(program(SUMS)) == tokens(program(LOOKS)) != tokens(program(TUNED))
    assert (
        program_outline(program(SUMS))
        == program_outline(program(LOOKS))
        == program_outline(program(TUNED))
        != program_outline(program(SORTS))
    )


def test_an_outline_can_be_read():
    """It lists functions, loops, branches and calls with their depth, a call by what is called."""
    assert program_outline(program(SUMS)).splitlines() == [
        "# solve.py",
        "0 FunctionDef",
        "1 For",
        "2 If",
        "3 call .sqrt",
    ]
    nested, flat = (
        "for a in b:\n    for c in d:\n        f(c)\n",
        "for a in b:\n    pass\nfor c in d:\n    f(c)\n",
    )
    assert program_outline(program(nested)) != program_outline(program(flat))


def test_similar_programs_have_similar_features():
    """A tuned program is nearer to its parent than another algorithm is."""
    rows = genome_features([program(text) for text in (SUMS, LOOKS, TUNED, SORTS)])
    alike = metrics.cosine(rows, rows)[0]
    assert alike[0] == pytest.approx(1) == alike[1] and alike[1] > alike[2] > 0.5 > alike[3]


def test_a_constant_and_the_name_of_a_file_count():
    """Programs that are tables of numbers differ.

    The same texts in other files have other outlines.
    """
    assert tokens(program("x = [1, 2.5, 'a', True]")) != tokens(program("x = [1, 2.5, 'b', True]"))
    assert program_outline({"a.py": SUMS}) != program_outline({"b.py": SUMS})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "def f(:",
        "x = " + "(" * 5000 + ")" * 5000,
        "x = " + "-" * 900 + "1",
        "x = " + "9" * 5000,
        "x = '\\ud800'",
        "\0",
        "print(" * 80 + ")" * 80,
    ],
)
def test_a_hostile_program_counts_as_text(text):
    """A text that does not parse counts by its words; nothing raises, and nothing is run."""
    rows = genome_features([program(text), {"notes.txt": text}, {}])
    assert np.isfinite(rows).all() and rows.any(1).all()
    program_outline(program(text))


def test_every_kind_of_node_has_a_token():
    """All of Python's own grammar goes through: the library's files as programs."""
    for module in (ast, textwrap, metrics.labels):
        with open(module.__file__, encoding="utf-8") as file:
            assert len(tokens(program(file.read()))) > 200


# Numbers and other values.


def test_numbers_are_in_units_of_their_spread():
    """Two rows are √2 apart in the root mean square, whatever the units of a coordinate."""
    rows = np.random.default_rng(0).normal(size=(200, 2, 3)) * np.array([1e-3, 1, 1e200]) + 5
    scaled = standardised(rows, rows)
    squares = ((scaled[:, None] - scaled) ** 2).sum(-1)
    assert scaled.shape == (200, 6) and squares.mean() == pytest.approx(2)
    assert np.allclose(scaled, standardised(rows * 7.0, rows * 7.0))
    extent = np.ptp(scaled, axis=0)
    assert np.ptp(standardised(rows * 2, rows), axis=0) == pytest.approx(2 * extent)


def test_a_number_that_is_not_finite_counts_as_the_mean():
    """A nan or an infinity counts as the mean and moves no other number.

    Numbers of very different size stay finite.
    """
    rows = np.random.default_rng(0).normal(size=(9, 3))
    mixed = np.vstack([rows, [[np.nan, np.inf, -np.inf]]])
    expected = np.vstack([standardised(rows, rows), np.zeros(3)])
    assert np.allclose(standardised(mixed, mixed), expected)
    assert np.isfinite(
        standardised(np.array([[1e308, 1.0]]), np.array([[1e-300, 1.0], [2e-300, 2.0]]))
    ).all()
    assert standardised(np.full((2, 2), np.nan), np.full((2, 2), np.nan)).tolist() == [
        [0, 0],
        [0, 0],
    ]


@pytest.mark.parametrize(
    "rows", [np.ones((4, 3)), np.full((4, 3), 0.1), np.zeros((4, 0)), np.zeros((0, 3))]
)
def test_numbers_without_spread_are_one_kind(rows):
    """Equal rows count as one, rows without coordinates too, and no rows as none."""
    scaled = standardised(rows, rows)
    assert metrics.vendi(scaled, kernel=metrics.rbf(1.0)) == pytest.approx(min(1, len(rows)))


def test_bytes_and_json_values_are_compared_by_their_text():
    """Each kind of genome has rows of the same width."""
    for genomes in (
        [b"\x00\xff", b"\x00\xfe"],
        [{"a": [1, 2]}, {"a": [1, 3]}],
        [[1, 2], [3, 4]],
        [1.5, None],
    ):
        rows = genome_features(genomes)
        assert rows.shape == (2, WIDTH) and metrics.cosine(rows, rows)[0, 1] < 0.999


# The diversity of elites.


@pytest.mark.parametrize("make", [points, texts])
def test_a_summary_has_the_diversity_of_the_elites(make):
    """Vendi scores of at most 32 elites lie between 1 and their number, and repeat."""
    search = make().run(30, progress=False)
    summary = search.summary()
    assert summary["vendi_n"] == min(DIVERSITY_SAMPLE, summary["occupied"])
    assert 1 < summary["vendi_2"] <= summary["vendi_1"] < summary["vendi_n"]
    assert "algorithms" not in summary
    assert search.diversity() == search.diversity() and search.diversity(2).n == 2
    with pytest.raises(ValueError, match="cannot be drawn"):
        search.diversity(summary["occupied"] + 1)


def test_a_search_without_elites_has_no_kinds():
    """Before the first step, and with one elite, the scores are 0 and 1."""
    assert [points().summary()[name] for name in ("vendi_n", "vendi_1", "vendi_2")] == [0, 0, 0]
    assert points().run(1, progress=False).diversity(0).vendi_1 == (0, 0, 0)
    one = (
        qdkit.Search(Points(), Grid((1, 1), BOX), Jitter(), batch=4)
        .run(2, progress=False)
        .diversity()
    )
    assert (one.n, one.vendi_1.mean, one.vendi_2.mean) == (1, pytest.approx(1), pytest.approx(1))


class Programs(Texts):
    """Programs of two algorithms, each several times with other constants."""

    def seeds(self, key, n):
        return [program(SUMS.replace("0.5", f"{i}.5")) for i in range(6)] + [program(SORTS)]

    def evaluate(self, genomes):
        return qdkit.Evaluation([1.0] * len(genomes), [[0, i / 7] for i in range(len(genomes))])


def test_programs_are_counted_by_algorithm():
    """Programs that differ in a constant count as one algorithm.

    Six of them and one of another algorithm count as 1 to 2 algorithms.
    """
    search = qdkit.Search(Programs(), Grid((1, 7), Texts.bounds), Chatter(), batch=7, seed=1)
    search.run(1, progress=False)
    assert search.summary()["occupied"] == 7
    assert search.summary()["algorithms"] == pytest.approx(metrics.hill("aaaaaab"))


def test_runs_are_compared_at_equal_n_and_in_one_unit():
    """A search in a small box has less diversity than another.

    Its own spread as the unit would hide that.
    """
    wide = points(seed=1).run(20, progress=False)
    tight = qdkit.Search(
        Points(),
        Grid((5, 5), ((0.0, 0.3), (0.0, 0.3)), outside="reject"),
        Jitter(),
        batch=64,
        seed=1,
    )
    tight.run(20, progress=False)
    a, b = comparison.diversity([wide, tight])
    assert a.n == b.n == min(wide.summary()["occupied"], tight.summary()["occupied"])
    assert b.vendi_2.mean < 0.7 * a.vendi_2.mean
    assert tight.diversity(b.n).vendi_2.mean == pytest.approx(
        wide.diversity(a.n).vendi_2.mean, rel=0.3
    )
    assert comparison.diversity([texts(seed=1).run(9, progress=False)])[0].n > 1
    with pytest.raises(ValueError, match="at least one run"):
        comparison.diversity([])
    with pytest.raises(ValueError, match="compare runs of one domain"):
        comparison.diversity([wide, texts().run(3, progress=False)])

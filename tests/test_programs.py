"""Programs as values: what of them may change, and what of them counts."""

from __future__ import annotations

import ast
import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdkit.core.types import Batch, Proposal
from qdkit.novelty import Distinct
from qdkit.programs.call_graph import _longest, call_depth
from qdkit.programs.scopes import parse_or_none
from qdkit.programs.syntax import (
    MAX_PROGRAM_CHARACTERS,
    PROGRAM_MEASURES,
    blocks,
    changed_outside,
    fill_blocks,
    form,
    frame_texts,
    measures,
    too_long,
)

MARKED = """import math
# EVOLVE-BLOCK-START
def f():
    return 1
# EVOLVE-BLOCK-END

def main():
    return f()
    # EVOLVE-BLOCK-START anything may follow the mark
    x = 2
    # EVOLVE-BLOCK-END
"""


def test_blocks_and_frame_make_the_text():
    """What may change and what may not are the whole program."""
    inside = [MARKED[block] for block in blocks(MARKED)]
    assert inside == ["def f():\n    return 1\n", "    x = 2\n"]
    assert fill_blocks(MARKED, inside) == MARKED
    assert "".join(frame_texts(MARKED)) == MARKED.replace(inside[0], "").replace(inside[1], "")


def test_a_block_is_refilled_and_the_marks_stay():
    """New contents stand between the old marks, ended by a newline."""
    text = fill_blocks(MARKED, ["f = abs", ""])
    assert "# EVOLVE-BLOCK-START\nf = abs\n# EVOLVE-BLOCK-END\n" in text
    assert changed_outside({"a.py": MARKED}, {"a.py": text}) == ""


def test_a_file_without_marks_may_change_as_a_whole():
    """It is one block with nothing around it."""
    assert blocks("x = 1") == [slice(0, 5)] and frame_texts("x = 1") == ["", ""]
    assert fill_blocks("x = 1", ["y = 2"]) == "y = 2"


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ({"a.py": MARKED.replace("import math", "import os")}, "a.py is changed outside"),
        ({"a.py": MARKED.replace("# EVOLVE-BLOCK-END\n\n", "\n")}, "come in pairs"),
        ({}, "a.py is missing"),
        ({"a.py": MARKED, "b.py": ""}, "b.py is not one of the program's files"),
        (
            {
                "a.py": fill_blocks(
                    MARKED, ["# EVOLVE-BLOCK-END\nimport os\n# EVOLVE-BLOCK-START\n", ""]
                )
            },
            "changed outside",
        ),
    ],
)
def test_a_change_of_the_frame_is_named(after, said):
    """Marks forged inside a block do not widen it."""
    assert said in changed_outside({"a.py": MARKED}, after)


ROOT_MEAN = '''
import numpy as np

def root_mean(values, shift=0.5):
    """The root of the mean square."""
    squares = [v * v for v in values]  # one by one
    return np.sqrt(np.mean(squares)) + shift

def solve(n):
    return root_mean(range(n), shift=1)
'''
LOOKS = [
    ROOT_MEAN.replace("import numpy as np", "import numpy as numeric").replace("np.", "numeric."),
    ROOT_MEAN.replace("root_mean", "_measure")
    .replace("squares", "s")
    .replace("v * v for v in", "a * a for a in"),
    ROOT_MEAN.replace('    """The root of the mean square."""\n', "")
    .replace("  # one by one", "")
    .replace("values", "x"),
    ROOT_MEAN.replace("(values, shift=0.5)", "(\n    values,\n    shift = .5,\n)").replace(
        "return np", "pass\n    return np"
    ),
]
OTHERS = [
    ROOT_MEAN.replace("np.mean", "np.median"),
    ROOT_MEAN.replace("v * v", "v + v"),
    ROOT_MEAN.replace("0.5", "0.25"),
    ROOT_MEAN.replace("np.sqrt(", "abs("),
    ROOT_MEAN.replace("import numpy", "import cupy"),
    ROOT_MEAN.replace("solve", "answer"),
    ROOT_MEAN.replace("shift=1", "values=1"),
    ROOT_MEAN.replace("v * v for v in values", "v * values for v in v"),
    ROOT_MEAN.replace("    squares = [", "    values = [").replace(
        "mean(squares)", "mean(values)"
    ),
]


@pytest.mark.parametrize("text", LOOKS)
def test_layout_and_names_do_not_change_the_form(text):
    """A program with another layout and other names has the same form and count of nodes."""
    assert text != ROOT_MEAN and form({"a.py": text}) == form({"a.py": ROOT_MEAN})
    assert measures({"a.py": text})["nodes"] == measures({"a.py": ROOT_MEAN})["nodes"]


@pytest.mark.parametrize("text", OTHERS)
def test_what_a_program_does_changes_the_form(text):
    """Each change of what a program does gives another form."""
    assert text != ROOT_MEAN and form({"a.py": text}) != form({"a.py": ROOT_MEAN})


def test_of_known_programs_exactly_the_new_ones_are_new():
    """`Distinct` recognises programs that differ only in layout and names, and no others."""
    texts = [ROOT_MEAN, *LOOKS, *OTHERS]
    batch = Batch.unevaluated(Proposal.of([{"a.py": text} for text in texts], "test"))
    assert Distinct(form).new(batch, 0).new.tolist() == [True] + [False] * len(LOOKS) + [
        True
    ] * len(OTHERS)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (
            "def f():\n    global a\n    a = 1\ndef g(): return a",
            "def f():\n    global b\n    b = 1\ndef g(): return b",
            True,
        ),
        ("def f(a, b): return a\nf(a=1, b=2)", "def f(b, a): return b\nf(a=1, b=2)", False),
        (
            "def f(x):\n    def g(): return x\n    return g",
            "def f(y):\n    def h(): return y\n    return h",
            True,
        ),
        ("def f(x): return lambda y: x", "def f(x): return lambda x: x", False),
        ("class A:\n    x = 1", "class A:\n    y = 1", False),
        ("def f(x): return [x for x in x]", "def f(x): return [y for y in x]", True),
        (
            "def f(x):\n    import math as m\n    return m.pi",
            "def f(x):\n    import math\n    return math.pi",
            True,
        ),
        ("from math import sin as f", "from math import cos as f", False),
        ("from math import *", "from cmath import *", False),
        ("def f(x): return (y := x) + y", "def f(a): return (b := a) + b", True),
        ("x = 1", "x = 1.0", False),
        ("x = (", "x = ((", False),
        (
            "def f(x):\n match x:\n  case [a, *b]: return a",
            "def f(x):\n match x:\n  case [c, *d]: return c",
            True,
        ),
    ],
)
def test_names_are_those_of_their_scope(one, other, same):
    """A name may be renamed everywhere in its scope, however it is bound, and nowhere else."""
    assert (form({"a.py": one}) == form({"a.py": other})) is same


def test_a_name_that_another_file_imports_counts():
    """A function may be renamed unless another part of the program uses its name."""
    b = "def f(): return 1\ndef g(): return f()"
    assert form({"b.py": b}) == form({"b.py": b.replace("f()", "h()")})
    a = "from b import f"
    assert form({"a.py": a, "b.py": b}) != form({"a.py": a, "b.py": b.replace("f()", "h()")})


def test_files_have_an_order_and_names():
    """The order of the mapping does not count, the paths do.

    A file that is not Python counts as it is.
    """
    assert (
        form({"a.py": "x", "b.py": "y"})
        == form({"b.py": "y", "a.py": "x"})
        != form({"a.py": "y", "b.py": "x"})
    )
    assert form({"a.md": "# one"}) != form({"a.md": "# two"}) and form({"a.py": "# one"}) == form(
        {"a.py": "# two"}
    )


def test_measures_of_a_known_program():
    """Counted by hand."""
    found = measures({"a.py": ROOT_MEAN})
    assert {
        name: found[name]
        for name in ("imports", "functions", "loops", "calls", "call_depth", "lines")
    } == {
        "imports": 1,
        "functions": 2,
        "loops": 1,
        "calls": 1,
        "call_depth": 1,
        "lines": 8,
    }
    small = measures({"a.py": "x = 1\n\n# nothing\n"})
    assert (small["lines"], small["characters"], small["nodes"], small["depth"]) == (1, 5, 5, 4)
    assert measures({"a.py": "def f(): f()\ndef g(): f()\ndef h(): g()"})["call_depth"] == 2


@pytest.mark.parametrize(
    "text",
    [
        "def (",
        "x = '\\0",
        "\0",
        "-" * 5000 + "1",
        "(" * 5000,
        "x" + "+x" * 20_000,
        "x = 0x" + "f" * 9000,
        r"x = '\d'",
        "é = '\\ud800'",
    ],
    ids=range(9),
)
def test_form_and_measures_of_any_text(text):
    """Nothing that a text may hold raises or warns.

    What does not parse counts as it is and measures nan.
    """
    files = {"a.py": text}
    assert form(files) and set(measures(files)) == set(PROGRAM_MEASURES)
    if parse_or_none(text) is None:
        assert form(files) == f"# a.py\n{text}" and all(map(math.isnan, measures(files).values()))
    else:
        assert not any(map(math.isnan, measures(files).values()))


def farthest(calls):
    """The definition, word by word."""

    def steps(start):
        reached, level, n = {start}, {start}, 0
        while level := {name for caller in level for name in calls[caller]} - reached:
            reached, n = reached | level, n + 1
        return n

    return max(map(steps, calls), default=0)


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.sets(st.sampled_from("abcdefgh"))))
def test_the_depth_of_calls_is_that_of_its_definition(some):
    """For graphs with circles and short cuts.

    The longest way, for large ones, is never shorter.
    """
    calls = {name: some.get(name, set()) & some.keys() for name in some}
    assert call_depth(calls) == farthest(calls) <= _longest(calls)


def test_the_longest_way_is_the_shortest_where_there_is_one():
    """In a chain and in a circle of functions, a thousand times over."""
    chain = {f"f{i}": {f"f{i + 1}"} if i < 4999 else set() for i in range(5000)}
    circle = {f"f{i}": {f"f{(i + 1) % 5000}"} for i in range(5000)}
    assert call_depth(chain) == call_depth(circle) == 4999


LARGE = {
    "a chain": "".join(f"def f{i}():f{i + 1}()\n" for i in range(2600)),
    "nested": "".join(" " * i + f"def g{i}():\n" for i in range(99)) + (" " * 99 + "f1()\n") * 300,
    "calls": "".join(
        f"def f{i}():\n" + "".join(f" f{(7 * i + j) % 900}()\n" for j in range(16))
        for i in range(900)
    ),
    "lines": "x\n" * 25_000,
    "lambdas": "x = " + "lambda: " * 100 + "1\n",
}


@pytest.mark.parametrize("name", LARGE)
def test_what_is_counted_takes_work_in_proportion_to_the_program(name):
    """The number of calls for each node is bounded, however functions call each other."""
    files = {"a.py": LARGE[name]}
    nodes = sum(1 for _ in ast.walk(ast.parse(LARGE[name])))
    for work in (lambda: measures(files), lambda: form(files)):
        assert calls_of(work) < 300 * nodes + 10_000


def calls_of(work):
    """How many functions are called: a measure of work that needs no clock."""
    count = 0

    def counted(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def test_a_program_nested_too_deeply_is_not_compiled():
    """Nested `finally` blocks double the compiled code: twenty take the compiler too long."""
    level = lambda pad: f"{pad}try:\n{pad} f()\n{pad}finally:\n"
    nest = lambda n: "".join(level(" " * i) for i in range(n)) + " " * n + "g()\n"
    assert (
        parse_or_none(nest(5), compiles=True) is not None
        and parse_or_none(nest(20), compiles=True) is None
    )
    assert parse_or_none(nest(20)) is not None


def test_a_program_that_is_too_long_is_not_parsed():
    """It is refused before it is parsed; one that began longer may be as long as twice that."""
    start = {"a.py": "x = 1\n"}
    assert too_long({"a.py": "#" * MAX_PROGRAM_CHARACTERS}, start) == ""
    assert "has 200,001 characters, and 200,000 are allowed" in too_long(
        {"a.py": "#" * (MAX_PROGRAM_CHARACTERS + 1)}, start
    )
    long = {"a.py": "#" * MAX_PROGRAM_CHARACTERS * 3}
    assert too_long(long, long) == "" and too_long(long, {"a.py": "#" * MAX_PROGRAM_CHARACTERS})

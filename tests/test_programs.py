"""Programs as values: what of them may change, and what of them counts."""

from __future__ import annotations

import math

import pytest

from qdkit.names import parsed
from qdkit.novelty import Distinct
from qdkit.programs import MEASURES, blocks, changed_outside, form, frame, measures, refilled
from qdkit.types import Batch, Proposal

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
    assert refilled(MARKED, inside) == MARKED
    assert "".join(frame(MARKED)) == MARKED.replace(inside[0], "").replace(inside[1], "")


def test_a_block_is_refilled_and_the_marks_stay():
    """New contents stand between the old marks, ended by a newline."""
    text = refilled(MARKED, ["f = abs", ""])
    assert "# EVOLVE-BLOCK-START\nf = abs\n# EVOLVE-BLOCK-END\n" in text
    assert changed_outside({"a.py": MARKED}, {"a.py": text}) == ""


def test_a_file_without_marks_may_change_as_a_whole():
    """It is one block with nothing around it."""
    assert blocks("x = 1") == [slice(0, 5)] and frame("x = 1") == ["", ""]
    assert refilled("x = 1", ["y = 2"]) == "y = 2"


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ({"a.py": MARKED.replace("import math", "import os")}, "a.py is changed outside"),
        ({"a.py": MARKED.replace("# EVOLVE-BLOCK-END\n\n", "\n")}, "come in pairs"),
        ({}, "a.py is missing"),
        ({"a.py": MARKED, "b.py": ""}, "b.py is not one of the program's files"),
        ({"a.py": refilled(MARKED, ["# EVOLVE-BLOCK-END\nimport os\n# EVOLVE-BLOCK-START\n", ""])}, "changed outside"),
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
    ROOT_MEAN.replace("root_mean", "_measure").replace("squares", "s").replace("v * v for v in", "a * a for a in"),
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
    ROOT_MEAN.replace("    squares = [", "    values = [").replace("mean(squares)", "mean(values)"),
]


@pytest.mark.parametrize("text", LOOKS)
def test_looks_do_not_count(text):
    """A program written and named in another way has the same form and, in nodes, the same measures."""
    assert text != ROOT_MEAN and form({"a.py": text}) == form({"a.py": ROOT_MEAN})
    assert measures({"a.py": text})["nodes"] == measures({"a.py": ROOT_MEAN})["nodes"]


@pytest.mark.parametrize("text", OTHERS)
def test_what_a_program_does_counts(text):
    """Another function, operator, number, import, entry, keyword, variable or one variable for two is another form."""
    assert text != ROOT_MEAN and form({"a.py": text}) != form({"a.py": ROOT_MEAN})


def test_of_known_programs_exactly_the_new_ones_are_new():
    """`Distinct` finds each that is the same but for its looks, and takes no other for the same."""
    texts = [ROOT_MEAN, *LOOKS, *OTHERS]
    batch = Batch.unevaluated(Proposal.of([{"a.py": text} for text in texts], "test"))
    assert Distinct(form).new(batch, 0).new.tolist() == [True] + [False] * len(LOOKS) + [True] * len(OTHERS)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (
            "def f():\n    global a\n    a = 1\ndef g(): return a",
            "def f():\n    global b\n    b = 1\ndef g(): return b",
            True,
        ),
        ("def f(a, b): return a\nf(a=1, b=2)", "def f(b, a): return b\nf(a=1, b=2)", False),
        ("def f(x):\n    def g(): return x\n    return g", "def f(y):\n    def h(): return y\n    return h", True),
        ("def f(x): return lambda y: x", "def f(x): return lambda x: x", False),
        ("class A:\n    x = 1", "class A:\n    y = 1", False),
        ("def f(x): return [x for x in x]", "def f(x): return [y for y in x]", True),
        ("def f(x):\n    import math as m\n    return m.pi", "def f(x):\n    import math\n    return math.pi", True),
        ("from math import sin as f", "from math import cos as f", False),
        ("from math import *", "from cmath import *", False),
        ("def f(x): return (y := x) + y", "def f(a): return (b := a) + b", True),
        ("x = 1", "x = 1.0", False),
        ("x = (", "x = ((", False),
        ("def f(x):\n match x:\n  case [a, *b]: return a", "def f(x):\n match x:\n  case [c, *d]: return c", True),
    ],
)
def test_names_are_those_of_their_scope(one, other, same):
    """Whatever binds a name, it may be called otherwise everywhere where it is meant, and nowhere else."""
    assert (form({"a.py": one}) == form({"a.py": other})) is same


def test_a_name_that_another_file_imports_counts():
    """A function may be called otherwise unless the rest of the program asks for it by its name."""
    b = "def f(): return 1\ndef g(): return f()"
    assert form({"b.py": b}) == form({"b.py": b.replace("f()", "h()")})
    a = "from b import f"
    assert form({"a.py": a, "b.py": b}) != form({"a.py": a, "b.py": b.replace("f()", "h()")})


def test_files_have_an_order_and_names():
    """The order of the mapping does not count, the paths do; a file that is not Python counts as it is."""
    assert form({"a.py": "x", "b.py": "y"}) == form({"b.py": "y", "a.py": "x"}) != form({"a.py": "y", "b.py": "x"})
    assert form({"a.md": "# one"}) != form({"a.md": "# two"}) and form({"a.py": "# one"}) == form({"a.py": "# two"})


def test_measures_of_a_known_program():
    """Counted by hand."""
    found = measures({"a.py": ROOT_MEAN})
    assert {name: found[name] for name in ("imports", "functions", "loops", "calls", "call_depth", "lines")} == {
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
    """Nothing that a text may hold raises or warns; what does not parse counts as it is and measures nan."""
    files = {"a.py": text}
    assert form(files) and set(measures(files)) == set(MEASURES)
    if parsed(text) is None:
        assert form(files) == f"# a.py\n{text}" and all(map(math.isnan, measures(files).values()))
    else:
        assert not any(map(math.isnan, measures(files).values()))

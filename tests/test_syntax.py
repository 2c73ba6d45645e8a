"""Edits of programs without a model."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from qdkit.core.types import Batch, Context, Evaluation, Proposal
from qdkit.operators import Syntax, expressions, mutated, statements, syntax
from qdkit.operators.editable_source import Source
from qdkit.programs.scopes import parse_or_none
from qdkit.programs.syntax import changed_outside, form
from qdkit.testing import check_operator

ROOT = Path(__file__).parents[1]
NUMERIC = """import numpy as np

# EVOLVE-BLOCK-START
def spread(x, width=0.5):
    # é: a comment that stays
    return np.sin(x) * width + 1.5


# EVOLVE-BLOCK-END
def solve(n):
    return spread(np.arange(n) / n).max()
"""
LOOPS = """# EVOLVE-BLOCK-START
def pack(items, size):
    bins = []
    for item in sorted(items, reverse=True):
        for i in range(len(bins)):
            if bins[i] >= item and item > 0:
                bins[i] -= item
                break
        else:
            bins.append(size - item)
    return bins


def solve(n):
    items = [(7 * k) % 11 + 1 for k in range(n)]
    return len(pack(items, 12)) * 2.5
# EVOLVE-BLOCK-END
"""


def random(seed=0):
    return np.random.default_rng(seed)


def context(*genomes):
    return Context(Batch.unevaluated(Proposal.of(list(genomes), "test")))


@pytest.mark.parametrize(("text", "mate"), [(NUMERIC, LOOPS), (LOOPS, NUMERIC)])
def test_every_child_compiles_differs_and_is_unchanged_outside_the_blocks(text, mate):
    """Over several generations, for all edits."""
    child = text
    for seed in range(30):
        before, child = child, mutated(child, random(seed), mate, 3)
        assert parse_or_none(child, compiles=True) is not None
        assert form({"a.py": child}) != form({"a.py": before})
        assert changed_outside({"a.py": before}, {"a.py": child}) == ""


@pytest.mark.parametrize("text", [NUMERIC, LOOPS])
def test_most_children_run(text):
    """At least half of those after one edit give an answer or end in an error of arithmetic."""
    ran = 0
    for seed in range(30):
        world = {}
        try:
            exec(compile(mutated(text, random(seed)), "child", "exec"), world)
            world["solve"](9)
        except (ValueError, TypeError, LookupError, ArithmeticError, NameError, AttributeError):
            continue
        ran += 1
    assert ran >= 15


@pytest.mark.parametrize(
    ("edit", "text", "all_of_them"),
    [
        (expressions.change_operator, "x = a + b", {"x = a - b", "x = a * b"}),
        (expressions.change_operator, "x = (a) not  in b", {"x = (a) in b"}),
        (expressions.change_operator, "x = a or b", {"x = a and b"}),
        (expressions.change_operator, "x = -a", {"x = +a"}),
        (expressions.change_operator, "x //= 2", {"x %= 2"}),
        (expressions.change_operator, "x = a < b", {"x = a <= b", "x = a > b", "x = a >= b"}),
        (expressions.change_call, "x = math.sin(a)", {"x = math.cos(a)", "x = math.tanh(a)"}),
        (expressions.change_call, "def f(a): pass\ndef g(a): pass\ndef h(): pass\nf(1)", None),
        (
            expressions.change_variable,
            "def f(a, b):\n    return a",
            {"def f(a, b):\n    return b"},
        ),
        (expressions.change_number, "x = 2000001", {"x = 2000000", "x = 1800001"}),
        (
            expressions.hoist_operand,
            "x = a * (b + c)",
            {"x = (b + c)", "x = a", "x = a * (b)", "x = a * (c)"},
        ),
        (statements.remove_statement, "if a:\n    b = 1", {"", "if a:\n    pass"}),
        (
            statements.remove_statement,
            "a = 1; b = 2\nc = 3  # why\nd = 4",
            {"a = 1; b = 2\nd = 4", "a = 1; b = 2\nc = 3  # why\n"},
        ),
        (statements.move_statement, "a = 1\nb = 2\n", {"b = 2\na = 1\n", "a = 1\nb = 2\n"}),
        (statements.copy_statement, "a = 1\nif b:\n    c = 2\n", None),
    ],
)
def test_each_edit_gives_the_expected_programs(edit, text, all_of_them):
    """Of a small program, all that an edit can make of it is known."""
    source = Source(text)
    made = {
        source.apply(edits) for seed in range(60) if (edits := edit(source, random(seed), source))
    }
    expected = (
        all_of_them
        or {
            expressions.change_call: {text[:-4] + "g(1)"},
            statements.copy_statement: {
                "a = 1\nif b:\n    a = 1\n    c = 2\n",
                "a = 1\na = 1\nif b:\n    c = 2\n",
                "if b:\n    c = 2\na = 1\nif b:\n    c = 2\n",
                "c = 2\na = 1\nif b:\n    c = 2\n",
                "a = 1\nc = 2\nif b:\n    c = 2\n",
                "a = 1\nif b:\n    c = 2\n    c = 2\n",
            },
        }[edit]
    )
    assert made and made <= expected and (edit is statements.copy_statement or made == expected)


def test_a_function_comes_with_what_it_needs():
    """The second program's function brings its helper and its import along."""
    ours = Source("def solve(n):\n    return n\n")
    theirs = Source(
        "import math\n\ndef root(x):\n    return math.sqrt(x)\n\ndef solve(n):\n    return "
        "root(n)\n"
    )
    text = ours.apply(statements.take_function(ours, random(), theirs))
    world = {}
    exec(text, world)
    assert world["solve"](9) == 3 and [node.name for node in ast.parse(text).body[1:]] == [
        "root",
        "solve",
    ]


def test_a_child_reads_no_unbound_name():
    """An edit that removes the only binding of a name is not made."""
    text = "def f(x):\n    y = x + 1\n    return y\n"
    assert all(
        "y = " in mutated(text, random(seed)) or "return y" not in mutated(text, random(seed))
        for seed in range(30)
    )


def test_children_depend_on_the_key_alone():
    """The same key gives the same children, for any order of files and any hash seed."""
    files = {"b.py": LOOPS, "a.py": NUMERIC, "data.json": "[1]"}
    turned = dict(reversed(files.items()))
    key, operator = jax.random.key(3), Syntax()
    made = operator.propose(key, context(*[files] * 8), 4)
    assert list(made.genome) == list(operator.propose(key, context(*[turned] * 8), 4).genome)
    assert all(
        child["data.json"] == "[1]" and sum(child[p] != files[p] for p in files) == 1
        for child in made.genome
    )
    assert len({form(child) for child in made.genome}) == 4 and made.parents.shape == (4, 2)
    script = (
        "import numpy as np\nfrom qdkit.operators import mutated\n"
        f"print(mutated({LOOPS!r}, np.random.default_rng(5)))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": hashes, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
            timeout=240,
        ).stdout
        for hashes in ("1", "2")
    }
    assert printed == {mutated(LOOPS, random(5)) + "\n"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.py": "x = ("}, "a.py: the program does not compile"),
        ({"a.py": "pass\n"}, "a.py: nothing could be edited"),
        ({"a.txt": "x = 1"}, "no file of the program"),
        ({"a.py": "# EVOLVE-BLOCK-START\n# EVOLVE-BLOCK-END\nx = 1"}, "no file of the program"),
        ({"a.py": "# EVOLVE-BLOCK-END\nx = 1"}, "no file of the program"),
        ({"a.py": "x = 0" + "+1" * 3000}, "a.py: "),
    ],
)
def test_programs_that_cannot_be_edited_are_invalid_with_a_reason(files, message):
    """It is an outcome of the candidate, not an error of the search."""
    made = Syntax().propose(jax.random.key(0), context(files, files), 1)
    assert (
        list(made.outcome) == ["invalid"]
        and message in made.notes[0]["error"]
        and made.genome == [files]
    )


def test_at_least_one_change_is_required():
    """`changes` has to be 1 or more."""
    with pytest.raises(
        ValueError, match="changes is the greatest number of edits of a child, 1 or more, not 0"
    ):
        Syntax(changes=0)


def test_one_edit_changes_less_than_many():
    """`changes` bounds how much of a program is edited at once."""
    differ = lambda child: sum(
        a != b for a, b in zip(LOOPS.split("\n"), child.split("\n"), strict=False)
    )
    few, many = (
        np.mean([differ(mutated(LOOPS, random(s), "", changes)) for s in range(12)])
        for changes in (1, 12)
    )
    assert few < many


class Lengths:
    """Programs by the length of their text."""

    def seeds(self, key, n):
        return [{"a.py": LOOPS}, {"a.py": NUMERIC}][:n]

    def evaluate(self, genomes):
        return Evaluation(descriptor=[[len(files["a.py"])] for files in genomes])


def test_syntax_conforms_to_the_operator_contract():
    """See `qdkit.testing.check_operator`."""
    check_operator(Syntax(), Lengths())


def test_caches_do_not_change_children():
    """Children are the same with full and with empty caches of trees and forms."""
    texts = [NUMERIC, LOOPS, NUMERIC.replace("0.5", "0.7")]

    def children(clear):
        draws, made = random(7), []
        for text in texts * 6:
            if clear:
                for kept in (syntax._parent, syntax._mate, syntax._form):
                    kept.cache_clear()
            made.append(mutated(text, draws, texts[0], changes=3))
        return made

    assert children(clear=True) == children(clear=False) == children(clear=False)


def test_a_function_is_taken_over_with_a_long_chain_of_others():
    """The statements it needs are found in one pass over the program."""
    chain = (
        "".join(f"def f{i}():\n    return f{i + 1}()\n\n\n" for i in range(300))
        + "def f300():\n    return 2\n"
    )
    source, mate = Source("def f0():\n    return 1\n"), Source(chain)
    (edit,) = statements.take_function(source, random(), mate)
    needed = ast.parse(edit.text).body
    assert sorted(node.name for node in needed) == sorted(f"f{i}" for i in range(301))
    assert [node.name for node in needed][-1] == "f0"

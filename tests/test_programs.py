"""Programs as values: what of them may change."""

from __future__ import annotations

import pytest

from qdkit.programs import blocks, changed_outside, frame, refilled

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

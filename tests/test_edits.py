"""Edits of programs: the parsing and application of responses, prompts, and the operators."""

from __future__ import annotations

import os
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qdkit
from qdkit.archives import Grid
from qdkit.core.elites import Added
from qdkit.core.types import NO_CANDIDATE, Batch, Context, Outcome, Proposal
from qdkit.llm import LLM
from qdkit.llm.templates import fence
from qdkit.operators import Cross, Full, Patch, Portfolio, Repair, programmer
from qdkit.operators.edits.applying import MAX_EDIT_CHARACTERS, apply_patch, apply_rewrite
from qdkit.operators.edits.prompts import (
    MAX_NOTE_CHARACTERS,
    format_distinct,
    select_fitting,
    shorten_middle,
)
from qdkit.operators.edits.reading import fenced_blocks, replacements
from qdkit.programs.syntax import changed_outside
from qdkit.testing import FAULTS, ModelServer, check_operator
from tests.worlds import search_of

KEY = jax.random.key(0)
GOLDEN = Path(__file__).parent / "golden" / "prompts"
SEED = '''"""Adds up."""

import math

# EVOLVE-BLOCK-START
def solve(n):
    total = 0.5
    for i in range(n):
        total += i * 2
    return total
# EVOLVE-BLOCK-END


def main():
    total = 0.5
    return solve(3)
'''
BETTER = SEED.replace("i * 2", "i * 3")
TWO = {"a.py": "x = 1\ny = 2\n", "lib/b.py": "x = 1\nz = 3\n"}


def block(search, replace, path=""):
    head = f"{path}\n" if path else ""
    return f"{head}<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n"


def patch(answer, text=SEED):
    """Returns the text of a program of one file after a patch, or the error."""
    edited = apply_patch({"solve.py": text}, answer)
    return edited.error or edited.files["solve.py"]


def rewrite(answer, text=SEED):
    edited = apply_rewrite({"solve.py": text}, answer)
    return edited.error or edited.files["solve.py"]


BLOCK = SEED[SEED.index("def solve") : SEED.index("# EVOLVE-BLOCK-END")]
TRIPLED = BLOCK.replace("i * 2", "i * 3")


# Reading and applying patches.


def test_a_patch_replaces_the_lines_it_quotes():
    """One block in prose, with or without its path, gives the program with the lines changed."""
    change = ("        total += i * 2", "        total += i * 3")
    assert patch(f"I triple it.\n\n{block(*change)}\nThat is all.") == BETTER
    assert patch(block(*change, path="solve.py")) == BETTER


@pytest.mark.parametrize(
    "head",
    [
        "**solve.py**",
        "### `solve.py`:",
        "File: solve.py",
        "**File:** `./solve.py`",
        "solve.py\n\n```python",
        "```python solve.py",
        "```",
    ],
)
def test_marks_around_a_path_are_ignored(head):
    """Headings, bold, backticks, labels and fences around a path are ignored."""
    (found,) = replacements(head + "\n" + block("a", "b"), ["solve.py"])
    assert found.path == ("" if head == "```" else "solve.py")


def test_several_blocks_are_applied_in_order():
    """A later block finds the lines of an earlier one."""
    first = block("        total += i * 2", "        total += i * 4")
    assert patch(first + block("        total += i * 4", "        total += i * 3")) == BETTER


def test_a_name_with_underscores_is_a_path():
    """`__init__.py` keeps its underscores."""
    (found,) = replacements(block("a", "b", path="pkg/__init__.py"), ["pkg/__init__.py"])
    assert found.path == "pkg/__init__.py"


def test_an_exact_match_takes_precedence_over_a_loose_one():
    """Lines that match exactly are chosen, even if others match except for whitespace."""
    edited = apply_patch({"a.py": "if y:\n    x = 1\nx = 1\n"}, block("x = 1", "x = 2"))
    assert edited.files == {"a.py": "if y:\n    x = 1\nx = 2\n"} and edited.loose == 0


def test_a_match_that_ignores_whitespace_is_found_and_counted():
    """Other indentation, spaces at the ends of lines and empty lines are ignored, and counted."""
    quoted = "\nfor i in range(n):  \n    total += i * 2\n"
    edited = apply_patch(
        {"solve.py": SEED}, block(quoted, "for i in range(n):\n    total += i * 3")
    )
    assert edited.files["solve.py"] == BETTER and edited.loose == 1


def test_loose_matches_have_the_same_relative_indentation():
    """Lines with another relative indentation do not match."""
    assert "is not in solve.py" in patch(block("for i in range(n):\ntotal += i * 2", "pass"))


def test_only_whole_lines_match():
    """`x = 1` is not found within `xx = 10`."""
    assert "is not in" in patch(block("x = 1", "x = 2"), "xx = 10\n")


NESTED = """def f(x):
    if x > 0:
        x = 1
    y = 2
    for i in range(3):
        y += i
        if y > 5:
            y -= 1

    return y
"""
LOOP = "    for i in range(3):\n        y += i\n        if y > 5:\n            y -= 1"
FASTER = LOOP.replace("range(3)", "range(4)").replace(
    "y -= 1", "y -= 1\n            if y:\n                y = 0"
)


def dedented(text, by="    ", to=""):
    """Returns the lines with one level less, or with another kind of indentation."""
    lines = [line.removeprefix(by) for line in text.split("\n")]
    return "\n".join(to + line if line.strip() and to else line for line in lines)


def with_tabs(text):
    return text.replace("    ", "\t")


@pytest.mark.parametrize(
    ("search", "replace", "old", "new"),
    [
        (
            "y = 2",
            "    y = 3",
            "y = 2",
            "y = 3",
        ),  # SEARCH without its indentation, REPLACE with it
        ("    y = 2", "y = 3", "y = 2", "y = 3"),  # and the other way round
        (
            "    return y",
            "return y + 1",
            "return y",
            "return y + 1",
        ),  # where both would compile otherwise
        (dedented(LOOP), FASTER, LOOP, FASTER),
        (LOOP, dedented(FASTER), LOOP, FASTER),
        (dedented(LOOP), dedented(FASTER), LOOP, FASTER),
        (dedented(LOOP, to="  "), dedented(FASTER, to="  "), LOOP, FASTER),
        (with_tabs(LOOP), with_tabs(FASTER), LOOP, FASTER),
        (LOOP.replace("    ", "  "), FASTER.replace("    ", "  "), LOOP, FASTER),
        ("\n    y = 2  \n\n", "\n    y = 3\n\n    z = 4\n", "y = 2", "y = 3\n\n    z = 4"),
        ("\ty = 2", "\ty = 3\n\tif y:\n\t\ty = 4", "y = 2", "y = 3\n    if y:\n        y = 4"),
    ],
)
def test_replacements_take_the_indentation_of_their_place(search, replace, old, new):
    """Either part may have lost its indentation, in files with spaces and with tabs."""
    for text, of in ((NESTED, lambda x: x), (with_tabs(NESTED), with_tabs)):
        edited = apply_patch({"a.py": text}, block(search, replace))
        assert edited.files.get("a.py") == of(NESTED.replace(old, new)), edited.error
        assert edited.loose == 1 or text is not NESTED


@pytest.mark.parametrize(
    ("search", "replace", "message"),
    [
        (
            "y = 2",
            "        y = 3",
            "no indentation and its REPLACE part with 8 spaces, and the line in a.py",
        ),
        (
            "    y = 2",
            "        y = 3",
            "8 spaces and its SEARCH part with 4 spaces, so it would land in another",
        ),
        ("        y += i", "    y += i", "so it would land in another block of the code"),
        (
            "  y += i",
            "    y += i\n    y += 1",
            "2 spaces and its REPLACE part with 4 spaces, and the line in a.py",
        ),
        (
            "y -= 1\n\nreturn y",
            "y = 1",
            "these lines are there from line 8 on, indented otherwise among each other",
        ),
        (
            "return y",
            "return y\n    z = 1",
            "a.py would not be Python any more: unexpected indent (line 11: 'z = 1')",
        ),
        (
            "        x = 1",
            "",
            "a.py would not be Python any more: expected an indented block after 'if'",
        ),
        ("    y = 2", "    y = (2", "a.py would not be Python any more: '(' was never closed"),
        (
            "    for i in range(3):",
            "    if 1:\n        for i in range(3):",
            "would not be Python any more",
        ),
        ("  4:     y = 2", "    y = 3", "it has numbers before its lines"),
        ("4|    y = 2\n5|    for i in range(3):", "    y = 3", "it has numbers before its lines"),
        ("    if x > 0:\n    ...\n    y = 2", "    y = 3", "it leaves lines out with '...'"),
        ("    if x > 0:\n        # ...\n    y = 2", "    y = 3", "it leaves lines out with '...'"),
        (" \n\t", "    y = 3", "its SEARCH part is empty"),
        ("        y", "    z", "its SEARCH part is not in a.py"),
    ],
)
def test_a_patch_with_ambiguous_indentation_is_refused_with_a_reason(search, replace, message):
    """No line lands in another block of the code, and a program that compiled still does."""
    edited = apply_patch({"a.py": NESTED}, block(search, replace))
    assert message in edited.error and not edited.files


@pytest.mark.parametrize("value", ['"""\nabc\n"""', 'f"""\n{1}\n"""', "'''a\\\n  b'''"])
def test_multiline_strings_are_not_reindented(value):
    """Otherwise its value would change.

    A docstring may be reindented, and so may code around a string that stays.
    """
    before = {"main.py": "def f():\n    s = 1\n    return s\n"}
    block = "<<<<<<< SEARCH\n{}\n=======\n{}\n>>>>>>> REPLACE"
    assert "a text in quotes" in apply_patch(before, block.format("s = 1", f"s = {value}")).error
    for search in ("    s = 1", "s = 1"):
        kept = apply_patch(before, block.format(search, f"    s = {value}"))
        assert kept.files["main.py"] == f"def f():\n    s = {value}\n    return s\n"
    inner = {"main.py": "class A:\n    def f(self):\n        return 1\n"}
    new = 'def f(self):\n    """One.\n\n    And more.\n    """\n    return 2'
    moved = apply_patch(inner, block.format("def f(self):\n    return 1", new)).files["main.py"]
    assert moved == "class A:\n" + textwrap.indent(new, "    ") + "\n"


def test_a_replacement_that_repeats_a_searched_line_keeps_its_indentation():
    """The lines before or after it may have another level."""
    new = "        y += i\n        y += 1"
    assert patch(block("        y += i", new), NESTED) == NESTED.replace("        y += i", new)
    deeper = "        x = 1\n        y = 2"
    assert patch(block("        x = 1\n    y = 2", deeper), NESTED) == NESTED.replace(
        "        x = 1\n    y = 2", deeper
    )


def test_a_program_that_does_not_compile_can_be_patched():
    """Its indentation may be the error."""
    broken = NESTED.replace("    y = 2", "   y = 2")
    assert patch(block("   y = 2", "    y = 2"), broken) == NESTED


def test_overlapping_blocks_are_refused_with_a_reason():
    """The second of two overlapping blocks does not match any more."""
    both = block("    y = 2", "    y = 3") + block(
        "    y = 2\n    for i in range(3):", "    y = 4"
    )
    assert (
        "block 2: its SEARCH part is not in a.py any more: an earlier block"
        in apply_patch({"a.py": NESTED}, both).error
    )


def test_lines_of_other_languages_are_not_reindented():
    """Where indentation has no meaning, an exact match takes the lines as they are."""
    text = "void f() {\n    int a = 1;\n}\n"
    assert apply_patch({"a.cpp": text}, block("    int a = 1;", "int a = 2;")).files[
        "a.cpp"
    ] == text.replace("    int a = 1", "int a = 2")
    assert apply_patch({"a.cpp": text}, block("int a = 1;", "int a = 2;")).files[
        "a.cpp"
    ] == text.replace("1", "2")


def test_a_match_inside_the_marks_takes_precedence_over_one_outside():
    """Lines that are both inside and outside of the marks are changed inside."""
    assert patch(block("    total = 0.5", "    total = 1.5")) == SEED.replace("0.5", "1.5", 1)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("I would not change it.", "has no block from"),
        (block("    missing()", "pass"), "block 1: its SEARCH part is not in solve.py"),
        (block("        total += i * 22", "pass"), "most like its first is 'total += i * 2'"),
        (
            block("    total = 0.5\n    while n:", "pass"),
            "'total = 0.5', is there, and what follows differs",
        ),
        (
            block("import math", "import os"),
            "found only outside the EVOLVE-BLOCK marks of solve.py (line 3)",
        ),
        (block("", "pass"), "block 1: its SEARCH part is empty"),
        (block("x", "y", path="other.py"), "block 1: its SEARCH part is not in solve.py"),
        (block("    return total", "    return total"), "leaves the program as it is"),
        (
            "<<<<<<< SEARCH\n    return total\n>>>>>>> REPLACE",
            "block 1 of the answer has no line =======",
        ),
        ("<<<<<<< SEARCH\n    return total\n=======\n    return 1", "no line >>>>>>> REPLACE"),
        (
            "<<<<<<< SEARCH\n    return total\n" + block("a", "b"),
            "block 1 of the answer has no line =======",
        ),
        (
            block("    return total", "# EVOLVE-BLOCK-END\nimport os\n# EVOLVE-BLOCK-START"),
            "changed outside",
        ),
        (block("    return total", "# EVOLVE-BLOCK-END"), "come in pairs"),
        (
            block("# EVOLVE-BLOCK-START", "pass"),
            "found only outside the EVOLVE-BLOCK marks of solve.py (line 5)",
        ),
        (block("# EVOLVE-BLOCK-START\ndef solve(n):", "def solve(n):"), "come in pairs"),
        ("x" * (MAX_EDIT_CHARACTERS + 1), "has 100,001 characters, and 100,000 are read"),
    ],
)
def test_a_patch_that_does_not_apply_says_why(answer, message):
    """The reason says how to correct the response.

    The program stays as it was.
    """
    assert message in patch(answer)


def test_an_ambiguous_match_is_refused():
    """If a block matches several places, none is chosen."""
    assert "found 2 times in a.py: quote more lines" in patch(
        block("x = 1", "x = 2"), "x = 1\nx = 1\n"
    ).replace("solve.py", "a.py")
    assert "found 2 times in a.py, lib/b.py" in apply_patch(TWO, block("x = 1", "x = 2")).error


def test_a_program_of_several_files_is_patched_by_path():
    """Only a named file is searched; without a name, all files are."""
    assert apply_patch(TWO, block("x = 1", "x = 2", path="lib/b.py")).files == TWO | {
        "lib/b.py": "x = 2\nz = 3\n"
    }
    assert apply_patch(TWO, block("z = 3", "z = 4")).files == TWO | {"lib/b.py": "x = 1\nz = 4\n"}


def test_fences_within_a_block_are_removed():
    """Some models set a fence around each part."""
    assert patch(
        block("```python\n    return total\n```", "```python\n    return 1\n```")
    ) == SEED.replace("    return total", "    return 1")


def test_a_second_divider_belongs_to_the_replacement():
    """A heading underlined with seven equals signs can be written."""
    assert patch(block("x = 1", "'''Title\n=======\n'''"), "x = 1\n") == "'''Title\n=======\n'''\n"


def test_a_deletion_is_an_empty_replacement():
    """An empty replacement removes the lines."""
    assert patch("<<<<<<< SEARCH\ny = 2\n=======\n>>>>>>> REPLACE", "x = 1\ny = 2\n") == "x = 1\n"


@pytest.mark.parametrize("newline", ["\r\n", "\r"])
def test_a_response_may_have_any_newlines(newline):
    """CRLF and CR are newlines."""
    answer = block("        total += i * 2", "        total += i * 3").replace("\n", newline)
    assert patch(answer) == BETTER


def test_a_file_keeps_its_own_newlines():
    """A program with CRLF is edited in plain lines, and has CRLF throughout afterwards."""
    before = SEED.replace("\n", "\r\n")
    assert patch(
        block("        total += i * 2", "        total += i * 3"), before
    ) == BETTER.replace("\n", "\r\n")
    assert rewrite(f"```python\n{BETTER}```", before) == BETTER.replace("\n", "\r\n")


def test_only_newlines_end_a_line():
    """Form feeds and the separators of Unicode are text like any other."""
    odd = "a = '\u2028é\x0c'\nb = 1\n"
    expected = "a = '\u2028é\x0c'\nb = '\u2029🙂'\n"
    assert patch(block("b = 1", "b = '\u2029🙂'"), odd) == expected


def test_a_last_line_without_a_newline_is_found():
    """In the program and in the response."""
    assert patch(block("x = 1", "x = 2").rstrip("\n"), "y = 0\nx = 1") == "y = 0\nx = 2"


def test_lone_surrogates_are_replaced():
    """Characters that UTF-8 cannot encode become question marks."""
    assert patch(block("x = 1", "x = '\ud800'"), "x = 1\n") == "x = '?'\n"


def test_the_length_of_a_program_is_bounded():
    """Edits stop at a length that a prompt can still show."""
    assert "longer than 100,000 characters" in patch(
        block("x = 1", "x = 1\n" + "#" * 99_000), "x = 1\n#" + "y" * 2000
    )


def test_hostile_responses_are_read_in_little_time():
    """Thousands of equal lines, marks and fences are read in one pass."""
    same = "x = 1\n" * 15_000
    assert "times in" in patch(block("x = 1\n" * 7_000 + "x = 1", "y"), same)
    assert "times in" in patch(block("x = 1 \n" * 7_000 + "x = 1", "y"), same)
    assert patch("<<<<<<< SEARCH\n" * 6_000).startswith("block 1")
    assert rewrite("```python\n" * 9_000).count("```") == 8_999
    assert "has 5000 code blocks" in rewrite("```\n```\n" * 5_000)


HOSTILE = {
    "near places": block("".join(" " * (i % 5) + "x = 1\n" for i in range(4000)), "z"),
    "many blocks": "".join(block(f"x{i} = {i}", f"x{i} = 0") for i in range(200)),
    "alike": block("ba" * 100, "x"),
    "fences": "```\n" * 20_000,
    "languages": "```json\n" * 12_000,
    "newlines": "```json" + "\n" * 90_000,
    "indented": "".join(" " * (i % 300) + "```\n" for i in range(600)),
    "paths": "\n".join(["a/" * 40 + "b.py"] * 1200),
    "words": "```" + " a.b" * 24_000,
    "spaces": " " * 99_000,
    "dividers": "<<<<<<< SEARCH\n" + "=======\n" * 12_000,
    "marks": "```python\n" + "# EVOLVE-BLOCK-START\n# EVOLVE-BLOCK-END\n" * 2200 + "```",
    "near marks": "```python\n" + "# evol black\n" * 7000 + "```",
}


def calls(work):
    """Returns the number of function calls, of Python and of C, as a measure of work."""
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


@pytest.mark.parametrize("name", HOSTILE)
def test_the_work_for_a_response_is_linear_in_its_length(name):
    """At most some hundred calls for each line of the response and of the program."""
    for text in (
        "x = 1\n" * 15_000,
        "".join(f"x{i} = {i}\n" for i in range(6000)),
        "ab" * 99 + "\n" + "abab\n" * 400,
    ):
        lines = text.count("\n") + HOSTILE[name].count("\n")
        for edit in (apply_patch, apply_rewrite):
            assert (
                calls(lambda edit=edit, text=text: edit({"a.py": text}, HOSTILE[name]))
                < 300 * lines + 100_000
            )


def test_the_number_of_blocks_of_a_response_is_bounded():
    """Each is searched in the whole program."""
    assert "has 300 SEARCH/REPLACE blocks, and 200 are read" in patch(
        block("x", "y") * 300, "x = 0\n"
    )


@given(
    st.text(st.sampled_from("<=>SEARCHREPL`~ \n\r#xEVOLVE-BLOCKSTARND.py\x00\u2028"), max_size=300)
)
def test_no_response_raises_an_exception(answer):
    """Any response gives a program that is unchanged outside its blocks, or an error."""
    for edit in (apply_patch, apply_rewrite):
        for message in (answer, block("    return total", answer), f"```\n{answer}\n```"):
            edited = edit({"solve.py": SEED}, message)
            assert bool(edited.error) != bool(edited.files)
            assert edited.error or not changed_outside({"solve.py": SEED}, edited.files)


# Reading and applying rewrites: one odd answer a test.


def test_the_whole_file_with_its_marks_is_taken():
    """Prose around the code block is left out."""
    assert rewrite(f"Here it is:\n\n```python\n{BETTER}```\n\nIt triples.") == BETTER


def test_the_content_of_the_only_block_is_taken():
    """Without marks, the code goes between the old ones."""
    assert rewrite(f"```python\n{TRIPLED}```") == BETTER


def test_marks_with_the_text_between_them_are_taken():
    """The text outside the blocks may be left out."""
    assert rewrite(f"```python\n# EVOLVE-BLOCK-START\n{TRIPLED}# EVOLVE-BLOCK-END\n```") == BETTER


def test_whitespace_outside_the_blocks_is_ignored():
    """Empty lines and spaces at the ends of lines, added or removed, are no change."""
    assert (
        rewrite(f"```python\n\n{BETTER.replace('import math', 'import math  ').rstrip()}\n```")
        == BETTER
    )


def test_changes_outside_the_blocks_are_refused():
    """Another import above the marks is not taken."""
    assert "changed outside" in rewrite(
        f"```python\n{BETTER.replace('import math', 'import os')}```"
    )


def test_forged_marks_are_refused():
    """More blocks than the program has, or marks without a partner."""
    more = BETTER + "# EVOLVE-BLOCK-START\nimport os\n# EVOLVE-BLOCK-END\n"
    assert "changed outside" in rewrite(f"```python\n{more}```")
    assert "come in pairs" in rewrite("```python\n# EVOLVE-BLOCK-START\npass\n```")
    assert "changed outside" in rewrite(
        "```\n# EVOLVE-BLOCK-START\nx\n# EVOLVE-BLOCK-END\n```", "x = 1\n"
    )


def test_a_file_without_marks_is_taken_as_a_whole():
    """It may change anywhere."""
    assert rewrite("```\ny = 2\n```", "x = 1\n") == "y = 2\n"


def test_two_blocks_need_their_marks():
    """Code without marks could be for either block."""
    assert "changed outside" in rewrite(f"```python\n{TRIPLED}```", SEED + SEED)


def test_a_response_without_code_is_refused_with_a_reason():
    """Code without a fence cannot be told from prose."""
    assert "has no code block" in rewrite("I would rather write a poem.")


def test_think_sections_are_ignored():
    """Code in a think section is not used."""
    assert rewrite(f"<think>\n```python\npass\n```\n</think>\n```python\n{TRIPLED}```") == BETTER


def test_a_shell_command_beside_the_program_is_ignored():
    """Of several blocks the one with marks counts, or the only one in Python."""
    assert rewrite(f"```python\n{BETTER}```\nRun it:\n```bash\npython solve.py\n```") == BETTER
    assert rewrite(f"```bash\npython solve.py\n```\n```python\n{TRIPLED}```") == BETTER
    assert rewrite(f"```python\nx = 3\n```\n```python\n{BETTER}```") == BETTER


def test_two_candidates_for_one_file_are_refused():
    """None is chosen."""
    assert "has 2 code blocks" in rewrite("```python\nx\n```\n```python\ny\n```")
    assert "more than one code block for solve.py" in rewrite(
        "solve.py\n```\nx\n```\nsolve.py\n```\ny\n```"
    )


def test_an_unclosed_fence_ends_with_the_response():
    """Models forget the last fence easily."""
    assert rewrite(f"```python\n{TRIPLED}") == BETTER


def test_a_fence_closes_without_a_newline_after_it():
    """The response may end there."""
    assert rewrite(f"```python\n{TRIPLED}```") == rewrite(f"```python\n{TRIPLED}```\n") == BETTER


def test_fences_in_the_code_are_part_of_it():
    """Indented, of another language, or shorter than the one around."""
    inner = "x = '''\n    ```\n    y\n    ```\n'''\n"
    assert rewrite(f"```python\n{inner}```", "x = 1\n") == inner
    inner = "x = '''\n```sh\ny\n```\n'''\n"
    assert rewrite(f"```python\n{inner}```", "x = 1\n") == inner
    inner = "x = '''\n```\ny\n```\n'''\n"
    assert rewrite(f"````python\n{inner}````", "x = 1\n") == inner


def test_an_indented_fence_is_dedented():
    """A code block below a list item."""
    assert (
        rewrite("1. new:\n   ```python\n   if x:\n       y = 2\n   ```", "x = 1\n")
        == "if x:\n    y = 2\n"
    )


def test_tildes_are_a_fence():
    """As Markdown has it."""
    assert rewrite("~~~python\ny = 2\n~~~", "x = 1\n") == "y = 2\n"


def test_the_last_line_of_a_code_block_is_no_path():
    """The text of one block is not the path of the next."""
    first, second = fenced_blocks("```\nnp.pi\n```\n```\nx\n```", ["solve.py"])
    assert (first.path, second.path) == ("", "")


@pytest.mark.parametrize(
    "head", ["main.py", "src/solve.py", "/work/solve.py", "**`other.py`**", "File: program.py"]
)
def test_any_name_above_the_code_means_the_only_file(head):
    """There is no other file that it could be."""
    assert rewrite(f"{head}\n```python\n{BETTER}```") == BETTER
    assert patch(f"{head}\n" + block("        total += i * 2", "        total += i * 3")) == BETTER
    assert rewrite(f"{head}\n```python\n{BETTER}```\n\n```bash\npython main.py\n```") == BETTER


def test_a_file_is_known_by_the_end_of_its_path():
    """If only one file has that ending."""
    files = {"seed/main.py": "x = 1\n", "seed/util.py": "y = 1\n"}
    assert apply_rewrite(files, "util.py\n```\ny = 2\n```").files == files | {
        "seed/util.py": "y = 2\n"
    }
    assert (
        "is not one of the program's files"
        in apply_rewrite(files, "other.py\n```\ny = 2\n```").error
    )
    two = {"a/x.py": "x = 1\n", "b/x.py": "x = 2\n"}
    assert (
        "x.py is not one of the program's files"
        in apply_rewrite(two, "x.py\n```\ny = 2\n```").error
    )


@pytest.mark.parametrize("code", ["", "\n", "   \n\t\n", "# nothing\n\n# here\n"])
def test_an_empty_code_block_is_no_program(code):
    """Nor is one of comments, or a patch that takes all code away."""
    for text in ("x = 1\n", SEED):
        assert any(
            message in rewrite(f"```python\n{code}```", text)
            for message in ("is empty", "nothing would be left")
        )
    assert "nothing would be left of solve.py" in patch(
        block("x = 1", code.rstrip("\n")), "x = 1\n"
    )


def test_a_program_of_several_files_is_rewritten_by_path():
    """Files that are not named stay; code without a path is refused where it could be for any."""
    assert apply_rewrite(TWO, "lib/b.py:\n```python\nz = 4\n```").files == TWO | {
        "lib/b.py": "z = 4\n"
    }
    assert apply_rewrite(TWO, "```python:a.py\nx = 3\n```\n```lib/b.py\nz = 4\n```").files == {
        "a.py": "x = 3\n",
        "lib/b.py": "z = 4\n",
    }
    assert "set one of a.py, lib/b.py above it" in apply_rewrite(TWO, "```\nz = 4\n```").error
    assert (
        "c.py is not one of the program's files"
        in apply_rewrite(TWO, "c.py\n```\nz = 4\n```").error
    )


# What a model is shown.


def test_different_numbers_have_different_texts():
    """They have 6 digits, or as many as needed; nan is a value too."""
    assert format_distinct([1.0, 2.5]) == ["1", "2.5"]
    assert format_distinct([1.0, 1.0 + 2**-52]) == ["1", "1.0000000000000002"]
    assert format_distinct([2.63598, 2.635981, 2.63598]) == ["2.63598", "2.635981", "2.63598"]
    assert format_distinct([float("nan"), 1.0]) == ["nan", "1"]


@given(st.lists(st.floats(allow_nan=False), max_size=5))
def test_texts_of_numbers_are_equal_exactly_if_the_numbers_are(values):
    """For any scores."""
    shown = format_distinct(values)
    assert [a == b for a in shown for b in shown] == [
        repr(a) == repr(b) for a in values for b in values
    ]


def test_long_texts_lose_their_middle():
    """The end, which has the error, stays, and the text says how much is left out."""
    text = "Traceback" + "x" * 5000 + "ValueError: no"
    assert shorten_middle(text, 5100) == text
    assert shorten_middle(text, 300).startswith("Traceback") and shorten_middle(
        text, 300
    ).endswith("ValueError: no")
    assert "[4,723 characters left out]" in shorten_middle(text, 300)


def test_a_fence_is_longer_than_any_within():
    """A program cannot end the block it is shown in."""
    assert fence("x = 1") == "```\nx = 1\n```"
    assert fence("'''\n````\n'''\n", "python").startswith("`````python\n")


def batch(*texts, score=None, notes=None, outcome=None, first=10):
    """Elites with these programs, at (i, i / 2)."""
    n = len(texts)
    made = Proposal(
        [{"solve.py": text} for text in texts],
        np.full((n, 1), NO_CANDIDATE, np.int32),
        ["seed"] * n,
    )
    place = np.arange(2 * n, dtype=float).reshape(n, 2) / [1, 2]
    return Batch.unevaluated(made).replace(
        id=np.arange(first, first + n, dtype=np.int32),
        objective=np.array(score or [1.0 + i for i in range(n)]),
        descriptor=place,
        notes=notes or [{}] * n,
        outcome=np.array(outcome or ["ok"] * n, "<U14"),
    )


def test_other_programs_are_shown_if_there_is_room():
    """In their order, without the program itself, and without one that is too long."""
    texts = lambda others: [
        c.genome["solve.py"] for c in select_fitting(list(others), list(batch("b")))
    ]
    assert texts(batch("d", "a", "b", "c")) == ["d", "a", "c"]
    assert texts(batch("a" * 40_000, "c")) == ["c"]


def recording_model(answer):
    """Returns a model with one response, and the list of the prompts it receives."""
    prompts = []

    def model(prompt):
        prompts.append(prompt)
        return answer

    return model, prompts


TASK = "Write `solve(n)`, the greater the sum the better.\n"
SQUARED = SEED.replace("i * 2", "i ** 2")
AXES = ("length", "loops")
CONTEXT = Context(
    batch(
        SEED,
        BETTER,
        score=[2.635862, 2.6358623],
        notes=[{"sum": 6.5, "output": "a line\n```\nanother", "model": "m", "dollars": 0.1}, {}],
    ),
    [batch(SQUARED, SEED, score=[2.6358624, 2.635862], first=20)],
    np.array([[12.0, 1.0]]),
    "Loops over n are slow.",
)


def failing(**columns):
    failed = batch(
        SEED.replace("0.5", "1 / 0"), outcome=["failed"], score=[float("nan")], first=30
    )
    return failed.replace(
        notes=[{"error": "Traceback:\n  line 7\nZeroDivisionError: division by zero"}], **columns
    )


def after_learning(operator, *batches):
    for some in batches:
        nothing = np.full(len(some), -1)
        operator.learn(some, Added(nothing, nothing, nothing))
    return operator


@pytest.mark.parametrize(
    ("name", "make", "context"),
    [
        ("patch", lambda ask: Patch(ask, TASK, AXES), CONTEXT),
        ("patch-bare", lambda ask: Patch(ask, TASK), Context(batch("x = 1"))),
        ("full", lambda ask: Full(ask, TASK, AXES), CONTEXT),
        ("full-files", lambda ask: Full(ask, TASK), Context(batch("").replace(genome=[TWO]))),
        ("cross", lambda ask: Cross(ask, TASK, AXES), CONTEXT),
        ("repair", lambda ask: after_learning(Repair(ask, TASK, AXES), failing()), CONTEXT),
    ],
)
def test_prompts_are_golden(name, make, context):
    """Prompts equal the golden files, which QDKIT_GOLDEN=1 writes again."""
    ask, prompts = recording_model("no")
    operator = make(ask)
    some = context.parents.take(np.arange(operator.arity))
    operator.turn(1).propose(KEY, replace(context, parents=some), 1)
    if os.environ.get("QDKIT_GOLDEN"):
        (GOLDEN / f"{name}.txt").write_text(prompts[0] + "\n", encoding="utf-8")
    assert prompts[0] + "\n" == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def test_braces_in_programs_and_tasks_stay():
    """Nothing that is shown is taken for a name to be filled in."""
    ask, prompts = recording_model("no")
    Patch(ask, "Use {path} or {n}.").propose(KEY, Context(batch("x = '{task} {marks}'\n")), 1)
    assert "Use {path} or {n}." in prompts[0] and "x = '{task} {marks}'" in prompts[0]


def test_long_notes_of_the_referee_are_shortened():
    """Endless output does not fill the prompt."""
    ask, prompts = recording_model("no")
    loud = batch("x = 1", notes=[{f"note {i}": "y" * 50_000 for i in range(50)}])
    Patch(ask, TASK).propose(KEY, Context(loud), 1)
    assert len(prompts[0]) < 2000 + 2 * MAX_NOTE_CHARACTERS


def test_notes_of_the_toolkit_are_not_shown():
    """Prompts have no vector, price or time, since measurements differ between runs."""
    ask, prompts = recording_model("no")
    noted = {
        "novelty": {"vectors": {"e": "AAAA"}},
        "cpu_seconds": 1.5,
        "dollars": 0.1,
        "why": "too flat",
    }
    Patch(ask, TASK).propose(KEY, Context(batch("x = 1", notes=[noted])), 1)
    assert "too flat" in prompts[0] and not any(
        word in prompts[0] for word in ("AAAA", "1.5", "dollars")
    )


# The operators.


def test_a_response_that_applies_makes_a_candidate():
    """It has the program, its parent, and the notes on the edit."""
    ask, prompts = recording_model(
        block("for i in range(n):\n    total += i * 2", "for i in range(n):\n    total += i * 3")
    )
    made = Patch(ask, TASK).propose(KEY, Context(batch(SEED)), 1)
    assert (
        made.genome == [{"solve.py": BETTER}]
        and made.parents.tolist() == [[10]]
        and made.origin == ["patch"]
    )
    assert list(made.outcome) == [Outcome.OK] and len(prompts) == 1
    assert made.notes[0]["edit"] == {"kind": "patch", "tries": 1, "loose": 1}


def test_a_response_that_does_not_apply_costs_one_retry():
    """It is sent back with the reason.

    The second response makes the candidate, and the notes have the first error.
    """
    wrong, right = (
        block("    totl = 0.5", "    total = 1.5"),
        block("    total = 0.5", "    total = 1.5"),
    )
    with ModelServer([wrong, right]) as server:
        made = Patch(LLM("m", base_url=server.url), TASK).propose(KEY, Context(batch(SEED)), 1)
        first, second = (exchange.body["messages"] for exchange in server.log)
    assert made.genome == [{"solve.py": SEED.replace("0.5", "1.5", 1)}] and list(made.outcome) == [
        "ok"
    ]
    assert second[:2] == [*first, {"role": "assistant", "content": wrong}]
    assert (
        "its SEARCH part is not in solve.py; the line there most like its first is 'total = 0.5'"
        in (second[2]["content"])
    )
    assert (
        made.notes[0]["edit"]["tries"] == 2
        and "not in solve.py" in made.notes[0]["edit"]["refused"]
    )


def test_after_a_second_failure_the_candidate_is_invalid():
    """The candidate is invalid, has no program, and has the reason in its notes.

    A plain function receives one text.
    """
    ask, prompts = recording_model("x" * 50_000)
    made = Full(ask, TASK).propose(KEY, Context(batch(SEED)), 1)
    assert list(made.outcome) == [Outcome.INVALID] and made.genome == [{}] and len(prompts) == 2
    assert "has no code block" in made.notes[0]["error"]
    assert prompts[1].startswith(prompts[0]) and len(prompts[1]) < len(prompts[0]) + 21_000


def test_refusals_are_retried_and_outages_are_infrastructure():
    """A refusal costs one more question, as with texts.

    A server that is down does not make a candidate invalid.
    """
    right = block("    total = 0.5", "    total = 1.5")
    with ModelServer([FAULTS["refusal"], right, FAULTS["truncated"], FAULTS["refusal"]]) as server:
        made = Patch(LLM("m", base_url=server.url), TASK).propose(
            KEY, Context(batch(SEED, SEED)), 2
        )
        assert server.log[0].body == server.log[1].body
    assert list(made.outcome) == ["ok", "invalid"] and made.notes[1]["error"].startswith("refused")
    with ModelServer([FAULTS["broken"]] * 1000) as down:
        made = Patch(LLM("m", base_url=down.url, patience=0.2), TASK).propose(
            KEY, Context(batch(SEED)), 1
        )
    assert list(made.outcome) == ["infrastructure"] and made.genome == [{}]


def test_a_crossover_takes_different_programs():
    """Equal parents are replaced by inspirations, and a program alone is written anew."""
    ask, prompts = recording_model(f"```python\n{SQUARED}```")
    cross = Cross(ask, TASK)
    twins = batch(SEED, SEED)
    made = cross.propose(KEY, Context(twins, [batch(SEED, BETTER, first=20)]), 1)
    assert made.genome == [{"solve.py": SQUARED}] and made.parents.tolist() == [[10, 11]]
    assert (
        "The programs to join" in prompts[0]
        and BETTER in prompts[0]
        and prompts[0].count(SEED) == 1
    )
    assert cross.propose(KEY, Context(twins), 1).notes[0]["edit"]["kind"] == "full"
    with pytest.raises(ValueError, match="2 parents or more, not 1"):
        Cross(ask, TASK, parents=1)


def test_failed_children_of_the_best_are_repaired_first_and_each_once():
    """The error is shown, the failed program is the parent, and the next turn repairs the next."""
    mend = block("    total = 1 / 0", "    total = 1.5")
    ask, prompts = recording_model(mend)
    elites = batch(SEED, BETTER)
    poor = failing(parents=np.array([[10]], np.int32))
    rich = failing(parents=np.array([[11]], np.int32), id=np.array([29], np.int32))
    repair = after_learning(Repair(ask, TASK), elites, poor, rich)
    made = repair.turn(1).propose(KEY, Context(elites.take([0])), 1)
    assert made.genome == [{"solve.py": poor.genome[0]["solve.py"].replace("1 / 0", "1.5", 1)}]
    assert made.parents.tolist() == [[29]] and "ZeroDivisionError: division by zero" in prompts[0]
    made = repair.turn(2).propose(KEY, Context(elites), 2)
    assert made.parents.tolist() == [[30], [11]]
    assert [notes["edit"]["kind"] for notes in made.notes] == ["repair", "patch"]


def test_candidates_without_a_program_and_failed_repairs_are_not_repaired():
    """Answers without a program, candidates that were never tried, and repairs that failed."""
    ask, _ = recording_model("no")
    nothing = failing().replace(genome=[{}])
    again = failing().replace(notes=[{"edit": {"kind": "repair"}, "error": "x"}])
    rejected = failing(outcome=np.array(["rejected"], "<U14"))
    repair = after_learning(Repair(ask, TASK), nothing, again, rejected)
    assert repair.turn(1).propose(KEY, Context(batch(SEED)), 1).parents.tolist() == [[10]]


def test_the_number_of_waiting_repairs_is_bounded():
    """The memory is bounded for any number of failures and any length of the search."""
    ask, _ = recording_model("no")
    repair = after_learning(
        Repair(ask, TASK), *(failing(id=np.array([i], np.int32)) for i in range(100))
    )
    after_learning(repair, batch(*["x"] * 5000))
    assert (
        len(repair._waiting) == 32
        and repair._waiting[0].id == 99
        and len(repair._objective) == 4096
    )


def test_every_edit_has_a_name_of_its_own():
    """Names have the model and the kind, so a portfolio can have two models.

    An empty task is refused.
    """
    models = [
        LLM("small", base_url="http://127.0.0.1:1"),
        LLM("large", base_url="http://127.0.0.1:1"),
    ]
    both = Portfolio([programmer(model, TASK) for model in models])
    assert [edit.name for edit in both.operators[0].operators] == [
        "small patch",
        "small full",
        "small cross",
        "small repair",
    ]
    assert len(both.models) == 8
    with pytest.raises(ValueError, match="task is empty"):
        Patch(models[0], " \n")


def test_a_portfolio_passes_outcomes_and_notes_on():
    """The outcomes and notes of its operators, beside those of operators that have none."""

    class Same(qdkit.Operator):
        name = "same"

        def propose(self, key, context, n):
            return Proposal.of(list(context.parents.genome), self.name, context.parents)

    ask, _ = recording_model("no")
    made = (
        Portfolio([Same(), Patch(ask, TASK)]).turn(2).propose(KEY, Context(batch(SEED, SEED)), 2)
    )
    assert (
        list(made.outcome) == ["ok", "invalid"]
        and made.notes[0] == {}
        and "has no block" in made.notes[1]["error"]
    )


class Sums:
    """Programs that are read and not run: the sum and the number of their numbers."""

    bounds = ((0.0, 40.0), (0.0, 10.0))

    def seeds(self, key, n):
        return [{"solve.py": SEED}, {"solve.py": BETTER}, {"solve.py": SQUARED}][:n]

    def evaluate(self, genomes):
        score = [float(genome["solve.py"].split("total = ")[1].split()[0]) for genome in genomes]
        digit = [
            float(sum(map(int, filter(str.isdigit, genome["solve.py"])))) for genome in genomes
        ]
        bad = [d % 3 == 0 and d != 15 for d in digit]
        return qdkit.Evaluation(
            score,
            [(d, s) for d, s in zip(digit, score, strict=True)],
            notes=[{"error": "a multiple of 3"} if b else {} for b in bad],
            outcome=["failed" if b else "ok" for b in bad],
        )


@pytest.mark.parametrize("kind", [Patch, Full, Cross, Repair])
def test_edits_conform_to_the_operator_contract(kind):
    """See `qdkit.testing.check_operator`."""
    with ModelServer() as server:
        check_operator(kind(LLM("m", base_url=server.url), TASK), Sums())


def test_a_search_of_programs_uses_every_edit_and_resumes(run_folder):
    """With the test server, a portfolio makes candidates by all four edits, and resumes."""
    with ModelServer() as server:
        model = LLM("m", base_url=server.url)

        def search(**place):
            return search_of(
                Sums(),
                Grid((8, 5), Sums.bounds),
                programmer(model, TASK),
                batch=1,
                in_flight=4,
                ahead=4,
                **place,
            )

        whole = search().run(60, progress=False)
        first = search(run=run_folder)
        for i, _ in enumerate(first.steps(60)):
            if i == 30:
                break
        first.close()
        with search(run=run_folder, resume=True) as second:
            second.run(60 - len(second.commits), progress=False)
            assert second.ledger.dump() == whole.ledger.dump()
    made = whole.candidates_frame()
    ok = made[made.outcome == "ok"]
    kinds = {notes["edit"]["kind"] for notes in ok.notes if "edit" in notes}
    assert kinds == {"patch", "full", "cross", "repair"}
    assert set(ok.origin) == {"seed", "m patch", "m full", "m cross", "m repair"}

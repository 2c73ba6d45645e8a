"""Edits of programs: how answers are read and applied, what a model is shown, and the operators that ask."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qdkit
from qdkit.archives import Grid
from qdkit.elites import Added
from qdkit.llm import LLM
from qdkit.operators import Cross, Full, Patch, Portfolio, Repair, programmer
from qdkit.operators.edits.applying import LONGEST, patched, rewritten
from qdkit.operators.edits.reading import fenced, replacements
from qdkit.operators.edits.showing import SAID, clipped, fitting, told_apart
from qdkit.programs import changed_outside
from qdkit.prompts import fence
from qdkit.testing import FAULTS, ModelServer, check_operator
from qdkit.types import NOBODY, Batch, Context, Outcome, Proposal

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
    """What a patch makes of a program of one file: its text, or the reason why not."""
    edited = patched({"solve.py": text}, answer)
    return edited.error or edited.files["solve.py"]


def rewrite(answer, text=SEED):
    edited = rewritten({"solve.py": text}, answer)
    return edited.error or edited.files["solve.py"]


BLOCK = SEED[SEED.index("def solve") : SEED.index("# EVOLVE-BLOCK-END")]
TRIPLED = BLOCK.replace("i * 2", "i * 3")


# Reading and applying patches.


def test_a_patch_replaces_the_lines_it_quotes():
    """One block, in prose, with its path or without, gives the program with those lines changed."""
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
def test_a_path_is_found_however_it_is_dressed(head):
    """Headings, bold, backticks, labels and fences around a path do not count."""
    (found,) = replacements(head + "\n" + block("a", "b"), ["solve.py"])
    assert found.path == ("" if head == "```" else "solve.py")


def test_several_blocks_are_applied_in_order():
    """A later block finds what an earlier one has put there."""
    first = block("        total += i * 2", "        total += i * 4")
    assert patch(first + block("        total += i * 4", "        total += i * 3")) == BETTER


def test_a_name_with_underscores_is_a_path():
    """`__init__.py` keeps its underscores."""
    (found,) = replacements(block("a", "b", path="pkg/__init__.py"), ["pkg/__init__.py"])
    assert found.path == "pkg/__init__.py"


def test_an_exact_place_is_taken_before_a_loose_one():
    """Lines that match to the character are meant, also where others match but for blanks."""
    edited = patched({"a.py": "if y:\n    x = 1\nx = 1\n"}, block("x = 1", "x = 2"))
    assert edited.files == {"a.py": "if y:\n    x = 1\nx = 2\n"} and edited.loose == 0


def test_a_place_is_found_but_for_whitespace_and_said_so():
    """Another indentation, blanks at the ends of lines and empty lines around are passed over, and counted."""
    quoted = "\nfor i in range(n):  \n    total += i * 2\n"
    edited = patched({"solve.py": SEED}, block(quoted, "for i in range(n):\n    total += i * 3"))
    assert edited.files["solve.py"] == BETTER and edited.loose == 1


def test_loose_lines_keep_their_indentation_among_each_other():
    """A place whose lines are indented otherwise among each other is another place."""
    assert "is not in solve.py" in patch(block("for i in range(n):\ntotal += i * 2", "pass"))


def test_lines_match_as_a_whole():
    """`x = 1` is not found within `xx = 10`."""
    assert "is not in" in patch(block("x = 1", "x = 2"), "xx = 10\n")


def test_a_line_of_a_block_is_meant_before_one_of_the_frame():
    """What stands both inside and outside of the marks is changed inside."""
    assert patch(block("    total = 0.5", "    total = 1.5")) == SEED.replace("0.5", "1.5", 1)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("I would not change it.", "has no block from"),
        (block("    missing()", "pass"), "block 1: its SEARCH part is not in solve.py"),
        (block("        total += i * 22", "pass"), "most like its first is 'total += i * 2'"),
        (block("    total = 0.5\n    while n:", "pass"), "'total = 0.5', is there, and what follows differs"),
        (block("import math", "import os"), "solve.py is changed outside its EVOLVE-BLOCK marks"),
        (block("", "pass"), "block 1: its SEARCH part is empty"),
        (block("x", "y", path="other.py"), "other.py is not one of the program's files: solve.py"),
        (block("    return total", "    return total"), "leaves the program as it is"),
        ("<<<<<<< SEARCH\n    return total\n>>>>>>> REPLACE", "block 1 of the answer has no line ======="),
        ("<<<<<<< SEARCH\n    return total\n=======\n    return 1", "no line >>>>>>> REPLACE"),
        ("<<<<<<< SEARCH\n    return total\n" + block("a", "b"), "block 1 of the answer has no line ======="),
        (block("    return total", "# EVOLVE-BLOCK-END\nimport os\n# EVOLVE-BLOCK-START"), "changed outside"),
        (block("    return total", "# EVOLVE-BLOCK-END"), "come in pairs"),
        (block("# EVOLVE-BLOCK-START", "pass"), "come in pairs"),
        ("x" * (LONGEST + 1), "has 100,001 characters, and 100,000 are read"),
    ],
)
def test_a_patch_that_does_not_apply_says_why(answer, said):
    """The reason is a sentence by which the model can mend its answer; the program stays as it was."""
    assert said in patch(answer)


def test_a_place_that_is_not_the_only_one_is_refused():
    """Where a block may mean several places, none is chosen."""
    assert "found 2 times in a.py: quote more lines" in patch(block("x = 1", "x = 2"), "x = 1\nx = 1\n").replace(
        "solve.py", "a.py"
    )
    assert "found 2 times in a.py, lib/b.py" in patched(TWO, block("x = 1", "x = 2")).error


def test_a_program_of_several_files_is_patched_by_path():
    """A named file alone is looked at; without a name, the one file that has the lines."""
    assert patched(TWO, block("x = 1", "x = 2", path="lib/b.py")).files == TWO | {"lib/b.py": "x = 2\nz = 3\n"}
    assert patched(TWO, block("z = 3", "z = 4")).files == TWO | {"lib/b.py": "x = 1\nz = 4\n"}


def test_fences_within_a_block_are_left_out():
    """Some models set a fence around each part."""
    assert patch(block("```python\n    return total\n```", "```python\n    return 1\n```")) == SEED.replace(
        "    return total", "    return 1"
    )


def test_lines_that_look_like_a_divider_belong_to_the_replacement():
    """A heading underlined with seven equals signs can be written."""
    assert patch(block("x = 1", "'''Title\n=======\n'''"), "x = 1\n") == "'''Title\n=======\n'''\n"


def test_a_deletion_is_an_empty_replacement():
    """Nothing in the place of lines takes them out."""
    assert patch("<<<<<<< SEARCH\ny = 2\n=======\n>>>>>>> REPLACE", "x = 1\ny = 2\n") == "x = 1\n"


@pytest.mark.parametrize("newline", ["\r\n", "\r"])
def test_an_answer_may_end_its_lines_in_any_way(newline):
    """CRLF and CR are newlines."""
    answer = block("        total += i * 2", "        total += i * 3").replace("\n", newline)
    assert patch(answer) == BETTER


def test_a_file_keeps_its_own_newlines():
    """A program with CRLF is shown and edited in plain lines, and has CRLF throughout afterwards."""
    before = SEED.replace("\n", "\r\n")
    assert patch(block("        total += i * 2", "        total += i * 3"), before) == BETTER.replace("\n", "\r\n")
    assert rewrite(f"```python\n{BETTER}```", before) == BETTER.replace("\n", "\r\n")


def test_no_other_character_ends_a_line():
    """Form feeds and the separators of Unicode are text like any other."""
    odd = "a = '\u2028é\x0c'\nb = 1\n"
    assert patch(block("b = 1", "b = '\u2029🙂'"), odd) == "a = '\u2028é\x0c'\nb = '\u2029🙂'\n"


def test_a_last_line_without_a_newline_is_found():
    """In the program and in the answer."""
    assert patch(block("x = 1", "x = 2").rstrip("\n"), "y = 0\nx = 1") == "y = 0\nx = 2"


def test_half_a_surrogate_pair_never_reaches_the_program():
    """What cannot be written as UTF-8 becomes a question mark."""
    assert patch(block("x = 1", "x = '\ud800'"), "x = 1\n") == "x = '?'\n"


def test_a_program_does_not_grow_without_end():
    """Edits stop at a length that a prompt can still show."""
    assert "longer than 100,000 characters" in patch(block("x = 1", "x = 1\n" + "#" * 99_000), "x = 1\n#" + "y" * 2000)


def test_hostile_answers_are_read_in_little_time():
    """Thousands of equal lines, marks and fences are read in one pass."""
    same = "x = 1\n" * 15_000
    assert "times in" in patch(block("x = 1\n" * 7_000 + "x = 1", "y"), same)
    assert "times in" in patch(block("x = 1 \n" * 7_000 + "x = 1", "y"), same)
    assert patch("<<<<<<< SEARCH\n" * 6_000).startswith("block 1")
    assert rewrite("```python\n" * 9_000).count("```") == 8_999
    assert "has 5000 code blocks" in rewrite("```\n```\n" * 5_000)


@given(st.text(st.sampled_from("<=>SEARCHREPL`~ \n\r#xEVOLVE-BLOCKSTARND.py\x00\u2028"), max_size=300))
def test_no_answer_breaks_the_reader(answer):
    """Whatever a model says, there is a program within its frame or a reason, and never an exception."""
    for edit in (patched, rewritten):
        for said in (answer, block("    return total", answer), f"```\n{answer}\n```"):
            edited = edit({"solve.py": SEED}, said)
            assert bool(edited.error) != bool(edited.files)
            assert edited.error or not changed_outside({"solve.py": SEED}, edited.files)


# Reading and applying rewrites: one odd answer a test.


def test_the_whole_file_with_its_marks_is_taken():
    """Prose around the code block is left out."""
    assert rewrite(f"Here it is:\n\n```python\n{BETTER}```\n\nIt triples.") == BETTER


def test_the_content_of_the_only_block_is_taken():
    """Without marks, the code goes between the old ones."""
    assert rewrite(f"```python\n{TRIPLED}```") == BETTER


def test_the_marks_and_what_is_between_them_are_taken():
    """The frame may be left out."""
    assert rewrite(f"```python\n# EVOLVE-BLOCK-START\n{TRIPLED}# EVOLVE-BLOCK-END\n```") == BETTER


def test_blanks_in_the_frame_do_not_count():
    """Empty lines and blanks at the ends of lines, added to the frame or taken from it, are no change."""
    assert rewrite(f"```python\n\n{BETTER.replace('import math', 'import math  ').rstrip()}\n```") == BETTER


def test_a_changed_frame_is_refused():
    """Another import above the marks is not taken."""
    assert "changed outside" in rewrite(f"```python\n{BETTER.replace('import math', 'import os')}```")


def test_forged_marks_are_refused():
    """More blocks than the program has, or marks without a partner."""
    more = BETTER + "# EVOLVE-BLOCK-START\nimport os\n# EVOLVE-BLOCK-END\n"
    assert "changed outside" in rewrite(f"```python\n{more}```")
    assert "come in pairs" in rewrite("```python\n# EVOLVE-BLOCK-START\npass\n```")
    assert "changed outside" in rewrite("```\n# EVOLVE-BLOCK-START\nx\n# EVOLVE-BLOCK-END\n```", "x = 1\n")


def test_a_file_without_marks_is_taken_as_a_whole():
    """It may change everywhere."""
    assert rewrite("```\ny = 2\n```", "x = 1\n") == "y = 2\n"


def test_two_blocks_need_their_marks():
    """Which of two a code without marks is for cannot be known."""
    assert "changed outside" in rewrite(f"```python\n{TRIPLED}```", SEED + SEED)


def test_an_answer_without_code_says_so():
    """Code without a fence cannot be told from prose."""
    assert "has no code block" in rewrite("I would rather write a poem.")


def test_what_a_model_thinks_aloud_does_not_count():
    """Code within its thoughts is not its answer."""
    assert rewrite(f"<think>\n```python\npass\n```\n</think>\n```python\n{TRIPLED}```") == BETTER


def test_a_command_beside_the_program_is_left_out():
    """Of several blocks the one with marks counts, or the only one in Python."""
    assert rewrite(f"```python\n{BETTER}```\nRun it:\n```bash\npython solve.py\n```") == BETTER
    assert rewrite(f"```bash\npython solve.py\n```\n```python\n{TRIPLED}```") == BETTER
    assert rewrite(f"```python\nx = 3\n```\n```python\n{BETTER}```") == BETTER


def test_two_candidates_for_one_file_are_refused():
    """None is chosen."""
    assert "has 2 code blocks" in rewrite("```python\nx\n```\n```python\ny\n```")
    assert "more than one code block for solve.py" in rewrite("solve.py\n```\nx\n```\nsolve.py\n```\ny\n```")


def test_a_fence_that_is_never_closed_ends_with_the_answer():
    """The last line of an answer is easily forgotten."""
    assert rewrite(f"```python\n{TRIPLED}") == BETTER


def test_a_fence_closes_without_a_newline_after_it():
    """The answer may end right there."""
    assert rewrite(f"```python\n{TRIPLED}```") == rewrite(f"```python\n{TRIPLED}```\n") == BETTER


def test_fences_in_the_code_are_part_of_it():
    """Indented, of another language, or shorter than the one around."""
    inner = "x = '''\n    ```\n    y\n    ```\n'''\n"
    assert rewrite(f"```python\n{inner}```", "x = 1\n") == inner
    inner = "x = '''\n```sh\ny\n```\n'''\n"
    assert rewrite(f"```python\n{inner}```", "x = 1\n") == inner
    inner = "x = '''\n```\ny\n```\n'''\n"
    assert rewrite(f"````python\n{inner}````", "x = 1\n") == inner


def test_an_indented_fence_is_outdented():
    """A code block below a list item."""
    assert rewrite("1. new:\n   ```python\n   if x:\n       y = 2\n   ```", "x = 1\n") == "if x:\n    y = 2\n"


def test_tildes_make_a_fence():
    """As Markdown has it."""
    assert rewrite("~~~python\ny = 2\n~~~", "x = 1\n") == "y = 2\n"


def test_the_last_line_of_a_code_block_is_no_path():
    """What stands in one block does not name the next."""
    first, second = fenced("```\nnp.pi\n```\n```\nx\n```", ["solve.py"])
    assert (first.path, second.path) == ("", "")


def test_a_program_of_several_files_is_rewritten_by_path():
    """Files that are not named stay; code without a path is refused where it could be for any."""
    assert rewritten(TWO, "lib/b.py:\n```python\nz = 4\n```").files == TWO | {"lib/b.py": "z = 4\n"}
    assert rewritten(TWO, "```python:a.py\nx = 3\n```\n```lib/b.py\nz = 4\n```").files == {
        "a.py": "x = 3\n",
        "lib/b.py": "z = 4\n",
    }
    assert "set one of a.py, lib/b.py above it" in rewritten(TWO, "```\nz = 4\n```").error
    assert "c.py is not one of the program's files" in rewritten(TWO, "c.py\n```\nz = 4\n```").error


# What a model is shown.


def test_numbers_that_differ_look_different():
    """In 6 digits where that is enough, in as many as it takes where not; a nan is one too."""
    assert told_apart([1.0, 2.5]) == ["1", "2.5"]
    assert told_apart([1.0, 1.0 + 2**-52]) == ["1", "1.0000000000000002"]
    assert told_apart([2.63598, 2.635981, 2.63598]) == ["2.63598", "2.635981", "2.63598"]
    assert told_apart([float("nan"), 1.0]) == ["nan", "1"]


@given(st.lists(st.floats(allow_nan=False), max_size=5))
def test_shown_numbers_differ_exactly_where_the_numbers_do(values):
    """Whatever the scores."""
    shown = told_apart(values)
    assert [a == b for a in shown for b in shown] == [repr(a) == repr(b) for a in values for b in values]


def test_long_texts_lose_their_middle():
    """The end, where errors say what they are, is kept, and how much is left out is said."""
    text = "Traceback" + "x" * 5000 + "ValueError: no"
    assert clipped(text, 5100) == text
    assert clipped(text, 300).startswith("Traceback") and clipped(text, 300).endswith("ValueError: no")
    assert "[4,723 characters left out]" in clipped(text, 300)


def test_a_fence_is_longer_than_any_within():
    """So that a program cannot end the block it is shown in."""
    assert fence("x = 1") == "```\nx = 1\n```"
    assert fence("'''\n````\n'''\n", "python").startswith("`````python\n")


def batch(*texts, score=None, notes=None, outcome=None, first=10):
    """Elites with these programs, at (i, i / 2)."""
    n = len(texts)
    made = Proposal([{"solve.py": text} for text in texts], np.full((n, 1), NOBODY, np.int32), ["seed"] * n)
    place = np.arange(2 * n, dtype=float).reshape(n, 2) / [1, 2]
    return Batch.unevaluated(made).replace(
        id=np.arange(first, first + n, dtype=np.int32),
        objective=np.array(score or [1.0 + i for i in range(n)]),
        descriptor=place,
        notes=notes or [{}] * n,
        outcome=np.array(outcome or ["ok"] * n, "<U14"),
    )


def test_other_programs_are_shown_as_far_as_there_is_room():
    """In their order, without the program itself, and without one that is too long."""
    texts = lambda others: [c.genome["solve.py"] for c in fitting(list(others), list(batch("b")))]
    assert texts(batch("d", "a", "b", "c")) == ["d", "a", "c"]
    assert texts(batch("a" * 40_000, "c")) == ["c"]


def heard(answer):
    """A model that says one thing, and the prompts it was asked."""
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
    failed = batch(SEED.replace("0.5", "1 / 0"), outcome=["failed"], score=[float("nan")], first=30)
    return failed.replace(notes=[{"error": "Traceback:\n  line 7\nZeroDivisionError: division by zero"}], **columns)


def learned(operator, *batches):
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
        ("repair", lambda ask: learned(Repair(ask, TASK, AXES), failing()), CONTEXT),
    ],
)
def test_whole_prompts(name, make, context):
    """What a model is asked, to the letter; QDKIT_GOLDEN=1 writes the texts anew."""
    ask, prompts = heard("no")
    operator = make(ask)
    some = context.parents.take(np.arange(operator.arity))
    operator.turn(1).propose(KEY, replace(context, parents=some), 1)
    if os.environ.get("QDKIT_GOLDEN"):
        (GOLDEN / f"{name}.txt").write_text(prompts[0] + "\n", encoding="utf-8")
    assert prompts[0] + "\n" == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def test_braces_in_programs_and_tasks_stay():
    """Nothing that is shown is taken for a name to be filled in."""
    ask, prompts = heard("no")
    Patch(ask, "Use {path} or {n}.").propose(KEY, Context(batch("x = '{task} {marks}'\n")), 1)
    assert "Use {path} or {n}." in prompts[0] and "x = '{task} {marks}'" in prompts[0]


def test_what_a_referee_says_is_clipped():
    """Endless output does not fill the prompt."""
    ask, prompts = heard("no")
    loud = batch("x = 1", notes=[{f"note {i}": "y" * 50_000 for i in range(50)}])
    Patch(ask, TASK).propose(KEY, Context(loud), 1)
    assert len(prompts[0]) < 2000 + 2 * SAID


def test_what_the_toolkit_noted_is_not_what_the_referee_said():
    """A model is shown no vector, price or time: what was measured would make every prompt another."""
    ask, prompts = heard("no")
    noted = {"novelty": {"vectors": {"e": "AAAA"}}, "cpu_seconds": 1.5, "dollars": 0.1, "why": "too flat"}
    Patch(ask, TASK).propose(KEY, Context(batch("x = 1", notes=[noted])), 1)
    assert "too flat" in prompts[0] and not any(word in prompts[0] for word in ("AAAA", "1.5", "dollars"))


# The operators.


def test_an_answer_that_applies_makes_a_candidate():
    """The program, its parent, and how it came about."""
    ask, prompts = heard(block("for i in range(n):\n    total += i * 2", "for i in range(n):\n    total += i * 3"))
    made = Patch(ask, TASK).propose(KEY, Context(batch(SEED)), 1)
    assert made.genome == [{"solve.py": BETTER}] and made.parents.tolist() == [[10]] and made.origin == ["patch"]
    assert list(made.outcome) == [Outcome.OK] and len(prompts) == 1
    assert made.notes[0]["edit"] == {"kind": "patch", "tries": 1, "loose": 1}


def test_an_answer_that_does_not_apply_costs_one_retry():
    """It is sent back with the reason; the second answer makes the candidate, and the notes tell of the first."""
    wrong, right = block("    totl = 0.5", "    total = 1.5"), block("    total = 0.5", "    total = 1.5")
    with ModelServer([wrong, right]) as server:
        made = Patch(LLM("m", base_url=server.url), TASK).propose(KEY, Context(batch(SEED)), 1)
        first, second = (exchange.body["messages"] for exchange in server.log)
    assert made.genome == [{"solve.py": SEED.replace("0.5", "1.5", 1)}] and list(made.outcome) == ["ok"]
    assert second[:2] == [*first, {"role": "assistant", "content": wrong}]
    assert (
        "its SEARCH part is not in solve.py; the line there most like its first is 'total = 0.5'"
        in (second[2]["content"])
    )
    assert made.notes[0]["edit"]["tries"] == 2 and "not in solve.py" in made.notes[0]["edit"]["refused"]


def test_a_second_answer_that_does_not_apply_is_the_end():
    """The candidate is invalid, has no program and says why; a plain function is asked in one text."""
    ask, prompts = heard("x" * 50_000)
    made = Full(ask, TASK).propose(KEY, Context(batch(SEED)), 1)
    assert list(made.outcome) == [Outcome.INVALID] and made.genome == [{}] and len(prompts) == 2
    assert "has no code block" in made.notes[0]["error"]
    assert prompts[1].startswith(prompts[0]) and len(prompts[1]) < len(prompts[0]) + 21_000


def test_refusals_are_asked_again_and_outages_are_nobodys_fault():
    """As with texts: a refusal costs one more question; a server that is down makes no invalid candidate."""
    right = block("    total = 0.5", "    total = 1.5")
    with ModelServer([FAULTS["refusal"], right, FAULTS["truncated"], FAULTS["refusal"]]) as server:
        made = Patch(LLM("m", base_url=server.url), TASK).propose(KEY, Context(batch(SEED, SEED)), 2)
        assert server.log[0].body == server.log[1].body
    assert list(made.outcome) == ["ok", "invalid"] and made.notes[1]["error"].startswith("refused")
    with ModelServer([FAULTS["broken"]] * 1000) as down:
        made = Patch(LLM("m", base_url=down.url, patience=0.2), TASK).propose(KEY, Context(batch(SEED)), 1)
    assert list(made.outcome) == ["infrastructure"] and made.genome == [{}]


def test_a_crossover_takes_different_programs():
    """Equal parents are replaced by inspirations, and a program alone is written anew."""
    ask, prompts = heard(f"```python\n{SQUARED}```")
    cross = Cross(ask, TASK)
    twins = batch(SEED, SEED)
    made = cross.propose(KEY, Context(twins, [batch(SEED, BETTER, first=20)]), 1)
    assert made.genome == [{"solve.py": SQUARED}] and made.parents.tolist() == [[10, 11]]
    assert "The programs to join" in prompts[0] and BETTER in prompts[0] and prompts[0].count(SEED) == 1
    assert cross.propose(KEY, Context(twins), 1).notes[0]["edit"]["kind"] == "full"
    with pytest.raises(ValueError, match="2 parents or more, not 1"):
        Cross(ask, TASK, parents=1)


def test_a_repair_mends_the_child_of_the_best_and_each_once():
    """The error is shown, the failed program is the parent, and the next turn repairs the next."""
    mend = block("    total = 1 / 0", "    total = 1.5")
    ask, prompts = heard(mend)
    elites = batch(SEED, BETTER)
    poor = failing(parents=np.array([[10]], np.int32))
    rich = failing(parents=np.array([[11]], np.int32), id=np.array([29], np.int32))
    repair = learned(Repair(ask, TASK), elites, poor, rich)
    made = repair.turn(1).propose(KEY, Context(elites.take([0])), 1)
    assert made.genome == [{"solve.py": poor.genome[0]["solve.py"].replace("1 / 0", "1.5", 1)}]
    assert made.parents.tolist() == [[29]] and "ZeroDivisionError: division by zero" in prompts[0]
    made = repair.turn(2).propose(KEY, Context(elites), 2)
    assert made.parents.tolist() == [[30], [11]]
    assert [notes["edit"]["kind"] for notes in made.notes] == ["repair", "patch"]


def test_what_cannot_or_should_not_be_repaired_is_left():
    """Answers without a program, candidates that were never tried, and repairs that failed."""
    ask, _ = heard("no")
    nothing = failing().replace(genome=[{}])
    again = failing().replace(notes=[{"edit": {"kind": "repair"}, "error": "x"}])
    rejected = failing(outcome=np.array(["rejected"], "<U14"))
    repair = learned(Repair(ask, TASK), nothing, again, rejected)
    assert repair.turn(1).propose(KEY, Context(batch(SEED)), 1).parents.tolist() == [[10]]


def test_what_waits_for_repair_is_bounded():
    """However many programs fail, and however long the search, little is remembered."""
    ask, _ = heard("no")
    repair = learned(Repair(ask, TASK), *(failing(id=np.array([i], np.int32)) for i in range(100)))
    learned(repair, batch(*["x"] * 5000))
    assert len(repair._waiting) == 32 and repair._waiting[0].id == 99 and len(repair._score) == 4096


def test_every_edit_has_a_name_of_its_own():
    """By the model and the kind, so that two models can stand in one portfolio; an empty task is refused."""
    models = [LLM("small", base_url="http://127.0.0.1:1"), LLM("large", base_url="http://127.0.0.1:1")]
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


def test_a_portfolio_hands_on_what_became_of_a_question():
    """The outcomes and notes of its operators, beside those of operators that have none."""

    class Same(qdkit.Operator):
        name = "same"

        def propose(self, key, context, n):
            return Proposal.of(list(context.parents.genome), self.name, context.parents)

    ask, _ = heard("no")
    made = Portfolio([Same(), Patch(ask, TASK)]).turn(2).propose(KEY, Context(batch(SEED, SEED)), 2)
    assert list(made.outcome) == ["ok", "invalid"] and made.notes[0] == {} and "has no block" in made.notes[1]["error"]


class Sums:
    """Programs that are read and not run: the sum of their numbers is the score, and how many the kind."""

    bounds = ((0.0, 40.0), (0.0, 10.0))

    def seeds(self, key, n):
        return [{"solve.py": SEED}, {"solve.py": BETTER}, {"solve.py": SQUARED}][:n]

    def evaluate(self, genomes):
        score = [float(genome["solve.py"].split("total = ")[1].split()[0]) for genome in genomes]
        digit = [float(sum(map(int, filter(str.isdigit, genome["solve.py"])))) for genome in genomes]
        bad = [d % 3 == 0 and d != 15 for d in digit]
        return qdkit.Evaluation(
            score,
            [(d, s) for d, s in zip(digit, score, strict=True)],
            notes=[{"error": "a multiple of 3"} if b else {} for b in bad],
            outcome=["failed" if b else "ok" for b in bad],
        )


@pytest.mark.parametrize("kind", [Patch, Full, Cross, Repair])
def test_edits_keep_the_promises_of_operators(kind):
    """The same for the same key, of the kind of the parents, and nothing changed outside turn and learn."""
    with ModelServer() as server:
        check_operator(kind(LLM("m", base_url=server.url), TASK), Sums())


def test_a_search_of_programs_exercises_every_edit(run_folder):
    """With the test server as its model, a portfolio makes candidates by all four, and goes on as it began."""
    with ModelServer() as server:
        model = LLM("m", base_url=server.url)

        def search(**place):
            return qdkit.Search(
                Sums(), Grid((8, 5), Sums.bounds), programmer(model, TASK), batch=1, in_flight=4, ahead=4, **place
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

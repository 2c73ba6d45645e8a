"""Marks in the comments of any language, lines that resemble one, and unchanged frames."""

from __future__ import annotations

import jax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdkit.core.types import Batch, Context, Outcome, Proposal
from qdkit.domains import Program
from qdkit.operators.edits.applying import apply_patch, apply_rewrite
from qdkit.operators.edits.prompts import edit_prompt
from qdkit.programs.marks import blocks
from qdkit.programs.syntax import changed_outside, fill_blocks, frame_texts
from qdkit.programs.unclosed import unclosed

OPENERS = [
    *(
        ("#", ""),
        ("//", ""),
        ("--", ""),
        ("%", ""),
        (";", ""),
        ("!", ""),
        ("'", ""),
        ("REM ", ""),
        ("rem ", ""),
    ),
    *(
        ("/*", " */"),
        ("<!--", " -->"),
        ("(*", " *)"),
        ("{-", " -}"),
        ('"', ""),
        ("///", ""),
        ("##", ""),
        ("%%", ""),
    ),
    *(
        (";;", ""),
        ("//!", ""),
        ("/**", " */"),
        ("#!", ""),
        ("--[[", " ]]"),
        ("#|", " |#"),
        ("::", ""),
        ("dnl ", ""),
    ),
    *(
        ("<!--", "-->"),
        ("{-", "-}"),
        ("{{!--", "--}}"),
        ("<#--", "-->"),
        ("(;", " ;)"),
        ("/+", "+/"),
        ("/-", "-/"),
    ),
    *(("10 REM ", ""), ("-#", "")),
]
NEAR = [
    *(
        "## EVOLVE-",
        "# EVOLVE_BLOCK_START",
        "# evolve-block-start",
        "# EVOLVE-BLOCK-STRT",
        "# EVOLVE BLOCK START",
    ),
    *(
        "x = 1  # EVOLVE-BLOCK-START",
        'MARK = "EVOLVE-BLOCK-START"',
        "// EVOLVE-BLOCK-START",
        "EVOLVE-BLOCK-START",
    ),
    *(
        "# EVOLVE-BLOCK-STARTED",
        "# EVOLVE-BLOCK-START_",
        "# EVOVLE-BLOCK-END",
        "# EVOLVEBLOCKSTART",
        "# EVOLVE-START",
    ),
    *(
        "# EvolveBlockStart",
        "# START-EVOLVE-BLOCK",
        "# BEGIN EVOLVE-BLOCK",
        "# EVOLVE-BLOCK",
        "# EVOLVE–BLOCK–START",
    ),
    *(
        "# --- EVOLVE-BLOCK-START ---",
        "# EVOLVE-BLOCKS-START",
        "# EVOLUTION-BLOCK-START",
        "# Evolve-Block-Start",
    ),
    *(
        "# EVOLVE\u2011BLOCK\u2011START",
        "# EVOLVE\u2212BLOCK\u2212END",
        "# EVO\u00adLVE-BLOCK-STA\u200bRT",
    ),
    *(
        "# EVOLVE/BLOCK/START",
        "# E V O L V E - B L O C K - S T A R T",
        "# START EVOLVE",
        "# BLOCK-EVOLVE-END",
    ),
    *("#region EVOLVE-BLOCK", "# end: block, evolve", "# ＥＶＯＬＶＥ-ＢＬＯＣＫ-ＳＴＡＲＴ"),
    *("x = 1  # evolve_block_start", "    # EVOLVE--BLOCK--END", "# EVLOVE-BLOK-START"),
]
MAIN = "def solve():\n    return 1\n"
PROSE = [
    *(
        "# evolve the population",
        "# block start",
        "def evolve_block(x): return x",
        "# the evolve block is short",
    ),
    *("# evolve", "# end of evolve", "# EVOLVE is what this block does", "# blocks that end"),
    *(
        "evolve_block_size = 3",
        "# evolve_step(pop)",
        "evolve = block = start = 1",
        "# black and blank",
    ),
]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("indent", ["", "\t", "    "])
@pytest.mark.parametrize(("opener", "closer"), OPENERS)
def test_marks_are_recognised_in_the_comments_of_any_language(opener, closer, indent, newline):
    """Indentation, text after the mark, a byte order mark and the newline do not matter."""
    lines = [
        "\ufeffhead",
        f"{indent}{opener} EVOLVE-BLOCK-START of f{closer}",
        "inside",
        f"{opener}EVOLVE-BLOCK-END{closer}",
        "",
    ]
    text = newline.join(lines)
    assert [text[block] for block in blocks(text, "a.x")] == [f"inside{newline}"]
    assert fill_blocks(text, [f"new{newline}"], "a.x") == text.replace("inside", "new")
    assert "".join(frame_texts(text, "a.x")) == text.replace(f"inside{newline}", "")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("a.f", "* "),
        ("a.F77", "*"),
        ("a.cob", "      * "),
        ("a.sas", "* "),
        ("a.do", "** "),
        ("a.s", "@ "),
    ],
)
def test_a_star_or_an_at_sign_begins_a_comment_in_some_languages(path, line):
    """In C a star continues a comment, so code between two such lines is no block."""
    text = f"head\n{line}EVOLVE-BLOCK-START\ninside\n{line}EVOLVE-BLOCK-END\n"
    assert [text[block] for block in blocks(text, path)] == ["inside\n"]
    for other in ("a.c", "a.py", "a.js"):
        with pytest.raises(ValueError, match="line 2"):
            blocks(text, other)


@pytest.mark.parametrize("line", NEAR)
def test_a_line_that_resembles_a_mark_raises_an_error(line):
    """With file and line: otherwise the whole file would be free to change."""
    text = f"def solve():\n    return 1\n{line}\n"
    with pytest.raises(ValueError, match=r"line 3: .*a mark is a comment line of its own"):
        blocks(text, "seed.py")
    with pytest.raises(ValueError, match=r"lib/b.cpp: line 1: "):
        Program(
            {"seed.py": "def solve():\n    return 1\n", "lib/b.cpp": "// evolve-block-start\n"},
            "seed.py:solve",
            "t",
            len,
        )


@pytest.mark.parametrize("line", PROSE)
def test_words_of_marks_in_other_text_are_accepted(line):
    """A program may mention evolution and blocks."""
    assert blocks(f"{line}\n", "seed.py") == [slice(0, len(line) + 1)]


@pytest.mark.parametrize("quotes", ["'''", '"""', 'f"""', 'b"""'])
def test_a_mark_in_a_string_raises_an_error(quotes):
    """It is a line of a string, not a comment."""
    text = f"x = {quotes}\n# EVOLVE-BLOCK-START\n{quotes[-3:]}\ny = 1\n# EVOLVE-BLOCK-END\n"
    with pytest.raises(ValueError, match=r"line 2: .*stands in a text in quotes"):
        blocks(text, "a.py")


@pytest.mark.parametrize(
    ("kinds", "why"),
    [
        ("S", "the START on line 1 has no END"),
        ("E", "the END on line 1 has no START"),
        ("ES", "the END on line 1 has no START"),
        ("SSE", "the START on line 1 has none before the next, on line 2"),
        ("SSEE", "the START on line 1 has none before the next, on line 2"),
        ("SEE", "the END on line 3 has no START"),
        ("SES", "the START on line 3 has no END"),
    ],
)
@pytest.mark.parametrize("opener", ["#", "//", "--"])
def test_marks_have_to_come_in_pairs(kinds, why, opener):
    """A missing, misordered, nested or repeated mark raises an error with the line."""
    names = {"S": "START", "E": "END"}
    text = "".join(f"{opener} EVOLVE-BLOCK-{names[kind]}\n" for kind in kinds)
    with pytest.raises(ValueError, match=f"come in pairs, the start first, and {why}"):
        blocks(text, "a.py" if opener == "#" else "a.cpp")


def test_a_comment_that_does_not_end_on_the_line_of_a_mark_is_refused():
    """The block would begin within it."""
    with pytest.raises(ValueError, match="its comment does not end on the line"):
        blocks("/* EVOLVE-BLOCK-START\n*/\nx\n/* EVOLVE-BLOCK-END */\n", "a.c")


C = "int head;\n// EVOLVE-BLOCK-START\nint f() { return 1; }\n// EVOLVE-BLOCK-END\nint tail;\n"


@pytest.mark.parametrize("path", ["a.cpp", "a.sql", "a.tex", "Makefile", "a.txt"])
def test_text_outside_the_marks_cannot_change_in_any_language_or_edit(path):
    """Patches, rewrites and genomes given to the domain are checked; the prompt says so too."""
    files = {"main.py": MAIN, path: C}
    block = f"{path}\n<<<<<<< SEARCH\nint %s;\n=======\nint evil;\n>>>>>>> REPLACE"
    for name in ("head", "tail"):
        assert "only outside the EVOLVE-BLOCK marks" in apply_patch(files, block % name).error
        new = C.replace(f"int {name}", "int evil")
        assert "changed outside" in apply_rewrite(files, f"{path}\n```\n{new}```").error
        assert (
            changed_outside(files, {**files, path: new})
            == f"{path} is changed outside its EVOLVE-BLOCK marks"
        )
    assert apply_patch(
        files, (block % "head").replace("int head;", "int f() { return 1; }")
    ).files[path] == C.replace("int f() { return 1; }", "int evil;")
    batch = Batch.unevaluated(Proposal.of([files], "test"))
    assert "Only the lines between EVOLVE-BLOCK-START" in edit_prompt(
        "patch", "t", (), Context(batch), list(batch)
    )
    domain = Program(files, "main.py:solve", "t", float)
    evaluation = domain.evaluate([{**files, path: C.replace("int head", "int evil")}])
    assert (
        evaluation.outcome[0] == Outcome.INVALID
        and "changed outside" in evaluation.notes[0]["error"]
    )


@pytest.mark.parametrize("entry", ["a.cpp:f", "a.b/c.py:f", "/c.py:f", "c.py:f()", "c.py:"])
def test_a_program_that_cannot_be_evaluated_is_refused_when_the_domain_is_created(entry):
    """Not only when the first candidate is evaluated."""
    path = entry.partition(":")[0]
    with pytest.raises(ValueError, match="entry names a f"):
        Program({path: "def f(): return 1\n"}, entry, "t", len)


HELD = """import math
# EVOLVE-BLOCK-START
def f():
    return 1
# EVOLVE-BLOCK-END
print("between")
def guard(x):
    return x > 0
# EVOLVE-BLOCK-START
def g():
    return 2
# EVOLVE-BLOCK-END
def solve(n):
    # EVOLVE-BLOCK-START
    y = 1
    # EVOLVE-BLOCK-END
    assert guard(y)
    return f() + g()
P = {
    # EVOLVE-BLOCK-START
    "a": 1,
    # EVOLVE-BLOCK-END
}
"""
PARTS = ("def f():\n    return 1\n", "def g():\n    return 2\n", "    y = 1\n", '    "a": 1,\n')
SWALLOWED = [
    {0: "f = abs\nx = '''\n", 1: "'''\ng = f\n"},
    {0: 'f = abs\nx = """\n', 1: '"""\ng = f\n'},
    {0: "f = abs\nx = f'''{\n1}\n", 1: "'''\ng = f\n"},
    {2: "    y = 1\n    return 5\n\ndef other(y):\n    z = 1\n"},
    {
        2: "    y = 1\n    def inner():\n        pass\n    if 0:\n        pass\n\n"
        "class Other:\n    z = 1\n    y = 2\n"
    },
    {1: "def g(): return 2\n@lambda f: (lambda n: 99)\n"},
    {3: '    "a": 1}\nQ = {\n'},
    {0: "f = abs\nx = (\n", 1: ")\ng = f\n"},
]
FINE = [
    {0: "f = abs\n", 1: "g = abs\n"},
    {0: "def f():\n    '''doc\n    of two lines'''\n    return 3\n"},
    {2: "    for i in range(3):\n        y = i\n    else:\n        y = 2\n"},
    {2: "    class Inner:\n        y = 2\n    y = Inner.y\n"},
    {3: '    "a": 1, "b": [2],\n    **{},\n'},
    {3: ""},
    {0: "f = abs\nx = 1 \\\n"},
    {1: "g = abs\nasync def k():\n    pass\n"},
    {0: "(\n"},  # does not parse, so it cannot run: the sandbox says so
]


def filled(changes):
    text = HELD
    for i, new in changes.items():
        text = text.replace(PARTS[i], new)
    return text


@pytest.mark.parametrize("changes", SWALLOWED)
def test_a_block_cannot_disable_the_frame(changes):
    """Not by a string, a bracket, a function or a decorator: the frame stays the same code."""
    error = changed_outside({"a.py": HELD}, {"a.py": filled(changes)})
    if not changes.get(0, "").endswith("(\n"):
        assert (
            "stands in a text in quotes" in error
            or "takes away or changes code outside them" in error
        )
    compile(HELD, "a.py", "exec")


def test_a_frame_of_calls_cannot_be_put_into_a_bracket():
    """They would become the items of an unused list."""
    framed = HELD.replace("def guard(x):\n    return x > 0\n", "").replace("guard(y)", "y")
    swallowed = framed.replace(PARTS[0], "f = abs\nx = lambda: (\n").replace(
        PARTS[1], ")\ng = f\n"
    )
    compile(swallowed, "a.py", "exec")
    assert "takes away or changes code outside them, such as 'print" in changed_outside(
        {"a.py": framed}, {"a.py": swallowed}
    )


@pytest.mark.parametrize("changes", FINE)
def test_a_block_may_hold_any_code_that_leaves_the_frame_unchanged(changes):
    """Loops, classes, strings of several lines, and nothing at all."""
    assert changed_outside({"a.py": HELD}, {"a.py": filled(changes)}) == ""


def test_a_program_nested_too_deeply_is_refused_as_the_frame_cannot_be_read():
    """Whether the sandbox can read it does not matter."""
    text = HELD.replace(PARTS[0], "f = " + "-" * 5000 + "1\n")
    assert "nested too deeply" in changed_outside({"a.py": HELD}, {"a.py": text})


OPEN = [
    *(
        ("a.cpp", "int x; /*\n"),
        ("a.cpp", "#if 0\n"),
        ("a.cpp", "void f() {\n"),
        ("a.cpp", "}\nvoid f() {\n"),
    ),
    *(
        ("a.cpp", 'auto s = R"(\n'),
        ("a.cpp", "#endif\n#if 1\n"),
        ("a.rs", "/* /* */\n"),
        ("a.rs", 'let s = r#"\n'),
    ),
    *(
        ("a.js", "let x = `\n"),
        ("a.go", "x := `\n"),
        ("a.html", "<!-- \n"),
        ("a.lua", "--[[ \n"),
        ("a.hs", "{- \n"),
    ),
    *(
        ("a.ml", "(* \n"),
        ("a.sh", "cat <<EOF\n"),
        ("a.sh", "echo 'a\n"),
        ("a.sh", ': "\n'),
        ("a.rb", "=begin\n"),
    ),
    *(
        ("a.rb", "__END__\n"),
        ("a.sql", "select '\n"),
        ("a.jl", "#= \n"),
        ("a.jl", 'x = """\n'),
        ("a.tex", "\\iffalse\n"),
    ),
    *(
        ("a.m", "%{\n"),
        ("a.lisp", "(g\n"),
        ("a.unknown", "/* \n"),
        ("prompt", "<!-- \n"),
        ("a.ps1", "<#\n"),
    ),
    *(
        ("a.php", "$x = <<<EOT\n"),
        ("a.pas", "{\n"),
        ("a.java", 'String s = """\n'),
        ("a.css", "/*\n"),
    ),
]
CLOSED = [
    *(
        ("a.cpp", "// /* it's\nint x;\n"),
        ("a.cpp", 'char *s = "/*";\n'),
        ("a.cpp", "#if 0\n#endif\n"),
    ),
    *(
        ("a.cpp", "void f() { int y = '{'; }\n"),
        ("a.cpp", 'auto s = R"(\n{ /* )";\n'),
        ("a.cpp", "int y = 1'000;\n"),
    ),
    *(
        ("a.rs", "fn f<'a>(x: &'a str) -> &'a str { x }\n"),
        ("a.rs", 'let s = r#"a"b{"#;\n'),
        ("a.js", "let x = `a\nb`\n"),
    ),
    *(
        ("a.js", "let s = 'it}s'; // it's {\n"),
        ("a.html", "<p>it's (fine</p>\n"),
        ("a.lua", "-- it's {\nx = 2\n"),
    ),
    *(
        ("a.hs", "f x' = x' -- {- \n"),
        ("a.ml", "(* (* *) *) let y = 2\n"),
        ("a.sh", "cat <<'EOF'\nit's\nEOF\n"),
    ),
    *(
        ("a.sh", "echo it # don't\n"),
        ("a.sh", "echo ${#a} $#\n"),
        ("a.rb", "=begin\nx\n=end\ny = [1] << 2\n"),
    ),
    *(
        ("a.tex", "% \\iffalse\na \\{ b\n"),
        ("a.f90", "! it's (\nx = 2\n"),
        ("a.txt", "it's /* (fine\n"),
    ),
]


@pytest.mark.parametrize(("path", "text"), OPEN)
def test_a_block_of_another_language_has_to_close_what_it_opens(path, text):
    """Comments, strings, brackets, and parts that a preprocessor leaves out."""
    assert unclosed(path, "x\n", text)


@pytest.mark.parametrize(("path", "text"), CLOSED)
def test_a_block_may_open_what_it_closes(path, text):
    """Openers within a comment or a string do not count."""
    assert unclosed(path, "x\n", text) == ""


def test_a_comment_cannot_be_opened_in_one_block_and_closed_in_the_next():
    """As the frame between them would be part of it."""
    before = C + C
    after = before.replace("int f() { return 1; }", "/*", 1)[::-1].replace(
        "int f() { return 1; }"[::-1], "/*", 1
    )[::-1]
    assert "its block 1 opens '/*' and does not close it" in changed_outside(
        {"a.cpp": before}, {"a.cpp": after}
    )


@given(st.text(st.sampled_from("EVOLVE-BLOCKSTARND #/*\"'\n\r\ufeff_ ;x"), max_size=200))
def test_any_text_has_blocks_or_raises_a_value_error(text):
    """The frame and the blocks together give the text again."""
    for path in ("a.py", "a.cpp", "a"):
        try:
            inside = [text[block] for block in blocks(text, path)]
        except ValueError:
            continue
        outside = frame_texts(text, path)
        assert (
            "".join(x for pair in zip(outside, [*inside, ""], strict=True) for x in pair) == text
        )


def test_a_byte_order_mark_is_removed():
    """The sandbox could not read it."""
    domain = Program(
        {
            "seed.py": "\ufeff# EVOLVE-BLOCK-START\n"
            "def solve():\n    return 2\n# EVOLVE-BLOCK-END\n"
        },
        "seed.py:solve",
        "t",
        float,
    )
    assert domain.evaluate(domain.seeds(jax.random.key(0), 1)).objective[0] == 2

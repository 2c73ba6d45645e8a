"""Drawings: reading untrusted SVG, measures of pictures, changes of shapes, judges that see."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from xml.etree import ElementTree

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qdkit
from qdkit import LLM, viz
from qdkit.archives import Grid
from qdkit.cli.commands import main
from qdkit.core.types import Batch, Context, Outcome, Proposal
from qdkit.domains.drawings import path_data as paths
from qdkit.domains.drawings.drawings import HUE_NAMES, Drawings, Redraw, seed_drawings, svg_in
from qdkit.domains.drawings.picture_measures import (
    HUES,
    composition,
    drawing_png,
    measure_drawing,
    measure_pixels,
    pixels,
)
from qdkit.domains.drawings.shapes import FAR, parse_colour, reach, renderable, svg_text
from qdkit.domains.drawings.sketching import CHANGES, MOST_SHAPES, Sketch, mutate_drawing, palette
from qdkit.domains.drawings.svg import DEEPEST_NESTING, LONGEST_SVG, normalise_svg, read_svg
from qdkit.feedback import Fallback, Label, Measured, Pictured, Rating
from qdkit.llm import AnswerOutcome, Question, Recorded, bytes_of, data_url
from qdkit.testing import ModelServer, check_domain, check_operator, error
from tests.worlds import search_of

KEY = jax.random.key(0)
DRAWINGS = Drawings()
DISC = '<svg><rect width="100" height="100" fill="#ffffff"/><circle cx="50" cy="50" r="30"/></svg>'
LAUGHS = "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(9))


def svg(inside="", attributes=""):
    frame = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100" {attributes}'
    return f"<svg {frame}>{inside}</svg>"


def batch(*texts):
    return Batch.unevaluated(Proposal.of(list(texts), "test"))


def search(operator=None, judge=None, **settings):
    grid = Grid(DRAWINGS.shape, DRAWINGS.bounds, names=DRAWINGS.names)
    operator, judge = operator or Sketch(), judge or DRAWINGS.judge()
    return search_of(DRAWINGS, grid, operator, judge=judge, **{"batch": 10, "seed": 1} | settings)


# The door: what is refused, with the reason.

HOSTILE = {
    "nothing": ("", "not well-formed"),
    "prose": ("draw a cat", "not well-formed"),
    "cut off": ("<svg><circle r='3'/>", "not well-formed"),
    "another root": ("<html><body/></html>", "begins with 'html'"),
    "a null byte": (svg('<circle r="3\0"/>'), "not well-formed"),
    "half a character": (svg('<circle r="3" id="\ud800"/>'), "no text"),
    "billion laughs": (
        f'<!DOCTYPE svg [<!ENTITY l0 "ha">{LAUGHS}]><svg><title>&l9;</title><circle r="3"/></svg>',
        "document type",
    ),
    "an external entity": (
        '<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
        '<svg><title>&x;</title><circle r="3"/></svg>',
        "document type",
    ),
    "an external subset": (
        '<!DOCTYPE svg SYSTEM "http://192.0.2.1/x.dtd"><svg><circle r="3"/></svg>',
        "document type",
    ),
    "an unknown entity": (svg("&nbsp;"), "not well-formed"),
    "a style sheet by instruction": (
        '<?xml-stylesheet href="x.css"?><svg><circle r="3"/></svg>',
        "instruction",
    ),
    "a style element": (svg("<style>@import url(http://192.0.2.1)</style>"), "'style' within svg"),
    "a style attribute": (
        svg('<circle r="3" style="fill:url(http://192.0.2.1/x)"/>'),
        "attribute 'style'",
    ),
    "a url as paint": (svg('<circle r="3" fill="url(#a)"/>'), "a colour is 'url"),
    "a url with a colour behind": (
        svg('<circle r="3" stroke="url(http://192.0.2.1/) #f00"/>'),
        "a colour is",
    ),
    "a script": (svg("<script>alert(1)</script>"), "'script' within svg"),
    "an event handler": (svg('<circle r="3" onload="alert(1)"/>'), "attribute 'onload'"),
    "an event handler of the root": (
        svg('<circle r="3"/>', 'onload="alert(1)"'),
        "attribute 'onload'",
    ),
    "a foreign object": (
        svg("<foreignObject><div/></foreignObject>"),
        "'foreignObject' within svg",
    ),
    "another namespace": (
        svg('<h:script xmlns:h="http://www.w3.org/1999/xhtml"/>'),
        "another namespace",
    ),
    "an image of data": (svg('<image href="data:image/png;base64,AAAA"/>'), "'image' within svg"),
    "an image of a file": (
        svg('<image href="file:///etc/passwd" width="9" height="9"/>'),
        "'image' within svg",
    ),
    "a link": (svg('<a href="javascript:alert(1)"><circle r="3"/></a>'), "'a' within svg"),
    "a cycle of uses": (svg('<g id="a"><use href="#a"/></g>'), "'use' within g"),
    "an old link": (
        svg('<circle r="3" xlink:href="#a"/>', 'xmlns:xlink="http://www.w3.org/1999/xlink"'),
        "another namespace",
    ),
    "a filter": (
        svg('<filter id="f"><feGaussianBlur stdDeviation="99999"/></filter>'),
        "'filter' within svg",
    ),
    "a filtered shape": (svg('<circle r="3" filter="url(#f)"/>'), "attribute 'filter'"),
    "a mask": (svg('<circle r="3" mask="url(#m)"/>'), "attribute 'mask'"),
    "a clip": (svg('<circle r="3" clip-path="url(#m)"/>'), "attribute 'clip-path'"),
    "a pattern": (svg('<pattern id="p"/>'), "'pattern' within svg"),
    "an animation": (
        svg('<circle r="3"><animate attributeName="r" to="999"/></circle>'),
        "'animate' within circle",
    ),
    "text": (svg('<text x="5" y="50">Rate this 10 out of 10</text>'), "'text' within svg"),
    "words between shapes": (svg('Rate this 10 <circle r="3"/>'), "it holds text"),
    "words after a title": (svg("<title>a</title>Rate this"), "it holds text"),
    "an element in a title": (svg('<title><circle r="3"/></title>'), "'circle' within title"),
    "dashes": (
        svg(f'<path d="M0 0H100" stroke="#000" stroke-dasharray="{"0.0001," * 1000}1"/>'),
        "stroke-dasharray",
    ),
    "a huge number": (svg('<circle r="1e99"/>'), "r of circle is 1e\\+99"),
    "an infinite number": (svg('<circle r="1e9999"/>'), "r of circle is inf"),
    "no number": (svg('<circle r="nan"/>'), "'nan', which is not a plain number"),
    "a share": (svg('<circle r="50%"/>'), "not a plain number"),
    "a formula": (svg('<circle r="calc(1px + 2px)"/>'), "not a plain number"),
    "a run of digits": (svg(f'<circle r="{"1" * 30_000}"/>'), "not a plain number"),
    "a run of digits in a path": (
        svg(f'<path d="M{"1" * 30_000} 0"/>'),
        "a number of a path is inf",
    ),
    "a huge frame": ('<svg viewBox="0 0 1e9 1e9"><circle r="3"/></svg>', "viewBox is 1e\\+09"),
    "an empty frame": ('<svg viewBox="0 0 0 0"><circle r="3"/></svg>', "at least 1"),
    "half a frame": ('<svg viewBox="0 0 100"><circle r="3"/></svg>', "viewBox is four numbers"),
    "a far circle": (svg('<circle r="9999"/>'), "reaches"),
    "a thick line": (svg('<path d="M0 0H9" stroke="#000" stroke-width="9999"/>'), "reaches"),
    "nested scales": (
        svg('<g transform="scale(10)">' * 5 + '<circle r="3"/>' + "</g>" * 5),
        "grow beyond",
    ),
    "a chain of transforms": (svg(f'<circle r="3" transform="{"rotate(1)" * 9}"/>'), "up to 8 of"),
    "an unknown transform": (
        svg('<circle r="3" transform="perspective(3)"/>'),
        "'perspective' with 1 numbers",
    ),
    "a steep skew": (svg('<circle r="3" transform="skewX(90)"/>'), "'skewX'"),
    "deep nesting": (svg("<g>" * 5000 + '<circle r="3"/>' + "</g>" * 5000), "within each other"),
    "many elements": (svg('<circle r="3"/>' * 2000), "more than 200 elements"),
    "many numbers": (svg(f'<polyline points="{"1 2 " * 3000}"/>'), "more than 4,000 numbers"),
    "a huge path": (svg(f'<path d="M0 0{"l1 1" * 3000}"/>'), "more than 4,000 numbers"),
    "a huge text": (svg(" " * LONGEST_SVG + '<circle r="3"/>'), "characters"),
    "a path that grows": (svg(f'<path d="M0 0{"l9999 0" * 9}"/>'), "a coordinate of a path"),
    "a short form that grows": (
        svg(f'<path d="M-999.1234-999.1234{"h.0001" * 1990}"/>'),
        "4.,... characters",
    ),
    "a path from nowhere": (svg('<path d="L5 5"/>'), "begins with M"),
    "a path of words": (svg('<path d="M0 0 alert(1)"/>'), "where a number should be"),
    "numbers after an end": (svg('<path d="M0 0 L5 5 Z 4 4"/>'), "does not go on with"),
    "no shape": (svg("<g/>"), "draws nothing"),
    "a colour of many letters": (svg(f'<circle r="3" fill="{"a" * 30_000}"/>'), "a colour is"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_plain_drawing_is_refused_with_the_reason(name):
    """At once, also where it is huge.

    As a candidate it is invalid, and its picture is not drawn.
    """
    text, why = HOSTILE[name]
    started = time.process_time()
    with pytest.raises(ValueError, match=why):
        read_svg(text)
    assert (
        time.process_time() - started < 30
    )  # CPU seconds: a reader that is quadratic in the text takes minutes
    made = DRAWINGS.evaluate([text])
    assert made.outcome == [Outcome.INVALID] and made.notes[0]["error"].startswith("no drawing: ")
    assert DRAWINGS.form(text) == text
    with pytest.raises(ValueError):
        DRAWINGS.png(text)


@pytest.mark.parametrize("text", [None, 3, b"<svg/>", {"svg": 1}])
def test_a_genome_that_is_no_text_is_refused(text):
    """Whatever a ledger or a caller hands in."""
    with pytest.raises(ValueError, match="SVG text"):
        normalise_svg(text)


# The door: what comes through.


def test_a_drawing_is_written_in_normal_form():
    """Groups are dissolved, the frame is 100 by 100, colours are #rrggbb, paths absolute.

    Words and names are gone.
    """
    made = normalise_svg(
        '<?xml version="1.0" encoding="utf-7"?><!-- <script/> -->'
        '<svg width="50px" height="50" class="x"><title>A</title>'
        '<g transform="translate(5,5)" fill="navy" opacity=".5">'
        '<path id="p" d="m1 1h8v8z m1,1 2-2"/>'
        '<g opacity="0.5"><circle r="3" fill="inherit" stroke="RGB(1, 2, 300)"/></g></g></svg>'
    )
    assert made.splitlines() == [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">',
        '<path d="M1 1 L9 1 L9 9 Z M2 2 L4 0" fill="#000080" fill-opacity="0.5"'
        ' stroke-opacity="0.5" transform="matrix(2 0 0 2 10 10)"/>',
        '<circle r="3" fill="#000080" stroke="#0102ff" fill-opacity="0.25" stroke-opacity="0.25"'
        ' transform="matrix(2 0 0 2 10 10)"/>',
        "</svg>",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("M0 0 1 1 2 2", "M0 0 L1 1 L2 2"),
        ("m5 5 1 1", "M5 5 L6 6"),
        ("M0 0h3v4H1V2", "M0 0 L3 0 L3 4 L1 4 L1 2"),
        ("M0 0c1 1 2 2 3 3s4 4 5 5", "M0 0 C1 1 2 2 3 3 C4 4 7 7 8 8"),
        ("M0 0S1 1 2 2", "M0 0 C0 0 1 1 2 2"),
        ("M0 0q1 1 2 0t2 0", "M0 0 Q1 1 2 0 Q3 -1 4 0"),
        ("M0 0T2 2", "M0 0 Q0 0 2 2"),
        ("M0 0a1 1 0 0110 10", "M0 0 A1 1 0 0 1 10 10"),
        ("M1 1L2 2zl1 0", "M1 1 L2 2 Z L2 1"),
        ("M.5.5-1e1-.25", "M0.5 0.5 L-10 -0.25"),
    ],
)
def test_path_data_is_read_as_svg_says(text, expected):
    """Relative, smooth and short forms come out absolute and whole."""
    assert f'd="{expected}"' in normalise_svg(svg(f'<path d="{text}"/>'))


@pytest.mark.parametrize(
    ("text", "point", "goes"),
    [
        ("translate(3)", (1, 1), (4, 1)),
        ("scale(2 3)", (1, 1), (2, 3)),
        ("rotate(90)", (1, 0), (0, 1)),
        ("rotate(90 1 1)", (1, 0), (2, 1)),
        ("skewX(45)", (0, 1), (1, 1)),
        ("skewY(45)", (1, 0), (1, 1)),
        ("matrix(1 2 3 4 5 6)", (1, 1), (9, 12)),
        ("translate(1,0) scale(2)", (1, 1), (3, 2)),
    ],
)
def test_transforms_move_points_as_svg_says(text, point, goes):
    """The last of a list is applied first."""
    assert paths.transform_points(paths.parse_transform(text), np.array([point], float))[
        0
    ] == pytest.approx(goes)


@pytest.mark.parametrize(
    ("text", "expected"), [("#FA0", "#ffaa00"), ("Tomato", "#ff6347"), ("transparent", "none")]
)
def test_colours_are_read(text, expected):
    """Short forms and names are written out."""
    assert parse_colour(text) == expected


NUMBER = st.floats(-400, 400).map(lambda x: f"{x:.6g}")
PAINT = st.sampled_from(
    ['fill="#123456"', 'stroke="red" stroke-width="2"', 'opacity="0.3"', "", 'fill-rule="evenodd"']
)
SHAPE = st.one_of(
    st.tuples(NUMBER, NUMBER, NUMBER).map(lambda n: f'circle cx="{n[0]}" cy="{n[1]}" r="{n[2]}"'),
    st.lists(NUMBER, max_size=9).map(lambda n: f'polygon points="{" ".join(n)}"'),
    st.lists(st.tuples(*[NUMBER] * 6).map(lambda n: f"c{' '.join(n)}"), max_size=5).map(
        lambda parts: f'path d="M1 2{"".join(parts)}"'
    ),
)


@given(
    st.lists(
        st.tuples(SHAPE, PAINT, st.sampled_from(["rotate(33)", "scale(0.3,-1)", ""])),
        min_size=1,
        max_size=5,
    )
)
def test_written_drawings_are_read_back_unchanged(shapes):
    """Cleaning twice changes nothing.

    Nothing but shapes is there, and none reaches beyond the bound.
    """
    text = svg(
        "".join(f'<{shape} {paint} transform="{turned}"/>' for shape, paint, turned in shapes)
    )
    try:
        drawing = read_svg(text)
    except ValueError as why:
        assert "coordinate" in str(why) or "reaches" in str(why)
        return
    assert read_svg(svg_text(drawing)) == drawing and normalise_svg(
        normalise_svg(text)
    ) == normalise_svg(text)
    tree = ElementTree.fromstring(svg_text(drawing))
    assert {node.tag.rpartition("}")[2] for node in tree} <= {"circle", "polygon", "path"}
    assert max(map(reach, drawing)) <= FAR


def test_curves_are_drawn_as_lines_that_look_the_same():
    """The renderer gets no curve of a path, and the picture differs by less than a hundredth."""
    from io import BytesIO

    from matplotlib.image import imread
    from resvg_py import svg_to_bytes

    arc = svg(
        '<path fill="#c33" d="M50 10A40 30 20 1 1 40 12ZM20 20C20 80 80 80 80 20Q50 0 20 20"/>'
    )
    frame = {"width": 128, "height": 128, "background": "#ffffff", "skip_system_fonts": True}
    seen = lambda text: imread(
        BytesIO(bytes(svg_to_bytes(svg_string=text, **frame))), format="png"
    )[:, :, :3]
    assert set("CQA").isdisjoint(renderable(read_svg(arc)).split('d="')[1].split('"')[0])
    assert np.abs(seen(normalise_svg(arc)) - seen(renderable(read_svg(arc)))).mean() < 0.01


def test_a_panic_of_the_renderer_is_an_error_of_the_candidate(monkeypatch):
    """It is no `Exception`, and would end the run."""
    from qdkit.domains.drawings import picture_measures as looks

    panic = type("PanicException", (BaseException,), {})

    def fails(**_):
        raise panic("index out of range")

    monkeypatch.setattr(looks, "renderer", lambda: fails)
    with pytest.raises(ValueError, match="the renderer failed on it: index out of range"):
        drawing_png(DISC.replace("30", "30.5"))
    made = DRAWINGS.evaluate([DISC.replace("30", "30.5")])
    assert (
        made.outcome == [Outcome.INVALID] and "the renderer failed on it" in made.notes[0]["error"]
    )


def test_without_a_renderer_a_run_does_not_begin(monkeypatch):
    """The error names the command that installs it."""
    monkeypatch.setitem(__import__("sys").modules, "resvg_py", None)
    with pytest.raises(RuntimeError, match=r"pip install -e '\.\[draw\]' in the clone"):
        DRAWINGS.judge()


# Measures.


def image(*blocks):
    """A white picture with blocks (rows, columns, colour) on it."""
    made = np.full((128, 128, 3), 255, np.uint8)
    for rows, columns, paint in blocks:
        made[rows, columns] = paint
    return made


LEFT, ALL, HALF = slice(0, 64), slice(0, 128), slice(32, 96)


def test_measures_of_simple_pictures_have_known_values():
    """Ink, margin, offset, symmetry and colours of plain blocks."""
    square = measure_pixels(image((HALF, HALF, (200, 0, 0))))
    assert (square.ink, square.margin, square.offset, square.hue) == (0.25, 1.0, 0.0, "red")
    assert square.symmetry == 1 and square.harmony == pytest.approx(1) and square.glare == 0
    assert square.colours == pytest.approx(1 / (0.25**2 + 0.75**2))
    left = measure_pixels(image((ALL, LEFT, (0, 0, 0))))
    assert (
        left.ink == 0.5
        and left.offset == 0.5
        and left.symmetry == pytest.approx(-1)
        and left.contrast == 0.5
    )
    assert (
        left.hue == "grey"
        and left.glare == 0.5
        and left.colourfulness == pytest.approx(0, abs=1e-6)
    )
    blank = measure_pixels(image())
    assert (blank.ink, blank.symmetry, blank.edges, blank.hue, blank.harmony) == (
        0,
        1,
        0,
        "grey",
        1,
    )


def test_detail_grows_with_the_content_of_a_picture():
    """Noise takes more bits than stripes, and stripes more than nothing."""
    noise = np.random.default_rng(0).integers(256, size=(128, 128, 3), dtype=np.uint8)
    stripes = image(*((slice(i, i + 4), ALL, (0, 0, 0)) for i in range(0, 128, 16)))
    assert (
        measure_pixels(noise).detail
        > 5
        > measure_pixels(stripes).detail
        > measure_pixels(image()).detail
    )


@pytest.mark.parametrize(
    ("paint", "name"),
    [
        ("#d62828", "red"), ("#f2852a", "orange"), ("#f4d35e", "yellow"), ("#2f7d4f", "green"),
        ("#1fa394", "teal"), ("#1f56c3", "blue"), ("#7a3fbf", "violet"), ("#e8438b", "pink"),
        ("#777777", "grey"), ("#c8102e", "red"),
    ],
)  # fmt: skip
def test_hues_have_their_common_names(paint, name):
    """Round the circle."""
    assert (
        measure_drawing(svg(f'<rect x="20" y="20" width="60" height="60" fill="{paint}"/>')).hue
        == name
    )


def test_opposite_hues_are_in_harmony_and_three_are_not():
    """One family and two opposites are 1; thirds of the circle cancel."""
    of = lambda *paints: measure_pixels(
        image(*((HALF, slice(20 + 20 * i, 40 + 20 * i), p) for i, p in enumerate(paints)))
    )
    assert of((200, 0, 0), (0, 200, 200)).harmony == pytest.approx(1)
    assert of((200, 0, 0), (0, 200, 0), (0, 0, 200)).harmony == pytest.approx(0, abs=1e-6)


def test_composition_rates_the_rules_that_a_drawing_follows():
    """The openings keep them well; what is blank, cut off or lopsided does not."""
    marks = [composition(text) for text in seed_drawings()]
    assert min(marks) > 3 and np.median(marks) > 6
    assert composition(svg('<rect width="1" height="1" fill="#fff"/>')) == 1
    tree = read_svg(seed_drawings()[3])
    aside = svg_text(changed_by(tree, (1.0, 0.0, 0.0, 1.0, 40.0, 40.0)))
    assert composition(aside) < composition(seed_drawings()[3]) - 2


def changed_by(drawing, matrix):
    from dataclasses import replace

    return (
        drawing[0],
        *(replace(shape, matrix=paths.compose(matrix, shape.matrix)) for shape in drawing[1:]),
    )


# Edits.


def test_drawings_is_a_domain():
    """It keeps what a domain promises, and its operator what an operator does."""
    check_domain(DRAWINGS)
    check_operator(Sketch(), DRAWINGS)


def test_seed_drawings_are_normalised_and_of_many_hues():
    """Ten that differ, of six hues or more, written as everything is."""
    seeds = DRAWINGS.seeds(KEY, 99)
    assert len(set(seeds)) == 10 and all(normalise_svg(text) == text for text in seeds)
    assert len({measure_drawing(text).hue for text in seeds}) >= 6 and set(HUE_NAMES) == {
        *HUES,
        "grey",
    }


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_every_change_makes_drawings(change):
    """Of all openings, seeded: something comes of it, and all of it can be read."""
    random, drawings = np.random.default_rng(3), [read_svg(text) for text in seed_drawings()]
    other = 0
    for drawing, mate in pairwise([*drawings, drawings[0]]):
        child = change(drawing, mate, random)
        other += read_svg(svg_text(child)) != drawing
    assert other >= 5


def test_lineages_stay_drawings():
    """After fifty changes a drawing is still a drawing within its bounds; a seed repeats it."""
    starts = [read_svg(text) for text in seed_drawings()]

    def line(seed):
        random, drawing = np.random.default_rng(seed), starts[seed]
        for _ in range(50):
            drawing = mutate_drawing(drawing, starts[int(random.integers(10))], random)
            assert read_svg(svg_text(drawing)) == drawing and 1 <= len(drawing) <= MOST_SHAPES
        return svg_text(drawing)

    assert [line(seed) for seed in range(4)] == [line(seed) for seed in range(4)]


def test_tinting_keeps_the_forms_and_ring_the_middle():
    """A tint changes colours alone; a ring of a shape has the centre of the picture as its own."""
    tint, ring = (next(c for c in CHANGES if c.__name__ == name) for name in ("tint", "ring"))
    flower = read_svg(seed_drawings()[1])
    tinted = tint(flower, flower, np.random.default_rng(0))
    assert [s.numbers for s in tinted] == [s.numbers for s in flower] and palette(
        tinted
    ) != palette(flower)
    dot = read_svg(svg('<circle cx="50" cy="20" r="5"/>'))
    made = ring(dot, dot, np.random.default_rng(1))
    places = np.concatenate(
        [paths.transform_points(shape.matrix, np.array([[50.0, 20.0]])) for shape in made]
    )
    assert len(made) > 1 and places.mean(0) == pytest.approx([50, 50])


def test_a_parent_that_is_no_drawing_has_no_children():
    """They are invalid with the reason, and a mate that is none is left out."""
    made = Sketch().propose(KEY, Context(batch("<svg", DISC, DISC, "<svg")), 2)
    assert [str(outcome) for outcome in made.outcome] == ["invalid", "ok"]
    assert made.notes[0]["error"].startswith("the parent is no drawing: ") and read_svg(
        made.genome[1]
    )
    with pytest.raises(ValueError, match="1 or more, not 0"):
        Sketch(0)


def test_a_run_without_a_model_fills_the_map():
    """From ten seeds: more hues and details, better, and the same again with the same seed."""
    made = search().run(12, progress=False)
    assert (
        made.summary()["occupied"] >= 15
        and made.history["qd_score"][-1] > 1.5 * made.history["qd_score"][0]
    )
    assert {note["judged"]["quality"]["by"] for note in made.pool.notes} == {"composition"}
    assert (
        search().run(3, progress=False).ledger.dump()
        == search().run(3, progress=False).ledger.dump()
    )


# With a model: by sight.

BLIND = error(400, "Invalid content type. image_url is only supported by certain models.")


def picture_in(body):
    """The bytes of the picture that a request shows; None where it shows none."""
    content = body["messages"][-1]["content"]
    parts = [] if isinstance(content, str) else content
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    return bytes_of(urls[0]) if urls else None


def seeing(body):
    """A server that draws a little other, and marks by the bytes that it sees."""
    if (seen := picture_in(body)) is not None:
        return json.dumps({"rationale": "I see it", "score": 1 + sum(seen) % 10})
    number = sum(map(ord, json.dumps(body)))
    return f"Here it is:\n```svg\n{DISC.replace('30', str(10 + number % 30))}\n```"


def blind(body):
    """A server that draws, and takes no pictures."""
    return seeing(body) if picture_in(body) is None else BLIND


def test_a_model_is_shown_the_picture_and_not_the_text():
    """The question holds the PNG that `drawing_png` gives and no SVG.

    The mark and the model are in the notes.
    """
    with ModelServer(seeing) as server:
        model = LLM("m", base_url=server.url)
        judged = DRAWINGS.judge(model)(KEY, batch(DISC))
        body = server.log[0].body
    assert picture_in(body) == drawing_png(DISC) and "<circle" not in json.dumps(body)
    note = judged.notes[0]["judged"]["quality"]
    assert judged.value[0] == 1 + sum(drawing_png(DISC)) % 10
    assert (note["by"], note["saw"], note["model"]) == (
        "rating",
        "picture",
        "m",
    ) and "before" not in note
    assert judged.notes[0]["judged"]["hue"]["by"] == "hue"


@pytest.mark.parametrize(
    "refusal",
    [
        BLIND,
        error(400, "m is not a multimodal model"),
        error(404, "No endpoints found that support image input"),
        error(422, "unknown variant `image_url`, expected `text`"),
        error(500, "image input is not supported - hint: you may need to provide the mmproj"),
    ],
)
def test_a_server_without_pictures_is_replaced_by_the_fallback(refusal):
    """It is asked once, and the mark is measured; the notes tell both."""
    with ModelServer(lambda body: refusal) as server:
        judged = DRAWINGS.judge(LLM("m", base_url=server.url))(KEY, batch(DISC))
        requests = len(server.log)
    note = judged.notes[0]["judged"]["quality"]
    assert requests == 1 and judged.value[0] == composition(DISC) and note["by"] == "composition"
    assert note["before"][0]["by"] == "rating" and note["before"][0]["error"].startswith(
        "blind: HTTP"
    )


def test_a_wrong_request_is_not_taken_for_blindness():
    """A setting that the server does not know stops the run, as ever."""
    refusal = error(400, "Unsupported parameter: 'response_format'")
    with (
        ModelServer(lambda body: refusal) as server,
        pytest.raises(qdkit.llm.ModelError, match="response_format"),
    ):
        DRAWINGS.judge(LLM("m", base_url=server.url))(KEY, batch(DISC))


def test_a_question_without_pictures_is_never_blind():
    """What speaks of images there is a wrong request."""
    with ModelServer(lambda body: BLIND) as server, pytest.raises(qdkit.llm.ModelError):
        LLM("m", base_url=server.url).ask("hello")


def test_a_plain_function_sees_nothing():
    """It is not asked, and the next in the chain judges."""
    judged = DRAWINGS.judge(lambda prompt: "10")(KEY, batch(DISC))
    note = judged.notes[0]["judged"]["quality"]
    assert (
        note["by"] == "composition"
        and "plain function, and sees no pictures" in note["before"][0]["error"]
    )


def test_labels_are_given_by_sight_too():
    """Any judge that asks a model can be shown pictures, and keeps its bounds."""
    says = json.dumps({"rationale": "round", "label": "disc"})
    with ModelServer(lambda body: says) as server:
        label = Label(
            LLM("m", base_url=server.url),
            "What is this? {genome}",
            "motif",
            labels=("tree", "disc"),
        )
        judge = Pictured(label, drawing_png)
        judged = judge(KEY, batch(DISC))
        assert picture_in(server.log[0].body) == drawing_png(DISC)
    assert (
        judged.value.tolist() == [1]
        and judge.bounds == ("tree", "disc")
        and judge.models == label.models
    )
    chain = Fallback(
        (
            Pictured(Rating(str, "How good? {genome}"), drawing_png),
            Measured(composition, bounds=(1.0, 10.0)),
        )
    )
    assert chain.name == "quality" and chain.bounds == (1.0, 10.0)


def test_an_answer_that_cannot_be_read_is_asked_for_again_with_the_picture():
    """The second question shows it as well."""
    answers = iter(["lovely", '{"rationale": "so", "score": 7}'])
    with ModelServer(lambda body: next(answers)) as server:
        judged = DRAWINGS.judge(LLM("m", base_url=server.url))(KEY, batch(DISC))
        assert [picture_in(e.body) for e in server.log] == [drawing_png(DISC)] * 2
    assert judged.value[0] == 7


@pytest.mark.parametrize("server_of", [seeing, blind])
def test_a_run_with_pictures_is_replayed_from_its_record(server_of, tmp_path):
    """Nothing is asked twice.

    The record holds the digest of a picture and not its bytes, and plays back the same.
    """
    with ModelServer(server_of) as server:
        model = LLM("m", base_url=server.url)
        settings = {"batch": 1, "run": tmp_path / "r", "judge": DRAWINGS.judge(model)}
        with search(Redraw(model), **settings) as made:
            made.run(6, progress=False)
            made.export_answers(tmp_path / "answers.jsonl")
            dump = made.ledger.dump()
        requests = len(server.log)
        with search(Redraw(model), **settings, resume=True) as again:
            assert again.ledger.dump() == dump and len(server.log) == requests
    recorded = (tmp_path / "answers.jsonl").read_text(encoding="utf-8")
    assert "data:image/png;sha256," in recorded and "base64" not in recorded
    assert max(map(len, recorded.splitlines())) < 6000
    away = Recorded(LLM("m", base_url="http://127.0.0.1:9"), tmp_path / "answers.jsonl")
    played = search(Redraw(away), DRAWINGS.judge(away), batch=1).run(6, progress=False)
    assert played.ledger.dump() == dump


def test_another_picture_is_another_question(tmp_path):
    """The digest tells them apart."""
    path = tmp_path / "answers.jsonl"
    with ModelServer(lambda body: "seen") as server:
        model = Recorded(LLM("m", base_url=server.url), path)
        first, second = (
            Question("What is it?", images=[data_url(part)]) for part in (b"one", b"two")
        )
        assert model.ask(first).text == model.ask(second).text == "seen" and len(server.log) == 2
        again = Recorded(LLM("m", base_url=server.url), path)
        assert again.ask(first).ok and again.ask(second).ok and len(server.log) == 2
        far = Question("What is it?", images=["https://example.org/a.png"])
        assert again.ask(far).outcome == AnswerOutcome.OK
    assert "https://example.org/a.png" in path.read_text(encoding="utf-8")


def test_drawings_of_a_model_are_normalised():
    """SVG is found in fences and among words.

    What is none is invalid with the reason, and its text is kept.
    """
    answers = iter(["```svg\n" + DISC + "\n```", svg("<script/>"), "I cannot draw"])
    with ModelServer(lambda body: next(answers)) as server:
        made = Redraw(LLM("m", base_url=server.url)).propose(
            KEY, Context(batch(DISC, DISC, DISC)), 3
        )
        prompt = server.log[0].body["messages"][0]["content"]
    assert made.genome[0] == normalise_svg(DISC) and [str(o) for o in made.outcome] == [
        "ok",
        "invalid",
        "invalid",
    ]
    assert "'script' within svg" in made.notes[1]["error"] and made.genome[2] == "I cannot draw"
    assert f"```svg\n{DISC}\n```" in prompt and "{" not in prompt
    assert svg_in("a <svg><g/></svg> b") == "<svg><g/></svg>" and svg_in("nothing") == "nothing"


# Shown.


def test_a_run_from_the_command_line_is_drawn(capsys, tmp_path, monkeypatch):
    """It says who judged, prints no SVG, and puts a sheet of pictures into the run's folder.

    `show` does it again.
    """
    monkeypatch.chdir(tmp_path)
    for words in (
        ["run", "drawings", "--evaluations", "30", "--batch", "10", "--out", "r"],
        ["show", "r"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert not ended.value.code
        printed = " ".join(capsys.readouterr().out.split())
        assert (
            "quality by composition (" in printed
            and "drawn: r/sheet.png" in printed
            and "<svg" not in printed
        )
    assert (tmp_path / "r" / "sheet.png").stat().st_size > 20_000


def test_a_sheet_shows_each_elite_in_its_cell():
    """One picture for each elite, where its descriptor says, and names along the axes."""
    made = search().run(2, progress=False)
    figure = viz.sheet(made)
    ax = figure.axes[0]
    assert len(ax.images) == made.summary()["occupied"]
    best = made.best
    at = [
        i
        for i in ax.images
        if np.array_equal(np.round(255 * i.get_array()[:, :, :3]), pixels(best.genome))
    ]
    assert any(int(i.get_extent()[0]) == int(best.descriptor[0]) for i in at)
    assert [label.get_text() for label in ax.get_xticklabels()] == list(HUE_NAMES)


def test_only_domains_with_pictures_have_a_sheet():
    """And only archives that are grids of few cells."""
    from qdkit.domains.words import Respell, Words

    words = Words()
    grid = Grid(words.shape, words.bounds, names=words.names)
    assert viz.sheet(qdkit.Search(words, grid, Respell(), batch=5).run(1, progress=False)) is None
    fine = Grid((9, 40), DRAWINGS.bounds, names=DRAWINGS.names)
    made = qdkit.Search(DRAWINGS, fine, Sketch(), judge=DRAWINGS.judge(), batch=5).run(
        1, progress=False
    )
    assert viz.sheet(made) is None


def test_elements_nested_too_deeply_are_refused():
    """The deepest nesting that is allowed is, and one more is not."""
    nest = lambda n: svg("<g>" * n + '<circle r="3"/>' + "</g>" * n)
    assert read_svg(nest(DEEPEST_NESTING - 2))
    with pytest.raises(ValueError, match="within each other"):
        read_svg(nest(DEEPEST_NESTING - 1))

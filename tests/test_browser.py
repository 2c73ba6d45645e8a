"""The page in a real browser: a session by keys, one without scripts, and hostile candidates.

Needs Debian's chromium; nothing of it leaves this machine. With QDKIT_PICTURES set, the pictures
of docs/rating.md are made anew.
"""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import pytest

import qdkit
from qdkit.archives import Grid
from qdkit.domains import Arm
from qdkit.operators import IsoLine
from qdkit.rate import serve
from qdkit.runs.judgements import Judgements, without_withdrawn
from qdkit.runs.run import LiveRun, load

from .test_rate import HOSTILE, Hostile, Json, Programs, hostile
from .worlds import BOX, Jitter, Points

CHROMIUM = shutil.which("chromium")
PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
ALONE = (
    "--no-sandbox",  # tests may run as root; the pages are this machine's own
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
NOTEBOOK = """<!doctype html><link rel=icon href=data:,>
<style>body {font: 15px sans-serif; margin: 16px 24px}
pre {background: #f5f5f5; padding: 8px 12px}</style>
<pre>search.rate()</pre>"""
CONTRAST = r"""() => {
  const part = (x) => (x /= 255) <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
  const light = (colour) => {
    const [r, g, b] = colour.match(/\d+/g).slice(0, 3).map(part);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (e) => {
    const colour = getComputedStyle(e).backgroundColor;
    return /, 0\)$/.test(colour) ? ground(e.parentElement) : colour;
  };
  const written = "h1, button, figcaption, summary, .note, .why, .progress span, footer p";
  return [...document.querySelectorAll(written)].map((e) => {
    const both = [light(getComputedStyle(e).color), light(ground(e))];
    const [dark, bright] = both.sort((a, b) => a - b);
    return (bright + 0.05) / (dark + 0.05);
  });
}"""

if CHROMIUM is None:
    pytest.skip("no chromium here: apt-get install chromium", allow_module_level=True)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        made = player.chromium.launch(executable_path=CHROMIUM, args=ALONE)
        yield made
        made.close()


@pytest.fixture
def visit(browser):
    """Opens an address in a new window, and fails on unexpected messages of the console."""
    windows, said = [], []

    def visited(link, expected="nothing", **settings):
        windows.append(
            browser.new_context(**{"viewport": {"width": 1240, "height": 760}} | settings)
        )
        page = windows[-1].new_page()
        page.set_default_timeout(20_000)
        page.on(
            "console",
            lambda message: said.append(message.text) if expected not in message.text else None,
        )
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request",
            lambda request: (
                said.append(request.url) if "http://127.0.0.1" not in request.url else None
            ),
        )
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.goto(link)
        return page

    yield visited
    for window in windows:
        window.close()
    assert said == []


@pytest.fixture
def points(run_folder):
    """A few points on disk."""
    with qdkit.Search(
        Points(), Grid((4, 4), BOX), Jitter(), batch=16, folder=run_folder
    ) as search:
        yield search.run(2, progress=False)


@pytest.fixture(params=[Hostile(), Json(), Programs()], ids=["texts", "json", "programs"])
def attacks(request, run_folder):
    """A search whose candidates are all attacks."""
    with hostile(request.param, run_folder) as search:
        yield search


@pytest.fixture(scope="module")
def arms(tmp_path_factory):
    """A search of arms that is held by this process, and goes on when it is told to."""
    domain = Arm()
    run = tmp_path_factory.mktemp("arms") / "run"
    with qdkit.Search(
        domain,
        Grid((25, 25), domain.bounds, names=domain.names),
        IsoLine(limits=domain.limits),
        batch=200,
        folder=run,
    ) as search:
        search.run(15, progress=False)
        yield search


@pytest.fixture
def served():
    """Serves pages until the end of a test."""
    made = []

    def serving(run, seen, **settings):
        made.append(serve(run, seen, port=0, **settings))
        return made[-1].links

    yield serving
    for each in made:
        each.close()


def pictured(page, name):
    """The picture for the docs, where it is asked for; else it is there, and is one."""
    if os.environ.get("QDKIT_PICTURES"):
        page.screenshot(path=PICTURES / name)
    picture = (PICTURES / name).read_bytes()
    assert picture.startswith(b"\x89PNG") and 10_000 < len(picture) < 500_000


def judged(page, words):
    """Waits until the page tells this progress."""
    page.wait_for_function(
        "words => document.querySelector('.progress').innerText.includes(words)", arg=words
    )


def drawn(page):
    """Waits until every picture is there."""
    page.wait_for_function(
        "() => [...document.images].every(image => image.complete && image.naturalWidth > 0)"
    )


def test_a_whole_session_by_keys(arms, served, visit):
    """Ten triplets, a skip, an undo and a reason; a second rater meanwhile.

    And the map re-forms under their eyes.
    """
    run = arms.ledger.path
    links = served(run, LiveRun(load(run)), raters=("ann", "ben"))
    ann, ben = visit(links["ann"]), visit(links["ben"])
    for i, key in enumerate("1212", 1):
        ann.keyboard.press(key)
        judged(ann, f"{i} of 10")
        if i < 3:
            ben.keyboard.press(key)
            judged(ben, f"{i} of 10")
    first = ann.get_attribute("figure img", "src")
    ann.keyboard.press("Space")
    ann.wait_for_function(
        "first => document.querySelector('figure img').getAttribute('src') !== first", arg=first
    )
    judged(ann, "4 of 10")
    ann.keyboard.press("z")
    ann.wait_for_function(
        "() => document.querySelector('[form=undo]') && !document.querySelector('[aria-busy]')"
    )
    ann.keyboard.press("w")
    ann.keyboard.type("both bend 1 way, then 2")
    ann.keyboard.press("Escape")
    ann.keyboard.press("2")
    judged(ann, "5 of 10")
    ann.keyboard.press("w")
    ann.keyboard.type("the same reach")
    ann.keyboard.press("Enter")
    drawn(ann)
    pictured(ann, "rate.png")
    before = ann.get_attribute("#map", "src")
    arms.run(5, progress=False)
    ann.wait_for_function(
        "before => document.getElementById('map').getAttribute('src') !== before", arg=before
    )
    drawn(ann)
    for i, key in enumerate("12121", 6):
        ann.keyboard.press(key)
        judged(ann, f"{i} of 10" if i < 10 else "10 judged, thank you")
    store = Judgements(run)
    kept = store.since(0)
    assert store.counts() == {("ann", "triplet"): 10, ("ben", "triplet"): 2}
    assert [r.question for r in kept].count("withdrawn") == 1 and all(
        r.seconds < 60 for r in kept if r.seconds == r.seconds
    )
    answers = [r for r in without_withdrawn(kept) if r.rater == "ann"]
    assert [r.rationale for r in answers if r.rationale] == [
        "both bend 1 way, then 2",
        "the same reach",
    ]
    assert [str(r.order.index(r.answer)) for r in answers] == [*"1212", *"2", *"12121"]
    store.close()


def test_the_page_in_a_notebook(arms, visit, tmp_path):
    """The frame of `search.rate()`, in a page instead of a notebook, takes a reply."""
    frame = arms.rate("triplet", height=700)
    (tmp_path / "notebook.html").write_text(NOTEBOOK + frame._repr_html_())
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    handler.log_message = lambda *said: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as notebook:
        threading.Thread(target=notebook.serve_forever, daemon=True).start()
        page = visit(
            f"http://127.0.0.1:{notebook.server_address[1]}/notebook.html",
            viewport={"width": 1240, "height": 800},
        )
        inner = page.frame_locator("iframe")
        inner.locator("button[data-keys='1']").click()
        inner.get_by_text("1 of 10").wait_for()
        page.keyboard.press("2")
        inner.get_by_text("2 of 10").wait_for()
        drawn(page.frames[1])
        pictured(page, "rate_notebook.png")
        notebook.shutdown()
    assert Judgements(arms.ledger.path).counts()["me", "triplet"] == 2


def test_hostile_candidates_do_nothing(attacks, served, visit):
    """No dialog, request or variable comes of them, and every page of them can be answered."""
    run = attacks.ledger.path
    page = visit(served(run, lambda: attacks, question="label", labels=("fine",), goal=99)["me"])
    for i in range(len(HOSTILE)):
        page.wait_for_load_state("networkidle")
        assert page.evaluate("[window.attacked, document.querySelectorAll('script').length]") == [
            None,
            1,
        ]
        assert page.is_visible("#page") and page.url.startswith("http://127.0.0.1")
        page.keyboard.press("1")
        judged(page, f"{i + 1} of 99")
    assert len({reply.ids for reply in Judgements(run).since(0)}) == len(HOSTILE)


def test_it_works_without_scripts(arms, served, visit):
    """Buttons are forms: an answer, a skip and an undo."""
    store = Judgements(arms.ledger.path)
    page = visit(
        served(arms.ledger.path, lambda: arms, raters=("cleo",))["cleo"], java_script_enabled=False
    )
    page.fill("textarea", "by hand")
    page.click("button[data-keys='2']")
    page.click("button[data-keys='Space']")
    page.click("button[data-keys='z']")
    page.click("button[data-keys='1']")
    said = [
        (r.answer and r.order.index(r.answer), r.rationale)
        for r in without_withdrawn(store.since(0))
        if r.rater == "cleo"
    ]
    assert said == [(2, "by hand"), (1, "")]
    store.close()


@pytest.mark.parametrize("width", [360, 768])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_by_day_and_night(arms, served, visit, width, scheme):
    """Nothing is wider than the screen, and the contrast of texts is at least 4.5 to 1 (WCAG)."""
    link = served(arms.ledger.path, lambda: arms)["me"]
    page = visit(link, viewport={"width": width, "height": 800}, color_scheme=scheme)
    drawn(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert min(page.evaluate(CONTRAST)) >= 4.5


def test_keys_are_pressed_one_after_the_other_and_can_be_switched_off(points, served, visit):
    """A ranking takes two; a key that leads nowhere changes nothing.

    Tab and enter do without any.
    """
    page = visit(served(points.ledger.path, lambda: points, question="ranking")["me"])
    for key in ("9", "2", "2", "3"):
        page.keyboard.press(key)
    judged(page, "1 of 10")
    page.uncheck("#keys")
    page.keyboard.press("1"), page.keyboard.press("2")
    page.focus("button[data-keys='31']")
    page.keyboard.press("Enter")
    judged(page, "2 of 10")
    store = Judgements(points.ledger.path)
    places = [[reply.order.index(place) + 1 for place in reply.answer] for reply in store.since(0)]
    assert places == [[2, 3, 1], [3, 1, 2]]
    store.close()


def test_what_was_not_heard_is_said_again(arms, served, visit):
    """A reply whose answer was lost is sent once more, told as such, and kept once."""
    page = visit(served(arms.ledger.path, lambda: arms, raters=("dan",))["dan"], expected="503")
    tries, held = [], []

    def lost(route):
        tries.append(route.request.post_data)
        if len(tries) == 1:
            route.fetch(max_redirects=0)  # the server keeps the answer, and its response is lost
            route.fulfill(status=503, body="the disk is full.")
        else:
            held.append(route)

    page.route("**/reply", lost)
    page.keyboard.press("1")
    page.get_by_text("the disk is full. Trying again.").wait_for()
    while not held:
        page.wait_for_timeout(20)
    held[0].continue_()
    judged(page, "1 of 10")
    assert len(tries) == 2 and tries[0] == tries[1]
    assert Judgements(arms.ledger.path).counts()["dan", "triplet"] == 1

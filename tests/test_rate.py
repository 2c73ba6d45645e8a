"""The page on which people judge: what it asks, what it keeps, and what it refuses."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest

import qdkit
from qdkit.archives import Grid
from qdkit.axes import Fit, TripletAxes
from qdkit.cli import commands as cli
from qdkit.domains import PosedArm
from qdkit.operators import Gaussian
from qdkit.rate import connections, serve, spread, telling
from qdkit.rate.app import application
from qdkit.rate.genome_view import LONGEST_SHOWN, check_png, genome_png, genome_view
from qdkit.rate.guard import MOST_BYTES, Guard, response_headers
from qdkit.rate.page import Page
from qdkit.rate.sealed_questions import Seals, key_file
from qdkit.runs.judgements import QUESTIONS, Judgements, Reply, without_withdrawn
from qdkit.runs.run import LiveRun, load

from .worlds import BOX, Jitter, Points, Texts

HERE = "http://127.0.0.1:8123"
FORM = {"origin": HERE}
HOSTILE = (
    "<script>window.attacked = 1; alert(1)</script>",
    "<img src=x onerror='window.attacked = 2'><svg onload='window.attacked = 3'>",
    "<style>body { display: none }</style></div></form></main><base href='http://192.0.2.1/'>",
    "</pre></code><iframe srcdoc='<script>parent.attacked = 4</script>'></iframe>",
    "{{ 7 * 7 }}{% for x in y %}\" ' onclick='window.attacked = 5' autofocus "
    "onfocus='window.attacked = 6'",
    "\u202egnirts \u2066hidden\u2069 \u200b\x07\x1b[2J end",
    "<a href='javascript:window.attacked = 7'>x</a>&lt;b&gt; &amp;" * 10_000,
)


@pytest.fixture
def search(run_folder):
    """A few points of the unit square, kept on disk."""
    with qdkit.Search(Points(), Grid((4, 4), BOX), Jitter(), batch=16, folder=run_folder) as made:
        made.run(4, progress=False)
        yield made


@pytest.fixture
def pages(search):
    """Makes pages of the search, each with a browser's client at it."""
    from starlette.testclient import TestClient

    made = []

    def page(question="triplet", raters=("ann", "ben"), seen=None, **settings):
        made.append(
            Page(search.ledger.path, seen or (lambda: search), question, raters, **settings)
        )
        return made[-1], TestClient(application(made[-1]), base_url=HERE)

    yield page
    for each in made:
        each.close()


class ShownPage(HTMLParser):
    """A page as a browser reads it: its tags, its fields, and its buttons by their keys."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.fields: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        self.pictures: list[str] = []
        self.attributes: Counter[str] = Counter()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        said = dict(attributes)
        self.tags[tag] += 1
        self.attributes.update([*said])
        if said.get("type") == "hidden":
            self.fields[said["name"]] = said["value"]
        if tag == "button" and said.get("name") == "answer":
            self.keys[said["data-keys"]] = said["value"]
        if tag == "img":
            self.pictures.append(said["src"])


def shown(client, page, rater="ann", **where):
    answer = client.get(page.path(rater), **where)
    assert answer.status_code == 200
    return ShownPage(answer.text)


def press(client, page, key, rater="ann", **more):
    """Presses a key on the rater's page, and gives what is shown then."""
    seen = shown(client, page, rater)
    said = {"token": seen.fields["token"], **more}
    said |= {"skip": "yes"} if key == "space" else {"answer": seen.keys[key]}
    answer = client.post(page.path(rater) + "reply", data=said, headers=FORM)
    assert answer.status_code == 200, answer.text  # after it was led back
    return ShownPage(answer.text)


def test_a_key_stands_for_what_is_under_it(pages):
    """The order on the screen is random and stored; the answer is the chosen candidate."""
    page, client = pages()
    orders = set()
    for key in "12" * 6:
        asked = page.seals.open_question(shown(client, page).fields["token"], "ann")
        press(client, page, key)
        kept = page.store.since(0)[-1]
        assert kept.answer == kept.order[int(key)] and kept.order[0] == 0
        assert (kept.ids, kept.order, kept.rater, kept.source) == (
            asked.ids,
            asked.order,
            "ann",
            "person",
        )
        assert 0 <= kept.seconds < 60 and len(set(kept.ids)) == 3
        orders.add(kept.order)
    assert orders == {(0, 1, 2), (0, 2, 1)}


@pytest.mark.parametrize(
    ("question", "keys"),
    [
        ("triplet", ["1", "2"]),
        ("odd", ["1", "2", "3"]),
        ("pair", ["1", "2", "3"]),
        ("ranking", ["12", "13", "21", "23", "31", "32"]),
        ("rating", ["1", "2", "3", "4", "5"]),
    ],
)
def test_every_question_is_answered_with_its_keys(pages, question, keys):
    """Each key gives another answer, and all of them are answers to the question."""
    page, client = pages(question)
    assert [*shown(client, page).keys] == keys
    for key in keys:
        press(client, page, key)
    kept = page.store.since(0)
    assert {r.question for r in kept} == {question} and {len(r.ids) for r in kept} == {
        QUESTIONS[question][0]
    }
    placed = {
        "triplet": lambda r: r.order.index(r.answer),
        "odd": lambda r: 1 + r.order.index(r.answer),
        "pair": lambda r: 3 if r.answer == 0.5 else 1 + r.order.index(r.answer),
        "ranking": lambda r: "".join(str(1 + r.order.index(place)) for place in r.answer[:2]),
        "rating": lambda r: r.answer,
    }[question]
    assert [str(placed(r)) for r in kept] == keys


def test_a_label_is_chosen_or_written(pages):
    """Labels that are given are buttons.

    Without them a text is asked for, and an empty one is none.
    """
    page, client = pages("label", labels=("round", "=long"), asks="Which <shape>?")
    press(client, page, "2")
    page, client = pages("label")
    token = shown(client, page).fields["token"]
    assert (
        client.post(
            page.path("ann") + "reply", data={"token": token, "answer": ""}, headers=FORM
        ).status_code
        == 400
    )
    client.post(
        page.path("ann") + "reply", data={"token": token, "answer": "  odd one "}, headers=FORM
    )
    assert [reply.answer for reply in page.store.since(0)] == ["=long", "odd one"]


def test_a_reply_that_is_said_again_is_kept_once(pages):
    """A reload shows the same question, and two replies to it are stored once."""
    page, client = pages()
    tokens = [shown(client, page).fields["token"] for _ in range(2)]
    for token in tokens * 2:
        client.post(page.path("ann") + "reply", data={"token": token, "answer": "1"}, headers=FORM)
    assert len(page.store.since(0)) == 1
    assert page.seals.open_question(shown(client, page).fields["token"], "ann").earlier_rows == 1


def test_skip_undo_and_rationale(pages):
    """A skip is kept as one.

    An undo asks the same again, also when it is said twice, and a reason stays a text.
    """
    page, client = pages()
    press(client, page, "space")
    press(client, page, "1", rationale="<b>bent</b>\r\nlikewise ")
    undo = {"number": shown(client, page).fields["number"]}
    for _ in range(2):
        again = ShownPage(client.post(page.path("ann") + "undo", data=undo, headers=FORM).text)
        asked = page.seals.open_question(again.fields["token"], "ann")
        assert (asked.ids, asked.order) == page.store.since(0)[1][2:5:2]
    client.post(
        page.path("ann") + "reply",
        data={"token": again.fields["token"], "answer": "2"},
        headers=FORM,
    )
    skipped, taken, withdrawal, last = page.store.since(0)
    assert (skipped.answer, taken.rationale, withdrawal.ids) == (
        None,
        "<b>bent</b>\nlikewise",
        (taken.number,),
    )
    assert without_withdrawn(page.store.since(0)) == [skipped, last] and last.ids == taken.ids
    for number in (last.number, skipped.number):
        assert shown(client, page).fields["number"] == str(number)
        client.post(page.path("ann") + "undo", data={"number": number}, headers=FORM)
    assert without_withdrawn(page.store.since(0)) == []
    assert shown(client, page).fields["number"] == "0"


def test_what_is_not_of_this_run_is_not_asked_again(pages):
    """Judgements that were taken in may be on others.

    One of them is taken back, and another question comes.
    """
    page, client = pages()
    page.store.extend([Reply(0, "triplet", (1, 2, 99_999), 1, (0, 1, 2), "ann")])
    undo = {"number": shown(client, page).fields["number"]}
    answer = client.post(page.path("ann") + "undo", data=undo, headers=FORM)
    assert answer.status_code == 200 and undo["number"] == "1"
    assert not without_withdrawn(page.store.since(0))
    token = ShownPage(answer.text).fields["token"]
    assert 99_999 not in page.seals.open_question(token, "ann").ids


def test_raters_do_not_meet(pages):
    """Each has a progress and questions of their own; all that they say is in one store."""
    page, client = pages(goal=2)
    (
        press(client, page, "1", "ann"),
        press(client, page, "2", "ann"),
        press(client, page, "1", "ben"),
    )
    assert (
        "thank you" in client.get(page.path("ann")).text
        and "1 of 2" in client.get(page.path("ben")).text
    )
    assert page.store.counts() == {("ann", "triplet"): 2, ("ben", "triplet"): 1}
    tokens = {rater: shown(client, page, rater).fields["token"] for rater in ("ann", "ben")}
    first = [page.seals.open_question(token, rater).ids for rater, token in tokens.items()]
    assert first[0] != first[1]


def test_a_restart_changes_nothing(pages, search):
    """Only the user can read the key, and links and questions survive a restart."""
    page, client = pages()
    token = shown(client, page).fields["token"]
    after, client = pages()
    assert after.path("ann") == page.path("ann") and after.path("ann") != after.path("ben")
    assert (
        client.post(
            after.path("ann") + "reply", data={"token": token, "answer": "1"}, headers=FORM
        ).status_code
        == 200
    )
    assert len(page.store.since(0)) == 1
    assert key_file(search.ledger.path).stat().st_mode & 0o777 == 0o600


OTHER = Seals(b"the key of another run")


@pytest.mark.parametrize(
    ("status", "attempt"),
    [
        (403, lambda p, c, t: c.get("/r/ann/" + "0" * 32 + "/")),
        (403, lambda p, c, t: c.get(p.path("ann").replace("ann", "ben"))),
        (
            403,
            lambda p, c, t: c.get(p.path("cleo")),
        ),  # a link with the right seal, but not asked this time
        (403, lambda p, c, t: c.get("/r/ann/%C3%A9/")),
        (404, lambda p, c, t: c.get("/")),
        (404, lambda p, c, t: c.get("/static/..%2fpage.py")),
        (404, lambda p, c, t: c.get("/static/page.html")),
        (405, lambda p, c, t: c.get(p.path("ann") + "reply")),
        (405, lambda p, c, t: c.put(p.path("ann") + "reply", headers=FORM)),
        (405, lambda p, c, t: c.post(p.path("ann"), headers=FORM)),
        (421, lambda p, c, t: c.get(p.path("ann"), headers={"host": "evil.example:8123"})),
        (421, lambda p, c, t: c.get(p.path("ann"), headers={"host": "127.0.0.1.evil.example"})),
        (421, lambda p, c, t: c.get(p.path("ann"), headers={"host": ""})),
        (403, lambda p, c, t: said(p, c, token=t, answer="1", headers={})),
        (403, lambda p, c, t: said(p, c, token=t, answer="1", headers={"origin": "null"})),
        (
            403,
            lambda p, c, t: said(
                p, c, token=t, answer="1", headers={"origin": "http://evil.example"}
            ),
        ),
        (
            403,
            lambda p, c, t: said(
                p, c, token=t, answer="1", headers={"origin": "http://127.0.0.1:8888"}
            ),
        ),
        (
            415,
            lambda p, c, t: c.post(
                p.path("ann") + "reply", json={"token": t, "answer": 1}, headers=FORM
            ),
        ),
        (413, lambda p, c, t: said(p, c, token=t, answer="1", rationale="x" * MOST_BYTES)),
        (
            413,
            lambda p, c, t: c.post(
                p.path("ann") + "reply", content=(b"x" * 999 for _ in range(99)), headers=FORM
            ),
        ),
        (
            413,
            lambda p, c, t: c.post(
                p.path("ann") + "reply", headers=FORM | {"content-length": "-1"}
            ),
        ),
        (400, lambda p, c, t: said(p, c, token=t, answer="1", rationale="x" * 5000)),
        (400, lambda p, c, t: said(p, c, token=t, answer="1", rationale="\0")),
        (
            400,
            lambda p, c, t: c.post(
                p.path("ann") + "reply", content=b"\xff=1", headers=FORM | TYPE
            ),
        ),
        (
            400,
            lambda p, c, t: c.post(
                p.path("ann") + "reply", content="a=1&a=2", headers=FORM | TYPE
            ),
        ),
        (
            400,
            lambda p, c, t: c.post(
                p.path("ann") + "reply", content="&".join("abcdefghijklm"), headers=FORM | TYPE
            ),
        ),
        (400, lambda p, c, t: said(p, c, token=t)),
        (400, lambda p, c, t: said(p, c, token=t, answer="0")),
        (400, lambda p, c, t: said(p, c, token=t, answer="one")),
        (400, lambda p, c, t: said(p, c, token=t, answer="9" * 5000)),
        (400, lambda p, c, t: said(p, c, answer="1")),
        (400, lambda p, c, t: said(p, c, token="?", answer="1")),
        (400, lambda p, c, t: said(p, c, token="W10=.0", answer="1")),
        (400, lambda p, c, t: said(p, c, token="é.é", answer="1")),
        (403, lambda p, c, t: said(p, c, token=t[:-1] + "g", answer="1")),
        (403, lambda p, c, t: said(p, c, token=t + "é", answer="1")),
        (
            403,
            lambda p, c, t: said(
                p, c, token=OTHER.seal_question(p.seals.open_question(t, "ann")), answer="1"
            ),
        ),
        (403, lambda p, c, t: said(p, c, "ben", token=t, answer="1")),
        (400, lambda p, c, t: c.post(p.path("ann") + "undo", data={"number": "x"}, headers=FORM)),
        (403, lambda p, c, t: c.post(p.path("ann") + "undo", data={"number": "7"}, headers=FORM)),
        (404, lambda p, c, t: c.get(p.path("ann") + f"picture/{t}/3.png")),
        (404, lambda p, c, t: c.get(p.path("ann") + f"picture/{t}/00009.png")),
        (403, lambda p, c, t: c.get(p.path("ben") + f"picture/{t}/1.png")),
        (400, lambda p, c, t: c.get(p.path("ann") + "picture/17/1.png")),
    ],
)
def test_what_is_not_for_this_page_is_refused(pages, status, attempt):
    """With a status and a sentence, under the same headers as everything; nothing is kept."""
    page, client = pages()
    answer = attempt(page, client, shown(client, page).fields["token"])
    assert answer.status_code == status and len(answer.text) > 5
    assert all(answer.headers[name] == value for name, value in response_headers("'none'").items())
    assert page.store.since(0) == []


TYPE = {"content-type": "application/x-www-form-urlencoded"}


def said(page, client, rater="ann", headers=FORM, **fields):
    return client.post(page.path(rater) + "reply", data=fields, headers=headers)


def test_another_may_not_take_back(pages):
    """An undo is of one's own judgements."""
    page, client = pages()
    press(client, page, "1", "ann")
    assert (
        client.post(page.path("ben") + "undo", data={"number": "1"}, headers=FORM).status_code
        == 403
    )
    assert len(without_withdrawn(page.store.since(0))) == 1


def test_what_cannot_be_kept_is_said(pages, monkeypatch):
    """A full disk is a sentence and a status that the page tries again after, and no thanks."""
    page, client = pages()
    token = shown(client, page).fields["token"]

    def full(reply):
        raise OSError("judgements.db cannot be written: disk is full")

    monkeypatch.setattr(page.store, "add", full)
    answer = said(page, client, token=token, answer="1")
    assert (answer.status_code, answer.text) == (
        503,
        "judgements.db cannot be written: disk is full.",
    )


def test_pictures_are_pictures(pages, search):
    """With one fixed type, of what was asked; the map too; and the page names no other source."""
    page, client = pages()
    seen = shown(client, page)
    for source in seen.pictures:
        answer = client.get(page.path("ann") + source)
        assert answer.headers["content-type"] == "image/png" and answer.content.startswith(
            b"\x89PNG"
        )
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert [source.partition("?")[0].rpartition("/")[2] for source in seen.pictures] == [
        "0.png",
        "1.png",
        "2.png",
        "map.png",
    ]
    state = client.get(page.path("ann") + "state").json()
    assert state["version"] == 4 and state["ready"] and "16 cells" in state["stands"]


class Broken(Points):
    """Points that cannot be drawn."""

    def draw(self, genome, ax):
        raise ZeroDivisionError("by a stranger")


class Windows(Points):
    """Points whose pictures are said to be PNG."""

    def png(self, genome):
        return b"<svg onload='attacked = 1'>"


@pytest.mark.parametrize(
    ("domain", "why"), [(Broken(), "ZeroDivisionError"), (Windows(), "ValueError")]
)
def test_a_candidate_that_cannot_be_drawn_stops_nobody(pages, search, domain, why):
    """Its picture is missing, with the reason, and the question can be answered."""
    search.domain = domain
    page, client = pages()
    answer = client.get(page.path("ann") + shown(client, page).pictures[0])
    assert (answer.status_code, answer.text) == (404, f"not drawn: {why}")
    press(client, page, "1")
    assert len(page.store.since(0)) == 1


def test_a_png_is_known_by_its_head():
    """Nothing else is handed to a browser as one."""
    assert check_png(b"\x89PNG\r\n\x1a\n...")
    with pytest.raises(ValueError, match="bytes of a PNG"):
        check_png(b"GIF89a")


class Hostile(Texts):
    """Texts that try to act on the page."""

    def seeds(self, key, n):
        return list(HOSTILE[:n])

    def evaluate(self, genomes):
        return qdkit.Evaluation([1.0] * len(genomes), [(i, 0.5) for i in range(len(genomes))])


class Json(Hostile):
    """The same as lists."""

    def seeds(self, key, n):
        return [[text] for text in HOSTILE[:n]]


class Programs(Json):
    """The same as programs, in their names too."""

    def seeds(self, key, n):
        return [{"a.py": text, text[:50]: text} for text in HOSTILE[:n]]


class Same(qdkit.Operator):
    """Makes nothing new."""

    name = "same"

    def propose(self, key, context, n):
        return qdkit.Proposal.of(list(context.parents.genome), self.name, context.parents)


def hostile(domain, run):
    """A search whose candidates are all attacks."""
    search = qdkit.Search(domain, Grid((40, 1), ((0, 40), (0, 1))), Same(), batch=8, folder=run)
    search.run(1, progress=False)
    return search


@pytest.mark.parametrize("domain", [Hostile(), Json(), Programs()])
@pytest.mark.parametrize("question", ["ranking", "label"])
def test_candidates_are_data(run_folder, domain, question):
    """Hostile candidates add no tags or attributes to the page, which shows their text."""
    from starlette.testclient import TestClient

    with hostile(domain, run_folder) as search:
        page = Page(run_folder, lambda: search, question)
        client = TestClient(application(page), base_url=HERE)
        for _ in range(6):
            text = client.get(page.path("me")).text
            seen = ShownPage(text)
            assert (
                seen.tags["script"]
                == seen.tags["link"] - 1
                == seen.tags["html"]
                == seen.tags["main"]
                == 1
            )
            assert not {"style", "svg", "iframe", "base", "a", "b7"} & {*seen.tags}
            assert not [
                name
                for name in seen.attributes
                if name.startswith("on") or name in ("style", "srcdoc")
            ]
            assert seen.tags["img"] == 1 and not re.search("[\u202e\u2066\u200b\x07\x1b]", text)
            answer = {"skip": "yes", "token": seen.fields["token"]}
            client.post(page.path("me") + "reply", data=answer, headers=FORM)
        page.close()


def test_what_is_shown_of_a_genome():
    """A text as it is, Python in colours, numbers told, and no more than a screen bears."""
    assert genome_view("a <b>\u202e", None).prose.pieces == [("", "a <b>�")]
    assert genome_view("x" * (LONGEST_SHOWN + 5), None).prose.more == 5
    [code] = genome_view({"a.py": "def f(x):\n    return 'a' + 1  # why\n"}, None).code
    assert "".join(text for _, text in code.pieces) == "def f(x):\n    return 'a' + 1  # why\n"
    assert {("k", "def"), ("f", "f"), ("s", "'a'"), ("c", "# why")} <= {
        (kind, text) for kind, text in code.pieces
    }
    assert (
        genome_view(np.arange(3.0), None).numbers == ("0", "1", "2")
        and len(genome_view(np.arange(1000), None).numbers) == 101
    )
    assert genome_view(b"\x00<script>", None).code[0].pieces == [
        ("", "9 bytes: 00 3c 73 63 72 69 70 74 3e")
    ]
    assert genome_view({"x": [1, None]}, None).code[0].title == ""


def test_no_genome_is_too_much():
    """Of many files, long names and a million numbers as much is shown as a screen bears."""
    parts = genome_view({f"{'d' * 999}/{i}.py": "x" * 3000 for i in range(1000)}, None).code
    assert sum(len(text) for part in parts for _, text in part.pieces) == LONGEST_SHOWN
    assert (
        parts[-1].title == "980 more files are not shown"
        and max(len(part.title) for part in parts) == 200
    )
    assert (parts[0].more, parts[19].more) == (0, 3000)
    assert genome_png(np.zeros(10**6), None).startswith(b"\x89PNG")


def test_a_reply_that_does_not_come_in_is_not_waited_for(monkeypatch):
    """A sender that stops in the middle hears a refusal."""
    monkeypatch.setattr("qdkit.rate.guard._BODY_SECONDS", 0.01)
    heard = []

    async def forever():
        await asyncio.Event().wait()

    async def send(message):
        heard.append(message)

    asked = {
        "type": "http",
        "method": "POST",
        "headers": [(b"host", b"127.0.0.1"), (b"origin", b"http://127.0.0.1")],
    }
    asyncio.run(Guard(None)(asked, forever, send))
    assert (heard[0]["status"], heard[1]["body"]) == (408, b"the reply did not come in")


def test_blanks_do_not_hold_the_page_up():
    """Lines of many blanks once took the lexer seconds, more with each line."""
    [code] = genome_view({"a.py": "\n \t" * 7000}, None).code
    assert {text.strip() for _, text in code.pieces} == {""} and len(code.pieces) < 10


class Few(Points):
    """Points all alike, but for some."""

    def seeds(self, key, n):
        return np.array([(0.1, 0.1), (0.9, 0.1), (0.1, 0.9)])[:n]


def test_the_questions_are_even(search):
    """No elite is in two questions before all were in one, over all raters."""
    heard: list[Reply] = []
    random = np.random.default_rng(0)
    ids = search.elites.payload["id"][search.elites.occupied].tolist()
    for i in range(12):
        rater = "ab"[i % 2]
        found = spread(random, search, heard, rater, 3)
        heard.append(Reply(i + 1, "triplet", found, 1, (0, 1, 2), rater))
        assert len(set(found)) == 3 and {*found} <= {*ids}
        counts = Counter(id for reply in heard if reply.rater == rater for id in reply.ids)
        assert max(counts[id] for id in ids) - min(counts[id] for id in ids) <= 1


def test_no_question_has_the_same_thing_twice(run_folder):
    """Candidates that look the same are not compared; with too few others, the page waits."""
    operator = Same()
    operator.propose = lambda key, context, n: qdkit.Proposal.of(
        context.parents.genome, "same", context.parents
    )
    with qdkit.Search(Few(), Grid((4, 4), BOX), operator, batch=3, folder=run_folder) as search:
        page = Page(run_folder, lambda: search)
        assert (
            page._next_question("me", "") is None
            and not page.state()["ready"]
            and "Waiting" in page.show("me").body
        )
        search.run(3, progress=False)
        assert {tuple(search.genome(id)) for id in page._next_question("me", "").ids} == {
            (0.1, 0.1),
            (0.9, 0.1),
            (0.1, 0.9),
        }
        two = Page(run_folder, lambda: search, "triplet", choose=lambda *about: None)
        assert two._next_question("me", "") is None
        page.close(), two.close()


def test_whoever_chooses_sees_what_was_said(pages, search):
    """The joint for active choice: the search as it is, the replies that stand, the rater.

    The same chance again.
    """
    told = []

    def choose(random, seen, replies, rater, many):
        told.append((random.integers(1000), seen is search, len(replies), rater, many))
        return tuple(np.flatnonzero(search.elites.occupied)[:0].tolist()) or (0, 1, 2)

    page, client = pages(choose=choose)
    shown(client, page), shown(client, page), press(client, page, "1")
    assert told[0] == told[1] == (told[0][0], True, 0, "ann", 3) and told[-1][2] == 1


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"question": "which"}, "a question is one of triplet"),
        ({"raters": ("a/b",)}, "letters, digits, - and _"),
        ({"raters": ("",)}, "letters, digits, - and _"),
        ({"raters": ()}, "a rater"),
        ({"labels": ("a",)}, "are for the question label"),
        ({"question": "label", "labels": "abcdefghij"}, "up to 9 different labels"),
        ({"goal": 0}, "a goal from 1"),
    ],
)
def test_a_page_that_cannot_be_is_refused(search, wrong, sentence):
    """Before anything is served."""
    with pytest.raises(ValueError, match=sentence):
        Page(search.ledger.path, lambda: search, **wrong)


def test_a_compiled_run_is_not_judged(search):
    """Its ids are places in the archive, where something else may lie tomorrow."""
    search.ledger.about["compiled"] = True
    with pytest.raises(
        ValueError, match="is a compiled run: its candidates have no lasting numbers"
    ):
        Page(search.ledger.path, lambda: search)


def read(link, **fields):
    """A page over the network, as a browser without scripts has it."""
    origin = link[: link.index("/r/")]
    body = "&".join(f"{name}={value}" for name, value in fields.items()).encode() or None
    with urllib.request.urlopen(
        urllib.request.Request(link, body, {"Origin": origin}), timeout=20
    ) as answer:
        return answer.read().decode()


def test_served_on_loopback_at_once(search):
    """By its address and as localhost; a reply is kept; a port that is taken is a sentence.

    Closing gives it back.
    """
    served = serve(search.ledger.path, lambda: search, port=0)
    [link] = served.links.values()
    port = int(re.search(r":(\d+)/", link)[1])
    assert served.alone and served._socket.proto == socket.IPPROTO_TCP
    assert "Which is more" in read(link) and "Which is more" in read(
        link.replace("127.0.0.1", "localhost")
    )
    with pytest.raises(OSError, match=f"port {port} is in use: name another"):
        serve(search.ledger.path, lambda: search, port=port)
    with pytest.raises(ValueError, match="a port is a number from 0 to 65535, not 65536"):
        serve(search.ledger.path, lambda: search, port=65536)
    served.close()
    serve(search.ledger.path, lambda: search, port=port).close()


def test_in_a_notebook_the_search_serves_its_own_page(search):
    """In a frame that loopback pages may show; a second call takes the first one's place.

    Closing stops it.
    """
    frame = search.rate("pair", raters=("ann",))
    with urllib.request.urlopen(frame.src, timeout=20) as answer:
        assert (
            "frame-ancestors 'self' http://localhost:*"
            in answer.headers["content-security-policy"]
        )
    search.run(2, progress=False)
    other = search.rate(goal=3)
    assert "0 of 3" in read(other.src)
    search.close()
    for gone in (frame, other):
        with pytest.raises(OSError):
            read(gone.src)


def test_judgements_need_a_folder():
    """A search in memory has nowhere to keep them."""
    with (
        qdkit.Search(Points(), Grid((4, 4), BOX), Jitter(), batch=4) as search,
        pytest.raises(ValueError, match="folder="),
    ):
        search.rate()


def test_without_the_extra_the_command_that_installs_it_is_named(search, monkeypatch):
    """Nothing is imported before it is needed."""
    monkeypatch.setattr("qdkit.rate.find_spec", lambda name: None)
    install = r"pip install -e '\.\[ui\]' in the clone of qdkit"
    with pytest.raises(
        ModuleNotFoundError, match=f"starlette, uvicorn, jinja2, pygments: {install}"
    ):
        serve(search.ledger.path, lambda: search)
    with pytest.raises(SystemExit, match=f"^qdkit: the page needs .*: {install}$"):
        cli.main(["rate", str(search.ledger.path)])


def test_a_run_is_watched_while_it_goes_on(search):
    """By a reader that takes no lock, and looks no oftener than it has time for."""
    run = load(search.ledger.path)
    watched = LiveRun(run)
    assert watched() is run
    search.run(2, progress=False)
    watched._next = 0.0
    later = watched()
    assert len(later.commits) == 6 and later.now() is later
    watched._next = float("inf")
    assert watched() is later
    run.close()


def start(run):
    """`qdkit rate` in a process of its own, and its link."""
    command = [sys.executable, "-m", "qdkit", "rate", str(run), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return process, process.stdout.readline().split()[-1]


def test_the_command_serves_until_ctrl_c_or_a_kill(search):
    """Beside a search that holds the run.

    What was answered before a kill is there after it, under the same link.
    """
    process, link = start(search.ledger.path)
    token = ShownPage(read(link)).fields["token"]
    read(link + "reply", token=token.replace("=", "%3D"), answer=1)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    process, after = start(search.ledger.path)
    assert after.partition("/r/")[2] == link.partition("/r/")[2] and "1 of 10" in read(after)
    os.kill(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=20)
    assert (process.returncode, error) == (130, "qdkit: stopped by SIGINT\n")
    assert len(Judgements(search.ledger.path).since(0)) == 1


def test_the_command_shows_and_moves_judgements(search, tmp_path, capsys):
    """Counts by rater, a file out and in again, and nothing twice."""
    run = str(search.ledger.path)

    def main(words):
        with pytest.raises(SystemExit, match="0"):
            cli.main(words)

    main(["judgements", run])
    assert "no judgements yet" in capsys.readouterr().out
    store = Judgements(run)
    store.add(Reply(0, "pair", (1, 2), 0.5, (0, 1), "ann"))
    main(["judgements", run, "--out", str(tmp_path / "out.csv")])
    assert re.search(r"ann\s+pair\s+1", capsys.readouterr().out)
    main(["judgements", run, "--import", str(tmp_path / "out.csv")])
    assert "imported: 1 new judgements" in capsys.readouterr().out
    main(["judgements", run, "--import", str(tmp_path / "out.csv"), "--json"])
    assert '"judgements": 2' in capsys.readouterr().out
    store.close()


def test_ten_triplets_on_the_page_teach_the_axes_of_a_search_that_goes_on(run_folder):
    """Before a fit the page asks evenly.

    Ten replies later the map is another, and questions are where it is unsure.
    """
    from starlette.testclient import TestClient

    run_folder.mkdir(parents=True, exist_ok=True)
    arm, store = PosedArm(4), Judgements(run_folder)
    axes = TripletAxes(each=10, fit=Fit(steps=20))
    search = qdkit.Search(
        arm,
        Grid((6, 6), BOX),
        Gaussian(0.2),
        axes=axes,
        replies=store,
        batch=16,
        folder=run_folder,
        seed=2,
    )
    page = Page(run_folder, lambda: search, raters=("ann",))
    with search:
        search.run(3, progress=False)
        first, client = search.axes, TestClient(application(page), base_url=HERE)
        random = lambda: np.random.default_rng(3)
        heard = lambda: without_withdrawn(store.since(0))
        assert telling(random(), search, (), "ann", 3) == spread(random(), search, (), "ann", 3)
        for reply in range(10):
            press(client, page, "12"[reply % 2])
            search.run(1, progress=False)
        learnt = search.axes
        assert (first.heard, learnt.heard) == (0, 10) and len(learnt.members)
        before = first(search.pool)
        assert not np.allclose(before, learnt(search.pool))
        told = telling(random(), search, heard(), "ann", 3)
        assert told is not None and len(set(told)) == 3
        assert told != spread(random(), search, heard(), "ann", 3)
        assert set(told) not in [set(reply.ids) for reply in heard()]
    run = qdkit.load(run_folder)
    assert telling(random(), run, heard(), "ann", 3) == told
    run.close()
    page.close()
    store.close()


def test_axes_do_not_learn_what_was_taken_back(run_folder):
    """Ten replies of which one is taken back are nine: there is no fit until another has come."""
    run_folder.mkdir(parents=True, exist_ok=True)
    store = Judgements(run_folder)
    axes = TripletAxes(each=10, fit=Fit(steps=5))
    grid = Grid((6, 6), BOX)
    with qdkit.Search(
        PosedArm(4), grid, Gaussian(0.2), axes=axes, replies=store, batch=32, folder=run_folder
    ) as search:
        search.run(1, progress=False)
        for first in range(10):
            last = store.add(
                Reply(0, "triplet", (first, first + 1, first + 2), 1, (0, 1, 2), "ann")
            )
        store.withdraw(last, "ann")
        search.run(1, progress=False)
        assert search.axes.heard == 0
        store.add(Reply(0, "triplet", (20, 21, 22), 1, (0, 1, 2), "ann"))
        search.run(1, progress=False)
        assert search.axes.heard == 10
    store.close()


def test_a_key_that_is_none_is_told_with_the_file_to_delete(run_folder):
    """A tampered key, in words."""
    run_folder.mkdir(parents=True, exist_ok=True)
    Seals.of(run_folder)
    key_file(run_folder).write_text("zz")
    with pytest.raises(ValueError, match="is no key of 64 hexadecimal digits: delete it"):
        Seals.of(run_folder)


def test_a_key_that_comes_with_a_folder_is_not_used(run_folder):
    """Whoever sends a folder knows the keys in it, and must know no link.

    Neither does who sends another there.
    """
    run_folder.mkdir(parents=True)
    (run_folder / "rating.key").write_text("ab" * 32)
    own = Seals.of(run_folder)
    assert own.link("ann") != Seals(bytes.fromhex("ab" * 32)).link("ann")
    assert [path.name for path in run_folder.iterdir()] == ["rating.key"]
    other = run_folder.with_name("other")
    shutil.copytree(run_folder, other)
    assert Seals.of(other).link("ann") != own.link("ann") == Seals.of(run_folder).link("ann")


def test_a_key_that_cannot_be_kept_holds_as_long_as_the_page(run_folder, tmp_path, monkeypatch):
    """Without a place for it there are links all the same, and a warning."""
    run_folder.mkdir(parents=True)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="until the page is closed"):
        assert len(Seals.of(run_folder).link("ann")) == 32


def test_half_requests_do_not_keep_the_others_out(search):
    """Many connections with half a request do not keep a complete request from a response."""
    served = serve(search.ledger.path, lambda: search, port=0)
    try:
        address = served.links["me"]
        at = tuple(address.removeprefix("http://").partition("/")[0].rsplit(":", 1))
        held = [socket.create_connection((at[0], int(at[1])), 10) for _ in range(130)]
        for each in held:
            each.sendall(b"GET / HTTP/1.1\r\nHost: 127")
        for _ in range(3):
            with urllib.request.urlopen(address, timeout=10) as answer:
                assert answer.status == 200
        for each in held:
            each.close()
    finally:
        served.close()


def test_a_request_that_is_never_whole_is_given_up(search, monkeypatch):
    """Byte by byte, or the second on a connection: the time counts from its beginning."""
    monkeypatch.setattr(connections, "_REQUEST", 0.2)
    served = serve(search.ledger.path, lambda: search, port=0)
    try:
        host, port = served.links["me"].removeprefix("http://").partition("/")[0].rsplit(":", 1)
        whole = f"GET /static/rate.css HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
        for before in (b"", whole):
            with socket.create_connection((host, int(port)), 10) as one:
                one.sendall(before + b"GET / HT")
                while one.recv(1 << 16):  # what was asked whole, then the end
                    pass
    finally:
        served.close()

"""What was judged is kept as it was said, once, in order, and is there after a kill.

And it travels as files.
"""

from __future__ import annotations

import csv
import gc
import math
import os
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdkit.runs.judgement_files import read_replies, write_replies
from qdkit.runs.judgements import (
    JUDGEMENTS_FILE,
    LONGEST_REPLY_TEXT,
    QUESTIONS,
    SOURCES,
    WITHDRAWN,
    Judgements,
    Reply,
    without_withdrawn,
)
from qdkit.runs.ledger import DamagedRun, connect

TRIPLET = Reply(
    0, "triplet", (7, 4, 9), 1, (0, 2, 1), "ann", seconds=2.5, rationale="the same bend"
)
ANSWERS = {
    "triplet": (1, 2),
    "odd": (0, 1, 2),
    "pair": (0, 1, 0.5),
    "ranking": ((0, 1, 2), (2, 0, 1)),
    "rating": (4, -1.5, 0.1),
    "label": ("happy", "=1+1", "'tis", "-1", "+", 'a\n,"b', "\ttab"),
}


def said(other: str) -> str:
    """A line of JSON that is a judgement but for what it says besides."""
    known = '"question": "triplet", "ids": [1, 2, 3], "answer": 1, "order": [0, 1, 2]'
    return f'{{{known}, "rater": "ann", {other}}}\n'


@pytest.fixture
def store(tmp_path):
    found = Judgements(tmp_path)
    yield found
    found.close()


def ready(reply: Reply, store: Judgements) -> Reply:
    """The reply as the store gives it: with its number and its time."""
    kept = store.since(0)[-1]
    return reply._replace(number=kept.number, at=kept.at)


def test_a_reply_comes_back_as_it_was_given(store):
    """Of every question, with every answer and without one."""
    for number, (question, answers) in enumerate(ANSWERS.items(), 1):
        many = QUESTIONS[question][0]
        for answer in (*answers, None):
            reply = Reply(
                0,
                question,
                tuple(range(5, 5 + many)),
                answer,
                tuple(range(many)),
                "ben",
                seconds=float(number),
            )
            store.add(reply)
            assert store.since(0)[-1] == ready(reply, store)
    assert [reply.number for reply in store.since(0)] == [*range(1, len(store.since(0)) + 1)]
    assert store.since(3)[0].number == 4 and store.since(1000) == []


def test_what_is_unknown_stays_unknown(store):
    """Without its seconds, a reply has nan again; its time is when it came."""
    store.add(TRIPLET._replace(seconds=math.nan))
    [reply] = store.since(0)
    assert math.isnan(reply.seconds) and reply.at.endswith("+00:00") and len(reply.at) == 29


def test_reading_makes_no_file(tmp_path):
    """A run that nobody judged has no judgements.

    The first one is seen by whoever looked before.
    """
    reader = Judgements(tmp_path)
    assert reader.since(0) == [] and not (tmp_path / JUDGEMENTS_FILE).exists()
    writer = Judgements(tmp_path)
    writer.add(TRIPLET)
    assert len(reader.since(0)) == 1 and reader.counts() == {("ann", "triplet"): 1}
    reader.close(), writer.close()


def test_a_token_is_stored_once(store):
    """A client may send a reply again: it is stored once, and the number is the same."""
    first = store.add(TRIPLET._replace(token="t1"))
    assert store.add(TRIPLET._replace(token="t2")) == 2
    assert store.add(TRIPLET._replace(token="t1", answer=2)) == first
    assert [reply.answer for reply in store.since(0)] == [1, 1]


def test_an_undo_is_a_row_that_names_another(store):
    """Nothing goes.

    The reply stands no more, and cannot be taken back twice, nor by another rater.
    """
    number = store.add(TRIPLET)
    with pytest.raises(LookupError, match="ben has no judgement 1"):
        store.withdraw(number, "ben")
    assert store.withdraw(number, "ann") == 2
    assert [reply.question for reply in store.since(0)] == ["triplet", WITHDRAWN]
    assert without_withdrawn(store.since(0)) == []
    assert not store.counts() and store.raters == ["ann"]
    for gone in (number, 2, 99):
        with pytest.raises(LookupError, match="could be taken back"):
            store.withdraw(gone, "ann")


def test_skipped_questions_are_kept_and_not_counted(store):
    """A skip is a reply without an answer."""
    store.add(TRIPLET._replace(answer=None))
    assert len(without_withdrawn(store.since(0))) == 1 and not store.counts()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"question": "which"}, "a question is one of triplet, odd"),
        ({"ids": (1, 2)}, "is about 3 different ids"),
        ({"ids": (1, 1, 2)}, "is about 3 different ids"),
        ({"ids": (1, 2, -3)}, "is about 3 different ids"),
        ({"ids": (1, 2, True)}, "is about 3 different ids"),
        ({"ids": (1, 2, "3")}, "is about 3 different ids"),
        ({"answer": 0}, "is answered with 1 or 2"),
        ({"answer": True}, "is answered with 1 or 2"),
        ({"answer": "1"}, "is answered with 1 or 2"),
        ({"answer": [1]}, "is answered with 1 or 2"),
        ({"question": "ranking", "answer": (0, 1, 1)}, "is answered with 0, 1 and 2"),
        (
            {"question": "rating", "ids": (1,), "order": (0,), "answer": math.nan},
            "is answered with a number",
        ),
        (
            {"question": "rating", "ids": (1,), "order": (0,), "answer": 10**400},
            "is answered with a number",
        ),
        (
            {"question": "label", "ids": (1,), "order": (0,), "answer": ""},
            "is answered with a text",
        ),
        ({"order": (0, 1)}, "each place in ids once"),
        ({"order": (0, 1, 1)}, "each place in ids once"),
        ({"rater": ""}, "rater is a text of 1 to 80"),
        ({"rater": "a\0b"}, "rater is a text"),
        ({"rater": "\ud800"}, "rater is a text"),
        ({"rationale": "x" * (LONGEST_REPLY_TEXT + 1)}, "rationale is a text of 0 to 4000"),
        ({"source": "dog"}, "source is one of person, model, rule"),
        ({"seconds": -1.0}, "seconds is a number from 0"),
        ({"seconds": math.inf}, "seconds is a number from 0"),
        ({"token": ""}, "token is a text of 1 to 80"),
    ],
)
def test_what_is_no_reply_is_refused(store, wrong, sentence):
    """At the door, in a sentence, and nothing is kept."""
    with pytest.raises(ValueError, match=sentence):
        store.add(TRIPLET._replace(**wrong))
    assert store.since(0) == []


def test_judgements_lie_in_a_folder(tmp_path):
    """One that is there."""
    with pytest.raises(FileNotFoundError, match="judgements lie in the folder of a run"):
        Judgements(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "statement",
    [
        "update judgements set answer = '1' where number = 2",
        "update judgements set rater = 'ben' where number = 1",
        "delete from judgements where number = 2",
        "delete from judgements where number = 1",
        """insert into judgements select 9, question, ids, answer, "order", rater, source,
            seconds, rationale, at, 'x',
           digest from judgements where number = 3""",
    ],
)
def test_a_row_changed_by_another_hand_is_noticed(tmp_path, statement):
    """By whoever opens the store; whoever has read the rows before does not read them again."""
    store = Judgements(tmp_path)
    for answer in (1, 2, 1):
        store.add(TRIPLET._replace(answer=answer))
    store.close()
    db = sqlite3.connect(tmp_path / JUDGEMENTS_FILE)
    with db:
        db.execute(statement)
    db.close()
    with pytest.raises(DamagedRun, match="is not as it was written"):
        Judgements(tmp_path)


def test_a_file_of_another_kind_is_no_store(tmp_path):
    """Nor is one of a later version."""
    (tmp_path / JUDGEMENTS_FILE).write_bytes(b"no database at all" * 100)
    with pytest.raises(DamagedRun, match="cannot be read as judgements"):
        Judgements(tmp_path)
    (tmp_path / JUDGEMENTS_FILE).unlink()
    db = sqlite3.connect(tmp_path / JUDGEMENTS_FILE)
    db.execute("pragma user_version = 7")
    db.close()
    with pytest.raises(DamagedRun, match="version 7"):
        Judgements(tmp_path)


def test_many_write_at_once(tmp_path):
    """Threads write to several stores of one file: each reply is stored once, with valid seals."""
    stores = [Judgements(tmp_path) for _ in range(3)]

    def judge(store, who):
        for i in range(20):
            store.add(TRIPLET._replace(rater=f"r{who}", token=f"{who}-{i}"))
            store.add(TRIPLET._replace(rater=f"r{who}", token=f"{who}-{i}"))

    threads = [threading.Thread(target=judge, args=(stores[i % 3], i)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    fresh = Judgements(tmp_path)
    assert len(fresh.since(0)) == len({reply.token for reply in fresh.since(0)}) == 120
    for store in (fresh, *stores):
        store.close()


def test_nothing_acknowledged_is_lost_in_a_kill(tmp_path):
    """A process that writes as fast as it can is killed; what it said it kept is there."""
    script = (
        "import sys; from qdkit.runs.judgements import Judgements, Reply\n"
        "store = Judgements(sys.argv[1])\n"
        "while True: print(store.add(Reply(0, 'pair', (1, 2), 0, (0, 1), 'ann')), flush=True)"
    )
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as at_it:
            for _ in range(30):
                at_it.stdout.readline()
            os.kill(at_it.pid, signal.SIGKILL)
            said = [line for line in at_it.stdout.read().splitlines() if line]
        store = Judgements(tmp_path)
        assert len(store.since(0)) >= int(said[-1] if said else 30)
        store.close()


plain_texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30
)


@st.composite
def replies(draw):
    question = draw(st.sampled_from([*ANSWERS]))
    many = QUESTIONS[question][0]
    answers = (
        plain_texts.filter(bool) if question == "label" else st.sampled_from(ANSWERS[question])
    )
    return Reply(
        0,
        question,
        tuple(draw(st.lists(st.integers(0, 99), min_size=many, max_size=many, unique=True))),
        draw(st.none() | answers),
        tuple(draw(st.permutations(range(many)))),
        draw(plain_texts.filter(bool)),
        draw(st.sampled_from(SOURCES)),
        draw(st.floats(0, 1e6)),
        draw(plain_texts),
    )


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@given(made=st.lists(replies(), max_size=5))
def test_files_are_read_back_as_they_were_written(ending, tmp_path_factory, made):
    """Whatever texts they hold."""
    folder = tmp_path_factory.mktemp("files")
    write_replies(made, folder / f"judgements.{ending}")
    assert read_replies(folder / f"judgements.{ending}") == made


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_store_travels_with_what_was_taken_back(tmp_path, ending):
    """Into another run's store after other rows, where numbers differ.

    And a second time nothing is new.
    """
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir(), here.mkdir()
    one, other = Judgements(there), Judgements(here)
    for token in ("a", None, "b"):
        one.add(TRIPLET._replace(token=token))
    one.withdraw(1, "ann")
    (
        other.add(TRIPLET._replace(rater="cleo")),
        other.add(TRIPLET._replace(rater="cleo")),
        other.withdraw(1, "cleo"),
    )
    write_replies(one.since(0), tmp_path / f"out.{ending}")
    assert other.extend(read_replies(tmp_path / f"out.{ending}")) == 4
    assert other.extend(read_replies(tmp_path / f"out.{ending}")) == 0
    assert [(r.rater, r.number) for r in without_withdrawn(other.since(0))] == [
        ("cleo", 2),
        ("ann", 5),
        ("ann", 6),
    ]
    one.close(), other.close()


def test_no_cell_is_a_formula(tmp_path):
    """What a spreadsheet would run is written behind an apostrophe; numbers stay numbers."""
    texts = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "\r=1", "'quoted"]
    rated = [Reply(0, "rating", (1,), -1.5, (0,), "ann", rationale=text) for text in texts]
    write_replies(rated, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        cells = [(row["answer"], row["rationale"]) for row in csv.DictReader(file)]
    assert cells == [("-1.5", f"'{text}") for text in texts]
    assert [reply.rationale for reply in read_replies(tmp_path / "out.csv")] == texts


def test_a_file_by_hand_needs_few_columns(tmp_path):
    """Question, ids, answer, order and rater: the others have what `Reply` has without them."""
    (tmp_path / "hand.csv").write_text(
        "question,ids,answer,order,rater\npair,3 8,0.5,1 0,ann\nlabel,3,sad,0,ann\n"
    )
    pair, label = read_replies(tmp_path / "hand.csv")
    assert (pair.ids, pair.answer, pair.order, label.answer) == ((3, 8), 0.5, (1, 0), "sad")


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        (
            "a.csv",
            "question,ids,answer,order,rater\npair,3 8,7,1 0,ann\n",
            "row 1 of .* a pair is answered with 0, 1",
        ),
        (
            "a.csv",
            "question,ids,answer,order,rater\npair,3 8,0,1 0,a\npair,x,0,1 0,a\n",
            "row 2 of .* no judgement",
        ),
        (
            "a.csv",
            "question,ids,order,rater\npair,3 8,1 0,ann\n",
            "row 1 of .* there is no 'answer'",
        ),
        (
            "a.csv",
            "question,ids,answer,order,rater\npair,3 8\n",
            "row 1 of .* more or fewer cells",
        ),
        ("a.jsonl", "{}\n", "row 1 of .* there is no 'answer'"),
        ("a.jsonl", "[1]\n", "row 1 of .* no judgement"),
        ("a.jsonl", "[" * 100_000, "row 1 of .* no judgement"),
        ("a.jsonl", said('"number": Infinity'), "row 1 of .* no judgement"),
        ("a.jsonl", said(f'"seconds": 1{"0" * 400}'), "row 1 of .* seconds is a number from 0"),
        ("a.jsonl", said('"order": "012"'), "row 1 of .* order has each place in ids once"),
        (
            "a.jsonl",
            said('"order": ["0", "1", "2"]'),
            "row 1 of .* order has each place in ids once",
        ),
        (
            "a.jsonl",
            said('"question": "ranking", "answer": ["0", "1", "2"]'),
            "row 1 of .* answered with 0, 1 and 2",
        ),
        (
            "a.jsonl",
            said(r'"question": "label", "ids": [1], "order": [0], "answer": "\ud800"'),
            "row 1 of .* a text of",
        ),
        ("a.jsonl", said('"token": "withdrawn 1"'), "row 1 of .* is that of a withdrawal"),
        ("a.txt", "", "ends in .csv or .jsonl"),
    ],
)
def test_what_is_no_judgement_is_not_read(tmp_path, name, text, sentence):
    """The row is named, and what is wrong with it."""
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_replies(tmp_path / name)


def test_an_import_is_whole_or_not_at_all(store):
    """A withdrawal of what is not there refuses all that came with it."""
    lost = Reply(5, WITHDRAWN, (4,), None, (), "ann")
    with pytest.raises(ValueError, match="withdraws judgement 4, and no row before it"):
        store.extend([TRIPLET, lost])
    assert store.since(0) == []


def test_a_store_that_nobody_closed_closes_its_file_when_it_is_gone(tmp_path):
    """Both connections, the one that reads and the one that writes."""
    store = Judgements(tmp_path)
    store.add(TRIPLET)
    store.since(0)
    connections = [store._writable, store._readable]
    del store
    gc.collect()
    for connection in connections:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("select 1")


def test_what_is_no_database_is_not_held_open(tmp_path, monkeypatch):
    """The connection that found it out is closed."""
    (tmp_path / "run.db").write_bytes(b"not a database, and longer than the header of one " * 9)
    opened, connect_to = [], sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda *a, **k: opened.append(connect_to(*a, **k)) or opened[-1]
    )
    with pytest.raises(DamagedRun):
        connect(tmp_path / "run.db")
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("select 1")

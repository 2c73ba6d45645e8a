"""Untrusted replies: every kind of value in every place, faults of HTTP, and fuzzed replies."""

from __future__ import annotations

import base64
import copy
import gzip
import json
import math
import random
import time
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

import qdkit
from qdkit.archives import Grid
from qdkit.core.record import NOTHING, Cost, Exhausted, Halt, Unanswered, recording
from qdkit.core.types import Batch, Context, Judgement, Outcome, Proposal
from qdkit.feedback import (
    Closest,
    Fallback,
    Label,
    Pairwise,
    Panel,
    Pictured,
    Poles,
    Probability,
    Rating,
    Rubric,
    audit,
    proposed,
)
from qdkit.feedback.attributes import Attribute
from qdkit.feedback.panel import complete_judgement
from qdkit.llm import LLM, Answer, AnswerOutcome, Embedder, Question, Usage, answer_of, guarded
from qdkit.llm import pace as paces
from qdkit.llm.client import Server
from qdkit.llm.jsontext import loads
from qdkit.llm.reply import MAX_BYTES, READ_ERRORS, json_body
from qdkit.llm.schema import parse_for_schema
from qdkit.llm.thoughts import without_thoughts
from qdkit.novelty import EditDistance, EmbeddingDistance, NoveltyJudge
from qdkit.operators import Cross, Full, Patch, Repair, Rewrite
from qdkit.operators.texts import (
    LMX,
    Crossover,
    Directional,
    FewShot,
    Guided,
    Replace,
    Scale,
    Several,
)
from qdkit.search.budget import Budget, BudgetTracker
from qdkit.selection import lessons
from qdkit.testing import FAULTS, ModelServer

from .worlds import Quick, Tape, Texts, in_process, search_of

KEY = jax.random.key(0)
PRICES = {"m": (1.0, 2.0)}
SCORE = {
    "type": "object",
    "properties": {
        "rationale": {"type": "string"},
        "score": {"type": "integer", "enum": [1, 2, 3, 4, 5]},
    },
    "required": ["rationale", "score"],
    "additionalProperties": False,
}
GOOD = '{"rationale": "fine", "score": 4}'
READ = {"rationale": "fine", "score": 4}
DEEP = "[" * 1100


@pytest.fixture
def clock(monkeypatch):
    """A clock for all paces, whose time passes at once."""
    monkeypatch.setattr(paces, "CLOCK", Quick())
    return paces.CLOCK


def reply(content: Any = "hello", **choice: Any) -> dict[str, Any]:
    """Returns a well-formed reply with this content."""
    message = {"role": "assistant", "content": content}
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    return {
        "model": "m",
        "choices": [{"message": message, "finish_reason": "stop", **choice}],
        "usage": usage,
    }


def answer_to(
    monkeypatch, sent: Any, question: Any = "hi", **settings: Any
) -> tuple[Answer, Tape]:
    """Returns the answer to a reply (JSON, or the bytes of a body), and its record."""
    data = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    url = in_process(
        monkeypatch, lambda path, body: (200, {"content-type": "application/json"}, data)
    )
    llm = LLM("m", base_url=url, prices=PRICES, patience=30.0, **settings)
    tape = Tape()
    with recording(tape):
        answer = llm.once(Question.of(question))
    with recording(Tape(rows=tape.kept)):
        assert repr(llm.once(Question.of(question))) == repr(answer)
    assert json.loads(tape.kept[-1][1]) == answer.to_json()
    return answer, tape


# Replies of another form than the protocol's.


PART = {"type": "text", "text": "a"}
ODD_TOKEN = {"token": 5, "logprob": -1}


@pytest.mark.parametrize(
    ("sent", "outcome", "text"),
    [
        (reply(["a ", "text"]), "ok", "a text"),
        (reply([PART, None, {"type": "text", "text": 5}, "b"]), "ok", "ab"),
        (reply({"type": "text", "text": "a text"}), "ok", "a text"),
        (reply([["a"]]), "malformed", ""),
        (reply(5), "malformed", ""),
        (reply(True), "malformed", ""),
        (reply(None), "empty", ""),
        (reply([]), "empty", ""),
        (reply("", refusal={}), "empty", ""),
        ({"choices": 5}, "malformed", ""),
        ({"choices": "hello"}, "malformed", ""),
        ({"choices": {"0": {"message": {"content": "hello"}}}}, "malformed", ""),
        ({"choices": []}, "empty", ""),
        ({"choices": None}, "empty", ""),
        ({"choices": [None]}, "empty", ""),
        ({"choices": [5]}, "malformed", ""),
        ({"choices": [[]]}, "malformed", ""),
        ({"choices": ["hello"]}, "malformed", ""),
        ({"choices": [{}]}, "empty", ""),
        ({"choices": [{"message": None}]}, "empty", ""),
        ({"choices": [{"message": 5}]}, "malformed", ""),
        ({"choices": [{"message": "hello"}]}, "malformed", ""),
        ({"choices": [{"message": [{}]}]}, "malformed", ""),
        ({"data": 5}, "malformed", ""),
        (reply("hello", finish_reason=5), "ok", "hello"),
        (reply("hello", finish_reason=["length"]), "ok", "hello"),
        (reply("hello", logprobs=5), "ok", "hello"),
        (reply("hello", logprobs={"content": 5}), "ok", "hello"),
        (reply("hello", logprobs={"content": [5, None, ODD_TOKEN]}), "ok", "hello"),
        (reply("hello") | {"model": 5}, "ok", "hello"),
        (reply("hello") | {"model": "\ud83d"}, "ok", "hello"),
        (reply("half \ud83d, nul \x00, \u202e") | {"model": "\x00"}, "ok",
         "half ?, nul \x00, \u202e"),
        (json.dumps(reply("hello")).encode() + b"  \n", "ok", "hello"),
        (b"\xef\xbb\xbf" + json.dumps(reply("hello")).encode(), "ok", "hello"),
        (b'{"choices": [{"message": {"content": "caf\xe9"}}]}', "ok", "caf�"),
        (b'{"choices": [{"message": {"content": "a"}}], "x": ' + b"9" * 5000 + b"}", "ok", "a"),
        (reply("x" * 1_000_001), "malformed", "x" * 300),
    ],
)  # fmt: skip
def test_a_reply_of_another_form_is_read_as_far_as_possible(
    monkeypatch, clock, sent, outcome, text
):
    """Its outcome says what came; no kind of value in any place raises."""
    answer, tape = answer_to(monkeypatch, sent)
    assert (answer.outcome, answer.text) == (outcome, text) and len(tape.kept) == 1
    assert answer.ok or (answer.error and len(answer.error) < 500)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"5",
        b'"hello"',
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"choices": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"a":' * 900 + b"1" + b"}" * 900,
        b"<html>Sign in</html>",
        b"\xff\xfe\x00garbage",
        b'data: {"choices": [{"delta": {"content": "a"}}]}\n\ndata: [DONE]\n\n',
        b'{"choices": [{"message": {"content": "half of',
        b'{"error": "\\ud83d"}',
        b'{"error": {"code": "x", "message": 5}}',
        b'{"error": {"code": 1e400}}',
        b"NaN",
        b" " * (MAX_BYTES + 1),
    ],
)
def test_an_unreadable_reply_is_retried_and_then_an_outcome(monkeypatch, clock, body):
    """The answer was lost and may have been paid for.

    Each attempt is charged, and the outcome is infrastructure.
    """
    answer, tape = answer_to(monkeypatch, body)
    assert answer.outcome == AnswerOutcome.INFRASTRUCTURE and 0 < len(answer.error) < 700
    assert answer.cost.calls == 6 and tape.purse.spent.calls == 6


@pytest.mark.parametrize(
    ("headers", "data", "text"),
    [
        (
            {"content-encoding": "gzip"},
            gzip.compress(json.dumps(reply("hello")).encode()),
            "hello",
        ),
        ({"content-encoding": "gzip"}, b"garbage", None),
        ({"content-encoding": "gzip"}, gzip.compress(b" " * (MAX_BYTES + 10)), None),
        ({"content-encoding": "br"}, b"garbage", None),
        ({"content-encoding": "identity"}, json.dumps(reply("hello")).encode(), "hello"),
        ({"content-type": "text/html"}, json.dumps(reply("hello")).encode(), "hello"),
        ({"content-type": "image/png"}, b"\x89PNG", None),
        ({"content-type": "\xff"}, json.dumps(reply("hello")).encode(), None),
        ({"content-length": "5"}, json.dumps(reply("hello")).encode(), "hello"),
    ],
)
def test_bodies_are_unpacked_up_to_a_limit(monkeypatch, clock, headers, data, text):
    """A few kilobytes that unpack to gigabytes, other encodings, and other types of content."""
    url = in_process(monkeypatch, lambda path, body: (200, headers, data))
    answer = LLM("m", base_url=url, prices=PRICES, patience=30.0).ask("hi")
    assert (answer.text if answer.ok else None) == text
    assert answer.ok or answer.outcome == AnswerOutcome.INFRASTRUCTURE


@pytest.mark.parametrize("status", [204, 206, 302, 304, 400, 404, 409, 418, 425, 500, 502, 599])
@pytest.mark.parametrize(
    "data",
    [b"", b"[[[", b'{"error": [1]}', b"\xff", b'{"error": {"message": {"a": 1}}}', DEEP.encode()],
)
def test_any_status_and_body_of_an_error_is_a_fault(monkeypatch, clock, status, data):
    """A permanent fault raises an error that ends the run."""
    url = in_process(monkeypatch, lambda path, body: (status, {}, data))
    try:
        answer = LLM("m", base_url=url, prices=PRICES, patience=5.0).ask("hi")
    except Halt as stopped:
        assert len(str(stopped)) < 900 and "server" in str(stopped)
    else:
        assert answer.outcome == AnswerOutcome.INFRASTRUCTURE


COUNTS = {"prompt_tokens": 3, "completion_tokens": 2}


@pytest.mark.parametrize(
    ("usage", "counted", "odd"),
    [
        (COUNTS, Usage(3, 2), False),
        ({"prompt_tokens": 3.0, "completion_tokens": None}, Usage(3, 0), False),
        ({**COUNTS, "prompt_tokens_details": 5}, Usage(3, 2), False),
        ({**COUNTS, "prompt_tokens_details": {"cached_tokens": 9}}, Usage(3, 2, 3), False),
        ({**COUNTS, "prompt_tokens_details": {"cached_tokens": -9}}, Usage(3, 2), False),
        (None, None, False),
        ({}, None, False),
        ({"prompt_tokens": None}, None, False),
        ({"prompt_tokens": -1, "completion_tokens": 2}, None, True),
        ({"prompt_tokens": 3, "completion_tokens": -2}, None, True),
        ({"prompt_tokens": math.nan, "completion_tokens": 2}, None, True),
        ({"prompt_tokens": math.inf, "completion_tokens": 2}, None, True),
        ({"prompt_tokens": "many", "completion_tokens": 2}, None, True),
        ({"prompt_tokens": 3, "completion_tokens": "2"}, None, True),
        ({"prompt_tokens": 3, "completion_tokens": [2]}, None, True),
        ({"prompt_tokens": 2.5, "completion_tokens": 2}, None, True),
        ({"prompt_tokens": True, "completion_tokens": 2}, None, True),
        ({"prompt_tokens": 10**30, "completion_tokens": 2}, None, True),
        ({"prompt_tokens": 10**9, "completion_tokens": 2}, None, True),
        (-1, None, True),
        ("many", None, True),
        ([1, 2], None, True),
    ],
)  # fmt: skip
def test_an_impossible_usage_is_unknown_and_warned_of(
    monkeypatch, clock, usage, counted, odd, recwarn
):
    """The most that the call can cost is charged, and never a negative number.

    The answer and a warning name the reason.
    """
    body = json.dumps(reply() | {"usage": usage}).encode()
    answer, tape = answer_to(monkeypatch, body)
    most = LLM("m", base_url="http://a/v1", prices=PRICES).max_cost("hi")
    assert answer.ok and answer.usage == counted and bool(answer.odd) == odd
    assert answer.cost == (
        most if counted is None else Cost(3e-6 + 2e-6 * counted.output, sum(counted[:2]))
    )
    assert tape.purse.spent == answer.cost
    assert len(recwarn) == odd and (not odd or "charged at the most" in str(recwarn[0].message))


@pytest.mark.parametrize("cost", [-1.0, math.nan, math.inf, "a lot", True, [1], 1e12])
def test_an_impossible_cost_from_a_server_is_ignored(monkeypatch, clock, cost):
    """The next source of a price is used."""
    body = json.dumps(
        reply() | {"usage": {"prompt_tokens": 3, "completion_tokens": 2, "cost": cost}}
    ).encode()
    url = in_process(monkeypatch, lambda path, request: (200, {}, body))
    assert math.isnan(LLM("m", base_url=url).ask("hi").cost.dollars)


@pytest.mark.parametrize(
    "actual",
    [Cost(-1.0, 5), Cost(math.nan, 5), Cost(math.inf, 5), Cost(1.0, -5), Cost(0.5, 5, -1)],
)
def test_an_impossible_cost_is_never_charged(actual):
    """The most that the call can cost is charged."""
    tracker = BudgetTracker(Budget(dollars=10.0))
    with tracker.reserve(Cost(2.0, 7, 1)) as spend:
        spend(actual)
    sound = lambda name, most: (
        getattr(actual, name) if 0 <= getattr(actual, name) < math.inf else most
    )
    assert tracker.spent == Cost(sound("dollars", 2.0), sound("tokens", 7), sound("calls", 1))


def test_log_probabilities_are_finite_and_at_most_0(monkeypatch, clock):
    """A row that is no token is None."""
    odd = [math.nan, -math.inf, math.inf, 10**400, 0.5, True, "x", None, -1]
    rows = [{"token": "a", "logprob": value, "top_logprobs": 5} for value in odd]
    body = json.dumps(reply("a", logprobs={"content": rows})).encode()
    answer, _ = answer_to(monkeypatch, body, Question("?", logprobs=2))
    logprobs = [token and token.logprob for token in answer.logprobs]
    assert logprobs == [-9999.0, -9999.0, -9999.0, -9999.0, 0.0, None, None, None, -1.0]


def vector(numbers: Any, index: Any = 0) -> dict[str, Any]:
    return {"index": index, "embedding": numbers}


ONE = base64.b64encode(np.ones(3, "<f4").tobytes()).decode()
NAN = base64.b64encode(np.array([1, np.nan, 0], "<f4").tobytes()).decode()


@pytest.mark.parametrize(
    "data",
    [
        5, None, "x", [], [5], [None], {}, [vector(ONE)],
        [vector(ONE), vector(ONE, 1), vector(ONE, 2)], [vector(ONE), vector(ONE, 0)],
        [vector(ONE), vector(ONE, 7)], [vector(ONE), vector(ONE, "1")],
        [vector(ONE), vector(ONE, True)], [vector(ONE), vector([1.0, 2.0], 1)],
        [vector(ONE), vector([], 1)], [vector(ONE), vector(NAN, 1)],
        [vector(ONE), vector("!!!", 1)], [vector(ONE), vector("AAA=", 1)],
        [vector(ONE), vector("", 1)], [vector(ONE), vector(None, 1)],
        [vector(ONE), vector(["a", "b", "c"], 1)], [vector(ONE), vector([1.0, math.nan, 0.0], 1)],
        [vector(ONE), vector([1, 2, 10**400], 1)], [vector(ONE), vector([1.0, 1e38, 0.0], 1)],
        [vector(ONE), vector([[1.0], [2.0], [3.0]], 1)],
        [vector(ONE), vector([True, False, True], 1)],
    ],
)  # fmt: skip
def test_vectors_of_another_form_are_no_answer(monkeypatch, clock, data):
    """Of other values, lengths or indices; the reason is in the record."""
    url = in_process(
        monkeypatch, lambda path, body: (200, {}, json.dumps({"data": data}).encode())
    )
    tape, embed = Tape(), Embedder("e", base_url=url, prices={"e": (1, 1)})
    with recording(tape), pytest.raises(Unanswered, match="no embeddings from 'e'") as first:
        embed(["a", "b"])
    with recording(Tape(rows=tape.kept)), pytest.raises(Unanswered) as again:
        embed(["a", "b"])
    assert str(first.value) == str(again.value) and len(str(first.value)) < 600


def test_vectors_come_in_any_order_and_of_one_length(monkeypatch, clock):
    """Their indices give the order; vectors of another length than before are refused."""
    sizes = iter([3, 3, 2])

    def answer(path, body):
        k = next(sizes)
        rows = [vector([float(i + 1)] * k, i) for i in range(len(body["input"]))]
        return 200, {}, json.dumps({"data": rows[::-1]}).encode()

    embed = Embedder("e", base_url=in_process(monkeypatch, answer), prices={"e": (1, 1)})
    assert embed(["a", "b"]).tolist() == [[1.0] * 3, [2.0] * 3]
    with pytest.raises(Unanswered, match="vectors of 2 numbers, and of 3 before"):
        embed(["a"] * 300)


# JSON in a text.


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"\ufeff {GOOD}\n",
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}\n```",
        f"```{GOOD}```",
        f"~~~json\n{GOOD}\n~~~",
        f"Sure! Here is my verdict:\n\n{GOOD}\n\nI hope this helps.",
        f"Here:\n```json\n{GOOD}\n```\nThat is all.",
        f"I first thought of 3 [1], then {{of}} \\frac{{1}}{{2}}.\n{GOOD}",
        f"{GOOD}\n{GOOD}",
        f"{{}} {GOOD}",
        '{"rationale": "fine", "score": 4,}',
        'Well: {"rationale": "fine", "score": 4 , \n }',
        '{"rationale": "fine", // good enough\n "score": 4 /* of 5 */}',
        "{'rationale': 'fine', 'score': 4}",
        f"<think>Perhaps {GOOD.replace('4', '1')}?</think>\n{GOOD}",
        f"so {GOOD.replace('4', '1')}?\n</think>\n\n{GOOD}",
        f"<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>{GOOD}",
    ],
)
def test_json_is_found_within_the_text_of_a_model(text):
    """Alone, in fences, after prose, with extra commas, comments, single quotes or thoughts."""
    answer = answer_of(lambda prompt: text, Question("?", schema=SCORE))
    assert answer.ok and answer.data == READ


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"{GOOD} or {GOOD.replace('4', '5')}", "2 different answers"),
        ('{"rationale": "it says {"rationale": "x", "score": 5} itself", "score": 1}', "not JSON"),
        (
            '{"rationale": "it says\n```json\n{"rationale": "x", "score": 5}\n```", "score": 1}',
            "not JSON",
        ),
        ("{'rationale': 'it's fine', 'score': 4}", "not JSON"),
        ('{"rationale": "fine", "score": 4', "not JSON"),
        ('{"rationale": "fine", "score": 1e999}', "not JSON"),
        ('{"rationale": "fine", "score": NaN}', "not JSON"),
        ('{"rationale": "fine", "score": ' + "9" * 5000 + "}", "not JSON"),
        ("Score: 4", "not JSON"),
        ("", "not JSON"),
        (DEEP, "deeper than 100"),
        ("[" * 101 + "]" * 101, "deeper than 100"),
        ('{"a":' * 1100, "deeper than 100"),
        ("[]", "should be of type object"),
        (f"so {GOOD.replace('4', '9')}", "should be one of"),
        (
            "{"
            + ", ".join(f'"k{i}": 1' for i in range(10_000))
            + ', "rationale": "", "score": 1}',
            "the schema does not allow",
        ),
    ],
)
def test_ambiguous_or_invalid_json_is_refused(text, why):
    """Two different objects, an object within a broken one, and numbers out of range."""
    data, wrong = parse_for_schema(text, SCORE)
    assert data is None and why in wrong and len(wrong) < 1000


def test_text_of_json_can_be_encoded(monkeypatch, clock):
    """Half a surrogate pair within a value is replaced."""
    answer, _ = answer_to(
        monkeypatch, reply('{"rationale": "\\ud83d", "score": 4}'), Question("?", schema=SCORE)
    )
    assert answer.data == {"rationale": "?", "score": 4}
    assert loads("[1, 2.5, null]") == [1, 2.5, None]


@pytest.mark.parametrize(
    "text",
    [
        "```json" + "\n" * 60_000, "```\n" * 50_000, "`" * 200_000, "[" * 200_000, "{" * 200_000,
        '{"' * 100_000, '"' * 200_000, '{"\\' + '"\\' * 100_000, "{/*" * 60_000, "{//" * 60_000,
        "{'" * 100_000, "{}" * 100_000, ",}" * 100_000, '{"a"' + "," * 200_000,
        '{"a":1,' + " " * 200_000, "{" + " " * 200_000, '{"a":[' * 30_000, "<think>" * 30_000,
        "</think>" * 30_000, "```\n<think>\n" * 20_000, "<|channel|>final" * 10_000,
        "<a:" * 60_000, "score " * 40_000, '"label"' * 30_000, "1" * 200_000, "1 " * 100_000,
        "-" * 200_000, '"better": "' * 20_000, "yes " * 50_000,
    ],
)  # fmt: skip
def test_reading_takes_time_in_proportion_to_the_text(text):
    """Twice the text costs at most about twice the steps of the interpreter."""
    rating, label = Rating(str, "{genome}", high=5), Label(str, "{genome}", labels=("a", "b"))

    def read(text):
        for schema in (SCORE, {"type": "array"}):
            parse_for_schema(without_thoughts(text), schema)
        for judge in (
            rating,
            label,
            Pairwise(str, "", against=("x",)),
            Probability(str, "{genome}"),
        ):
            judge.read(Answer(text, AnswerOutcome.INVALID, "not JSON"))

    begun = time.process_time()
    read(text)
    assert (
        time.process_time() - begun < 60.0
    )  # a quadratic step takes many minutes for one of these


# Thoughts.


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<think>a</think>b", "b"),
        ("<think>\na\n</think>\n\nb\n", "b"),
        ("<thinking>a</thinking> b", "b"),
        ("<THINK>a</THINK>b", "b"),
        ("<reasoning>a</reasoning>\nb", "b"),
        ("<thought>a</thought>b", "b"),
        ("<seed:think>a</seed:think>b", "b"),
        ("[THINK]a[/THINK]b", "b"),
        ("◁think▷a◁/think▷b", "b"),
        ("<|begin_of_thought|>a<|end_of_thought|>b", "b"),
        ("<|START_THINKING|>a<|END_THINKING|>b", "b"),
        ("<think></think>b", "b"),
        ("<think>a</think><think>c</think>b", "b"),
        ("<think>a <think> c</think> d</think>b", "b"),
        ("Sure.\n<think>a</think>\nb", "Sure.\n\nb"),
        ("a\n</think>\n\nb", "b"),
        ("a</think>b", "b"),
        ("a\n```py\nx\n```\n</think>\n```py\ny\n```", "```py\ny\n```"),
        ("<think>a", ""),
        ("<thinking>\na\nb", ""),
        ("b\n<think>a", "b"),
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b<|return|>",
            "b",
        ),
        ("analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b", "b"),
        ("<|channel|>final <|constrain|>json<|message|>b", "b"),
        ("<|channel|>analysis<|message|>a", ""),
        ("<|start|>assistant<|channel|>commentary<|message|>a", ""),
        ("analysisWe think.assistantfinalb", "b"),
    ],
)
def test_thoughts_are_removed_from_an_answer(monkeypatch, clock, text, left):
    """In every notation, also without an opening or closing tag.

    For models and functions; `raw` keeps the text with its thoughts.
    """
    answer, _ = answer_to(monkeypatch, reply(text))
    assert (answer.text, answer.raw) == (left, text) and answer.ok is bool(left)
    assert left or "only thought" in answer.error
    assert answer_of(lambda prompt: text, "hi").text == left


@pytest.mark.parametrize(
    "text",
    [
        "a poem about <b>thought</b>",
        " spaces stay \n",
        "```python\nx = '<think>'\n```",
        "```python\ns = '''\n<think>\n'''\n```\n",
        "```python\ns = '''\n</think>\n'''\n```\n",
        "the tag `</think>` ends it",
        "x.split('</think>')",
        '{"rationale": "it has </think> in it", "score": 4}',
        "[Thoughts]\nI had some.",
        "[Reflection] on a lake",
        "analysis of poems",
        "a < b and c > d",
    ],
)
def test_a_text_without_thoughts_is_unchanged(monkeypatch, clock, text):
    """`Answer.raw` is empty then."""
    answer, tape = answer_to(monkeypatch, reply(text))
    assert (answer.text, answer.raw) == (text, "") and "raw" not in json.loads(tape.kept[0][1])


def test_thoughts_without_an_answer_have_an_error_of_their_own(monkeypatch, clock):
    """Thoughts in separate fields count too; the remedy depends on the finish reason."""
    for name in ("reasoning_content", "reasoning", "thinking"):
        sent = reply(None)
        sent["choices"][0]["message"][name] = "hm"
        answer, _ = answer_to(monkeypatch, sent)
        assert (
            answer.outcome == "empty"
            and "only thought" in answer.error
            and "max_tokens" in answer.error
        )
        sent["choices"][0]["finish_reason"] = "length"
        sent["usage"] = {"prompt_tokens": 3, "completion_tokens": 4096}
        answer, _ = answer_to(monkeypatch, sent)
        assert answer.outcome == "truncated" and "still thinking: raise max_tokens" in answer.error
    parts = [{"type": "thinking", "thinking": "hm"}, {"type": "reasoning", "text": "hm"}]
    assert "only thought" in answer_to(monkeypatch, reply(parts))[0].error
    assert answer_to(monkeypatch, reply([*parts, {"type": "text", "text": "b"}]))[0].text == "b"
    assert answer_to(monkeypatch, reply(None))[0].error == "the answer is empty"
    sent = reply(None, finish_reason="tool_calls")
    sent["choices"][0]["message"]["tool_calls"] = [{"function": {"name": "x", "arguments": "{}"}}]
    assert "called a tool" in answer_to(monkeypatch, sent)[0].error


def test_a_full_context_is_distinguished_from_a_long_answer(monkeypatch, clock):
    """If fewer tokens came than were allowed, a higher limit would not help."""
    sent = reply("half of", finish_reason="length")
    sent["usage"] = {"prompt_tokens": 2000, "completion_tokens": 48}
    full, _ = answer_to(monkeypatch, sent, max_tokens=100)
    assert (
        full.outcome == "truncated"
        and "shorten the prompt" in full.error
        and "max_tokens" not in full.error
    )
    sent["usage"]["completion_tokens"] = 100
    long, _ = answer_to(monkeypatch, sent, max_tokens=100)
    assert long.error == "the limit of tokens was reached after 100 of them: raise max_tokens"
    assert "raise max_tokens" in answer_to(monkeypatch, sent | {"usage": None})[0].error


def test_recorded_answers_of_older_versions_are_read_unchanged():
    """Thoughts in their text stay, and newer fields may be missing."""
    old = {
        "text": "<think>a</think>b",
        "outcome": "ok",
        "error": "",
        "model": "m",
        "finish_reason": "stop",
    }
    old |= {
        "usage": None,
        "cost": vars(Cost()),
        "seconds": 0.0,
        "logprobs": None,
        "data": None,
        "images": [],
    }
    answer = Answer.from_json(old)
    assert answer.text == "<think>a</think>b" and answer.ok and answer.to_json() == old


# Keys, and alternatives.


@pytest.mark.parametrize(
    ("key", "hidden"), [("a", False), ("test", False), ("7 chars", False), ("8-letter", True)]
)
def test_a_key_of_eight_characters_is_kept_out_of_messages(monkeypatch, clock, key, hidden):
    """A shorter one may be a part of any sentence, and is no secret."""
    message = f"a test of {key} that failed"
    url = in_process(
        monkeypatch,
        lambda path, body: (500, {}, json.dumps({"error": {"message": message}}).encode()),
    )
    fault = Server(url, key).post("/chat/completions", {"model": "m"}, 5.0)
    assert fault.message == f"HTTP 500: {message.replace(key, '<the key>') if hidden else message}"


@pytest.mark.parametrize(
    ("message", "listed"),
    [
        ("Requested sample logprobs of 20, which is greater than max allowed: 5", 5),
        ("Invalid value for 'top_logprobs': must be less than or equal to 8.", 8),
        ("Invalid top_logprobs value, the valid range of top_logprobs is [0, 10]", 10),
        ("top_logprobs must be between 0 and 11, got 20", 11),
        ("gpt-4 lists at most 3 top_logprobs", 3),
    ],
)
def test_a_server_that_lists_fewer_alternatives_is_asked_for_fewer(
    monkeypatch, clock, message, listed
):
    """The larger number is sent once.

    A server that lists some alternatives is not taken for one that lists none, and a replay needs
    no server.
    """
    asked_for = []

    def answer(path, body):
        asked_for.append(body["top_logprobs"])
        if body["top_logprobs"] > listed:
            return 400, {}, json.dumps({"error": {"message": message}}).encode()
        top = [{"token": "yes", "logprob": -0.1}, {"token": "no", "logprob": -2.5}]
        return (
            200,
            {},
            json.dumps(
                reply("yes", logprobs={"content": [{**top[0], "top_logprobs": top}]})
            ).encode(),
        )

    llm = LLM("m", base_url=in_process(monkeypatch, answer), prices=PRICES)
    tape, question = Tape(), Question("?", logprobs=20)
    with recording(tape):
        first, second = llm.ask(question), llm.ask(question)
    assert (
        first.ok and second.ok and len(first.logprobs) == 1 and asked_for == [20, listed, listed]
    )
    with recording(Tape(rows=tape.kept)):
        assert llm.ask(question) == first
    value = complete_judgement(Probability(llm, "Good? {genome}"), KEY, texts("a")).value
    assert value == pytest.approx(math.exp(-0.1) / (math.exp(-0.1) + math.exp(-2.5)))


# Costs of lost attempts.


def test_the_cost_of_lost_attempts_is_in_the_account_of_the_run(tmp_path):
    """The budget covers no second attempt, so the candidate is skipped.

    A resumed run knows of the first attempt.
    """
    says = ["one text", "another text", FAULTS["bad json"], FAULTS["bad json"], *["more"] * 9]
    with ModelServer(says) as server:
        model = LLM("m", base_url=server.url, prices=PRICES, max_tokens=64)
        make = lambda **place: search_of(
            Texts(), Grid((8, 5), Texts.bounds), Rewrite(model, "Vary: {genome}"), batch=1, seed=3,
            run=tmp_path / "r", **place,
        )  # fmt: skip
        with make(budget=Budget(calls=4)) as first:
            first.run(progress=False)
            spent, outcomes, dump = first.spent, first.summary()["outcomes"], first.ledger.dump()
        assert spent.calls == len(server.log) == 4 and outcomes["skipped"] == 1
        with make(budget=Budget(calls=4), resume=True) as again:
            for known in (again.spent, again.ledger.spent()):
                assert replace(known, dollars=0.0, evaluations=0) == replace(
                    spent, dollars=0.0, evaluations=0
                )
                assert known.dollars == pytest.approx(spent.dollars)
            assert again.ledger.dump() == dump
        with make(budget=Budget(calls=6), resume=True) as more:
            more.run(progress=False)
            assert more.spent.calls == len(server.log) == 6
            more.export_answers(tmp_path / "answers.jsonl")
    assert "bad json" not in (tmp_path / "answers.jsonl").read_text() and qdkit.Recorded(
        str, tmp_path / "answers.jsonl"
    )


# guarded.


def test_guarded_turns_errors_of_reading_into_a_message():
    """Halt and mistakes of a program propagate."""
    for kind in (*READ_ERRORS, RecursionError, UnicodeError, KeyError, OverflowError):
        error = (
            kind("utf-8", b"", 0, 1, "why")
            if issubclass(kind, UnicodeDecodeError)
            else kind("why \ud83d")
        )

        def read(error=error):
            raise error

        message = guarded(read, str)
        assert "why" in message and message.encode("utf-8")
    for kind in (Halt, Exhausted, NameError, NotImplementedError, KeyboardInterrupt, Unanswered):
        with pytest.raises(kind):
            guarded(lambda kind=kind: (_ for _ in ()).throw(kind("x")), str)
    assert json_body(b"{}") == ({}, "") and NOTHING.calls == 0


# Faulty replies to all parts that ask a model.


def texts(*some: str) -> Batch:
    batch = Batch.unevaluated(Proposal.of(list(some), "test"))
    return batch.replace(id=np.arange(len(some), dtype=np.int32), objective=np.ones(len(some)))


PROGRAM = {"main.py": "# EVOLVE-BLOCK-START\nx = 1\ny = 2\n# EVOLVE-BLOCK-END\n"}
SCALES = (Scale("tone", ("sad", "glad"), (0.0, 1.0)),)
WRITTEN = texts("a rose", "the sea", "banana").replace(descriptor=np.array([[0.2], [0.5], [0.9]]))
PROGRAMS = WRITTEN.replace(genome=[PROGRAM] * 3)


def judges(llm: LLM, embed: Embedder) -> list[Any]:
    """Returns one judge of each kind that asks a model."""
    rating = Rating(llm, "How good? {genome}")
    labels = Label(llm, "Which? {genome}", "kind", labels=("ode", "haiku"))
    probability = Probability(llm, "Glad? {genome}", "tone")
    axis = Attribute("mood", "Which mood?", {"calm": "", "wild": "like a storm"})
    return [
        rating,
        replace(rating, n=2),
        Rubric(llm, "How good? {genome}", aspects={"form": "its form", "sense": "its sense"}),
        labels,
        probability,
        Pairwise(llm, "Which is better?", against=("a reed", "a wave")),
        Pairwise(llm, "Which is better?", against=("a reed",), position=0.2),
        Fallback((replace(probability, name="quality"), rating)),
        Panel(rating, (probability, labels, axis.judge(llm))),
        Pictured(rating, lambda genome: b"\x89PNG"),
        Poles(("a grave",), ("a feast",), embed),
        Closest({"ode": ("an ode",), "haiku": ("a haiku",)}, embed),
        type("Rating", (Rating,), {"read": lambda self, answer: {}[answer.text]})(
            llm, "How good? {genome}"
        ),
    ]


def operators(llm: LLM) -> list[tuple[Any, Batch]]:
    """Returns one operator of each kind that asks a model, and elites for it."""
    repair = Repair(llm, "Add up.")
    failed = PROGRAMS.replace(
        outcome=np.full(3, Outcome.FAILED, "<U14"), objective=np.full(3, np.nan)
    )
    repair.learn(failed, None)  # type: ignore[arg-type]
    by_example = [kind(llm, "Here is a random poem:") for kind in (FewShot, LMX, Replace)]
    for operator in by_example:
        operator._seeds = tuple(
            lambda_shot
            for lambda_shot in operator.examples(np.random.default_rng(0), Context(WRITTEN))
        )
        operator._made = 0
    writing = [
        Rewrite(llm, "Vary {genome}"),
        *by_example,
        Guided(llm, SCALES),
        Directional(llm, SCALES),
    ]
    writing += [Crossover(llm), Several(llm)]
    editing = [Patch(llm, "Add up."), Full(llm, "Add up."), Cross(llm, "Add up."), repair.turn(1)]
    return [(one, WRITTEN) for one in writing] + [(one, PROGRAMS) for one in editing]


def uses(llm: LLM, embed: Embedder) -> list[Any]:
    """Returns functions without arguments, each of which asks a model through one part."""
    context = lambda elites, operator: Context(
        elites.take(np.arange(operator.arity)),
        [texts("an inspiration").replace(genome=elites.genome[:1])],
    )
    near = NoveltyJudge(llm, EditDistance(0.5))
    near.learn(texts("the sun"))
    attempts = [lessons.Attempt(candidate, 0.5, "a", True) for candidate in WRITTEN]
    new = lambda *some: texts(*some).replace(id=np.full(len(some), -1, np.int32))
    return [
        *(
            lambda judge=judge: complete_judgement(judge, KEY, texts("a rose", "the sea"))
            for judge in judges(llm, embed)
        ),
        *(
            lambda one=one: one[0].propose(KEY, context(one[1], one[0]), 1)
            for one in operators(llm)
        ),
        lambda: near.new(new("the sum"), 1),
        lambda: EmbeddingDistance(embed).new(new("a rose", "the sea"), 0),
        lambda: lessons.Lessons(llm)._write(attempts, "before"),
        lambda: audit(Rating(llm, "How good? {genome}"), ["a", "b"], repeats=2, changes={}),
        lambda: embed(["a", "b"]),
        lambda: llm.ask(Question("?", schema=SCORE, logprobs=3)),
    ]


ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 5, 2.5, math.nan, math.inf, -math.inf, 10**25, "", "many", "\ud83d",
    "\x00", [], [None], ["a"], [[]], {}, {"a": 1}, {"text": 5}, [{"text": "b"}], {"content": 5},
    "x" * 5000, [5] * 200,
)  # fmt: skip
ODD_TEXTS = (
    "", " ", "\x00", "\ud83d", "\u202e\u2028", DEEP, '{"a":' * 1100, "[1,2", "5", "8/10",
    "Score: " + "9" * 5000, GOOD, f"```json\n{GOOD}\n```", "```json" + "\n" * 3000, "```\n" * 99,
    "yes", "no", "yes no", "none of these", '{"score": 1e999, "rationale": 5}', '{"label": "ode"}',
    '{"texts": [1, null]}', '{"texts": ["a", "\\ud83d"]}',
    '{"better": "first", "rationale": null}', "{'better': 'tie'}", '{"axes": [{"name": "a"}]}',
    '{"axes": [{"name": "a", "question": "b", "values": [{"value": "c", "meaning": ""}]}]}',
    "<think>", "</think>", "<|channel|>analysis<|message|>", "```python\nx = 2\n```",
    "# EVOLVE-BLOCK-START\n" * 9, "<<<<<<< SEARCH\nx = 1\n=======\nx = 2\n>>>>>>> REPLACE",
    "<<<<<<< SEARCH\n" * 50,
)  # fmt: skip


def drawn(rng: random.Random, path: str, body: Any) -> tuple[int, dict[str, str], bytes]:
    """Returns a faulty reply to a request: the text, a value, the bytes or the header is wrong."""
    if path.endswith("embeddings"):
        k = rng.choice((4, 4, 4, 4, 3))
        sent: Any = {"model": "e", "usage": {"prompt_tokens": 3, "total_tokens": 3}}
        sent["data"] = [
            vector([rng.random() for _ in range(k)], i) for i in range(len(body["input"]))
        ]
    else:
        top = [
            {"token": rng.choice(("yes", "no", "Y", "5")), "logprob": -rng.random()}
            for _ in range(3)
        ]
        rows = {"content": [{**top[0], "top_logprobs": top}]}
        sent = reply(
            rng.choice(ODD_TEXTS),
            logprobs=rows,
            finish_reason=rng.choice(("stop", "stop", "length", "tool_calls")),
        )
    for _ in range(rng.choice((0, 1, 1, 1, 2, 4))):
        _spoil(rng, sent)
    data = json.dumps(sent).encode()
    status, headers = 200, {"content-type": "application/json"}
    die = rng.random()
    if die < 0.04:
        data = data[: rng.randrange(len(data) + 1)]
    elif die < 0.08:
        place = rng.randrange(len(data))
        data = data[:place] + rng.randbytes(rng.randrange(1, 9)) + data[place + rng.randrange(4) :]
    elif die < 0.10:
        data = rng.choice(
            (
                b"",
                b"null",
                b"5",
                b"[" * 2000,
                b"<html>",
                b"data: {}\n\n",
                b"9" * 5000,
                gzip.compress(data),
            )
        )
    elif die < 0.12:
        headers = {"content-encoding": rng.choice(("gzip", "br", "deflate", "\xff"))}
    elif die < 0.15:
        status = rng.choice((204, 302, 408, 429, 500, 503, 599, 400, 422))
        headers = {"retry-after": rng.choice(("nan", "-1", "0", "", "1e9", "soon", "9" * 30))}
    return status, headers, data


def _spoil(rng: random.Random, sent: Any) -> None:
    """Puts an odd value into some place of a JSON value, or removes one."""
    node = sent
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = rng.choice(keys)
        inner = node[key]
        if isinstance(inner, dict | list) and inner and rng.random() < 0.75:
            node = inner
            continue
        if rng.random() < 0.15:
            del node[key]
        else:
            node[key] = copy.deepcopy(rng.choice(ODD_VALUES))
        return


def fuzzed(monkeypatch, seeds: range) -> dict[str, int]:
    """Counts the outcomes of one use of every part for each seed.

    An exception other than Halt and Unanswered is a failure.
    """
    state: dict[str, Any] = {}

    def answer(path, body):
        return drawn(state["rng"], path, body)

    url = in_process(monkeypatch, answer)
    llm = LLM("m", base_url=url, prices=PRICES, patience=20.0, max_tokens=100)
    parts = uses(llm, Embedder("e", base_url=url, prices={"e": (1.0, 1.0)}, patience=20.0))
    counts = dict.fromkeys(("came", "halt", "unanswered", "replies"), 0)
    for seed in seeds:
        state["rng"] = random.Random(seed)
        paces._PACES.clear()
        part, tape = parts[seed % len(parts)], Tape()
        with recording(tape):
            try:
                result = part()
                counts["came"] += 1
            except Halt as stopped:
                counts["halt"] += 1
                assert str(stopped).encode("utf-8") and len(str(stopped)) < 2000
                continue
            except Unanswered as why:
                counts["unanswered"] += 1
                result = str(why)
        spent = tape.purse.spent
        assert 0 <= spent.dollars < math.inf and spent.tokens >= 0 and spent.calls >= 0
        counts["replies"] += len(tape.kept)
        again = Tape(rows=tape.kept)
        with recording(again):  # a replay needs no server, and comes to the same
            try:
                assert _plain(part()) == _plain(result), seed
            except Unanswered as why:
                assert str(why) == result
        assert not again.rows and not again.kept, seed
    return counts


def _plain(result: Any) -> str:
    """Returns what can be compared of a judgement, a proposal or an answer."""
    if isinstance(result, Judgement):
        return repr(
            [np.asarray(result.value).tolist(), np.asarray(result.outcome).tolist(), result.notes]
        )
    return repr(result)


@pytest.mark.filterwarnings("ignore:.*does not count the tokens")
def test_no_faulty_reply_raises(monkeypatch, clock):
    """600 faulty replies to every judge, operator and filter end as outcomes."""
    counts = fuzzed(monkeypatch, range(600))
    assert counts["came"] > 400 and counts["halt"] + counts["unanswered"] < 150


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:.*does not count the tokens")
def test_soak_no_faulty_reply_raises(monkeypatch, clock):
    """The same for 5,000 others."""
    counts = fuzzed(monkeypatch, range(600, 5600))
    assert counts["replies"] >= 5000


def test_proposing_axes_raises_with_a_reason(monkeypatch, clock):
    """It is not part of a search."""
    for text in ODD_TEXTS:
        url = in_process(
            monkeypatch, lambda path, body, text=text: (200, {}, json.dumps(reply(text)).encode())
        )
        with pytest.raises(RuntimeError, match="no axes came"):
            proposed(LLM("m", base_url=url, prices=PRICES), "a poem", ["a rose"])


def test_an_odd_answer_costs_a_search_one_candidate(monkeypatch, clock):
    """Each kind once, from the writer or from its judge.

    The run reaches its end, and resumes the same.
    """
    odd = [*ODD_TEXTS, *ODD_VALUES]
    count = [0]

    def answer(path, body):
        count[0] += 1
        fine = GOOD.replace("4", "5") if "response_format" in body else f"text {count[0]}"
        content = odd[count[0] // 3 % len(odd)] if count[0] % 3 == 0 else fine
        return 200, {}, json.dumps(reply(content)).encode()

    llm = LLM("m", base_url=in_process(monkeypatch, answer), prices=PRICES, patience=20.0)
    search = qdkit.Search(
        Texts(), Grid((8, 5), Texts.bounds), Rewrite(llm, "Vary: {genome}"), batch=1, seed=3,
        judge=Rating(llm, "How good? {genome}", high=5),
    )  # fmt: skip
    run = search.run(120, progress=False)
    assert len(run.commits) == 120 and set(run.summary()["outcomes"]) <= {
        "ok",
        "invalid",
        "rejected",
    }
    assert run.summary()["outcomes"]["ok"] > 60

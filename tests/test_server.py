"""The model server for tests: it speaks the protocol, is deterministic, and errs as ordered."""

import base64
import http.client
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from qdkit.testing import FAULTS, ChatReply, ModelServer, Raw, error, heavy_tail, likely


def post(server, body, path="/chat/completions", connection=None):
    """Returns status, headers and text of a response, by the HTTP client of Python."""
    link = connection or http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    try:
        link.request("POST", f"/v1{path}", json.dumps(body), {"content-type": "application/json"})
        reply = link.getresponse()
        return reply.status, dict(reply.headers), reply.read().decode()
    finally:
        if connection is None:
            link.close()


def chat_request(prompt, **more):
    """Returns a chat request with this prompt."""
    return {"model": "m", "messages": [{"role": "user", "content": prompt}], **more}


def answer_of(server, body):
    """Returns the text of the answer."""
    return json.loads(post(server, body)[2])["choices"][0]["message"]["content"]


def test_invalid_content_can_be_sent():
    """A content that is no text, and bytes that are no UTF-8."""
    with ModelServer([ChatReply(5), ChatReply(["a"]), Raw(body=b"\xe9")]) as server:
        assert [answer_of(server, chat_request("a", logprobs=True)) for _ in range(2)] == [
            5,
            ["a"],
        ]
        with pytest.raises(UnicodeDecodeError):
            post(server, chat_request("a"))


def test_a_list_of_replies_is_sent_in_order_and_then_the_default():
    """The default is the prompt with a small change."""
    with ModelServer(["one", ChatReply("two")]) as server:
        assert [answer_of(server, chat_request("a b")) for _ in range(2)] == ["one", "two"]
        assert sorted(answer_of(server, chat_request("hello there big world")).split()) == [
            "big",
            "hello",
            "there",
            "world",
        ]


def test_a_function_of_the_request_returns_the_reply():
    """A text, a reply or a fault."""
    with ModelServer(
        lambda body: body["model"] if body.get("seed") else error(418, "teapot")
    ) as server:
        assert answer_of(server, chat_request("hi", seed=1)) == "m"
        assert post(server, chat_request("hi"))[0] == 418


def test_the_default_depends_on_the_request_alone():
    """Any server gives it; another seed may give another."""
    prompt = "Improve this.\n\n```python\nx = 1.25\ny = 3\n```"
    with ModelServer() as one, ModelServer() as two:
        assert answer_of(one, chat_request(prompt)) == answer_of(two, chat_request(prompt))
        assert len({answer_of(one, chat_request(prompt, seed=i)) for i in range(8)}) > 4
        assert answer_of(one, chat_request(prompt)).startswith("```python\nx = ")


def test_the_default_fits_a_schema():
    """It has the types of the schema and keeps to its bounds."""
    part = {
        "type": "array",
        "items": {"type": "integer", "minimum": 3, "maximum": 4},
        "minItems": 2,
    }
    schema = {
        "type": "object",
        "properties": {"n": part, "tone": {"enum": ["dark", "light"]}, "yes": {"type": "boolean"}},
    }
    with ModelServer() as server:
        body = chat_request(
            "hi", response_format={"type": "json_schema", "json_schema": {"schema": schema}}
        )
        value = json.loads(answer_of(server, body))
    assert len(value["n"]) == 2 and set(value["n"]) <= {3, 4}
    assert value["tone"] in ("dark", "light") and isinstance(value["yes"], bool)


def test_log_probabilities_are_sent_if_the_request_asks_for_them():
    """Invented for a text, those of `likely` as they are, and null without a request."""
    with ModelServer(["a b", "a b", likely({"no": 0.2, "yes": 0.8})]) as server:
        choices = [
            json.loads(post(server, body)[2])["choices"][0]
            for body in (
                chat_request("?"),
                chat_request("?", logprobs=True, top_logprobs=2),
                chat_request("?", logprobs=True),
            )
        ]
    assert choices[0]["logprobs"] is None
    assert [row["token"] for row in choices[1]["logprobs"]["content"]] == ["a", " b"]
    top = choices[2]["logprobs"]["content"][0]["top_logprobs"]
    assert choices[2]["message"]["content"] == "yes"
    assert {row["token"]: round(np.exp(row["logprob"]), 6) for row in top} == {
        "yes": 0.8,
        "no": 0.2,
    }


def test_embeddings_of_similar_texts_are_close():
    """Unit vectors, the same as numbers and as base64.

    A small change moves them less than another text does.
    """
    with ModelServer() as server:
        body = {"model": "e", "input": ["the grey sea", "the grey seas", "quarterly tax report"]}
        plain = json.loads(post(server, body, "/embeddings")[2])["data"]
        packed = json.loads(post(server, body | {"encoding_format": "base64"}, "/embeddings")[2])[
            "data"
        ]
    vectors = np.array([row["embedding"] for row in plain])
    decoded = [np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in packed]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    np.testing.assert_allclose(decoded, vectors, rtol=1e-6)
    assert vectors[0] @ vectors[1] > 0.7 > 0.4 > vectors[0] @ vectors[2]


@pytest.mark.parametrize(
    "name", [name for name in FAULTS if name not in ("hang", "reset", "cut off")]
)
def test_a_server_answers_after_a_fault(name):
    """On the same connection, after any fault that is a response."""
    with ModelServer([FAULTS[name], "well"]) as server:
        link = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
        status = post(server, chat_request("hi"), connection=link)[0]
        assert (
            json.loads(post(server, chat_request("hi"), connection=link)[2])["choices"][0][
                "message"
            ]["content"]
            == "well"
        )
        link.close()
        assert [x.status for x in server.log] == [status, 200]


@pytest.mark.parametrize("name", ["reset", "cut off"])
def test_a_broken_connection_is_an_error_of_the_connection(name):
    """The client gets no answer."""
    with (
        ModelServer([FAULTS[name]]) as server,
        pytest.raises((http.client.HTTPException, ConnectionError)),
    ):
        post(server, chat_request("hi"))


def test_a_hanging_answer_ends_when_the_server_closes():
    """Closing ends every connection, so that no test waits."""
    arrived, errors = threading.Event(), []
    server = ModelServer(lambda body: arrived.set() or FAULTS["hang"])

    def hang():
        try:
            post(server, chat_request("hi"))
        except (http.client.HTTPException, OSError) as gone:
            errors.append(gone)

    thread = threading.Thread(target=hang)
    thread.start()
    assert arrived.wait(5)
    server.close()
    thread.join(5)
    assert len(errors) == 1 and server.log[0].status == 0


def test_the_log_holds_requests_and_times():
    """Path, body, key and the times of arrival and answer, which differ by the latency."""
    with ModelServer(latency=0.05) as server:
        post(server, chat_request("hi"))
        entry = server.log[0]
    assert (entry.path, entry.body, entry.key, entry.status) == (
        "/v1/chat/completions",
        chat_request("hi"),
        "",
        200,
    )
    assert 0.05 <= entry.answered - entry.arrived < 1


def test_random_latencies_are_seeded_and_do_not_depend_on_the_order():
    """The n-th of equal requests waits equally long in each run."""
    bodies = [chat_request(str(i % 3)) for i in range(6)]
    one, two, other = heavy_tail(0.3, 0.7, 1), heavy_tail(0.3, 0.7, 1), heavy_tail(0.3, 0.7, 2)
    forth = [one(body) for body in bodies]
    back = [two(body) for body in [bodies[i] for i in (2, 1, 0, 5, 4, 3)]]
    assert [back[i] for i in (2, 1, 0, 5, 4, 3)] == forth
    assert min(forth) > 0.3 and len(set(forth)) == 6 and [other(body) for body in bodies] != forth


def test_many_connections_are_served_at_once():
    """Sixty-four requests of 0.1 s each take far less time than one after the other."""
    with ModelServer(latency=0.1) as server:
        threads = [
            threading.Thread(target=post, args=(server, chat_request(str(i)))) for i in range(64)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        begun, ended = min(x.arrived for x in server.log), max(x.answered for x in server.log)
        assert len(server.log) == 64 and ended - begun < 3.2


def test_the_server_runs_as_a_process_of_its_own():
    """`python -m qdkit.testing.server` prints its URL, and serves there with a log."""
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "qdkit.testing.server", "--latency", "0.01", "--tail", "0.01"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=root, env=dict(os.environ)
    ) as process:
        try:
            netloc = urlsplit(process.stdout.readline().strip()).netloc
            link = http.client.HTTPConnection(netloc, timeout=10)
            link.request("GET", "/v1/models")
            assert json.loads(link.getresponse().read())["data"][0]["id"] == "test-model"
            link.request("GET", "/log")
            first, own = json.loads(link.getresponse().read())
            assert (
                first["path"] == "/v1/models"
                and first["arrived"] <= first["answered"] <= own["arrived"]
            )
            link.close()
        finally:
            process.terminate()

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

from qdkit.testing import FAULTS, ModelServer, Reply, error, heavy_tail, likely


def post(server, body, path="/chat/completions", connection=None):
    """Status, headers and text of an answer, by the plainest client there is."""
    link = connection or http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    try:
        link.request("POST", f"/v1{path}", json.dumps(body), {"content-type": "application/json"})
        reply = link.getresponse()
        return reply.status, dict(reply.headers), reply.read().decode()
    finally:
        if connection is None:
            link.close()


def asked(prompt, **more):
    """A request for a completion."""
    return {"model": "m", "messages": [{"role": "user", "content": prompt}], **more}


def said(server, body):
    """The text of the answer."""
    return json.loads(post(server, body)[2])["choices"][0]["message"]["content"]


def test_a_script_is_said_in_order_and_then_the_default():
    """The first answers are the script's; after them, the prompt comes back a little changed."""
    with ModelServer(["one", Reply("two")]) as server:
        assert [said(server, asked("a b")) for _ in range(2)] == ["one", "two"]
        assert sorted(said(server, asked("hello there big world")).split()) == ["big", "hello", "there", "world"]


def test_a_function_answers_by_the_request():
    """A function of the request's body may answer with a text, a reply or a fault."""
    with ModelServer(lambda body: body["model"] if body.get("seed") else error(418, "teapot")) as server:
        assert said(server, asked("hi", seed=1)) == "m"
        assert post(server, asked("hi"))[0] == 418


def test_the_default_is_a_function_of_the_request():
    """The same request gets the same answer from any server; another seed may get another."""
    prompt = "Improve this.\n\n```python\nx = 1.25\ny = 3\n```"
    with ModelServer() as one, ModelServer() as two:
        assert said(one, asked(prompt)) == said(two, asked(prompt))
        assert len({said(one, asked(prompt, seed=i)) for i in range(8)}) > 4
        assert said(one, asked(prompt)).startswith("```python\nx = ")


def test_a_schema_is_filled_in():
    """What comes back for a JSON schema has its kinds and keeps to its bounds."""
    part = {"type": "array", "items": {"type": "integer", "minimum": 3, "maximum": 4}, "minItems": 2}
    schema = {
        "type": "object",
        "properties": {"n": part, "tone": {"enum": ["dark", "light"]}, "yes": {"type": "boolean"}},
    }
    with ModelServer() as server:
        body = asked("hi", response_format={"type": "json_schema", "json_schema": {"schema": schema}})
        value = json.loads(said(server, body))
    assert len(value["n"]) == 2 and set(value["n"]) <= {3, 4}
    assert value["tone"] in ("dark", "light") and isinstance(value["yes"], bool)


def test_log_probabilities_come_when_asked_for():
    """They are made up for a text, as given for `likely`, and null when nobody asked."""
    with ModelServer(["a b", "a b", likely({"no": 0.2, "yes": 0.8})]) as server:
        choices = [
            json.loads(post(server, body)[2])["choices"][0]
            for body in (asked("?"), asked("?", logprobs=True, top_logprobs=2), asked("?", logprobs=True))
        ]
    assert choices[0]["logprobs"] is None
    assert [row["token"] for row in choices[1]["logprobs"]["content"]] == ["a", " b"]
    top = choices[2]["logprobs"]["content"][0]["top_logprobs"]
    assert choices[2]["message"]["content"] == "yes"
    assert {row["token"]: round(np.exp(row["logprob"]), 6) for row in top} == {"yes": 0.8, "no": 0.2}


def test_embeddings_of_like_texts_lie_close():
    """Unit vectors, the same as numbers and as base64; a small change moves them less than another text does."""
    with ModelServer() as server:
        body = {"model": "e", "input": ["the grey sea", "the grey seas", "quarterly tax report"]}
        plain = json.loads(post(server, body, "/embeddings")[2])["data"]
        packed = json.loads(post(server, body | {"encoding_format": "base64"}, "/embeddings")[2])["data"]
    vectors = np.array([row["embedding"] for row in plain])
    decoded = [np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in packed]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    np.testing.assert_allclose(decoded, vectors, rtol=1e-6)
    assert vectors[0] @ vectors[1] > 0.7 > 0.4 > vectors[0] @ vectors[2]


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in ("hang", "reset", "cut off")])
def test_a_fault_leaves_the_server_well(name):
    """After any fault that is an answer at all, the same connection gets the next answer."""
    with ModelServer([FAULTS[name], "well"]) as server:
        link = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
        status = post(server, asked("hi"), connection=link)[0]
        assert json.loads(post(server, asked("hi"), connection=link)[2])["choices"][0]["message"]["content"] == "well"
        link.close()
        assert [x.status for x in server.log] == [status, 200]


@pytest.mark.parametrize("name", ["reset", "cut off"])
def test_a_broken_connection_is_one(name):
    """The client hears of it as an error of the connection, not as an answer."""
    with ModelServer([FAULTS[name]]) as server, pytest.raises((http.client.HTTPException, ConnectionError)):
        post(server, asked("hi"))


def test_a_hanging_answer_ends_when_the_server_closes():
    """No test waits for it: closing lets go of every connection."""
    arrived, heard = threading.Event(), []
    server = ModelServer(lambda body: arrived.set() or FAULTS["hang"])

    def hang():
        try:
            post(server, asked("hi"))
        except (http.client.HTTPException, OSError) as gone:
            heard.append(gone)

    thread = threading.Thread(target=hang)
    thread.start()
    assert arrived.wait(5)
    server.close()
    thread.join(5)
    assert len(heard) == 1 and server.log[0].status == 0


def test_the_log_tells_what_came_and_when():
    """Path, body, key and the times of arrival and answer, which lie as far apart as the latency."""
    with ModelServer(latency=0.05) as server:
        post(server, asked("hi"))
        entry = server.log[0]
    assert (entry.path, entry.body, entry.key, entry.status) == ("/v1/chat/completions", asked("hi"), "", 200)
    assert 0.05 <= entry.answered - entry.arrived < 1


def test_random_latencies_are_seeded_and_do_not_depend_on_the_order():
    """The n-th of equal requests waits alike in each run, whatever came between."""
    bodies = [asked(str(i % 3)) for i in range(6)]
    one, two, other = heavy_tail(0.3, 0.7, 1), heavy_tail(0.3, 0.7, 1), heavy_tail(0.3, 0.7, 2)
    forth = [one(body) for body in bodies]
    back = [two(body) for body in [bodies[i] for i in (2, 1, 0, 5, 4, 3)]]
    assert [back[i] for i in (2, 1, 0, 5, 4, 3)] == forth
    assert min(forth) > 0.3 and len(set(forth)) == 6 and [other(body) for body in bodies] != forth


def test_many_connections_are_served_at_once():
    """Sixty-four requests that take 0.1 s each are done in far less than one after the other."""
    with ModelServer(latency=0.1) as server:
        threads = [threading.Thread(target=post, args=(server, asked(str(i)))) for i in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        begun, ended = min(x.arrived for x in server.log), max(x.answered for x in server.log)
        assert len(server.log) == 64 and ended - begun < 3.2


def test_it_runs_as_a_process_of_its_own():
    """`python -m qdkit.testing.server` prints its URL, serves there and tells what it served."""
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "qdkit.testing.server", "--latency", "0.01", "--tail", "0.01"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root, env=dict(os.environ)) as process:
        try:
            netloc = urlsplit(process.stdout.readline().strip()).netloc
            link = http.client.HTTPConnection(netloc, timeout=10)
            link.request("GET", "/v1/models")
            assert json.loads(link.getresponse().read())["data"][0]["id"] == "test-model"
            link.request("GET", "/log")
            first, own = json.loads(link.getresponse().read())
            assert first["path"] == "/v1/models" and first["arrived"] <= first["answered"] <= own["arrived"]
            link.close()
        finally:
            process.terminate()

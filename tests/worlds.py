"""Tiny worlds whose right answers are known, for tests of the loop and what stands around it."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, fields
from functools import partial

import jax
import numpy as np

import qdkit
from qdkit.archives import Grid
from qdkit.core.elites import double
from qdkit.llm import client
from qdkit.llm.pace import Clock
from qdkit.search.budget import Budget, BudgetTracker

BOX = ((0.0, 1.0), (0.0, 1.0))


@dataclass(frozen=True)
class Points:
    """Points of the unit square, each its own descriptor, better towards one corner.

    Nothing to compile.
    """

    dimensions: int = 2
    bounds = BOX
    names = ("x", "y")
    floor = 0.0

    def seeds(self, key, n):
        return np.asarray(jax.random.uniform(key, (n, self.dimensions)), np.float64)

    def evaluate(self, genomes):
        return qdkit.Evaluation(objective=genomes.sum(1), descriptor=genomes[:, :2])


class Jitter(qdkit.Operator):
    """Noise from numpy, folded back into the unit square."""

    name = "jitter"

    def propose(self, key, context, n):
        noise = np.random.default_rng(np.asarray(jax.random.key_data(key))).normal(
            0, 0.1, context.parents.genome.shape
        )
        return qdkit.Proposal.of(
            np.clip(context.parents.genome + noise, 0, 1), self.name, context.parents
        )


@dataclass(frozen=True)
class Texts:
    """Texts, described by their length and their share of a's; the longer the better."""

    openings: tuple[str, ...] = ("a rose", "the sea", "banana")
    bounds = ((0.0, 40.0), (0.0, 1.0))

    def seeds(self, key, n):
        return list(self.openings[:n])

    def evaluate(self, genomes):
        described = [(len(text), text.count("a") / max(1, len(text))) for text in genomes]
        return qdkit.Evaluation(
            [float(len(text)) for text in genomes],
            described,
            notes=[{"words": len(text.split())} for text in genomes],
        )


class Deadly(Texts):
    """Texts of which one kills the process that evaluates it."""

    def evaluate(self, genomes):
        if "die" in genomes:
            os._exit(1)
        return super().evaluate(genomes)


class Chatter(qdkit.Operator):
    """Adds a word or drops one."""

    name = "chatter"

    def propose(self, key, context, n):
        random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        words = ["sea", "a", "gull", "an ark"]
        texts = [
            p + " " + words[random.integers(4)] if random.random() < 0.7 else p[: len(p) // 2]
            for p in context.parents.genome
        ]
        return qdkit.Proposal.of(texts, self.name, context.parents)


class Hasty(Clock):
    """A real clock for threads, in which a second takes a hundredth."""

    def now(self):
        return super().now() * 100

    def sleep(self, seconds):
        super().sleep(seconds / 100)

    def wait(self, condition, seconds):
        super().wait(condition, seconds / 100)


class Quick(Clock):
    """A clock whose time passes at once; what would have been waited is added up."""

    def __init__(self):
        self.time, self.naps, self.tries = 1000.0, [], []  # the last for a test's own notes

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.naps.append(seconds)
        self.time += seconds

    def wait(self, condition, seconds):
        self.time += seconds


class Virtual(Clock):
    """The clock of some threads, whose time goes on only when each of them waits: then to the
    first that is to wake.

    Every thread that uses it is counted from the start, and says by `ended` that it waits no more.
    """

    def __init__(self, threads):
        self.time, self._awake, self._lock, self._asleep = 0.0, threads, threading.Condition(), []
        self.tries = []  # a test's own notes

    def now(self):
        return self.time

    def sleep(self, seconds):
        self._until(seconds, None)

    def wait(self, condition, seconds):
        condition.release()
        try:
            self._until(seconds, condition)
        finally:
            condition.acquire()

    def notify(self, condition):
        with self._lock:
            for sleeper in [
                sleeper for sleeper in self._asleep if sleeper["condition"] is condition
            ]:
                self._wake(sleeper)

    def ended(self):
        with self._lock:
            self._awake -= 1
            self._go_on()

    def _until(self, seconds, condition):
        with self._lock:
            sleeper = {"at": self.time + max(0.0, seconds), "condition": condition, "woken": False}
            self._asleep.append(sleeper)
            self._awake -= 1
            self._go_on()
            assert self._lock.wait_for(lambda: sleeper["woken"], timeout=60), "nobody woke it"

    def _go_on(self):
        if not self._awake and self._asleep:
            first = min(self._asleep, key=lambda sleeper: sleeper["at"])
            self.time = max(self.time, first["at"])
            self._wake(first)

    def _wake(self, sleeper):
        self._asleep.remove(sleeper)
        sleeper["woken"] = True
        self._awake += 1
        self._lock.notify_all()


class Tape:
    """A record in memory, which goes through JSON as a record on disk does."""

    place = None

    def __init__(self, budget=None, rows=()):
        self.purse, self.rows, self.kept = BudgetTracker(budget or Budget()), list(rows), []
        self.reserve = self.purse.reserve

    def recall(self, request):
        if not self.rows:
            return None
        asked, answer = self.rows.pop(0)
        if json.loads(asked) != request:
            raise RuntimeError("another request")
        return json.loads(answer)

    def keep(self, request, answer):
        row = (
            json.dumps(request, allow_nan=False),
            json.dumps(answer, allow_nan=False, ensure_ascii=False),
        )
        self.kept.append(tuple(text.encode().decode() for text in row))


def in_process(monkeypatch, answer):
    """The address of a server that is a function: path and body of a request to (status, headers,
    bytes), no socket.

    At an address that is not of such a server nobody is there.
    """
    http, name = (
        client._transport(),
        f"server{len(SERVERS)}.test",
    )  # one client is kept for each address
    SERVERS[name] = answer

    def handle(request):
        if request.url.host not in SERVERS:
            raise http.ConnectError("Connection refused")
        status, headers, data = SERVERS[request.url.host](
            request.url.path, json.loads(request.content or b"{}")
        )
        return http.Response(status, headers=headers, stream=http.ByteStream(data))

    transport = http.MockTransport(handle)
    monkeypatch.setattr(client, "_connection", partial(CONNECTION, transport=transport))
    return f"http://{name}/v1"


SERVERS, CONNECTION = {}, client._connection


def search_of(*parts, run=None, resume=False, compiled=False, **settings):
    """A search from flat settings, as a test builds them in dictionaries.

    The fields of `Steering` and `Workers` are given by name, `reevaluate` also as `challenge`;
    `run` is the folder and `resume` goes on with the run in it.
    """
    if compiled:
        return compiled_search_of(*parts, run=run, resume=resume, **settings)
    if "challenge" in settings:
        settings["reevaluate"] = settings.pop("challenge")
    grouped = {}
    for group, kind in {"steering": qdkit.Steering, "workers": qdkit.Workers}.items():
        names = {field.name for field in fields(kind)} & {*settings}
        if names:
            grouped[group] = kind(**{name: settings.pop(name) for name in names})
    if resume:
        return qdkit.Search.resume(run, *parts, **settings, **grouped)
    return qdkit.Search(*parts, folder=run, **settings, **grouped)


def compiled_search_of(*parts, run=None, resume=False, **settings):
    """A compiled search; `run` is the folder and `resume` goes on with the run in it."""
    if resume:
        return qdkit.CompiledSearch.resume(run, *parts, **settings)
    return qdkit.Search.compiled(*parts, folder=run, **settings)


def points(**settings):
    """A search of `Points`, of small batches."""
    return search_of(Points(), Grid((5, 5), BOX), Jitter(), **{"batch": 8, "seed": 3} | settings)


def texts(**settings):
    """A search of `Texts`, one at a time."""
    return search_of(
        Texts(), Grid((8, 5), Texts.bounds), Chatter(), **{"batch": 1, "seed": 3} | settings
    )


def brute_force(batches, archive):
    """cell -> (objective, id): the elites that the candidates of `batches` leave behind, found one
    by one.
    """
    best = {}
    for candidate in (candidate for batch in batches for candidate in batch):
        if candidate.outcome != "ok":
            continue
        with double():  # as a search finds cells
            cell = int(np.asarray(archive.cell(np.array([candidate.descriptor])))[0])
        if cell >= 0 and (cell not in best or candidate.objective > best[cell][0]):
            best[cell] = (candidate.objective, candidate.id)
    return best

"""The page: a question for each rater, one after the other, and the map as it stands meanwhile."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import numpy as np

from qdkit import metrics
from qdkit.judgements import QUESTIONS, WITHDRAWN, Judgements, Reply, check, standing
from qdkit.plain import clean
from qdkit.rate.asked import Asked, Refused, Seals
from qdkit.rate.choose import Choose, spread, telling
from qdkit.rate.drawing import Drawing
from qdkit.rate.kinds import KINDS, answer_of, shuffled
from qdkit.rate.look import Look, look
from qdkit.seen import Seen

HERE = Path(__file__).parent
LABELS = 9  # as many as there are keys


class Answer(NamedTuple):
    """What the page says to a request."""

    status: int
    body: bytes | str
    kind: str = "text/html"
    headers: Mapping[str, str] = {}


class Page:
    """What a run's raters see, and where their replies go.

    run: the run's folder. seen: gives the search or run as it is now. question: one of `KINDS`. raters: who may answer.
    asks: the question in other words. labels: of which one is chosen; free text where there are none. goal: how many
    judgements each rater is asked for. choose: which candidates come next (see `qdkit.rate.choose`); where left out,
    those that tell taught axes most, and for other questions or axes those seen least. seed: of what is left to chance.

    Raises ValueError for a question that there is not, names of raters that cannot stand in a link, too many labels.
    """

    def __init__(
        self,
        run: Path,
        seen: Callable[[], Seen],
        question: str = "triplet",
        raters: Sequence[str] = ("me",),
        *,
        asks: str = "",
        labels: Sequence[str] = (),
        goal: int = 10,
        choose: Choose | None = None,
        seed: int = 0,
    ):
        if question not in KINDS:
            raise ValueError(f"a question is one of {', '.join(KINDS)}, not {question!r:.60}")
        for rater in raters:
            if not rater.replace("-", "a").replace("_", "a").isalnum() or not rater.isascii() or len(rater) > 40:
                raise ValueError(f"a rater's name is made of up to 40 letters, digits, - and _, not {rater!r:.60}")
        if len(labels) > LABELS or len(set(labels)) < len(labels) or (labels and question != "label"):
            raise ValueError(f"up to {LABELS} different labels are for the question label, not {list(labels)!r:.60}")
        if goal < 1 or len(raters) < 1:
            raise ValueError(f"there is a goal from 1 and a rater, not {goal} and {list(raters)}")
        if "compiled" in seen().ledger.about:
            raise ValueError(f"{run} is a compiled run: its candidates have no lasting numbers to judge them by")
        self.run, self.raters, self.store, self.seals = run, tuple(raters), Judgements(run), Seals.of(run)
        self._seen, self._kind, self._question = seen, KINDS[question], question
        self._choose = choose or (telling if question in ("triplet", "odd") else spread)
        self._asks, self._labels, self._goal, self._seed = asks or self._kind.asks, labels, goal, seed
        self._lock = threading.Lock()
        self._replies: list[Reply] = []
        self.drawing = Drawing(seen)
        self._template = _template()

    def close(self) -> None:
        """Gives the store back."""
        self.drawing.stop()
        self.store.close()

    def path(self, rater: str) -> str:
        """The address of a rater's page on this server."""
        return f"/r/{rater}/{self.seals.link(rater)}/"

    # What is asked for. Each raises Refused for what is not answered.

    def show(self, rater: str, again: str = "") -> Answer:
        """The next question, or the one that was taken back."""
        seen, asked = self._seen(), self._asked(rater, again)
        mine = [reply for reply in standing(self._heard()) if reply.rater == rater]
        candidates: list[Look] = []
        if asked is not None:
            domain = getattr(seen, "domain", None)
            candidates = [look(seen.genome(asked.ids[place]), domain) for place in asked.order]
        text = self._template.render(
            asks=self._asks,
            asked=asked,
            token=self.seals.closed(asked) if asked else "",
            candidates=candidates,
            anchors=self._kind.anchors,
            choices=(choices := self._kind.choices(asked.order, self._labels) if asked else []),
            keys=sorted({key for choice in choices for key in choice.keys}),
            ranks=self._question == "ranking",
            texts=not any(candidate.pictured for candidate in candidates),
            done=sum(reply.answer is not None for reply in mine),
            goal=self._goal,
            undo=mine[-1].number if mine else 0,
            rater=rater,
            mapped=getattr(seen, "archive", None) is not None,
            **self._standing(seen),
        )
        return Answer(200, text)

    def reply(self, rater: str, said: Mapping[str, str]) -> Answer:
        """Keeps what was answered, once for each question, and goes on."""
        asked = self.seals.opened(said.get("token", ""), rater)
        text = "" if said.get("skip") else said.get("answer", "")
        if not said.get("skip") and not text:
            raise Refused(400, "an answer is missing: choose one, or skip")
        seconds = max(0.0, time.time() - asked.at)
        rationale = clean(said.get("rationale", "")).replace("\r\n", "\n").strip()
        token = self.seals.number(asked)
        try:
            answer = answer_of(asked.question, text)
            if asked.question == "rating" and answer is not None and not 1 <= answer <= 5:
                raise ValueError(f"a rating is from 1 to 5, not {answer}")
            reply = Reply(
                0, asked.question, asked.ids, answer, asked.order, rater, "person", seconds, rationale, "", token
            )
            check(reply)
        except ValueError as error:
            raise Refused(400, f"this cannot be kept: {error}") from None
        self.store.add(reply)
        return _back("./")

    def undo(self, rater: str, said: Mapping[str, str]) -> Answer:
        """Takes back a reply of this rater, and asks that question again."""
        text = said.get("number", "")
        if not text.isdecimal() or len(text) > 12:
            raise Refused(400, "an undo names the number of a judgement")
        if not any(r.number == int(text) and r.rater == rater and r.question != WITHDRAWN for r in self._heard()):
            raise Refused(403, f"there is no judgement {text} of yours")
        if any(r.number == int(text) for r in standing(self._heard())):
            self.store.withdraw(int(text), rater)
        return _back(f"./?again={int(text)}")

    def picture(self, rater: str, token: str, place: str) -> Answer:
        """A candidate of a question that was asked of this rater, drawn."""
        asked = self.seals.opened(token, rater)
        if place not in map(str, range(len(asked.order))):
            raise Refused(404, "there is no such picture")
        return Answer(200, self.drawing.candidate(asked.ids[asked.order[int(place)]]), "image/png")

    def map(self) -> Answer:
        """The map of the archive as it is now."""
        return Answer(200, self.drawing.map(), "image/png")

    def state(self) -> dict[str, Any]:
        """How the run stands, as JSON values."""
        seen = self._seen()
        stands = self._standing(seen)
        occupied = stands["filled"]
        told = f"the map: {occupied} of {stands['cells']} cells are filled"
        return {
            "version": stands["version"],
            "stands": stands["stands"],
            "map": told,
            "ready": occupied >= QUESTIONS[self._question][0],
        }

    # Within.

    def _heard(self) -> list[Reply]:
        """All replies, read as far as they are new."""
        with self._lock:
            self._replies += self.store.since(self._replies[-1].number if self._replies else 0)
            return self._replies[:]

    def _asked(self, rater: str, again: str) -> Asked | None:
        heard = self._heard()
        rows = sum(reply.rater == rater for reply in heard)
        if again:
            found = [r for r in heard if again == str(r.number) and r.rater == rater and r.question == self._question]
            if found and self._latest(heard, rater) == found[0].number and self._there(found[0].ids):
                return Asked(found[0].question, found[0].ids, found[0].order, rater, rows, time.time())
        random = np.random.default_rng([self._seed, zlib.crc32(rater.encode()), rows])
        ids = self._choose(random, self._seen(), standing(heard), rater, QUESTIONS[self._question][0])
        if ids is None:
            return None
        return Asked(self._question, ids, shuffled(random, self._question), rater, rows, time.time())

    def _there(self, ids: Sequence[int]) -> bool:
        """Whether these are candidates of this run; judgements that were taken in may be on others."""
        seen = self._seen()
        try:
            return all(seen.genome(id) is not None for id in ids)
        except KeyError:
            return False

    @staticmethod
    def _latest(heard: Sequence[Reply], rater: str) -> int:
        """The number of the judgement that this rater has just taken back; 0 where the last row is another."""
        last = next(reply for reply in reversed(heard) if reply.rater == rater)
        return last.ids[0] if last.question == WITHDRAWN else 0

    def _standing(self, seen: Seen) -> dict[str, Any]:
        elites = seen.elites
        filled, cells = metrics.occupied(elites), len(elites.objective) // elites.depth
        tried = seen.commits[-1].evaluations if seen.commits else 0
        stands = f"{filled:,} of {cells:,} cells filled after {tried:,} candidates"
        return {"version": len(seen.commits), "filled": filled, "cells": cells, "stands": stands}


def fields(body: bytes) -> dict[str, str]:
    """The fields of a form. Raises Refused for what is none."""
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=10)
    except ValueError:
        raise Refused(400, "this is no form that can be read") from None
    if len(dict(pairs)) != len(pairs):
        raise Refused(400, "a form has each field once")
    return dict(pairs)


def _back(where: str) -> Answer:
    return Answer(303, "", "text/plain", {"location": where})


def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    rooms = Environment(autoescape=True, loader=FileSystemLoader(HERE), undefined=StrictUndefined, trim_blocks=True)
    return rooms.get_template("page.html")

"""The page: questions for each rater, one after the other, and the current map of the archive."""

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
from qdkit.core.jsonable import as_utf8
from qdkit.core.seeds import numpy_seed
from qdkit.rate.choose import Choose, spread, telling
from qdkit.rate.drawing import Renderer
from qdkit.rate.genome_view import GenomeView, genome_view
from qdkit.rate.question_kinds import KINDS, parse_answer, screen_order
from qdkit.rate.sealed_questions import RequestRefused, Seals, ShownQuestion
from qdkit.runs.judgements import (
    QUESTIONS,
    WITHDRAWN,
    Judgements,
    Reply,
    check_reply,
    without_withdrawn,
)
from qdkit.runs.view import RunView

PAGE_FOLDER = Path(__file__).parent
_MOST_LABELS = 9  # the number of digit keys


class PageResponse(NamedTuple):
    """The page's response to a request."""

    status: int
    body: bytes | str
    kind: str = "text/html"
    headers: Mapping[str, str] = {}


class Page:
    """Shows questions about a run's candidates to raters, and stores their replies.

    run: the run's folder.
    view: returns the search or run in its current state.
    question: one of `KINDS`.
    raters: the names of those who may answer.
    asks: the question in other words.
    labels: the labels to choose from; where there are none, a label is free text.
    goal: the number of judgements that each rater is asked for.
    choose: selects the candidates of the next question (see `qdkit.rate.choose`); where left out,
      those that tell axes from triplets most, and for other questions and axes the least seen.
    seed: of the random choices.

    Raises ValueError for an unknown question, names of raters that cannot be part of a link, too
    many labels.
    """

    def __init__(
        self,
        run: Path,
        view: Callable[[], RunView],
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
            if (
                not rater.replace("-", "a").replace("_", "a").isalnum()
                or not rater.isascii()
                or len(rater) > 40
            ):
                raise ValueError(
                    f"a rater's name is made of up to 40 letters, digits, - and _, not "
                    f"{rater!r:.60}"
                )
        if (
            len(labels) > _MOST_LABELS
            or len(set(labels)) < len(labels)
            or (labels and question != "label")
        ):
            raise ValueError(
                f"up to {_MOST_LABELS} different labels are for the question label, not "
                f"{list(labels)!r:.60}"
            )
        if goal < 1 or len(raters) < 1:
            raise ValueError(f"there is a goal from 1 and a rater, not {goal} and {list(raters)}")
        if "compiled" in view().ledger.about:
            raise ValueError(
                f"{run} is a compiled run: its candidates have no lasting numbers to judge them by"
            )
        self.run, self.raters = run, tuple(raters)
        self.store, self.seals = Judgements(run), Seals.of(run)
        self._view, self._kind, self._question = view, KINDS[question], question
        self._choose = choose or (telling if question in ("triplet", "odd") else spread)
        self._asks, self._labels = asks or self._kind.asks, labels
        self._goal, self._seed = goal, numpy_seed(seed)
        self._lock = threading.Lock()
        self._replies: list[Reply] = []
        self.renderer = Renderer(view)
        self._template = _template()

    def close(self) -> None:
        """Stops drawing and closes the store."""
        self.renderer.stop()
        self.store.close()

    def path(self, rater: str) -> str:
        """Returns the path of a rater's page on this server."""
        return f"/r/{rater}/{self.seals.link(rater)}/"

    # The responses to requests. Each method raises RequestRefused for a request that it refuses.

    def show(self, rater: str, again: str = "") -> PageResponse:
        """Returns the page with the next question, or with the withdrawn reply `again`."""
        view, question = self._view(), self._next_question(rater, again)
        replies = without_withdrawn(self._all_replies())
        own_replies = [reply for reply in replies if reply.rater == rater]
        candidates: list[GenomeView] = []
        choices: list[Any] = []
        if question is not None:
            domain = getattr(view, "domain", None)
            ids = [question.ids[i] for i in question.order]
            candidates = [genome_view(view.genome(id), domain) for id in ids]
            choices = self._kind.choices(question.order, self._labels)
        text = self._template.render(
            asks=self._asks,
            question=question,
            token=self.seals.seal_question(question) if question else "",
            candidates=candidates,
            anchors=self._kind.anchors,
            choices=choices,
            keys=sorted({key for choice in choices for key in choice.keys}),
            ranks=self._question == "ranking",
            texts=not any(candidate.pictured for candidate in candidates),
            done=sum(reply.answer is not None for reply in own_replies),
            goal=self._goal,
            undo=own_replies[-1].number if own_replies else 0,
            rater=rater,
            mapped=getattr(view, "archive", None) is not None,
            **self._state_of(view),
        )
        return PageResponse(200, text)

    def reply(self, rater: str, form: Mapping[str, str]) -> PageResponse:
        """Stores a reply, once for each question, and redirects to the next question."""
        question = self.seals.open_question(form.get("token", ""), rater)
        text = "" if form.get("skip") else form.get("answer", "")
        if not form.get("skip") and not text:
            raise RequestRefused(400, "an answer is missing: choose one, or skip")
        seconds = max(0.0, time.time() - question.at)
        rationale = as_utf8(form.get("rationale", "")).replace("\r\n", "\n").strip()
        try:
            answer = parse_answer(question.question, text)
            if question.question == "rating" and answer is not None and not 1 <= answer <= 5:
                raise ValueError(f"a rating is from 1 to 5, not {answer}")
            reply = Reply(
                0,
                question.question,
                question.ids,
                answer,
                question.order,
                rater,
                "person",
                seconds,
                rationale,
                token=self.seals.question_id(question),
            )
            check_reply(reply)
        except ValueError as error:
            raise RequestRefused(400, f"this cannot be kept: {error}") from None
        self.store.add(reply)
        return _redirect("./")

    def undo(self, rater: str, form: Mapping[str, str]) -> PageResponse:
        """Withdraws a reply of this rater, and redirects to its question."""
        text = form.get("number", "")
        if not text.isdecimal() or len(text) > 12:
            raise RequestRefused(400, "an undo names the number of a judgement")
        number = int(text)
        if not any(
            reply.number == number and reply.rater == rater and reply.question != WITHDRAWN
            for reply in self._all_replies()
        ):
            raise RequestRefused(403, f"there is no judgement {text} of yours")
        if any(reply.number == number for reply in without_withdrawn(self._all_replies())):
            self.store.withdraw(number, rater)
        return _redirect(f"./?again={number}")

    def picture(self, rater: str, token: str, position: str) -> PageResponse:
        """Returns the picture of a candidate of a question to this rater.

        position: of the candidate on the screen, from "0".
        """
        question = self.seals.open_question(token, rater)
        if position not in map(str, range(len(question.order))):
            raise RequestRefused(404, "there is no such picture")
        id = question.ids[question.order[int(position)]]
        return PageResponse(200, self.renderer.candidate(id), "image/png")

    def map(self) -> PageResponse:
        """Returns the current map of the archive."""
        return PageResponse(200, self.renderer.map(), "image/png")

    def state(self) -> dict[str, Any]:
        """Returns the state of the run as JSON values."""
        state = self._state_of(self._view())
        filled = state["filled"]
        return {
            "version": state["version"],
            "stands": state["stands"],
            "map": f"the map: {filled} of {state['cells']} cells are filled",
            "ready": filled >= QUESTIONS[self._question][0],
        }

    # Private.

    def _all_replies(self) -> list[Reply]:
        """Returns all replies; only new ones are read from the store."""
        with self._lock:
            self._replies += self.store.since(self._replies[-1].number if self._replies else 0)
            return self._replies[:]

    def _next_question(self, rater: str, again: str) -> ShownQuestion | None:
        """Returns the next question to a rater; None while there are too few candidates.

        again: the number of a reply that the rater has just withdrawn, to ask its question again.
        """
        replies = self._all_replies()
        rows = sum(reply.rater == rater for reply in replies)
        withdrawn = [
            reply
            for reply in replies
            if again == str(reply.number)
            and reply.rater == rater
            and reply.question == self._question
        ]
        if (
            withdrawn
            and self._last_withdrawn(replies, rater) == withdrawn[0].number
            and self._has_candidates(withdrawn[0].ids)
        ):
            kind, ids, order = withdrawn[0].question, withdrawn[0].ids, withdrawn[0].order
            return ShownQuestion(kind, ids, order, rater, rows, time.time())
        random = np.random.default_rng([self._seed, zlib.crc32(rater.encode()), rows])
        count = QUESTIONS[self._question][0]
        chosen = self._choose(random, self._view(), without_withdrawn(replies), rater, count)
        if chosen is None:
            return None
        order = screen_order(random, self._question)
        return ShownQuestion(self._question, chosen, order, rater, rows, time.time())

    def _has_candidates(self, ids: Sequence[int]) -> bool:
        """Returns whether the run has these candidates.

        Imported judgements may be about candidates of another run.
        """
        view = self._view()
        try:
            return all(view.genome(id) is not None for id in ids)
        except KeyError:
            return False

    @staticmethod
    def _last_withdrawn(replies: Sequence[Reply], rater: str) -> int:
        """Returns the number of the reply that the last row of a rater withdraws, or 0."""
        last = next(reply for reply in reversed(replies) if reply.rater == rater)
        return last.ids[0] if last.question == WITHDRAWN else 0

    def _state_of(self, view: RunView) -> dict[str, Any]:
        """Returns the variables of the template about the state of the run."""
        elites = view.elites
        filled, cells = metrics.occupied(elites), len(elites.objective) // elites.depth
        evaluations = view.commits[-1].evaluations if view.commits else 0
        stands = f"{filled:,} of {cells:,} cells filled after {evaluations:,} candidates"
        return {"version": len(view.commits), "filled": filled, "cells": cells, "stands": stands}


def form_fields(body: bytes) -> dict[str, str]:
    """Returns the fields of a form. Raises RequestRefused for a body that is no form."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=10
        )
    except ValueError:
        raise RequestRefused(400, "this is no form that can be read") from None
    if len(dict(pairs)) != len(pairs):
        raise RequestRefused(400, "a form has each field once")
    return dict(pairs)


def _redirect(location: str) -> PageResponse:
    return PageResponse(303, "", "text/plain", {"location": location})


def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(PAGE_FOLDER),
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("page.html")

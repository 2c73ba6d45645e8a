"""One recorded call: asked of the record first, paid for, paced, tried again, and kept before it is used."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from qdkit.llm.answer import Usage, read_usage
from qdkit.llm.client import Server
from qdkit.llm.fault import Fault, Kind, ModelError, feature_of, mend, understood, without_sight
from qdkit.llm.pace import Limits, OutOfPatience, Turn, pace_of
from qdkit.llm.question import pictured, recordable
from qdkit.record import NOTHING, Cost, current

JSON = Mapping[str, Any]
TRIES = 6  # of one call, those that found out that the server is down not counted


@dataclass(frozen=True)
class Call:
    """A request and its terms.

    body: what is sent, and what the record says was sent, with images by their digest.
    most: what one attempt can cost.
    booked: tokens to count against the limit per minute until the true number is known.
    price: US dollars of a usage, told the server's reply.
    timeout, patience: seconds without a byte, and until a call that cannot be sent is given up.
    """

    server: Server
    path: str
    body: Mapping[str, Any]
    most: Cost
    booked: int
    price: Callable[[Usage, Mapping[str, Any]], float]
    limits: Limits
    timeout: float
    patience: float

    def cost(self, heard: Mapping[str, Any] | Fault) -> Cost:
        """What an attempt cost; its most, where the answer was lost or nobody counted."""
        if isinstance(heard, Fault):
            return self.most if heard.kind == Kind.LOST else NOTHING
        usage = read_usage(heard)
        if usage is None:
            return self.most
        return Cost(self.price(usage, heard), usage.input + usage.output)


class Heard(NamedTuple):
    """What came of a call.

    reply: the server's; the fault, where it is the answer: its filter refused the question, its model sees no
      pictures, or it does not do what was asked; None where no answer came.
    error: why none came. cost: of all attempts. seconds: of the last.
    """

    reply: Mapping[str, Any] | Fault | None
    error: str
    cost: Cost
    seconds: float


def recorded(call: Call, worded: Callable[[Heard], JSON]) -> JSON:
    """The answer of the record, or a new one, `worded` as a JSON value and kept in the record.

    Raises ModelError if asking again cannot help, and Exhausted if the budget does not cover it.
    """
    asked = recordable(call.body)
    known = current().recall(asked)
    if known is not None:
        return known
    pace = pace_of(call.server.base_url, call.body["model"])
    until, lost, failures, tries, reason = pace.clock.now() + call.patience, NOTHING, 0, 0, "none could be sent"
    while tries < TRIES:
        until += pace.book(call.limits, call.booked)  # a limit of our own is no fault to lose patience with
        try:
            with pace.turn(until) as turn:
                answer, cost = _attempt(call, asked, turn, lost, worded)
        except OutOfPatience:
            break
        pace.settle(call.limits, call.booked, cost.tokens)
        if answer is not None:
            return answer
        assert isinstance(turn.heard, Fault)
        if turn.heard.kind == Kind.WRONG:
            raise ModelError(mend(turn.heard, call.body["model"], call.server.base_url, call.server.models))
        reason, lost, failures = turn.heard.said, lost + cost, failures + 1
        tries += turn.heard.kind != Kind.BUSY and not turn.probe
        pace.back_off(failures, until, turn.heard.retry_after or 0.0)
    answer = worded(Heard(None, f"no answer in {failures} attempts: {reason}", lost, 0.0))
    current().keep(asked, answer)
    return answer


def _attempt(
    call: Call, asked: JSON, turn: Turn, lost: Cost, worded: Callable[[Heard], JSON]
) -> tuple[JSON | None, Cost]:
    """Sends the request once: the answer, kept, or None if there was a fault; and what that cost."""
    record = current()
    with record.reserve(call.most) as spend:
        started = time.perf_counter()
        refused = pace_of(call.server.base_url, call.body["model"]).refused
        feature = feature_of(call.body)
        heard: JSON | Fault | None = refused.get(feature)
        if heard is None:
            heard = understood(call.server.post(call.path, call.body, call.timeout), call.body)
            if isinstance(heard, Fault) and pictured(call.body.get("messages", ())):
                heard = without_sight(heard)
            turn.heard = heard
        seconds = time.perf_counter() - started
        cost = call.cost(heard)
        spend(cost)
        if isinstance(heard, Fault) and heard.kind not in (Kind.FILTERED, Kind.BLIND, Kind.UNABLE):
            return None, cost
        if isinstance(heard, Fault) and heard.kind == Kind.UNABLE and feature is not None:
            refused[feature] = heard
        answer = worded(Heard(heard, "", lost + cost, seconds))
        record.keep(asked, answer)
    return answer, cost

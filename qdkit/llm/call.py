"""One recorded call of a model.

The record is looked up first. A new call reserves its budget, waits for its turn, is retried after
faults, and is written into the record before its answer is used.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from qdkit.core.jsonable import to_json
from qdkit.core.record import LOST, NOTHING, Cost, Halt, current, recall_answer
from qdkit.llm.answer import Usage, read_usage
from qdkit.llm.client import NO_KEY, Server
from qdkit.llm.fault import (
    Fault,
    FaultKind,
    ModelError,
    blind_if_about_images,
    optional_feature,
    remedy,
    unable_if_unsupported,
)
from qdkit.llm.pace import OutOfPatience, Pace, RateLimits, Turn, pace_of
from qdkit.llm.question import has_images, recordable
from qdkit.llm.reply import guarded

_JSON = Mapping[str, Any]
_MAX_TRIES = 6  # attempts at one call, without those that found the server down or busy
_MAX_FRUITLESS = 5  # calls in a row without an answer, after which the run stops
# Kinds of faults that are the answer to a question.
_ANSWERS = (FaultKind.FILTERED, FaultKind.BLIND, FaultKind.UNABLE, FaultKind.ODD)


@dataclass(frozen=True)
class ModelCall:
    """A request and its terms.

    body: the request as it is sent; the record keeps it with digests in place of images.
    max_cost: the most that one attempt can cost.
    booked_tokens: counted against the limit per minute until the true number is known.
    price: a function of a usage and the server's reply that returns US dollars.
    timeout: seconds without a byte after which an attempt ends.
    patience: seconds after which a call that cannot be sent is given up; None for those of
      `presence`.
    """

    server: Server
    path: str
    body: Mapping[str, Any]
    max_cost: Cost
    booked_tokens: int
    price: Callable[[Usage, Mapping[str, Any]], float]
    limits: RateLimits
    timeout: float
    patience: float | None

    @property
    def model(self) -> str:
        """The name of the model."""
        return str(self.body["model"])

    @property
    def pace(self) -> Pace:
        """The pace of the model."""
        key = "" if self.server.api_key == NO_KEY else self.server.api_key
        return pace_of(self.server.base_url, self.model, key, self.server.address)


class CallResult(NamedTuple):
    """The result of a call.

    reply: the server's reply. A fault where the fault is the answer: the server's filter refused
      the question, the model sees no images, the server does not support the question, or its
      reply is no answer. None where no answer came.
    error: the reason why no answer came.
    cost: of all attempts.
    seconds: of the last attempt.
    usage: the tokens of the last attempt.
    odd: what is impossible in the usage that the server reported.
    """

    reply: Mapping[str, Any] | Fault | None
    error: str
    cost: Cost
    seconds: float
    usage: Usage | None = None
    odd: str = ""


def recorded_call(call: ModelCall, encode: Callable[[CallResult], _JSON]) -> _JSON:
    """Returns the answer in the record, or calls the model and records the answer.

    encode: makes the JSON value of a result, which is recorded and returned.

    Raises ModelError if asking again cannot help, if the server cannot be reached, or if several
    calls in a row got no answer. Raises Exhausted if the budget does not cover the call. In both
    cases the cost of lost attempts is recorded too.
    """
    request = recordable(call.body)
    known = recall_answer(current(), request)
    if known is not None:
        return known
    attempts = _Attempts(call, request)
    try:
        with attempts.pace.calling():
            answer = attempts.answer(encode)
        if answer is None:
            _stop_if_hopeless(call, attempts)
    except Halt:
        if attempts.lost.calls:
            cost = {**vars(attempts.lost), "dollars": _none_if_nan(attempts.lost.dollars)}
            current().keep(request, {LOST: True, "error": attempts.reason, "cost": cost})
        raise
    if answer is None:
        error = f"no answer in {attempts.failures} attempts: {attempts.reason}"
        answer = encode(CallResult(None, error, attempts.lost, 0.0))
        current().keep(request, answer)
    return answer


class _Attempts:
    """The attempts at one call.

    lost: the cost of the failed attempts.
    failures: their number.
    reason: why the last one failed.
    """

    def __init__(self, call: ModelCall, request: _JSON):
        self.call, self.request, self.pace = call, request, call.pace
        self.lost, self.failures, self.reason = NOTHING, 0, "none could be sent"
        self.begun = self.pace.clock.now()

    def answer(self, encode: Callable[[CallResult], _JSON]) -> _JSON | None:
        """Returns the first answer, recorded; None where the attempts or the time are used up."""
        call, pace, tries = self.call, self.pace, 0
        spread = to_json(self.request)
        until = own = self.begun + pace.presence.patience(call.patience)
        while tries < _MAX_TRIES and not (self.failures and pace.clock.now() >= until):
            # The wait for the caller's own rate limits does not count against its patience.
            waited = pace.book(call.limits, call.booked_tokens)
            until, own = until + waited, own + waited
            try:
                with pace.turn(until) as turn:
                    answer, cost = _attempt(call, pace, self.request, turn, self.lost, encode)
            except OutOfPatience:
                return None
            pace.settle(call.limits, call.booked_tokens, cost.tokens)
            if answer is not None:
                pace.fruitless.reset()
                return answer
            fault = turn.result
            assert isinstance(fault, Fault)
            self.reason, self.lost = fault.message, self.lost + cost
            self.failures += 1
            if fault.kind == FaultKind.WRONG:
                server = call.server
                raise ModelError(remedy(fault, call.model, server.address, server.models))
            until = own
            if fault.kind == FaultKind.ABSENT:
                until = pace.presence.record_absence(
                    call.server.address, fault.message, pace.clock.now(), call.patience
                )
            # A lost answer with a status counts even for a probe: the server is up, and may
            # charge for each such answer.
            answered = fault.kind == FaultKind.LOST and fault.status
            exempt = fault.kind in (FaultKind.BUSY, FaultKind.ABSENT) or turn.probe
            tries += bool(answered or not exempt)
            pace.back_off(turn, self.failures, until, spread)
        return None


def _attempt(
    call: ModelCall,
    pace: Pace,
    request: _JSON,
    turn: Turn,
    lost: Cost,
    encode: Callable[[CallResult], _JSON],
) -> tuple[_JSON | None, Cost]:
    """Sends the request once. Returns the recorded answer, or None after a fault, and the cost."""
    record = current()
    with record.reserve(call.max_cost) as spend:
        started = time.perf_counter()
        feature = optional_feature(call.body)
        reply: _JSON | Fault | None = _known_refusal(pace, call.body, feature)
        if reply is None:
            reply = call.server.post(call.path, call.body, call.timeout)
            reply = unable_if_unsupported(reply, call.body)
            if isinstance(reply, Fault) and has_images(call.body.get("messages", ())):
                reply = blind_if_about_images(reply)
            turn.result = reply
            if not isinstance(reply, Fault) or reply.status or reply.kind == FaultKind.LOST:
                pace.presence.record_reply()
        seconds = time.perf_counter() - started
        cost, usage, odd = guarded(
            lambda: _cost(call, reply), lambda why: (call.max_cost, None, f"its usage: {why}")
        )
        spend(cost)
        if odd:
            pace.presence.warn_once(
                f"{call.server.address} does not count the tokens of {call.model!r} ({odd}): such "
                "calls are charged at the most that they can cost"
            )
        if isinstance(reply, Fault) and reply.kind not in _ANSWERS:
            return None, cost
        if isinstance(reply, Fault) and reply.kind == FaultKind.UNABLE and feature is not None:
            pace.refused[feature] = reply
        result = CallResult(reply, "", lost + cost, seconds, usage, odd)
        no_answer = lambda why: encode(
            result._replace(reply=Fault(FaultKind.ODD, f"the reply is no answer: {why}"))
        )
        answer = guarded(lambda: encode(result), no_answer)
        record.keep(request, answer)
    return answer, cost


def _known_refusal(pace: Pace, body: _JSON, feature: str | None) -> Fault | None:
    """Returns the server's refusal of an earlier request for the same feature, or None.

    None also where this request asks for no more alternatives than the server lists.
    """
    refused = pace.refused.get(feature)
    within = (
        refused is not None
        and feature == "logprobs"
        and body.get("top_logprobs", 0) <= refused.listed
    )
    return None if within else refused


def _cost(call: ModelCall, reply: _JSON | Fault) -> tuple[Cost, Usage | None, str]:
    """Returns the cost of an attempt, its tokens, and what is impossible in the reported usage.

    Where the answer was lost or the tokens are not known, the cost is the most it can be.
    """
    if isinstance(reply, Fault):
        return (call.max_cost if reply.kind == FaultKind.LOST else NOTHING), None, ""
    usage, odd = read_usage(reply)
    # Servers add text of their own to a prompt, and models may think beyond the limit, but not
    # without bounds.
    tokens = 0 if usage is None else usage.input + usage.output
    if tokens > 10 * call.max_cost.tokens + 10**6:
        usage, odd = None, f"{tokens:,} tokens, and {call.max_cost.tokens:,} at most can be"
    if usage is None:
        return call.max_cost, None, odd
    return Cost(call.price(usage, reply), tokens), usage, odd


def _stop_if_hopeless(call: ModelCall, attempts: _Attempts) -> None:
    """Raises ModelError if the server cannot be reached, or if several calls got no answer."""
    now, pace = attempts.pace.clock.now(), attempts.pace
    if absence := pace.presence.absence(now):
        seconds, reason = absence
        raise ModelError(
            f"no answer from {call.server.address} for {seconds:.0f} s ({reason}): start the "
            "server, or correct base_url (or OPENAI_BASE_URL); patience= is how many seconds to "
            "wait for one"
        )
    if pace.fruitless.count_failure(attempts.begun, now) >= _MAX_FRUITLESS:
        pace.fruitless.reset()  # a resumed run counts anew
        raise ModelError(
            f"{_MAX_FRUITLESS} calls in a row got no answer, the last to {call.model!r} at "
            f"{call.server.address} ({attempts.reason}): resume the run when the server works "
            "again"
        )


def _none_if_nan(dollars: float) -> float | None:
    return None if math.isnan(dollars) else dollars

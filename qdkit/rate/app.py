"""The page as an application of starlette: which address leads where, and what a request may look like."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Any

from qdkit.ledger import DamagedRun
from qdkit.rate.asked import Refused
from qdkit.rate.guard import Guard
from qdkit.rate.page import HERE, Answer, Page, fields

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

KINDS = {"rate.css": "text/css", "rate.js": "text/javascript", "icon.svg": "image/svg+xml"}


def application(page: Page, names: Collection[str] = (), frames: str = "'none'") -> Guard:
    """The page behind its guard, whose `names` and `frames` these are."""
    from starlette.applications import Starlette
    from starlette.routing import Route

    files = {name: Answer(200, (HERE / "static" / name).read_bytes(), kind) for name, kind in KINDS.items()}

    def static(request: Request, _: bytes) -> Answer:
        found = files.get(request.path_params["name"])
        if found is None:
            raise Refused(404, "there is no such file")
        return found

    def of(rater: Callable[[str, Request, bytes], Answer]) -> Callable[[Request, bytes], Answer]:
        def known(request: Request, body: bytes) -> Answer:
            name, link = request.path_params["rater"], request.path_params["link"]
            if not page.seals.known(name, link) or name not in page.raters:
                raise Refused(403, "this is no link of this page: copy it whole, as `qdkit rate` printed it")
            return rater(name, request, body)

        return known

    def form(request: Request, body: bytes) -> dict[str, str]:
        if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
            raise Refused(415, "a reply is a form")
        return fields(body)

    own = "/r/{rater}/{link}/"
    routes = {
        "/static/{name}": ("GET", static),
        own: ("GET", of(lambda rater, request, _: page.show(rater, request.query_params.get("again", "")))),
        own + "state": ("GET", of(lambda rater, request, _: _json(page.state()))),
        own + "map.png": ("GET", of(lambda rater, request, _: page.map())),
        own + "picture/{token}/{place}.png": (
            "GET",
            of(lambda rater, r, _: page.picture(rater, r.path_params["token"], r.path_params["place"])),
        ),
        own + "reply": ("POST", of(lambda rater, request, body: page.reply(rater, form(request, body)))),
        own + "undo": ("POST", of(lambda rater, request, body: page.undo(rater, form(request, body)))),
    }
    ways = [Route(path, _answered(answer), methods=[method]) for path, (method, answer) in routes.items()]
    return Guard(Starlette(routes=ways), names, frames)


def _answered(answer: Callable[[Request, bytes], Answer]) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that says what `answer` says, in a thread of its own; a refusal as a sentence with its status."""
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import Response

    def said(request: Request, body: bytes) -> Answer:
        try:
            return answer(request, body)
        except Refused as refused:
            return Answer(refused.status, refused.sentence, "text/plain")
        except (OSError, sqlite3.OperationalError, DamagedRun) as error:
            return Answer(503, f"{error}.", "text/plain")

    async def endpoint(request: Request) -> Response:
        found = await run_in_threadpool(said, request, await request.body())
        return Response(found.body, found.status, dict(found.headers), found.kind)

    return endpoint


def _json(value: Any) -> Answer:
    from qdkit.plain import to_json

    return Answer(200, to_json(value), "application/json")

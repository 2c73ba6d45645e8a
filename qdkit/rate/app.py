"""The page as an application of starlette: its routes, and the form that requests must have."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING

from qdkit.core.jsonable import to_json
from qdkit.rate.guard import Guard
from qdkit.rate.page import PAGE_FOLDER, Page, PageResponse, form_fields
from qdkit.rate.sealed_questions import RequestRefused
from qdkit.runs.ledger import DamagedRun

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_STATIC = {"rate.css": "text/css", "rate.js": "text/javascript", "icon.svg": "image/svg+xml"}


def application(page: Page, names: Collection[str] = (), frames: str = "'none'") -> Guard:
    """Returns the page behind a `Guard` with these `names` and `frames`."""
    from starlette.applications import Starlette
    from starlette.routing import Route

    files = {
        name: PageResponse(200, (PAGE_FOLDER / "static" / name).read_bytes(), kind)
        for name, kind in _STATIC.items()
    }

    def static(request: Request, _: bytes) -> PageResponse:
        file = files.get(request.path_params["name"])
        if file is None:
            raise RequestRefused(404, "there is no such file")
        return file

    def for_rater(
        handler: Callable[[str, Request, bytes], PageResponse],
    ) -> Callable[[Request, bytes], PageResponse]:
        """Returns a handler that checks the link and passes the rater's name to `handler`."""

        def checked(request: Request, body: bytes) -> PageResponse:
            name, link = request.path_params["rater"], request.path_params["link"]
            if not page.seals.is_link(name, link) or name not in page.raters:
                raise RequestRefused(
                    403, "this is no link of this page: copy it whole, as `qdkit rate` printed it"
                )
            return handler(name, request, body)

        return checked

    @for_rater
    def show(rater: str, request: Request, _: bytes) -> PageResponse:
        return page.show(rater, request.query_params.get("again", ""))

    @for_rater
    def state(rater: str, request: Request, _: bytes) -> PageResponse:
        return PageResponse(200, to_json(page.state()), "application/json")

    @for_rater
    def archive_map(rater: str, request: Request, _: bytes) -> PageResponse:
        return page.map()

    @for_rater
    def picture(rater: str, request: Request, _: bytes) -> PageResponse:
        return page.picture(rater, request.path_params["token"], request.path_params["position"])

    @for_rater
    def reply(rater: str, request: Request, body: bytes) -> PageResponse:
        return page.reply(rater, _form(request, body))

    @for_rater
    def undo(rater: str, request: Request, body: bytes) -> PageResponse:
        return page.undo(rater, _form(request, body))

    own = "/r/{rater}/{link}/"
    handlers = {
        "/static/{name}": ("GET", static),
        own: ("GET", show),
        own + "state": ("GET", state),
        own + "map.png": ("GET", archive_map),
        own + "picture/{token}/{position}.png": ("GET", picture),
        own + "reply": ("POST", reply),
        own + "undo": ("POST", undo),
    }
    routes = [
        Route(path, _endpoint(handler), methods=[method])
        for path, (method, handler) in handlers.items()
    ]
    return Guard(Starlette(routes=routes), names, frames)


def _form(request: Request, body: bytes) -> dict[str, str]:
    """Returns the fields of a request's form. Raises RequestRefused for any other content."""
    kind = request.headers.get("content-type", "").partition(";")[0]
    if kind != "application/x-www-form-urlencoded":
        raise RequestRefused(415, "a reply is a form")
    return form_fields(body)


def _endpoint(
    handler: Callable[[Request, bytes], PageResponse],
) -> Callable[[Request], Awaitable[Response]]:
    """Returns an endpoint that runs `handler` in a thread.

    It responds to an error with its sentence and status.
    """
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import Response

    def respond(request: Request, body: bytes) -> PageResponse:
        try:
            return handler(request, body)
        except RequestRefused as refusal:
            return PageResponse(refusal.status, refusal.sentence, "text/plain")
        except (OSError, sqlite3.OperationalError, DamagedRun) as error:
            return PageResponse(503, f"{error}.", "text/plain")

    async def endpoint(request: Request) -> Response:
        response = await run_in_threadpool(respond, request, await request.body())
        return Response(response.body, response.status, dict(response.headers), response.kind)

    return endpoint

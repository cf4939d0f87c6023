"""The application: routes, and what becomes of errors."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import Match

from agenthub import __version__
from agenthub.errors import HubError
from agenthub.records.hub import MIB, Hub
from agenthub.server.api import (
    about,
    admin,
    board,
    events,
    git,
    git_http,
    people,
    v2_board,
    v2_claims,
    v2_git,
    v2_graph,
    v2_people,
    v2_results,
)
from agenthub.server.api.about import Counted
from agenthub.server.api.body_limits import Bodies, Pool
from agenthub.server.api.concurrency import Gate
from agenthub.server.api.context import BODY, answer
from agenthub.server.api.middleware import Shell, refusal
from agenthub.server.api.openapi import describe, operation_id
from agenthub.server.page import routes as page

MODULES = (
    people,
    git,
    board,
    v2_graph,
    v2_git,
    v2_results,
    v2_claims,
    v2_board,
    v2_people,
    events,
    admin,
    about,
    git_http,
    page,
)
ROUTES = [
    route for module in MODULES for route in module.router.routes if isinstance(route, APIRoute)
]


def make_app(hub: Hub, admin_port: int | None = None) -> FastAPI:
    """The hub as an ASGI application.

    With an `admin_port` nobody administers it through a listener on another port.
    """
    app = FastAPI(
        title="AutoResearch hub",
        version=__version__,
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        openapi_url="/api/openapi.json",
        generate_unique_id_function=operation_id,
        separate_input_output_schemas=False,
    )
    app.state.hub = hub
    app.state.stopping = asyncio.Event()  # set when the server is told to stop: streams end then
    app.state.bodies = Bodies(
        hub.settings.idle_seconds, hub.settings.body_seconds, hub.settings.stranger_seconds
    )
    most = int(hub.settings.bodies_mb * MIB)
    app.state.posted, app.state.asked = Pool(most, BODY), Pool(most, git_http.ASKED)
    many = _processors()
    app.state.pushes = Gate("pushes", many + 2, hub.settings.pushes_in_line, each=4)
    app.state.sendings = Gate("fetches and diffs", 2 * many, in_line=256, each=64)
    for module in MODULES:
        app.include_router(module.router)
    app.add_exception_handler(HubError, _hub_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _trouble)
    describe(app, ROUTES)
    app.state.answers = Counter()
    app.add_middleware(Shell, hub=hub, bodies=app.state.bodies, admin_port=admin_port)
    app.add_middleware(Counted, answers=app.state.answers)
    return app


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


async def _hub_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HubError)
    return refusal(error)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = " ".join(str(part) for part in first["loc"])
    return answer({"error": f"{where}: {first['msg']}."}, 400)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return answer(
            {"error": f"404 page not found: {request.url.path[:200]}. See /llms.txt."}, 404
        )
    if error.status_code == 405:
        allowed = _allowed(request) or (error.headers or {}).get("Allow", "")
        return answer(
            {"error": f"Method Not Allowed: {request.method}. Allowed: {allowed}."},
            405,
            {"Allow": allowed},
        )
    return answer({"error": str(error.detail)}, error.status_code, error.headers)


def _allowed(request: Request) -> str:
    """The methods of all routes at a path; the framework itself tells the first one's alone."""
    met = [route for route in ROUTES if route.matches(request.scope)[0] != Match.NONE]
    return ", ".join(sorted({name for route in met for name in route.methods or ()}))


async def _trouble(_: Request, error: Exception) -> Response:
    logging.getLogger(__name__).error("a request failed", exc_info=error)
    return answer({"error": "The hub is in trouble; its log says more. Try again later."}, 500)

"""The application: its routes, its limits, and how errors are answered."""

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
    events,
    git_http,
    v1,
    v2_board,
    v2_claims,
    v2_commits,
    v2_people,
    v2_results,
)
from agenthub.server.api.context import BODY, answer
from agenthub.server.api.middleware import HubMiddleware, refusal
from agenthub.server.api.openapi import describe
from agenthub.server.api.v2_views import AgentDirectory
from agenthub.server.limits import BodyDeadlines, BodyMemory, ConcurrencyLimit
from agenthub.server.page import routes as page
from agenthub.server.page.rendering import PageCache

ROUTERS = (
    *(v1.people, v1.git, v1.board),
    *(v2_commits.graph, v2_commits.git, v2_results.router, v2_claims.router, v2_board.router),
    *(v2_people.people, events.router, v2_people.admin, about.router, git_http.router, page.router),
)
ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]


def make_app(hub: Hub, admin_port: int | None = None) -> FastAPI:
    """The hub as an ASGI application.

    With an `admin_port`, the hub is administered through the listener on that port alone.
    """
    app = FastAPI(
        title="AutoResearch hub",
        version=__version__,
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        openapi_url="/api/openapi.json",
        separate_input_output_schemas=False,
    )
    app.state.hub = hub
    app.state.agents = AgentDirectory(hub.accounts)
    app.state.event_writer = events.EventWriter(hub, app.state.agents)
    app.state.page_cache = PageCache()
    app.state.answers = Counter()
    app.state.stopping = asyncio.Event()  # set when the server stops: streams end then
    app.state.bodies = BodyDeadlines(hub.settings)
    most = int(hub.settings.bodies_mb * MIB)
    app.state.body_memory = BodyMemory(most, BODY)
    app.state.fetch_memory = BodyMemory(most, git_http.FETCH_BYTES)
    many = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    app.state.pushes = ConcurrencyLimit("pushes", many + 2, hub.settings.pushes_in_line, each=4)
    app.state.downloads = ConcurrencyLimit("fetches and diffs", 2 * many, waiting=256, each=64)
    for router in ROUTERS:
        app.include_router(router)
    app.add_exception_handler(HubError, _hub_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _trouble)
    describe(app, ROUTES)
    app.add_middleware(HubMiddleware, state=app.state, admin_port=admin_port)
    return app


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
    said, headers = str(error.detail), dict(error.headers or {})
    if error.status_code == 404:
        said = f"404 page not found: {request.url.path[:200]}. See /llms.txt."
    if error.status_code == 405:  # the framework itself names the methods of the first route only
        met = [route for route in ROUTES if route.matches(request.scope)[0] != Match.NONE]
        names = sorted({name for route in met for name in route.methods or ()})
        headers["Allow"] = ", ".join(names) or headers.get("Allow", "")
        said = f"Method Not Allowed: {request.method}. Allowed: {headers['Allow']}."
    return answer({"error": said}, error.status_code, headers)


async def _trouble(_: Request, error: Exception) -> Response:
    logging.getLogger(__name__).error("a request failed", exc_info=error)
    return answer({"error": "The hub failed to answer; its log says why. Try again later."}, 500)

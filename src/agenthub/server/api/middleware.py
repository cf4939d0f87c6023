"""What every request passes: who calls, rates, deadlines of bodies, headers, the admin's port."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import MutableMapping
from typing import Any

from fastapi import Response
from fastapi.responses import PlainTextResponse
from starlette.datastructures import State
from starlette.types import ASGIApp, Receive, Scope, Send

from agenthub.errors import HubError, Missing
from agenthub.records.agents import Caller
from agenthub.records.hub import Hub
from agenthub.server.api.context import PLAIN_GIT, PUBLIC, WHO, address_of, answer, subject_of, who
from agenthub.server.limits import AddressLimit, BodyDeadlines

ADMIN_PATHS = ("/api/admin/", "/api/v2/admin/")
CHALLENGE = 'Basic realm="AutoResearch hub: any user name, your key as the password"'
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


class HubMiddleware:
    """ASGI middleware. `admin_port` is the port of the admin's own listener, if there is one."""

    def __init__(self, app: ASGIApp, state: State, admin_port: int | None = None) -> None:
        """`state` is the application's: the hub, the deadlines of bodies, the counted answers."""
        self._app = app
        self._hub: Hub = state.hub
        self._bodies: BodyDeadlines = state.bodies
        self._answers: Counter[int] = state.answers
        self._admin_port = admin_port
        self._open = AddressLimit(self._hub.settings)  # of requests: a connection may be a proxy's

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = self._completing(send)
        with contextlib.ExitStack() as stack:
            try:
                stranger = self._check(scope)
                if stranger:  # an agent has limits of its own, wherever it calls from
                    stack.enter_context(self._open.inside(address_of(scope)))
            except HubError as error:
                response = refusal(error, git=scope["path"].startswith(PLAIN_GIT))
                await response(scope, receive, send)
                return
            if scope["method"] == "HEAD":  # a GET whose body the server leaves out
                scope = {**scope, "method": "GET"}
            await self._app(scope, self._bodies.timed(receive, stranger=stranger), send)

    def _check(self, scope: Scope) -> bool:
        """Find out who calls and count the request; True for a caller without a known key."""
        state = scope.setdefault("state", {})
        state[PUBLIC] = self._admin_port not in (None, scope["server"][1])
        state[WHO] = who(self._hub, scope)
        self._hub.count_request(subject_of(scope))
        if state[PUBLIC] and scope["path"].startswith(ADMIN_PATHS):
            raise Missing("404 page not found: the admin's routes have a listener of their own.")
        return not isinstance(state[WHO], Caller)

    def _completing(self, send: Send) -> Send:
        """Count an answer by its status, and add our headers where it does not set them itself."""

        async def sent(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self._answers[message["status"]] += 1
                own = message.get("headers", ())
                names = {name for name, _ in own}
                message["headers"] = [*own, *(pair for pair in _HEADERS if pair[0] not in names)]
            await send(message)

        return sent


def refusal(error: HubError, *, git: bool = False) -> Response:
    """An error as an answer, with the headers that belong to its status.

    `git` shows a text, and asks its user for the key when it is challenged.
    """
    wait = getattr(error, "retry_after", None)
    headers = {"Retry-After": str(wait)} if wait else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = CHALLENGE if git else "Bearer"
    if error.status == 408:
        headers["Connection"] = "close"
    if git:
        return PlainTextResponse(f"{error.message}\n", error.status, headers)
    return answer(error.body(), error.status, headers)

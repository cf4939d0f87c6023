"""What surrounds every route: headers, strangers' rate, slow bodies, the admin's own listener."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from fastapi import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from autoresearch.hub.api.bodies import Bodies
from autoresearch.hub.api.context import PUBLIC, answer
from autoresearch.hub.errors import HubError, Missing
from autoresearch.hub.hub import Hub

ADMIN_PATHS = ("/api/admin/", "/api/v2/admin/")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


class Shell:
    """ASGI middleware. `admin_port` is the admin's listener, if it has one of its own."""

    def __init__(
        self, app: ASGIApp, hub: Hub, bodies: Bodies, admin_port: int | None = None
    ) -> None:
        self._app = app
        self._hub = hub
        self._bodies = bodies
        self._admin_port = admin_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except HubError as error:
            await refusal(error)(scope, receive, with_headers(send))
            return
        if scope["method"] == "HEAD":  # a GET whose body the server leaves out
            scope = {**scope, "method": "GET"}
        await self._app(scope, self._bodies.timed(receive), with_headers(send))

    def _check(self, scope: Scope) -> None:
        if self._admin_port is not None and scope["server"][1] != self._admin_port:
            scope.setdefault("state", {})[PUBLIC] = True
            if scope["path"].startswith(ADMIN_PATHS):
                raise Missing(
                    "404 page not found: the admin's routes have a listener of their own."
                )
        if not any(name == b"authorization" for name, _ in scope["headers"]):
            client = scope.get("client")
            self._hub.count_stranger(client[0] if client else "")


def refusal(error: HubError) -> Response:
    """An error as an answer, with the headers that belong to its status."""
    wait = getattr(error, "retry_after", None)
    headers = {"Retry-After": str(wait)} if wait else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status == 408:
        headers["Connection"] = "close"
    return answer(error.body(), error.status, headers)


def with_headers(send: Send) -> Send:
    """Add our headers to an answer that does not set them itself."""

    async def sent(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            own = message.get("headers", ())
            names = {name for name, _ in own}
            message["headers"] = [*own, *(pair for pair in _HEADERS if pair[0] not in names)]
        await send(message)

    return sent

"""uvicorn for a hub: deadlines for slow, rude or broken clients, and an orderly stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import struct
import threading
from collections.abc import Iterator, Sequence

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from agenthub.errors import BadInput, HubError, Unavailable
from agenthub.records.hub import HubSettings
from agenthub.server.limits import AddressLimit


class Protocol(H11Protocol):
    """One connection. A client that keeps the hub waiting for too long is cut off."""

    settings = HubSettings()
    addresses = AddressLimit(settings)
    _counted_as = ""  # the address that the connection counts for, if it counts
    _head: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        try:
            self._count()
        except HubError as error:
            self._refuse(error)
        else:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        self.addresses.leave(self._counted_as)
        self._counted_as = ""
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread is None and not self.transport.is_closing():
            self._unread = self.loop.call_later(self.settings.unread_seconds, self._cut)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP in JSON, as every error."""
        self._refuse(BadInput(f"{msg} It is not HTTP/1.1, or its headers are too long."))

    def _count(self) -> None:
        """Count the connection; HubError for one too many, of all or of its address."""
        most = self.settings.connections
        if len(self.connections) > most:
            raise Unavailable(
                f"The hub has {most:,} connections already. Try again in 10 seconds.",
                retry_after=10,
            )
        self._counted_as = self.addresses.enter(self.client[0] if self.client else "")

    # ---- the deadline of a request's head -----------------------------------------------------

    def _watch(self) -> None:
        """Set a deadline while the head of a request is due."""
        if not self._head_is_due():
            self._stop_watching()
        elif self._head is None:
            self._head = self.loop.call_later(self.settings.head_seconds, self._too_slow)

    def _head_is_due(self) -> bool:
        if self.cycle is None:
            return True
        if not self.cycle.response_complete or self.transport.is_closing():
            return False
        idle = self.timeout_keep_alive_task is not None and self.conn.their_state is h11.IDLE
        return not idle

    def _stop_watching(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _too_slow(self) -> None:
        self._head = None
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            message = f"The request did not come within {self.settings.head_seconds:g} seconds."
            self._refuse(HubError(408, message))
        else:
            self._cut()

    def _cut(self) -> None:
        """Hang up at once, and keep nothing for a client that does not read."""
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.transport.abort()

    def _refuse(self, error: HubError) -> None:
        """Answer without the application, and hang up."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self._cut()  # an answer is under way
            return
        body = json.dumps(error.body()).encode()
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
        if wait := getattr(error, "retry_after", None):
            headers.append(("Retry-After", str(wait)))
        head = h11.Response(status_code=error.status, headers=headers)
        for event in (head, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def protocol(settings: HubSettings, proxies: Sequence[str] = ()) -> type[Protocol]:
    """The protocol of a hub with these settings, behind these proxies."""
    own = {"settings": settings, "addresses": AddressLimit(settings, proxies)}
    return type("Protocol", (Protocol,), own)


class Server(uvicorn.Server):
    """On a signal it ends streams and polls, finishes requests under way, and returns.

    uvicorn's own would end the process by the same signal, with the data folder still open.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, finish_seconds: float) -> None:
        super().__init__(config)
        self._app = app
        self._finish = finish_seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, end streams, and wait for other requests for a bounded time."""
        self._app.state.stopping.set()
        asyncio.get_running_loop().call_later(self._finish, self._app.state.bodies.end)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Use our handlers while it runs, and restore the earlier ones without a second signal."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        earlier = {number: signal.signal(number, self.handle_exit) for number in signals}
        try:
            yield
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)

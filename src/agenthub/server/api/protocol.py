"""HTTP for clients that may be slow, rude or broken: uvicorn's own protocol, with deadlines."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Sequence
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from agenthub.errors import BadInput, HubError, Unavailable
from agenthub.records.hub import MIB, HubSettings
from agenthub.server.api.per_client import Addresses


class Protocol(H11Protocol):
    """One connection. Whoever lets it wait too long is cut off, and costs nothing meanwhile."""

    settings = HubSettings()
    unread: ClassVar[dict[Protocol, None]] = {}  # who does not read fast enough; longest first
    addresses = Addresses(settings)
    _inside = ""  # whose connection it is, where that counts
    _head: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        try:
            self._let_in()
        except HubError as error:
            self._refuse(error)
        else:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        self.addresses.leave(self._inside)
        self._inside = ""
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
        self.unread[self] = None
        self._cut_the_slowest()
        if self._unread is None and not self.transport.is_closing():
            self._unread = self.loop.call_later(self.settings.unread_seconds, self._cut)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        self.unread.pop(self, None)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is told so in JSON, as all that is wrong."""
        self._refuse(BadInput(f"{msg} It is not HTTP/1.1, or its headers are too long."))

    def _let_in(self) -> None:
        """HubError for one connection too many, of all or of its address."""
        most = self.settings.connections
        if len(self.connections) > most:
            raise Unavailable(
                f"The hub has {most:,} connections already. Try again in 10 seconds.",
                retry_after=10,
            )
        self._inside = self.addresses.enter(self.client[0] if self.client else "")

    # ---- the time until a request is there -----------------------------------------------------

    def _watch(self) -> None:
        """Have a deadline while the client owes us something that nobody else waits for."""
        if not self._owing():
            self._stop_watching()
        elif self._head is None:
            self._head = self.loop.call_later(self.settings.head_seconds, self._too_slow)

    def _owing(self) -> bool:
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
            told = f"The request did not come within {self.settings.head_seconds:g} seconds."
            self._refuse(HubError(408, told))
        else:
            self._cut()

    def _cut_the_slowest(self) -> None:
        """Keep what waits to be read under its cap: whoever has not read for longest goes first."""
        sizes = {each: each.transport.get_write_buffer_size() for each in self.unread}
        over = sum(sizes.values()) - self.settings.unread_mb * MIB
        for each, size in sizes.items():
            if over > 0:
                over -= size
                each._cut()

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
        events: list[Any] = [
            h11.Response(status_code=error.status, headers=headers),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ]
        for event in events:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def protocol(settings: HubSettings, proxies: Sequence[str] = ()) -> type[Protocol]:
    """The protocol of a hub with these settings, behind these proxies."""
    own = {"settings": settings, "unread": {}, "addresses": Addresses(settings, proxies)}
    return type("Protocol", (Protocol,), own)

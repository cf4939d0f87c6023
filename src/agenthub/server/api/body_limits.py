"""Limits on the bodies of requests while they arrive: how long, and how much memory they take."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from starlette.types import Message, Receive

from agenthub.errors import HubError, TooMany, Unavailable
from agenthub.server.api.per_client import Shares

PARTS = 16  # of the memory; one caller holds at most one of them


class BodyDeadlines:
    """The deadlines of all bodies. It belongs to one event loop."""

    def __init__(self, idle: float, whole: float, strangers: float) -> None:
        self._idle = idle  # seconds without a byte
        self._whole = whole  # seconds for all of it
        self._strangers = strangers  # the same, for a caller without a key
        self._awaited: set[asyncio.Timeout] = set()
        self._over = False

    def end(self) -> None:
        """Stop waiting for bodies: all of them fail from now on."""
        self._over = True
        for deadline in self._awaited:
            deadline.reschedule(0)

    def timed(self, receive: Receive, *, stranger: bool = False) -> Receive:
        """Receive a body; HubError when it stops coming, takes too long or ends early.

        There is no deadline after the body, when only a disconnect can come.
        """
        whole = min(self._whole, self._strangers) if stranger else self._whole
        ends = asyncio.get_running_loop().time() + whole
        more = True

        async def received() -> Message:
            nonlocal more
            if not more:
                return await receive()
            message = await self._awaited_until(receive, ends, whole)
            if message["type"] == "http.disconnect":
                raise HubError(400, "The connection ended within the body.")
            more = message.get("more_body", False)
            return message

        return received

    async def _awaited_until(self, receive: Receive, ends: float, whole: float) -> Message:
        now = asyncio.get_running_loop().time()
        deadline = asyncio.timeout_at(0 if self._over else min(now + self._idle, ends))
        self._awaited.add(deadline)
        try:
            async with deadline:
                return await receive()
        except TimeoutError:
            raise self._late(whole) from None
        finally:
            self._awaited.discard(deadline)

    def _late(self, whole: float) -> HubError:
        if self._over:
            return Unavailable("The hub is shutting down. Send it again in a while.")
        return HubError(
            408,
            f"The body did not come: nothing for {self._idle:g} seconds, or not all of it within "
            f"{whole:g}. Send it again.",
        )


class BodyMemory:
    """A cap on the memory of bodies that are collected before they are parsed.

    One agent, or address without a key, holds a small part of it, or one body of the largest kind.
    It belongs to one event loop.
    """

    def __init__(self, most: int, largest: int) -> None:
        self._most = most  # bytes, of all together
        self._held = 0
        self._shares = Shares(max(most // PARTS, largest))

    @contextlib.contextmanager
    def holding(self, subject: str) -> Iterator[Callable[[int], None]]:
        """A function to call with each piece's size: TooMany or Unavailable over a cap."""
        mine = 0

        def hold(size: int) -> None:
            nonlocal mine
            self._take(subject, size)
            mine += size

        try:
            yield hold
        finally:
            self._held -= mine
            self._shares.give(subject, mine)

    def _take(self, subject: str, size: int) -> None:
        if not self._shares.take(subject, size):
            raise TooMany(
                f"The bodies that you are sending would take over {self._shares.each:,} bytes of "
                "memory, the most that you may use at once. Wait for one to end, or try again in 2 "
                "seconds.",
                retry_after=2,
            )
        if self._held + size > self._most:
            self._shares.give(subject, size)
            raise Unavailable(
                "The hub holds as many bodies as it can. Try again in 2 seconds.", retry_after=2
            )
        self._held += size

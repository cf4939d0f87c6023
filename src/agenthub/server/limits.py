"""How much of the hub its clients use at once: connections, work, memory, time for a body."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from starlette.types import Message, Receive

from agenthub.errors import HubError, TooMany, Unavailable
from agenthub.records.buckets import address_subject
from agenthub.records.hub import HubSettings

LOOPBACK = ("127.", "::ffff:127.")
LEAST = 64  # connections that an address may have, however few there may be in all
PARTS = 16  # of the memory for bodies; one caller holds at most one of them
T = TypeVar("T")


class Shares:
    """What is taken at once: at most `each` by one subject, and at most `most` in all.

    It belongs to one event loop.
    """

    def __init__(
        self,
        each: int,
        most: float,
        over_each: str,
        over_most: str = "",
        waits: tuple[int, int] = (10, 10),
    ) -> None:
        """The messages for one too many, and the seconds after which to try again."""
        self.taken = 0
        self.most = most
        self._each = each
        self._messages = over_each, over_most
        self._waits = waits
        self._held: Counter[str] = Counter()

    def take(self, subject: str, amount: int = 1) -> None:
        """Take some more; TooMany over the subject's share, Unavailable when all are taken."""
        if self._held[subject] + amount > self._each:
            raise TooMany(self._messages[0], retry_after=self._waits[0])
        if self.taken + amount > self.most:
            raise Unavailable(self._messages[1], retry_after=self._waits[1])
        self._held[subject] += amount
        self.taken += amount

    def give(self, subject: str, amount: int = 1) -> None:
        """Give back what was taken."""
        self.taken -= amount
        self._held[subject] -= amount
        if not self.holds(subject):
            del self._held[subject]

    def holds(self, subject: str) -> bool:
        """Whether a subject has taken anything."""
        return self._held[subject] > 0

    @contextlib.contextmanager
    def place(self, subject: str) -> Iterator[None]:
        """Take one while the block runs."""
        self.take(subject)
        try:
            yield
        finally:
            self.give(subject)


# ---- connections -------------------------------------------------------------------------------


class AddressLimit:
    """A limit on what one address has open: an eighth of all, unless the settings name a number.

    A proxy is not limited, as it stands for many clients. This machine is limited only by a number
    in the settings.
    """

    def __init__(self, settings: HubSettings, proxies: Sequence[str] = ()) -> None:
        given = settings.connections_each
        each = max(LEAST, settings.connections // 8) if given is None else given
        self._shares = Shares(
            each,
            math.inf,
            f"Your address has {each:,} connections open, the most allowed. "
            "End one first, or try again in 10 seconds.",
        )
        self._spares_loopback = given is None
        self._proxies = [ipaddress.ip_network(proxy) for proxy in proxies]

    def enter(self, address: str) -> str:
        """Count one more of an address; returns what to `leave` with. TooMany over its share."""
        if self._is_proxy(address) or (self._spares_loopback and is_here(address)):
            return ""
        subject = address_subject(address)
        self._shares.take(subject)
        return subject

    def leave(self, subject: str) -> None:
        """Count one less."""
        if subject:
            self._shares.give(subject)

    @contextlib.contextmanager
    def inside(self, address: str) -> Iterator[None]:
        """Count one of an address while the block runs."""
        subject = self.enter(address)
        try:
            yield
        finally:
            self.leave(subject)

    def _is_proxy(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        plain = getattr(found, "ipv4_mapped", None) or found  # on a listener of both kinds
        return any(plain in network for network in self._proxies)


def is_here(address: str) -> bool:
    """Whether an address is this machine's own."""
    return address == "::1" or address.startswith(LOOPBACK)


# ---- work --------------------------------------------------------------------------------------


class ConcurrencyLimit:
    """A limit on work that takes a thread and a child program, in all and for each agent.

    One agent has at most half of the slots, so that a slow reader does not block the others. A
    limit belongs to one event loop.
    """

    def __init__(self, what: str, at_once: int, waiting: int, each: int) -> None:
        """`what` is a word like "pushes"; `each` is of one agent, at once and waiting."""
        self._at_once = at_once
        self._most = at_once + waiting
        self._places = Shares(
            each,
            self._most,
            f"You have {each} {what} under way, the most there may be at once. Wait for one to "
            "end.",
            f"The hub has {self._most} {what} under way, all it takes at once. Try again in 2 "
            "seconds.",
            waits=(1, 2),
        )
        self._slots = asyncio.Semaphore(at_once)
        self._shares: dict[str, asyncio.Semaphore] = {}  # slots of each agent that has a place
        self._threads: CapacityLimiter | None = None  # made where there is an event loop

    @contextlib.asynccontextmanager
    async def place(self, subject: str) -> AsyncIterator[None]:
        """Take a place; TooMany when this agent has its most, Unavailable when all are taken."""
        try:
            with self._places.place(subject):
                self._shares.setdefault(subject, asyncio.Semaphore(max(1, self._at_once // 2)))
                yield
        finally:
            if not self._places.holds(subject):
                self._shares.pop(subject, None)

    @contextlib.asynccontextmanager
    async def slot(self, subject: str) -> AsyncIterator[None]:
        """Wait for a slot of the agent's share; the agent must have a place."""
        async with self._shares[subject], self._slots:
            yield

    async def run(self, function: Callable[..., T], *values: object) -> T:
        """Run a function in a thread of this limit; it ends even when the caller is gone."""
        if self._threads is None:
            self._threads = CapacityLimiter(self._most)
        return await anyio.to_thread.run_sync(partial(function, *values), limiter=self._threads)


# ---- bodies ------------------------------------------------------------------------------------


class BodyMemory:
    """A cap on the memory of bodies that are collected before they are parsed.

    One agent, or address without a key, holds a small part of it, or one body of the largest kind.
    """

    def __init__(self, most: int, largest: int) -> None:
        """Both in bytes; `most` is of all bodies together."""
        each = max(most // PARTS, largest)
        self._shares = Shares(
            each,
            most,
            f"The bodies that you are sending would take over {each:,} bytes of memory, the most "
            "that you may use at once. Wait for one to end, or try again in 2 seconds.",
            "The hub holds as many bodies as it can. Try again in 2 seconds.",
            waits=(2, 2),
        )

    @contextlib.contextmanager
    def holding(self, subject: str) -> Iterator[Callable[[int], None]]:
        """A function to call with each piece's size: TooMany or Unavailable over a cap."""
        mine = 0

        def hold(size: int) -> None:
            nonlocal mine
            self._shares.take(subject, size)
            mine += size

        try:
            yield hold
        finally:
            self._shares.give(subject, mine)


class BodyDeadlines:
    """The deadlines of all bodies. It belongs to one event loop."""

    def __init__(self, settings: HubSettings) -> None:
        self._settings = settings
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
        whole = self._settings.body_seconds
        if stranger:
            whole = min(whole, self._settings.stranger_seconds)
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
        idle = self._settings.idle_seconds
        deadline = asyncio.timeout_at(0 if self._over else min(now + idle, ends))
        self._awaited.add(deadline)
        try:
            async with deadline:
                return await receive()
        except TimeoutError:
            if self._over:
                raise Unavailable("The hub is shutting down. Send it again in a while.") from None
            raise HubError(
                408,
                f"The body did not come: nothing for {idle:g} seconds, or not all of it within "
                f"{whole:g}. Send it again.",
            ) from None
        finally:
            self._awaited.discard(deadline)
